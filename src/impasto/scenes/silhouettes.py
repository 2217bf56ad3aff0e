"""The soft silhouette of a mesh: how far each pixel is covered, differentiable in where the vertices are.

A triangle covers a pixel by a logistic function of the signed distance to its outline, and what several cover is
joined as if they were independent. Departs from the paper in taking the distance and not its square, whose slope
vanishes on the outline itself; and only pixels near the outline of the whole are soft: what is farther within is
covered, so that no edge between triangles shows and no more is computed than can move.

Paper: arXiv:1904.01786 (Liu et al. 2019, Soft Rasterizer), eq. 1 and 4.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from impasto.scenes.rasterise import Indices, candidates

_SOFT = 0.6  # pixels over which a triangle's cover falls to about a quarter
_REACH = 4  # pixels, from where on it counts as 0 or 1
_TINY = 1e-12


def soft_silhouette(flat: Tensor, faces: Indices, covered: NDArray[np.bool_]) -> Tensor:
    """How far each pixel is covered, `(1, 1, H, W)` in [0, 1].

    Args:
        flat: `(V, 2)`, vertices on the screen in pixels, all before the eye, differentiable.
        faces: `(F, 3)`.
        covered: `(H, W)`, pixels whose centres some triangle covers.
    """
    sides = covered.shape
    band = _band(covered)
    chosen, pixels, places = _pairs(flat.detach().double().numpy(), faces, band)
    distances = signed_distances(flat[torch.from_numpy(faces[chosen])], torch.from_numpy(places).to(flat))
    left = -F.softplus(distances / _SOFT)  # logarithm of what one triangle leaves uncovered
    total = left.new_zeros(covered.size).index_add(0, torch.from_numpy(pixels), left)
    hard = torch.from_numpy(covered.astype(np.float64).ravel()).to(flat)
    soft = torch.where(torch.from_numpy(band.ravel()), 1 - torch.exp(total), hard)
    return soft.view(1, 1, *sides)


def signed_distances(corners: Tensor, places: Tensor) -> Tensor:
    """Distance of each place `(P, 2)` from the outline of its triangle `(P, 3, 2)`, positive within."""
    following = corners.roll(-1, 1)
    along, to = following - corners, places[:, None] - corners
    share = ((to * along).sum(2) / (along.square().sum(2) + _TINY)).clamp(0, 1)
    nearest = (to - share[:, :, None] * along).square().sum(2).amin(1)
    turn = along[:, :, 0] * to[:, :, 1] - along[:, :, 1] * to[:, :, 0]
    inside = (turn > 0).all(1) | (turn < 0).all(1)
    distances: Tensor = (nearest + _TINY).sqrt()
    return torch.where(inside, distances, -distances)


def _band(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels near the outline of what is covered."""
    share = torch.from_numpy(covered.astype(np.float32))[None, None]
    size = 2 * _REACH + 1
    widened = F.max_pool2d(share, size, 1, _REACH)
    shrunk = -F.max_pool2d(-share, size, 1, _REACH)
    found: NDArray[np.bool_] = (widened > shrunk)[0, 0].numpy()
    return found


def _pairs(
    flat: NDArray[np.float64], faces: Indices, band: NDArray[np.bool_]
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Triangles with the pixels of the band that they may reach: triangle, pixel, and its centre `(P, 2)`."""
    height, width = band.shape
    corners = flat[faces]
    low = np.floor(corners.min(1) - _REACH)
    high = np.ceil(corners.max(1) + _REACH)
    boxes = np.concatenate((np.maximum(low, 0), np.minimum(high, [width, height])), 1).astype(np.int64)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    table = np.pad(band.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # sums of what is above and left
    left, top, right, bottom = np.minimum(boxes, [width, height, width, height]).T
    held = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    parts = []
    for chosen, pixels, x, y in candidates(np.flatnonzero(held > 0), boxes, width):
        near = band.ravel()[pixels]
        parts.append((chosen[near], pixels[near], np.stack((x[near], y[near]), 1)))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2))
    found, at, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    return found, at, places
