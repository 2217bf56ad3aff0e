"""Makes the picture of docs/methods.md: one photograph by every method that comes with networks or fetches them.

    python examples/methods_pictures.py [FOLDER]

The photograph is scikit-image's astronaut (public domain), the painting the Metropolitan Museum's Wheat Field with
Cypresses (CC0); the pastiches are our own. `best` takes some minutes.
"""

import sys
from pathlib import Path

import controls_pictures
from gallery_pictures import ASTRONAUT, WHEAT, Squares

CELL = 384


def main():
    controls_pictures.PAINTED, controls_pictures.LARGEST = CELL, 245_000
    album = Squares(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
    for method in ("adain", "attention", "microast", "wct", "arbitrary"):
        album.paint(method, ASTRONAUT, WHEAT, method=method, quality=None)
    album.paint("feedforward, pack:cypresses", ASTRONAUT, "pack:cypresses", method="feedforward", quality=None)
    vintage = str(album.engine.store.path("vintage-generator"))
    album.paint("unpaired, vintage-generator", ASTRONAUT, vintage, method="unpaired", quality=None)
    for quality in ("good", "best"):
        album.paint(f"optimize, --quality {quality}", ASTRONAUT, WHEAT, method="optimize", quality=quality)
    album.save("methods", columns=3, cell=CELL)


if __name__ == "__main__":
    main()
