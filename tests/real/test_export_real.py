"""Exports of what ships, by the command line, with the check on real photographs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from impasto import images
from impasto.cli import app
from impasto.engine.engine import Engine
from impasto.engine.request import Request

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("model", "to", "name"), [("pack", "openvino", "pack.xml"), ("adain", "torchscript", "adain.pt")]
)
def test_what_ships_is_exported(model, to, name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert app.run(["export", model, "--to", to, "--json"]) == 0
    printed = capfd.readouterr()
    told = json.loads(printed.out)
    assert told["path"] == name
    assert told["parity"]["psnr"] > 100
    assert told["parity"]["pictures"] >= 6
    assert "differ from PyTorch" in printed.err
    files = [path for path in tmp_path.iterdir() if path.suffix in (".xml", ".bin", ".pt")]
    assert sum(path.stat().st_size for path in files) == told["bytes"]
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("page", ["docs/deploy.md", "docs/deploy.zh.md"])
def test_the_page_paints_with_onnx_runtime_alone(page, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write(images.read(images.read(photos / "coffee.png").resized(96, 144).pixels), tmp_path / "photo.jpg")
    assert app.run(["export", "pack"]) == 0
    (text,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert "impasto" not in text
    exec(compile(text, page, "exec"), {})
    mixed = Engine(precision="float32", device="cpu").stylize("photo.jpg", ["pack:irises", "pack:circus"], Request())
    assert np.abs(images.read(tmp_path / "out.png").pixels - mixed.picture.pixels).max() < 2 / 255
