"""The front door for stylising: turns pictures and styles of any kind into results.

An Engine loads weights once, chooses device and precision, checks that a job fits before it starts, caches what
styles boil down to, and writes down everything that is needed to make a result again.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from impasto import device, images, settings
from impasto.assets import Store, load_weights
from impasto.assets.library import Library, means_file
from impasto.contract import OnProgress, Placement, Progress, Style, StyleCode, Stylizer, ignore
from impasto.engine import budget
from impasto.engine.masks import MaskReader, lay_out
from impasto.engine.request import OnNote, Request, Result, Sources, StyleSource, silence
from impasto.engine.run import Run
from impasto.engine.snapshots import Snapshots
from impasto.errors import InputError
from impasto.methods import recipes, registry
from impasto.models import catalog, networks
from impasto.models.encoders import load_own_weights
from impasto.ops.masks import STRENGTH_LEVELS
from impasto.video.frames import FramePainter

StyleLike: TypeAlias = Any
"""A path, a style's name or words, a PIL image, an array or a tensor; or a pair of one of these and a weight."""

_SMALLEST_TEXTURE = 64
_CODES_KEPT = 32
_MASK_SHARE = 0.1  # of a step that each further mask costs: one more weighted Gram matrix a layer
_BLANK = np.full((16, 16, 3), 0.5, np.float32)  # stands for a trained style without a thumbnail
_TILES_TAKE = 1.6  # times as long, for the second pass and the margins (bench/RESULTS.md)
_QUICK_TAKES = 0.65  # of the time of direct convolutions (bench/NOTES.md)
_SUSTAINED = 0.6  # of the convolution peak is what a whole pass reaches (bench/RESULTS.md)


class Engine:
    """Paints; safe to share between threads.

    Args:
        store: where weights and paintings are; the user's cache by default.
        device: "auto" or a torch device.
        precision: "auto" or one that the method is tested in.
    """

    def __init__(self, *, store: Store | None = None, device: str = "auto", precision: str = "auto") -> None:
        self.store = store or Store()
        self.library = Library(self.store)
        self._device, self._precision = device, precision
        self._stylizers: dict[tuple[Any, ...], Stylizer] = {}
        self._codes: OrderedDict[tuple[Any, ...], StyleCode] = OrderedDict()
        self._lock = threading.RLock()

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
            AssetError: weights or paintings cannot be had.
            Cancelled: `on_progress` asked to stop; its `result` holds the best picture so far, if there is one.
        """
        request = request or Request()
        request.controls.check()
        request, network = _for_trained(request, styles)
        stages = self._plan(request) if network is None else _sized(self._plan(request), network)
        if request.snapshots is not None:
            _check_kept(stages[-1].method, request.snapshots)
        header = images.probe(content, max_pixels=request.max_pixels)
        height, width = request.sides(header.width, header.height)
        placements = [device.place(self._device, self._precision, tested=stage.method.precisions) for stage in stages]
        room = budget.IN_ONE_PIECE
        if not request.controls.color_only:
            room = self._check_fits(stages, placements, (height, width), header, request, on_note)
        sources, regions = self._find_all(styles, request, on_progress, compact=room.tiled)
        picture = images.read(content, max_pixels=request.max_pixels, compact=room.tiled)
        own_size = picture.width, picture.height
        everything = [*sources, *(source for _, own in regions for source in own)]
        for note in (*picture.notes, *(f"style {s.label}: {note}" for s in everything for note in s.picture.notes)):
            on_note(note)
        picture = picture.resized(height, width)  # of the one that was read nothing is kept
        reader = MaskReader(
            *(images.to_tensor(picture.pixels), own_size, self.store, request.controls.feather),
            *(request.max_pixels, on_progress, on_note),
        )
        layout = lay_out(request.controls, reader)
        return Run(self, stages, placements, sources, regions, layout, picture, request, room).paint(on_progress)

    def painter(
        self,
        styles: StyleLike | Sequence[StyleLike],
        request: Request | None,
        sample: Any,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> FramePainter:
        """What paints one frame after the other in the same styles; weights and styles are loaded once.

        Args:
            styles: as for `stylize`.
            request: its size is that of the sample.
            sample: a frame `(H, W, 3)` in [0, 1]; masks that are words, and palettes, are taken from it.

        Raises:
            InputError, ResourceError, AssetError: as `stylize`.
        """
        request = replace(request or Request(), size=None)
        request.controls.check()
        request, network = _for_trained(request, styles)
        stages = self._plan(request) if network is None else _sized(self._plan(request), network)
        picture = images.read(sample)
        placements = [device.place(self._device, self._precision, tested=stage.method.precisions) for stage in stages]
        header = images.probe(sample)
        room = self._check_fits(stages, placements, (picture.height, picture.width), header, request, silence)
        sources, regions = self._find_all(styles, request, on_progress)
        reader = MaskReader(
            *(images.to_tensor(picture.pixels), (picture.width, picture.height), self.store, request.controls.feather),
            *(request.max_pixels, on_progress, on_note),
        )
        layout = lay_out(request.controls, reader)
        run = Run(self, stages, placements, sources, regions, layout, picture, request, room)
        return FramePainter(run, on_progress)

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
        if isinstance(size, bool) or not isinstance(size, int) or size < _SMALLEST_TEXTURE:
            raise InputError(f"--size is {size!r}", f"a texture takes {_SMALLEST_TEXTURE} pixels or more")
        side = round(size / 16) * 16 if seamless else size
        if side != size:
            on_note(f"a seamless texture has a side that 16 divides: {side} px")
        knobs = {**request.knobs, "content_weight": 0.0, "border": "wrap" if seamless else "mirror"}
        request = replace(request, method="optimize", init="noise", size=None, knobs=knobs)
        blank = np.full((side, side, 3), 0.5, np.float32)
        result = self.stylize(blank, styles, request, on_progress=on_progress, on_note=on_note)
        return replace(result, record={**result.record, "texture": {"size": side, "seamless": seamless}})

    def _find_all(
        self,
        styles: StyleLike | Sequence[StyleLike],
        request: Request,
        on_progress: OnProgress,
        *,
        compact: bool = False,
    ) -> tuple[Sources, tuple[tuple[Any, Sources], ...]]:
        """The styles of the whole picture, and masks with theirs."""

        def find(wanted: StyleLike | Sequence[StyleLike]) -> Sources:
            return self.find_styles(wanted, max_pixels=request.max_pixels, on_progress=on_progress, compact=compact)

        regions = request.controls.regions
        without = isinstance(styles, list | tuple) and not styles and bool(regions)
        return () if without else find(styles), tuple((mask, find(style)) for mask, style in regions)

    def find_styles(
        self,
        styles: StyleLike | Sequence[StyleLike],
        *,
        max_pixels: int = images.MAX_PIXELS,
        on_progress: OnProgress = ignore,
        compact: bool = False,
    ) -> tuple[StyleSource, ...]:
        """Read style images: styles of trained networks and files first, then the library by number or words.

        compact: as for `images.read`.

        Raises:
            InputError: no style, a weight that is not above 0, nothing found, or several candidates.
        """
        listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
        if not listed:
            raise InputError("no style was given", "give one with --style; impasto styles lists the library")
        pairs = [item if isinstance(item, tuple) else (item, 1.0) for item in listed]
        find = partial(self._find_style, max_pixels=max_pixels, on_progress=on_progress, compact=compact)
        return tuple(find(style, _weight(weight)) for style, weight in pairs)

    def _find_style(
        self, style: Any, weight: float, *, max_pixels: int, on_progress: OnProgress, compact: bool
    ) -> StyleSource:
        if catalog.is_trained(style):
            found = catalog.find(style)
            return StyleSource(found.name, found.id, images.read(found.thumbnail or _BLANK), weight, found)
        if isinstance(style, str) and not means_file(style):
            painting = self.library.find(style, on_progress=on_progress)
            picture = self.library.read(painting, max_pixels=max_pixels, compact=compact, on_progress=on_progress)
            return StyleSource(painting.title, painting.id, picture, weight)
        picture = images.read(style, max_pixels=max_pixels, compact=compact)
        name = Path(style).name if isinstance(style, str | Path) else "picture"
        return StyleSource(Path(name).stem, name, picture, weight)

    def stylizer(
        self,
        row: registry.Method,
        placement: Placement,
        knobs: Any,
        on_progress: OnProgress = ignore,
        *,
        network: Path | None = None,
    ) -> Stylizer:
        """The loaded method; the weights that these settings need are fetched and loaded the first time.

        Those of a trained `network` are read from its file.
        """
        with self._lock:
            needed = row.needs(knobs)
            key = (row.name, placement, _version(network), _versions(needed))
            if key not in self._stylizers:
                own = [name for name in needed if ":" in name]
                self.store.fetch([name for name in needed if name not in own], on_progress=on_progress)
                read_own = getattr(row.load_class(), "read_weights", load_own_weights)
                weights = {
                    name: read_own(name) if name in own else load_weights(self.store.path(name)) for name in needed
                }
                if network is not None:
                    weights["network"] = dict(networks.read(network).tensors)
                stylizer: Stylizer = row.load_class()(weights, placement)
                self._stylizers[key] = stylizer
            return self._stylizers[key]

    def clear_style_codes(self) -> None:
        """Drop what styles boiled down to, so that the next picture's time includes it."""
        with self._lock:
            self._codes.clear()

    def code(
        self, row: registry.Method, placement: Placement, style: Style, knobs: Any, network: Path | None = None
    ) -> StyleCode:
        """What a style boils down to for a method; computed once for all that shapes it."""
        key = (
            row.name,
            placement,
            _version(network),
            tuple((image.digest, image.pixels.shape, image.weight) for image in style.images),
            style.canvas,
            settings.style_key(knobs),
            _versions(row.needs(knobs)),
        )
        with self._lock:
            if key not in self._codes:
                self._codes[key] = self.stylizer(row, placement, knobs, network=network).encode_style(style, knobs)
            self._codes.move_to_end(key)
            while len(self._codes) > _CODES_KEPT:
                self._codes.popitem(last=False)
            return self._codes[key]

    def _plan(self, request: Request) -> tuple[recipes.Stage, ...]:
        values = dict(request.knobs)
        if request.init is not None:
            values["init"] = request.init if request.init in _init_choices(request) else "file"
        method = request.method
        if request.controls.color_only:
            if method != "auto" or request.init is not None:
                raise InputError("--color-only moves colours and paints nothing", "leave out --method and --init")
            method = recipes.DRAFT_METHOD  # for its knobs: the strength
        stages = recipes.plan(method, request.quality, values)
        for stage in stages:
            _check_honoured(stage.method, request.controls.guide_fields())
            if "init" in values and stage is stages[-1] and "init" not in stage.method.honours:
                raise InputError(f"method {stage.method.name} starts from no image", "leave out --init")
        return stages

    def _check_fits(
        self,
        stages: Sequence[recipes.Stage],
        placements: Sequence[Placement],
        sides: tuple[int, int],
        header: images.Header,
        request: Request,
        on_note: OnNote,
    ) -> budget.Budget:
        """Refuse what memory cannot hold, choose between one piece and tiles, and say beforehand what takes long."""
        height, width = sides
        parts = _mask_count(request)
        room = budget.plan(
            *(stages, placements, sides, (header.height, header.width)),
            maps=request.controls.map_count(),
            regions=parts if parts > 1 else 0,
            limit=request.max_memory,
        )
        pairs = zip(stages, placements, strict=True)
        tiled = room.memory is not None
        seconds = sum(predicted_seconds(*pair, height, width, masks=parts, tiled=tiled) for pair in pairs)
        if tiled:
            on_note(f"{width}x{height} px in one piece would take more memory: painted in tiles, seen as one picture")
            seconds *= _TILES_TAKE
        if seconds >= 5:
            on_note(f"{width}x{height} px by {stages[-1].method.name}: about {duration(seconds)}")
        return room


def _sized(stages: tuple[recipes.Stage, ...], path: Path) -> tuple[recipes.Stage, ...]:
    """Stages whose rows tell the work and the memory of this network, not of the largest."""
    network = networks.read(path).network()
    work, memory = network.operations(), network.memory()
    return tuple(replace(stage, method=replace(stage.method, operations=work, memory=memory)) for stage in stages)


def _for_trained(request: Request, styles: Any) -> tuple[Request, Path | None]:
    """Choose the method for styles of a trained network, and refuse what such styles cannot do."""
    named = [*_each(styles), *(one for _, own in request.controls.regions for one in _each(own))]
    found = [catalog.find(one) for one in named if catalog.is_trained(one)]
    asked = None if request.method == "auto" else registry.find(request.method)
    if not found:
        if asked is not None and asked.trained:
            hint = "give one with --style, such as NET.safetensors; impasto train makes it"
            raise InputError(f"method {asked.name} paints the styles of a trained network", hint)
        return request, None
    if len(found) < len(named):
        raise InputError("styles of a trained network do not mix with pictures", "give the one or the other")
    if len({one.path for one in found}) > 1:
        raise InputError("the styles belong to several networks", "mix styles of one")
    if asked is not None and not asked.trained:
        raise InputError(f"{found[0].id} is a trained style; method {asked.name} takes pictures", "leave out --method")
    if request.controls.color_only or request.controls.keep_color == "histogram":
        given = "--color-only" if request.controls.color_only else "--keep-color histogram"
        raise InputError(f"{given} needs a painting's colours", "give a painting, or use --keep-color luminance")
    return replace(request, method="feedforward" if asked is None else asked.name), found[0].path


def _each(styles: Any) -> list[Any]:
    """The styles without their weights."""
    listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
    return [one[0] if isinstance(one, tuple) else one for one in listed]


def _version(network: Path | None) -> tuple[str, int] | None:
    """A network's file as it is now: one that was written again is loaded again."""
    return None if network is None else (str(network.resolve()), network.stat().st_mtime_ns)


def _versions(needed: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Names of weights; those of a user's file with the time of its last change, since it may be another tomorrow."""
    files = {name: Path(name.partition(":")[2]) for name in needed if ":" in name}
    return tuple((name, files[name].stat().st_mtime_ns if name in files else 0) for name in needed)


def _check_kept(method: registry.Method, snapshots: Snapshots) -> None:
    if method.kind != "objective":
        raise InputError(
            f"method {method.name} paints in one step: it leaves no snapshots",
            "use --quality good, or leave out --save-every, --resume and --time-lapse",
        )
    snapshots.check()


def _check_honoured(method: registry.Method, fields: frozenset[str]) -> None:
    """Raise InputError for what a method cannot take into account, naming those that can."""
    words = {"regions": "regions", "strength": "a strength map or protected faces"}
    for name in sorted(fields - method.honours):
        able = [row.name for row in registry.methods().values() if name in row.honours]
        raise InputError(f"method {method.name} cannot honour {words[name]}", f"use --method {' or '.join(able)}")


def predicted_seconds(
    stage: recipes.Stage, placement: Placement, height: int, width: int, *, masks: int = 1, tiled: bool = False
) -> float:
    """Time that a stage will take, from its operations and the measured rate of this machine.

    Args:
        stage: the method and its settings.
        placement: where it computes.
        height, width: of the picture.
        masks: soft masks whose statistics are taken apart.
        tiled: whether it paints in tiles.
    """
    cls = stage.method.load_class()
    passes = cls.passes(height, width, stage.knobs) if hasattr(cls, "passes") else 1.0
    if stage.method.kind == "objective":
        passes *= 1 + _MASK_SHARE * (masks - 1)
    if not tiled and stage.method.fixed_bytes(stage.knobs, placement):
        passes *= _QUICK_TAKES
    operations = float(stage.method.operations * passes * height * width)
    return operations / (device.convolution_rate(placement) * _SUSTAINED)


def _mask_count(request: Request) -> int:
    """How many parts of the picture have statistics of their own: regions and their rest, by levels of strength."""
    controls = request.controls
    parts = len(controls.regions) + 1 if controls.regions else 1
    return parts * (len(STRENGTH_LEVELS) if "strength" in controls.guide_fields() else 1)


def _is_several(styles: Any) -> bool:
    """A tuple is several styles unless it is one style and its weight."""
    return isinstance(styles, tuple) and not (len(styles) == 2 and isinstance(styles[1], int | float))


def _weight(weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight <= 0:
        raise InputError(f"the weight of a style is {weight!r}", "it takes a number above 0")
    return float(weight)


def _init_choices(request: Request) -> tuple[str, ...]:
    """What a method's own `init` may be in words; anything else is a picture to start from."""
    if not isinstance(request.init, str):
        return ()
    rows = registry.methods().values()
    knobs = (knob for row in rows for knob in settings.knobs_of(row.load_knobs()) if knob.name == "init")
    return tuple(choice for knob in knobs for choice in knob.choices if choice != "file")


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
