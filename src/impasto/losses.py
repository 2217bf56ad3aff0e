"""Objectives: what an image is scored by while it is being optimised.

Every loss is relative: the squared error divided by the squared size of its target. So 1.0 means "as wrong as an empty
feature map", whatever the layer, the encoder, the painting or the size, and weights near 1 are sane everywhere. Gatys'
own losses differ in scale by factors of thousands between layers, which is why his weights have to be hunted for.

The name "image" among the layers stands for the pixels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.contract import Features, Stats
from impasto.stats import gram_matrix


def relative_error(actual: Tensor, target: Tensor) -> Tensor:
    """`|actual - target|^2 / |target|^2` for each batch item, in float32. Shapes `(B, ...)`; returns `(B,)`."""
    difference = (actual.float() - target.float()).flatten(1).square().sum(1)
    return difference / target.float().flatten(1).square().sum(1).clamp_min(1e-12)


@dataclass(frozen=True)
class ContentLoss:
    """Relative error of feature maps: keeps what is depicted.

    Paper: arXiv:1508.06576, eq. 1, made relative.
    """

    layers: frozenset[str]
    additive: bool = False

    def statistics(self, features: Features) -> Stats:
        """The feature maps themselves."""
        return {layer: features[layer] for layer in self.layers}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Mean over layers, summed over the batch so that items stay independent."""
        return lambda stats: _mean_relative_error(stats, target, dict.fromkeys(sorted(self.layers), 1.0))


@dataclass(frozen=True)
class GramLoss:
    """Relative distance of Gram matrices: gives the texture and colours of the style.

    Attributes:
        weights: share of each layer; normalised to sum to 1.

    Paper: arXiv:1508.06576, eq. 5, made relative.
    """

    weights: Mapping[str, float]
    additive: bool = True

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a weight."""
        return frozenset(self.weights)

    def statistics(self, features: Features) -> Stats:
        """`(B, C, C)` float32 a layer."""
        return {layer: gram_matrix(features[layer]) for layer in self.weights}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Weighted mean over layers, summed over the batch."""
        return lambda stats: _mean_relative_error(stats, target, self.weights)


@dataclass(frozen=True)
class TotalVariation:
    """Mean absolute difference of neighbouring pixels: removes noise that the encoder hardly sees.

    Departs from Johnson 2016 in that differences are not squared: edges cost no more than ramps.
    """

    layers: frozenset[str] = frozenset({"image"})
    additive: bool = True

    def statistics(self, features: Features) -> Stats:
        """`(B,)`: the mean over pixels and channels of both absolute differences."""
        image = features["image"].float()
        down = (image[:, :, 1:] - image[:, :, :-1]).abs().flatten(1).mean(1)
        right = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().flatten(1).mean(1)
        return {"image": down + right}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it has no target
        """The variation itself, summed over the batch."""
        return lambda stats: stats["image"].sum()


def _mean_relative_error(stats: Stats, target: Stats, weights: Mapping[str, float]) -> Tensor:
    errors = [weight * relative_error(stats[layer], target[layer]) for layer, weight in weights.items()]
    return torch.stack(errors).sum() / sum(weights.values())
