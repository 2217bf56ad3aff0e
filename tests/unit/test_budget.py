"""A limit of memory decides between one piece and tiles, or refuses before anything is computed."""

import numpy as np
import pytest

from impasto import images
from impasto.contract import Placement
from impasto.engine import budget
from impasto.engine.request import Request
from impasto.errors import ResourceError
from impasto.methods.recipes import plan
from tiny import noise

BFLOAT = Placement(precision="bfloat16")


def of(quality, sides, *, place=BFLOAT, **settings):
    stages = plan("auto", quality, {})
    return budget.plan(stages, [place] * len(stages), sides, images.Header(sides[1], sides[0], "PNG"), **settings)


def test_what_fits_is_painted_in_one_piece():
    assert not of("good", (720, 960), limit=2 * 10**9).tiled
    assert not of("draft", (1500, 2000), limit=2 * 10**9).tiled


@pytest.mark.parametrize("place", [BFLOAT, Placement()], ids=["bfloat16", "float32"])
@pytest.mark.parametrize(("quality", "side"), [("good", 4096), ("draft", 8192)])
def test_two_gigabytes_hold_what_was_promised(quality, side, place):
    room = of(quality, (side, side), limit=2 * 10**9, place=place)
    assert room.memory == 2 * 10**9
    assert 0 < room.left_for_method(side * side, 0) < room.memory


def test_masks_count():
    alone, masked = (of("draft", (8192, 8192), limit=4 * 10**9, maps=maps) for maps in (0, 1))
    assert masked.left_for_method(8192**2, 0) < alone.left_for_method(8192**2, 0) - 4 * 8192**2
    with pytest.raises(ResourceError):
        of("draft", (8192, 8192), limit=2 * 10**9, maps=3)


def test_regions_count():
    """Each has statistics of its own, which a picture in one piece keeps for the way back."""
    assert not of("good", (800, 800), limit=2 * 10**9).tiled
    assert of("good", (800, 800), limit=2 * 10**9, regions=4, maps=4).tiled


def test_a_limit_too_small_says_what_is_needed_and_that_holds():
    with pytest.raises(ResourceError, match="4096x4096 px in tiles needs") as caught:
        of("good", (4096, 4096), limit=5 * 10**8)
    words = caught.value.hint.split()
    assert words[:2] == ["use", "--max-memory"]
    allowed = int(float(words[2].removesuffix("GB")) * 1e9)
    assert of("good", (4096, 4096), limit=allowed).tiled
    side = int(words[words.index("--size") + 1])
    assert of("good", (side, side), limit=5 * 10**8) is not None


def test_without_a_limit_what_is_free_counts(monkeypatch):
    monkeypatch.setattr("impasto.device.available_memory", lambda on: 3 * 10**9)
    assert not of("good", (1024, 1024)).tiled
    assert of("good", (2048, 2048)).tiled
    with pytest.raises(ResourceError, match="is free"):
        of("good", (9000, 9000))


@pytest.mark.parametrize(
    "settings",
    [
        {"quality": "draft"},
        {"knobs": {"steps": 2, "optimizer": "adam", "content_weight": 1.4}, "quality": "good"},
    ],
)
def test_a_limit_changes_the_way_and_not_the_picture(engine, monkeypatch, settings):
    content, style = ((noise(70, 90, seed=seed)[0].permute(1, 2, 0).numpy() * 255).round() for seed in (1, 2))
    content, style = content.astype(np.uint8), style.astype(np.uint8)
    notes = []
    whole = engine.stylize(content, style, Request(**settings))
    monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 1e12)
    tiled = engine.stylize(content, style, Request(**settings, max_memory=10**9), on_note=notes.append)
    assert any("painted in tiles" in note for note in notes)
    assert tiled.picture.pixels.dtype == np.uint8
    assert whole.picture.pixels.dtype == np.float32
    difference = np.abs(images.as_float(tiled.picture.pixels) - whole.picture.pixels)
    assert difference.max() < 3.5 / 255  # the draft and its smoothed copy are kept in codes between the stages
    assert tiled.record["content"] == whole.record["content"]


def test_codes_go_through_every_control(engine, monkeypatch, tmp_path):
    monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 1e12)
    rgba = (np.random.default_rng(0).random((64, 80, 4)) * 255).astype(np.uint8)
    rgba[..., 3] |= 16  # all of it is visible
    style = (np.random.default_rng(1).random((64, 64, 3)) * 255).astype(np.uint8)
    preserve = np.zeros((64, 80), np.float32)
    preserve[:, :30] = 1
    from impasto.engine.controls import Controls

    for keep in ("luminance", "histogram"):
        controls = Controls(keep_color=keep, preserve=preserve, strength_map=1 - 0.5 * preserve)
        result = engine.stylize(rgba, style, Request(quality="draft", max_memory=10**9, controls=controls))
        assert result.picture.alpha.shape == (64, 80)
        np.testing.assert_array_equal(result.picture.pixels[:, :30], rgba[:, :30, :3])
        assert (result.picture.pixels[:, 40:] != rgba[:, 40:, :3]).any()
        path = result.save(tmp_path / f"{keep}.png")
        np.testing.assert_array_equal(images.read(path, compact=True).pixels, result.picture.pixels)
