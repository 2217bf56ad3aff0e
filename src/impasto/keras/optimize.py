"""Gatys' method in Keras: as `methods.optimize`, with the same settings and the same numbers.

Paper: arXiv:1508.06576. Departures are those of `methods.optimize.method`. Plain pictures alone: no regions, no tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from impasto.contract import OnProgress, Progress
from impasto.errors import Cancelled
from impasto.keras import backends, losses, resampling, start
from impasto.keras.descent import Descent, Losses, Score, Step
from impasto.keras.places import sample_places
from impasto.keras.resampling import Floats, resample
from impasto.methods.optimize import balances
from impasto.methods.optimize.levels import STRIDE, Level, levels_of, sides_at
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19
from impasto.optim.schedule import Schedule
from keras import ops

BYTES_PER_PIXEL = 6300.0
"""At its peak; measured on TensorFlow in float32 from 128 to 448 px: 3,000 to 6,200."""

Target = Mapping[str, Any]
Term = Callable[[Mapping[str, Any], Any, Target], Any]
"""A loss of features and image against its target."""


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
        self._encoder, self._features = encoder, backends.compiled(encoder)

    def paint(
        self,
        content: Floats,
        styles: Sequence[tuple[float, Floats]],
        knobs: OptimizeKnobs,
        *,
        init: Floats | None = None,
        on_progress: OnProgress,
    ) -> Painted:
        """Descend from coarse to fine; what passes between levels is the change to the start.

        Args:
            content: the photograph `(3, H, W)` in [0, 1].
            styles: shares, which sum to 1, and paintings, each at the size at which its strokes are wanted.
            knobs: the settings, for which `forms.check_knobs` has no objection.
            init: the image to start from, of the size of the content; None for what the settings say.
            on_progress: called after each step.

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
            sides = _sides_at(first, level.scale)
            score = self.score(np.clip(resample(photograph, *sides), 0, 1), styles, level, knobs)
            schedule = Schedule(level.steps, knobs.optimizer, knobs.learning_rate, history=knobs.history)
            descent = Descent(picture.begun(sides, change), score, schedule, reports.of_level(index))
            try:
                best = descent.run(balances.FIRST_STEP)
            except Cancelled as cancelled:
                painted = Painted(picture.seen(descent.best), (*history, *descent.history))
                raise StoppedError(painted, cancelled) from cancelled
            history += descent.history
            change = best - picture.origin(sides)
        return Painted(picture.seen(best), tuple(history))

    def score(
        self, photograph: Floats, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
    ) -> Score:
        """The loss of a picture at one level of its pyramid and its gradient, compiled.

        Args:
            photograph: `(3, H, W)` at the size of the level; 16 divides its sides.
            styles: as for `paint`.
            level: one of `levels_of` the full size.
            knobs: the settings.
        """
        own = replace(knobs, content_weight=level.content_factor * knobs.content_weight, deep_style=level.deep_style)
        terms = _Terms(own, level)
        target = self._target(photograph, styles, level, own)
        encoder = self._encoder

        def loss(image: Any, target: Target) -> tuple[Any, Mapping[str, Any]]:
            found = terms.losses(lambda pixels: encoder(pixels, training=False), image, target)
            return sum(list(found.values())[1:], next(iter(found.values()))), found

        compiled = backends.scored(encoder, loss)

        def score(image: Floats) -> tuple[Losses, Floats]:
            told, gradient = compiled(np.ascontiguousarray(image, np.float32), target)
            return {name: float(value) for name, value in told.items()}, gradient

        return score

    def statistics(self, picture: Floats, knobs: OptimizeKnobs) -> dict[str, Floats]:
        """What the style loss measures of a picture `(3, H, W)`, by layer."""
        features = self.features(picture)
        summary = losses.STATISTICS[knobs.style_loss][0]
        return {name: backends.to_numpy(summary(features[name])) for name in knobs.style_layers}

    def features(self, picture: Floats) -> Mapping[str, Any]:
        """Feature maps `(1, h, w, C)` of a picture `(3, H, W)`, by layer."""
        found: Mapping[str, Any] = self._features(ops.convert_to_tensor(picture.transpose(1, 2, 0)[None]))
        return found

    def _target(
        self, photograph: Floats, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
    ) -> Target:
        """All that the losses compare with, as tensors: by term, then by layer."""
        content = self.features(photograph)
        target: dict[str, Any] = {
            "content": {name: ops.cast(content[name], "float32") for name in knobs.content_layers}
        }
        for scale in (level.scale, *level.octaves):
            wanted = self._style(styles, scale, knobs)
            if knobs.strength < 1:
                sides = _sides_at(photograph, scale / level.scale)
                own = self.statistics(np.clip(resample(photograph, *sides), 0, 1), knobs)
                wanted = {
                    name: own[name] + np.float32(knobs.strength) * (one - own[name]) for name, one in wanted.items()
                }
            target[f"style {scale}"] = {name: ops.convert_to_tensor(one) for name, one in wanted.items()}
        target["strokes"] = {
            name: {part: ops.convert_to_tensor(value) for part, value in places.items()}
            for name, places in self._places(styles, level, knobs).items()
        }
        return target

    def _style(self, styles: Sequence[tuple[float, Floats]], scale: float, knobs: OptimizeKnobs) -> dict[str, Floats]:
        """The statistics of the paintings at a share of their size, joined by weight."""
        parts = [(share, self.statistics(_at(painting, scale), knobs)) for share, painting in styles]
        joined: dict[str, Floats] = {}
        for name in knobs.style_layers:
            joined[name] = np.sum([np.float32(share) * found[name] for share, found in parts], axis=0)
        return joined

    def _places(
        self, styles: Sequence[tuple[float, Floats]], level: Level, knobs: OptimizeKnobs
    ) -> dict[str, dict[str, Floats]]:
        """Places of the paintings, for each layer on which they are matched: unit vectors around their mean."""
        layers = sorted(balances.stroke_layers(knobs, VGG19))
        maps = [(share, self.features(_at(painting, level.scale))) for share, painting in styles] if layers else []
        found = {}
        for name in layers:
            rows = [(share, backends.to_numpy(own[name]).reshape(-1, own[name].shape[-1])) for share, own in maps]
            places = sample_places(rows, balances.STROKE_PLACES)
            centre = places.mean(0)
            away = places - centre
            unit = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
            found[name] = {"unit": unit.astype(np.float32), "centre": centre}
        return found


@dataclass(frozen=True)
class _Terms:
    """What is summed at one level, written in keras.ops.

    Attributes:
        knobs: the settings, with the level's own weights.
        level: for its scale and its octaves.
    """

    knobs: OptimizeKnobs
    level: Level

    def losses(self, encoder: Callable[[Any], Mapping[str, Any]], image: Any, target: Target) -> dict[str, Any]:
        """Losses of an image `(3, H, W)` by name, weighted."""
        knobs = self.knobs
        pixels = _last(image)
        features = encoder(pixels)
        found: dict[str, Any] = {}
        if knobs.content_weight > 0 and knobs.content_layers:
            weight = balances.CONTENT_BALANCE[knobs.content_loss] * knobs.content_weight
            found["content"] = weight * losses.content_error(features, target["content"])
        found["style"] = self._style(features, target, self.level.scale)
        found["tv"] = balances.VARIATION_BALANCE * knobs.tv_weight * knobs.strength * losses.total_variation(pixels)
        strokes = target["strokes"]
        if strokes:
            far = [losses.stroke_error(features[name], **places) for name, places in sorted(strokes.items())]
            weight = balances.STROKE_BALANCE * knobs.stroke_weight * knobs.strength
            found["strokes"] = weight * sum(far[1:], far[0]) / len(far)
        for scale in self.level.octaves:
            share = scale / self.level.scale
            small = encoder(_last(_smaller(image, _sides_at(image, share))))
            found["style"] += 2 * share * balances.OCTAVE_BALANCE * self._style(small, target, scale)
        return found

    def _style(self, features: Mapping[str, Any], target: Target, scale: float) -> Any:
        kind, weights = self.knobs.style_loss, balances.layer_weights(self.knobs, VGG19)
        statistics = {name: losses.STATISTICS[kind][0](features[name]) for name in weights}
        error = losses.style_error(statistics, target[f"style {scale}"], weights, kind)
        return balances.style_weight(self.knobs) * error


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

    def of_level(self, index: int) -> Callable[[Step], None]:
        """The callback for one level."""
        before, level = self._levels[:index], self._levels[index]
        steps, total = sum(one.steps for one in before), sum(one.steps for one in self._levels)
        work, all_work = sum(one.work for one in before), sum(one.work for one in self._levels)

        def report(step: Step) -> None:
            done = (work + level.pixels * step.number) / all_work
            told = Progress(self._stage, steps + step.number, total, done=done, losses=step.losses)
            self._on_progress(told)

        return report


def _at(painting: Floats, scale: float) -> Floats:
    sides = _sides_at(painting, scale)
    return np.clip(resample(painting, *sides), 0, 1).astype(np.float32)


def _sides_at(picture: Any, scale: float) -> tuple[int, int]:
    """Height and width of a picture `(3, H, W)` at a share of its size."""
    return sides_at(picture.shape[1], picture.shape[2], scale)


def _smaller(image: Any, sides: tuple[int, int]) -> Any:
    if tuple(image.shape[1:]) == sides:
        return image
    rows, columns = (resampling.bicubic(*pair) for pair in zip(image.shape[1:], sides, strict=True))
    return ops.matmul(ops.matmul(rows, image), columns.T)


def _last(image: Any) -> Any:
    """`(1, H, W, 3)` of `(3, H, W)`."""
    return ops.transpose(image, (1, 2, 0))[None]
