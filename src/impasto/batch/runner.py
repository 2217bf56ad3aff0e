"""All pictures of a batch on one machine: some threads read, one paints, some write, with short queues between."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from impasto import device
from impasto.batch.painter import MOST_ON_DEVICE, BatchPainter, Outcome, Painted, Prepared
from impasto.batch.plan import Work
from impasto.contract import OnProgress, Progress, ignore

T = TypeVar("T")

_PAUSE = 0.2  # seconds between two looks at what the user asks for
_MOST_THREADS = 16  # that read, or write


@dataclass(frozen=True)
class Threads:
    """How many threads work beside painting, and how much waits between.

    Attributes:
        readers, writers: threads.
        ahead: pictures that are read before their turn, and that wait to be written: bounded, so that memory is.
    """

    readers: int = 2
    writers: int = 2
    ahead: int = 8

    @classmethod
    def beside(cls, device_name: str) -> Threads:
        """For what paints: few that disturb a processor little; for another device, as many as keep it busy."""
        if device_name == "cpu":
            return cls()
        each = max(2, min(_MOST_THREADS, device.cores() // 2))
        return cls(readers=each, writers=each, ahead=2 * MOST_ON_DEVICE)


def paint_all(
    works: Iterable[Work],
    painter: BatchPainter,
    *,
    total: int,
    threads: Threads | None = None,
    on_progress: OnProgress = ignore,
) -> Generator[Outcome, None, None]:
    """What comes of each picture, as soon as it is known, in about their order.

    Who leaves it early closes it, which finishes what is being written.

    Args:
        works: what to paint.
        painter: reads, paints and writes.
        total: how many works there are, for the progress.
        threads: beside this one, which paints; None for what the device takes.
        on_progress: called all the time from this thread; cancels by raising `Cancelled`.

    Raises:
        Cancelled, AssetError, MissingExtra, ResourceError: no more can be painted. What is being written is finished.
    """
    line = _Line(painter, threads or Threads.beside(painter.device), total, on_progress)
    try:
        yield from line.run(iter(works))
    finally:
        line.close()


class _Line:
    def __init__(self, painter: BatchPainter, threads: Threads, total: int, on_progress: OnProgress) -> None:
        self._painter, self._threads, self._total, self._on_progress = painter, threads, total, on_progress
        self._readers = ThreadPoolExecutor(threads.readers, thread_name_prefix="impasto-read")
        self._writers = ThreadPoolExecutor(threads.writers, thread_name_prefix="impasto-write")
        self._read: deque[Future[Prepared | Outcome]] = deque()
        self._written: deque[Future[Outcome]] = deque()
        self._done = 0

    def run(self, works: Iterator[Work]) -> Iterator[Outcome]:
        self._tell(0.0)
        while True:
            self._fill(works)
            if not self._read:
                break
            first = self._wait(self._read.popleft())
            if isinstance(first, Outcome):
                yield self._counted(first)
            else:
                group, others = self._group(first, works)
                yield from map(self._counted, others)
                yield from self._paint(group)
            yield from self._finished(self._threads.ahead)
        yield from self._finished(0)

    def close(self) -> None:
        """Let what is being written be finished, and drop the rest."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writers.shutdown(wait=True)

    def _fill(self, works: Iterator[Work]) -> None:
        for work in islice(works, max(0, self._threads.ahead - len(self._read))):
            self._read.append(self._readers.submit(self._painter.read, work))

    def _group(self, first: Prepared, works: Iterator[Work]) -> tuple[list[Prepared], list[Outcome]]:
        """Pictures to be painted in one pass: the first, and those behind it that are ready and like it."""
        group, others = [first], []
        most = self._painter.together(first)
        while len(group) < most and self._read and self._read[0].done():
            following = self._read[0].result()
            if isinstance(following, Prepared) and following.key != first.key:
                break
            self._read.popleft()
            if isinstance(following, Prepared):
                group.append(following)
            else:
                others.append(following)
            self._fill(works)
        return group, others

    def _paint(self, group: list[Prepared]) -> Iterator[Outcome]:
        def report(progress: Progress) -> None:
            self._tell(progress.share * len(group))

        for painted in self._painter.paint(group, report):
            if isinstance(painted, Painted):
                self._written.append(self._writers.submit(self._painter.write, painted))
            else:
                yield self._counted(painted)

    def _finished(self, most: int) -> Iterator[Outcome]:
        """What is written; waits until no more than `most` are left."""
        while self._written and (len(self._written) > most or self._written[0].done()):
            yield self._counted(self._wait(self._written.popleft()))

    def _counted(self, outcome: Outcome) -> Outcome:
        self._done += 1
        self._tell(0.0)
        return outcome

    def _wait(self, future: Future[T]) -> T:
        while True:
            try:
                return future.result(timeout=_PAUSE)
            except TimeoutError:
                if future.done():
                    raise
                self._tell(0.0)

    def _tell(self, begun: float) -> None:
        share = min(1.0, (self._done + begun) / self._total) if self._total else None
        self._on_progress(Progress("painting", self._done, self._total, unit="picture", done=share))
