"""Soft masks: where a style, a strength or the photograph itself holds. `(N, 1, H, W)` in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import STRENGTH_LEVELS


def feather(mask: Tensor, pixels: float) -> Tensor:
    """Let edges fade over `pixels`, half of it on either side.

    Finite (nothing changes further away than half of `pixels`) and linear (masks that add up to 1 still do).

    Args:
        mask: `(N, 1, H, W)`.
        pixels: 0 or more; below 1.5 nothing changes.
    """
    radius = round(pixels / 2)
    if radius < 1:
        return mask
    positions = torch.arange(-radius, radius + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.cos(positions * (torch.pi / (2 * radius + 2))).square()
    kernel = kernel / kernel.sum()
    height, width = mask.shape[2:]
    tall = mask[:, :, _clamped(height, radius, mask)]
    tall = F.conv2d(tall, kernel[None, None, :, None])
    return F.conv2d(tall[:, :, :, _clamped(width, radius, mask)], kernel[None, None, None, :]).clamp(0, 1)


def normalise(masks: Sequence[Tensor]) -> tuple[list[Tensor], bool]:
    """Scale overlapping masks down so that they sum to at most 1 everywhere.

    Returns:
        The masks, and whether any two overlapped by more than rounding.
    """
    total = torch.stack(list(masks)).sum(0)
    divisor = total.clamp_min(1.0)
    return [mask / divisor for mask in masks], bool((total > 1.004).any())  # one code of 8 bits is 1/255


def cover(masks: Sequence[Tensor]) -> Tensor:
    """How much the masks cover together, at most 1; exactly 0 where none does, exactly 1 where they are complete."""
    total = torch.stack(list(masks)).sum(0)
    return torch.where(total > 1 - 1e-4, torch.ones_like(total), total).clamp(0, 1)


def compose(below: Tensor, above: Tensor, mask: Tensor) -> Tensor:
    """`above` over `below (B, 3, H, W)`; exact where the mask is 0 or 1."""
    mixed = torch.lerp(below, above, mask)
    return torch.where(mask <= 0, below, torch.where(mask >= 1, above, mixed))


def onset(strength: Tensor) -> Tensor:
    """How far the painted picture replaces the photograph under a strength map: fully from the lowest level up."""
    return (strength / STRENGTH_LEVELS[0]).clamp(0, 1)


def painted_cover(regions: Sequence[Tensor], strength: Tensor | None) -> Tensor | None:
    """How far the painted picture replaces the photograph; None for everywhere.

    Args:
        regions: masks of the regions; none where the style holds everywhere.
        strength: a strength map, or None.
    """
    maps = [cover(regions)] if regions else []
    maps += [] if strength is None else [onset(strength)]
    return math.prod(maps[1:], start=maps[0]) if maps else None


def strength_shares(strength: Tensor) -> list[Tensor]:
    """Split a strength map into shares of STRENGTH_LEVELS that interpolate it linearly.

    Returns:
        One `(1, 1, H, W)` a level. They sum to `onset(strength)`, and weighted by their levels to `strength`.
    """
    levels = (0.0, *STRENGTH_LEVELS)
    rising = [((strength - low) / (high - low)).clamp(0, 1) for low, high in pairwise(levels)]
    return [rise - after for rise, after in pairwise((*rising, torch.zeros_like(strength)))]


def widen(masks: Tensor, reach: int) -> Tensor:
    """Extend what masks `(R, 1, h, w)` cover together by `reach` positions, in each other's proportions at its rim.

    Where they are complete nothing changes. So a region that is cut out later is painted fully up to its edge.
    """
    total = masks.sum(0, keepdim=True)
    wide = F.max_pool2d(total, 2 * reach + 1, stride=1, padding=reach)
    near = F.avg_pool2d(masks, 2 * reach + 1, stride=1, padding=reach)
    return masks + (wide - total) * near / near.sum(0, keepdim=True).clamp_min(1e-6)


def refine(mask: Tensor, image: Tensor, *, radius: int, epsilon: float = 1e-3) -> Tensor:
    """Pull a coarse mask's edges to those of the image: the guided filter, with its luma as the guide.

    Args:
        mask: `(1, 1, H, W)`.
        image: `(1, 3, H, W)` in [0, 1].
        radius: of the windows in pixels, about the mask's uncertainty.
        epsilon: variance of the guide below which it is taken as flat.

    Paper: arXiv:1505.00996 (He and Sun 2015), of which this is the filter without subsampling.
    """
    guide = image.mean(1, keepdim=True)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (mean(guide * guide) - mean_guide.square() + epsilon)
    return (mean(slope) * guide + mean(mean_mask - slope * mean_guide)).clamp(0, 1)


def ellipses(boxes: Sequence[tuple[float, float, float, float]], height: int, width: int) -> Tensor:
    """A mask `(1, 1, H, W)` of soft ellipses, 1 inside the boxes' inscribed ellipse, 0 from 1.4 times its axes on.

    Args:
        boxes: left, top, right, bottom in pixels.
    """
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    mask = torch.zeros(height, width)
    for left, top, right, bottom in boxes:
        across = (columns - (left + right) / 2) / max((right - left) / 2, 1)
        along = (rows - (top + bottom) / 2) / max((bottom - top) / 2, 1)
        distance = (across.square() + along.square()).sqrt()
        fade = ((1.4 - distance) / 0.4).clamp(0, 1)
        mask = torch.maximum(mask, fade.square() * (3 - 2 * fade))
    return mask[None, None]


def _clamped(length: int, radius: int, mask: Tensor) -> Tensor:
    """Indices that repeat the ends, for a border of any width."""
    return torch.arange(-radius, length + radius, device=mask.device).clamp(0, length - 1)
