"""StyleGAN2's layers on seeded weights, each against the formula of the paper written out slowly."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from impasto.models import stylegan
from impasto.models.stylegan import (
    TAPS,
    Conv,
    Dense,
    Discriminator,
    DiscriminatorBlock,
    Generator,
    StyledConv,
    StyleGanSpec,
    ToRGB,
    minibatch_deviation,
    modulated_conv2d,
    upfirdn2d,
)

SPEC = StyleGanSpec(16, (8, 6, 4), latent=12, depth=3)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def randn(*shape, number=1):
    return torch.randn(*shape, generator=seeded(number), dtype=torch.float64)


def slow_upfirdn(x, up, down, pad):
    """One channel `(H, W)`, by loops: zeros between, zeros around, a sum of 16 products a place, and every other."""
    height, width = x.shape
    zeros = np.zeros((height * up, width * up))
    zeros[::up, ::up] = x
    framed = np.zeros((height * up + sum(pad), width * up + sum(pad)))
    framed[pad[0] : pad[0] + height * up, pad[0] : pad[0] + width * up] = zeros
    kernel = np.outer(TAPS, TAPS)[::-1, ::-1] * up**2
    made = np.zeros((framed.shape[0] - 3, framed.shape[1] - 3))
    for row in range(made.shape[0]):
        for column in range(made.shape[1]):
            made[row, column] = (framed[row : row + 4, column : column + 4] * kernel).sum()
    return made[::down, ::down]


@pytest.mark.parametrize(
    ("up", "down", "pad"),
    [(1, 1, (1, 1)), (1, 1, (2, 2)), (1, 1, (2, 1)), (1, 2, (1, 1)), (2, 1, (2, 1)), (2, 2, (1, 3)), (3, 1, (3, 2))],
)
def test_upfirdn_is_that_of_loops(up, down, pad):
    x = randn(2, 3, 5, 7)
    found = upfirdn2d(x, up=up, down=down, pad=pad)
    for picture, channel in np.ndindex(2, 3):
        wanted = slow_upfirdn(x[picture, channel].numpy(), up, down, pad)
        np.testing.assert_allclose(found[picture, channel].numpy(), wanted, atol=1e-12)


def slow_modulated(x, weight, styles, demodulate):
    """Equations 1 and 3 of the paper, weight by weight, for one picture; the convolution by loops."""
    outputs, inputs, side, _ = weight.shape
    own = np.zeros(weight.shape)
    for o in range(outputs):
        for i in range(inputs):
            own[o, i] = styles[i] * weight[o, i]
        if demodulate:
            own[o] /= math.sqrt((own[o] ** 2).sum() + 1e-8)
    framed = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    made = np.zeros((outputs, *x.shape[1:]))
    for o, row, column in np.ndindex(*made.shape):
        made[o, row, column] = (framed[:, row : row + side, column : column + side] * own[o]).sum()
    return made, own


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_that_of_loops(side, demodulate):
    x, weight, styles = randn(2, 5, 6, 4), randn(3, 5, side, side, number=2), randn(2, 5, number=3)
    found = modulated_conv2d(x, weight, styles, demodulate=demodulate)
    for picture in range(2):
        wanted, _ = slow_modulated(x[picture].numpy(), weight.numpy(), styles[picture].numpy(), demodulate)
        np.testing.assert_allclose(found[picture].numpy(), wanted, atol=1e-10)


def test_doubling_puts_zeros_between_convolves_and_filters():
    """The published way: a true convolution, weights turned round, of features with zeros between; then the filter."""
    x, weight, styles = randn(1, 4, 5, 5), randn(3, 4, 3, 3, number=2), randn(1, 4, number=3)
    _, own = slow_modulated(x[0].numpy(), weight.numpy(), styles[0].numpy(), True)
    made = np.zeros((3, 11, 11))
    for row, column in np.ndindex(5, 5):
        made[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += np.einsum(
            "i,oikl->okl", x[0, :, row, column].numpy(), own
        )
    wanted = np.stack([slow_upfirdn(channel, 1, 1, (1, 1)) for channel in made]) * 4
    found = modulated_conv2d(x, weight, styles, up=True)
    assert found.shape == (1, 3, 10, 10)
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-10)


def test_demodulated_features_keep_their_deviation():
    x, weight = randn(4, 64, 16, 16), randn(32, 64, 3, 3, number=2)
    found = modulated_conv2d(x, weight, 10 * randn(4, 64, number=3))
    assert found[:, :, 1:-1, 1:-1].std() == pytest.approx(1, abs=0.1)


def test_dense_scales_its_weights():
    layer = Dense(5, 3, seeded(), bias=1.0, rate=0.01)
    x = torch.rand(2, 5, generator=seeded(1))
    wanted = x @ layer.weight.T * 0.01 / math.sqrt(5) + layer.bias * 0.01
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(layer.bias * 0.01, torch.ones(3))
    assert Dense(400, 300, seeded(), rate=0.01).weight.std().item() == pytest.approx(100, rel=0.02)


def test_mapping_normalises_and_truncates():
    network = Generator(SPEC, seeded())
    z = torch.randn(3, 12, generator=seeded(1))
    torch.testing.assert_close(network.mapping(z), network.mapping(7 * z))
    x = z / z.square().mean(1, keepdim=True).sqrt()
    for number in range(3):
        layer = network.mapping.get_submodule(f"fc{number}")
        x = F.leaky_relu(x @ (layer.weight * 0.01 / math.sqrt(12)).T + layer.bias * 0.01, 0.2) * math.sqrt(2)
    torch.testing.assert_close(network.mapping(z), x)
    network.mapping.w_avg.fill_(0.25)
    torch.testing.assert_close(network.mapping(z, 0.0), torch.full((3, 12), 0.25))
    torch.testing.assert_close(network.mapping(z, 0.5), 0.25 + 0.5 * (x - 0.25))
    network.mapping.follow(x)
    torch.testing.assert_close(network.mapping.w_avg, 0.998 * torch.full((12,), 0.25) + 0.002 * x.mean(0))


def test_a_styled_convolution_adds_noise_and_bias_before_the_rectifier():
    layer = StyledConv(SPEC, 8, 8, seeded(), up=True)
    with torch.no_grad():
        layer.noise_strength.fill_(0.3)
        layer.bias.copy_(torch.arange(6.0))
    x, w, noise = (torch.rand(*shape, generator=seeded(3)) for shape in ((2, 8, 4, 4), (2, 12), (8, 8)))
    made = modulated_conv2d(x, layer.weight, layer.affine(w), up=True)
    made = made + 0.3 * noise + torch.arange(6.0).view(1, 6, 1, 1)
    torch.testing.assert_close(layer(x, w, noise), torch.where(made > 0, made, 0.2 * made) * math.sqrt(2))


def test_to_rgb_does_not_demodulate():
    layer = ToRGB(SPEC, 6, seeded())
    x, w = torch.rand(2, 6, 4, 4, generator=seeded(1)), torch.rand(2, 12, generator=seeded(2))
    wanted = torch.einsum("oi,bi,bihw->bohw", layer.weight[:, :, 0, 0], layer.affine(w) / math.sqrt(6), x)
    torch.testing.assert_close(layer(x, w), wanted)


def test_synthesis_joins_its_layers():
    """Which w each layer takes, and how the pictures of the blocks add up."""
    network = Generator(SPEC, seeded()).synthesis
    ws = torch.randn(2, SPEC.layers, 12, generator=seeded(1))
    b4, b8, b16 = network.blocks
    x = b4.conv1(b4.const.expand(2, -1, -1, -1), ws[:, 0], b4.conv1.noise_const)
    image = b4.torgb(x, ws[:, 1])
    x = b8.conv0(x, ws[:, 1], b8.conv0.noise_const)
    x = b8.conv1(x, ws[:, 2], b8.conv1.noise_const)
    image = upfirdn2d(image, up=2, pad=(2, 1)) + b8.torgb(x, ws[:, 3])
    x = b16.conv0(x, ws[:, 3], b16.conv0.noise_const)
    x = b16.conv1(x, ws[:, 4], b16.conv1.noise_const)
    image = upfirdn2d(image, up=2, pad=(2, 1)) + b16.torgb(x, ws[:, 5])
    torch.testing.assert_close(network(ws), image)


@pytest.mark.parametrize("down", [True, False])
def test_a_convolution_of_the_discriminator(down):
    layer = Conv(4, 5, 3, seeded(), down=down)
    x = torch.rand(2, 4, 8, 8, generator=seeded(1))
    kernel = layer.weight / math.sqrt(4 * 9)
    if down:
        blurred = np.stack([[slow_upfirdn(c, 1, 1, (2, 2)) for c in picture] for picture in x.numpy()])
        made = F.conv2d(torch.from_numpy(blurred).float(), kernel)[:, :, ::2, ::2]
    else:
        made = F.conv2d(x, kernel, padding=1)
    torch.testing.assert_close(layer(x), F.leaky_relu(made, 0.2) * math.sqrt(2))


def test_a_block_of_the_discriminator_is_residual():
    block = DiscriminatorBlock(4, 6, seeded(), first=True)
    image = torch.rand(2, 3, 8, 8, generator=seeded(1))
    x = block.fromrgb(image)
    halved = np.stack([[slow_upfirdn(c, 1, 2, (1, 1)) for c in picture] for picture in x.detach().numpy()])
    skip = F.conv2d(torch.from_numpy(halved).float(), block.skip.weight / math.sqrt(4))
    torch.testing.assert_close(block(image), (block.conv1(block.conv0(x)) + skip) * math.sqrt(0.5))


def test_the_deviation_is_that_within_a_group():
    x = randn(8, 3, 4, 5)
    found = minibatch_deviation(x)
    for picture in range(8):
        group = x[picture % 2 :: 2]  # the pictures of a group are two apart
        assert found[picture].unique().item() == pytest.approx(group.std(0, unbiased=False).mean().item(), rel=1e-6)
    assert minibatch_deviation(x[:3]).shape == (3, 1, 4, 5)
    assert float(minibatch_deviation(x[:1].expand(4, -1, -1, -1)).max()) < 1e-3


@pytest.mark.parametrize("function", [upfirdn2d, lambda x: upfirdn2d(x, up=2, pad=(2, 1))])
def test_second_derivatives_exist(function):
    """R1 and path lengths are gradients of gradients."""
    x = randn(1, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: function(x).square(), x)
    styles, weight = randn(1, 2, number=2).requires_grad_(), randn(2, 2, 3, 3, number=3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda w, s: modulated_conv2d(x.detach(), w, s, up=True), (weight, styles))


@pytest.mark.parametrize("size", [8, 32])
def test_shapes_and_seeds(size):
    spec = StyleGanSpec.of(size, base=128, most=16, latent=12, depth=2)
    first, second = Generator(spec, seeded()), Generator(spec, seeded())
    z = torch.randn(2, 12, generator=seeded(1))
    assert first(z).shape == (2, 3, size, size)
    torch.testing.assert_close(first(z), second(z))
    assert Discriminator(spec, seeded())(first(z)).shape == (2,)
    assert [tuple(one.shape) for one in first.synthesis.noise[-2:]] == [(size, size)] * 2


def test_published_shapes():
    spec = StyleGanSpec.of(256, base=32768)
    assert (spec.layers, spec.widths) == (14, (512, 512, 512, 512, 512, 256, 128))
    assert stylegan.SIZES[0] == 8


def test_the_bench_counts_and_paints_the_same():
    """The plain reference of `impasto bench gan` gives the picture of ours."""
    from impasto.bench import gan

    network = Generator(SPEC, seeded())
    latents = torch.randn(1, SPEC.layers, 12, generator=seeded(1))
    with torch.no_grad():
        torch.testing.assert_close(gan._plain(network, latents), network.synthesis(latents), atol=1e-4, rtol=1e-4)
    counted = sum(2 * 9 * a * b * side**2 for a, b, side in ((8, 8, 4), (8, 6, 4), (6, 6, 8), (6, 4, 8), (4, 4, 16)))
    counted += 2 * 3 * (8 * 16 + 6 * 64 + 4 * 256)
    assert gan.operations(SPEC) == counted
