"""A trained network: its own styles, in one pass.

Papers: arXiv:1603.08155 (Johnson, Alahi and Fei-Fei 2016), arXiv:1610.07629 (Dumoulin, Shlens and Kudlur 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Style, StyleCode, ignore
from impasto.errors import InputError
from impasto.methods.coded import CodedPainter, placed
from impasto.methods.settings import FeedForwardKnobs
from impasto.models import networks
from impasto.settings import close_names

NETWORK = "network"


class FeedForward:
    """Paints with a network that `impasto train` has made.

    Args:
        weights: `network`, the tensors of its file.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._trained = networks.Trained(weights[NETWORK])
        network = placed(self._trained.network, self._trained.tensors, placement)
        self._painter = CodedPainter(network, placement)

    def encode_style(self, style: Style, knobs: FeedForwardKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """The code of the named styles, averaged by weight: `code (1, N)` float32.

        Raises:
            InputError: the network has no style of that name.
        """
        code = torch.zeros(())
        for image, share in zip(style.images, style.shares(), strict=True):
            if image.name not in self._trained.styles:
                hint = close_names(image.name, self._trained.styles)
                raise InputError(f"the network has no style {image.name!r}", hint)
            code = code + share * self._trained.code(image.name)
        return StyleCode({"code": code})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, regions included; see `Stylizer`."""
        return self._painter.stylize(content, jobs, on_progress)

    def paint_frame(self, frame: NDArray[np.uint8], code: StyleCode) -> NDArray[np.uint8]:
        """A plain frame `(H, W, 3)` of 8 bits, to 8 bits, at full strength: quicker than through `stylize`."""
        return self._painter.paint_frame(frame, code.tensors["code"])
