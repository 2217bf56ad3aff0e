"""From photographs and styles to results on TensorFlow or JAX: the part of `engine` that needs no PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import device, images
from impasto.assets import Store
from impasto.assets.library import Library
from impasto.contract import OnProgress, Placement, ignore
from impasto.engine.any_path import AnyJob, weights_needed
from impasto.engine.budget import FREE_SHARE, check_in_tiles
from impasto.engine.cache import ModelCache
from impasto.engine.fast_path import FastJob
from impasto.engine.reading import read_init, read_photograph, tell_notes
from impasto.engine.request import OnNote, Request, Result, Sources, record_of, silence
from impasto.engine.styles import StyleLike, resized
from impasto.errors import InputError, in_python_words
from impasto.images import Picture
from impasto.keras import backends
from impasto.keras.backends import BACKENDS, POLICIES, use_backend
from impasto.keras.forms import check
from impasto.memory import parse_memory
from impasto.methods import recipes
from impasto.methods.settings import OptimizeKnobs
from impasto.models.checkpoint import WeightsRef
from impasto.runtimes import graphs
from impasto.runtimes.any_painters import AdaINPainter
from impasto.runtimes.sessions import NetworkGraph, Runtime

Floats = NDArray[np.float32]


def stylize(  # noqa: PLR0913 - a front door
    content: Any,
    styles: StyleLike | Sequence[StyleLike],
    *,
    backend: str = "tensorflow",
    method: str = "auto",
    quality: str | None = None,
    size: int | None = None,
    precision: str = "auto",
    max_memory: int | str | None = None,
    on_progress: OnProgress = ignore,
    **settings: Any,
) -> Result:
    """Paint one picture, as `impasto.stylize` does, on TensorFlow or JAX.

    Args:
        content, styles: as for `Engine.stylize`.
        backend: "tensorflow" or "jax".
        method, quality, size: as in `Request`.
        precision: as for `KerasEngine`.
        max_memory: bytes that the job may take, or words such as "2GB".
        on_progress: called with progress; stops the job by raising Cancelled.
        settings: of the method, by name.

    Raises:
        InputError: something given cannot be used, or has no Keras form.
        MissingExtra: Keras or the backend is not installed.
        AssetError, Cancelled: as `Engine.stylize`.
    """
    with in_python_words():
        init, memory = settings.pop("init", None), parse_memory(max_memory)
        request = Request(method=method, quality=quality, size=size, init=init, knobs=settings, max_memory=memory)
        engine = KerasEngine(backend=backend, precision=precision)
        return engine.stylize(content, styles, request, on_progress=on_progress)


class KerasEngine:
    """Paints pictures by Keras; loads no PyTorch, unless that is the backend.

    Args:
        backend: "tensorflow", "jax" or "torch".
        store: where weights and paintings are; the user's cache by default.
        precision: "float32", which "auto" is; or "bfloat16" or "float16", which are mixed: weights, statistics and
            losses stay float32.

    Raises:
        InputError: there is no such backend or precision, or Keras runs on another backend already.
        MissingExtra: Keras or the backend is not installed.
    """

    def __init__(self, *, backend: str, store: Store | None = None, precision: str = "auto") -> None:
        if precision not in ("auto", *POLICIES):
            raise InputError(f"--backend {backend} does not compute in {precision}", f"it takes {', '.join(POLICIES)}")
        use_backend(backend)
        self.store = store or Store()
        self.models = ModelCache(self.store)
        self.backend, self.precision = backend, "float32" if precision == "auto" else precision
        self._library = Library(self.store)
        self._loaded: dict[tuple[Any, ...], Any] = {}

    def stylize(
        self,
        content: Any,
        styles: StyleLike | Sequence[StyleLike],
        request: Request | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> Result:
        """Paint one picture; as `Engine.stylize`, of plain pictures by `forms.METHODS`.

        Raises:
            InputError: something given cannot be used, or has no Keras form.
            ResourceError: the job does not fit into memory.
            AssetError: weights or paintings cannot be fetched.
            Cancelled: `on_progress` asked to stop; its `result` holds the best picture so far, if there is one.
        """
        request, content = request or Request(), images.buffered(content)
        stages = check(styles, request)
        header = images.probe(content, max_pixels=request.max_pixels)
        sides = request.sides(header.width, header.height)
        picture = read_photograph(content, request)
        job = _Job(self, styles, request, stages, on_progress)
        sources = job.sources()
        tell_notes(picture, sources, on_note)
        for one in (picture, *(source.picture for source in sources)):
            if one.alpha is not None and one.alpha.min() < 1:
                raise InputError(
                    f"{one.name} is transparent in parts, and has no Keras form",
                    "save it on a plain ground, or leave out --backend",
                )
        return job.paint(picture.resized(*sides), sources)

    def placement(self) -> Placement:
        """Where this engine paints."""
        return Placement(backends.on_device(), self.precision, runtime=self.backend)

    def kept(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was loaded before, or is now."""
        if key not in self._loaded:
            self._loaded[key] = make()
        return self._loaded[key]

    @property
    def version(self) -> str:
        """Of the backend."""
        return BACKENDS[self.backend].version

    @property
    def dtype(self) -> str:
        """The policy of `keras.mixed_precision`."""
        return POLICIES[self.precision]

    def find_styles(self, styles: Any, request: Request, on_progress: OnProgress) -> Sources:
        """Read style images; see `impasto.engine.styles.find_styles`."""
        from impasto.engine.styles import find_styles

        return find_styles(self._library, styles, max_pixels=request.max_pixels, on_progress=on_progress)


@dataclass(frozen=True)
class _Job:
    """One picture on its way."""

    engine: KerasEngine
    styles: Any
    request: Request
    stages: tuple[recipes.Stage, ...]
    on_progress: OnProgress

    def sources(self) -> Sources:
        """The paintings, or the styles of a trained network."""
        fast = self._of_network()
        if fast is not None:
            return fast.named
        return self.engine.find_styles(self.styles, self.request, self.on_progress)

    def paint(self, picture: Picture, sources: Sources) -> Result:
        """Paint a picture that was read and resized, by all stages."""
        painters = {"feedforward": self._feedforward, "adain": self._adain, "optimize": self._optimize}
        result: Result | None = None
        for stage in self.stages:
            result = painters[stage.method.name](stage, picture, sources, result)
        assert result is not None
        by = {"keras": version("keras"), "backend": self.engine.backend, "device": backends.on_device()}
        return replace(result, record={**result.record, **by})

    def _feedforward(self, _stage: recipes.Stage, picture: Picture, sources: Sources, _before: Result | None) -> Result:
        from impasto.keras.sessions import network_session

        job = self._of_network()
        assert job is not None
        tensors = self.engine.kept(("tensors", job.path), lambda: graphs.read(job.path)[0])
        session = self.engine.kept(("network", job.path), lambda: network_session(tensors, self.engine.dtype))
        codes = {name.removeprefix("style."): one for name, one in tensors.items() if name.startswith("style.")}
        graph = NetworkGraph(b"", codes, graphs.stride_of(tensors), graphs.memory_of(tensors))
        runtime = Runtime(graph, session, self.engine.backend, self.engine.precision)
        self._check_memory(job.memory(runtime), picture)
        return job.paint(runtime, self.engine.models, self.request, picture, sources, self.on_progress)

    def _adain(self, stage: recipes.Stage, picture: Picture, sources: Sources, _before: Result | None) -> Result:
        from impasto.keras.sessions import adain_sessions

        key = self._weights(stage)
        encoder, decoder = self.engine.kept(("adain", *key), lambda: adain_sessions(key, self.engine.dtype))
        painter = AdaINPainter(encoder, decoder, self.engine.backend, self.engine.precision, 0)
        job = AnyJob(stage, tuple(map(str, key)), " ".join(map(graphs.digest_of, key)))
        self._check_memory(job.memory(painter), picture)
        return job.paint(painter, self.engine.models, self.request, picture, sources, self.on_progress)

    def _of_network(self) -> FastJob | None:
        return FastJob.of(self.styles, replace(self.request, max_memory=None))

    def _check_memory(self, bytes_per_pixel: float, picture: Picture) -> None:
        """Refuse a picture that does not fit in one piece."""
        needed, limit = int(bytes_per_pixel * picture.width * picture.height), self.request.max_memory
        device.check_memory(needed, picture.width, picture.height, limit=limit, device="cpu")

    def _optimize(self, stage: recipes.Stage, picture: Picture, sources: Sources, before: Result | None) -> Result:
        from impasto.keras import optimize, start

        knobs: Any = stage.knobs
        made = record_of(self.request, self.stages, self.engine.placement(), content=picture, sources=sources)
        if knobs.strength == 0:
            return Result.of(picture, (), 0.0, made)  # exactly the photograph
        memory = self._memory(picture, knobs)
        given = read_init(self.request, stage, (picture.height, picture.width))
        init = None if given is None else _first(given)
        init = init if before is None else start.smoothed_draft(_first(before.picture.pixels))
        total = sum(source.weight for source in sources)
        paintings = [
            (source.weight / total, _first(self._resized(source.picture, picture, stage))) for source in sources
        ]
        method = self._method(stage)
        started = time.perf_counter()

        def result(painted: optimize.Painted) -> Result:
            pixels = np.ascontiguousarray(painted.image.transpose(1, 2, 0), np.float32)
            whole = Picture(pixels, picture.alpha, picture.origin, picture.notes)
            return Result.of(whole, painted.losses, time.perf_counter() - started, made)

        try:
            photograph = _first(picture.pixels)
            painted = method.paint(photograph, paintings, knobs, init=init, memory=memory, on_progress=self.on_progress)
            return result(painted)
        except optimize.StoppedError as stopped:
            stopped.reason.result = result(stopped.painted)
            raise stopped.reason from None

    def _method(self, stage: recipes.Stage) -> Any:
        """The method with its encoder."""
        from impasto.keras import models, optimize

        knobs: Any = stage.knobs
        layers = tuple(sorted({*knobs.style_layers, *knobs.content_layers}))
        (path,) = self._weights(stage)

        def make() -> optimize.Optimize:
            return optimize.Optimize(models.vgg19(layers, weights=path, dtype=self.engine.dtype))

        return self.engine.kept(("optimize", layers), make)

    def _weights(self, stage: recipes.Stage) -> tuple[Path, ...]:
        """The files that a stage needs; assets are fetched."""
        refs = map(WeightsRef.parse, weights_needed(stage))
        return tuple(ref.file or self.engine.store.path(ref.name, self.on_progress) for ref in refs)

    @staticmethod
    def _resized(painting: Picture, content: Picture, stage: recipes.Stage) -> NDArray[Any]:
        knobs: Any = stage.knobs
        canvas, row = (content.height, content.width), stage.method
        pixels: NDArray[Any] = resized(
            painting, canvas, scale=knobs.style_scale, method=row.name, least=row.smallest_side
        )
        return pixels

    def _memory(self, picture: Picture, knobs: OptimizeKnobs) -> int | None:
        """Bytes for the method; None where there is room for one piece. Raises ResourceError where tiles have none."""
        from impasto.keras import optimize

        limit, sides = self.request.max_memory, (picture.height, picture.width)
        room = device.available_memory() if limit is None else limit
        if optimize.whole_memory(sides) <= room:
            return None
        allowed = int(room * FREE_SHARE) if limit is None else limit
        check_in_tiles(partial(optimize.least_memory, knobs=knobs), sides, allowed, limit)
        return allowed


def _first(pixels: NDArray[Any]) -> Floats:
    """`(3, H, W)` of `(H, W, 3)`."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
