"""Make docs/images/losses.jpg, one cat and one painting with each loss, and print the table of docs/losses.md.

Usage: python examples/losses_picture.py

The photograph (scikit-image's chelsea, CC0) and the painting (the Metropolitan Museum of Art's open access, CC0) are
fetched by Impasto itself.
"""

from pathlib import Path

from impasto import Engine, Request, images
from impasto.assets.library import Library
from impasto.metrics import Judge

WHEAT = "museum:436535"
LOSSES = (
    *({"style_loss": name} for name in ("gram", "moments", "wasserstein", "sliced", "patches")),
    {"content_loss": "similarity"},
)


def main() -> None:
    """Paint, score and lay the pictures out, three in a row."""
    engine = Engine()
    photograph = engine.store.path("photos") / "chelsea.png"
    library, judge = Library(engine.store), Judge(store=engine.store)
    painting = library.read(library.find(WHEAT)).pixels
    cells = []
    for knobs in LOSSES:
        pastiche = engine.stylize(photograph, WHEAT, Request(quality="good", size=512, knobs=knobs)).picture.pixels
        scores = judge.scores(images.read(photograph).pixels, painting, pastiche)
        ((label, name),) = knobs.items()
        print(f"| `{name}` | {scores.style_distance:.3f} | {scores.content_error:.2f} |", flush=True)
        cells.append((pastiche, name if label == "style_loss" else f"gram, content by {name}"))
    sheet = images.read(images.contact_sheet(cells, columns=3, cell=400, lines=1))
    images.write(sheet, Path("docs/images/losses.jpg"), quality=86)


if __name__ == "__main__":
    main()
