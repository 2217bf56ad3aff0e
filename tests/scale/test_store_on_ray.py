"""A batch from one folder of a real S3 server into another, by the workers of a Ray cluster."""

import json
import os
import subprocess
import sys

import pytest

from cluster import Cluster
from edges.test_cluster import QUICK, batch, bucket, folder  # noqa: F401 - two are fixtures
from impasto.batch import places

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.process, pytest.mark.timeout(1800)]


def test_workers_read_and_write_a_store(bucket, folder):  # noqa: F811
    for path in sorted((folder / "in").glob("*.png")):
        places.write(f"{bucket}/photos/{path.name}", path.read_bytes())
    words = (f"{bucket}/photos", *QUICK, "-o", f"{bucket}/painted")
    with Cluster(nodes=2) as cluster:  # begun after the server, whose address its workers take from their surroundings
        job = batch(*words, "--ray", cluster.address, "--json")
        printed, told = job.communicate()
    assert job.returncode == 0, told
    assert json.loads(printed.splitlines()[-1])["summary"]["painted"] == 24
    names = [name for name, _ in places.listed(f"{bucket}/painted")]
    assert len([name for name in names if name.endswith(".png")]) == 24
    again = subprocess.run(
        [sys.executable, "-m", "impasto", "batch", *words], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "24 done before" in again.stderr
