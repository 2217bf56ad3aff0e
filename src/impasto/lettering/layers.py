"""Painted letters as layers that lie over one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.images import Picture
from impasto.lettering import tones

Floats: TypeAlias = NDArray[np.float32]

_FADE = 24.0  # times as fast as the whole, that a stroke appears in an animation
_LIGHT = 0.6  # mean luma from which letters are shown on black


@dataclass(frozen=True, eq=False)
class PaintedLayer:
    """The paint of one zone.

    Attributes:
        pixels: `(H, W, 3)` in [0, 1].
        alpha: `(H, W)`, its opacity.
        order: `(H, W)` in [0, 1], when each pixel is painted.
    """

    pixels: Floats
    alpha: Floats
    order: Floats


@dataclass(frozen=True, eq=False)
class Layers:
    """Painted letters, layer over layer.

    Attributes:
        by_zone: one for each zone that is painted, the lowest first.
        background: below them; None for transparency.
    """

    by_zone: Mapping[str, PaintedLayer]
    background: tuple[float, float, float] | None = None

    def picture(self, progress: float = 1.0) -> Picture:
        """All layers together; progress: share of the strokes that are laid, from 0 to 1."""
        first = next(iter(self.by_zone.values())).pixels
        colour, opacity = np.zeros_like(first), np.zeros(first.shape[:2], np.float32)
        if self.background is not None:
            colour, opacity = colour + np.asarray(self.background, np.float32), opacity + 1
        for layer in self.by_zone.values():
            alpha = layer.alpha if progress >= 1 else layer.alpha * np.clip((progress - layer.order) * _FADE, 0, 1)
            total = alpha + opacity * (1 - alpha)
            mixed = layer.pixels * alpha[..., None] + colour * (opacity * (1 - alpha))[..., None]
            colour = np.where(total[..., None] > 0, mixed / np.maximum(total, 1e-6)[..., None], layer.pixels)
            opacity = total
        opaque = self.background is not None or float(opacity.min()) == 1
        return Picture(np.asarray(np.clip(colour, 0, 1), np.float32), None if opaque else opacity)

    def pictures(self) -> dict[str, Picture]:
        """Each layer by itself, by the name of its zone, the lowest first; the background below them, if any."""
        found: dict[str, Picture] = {}
        if self.background is not None:
            first = next(iter(self.by_zone.values())).pixels
            found["background"] = Picture(np.zeros_like(first) + np.asarray(self.background, np.float32))
        return found | {name: Picture(layer.pixels, layer.alpha) for name, layer in self.by_zone.items()}

    def frames(self, count: int, paper: tuple[float, float, float] | None = None) -> Iterator[Floats]:
        """Pictures of the strokes being laid, on paper, or `(H, W, 4)` without; the last has all of them."""
        for index in range(count):
            shown = self.picture(index / (count - 1) if index + 1 < count else 1.0)
            yield np.dstack([shown.pixels, _alpha_of(shown)]) if paper is None else on_paper(shown, paper)


def on_paper(picture: Picture, paper: tuple[float, float, float]) -> Floats:
    """The pixels `(H, W, 3)` over a colour."""
    alpha = _alpha_of(picture)[..., None]
    return np.asarray(picture.pixels * alpha + np.asarray(paper, np.float32) * (1 - alpha), np.float32)


def paper_for(layers: Layers) -> tuple[float, float, float]:
    """White or black, whichever the letters stand out from."""
    fill = layers.by_zone["fill"]
    weight = float(fill.alpha.sum())
    light = float((tones.luma(fill.pixels) * fill.alpha).sum()) / max(weight, 1.0)
    return (0.05, 0.05, 0.06) if light > _LIGHT else (1.0, 1.0, 1.0)


def _alpha_of(picture: Picture) -> Floats:
    return np.ones(picture.pixels.shape[:2], np.float32) if picture.alpha is None else picture.alpha
