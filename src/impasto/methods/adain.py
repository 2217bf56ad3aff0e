"""Adaptive instance normalisation: any style in one pass.

Paper: arXiv:1703.06868 (Huang and Belongie 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import masks
from impasto.architectures import VGG19
from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.encoders import Encoder
from impasto.knobs import AdaINKnobs
from impasto.stats import adaptive_instance_norm, mean_std
from impasto.tiling import crop_to, pad_to_multiple

LAYER = "relu4_1"
_STRIDE = 8
_REACH = 3  # positions of relu4_1, 24 px: further away the decoder sees nothing of it
_SHRINKAGE = (
    0.1  # of the whole picture in the statistics of a region: a small one has flat channels, which would blow up
)


class AdaIN:
    """Gives VGG-19's relu4_1 features the style's mean and deviation, and decodes them.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        self._encoder = Encoder(VGG19, weights["vgg19-normalised"], placement)
        self._decoder = Decoder(weights["adain-decoder"], placement)

    def encode_style(self, style: Style, knobs: AdaINKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """Mean and deviation of relu4_1, averaged over the style images by weight.

        Returns:
            `mean` and `std`, each `(1, C, 1, 1)` float32.
        """
        mean, std = torch.zeros(()), torch.zeros(())
        with torch.inference_mode():
            for image, share in zip(style.images, style.shares(), strict=True):
                pixels = pad_to_multiple(image.pixels, _STRIDE)
                one_mean, one_std = mean_std(self._encoder(pixels, [LAYER])[LAYER])
                mean, std = mean + share * one_mean.cpu(), std + share * one_std.cpu()
        return StyleCode({"mean": mean, "std": std})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch; see `Stylizer`.

        The strength blends features (the paper's alpha, eq. 14). What the decoder cannot rebuild of the photograph is
        added back in proportion, so that strength 0 is the photograph itself and not a blurred copy.
        """
        height, width = content.shape[2:]
        on_progress(Progress("painting", 0, 1))
        with torch.inference_mode():
            padded = pad_to_multiple(content, _STRIDE, least=2 * _STRIDE)
            features = self._encoder(padded, [LAYER])[LAYER]
            plans = [_Plan.of(job, features[i : i + 1], *padded.shape[2:]) for i, job in enumerate(jobs)]
            strength = torch.cat([plan.strength for plan in plans])
            stylized = torch.cat([plan.stylized for plan in plans])
            blend = _shrunk(strength, features).to(features.dtype)
            pastiche = self._decoder(features + blend * (stylized - features))
            if (strength < 1).any():
                pastiche = pastiche + (1 - strength) * (padded - self._decoder(features))
            cover = torch.cat([plan.cover for plan in plans])
            pastiche = masks.compose(padded, pastiche.clamp(0, 1), cover)
        on_progress(Progress("painting", 1, 1, preview=pastiche))
        return crop_to(pastiche, height, width).float()


@dataclass(frozen=True)
class _Plan:
    """What one job makes of the photograph's features, over its whole padded size.

    Attributes:
        stylized: `(1, C, h, w)`, features at full strength, those of the regions joined.
        strength: `(1, 1, H, W)` in [0, 1], by pixel.
        cover: `(1, 1, H, W)` in [0, 1]; where it is 0 the photograph stays as it is.
    """

    stylized: Tensor
    strength: Tensor
    cover: Tensor

    @classmethod
    def of(cls, job: Job, features: Tensor, height: int, width: int) -> _Plan:
        """The plan of one job."""
        device = features.device
        strength = torch.full((1, 1, height, width), float(job.knobs.strength), device=device)
        cover = torch.ones_like(strength) if job.knobs.strength > 0 else torch.zeros_like(strength)
        if job.guide.strength is not None:
            given = pad_to_multiple(job.guide.strength.to(device), _STRIDE, least=2 * _STRIDE)
            strength, cover = strength * given, cover * masks.onset(given)
        if not job.guide.regions:
            return cls(_renormalised(features, job.code), strength, cover)
        maps = [pad_to_multiple(region.mask.to(device), _STRIDE, least=2 * _STRIDE) for region in job.guide.regions]
        small = _shrunk(torch.cat(maps), features)
        # regions reach beyond their masks here, and are cut out by the pixel below: no edge fades into the photograph
        shares = masks.widen(small, _REACH).to(features.dtype)
        stylized = features * (1 - shares.sum(0, keepdim=True))
        for region, weight, share in zip(job.guide.regions, small, shares, strict=True):
            stylized = stylized + share * _renormalised(features, region.code, weight[None] + _SHRINKAGE)
        return cls(stylized, strength, cover * masks.cover(maps))


def _shrunk(maps: Tensor, features: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, (features.shape[2], features.shape[3]))


def _renormalised(features: Tensor, code: StyleCode, weight: Tensor | None = None) -> Tensor:
    """Features with the style's mean and deviation, where `weight (1, 1, h, w)` says so."""
    mean, std = (code.tensors[name].to(features.device) for name in ("mean", "std"))
    return adaptive_instance_norm(features, mean, std, weight)


class Decoder:
    """The mirror image of VGG-19 up to relu4_1: features `(B, 512, h, w)` to sRGB `(B, 3, 8h, 8w)`, unclamped."""

    _PLAN = (
        ("conv4_1", "up"),
        ("conv3_4", "conv3_3", "conv3_2", "conv3_1", "up"),
        ("conv2_2", "conv2_1", "up"),
        ("conv1_2",),
    )

    def __init__(self, weights: Mapping[str, Tensor], placement: Placement) -> None:
        layout = torch.channels_last if placement.channels_last else torch.contiguous_format
        self._weights = {
            name: tensor.to(placement.device, placement.dtype).contiguous(
                memory_format=layout if tensor.dim() == 4 else torch.contiguous_format
            )
            for name, tensor in weights.items()
        }

    def __call__(self, features: Tensor) -> Tensor:
        """Decode; float32 comes out whatever the precision inside."""
        x = features
        for stage in self._PLAN:
            for name in stage:
                x = (
                    F.interpolate(x, scale_factor=2, mode="nearest")
                    if name == "up"
                    else F.relu_(self._convolve(x, name))
                )
        return self._convolve(x, "conv1_1").float()

    def _convolve(self, x: Tensor, name: str) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])
