"""Which Objectives an optimised picture is held to, as its knobs ask for: names, weights and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from impasto.contract import Objective
from impasto.losses.losses import ContentLoss, GramLoss, LaplacianLoss, SelfSimilarityLoss, StyleLoss
from impasto.losses.matching import MomentsLoss, PatchLoss, SlicedLoss, WassersteinLoss
from impasto.methods.optimize.balances import CONTENT_BALANCE, layer_weights
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import EncoderSpec

_PATCH_STRIDES = (4, 16)  # in pixels; finer layers see specks, and there are none coarser


@dataclass(frozen=True)
class WeightedObjective:
    """Something of the photograph that the picture is held to: a name for people, its weight, and what measures it."""

    name: str
    weight: float
    objective: Objective


def style_loss(knobs: OptimizeKnobs, architecture: EncoderSpec) -> StyleLoss:
    """The style loss that the knobs choose, on their layers."""
    weights = layer_weights(knobs, architecture)
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
