"""ONNX Runtime, which paints with a trained network without torch, and without the package onnx."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import device
from impasto.errors import require
from impasto.models import checkpoint
from impasto.runtimes.graphs import CODE, EXTRA, IMAGE, PASTICHE, Tensors, build, cached, stride_of

LEAST = 4
"""Strides that a side must have at least; smaller pictures are extended by mirroring, as `FeedForward` does."""

_STYLE = "style."


def read(path: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """A network's tensors in float32, and what its file says of itself.

    Raises:
        InputError: it is missing, not an Impasto network, or of a newer format.
    """
    stored, about = checkpoint.read(path, "numpy")
    return {name: array.astype(np.float32) for name, array in stored.items()}, about


def code_of(tensors: Tensors, style: str) -> NDArray[np.float32]:
    """A style's code, `(1, N)`."""
    return tensors[_STYLE + style].astype(np.float32)[None]


def memory_of(tensors: Tensors) -> float:
    """Bytes a pixel that a pass of ONNX Runtime takes at its peak, estimated."""
    # measured: tiny 198, small 311, johnson 442; what lies at full size decides
    stem = tensors["stem.weight"].shape[0]
    strided = "full.weight" in tensors
    return 14.0 * float(stem / 4 + tensors["full.weight"].shape[0] if strided else 2 * stem)


def is_installed() -> bool:
    """Whether ONNX Runtime is there."""
    return find_spec("onnxruntime") is not None


class Runtime:
    """A trained network in ONNX Runtime, on the CPU.

    Args:
        tensors: of the network's file, by name, float32.
        graph: that they make; built where none is given.

    Raises:
        InputError: they are not those of an Impasto network.
        MissingExtra: ONNX Runtime is not installed, or onnx is not and has to build the graph.
    """

    def __init__(self, tensors: Tensors, graph: bytes | None = None) -> None:
        runtime: Any = require("onnxruntime", EXTRA)
        self._tensors = tensors
        options = runtime.SessionOptions()
        options.intra_op_num_threads = device.cores()
        data = build(tensors) if graph is None else graph
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.memory = memory_of(self._tensors)

    @classmethod
    def load(cls, network: Path, folder: Path) -> Runtime:
        """A network from its file, by a graph that is kept in `folder`. Raises as the class."""
        tensors, _ = read(network)
        return cls(tensors, cached(network, tensors, folder))

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
