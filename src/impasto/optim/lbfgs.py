"""L-BFGS with a strong Wolfe line search, whose whole state can be taken out and put back between two evaluations.

PyTorch's own keeps what a run needs to go on in local variables of one call, so a run that was killed cannot be
continued to the same end. This one takes the same steps (a test compares them) and can.

Papers: D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
Programming 45, 1989; J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, algorithms 3.5, 3.6 and 7.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_DECREASE = 1e-4  # share of the promised decrease that a step must bring
_FLATTENED = 0.9  # share of the slope that may remain
_LEAST_CURVATURE = 1e-10
_MOST_TRIALS = 25  # of one line search
_NEAR_END = 0.1  # of a bracket: a trial nearer to its ends than that brings little

Evaluate = Callable[[], Tensor]
"""The loss at the parameters, whose gradients it leaves in them."""


@dataclass
class _Point:
    """A point along the direction of search: the step to it, its loss, its gradient, its slope along the direction."""

    step: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS:
    """Moves parameters down a loss.

    Args:
        parameters: leaf tensors, of one device and type.
        history: pairs of steps and changes of the gradient that are kept; each takes twice the memory of the
            parameters.
    """

    def __init__(self, parameters: Sequence[Tensor], *, history: int) -> None:
        self._parameters, self._history = list(parameters), history
        self._base = torch.cat([parameter.detach().flatten() for parameter in self._parameters])
        self._loss = math.nan
        self._gradient: Tensor | None = None  # at the base
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def run(self, evaluate: Evaluate, on_move: Callable[[], None]) -> None:
        """Take steps until none leads further down, or until `evaluate` raises.

        `on_move` is told whenever `state` has become another: after the first evaluation, and after each step.
        """
        if self._gradient is None:
            self._loss, self._gradient = self._evaluated(evaluate)
            on_move()
        while True:
            direction = self._direction(self._gradient)
            slope = _dot(direction, self._gradient)
            if not slope < 0:
                return
            first = 1.0 if self._pairs else min(1.0, 1.0 / float(self._gradient.abs().sum()))
            found = self._search(direction, slope, first, evaluate)
            if found.step == 0:
                return
            self._remember(found.step * direction, found.gradient - self._gradient)
            self._base.add_(direction, alpha=found.step)
            self._loss, self._gradient = found.loss, found.gradient
            on_move()

    def state(self) -> dict[str, Tensor]:
        """The state that `load` takes, as of the last call of `on_move`; not copied."""
        tensors = {"base": self._base, "loss": torch.tensor(self._loss, dtype=torch.float64)}
        if self._gradient is not None:
            tensors["gradient"] = self._gradient
        for index, (step, change) in enumerate(self._pairs):
            tensors[f"step{index}"], tensors[f"change{index}"] = step, change
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state` of parameters of the same shapes."""

        def own(name: str) -> Tensor:
            return state[name].to(self._base)

        self._base, self._loss = own("base"), float(state["loss"])
        self._gradient = own("gradient") if "gradient" in state else None
        count = sum(name.startswith("change") for name in state)
        self._pairs = [(own(f"step{index}"), own(f"change{index}")) for index in range(count)]
        self._move_to(self._base)

    def _direction(self, gradient: Tensor) -> Tensor:
        """Minus the gradient times the inverse Hessian, as far as the pairs tell it (algorithm 7.4)."""
        direction = gradient.neg()
        shares = []
        for step, change in reversed(self._pairs):
            share = _dot(step, direction) / _dot(step, change)
            direction.add_(change, alpha=-share)
            shares.append(share)
        if self._pairs:
            step, change = self._pairs[-1]
            direction.mul_(_dot(step, change) / _dot(change, change))
        for (step, change), share in zip(self._pairs, reversed(shares), strict=True):
            direction.add_(step, alpha=share - _dot(change, direction) / _dot(step, change))
        return direction

    def _remember(self, step: Tensor, change: Tensor) -> None:
        if _dot(step, change) > _LEAST_CURVATURE:
            self._pairs = [*self._pairs, (step, change)][-self._history :]

    def _search(self, direction: Tensor, slope: float, first: float, evaluate: Evaluate) -> _Point:
        """A step that fulfils the strong Wolfe conditions (algorithm 3.5), or the best of the trials."""
        assert self._gradient is not None
        base = _Point(0.0, self._loss, self._gradient, slope)

        def at(step: float) -> _Point:
            self._move_to(self._base, direction, step)
            loss, gradient = self._evaluated(evaluate)
            return _Point(step, loss, gradient, _dot(direction, gradient))

        before, trial = base, at(first)
        for count in range(1, _MOST_TRIALS):
            if not _is_lower(trial, base) or (count > 1 and trial.loss >= before.loss):
                return self._zoom(before, trial, base, at, count)
            if _is_flat(trial, base):
                return trial
            if trial.slope >= 0:
                return self._zoom(trial, before, base, at, count)
            further = _lowest(before, trial, trial.step + 0.01 * (trial.step - before.step), 10 * trial.step)
            before, trial = trial, at(further)
        return trial

    @staticmethod
    def _zoom(low: _Point, high: _Point, base: _Point, at: Callable[[float], _Point], count: int) -> _Point:
        """Narrow a bracket (algorithm 3.6). `low` is the end of it with the lower loss."""
        if high.loss < low.loss:
            low, high = high, low
        stalled = False
        for _ in range(count, _MOST_TRIALS):
            ends = sorted((low.step, high.step))
            width = ends[1] - ends[0]
            if width * float(base.gradient.abs().max()) < 1e-12:
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

    @torch.no_grad()
    def _move_to(self, base: Tensor, direction: Tensor | None = None, step: float = 0.0) -> None:
        place = 0
        for parameter in self._parameters:
            end = place + parameter.numel()
            parameter.copy_(base[place:end].view_as(parameter))
            if direction is not None:
                parameter.add_(direction[place:end].view_as(parameter), alpha=step)
            place = end

    def _evaluated(self, evaluate: Evaluate) -> tuple[float, Tensor]:
        loss = float(evaluate())
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters]
        return loss, torch.cat([gradient.flatten() for gradient in gradients])


def _dot(one: Tensor, other: Tensor) -> float:
    return float(one.dot(other))


def _is_lower(trial: _Point, base: _Point) -> bool:
    return trial.loss <= base.loss + _DECREASE * trial.step * base.slope


def _is_flat(trial: _Point, base: _Point) -> bool:
    return abs(trial.slope) <= -_FLATTENED * base.slope


def _lowest(one: _Point, other: _Point, least: float, most: float) -> float:
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
