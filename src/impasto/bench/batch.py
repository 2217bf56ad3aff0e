"""What reading and writing cost a batch: its rate against that of the network alone, in the same run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

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
_TURN = 40  # pictures of the batch at least, then the network alone has a turn: a machine that slows down slows both
_TURNS = 10  # of a long batch: of 1,000 pictures the network alone paints another eighth
_PASSES = 3  # of the network alone in one turn
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
        A row; `share` is the rate of the batch divided by that of the network, `processor_share` the same by processor
        time, and `painting_share` the part of the time in which the thread that paints had something to paint.
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
        painter.seconds = 0.0
        alone, whole = [_alone(sample)], []
        with PeakMemory() as memory:
            turn = max(_TURN, count // _TURNS)
            for start in range(0, count, turn):
                whole.append(_painted(painter, works[start : start + turn], on_progress))
                alone.append(_alone(sample))
        written = sum(path.stat().st_size for path in (folder / "out").rglob(f"*{ending}"))
    return {
        **machine_row(sample[0].run.placements[0]),
        "benchmark": "batch",
        "method": sample[0].run.stages[0].method.name,
        "pictures": count,
        "size": size,
        "format": ending,
        "together": painter.together(sample[0]),
        "pictures_per_second": sum(one.pictures for one in whole) / sum(one.seconds for one in whole),
        "network_per_second": sum(one.pictures for one in alone) / sum(one.seconds for one in alone),
        "share": _share(whole, alone, "seconds"),
        "processor_share": _share(whole, alone, "processor"),
        "painting_share": painter.seconds / sum(one.seconds for one in whole),
        "peak_mb": (memory.bytes or 0) / 1e6,
        "bytes_per_picture": written // count,
    }


@dataclass(frozen=True)
class _Turn:
    """Pictures painted, the seconds that they took by the clock, and those of the processor in all threads."""

    pictures: int
    seconds: float
    processor: float


def _timed(pictures: int, work: Callable[[], object]) -> _Turn:
    started, processor = time.perf_counter(), time.process_time()
    work()
    return _Turn(pictures, time.perf_counter() - started, time.process_time() - processor)


def _share(whole: Sequence[_Turn], alone: Sequence[_Turn], kind: Literal["seconds", "processor"]) -> float:
    """The median, over turns of the batch, of its rate divided by that of the network's turns before and after.

    So what else the machine does for a while changes no share.
    """

    def rate(turns: Sequence[_Turn]) -> float:
        took = sum(turn.seconds if kind == "seconds" else turn.processor for turn in turns)
        return sum(turn.pictures for turn in turns) / took

    return statistics.median(rate([turn]) / rate(alone[index : index + 2]) for index, turn in enumerate(whole))


def _painted(painter: BatchPainter, works: Sequence[Work], on_progress: OnProgress) -> _Turn:
    def paint() -> None:
        outcomes = list(paint_all(works, painter, total=len(works), on_progress=on_progress))
        assert all(outcome.status == "painted" for outcome in outcomes)

    return _timed(len(works), paint)


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
def _alone(sample: Sequence[Prepared]) -> _Turn:
    """The network with its input in memory and its output dropped."""
    import torch

    run = sample[0].run
    loaded = run.load(run.stages[0], run.placements[0])
    items = [one.run.batch_item(loaded) for one in sample]
    contents, jobs = torch.cat([content for content, _ in items]), [job for _, job in items]

    def paint() -> None:
        for _ in range(_PASSES):
            loaded.stylize(contents, jobs, ignore)
            device.synchronize(loaded.placement.device)

    return _timed(_PASSES * len(sample), paint)
