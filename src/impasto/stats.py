"""Statistics of feature maps: what a style is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_EPSILON = 1e-5  # keeps a channel that never fires from dividing by zero


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
        share = precise(weight) / precise(weight).sum((2, 3), keepdim=True).clamp_min(_EPSILON)
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
        # bfloat16 factors accumulate in float32 inside the product, and are several times faster where the CPU has them
        gram: Tensor = precise(rows.mT @ rows) / rows.shape[1]
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
        share = share / share.sum(2, keepdim=True).clamp_min(_EPSILON)
        mean = (flat * share).sum(2)
        variance = ((flat - mean[..., None]).square() * share).sum(2)
    return mean[..., None, None], (variance + _EPSILON).sqrt()[..., None, None]


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
