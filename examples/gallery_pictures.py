"""Makes the pictures of docs/gallery.md that docs/controls.md does not have: methods, qualities and settings.

    python examples/gallery_pictures.py [FOLDER [CHAPTER...]]

Photographs and paintings are those of controls_pictures.py, all free; the pastiches are our own.
"""

import sys
from pathlib import Path

from controls_pictures import IRISES, STRAW_HAT, WHEAT, Album

from impasto import images

CUP, CAT, ASTRONAUT = "coffee.png", "chelsea.png", "astronaut.png"


class Squares(Album):
    """An album whose photographs are cut to squares, so that a sheet has no empty paper."""

    def paint(self, label, name, styles, **how):
        pixels = images.read(self.photos / name).pixels
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        super().paint(label, pixels[top : top + side, left : left + side], styles, **how)


def methods(album):
    album.paint("adain", CAT, IRISES, method="adain", quality=None)
    album.paint("feedforward, pack:irises", CAT, "pack:irises", method="feedforward", quality=None)
    album.paint("optimize", CAT, IRISES, method="optimize")
    album.save("methods")


def qualities(album):
    for quality in ("draft", "good", "best"):
        album.paint(f"--quality {quality}", CUP, STRAW_HAT, quality=quality)
    album.save("qualities")


def setting(album, flag, values, photo, style, **knobs):
    """One sheet: the same picture at several values of a setting."""
    name = flag.replace("-", "_")
    for value in values:
        shown = f"{value:g}" if isinstance(value, float) else value
        album.paint(f"--{flag} {shown}", photo, style, knobs={name: value, **knobs})
    album.save(flag)


def style_scale(album):
    setting(album, "style-scale", (0.3, 1.0, 3.0), CUP, WHEAT)


def content_weight(album):
    setting(album, "content-weight", (0.1, 1.0, 10.0), ASTRONAUT, WHEAT)


def style_loss(album):
    setting(album, "style-loss", ("gram", "moments", "wasserstein", "sliced", "patches"), CAT, WHEAT)


def init(album):
    setting(album, "init", ("recolored", "draft", "content", "noise"), CUP, IRISES, coarsest=64)


def canvas(album):
    setting(album, "canvas", ("pixels", "photorealistic"), CUP, WHEAT)


def encoder(album):
    setting(album, "encoder", ("vgg19", "vgg16", "squeezenet", "efficientnet-lite0"), ASTRONAUT, IRISES)


def smoothness(album):
    setting(album, "tv-weight", (0.0, 1.0, 10.0), CAT, STRAW_HAT)


CHAPTERS = (methods, qualities, style_scale, content_weight, style_loss, init, canvas, encoder, smoothness)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/gallery")
    folder.mkdir(parents=True, exist_ok=True)
    album = Squares(folder)
    for chapter in CHAPTERS:
        if chapter.__name__ in (sys.argv[2:] or chapter.__name__):
            chapter(album)


if __name__ == "__main__":
    main()
