"""`impasto compare` and `impasto bench` as a person uses them, with the real weights at small sizes."""

import csv
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from impasto.cli import app

CHROMIUM = Path("/usr/bin/chromium")


def table_in(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick_scores(monkeypatch):
    """Scores without VGG-19 at 512 px, where what they are does not matter."""

    def measure(self, content, style, pastiche, names):
        away = float(abs(pastiche - content).mean())
        return {name: away if name == "content_error" else 1.0 - away for name in names}

    monkeypatch.setattr("impasto.metrics.Judge.measure", measure)


@pytest.fixture(scope="module")
def report(tmp_path_factory, painting):
    """A report over one pair, made once."""
    import numpy as np

    from impasto import images
    from tiny import noise

    folder = tmp_path_factory.mktemp("compare")
    photo = folder / "photo.png"
    pixels = noise(48, 64)[0].permute(1, 2, 0).numpy()
    images.write(images.read(np.ascontiguousarray(pixels)), photo)
    out = folder / "report"
    arguments = ["compare", str(photo), "--style", str(painting), "-m", "draft,opencv-stylization", "-o", str(out)]
    assert app.run(arguments) == 0
    return arguments, out


def test_a_report_has_page_text_and_table(report):
    _, out = report
    assert {path.name for path in out.iterdir()} >= {"index.html", "report.md", "results.csv", "cells", "sources"}
    rows = table_in(out / "results.csv")
    assert [row["method"] for row in rows] == ["draft", "opencv-stylization"]
    assert all(float(row["seconds"]) > 0 and float(row["style_distance"]) > 0 for row in rows)
    knobs = json.loads(rows[0]["knobs"])
    assert knobs["method"] == "adain"
    assert knobs["knobs"]["strength"] == 1.0


def test_a_second_run_picks_up_what_is_done(report, run):
    arguments, out = report
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    run(*arguments)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}


def test_people_without_painting(report, run, refused, tmp_path):
    _, out = report
    printed = run("compare", "--study", "--seed", "4", "-o", out)
    assert "study.html" in printed
    assert "draft" not in (out / "study.html").read_text()
    codes = {row["method"]: row["code"] for row in table_in(out / "study-key.csv")}
    answers, ratings = tmp_path / "answers.csv", tmp_path / "ratings.csv"
    chosen = {"al": "left", "br": "left", "cl": "right"}
    lines = [f"{who},{codes['draft']},{codes['opencv-stylization']},{choice}" for who, choice in chosen.items()]
    answers.write_text("\n".join(["rater,left,right,choice", *lines]))
    ratings.write_text("rater,rating,picture\nann,4,photo\n")
    assert "picture is 'photo'" in refused("compare", "--ratings", ratings, "-o", out)
    ratings.write_text("rater,rating,method\nann,4,draft\nbob,2,draft\n")
    run("compare", "--ratings", ratings, "--answers", answers, "-o", out)
    text = (out / "report.md").read_text()
    assert "| draft | 3.00 |" in text
    assert "| draft | +0.35 |" in text  # two wins of three: half of log 2


def test_bad_input(refused, picture_file, tmp_path):
    photo = picture_file()
    pair = ("compare", photo, "--style", "436535")
    assert "did you mean optimize" in refused(*pair, "-m", "optimise")
    assert "no metric 'ssmi'" in refused(*pair, "--metrics", "ssmi")
    assert "no quality 'great'" in refused(*pair, "-q", "great")
    assert "is a file" in refused(*pair, "-o", photo)
    assert "no style" in refused("compare", photo)
    assert "has a weight" in refused("compare", photo, "--style", "irises:2.5")
    assert "nowhere.png" in refused("compare", "nowhere.png", "--style", "436535")
    assert "--size is 3" in refused(*pair, "--size", "3")
    assert "nowhere.csv" in refused("compare", "--ratings", "nowhere.csv", "-o", tmp_path)
    assert "holds no comparison" in refused("compare", "--study", "-o", tmp_path / "nothing")
    assert "no photograph" in refused("compare", "--methods", "draft", "-o", tmp_path)
    assert "picture set" in refused("compare", "--set", "standart")
    assert "leave out CONTENT" in refused("compare", photo, "--set", "one")
    assert "no knob 'stps'" in refused("bench", "sweep", "optimize", "--knob", "stps=1")
    assert "picture set" in refused("bench", "peers", "--set", "two", "-m", "draft")
    assert "cannot be read" in refused("bench", "plot", tmp_path / "none.csv")
    assert not (tmp_path / "nothing").exists()


def test_bench_sweep_and_plot(run, quick_scores, tmp_path):
    out = tmp_path / "sweep"
    printed = run("bench", "sweep", "adain", "--knob", "strength=0.5,1", "--set", "one", "--size", "64", "-o", out)
    assert "sweep.csv" in printed
    rows = table_in(out / "sweep.csv")
    assert [row["strength"] for row in rows] == ["0.5", "1"]
    assert float(rows[0]["content_error"]) < float(rows[1]["content_error"])
    ET.fromstring((out / "style_distance.svg").read_text())
    run("bench", "plot", out / "sweep.csv", "--column", "style_distance", "-o", tmp_path / "a.svg")
    ET.fromstring((tmp_path / "a.svg").read_text())


@pytest.mark.process  # asks git for the commit
def test_bench_peers(run, quick_scores, tmp_path):
    table = tmp_path / "peers.csv"
    arguments = (
        "bench",
        "peers",
        "-m",
        "draft,reference-adain",
        "--size",
        "64",
        "--runs",
        "1",
        "--csv",
        table,
        "--json",
    )
    rows = json.loads(run(*arguments))
    assert [row["contender"] for row in rows] == ["draft", "reference-adain"]
    assert rows[0]["style_distance"] == pytest.approx(rows[1]["style_distance"], rel=0.05)  # the same method
    assert len(table_in(table)) == 2


@pytest.mark.process
@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
def test_a_real_browser_runs_the_page(report, tmp_path):
    _, out = report
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --virtual-time-budget=3000 --dump-dom"
    probe = out / "probe.html"
    # a click on the last picture, by a script of ours after the page's own
    click = "<script>document.querySelectorAll('figure button')[3].click()</script></body>"
    probe.write_text((out / "index.html").read_text().replace("</body>", click))
    done = subprocess.run(
        [CHROMIUM, *flags.split(), *more.split(), f"--user-data-dir={tmp_path}", probe.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    probe.unlink()
    shutil.rmtree(tmp_path, ignore_errors=True)
    assert re.search(r'<dialog[^>]*id="viewer"[^>]*open', done.stdout) or re.search(r"<dialog[^>]* open", done.stdout)
    assert re.search(r'<strong id="label">opencv-stylization', done.stdout)
    assert "clip-path: inset(0px 0px 0px 50%)" in done.stdout
