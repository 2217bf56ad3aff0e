"""Which Objectives an optimised picture is held to, as its knobs ask for: names, weights and losses.

All losses are relative, so one set of balances serves every painting, size and encoder. What they reach so far:
docs/losses.md and docs/encoders.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from impasto.contract import Objective
from impasto.losses.losses import ContentLoss, GramLoss, LaplacianLoss, SelfSimilarityLoss, StyleLoss
from impasto.losses.matching import MomentsLoss, PatchLoss, SlicedLoss, WassersteinLoss
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import EncoderSpec

STYLE_BALANCE: Mapping[str, float] = {
    "gram": 6.5,
    "moments": 13.0,
    "wasserstein": 10.0,
    "sliced": 20.0,
    "patches": 13.0,
}
"""Weight of each style loss against the relative content error when both knobs are 1."""
CONTENT_BALANCE: Mapping[str, float] = {"features": 1.0, "similarity": 3.0}
VARIATION_BALANCE = 0.3
OCTAVE_BALANCE = 0.08
"""Of the style at half the size, against that at the picture's own; half of it again at each size below."""
STROKE_BALANCE = 2.5
"""Of the distance to the nearest place of the painting."""
STROKE_PLACES = 4096
"""How many places of the painting are kept."""
_STROKE_STRIDES = (4, 8)  # in pixels, of the layers that see a stroke: more than specks, and less than a motif
_DEEP_STRIDE = 16  # in pixels: a place of such a layer sees a whole moon, or a boat
_PATCH_STRIDES = (4, 16)  # in pixels; finer layers see specks, and there are none coarser


@dataclass(frozen=True)
class WeightedObjective:
    """Something of the photograph that the picture is held to: a name for people, its weight, and what measures it."""

    name: str
    weight: float
    objective: Objective


def style_loss(knobs: OptimizeKnobs, architecture: EncoderSpec) -> StyleLoss:
    """The style loss that the knobs choose, on their layers."""
    strides = {name: architecture.stride(name) for name in knobs.style_layers}
    deep = {name: knobs.deep_style if stride >= _DEEP_STRIDE else 1.0 for name, stride in strides.items()}
    weights = deep if any(deep.values()) else dict.fromkeys(deep, 1.0)  # of deep layers alone: they are the style
    if knobs.style_loss == "patches":
        low, high = _PATCH_STRIDES
        return PatchLoss(
            weights, matched=frozenset(name for name in weights if low <= architecture.stride(name) <= high)
        )
    kinds: Mapping[str, Callable[[Mapping[str, float]], StyleLoss]] = {
        "gram": GramLoss,
        "moments": MomentsLoss,
        "wasserstein": WassersteinLoss,
        "sliced": SlicedLoss,
    }
    return kinds[knobs.style_loss](weights)


def style_weight(knobs: OptimizeKnobs) -> float:
    """The weight of the style loss."""
    return STYLE_BALANCE[knobs.style_loss] * knobs.style_weight


def stroke_layers(knobs: OptimizeKnobs, architecture: EncoderSpec) -> frozenset[str]:
    """The layers on which each place is matched; none unless strokes count."""
    low, high = _STROKE_STRIDES
    counted = knobs.style_layers if knobs.stroke_weight > 0 else ()
    return frozenset(name for name in counted if low <= architecture.stride(name) <= high)


def content_objectives(knobs: OptimizeKnobs) -> tuple[WeightedObjective, ...]:
    """The losses that keep the photograph: its content and its outlines, each where its weight is above 0."""
    layers = frozenset(knobs.content_layers)
    held: list[WeightedObjective] = []
    if knobs.content_weight > 0 and layers:
        kept = SelfSimilarityLoss(layers) if knobs.content_loss == "similarity" else ContentLoss(layers)
        held.append(WeightedObjective("content", CONTENT_BALANCE[knobs.content_loss] * knobs.content_weight, kept))
    if knobs.laplacian_weight > 0:
        held.append(WeightedObjective("laplacian", knobs.laplacian_weight, LaplacianLoss(wrap=knobs.border == "wrap")))
    return tuple(held)
