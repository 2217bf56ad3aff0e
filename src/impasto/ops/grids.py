"""Takes out the faint grid that upsampling by nearest neighbours leaves in a decoded picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # its numbers are read without torch, too
    from torch import Tensor

PERIODS = (8, 4, 2)  # pixels: of a decoder that doubles three times
_CELLS = 2  # whole periods away from a place in which the grid is looked for, in each direction
_DEVIATION = 1.2  # periods, of the Gaussian by which they count
FAINT = 0.16
"""What is as strong is paint, and does not count; what is weaker counts less and less up to there."""

REACH = sum(period // 2 + _CELLS * period for period in PERIODS)
"""Pixels beyond a place that shape it."""


def without_grid(images: Tensor) -> Tensor:
    """The pictures without what repeats itself every 8, 4 or 2 pixels near each place.

    Faint detail (what is not in the mean over a period) is averaged over places a whole number of periods away: strokes
    average out, a grid stays, and is taken away. Measured in bench/NOTES.md.

    images: `(B, C, H, W)`, in [0, 1] or beyond. Returns the same.
    """
    for period in PERIODS:
        detail = images - _averaged(images, span_weights(period))
        detail *= (1 - (detail / FAINT).square_()).clamp_(0).square_()  # Tukey's biweight: edges throw no echoes
        images = images - _averaged(detail, near_weights(), apart=period)
    return images


def span_weights(period: int) -> list[float]:
    """Of a whole period, with the place in its middle."""
    return [0.5, *(1.0,) * (period - 1), 0.5]


def near_weights() -> list[float]:
    """Of places whole periods away, by their distance."""
    return [math.exp(-0.5 * (cell / _DEVIATION) ** 2) for cell in range(-_CELLS, _CELLS + 1)]


def _averaged(images: Tensor, weights: Sequence[float], *, apart: int = 1) -> Tensor:
    """Weighted means over both axes of places so many pixels apart; beyond the edges there are none.

    Added up slice by slice: for so few channels a convolution takes ten times as long on a CPU.
    """
    middle = len(weights) // 2
    for axis in (2, 3):
        length = images.shape[axis]
        total, count = images.clone().zero_(), images[:1, :1].select(5 - axis, 0).clone().zero_()
        for index, weight in enumerate(weights):
            shift = (index - middle) * apart
            kept = length - abs(shift)
            if kept > 0:
                total.narrow(axis, max(0, -shift), kept).add_(images.narrow(axis, max(0, shift), kept), alpha=weight)
                count.narrow(2, max(0, -shift), kept).add_(weight)
        images = total.div_(count.unsqueeze(5 - axis))
    return images
