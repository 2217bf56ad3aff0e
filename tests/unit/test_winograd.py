"""Convolutions by F(4x4, 3x3) against the direct ones."""

import pytest
import torch
import torch.nn.functional as F

from impasto.contract import STYLE_LAYERS, Placement
from impasto.methods.optimize.fitting import fit, fixed_bytes
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19, Convolution
from impasto.models.encoders import Encoder, winograd_bytes
from impasto.models.winograd import Winograd, from_picture
from tiny import noise


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(maps, weight, bias, mode, precision, pull):
    """Outputs and gradient in the maps: direct in float64, and ours."""
    found = []
    for convolve, dtype in (
        (lambda x, w, b: F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), w, b)), torch.float64),
        (lambda x, w, b: Winograd(w, b)(x, mode), precision),
    ):
        leaf = maps.to(dtype).requires_grad_()
        out = convolve(leaf, weight.to(dtype), bias.to(dtype))
        (gradient,) = torch.autograd.grad(out, leaf, pull.to(dtype))
        found.append((out.detach().double(), gradient.double()))
    return found


def off(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("mode", ["reflect", "circular"])
@pytest.mark.parametrize("sides", [(8, 12), (9, 7), (2, 3), (33, 130)])
def test_it_is_the_convolution(mode, sides):
    maps, weight, bias = drawn(2, 5, *sides), drawn(7, 5, 3, 3, seed=1), drawn(7, seed=2)
    direct, ours = both(maps, weight, bias, mode, torch.float32, drawn(2, 7, *sides, seed=3))
    assert off(ours[0], direct[0]) < 1e-5
    assert off(ours[1], direct[1]) < 1e-5


def test_several_strips_are_one_picture(monkeypatch):
    monkeypatch.setattr("impasto.models.winograd._STRIP", 36 * 4 * 6 * 2)  # two rows of tiles
    monkeypatch.setattr("impasto.models.winograd._PLACES", 1)
    maps, weight, bias = drawn(1, 6, 30, 16), drawn(6, 6, 3, 3, seed=1), drawn(6, seed=2)
    direct, ours = both(maps, weight, bias, "reflect", torch.float32, drawn(1, 6, 30, 16, seed=3))
    assert off(ours[0], direct[0]) < 1e-5
    assert off(ours[1], direct[1]) < 1e-5


@pytest.mark.parametrize(("precision", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_a_convolution_of_the_picture_has_its_gradient(precision, most):
    picture, weight, bias = drawn(2, 3, 12, 17), drawn(64, 3, 3, 3, seed=1), drawn(64, seed=2)
    found = []
    for convolve, dtype in ((F.conv2d, torch.float64), (from_picture, precision)):
        leaf = picture.to(dtype).requires_grad_()
        out = convolve(leaf, weight.to(dtype), bias.to(dtype))
        (gradient,) = torch.autograd.grad(out, leaf, drawn(2, 64, 10, 15, seed=3).to(dtype))
        found += [out.detach().double(), gradient.double()]
    assert off(found[2], found[0]) < most
    assert off(found[3], found[1]) < most


def test_bfloat16_rounds_by_a_hundredth():
    maps, weight, bias = drawn(1, 128, 24, 24).relu(), drawn(128, 128, 3, 3, seed=1) / 30, drawn(128, seed=2)
    direct, ours = both(maps, weight, bias, "reflect", torch.bfloat16, drawn(1, 128, 24, 24, seed=3))
    assert 0.002 < off(ours[0], direct[0]) < 0.015
    # where an output is near zero, rounding decides whether its gradient counts at all
    assert off(ours[1], direct[1]) < 0.15


def test_every_value_counts_in_the_right_place():
    """One pixel at a time, so that no error is hidden in a mean."""
    weight, bias = drawn(1, 1, 3, 3).abs(), torch.zeros(1, dtype=torch.float64)
    for place in range(6 * 6):
        maps = F.one_hot(torch.tensor([place]), 36).double().view(1, 1, 6, 6)
        direct, ours = both(maps, weight, bias, "reflect", torch.float32, maps)
        torch.testing.assert_close(ours[0], direct[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[1], direct[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("one", "placement", "suits"),
    [
        (Convolution("a", 128, 256), Placement(), True),
        (Convolution("a", 128, 256), Placement(precision="bfloat16"), True),
        (Convolution("a", 64, 256), Placement(), False),
        (Convolution("a", 128, 256, stride=2), Placement(), False),
        (Convolution("a", 128, 256, kernel=1), Placement(), False),
        (Convolution("a", 128, 256, activation=""), Placement(), False),
        (Convolution("a", 128, 128, depthwise=True), Placement(), False),
        (Convolution("a", 128, 256), Placement(channels_last=False), False),
        (Convolution("a", 128, 256), Placement("cuda:0"), False),
    ],
)
def test_what_it_suits(one, placement, suits):
    assert Winograd.suits(one, placement) == suits


def encoded(encoder, image, **how):
    leaf = image.clone().requires_grad_()
    features = encoder(leaf, STYLE_LAYERS, **how)
    sum(each.square().mean() for each in features.values()).backward()
    return features, leaf.grad


@pytest.mark.parametrize("wrap", [False, True])
def test_a_quick_encoder_sees_the_same(tiny_weights, wrap):
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    wanted, slope = encoded(encoder, noise(64, 48), wrap=wrap)
    assert not encoder._winograd
    got, quick_slope = encoded(encoder, noise(64, 48), wrap=wrap, winograd=True)
    assert encoder._winograd
    for layer in STYLE_LAYERS:
        torch.testing.assert_close(got[layer], wanted[layer], rtol=1e-3, atol=1e-4)
    assert off(quick_slope, slope) < 0.01


def test_layers_before_the_relu_are_still_there(tiny_weights):
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    leaf = noise(48, 48).requires_grad_()
    got = encoder(leaf, ["conv3_2", "relu3_2"], winograd=True)
    torch.testing.assert_close(F.relu(got["conv3_2"]), got["relu3_2"])


def test_what_needs_no_gradient_is_exact(tiny_weights):
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    assert torch.equal(
        encoder(noise(48, 48), ["relu4_1"], winograd=True)["relu4_1"], encoder(noise(48, 48), ["relu4_1"])["relu4_1"]
    )


def test_its_memory_is_counted():
    whole = winograd_bytes(VGG19, STYLE_LAYERS, Placement(precision="bfloat16"))
    pairs = [(128, 128), (128, 256), *[(256, 256)] * 3, (256, 512), *[(512, 512)] * 4]
    assert whole == 72 * sum(one * other for one, other in pairs)
    assert winograd_bytes(VGG19, ["relu2_2"], Placement()) == 144 * 128 * 128
    assert fixed_bytes(OptimizeKnobs(), Placement(precision="bfloat16")) == whole
    assert fixed_bytes(OptimizeKnobs(checkpointing="on"), Placement()) == 0


def test_a_job_with_a_limit_keeps_no_kernels_twice():
    assert fit((256, 256), OptimizeKnobs(), Placement(), None).winograd
    assert not fit((256, 256), OptimizeKnobs(), Placement(), 10**10).winograd
