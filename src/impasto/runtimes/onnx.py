"""ONNX Runtime, which runs networks without torch, and without the package onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import device
from impasto.errors import InputError, require
from impasto.models import onnx_files
from impasto.runtimes.nodes import EXTRA


class Session:
    """A graph in ONNX Runtime, on the CPU.

    Args:
        graph: the bytes of an ONNX file.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        InputError: it cannot run the graph.
    """

    def __init__(self, graph: bytes) -> None:
        runtime: Any = require("onnxruntime", EXTRA)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = device.cores()
        try:
            self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base class of their own
            raise InputError("ONNX Runtime cannot run this network", onnx_files.HINT) from error

        self._inputs = [one.name for one in self._session.get_inputs()]

    def run(self, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `sessions.Session`."""
        made: NDArray[np.float32] = self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))[0]
        return made

    def run_frame(self, frame: NDArray[np.uint8], code: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See `sessions.Session`."""
        image = np.ascontiguousarray(frame.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        pastiche = np.rint(255 * self.run(image, code)[0].clip(0, 1)).astype(np.uint8)
        return np.ascontiguousarray(pastiche.transpose(1, 2, 0))
