"""A pruned network in training: it learns to paint what the full network paints, in all its styles."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.methods.settings import DistillKnobs
from impasto.models import networks
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._learner import VALIDATED, Batch, Learner
from impasto.train._student import CodeTable


class Distiller(Learner):
    """Learns the pictures of a full network.

    The loss is the mean absolute difference of the pictures plus that of the differences between neighbouring pixels:
    by the first alone fine strokes come out soft. No painting and no VGG-19 is needed.

    Args:
        pruned: learns; its codes, too.
        full: is learnt from.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.

    Paper: arXiv:1503.02531 (Hinton, Vinyals and Dean 2015), on pictures instead of class probabilities.
    """

    knobs: DistillKnobs

    def __init__(
        self, pruned: networks.Trained, full: networks.Trained, knobs: DistillKnobs, placement: Placement
    ) -> None:
        super().__init__(knobs, placement, max(VALIDATED, len(full.styles)))
        self.styles = full.styles
        self.network, self.book = pruned.network(), CodeTable(_codes(pruned, full.styles))
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.average_book = copy.deepcopy(self.book).requires_grad_(False)
        teacher = full.network().requires_grad_(False).to(placement.device)
        # in a list, so that they are not registered as a submodule
        self._teacher, self._teacher_codes = [teacher], [_codes(full, full.styles).to(placement.device)]

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The convolutions and the codes, with their averages."""
        return [(self.network, self.average), (self.book, self.average_book)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        losses = self._losses(batch["images"], batch["styles"], self.network, self.book)
        self.note(losses)
        return losses["loss"].mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the running averages, the styles by turns."""
        styles = torch.arange(len(photographs)) % len(self.styles)
        losses = self._losses(photographs.to(self.device), styles.to(self.device), self.average, self.average_book)
        return {name: float(values.mean()) for name, values in losses.items()}

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A photograph in a style."""
        height, width = photograph.shape[2:]
        padded = self._inside(pad_to_multiple(photograph, self.network.stride, least=4 * self.network.stride))
        return crop_to(self.average(padded, self.average_book.codes[style : style + 1]), height, width).float()

    def tensors(self) -> dict[str, Tensor]:
        """The averaged network as a file holds it."""
        return networks.pack(self.average, self.average_book.codes, self.styles)

    def _losses(self, photographs: Tensor, styles: Tensor, network: nn.Module, book: nn.Module) -> dict[str, Tensor]:
        inside = self._inside(photographs)
        with torch.no_grad():
            wanted = self._teacher[0](inside, self._teacher_codes[0][styles]).float()
        missing = network(inside, book(styles)).float() - wanted
        pixels = missing.abs().mean((1, 2, 3))
        detail = missing.diff(dim=2).abs().mean((1, 2, 3)) + missing.diff(dim=3).abs().mean((1, 2, 3))
        return {"pixels": pixels, "detail": detail, "loss": pixels + self.knobs.detail_weight * detail}

    def _inside(self, photographs: Tensor) -> Tensor:
        return photographs.to(self.placement.dtype).contiguous(memory_format=torch.channels_last)


def _codes(trained: networks.Trained, styles: Sequence[str]) -> Tensor:
    return torch.cat([trained.code(style) for style in styles])
