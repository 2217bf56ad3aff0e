"""Decoders: mirror images of VGG-19, which turn the features of one layer back into a picture.

A decoder undoes the encoder step by step: a convolution by one with inputs and outputs exchanged, a pooling by doubling
with nearest neighbours. It pads by reflection. AdaIN has one for relu4_1 (arXiv:1703.06868), WCT one for each of
relu1_1 .. relu5_1 (arXiv:1705.08086).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import STYLE_LAYERS, Placement
from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.encoder_specs import VGG19, Convolution, Pooling
from impasto.models.encoders import Border
from impasto.ops.stats import precise
from impasto.ops.tiling import Tile

KIND = "decoder"
"""The kind in the metadata of a decoder's file."""

_GREY = 0.5
_FAINT = 0.1  # of the usual gain of the last convolution: a decoder that knows nothing paints grey


def steps(layer: str) -> tuple[Convolution | Pooling, ...]:
    """The blocks of VGG-19 down from `layer`, in the order in which a decoder undoes them.

    Raises:
        InputError: VGG-19 has no such layer.
    """
    VGG19.check([layer])
    blocks = cast("tuple[Convolution | Pooling, ...]", VGG19.blocks)
    last = next(
        at for at, block in enumerate(blocks) if isinstance(block, Convolution) and layer in (block.layer, block.raw)
    )
    return blocks[last::-1]


def layer_of(weights: Mapping[str, Tensor]) -> str:
    """The deepest layer that the weights of a decoder turn back, empty where they are of none."""
    return next((layer for layer in reversed(STYLE_LAYERS) if f"conv{layer[4:]}.weight" in weights), "")


def margin(layer: str) -> int:
    """Pixels beyond a tile that its decoder sees, in whole positions of `layer`."""
    cells = 0
    for block in reversed(steps(layer)):
        cells = cells + 1 if isinstance(block, Convolution) else -(-cells // block.stride)
    return cells * VGG19.stride(layer)


def check(path: Path, weights: Mapping[str, Tensor], layer: str) -> None:
    """Refuse the tensors of a file that are not those of a decoder of `layer`.

    Raises:
        InputError: some are missing, there are others, or a layer does not take what the one before gives.
    """
    keys = [block.key for block in steps(layer) if isinstance(block, Convolution)]
    hint = f"impasto train decoder --layer {layer} makes it"
    names = [f"{key}.{part}" for key in keys for part in ("weight", "bias")]
    checkpoint.check_names(path, weights, names, what=f"a decoder of {layer}", hint=hint)
    given = weights[names[0]].shape[1:2]
    for key in keys:
        weight, bias = weights[f"{key}.weight"], weights[f"{key}.bias"]
        if weight.dim() != 4 or weight.shape[1:2] != given or bias.shape != weight.shape[:1]:
            raise InputError(f"{path} has {key}.weight of shape {tuple(weight.shape)}, which does not fit", hint)
        given = bias.shape


def read(path: Path, layer: str = "") -> dict[str, Tensor]:
    """The tensors of a file that `impasto train decoder` has written, in float32.

    layer: which it has to decode; any by default.

    Raises:
        InputError: it is missing, of another kind, or decodes another layer.
    """
    hint = f"impasto train decoder{f' --layer {layer}' if layer else ''} makes it"
    stored, about = checkpoint.read(path, hint=hint)
    own = str(about.get("layer"))
    if about.get("kind") != KIND or own not in ([layer] if layer else STYLE_LAYERS):
        raise InputError(f"{path} is not a decoder{f' of {layer}' if layer else ''}", hint)
    check(path, stored, own)
    return {name: tensor.float() for name, tensor in stored.items()}


class Decoder:
    """Features `(B, C, h, w)` of a layer to sRGB `(B, 3, H, W)`, unclamped.

    Args:
        weights: `KEY.weight`, `KEY.bias` by the keys of the convolutions that are undone. Gradients flow to them.
        placement: where, and in which precision.
        layer: of VGG-19.
        until: a layer that is less deep: what comes out are its features, not sRGB.
    """

    def __init__(self, weights: Mapping[str, Tensor], placement: Placement, layer: str, until: str = "") -> None:
        whole = steps(layer)
        self._steps = whole[: len(whole) - len(steps(until))] if until else whole
        undone = [block.key for block in self._steps if isinstance(block, Convolution)]
        self._last = "" if until else undone[-1]  # gives colours, which are not cut off at 0
        self._stride, self._margin = VGG19.stride(layer), margin(layer)
        layout = torch.channels_last if placement.channels_last else torch.contiguous_format
        self._weights = {
            name: tensor.to(placement.device, placement.dtype).contiguous(
                memory_format=layout if tensor.dim() == 4 else torch.contiguous_format
            )
            for name, tensor in weights.items()
            if name.rpartition(".")[0] in undone
        }

    def __call__(self, features: Tensor, tile: Tile | None = None) -> Tensor:
        """Decode; float32 at least comes out whatever the precision inside.

        Args:
            features: of the whole picture; or of `tile.grown(margin(layer))`.
            tile: what comes out.
        """
        border = Border("reflect")
        if tile is not None:
            margins = tuple(side // self._stride for side in tile.margins(self._margin))
            border = Border("reflect", True, tile.cuts(self._margin), margins)
        x = features
        for block in self._steps:
            if isinstance(block, Pooling):
                x = F.interpolate(x, scale_factor=block.stride, mode="nearest")
                border = replace(border, margins=tuple(block.stride * side for side in border.margins))
                continue
            x, border = border.pass_window(x, block.kernel, 1, (block.kernel // 2,) * 4)
            x = F.conv2d(x, self._weights[f"{block.key}.weight"], self._weights[f"{block.key}.bias"])
            x = x if block.key == self._last else F.relu_(x)
        return precise(border.inside(x))


class Mirror(nn.ModuleDict):
    """The weights of a decoder in training, by the names that `Decoder` takes.

    Args:
        encoder: weights of the VGG-19 that is mirrored, which tell the channels.
        layer: whose features it decodes.
        generator: of the first weights.
        start: a decoder of any layer, whose convolutions it begins with where it has them, too.

    Raises:
        InputError: those of `start` have other channels.
    """

    def __init__(
        self,
        encoder: Mapping[str, Tensor],
        layer: str,
        generator: torch.Generator,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        undone = [block for block in steps(layer) if isinstance(block, Convolution)]
        for block in undone:
            inputs, outputs = encoder[f"{block.key}.weight"].shape[:2]
            own = nn.Conv2d(inputs, outputs, block.kernel)
            gain = 2**0.5 * (_FAINT if block is undone[-1] else 1)  # He et al. 2015
            nn.init.normal_(own.weight, std=gain / own.weight[0].numel() ** 0.5, generator=generator)
            assert own.bias is not None
            nn.init.constant_(own.bias, _GREY if block is undone[-1] else 0)
            self[block.key] = own
        fresh = self.state_dict()
        shared = {name: tensor for name, tensor in (start or {}).items() if name in fresh}
        other = next((name for name, tensor in shared.items() if tensor.shape != fresh[name].shape), None)
        if other is not None:
            shape = tuple(shared[other].shape)
            raise InputError(f"the decoder to start from has {other} of shape {shape}", "give one of the same VGG-19")
        self.load_state_dict({**fresh, **shared})

    def decoder(self, placement: Placement, until: str = "") -> Decoder:
        """Decodes by the weights as they stand; see `Decoder`."""
        return Decoder(dict(self.named_parameters()), placement, self.layer, until)
