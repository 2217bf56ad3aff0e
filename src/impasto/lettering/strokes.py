"""The underpainting: brush strokes that run along the letters, in the colours of a painting.

What a descent or a network then gives a painting's texture is not a flat shape, on which a style finds nothing to hold
on to, but strokes: wide ones in the middle, finer ones near the edge.

Paper: Hertzmann 1998, Painterly Rendering with Curved Brush Strokes of Multiple Sizes. Departs from it in that strokes
follow the shape's own directions and not the gradient of a photograph, for there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.lettering.shape import Shape
from impasto.lettering.tones import luma

Floats: TypeAlias = NDArray[np.float32]

_TRIED = 12  # parts of the painting, of which one is taken
_LARGEST_PART = 1.5  # times that a part is enlarged, beside what it takes to fill the picture
_SCORED = 32  # rows of the pictures that are compared
_BRISTLES = 7  # lines of which a stroke is made
_SUBPIXEL = 4  # bits below a pixel, for lines that do not jump


@dataclass(frozen=True)
class BrushPass:
    """Strokes of one size, laid all over.

    Attributes:
        width: of a stroke, by the radius of the letter's strokes.
        length: by its width.
        cover: times that strokes cover the area, on average.
        near_edge: depth up to which they begin, where 1 is the skeleton; less for fine strokes along the edge.
    """

    width: float
    length: float
    cover: float
    near_edge: float = 1.0


PASSES = (
    BrushPass(width=0.75, length=4.0, cover=2.5),
    BrushPass(width=0.42, length=6.0, cover=1.6, near_edge=0.85),
    BrushPass(width=0.22, length=9.0, cover=1.0, near_edge=0.5),
)
"""From wide to fine: the density grows towards the edge."""


@dataclass(frozen=True, eq=False)
class Strokes:
    """A drawn underpainting.

    Attributes:
        picture: `(H, W, 3)` in [0, 1]; where there is no stroke, the colours around.
        order: `(H, W)` in [0, 1], when the first stroke came over each pixel; 1 where none did.
        cover: `(H, W)` in [0, 1], where there is paint.
    """

    picture: Floats
    order: Floats
    cover: Floats


@dataclass(frozen=True)
class Brush:
    """How strokes are laid.

    Attributes:
        passes: sizes, wide first.
        relief: how much lighter and darker bristles are.
        shade: how much darker paint is at the edge than in the middle.
        wander: radians by which strokes stray from the letter's direction.
    """

    passes: tuple[BrushPass, ...] = PASSES
    relief: float = 0.10
    shade: float = 0.16
    wander: float = 0.15


def lay_strokes(
    shape: Shape,
    painting: Floats,
    where: Floats,
    *,
    seed: int = 0,
    brush: Brush | None = None,
) -> Strokes:
    """Cover part of a picture with strokes.

    Args:
        shape: whose directions they follow.
        painting: `(h, w, 3)` in [0, 1], whose colours they have.
        where: `(H, W)`, how densely they lie, from 0 to 1; they begin there and end where it is 0.
        seed: of places and colours.
        brush: see there.
    """
    brush = brush or Brush()
    generator = np.random.default_rng(seed)
    source = _placed(painting, where, generator)
    # the painting's colours, without detail
    canvas = np.ascontiguousarray(cv2.GaussianBlur(source, (0, 0), 2 * shape.stroke_radius), np.float32)
    drawn: list[_Stroke] = []
    for each in brush.passes:
        drawn += _pass(shape, source, where, each, brush, generator)
    for stroke in drawn:
        stroke.draw(canvas)
    order, cover = _order(drawn, shape.sides)
    return Strokes(np.clip(canvas, 0, 1), order, cover)


def _placed(painting: Floats, where: Floats, generator: np.random.Generator) -> Floats:
    """A part of the painting that fills the picture: of some taken by chance, the most colourful where it is seen."""
    height, width = where.shape
    fitting = max(height / painting.shape[0], width / painting.shape[1])
    tried = []
    for _ in range(_TRIED):
        scale = fitting * generator.uniform(1.0, _LARGEST_PART)
        sides = max(height, round(painting.shape[0] * scale)), max(width, round(painting.shape[1] * scale))
        top, left = (
            int(generator.integers(0, 1 + large - shown)) for large, shown in zip(sides, where.shape, strict=True)
        )
        part = painting[
            _part(top, height, sides[0], painting.shape[0]), _part(left, width, sides[1], painting.shape[1])
        ]
        tried.append(part[:, ::-1] if generator.random() < 0.5 else part)
    best = max(tried, key=lambda part: _colourfulness(part, where))
    return images.resize(np.ascontiguousarray(best), height, width)


def _part(start: int, length: int, whole: int, count: int) -> slice:
    """Which of `count` pixels lie in a stretch of them, once they are enlarged to `whole`."""
    first = min(count - 1, start * count // whole)
    return slice(first, max(first + 1, -(-(start + length) * count // whole)))


def _colourfulness(part: Floats, where: Floats) -> float:
    """Chroma, and contrast of light and of colour, in what is seen: greys score low."""
    sides = _SCORED, max(1, round(_SCORED * where.shape[1] / where.shape[0]))
    seen = images.resize(where, *sides)
    colours = images.resize(np.ascontiguousarray(part), *sides)[seen > 0.5]
    if not len(colours):
        return 0.0
    chroma = colours - luma(colours)[:, None]
    return float(np.hypot(*chroma.T[:2]).mean() + chroma.std(0).mean() + 0.5 * luma(colours).std())


@dataclass(frozen=True, eq=False)
class _Stroke:
    """One stroke: its middle line, and the lines of its bristles with their colours."""

    line: NDArray[np.int32]
    width: int
    bristles: tuple[tuple[NDArray[np.int32], tuple[float, float, float]], ...]
    thickness: int

    def draw(self, canvas: Floats) -> None:
        """Over what is there."""
        for line, colour in self.bristles:
            cv2.polylines(canvas, [line], False, colour, self.thickness, cv2.LINE_8, _SUBPIXEL)


def _pass(
    shape: Shape, source: Floats, where: Floats, size: BrushPass, brush: Brush, generator: np.random.Generator
) -> list[_Stroke]:
    """The strokes of one size, in the order in which they are laid."""
    width = max(2.0, size.width * shape.stroke_radius)
    density = where * (shape.depth <= size.near_edge)
    rows, columns = _starts(density, width, size, generator)
    if not len(rows):
        return []
    lines = _traced(shape, where, columns, rows, length=size.length * width, brush=brush, generator=generator)
    soft = cv2.GaussianBlur(source, (0, 0), 0.35 * width)
    light = 1 - brush.shade * np.clip(1 - shape.depth[rows, columns], 0, 1) * (shape.depth[rows, columns] > 0)
    colours = soft[rows, columns] * light[:, None]
    return [
        _stroke(line, colour, width, brush, generator)
        for line, colour in zip(lines, colours, strict=True)
        if len(line) > 1
    ]


def _starts(
    density: Floats, width: float, size: BrushPass, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the middles of strokes, as many as cover the area, in a mixed order."""
    weights = density.astype(np.float64).ravel()
    total = weights.sum()
    count = int(np.ceil(size.cover * total / (width * size.length * width)))
    if total <= 0 or count == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    # stratified: one in each stretch of equal weight, along rows of strips of the canvas
    stretches = (np.arange(count) + generator.random(count)) / count * total
    places = np.minimum(np.searchsorted(np.cumsum(weights), stretches), len(weights) - 1)
    generator.shuffle(places)
    found = np.unravel_index(places, density.shape)
    return found[0], found[1]


def _traced(
    shape: Shape,
    where: Floats,
    columns: NDArray[np.intp],
    rows: NDArray[np.intp],
    *,
    length: float,
    brush: Brush,
    generator: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Lines `(N, 2)` from so many middles, both ways along the directions, all at once."""
    step = max(1.5, length / 24)
    count = max(1, int(length / (2 * step)))
    stray = generator.normal(0, brush.wander, len(rows))
    middles = np.column_stack([columns, rows]).astype(np.float64)
    halves = []
    for way in (1.0, -1.0):
        points, before = middles.copy(), None
        alive = np.ones(len(points), bool)
        trail = []
        for _ in range(count):
            column, row = np.rint(points).astype(int).T
            along = _turned(shape.directions[row, column], stray)
            before = along * way if before is None else along * np.sign((along * before).sum(1, keepdims=True) + 1e-9)
            ahead = points + step * before
            column, row = np.rint(ahead).astype(int).T
            fits = (column >= 0) & (row >= 0) & (column < shape.sides[1]) & (row < shape.sides[0])
            column, row = np.clip(column, 0, shape.sides[1] - 1), np.clip(row, 0, shape.sides[0] - 1)
            alive &= fits & (where[row, column] > 0)
            points = np.where(alive[:, None], ahead, points)
            trail.append(np.where(alive[:, None], ahead, np.nan))
        halves.append(np.stack(trail, 1))
    whole = np.concatenate([halves[1][:, ::-1], middles[:, None], halves[0]], 1)
    return [line[~np.isnan(line[:, 0])] for line in whole]


def _turned(vectors: NDArray[Any], angles: NDArray[Any]) -> NDArray[Any]:
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.asarray(vectors * cosine + np.column_stack([-vectors[:, 1], vectors[:, 0]]) * sine)


def _stroke(
    line: NDArray[np.float64], colour: NDArray[Any], width: float, brush: Brush, generator: np.random.Generator
) -> _Stroke:
    """Bristles side by side along a line, each a little lighter or darker, and of its own length."""
    along = np.gradient(line, axis=0)
    across = np.column_stack([-along[:, 1], along[:, 0]])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    count = int(np.clip(round(width), 2, _BRISTLES))
    lights = 1 + brush.relief * generator.normal(0, 1, count)
    tint = colour * (1 + 0.06 * generator.normal(0, 1, 3))
    bristles = []
    for place, light in zip(np.linspace(-0.5, 0.5, count), lights, strict=True):
        first, last = generator.integers(0, max(1, len(line) // 3), 2)
        part = slice(int(first), len(line) - int(last))
        points = line[part] + across[part] * (place * 0.8 * width)
        fixed = np.rint(points * (1 << _SUBPIXEL)).astype(np.int32)
        shaded = np.clip(tint * light, 0, 1)
        bristles.append((fixed, (float(shaded[0]), float(shaded[1]), float(shaded[2]))))
    middle = np.rint(line * (1 << _SUBPIXEL)).astype(np.int32)
    return _Stroke(middle, max(1, round(width)), tuple(bristles), max(1, round(1.3 * width / count)))


def _order(drawn: list[_Stroke], sides: tuple[int, int]) -> tuple[Floats, Floats]:
    """When the first stroke came over each pixel, and where there is any: strokes drawn from the last to the first."""
    when, cover = np.ones(sides, np.float32), np.zeros(sides, np.uint8)
    for index in range(len(drawn) - 1, -1, -1):
        stroke = drawn[index]
        share = index / max(1, len(drawn) - 1)
        cv2.polylines(when, [stroke.line], False, share, stroke.width, cv2.LINE_8, _SUBPIXEL)
        for line, _ in stroke.bristles:
            cv2.polylines(cover, [line], False, 255, stroke.thickness + 1, cv2.LINE_AA, _SUBPIXEL)
    reached = np.sort(when[when < 1])  # by rank, so that as much is painted at any time: the first strokes cover most
    if len(reached):
        when = np.where(when < 1, np.searchsorted(reached, when) / len(reached), 1).astype(np.float32)
    return when, cover.astype(np.float32) / np.float32(255)
