"""The stability that a network can be taught from photographs alone: when the picture moves a little, so must its
pastiche, and nothing else may change.

Paper: Eilertsen, Mantiuk and Unger 2019, arXiv:1902.10424, transform invariance. Departs from it in moving by whole
pixels where it does not zoom, so that nothing is gained by blur; in adding sensor noise; and in the scale of the loss,
which is relative like the others. Ruder, Dosovitskiy and Brox 2018 (arXiv:1708.04538) train on single pictures with
such made-up motions, too, for a network that also sees the frame before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 12  # pixels at most: not a multiple of the network's stride, mostly
_ZOOM = 0.04
_ZOOMED = 0.5  # of the pictures are zoomed
_NOISE = 0.03  # deviation at most
_MARGIN = 8  # pixels inside the border of what was in sight: there padding is seen
_LEAST_CONTRAST = 1e-3


class Motion:
    """Small motions, one a picture, that numbers settle.

    Args:
        numbers: of the pictures, each of which settles its own motion.
        seed: of all of them.
        side: of the pictures in pixels.
    """

    def __init__(self, numbers: Sequence[int], seed: int, side: int) -> None:
        self._random = [np.random.default_rng([seed, 8, number]) for number in numbers]
        maps = [_affine(random, side) for random in self._random]
        self._grid = F.affine_grid(torch.tensor(np.stack(maps)), [len(maps), 3, side, side], align_corners=False)

    def move(self, pictures: Tensor) -> Tensor:
        """Pictures `(B, C, H, W)` as they look after it, float32. What comes into sight is the mirror image."""
        grid = self._grid.to(pictures.device)
        return F.grid_sample(pictures.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)

    def film(self, photographs: Tensor) -> Tensor:
        """The next frame `(B, 3, H, W)` of photographs in [0, 1]: moved, and with noise."""
        shape = photographs.shape[1:]
        noise = [random.uniform(0, _NOISE) * random.standard_normal(shape, np.float32) for random in self._random]
        grain = torch.from_numpy(np.stack(noise).astype(np.float32)).to(photographs.device)
        return (self.move(photographs) + grain).clamp(0, 1)

    def error(self, before: Tensor, after: Tensor) -> Tensor:
        """`(B,)`: how far the pastiches `after` are from those `before` it, moved; relative to their contrast."""
        inside = 1 - 2 * _MARGIN / before.shape[3]
        seen = (self._grid.abs() <= inside).all(3)[:, None].to(before.device, torch.float32)
        gap = ((after.float() - self.move(before)).square() * seen).sum((1, 2, 3)) / (3 * seen.sum((1, 2, 3)))
        contrast = before.detach().float().var((2, 3)).mean(1).clamp_min(_LEAST_CONTRAST)
        return gap / contrast


def _affine(random: np.random.Generator, side: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Where a moved picture is looked up in the one before, in grid_sample's coordinates, `(2, 3)`."""
    shift = random.integers(-_SHIFT, _SHIFT + 1, 2) * 2 / side
    zoom = 1 + (random.uniform(-_ZOOM, _ZOOM) if random.random() < _ZOOMED else 0.0)
    return np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]], np.float32)
