"""The networks that measures need beside VGG-19: the two of LPIPS and the Inception-v3 of FID, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

INCEPTION_SIDE = 299
INCEPTION_FEATURES = 2048

_MEAN = (-0.030, -0.088, -0.188)  # of images in [-1, 1]; LPIPS' own rounding of ImageNet's statistics
_DEVIATION = (0.458, 0.448, 0.450)
_BATCH_NORM_EPSILON = 1e-3  # TensorFlow's, as that Inception was trained
_REDUCING = ("mixed_3", "mixed_8")  # blocks that halve the map


@dataclass(frozen=True)
class _Stage:
    """A pooling (0: none), then convolutions with ReLU; what comes out is one of the five maps that LPIPS compares."""

    pool: int
    convolutions: int
    stride: int = 1
    padding: int = 1


BACKBONES: Mapping[str, tuple[_Stage, ...]] = {
    "vgg16": (_Stage(0, 2), _Stage(2, 2), _Stage(2, 3), _Stage(2, 3), _Stage(2, 3)),
    "alexnet": (_Stage(0, 1, 4, 2), _Stage(3, 1, 1, 2), _Stage(3, 1), _Stage(0, 1), _Stage(0, 1)),
}
"""Relu1_2, 2_2, 3_3, 4_3 and 5_3 of VGG-16 (arXiv:1409.1556), relu1 to relu5 of AlexNet (arXiv:1404.5997)."""


class Lpips:
    """Distance of deep features, weighted by what people judged to be alike.

    Args:
        backbone: "vgg16" or "alexnet".
        weights: `conv1.weight`, `conv1.bias`, ... of the backbone; `head1.weight (C)` .. `head5.weight` of LPIPS.
        device: where to compute.

    Paper: arXiv:1801.03924, eq. 1, with the linear heads of version 0.1.
    """

    def __init__(self, backbone: str, weights: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.stages = BACKBONES[backbone]
        self._weights = {name: tensor.to(device, torch.float32) for name, tensor in weights.items()}
        self._mean = torch.tensor(_MEAN, device=device)[None, :, None, None]
        self._deviation = torch.tensor(_DEVIATION, device=device)[None, :, None, None]

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances of two batches `(B, 3, H, W)`, sRGB in [0, 1], of one size. Returns `(B,)`, 0 for equals."""
        assert first.shape == second.shape
        distance = torch.zeros(first.shape[0], device=first.device)
        pairs = zip(self.features(first), self.features(second), strict=True)
        for number, (ours, theirs) in enumerate(pairs, start=1):
            squares = (_unit(ours) - _unit(theirs)).square()  # (B, C, h, w)
            weights = self._weights[f"head{number}.weight"][None, :, None, None]
            distance = distance + (squares * weights).sum(1).mean((1, 2))
        return distance

    def features(self, images: Tensor) -> list[Tensor]:
        """The five maps `(B, C, h, w)` of images `(B, 3, H, W)`, sRGB in [0, 1]; convolutions pad with zeros."""
        x = (2 * images.float() - 1 - self._mean) / self._deviation
        found, number = [], 0
        for stage in self.stages:
            if stage.pool:
                x = F.max_pool2d(x, stage.pool, 2)
            for _ in range(stage.convolutions):
                number += 1
                weight, bias = self._weights[f"conv{number}.weight"], self._weights[f"conv{number}.bias"]
                x = F.relu(F.conv2d(x, weight, bias, stage.stride, stage.padding))
            found.append(x)
        return found


def _unit(features: Tensor) -> Tensor:
    """Each position's channels divided by their Euclidean length."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


class Inception:
    """Inception-v3 of December 2015 up to its pooled features, as the original FID used it.

    It differs from later copies of Inception-v3: the average pooling inside a block leaves its padding out of the
    count, and the very last block pools by maximum. Batch normalisation has no scale; it is folded into the kernels.

    Args:
        weights: `NAME.weight`, `NAME.beta`, `NAME.mean` and `NAME.var` of each convolution.
        device: where to compute.

    Paper: arXiv:1512.00567; its use arXiv:1706.08500.
    """

    def __init__(self, weights: Mapping[str, Tensor], device: str = "cpu") -> None:
        self._weights: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}
        for name in sorted(key.removesuffix(".weight") for key in weights if key.endswith(".weight")):
            scale = (weights[f"{name}.var"].double() + _BATCH_NORM_EPSILON).rsqrt()
            bias = weights[f"{name}.beta"].double() - weights[f"{name}.mean"].double() * scale
            folded = weights[f"{name}.weight"].double() * scale[:, None, None, None]
            self._weights[name] = folded.to(device, torch.float32)
            self._biases[name] = bias.to(device, torch.float32)

    def __call__(self, images: Tensor) -> Tensor:
        """Features `(B, 2048)` of images `(B, 3, 299, 299)`, sRGB in [0, 1]."""
        assert images.shape[1:] == (3, INCEPTION_SIDE, INCEPTION_SIDE)
        x = (255 * images.float() - 128) / 128
        x = self._convolve(x, "conv", stride=2, padded=False)
        x = self._convolve(x, "conv_1", padded=False)
        x = F.max_pool2d(self._convolve(x, "conv_2"), 3, 2)
        x = self._convolve(x, "conv_3")
        x = F.max_pool2d(self._convolve(x, "conv_4", padded=False), 3, 2)
        for number in range(9):
            x = self._mix(x, f"mixed_{number}" if number else "mixed")
        x = self._fan_out(x, "mixed_9", _average(x))
        x = self._fan_out(x, "mixed_10", F.max_pool2d(x, 3, 1, 1))
        return F.avg_pool2d(x, 8).flatten(1)

    def _mix(self, x: Tensor, block: str) -> Tensor:
        """Parallel towers and a pooling, joined by channels; a reducing block halves the map at each tower's end."""
        reducing = block in _REDUCING
        towers = [f"{block}.{tower}" for tower in ("tower", "tower_1")]
        parts = [self._tower(x, tower, reducing=reducing) for tower in towers if f"{tower}.conv" in self._weights]
        if f"{block}.conv" in self._weights:
            parts.insert(0, self._convolve(x, f"{block}.conv", stride=1 + reducing, padded=not reducing))
        if reducing:
            parts.append(F.max_pool2d(x, 3, 2))
        else:
            parts.append(self._convolve(_average(x), f"{block}.tower_2.conv"))
        return torch.cat(parts, 1)

    def _tower(self, x: Tensor, tower: str, *, reducing: bool) -> Tensor:
        names = [f"{tower}.conv", *(f"{tower}.conv_{number}" for number in range(1, 5))]
        names = [name for name in names if name in self._weights]
        for name in names:
            last = reducing and name == names[-1]
            x = self._convolve(x, name, stride=1 + last, padded=not last)
        return x

    def _fan_out(self, x: Tensor, block: str, pooled: Tensor) -> Tensor:
        """The blocks whose towers end in a row and a column side by side."""
        first = self._convolve(x, f"{block}.tower_conv")
        second = self._convolve(self._convolve(x, f"{block}.tower_1_conv"), f"{block}.tower_1_conv_1")
        return torch.cat(
            [
                self._convolve(x, f"{block}.conv"),
                self._convolve(first, f"{block}.tower_mixed_conv"),
                self._convolve(first, f"{block}.tower_mixed_conv_1"),
                self._convolve(second, f"{block}.tower_1_mixed_conv"),
                self._convolve(second, f"{block}.tower_1_mixed_conv_1"),
                self._convolve(pooled, f"{block}.tower_2_conv"),
            ],
            1,
        )

    def _convolve(self, x: Tensor, name: str, *, stride: int = 1, padded: bool = True) -> Tensor:
        weight = self._weights[name]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2) if padded else (0, 0)
        return F.relu(F.conv2d(x, weight, self._biases[name], stride, padding))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
