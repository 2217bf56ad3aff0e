"""StyleGAN3: a generator whose features are signals, not pixels, in plain PyTorch; for networks that others trained.

    w -> turn and shift -> sines on a grid (Fourier features) -> layers -> picture
    layer: modulated convolution -> bias -> up -> leaky rectifier -> down, with a low-pass filter at both steps

A layer keeps only frequencies below its cut-off, which rises from layer to layer, and its grid has a margin around the
picture. So nothing depends on where the pixels lie: turned or shifted sines give the turned or shifted picture.
Configuration T convolves 3x3 with separable filters; R convolves 1x1 and filters downwards with circular symmetry.
Tensors have the names of the published implementation (`synthesis.L0_36_512.affine.weight`, ...).

Paper: arXiv:2106.12423.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from impasto.models.stylegan import Dense, Mapping, modulated_conv2d

LEAST_SIZE = 16
"""Side in pixels of the smallest picture: the input is sampled so often."""

_FIRST_CUTOFF, _FIRST_STOPBAND = 2.0, 2**2.1  # cycles a picture
_LAST_STOPBAND = 2**0.3  # as a factor of the last cut-off
_CRITICAL = 2  # last layers, which keep all that pixels can hold
_MARGIN = 10  # samples around the picture
_TAPS = 6  # of a filter, for each step of up or down
_OUTPUT = 0.25  # scale of the picture
_SLOPE = 0.2
_HALF = 16  # layers that are sampled more than size / 16 times may run in half precision
_CHUNK = 1 << 24  # values of a rectifier's input that are held at once


@dataclass(frozen=True)
class Signal:
    """What a layer gives: frequencies to `cutoff`, fading until `half_width` above it, sampled `rate` times a picture.

    Attributes:
        cutoff, half_width: cycles a picture.
        rate: samples across the picture.
        side: samples across the picture and its margin.
    """

    cutoff: float
    half_width: float
    rate: int
    side: int


@dataclass(frozen=True)
class StyleGan3Spec:
    """The shape of a generator.

    Attributes:
        size: side of the pictures, a power of two, 16 at least.
        widths: channels of each layer but the last, which gives the picture; the first is the input's, too.
        latent, depth, rate, clamp: as of `StyleGanSpec`.
        kernel: side of the convolutions, 3 or 1.
        radial: whether filters downwards have circular symmetry.
    """

    size: int
    widths: tuple[int, ...]
    latent: int = 512
    depth: int = 2
    rate: float = 0.01
    clamp: float | None = 256
    kernel: int = 3
    radial: bool = False

    @classmethod
    def published(
        cls, size: int, config: str, *, base: int = 32768, most: int = 512, layers: int = 14
    ) -> StyleGan3Spec:
        """Configuration `T` or `R`, which has twice the channels; they fall as cut-offs rise, to `most` at most."""
        turning = config == "R"
        base, most = (2 * base, 2 * most) if turning else (base, most)
        cutoffs = _progression(size, layers)[0][:-1]
        widths = tuple(round(min(base / 2 / cutoff, most)) for cutoff in cutoffs)
        return cls(size, widths, kernel=1 if turning else 3, radial=turning)

    @property
    def layers(self) -> int:
        """How many w a picture takes: one for the input, one a layer."""
        return len(self.widths) + 2

    @property
    def bands(self) -> tuple[int, int]:
        """The first w of what finer than 8 px shows, and of what finer than 32 px shows."""
        cutoffs = [signal.cutoff for signal in self.signals]
        return 1 + sum(one <= 4 for one in cutoffs), 1 + sum(one <= 16 for one in cutoffs)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What each layer gives. Paper: section 3.2, and appendix C.1."""
        count = len(self.widths)
        found = []
        for number, (cutoff, stopband) in enumerate(zip(*_progression(self.size, count), strict=True)):
            rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.size)))
            side = self.size if number >= count - 1 else rate + 2 * _MARGIN
            found.append(Signal(cutoff, max(stopband, rate / 2) - cutoff, rate, side))
        return tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers: number, side and channels."""
        pairs = zip(self.signals, (*self.widths, 3), strict=True)
        return tuple(f"L{number}_{signal.side}_{width}" for number, (signal, width) in enumerate(pairs))


def _progression(size: int, layers: int) -> tuple[list[float], list[float]]:
    """Cut-offs, and where stop-bands begin, of each layer and of the last picture: geometric, then constant."""
    shares = [min(number / (layers - _CRITICAL), 1.0) for number in range(layers + 1)]
    last = size / 2

    def rising(first: float, end: float) -> list[float]:
        return [first * (end / first) ** share for share in shares]

    return rising(_FIRST_CUTOFF, last), rising(_FIRST_STOPBAND, last * _LAST_STOPBAND)


def lowpass(taps: int, signal: Signal, rate: float, *, radial: bool = False) -> Tensor | None:
    """A filter at `rate` samples a picture that keeps what a signal keeps.

    A windowed sinc `(taps,)`, or with circular symmetry a windowed jinc `(taps, taps)`; of sum 1, None for one tap.
    Kaiser's window is as wide as the transition asks. Paper: section 3.1, and appendix C.2.
    """
    if taps == 1:
        return None
    at = (np.arange(taps) - (taps - 1) / 2) / rate
    window = np.kaiser(taps, _kaiser_beta(taps, 2 * signal.half_width / (rate / 2)))
    if radial:
        radius = np.hypot(at[:, None], at)
        bessel = torch.special.bessel_j1(torch.from_numpy(2 * np.pi * signal.cutoff * radius)).numpy()
        kernel = bessel / radius * np.outer(window, window)  # an even number of taps: no radius is 0
    else:
        kernel = np.sinc(2 * signal.cutoff * at) * window
    return torch.from_numpy(kernel / kernel.sum()).float()


def _kaiser_beta(taps: int, width: float) -> float:
    """The window's shape for a transition of `width`, as a share of half the sampling rate (Kaiser 1974)."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0


class FourierInput(nn.Module):
    """Sines of fixed frequencies on a grid, turned and shifted as w says.

    Attributes:
        transform: `(3, 3)`, by which the user turns or shifts the picture: the inverse, in units of the picture.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, spec: StyleGan3Spec, random: torch.Generator) -> None:
        super().__init__()
        width, self._signal = spec.widths[0], spec.signals[0]
        self.weight = nn.Parameter(torch.randn(width, width, generator=random))
        self.affine = Dense(spec.latent, 4, random)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        angles = 2 * math.pi * torch.rand(width, generator=random)
        radii = self._signal.cutoff * torch.rand(width, generator=random).sqrt()
        self.register_buffer("freqs", torch.stack([radii * angles.cos(), radii * angles.sin()], 1))
        self.register_buffer("phases", torch.rand(width, generator=random) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor) -> Tensor:
        """`(B, latent)` to `(B, C, side, side)` float32. Paper: section 3.2, "Fourier features", and appendix F."""
        moved = self._moved(w)
        freqs = self.freqs @ moved[:, :2, :2]  # (B, C, 2)
        phases = self.phases + (self.freqs @ moved[:, :2, 2:])[..., 0]
        room = self._signal.rate / 2 - self._signal.cutoff
        loud = (1 - (freqs.norm(dim=2) - self._signal.cutoff) / room).clamp(0, 1)  # what would alias fades
        side, rate = self._signal.side, self._signal.rate
        at = (torch.arange(side, device=w.device) + 0.5 - side / 2) / rate
        x, y = freqs[:, :, 0, None, None] * at, freqs[:, :, 1, None, None] * at[:, None]
        waves = (2 * math.pi * (x + y + phases[:, :, None, None])).sin() * loud[:, :, None, None]
        return torch.einsum("oi,bihw->bohw", self.weight / math.sqrt(len(self.weight)), waves)

    def _moved(self, w: Tensor) -> Tensor:
        """`(B, 3, 3)`: the picture is turned, then shifted, then moved as the user says."""
        asked = self.affine(w)
        cos, sin, across, down = (asked / asked[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -across, zero, one, -down, zero, zero, one], 1).view(-1, 3, 3)
        return turn @ shift @ self.transform


class FilteredConv(nn.Module):
    """A modulated convolution and a filtered leaky rectifier; the last gives the picture and has no rectifier.

    Args:
        spec: the shape.
        number: of the layer.
        random: of the first weights.
    """

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, spec: StyleGan3Spec, number: int, random: torch.Generator) -> None:
        super().__init__()
        before, after = spec.signals[max(number - 1, 0)], spec.signals[number]
        inputs, outputs = spec.widths[max(number - 1, 0)], (*spec.widths, 3)[number]
        self._last, self._clamp = number == len(spec.widths), spec.clamp
        self._half = after.rate * _HALF > spec.size
        side = 1 if self._last else spec.kernel
        self.affine = Dense(spec.latent, inputs, random, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side, generator=random))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones(()))  # mean square of what came in while it was trained
        rate = max(before.rate, after.rate) * (1 if self._last else 2)  # at which it is rectified
        self._up, self._down = rate // before.rate, rate // after.rate
        up_taps, down_taps = (1 if self._last or step == 1 else _TAPS * step for step in (self._up, self._down))
        radial = spec.radial and number < len(spec.widths) - _CRITICAL
        self.register_buffer("up_filter", lowpass(up_taps, before, rate))
        self.register_buffer("down_filter", lowpass(down_taps, after, rate, radial=radial))
        total = (after.side - 1) * self._down + 1 - (before.side + side - 1) * self._up + up_taps + down_taps - 2
        low = (total + self._up) // 2  # so that samples lie between, not on, those before
        self._pad = low, total - low

    def forward(self, x: Tensor, w: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """`x (B, I, H, W)` to `(B, O, side, side)`; `dtype` of the convolution, where it may be a half."""
        styles = self.affine(w)
        if self._last:
            styles = styles / math.sqrt(self.weight.shape[1])
        inner = x.to(dtype if self._half else torch.float32)
        padding = self.weight.shape[2] - 1
        made = modulated_conv2d(inner, self.weight, styles, demodulate=not self._last, padding=padding)
        made = made * self.magnitude_ema.rsqrt().to(made.dtype)
        chunks = -(-made.numel() * self._up**2 // _CHUNK)
        parts = zip(made.chunk(chunks, 1), self.bias.chunk(chunks), strict=True)
        return torch.cat([self._part(part, bias).to(made.dtype) for part, bias in parts], 1)

    def _part(self, x: Tensor, bias: Tensor) -> Tensor:
        if torch.is_grad_enabled() and (x.requires_grad or bias.requires_grad):
            return cast(Tensor, checkpoint(self._rectified, x, bias, use_reentrant=False))  # it is large inside
        return self._rectified(x, bias)

    def _rectified(self, x: Tensor, bias: Tensor) -> Tensor:
        x = upsampled(x.float() + bias[:, None, None], self.up_filter, self._up, self._pad)
        if not self._last:
            x = F.leaky_relu(x, _SLOPE) * math.sqrt(2)
        if self._clamp is not None:
            x = x.clamp(-self._clamp, self._clamp)
        return downsampled(x, self.down_filter, self._down)


def upsampled(x: Tensor, kernel: Tensor | None, step: int, pad: tuple[int, int]) -> Tensor:
    """Put `step - 1` zeros after each place, pad (or cut) both directions, filter by the line `kernel`, keep the mean.

    x: `(B, C, H, W)`.
    """
    if kernel is None:
        return F.pad(x, (*pad, *pad))
    line = kernel.flip(0) * step
    channels, taps = x.shape[1], len(line)
    shapes = ((taps, 1), (step, 1), (0, 0, *pad)), ((1, taps), (1, step), (*pad, 0, 0))
    for window, steps, around in shapes:  # depthwise: a transposed convolution takes thirty times as long here
        stuffed = x.new_zeros(*x.shape[:2], x.shape[2] * steps[0], x.shape[3] * steps[1])
        stuffed[:, :, :: steps[0], :: steps[1]] = x
        x = F.conv2d(F.pad(stuffed, around), line.view(1, 1, *window).expand(channels, 1, *window), groups=channels)
    return x


def downsampled(x: Tensor, kernel: Tensor | None, step: int) -> Tensor:
    """Filter `x (B, C, H, W)` by a line in both directions or by a square, and keep each `step`-th place."""
    if kernel is None:
        return x[:, :, ::step, ::step]
    channels, taps = x.shape[1], len(kernel)
    if kernel.dim() == 2:
        return F.conv2d(x, kernel.expand(channels, 1, taps, taps), stride=step, groups=channels)
    x = F.conv2d(x, kernel.view(1, 1, taps, 1).expand(channels, 1, taps, 1), stride=(step, 1), groups=channels)
    return F.conv2d(x, kernel.view(1, 1, 1, taps).expand(channels, 1, 1, taps), stride=(1, step), groups=channels)


class AliasFreeSynthesis(nn.Module):
    """w to a picture.

    Attributes:
        dtype: of the convolutions of fine layers; all else is in float32.
        noise: none, unlike StyleGAN2's.
    """

    def __init__(self, spec: StyleGan3Spec, random: torch.Generator) -> None:
        super().__init__()
        self.spec, self.dtype = spec, torch.float32
        self.noise: list[Tensor] = []
        self.input = FourierInput(spec, random)
        for number, name in enumerate(spec.names):
            self.add_module(name, FilteredConv(spec, number, random))

    def forward(self, ws: Tensor, noise: object = None) -> Tensor:  # noqa: ARG002 - it has none
        """Pictures `(B, 3, size, size)`, about in [-1, 1], for `ws (B, layers, latent)`."""
        first, *others = ws.float().unbind(1)
        x: Tensor = self.input(first)
        for name, w in zip(self.spec.names, others, strict=True):
            x = self.get_submodule(name)(x, w, self.dtype)
        return x.float() * _OUTPUT


class AliasFreeGenerator(nn.Module):
    """z to a picture: `synthesis(spread(mapping(z)))`."""

    def __init__(self, spec: StyleGan3Spec, random: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.mapping = Mapping(spec, random)
        self.synthesis = AliasFreeSynthesis(spec, random)

    def spread(self, w: Tensor) -> Tensor:
        """One w for all layers: `(B, latent)` to `(B, layers, latent)`."""
        return w[:, None].expand(-1, self.spec.layers, -1)

    def forward(self, z: Tensor, *, truncation: float = 1.0) -> Tensor:
        """Pictures `(B, 3, size, size)` for z `(B, latent)`."""
        made: Tensor = self.synthesis(self.spread(self.mapping(z, truncation)))
        return made
