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

from impasto.contract import Placement, Tile
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

    def reach(self, layers: Iterable[str]) -> int:
        """Pixels beyond its own cell that a position of the deepest of `layers` depends on, on each side."""
        deepest = max((int(layer[4]), int(layer[6:])) for layer in layers)
        counts = (*self.blocks[: deepest[0] - 1], deepest[1])
        return int(sum(count * 2**block for block, count in enumerate(counts)))

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

    def __call__(
        self, images: Tensor, layers: Iterable[str], *, wrap: bool = False, tile: Tile | None = None
    ) -> Features:
        """Features of `images (B, 3, H, W)`, sRGB in [0, 1], at `layers`.

        Nothing above the deepest layer asked for is computed. Padding is by reflection, as AdaIN's decoder was
        trained, so that no dark frame enters the statistics.

        Args:
            images: the pictures.
            layers: names of layers.
            wrap: pad with the opposite edge instead, for pictures that tile; sides are multiples of the stride.
            tile: the images are its crop with `architecture.reach(layers)`; the features are those of the whole
                picture over the tile. Where the crop ends inside the picture nothing is padded: each convolution
                takes a ring off the margin, which is gone when the deepest layer is reached.

        Returns:
            One `(B, C, h, w)` a layer, in the placement's precision.

        Raises:
            InputError: the encoder lacks a layer, or the images are too small for one.
        """
        wanted = frozenset(layers)
        self._check(images if tile is None else None, wanted)
        border = _Border.of(tile, self.architecture.reach(wanted), "circular" if wrap else "reflect")
        layout = torch.channels_last if self.placement.channels_last else torch.contiguous_format
        x = images.to(self.placement.dtype).contiguous(memory_format=layout)
        found: dict[str, Tensor] = {}
        for block, convolutions in enumerate(self.architecture.blocks, start=1):
            for index in range(1, convolutions + 1):
                name = f"{block}_{index}"
                x = self._convolve(x, f"conv{name}", border)
                border.pass_convolution(2 ** (block - 1))
                if f"conv{name}" in wanted:
                    found[f"conv{name}"] = border.inside(x, 2 ** (block - 1))
                    x = F.relu(x)
                else:
                    x = F.relu_(x)  # nobody else holds x, so its memory can be used again
                if f"relu{name}" in wanted:
                    found[f"relu{name}"] = border.inside(x, 2 ** (block - 1))
                if len(found) == len(wanted):
                    return found
            x = F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)
        raise AssertionError("every layer was checked to exist")

    def _convolve(self, x: Tensor, name: str, border: _Border) -> Tensor:
        return F.conv2d(border.pad(x), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _check(self, images: Tensor | None, wanted: frozenset[str]) -> None:
        """Layers, and the size of images that are not a crop."""
        assert wanted
        self.architecture.check(sorted(wanted))
        if images is None:
            return
        assert images.dim() == 4
        assert images.shape[1] == 3
        least = self.architecture.smallest_side(wanted)
        height, width = images.shape[2:]
        if min(height, width) < least:
            raise InputError(
                f"image is {width}x{height} px; {self.architecture.name} needs at least {least}x{least}",
                "use a larger image or a larger --size",
            )


@dataclass
class _Border:
    """How a crop of a picture, or a whole one, is bordered on its way through the convolutions.

    Attributes:
        mode: of padding, at the edges of the picture.
        cuts: sides (above, below, left, right) that end inside the picture.
        margins: pixels beyond the tile on each side.
        spare: pixels of the margins on the sides that are cut, which convolutions use up.
    """

    mode: str
    cuts: tuple[bool, bool, bool, bool] = (False, False, False, False)
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    spare: int = 0

    @classmethod
    def of(cls, tile: Tile | None, reach: int, mode: str) -> _Border:
        """That of a tile's crop, or of a whole picture."""
        return cls(mode) if tile is None else cls(mode, tile.cuts(reach), tile.margins(reach), reach)

    def pad(self, x: Tensor) -> Tensor:
        """One position on each side that lies at the picture's edge."""
        above, below, left, right = (0 if cut else 1 for cut in self.cuts)
        return F.pad(x, (left, right, above, below), mode=self.mode) if above + below + left + right else x

    def pass_convolution(self, stride: int) -> None:
        """A 3x3 convolution has taken one position off each side that is cut."""
        self.spare -= stride

    def inside(self, x: Tensor, stride: int) -> Tensor:
        """The features over the tile."""
        if not any(self.margins):
            return x
        above, below, left, right = (
            (self.spare if cut else margin) // stride for cut, margin in zip(self.cuts, self.margins, strict=True)
        )
        return x[:, :, above : x.shape[2] - below, left : x.shape[3] - right]


def _fold_preprocessing(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge the 1x1 colour map into conv1_1; exact, because a pointwise map commutes with reflection padding."""
    colour, offset = weights["preprocess.weight"][:, :, 0, 0], weights["preprocess.bias"]
    first = weights["conv1_1.weight"]  # (C, 3, 3, 3)
    folded = {name: tensor for name, tensor in weights.items() if not name.startswith("preprocess.")}
    folded["conv1_1.weight"] = torch.einsum("omhw,mi->oihw", first, colour)
    folded["conv1_1.bias"] = weights["conv1_1.bias"] + torch.einsum("omhw,m->o", first, offset)
    return folded
