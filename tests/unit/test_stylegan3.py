"""StyleGAN3's layers on seeded weights, against slow references; its schedule against the published networks'."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch

from impasto.models.stylegan3 import (
    AliasFreeGenerator,
    FilteredConv,
    FourierInput,
    Signal,
    StyleGan3Spec,
    downsampled,
    lowpass,
    upsampled,
)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def small(config="T", size=32):
    return replace(StyleGan3Spec.published(size, config, base=96, most=8), latent=12)


PUBLISHED = {
    "T": "L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 L8_276_203 L9_532_128 "
    "L10_1044_81 L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3",
    "R": "L0_36_1024 L1_36_1024 L2_52_1024 L3_52_1024 L4_84_1024 L5_148_1024 L6_148_1024 L7_276_645 L8_276_406 "
    "L9_532_256 L10_1044_161 L11_1044_102 L12_1044_64 L13_1024_64 L14_1024_3",
}


@pytest.mark.parametrize("config", PUBLISHED)
def test_the_schedule_gives_the_published_layers(config):
    spec = StyleGan3Spec.published(1024, config)
    assert spec.names == tuple(PUBLISHED[config].split())
    assert spec.layers == 16
    assert [round(one.cutoff, 3) for one in spec.signals[:4]] == [2, 3.175, 5.04, 8]
    assert [round(one.half_width, 3) for one in spec.signals[-4:]] == [189.46, 118.346, 118.346, 118.346]


SIGNAL = Signal(cutoff=20.2, half_width=43.8, rate=128, side=148)


@pytest.mark.parametrize(("taps", "half_width"), [(12, 43.8), (24, 9.0), (24, 120.0), (6, 0.5)])
def test_filters_are_kaisers(taps, half_width):
    found = lowpass(taps, replace(SIGNAL, half_width=half_width), 256)
    wanted = scipy.signal.firwin(taps, 20.2, width=2 * half_width, fs=256)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
    assert lowpass(1, SIGNAL, 256) is None


def test_radial_filters_have_circular_symmetry():
    found = lowpass(12, SIGNAL, 256, radial=True)
    beta = scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(12, 2 * 43.8 / 128))
    wanted = np.zeros((12, 12))
    for row, column in np.ndindex(12, 12):
        radius = math.hypot(row - 5.5, column - 5.5) / 256
        wanted[row, column] = scipy.special.j1(2 * math.pi * 20.2 * radius) / (math.pi * radius)
    wanted *= np.outer(np.kaiser(12, beta), np.kaiser(12, beta))
    np.testing.assert_allclose(found.numpy(), wanted / wanted.sum(), atol=1e-6)


def slow_upsampled(x, line, step, pad):
    """`(H, W)` by loops: zeros between, zeros around or cut, and a sum of products a place."""
    stuffed = np.zeros((x.shape[0] * step, x.shape[1] * step))
    stuffed[::step, ::step] = x
    for axis in (0, 1):
        lines = [np.pad(one, (max(pad[0], 0), max(pad[1], 0))) for one in np.moveaxis(stuffed, axis, 0).T]
        lines = [one[max(-pad[0], 0) : len(one) - max(-pad[1], 0)] for one in lines]
        stuffed = np.moveaxis(np.stack([np.convolve(one, line, "valid") for one in lines]).T, 0, axis)
    return stuffed * step**2


@pytest.mark.parametrize(("step", "pad"), [(2, (3, 4)), (4, (-5, -6)), (1, (2, 1))])
def test_upsampling_is_that_of_loops(step, pad):
    x = torch.randn(1, 2, 14, 11, generator=seeded(), dtype=torch.float64)
    line = torch.rand(6 * step, generator=seeded(1), dtype=torch.float64)
    found = upsampled(x, line, step, pad)
    for channel in range(2):
        np.testing.assert_allclose(found[0, channel], slow_upsampled(x[0, channel].numpy(), line.numpy(), step, pad))


@pytest.mark.parametrize("square", [False, True])
def test_downsampling_is_that_of_loops(square):
    x = torch.randn(1, 2, 15, 17, generator=seeded(), dtype=torch.float64)
    line = torch.hann_window(6, periodic=False, dtype=torch.float64) + 0.1
    kernel = torch.outer(line, line)
    found = downsampled(x, kernel if square else line, 2)
    for channel in range(2):
        whole = scipy.signal.convolve2d(x[0, channel], kernel, "valid")
        np.testing.assert_allclose(found[0, channel], whole[::2, ::2])


@pytest.mark.parametrize("config", ["T", "R"])
@pytest.mark.parametrize("number", [2, 6, 13, 14])
def test_a_layer_is_that_of_the_paper(config, number):
    """In float64: weights of mean square 1 scaled by styles and to length 1, then each step written out."""
    spec = small(config)
    layer = FilteredConv(spec, number, seeded()).double()
    with torch.no_grad():
        layer.bias.copy_(torch.rand(len(layer.bias), generator=seeded(1)))
        layer.magnitude_ema.fill_(2.5)
    before, after = spec.signals[number - 1], spec.signals[number]
    x = torch.randn(1, layer.weight.shape[1], before.side, before.side, generator=seeded(2), dtype=torch.float64)
    w = torch.randn(1, 12, generator=seeded(3), dtype=torch.float64)
    last, styles, weight = number == 14, layer.affine(w)[0].detach(), layer.weight.detach()
    if last:
        kernel = weight * styles[:, None, None] / math.sqrt(len(styles))
    else:
        kernel = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
        kernel = kernel * (styles / styles.square().mean().sqrt())[:, None, None]
        kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    made = np.zeros((len(kernel), *(before.side + kernel.shape[2] - 1,) * 2))
    for o, i in np.ndindex(*kernel.shape[:2]):
        made[o] += scipy.signal.correlate2d(x[0, i], kernel[o, i], "full")
    made = made / math.sqrt(2.5) + layer.bias.detach().numpy()[:, None, None]
    if not last:
        up, down = layer.up_filter.double().numpy(), layer.down_filter.double()
        made = np.stack([slow_upsampled(one, up, layer._up, layer._pad) for one in made])
        made = np.where(made > 0, made, 0.2 * made) * math.sqrt(2)
        square = down if down.dim() == 2 else torch.outer(down, down)
        assert (down.dim() == 2) == (config == "R" and number < 12)
        made = [scipy.signal.convolve2d(one, square, "valid")[:: layer._down, :: layer._down] for one in made]
    with torch.no_grad():
        found = layer.float()(x.float(), w.float())
    assert found.shape[2:] == (after.side, after.side)
    np.testing.assert_allclose(found[0].numpy(), np.stack(made), atol=1e-4)


def test_the_input_is_sines_turned_and_shifted():
    spec = small()
    layer = FourierInput(spec, seeded())
    with torch.no_grad():
        layer.affine.weight.copy_(torch.randn(4, 12, generator=seeded(1)) / 3)
    w = torch.randn(1, 12, generator=seeded(2))
    found = layer(w)[0].detach().numpy()
    cos, sin, across, down = layer.affine(w)[0].detach().double().numpy()
    length = math.hypot(cos, sin)
    cos, sin, across, down = cos / length, sin / length, across / length, down / length
    for row, column in ((0, 0), (3, 30), (20, 7)):
        x, y = (column + 0.5 - 18) / 16 - across, (row + 0.5 - 18) / 16 - down
        x, y = cos * x - sin * y, sin * x + cos * y
        freqs, phases = layer.freqs.numpy(), layer.phases.numpy()
        waves = np.sin(2 * np.pi * (freqs[:, 0] * x + freqs[:, 1] * y + phases))
        wanted = layer.weight.detach().numpy() @ waves / math.sqrt(len(waves))
        np.testing.assert_allclose(found[:, row, column], wanted, atol=1e-4)


def test_frequencies_that_would_alias_fade():
    layer = FourierInput(small(), seeded())
    layer.transform.copy_(torch.diag(torch.tensor([20.0, 20.0, 1.0])))
    layer.freqs.copy_(torch.nn.functional.normalize(layer.freqs) * 2)
    assert float(layer(torch.zeros(1, 12)).detach().abs().max()) == 0


def decibels(first, second):
    return float(10 * torch.log10(second.var() / (first - second).square().mean()))


@pytest.mark.parametrize("config", ["T", "R"])
def test_a_shifted_input_gives_the_shifted_picture(config):
    """Away from the border; layers of 16 to 64 samples and their rectifiers keep it."""
    spec = small(config, 64)
    network = AliasFreeGenerator(spec, seeded())
    z = torch.randn(1, 12, generator=seeded(1))
    with torch.no_grad():
        still = network(z)
        network.synthesis.input.transform[0, 2] = -8 / 64  # the inverse: the picture moves to the right
        moved = network(z)
        assert decibels(moved[:, :, 8:-8, 16:-8], still[:, :, 8:-8, 8:-16]) > 30
        assert decibels(moved[:, :, 8:-8, 8:-8], still[:, :, 8:-8, 8:-8]) < 10


@pytest.mark.parametrize("config", ["T", "R"])
def test_gradients_reach_w_and_half_precision_is_near(config):
    network = AliasFreeGenerator(small(config), seeded())
    with torch.no_grad():
        network.synthesis.input.affine.weight.add_(0.1)  # at first it is 0: no w turns or shifts
    z = torch.randn(1, 12, generator=seeded(1))
    ws = network.spread(network.mapping(z)).detach().clone().requires_grad_()
    whole = network.synthesis(ws)
    whole.square().sum().backward()
    assert bool((ws.grad.abs().sum(2) > 0).all())
    network.synthesis.dtype = torch.bfloat16
    assert decibels(network.synthesis(ws).detach(), whole.detach()) > 20
