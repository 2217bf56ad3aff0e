"""L-BFGS with a strong Wolfe line search, whose whole state can be taken out and put back between two evaluations.

PyTorch's own keeps what a run needs to go on in local variables of one call, so a run that was killed cannot be
continued to the same end. This one takes the same steps (a test compares them) and can.

Papers: D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
Programming 45, 1989; J. Nocedal and S. J. Wright, "Numerical Optimization", 2006, algorithm 7.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from impasto.optim import wolfe

Evaluate = Callable[[], Tensor]
"""The loss at the parameters, whose gradients it leaves in them."""


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
            base = wolfe.Point(0.0, self._loss, self._gradient, slope)

            def at(step: float, direction: Tensor = direction) -> wolfe.Point[Tensor]:
                self._move_to(self._base, direction, step)
                loss, gradient = self._evaluated(evaluate)
                return wolfe.Point(step, loss, gradient, _dot(direction, gradient))

            found = wolfe.search(base, first, at, steepest=float(self._gradient.abs().max()))
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
        if _dot(step, change) > wolfe.LEAST_CURVATURE:
            self._pairs = [*self._pairs, (step, change)][-self._history :]

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
