"""A canvas that cannot bend a line: the photograph under a smooth, local transform of its colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)
_STRIP = 512  # rows that are rendered at once where no gradient is wanted


class BilateralCanvas:
    """The photograph, each pixel's colour mapped by an affine transform that varies smoothly over place and brightness.

    The transforms stand on a coarse grid of places and brightnesses and are interpolated between. Two pixels side by
    side get nearly the same transform, so edges stay where they are and as sharp as they were, at any size.

    Args:
        photograph: `(1, 3, H, W)` in [0, 1].
        cells: points of the finest grid along the longest side.
        depth: its points from dark to bright.
        falloff: scale of each grid against the next coarser one.
        unit: scale of the parameters, for optimisers whose first step depends on it.

    Paper: arXiv:1707.02880 (Gharbi et al. 2017), eq. 3-4: its grid of affine transforms, here moved by descent and not
    predicted, and sliced by the luma itself.
    """

    def __init__(
        self, photograph: Tensor, *, cells: int = 8, depth: int = 6, falloff: float = 0.5, unit: float = 1.0
    ) -> None:
        height, width = photograph.shape[2:]
        longest = max(height, width)
        finest = [depth, *(max(2, math.ceil(cells * side / longest)) for side in (height, width))]
        sizes = [finest]
        while max(sizes[-1]) > 1:
            sizes.append([-(-size // 2) for size in sizes[-1]])
        self._photograph, self._unit, self._falloff = photograph.detach(), unit, falloff
        self._changes = [
            torch.zeros(1, 12, *size, dtype=photograph.dtype, device=photograph.device, requires_grad=True)
            for size in reversed(sizes)
        ]

    def parameters(self) -> Sequence[Tensor]:
        """Changes to the identity, coarse first, each `(1, 12, depth, rows, columns)`: a 3x4 matrix a point."""
        return self._changes

    def render(self) -> Tensor:
        """The photograph in its new colours, not clipped."""
        return self._apply(self._photograph, self._rows(self._photograph.shape[2], 0, self._photograph.shape[2]))

    def project(self) -> None:
        """Every transform is legal."""

    def copy(self) -> BilateralCanvas:
        """A copy that later steps leave alone."""
        copied = copy(self)
        copied._changes = [change.detach().clone() for change in self._changes]
        return copied

    @torch.no_grad()
    def render_on(self, photograph: Tensor) -> Tensor:
        """The same transforms on the photograph at another size, strip by strip. Returns it clipped to [0, 1]."""
        height = photograph.shape[2]
        strips = []
        for top in range(0, height, _STRIP):
            part = photograph[:, :, top : top + _STRIP]
            strips.append(self._apply(part, self._rows(height, top, part.shape[2])).clamp(0, 1))
        return torch.cat(strips, 2)

    def _grid(self) -> Tensor:
        """All grids as one of the finest size."""
        finest = self._changes[-1].shape[2:]
        grid = self._unit * self._changes[0].expand(-1, -1, *finest)
        for level, change in enumerate(self._changes[1:], start=1):
            larger = F.interpolate(change, size=finest, mode="trilinear", align_corners=True)
            grid = grid + self._unit * self._falloff**level * larger
        return grid

    def _rows(self, height: int, top: int, count: int) -> Tensor:
        """Centres of rows in [-1, 1] of the whole height."""
        positions = torch.arange(top, top + count, device=self._photograph.device) + 0.5
        return 2 * positions / height - 1

    def _apply(self, image: Tensor, rows: Tensor) -> Tensor:
        width = image.shape[3]
        columns = 2 * (torch.arange(width, device=image.device) + 0.5) / width - 1
        luma = (image * torch.tensor(_LUMA, device=image.device).view(1, 3, 1, 1)).sum(1)  # (1, h, w)
        places = torch.stack(
            (columns.expand_as(luma), rows[:, None].expand_as(luma), (2 * luma - 1).clamp(-1, 1)), dim=-1
        )
        sliced = F.grid_sample(
            self._grid(), places[:, None], mode="bilinear", padding_mode="border", align_corners=True
        )[:, :, 0]  # (1, 12, h, w)
        matrix = sliced.view(1, 3, 4, *sliced.shape[2:])
        changed: Tensor = (matrix[:, :, :3] * image[:, None]).sum(2) + matrix[:, :, 3]
        return image + changed
