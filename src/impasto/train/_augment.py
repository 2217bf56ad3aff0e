"""Adaptive discriminator augmentation: pictures are changed before they are judged, as far as overfitting asks for.

A discriminator that sees few pictures learns them by heart. Changed at random it cannot; and as long as each change
happens with a probability below 1, what the generator learns is the pictures unchanged. Everything is differentiable.

Paper: arXiv:2006.06676 (Karras et al. 2020), section 2 and appendix B. Departures: pictures are warped by bilinear
lookups with mirrored borders, without the wavelets of appendix B, which cost more than these small networks; and there
are no filters and no noise, which the paper found to help least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 0.125  # of the side
_SCALE = 0.2  # octaves
_BRIGHTNESS, _CONTRAST, _SATURATION = 0.2, 0.5, 1.0  # the last two in octaves
_GREY = 1 / math.sqrt(3)  # the axis of luma in the cube of colours


@dataclass(frozen=True)
class _Draw:
    """Random numbers for a batch; each counts with the probability, and is neutral otherwise."""

    batch: int
    probability: float
    random: torch.Generator

    def uniform(self, low: float, high: float) -> Tensor:
        """`(B,)`, neutral at 0."""
        values = low + (high - low) * torch.rand(self.batch, generator=self.random)
        return values * self._happens(self.probability)

    def normal(self, deviation: float) -> Tensor:
        """`(B,)`, neutral at 0."""
        values = deviation * torch.randn(self.batch, generator=self.random)
        return values * self._happens(self.probability)

    def whole(self, count: int) -> Tensor:
        """`(B,)` of 0 to `count - 1`, neutral at 0."""
        values = torch.randint(count, (self.batch,), generator=self.random)
        return values * self._happens(self.probability)

    def angle(self) -> Tensor:
        """`(B,)`; it is drawn twice for one picture, so each draw counts more rarely."""
        values = math.pi * (2 * torch.rand(self.batch, generator=self.random) - 1)
        return values * self._happens(1 - math.sqrt(1 - self.probability))

    def _happens(self, probability: float) -> Tensor:
        return (torch.rand(self.batch, generator=self.random) < probability).float()


def augment(images: Tensor, probability: float, random: torch.Generator) -> Tensor:
    """Change pictures `(B, 3, H, H)` in [-1, 1], each by each of the changes with the probability."""
    if probability <= 0:
        return images
    draw = _Draw(len(images), probability, random)
    places = _geometry(draw)[:, :2].to(images.device)
    grid = F.affine_grid(places, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, "bilinear", "reflection", align_corners=False)
    colours = _colours(draw).to(images.device)
    mixed = torch.einsum("bij,bjhw->bihw", colours[:, :3, :3], moved)
    return mixed + colours[:, :3, 3, None, None]


def _geometry(draw: _Draw) -> Tensor:
    """`(B, 3, 3)`: where each place of the result lies in the picture."""
    mirrored = 1 - 2 * draw.whole(2).float()
    found = _scaled(mirrored, torch.ones(draw.batch))
    found = found @ _turned(draw.whole(4).float() * (math.pi / 2))
    found = found @ _shifted(2 * draw.uniform(-_SHIFT, _SHIFT), 2 * draw.uniform(-_SHIFT, _SHIFT))
    size = torch.exp2(draw.normal(_SCALE))
    found = found @ _scaled(size, size) @ _turned(draw.angle())
    stretch = torch.exp2(draw.normal(_SCALE))
    found = found @ _scaled(stretch, 1 / stretch) @ _turned(draw.angle())
    return found @ _shifted(2 * draw.normal(_SHIFT), 2 * draw.normal(_SHIFT))


def _colours(draw: _Draw) -> Tensor:
    """`(B, 4, 4)`: what becomes of a colour."""
    grey = torch.full((3,), _GREY)
    along, identity = torch.outer(grey, grey), torch.eye(3)
    brightness = draw.normal(_BRIGHTNESS)
    contrast = torch.exp2(draw.normal(_CONTRAST))
    inverted = draw.whole(2).float()[:, None, None]
    hue, saturation = draw.uniform(-math.pi, math.pi), torch.exp2(draw.normal(_SATURATION))
    matrix = contrast[:, None, None] * (identity - 2 * along * inverted)
    matrix = _about_grey(hue) @ matrix
    matrix = (along + (identity - along) * saturation[:, None, None]) @ matrix
    whole = torch.eye(4).repeat(draw.batch, 1, 1)
    whole[:, :3, :3] = matrix
    whole[:, :3, 3] = (matrix @ brightness[:, None, None].expand(-1, 3, 1))[:, :, 0]
    return whole


def _about_grey(angle: Tensor) -> Tensor:
    """`(B, 3, 3)`: turns colours about the axis of luma (Rodrigues' formula)."""
    cross = _GREY * torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def _scaled(across: Tensor, down: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([across, down, torch.ones_like(across)], 1))


def _turned(angle: Tensor) -> Tensor:
    made = torch.eye(3).repeat(len(angle), 1, 1)
    made[:, 0, 0], made[:, 0, 1], made[:, 1, 0], made[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    return made


def _shifted(across: Tensor, down: Tensor) -> Tensor:
    made = torch.eye(3).repeat(len(across), 1, 1)
    made[:, 0, 2], made[:, 1, 2] = across, down
    return made
