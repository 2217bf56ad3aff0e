"""Groups of paintings: k-means, with a number of groups that comes out the same on other samples of the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import require

MOST = 12
"""Groups at most, unless a number is asked for."""

_LEAST_MEMBERS = 4  # a group, on average
_SAMPLES, _SHARE = 24, 0.8  # pairs of samples, and how much of the collection each holds
_STARTS, _SAMPLE_STARTS = 10, 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """Groups of paintings.

    Attributes:
        labels: `(N,)`, the group of each, from 0; the largest group is 0.
        distances: `(N,)`, of each to the centre of its group.
        stability: by number of groups, how alike groups are that were found on different samples: the mean adjusted
            Rand index of what both hold, 1 for the same groups and 0 for chance.
    """

    labels: NDArray[np.int64]
    distances: Floats
    stability: Mapping[int, float]

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.labels.max()) + 1

    def members(self, group: int) -> list[int]:
        """The paintings of a group, the most central first."""
        inside = np.flatnonzero(self.labels == group)
        return [int(index) for index in inside[np.argsort(self.distances[inside], kind="stable")]]


def group(points: Floats, *, count: int | None = None, seed: int = 0) -> Grouping:
    """Groups of points `(N, D)`.

    Args:
        points: where paintings lie.
        count: how many groups; without it `stablest`.
        seed: of starts and samples.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    stability: dict[int, float] = {}
    if count is None:
        most = max(2, min(MOST, len(points) // _LEAST_MEMBERS))
        stability = {one: _stability(points, one, seed) for one in range(2, most + 1)}
        count = stablest(stability)
    fitted = _fit(points, count, seed, _STARTS)
    sizes = np.bincount(fitted.labels_, minlength=count)
    places = np.empty(count, np.int64)
    places[np.argsort(-sizes, kind="stable")] = np.arange(count)
    distances = np.linalg.norm(points - fitted.cluster_centers_[fitted.labels_], axis=1)
    return Grouping(places[fitted.labels_], distances, stability)


def stablest(stability: Mapping[int, float]) -> int:
    """The number of groups that is stabler than one fewer and one more, the stablest such; without one the stablest.

    The stablest of all is mostly two, which only says that a collection has a light and a dark half.
    """
    peaks = [
        one
        for one, value in stability.items()
        if value > max(stability.get(one - 1, value), stability.get(one + 1, value))
    ]
    return max(peaks or stability, key=lambda one: stability[one])


def _fit(points: Floats, count: int, seed: int, starts: int) -> Any:
    return require("sklearn.cluster", "discover").KMeans(count, n_init=starts, random_state=seed).fit(points)


def _stability(points: Floats, count: int, seed: int) -> float:
    agreement = require("sklearn.metrics", "discover").adjusted_rand_score
    random, found = np.random.default_rng([seed, count]), []
    for _ in range(_SAMPLES):
        one, other = (np.sort(random.permutation(len(points))[: round(_SHARE * len(points))]) for _ in range(2))
        both = np.intersect1d(one, other)
        labels = [_fit(points[part], count, seed, _SAMPLE_STARTS).predict(points[both]) for part in (one, other)]
        found.append(agreement(*labels))
    return float(np.mean(found))


def agreement(
    labels: NDArray[np.int64], known: NDArray[np.int64], *, permutations: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Adjusted mutual information of groups and what is known, and the chance of as much by accident.

    0 is chance and 1 is the same grouping. The chance is that of a permutation test: the share of shuffled labels
    that agree as well, the real ones counted in.
    """
    measure = require("sklearn.metrics", "discover").adjusted_mutual_info_score
    real, random = float(measure(known, labels)), np.random.default_rng(seed)
    shuffled = [measure(known, random.permutation(labels)) for _ in range(permutations)]
    return real, float((1 + sum(value >= real for value in shuffled)) / (1 + permutations))
