"""Makes the pictures of docs/controls.md: our own pastiches of free photographs and paintings.

    python examples/controls_pictures.py [FOLDER [CHAPTER...]]

Photographs: scikit-image's astronaut and rocket (public domain), chelsea and coffee (CC0). Paintings: the Metropolitan
Museum of Art's open access (CC0). All are fetched by Impasto itself. Subjects need: pip install "impasto[segment]"
"""

import sys
from pathlib import Path

import numpy as np

from impasto import Controls, Engine, Request, images
from impasto.methods.recipes import mixtures

WHEAT, IRISES, STRAW_HAT = "museum:436535", "museum:436528", "museum:436532"
CELL, PAINTED, LARGEST = 224, 320, 60_000


class Album:
    """Paints, and keeps labelled pictures for one sheet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = folder, Engine()
        self.photos = self.engine.store.path("photos")
        self.cells = []

    def paint(self, label, photo, styles, *, method="auto", quality="good", knobs=None, **controls):
        """Paint and show. The photographs themselves are not part of this project, so none is shown bare."""
        request = Request(method, quality, PAINTED, knobs=knobs or {}, controls=Controls(**controls))
        result = self.engine.stylize(self.photos / photo if isinstance(photo, str) else photo, styles, request)
        self.cells.append((result.picture.pixels, label))

    def show(self, pixels, label):
        """Show pixels, such as a mask."""
        self.cells.append((pixels, label))

    def save(self, name, columns=None, cell=CELL, lines=1, height=None):
        """Write the sheet at the best quality that stays small enough; begin another."""
        sheet = images.read(
            images.contact_sheet(self.cells, columns=columns or len(self.cells), cell=cell, lines=lines, height=height)
        )
        path = self.folder / f"{name}.jpg"
        for quality in range(88, 40, -4):
            images.write(sheet, path, quality=quality)
            if path.stat().st_size < LARGEST:
                break
        print(f"{path}: {path.stat().st_size:,} bytes, quality {quality}", flush=True)
        self.cells = []


def ramp(height, width):
    """Black on the left, white on the right."""
    return np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, 0)


def strength(album):
    for value in (0.25, 0.5, 0.75, 1.0):
        album.paint(f"--strength {value:g}", "chelsea.png", WHEAT, knobs={"strength": value})
    album.save("strength")


def detail(album):
    for value in (0.0, 0.5, 1.0):
        album.paint(f"--detail {value:g}", "chelsea.png", WHEAT, knobs={"detail": value})
    album.save("detail", cell=PAINTED)


def strength_map(album):
    grey = ramp(150, CELL)
    album.show(grey[..., None].repeat(3, 2), "ramp.png")
    album.paint("--strength-map ramp.png", "chelsea.png", WHEAT, strength_map=grey)
    album.save("strength-map")


def mixing(album):
    album.paint("two styles, 1:1", "coffee.png", [(WHEAT, 1.0), (STRAW_HAT, 1.0)])
    album.paint("3:1", "coffee.png", [(WHEAT, 3.0), (STRAW_HAT, 1.0)])
    album.paint("1:3", "coffee.png", [(WHEAT, 1.0), (STRAW_HAT, 3.0)])
    album.save("styles")
    request = Request(quality="draft", size=112)
    styles = [WHEAT, IRISES, STRAW_HAT, "museum:437658"]
    for result in album.engine.mix(album.photos / "chelsea.png", styles, mixtures(4, 5), request):
        album.show(result.picture.pixels, "")
    album.save("mix", columns=5, cell=112, lines=0)


def colour(album):
    album.paint("plain", "astronaut.png", WHEAT)
    album.paint("--keep-color luminance", "astronaut.png", WHEAT, keep_color="luminance")
    album.paint("--keep-color histogram", "astronaut.png", WHEAT, keep_color="histogram")
    album.save("keep-color")
    album.paint("--color-only, wheat field", "coffee.png", WHEAT, quality=None, color_only=True)
    album.paint("--color-only, irises", "coffee.png", IRISES, quality=None, color_only=True)
    album.save("color-only")


def regions(album):
    disc = (np.hypot(*np.mgrid[-1:1:149j, -1:1:224j]) < 0.75).astype(np.float32)
    album.show(disc[..., None].repeat(3, 2), "disc.png")
    both = ((disc, WHEAT), (1 - disc, STRAW_HAT))
    album.paint("--region disc.png=...", "coffee.png", [], regions=both)
    album.paint("and --feather 40", "coffee.png", [], regions=both, feather=40)
    album.save("region")
    album.paint("--region subject=...", "astronaut.png", [], regions=(("subject", WHEAT),))
    album.paint("--region background=...", "astronaut.png", [], regions=(("background", WHEAT),))
    album.paint("both, two styles", "astronaut.png", [], regions=(("subject", STRAW_HAT), ("background", WHEAT)))
    album.save("subject")


def pointing(album):
    saucer, cup, face = "point 30%,50%", "point 45%,22% 50%,42% 50%,62%", "point 43%,20%"
    album.paint("the saucer", "coffee.png", [], regions=((saucer, IRISES),))
    album.paint("the cup, by three points", "coffee.png", WHEAT, regions=((cup, IRISES),))
    album.paint("--preserve: the face", "astronaut.png", WHEAT, preserve=face)
    album.save("point")


def matching(album):
    for name, photo, style in (("rocket", "rocket.jpg", WHEAT), ("astronaut", "astronaut.png", STRAW_HAT)):
        for quality in ("draft", "good"):
            album.paint(f"{name}, {quality}", photo, style, quality=quality)
            album.paint("--match-regions", photo, style, quality=quality, match_regions=True)
    album.save("match-regions", columns=4)


def keeping(album):
    album.paint("plain", "astronaut.png", WHEAT)
    album.paint("--protect-faces", "astronaut.png", WHEAT, protect_faces=0.7)
    album.paint("--preserve subject", "astronaut.png", WHEAT, preserve="subject")
    album.save("keep")


def textures(album):
    plain = album.engine.texture(WHEAT, size=PAINTED)
    tile = album.engine.texture(WHEAT, size=PAINTED // 2, seamless=True)
    album.show(plain.picture.pixels, "texture")
    album.show(np.tile(tile.picture.pixels, (2, 2, 1)), "--seamless, 2x2 tiles")
    album.save("texture", cell=PAINTED)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/controls")
    folder.mkdir(parents=True, exist_ok=True)
    album = Album(folder)
    for chapter in (strength, detail, strength_map, mixing, colour, regions, pointing, matching, keeping, textures):
        if chapter.__name__ in (sys.argv[2:] or chapter.__name__):
            chapter(album)


if __name__ == "__main__":
    main()
