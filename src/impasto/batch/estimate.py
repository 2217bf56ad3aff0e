"""What a batch will take, before it begins: time and disk, from a sample of its photographs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto import images
from impasto.batch import places
from impasto.batch.painter import BatchPainter, Outcome
from impasto.batch.plan import Work
from impasto.engine.plan import make_plan, predicted_seconds
from impasto.engine.request import silence
from impasto.errors import StyleError

_SAMPLE = 48  # photographs whose headers are looked at
# Bytes a pixel of drafts in several paintings (bench/NOTES.md); of other formats about as much as of the nearest.
_BYTES_PER_PIXEL = {".png": 1.7, ".bmp": 3.0, ".tif": 2.4, ".tiff": 2.4, ".jpg": 0.55, ".jpeg": 0.55}
_COMPRESSED = 0.5


@dataclass(frozen=True)
class Estimate:
    """What is left to do.

    Attributes:
        pictures: to be painted.
        kept: done by earlier runs.
        looked_at: how many photographs were looked at.
        failing: those of them that cannot be painted.
        seconds: on this machine.
        bytes: of the results.
        free: bytes that the disk has; None in a store.
    """

    pictures: int
    kept: int
    looked_at: int
    failing: tuple[Outcome, ...]
    seconds: float
    bytes: int
    free: int | None

    @property
    def fits(self) -> bool:
        """Whether the disk has room for the results."""
        return self.free is None or self.bytes <= self.free


def estimate(works: Sequence[Work], painter: BatchPainter, *, device: str, precision: str) -> Estimate:
    """Time and disk that pictures will take, from the headers of some of them and the measured rate of this machine."""
    left = [work for work in works if painter.kept(work) is None]
    sample = left[:: max(1, len(left) // _SAMPLE)]
    seconds, size, failing = 0.0, 0.0, []
    for work in sample:
        try:
            own, pixels = _one(work, painter, device, precision)
        except StyleError as error:
            failing.append(Outcome(work, "failed", error=error))
            continue
        seconds += own
        size += pixels * _BYTES_PER_PIXEL.get(Path(work.output).suffix.lower(), _COMPRESSED)
    times = len(left) / max(1, len(sample))
    return Estimate(
        pictures=len(left),
        kept=len(works) - len(left),
        looked_at=len(sample),
        failing=tuple(failing),
        seconds=seconds * times,
        bytes=int(size * times),
        free=_free(painter.out),
    )


def _one(work: Work, painter: BatchPainter, device: str, precision: str) -> tuple[float, int]:
    """Seconds and pixels of one picture."""
    look = painter.look(work)
    source = places.read(work.content) if places.is_address(work.content) else work.content
    header = images.probe(source, max_pixels=look.request.max_pixels)
    plan = make_plan(look.styles, look.request, header, device_name=device, precision=precision, on_note=silence)
    pairs = zip(plan.stages, plan.placements, strict=True)
    height, width = plan.sides
    return sum(predicted_seconds(*pair, height, width, tiled=plan.room.tiled) for pair in pairs), height * width


def _free(out: str) -> int | None:
    if places.is_address(out):
        return None
    above = next(place for place in (Path(out).absolute(), *Path(out).absolute().parents) if place.exists())
    return shutil.disk_usage(above).free
