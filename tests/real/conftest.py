"""Engines with the real weights."""

from pathlib import Path

import pytest

from impasto.assets import Store
from impasto.engine.engine import Engine
from impasto.errors import AssetError

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(scope="module")
def engine(store):
    """As users have it, on the processor."""
    return Engine(store=store, device="cpu")


@pytest.fixture(scope="module")
def exact_engine(store):
    """In float32, whose pictures are held to the bit or close to it."""
    return Engine(store=store, device="cpu", precision="float32")


@pytest.fixture(scope="session")
def published():
    """The weights that only their repositories have: fetched, or taken from a folder beside the checkout."""
    store = Store()
    missing = [asset for asset in ("wct-small", "microast") if not store.is_present(asset)]
    if missing and not WEIGHTS.is_dir():
        pytest.skip(f"{', '.join(missing)}: not fetched, and no folder of published weights lies beside the checkout")
    try:
        store.fetch(missing, folder=WEIGHTS if missing else None)
    except AssetError as error:
        pytest.skip(str(error))
