"""The quick way for styles of trained networks: ONNX Runtime and no torch, which takes longer to load than to paint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import device, images
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.engine.controls import Controls
from impasto.engine.request import OnNote, Request, Result, StyleSource, record_of, silence
from impasto.images import Picture
from impasto.methods import recipes
from impasto.models import catalog
from impasto.runtimes import onnx as graphs

if TYPE_CHECKING:
    from impasto.engine.engine import Engine

_METHOD = "feedforward"
_PLACEMENT = Placement("cpu", "float32", channels_last=False)
_NO_SPECIMEN = Picture(np.zeros((1, 1, 3), np.float32))


@dataclass(frozen=True)
class _Plan:
    """What the quick way needs to know of a job."""

    sources: tuple[StyleSource, ...]
    stages: tuple[recipes.Stage, ...]
    path: Path


class Light:
    """Paints like an `Engine`, and is one for the cases that an engine alone can do.

    It goes the quick way for styles of one trained network, painted on the CPU in float32 with no controls but the
    strength, where ONNX Runtime is installed and memory suffices. The engine is made when it is first needed.

    Args:
        device, precision: as for `Engine`.
        quick: whether it may go the quick way, whose progress has no previews.
    """

    def __init__(self, *, device: str = "auto", precision: str = "auto", quick: bool = True) -> None:
        self._device, self._precision, self._quick = device, precision, quick and graphs.is_installed()
        self._engine: Engine | None = None
        self._runtimes: dict[tuple[Path, int], graphs.Runtime] = {}

    def stylize(
        self,
        content: Any,
        styles: Sequence[tuple[Any, float]],
        request: Request,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> Result:
        """As `Engine.stylize`."""
        plan = self._plan(styles, request)
        if plan is not None:
            header = images.probe(content, max_pixels=request.max_pixels)
            height, width = request.sides(header.width, header.height)
            runtime = self._runtime(plan.path)
            if height * width * runtime.memory <= device.available_memory():
                picture = images.read(content, max_pixels=request.max_pixels)
                for note in picture.notes:
                    on_note(note)
                return _paint(runtime, plan, request, picture.resized(height, width), on_progress)
        return self._whole().stylize(content, styles, request, on_progress=on_progress, on_note=on_note)

    def _plan(self, styles: Sequence[tuple[Any, float]], request: Request) -> _Plan | None:
        """None for what is the engine's, wrong combinations included: it says what is wrong with them."""
        plain = request.controls == Controls() and not any((request.init, request.max_memory, request.snapshots))
        named = plain and bool(styles) and all(catalog.is_trained(style) for style, _ in styles)
        here = self._device in ("auto", "cpu") and self._precision in ("auto", "float32")
        if not (self._quick and named and here and request.method in ("auto", _METHOD)):
            return None
        found = [(catalog.find(style), weight) for style, weight in styles]
        if len({one.path for one, _ in found}) > 1:
            return None
        sources = tuple(StyleSource(one.name, one.id, _NO_SPECIMEN, weight, one) for one, weight in found)
        return _Plan(sources, recipes.plan(_METHOD, request.quality, request.knobs), found[0][0].path)

    def _runtime(self, path: Path) -> graphs.Runtime:
        key = path.resolve(), path.stat().st_mtime_ns
        if key not in self._runtimes:
            self._runtimes = {key: graphs.Runtime(graphs.read(path)[0])}
        return self._runtimes[key]

    def _whole(self) -> Engine:
        if self._engine is None:
            from impasto.engine.engine import Engine

            self._engine = Engine(device=self._device, precision=self._precision)
        return self._engine


def _paint(runtime: graphs.Runtime, plan: _Plan, request: Request, content: Picture, on_progress: OnProgress) -> Result:
    strength = plan.stages[-1].knobs.strength
    made = record_of(
        *(request, plan.stages, _PLACEMENT), content=content, sources=plan.sources, computed_by="onnxruntime"
    )
    if strength == 0:
        return Result.of(content, (), 0.0, made)  # exactly the photograph
    on_progress(Progress("painting", 0, 1))
    started = time.perf_counter()
    total = sum(source.weight for source in plan.sources)
    shares: dict[str, float] = {}
    for source in plan.sources:
        shares[source.label] = shares.get(source.label, 0.0) + source.weight / total
    photograph = content.pixels
    painted = np.clip(photograph + np.float32(strength) * (runtime.paint(photograph, shares) - photograph), 0, 1)
    seconds = time.perf_counter() - started
    on_progress(Progress("painting", 1, 1))
    return Result.of(Picture(painted, content.alpha, content.origin, content.notes), (), seconds, made)
