"""A trained network: its own styles, in one pass.

Papers: arXiv:1603.08155 (Johnson, Alahi and Fei-Fei 2016), arXiv:1610.07629 (Dumoulin, Shlens and Kudlur 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from impasto import networks
from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.errors import InputError
from impasto.knobs import FeedForwardKnobs
from impasto.params import close_names
from impasto.tiling import crop_to, pad_to_multiple

NETWORK = "network"
_LEAST = 4  # positions along a side at the coarsest level, for reflection padding and statistics


class FeedForward:
    """Paints with a network that `impasto train` has made.

    Args:
        weights: `network`, the tensors of its file.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        self._trained = networks.Trained(weights[NETWORK])
        self._network = self._trained.network().requires_grad_(False).to(placement.device)

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
        on_progress(Progress("painting", 0, 1))
        parts = [(place, mask, code) for place, job in enumerate(jobs) for mask, code in _parts(job)]
        with torch.inference_mode():
            codes = torch.cat([code.tensors["code"] for _, _, code in parts]).to(content.device)
            whole = self._paint(content[[place for place, _, _ in parts]], codes)
            pastiche = content.clone()
            for (place, mask, _), painted in zip(parts, whole, strict=True):
                cover = mask.to(content.device)[0] if isinstance(mask, Tensor) else mask
                pastiche[place] += cover * (painted - content[place])
            strength = torch.cat([_strength(job, content) for job in jobs])
            pastiche = torch.lerp(content, pastiche, strength).clamp(0, 1)  # exactly the content where it is 0
        on_progress(Progress("painting", 1, 1, preview=pastiche))
        return pastiche

    def _paint(self, content: Tensor, codes: Tensor) -> Tensor:
        height, width = content.shape[2:]
        stride = self._network.stride
        padded = pad_to_multiple(content, stride, least=_LEAST * stride)
        inside = padded.to(self.placement.dtype).contiguous(memory_format=torch.channels_last)
        return crop_to(self._network(inside, codes), height, width).float()


def _parts(job: Job) -> list[tuple[Tensor | float, StyleCode]]:
    """How much of the picture gets which code."""
    regions = [(region.mask, region.code) for region in job.guide.regions]
    return [*regions] or [(1.0, job.code)]


def _strength(job: Job, content: Tensor) -> Tensor:
    """`(1, 1, H, W)`: the knob, times the map where there is one."""
    whole = torch.full((1, 1, *content.shape[2:]), float(job.knobs.strength), device=content.device)
    return whole if job.guide.strength is None else whole * job.guide.strength.to(content.device)
