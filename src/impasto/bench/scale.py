"""A simulation of many devices that paint what comes in over a day: discrete events; its inputs are measured rates.

Pictures arrive as a Poisson process whose rate follows the day. A device takes what waits, up to a batch, and is busy
for the time that a batch of that size takes. One part of a large fleet is simulated: devices behind an even balancer
are alike, so some of them with their share of the pictures wait about as long, a little longer. What devices, network
and storage must hold is arithmetic, and told beside it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from impasto.errors import InputError

DAY = 86_400.0
"""Seconds."""

LIMITS = {
    "reads of one prefix of a store": ("reads_per_second", 5500.0),
    "writes of one prefix of a store": ("writes_per_second", 3500.0),
    "a line of 100 Gbit/s": ("traffic_gbit_s", 100.0),
    "nodes of one Ray cluster": ("nodes", 2000.0),
}
"""Limits that others document or sell, by the column that meets them; docs/scale.md has their sources."""

_NEAR = 0.1  # of a limit: below it there is none to name
_DEVICES_A_NODE = 8
_MOST_SIMULATED = 200_000  # pictures in all: seconds of a processor
_MOST_DEVICES = 64  # that are simulated


@dataclass(frozen=True)
class Load:
    """What comes in.

    Attributes:
        per_day: pictures.
        peak: the busiest hour's rate by the day's mean; the rate follows a cosine.
        in_bytes, out_bytes: of a photograph and of a result.
    """

    per_day: float
    peak: float = 2.0
    in_bytes: float = 3e6
    out_bytes: float = 5e5

    def rate(self, second: float) -> float:
        """Pictures a second at a time of the day; it peaks at noon."""
        mean = self.per_day / DAY
        return mean * (1 - (self.peak - 1) * math.cos(2 * math.pi * second / DAY))


@dataclass(frozen=True)
class Device:
    """What paints.

    Attributes:
        rate: pictures a second in full batches.
        batch: pictures painted together at most.
        fixed: share of a full batch's time that a batch of one takes already.
        cost: of an hour.
        start: seconds from the wish for one more until it paints.
        image_bytes: what a device fetches when it starts: container and weights.
    """

    rate: float
    batch: int = 8
    fixed: float = 0.3
    cost: float = 0.0
    start: float = 120.0
    image_bytes: float = 4e9

    def seconds(self, pictures: int) -> float:
        """Time that a batch takes."""
        whole = self.batch / self.rate
        return whole * (self.fixed + (1 - self.fixed) * pictures / self.batch)


@dataclass(frozen=True)
class Day:
    """What a day was like.

    Attributes:
        utilisation: share of the devices' time in which they painted, at the peak.
        waits: seconds from arrival to the end, at the peak: median, 95th and 99th percentile.
        batch: mean pictures of a batch at the peak.
    """

    utilisation: float
    waits: tuple[float, float, float]
    batch: float


def check(load: Load, device: Device, *, spare: float) -> None:
    """Refuse what cannot be simulated. Raises InputError."""
    bounds: dict[str, tuple[float, float, float]] = {
        "--per-day": (load.per_day, 1, 1e12),
        "--peak": (load.peak, 1, 2),
        "--rate": (device.rate, 1e-6, 1e6),
        "--batch": (device.batch, 1, 4096),
        "--spare": (spare, 1, 100),
        "--cost": (device.cost, 0, 1e6),
        "--in-mb": (load.in_bytes / 1e6, 0, 1e6),
        "--out-mb": (load.out_bytes / 1e6, 0, 1e6),
    }
    for flag, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise InputError(f"{flag} is {value:g}", f"it takes a number from {low:g} to {high:g}")


def devices_for(load: Load, device: Device, *, spare: float) -> int:
    """How many devices the peak takes, with `spare` times the room."""
    return max(1, math.ceil(load.per_day / DAY * load.peak * spare / device.rate))


def simulate(load: Load, device: Device, devices: int, *, seed: int = 0, span: float | None = None) -> Day:
    """The busiest time of a day, event by event.

    Args:
        load, device: what comes in, and what paints.
        devices: how many paint. Of more than 64, 64 are simulated, with their share of the pictures.
        seed: of the arrivals.
        span: seconds around the peak; by default as many as give 200,000 pictures, an hour at most.
    """
    simulated = min(devices, _MOST_DEVICES)
    share = simulated / devices
    at_peak = load.rate(DAY / 2) * share
    span = span or min(3600.0, _MOST_SIMULATED / at_peak)
    start, end = DAY / 2 - span / 2, DAY / 2 + span / 2
    queue = _Queue(device, simulated)
    for arrival in _arrivals(load, share, start, end, np.random.default_rng(seed)):
        queue.arrive(arrival)
    queue.finish()
    return queue.day(span)


def _arrivals(load: Load, share: float, start: float, end: float, generator: np.random.Generator) -> Iterator[float]:
    """Times of a Poisson process of changing rate, by thinning.

    Source: Lewis and Shedler 1979, Simulation of nonhomogeneous Poisson processes by thinning.
    """
    most, now = load.rate(DAY / 2) * share, start
    while True:
        now += generator.exponential(1 / most)
        if now >= end:
            return
        if generator.random() * most <= load.rate(now) * share:
            yield now


class _Queue:
    """Pictures that wait, and devices that take them in batches; an event is an arrival, or the end of a batch."""

    def __init__(self, device: Device, devices: int) -> None:
        self._device, self._devices = device, devices
        self._idle = devices
        self._ends: list[float] = []
        self._waiting: deque[float] = deque()
        self._waits: list[float] = []
        self._busy, self._batches = 0.0, 0

    def arrive(self, now: float) -> None:
        """A picture comes."""
        self._advance(now)
        self._waiting.append(now)
        self._start(now)

    def finish(self) -> None:
        """No more come."""
        while self._ends:
            self._advance(self._ends[0])

    def day(self, span: float) -> Day:
        """What it was like."""
        waits = np.percentile(self._waits or [0.0], (50, 95, 99))
        busy = min(1.0, self._busy / (self._devices * span))
        median, late, latest = (float(wait) for wait in waits)
        return Day(busy, (median, late, latest), len(self._waits) / max(1, self._batches))

    def _advance(self, now: float) -> None:
        while self._ends and self._ends[0] <= now:
            ended = heapq.heappop(self._ends)
            self._idle += 1
            self._start(ended)

    def _start(self, now: float) -> None:
        while self._idle and self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._device.batch, len(self._waiting)))]
            seconds = self._device.seconds(len(taken))
            self._idle -= 1
            self._busy += seconds
            self._batches += 1
            self._waits += [now + seconds - arrival for arrival in taken]
            heapq.heappush(self._ends, now + seconds)


def row(load: Load, device: Device, *, spare: float) -> dict[str, Any]:
    """One line of the table: devices, waiting, traffic, storage, cost, and what breaks first.

    Args:
        load, device: what comes in, and what paints.
        spare: room at the peak.
    """
    check(load, device, spare=spare)
    devices = devices_for(load, device, spare=spare)
    day = simulate(load, device, devices)
    peak = load.rate(DAY / 2)
    hours = load.per_day / device.rate / 3600  # of a device that never waits
    told = {
        "pictures_per_day": load.per_day,
        "peak_per_second": peak,
        "devices": devices,
        "nodes": -(-devices // _DEVICES_A_NODE),
        "utilisation": day.utilisation,
        "mean_batch": day.batch,
        "wait_median_s": day.waits[0],
        "wait_95_s": day.waits[1],
        "wait_99_s": day.waits[2],
        "traffic_gbit_s": peak * (load.in_bytes + load.out_bytes) * 8 / 1e9,
        "reads_per_second": peak,
        "writes_per_second": 2 * peak,  # a line of the journal, and the result
        "stored_tb_per_day": load.per_day * load.out_bytes / 1e12,
        "start_gbit_s": devices * device.image_bytes * 8 / device.start / 1e9,
        "cost_per_day_fixed": devices * device.cost * 24,
        "cost_per_day_scaled": hours * spare * device.cost,
        "cost_per_1000": hours * spare * device.cost / load.per_day * 1000,
    }
    name, share = max(((name, told[key] / most) for name, (key, most) in LIMITS.items()), key=lambda pair: pair[1])
    return {**told, "first_limit": name if share >= _NEAR else "none", "share_of_it": share}
