"""What engines keep loaded: made once, dropped by bytes, and nobody waits for another key."""

import threading

import pytest

from impasto.contract import Placement
from impasto.engine.cache import Cache, ModelCache
from impasto.methods import registry
from tiny import TinyStore


def test_a_value_is_made_once():
    cache, made = Cache(100), []
    for _ in range(3):
        assert cache.get("a", lambda: made.append(1) or ("value", 10)) == "value"
    assert len(made) == 1


def test_the_least_recently_used_leave_beyond_the_bytes():
    cache, made = Cache(100), []

    def get(key, size):
        cache.get(key, lambda: made.append(key) or (key, size))

    for key in "abacd":  # c makes 120: b is the oldest; d makes 120 again: a is
        get(key, 40)
    assert made == ["a", "b", "c", "d"]
    get("c", 40)
    get("d", 40)
    assert made == ["a", "b", "c", "d"]
    get("b", 40)
    assert made[-1] == "b"
    get("large", 1000)
    get("large", 1000)
    assert made.count("large") == 1  # the newest stays, whatever it takes


def test_what_failed_is_made_again():
    cache = Cache(100)
    with pytest.raises(KeyError):
        cache.get("a", lambda: {}["missing"])
    assert cache.get("a", lambda: ("value", 1)) == "value"


def test_threads_that_ask_for_one_key_get_one_value():
    cache, made, start = Cache(100), [], threading.Barrier(8)

    def make():
        made.append(object())
        return made[-1], 1

    def ask(found):
        start.wait(10)
        found.append(cache.get("a", make))

    found = []
    threads = [threading.Thread(target=ask, args=(found,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert found == made * 8


def test_while_one_thread_fetches_another_gets_what_is_loaded(tmp_path, tiny_weights, monkeypatch):
    """One lock for all would have the second thread wait until the fetch of the first ends."""
    store = TinyStore(tmp_path, tiny_weights)
    models, row, knobs = ModelCache(store), registry.find("adain"), registry.find("adain").load_knobs()()
    loaded = models.stylizer(row, Placement(), knobs)
    fetching, go_on = threading.Event(), threading.Event()

    def slow_fetch(names, **_):
        fetching.set()
        assert go_on.wait(20)

    monkeypatch.setattr(store, "fetch", slow_fetch)
    other = registry.find("optimize")
    thread = threading.Thread(target=models.stylizer, args=(other, Placement(), other.load_knobs()()))
    thread.start()
    assert fetching.wait(20)
    got = []
    second = threading.Thread(target=lambda: got.append(models.stylizer(row, Placement(), knobs)))
    second.start()
    second.join(20)
    assert got == [loaded]
    assert thread.is_alive()
    go_on.set()
    thread.join(20)
