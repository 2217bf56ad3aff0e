"""The engine with tiny networks: what it accepts, checks, caches and records."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from impasto import images
from impasto.contract import Placement
from impasto.engine.plan import predicted_seconds
from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError, ResourceError
from impasto.methods import registry
from impasto.methods.adain import AdaIN
from impasto.methods.recipes import plan
from tiny import noise

QUICK = {"steps": 2}


def picture(height=48, width=64, seed=0):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


CONTENT, STYLE = picture(), picture(64, 64, seed=1)


@pytest.mark.parametrize(
    "convert",
    [
        lambda pixels: pixels,
        lambda pixels: (pixels * 255).round().astype(np.uint8),
        lambda pixels: Image.fromarray((pixels * 255).round().astype(np.uint8)),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    ],
    ids=["floats", "bytes", "PIL", "tensor"],
)
def test_pictures_of_every_kind_come_and_go(engine, convert):
    result = engine.stylize(convert(CONTENT), convert(STYLE), Request(quality="draft"))
    assert result.image.size == (64, 48)
    assert result._repr_png_().startswith(b"\x89PNG")


def test_a_style_is_encoded_once(engine, monkeypatch):
    calls = []
    encode = AdaIN.encode_style
    monkeypatch.setattr(AdaIN, "encode_style", lambda *args: calls.append(1) or encode(*args))
    for seed in range(3):
        engine.stylize(picture(seed=seed), STYLE, Request(quality="draft"))
    engine.stylize(CONTENT, STYLE, Request(quality="draft", knobs={"strength": 0.5}))
    assert len(calls) == 1
    engine.stylize(CONTENT, STYLE, Request(quality="draft", knobs={"style_scale": 0.6}))
    engine.stylize(CONTENT, picture(64, 64, seed=9), Request(quality="draft"))
    assert len(calls) == 3


def test_strength_zero_is_the_photograph_to_the_bit(engine):
    for quality in ("draft", "good"):
        result = engine.stylize(CONTENT, STYLE, Request(quality=quality, knobs={"strength": 0}))
        assert np.array_equal(result.picture.pixels, CONTENT)


def test_the_record_holds_every_knob(engine):
    result = engine.stylize(CONTENT, STYLE, Request(knobs={**QUICK, "init": "noise", "seed": 5}))
    record = result.record
    assert record["method"] == "optimize"
    assert record["stages"] == ["optimize"]
    assert record["knobs"]["seed"] == 5
    assert set(record["knobs"]) == set(registry.find("optimize").load_knobs().__dataclass_fields__)
    assert record["steps"] == 2
    assert result.losses[-1].keys() == {"content", "style", "strokes", "tv", "total", "seconds", "step"}


def test_a_saved_result_carries_its_record(engine, tmp_path):
    result = engine.stylize(CONTENT, STYLE, Request(quality="draft"))
    path = result.save(tmp_path / "out.png")
    assert images.read_record(path)["knobs"] == result.record["knobs"]


def test_cancelling_a_refinement_leaves_the_best_picture(engine):
    def stop(progress):
        if progress.stage.startswith("refining") and progress.step == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled) as caught:
        engine.stylize(CONTENT, STYLE, Request(knobs={"steps": 50}), on_progress=stop)
    assert caught.value.result.picture.pixels.shape == CONTENT.shape
    assert caught.value.result.record["method"] == "optimize"


def test_a_job_too_large_is_refused_before_it_starts(engine):
    with pytest.raises(ResourceError, match=r"8192x6144 px in tiles needs [\d.]+ GB of memory; 1.07 GB may") as caught:
        engine.stylize(CONTENT, STYLE, Request(size=8192, max_memory=1 << 30))
    assert re.fullmatch(r"use --max-memory [\d.]+GB or --size \d+", caught.value.hint)


def test_long_jobs_are_announced(engine):
    stage = plan("optimize", "best", {"steps": 1000, "init": "content"})[0]
    assert predicted_seconds(stage, Placement(), 512, 512) > 10
    assert predicted_seconds(stage, Placement(), 1024, 1024) > 2 * predicted_seconds(stage, Placement(), 512, 512)
    assert predicted_seconds(stage, Placement(), 512, 512, masks=4) > 1.2 * predicted_seconds(
        stage, Placement(), 512, 512
    )


def test_alpha_is_kept_and_resized(engine):
    alpha = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64, 1)
    result = engine.stylize(np.concatenate([CONTENT, alpha], axis=2), STYLE, Request(quality="draft", size=32))
    assert result.picture.alpha.shape == (24, 32)
    assert result.picture.alpha[0, 0] < 0.05
    assert result.picture.alpha[-1, -1] > 0.95


@pytest.mark.parametrize(
    ("styles", "words"),
    [([], "no style"), ([(STYLE, 0.0)], "weight"), ([(STYLE, float("nan"))], "weight"), ([(STYLE, "2")], "weight")],
)
def test_senseless_styles(engine, styles, words):
    with pytest.raises(InputError, match=words):
        engine.stylize(CONTENT, styles, Request(quality="draft"))


@pytest.mark.parametrize("size", [0, -1, 7, 2.5, True])
def test_senseless_sizes(engine, size):
    with pytest.raises(InputError, match="size"):
        engine.stylize(CONTENT, STYLE, Request(quality="draft", size=size))


def test_a_start_of_another_shape_is_refused(engine):
    with pytest.raises(InputError, match="another shape"):
        engine.stylize(CONTENT, STYLE, Request(init=picture(64, 64), knobs=QUICK))


def test_a_method_without_a_start_refuses_one(engine):
    with pytest.raises(InputError):
        engine.stylize(CONTENT, STYLE, Request(method="adain", init="content"))


def test_sixteen_bits_stay_sixteen(engine, tmp_path):
    deep = (CONTENT * 65535).round().astype(np.uint16)
    path = engine.stylize(deep, STYLE, Request(quality="draft")).save(tmp_path / "deep.png")
    assert images.probe(path).bits == 16


@pytest.mark.parametrize("quality", ["good", "best"])
def test_a_method_of_one_pass_has_one_quality(engine, quality):
    with pytest.raises(InputError, match="one quality"):
        engine.stylize(CONTENT, STYLE, Request(method="adain", quality=quality))
    engine.stylize(CONTENT, STYLE, Request(method="adain", quality="draft"))


@pytest.mark.process
def test_wrong_settings_are_told_before_torch_is_loaded(picture_file):
    """Loading it takes seconds; a size or a setting that is none needs no network."""
    code = (
        "import sys, impasto\n"
        "for given in ({'size': 3}, {'steps': -1}, {'method': 'adain', 'quality': 'best'}, {'foo': 1}):\n"
        "    try: impasto.stylize(sys.argv[1], 'irises', **given)\n"
        "    except impasto.InputError: pass\n"
        "    else: sys.exit('accepted')\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(picture_file())], check=True, timeout=600)


@pytest.mark.parametrize(("quality", "knobs"), [("draft", {}), ("good", QUICK)])
def test_few_pixels_keep_the_shape(engine, quality, knobs):
    result = engine.stylize(picture(500, 10), STYLE, Request(quality=quality, size=100, knobs=knobs))
    assert (result.picture.width, result.picture.height) == (2, 100)
    assert np.isfinite(result.picture.pixels).all()


def test_a_side_that_would_vanish_is_refused(engine):
    with pytest.raises(InputError, match="a side of 1000x8 px vanishes") as caught:
        engine.stylize(picture(8, 1000), STYLE, Request(quality="draft", size=40))
    size = int(caught.value.hint.split()[2])
    assert engine.stylize(picture(8, 1000), STYLE, Request(quality="draft", size=size)).picture.height == 1


def test_max_pixels_bounds_results():
    request = Request(size=20_000)
    with pytest.raises(InputError, match="the result would be 20000x15000 px") as caught:
        request.sides(64, 48)
    size = int(caught.value.hint.split()[2].rstrip(","))
    height, width = Request(size=size).sides(64, 48)
    assert 0.99e8 < height * width <= 1e8
    assert Request(size=20_000, max_pixels=300_000_000).sides(64, 48) == (15_000, 20_000)


def test_max_pixels_bounds_textures(engine):
    with pytest.raises(InputError, match="the result would be 20000x20000 px"):
        engine.texture(STYLE, size=20_000)


def test_a_large_picture_is_stopped_before_its_first_step(engine, monkeypatch):
    from impasto.methods.optimize.fitting import Fit

    monkeypatch.setattr("impasto.methods.optimize.method.fit", lambda *_: Fit(48, "adam", 10))
    reports = []

    def stop(progress):
        reports.append(progress)
        if progress.stage == "preparing":
            raise Cancelled("enough")

    request = Request(method="optimize", init="content", knobs={"steps": 5})
    with pytest.raises(Cancelled):
        engine.stylize(CONTENT, STYLE, request, on_progress=stop)
    assert not any(report.losses for report in reports)


@pytest.mark.parametrize("method", ["adain", "wct", "microast", "attention"])
def test_a_style_of_one_colour_is_painted_with_and_told(engine, method):
    photo, notes = np.random.default_rng(0).random((48, 64, 3), np.float32), []
    plain, clear = np.full((48, 48, 3), 0.4, np.float32), np.random.default_rng(1).random((48, 48, 4), np.float32)
    clear[..., 3] = 0
    for style in (plain, clear, photo):
        made = engine.stylize(photo, style, Request(method), on_note=notes.append)
        assert np.isfinite(made.picture.pixels).all()
    assert [note for note in notes if "of one colour" in note] == notes[:2] == [notes[0]] * 2


def test_what_the_content_is_compared_by_makes_another_code(engine):
    """Styles' codes hold how strong their features are, so a cached one must not serve other layers."""
    photo, style = (np.random.default_rng(seed).random((48, 64, 3), np.float32) for seed in range(2))
    for knobs in (
        {"content_loss": "similarity"},
        {"content_weight": 0.0},
        {"content_weight": 1.0},
        {"content_layers": ("relu2_2",)},
        {"content_layers": ("relu3_1", "relu4_2")},
    ):
        made = engine.stylize(photo, style, Request("optimize", knobs={"steps": 1, **knobs}))
        assert np.isfinite(made.picture.pixels).all()
