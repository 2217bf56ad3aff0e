"""The flags for colour, regions and what to keep, as a person uses them: real weights, small sizes."""

import numpy as np
import pytest
from PIL import Image

from impasto import images
from impasto.cli.parse import parse_region, spell_out
from impasto.errors import InputError
from impasto.videos import probe_video

PAINTING, OTHER = "museum:436535", "museum:436528"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_region_without_a_style_leaves_the_rest_and_is_done_again(run, picture_file, mask_file, tmp_path):
    photo, mask = picture_file(), mask_file()
    target = tmp_path / "out.png"
    run("stylize", photo, "--region", f"{mask}={PAINTING}", "--feather", "4", "-q", "draft", "-o", target)
    assert np.array_equal(pixels(target)[:, 34:], pixels(photo)[:, 34:])
    assert np.abs(pixels(target)[:, :30] - pixels(photo)[:, :30]).mean() > 3
    record = images.read_record(target)
    assert record["regions"] == [
        {"mask": "mask.png", "styles": [{"id": PAINTING, "label": "Wheat Field with Cypresses", "weight": 1.0}]}
    ]
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.array_equal(pixels(again), pixels(target))


def test_every_control_is_recorded_and_repeated(run, outcome, picture_file, mask_file, tmp_path):
    photo, mask, keep = picture_file(), mask_file(), mask_file("keep.png", left=0.2)
    ramp = mask_file("ramp.png", left=0.9, value=180)
    target = tmp_path / "out.png"
    controls = ["--region", f"{mask}={OTHER}", "--preserve", keep, "--strength-map", ramp, "--keep-color", "luminance"]
    _, _, err = outcome(
        *("stylize", photo, "--style", PAINTING, *controls, "--protect-faces", "--feather", "3", "-q", "draft"),
        *("-o", target),
    )
    assert "no face was found" in err
    assert images.read_record(target)["controls"] == {
        "keep_color": "luminance",
        "feather": 3.0,
        "preserve": "keep.png",
        "protect_faces": 0.7,
        "strength_map": "ramp.png",
    }
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.array_equal(pixels(again), pixels(target))


def test_matched_regions_are_recorded_and_repeated(run, outcome, picture_file, tmp_path):
    target = tmp_path / "out.png"
    _, _, err = outcome("stylize", picture_file(), "--style", PAINTING, "--match-regions", "-q", "draft", "-o", target)
    assert "of the photograph" in err
    record = images.read_record(target)
    assert (record["controls"], record["regions"]) == ({"match_regions": True}, [])
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.array_equal(pixels(again), pixels(target))


def test_colour_only_and_again(run, picture_file, tmp_path):
    target = tmp_path / "out.png"
    run("stylize", picture_file(), "--style", PAINTING, "--color-only", "-o", target)
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.array_equal(pixels(again), pixels(target))


def test_a_strip_a_square_and_a_loop(run, picture_file, tmp_path):
    photo = picture_file()
    out = run(
        *("mix", photo, "-s", PAINTING, "-s", OTHER, "-o", tmp_path / "strip.png", "--size", "48"),
        *("--video", tmp_path / "loop.gif", "--frames", "2"),
    )
    assert out.split() == [str(tmp_path / "strip.png"), str(tmp_path / "loop.gif")]
    with Image.open(tmp_path / "loop.gif") as loop:
        assert (loop.n_frames, loop.size) == (4, (48, 36))
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.width > 4 * strip.height / 2


def test_a_loop_as_a_video(run, picture_file, tmp_path):
    loop = tmp_path / "loop.mp4"
    styles = ["-s", PAINTING, "-s", OTHER]
    run("mix", picture_file(), *styles, "-o", tmp_path / "a.png", "--size", "48", "--video", loop, "--frames", "2")
    header = probe_video(loop)
    assert (header.width, header.height) == (48, 36)


def test_a_texture_and_again(run, tmp_path):
    target = tmp_path / "tile.png"
    run("texture", "--style", PAINTING, "--size", "64", "--seamless", "--steps", "2", "-o", target)
    assert pixels(target).shape == (64, 64, 3)
    again = run("redo", target, "-o", tmp_path / "again.png").strip()
    assert np.abs(pixels(again) - pixels(target)).max() <= 1


def test_mask_of_another_size_is_told(outcome, picture_file, mask_file, tmp_path):
    _, _, err = outcome(
        *("stylize", picture_file(), "--region", f"{mask_file(width=20, height=20)}={PAINTING}", "-q", "draft"),
        *("-o", tmp_path / "out.png"),
    )
    assert "mask.png is 20x20 px: resized to 64x48" in err


def test_overlapping_masks_are_told(outcome, picture_file, mask_file, tmp_path):
    one, two = mask_file("one.png", left=0.6), mask_file("two.png", left=0.9)
    _, _, err = outcome(
        *("stylize", picture_file(), "--region", f"{one}={PAINTING}", "--region", f"{two}={OTHER}", "-q", "draft"),
        *("-o", tmp_path / "out.png"),
    )
    assert "regions overlap" in err


def test_black_mask(refused, picture_file, mask_file):
    err = refused("stylize", picture_file(), "--region", f"{mask_file(value=0)}={PAINTING}", "-q", "draft")
    assert "all black" in err


@pytest.mark.parametrize("text", ["mask.png", "mask.png=", "subject", "subject="])
def test_mask_without_style(refused, picture_file, text):
    assert "names no style" in refused("stylize", picture_file(), "--region", text)


@pytest.mark.parametrize("text", [f"={PAINTING}", PAINTING])
def test_style_without_mask(refused, picture_file, text):
    assert "names no mask" in refused("stylize", picture_file(), "--region", text)


@pytest.mark.parametrize("flag", ["--preserve", "--strength-map"])
def test_missing_mask(refused, picture_file, flag):
    assert "nowhere.png" in refused("stylize", picture_file(), "--style", PAINTING, flag, "nowhere.png")


def test_word_that_is_no_mask(refused, picture_file):
    assert "subject, background, person" in refused("stylize", picture_file(), "--region", f"sky={PAINTING}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--keep-color", "hue"],
        ["--feather", "-2"],
        ["--feather", "nan"],
        ["--feather", "20"],
        ["--protect-faces", "2"],
        ["--keep-color", "luminance", "--color-only"],
        ["--color-only", "--method", "optimize"],
    ],
)
def test_senseless_controls(refused, picture_file, arguments):
    assert arguments[0] in refused("stylize", picture_file(), "--style", PAINTING, *arguments)


def test_weights_that_sum_to_zero(refused, picture_file):
    err = refused("stylize", picture_file(), "--style", f"{PAINTING}:0", "--style", f"{OTHER}:0")
    assert "above 0" in err


@pytest.mark.parametrize("styles", [[PAINTING], [PAINTING] * 3])
def test_mix_takes_two_or_four(refused, picture_file, styles):
    assert "two" in refused("mix", picture_file(), *(word for style in styles for word in ("-s", style)))


@pytest.mark.parametrize(
    ("styles", "flags", "words"),
    [
        ([f"{PAINTING}:2", OTHER], [], "has a weight"),
        ([PAINTING, OTHER], ["--size", "8"], "--size is 8"),
        ([PAINTING, OTHER], ["--frames", "0"], "--frames is 0"),
    ],
)
def test_senseless_mixtures(refused, picture_file, styles, flags, words):
    assert words in refused("mix", picture_file(), *(word for style in styles for word in ("-s", style)), *flags)


def test_video_of_unknown_kind(refused, picture_file, tmp_path):
    err = refused("mix", picture_file(), "-s", PAINTING, "-s", OTHER, "--video", tmp_path / "loop.txt")
    assert ".webp, .mp4" in err


def test_texture_too_small(refused):
    assert "64" in refused("texture", "--style", PAINTING, "--size", "8")


def test_mask_that_would_be_replaced(refused, picture_file, mask_file):
    mask = mask_file()
    assert "input" in refused("stylize", picture_file(), "--region", f"{mask}={PAINTING}", "-o", mask)


def test_segmentation_without_its_extra(refused, picture_file, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    err = refused("stylize", picture_file(), "--region", f"subject={PAINTING}", "-q", "draft", code=3)
    assert 'pip install "impasto[segment]"' in err


def test_regions_are_split_at_the_mask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_region("a.png=b.jpg") == ("a.png", "b.jpg")
    (tmp_path / "a=b.png").touch()
    assert parse_region("a=b.png=c.jpg") == ("a=b.png", "c.jpg")
    with pytest.raises(InputError):
        parse_region("")


def test_a_bare_flag_gets_its_amount():
    assert spell_out(["--protect-faces", "--size", "3"]) == ["--protect-faces=0.7", "--size", "3"]
    assert spell_out(["--protect-faces", "0.5"]) == ["--protect-faces", "0.5"]
    assert spell_out(["a", "--protect-faces"]) == ["a", "--protect-faces=0.7"]
