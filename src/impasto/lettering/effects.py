"""The look of an example: letters with an effect and the same letters plain, transferred to other letters.

Papers: arXiv:1611.09026 (Yang et al. 2017): what a pixel of an effect looks like follows its distance to the stroke;
Hertzmann et al. 2001, Image Analogies: a patch is looked for whose plain and painted sides fit; Barnes et al. 2009,
PatchMatch: how it is found. Departs from the first in that the side of the stroke counts, too, so that light comes from
where it came, and from the last in that all places propagate at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError, plain
from impasto.lettering.shape import Shape
from impasto.lettering.tones import luma

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]

_MOST_SIDE = 1024  # pixels of the example
_LEAST_SIDE = 64
_SHAPES_DIFFER = 0.02  # of the aspects of the two pictures
_SEEN = 0.06  # difference from the background that shows
_FURTHEST = 6.0  # radii of a stroke, to which an effect reaches
_RADII = (4.0, 8.0, 14.0)  # of a stroke in pixels, at which patches are matched, coarse first
_ROUNDS = (6, 3, 2)  # of matching and voting at each
_SEARCHES = 6  # random places tried in a round, ever nearer
_OFFSETS = tuple((down, right) for down in (-2, 0, 2) for right in (-2, 0, 2))  # of a patch
_PAD = 2
_DEPTH_WEIGHT, _SIDE_WEIGHT = 1.2, 0.35  # of the guidance, against colours in [0, 1]


@dataclass(frozen=True, eq=False)
class Example:
    """Letters with an effect, and their shape.

    Attributes:
        name: for people.
        pixels: `(H, W, 3)` in [0, 1].
        alpha: `(H, W)`, the effect's own transparency; None where its background is a colour.
        shape: of the letters.
        files: names of the two pictures, with the effect and plain.
    """

    name: str
    pixels: Floats
    alpha: Floats | None
    shape: Shape
    files: tuple[str, str] = ("", "")

    @classmethod
    def read(cls, effect: Path, letters: Path) -> Example:
        """Read the two pictures.

        Raises:
            InputError: they cannot be read, have other shapes, or the plain one shows no letters.
        """
        styled, flat = images.read(effect), images.read(letters)
        longest = min(_MOST_SIDE, max(styled.width, styled.height))
        width, height = images.fit(styled.width, styled.height, longest)
        if min(width, height) < _LEAST_SIDE:
            raise InputError(
                f"{plain(effect.name)} is {styled.width}x{styled.height} px", f"give {_LEAST_SIDE} or more"
            )
        if abs(flat.width / flat.height / (styled.width / styled.height) - 1) > _SHAPES_DIFFER:
            sides = f"{styled.width}x{styled.height} px", f"{flat.width}x{flat.height}"
            raise InputError(
                f"{plain(effect.name)} is {sides[0]}, {plain(letters.name)} {sides[1]}",
                "give the same letters at the same place, once with the effect and once plain",
            )
        styled, flat = styled.resized(height, width), flat.resized(height, width)
        alpha = None if styled.alpha is None or styled.alpha.min() == 1 else styled.alpha
        shape = Shape(_letters_in(flat, letters.name))
        return cls(effect.stem, images.as_float(styled.pixels), alpha, shape, (effect.name, letters.name))

    @cached_property
    def background(self) -> Floats:
        """The colour of its rim."""
        rim = np.concatenate([self.pixels[[0, -1]].reshape(-1, 3), self.pixels[:, [0, -1]].reshape(-1, 3)])
        return np.asarray(np.median(rim, 0), np.float32)

    @property
    def reach(self) -> float:
        """How far the effect goes beyond the letters, in widths of their strokes."""
        shown = np.abs(self.pixels - self.background).max(2) if self.alpha is None else self.alpha
        depth = -self.shape.distance / self.shape.stroke_radius
        far = depth[(shown > _SEEN) & (depth > 0)]
        return float(np.clip(np.percentile(far, 97), 0.0, _FURTHEST)) / 2 if len(far) else 0.0

    def channels(self) -> Floats:
        """`(H, W, 3)`, or 4 channels with its transparency."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])


def _letters_in(picture: images.Picture, name: str) -> Floats:
    """Coverage of plain letters: by transparency, or by what differs from the rim."""
    if picture.alpha is not None and picture.alpha.min() < 0.5:
        return picture.alpha
    values = luma(images.as_float(picture.pixels))
    rim = float(np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])))
    apart = np.abs(values - rim)
    if apart.max() < 0.25 or not 0.002 < float((apart > apart.max() / 2).mean()) < 0.9:
        raise InputError(f"{plain(name)} shows no plain letters", "give black letters on white, without the effect")
    return np.asarray(np.clip(apart / apart.max(), 0, 1), np.float32)


def transfer(example: Example, shape: Shape, *, seed: int = 0) -> Floats:
    """The effect on other letters.

    Args:
        example: the effect.
        shape: the letters that it is wanted on.
        seed: of the places that are tried.

    Returns:
        `(H, W, 3)` in [0, 1], or 4 channels where the example has transparency.
    """
    generator = np.random.default_rng(seed)
    final = min(_RADII[-1], shape.stroke_radius)
    radii = [*(radius for radius in _RADII if radius < 0.75 * final), final]
    found: Places | None = None
    painted: Floats | None = None
    before = (0, 0)
    for radius, rounds in zip(radii, _ROUNDS[-len(radii) :], strict=True):
        source = _Guided.of(example.shape, radius, example.channels())
        target = _Guided.of(shape, radius, painted)
        matcher = _Matcher(source, target, generator)
        found = matcher.start() if found is None else matcher.enlarged(found, before)
        for turn in range(rounds):
            found = matcher.search(found, colours=turn > 0 or painted is not None)
            matcher.vote(found)
        painted, before = matcher.colours(), target.guidance.shape[:2]
    assert painted is not None
    return images.resize(painted, *shape.sides)


@dataclass(frozen=True, eq=False)
class _Guided:
    """Guidance channels of a shape `(h, w, 3)`, and its colours `(h, w, C)`, where there are some."""

    guidance: Floats
    colours: Floats | None

    @classmethod
    def of(cls, shape: Shape, radius: float, colours: Floats | None) -> _Guided:
        """At the size at which strokes have that radius."""
        scale = radius / shape.stroke_radius
        sides = tuple(max(2 * _PAD + 1, round(scale * side)) for side in shape.sides)
        guidance = cv2.resize(_guidance(shape), sides[::-1], interpolation=cv2.INTER_AREA)
        resized = None if colours is None else images.resize(colours, sides[0], sides[1])
        return cls(np.asarray(guidance, np.float32), resized)


def _guidance(shape: Shape) -> Floats:
    """Depth in the stroke, and the side that the edge faces: `(H, W, 3)`."""
    radius = shape.stroke_radius
    depth = np.where(shape.distance > 0, shape.depth, np.maximum(shape.distance / radius, -2 * _FURTHEST))
    smooth = cv2.GaussianBlur(shape.distance, (0, 0), max(1.0, 0.3 * radius))
    slope = np.dstack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)])
    slope = slope / np.maximum(np.linalg.norm(slope, axis=2, keepdims=True), 1e-3)
    near = np.exp(-0.5 * np.abs(depth))[..., None]
    return np.asarray(np.dstack([_DEPTH_WEIGHT * depth, _SIDE_WEIGHT * slope * near]), np.float32)


class _Matcher:
    """Finds for each place of the target one of the source whose patch fits, by guidance and by colours."""

    def __init__(self, source: _Guided, target: _Guided, generator: np.random.Generator) -> None:
        assert source.colours is not None
        channels = source.colours.shape[2]
        rows, columns = target.guidance.shape[:2]
        self._sides, self._source_sides = (rows, columns), source.guidance.shape[:2]
        self._generator = generator
        begun = np.zeros((rows, columns, channels), np.float32) if target.colours is None else target.colours
        self._target = np.dstack([target.guidance, begun])
        self._source = np.dstack([source.guidance, source.colours])
        self._guides = target.guidance.shape[2]
        self._best = np.full(rows * columns, np.inf, np.float32)

    def start(self) -> Places:
        """Places `(2, N)` by chance: rows and columns of the source."""
        count = self._sides[0] * self._sides[1]
        return np.stack([self._generator.integers(0, side, count) for side in self._source_sides])

    def enlarged(self, found: Places, before: tuple[int, int]) -> Places:
        """Places that were found at a smaller size, of so many rows and columns."""
        rows, columns = np.divmod(np.arange(self._sides[0] * self._sides[1]), self._sides[1])
        ratio = self._sides[0] / before[0], self._sides[1] / before[1]
        row = np.minimum((rows / ratio[0]).astype(int), before[0] - 1)
        column = np.minimum((columns / ratio[1]).astype(int), before[1] - 1)
        places = found[:, row * before[1] + column]
        moved = np.stack([places[0] * ratio[0] + rows % ratio[0], places[1] * ratio[1] + columns % ratio[1]])
        return self._clipped(moved.astype(np.int64))

    def search(self, found: Places, *, colours: bool) -> Places:
        """Better places: those of neighbours, moved along, and some by chance."""
        self._best = self._costs(found, colours)
        shape = (2, *self._sides)
        for step in (4, 1):
            for axis, way in ((0, 1), (0, -1), (1, 1), (1, -1)):
                moved = np.roll(found.reshape(shape), way * step, axis + 1).reshape(2, -1).copy()
                moved[axis] += way * step
                found = self._better(found, moved, colours)
        reach = max(self._source_sides)
        for _ in range(_SEARCHES):
            moved = found + self._generator.integers(-reach, reach + 1, found.shape)
            found = self._better(found, moved, colours)
            reach = max(1, reach // 3)
        return found

    def _better(self, found: Places, tried: Places, colours: bool) -> Places:
        tried = self._clipped(tried)
        costs = self._costs(tried, colours)
        better = costs < self._best
        self._best = np.where(better, costs, self._best)
        return np.where(better, tried, found)

    def _clipped(self, places: Places) -> Places:
        return np.stack([np.clip(each, 0, side - 1) for each, side in zip(places, self._source_sides, strict=True)])

    def _costs(self, places: Places, colours: bool) -> Floats:
        """Squared differences of patches, `(N,)`."""
        used = self._source.shape[2] if colours else self._guides
        source, target = _framed(self._source[..., :used]), _framed(self._target[..., :used])
        rows, columns = self._sides
        width = source.shape[1]
        flat = source.reshape(-1, used)
        total = np.zeros(rows * columns, np.float32)
        for down, right in _OFFSETS:
            index = (places[0] + _PAD + down) * width + places[1] + _PAD + right
            part = target[_PAD + down : _PAD + down + rows, _PAD + right : _PAD + right + columns].reshape(-1, used)
            squares = np.square(flat[index] - part)
            for channel in range(used):  # one by one: a sum's order could depend on where arrays lie in memory
                total += squares[:, channel]
        return total

    def vote(self, found: Places) -> None:
        """Each place of the target gets the mean of what the patches over it say."""
        rows, columns = self._sides
        places = found.reshape(2, rows, columns)
        colours = self._source[..., self._guides :]
        total = np.zeros((rows, columns, colours.shape[2]), np.float32)
        for down, right in _OFFSETS:
            moved = np.roll(places, (down, right), (1, 2)) + np.asarray([down, right])[:, None, None]
            row, column = (
                np.clip(moved[0], 0, self._source_sides[0] - 1),
                np.clip(moved[1], 0, self._source_sides[1] - 1),
            )
            total += colours[row, column]
        self._target[..., self._guides :] = total / len(_OFFSETS)

    def colours(self) -> Floats:
        """The target's colours as they are now."""
        return np.clip(self._target[..., self._guides :], 0, 1)


def _framed(pixels: Floats) -> Floats:
    return np.pad(pixels, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)), mode="edge")


def cut_out(painted: Floats, shape: Shape, background: Floats) -> tuple[Floats, Floats]:
    """Colours and opacity of an effect on a background of one colour, which becomes transparent around the letters.

    painted: `(H, W, 3)`, or 4 channels, the last of which is the opacity already.
    """
    if painted.shape[2] == 4:
        return painted[..., :3], np.maximum(painted[..., 3], shape.coverage)
    room = np.where(painted > background, 1 - background, background)
    opacity = (np.abs(painted - background) / np.maximum(room, 1e-3)).max(2)
    opacity = np.clip((opacity - _SEEN) / (1 - _SEEN), 0, 1)
    alpha = np.maximum(opacity, shape.coverage)
    colours = (painted - background * (1 - alpha[..., None])) / np.maximum(alpha, 1e-3)[..., None]
    letters = shape.coverage[..., None]
    mixed = letters * painted + (1 - letters) * np.clip(colours, 0, 1)
    return np.asarray(mixed, np.float32), np.asarray(alpha, np.float32)
