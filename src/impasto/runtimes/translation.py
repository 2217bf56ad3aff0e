"""Generators of unpaired translation as ONNX graphs, written without torch from the tensors of their files.

The graph has the inputs of a trained network's, so that what opens those opens it: `image`, and a `code (B, 1)`.
There is one style; the code tells how much of the photograph shows through: 0 for none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from impasto.models.generator_spec import STRIDE, convolutions, is_blurred, norm_of
from impasto.runtimes.graphs import CODE, EPSILON, IMAGE, PASTICHE
from impasto.runtimes.nodes import GraphWriter, Tensors


def build(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an ONNX file; height, width and batch are free, from 16 px on.

    tensors: by their published names, in float32.

    Raises:
        InputError: they are no generator's.
        MissingExtra: the package onnx is not installed.
    """
    graph = _Generator(tensors)
    image, sides = graph.extended(IMAGE, STRIDE)
    graph.cut_off(graph.shown_through(image, graph.painted(image)), sides, PASTICHE)
    picture = ("batch", 3, "height", "width")
    return graph.model({IMAGE: picture, CODE: ("batch", 1)}, {PASTICHE: picture}, metadata or {})


class _Generator(GraphWriter):
    """As `generators.Generator`, layer by layer."""

    def painted(self, image: str) -> str:
        """The pastiche of a picture in [0, 1] whose sides 4 divides."""
        outer, blocks = convolutions(self._tensors)
        stem, *between, head = outer
        blurred = is_blurred(self._tensors)
        scaled = self._node("Mul", [image, self._number("two", 2.0)])
        x = self._normalised(self._reflected(self._node("Sub", [scaled, self._number("one", 1.0)]), stem), stem)
        for name in between[:2]:
            x = self._normalised(self._zeroed(x, name, stride=1 if blurred else 2), name)
            x = self._halved(x) if blurred else x
        for first, second in blocks:
            inner = self._normalised(self._reflected(x, first), first)
            x = self._node("Add", [x, self._normal(self._reflected(inner, second), second)])
        for name in between[2:]:
            doubled = self._zeroed(self._doubled(x), name, stride=1) if blurred else self._transposed(x, name)
            x = self._normalised(doubled, name)
        spread = self._node("Add", [self._node("Tanh", [self._reflected(x, head)]), self._number("one", 1.0)])
        return self._node("Mul", [spread, self._number("half", 0.5)])

    def shown_through(self, image: str, pastiche: str) -> str:
        """The pastiche, and as much of the picture as the code says."""
        share = self._node("Reshape", [CODE, *self._ints([-1, 1, 1, 1])])
        return self._node("Add", [pastiche, self._node("Mul", [share, self._node("Sub", [image, pastiche])])])

    def _number(self, name: str, value: float) -> str:
        return self._constant(name, np.float32(value))

    def _weights_of(self, name: str) -> list[str]:
        bias = self._take(f"{name}.bias") if f"{name}.bias" in self._tensors else None
        return self._weights(name, self._take(f"{name}.weight"), bias)

    def _reflected(self, x: str, name: str) -> str:
        border = self._tensors[f"{name}.weight"].shape[2] // 2
        padded = self._node("Pad", [x, *self._ints([0, 0, border, border] * 2)], mode="reflect")
        return self._node("Conv", [padded, *self._weights_of(name)])

    def _zeroed(self, x: str, name: str, *, stride: int) -> str:
        return self._node("Conv", [x, *self._weights_of(name)], strides=[stride, stride], pads=[1, 1, 1, 1])

    def _transposed(self, x: str, name: str) -> str:
        held = self._weights_of(name)
        return self._node("ConvTranspose", [x, *held], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])

    def _halved(self, x: str) -> str:
        padded = self._node("Pad", [x, *self._ints([0, 0, 1, 1] * 2)], mode="reflect")
        once = self._node("AveragePool", [padded], kernel_shape=[2, 2], strides=[1, 1])
        return self._node("AveragePool", [once], kernel_shape=[2, 2], strides=[2, 2])

    def _doubled(self, x: str) -> str:
        scales = self._constant("scales", np.array([1, 1, 2, 2], np.float32))
        return self._node("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")

    def _normalised(self, x: str, name: str) -> str:
        return self._relu(self._normal(x, name))

    def _normal(self, x: str, name: str) -> str:
        norm, weight = norm_of(name), f"{norm_of(name)}.weight"
        # a halving or a doubling has the next number where a normalisation has no tensors of its own
        if weight in self._tensors and self._tensors[weight].ndim == 1:
            scale, shift = self._take(weight), self._take(f"{norm}.bias")
        else:
            channels = self._bias_length(name)
            scale, shift = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        held = [self._constant(f"{name}.scale", scale), self._constant(f"{name}.shift", shift)]
        return self._node("InstanceNormalization", [x, *held], epsilon=EPSILON)

    def _bias_length(self, name: str) -> int:
        shape = self._tensors[f"{name}.weight"].shape
        up = not is_blurred(self._tensors) and name in convolutions(self._tensors)[0][3:5]
        return int(shape[1] if up else shape[0])
