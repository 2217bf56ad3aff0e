"""The one loop that optimises pictures: moves what renders to an image down a loss."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import Cancelled
from impasto.ops.tiles import resample
from impasto.optim.canvases import Canvas
from impasto.optim.lbfgs import LBFGS
from impasto.optim.schedule import RANGE_WEIGHT, Schedule

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


class CachedScore:
    """A Score that does not compute again what it was last asked.

    Args:
        score: what is asked.
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self._last: tuple[Tensor, tuple[Mapping[str, Tensor], Tensor]] | None = None

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """As the score; a cached result is handed out once, since gradients are worked on in place."""
        last, self._last = self._last, None
        return last[1] if last is not None and torch.equal(last[0], image) else self._score(image)

    def ahead(self, image: Tensor) -> Tensor:
        """The gradient at an image that will be asked for next."""
        found = self._score(image)
        self._last = image, found
        return found[1]


class MultiscaleScore:
    """A Score of an image, plus Scores of the same image made smaller: large strokes and shapes count too.

    A loss of feature statistics sees no more than the encoder's reach, which smaller images make wider.

    Args:
        own: of the image as it is.
        smaller: heights and widths, each with its Score. Losses of one name are added up.
        wrap: make smaller as if the image was tiled.
    """

    def __init__(self, own: Score, smaller: Sequence[tuple[tuple[int, int], Score]], *, wrap: bool = False) -> None:
        self._own, self._smaller, self._wrap = own, tuple(smaller), wrap

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """The sums of losses and gradients."""
        found, gradient = self._own(image)
        losses = dict(found)
        for sides, score in self._smaller:
            leaf = image.detach().requires_grad_()
            small = resample(leaf, *sides, wrap=self._wrap)
            more, pull = score(small.detach())
            small.backward(pull)  # type: ignore[no-untyped-call]
            assert leaf.grad is not None
            gradient = gradient + leaf.grad
            losses |= {name: loss + losses.get(name, 0) for name, loss in more.items()}
        return losses, gradient


@dataclass(frozen=True)
class DescentResult:
    """The result of a descent: the best image `(B, 3, H, W)`, and losses and time in seconds of each step it took."""

    image: Tensor
    losses: tuple[Mapping[str, float], ...]


def descend(
    canvas: Canvas,
    score: Score,
    schedule: Schedule,
    *,
    stage: str = "refining",
    on_progress: OnProgress = ignore,
    resume: Mapping[str, Tensor] | None = None,
) -> DescentResult:
    """Move the canvas down the loss and keep the best image seen.

    Args:
        canvas: what is moved.
        score: what is descended.
        schedule: how.
        stage: for reports.
        on_progress: called after each step; its snapshots hold a state.
        resume: the state of such a snapshot. A descent of the same canvas and score goes on from there to the same end.

    Raises:
        Cancelled: as raised by `on_progress` or by the score, with the best image so far in its `partial`.
    """
    optimizer: _Adam | _LBFGS = (_Adam if schedule.optimizer == "adam" else _LBFGS)(canvas, schedule)
    monitor = _Monitor(canvas, score, optimizer, schedule, stage, on_progress)
    if resume is not None:
        monitor.load(resume)
    monitor.report(monitor.count)
    with contextlib.suppress(_ExhaustedError):
        optimizer.run(monitor)
    if not monitor.exhausted:  # L-BFGS has found that no step leads further down
        monitor.report(schedule.steps)
    return DescentResult(monitor.image(), tuple(monitor.history))


class _Monitor:
    """Evaluates, and remembers what was seen. It is the Snapshot of the descent."""

    def __init__(
        self,
        canvas: Canvas,
        score: Score,
        optimizer: _Adam | _LBFGS,
        schedule: Schedule,
        stage: str,
        on_progress: OnProgress,
    ) -> None:
        self._canvas, self._score, self._steps, self._stage = canvas, score, schedule.steps, stage
        self._optimizer, self._on_progress = optimizer, on_progress
        self.count = 0  # of evaluations
        self._settled = 0  # of them, those that the optimiser's state accounts for
        self._started = time.perf_counter()
        self._lowest = math.inf
        kept = canvas.render().detach()
        self.best = kept.to(torch.float16) if schedule.low_memory else kept.clone()
        self.history: list[Mapping[str, float]] = []

    @property
    def exhausted(self) -> bool:
        """Whether all steps are taken."""
        return self.count >= self._steps

    def settle(self) -> None:
        """The optimiser's state is now that after `count` evaluations."""
        self._settled = self.count

    def image(self) -> Tensor:
        """The best image."""
        return self.best.clamp(0, 1)

    def state(self) -> dict[str, Tensor]:
        """See `Snapshot`. An evaluation that the optimiser's state lacks is made again."""
        own = {f"optimizer/{name}": tensor for name, tensor in self._optimizer.state().items()}
        lowest = torch.tensor(self._lowest, dtype=torch.float64)
        return {"steps": torch.tensor(self._settled), "lowest": lowest, "best": self.best, **own}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.count = self._settled = int(state["steps"])
        self._lowest = float(state["lowest"])
        self.best.copy_(state["best"])
        self._optimizer.load(with_prefix(state, "optimizer/"))

    def evaluate(self) -> Tensor:
        """One step: the loss, whose gradients are left in the parameters."""
        if self.exhausted:
            raise _ExhaustedError
        for parameter in self._canvas.parameters():
            parameter.grad = None
        image = self._canvas.render()
        bounded = self._canvas.bounded
        with self._keeping_best():
            losses, gradient = self._score(image.detach() if bounded else image.detach().clamp(0, 1))
        total = torch.stack(tuple(losses.values())).sum()
        if not bounded:  # what is beyond [0, 1] will not be seen, so it may neither count nor pull
            with torch.no_grad():
                outside = image - image.clamp(0, 1)
                total = total + RANGE_WEIGHT * outside.square().mean()
                gradient = gradient.masked_fill_(outside != 0, 0)
                gradient.add_(outside, alpha=2 * RANGE_WEIGHT / outside.numel())
                del outside
        if image.is_leaf:
            image.grad = gradient  # backward would copy it
        else:
            image.backward(gradient)  # type: ignore[no-untyped-call]
        value = total.item()
        if value < self._lowest:
            self._lowest = value
            self.best.copy_(image.detach())
        seconds = time.perf_counter() - self._started
        self.history.append(
            {**{name: loss.item() for name, loss in losses.items()}, "total": value, "seconds": seconds}
        )
        self.count += 1
        self.report(self.count)
        return total

    def report(self, step: int) -> None:
        """Tell of a step."""
        losses = self.history[-1] if self.history else {}
        with self._keeping_best():
            self._on_progress(Progress(self._stage, step, self._steps, losses=losses, preview=self.best, snapshot=self))

    @contextlib.contextmanager
    def _keeping_best(self) -> Iterator[None]:
        """A Cancelled on its way out takes the best image along."""
        try:
            yield
        except Cancelled as cancelled:
            cancelled.partial = self.image()
            raise


class _Adam:
    """Adam with the schedule's rate."""

    def __init__(self, canvas: Canvas, schedule: Schedule) -> None:
        self._canvas, self._schedule = canvas, schedule
        # fused: without copies of the size of the image in between
        self._adam = torch.optim.Adam(canvas.parameters(), betas=schedule.betas, fused=schedule.low_memory or None)

    def run(self, monitor: _Monitor) -> None:
        """Take all steps."""
        while not monitor.exhausted:
            monitor.settle()
            rate = self._schedule.learning_rate * self._schedule.rate(monitor.count)
            monitor.evaluate()
            for group in self._adam.param_groups:
                group["lr"] = rate
            if not monitor.exhausted:  # the last step's image is never evaluated
                self._adam.step()
                self._canvas.project()

    def state(self) -> dict[str, Tensor]:
        """Parameters and moments."""
        tensors: dict[str, Tensor] = {}
        for index, parameter in enumerate(self._canvas.parameters()):
            moments = {name: value for name, value in self._adam.state[parameter].items() if torch.is_tensor(value)}
            tensors |= {f"{index}/{name}": value for name, value in {"value": parameter.detach(), **moments}.items()}
        return tensors

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put them back."""
        for index, parameter in enumerate(self._canvas.parameters()):
            found = {name: tensor.clone() for name, tensor in with_prefix(state, f"{index}/").items()}
            parameter.copy_(found.pop("value"))
            moved = {name: tensor if name == "step" else tensor.to(parameter) for name, tensor in found.items()}
            self._adam.state[parameter].update(moved)


class _LBFGS:
    """L-BFGS, which watches nothing but the loss."""

    def __init__(self, canvas: Canvas, schedule: Schedule) -> None:
        self._lbfgs = LBFGS(canvas.parameters(), history=schedule.history)
        self.state, self.load = self._lbfgs.state, self._lbfgs.load

    def run(self, monitor: _Monitor) -> None:
        """Take steps until all are taken or none leads further down."""
        self._lbfgs.run(monitor.evaluate, monitor.settle)


class _ExhaustedError(Exception):
    """All steps are taken."""


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
