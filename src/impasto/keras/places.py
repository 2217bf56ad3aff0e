"""A draw of places of a painting, the same as PyTorch's with the same seed, so that pictures agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def sample_places(
    parts: Sequence[tuple[float, NDArray[np.float32]]], count: int, *, seed: int = 0
) -> NDArray[np.float32]:
    """`count` feature vectors `(count, C)` from several pictures' `(N, C)`, each by its share.

    As `losses.matching.sample_positions`: where a picture has fewer than its share, some come twice.
    """
    generator = np.random.RandomState(seed)  # the Mersenne Twister that PyTorch has, begun alike
    drawn, left = [], count
    for index, (share, vectors) in enumerate(parts):
        own = left if index == len(parts) - 1 else min(left, round(share * count))
        left -= own
        rounds = -(-own // len(vectors)) if own else 0
        order = [_permutation(generator, len(vectors)) for _ in range(rounds)]
        drawn += [vectors[np.concatenate(order)[:own]]] if own else []
    return np.concatenate(drawn)


def _permutation(generator: np.random.RandomState, count: int) -> NDArray[np.int64]:
    """`torch.randperm`: each place is exchanged with one of those that follow."""
    order = np.arange(count)
    words = generator.randint(0, 2**32, size=max(count - 1, 0), dtype=np.uint64)
    for place, word in enumerate(words):
        other = place + int(word) % (count - place)
        order[place], order[other] = order[other], order[place]
    return order
