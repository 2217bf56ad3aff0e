"""What engines keep loaded: made once, dropped by bytes, and nobody waits for another key."""

import os
import threading

import numpy as np
import pytest

from impasto import api
from impasto.contract import Placement
from impasto.engine.cache import Cache, ModelCache
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import Cancelled
from impasto.methods import registry
from impasto.models import checkpoint
from tiny import TinyStore, noise, tiny_network


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
        start.wait(120)
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
        assert go_on.wait(120)

    monkeypatch.setattr(store, "fetch", slow_fetch)
    other = registry.find("optimize")
    thread = threading.Thread(target=models.stylizer, args=(other, Placement(), other.load_knobs()()))
    thread.start()
    assert fetching.wait(120)
    got = []
    second = threading.Thread(target=lambda: got.append(models.stylizer(row, Placement(), knobs)))
    second.start()
    second.join(20)
    assert got == [loaded]
    assert thread.is_alive()
    go_on.set()
    thread.join(20)


def together(*calls):
    """Call them at once, each in a thread of its own; what was raised comes out here."""
    start, raised = threading.Barrier(len(calls)), []

    def one(call):
        start.wait(120)
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def test_after_a_failure_those_who_waited_and_those_who_come_get_one_value():
    """Those who wait for what fails would make it beside those who come later."""
    cache, made, found = Cache(100), [], []
    making, fail, finish = threading.Event(), threading.Event(), threading.Event()

    def failing():
        making.set()
        assert fail.wait(120)
        raise KeyError("first")

    def make():
        made.append(object())
        finish.wait(0.3)
        return made[-1], 1

    def first():
        with pytest.raises(KeyError):
            cache.get("a", failing)
        found.append(cache.get("a", make))

    def waiting():
        assert making.wait(120)
        threading.Timer(0.1, fail.set).start()
        found.append(cache.get("a", make))

    together(first, waiting, waiting)
    assert len(made) == 1
    assert found == made * 3


def test_a_value_that_was_dropped_while_it_was_used_stays_whole(tmp_path, tiny_weights):
    """Room for one byte: every job drops what the others use."""
    engine = Engine(store=TinyStore(tmp_path, tiny_weights), device="cpu", precision="float32")
    content, styles = pixels(0), [pixels(1), pixels(2)]
    jobs = [
        (style, Request(method=method, knobs=knobs))
        for style in styles
        for method, knobs in (("adain", {}), ("optimize", {"steps": 2}))
    ]
    alone = [engine.stylize(content, *job).picture.pixels for job in jobs]
    engine.models = ModelCache(engine.store, model_bytes=1, code_bytes=1)

    def paint(number):
        for at in range(number, number + len(jobs)):
            painted = engine.stylize(content, *jobs[at % len(jobs)]).picture.pixels
            np.testing.assert_array_equal(painted, alone[at % len(jobs)])

    together(*(lambda number=number: paint(number) for number in range(4)))


def test_a_fetch_that_one_thread_stops_is_begun_again_by_the_next(tmp_path, tiny_weights, monkeypatch):
    store = TinyStore(tmp_path, tiny_weights)
    engine, fetched = Engine(store=store, device="cpu", precision="float32"), []

    def fetch(names, on_progress=None, **_):
        fetched.append(names)
        if len(fetched) < 3:
            raise Cancelled

    monkeypatch.setattr(store, "fetch", fetch)
    done = []

    def paint():
        try:
            done.append(engine.stylize(pixels(0), pixels(1), Request(method="adain")))
        except Cancelled as stopped:
            assert stopped.result is None

    together(*[paint] * 5)
    assert (len(fetched), len(done)) == (3, 3)


def test_a_network_that_was_written_again_is_read_again_even_with_its_old_time(tmp_path, engine):
    path, tensors = tmp_path / "net.safetensors", tiny_network()
    checkpoint.write(path, tensors, {"kind": "styles"})
    about, style = path.stat(), f"{path}:s1"
    before = engine.stylize(pixels(0), style).picture.pixels
    checkpoint.write(path, {name: tensor * 1.01 for name, tensor in tensors.items()}, {"kind": "styles"})
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    assert abs(engine.stylize(pixels(0), style).picture.pixels - before).max() > 0


def test_threads_share_one_engine_from_their_first_call(monkeypatch):
    """Else each would load the weights for itself."""
    made = []

    class Slow(Engine):
        def __init__(self, **settings):
            made.append(self)
            threading.Event().wait(0.05)
            super().__init__(**settings)

    monkeypatch.setattr(api, "Engine", Slow)
    monkeypatch.setattr(api, "_ENGINES", Cache(4))
    together(*[api.load] * 8)
    assert len(made) == 1
    api.load(precision="float32")
    assert len(made) == 2


def pixels(seed):
    return np.ascontiguousarray(noise(40, 48, seed=seed)[0].permute(1, 2, 0).numpy())
