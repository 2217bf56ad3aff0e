"""A trained network as an ONNX graph, opset 17, built by the package onnx; and the folder where built ones are kept.

Importing onnx takes longer than painting a picture, so a graph is built once for each network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, ResourceError, require
from impasto.files import write_whole
from impasto.models import checkpoint

Tensors: TypeAlias = Mapping[str, NDArray[Any]]

IMAGE, CODE, PASTICHE = "image", "code", "pastiche"
"""The inputs, `(B, 3, H, W)` and `(B, N)`, and the output `(B, 3, H, W)`, all float32; pictures in [0, 1]."""

LEAST = 4
"""Strides that a side must have at least; smaller pictures are extended by mirroring, as `FeedForward` does."""

EPSILON = 1e-5
"""Of the instance normalisation; a test holds it to `impasto.ops.stats`."""

_STYLE = "style."
_END = 1 << 40  # of a slice: beyond all sides
_OPSET, _IR = 17, 8
_DOUBLED_AT_ONCE = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
"""Which of a kernel's weights make each of the four of the transposed one that doubles, too."""
_DOUBLED = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)
_UNDOUBLED = np.array([[[[k == 2 * a + p - u for k in range(3)] for p in (0, 1)] for a in (0, 1)] for u in (0, 1)])

_MOST_PIECES = 6  # WebGPU promises eight buffers to a shader

EXTRA = "onnx"

_VERSION = 2
"""Of what `build` makes: with another one, graphs that were kept are built again."""

_KEPT = 32  # graphs, the newest, up to two a network; each takes twice the bytes of its network


def read(path: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """A network's tensors in float32, and what its file says of itself.

    Raises:
        InputError: it is missing, not an Impasto network, or of a newer format.
    """
    stored, about = checkpoint.read(path, "numpy")
    return {name: array.astype(np.float32) for name, array in stored.items()}, about


def build(tensors: Tensors, about: Mapping[str, Any] | None = None, *, transposed: bool = False) -> bytes:
    """The bytes of an ONNX file.

    Height, width and batch are free; sides that are no multiples of the stride are mirrored inside and cut off again.

    Args:
        tensors: of a network's file, by name.
        about: what the file says of itself; goes into the metadata as JSON (`impasto`), the codes too (`codes`).
        transposed: double by transposed convolutions and depth to space: a fifth to a half quicker in OpenVINO, half as
            slow again in ONNX Runtime. The pictures are the same.

    Raises:
        InputError: they are not those of an Impasto network.
        MissingExtra: the package onnx is not installed.
    """
    shared = {name: array for name, array in tensors.items() if not name.startswith(_STYLE)}
    graph = (_TransposedGraph if transposed else _Graph)(shared)
    try:
        graph.write()
    except (KeyError, IndexError, ValueError) as error:
        raise InputError("the file is not an Impasto network", checkpoint.HINT) from error
    if graph.used != shared.keys():
        raise InputError("the file holds more than an Impasto network", checkpoint.HINT)
    for name, array in tensors.items():
        if name.startswith(_STYLE) and array.shape != (graph.code_length,):
            raise InputError(f"style {name.removeprefix(_STYLE)} is not of its network", checkpoint.HINT)
    metadata = {}
    if about is not None:
        codes = {name.removeprefix(_STYLE): _plain(array) for name, array in tensors.items() if name.startswith(_STYLE)}
        metadata = {"impasto": json.dumps(about), "codes": json.dumps(codes)}
    return graph.model(metadata)


def _plain(code: NDArray[Any]) -> list[float]:
    return [float(f"{value:.5g}") for value in code.astype(np.float64)]


def cached(network: Path, tensors: Tensors, folder: Path, *, transposed: bool = False) -> bytes:
    """A network's graph, which is built the first time and kept.

    Args:
        network: its file; a graph is known by the digest of its contents.
        tensors: of it.
        folder: where graphs are kept.
        transposed: see `build`.

    Raises:
        InputError: they are not those of an Impasto network.
        MissingExtra: it was never built, and the package onnx is not installed.
    """
    with network.open("rb") as file:
        known_by = f"{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}-{_VERSION}{'t' if transposed else ''}"
    for kept in folder.glob(f"{known_by}-*.onnx"):
        with suppress(OSError):
            data = kept.read_bytes()
            if kept.stem == f"{known_by}-{_digest(data)}":
                return data
            kept.unlink()  # a byte of it was altered
    data = build(tensors, transposed=transposed)
    with suppress(OSError, InputError, ResourceError):  # a folder that takes none is no reason not to paint
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{known_by}-{_digest(data)}.onnx", data)
        for old in sorted(folder.glob("*.onnx"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def stride_of(tensors: Tensors) -> int:
    """How many pixels one position of the coarsest level stands for."""
    downs = sum(name.startswith("down.") for name in tensors)
    return int(2**downs * (2 if "full.weight" in tensors else 1))


def memory_of(tensors: Tensors) -> float:
    """Bytes a pixel that a pass of a runtime takes at its peak, estimated."""
    # measured in ONNX Runtime: tiny 198, small 311, johnson 442; what lies at full size decides
    stem = tensors["stem.weight"].shape[0]
    strided = "full.weight" in tensors
    return 14.0 * float(stem / 4 + tensors["full.weight"].shape[0] if strided else 2 * stem)


class _Graph:
    """Writes the nodes of one network, each after those that it needs."""

    def __init__(self, tensors: Tensors) -> None:
        self._onnx: Any = require("onnx", EXTRA)
        self._helper = self._onnx.helper
        self._tensors, self._nodes, self._held = tensors, list[Any](), dict[str, NDArray[Any]]()
        self._scales: list[str] = []  # what remains of the code, piece by piece
        self._layers = 0
        self.used: set[str] = set()

    def write(self) -> None:
        """All nodes, from the image to the pastiche."""
        self._pieces = self._sizes()
        sides = self._node("Slice", [self._node("Shape", [IMAGE]), *self._ints([2], [4])])
        stride = self._ints([stride_of(self._tensors)])
        missing = self._node("Mod", [self._node("Neg", [sides]), *stride])
        border = self._node("Concat", [*self._ints([0] * 6), missing], axis=0)
        image = self._node("Pad", [IMAGE, border], mode="reflect")
        x = self._node("Sub", [image, self._constant("half", np.float32(0.5))])
        x = self._pastiche(x)
        self._node("Slice", [x, *self._ints([0, 0]), sides, *self._ints([2, 3])], output=PASTICHE)

    @property
    def code_length(self) -> int:
        """Numbers that make a style."""
        return sum(self._pieces)

    def _pastiche(self, x: str) -> str:
        self._scales = self._split(CODE, self._pieces, "piece")
        strided = "full.weight" in self._tensors
        x = self._relu(self._normalised(self._convolution(x, "stem", stride=2 if strided else 1)))
        before = x
        for name in self._numbered("down"):
            before = x
            x = self._relu(self._normalised(self._convolution(x, name, stride=2)))
        for name in self._numbered("blocks"):
            inner = self._relu(self._normalised(self._half(x, f"{name}.first")))
            x = self._node("Add", [x, self._normalised(self._half(inner, f"{name}.second"))])
        for index, name in enumerate(self._numbered("up")):
            x = self._relu(self._normalised(self._doubling(x, name)))
            if index == 0 and "skip" in self._tensors:
                share = self._constant("skip", self._take("skip")[:, None, None])
                x = self._node("Add", [x, self._node("Mul", [before, share])])
        if not strided:
            return self._node("Sigmoid", [self._convolution(x, "head")])
        if "head.weight" not in self._tensors:
            return self._node("Sigmoid", [self._doubling(x, "full")])
        windows = self._mirrored(self._relu(self._windows(x, "full")), len(self._tensors["full.bias"]))
        return self._shuffled(self._node("Sigmoid", [self._between(windows)]), 3)

    def _split(self, x: str, sizes: Sequence[int], name: str) -> list[str]:
        """Cut into pieces by channel, and those into pieces where there are many: WebGPU takes few buffers at once."""
        groups = [sizes[at : at + _MOST_PIECES] for at in range(0, len(sizes), _MOST_PIECES)]
        if len(groups) > 1:
            whole = self._split(x, [sum(group) for group in groups], f"{name}s")
            return [
                piece
                for number, (part, group) in enumerate(zip(whole, groups, strict=True))
                for piece in self._split(part, group, f"{name}{number}.")
            ]
        if len(sizes) == 1:
            return [x]
        names = [f"{name}{number}" for number in range(len(sizes))]
        self._add("Split", [x, self._constant(f"{name}.sizes", np.array(sizes, np.int64))], names, axis=1)
        return names

    def _take(self, name: str) -> NDArray[Any]:
        self.used.add(name)
        return self._tensors[name]

    def _numbered(self, group: str) -> list[str]:
        found = {".".join(name.split(".")[:2]) for name in self._tensors if name.startswith(f"{group}.")}
        return sorted(found, key=lambda name: int(name.split(".")[1]))

    def _sizes(self) -> list[int]:
        """How the code is cut: a scale and a shift for each normalised layer."""
        shapes = {name: array.shape for name, array in self._tensors.items()}
        channels = [shapes[f"{name}.weight"][0] for name in ["stem", *self._numbered("down")]]
        for name in self._numbered("blocks"):
            part = ".pointwise" if f"{name}.first.pointwise.weight" in shapes else ""
            channels += [shapes[f"{name}.{half}{part}.weight"][0] for half in ("first", "second")]
        channels += [shapes[f"{name}.weight"][0] for name in self._numbered("up")]
        return [size for count in channels for size in (count, count)]

    def _half(self, x: str, name: str) -> str:
        """One of the two convolutions of a residual block."""
        if f"{name}.depthwise.weight" not in self._tensors:
            return self._convolution(x, name)
        groups = self._tensors[f"{name}.depthwise.weight"].shape[0]
        return self._convolution(self._convolution(x, f"{name}.depthwise", groups=groups), f"{name}.pointwise")

    def _convolution(self, x: str, name: str, *, stride: int = 1, groups: int = 1) -> str:
        weight = self._take(f"{name}.weight")
        border = weight.shape[2] // 2
        if border:
            x = self._node("Pad", [x, *self._ints([0, 0, border, border] * 2)], mode="reflect")
        held = [self._constant(f"{name}.weight", weight)]
        if name == "head":
            held.append(self._constant(f"{name}.bias", self._take(f"{name}.bias")))
        return self._node("Conv", [x, *held], strides=[stride, stride], group=groups)

    def _windows(self, x: str, name: str) -> str:
        """As `networks._Doubling.windows`: one small convolution makes the four pixels of each window."""
        weight = self._take(f"{name}.weight")
        outputs, inputs = weight.shape[:2]
        kernels = np.einsum("pak,qbl,oikl->pqoiab", _DOUBLED, _DOUBLED, weight).reshape(4 * outputs, inputs, 2, 2)
        held = [self._constant(f"{name}.weight", kernels)]
        if name == "full":
            held.append(self._constant(f"{name}.bias", np.tile(self._take(f"{name}.bias"), 4)))
        padded = self._node("Pad", [x, *self._ints([0, 0, 1, 1] * 2)], mode="edge")
        return self._node("Conv", [padded, *held])

    def _doubling(self, x: str, name: str) -> str:
        pixels = self._shuffled(self._windows(x, name), len(self._tensors[f"{name}.weight"]))
        return self._node("Slice", [pixels, *self._ints([1, 1], [-1, -1], [2, 3])])  # the outermost lie outside

    def _mirrored(self, windows: str, part: int) -> str:
        """As `networks._mirrored`."""
        parts = []
        for number, (p, q) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            starts = [number * part, 1 - p, 1 - q]
            ends = [(number + 1) * part, -1 if p else _END, -1 if q else _END]
            inside = self._node("Slice", [windows, *self._ints(starts, ends, [1, 2, 3])])
            parts.append(self._node("Pad", [inside, *self._ints([0, 0, 1 - p, 1 - q, 0, 0, p, q])], mode="edge"))
        return self._node("Concat", parts, axis=1)

    def _between(self, windows: str) -> str:
        """As `networks._Head.between`, the pixels of each window still side by side."""
        weight = self._take("head.weight")
        outputs, inputs = weight.shape[:2]
        kernels = np.einsum("uapk,vbql,oikl->uvopqiab", *[_UNDOUBLED.astype(np.float32)] * 2, weight)
        held = self._constant("head.weight", kernels.reshape(4 * outputs, 4 * inputs, 2, 2))
        return self._node("Conv", [windows, held, self._constant("head.bias", np.tile(self._take("head.bias"), 4))])

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

    def _normalised(self, x: str) -> str:
        channels = self._pieces[2 * self._layers]
        self._layers += 1
        # all channels of all items as those of one, so that the scales and shifts of each go in at once
        flat = self._node("Reshape", [x, *self._ints([1, -1, 0, 0])])
        scale, shift = (self._node("Reshape", [self._scales.pop(0), *self._ints([-1])]) for _ in range(2))
        normal = self._node("InstanceNormalization", [flat, scale, shift], epsilon=EPSILON)
        return self._node("Reshape", [normal, *self._ints([-1, channels, 0, 0])])

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

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The whole file."""
        make, floats = self._helper.make_tensor_value_info, self._onnx.TensorProto.FLOAT
        sides = ("batch", 3, "height", "width")
        inputs = [make(IMAGE, floats, sides), make(CODE, floats, ("batch", self.code_length))]
        held = [self._onnx.numpy_helper.from_array(values, name) for name, values in self._held.items()]
        graph = self._helper.make_graph(self._nodes, "impasto", inputs, [make(PASTICHE, floats, sides)], held)
        opsets = [self._helper.make_opsetid("", _OPSET)]
        model = self._helper.make_model(graph, producer_name="impasto", ir_version=_IR, opset_imports=opsets)
        self._helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString())


class _TransposedGraph(_Graph):
    """Writes the same network for OpenVINO: what moves single pixels there takes as long as the convolutions.

    A nearest-neighbour doubling and a 3x3 convolution are one transposed convolution with a 4x4 kernel and a stride of
    two: each pixel sees the same 2x2 positions. The last doubling stays a convolution, since what follows the last
    convolution OpenVINO computes in float32.
    """

    def _doubling(self, x: str, name: str) -> str:
        if name == "full":
            return super()._doubling(x, name)
        weight = self._take(f"{name}.weight")
        kernel = np.einsum("ak,bl,oikl->ioab", _DOUBLED_AT_ONCE, _DOUBLED_AT_ONCE, weight)
        padded = self._node("Pad", [x, *self._ints([0, 0, 1, 1] * 2)], mode="edge")
        held = self._constant(f"{name}.weight", kernel)
        return self._node("ConvTranspose", [padded, held], strides=[2, 2], pads=[3, 3, 3, 3])

    def _shuffled(self, x: str, channels: int) -> str:  # noqa: ARG002 - they follow from the input
        return self._node("DepthToSpace", [x], blocksize=2, mode="DCR")
