"""Who is painted next, and how many at once: fair between clients, by what was measured. No threads, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

_KEPT = 4  # last times of each size of batch; the quickest of them counts: others load the machine too
_TIMES_FIRST = 2  # of each size are measured before the next is tried: the first loads weights
_WORTH = 0.95  # of the time a picture of half as many; a larger batch that saves less is not worth its wait
_WORTH_ALL = 0.8  # likewise of half of what waits: a batch of all leaves nothing to read meanwhile, nor to write
_RETRY = 64  # batches after which the next larger one is tried again
_CLASSES = 256  # size classes that are remembered


@dataclass(frozen=True, eq=False)
class Waiting(Generic[T]):
    """An item of a queue.

    Attributes:
        item: what waits.
        client: whose it is.
        size_class: what items have in common that can be painted together; None for those painted alone.
        seconds: of work, that its client is charged with.
        fits: items like it that memory holds at once.
        arrived: when it came.
        number: counts up.
    """

    item: T
    client: str
    size_class: Hashable | None
    seconds: float
    fits: int
    arrived: float
    number: int


class FairQueue(Generic[T]):
    """Waiting items; next is the client that has been given least, in seconds of work, since it began to wait.

    Source: start-time fair queuing (Goyal, Vin and Cheng 1996).
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiting[T]]] = {}
        self._given: dict[str, float] = {}
        self._now = 0.0  # what the client that was served last had been given before

    def __len__(self) -> int:
        return sum(len(own) for own in self._waiting.values())

    def __iter__(self) -> Iterator[Waiting[T]]:
        for own in self._waiting.values():
            yield from own

    def add(self, waiting: Waiting[T]) -> None:
        """Put an item behind the others of its client. Who did not wait saves nothing up."""
        own = self._waiting.setdefault(waiting.client, [])
        if not own:
            self._given[waiting.client] = max(self._given.get(waiting.client, 0.0), self._now)
        own.append(waiting)

    def remove(self, item: T) -> bool:
        """Take an item out, if it is there."""
        found = next((one for one in self if one.item is item), None)
        if found is not None:
            self._take(found)
        return found is not None

    def first(self) -> Waiting[T] | None:
        """The item whose turn it is."""
        return min((own[0] for own in self._waiting.values()), key=self._turn, default=None)

    def like(self, size_class: Hashable | None) -> int:
        """Items of that class."""
        return sum(one.size_class == size_class for one in self)

    def pop(self, lead: Waiting[T], most: int) -> list[T]:
        """Take out an item and, in turn, others of its class.

        Args:
            lead: as `first` gives it.
            most: items in all.
        """
        self._now = max(self._now, self._given[lead.client])
        taken: list[T] = []
        following: Waiting[T] | None = lead
        while following is not None and len(taken) < most:
            self._given[following.client] += following.seconds
            self._take(following)
            taken.append(following.item)
            following = None if lead.size_class is None else self._first_like(lead.size_class)
        return taken

    def _first_like(self, size_class: Hashable) -> Waiting[T] | None:
        firsts = (next((one for one in own if one.size_class == size_class), None) for own in self._waiting.values())
        return min((one for one in firsts if one is not None), key=self._turn, default=None)

    def _turn(self, waiting: Waiting[T]) -> tuple[float, int]:
        return self._given[waiting.client], waiting.number

    def _take(self, waiting: Waiting[T]) -> None:
        own = self._waiting[waiting.client]
        own.remove(waiting)
        if not own:
            del self._waiting[waiting.client]
        self._given = {name: given for name, given in self._given.items() if name in self._waiting or given > self._now}
        if not self._waiting:  # nobody waits, so nobody is owed anything
            self._given, self._now = {}, 0.0


def busy_seconds(idle_since: float, started: float, ended: float) -> float:
    """What a batch costs its worker: painting, and the idle time before it, of which as much counts as painting took.

    Clients whose pictures come back together send the next ones together, and the worker idles while all are decoded: a
    large batch can paint quicker and still serve fewer. Longer idle times mean that nobody asks, and say nothing.

    Args:
        idle_since, started, ended: seconds of one clock: the batch before came to its end, this one began and ended.
    """
    return ended - max(idle_since, started - (ended - started))


class BatchCosts:
    """What batches of one size class took, and which size takes least time a picture. Sizes are powers of two."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}  # a picture, by size
        self._batches = 0

    def record(self, size: int, seconds: float) -> None:
        """Remember a batch.

        Args:
            size: pictures in it.
            seconds: that all took together; see `busy_seconds`.
        """
        self._batches += 1
        self._seconds.setdefault(size, deque(maxlen=_KEPT)).append(seconds / size)

    def each(self, size: int) -> float | None:
        """Seconds a picture in batches of that size; None while unknown."""
        times = self._seconds.get(size)
        return min(times) if times else None

    def best(self, most: int) -> int:
        """The size to paint, at most `most`: the one that takes least a picture, or one that is to be measured."""
        best, size = 1, 1
        while size <= most:
            times = self._seconds.get(size, ())
            if len(times) < _TIMES_FIRST:
                return size if size == 1 or best == size // 2 else best
            if size > best and min(times) < _WORTH * min(self._seconds[best]):
                best = size
            elif size > best:
                return size if self._batches % _RETRY == 0 else best
            size *= 2
        return best


class Arrivals:
    """How soon items of one size class follow each other."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=8)

    def record(self, now: float) -> None:
        """One came."""
        self._times.append(now)

    def next_within(self, now: float) -> float | None:
        """Seconds after which another is expected; None where that cannot be said."""
        if len(self._times) < 2:
            return None
        return max(now - self._times[0], 0.0) / (len(self._times) - 1)


class Lane(Generic[T]):
    """Items that wait for one kind of worker.

    Args:
        max_batch: items painted together at most.
        max_delay: seconds that an item waits for others at most, while a worker is free.
    """

    def __init__(self, *, max_batch: int, max_delay: float) -> None:
        self._max_batch, self._max_delay = max_batch, max_delay
        self._queue: FairQueue[T] = FairQueue()
        self._costs: dict[Hashable, BatchCosts] = {}
        self._arrivals: dict[Hashable, Arrivals] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._queue)

    def items(self) -> list[T]:
        """All that wait."""
        return [waiting.item for waiting in self._queue]

    def add(self, item: T, *, client: str, size_class: Hashable | None, seconds: float, fits: int, now: float) -> None:
        """Let an item wait; see `Waiting`."""
        self._queue.add(Waiting(item, client, size_class, seconds, fits, now, next(self._numbers)))
        if size_class is not None:
            _of(self._arrivals, size_class, Arrivals).record(now)

    def remove(self, item: T) -> bool:
        """Take an item out, if it still waits."""
        return self._queue.remove(item)

    def take(self, now: float) -> list[T]:
        """What is to be painted together now by a worker that is free; empty where nothing is."""
        lead = self._queue.first()
        if lead is None or self.pause(now):
            return []
        return self._queue.pop(lead, self._size(lead))

    def pause(self, now: float) -> float | None:
        """Seconds that a free worker waits for others of the item whose turn it is; 0 for none; None: nothing waits.

        It waits while the next is expected sooner than what painting it together saves, and no longer than allowed.
        """
        lead = self._queue.first()
        if lead is None:
            return None
        left = lead.arrived + self._max_delay - now
        if left <= 0 or lead.size_class is None or not self._pays(lead, now):
            return 0.0
        return left

    def record(self, size_class: Hashable | None, size: int, seconds: float) -> None:
        """Remember what a batch took."""
        if size_class is not None and size & (size - 1) == 0:
            _of(self._costs, size_class, BatchCosts).record(size, seconds)

    def _size(self, lead: Waiting[T]) -> int:
        if lead.size_class is None:
            return 1
        waiting = self._queue.like(lead.size_class)
        most, costs = min(waiting, self._max_batch, lead.fits), _of(self._costs, lead.size_class, BatchCosts)
        size, half = costs.best(most), costs.best(min(most, max(1, waiting // 2)))
        each, each_of_half = costs.each(size), costs.each(half)
        if size > half and each and each_of_half and each > _WORTH_ALL * each_of_half:
            return half
        return size

    def _pays(self, lead: Waiting[T], now: float) -> bool:
        """Whether to wait for one more."""
        costs = _of(self._costs, lead.size_class, BatchCosts)
        wanted = costs.best(min(self._max_batch, lead.fits))
        alone, together = costs.each(1), costs.each(wanted)
        soon = _of(self._arrivals, lead.size_class, Arrivals).next_within(now)
        if alone is None or together is None or soon is None or self._queue.like(lead.size_class) >= wanted:
            return False
        return soon < alone - together


V = TypeVar("V")


def _of(table: dict[Hashable, V], size_class: Hashable, make: type[V]) -> V:
    """The entry of a size class; of many the oldest are forgotten."""
    found = table.pop(size_class, None)
    table[size_class] = found = make() if found is None else found
    if len(table) > _CLASSES:
        del table[next(iter(table))]
    return found
