"""`make gpu`, tried on the processor: everything that it does on a GPU, small."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.process]

TOOL = Path(__file__).parents[2] / "tools" / "gpu.py"


def run(out, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, TOOL, out, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


def test_it_measures_and_trains_and_goes_on(published, tmp_path):
    done = run(tmp_path, "--tiny", "--minutes", "3")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "done.json").read_text())
    assert not [value for value in found.values() if str(value).startswith("failed")], found
    table = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert {row["method"] for row in table} == {"adain", "attention", "microast"}
    assert {row["compiled"] for row in table} == {"True", "False"}
    for name in ("decoder1", "decoder2", "attention"):
        assert found[name].startswith("exit code 0")
        assert (tmp_path / "weights" / f"{name}.safetensors").stat().st_size > 1000
        assert (tmp_path / "sheets" / f"{name}.png").exists()
        assert (tmp_path / "logs" / f"{name}.log").exists()
    recipe = json.loads((tmp_path / "weights" / "decoder2.training" / "recipe.json").read_text())
    assert recipe["starting_network"] != "none"  # it began with decoder1
    before = (tmp_path / "done.json").read_text()
    again = run(tmp_path, "--tiny", "--minutes", "3")
    assert again.returncode == 0
    assert (tmp_path / "done.json").read_text() == before


def test_without_cuda_it_says_what_to_do(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: this machine has no CUDA\nhint:  add --tiny to try it all on the processor\n"
