"""Objectives: what an image is scored by while it is being optimised.

Every loss is relative: the squared error divided by the squared size of its target. So 1.0 means "as wrong as an empty
feature map", whatever the layer, the encoder, the painting or the size, and weights near 1 are sane everywhere. Gatys'
own losses differ in scale by factors of thousands between layers, which is why his weights have to be hunted for.

The name "image" among the layers stands for the pixels themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Features, Stats
from impasto.ops.stats import gram_matrix, precise
from impasto.ops.tiling import Tile


def relative_error(actual: Tensor, target: Tensor) -> Tensor:
    """`|actual - target|^2 / |target|^2` for each batch item, in float32 at least. `(B, ...)`; returns `(B,)`."""
    actual, target = precise(actual), precise(target)
    difference = (actual - target).flatten(1).square().sum(1)
    return difference / target.flatten(1).square().sum(1).clamp_min(1e-12)


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    first, *rest = tensors
    for tensor in rest:
        first = first + tensor
    return first


@dataclass(frozen=True)
class ContentLoss:
    """Relative error of feature maps: keeps what is depicted.

    Paper: arXiv:1508.06576, eq. 1, made relative.
    """

    layers: frozenset[str]
    additive: bool = True

    def statistics(self, features: Features) -> Stats:
        """The feature maps themselves."""
        return {layer: features[layer] for layer in self.layers}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Mean over layers, summed over the batch so that items stay independent."""
        return lambda stats: _mean_relative_error(stats, target, dict.fromkeys(sorted(self.layers), 1.0))

    def placed(self, target: Stats) -> PlacedContentLoss:
        """The same for tiles; see `MappedObjective`."""
        return PlacedContentLoss(target)


@dataclass(frozen=True)
class PlacedContentLoss:
    """`ContentLoss` as a sum over tiles: each adds the squared error of its own features.

    Attributes:
        target: the photograph's feature maps.
    """

    target: Stats
    additive: bool = True
    margin: int = 0

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a target."""
        return frozenset(self.target)

    def statistics(self, features: Features) -> Stats:
        """`(B,)` a layer: the relative error."""
        return {layer: relative_error(features[layer], wanted) for layer, wanted in self.target.items()}

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        return {layer: self._error_in(tile, features[layer], layer) for layer in self.target}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it holds its target
        """Mean over layers, summed over the batch."""
        return lambda stats: torch.stack([stats[layer].sum() for layer in sorted(self.target)]).mean()

    def _error_in(self, tile: Tile, features: Tensor, layer: str) -> Tensor:
        wanted = self.target[layer]
        rows, columns = tile.cells(tile.picture[0] // wanted.shape[2])
        difference = precise(features) - precise(wanted[:, :, rows, columns])
        return difference.flatten(1).square().sum(1) / self._sizes[layer]

    @cached_property
    def _sizes(self) -> Stats:
        """Squared size of each target, `(B,)`, summed channel by channel: a precise copy of it all would be large."""
        return {
            layer: sum_of(precise(channel).flatten(1).square().sum(1) for channel in wanted.unbind(1)).clamp_min(1e-12)
            for layer, wanted in self.target.items()
        }


@dataclass(frozen=True)
class StyleLoss(ABC):
    """Base class of style losses: statistics of each layer's feature vectors, and a relative distance of them.

    A subclass says what the statistics are (`summary`) and how far apart two are (`distance`).

    Attributes:
        weights: share of each layer; normalised to sum to 1.
    """

    weights: Mapping[str, float]
    additive: ClassVar[bool] = True

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a weight."""
        return frozenset(self.weights)

    def statistics(self, features: Features, weight: Tensor | None = None) -> Stats:
        """One tensor a layer, the batch first, float32 or more precise.

        weight: `(1, 1, H, W)` in [0, 1] over the image, how much each pixel counts; evenly by default. It is averaged
        down to each layer's positions.
        """
        return {layer: self.summary(features[layer], _shrunk(weight, features[layer])) for layer in self.weights}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Weighted mean over layers, summed over the batch so that items stay independent."""
        ready = self.prepare(target)
        return lambda stats: self.errors(stats, ready).sum()

    def prepare(self, target: Stats) -> Stats:
        """The target with what can be computed once for all steps."""
        return target

    def errors(self, stats: Stats, target: Stats) -> Tensor:
        """Weighted mean over layers for each batch item, `(B,)`, against a target that was prepared."""
        errors = [weight * self.distance(stats[name], target[name]) for name, weight in self.weights.items()]
        return torch.stack(errors).sum(0) / sum(self.weights.values())

    def pool(self, parts: Sequence[tuple[float, Stats]]) -> Stats:
        """The statistics of several style images as one, from pairs of share (they sum to 1) and statistics."""
        return {name: sum_of(share * stats[name] for share, stats in parts) for name in parts[0][1]}

    def toward(self, own: Stats, target: Stats, strengths: Tensor) -> Stats:
        """The target at less than full strength: between the content's own statistics and the style's.

        own, target: the batch first. strengths: `(B,)` in [0, 1].
        """
        return {
            name: torch.lerp(own[name], target[name], strengths.to(own[name]).view(-1, *[1] * (own[name].dim() - 1)))
            for name in target
        }

    @abstractmethod
    def summary(self, features: Tensor, weight: Tensor | None) -> Tensor:
        """Statistics of one layer's `features (B, C, h, w)`; weight: `(1, 1, h, w)` or None."""
        ...

    def distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """How far apart one layer's statistics are, for each batch item; 1.0 is as far as an empty feature map."""
        return relative_error(ours, theirs)


@dataclass(frozen=True)
class GramLoss(StyleLoss):
    """Relative distance of Gram matrices: gives the texture and colours of the style.

    Statistics: `(B, C, C)` a layer. Paper: arXiv:1508.06576, eq. 5, made relative.
    """

    def summary(self, features: Tensor, weight: Tensor | None) -> Tensor:
        """See `StyleLoss`."""
        return gram_matrix(features, weight)


@dataclass(frozen=True)
class RegionalLoss:
    """One style loss for each soft mask: each region takes on its own style.

    Attributes:
        loss: what measures the style of a region.
        masks: `(R, 1, H, W)` in [0, 1] over the image. A region's loss counts by the share of the image that it
            covers, so that a pixel is pushed as hard as without regions.
        counted: share of the image that counts at all, where parts of it cannot be seen.

    Paper: arXiv:1611.07865, eq. 6, made relative. Departs from it in that masks are averaged down to each layer's
    positions and not eroded by the receptive field: thin regions would vanish.
    """

    loss: StyleLoss
    masks: Tensor
    counted: float = 1.0
    margin: ClassVar[int] = 0

    @property
    def additive(self) -> bool:
        """As the loss is."""
        return self.loss.additive

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a weight."""
        return self.loss.layers

    def statistics(self, features: Features) -> Stats:
        """The loss's statistics, one batch item a region, of one image's features `(1, C, h, w)`."""
        parts = [self.loss.statistics(features, mask[None]) for mask in self.masks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`: each region's statistics over the tile, by the share of the region that lies there."""
        own = tile.crop(self.masks)
        shares = own.sum((1, 2, 3), dtype=torch.float64) / self._areas
        return {
            name: value * shares.to(value.dtype).view(-1, *[1] * (value.dim() - 1))
            for name, value in replace(self, masks=own).statistics(features).items()
        }

    @cached_property
    def _areas(self) -> Tensor:
        return self.masks.sum((1, 2, 3), dtype=torch.float64).clamp_min(1e-12)

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Weighted mean over layers, summed over regions by their share."""
        shares, ready = self.masks.mean(dim=(1, 2, 3)) / self.counted, self.loss.prepare(target)
        return lambda stats: (self.loss.errors(stats, ready) * shares).sum()

    def toward(self, own: Stats, target: Stats, strengths: Tensor) -> Stats:
        """As the loss does it, each region at its own strength."""
        return self.loss.toward(own, target, strengths)


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
    margin: int = 1

    def statistics(self, features: Features) -> Stats:
        """`(B,)`: the mean over pixels and channels of both absolute differences."""
        sides = features["image"].shape[2], features["image"].shape[3]
        tile = Tile((0, sides[0]), (0, sides[1]), sides, self.wrap)
        return self.partial({"image": tile.crop(features["image"], self.margin)}, tile)

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        above, _, before, _ = tile.margins(self.margin)
        image = precise(features["image"])[:, :, above:, before:]
        height, width = tile.rows[1] - tile.rows[0], tile.columns[1] - tile.columns[0]
        under, beside = image[:, :, 1 : height + 1, :width], image[:, :, :height, 1 : width + 1]
        down = (under - image[:, :, : under.shape[2], :width]).abs()  # the picture's last row has nothing under it
        right = (beside - image[:, :, :height, : beside.shape[3]]).abs()
        if self.weight is not None:
            weight = tile.crop(self.weight)
            down, right = down * weight[:, :, : down.shape[2]], right * weight[..., : right.shape[3]]
        rows, columns = tile.picture
        last = 0 if self.wrap else 1
        downs, rights = (rows - last) * columns, rows * (columns - last)
        total = down.flatten(1).sum(1) / downs + right.flatten(1).sum(1) / rights
        return {"image": total / image.shape[1]}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it has no target
        """The variation itself, summed over the batch."""
        return lambda stats: stats["image"].sum()


@dataclass(frozen=True)
class DirectionLoss:
    """How much the picture changes along given directions: brush strokes come to lie in them.

    Relative to all change of the content: 0 where the picture is even along every direction, 0.5 where it is as lively
    as the content and changes as much along as across. Change across costs nothing and earns nothing.

    Attributes:
        directions: `(1, 2, H, W)`, vectors (x, y), either way; their length is how much the place counts.

    Not of a paper: the quotient of two entries of the picture's structure tensor, in axes along and across.
    """

    directions: Tensor
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = True
    margin: int = 1

    def statistics(self, features: Features) -> Stats:
        """`(B,)` each: the mean squared change along the directions, and in all."""
        sides = features["image"].shape[2], features["image"].shape[3]
        tile = Tile((0, sides[0]), (0, sides[1]), sides, False)
        return self.partial({"image": tile.crop(features["image"], self.margin)}, tile)

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        above, below, before, after = tile.margins(self.margin)
        edge = (1 - before, 1 - after, 1 - above, 1 - below)
        image = F.pad(precise(features["image"]), edge, mode="replicate")
        right = (image[:, :, 1:-1, 2:] - image[:, :, 1:-1, :-2]) / 2
        down = (image[:, :, 2:, 1:-1] - image[:, :, :-2, 1:-1]) / 2
        x, y = tile.crop(self.directions).to(right).unbind(1)
        along = (x[:, None] * right + y[:, None] * down).square()
        everything = (x.square() + y.square())[:, None] * (right.square() + down.square())
        rows, columns = tile.picture
        size = rows * columns * image.shape[1]
        return {"along": along.flatten(1).sum(1) / size, "all": everything.flatten(1).sum(1) / size}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """The change along the directions by all change of the target, summed over the batch."""
        scale = target["all"].clamp_min(1e-6)
        return lambda stats: (stats["along"] / scale).sum()


@dataclass(frozen=True)
class TemporalLoss:
    """Squared difference from a warped earlier painting, which keeps a film from flickering.

    Attributes:
        image: `(1, 3, H, W)`, the earlier painting.
        reliability: `(1, 1, H, W)` in [0, 1], how far it may be trusted, by pixel.

    Paper: arXiv:1604.08610, eq. 7 (Ruder et al. 2016).
    """

    image: Tensor
    reliability: Tensor
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = True
    margin: int = 0

    def statistics(self, features: Features) -> Stats:
        """`(B,)`: the mean over pixels and channels, those without trust counted as zero."""
        sides = features["image"].shape[2], features["image"].shape[3]
        return self.partial(features, Tile((0, sides[0]), (0, sides[1]), sides, False))

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        gap = (precise(features["image"]) - tile.crop(self.image)).square() * tile.crop(self.reliability)
        rows, columns = tile.picture
        return {"image": gap.flatten(1).sum(1) / (rows * columns * gap.shape[1])}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it holds its own
        """The mean itself, summed over the batch."""
        return lambda stats: stats["image"].sum()


@dataclass(frozen=True)
class SelfSimilarityLoss:
    """Error of how alike the places of a picture are to one another: keeps its layout, and lets it be recoloured.

    Attributes:
        samples: positions that are compared with one another, at most.
        seed: of their choice.

    Paper: arXiv:1904.12785 (Kolkin, Salavon and Shakhnarovich 2019), eq. 8. Departs from it in squaring the
    differences of the normalised distances, not taking their absolute value, and in dividing by those of a map whose
    places are all equally unlike, so that 1.0 means "no layout at all".
    """

    layers: frozenset[str]
    samples: int = 1024
    seed: int = 0
    additive: ClassVar[bool] = False

    def statistics(self, features: Features) -> Stats:
        """`(B, N, N)` a layer: cosine distances of the sampled positions; columns sum to 1."""
        return {layer: self._distances(features[layer]) for layer in self.layers}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Mean over layers, summed over the batch."""
        scales = {name: (wanted - 1 / wanted.shape[1]).square().sum((1, 2)) for name, wanted in target.items()}

        def loss(stats: Stats) -> Tensor:
            errors = [
                (stats[name] - target[name]).square().sum((1, 2)) / scales[name].clamp_min(1e-12)
                for name in sorted(self.layers)
            ]
            return torch.stack(errors).sum() / len(errors)

        return loss

    def _distances(self, features: Tensor) -> Tensor:
        positions = features.shape[2] * features.shape[3]
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(positions, generator=generator)[: self.samples].to(features.device)
        vectors = F.normalize(precise(features.flatten(2)[:, :, chosen]), dim=1)  # (B, C, N)
        distances = (1 - vectors.mT @ vectors).clamp_min(0)
        return distances / distances.sum(1, keepdim=True).clamp_min(1e-12)


@dataclass(frozen=True)
class LaplacianLoss:
    """Relative error of the picture's Laplacian at several pooled sizes: keeps outlines and small shapes.

    Attributes:
        pools: sides in pixels of the cells that the picture is averaged over.
        wrap: whether the picture goes on at its opposite edge.

    Paper: arXiv:1707.01253 (Li, Xu, Nie and Chua 2017), eq. 5, made relative. A floor keeps a photograph without any
    outline from dividing by nothing: changes of a hundredth of the range then count as a whole.
    """

    pools: tuple[int, ...] = (4, 16)
    wrap: bool = False
    layers: frozenset[str] = frozenset({"image"})
    additive: ClassVar[bool] = True

    def statistics(self, features: Features) -> Stats:
        """`image/POOL`, each `(B, 3, H / pool, W / pool)`; a picture too small for a pool has it at 1 pixel."""
        image = precise(features["image"])
        sides = image.shape[2], image.shape[3]
        mode = "circular" if self.wrap else "replicate"
        pooled = {name: F.avg_pool2d(image, pool) for name, pool in self.fitting(sides).items()}
        return {name: _laplacian(F.pad(cells, (1, 1, 1, 1), mode=mode)) for name, cells in pooled.items()}

    def fitting(self, sides: tuple[int, int]) -> Mapping[str, int]:
        """The pools by the names of their statistics, with 1 for those too large for a picture of that size."""
        return {f"image/{pool}": pool if min(sides) >= 3 * pool else 1 for pool in self.pools}

    def placed(self, target: Stats) -> PlacedLaplacianLoss:
        """The same for tiles; see `MappedObjective`."""
        return PlacedLaplacianLoss(self, target)

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:
        """Mean over pools, summed over the batch."""

        def loss(stats: Stats) -> Tensor:
            errors = [
                (stats[name] - wanted).flatten(1).square().sum(1) / _outline_scale(wanted)
                for name, wanted in target.items()
            ]
            return torch.stack(errors).sum() / len(errors)

        return loss


@dataclass(frozen=True)
class PlacedLaplacianLoss:
    """`LaplacianLoss` as a sum over tiles.

    Attributes:
        loss: which it is.
        target: the photograph's statistics.
    """

    loss: LaplacianLoss
    target: Stats
    layers: frozenset[str] = frozenset({"image"})
    additive: bool = True

    @property
    def margin(self) -> int:
        """One cell of every pool."""
        return math.lcm(*self.loss.pools)

    def statistics(self, features: Features) -> Stats:
        """`(B,)` a pool: the relative error."""
        sides = features["image"].shape[2], features["image"].shape[3]
        tile = Tile((0, sides[0]), (0, sides[1]), sides, self.loss.wrap)
        return self.partial({"image": tile.crop(features["image"], self.margin)}, tile)

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        image, margins = precise(features["image"]), tile.margins(self.margin)
        found: dict[str, Tensor] = {}
        for name, pool in self.loss.fitting(tile.picture).items():
            above, below, left, right = (max(0, margin // pool - 1) for margin in margins)
            cells = F.avg_pool2d(image, pool)
            cells = cells[:, :, above : cells.shape[2] - below, left : cells.shape[3] - right]
            edge = [int(margin == 0) for margin in margins]
            own = _laplacian(F.pad(cells, (edge[2], edge[3], edge[0], edge[1]), mode="replicate"))
            rows, columns = tile.cells(pool)
            error = (own - self.target[name][:, :, rows, columns]).flatten(1).square().sum(1)
            found[name] = error / _outline_scale(self.target[name])
        return found

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it holds its target
        """Mean over pools, summed over the batch."""
        return lambda stats: torch.stack([error.sum() for error in stats.values()]).mean()


def _outline_scale(wanted: Tensor) -> Tensor:
    """The scale that an error of the Laplacian is divided by."""
    return wanted.flatten(1).square().sum(1) + 1e-4 * wanted[0].numel()


def _laplacian(framed: Tensor) -> Tensor:
    """Of the inside of maps with a frame of one position."""
    inner = framed[:, :, 1:-1, 1:-1]
    around = framed[:, :, :-2, 1:-1] + framed[:, :, 2:, 1:-1] + framed[:, :, 1:-1, :-2] + framed[:, :, 1:-1, 2:]
    return around - 4 * inner


def _shrunk(weight: Tensor | None, features: Tensor) -> Tensor | None:
    """A map over the image, averaged down to a layer's positions."""
    return None if weight is None else F.adaptive_avg_pool2d(weight, (features.shape[2], features.shape[3]))


def _mean_relative_error(stats: Stats, target: Stats, weights: Mapping[str, float]) -> Tensor:
    errors = [weight * relative_error(stats[layer], target[layer]) for layer, weight in weights.items()]
    return torch.stack(errors).sum() / sum(weights.values())
