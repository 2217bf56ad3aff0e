"""The loss of a picture and its gradient in Keras, in one piece or window by window: as `optim.evaluator`.

A style loss looks at a picture through means over all places. So what windows contribute adds up: a first pass collects
the means, the loss gives its gradient with respect to them, and a second pass takes that back to the pixels. A window
is a tile with all the neighbourhood that its features depend on, so both ways give the same numbers, to rounding.

Paper: arXiv:2212.13459 (Galerne, Raad, Lezama and Morel 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from impasto.contract import check_cancelled
from impasto.keras import backends, losses, resampling
from impasto.keras.descent import Losses, Score
from impasto.keras.resampling import Floats, resample
from impasto.methods.optimize import balances
from impasto.methods.optimize.levels import STRIDE, Level, sides_at
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19
from impasto.ops.tiling import Tile, tiles_of
from keras import ops

Target = Mapping[str, Any]
"""What is compared with: "content" and "strokes", by layer and part; "style SCALE", statistics by layer. In NumPy."""

Encoded = Callable[[Any], Mapping[str, Any]]
"""Feature maps by layer of an image `(1, H, W, 3)`."""


class View(Protocol):
    """How pictures of one size are seen at a level: in one piece, or window by window.

    They are `(3, H, W)`; 16 divides their sides. What a view compiles it keeps, for the next picture of that size.
    """

    def statistics(self, picture: Floats) -> dict[str, Floats]:
        """What the style loss measures of a picture, by layer."""

    def maps(self, picture: Floats, layers: Iterable[str]) -> dict[str, Floats]:
        """Features of a picture by layer, `(h, w, C)`."""

    def score(self, target: Target) -> Score:
        """The losses of a picture and their gradient, compiled."""


@dataclass(frozen=True)
class Terms:
    """What is summed, written in keras.ops, and how much each counts.

    Where `cover (h, w)` is given, a picture is a window: each pixel's share in the whole, 0 outside of the tile.

    Attributes:
        knobs: the settings, with a level's own weights.
    """

    knobs: OptimizeKnobs

    def statistics(self, features: Mapping[str, Any], cover: Any = None) -> dict[str, Any]:
        """Means over places, by layer."""
        summary = losses.STATISTICS[self.knobs.style_loss][0]
        return {name: summary(features[name], _shares(features[name], cover)) for name in self._weights}

    def style(self, statistics: Mapping[str, Any], target: Target, scale: float, level: Level) -> Any:
        """Of the means at the level's own scale, or at one of its octaves."""
        share = scale / level.scale
        counted = 1.0 if share == 1 else 2 * share * balances.OCTAVE_BALANCE
        error = losses.style_error(statistics, target[style_at(scale)], self._weights, self.knobs.style_loss)
        return counted * balances.style_weight(self.knobs) * error

    def placed(self, features: Mapping[str, Any], target: Target, cover: Any = None) -> dict[str, Any]:
        """Losses that compare place by place."""
        knobs, found = self.knobs, dict[str, Any]()
        shares = {name: _shares(features[name], cover) for name in {*target["content"], *target["strokes"]}}
        if target["content"] and knobs.content_weight > 0:
            weight = balances.CONTENT_BALANCE[knobs.content_loss] * knobs.content_weight
            far = [
                losses.placed_error(features[name], **parts, shares=shares[name])
                for name, parts in sorted(target["content"].items())
            ]
            found["content"] = weight * sum(far[1:], far[0]) / len(far)
        if target["strokes"]:
            weight = balances.STROKE_BALANCE * knobs.stroke_weight * knobs.strength
            far = [
                losses.stroke_error(features[name], **parts, shares=shares[name])
                for name, parts in sorted(target["strokes"].items())
            ]
            found["strokes"] = weight * sum(far[1:], far[0]) / len(far)
        return found

    def variation(self, image: Any) -> Any:
        """Of an image `(3, H, W)`."""
        weight = balances.VARIATION_BALANCE * self.knobs.tv_weight * self.knobs.strength
        return weight * losses.total_variation(_last(image))

    @property
    def _weights(self) -> dict[str, float]:
        return balances.layer_weights(self.knobs, VGG19)


class Whole:
    """Pictures in one piece.

    Args:
        encoder: of `models.vgg19`, with the layers that the settings name.
        encoded: the same, compiled.
        terms: what is summed.
        level: of the pyramid.
    """

    def __init__(self, encoder: Any, encoded: Encoded, terms: Terms, level: Level) -> None:
        self._encoder, self._encoded, self._terms, self._level = encoder, encoded, terms, level
        self._scored = backends.scored(encoder, self._loss)

    def statistics(self, picture: Floats) -> dict[str, Floats]:
        """See `View`."""
        found: dict[str, Floats] = backends.to_numpy(self._terms.statistics(self._encoded(_image(picture))))
        return found

    def maps(self, picture: Floats, layers: Iterable[str]) -> dict[str, Floats]:
        """See `View`."""
        found = self._encoded(_image(picture))
        return {name: backends.to_numpy(found[name])[0] for name in layers}

    def score(self, target: Target) -> Score:
        """See `View`."""
        wanted = backends.to_tensors(target)

        def score(image: Floats) -> tuple[Losses, Floats]:
            told, gradient = self._scored(np.ascontiguousarray(image, np.float32), wanted)
            return {name: float(value) for name, value in told.items()}, gradient

        return score

    def _loss(self, image: Any, target: Target) -> tuple[Any, Mapping[str, Any]]:
        terms, encoder, level = self._terms, self._encoder, self._level
        features = encoder(_last(image), training=False)
        found = terms.placed(features, target)
        found["style"] = terms.style(terms.statistics(features), target, level.scale, level)
        for scale in level.octaves:
            small = encoder(_last(_smaller(image, sides_within(image, scale / level.scale))), training=False)
            found["style"] += terms.style(terms.statistics(small), target, scale, level)
        found["tv"] = terms.variation(image)
        return sum(list(found.values())[1:], next(iter(found.values()))), found


class Tiled:
    """Pictures window by window, for those that do not fit into memory in one piece.

    Args:
        encoder, encoded, terms, level: as for `Whole`.
        side: longest side of a tile in pixels.
    """

    def __init__(self, encoder: Any, encoded: Encoded, terms: Terms, level: Level, *, side: int) -> None:
        self._encoder, self._encoded, self._terms, self._level, self._side = encoder, encoded, terms, level, side
        self._margin = margin(terms.knobs)
        scales = (level.scale, *level.octaves)
        self._styled = {scale: backends.scored(encoder, partial(self._style, scale)) for scale in scales}
        self._pulled = {scale: backends.scored(encoder, self._pull) for scale in scales}
        self._varied = backends.scored(encoder, self._variation)

    def statistics(self, picture: Floats) -> dict[str, Floats]:
        """See `View`."""
        sums: dict[str, Floats] = {}
        for window in self._windows(picture):
            features = self._encoded(_image(window.crop(picture)))
            parts = backends.to_numpy(self._terms.statistics(features, backends.to_tensors(window.cover())))
            sums = {name: part + sums.get(name, np.float32(0)) for name, part in parts.items()}
        return sums

    def maps(self, picture: Floats, layers: Iterable[str]) -> dict[str, Floats]:
        """See `View`."""
        found: dict[str, Floats] = {}
        for window in self._windows(picture):
            features = self._encoded(_image(window.crop(picture)))
            for name in layers:
                own, step = backends.to_numpy(features[name])[0], VGG19.stride(name)
                if name not in found:
                    height, width = picture.shape[1] // step, picture.shape[2] // step
                    found[name] = np.empty((height, width, own.shape[-1]), np.float32)
                found[name][window.tile.cells(step)] = own[window.cells(step)]
        return found

    def score(self, target: Target) -> Score:
        """See `View`."""
        level = self._level
        wanted = {scale: backends.to_tensors({style_at(scale): target[style_at(scale)]}) for scale in self._styled}
        strokes = backends.to_tensors(target["strokes"])
        none: Target = {"content": {}, "strokes": {}}

        def placed(window: _Window) -> Target:
            return {"content": window.parts_of(target["content"]), "strokes": strokes}

        def score(image: Floats) -> tuple[Losses, Floats]:
            image = np.ascontiguousarray(image, np.float32)
            told, gradient = self._varied(image, {})
            losses = {"style": 0.0, "tv": float(told)}
            for scale, styled in self._styled.items():
                small = resample(image, *sides_within(image, scale / level.scale))
                loss, slopes = styled(self.statistics(small), wanted[scale])
                losses["style"] += float(loss)
                own, part = np.zeros_like(small), placed if scale == level.scale else lambda _: none
                for window in self._windows(small):
                    given = {"slopes": slopes, "cover": window.cover(), **part(window)}
                    found, slope = self._pulled[scale](window.crop(small), backends.to_tensors(given))
                    own[:, window.rows, window.columns] += slope
                    losses |= {name: losses.get(name, 0.0) + float(value) for name, value in found.items()}
                gradient = gradient + _undone(own, image)
            return losses, gradient

        return score

    def _style(self, scale: float, statistics: Any, target: Target) -> tuple[Any, Any]:
        """The style loss of statistics at a scale."""
        total = self._terms.style(statistics, target, scale, self._level)
        return total, total

    def _pull(self, image: Any, given: Target) -> tuple[Any, Any]:
        """Of a window: what takes the gradient of the means to its pixels, and its part in the other losses."""
        features, cover = self._encoder(_last(image), training=False), given["cover"]
        statistics = self._terms.statistics(features, cover)
        found = self._terms.placed(features, given, cover)
        pulled = [ops.sum(given["slopes"][name] * part) for name, part in statistics.items()]
        return sum([*pulled[1:], *found.values()], pulled[0]), found

    def _variation(self, image: Any, _target: Target) -> tuple[Any, Any]:
        total = self._terms.variation(image)
        return total, total

    def _windows(self, picture: Floats) -> Iterable[_Window]:
        for window in windows_of((picture.shape[1], picture.shape[2]), self._side, self._margin):
            check_cancelled()
            yield window


def margin(knobs: OptimizeKnobs) -> int:
    """Pixels of a window beyond its tile, on which its features depend; cells of the deepest layer lie as ever."""
    return -(-VGG19.reach((*knobs.style_layers, *knobs.content_layers)) // STRIDE) * STRIDE


def sides_within(picture: Any, scale: float) -> tuple[int, int]:
    """Height and width of a picture `(3, H, W)` at a share of its size."""
    return sides_at(picture.shape[1], picture.shape[2], scale)


@dataclass(frozen=True)
class _Window:
    """A tile with its margins. All windows of a picture have one size, so that a backend compiles it once.

    Attributes:
        tile: what counts.
        rows, columns: what is seen.
    """

    tile: Tile
    rows: slice
    columns: slice

    def crop(self, picture: Floats) -> Floats:
        """What is seen of a picture `(3, H, W)`."""
        return np.ascontiguousarray(picture[:, self.rows, self.columns])

    def cells(self, step: int) -> tuple[slice, slice]:
        """The tile within the window, in maps of one cell for `step` pixels."""
        down, across = (
            slice((first - seen.start) // step, (last - seen.start) // step)
            for (first, last), seen in ((self.tile.rows, self.rows), (self.tile.columns, self.columns))
        )
        return down, across

    def cover(self) -> Floats:
        """See `Terms`."""
        found = np.zeros((self.rows.stop - self.rows.start, self.columns.stop - self.columns.start), np.float32)
        found[self.cells(1)] = 1 / (self.tile.picture[0] * self.tile.picture[1])
        return found

    def parts_of(self, content: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The same window of the photograph's maps."""
        found = {}
        for name, own in content.items():
            step = VGG19.stride(name)
            seen = (slice(side.start // step, side.stop // step) for side in (self.rows, self.columns))
            found[name] = {**own, "wanted": np.ascontiguousarray(own["wanted"][tuple(seen)])}
        return found


def windows_of(sides: tuple[int, int], side: int, margin: int) -> list[_Window]:
    """The windows of a picture.

    Args:
        sides: its height and width.
        side: longest side of a tile.
        margin: a multiple of the stride.
    """
    tiles = tiles_of(sides, side, stride=STRIDE)
    lengths = [
        min(whole, max(last - first for first, last in spans) + 2 * margin)
        for whole, spans in zip(sides, ([each.rows for each in tiles], [each.columns for each in tiles]), strict=True)
    ]

    def seen(first: int, whole: int, length: int) -> slice:
        start = min(max(0, first - margin), whole - length)
        return slice(start, start + length)

    return [
        _Window(each, seen(each.rows[0], sides[0], lengths[0]), seen(each.columns[0], sides[1], lengths[1]))
        for each in tiles
    ]


def style_at(scale: float) -> str:
    """The name in a target of the statistics at a scale."""
    return f"style {scale}"


def _undone(gradient: Floats, image: Floats) -> Floats:
    """The gradient of an image, of that of the image at a smaller size."""
    if gradient.shape == image.shape:
        return gradient
    rows, columns = (resampling.bicubic(*pair) for pair in zip(image.shape[1:], gradient.shape[1:], strict=True))
    return resampling.applied(rows.T, gradient, columns.T)


def _smaller(image: Any, sides: tuple[int, int]) -> Any:
    if tuple(image.shape[1:]) == sides:
        return image
    rows, columns = (resampling.bicubic(*pair) for pair in zip(image.shape[1:], sides, strict=True))
    return ops.matmul(ops.matmul(rows, image), columns.T)


def _shares(features: Any, cover: Any) -> Any:
    """The share of each place of a map, of those of the pixels."""
    if cover is None:
        return None
    step = cover.shape[0] // features.shape[1]
    return step**2 * cover[::step, ::step]


def _image(picture: Floats) -> Any:
    return ops.convert_to_tensor(np.ascontiguousarray(picture.transpose(1, 2, 0)[None]))


def _last(image: Any) -> Any:
    """`(1, H, W, 3)` of `(3, H, W)`."""
    return ops.transpose(image, (1, 2, 0))[None]
