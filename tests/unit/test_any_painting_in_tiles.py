"""MicroAST and attention in tiles are what they are in one piece, paintings too."""

import pytest
import torch

from impasto.contract import Guide, Job, Placement, Region, Style, StyleImage, cancelled_by
from impasto.errors import Cancelled
from impasto.methods import registry
from impasto.methods.attention import Attention
from impasto.methods.microast import MicroAST
from impasto.methods.settings import AttentionKnobs, MicroASTKnobs
from impasto.ops.tiles import as_float
from tiny import noise, tiny_decoder_weights, tiny_encoder_weights, tiny_microast

DOUBLE = Placement(precision="float64")
KNOBS = {"microast": MicroASTKnobs, "attention": AttentionKnobs}


def doubled(weights):
    return {name: tensor.double() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def methods():
    both = {"vgg19-normalised": doubled(tiny_encoder_weights()), "adain-decoder": doubled(tiny_decoder_weights())}
    return {"microast": MicroAST({"microast": doubled(tiny_microast())}, DOUBLE), "attention": Attention(both, DOUBLE)}


@pytest.fixture(params=["microast", "attention"])
def name(request):
    return request.param


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr("impasto.methods.transfer.side_within", lambda *_, **__: 40)
    monkeypatch.setattr("impasto.methods.coded_tiles.side_within", lambda *_, **__: 64)


def code_of(methods, name, seed, memory=None):
    style = Style((StyleImage(noise(72, 100, seed=seed).double()),), memory=memory)
    return methods[name].encode_style(style, KNOBS[name]())


def guide_of(methods, name, kind, height, width):
    mask = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(9))
    mask[..., : width // 4] = 0
    one, two = (code_of(methods, name, seed) for seed in (5, 6))
    return {
        "plain": Guide(),
        "strength": Guide(strength=mask),
        "regions": Guide(regions=(Region(mask, one), Region((1 - mask) * 0.5, two))),
    }[kind]


@pytest.mark.parametrize("kind", ["plain", "strength", "regions"])
@pytest.mark.parametrize(("height", "width"), [(16, 100), (101, 155)])
def test_a_picture_in_tiles_is_the_picture_in_one_piece(methods, name, kind, height, width):
    content = (0.7 * noise(height, width, seed=1) + 0.3 * torch.rand(1, 3, height, width)).double()
    guide, code, knobs = guide_of(methods, name, kind, height, width), code_of(methods, name, 5), KNOBS[name](0.8)
    whole = methods[name].stylize(content, [Job(code, knobs, guide)])
    tiled = methods[name].stylize(content, [Job(code, knobs, guide, memory=1)])
    assert (whole - content).abs().mean() > 0.01
    assert (tiled - whole).abs().max() < 1e-5


def test_a_painting_is_encoded_in_tiles(methods, name):
    whole, tiled = (code_of(methods, name, 3, memory).tensors for memory in (None, 1))
    assert set(whole) == set(tiled)
    for key, tensor in whole.items():
        torch.testing.assert_close(tiled[key], tensor, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_a_large_painting_is_looked_at_in_the_same_places(methods, monkeypatch):
    monkeypatch.setattr("impasto.methods.attention.PLACES", 20)
    whole, tiled = (code_of(methods, "attention", 3, memory).tensors for memory in (None, 1))
    assert len(whole["keys"]) <= 20
    torch.testing.assert_close(tiled["values"], whole["values"], rtol=1e-5, atol=1e-5, check_dtype=False)


def test_what_is_hidden_of_a_painting_in_tiles_does_not_count(methods, name):
    pixels, seen = noise(80, 120, seed=4).double(), torch.zeros(1, 1, 80, 120)
    seen[..., :60] = 1
    whole, tiled = (
        methods[name].encode_style(Style((StyleImage(pixels, seen=seen),), memory=memory), KNOBS[name]()).tensors
        for memory in (None, 1)
    )
    for key, tensor in whole.items():
        torch.testing.assert_close(tiled[key], tensor, rtol=1e-3, atol=1e-4, check_dtype=False)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_codes_in_codes_out(methods, name, dtype):
    top = torch.iinfo(dtype).max
    content = (noise(60, 90, seed=2) * top).round().to(dtype)
    job = Job(code_of(methods, name, 5), KNOBS[name](), memory=1)
    painted = methods[name].stylize(content, [job])
    assert painted.dtype == dtype
    floats = methods[name].stylize(as_float(content).double(), [job])
    assert (as_float(painted) - floats).abs().max() < 0.5 / top + 1e-4


def test_progress_counts_tiles_and_ends_with_a_preview(methods, name):
    reports = []
    job = Job(code_of(methods, name, 5), KNOBS[name](), memory=1)
    methods[name].stylize(noise(80, 80).double(), [job], reports.append)
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert reports[-1].step == reports[-1].total == 3 * 4  # two cuts a side
    assert reports[-1].preview.shape[1] == 3


def test_it_stops_between_two_tiles(methods, name):
    checks = []

    def check():
        checks.append(1)
        if len(checks) == 3:
            raise Cancelled("stopped")

    job = Job(code_of(methods, name, 5), KNOBS[name](), memory=1)
    with cancelled_by(check), pytest.raises(Cancelled):
        methods[name].stylize(noise(80, 80).double(), [job])
    assert len(checks) == 3


def test_what_tiles_take_does_not_grow_with_the_network_but_little_with_the_picture(name):
    costs, place = registry.find(name).costs(), Placement()
    small, large = (costs.least_memory(side, side, KNOBS[name](), place) for side in (1000, 10_000))
    assert small < 1.2e9
    assert large - small <= 1.0 * (10_000**2 - 1000**2)
