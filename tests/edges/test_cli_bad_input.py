"""What bad input gets: two lines, the right exit code, no traceback, no output file."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

PAINTING = "museum:436535"


def big_png(path, side):
    """A PNG whose header promises `side` x `side` pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_missing_file(refused, tmp_path):
    assert "nowhere.jpg" in refused("stylize", tmp_path / "nowhere.jpg", "--style", PAINTING)


def test_missing_style_file(refused, picture_file):
    assert "nowhere.jpg" in refused("stylize", picture_file(), "--style", "nowhere.jpg")


def test_folder_as_style(refused, picture_file, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "a folder without pictures" in refused("stylize", picture_file(), "--style", f"{tmp_path}/empty/")


def test_layer_that_no_decoder_is_trained_for(refused, tmp_path):
    said = refused("train", "decoder", "--layer", "relu9_1", "--content", tmp_path, "-o", tmp_path / "out.safetensors")
    assert "--layer is 'relu9_1'" in said
    assert "one of relu1_1, relu2_1, relu3_1, relu4_1, relu5_1" in said


def test_folder_without_pictures(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refused("stylize", tmp_path / "empty", "--style", PAINTING)


def test_empty_file(refused, tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refused("stylize", tmp_path / "empty.jpg", "--style", PAINTING)


def test_a_quality_where_nothing_is_lost(refused, picture_file, tmp_path):
    asked = ("--style", PAINTING, "-q", "draft", "--jpeg-quality")
    assert "means nothing to PNG" in refused("stylize", picture_file(), *asked, "80", "-o", tmp_path / "out.png")
    assert "means nothing to PNG" in refused("stylize", picture_file(), *asked, "80")
    assert "quality of 101" in refused("stylize", picture_file(), *asked, "101", "-o", tmp_path / "out.jpg")


def test_truncated_jpeg(refused, picture_file, tmp_path):
    whole = picture_file("whole.jpg", 256, 256).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    refused("stylize", tmp_path / "cut.jpg", "--style", PAINTING, "-q", "draft")


def test_text_named_jpg(refused, tmp_path):
    (tmp_path / "note.jpg").write_text("this is not a picture\n" * 20)
    refused("stylize", tmp_path / "note.jpg", "--style", PAINTING)


def test_one_pixel(refused, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert "1x1" in refused("stylize", tmp_path / "dot.png", "--style", PAINTING)


def test_tiny_style(refused, picture_file, tmp_path):
    Image.new("RGB", (12, 9)).save(tmp_path / "dot.png")
    assert "12x9" in refused("stylize", picture_file(), "--style", tmp_path / "dot.png", "-q", "draft")


def test_bomb_is_refused_from_its_header(refused, tmp_path):
    err = refused("stylize", big_png(tmp_path / "bomb.png", 30_000), "--style", PAINTING)
    assert "--max-pixels" in err


def test_bomb_as_style(refused, picture_file, tmp_path):
    assert "--max-pixels" in refused("stylize", picture_file(), "--style", big_png(tmp_path / "bomb.png", 30_000))


@pytest.mark.parametrize("value", ["nan", "-0.5", "inf", "2"])
def test_strength_out_of_range(refused, picture_file, value):
    assert "--strength" in refused("stylize", picture_file(), "--style", PAINTING, "--strength", value)


@pytest.mark.parametrize("flag", ["--content-weight", "--style-weight"])
@pytest.mark.parametrize("value", ["nan", "-1"])
def test_weight_out_of_range(refused, picture_file, flag, value):
    assert flag in refused("stylize", picture_file(), "--style", PAINTING, flag, value)


@pytest.mark.parametrize("weight", ["nan", "-1", "0", "inf"])
def test_style_weight_after_colon(refused, picture_file, weight):
    assert weight in refused("stylize", picture_file(), "--style", f"irises:{weight}")


def test_no_style(refused, picture_file):
    assert "--style" in refused("stylize", picture_file())


def test_unknown_style(refused, picture_file):
    assert "no painting" in refused("stylize", picture_file(), "--style", "invoice of the kubernetes cluster")


def test_ambiguous_style_lists_candidates(refused, picture_file):
    err = refused("stylize", picture_file(), "--style", "van gogh")
    assert "museum:436535 Wheat Field with Cypresses" in err


def test_unknown_method(refused, picture_file):
    assert "did you mean adain?" in refused("stylize", picture_file(), "--style", PAINTING, "--method", "adian")


def test_unknown_quality(refused, picture_file):
    assert "draft, good, best" in refused("stylize", picture_file(), "--style", PAINTING, "--quality", "superb")


def test_unknown_device(refused, picture_file):
    assert "cpu" in refused("stylize", picture_file(), "--style", PAINTING, "--device", "abacus")


def test_knob_of_another_method(refused, picture_file):
    err = refused("stylize", picture_file(), "--style", PAINTING, "--method", "adain", "--steps", "5")
    assert "adain has no --steps" in err


def test_unknown_layer(refused, picture_file):
    err = refused("stylize", picture_file(), "--style", PAINTING, "--style-layers", "relu9_1", "--init", "content")
    assert "relu1_1" in err


@pytest.mark.parametrize(
    "arguments", [["--size", "0"], ["--size", "-5"], ["--max-pixels", "0"], ["--max-memory", "lots"]]
)
def test_senseless_numbers(refused, picture_file, arguments):
    assert arguments[0] in refused("stylize", picture_file(), "--style", PAINTING, *arguments)


def test_usage_errors_too_are_two_lines(refused):
    refused("stylize", "--no-such-flag")
    refused("paint")


def test_too_little_memory_says_what_it_needs(refused, picture_file):
    err = refused("stylize", picture_file(), "--style", PAINTING, "--max-memory", "1MB", "-q", "draft", code=5)
    assert "use --max-memory 0." in err


def test_output_in_a_missing_folder(refused, picture_file, tmp_path):
    refused("stylize", picture_file(), "--style", PAINTING, "-o", tmp_path / "no" / "out.png")


def test_output_under_a_file(refused, picture_file):
    photo = picture_file()
    refused("stylize", photo, "--style", PAINTING, "-o", photo / "out.png")


def test_output_that_would_replace_an_input(refused, picture_file):
    photo = picture_file()
    refused("stylize", photo, "--style", PAINTING, "-o", photo)


def test_output_that_would_replace_a_style(refused, picture_file):
    style = picture_file("style.png")
    refused("stylize", picture_file(), "--style", style, "-o", style)


def test_output_of_unknown_kind(refused, picture_file, tmp_path):
    refused("stylize", picture_file(), "--style", PAINTING, "-o", tmp_path / "out.xyz")


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(("options", "code"), [("size=16k", 5), ("ro,size=1m", 2)])
def test_full_and_read_only_disks(outcome, picture_file, tmp_path, options, code):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        photo = picture_file("photo.png", 160, 120)
        got, _, err = outcome("stylize", photo, "--style", PAINTING, "-q", "draft", "-o", disk / "out.png")
        assert got == code, err
        assert "hint:" in err
        assert "Traceback" not in err
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.process
def test_stdin_that_is_no_picture(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "impasto", "stylize", "-", "--style", PAINTING],
        input=b"hello",
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().splitlines()[0].startswith("error: ")


def test_one_bad_picture_does_not_stop_the_others(outcome, picture_file, tmp_path):
    folder = tmp_path / "holiday"
    folder.mkdir()
    picture_file("holiday/a.png")
    (folder / "b.jpg").write_text("not a picture")
    picture_file("holiday/c.png")
    code, out, err = outcome("stylize", folder, "--style", PAINTING, "-q", "draft", "-o", tmp_path / "painted")
    assert code == 6
    assert len(out.splitlines()) == 2
    assert "b.jpg" in err
    assert "1 of 3 pictures failed" in err
    assert sorted(path.name[0] for path in (tmp_path / "painted").iterdir()) == ["a", "c"]


def test_a_bug_of_ours_is_told_as_one(outcome, monkeypatch, picture_file):
    def broken(*_, **_more):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("impasto.cli.stylize.find_contents", broken)
    code, _, err = outcome("stylize", picture_file(), "--style", PAINTING)
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "report it" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(outcome, picture_file):
    code, _, err = outcome("stylize", picture_file(), "--debug")
    assert code == 2
    assert "Traceback" in err


def test_nothing_is_left_behind_by_a_failing_write(outcome, picture_file, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    photo = picture_file()
    monkeypatch.setattr(os, "replace", full)
    code, _, err = outcome("stylize", photo, "--style", PAINTING, "-q", "draft", "-o", tmp_path / "out.png")
    assert code == 5
    assert "hint:" in err
    assert [path.name for path in Path(tmp_path).iterdir()] == [photo.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "wct"], "method wct has no Keras form"),
        (["--style-loss", "wasserstein"], "--style-loss wasserstein has no Keras form"),
        (["--content-layers", "conv4_2"], "use block4_conv2"),
        (["--preserve", "photo.png"], "--preserve has no Keras form"),
        (["--resume"], "--resume is not for --backend jax"),
        (["--preview", "seen.png"], "--preview is not for --backend jax"),
        (["--runtime", "onnx"], "--runtime is not for --backend jax"),
        (["--precision", "float64"], "--backend jax does not compute in float64"),
    ],
)
def test_what_has_no_keras_form_is_found_out_without_keras(refused, picture_file, monkeypatch, words, message):
    photo = picture_file("photo.png")
    monkeypatch.chdir(photo.parent)
    assert message in refused("stylize", photo, "--style", picture_file("s.png", seed=1), "--backend", "jax", *words)
    assert "keras" not in sys.modules
