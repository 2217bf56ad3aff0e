"""Convolutions of 3x3 with a quarter of the multiplications: F(4x4, 3x3) of arXiv:1509.09308 (Lavin and Gray 2016).

A tile of 6x6 inputs goes through a linear map, is multiplied by the kernels, mapped alike, and another linear map gives
4x4 outputs: 36 products where there were 144. The maps are those of Cook and Toom. Everything is matrix products, strip
by strip so that a strip stays in the processor's cache. It rounds some five times as coarsely as a direct convolution,
which a descent does not notice (bench/NOTES.md), and suits no score.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from impasto.contract import Placement
from impasto.models.encoder_specs import Convolution

_OUT, _IN = 4, 6  # sides of a tile, of what comes out and of what goes in
_LEAST = 128  # channels on either side; with fewer the maps cost more than the products save
_STRIP = 2_000_000  # values that a strip holds at once, to stay in the cache
_PLACES = 180  # tiles in a strip at least, or reading the kernels for each strip takes longer than multiplying

# Points of evaluation. Of all that were tried these round least in bfloat16 (an output is off by 0.015 of its
# deviation; with 0, 1, -1, 2, -1/2 by 0.02); and as 1/point is one of them too, the kernels of the gradient, which are
# those of the convolution turned round, need no copy of their own.
_POINT = 0.5**0.5
_POINTS = (0.0, _POINT, -_POINT, 1 / _POINT, -1 / _POINT)
_TURNED = [5, 3, 4, 1, 2, 0]  # where 1/point is
_GAIN = [1.0, -2.0, -2.0, -0.5, -0.5, 1.0]  # what the turned kernels lack there


def _cook_toom() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The maps of one dimension: of inputs `(6, 6)`, of kernels `(6, 3)` and to outputs `(4, 6)`."""
    inputs, kernels, outputs = np.zeros((_IN, _IN)), np.zeros((_IN, 3)), np.zeros((_OUT, _IN))
    for row, point in enumerate(_POINTS):
        others = [other for other in _POINTS if other != point]
        inputs[row, : _IN - 1] = np.poly(others)[::-1]
        kernels[row] = point ** np.arange(3) / np.prod(point - np.array(others))
        outputs[:, row] = point ** np.arange(_OUT)
    inputs[-1] = np.poly(_POINTS)[::-1]
    kernels[-1, -1] = outputs[-1, -1] = 1
    return inputs, kernels, outputs


class Winograd:
    """A frozen convolution of 3x3, padded at the edges of the picture and rectified; differentiable in the maps.

    Args:
        weight: `(O, C, 3, 3)`, float32 or bfloat16.
        bias: `(O,)`.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        inputs, kernels, outputs = (torch.from_numpy(each) for each in _cook_toom())
        forth, back = torch.kron(inputs, inputs), torch.kron(outputs, outputs)
        gain, turned = torch.tensor(_GAIN, dtype=torch.float64), torch.tensor(_TURNED)
        order = (turned[:, None] * _IN + turned).flatten()
        turned_forth = (torch.kron(gain, gain)[:, None] * forth)[order]
        self._maps = forth.to(weight.dtype), back.to(weight.dtype)
        self._maps_turned = turned_forth.to(weight.dtype), back[:, order].to(weight.dtype)
        flat = weight.float().permute(2, 3, 1, 0).flatten(0, 1)
        mapped = torch.kron(kernels, kernels).float() @ flat.flatten(1)
        self._kernels = mapped.to(weight.dtype).view(-1, *flat.shape[1:])
        self._bias = bias

    @staticmethod
    def suits(one: Convolution, placement: Placement) -> bool:
        """Whether it is quicker than the direct convolution."""
        where = placement.device == "cpu" and placement.precision in ("float32", "bfloat16") and placement.channels_last
        what = one.kernel == 3 and one.stride == 1 and not one.depthwise and one.activation == "relu"
        return where and what and min(one.inputs, one.outputs) >= _LEAST

    @staticmethod
    def bytes(one: Convolution, placement: Placement) -> int:
        """Memory that the mapped kernels take."""
        return _IN * _IN * one.inputs * one.outputs * (4 if placement.precision == "float32" else 2)

    def __call__(self, maps: Tensor, mode: str) -> Tensor:
        """Rectified outputs `(B, O, H, W)` of `maps (B, C, H, W)`.

        Args:
            maps: of a whole picture.
            mode: of padding, by one on each side: "reflect" or "circular".
        """
        return cast(Tensor, _Rectified.apply(maps, self, mode))  # type: ignore[no-untyped-call]

    def forward(self, maps: Tensor, mode: str) -> Tensor:
        """As `__call__`, without a gradient."""
        height, width = maps.shape[2:]
        padded = _framed(maps, 1, _whole(height) + 2, _whole(width) + 2)
        for line, source in _edges(padded, height, width, mode):
            line.copy_(source)
        outputs = _tiled(padded, self._kernels, self._maps, self._bias)
        if outputs.shape[2:] == maps.shape[2:]:
            return outputs
        return outputs[:, :, :height, :width].contiguous(memory_format=torch.channels_last)

    def backward(self, gradient: Tensor, outputs: Tensor, mode: str) -> Tensor:
        """The gradient in the maps, of that in the outputs."""
        height, width = outputs.shape[2:]
        padded = _framed(gradient, 2, _whole(height + 2) + 2, _whole(width + 2) + 2, outputs)
        found = _tiled(padded, self._kernels.transpose(1, 2), self._maps_turned, None)
        for line, source in reversed(_edges(found, height, width, mode)):
            source.add_(line)
        return found[:, :, 1 : height + 1, 1 : width + 1]


def from_picture(picture: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A frozen convolution of a padded picture `(B, 3, H, W)` by 3x3, whose gradient takes a third of the time.

    Convolving back to three channels wastes most of a processor's lanes; a product with all kernels at once does not,
    and what comes of it is added up nine times three planes.
    """
    return cast(Tensor, _FromPicture.apply(picture, weight, bias))  # type: ignore[no-untyped-call]


class _FromPicture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, picture: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return F.conv2d(picture, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        made, channels, height, width = len(weight), weight.shape[1], *gradient.shape[2:]
        kernels = weight.permute(1, 2, 3, 0).reshape(-1, made)
        sums = torch.promote_types(gradient.dtype, torch.float32)
        found = gradient.new_zeros((len(gradient), channels, height + 2, width + 2), dtype=sums)
        for own, flat in zip(found, gradient.permute(0, 2, 3, 1).reshape(len(gradient), -1, made), strict=True):
            parts = (kernels @ flat.T).view(channels, 3, 3, height, width)
            for row in range(3):
                for column in range(3):
                    own[:, row : row + height, column : column + width] += parts[:, row, column]
        return found.to(gradient.dtype), None, None


class _Rectified(torch.autograd.Function):
    """The convolution and its ReLU, of which only the outputs are kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, convolution: Winograd, mode: str) -> Tensor:
        outputs = convolution.forward(maps, mode)
        ctx.convolution, ctx.mode = convolution, mode
        ctx.save_for_backward(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.convolution.backward(gradient, *ctx.saved_tensors, ctx.mode), None, None


def _whole(side: int) -> int:
    """Positions of the tiles that cover a side."""
    return -(-side // _OUT) * _OUT


def _framed(maps: Tensor, edge: int, height: int, width: int, rectified: Tensor | None = None) -> Tensor:
    """The maps in a larger, channels-last one, zero beyond; as a gradient, no more than where outputs were positive."""
    batch, channels, rows, columns = maps.shape
    padded = maps.new_empty((batch, height, width, channels)).permute(0, 3, 1, 2)
    for side in (padded[:, :, :edge], padded[:, :, rows + edge :], padded[..., :edge], padded[..., columns + edge :]):
        side.zero_()
    inside = padded[:, :, edge : rows + edge, edge : columns + edge]
    if rectified is None:
        inside.copy_(maps)
    else:
        torch.ops.aten.threshold_backward.grad_input(maps, rectified, 0, grad_input=inside)
    return padded


def _edges(padded: Tensor, height: int, width: int, mode: str) -> list[tuple[Tensor, Tensor]]:
    """Each line of padding around `height x width` positions, and the line that it repeats, in the order of filling."""
    pairs = []
    for axis, side in ((2, height), (3, width)):
        first, last = (2, side - 1) if mode == "reflect" else (side, 1)
        pairs += [(padded.select(axis, 0), padded.select(axis, first))]
        pairs += [(padded.select(axis, side + 1), padded.select(axis, last))]
    return pairs


_scratch = threading.local()  # memory that was touched already is several times as fast as new memory


def _scratch_buffer(like: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Two pieces of memory for `count` values each."""
    held = getattr(_scratch, "held", None)
    if held is None or held[0].dtype != like.dtype or held[0].numel() < count:
        held = _scratch.held = (like.new_empty(count), like.new_empty(count))
    return cast(tuple[Tensor, Tensor], held)


def _tiled(padded: Tensor, kernels: Tensor, maps: tuple[Tensor, Tensor], bias: Tensor | None) -> Tensor:
    """Outputs `(B, O, H, W)` of `padded (B, C, H + 2, W + 2)`, channels last; rectified where there is a bias."""
    forth, back = maps
    channels, made = kernels.shape[1:]
    rows, columns = (padded.shape[2] - 2) // _OUT, (padded.shape[3] - 2) // _OUT
    outputs = padded.new_empty((len(padded), rows * _OUT, columns * _OUT, made))
    in_row = _IN * _IN * columns * max(channels, made)
    strip = -(-rows // -(-rows * in_row // max(_STRIP, _IN * _IN * _PLACES * max(channels, made))))
    first, second = _scratch_buffer(padded, strip * in_row)
    down, right = padded.stride(2), padded.stride(3)
    steps = (down, right, _OUT * down, _OUT * right, 1)
    for index in range(len(padded)):
        for row in range(0, rows, strip):
            count = min(strip, rows - row)
            places = count * columns
            start = padded.storage_offset() + index * padded.stride(0) + row * _OUT * down
            windows = padded.as_strided((_IN, _IN, count, columns, channels), steps, start)
            tiles = first[: windows.numel()].view(_IN * _IN, -1)
            tiles.view(windows.shape).copy_(windows)
            mapped = torch.mm(forth, tiles, out=second[: windows.numel()].view(_IN * _IN, -1))
            products = first[: _IN * _IN * places * made].view(_IN * _IN, places, made)
            torch.bmm(mapped.view(_IN * _IN, places, channels), kernels, out=products)
            found = second[: _OUT * _OUT * places * made].view(_OUT * _OUT, -1)
            torch.mm(back, products.view(_IN * _IN, -1), out=found)
            found = found.view(_OUT, _OUT, count, columns, made).permute(2, 0, 3, 1, 4)
            target = outputs[index, row * _OUT : (row + count) * _OUT].view(count, _OUT, columns, _OUT, made)
            if bias is None:
                target.copy_(found)
            else:
                torch.add(found, bias, out=target).relu_()
    return outputs.permute(0, 3, 1, 2)
