"""Engines with the real weights."""

import pytest

from impasto.engine.engine import Engine


@pytest.fixture(scope="module")
def engine(store):
    """As users have it, on the processor."""
    return Engine(store=store, device="cpu")


@pytest.fixture(scope="module")
def exact_engine(store):
    """In float32, whose pictures are held to the bit or close to it."""
    return Engine(store=store, device="cpu", precision="float32")
