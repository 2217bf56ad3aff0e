"""How near a picture's features are to a painting's (style) and to a photograph's (content)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import STYLE_LAYERS, Features
from impasto.losses.losses import SelfSimilarityLoss, relative_error
from impasto.ops.stats import gram_matrix, mean_std

CONTENT_LAYER = "relu4_1"
"""Layer of VGG-19 at which `content_error` is taken."""
LAYOUT_LAYERS = ("relu4_1", "relu5_1")
"""Layers of VGG-19 at which `layout` is taken."""
STROKE_LAYERS = ("relu2_1", "relu3_1", "relu4_1")
"""Layers of VGG-19 at which `stroke_distance` is taken."""
STROKES, PAINTED_STROKES = 3000, 9000  # places of the pastiche, and of the painting
_CHUNK = 500  # places of the pastiche at once: 18 MB of cosines
DIRECTIONS = 64
POSITIONS = 16_384
_SEED = 0


def gram_distances(ours: Features, theirs: Features) -> dict[str, float]:
    """`|G(x) - G(s)|^2 / |G(s)|^2` for each of relu1_1 .. relu5_1, with `G = F F^T / (h w)`.

    ours, theirs: feature maps `(1, C, h, w)` of pastiche and style, whose sizes may differ. 0 for equal statistics.
    Paper: arXiv:1508.06576, eq. 4, made relative.
    """
    return {
        layer: relative_error(gram_matrix(ours[layer]), gram_matrix(theirs[layer])).item() for layer in STYLE_LAYERS
    }


def mean_of(distances: Mapping[str, float]) -> float:
    """The mean of distances by layer."""
    return sum(distances.values()) / len(distances)


def moment_distance(ours: Features, theirs: Features) -> float:
    """Relative squared distance of all channels' means and deviations, averaged over relu1_1 .. relu5_1.

    ours, theirs: as for `gram_distances`. Paper: arXiv:1703.06868, eq. 13, squared and made relative.
    """
    distances = []
    for layer in STYLE_LAYERS:
        ours_joined, theirs_joined = (torch.cat(mean_std(features[layer]), 1) for features in (ours, theirs))
        distances.append(relative_error(ours_joined, theirs_joined).item())
    return sum(distances) / len(distances)


def sliced_wasserstein(ours: Features, theirs: Features) -> float:
    """Squared sliced Wasserstein distance of feature vectors, relative, averaged over relu1_1 .. relu5_1.

    ours, theirs: as for `gram_distances`. Paper: arXiv:2006.07229, eq. 3, divided by the mean square of the style's
    projections, so that 1 is as far as an empty map.
    """
    return sum(wasserstein_of(ours[layer], theirs[layer]) for layer in STYLE_LAYERS) / len(STYLE_LAYERS)


def wasserstein_of(ours: Tensor, theirs: Tensor) -> float:
    """The same for one layer, over 64 seeded directions.

    ours, theirs: `(1, C, h, w)`. Each position is a point; at most 16,384 points of each, and as many of the one as of
    the other, are taken by a seeded draw, so that equal maps are at distance 0.
    """
    first, second = ours[0].flatten(1).float(), theirs[0].flatten(1).float()  # (C, hw)
    count = min(first.shape[1], second.shape[1], POSITIONS)
    generator = torch.Generator().manual_seed(_SEED)
    directions = torch.randn(DIRECTIONS, first.shape[0], generator=generator).to(first.device)
    directions = directions / directions.norm(dim=1, keepdim=True)
    ours_sorted = (directions @ _sample(first, count)).sort(1).values  # (K, N)
    theirs_sorted = (directions @ _sample(second, count)).sort(1).values
    scale = theirs_sorted.square().mean().clamp_min(1e-12)
    return float((ours_sorted - theirs_sorted).square().mean() / scale)


def stroke_distance(ours: Features, theirs: Features) -> float:
    """How far each place is from the painting's place that is most like it, mean over relu2_1, relu3_1 and relu4_1.

    ours, theirs: as for `gram_distances`. Returns a number in [0, 1]. Source: the nearest-patch distance of
    arXiv:2203.13215, eq. 1, as a measure.
    """
    return sum(nearest_distance(ours[layer], theirs[layer]) for layer in STROKE_LAYERS) / len(STROKE_LAYERS)


def nearest_distance(ours: Tensor, theirs: Tensor) -> float:
    """The same for one layer: mean over places of 1 - the largest cosine to any place of the painting.

    ours, theirs: `(1, C, h, w)`. At most 3,000 places of ours and 9,000 of theirs are taken, by one seeded draw, so
    that equal maps are at distance 0.
    """
    first, second = ours[0].flatten(1).float(), theirs[0].flatten(1).float()  # (C, hw)
    first, second = (
        F.normalize(_sample(points, min(points.shape[1], most)), dim=0)
        for points, most in ((first, STROKES), (second, PAINTED_STROKES))
    )
    nearest = [(part.T @ second).amax(1) for part in torch.split(first, _CHUNK, dim=1)]
    return float(1 - torch.cat(nearest).double().mean())


def _sample(points: Tensor, count: int) -> Tensor:
    if points.shape[1] == count:
        return points
    generator = torch.Generator().manual_seed(_SEED)
    return points[:, torch.randperm(points.shape[1], generator=generator)[:count].to(points.device)]


def content_error(ours: Features, wanted: Features) -> float:
    """`|F(x) - F(c)|^2 / |F(c)|^2` at relu4_1; maps `(1, C, h, w)` of pastiche and content, of one size.

    Paper: arXiv:1508.06576, eq. 1, made relative.
    """
    return relative_error(ours[CONTENT_LAYER], wanted[CONTENT_LAYER]).item()


def layout(ours: Features, wanted: Features) -> float:
    """How far the places' likeness to one another is from the photograph's, mean over relu4_1 and relu5_1.

    ours, wanted: maps `(1, C, h, w)` of pastiche and content, of one size. It is `SelfSimilarityLoss`: cosine distances
    of 1,024 seeded places to one another, so other colours and textures cost little where they are the same ones
    wherever the photograph's are. 0 for the photograph, 1 as far as no layout at all.
    Paper: arXiv:1904.12785 (Kolkin, Salavon and Shakhnarovich 2019), eq. 8, squared and made relative.
    """
    alike = SelfSimilarityLoss(frozenset(LAYOUT_LAYERS))
    return alike.bind(alike.statistics(wanted))(alike.statistics(ours)).item()
