"""The network in training, as Lightning sees it; and the batches that it is fed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from impasto import images, networks, predictors
from impasto.contract import Placement
from impasto.data import Crops, items
from impasto.knobs import TrainKnobs
from impasto.tiling import pad_to_multiple
from impasto.train._critic import Critic
from impasto.train._motion import Motion
from impasto.train._teacher import Balance, Teacher

_WARM_UP = 0.02  # of the training: the learning rate rises
_SETTLED = 0.1  # of the training: from then on the style weights move
_STEADIED = (
    0.3  # of the training: the temporal loss has grown to its weight: a blank picture is steady, and learnt first
)
_LEAST_RATE = 0.01  # of the learning rate is left at the end
_WINDOW = 192  # pixels along the side of what is seen of a painting
CACHED = 1 << 30
"""Bytes of content features that are kept."""

Batch = dict[str, Tensor]


class Batches(IterableDataset[Batch]):
    """An endless row of batches that the seed settles; `start` skips those that an earlier run has used.

    Args:
        crops: what they are made of.
        styles: how many there are.
        knobs: of the training.
        start: batches of this process that are done.
        rank, world: which of how many processes this is; together they take the items in order.
    """

    def __init__(
        self, crops: Crops, styles: int, knobs: TrainKnobs, *, start: int = 0, rank: int = 0, world: int = 1
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


class Table(torch.nn.Module):
    """The codes of known styles, learnt as they are.

    Args:
        codes: `(S, N)`, a row a style.
    """

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = torch.nn.Parameter(codes.clone())

    def forward(self, styles: Tensor, numbers: Tensor | None = None) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """`(B, N)` of styles `(B,)`; `numbers (B,)` settle what is random."""
        return self.codes[styles]


class Reader(torch.nn.Module):
    """Predicts the codes of paintings by looking at them: what `train arbitrary` learns.

    Args:
        predictor: looks.
        paintings: each `(1, 3, H, W)` uint8, `predictors.SIDE` px along its longest side.
        seed: of the windows that are looked at.
    """

    def __init__(self, predictor: predictors.Predictor, paintings: Sequence[Tensor], seed: int) -> None:
        super().__init__()
        self.predictor = predictor
        self._paintings, self._seed = list(paintings), seed  # in a list: they are no part of what is learnt

    def forward(self, styles: Tensor, numbers: Tensor | None = None) -> Tensor:
        """`(B, N)` of styles `(B,)`: from random mirrored windows that `numbers (B,)` settle, or from the middle."""
        seen = [self._window(style, -1) for style in styles.tolist()]
        if numbers is not None:
            seen = [self._window(*pair) for pair in zip(styles.tolist(), numbers.tolist(), strict=True)]
        codes: Tensor = self.predictor(torch.cat(seen).to(self.predictor.code.weight.device).float() / 255)
        return codes

    def _window(self, style: int, number: int) -> Tensor:
        painting = pad_to_multiple(self._paintings[style], 1, least=_WINDOW)
        spare = [length - _WINDOW for length in painting.shape[2:]]
        if number < 0:
            top, left = (length // 2 for length in spare)
            return painting[..., top : top + _WINDOW, left : left + _WINDOW]
        random = np.random.default_rng([self._seed, 7, number])
        top, left = (int(random.integers(0, length + 1)) for length in spare)
        window = painting[..., top : top + _WINDOW, left : left + _WINDOW]
        return window.flip(3) if random.random() < 0.5 else window


class Student(lightning.LightningModule):
    """A network and what gives its codes, their running averages, and one training step.

    Args:
        network: the shared convolutions.
        book: gives the codes of styles, as `Table` does.
        teacher: scores.
        balance: weights of the style loss.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
        only_codes: leave the convolutions as they are and learn the styles alone.
        validated: the styles by turns in which it is validated; all by default.
    """

    def __init__(
        self,
        network: networks.Network,
        book: torch.nn.Module,
        teacher: Teacher,
        balance: Balance,
        *,
        knobs: TrainKnobs,
        placement: Placement,
        only_codes: bool = False,
        validated: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.network, self.book, self.balance = network, book, balance
        self.knobs, self.only_codes = knobs, only_codes
        network.requires_grad_(not only_codes)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.average_book = copy.deepcopy(book).requires_grad_(False)
        self.critic = Critic(teacher.styles, knobs.seed) if knobs.adversarial_weight else None
        self.validated = torch.tensor([*validated] or range(teacher.styles))
        self.loader: Callable[[int, int], DataLoader[Batch]] | None = None
        self.history: list[dict[str, float]] = []
        self.spent = 0.0  # seconds of training, those of earlier runs included
        self._teacher, self._placement = [teacher], placement  # in a list: it is no part of what is learnt
        self._content: dict[int, Tensor] = {}
        self._clock = time.monotonic()
        self._sums: dict[str, float] = {}

    @property
    def share(self) -> float:
        """Share of the training that is done."""
        if self.knobs.steps:
            return min(1.0, self.global_step / self.knobs.steps)
        return min(1.0, self.spent / (60 * self.knobs.minutes))

    @property
    def teacher(self) -> Teacher:
        """What scores it."""
        return self._teacher[0]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches for this process."""
        assert self.loader is not None
        return self.loader(self.trainer.global_rank, self.trainer.world_size)

    def paint(self, photographs: Tensor, styles: Tensor, *, average: bool = True) -> Tensor:
        """Pastiches `(B, 3, H, W)` float32 of photographs in `styles (B,)`; by the running averages or the newest."""
        book, network = (self.average_book, self.average) if average else (self.book, self.network)
        inside = photographs.to(self._placement.dtype).contiguous(memory_format=torch.channels_last)
        result: Tensor = network(inside, book(styles))
        return result.float()

    def content(self, batch: Batch) -> Tensor:
        """The teacher's content features, computed once for each crop as far as memory goes."""
        numbers = batch["crops"].tolist()
        missing = [place for place, number in enumerate(numbers) if number not in self._content]
        if missing:
            found = self.teacher.content(batch["images"][missing])
            fits = (len(self._content) + len(missing)) * found[0].numel() * found.element_size() <= CACHED
            if not fits:
                self._content.clear()
            for place, feature in zip(missing, found, strict=True):
                self._content[numbers[place]] = feature.clone()
        return torch.stack([self._content[number] for number in numbers])

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss, whose gradient is wanted."""
        styles = batch["styles"]
        inside = batch["images"].to(self._placement.dtype).contiguous(memory_format=torch.channels_last)
        codes = self.book(styles, batch["numbers"])
        pastiches = self.network(inside, codes)
        losses = self.teacher.losses(pastiches, self.content(batch), styles)
        weights = self.balance.weights_of(styles)
        loss = losses["content"] + weights * losses["style"] + self.knobs.tv_weight * losses["tv"]
        if self.critic is not None:
            patches = self.teacher.patches(styles, batch["numbers"], self.knobs.crop, self.knobs.seed)
            losses |= self.critic.losses(pastiches, patches.to(pastiches), styles)
            loss = loss + self.knobs.adversarial_weight * losses["adversarial"] + losses["critic"]
        if self.knobs.temporal_weight:
            motion = Motion(batch["numbers"].tolist(), self.knobs.seed, self.knobs.crop)
            after = motion.film(batch["images"]).to(inside.dtype).contiguous(memory_format=torch.channels_last)
            losses["temporal"] = motion.error(pastiches, self.network(after, codes))
            loss = loss + self.knobs.temporal_weight * min(1.0, self.share / _STEADIED) * losses["temporal"]
        self._note(styles, losses)
        return loss.mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the averaged network on photographs `(B, 3, H, W)`, the styles by turns; and their sum."""
        photographs = photographs.to(self.device)
        turns = torch.arange(len(photographs)) % len(self.validated)
        styles = self.validated[turns].to(self.device)
        losses = self.teacher.losses(self.paint(photographs, styles), self.teacher.content(photographs), styles)
        means = {name: float(values.mean()) for name, values in losses.items()}
        # style weights move; what is compared over time must not
        means["loss"] = means["content"] + self.knobs.style_weight * means["style"]
        return means

    def _note(self, styles: Tensor, losses: dict[str, Tensor]) -> None:
        """Sum up what a step's batches, on all processes, have shown."""
        errors = losses["content"].detach()
        if self.trainer.world_size > 1:
            styles, errors = _gathered(styles), _gathered(errors)
        self.balance.update(styles, errors, settled=self.share >= _SETTLED)
        for name, values in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(values.detach().mean()) / self.knobs.accumulate

    def on_train_start(self) -> None:
        """The clock starts when steps do."""
        self._clock = time.monotonic()

    def on_train_batch_start(self, _batch: Batch, _index: int) -> None:
        """Set the learning rate: warm-up, then a cosine over steps or minutes (arXiv:1608.03983)."""
        if not self.knobs.steps:
            now = time.monotonic()
            self.spent, self._clock = self.spent + now - self._clock, now
            if self.trainer.world_size > 1:  # all processes have to agree on the hour
                self.spent = float(self.trainer.strategy.broadcast(self.spent))
        share = self.share
        rise = min(1.0, (share + 1e-4) / _WARM_UP)
        fall = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.knobs.learning_rate * rise * fall

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 - Lightning's signature
    ) -> None:
        """Clip the network's gradient and the critic's apart: neither shall shrink the other."""
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip_val or math.inf)

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """A step, then the running averages and the history follow."""
        super().optimizer_step(*arguments, **named)
        with torch.no_grad():
            kept = min(self.knobs.ema, (1 + self.global_step) / (10 + self.global_step))  # young averages are short
            ours: list[Tensor] = [*self.average.parameters(), *self.average_book.parameters()]
            newest: list[Tensor] = [*self.network.parameters(), *self.book.parameters()]
            torch._foreach_lerp_(ours, newest, 1 - kept)
        self.history.append({"step": float(self.global_step), **self._sums})
        self._sums = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, of less momentum for the critic, whose aim moves; the codes alone may learn."""
        learning = [one for part in (self.network, self.book) for one in part.parameters() if one.requires_grad]
        groups: list[dict[str, Any]] = [{"params": learning, "betas": (0.9, 0.99)}]
        if self.critic is not None:
            groups.append({"params": [*self.critic.parameters()], "betas": (0.5, 0.99)})
        return torch.optim.Adam(groups, lr=self.knobs.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is not a tensor."""
        checkpoint["impasto"] = {"history": self.history, "spent": self.spent}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.history = list(checkpoint["impasto"]["history"])
        self.spent = float(checkpoint["impasto"]["spent"])

    def tensors(self, styles: list[str]) -> dict[str, Tensor]:
        """The averaged network as a file holds it; `styles` are the names of a table's codes."""
        if isinstance(self.average_book, Reader):
            return predictors.pack(self.average, self.average_book.predictor)
        assert isinstance(self.average_book, Table)
        return networks.pack(self.average, self.average_book.codes, styles)


def _gathered(values: Tensor) -> Tensor:
    """The values `(B,)` of all processes, one after the other."""
    found = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(found, values.contiguous())
    return torch.cat(found)
