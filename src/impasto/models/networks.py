"""Feed-forward networks: a photograph in, a pastiche out, in one pass; and the files that hold trained ones.

A network's convolutions are shared by all its styles. A style is nothing but the scales and shifts after each instance
normalisation, its *code*, so one network holds many styles, mixes them by mixing codes, and learns a new one by
learning those numbers alone. Paper: arXiv:1610.07629 (Dumoulin, Shlens and Kudlur 2017). Where there are hundreds of
styles, the code also mixes the three colours at the end, the *palette*: what the last layers give to all styles alike
was what kept them from their paintings (bench/NOTES.md).

Every width is read off the tensors, so that a narrower (pruned) network loads like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.network_specs import ARCHITECTURES, PALETTE_LENGTH, NetworkSpec
from impasto.ops.stats import instance_norm

_STYLE = "style."

_DOUBLED = (((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)))
"""Which of a kernel's three weights fall on the first and the second of the two positions that a window sees, for the
first and the second pixel that it makes."""

_UNDOUBLED = tuple(
    tuple(tuple(tuple(float(tap == 2 * a + p - out) for tap in range(3)) for p in (0, 1)) for a in (0, 1))
    for out in (0, 1)
)
"""Which weight falls on pixel `p` of window `a` of two, for the first and the second pixel between them."""


class _Convolution(nn.Module):
    """A convolution with reflection padding, in the precision of its input; weights are kept in float32.

    It has a bias only where no normalisation follows: that would take it away again, and leave it a gradient of noise.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        border = weight.shape[2] // 2
        padded = F.pad(x, (border,) * 4, mode="reflect") if border else x
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(padded, weight, bias, self.stride, groups=self.groups)


class _Doubling(_Convolution):
    """Doubles the sides by nearest neighbours and convolves; done at once, and without the doubled picture.

    Each of the four pixels that a position turns into sees 2x2 positions, with sums of the kernel's weights. So a 2x2
    convolution at the small size makes them all, exactly, with 16 of the 36 operations that the larger picture would
    take, which is never made, padded or read. Its windows lie between the positions: window `(i, j)` makes what is
    nearest to its middle, the pixels `2i - 1` and `2i` down by `2j - 1` and `2j` across.
    """

    def windows(self, x: Tensor) -> Tensor:
        """`(B, 4 C, H + 1, W + 1)` of `(B, c, H, W)`: of each window the upper two pixels, then the lower two.

        The outermost pixels lie outside the doubled picture.
        """
        outputs, inputs = self.weight.shape[:2]
        taps = x.new_tensor(_DOUBLED, dtype=torch.float32)
        kernels = torch.einsum("pak,qbl,oikl->pqoiab", taps, taps, self.weight.float())
        kernels = kernels.reshape(4 * outputs, inputs, 2, 2).to(x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.repeat(4).to(x.dtype)
        # the doubled picture's border is its own mirror image: that of the small one repeated
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels, bias)

    def forward(self, x: Tensor) -> Tensor:
        windows = self.windows(x).permute(0, 2, 3, 1).contiguous()
        batch, height, width, four = windows.shape
        part = four // 4
        # the next pixel is in this window or the next one, so one view has them all in order: torch's pixel_shuffle
        # and a crop, but moving whole pixels and not single numbers, which is four times quicker
        every, down, across, _ = windows.stride()
        strides = (every, down, down - 2 * part, across, across - part, 1)
        sides = (batch, height - 1, 2, width - 1, 2, part)
        pixels = windows.as_strided(sides, strides, windows.storage_offset() + 3 * part)
        return pixels.reshape(batch, 2 * height - 2, 2 * width - 2, part).permute(0, 3, 1, 2)


class _Head(_Convolution):
    """The last convolution, which can read a doubling's windows where a picture with many channels would be large."""

    def between(self, windows: Tensor) -> Tensor:
        """`(B, C, 2 H, 2 W)` of a doubling's mirrored `windows (B, 4 c, H + 1, W + 1)`."""
        outputs, inputs = self.weight.shape[:2]
        taps = windows.new_tensor(_UNDOUBLED, dtype=torch.float32)
        kernels = torch.einsum("uapk,vbql,oikl->uvopqiab", taps, taps, self.weight.float())
        kernels = kernels.reshape(4 * outputs, 4 * inputs, 2, 2).to(windows.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.repeat(4).to(windows.dtype)
        four = F.conv2d(windows, kernels, bias).permute(0, 2, 3, 1)
        batch, height, width, _ = four.shape
        pixels = four.reshape(batch, height, width, 2, 2 * outputs).transpose(2, 3)
        return pixels.reshape(batch, 2 * height, 2 * width, outputs).permute(0, 3, 1, 2)


def _mirrored(windows: Tensor) -> Tensor:
    """The same windows of a doubling, where the pixels outside the picture have become its mirror image."""
    batch, four, height, width = windows.shape
    parts = windows.view(batch, 2, 2, four // 4, height, width)
    parts[:, 0, :, :, 0], parts[:, 1, :, :, -1] = parts[:, 0, :, :, 1], parts[:, 1, :, :, -2]
    parts[:, :, 0, ..., 0], parts[:, :, 1, ..., -1] = parts[:, :, 0, ..., 1], parts[:, :, 1, ..., -2]
    return windows


class _Separable(nn.Module):
    """A depthwise convolution and a pointwise one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = _Convolution(inputs, inputs, 3, groups=inputs)
        self.pointwise = _Convolution(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise(self.depthwise(x))
        return result


class _Block(nn.Module):
    """A residual block: two convolutions, the input added."""

    def __init__(self, channels: int, inner: int, *, separable: bool) -> None:
        super().__init__()
        self.first = _Separable(channels, inner) if separable else _Convolution(channels, inner, 3)
        self.second = _Separable(inner, channels) if separable else _Convolution(inner, channels, 3)

    def forward(self, x: Tensor, code: _Code) -> Tensor:
        inner = F.relu_(code.normalise(self.first(x)))
        return x + code.normalise(self.second(inner))


class _Code:
    """Hands out a code's scales and shifts, layer after layer."""

    def __init__(self, code: Tensor) -> None:
        self._code, self._at = code, 0

    def normalise(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        scale = self._code[:, self._at : self._at + channels]
        shift = self._code[:, self._at + channels : self._at + 2 * channels]
        self._at += 2 * channels
        return instance_norm(x, scale, shift)


class Network(nn.Module):
    """The shared convolutions; a code says which style.

    Args:
        architecture: its row.
        generator: of the first weights; None leaves them zero, to be loaded.
        palette: whether a code also mixes the three colours, before they are squeezed into [0, 1].

    Papers: arXiv:1603.08155 for the shape, 1607.08022 for the instance normalisation. Doubles by nearest neighbours
    and a convolution (Odena, Dumoulin and Olah 2016), not by fractional strides, which leave checkerboards.
    """

    def __init__(
        self, architecture: NetworkSpec, generator: torch.Generator | None = None, *, palette: bool = False
    ) -> None:
        super().__init__()
        self.architecture = architecture
        widths, strided = architecture.widths, architecture.stem_stride == 2
        pairs = list(pairwise(widths))
        self.stem = _Convolution(3, widths[0], architecture.stem, stride=architecture.stem_stride)
        self.down = nn.ModuleList(_Convolution(a, b, 3, stride=2) for a, b in pairs)
        self.blocks = nn.ModuleList(
            _Block(widths[-1], inner, separable=architecture.separable) for inner in architecture.inner_widths
        )
        self.up = nn.ModuleList(_Doubling(a, b, 3) for a, b in pairwise((widths[-1], *architecture.up_widths)))
        self.skip = nn.Parameter(torch.ones(widths[-2])) if architecture.skip else None
        before = architecture.up_widths[-1]
        self.full = _Doubling(before, architecture.last or 3, 3, bias=True) if strided else None
        headed = architecture.head > 0
        self.head = _Head(architecture.last if strided else before, 3, architecture.head, bias=True) if headed else None
        self.palette: nn.Parameter | None = None
        if palette:
            self.add_palette()
        if generator is not None:
            self._initialise(generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def stride(self) -> int:
        """Sides of the pictures are multiples of it."""
        return int(self.architecture.stem_stride * 2 ** len(self.down))

    @property
    def code_length(self) -> int:
        """Numbers that make a style: a scale and a shift for each normalised channel, and those of the palette."""
        return 2 * sum(self.architecture.normalised) + (PALETTE_LENGTH if self.palette is not None else 0)

    def neutral_code(self) -> Tensor:
        """`(1, N)`: scales 1, shifts 0, and no mixing of colours, to start from."""
        layers = self.architecture.normalised
        code = torch.cat([torch.cat([torch.ones(c), torch.zeros(c)]) for c in layers])[None]
        return F.pad(code, (0, self.code_length - code.shape[1]))

    def add_palette(self) -> None:
        """Let codes mix the colours, too; with zeros at their end, codes as they were still paint the same."""
        self.palette = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """Pastiches `(B, 3, H, W)` in [0, 1], in the precision of `images`.

        Args:
            images: `(B, 3, H, W)` in [0, 1]; sides are multiples of `stride`.
            code: `(B, N)` float32, a row an item.
        """
        styles = _Code(code)
        x = F.relu_(styles.normalise(self.stem(images - 0.5)))
        before = x
        for layer in self.down:
            before = x
            x = F.relu_(styles.normalise(layer(x)))
        for block in self.blocks:
            x = block(x, styles)
        for index, layer in enumerate(self.up):
            x = F.relu_(styles.normalise(layer(x)))
            if index == 0 and self.skip is not None:
                x = torch.addcmul(x, before, self.skip.to(x.dtype)[:, None, None])
        return torch.sigmoid(self._mixed(self._colours(x), code))

    def _colours(self, x: Tensor) -> Tensor:
        """The last layers: `(B, 3, H, W)`, not yet in [0, 1]."""
        if self.full is None:
            assert self.head is not None
            colours: Tensor = self.head(x)
        elif self.head is None:
            colours = self.full(x)
        else:
            colours = self.head.between(F.relu_(_mirrored(self.full.windows(x))))
        return colours

    def _mixed(self, colours: Tensor, code: Tensor) -> Tensor:
        """Each plus what the palette adds: a mixture of all three and a constant, by the last numbers of the code."""
        if self.palette is None:
            return colours
        palette = code[:, -PALETTE_LENGTH:].reshape(-1, 3, 4) * self.palette[:, None]
        palette = palette.to(colours.dtype)
        pixels = colours.permute(0, 2, 3, 1)
        mixed = pixels.flatten(1, 2) @ palette[..., :3].mT + palette[..., 3:].mT
        return (pixels + mixed.reshape(pixels.shape)).permute(0, 3, 1, 2)

    def memory(self) -> float:
        """Bytes a pixel that a pass takes at its peak in float32, estimated."""
        # what lies at full size decides; measured: tiny 142, small 247, johnson 520 bytes a pixel
        row = self.architecture
        full = 6 if row.head == 0 else row.last or row.widths[0]  # the colours, and their windows
        return 14.0 * (row.widths[0] / row.stem_stride**2 + full)

    def operations(self) -> float:
        """Floating-point operations a pixel, convolutions alone."""
        total, at = 0.0, 1.0 / self.architecture.stem_stride**2
        total += _operations(self.stem) * at
        for layer in self.down:
            at /= 4
            total += _operations(layer) * at
        total += sum(_operations(layer) for layer in self.blocks.modules() if isinstance(layer, _Convolution)) * at
        for layer in self.up:
            at *= 4
            total += _operations(layer) * at
        # each of the four pixels between windows reads the nine around it, and seven zeros
        doubled = 0.0 if self.full is None else _operations(self.full)
        return total + doubled + _operations(self.head) * (1 if self.full is None else 16 / 9)

    def _initialise(self, generator: torch.Generator) -> None:
        for layer in self.modules():
            if isinstance(layer, _Convolution):
                # He et al. 2015 (arXiv:1502.01852); colours start near grey, where the sigmoid is steep
                gain = 0.5 if layer is (self.head or self.full) else 2.0
                fan = layer.weight[0].numel()
                nn.init.normal_(layer.weight, std=(gain / fan) ** 0.5, generator=generator)


def _operations(layer: nn.Module | None) -> float:
    """For each pixel that it makes."""
    if not isinstance(layer, _Convolution):
        return 0.0
    return 2.0 * layer.weight.numel() * (4 / 9 if isinstance(layer, _Doubling) else 1)


def find_spec(tensors: Mapping[str, Tensor]) -> NetworkSpec:
    """The architecture whose tensors these are, with its actual widths.

    Raises:
        InputError: they are not those of an Impasto network.
    """
    try:
        downs = _count(tensors, "down.")
        widths = [tensors["stem.weight"].shape[0], *(tensors[f"down.{i}.weight"].shape[0] for i in range(downs))]
        strided, headed = "full.weight" in tensors, "head.weight" in tensors
        found = NetworkSpec(
            name="custom",
            summary="",
            widths=tuple(widths),
            blocks=_count(tensors, "blocks."),
            separable="blocks.0.first.depthwise.weight" in tensors,
            stem=tensors["stem.weight"].shape[2],
            stem_stride=2 if strided else 1,
            head=tensors["head.weight"].shape[2] if headed or not strided else 0,
            last=tensors["full.weight"].shape[0] if strided and headed else 0,
            skip="skip" in tensors,
            inner=tuple(_inner(tensors, number) for number in range(_count(tensors, "blocks."))),
            ups=tuple(tensors[f"up.{number}.weight"].shape[0] for number in range(_count(tensors, "up."))),
        )
    except (KeyError, IndexError) as error:
        raise InputError("the file is not an Impasto network", checkpoint.HINT) from error
    same = (row for row in ARCHITECTURES.values() if _shape(row) == _shape(found))
    return next(same, found)


def _inner(tensors: Mapping[str, Tensor], block: int) -> int:
    """Channels inside a residual block."""
    separable = f"blocks.{block}.first.pointwise.weight" in tensors
    return tensors[f"blocks.{block}.first{'.pointwise' if separable else ''}.weight"].shape[0]


def _shape(row: NetworkSpec) -> tuple[Any, ...]:
    plain = row.widths, row.blocks, row.separable, row.stem, row.stem_stride, row.head, row.last, row.skip
    return *plain, row.inner_widths, row.up_widths


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith(prefix)})


@dataclass(frozen=True)
class Trained:
    """A trained network as its file holds it.

    Attributes:
        tensors: the shared convolutions by name, and a code `style.NAME (N)` for each style.
        about: recipe, losses, licences and thumbnails, as plain values; see `train`.
    """

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles, in the order in which they were trained."""
        return style_names(self.tensors, self.about)

    @property
    def architecture(self) -> NetworkSpec:
        """See `find_spec`."""
        return find_spec(self.tensors)

    def network(self) -> Network:
        """The shared convolutions, loaded."""
        network = Network(self.architecture, palette="palette" in self.tensors)
        shared = {name: tensor.float() for name, tensor in self.tensors.items() if not name.startswith(_STYLE)}
        try:
            network.load_state_dict(shared)
        except RuntimeError as error:
            raise InputError("the file is not an Impasto network", checkpoint.HINT) from error
        return network

    @property
    def digest(self) -> str:
        """Twelve letters that tell its numbers from those of another."""
        return checkpoint.digest(self.tensors)

    def code(self, style: str) -> Tensor:
        """`(1, N)` float32."""
        return self.tensors[_STYLE + style].float()[None]

    def save(self, path: Path) -> None:
        """Write the file; see `checkpoint.write`."""
        checkpoint.write(
            path, self.tensors, {**self.about, "styles": list(self.styles), "network": self.architecture.name}
        )


def style_names(tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Names of the styles in a network's tensors."""
    held = [name.removeprefix(_STYLE) for name in tensors if name.startswith(_STYLE)]
    order = {name: index for index, name in enumerate((about or {}).get("styles", ()))}
    return tuple(sorted(held, key=lambda name: order.get(name, len(order))))


def pack(network: Network, codes: Tensor, styles: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a file: shared convolutions and `codes (S, N)`."""
    tensors = {**network.state_dict(), **{_STYLE + name: code for name, code in zip(styles, codes, strict=True)}}
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def read(path: str | Path) -> Trained:
    """A trained network from its file.

    Raises:
        InputError: it is missing, not an Impasto network, or of a newer format.
    """
    trained = Trained(*checkpoint.read(path))
    _check(trained, path)
    return trained


def _check(trained: Trained, path: str | Path) -> None:
    if not trained.styles:
        kind = trained.about.get("kind")
        own = f": its kind is {kind}" if kind else ""
        raise InputError(f"{path} holds no style{own}", "give a network that impasto train --style has written")
    if "palette" in trained.tensors:
        raise InputError(f"{path} mixes colours as networks for any painting do, and names styles", checkpoint.HINT)
    length = Network(trained.architecture).code_length
    for name in trained.styles:
        if trained.tensors[_STYLE + name].shape != (length,):
            raise InputError(f"style {name} of {path} is not of its network", checkpoint.HINT)
