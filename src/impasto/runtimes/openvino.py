"""OpenVINO, which runs networks without torch: in float32, bfloat16 or, from a quantised file, INT8.

A graph is compiled for each size of pictures, since it then runs a third quicker than one for all; what was compiled is
kept on disk. Of pictures of many sizes the later ones share a graph for any size.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import device
from impasto.errors import InputError
from impasto.models import onnx_files
from impasto.runtimes._openvino import import_openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_SIZES = 4  # for which a graph of their own is compiled
_KEPT = 16  # compiled graphs on disk, the newest; each takes about twice the bytes of its network


class Session:
    """A graph in OpenVINO, on the CPU.

    Args:
        graph: the bytes of an ONNX file.
        precision: "float32" or "bfloat16"; what is quantised in the graph runs in INT8 all the same.
        cache: folder where compiled graphs are kept; None keeps none.

    Raises:
        MissingExtra: OpenVINO is not installed.
        InputError: it cannot run the graph.
    """

    def __init__(self, graph: bytes, precision: str = "float32", cache: Path | None = None) -> None:
        openvino = import_openvino()
        self._graph, self._cache = graph, cache
        self._core = openvino.Core()
        self._options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": device.cores(),
        }
        if cache is not None and _writable(cache):
            self._options["CACHE_DIR"] = str(cache)
        self._compiled: dict[tuple[bool, tuple[tuple[int, ...], ...]], Any] = {}
        self._lock = threading.Lock()
        self._model()  # what is no graph is told now

    def run(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `sessions.Session`."""
        # one after the other: a batch is no quicker on a processor, and each of its sizes would be compiled
        found = [self._one([one[i : i + 1] for one in inputs]) for i in range(len(inputs[0]))]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _one(self, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        request = self._for(tuple(one.shape for one in inputs), frames=False).create_infer_request()
        found = request.infer([np.ascontiguousarray(one) for one in inputs], share_inputs=True)
        return np.array(found[0])

    def run_frame(self, frame: NDArray[np.uint8], code: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See `sessions.Session`; OpenVINO converts, in the layout in which it computes."""
        shapes = ((1, 3, *frame.shape[:2]), code.shape)
        request = self._for(shapes, frames=True).create_infer_request()
        found = request.infer([np.ascontiguousarray(frame)[None], np.ascontiguousarray(code)], share_inputs=True)
        return np.array(found[0][0])

    def _model(self) -> Any:
        try:
            return self._core.read_model(self._graph)
        except RuntimeError as error:
            raise InputError("OpenVINO cannot run this network", onnx_files.HINT) from error

    def _for(self, shapes: tuple[tuple[int, ...], ...], *, frames: bool) -> Any:
        """The graph for inputs of these shapes, compiled; or that for all. frames: of 8 bits, channels last."""
        key = frames, shapes
        with self._lock:
            if key not in self._compiled and len(self._compiled) >= _SIZES:
                key = frames, ()
            if key not in self._compiled:
                model = self._model()
                if key[1]:
                    model.reshape({one.any_name: list(shape) for one, shape in zip(model.inputs, shapes, strict=True)})
                model = self._for_frames(model) if frames else model
                self._compiled[key] = self._core.compile_model(model, "CPU", self._options)
                self._drop_oldest()
            return self._compiled[key]

    def _for_frames(self, model: Any) -> Any:
        """The graph from 8 bits to 8 bits, channels last: nothing is left to be converted outside."""
        from openvino import Layout, Type, preprocess  # type: ignore[import-untyped]

        around = preprocess.PrePostProcessor(model)
        image, pastiche = around.input(0), around.output(0)
        image.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
        image.preprocess().convert_element_type(Type.f32).scale(255.0)
        image.model().set_layout(Layout("NCHW"))
        pastiche.postprocess().custom(_in_codes)
        pastiche.model().set_layout(Layout("NCHW"))
        pastiche.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
        return around.build()

    def _drop_oldest(self) -> None:
        """Keep the newest of the compiled graphs on disk."""
        if "CACHE_DIR" not in self._options or self._cache is None:
            return
        with suppress(OSError):
            for old in sorted(self._cache.glob("*.blob"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
                old.unlink(missing_ok=True)


def _in_codes(pastiche: Any) -> Any:
    """Behind the graph: from [0, 1] to 0 to 255, for a conversion that cuts, and wraps what is beyond."""
    from openvino import opset13

    scaled = opset13.multiply(opset13.clamp(pastiche, 0.0, 1.0), np.float32(255))
    return opset13.add(scaled, np.float32(0.5)).output(0)


def _writable(folder: Path) -> bool:
    """Whether the folder takes files; it is made if it can be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (probe := folder / ".probe").open("wb"):
            pass
        probe.unlink(missing_ok=True)
    except OSError:
        return False
    return True
