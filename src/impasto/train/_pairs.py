"""The base class of modules that learn from photographs paired with squares of paintings."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.methods.settings import ScheduleKnobs
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._learner import Batch, Learner
from impasto.train._squares import Squares

M = TypeVar("M", bound=nn.Module)


class PairLearner(Learner, Generic[M]):
    """A painter in training, that takes a photograph and a painting.

    Args:
        painter: what learns.
        squares: of the paintings.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
    """

    stride: ClassVar[int]
    """What divides the sides of the pictures that it takes."""

    def __init__(self, painter: M, squares: Squares, knobs: ScheduleKnobs, placement: Placement) -> None:
        super().__init__(knobs, placement)
        self.painter = painter
        self.average = copy.deepcopy(painter).requires_grad_(False)
        self._squares = squares

    @abstractmethod
    def losses(self, photographs: Tensor, paintings: Tensor, painter: M) -> dict[str, Tensor]:
        """By name, `(B,)` each, of pictures `(B, 3, H, W)`; `loss` is their total."""

    @abstractmethod
    def paint(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """`(B, 3, H, W)` by the running averages."""

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The painter and its average."""
        return [(self.painter, self.average)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        losses = self.losses(batch["images"], self._styles(batch["styles"], batch["numbers"]), self.painter)
        self.note(losses)
        return losses["loss"].mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the running averages, the paintings by turns."""
        numbers = torch.arange(len(photographs))
        paintings = self._styles(numbers * self._squares.count // len(photographs), numbers)
        losses = self.losses(photographs.to(self.device), paintings, self.average)
        return {name: float(values.mean()) for name, values in losses.items()}

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A photograph in the style of a painting."""
        height, width = photograph.shape[2:]
        padded = pad_to_multiple(photograph, self.stride, least=2 * self.stride).to(self.device)
        number = torch.tensor([style])
        return crop_to(self.paint(padded, self._styles(number, number)), height, width).clamp(0, 1).float()

    def _styles(self, styles: Tensor, numbers: Tensor) -> Tensor:
        """A square of each painting, which its number settles: `(B, 3, crop, crop)`."""
        return self._squares(styles, numbers).to(self.device)
