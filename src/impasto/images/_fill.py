"""Colours for what cannot be seen: spread from the visible edge outwards, so that hidden ones change nothing.

Push and pull: visible colours are averaged into ever coarser cells, and what is hidden takes the colour of the finest
cell that holds something visible. Paper: Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The Lumigraph", section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.images._picture import BAND, Floats, as_float, is_codes, quantise

_CODE = np.float32(1 / 255)  # the opacity up to which nothing shows on a screen of 8 bits
_FAINT = np.float32(8 / 255)  # below it a colour that was stored premultiplied by alpha is known to within 1/8 or worse


def fill_hidden(pixels: NDArray[Any], alpha: Floats) -> NDArray[Any]:
    """The picture with colours from around it where it is transparent.

    What is opaque keeps its colour exactly. What is nearly transparent moves towards its surroundings by as much as
    cannot be seen: one code of 8 bits, times what alpha leaves of it. So colours that are rounded off at soft edges
    lose their noise, and what is at most 1/255 opaque has no say at all.

    Args:
        pixels: `(H, W, 3)`, floats in [0, 1] or codes.
        alpha: `(H, W)` in [0, 1].

    Returns:
        The same kind; the very array where nothing is hidden. A picture without anything to see becomes grey.
    """
    if float(alpha.min()) >= _FAINT:
        return pixels
    around, result = _surroundings(pixels, alpha), np.empty_like(pixels)
    for rows in _even_bands(pixels):
        own = as_float(pixels[rows])
        slack = _slack(alpha[rows, :, None])
        moved = np.clip(_doubled(around, rows, own.shape[1]), own - slack, own + slack)
        hidden = alpha[rows] < _FAINT
        if is_codes(result):
            moved = quantise(moved, 8 * result.itemsize)
        result[rows] = np.where(hidden[..., None], moved, pixels[rows])
    return result


def _surroundings(pixels: NDArray[Any], alpha: Floats) -> NDArray[Any]:
    """Visible colours at half the size, spread to where there are none, `(h, w, 3)`."""
    kept = np.float16 if is_codes(pixels) else np.float32  # codes mean that memory is short
    levels = [_joined(_averaged(as_float(pixels[rows]), alpha[rows]) for rows in _even_bands(pixels)).astype(kept)]
    while levels[-1].size > 4:
        levels.append(_halved(levels[-1].astype(np.float32)).astype(kept))
    top = levels.pop().astype(np.float32)
    around = np.where(top[..., 3:] > 0, top[..., :3] / np.maximum(top[..., 3:], 1e-6), np.float32(0.5)).astype(kept)
    while levels:
        level = levels.pop()
        around = _joined(_completed(level[rows], around, rows) for rows in _even_bands(level)).astype(kept)
    return around


def _slack(alpha: Floats) -> Floats:
    """How far a colour may move without being seen; nothing from _FAINT on."""
    most: Floats = _CODE / np.maximum(alpha, _CODE) * np.clip((_FAINT - alpha) / (_FAINT - _CODE), 0, 1)
    return most


def _even_bands(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows of a picture, an even number at a time."""
    rows = max(2, BAND // pixels.shape[1] // 2 * 2)
    height = pixels.shape[0]
    return (slice(start, min(start + rows, height)) for start in range(0, height, rows))


def _joined(parts: Iterator[Floats]) -> Floats:
    listed = list(parts)
    return listed[0] if len(listed) == 1 else np.concatenate(listed)


def _averaged(pixels: Floats, alpha: Floats) -> Floats:
    """Cells of 2 x 2 pixels: colours times weight, and weight, `(h, w, 4)`."""
    weight = np.clip((alpha - _CODE) / (1 - _CODE), 0, 1)[..., None]
    return _halved(np.concatenate([pixels * weight, weight], axis=2))


def _halved(level: Floats) -> Floats:
    """Cells of 2 x 2 of a level. Weights add up to 1 at most: what is visible nearby counts, however little it is."""
    tall, wide = level.shape[0] % 2, level.shape[1] % 2
    if tall or wide:
        level = np.pad(level, ((0, tall), (0, wide), (0, 0)))
    sums = level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]
    cells: Floats = sums / np.maximum(sums[..., 3:], 1)
    return cells


def _completed(level: NDArray[Any], around: NDArray[Any], rows: slice) -> Floats:
    """Rows of a level where what it lacks comes from the next coarser one, `(h, w, 3)`."""
    own = level.astype(np.float32)
    return own[..., :3] + (1 - own[..., 3:]) * _doubled(around, rows, own.shape[1])


def _doubled(coarse: NDArray[Any], rows: slice, width: int) -> Floats:
    """Rows of a level of twice the size, bilinear between the cells' middles; rows begin at an even one."""
    first, last = rows.start // 2, -(-rows.stop // 2)
    places = np.clip(np.arange(first - 1, last + 1), 0, coarse.shape[0] - 1)
    tall = _stretched(coarse[places].astype(np.float32))[: rows.stop - rows.start]
    across = np.clip(np.arange(-1, coarse.shape[1] + 1), 0, coarse.shape[1] - 1)
    return _stretched(tall[:, across].swapaxes(0, 1)).swapaxes(0, 1)[:, :width]


def _stretched(values: Floats) -> Floats:
    """`(n + 2, ...)` at twice the density, without the first and the last: `(2 n, ...)`."""
    middle = np.float32(0.75) * values[1:-1]
    halves = np.stack([middle + np.float32(0.25) * values[:-2], middle + np.float32(0.25) * values[2:]], axis=1)
    return halves.reshape(-1, *values.shape[1:])
