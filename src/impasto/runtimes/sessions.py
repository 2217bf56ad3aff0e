"""Trained networks in ONNX Runtime or OpenVINO: read from their files, opened, and run on batches or photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, MissingExtra
from impasto.models import onnx_files
from impasto.runtimes import graphs, onnx, openvino
from impasto.runtimes.nodes import Tensors

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_STYLE = "style."
_MOST_STRIDE = 8  # of our architectures: for files that do not tell theirs
_MOST_MEMORY = 450.0  # bytes a pixel, of johnson, the largest


class Session(Protocol):
    """A graph that is ready to run."""

    def run(self, *inputs: Floats) -> Floats:
        """What the graph gives for its inputs, in its order; the first axis of each is the batch.

        A trained network's takes `images (B, 3, H, W)` in [0, 1] and `codes (B, N)`, and gives pastiches
        `(B, 3, H, W)`.
        """

    def run_frame(self, frame: Bytes, code: Floats) -> Bytes:
        """The pastiche `(H, W, 3)` of a frame `(H, W, 3)`, both 8 bits, painted by a `code (1, N)`."""


@dataclass(frozen=True)
class RuntimeRow:
    """What can run a trained network beside torch.

    Attributes:
        name: what `--runtime` takes.
        package: the module whose presence tells whether it is installed.
        title: for people.
        precisions: that it computes in.
    """

    name: str
    package: str
    title: str
    precisions: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether its package is there; nothing is imported."""
        return find_spec(self.package) is not None

    def check_installed(self) -> None:
        """Raises MissingExtra where it is not installed."""
        if not self.is_installed:
            line = f'pip install "impasto[{self.name}]"'
            raise MissingExtra(f"{self.package} is not installed, and --runtime {self.name} needs it", line)


RUNTIMES: Mapping[str, RuntimeRow] = {
    row.name: row
    for row in (
        RuntimeRow("onnx", "onnxruntime", "ONNX Runtime", ("float32",)),
        RuntimeRow("openvino", "openvino", "OpenVINO", ("float32", "bfloat16")),
    )
}
"""By name, in the order in which they are taken where nothing was measured."""


def installed() -> tuple[str, ...]:
    """Names of those that are there."""
    return tuple(name for name, row in RUNTIMES.items() if row.is_installed)


@dataclass(frozen=True)
class NetworkGraph:
    """A trained network as runtimes take it.

    Attributes:
        data: the bytes of an ONNX file.
        codes: of its styles, `(N,)` each.
        stride: sides that are no multiples of it are extended.
        memory: bytes a pixel that a pass takes at its peak, estimated.
        for_openvino: gives the bytes that OpenVINO runs quickest; `data` for a file that holds a graph.
    """

    data: bytes
    codes: Mapping[str, Floats]
    stride: int = _MOST_STRIDE
    memory: float = _MOST_MEMORY
    for_openvino: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def read(cls, network: Path, folder: Path | None = None) -> NetworkGraph:
        """A network from its file, `.safetensors` or `.onnx`.

        Args:
            network: its file.
            folder: where graphs are kept that were built.

        Raises:
            InputError: it is missing, or not an Impasto network.
            MissingExtra: its graph was never built, and the package onnx is not installed.
        """
        if network.suffix == onnx_files.SUFFIX:
            try:
                data = network.read_bytes()
            except OSError as error:
                raise InputError(f"{network} cannot be read as a network", onnx_files.HINT) from error
            codes = onnx_files.header_of(data, network)[1]
            return cls(data, {name: np.array(code, np.float32) for name, code in codes.items()})
        tensors, _ = graphs.read(network)
        if folder is None:
            return cls.of(tensors)
        found = cls.of(tensors, graphs.cached(network, tensors, folder))
        return replace(found, for_openvino=lambda: graphs.cached(network, tensors, folder, transposed=True))

    @classmethod
    def of(cls, tensors: Tensors, data: bytes | None = None) -> NetworkGraph:
        """Of the tensors of a `.safetensors` file; raises as `graphs.build`, unless its graph is given."""
        data = graphs.build(tensors) if data is None else data
        codes = {name.removeprefix(_STYLE): array for name, array in tensors.items() if name.startswith(_STYLE)}
        stride, memory = graphs.stride_of(tensors), graphs.memory_of(tensors)
        return cls(data, codes, stride, memory, lambda: graphs.build(tensors, transposed=True))

    def open(self, runtime: str, precision: str = "float32", cache: Path | None = None) -> Session:
        """The graph in a runtime.

        Args:
            runtime: "onnx" or "openvino".
            precision: of the convolutions; see `RuntimeRow.precisions`.
            cache: where OpenVINO keeps what it has compiled.

        Raises:
            MissingExtra: the runtime is not installed.
            InputError: the graph cannot be run.
        """
        data = self.data
        if runtime == "openvino" and self.for_openvino is not None:
            with suppress(MissingExtra):  # without the package onnx what was kept runs, if slower
                data = self.for_openvino()
        return open_graph(data, runtime, precision, cache)


def open_graph(graph: bytes, runtime: str, precision: str = "float32", cache: Path | None = None) -> Session:
    """The bytes of an ONNX file in a runtime; see `NetworkGraph.open`."""
    if runtime == "onnx":
        return onnx.Session(graph)
    return openvino.Session(graph, precision, cache)


@dataclass(frozen=True)
class Runtime:
    """A trained network, opened: what paints photographs without torch.

    Attributes:
        graph: the network.
        session: the same in a runtime.
        name: of the runtime.
        precision: that it computes in.
    """

    graph: NetworkGraph
    session: Session
    name: str
    precision: str

    def paint(self, photograph: Floats, shares: Mapping[str, float]) -> Floats:
        """A pastiche `(H, W, 3)` of a photograph `(H, W, 3)` in [0, 1].

        Args:
            photograph: of any size.
            shares: of the styles by name, summing to 1.
        """
        code: Any = sum(np.float32(share) * self.graph.codes[name] for name, share in shares.items())
        height, width = photograph.shape[:2]
        least = graphs.LEAST * self.graph.stride
        border = [(0, max(0, least - height)), (0, max(0, least - width)), (0, 0)]
        image = np.pad(photograph, border, mode="reflect").transpose(2, 0, 1)[None]
        pastiche = self.session.run(np.ascontiguousarray(image), code[None].astype(np.float32))
        return np.ascontiguousarray(pastiche[0, :, :height, :width].transpose(1, 2, 0))
