"""Exports of what ships, by the command line, with the check on real photographs."""

import json

import pytest

from impasto.cli import app

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
