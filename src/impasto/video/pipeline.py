"""Steps side by side: a thread each, with short queues between."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from impasto.contract import Progress

_WAITING = 4  # frames between two steps of the pipeline: bounded, so that memory is


class Stopped(Exception):
    """Another step has failed."""


_END = object()


class Pipeline:
    """Steps side by side, each a thread, with short queues between; the last one runs in the caller's thread.

    Args:
        waiting: frames between two steps.
    """

    def __init__(self, waiting: int = _WAITING) -> None:
        self._stop = threading.Event()
        self._waiting = waiting
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self.busy: dict[str, float] = {}

    def step(self, name: str, items: Iterator[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        """Do `work` on each item in a thread of its own; gives the results in order."""
        waiting: queue.Queue[Any] = queue.Queue(self._waiting)
        first = not self.busy
        self.busy[name] = 0.0

        def run() -> None:
            try:
                for item in self._timed_source(name, items) if first else items:
                    began = time.perf_counter()
                    done = work(item)
                    self.busy[name] += time.perf_counter() - began
                    self._put(waiting, done)
                self._put(waiting, _END)
            except Stopped:
                pass
            except BaseException as error:
                self._errors.append(error)
                self._stop.set()

        thread = threading.Thread(target=run, name=f"impasto-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._take(waiting)

    def _timed_source(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """What the first step reads from (decoding) counts as its work; the others wait for each other."""
        while True:
            began = time.perf_counter()
            item = next(items, _END)
            self.busy[name] += time.perf_counter() - began
            if item is _END:
                return
            yield item

    def _put(self, waiting: queue.Queue[Any], item: Any) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return
        raise Stopped

    def _take(self, waiting: queue.Queue[Any]) -> Iterator[Any]:
        while True:
            try:
                item = waiting.get(timeout=0.1)
            except queue.Empty:
                if self._stop.is_set():
                    raise Stopped from None
                continue
            if item is _END:
                return
            yield item

    def check(self, progress: Progress) -> None:  # noqa: ARG002 - what is done is told frame by frame
        """A callback for long steps: gives up when another step has."""
        if self._stop.is_set():
            raise Stopped

    def close(self) -> None:
        """Stop all threads, and raise what went wrong in one."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
