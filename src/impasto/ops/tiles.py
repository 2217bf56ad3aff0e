"""Borders and windows: pads pictures to the sides that a network needs, reads and writes tiles, resizes pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.ops.tiling import Tile


def pad_to_multiple(images: Tensor, multiple: int, *, least: int = 1) -> Tensor:
    """Extend `images (B, C, H, W)` on the right and below by mirroring.

    Pooling drops what does not fill a cell, so without this the last rows and columns get no style from deep layers.

    Args:
        multiple: both sides become multiples of it.
        least: and at least this long. Pictures narrower than that are mirrored as often as needed.
    """
    height, width = images.shape[2:]
    rows = mirrored(height, _rounded_up(height, multiple, least), images.device)
    columns = mirrored(width, _rounded_up(width, multiple, least), images.device)
    if len(rows) != height:
        images = images.index_select(2, rows)
    return images if len(columns) == width else images.index_select(3, columns)


def crop_to(images: Tensor, height: int, width: int) -> Tensor:
    """Undo `pad_to_multiple`."""
    return images[:, :, :height, :width]


def mirrored(length: int, wanted: int, device: torch.device | str = "cpu") -> Tensor:
    """Indices 0 .. length-1, then back and forth without repeating the ends, `wanted` in all."""
    positions = torch.arange(wanted, device=device)
    if length == 1:
        return torch.zeros_like(positions)
    period = 2 * (length - 1)
    positions = positions % period
    return torch.minimum(positions, period - positions)


def _rounded_up(length: int, multiple: int, least: int) -> int:
    wanted = max(length, least)
    return -(-wanted // multiple) * multiple


class WindowedImage:
    """A picture or a mask that stays as it came, codes or floats, and is read window by window in float32.

    Extended on the right and below as by `pad_to_multiple`.

    Args:
        pixels: `(1, C, H, W)`: floats, or integer codes of uint8 or uint16.
        multiple, least: as for `pad_to_multiple`.
    """

    def __init__(self, pixels: Tensor, multiple: int, *, least: int = 1) -> None:
        self.pixels = pixels
        self.size = pixels.shape[2], pixels.shape[3]
        height, width = (_rounded_up(side, multiple, least) for side in self.size)
        self.sides = height, width
        self.dtype = pixels.dtype if pixels.is_floating_point() else torch.float32  # of what is read
        self._rows, self._columns = mirrored(self.size[0], height), mirrored(self.size[1], width)

    def crop(self, tile: Tile, reach: int = 0) -> Tensor:
        """The window over a tile and its margins within `reach`, in [0, 1]; the tile's picture is the extended one."""
        wide = tile.grown(reach)
        rows, columns = self._rows[slice(*wide.rows)], self._columns[slice(*wide.columns)]
        part = as_float(self.pixels[:, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
        if wide.rows[1] > self.size[0]:
            part = part.index_select(2, (rows - rows.min()).to(part.device))
        if wide.columns[1] > self.size[1]:
            part = part.index_select(3, (columns - columns.min()).to(part.device))
        return part

    def whole(self) -> Tensor:
        """All of it, extended, in float32."""
        return self.crop(Tile((0, self.sides[0]), (0, self.sides[1]), self.sides))

    def blank(self) -> Tensor:
        """An empty picture of its size and type; codes lie in memory pixel after pixel, as files have them."""
        _, channels, height, width = self.pixels.shape
        if self.pixels.is_floating_point():
            return torch.empty_like(self.pixels, memory_format=torch.contiguous_format)
        shape = (1, height, width, channels)
        return torch.empty(shape, dtype=self.pixels.dtype, device=self.pixels.device).permute(0, 3, 1, 2)


def as_float(pixels: Tensor) -> Tensor:
    """Pixels as floats in [0, 1]: codes divided by the largest, floats as they are."""
    if pixels.is_floating_point():
        return pixels
    return pixels.to(torch.float32) / torch.iinfo(pixels.dtype).max


def to_codes(pixels: Tensor, bits: int) -> Tensor:
    """Integer codes of 8 or 16 bits as codes of the other size, rounded."""
    if pixels.element_size() * 8 == bits:
        return pixels
    if bits == 16:
        return (pixels.to(torch.int32) * 257).to(torch.uint16)
    return ((pixels.to(torch.int32) + 128) // 257).to(torch.uint8)


def put(picture: Tensor, part: Tensor, tile: Tile) -> None:
    """Write a tile's pixels, in [0, 1], into a picture that may end earlier than the tile, and may be codes."""
    target = picture[:, :, slice(*tile.rows), slice(*tile.columns)]
    part = part[:, :, : target.shape[2], : target.shape[3]]
    if not picture.is_floating_point():
        part = (part * torch.iinfo(picture.dtype).max).round_().to(picture.dtype)
    target.copy_(part)


def thumbnail(picture: Tensor, longest: int = 1024) -> Tensor:
    """A picture as floats, with rows and columns left out so that it is small: for previews."""
    step = -(-max(picture.shape[2:]) // longest)
    return as_float(picture[:, :, ::step, ::step])


def resample(images: Tensor, height: int, width: int, *, wrap: bool = False) -> Tensor:
    """Resize `(B, C, H, W)` with an antialiased bicubic filter; differences keep their sign, so nothing is clamped.

    Args:
        images: the pictures.
        height, width: the new size.
        wrap: filter across the edges as if the picture was tiled.
    """
    if images.shape[2:] == (height, width):
        return images
    if wrap:
        tiled = resample(images.tile(1, 1, 3, 3), 3 * height, 3 * width)
        return tiled[:, :, height : 2 * height, width : 2 * width]
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
