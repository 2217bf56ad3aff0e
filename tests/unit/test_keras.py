"""The parts of impasto.keras that are NumPy alone, against PyTorch; the others are tested by make test-keras."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from impasto.contract import Job, StyleCode
from impasto.engine.request import Request
from impasto.errors import InputError, MissingExtra
from impasto.keras import backends, forms, resampling, start
from impasto.keras.descent import Descent, gradient_preconditioner
from impasto.keras.places import sample_places
from impasto.losses.matching import sample_positions
from impasto.methods.optimize import balances
from impasto.methods.optimize.start import color_statistics, start_image
from impasto.methods.settings import OptimizeKnobs
from impasto.ops.tiles import WindowedImage, pad_to_multiple
from impasto.optim import canvases
from impasto.optim.descent import descend
from impasto.optim.schedule import Schedule


@pytest.fixture
def random():
    return np.random.default_rng(0)


def tensor(picture):
    return torch.from_numpy(picture)[None]


@pytest.mark.parametrize("sides", [(48, 32), (33, 47), (96, 130), (200, 64)])
def test_resizing_is_that_of_pytorch(random, sides):
    picture = random.random((3, 96, 64), np.float32)
    wanted = F.interpolate(tensor(picture), size=sides, mode="bicubic", antialias=True, align_corners=False)[0]
    assert np.abs(resampling.resample(picture, *sides) - wanted.numpy()).max() < 2e-5
    wanted = F.interpolate(tensor(picture), size=sides, mode="bilinear", align_corners=False)[0]
    found = resampling.applied(resampling.bilinear(96, sides[0]), picture, resampling.bilinear(64, sides[1]))
    assert np.abs(found - wanted.numpy()).max() < 2e-5


def test_extending_is_that_of_pytorch(random):
    for height, width in ((5, 40), (1, 33), (48, 16)):
        picture = random.random((3, height, width), np.float32)
        wanted = pad_to_multiple(tensor(picture), 16, least=32)[0].numpy()
        assert np.array_equal(resampling.extended(picture, 16, least=32), wanted)


def test_a_draw_of_places_is_that_of_pytorch(random):
    one, other = random.random((500, 3), np.float32), random.random((30, 3), np.float32)
    parts = [(0.6, one), (0.4, other)]
    wanted = sample_positions([(share, torch.from_numpy(rows)) for share, rows in parts], 400, seed=3)
    assert np.array_equal(sample_places(parts, 400, seed=3), wanted.numpy())


@pytest.mark.parametrize("knobs", [OptimizeKnobs(), OptimizeKnobs(detail=0.3), OptimizeKnobs(init="content", detail=0)])
def test_the_start_is_that_of_pytorch(random, knobs):
    photo, painting = random.random((3, 70, 50), np.float32), random.random((3, 33, 64), np.float32) ** 2
    sums = color_statistics(WindowedImage(tensor(painting), 16))
    code = StyleCode({"colors": sums / sums[0, 3, 3]})
    wanted = start_image(tensor(photo), Job(code, knobs))[0].numpy()
    found = start.start_image(photo, start.color_sums(painting), knobs, None)
    assert np.abs(found - wanted).max() < 2e-5


def test_noise_to_start_from_is_soft_and_seeded(random):
    photo = random.random((3, 64, 64), np.float32)
    one, same, other = (start.start_image(photo, None, OptimizeKnobs(init="noise", seed=n), None) for n in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert 0.1 < one.std() < 0.25
    assert np.abs(np.diff(one, axis=2)).mean() < one.std() / 2
    noisy = start.start_image(photo, None, OptimizeKnobs(init="content+noise"), None)
    assert 0.05 < (noisy - photo).std() < 0.15


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_descent_takes_the_steps_of_pytorch(random, optimizer):
    begun, goal = (random.random((3, 48, 64), np.float32) for _ in range(2))
    goal = goal * 1.4 - 0.2  # partly out of reach, so that pixels leave the range and are brought back
    wide = np.linspace(0.2, 3, 64, dtype=np.float32)

    def score(image):
        return {"far": float((wide * (image - goal) ** 2).mean())}, 2 * wide * (image - goal) / image.size

    def torch_score(image):
        losses, gradient = score(image[0].numpy())
        return {name: torch.tensor(value) for name, value in losses.items()}, tensor(gradient)

    schedule = Schedule(20, optimizer, 0.02)
    found = Descent(begun, score, schedule, lambda _: None)
    scale, preconditioner = 1.0, None
    if optimizer == "lbfgs":
        scale = balances.FIRST_STEP * begun.size
        preconditioner = canvases.gradient_preconditioner(torch_score(tensor(begun))[1])
        assert np.abs(gradient_preconditioner(score(begun)[1]) - preconditioner[0, 0].numpy()).max() < 1e-4
    best = found.run(balances.FIRST_STEP)
    wanted = descend(
        canvases.PixelPyramid(tensor(begun), scale=scale, preconditioner=preconditioner), torch_score, schedule
    )
    assert [one["total"] for one in found.history] == pytest.approx([one["total"] for one in wanted.losses], rel=1e-4)
    assert np.abs(best - wanted.image[0].numpy()).mean() < 1e-3
    assert found.history[-1]["total"] < 0.5 * found.history[0]["total"]


def test_layers_have_keras_names():
    assert forms.LAYERS["block5_conv2"] == "relu5_2"
    assert forms.layer_name("block4_conv1") == forms.layer_name("relu4_1") == "relu4_1"
    assert len(forms.LAYERS) == 16
    with pytest.raises(InputError, match="before its ReLU"):
        forms.layer_name("conv4_2")
    with pytest.raises(InputError, match="no layer 'block6_conv1'"):
        forms.layer_name("block6_conv1")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(method="wct"), "method wct has no Keras form"),
        (Request(knobs={"style_loss": "sliced"}), "--style-loss sliced has no Keras form"),
        (Request(init="style"), "--init style has no Keras form"),
    ],
)
def test_what_has_no_keras_form_is_named(request_, message):
    with pytest.raises(InputError) as raised:
        forms.check("painting.png", request_)
    assert raised.value.message.startswith(message)
    assert [stage.method.name for stage in forms.check("painting.png", Request())] == ["optimize"]


def test_what_is_missing_has_its_install_line(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    monkeypatch.setattr(backends, "running_on", lambda: "")
    with pytest.raises(MissingExtra, match="TensorFlow are not installed") as missing:
        backends.use_backend("tensorflow")
    assert missing.value.hint == 'pip install "impasto[keras]" tensorflow'
    with pytest.raises(InputError, match="no backend 'mxnet'"):
        backends.use_backend("mxnet")


@pytest.mark.process
def test_importing_it_loads_neither_keras_nor_pytorch():
    code = "import sys, impasto.keras.forms; print({'keras', 'tensorflow', 'jax', 'torch'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
