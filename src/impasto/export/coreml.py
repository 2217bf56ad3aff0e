"""Core ML packages, read back and run operation by operation in PyTorch, since Core ML itself runs on Apple's alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import StyleError, require
from impasto.export._quiet import silent
from impasto.export.model import CODE, IMAGE, PASTICHE, Array, Exportable, Painter

EXTRA = "coreml"
_MOST = 2048  # pixels along a side, where sides are free


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:
    """Write a package, for one shape or for sides that are multiples of the network's stride.

    Numbers stay float32; Xcode's or coremltools' own tools make them smaller.
    """
    tools = _tools()
    side = tools.RangeDim(4 * model.stride, _MOST, default=512)
    code = model.seconds[0]
    inputs = [
        tools.TensorType(IMAGE, shape=(1, 3, *(shape or (side, side)))),
        tools.TensorType(CODE, shape=code.shape),
    ]
    image = torch.zeros(1, 3, *(shape or (8 * model.stride, 8 * model.stride)))
    with silent():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            model.module(False), (image, torch.from_numpy(code)), check_trace=False
        )
        converted = tools.convert(
            traced,
            inputs=inputs,
            outputs=[tools.TensorType(PASTICHE)],
            minimum_deployment_target=tools.target.iOS16,
            compute_precision=tools.precision.FLOAT32,
            skip_model_load=True,
        )
        converted.user_defined_metadata.update(model.metadata)
        converted.short_description = f"{model.name}: {model.metadata['ranges']}"
        converted.license = model.metadata["licence"]
        converted.save(str(path))


def _tools() -> Any:
    """The package coremltools, which tells of Apple's libraries that other systems lack."""
    with silent():
        return require("coremltools", EXTRA)


def load(path: Path, model: Exportable) -> tuple[Painter, str]:  # noqa: ARG001 - inputs are told by their names
    """The package as it lies on the disk, each of its operations done by PyTorch."""
    tools = _tools()
    reader: Any = require("coremltools.converters.mil.frontend.milproto.load", EXTRA)
    with silent():
        stored = tools.models.MLModel(str(path), skip_model_load=True)
        spec = stored.get_spec()
        program = reader.load(spec, spec.specificationVersion, file_weights_dir=stored.weights_dir)
    block = program.functions["main"]

    def paint(image: Array, second: Array) -> Array:
        with torch.inference_mode():
            made = _run(block, {IMAGE: torch.from_numpy(image), CODE: torch.from_numpy(second)})
        return made.numpy()

    return paint, f"coremltools {tools.__version__}, operation by operation"


def _run(block: Any, values: dict[str, Tensor]) -> Tensor:
    for step in block.operations:
        if step.op_type == "const":
            continue
        if step.op_type not in _OPERATIONS:
            raise StyleError(f"the Core ML package has an operation {step.op_type}, which the check does not know", "")
        given = {name: _value(one, values) for name, one in step.inputs.items()}
        made = _OPERATIONS[step.op_type](given)
        for output, value in zip(step.outputs, made if isinstance(made, tuple) else (made,), strict=True):
            values[output.name] = value
    return values[block.outputs[0].name]


def _value(one: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(one, list | tuple):
        return [_value(part, values) for part in one]
    if one.name in values:
        return values[one.name]
    held = one.val
    return torch.from_numpy(np.array(held)) if isinstance(held, np.ndarray) and held.dtype.kind == "f" else held


def _integers(values: Any) -> list[int]:
    return [int(value) for value in np.asarray(values).reshape(-1)]


def _pad(given: Mapping[str, Any]) -> Tensor:
    ends = _integers(given["pad"])
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    flat = [side for pair in reversed(pairs) for side in pair]
    while len(flat) > 4:
        assert flat[-2:] == [0, 0]
        flat = flat[:-2]
    return F.pad(given["x"], flat, mode={"reflect": "reflect", "replicate": "replicate"}[str(given["mode"])])


def _convolution(given: Mapping[str, Any]) -> Tensor:
    assert str(given.get("pad_type", "valid")) == "valid" or not any(_integers(given.get("pad", 0)))
    strides = _integers(given.get("strides", [1, 1]))
    return F.conv2d(given["x"], given["weight"], given.get("bias"), strides, groups=int(given.get("groups", 1)))


def _slice(given: Mapping[str, Any]) -> Tensor:
    x: Tensor = given["x"]
    count = x.dim()
    begins, ends = _integers(given["begin"]), _integers(given["end"])
    from_start, to_end = (
        np.asarray(given.get(name) if given.get(name) is not None else [False] * count).reshape(-1)
        for name in ("begin_mask", "end_mask")
    )
    places = [
        slice(None if from_start[axis] else begins[axis], None if to_end[axis] else ends[axis]) for axis in range(count)
    ]
    return x[tuple(places)]


def _expanded(given: Mapping[str, Any]) -> Tensor:
    x: Tensor = given["x"]
    for axis in sorted(_integers(given["axes"])):
        x = x.unsqueeze(axis)
    return x


_OPERATIONS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "add": lambda given: given["x"] + given["y"],
    "sub": lambda given: given["x"] - given["y"],
    "mul": lambda given: given["x"] * given["y"],
    "relu": lambda given: F.relu(given["x"]),
    "sigmoid": lambda given: torch.sigmoid(given["x"]),
    "rsqrt": lambda given: torch.rsqrt(given["x"] + float(given.get("epsilon", 0.0))),
    "reduce_mean": lambda given: given["x"].mean(_integers(given["axes"]), keepdim=bool(given["keep_dims"])),
    "pixel_shuffle": lambda given: F.pixel_shuffle(given["x"], int(given["upscale_factor"])),
    "split": lambda given: torch.split(given["x"], _integers(given["split_sizes"]), int(given["axis"])),
    "expand_dims": _expanded,
    "slice_by_index": _slice,
    "pad": _pad,
    "conv": _convolution,
}
