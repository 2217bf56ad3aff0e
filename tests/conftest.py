"""Fixtures: tiny seeded networks for unit tests, and the real pictures for the others."""

import multiprocessing.process
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from impasto.contract import Placement
from tiny import SquarePointer, TinyStore, noise, tiny_decoder_weights, tiny_encoder_weights, tiny_microast, tiny_wct

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


@pytest.fixture(autouse=True)
def runtimes_are_not_measured(monkeypatch):
    """The first one paints, torch where it may: what is the fastest on this machine shall decide no test."""
    from impasto.runtimes import choice

    monkeypatch.setattr(choice, "measured", lambda _network, candidates, _folder, **_: dict.fromkeys(candidates, 1.0))


@pytest.fixture(autouse=True)
def marks_are_true(request, monkeypatch):
    """A test that starts processes says so by the mark `process`."""
    started = []

    def watch(owner, name):
        original = getattr(owner, name)

        def call(*arguments, **more):
            started.append(arguments[1:2])
            return original(*arguments, **more)

        monkeypatch.setattr(owner, name, call)

    watch(subprocess.Popen, "__init__")
    watch(multiprocessing.process.BaseProcess, "start")
    watch(os, "forkpty")
    yield
    if started and not request.node.get_closest_marker("process"):
        pytest.fail(f"it starts {started[0]}: mark it with pytest.mark.process")


@pytest.fixture
def engine(tmp_path, tiny_weights):
    """An engine with tiny networks."""
    from impasto.engine.engine import Engine

    (tmp_path / "store").mkdir()
    return Engine(store=TinyStore(tmp_path / "store", tiny_weights), device="cpu", precision="float32")


@pytest.fixture
def pointing(monkeypatch):
    """Squares around what is pointed at stand for what MobileSAM finds; gives the pictures that it looked at."""
    looked = []

    def pointer(tensors, image):
        looked.append(image)
        return SquarePointer(tensors, image)

    monkeypatch.setattr("impasto.engine.masks.load_weights", lambda *_, **__: {})
    monkeypatch.setattr("impasto.models.segment.Pointer", pointer)
    return looked


@pytest.fixture
def service_of(engine):
    """Makes a service with some limits; in tests/scale, one whose pictures are painted on a Ray cluster."""
    from impasto.serve.service import Service

    return lambda limits=None: Service(engine, limits)


@pytest.fixture(scope="session")
def tiny_weights():
    return {
        "vgg19-normalised": tiny_encoder_weights(),
        "adain-decoder": tiny_decoder_weights(),
        "wct-small": tiny_wct(),
        "microast": tiny_microast(),
    }


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


POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL of Debian's package, run by another user than root; gives the URL of its first database."""
    if not POSTGRESQL:
        pytest.skip("PostgreSQL is not installed here; make test installs it where it can (apt-get)")
    pytest.importorskip("psycopg", reason="psycopg is not installed: it is in the extra postgres")
    user = "postgres" if os.getuid() == 0 else None
    # pytest's own folder for temporary files is closed to other users
    with tempfile.TemporaryDirectory(prefix="impasto-postgresql-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        if user is not None:
            shutil.chown(folder, user)
        port = _start_postgresql(POSTGRESQL[-1], folder, user)
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        yield f"postgresql://impasto@127.0.0.1:{port}/postgres"
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGINT)  # closes connections, and ends
            for _ in range(100):
                time.sleep(0.1)
                os.kill(server, 0)


def _start_postgresql(programs, folder, user):
    """Make a cluster and start it on a free port of this machine."""

    def run(*words):
        subprocess.run(words, user=user, cwd=folder, check=True, capture_output=True, timeout=600)

    run(programs / "initdb", "-D", folder / "data", "-U", "impasto", "-A", "trust", "--no-sync", "-E", "UTF8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    run(programs / "pg_ctl", "-D", folder / "data", "-w", "-o", options, "-l", folder / "log", "start")
    return port


@pytest.fixture
def postgresql(postgresql_server):
    """The URL of an empty database."""
    import psycopg

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgresql_server.rpartition("/")[0] + f"/{name}"
