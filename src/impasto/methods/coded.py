"""Paints with a feed-forward network by codes: batches, regions and strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, StyleCode, ignore
from impasto.models.networks import Network
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes.sessions import NetworkGraph

GRAPH = "graph"
"""Among a network's tensors: the bytes of its ONNX file, where it is one and has no others beside its codes."""

LEAST = 4
"""Positions along a side at the coarsest level, for reflection padding and statistics."""


class CodedNetwork(Protocol):
    """Paints `(B, 3, H, W)` by codes `(B, N)`; sides are multiples of its stride."""

    @property
    def stride(self) -> int:
        """See above."""
        ...

    def __call__(self, images: Tensor, codes: Tensor, /) -> Tensor:
        """See above."""
        ...


class CodedPainter:
    """Base class of methods whose StyleCode is `code (1, N)`.

    Args:
        network: the shared convolutions, frozen and in its place.
        placement: where to compute.
    """

    def __init__(self, network: CodedNetwork, placement: Placement) -> None:
        self._network = network
        self._placement = placement

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, regions included; see `Stylizer`."""
        on_progress(Progress("painting", 0, 1))
        parts = [(place, mask, code) for place, job in enumerate(jobs) for mask, code in parts_of(job)]
        with torch.inference_mode():
            codes = torch.cat([code.tensors["code"] for _, _, code in parts]).to(content.device)
            if all(_is_plain(job) for job in jobs):  # frame after frame, what follows would be a tenth of the time
                pastiche = self._paint(content, codes).clamp(0, 1)
            else:
                pastiche = self._composed(content, jobs, parts, codes)
        on_progress(Progress("painting", 1, 1, preview=pastiche))
        return pastiche

    def paint_frame(self, frame: NDArray[np.uint8], code: Tensor) -> NDArray[np.uint8]:
        """A frame `(H, W, 3)` of 8 bits painted by a code `(1, N)`, to 8 bits: quicker than through `stylize`."""
        height, width = frame.shape[:2]
        stride = self._network.stride
        border = [(0, max(0, LEAST * stride - height)), (0, max(0, LEAST * stride - width)), (0, 0)]
        whole = np.pad(frame, border, mode="reflect") if any(after for _, after in border) else frame
        if isinstance(self._network, _InRuntime):
            return self._network.paint_frame(whole, code)[:height, :width]
        with torch.inference_mode():
            image = torch.from_numpy(whole).to(self._placement.device).permute(2, 0, 1)[None].float() / 255
            painted = self._paint(image, code.to(image.device))[0, :, :height, :width].clamp(0, 1)
            codes: NDArray[np.uint8] = (255 * painted).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
        return codes

    def _composed(
        self,
        content: Tensor,
        jobs: Sequence[Job],
        parts: Sequence[tuple[int, Tensor | float, StyleCode]],
        codes: Tensor,
    ) -> Tensor:
        whole = torch.split(self._paint(content[[place for place, _, _ in parts]], codes), 1)
        pastiches = []
        for place, (job, pixels) in enumerate(zip(jobs, torch.split(content, 1), strict=True)):
            own = [(cover, made) for (owner, cover, _), made in zip(parts, whole, strict=True) if owner == place]
            pastiches.append(composed(pixels, own, job.knobs.strength, job.guide.strength))
        return torch.cat(pastiches)

    def _paint(self, content: Tensor, codes: Tensor) -> Tensor:
        height, width = content.shape[2:]
        stride = self._network.stride
        padded = pad_to_multiple(content, stride, least=LEAST * stride)
        if self._placement.runtime == "torch":
            padded = padded.to(self._placement.dtype).contiguous(memory_format=torch.channels_last)
        return crop_to(self._network(padded, codes), height, width).float()


def placed(network: Callable[[], Network], tensors: Mapping[str, Tensor], placement: Placement) -> CodedNetwork:
    """A network in the runtime of its placement.

    Args:
        network: loads the shared convolutions in torch.
        tensors: the same by name, for other runtimes; or `GRAPH`.
        placement: where to compute.
    """
    if placement.runtime == "torch":
        return network().requires_grad_(False).to(placement.device)
    return _InRuntime(tensors, placement)


class _InRuntime:
    """A network in ONNX Runtime or OpenVINO, called as one of torch."""

    def __init__(self, tensors: Mapping[str, Tensor], placement: Placement) -> None:
        if GRAPH in tensors:
            graph = NetworkGraph(tensors[GRAPH].numpy().tobytes(), {})
        else:
            graph = NetworkGraph.of({name: tensor.detach().float().numpy() for name, tensor in tensors.items()})
        self.stride = graph.stride
        self._session = graph.open(placement.runtime, placement.precision)

    def __call__(self, images: Tensor, codes: Tensor, /) -> Tensor:
        pastiches = self._session.run(images.float().contiguous().numpy(), codes.float().contiguous().numpy())
        return torch.from_numpy(pastiches)

    def paint_frame(self, frame: NDArray[np.uint8], code: Tensor) -> NDArray[np.uint8]:
        """See `sessions.Session.run_frame`."""
        return self._session.run_frame(frame, code.float().contiguous().numpy())


def _is_plain(job: Job) -> bool:
    """Whether the pastiche is what the network gives."""
    return job.knobs.strength == 1 and not job.guide.regions and job.guide.strength is None


def parts_of(job: Job) -> list[tuple[Tensor | float, StyleCode]]:
    """How much of the picture gets which code."""
    regions = [(region.mask, region.code) for region in job.guide.regions]
    return [*regions] or [(1.0, job.code)]


def composed(
    content: Tensor, painted: Sequence[tuple[Tensor | float, Tensor]], strength: float, strengths: Tensor | None
) -> Tensor:
    """A picture of what its regions were painted as, exactly the content where the strength is 0.

    Args:
        content: `(1, 3, H, W)` in [0, 1].
        painted: how much of each pixel, `(1, 1, H, W)` or a number, gets which picture.
        strength: of the whole.
        strengths: a map of it, `(1, 1, H, W)`, that multiplies it.
    """
    pastiche = content.clone()
    for cover, made in painted:
        pastiche += (cover.to(content.device) if isinstance(cover, Tensor) else cover) * (made - content)
    degree = content.new_tensor(float(strength)) if strengths is None else strength * strengths.to(content)
    return torch.lerp(content, pastiche, degree).clamp(0, 1)
