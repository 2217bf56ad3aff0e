"""Paints pictures for many clients at once: fair between them, in batches where batches are quicker, in three lanes.

What a picture is predicted to take decides its lane, each with its own workers: what takes a moment never waits for
what takes minutes, and that never for what takes hours.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol

from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.engine import Demand
from impasto.engine.request import Result, Task, attempt
from impasto.engine.scheduling import Lane, busy_seconds
from impasto.errors import Cancelled, ResourceError, StyleError
from impasto.memory import trim_memory

QUICK, SLOW, LONG = "quick", "slow", "long"
LANES = (QUICK, SLOW, LONG)
QUICK_SECONDS, LONG_SECONDS = 30.0, 600.0
"""Predicted seconds up to which a picture of one pass is quick, and beyond which any has a lane for long ones."""

# of a lane's threads: the system gives quick ones some nine times the processor time of slow ones (docs/serve.md)
_NICE = {SLOW: 10, LONG: 15}
_TRIM_AFTER = 32  # quick pictures; an optimisation by itself leaves more in pieces than so many of them
_STOP_SECONDS = 10.0  # in which what runs is to hear that it is stopped


@dataclass(frozen=True)
class BatchSettings:
    """How pictures share the machine.

    Attributes:
        max_delay: seconds that a picture waits for others to be painted together with, while a worker is free.
        max_batch: pictures painted together at most; 1 for never.
        quick_workers: threads for methods of one pass.
        slow_workers: threads for optimisations, and for large pictures.
        long_workers: threads for pictures that take very long.
        max_queue: pictures that wait in each lane.
    """

    max_delay: float = 0.005
    max_batch: int = 8
    quick_workers: int = 1
    slow_workers: int = 1
    long_workers: int = 1
    max_queue: int = 64


@dataclass(frozen=True)
class Statistics:
    """What a batcher does and has done, for metrics.

    Attributes:
        waiting, running: pictures by lane.
        batches: how many there were of each number of pictures.
        pictures: that came to an end, by lane.
        waited: seconds that they waited altogether, by lane.
    """

    waiting: Mapping[str, int]
    running: Mapping[str, int]
    batches: Mapping[int, int]
    pictures: Mapping[str, int]
    waited: Mapping[str, float]


class QueueFullError(ResourceError):
    """Too many pictures wait; the same one is taken later.

    Attributes:
        retry_after: seconds after which to try again.
    """

    http_status = 429
    retry_after: ClassVar[int] = 5


class Painter(Protocol):
    """What paints; an `Engine` is one."""

    def demand(self, task: Task) -> Demand:
        """What a picture will take."""
        ...

    def paint_all(self, tasks: Sequence[Task], listeners: Sequence[OnProgress]) -> list[Result | Exception]:
        """Paint pictures together; see `Engine.paint_all`."""
        ...


@dataclass(eq=False)
class _Item:
    """One picture that waits or is being painted."""

    read: Callable[[], Task]
    demand: Demand
    client: str
    on_progress: OnProgress
    arrived: float
    stopped: threading.Event
    future: Future[Result] = field(default_factory=Future)

    @property
    def lane(self) -> str:
        return lane_of(self.demand)

    def task(self) -> Task:
        """What is to be painted, now that its turn has come."""
        self.hear(Progress("reading", 0, 0))
        return self.read()

    def hear(self, progress: Progress) -> None:
        """Pass a report on, or stop."""
        if self.stopped.is_set():
            raise Cancelled("the service is stopping", "try again in a minute")
        self.on_progress(progress)


def lane_of(demand: Demand) -> str:
    """The lane of a picture: one of `LANES`."""
    if demand.seconds > LONG_SECONDS:
        return LONG
    return SLOW if demand.slow or demand.seconds > QUICK_SECONDS else QUICK


class Batcher:
    """Paints what is submitted, in threads of its own.

    Args:
        painter: an engine.
        settings: how pictures share the machine.
        clock: seconds that only grow.
    """

    def __init__(
        self, painter: Painter, settings: BatchSettings | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings or BatchSettings()
        self._painter, self._clock = painter, clock
        own = self.settings
        self._lanes: Mapping[str, Lane[_Item]] = {
            name: Lane(max_batch=own.max_batch, max_delay=own.max_delay) for name in LANES
        }
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self._batches: Counter[int] = Counter()
        self._pictures: Counter[str] = Counter()
        self._waited: dict[str, float] = dict.fromkeys(LANES, 0.0)
        self._closing, self._stopped = False, threading.Event()
        counts = {QUICK: own.quick_workers, SLOW: own.slow_workers, LONG: own.long_workers}
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"impasto-{lane}-{number}", daemon=True)
            for lane, number in ((lane, number) for lane in LANES for number in range(counts[lane]))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task, *, client: str = "", on_progress: OnProgress = ignore) -> Future[Result]:
        """Paint a picture when its turn comes.

        Args:
            task: the picture.
            client: for whom; clients share the machine evenly.
            on_progress: called from a thread of the batcher, once before it begins, then as by `Engine.stylize`.
                Raising Cancelled stops this picture alone.

        Returns:
            Its result, or what `Engine.stylize` raises. One that waits can be cancelled.

        Raises:
            InputError, ResourceError, AssetError: what is told before painting.
            QueueFullError: too many wait.
        """
        self._check_open()  # before the work of looking at it
        return self.submit_later(lambda: task, self._painter.demand(task), client=client, on_progress=on_progress)

    def submit_later(
        self, read: Callable[[], Task], demand: Demand, *, client: str = "", on_progress: OnProgress = ignore
    ) -> Future[Result]:
        """The same for a picture that is read when its turn comes, so that it takes no memory before.

        Args:
            read: gives it.
            demand: as `Engine.demand` told.
            client, on_progress: as for `submit`.

        Raises:
            ResourceError, QueueFullError: as for `submit`.
        """
        item = _Item(read, demand, client, on_progress, self._clock(), self._stopped)
        lane = self._lanes[item.lane]
        with self._changed:
            self._check_open()
            if len(lane) >= self.settings.max_queue:
                hint = f"try again in {QueueFullError.retry_after} seconds"
                raise QueueFullError("the queue is full: too many pictures wait", hint)
            lane.add(
                item,
                client=client,
                size_class=demand.size_class,
                seconds=max(demand.seconds, 1e-3),
                fits=demand.fits,
                now=item.arrived,
            )
            self._changed.notify_all()
        # weakly: a future that held its item, and the picture, would wait for the garbage collector
        item.future.add_done_callback(partial(self._drop_cancelled, weakref.ref(item)))
        return item.future

    def statistics(self) -> Statistics:
        """What is done and has been done."""
        with self._changed:
            return Statistics(
                waiting={name: len(lane) for name, lane in self._lanes.items()},
                running={name: self._running[name] for name in LANES},
                batches=dict(self._batches),
                pictures={name: self._pictures[name] for name in LANES},
                waited=dict(self._waited),
            )

    def close(self, drain_seconds: float = 30.0) -> bool:
        """Take no more, give what waits and runs some time, then stop the rest.

        Args:
            drain_seconds: that time.

        Returns:
            Whether everything was painted.
        """
        with self._changed:
            self._closing = True
            drained = self._changed.wait_for(self._is_idle, drain_seconds)
            rest = [item for lane in self._lanes.values() for item in lane.items()]
            self._stopped.set()
            self._changed.notify_all()
        for item in rest:
            item.future.cancel()
        until = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return drained

    def _is_idle(self) -> bool:
        return not any(self._running.values()) and not any(map(len, self._lanes.values()))

    def _check_open(self) -> None:
        if self._closing:
            raise ResourceError("the service is stopping", "try again in a minute")

    def _drop_cancelled(self, waiting: weakref.ref[_Item], future: Future[Result]) -> None:
        item = waiting()
        if item is not None and future.cancelled():
            with self._changed:
                self._lanes[item.lane].remove(item)
                self._changed.notify_all()

    def _work(self, lane: str) -> None:
        """Paint what comes, to the end."""
        if lane != QUICK:
            yield_processor(_NICE[lane])
        kept, idle_since = 0, self._clock()
        while batch := self._next(lane):
            started = self._clock()
            self._paint(batch)
            ended = self._clock()
            took, idle_since = busy_seconds(idle_since, started, ended), ended
            kept += len(batch) if lane == QUICK else _TRIM_AFTER
            if kept >= _TRIM_AFTER:
                trim_memory()  # what pictures of many sizes leave free lies in pieces, and would only grow
                kept = 0
            with self._changed:
                self._running[lane] -= len(batch)
                self._lanes[lane].record(_class_of(batch), len(batch), took)
                self._changed.notify_all()

    def _next(self, name: str) -> list[_Item]:
        """What a free worker is to paint; empty when there will be nothing more."""
        lane = self._lanes[name]
        with self._changed:
            while not self._stopped.is_set():
                now = self._clock()
                batch = [item for item in lane.take(now) if item.future.set_running_or_notify_cancel()]
                if batch:
                    self._running[name] += len(batch)
                    self._batches[len(batch)] += 1
                    self._pictures[name] += len(batch)
                    self._waited[name] += sum(now - item.arrived for item in batch)
                    return batch
                self._changed.wait(lane.pause(now))
        return []

    def _paint(self, batch: Sequence[_Item]) -> None:
        """Paint a batch, and give each item what it came to."""
        outcomes: dict[int, Result | Exception] = {}
        tasks: dict[int, Task] = {}
        for index, item in enumerate(batch):
            found = attempt(item.task)
            if isinstance(found, Exception):
                outcomes[index] = found
            else:
                tasks[index] = found
        listeners = [batch[index].hear for index in tasks]
        painted = attempt(lambda: self._painter.paint_all(list(tasks.values()), listeners))
        if isinstance(painted, Exception):  # of a bug all hear
            painted = [painted] * len(tasks)
        outcomes |= zip(tasks, painted, strict=True)
        for index, item in enumerate(batch):
            outcome = outcomes[index]
            if isinstance(outcome, Exception):
                _let_go(outcome)
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)


def _let_go(error: BaseException | None) -> None:
    """Drop the local values of the calls that an error came through: megabytes, for as long as someone keeps it.

    Of one that is no bug the calls are forgotten, too: they lead back to the batch, and so to the error itself.
    """
    told = isinstance(error, StyleError)
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        if told:
            error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _class_of(batch: Sequence[_Item]) -> Hashable | None:
    return batch[0].demand.size_class


def yield_processor(niceness: int = _NICE[SLOW]) -> None:
    """Have the system prefer other threads to this one and to those that it starts, where a thread can be told so."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
