"""What a descent moves where a picture is a view of something: textures, and colours of vertices, points or voxels.

A view is a fixed, sparse, linear map from rows of colours to pixels (`Lookup`). So no geometry need be differentiated,
and textures and colours move down the same losses as pixels do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.optim.canvases import PixelPyramid, Pixels
from impasto.optim.descent import Score

_TINY = 1e-8
_SURE = 0.5  # pixels of all views, from which on a texel's own colour counts in full


@dataclass(frozen=True)
class Lookup:
    """What one view shows, `pixels[k] += weights[k] * colours[rows[k]]`.

    Attributes:
        sides: height and width of the view.
        pixels: `(K,)`, places in the flattened view, rising.
        rows: `(K,)`, rows of colours.
        weights: `(K,)`, those of a pixel sum to at most 1, which is how much of it is covered.
        facing: `(H * W,)` in [0, 1], how straight each pixel is looked at; empty for all alike.
        depths: `(H * W,)`, distance along the line of sight; infinite where nothing is seen.
    """

    sides: tuple[int, int]
    pixels: Tensor
    rows: Tensor
    weights: Tensor
    facing: Tensor
    depths: Tensor

    def render(self, colors: Tensor, backdrop: Tensor | None = None) -> Tensor:
        """The view `(1, C, H, W)` of colours `(C, R)`, over a backdrop `(C,)`, by default black."""
        size = math.prod(self.sides)
        weights = self.weights.to(colors)
        # channel by channel: adding up single numbers is the fast way on a processor
        shown = torch.stack(
            [
                colors.new_zeros(size).index_add(0, self.pixels, weights * channel[self.rows])
                for channel in colors.unbind(0)
            ]
        )
        if backdrop is not None:
            shown = shown + (1 - self.cover.to(colors)).clamp_min(0).flatten() * backdrop.to(colors)[:, None]
        return shown.view(1, -1, *self.sides)

    def spread(self, values: Tensor, count: int) -> Tensor:
        """The adjoint: what `values (C, H * W)` at the pixels give to each of `count` rows, `(C, count)`."""
        weights = self.weights.to(values)
        return torch.stack(
            [
                values.new_zeros(count).index_add(0, self.rows, weights * channel[self.pixels])
                for channel in values.unbind(0)
            ]
        )

    @property
    def cover(self) -> Tensor:
        """`(1, 1, H, W)` in [0, 1], how much of each pixel is covered."""
        total = self.weights.new_zeros(math.prod(self.sides)).index_add(0, self.pixels, self.weights)
        return total.clamp(0, 1).view(1, 1, *self.sides)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Where a texture, or a list of colours, lies among the rows of colours.

    Attributes:
        sides: height and width; a list is 1 high.
        mips: whether smaller levels follow it, each half as large, down to one texel.
        mask: `(1, 1, H, W)`, 1 where triangles lie; what is between them never shows, on no level. None for everywhere.
    """

    sides: tuple[int, int]
    mips: bool = True
    mask: Tensor | None = None

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each level, as graphics libraries round them."""
        found = [self.sides]
        while self.mips and max(found[-1]) > 1:
            found.append((max(1, found[-1][0] // 2), max(1, found[-1][1] // 2)))
        return tuple(found)

    @property
    def rows(self) -> int:
        """Colours on all levels."""
        return sum(height * width for height, width in self.levels)


def colors_of(textures: Sequence[Tensor], sheets: Sequence[Sheet]) -> Tensor:
    """All rows of colours `(C, R)` of textures `(1, C, H, W)`: each with its levels, one after the other."""
    return torch.cat(
        [
            level[0].flatten(1)
            for texture, sheet in zip(textures, sheets, strict=True)
            for level, _ in _levels_of(texture, sheet)
        ],
        1,
    )


def _levels_of(texture: Tensor, sheet: Sheet) -> list[tuple[Tensor, Tensor]]:
    """The levels of a texture, means of what lies under the mask, and how much of each texel does."""
    share = torch.ones_like(texture[:, :1]) if sheet.mask is None else sheet.mask.to(texture)
    found, sums = [(texture, share)], texture * share
    for sides in sheet.levels[1:]:
        sums, share = F.adaptive_avg_pool2d(sums, sides), F.adaptive_avg_pool2d(share, sides)
        found.append((sums / share.clamp_min(_TINY), share))
    return found


def completed(texture: Tensor, sheet: Sheet, weights: Tensor) -> Tensor:
    """A texture as fine as it was seen: from levels that were, and from around where nothing was, beyond seams too.

    A descent leaves noise where no view looks as closely as there are texels. Push and pull, as `images.fill_hidden`.

    Args:
        texture: `(1, 3, H, W)`.
        sheet: its own.
        weights: `(R,)`, how much views showed of each of its rows.
    """
    if not sheet.mips:
        return texture
    levels = _levels_of(texture, sheet)
    parts = torch.split(weights, [height * width for height, width in sheet.levels])
    sums: list[Tensor] = []
    for own, sides in zip(parts, sheet.levels, strict=True):  # what was seen finely was seen coarsely, too
        finer = F.adaptive_avg_pool2d(sums[-1], sides) * (sums[-1].numel() / math.prod(sides)) if sums else 0.0
        sums.append(own.view(1, 1, *sides) + finer)
    result, _ = levels[-1]
    for (level, share), seen, sides in list(zip(levels, sums, sheet.levels, strict=True))[-2::-1]:
        trust = (seen / _SURE).clamp(0, 1) * (share > 0)
        around = F.interpolate(result, size=sides, mode="bilinear", align_corners=False)
        result = torch.lerp(around, level, trust)
    return result


def weights_of(views: Sequence[Lookup], sheets: Sequence[Sheet]) -> list[Tensor]:
    """How much views show of each row of each sheet."""
    count = sum(sheet.rows for sheet in sheets)
    total = sum((view.spread(torch.ones(1, math.prod(view.sides)), count)[0] for view in views), torch.zeros(count))
    return list(torch.split(total, [sheet.rows for sheet in sheets]))


class Rotation:
    """Which views are shown in a step: a few of many, one group after the other."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        self._groups, self._step = tuple(tuple(group) for group in groups), 0

    @property
    def current(self) -> tuple[int, ...]:
        """The views of this step."""
        return self._groups[self._step % len(self._groups)]

    def advance(self) -> None:
        """Go on to the next group."""
        self._step += 1


class TextureCanvas:
    """Textures, and lists of colours, as views show them; rendered are the views of a `Rotation`.

    Args:
        starts: the textures `(1, 3, H, W)` in [0, 1] to begin with; a list of colours is `(1, 3, 1, N)`.
        sheets: where each lies among the rows of colours.
        views: all of one size.
        rotation: which of them are rendered.
        backdrop: `(3,)`, what is seen where nothing is.
    """

    bounded = False

    def __init__(
        self,
        starts: Sequence[Tensor],
        sheets: Sequence[Sheet],
        views: Sequence[Lookup],
        rotation: Rotation,
        backdrop: Tensor | None = None,
    ) -> None:
        self._parts = [
            PixelPyramid(start) if sheet.mips else Pixels(start.clone())
            for start, sheet in zip(starts, sheets, strict=True)
        ]
        self._sheets, self._views, self._rotation = tuple(sheets), tuple(views), rotation
        self._backdrop = backdrop

    def parameters(self) -> Sequence[Tensor]:
        """Those of every texture."""
        return [parameter for part in self._parts for parameter in part.parameters()]

    def render(self) -> Tensor:
        """The current views, `(B, 3, H, W)`."""
        colors = colors_of([part.render() for part in self._parts], self._sheets)
        return torch.cat([self._views[index].render(colors, self._backdrop) for index in self._rotation.current])

    def project(self) -> None:
        """Clamp the textures to [0, 1]."""
        for part in self._parts:
            part.project()

    @torch.no_grad()
    def textures(self) -> list[Tensor]:
        """The textures as they are, `(1, 3, H, W)` in [0, 1]."""
        return [part.render().detach().clamp(0, 1) for part in self._parts]


class ViewScore:
    """A Score of the views of a `Rotation`, each by its own Score; after it the rotation goes on.

    Args:
        scores: of each view.
        rotation: that of the canvas.
    """

    def __init__(self, scores: Sequence[Score], rotation: Rotation) -> None:
        self._scores, self._rotation = tuple(scores), rotation

    def __call__(self, images: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """Mean losses of `images (B, 3, H, W)` by name, and the gradient of their sum."""
        found: dict[str, Tensor] = {}
        slopes: list[Tensor] = []
        share = 1 / len(images)
        for index, image in zip(self._rotation.current, torch.split(images, 1), strict=True):
            losses, slope = self._scores[index](image)
            found |= {name: share * loss + found.get(name, 0) for name, loss in losses.items()}
            slopes.append(share * slope)
        self._rotation.advance()
        return found, torch.cat(slopes)


def gathered(
    views: Sequence[Lookup], pictures: Iterator[Tensor] | Sequence[Tensor], sheets: Sequence[Sheet], *, power: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Textures put together from pictures of views, each pixel counted by how straight it is looked at.

    Args:
        views: where the pictures lie on the textures.
        pictures: `(1, 3, H, W)`, one a view.
        sheets: of the textures.
        power: how much more straight views count.

    Returns:
        Textures `(1, 3, H, W)`, and how much each texel was seen, `(1, 1, H, W)`.
    """
    blank = [torch.zeros(1, 4, *sheet.sides) for sheet in sheets]
    total: Tensor | None = None
    for view, picture in zip(views, pictures, strict=True):
        trust = view.facing**power if len(view.facing) else torch.ones(math.prod(view.sides))
        values = torch.cat((picture[0].flatten(1).cpu() * trust, trust[None]))
        own = view.spread(values, sum(sheet.rows for sheet in sheets))
        total = own if total is None else total + own
    assert total is not None
    leaves = [texture.requires_grad_() for texture in blank]
    colors_of(leaves, sheets).backward(total)  # type: ignore[no-untyped-call]
    textures, seen = [], []
    for leaf in leaves:
        assert leaf.grad is not None
        weight = leaf.grad[:, 3:]
        textures.append((leaf.grad[:, :3] / weight.clamp_min(_TINY)).clamp(0, 1))
        seen.append(weight)
    return textures, seen
