"""ICC profiles to sRGB and back, in float: matrix and curve profiles here, everything else through LittleCMS.

Pillow's ImageCms works on 8 bits only, so profiles made of a matrix and three curves (sRGB, Display P3, Adobe RGB,
ProPhoto: nearly every RGB profile in photographs) and grey curves are computed here, which serves 8 and 16 bits alike.

Source: ICC.1:2022 (profile version 4.4), 8.3 three-component matrix-based profiles, 10.6 curveType, 10.18
parametricCurveType; IEC 61966-2-1 for the sRGB curve.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from impasto.images._picture import Floats

MAX_PROFILE = 8 << 20  # bytes; press profiles reach 3 MB
_BAND = 1 << 18  # pixels converted at once, to bound the memory of intermediates
_GRID = 1 << 14  # samples of a curve that is interpolated

# linear sRGB to XYZ relative to D50, the ICC's connection space, Bradford-adapted (the sRGB profile of color.org)
_SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]], dtype=np.float64
)


@dataclass(frozen=True)
class Profile:
    """A matrix or grey profile.

    Attributes:
        curves: one for grey or three; each `(65536,)` float64, light for the code at that index.
        to_xyz: `(3, 3)` linear RGB to XYZ; None for grey.
        is_srgb: it differs from sRGB by less than half an 8-bit step, so that values may pass unchanged.
    """

    curves: tuple[NDArray[np.float64], ...]
    to_xyz: NDArray[np.float64] | None
    is_srgb: bool = False


def srgb_encode(light: NDArray[Any]) -> NDArray[Any]:
    """Linear light in [0, 1] to sRGB values."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(np.maximum(light, 1e-9), 1 / 2.4) - 0.055)


def srgb_decode(values: NDArray[Any]) -> NDArray[Any]:
    """SRGB values in [0, 1] to linear light."""
    return np.where(values <= 0.04045, values / 12.92, np.power((values + 0.055) / 1.055, 2.4))


def parse(icc: bytes | None) -> Profile | None:
    """The profile, if it is made of curves and at most a matrix; None for any other, damaged ones included."""
    if not icc:
        return None
    try:
        with np.errstate(all="ignore"):  # wild numbers in a damaged profile end as a useless curve, not as warnings
            return _parse(icc)
    except (struct.error, ValueError, IndexError, KeyError, OverflowError):
        return None


def _parse(icc: bytes) -> Profile | None:
    space, connection = icc[16:20], icc[20:24]
    tags = _tags(icc)
    if connection != b"XYZ " and not (space == b"GRAY" and connection == b"Lab "):
        return None
    if space == b"GRAY" and b"kTRC" in tags:
        curve = _curve(tags[b"kTRC"])
        if connection == b"Lab ":  # the curve then gives L*/100, not light (ICC.1:2022, 8.3.4)
            curve = np.where(curve > 0.08, ((curve * 100 + 16) / 116) ** 3, curve * 100 / 903.3)
        return Profile((curve,), None, is_srgb=_same_curve(curve))
    # a table (A2B0) takes precedence over the matrix where a profile has both (ICC.1:2022, 8.10.2)
    if space != b"RGB " or b"A2B0" in tags or b"rXYZ" not in tags:
        return None
    curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    to_xyz = np.column_stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")])
    if not np.isfinite(to_xyz).all() or abs(np.linalg.det(to_xyz)) < 1e-6:
        return None
    return Profile(curves, to_xyz, is_srgb=_is_srgb(curves, to_xyz))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200:
        raise ValueError("too many tags")
    rows = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count)]
    return {name: icc[offset : offset + size] for name, offset, size in rows}


def _xyz(tag: bytes) -> NDArray[np.float64]:
    return np.array(struct.unpack_from(">3i", tag, 8), dtype=np.float64) / 65536.0


def _curve(tag: bytes) -> NDArray[np.float64]:
    """A curve as light in [0, 1] for each of 65536 codes, made monotone so that it can be inverted."""
    codes = np.linspace(0.0, 1.0, 65536)
    if tag[:4] == b"para":
        light = _parametric(tag, codes)
    elif tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            light = codes
        elif count == 1:
            light = codes ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        else:
            table = np.frombuffer(tag, ">u2", count, 12).astype(np.float64) / 65535
            light = np.interp(codes, np.linspace(0.0, 1.0, count), table)
    else:
        raise ValueError("not a curve")
    monotone: NDArray[np.float64] = np.maximum.accumulate(np.clip(np.nan_to_num(light), 0.0, 1.0))
    return monotone


def _parametric(tag: bytes, codes: NDArray[np.float64]) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = (1, 3, 4, 5, 7)[kind]
    p = [value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)]
    if kind == 0:
        plain: NDArray[np.float64] = np.power(codes, p[0])
        return plain
    g, a, b = p[:3]
    power: NDArray[np.float64] = np.power(np.maximum(a * codes + b, 0.0), g)
    if kind in {1, 2}:
        offset = p[3] if kind == 2 else 0.0
        shifted: NDArray[np.float64] = np.where(codes >= -b / a, power + offset, offset) if a else power + offset
        return shifted
    c, d = p[3:5]
    e, f = p[5:7] if kind == 4 else (0.0, 0.0)
    return np.where(codes >= d, power + e, c * codes + f)


def _same_curve(curve: NDArray[np.float64]) -> bool:
    codes = np.linspace(0.0, 1.0, 65536)
    return bool(np.abs(srgb_encode(curve) - codes).max() < 1 / 512)


def _is_srgb(curves: tuple[NDArray[np.float64], ...], to_xyz: NDArray[np.float64]) -> bool:
    return bool(np.abs(to_xyz - _SRGB_TO_XYZ).max() < 1e-3) and all(_same_curve(curve) for curve in curves)


def to_srgb(codes: NDArray[Any], profile: Profile, *, top: int) -> Floats:
    """Codes in a profile's colours to sRGB values; what lies outside sRGB is clipped.

    codes: `(H, W, 3)`, or `(H, W, 1)` for a grey profile, integers from 0 to `top`.
    Returns `(H, W, 3)` float32 in [0, 1].
    """
    if profile.is_srgb:
        return _as_rgb(codes.astype(np.float32) / np.float32(top))
    indices = np.rint(np.linspace(0, 65535, top + 1)).astype(np.int64)
    tables = [curve[indices].astype(np.float32) for curve in profile.curves]
    if profile.to_xyz is None:
        return _as_rgb(srgb_encode(tables[0]).astype(np.float32)[codes])
    matrix = (np.linalg.inv(_SRGB_TO_XYZ) @ profile.to_xyz).astype(np.float32)
    encode = srgb_encode(np.linspace(0.0, 1.0, _GRID) ** 2).astype(np.float32)
    flat = codes.reshape(-1, 3)
    result = np.empty(flat.shape, dtype=np.float32)
    for start in range(0, len(flat), _BAND):
        band = flat[start : start + _BAND]
        light = np.stack([tables[channel][band[:, channel]] for channel in range(3)], axis=1) @ matrix.T
        result[start : start + _BAND] = _lookup(encode, np.sqrt(np.clip(light, 0.0, 1.0)))
    return np.clip(result, 0.0, 1.0).reshape(codes.shape)


def _lookup(table: Floats, values: Floats) -> Floats:
    """A function given by its samples over [0, 1], linearly interpolated; `np.interp` takes ten times as long."""
    place = values * np.float32(len(table) - 1)
    cell = place.astype(np.intp)
    place -= cell
    found: Floats = table.take(cell)
    cell += 1
    above = table.take(cell, mode="clip")
    above -= found
    above *= place
    found += above
    return found


def _as_rgb(values: Floats) -> Floats:
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def from_srgb(pixels: Floats, profile: Profile) -> Floats:
    """The inverse of `to_srgb` for an RGB profile. pixels: `(H, W, 3)` in [0, 1]. Returns the same shape."""
    if profile.is_srgb or profile.to_xyz is None:
        return pixels
    matrix = (np.linalg.inv(profile.to_xyz) @ _SRGB_TO_XYZ).astype(np.float32)
    grid = np.linspace(0.0, 1.0, _GRID)
    decode = srgb_decode(grid).astype(np.float32)
    # sampled in the square root of light, where the curves of displays are nearly straight
    codes = np.linspace(0.0, 1.0, 65536)
    inverses = [np.interp(grid**2, curve, codes).astype(np.float32) for curve in profile.curves]
    flat = pixels.reshape(-1, 3)
    result = np.empty(flat.shape, dtype=np.float32)
    for start in range(0, len(flat), _BAND):
        light = _lookup(decode, np.clip(flat[start : start + _BAND], 0.0, 1.0)) @ matrix.T
        roots = np.sqrt(np.clip(light, 0.0, 1.0))
        for channel in range(3):
            result[start : start + _BAND, channel] = _lookup(inverses[channel], roots[:, channel])
    return result.reshape(pixels.shape)


def by_littlecms(image: Image.Image, icc: bytes | None) -> Image.Image | None:
    """An image through LittleCMS to 8-bit sRGB, perceptually; None where the profile does not fit the image.

    image: CMYK or RGB with its profile, or LAB, whose profile is implied.
    """
    try:
        source = ImageCms.createProfile("LAB") if image.mode == "LAB" else ImageCms.ImageCmsProfile(BytesIO(icc or b""))
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.PERCEPTUAL, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
