"""Paints on a Ray cluster: replicas that grow and shrink in number with what waits, behind the same service.

The service keeps what it has: HTTP and gRPC, keys, limits, jobs and results. Only what paints is elsewhere: two Ray
Serve applications, one for pictures of a single pass, which each replica paints in batches, and one for optimisations,
a picture at a time, which tell their progress as a stream. A replica that dies is replaced, and another paints its
pictures again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from impasto import device
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine import cluster
from impasto.engine.batcher import BatchSettings
from impasto.engine.engine import Demand, Engine
from impasto.engine.plan import stages_of
from impasto.engine.request import Result, Task
from impasto.errors import Cancelled, StyleError, plain
from impasto.ops.tiles import thumbnail
from impasto.serve.jobs import public_error
from impasto.serve.settings import ServeSettings, restored

_PAUSE = 0.25  # seconds between two looks at whether a picture is to be stopped
_TRIES = 3  # of a picture whose replica dies
_LAST_WORDS = 30.0  # seconds that an optimisation has to end its step after it was stopped
_NO_LIMIT = 1 << 30

_Told = tuple[str, Any]


@dataclass(frozen=True)
class Scaling:
    """How many replicas there are.

    Attributes:
        least: of pictures of one pass; of optimisations there may be none while nobody asks for one.
        most: of each kind; None for as many as the cluster has room for.
        idle_seconds: after which one that has nothing to do is ended.
    """

    least: int = 1
    most: int | None = None
    idle_seconds: float = 120.0


class Replica:
    """Paints with an engine of its own; weights are loaded once.

    Args:
        precision: as for `Engine`.
        threads: that it computes with.
    """

    def __init__(self, precision: str, threads: int) -> None:
        device.use_threads(threads)
        self._engine = Engine(precision=precision, runtime="torch")

    async def paint(self, tasks: Sequence[Task]) -> list[_Told]:
        """What becomes of pictures of one pass, painted together where they can be."""
        outcomes = await asyncio.to_thread(self._engine.paint_all, tasks, [ignore] * len(tasks))
        return [_told(outcome) for outcome in outcomes]

    async def watch(self, task: Task, name: str, stops: Any) -> AsyncIterator[_Told]:
        """Progress of an optimisation several times a second, the last report too, and in the end what became of it.

        Args:
            task: the picture.
            name: by which `stops`, an actor of the class `Stops`, is asked whether to stop it.
        """
        stopped, latest = threading.Event(), [Progress("reading", 0, 0)]

        def report(progress: Progress) -> None:
            if stopped.is_set():
                raise Cancelled
            latest[:] = [progress]

        painting = asyncio.ensure_future(asyncio.to_thread(self._engine.paint_all, [task], [report]))
        told = None
        try:
            while not painting.done() or told is not latest[0]:
                await asyncio.wait({painting}, timeout=_PAUSE)
                told = latest[0]
                yield "progress", _sent(told)
                if not stopped.is_set() and await _is_stopped(stops, name):
                    stopped.set()
            yield _told(painting.result()[0])
        finally:
            stopped.set()


class Stops:
    """An actor: which optimisations the service wants to be stopped. Unlike a cancelled call, they still say how far
    they had come.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()

    def stop(self, name: str) -> None:
        """Have one stopped."""
        self._names.add(name)

    def is_stopped(self, name: str) -> bool:
        """Whether one is to be stopped."""
        return name in self._names

    def forget(self, name: str) -> None:
        """One has ended."""
        self._names.discard(name)


async def _is_stopped(stops: Any, name: str) -> bool:
    try:
        return bool(await stops.is_stopped.remote(name))
    except Exception:  # its node died: the picture is painted to its end
        return False


def _sent(progress: Progress) -> Progress:
    """A report that can travel: without its snapshot, and with a small preview."""
    preview = None if progress.preview is None else thumbnail(progress.preview, 512).float().cpu().clone()
    return replace(progress, snapshot=None, preview=preview)


def _told(outcome: Result | Exception) -> _Told:
    if isinstance(outcome, Cancelled):
        return "stopped", outcome.result
    return ("failed", public_error(outcome)) if isinstance(outcome, Exception) else ("done", outcome)


class ReplicaPainter:
    """What a `Batcher` paints with where replicas do the work; see `batcher.Painter`.

    Args:
        engine: of this machine, which looks at pictures and paints none.
        quick, slow: handles of the two applications.
        stops: the actor of `Stops`.
    """

    def __init__(self, engine: Engine, quick: Any, slow: Any, stops: Any) -> None:
        self._engine, self._quick, self._slow, self._stops = engine, quick, slow, stops

    def demand(self, task: Task) -> Demand:
        """What a picture will take."""
        return self._engine.demand(task)

    def paint_all(self, tasks: Sequence[Task], listeners: Sequence[OnProgress]) -> list[Result | Exception]:
        """What becomes of pictures; each goes to the replica that has the least to do."""
        return [self._paint(*pair) for pair in zip(tasks, listeners, strict=True)]

    def _paint(self, task: Task, listener: OnProgress) -> Result | Exception:
        from ray.exceptions import RayError, RayTaskError

        try:
            objective = stages_of(task.styles, task.request)[-1].method.kind == "objective"
            slow = objective and not task.request.controls.color_only
            for _ in range(_TRIES):
                try:
                    return self._watched(task, listener) if slow else self._waited(task, listener)
                except RayTaskError:
                    raise
                except RayError as error:  # its replica died: another paints it
                    lost = error
            reason = plain(str(lost)).split(". ")[0][:160]
            return StyleError(f"the replicas that painted it died: {reason}", "use a smaller size, or try again")
        except Exception as error:
            return error

    def _waited(self, task: Task, listener: OnProgress) -> Result | Exception:
        listener(Progress("painting", 0, 1))
        response = self._quick.remote(task)
        while True:
            try:
                outcome = _outcome(response.result(timeout_s=_PAUSE))
                listener(Progress("painting", 1, 1))
                return outcome
            except TimeoutError:
                with _cancelling(response):
                    listener(Progress("painting", 0, 1))

    def _watched(self, task: Task, listener: OnProgress) -> Result | Exception:
        name = secrets.token_hex(8)
        stream = self._slow.options(stream=True).watch.remote(task, name, self._stops)
        stopped, since = None, 0.0
        for kind, value in stream:
            if kind != "progress":
                self._stops.forget.remote(name)
                return _outcome((kind, value)) if stopped is None else _stopped(stopped, kind, value)
            with _cancelling(stream):
                if stopped is None:
                    try:
                        listener(value)
                    except Cancelled as error:
                        stopped, since = error, time.monotonic()
                        self._stops.stop.remote(name)
                elif time.monotonic() - since > _LAST_WORDS:
                    raise stopped
        raise AssertionError("a stream ends with what became of the picture")


@contextmanager
def _cancelling(response: Any) -> Iterator[None]:
    """Have the replica stop where the listener does."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            response.cancel()
        raise


def _stopped(error: Cancelled, kind: str, value: Any) -> Cancelled:
    """What became of an optimisation that was stopped: how far it had come, if its replica could tell."""
    error.result = value if kind in ("stopped", "done") else None
    return error


def _outcome(told: _Told) -> Result | Exception:
    kind, value = told
    if kind == "done":
        assert isinstance(value, Result)
        return value
    return restored(value)


@contextmanager
def deployed(
    address: str,
    engine: Engine,
    limits: ServeSettings,
    *,
    scaling: Scaling = Scaling(),
    precision: str = "auto",
    threads: int | None = None,
) -> Iterator[tuple[ReplicaPainter, BatchSettings]]:
    """Replicas on a cluster for as long as the block lasts: what paints, and how a `Batcher` hands pictures to it.

    Args:
        address: as for `cluster.connected`.
        engine: see `ReplicaPainter`.
        limits: of the service; its `max_batch` and `max_delay` are those of each replica.
        scaling: how many replicas.
        precision: as for `Engine`.
        threads: of each replica.

    Raises:
        InputError: no cluster answers, or a node cannot paint.
        MissingExtra: Ray is not installed.
    """
    with cluster.connected(address):  # nothing loads Ray before it: Ray reads its surroundings as it is imported
        import ray
        from ray import serve

        cluster.check_nodes()
        shape = cluster.shape_of(workers=scaling.most, threads=threads)
        name = f"impasto-{secrets.token_hex(4)}"
        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # our own log tells of requests
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})
        try:
            quick, slow = (
                serve.run(application, name=f"{name}-{lane}", route_prefix=None)
                for lane, application in _applications(shape, limits, scaling, precision).items()
            )
            most = min(limits.connections, shape.workers * limits.max_batch)
            settings = BatchSettings(
                max_delay=0.0,
                max_batch=1,
                quick_workers=most,
                slow_workers=shape.workers,
                long_workers=shape.workers,
                max_queue=_NO_LIMIT,
            )
            stops = ray.remote(num_cpus=0, max_restarts=-1)(Stops).remote()
            yield ReplicaPainter(engine, quick, slow, stops), settings
        finally:
            for lane in ("quick", "slow"):
                with suppress(Exception):
                    serve.delete(f"{name}-{lane}")


def _applications(shape: cluster.Shape, limits: ServeSettings, scaling: Scaling, precision: str) -> dict[str, Any]:
    """The two kinds of replicas, bound to their arguments."""
    from ray import serve

    class QuickReplica(Replica):
        @serve.batch(max_batch_size=limits.max_batch, batch_wait_timeout_s=limits.max_delay)
        async def __call__(self, tasks: list[Task]) -> list[_Told]:
            return await self.paint(tasks)

    actor = {"num_cpus": shape.cpus, "num_gpus": shape.gpus}
    least = {"quick": min(scaling.least, shape.workers), "slow": 0}
    waiting = {"quick": limits.max_batch, "slow": 1}  # that one replica has at a time
    kinds = {"quick": QuickReplica, "slow": Replica}
    return {
        lane: serve.deployment(
            name=lane,
            ray_actor_options=actor,
            max_ongoing_requests=2 * waiting[lane],
            autoscaling_config={
                "min_replicas": least[lane],
                "max_replicas": shape.workers,
                "initial_replicas": least[lane],
                "target_ongoing_requests": waiting[lane],
                "downscale_delay_s": scaling.idle_seconds,
                "upscale_delay_s": 1.0,
            },
        )(kind).bind(precision, shape.cpus)
        for lane, kind in kinds.items()
    }
