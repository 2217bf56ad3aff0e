"""Any painting in one quick pass of 472 thousand parameters, whose filters the painting modulates.

Paper: arXiv:2211.15313 (Wang, Zhao, Li and Xing 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Style, StyleCode, ignore
from impasto.methods.coded import CodedPainter
from impasto.methods.settings import MicroASTKnobs
from impasto.models.microast import MicroAST as Networks
from impasto.models.microast_spec import LEAST, STRIDE
from impasto.ops.tiles import pad_to_multiple
from impasto.runtimes import any_style
from impasto.runtimes.sessions import open_graph


class MicroAST:
    """Paints with the published networks. Departs from them in `strength`, which mixes pictures, not features.

    Args:
        weights: `microast`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        here = placement.runtime == "torch"
        self._networks = (Networks if here else _InRuntime)(weights["microast"], placement)
        self._painter = CodedPainter(self._networks, placement)

    def encode_style(self, style: Style, knobs: MicroASTKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """The codes of the paintings, averaged by weight: `code (1, 512)` float32."""
        code = torch.zeros(())
        with torch.inference_mode():
            for image, share in zip(style.images, style.shares(), strict=True):
                pixels = pad_to_multiple(image.pixels.float(), STRIDE, least=LEAST)
                seen = None if image.seen is None else pad_to_multiple(image.seen, STRIDE, least=LEAST)
                code = code + share * self._networks.encode_style(pixels, seen).cpu()
        return StyleCode({"code": code.clone()})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, regions included; see `Stylizer`."""
        return self._painter.stylize(content, jobs, on_progress)


class _InRuntime:
    """The networks in ONNX Runtime or OpenVINO, called as those of torch."""

    stride = STRIDE

    def __init__(self, weights: Mapping[str, Tensor], placement: Placement) -> None:
        arrays = {name: one.numpy() for name, one in weights.items()}
        graphs = any_style.microast_encoder(arrays), any_style.microast_painter(arrays)
        self._encoder, self._painter = (open_graph(one, placement.runtime, placement.precision) for one in graphs)
        self._in_torch = Networks(weights, Placement())

    def encode_style(self, painting: Tensor, seen: Tensor | None = None) -> Tensor:
        """See `models.microast`; what is partly transparent is rare, and left to torch."""
        if seen is not None:
            return self._in_torch.encode_style(painting, seen)
        return torch.from_numpy(self._encoder.run(painting.contiguous().numpy()))

    def __call__(self, images: Tensor, codes: Tensor, /) -> Tensor:
        """See `models.microast`."""
        made = self._painter.run(images.float().contiguous().numpy(), codes.float().contiguous().numpy())
        return torch.from_numpy(made)
