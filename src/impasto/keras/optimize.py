"""Gatys' method in Keras: as `methods.optimize`, with the same settings and the same numbers.

Paper: arXiv:1508.06576. Departures are those of `methods.optimize.method`. Plain pictures alone: no regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from impasto.contract import OnProgress, Progress, cancelled_by
from impasto.errors import Cancelled
from impasto.keras import backends, resampling, start
from impasto.keras.descent import Descent, Losses, Score, Step
from impasto.keras.places import sample_places
from impasto.keras.resampling import Floats, resample
from impasto.keras.scoring import Target, Terms, Tiled, View, Whole, margin, sides_within, style_at
from impasto.methods.optimize import balances
from impasto.methods.optimize.levels import STRIDE, Level, levels_of
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19
from impasto.ops.tiling import side_within
from impasto.optim.schedule import Schedule

# bytes of a step at its peak: the same for all sizes, and for each pixel; measured from 256 to 512 px in float32, with
# what compiling takes (torch's by that of PyTorch)
_MEMORY = {"tensorflow": (0.3e9, 3000.0), "jax": (0.7e9, 6200.0), "torch": (0.3e9, 6300.0)}
# bytes a pixel of what stays whole: pictures, maps of features, and for each step that L-BFGS remembers, or Adam
_HELD, _HISTORY, _ADAM = 700.0, 54.0, 150.0
_LEAST_TILE = 128  # pixels; with smaller tiles nearly everything would be margin
_LEAST = 1e-12
_KEPT = 8  # levels whose compiled losses are kept: those of two sizes of pictures


@dataclass(frozen=True)
class Painted:
    """A painted picture `(3, H, W)` in [0, 1], and the losses of each step."""

    image: Floats
    losses: tuple[Losses, ...]


class StoppedError(Exception):
    """A descent that was stopped, with what it came to.

    Attributes:
        painted: the best picture so far.
        reason: what stopped it.
    """

    def __init__(self, painted: Painted, reason: Cancelled) -> None:
        super().__init__(str(reason))
        self.painted, self.reason = painted, reason


class Optimize:
    """The method for one picture after another; holds the encoder.

    Args:
        encoder: of `models.vgg19`, with the layers that the settings name.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder, self._encoded = encoder, backends.compiled(encoder)
        self._view = lru_cache(maxsize=_KEPT)(self._new_view)

    def paint(
        self,
        content: Floats,
        styles: Sequence[tuple[float, Floats]],
        knobs: OptimizeKnobs,
        *,
        init: Floats | None = None,
        memory: int | None = None,
        on_progress: OnProgress,
    ) -> Painted:
        """Descend from coarse to fine; what passes between levels is the change to the start.

        Args:
            content: the photograph `(3, H, W)` in [0, 1].
            styles: shares, which sum to 1, and paintings, each at the size at which its strokes are wanted.
            knobs: the settings, for which `forms.check_knobs` has no objection.
            init: the image to start from, of the size of the content; None for what the settings say.
            memory: bytes, for which large levels are done in tiles; None for as many as one piece takes.
            on_progress: called after each step, and with the same again between tiles.

        Raises:
            StoppedError: `on_progress` raised Cancelled.
        """
        palette = np.sum([share * start.color_sums(painting) for share, painting in styles], axis=0)
        begun = start.start_image(content, palette, knobs, init)
        photograph, first = (resampling.extended(one, STRIDE, least=2 * STRIDE) for one in (content, begun))
        picture = _Picture(content, photograph, first)
        levels = levels_of(content.shape[1], content.shape[2], knobs)
        reports = _Reports(on_progress, levels, f"refining {content.shape[2]}x{content.shape[1]}")
        change, history, best = np.zeros((3, 1, 1), np.float32), list[Losses](), first
        for index, level in enumerate(levels):
            sides = sides_within(first, level.scale)
            small, tile = np.clip(resample(photograph, *sides), 0, 1), tile_side(sides, knobs, memory)
            schedule = Schedule(level.steps, knobs.optimizer, knobs.learning_rate, history=knobs.history)
            best, descent = picture.begun(sides, change), None
            try:
                with cancelled_by(reports.again):
                    score = self.score(small, styles, level, knobs, tile=tile)
                    descent = Descent(best, score, schedule, reports.of_level(index))
                    best = descent.run(balances.FIRST_STEP)
            except Cancelled as cancelled:
                if descent is not None:
                    best, history = descent.best, [*history, *descent.history]
                raise StoppedError(Painted(picture.seen(best), tuple(history)), cancelled) from cancelled
            history += descent.history
            change = best - picture.origin(sides)
        return Painted(picture.seen(best), tuple(history))

    def score(
        self,
        photograph: Floats,
        styles: Sequence[tuple[float, Floats]],
        level: Level,
        knobs: OptimizeKnobs,
        *,
        tile: int | None = None,
    ) -> Score:
        """The loss of a picture at one level of its pyramid and its gradient, compiled.

        Args:
            photograph: `(3, H, W)` at the size of the level; 16 divides its sides.
            styles: as for `paint`.
            level: one of `levels_of` the full size.
            knobs: the settings.
            tile: longest side of a tile in pixels; None for one piece.
        """
        own = replace(knobs, content_weight=level.content_factor * knobs.content_weight, deep_style=level.deep_style)
        view = self._view(own, level, tile, photograph.shape)
        return view.score(_target(view, photograph, styles, level, own))

    def _new_view(self, knobs: OptimizeKnobs, level: Level, tile: int | None, _shape: tuple[int, ...]) -> View:
        parts = self._encoder, self._encoded, Terms(knobs), level
        return Whole(*parts) if tile is None else Tiled(*parts, side=tile)


def whole_memory(sides: tuple[int, int]) -> int:
    """Bytes that a picture takes in one piece."""
    fixed, each = _MEMORY[backends.running_on()]
    return int(fixed + each * math.prod(sides))


def least_memory(sides: tuple[int, int], knobs: OptimizeKnobs) -> int:
    """Bytes below which tiles do not fit either."""
    window = _LEAST_TILE + 2 * margin(knobs)
    return whole_memory((window, window)) + _held(sides, knobs)


def tile_side(sides: tuple[int, int], knobs: OptimizeKnobs, memory: int | None) -> int | None:
    """Longest side of the tiles in which a picture fits into memory; None where it does in one piece.

    Args:
        sides: height and width of the picture.
        knobs: the settings.
        memory: bytes; None for as many as one piece takes.
    """
    if memory is None or whole_memory(sides) <= memory:
        return None
    fixed, each = _MEMORY[backends.running_on()]
    left = int(memory - fixed - _held(sides, knobs))
    return max(_LEAST_TILE, side_within(left, each, margin=margin(knobs), stride=STRIDE))


def _held(sides: tuple[int, int], knobs: OptimizeKnobs) -> int:
    """Bytes that stay whole beside the windows: of pictures, maps of features, and the descent."""
    descent = _HISTORY * knobs.history if knobs.optimizer == "lbfgs" else _ADAM
    return int((_HELD + descent) * math.prod(sides))


def _target(
    view: View, photograph: Floats, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
) -> Target:
    """All that the losses compare with."""
    target: dict[str, Any] = {"content": _content(view, photograph, styles, level, knobs)}
    for scale in (level.scale, *level.octaves):
        wanted = _style(view, styles, scale, knobs)
        if knobs.strength < 1:
            sides = sides_within(photograph, scale / level.scale)
            own = view.statistics(np.clip(resample(photograph, *sides), 0, 1))
            wanted = {name: own[name] + np.float32(knobs.strength) * (one - own[name]) for name, one in wanted.items()}
        target[style_at(scale)] = wanted
    target["strokes"] = _places(view, styles, level, knobs)
    return target


def _content(
    view: View, photograph: Floats, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
) -> dict[str, dict[str, Any]]:
    """The photograph's features by layer, and what their squared error is divided by."""
    layers = knobs.content_layers if knobs.content_weight > 0 else ()
    if not layers:
        return {}
    paintings = [(share, view.maps(_at(painting, level.scale), layers)) for share, painting in styles]
    found = view.maps(photograph, layers)
    sizes = {name: float(_mean_square(wanted)) for name, wanted in found.items()}
    shares = [
        balances.content_share(sizes[name], sum(share * float(_mean_square(maps[name])) for share, maps in paintings))
        for name in layers
    ]
    counted = sum(shares) / len(shares)
    return {
        name: {"wanted": wanted, "size": np.float32(max(sizes[name], _LEAST) / counted)}
        for name, wanted in found.items()
    }


def _mean_square(features: Floats) -> np.float32:
    """Of feature vectors `(h, w, C)`."""
    squares: np.float32 = np.square(features).sum(-1).mean()
    return squares


def _style(view: View, styles: Sequence[tuple[float, Floats]], scale: float, knobs: OptimizeKnobs) -> dict[str, Floats]:
    """The statistics of the paintings at a share of their size, joined by weight."""
    parts = [(share, view.statistics(_at(painting, scale))) for share, painting in styles]
    joined: dict[str, Floats] = {}
    for name in knobs.style_layers:
        joined[name] = np.sum([np.float32(share) * found[name] for share, found in parts], axis=0)
    return joined


def _places(
    view: View, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
) -> dict[str, dict[str, Floats]]:
    """Places of the paintings, for each layer on which they are matched: unit vectors around their mean."""
    layers = sorted(balances.stroke_layers(knobs, VGG19))
    maps = [(share, view.maps(_at(painting, level.scale), layers)) for share, painting in styles] if layers else []
    found = {}
    for name in layers:
        rows = [(share, own[name].reshape(-1, own[name].shape[-1])) for share, own in maps]
        places = sample_places(rows, balances.STROKE_PLACES)
        centre = places.mean(0)
        away = places - centre
        unit = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), _LEAST)
        found[name] = {"unit": unit.astype(np.float32), "centre": centre}
    return found


@dataclass(frozen=True)
class _Picture:
    """A picture that is painted: the photograph, and it and the start at sides that 16 divides."""

    content: Floats
    photograph: Floats
    start: Floats

    def origin(self, sides: tuple[int, int]) -> Floats:
        """The start at the size of a level."""
        return resample(self.start, *sides)

    def begun(self, sides: tuple[int, int], change: Floats) -> Floats:
        """The image that a level starts from: the start plus the change of the levels before."""
        larger = change if change.shape[1:] == (1, 1) else resample(change, *sides)
        begun: Floats = np.clip(self.origin(sides) + larger, 0, 1).astype(np.float32)
        return begun

    def seen(self, image: Floats) -> Floats:
        """The picture at its full size, of an image at any."""
        sides = (image.shape[1], image.shape[2])
        whole = (self.start.shape[1], self.start.shape[2])
        if sides != whole:
            image = self.begun(whole, image - self.origin(sides))
        height, width = self.content.shape[1:]
        return image[:, :height, :width]


class _Reports:
    """Joins the reports of the levels into one count, weighing steps by the pixels that they move."""

    def __init__(self, on_progress: OnProgress, levels: Sequence[Level], stage: str) -> None:
        self._on_progress, self._levels, self._stage = on_progress, levels, stage
        self._last = Progress(stage, 0, sum(one.steps for one in levels))

    def of_level(self, index: int) -> Callable[[Step], None]:
        """The callback for one level."""
        before, level = self._levels[:index], self._levels[index]
        steps, total = sum(one.steps for one in before), sum(one.steps for one in self._levels)
        work, all_work = sum(one.work for one in before), sum(one.work for one in self._levels)

        def report(step: Step) -> None:
            done = (work + level.pixels * step.number) / all_work
            self._last = Progress(self._stage, steps + step.number, total, done=done, losses=step.losses)
            self._on_progress(self._last)

        return report

    def again(self) -> None:
        """Let the listener stop the job within a step, by telling it the last report once more."""
        self._on_progress(self._last)


def _at(painting: Floats, scale: float) -> Floats:
    sides = sides_within(painting, scale)
    return np.clip(resample(painting, *sides), 0, 1).astype(np.float32)
