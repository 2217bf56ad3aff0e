"""Load on a service: clients that each send their next picture when the one before has come back.

All ways and numbers of clients are driven in turn, round by round, so that what else the machine does falls on all.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import StyleError

Send: TypeAlias = Callable[[int], Awaitable[None]]
"""Sends the next picture of a client, by its number, and returns when it has come back."""


@dataclass(frozen=True)
class Load:
    """How much to send.

    Attributes:
        clients: numbers of clients, one after the other.
        seconds: of one round.
        rounds: of each way and number of clients.
    """

    clients: tuple[int, ...] = (1, 4, 16, 64)
    seconds: float = 10.0
    rounds: int = 3


@dataclass
class Heard:
    """What came back.

    Attributes:
        times: seconds of each picture.
        seconds: that the rounds took.
        errors: requests that failed.
        processor: seconds of processor time that they took.
    """

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: int = 0
    processor: float = 0.0

    def row(self) -> dict[str, Any]:
        """Throughput and quantiles, as columns."""
        return {
            "pictures": len(self.times),
            "errors": self.errors,
            "pictures_a_second": len(self.times) / self.seconds if self.seconds else 0.0,
            "p50_ms": 1e3 * quantile(self.times, 0.5),
            "p99_ms": 1e3 * quantile(self.times, 0.99),
            "processor_ms": 1e3 * self.processor / len(self.times) if self.times else 0.0,
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all reach or stay below; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


async def drive(send: Send, clients: int, seconds: float, heard: Heard) -> None:
    """One round: every client sends until the time is up; what is under way then still counts."""
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        while (started := time.perf_counter()) < until:
            try:
                await send(number)
            except StyleError:
                heard.errors += 1
                await asyncio.sleep(0.05)
            else:
                heard.times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    heard.seconds += time.perf_counter() - started


async def compare(
    ways: Mapping[str, Send],
    load: Load,
    *,
    meters: Mapping[str, Callable[[], float]] | None = None,
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """One row for each way and number of clients; each is set against the first way.

    Args:
        ways: by name; the first is what the others are compared with.
        load: how much to send.
        meters: by name, what tells the processor seconds that a way has taken. On a machine that does other things as
            well they are surer than time on the clock.
        on_progress: called before each round.
    """
    heard = {(clients, name): Heard() for clients in load.clients for name in ways}
    done, total = 0, load.rounds * len(heard)
    for number in range(load.rounds):
        for clients, name in list(heard) if number % 2 == 0 else list(heard)[::-1]:
            on_progress(Progress(f"{clients} clients, {name}", done, total, unit="round"))
            meter, own = (meters or {}).get(name, float), heard[clients, name]
            before = meter()
            await drive(ways[name], clients, load.seconds, own)
            own.processor += meter() - before
            done += 1
    on_progress(Progress("done", total, total, unit="round"))
    found = {key: own.row() for key, own in heard.items()}
    return [_compared(found, clients, name) for clients, name in heard]


def _compared(found: Mapping[tuple[int, str], Mapping[str, Any]], clients: int, name: str) -> dict[str, Any]:
    """One row beside the first way with as many clients, and the waiting time of a client alone."""
    row, (least, first) = found[clients, name], next(iter(found))
    other, alone = found[clients, first], found[least, first]
    return {
        "benchmark": "serve",
        "batching": name,
        "clients": clients,
        **row,
        "throughput_ratio": _ratio(row["pictures_a_second"], other["pictures_a_second"]),
        "p50_ratio": _ratio(row["p50_ms"], other["p50_ms"]),
        "processor_ratio": _ratio(row["processor_ms"], other["processor_ms"]),
        "p99_to_p50_alone": _ratio(row["p99_ms"], alone["p50_ms"]),
    }


def _ratio(value: float, other: float) -> float:
    return value / other if other else math.nan
