"""Draws triangles into a grid of pixels: which triangle each pixel shows, and where on it.

Homogeneous rasterisation, which needs no clipping: the three edge functions of a triangle are the rows of an inverse
matrix, and divided by their sum they are the barycentric weights on the triangle in space, right in perspective.

Paper: Olano and Greer 1997, Triangle Scan Conversion using 2D Homogeneous Coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_NEAR = 1e-6  # least depth that is seen, as a share of the largest
_SLACK = 1e-9  # by which an edge may miss a pixel's centre, so that neighbours leave no gap
_LARGEST_CLASS = 64  # pixels; larger triangles are drawn one by one
_AT_ONCE = 1 << 20  # pixels of candidate triangles


@dataclass(frozen=True)
class Raster:
    """What is seen at each covered pixel, in the order of rows.

    Attributes:
        sides: height and width of the grid.
        pixels: `(P,)`, places of the covered pixels in the flattened grid, rising.
        faces: `(P,)`, the triangle that is nearest there.
        weights: `(P, 3)`, of its corners; they sum to 1.
        depths: `(P,)`, distance along the line of sight.
        edges: `(P, 3, 3)`, the edge functions: coefficients of x, y and 1 for each corner.
    """

    sides: tuple[int, int]
    pixels: Indices
    faces: Indices
    weights: Floats
    depths: Floats
    edges: Floats

    def interpolate(self, corners: NDArray[Any]) -> Floats:
        """Values at the pixels, `(P, C)`, of values at the corners of each face, `(F, 3, C)`."""
        found: Floats = np.einsum("pk,pkc->pc", self.weights, corners[self.faces])
        return found

    def slopes(self, corners: NDArray[Any]) -> Floats:
        """How the values change per pixel to the right and down, `(P, 2, C)`."""
        own = corners[self.faces]
        rising = np.einsum("pkd,pkc->pdc", self.edges[:, :, :2], own)
        whole = self.edges[:, :, :2].sum(1)
        slopes: Floats = (rising - whole[:, :, None] * self.interpolate(corners)[:, None]) * self.depths[:, None, None]
        return slopes


def rasterise(points: Floats, faces: Indices, sides: tuple[int, int]) -> Raster:
    """Draw triangles with a depth buffer; both of their sides are seen.

    Args:
        points: `(V, 3)`: x times depth, y times depth, depth, with x and y in pixels, the first pixel's centre at 0.5.
            Depth is positive before the eye.
        faces: `(F, 3)`, corners.
        sides: height and width of the grid.
    """
    height, width = sides
    corners = points[faces]
    edges, sound = _edge_functions(corners)
    near = _NEAR * max(float(np.abs(points[:, 2]).max(initial=0)), 1e-30)
    boxes = _boxes(corners, near, sides)
    drawn = np.flatnonzero(sound & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3]))
    nearest = np.full(height * width, np.iinfo(np.int64).max)
    for chosen, pixels, x, y in candidates(drawn, boxes, width):
        own = edges[chosen]
        values = own[:, :, 0] * x[:, None] + own[:, :, 1] * y[:, None] + own[:, :, 2]
        whole = values.sum(1)
        inside = (values >= -_SLACK * np.abs(whole)[:, None]).all(1) & (whole > 0) & (whole * near < 1)
        depths = (1 / whole[inside]).astype(np.float32)
        keys = depths.view(np.int32).astype(np.int64) << 32 | chosen[inside]
        np.minimum.at(nearest, pixels[inside], keys)
    covered = np.flatnonzero(nearest != np.iinfo(np.int64).max)
    return _resolved(covered, nearest[covered] & 0xFFFFFFFF, edges, sides)


def _edge_functions(corners: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """`(F, 3, 3)`, for each corner what is 1 there, 0 at the others and linear on the screen; and where it exists."""
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    crosses = np.stack((np.cross(second, third), np.cross(third, first), np.cross(first, second)), 1)
    determinants = (crosses[:, 0] * first).sum(1)
    scale = np.abs(corners).max((1, 2), initial=0) ** 3
    sound = np.isfinite(determinants) & (np.abs(determinants) > 1e-14 * scale)
    return crosses / np.where(sound, determinants, 1)[:, None, None], sound


def _boxes(corners: Floats, near: float, sides: tuple[int, int]) -> Indices:
    """First column and row, last column and row (exclusive) that each triangle may cover."""
    height, width = sides
    depths = corners[:, :, 2]
    flat = corners[:, :, :2] / np.where(depths > near, depths, 1)[:, :, None]
    whole = np.array([0, 0, width, height])
    low = np.floor(np.clip(flat.min(1), -1, [width + 1, height + 1]) - 0.5)
    high = np.ceil(np.clip(flat.max(1), -1, [width + 1, height + 1]) + 0.5)
    boxes = np.concatenate((np.maximum(low, 0), np.minimum(high, [width, height])), 1).astype(np.int64)
    boxes[(depths <= near).any(1)] = whole  # it reaches behind the eye
    boxes[(depths <= near).all(1)] = 0
    return boxes


def candidates(drawn: Indices, boxes: Indices, width: int) -> Iterator[tuple[Indices, Indices, Floats, Floats]]:
    """Triangles with pixels that they may cover: triangle, pixel, and its centre, one entry each.

    Args:
        drawn: which triangles.
        boxes: `(F, 4)`, first column and row, last column and row (exclusive) of each triangle.
        width: of the grid.
    """
    extent = (boxes[drawn, 2:] - boxes[drawn, :2]).max(1, initial=0)
    side = 2
    while side <= _LARGEST_CLASS:
        own = drawn[(extent <= side) & (extent > (side // 2 if side > 2 else 0))]
        batch = max(1, _AT_ONCE // side**2)
        for start in range(0, len(own), batch):
            yield _grid(own[start : start + batch], boxes, side, width)
        side *= 2
    for face in drawn[extent > _LARGEST_CLASS]:
        yield _grid(np.array([face]), boxes, int((boxes[face, 2:] - boxes[face, :2]).max()), width)


def _grid(faces: Indices, boxes: Indices, side: int, width: int) -> tuple[Indices, Indices, Floats, Floats]:
    own = boxes[faces]
    along = np.arange(side)
    columns = (own[:, 0, None] + along)[:, None, :].repeat(side, 1)
    rows = (own[:, 1, None] + along)[:, :, None].repeat(side, 2)
    valid = (columns < own[:, 2, None, None]) & (rows < own[:, 3, None, None])
    chosen: Indices = np.broadcast_to(faces[:, None, None], valid.shape)[valid]
    columns, rows = columns[valid], rows[valid]
    pixels: Indices = rows * width + columns
    return chosen, pixels, columns.astype(np.float64) + 0.5, rows.astype(np.float64) + 0.5


def _resolved(covered: Indices, faces: Indices, edges: Floats, sides: tuple[int, int]) -> Raster:
    own = edges[faces]
    x, y = covered % sides[1] + 0.5, covered // sides[1] + 0.5
    values = own[:, :, 0] * x[:, None] + own[:, :, 1] * y[:, None] + own[:, :, 2]
    whole = values.sum(1)
    return Raster(sides, covered, faces, values / whole[:, None], 1 / whole, own)
