"""The entry point for stylising: turns pictures and styles of any kind into results.

An Engine loads weights once, chooses device, precision and runtime, checks that a job fits before it starts, caches
style codes, and records everything that is needed to make a result again. A job goes `prepare`, `Run.paint`, and
comes out as a Result; films take the same `prepare`.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import device as hardware
from impasto import images
from impasto.assets import Store
from impasto.assets.library import Library
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.engine import choosing
from impasto.engine.cache import ModelCache
from impasto.engine.plan import Plan, make_plan
from impasto.engine.reading import read_photograph, tell_notes
from impasto.engine.request import OnNote, Request, Result, Sources, Task, attempt, check_result, silence
from impasto.engine.styles import StyleLike, as_sentences, find_styles, held_bytes
from impasto.errors import Cancelled, InputError, MissingExtra, as_whole, require_torch
from impasto.runtimes import choice
from impasto.runtimes.sessions import RUNTIMES, installed

if TYPE_CHECKING:
    from impasto.engine.any_path import AnyJob
    from impasto.engine.fast_path import FastJob
    from impasto.engine.run import Run


_SMALLEST_TEXTURE = 64
_BATCH_SHARE = 0.5  # of free memory, for pictures that are painted in one pass


@dataclass(frozen=True)
class Demand:
    """What a picture will take.

    Attributes:
        slow: whether it is an optimisation.
        seconds: predicted; what clients are charged with.
        size_class: what pictures have in common that can be painted in one pass; None for those painted alone.
        fits: pictures like it that memory holds at once.
    """

    slow: bool
    seconds: float = 1.0
    size_class: Hashable | None = None
    fits: int = 1


class Engine:
    """Paints pictures; safe to share between threads. torch is loaded when a job first needs it.

    Args:
        store: where weights and paintings are; the user's cache by default.
        device: "auto" or a torch device.
        precision: "auto" or one that the method is tested in.
        runtime: what runs networks: "torch"; "onnx", ONNX Runtime in float32; "openvino"; or "auto", the fastest that
            is installed, measured with each network the first time. As long as torch is not loaded, which takes longer
            than a picture, the others alone are measured for plain pictures in trained styles.

    Raises:
        InputError: there is no such device, precision or runtime.
    """

    def __init__(
        self, *, store: Store | None = None, device: str = "auto", precision: str = "auto", runtime: str = "auto"
    ) -> None:
        if runtime not in choosing.NAMES:
            raise InputError(f"there is no runtime {runtime!r}", f"it is one of {', '.join(choosing.NAMES)}")
        if device not in ("auto", "cpu"):
            hardware.check_device(device)
        if precision not in ("auto", *hardware.PRECISIONS):
            raise InputError(
                f"there is no precision {precision!r}", f"it is one of auto, {', '.join(hardware.PRECISIONS)}"
            )
        self.store = store or Store()
        self.library = Library(self.store)
        self.models = ModelCache(self.store)
        self._device, self._precision, self._runtime = device, precision, runtime

    def placement(self, tested: Sequence[str]) -> Placement:
        """Where what is trained goes, in the fastest of the `tested` precisions. Raises InputError."""
        return hardware.place(self._device, self._precision, tested=tested)

    def stylize(
        self,
        content: Any,
        styles: StyleLike | Sequence[StyleLike],
        request: Request | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> Result:
        """Paint one picture.

        Args:
            content: a path, bytes, a file object, a PIL image, an array `(H, W, 3)` or a tensor.
            styles: one style or several; each may be a pair with its weight. None may be given where the request's
                regions say what changes.

        Raises:
            InputError: something given cannot be used.
            ResourceError: the job does not fit into memory.
            AssetError: weights or paintings cannot be fetched.
            MissingExtra: the runtime is not installed, or torch is not, which all but plain pictures in trained styles
                need.
            Cancelled: `on_progress` asked to stop; its `result` holds the best picture so far, if there is one.
        """
        request, content = request or Request(), images.buffered(content)
        result = self._by_fast_path(content, styles, request, on_progress, on_note)
        if result is not None:
            return result
        return self.prepare(content, styles, request, on_progress=on_progress, on_note=on_note).paint(on_progress)

    def prepare(
        self,
        content: Any,
        styles: StyleLike | Sequence[StyleLike],
        request: Request,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
        announce_time: bool = True,
    ) -> Run:
        """Check a job, read its pictures and find its masks, so that only painting is left.

        Args:
            content, styles, request, on_progress, on_note: as for `stylize`.
            announce_time: note the predicted time of a picture that takes long.

        Raises:
            InputError, ResourceError, AssetError: as `stylize`.
        """
        content, request = images.buffered(content), _with_pipes_read(request)
        header = images.probe(content, max_pixels=request.max_pixels)
        tell = on_note if announce_time else silence
        plan = make_plan(
            styles,
            request,
            header,
            device_name=self._device,
            precision=self._precision,
            runtime=self._runtime,
            on_note=tell,
        )
        require_torch()
        from impasto.engine.run import gradients_on  # not before: what is wrong is told without torch

        with gradients_on():
            if self._runtime == "auto" and not plan.room.tiled:
                plan = self._with_fastest(plan)
            return self._read(content, styles, plan, on_progress, on_note)

    def _with_fastest(self, plan: Plan) -> Plan:
        """The plan with the fastest runtime for its last stage, where there is a choice."""
        stage, placement = plan.stages[-1], plan.placements[-1]
        chosen = choosing.fastest(self.models, stage, placement, plan.network, self._precision)
        return replace(plan, placements=(*plan.placements[:-1], chosen))

    def _read(
        self,
        content: Any,
        styles: StyleLike | Sequence[StyleLike],
        plan: Plan,
        on_progress: OnProgress,
        on_note: OnNote,
    ) -> Run:
        from impasto.engine.masks import MaskReader, lay_out
        from impasto.engine.matching import match_regions
        from impasto.engine.run import Run

        request, compact = plan.request, plan.room.tiled
        sources, regions = self._find_all(styles, plan, on_progress, on_note)
        everything = [*sources, *(source for _, own in regions for source in own)]
        left = None if request.max_memory is None else request.max_memory - held_bytes(everything)
        picture = read_photograph(content, request, compact=compact, longest=max(plan.sides), room=left)
        tell_notes(picture, tuple(everything), on_note)
        picture = picture.resized(*plan.sides)  # of the one that was read nothing is kept
        reader = MaskReader(
            photograph=images.to_tensor(picture.pixels),
            own_size=plan.own_size,
            store=self.store,
            feather=request.controls.feather,
            max_pixels=request.max_pixels,
            room=left,
            on_progress=on_progress,
            on_note=on_note,
        )
        layout = lay_out(request.controls, reader)
        if request.controls.match_regions:
            regions, found = match_regions(
                reader.photograph,
                sources,
                self.store,
                softness=request.controls.feather,
                on_progress=on_progress,
                on_note=on_note,
            )
            layout = replace(layout, regions=found.regions)
        return Run(
            models=self.models,
            stages=plan.stages,
            placements=plan.placements,
            sources=sources,
            regions=regions,
            layout=layout,
            content=picture,
            request=request,
            room=plan.room,
            size_class=plan.size_class,
        )

    def free_memory(self) -> int:
        """Bytes that are free where this engine paints."""
        return hardware.available_memory(hardware.place(self._device).device)

    def warm_up(self) -> None:
        """Do what the first picture would have to wait for: load torch, and measure how fast it computes here."""
        if hardware.has_torch():
            hardware.convolution_rate(hardware.place(self._device, tested=hardware.PRECISIONS))

    def demand(self, task: Task) -> Demand:
        """What a picture will take, told from its header and its settings.

        Raises:
            InputError, ResourceError: as `stylize`.
        """
        content, request = images.buffered(task.content), _with_pipes_read(task.request)
        header = images.probe(content, max_pixels=request.max_pixels)
        plan = make_plan(
            task.styles,
            request,
            header,
            device_name=self._device,
            precision=self._precision,
            runtime=self._runtime,
            on_note=silence,
        )
        room = hardware.available_memory(plan.placements[-1].device) if request.max_memory is None else 0
        return Demand(
            slow=plan.stages[-1].method.kind == "objective" and not request.controls.color_only,
            seconds=plan.seconds,
            size_class=None if self._runtime in RUNTIMES or request.max_memory is not None else plan.size_class,
            fits=max(1, int(room * _BATCH_SHARE) // max(1, plan.room.needed)),
        )

    def paint_all(self, tasks: Sequence[Task], listeners: Sequence[OnProgress]) -> list[Result | Exception]:
        """Paint pictures, those of one size class in one pass; without torch one after the other, as `stylize` does.

        Args:
            tasks: what to paint.
            listeners: called with the progress of each; one that raises Cancelled stops only its own.

        Returns:
            What became of each: its result, or what `stylize` would have raised.
        """
        if len(tasks) == 1:
            (task,), (listener,) = tasks, listeners
            return [attempt(lambda: self.stylize(task.content, task.styles, task.request, on_progress=listener))]
        outcomes: dict[int, Result | Exception] = {}
        groups: dict[Hashable, list[tuple[int, Run]]] = {}
        for index, (task, listener) in enumerate(zip(tasks, listeners, strict=True)):
            outcome = attempt(partial(self._painted_or_prepared, task, listener))
            if isinstance(outcome, Result | Exception):
                outcomes[index] = outcome
            else:
                groups.setdefault(outcome.size_class or index, []).append((index, outcome))
        if groups:
            from impasto.engine.run import paint_together  # not before: it loads torch
        for group in groups.values():
            places, runs = [index for index, _ in group], [run for _, run in group]
            own = [listeners[index] for index in places]
            painted = [attempt(partial(runs[0].paint, own[0]))] if len(runs) == 1 else paint_together(runs, own)
            outcomes |= zip(places, painted, strict=True)
        return [outcomes[index] for index in range(len(tasks))]

    def _painted_or_prepared(self, task: Task, listener: OnProgress) -> Result | Run:
        """The result where the fast path gives it: loading torch for a batch would hold it up for seconds."""
        content, request = images.buffered(task.content), task.request
        result = self._by_fast_path(content, task.styles, request, listener, silence)
        return result or self.prepare(content, task.styles, request, on_progress=listener)

    def mix(
        self,
        content: Any,
        styles: Sequence[StyleLike],
        weights: Iterable[Sequence[float]],
        request: Request | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> Iterator[Result]:
        """Paint one picture in several mixtures of the same styles.

        Args:
            content: as for `stylize`.
            styles: two or more.
            weights: for each mixture the share of each style, 0 or more, not all 0; see `recipes.mixtures`.
        """
        listed = list(weights)
        for done, shares in enumerate(listed):
            if not sum(shares) > 0:
                raise InputError("the weights of the styles sum to 0", "give one of them a weight above 0")

            def report(progress: Progress, done: int = done) -> None:
                on_progress(replace(progress, stage="mixing", step=done, total=len(listed), unit="picture", done=None))

            pairs = [(style, share) for style, share in zip(styles, shares, strict=True) if share > 0]
            yield self.stylize(content, pairs, request, on_progress=report, on_note=silence if done else on_note)

    def texture(
        self,
        styles: StyleLike | Sequence[StyleLike],
        *,
        size: int = 512,
        seamless: bool = False,
        request: Request | None = None,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> Result:
        """Paint a square in a style with no content, from noise, by `optimize`.

        Args:
            styles: as for `stylize`.
            size: side in pixels, 64 or more.
            seamless: whether copies side by side show no seam; the side becomes a multiple of 16.

        Raises:
            InputError, ResourceError, AssetError, Cancelled: as `stylize`.

        Paper: arXiv:1505.07376 (Gatys, Ecker and Bethge 2015).
        """
        request = request or Request()
        whole = as_whole(size, low=_SMALLEST_TEXTURE)
        if whole is None:
            raise InputError(f"--size is {size!r}", f"a texture takes {_SMALLEST_TEXTURE} pixels or more")
        side = round(whole / 16) * 16 if seamless else whole
        if side != whole:
            on_note(f"a seamless texture has a side that 16 divides: {side} px")
        knobs = {**request.knobs, "content_weight": 0.0, "border": "wrap" if seamless else "mirror"}
        request = replace(request, method="optimize", init="noise", size=None, knobs=knobs)
        check_result(side, side, request.max_pixels)
        blank = np.full((side, side, 3), 0.5, np.float32)
        made = {"texture": {"size": side, "seamless": seamless}}
        try:
            result = self.stylize(blank, styles, request, on_progress=on_progress, on_note=on_note)
        except Cancelled as cancelled:
            if cancelled.result is not None:
                cancelled.result = replace(cancelled.result, record={**cancelled.result.record, **made})
            raise
        return replace(result, record={**result.record, **made})

    def find_styles(
        self,
        styles: StyleLike | Sequence[StyleLike],
        *,
        max_pixels: int = images.MAX_PIXELS,
        on_progress: OnProgress = ignore,
    ) -> Sources:
        """Read style images; see `impasto.engine.styles.find_styles`."""
        return find_styles(self.library, styles, max_pixels=max_pixels, on_progress=on_progress)

    def _find_all(
        self, styles: StyleLike | Sequence[StyleLike], plan: Plan, on_progress: OnProgress, on_note: OnNote
    ) -> tuple[Sources, tuple[tuple[Any, Sources], ...]]:
        """The styles of the whole picture, and masks with theirs; smaller where memory is short."""
        request, regions = plan.request, plan.request.controls.regions
        without = isinstance(styles, list | tuple) and not styles and bool(regions)
        found: list[Sources] = []
        for own in (() if without else (styles,)) + tuple(style for _, style in regions):
            held = held_bytes(source for sources in found for source in sources)
            found.append(
                find_styles(
                    self.library,
                    as_sentences(own) if plan.stages[-1].method.takes_words else own,
                    max_pixels=request.max_pixels,
                    on_progress=on_progress,
                    on_note=on_note,
                    compact=plan.room.tiled,
                    longest=plan.style_side,
                    room=None if request.max_memory is None else request.max_memory - held,
                )
            )
        whole = () if without else found.pop(0)
        return whole, tuple((mask, own) for (mask, _), own in zip(regions, found, strict=True))

    def _by_fast_path(
        self, content: Any, styles: Any, request: Request, on_progress: OnProgress, on_note: OnNote
    ) -> Result | None:
        """The result without torch, where another runtime was asked for, or torch is not loaded; else None."""
        asked, here = self._runtime not in ("auto", "torch"), self._device in ("auto", "cpu")
        if self._runtime == "torch" or not (asked or (here and sys.modules.get("torch") is None)):
            return None
        from impasto.engine.any_path import AnyJob
        from impasto.engine.fast_path import FastJob

        job: FastJob | AnyJob | None = FastJob.of(styles, request)
        if job is None and (asked or not hardware.has_torch()):  # else torch is worth loading: a pass takes longer
            job = AnyJob.of(styles, request, self.store, on_progress)
        if job is None:
            return None
        header = images.probe(content, max_pixels=request.max_pixels)
        height, width = request.sides(header.width, header.height)
        painter = self._with_room(job, height * width, asked, on_note)
        if painter is None:
            return None
        picture = read_photograph(content, request)
        sources = job.sources(partial(self.find_styles, styles, max_pixels=request.max_pixels, on_progress=on_progress))
        if not job.takes(picture, sources):
            return None
        tell_notes(picture, sources, on_note)
        return job.paint(painter, self.models, request, picture.resized(height, width), sources, on_progress)

    def _with_room(self, job: FastJob | AnyJob, pixels: int, asked: bool, on_note: OnNote) -> Any:
        """What paints a job without torch; None where nothing does, or memory is short."""
        try:
            painter: Any = self._fast_painter(job)
        except MissingExtra as error:
            if asked or not hardware.has_torch():
                raise
            on_note(f"painted by PyTorch: {error.message} ({error.hint})")
            return None
        short = painter is not None and pixels * job.memory(painter) > hardware.available_memory()
        return None if short else painter

    def _fast_painter(self, job: FastJob | AnyJob) -> Any:
        """The fastest runtime with the job's networks; None where nothing that is installed takes them."""
        row, names = job.stage.method, [self._runtime]
        if self._runtime == "auto":
            names = choosing.able([name for name in installed() if name in row.runtimes], self._precision)
        placements = [choosing.in_runtime(row, self._device, self._precision, name) for name in names]
        painters: dict[str, Any] = {
            each.runtime: job.open(self.models, each.runtime, each.precision) for each in placements
        }
        if len(painters) < 2:
            return next(iter(painters.values()), None)
        seconds = choice.measured(
            job.key,
            {name: job.trial(painter) for name, painter in painters.items()},
            self.models.folder,
            precision=self._precision,
        )
        return painters[choice.fastest(seconds)]


def _with_pipes_read(request: Request) -> Request:
    """The same with what its pipes give in their place: masks and the image to start from are read more than once."""
    controls = request.controls
    regions = tuple((images.buffered(mask), style) for mask, style in controls.regions)
    preserve, strength_map = images.buffered(controls.preserve), images.buffered(controls.strength_map)
    kept = replace(controls, regions=regions, preserve=preserve, strength_map=strength_map)
    return replace(request, init=images.buffered(request.init), controls=kept)
