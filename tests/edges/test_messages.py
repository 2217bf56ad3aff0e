"""Messages as a person reads them: what was given, what is allowed, what to do. A report of a bad one is a row more."""

import json
import re
from pathlib import Path

import pytest

import impasto
from impasto.cli.flags import all_knobs


@pytest.fixture
def files(tmp_path, picture_file, monkeypatch):
    """A photograph `c.png`, a style `s.png`, a mask `m.png` and a folder `folder`, in the current folder."""
    for seed, name in enumerate(("c.png", "s.png", "m.png")):
        picture_file(name, seed=seed)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)


ROWS = [
    ("stylize c.png -s https://example.com/a.jpg", "https://example.com/a.jpg is an address", "download it"),
    ("stylize https://example.com/a.jpg -s s.png", "is an address", "download it"),
    ("stylize c.png -s s.png --size abc", "--size is 'abc'", "it takes a whole number"),
    ("stylize c.png -s s.png --size=1.5", "--size is '1.5'", "it takes a whole number"),
    ("stylize c.png -s s.png --feather x", "--feather is 'x'", "it takes a number"),
    ("stylize c.png -s folder", "folder is a folder", "name a picture in it"),
    ("stylize c.png -s irises --method irises", "no method 'irises'", "known: auto, adain"),
    ("stylize c.png -s s.png --method adian", "no method 'adian'", "did you mean adain?"),
    ("stylize c.png -s s.png --region m.png=irises:2", "gives its style a weight", "--region m.png=irises"),
    ("stylize c.png -s s.png --stil x", "No such option: --stil", "impasto stylize --help"),
    ("stylize c.png -s sss.png", "sss.png does not exist", "did you mean s.png?"),
    ("stylize d.png -s s.png", "d.png does not exist", ""),
    ("texture -s pack:irises", "is a trained style", "a texture takes a painting"),
    ("texture -s s.png -q draft", "--quality is 'draft'", "good or best"),
    ("export", "no network was given", "impasto export pack"),
    ("styles zzzzqq", "no painting matches", "fewer words"),
    ("mix c.png -s s.png -o out.png", "1 style given", "takes two"),
]


@pytest.mark.parametrize(("line", "message", "hint"), ROWS, ids=[row[0] for row in ROWS])
def test_messages(refused, files, line, message, hint):
    told = refused(*line.split())
    first, second = (text for text in told.splitlines() if not text.startswith("note:"))
    assert message in first
    assert hint in second


def test_a_size_that_nothing_can_hold_is_answered_with_one_that_fits(outcome, files):
    done = outcome("stylize", "c.png", "-s", "s.png", "--size", "999999")
    assert done.code in (2, 5)
    assert "--size" in done.err
    assert "free some memory" not in done.err


def test_a_group_without_a_command_shows_its_help(outcome):
    for group in ("bench", "assets"):
        done = outcome(group)
        assert done.code == 0
        assert "Usage" in done.out + done.err
        assert "error:" not in done.err


def test_nothing_found_is_an_empty_list(run):
    assert json.loads(run("styles", "zzzzqq", "--json")) == []


def test_the_pack_is_there_without_the_library(outcome, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "empty"))
    done = outcome("styles")
    assert done.code == 0
    assert "pack:irises" in done.out
    assert "12 trained styles" in done.out
    assert "the library is left out" in done.err
    assert "nothing is in the cache" in outcome("assets", "verify").out


def test_one_is_not_told_as_several(run):
    assert "1 trained style and 1 painting," in run("styles", "cypresses")


def test_settings_with_choices_name_them_in_the_help(run):
    shown = " ".join(run("stylize", "--help").replace("│", " ").split())
    for name, (_, knob) in all_knobs().items():
        for choice in knob.choices:
            assert choice in shown, f"--{name}: {choice}"
    assert "The optimiser: lbfgs, adam." in shown
    assert "pack:NAME" in shown


CALLS = {
    "max_pixels of letters": (lambda photo, style: impasto.stylize(photo, style, max_pixels="x"), "max_pixels is 'x'"),
    "half a pixel": (lambda photo, style: impasto.stylize(photo, style, max_pixels=1.5), "max_pixels is 1.5"),
    "no name": (lambda photo, style: impasto.stylize("", style), "the name of the picture is empty"),
    "no folder": (lambda photo, style: impasto.stylize(photo, Path(photo).parent / "x"), "does not exist"),
    "a number as output": (lambda photo, style: impasto.stylize(photo, style).save(3), "the output is 3"),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(picture_file, name):
    call, message = CALLS[name]
    with pytest.raises(impasto.StyleError, match=re.escape(message)) as caught:
        call(str(picture_file("c.png")), "pack:irises")
    assert caught.value.hint
