"""What a descent moves: pixels, a pyramid of corrections to them, or a smooth transform of their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.optim.schedule import FALLOFF, NEAR, STRONG, TINY, correction_levels

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
        scale: scale of the parameters, for optimisers whose first step depends on it.

    Paper: arXiv:1707.02880 (Gharbi et al. 2017), eq. 3-4: its grid of affine transforms, here moved by descent and not
    predicted, and sliced by the luma itself.
    """

    bounded = False

    def __init__(
        self, photograph: Tensor, *, cells: int = 8, depth: int = 6, falloff: float = 0.5, scale: float = 1.0
    ) -> None:
        height, width = photograph.shape[2:]
        longest = max(height, width)
        finest = [depth, *(max(2, math.ceil(cells * side / longest)) for side in (height, width))]
        sizes = [finest]
        while max(sizes[-1]) > 1:
            sizes.append([-(-size // 2) for size in sizes[-1]])
        self._photograph, self._scale, self._falloff = photograph.detach(), scale, falloff
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
        grid = self._scale * self._changes[0].expand(-1, -1, *finest)
        for level, change in enumerate(self._changes[1:], start=1):
            larger = F.interpolate(change, size=finest, mode="trilinear", align_corners=True)
            grid = grid + self._scale * self._falloff**level * larger
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


class Canvas(Protocol):
    """Parameters that render to an image: pixels here, a texture or a point cloud elsewhere.

    Attributes:
        bounded: what it renders lies within [0, 1] after each step, so that nothing need be brought back.
    """

    @property
    def bounded(self) -> bool:
        """See above."""
        ...

    def parameters(self) -> Sequence[Tensor]:
        """The tensors that are optimised."""
        ...

    def render(self) -> Tensor:
        """The image `(B, 3, H, W)`, differentiable in the parameters."""
        ...

    def project(self) -> None:
        """Bring the parameters back to where the image is legal, after a step."""
        ...


class PixelPyramid:
    """An image as the sum of a start and corrections at full, half, quarter ... size, down to a few pixels.

    The same pictures can be written as with plain pixels, but a step moves whole areas at once: at equal steps the loss
    ends lower (bench/NOTES.md).

    Args:
        start: `(B, 3, H, W)` in [0, 1].
        falloff: scale of each correction against the next finer one, since its gradient adds up over more pixels.
        scale: what 1 in a parameter changes in the image. L-BFGS's first step sums to 1, so a scale of x times the
            number of values makes it change a value by x on average.
        preconditioner: `(1, 1, H, W)`, factor of the scale for each place; 1 by default. See
            `gradient_preconditioner`.
        wrap: enlarge corrections as if the image was tiled, so that they leave no seam.
    """

    bounded = False

    def __init__(
        self,
        start: Tensor,
        *,
        falloff: float = FALLOFF,
        scale: float = 1.0,
        preconditioner: Tensor | None = None,
        wrap: bool = False,
    ) -> None:
        self._start = start.detach().clone(memory_format=torch.contiguous_format)
        batch, channels, height, width = start.shape
        sizes = [(height >> level, width >> level) for level in range(correction_levels(height, width, wrap=wrap))]
        self._corrections = [
            torch.zeros(batch, channels, *size, device=start.device, requires_grad=True) for size in sizes
        ]
        self._falloff, self._wrap = falloff, wrap
        self._scale: Tensor | float = scale if preconditioner is None else scale * preconditioner

    def parameters(self) -> Sequence[Tensor]:
        """Finest first."""
        return self._corrections

    def render(self) -> Tensor:
        """The start plus all corrections, each enlarged together with the coarser ones."""
        change = self._corrections[-1]
        for correction in reversed(self._corrections[:-1]):
            change = correction + self._falloff * self._enlarged(change, correction.shape[2], correction.shape[3])
        return self._start + self._scale * change

    def _enlarged(self, correction: Tensor, height: int, width: int) -> Tensor:
        if not self._wrap:
            return F.interpolate(correction, size=(height, width), mode="bilinear", align_corners=False)
        rows, columns = height // correction.shape[2], width // correction.shape[3]
        framed = F.pad(correction, (1, 1, 1, 1), mode="circular")
        wide = F.interpolate(framed, scale_factor=(rows, columns), mode="bilinear", align_corners=False)
        return wide[:, :, rows:-rows, columns:-columns]

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the image to [0, 1], through the finest correction alone.

        A clamp inside `render` would cut the gradient of every pixel that has once left the range.
        """
        image = self.render()
        self._corrections[0] += (image.clamp(0, 1) - image) / self._scale


class Pixels:
    """An image as it is: a fifth of the memory of a pyramid. Always within [0, 1] if it is after each step.

    Args:
        start: `(B, 3, H, W)` in [0, 1]; taken over, not copied.
    """

    bounded = True

    def __init__(self, start: Tensor) -> None:
        self._image = start.detach().requires_grad_()

    def parameters(self) -> Sequence[Tensor]:
        """The image."""
        return [self._image]

    def render(self) -> Tensor:
        """The image."""
        return self._image

    @torch.no_grad()
    def project(self) -> None:
        """Clamp to [0, 1]."""
        self._image.clamp_(0, 1)


class NetworkCanvas:
    """What a network makes of a picture; its weights are moved.

    Args:
        network: takes a picture and a code, and gives one within [0, 1].
        code: its style.
        picture: `(B, 3, H, W)`.
    """

    bounded = True

    def __init__(self, network: nn.Module, code: Tensor, picture: Tensor) -> None:
        self._network, self._picture = network, picture
        self._code = code.clone().requires_grad_()

    def parameters(self) -> Sequence[Tensor]:
        """The weights and the code."""
        return [self._code, *self._network.parameters()]

    def render(self) -> Tensor:
        """The network's picture."""
        image: Tensor = self._network(self._picture, self._code)
        return image

    def project(self) -> None:
        """All weights are legal."""


def gradient_preconditioner(gradient: Tensor, *, wrap: bool = False) -> Tensor:
    """A diagonal preconditioner, with which all places of an image take part in the first steps alike.

    Gram matrices are squares: where features are strong, as in a face, their gradient is many times that of the rest,
    and L-BFGS would change that place until it is garish before it knows the curvature of the others.

    Args:
        gradient: `(1, 3, H, W)`, of the loss at the start.
        wrap: whether the image goes on beyond its edges with the opposite ones.

    Returns:
        `(1, 1, H, W)`, above 0: where the gradient's root mean square within 16 pixels is strong, its inverse, and even
        elsewhere; scaled so that the first step is as long as without it.
    """
    power = gradient.float().square().mean(1, keepdim=True)
    reach = min(NEAR, *(side - 1 for side in power.shape[2:]))
    framed = F.pad(power, (reach,) * 4, mode="circular" if wrap else "reflect")
    size = F.avg_pool2d(framed, 2 * reach + 1, 1).sqrt()
    preconditioner = 1 / (size / size.mean().clamp_min(TINY)).clamp_min(STRONG)
    step = gradient.float().abs()
    return preconditioner * (step.mean().clamp_min(TINY) / (preconditioner * step).mean().clamp_min(TINY))
