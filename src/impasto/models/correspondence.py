"""Parts that a photograph and paintings have in common: sky and sky, walls and walls, grass and grass.

The features of all pictures are clustered together, each picture's features normalised first, so that what is told
apart is what a place shows and not that one picture is painted.

Papers: arXiv:1606.07419 (Novak and Nikulin 2016) and arXiv:1601.04589 (Li and Wand 2016) match like with like by
features; clusters of VGG's stand in for the segmentation of arXiv:1703.07511 (Luan et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.models.encoders import Encoder
from impasto.ops import masks
from impasto.ops.stats import mean_std

LAYER = "relu4_1"
"""Sees what a place is part of, and still where it lies."""

SIDE = 320
"""Longest side at which pictures are looked at, in pixels."""

_HEIGHT_WEIGHT = 0.3  # of the height in the picture, against features of length 1: skies lie above
_LIGHT_WEIGHT = 0.25  # of how light a place is beside the others, in deviations: a dark wood is no sky
_LIGHTEST = 2.0  # deviations, so that a lamp at night does not make all else one
_OWN = 2  # columns of height and light
_KNOWN_WEIGHT = 1.5  # of being inside a mask: more than features of different places differ by in the mean
_LEAST_SHARE = 0.04  # of each picture, that a part must cover; less says nothing of its style
_LEAST_LIKENESS = (
    0.05  # of what two pictures show there; of 96 pairs, 95 have 0.18 or more, and pictures of one colour 0
)
_STARTS = 8  # of k-means, of which the tightest is taken
_ROUNDS = 30
_EDGE = 50  # edges of masks are sought within this part of the longest side
_LEAST = 1e-4  # of a mask, so that the masks of all parts can be made to sum to 1


@dataclass(frozen=True)
class Part:
    """A part that all pictures have in common.

    Attributes:
        photograph: soft mask `(1, 1, H, W)`; those of all parts sum to 1.
        paintings: a soft mask `(1, 1, h, w)` of each painting, in their order.
    """

    photograph: Tensor
    paintings: tuple[Tensor, ...]


def find_parts(
    photograph: Tensor,
    paintings: Sequence[Tensor],
    encoder: Encoder,
    *,
    most: int,
    known: Sequence[Sequence[Tensor]] = (),
) -> tuple[Part, ...]:
    """The parts that a photograph and paintings have in common.

    Args:
        photograph: `(1, 3, H, W)` in [0, 1].
        paintings: the same, one or more.
        encoder: has `LAYER`.
        most: parts at most, 2 or more.
        known: what all pictures show, such as their subjects: for each such thing a mask `(1, 1, H, W)` of each
            picture, the photograph's first. Places in one are told apart from all others.

    Returns:
        Two parts or more, the largest of the photograph first; none where no two parts can be told apart that every
        picture has.
    """
    pictures = [photograph, *paintings]
    grids = [
        _described(picture, encoder, own) for picture, own in zip(pictures, _by_picture(known, pictures), strict=True)
    ]
    places = torch.cat([grid.flatten(2)[0].mT for grid in grids])
    sizes = [grid[0, 0].numel() for grid in grids]
    weights = torch.cat([torch.full((size,), 1 / size) for size in sizes])  # each picture counts the same
    labels = _shared(places, weights, sizes, most, known=len(known))
    kept = int(labels.max()) + 1
    if kept < 2:
        return ()
    found = [
        _soft_masks(own.reshape(grid.shape[2:]), kept, picture)
        for own, grid, picture in zip(torch.split(labels, sizes), grids, pictures, strict=True)
    ]
    parts = [Part(found[0][part], tuple(own[part] for own in found[1:])) for part in range(kept)]
    return tuple(sorted(parts, key=lambda part: -float(part.photograph.mean())))


def _by_picture(known: Sequence[Sequence[Tensor]], pictures: Sequence[Tensor]) -> list[list[Tensor]]:
    return [[thing[number] for thing in known] for number in range(len(pictures))]


def _described(picture: Tensor, encoder: Encoder, known: Sequence[Tensor]) -> Tensor:
    """What each place shows, `(1, C + 2 + known, h, w)`: features, height, lightness, and what is known."""
    scale = min(1.0, SIDE / max(picture.shape[2:]))
    least = encoder.architecture.smallest_side([LAYER])
    height, width = (max(least, round(side * scale)) for side in picture.shape[2:])
    small = F.interpolate(picture, (height, width), mode="bilinear", antialias=True)
    with torch.inference_mode():
        features = encoder(small.to(encoder.placement.device), [LAYER])[LAYER].float().cpu()
    features = F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
    mean, std = mean_std(features)
    normal = F.normalize((features - mean) / std, dim=1)
    rows = torch.linspace(-1, 1, features.shape[2])[:, None].expand(features.shape[2:])
    sides = features.shape[2], features.shape[3]
    luma = F.adaptive_avg_pool2d(small.float().cpu().mean(1, keepdim=True), sides)
    light = ((luma - luma.mean()) / luma.std(correction=0).clamp_min(1e-3)).clamp(-_LIGHTEST, _LIGHTEST)
    told = [_KNOWN_WEIGHT * F.adaptive_avg_pool2d(mask.float().cpu(), sides) for mask in known]
    return torch.cat([normal, _HEIGHT_WEIGHT * rows[None, None], _LIGHT_WEIGHT * light, *told], 1)


def _shared(places: Tensor, weights: Tensor, sizes: Sequence[int], most: int, *, known: int) -> Tensor:
    """The part `(N,)` of each place, numbered from 0; parts that a picture lacks are given to the nearest others."""
    runs = [_cluster(places, weights, most, seed) for seed in range(_STARTS)]
    centres, _ = min(runs, key=lambda run: run[1])
    while True:
        labels = torch.cdist(places, centres).argmin(1)
        described = torch.split(places, list(sizes))
        worth = _worth(described, torch.split(labels, list(sizes)), len(centres), known)
        if len(centres) == 1 or worth.min() >= 1:
            return labels
        centres = centres[torch.arange(len(centres)) != worth.argmin()]


def _worth(places: Sequence[Tensor], labels: Sequence[Tensor], count: int, known: int) -> Tensor:
    """How far each part `(count,)` is something that all pictures have; 1 or more will do.

    What is known to be one thing need not look alike: an orange suit and a blue jacket are figures all the same.
    """
    shares, shown, within = [], [], []
    features = places[0].shape[1] - _OWN - known
    for own, part in zip(places, labels, strict=True):
        owned = F.one_hot(part, count).float()
        shares.append(owned.mean(0))
        shown.append(F.normalize(owned.mT @ own[:, :features], dim=1))
        inside = owned.mT @ own[:, features + _OWN :] / owned.sum(0)[:, None].clamp_min(1)
        within.append(inside > _KNOWN_WEIGHT / 2)
    likeness = torch.stack([(shown[0] * other).sum(1) for other in shown[1:]]).amin(0)
    likeness[torch.stack(within).all(0).any(1)] = 1
    return torch.minimum(torch.stack(shares).amin(0) / _LEAST_SHARE, likeness / _LEAST_LIKENESS)


def _cluster(places: Tensor, weights: Tensor, count: int, seed: int) -> tuple[Tensor, float]:
    """Centres `(count, C)` by k-means, begun as k-means++ does, and the mean squared distance to them."""
    generator = torch.Generator().manual_seed(seed)
    centres = places[torch.multinomial(weights, 1, generator=generator)]
    while len(centres) < count:
        far = weights * torch.cdist(places, centres).amin(1).square()
        drawn = torch.multinomial(far if far.sum() > 0 else weights, 1, generator=generator)
        centres = torch.cat([centres, places[drawn]])
    for _ in range(_ROUNDS):
        owned = F.one_hot(torch.cdist(places, centres).argmin(1), count) * weights[:, None]
        total = owned.sum(0)[:, None]
        centres = torch.where(total > 0, owned.mT @ places / total.clamp_min(1e-12), centres)
    spread = weights * torch.cdist(places, centres).amin(1).square()
    return centres, float(spread.sum() / weights.sum())


def _soft_masks(labels: Tensor, count: int, picture: Tensor) -> list[Tensor]:
    """Masks `(1, 1, H, W)` of each part of a picture, their edges where the picture has some; they sum to 1."""
    grid = F.one_hot(labels, count).permute(2, 0, 1)[None].float()
    wide = F.interpolate(grid, picture.shape[2:], mode="bilinear")
    radius = max(2, max(picture.shape[2:]) // _EDGE)
    refined = [masks.refine(mask, picture, radius=radius).clamp_min(_LEAST) for mask in torch.split(wide, 1, dim=1)]
    total = torch.stack(refined).sum(0)
    return [mask / total for mask in refined]
