"""Encoders: pretrained networks whose named layers are the features of the field.

A layer is named as in the papers: `conv4_1` is the output of a convolution, `relu4_1` the same after its ReLU. The
preprocessing (channel order, mean) lives inside: every encoder takes sRGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Placement
from impasto.errors import InputError

if TYPE_CHECKING:
    from impasto.contract import Features


@dataclass(frozen=True)
class Architecture:
    """One encoder as a row of the table.

    Attributes:
        name: what `--encoder` takes.
        asset: id of its weights.
        blocks: convolutions in each block; a 2x2 pooling lies between two blocks. Block 3's second is `conv3_2`.
        paper: the source of the network.
    """

    name: str
    asset: str
    blocks: tuple[int, ...]
    paper: str

    def layers(self) -> tuple[str, ...]:
        """All layer names, shallow to deep."""
        return tuple(
            f"{kind}{block}_{index}"
            for block, convolutions in enumerate(self.blocks, start=1)
            for index in range(1, convolutions + 1)
            for kind in ("conv", "relu")
        )

    def stride(self, layer: str) -> int:
        """Pixels of the image per position of `layer`, along one side."""
        return int(2 ** (int(layer[4]) - 1))

    def check(self, layers: Iterable[str]) -> None:
        """Raise InputError for a layer that this encoder lacks."""
        known = self.layers()
        unknown = [layer for layer in layers if layer not in known]
        if unknown:
            raise InputError(f"{self.name} has no layer {unknown[0]!r}", f"its layers are {', '.join(known)}")

    def smallest_side(self, layers: Iterable[str]) -> int:
        """The least side in pixels that leaves two positions for reflection padding at each convolution."""
        return 2 * max((self.stride(layer) for layer in layers), default=1)


VGG19 = Architecture("vgg19", "vgg19-normalised", (2, 2, 4, 4, 4), "arXiv:1409.1556; normalised as in Gatys 2016")

ARCHITECTURES = {row.name: row for row in (VGG19,)}


class Encoder:
    """A frozen network that maps images to named feature maps.

    Args:
        architecture: its row in the table.
        weights: tensors `conv1_1.weight (C, 3, 3, 3)`, `conv1_1.bias (C)`, ..., and the colour map
            `preprocess.weight (3, 3, 1, 1)`, `preprocess.bias (3)` that precedes the first convolution.
        placement: device, precision and layout.
        pooling: "max" (as trained) or "average" (Gatys 2016 found it smoother).
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor],
        placement: Placement,
        *,
        pooling: str = "max",
    ) -> None:
        self.architecture = architecture
        self.placement = placement
        self.pooling = pooling
        folded = _fold_preprocessing(weights)
        layout = torch.channels_last if placement.channels_last else torch.contiguous_format
        self._weights = {
            name: tensor.to(placement.device, placement.dtype).contiguous(
                memory_format=layout if tensor.dim() == 4 else torch.contiguous_format
            )
            for name, tensor in folded.items()
        }

    def __call__(self, images: Tensor, layers: Iterable[str], *, wrap: bool = False) -> Features:
        """Features of `images (B, 3, H, W)`, sRGB in [0, 1], at `layers`.

        Nothing above the deepest layer asked for is computed. Padding is by reflection, as AdaIN's decoder was
        trained, so that no dark frame enters the statistics.

        Args:
            images: the pictures.
            layers: names of layers.
            wrap: pad with the opposite edge instead, for pictures that tile; sides are multiples of the stride.

        Returns:
            One `(B, C, h, w)` a layer, in the placement's precision.

        Raises:
            InputError: the encoder lacks a layer, or the images are too small for one.
        """
        wanted = frozenset(layers)
        self._check(images, wanted)
        layout = torch.channels_last if self.placement.channels_last else torch.contiguous_format
        x = images.to(self.placement.dtype).contiguous(memory_format=layout)
        found: dict[str, Tensor] = {}
        for block, convolutions in enumerate(self.architecture.blocks, start=1):
            for index in range(1, convolutions + 1):
                name = f"{block}_{index}"
                x = self._convolve(x, f"conv{name}", "circular" if wrap else "reflect")
                if f"conv{name}" in wanted:
                    found[f"conv{name}"] = x
                    x = F.relu(x)
                else:
                    x = F.relu_(x)  # nobody else holds x, so its memory can be used again
                if f"relu{name}" in wanted:
                    found[f"relu{name}"] = x
                if len(found) == len(wanted):
                    return found
            x = F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)
        raise AssertionError("every layer was checked to exist")

    def _convolve(self, x: Tensor, name: str, border: str) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode=border)
        return F.conv2d(padded, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _check(self, images: Tensor, wanted: frozenset[str]) -> None:
        assert images.dim() == 4
        assert images.shape[1] == 3
        assert wanted
        self.architecture.check(sorted(wanted))
        least = self.architecture.smallest_side(wanted)
        height, width = images.shape[2:]
        if min(height, width) < least:
            raise InputError(
                f"image is {width}x{height} px; {self.architecture.name} needs at least {least}x{least}",
                "use a larger image or a larger --size",
            )


def _fold_preprocessing(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge the 1x1 colour map into conv1_1; exact, because a pointwise map commutes with reflection padding."""
    colour, offset = weights["preprocess.weight"][:, :, 0, 0], weights["preprocess.bias"]
    first = weights["conv1_1.weight"]  # (C, 3, 3, 3)
    folded = {name: tensor for name, tensor in weights.items() if not name.startswith("preprocess.")}
    folded["conv1_1.weight"] = torch.einsum("omhw,mi->oihw", first, colour)
    folded["conv1_1.bias"] = weights["conv1_1.bias"] + torch.einsum("omhw,m->o", first, offset)
    return folded
