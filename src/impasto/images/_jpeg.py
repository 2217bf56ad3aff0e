"""JPEG files whose last bytes are missing, as cut downloads and cameras leave them: every viewer shows them."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageChops, JpegImagePlugin

_END = b"\xff\xd9"  # the marker EOI; ITU-T T.81, table B.1
_BLOCK = 16  # pixels that a minimal unit is wide and high, at most in practice
_BLEED = 2  # pixels that enlarged colours are smoothed beyond their unit
_LOST_SHARE = 0.02  # of the picture's units, that may be damaged


def with_end_marker(data: bytes) -> bytes | None:
    """The file with the marker that ends it; None where more than a few bytes are missing, or the end is there.

    How much is missing cannot be read off the data. But what the last bytes that are left draw can be seen, by leaving
    them out as well: where the file is nearly whole, that is at the very end of the picture.
    """
    if data.endswith(_END):
        return None
    whole = data.removesuffix(_END[:1]) + _END
    try:
        image = _loaded(whole)
        change = ImageChops.difference(image, _loaded(whole[:-6] + _END))
    except (OSError, ValueError, SyntaxError):
        return None
    place = change.getbbox()
    if place is None:
        return whole
    row = (place[1] + _BLEED) // _BLOCK
    left = change.crop((0, row * _BLOCK, image.width, min((row + 1) * _BLOCK, image.height))).getbbox()
    columns, rows = -(-image.width // _BLOCK), -(-image.height // _BLOCK)
    lost = columns * (rows - row) - ((left[0] if left else 0) + _BLEED) // _BLOCK
    return whole if lost <= max(4, _LOST_SHARE * columns * rows) else None


def _loaded(data: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(BytesIO(data))
    image.load()
    return image
