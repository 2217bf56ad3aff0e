"""Pictures painted in tiles, and kept as codes, are the pictures that would have been painted in one piece."""

import pytest
import torch

from impasto.contract import Guide, Job, Placement, Region, Style, StyleImage, cancelled_by, check_cancelled
from impasto.errors import Cancelled
from impasto.methods.adain import AdaIN
from impasto.methods.optimize.fitting import Fit, fit
from impasto.methods.optimize.method import Optimize
from impasto.methods.settings import AdaINKnobs, OptimizeKnobs
from impasto.ops.tiles import WindowedImage, as_float, pad_to_multiple
from impasto.ops.tiling import side_within, tiles_of
from tiny import noise, tiny_decoder_weights, tiny_encoder_weights

DOUBLE = Placement(precision="float64")


def doubled(weights):
    return {name: tensor.double() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def adain():
    weights = {"vgg19-normalised": doubled(tiny_encoder_weights()), "adain-decoder": doubled(tiny_decoder_weights())}
    return AdaIN(weights, DOUBLE)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("impasto.methods.transfer.side_within", lambda *_, **__: 40)


def guides(height, width):
    generator = torch.Generator().manual_seed(9)
    mask = torch.rand(1, 1, height, width, generator=generator)
    mask[..., : width // 4] = 0
    code = AdaINCode()
    return {
        "plain": Guide(),
        "strength": Guide(strength=mask),
        "regions": Guide(regions=(Region(mask, code.one), Region((1 - mask) * 0.5, code.two))),
    }


class AdaINCode:
    """Two styles as seen by the tiny network, in float64."""

    def __init__(self):
        weights = {
            "vgg19-normalised": doubled(tiny_encoder_weights()),
            "adain-decoder": doubled(tiny_decoder_weights()),
        }
        method = AdaIN(weights, DOUBLE)
        self.one, self.two = (
            method.encode_style(Style((StyleImage(noise(72, 64, seed=seed).double()),)), AdaINKnobs())
            for seed in (5, 6)
        )


@pytest.mark.parametrize("guide", ["plain", "strength", "regions"])
@pytest.mark.parametrize(("height", "width"), [(16, 100), (101, 155)])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_adain_in_tiles_is_adain_in_one_piece(adain, small_tiles, guide, height, width, strength):
    content = 0.7 * noise(height, width, seed=1) + 0.3 * torch.rand(1, 3, height, width)
    guide = guides(height, width)[guide]
    job = Job(AdaINCode().one, AdaINKnobs(strength=strength), guide)
    whole = adain.stylize(content, [job])
    tiled = adain.stylize(content, [Job(job.code, job.knobs, guide, memory=1)])
    assert (tiled - whole).abs().max() < 1e-6  # features are float64, pictures float32


def test_a_style_is_encoded_in_tiles(adain, small_tiles):
    image = StyleImage(noise(99, 130, seed=3).double())
    whole = adain.encode_style(Style((image,)), AdaINKnobs())
    tiled = adain.encode_style(Style((image,), memory=1), AdaINKnobs())
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(tiled.tensors[name], tensor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_codes_in_codes_out(adain, small_tiles, dtype):
    top = torch.iinfo(dtype).max
    content = (noise(60, 90, seed=2) * top).round().to(dtype)
    job = Job(AdaINCode().one, AdaINKnobs(), memory=1)
    painted = adain.stylize(content, [job])
    assert painted.dtype == dtype
    floats = adain.stylize(as_float(content).double(), [job])
    assert (as_float(painted) - floats).abs().max() < 0.5 / top + 1e-5


def test_progress_counts_tiles_and_ends_with_a_preview(adain, small_tiles):
    reports = []
    adain.stylize(noise(80, 80).double(), [Job(AdaINCode().one, AdaINKnobs(), memory=1)], reports.append)
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert reports[-1].step == reports[-1].total == 2 * 4
    assert reports[-1].preview.shape[1] == 3


def test_a_sheet_reads_what_padding_would_give():
    pixels = torch.randint(0, 256, (1, 3, 37, 50), dtype=torch.uint8)
    sheet, padded = WindowedImage(pixels, 16, least=32), pad_to_multiple(pixels.float() / 255, 16, least=32)
    assert sheet.sides == tuple(padded.shape[2:])
    torch.testing.assert_close(sheet.whole(), padded)
    for tile in tiles_of(sheet.sides, 32, stride=16):
        torch.testing.assert_close(sheet.crop(tile, 7), tile.crop(padded, 7))


def test_a_tile_and_its_margins_fit_the_memory():
    side = side_within(10_000_000, 100.0, margin=70, stride=16)
    assert side % 16 == 0
    assert (side + 140) ** 2 * 100 <= 10_000_000 < (side + 16 + 140) ** 2 * 100
    assert side_within(1, 100.0, margin=70, stride=16) == 16


@pytest.fixture(scope="module")
def optimize():
    return Optimize({"vgg19-normalised": doubled(tiny_encoder_weights())}, DOUBLE)


def style_code(method, knobs, canvas, seed=5, memory=None):
    image = StyleImage(noise(90, 110, seed=seed).double())
    return method.encode_style(Style((image,), canvas, memory=memory), knobs)


@pytest.mark.parametrize("kind", ["plain", "regions", "strength"])
@pytest.mark.parametrize(("height", "width", "near"), [(64, 112, 1e-5), (75, 101, 0.02)])
def test_optimize_in_tiles_is_optimize_in_one_piece(optimize, monkeypatch, kind, height, width, near):
    knobs = OptimizeKnobs(steps=6, coarsest=64, init="draft", optimizer="adam", learning_rate=0.01)
    content = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)).double()
    code, other = (style_code(optimize, knobs, (height, width), seed=seed) for seed in (5, 6))
    mask = noise(height, width, seed=2)[:, :1].double()
    regions = (Region(mask, code), Region(0.5 * (1 - mask), other))
    draft = (content + 0.3 * torch.rand(content.shape, generator=torch.Generator().manual_seed(2))) / 1.3
    guide = {"plain": Guide(draft), "regions": Guide(draft, regions=regions), "strength": Guide(draft, strength=mask)}
    whole = optimize.stylize(content, [Job(code, knobs, guide[kind])])
    monkeypatch.setattr("impasto.methods.optimize.method.fit", lambda *_: Fit(48, "adam", 10))
    tiled = optimize.stylize(content, [Job(code, knobs, guide[kind], memory=1)])
    assert (whole - draft).abs().mean() > 0.002
    # a picture that is extended by mirroring has ties in its max pooling there, which rounding breaks either way
    assert (tiled - whole).abs().max() < near
    assert (tiled - whole).abs().mean() < near / 50


def test_style_statistics_in_tiles_are_those_of_the_whole_picture(optimize):
    knobs = OptimizeKnobs(coarsest=64)
    whole, tiled = (style_code(optimize, knobs, (300, 290), memory=memory) for memory in (None, 1))
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(tiled.tensors[name], tensor, rtol=1e-9, atol=1e-9)


def test_the_leanest_descent_takes_codes_and_still_goes_down(optimize):
    knobs = OptimizeKnobs(steps=12, coarsest=64, init="draft", learning_rate=0.03)
    content = (noise(70, 100, seed=1) * 255).round().to(torch.uint8)
    draft = (noise(70, 100, seed=3) * 255).round().to(torch.uint8)
    job = Job(style_code(optimize, knobs, (70, 100)), knobs, Guide(init=draft), memory=1)
    reports = []
    painted = optimize.stylize(content, [job], reports.append)
    assert painted.dtype == torch.uint8
    assert painted.shape == content.shape
    totals = [report.losses["total"] for report in reports if report.losses]
    assert totals[-1] < 0.8 * totals[0]


def test_room_is_given_up_in_order():
    """One piece, tiles, a shorter history, plain pixels; and what a plan takes is within what it was given."""
    knobs, place, sides = OptimizeKnobs(), Placement(precision="bfloat16"), (2048, 2048)
    plans = [fit(sides, knobs, place, memory) for memory in (12 * 10**9, 6 * 10**9, 3 * 10**9, 10**9)]
    assert fit(sides, knobs, place, None) == Fit(None, "lbfgs", 10, winograd=True)
    assert plans[0] == Fit(None, "lbfgs", 10)
    assert plans[1].tile
    assert plans[1].history == 10
    assert 3 <= plans[2].history < 10
    assert plans[3].low_memory
    assert plans[3].optimizer == "adam"
    assert Optimize.least_memory(*sides, knobs, place) < 2 * 10**9


@pytest.mark.parametrize("stop", [1, 5, 40])
def test_a_picture_in_tiles_stops_between_two_of_them_with_the_best_so_far(optimize, monkeypatch, stop):
    monkeypatch.setattr("impasto.methods.optimize.method.fit", lambda *_: Fit(48, "adam", 10))
    knobs = OptimizeKnobs(steps=6, coarsest=64, init="content", optimizer="adam", learning_rate=0.01)
    content = noise(75, 101, seed=1).double()
    job = Job(style_code(optimize, knobs, (75, 101)), knobs, memory=1)
    checks, steps = [], []

    def check():
        checks.append(len(steps))
        if len(checks) == stop:
            raise Cancelled("stopped")

    with cancelled_by(check), pytest.raises(Cancelled) as stopped:
        optimize.stylize(content, [job], steps.append)
    check_cancelled()  # what was asked for in the block counts for it alone
    assert len(checks) == stop
    assert stopped.value.partial.shape == content.shape
    assert (stopped.value.partial - content).abs().max() > (0 if steps[-1:] and steps[-1].step > 1 else -1)


def test_encoding_a_style_in_tiles_stops_between_two_of_them(optimize):
    def check():
        raise Cancelled("stopped")

    with cancelled_by(check), pytest.raises(Cancelled):
        style_code(optimize, OptimizeKnobs(coarsest=64), (300, 290), memory=1)
