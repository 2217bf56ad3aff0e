"""The fast path for any painting: AdaIN and MicroAST by ONNX Runtime or OpenVINO, without torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import images
from impasto.contract import OnProgress, Placement, Progress
from impasto.engine import choosing
from impasto.engine.controls import Controls
from impasto.engine.plan import with_music
from impasto.engine.request import Request, Result, Sources, record_of
from impasto.engine.styles import resized, weighted
from impasto.images import Picture
from impasto.methods import recipes
from impasto.methods.settings import AdaINKnobs
from impasto.models import catalog, codecs
from impasto.models.checkpoint import WeightsRef
from impasto.runtimes.any_painters import METHODS

if TYPE_CHECKING:
    from impasto.assets import Store
    from impasto.engine.cache import ModelCache
    from impasto.runtimes.any_painters import AnyPainter


@dataclass(frozen=True)
class AnyJob:
    """A job for any painting that can be done without torch.

    Attributes:
        stage: the method with its settings.
        needed: names of its weights.
        key: identifies its networks, for measurements.
    """

    stage: recipes.Stage
    needed: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, styles: Any, request: Request, store: Store, on_progress: OnProgress) -> AnyJob | None:
        """None for what torch does: all but plain pictures, and what is to be refused. Weights are fetched.

        Raises:
            AssetError: they cannot be had.
        """
        plain = request.controls == Controls() and not any((request.init, request.max_memory, request.snapshots))
        named = (
            request.method if request.method != "auto" else {"draft": recipes.DRAFT_METHOD}.get(request.quality or "")
        )
        pairs = weighted(styles)
        if not plain or named not in METHODS or not pairs or any(catalog.is_trained(style) for style, _ in pairs):
            return None
        (stage,) = recipes.plan(request.method, request.quality, with_music(request, styles).knobs)
        needed = weights_needed(stage)
        for ref in map(WeightsRef.parse, needed):
            if ref.file is None:
                store.path(ref.name, on_progress)
        return cls(stage, needed, choosing.networks_key(stage.method, needed, store))

    def memory(self, painter: AnyPainter) -> float:  # noqa: ARG002 - it is the same in all
        """Bytes a pixel at its peak."""
        row = self.stage.method
        return row.runtime_memory or row.memory

    def open(self, models: ModelCache, name: str, precision: str) -> AnyPainter:
        """What paints it; raises as `ModelCache.any_painter`."""
        return models.any_painter(self.stage.method.name, self.needed, name, precision)

    def trial(self, painter: AnyPainter) -> Callable[[], object]:
        """Paints a grey picture, as `choosing` does in torch."""
        grey = np.full((*choosing.sides_of(self.stage.method), 3), 0.5, np.float32)
        return lambda: painter.paint(grey, painter.encode([grey[:64, :64]], [1.0]), 1.0)

    def sources(self, read: Callable[[], Sources]) -> Sources:
        """The paintings, which `read` reads."""
        return read()

    def takes(self, content: Picture, sources: Sources) -> bool:
        """Whether all of it can be seen: what is transparent has no part in statistics, which torch takes care of."""
        return all(one.alpha is None for one in (content, *(source.picture for source in sources)))

    def paint(
        self,
        painter: AnyPainter,
        models: ModelCache,
        request: Request,
        content: Picture,
        sources: Sources,
        on_progress: OnProgress,
    ) -> Result:
        """Paint a picture that was read and resized."""
        knobs, row, canvas = self.stage.knobs, self.stage.method, content.pixels.shape[:2]
        placement = Placement("cpu", painter.precision, runtime=painter.name)
        made = record_of(request, (self.stage,), placement, content=content, sources=sources)
        paintings = [
            resized(one.picture, canvas, scale=knobs.style_scale, method=row.name, least=row.smallest_side)
            for one in sources
        ]
        if knobs.strength == 0:
            return Result.of(content, (), 0.0, made)  # exactly the photograph
        on_progress(Progress("painting", 0, 1))
        started, total = time.perf_counter(), sum(source.weight for source in sources)
        shares = [source.weight / total for source in sources]
        digests = tuple((images.digest(one), share) for one, share in zip(paintings, shares, strict=True))
        key = row.name, painter.name, painter.precision, self.key, digests
        code = models.array_code(key, lambda: painter.encode(paintings, shares))
        painted = painter.paint(content.pixels, code, knobs.strength)
        seconds = time.perf_counter() - started
        on_progress(Progress("painting", 1, 1))
        return Result.of(Picture(painted, content.alpha, content.origin, content.notes), (), seconds, made)


def weights_needed(stage: recipes.Stage) -> tuple[str, ...]:
    """Names of the weights of a stage: as `Method.needs`, without the class, which loads torch."""
    knobs = stage.knobs
    return codecs.needs(knobs.network) if isinstance(knobs, AdaINKnobs) else stage.method.assets
