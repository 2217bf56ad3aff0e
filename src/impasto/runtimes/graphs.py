"""A trained network as an ONNX graph, opset 17, built by the package onnx; and the folder where built ones are kept.

Importing onnx takes longer than painting a picture, so a graph is built once for each network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, ResourceError
from impasto.files import write_whole
from impasto.models import checkpoint
from impasto.models.network_specs import PALETTE_LENGTH
from impasto.runtimes.nodes import GraphWriter, Tensors

IMAGE, CODE, PASTICHE = "image", "code", "pastiche"
"""The inputs, `(B, 3, H, W)` and `(B, N)`, and the output `(B, 3, H, W)`, all float32; pictures in [0, 1]."""

HALF = "half"
"""Name of the constant that is taken off the picture, so that its numbers lie around 0."""

LEAST = 4
"""Strides that a side must have at least; smaller pictures are extended by mirroring, as `FeedForward` does."""

EPSILON = 1e-5
"""Of the instance normalisation; a test holds it to `impasto.ops.stats`."""

_STYLE = "style."
_END = 1 << 40  # of a slice: beyond all sides
_DOUBLED_AT_ONCE = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
"""Which of a kernel's weights make each of the four of the transposed one that doubles, too."""
_UNDOUBLED = np.array([[[[k == 2 * a + p - u for k in range(3)] for p in (0, 1)] for a in (0, 1)] for u in (0, 1)])

_MOST_PIECES = 6  # WebGPU promises eight buffers to a shader

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
    inputs = {IMAGE: ("batch", 3, "height", "width"), CODE: ("batch", graph.code_length)}
    return graph.model(inputs, {PASTICHE: ("batch", 3, "height", "width")}, metadata)


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
    known_by = f"{digest_of(network)}-{_VERSION}{'t' if transposed else ''}"
    return kept(known_by, lambda: build(tensors, transposed=transposed), folder)


def kept(known_by: str, make: Callable[[], bytes], folder: Path) -> bytes:
    """A graph from the folder where built ones are kept, or made now; raises what `make` raises."""
    for path in folder.glob(f"{known_by}-*.onnx"):
        with suppress(OSError):
            data = path.read_bytes()
            if path.stem == f"{known_by}-{_digest(data)}":
                return data
            path.unlink()  # a byte of it was altered
    data = make()
    with suppress(OSError, InputError, ResourceError):  # a folder that takes none is no reason not to paint
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{known_by}-{_digest(data)}.onnx", data)
        for old in sorted(folder.glob("*.onnx"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return data


def digest_of(network: Path) -> str:
    """Identifies a file or folder of networks by its contents; read once, though asked for with each picture."""
    if network.is_dir():
        return _digest(" ".join(map(digest_of, sorted(filter(Path.is_file, network.iterdir())))).encode())
    return _digest_of(network, checkpoint.file_version(network))


@lru_cache(maxsize=32)
def _digest_of(network: Path, version: tuple[str | int, ...]) -> str:  # noqa: ARG001 - a part of the key
    with network.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


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
    return 14.0 * float(stem / 4 + max(6, tensors["full.weight"].shape[0]) if strided else 2 * stem)


class _Graph(GraphWriter):
    """Writes the nodes of one network."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self._scales: list[str] = []  # what remains of the code, piece by piece
        self._layers = 0

    def write(self) -> None:
        """All nodes, from the image to the pastiche."""
        self._pieces = self._sizes()
        image, sides = self.extended(IMAGE, stride_of(self._tensors))
        x = self._node("Sub", [image, self._constant(HALF, np.float32(0.5))])
        self.cut_off(self._pastiche(x), sides, PASTICHE)

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
            return self._squeezed(self._convolution(x, "head"))
        if "head.weight" not in self._tensors:
            return self._squeezed(self._doubling(x, "full"))
        windows = self._mirrored(self._relu(self._windows(x, "full")), len(self._tensors["full.bias"]))
        if "palette" in self._tensors:
            return self._squeezed(self._shuffled(self._between(windows), 3))
        return self._shuffled(self._node("Sigmoid", [self._between(windows)]), 3)

    def _squeezed(self, x: str) -> str:
        """Colours in [0, 1], as `networks.Network` mixes them."""
        if "palette" in self._tensors:
            share = self._constant("palette", self._take("palette").reshape(3, 1))
            rows = self._node("Reshape", [self._scales.pop(0), *self._ints([-1, 3, 4])])
            rows = self._node("Mul", [rows, share])
            mixing = self._node("Slice", [rows, *self._ints([0], [3], [2])])
            constant = self._node("Slice", [rows, *self._ints([3], [4], [2])])
            flat = self._node("MatMul", [mixing, self._node("Reshape", [x, *self._ints([0, 3, -1])])])
            added = self._node("Reshape", [self._node("Add", [flat, constant]), self._node("Shape", [x])])
            x = self._node("Add", [x, added])
        return self._node("Sigmoid", [x])

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

    def _numbered(self, group: str) -> list[str]:
        found = {".".join(name.split(".")[:2]) for name in self._tensors if name.startswith(f"{group}.")}
        return sorted(found, key=lambda name: int(name.split(".")[1]))

    def _sizes(self) -> list[int]:
        """How the code is cut: a scale and a shift for each normalised layer, and the palette."""
        shapes = {name: array.shape for name, array in self._tensors.items()}
        channels = [shapes[f"{name}.weight"][0] for name in ["stem", *self._numbered("down")]]
        for name in self._numbered("blocks"):
            part = ".pointwise" if f"{name}.first.pointwise.weight" in shapes else ""
            channels += [shapes[f"{name}.{half}{part}.weight"][0] for half in ("first", "second")]
        channels += [shapes[f"{name}.weight"][0] for name in self._numbered("up")]
        palette = [PALETTE_LENGTH] if "palette" in self._tensors else []
        return [size for count in channels for size in (count, count)] + palette

    def _half(self, x: str, name: str) -> str:
        """One of the two convolutions of a residual block."""
        if f"{name}.depthwise.weight" not in self._tensors:
            return self._convolution(x, name)
        groups = self._tensors[f"{name}.depthwise.weight"].shape[0]
        return self._convolution(self._convolution(x, f"{name}.depthwise", groups=groups), f"{name}.pointwise")

    def _convolution(self, x: str, name: str, *, stride: int = 1, groups: int = 1) -> str:
        weight = self._take(f"{name}.weight")
        bias = self._take(f"{name}.bias") if name == "head" else None
        return self._convolved(x, name, weight, bias, stride=stride, groups=groups)

    def _windows(self, x: str, name: str) -> str:
        """As `networks._Doubling.windows`: one small convolution makes the four pixels of each window."""
        bias = self._take(f"{name}.bias") if name == "full" else None
        return self._four_windows(x, name, self._take(f"{name}.weight"), bias)

    def _doubling(self, x: str, name: str) -> str:
        return self._from_windows(self._windows(x, name), len(self._tensors[f"{name}.weight"]))

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

    def _normalised(self, x: str) -> str:
        channels = self._pieces[2 * self._layers]
        self._layers += 1
        # all channels of all items as those of one, so that the scales and shifts of each go in at once
        flat = self._node("Reshape", [x, *self._ints([1, -1, 0, 0])])
        scale, shift = (self._node("Reshape", [self._scales.pop(0), *self._ints([-1])]) for _ in range(2))
        normal = self._node("InstanceNormalization", [flat, scale, shift], epsilon=EPSILON)
        return self._node("Reshape", [normal, *self._ints([-1, channels, 0, 0])])


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

    def _mirrored(self, windows: str, part: int) -> str:
        """The same by whole rows and columns, of which the outermost alone change: OpenVINO joins channels slowly."""
        for axis, pixels in ((2, (0, 0, 1, 1)), (3, (0, 1, 0, 1))):
            edges = []
            for at in ((1, 0), (-1, -2)):  # where the first and the last position take the two pixels from
                taken = []
                for number, pixel in enumerate(pixels):
                    start = at[pixel]
                    cut = [number * part, start], [(number + 1) * part, start + 1 or _END], [1, axis]
                    taken.append(self._node("Slice", [windows, *self._ints(*cut)]))
                edges.append(self._node("Concat", taken, axis=1))
            inside = self._node("Slice", [windows, *self._ints([1], [-1], [axis])])
            windows = self._node("Concat", [edges[0], inside, edges[1]], axis=axis)
        return windows

    def _shuffled(self, x: str, channels: int) -> str:  # noqa: ARG002 - they follow from the input
        return self._node("DepthToSpace", [x], blocksize=2, mode="DCR")
