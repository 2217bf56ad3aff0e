"""TensorFlow.js graph models: a folder of model.json and weights, written node after node, without TensorFlow.

The format: https://www.tensorflow.org/js/guide/conversion; its operations and their attributes: the tables of
`@tensorflow/tfjs-converter`. Pictures have the channels last; height, width and batch are free.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.assets import Store
from impasto.export import _tfjs
from impasto.export._tfjs import MODEL, spelled
from impasto.export.model import CODE, IMAGE, PASTICHE, Array, Exportable, Painter
from impasto.export.portable import PlainConvolution, PlainDoubling, PlainNetwork
from impasto.files import write_whole
from impasto.ops.stats import EPSILON

LIBRARY = "tensorflow-js"
"""The asset with which the check paints, in Node."""

_SHARD = 4 << 20  # bytes: browsers keep files up to this size
_TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32"}


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:  # noqa: ARG001 - sides are free
    """Write the folder."""
    graph = _Graph()
    graph.network(cast("PlainNetwork", model.module(True)))
    path.mkdir()
    weights = b"".join(values.tobytes() for values in graph.held.values())
    shards = {f"impasto-{at // _SHARD + 1}.bin": weights[at : at + _SHARD] for at in range(0, len(weights), _SHARD)}
    for name, data in shards.items():
        write_whole(path / name, data)
    ranges = model.metadata["ranges"].replace("(batch, 3, height, width)", "(batch, height, width, 3)")
    entries = [{"name": name, "shape": one.shape, "dtype": one.dtype.name} for name, one in graph.held.items()]
    picture, code = (-1, -1, -1, 3), (-1, model.seconds[0].shape[1])
    whole = {
        "format": "graph-model",
        "generatedBy": model.metadata["made_by"],
        "convertedBy": None,
        "signature": {
            "inputs": {IMAGE: _described(IMAGE, picture), CODE: _described(CODE, code)},
            "outputs": {PASTICHE: _described(PASTICHE, picture)},
        },
        "userDefinedMetadata": {**model.metadata, "ranges": ranges},
        "modelTopology": {
            "node": [_placeholder(IMAGE, picture), _placeholder(CODE, code), *graph.nodes],
            "library": {},
            "versions": {},
        },
        "weightsManifest": [{"paths": list(shards), "weights": entries}],
    }
    write_whole(path / MODEL, json.dumps(whole, ensure_ascii=False).encode())


def _sides(shape: Iterable[int]) -> dict[str, Any]:
    return {"dim": [{"size": str(size)} for size in shape]}


def _described(name: str, shape: Iterable[int]) -> dict[str, Any]:
    return {"name": f"{name}:0", "dtype": "DT_FLOAT", "tensorShape": _sides(shape)}


def _placeholder(name: str, shape: Iterable[int]) -> dict[str, Any]:
    return {
        "name": name,
        "op": "Placeholder",
        "attr": {"dtype": {"type": "DT_FLOAT"}, "shape": {"shape": _sides(shape)}},
    }


def load(path: Path, model: Exportable) -> tuple[Painter, str]:  # noqa: ARG001 - inputs are told by their names
    """TensorFlow.js in Node, where both are there; else each operation as it lies on the disk, done by PyTorch."""
    node, store = shutil.which("node"), Store()
    if node is None or not store.is_present(LIBRARY):
        return _tfjs.by_hand(path), "PyTorch, operation by operation"
    version = store.declared[LIBRARY].sources[0].label.rpartition("==")[2]
    return _tfjs.in_node(node, store.file(LIBRARY, "tf.min.js"), path), f"TensorFlow.js {version} in Node"


class _Graph:
    """Writes nodes, each after those that it needs, as `portable.PlainNetwork` computes; tells each one's name."""

    def __init__(self) -> None:
        self.nodes, self.held = list[dict[str, Any]](), dict[str, NDArray[Any]]()

    def network(self, plain: PlainNetwork) -> None:
        """All nodes, from the image to the pastiche."""
        sides = self._node("StridedSlice", self._node("Shape", IMAGE), [1], [3], [1])
        missing = self._node("FloorMod", self._node("Sub", 0, sides), plain.inner_stride)
        border = self._node("Pad", self._node("Reshape", missing, [2, 1]), [[1, 1], [1, 0]])
        image = self._node("MirrorPad", IMAGE, border, mode="REFLECT")
        pieces = self._node("SplitV", self._node("Reshape", CODE, [-1, 1, 1, sum(plain.pieces)]), plain.pieces, 3)
        self._pieces = iter([pieces, *(f"{pieces}:{number}" for number in range(1, len(plain.pieces)))])
        x = self._node("Relu", self._normalised(self._layer(self._node("Sub", image, 0.5), plain.stem)))
        before = x
        for layer in plain.down:
            before = x
            x = self._node("Relu", self._normalised(self._layer(x, layer)))
        for first, second in zip(plain.first, plain.second, strict=True):
            inner = self._node("Relu", self._normalised(self._layer(x, first)))
            x = self._node("AddV2", x, self._normalised(self._layer(inner, second)))
        for index, layer in enumerate(plain.up):
            x = self._node("Relu", self._normalised(self._layer(x, layer)))
            if index == 0 and plain.skip is not None:
                x = self._node("AddV2", x, self._node("Mul", before, plain.skip.reshape(-1).numpy()))
        if plain.doubled:
            x = self._layer(x, plain.full)
            x = self._node("Relu", x) if plain.headed else x
        x = self._node("Sigmoid", self._layer(x, plain.head))
        self._cut(x, [0, 0, 0, 0], self._node("ConcatV2", [0], sides, [0], 0), name=PASTICHE)

    def _layer(self, x: str, layer: nn.Module) -> str:
        if isinstance(layer, PlainConvolution):
            return self._convolution(x, layer)
        if isinstance(layer, PlainDoubling):
            return self._doubling(x, layer)
        for inner in layer.children():  # of a Sequential; an Identity has none
            x = self._layer(x, inner)
        return x

    def _convolution(self, x: str, layer: PlainConvolution) -> str:
        x, weight = self._padded(x, layer.border, "REFLECT"), layer.weight.numpy()
        if layer.groups == 1:
            return self._convolved(x, weight.transpose(2, 3, 1, 0), layer.bias, layer.stride)
        assert layer.groups == len(weight)
        return self._convolved(x, weight.transpose(2, 3, 0, 1), layer.bias, layer.stride, "DepthwiseConv2dNative")

    def _doubling(self, x: str, layer: PlainDoubling) -> str:
        """The four pixels of a window come first here, their channels after; in PyTorch it is the other way."""
        weight = layer.weight.reshape(-1, 4, *layer.weight.shape[1:]).transpose(0, 1).flatten(0, 1).numpy()
        bias = None if layer.bias is None else layer.bias.reshape(-1, 4).T.flatten()
        windows = self._convolved(self._padded(x, 1, "SYMMETRIC"), weight.transpose(2, 3, 1, 0), bias)
        pixels = self._node("DepthToSpace", windows, block_size=2, data_format="NHWC")
        return self._cut(pixels, [0, 1, 1, 0], [0, -1, -1, 0])

    def _cut(self, x: str, begins: list[int], ends: list[int] | str, name: str = "") -> str:
        """Both sides cut; the batch and the channels stay whole."""
        masks = {"begin_mask": 0b1001, "end_mask": 0b1001}  # a bit for each axis that stays
        return self._node("StridedSlice", x, begins, ends, [1] * 4, name=name, **masks)

    def _padded(self, x: str, border: int, mode: str) -> str:
        return self._node("MirrorPad", x, [[0, 0], [border] * 2, [border] * 2, [0, 0]], mode=mode) if border else x

    def _convolved(self, x: str, kernel: Array, bias: Tensor | None, stride: int = 1, kind: str = "Conv2D") -> str:
        steps = [1, stride, stride, 1]
        x = self._node(kind, x, kernel, strides=steps, padding="VALID", data_format="NHWC", dilations=[1, 1, 1, 1])
        return x if bias is None else self._node("AddV2", x, bias.numpy())

    def _normalised(self, x: str) -> str:
        """As `portable.Normalisation`: the mean goes first, so that what is flat stays flat."""
        apart = self._node("Sub", x, self._mean(x))
        variance = self._mean(self._node("Square", apart))
        inverse = self._node("Rsqrt", self._node("AddV2", variance, EPSILON))
        scaled = self._node("Mul", apart, self._node("Mul", inverse, next(self._pieces)))
        return self._node("AddV2", scaled, next(self._pieces))

    def _mean(self, x: str) -> str:
        return self._node("Mean", x, [1, 2], keep_dims=True)

    def _node(self, kind: str, *inputs: Any, name: str = "", **attributes: str | bool | int | list[int]) -> str:
        """Inputs are names of others, or values: numbers with a point are float32, others int32."""
        given = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        name = name or f"{kind.lower()}{len(self.nodes)}"
        attr = {key: spelled(value) for key, value in attributes.items()}
        self.nodes.append({"name": name, "op": kind, "input": given, "attr": attr})
        return name

    def _constant(self, value: Any) -> str:
        held = np.asarray(value)
        held = np.ascontiguousarray(held, np.float32 if held.dtype.kind == "f" else np.int32).reshape(held.shape)
        name = f"held{len(self.held)}"
        self.held[name] = held
        self.nodes.append({"name": name, "op": "Const", "attr": {"dtype": {"type": _TYPES[held.dtype.name]}}})
        return name
