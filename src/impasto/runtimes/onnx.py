"""A trained network as an ONNX graph, written without torch or onnx, and ONNX Runtime, which paints with it.

The file is protocol buffers, and our graph needs so few of their messages that they are written here by hand.
Source of the numbers of fields and of the operators: onnx/onnx.proto and Operators.md of the ONNX project, opset 17.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import device
from impasto.errors import InputError, require
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
_FLOAT, _INT64 = 1, 7  # of TensorProto.DataType
_DOUBLED = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)
_UNDOUBLED = np.array([[[[k == 2 * a + p - u for k in range(3)] for p in (0, 1)] for a in (0, 1)] for u in (0, 1)])

EXTRA = "onnx"


def read(path: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """A network's tensors in float32, and what its file says of itself.

    Raises:
        InputError: it is missing, not an Impasto network, or of a newer format.
    """
    stored, about = checkpoint.read(path, "numpy")
    return {name: array.astype(np.float32) for name, array in stored.items()}, about


def stride_of(tensors: Tensors) -> int:
    """How many pixels one position of the coarsest level stands for."""
    downs = sum(name.startswith("down.") for name in tensors)
    return int(2**downs * (2 if "full.weight" in tensors else 1))


def code_of(tensors: Tensors, style: str) -> NDArray[np.float32]:
    """A style's code, `(1, N)`."""
    return tensors[_STYLE + style].astype(np.float32)[None]


def memory_of(tensors: Tensors) -> float:
    """Bytes a pixel that a pass of ONNX Runtime takes at its peak, estimated."""
    # measured: tiny 198, small 311, johnson 442; what lies at full size decides
    stem = tensors["stem.weight"].shape[0]
    strided = "full.weight" in tensors
    return 14.0 * float(stem / 4 + tensors["full.weight"].shape[0] if strided else 2 * stem)


def build(tensors: Tensors, about: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of an ONNX file.

    Height, width and batch are free; sides that are no multiples of the stride are mirrored inside and cut off again.

    Args:
        tensors: of a network's file, by name.
        about: what the file says of itself; goes into the metadata as JSON (`impasto`), the codes too (`codes`).

    Raises:
        InputError: they are not those of an Impasto network.
    """
    shared = {name: array for name, array in tensors.items() if not name.startswith(_STYLE)}
    graph = _Graph(shared)
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
    return [float(f"{value:.8g}") for value in code.astype(np.float64)]


def is_installed() -> bool:
    """Whether ONNX Runtime is there."""
    return find_spec("onnxruntime") is not None


class Runtime:
    """A trained network in ONNX Runtime, on the CPU.

    Args:
        tensors: of the network's file, by name, float32.

    Raises:
        InputError: they are not those of an Impasto network.
        MissingExtra: ONNX Runtime is not installed.
    """

    def __init__(self, tensors: Tensors) -> None:
        runtime: Any = require("onnxruntime", EXTRA)
        self._tensors = tensors
        options = runtime.SessionOptions()
        options.intra_op_num_threads = device.cores()
        self._session = runtime.InferenceSession(build(tensors), options, providers=["CPUExecutionProvider"])
        self.memory = memory_of(self._tensors)

    def paint(self, photograph: NDArray[np.float32], shares: Mapping[str, float]) -> NDArray[np.float32]:
        """A pastiche `(H, W, 3)` of a photograph `(H, W, 3)` in [0, 1].

        Args:
            photograph: of any size.
            shares: of the styles by name, summing to 1.
        """
        code = sum(share * code_of(self._tensors, name) for name, share in shares.items())
        height, width = photograph.shape[:2]
        least = LEAST * stride_of(self._tensors)
        border = [(0, max(0, least - height)), (0, max(0, least - width)), (0, 0)]
        image = np.pad(photograph, border, mode="reflect").transpose(2, 0, 1)[None]
        named = {IMAGE: np.ascontiguousarray(image), CODE: code}
        pastiche: NDArray[np.float32] = self._session.run([PASTICHE], named)[0]
        return np.ascontiguousarray(pastiche[0, :, :height, :width].transpose(1, 2, 0))


class _Graph:
    """Writes the nodes of one network, each after those that it needs."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors, self._nodes, self._held = tensors, list[bytes](), dict[str, NDArray[Any]]()
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
        sizes = self._constant("pieces", np.array(self._pieces, np.int64))
        names = [f"piece{number}" for number in range(len(self._pieces))]
        self._add("Split", [CODE, sizes], names, axis=1)
        self._scales = names
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
        windows = self._mirrored(self._relu(self._windows(x, "full")), len(self._tensors["full.bias"]))
        return self._shuffled(self._node("Sigmoid", [self._between(windows)]), 3)

    def _take(self, name: str) -> NDArray[Any]:
        self.used.add(name)
        return self._tensors[name]

    def _numbered(self, group: str) -> list[str]:
        found = {".".join(name.split(".")[:2]) for name in self._tensors if name.startswith(f"{group}.")}
        return sorted(found, key=lambda name: int(name.split(".")[1]))

    def _sizes(self) -> list[int]:
        """How the code is cut: a scale and a shift for each normalised layer."""
        shapes = {name: array.shape for name, array in self._tensors.items()}
        widths = [shapes[f"{name}.weight"][0] for name in ["stem", *self._numbered("down")]]
        channels = [*widths, *[widths[-1]] * (2 * len(self._numbered("blocks")))]
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
        self._held[name] = np.asarray(values)
        return name

    def _node(self, kind: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}{len(self._nodes)}"
        self._add(kind, inputs, [output], **attributes)
        return output

    def _add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        node = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
        node += _text(3, outputs[0]) + _text(4, kind)
        node += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(node)

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The whole file, a ModelProto."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _text(2, "impasto")
        graph += b"".join(_bytes(5, _tensor(name, values)) for name, values in self._held.items())
        inputs = {IMAGE: ("batch", 3, "height", "width"), CODE: ("batch", self.code_length)}
        graph += b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
        graph += _bytes(12, _value(PASTICHE, inputs[IMAGE]))
        file = _number(1, _IR) + _text(2, "impasto") + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))
        return file + b"".join(_bytes(14, _text(1, key) + _text(2, text)) for key, text in metadata.items())


def _attribute(name: str, value: Any) -> bytes:
    """An AttributeProto: a float, an integer, a string or a list of integers."""
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + np.float32(value).tobytes() + _number(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    """A TensorProto of float32 or int64."""
    kind = _INT64 if values.dtype == np.int64 else _FLOAT
    raw = np.ascontiguousarray(values, "<i8" if kind == _INT64 else "<f4").tobytes()
    return b"".join(_number(1, side) for side in values.shape) + _number(2, kind) + _text(8, name) + _bytes(9, raw)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of float32; sides in words are free."""
    sides = (_number(1, side) if isinstance(side, int) else _text(2, side) for side in shape)
    tensor = _number(1, _FLOAT) + _bytes(2, b"".join(_bytes(1, side) for side in sides))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the numbers of our graph are never negative."""
    done = bytearray()
    while value > 0x7F:
        done.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*done, value])
