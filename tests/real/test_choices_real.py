"""Losses, encoders and the photorealistic canvas with real weights, a real photograph and a real painting."""

import csv

import numpy as np
import pytest
from safetensors.torch import save_file

from impasto import images
from impasto.assets import load_weights
from impasto.cli import app
from impasto.contract import STYLE_LAYERS, Placement
from impasto.engine.request import Request
from impasto.losses.losses import relative_error
from impasto.models.encoder_specs import ARCHITECTURES, VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import gram_matrix
from unit.test_encoders import random_weights

pytestmark = pytest.mark.real

PAINTING = "museum:436535"


@pytest.fixture(scope="module")
def paint(exact_engine, photos):
    def paint(photo="chelsea.png", size=128, steps=10, **knobs):
        request = Request(method="optimize", size=size, init=None, knobs={"steps": steps, **knobs})
        return exact_engine.stylize(photos / photo, PAINTING, request)

    return paint


@pytest.mark.parametrize("name", ["vgg16", "squeezenet", "efficientnet-lite0"])
def test_a_fetched_encoder_paints_towards_the_painting(exact_engine, paint, photos, store, name):
    """Judged by VGG-19 at the picture's size, which the smaller networks know nothing of."""
    judge = Encoder(VGG19, load_weights(store.path("vgg19-normalised")), Placement())
    painted = paint(encoder=name)
    photo = images.resize(images.read(photos / "chelsea.png").pixels, *painted.picture.pixels.shape[:2])
    style = exact_engine.find_styles(PAINTING)[0].picture.pixels
    style = images.resize(style, 101, 128)

    def distance(pixels):
        ours, theirs = (judge(images.to_tensor(each), STYLE_LAYERS) for each in (pixels, style))
        return np.mean([relative_error(gram_matrix(ours[layer]), gram_matrix(theirs[layer])) for layer in STYLE_LAYERS])

    assert distance(painted.picture.pixels) < 0.5 * distance(photo)
    assert painted.losses[-1]["style"] < 0.7 * painted.losses[0]["style"]
    assert painted.record["knobs"]["encoder"] == name


@pytest.mark.parametrize("loss", ["moments", "wasserstein", "sliced", "patches"])
def test_every_style_loss_descends_on_real_features(paint, loss):
    painted = paint(style_loss=loss, steps=8, size=96)
    totals = [losses["total"] for losses in painted.losses]
    assert np.isfinite(totals).all()
    assert min(totals) < 0.8 * totals[0]


def test_the_photorealistic_canvas_keeps_lines_straight(paint, photos):
    """The rocket's tower: edges of the picture are where those of the photograph are, and colours have changed."""
    pixels = paint("rocket.jpg", canvas="photorealistic", size=128, steps=10).picture.pixels
    photo = images.resize(images.read(photos / "rocket.jpg").pixels, *pixels.shape[:2])

    def edges(picture):
        gray = picture.mean(2)
        across, along = np.diff(gray, axis=1)[:-1], np.diff(gray, axis=0)[:, :-1]
        return np.hypot(across, along)

    ours, theirs = edges(pixels), edges(photo)
    strong = theirs > np.quantile(theirs, 0.97)
    flat = theirs < np.quantile(theirs, 0.5)
    assert np.median(ours[strong]) > 8 * np.median(ours[flat])
    assert np.abs(pixels - photo).mean() > 0.02


def test_a_file_of_ones_own_paints_and_another_network_is_refused(picture_file, tmp_path, capfd):
    weights = tmp_path / "mine.safetensors"
    save_file(random_weights(ARCHITECTURES["resnet18"]), weights)
    photo, painting = picture_file(), picture_file("painting.png", seed=3)
    line = ["stylize", str(photo), "--style", str(painting), "--init", "content", "--steps", "1", "-o"]
    assert app.run([*line, str(tmp_path / "one.png"), "--encoder", f"resnet18:{weights}"]) == 0
    assert (tmp_path / "one.png").is_file()
    capfd.readouterr()
    for encoder, told in (
        (f"resnet50:{weights}", "layer1.0.conv1.weight is 64x64x3x3; resnet50 has 64x64x1x1"),
        (f"mobilenet-v2:{weights}", "has no tensor features.0.0.weight"),
        ("resnet18:mine.pth", "must be a .safetensors file"),
        ("resnet34", "comes without weights"),
        ("vgg21", "there is no encoder 'vgg21'"),
    ):
        assert app.run([*line, str(tmp_path / "two.png"), "--encoder", encoder]) == 2
        error = capfd.readouterr().err.strip().splitlines()
        assert told in error[0]
        assert len(error) == 2
        assert error[1].startswith("hint:")
    (tmp_path / "torn.safetensors").write_bytes(weights.read_bytes()[:1000])
    assert app.run([*line, str(tmp_path / "two.png"), "--encoder", f"resnet18:{tmp_path}/torn.safetensors"]) == 2
    assert "cannot be read as a network" in capfd.readouterr().err
    assert not (tmp_path / "two.png").exists()


def test_a_file_that_was_written_again_is_read_again(exact_engine, tmp_path):
    import os

    weights = tmp_path / "mine.safetensors"
    photo, style = np.full((48, 64, 3), 0.4, np.float32), np.random.default_rng(0).random((64, 64, 3), np.float32)
    request = Request(method="optimize", init="content", knobs={"steps": 3, "encoder": f"resnet18:{weights}"})
    save_file(random_weights(ARCHITECTURES["resnet18"]), weights)
    first = exact_engine.stylize(photo, style, request).picture.pixels
    save_file(random_weights(ARCHITECTURES["resnet18"], seed=1), weights)
    os.utime(weights, ns=(1, 1))
    assert np.abs(first - exact_engine.stylize(photo, style, request).picture.pixels).max() > 1e-3


@pytest.mark.process
def test_bands_of_an_encoder_are_appended_to_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["bench", "encoders", "--encoder", "squeezenet", "--set", "one", "--size", "64", "-o", "pictures"]
    assert app.run([*line, "--csv", "encoders.csv"]) == 0
    with (tmp_path / "encoders.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["encoder"], row["style_loss"], row["pairs"], row["set"]) == ("squeezenet", "gram", "1", "one")
    assert float(row["style_distance_least"]) == float(row["style_distance"]) == float(row["style_distance_most"])
    assert float(row["seconds"]) > 0
