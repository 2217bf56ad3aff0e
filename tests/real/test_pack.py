"""The pack that ships: there right after installation, offline, without torch, and in the style of its paintings."""

import json
import os
import statistics
import subprocess
import sys

import pytest

from impasto import images
from impasto.assets.library import Library
from impasto.bench import networks as bench
from impasto.cli import app
from impasto.metrics import Judge
from impasto.models import catalog, predictors

pytestmark = pytest.mark.real

LARGEST = 4 << 20  # bytes that the networks which ship may take in all
CODE = """
import sys
from impasto.cli import app
from impasto.assets.library import Library
code = app.run(sys.argv[1:])
assert 'torch' not in sys.modules, 'torch was loaded'
sys.exit(code)
"""


def test_it_holds_a_dozen_public_domain_paintings_in_little_room():
    styles = catalog.pack()
    assert len(styles) >= 12
    assert catalog.PACK.stat().st_size + catalog.ARBITRARY.stat().st_size <= LARGEST
    assert all(style.painting.startswith("museum:") and style.licence and style.thumbnail for style in styles)


def test_it_is_listed_with_its_source(capsys):
    assert app.run(["styles", "irises", "--json"]) == 0
    listed = {row["id"]: row["source"] for row in json.loads(capsys.readouterr().out)}
    assert listed["pack:irises"] == "pack"


@pytest.mark.process
def test_it_paints_offline_with_an_empty_cache_and_without_torch(photos, tmp_path):
    target = tmp_path / "painted.png"
    words = ["stylize", str(photos / "coffee.png"), "--style", "pack:irises", "--size", "256", "-o", str(target)]
    alone = {**os.environ, "IMPASTO_OFFLINE": "1", "IMPASTO_CACHE": str(tmp_path / "empty")}
    done = subprocess.run([sys.executable, "-c", CODE, *words], env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert max(images.read(target).pixels.shape) == 256


def test_a_style_moves_the_photograph_towards_its_painting(store, photos, tmp_path):
    style, target, library = catalog.find("pack:primavesi"), tmp_path / "painted.png", Library(store)
    words = ["stylize", str(photos / "coffee.png"), "--style", style.id, "--size", "384", "-o", str(target)]
    assert app.run(words) == 0
    painted = images.read(target).pixels
    photograph = images.resize(images.read(photos / "coffee.png").pixels, *painted.shape[:2])
    painting = library.read(library.find(style.painting.removeprefix("museum:"))).pixels
    height, width = painting.shape[:2]
    painting = images.resize(painting, *reversed(images.fit(width, height, 384)))
    judge = Judge(store=store)
    ours, untouched = (judge.scores(photograph, painting, one) for one in (painted, photograph))
    assert ours.style_distance < 0.5 * untouched.style_distance
    assert ours.content_error < 1


def test_any_painting_is_painted_by_what_ships(monkeypatch, photos, tmp_path):
    """Three that it never saw; which they are, its file says."""
    unseen = predictors.read(catalog.ARBITRARY)[1]["unseen"]
    assert len(unseen) == 20
    monkeypatch.setattr(bench, "_subjects", lambda path: {one: one for one in unseen[:3]})
    rows = bench.scores(catalog.ARBITRARY, picture_set="one", size=256, paint=lambda *_: None)
    assert statistics.fmean(row["style_to_adain"] for row in rows) < 1.5
    assert statistics.fmean(row["content_to_adain"] for row in rows) < 1.15
    target = tmp_path / "painted.png"
    words = ["stylize", str(photos / "coffee.png"), "--style", unseen[0], "--method", "arbitrary", "--size", "200"]
    assert app.run([*words, "-o", str(target)]) == 0
    assert max(images.read(target).pixels.shape) == 200


@pytest.mark.process
def test_the_bench_times_it_and_scores_it_beside_adain(monkeypatch):
    monkeypatch.setattr(bench, "SIDES", {"64": (64, 64)})
    rows = {row["network"]: row for row in bench.sizes(runs=1)}
    assert {"tiny", "small", "johnson", "arbitrary", "adain"} <= rows.keys()
    assert rows["small"]["parameters"] < 500_000
    assert rows["adain"]["operations_a_pixel"] > 30 * rows["small"]["operations_a_pixel"]
    assert all(row["seconds_64"] > 0 for row in rows.values())
    painting = {"irises": catalog.find("pack:irises").painting}
    monkeypatch.setattr(bench, "_subjects", lambda path: painting)
    (row,) = bench.scores(catalog.PACK, picture_set="one", size=96, paint=lambda *_: None)
    assert row["training_minutes"] > 0
    assert 0 < row["network_style_distance"] < 4 * row["adain_style_distance"]
