"""Squares of paintings, each settled by its number, as styles in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.train._teacher import Floats


class Squares:
    """Cuts a square out of a painting.

    Args:
        paintings: `(H, W, 3)` in [0, 1].
        crop: side of the squares in pixels; those of smaller paintings are enlarged.
        seed: of where they lie.
    """

    def __init__(self, paintings: Sequence[Floats], *, crop: int, seed: int) -> None:
        self._paintings = [images.quantise(one, 8) for one in paintings]
        self._crop, self._seed = crop, seed

    @property
    def count(self) -> int:
        """How many paintings there are."""
        return len(self._paintings)

    def __call__(self, styles: Tensor, numbers: Tensor) -> Tensor:
        """`(B, 3, crop, crop)` of paintings `styles (B,)`; `numbers (B,)` settle where."""
        squares = []
        for style, number in zip(styles.tolist(), numbers.tolist(), strict=True):
            random, whole = np.random.default_rng([self._seed, 6, number]), self._paintings[style]
            side = min(self._crop, *whole.shape[:2])
            top, left = (int(random.integers(0, length - side + 1)) for length in whole.shape[:2])
            square = whole[top : top + side, left : left + side].astype(np.float32) / np.float32(255)
            squares.append(images.to_tensor(images.resize(square, self._crop, self._crop)))
        return torch.cat(squares)
