"""Networks that take any painting: a predictor tells from a painting's statistics the code that a network paints by.

Paper: arXiv:1705.06830 (Ghiasi, Lee, Kudlur, Dumoulin and Shlens 2017). Departs from it in what the predictor sees:
not the painting but the means and deviations of VGG-19's features, as in arXiv:1703.06868, eq. 8 (Huang and Belongie
2017). Two linear layers then generalise from two hundred paintings, where an encoder of its own did not
(bench/NOTES.md); and the file stays small, since VGG-19 is there anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import STYLE_LAYERS, Features
from impasto.errors import InputError
from impasto.models import checkpoint, networks
from impasto.models.encoders import Encoder
from impasto.ops.stats import mean_std

SIDE = 512
"""Longest side in pixels at which a painting is looked at."""

KIND = "arbitrary"
"""The kind in the metadata of such a network's file."""

LAYERS = STYLE_LAYERS[:-1]
"""The layers of VGG-19 whose statistics tell a painting's style."""

STATISTICS = 2 * (64 + 128 + 256 + 512)
"""How many they are: a mean and a deviation of each channel."""

_HIDDEN = 256
_LEAST_SPREAD = 1e-3
_PREFIX = "predictor."
_HINT = "give one that impasto train arbitrary has written"


def statistics(features: Features, seen: Tensor | None = None) -> Tensor:
    """`(B, N)` float32: square roots of the means and deviations of features at `LAYERS`.

    seen: `(B, 1, H, W)` in [0, 1], how much of each pixel counts; None for all of it.
    """
    found = []
    for layer in LAYERS:
        own = features[layer]
        weight = None if seen is None else F.adaptive_avg_pool2d(seen, own.shape[2:])  # type: ignore[arg-type] # a pair
        found += [part.flatten(1) for part in mean_std(own, weight)]
    return torch.cat(found, 1).clamp_min(0).sqrt()


def look(encoder: Encoder, painting: Tensor, seen: Tensor | None = None) -> Tensor:
    """The `statistics` of a painting `(1, 3, H, W)` in [0, 1]; `seen` as there."""
    return statistics(encoder(painting, LAYERS), seen)


class Predictor(nn.Module):
    """Predicts a code from the `statistics` of a painting.

    Args:
        base: `(1, N)`, the code that all predictions lie around at first.
        known: `(S, M)`, statistics of the paintings to learn from, which settle what is usual.
        generator: of the first weights; None leaves them zero, to be loaded.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, base: Tensor, known: Tensor, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("centre", known.mean(0))
        self.register_buffer("spread", known.std(0, correction=0).clamp_min(_LEAST_SPREAD))
        self.hidden = nn.Linear(known.shape[1], _HIDDEN)
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

    def forward(self, found: Tensor) -> Tensor:
        """Codes `(B, N)` float32 of `statistics (B, M)`.

        Raises:
            InputError: they are not as many as it has learnt from.
        """
        if found.shape[1] != len(self.centre):
            raise InputError(f"the network takes {len(self.centre)} statistics, not {found.shape[1]}", _HINT)
        code: Tensor = self.code(F.leaky_relu(self.hidden((found - self.centre) / self.spread), 0.1))
        return code


def widened(predictor: Predictor, length: int) -> Predictor:
    """The same, where codes have become longer: it predicts zeros for what is new."""
    held = predictor.state_dict()
    missing = length - len(held["code.bias"])
    held["code.weight"], held["code.bias"] = (
        torch.cat([held[name], held[name].new_zeros(missing, *held[name].shape[1:])])
        for name in ("code.weight", "code.bias")
    )
    wider = Predictor(held["code.bias"][None], held["centre"][None])
    wider.load_state_dict(held)
    return wider


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
    try:
        predictor = Predictor(network.neutral_code(), own["centre"][None])
        predictor.load_state_dict(own)
    except (KeyError, IndexError, RuntimeError) as error:
        raise InputError("there is no network for any painting", _HINT) from error
    return network, predictor


def read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors of a file in float32, and what it says of itself.

    Raises:
        InputError: it is missing, or another kind of network.
    """
    stored, about = checkpoint.read(path, hint=_HINT)
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    try:
        unpack(tensors)
    except InputError as error:
        raise InputError(f"{path} holds no network for any painting", _HINT) from error
    return tensors, about
