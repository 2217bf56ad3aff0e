"""Make docs/images/demo.jpg, the README's picture, out of what `make demo` wrote into out/demo.

Usage: python examples/readme_picture.py [FOLDER]
"""

import sys
from pathlib import Path

from impasto import images

QUALITIES = ("draft", "good", "best")
CELL, CLOSER = 400, 3


def close_up(pixels):
    """The cat's eyes, so that strokes can be seen."""
    height, width = (side // CLOSER for side in pixels.shape[:2])
    top, left = round(0.42 * pixels.shape[0]) - height // 2, round(0.52 * pixels.shape[1]) - width // 2
    return pixels[top : top + height, left : left + width]


def main() -> None:
    """Show the pastiches, each close-up below its own; photograph and painting are not part of this project."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")
    painted = [images.read(folder / f"{quality}.png").pixels for quality in QUALITIES]
    cells = list(zip(painted, QUALITIES, strict=True))
    for pixels, quality in zip(painted, QUALITIES, strict=True):
        height, width = pixels.shape[:2]
        cells.append((images.resize(close_up(pixels).copy(), height, width), f"{quality}, closer"))
    sheet = images.contact_sheet(cells, columns=len(QUALITIES), cell=CELL, lines=1)
    images.write(images.read(sheet), Path("docs/images/demo.jpg"), quality=88)


if __name__ == "__main__":
    main()
