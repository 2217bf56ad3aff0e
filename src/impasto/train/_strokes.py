"""Losses of what a Gram matrix at one size does not see: a painting's single strokes, and a grid in flat places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Features

LAYERS = ("relu3_1", "relu4_1")
"""The layers whose places see a stroke: more than specks, and less than a motif."""

_PLACES = 2048  # of a style that are kept
_ALL_PLACES = 1 << 18  # of all styles; 0.8 GB in float32
_PERIOD = 8  # pixels after which what three doublings draw repeats itself
_REPEATS = 4  # along the side of a patch
_FLAT = 4  # one patch of so many, the flattest ones, shows a grid; strokes hide it elsewhere
_LEAST = 1e-6  # energy of detail, below which a patch has none


class Strokes:
    """Places of paintings, to which those of pastiches are compared.

    Args:
        styles: how many there will be.
        seed: of the places that are kept.
    """

    def __init__(self, styles: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._places = min(_PLACES, _ALL_PLACES // styles)
        self._known: list[dict[str, Tensor]] = []

    def add(self, paintings: Sequence[tuple[Features, float]]) -> None:
        """Keep some places of the next style's paintings: features `(1, C, H, W)` at `LAYERS`, and their shares."""
        self._known.append(
            {layer: torch.cat([self._kept(own[layer], share) for own, share in paintings], dim=1) for layer in LAYERS}
        )

    def distance(self, features: Features, styles: Tensor) -> Tensor:
        """`(B,)` float32: mean over places of 1 - the largest cosine to any place of the style's painting.

        features: of pastiches, `(B, C, h, w)` at `LAYERS`; styles: `(B,)`.
        Source: arXiv:2203.13215, eq. 1 (Kolkin et al. 2022), as `impasto measure` computes stroke_distance.
        """
        return torch.stack([_nearest(features, at, self._known[style]) for at, style in enumerate(styles.tolist())])

    def _kept(self, features: Tensor, share: float) -> Tensor:
        """`(C, N)`: some places, each of length 1."""
        places = features[0].flatten(1)
        order = torch.randperm(places.shape[1], generator=self._generator)[: max(1, round(share * self._places))]
        return F.normalize(places[:, order.to(places.device)], dim=0)


def _nearest(features: Features, at: int, known: Mapping[str, Tensor]) -> Tensor:
    distances = []
    for layer in LAYERS:
        ours = F.normalize(features[layer][at].flatten(1), dim=0)
        distances.append(1 - (ours.mT @ known[layer]).amax(1).float().mean())
    return torch.stack(distances).mean()


def grid_share(pictures: Tensor) -> Tensor:
    """The share of the fine detail in flat places that repeats itself every 8 pixels.

    Args:
        pictures: `(B, C, H, W)`, 32 px a side at least.

    Returns:
        `(B,)` float32, around 0 without a grid and 1 where there is nothing else. It is what `weave` measures, in a
        form with a gradient: not the peaks of a spectrum, but the mean over places that lie a period apart.
    """
    side = _PERIOD * _REPEATS
    exact = pictures.float()
    detail = exact - F.avg_pool2d(F.pad(exact, (_REPEATS,) * 4, mode="reflect"), 2 * _REPEATS + 1, 1)
    patches = detail.unfold(2, side, side // 2).unfold(3, side, side // 2).flatten(2, 3)  # (B, C, P, side, side)
    repeated = patches.reshape(*patches.shape[:3], _REPEATS, _PERIOD, _REPEATS, _PERIOD).mean((3, 5))
    grid, whole = (one.square().mean((1, 3, 4)) for one in (repeated, patches))  # (B, P)
    flat = whole.topk(-(-whole.shape[1] // _FLAT), largest=False).indices
    share = grid.gather(1, flat).sum(1) / whole.gather(1, flat).sum(1).clamp_min(_LEAST)
    chance = 1 / _REPEATS**2  # of what does not repeat itself so much is left of the mean's square
    return (share - chance) / (1 - chance)
