"""ONNX files: trained networks by our own writer, AdaIN by PyTorch's exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from impasto.errors import require
from impasto.export._quiet import quiet
from impasto.export.model import IMAGE, PASTICHE, STYLE, Array, Exportable, Painter
from impasto.files import write_whole
from impasto.runtimes import graphs

OPSET = 18


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:  # noqa: ARG001 - sides are free
    """Write one file; height, width and batch are free."""
    write_whole(path, model_bytes(model))


def model_bytes(model: Exportable) -> bytes:
    """The file's contents.

    A network's graph is our own: smaller than that of PyTorch's exporter, and half as quick again
    (bench/RESULTS.md, "Exported").
    """
    onnx: Any = require("onnx", graphs.EXTRA)
    data = graphs.build(model.tensors) if model.tensors is not None else by_torch(model)
    proto = onnx.load_from_string(data)
    onnx.helper.set_model_props(proto, dict(model.metadata))
    return bytes(proto.SerializeToString())


def by_torch(model: Exportable) -> bytes:
    """The file's contents by PyTorch's exporter, without metadata.

    Raises:
        MissingExtra: onnxscript is not installed.
    """
    require("onnxscript", "compress")
    image = torch.rand(2, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    second = image[:, :, :64] if model.second == STYLE else torch.from_numpy(np.repeat(model.seconds[0], 2, 0))
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    batch = torch.export.Dim("batch")
    seconds = {0: batch, **sides} if model.second == STYLE else {0: batch}
    with quiet("torch.onnx", "onnxscript"):
        program = torch.onnx.export(
            model.module(True),
            (image, second),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[IMAGE, model.second],
            output_names=[PASTICHE],
            dynamic_shapes=({0: batch, **sides}, seconds),
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def load(path: Path, model: Exportable) -> tuple[Painter, str]:
    """ONNX Runtime, on the CPU."""
    runtime: Any = require("onnxruntime", graphs.EXTRA)
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def paint(image: Array, second: Array) -> Array:
        made: Array = session.run([PASTICHE], {IMAGE: image, model.second: second})[0]
        return made

    return paint, f"onnxruntime {runtime.__version__}"
