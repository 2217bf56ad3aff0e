"""Words painted in a style: a flat shape, an underpainting of strokes along it, and the engine that paints them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import OnNote, Request, Result, Sources, silence
from impasto.errors import Cancelled, InputError
from impasto.images import Origin, Picture
from impasto.lettering import tones
from impasto.lettering.drawings import Drawing
from impasto.lettering.effects import Example, cut_out, transfer
from impasto.lettering.fonts import FontBook
from impasto.lettering.layers import Layers, PaintedLayer, on_paper, paper_for
from impasto.lettering.record import with_letters, with_zones
from impasto.lettering.settings import Lettering
from impasto.lettering.shape import Shape
from impasto.lettering.strokes import Strokes, lay_strokes
from impasto.lettering.typesetting import typeset
from impasto.lettering.zones import Styles, Zone, dilated, separated, with_tones, zones_of

Floats: TypeAlias = NDArray[np.float32]

_WHOLE_MARGIN = 1.0  # widths of a stroke around letters where all of the picture is painted
_MARGIN = 0.35  # of a stroke's width, between the letters and the picture's edge
_BLEED = 6.0  # pixels that paint goes on past what will be seen, so that edges have no halo
_STYLE_SCALE = 0.6  # of the picture's longest side; letters are small pictures, and so are their strokes
_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "good": {"steps": 14, "coarsest": 192, "content_weight": 0.6, "octaves": 2},
    "best": {"steps": 40, "coarsest": 128, "content_weight": 0.6, "octaves": 3, "stroke_weight": 1.0},
}
_OPTIMIZE_KNOBS: Mapping[str, Any] = {"detail": 1.0, "content_layers": ("relu4_1",), "coarse_content": 1.0}
# patches are well placed already
_LIKE_KNOBS: Mapping[str, Any] = {"content_weight": 1.5, "coarsest": 512, "octaves": 1}
_TRIAL_SIDE, _TRIAL_LINE, _LONGEST_TRIAL = 256, 64, 4096  # pixels: a trial, by which the width of strokes is found out
_LEAST_RADIUS = 1.3  # pixels of half a stroke
_MOST_PIXELS = 25_000_000
_LEAST_SIDE = 32  # pixels


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
            zone: self._engine.find_styles(list(given), on_progress=self._on_progress)
            for zone, given in styles.items()
            if given
        }
        shape = self.shape(lettering, widest=_widest(lettering, found))
        plan = _Plan.of(lettering, zones_of(shape, styles, found, **_widths(lettering)), shape)
        painted: dict[str, Result] = {}
        try:
            for zone in plan.zones:
                painted[zone.name] = self._painted(plan, zone)
        except Cancelled as cancelled:
            if painted or cancelled.result is not None:  # what has not been painted stays as its strokes were laid
                painted.setdefault("fill", cancelled.result)
                cancelled.result, _ = plan.finished(painted)
            raise
        return plan.finished(painted)

    def _like(self, lettering: Lettering, example: Example) -> tuple[Result, Layers]:
        """Letters with the look of an example: put together from its patches, then made one by the engine."""
        if lettering.tone != "auto":
            raise InputError("--like keeps the light and dark of the example", "leave out --tone, or --like")
        shape = self.shape(lettering, widest=example.reach)
        self._on_progress(Progress("matching patches", 0, 1, unit="picture"))
        matched = transfer(example, shape, seed=lettering.seed)
        ratio = shape.stroke_radius / example.shape.stroke_radius
        scale = float(np.clip(ratio * max(example.shape.sides) / max(shape.sides), 0.1, 8.0))
        quick = lettering.quality == "draft"
        preset: dict[str, Any] = (
            {"strength": 0.0} if quick else {**_OPTIMIZE_KNOBS, **_PRESETS[lettering.quality], **_LIKE_KNOBS}
        )
        request = Request(
            method="auto" if quick else "optimize",
            quality=lettering.quality,
            init=None if quick else "content",
            knobs={**preset, "style_scale": scale, **lettering.knobs},
        )
        style = Picture(example.pixels, example.alpha, Origin(path=Path(f"{example.name}.png")))
        alpha = matched[..., 3] if matched.shape[2] == 4 else None
        content = Picture(np.ascontiguousarray(matched[..., :3]), alpha)

        def finished(result: Result) -> tuple[Result, Layers]:
            pixels = images.as_float(result.picture.pixels)
            painted = pixels if alpha is None else np.dstack([pixels, alpha])
            colours, opacity = cut_out(painted, shape, example.background)
            order = np.clip(1 - shape.depth, 0, 1).astype(np.float32)
            layers = Layers({"fill": PaintedLayer(colours, opacity, order)}, lettering.background)
            seen = on_paper(layers.picture(), lettering.background or paper_for(layers))
            record = with_letters(result.record, lettering, contrast=tones.contrast(seen, shape), example=example)
            return replace(result, picture=layers.picture(), record=record), layers

        try:
            return finished(
                self._engine.stylize(content, style, request, on_progress=self._on_progress, on_note=self._on_note)
            )
        except Cancelled as cancelled:
            if cancelled.result is not None:
                cancelled.result, _ = finished(cancelled.result)
            raise

    def _painted(self, plan: _Plan, zone: Zone) -> Result:
        """A zone painted by the engine. Each by itself: next to another, its edge would take on the other's colours."""
        quality = plan.lettering.quality
        optimized = not zone.trained and quality != "draft"
        effort = _effort(quality if optimized else "draft", zone, plan.shape)
        preset: dict[str, Any] = {} if zone.trained else {"style_scale": _STYLE_SCALE}
        if optimized:
            preset |= {**_OPTIMIZE_KNOBS, **_PRESETS[quality]}
        knobs = {**preset, **plan.lettering.knobs}
        if "steps" in knobs:
            knobs["steps"] = max(1, round(effort.steps * knobs["steps"]))
        request = Request(
            method="optimize" if optimized else "auto",
            quality=quality if optimized or not zone.trained else None,
            init="content" if optimized else None,
            knobs=knobs,
            controls=Controls(directions=plan.shape.scaled(effort.size).directions if optimized else None),
        )
        content, styles = plan.content(zone, effort.size), zone.toned_styles()
        return self._engine.stylize(content, styles, request, on_progress=self._on_progress, on_note=self._on_note)


@dataclass(frozen=True)
class _Effort:
    """What a zone costs, of what the letters themselves do.

    Attributes:
        size: of the picture's sides.
        steps: of the optimiser's.
    """

    size: float = 1.0
    steps: float = 1.0


_WHOLE_EFFORT = _Effort()
# A line and a ground have larger strokes and less to be looked at: three zones cost half of three times the letters.
_EFFORT: Mapping[tuple[str, str], _Effort] = {
    ("good", "outline"): _Effort(size=0.6, steps=0.6),
    ("good", "around"): _Effort(size=0.6, steps=0.8),
}


_LEAST_SCALED_SIDE, _LEAST_SCALED_RADIUS = 128, 4.0  # pixels, below which nothing is painted smaller


def _effort(quality: str, zone: Zone, shape: Shape) -> _Effort:
    """What a zone costs: less only where a smaller picture has room for its strokes."""
    effort = _EFFORT.get((quality, zone.name), _WHOLE_EFFORT)
    small = effort.size * min(shape.sides) < _LEAST_SCALED_SIDE
    return _WHOLE_EFFORT if small or effort.size * shape.stroke_radius < _LEAST_SCALED_RADIUS else effort


@dataclass(frozen=True, eq=False)
class _Plan:
    """A lettering with all that is known before the engine paints.

    Attributes:
        lettering: what is painted.
        zones: the letters first.
        shape: of the letters.
        strokes: the underpainting of each zone.
    """

    lettering: Lettering
    zones: tuple[Zone, ...]
    shape: Shape
    strokes: Mapping[str, Strokes]

    @classmethod
    def of(cls, lettering: Lettering, zones: Sequence[Zone], shape: Shape) -> _Plan:
        """Choose tones, and lay the underpaintings."""
        toned = with_tones(zones, lettering.tone, lettering.legibility, lettering.background)
        strokes = {}
        for zone in toned:
            where = zone.cover if zone.name == "around" else dilated(zone.cover, _BLEED)
            painting = tones.fitted(zone.painting, zone.allowed)
            strokes[zone.name] = lay_strokes(shape, painting, where, seed=lettering.seed, brush=zone.brush)
        return cls(lettering, toned, shape, strokes)

    def content(self, zone: Zone, size: float) -> Picture:
        """The underpainting of a zone, transparent where no paint will be seen. size: of the picture's sides."""
        strokes = self.strokes[zone.name]
        counted = dilated(zone.opacity(strokes), _BLEED)
        whole = Picture(strokes.picture, None if counted.min() == 1 else counted)
        return whole if size == 1 else whole.resized(*self.shape.scaled(size).sides)

    def finished(self, painted: Mapping[str, Result]) -> tuple[Result, Layers]:
        """The layers cut along exact edges and told apart by tone, and the result of them all."""
        layers = {}
        for zone in reversed(self.zones):
            laid = self.strokes[zone.name]
            pixels = _enlarged(painted[zone.name].picture, laid) if zone.name in painted else laid.picture
            if zone.trained:  # its own light and dark are what it was trained on
                pixels = tones.fitted(pixels, zone.allowed)
            layers[zone.name] = PaintedLayer(pixels, zone.opacity(laid), laid.order)
        apart = separated(layers, self.zones, self.shape, self.lettering.legibility)
        whole = Layers(apart, self.lettering.background)
        picture = whole.picture()
        seen = on_paper(picture, self.lettering.background or paper_for(whole))
        first, seconds = painted["fill"], sum(one.seconds for one in painted.values())
        record = with_zones(first.record, self.zones)
        contrast = tones.contrast(seen, self.shape)
        record = with_letters({**record, "seconds": round(seconds, 3)}, self.lettering, contrast=contrast)
        return replace(first, picture=picture, seconds=seconds, record=record), whole


def _enlarged(picture: Picture, laid: Strokes) -> Floats:
    """The pixels at the size of the underpainting; what the smaller size has no room for comes from its strokes."""
    pixels, sides = images.as_float(picture.pixels), laid.picture.shape[:2]
    if pixels.shape[:2] == sides:
        return pixels
    soft = images.resize(images.resize(laid.picture, *pixels.shape[:2]), *sides)
    return np.asarray(np.clip(images.resize(pixels, *sides) + laid.picture - soft, 0, 1), np.float32)


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


def _widths(lettering: Lettering) -> dict[str, float]:
    return {"outline_width": lettering.outline_width, "reach": lettering.reach}


def _widest(lettering: Lettering, found: Mapping[str, Sources]) -> float:
    """How far paint goes around the letters, in widths of their strokes."""
    reach = (lettering.reach or _WHOLE_MARGIN) if "around" in found else 0.0
    return (lettering.outline_width if "outline" in found else 0.0) + reach
