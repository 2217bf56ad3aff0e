"""Fixtures: tiny seeded networks for unit tests, and the real pictures for the others."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from impasto.contract import Placement
from tiny import noise, tiny_decoder_weights, tiny_encoder_weights

settings.register_profile("steady", deadline=None, derandomize=True, database=None)  # the same examples everywhere
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def one_thread_for_tiny_networks(request):
    """Their operations last microseconds: two threads would spend their time waiting for each other."""
    if request.node.path.parent.name not in ("unit", "methods"):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_weights():
    return {"vgg19-normalised": tiny_encoder_weights(), "adain-decoder": tiny_decoder_weights()}


@pytest.fixture(scope="session")
def placement():
    return Placement()


@pytest.fixture(scope="session")
def store():
    from impasto.assets import Store

    return Store()


@pytest.fixture(scope="session")
def photos(store) -> Path:
    return store.path("photos")


@pytest.fixture(scope="session")
def painting(store) -> Path:
    from impasto.assets.library import Library

    library = Library(store)
    return library.path(library.find("436535"))


@pytest.fixture
def picture_file(tmp_path):
    """Writes a small picture of ours; returns its path."""

    def make(name="photo.png", width=64, height=48, seed=0):
        from impasto import images

        pixels = noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy()
        path = tmp_path / name
        images.write(images.read(np.ascontiguousarray(pixels)), path)
        return path

    return make


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)
