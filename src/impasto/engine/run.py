"""One job on its way through the stages that paint it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images, settings
from impasto.contract import (
    Anchor,
    Guide,
    Job,
    OnProgress,
    Placement,
    Progress,
    Region,
    Snapshot,
    Style,
    StyleCode,
    StyleImage,
    Stylizer,
    cancelled_by,
    check_cancelled,
    ignore,
)
from impasto.engine.budget import IN_ONE_PIECE, Budget
from impasto.engine.masks import Layout
from impasto.engine.reading import read_init
from impasto.engine.request import Regions, Request, Result, Sources, attempt, record_of
from impasto.engine.styles import resized
from impasto.errors import Cancelled
from impasto.images import Picture
from impasto.memory import FREED_MEMORY
from impasto.methods import recipes
from impasto.ops import color, masks, tiles, tiling
from impasto.ops.tiles import as_float, thumbnail

if TYPE_CHECKING:
    from impasto.engine.cache import ModelCache

_GRAIN = 2.0  # pixels over which a draft is smoothed (bench/NOTES.md)
_LEAST_PALETTE = 64  # pixels of a region whose colours say anything
_LEAST_SEEN = 1e-3  # of a picture, that has statistics of its own
_PALETTE_SIDE = 4096  # longest side, of a picture whose colours are all counted


@contextmanager
def gradients_on() -> Iterator[None]:
    """Whatever the caller has switched off: a descent needs gradients, and weights loaded without them stay without."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True)
class LoadedStage:
    """A stage that is ready to paint.

    Attributes:
        stage, placement: the method with its settings, and where it computes.
        stylizer: the method with its weights.
        codes: of each of `Run.parts`.
    """

    stage: recipes.Stage
    placement: Placement
    stylizer: Stylizer
    codes: tuple[StyleCode, ...]

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress) -> Tensor:
        """Paint `content (B, 3, H, W)`, one job a batch item."""
        with FREED_MEMORY.during_job(limited=any(job.memory is not None for job in jobs)):
            return self.stylizer.stylize(content, jobs, on_progress)


@dataclass
class Run:
    """One job on its way through the stages; `Engine.prepare` makes it, from a `Plan`.

    `loaded` are stages that are ready already, of a job with the same styles and size.
    """

    models: ModelCache
    stages: Sequence[recipes.Stage]
    placements: Sequence[Placement]
    sources: Sources
    regions: Regions
    layout: Layout
    content: Picture
    request: Request
    room: Budget = IN_ONE_PIECE
    size_class: Hashable | None = None
    loaded: tuple[LoadedStage, ...] = ()

    @gradients_on()
    def paint(self, on_progress: OnProgress) -> Result:
        """All stages, then what holds for every method. Raises Cancelled with the best picture so far."""
        if self.stages[-1].knobs.strength == 0:
            return self.result(self.content, (), 0.0)  # exactly the photograph, whatever the method
        started = time.perf_counter()
        if self.request.controls.color_only:
            return self._painted(self._recolored(), (), started)
        init = self._given_init()
        saver = _SnapshotSaver(self, on_progress)
        painted: Tensor | None = None
        try:
            with cancelled_by(saver.check):
                for stage, placement in list(zip(self.stages, self.placements, strict=True))[saver.first_stage :]:
                    init = init if painted is None else _softened(painted)
                    loaded = self.load(stage, placement, saver)
                    content, job = self.batch_item(loaded, init=init, resume=saver.resume)
                    painted = loaded.stylize(content, [job], saver)
        except Cancelled as cancelled:
            if cancelled.partial is not None:
                cancelled.result = self._painted(cancelled.partial, saver.losses, started)
            raise
        assert painted is not None
        result = self._painted(painted, saver.losses, started)
        saver.end(result.picture)
        return result

    def for_picture(self, content: Any, *, path: Path | None = None) -> Run:
        """The same job for another photograph, which comes to the same size; masks stay those of this one.

        Args:
            content: as for `Engine.prepare`.
            path: where it comes from, if it is no path.
        """
        height, width = self.content.pixels.shape[:2]
        picture = images.read(content, max_pixels=self.request.max_pixels, longest=max(height, width))
        picture = images.without_location(picture) if self.request.drop_gps else picture
        if path is not None:
            picture = replace(picture, origin=replace(picture.origin, path=path))
        return replace(self, content=picture.resized(height, width))

    def identity(self) -> dict[str, Any]:
        """Plain values of all that the picture depends on."""
        layout = self.layout
        maps = layout.strength, layout.preserve, layout.directions
        masks = [*layout.regions, *(each for each in maps if each is not None)]
        everything = [*self.sources, *(source for _, own in self.regions for source in own)]
        last, placement = self.stages[-1], self.placements[-1]
        init = self._given_init()
        return {
            "impasto": version("impasto"),
            "photograph": images.digest(self.content.pixels),
            "size": f"{self.content.width}x{self.content.height}",
            "style": " + ".join(f"{source.label}:{source.weight:g}" for source in everything),
            "style picture": [images.digest(source.picture.pixels) for source in everything],
            "mask": [images.digest(mask.numpy()) for mask in masks],
            "transparency": [
                None if picture.alpha is None else images.digest(picture.alpha)
                for picture in (self.content, *(source.picture for source in everything))
            ],
            "control": self.request.controls.record(),
            "method": last.method.name,
            "setting": settings.as_record(last.knobs),
            "image to start from": None if init is None else images.digest(init.numpy()),
            "precision": placement.precision,
            "device": placement.device,
        }

    def finished(self, image: Tensor) -> Picture:
        """The picture that would be saved for a method's current image."""
        return replace(self.content, pixels=self._finished(image))

    def load(self, stage: recipes.Stage, placement: Placement, on_progress: OnProgress = ignore) -> LoadedStage:
        """A stage with its weights loaded and its styles encoded; one of `loaded`, if it is there."""
        for one in self.loaded:
            if one.stage is stage and one.placement == placement:
                return one
        network = self.network() if stage.method.trained else None
        stylizer = self.models.stylizer(stage.method, placement, stage.knobs, on_progress, network=network)
        codes = tuple(self.code(stage, placement, own, mask) for mask, own in self.parts())
        return LoadedStage(stage, placement, stylizer, codes)

    def batch_item(
        self, loaded: LoadedStage, *, init: Tensor | None = None, resume: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Job]:
        """What a stage is given: the photograph `(1, 3, H, W)` on its device, and the job."""
        content = images.to_tensor(self.content.pixels).to(loaded.placement.device)
        guide = self.guide(loaded, init=init)
        return content, Job(loaded.codes[0], loaded.stage.knobs, guide, resume=resume, memory=self.memory_left())

    def code(self, stage: recipes.Stage, placement: Placement, sources: Sources, mask: Tensor | None) -> StyleCode:
        """The code of styles, where a mask holds."""
        network = self.network() if stage.method.trained else None
        style = self.style(stage, placement, sources, mask)
        return self.models.code(stage.method, placement, style, stage.knobs, network)

    def guide(self, loaded: LoadedStage, *, init: Tensor | None = None, anchors: tuple[Anchor, ...] = ()) -> Guide:
        """The guide of a stage: the masks, an image to start from and images to stay near, if its method does."""
        device, honours = loaded.placement.device, loaded.stage.method.honours
        pairs = zip(self.parts(), loaded.codes, strict=True)
        strength, directions = self.layout.strength, self.layout.directions
        return Guide(
            init=init.to(device) if init is not None and "init" in honours else None,
            anchors=anchors if "anchors" in honours else (),
            regions=tuple(Region(mask.to(device), code) for (mask, _), code in pairs if mask is not None),
            strength=None if strength is None else strength.to(device),
            directions=directions.to(device) if directions is not None and "directions" in honours else None,
            seen=_seen(self.content, device),
        )

    def memory_left(self) -> int | None:
        """Bytes for the method, beside the pictures; None for one piece."""
        height, width = self.content.pixels.shape[:2]
        everything = [*self.sources, *(source for _, own in self.regions for source in own)]
        return self.room.left_for_method(height * width, sum(source.picture.pixels.nbytes for source in everything))

    def network(self) -> Path | None:
        """The file of the trained network whose styles these are; the engine has seen to it that there is one."""
        return next((one.trained.path for _, own in self.parts() for one in own if one.trained is not None), None)

    def parts(self) -> list[tuple[Tensor | None, Sources]]:
        """Masks with their styles; the style of the whole picture takes what regions leave."""
        if not self.regions:
            return [(None, self.sources)]
        parts: list[tuple[Tensor | None, Sources]] = [
            (mask, own) for mask, (_, own) in zip(self.layout.regions, self.regions, strict=True)
        ]
        if self.sources and self.layout.rest is not None:
            parts.append((self.layout.rest, self.sources))
        return parts

    def _recolored(self) -> Tensor:
        """The photograph in the styles' colours: no painting."""
        photograph = images.to_tensor(self.content.pixels)
        changed = torch.zeros_like(photograph)
        for mask, own in self.parts():
            total = sum(source.weight for source in own)
            for source in own:
                palette = _visible(images.to_tensor(source.picture.pixels), _seen(source.picture))
                moved = color.match_colors(photograph, palette, _seen(self.content))
                share = torch.ones(()) if mask is None else mask
                changed = changed + share * (source.weight / total) * (moved - photograph)
        strength: Tensor | float = self.stages[-1].knobs.strength
        if self.layout.strength is not None:
            strength = strength * self.layout.strength
        return (photograph + strength * changed).clamp(0, 1)

    def _finished(self, image: Tensor) -> NDArray[Any]:
        """Pixels of the result, with what holds for every method: colour first, then what the photograph keeps."""
        photograph, preserve = self.content.pixels, self.layout.preserve
        if self.request.controls.keep_color != "luminance" and preserve is None and not images.is_codes(photograph):
            return images.from_tensor(image)
        result = np.empty_like(photograph)
        for rows in images.bands(photograph):
            part, own = as_float(image[:, :, rows]).float().cpu(), as_float(images.to_tensor(photograph[rows]))
            if self.request.controls.keep_color == "luminance":
                untouched = (part == own).all(1, keepdim=True)  # recolouring them would only round them
                part = torch.where(untouched, own, color.with_chroma_of(part, own))
            if preserve is not None:
                part = masks.compose(part, own, preserve[:, :, rows])
            pixels = images.from_tensor(part)
            result[rows] = images.quantise(pixels, 8 * result.itemsize) if images.is_codes(result) else pixels
        return result

    def _own_palette(self, mask: Tensor | None) -> Tensor:
        """The photograph's colours, `(1, 3, 1, N)`, where a region holds; of a large picture a sample."""
        own = images.to_tensor(self.content.pixels)
        photograph = thumbnail(own, _PALETTE_SIDE).flatten(2)
        inside = None if mask is None else thumbnail(mask, _PALETTE_SIDE).flatten() > 0.5
        seen = _seen(self.content)
        if seen is not None:
            visible = thumbnail(seen, _PALETTE_SIDE).flatten() > 0.5
            inside = visible if inside is None else inside & visible
        if inside is not None and inside.sum() >= _LEAST_PALETTE:
            photograph = photograph[:, :, inside]
        return photograph[:, :, None]

    def style(self, stage: recipes.Stage, placement: Placement, sources: Sources, mask: Tensor | None) -> Style:
        """The style images at the size at which their strokes are wanted."""
        canvas = self.content.pixels.shape[0], self.content.pixels.shape[1]
        scale = stage.knobs.style_scale
        prepared = []
        for source in sources:
            if source.trained is not None:
                tensor = images.to_tensor(source.picture.pixels)
                prepared.append(StyleImage(tensor, source.weight, source.trained.id, source.trained.name))
                continue
            if source.words:
                blank, own = images.to_tensor(source.picture.pixels), hashlib.sha256(source.words.encode()).hexdigest()
                prepared.append(StyleImage(blank, source.weight, own, words=source.words))
                continue
            row = stage.method
            pixels = resized(source.picture, canvas, scale=scale, method=row.name, least=row.smallest_side)
            tensor, digest = images.to_tensor(pixels), images.digest(source.picture.pixels)
            alpha = source.picture.alpha
            alpha = None if alpha is None else images.resize(alpha, *pixels.shape[:2])
            seen = _seen(Picture(pixels, alpha), placement.device)
            if seen is not None:
                digest += images.digest(seen.cpu().numpy())
            if self.request.controls.keep_color == "histogram":
                tensor = color.match_colors(
                    as_float(tensor), self._own_palette(mask), None if seen is None else seen.cpu()
                )
                digest += images.digest(tensor.numpy())
            prepared.append(StyleImage(tensor.to(placement.device), source.weight, digest, seen=seen))
        return Style(tuple(prepared), canvas, memory=self.memory_left())

    def _given_init(self) -> Tensor | None:
        """The picture to start from, when the user gave one, at the size of the content without stretching."""
        pixels = read_init(
            self.request,
            self.stages[-1],
            self.content.pixels.shape[:2],
            compact=self.room.tiled,
            room=self.request.max_memory,
        )
        return None if pixels is None else images.to_tensor(pixels)

    def _painted(self, image: Tensor, losses: Sequence[Mapping[str, float]], started: float) -> Result:
        picture = self.finished(image)
        return self.result(picture, losses, time.perf_counter() - started)

    def result(self, picture: Picture, losses: Sequence[Mapping[str, float]], seconds: float) -> Result:
        """A picture with all that makes it again."""
        made = record_of(
            self.request,
            self.stages,
            self.placements[-1],
            content=self.content,
            sources=self.sources,
            regions=() if self.request.controls.match_regions else self.regions,
        )
        return Result.of(picture, losses, seconds, made)


def paint_together(runs: Sequence[Run], listeners: Sequence[OnProgress]) -> list[Result | Exception]:
    """Paint pictures of one size class, that is not None, in one pass of their method.

    Args:
        runs: two or more.
        listeners: called with the progress of each. One that raises Cancelled takes its picture out.

    Returns:
        What became of each; the fault of one is not that of the others.
    """
    outcomes: list[Result | Exception | None] = [None] * len(runs)
    together = _Together(runs, [_SnapshotSaver(*pair) for pair in zip(runs, listeners, strict=True)], outcomes)
    together.paint()
    for index, run in enumerate(runs):
        if outcomes[index] is None:  # the pass failed: alone it is seen whose fault it was
            outcomes[index] = attempt(partial(run.paint, listeners[index]))
    return [outcome for outcome in outcomes if outcome is not None]


@dataclass
class _Together:
    """One pass over several pictures."""

    runs: Sequence[Run]
    savers: Sequence[_SnapshotSaver]
    outcomes: list[Result | Exception | None]

    @gradients_on()
    def paint(self) -> None:
        """Fill in the outcomes; those of a pass that failed stay None."""
        started = time.perf_counter()
        parts = [self._load(index) for index in range(len(self.runs))]
        ready = [(index, *part) for index, part in enumerate(parts) if part is not None]
        if not ready:
            return
        places, stages, contents, jobs = (list(column) for column in zip(*ready, strict=True))
        if any(stage.stylizer is not stages[0].stylizer for stage in stages):
            return  # a file of weights changed meanwhile
        try:
            pastiches = stages[0].stylize(torch.cat(contents), jobs, partial(self._report, places))
        except Exception:  # including Cancelled, when nobody is left
            return
        for row, index in enumerate(places):
            if self.outcomes[index] is None:
                self.outcomes[index] = attempt(partial(self._result, index, pastiches[row : row + 1], started))

    def _load(self, index: int) -> tuple[LoadedStage, Tensor, Job] | None:
        run = self.runs[index]
        try:
            loaded = run.load(run.stages[-1], run.placements[-1], self.savers[index])
            return loaded, *run.batch_item(loaded)
        except Exception as error:
            self.outcomes[index] = error
            return None

    def _report(self, places: Sequence[int], progress: Progress) -> None:
        """Tell each listener of its own picture; end the pass when none is left."""
        preview = progress.preview
        for row, index in enumerate(places):
            if self.outcomes[index] is not None:
                continue
            own = replace(progress, preview=None if preview is None else preview[row : row + 1], snapshot=None)
            try:
                self.savers[index](own)
            except Exception as error:
                self.outcomes[index] = error
        if all(self.outcomes[index] is not None for index in places):
            raise Cancelled

    def _result(self, index: int, pastiche: Tensor, started: float) -> Result:
        return self.runs[index]._painted(pastiche, self.savers[index].losses, started)


def _seen(picture: Picture, device: str = "cpu") -> Tensor | None:
    """How much of each pixel can be seen, `(1, 1, H, W)`; None where all of it can, or next to nothing."""
    alpha = picture.alpha
    if alpha is None or float(alpha.min()) == 1 or float(alpha.mean()) < _LEAST_SEEN:
        return None
    return torch.from_numpy(alpha)[None, None].to(device)


def _visible(pixels: Tensor, seen: Tensor | None) -> Tensor:
    """The pixels `(1, 3, 1, N)` that are at least half opaque; all pixels where too few are."""
    inside = None if seen is None else seen.flatten() > 0.5
    if inside is None or inside.sum() < _LEAST_PALETTE:
        return pixels
    return pixels.flatten(2)[:, :, inside][:, :, None]


def _softened(draft: Tensor) -> Tensor:
    """A draft without the finest grain of its decoder, which a descent of few steps would not get rid of.

    Done tile by tile: a draft that comes as codes may not fit into memory as floats.
    """
    sheet, reach = tiles.WindowedImage(draft, 1), round(_GRAIN)
    soft = sheet.blank()
    for tile in tiling.tiles_of(sheet.sides, 1024, stride=1):
        check_cancelled()
        wide = tile.grown(reach)
        smooth = masks.feather(sheet.crop(tile, reach).transpose(0, 1), _GRAIN).transpose(0, 1)
        top, left = tile.rows[0] - wide.rows[0], tile.columns[0] - wide.columns[0]
        tiles.put(soft, smooth[:, :, top:, left:], tile)
    return soft


@dataclass(frozen=True)
class _Finished:
    """A method's snapshot with what holds for every method done to its picture."""

    taken: Snapshot
    run: Run

    def image(self) -> Tensor:
        """See `Snapshot`."""
        return images.to_tensor(self.run.finished(self.taken.image()).pixels)

    def state(self) -> Mapping[str, Tensor]:
        """See `Snapshot`."""
        return self.taken.state()


class _SnapshotSaver:
    """Listens to a run: collects its losses, keeps its snapshots, and tells where it goes on."""

    def __init__(self, run: Run, on_progress: OnProgress) -> None:
        self._run, self._on_progress = run, on_progress
        self._snapshots = run.request.snapshots
        self._identity = run.identity() if self._snapshots is not None else {}
        broken = None if self._snapshots is None else self._snapshots.begin(self._identity)
        self.resume = None if broken is None else broken.state
        self.losses: list[Mapping[str, float]] = [] if broken is None else list(broken.losses)
        self.first_stage = 0 if broken is None else len(run.stages) - 1
        self._kept = -1 if broken is None else broken.steps
        self._last = Progress("preparing", 0, 0)

    def __call__(self, progress: Progress) -> None:
        """Hear one report, and pass it on."""
        if progress.losses:
            self.losses.append({**progress.losses, "step": progress.step})
        # a snapshot holds on to a whole level of a descent
        self._last = replace(progress, losses={}, preview=None) if self._snapshots is not None else _bare(progress)
        if self._snapshots is not None and self._snapshots.is_due(progress.step):
            self._keep(progress)
        seen = None if progress.snapshot is None else _Finished(progress.snapshot, self._run)
        try:
            self._on_progress(replace(progress, snapshot=seen))
        except Cancelled:
            self._keep(progress)
            raise

    def check(self) -> None:
        """Let the listener stop the run between two reports, by telling it the last one once more."""
        try:
            self._on_progress(_bare(self._last))
        except Cancelled:
            self._keep(self._last)
            raise

    def end(self, picture: Picture) -> None:
        """The run has come to its end."""
        if self._snapshots is not None:
            self._snapshots.end(picture, self._last.step)

    def _keep(self, progress: Progress) -> None:
        if self._snapshots is None or progress.snapshot is None or progress.step == self._kept:
            return
        self._kept = progress.step
        self._snapshots.keep(progress.snapshot, progress.step, self._identity, self.losses, self._run.finished)


def _bare(progress: Progress) -> Progress:
    """A report that holds on to nothing."""
    return replace(progress, losses={}, preview=None, snapshot=None)
