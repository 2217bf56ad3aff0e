"""A line search by the strong Wolfe conditions, for vectors of any library. Loads no torch.

Paper: J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, algorithms 3.5 and 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")

LEAST_CURVATURE = 1e-10
"""Of a pair of step and change of the gradient that L-BFGS remembers."""
_DECREASE = 1e-4  # share of the promised decrease that a step must bring
_FLATTENED = 0.9  # share of the slope that may remain
_MOST_TRIALS = 25  # of one line search
_NEAR_END = 0.1  # of a bracket: a trial nearer to its ends than that brings little


@dataclass
class Point(Generic[V]):
    """A point along the direction of search: the step to it, its loss, its gradient, its slope along the direction."""

    step: float
    loss: float
    gradient: V
    slope: float


def search(base: Point[V], first: float, at: Callable[[float], Point[V]], *, steepest: float) -> Point[V]:
    """A step that fulfils the strong Wolfe conditions (algorithm 3.5), or the best of the trials.

    Args:
        base: where the search begins, at step 0.
        first: the first step to try.
        at: the point after a step.
        steepest: largest absolute value in the gradient at the base.
    """
    before, trial = base, at(first)
    for count in range(1, _MOST_TRIALS):
        if not _is_lower(trial, base) or (count > 1 and trial.loss >= before.loss):
            return _zoom(before, trial, base, at, count, steepest)
        if _is_flat(trial, base):
            return trial
        if trial.slope >= 0:
            return _zoom(trial, before, base, at, count, steepest)
        further = _lowest(before, trial, trial.step + 0.01 * (trial.step - before.step), 10 * trial.step)
        before, trial = trial, at(further)
    return trial


def _zoom(
    low: Point[V], high: Point[V], base: Point[V], at: Callable[[float], Point[V]], count: int, steepest: float
) -> Point[V]:
    """Narrow a bracket (algorithm 3.6). `low` is the end of it with the lower loss."""
    if high.loss < low.loss:
        low, high = high, low
    stalled = False
    for _ in range(count, _MOST_TRIALS):
        ends = sorted((low.step, high.step))
        width = ends[1] - ends[0]
        if width * steepest < 1e-12:
            break
        step = _lowest(low, high, *ends)
        margin = _NEAR_END * width
        near = min(step - ends[0], ends[1] - step) < margin
        if near and (stalled or step in ends):
            step = ends[1] - margin if ends[1] - step < step - ends[0] else ends[0] + margin
            near = False
        stalled = near
        trial = at(step)
        if not _is_lower(trial, base) or trial.loss >= low.loss:
            high = trial
            if high.loss < low.loss:
                low, high = high, low
            continue
        if _is_flat(trial, base):
            return trial
        if trial.slope * (high.step - low.step) >= 0:
            high = low
        low = trial
    return low


def _is_lower(trial: Point[V], base: Point[V]) -> bool:
    return trial.loss <= base.loss + _DECREASE * trial.step * base.slope


def _is_flat(trial: Point[V], base: Point[V]) -> bool:
    return abs(trial.slope) <= -_FLATTENED * base.slope


def _lowest(one: Point[V], other: Point[V], least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is lowest (eq. 3.59), from `least` to `most`.

    Their middle, where it has no minimum.
    """
    if one.step > other.step:
        one, other = other, one
    width = other.step - one.step
    bend = one.slope + other.slope - 3 * (other.loss - one.loss) / width
    square = bend * bend - one.slope * other.slope
    root = math.sqrt(square) if square >= 0 else math.nan
    divisor = other.slope - one.slope + 2 * root
    if not abs(divisor) > 0:
        return (least + most) / 2
    return min(max(other.step - width * (other.slope + root - bend) / divisor, least), most)
