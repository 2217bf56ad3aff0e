"""`bench gan`: one picture of a StyleGAN2 of published widths, against plain float32 as the paper writes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from impasto import device, images
from impasto.bench.results import machine_row
from impasto.bench.timing import compared, time_in_turns
from impasto.gan.painter import PRECISIONS, Painter
from impasto.metrics import psnr
from impasto.models.stylegan import SIZES, TAPS, Generator, StyledConv, StyleGanSpec, ToRGB
from impasto.models.stylegan_files import StyleGan

_BASE = 32768  # of the published widths: 512 up to 64 px, 256 at 128, 128 at 256


def gan(*, size: int, runs: int) -> dict[str, Any]:
    """Seed to picture, both with the same random weights: a warm network, since all weights cost the same.

    Args:
        size: side of the pictures, a power of two.
        runs: counted rounds.
    """
    assert size in SIZES
    spec = StyleGanSpec.of(size, base=_BASE)
    plain = Generator(spec, torch.Generator().manual_seed(0)).requires_grad_(False)
    network = StyleGan(spec, plain.state_dict())
    placement = device.place(tested=PRECISIONS)
    ours = Painter(network, placement)
    latents = ours.latents([1], truncation=1.0)

    def shipped() -> NDArray[np.float32]:
        [picture] = ours.paint(ours.latents([1], truncation=1.0))
        return picture

    def tutorial() -> NDArray[np.float32]:
        with torch.inference_mode():
            return images.from_tensor(((_plain(plain, latents) + 1) / 2).clamp(0, 1))

    timings = time_in_turns({"ours": shipped, "reference": tutorial}, runs=runs, on_device=placement.device)
    pictures = [lap.last for lap in timings.values() if lap.last is not None]
    return {
        **machine_row(placement),
        "benchmark": "gan",
        **compared(timings),
        "share_of_peak": operations(spec) / timings["ours"].median / device.convolution_rate(placement),
        "psnr_to_reference_db": psnr(*pictures),
        "parameters": sum(one.numel() for one in plain.parameters()),
        "width": size,
        "height": size,
    }


def operations(spec: StyleGanSpec) -> float:
    """Floating-point operations of the convolutions of one picture."""
    total, inputs = 0.0, spec.widths[0]
    for side, width in zip(spec.sides, spec.widths, strict=True):
        doubling = 0 if side == spec.sides[0] else inputs * (side // 2) ** 2
        total += 2 * 9 * width * (doubling + width * side**2) + 2 * 3 * width * side**2
        inputs = width
    return total


def _plain(generator: Generator, latents: Tensor) -> Tensor:
    """`(1, 3, size, size)`: kernels are scaled and normalised for the picture, as the paper writes it."""
    synthesis = generator.synthesis
    x, image, place = synthesis.blocks[0].const[None], None, 0
    for block in synthesis.blocks:
        for layer in block.convolutions:
            up = layer is not block.conv1
            x = _styled(layer, x, latents[:, place], up=up)
            place += 1
        made = _to_rgb(block.torgb, x, latents[:, place])
        image = made if image is None else made + _blurred(_stuffed(image), (2, 1)) * 4
    assert image is not None
    return image


def _styled(layer: StyledConv, x: Tensor, w: Tensor, *, up: bool) -> Tensor:
    kernel = layer.weight * layer.affine(w).view(1, -1, 1, 1)
    kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if up:
        made = _blurred(F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2), (1, 1)) * 4
    else:
        made = F.conv2d(x, kernel, padding=1)
    made = made + layer.noise_strength * layer.noise_const + layer.bias[:, None, None]
    return F.leaky_relu(made, 0.2) * 2**0.5


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    kernel = layer.weight * layer.affine(w).view(1, -1, 1, 1) / layer.weight.shape[1] ** 0.5
    return F.conv2d(x, kernel, layer.bias)


def _stuffed(x: Tensor) -> Tensor:
    """With a zero after each place."""
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return wide


def _blurred(x: Tensor, pad: tuple[int, int]) -> Tensor:
    kernel = torch.outer(torch.tensor(TAPS), torch.tensor(TAPS)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (*pad, *pad)), kernel, groups=x.shape[1])
