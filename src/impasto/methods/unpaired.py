"""Unpaired translation: the style of a collection, which a generator has learnt without pairs of pictures.

Papers: arXiv:1703.10593 (CycleGAN, Zhu et al. 2017), arXiv:2007.15651 (CUT, Park et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.contract import Costs, Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.methods.coded import CodedPainter
from impasto.methods.settings import UnpairedKnobs
from impasto.models.generator_spec import STRIDE
from impasto.models.generators import Generator, tiled_memory
from impasto.ops.tiles import WindowedImage, put, thumbnail
from impasto.ops.tiling import Tile

_WIDTH = 64  # channels of the largest generators that are usual
_WINDOW = 96**2  # pixels of the smallest tile, with its margins
_WINDOW_BYTES = 22.0 * _WIDTH
_LEAST = 16  # px along a side


class Unpaired(Costs):
    """Paints with a generator of CycleGAN or CUT, in the one style that it has. Departs from them in `strength`.

    Args:
        weights: `network`, the tensors of its file.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._generator = Generator(weights["network"], placement)
        self._painter = CodedPainter(self._generator, placement)

    def encode_style(self, style: Style, knobs: UnpairedKnobs) -> StyleCode:  # noqa: ARG002 - there is only one
        """Nothing: the generator has one style. `code (1, 1)`."""
        return StyleCode({"code": torch.zeros(1, 1)})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch; under a limit of memory in tiles. See `Stylizer`."""
        if any(job.memory is not None for job in jobs):
            parts = zip(content[:, None], jobs, strict=True)
            return torch.cat([self._in_tiles(one, job, on_progress) for one, job in parts])
        return self._painter.stylize(content, jobs, on_progress)

    def paint_frame(self, frame: NDArray[np.uint8], code: StyleCode) -> NDArray[np.uint8]:
        """A plain frame `(H, W, 3)` of 8 bits, to 8 bits, at full strength: quicker than through `stylize`."""
        return self._painter.paint_frame(frame, code.tensors["code"])

    @staticmethod
    def least_memory(height: int, width: int, knobs: UnpairedKnobs, placement: Placement) -> int:  # noqa: ARG004
        """Bytes that a picture needs in tiles: the maps of the blocks beside the smallest window."""
        share = 1.0 if placement.precision == "float32" else 0.5
        return int(share * (tiled_memory(_WIDTH) * height * width + _WINDOW_BYTES * _WINDOW))

    def _in_tiles(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        picture = WindowedImage(content, STRIDE, least=_LEAST)
        painted, covers = picture.blank(), _covers(job)
        total = picture.sides[0] * picture.sides[1]
        on_progress(Progress("painting", 0, total, "pixel"))
        assert job.memory is not None
        done = 0
        with torch.inference_mode():
            for tile, part in self._generator.paint_in_tiles(picture, job.memory):
                own = picture.crop(tile)
                mixed = torch.lerp(own, part.to(own), _cover(covers, job.knobs.strength, tile).to(own))
                put(painted, mixed.clamp(0, 1), tile)
                done += (tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0])
                preview = thumbnail(painted) if done == total else None
                on_progress(Progress("painting", done, total, "pixel", preview=preview))
        return painted


def _covers(job: Job) -> tuple[list[WindowedImage], WindowedImage | None]:
    """Masks of the regions, all of one style, and the map of strengths."""
    regions = [WindowedImage(region.mask, STRIDE, least=_LEAST) for region in job.guide.regions]
    strength = job.guide.strength
    return regions, None if strength is None else WindowedImage(strength, STRIDE, least=_LEAST)


def _cover(covers: tuple[list[WindowedImage], WindowedImage | None], strength: float, tile: Tile) -> Tensor:
    """How much of a tile is painted, `(1, 1, h, w)` or one number."""
    regions, strengths = covers
    whole = torch.full((1, 1, 1, 1), float(strength))
    if regions:
        whole = whole * torch.stack([region.crop(tile) for region in regions]).sum(0)
    return whole if strengths is None else whole * strengths.crop(tile)
