"""Encoders: pretrained networks whose named layers are the features of the field.

Which there are, and how their layers are named, is told by `encoder_specs.py`. The preprocessing (channel order, mean)
lives inside: every encoder takes sRGB in [0, 1]. All padding is by reflection, also where a network was trained with
zeros: they would paint a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from impasto.contract import Placement
from impasto.errors import InputError
from impasto.memory import trim_memory
from impasto.models.checkpoint import WeightsRef, read
from impasto.models.encoder_specs import Block, Convolution, EncoderSpec, Fork, Pooling, Residual, find
from impasto.models.winograd import Winograd, from_picture
from impasto.ops.tiling import Tile

if TYPE_CHECKING:
    from impasto.contract import Features


def load_own_weights(name: str) -> dict[str, Tensor]:
    """Tensors of a user's file, float32 on the CPU, checked against the network that it is said to hold.

    Args:
        name: `NAME:FILE.safetensors`.

    Raises:
        InputError: the file is no safetensors file, or does not hold the network.
    """
    row, file = find(name), WeightsRef.parse(name).file
    assert file is not None
    tensors, _ = read(file, hint="give a file that safetensors has saved")
    row.check_weights({key: tuple(tensor.shape) for key, tensor in tensors.items()}, str(file))
    return {key: tensor.float() for key, tensor in tensors.items()}


def winograd_bytes(architecture: EncoderSpec, layers: Iterable[str], placement: Placement) -> int:
    """Memory that an encoder takes for quick passes to the deepest of `layers`, beside that of its features."""
    total, missing = 0, set(layers)
    for block in architecture.blocks:
        if not missing:
            break
        if isinstance(block, Convolution) and Winograd.suits(block, placement):
            total += Winograd.bytes(block, placement)
        missing -= {*block.layers}
    return total


class Encoder:
    """A frozen network that maps images to named feature maps.

    Args:
        architecture: its row in the table.
        weights: tensors by the keys of the architecture's convolutions and normalisations, which are folded into them;
            and, where it names no mean, the colour map `preprocess.weight (3, 3, 1, 1)`, `preprocess.bias (3)`.
        placement: device, precision and layout.
        pooling: "max" (as trained) or "average" (Gatys 2016 found it smoother).
    """

    def __init__(
        self,
        architecture: EncoderSpec,
        weights: Mapping[str, Tensor],
        placement: Placement,
        *,
        pooling: str = "max",
    ) -> None:
        self.architecture = architecture
        self.placement = placement
        self.pooling = pooling
        self._winograd: dict[str, Winograd] = {}
        folded = _folded(architecture, weights)
        layout = torch.channels_last if placement.channels_last else torch.contiguous_format
        self._weights = {
            name: tensor.to(placement.device, placement.dtype).contiguous(
                memory_format=layout if tensor.dim() == 4 else torch.contiguous_format
            )
            for name, tensor in folded.items()
        }

    def __call__(
        self,
        images: Tensor,
        layers: Iterable[str],
        *,
        wrap: bool = False,
        tile: Tile | None = None,
        checkpointing: bool = False,
        winograd: bool = False,
    ) -> Features:
        """Features of `images (B, 3, H, W)`, sRGB in [0, 1], at `layers`.

        Nothing above the deepest layer asked for is computed. Padding is by reflection, as AdaIN's decoder was
        trained, so that no dark frame enters the statistics.

        Args:
            images: the pictures.
            layers: names of layers.
            wrap: pad with the opposite edge instead, for pictures that tile; sides are multiples of the stride.
            tile: the images are its crop with `architecture.reach(layers)`; the features are those of the whole
                picture over the tile. Where the crop ends inside the picture nothing is padded: each window takes
                its overlap off the margin, which is gone when the deepest layer is reached.
            checkpointing: keep for the gradient only what lies between two poolings, and compute the rest again when
                it is needed: less memory for half more time (arXiv:1604.06174, Chen et al. 2016).
            winograd: use Winograd's algorithm where there is a gradient to be computed. It multiplies less, takes the
                `winograd_bytes` of kernels kept a second time, and rounds more coarsely: for optimisation and training,
                not for scores.

        Returns:
            One `(B, C, h, w)` a layer, in the placement's precision.

        Raises:
            InputError: the encoder lacks a layer, or the images are too small for one.
        """
        wanted = frozenset(layers)
        self._check(images if tile is None else None, wanted)
        mode = "circular" if wrap else "reflect"
        border = Border(mode) if tile is None else Border.of(tile, self.architecture.reach(wanted), mode)
        border = replace(border, winograd=winograd and images.requires_grad and tile is None)
        layout = torch.channels_last if self.placement.channels_last else torch.contiguous_format
        x = images.to(self.placement.dtype).contiguous(memory_format=layout)
        if checkpointing:
            return self._pass_in_stages(x, border, wanted)
        _, _, found = self._pass(self.architecture.blocks, x, border, wanted)
        return found

    def _pass_in_stages(self, x: Tensor, border: Border, wanted: frozenset[str]) -> dict[str, Tensor]:
        """`_pass` through the whole network, of which only what lies between two stages is kept for the gradient."""
        found: dict[str, Tensor] = {}
        for blocks in self._stages():
            x, border, own = checkpoint(
                self._pass_checkpointed, blocks, x, border, wanted - set(found), use_reentrant=False
            )
            found |= own
            if len(found) == len(wanted):
                break
        return found

    def _stages(self) -> Iterator[Sequence[Block]]:
        """The blocks from one pooling to the next, or by themselves where there is none."""
        stage: list[Block] = []
        for block in self.architecture.blocks:
            stage.append(block)
            if not isinstance(block, Convolution) or block.stride > 1:
                yield stage
                stage = []
        if stage:
            yield stage

    def _pass(
        self, blocks: Sequence[Block], x: Tensor, border: Border, wanted: frozenset[str]
    ) -> tuple[Tensor, Border, dict[str, Tensor]]:
        """Some blocks in a row, up to the last layer that is wanted; and the layers among them that are wanted."""
        found: dict[str, Tensor] = {}
        for block in blocks:
            x, border = self._run(block, x, border, wanted, found)
            if len(found) == len(wanted):
                break
        return x, border, found

    def _pass_checkpointed(
        self, blocks: Sequence[Block], x: Tensor, border: Border, wanted: frozenset[str]
    ) -> tuple[Tensor, Border, dict[str, Tensor]]:
        """`_pass`, after freed memory is returned to the system: the C library would keep half of what is saved."""
        trim_memory()
        return self._pass(blocks, x, border, wanted)

    def _run(
        self, block: Block, x: Tensor, border: Border, wanted: frozenset[str], found: dict[str, Tensor]
    ) -> tuple[Tensor, Border]:
        """One block; the layers in it that are wanted go into `found`."""
        if isinstance(block, Pooling):
            x, border = self._framed(x, block, border)
            return (F.max_pool2d if self.pooling == "max" else F.avg_pool2d)(x, block.kernel, block.stride), border
        if isinstance(block, Convolution):
            winograd = self._use_winograd(block) if border.winograd and block.raw not in wanted else None
            if winograd is not None:
                x = winograd(x, border.mode)
                if block.layer in wanted:
                    found[block.layer] = x
                return x, border
            x, border = self._convolve(x, block, border)
            if block.raw in wanted:
                found[block.raw] = border.inside(x)
            x = _activated(x, block.activation, inplace=block.raw not in wanted)
        elif isinstance(block, Fork):
            x, border = self._fork(x, block, border)
        else:
            x, border = self._add(x, block, border)
        if block.layer in wanted:
            found[block.layer] = border.inside(x)
        return x, border

    def _fork(self, x: Tensor, block: Fork, border: Border) -> tuple[Tensor, Border]:
        sides = [self._convolve(x, one, border) for one in block.branches]
        least = Border.least([own for _, own in sides], border)
        parts = [
            _activated(own.inside(part, least), one.activation, inplace=False)
            for one, (part, own) in zip(block.branches, sides, strict=True)
        ]
        return torch.cat(parts, 1), least

    def _add(self, x: Tensor, block: Residual, border: Border) -> tuple[Tensor, Border]:
        added, after = x, border
        for one in block.inner:
            added, after = self._convolve(added, one, after)
            added = _activated(added, one.activation)
        if block.shortcut is not None:
            kept, own = self._convolve(x, block.shortcut, border)
            added = added + own.inside(kept, after)
        elif block.adds:
            added = added + border.inside(x, after)
        return _activated(added, block.activation), after

    def _convolve(self, x: Tensor, one: Convolution, border: Border) -> tuple[Tensor, Border]:
        weight, bias = self._weights[f"{one.key}.weight"], self._weights[f"{one.key}.bias"]
        x, border = self._framed(x, one, border)
        if border.winograd and one.inputs == 3 and one.kernel == 3 and one.stride == 1 and x.device.type == "cpu":
            return from_picture(x, weight, bias), border
        return F.conv2d(x, weight, bias, one.stride, groups=x.shape[1] if one.depthwise else 1), border

    def _use_winograd(self, one: Convolution) -> Winograd | None:
        """The block by fewer multiplications, if it suits; its kernels are mapped the first time."""
        if one.key not in self._winograd and Winograd.suits(one, self.placement):
            weight, bias = self._weights[f"{one.key}.weight"], self._weights[f"{one.key}.bias"]
            self._winograd[one.key] = Winograd(weight, bias)
        return self._winograd.get(one.key)

    def _framed(self, x: Tensor, window: Convolution | Pooling, border: Border) -> tuple[Tensor, Border]:
        """The map as a window needs it, padded at the picture's edges; and the border after it."""
        pads = [self._pads(length, window.kernel, window.stride, whole=not border.tiled) for length in x.shape[2:]]
        return border.pass_window(x, window.kernel, window.stride, (*pads[0], *pads[1]))

    def _pads(self, length: int, kernel: int, stride: int, *, whole: bool) -> tuple[int, int]:
        """Positions to add before and after a side; windows that do not overlap get none."""
        if kernel <= stride:
            return 0, 0
        if not self.architecture.asymmetric_padding:
            return kernel // 2, kernel // 2
        cells = -(-length // stride) if whole else length // stride  # the sides of a tiled picture are multiples
        total = max((cells - 1) * stride + kernel - (length if whole else cells * stride), 0)
        return total // 2, total - total // 2

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


@dataclass(frozen=True)
class Border:
    """How a crop of a picture, or a whole one, is bordered at some depth of the network.

    Attributes:
        mode: of padding, at the edges of the picture.
        tiled: whether it is a crop.
        cuts: sides (above, below, left, right) that end inside the picture.
        margins: positions beyond the tile on each side.
        winograd: whether convolutions may take fewer multiplications.
    """

    mode: str
    tiled: bool = False
    cuts: tuple[bool, ...] = (False, False, False, False)
    margins: tuple[int, ...] = (0, 0, 0, 0)
    winograd: bool = False

    @classmethod
    def of(cls, tile: Tile, reach: int, mode: str) -> Border:
        """That of a tile's crop."""
        return cls(mode, True, tile.cuts(reach), tile.margins(reach))

    @classmethod
    def least(cls, borders: Sequence[Border], like: Border) -> Border:
        """The border with the narrowest margins."""
        return replace(like, margins=tuple(map(min, zip(*(each.margins for each in borders), strict=True))))

    def pass_window(self, x: Tensor, kernel: int, stride: int, pads: tuple[int, ...]) -> tuple[Tensor, Border]:
        """The input that a window needs of `x`, and the border of its output.

        At a cut nothing is padded, and so the margin shrinks by what windows overlap. Before the first row or column,
        positions that no window starts at are dropped, which keeps windows where they are in the whole picture.
        """
        dropped, padded, margins = [0] * 4, [0] * 4, [0] * 4
        for side, (cut, margin) in enumerate(zip(self.cuts, self.margins, strict=True)):
            before = pads[side - side % 2]
            if not cut:
                padded[side], margins[side] = pads[side], margin // stride
            elif side % 2 == 0:
                dropped[side], margins[side] = (margin - before) % stride, (margin - before) // stride
            else:
                margins[side] = (margin - kernel + before) // stride + 1
        x = _trimmed(x, dropped)
        above, below, left, right = padded
        x = F.pad(x, (left, right, above, below), mode=self.mode) if any(padded) else x
        return x, replace(self, margins=tuple(margins))

    def inside(self, x: Tensor, wanted: Border | None = None) -> Tensor:
        """The features over the tile, or with the margins that are wanted."""
        kept = (0, 0, 0, 0) if wanted is None else wanted.margins
        return _trimmed(x, [margin - keep for margin, keep in zip(self.margins, kept, strict=True)])


def _trimmed(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Without so many positions above, below, to the left and to the right."""
    above, below, left, right = sides
    return x[:, :, above : x.shape[2] - below, left : x.shape[3] - right] if any(sides) else x


def _activated(x: Tensor, activation: str, *, inplace: bool = True) -> Tensor:
    """After the activation; in place where nobody else holds x, so that its memory can be used again."""
    if activation == "relu":
        return F.relu_(x) if inplace else F.relu(x)
    return F.relu6(x, inplace) if activation == "relu6" else x


def _folded(architecture: EncoderSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights and biases by key, with normalisation and preprocessing merged into the convolutions."""
    folded: dict[str, Tensor] = {}
    for one in architecture.convolutions():
        weight = weights[f"{one.key}.weight"]
        bias = weights.get(f"{one.key}.bias", weight.new_zeros(len(weight)))
        if one.norm:
            parts = ("weight", "bias", "running_mean", "running_var")
            gain, shift, mean, variance = (weights[f"{one.norm}.{part}"].double() for part in parts)
            scale = gain / (variance + architecture.epsilon).sqrt()
            bias = ((bias.double() - mean) * scale + shift).to(weight)
            weight = (weight.double() * scale[:, None, None, None]).to(weight)
        folded[f"{one.key}.weight"], folded[f"{one.key}.bias"] = weight, bias
    first = next(architecture.convolutions()).key
    colour, offset = (part.to(folded[f"{first}.bias"]) for part in _preprocessing(architecture, weights))
    # exact, because a map of single pixels commutes with reflection padding
    folded[f"{first}.bias"] = folded[f"{first}.bias"] + torch.einsum("omhw,m->o", folded[f"{first}.weight"], offset)
    folded[f"{first}.weight"] = torch.einsum("omhw,mi->oihw", folded[f"{first}.weight"], colour)
    return folded


def _preprocessing(architecture: EncoderSpec, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The preprocessing, as a matrix `(3, 3)` and an offset `(3,)`."""
    if architecture.mean is None:
        return weights["preprocess.weight"][:, :, 0, 0], weights["preprocess.bias"]
    scale = 1 / torch.tensor(architecture.deviation)
    colour, offset = torch.diag(scale), -torch.tensor(architecture.mean) * scale
    return (colour.flip(0), offset.flip(0)) if architecture.reverse else (colour, offset)
