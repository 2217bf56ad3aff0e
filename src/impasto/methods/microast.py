"""Any painting in one quick pass of 472 thousand parameters, whose filters the painting modulates.

Paper: arXiv:2211.15313 (Wang, Zhao, Li and Xing 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Costs, Job, OnProgress, Placement, Style, StyleCode, StyleImage, check_cancelled, ignore
from impasto.methods.coded import CodedPainter
from impasto.methods.coded_tiles import TiledPainter, inner_cells
from impasto.methods.settings import MicroASTKnobs
from impasto.models.microast import MicroAST as Networks
from impasto.models.microast import code_of
from impasto.models.microast_spec import LEAST, STRIDE
from impasto.ops.stats import RunningMoments
from impasto.ops.tiles import pad_to_multiple
from impasto.runtimes import any_style
from impasto.runtimes.sessions import open_graph

_WINDOW_BYTES = 480.0  # of memory, for a pixel of a tile's window, at the peak; in one piece it is 430 (bench/NOTES.md)


class MicroAST(Costs):
    """Paints with the published networks. Departs from them in `strength`, which mixes pictures, not features.

    Args:
        weights: `microast`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._in_torch = Networks(weights["microast"], placement if placement.runtime == "torch" else Placement())
        here = placement.runtime == "torch"
        self._networks = self._in_torch if here else _InRuntime(weights["microast"], self._in_torch, placement)
        self._painter = CodedPainter(self._networks, placement)
        self._tiled = TiledPainter(self._in_torch, placement, _WINDOW_BYTES)

    def encode_style(self, style: Style, knobs: MicroASTKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """The codes of the paintings, averaged by weight: `code (1, 512)` float32."""
        code = torch.zeros(())
        with torch.inference_mode():
            for image, share in zip(style.images, style.shares(), strict=True):
                own = self._code(image) if style.memory is None else self._code_in_tiles(image, style.memory)
                code = code + share * own.cpu()
        return StyleCode({"code": code.clone()})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, regions included, or tile by tile; see `Stylizer`."""
        if all(job.memory is None for job in jobs):
            return self._painter.stylize(content, jobs, on_progress)
        pictures = torch.split(content, 1)
        return torch.cat([self._tiled.stylize(one, job, on_progress) for one, job in zip(pictures, jobs, strict=True)])

    @staticmethod
    def least_memory(height: int, width: int, knobs: MicroASTKnobs, placement: Placement) -> int:  # noqa: ARG004
        """Bytes that a picture of any size needs in tiles."""
        return TiledPainter.least_memory(Networks, _WINDOW_BYTES, placement)

    def _code(self, image: StyleImage) -> Tensor:
        pixels = pad_to_multiple(image.pixels.float(), STRIDE, least=LEAST)
        seen = None if image.seen is None else pad_to_multiple(image.seen, STRIDE, least=LEAST)
        return self._networks.encode_style(pixels, seen)

    def _code_in_tiles(self, image: StyleImage, memory: int) -> Tensor:
        """The code of a painting of floats or codes, window by window."""
        painting, reach = self._tiled.windowed(image.pixels), Networks.reach
        seen = None if image.seen is None else self._tiled.windowed(image.seen)
        sums: list[RunningMoments] = []
        for tile in self._tiled.tiles(painting, memory):
            check_cancelled()
            maps = self._in_torch.style_maps(self._tiled.placed(painting.crop(tile, reach)))
            sums = sums or [RunningMoments() for _ in maps]
            weight = None if seen is None else F.avg_pool2d(seen.crop(tile), STRIDE)
            for total, one in zip(sums, maps, strict=True):
                total.add(inner_cells(one, tile, reach, STRIDE), weight)
        correction = 1 if seen is None else 0
        return code_of([total.mean_std(correction=correction) for total in sums]).float()


class _InRuntime:
    """The networks in ONNX Runtime or OpenVINO, called as those of torch."""

    stride = STRIDE

    def __init__(self, weights: Mapping[str, Tensor], in_torch: Networks, placement: Placement) -> None:
        arrays = {name: one.numpy() for name, one in weights.items()}
        graphs = any_style.microast_encoder(arrays), any_style.microast_painter(arrays)
        self._encoder, self._painter = (open_graph(one, placement.runtime, placement.precision) for one in graphs)
        self._in_torch = in_torch

    def encode_style(self, painting: Tensor, seen: Tensor | None = None) -> Tensor:
        """See `models.microast`; what is partly transparent is rare, and left to torch."""
        if seen is not None:
            return self._in_torch.encode_style(painting, seen)
        return torch.from_numpy(self._encoder.run(painting.contiguous().numpy()))

    def __call__(self, images: Tensor, codes: Tensor, /) -> Tensor:
        """See `models.microast`."""
        made = self._painter.run(images.float().contiguous().numpy(), codes.float().contiguous().numpy())
        return torch.from_numpy(made)
