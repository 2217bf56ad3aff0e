"""Resizing and blurring as products of matrices: the same on every backend, and so are their gradients.

A matrix `(target, source)` maps a column of pixels. Pictures are `(3, H, W)` here. Beside each stands what it is in
PyTorch; tests hold one to the other.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_SHARPNESS = -0.5  # of the cubic, as PIL and PyTorch have it where they antialias


@lru_cache(maxsize=64)
def bicubic(source: int, target: int) -> Floats:
    """`F.interpolate(mode="bicubic", antialias=True)`."""
    scale = source / target
    wide = max(scale, 1.0)
    matrix = np.zeros((target, source))
    for row in range(target):
        centre = scale * (row + 0.5)
        first = max(int(centre - 2 * wide + 0.5), 0)
        last = min(int(centre + 2 * wide + 0.5), source)
        weights = _cubic((np.arange(first, last) - centre + 0.5) / wide)
        matrix[row, first:last] = weights / weights.sum()
    return _frozen(matrix)


@lru_cache(maxsize=64)
def bilinear(source: int, target: int) -> Floats:
    """`F.interpolate(mode="bilinear", align_corners=False)`."""
    places = np.maximum((np.arange(target) + 0.5) * source / target - 0.5, 0)
    low = np.minimum(places.astype(int), source - 1)
    high, share = np.minimum(low + 1, source - 1), places - low
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] += 1 - share
    matrix[np.arange(target), high] += share
    return _frozen(matrix)


def blur(side: int, deviation: float) -> Floats:
    """A Gaussian out to three deviations, the outermost pixel repeated beyond the edge."""
    reach = max(1, math.ceil(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return _banded(weights / weights.sum(), np.clip, side)


def box(side: int, reach: int) -> Floats:
    """The mean within `reach` pixels, mirrored beyond the edge."""
    return _banded(np.full(2 * reach + 1, 1 / (2 * reach + 1)), _mirror, side)


def mirrored(length: int, wanted: int) -> NDArray[np.int64]:
    """Indices 0 .. length-1, then back and forth without repeating the ends, `wanted` in all."""
    positions = np.arange(wanted)
    if length == 1:
        return np.zeros_like(positions)
    positions = positions % (2 * (length - 1))
    return np.minimum(positions, 2 * (length - 1) - positions)


def extended(picture: Floats, multiple: int, *, least: int = 1) -> Floats:
    """A picture `(3, H, W)` mirrored on the right and below to sides that are multiples, and at least that long."""
    rows, columns = (-(-max(side, least) // multiple) * multiple for side in picture.shape[1:])
    own = picture.shape[1:]
    return picture[:, mirrored(own[0], rows)][:, :, mirrored(own[1], columns)]


def applied(rows: Floats, picture: Floats, columns: Floats) -> Floats:
    """`rows @ picture @ columns^T` for each channel."""
    moved: Floats = (rows @ picture @ columns.T).astype(np.float32)
    return moved


def resample(picture: Floats, height: int, width: int) -> Floats:
    """As `ops.tiles.resample`; differences keep their sign, so nothing is clamped."""
    if picture.shape[1:] == (height, width):
        return picture
    return applied(bicubic(picture.shape[1], height), picture, bicubic(picture.shape[2], width))


def _cubic(x: NDArray[Any]) -> NDArray[Any]:
    x, a = np.abs(x), _SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _mirror(places: Any, _first: int, last: int) -> Any:
    places = np.abs(places)
    return np.where(places > last, 2 * last - places, places)


def _banded(weights: NDArray[np.float64], onto: Any, side: int) -> Floats:
    matrix, reach = np.zeros((side, side)), len(weights) // 2
    for offset, weight in enumerate(weights, start=-reach):
        np.add.at(matrix, (np.arange(side), onto(np.arange(side) + offset, 0, side - 1)), weight)
    return _frozen(matrix)


def _frozen(matrix: NDArray[np.float64]) -> Floats:
    found: Floats = matrix.astype(np.float32)
    found.flags.writeable = False
    return found
