"""Tiles of a picture: where each lies, its margins, and how large one may be. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def side_within(memory: int, per_pixel: float, *, margin: int, stride: int, largest: int = 2048) -> int:
    """Longest side of a tile, a multiple of `stride`, whose window takes no more than `memory`; at least one stride.

    Args:
        memory: bytes.
        per_pixel: bytes for a pixel of the window, at its peak.
        margin: pixels of the window beyond the tile, on each side.
        stride: see `tiles_of`.
        largest: beyond it, margins are few anyway.
    """
    side = min(largest, int(max(0.0, memory / per_pixel) ** 0.5) - 2 * margin)
    return max(1, side // stride) * stride


def tiles_of(picture: tuple[int, int], side: int, *, stride: int, wrap: bool = False) -> list[Tile]:
    """Cut a picture into tiles of about equal size, none longer than `side`, with corners on multiples of `stride`.

    Args:
        picture: height and width; multiples of `stride`.
        side: at least `stride`.
        stride: of the deepest layer, in pixels.
        wrap: see `Tile`.
    """
    assert picture[0] % stride == picture[1] % stride == 0

    def cuts(length: int) -> list[tuple[int, int]]:
        cells = length // stride
        count = -(-cells // max(1, side // stride))
        places = [cells * index // count * stride for index in range(count + 1)]
        return list(pairwise(places))

    return [Tile(rows, columns, picture, wrap) for rows in cuts(picture[0]) for columns in cuts(picture[1])]


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture. The tiles of a picture cover it, and each position is counted in exactly one.

    Attributes:
        rows, columns: first and last-but-one, in pixels; multiples of the encoder's stride.
        picture: height and width of the whole picture.
        wrap: whether the picture goes on beyond its edges with the opposite ones.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    picture: tuple[int, int]
    wrap: bool = False

    @property
    def share(self) -> float:
        """Of the picture's positions, those that are counted here."""
        height, width = self.picture
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0]) / (height * width)

    def margins(self, reach: int) -> tuple[int, int, int, int]:
        """Pixels of the neighbourhood within `reach`: above, below, to the left, to the right."""
        if self.wrap:
            return reach, reach, reach, reach
        (top, bottom), (left, right), (height, width) = self.rows, self.columns, self.picture
        return min(top, reach), min(height - bottom, reach), min(left, reach), min(width - right, reach)

    def cuts(self, reach: int) -> tuple[bool, bool, bool, bool]:
        """On which of the four sides a window of that reach ends inside the picture and not at its edge."""
        if self.wrap:
            return True, True, True, True
        (top, bottom), (left, right), (height, width) = self.rows, self.columns, self.picture
        return top > reach, height - bottom > reach, left > reach, width - right > reach

    def grown(self, reach: int) -> Tile:
        """The tile with its margins within `reach`, in a picture that does not wrap."""
        above, below, before, after = self.margins(reach)
        (top, bottom), (left, right) = self.rows, self.columns
        return Tile((top - above, bottom + below), (left - before, right + after), self.picture)

    def cells(self, stride: int) -> tuple[slice, slice]:
        """Rows and columns of a map that has one position for `stride` pixels."""
        (top, bottom), (left, right) = self.rows, self.columns
        return slice(top // stride, bottom // stride), slice(left // stride, right // stride)

    def crop(self, maps: Tensor, reach: int = 0) -> Tensor:
        """The window of maps `(B, C, H, W)` over the tile and its margins within `reach`; a view where it can be."""
        above, below, before, after = self.margins(reach)
        (top, bottom), (left, right) = self.rows, self.columns
        if not self.wrap:
            return maps[:, :, top - above : bottom + below, left - before : right + after]
        wrapped_rows, wrapped_columns = self.indices(reach, maps.device)
        return maps.index_select(2, wrapped_rows).index_select(3, wrapped_columns)

    def indices(self, reach: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows and columns of the window in a picture that wraps."""
        import torch

        above, below, before, after = self.margins(reach)
        rows = torch.arange(self.rows[0] - above, self.rows[1] + below, device=device) % self.picture[0]
        columns = torch.arange(self.columns[0] - before, self.columns[1] + after, device=device) % self.picture[1]
        return rows, columns
