"""Many clients at one engine: lanes, batches, cancelling and closing, with a stylizer that can be held."""

import sys
import threading
import traceback
from collections import Counter
from concurrent.futures import CancelledError, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.contract import Progress, ignore
from impasto.engine.batcher import LANES, Batcher, BatchSettings, QueueFullError, lane_of
from impasto.engine.controls import Controls
from impasto.engine.engine import Demand, Engine
from impasto.engine.request import Request, Task
from impasto.errors import Cancelled, InputError, ResourceError
from tiny import noise, tiny_network

SECONDS = 20


def picture(height=48, width=64, seed=0):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


STYLE, OTHER = picture(64, 64, seed=101), picture(64, 64, seed=102)
LEFT = np.zeros((48, 64), np.float32)
LEFT[:, :32] = 1


QUICK = {"steps": 1, "coarsest": 32, "stroke_weight": 0, "octaves": 1}


class Held:
    """Paints nothing: its results are the contents. It can be held, and one content is a fault."""

    def __init__(self):
        self.gates = {lane: threading.Event() for lane in LANES}
        self.began = {lane: threading.Semaphore(0) for lane in LANES}
        self.batches = []

    def release(self, *lanes):
        for lane in lanes or self.gates:
            self.gates[lane].set()

    def demand(self, task):
        if task.content == "refused":
            raise InputError("refused", "")
        seconds = {"long": 3600.0, "large": 100.0}.get(task.styles, 1.0)
        return Demand(slow=task.styles == "slow", seconds=seconds, size_class=None, fits=100)

    def paint_all(self, tasks, listeners):
        self.batches.append([task.content for task in tasks])
        if tasks:
            lane = lane_of(self.demand(tasks[0]))
            self.began[lane].release()
            assert self.gates[lane].wait(SECONDS)
        outcomes = []
        for task, listener in zip(tasks, listeners, strict=True):
            try:
                listener(Progress("painting", 0, 1))
                outcomes.append(ValueError("fault") if task.content == "fault" else task.content)
            except Exception as error:
                outcomes.append(error)
        return outcomes


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def batcher(held):
    made = Batcher(held)
    yield made
    held.release()
    made.close(SECONDS)


def quick(content):
    return Task(content, "quick")


def slow(content):
    return Task(content, "slow")


def test_quick_pictures_overtake_slow_ones(held, batcher):
    minutes = [batcher.submit(slow(number)) for number in range(3)]
    assert held.began["slow"].acquire(timeout=SECONDS)
    held.release("quick")
    assert [batcher.submit(quick(number)).result(SECONDS) for number in range(5)] == list(range(5))
    assert not any(one.done() for one in minutes)
    held.release()
    assert [one.result(SECONDS) for one in minutes] == [0, 1, 2]


def test_what_takes_hours_keeps_neither_minutes_nor_moments_waiting(held, batcher):
    hours = [batcher.submit(Task(content, "long")) for content in ("a", "b")]
    large = batcher.submit(Task("c", "large"))
    assert held.began["long"].acquire(timeout=SECONDS)
    assert held.began["slow"].acquire(timeout=SECONDS)  # of one pass, but no moment's
    held.release("quick")
    assert batcher.submit(quick("d")).result(SECONDS) == "d"
    held.release("slow")
    assert large.result(SECONDS) == "c"
    assert batcher.submit(slow("e")).result(SECONDS) == "e"
    assert not any(future.done() for future in hours)
    assert batcher.statistics().waiting == {"quick": 0, "slow": 0, "long": 1}


@pytest.mark.parametrize(
    ("slow", "seconds", "lane"),
    [(False, 1, "quick"), (False, 31, "slow"), (True, 1, "slow"), (True, 601, "long"), (False, 601, "long")],
)
def test_lanes_are_by_what_a_picture_is_predicted_to_take(slow, seconds, lane):
    assert lane_of(Demand(slow=slow, seconds=seconds)) == lane


def test_clients_take_turns(held, batcher):
    first = batcher.submit(quick("first"), client="a")
    assert held.began["quick"].acquire(timeout=SECONDS)
    futures = [batcher.submit(quick(f"a{number}"), client="a") for number in range(4)]
    futures += [batcher.submit(quick(f"b{number}"), client="b") for number in range(2)]
    held.release()
    wait([first, *futures], SECONDS)
    order = [content for batch in held.batches for content in batch]
    assert set(order[1:5]) == {"a0", "a1", "b0", "b1"}


def test_one_that_waits_is_cancelled_at_once_and_leaves_the_queue(held, batcher):
    running = batcher.submit(quick("running"))
    assert held.began["quick"].acquire(timeout=SECONDS)
    waiting = batcher.submit(quick("waiting"))
    assert batcher.statistics().waiting["quick"] == 1
    assert waiting.cancel()
    assert batcher.statistics().waiting["quick"] == 0
    assert not running.cancel()
    held.release()
    assert running.result(SECONDS) == "running"
    assert ["waiting"] not in held.batches


def test_a_listener_that_raises_cancelled_stops_its_own_picture_alone(held, batcher):
    def stop(progress):
        if progress.stage == "painting":
            raise Cancelled

    stopped, other = batcher.submit(quick("stopped"), on_progress=stop), batcher.submit(quick("other"))
    held.release()
    assert other.result(SECONDS) == "other"
    with pytest.raises(Cancelled):
        stopped.result(SECONDS)


def test_one_fault_does_not_end_the_worker(held, batcher):
    held.release()
    with pytest.raises(InputError):
        batcher.submit(quick("refused"))
    with pytest.raises(ValueError, match="fault"):
        batcher.submit(quick("fault")).result(SECONDS)
    with pytest.raises(KeyError):
        batcher.submit_later({}.popitem, Demand(slow=False)).result(SECONDS)
    assert batcher.submit(quick("sound")).result(SECONDS) == "sound"


def test_a_picture_can_be_read_when_its_turn_comes(held, batcher):
    read = []

    def later():
        read.append(True)
        return slow("later")

    first = batcher.submit(slow("first"))
    assert held.began["slow"].acquire(timeout=SECONDS)
    future = batcher.submit_later(later, Demand(slow=True))
    assert not read
    held.release()
    assert (first.result(SECONDS), future.result(SECONDS)) == ("first", "later")


def test_each_lane_has_a_bound(held):
    batcher = Batcher(held, BatchSettings(max_queue=2))
    first = [batcher.submit(slow("running"))]
    assert held.began["slow"].acquire(timeout=SECONDS)
    first += [batcher.submit(slow(number)) for number in range(2)]
    with pytest.raises(QueueFullError, match="full") as told:
        batcher.submit(slow("too many"))
    assert str(told.value.retry_after) in told.value.hint
    held.release()
    assert batcher.submit(quick("quick")).result(SECONDS) == "quick"
    assert batcher.close(SECONDS)
    assert all(future.done() for future in first)


def test_closing_drains(held):
    batcher = Batcher(held)
    futures = [batcher.submit(quick(number)) for number in range(5)]
    held.release()
    assert batcher.close(SECONDS)
    assert [future.result(0) for future in futures] == list(range(5))
    with pytest.raises(ResourceError, match="stopping"):
        batcher.submit(quick("late"))


def test_closing_stops_what_takes_too_long_and_cancels_what_waits(held):
    batcher = Batcher(held)
    running, waiting = batcher.submit(slow("running")), batcher.submit(slow("waiting"))
    assert held.began["slow"].acquire(timeout=SECONDS)
    closing = threading.Thread(target=batcher.close, args=(0.05,))
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(SECONDS)
    held.release()
    with pytest.raises(Cancelled, match="stopping"):
        running.result(SECONDS)
    closing.join(SECONDS)
    assert not closing.is_alive()


def test_an_error_that_is_kept_holds_no_memory(engine):
    """Its traceback leads to the calls it came through, and to all the tensors in them."""

    def stop(progress):
        if progress.step:
            raise Cancelled

    def held_by(error):
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        values = [value for frame in frames for value in frame.f_locals.values()]
        return [value for value in values if isinstance(value, torch.Tensor)]

    task = Task(picture(), STYLE, Request(method="optimize", knobs=QUICK))
    with pytest.raises(Cancelled) as raised:
        engine.stylize(task.content, task.styles, task.request, on_progress=stop)
    assert held_by(raised.value)
    batcher = Batcher(engine)
    error = batcher.submit(task, on_progress=stop).exception(SECONDS)
    assert isinstance(error, Cancelled)
    assert error.result is not None
    assert not held_by(error)
    batcher.close(SECONDS)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(("quick", "slow", "long", "fault")), st.booleans()),
        max_size=25,
    )
)
def test_every_picture_ends_exactly_once(asked):
    held, ended = Held(), Counter()
    batcher = Batcher(held, BatchSettings(quick_workers=2, slow_workers=2))
    futures = []
    for number, (client, kind, cancel) in enumerate(asked):
        content = "fault" if kind == "fault" else number
        future = batcher.submit(Task(content, kind), client=client)
        future.add_done_callback(lambda _, number=number: ended.update([number]))
        futures.append(future)
        if cancel:
            future.cancel()
    held.release()
    assert batcher.close(SECONDS)
    assert ended == Counter(range(len(asked)))
    for number, (future, (_, kind, _)) in enumerate(zip(futures, asked, strict=True)):
        if not future.cancelled():
            assert isinstance(future.exception(0), ValueError) if kind == "fault" else future.result(0) == number
    told = batcher.statistics()
    assert told.waiting == told.running == dict.fromkeys(LANES, 0)
    assert sum(size * count for size, count in told.batches.items()) == sum(
        not future.cancelled() for future in futures
    )


# --- pictures painted together, by the engine ------------------------------------------------------------------------


def passes(engine, monkeypatch):
    """The sizes of batches that stylizers are given."""
    sizes, load = [], engine.models.stylizer

    def counting(*given, **named):
        stylizer = load(*given, **named)
        if not hasattr(stylizer, "counted"):
            paint = stylizer.stylize
            stylizer.stylize = lambda content, *rest: sizes.append(len(content)) or paint(content, *rest)
            stylizer.counted = True
        return stylizer

    monkeypatch.setattr(engine.models, "stylizer", counting)
    return sizes


def together(engine, tasks, listeners=None):
    return engine.paint_all(tasks, listeners or [ignore] * len(tasks))


def apart(engine, tasks):
    return [engine.stylize(task.content, task.styles, task.request) for task in tasks]


def assert_alike(painted, expected):
    for one, other in zip(painted, expected, strict=True):
        assert np.abs(one.picture.pixels - other.picture.pixels).max() < 2e-5
        assert {**one.record, "seconds": 0} == {**other.record, "seconds": 0}


DRAFT = Request(quality="draft")
MASKED = replace(DRAFT, controls=Controls(regions=((LEFT, OTHER),), keep_color="luminance"))
MAPPED = replace(DRAFT, controls=Controls(strength_map=LEFT, preserve=1 - LEFT))
TASKS = [
    Task(picture(seed=0), STYLE, DRAFT),
    Task(picture(seed=1), [(STYLE, 1.0), (OTHER, 2.0)], DRAFT),
    Task(picture(seed=2), OTHER, replace(DRAFT, controls=Controls(keep_color="histogram"))),
    Task(picture(seed=3), STYLE, replace(DRAFT, knobs={"strength": 0.4})),
    Task(picture(seed=4), STYLE, MASKED),
    Task(picture(seed=5), [], MASKED),
    Task(picture(seed=6), OTHER, MAPPED),
]


def test_pictures_painted_together_are_those_painted_apart(engine, monkeypatch):
    expected, sizes = apart(engine, TASKS), passes(engine, monkeypatch)
    assert_alike(together(engine, TASKS), expected)
    assert sorted(sizes) == [3, 4]


def test_styles_of_a_trained_network_are_painted_together(engine, tmp_path, monkeypatch):
    from impasto.models import checkpoint

    path = Path(tmp_path / "net.safetensors")
    checkpoint.write(path, tiny_network(), {"styles": ["s0", "s1"]})
    tasks = [Task(picture(seed=number), f"{path}:s{number}", Request()) for number in range(3)]
    tasks.append(Task(picture(seed=3), f"{path}:s1", Request(knobs={"strength": 0.5})))
    expected, sizes = apart(engine, tasks), passes(engine, monkeypatch)
    assert_alike(together(engine, tasks), expected)
    assert sorted(sizes) == [1, 3]


def test_what_cannot_be_painted_together_is_painted_alone(engine, monkeypatch):
    tasks = [
        Task(picture(), STYLE, DRAFT),
        Task(picture(32, 40), STYLE, DRAFT),
        Task(picture(), STYLE, replace(DRAFT, knobs={"strength": 0})),
        Task(picture(), STYLE, Request(controls=Controls(color_only=True))),
        Task(
            picture(),
            STYLE,
            Request(method="optimize", knobs=QUICK),
        ),
    ]
    expected, sizes = apart(engine, tasks), passes(engine, monkeypatch)
    assert_alike(together(engine, tasks), expected)
    assert set(sizes) == {1}


def test_the_fault_of_one_is_not_that_of_the_others(engine):
    tasks = [*TASKS[:2], Task(picture(), picture(4, 4), DRAFT), Task(b"no picture", STYLE, DRAFT), TASKS[2]]
    *first, too_small, damaged, last = together(engine, tasks)
    assert_alike([*first, last], apart(engine, TASKS[:3]))
    assert isinstance(too_small, InputError)
    assert isinstance(damaged, InputError)


def test_a_pass_that_fails_is_painted_one_by_one(engine, monkeypatch):
    expected = apart(engine, TASKS[:3])
    load = engine.models.stylizer

    def failing(*given, **named):
        stylizer = load(*given, **named)
        if not hasattr(stylizer, "failing"):
            paint, stylizer.failing = stylizer.stylize, True

            def stylize(content, *rest):
                if len(content) > 1 or float(content.mean()) == pytest.approx(float(picture(seed=1).mean()), abs=1e-6):
                    raise MemoryError
                return paint(content, *rest)

            stylizer.stylize = stylize
        return stylizer

    monkeypatch.setattr(engine.models, "stylizer", failing)
    first, second, third = together(engine, TASKS[:3])
    assert_alike([first, third], [expected[0], expected[2]])
    assert isinstance(second, MemoryError)


def test_one_of_a_batch_can_be_cancelled_and_each_sees_its_own_preview(engine):
    heard, expected = {0: [], 1: [], 2: []}, apart(engine, TASKS[:3])

    def listen(index, progress):
        heard[index].append(progress.preview)
        if index == 1 and progress.stage == "painting":
            raise Cancelled

    painted = together(engine, TASKS[:3], [partial(listen, index) for index in range(3)])
    assert_alike([painted[0], painted[2]], [expected[0], expected[2]])
    assert isinstance(painted[1], Cancelled)
    for index in (0, 2):
        last = heard[index][-1]
        assert last.shape == (1, 3, 48, 64)
        assert np.abs(last[0].permute(1, 2, 0).numpy() - painted[index].picture.pixels).max() < 2e-5


def test_all_of_a_batch_can_be_cancelled(engine):
    def stop(progress):
        if progress.stage == "painting":
            raise Cancelled

    painted = together(engine, TASKS[:3], [stop] * 3)
    assert [type(one) for one in painted] == [Cancelled] * 3


def test_a_batcher_paints_as_the_engine_does(engine, monkeypatch):
    expected, sizes = apart(engine, TASKS), passes(engine, monkeypatch)
    batcher = Batcher(engine)
    lane = batcher._lanes["quick"]
    size_class = engine.demand(TASKS[0]).size_class
    for size, each in ((1, 1.0), (2, 0.5), (4, 0.9)):
        for _ in range(2):
            lane.record(size_class, size, size * each)
    gate = threading.Event()
    blocked = batcher.submit(Task(picture(32, 32), STYLE, DRAFT), on_progress=lambda _: gate.wait(SECONDS) and None)
    futures = [batcher.submit(task, client=str(number)) for number, task in enumerate(TASKS)]
    gate.set()
    assert_alike([future.result(SECONDS) for future in futures], expected)
    assert blocked.result(SECONDS).picture.width == 32
    assert batcher.close(SECONDS)
    assert max(sizes) == 2


def test_what_an_engine_demands(engine):
    plain, other, strong = (engine.demand(TASKS[index]) for index in (0, 1, 3))
    assert not plain.slow
    assert plain.seconds > 0
    assert plain.fits > 1
    assert plain.size_class == other.size_class
    assert plain.size_class not in (None, strong.size_class)
    slow = engine.demand(Task(picture(), STYLE, Request()))
    assert (slow.slow, slow.size_class) == (True, None)
    assert engine.demand(Task(picture(), STYLE, replace(DRAFT, max_memory=2 << 30))).size_class is None
    trained = Task(TASKS[0].content, "pack:irises", Request(size=64))
    assert Engine(store=engine.store, runtime="onnx").demand(trained).size_class is None
    assert Engine(store=engine.store).demand(trained).size_class is not None
    with pytest.raises(InputError):
        engine.demand(Task(picture(), STYLE, replace(DRAFT, size=4)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_optimisations_yield_the_processor(held, batcher):
    import os

    found = {}

    def look(lane, progress):
        found[lane] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    held.release()
    for lane in ("quick", "slow"):
        batcher.submit(Task(lane, lane), on_progress=partial(look, lane)).result(SECONDS)
    assert found["slow"] >= found["quick"] + 5 or found["quick"] > 9
