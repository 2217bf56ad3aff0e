"""`impasto measure` with measures that need no weights."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from impasto.cli import app, measure
from impasto.errors import InputError
from impasto.metrics import METRICS

PLAIN = "ssim,edge_preservation,histogram_distance,sharpness,checkerboard"


@pytest.fixture
def run(capfd):
    def go(*arguments, code=0):
        got = app.run(["measure", *(str(argument) for argument in arguments)])
        out, err = capfd.readouterr()
        assert got == code, err
        return out if code == 0 else err

    return go


@pytest.fixture
def folders(tmp_path):
    """Contents lemurs and lemurs-2, style irises, and pastiches named as stylize names them."""
    rng = np.random.default_rng(0)
    for name in ("in/lemurs.jpg", "in/lemurs-2.png", "styles/irises.png", "out/lemurs-irises.png", "out/lemurs-2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (8, 10, 3), np.uint8)
        Image.fromarray(coarse).resize((100, 80)).save(path)
    return tmp_path


def test_a_table_for_people(run, folders):
    text = run(folders / "in/lemurs.jpg", folders / "styles", folders / "out/lemurs-irises.png", "--metrics", PLAIN)
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["measure", "lemurs-irises.png"]
    assert [line[0] for line in lines[1:]] == PLAIN.split(",")
    assert lines[1][2:] == ["higher", "is", "better"]


def test_json_of_folders_paired_by_name(run, folders):
    Image.open(folders / "out/lemurs-2.png").save(folders / "out/lemurs-2-irises.png")
    (folders / "out/lemurs-2.png").unlink()
    report = json.loads(run(folders / "in", folders / "styles", folders / "out", "--json", "--metrics", PLAIN))
    assert set(report) == {"pictures", "mean", "set"}
    paths = [(row["content"], row["style"], row["pastiche"]) for row in report["pictures"]]
    names = [tuple(path.rpartition("/")[2] for path in row) for row in paths]
    assert names == [
        ("lemurs-2.png", "irises.png", "lemurs-2-irises.png"),
        ("lemurs.jpg", "irises.png", "lemurs-irises.png"),
    ]
    values = [row["ssim"] for row in report["pictures"]]
    assert report["mean"]["ssim"] == pytest.approx(sum(values) / 2)
    assert report["set"] == {}


def test_many_are_summed_up(run, folders):
    pastiches = [folders / "out/lemurs-2.png"] * 5
    text = run(folders / "in/lemurs-2.png", folders / "styles/irises.png", *pastiches, "--metrics", "ssim")
    assert text.split("\n")[0].split() == ["measure", "mean", "of", "5", "least", "most"]


def test_names_that_do_not_pair_are_listed(run, folders):
    error = run(folders / "in", folders / "styles", folders / "out", "--metrics", PLAIN, code=2)
    assert error.splitlines() == [
        "error: these do not pair up by name: lemurs-2.png, lemurs-2.png",
        "hint:  name a pastiche as its content, or CONTENT-STYLE as stylize does",
    ]
    (folders / "out/lemurs-2.png").rename(folders / "out/kangaroo-irises.png")
    with pytest.raises(InputError, match=r"kangaroo-irises\.png, lemurs-2\.png\n"):
        measure.pair(folders / "in", folders / "styles", [folders / "out"])


def test_sizes_that_differ_are_told_or_refused(folders, capfd):
    small = folders / "out/small.png"
    Image.open(folders / "in/lemurs.jpg").resize((70, 80)).save(small)
    given = [str(folders / "in/lemurs.jpg"), str(folders / "styles/irises.png"), str(small), "--metrics", "ssim"]
    assert app.run(["measure", *given, "--json"]) == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["pictures"]) == 1
    assert err.startswith("note: ")
    assert "small.png is 70x80 px" in err
    assert err.rstrip().endswith("100x80: the pastiche is resized for the measures")
    assert app.run(["measure", *given, "--strict"]) == 2
    assert "hint:  make them equal, or leave out --strict" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in/lemurs.jpg"], "CONTENT, STYLE and PASTICHE"),
        (["in/lemurs.jpg", "nowhere", "out"], "there is no file or folder"),
        (["in/lemurs.jpg", "styles", "out", "--metrics", "sim"], "there is no measure 'sim'"),
        (["in/lemurs.jpg", "styles", "out", "--metrics", ","], "no measure was named"),
        (["in/lemurs.jpg", "styles", "out", "--metrics", "drift"], "drift measures videos"),
        (["in/lemurs.jpg", "styles/irises.png", "out", "--metrics", "kid"], "kid compares sets of pictures"),
        (["in/lemurs.jpg", "empty", "out"], "holds no pictures"),
        (["--video", "in/lemurs.jpg"], "--video takes INPUT and OUTPUT"),
        (["--video", "nowhere.mp4", "nowhere.mp4"], "there is no file nowhere.mp4"),
    ],
)
def test_what_cannot_be_measured_is_told(run, folders, monkeypatch, arguments, said):
    monkeypatch.chdir(folders)
    (folders / "empty").mkdir()
    error = run(*arguments, code=2)
    assert said in error.splitlines()[-2]
    assert error.splitlines()[-1].startswith("hint:  ")


def test_too_few_for_fid_says_how_many_and_offers_kid(run, folders):
    for number in range(12):
        Image.open(folders / "in/lemurs.jpg").save(folders / f"styles/style{number}.png")
        Image.open(folders / "in/lemurs.jpg").save(folders / f"out/lemurs-{number + 2}-style{number}.png")
    given = [folders / "in/lemurs.jpg", folders / "styles/irises.png"]
    (folders / "out/lemurs-2.png").unlink()
    error = run(given[0], folders / "styles", folders / "out", "--metrics", "fid", code=2)
    assert "FID needs at least 128 pictures in each set, and 2,048 for full rank" in error
    assert "there are 13 pastiches and 13 styles" in error
    assert "hint:  use --metrics kid" in error


def test_list_tells_all(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = run("--list")
    assert all(name in text for name in METRICS)
    rows = json.loads(run("--list", "--json"))
    assert [row["name"] for row in rows] == list(METRICS)


def test_videos(run, tmp_path):
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 256, (6, 20, 3), np.uint8), (160, 48), interpolation=cv2.INTER_CUBIC)
    for name, gain in (("clip.avi", 1.0), ("painted.avi", 0.7)):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        for number in range(12):
            writer.write((wide[:, number : number + 64] * gain).astype(np.uint8))
        writer.release()
    report = json.loads(run("--video", tmp_path / "clip.avi", tmp_path / "painted.avi", "--json"))
    assert set(report) == {"input", "output", "warping_error_1", "warping_error_10", "flicker", "drift"}
    assert 0 <= report["warping_error_1"] < 0.05
    assert "flicker" in run("--video", tmp_path / "clip.avi", tmp_path / "painted.avi", "--metrics", "flicker")


def test_without_names_what_is_too_small_is_left_out_and_said(folders, tmp_path, capfd, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "impasto.metrics.Judge.measure", lambda self, c, s, p, names: asked.extend(names) or dict.fromkeys(names, 0.5)
    )
    wide = tmp_path / "wide.png"
    Image.new("RGB", (160, 40)).save(wide)
    assert app.run(["measure", str(wide), str(folders / "styles/irises.png"), str(wide)]) == 0
    out, err = capfd.readouterr()
    assert set(METRICS) - set(asked) >= {"ms_ssim", "checkerboard"}
    assert "ssim" in asked
    assert "note: ms_ssim is left out: it needs 176 px a side" in err
    assert "ms_ssim" not in out
