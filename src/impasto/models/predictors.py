"""Networks that take any painting: a small encoder looks at it and predicts the code that a network paints by.

Paper: arXiv:1705.06830 (Ghiasi, Lee, Kudlur, Dumoulin and Shlens 2017). Departs from it in the encoder: four plain
convolutions whose means and deviations are pooled at each level, as AdaIN's statistics are, where the paper has
Inception-v3; so both parts together stay under a million parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import InputError
from impasto.models import checkpoint, networks
from impasto.ops.stats import mean_std
from impasto.ops.tiles import pad_to_multiple

SIDE = 256
"""Longest side in pixels at which a painting is looked at."""

KIND = "arbitrary"
"""The kind in the metadata of such a network's file."""

_WIDTHS = (3, 24, 48, 96, 96)
_HIDDEN = 128
_LEAST = 32
_PREFIX = "encoder."
_HINT = "give one that impasto train arbitrary has written"


class Predictor(nn.Module):
    """Predicts a code from a painting.

    Args:
        base: `(1, N)`, the code that all predictions lie around at first.
        generator: of the first weights; None leaves them zero, to be loaded.
    """

    def __init__(self, base: Tensor, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1, padding_mode="reflect") for a, b in pairwise(_WIDTHS))
        self.hidden = nn.Linear(2 * sum(_WIDTHS[1:]), _HIDDEN)
        self.code = nn.Linear(_HIDDEN, base.shape[1])
        for name, values in self.named_parameters():
            # He et al. 2015; the last begins a tenth as strong, so that the network first sees codes like the base
            gain = 0.14 if name == "code.weight" else 2**0.5
            if generator is None or name.endswith("bias"):
                nn.init.zeros_(values)
            else:
                nn.init.normal_(values, std=gain / values[0].numel() ** 0.5, generator=generator)
        with torch.no_grad():
            self.code.bias.copy_(base[0])

    def forward(self, paintings: Tensor, seen: Tensor | None = None) -> Tensor:
        """`(B, N)` float32 of paintings `(B, 3, H, W)` in [0, 1], `SIDE` px along their longest side.

        seen: `(B, 1, H, W)` in [0, 1], how much of each pixel counts; None for all of it.
        """
        x, pooled = 2 * pad_to_multiple(paintings, 1, least=_LEAST) - 1, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            weight = None if seen is None else F.adaptive_avg_pool2d(seen, (x.shape[2], x.shape[3]))
            pooled += [part.flatten(1) for part in mean_std(x, weight)]
        code: Tensor = self.code(F.leaky_relu(self.hidden(torch.cat(pooled, 1)), 0.1))
        return code

    def operations(self) -> float:
        """Floating-point operations a pixel of the painting."""
        return sum(18.0 * a * b / float(4 ** (depth + 1)) for depth, (a, b) in enumerate(pairwise(_WIDTHS)))


def pack(network: networks.Network, predictor: Predictor) -> dict[str, Tensor]:
    """The tensors of a file."""
    tensors = {**network.state_dict(), **{_PREFIX + name: one for name, one in predictor.state_dict().items()}}
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def unpack(tensors: Mapping[str, Tensor]) -> tuple[networks.Network, Predictor]:
    """Network and predictor, loaded.

    Raises:
        InputError: the tensors are others.
    """
    shared = {name: tensor for name, tensor in tensors.items() if not name.startswith(_PREFIX)}
    own = {name.removeprefix(_PREFIX): one.float() for name, one in tensors.items() if name.startswith(_PREFIX)}
    network = networks.Trained(shared).network()
    predictor = Predictor(network.neutral_code())
    try:
        predictor.load_state_dict(own)
    except RuntimeError as error:
        raise InputError("the file holds no network for any painting", _HINT) from error
    return network, predictor


def read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors of a file in float32, and what it says of itself.

    Raises:
        InputError: it is missing, or another kind of network.
    """
    stored, about = checkpoint.read(path, hint=_HINT)
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    unpack(tensors)
    return tensors, about
