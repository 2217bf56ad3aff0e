"""What reading and writing cost a batch: its rate against that of the network alone, in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from impasto import device, images
from impasto.assets import Store
from impasto.batch.journal import Journal
from impasto.batch.painter import BatchPainter, Outcome, Painted, Prepared, Saving
from impasto.batch.plan import Plan, Work, find_photographs
from impasto.batch.runner import paint_all
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set
from impasto.contract import OnProgress, ignore
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.engine.run import gradients_on
from impasto.memory import PeakMemory

_SET = "twelve"
_ROUNDS = 4  # the network alone takes turns with the batch, so that a machine that slows down slows both
_MOST_PASSES = 6  # of the network alone in one turn
_QUALITY = 92  # of the photographs' JPEGs, as cameras have it


def batch(
    *,
    count: int,
    size: int,
    style: str,
    ending: str,
    method: str = "auto",
    engine: Engine | None = None,
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Paint `count` photographs out of a folder into another, and as many with nothing to read or write.

    Args:
        count: photographs; of the standard ones each comes several times.
        size: longest side in pixels, of photographs and results.
        style: as for `--style`.
        ending: of the results, such as ".jpg".
        method: "auto" paints drafts.
        engine: paints; one of this machine by default.

    Returns:
        A row; `share` is the rate of the batch divided by that of the network, `painting_share` the part of the time in
        which the thread that paints had something to paint.
    """
    engine = engine or Engine(runtime="torch")
    request = Request(method, "draft" if method == "auto" else None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder / "in", count, size, engine.store, on_progress)
        plan = Plan([((style, 1.0),)], label_of=lambda _: "painted", ending=ending)
        works = plan.add(find_photographs([str(folder / "in")], out=str(folder / "out")))
        painter = _Clocked(
            engine, request, out=str(folder / "out"), journal=Journal(str(folder / "out")), saving=Saving(ending)
        )
        sample = _warm(painter, works, on_progress)
        painter.seconds, seconds, alone = 0.0, 0.0, [_alone(sample, count)]
        with PeakMemory() as memory:
            for turn in range(_ROUNDS):
                part = works[turn * count // _ROUNDS : (turn + 1) * count // _ROUNDS]
                seconds += _seconds_of(painter, part, on_progress)
                alone.append(_alone(sample, count))
        written = sum(path.stat().st_size for path in (folder / "out").rglob(f"*{ending}"))
    network = len(alone) / sum(1 / rate for rate in alone)
    return {
        **machine_row(sample[0].run.placements[0]),
        "benchmark": "batch",
        "method": sample[0].run.stages[0].method.name,
        "pictures": count,
        "size": size,
        "format": ending,
        "together": painter.together(sample[0]),
        "pictures_per_second": count / seconds,
        "network_per_second": network,
        "share": count / seconds / network,
        "painting_share": painter.seconds / seconds,
        "peak_mb": (memory.bytes or 0) / 1e6,
        "bytes_per_picture": written // count,
    }


def _seconds_of(painter: BatchPainter, works: Sequence[Work], on_progress: OnProgress) -> float:
    started = time.perf_counter()
    outcomes = list(paint_all(works, painter, total=len(works), on_progress=on_progress))
    assert all(outcome.status == "painted" for outcome in outcomes)
    return time.perf_counter() - started


class _Clocked(BatchPainter):
    """Adds up how long it paints."""

    seconds = 0.0

    def paint(self, prepared: Sequence[Prepared], on_progress: OnProgress = ignore) -> list[Painted | Outcome]:
        """As `BatchPainter` does."""
        started = time.perf_counter()
        done = super().paint(prepared, on_progress)
        self.seconds += time.perf_counter() - started
        return done


def _fill(folder: Path, count: int, size: int, store: Store, on_progress: OnProgress) -> None:
    """Photographs of one size, as JPEGs."""
    folder.mkdir()
    pairs = load_set(_SET, store, size=size, on_progress=on_progress)
    shape = size * 3 // 4, size
    pictures = [images.read(images.resize(content.pixels, *shape)) for content, _ in pairs]
    for number, picture in enumerate(islice(cycle(pictures), count)):
        images.write(picture, folder / f"{number:06d}.jpg", quality=_QUALITY)


def _warm(painter: BatchPainter, works: Sequence[Work], on_progress: OnProgress) -> list[Prepared]:
    """Load weights, encode the style, and take the memory of a whole pass; gives the pictures of one."""
    read = [painter.read(work) for work in works[:1]]
    together = painter.together(next(one for one in read if isinstance(one, Prepared)))
    sample = [one for one in map(painter.read, works[:together]) if isinstance(one, Prepared)]
    for _ in range(2):
        painter.paint(sample, on_progress)
    return sample


@gradients_on()
def _alone(sample: Sequence[Prepared], count: int) -> float:
    """Pictures a second of the network with its input in memory and its output dropped."""
    import torch

    run = sample[0].run
    loaded = run.load(run.stages[0], run.placements[0])
    items = [one.run.batch_item(loaded) for one in sample]
    contents, jobs = torch.cat([content for content, _ in items]), [job for _, job in items]
    passes = max(1, min(_MOST_PASSES, count // (_ROUNDS * len(sample))))
    started = time.perf_counter()
    for _ in range(passes):
        loaded.stylize(contents, jobs, ignore)
        device.synchronize(loaded.placement.device)
    return passes * len(sample) / (time.perf_counter() - started)
