"""AdaIN and MicroAST as ONNX graphs, a painting as an input: whole, and in the parts that runtimes take.

Written without torch, from the tensors of their files. Height, width and batch are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.models.codecs import LAYER, Codec
from impasto.models.encoder_specs import VGG19, Convolution, Pooling
from impasto.models.microast_spec import CODE_SIZE, DECODER, DEPTHS, ENCODER, HEAD, RESIDUALS, STRIDE, WIDTH
from impasto.ops.grids import FAINT, PERIODS, near_weights, span_weights
from impasto.runtimes.graphs import CODE, EPSILON, IMAGE, PASTICHE
from impasto.runtimes.nodes import GraphWriter, Tensors

STYLE, FEATURES = "style", "features"
"""A painting `(B, 3, h, w)` in [0, 1]; and features `(B, C, H / 8, W / 8)` of AdaIN's encoder."""

ADAIN_STRIDE = 8

VERSION = 1
"""Of what is built here: with another one, graphs that were kept are built again."""

_PICTURE = ("batch", 3, "height", "width")
_PAINTING = ("batch", 3, "style_height", "style_width")


def adain(codec: Codec, metadata: Mapping[str, str] | None = None) -> bytes:
    """`IMAGE` and `STYLE` to `PASTICHE`, of any sides from 16 px on."""
    graph = _AdaIN(codec)
    image, sides = graph.extended(IMAGE, ADAIN_STRIDE)
    style, _ = graph.extended(STYLE, ADAIN_STRIDE)
    own, theirs = graph.encoded(image), graph.encoded(style)
    painted = graph.decoded(graph.exchanged(own, theirs))
    graph.cut_off(graph.clipped(painted), sides, PASTICHE)
    return graph.model({IMAGE: _PICTURE, STYLE: _PAINTING}, {PASTICHE: _PICTURE}, metadata or {})


def adain_encoder(codec: Codec) -> bytes:
    """`IMAGE`, whose sides 8 divides, to `FEATURES`."""
    graph = _AdaIN(codec)
    graph.named(graph.encoded(IMAGE), FEATURES)
    return graph.model({IMAGE: _PICTURE}, {FEATURES: _features(codec)}, {})


def adain_decoder(codec: Codec) -> bytes:
    """`FEATURES` to `PASTICHE`, unclamped, without the decoder's grid."""
    graph = _AdaIN(codec)
    graph.named(graph.decoded(FEATURES), PASTICHE)
    return graph.model({FEATURES: _features(codec)}, {PASTICHE: _PICTURE}, {})


def microast(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """`IMAGE` and `STYLE` to `PASTICHE`, of any sides from 32 px on."""
    graph = _MicroAST(tensors)
    style, _ = graph.extended(STYLE, STRIDE)
    image, sides = graph.extended(IMAGE, STRIDE)
    graph.cut_off(graph.clipped(graph.painted(image, graph.code(style))), sides, PASTICHE)
    return graph.model({IMAGE: _PICTURE, STYLE: _PAINTING}, {PASTICHE: _PICTURE}, metadata or {})


def microast_encoder(tensors: Tensors) -> bytes:
    """`STYLE`, whose sides 4 divides, to `CODE (B, 512)`."""
    graph = _MicroAST(tensors)
    graph.named(graph.code(STYLE), CODE)
    return graph.model({STYLE: _PAINTING}, {CODE: ("batch", CODE_SIZE)}, {})


def microast_painter(tensors: Tensors) -> bytes:
    """`IMAGE`, whose sides 4 divides, and `CODE (B, 512)` to `PASTICHE`, unclamped."""
    graph = _MicroAST(tensors)
    graph.named(graph.painted(IMAGE, CODE), PASTICHE)
    return graph.model({IMAGE: _PICTURE, CODE: ("batch", CODE_SIZE)}, {PASTICHE: _PICTURE}, {})


def _features(codec: Codec) -> tuple[str | int, ...]:
    return ("batch", codec.encoder["conv4_1.weight"].shape[0], "rows", "columns")


class _AnyStyle(GraphWriter):
    """Statistics of features, which both take."""

    def clipped(self, x: str) -> str:
        """Within [0, 1]."""
        return self._node("Clip", [x, self._number("none", 0.0), self._number("one", 1.0)])

    def _number(self, name: str, value: float) -> str:
        return self._constant(name, np.float32(value))

    def _moments(self, features: str, *, sample: bool = False) -> tuple[str, str]:
        """Mean and deviation `(B, C, 1, 1)`; of a sample, the variance is over one position less."""
        mean = self._node("ReduceMean", [features], axes=[2, 3], keepdims=1)
        apart = self._node("Sub", [features, mean])
        squares = self._node("Mul", [apart, apart])
        variance = self._node("ReduceMean", [squares], axes=[2, 3], keepdims=1)
        if sample:
            variance = self._node("Mul", [variance, self._enlarged(features)])
        steady = self._node("Add", [variance, self._number("epsilon", EPSILON)])
        return mean, self._node("Sqrt", [steady])

    def _enlarged(self, features: str) -> str:
        """N / (N - 1) of N positions."""
        shape = self._node("Shape", [features], start=2, end=4)
        count = self._node("ReduceProd", [self._node("Cast", [shape], to=1)], axes=[0], keepdims=0)
        return self._node("Div", [count, self._node("Sub", [count, self._number("one", 1.0)])])

    def _renormalised(self, features: str, mean: str, deviation: str, *, sample: bool = False) -> str:
        own_mean, own_deviation = self._moments(features, sample=sample)
        scale = self._node("Div", [deviation, own_deviation])
        shift = self._node("Sub", [mean, self._node("Mul", [own_mean, scale])])
        return self._node("Add", [self._node("Mul", [features, scale]), shift])


class _AdaIN(_AnyStyle):
    """AdaIN's parts."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec.tensors())
        blocks = VGG19.down_to(LAYER).blocks
        self._blocks = [block for block in blocks if isinstance(block, Convolution | Pooling)]

    def encoded(self, image: str) -> str:
        """Features of a picture."""
        x = image
        for block in self._blocks:
            if isinstance(block, Pooling):
                x = self._node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
            else:
                x = self._relu(self._convolved(x, f"encoder.{block.key}", *self._encoder_weights(block.key)))
        return x

    def _encoder_weights(self, key: str) -> list[NDArray[Any]]:
        weight, bias = (self._take(f"encoder.{key}.{part}") for part in ("weight", "bias"))
        if key != "conv1_1":
            return [weight, bias]
        # exact, because a map of single pixels commutes with reflection padding
        colour, offset = self._take("encoder.preprocess.weight")[:, :, 0, 0], self._take("encoder.preprocess.bias")
        return [np.einsum("omhw,mi->oihw", weight, colour), bias + np.einsum("omhw,m->o", weight, offset)]

    def exchanged(self, own: str, theirs: str) -> str:
        """Features with the mean and deviation of others."""
        return self._renormalised(own, *self._moments(theirs))

    def decoded(self, features: str) -> str:
        """The picture of features."""
        x, doubling, last = features, False, self._blocks[0]
        for block in reversed(self._blocks):
            if isinstance(block, Pooling):
                doubling = True
                continue
            name = f"decoder.{block.key}"
            weight, bias = self._take(f"{name}.weight"), self._take(f"{name}.bias")
            if doubling:
                x = self._from_windows(self._four_windows(x, name, weight, bias), len(weight))
            else:
                x = self._convolved(x, name, weight, bias)
            x, doubling = x if block is last else self._relu(x), False
        return self._without_grid(x)

    def _without_grid(self, x: str) -> str:
        """As `ops.grids.without_grid`."""
        for period in PERIODS:
            detail = self._node("Sub", [x, self._averaged(x, span_weights(period), f"span{period}", 1)])
            share = self._node("Div", [detail, self._number("faint", FAINT)])
            share = self._node("Sub", [self._number("one", 1.0), self._node("Mul", [share, share])])
            share = self._node("Relu", [share])
            detail = self._node("Mul", [detail, self._node("Mul", [share, share])])
            x = self._node("Sub", [x, self._averaged(detail, near_weights(), "near", period)])
        return x

    def _averaged(self, x: str, weights: Sequence[float], name: str, apart: int) -> str:
        """Weighted means over both axes of places so many pixels apart; beyond the edges there are none."""
        border, kernel = apart * (len(weights) // 2), np.array(weights, np.float32)
        one = self._node("Slice", [x, *self._ints([0, 0], [1, 1], [0, 1])])
        ones = self._node("Add", [self._node("Mul", [one, self._number("none", 0.0)]), self._number("one", 1.0)])
        for axis, across in (("down", 0), ("across", 1)):
            shape = (1, 1, 1, -1) if across else (1, 1, -1, 1)
            single = self._constant(f"{name}.{axis}.one", kernel.reshape(shape))
            three = self._constant(f"{name}.{axis}", np.repeat(kernel.reshape(shape), 3, 0))
            pads, spread = ([0, border] * 2, [1, apart]) if across else ([border, 0] * 2, [apart, 1])
            count = self._node("Conv", [ones, single], pads=pads, dilations=spread)
            x = self._node("Conv", [x, three], pads=pads, dilations=spread, group=3)
            x = self._node("Div", [x, count])
        return x


class _MicroAST(_AnyStyle):
    """MicroAST's parts; see `models.microast`."""

    def code(self, painting: str) -> str:
        """The code of a painting."""
        parts: list[str] = []
        for depth, features in zip(DEPTHS, self._encoded("style", painting), strict=True):
            parts += self._moments(features, sample=True)
            for kind in ("weight", "bias"):
                seen = self._layer(f"modulator.{kind}{depth}.0", features, groups=WIDTH)
                parts.append(self._node("ReduceMean", [seen], axes=[2, 3], keepdims=1))
        return self._node("Reshape", [self._node("Concat", parts, axis=1), *self._ints([-1, CODE_SIZE])])

    def painted(self, image: str, code: str) -> str:
        """The picture, unclamped."""
        halves = self._pieces(self._node("Reshape", [code, *self._ints([0, -1, 1, 1])]), 2, "half")
        shallow, deep = (self._pieces(half, 4, f"part{number}.") for number, half in enumerate(halves))
        x = self._encoded("content", image)[1]
        for name, own in (("dec1", deep), ("dec2", shallow)):
            x = self._renormalised(x, own[0], own[1], sample=True)
            x = self._modulated(f"decoder.{name}", x, own[2], own[3])
        inputs = WIDTH
        for apart, across in DECODER:
            x = self._doubled(x)
            x = self._relu(self._layer(f"decoder.dec3.{apart}", x, groups=inputs // self._inputs(apart)))
            x, inputs = self._relu(self._layer(f"decoder.dec3.{across}", x)), self._outputs(f"decoder.dec3.{across}")
        return self._layer(f"decoder.dec3.{HEAD}", x)

    def _outputs(self, name: str) -> int:
        return int(self._tensors[f"{name}.conv_layer.weight"].shape[0])

    def _inputs(self, number: int) -> int:
        """Of a group of one of the decoder's convolutions."""
        return int(self._tensors[f"decoder.dec3.{number}.conv_layer.weight"].shape[1])

    def _pieces(self, x: str, count: int, name: str) -> list[str]:
        names = [f"{name}{number}" for number in range(count)]
        size = (CODE_SIZE if count == 2 else CODE_SIZE // 2) // count
        self._add("Split", [x, self._constant(f"{name}.sizes", np.array([size] * count, np.int64))], names, axis=1)
        return names

    def _encoded(self, network: str, image: str) -> tuple[str, str]:
        x = image
        for number, stride in ENCODER:
            name = f"{network}.enc1.{number}"
            # those that halve take each channel by itself, of which the layer before gives so many
            groups = self._outputs(f"{network}.enc1.{number - 2}") if stride > 1 else 1
            x = self._relu(self._layer(name, x, stride=stride, groups=groups))
        first = self._residual(f"{network}.{RESIDUALS[0]}", x)
        return first, self._residual(f"{network}.{RESIDUALS[1]}", first)

    def _residual(self, name: str, x: str) -> str:
        inner = self._relu(self._layer(f"{name}.conv1", x))
        return self._node("Add", [x, self._layer(f"{name}.conv2", inner)])

    def _modulated(self, name: str, x: str, scale: str, bias: str) -> str:
        inner = self._relu(self._scaled(self._layer(f"{name}.conv1", x), scale, x, bias))
        return self._node("Add", [x, self._scaled(self._layer(f"{name}.conv2", inner), scale, inner, bias)])

    def _scaled(self, filtered: str, scale: str, x: str, bias: str) -> str:
        return self._node("Add", [self._node("Mul", [filtered, scale]), self._node("Mul", [x, bias])])

    def _doubled(self, x: str) -> str:
        scales = self._constant("doubled", np.array([1, 1, 2, 2], np.float32))
        return self._node("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")

    def _layer(self, name: str, x: str, *, stride: int = 1, groups: int = 1) -> str:
        weight, bias = (self._take(f"{name}.conv_layer.{part}") for part in ("weight", "bias"))
        return self._convolved(x, name, weight, bias, stride=stride, groups=groups)
