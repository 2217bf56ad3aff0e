"""Seams: where charts of a texture are cut apart on a mesh, and colours brought together across them.

What is finer than a view's pixels is descended on each side of a cut by itself, so colours differ there. Half of the
difference, smoothed along the cut and fading away from it, is added on either side: large differences first, then
fine ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.scenes.meshes import Surface, welded
from impasto.scenes.rasterise import Floats, Indices, rasterise

_REACHES = (1 / 40, 1 / 120, 1 / 400)  # of a texture's side, over which differences fade
_SMOOTH = 0.5  # least cosine between the normals of triangles whose common edge is no edge of the shape
EDGE = 1e-4  # by which texture coordinates may leave [0, 1]
_MOST_SAMPLES = 4_000_000
_CELLS = 4.0  # in a fading's reach
_NO_CHART = -1


@dataclass(frozen=True, eq=False)
class Seams:
    """Where the charts of one texture are cut apart.

    Attributes:
        places: `(S, 2, 2)`, samples along the cuts: texture coordinates on both sides.
        charts: `(S, 2)`, those of both sides.
        lengths: `(S, 2)`, how much of its cut each sample stands for on both sides, in texels.
        owners: `(H, W)`, the chart of each texel and of those around it; -1 for none.
    """

    places: Floats
    charts: Indices
    lengths: Floats
    owners: Indices


def cuts(positions: Floats, faces: Indices, uv: Floats, *, smooth: bool = False) -> tuple[Floats, Indices]:
    """Edges of two triangles that lie apart on the texture.

    Args:
        positions: `(V, 3)`.
        faces: `(F, 3)`.
        uv: `(F, 3, 2)`, of the corners of each face.
        smooth: leave out edges of the shape.

    Returns:
        For both sides of each cut the coordinates of both ends, `(E, 2, 2, 2)`, and its faces `(E, 2)`.
    """
    ends = np.array([[0, 1], [1, 2], [2, 0]])
    keys = welded(positions)[faces[:, ends].reshape(-1, 2)]
    owners, corners = np.repeat(np.arange(len(faces)), 3), uv[:, ends].reshape(-1, 2, 2)
    turned = keys[:, 0] > keys[:, 1]
    keys[turned], corners[turned] = keys[turned, ::-1], corners[turned, ::-1]
    order = np.lexsort((owners, keys[:, 1], keys[:, 0]))
    keys, corners, owners = keys[order], corners[order], owners[order]
    first = np.flatnonzero((keys[1:] == keys[:-1]).all(1))
    apart = first[np.abs(corners[first] - corners[first + 1]).max((1, 2)) > 1e-6]
    pairs = np.stack((owners[apart], owners[apart + 1]), 1)
    if smooth:
        normals = _normals(positions, faces)
        kept = (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(1) > _SMOOTH
        apart, pairs = apart[kept], pairs[kept]
    return np.stack((corners[apart], corners[apart + 1]), 1), pairs


def texels_of(corners: Floats, sides: tuple[int, int]) -> tuple[Indices, Indices]:
    """Which texels of a texture that repeats triangles lie on, and which triangle on each.

    Args:
        corners: `(F, 3, 2)`, texture coordinates.
        sides: height and width of the texture.

    Returns:
        Places in the flattened texture, `(P,)`, and triangles, `(P,)`.
    """
    own = within(corners)
    height, width = sides
    rows, columns = (max(side, math.ceil(most * side)) for side, most in zip(sides, own.max((0, 1))[::-1], strict=True))
    flat = np.concatenate((own.reshape(-1, 2) * (width, height), np.ones((own.size // 2, 1))), 1)
    raster = rasterise(flat, np.arange(len(flat)).reshape(-1, 3), (rows, columns))
    places = raster.pixels // columns % height * width + raster.pixels % columns % width
    return places, raster.faces


def within(corners: Floats) -> Floats:
    """Texture coordinates of corners `(F, 3, 2)`, each triangle's from within [0, 1] on."""
    moved: Floats = corners - np.floor(corners.min(1, keepdims=True) + EDGE)
    return moved


def seams_of(surfaces: Sequence[Surface], sides: tuple[int, int]) -> Seams | None:
    """The seams of one texture; None without any.

    Args:
        surfaces: that show it.
        sides: height and width of the texture.
    """
    starts = np.cumsum([0, *(len(one.positions) for one in surfaces)])
    positions = np.concatenate([one.positions for one in surfaces])
    faces = np.concatenate([one.faces + start for one, start in zip(surfaces, starts, strict=False)])
    uv = np.concatenate([one.uv[one.faces] for one in surfaces if one.uv is not None])
    pairs, owners = cuts(positions, faces, uv, smooth=True)
    if not len(pairs):
        return None
    charts = _charts(faces, uv)
    size = np.asarray(sides[::-1], float)
    long = np.linalg.norm((pairs[:, :, 1] - pairs[:, :, 0]) * size, axis=2)  # (E, 2)
    counts = np.ceil(long.max(1)).astype(np.int64).clip(1)
    if counts.sum() > _MOST_SAMPLES:
        return None
    edge = np.repeat(np.arange(len(pairs)), counts)
    along = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[edge]
    places = pairs[edge, :, 0] + along[:, None, None] * (pairs[edge, :, 1] - pairs[edge, :, 0])
    return Seams(places, charts[owners[edge]], long[edge] / counts[edge, None], _owners(uv, charts, sides))


def joined(texture: Tensor, seams: Seams) -> Tensor:
    """A texture `(1, 3, H, W)` in [0, 1] whose colours meet at its seams."""
    result = texture.clone()
    side = max(texture.shape[2:])
    for reach in _REACHES:
        sigma = max(1.0, reach * side)
        colors = [looked_up(result, seams.places[:, index]) for index in (0, 1)]
        half = (colors[1] - colors[0]) / 2
        _moved(result, seams, np.stack((half, -half), 1), sigma)
    return result.clamp(0, 1)


def looked_up(texture: Tensor, uv: Floats) -> Floats:
    """Colours `(P, 3)` of a texture at places `(P, 2)`, which go on beyond [0, 1]."""
    places = torch.from_numpy(2 * np.mod(uv, 1 + 1e-9) - 1).to(texture)[None, None]
    sampled = F.grid_sample(texture, places, mode="bilinear", padding_mode="border", align_corners=False)
    colors: Floats = sampled[0, :, 0].T.double().numpy()
    return colors


def _moved(texture: Tensor, seams: Seams, steps: Floats, sigma: float) -> None:
    """Add steps `(S, 2, 3)` at both sides of the seams, faded over `sigma` texels, chart by chart, in place."""
    height, width = seams.owners.shape
    cell = max(1, int(sigma / _CELLS))  # texels; what is so smooth needs no more of them
    places, charts = seams.places.reshape(-1, 2) % 1, seams.charts.ravel()
    columns, rows = ((places * (width, height)).astype(np.int64) % (width, height) // cell).T
    values = np.concatenate((steps.reshape(-1, 3), np.ones((len(places), 1))), 1) * seams.lengths.reshape(-1, 1)
    around, order = math.ceil(3 * sigma / cell), np.argsort(charts, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(charts[order])) + 1):
        top, left = max(0, rows[own].min() - around), max(0, columns[own].min() - around)
        grid = np.zeros((rows[own].max() - top + around + 1, columns[own].max() - left + around + 1, 4), np.float32)
        np.add.at(grid, (rows[own] - top, columns[own] - left), values[own])
        blurred = _blurred(torch.from_numpy(grid).permute(2, 0, 1)[None], sigma / cell)
        # along a straight seam this share is 1, and falls like a bell to both sides
        share = (blurred[:, 3:] * math.sqrt(2 * math.pi) * sigma / cell**2).clamp(0, 1)
        step = share * blurred[:, :3] / blurred[:, 3:].clamp_min(1e-8)
        if cell > 1:
            step = F.interpolate(step, scale_factor=cell, mode="bilinear", align_corners=False)
        shown = texture[:, :, top * cell : top * cell + step.shape[2], left * cell : left * cell + step.shape[3]]
        inside = seams.owners[top * cell : top * cell + step.shape[2], left * cell : left * cell + step.shape[3]]
        step = step[:, :, : shown.shape[2], : shown.shape[3]]
        shown += torch.where(torch.from_numpy(inside == charts[own[0]]), step, 0.0)


def _blurred(grid: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    along = torch.arange(-reach, reach + 1, dtype=grid.dtype)
    bell = torch.exp(-(along**2) / (2 * sigma**2))
    bell /= bell.sum()
    rows = F.conv2d(grid.transpose(0, 1), bell.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(rows, bell.view(1, 1, -1, 1), padding=(reach, 0)).transpose(0, 1)


def _normals(positions: Floats, faces: Indices) -> Floats:
    corners = positions[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit: Floats = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return unit


def _charts(faces: Indices, uv: Floats) -> Indices:
    """The chart of each face, `(F,)`: those whose corners lie at one place of the texture hang together."""
    _, corners = np.unique(np.round(uv.reshape(-1, 2), 6), axis=0, return_inverse=True)
    own = corners.reshape(faces.shape)
    least = np.arange(int(own.max()) + 1)
    while True:  # the least number spreads over a chart, in leaps
        new = least.copy()
        np.minimum.at(new, own.ravel(), np.repeat(least[own].min(1), 3))
        new = new[new]
        if np.array_equal(new, least):
            return least[own[:, 0]]
        least = new


def _owners(uv: Floats, charts: Indices, sides: tuple[int, int]) -> Indices:
    """The chart of each texel, `(H, W)`, and of those two texels around."""
    owners = np.full(sides[0] * sides[1], _NO_CHART)
    places, faces = texels_of(uv, sides)
    owners[places] = charts[faces]
    found = owners.reshape(sides)
    for _ in range(2):
        padded = np.pad(found, 1, constant_values=_NO_CHART)
        shifts = [padded[1 + down : 1 + down + sides[0], 1 + right : 1 + right + sides[1]] for down, right in _BESIDE]
        found = np.where(found == _NO_CHART, np.max(shifts, 0), found)
    return found


_BESIDE = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
