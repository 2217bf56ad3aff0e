"""The loop that optimises a picture, on NumPy arrays `(3, H, W)`: as `optim.descent`, with the same numbers.

What is heavy, the features and their gradient, is asked of a score that a backend has compiled. A pyramid, Adam and
L-BFGS cost next to nothing beside it, and so are written once for all backends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from impasto.keras import resampling
from impasto.keras.resampling import Floats
from impasto.optim import wolfe
from impasto.optim.schedule import FALLOFF, NEAR, RANGE_WEIGHT, STRONG, TINY, Schedule, correction_levels

Losses = Mapping[str, float]
Score = Callable[[Floats], tuple[Losses, Floats]]
"""Losses of an image by name, weighted, and the gradient of their sum."""

_ADAM_EPSILON = 1e-8


class PixelPyramid:
    """An image as a start and corrections at full, half, quarter ... size; see `optim.canvases.PixelPyramid`.

    Args:
        start: `(3, H, W)` in [0, 1].
        scale: what 1 in a parameter changes in the image; a number, or `(H, W)`.
    """

    def __init__(self, start: Floats, scale: Floats | float = 1.0) -> None:
        self._start, self._scale = start, np.asarray(scale, np.float32)
        height, width = start.shape[1:]
        sizes = [(height >> level, width >> level) for level in range(correction_levels(height, width, wrap=False))]
        self.corrections = [np.zeros((3, *size), np.float32) for size in sizes]
        self._maps = [
            (resampling.bilinear(small[0], large[0]), resampling.bilinear(small[1], large[1]))
            for large, small in pairwise(sizes)
        ]

    def render(self) -> Floats:
        """The start plus all corrections, each enlarged together with the coarser ones."""
        change = self.corrections[-1]
        for correction, (rows, columns) in zip(self.corrections[-2::-1], self._maps[::-1], strict=True):
            change = correction + np.float32(FALLOFF) * resampling.applied(rows, change, columns)
        image: Floats = self._start + self._scale * change
        return image

    def gradients(self, gradient: Floats) -> list[Floats]:
        """Of the corrections, of that of the image."""
        found: list[Floats] = [(self._scale * gradient).astype(np.float32)]
        for rows, columns in self._maps:
            found.append(np.float32(FALLOFF) * resampling.applied(rows.T, found[-1], columns.T))
        return found

    def project(self) -> None:
        """Clamp the image to [0, 1], through the finest correction alone."""
        image = self.render()
        self.corrections[0] += (np.clip(image, 0, 1) - image) / self._scale


def gradient_preconditioner(gradient: Floats) -> Floats:
    """`(H, W)`, with which all places take part in the first steps alike; see `optim.canvases`."""
    power = np.square(gradient).mean(0, keepdims=True)
    reach = min(NEAR, *(side - 1 for side in power.shape[1:]))
    rows, columns = (resampling.box(side, reach) for side in power.shape[1:])
    size = np.sqrt(np.maximum(resampling.applied(rows, power, columns), 0))
    preconditioner = 1 / np.maximum(size / max(float(size.mean()), TINY), STRONG)
    step = np.abs(gradient)
    factor = max(float(step.mean()), TINY) / max(float((preconditioner * step).mean()), TINY)
    found: Floats = (preconditioner * factor)[0].astype(np.float32)
    return found


@dataclass(frozen=True)
class Step:
    """One step of a descent: how many are done, its losses, and the best image so far."""

    number: int
    losses: Losses
    best: Floats


class Descent:
    """Moves an image down a score and keeps the best seen.

    Args:
        start: `(3, H, W)` in [0, 1].
        score: what is descended.
        schedule: how.
        on_step: called after each step; it stops the descent by raising.

    Attributes:
        best: the best image so far.
        history: losses and time in seconds of each step.
    """

    def __init__(self, start: Floats, score: Score, schedule: Schedule, on_step: Callable[[Step], None]) -> None:
        self.best, self.history = start, list[Losses]()
        self._start, self._score, self._schedule, self._on_step = start, score, schedule, on_step
        self._lowest, self._started = math.inf, time.perf_counter()
        self._ahead: tuple[Losses, Floats] | None = None

    def run(self, first_step: float) -> Floats:
        """The best image.

        first_step: mean change of a value in L-BFGS's first step.
        """
        self._on_step(Step(0, {}, self._start))
        if self._schedule.optimizer == "adam":
            self._adam(PixelPyramid(self._start))
            return self.best
        self._ahead = self._score(self._start)  # handed out again as the first step
        scale = np.float32(first_step * self._start.size) * gradient_preconditioner(self._ahead[1])
        self._lbfgs(PixelPyramid(self._start, scale))
        return self.best

    def _evaluate(self, canvas: PixelPyramid) -> tuple[float, list[Floats]]:
        """One step: the loss, and its gradient in the corrections."""
        if len(self.history) >= self._schedule.steps:
            raise _ExhaustedError
        image = canvas.render()
        inside = np.clip(image, 0, 1)
        found, self._ahead = self._ahead, None
        losses, gradient = found or self._score(inside)
        outside = image - inside  # will not be seen, so it may neither count nor pull
        total = sum(losses.values()) + RANGE_WEIGHT * float(np.square(outside).mean())
        gradient = np.where(outside == 0, gradient, np.float32(2 * RANGE_WEIGHT / outside.size) * outside)
        if total < self._lowest:
            self._lowest, self.best = total, inside
        seconds = time.perf_counter() - self._started
        self.history.append({**losses, "total": total, "seconds": seconds})
        self._on_step(Step(len(self.history), self.history[-1], self.best))
        return total, canvas.gradients(gradient)

    def _adam(self, canvas: PixelPyramid) -> None:
        """Adam with the schedule's rate."""
        first, second = ([np.zeros_like(one) for one in canvas.corrections] for _ in range(2))
        decay, slow = self._schedule.betas
        for step in range(self._schedule.steps):
            rate = self._schedule.learning_rate * self._schedule.rate(step)
            _, gradients = self._evaluate(canvas)
            if step + 1 == self._schedule.steps:  # the last step's image is never evaluated
                return
            for level, gradient in enumerate(gradients):
                first[level] += np.float32(1 - decay) * (gradient - first[level])
                second[level] += np.float32(1 - slow) * (np.square(gradient) - second[level])
                size = np.sqrt(second[level] / np.float32(1 - slow ** (step + 1))) + np.float32(_ADAM_EPSILON)
                canvas.corrections[level] -= np.float32(rate / (1 - decay ** (step + 1))) * first[level] / size
            canvas.project()

    def _lbfgs(self, canvas: PixelPyramid) -> None:
        """L-BFGS until all steps are taken or none leads further down."""

        def evaluate(flat: Floats) -> tuple[float, Floats]:
            place = 0
            for correction in canvas.corrections:
                correction[...] = flat[place : place + correction.size].reshape(correction.shape)
                place += correction.size
            total, gradients = self._evaluate(canvas)
            return total, np.concatenate([gradient.ravel() for gradient in gradients])

        begun = np.concatenate([correction.ravel() for correction in canvas.corrections])
        try:
            minimise(begun, evaluate, history=self._schedule.history)
        except _ExhaustedError:
            return
        self._on_step(Step(self._schedule.steps, self.history[-1], self.best))


def minimise(base: Floats, evaluate: Callable[[Floats], tuple[float, Floats]], *, history: int) -> None:
    """L-BFGS with a strong Wolfe line search, until no step leads further down or `evaluate` raises.

    The steps of `optim.lbfgs`, on vectors of NumPy. Paper: J. Nocedal and S. J. Wright, "Numerical Optimization", 2006,
    algorithm 7.4.
    """
    loss, gradient = evaluate(base)
    pairs: list[tuple[Floats, Floats]] = []
    while True:
        direction = _direction(gradient, pairs)
        slope = float(direction @ gradient)
        if not slope < 0:
            return

        def at(step: float, base: Floats = base, direction: Floats = direction) -> wolfe.Point[Floats]:
            loss, gradient = evaluate(base + np.float32(step) * direction)
            return wolfe.Point(step, loss, gradient, float(direction @ gradient))

        first = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        begun = wolfe.Point(0.0, loss, gradient, slope)
        found = wolfe.search(begun, first, at, steepest=float(np.abs(gradient).max()))
        if found.step == 0:
            return
        step, change = np.float32(found.step) * direction, found.gradient - gradient
        if float(step @ change) > wolfe.LEAST_CURVATURE:
            pairs = [*pairs, (step, change)][-history:]
        base, loss, gradient = base + step, found.loss, found.gradient


def _direction(gradient: Floats, pairs: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Minus the gradient times the inverse Hessian, as far as the pairs tell it."""
    direction: Floats = -gradient
    shares = []
    for step, change in reversed(pairs):
        share = (step @ direction) / (step @ change)
        direction = direction - np.float32(share) * change
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        direction = direction * np.float32((step @ change) / (change @ change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        direction = direction + np.float32(share - (change @ direction) / (step @ change)) * step
    return direction


class _ExhaustedError(Exception):
    """All steps are taken."""
