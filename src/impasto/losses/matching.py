"""Style losses that match whole distributions of feature vectors, where Gram matrices compare products only.

From the loosest to the tightest: mean and deviation of each channel (`MomentsLoss`), all means and covariances
(`WassersteinLoss`), the distribution along many directions (`SlicedLoss`), and single places of the style image
(`PatchLoss`; `StrokeLoss` beside another loss). docs/losses.md says which suits which picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Features, Stats
from impasto.losses.losses import StyleLoss, relative_error
from impasto.ops.stats import gram_matrix, precise
from impasto.ops.tiling import Tile

_EPSILON = 1e-5


@dataclass(frozen=True)
class MomentsLoss(StyleLoss):
    """Relative distance of each channel's mean and deviation: colours and grain, and little of the stroke.

    Statistics: `(B, 2, C)` a layer, the means of values and of their squares, which add up over tiles.
    Paper: arXiv:1703.06868, eq. 13, squared and made relative.
    """

    def summary(self, features: Tensor, weight: Tensor | None) -> Tensor:
        """See `StyleLoss`."""
        flat = precise(features.flatten(2))  # (B, C, hw)
        if weight is None:
            return torch.stack((flat.mean(2), flat.square().mean(2)), 1)
        share = _share(weight).to(flat)
        return torch.stack(((flat * share).sum(2), (flat.square() * share).sum(2)), 1)

    def distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """See `StyleLoss`."""
        return relative_error(_mean_and_deviation(ours), _mean_and_deviation(theirs))


def _mean_and_deviation(moments: Tensor) -> Tensor:
    mean, square = moments.unbind(1)
    return torch.stack((mean, ((square - mean.square()).clamp_min(0) + _EPSILON).sqrt()), 1)


@dataclass(frozen=True)
class WassersteinLoss(StyleLoss):
    """Wasserstein-2 distance of the Gaussians that have the features' means and covariances.

    `|m - m'|^2 + tr(S + S' - 2 (S'^(1/2) S S'^(1/2))^(1/2))`, divided by the distance of an empty map,
    `|m'|^2 + tr S'`. Unlike Gram matrices it tells a mean from a deviation, and a weak channel counts as it should.

    Statistics: `(B, C, C + 1)` a layer: the Gram matrix, and the mean as its last column: both means over
    positions. Decomposed in float64. Both covariances get a little of the unit matrix, which keeps the gradient of the
    root finite and leaves the distance of equal statistics at 0.

    Paper: Olkin and Pukelsheim 1982 (the closed form); arXiv:1905.12828 uses it for styles.
    """

    def summary(self, features: Tensor, weight: Tensor | None) -> Tensor:
        """See `StyleLoss`."""
        flat = precise(features.flatten(2))
        mean = flat.mean(2) if weight is None else (flat * _share(weight).to(flat)).sum(2)
        return torch.cat((gram_matrix(features, weight), mean[..., None]), 2)

    def prepare(self, target: Stats) -> Stats:
        """Adds the root of each covariance as `LAYER/root (B, C, C)`, float64."""
        roots = {}
        for name in self.weights:
            _, covariance = _mean_and_covariance(target[name], _softening(target[name]))
            values, vectors = torch.linalg.eigh(covariance)
            roots[f"{name}/root"] = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
        return {**target, **roots}

    def errors(self, stats: Stats, target: Stats) -> Tensor:
        """See `StyleLoss`."""
        errors = [
            weight * self._squared_distance(stats[name], target[name], target[f"{name}/root"])
            for name, weight in self.weights.items()
        ]
        return torch.stack(errors).sum(0) / sum(self.weights.values())

    @staticmethod
    def _squared_distance(ours: Tensor, theirs: Tensor, root: Tensor) -> Tensor:
        softening = _softening(theirs)
        mean, covariance = _mean_and_covariance(ours, softening)
        wanted_mean, wanted_covariance = _mean_and_covariance(theirs, softening)
        product = root @ covariance @ root
        # only eigenvalues: their gradient divides by no difference of two of them
        least = (softening[:, None] * 1e-2).square()
        overlap = torch.linalg.eigvalsh((product + product.mT) / 2).clamp_min(least).sqrt().sum(1)
        spread = _trace(covariance) + _trace(wanted_covariance) - 2 * overlap
        distance = (mean - wanted_mean).square().sum(1) + spread
        empty = wanted_mean.square().sum(1) + _trace(wanted_covariance)
        relative: Tensor = distance / empty.clamp_min(1e-12)
        return relative.to(ours)


def _softening(packed: Tensor) -> Tensor:
    """How much of the unit matrix both covariances get, `(B,)`, by the target's mean variance."""
    mean, gram = _double(packed[..., -1]), _double(packed[..., :-1])
    return 1e-4 * (_trace(gram) - mean.square().sum(1)).clamp_min(1e-6) / mean.shape[1]


def _mean_and_covariance(packed: Tensor, softening: Tensor) -> tuple[Tensor, Tensor]:
    packed = _double(packed)
    mean, gram = packed[..., -1], packed[..., :-1]
    unit = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
    return mean, gram - mean[:, :, None] * mean[:, None] + softening[:, None, None] * unit


def _double(tensor: Tensor) -> Tensor:
    """In float64; on a device without it, on the processor."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _trace(matrices: Tensor) -> Tensor:
    diagonals: Tensor = matrices.diagonal(dim1=1, dim2=2)
    return diagonals.sum(1)


@dataclass(frozen=True)
class SlicedLoss(StyleLoss):
    """Sliced Wasserstein-2 distance: the features' distributions along many directions, each matched whole.

    Statistics: `(B, K, Q)` a layer: along each of K directions, the means of the sorted projections in Q bins of equal
    mass. Pictures of different sizes so have statistics of one size, and every position still has a gradient.

    Attributes:
        directions: K at most; there are no more than channels, and they are orthogonal.
        bins: Q.
        seed: of the directions. They stay the same during a descent, so that a line search sees one function.

    Paper: arXiv:2006.07229 (Heitz et al. 2021), eq. 3, divided by the style's own mean square.
    """

    directions: int = 64
    bins: int = 256
    seed: int = 0
    additive: ClassVar[bool] = False

    def summary(self, features: Tensor, weight: Tensor | None) -> Tensor:
        """See `StyleLoss`."""
        flat = precise(features.flatten(2))
        projected = self._directions(flat.shape[1]).to(flat) @ flat  # (B, K, hw)
        ordered, order = projected.sort(2)
        if weight is None:
            return F.adaptive_avg_pool1d(ordered, self.bins)
        share = _share(weight).to(torch.float64 if flat.device.type != "mps" else flat.dtype)
        return self._weighted_bins(ordered, share.expand_as(ordered).gather(2, order)).to(flat.dtype)

    def _directions(self, channels: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        basis: Tensor = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))[0]
        return basis[: self.directions]

    def _weighted_bins(self, ordered: Tensor, share: Tensor) -> Tensor:
        """Means in bins of equal mass of sorted values `(B, K, N)` by their shares, which sum to 1."""
        ordered = ordered.to(share.dtype)
        ends = share.cumsum(2)
        ends = ends / ends[..., -1:]
        integral = F.pad((ordered * share).cumsum(2), (1, 0))
        limits = torch.linspace(0, 1, self.bins + 1, dtype=share.dtype, device=share.device)
        limits = limits.expand(*ordered.shape[:2], -1).contiguous()
        index = torch.searchsorted(ends, limits).clamp_max(ordered.shape[2] - 1)
        starts = F.pad(ends, (1, 0)).gather(2, index)
        upto = integral.gather(2, index) + (limits - starts) * ordered.gather(2, index)
        return upto.diff(dim=2) * self.bins


@dataclass(frozen=True)
class PatchLoss(MomentsLoss):
    """Cosine distance of each place to the nearest place of the style: whole strokes and shapes come over.

    Statistics: `(B, 2, C)` a layer as `MomentsLoss`, which holds colour and contrast; and `LAYER/places (B, N, C)` for
    the matched layers: all feature vectors of a picture, or of a style `pool` many of them.

    Attributes:
        matched: layers whose places are matched. Where a position sees only a few pixels there is nothing to match.
        places: how many places of the style are kept.
        chunk: places of the picture that are compared at once; bounds the memory.
        seed: of the choice of the style's places.

    Paper: arXiv:2203.13215 (Kolkin et al. 2022), eq. 1: vectors are centred by the style's mean. Departs from it in
    matching single positions of each layer, not joined ones of all, and anew at each step (as arXiv:1601.04589 does,
    whose patches of 3x3 positions cost nine times as much).
    """

    matched: frozenset[str] = frozenset()
    places: int = 4096
    chunk: int = 2048
    seed: int = 0
    additive: ClassVar[bool] = False

    def statistics(self, features: Features, weight: Tensor | None = None) -> Stats:
        """See the class; with a weight also `LAYER/weight (B, N)`, how much each place counts."""
        stats = dict(super().statistics(features, weight))
        for name in self.matched:
            stats[f"{name}/places"] = features[name].flatten(2).mT
            if weight is not None:
                shrunk = F.adaptive_avg_pool2d(weight, (features[name].shape[2], features[name].shape[3]))
                stats[f"{name}/weight"] = shrunk.flatten(1)
        return stats

    def pool(self, parts: Sequence[tuple[float, Stats]]) -> Stats:
        """Means of moments; of the places a draw in which each image has its share."""
        moments = [(share, {name: stats[name] for name in self.weights}) for share, stats in parts]
        names = [f"{name}/places" for name in self.matched]
        vectors = {
            name: [
                (share, _counted(stats[name][0], stats.get(name.replace("/places", "/weight"))))
                for share, stats in parts
            ]
            for name in names
        }
        drawn = {name: sample_positions(found, self.places, seed=self.seed)[None] for name, found in vectors.items()}
        return {**super().pool(moments), **drawn}

    def toward(self, own: Stats, target: Stats, strengths: Tensor) -> Stats:
        """Moments between both; the content's own places go along, to be aimed at in part."""
        moments = super().toward(own, {name: target[name] for name in self.weights}, strengths)
        kept = {f"{name}/own": own[f"{name}/places"] for name in self.matched}
        places = {f"{name}/places": target[f"{name}/places"] for name in self.matched}
        # the same centre as at full strength: the content's places are seen as the style's are
        centres = {f"{name}/centre": target[name][:, 0] for name in self.matched}
        return {**moments, **places, **kept, **centres, "strengths": strengths}

    def errors(self, stats: Stats, target: Stats) -> Tensor:
        """Mean of the moments' distance and of the places'."""
        moments = super().errors(stats, target)
        if not self.matched:
            return moments
        shares = {name: self.weights[name] for name in sorted(self.matched)}
        far = [share * self._dissimilarity(name, stats, target) for name, share in shares.items()]
        return (moments + torch.stack(far).sum(0) / sum(shares.values())) / 2

    def _dissimilarity(self, name: str, stats: Stats, target: Stats) -> Tensor:
        """Mean cosine distance of the places to those that they should be like, `(B,)`."""
        found = []
        for item, vectors in enumerate(stats[f"{name}/places"]):
            centre = target.get(f"{name}/centre", target[name][:, 0])[item]
            weight = stats[f"{name}/weight"][item] if f"{name}/weight" in stats else None
            kept = slice(None) if weight is None else weight > 0
            ours = F.normalize(precise(vectors[kept]) - centre, dim=1)  # (n, C)
            places = F.normalize(precise(target[f"{name}/places"][item]) - centre, dim=1)
            wanted = places[_nearest(ours, places.to(vectors.dtype), self.chunk)]
            if f"{name}/own" in target:
                own = F.normalize(precise(target[f"{name}/own"][item][kept]) - centre, dim=1)
                wanted = F.normalize(torch.lerp(own, wanted, target["strengths"][item].to(own)), dim=1)
            distances = 1 - (ours * wanted).sum(1)
            found.append(distances.mean() if weight is None else (distances * weight[kept]).sum() / weight.sum())
        return torch.stack(found)


def visible_positions(features: Tensor, seen: Tensor | None) -> Tensor:
    """The places `(N, C)` of a map `(1, C, h, w)` that can be seen, by `seen (1, 1, H, W)`; all where it is None."""
    weight = None
    if seen is not None:
        weight = F.adaptive_avg_pool2d(seen.to(features.device), (features.shape[2], features.shape[3])).flatten(1)
    return _counted(features[0].flatten(1).mT, weight)


def _counted(vectors: Tensor, weight: Tensor | None) -> Tensor:
    """The `vectors (N, C)` whose `weight (1, N)` is at least a half, or the heaviest one."""
    return vectors if weight is None else vectors[weight[0] >= min(0.5, float(weight.max()))]


def sample_positions(parts: Sequence[tuple[float, Tensor]], count: int, *, seed: int = 0) -> Tensor:
    """A draw of `count` feature vectors `(count, C)` from several pictures' `(N, C)`, each by its share.

    Where a picture has fewer than its share, some come twice.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn, left = [], count
    for index, (share, vectors) in enumerate(parts):
        own = left if index == len(parts) - 1 else min(left, round(share * count))
        left -= own
        rounds = -(-own // len(vectors)) if own else 0
        order = [torch.randperm(len(vectors), generator=generator) for _ in range(rounds)]
        drawn += [vectors[torch.cat(order)[:own].to(vectors.device)]] if own else []
    return torch.cat(drawn)


@torch.no_grad()
def _nearest(ours: Tensor, table: Tensor, chunk: int) -> Tensor:
    """For each of `ours (n, C)` the index of the most alike of `table (N, C)`, unit vectors, found in its type."""
    return torch.cat([(part.to(table.dtype) @ table.mT).argmax(1) for part in torch.split(ours, chunk)])


@dataclass(frozen=True)
class StrokeLoss:
    """Mean cosine distance of each place to the nearest place of the style, beside a loss of the whole distribution.

    Gram matrices are content with the right products on average, and some places stay a photograph's. Here each place
    must look like one that the painter made. A sum over places with the target at hand, so tiles add up exactly.

    Attributes:
        target: `(N, C)` a layer, places of the style; see `sample_positions`.
        weight: `(1, 1, H, W)` over the image, how much each pixel counts; evenly by default.
        chunk: places that are compared at once; bounds the memory.

    Paper: arXiv:2203.13215 (Kolkin et al. 2022), eq. 1, layer by layer; see `PatchLoss`.
    """

    target: Stats
    weight: Tensor | None = None
    chunk: int = 2048
    additive: ClassVar[bool] = True
    margin: ClassVar[int] = 0

    @property
    def layers(self) -> frozenset[str]:
        """Layers with a target."""
        return frozenset(self.target)

    def statistics(self, features: Features) -> Stats:
        """`(B,)` a layer: the mean distance over all positions, each times its weight."""
        return {name: self._distances(name, features[name], self.weight) for name in self.target}

    def partial(self, features: Features, tile: Tile) -> Stats:
        """See `PlacedObjective`."""
        weight = None if self.weight is None else tile.crop(self.weight)
        return {name: tile.share * self._distances(name, features[name], weight) for name in self.target}

    def bind(self, target: Stats) -> Callable[[Stats], Tensor]:  # noqa: ARG002 - it holds its target
        """Mean over layers, summed over the batch."""
        return lambda stats: torch.stack([stats[name].sum() for name in sorted(self.target)]).mean()

    def _distances(self, name: str, features: Tensor, weight: Tensor | None) -> Tensor:
        unit, table, centre = self._tables[name]
        if weight is not None:
            weight = F.adaptive_avg_pool2d(weight, (features.shape[2], features.shape[3])).flatten()
        found: Tensor = _NearestDistance.apply(features, unit, table.to(features.dtype), centre, weight, self.chunk)  # type: ignore[no-untyped-call]
        return found

    @cached_property
    def _tables(self) -> Mapping[str, tuple[Tensor, Tensor, Tensor]]:
        """For each layer the places as unit vectors around their mean, precise and as they are searched; the mean."""
        found = {}
        for name, places in self.target.items():
            centre = precise(places).mean(0)
            unit = F.normalize(precise(places) - centre, dim=1)
            found[name] = (unit, unit.to(places.dtype), centre)
        return found


class _NearestDistance(torch.autograd.Function):
    """Mean distance to the nearest place. Works out the gradient on the way: autograd would keep eight maps for it."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, unit: Tensor, table: Tensor, centre: Tensor, weight: Tensor | None, chunk: int
    ) -> Tensor:
        rows = features.permute(0, 2, 3, 1)  # (B, h, w, C), a view when the channels come last
        gradient = torch.empty_like(rows, memory_format=torch.contiguous_format)
        places = rows.shape[1] * rows.shape[2]
        means = []
        for item, out in zip(rows.flatten(1, 2), gradient.view(len(rows), places, -1), strict=True):
            total = torch.zeros((), dtype=unit.dtype, device=features.device)
            for start in range(0, places, chunk):
                here = slice(start, start + chunk)
                away = precise(item[here]) - centre
                size = away.norm(dim=1, keepdim=True).clamp_min(_EPSILON)
                ours = away / size
                wanted = unit[_nearest(ours, table, chunk)]
                alike = (ours * wanted).sum(1, keepdim=True)
                share = 1 / places if weight is None else weight[here, None] / places
                total += ((1 - alike) * share).sum()
                out[here] = (alike * ours - wanted) / size * share
            means.append(total)
        ctx.save_for_backward(gradient.permute(0, 3, 1, 2))
        return torch.stack(means)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].to(gradient.dtype).view(-1, 1, 1, 1), None, None, None, None, None


def _share(weight: Tensor) -> Tensor:
    """A map `(1, 1, h, w)` as shares `(1, 1, hw)` that sum to 1."""
    flat = precise(weight.flatten(2))
    return flat / flat.sum(2, keepdim=True).clamp_min(_EPSILON)
