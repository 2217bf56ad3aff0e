"""How near a picture's features are to a painting's (style) and to a photograph's (content)."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.contract import STYLE_LAYERS, Features
from impasto.losses.losses import relative_error
from impasto.ops.stats import gram_matrix, mean_std

CONTENT_LAYER = "relu4_1"
"""Layer of VGG-19 at which `content_error` is taken."""
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
