"""How steady painted films are, how sharp, how much in style, how fast, and in how much memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError
from impasto.memory import PeakMemory
from impasto.metrics import Judge, measure_video
from impasto.ops import flow
from impasto.videos import Segment, VideoReader, assemble, choose_coding, probe_video

CLIPS = ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4")
DISTANCES = (1, 10)

_SCORED_FRAMES = 4  # frames whose style and sharpness are measured
_LPIPS_PAIRS = 8  # pairs of frames whose LPIPS is measured

Pixels: TypeAlias = NDArray[np.float32]


class PaintedFilm(Protocol):
    """The result of painting a film, as a benchmark needs it."""

    @property
    def frames(self) -> int:
        """Of the film."""
        ...

    @property
    def width(self) -> int:
        """Of a frame, in pixels."""
        ...

    @property
    def height(self) -> int:
        """Of a frame, in pixels."""
        ...

    @property
    def busy(self) -> Mapping[str, float]:
        """Seconds that each step of the pipeline was at work."""
        ...

    @property
    def cuts(self) -> Sequence[int]:
        """Frames that begin a shot."""
        ...

    @property
    def rate(self) -> float:
        """Frames a second."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """Everything needed to make it again."""
        ...


PaintFilm: TypeAlias = Callable[[Path, Path, str], PaintedFilm]
"""Paints a file into another, with a value of `--temporal`."""


def steadiness(
    source: Path,
    style: Pixels,
    paint: PaintFilm,
    *,
    judge: Judge,
    temporal: Sequence[str] = ("off", "fast", "best"),
    size: int | None = None,
    end: float | None = None,
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """One row for each value of `--temporal`, on one clip; all but the first also as ratios to the first.

    Args:
        source: the clip.
        style: `(H, W, 3)`.
        paint: paints a clip at `size` up to `end`.
        judge: for LPIPS and style distance.
    """
    rows: list[dict[str, Any]] = []
    read = [frame.pixels for frame in VideoReader(source, end=end, size=size)]
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(temporal):
            on_progress(Progress("filming", number, len(temporal), unit="film"))
            out = Path(folder) / f"{name}.mkv"
            with PeakMemory() as memory:
                filmed = paint(source, out, name)
            painted = [frame.pixels for frame in VideoReader(out)]
            row = {"clip": source.stem, "temporal": name, "frames": filmed.frames}
            row |= {"size": f"{filmed.width}x{filmed.height}"}
            row |= _scores(read, painted, style, judge)
            row |= {"fps": filmed.rate, "peak_mb": (memory.bytes or 0) / 1e6, "cuts": len(filmed.cuts)}
            row |= {f"{step}_share": share for step, share in shares(filmed.busy).items()}
            rows.append(row | _method_columns(filmed))
    for row in rows[1:]:
        for key in ("warping_error_1", "warping_error_10", "lpips_1", "lpips_10", "style_distance", "sharpness"):
            row[f"{key}_ratio"] = row[key] / rows[0][key]
    return rows


def shares(busy: Mapping[str, float]) -> dict[str, float]:
    """The share of each step of the pipeline in the work."""
    total = sum(busy.values()) or 1.0
    return {step: seconds / total for step, seconds in busy.items()}


def _scores(read: Sequence[Pixels], painted: Sequence[Pixels], style: Pixels, judge: Judge) -> dict[str, float]:
    names = [f"warping_error_{distance}" for distance in DISTANCES]
    found = measure_video(iter(read), iter(painted), [*names, "flicker", "drift"])
    for distance in DISTANCES:
        found[f"lpips_{distance}"] = _lpips(read, painted, distance, judge)
    looked = range(0, len(read), -(-len(read) // _SCORED_FRAMES))
    each = [judge.measure(read[i], style, painted[i], ["style_distance", "sharpness"]) for i in looked]
    return {**found, **{name: float(np.mean([scores[name] for scores in each])) for name in each[0]}}


def _lpips(read: Sequence[Pixels], painted: Sequence[Pixels], distance: int, judge: Judge) -> float:
    """Mean LPIPS (AlexNet) of a painted frame and an earlier one warped to it; hidden places are made equal."""
    network = judge.lpips("alexnet")
    values = []
    for later in range(distance, len(read), max(1, (len(read) - distance) // _LPIPS_PAIRS)):
        earlier = later - distance
        back = flow.flow_between(read[later], read[earlier])
        forth = flow.flow_between(read[earlier], read[later])
        alike = np.abs(read[later] - flow.warp(read[earlier], back)).mean(2) < 0.1
        seen = flow.visible(back, forth) & alike
        if seen.mean() < 0.25:
            continue
        size = read[later].shape[0], read[later].shape[1]
        now = images.resize(painted[later], *size)
        before = np.where(seen[..., None], flow.warp(images.resize(painted[earlier], *size), back), now)
        with torch.inference_mode():
            values.append(float(network(images.to_tensor(now), images.to_tensor(before))))
    if not values:
        raise InputError("no two frames show the same things", "give a video without so many cuts")
    return float(np.mean(values))


def speed(source: Path, paint: PaintFilm, *, temporal: Sequence[str] = ("off", "fast")) -> list[dict[str, Any]]:
    """One row for each value of `--temporal`: frames a second, coded as users get them, and each step's share.

    `cpu_ms` is the time of all cores that a frame took.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        paint(source, Path(folder) / "warm.mp4", temporal[0])  # weights are loaded, and kernels made, only once
        for name in temporal:
            began = time.process_time()
            filmed = paint(source, Path(folder) / f"{name}.mp4", name)
            spent = time.process_time() - began
            row = {"clip": source.stem, "temporal": name, "frames": filmed.frames}
            row |= {
                "size": f"{filmed.width}x{filmed.height}",
                "fps": filmed.rate,
                "cpu_ms": 1e3 * spent / filmed.frames,
            }
            shared = {f"{step}_share": share for step, share in shares(filmed.busy).items()}
            rows.append(row | _method_columns(filmed) | shared)
    return rows


def memory(source: Path, paint: PaintFilm, *, counts: Sequence[int] = (250, 2500)) -> list[dict[str, Any]]:
    """The most memory that the process held, and speed, over films of so many frames: the clip again and again."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            long = Path(folder) / f"{count}.mp4"
            repeat(source, long, count)
            with PeakMemory() as watched:
                filmed = paint(long, Path(folder) / f"{count}-painted.mp4", "fast")
            row = {"clip": source.stem, "temporal": "fast", "frames": filmed.frames}
            row |= {"size": f"{filmed.width}x{filmed.height}", "fps": filmed.rate}
            row |= {"resident_mb": (watched.resident or 0) / 1e6} | _method_columns(filmed)
            rows.append({**row, **{f"{step}_share": share for step, share in shares(filmed.busy).items()}})
    return rows


def repeat(source: Path, out: Path, count: int) -> None:
    """Write a clip again and again, packet by packet, until it has at least `count` frames."""
    header = probe_video(source)
    length = Fraction(header.count) / header.rate
    times = -(-count // header.count)
    assemble([Segment(source, index * length, header.count) for index in range(times)], out, choose_coding(out))


def _method_columns(filmed: PaintedFilm) -> dict[str, Any]:
    """Method and precision, as columns."""
    return {name: filmed.record[name] for name in ("method", "precision")}
