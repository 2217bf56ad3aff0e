"""The base class of all modules in training, for Lightning; and their batches."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

from impasto import images
from impasto.contract import Placement
from impasto.errors import InputError
from impasto.methods.settings import ScheduleKnobs
from impasto.train.data import Crops, Photographs, items

VALIDATED = 8
"""Crops that are validated on, or one a style."""

_WARM_UP = 0.02  # of the training: the learning rate rises
_LEAST_RATE = 0.01  # of the learning rate is left at the end

Batch = dict[str, Tensor]


class Batches(IterableDataset[Batch]):
    """An endless row of batches, determined by the seed; `start` skips those that an earlier run has used.

    Args:
        crops: what they are made of.
        styles: how many there are.
        knobs: of the training.
        start: batches of this process that are done.
        rank, world: which of how many processes this is; together they take the items in order.
    """

    def __init__(
        self, crops: Crops, styles: int, knobs: ScheduleKnobs, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.crops, self.styles, self.knobs = crops, styles, knobs
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[Batch]:
        number, size = self.start, self.knobs.batch
        while True:
            first = (number * self.world + self.rank) * size
            chosen = items(first, size, crops=len(self.crops), styles=self.styles, seed=self.knobs.seed)
            yield {
                "crops": torch.tensor([item.crop for item in chosen]),
                "styles": torch.tensor([item.style for item in chosen]),
                "numbers": torch.arange(first, first + size),
                "images": torch.cat([images.to_tensor(self.crops[item.crop]) for item in chosen]),
            }
            number += 1


def validation_crops(photographs: Photographs, knobs: ScheduleKnobs, count: int) -> Tensor:
    """The first so many crops `(count, 3, crop, crop)` of photographs, to validate on."""
    crops = Crops(photographs, knobs.crop, knobs.canvas, knobs.seed, count)
    return torch.cat([images.to_tensor(crops[index]) for index in range(count)])


class Learner(lightning.LightningModule, ABC):
    """A network in training: its schedule, running averages and losses by step, and where it stands.

    Args:
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
        validated: crops that it is validated on.
    """

    def __init__(self, knobs: ScheduleKnobs, placement: Placement, validated: int = VALIDATED) -> None:
        super().__init__()
        self.knobs, self.placement, self.validated = knobs, placement, validated
        self.loader: Callable[[int, int], DataLoader[Batch]] | None = None
        self.history: list[dict[str, float]] = []
        self.spent = 0.0  # seconds of training, those of earlier runs included
        self._clock = time.monotonic()
        self._sums: dict[str, float] = {}

    @abstractmethod
    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The trained modules, each with its running average."""

    @abstractmethod
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the running averages on photographs `(B, 3, H, W)`; `loss` is their total."""

    @abstractmethod
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """`(1, 3, H, W)` float32: the output of the running averages for a photograph of any size."""

    @property
    def share(self) -> float:
        """Share of the training that is done."""
        if self.knobs.steps:
            return min(1.0, self.global_step / self.knobs.steps)
        return min(1.0, self.spent / (60 * self.knobs.minutes))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches for this process."""
        assert self.loader is not None
        return self.loader(self.trainer.global_rank, self.trainer.world_size)

    def note(self, losses: Mapping[str, Tensor]) -> None:
        """Add up the losses of a step's batches on this process; each loss is `(B,)`."""
        for name, values in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(values.detach().mean()) / self.knobs.accumulate

    def on_train_start(self) -> None:
        """The clock starts when steps do."""
        self._clock = time.monotonic()

    def on_train_batch_start(self, _batch: Batch, _index: int) -> None:
        """Set the learning rate: by default a warm-up, then a cosine over steps or minutes (arXiv:1608.03983)."""
        if not self.knobs.steps:
            now = time.monotonic()
            self.spent, self._clock = self.spent + now - self._clock, now
            if self.trainer.world_size > 1:  # all processes have to agree on the time
                self.spent = float(self.trainer.strategy.broadcast(self.spent))
        rate = self.knobs.learning_rate * self.rate(self.share)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group.get("rate_share", 1.0)

    def rate(self, share: float) -> float:
        """What is left of the learning rate at a share of the training."""
        rise = min(1.0, (share + 1e-4) / _WARM_UP)
        return rise * (_LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * share)))

    def advice(self, validations: Sequence[Mapping[str, float]]) -> dict[str, str]:  # noqa: ARG002 - most need none
        """What goes wrong and what to do, by what shows it; `validations` one after the other."""
        return {}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - Lightning's signature
    ) -> None:
        """Clip the gradients of each group apart, so that a critic's do not scale down the network's."""
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip_val or math.inf)

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """A step, then the running averages and the history follow.

        Lightning's EMAWeightAveraging would average the critic, too, copy the teacher with the whole module, and know
        one decay; so its formula is applied to the averaged modules alone.
        """
        super().optimizer_step(*arguments, **named)
        kept = min(self.knobs.ema, (1 + self.global_step) / (10 + self.global_step))  # young averages are short
        average = get_ema_multi_avg_fn(kept)  # type: ignore[no-untyped-call]
        for newest, averaged in self.averaged_modules():
            average([*averaged.parameters()], [*newest.parameters()], None)
        self.history.append({"step": float(self.global_step), **self._sums})
        self._sums = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; what has options of its own is a group of its own."""
        others = self.extra_parameter_groups()
        apart = {id(one) for group in others for one in group["params"]}
        trained = [one for part, _ in self.averaged_modules() for one in part.parameters() if one.requires_grad]
        learning = [one for one in trained if id(one) not in apart]
        groups = [{"params": learning, "betas": (0.9, 0.99)}, *others] if learning else others
        return torch.optim.Adam(groups, lr=self.knobs.learning_rate)

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters that have options of their own, such as `rate_share` of the learning rate."""
        return []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is not a tensor."""
        checkpoint["impasto"] = {"history": self.history, "spent": self.spent}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it.

        Raises:
            InputError: the checkpoint is of another version of this module.
        """
        if checkpoint["state_dict"].keys() != self.state_dict().keys():
            hint = "remove its folder to train anew, or finish it with the version that began it"
            raise InputError("this training was begun by a version of impasto that cannot be gone on from", hint)
        self.history = list(checkpoint["impasto"]["history"])
        self.spent = float(checkpoint["impasto"]["spent"])
