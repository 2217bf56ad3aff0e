"""The zones of a lettering: inside, outline and around, each with its styles, its tones and its brush."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.engine.request import Sources
from impasto.images import Origin, Picture
from impasto.lettering import tones
from impasto.lettering.layers import PaintedLayer
from impasto.lettering.shape import Shape
from impasto.lettering.strokes import Brush, BrushPass, Strokes

Floats: TypeAlias = NDArray[np.float32]
Styles: TypeAlias = Sequence[tuple[Any, float]]
"""Styles as `Engine.stylize` takes them, each with its weight."""

ZONES = ("fill", "outline", "around")
"""Parts of a lettering that take styles of their own."""

_PAINTING_SIDE = 1600  # longest side at which a painting's colours are taken
_SOLID = 0.7  # density from which the paint around letters is closed
_BRUSHES = {
    "fill": Brush(),
    "outline": Brush(passes=(BrushPass(0.4, 6.0, 3.0), BrushPass(0.2, 9.0, 2.0)), shade=0.0),
    "around": Brush(passes=(BrushPass(0.8, 4.0, 2.2), BrushPass(0.45, 6.0, 1.2)), shade=0.0),
}
_NEAR = 2.0  # widths of a stroke around the letters, within which paint is kept apart from them
_APART_FROM_LETTERS, _APART_FROM_OUTLINE = 0.44, 0.4  # of luma, between strokes at full legibility
_OUTLINE_GAP = 0.6  # of the difference of means that letters have from what is next to them
_CLEAR = 0.12  # of luma: the side on which the paint around an outline lies


@dataclass(frozen=True, eq=False)
class Zone:
    """A part of the picture with its styles.

    Attributes:
        name: one of ZONES.
        styles: as the engine takes them.
        sources: the same, found and read.
        allowed: the luma that its paint may have.
        cover: `(H, W)`, where it can be seen.
    """

    name: str
    styles: Styles
    sources: Sources
    allowed: tones.Range
    cover: Floats

    @property
    def brush(self) -> Brush:
        """How its strokes are laid."""
        return _BRUSHES[self.name]

    @cached_property
    def painting(self) -> Floats:
        """The heaviest style image, its tones as they are."""
        return _reduced(max(self.sources, key=lambda source: source.weight).picture).pixels

    @property
    def trained(self) -> bool:
        """Whether a trained network paints it, in one pass."""
        return any(source.trained is not None for source in self.sources)

    def toned_styles(self) -> list[tuple[Any, float]]:
        """The styles with their tones in the zone's; those of trained networks as they are."""
        found: list[tuple[Any, float]] = []
        for (style, weight), source in zip(self.styles, self.sources, strict=True):
            if source.trained is not None or self.allowed == tones.ANY:
                found.append((style, weight))
                continue
            picture = _reduced(source.picture)
            origin = Origin(path=Path(f"{source.label}.png"))
            found.append((Picture(tones.fitted(picture.pixels, self.allowed), picture.alpha, origin), weight))
        return found

    def opacity(self, strokes: Strokes) -> Floats:
        """`(H, W)` of its layer. Around letters paint is dense near them, and ends in single strokes."""
        if self.name != "around" or self.cover.min() == 1:
            return self.cover
        solid = np.clip((self.cover - _SOLID) * 12, 0, 1)
        return np.asarray(np.maximum(solid, strokes.cover), np.float32)


def _reduced(picture: Picture) -> Picture:
    """A painting in floats, no larger than its strokes are wanted."""
    longest = min(_PAINTING_SIDE, max(picture.width, picture.height))
    width, height = images.fit(picture.width, picture.height, longest)
    small = picture.resized(height, width)
    return replace(small, pixels=images.as_float(small.pixels))


def zones_of(
    shape: Shape,
    styles: Mapping[str, Styles],
    found: Mapping[str, Sources],
    *,
    outline_width: float,
    reach: float,
) -> tuple[Zone, ...]:
    """What is painted, the letters first; their tones are not yet chosen.

    Args:
        shape: of the letters.
        styles, found: of each zone, as they were given and as they were found.
        outline_width, reach: see `Lettering`.
    """
    width = 2 * shape.stroke_radius
    line = max(1.0, outline_width * width) if "outline" in found else 0.0
    covers = {"fill": shape.coverage, "outline": shape.grown(line)}
    if reach:
        covers["around"] = np.clip(1 + (shape.distance + line) / (reach * width), 0, 1).astype(np.float32)
    else:
        covers["around"] = np.ones(shape.sides, np.float32)
    return tuple(Zone(name, styles[name], found[name], tones.ANY, covers[name]) for name in ZONES if name in found)


def with_tones(
    zones: Sequence[Zone], tone: str, legibility: float, background: tuple[float, float, float] | None
) -> tuple[Zone, ...]:
    """The zones with the luma that each may have. tone: of the letters, chosen here where it is "auto"."""
    paintings = {zone.name: zone.painting for zone in zones}
    tone = _tone_of_letters(tone, paintings, background)
    other = tones.opposite(tone)
    strict = math.sqrt(legibility)  # a line has little room to be told by: its tones lie further off
    ranges = {
        "fill": tones.tone_range(tone, legibility),
        "outline": tones.tone_range(other, strict),
        "around": tones.tone_range(other, legibility),
    }
    if "outline" in paintings and tone != "own":  # between the two, so that the line is seen from both sides
        ranges["around"] = tones.middle_range(legibility)
    return tuple(replace(zone, allowed=ranges[zone.name]) for zone in zones)


def _tone_of_letters(tone: str, paintings: Mapping[str, Floats], background: tuple[float, float, float] | None) -> str:
    """Dark or light, as was asked for, or as suits what is around them."""
    if tone != "auto":
        return tone
    if background is not None and "around" not in paintings:
        return tones.opposite(tones.prevailing(np.asarray(background, np.float32)[None, None]))
    if "around" not in paintings:
        return "dark"  # most paper is white
    inside, around = (float(np.median(tones.luma(paintings[name]))) for name in ("fill", "around"))
    return "light" if inside > around or (inside == around and inside < 0.5) else "dark"


def separated(
    layers: Mapping[str, PaintedLayer], zones: Sequence[Zone], shape: Shape, legibility: float
) -> dict[str, PaintedLayer]:
    """The layers, lowest first, each with tones that differ from the next one's: in the mean, and in every stroke."""
    if legibility == 0:
        return dict(layers)
    pixels = {name: layer.pixels for name, layer in layers.items()}
    masks = _masks(zones, shape)
    if len(zones) == 1:  # what they stand out from is paper
        kept = tones.kept_within(pixels["fill"], masks["fill"], zones[0].allowed, sigma=_sigma(shape))
        return {"fill": replace(layers["fill"], pixels=kept)}
    inner = zones[1].name
    pixels["fill"], pixels[inner] = tones.moved_apart(
        pixels["fill"], pixels[inner], masks["fill"], masks[inner], legibility
    )
    pixels["fill"], pixels[inner] = tones.locally_apart(
        pixels["fill"],
        pixels[inner],
        masks["fill"],
        masks[inner],
        gap=_APART_FROM_LETTERS * legibility,
        sigma=_sigma(shape),
    )
    if len(zones) > 2:
        pixels["around"] = _apart_from_outline(pixels, masks, shape, legibility)
    return {name: replace(layer, pixels=pixels[name]) for name, layer in layers.items()}


def _apart_from_outline(
    pixels: Mapping[str, Floats], masks: Mapping[str, Floats], shape: Shape, legibility: float
) -> Floats:
    """The paint around, moved away from the outline, on its own side of it or towards the letters."""
    means = {name: float(np.average(tones.luma(pixels[name]), weights=masks[name])) for name in pixels}
    gap = means["around"] - means["outline"]
    way = gap if abs(gap) > _CLEAR else means["fill"] - means["outline"]
    _, around = tones.moved_apart(
        pixels["outline"],
        pixels["around"],
        masks["outline"],
        masks["around"],
        _OUTLINE_GAP * legibility,
        share=0.0,
        way=-way,
    )
    _, around = tones.locally_apart(
        pixels["outline"],
        around,
        masks["outline"],
        masks["around"],
        gap=_APART_FROM_OUTLINE * legibility,
        sigma=_sigma(shape),
        share=0.0,
    )
    return around


def _sigma(shape: Shape) -> float:
    """Pixels over which paint counts as one stroke."""
    return max(1.0, 0.2 * shape.stroke_radius)


def _masks(zones: Sequence[Zone], shape: Shape) -> dict[str, Floats]:
    """Where each zone is seen, `(H, W)` in [0, 1]; the paint around fades out with the distance to the letters."""
    masks, covered = {}, np.zeros(shape.sides, np.float32)
    for zone in zones:
        masks[zone.name] = np.asarray(zone.cover * (1 - covered), np.float32)
        covered = np.maximum(covered, zone.cover)
    if "around" in masks:
        edge = float(-shape.distance[masks["around"] > 0.5].max()) if (masks["around"] > 0.5).any() else 0.0
        far = (-shape.distance - edge) / (_NEAR * 2 * shape.stroke_radius)
        masks["around"] = np.asarray(masks["around"] * np.clip(1 - far, 0, 1), np.float32)
    return masks


def dilated(cover: Floats, pixels: float) -> Floats:
    """The cover made wider by some pixels."""
    size = 2 * math.ceil(pixels) + 1
    return np.asarray(cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.float32)
