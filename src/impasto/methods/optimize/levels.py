"""The coarse-to-fine pyramid of a descent: sizes, steps, and how much the content counts. Loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from impasto.methods.settings import OptimizeKnobs

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = 16
"""In pixels, of the deepest layers."""

COARSER_STEPS = 1.5
"""A coarser level takes this many times the steps of the next finer one: they cost a quarter."""


_LONG = 60  # steps at full size, from which a level of three quarters of the size comes before it


_COARSE = 0.5  # of the size, and below


_BETWEEN = 0.2  # share of these steps that it takes


_FIRST_LEVEL_CONTENT = 2.0  # times that the content counts there


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes:
        scale: its size as a share of the picture's.
        sides: its height and width.
        steps: how long to stay.
        content_factor: times that the content counts.
        deep_style: weight in the style of layers that see whole motifs.
        octaves: smaller scales at which the style counts too.
    """

    scale: float
    sides: tuple[int, int]
    steps: int
    content_factor: float = 1.0
    deep_style: float = 1.0
    octaves: tuple[float, ...] = ()

    @property
    def pixels(self) -> float:
        """Pixels seen in a step, at all sizes."""
        return math.prod(self.sides) * (1 + sum((scale / self.scale) ** 2 for scale in self.octaves))

    @property
    def work(self) -> float:
        """Pixels seen in all steps."""
        return self.steps * self.pixels


def levels_of(height: int, width: int, knobs: OptimizeKnobs) -> tuple[Level, ...]:
    """Coarse first. A long descent ends lower from three quarters of the size than from all or half of it."""

    def level(scale: float, steps: float, content_factor: float = 1.0) -> Level:
        coarse = scale <= _COARSE  # there motifs settle; later they only grow sharp
        content_factor *= knobs.coarse_content if coarse else 1.0
        deep_style = knobs.deep_style if coarse else math.sqrt(knobs.deep_style)
        smaller = (scale * 0.5**octave for octave in range(1, knobs.octaves))
        octaves = tuple(each for each in smaller if each * max(height, width) >= knobs.coarsest)
        return Level(scale, sides_at(height, width, scale), round(steps), content_factor, deep_style, octaves)

    *coarser, finest = (
        level(scale, knobs.steps * COARSER_STEPS ** -math.log2(scale))
        for scale in pyramid_scales(height, width, coarsest=knobs.coarsest)
    )
    if knobs.steps < _LONG or knobs.canvas == "photorealistic":
        return *coarser, finest
    return *coarser, level(0.75, _BETWEEN * knobs.steps, _FIRST_LEVEL_CONTENT), finest


def sides_of(images: Tensor) -> tuple[int, int]:
    """Height and width of `images (B, C, H, W)`."""
    return images.shape[2], images.shape[3]


def sides_at(height: int, width: int, scale: float) -> tuple[int, int]:
    """Both sides at a level, rounded so that pooling drops no row."""
    return (
        max(2 * STRIDE, round(height * scale / STRIDE) * STRIDE),
        max(2 * STRIDE, round(width * scale / STRIDE) * STRIDE),
    )


def pyramid_scales(height: int, width: int, *, coarsest: int) -> tuple[float, ...]:
    """Sizes of a coarse-to-fine descent as shares of the full size, coarse first, each half of the next.

    Args:
        height, width: the full size.
        coarsest: least longest side in pixels of the coarsest level; a picture that is no larger has one level.
    """
    count = 1 + max(0, int(math.log2(max(height, width) / coarsest)))
    return tuple(0.5**level for level in reversed(range(count)))
