"""The one loop that optimises pictures: moves what renders to an image down a loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import Cancelled

Score = Callable[[Tensor], Mapping[str, Tensor]]
"""Losses of an image `(B, 3, H, W)` by name, weighted, each a scalar; their sum is what descends."""


class Canvas(Protocol):
    """Parameters that render to an image: pixels here, a texture or a point cloud elsewhere."""

    def parameter_groups(self) -> Sequence[tuple[Tensor, float]]:
        """Each parameter with its share of the learning rate."""
        ...

    def render(self) -> Tensor:
        """The image `(B, 3, H, W)`, differentiable in the parameters."""
        ...

    def project(self) -> None:
        """Bring the parameters back to where the image is legal, after a step."""
        ...


class PixelPyramid:
    """An image as the sum of a start and corrections at full, half, quarter ... size.

    The same pictures can be written as with plain pixels, but a step moves whole areas at once, which Adam on single
    pixels does slowly and with noise: at equal steps the loss ends 3-5 % lower (bench/NOTES.md).

    Args:
        start: `(B, 3, H, W)` in [0, 1].
        levels: number of corrections; coarser ones get a smaller share of the learning rate, since their gradients
            add up over many pixels.
    """

    def __init__(self, start: Tensor, *, levels: int = 4, falloff: float = 0.6) -> None:
        self._start = start.detach().clone(memory_format=torch.contiguous_format)
        batch, channels, height, width = start.shape
        self._corrections = [
            torch.zeros(
                batch,
                channels,
                max(1, height >> level),
                max(1, width >> level),
                device=start.device,
                requires_grad=True,
            )
            for level in range(levels)
        ]
        self._falloff = falloff

    def parameter_groups(self) -> Sequence[tuple[Tensor, float]]:
        """Finest first."""
        return [(correction, self._falloff**level) for level, correction in enumerate(self._corrections)]

    def render(self) -> Tensor:
        """The start plus all corrections."""
        image = self._start + self._corrections[0]
        for correction in self._corrections[1:]:
            image = image + F.interpolate(correction, size=image.shape[2:], mode="bilinear", align_corners=False)
        return image

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the image to [0, 1], through the finest correction alone.

        A clamp inside `render` would cut the gradient of every pixel that has once left the range.
        """
        image = self.render()
        self._corrections[0] += image.clamp(0, 1) - image


@dataclass(frozen=True)
class Schedule:
    """How the descent goes.

    Attributes:
        steps: evaluations of the loss and its gradient.
        learning_rate: of Adam at its height, in units of the image's range.
        warmup: steps over which the rate rises. Adam's first steps move every pixel by the full rate whatever its
            gradient, which would wipe out a good start.
        betas: Adam's decay rates; shorter memories than usual, since there are few steps.
    """

    steps: int
    learning_rate: float = 0.012
    warmup: int = 3
    betas: tuple[float, float] = (0.8, 0.99)

    def rate(self, step: int) -> float:
        """Share of the learning rate at `step`, counted from 0: linear warm-up, then a half cosine to zero."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Trace:
    """What a descent leaves: the best image `(B, 3, H, W)`, and at each step its losses and the time in seconds."""

    image: Tensor
    losses: tuple[Mapping[str, float], ...]


def descend(
    canvas: Canvas,
    score: Score,
    schedule: Schedule,
    *,
    stage: str = "refining",
    on_progress: OnProgress = ignore,
) -> Trace:
    """Run Adam on the canvas and keep the best image seen.

    Raises:
        Cancelled: as raised by `on_progress`, with the best image so far in its `partial`.
    """
    groups = [{"params": [tensor], "lr": 0.0, "share": share} for tensor, share in canvas.parameter_groups()]
    adam = torch.optim.Adam(groups, betas=schedule.betas)
    best, lowest = canvas.render().detach().clone(), math.inf
    history: list[Mapping[str, float]] = []
    started = time.perf_counter()
    for step in range(schedule.steps + 1):
        last = step == schedule.steps  # one more look, without gradient, to know what the last step gave
        adam.zero_grad()
        with torch.set_grad_enabled(not last):
            image = canvas.render()
            losses = score(image)
            total = torch.stack(tuple(losses.values())).sum()
        if total.item() < lowest:
            lowest = total.item()
            best.copy_(image.detach())
        history.append({**_floats(losses), "total": total.item(), "seconds": time.perf_counter() - started})
        try:
            on_progress(Progress(stage, step, schedule.steps, losses=history[-1], preview=best))
        except Cancelled as cancelled:
            cancelled.partial = best
            raise
        if last:
            break
        total.backward()  # type: ignore[no-untyped-call]
        for group in adam.param_groups:
            group["lr"] = schedule.learning_rate * schedule.rate(step) * group["share"]
        adam.step()
        canvas.project()
    return Trace(best, tuple(history))


def _floats(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: loss.item() for name, loss in losses.items()}


def pyramid_scales(height: int, width: int, *, levels: int = 0, shortest: int = 96) -> tuple[float, ...]:
    """Sizes of a coarse-to-fine descent as shares of the full size, coarse first, each half of the next.

    Args:
        levels: how many; 0 takes as many as leave the short side at least `shortest` pixels.
    """
    count = levels or 1 + max(0, int(math.log2(max(1.0, min(height, width) / shortest))))
    return tuple(0.5**level for level in reversed(range(count)))


def resample(images: Tensor, height: int, width: int) -> Tensor:
    """Resize `(B, C, H, W)` with an antialiased bicubic filter; differences keep their sign, so nothing is clamped."""
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
