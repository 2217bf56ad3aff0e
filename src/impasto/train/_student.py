"""A style network in training: its codes come from a table, or are predicted from paintings."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.methods.settings import TrainKnobs
from impasto.models import networks, predictors
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._critic import Critic
from impasto.train._learner import VALIDATED, Batch, Learner
from impasto.train._motion import Motion
from impasto.train._strokes import grid_share
from impasto.train._teacher import Balance, Teacher
from impasto.train._words import WordsTeacher

_FIXED_WEIGHTS = 0.1  # of the training, before the style weights move
# of the training, over which the temporal loss grows to its weight: at once, it would be met by a blank picture
_TEMPORAL_RAMP = 0.3
# of the learning rate: Adam moves each of a layer's weights by as much, and a predicted number by the sum over its
# hundreds of inputs; at the whole rate codes would jump further with each step than styles are apart
_PREDICTOR_RATE = 1 / 64
CACHED = 1 << 30
"""Bytes of content features that are kept."""


class CodeTable(torch.nn.Module):
    """The codes of known styles, as free parameters.

    Args:
        codes: `(S, N)`, a row a style.
    """

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes = torch.nn.Parameter(codes.clone())

    def forward(self, styles: Tensor, numbers: Tensor | None = None) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """`(B, N)` of styles `(B,)`; `numbers (B,)` seed what is random."""
        return self.codes[styles]


class CodePredictor(torch.nn.Module):
    """Predicts the codes of paintings: what `train arbitrary` trains.

    Args:
        predictor: the network that predicts.
        known: statistics of the paintings, as it takes them, a row each.
        network_rate: share of the learning rate for the convolutions beside it.
    """

    known: Tensor

    def __init__(self, predictor: predictors.Predictor, known: Tensor, network_rate: float = 1.0) -> None:
        super().__init__()
        self.predictor, self.network_rate = predictor, network_rate
        self.register_buffer("known", known, persistent=False)

    def forward(self, styles: Tensor, numbers: Tensor | None = None) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """`(B, N)` of styles `(B,)`."""
        codes: Tensor = self.predictor(self.known[styles])
        return codes


class Student(Learner):
    """A network and the module that gives its codes, trained by the losses of a teacher.

    Args:
        network: the shared convolutions.
        book: gives the codes of styles, as `CodeTable` does.
        teacher: computes the losses.
        balance: weights of the style loss.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
        only_codes: freeze the convolutions and train the codes alone.
        validation_styles: the styles in which it is validated, in turn; all by default.
    """

    knobs: TrainKnobs

    def __init__(
        self,
        network: networks.Network,
        book: torch.nn.Module,
        teacher: Teacher | WordsTeacher,
        balance: Balance,
        *,
        knobs: TrainKnobs,
        placement: Placement,
        only_codes: bool = False,
        validation_styles: Sequence[int] = (),
    ) -> None:
        numbers = [*validation_styles] or [*range(teacher.styles)]
        super().__init__(knobs, placement, max(VALIDATED, len(numbers)))
        self.validation_styles = torch.tensor(numbers)
        self.network, self.book, self.balance = network, book, balance
        network.requires_grad_(not only_codes)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.average_book = copy.deepcopy(book).requires_grad_(False)
        self.critic = Critic(teacher.styles, knobs.seed) if knobs.adversarial_weight else None
        self._teacher = [teacher]  # in a list, so that it is not registered as a submodule
        self._content: dict[int, Tensor] = {}

    @property
    def teacher(self) -> Teacher | WordsTeacher:
        """It computes the losses."""
        return self._teacher[0]

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The convolutions and the codes, with their averages."""
        return [(self.network, self.average), (self.book, self.average_book)]

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """The critic, with less momentum; what predicts codes, and the convolutions beside it, with their own rates."""
        groups: list[dict[str, Any]] = []
        if self.critic is not None:
            groups.append({"params": [*self.critic.parameters()], "betas": (0.5, 0.99)})
        if isinstance(self.book, CodePredictor):
            for part, share in ((self.network, self.book.network_rate), (self.book, _PREDICTOR_RATE)):
                groups.append({"params": [*part.parameters()], "betas": (0.9, 0.99), "rate_share": share})
        return groups

    def paint(self, photographs: Tensor, styles: Tensor) -> Tensor:
        """Pastiches `(B, 3, H, W)` float32 of photographs in `styles (B,)`, by the running averages."""
        inside = photographs.to(self.placement.dtype).contiguous(memory_format=torch.channels_last)
        result: Tensor = self.average(inside, self.average_book(styles))
        return result.float()

    def content(self, batch: Batch) -> Tensor:
        """The teacher's content features, computed once for each crop as far as the cache allows."""
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
        """One batch: its loss."""
        styles = batch["styles"]
        inside = batch["images"].to(self.placement.dtype).contiguous(memory_format=torch.channels_last)
        codes = self.book(styles, batch["numbers"])
        pastiches = self.network(inside, codes)
        losses = self._losses(pastiches, self.content(batch), styles)
        weights = self.balance.weights_of(styles)
        loss: Tensor = losses["content"] + weights * self._style_loss(losses) + self.knobs.tv_weight * losses["tv"]
        if self.knobs.grid_weight:
            loss = loss + self.knobs.grid_weight * losses["grid"]
        if self.critic is not None:
            assert isinstance(self.teacher, Teacher)
            patches = self.teacher.patches(styles, batch["numbers"], self.knobs.crop, self.knobs.seed)
            losses |= self.critic.losses(pastiches, patches.to(pastiches), styles)
            loss = loss + self.knobs.adversarial_weight * losses["adversarial"] + losses["critic"]
        if self.knobs.temporal_weight:
            motion = Motion(batch["numbers"].tolist(), self.knobs.seed, self.knobs.crop)
            after = motion.film(batch["images"]).to(inside.dtype).contiguous(memory_format=torch.channels_last)
            losses["temporal"] = motion.error(pastiches, self.network(after, codes))
            loss = loss + self.knobs.temporal_weight * min(1.0, self.share / _TEMPORAL_RAMP) * losses["temporal"]
        errors = losses["content"].detach()
        if self.trainer.world_size > 1:
            styles, errors = _all_gathered(styles), _all_gathered(errors)
        self.balance.update(styles, errors, settled=self.share >= _FIXED_WEIGHTS)
        self.note(losses)
        return loss.mean()

    def _losses(self, pastiches: Tensor, content: Tensor, styles: Tensor) -> dict[str, Tensor]:
        """The teacher's, and that of a grid, which no style settles."""
        losses = self.teacher.losses(pastiches, content, styles)
        return {**losses, "grid": grid_share(pastiches)} if self.knobs.grid_weight else losses

    def _style_loss(self, losses: Mapping[str, Any]) -> Any:
        """All that the style weight weighs."""
        total = losses["style"]
        for name, weight in (("large", self.knobs.large_weight), ("strokes", self.knobs.stroke_weight)):
            if weight:
                total = total + weight * losses[name]
        return total

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the averaged network on photographs `(B, 3, H, W)`, the styles in turn; and their sum."""
        photographs = photographs.to(self.device)
        styles = self.validation_styles[torch.arange(len(photographs)) % len(self.validation_styles)].to(self.device)
        losses = self._losses(self.paint(photographs, styles), self.teacher.content(photographs), styles)
        means = {name: float(values.mean()) for name, values in losses.items()}
        # style weights move; what is compared over time must be constant
        means["loss"] = means["content"] + self.knobs.style_weight * float(self._style_loss(means))
        return means

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A photograph in a style; see `Learner`."""
        height, width = photograph.shape[2:]
        stride = self.network.stride
        padded = pad_to_multiple(photograph, stride, least=4 * stride)
        return crop_to(self.paint(padded, torch.tensor([style])), height, width)

    def tensors(self, styles: list[str]) -> dict[str, Tensor]:
        """The averaged network as a file holds it; `styles` are the names of a table's codes."""
        if isinstance(self.average_book, CodePredictor):
            return predictors.pack(self.average, self.average_book.predictor)
        assert isinstance(self.average_book, CodeTable)
        return networks.pack(self.average, self.average_book.codes, styles)


def _all_gathered(values: Tensor) -> Tensor:
    """The values `(B,)` of all processes, one after the other."""
    found = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(found, values.contiguous())
    return torch.cat(found)
