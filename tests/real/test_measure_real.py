"""Measures with the real networks, on real pictures and clips."""

from __future__ import annotations

import itertools
import json
from importlib import resources

import cv2
import numpy as np
import pytest
import torch

from impasto import images, metrics
from impasto.assets import Store, load_weights
from impasto.cli import app
from impasto.metrics import Judge, _sets, _video
from impasto.metrics._networks import INCEPTION_SIDE, Inception, Lpips
from impasto.videos import VideoReader

pytestmark = [pytest.mark.real]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine the threads of Inception's hundreds of small convolutions wait minutes for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def judge(store: Store) -> Judge:
    return Judge(store=store)


@pytest.fixture(scope="module")
def cat(photos) -> np.ndarray:
    return images.read(photos / "chelsea.png").pixels


def small(pixels: np.ndarray, side: int = 160) -> torch.Tensor:
    width, height = images.fit(pixels.shape[1], pixels.shape[0], side)
    return images.to_tensor(images.resize(pixels, height, width))


@pytest.mark.parametrize(("asset", "shipped"), [("lpips-vgg16", "vgg"), ("lpips-alexnet", "alex")])
def test_lpips_has_the_published_heads(store: Store, asset: str, shipped: str) -> None:
    ours = load_weights(store, asset)
    folder = resources.files("torchmetrics") / "functional" / "image" / "lpips_models"
    with (folder / f"{shipped}.pth").open("rb") as file:
        theirs = torch.load(file, map_location="cpu", weights_only=True)
    for number in range(5):
        assert torch.equal(ours[f"head{number + 1}.weight"], theirs[f"lin{number}.model.1.weight"].flatten())


# As torchmetrics 1.9.0 scores the same two pictures with these backbones and its own heads: noise, then blur.
KNOWN = {"vgg16": (0.48219, 0.27868), "alexnet": (0.38147, 0.29098)}


@pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
def test_lpips_grows_with_damage(store: Store, cat: np.ndarray, backbone: str) -> None:
    network = Lpips(backbone, load_weights(store, {"vgg16": "lpips-vgg16", "alexnet": "lpips-alexnet"}[backbone]))
    clean = small(cat)
    grain = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(clean + amount * grain).clamp(0, 1) for amount in (0.03, 0.1, 0.3)]
    pixels = images.from_tensor(clean)
    soft = [images.to_tensor(cv2.GaussianBlur(pixels, (0, 0), sigma)) for sigma in (0.7, 1.5, 4)]
    with torch.inference_mode():
        assert network(clean, clean).item() == 0
        for damaged in (noisy, soft):
            distances = [network(clean, image).item() for image in damaged]
            assert 0 < distances[0] < distances[1] < distances[2] < 1.5
        found = network(clean, noisy[1]).item(), network(clean, soft[1]).item()
    assert found == pytest.approx(KNOWN[backbone], rel=0.002)


def test_inception_gives_the_features_of_the_published_network(store: Store) -> None:
    """Against a run of the package's own TorchScript on the same picture, made by arithmetic."""
    network = Inception(load_weights(store, "inception-fid"))
    side = INCEPTION_SIDE
    values = torch.arange(3 * side * side).reshape(1, 3, side, side) * 2654435761 % 1000003
    with torch.inference_mode():
        features = network(values.float() / 1000003)[0]
    assert features.shape == (2048,)
    assert features[:4].tolist() == pytest.approx([0.0843, 0.0093, 0.0346, 0.1664], abs=1e-3)
    assert features.mean().item() == pytest.approx(0.1538, abs=1e-4)
    assert features.norm().item() == pytest.approx(14.3714, abs=1e-3)


def test_sets_that_are_farther_apart_score_so(judge: Judge, cat: np.ndarray) -> None:
    crops = [cat[top : top + 200, left : left + 200] for top in (0, 90) for left in (60, 200)]
    near, far = crops[1::2], [1 - crop[:, :, ::-1] for crop in crops[1::2]]
    vectors = {name: judge.vectors(some) for name, some in (("own", crops[::2]), ("near", near), ("far", far))}
    assert vectors["own"].shape == (2, 2048)
    for distance in (_sets.frechet_distance, _sets.kernel_distance):
        assert distance(vectors["own"], vectors["near"]) < distance(vectors["own"], vectors["far"])
    assert _sets.frechet_distance(vectors["own"], vectors["own"]) == pytest.approx(0, abs=1e-6)


def test_every_measure_of_a_picture(photos, painting, tmp_path, capfd) -> None:
    """The command, with all measures: a photograph as its own pastiche."""
    given = [str(photos / "chelsea.png"), str(painting), str(photos / "chelsea.png"), "--json"]
    assert app.run(["measure", *given]) == 0
    row = json.loads(capfd.readouterr().out)["pictures"][0]
    assert set(row) == {"content", "style", "pastiche", *metrics.names_of("picture")}
    same = {"ssim": 1, "ms_ssim": 1, "edge_preservation": 1, "content_error": 0, "lpips_vgg": 0, "lpips_alex": 0}
    same |= {"photo_residue": 1, "layout": 0}
    assert {name: row[name] for name in same} == pytest.approx(same, abs=1e-6)
    layers = [row[name] for name in row if name.startswith("style_distance_relu")]
    assert len(layers) == 5
    assert row["style_distance"] == pytest.approx(sum(layers) / 5)
    assert row["style_distance"] > 0.3
    assert row["sliced_wasserstein"] > 0.05
    assert row["moment_distance"] > 0.05
    assert row["checkerboard"] < 0.02


def test_the_painting_itself_has_its_style(judge: Judge, cat: np.ndarray, painting) -> None:
    pixels = images.read(painting).pixels
    names = ["style_distance", "moment_distance", "sliced_wasserstein", "histogram_distance"]
    names += ["style_distance_large", "stroke_distance"]
    found = judge.measure(pixels, pixels, pixels, names)
    assert found == pytest.approx(dict.fromkeys(names, 0), abs=1e-6)


def frames_of(store: Store, name: str, count: int) -> list[np.ndarray]:
    frames = itertools.islice((frame.pixels for frame in VideoReader(store.file("clips", name))), count)
    return [images.resize(frame, frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2) for frame in frames]


def test_a_real_clip(store: Store) -> None:
    clip = frames_of(store, "carphone_pristine.mp4", 14)
    assert clip[0].shape == (144, 176, 3)
    own = metrics.measure_video(clip, clip)
    assert own["flicker"] == 0
    assert own["drift"] == 0
    assert 0 < own["warping_error_1"] < own["warping_error_10"] < 0.1
    rng = np.random.default_rng(0)
    restless = [np.clip(frame * (0.9 + 0.2 * rng.random()), 0, 1).astype(np.float32) for frame in clip]
    found = metrics.measure_video(clip, restless)
    assert found["warping_error_1"] > 1.5 * own["warping_error_1"]
    assert found["flicker"] > 0.01


def test_a_real_film_is_steady_beside_itself(store: Store) -> None:
    frames = itertools.islice((frame.pixels for frame in VideoReader(store.file("clips", "bigbuckbunny.mp4"))), 70)
    film = [cv2.resize(frame, (160, 90), interpolation=cv2.INTER_AREA) for frame in frames]
    counted = _video.tally(film, film, (1,))
    assert counted.warping_error(1) < 0.05
    assert max(counted._errors[1]) < 0.01
