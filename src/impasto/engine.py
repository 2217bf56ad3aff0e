"""The front door for stylising: turns pictures and styles of any kind into results.

An Engine loads weights once, chooses device and precision, checks that a job fits before it starts, caches what
styles boil down to, and writes down everything that is needed to make a result again.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impasto import color, device, images, masks, params, recipes, registry
from impasto.assets import Store, load_weights
from impasto.contract import (
    Guide,
    Job,
    OnProgress,
    Placement,
    Progress,
    Region,
    Style,
    StyleCode,
    StyleImage,
    Stylizer,
    ignore,
)
from impasto.controls import Controls, Layout, MaskReader, lay_out, mask_name
from impasto.errors import Cancelled, InputError
from impasto.images import Picture
from impasto.library import Library, means_file

OnNote: TypeAlias = Callable[[str], None]
"""Receives one-line remarks for people: what was assumed, how long it will take."""

StyleLike: TypeAlias = Any
"""A path, a style's name or words, a PIL image, an array or a tensor; or a pair of one of these and a weight."""

SMALLEST_CONTENT = 8
_SMALLEST_TEXTURE = 64
_LEAST_PALETTE = 64  # pixels of a region whose colours say anything
_CODES_KEPT = 32
_SUSTAINED = 0.6  # of the convolution peak is what a whole pass reaches (bench/RESULTS.md)
_ENLARGED = 2.0  # a style image is enlarged at most so much: beyond it there is nothing but blur to learn from


def _silence(note: str) -> None:
    """The callback that hears no notes."""


@dataclass(frozen=True)
class Request:
    """How to paint.

    Attributes:
        method: a registered method, or "auto".
        quality: "draft", "good", "best", or None for good.
        size: longest side of the result in pixels; None keeps the photograph's.
        init: image to start from: one of the method's choices, or a picture of any kind.
        knobs: the method's settings by name.
        max_memory: bytes that the job may take, or None for what is available.
        max_pixels: refuse pictures with more.
        controls: colour, regions and what to keep.
    """

    method: str = "auto"
    quality: str | None = None
    size: int | None = None
    init: Any = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    max_memory: int | None = None
    max_pixels: int = images.MAX_PIXELS
    controls: Controls = field(default_factory=Controls)


@dataclass(frozen=True)
class StyleSource:
    """A style image that was found and read.

    Attributes:
        label: for people and file names.
        id: what finds it again: a library id or a file name.
        picture: its pixels.
        weight: its share.
    """

    label: str
    id: str
    picture: Picture
    weight: float = 1.0


Sources: TypeAlias = tuple[StyleSource, ...]


@dataclass(frozen=True)
class Result:
    """A painted picture and how it came about.

    Attributes:
        picture: pixels and all that is needed to write it like its source.
        losses: at each step of the last stage, by name; empty for feed-forward methods.
        seconds: computing time, reading and writing left out.
        record: what makes it again, as plain values.
    """

    picture: Picture
    losses: tuple[Mapping[str, float], ...]
    seconds: float
    record: Mapping[str, Any]

    @property
    def image(self) -> Any:
        """The picture as a PIL image."""
        return images.to_pil(self.picture)

    def save(self, path: str | Path, *, drop_gps: bool = False, on_note: OnNote = _silence) -> Path:
        """Write the picture, whole or not at all, with its record in the metadata.

        Args:
            path: its ending names the format.
            drop_gps: leave the place out of the metadata.
            on_note: hears what the format cannot hold.

        Returns:
            The path.

        Raises:
            InputError: it cannot be written there.
            ResourceError: the disk is full.
        """
        target = Path(path)
        images.check_output(target, ())
        for note in images.write(self.picture, target, record=self.record, drop_gps=drop_gps):
            on_note(note)
        return target

    def _repr_png_(self) -> bytes:
        import io

        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG")
        return buffer.getvalue()


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
        self._stylizers: dict[tuple[str, Placement], Stylizer] = {}
        self._codes: OrderedDict[tuple[Any, ...], StyleCode] = OrderedDict()
        self._lock = threading.RLock()

    def stylize(
        self,
        content: Any,
        styles: StyleLike | Sequence[StyleLike],
        request: Request | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = _silence,
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
        stages = self._plan(request)
        header = images.probe(content, max_pixels=request.max_pixels)
        width, height = _output_size(header.width, header.height, request.size)
        placements = [device.place(self._device, self._precision, tested=stage.method.precisions) for stage in stages]
        if not request.controls.color_only:
            self._check_fits(stages, placements, (height, width), request, on_note)
        sources, regions = self._find_all(styles, request, on_progress)
        picture = images.read(content, max_pixels=request.max_pixels)
        everything = [*sources, *(source for _, own in regions for source in own)]
        for note in (*picture.notes, *(f"style {s.label}: {note}" for s in everything for note in s.picture.notes)):
            on_note(note)
        resized = _resized(picture, height, width)
        reader = MaskReader(
            *(images.to_tensor(resized.pixels), (picture.width, picture.height), self.store, request.controls.feather),
            *(request.max_pixels, on_progress, on_note),
        )
        layout = lay_out(request.controls, reader)
        return _Run(self, stages, placements, sources, regions, layout, resized, request).paint(on_progress)

    def mix(
        self,
        content: Any,
        styles: Sequence[StyleLike],
        weights: Iterable[Sequence[float]],
        request: Request | None = None,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = _silence,
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
            yield self.stylize(content, pairs, request, on_progress=report, on_note=_silence if done else on_note)

    def texture(
        self,
        styles: StyleLike | Sequence[StyleLike],
        *,
        size: int = 512,
        seamless: bool = False,
        request: Request | None = None,
        on_progress: OnProgress = ignore,
        on_note: OnNote = _silence,
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
        self, styles: StyleLike | Sequence[StyleLike], request: Request, on_progress: OnProgress
    ) -> tuple[Sources, tuple[tuple[Any, Sources], ...]]:
        """The styles of the whole picture, and masks with theirs."""

        def find(wanted: StyleLike | Sequence[StyleLike]) -> Sources:
            return self.find_styles(wanted, max_pixels=request.max_pixels, on_progress=on_progress)

        regions = request.controls.regions
        without = isinstance(styles, list | tuple) and not styles and bool(regions)
        return () if without else find(styles), tuple((mask, find(style)) for mask, style in regions)

    def find_styles(
        self,
        styles: StyleLike | Sequence[StyleLike],
        *,
        max_pixels: int = images.MAX_PIXELS,
        on_progress: OnProgress = ignore,
    ) -> tuple[StyleSource, ...]:
        """Read style images: files first, then the library by number or words.

        Raises:
            InputError: no style, a weight that is not above 0, nothing found, or several candidates.
        """
        listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
        if not listed:
            raise InputError("no style was given", "give one with --style; impasto styles lists the library")
        pairs = [item if isinstance(item, tuple) else (item, 1.0) for item in listed]
        return tuple(self._find_style(style, _weight(weight), max_pixels, on_progress) for style, weight in pairs)

    def _find_style(self, style: Any, weight: float, max_pixels: int, on_progress: OnProgress) -> StyleSource:
        if isinstance(style, str) and not means_file(style):
            painting = self.library.find(style, on_progress=on_progress)
            picture = images.read(self.library.path(painting, on_progress=on_progress), max_pixels=max_pixels)
            return StyleSource(painting.title, painting.id, picture, weight)
        picture = images.read(style, max_pixels=max_pixels)
        name = Path(style).name if isinstance(style, str | Path) else "picture"
        return StyleSource(Path(name).stem, name, picture, weight)

    def stylizer(self, row: registry.Method, placement: Placement, on_progress: OnProgress = ignore) -> Stylizer:
        """The loaded method; weights are fetched and loaded the first time."""
        with self._lock:
            key = (row.name, placement)
            if key not in self._stylizers:
                self.store.fetch(row.assets, on_progress=on_progress)
                weights = {asset: load_weights(self.store.path(asset)) for asset in row.assets}
                stylizer: Stylizer = row.load_class()(weights, placement)
                self._stylizers[key] = stylizer
            return self._stylizers[key]

    def forget_styles(self) -> None:
        """Drop what styles boiled down to, so that the next picture's time includes it."""
        with self._lock:
            self._codes.clear()

    def code(self, row: registry.Method, placement: Placement, style: Style, knobs: Any) -> StyleCode:
        """What a style boils down to for a method; computed once for all that shapes it."""
        key = (
            row.name,
            placement,
            tuple((image.digest, image.pixels.shape, image.weight) for image in style.images),
            style.canvas,
            params.style_key(knobs),
        )
        with self._lock:
            if key not in self._codes:
                self._codes[key] = self.stylizer(row, placement).encode_style(style, knobs)
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
        request: Request,
        on_note: OnNote,
    ) -> None:
        """Refuse what memory cannot hold, and say beforehand what takes long."""
        height, width = sides
        seconds = 0.0
        for stage, placement in zip(stages, placements, strict=True):
            share = 1.0 if placement.precision == "float32" else 0.5
            needed = int(stage.method.memory * share * height * width)
            device.check_memory(needed, width, height, limit=request.max_memory, device=placement.device)
            seconds += predicted_seconds(stage, placement, height, width)
        if seconds >= 5:
            on_note(f"{width}x{height} px by {stages[-1].method.name}: about {_duration(seconds)}")


@dataclass
class _Run:
    """One job on its way through the stages."""

    engine: Engine
    stages: Sequence[recipes.Stage]
    placements: Sequence[Placement]
    sources: Sources
    regions: Sequence[tuple[Any, Sources]]
    layout: Layout
    content: Picture
    request: Request

    def paint(self, on_progress: OnProgress) -> Result:
        if getattr(self.stages[-1].knobs, "strength", 1.0) == 0:
            return self._result(self.content, (), 0.0)  # exactly the photograph, whatever the method
        started = time.perf_counter()
        losses: list[Mapping[str, float]] = []

        def listen(progress: Progress) -> None:
            if progress.losses:
                losses.append(progress.losses)
            on_progress(progress)

        init = None if self.stages[-1].knobs is None else self._given_init()
        painted: Tensor | None = self._recolored() if self.request.controls.color_only else None
        if painted is not None:
            return self._painted(painted, losses, started)
        try:
            for stage, placement in zip(self.stages, self.placements, strict=True):
                painted = self._stage(stage, placement, init if painted is None else painted, listen)
        except Cancelled as cancelled:
            if cancelled.partial is not None:
                cancelled.result = self._painted(cancelled.partial, losses, started)
            raise
        assert painted is not None
        return self._painted(painted, losses, started)

    def _stage(
        self, stage: recipes.Stage, placement: Placement, init: Tensor | None, on_progress: OnProgress
    ) -> Tensor:
        content = images.to_tensor(self.content.pixels).to(placement.device)
        stylizer = self.engine.stylizer(stage.method, placement, on_progress)
        parts = [
            (mask, self.engine.code(stage.method, placement, self._style(stage, placement, own, mask), stage.knobs))
            for mask, own in self._parts()
        ]
        regions = tuple(Region(mask.to(placement.device), code) for mask, code in parts if mask is not None)
        strength = self.layout.strength
        guide = Guide(
            init=init.to(placement.device) if init is not None and "init" in stage.method.honours else None,
            regions=regions,
            strength=None if strength is None else strength.to(placement.device),
        )
        return stylizer.stylize(content, [Job(parts[0][1], stage.knobs, guide)], on_progress)

    def _parts(self) -> list[tuple[Tensor | None, Sources]]:
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
        for mask, own in self._parts():
            total = sum(source.weight for source in own)
            for source in own:
                moved = color.match_colors(photograph, images.to_tensor(_opaque(source.picture)))
                share = torch.ones(()) if mask is None else mask
                changed = changed + share * (source.weight / total) * (moved - photograph)
        strength: Tensor | float = self.stages[-1].knobs.strength
        if self.layout.strength is not None:
            strength = strength * self.layout.strength
        return (photograph + strength * changed).clamp(0, 1)

    def _finished(self, image: Tensor) -> Tensor:
        """What holds for every method: colour first, then what is kept of the photograph."""
        photograph = images.to_tensor(self.content.pixels)
        image = image.float().cpu()
        if self.request.controls.keep_color == "luminance":
            untouched = (image == photograph).all(1, keepdim=True)  # recolouring them would only round them
            image = torch.where(untouched, photograph, color.with_chroma_of(image, photograph))
        if self.layout.preserve is not None:
            image = masks.compose(image, photograph, self.layout.preserve)
        return image

    def _own_palette(self, mask: Tensor | None) -> Tensor:
        """The photograph's colours, `(1, 3, 1, N)`, where a region holds."""
        photograph = images.to_tensor(self.content.pixels).flatten(2)
        if mask is not None and (mask > 0.5).sum() >= _LEAST_PALETTE:
            photograph = photograph[:, :, mask.flatten() > 0.5]
        return photograph[:, :, None]

    def _style(self, stage: recipes.Stage, placement: Placement, sources: Sources, mask: Tensor | None) -> Style:
        """The style images at the size at which their strokes are wanted."""
        canvas = self.content.pixels.shape[0], self.content.pixels.shape[1]
        scale = getattr(stage.knobs, "style_scale", 1.0)
        prepared = []
        for source in sources:
            own = source.picture.width, source.picture.height
            least = stage.method.smallest_side
            if min(own) < least:
                raise InputError(
                    f"style image is {own[0]}x{own[1]} px; method {stage.method.name} needs at least {least}x{least}",
                    "use a larger image",
                )
            longest = min(max(canvas) * scale, max(own) * _ENLARGED)
            longest = max(longest, least * max(own) / min(own))  # the short side must still fill the deepest layer
            width, height = images.fit(*own, math.ceil(longest))
            pixels = images.resize(_opaque(source.picture), max(height, least), max(width, least))
            tensor, digest = images.to_tensor(pixels), images.digest(source.picture.pixels)
            if self.request.controls.keep_color == "histogram":
                tensor = color.match_colors(tensor, self._own_palette(mask))
                digest = images.digest(tensor.numpy())
            prepared.append(StyleImage(tensor.to(placement.device), source.weight, digest))
        return Style(tuple(prepared), canvas)

    def _given_init(self) -> Tensor | None:
        """The picture to start from, when the user gave one, at the size of the content without stretching."""
        if getattr(self.stages[-1].knobs, "init", None) != "file":
            return None
        given = images.read(self.request.init, max_pixels=self.request.max_pixels)
        height, width = self.content.pixels.shape[:2]
        if abs(given.width * height - given.height * width) > max(given.width, given.height) * 2:
            raise InputError(
                f"the image to start from is {given.width}x{given.height} px, another shape than {width}x{height}",
                "crop it to the shape of the photograph",
            )
        return images.to_tensor(images.resize(given.pixels, height, width))

    def _painted(self, image: Tensor, losses: Sequence[Mapping[str, float]], started: float) -> Result:
        pixels = images.from_tensor(self._finished(image))
        seconds = time.perf_counter() - started
        return self._result(replace(self.content, pixels=pixels), losses, seconds)

    def _result(self, picture: Picture, losses: Sequence[Mapping[str, float]], seconds: float) -> Result:
        last, placement = self.stages[-1], self.placements[-1]
        record = {
            "impasto": version("impasto"),
            "torch": torch.__version__,
            "content": {
                "name": picture.origin.path.name if picture.origin.path else "",
                "pixels": images.digest(self.content.pixels),
            },
            "styles": _listed(self.sources),
            "regions": [{"mask": mask_name(mask), "styles": _listed(own)} for mask, own in self.regions],
            "controls": self.request.controls.record(),
            "method": "color" if self.request.controls.color_only else last.method.name,
            "quality": self.request.quality or recipes.DEFAULT_QUALITY,
            "stages": [stage.method.name for stage in self.stages],
            "knobs": params.as_record(last.knobs),
            "init": str(self.request.init) if getattr(last.knobs, "init", None) == "file" else None,
            "width": picture.width,
            "height": picture.height,
            "steps": len(losses) or 1,
            "device": placement.device,
            "precision": placement.precision,
            "seconds": round(seconds, 3),
        }
        return Result(picture, tuple(losses), seconds, record)


def _listed(sources: Sources) -> list[dict[str, Any]]:
    return [{"id": source.id, "label": source.label, "weight": source.weight} for source in sources]


def _check_honoured(method: registry.Method, fields: frozenset[str]) -> None:
    """Raise InputError for what a method cannot take into account, naming those that can."""
    words = {"regions": "regions", "strength": "a strength map or protected faces"}
    for name in sorted(fields - method.honours):
        able = [row.name for row in registry.methods().values() if name in row.honours]
        raise InputError(f"method {method.name} cannot honour {words[name]}", f"use --method {' or '.join(able)}")


def predicted_seconds(stage: recipes.Stage, placement: Placement, height: int, width: int) -> float:
    """Time that a stage will take, from its operations and the measured rate of this machine."""
    cls = stage.method.load_class()
    passes = cls.passes(height, width, stage.knobs) if hasattr(cls, "passes") else 1.0
    operations = float(stage.method.operations * passes * height * width)
    return operations / (device.convolution_rate(placement) * _SUSTAINED)


def _output_size(width: int, height: int, size: int | None) -> tuple[int, int]:
    if min(width, height) < SMALLEST_CONTENT:
        raise InputError(
            f"content image is {width}x{height} px; the least is {SMALLEST_CONTENT}x{SMALLEST_CONTENT}",
            "use a larger photograph",
        )
    if size is None:
        return width, height
    if isinstance(size, bool) or not isinstance(size, int) or size < SMALLEST_CONTENT:
        raise InputError(f"--size is {size!r}", f"it takes a whole number of pixels, {SMALLEST_CONTENT} or more")
    width, height = images.fit(width, height, size)
    return max(width, SMALLEST_CONTENT), max(height, SMALLEST_CONTENT)


def _resized(picture: Picture, height: int, width: int) -> Picture:
    alpha = None if picture.alpha is None else images.resize(picture.alpha, height, width)
    return replace(picture, pixels=images.resize(picture.pixels, height, width), alpha=alpha)


def _opaque(picture: Picture) -> Any:
    """A style's transparent parts become white paper: their hidden colours are not part of the painting."""
    if picture.alpha is None:
        return picture.pixels
    alpha = picture.alpha[..., None]
    return picture.pixels * alpha + (1 - alpha)


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
    knobs = (knob for row in rows for knob in params.knobs_of(row.load_knobs()) if knob.name == "init")
    return tuple(choice for knob in knobs for choice in knob.choices if choice != "file")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
