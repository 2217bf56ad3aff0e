"""The controls through the engine, with tiny networks."""

import numpy as np
import pytest
import torch

from impasto import images
from impasto.contract import Guide, Job
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.methods import registry
from impasto.methods.optimize.method import Optimize
from impasto.methods.recipes import mixtures, round_trip
from impasto.methods.settings import OptimizeKnobs
from impasto.ops import color
from tiny import noise, style_of


def picture(height=48, width=64, seed=0):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


CONTENT, STYLE, OTHER = picture(), picture(64, 64, seed=1), picture(64, 64, seed=2)
LEFT = np.zeros((48, 64), np.float32)
LEFT[:, :32] = 1
QUALITIES = ["draft", "good"]


def paint(engine, styles=STYLE, *, quality="draft", notes=None, **controls):
    knobs = {"steps": 2} if quality == "good" else {}
    knobs["strength"] = controls.pop("strength", None)
    request = Request(quality=quality, knobs=knobs, controls=Controls(**controls))
    on_note = (lambda note: None) if notes is None else notes.append
    return engine.stylize(CONTENT, styles, request, on_note=on_note)


def luma(pixels):
    return color.luma(images.to_tensor(pixels))


@pytest.mark.parametrize("quality", QUALITIES)
def test_kept_luminance_is_that_of_the_pastiche(engine, quality):
    plain, kept = paint(engine, quality=quality), paint(engine, quality=quality, keep_color="luminance")
    assert (luma(plain.picture.pixels) - luma(kept.picture.pixels)).abs().max() < 1e-5
    assert np.abs(plain.picture.pixels - kept.picture.pixels).mean() > 1e-3


def test_matched_histograms_change_the_style_only(engine):
    plain, kept = paint(engine, 0.2 * STYLE), paint(engine, 0.2 * STYLE, keep_color="histogram")
    assert np.abs(plain.picture.pixels - kept.picture.pixels).mean() > 1e-3
    assert kept.record["controls"] == {"keep_color": "histogram"}


def test_colour_only_paints_nothing(engine):
    result = paint(engine, quality=None, color_only=True)
    assert result.record["method"] == "color"
    mean, wanted = result.picture.pixels.mean((0, 1)), STYLE.mean((0, 1))
    assert np.abs(mean - wanted).max() < 0.02
    assert np.array_equal(paint(engine, quality=None, color_only=True, strength=0).picture.pixels, CONTENT)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("keep_color", [None, "luminance"])
def test_without_a_style_the_rest_stays_the_photograph(engine, quality, keep_color):
    result = paint(engine, [], quality=quality, regions=((LEFT, STYLE),), keep_color=keep_color)
    assert np.array_equal(result.picture.pixels[:, 32:], CONTENT[:, 32:])
    assert np.abs(result.picture.pixels[:, :32] - CONTENT[:, :32]).mean() > 1e-3
    assert result.record["regions"][0]["mask"] == "mask"


@pytest.mark.parametrize("quality", QUALITIES)
def test_preserved_parts_are_the_photograph_to_the_bit(engine, quality):
    result = paint(engine, quality=quality, preserve=LEFT)
    assert np.array_equal(result.picture.pixels[:, :32], CONTENT[:, :32])
    assert not np.array_equal(result.picture.pixels[:, 32:], CONTENT[:, 32:])


def test_feathering_goes_so_far_and_no_further(engine):
    result = paint(engine, [], regions=((LEFT, STYLE),), feather=8)
    assert np.array_equal(result.picture.pixels[:, 36:], CONTENT[:, 36:])
    assert not np.array_equal(result.picture.pixels[:, 32:36], CONTENT[:, 32:36])


def test_masks_of_another_size_and_overlaps_are_told(engine):
    notes = []
    paint(engine, STYLE, regions=((LEFT[::2, ::2], OTHER), (np.ones((48, 64), np.float32), STYLE)), notes=notes)
    assert any("32x24 px: resized to 64x48" in note for note in notes)
    assert any("overlap" in note for note in notes)


def test_a_strength_map_of_zero_is_the_photograph(engine):
    result = paint(engine, strength_map=LEFT)
    assert np.array_equal(result.picture.pixels[:, 32:], CONTENT[:, 32:])


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"preserve": np.zeros((48, 64), np.float32)}, "all black"),
        ({"keep_color": "hue"}, "luminance, histogram"),
        ({"keep_color": "luminance", "color_only": True}, "contradict"),
        ({"feather": -1}, "--feather"),
        ({"feather": float("nan")}, "--feather"),
        ({"protect_faces": 1.5}, "--protect-faces"),
        ({"regions": (("sujet", STYLE),)}, "is no mask"),
    ],
)
def test_senseless_controls(engine, controls, words):
    with pytest.raises(InputError) as caught:
        paint(engine, **controls)
    assert words in caught.value.message + caught.value.hint


def test_a_method_that_honours_no_regions_says_which_do(engine, monkeypatch):
    rows = [registry.Method(**{**row.__dict__, "honours": frozenset()}) for row in registry.BUILT_IN[:1]]
    monkeypatch.setattr(registry, "BUILT_IN", (*rows, *registry.BUILT_IN[1:]))
    with pytest.raises(InputError, match="cannot honour regions") as caught:
        paint(engine, regions=((LEFT, STYLE),))
    assert "optimize" in caught.value.hint


def test_mixtures_go_from_style_to_style():
    assert mixtures(2, 5)[1] == (0.75, 0.25)
    square = mixtures(4, 5)
    assert [square[0], square[4], square[20], square[24]] == [tuple(float(i == j) for j in range(4)) for i in range(4)]
    assert all(sum(shares) == pytest.approx(1) for shares in square + round_trip(4, 6))
    assert round_trip(2, 3)[0] == (1, 0)
    assert round_trip(2, 3)[3] == (0, 1)


def test_the_ends_of_a_mix_are_the_styles_alone(engine):
    request = Request(quality="draft")
    first, middle, last = engine.mix(CONTENT, [STYLE, OTHER], mixtures(2, 3), request)
    assert np.array_equal(first.picture.pixels, engine.stylize(CONTENT, STYLE, request).picture.pixels)
    assert np.array_equal(last.picture.pixels, engine.stylize(CONTENT, OTHER, request).picture.pixels)
    assert not np.array_equal(middle.picture.pixels, first.picture.pixels)
    with pytest.raises(InputError, match="sum to 0"):
        list(engine.mix(CONTENT, [STYLE, OTHER], [(0, 0)], request))


def seam(pixels):
    """The step across the wrap in standard deviations above the steps inside, worst of both directions."""
    found = []
    for axis in (0, 1):
        inside = np.abs(np.diff(pixels, axis=axis)).mean(axis=(1 - axis, 2))
        across = np.abs(pixels.take(0, axis) - pixels.take(-1, axis)).mean()
        found.append((across - inside.mean()) / inside.std())
    return max(found)


def test_a_texture_has_the_size_asked_for_and_its_seed(engine):
    request = Request(knobs={"steps": 4})
    first, again = (engine.texture(STYLE, size=72, request=request).picture.pixels for _ in range(2))
    assert first.shape == (72, 72, 3)
    assert np.array_equal(first, again)
    with pytest.raises(InputError, match="size is 20"):
        engine.texture(STYLE, size=20)


def test_a_seamless_texture_tiles(engine):
    notes = []
    request = Request(knobs={"steps": 8})
    result = engine.texture(STYLE, size=70, seamless=True, request=request, on_note=notes.append)
    assert result.picture.pixels.shape == (64, 64, 3)
    assert "64 px" in notes[0]
    assert seam(result.picture.pixels) < 2.5
    assert seam(result.picture.pixels[:-8]) > 2.5  # cut where it does not tile
    assert result.record["texture"] == {"size": 64, "seamless": True}


def test_a_wrapped_descent_knows_no_edge(tiny_weights, placement):
    """Rolled noise grows into the rolled texture, over two levels: where the border lies is nowhere known, so a step
    across it is drawn from what lies inside. (With mirrored borders the difference is thousands of times larger.)"""
    optimize = Optimize(tiny_weights, placement)
    knobs = OptimizeKnobs(steps=3, coarsest=64, border="wrap", init="file", content_weight=0.0)
    code = optimize.encode_style(style_of(noise(128, 128, seed=3), canvas=(128, 128)), knobs)
    start, blank = noise(128, 128, seed=1), torch.full((1, 3, 128, 128), 0.5)

    def grown(image):
        return optimize.stylize(blank, [Job(code, knobs, Guide(init=image))])

    here, there = grown(start), grown(start.roll((32, 64), (2, 3)))
    assert (here - start).abs().mean() > 1e-3
    torch.testing.assert_close(here.roll((32, 64), (2, 3)), there, atol=1e-4, rtol=0)


def test_a_wrapped_encoder_sees_no_edge(tiny_weights, placement):
    from impasto.models.encoder_specs import VGG19
    from impasto.models.encoders import Encoder

    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], placement)
    image = noise(64, 64)
    here = encoder(image, ["relu3_1"], wrap=True)["relu3_1"]
    there = encoder(image.roll((16, 24), (2, 3)), ["relu3_1"], wrap=True)["relu3_1"]
    torch.testing.assert_close(here.roll((4, 6), (2, 3)), there, atol=1e-4, rtol=1e-4)
