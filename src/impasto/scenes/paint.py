"""Paints scenes: textures move down the losses of a picture, over views from many sides.

The quick way paints each view by a method of one pass, lays the paintings back onto the textures, straight looks before
slanted ones, and lets a few steps of the same descent bring them to agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.contract import Guide, Job, OnProgress, Progress, ignore
from impasto.engine.request import OnNote, Request, silence
from impasto.engine.run import LoadedStage, Run, gradients_on
from impasto.errors import Cancelled, InputError
from impasto.images import Picture
from impasto.methods.optimize.levels import Level, levels_of
from impasto.methods.optimize.method import Optimize
from impasto.methods.optimize.start import softened
from impasto.methods.settings import OptimizeKnobs
from impasto.ops import color
from impasto.optim.descent import Score, descend
from impasto.optim.schedule import Schedule
from impasto.optim.surfaces import (
    Lookup,
    Rotation,
    Sheet,
    TextureCanvas,
    ViewScore,
    colors_of,
    completed,
    gathered,
    weights_of,
)
from impasto.scenes.cameras import Camera
from impasto.scenes.scene import MeshScene, Scene
from impasto.scenes.sculpt import MOST_BOUND, check_sculptable, sculpted

if TYPE_CHECKING:
    from impasto.engine.engine import Engine

_AT_ONCE = 2  # views in a step, from opposite sides: most of an object moves in each
_STEPS = 1.5  # times those of a picture, since a step sees only a part
_RATE = 0.02  # of Adam, for colours from 0 to 1
_AGREEING_STEPS = 10  # after the quick way
_STRAIGHT = 3.0  # power by which straight looks count more
_STEP = 16  # pixels that divide a view's side


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is looked at.

    Attributes:
        size: side of a view in pixels.
        views: how many there are.
        seed: of their directions and order.
        sculpt: how far vertices of a mesh may move, as a share of its size; 0 for not at all. See `sculpt.sculpted`.
    """

    size: int = 384
    views: int = 24
    seed: int = 0
    sculpt: float = 0.0

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 4096:
            raise InputError(f"--size is {self.size}", "a view takes from 32 to 4096 pixels")
        if not 2 <= self.views <= 1000:
            raise InputError(f"--views is {self.views}", "it takes from 2 to 1000")
        if not 0 <= self.sculpt <= MOST_BOUND:
            raise InputError(f"--sculpt is {self.sculpt:g}", f"it takes a share of the size from 0 to {MOST_BOUND:g}")

    @property
    def side(self) -> int:
        """Of a view, such that pooling drops no row."""
        return round(self.size / _STEP) * _STEP


@dataclass(frozen=True, eq=False)
class PaintedScene:
    """A scene in new colours.

    Attributes:
        scene: the result.
        losses: of each step.
        seconds: computing time.
        record: how it was made, as plain values.
    """

    scene: Scene
    losses: tuple[Mapping[str, float], ...]
    seconds: float
    record: Mapping[str, Any] = field(default_factory=dict)


@gradients_on()
def paint_scene(
    engine: Engine,
    scene: Scene,
    styles: Any,
    request: Request | None = None,
    settings: SceneSettings | None = None,
    *,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
) -> PaintedScene:
    """Paint a scene.

    Args:
        engine: whose weights and styles are used.
        scene: what is painted; it is not changed.
        styles: as for `Engine.stylize`.
        request: its method `optimize` descends; one of one pass is the quick way.
        settings: how it is looked at.
        on_progress: called after each step; may cancel.
        on_note: called with one-line remarks.

    Raises:
        InputError, ResourceError, AssetError: as `Engine.stylize`; and for controls that are of pictures.
        Cancelled: by `on_progress`; its `result` holds the scene as it was so far, if there was a step.
    """
    asked, settings = request or Request(), settings or SceneSettings()
    _check(asked)
    if settings.sculpt:
        check_sculptable(scene)
    job = _Job.of(engine, scene, styles, asked, settings, on_progress, on_note)
    started = time.perf_counter()
    if job.run.stages[-1].knobs.strength == 0:
        return PaintedScene(scene, (), 0.0, job.record(0.0))
    descending = job.descending(styles, asked)
    if settings.sculpt and descending is None:
        raise InputError("this trained style names no painting, and --sculpt needs one", "give a painting as the style")
    textures, losses = job.painted() if job.is_descent else job.projected(descending)
    if asked.controls.keep_color == "luminance":
        pairs = zip(textures, scene.textures, strict=True)
        textures = [color.with_chroma_of(painted, own) for painted, own in pairs]
    result = scene.painted(textures)
    if settings.sculpt and descending is not None:
        result, more = descending.sculpted(result)
        losses = [*losses, *more]
    seconds = time.perf_counter() - started
    return PaintedScene(result, tuple(losses), seconds, job.record(seconds))


def _check(request: Request) -> None:
    controls = request.controls
    if (
        controls.regions
        or controls.match_regions
        or controls.preserve
        or controls.guide_fields()
        or controls.color_only
    ):
        raise InputError("masks are of pictures, and a scene has many views", "leave out regions and what to preserve")
    if request.init not in (None, "recolored", "content"):
        raise InputError(f"--init {request.init} is of pictures", "a scene starts from recolored, or content")
    if request.snapshots is not None or request.knobs.get("canvas") == "photorealistic":
        raise InputError("snapshots and --canvas are of pictures", "leave them out")


class ViewPainter:
    """Paints scenes of one shape, such as the frames of a film, by a method of one pass and without a descent.

    Args:
        engine, styles, request, settings: as for `paint_scene`.
        scene: the first of them.

    Raises:
        InputError, ResourceError, AssetError: as `paint_scene`, and for a method that descends.
    """

    @gradients_on()
    def __init__(
        self,
        engine: Engine,
        scene: Scene,
        styles: Any,
        request: Request,
        settings: SceneSettings,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> None:
        _check(request)
        if settings.sculpt:
            check_sculptable(scene)
        self._job = _Job.of(engine, scene, styles, request, settings, on_progress, on_note)
        if self._job.is_descent:
            raise InputError("films of the sphere are painted by a method of one pass", "use --quality draft")
        self._loaded = self._job.run.load(self._job.run.stages[-1], self._job.run.placements[-1], on_progress)
        self._views = self._job._views(settings.side)

    @gradients_on()
    def paint(self, scene: Scene) -> list[Tensor]:
        """Its textures, painted."""
        job = replace(self._job, scene=scene, on_progress=ignore)
        return job._blended(self._views, self._loaded)

    def record(self) -> dict[str, Any]:
        """How they are painted, as plain values."""
        return self._job.record(0.0)


@dataclass(eq=False)
class _Job:
    """A scene on its way."""

    engine: Engine
    scene: Scene
    run: Run
    settings: SceneSettings
    cameras: Sequence[Camera]
    on_progress: OnProgress
    on_note: OnNote

    @classmethod
    def of(
        cls,
        engine: Engine,
        scene: Scene,
        styles: Any,
        request: Request,
        settings: SceneSettings,
        on_progress: OnProgress,
        on_note: OnNote,
    ) -> _Job:
        cameras = scene.cameras(settings.views, settings.seed)
        sample = _picture(scene.look(cameras[0], settings.side), scene)
        request = replace(request, size=None)
        run = engine.prepare(sample, styles, request, on_progress=on_progress, on_note=on_note, announce_time=False)
        return cls(engine, scene, run, settings, cameras, on_progress, on_note)

    @property
    def is_descent(self) -> bool:
        """Whether the method descends, or paints in one pass."""
        return self.run.stages[-1].method.kind == "objective"

    def record(self, seconds: float) -> dict[str, Any]:
        """How it was made."""
        made = dict(self.run.result(self.run.content, (), seconds).record)
        own = self.settings
        shown = {"size": own.side, "views": own.views, "seed": own.seed, "sculpt": own.sculpt}
        return {**made, "scene": shown}

    def painted(self) -> tuple[list[Tensor], list[Mapping[str, float]]]:
        """By descent from the textures in the painting's colours."""
        loaded = self.run.load(self.run.stages[-1], self.run.placements[-1], self.on_progress)
        levels = self._levels(loaded)
        views = self._views(self.settings.side)
        _, seen = gathered(views, _blank(views), self.scene.sheets, power=0)
        return self._descended(loaded, _started(self.scene, seen, loaded), views, levels)

    def descending(self, styles: Any, request: Request) -> _Job | None:
        """The job whose method descends: this one, or that which brings the views of the quick way to agree.

        None for a trained style that names no painting to descend towards.
        """
        if self.is_descent:
            return self
        if any(source.trained is not None for source in self.run.sources):
            paintings = [(source.trained.painting, source.weight) for source in self.run.sources if source.trained]
            if not all(painting for painting, _ in paintings):
                return None
            styles = paintings
        knobs = {"strength": self.run.stages[-1].knobs.strength, "steps": _AGREEING_STEPS}
        agreeing = replace(request, method="optimize", quality="good", knobs=knobs, init=None)
        return _Job.of(self.engine, self.scene, styles, agreeing, self.settings, self.on_progress, self.on_note)

    def projected(self, last: _Job | None) -> tuple[list[Tensor], list[Mapping[str, float]]]:
        """The quick way; `last` brings the views to agree."""
        views = self._views(self.settings.side)
        own = self._blended(views, self.run.load(self.run.stages[-1], self.run.placements[-1], self.on_progress))
        if last is None:
            self.on_note("this trained style names no painting to descend towards: views are blended as they are")
            return own, []
        stage = last.run.load(last.run.stages[-1], last.run.placements[-1], self.on_progress)
        return last._descended(stage, own, views, last._levels(stage)[-1:])

    def sculpted(self, painted: Scene) -> tuple[Scene, Sequence[Mapping[str, float]]]:
        """A painted mesh with its vertices moved down the style loss of the coarsest level."""
        assert isinstance(painted, MeshScene)
        loaded = self.run.load(self.run.stages[-1], self.run.placements[-1], self.on_progress)
        level = self._levels(loaded)[0]

        def score_of(content: Tensor, seen: Tensor) -> Score:
            return _score(content, seen, loaded, level)

        settings = self.settings
        try:
            return sculpted(
                painted,
                score_of,
                level.sides[0],
                bound=settings.sculpt,
                seed=settings.seed,
                on_progress=self.on_progress,
            )
        except Cancelled as cancelled:
            cancelled.partial = None  # a view, and not the scene
            cancelled.result = PaintedScene(painted, (), 0.0, self.record(0.0))
            raise

    def _blended(self, views: Sequence[Lookup], loaded: LoadedStage) -> list[Tensor]:
        """Textures put together from paintings of the views; what none shows takes the colours around it."""
        textures, seen = gathered(views, self._paintings(views, loaded), self.scene.sheets, power=_STRAIGHT)
        weights = weights_of(views, self.scene.sheets)
        rows = zip(textures, seen, self.scene.textures, self.scene.sheets, weights, strict=True)
        whole = [
            completed(torch.where(some > 0, texture, kept), sheet, weight)
            for texture, some, kept, sheet, weight in rows
        ]
        return self.scene.joined(whole)

    def _levels(self, loaded: LoadedStage) -> tuple[Level, ...]:
        knobs = loaded.stage.knobs
        assert isinstance(knobs, OptimizeKnobs)
        return levels_of(self.settings.side, self.settings.side, knobs)

    def _paintings(self, views: Sequence[Lookup], loaded: LoadedStage) -> Iterator[Tensor]:
        """Each view by a method of one pass."""
        device = loaded.placement.device
        for index, view in enumerate(views):
            self.on_progress(Progress("painting views", index, len(views), unit="view"))
            picture = _picture(view, self.scene)
            content = images.to_tensor(picture.pixels).to(device)
            job = Job(loaded.codes[0], loaded.stage.knobs, Guide(seen=view.cover.to(device)))
            yield loaded.stylize(content, [job], ignore).detach().float().cpu()

    def _views(self, side: int) -> list[Lookup]:
        found = []
        for index, camera in enumerate(self.cameras):
            self.on_progress(Progress(f"looking from {len(self.cameras)} sides", index, len(self.cameras), unit="view"))
            found.append(self.scene.look(camera, side))
        return found

    def _descended(
        self, loaded: LoadedStage, starts: Sequence[Tensor], views: Sequence[Lookup], levels: Sequence[Level]
    ) -> tuple[list[Tensor], list[Mapping[str, float]]]:
        """Textures after a descent from coarse to fine; what no view shows takes the colours around it."""
        textures, sheets = list(starts), self.scene.sheets
        losses: list[Mapping[str, float]] = []
        total = sum(level.work for level in levels)
        before = 0.0
        for level in levels:
            report = _Report(self.on_progress, self.settings.side, before / total, level.work / total)
            own = views if level.sides[0] == self.settings.side else self._views(level.sides[0])
            canvas, score = self._canvas(loaded, textures, level, own)
            schedule = Schedule(round(_STEPS * level.steps), "adam", _RATE)
            try:
                losses += descend(canvas, score, schedule, on_progress=report).losses
            except Cancelled as cancelled:
                cancelled.partial = None  # a view, and not the scene
                cancelled.result = self._so_far(_completed(canvas, sheets, own), losses)
                raise
            textures = self.scene.joined(_completed(canvas, sheets, own))
            before += level.work
        return textures, losses

    def _so_far(self, textures: Sequence[Tensor], losses: Sequence[Mapping[str, float]]) -> PaintedScene:
        return PaintedScene(self.scene.painted(textures), tuple(losses), 0.0, self.record(0.0))

    def _canvas(
        self, loaded: LoadedStage, textures: Sequence[Tensor], level: Level, views: Sequence[Lookup]
    ) -> tuple[TextureCanvas, ViewScore]:
        sheets = self.scene.sheets
        order = np.arange(len(views))
        groups = [tuple(order[start : start + _AT_ONCE].tolist()) for start in range(0, len(order), _AT_ONCE)]
        groups = [group for group in groups if len(group) == _AT_ONCE] or [(0,) * _AT_ONCE]
        mixed = np.random.default_rng(self.settings.seed).permutation(len(groups))
        rotation = Rotation([groups[index] for index in mixed])
        backdrop = _mean(textures, views, sheets)
        canvas = TextureCanvas(textures, sheets, views, rotation, backdrop)
        original = colors_of(self.scene.textures, sheets)
        behind = _mean(self.scene.textures, views, sheets)
        scores = [_ViewLoss(view, original, behind, loaded, level) for view in views]
        return canvas, ViewScore(scores, rotation)


class _ViewLoss:
    """The Score of one view, whose targets are computed when it is first asked."""

    def __init__(self, view: Lookup, original: Tensor, behind: Tensor, loaded: LoadedStage, level: Level) -> None:
        self._view, self._original, self._behind, self._loaded, self._level = view, original, behind, loaded, level
        self._score: Score | None = None

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """See `Score`."""
        device = self._loaded.placement.device
        if self._score is None:
            content = self._view.render(self._original, self._behind)
            self._score = _score(content, self._view.cover, self._loaded, self._level)
        losses, slope = self._score(image.contiguous().to(device))
        return losses, slope.to(image)


def _score(content: Tensor, seen: Tensor, loaded: LoadedStage, level: Level) -> Score:
    """The losses of one view where it is seen."""
    device, stylizer = loaded.placement.device, loaded.stylizer
    assert isinstance(stylizer, Optimize)
    job = Job(loaded.codes[0], loaded.stage.knobs, Guide(seen=seen.to(device)))
    return stylizer.score(content.to(device).contiguous(), job, level)


class _Report:
    """Progress of one level as part of all."""

    def __init__(self, on_progress: OnProgress, side: int, before: float, share: float) -> None:
        self._on_progress, self._side, self._before, self._share = on_progress, side, before, share

    def __call__(self, progress: Progress) -> None:
        done = self._before + self._share * (progress.step / max(1, progress.total))
        self._on_progress(replace(progress, stage=f"refining views of {self._side} px", done=done, snapshot=None))


def _started(scene: Scene, seen: Sequence[Tensor], loaded: LoadedStage) -> list[Tensor]:
    """The textures in the painting's colours, all by one map, without their fine detail."""
    knobs, textures = loaded.stage.knobs, list(scene.textures)
    if knobs.init == "recolored":
        pairs = list(zip(textures, seen, strict=True))
        own = torch.stack([color.color_sums(texture, weight) for texture, weight in pairs]).sum(0)
        matrix, shift = color.recoloring(own, loaded.codes[0].tensors["colors"].to(own))
        textures = [
            (torch.einsum("ij,bjhw->bihw", matrix.cpu(), texture) + shift.cpu()[:, None, None]).clamp(0, 1)
            for texture in textures
        ]
    return [_softened(texture, sheet, knobs) for texture, sheet in zip(textures, scene.sheets, strict=True)]


def _softened(texture: Tensor, sheet: Sheet, knobs: Any) -> Tensor:
    """A texture without the detail that is to be painted anew; of a list of colours none are neighbours."""
    return softened(texture, knobs) if sheet.mips else texture


def _completed(canvas: TextureCanvas, sheets: Sequence[Sheet], views: Sequence[Lookup]) -> list[Tensor]:
    rows = zip(canvas.textures(), sheets, weights_of(views, sheets), strict=True)
    return [completed(texture, sheet, weights) for texture, sheet, weights in rows]


def _picture(view: Lookup, scene: Scene) -> Picture:
    """A view of a scene as it is, on its mean colour."""
    colors = colors_of(scene.textures, scene.sheets)
    image = view.render(colors, _mean(scene.textures, [view], scene.sheets)).clamp(0, 1)
    return Picture(images.from_tensor(image), view.cover[0, 0].numpy())


def _mean(textures: Sequence[Tensor], views: Sequence[Lookup], sheets: Sequence[Sheet]) -> Tensor:
    """The mean colour of what views show, `(3,)`."""
    colors = colors_of(textures, sheets)
    total = torch.stack([view.render(colors).sum((0, 2, 3)) for view in views]).sum(0)
    covered = sum(float(view.cover.sum()) for view in views)
    return total / max(covered, 1e-6)


def _blank(views: Sequence[Lookup]) -> Iterator[Tensor]:
    for view in views:
        yield torch.zeros(1, 3, *view.sides)
