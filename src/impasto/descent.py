"""The one loop that optimises pictures: moves what renders to an image down a loss."""

from __future__ import annotations

import contextlib
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

_RANGE_WEIGHT = 10.0  # brings pixels back that L-BFGS has moved out of [0, 1]; from 1 to 100 gave the same pictures
_LEAST_SIDE = 4  # of the smallest correction, in pixels

Score = Callable[[Tensor], tuple[Mapping[str, Tensor], Tensor]]
"""Losses of an image `(B, 3, H, W)` by name, weighted, each a scalar, and the gradient of their sum, which descends."""


def differentiated(losses: Callable[[Tensor], Mapping[str, Tensor]]) -> Score:
    """A Score of losses that autograd can differentiate."""

    def score(image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        leaf = image.detach().requires_grad_()
        found = losses(leaf)
        torch.stack(tuple(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return {name: loss.detach() for name, loss in found.items()}, leaf.grad

    return score


class Canvas(Protocol):
    """Parameters that render to an image: pixels here, a texture or a point cloud elsewhere."""

    def parameters(self) -> Sequence[Tensor]:
        """What is moved."""
        ...

    def render(self) -> Tensor:
        """The image `(B, 3, H, W)`, differentiable in the parameters."""
        ...

    def project(self) -> None:
        """Bring the parameters back to where the image is legal, after a step."""
        ...


class PixelPyramid:
    """An image as the sum of a start and corrections at full, half, quarter ... size, down to a few pixels.

    The same pictures can be written as with plain pixels, but a step moves whole areas at once: at equal steps the loss
    ends lower (bench/NOTES.md).

    Args:
        start: `(B, 3, H, W)` in [0, 1].
        falloff: scale of each correction against the next finer one, since its gradient adds up over more pixels.
        unit: what 1 in a parameter changes in the image. L-BFGS's first step sums to one unit, so a unit of x times the
            number of values makes it change a value by x on average.
        wrap: enlarge corrections as if the image was tiled, so that they leave no seam.
    """

    def __init__(self, start: Tensor, *, falloff: float = 0.6, unit: float = 1.0, wrap: bool = False) -> None:
        self._start = start.detach().clone(memory_format=torch.contiguous_format)
        batch, channels, height, width = start.shape
        sizes = [(height >> level, width >> level) for level in range(_correction_levels(height, width, wrap=wrap))]
        self._corrections = [
            torch.zeros(batch, channels, *size, device=start.device, requires_grad=True) for size in sizes
        ]
        self._falloff, self._unit, self._wrap = falloff, unit, wrap

    def parameters(self) -> Sequence[Tensor]:
        """Finest first."""
        return self._corrections

    def render(self) -> Tensor:
        """The start plus all corrections."""
        change = self._corrections[0]
        for level, correction in enumerate(self._corrections[1:], start=1):
            change = change + self._falloff**level * self._enlarged(correction, change.shape[2], change.shape[3])
        return self._start + self._unit * change

    def _enlarged(self, correction: Tensor, height: int, width: int) -> Tensor:
        if not self._wrap:
            return F.interpolate(correction, size=(height, width), mode="bilinear", align_corners=False)
        rows, columns = height // correction.shape[2], width // correction.shape[3]
        framed = F.pad(correction, (1, 1, 1, 1), mode="circular")
        wide = F.interpolate(framed, scale_factor=(rows, columns), mode="bilinear", align_corners=False)
        return wide[:, :, rows:-rows, columns:-columns]

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the image to [0, 1], through the finest correction alone.

        A clamp inside `render` would cut the gradient of every pixel that has once left the range.
        """
        image = self.render()
        self._corrections[0] += (image.clamp(0, 1) - image) / self._unit


def _correction_levels(height: int, width: int, *, wrap: bool) -> int:
    """As many as leave `_LEAST_SIDE` pixels; in a tile, as many as divide it evenly too."""
    levels = max(1, 1 + int(math.log2(max(1, min(height, width) // _LEAST_SIDE))))
    if wrap:
        levels = min(levels, *(1 + (side & -side).bit_length() - 1 for side in (height, width)))
    return levels


@dataclass(frozen=True)
class Schedule:
    """How the descent goes.

    Attributes:
        steps: evaluations of the loss and its gradient.
        optimizer: "lbfgs" (with a strong Wolfe line search) or "adam".
        learning_rate: of Adam at its height, in units of the image's range.
        warmup: steps over which Adam's rate rises. Its first steps move every pixel by the full rate whatever the
            gradient, which would wipe out a good start.
        betas: Adam's decay rates; shorter memories than usual, since there are few steps.
        history: pairs that L-BFGS remembers; each takes twice the memory of the image.
    """

    steps: int
    optimizer: str = "lbfgs"
    learning_rate: float = 0.012
    warmup: int = 3
    betas: tuple[float, float] = (0.8, 0.99)
    history: int = 10

    def rate(self, step: int) -> float:
        """Share of Adam's rate at `step`, counted from 0: linear warm-up, then a half cosine to zero."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Trace:
    """What a descent leaves: the best image `(B, 3, H, W)`, and the losses and the time in seconds of each step."""

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
    """Move the canvas down the loss and keep the best image seen.

    Raises:
        Cancelled: as raised by `on_progress`, with the best image so far in its `partial`.
    """
    watch = _Watch(canvas, score, schedule.steps, stage, on_progress)
    watch.report(0)
    if schedule.optimizer == "adam":
        _run_adam(canvas, watch, schedule)
    else:
        _run_lbfgs(canvas, watch, schedule)
    if len(watch.history) < schedule.steps:  # L-BFGS has found that no step leads further down
        watch.report(schedule.steps)
    return Trace(watch.best.clamp(0, 1), tuple(watch.history))


class _Watch:
    """Evaluates, and remembers what was seen."""

    def __init__(self, canvas: Canvas, score: Score, steps: int, stage: str, on_progress: OnProgress) -> None:
        self._canvas, self._score, self._steps, self._stage = canvas, score, steps, stage
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._lowest = math.inf
        self.best = canvas.render().detach().clone()
        self.history: list[Mapping[str, float]] = []

    @property
    def exhausted(self) -> bool:
        """Whether all steps are taken."""
        return len(self.history) >= self._steps

    def evaluate(self) -> Tensor:
        """One step: the loss, whose gradients are left in the parameters."""
        for parameter in self._canvas.parameters():
            parameter.grad = None
        image = self._canvas.render()
        # what is beyond [0, 1] will not be seen, so it may neither count nor pull
        losses, gradient = self._score(image.detach().clamp(0, 1))
        with torch.no_grad():
            outside = image - image.clamp(0, 1)
            total = torch.stack(tuple(losses.values())).sum() + _RANGE_WEIGHT * outside.square().mean()
            gradient = gradient.masked_fill_(outside != 0, 0).add_(outside, alpha=2 * _RANGE_WEIGHT / outside.numel())
            del outside
        image.backward(gradient)  # type: ignore[no-untyped-call]
        value = total.item()
        if value < self._lowest:
            self._lowest = value
            self.best.copy_(image.detach())
        seconds = time.perf_counter() - self._started
        self.history.append(
            {**{name: loss.item() for name, loss in losses.items()}, "total": value, "seconds": seconds}
        )
        self.report(len(self.history))
        return total

    def report(self, step: int) -> None:
        """Tell of a step; a Cancelled on its way out takes the best image along."""
        losses = self.history[-1] if self.history else {}
        try:
            self._on_progress(Progress(self._stage, step, self._steps, losses=losses, preview=self.best))
        except Cancelled as cancelled:
            cancelled.partial = self.best.clamp(0, 1)
            raise


def _run_adam(canvas: Canvas, watch: _Watch, schedule: Schedule) -> None:
    adam = torch.optim.Adam(canvas.parameters(), betas=schedule.betas)
    for step in range(schedule.steps):
        watch.evaluate()
        for group in adam.param_groups:
            group["lr"] = schedule.learning_rate * schedule.rate(step)
        if not watch.exhausted:  # nobody would see what the last step gives
            adam.step()
            canvas.project()


def _run_lbfgs(canvas: Canvas, watch: _Watch, schedule: Schedule) -> None:
    lbfgs = torch.optim.LBFGS(
        canvas.parameters(),
        max_iter=schedule.steps,
        history_size=schedule.history,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure() -> Tensor:
        if watch.exhausted:  # a line search may ask for more than `max_eval` allows
            raise _ExhaustedError
        return watch.evaluate()

    with contextlib.suppress(_ExhaustedError):
        lbfgs.step(closure)  # type: ignore[no-untyped-call]


class _ExhaustedError(Exception):
    """All steps are taken."""


def pyramid_scales(height: int, width: int, *, coarsest: int) -> tuple[float, ...]:
    """Sizes of a coarse-to-fine descent as shares of the full size, coarse first, each half of the next.

    Args:
        height, width: the full size.
        coarsest: least longest side in pixels of the coarsest level; a picture that is no larger has one level.
    """
    count = 1 + max(0, int(math.log2(max(height, width) / coarsest)))
    return tuple(0.5**level for level in reversed(range(count)))


def resample(images: Tensor, height: int, width: int, *, wrap: bool = False) -> Tensor:
    """Resize `(B, C, H, W)` with an antialiased bicubic filter; differences keep their sign, so nothing is clamped.

    Args:
        images: the pictures.
        height, width: the new size.
        wrap: filter across the edges as if the picture was tiled.
    """
    if images.shape[2:] == (height, width):
        return images
    if wrap:
        tiled = resample(images.tile(1, 1, 3, 3), 3 * height, 3 * width)
        return tiled[:, :, height : 2 * height, width : 2 * width]
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
