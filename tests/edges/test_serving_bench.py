"""The benchmarks of `impasto serve`, against a real one."""

import numpy as np
import pytest

from impasto.bench import serving
from impasto.bench.load import Load
from impasto.cli import app
from tiny import noise

pytestmark = [pytest.mark.process, pytest.mark.real]


@pytest.fixture(scope="module")
def asking():
    pixels = np.ascontiguousarray(noise(48, 64, seed=0)[0].permute(1, 2, 0).numpy())
    return serving.Asking.of(pixels, "pack:irises", None)


def test_a_server_is_driven_with_batching_off_and_on(asking):
    told = []
    rows = serving.under_load(asking, Load((1, 3), 0.3, 1), max_batch=4, on_progress=told.append)
    assert [(row["batching"], row["clients"]) for row in rows] == [("off", 1), ("on", 1), ("off", 3), ("on", 3)]
    assert all(row["pictures"] >= row["clients"] and not row["errors"] for row in rows)
    assert told[-1].share == 1


def test_a_soak_watches_the_memory_of_the_server(asking):
    row = serving.soak(asking, minutes=0.04, clients=2, sizes=(48, 64))
    assert row["errors"] == 0
    assert row["pictures"] > 0
    assert row["resident_most_mb"] > 50


def test_numbers_of_clients_are_checked(capfd):
    assert app.run(["bench", "serve", "--clients", "0,4"]) == 2
    assert "--clients is '0,4'" in capfd.readouterr().err
