"""Make docs/images/demo.jpg, the README's picture, out of what `make demo` wrote into out/demo.

Usage: python examples/readme_picture.py
"""

from pathlib import Path

from impasto import images

QUALITIES = ("draft", "good", "best")


def main() -> None:
    """Lay the three pastiches side by side; photograph and painting themselves are not part of this project."""
    folder = Path("out/demo")
    cells = [(images.read(folder / f"{quality}.png").pixels, quality) for quality in QUALITIES]
    sheet = images.contact_sheet(cells, columns=len(cells), cell=400, lines=1)
    images.write(images.read(sheet), Path("docs/images/demo.jpg"), quality=88)


if __name__ == "__main__":
    main()
