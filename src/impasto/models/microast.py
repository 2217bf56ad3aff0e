"""MicroAST's networks: two small encoders, a modulator, and a decoder whose filters and features the painting sets.

Paper: arXiv:2211.15313 (Wang, Zhao, Li and Xing 2023). 472 thousand parameters. Widths and layers are those of the
published weights; the names of tensors too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Placement
from impasto.models.microast_spec import CODE_SIZE, DECODER, DEPTHS, ENCODER, HEAD, REACH, RESIDUALS, STRIDE, WIDTH
from impasto.ops.stats import EPSILON, mean_std, precise

Moments: TypeAlias = tuple[Tensor, Tensor]
"""Mean and deviation of a whole picture's features, broadcastable to `(B, WIDTH, 1, 1)`."""


class MicroAST:
    """The four networks, frozen.

    Args:
        weights: `content.*`, `style.*`, `modulator.*` and `decoder.*`, the rest as in the published files.
        placement: where, and in which precision.
    """

    stride, reach, rounds = STRIDE, REACH, 2

    def __init__(self, weights: Mapping[str, Tensor], placement: Placement) -> None:
        self._weights = {name: tensor.to(placement.device, placement.dtype) for name, tensor in weights.items()}

    def encode_style(self, painting: Tensor, seen: Tensor | None = None) -> Tensor:
        """The code `(1, CODE_SIZE)` float32 of a painting `(1, 3, H, W)` in [0, 1].

        seen: `(1, 1, H, W)` in [0, 1], how much of each pixel counts; None for all of it.
        """
        maps = self.style_maps(painting)
        weight = None if seen is None else F.adaptive_avg_pool2d(seen, (maps[0].shape[2], maps[0].shape[3]))
        return code_of([_mean_std(one) if weight is None else mean_std(one, weight) for one in maps])

    def style_maps(self, painting: Tensor) -> list[Tensor]:
        """Maps `(1, WIDTH, H / 4, W / 4)` of a painting, whose moments make its code (`code_of`)."""
        maps: list[Tensor] = []
        for depth, features in zip(DEPTHS, self._encode("style", painting), strict=True):
            filters = [
                self._convolve(f"modulator.{kind}{depth}.0", features, groups=WIDTH) for kind in ("weight", "bias")
            ]
            maps += [features, *filters]
        return maps

    def features(self, images: Tensor, codes: Tensor, moments: Sequence[Moments] = ()) -> Tensor:
        """What is given the painting's statistics next, `(B, WIDTH, H / 4, W / 4)`.

        Args:
            images, codes: as for painting; before the first round the codes do not count.
            moments: those of the rounds that are known.
        """
        _, x = self._encode("content", images)
        if moments:
            _, (mean, std, scale, bias) = _parts(codes)
            x = self._modulated("decoder.dec1", _renormalised(x, mean, std, moments[0]), scale, bias)
        return x

    def __call__(self, images: Tensor, codes: Tensor, moments: Sequence[Moments] = ()) -> Tensor:
        """Paint `images (B, 3, H, W)` by codes `(B, CODE_SIZE)`; unclamped, in the placement's precision.

        Args:
            images: sides are multiples of the stride.
            codes: see `encode_style`.
            moments: where the images are windows of a larger picture, the statistics of its `features` in each round.
        """
        first, second = moments or (None, None)
        (mean, std, scale, bias), (deep_mean, deep_std, deep_scale, deep_bias) = _parts(codes)
        _, x = self._encode("content", images)
        x = self._modulated("decoder.dec1", _renormalised(x, deep_mean, deep_std, first), deep_scale, deep_bias)
        x = self._modulated("decoder.dec2", _renormalised(x, mean, std, second), scale, bias)
        for apart, across in DECODER:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            inputs = x.shape[1] // self._weights[f"decoder.dec3.{apart}.conv_layer.weight"].shape[1]
            x = F.relu_(self._convolve(f"decoder.dec3.{apart}", x, groups=inputs))
            x = F.relu_(self._convolve(f"decoder.dec3.{across}", x))
        return self._convolve(f"decoder.dec3.{HEAD}", x)

    def _encode(self, name: str, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features at both depths, `(B, WIDTH, H / 4, W / 4)`."""
        x = images
        for number, stride in ENCODER:
            groups = x.shape[1] if stride > 1 else 1
            x = F.relu_(self._convolve(f"{name}.enc1.{number}", x, stride=stride, groups=groups))
        first = self._residual(f"{name}.{RESIDUALS[0]}", x)
        return first, self._residual(f"{name}.{RESIDUALS[1]}", first)

    def _residual(self, name: str, x: Tensor) -> Tensor:
        return x + self._convolve(f"{name}.conv2", F.relu_(self._convolve(f"{name}.conv1", x)))

    def _modulated(self, name: str, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """A residual layer whose filters the painting scales, with a share of their input added (section 3.3)."""
        scale, bias = (part.to(x)[:, :, None, None] for part in (scale, bias))
        inner = F.relu_(scale * self._convolve(f"{name}.conv1", x) + bias * x)
        return x + scale * self._convolve(f"{name}.conv2", inner) + bias * inner

    def _convolve(self, name: str, x: Tensor, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight, bias = self._weights[f"{name}.conv_layer.weight"], self._weights[f"{name}.conv_layer.bias"]
        pad = weight.shape[2] // 2
        x = x.to(weight.dtype)
        x = F.pad(x, (pad,) * 4, mode="reflect") if pad else x
        return F.conv2d(x, weight, bias, stride, groups=groups)


def code_of(moments: Sequence[Moments]) -> Tensor:
    """The code `(1, CODE_SIZE)` of the moments of `MicroAST.style_maps`; of filters the means count."""
    parts: list[Tensor] = []
    for first in range(0, len(moments), 3):
        (mean, std), (scale, _), (bias, _) = moments[first : first + 3]
        parts += [mean, std, scale, bias]
    return torch.cat([part.reshape(1, WIDTH) for part in parts], 1)


def _parts(codes: Tensor) -> list[tuple[Tensor, ...]]:
    """Mean, deviation, scale and bias of the shallow features, and of the deep ones."""
    return [torch.split(part, WIDTH, 1) for part in torch.split(codes, CODE_SIZE // 2, 1)]


def _mean_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """`(B, C)` each, the deviation over one position less, as the networks were trained."""
    variance, mean = torch.var_mean(precise(features).flatten(2), dim=2)
    return mean, (variance + EPSILON).sqrt()


def _renormalised(features: Tensor, mean: Tensor, std: Tensor, own: Moments | None) -> Tensor:
    """Features with another mean and deviation, channel by channel."""
    own_mean, own_std = _mean_std(features) if own is None else (own[0].flatten(1).to(mean), own[1].flatten(1).to(mean))
    scale = std / own_std
    shift = mean - own_mean * scale
    return features * scale.to(features)[:, :, None, None] + shift.to(features)[:, :, None, None]
