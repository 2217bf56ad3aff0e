"""Nodes that cannot paint, for real: of another version of Impasto, or blind to the folder of results."""

import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from cluster import TRIES, Cluster, free_port

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]


@contextmanager
def node(address, *before, **environment):
    """One more node of a cluster, started by a command of its own; a busy machine may miss one of Ray's time limits."""
    words = ("start", "--address", address, "--num-cpus", "1", "--object-store-memory", "100000000", "--block")
    for _ in range(TRIES):
        more = ("--disable-usage-stats", "--dashboard-agent-listen-port", str(free_port()))
        process = subprocess.Popen(
            [*before, Path(sys.executable).with_name("ray"), *words, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        try:
            if any("Ray runtime started" in line for line in iter(process.stdout.readline, "")):
                yield
                return
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()
    raise AssertionError("the node did not start")


def refused(address, folder, *more):
    words = (
        folder / "in",
        "-q",
        "draft",
        "--size",
        "48",
        "-s",
        "museum:436535",
        "-o",
        folder / "out",
        "--ray",
        address,
    )
    command = [sys.executable, "-m", "impasto", "batch", *map(str, words), *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert done.returncode == 2, done.stderr
    assert [line[:6] for line in lines] == ["error:", "hint: "], done.stderr
    assert done.stdout == ""
    assert not list((folder / "out").glob("*.png"))
    return done.stderr


@pytest.fixture
def folder(tmp_path, picture_file):
    (tmp_path / "in").mkdir()
    picture_file("in/a.png")
    return tmp_path


def test_a_node_of_another_version_is_named(folder, tmp_path):
    about = tmp_path / "other/impasto-0.0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: impasto\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")])
    with Cluster(nodes=1) as cluster, node(cluster.address, PYTHONPATH=path):
        told = refused(cluster.address, folder)
    assert f"has impasto 0.0.1, and this is {version('impasto')}" in told
    assert f'pip install "impasto[ray]=={version("impasto")}"' in told


WITHOUT = """
import importlib.metadata
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "impasto":
            raise ModuleNotFoundError(name)

def version(name, original=importlib.metadata.version):
    if name == "impasto":
        raise importlib.metadata.PackageNotFoundError(name)
    return original(name)

sys.meta_path.insert(0, Nowhere())
importlib.metadata.version = version
"""


def test_a_node_without_the_package_is_named(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")])
    with Cluster(nodes=1) as cluster, node(cluster.address, PYTHONPATH=path):
        told = refused(cluster.address, folder)
    assert "has no impasto" in told


def test_a_folder_that_only_the_command_sees_is_told(folder):
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"']
    if subprocess.run([*hidden, folder / "in", "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not hide a folder from a process here")
    (folder / "out").mkdir()
    with Cluster(nodes=1) as cluster:
        for name, words in (("out", "does not see the folder"), ("in", "does not see")):
            with node(cluster.address, *hidden, str(folder / name)):
                assert f"{words} {folder / name}" in refused(cluster.address, folder)
