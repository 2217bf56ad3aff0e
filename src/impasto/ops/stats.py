"""Statistics of feature maps: what a style is made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5
"""Keeps a channel that never fires from dividing by zero."""


def precise(tensor: Tensor) -> Tensor:
    """The same in float32 at least, the type that statistics and losses are kept in."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def gram_matrix(features: Tensor, weight: Tensor | None = None) -> Tensor:
    """Products of all pairs of channels, averaged over positions.

    Args:
        features: `(B, C, h, w)`, any float type.
        weight: `(B, 1, h, w)` or broadcastable, 0 or more: how much each position counts; evenly by default.

    Returns:
        `(B, C, C)` float32, `F F^T / (h w)`. Gatys does not divide; Johnson divides by `C h w` too. Dividing by the
        positions alone makes the matrices of pictures of different sizes comparable.

    Paper: arXiv:1508.06576, eq. 3; weighted: arXiv:1611.07865, eq. 6, where the weight is the guide squared.
    """
    if weight is not None:
        share = precise(weight) / precise(weight).sum((2, 3), keepdim=True).clamp_min(EPSILON)
        positions = features.shape[2] * features.shape[3]
        features = features * (share * positions).sqrt().to(features.dtype)  # near 1: bfloat16 loses no range
    gram: Tensor = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return gram


class _Gram(torch.autograd.Function):
    """The Gram matrix with a gradient that costs one product of that size, where autograd would take two and add them.

    It also keeps the layout of the features: a gradient in another layout makes every later addition slow.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, hw, C), a view when the channels come last
        # bfloat16 factors accumulate in float32 inside the product, several times faster where the CPU has them;
        # one item after the other, since a product of batches copies its transposed factor
        gram: Tensor = precise(torch.stack([one.mT @ one for one in rows])) / rows.shape[1]
        return gram

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        features: Tensor = ctx.saved_tensors[0]
        batch, channels, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).flatten(1, 2)
        symmetric = (gradients[0] + gradients[0].mT) / rows.shape[1]
        product = rows @ symmetric.to(rows.dtype)  # (B, hw, C)
        return product.view(batch, height, width, channels).permute(0, 3, 1, 2)


def mean_std(features: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over positions.

    Args:
        features: `(B, C, h, w)`, any float type.
        weight: `(B, 1, h, w)` or broadcastable, 0 or more: how much each position counts; evenly by default.

    Returns:
        Two tensors `(B, C, 1, 1)`, float32.
    """
    flat = precise(features.flatten(2))  # (B, C, hw)
    if weight is None:
        variance, mean = torch.var_mean(flat, dim=2, correction=0)
    else:
        share = precise(weight.flatten(2))
        share = share / share.sum(2, keepdim=True).clamp_min(EPSILON)
        mean = (flat * share).sum(2)
        variance = ((flat - mean[..., None]).square() * share).sum(2)
    return mean[..., None, None], (variance + EPSILON).sqrt()[..., None, None]


class RunningMoments:
    """Mean and standard deviation of each channel, added up over the tiles of a picture."""

    def __init__(self) -> None:
        self._total = 0.0
        self._sum, self._square = torch.zeros(()), torch.zeros(())

    def add(self, features: Tensor, weight: Tensor | None = None) -> None:
        """Count `features (1, C, h, w)`, each position as `weight (1, 1, h, w)` says."""
        flat = features[0].flatten(1).double()
        own = flat.new_ones(flat.shape[1]) if weight is None else weight.flatten().to(flat)
        self._total += own.sum().item()
        self._sum, self._square = self._sum + (flat @ own).cpu(), self._square + (flat.square() @ own).cpu()

    def mean_std(self, *, correction: int = 0) -> tuple[Tensor, Tensor]:
        """`(1, C, 1, 1)` each, float64; the variance over that many positions less."""
        mean = self._sum / self._total
        variance = (self._square / self._total - mean.square()).clamp_min(0)
        variance = variance * (self._total / (self._total - correction))
        return mean[None, :, None, None], (variance + EPSILON).sqrt()[None, :, None, None]


def adaptive_instance_norm(
    content: Tensor, style_mean: Tensor, style_std: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Give every channel of `content` the mean and standard deviation of the style.

    Args:
        content: `(B, C, h, w)`.
        style_mean, style_std: `(B, C, 1, 1)` or broadcastable.
        weight: `(B, 1, h, w)`: the positions that take them on when weighted so; the others follow the same map.

    Returns:
        `(B, C, h, w)` in the type of `content`.

    Paper: arXiv:1703.06868, eq. 8.
    """
    mean, std = mean_std(content, weight)
    scale = style_std / std
    return content * scale.to(content.dtype) + (style_mean - mean * scale).to(content.dtype)


def instance_norm(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Mean 0 and deviation 1 for each channel of each item, then a scale and a shift of its own.

    Args:
        features: `(B, C, h, w)`, any float type.
        scale, shift: `(B, C)` float32.

    Returns:
        `(B, C, h, w)` in the type of `features`; statistics are taken in float32.

    Paper: arXiv:1607.08022 (Ulyanov et al. 2016); with a scale and shift for each style, arXiv:1610.07629.
    """
    if _batch_norm_serves(features):
        items = zip(features[:, None], scale.float(), shift.float(), strict=True)
        each = [F.batch_norm(one, None, None, gain, move, training=True, eps=EPSILON) for one, gain, move in items]
        return each[0] if len(each) == 1 else torch.cat(each)
    normalised: Tensor = _InstanceNorm.apply(features, scale, shift)  # type: ignore[no-untyped-call]
    return normalised


def _batch_norm_serves(features: Tensor) -> bool:
    """Whether torch's batch norm of one item can be taken: the same thing, up to seven times quicker, no gradients."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or features.device.type != "cpu":
        return False
    return features.dtype in (torch.float32, torch.bfloat16) and features[0, 0].numel() > 1


class _InstanceNorm(torch.autograd.Function):
    """Three times quicker on a CPU than autograd over the formula: it keeps the layout and reads each map few times."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        exact = torch.promote_types(rows.dtype, torch.float32)
        mean = rows.mean(1, keepdim=True, dtype=exact)
        centred = rows - mean.to(rows.dtype)
        inverse = (centred.square().mean(1, keepdim=True, dtype=exact) + EPSILON).rsqrt()  # (B, 1, C)
        gain = scale[:, None] * inverse
        ctx.save_for_backward(centred, inverse, gain)
        result = torch.empty_like(features, memory_format=torch.channels_last)  # no view: ReLU may overwrite it
        out = result.permute(0, 2, 3, 1).view(rows.shape)
        torch.addcmul(shift[:, None].to(rows.dtype), centred, gain.to(rows.dtype), out=out)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centred, inverse, gain = ctx.saved_tensors
        batch, channels, height, width = gradients[0].shape
        rows = gradients[0].permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        exact = torch.promote_types(rows.dtype, torch.float32)
        plain = rows.sum(1, keepdim=True, dtype=exact)
        along = (rows * centred).sum(1, keepdim=True, dtype=exact)
        result = torch.addcmul((-gain * plain / rows.shape[1]).to(rows.dtype), rows, gain.to(rows.dtype))
        result.addcmul_(centred, (-gain * inverse.square() * along / rows.shape[1]).to(rows.dtype))
        result = result.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return result, (along * inverse)[:, 0], plain[:, 0]
