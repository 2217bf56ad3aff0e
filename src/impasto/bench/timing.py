"""Timing several ways of doing one thing, in turn."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from impasto import device
from impasto.memory import PeakMemory

T = TypeVar("T")


@dataclass
class Timings(Generic[T]):
    """The measurements of one runner.

    Attributes:
        seconds: of each counted round.
        peaks: growth of memory in bytes of each counted round, where it can be told.
        last: what it returned last.
    """

    last: T | None = None
    seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median time in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Longest less shortest time, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median

    @property
    def peak_mb(self) -> float | None:
        """The most that memory grew, in megabytes."""
        return max(self.peaks) / 1e6 if self.peaks else None


def time_in_turns(
    runners: Mapping[str, Callable[[], T]], *, runs: int, on_device: str, warm: bool = False
) -> dict[str, Timings[T]]:
    """Time all runners in turn, round by round, so that noise hits all alike; one warm-up round is not counted.

    Args:
        runners: by name.
        runs: counted rounds.
        on_device: waited for before the clock is read.
        warm: for runners that take milliseconds: an uncounted run of the same runner precedes each counted one of less
            than a second, so that caches are warm and the threads of others sleep; and memory is not measured, which
            would release it to the system before each run.
    """
    timings: dict[str, Timings[T]] = {name: Timings() for name in runners}
    for round_number in range(runs + 1):
        for name, runner in runners.items():
            if warm and min(timings[name].seconds, default=0) < 1:
                runner()
            peak = PeakMemory(on_device)
            with contextlib.nullcontext() if warm else peak:
                started = time.perf_counter()
                timings[name].last = runner()
                device.synchronize(on_device)
                seconds = time.perf_counter() - started
            if round_number:
                timings[name].seconds.append(seconds)
                timings[name].peaks += [] if peak.bytes is None else [peak.bytes]
    return timings


def compared(timings: Mapping[str, Timings[Any]], reference: str = "reference", own: str = "ours") -> dict[str, Any]:
    """Our measurements beside the reference's, as columns."""
    ours, plain = timings[own], timings[reference]
    return {
        "seconds": ours.median,
        "reference_seconds": plain.median,
        "times_faster": plain.median / ours.median,
        "spread": ours.spread,
        "peak_mb": ours.peak_mb,
        "reference_peak_mb": plain.peak_mb,
        "runs": len(ours.seconds),
    }
