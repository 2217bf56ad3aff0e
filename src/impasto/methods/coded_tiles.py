"""Paints with a network by codes tile by tile, in bounded memory: the picture is that of one piece.

A round over all tiles for each time that the network looks at statistics of the whole picture, and one that paints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, check_cancelled
from impasto.memory import trim_memory
from impasto.methods.coded import LEAST, composed, parts_of
from impasto.models.microast import Moments
from impasto.ops.stats import RunningMoments
from impasto.ops.tiles import WindowedImage, put, thumbnail
from impasto.ops.tiling import Tile, side_within, tiles_of

_LEAST_TILE = 128  # pixels: with smaller tiles nearly everything would be margin
_SMALLER = 0.55  # of the memory, in half precision: statistics stay in float32


class TiledNetwork(Protocol):
    """A network by codes whose statistics of the whole picture can be taken tile by tile.

    Attributes:
        stride: sides of windows, and their corners, are multiples of it.
        reach: pixels around a place that what is painted there depends on, a multiple of the stride.
        rounds: how often it looks at statistics.
    """

    stride: int
    reach: int
    rounds: int

    def features(self, images: Tensor, codes: Tensor, moments: Sequence[Moments], /) -> Tensor:
        """What it looks at next, `(1, C, H / stride, W / stride)`; before the first round whatever the code."""
        ...

    def __call__(self, images: Tensor, codes: Tensor, moments: Sequence[Moments], /) -> Tensor:
        """Paint by the statistics of all rounds."""
        ...


class TiledPainter:
    """Paints one picture in tiles.

    Args:
        network: frozen and in its place.
        placement: where to compute.
        window_bytes: of memory in float32, for a pixel of a tile's window, at the peak.
    """

    def __init__(self, network: TiledNetwork, placement: Placement, window_bytes: float) -> None:
        self._network, self._placement, self._window_bytes = network, placement, window_bytes

    @torch.inference_mode()
    def stylize(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        """A pastiche of `content (1, 3, H, W)`, floats or codes, of the same kind, within `job.memory`."""
        assert job.memory is not None
        picture = self.windowed(content)
        tiles = self.tiles(picture, job.memory)
        parts = [(self._read(mask), code.tensors["code"].to(content.device)) for mask, code in parts_of(job)]
        strengths = None if job.guide.strength is None else self.windowed(job.guide.strength)
        work = _Work((self._network.rounds + 1) * len(tiles), on_progress)
        moments = self._moments(picture, tiles, [code for _, code in parts], work)
        result = picture.blank()
        for tile in tiles:
            pixels = picture.crop(tile)
            window = self.placed(picture.crop(tile, self._network.reach))
            painted = [
                (cover.crop(tile) if isinstance(cover, WindowedImage) else cover, self._inner(window, code, own, tile))
                for (cover, code), own in zip(parts, moments, strict=True)
            ]
            degrees = None if strengths is None else strengths.crop(tile)
            put(result, composed(pixels, painted, job.knobs.strength, degrees), tile)
            trim_memory()
            work.did(result)
        return result

    def windowed(self, pixels: Tensor) -> WindowedImage:
        """A picture or mask that is read window by window."""
        return WindowedImage(pixels, self._network.stride, least=LEAST * self._network.stride)

    def tiles(self, picture: WindowedImage, memory: int) -> list[Tile]:
        """The tiles of a picture whose windows fit the memory."""
        per_pixel = _per_pixel(self._window_bytes, self._placement)
        side = side_within(memory, per_pixel, margin=self._network.reach, stride=self._network.stride)
        return tiles_of(picture.sides, side, stride=self._network.stride)

    def placed(self, window: Tensor) -> Tensor:
        """Pixels where the network takes them."""
        return window.to(self._placement.device, self._placement.dtype).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def least_memory(network: type[TiledNetwork], window_bytes: float, placement: Placement) -> int:
        """Bytes that a picture of any size needs in tiles."""
        return int(_per_pixel(window_bytes, placement) * (_LEAST_TILE + 2 * network.reach) ** 2)

    def _read(self, mask: Tensor | float) -> WindowedImage | float:
        return self.windowed(mask) if isinstance(mask, Tensor) else mask

    def _moments(
        self, picture: WindowedImage, tiles: Sequence[Tile], codes: Sequence[Tensor], work: _Work
    ) -> list[list[Moments]]:
        """The statistics of each round, for each code."""
        found: list[list[Moments]] = [[] for _ in codes]
        for number in range(self._network.rounds):
            asked = codes if number else codes[:1]  # before the first round all are alike
            sums = [RunningMoments() for _ in asked]
            for tile in tiles:
                check_cancelled()
                window = self.placed(picture.crop(tile, self._network.reach))
                for total, code, known in zip(sums, asked, found, strict=False):
                    features = self._network.features(window, code, known)
                    total.add(inner_cells(features, tile, self._network.reach, self._network.stride))
                work.did()
            ends = [total.mean_std(correction=1) for total in sums]
            for known, own in zip(found, ends if number else ends * len(codes), strict=True):
                known.append(own)
        return found

    def _inner(self, window: Tensor, code: Tensor, moments: Sequence[Moments], tile: Tile) -> Tensor:
        """A tile's pixels as the network paints them, in float32 at least."""
        painted = inner_cells(self._network(window, code, moments), tile, self._network.reach, 1)
        return painted if painted.dtype == torch.float64 else painted.float()


def inner_cells(maps: Tensor, tile: Tile, reach: int, stride: int) -> Tensor:
    """Of maps over a tile and its margins within `reach`, the part over the tile alone."""
    above, _, before, _ = tile.margins(reach)
    (top, bottom), (left, right) = tile.rows, tile.columns
    rows = slice(above // stride, (above + bottom - top) // stride)
    return maps[:, :, rows, before // stride : (before + right - left) // stride]


class _Work:
    """Reports tile after tile, the last time with a preview."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._done, self._total, self._on_progress = -1, total, on_progress
        self.did()

    def did(self, picture: Tensor | None = None) -> None:
        self._done += 1
        ended = picture is not None and self._done == self._total
        preview = thumbnail(picture) if ended and picture is not None else None
        self._on_progress(Progress("painting", self._done, self._total, unit="tile", preview=preview))


def _per_pixel(window_bytes: float, placement: Placement) -> float:
    return window_bytes * (1.0 if placement.precision == "float32" else _SMALLER)
