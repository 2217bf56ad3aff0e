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


@pytest.fixture(scope="module")
def mixed(backend):
    from impasto.keras import KerasEngine

    return KerasEngine(backend=backend, precision="bfloat16")


@pytest.mark.parametrize("method", ["adain", "feedforward"])
def test_networks_in_mixed_precision(engine, mixed, photo, painting, method):
    from impasto.engine.request import Request

    style = painting if method == "adain" else "pack:irises"
    half, whole = (each.stylize(photo, style, Request(method=method)) for each in (mixed, engine))
    assert half.record["precision"] == "bfloat16"
    assert 0 < np.abs(half.picture.pixels - whole.picture.pixels).mean() < 0.02


def test_the_optimisation_in_mixed_precision(engine, mixed, photo, painting):
    """Its losses begin and end near those of float32."""
    from impasto.engine.request import Request

    request = Request(knobs={"steps": 20, "coarsest": 96})
    half, whole = (each.stylize(photo, painting, request).losses for each in (mixed, engine))
    assert half[0] != whole[0]
    for step in (0, -1):
        for name in ("content", "style", "strokes", "total"):
            assert half[step][name] == pytest.approx(whole[step][name], rel=0.05), (step, name)
    assert whole[-1]["total"] < 0.7 * whole[0]["total"]


def test_cancelling_gives_the_best_picture_so_far(engine, photo, painting):
    from impasto.engine.request import Request
    from impasto.errors import Cancelled

    reports = []

    def stop(progress):
        reports.append(progress)
        if progress.step == 5:
            raise Cancelled

    with pytest.raises(Cancelled) as stopped:
        engine.stylize(photo, painting, Request(knobs={"steps": 4, "coarsest": 48}), on_progress=stop)
    result = stopped.value.result
    assert result.picture.pixels.shape == photo.shape
    assert len(result.losses) == 5
    assert [one.step for one in reports] == sorted(one.step for one in reports)
    assert all(0 <= one.share < 1 for one in reports)


def test_progress_ends_at_its_total(engine, photo, painting):
    from impasto.engine.request import Request

    reports = []
    result = engine.stylize(photo, painting, Request(knobs={"steps": 2, "coarsest": 48}), on_progress=reports.append)
    assert reports[-1].step == reports[-1].total == len(result.losses)
    assert reports[-1].share == pytest.approx(1)
    totals = [losses["total"] for losses in result.losses]
    assert totals[-1] < totals[-2]


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
    (["--precision", "float16"], "does not compute in float16", "float32, bfloat16"),
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


WRONG = [
    (lambda keras, model: keras.vgg19([]), "no layer of VGG-19 is named"),
    (lambda keras, model: keras.vgg19(["block9_conv1"]), "Keras' VGG-19 has no layer 'block9_conv1'"),
    (lambda keras, model: keras.vgg19(["block1_conv1"], weights=model), "weights has no layer block1_conv1"),
    (lambda keras, model: keras.KerasEngine(backend=["jax"]), "there is no backend"),
    (lambda keras, model: keras.feedforward("photo.jpg"), "photo.jpg is not a style of a trained network"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_python_gives_wrongly_is_told(backend, call, message):
    import impasto.keras
    from impasto.errors import InputError

    impasto.keras.use_backend(backend)
    import keras

    with pytest.raises(InputError, match=message):
        call(impasto.keras, keras.Sequential([keras.layers.Input((4,))]))


def test_one_layer_may_be_named_by_itself(backend):
    from impasto.keras import use_backend, vgg19

    use_backend(backend)
    assert set(vgg19("block1_conv2").output) == {"block1_conv2"}


def test_python_is_told_of_arguments_not_of_flags(backend, photo, painting):
    import impasto.keras
    from impasto.errors import ResourceError

    with pytest.raises(ResourceError) as refused:
        impasto.keras.stylize(photo, painting, backend=backend, precision="bfloat16", max_memory="100kB")
    assert refused.value.hint.startswith('use max_memory="')


def test_a_backend_that_is_not_installed(files, impasto, backend, monkeypatch):
    monkeypatch.chdir(files)
    done = impasto("stylize", "photo.png", "--style", "pack:irises", "--backend", "torch-by-keras")
    assert done.returncode == 2
    from impasto.errors import MissingExtra
    from impasto.keras import backends

    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "torch" else True)
    with pytest.raises(MissingExtra, match="PyTorch is not installed") as missing:
        backends.use_backend("torch")
    assert missing.value.hint == 'pip install "impasto[keras]" torch'


def test_a_backend_cannot_be_changed(engine, backend):
    from impasto.errors import InputError
    from impasto.keras import use_backend

    use_backend(backend)  # the same again
    with pytest.raises(InputError, match="cannot change to") as changed:
        use_backend("jax" if backend == "tensorflow" else "tensorflow")
    assert "new Python" in changed.value.hint


def test_without_keras_it_is_told(monkeypatch):
    from impasto.errors import MissingExtra
    from impasto.keras import backends

    monkeypatch.setattr(backends, "_has_keras", lambda: False)
    with pytest.raises(MissingExtra, match="Keras is not installed") as missing:
        backends.use_backend("jax")
    assert missing.value.hint == 'pip install "impasto[keras]" jax'


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


def test_transparent_pictures_are_refused(engine, photo, painting):
    from impasto.errors import InputError

    clear = np.dstack([photo, np.linspace(0, 1, photo.shape[1], dtype=np.float32)[None].repeat(len(photo), 0)])
    with pytest.raises(InputError, match="picture is transparent in parts") as refused:
        engine.stylize(clear, painting)
    assert "save it on a plain ground" in refused.value.hint


@pytest.mark.parametrize("method", ["adain", "feedforward", "optimize"])
def test_a_picture_that_is_opaque_everywhere_is_painted_and_keeps_its_alpha(engine, photo, painting, method):
    from impasto.engine.request import Request

    opaque = np.dstack([photo, np.ones(photo.shape[:2], np.float32)])
    style, knobs = "pack:irises" if method == "feedforward" else painting, {}
    if method == "optimize":
        knobs = {"steps": 1, "coarsest": 96}
    one, other = (engine.stylize(each, style, Request(method=method, knobs=knobs)) for each in (opaque, photo))
    assert np.array_equal(one.picture.pixels, other.picture.pixels)
    assert one.picture.alpha.min() == 1
