"""The fast path: styles of a trained network by ONNX Runtime or OpenVINO, without torch, which takes long to load."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto.contract import OnProgress, Placement, Progress
from impasto.engine import choosing
from impasto.engine.controls import Controls
from impasto.engine.request import Request, Result, Sources, StyleSource, record_of
from impasto.engine.styles import weighted
from impasto.images import Picture
from impasto.methods import recipes
from impasto.models import catalog
from impasto.runtimes import graphs
from impasto.runtimes.sessions import Runtime

if TYPE_CHECKING:
    from impasto.engine.cache import ModelCache

_METHOD = "feedforward"
_NO_PICTURE = Picture(np.zeros((1, 1, 3), np.float32))


@dataclass(frozen=True)
class FastJob:
    """A job that the fast path can do.

    Attributes:
        named: the styles, without their specimens.
        stages: the one stage.
        path: of the network.
    """

    named: tuple[StyleSource, ...]
    stages: tuple[recipes.Stage, ...]
    path: Path

    @classmethod
    def of(cls, styles: Any, request: Request) -> FastJob | None:
        """None for what torch does: all but plain pictures by one network, and what is to be refused."""
        plain = request.controls == Controls() and request.controls.directions is None
        plain &= not any((request.init, request.max_memory, request.snapshots))
        pairs = weighted(styles)
        named = plain and bool(pairs) and all(catalog.is_trained(style) for style, _ in pairs)
        if not (named and request.method in ("auto", _METHOD)):
            return None
        found = [(catalog.find(style), weight) for style, weight in pairs]
        if len({one.path for one, _ in found}) > 1 or found[0][0].method != _METHOD:
            return None
        sources = tuple(StyleSource(one.name, one.id, _NO_PICTURE, weight, one) for one, weight in found)
        return cls(sources, recipes.plan(_METHOD, request.quality, request.knobs), found[0][0].path)

    @property
    def stage(self) -> recipes.Stage:
        """See `stages`."""
        return self.stages[-1]

    @property
    def key(self) -> str:
        """Identifies the network, for measurements."""
        return graphs.digest_of(self.path)

    def memory(self, painter: Runtime) -> float:
        """Bytes a pixel at its peak."""
        return painter.graph.memory

    def open(self, models: ModelCache, name: str, precision: str) -> Runtime:
        """What paints it; raises as `ModelCache.runtime`."""
        return models.runtime(self.path, name, precision)

    def trial(self, painter: Runtime) -> Callable[[], object]:
        """Paints a grey picture."""
        return choosing.trial(painter, self.path)

    def sources(self, read: Callable[[], Sources]) -> Sources:  # noqa: ARG002 - there is no picture to be read
        """The styles, without their specimens."""
        return self.named

    def takes(self, content: Picture, sources: Sources) -> bool:  # noqa: ARG002 - what is transparent is painted, too
        """Whether the pictures can be painted here."""
        return True

    def paint(
        self,
        runtime: Runtime,
        models: ModelCache,  # noqa: ARG002 - the network holds all codes
        request: Request,
        content: Picture,
        sources: Sources,
        on_progress: OnProgress,
    ) -> Result:
        """Paint a picture that was read and resized."""
        strength = self.stages[-1].knobs.strength
        placement = Placement("cpu", runtime.precision, runtime=runtime.name)
        made = record_of(request, self.stages, placement, content=content, sources=sources)
        if strength == 0:
            return Result.of(content, (), 0.0, made)  # exactly the photograph
        on_progress(Progress("painting", 0, 1))
        started = time.perf_counter()
        photograph = content.pixels
        pastiche = runtime.paint(photograph, _shares(sources))
        painted = np.clip(photograph + np.float32(strength) * (pastiche - photograph), 0, 1)
        seconds = time.perf_counter() - started
        on_progress(Progress("painting", 1, 1))
        return Result.of(Picture(painted, content.alpha, content.origin, content.notes), (), seconds, made)


def _shares(sources: Sequence[StyleSource]) -> dict[str, float]:
    total = sum(source.weight for source in sources)
    shares: dict[str, float] = {}
    for source in sources:
        shares[source.label] = shares.get(source.label, 0.0) + source.weight / total
    return shares
