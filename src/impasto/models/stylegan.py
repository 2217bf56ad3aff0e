"""StyleGAN2: a generator whose layers are steered by styles, and its discriminator, in plain PyTorch.

    z -> mapping (8 dense layers) -> w; for each layer: w -> affine -> styles -> modulated convolution -> noise -> lrelu
    4x4 constant -> block -> doubled, block -> ... -> size; each block adds its picture to the doubled one before (skip)
    picture -> blocks that halve (residual) -> deviation over the minibatch -> dense -> score

Pictures are `(B, 3, size, size)` in [-1, 1] here, as the published networks have it. Tensors have the names of the
published implementation (`synthesis.b8.conv0.affine.weight`, ...); `stylegan_files` reads and writes them.

Papers: arXiv:1812.04948 (StyleGAN), arXiv:1912.04958 (StyleGAN2), arXiv:2006.06676 (ADA).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = tuple(2**power for power in range(3, 11))
"""Sides in pixels of pictures that a network can make."""

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
"""Of the filter by which pictures and features are doubled and halved, in each direction."""

_GAIN = math.sqrt(2)  # of the leaky rectifier, so that variances stay
_SLOPE = 0.2
_GROUP = 4  # pictures over which the discriminator takes deviations
_AVERAGING = 0.998  # of w
_EPSILON = 1e-8


@dataclass(frozen=True)
class StyleGanSpec:
    """The shape of a generator and of its discriminator.

    Attributes:
        size: side of the pictures, one of `SIZES`.
        widths: channels at 4, 8, ... `size` pixels.
        latent: numbers in z and in w.
        depth: dense layers of the mapping.
        rate: learning rate of the mapping, as a factor.
        clamp: features are kept within plus and minus this, if the network was trained so.
    """

    size: int
    widths: tuple[int, ...]
    latent: int = 512
    depth: int = 8
    rate: float = 0.01
    clamp: float | None = None

    @classmethod
    def of(cls, size: int, *, base: int, most: int = 512, latent: int = 512, depth: int = 8) -> StyleGanSpec:
        """Channels fall with the resolution, `base` over it, and are `most` at most; published: 32768 and 512."""
        return cls(size, tuple(min(base // side, most) for side in sides_to(size)), latent, depth)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the features of each block."""
        return sides_to(self.size)

    @property
    def layers(self) -> int:
        """How many w a picture takes: one a convolution, and one for the last picture."""
        return 2 * len(self.sides)

    @property
    def bands(self) -> tuple[int, int]:
        """The first w of what finer than 8 px shows, and of what finer than 32 px shows."""
        return 4, 8


def sides_to(size: int) -> tuple[int, ...]:
    """4, 8, ... `size`."""
    return tuple(2**power for power in range(2, size.bit_length()))


def upfirdn2d(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Put `up - 1` zeros after each place, pad with zeros, filter by `TAPS`, keep each `down`-th place.

    Args:
        x: `(B, C, H, W)`.
        pad: places before and after, in both directions, counted after the zeros are in.

    Returns:
        `(B, C, (up H + pad - 3) / down, ...)`, with the mean of `x`.
    """
    channels, taps = x.shape[1], len(TAPS)
    line = torch.tensor(TAPS, dtype=x.dtype, device=x.device) * up
    kernel = torch.outer(line, line).expand(channels, 1, taps, taps)
    if up == 1:
        inside = pad[0] if pad[0] == pad[1] and pad[0] >= 0 else 0
        framed = x if inside == pad[0] == pad[1] else F.pad(x, (*pad, *pad))
        return F.conv2d(framed, kernel, stride=down, padding=inside, groups=channels)
    full = F.conv_transpose2d(x, kernel, stride=up, groups=channels)  # of side up (H - 1) + taps
    before, after = pad[0] - taps + 1, pad[1] + up - taps
    return F.pad(full, (before, after, before, after))[:, :, ::down, ::down]


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: bool = False,
    padding: int | None = None,
) -> Tensor:
    """Convolve each picture with weights of its own: scaled by its styles, and then to length 1 for each output.

    Features are scaled before and after instead, which is the same and lets one convolution serve the whole batch.

    Args:
        x: `(B, I, H, W)`.
        weight: `(O, I, k, k)`.
        styles: `(B, I)`.
        demodulate: whether to scale to length 1.
        up: whether to double the picture, which is filtered by `TAPS`.
        padding: zeros around it; by default as many as keep its size.

    Paper: arXiv:1912.04958, eq. 1 and 3.
    """
    out_channels, _, side, _ = weight.shape
    scaled, kernel = x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype)
    if up:
        made = upfirdn2d(F.conv_transpose2d(scaled, kernel.transpose(0, 1), stride=2), pad=(1, 1)) * 4
    else:
        made = F.conv2d(scaled, kernel, padding=side // 2 if padding is None else padding)
    if not demodulate:
        return made
    lengths = styles.square() @ weight.square().sum((2, 3)).T + _EPSILON  # (B, O)
    return made * lengths.rsqrt().to(x.dtype).view(-1, out_channels, 1, 1)


def normalised(z: Tensor) -> Tensor:
    """`(B, N)`, each row to a mean square of 1."""
    return z * (z.square().mean(1, keepdim=True) + _EPSILON).rsqrt()


class Dense(nn.Module):
    """A dense layer whose weights have unit variance and are scaled when they are used (equalised learning rate).

    Args:
        inputs, outputs: numbers.
        random: of the first weights.
        bias: at the start.
        rate: learning rate as a factor.
    """

    def __init__(
        self, inputs: int, outputs: int, random: torch.Generator, *, bias: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=random) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self._scale, self._rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs)` to `(B, outputs)`."""
        return F.linear(x, self.weight * self._scale, self.bias * self._rate)


class MappingSpec(Protocol):
    """What a mapping has to know of a network's shape; see `StyleGanSpec`."""

    @property
    def latent(self) -> int: ...  # noqa: D102

    @property
    def depth(self) -> int: ...  # noqa: D102

    @property
    def rate(self) -> float: ...  # noqa: D102


class Mapping(nn.Module):
    """z to w, with the running average of w, towards which truncation leads."""

    w_avg: Tensor

    def __init__(self, spec: MappingSpec, random: torch.Generator) -> None:
        super().__init__()
        self.depth = spec.depth
        for number in range(spec.depth):
            self.add_module(f"fc{number}", Dense(spec.latent, spec.latent, random, rate=spec.rate))
        self.register_buffer("w_avg", torch.zeros(spec.latent))

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """`(B, latent)`: w for z; a truncation below 1 leads towards the average."""
        x = normalised(z.float())
        for number in range(self.depth):
            x = _rectified(self.get_submodule(f"fc{number}")(x))
        return x if truncation == 1 else self.w_avg.lerp(x, truncation)

    @torch.no_grad()
    def follow(self, w: Tensor) -> None:
        """Have the average follow a batch of w."""
        self.w_avg.copy_(w.mean(0).lerp(self.w_avg, _AVERAGING))


class StyledConv(nn.Module):
    """A modulated convolution with noise and a leaky rectifier."""

    noise_const: Tensor

    def __init__(self, spec: StyleGanSpec, inputs: int, side: int, random: torch.Generator, *, up: bool) -> None:
        super().__init__()
        outputs = spec.widths[spec.sides.index(side)]
        self.affine = Dense(spec.latent, inputs, random, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3, generator=random))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(side, side, generator=random))
        self._up, self._clamp = up, spec.clamp

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """`x (B, I, H, W)`, `w (B, latent)`, `noise (H', W')` or `(B, 1, H', W')`, of the result's size."""
        made = modulated_conv2d(x, self.weight, self.affine(w), up=self._up)
        made = made + (noise * self.noise_strength).to(x.dtype) + self.bias.to(x.dtype)[:, None, None]
        return _clamped(_rectified(made), self._clamp)


class ToRGB(nn.Module):
    """Features to a picture, without demodulation."""

    def __init__(self, spec: StyleGanSpec, inputs: int, random: torch.Generator) -> None:
        super().__init__()
        self.affine = Dense(spec.latent, inputs, random, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1, generator=random))
        self.bias = nn.Parameter(torch.zeros(3))
        self._scale, self._clamp = 1 / math.sqrt(inputs), spec.clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """`(B, 3, H, W)` float32."""
        made = modulated_conv2d(x, self.weight, self.affine(w) * self._scale, demodulate=False)
        return _clamped(made.float() + self.bias[:, None, None], self._clamp)


class SynthesisBlock(nn.Module):
    """All layers of one resolution: two convolutions (one at 4x4, from a constant), and a picture."""

    def __init__(self, spec: StyleGanSpec, side: int, random: torch.Generator) -> None:
        super().__init__()
        place = spec.sides.index(side)
        width = spec.widths[place]
        if place:
            self.conv0 = StyledConv(spec, spec.widths[place - 1], side, random, up=True)
        else:
            self.const = nn.Parameter(torch.randn(width, side, side, generator=random))
        self.conv1 = StyledConv(spec, width, side, random, up=False)
        self.torgb = ToRGB(spec, width, random)

    @property
    def convolutions(self) -> tuple[StyledConv, ...]:
        """In order."""
        return (self.conv1,) if hasattr(self, "const") else (self.conv0, self.conv1)


class Synthesis(nn.Module):
    """w to a picture.

    Args:
        spec: the shape.
        random: of the first weights.

    Attributes:
        dtype: of the convolutions; pictures are added up in float32.
    """

    def __init__(self, spec: StyleGanSpec, random: torch.Generator) -> None:
        super().__init__()
        self.spec, self.dtype = spec, torch.float32
        for side in spec.sides:
            self.add_module(f"b{side}", SynthesisBlock(spec, side, random))

    @property
    def blocks(self) -> list[SynthesisBlock]:
        """From coarse to fine."""
        return [cast(SynthesisBlock, self.get_submodule(f"b{side}")) for side in self.spec.sides]

    @property
    def noise(self) -> list[Tensor]:
        """The noise that the file holds, one a convolution, `(H, W)`."""
        return [layer.noise_const for block in self.blocks for layer in block.convolutions]

    def random_noise(self, batch: int, random: torch.Generator) -> list[Tensor]:
        """Other noise, `(batch, 1, H, W)` each."""
        device = self.noise[0].device
        return [torch.randn(batch, 1, *one.shape, generator=random).to(device) for one in self.noise]

    def forward(self, ws: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Pictures `(B, 3, size, size)`, about in [-1, 1], for `ws (B, layers, latent)`; noise as the file has it."""
        noises = iter(self.noise if noise is None else noise)
        place = 0
        image: Tensor | None = None
        x = self.blocks[0].const.to(self.dtype).expand(len(ws), -1, -1, -1)
        for block in self.blocks:
            for layer in block.convolutions:
                x = layer(x, ws[:, place], next(noises))
                place += 1
            made = block.torgb(x, ws[:, place])  # the w of the next block's first layer counts here, too
            image = made if image is None else made + upfirdn2d(image, up=2, pad=(2, 1))
        assert image is not None
        return image


class Generator(nn.Module):
    """z to a picture: `synthesis(spread(mapping(z)))`."""

    def __init__(self, spec: StyleGanSpec, random: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.mapping = Mapping(spec, random)
        self.synthesis = Synthesis(spec, random)

    def spread(self, w: Tensor) -> Tensor:
        """One w for all layers: `(B, latent)` to `(B, layers, latent)`."""
        return w[:, None].expand(-1, self.spec.layers, -1)

    def forward(self, z: Tensor, *, truncation: float = 1.0) -> Tensor:
        """Pictures `(B, 3, size, size)` for z `(B, latent)`."""
        made: Tensor = self.synthesis(self.spread(self.mapping(z, truncation)))
        return made


class Conv(nn.Module):
    """A convolution with equalised learning rate, of the discriminator; it halves if told so."""

    def __init__(
        self, inputs: int, outputs: int, side: int, random: torch.Generator, *, down: bool = False, plain: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side, generator=random))
        self.bias = None if plain else nn.Parameter(torch.zeros(outputs))
        self._scale, self._down, self._side = 1 / math.sqrt(inputs * side**2), down, side

    def forward(self, x: Tensor) -> Tensor:
        """`(B, I, H, W)` to `(B, O, H, W)`, or of half the sides; rectified unless it is plain."""
        kernel = (self.weight * self._scale).to(x.dtype)
        if not self._down:
            made = F.conv2d(x, kernel, padding=self._side // 2)
        elif self._side == 1:
            made = F.conv2d(upfirdn2d(x, down=2, pad=(1, 1)), kernel)
        else:
            made = F.conv2d(upfirdn2d(x, pad=(2, 2)), kernel, stride=2)
        return made if self.bias is None else _rectified(made + self.bias.to(x.dtype)[:, None, None])


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip, which halve the picture; the first block begins with the picture itself."""

    def __init__(self, inputs: int, outputs: int, random: torch.Generator, *, first: bool) -> None:
        super().__init__()
        self.fromrgb = Conv(3, inputs, 1, random) if first else None
        self.conv0 = Conv(inputs, inputs, 3, random)
        self.conv1 = Conv(inputs, outputs, 3, random, down=True)
        self.skip = Conv(inputs, outputs, 1, random, down=True, plain=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features of half the sides."""
        features = x if self.fromrgb is None else self.fromrgb(x)
        made: Tensor = (self.conv1(self.conv0(features)) + self.skip(features)) / _GAIN
        return made


class DiscriminatorEnd(nn.Module):
    """Features of 4x4 to a score."""

    def __init__(self, width: int, random: torch.Generator) -> None:
        super().__init__()
        self.conv = Conv(width + 1, width, 3, random)
        self.fc = Dense(width * 16, width, random)
        self.out = Dense(width, 1, random)

    def forward(self, x: Tensor) -> Tensor:
        """`(B,)`."""
        made = self.conv(torch.cat([x, minibatch_deviation(x)], 1))
        scores: Tensor = self.out(_rectified(self.fc(made.flatten(1).float())))
        return scores[:, 0]


class Discriminator(nn.Module):
    """Pictures to scores: above 0 for what looks real."""

    def __init__(self, spec: StyleGanSpec, random: torch.Generator) -> None:
        super().__init__()
        self.spec, self.dtype = spec, torch.float32
        for place in range(len(spec.sides) - 1, 0, -1):
            block = DiscriminatorBlock(
                spec.widths[place], spec.widths[place - 1], random, first=place == len(spec.sides) - 1
            )
            self.add_module(f"b{spec.sides[place]}", block)
        self.b4 = DiscriminatorEnd(spec.widths[0], random)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(B,)` of pictures `(B, 3, size, size)` in [-1, 1]."""
        x = images.to(self.dtype)
        for side in reversed(self.spec.sides[1:]):
            x = self.get_submodule(f"b{side}")(x)
        scores: Tensor = self.b4(x)
        return scores


def minibatch_deviation(x: Tensor) -> Tensor:
    """`(B, 1, H, W)`: how much the pictures of a group differ, which is the same at all places.

    Groups are of four pictures, or of the whole batch where four do not divide it. Paper: arXiv:1710.10196, section 3.
    """
    batch, _, height, width = x.shape
    group = _GROUP if batch % _GROUP == 0 else batch
    apart = x.float().reshape(group, -1, *x.shape[1:])  # (group, B / group, C, H, W)
    deviation = (apart.var(0, unbiased=False) + _EPSILON).sqrt().mean((1, 2, 3))
    return deviation.repeat(group).to(x.dtype)[:, None, None, None].expand(-1, 1, height, width)


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE) * _GAIN


def _clamped(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else x.clamp(-clamp, clamp)
