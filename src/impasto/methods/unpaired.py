"""Unpaired translation: the style of a collection, which a generator has learnt without pairs of pictures.

Papers: arXiv:1703.10593 (CycleGAN, Zhu et al. 2017), arXiv:2007.15651 (CUT, Park et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Style, StyleCode, ignore
from impasto.methods.coded import CodedPainter
from impasto.methods.settings import UnpairedKnobs
from impasto.models.generators import Generator


class Unpaired:
    """Paints with a generator of CycleGAN or CUT, in the one style that it has. Departs from them in `strength`.

    Args:
        weights: `network`, the tensors of its file.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._painter = CodedPainter(Generator(weights["network"], placement), placement)

    def encode_style(self, style: Style, knobs: UnpairedKnobs) -> StyleCode:  # noqa: ARG002 - there is only one
        """Nothing: the generator has one style. `code (1, 1)`."""
        return StyleCode({"code": torch.zeros(1, 1)})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch; see `Stylizer`."""
        return self._painter.stylize(content, jobs, on_progress)
