"""A film in parts that begin with shots: nothing is brought over a cut, so each part can be painted by itself.

The parts of a film go to the workers of a Ray cluster. Each paints into a folder of its own beside the output, which
outlives a kill as that of a whole film does; in the end all segments are joined as those of one film.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from impasto import device
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.cluster import Shape
from impasto.engine.engine import Engine
from impasto.engine.request import OnNote, Request, silence
from impasto.errors import InputError, StyleError, plain, require
from impasto.video.cuts import LOOKAHEAD, CutDetector
from impasto.video.film import check_film, film_record, prepared
from impasto.video.resume import FilmFolder, fingerprint
from impasto.video.runner import FilmResult, FilmRunner
from impasto.video.settings import Film
from impasto.video.tracking import MovingMasks
from impasto.videos import Segment, SourceTracks, VideoReader, assemble, choose_coding

_LEAST = 24  # frames of a part: weights are loaded and styles encoded for each
_SHARES = 4  # parts for each worker at least, where there are so many shots
_TRIES = 3  # of a part whose worker dies
_PAUSE = 0.2


@dataclass(frozen=True)
class Part:
    """Shots that follow each other.

    Attributes:
        number: of the part, from 0.
        start, end: in seconds of the film; the end of the last is the film's.
        count: frames.
    """

    number: int
    start: Fraction
    end: Fraction | None
    count: int


@dataclass(frozen=True)
class Job:
    """A film, as each worker needs to know it.

    Attributes:
        source, out: of the film.
        styles, request, film: as for `paint_video`.
        precision: as for `Engine`.
        threads: that a worker computes with.
        resume: whether parts go on where they were stopped.
    """

    source: Path
    out: Path
    styles: Any
    request: Request
    film: Film
    precision: str = "auto"
    threads: int = 1
    resume: bool = False

    def reader(self, part: Part | None = None) -> VideoReader:
        """Reads the film, or a part of it."""
        coding = choose_coding(self.out, codec=self.film.codec, bits=self.film.bits, crf=self.film.crf)
        start, end = (0.0, self.film.end) if part is None else (float(part.start), _seconds(part.end, self.film.end))
        return VideoReader(self.source, start, end, self.film.size, even=coding.even)

    def folder(self, part: Part) -> FilmFolder:
        """Where a part is painted."""
        about = fingerprint(self.source, self.styles, self.request, replace(self.film, start=float(part.start)))
        return FilmFolder(self.out.with_name(f"{self.out.stem}-{part.number:05d}{self.out.suffix}"), about, resume=True)


def _seconds(end: Fraction | None, film: float | None) -> float | None:
    return film if end is None else float(end)


def find_parts(reader: VideoReader, *, least: int, on_progress: OnProgress = ignore) -> list[Part]:
    """Parts of a film of at least so many frames, each of which begins with a shot.

    Args:
        reader: of the whole film, from its beginning.
        least: frames of a part.
        on_progress: called now and then; may cancel.
    """
    unit, detector = reader.header.time_base, CutDetector()
    starts: list[tuple[int, Fraction]] = []
    count = 0
    for frame, following in _with_following(iter(reader)):
        cut, _ = detector(frame.pixels, [each.pixels for each in following])
        if not starts or (cut and frame.number - starts[-1][0] >= least):
            starts.append((frame.number, frame.stamp * unit))
        count = frame.number + 1
        if count % least == 0:
            on_progress(Progress("looking for shots", count, max(count, reader.header.count), unit="frame"))
    ends = [*starts[1:], (count, None)]
    return [
        Part(number, start, end, last - first)
        for number, ((first, start), (last, end)) in enumerate(zip(starts, ends, strict=True))
    ]


def _with_following(frames: Iterator[Any]) -> Iterator[tuple[Any, list[Any]]]:
    waiting: deque[Any] = deque()
    for frame in frames:
        waiting.append(frame)
        if len(waiting) > LOOKAHEAD:
            yield waiting.popleft(), list(waiting)
    while waiting:
        yield waiting.popleft(), list(waiting)


def paint_part(engine: Engine, job: Job, part: Part) -> list[Segment]:
    """Paint a part into its folder, or what is left of it. Returns its segments, in seconds of the film.

    Raises:
        StyleError: as `paint_video`.
    """
    work, film = job.folder(part), _shifted(job.film, float(part.start))
    with work.open():
        painter, masks = prepared(engine, job.styles, job.request, job.reader(), ignore, silence)
        settings = film.temporal_settings()
        if settings is not None and not painter.is_quick:
            settings = settings.for_slow_method()
        coding = choose_coding(job.out, codec=film.codec, bits=film.bits, crf=film.crf)
        FilmRunner(painter, masks, job.reader(part), film, settings, coding, work, ignore).run()
    return [replace(each, start=each.start + part.start) for each in work.segments]


def _shifted(film: Film, seconds: float) -> Film:
    """Time lines as a part sees them that begins at `seconds`."""
    return replace(
        film,
        timeline=tuple((at - seconds, shares) for at, shares in film.timeline),
        strengths=tuple((at - seconds, strength) for at, strength in film.strengths),
    )


def check_job(job: Job) -> None:
    """Refuse what cannot be painted in parts. Raises InputError."""
    if job.film.start or job.film.rate is not None:
        raise InputError("--ray paints a film from its beginning, with its own frames", "leave out --start and --fps")
    if "%" in job.out.name:
        raise InputError(f"--ray writes no single pictures, such as {plain(job.out)}", "name a video with -o")
    if MovingMasks.wanted(job.request.controls):
        raise InputError("masks that follow the film need all of it", "leave out --ray, or the masks")


Spread = Callable[[Job, Sequence[Part], OnProgress], dict[int, list[Segment]]]
"""Has parts painted; gives the segments of each by its number."""


def paint_parts(
    engine: Engine,
    job: Job,
    *,
    workers: int,
    spread: Spread,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
) -> FilmResult:
    """Paint a film in parts, and join them.

    Args:
        engine: looks at the film; the parts are painted elsewhere.
        job: the film.
        workers: how many paint.
        spread: has the parts painted.
        on_progress: may cancel by raising Cancelled.
        on_note: called with what was assumed.

    Raises:
        StyleError: as `paint_video`. Segments that are whole stay for the next time.
    """
    check_job(job)
    reader, coding = job.reader(), choose_coding(job.out, codec=job.film.codec, bits=job.film.bits, crf=job.film.crf)
    check_film(job.film, job.source, job.out, coding, reader.header, job.styles)
    least = max(_LEAST, reader.header.count // (_SHARES * workers))
    parts = find_parts(reader, least=least, on_progress=on_progress)
    on_note(f"{len(parts)} parts, at cuts, for {workers} workers")
    if not job.resume:
        for part in parts:
            job.folder(part).remove()
    done = spread(job, parts, on_progress)
    segments = [segment for part in parts for segment in done[part.number]]
    painter, _ = prepared(engine, job.styles, job.request, reader, on_progress, silence)
    record = film_record(painter, job.request, job.film, reader.header)
    beside = SourceTracks(job.source, job.film.start, job.film.end, job.request.drop_gps)
    assemble(segments, job.out, coding, beside=beside, metadata={"comment": json.dumps(record)}, on_note=on_note)
    for part in parts:
        job.folder(part).remove()
    count, header = sum(segment.count for segment in segments), reader.header
    cuts = tuple(sum(before.count for before in parts[:number]) for number in range(1, len(parts)))
    return FilmResult(job.out, count, count, 0.0, {}, cuts, (), header.width, header.height, record)


class PartPainter:
    """A worker: paints parts with an engine of its own."""

    def __init__(self, job: Job) -> None:
        device.use_threads(job.threads)
        self._job, self._engine = job, Engine(precision=job.precision, runtime="torch")

    def paint(self, part: Part) -> list[Segment] | tuple[str, str]:
        """The segments of a part; message and hint of what keeps it from being painted."""
        try:
            return paint_part(self._engine, self._job, part)
        except StyleError as error:
            return error.message, error.hint


def over_cluster(shape: Shape) -> Spread:
    """Has parts painted by the workers of the connected Ray cluster."""

    def spread(job: Job, parts: Sequence[Part], on_progress: OnProgress) -> dict[int, list[Segment]]:
        return _Cluster(job, shape).paint(parts, on_progress)

    return spread


class _Cluster:
    """Hands parts to workers, a part at a time; one whose worker dies goes to another, which goes on with it."""

    def __init__(self, job: Job, shape: Shape) -> None:
        self._ray: Any = require("ray", "ray")
        kind = self._ray.remote(num_cpus=shape.cpus, num_gpus=shape.gpus)(PartPainter)
        self._make: Callable[[], Any] = lambda: kind.remote(job)
        self._workers = shape.workers
        self._busy: dict[Any, tuple[Any, Part]] = {}  # by what will come of it

    def paint(self, parts: Sequence[Part], on_progress: OnProgress) -> dict[int, list[Segment]]:
        """The segments of each part, by its number."""
        ray = self._ray
        waiting, tries = deque(sorted(parts, key=lambda part: -part.count)), dict.fromkeys(parts, 0)
        idle = [self._make() for _ in range(min(self._workers, len(parts)))]
        done: dict[int, list[Segment]] = {}
        total = sum(part.count for part in parts)
        try:
            while len(done) < len(parts):
                while idle and waiting:
                    worker, part = idle.pop(), waiting.popleft()
                    tries[part] += 1
                    self._busy[worker.paint.remote(part)] = worker, part
                ready, _ = ray.wait(list(self._busy), num_returns=1, timeout=_PAUSE)
                for reference in ready:
                    worker, part = self._busy.pop(reference)
                    found = self._found(reference, tries[part])
                    if found is None:
                        waiting.appendleft(part)
                        worker = self._make()
                    else:
                        done[part.number] = found
                    idle.append(worker)
                painted = sum(segment.count for own in done.values() for segment in own)
                on_progress(Progress("painting", painted, total, unit="frame"))
        finally:
            for worker in [*idle, *(worker for worker, _ in self._busy.values())]:
                with suppress(Exception):
                    ray.kill(worker)
        return done

    def _found(self, reference: Any, tries: int) -> list[Segment] | None:
        """The segments of a part; None where its worker died."""
        from ray.exceptions import RayActorError

        try:
            found = self._ray.get(reference)
        except RayActorError as error:
            if tries < _TRIES:
                return None
            reason = plain(str(error)).split(". ")[0][:160]
            raise StyleError(f"the workers that painted a part died: {reason}", "use a smaller --size") from error
        if isinstance(found, tuple):
            raise InputError(*found)
        assert isinstance(found, list)
        return found
