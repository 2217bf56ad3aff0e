"""`impasto letters` as users run it: what is written, and what is refused in two lines."""

import json

import numpy as np
import pytest
from PIL import Image

from impasto.videos import probe_video

PAINTING = "museum:436535"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20">{}</svg>'


@pytest.fixture
def quick(outcome, tmp_path, monkeypatch):
    """Runs `impasto letters` at a small size in the folder of the test; returns what came of it."""
    monkeypatch.chdir(tmp_path)

    def go(*arguments, size="96"):
        return outcome("letters", *arguments, "--quality", "draft", "--size", size, "--threads", "1")

    return go


def test_all_files_of_one_run(quick, tmp_path):
    wanted = ("--outline", "irises", "--around", "irises", "--layers", "sheets", "--animate", "title.webp", "--json")
    done = quick("AB", "--style", PAINTING, *wanted, "-o", "title.png")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["text"] == "AB"
    assert said["files"] == ["sheets/0-around.png", "sheets/1-outline.png", "sheets/2-fill.png", "title.webp"]
    assert said["legibility"] > 1
    with Image.open("title.png") as title:
        assert title.mode == "RGBA"
        assert title.width == 96 == said["width"]
        whole = np.asarray(title, np.float32) / 255
    sheets = [Image.open(path).convert("RGBA") for path in said["files"][:3]]
    joined = sheets[0]
    for sheet in sheets[1:]:
        joined.alpha_composite(sheet)
    seen = np.asarray(joined, np.float32) / 255
    assert np.abs(seen[..., 3] - whole[..., 3]).max() < 0.02
    solid = whole[..., 3] > 0.9
    assert np.abs(seen - whole)[solid].mean() < 0.01
    with Image.open("title.webp") as moving:
        assert moving.n_frames > 10
        assert moving.size == (said["width"], said["height"])


def test_a_sheet_of_variations(quick, tmp_path):
    done = quick("A", "--style", PAINTING, "--variations", "2", "--seed", "5", "-o", "sheet.png")
    assert done.out.split() == ["sheet.png", "sheet-5.png", "sheet-6.png"], done.err
    first, second = (np.asarray(Image.open(f"sheet-{seed}.png")) for seed in (5, 6))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_a_name_is_made_of_words_and_style_and_replaces_nothing(quick):
    assert quick("A\\nB", "--style", PAINTING, "--background", "white").out.split() == ["a-b-museum-436535.png"]
    assert quick("A\\nB", "--style", PAINTING, "--background", "white").out.split() == ["a-b-museum-436535-2.png"]
    with Image.open("a-b-museum-436535.png") as title:
        assert title.mode == "RGB"


def test_letters_that_come_from_another_font_are_told_and_a_video_shows_the_strokes(quick):
    done = quick("A花", "--style", PAINTING, "-o", "title.png", "--animate", "title.mp4")
    video = probe_video("title.mp4")
    with Image.open("title.png") as title:
        assert abs(video.width - title.width) <= 1
        assert abs(video.height - title.height) <= 1
    assert 2 < video.duration < 6
    assert "note: Rubik[wght] lacks 花: taken from NotoSansCJKtc-Black" in done.err


def test_letters_are_painted_again_by_redo(quick, outcome, tmp_path):
    """The same words, zones, drawing of the line and seed give the same picture; so does a new size another."""
    (tmp_path / "line.svg").write_text(SVG.format('<path d="M0 10C10 0 30 0 40 10"/>'))
    wanted = ("--outline", "irises", "--along", "line.svg", "--seed", "3", "--legibility", "0.7")
    done = quick("A B", "--style", PAINTING, *wanted, "--background", "#ff0", "-o", "title.png", size="128x96")
    assert done.code == 0, done.err
    done = outcome("redo", "title.png", "-o", "again.png")
    assert done.code == 0, done.err
    first, second = (np.asarray(Image.open(name)) for name in ("title.png", "again.png"))
    assert first.shape == second.shape == (96, 128, 3)
    assert np.abs(first.astype(int) - second).max() <= 1
    done = outcome("redo", "title.png", "--style", "irises", "--size", "160")
    assert done.code == 0, done.err
    with Image.open(done.out.strip()) as larger:
        assert larger.size == (160, 120)


def test_redo_of_letters_refuses_what_they_have_not(quick, outcome, tmp_path):
    (tmp_path / "line.svg").write_text(SVG.format('<path d="M0 10C10 0 30 0 40 10"/>'))
    quick("A", "--style", PAINTING, "--along", "line.svg", "-o", "title.png")
    assert "leave out --content" in outcome("redo", "title.png", "--content", "title.png", "-o", "again.png").err
    (tmp_path / "line.svg").unlink()
    done = outcome("redo", "title.png", "-o", "again.png")
    assert done.code == 2
    assert "line.svg, of which title.png was made, is not there" in done.err


def test_an_effect_is_put_on_other_words_and_again_by_redo(quick, outcome, tmp_path):
    plain = Image.new("L", (160, 80), 255)
    plain.paste(0, (30, 25, 130, 55))
    plain.save("plain.png")
    effect = Image.new("RGB", (160, 80), (0, 0, 0))
    effect.paste((255, 160, 0), (30, 25, 130, 55))
    effect.save("effect.png")
    done = quick("I", "--like", "effect.png", "--like-text", "plain.png", "-o", "gold.png")
    assert done.code == 0, done.err
    done = outcome("redo", "gold.png", "-o", "again.png")
    assert done.code == 0, done.err
    first, second = (np.asarray(Image.open(name)).astype(int) for name in ("gold.png", "again.png"))
    assert np.abs(first - second).max() <= 1


def test_no_variation_replaces_a_file_that_nobody_named(quick, tmp_path):
    (tmp_path / "sheet-1.png").write_bytes(b"a picture of mine")
    done = quick("A", "--style", PAINTING, "--variations", "3", "-o", "sheet.png")
    assert done.code == 2
    assert "sheet-1.png is there already" in done.err
    assert (tmp_path / "sheet-1.png").read_bytes() == b"a picture of mine"
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    "wanted", [("--variations", "2", "-o", "own.png"), ("--layers", ".", "-o", "title.png", "--background", "white")]
)
def test_no_file_of_a_sheet_or_a_layer_replaces_an_input(refused, tmp_path, monkeypatch, wanted):
    monkeypatch.chdir(tmp_path)
    for name in ("own-1.png", "1-fill.png"):
        Image.new("RGB", (64, 64), "red").save(tmp_path / name)
    said = refused("letters", "A", "--style", "own-1.png", "--style", "1-fill.png", *wanted)
    assert "is an input: it would be replaced" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", "--style", PAINTING), "empty"),
        (("\\n", "--style", PAINTING), "the text is empty"),
        (("a" * 5000, "--style", PAINTING), "5,000 characters"),
        (("A\ue000", "--style", PAINTING), "no font has"),
        (("A",), "no style was given"),
        (("A", "--style", PAINTING, "--font", "none.ttf"), "cannot be read"),
        (("A", "--style", PAINTING, "--font", "broken.ttf"), "is not a font"),
        (("A", "--style", PAINTING, "--size", "wide"), "--size is 'wide'"),
        (("A", "--style", PAINTING, "--size", "99999x99999"), "pixels are allowed"),
        (("many words " * 35, "--style", PAINTING, "--size", "640"), "too thin"),
        (("A", "--style", PAINTING, "--curve", "nan"), "--curve"),
        (("A", "--style", PAINTING, "--background", "greenish"), "--background is 'greenish'"),
        (("A", "--style", PAINTING, "--quality", "better"), "quality"),
        (("A", "--style", PAINTING, "--variations", "99"), "--variations is 99"),
        (("A", "--style", PAINTING, "--variations", "2", "--animate", "a.webp"), "leave out --layers and --animate"),
        (("A", "--style", PAINTING, "--animate", "a.txt"), "no animation"),
        (("A", "--style", PAINTING, "--layers", "no/sheets"), "there is no folder no"),
        (("A", "--style", PAINTING, "--layers", "far.svg"), "a file has this name"),
        (("A", "--style", PAINTING, "--seed", "-1"), "--seed is -1"),
        (("A", "--style", PAINTING, "--layers", "a.png", "-o", "a.png"), "-o and --layers both name a.png"),
        (("A", "--style", PAINTING, "--like", "broken.ttf"), "belong together"),
        (("A", "--style", PAINTING, "--svg", "script.svg"), "both words and an SVG"),
        (("--svg", "script.svg", "--style", PAINTING), "has <script>"),
        (("--svg", "far.svg", "--style", PAINTING), "refers to another file"),
        (("--svg", "none.svg", "--style", PAINTING), "cannot be read"),
        (("--svg", "none.svg", "--style", PAINTING, "--curve", "90"), "an SVG stands in place of words"),
        (("--svg", "none.svg", "--style", PAINTING, "--font", "noto"), "an SVG stands in place of words"),
        (("A", "--style", PAINTING, "--along", "none.svg"), "none.svg cannot be read"),
        (("A", "--style", PAINTING, "--along", "far.svg"), "refers to another file"),
        (("A", "--style", PAINTING, "--along", "empty.svg"), "no line for the text"),
        (("A", "--style", PAINTING, "--along", "empty.svg", "--curve", "90"), "--curve and --along were both given"),
    ],
)
def test_bad_input(refused, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font at all" * 50)
    (tmp_path / "script.svg").write_text(SVG.format("<script>alert(1)</script>"))
    (tmp_path / "empty.svg").write_text(SVG.format(""))
    (tmp_path / "far.svg").write_text(SVG.format('<use href="http://a.example/b.svg#c"/>'))
    assert said in refused("letters", *arguments)
