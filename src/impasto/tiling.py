"""Borders: pads pictures to the sides that a network needs, and crops them back."""

from __future__ import annotations

import torch
from torch import Tensor


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
