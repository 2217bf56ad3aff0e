"""OpenVINO's files: an .xml with the graph, and a .bin with the weights beside it."""

from __future__ import annotations

from pathlib import Path

from impasto.export import onnx
from impasto.export.model import IMAGE, PASTICHE, Array, Exportable, Painter
from impasto.runtimes._openvino import import_openvino


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:  # noqa: ARG001 - sides are free
    """Write both files from the ONNX graph; weights keep their 16 bits, in which networks are stored."""
    openvino = import_openvino()
    # read_model does the work of convert_model, which tells its makers of each use
    converted = openvino.Core().read_model(onnx.model_bytes(model))
    for name, text in model.metadata.items():
        converted.set_rt_info(text, ["impasto", name])
    openvino.save_model(converted, path, compress_to_fp16=False)


def load(path: Path, model: Exportable) -> tuple[Painter, str]:
    """OpenVINO on the CPU, in float32: by itself it computes in bfloat16 where the processor can."""
    openvino = import_openvino()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def paint(image: Array, second: Array) -> Array:
        made: Array = compiled({IMAGE: image, model.second: second})[PASTICHE].copy()
        return made

    return paint, f"openvino {openvino.__version__.partition('-')[0]}"
