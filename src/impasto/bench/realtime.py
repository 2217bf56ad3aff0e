"""`bench realtime`: frames a second from a decoded frame to one that could be encoded, steadied and not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.assets import Store
from impasto.bench.sets import load_set
from impasto.contract import OnProgress, Progress, ignore
from impasto.video.frames import FramePainter
from impasto.video.live import LIVE
from impasto.video.stabilizer import MotionEstimator, Stabilizer

HEIGHTS = {"360p": (360, 640), "720p": (720, 1280), "1080p": (1080, 1920)}
"""Height and width by name."""

_WARM = 2  # frames that are not counted
_STEP = 3  # pixels that the camera moves, a frame

Codes = NDArray[np.uint8]


def realtime(
    painter: Callable[[Any], FramePainter],
    sizes: Sequence[str],
    *,
    frames: int,
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """A row for each size, steadied and not: frames a second, the median and the 99th percentile, and where time goes.

    Args:
        painter: makes what paints, of a first frame `(H, W, 3)` in [0, 1].
        sizes: of `HEIGHTS`.
        frames: that are counted.
    """
    rows = []
    for done, name in enumerate(sizes):
        on_progress(Progress("timing", done, len(sizes), "size"))
        film = list(_film(*HEIGHTS[name], frames + _WARM))
        own = painter(_as_float(film[0]))
        rows += [_timed(own, film, name, steady=steady) for steady in (False, True)]
    on_progress(Progress("timing", len(sizes), len(sizes), "size"))
    return rows


def _film(height: int, width: int, count: int) -> Iterator[Codes]:
    """A camera that moves slowly over a photograph."""
    (photograph, _), *_ = load_set("one", Store(), size=512)
    whole = images.resize(photograph.pixels, height + _STEP * count, width + _STEP * count)
    codes = images.quantise(whole, 8)
    for number in range(count):
        at = _STEP * number
        yield np.ascontiguousarray(codes[at : at + height, at : at + width])


def _timed(painter: FramePainter, film: Sequence[Codes], name: str, *, steady: bool) -> dict[str, Any]:
    motion, stabilizer, clock = MotionEstimator(LIVE), Stabilizer(LIVE), _Clock()
    seconds = []
    for number, codes in enumerate(film):
        if number == _WARM:
            clock.spent.clear()
        started = clock.start()
        frame = _as_float(codes)
        clock.lap("converting")
        painted = painter.paint(frame)
        clock.lap("painting")
        if steady:
            link = motion(frame)
            clock.lap("motion")
            painted = stabilizer.stabilize(painted, stabilizer.warp(link))
            clock.lap("blending")
        np.rint(255 * painted.clip(0, 1)).astype(np.uint8)
        clock.lap("converting")
        if number >= _WARM:
            seconds.append(time.perf_counter() - started)
    total = sum(seconds)
    placement = painter.run.placements[-1]
    return {
        "benchmark": "realtime",
        "size": name,
        "steady": steady,
        "runtime": placement.runtime,
        "precision": placement.precision,
        "frames": len(seconds),
        "fps": 1 / float(np.median(seconds)),
        "fps_of_the_slowest_percent": 1 / float(np.percentile(seconds, 99)),
        **{f"share_{part}": clock.spent[part] / total for part in ("converting", "painting", "motion", "blending")},
    }


class _Clock:
    """Adds up what parts of the work take."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._last = 0.0

    def start(self) -> float:
        """Now."""
        self._last = time.perf_counter()
        return self._last

    def lap(self, part: str) -> None:
        """What has passed since the last lap was this part."""
        now = time.perf_counter()
        self.spent[part] += now - self._last  # type: ignore[assignment]
        self._last = now


def _as_float(codes: Codes) -> NDArray[np.float32]:
    return codes.astype(np.float32) / np.float32(255)
