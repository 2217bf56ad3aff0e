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
import torch.nn.functional as F
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
class RegionalGramLoss:
    """Relative distances of Gram matrices, one for each soft mask: each region takes on its own style.

    Attributes:
        weights: share of each layer; normalised to sum to 1.
        masks: `(R, 1, H, W)` in [0, 1] over the image. A region's loss counts by the share of the image that it
            covers, so that a pixel is pushed as hard as without regions.

    Paper: arXiv:1611.07865, eq. 6, made relative. Departs from it in that masks are averaged down to each layer's
    positions and not eroded by the receptive field: thin regions would vanish.
    """

    weights: Mapping[str, float]
    masks: Tensor
    additive: bool = False

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a weight."""
        return frozenset(self.weights)

    def statistics(self, features: Features) -> Stats:
        """`(R, C, C)` float32 a layer, of one image's features `(1, C, h, w)`."""
        return {layer: torch.cat([self._gram(features[layer], mask) for mask in self.masks]) for layer in self.weights}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Weighted mean over layers, summed over regions by their share."""
        shares = self.masks.mean(dim=(1, 2, 3))
        total = sum(self.weights.values())

        def loss(stats: Stats) -> Tensor:
            errors = [weight * relative_error(stats[name], target[name]) for name, weight in self.weights.items()]
            return (torch.stack(errors) * shares).sum() / total

        return loss

    @staticmethod
    def _gram(features: Tensor, mask: Tensor) -> Tensor:
        weight = F.adaptive_avg_pool2d(mask, (features.shape[2], features.shape[3]))
        return gram_matrix(features, weight[None])


@dataclass(frozen=True)
class TotalVariation:
    """Mean absolute difference of neighbouring pixels: removes noise that the encoder hardly sees.

    Attributes:
        wrap: whether the last row and column are neighbours of the first, as in a tile.
        weight: `(1, 1, H, W)`, how much each pixel counts; evenly by default.

    Departs from Johnson 2016 in that differences are not squared: edges cost no more than ramps.
    """

    wrap: bool = False
    weight: Tensor | None = None
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = True

    def statistics(self, features: Features) -> Stats:
        """`(B,)`: the mean over pixels and channels of both absolute differences."""
        image = features["image"].float()
        down, right = (image.roll(-1, 2) - image).abs(), (image.roll(-1, 3) - image).abs()
        if self.weight is not None:
            down, right = down * self.weight, right * self.weight
        if not self.wrap:
            down, right = down[:, :, :-1], right[..., :-1]
        return {"image": down.flatten(1).mean(1) + right.flatten(1).mean(1)}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it has no target
        """The variation itself, summed over the batch."""
        return lambda stats: stats["image"].sum()


def _mean_relative_error(stats: Stats, target: Stats, weights: Mapping[str, float]) -> Tensor:
    errors = [weight * relative_error(stats[layer], target[layer]) for layer, weight in weights.items()]
    return torch.stack(errors).sum() / sum(weights.values())
