"""Caches between pictures: stylizers, style codes and runtimes, shared by all threads of an engine.

A key is locked while its value is fetched, loaded or encoded, and nothing else is: other keys go on meanwhile. The
least recently used values leave when those that are kept take more bytes than allowed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from impasto import settings
from impasto.assets import Store, load_weights
from impasto.contract import OnProgress, Placement, Style, StyleCode, Stylizer, ignore
from impasto.models import onnx_files
from impasto.models.checkpoint import WeightsRef, file_version

if TYPE_CHECKING:
    from torch import Tensor

    from impasto.methods.registry import Method
    from impasto.runtimes.any_painters import AnyPainter, Code
    from impasto.runtimes.sessions import NetworkGraph, Runtime

MODEL_BYTES = 2 << 30
"""Weights that an engine keeps loaded; VGG-19 and AdaIN's decoder take 95 MB in float32."""

CODE_BYTES = 256 << 20
"""Style codes that an engine keeps; AdaIN's take 4 kB each, those of `optimize` some 2 MB a level."""

GRAPHS, COMPILED = "graphs", "compiled"
"""Folders of the cache in which built ONNX graphs lie, and what OpenVINO has compiled."""

V = TypeVar("V")


@dataclass(eq=False)
class _Entry(Generic[V]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    values: list[V] = field(default_factory=list)  # none or one
    bytes: int = 0


class Cache(Generic[V]):
    """Values by key, made once, the least recently used dropped beyond a number of bytes.

    Args:
        limit: bytes. The newest value is kept even if it takes more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()  # of the table alone
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[V, int]]) -> V:
        """The value of `key`; `make` gives it and its bytes the first time. Threads that ask for it meanwhile wait."""
        while True:
            with self._lock:
                entry = self._entries.setdefault(key, _Entry())
                self._entries.move_to_end(key)
            with entry.lock:
                if not entry.values:
                    if not self._holds(key, entry):  # the thread that made it failed, or all was dropped meanwhile
                        continue
                    self._fill(key, entry, make)
                return entry.values[0]

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._entries.clear()

    def _holds(self, key: Hashable, entry: _Entry[V]) -> bool:
        with self._lock:
            return self._entries.get(key) is entry

    def _fill(self, key: Hashable, entry: _Entry[V], make: Callable[[], tuple[V, int]]) -> None:
        try:
            value, entry.bytes = make()
        except BaseException:
            with self._lock:
                if self._entries.get(key) is entry:
                    del self._entries[key]
            raise
        entry.values.append(value)
        with self._lock:
            self._entries[key] = entry
            self._drop_oldest(entry)

    def _drop_oldest(self, newest: _Entry[V]) -> None:
        total = sum(entry.bytes for entry in self._entries.values())
        for key, entry in list(self._entries.items()):
            if total <= self._limit:
                return
            if entry is not newest and entry.values:
                total -= entry.bytes
                del self._entries[key]


class ModelCache:
    """Loaded stylizers, cached style codes, and runtimes of one engine.

    Args:
        store: where weights are.
        model_bytes, code_bytes: what is kept of each.
    """

    def __init__(self, store: Store, *, model_bytes: int = MODEL_BYTES, code_bytes: int = CODE_BYTES) -> None:
        self.store = store
        self._stylizers: Cache[Stylizer] = Cache(model_bytes)
        self._codes: Cache[StyleCode] = Cache(code_bytes)
        self._runtimes: Cache[Runtime] = Cache(model_bytes)
        self._any_painters: Cache[AnyPainter] = Cache(model_bytes)
        self._array_codes: Cache[Code] = Cache(code_bytes)

    @property
    def folder(self) -> Path:
        """Where weights lie, and what is measured and built once."""
        return self.store.root

    def stylizer(
        self,
        row: Method,
        placement: Placement,
        knobs: Any,
        on_progress: OnProgress = ignore,
        *,
        network: Path | None = None,
    ) -> Stylizer:
        """The loaded method; the weights that these settings need are fetched and loaded the first time.

        Those of a trained `network` are read from its file.
        """
        needed = row.needs(knobs)

        def load() -> tuple[Stylizer, int]:
            weights = self._weights(row, needed, network, on_progress)
            tensors = [tensor for own in weights.values() for tensor in own.values()]
            stylizer: Stylizer = row.load_class()(weights, placement)
            return stylizer, _bytes_of(tensors)

        return self._stylizers.get((row.name, placement, _version(network), _versions(needed)), load)

    def code(
        self, row: Method, placement: Placement, style: Style, knobs: Any, network: Path | None = None
    ) -> StyleCode:
        """A method's code of a style, computed once for all that shapes it."""
        key = (
            row.name,
            placement,
            _version(network),
            tuple((image.digest, image.pixels.shape, image.weight) for image in style.images),
            style.canvas,
            settings.style_key(knobs),
            _versions(row.needs(knobs)),
        )

        def encode() -> tuple[StyleCode, int]:
            code = self.stylizer(row, placement, knobs, network=network).encode_style(style, knobs)
            return code, _bytes_of(code.tensors.values())

        return self._codes.get(key, encode)

    def runtime(self, network: Path, name: str, precision: str) -> Runtime:
        """A trained network's file in ONNX Runtime or OpenVINO. Loads no torch.

        Args:
            network: the file.
            name: of the runtime.
            precision: one of the runtime's.

        Raises:
            InputError: the file is not an Impasto network.
            MissingExtra: its graph was never built, and the package that builds it is not installed.
        """

        def load() -> tuple[Runtime, int]:
            from impasto.runtimes.sessions import Runtime

            graph = self._graph(network)
            session = graph.open(name, precision, self.store.root / COMPILED)
            return Runtime(graph, session, name, precision), len(graph.data)

        return self._runtimes.get((_version(network), name, precision), load)

    def any_painter(self, method: str, needed: Sequence[str], name: str, precision: str) -> AnyPainter:
        """A method for any painting in ONNX Runtime or OpenVINO, its weights in the cache. Loads no torch.

        Args:
            method: its name.
            needed: names of its weights.
            name: of the runtime.
            precision: one of the runtime's.

        Raises:
            InputError, AssetError: its weights are others, or cannot be read.
            MissingExtra: its graphs were never built, and the package that builds them is not installed.
        """

        def load() -> tuple[AnyPainter, int]:
            from impasto.runtimes.any_painters import open_painter

            files = [WeightsRef.parse(one).file or self.store.path(one) for one in needed]
            folders = self.store.root / GRAPHS, self.store.root / COMPILED
            painter = open_painter(method, files, name, precision, folders)
            return painter, painter.bytes

        return self._any_painters.get((method, name, precision, _versions(needed)), load)

    def array_code(self, key: Hashable, make: Callable[[], Code]) -> Code:
        """A code of paintings in arrays, computed once for all that shapes it, which is the key."""

        def encode() -> tuple[Code, int]:
            code = make()
            return code, sum(part.nbytes for part in code)

        return self._array_codes.get(key, encode)

    def _graph(self, network: Path) -> NetworkGraph:
        from impasto.runtimes.sessions import NetworkGraph

        return NetworkGraph.read(network, self.store.root / GRAPHS)

    def clear_style_codes(self) -> None:
        """Drop the style codes, so that the next picture's time includes encoding."""
        self._codes.clear()
        self._array_codes.clear()

    def _weights(
        self, row: Method, needed: Iterable[str], network: Path | None, on_progress: OnProgress
    ) -> dict[str, Mapping[str, Tensor]]:
        own = [name for name in needed if WeightsRef.parse(name).file]
        assets = [name for name in needed if name not in own]
        self.store.fetch(assets, on_progress=on_progress)
        weights: dict[str, Mapping[str, Tensor]] = {name: load_weights(self.store.path(name)) for name in assets}
        weights |= {name: row.costs().read_weights(name) for name in own}
        if network is not None:
            weights["network"] = _network_tensors(network)
        return weights


def _network_tensors(network: Path) -> Mapping[str, Tensor]:
    """Of its file; of an ONNX file its bytes, and the codes."""
    import torch

    if network.suffix != onnx_files.SUFFIX:
        from impasto.models import catalog, generators, networks

        if catalog.listing(network)[0].method == "unpaired":
            return generators.read(network)
        return networks.read(network).tensors
    data = network.read_bytes()
    codes = onnx_files.header_of(data, network)[1]
    return {
        "graph": torch.frombuffer(bytearray(data), dtype=torch.uint8),
        **{f"style.{name}": torch.tensor(code, dtype=torch.float32) for name, code in codes.items()},
    }


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _version(network: Path | None) -> tuple[str | int, ...] | None:
    return None if network is None else file_version(network)


def _versions(needed: Iterable[str]) -> tuple[tuple[Any, ...], ...]:
    """Names of weights, those of a user's file with what the file is now."""
    return tuple((name, WeightsRef.parse(name).version) for name in needed)
