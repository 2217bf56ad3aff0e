"""What happens to one job, told to any number of watchers, in threads and in asyncio alike.

A feed keeps the newest events only: a watcher that is slow misses progress, never the end, and holds nothing up.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

KEPT = 64
"""Events that a feed keeps for watchers that come late."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job.

    Attributes:
        number: counts up from 1 within the job.
        kind: "state", "progress", "preview", or, last of all, "done", "failed" or "cancelled".
        data: plain values; of "state" and of the last event the whole job.
        image: of "preview", a small JPEG file.
    """

    number: int
    kind: str
    data: Mapping[str, Any]
    image: bytes | None = None

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.kind in ("done", "failed", "cancelled")


class Feed:
    """The events of one job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[Callable[[], None]] = set()
        self._number = 0
        self._closed = False

    @property
    def watched(self) -> bool:
        """Whether anyone waits for events."""
        return bool(self._listeners)

    def publish(self, kind: str, data: Mapping[str, Any], image: bytes | None = None) -> None:
        """Tell an event. Of previews only the newest is kept."""
        with self._lock:
            self._number += 1
            if kind == "preview":
                kept = [event for event in self._events if event.kind != "preview"]
                self._events.clear()
                self._events.extend(kept)
            self._events.append(Event(self._number, kind, data, image))
            listeners = list(self._listeners)
        for wake in listeners:
            wake()

    def close(self) -> None:
        """Let watchers go; nothing more will be told."""
        with self._lock:
            self._closed = True
            listeners = list(self._listeners)
        for wake in listeners:
            wake()

    def ended(self, after: int) -> bool:
        """Whether nothing follows that number."""
        with self._lock:
            return self._number <= after and (self._closed or bool(self._events and self._events[-1].last))

    def since(self, number: int) -> list[Event]:
        """The kept events after that number."""
        with self._lock:
            return [event for event in self._events if event.number > number]

    @contextmanager
    def _listening(self, wake: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._listeners.add(wake)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(wake)

    def watch(self, after: int = 0) -> Iterator[Event]:
        """The events after that number, as they come, to the last."""
        woken = threading.Event()
        with self._listening(woken.set):
            while True:
                for event in self.since(after):
                    after = event.number
                    yield event
                if self.ended(after):
                    return
                woken.wait()
                woken.clear()

    async def watch_async(self, after: int = 0) -> AsyncIterator[Event]:
        """The same in asyncio."""
        woken, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

        with self._listening(wake):
            while True:
                for event in self.since(after):
                    after = event.number
                    yield event
                if self.ended(after):
                    return
                await woken.wait()
                woken.clear()
