"""The losses of a network in training: relative content and Gram losses of VGG-19, and style weights that adapt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.contract import STYLE_LAYERS, Features, Job, OnProgress, Placement, Progress, Style, StyleImage, ignore
from impasto.losses.losses import TotalVariation, relative_error, sum_of
from impasto.methods.adain import AdaIN
from impasto.methods.settings import AdaINKnobs, TrainKnobs
from impasto.models import predictors
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import gram_matrix
from impasto.train._strokes import LAYERS as STROKE_LAYERS
from impasto.train._strokes import Strokes

Floats: TypeAlias = NDArray[np.float32]

_Paintings: TypeAlias = Sequence[tuple[Tensor, float]]

CONTENT_LAYER = "relu4_1"
READABLE_ERROR = 0.7
"""Content error beyond which people no longer make out the photograph (docs/training.md)."""

ASSETS = ("vgg19-normalised", "adain-decoder")
_VIEWS = 3  # of a painting, to learn from
_REACH = 8.0  # the style weight stays within this factor of where it started
_RATE = 0.02  # of the balance, by step
_MEMORY = 0.95  # of the running content error, by step in which the style occurred


@dataclass(frozen=True)
class TrainingStyle:
    """A style to train on.

    Attributes:
        name: its name in the network's file.
        pixels: the painting, `(H, W, 3)` in [0, 1].
        id: identifies the painting, such as "museum:436528".
        licence: of the painting.
        parts: paintings with their shares, which sum to 1, where the style is that of several; `pixels` is one of them.
        words: the sentence that it is, in English; `pixels` is then blank.
    """

    name: str
    pixels: Floats
    id: str = ""
    licence: str = ""
    parts: tuple[tuple[Floats, float], ...] = ()
    words: str = ""

    @property
    def paintings(self) -> tuple[tuple[Floats, float], ...]:
        """All its paintings with their shares."""
        return self.parts or ((self.pixels, 1.0),)


def variations(training_styles: Sequence[TrainingStyle], seed: int) -> list[TrainingStyle]:
    """More styles out of a few: each recoloured, `_VIEWS` views of it, and one mixture with another.

    A view is a part of a painting with its sides mirrored and exchanged and its colours in another order; where
    painters had thousands of paintings to learn from, a library has hundreds.

    Args:
        training_styles: of one painting each.
        seed: of what is random.
    """
    made = [replace(one, name=f"{one.name}-recoloured", pixels=one.pixels[..., ::-1]) for one in training_styles]
    for number, style in enumerate(training_styles):
        random = np.random.default_rng([seed, 8, number])
        views = [_view(style.pixels, random) for _ in range(_VIEWS)]
        made += [replace(style, name=f"{style.name}-{at}", pixels=view) for at, view in enumerate(views, 1)]
        other = training_styles[int(random.integers(len(training_styles)))]
        share = random.uniform(0.3, 0.7)
        parts = ((style.pixels, share), (other.pixels, 1 - share))
        made.append(replace(style, name=f"{style.name}-mixed", parts=parts))
    return made


def _view(pixels: Floats, random: np.random.Generator) -> Floats:
    """A part of a painting, as variations see it."""
    shares = random.uniform(0.55, 1.0, 2)
    height, width = (max(1, round(side * share)) for side, share in zip(pixels.shape, shares, strict=False))
    top, left = (
        int(random.integers(0, side - part + 1)) for side, part in zip(pixels.shape, (height, width), strict=False)
    )
    part = pixels[top : top + height, left : left + width]
    part = part[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
    part = part.swapaxes(0, 1) if random.random() < 0.5 else part
    return np.ascontiguousarray(part[..., random.permutation(3)])


class Teacher:
    """Scores pastiches against photographs and paintings.

    Args:
        weights: of `ASSETS`, by id.
        training_styles: the styles; their statistics are taken once, here.
        knobs: of the training.
        placement: where, and in which precision.
    """

    def __init__(
        self,
        weights: Mapping[str, Mapping[str, Tensor]],
        training_styles: Sequence[TrainingStyle],
        knobs: TrainKnobs,
        placement: Placement,
        on_progress: OnProgress = ignore,
    ) -> None:
        self.placement = placement
        self._encoder = Encoder(VGG19, weights[ASSETS[0]], placement)
        self._draft = AdaIN({asset: weights[asset] for asset in ASSETS}, placement)
        least = VGG19.smallest_side(STYLE_LAYERS) * (2 if knobs.large_weight else 1)  # they are halved then
        self._paintings = [
            [(_painting(pixels, knobs.canvas, least).to(placement.device), share) for pixels, share in style.paintings]
            for style in training_styles
        ]
        found: dict[str, list[Tensor]] = {layer: [] for layer in STYLE_LAYERS}
        large: dict[str, list[Tensor]] = {layer: [] for layer in STYLE_LAYERS}
        looks = []
        self._strokes = Strokes(len(training_styles), knobs.seed) if knobs.stroke_weight else None
        with torch.no_grad():
            for done, paintings in enumerate(self._paintings):
                on_progress(Progress("measuring the styles", done, len(training_styles), "style"))
                grams, look = self._pooled(paintings, self._strokes)
                looks.append(look)
                for layer, gram in grams.items():
                    found[layer].append(gram)
                if knobs.large_weight:
                    for layer, gram in self._pooled([(_halved(one), share) for one, share in paintings])[0].items():
                        large[layer].append(gram)
            self._large = {layer: torch.cat(grams) for layer, grams in large.items() if grams}
            self.statistics = torch.cat(looks)
            """Of the paintings, as `predictors` take them, a row a style."""
            self._grams = {layer: torch.cat(grams) for layer, grams in found.items()}
            self._roughness = torch.cat(
                [sum_of(share * _variation(painting) for painting, share in own) for own in self._paintings]
            )

    def _pooled(self, paintings: _Paintings, strokes: Strokes | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Gram matrices `(1, C, C)` of paintings as if they were one, so that no one's motif stands out; statistics.

        Their places are added to `strokes`.
        """
        grams, looks, seen = [], [], []
        for painting, share in paintings:
            features = self._encoder(painting, STYLE_LAYERS)
            grams.append({layer: share * gram_matrix(features[layer]) for layer in STYLE_LAYERS})
            looks.append(share * predictors.statistics(features))
            if strokes is not None:
                seen.append(({layer: features[layer] for layer in STROKE_LAYERS}, share))
        if strokes is not None:
            strokes.add(seen)
        return {layer: sum_of(own[layer] for own in grams) for layer in STYLE_LAYERS}, sum_of(looks)

    @property
    def styles(self) -> int:
        """Number of styles."""
        return len(self._roughness)

    @property
    def shortest_side(self) -> int:
        """The shortest side of its paintings, in pixels."""
        return min(min(painting.shape[2:]) for own in self._paintings for painting, _ in own)

    def patches(self, styles: Tensor, numbers: Tensor, side: int, seed: int) -> Tensor:
        """Random squares `(B, 3, side, side)` of the paintings, mirrored or not; seeded by `numbers (B,)`.

        They are no larger than the shortest side of the paintings.
        """
        side = min(side, self.shortest_side)
        found = []
        for style, number in zip(styles.tolist(), numbers.tolist(), strict=True):
            random, paintings = np.random.default_rng([seed, 6, number]), self._paintings[style]
            painting = paintings[0][0] if len(paintings) == 1 else _drawn(random, paintings)
            top, left = (int(random.integers(0, length - side + 1)) for length in painting.shape[2:])
            square = painting[..., top : top + side, left : left + side]
            found.append(square.flip(3) if random.random() < 0.5 else square)
        return torch.cat(found)

    @torch.no_grad()
    def content(self, photographs: Tensor) -> Tensor:
        """Content features of photographs `(B, 3, H, W)`: their relu4_1."""
        return self._encoder(photographs, [CONTENT_LAYER])[CONTENT_LAYER]

    def losses(self, pastiches: Tensor, content: Tensor, styles: Tensor) -> dict[str, Tensor]:
        """Relative content error, Gram distance and roughness, each `(B,)` float32.

        And what the knobs weigh: `large`, the Gram distance at half the size, and `strokes`, see `_strokes`.

        Args:
            pastiches: `(B, 3, H, W)` in [0, 1].
            content: `content()` of their photographs.
            styles: `(B,)`, numbers of the training_styles.
        """
        features = self._encoder(pastiches, STYLE_LAYERS, winograd=True)
        found = {
            "content": relative_error(features[CONTENT_LAYER], content),
            "style": _gram_distance(features, self._grams, styles),
            "tv": _variation(pastiches) / self._roughness[styles],
        }
        if self._large:
            smaller = self._encoder(_halved(pastiches), STYLE_LAYERS, winograd=True)
            found["large"] = _gram_distance(smaller, self._large, styles)
        if self._strokes is not None:
            found["strokes"] = self._strokes.distance(features, styles)
        return found

    @torch.inference_mode()
    def budgets(self, photographs: Tensor, styles: Iterable[int] | None = None) -> Tensor:
        """The content error `(S,)` of AdaIN's draft of these photographs `(B, 3, H, W)`, the median for each style.

        styles: numbers of the training_styles; all by default.

        The median, because a picture with little in it has a relative error without bounds; and never more than
        `READABLE_ERROR`, because some paintings make AdaIN lose the photograph altogether.
        """
        wanted = self.content(photographs)
        found = []
        for style in range(self.styles) if styles is None else styles:
            whole = Style(tuple(StyleImage(painting, share) for painting, share in self._paintings[style]))
            code = self._draft.encode_style(whole, AdaINKnobs())
            drafts = self._draft.stylize(photographs, [Job(code, AdaINKnobs())] * len(photographs))
            found.append(relative_error(self.content(drafts), wanted).median())
        return torch.stack(found).clamp(max=READABLE_ERROR)


class Balance(torch.nn.Module):
    """A style weight for each style, adapted so that the content error settles at its budget.

    This is dual ascent on "the least style distance at a content error of at most the budget": a style that keeps
    more of the photograph than it has to gets a larger weight, and the other way round. So one set of
    defaults suits bold and quiet paintings.

    Args:
        styles: how many.
        knobs: of the training.
    """

    budgets: Tensor
    weights: Tensor
    running: Tensor

    def __init__(self, styles: int, knobs: TrainKnobs) -> None:
        super().__init__()
        self._start = knobs.style_weight
        self.register_buffer("budgets", torch.ones(styles))
        self.register_buffer("weights", torch.full((styles,), float(knobs.style_weight)))
        self.register_buffer("running", torch.zeros(styles))

    def weights_of(self, styles: Tensor) -> Tensor:
        """`(B,)` of `styles (B,)`."""
        return self.weights[styles]

    def update(self, styles: Tensor, errors: Tensor, *, settled: bool) -> None:
        """Update the running content errors by `errors (B,)` of `styles (B,)`; once `settled`, the weights too."""
        for style, error in zip(styles.tolist(), errors.tolist(), strict=True):
            before = float(self.running[style])
            now = error if before == 0 else _MEMORY * before + (1 - _MEMORY) * error
            self.running[style] = now
            if settled:
                spare = 1 - now / float(self.budgets[style])
                moved = float(self.weights[style]) * (1 + _RATE * max(-1.0, min(1.0, spare)))
                self.weights[style] = max(self._start / _REACH, min(self._start * _REACH, moved))


class SharedBalance(Balance):
    """One style weight and one budget for all styles: with a hundred of them, each occurs too seldom for its own."""

    def __init__(self, knobs: TrainKnobs) -> None:
        super().__init__(1, knobs)

    def weights_of(self, styles: Tensor) -> Tensor:
        """`(B,)` of `styles (B,)`."""
        return self.weights.repeat(len(styles))

    def update(self, styles: Tensor, errors: Tensor, *, settled: bool) -> None:
        """See `Balance.update`; by the batch's mean."""
        super().update(styles[:1] * 0, errors.mean()[None], settled=settled)


def _drawn(random: np.random.Generator, paintings: _Paintings) -> Tensor:
    """One of them, by their shares."""
    return paintings[int(random.choice(len(paintings), p=[share for _, share in paintings]))][0]


def _painting(pixels: Floats, canvas: int, least: int) -> Tensor:
    """`(1, 3, H, W)` that fits `canvas` pixels, no side shorter than `least`."""
    # whole, as every method takes it: with edges left out networks came out half as far again from the painting as it
    # was given (bench/NOTES.md)
    height, width = pixels.shape[:2]
    width, height = images.fit(width, height, canvas)
    return images.to_tensor(images.resize(pixels, max(height, least), max(width, least)))


def _gram_distance(features: Features, grams: Mapping[str, Tensor], styles: Tensor) -> Tensor:
    """Mean over layers of the relative error of the Gram matrices, `(B,)`."""
    errors = [relative_error(gram_matrix(features[layer]), grams[layer][styles]) for layer in STYLE_LAYERS]
    return torch.stack(errors).mean(0)


def _halved(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, 2)


def _variation(pictures: Tensor) -> Tensor:
    return TotalVariation().statistics({"image": pictures})["image"].clamp_min(1e-4)
