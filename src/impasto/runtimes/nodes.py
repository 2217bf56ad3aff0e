"""Writes ONNX graphs, opset 17, node after node, by the package onnx: what graphs of all kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import require

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

Shape: TypeAlias = Sequence[str | int]
"""Of an input or an output: numbers, and names of what is free."""

EXTRA = "onnx"

_OPSET, _IR = 17, 8
_DOUBLED = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)


class GraphWriter:
    """Writes nodes, each after those that it needs; tells of each the name of what it gives.

    Args:
        tensors: weights by name.

    Raises:
        MissingExtra: the package onnx is not installed.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._onnx: Any = require("onnx", EXTRA)
        self._helper = self._onnx.helper
        self._tensors, self._nodes, self._held = tensors, list[Any](), dict[str, NDArray[Any]]()
        self.used: set[str] = set()

    def model(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], metadata: Mapping[str, str]) -> bytes:
        """The whole file; inputs and outputs are float32."""
        given, made = (
            [self._helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape) for name, shape in one]
            for one in (inputs.items(), outputs.items())
        )
        held = [self._onnx.numpy_helper.from_array(values, name) for name, values in self._held.items()]
        graph = self._helper.make_graph(self._nodes, "impasto", given, made, held)
        opsets = [self._helper.make_opsetid("", _OPSET)]
        model = self._helper.make_model(graph, producer_name="impasto", ir_version=_IR, opset_imports=opsets)
        self._helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString())

    def extended(self, image: str, stride: int) -> tuple[str, str]:
        """The picture mirrored at its lower and right edge to sides that the stride divides; and its own sides."""
        sides = self._node("Slice", [self._node("Shape", [image]), *self._ints([2], [4])])
        missing = self._node("Mod", [self._node("Neg", [sides]), *self._ints([stride])])
        border = self._node("Concat", [*self._ints([0] * 6), missing], axis=0)
        return self._node("Pad", [image, border], mode="reflect"), sides

    def cut_off(self, x: str, sides: str, output: str) -> None:
        """The picture of those sides, as an output."""
        self._node("Slice", [x, *self._ints([0, 0]), sides, *self._ints([2, 3])], output=output)

    def named(self, x: str, output: str) -> None:
        """The same as an output."""
        self._node("Identity", [x], output=output)

    def _convolved(
        self,
        x: str,
        name: str,
        weight: NDArray[Any],
        bias: NDArray[Any] | None,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        """A convolution with reflection padding."""
        border = weight.shape[2] // 2
        if border:
            x = self._node("Pad", [x, *self._ints([0, 0, border, border] * 2)], mode="reflect")
        return self._node("Conv", [x, *self._weights(name, weight, bias)], strides=[stride, stride], group=groups)

    def _four_windows(self, x: str, name: str, weight: NDArray[Any], bias: NDArray[Any] | None) -> str:
        """As `networks._Doubling.windows`: one small convolution makes the four pixels of each window."""
        outputs, inputs = weight.shape[:2]
        kernels = np.einsum("pak,qbl,oikl->pqoiab", _DOUBLED, _DOUBLED, weight).reshape(4 * outputs, inputs, 2, 2)
        padded = self._node("Pad", [x, *self._ints([0, 0, 1, 1] * 2)], mode="edge")
        return self._node("Conv", [padded, *self._weights(name, kernels, None if bias is None else np.tile(bias, 4))])

    def _from_windows(self, windows: str, channels: int) -> str:
        """The picture of what `_four_windows` gives: doubled by nearest neighbours, and convolved."""
        pixels = self._shuffled(windows, channels)
        return self._node("Slice", [pixels, *self._ints([1, 1], [-1, -1], [2, 3])])  # the outermost lie outside

    def _weights(self, name: str, weight: NDArray[Any], bias: NDArray[Any] | None) -> list[str]:
        held = [self._constant(f"{name}.weight", weight)]
        return held if bias is None else [*held, self._constant(f"{name}.bias", bias)]

    def _shuffled(self, x: str, channels: int) -> str:
        """The four pixels of each position, channels of one after those of the other, as a picture.

        ONNX Runtime's DepthToSpace moves single numbers. Here one axis is moved at a time, which it does with vector
        instructions, and then whole rows: three times quicker.
        """
        rows = self._node("Shape", [x], start=2, end=3)
        parts = self._node("Reshape", [x, *self._ints([0, 2, 2, channels, -1])])
        beside = self._node("Transpose", [parts], perm=[0, 1, 3, 4, 2])
        beside = self._node("Reshape", [beside, self._joined([0, 2, channels], rows, [-1])])
        below = self._node("Transpose", [beside], perm=[0, 2, 3, 1, 4])
        columns = self._node("Shape", [below], start=4, end=5)
        return self._node("Reshape", [below, self._joined([0, channels, -1], columns, [])])

    def _joined(self, before: Sequence[int], side: str, after: Sequence[int]) -> str:
        constants = [*self._ints(before), side, *(self._ints(after) if after else [])]
        return self._node("Concat", constants, axis=0)

    def _take(self, name: str) -> NDArray[Any]:
        self.used.add(name)
        return self._tensors[name]

    def _relu(self, x: str) -> str:
        return self._node("Relu", [x])

    def _ints(self, *lists: Sequence[int]) -> list[str]:
        names = ["ints" + "_".join(map(str, values)) for values in lists]
        return [self._constant(name, np.array(v, np.int64)) for name, v in zip(names, lists, strict=True)]

    def _constant(self, name: str, values: NDArray[Any] | np.float32) -> str:
        self._held[name] = np.ascontiguousarray(values).reshape(np.shape(values))
        return name

    def _node(self, kind: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}{len(self._nodes)}"
        self._add(kind, inputs, [output], **attributes)
        return output

    def _add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self._nodes.append(self._helper.make_node(kind, inputs, outputs, outputs[0], **attributes))
