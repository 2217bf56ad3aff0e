"""Sixteen bits a channel, by OpenCV: Pillow holds 16 bits for grey alone.

TIFFs, too: libtiff inside OpenCV reads LZW, which tifffile leaves to a large package, and never inflates more than a
strip should hold. tifffile reads the one layout that OpenCV takes wrongly: channels in planes of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import InputError
from impasto.images import _png

_INFLATED = (8, 32946)  # Deflate, by Adobe's number and the older one


def decode_16(image: Image.Image, data: bytes, tags: Mapping[int, Any]) -> NDArray[np.uint16] | None:
    """16-bit codes `(H, W, C)` by OpenCV; None where it cannot and Pillow must do."""
    if image.format == "PNG":
        data = _png.without_metadata(data)
    elif tags.get(262) not in (0, 1, 2) or set(tags.get(258, ())) != {16} or set(tags.get(339, (1,))) != {1}:
        return None
    else:
        _check_strips(tags, len(data))
        if tags.get(284) == 2 and tags.get(277, 1) > 1:
            return _in_order(_planes(data, tags), tags)
    codes: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16:
        return None
    if codes.ndim == 2:
        codes = codes[..., None]
    if codes.shape[2] >= 3:
        codes = codes[..., [2, 1, 0, 3][: codes.shape[2]]]
    if image.format == "PNG" and data[25] == 4:  # grey with alpha comes as four channels
        codes = codes[..., 2:]
    return _in_order(codes, tags)


def _in_order(codes: NDArray[Any], tags: Mapping[int, Any]) -> NDArray[np.uint16]:
    """Codes of RGB or grey, black at 0, with straight alpha."""
    if tags.get(262) == 0:  # WhiteIsZero, which OpenCV passes as it is
        codes = 65535 - codes
    if 1 in as_tuple(tags.get(338, ())) and codes.shape[2] == 4:  # ExtraSamples: associated, that is premultiplied
        codes = _straight(codes)
    return np.ascontiguousarray(codes)


def _planes(data: bytes, tags: Mapping[int, Any]) -> NDArray[np.uint16]:
    """Codes `(H, W, C)` of a TIFF whose channels lie in planes of their own."""
    import tifffile  # here, since few TIFFs need it

    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        if page.compression != 1 and page.compression not in _INFLATED:
            kind = tifffile.COMPRESSION(page.compression).name
            raise InputError(
                f"a TIFF of separate planes in {kind} compression is not read", "save it with interleaved channels"
            )
        if page.dtype != np.uint16 or page.shape != (tags[277], tags[257], tags[256]):
            raise ValueError("its tags contradict one another")
        if page.compression in _INFLATED:
            largest = 2 * int(np.prod(page.chunks))
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                _check_inflated(data[start : start + count], largest)
        return np.moveaxis(page.asarray(maxworkers=1), 0, -1)


def _check_inflated(strip: bytes, largest: int) -> None:
    """Refuse a strip that would inflate to more than `largest` bytes, which tifffile would do without a limit."""
    if len(zlib.decompressobj().decompress(strip, largest + 1)) > largest:
        raise ValueError("a strip holds more than its size")


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A TIFF tag as a tuple, whether it holds one number or several."""
    return value if isinstance(value, tuple) else (value,)


def _check_strips(tags: Mapping[int, Any], size: int) -> None:
    """Truncation, found before OpenCV would report it on standard error and fill in black."""
    for offsets, counts in ((273, 279), (324, 325)):
        for offset, count in zip(as_tuple(tags.get(offsets, ())), as_tuple(tags.get(counts, ())), strict=False):
            if offset + count > size:
                raise ValueError("the file is truncated")


def _straight(codes: NDArray[Any]) -> NDArray[np.uint16]:
    alpha = codes[..., 3:].astype(np.float64)
    color = np.divide(codes[..., :3] * 65535.0, alpha, out=np.zeros(codes[..., :3].shape), where=alpha > 0)
    return np.concatenate([np.rint(np.minimum(color, 65535)).astype(np.uint16), codes[..., 3:]], axis=2)


def keyed(codes: NDArray[np.uint16], key: Any) -> NDArray[np.uint16]:
    """Alpha from the one transparent colour that a 16-bit PNG may name (tRNS)."""
    if codes.shape[2] not in (1, 3):
        return codes
    wanted = np.array(as_tuple(key)[: codes.shape[2]], dtype=np.uint16)
    alpha = np.where((codes == wanted).all(axis=2, keepdims=True), 0, 65535).astype(np.uint16)
    return np.concatenate([codes, alpha], axis=2)
