"""CLIP's objectives: the picture's change from the photograph has to point where a text points from "a photo".

Vectors are CLIP's, of length 1; `embed` gives those of pictures. Nothing here knows which network it is.

Paper: arXiv:2112.00374 (CLIPstyler, Kwon and Ye 2022), eq. 2-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from impasto.contract import Features, Stats
from impasto.ops.tiles import resample

Embed = Callable[[Tensor], Tensor]
"""Vectors `(B, D)` of length 1 of pictures `(B, 3, H, W)` in [0, 1], differentiable."""

_TURNED = 0.5  # how far a patch's corners are moved inside, as a share of half its side
_CHUNK = 16  # patches whose features are kept at once


@dataclass(frozen=True)
class DirectionalLoss:
    """How far the change of the whole picture turns away from the direction that is wanted: 0 along it, 1 across it.

    Attributes:
        embed: of pictures.
    """

    embed: Embed
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = False

    def statistics(self, features: Features) -> Stats:
        """`(B, 1, D)`: the picture's vector."""
        return {"vectors": self.embed(features["image"])[:, None]}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Summed over the batch. target: `source` and `direction`, each `(B, D)` or `(1, D)`."""
        return lambda stats: self.each(stats, target).sum()

    def each(self, stats: Stats, target: Stats) -> Tensor:
        """`(B,)`, item by item."""
        return _turned_away(stats["vectors"], target)[:, 0]


@dataclass(frozen=True)
class PatchDirectionalLoss:
    """The same for random patches, each seen in perspective; those that are near enough are left alone.

    Attributes:
        embed: of pictures.
        side: of a patch in pixels.
        resolution: side in pixels at which `embed` looks at it.
        count: patches.
        threshold: a patch whose loss is no more than it counts nothing, so that easy places are not overdone.
        seed: settles which patches.

    Departs from the paper in that a patch is seen out of perspective with nothing black around it.
    """

    embed: Embed
    side: int
    resolution: int
    count: int = 64
    threshold: float = 0.7
    seed: int = 0
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = False

    def statistics(self, features: Features) -> Stats:
        """`(B, count, D)`: the patches' vectors."""
        image = features["image"]
        side = min(self.side, *image.shape[2:])
        if side > self.resolution:  # smoothly, before patches are taken out
            share = self.resolution / side
            image = resample(image, *(max(self.resolution, round(length * share)) for length in image.shape[2:]))
            side = self.resolution
        patches = perspective_patches(image, side, self.resolution, count=self.count, seed=self.seed)
        parts = torch.split(patches.flatten(0, 1), _CHUNK)
        found = torch.cat([checkpoint(self.embed, part, use_reentrant=False) for part in parts])
        return {"vectors": found.view(len(image), self.count, -1)}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Mean over all patches, summed over the batch. target: as of `DirectionalLoss`."""
        return lambda stats: self.each(stats, target).sum()

    def each(self, stats: Stats, target: Stats) -> Tensor:
        """`(B,)`, item by item."""
        away = _turned_away(stats["vectors"], target)
        return torch.where(away > self.threshold, away, 0).mean(1)


def perspective_patches(images: Tensor, side: int, resolution: int, *, count: int, seed: int) -> Tensor:
    """Random squares of pictures, each seen in perspective.

    Args:
        images: `(B, 3, H, W)`; all get the same patches.
        side: of a square in pixels, no longer than those of the pictures.
        resolution: side in pixels of what is given back.
        count: how many.
        seed: settles places and perspective.

    Returns:
        `(B, count, 3, resolution, resolution)`.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[2:]
    tops = torch.randint(height - side + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(width - side + 1, (count,), generator=generator).tolist()
    squares = torch.stack(
        [images[:, :, top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)], 1
    )
    corners = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    moved = corners * (1 - _TURNED * torch.rand(count, 4, 2, generator=generator, dtype=torch.float64))
    places = _places(_homographies(corners, moved), resolution).to(images)
    grids = places.expand(len(images), -1, -1, -1, -1).flatten(0, 1)
    seen = F.grid_sample(squares.flatten(0, 1), grids, "bilinear", "border", align_corners=False)
    return seen.view(len(images), count, *seen.shape[1:])


def _homographies(corners: Tensor, moved: Tensor) -> Tensor:
    """`(N, 3, 3)`: the perspective that takes `corners (4, 2)` to `moved (N, 4, 2)`."""
    x, y = corners.expand_as(moved).unbind(2)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    to_x, to_y = moved.unbind(2)
    across = torch.stack([x, y, one, zero, zero, zero, -to_x * x, -to_x * y], 2)
    down = torch.stack([zero, zero, zero, x, y, one, -to_y * x, -to_y * y], 2)
    solved = torch.linalg.solve(torch.cat([across, down], 1), torch.cat([to_x, to_y], 1))
    return torch.cat([solved, torch.ones(len(moved), 1, dtype=solved.dtype)], 1).view(-1, 3, 3)


def _places(homographies: Tensor, resolution: int) -> Tensor:
    """`(N, resolution, resolution, 2)`: where each pixel's middle comes from, in [-1, 1]."""
    middles = (2 * torch.arange(resolution, dtype=homographies.dtype) + 1) / resolution - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    plane = torch.stack([x, y, torch.ones_like(x)], 2)
    seen = torch.einsum("nij,hwj->nhwi", homographies, plane)
    return seen[..., :2] / seen[..., 2:]


def _turned_away(vectors: Tensor, target: Stats) -> Tensor:
    """`(B, N)`: 1 - cosine of the change from `source` to `vectors (B, N, D)` and the direction."""
    change = vectors - target["source"][:, None]
    return 1 - F.cosine_similarity(change, target["direction"][:, None].expand_as(change), dim=2)
