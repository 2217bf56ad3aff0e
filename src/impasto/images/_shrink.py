"""Reading within a limit of memory: what decoding takes, and decoding smaller what does not fit.

JPEG is decoded at a half, a quarter or an eighth, of which the rest is never computed. Other formats are decoded whole
by Pillow or OpenCV, and averaged over squares before anything else is made of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import ResourceError
from impasto.images._picture import BAND, Header

# bytes a pixel at the peak of reading, by the growth of resident memory over pictures of 12 megapixels
_PILLOW = 4.0  # its own copy
_CODECS = {"WEBP": 12.0, "AVIF": 5.5, "HEIF": 4.0}  # beside it
_DEEP, _DEEP_ALPHA = 23.0, 28.0  # of a file of 16 bits a channel while OpenCV decodes it, and what stays of that
_DEEP_HELD = 8.0
_COEFFICIENTS = 6.0  # of a progressive JPEG, which holds them all, at whatever size it comes
_CODES, _FLOATS = 7.0, 16.0  # what we make of it
_ALPHA_CODES, _ALPHA_FLOATS = 8.0, 19.0  # with transparency, which is filled
_AVERAGED = 0.8  # while squares are averaged
_INKS = 4.5  # with four inks
_BANDED = 40.0  # of the rows that are floats at once
_JPEG_SCALES = (8, 4, 2, 1)
_LEAST_SIDE = 64  # pixels that stay of the shorter side, so that methods can look at it
_LARGEST = 64  # times smaller, which is more than any picture that is read needs


def reading_bytes(header: Header, factor: int = 1, *, compact: bool = True) -> int:
    """Memory that reading takes at its peak, the picture that comes of it included.

    Args:
        header: of the picture.
        factor: how many times smaller its sides are decoded.
        compact: as for `read`.
    """
    whole = header.width * header.height
    if not header.format:  # an array, which is there already
        return int((3 if compact else 12) * whole)
    jpeg = header.format == "JPEG"
    small = whole / (_jpeg_scale(factor) if jpeg else factor) ** 2
    made = _made(header, small, compact=compact)
    if header.bits == 16:
        return int(max((_DEEP_ALPHA if header.transparent else _DEEP) * whole, _DEEP_HELD * whole + 1.3 * made))
    held = _CODECS.get(header.format, 0.0) + (_COEFFICIENTS if header.progressive else 0.0)
    if header.transparent and factor > 1:
        held += _PILLOW  # premultiplied, to be averaged
    held += _AVERAGED if factor > 1 and not jpeg else 0.0
    return int(held * whole + _PILLOW * (small if jpeg else whole) + made)


def _made(header: Header, pixels: float, *, compact: bool) -> float:
    """Bytes of what is made of decoded pixels."""
    each = _CODES if compact else _FLOATS
    if header.transparent:
        each += _ALPHA_CODES if compact else _ALPHA_FLOATS
    elif header.channels == 4:
        each += _INKS
    return each * pixels + (_BANDED * min(pixels, BAND) if compact else 0.0)


def fitting_factor(header: Header, name: str, *, longest: int | None, room: float, compact: bool) -> int:
    """How many times smaller a picture is to be decoded so that it fits: 1 where all of it does.

    Args:
        header: of the picture.
        name: for messages.
        longest: side that is wanted of it, at least; None for all.
        room: bytes that reading may take.
        compact: as for `read`.

    Raises:
        ResourceError: it does not fit at the least that is wanted, either.
    """
    for factor in _factors(header, longest):
        if reading_bytes(header, factor, compact=compact) <= room:
            return factor
    needed = least_bytes(header, longest=longest, compact=compact)
    size = f"{name} is {header.width}x{header.height} px"
    raise ResourceError(
        f"{size}: reading it takes {_megabytes(needed)} of memory; {_megabytes(room)} may be used",
        "shrink it first, or allow more with --max-memory",
    )


def least_bytes(header: Header, *, longest: int | None = None, compact: bool = True) -> int:
    """Memory that reading takes at least, where `longest` is wanted of the longer side."""
    return min(reading_bytes(header, factor, compact=compact) for factor in _factors(header, longest))


def _factors(header: Header, longest: int | None) -> range:
    if longest is None:
        return range(1, 2)
    most = min(max(header.width, header.height) // max(1, longest), min(header.width, header.height) // _LEAST_SIDE)
    return range(1, min(max(1, most), _LARGEST) + 1)


def _jpeg_scale(factor: int) -> int:
    return next(scale for scale in _JPEG_SCALES if scale <= factor)


def _megabytes(count: float) -> str:
    return f"{max(count, 0) / 1e6:,.0f} MB"


def ask_for(image: Image.Image, factor: int) -> None:
    """Have a JPEG decoded that many times smaller, or less: the next power of two down to an eighth."""
    if factor > 1 and image.format == "JPEG":
        scale = _jpeg_scale(factor)
        image.draft(None, (image.width // scale, image.height // scale))


def averaged(image: Image.Image, factor: int) -> Image.Image:
    """A loaded image of 8 bits made that many times smaller; its colours by how much of them is seen."""
    if factor == 1 or image.format == "JPEG" or image.mode.startswith("I;16"):
        return image
    if image.mode in ("P", "PA", "1") or "transparency" in image.info:
        clear = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if clear else "L" if image.mode == "1" else "RGB")
    return image.reduce(factor)


def averaged_codes(codes: NDArray[Any], factor: int) -> NDArray[Any]:
    """Codes `(H, W, C)` made that many times smaller, some rows at a time; the last channel of two or four is alpha."""
    if factor == 1:
        return codes
    height, width, channels = codes.shape
    result = np.empty((-(-height // factor), -(-width // factor), channels), codes.dtype)
    step = max(1, BAND // (width * factor))
    for row in range(0, len(result), step):
        part = codes[row * factor : (row + step) * factor].astype(np.float32)
        short = (-part.shape[0] % factor, -width % factor)
        part = np.pad(part, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge")
        cells = part.reshape(-1, factor, result.shape[1], factor, channels)
        mean = cells.mean((1, 3))
        if channels in (2, 4):
            seen = np.maximum(mean[..., -1:], 1e-6)
            mean[..., :-1] = (cells[..., :-1] * cells[..., -1:]).mean((1, 3)) / seen
        result[row : row + step] = np.rint(mean)
    return result
