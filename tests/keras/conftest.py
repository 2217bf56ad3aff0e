"""Keras on one backend, that of KERAS_BACKEND, against PyTorch, which runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("IMPASTO_OFFLINE", "1")

SIDES = 64, 96  # height and width, which 16 divides


@pytest.fixture(scope="session")
def backend():
    """The backend that Keras is asked to run on."""
    return os.environ.get("KERAS_BACKEND", "tensorflow")


@pytest.fixture(scope="session")
def store():
    from impasto.assets import Store

    return Store()


@pytest.fixture(scope="session")
def photo(store):
    """A real photograph, `(H, W, 3)` in [0, 1]."""
    return picture(store.path("photos") / "chelsea.png")


@pytest.fixture(scope="session")
def painting(store):
    """A real painting, likewise."""
    from impasto.assets.library import Library

    library = Library(store)
    return picture(library.path(library.find("436535")))


def picture(path):
    from impasto import images

    return np.ascontiguousarray(images.resize(images.read(path).pixels, *SIDES).clip(0, 1), np.float32)


@pytest.fixture(scope="session")
def engine(backend):
    from impasto.keras import KerasEngine

    return KerasEngine(backend=backend)


@pytest.fixture(scope="session")
def answers(tmp_path_factory, photo, painting):
    """What PyTorch says; see by_torch.py."""
    python = os.environ.get("IMPASTO_TORCH_PYTHON")
    if not python:
        pytest.skip("IMPASTO_TORCH_PYTHON names no Python with PyTorch; make test-keras does")
    folder = tmp_path_factory.mktemp("torch")
    np.save(folder / "photo.npy", photo)
    np.save(folder / "painting.npy", painting)
    script = Path(__file__).with_name("by_torch.py")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    subprocess.run([python, script, folder], check=True, env=environment, timeout=800)
    return dict(np.load(folder / "answers.npz"))


@pytest.fixture
def impasto(backend):
    """Runs the command line in a Python of its own; gives its exit code, output, and the modules that it loaded."""
    code = """
import sys
from impasto.cli import app
code = app.run(sys.argv[1:])
print("torch loaded" if "torch" in sys.modules else "no torch", file=sys.stderr)
sys.exit(code)
"""

    def run(*words, **environment):
        command = [sys.executable, "-c", code, *map(str, words)]
        own = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**own, **environment})

    return run
