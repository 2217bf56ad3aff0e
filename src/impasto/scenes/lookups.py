"""Views as lookups: which texels, vertices, points or voxels each pixel of a view shows, and how much of each.

Textures are filtered as graphics cards do it: trilinearly over mip levels, along the longer side of a pixel's
footprint by several taps, so that what is seen at a slant is neither blurred nor noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.optim.surfaces import Lookup, Sheet
from impasto.scenes.rasterise import Floats, Indices, Raster

WRAPS = ("repeat", "clamp", "mirror")
_TAPS = 6  # along a footprint, at most


@dataclass(frozen=True)
class Footprints:
    """What pixels see of one texture.

    Attributes:
        pixels: `(P,)`, places in the view.
        places: `(P, 2)`, texture coordinates, (0, 0) the upper left corner, (1, 1) the lower right.
        slopes: `(P, 2, 2)`, how they change per pixel to the right and down.
        shares: `(P,)`, how much of the pixel this is.
    """

    pixels: Indices
    places: Floats
    slopes: Floats
    shares: Floats


@dataclass(frozen=True)
class Taps:
    """Entries of a `Lookup`."""

    pixels: Indices
    rows: Indices
    weights: Floats


def texture_taps(seen: Footprints, sheet: Sheet, first: int, wrap: tuple[str, str], *, most: int = _TAPS) -> Taps:
    """The texels that pixels show.

    Args:
        seen: where the pixels lie on the texture.
        sheet: the texture.
        first: its first row of colours.
        wrap: how it goes on beyond its left and right, upper and lower edges: one of WRAPS each.
        most: taps along a footprint, at most.
    """
    height, width = sheet.sides
    texels = seen.slopes * np.array([width, height], float)
    lengths = np.linalg.norm(texels, axis=2)
    longer = lengths.argmax(1)
    major, minor = lengths.max(1), np.maximum(lengths.min(1), 1.0)
    counts = np.clip(np.ceil(major / minor), 1, most).astype(np.int64)
    levels = np.clip(np.log2(np.maximum(major / counts, 1.0)), 0, len(sheet.levels) - 1)
    axis = np.take_along_axis(seen.slopes, longer[:, None, None], 1)[:, 0]
    parts = []
    for tap in range(int(counts.max(initial=0))):
        own = np.flatnonzero(counts > tap)
        offset = (tap + 0.5) / counts[own] - 0.5
        places = seen.places[own] + offset[:, None] * axis[own]
        parts += _trilinear(own, places, levels[own], seen.shares[own] / counts[own], sheet, first, wrap)
    return _joined(
        [Taps(seen.pixels[one.pixels], one.rows, one.weights) for one in parts] or [Taps(*(np.zeros(0, int),) * 3)]
    )


def _trilinear(
    owners: Indices, places: Floats, levels: Floats, shares: Floats, sheet: Sheet, first: int, wrap: tuple[str, str]
) -> list[Taps]:
    """Bilinear taps on the two levels around each one's own."""
    sizes = np.array(sheet.levels)
    starts = first + np.concatenate(([0], np.cumsum(sizes.prod(1))[:-1]))
    low = np.floor(levels).astype(np.int64)
    found = []
    for level, part in ((low, 1 - (levels - low)), (np.minimum(low + 1, len(sizes) - 1), levels - low)):
        used = np.flatnonzero(part > 0)
        own = sizes[level[used]]
        for rows, weights in _bilinear(places[used], own, wrap):
            found.append(Taps(owners[used], starts[level[used]] + rows, weights * (part * shares)[used]))
    return found


def _bilinear(places: Floats, sizes: Indices, wrap: tuple[str, str]) -> list[tuple[Indices, Floats]]:
    """The four texels around each place, of a level of its own size `(P, 2)`."""
    x, y = places[:, 0] * sizes[:, 1] - 0.5, places[:, 1] * sizes[:, 0] - 0.5
    left, top = np.floor(x), np.floor(y)
    right_share, lower_share = x - left, y - top
    columns = [wrapped(left + step, sizes[:, 1], wrap[0]) for step in (0, 1)]
    rows = [wrapped(top + step, sizes[:, 0], wrap[1]) for step in (0, 1)]
    across, down = (1 - right_share, right_share), (1 - lower_share, lower_share)
    return [
        (rows[below] * sizes[:, 1] + columns[beside], down[below] * across[beside])
        for below in (0, 1)
        for beside in (0, 1)
    ]


def wrapped(positions: Floats, size: Indices, how: str) -> Indices:
    """Whole positions brought within [0, size), as a sampler says."""
    whole = positions.astype(np.int64)
    if how == "clamp":
        return np.clip(whole, 0, size - 1)
    if how == "mirror":
        folded = np.mod(whole, 2 * size)
        return np.minimum(folded, 2 * size - 1 - folded)
    return np.mod(whole, size)


def vertex_taps(
    raster: Raster, corners: Indices, first: int, chosen: NDArray[np.bool_], *, first_face: int = 0
) -> Taps:
    """The vertices that pixels show, by their weights.

    Args:
        raster: the view.
        corners: `(F, 3)`, vertices of each face.
        first: their first row of colours.
        chosen: `(P,)`, which pixels.
        first_face: which of the view's faces is the first of `corners`.
    """
    pixels = raster.pixels[chosen].repeat(3)
    rows = first + corners[raster.faces[chosen] - first_face].ravel()
    return Taps(pixels, rows, raster.weights[chosen].ravel())


def _joined(parts: Sequence[Taps]) -> Taps:
    return Taps(
        np.concatenate([one.pixels for one in parts]),
        np.concatenate([one.rows for one in parts]),
        np.concatenate([one.weights for one in parts]),
    )


def lookup(
    parts: Sequence[Taps], sides: tuple[int, int], *, facing: Floats | None = None, depths: Floats | None = None
) -> Lookup:
    """A view of taps.

    Args:
        parts: what the pixels show.
        sides: height and width.
        facing, depths: see `Lookup`; of every pixel.
    """
    taps = _joined(parts) if parts else Taps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    order = np.argsort(taps.pixels, kind="stable")

    def tensor(values: NDArray[np.generic], kind: type) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values.astype(kind, copy=False)))

    return Lookup(
        sides,
        tensor(taps.pixels[order], np.int64),
        tensor(taps.rows[order], np.int64),
        tensor(taps.weights[order], np.float32),
        tensor(np.zeros(0) if facing is None else facing, np.float32),
        tensor(np.full(sides[0] * sides[1], np.inf) if depths is None else depths, np.float32),
    )
