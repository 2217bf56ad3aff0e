"""Painting by replicas: what the service hears when they work, die, fail or stop. Handles stand in for a cluster."""

import asyncio
import subprocess
import sys

import pytest

from impasto import images
from impasto.contract import Progress, ignore
from impasto.engine.request import Request, Task
from impasto.errors import Cancelled, InputError, StyleError
from tiny import noise

exceptions = pytest.importorskip("ray.exceptions", reason="the extra ray is not installed")


def task(method="adain", **knobs):
    photo, painting = (
        images.read(noise(48, 64, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()) for seed in (0, 1)
    )
    return Task(photo, [(painting, 1.0)], Request(method=method, knobs=knobs))


class Response:
    """What a call of a replica gives: its answers in order; exceptions are raised."""

    def __init__(self, answers):
        self.answers, self.cancelled = list(answers), False

    def result(self, timeout_s):
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __iter__(self):
        while self.answers:
            yield self.result(0)

    def cancel(self):
        self.cancelled = True


class Handle:
    """Gives one response after the other."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.watch, self.calls = self, []

    def options(self, **_):
        return self

    def remote(self, task, *_):
        self.calls.append(task)
        return self.responses[len(self.calls) - 1]


@pytest.fixture
def replica(engine):
    from impasto.serve.replicas import Replica

    made = Replica.__new__(Replica)
    made._engine = engine
    return made


class Actor:
    """Calls an object as Ray's handle of an actor does."""

    def __init__(self, held):
        self.held = held

    def __getattr__(self, name):
        async def answer(*given):
            return getattr(self.held, name)(*given)

        class Method:
            @staticmethod
            def remote(*given):
                asking = answer(*given)
                try:
                    asyncio.get_running_loop()
                except RuntimeError:
                    return asyncio.run(asking)
                return asking

        return Method


@pytest.fixture
def stops():
    from impasto.serve.replicas import Stops

    return Actor(Stops())


@pytest.fixture
def painter(engine, stops):
    from impasto.serve.replicas import ReplicaPainter

    return lambda quick=None, slow=None: ReplicaPainter(engine, quick, slow, stops)


def test_a_replica_paints_what_the_engine_paints(replica, engine, painter):
    tasks = [task(), task(strength=7.0), task()]
    told = asyncio.run(replica.paint(tasks))
    assert [kind for kind, _ in told] == ["done", "failed", "done"]
    results = painter(Handle(*(Response([one]) for one in told))).paint_all(tasks, [ignore] * 3)
    alone = engine.stylize(tasks[0].content, tasks[0].styles, tasks[0].request)
    assert abs(results[0].picture.pixels - alone.picture.pixels).max() < 1e-5
    assert isinstance(results[1], InputError)
    assert results[1].hint


def test_an_optimisation_is_watched_as_it_goes(replica, painter, stops):
    async def watched():
        return [told async for told in replica.watch(task("optimize", steps=2, coarsest=32), "name", stops)]

    told = asyncio.run(watched())
    kinds = [kind for kind, _ in told]
    assert kinds[-1] == "done"
    assert set(kinds[:-1]) <= {"progress"}
    assert all(report.snapshot is None for kind, report in told if kind == "progress")
    heard = []
    (result,) = painter(slow=Handle(Response(told))).paint_all([task("optimize", steps=2)], [heard.append])
    assert result.record["method"] == "optimize"
    assert len(heard) == len(told) - 1
    assert (heard[-1].step, heard[-1].share) == (heard[-1].total, 1.0)


def test_what_is_stopped_is_stopped_on_its_replica(painter):
    quick = Response([TimeoutError(), ("done", None)])
    heard = iter([None, Cancelled()])

    def later(_):
        if (error := next(heard)) is not None:
            raise error

    (outcome,) = painter(Handle(quick)).paint_all([task()], [later])
    assert isinstance(outcome, Cancelled)
    assert quick.cancelled


def stop(_):
    raise Cancelled("enough", "go on")


def test_a_stopped_optimisation_says_how_far_it_had_come(replica, painter, stops):
    async def watched():
        told = []
        async for one in replica.watch(task("optimize", steps=2000), "name", stops):
            told.append(one)
            if one[1] is not None and getattr(one[1], "losses", None):
                await stops.stop.remote("name")
        return told

    told = asyncio.run(watched())
    assert told[-1][0] == "stopped"
    assert told[-1][1].picture.width == 64
    (outcome,) = painter(slow=Handle(Response([told[0], told[-1]]))).paint_all([task("optimize")], [stop])
    assert isinstance(outcome, Cancelled)
    assert (outcome.message, outcome.result) == ("enough", told[-1][1])
    assert stops.held._names == {"name"}  # that of the painter, another one, is forgotten


def test_one_that_does_not_stop_is_cancelled_on_its_replica(painter, monkeypatch):
    from impasto.serve import replicas

    monkeypatch.setattr(replicas, "_LAST_WORDS", 0.0)
    slow = Response([("progress", Progress("painting", 0, 1))] * 9)
    (outcome,) = painter(slow=Handle(slow)).paint_all([task("optimize")], [stop])
    assert isinstance(outcome, Cancelled)
    assert outcome.result is None
    assert slow.cancelled


def test_another_replica_paints_what_a_dead_one_had(replica, painter):
    (told,) = asyncio.run(replica.paint([task()]))
    handle = Handle(Response([exceptions.RayActorError()]), Response([told]))
    (result,) = painter(handle).paint_all([task()], [ignore])
    assert result.picture.width == 64
    assert len(handle.calls) == 2


def test_a_picture_that_kills_every_replica_fails_in_the_end(painter):
    handle = Handle(*(Response([exceptions.RayActorError()]) for _ in range(9)))
    (outcome,) = painter(handle).paint_all([task()], [ignore])
    assert isinstance(outcome, StyleError)
    assert "replicas that painted it died" in outcome.message
    assert len(handle.calls) == 3


def test_a_watcher_that_leaves_ends_the_painting(replica, stops):
    async def left():
        async for _ in replica.watch(task("optimize", steps=2000), "name", stops):
            return

    asyncio.run(left())  # asyncio waits for its threads: it would take minutes


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--replicas", "2"), "--replicas are those"), (("--ray", "nowhere"), "--ray is nowhere")],
)
def test_what_cannot_be_served_is_told(words, message, capfd, monkeypatch, tmp_path):
    from impasto.cli import app

    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path))
    assert app.run(["serve", "--http", "0", *words]) == 2
    assert message in capfd.readouterr().err


CONNECTED = """
import sys
from impasto.engine import cluster
from impasto.serve import replicas

def connected(address):
    sys.exit(3 if "ray" in sys.modules else 0)

cluster.connected = connected
with replicas.deployed("local", None, None):
    pass
"""


@pytest.mark.process
def test_ray_is_loaded_only_when_its_surroundings_are_set():
    """Or what it says of a replica that died would be printed."""
    assert subprocess.run([sys.executable, "-c", CONNECTED], check=False).returncode == 0
