"""ONNX files, by our own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from impasto.errors import require
from impasto.export.model import IMAGE, PASTICHE, Array, Exportable, Painter
from impasto.files import write_whole
from impasto.runtimes import nodes


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:  # noqa: ARG001 - sides are free
    """Write one file; height, width and batch are free."""
    write_whole(path, model_bytes(model))


def model_bytes(model: Exportable) -> bytes:
    """The file's contents.

    The graph is our own: smaller than that of PyTorch's exporter, and quicker (bench/RESULTS.md, "Exported").
    """
    onnx: Any = require("onnx", nodes.EXTRA)
    proto = onnx.load_from_string(model.graph())
    onnx.helper.set_model_props(proto, dict(model.metadata))
    return bytes(proto.SerializeToString())


def load(path: Path, model: Exportable) -> tuple[Painter, str]:
    """ONNX Runtime, on the CPU."""
    runtime: Any = require("onnxruntime", nodes.EXTRA)
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def paint(image: Array, second: Array) -> Array:
        made: Array = session.run([PASTICHE], {IMAGE: image, model.second: second})[0]
        return made

    return paint, f"onnxruntime {runtime.__version__}"
