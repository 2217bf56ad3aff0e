"""The command line with --backend: the same command, metadata and cancelling, without PyTorch; and what is refused."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def files(tmp_path, photo, painting):
    for name, pixels in (("photo.png", photo), ("painting.png", painting)):
        Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(tmp_path / name)
    return tmp_path


METHODS = [
    ("optimize", ["--style", "painting.png", "--steps", "1"]),
    ("adain", ["--style", "painting.png", "--quality", "draft"]),
    ("feedforward", ["--style", "pack:irises"]),
    ("optimize", ["--style", "painting.png", "--steps", "1", "--init", "draft"]),
]


@pytest.mark.parametrize(("method", "words"), METHODS)
def test_the_command_paints_without_pytorch(impasto, files, backend, monkeypatch, method, words):
    from impasto import images

    monkeypatch.chdir(files)
    done = impasto("stylize", "photo.png", *words, "--backend", backend, "-o", "out.png", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "no torch"
    told, record = json.loads(done.stdout), images.read_record("out.png")
    assert told["method"] == record["method"] == method
    assert record["backend"] == backend
    assert record["keras"]
    assert record["tensorflow-cpu" if backend == "tensorflow" else "jax"]
    assert np.abs(images.read("out.png").pixels - images.read("photo.png").pixels).mean() > 0.01
    assert images.read("out.png").pixels.shape == images.read("photo.png").pixels.shape


def test_weights_are_fetched_without_pytorch(impasto, files, backend, monkeypatch):
    monkeypatch.chdir(files)
    own = {"IMPASTO_CACHE": "cache", "IMPASTO_OFFLINE": "0"}
    words = ["--style", "painting.png", "--quality", "draft", "--backend", backend, "-o", "out.png"]
    done = impasto("stylize", "photo.png", *words, **own)
    if done.returncode == 4:
        pytest.skip(f"the package cannot be had here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "no torch"
    assert len(list((files / "cache" / "weights").iterdir())) == 2


def test_interrupted_by_the_keyboard_it_saves(files, backend, monkeypatch):
    monkeypatch.chdir(files)
    command = [sys.executable, "-m", "impasto", "stylize", "photo.png", "--style", "painting.png", "--steps", "5000"]
    with subprocess.Popen(
        [*command, "--backend", backend, "-o", "out.png"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        for line in process.stderr:
            if "refining" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "the best picture so far is saved" in rest
    assert (files / "out.png").exists()


REFUSED = [
    (["--method", "wct"], "method wct has no Keras form", "adain or feedforward or optimize"),
    (["--style-loss", "sliced"], "--style-loss sliced has no Keras form", "--style-loss gram or moments"),
    (["--init", "style"], "--init style has no Keras form", "recolored"),
    (["--content-layers", "conv4_2"], "before its ReLU", "block4_conv2"),
    (["--keep-color", "luminance"], "--keep-color has no Keras form", "leave out --backend"),
    (["--region", "photo.png=painting.png"], "--region has no Keras form", "leave out --backend"),
    (["--save-every", "2"], "--save-every is not for --backend", "leave one of them out"),
    (["--time-lapse", "made.webp"], "--time-lapse is not for --backend", "leave one of them out"),
    (["--preview", "seen.png"], "--preview is not for --backend", "leave one of them out"),
    (["--runtime", "onnx"], "--runtime is not for --backend", "leave one of them out"),
    (["--device", "cuda"], "--device is not for --backend", "leave one of them out"),
    (["--precision", "float64"], "does not compute in float64", "float32, bfloat16, float16"),
]


@pytest.mark.parametrize(("words", "message", "hint"), REFUSED, ids=lambda value: " ".join(value)[:30])
def test_what_has_no_keras_form_is_told_in_two_lines(files, capfd, backend, monkeypatch, words, message, hint):
    from impasto.cli import app

    monkeypatch.chdir(files)
    assert app.run(["stylize", "photo.png", "--style", "painting.png", "--backend", backend, *words]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert message in lines[0]
    assert hint in lines[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--style", "painting.png"], "96x64 px in tiles needs"),
        (["--style", "painting.png", "--quality", "draft"], "96x64 px needs about"),
        (["--style", "pack:irises"], "96x64 px needs about"),
    ],
)
def test_too_little_memory_is_told_in_two_lines(files, capfd, backend, monkeypatch, words, message):
    from impasto.cli import app

    monkeypatch.chdir(files)
    assert app.run(["stylize", "photo.png", *words, "--backend", backend, "--max-memory", "100kB"]) == 5
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert message in lines[0]
    assert "use --max-memory" in lines[1] or "use a smaller --size" in lines[1]


def test_there_is_no_other_backend(files, capfd, monkeypatch):
    from impasto.cli import app

    monkeypatch.chdir(files)
    assert app.run(["stylize", "photo.png", "--style", "painting.png", "--backend", "mxnet"]) == 2
    assert "there is no backend 'mxnet'" in capfd.readouterr().err


def test_doctor_tells_what_is_installed(impasto):
    done = impasto("doctor", "--json")
    told = json.loads(done.stdout)
    assert told["versions"]["torch"] == "not installed"
    assert all(told["versions"][name][0].isdigit() for name in ("keras", "tensorflow", "jax"))
    assert told["backends"] == ["tensorflow", "jax"]
    assert told["runtime"] == {"a picture": "none", "films and cameras": "none"}


def test_without_pytorch_the_way_by_keras_is_told(impasto, files, monkeypatch):
    monkeypatch.chdir(files)
    done = impasto("stylize", "photo.png", "--style", "painting.png")
    assert done.returncode == 3
    message, hint, _ = done.stderr.splitlines()
    assert message == "error: PyTorch is not installed, and this needs it"
    assert hint == "hint:  pip install torch; or paint with --backend tensorflow, which is installed"
