"""Training on two nodes under torchrun: two agents in this machine, as two machines would run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cluster import free_port
from impasto.models import networks
from tiny import write_photographs

SCRIPT = Path(__file__).parents[1] / "train_script.py"
KNOBS = {"steps": 3, "crop": 64, "canvas": 96, "batch": 2, "ema": 0.5}
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path]), "OMP_NUM_THREADS": "1"}

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]


def torchrun(rank, port, *words):
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command += [str(SCRIPT), *map(str, words)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_nodes_learn_what_one_with_twice_the_batch_does(tmp_path):
    folder, port = write_photographs(tmp_path / "photographs", 10), free_port()
    nodes = [torchrun(rank, port, folder, tmp_path / "joined.safetensors", json.dumps(KNOBS)) for rank in (0, 1)]
    told = [node.communicate() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    alone = subprocess.run(
        [sys.executable, SCRIPT, folder, tmp_path / "alone.safetensors", json.dumps({**KNOBS, "batch": 4})],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    joined, single = (networks.read(tmp_path / f"{name}.safetensors").tensors for name in ("joined", "alone"))
    assert joined.keys() == single.keys()
    for name, tensor in joined.items():
        torch.testing.assert_close(tensor, single[name], atol=2e-3, rtol=0)
