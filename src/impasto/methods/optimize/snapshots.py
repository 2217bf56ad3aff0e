"""Snapshots of a descent over several levels, and its progress as one count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from impasto.contract import (
    OnProgress,
    Progress,
    Snapshot,
)
from impasto.methods.optimize.levels import Level
from impasto.optim.canvases import BilateralCanvas


@dataclass(frozen=True)
class LevelSnapshot:
    """A snapshot of the whole descent: that of its present level, and how that level began.

    Attributes:
        level: its index.
        start: `(1, 3, H, W)`, the image that the first level began with.
        change: what the levels before have changed of it.
        seen: from an image at any size to the picture.
        descent: the snapshot of this level.
        before: steps of all levels before.
    """

    level: int
    start: Tensor
    change: Tensor
    seen: Callable[[Tensor], Tensor]
    descent: Snapshot | None = None
    before: int = 0

    def image(self) -> Tensor:
        """See `Snapshot`."""
        assert self.descent is not None
        return self.seen(self.descent.image())

    def state(self) -> dict[str, Tensor]:
        """See `Snapshot`."""
        assert self.descent is not None
        own = self.descent.state()
        mine = {"steps": own["steps"] + self.before, "level": torch.tensor(self.level)}
        theirs = {f"descent/{name}": tensor for name, tensor in own.items()}
        return {**mine, "start": self.start, "change": self.change, **theirs}


@dataclass(frozen=True)
class RecolorSnapshot:
    """A snapshot of a descent on colours: its picture at full size.

    Attributes:
        image: gives the picture.
        best: the best colours.
        lowest: their loss.
        descent: the snapshot at the small size.
    """

    image: Callable[[], Tensor]
    best: BilateralCanvas
    lowest: float
    descent: Snapshot

    def state(self) -> Mapping[str, Tensor]:
        """See `Snapshot`."""
        best = {f"best/{index}": parameter.detach() for index, parameter in enumerate(self.best.parameters())}
        return {**self.descent.state(), **best, "best/lowest": torch.tensor(self.lowest, dtype=torch.float64)}


class LevelReports:
    """Joins the reports of the levels into one count, weighing steps by the pixels that they move."""

    def __init__(self, on_progress: OnProgress, levels: Sequence[Level], stage: str) -> None:
        self._on_progress, self._levels, self._stage = on_progress, levels, stage

    def of_level(self, index: int, taken: LevelSnapshot) -> OnProgress:
        """The callback for one level."""
        before = self._levels[:index]
        steps, total = sum(level.steps for level in before), sum(level.steps for level in self._levels)
        work, all_work = sum(level.work for level in before), sum(level.work for level in self._levels)
        pixels = self._levels[index].pixels

        def report(progress: Progress) -> None:
            done = (work + pixels * progress.step) / all_work
            snapshot = replace(taken, descent=progress.snapshot, before=steps)
            told = replace(progress, stage=self._stage, step=steps + progress.step, total=total, snapshot=snapshot)
            self._on_progress(replace(told, done=done))

        return report
