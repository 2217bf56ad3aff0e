"""The pages and the notebook for Keras users run as they stand, with small sizes and few steps."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="the pages are for TensorFlow")
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="this is for PyTorch")


@pytest.fixture
def folder(tmp_path, monkeypatch, photo, painting):
    monkeypatch.chdir(tmp_path)
    for name, pixels in (("photo.jpg", photo), ("painting.jpg", painting)):
        Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(tmp_path / name)
    return tmp_path


def cut(text):
    """The same code with small sizes and few steps."""
    for pattern, value in ((r"\b(SIZE = )\d+", "64"), (r"\b(STEPS = )\d+", "41"), (r"\b(size=)\d+", "64")):
        text = re.sub(pattern, rf"\g<1>{value}", text)
    return re.sub(r"""(\bsteps=|"steps": )\d+""", r"\g<1>1", text)


def blocks(page, language):
    return [text for found, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if found == language]


def is_for_torch(text):
    return 'backend="torch"' in text


def losses(told):
    return [[float(part) for part in line] for line in re.findall(r"step \d+: content ([\d.]+), style ([\d.]+)", told)]


@on_tensorflow
@pytest.mark.parametrize("page", ["docs/from-scratch.md", "docs/from-scratch.zh.md"])
def test_the_script_of_from_scratch_paints(folder, capsys, page):
    (script,) = blocks(page, "py")
    exec(compile(cut(script), page, "exec"), {"__name__": "__main__"})
    (content, style), *_, (last_content, last_style) = losses(capsys.readouterr().out)
    assert content == 0  # it begins with the photograph, whose content is its own
    assert last_content > 0
    assert last_style < style / 2
    assert Image.open("by-keras.png").size == (64, 43)


@on_tensorflow
@pytest.mark.parametrize("page", ["docs/keras.md", "docs/keras.zh.md"])
def test_the_python_of_the_page_runs(folder, capsys, page):
    names = {"__name__": "__main__"}
    for text in blocks(page, "python"):
        if not is_for_torch(text):
            exec(compile(cut(text), page, "exec"), names)
    told = capsys.readouterr().out.splitlines()
    assert told[-4].startswith("tensorflow ")
    assert told[-3] == "(1, 4, 6, 512)"
    assert Image.open("out.png").size == (64, 43)
    assert (folder / "irises" / "saved_model.pb").exists()


@on_torch
@pytest.mark.parametrize("page", ["docs/keras.md", "docs/keras.zh.md"])
def test_the_python_for_pytorch_runs(folder, capsys, page):
    (text,) = filter(is_for_torch, blocks(page, "python"))
    exec(compile(cut(text), page, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("torch ")
    assert Image.open("by-torch.png").size == (64, 43)


@on_tensorflow
def test_the_saved_model_paints_the_same(folder, photo):
    import tensorflow as tf

    from impasto.keras import feedforward

    painter = feedforward("pack:irises")
    painter.export("irises", format="tf_saved_model", verbose=False)
    saved = tf.saved_model.load("irises")
    served = saved.serve(photo[None])
    assert np.abs(np.asarray(served) - np.asarray(painter(photo[None]))).max() < 1e-4


@on_tensorflow
def test_the_notebook_runs(folder, monkeypatch):
    """In a Python of its own, as in Colab; its line that installs is left out."""
    notebook = json.loads((ROOT / "examples" / "keras.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells[0].startswith("%pip install")
    script = cut("\n".join(cells[1:]))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 3
    assert {"by-keras.png", "by-impasto.png"} <= {path.name for path in folder.iterdir()}


def test_the_weights_of_keras_applications_can_be_used(backend, photo):
    """Random ones: what counts is that ours sees what theirs sees after its preprocessing."""
    import keras
    from impasto.keras import vgg19

    theirs = keras.applications.VGG19(include_top=False, weights=None)
    ours = vgg19(["block3_conv2"], weights=theirs)
    prepared = keras.applications.vgg19.preprocess_input(255 * photo[None].copy())
    wanted = keras.Model(theirs.input, theirs.get_layer("block3_conv2").output)(prepared)
    found = ours(photo[None])["block3_conv2"]
    inside = (slice(None), slice(8, -8), slice(8, -8))  # theirs pads with zeros
    found, wanted = (keras.ops.convert_to_numpy(one)[inside] for one in (found, wanted))
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-3)
