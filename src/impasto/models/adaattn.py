"""AdaAttN as its authors publish it: means and deviations of a painting's places, weighted by learnt attention.

Paper: arXiv:2108.03647 (AdaAttN, Liu et al. 2021); files and their layout are those of github.com/Huage001/AdaAttN.
How alike two places are is asked of the features of a layer and of all shallower ones, if the network was trained so.
Departs from it in `shares` (places of several paintings count by their share) and in which places of a large painting
are looked at: a coarser grid, where the authors draw 4096 at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.ops.stats import EPSILON

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

_BLOCKS = {"relu3_1": "adaattn_3.", "relu4_1": "transformer.attn_adain_4_1.", "relu5_1": "transformer.attn_adain_5_1."}
_MERGE = "transformer.merge_conv"
_SKIP = "relu3_1"
_PARTS = ("transformer", "decoder", "adaattn_3")
_DECODER = (  # the convolutions, and whether the map is doubled after them
    ("decoder_layer_1.1", True),
    ("decoder_layer_2.1", False),
    ("decoder_layer_2.4", False),
    ("decoder_layer_2.7", False),
    ("decoder_layer_2.10", True),
    ("decoder_layer_2.14", False),
    ("decoder_layer_2.17", True),
    ("decoder_layer_2.21", False),
    ("decoder_layer_2.24", False),
)
_CHUNK = 1024  # places of the photograph at a time
_HINT = "give a folder of latest_net_transformer.pth, latest_net_decoder.pth and latest_net_adaattn_3.pth"


class AdaAttN:
    """The network without its encoder, which is VGG-19.

    Args:
        tensors: what `read` gives.
        device: where.
        exact: type of the attention; `dtype`: of the decoder.
    """

    layers = LAYERS

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        device: torch.device | str,
        exact: torch.dtype = torch.float32,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._tensors = {
            name: tensor.to(device, dtype if name.startswith("decoder.") else exact) for name, tensor in tensors.items()
        }
        self.attending = tuple(layer for layer, prefix in _BLOCKS.items() if f"{prefix}f.weight" in tensors)
        block = _BLOCKS["relu4_1"]
        self._shallow = tensors[f"{block}f.weight"].shape[0] != tensors[f"{block}h.weight"].shape[0]

    def places(self, layer: str, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values `(B, hw, C)` of a painting's features, which are those of `LAYERS`."""
        keys = self._conv(f"{_BLOCKS[layer]}g", self._asked(layer, features))
        values = self._conv(f"{_BLOCKS[layer]}h", features[layer])
        return keys.flatten(2).mT, values.flatten(2).mT

    def taken(
        self, layer: str, content: Mapping[str, Tensor], keys: Tensor, values: Tensor, shares: Tensor | None = None
    ) -> Tensor:
        """`(B, C, h, w)`: the photograph's features with the moments of the places that each of its places is like.

        Args:
            layer: one of `attending`.
            content: features of the photograph, of `LAYERS`.
            keys, values: `(B, N, C)`.
            shares: `(N,)`, how much each place counts, 0 or more; evenly by default.
        """
        queries = self._conv(f"{_BLOCKS[layer]}f", self._asked(layer, content)).flatten(2).mT
        both = torch.cat([values, values.square()], 2)
        weighted = []
        for some in torch.split(queries, _CHUNK, 1):
            likeness = some @ keys.mT
            likeness = likeness if shares is None else likeness + shares.log()
            weighted.append(torch.softmax(likeness, 2) @ both)
        own = content[layer]
        mean, square = (half.reshape(own.shape) for half in torch.cat(weighted, 1).mT.chunk(2, 1))
        return (square - mean.square()).clamp_min(0).sqrt() * _normal(own) + mean

    def picture(self, taken: Mapping[str, Tensor]) -> Tensor:
        """Pictures `(B, 3, H, W)` of what the layers have `taken`, unclamped, float32 at least."""
        both = taken["relu4_1"] + F.interpolate(taken["relu5_1"], scale_factor=2, mode="nearest")
        x = self._conv(_MERGE, _padded(both))
        x = x.to(self._tensors["decoder.decoder_layer_1.1.weight"].dtype)
        for number, (name, doubled) in enumerate(_DECODER):
            if number == 1 and _SKIP in taken:
                x = torch.cat([x, taken[_SKIP].to(x)], 1)
            x = self._conv(f"decoder.{name}", _padded(x))
            x = x if number == len(_DECODER) - 1 else F.relu_(x)
            x = F.interpolate(x, scale_factor=2, mode="nearest") if doubled else x
        return x if x.dtype == torch.float64 else x.float()

    def _asked(self, layer: str, features: Mapping[str, Tensor]) -> Tensor:
        """What tells how alike places are: a layer's features, with those of all shallower ones at its places."""
        sides = features[layer].shape[2:]
        shallower = LAYERS[: LAYERS.index(layer)] if self._shallow else ()
        parts = [_normal(F.interpolate(features[name], sides, mode="nearest")) for name in shallower]
        return torch.cat([*parts, _normal(features[layer])], 1)

    def _conv(self, name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])


def is_published(folder: Path) -> bool:
    """Whether a folder holds files with the names of the authors'."""
    return folder.is_dir() and any(folder.glob("*_net_*.pth"))


def holds(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are what `read` gives."""
    return f"{_BLOCKS['relu4_1']}f.weight" in tensors


def read(folder: Path) -> dict[str, Tensor]:
    """The tensors of the authors' two or three files, float32, each under the name of its file.

    Raises:
        InputError: a file is missing or cannot be read, lacks tensors or holds others, or they do not fit together.
    """
    epoch = _epoch(folder)
    tensors: dict[str, Tensor] = {}
    for part in _PARTS:
        path = folder / f"{epoch}_net_{part}.pth"
        if part == "adaattn_3" and not path.exists():
            continue
        stored = checkpoint.read_pickled(path, _HINT)
        wanted = [name.partition(".")[2] for name in _names() if name.startswith(f"{part}.")]
        checkpoint.check_names(path, stored, wanted, what="AdaAttN", hint=_HINT)
        tensors |= {f"{part}.{name}": tensor.float() for name, tensor in stored.items()}
    _check_shapes(folder, tensors)
    return tensors


def _epoch(folder: Path) -> str:
    """Whose files are read: the latest, or those of the last epoch."""
    found = [path.name.removesuffix("_net_transformer.pth") for path in folder.glob("*_net_transformer.pth")]
    if not found:
        raise InputError(f"{folder} holds no latest_net_transformer.pth", _HINT)
    return "latest" if "latest" in found else max(found, key=lambda epoch: (len(epoch), epoch))


def _names() -> list[str]:
    convolutions = [f"{prefix}{part}" for prefix in _BLOCKS.values() for part in "fgh"]
    convolutions += [_MERGE, *(f"decoder.{name}" for name, _ in _DECODER)]
    return [f"{name}.{part}" for name in convolutions for part in ("weight", "bias")]


def _check_shapes(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for the first tensor that does not fit the others."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for layer, prefix in _BLOCKS.items():
        if f"{prefix}f.weight" not in shapes:
            continue
        keys, values = (shapes[f"{prefix}{part}.bias"][0] for part in "fh")
        if layer == "relu5_1":  # with the shallower layers, or without, as the block before
            before = [shapes[f"{_BLOCKS['relu4_1']}{part}.bias"][0] for part in "fh"]
            keys = values if before[0] == before[1] else before[0] + values
        sides = {"f": keys, "g": keys, "h": values}
        wanted |= {f"{prefix}{part}.weight": (side, side, 1, 1) for part, side in sides.items()}
        wanted |= {f"{prefix}{part}.bias": (side,) for part, side in sides.items()}
    channels = shapes[f"{_MERGE}.bias"][0]
    wanted[f"{_MERGE}.weight"] = (channels, channels, 3, 3)
    skipped = shapes.get(f"{_BLOCKS[_SKIP]}h.bias", (0,))[0]
    for number, (name, _) in enumerate(_DECODER):
        taken, channels = channels + (skipped if number == 1 else 0), shapes[f"decoder.{name}.bias"][0]
        weight = shapes[f"decoder.{name}.weight"]
        if number == 1 and not skipped and len(weight) == 4 and weight[1] > taken:
            raise InputError(f"{folder} lacks the block for relu3_1, which its decoder takes", _HINT)
        wanted[f"decoder.{name}.weight"] = (channels, taken, 3, 3)
    odd = next((name for name, shape in wanted.items() if shapes[name] != shape), None)
    if odd:
        raise InputError(f"{folder} has {odd} of shape {shapes[odd]}, not {wanted[odd]}", _HINT)


def _normal(features: Tensor) -> Tensor:
    """Less its mean, divided by its deviation, which counts one place less, as the authors' does."""
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=1, keepdim=True)
    return (features - mean) / (variance + EPSILON).sqrt()


def _padded(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="reflect")
