"""TIFF, written by us: Pillow writes no 16-bit colour, OpenCV no metadata, and tifffile no EXIF and GPS directories.

Baseline RGB strips, Deflate with horizontal differencing, little-endian. Source: TIFF 6.0, sections 6, 8 and 14;
Adobe Photoshop TIFF Technical Notes (compression 8); XMP Specification Part 3 (tag 700); ICC.1:2022, B.4 (tag 34675).
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from impasto.errors import InputError
from impasto.images._metadata import EXIF_IFD, GPS_IFD, directory

_STRIP = 1 << 18  # bytes of pixels in a strip, before compression
_UNASSOCIATED, _INCH, _UNDEFINED, _BYTE, _LONG = 2, 2, 7, 1, 4


def encode(
    codes: NDArray[Any], *, exif: Image.Exif, icc: bytes | None, xmp: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """A TIFF of `codes (H, W, 3 | 4)`, uint8 or uint16; the fourth channel is straight alpha."""
    height, width, channels = codes.shape
    rows = max(1, _STRIP // (width * channels * codes.itemsize))
    strips = [_strip(codes[top : top + rows]) for top in range(0, height, rows)]
    if sum(map(len, strips)) > 2**32 - 2**24:
        raise InputError("the picture needs over 4 GB; a TIFF holds 4 GB", "save it as PNG")
    ifd = _described(exif)
    ifd[256], ifd[257] = width, height
    ifd[258] = (8 * codes.itemsize,) * channels
    ifd[259], ifd[262], ifd[277], ifd[284], ifd[317] = 8, 2, channels, 1, 2
    ifd[278] = rows
    ifd.tagtype[273] = ifd.tagtype[279] = _LONG
    # Pillow's directory takes these as relative to its own end, where the strips then follow
    ifd[273] = tuple(int(start) for start in np.cumsum([0, *map(len, strips[:-1])]))
    ifd[279] = tuple(map(len, strips))
    if channels == 4:
        ifd[338] = _UNASSOCIATED
    if dpi:
        ifd[282], ifd[283], ifd[296] = dpi[0], dpi[1], _INCH
    for tag, kind, blob in ((34675, _UNDEFINED, icc), (700, _BYTE, xmp)):
        if blob:
            ifd.tagtype[tag] = kind
            ifd[tag] = blob
    stream = BytesIO()
    ifd.save(stream)
    return b"".join([stream.getvalue(), *strips])


def _described(exif: Image.Exif) -> ImageFileDirectory_v2:
    """A directory with what EXIF says of the picture; its sub-directories become the TIFF's own."""
    ifd = ImageFileDirectory_v2()
    for tag, value in exif.items():
        ifd[tag] = directory(exif, tag) if tag in (EXIF_IFD, GPS_IFD) else value
    return ifd


def _strip(codes: NDArray[Any]) -> bytes:
    """Rows as differences from the pixel to the left, modulo the type's range, deflated."""
    differences = codes.copy()
    differences[:, 1:] -= codes[:, :-1]
    return zlib.compress(
        differences.astype(codes.dtype.newbyteorder("<")).tobytes(), 4
    )  # as for PNG: much faster than 6, hardly larger
