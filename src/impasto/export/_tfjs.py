"""Runs graph models of TensorFlow.js as they lie on the disk: in Node, or each operation in PyTorch."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import StyleError
from impasto.export.model import CODE, IMAGE, PASTICHE, Array, Painter

MODEL = "model.json"

_IN_NODE = """
const [library, folder, ...sides] = process.argv.slice(1);
console.log = console.warn = () => {};  // it recommends another package
const fs = require('fs'), tf = require(library);
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const plain = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const load = () => tf.io.getModelArtifactsForJSON(JSON.parse(read('model.json')), async (groups) => [
  groups.flatMap((group) => group.weights),
  plain(Buffer.concat(groups.flatMap((group) => group.paths).map(read))),
]);
const [batch, height, width] = sides.map(Number), given = new Float32Array(plain(fs.readFileSync(0)));
const count = batch * height * width * 3;
tf.loadGraphModel({ load }).then((model) => {
  const image = tf.tensor(given.slice(0, count), [batch, height, width, 3]);
  const code = tf.tensor(given.slice(count), [batch, (given.length - count) / batch]);
  const made = model.execute({ image, code }).dataSync();
  process.stdout.write(new Uint8Array(made.buffer, made.byteOffset, made.byteLength));
});
"""


def spelled(value: str | bool | int | list[int]) -> dict[str, Any]:
    """An attribute as protocol buffers spell it in JSON: bytes in base64, and integers, which may be long, as text."""
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    return {"list": {"i": [str(one) for one in value]}} if isinstance(value, list) else {"i": str(value)}


def in_node(node: str, library: Path, folder: Path) -> Painter:
    """Paints with TensorFlow.js.

    Args:
        node: the program.
        library: TensorFlow.js, one file.
        folder: the model.
    """

    def paint(image: Array, code: Array) -> Array:
        batch, _, height, width = image.shape
        given = image.transpose(0, 2, 3, 1).tobytes() + code.tobytes()
        command = [node, "-e", _IN_NODE, str(library.absolute()), str(folder.absolute())]
        done = subprocess.run(  # noqa: S603 - Node, as the user has it
            [*command, *map(str, (batch, height, width))], input=given, capture_output=True, check=False
        )
        if done.returncode or len(done.stdout) != image.nbytes:
            told = next((line for line in done.stderr.decode(errors="replace").splitlines() if "Error" in line), "")
            raise StyleError(f"TensorFlow.js cannot paint with what was written: {told}", "please report it")
        return np.frombuffer(done.stdout, np.float32).reshape(batch, height, width, 3).transpose(0, 3, 1, 2)

    return paint


def by_hand(folder: Path) -> Painter:
    """Does each operation of the folder in PyTorch."""
    whole = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    held, at = dict[str, Tensor](), 0
    (group,) = whole["weightsManifest"]
    data = b"".join((folder / name).read_bytes() for name in group["paths"])
    for entry in group["weights"]:
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, entry["dtype"], count, at).reshape(entry["shape"])
        held[entry["name"]], at = torch.from_numpy(values.copy()), at + values.nbytes

    def paint(image: Array, code: Array) -> Array:
        values = {**held, IMAGE: torch.from_numpy(image).permute(0, 2, 3, 1), CODE: torch.from_numpy(code)}
        with torch.inference_mode():
            for node in whole["modelTopology"]["node"]:
                if node["op"] not in ("Placeholder", "Const"):
                    given = [values[name] for name in node["input"]]
                    made = _OPERATIONS[node["op"]]({key: _read(one) for key, one in node["attr"].items()}, *given)
                    parts = made if isinstance(made, tuple) else (made,)
                    names = [node["name"], *(f"{node['name']}:{number}" for number in range(1, len(parts)))]
                    values.update(zip(names, parts, strict=True))
        return values[PASTICHE].permute(0, 3, 1, 2).numpy()

    return paint


def _read(attribute: Mapping[str, Any]) -> Any:
    """What `spelled` has spelled."""
    ((kind, value),) = attribute.items()
    if kind == "list":
        return [int(one) for one in value["i"]]
    return value if kind == "b" else int(value) if kind == "i" else base64.b64decode(value).decode()


def _convolution(given: Mapping[str, Any], x: Tensor, weight: Tensor, groups: int) -> Tensor:
    assert given["padding"] == "VALID"
    return F.conv2d(x.permute(0, 3, 1, 2), weight, None, given["strides"][1:3], groups=groups).permute(0, 2, 3, 1)


def _padded(x: Tensor, border: Tensor, mode: str) -> Tensor:
    return torch.from_numpy(np.pad(x.numpy(), border.tolist(), mode))  # type: ignore[call-overload]


def _cut(given: Mapping[str, Any], x: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    whole = given.get("begin_mask", 0)
    assert whole == given.get("end_mask", 0)
    places = enumerate(zip(begins.tolist(), ends.tolist(), strict=True))
    return x[tuple(slice(None) if whole >> axis & 1 else slice(*place) for axis, place in places)]


def _shuffled(x: Tensor, block: int) -> Tensor:
    batch, height, width, _ = x.shape
    parts = x.reshape(batch, height, width, block, block, -1).transpose(2, 3)
    return parts.reshape(batch, block * height, block * width, -1)


_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "AddV2": lambda _, x, y: x + y,
    "ConcatV2": lambda _, *given: torch.cat(given[:-1], int(given[-1])),
    "Conv2D": lambda given, x, kernel: _convolution(given, x, kernel.permute(3, 2, 0, 1), 1),
    "DepthToSpace": lambda given, x: _shuffled(x, given["block_size"]),
    "DepthwiseConv2dNative": lambda given, x, kernel: _convolution(given, x, kernel.permute(2, 3, 0, 1), x.shape[3]),
    "FloorMod": lambda _, x, y: x % y,
    "Mean": lambda given, x, axes: x.mean(axes.tolist(), keepdim=given["keep_dims"]),
    "MirrorPad": lambda given, x, border: _padded(x, border, given["mode"].lower()),
    "Mul": lambda _, x, y: x * y,
    "Pad": lambda _, x, border: _padded(x, border, "constant"),
    "Relu": lambda _, x: F.relu(x),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "Rsqrt": lambda _, x: torch.rsqrt(x),
    "Shape": lambda _, x: torch.tensor(x.shape, dtype=torch.int32),
    "Sigmoid": lambda _, x: torch.sigmoid(x),
    "SplitV": lambda _, x, sizes, axis: torch.split(x, sizes.tolist(), int(axis)),
    "Square": lambda _, x: x * x,
    "StridedSlice": lambda given, x, begins, ends, _: _cut(given, x, begins, ends),
    "Sub": lambda _, x, y: x - y,
}
