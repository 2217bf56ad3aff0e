"""Words painted in a style: a flat shape, an underpainting of strokes along it, and the engine that paints them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import OnNote, Request, Result, Sources, silence
from impasto.errors import Cancelled, InputError, as_whole, quoted
from impasto.images import Origin, Picture
from impasto.lettering import tones
from impasto.lettering.effects import Example, cut_out, transfer
from impasto.lettering.fonts import FontBook
from impasto.lettering.outlines import Drawing
from impasto.lettering.shape import Shape
from impasto.lettering.strokes import Brush, Layer, Strokes, lay_strokes
from impasto.lettering.typesetting import Setting, check_text, typeset
from impasto.methods.recipes import QUALITIES

Floats: TypeAlias = NDArray[np.float32]
Styles: TypeAlias = Sequence[tuple[Any, float]]
"""Styles as `Engine.stylize` takes them, each with its weight."""

ZONES = ("fill", "outline", "around")
"""Parts of a lettering that take styles of their own."""

DEFAULT_SIZE = 1024
LEAST_SIZE = 64
_MOST_AROUND = 60.0  # widths of a stroke
_MARGIN = 0.35  # of a stroke's width, between the letters and the picture's edge
_BEYOND = 6.0  # pixels that paint goes on beyond what will be seen, so that edges have no halo
_PAINTING_SIDE = 1600  # longest side at which a painting's colours are taken
_STYLE_SCALE = 0.6  # of the picture's longest side; letters are small pictures, and so are their strokes
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "good": {"steps": 14, "coarsest": 192, "content_weight": 0.6, "octaves": 2},
    "best": {"steps": 40, "coarsest": 128, "content_weight": 0.6, "octaves": 3, "stroke_weight": 1.0},
}
_OF_OPTIMIZE: Mapping[str, Any] = {"detail": 1.0, "content_layers": ("relu4_1",), "coarse_content": 1.0}
_OF_LIKE: Mapping[str, Any] = {"content_weight": 1.5, "coarsest": 512, "octaves": 1}  # patches are well placed already
_AROUND_BRUSH = Brush(layers=(Layer(0.8, 4.0, 2.2), Layer(0.45, 6.0, 1.2)), shade=0.0)
_OUTLINE_BRUSH = Brush(layers=(Layer(0.4, 6.0, 3.0), Layer(0.2, 9.0, 2.0)), shade=0.0)
_BRUSHES = {"fill": Brush(), "outline": _OUTLINE_BRUSH, "around": _AROUND_BRUSH}
_SOLID = 0.7  # density from which the paint around letters is closed
_WHOLE_MARGIN = 1.0  # widths of a stroke around letters where all of the picture is painted
_FADE = 24.0  # times as fast as the whole, that a stroke appears in an animation
_TRIAL_SIDE, _TRIAL_LINE, _LONGEST_TRIAL = 256, 64, 4096  # pixels: a trial, by which the width of strokes is found out
_LEAST_RADIUS = 1.3  # pixels of half a stroke
_MOST_PIXELS = 25_000_000
_LIGHT = 0.6  # mean luma from which letters are shown on black
_LEAST_SIDE = 32  # pixels


@dataclass(frozen=True)
class Lettering:
    """What is painted, and how it looks.

    Attributes:
        text: the words; empty where a drawing stands in their place.
        drawing: an SVG file of flat shapes.
        font: see `FontBook`.
        setting: alignment, spacing and curve.
        size: longest side in pixels, or width and height.
        outline_width: of the line round the letters, in widths of their strokes.
        reach: how far paint goes around them, in widths of their strokes; 0 for all of the picture.
        tone: one of `tones.TONES`, of the letters.
        legibility: how much light and dark are set apart, from 0 (the painting's own) to 1.
        background: a colour, red, green and blue in [0, 1]; None for transparency.
        quality: "draft", "good" or "best".
        knobs: settings of the method, by name.
        seed: of places and colours of strokes.
    """

    text: str = ""
    drawing: Path | None = None
    font: str | None = None
    setting: Setting = field(default_factory=Setting)
    size: int | tuple[int, int] = DEFAULT_SIZE
    outline_width: float = 0.35
    reach: float = 1.5
    tone: str = "auto"
    legibility: float = 0.5
    background: tuple[float, float, float] | None = None
    quality: str = "good"
    knobs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.drawing is not None and self.text:
            raise InputError("both words and an SVG were given", "give the one or the other")
        if self.drawing is None:
            check_text(self.text)
        tones.tone_range(self.tone, 0)
        if self.quality not in QUALITIES:
            raise InputError(f"there is no quality {quoted(self.quality)}", f"it is one of {', '.join(QUALITIES)}")
        if as_whole(self.seed) is None:
            raise InputError(f"--seed is {quoted(self.seed)}", "it takes a whole number from 0 on")
        for flag, value, low, high in (
            ("--outline-width", self.outline_width, 0.05, 3.0),
            ("--reach", self.reach, 0.0, _MOST_AROUND),
            ("--legibility", self.legibility, 0.0, 1.0),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{flag} is {value:g}", f"it takes a number from {low:g} to {high:g}")
        for side in self.size if isinstance(self.size, tuple) else (self.size,):
            if as_whole(side, low=LEAST_SIZE) is None:
                raise InputError(f"--size is {quoted(self.size)}", f"it takes {LEAST_SIZE} pixels or more")


def parse_size(text: str) -> int | tuple[int, int]:
    """`1024`, the longest side, or `1024x384`. Raises InputError for anything else."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[xX\u00d7]\s*(\d{1,6}))?\s*", text)
    if found is None:
        raise InputError(f"--size is {quoted(text)}", "it takes pixels, such as 1024 or 1024x384")
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


def parse_color(text: str) -> tuple[float, float, float]:
    """`#rgb`, `#rrggbb` or a colour's name. Raises InputError for anything else."""
    from PIL import ImageColor  # a table of names; no codec

    try:
        red, green, blue = (min(max(value, 0), 255) / 255 for value in ImageColor.getrgb(text)[:3])
    except ValueError as error:
        raise InputError(f"--background is {quoted(text)}", "it takes a colour, such as white or #f4ecd8") from error
    return red, green, blue


@dataclass(frozen=True, eq=False)
class Sheet:
    """One layer of painted letters.

    Attributes:
        pixels: `(H, W, 3)` in [0, 1].
        alpha: `(H, W)`, its opacity.
        order: `(H, W)` in [0, 1], when each pixel is painted.
    """

    pixels: Floats
    alpha: Floats
    order: Floats


@dataclass(frozen=True, eq=False)
class Layers:
    """Painted letters as sheets that lie over one another.

    Attributes:
        sheets: one for each zone that is painted, the lowest first.
        background: below them; None for transparency.
    """

    sheets: Mapping[str, Sheet]
    background: tuple[float, float, float] | None = None

    def picture(self, until: float = 1.0) -> Picture:
        """All sheets together; until: share of the strokes that are laid, from 0 to 1."""
        first = next(iter(self.sheets.values())).pixels
        colour, opacity = np.zeros_like(first), np.zeros(first.shape[:2], np.float32)
        if self.background is not None:
            colour, opacity = colour + np.asarray(self.background, np.float32), opacity + 1
        for sheet in self.sheets.values():
            own = sheet.alpha if until >= 1 else sheet.alpha * np.clip((until - sheet.order) * _FADE, 0, 1)
            total = own + opacity * (1 - own)
            mixed = sheet.pixels * own[..., None] + colour * (opacity * (1 - own))[..., None]
            colour = np.where(total[..., None] > 0, mixed / np.maximum(total, 1e-6)[..., None], sheet.pixels)
            opacity = total
        opaque = self.background is not None or float(opacity.min()) == 1
        return Picture(np.asarray(np.clip(colour, 0, 1), np.float32), None if opaque else opacity)

    def pictures(self) -> dict[str, Picture]:
        """Each sheet by itself, by the name of its zone, the lowest first; the background below them, if it has one."""
        found: dict[str, Picture] = {}
        if self.background is not None:
            first = next(iter(self.sheets.values())).pixels
            found["background"] = Picture(np.zeros_like(first) + np.asarray(self.background, np.float32))
        return found | {name: Picture(sheet.pixels, sheet.alpha) for name, sheet in self.sheets.items()}

    def frames(self, count: int, paper: tuple[float, float, float] | None = None) -> Iterator[Floats]:
        """Pictures of the strokes being laid, on paper, or `(H, W, 4)` without; the last has all of them."""
        for index in range(count):
            shown = self.picture(index / (count - 1) if index + 1 < count else 1.0)
            yield np.dstack([shown.pixels, _alpha_of(shown)]) if paper is None else on_paper(shown, paper)


def on_paper(picture: Picture, paper: tuple[float, float, float]) -> Floats:
    """The pixels `(H, W, 3)` over a colour."""
    alpha = _alpha_of(picture)[..., None]
    return np.asarray(picture.pixels * alpha + np.asarray(paper, np.float32) * (1 - alpha), np.float32)


def paper_for(layers: Layers) -> tuple[float, float, float]:
    """White or black, whichever the letters stand out from."""
    fill = layers.sheets["fill"]
    weight = float(fill.alpha.sum())
    light = float((tones.luma(fill.pixels) * fill.alpha).sum()) / max(weight, 1.0)
    return (0.05, 0.05, 0.06) if light > _LIGHT else (1.0, 1.0, 1.0)


def _alpha_of(picture: Picture) -> Floats:
    return np.ones(picture.pixels.shape[:2], np.float32) if picture.alpha is None else picture.alpha


@dataclass(frozen=True, eq=False)
class _Zone:
    """A part of the picture with its styles.

    Attributes:
        name: one of ZONES.
        styles: as the engine takes them.
        sources: the same, found and read.
        tone: of its paint.
        cover: `(H, W)`, where it can be seen.
        brush: how its strokes are laid.
    """

    name: str
    styles: Styles
    sources: Sources
    tone: str
    cover: Floats
    brush: Brush

    @cached_property
    def painting(self) -> Floats:
        """The heaviest style image, its tones as they are."""
        return _reduced(max(self.sources, key=lambda source: source.weight).picture).pixels

    @property
    def trained(self) -> bool:
        """Whether a trained network paints it, in one pass."""
        return any(source.trained is not None for source in self.sources)

    def allowed(self, legibility: float) -> tones.Range:
        """The luma that its paint may have. A line has little room to be told by: its tones lie further off."""
        return tones.tone_range(self.tone, (legibility + legibility**0.5) / 2 if self.name == "outline" else legibility)

    def toned(self, legibility: float) -> list[tuple[Any, float]]:
        """The styles with their tones within what is allowed; those of trained networks as they are."""
        allowed = self.allowed(legibility)
        found: list[tuple[Any, float]] = []
        for (style, weight), source in zip(self.styles, self.sources, strict=True):
            if source.trained is not None or self.tone == "own" or legibility == 0:
                found.append((style, weight))
                continue
            own = _reduced(source.picture)
            named = Origin(path=Path(f"{source.label}.png"))
            found.append((Picture(tones.within(own.pixels, allowed), own.alpha, named), weight))
        return found


def _reduced(picture: Picture) -> Picture:
    """A painting in floats, no larger than its strokes are wanted."""
    longest = min(_PAINTING_SIDE, max(picture.width, picture.height))
    width, height = images.fit(picture.width, picture.height, longest)
    small = picture.resized(height, width)
    return replace(small, pixels=images.as_float(small.pixels))


class LetterPainter:
    """Paints words.

    Args:
        engine: paints.
        on_progress, on_note: as for `Engine.stylize`.
    """

    def __init__(self, engine: Engine, *, on_progress: OnProgress = ignore, on_note: OnNote = silence) -> None:
        self._engine, self._on_progress, self._on_note = engine, on_progress, on_note

    def shape(self, lettering: Lettering, *, widest: float = 0.0) -> Shape:
        """The flat shape of words or of a drawing, with room for what is around it.

        Args:
            lettering: what is painted.
            widest: of what is painted around the letters, in widths of their strokes.

        Raises:
            InputError: nothing can be seen, a letter is in no font, or the picture would be too large.
        """
        if lettering.drawing is not None:
            return _drawn_shape(lettering, Drawing.read(lettering.drawing), widest)
        book = FontBook(lettering.font, store=self._engine.store, on_progress=self._on_progress)
        outline = typeset(lettering.text, book, lettering.setting)
        if book.replaced:
            lacking = "".join(dict.fromkeys("".join(book.replaced)))
            names = ", ".join(dict.fromkeys(book.replaced.values()))
            self._on_note(f"{book.first.name} lacks {lacking[:20]}: taken from {names}")
        left, top, right, bottom = outline.bounds
        sides = right - left, bottom - top

        def draw(scale: float, height: int, width: int) -> Floats:
            across, down = (width - scale * sides[0]) / 2, (height - scale * sides[1]) / 2
            return outline.placed(scale, across - scale * left, down - scale * top).drawn(height, width)

        return _fitted(lettering, sides, draw, widest)

    def paint(self, lettering: Lettering, look: Mapping[str, Styles] | Example) -> tuple[Result, Layers]:
        """Paint words.

        Args:
            lettering: what, and how it looks.
            look: styles by zone, "fill" and what is wanted of "outline" and "around"; or an example of an effect.

        Returns:
            The picture with its record, and its layers.

        Raises:
            InputError, ResourceError, AssetError, MissingExtra, Cancelled: as `Engine.stylize`.
        """
        return self._like(lettering, look) if isinstance(look, Example) else self._in_styles(lettering, look)

    def _in_styles(self, lettering: Lettering, styles: Mapping[str, Styles]) -> tuple[Result, Layers]:
        if not styles.get("fill"):
            raise InputError("no style was given", "add --style, such as --style irises; see impasto styles")
        found = {
            zone: self._engine.find_styles(list(own), on_progress=self._on_progress)
            for zone, own in styles.items()
            if own
        }
        shape = self.shape(lettering, widest=_widest(lettering, found))
        zones = _zones(lettering, styles, found, shape)
        strokes = {zone.name: self._underpainted(zone, shape, lettering) for zone in zones}
        painted: dict[str, Result] = {}
        try:
            for zone in zones:
                painted[zone.name] = self._painted(lettering, zone, shape, strokes[zone.name])
        except Cancelled as cancelled:
            if painted or cancelled.result is not None:  # what has not been painted stays as its strokes were laid
                painted.setdefault("fill", cancelled.result)
                cancelled.result, _ = _finished(lettering, zones, shape, strokes, painted)
            raise
        return _finished(lettering, zones, shape, strokes, painted)

    def _like(self, lettering: Lettering, example: Example) -> tuple[Result, Layers]:
        """Letters with the look of an example: put together from its patches, then made one by the engine."""
        shape = self.shape(lettering, widest=example.reach)
        self._on_progress(Progress("matching patches", 0, 1, unit="picture"))
        matched = transfer(example, shape, seed=lettering.seed)
        ratio = shape.stroke_radius / example.shape.stroke_radius
        scale = float(np.clip(ratio * max(example.shape.sides) / max(shape.sides), 0.1, 8.0))
        quick = lettering.quality == "draft"
        own: dict[str, Any] = (
            {"strength": 0.0} if quick else {**_OF_OPTIMIZE, **_PRESETS[lettering.quality], **_OF_LIKE}
        )
        request = Request(
            method="auto" if quick else "optimize",
            quality=lettering.quality,
            init=None if quick else "content",
            knobs={**own, "style_scale": scale, **lettering.knobs},
        )
        style = Picture(example.pixels, example.alpha, Origin(path=Path(f"{example.name}.png")))
        alpha = matched[..., 3] if matched.shape[2] == 4 else None
        content = Picture(np.ascontiguousarray(matched[..., :3]), alpha)

        def finished(result: Result) -> tuple[Result, Layers]:
            pixels = images.as_float(result.picture.pixels)
            painted = pixels if alpha is None else np.dstack([pixels, alpha])
            colours, opacity = cut_out(painted, shape, example.background)
            order = np.clip(1 - shape.depth, 0, 1).astype(np.float32)
            layers = Layers({"fill": Sheet(colours, opacity, order)}, lettering.background)
            seen = on_paper(layers.picture(), lettering.background or paper_for(layers))
            record = {**result.record, "letters": _set(lettering, "own", tones.contrast(seen, shape))}
            return replace(result, picture=layers.picture(), record=record), layers

        try:
            return finished(
                self._engine.stylize(content, style, request, on_progress=self._on_progress, on_note=self._on_note)
            )
        except Cancelled as cancelled:
            if cancelled.result is not None:
                cancelled.result, _ = finished(cancelled.result)
            raise

    def _underpainted(self, zone: _Zone, shape: Shape, lettering: Lettering) -> Strokes:
        toned = tones.within(zone.painting, zone.allowed(lettering.legibility))
        where = zone.cover if zone.name == "around" else _beyond(zone.cover, _BEYOND)
        return lay_strokes(shape, toned, where, seed=lettering.seed, brush=zone.brush)

    def _painted(self, lettering: Lettering, zone: _Zone, shape: Shape, strokes: Strokes) -> Result:
        """A zone painted by the engine. Each by itself: next to another, its edge would take on the other's colours."""
        trained = zone.trained
        optimized = not trained and lettering.quality != "draft"
        knobs = dict(lettering.knobs)
        if optimized:
            knobs = {**_OF_OPTIMIZE, **_PRESETS[lettering.quality], "style_scale": _STYLE_SCALE, **knobs}
        elif not trained:
            knobs = {"style_scale": _STYLE_SCALE, **knobs}
        request = Request(
            method="optimize" if optimized else "auto",
            quality=lettering.quality if optimized or not trained else None,
            init="content" if optimized else None,
            knobs=knobs,
            controls=Controls(directions=shape.directions if optimized else None),
        )
        counted = _beyond(_visible(zone, strokes), _BEYOND)
        content = Picture(strokes.picture, None if counted.min() == 1 else counted)
        styles = zone.toned(lettering.legibility)
        return self._engine.stylize(content, styles, request, on_progress=self._on_progress, on_note=self._on_note)


def _fitted(
    lettering: Lettering, sides: tuple[float, float], draw: Callable[[float, int, int], Floats], widest: float
) -> Shape:
    """A shape of so many units, as large as the picture allows.

    draw: gives the coverage at a scale, in the middle of a picture of that height and width.
    """
    longest = min(_LONGEST_TRIAL, max(_TRIAL_SIDE, _TRIAL_LINE * max(sides) / min(sides)))
    trial = longest / max(sides)
    small = Shape(draw(trial, math.ceil(trial * sides[1]) + 8, math.ceil(trial * sides[0]) + 8))
    margin = 2 * small.stroke_radius / trial * (widest + _MARGIN)
    whole = sides[0] + 2 * margin, sides[1] + 2 * margin
    if isinstance(lettering.size, tuple):
        width, height = lettering.size
    else:
        scale = lettering.size / max(whole)
        width, height = (max(_LEAST_SIDE, round(scale * side)) for side in whole)
    if width * height > _MOST_PIXELS:
        fitting = int(max(width, height) * (_MOST_PIXELS / (width * height)) ** 0.5)
        raise InputError(
            f"the picture would be {width}x{height} px; at most {_MOST_PIXELS:,} pixels are allowed",
            f"use --size {fitting}",
        )
    shape = Shape(draw(min(width / whole[0], height / whole[1]), height, width))
    if shape.stroke_radius < _LEAST_RADIUS:
        raise InputError(
            f"at {width}x{height} px the letters are too thin to be painted", "use a larger --size, or more lines (\\n)"
        )
    return shape


def _drawn_shape(lettering: Lettering, drawing: Drawing, widest: float) -> Shape:
    def draw(scale: float, height: int, width: int) -> Floats:
        across, down = scale * drawing.sides[0], scale * drawing.sides[1]
        return drawing.drawn(height, width, ((width - across) / 2, (height - down) / 2, across, down))

    return _fitted(lettering, drawing.sides, draw, widest)


def _widest(lettering: Lettering, found: Mapping[str, Sources]) -> float:
    """How far paint goes around the letters, in widths of their strokes."""
    reach = (lettering.reach or _WHOLE_MARGIN) if "around" in found else 0.0
    return (lettering.outline_width if "outline" in found else 0.0) + reach


def _zones(
    lettering: Lettering, styles: Mapping[str, Styles], found: Mapping[str, Sources], shape: Shape
) -> tuple[_Zone, ...]:
    """What is painted, the letters first."""
    width = 2 * shape.stroke_radius
    line = max(1.0, lettering.outline_width * width) if "outline" in found else 0.0
    covers = {"fill": shape.coverage, "outline": shape.grown(line)}
    if lettering.reach:
        covers["around"] = np.clip(1 + (shape.distance + line) / (lettering.reach * width), 0, 1).astype(np.float32)
    else:
        covers["around"] = np.ones(shape.sides, np.float32)
    named = [name for name in ZONES if name in found]
    zones = [_Zone(name, styles[name], found[name], "own", covers[name], _BRUSHES[name]) for name in named]
    paintings = {zone.name: zone.painting for zone in zones}
    tone = _tone_of_letters(lettering, paintings)
    return tuple(replace(zone, tone=tone if zone.name == "fill" else tones.opposite(tone)) for zone in zones)


def _tone_of_letters(lettering: Lettering, paintings: Mapping[str, Floats]) -> str:
    """Dark or light, as was asked for, or as suits what is around them."""
    if lettering.tone != "auto":
        return lettering.tone
    if lettering.background is not None and "around" not in paintings:
        paper = np.asarray(lettering.background, np.float32)[None, None]
        return tones.opposite(tones.prevailing(paper))
    if "around" not in paintings:
        return "dark"  # most paper is white
    own, beyond = (float(np.median(tones.luma(paintings[name]))) for name in ("fill", "around"))
    return "light" if own > beyond or (own == beyond and own < 0.5) else "dark"


def _visible(zone: _Zone, strokes: Strokes) -> Floats:
    """The opacity of a zone's sheet. Around the letters paint is dense near them, and ends in single strokes."""
    if zone.name != "around" or zone.cover.min() == 1:
        return zone.cover
    solid = np.clip((zone.cover - _SOLID) * 12, 0, 1)
    return np.asarray(np.maximum(solid, strokes.cover), np.float32)


def _beyond(cover: Floats, pixels: float) -> Floats:
    """The cover made wider by some pixels."""
    size = 2 * math.ceil(pixels) + 1
    return np.asarray(cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.float32)


def _finished(
    lettering: Lettering,
    zones: Sequence[_Zone],
    shape: Shape,
    strokes: Mapping[str, Strokes],
    painted: Mapping[str, Result],
) -> tuple[Result, Layers]:
    """The sheets cut along exact edges and set apart in tone, and the result of them all."""
    sheets = {}
    for zone in reversed(zones):
        laid = strokes[zone.name]
        pixels = images.as_float(painted[zone.name].picture.pixels) if zone.name in painted else laid.picture
        if zone.trained:  # its own light and dark are what it was trained on
            pixels = tones.within(pixels, zone.allowed(lettering.legibility))
        sheets[zone.name] = Sheet(pixels, _visible(zone, laid), laid.order)
    layers = Layers(_set_apart(sheets, zones, shape, lettering.legibility), lettering.background)
    picture = layers.picture()
    seen = on_paper(picture, lettering.background or paper_for(layers))
    first, seconds = painted["fill"], sum(one.seconds for one in painted.values())
    record = _recorded(lettering, zones, first.record, tones.contrast(seen, shape))
    return replace(first, picture=picture, seconds=seconds, record={**record, "seconds": round(seconds, 3)}), layers


def _set_apart(
    sheets: Mapping[str, Sheet], zones: Sequence[_Zone], shape: Shape, legibility: float
) -> dict[str, Sheet]:
    """The sheets with the letters legible on what is next to them."""
    if len(zones) == 1:
        return dict(sheets)
    beside = zones[1]
    near = (beside.cover > 0.9) & ~shape.inside & (shape.distance > -4 * shape.stroke_radius)
    letters, around = tones.set_apart(sheets["fill"].pixels, sheets[beside.name].pixels, shape.inside, near, legibility)
    changed = {"fill": replace(sheets["fill"], pixels=letters)}
    changed[beside.name] = replace(sheets[beside.name], pixels=around)
    return {**sheets, **changed}


def _recorded(
    lettering: Lettering, zones: Sequence[_Zone], record: Mapping[str, Any], contrast: float
) -> dict[str, Any]:
    """The record of a result with the true names of its styles and what was set."""
    listed = {
        zone.name: [{"id": source.id, "label": source.label, "weight": source.weight} for source in zone.sources]
        for zone in zones
    }
    beyond = [{"mask": name, "styles": own} for name, own in listed.items() if name != "fill"]
    return {**record, "styles": listed["fill"], "regions": beyond, "letters": _set(lettering, zones[0].tone, contrast)}


def _set(lettering: Lettering, tone: str, contrast: float) -> dict[str, Any]:
    """What was set, and how far it stands out, as plain values."""
    return {
        "text": lettering.text,
        "drawing": None if lettering.drawing is None else lettering.drawing.name,
        "font": None if lettering.font is None else Path(lettering.font).name,
        "size": lettering.size,
        "tone": tone,
        "legibility": lettering.legibility,
        "contrast": round(contrast, 2),
        "seed": lettering.seed,
        **asdict(lettering.setting),
    }
