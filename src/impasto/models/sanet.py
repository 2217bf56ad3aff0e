"""Style attention that is learnt: where in a painting each place of a photograph looks, and what it takes from there.

Two blocks of attention, over relu4_1 and relu5_1 of VGG-19, and a convolution that merges what they give, which a
decoder such as AdaIN's turns into a picture. Paper: arXiv:1812.02342 (SANet, Park and Lee 2019). Tensors have the names
of the published files. Departs from the paper in `shares`: places of several paintings count by their share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.codecs import LAYER, convolutions
from impasto.ops.stats import mean_std, precise

KIND = "attention"
"""The kind in the metadata of such a file."""

LAYERS = (LAYER, "relu5_1")
STRIDE = 16

_BLOCKS = {LAYER: "sanet4_1", "relu5_1": "sanet5_1"}
_ATTENTION, _DECODER = "transformer.", "decoder."
_FILES = ("transformer_iter_*.pth", "decoder_iter_*.pth")
_DECODER_KEYS = (1, 5, 8, 11, 14, 18, 21, 25, 28)  # of the published decoder, from deep to shallow
_CHUNK = 1024  # places of the photograph at a time
_HINT = "give a file of impasto train attention, or a folder of SANet's transformer_iter_N.pth and decoder_iter_N.pth"


class Block(nn.Module):
    """One layer's attention. Queries and keys are 1x1 convolutions of normalised features, values of plain ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f, self.g, self.h, self.out_conv = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def places(self, painting: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values `(B, hw, C)` of a painting's features `(B, C, h, w)`."""
        keys, values = self.g(_normal(painting)), self.h(painting)
        return keys.flatten(2).mT, values.flatten(2).mT

    def forward(self, content: Tensor, keys: Tensor, values: Tensor, shares: Tensor | None = None) -> Tensor:
        """`(B, C, h, w)`: the photograph's features, and what their places take from those of the painting.

        Args:
            content: `(B, C, h, w)`.
            keys, values: `(B, N, C)`.
            shares: `(N,)`, how much each place counts, 0 or more; evenly by default.
        """
        queries = self.f(_normal(content)).flatten(2).mT  # (B, hw, C)
        taken = []
        for some in torch.split(queries, _CHUNK, 1):
            likeness = some @ keys.mT
            likeness = likeness if shares is None else likeness + shares.log()
            taken.append(torch.softmax(likeness, 2) @ values)
        whole: Tensor = content + self.out_conv(torch.cat(taken, 1).mT.reshape(content.shape))
        return whole


class Transformer(nn.Module):
    """Both blocks, and the convolution that merges them.

    Args:
        channels: of relu4_1 and of relu5_1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sanet4_1, self.sanet5_1 = Block(channels), Block(channels)
        self.merge_conv = nn.Conv2d(channels, channels, 3)

    def block(self, layer: str) -> Block:
        """The block of a layer."""
        found = getattr(self, _BLOCKS[layer])
        assert isinstance(found, Block)
        return found

    def merged(self, taken: Sequence[Tensor]) -> Tensor:
        """What the decoder takes `(B, C, h, w)`, of what the blocks give for LAYERS."""
        fine, coarse = taken
        both = fine + F.interpolate(coarse, scale_factor=2, mode="nearest")
        merged: Tensor = self.merge_conv(F.pad(both, (1, 1, 1, 1), mode="reflect"))
        return merged

    def forward(self, content: Mapping[str, Tensor], painting: Mapping[str, Tensor]) -> Tensor:
        """For features of photographs and of paintings, one for each."""
        taken = []
        for layer in LAYERS:
            block = self.block(layer)
            taken.append(block(precise(content[layer]), *block.places(precise(painting[layer]))))
        return self.merged(taken)


def tensors_of(transformer: nn.Module, decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both as a file holds them."""
    own = {_ATTENTION + name: tensor for name, tensor in transformer.state_dict().items()}
    return own | {_DECODER + name: tensor for name, tensor in decoder.items()}


def parts_of(tensors: Mapping[str, Tensor]) -> tuple[Transformer, dict[str, Tensor]]:
    """The blocks and the decoder's tensors, of what `read` gives."""
    transformer = Transformer(tensors[f"{_ATTENTION}merge_conv.bias"].shape[0])
    transformer.load_state_dict(_under(tensors, _ATTENTION))
    return transformer, _under(tensors, _DECODER)


def read(path: Path) -> dict[str, Tensor]:
    """Blocks and decoder in float32: of a file of ours, or of a folder of the authors' two files, the newest of each.

    Raises:
        InputError: it cannot be read, lacks tensors, or holds those of another method; they are named.
    """
    if path.is_dir():
        transformer, decoder = (_newest(path, pattern) for pattern in _FILES)
        names = [f"{key}.{part}" for key in _DECODER_KEYS for part in ("weight", "bias")]
        ours = [f"{key}.{part}" for key in reversed(convolutions()) for part in ("weight", "bias")]
        tensors = {_ATTENTION + name: tensor for name, tensor in checkpoint.read_pickled(transformer, _HINT).items()}
        stored = checkpoint.read_pickled(decoder, _HINT)
        checkpoint.check_names(decoder, stored, names, what=KIND, hint=_HINT)
        tensors |= {_DECODER + own: stored[name] for own, name in zip(ours, names, strict=True)}
        path = transformer
    else:
        tensors, about = checkpoint.read(path, hint=_HINT)
        if about.get("kind") != KIND:
            kind = f"a network of kind {about['kind']!r}" if about.get("kind") else "another network"
            raise InputError(f"{path} holds {kind}, not one of attention", _HINT)
    _check(path, tensors)
    return {name: tensor.float() for name, tensor in tensors.items()}


def _newest(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
    if not found:
        raise InputError(f"{folder} holds no {pattern}", _HINT)
    return found[-1]


def _check(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what lacks tensors, has others, or does not fit together."""
    own = _under(tensors, _ATTENTION)
    channels = own["merge_conv.bias"].shape[0] if "merge_conv.bias" in own else 1
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in Transformer(channels).state_dict().items()}
    checkpoint.check_names(path, own, list(wanted), what=KIND, hint=_HINT)
    odd = [name for name, shape in wanted.items() if own[name].shape != shape]
    if odd:
        raise InputError(f"{path} has {odd[0]} of shape {tuple(own[odd[0]].shape)}, not {tuple(wanted[odd[0]])}", _HINT)
    first = tensors.get(f"{_DECODER}conv4_1.weight")
    if first is None or first.shape[1] != channels:
        raise InputError(f"{path} has {channels} channels, and its decoder takes others", _HINT)


def _normal(features: Tensor) -> Tensor:
    mean, std = mean_std(features)
    return (features - mean) / std


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
