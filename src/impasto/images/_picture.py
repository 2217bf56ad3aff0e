"""The `Picture` that packages pass to each other, and arithmetic on its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import InputError, StyleError

Floats: TypeAlias = NDArray[np.float32]

BAND = 1 << 20
"""Pixels that are floats at once where a picture is kept as codes."""


@dataclass(frozen=True)
class Origin:
    """Properties of the source file, to write a picture back like it.

    Attributes:
        bits: 8 or 16 a channel.
        mode: "rgb", "grey", "cmyk" or "palette".
        format: "PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF"; empty for arrays.
        icc: the embedded profile as it was.
        exif: a TIFF structure without the "Exif" prefix, upright (orientation 1), without a thumbnail.
        xmp: the packet as it was.
        dpi: horizontal and vertical dots an inch.
        text: a PNG's text chunks or a JPEG's comment.
        path: the file, where there was one.
    """

    bits: int = 8
    mode: str = "rgb"
    format: str = ""
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: `(H, W, 3)`, sRGB, upright: float32 in [0, 1]; or, where memory is short, codes in uint8 or uint16, a
            quarter or half as large. `unit` makes floats of either.
        alpha: `(H, W)` float32 in [0, 1], straight (not premultiplied); None for an opaque picture. Where
            nothing can be seen, pixels have the colours around.
        origin: what is needed to write it back like its source.
        notes: one-line things to tell the user.
    """

    pixels: NDArray[Any]
    alpha: Floats | None = None
    origin: Origin = Origin()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Picture {self.width}x{self.height} px{'' if self.alpha is None else ' with alpha'}>"

    @property
    def name(self) -> str:
        """Of its file; "picture" where there was none."""
        return self.origin.path.name if self.origin.path else "picture"

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    def without_border(self, share: float) -> Picture:
        """Without that share of both sides at each of their ends, transparency included."""
        down, right = round(share * self.height), round(share * self.width)
        inside = slice(down, self.height - down), slice(right, self.width - right)
        return replace(self, pixels=self.pixels[inside], alpha=None if self.alpha is None else self.alpha[inside])

    def resized(self, height: int, width: int) -> Picture:
        """At another size, transparency included."""
        alpha = None if self.alpha is None else resize(self.alpha, height, width)
        return replace(self, pixels=resize(self.pixels, height, width), alpha=alpha)


@dataclass(frozen=True)
class Header:
    """Properties of a picture, from its header.

    Attributes:
        width: columns, after orientation.
        height: rows, after orientation.
        format: as in `Origin.format`.
        bits: 8 or 16 a channel.
        frames: frames or pages; 1 for a still picture.
        channels: of the file, alpha included.
        transparent: whether there is alpha.
        progressive: whether it is a JPEG of several passes, which takes more memory to read.
    """

    width: int
    height: int
    format: str
    bits: int = 8
    frames: int = 1
    channels: int = 3
    transparent: bool = False
    progressive: bool = False


def fit(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size, `(width, height)`, whose longest side is `longest` at the same aspect, each side at least 1."""
    if longest < 1:
        raise InputError(f"the longest side must be at least 1 px, not {longest}", "give a positive --size")
    side = max(width, height)
    return max(1, round(width * longest / side)), max(1, round(height * longest / side))


def is_codes(pixels: NDArray[Any]) -> bool:
    """Whether pixels are integer codes, not floats in [0, 1]."""
    return pixels.dtype in (np.uint8, np.uint16)


def as_float(pixels: NDArray[Any]) -> Floats:
    """Pixels as float32 in [0, 1]: codes divided by the largest, floats as they are."""
    if is_codes(pixels):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return np.asarray(pixels, dtype=np.float32)


def bands(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows of a picture, some at a time, so that what is made of them on the way is small."""
    rows = max(1, BAND // pixels.shape[1])
    return (slice(start, start + rows) for start in range(0, pixels.shape[0], rows))


def resize(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize with antialiasing and without overshoot.

    pixels: `(H, W, C)` or `(H, W)`, floats in [0, 1] or codes. Returns the same rank, codes for codes and float32 for
    floats; an equal size gives the same values. Lanczos where a side shrinks; bicubic otherwise, since Lanczos rings
    more on enlarged edges.
    """
    if height < 1 or width < 1:
        raise InputError(f"a picture cannot be {width}x{height} px", "give a size of at least 1x1")
    if is_codes(pixels):
        return _resized_codes(pixels, height, width)
    source = np.asarray(pixels, dtype=np.float32)
    if source.shape[:2] == (height, width):
        return source.copy()
    planes = source[..., None] if source.ndim == 2 else source
    shrinks = height < source.shape[0] or width < source.shape[1]
    kernel = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    resized = np.empty((height, width, planes.shape[2]), dtype=np.float32)
    for channel in range(planes.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., channel]))
        resized[..., channel] = np.asarray(plane.resize((width, height), kernel))
    np.clip(resized, 0.0, 1.0, out=resized)
    return resized[..., 0] if source.ndim == 2 else resized


def _resized_codes(codes: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """One channel after another, so that a third of the picture is floats at a time."""
    if codes.shape[:2] == (height, width):
        return codes.copy()
    resized = np.empty((height, width, *codes.shape[2:]), dtype=codes.dtype)
    planes, targets = np.atleast_3d(codes), np.atleast_3d(resized)
    bits = 8 * codes.dtype.itemsize
    for channel in range(planes.shape[2]):
        plane = resize(as_float(planes[..., channel]), height, width)
        for rows in bands(plane):
            targets[rows, :, channel] = quantise(plane[rows], bits)
    return resized


def digest(pixels: NDArray[Any]) -> str:
    """sha256, in hex, of the shape and the float32 values: the key of caches. Codes have that of their floats."""
    hashed = hashlib.sha256(repr(pixels.shape).encode())
    for rows in bands(pixels):
        hashed.update(np.ascontiguousarray(as_float(pixels[rows]), dtype="<f4").data)
    return hashed.hexdigest()


def quantise(values: Floats, bits: int) -> NDArray[Any]:
    """Codes of `bits` (8 or 16) for values in [0, 1]: clipped, rounded half to even.

    Raises:
        StyleError: a value is NaN, which no file can hold.
    """
    if np.isnan(values).any():
        raise StyleError("the picture holds NaN (not a number)", "the method diverged: try other weights, or report it")
    top = np.float32(2**bits - 1)
    codes: NDArray[Any] = np.rint(np.clip(values, 0.0, 1.0) * top).astype(np.uint16 if bits == 16 else np.uint8)
    return codes


def to_pil(picture: Picture) -> Image.Image:
    """The picture as an 8-bit sRGB `PIL.Image`: RGBA where it has alpha, else RGB."""
    codes = picture.pixels if picture.pixels.dtype == np.uint8 else quantise(as_float(picture.pixels), 8)
    if picture.alpha is not None:
        codes = np.dstack([codes, quantise(picture.alpha, 8)])
    return Image.fromarray(codes)
