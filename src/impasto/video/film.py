"""Paints videos: decoding, motion, painting and encoding side by side, in whole segments that outlive a kill.

A job works in a folder beside its output. Every so many frames a segment is closed, with what the next frames need to
know of those before, so that a job that goes on paints the same frames as one that was never stopped. In the end the
segments are joined, the sound is copied, and the output appears under its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.controls import mask_name
from impasto.engine.engine import Engine, duration
from impasto.engine.masks import Layout
from impasto.engine.request import OnNote, Request, silence
from impasto.errors import InputError
from impasto.video.frames import FramePainter, Pixels
from impasto.video.steady import FIRMNESSES, Brought, Firmness, Motion, Steadier, Watcher, blended, bring, coded
from impasto.video.tracking import MovingMasks
from impasto.videos import (
    Beside,
    Coding,
    Segment,
    SegmentWriter,
    VideoFrame,
    VideoHeader,
    VideoReader,
    assemble,
    choose_coding,
    segment_coding,
    writing,
)

TEMPORAL = ("off", *FIRMNESSES)
SEGMENT = 48
"""Frames of a segment: what a kill can cost."""

_WAITING = 4  # frames between two steps of the pipeline: bounded, so that memory is
_LEAST_SIDE = 16
_LONG = 5.0  # seconds; what takes longer is told beforehand


@dataclass(frozen=True)
class Film:
    """What to paint of a video, and how to write it.

    Attributes:
        start, end: in seconds.
        size: longest side in pixels; None keeps the video's.
        rate: frames a second; None keeps every frame and its time.
        temporal: "off", "fast" or "best": how much is done for steadiness.
        codec, bits, crf: see `choose_coding`.
        timeline: pairs of seconds and shares of the styles, in order; between two the styles fade over.
        strengths: pairs of seconds and strength, in order; between two it changes evenly.
        segment: frames of a segment.
    """

    start: float = 0.0
    end: float | None = None
    size: int | None = None
    rate: Fraction | None = None
    temporal: str = "fast"
    codec: str | None = None
    bits: int = 8
    crf: int | None = None
    timeline: tuple[tuple[float, tuple[float, ...]], ...] = ()
    strengths: tuple[tuple[float, float], ...] = ()
    segment: int = SEGMENT

    def firmness(self) -> Firmness | None:
        """How firmly frames hold together; None for each by itself.

        Raises:
            InputError: `temporal` is no choice.
        """
        if self.temporal not in TEMPORAL:
            raise InputError(f"--temporal is {self.temporal!r}", f"it is one of {', '.join(TEMPORAL)}")
        return FIRMNESSES.get(self.temporal)

    def shares(self, seconds: float) -> tuple[float, ...] | None:
        """Shares of the styles at a time; they sum to 1."""
        if not self.timeline:
            return None
        return _between(self.timeline, seconds)

    def strength(self, seconds: float) -> float | None:
        """The strength at a time."""
        if not self.strengths:
            return None
        return _between(tuple((at, (value,)) for at, value in self.strengths), seconds)[0]


@dataclass(frozen=True)
class FilmResult:
    """What came of it.

    Attributes:
        path: of the output.
        frames: painted in all; of them `painted` now, the others before.
        seconds: of this run; and how long each step of the pipeline was busy.
        cuts, damaged: numbers of frames that begin a shot, and of those that were concealed.
        width, height: of a frame.
        record: what makes it again.
    """

    path: Path
    frames: int
    painted: int
    seconds: float
    busy: Mapping[str, float]
    cuts: tuple[int, ...]
    damaged: tuple[int, ...]
    width: int
    height: int
    record: Mapping[str, Any]

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.painted / self.seconds if self.seconds else 0.0


def paint_video(  # noqa: PLR0913 - a front door
    engine: Engine,
    source: Path,
    styles: Any,
    out: Path,
    request: Request | None = None,
    film: Film | None = None,
    *,
    resume: bool = False,
    on_progress: OnProgress = ignore,
    on_note: OnNote = silence,
) -> FilmResult:
    """Paint a video.

    Args:
        engine: paints.
        source: the video.
        styles: as for `Engine.stylize`.
        out: see `choose_coding`.
        request: how to paint; its size is the film's.
        film: what to paint, and how to write it.
        resume: go on where a job with the same settings was stopped.
        on_progress: hears of each frame; may cancel by raising Cancelled.
        on_note: hears what was assumed or is wrong with the video.

    Raises:
        InputError, ResourceError, MissingExtra, AssetError, Cancelled: nothing is left under the output's name;
        whole segments stay for `resume`.
    """
    film, request = film or Film(), request or Request()
    firmness = film.firmness()
    coding = choose_coding(out, codec=film.codec, bits=film.bits, crf=film.crf)
    reader = VideoReader(source, film.start, film.end, film.size, film.rate, even=coding.even)
    if min(reader.header.width, reader.header.height) < _LEAST_SIDE:
        raise InputError(f"frames of {reader.header.width}x{reader.header.height} px are too small", "16 px are needed")
    _check_place(out, source, coding)
    work = _Work(out, _fingerprint(source, styles, request, film), resume=resume)
    with work.open():
        painter, masks = _prepared(engine, styles, request, reader, on_progress, on_note)
        _check_timeline(film, len(painter.run.sources))
        if firmness is not None and not painter.is_quick:
            firmness = firmness.beside_slow()
        left = max(0, reader.header.count - sum(segment.count for segment in work.segments))
        seconds = painter.predicted_seconds(firmness.passes if firmness else 1) * left
        if seconds >= _LONG:
            on_note(f"{left} frames of {reader.header.width}x{reader.header.height} px: about {duration(seconds)}")
        result = _FilmRun(painter, masks, reader, film, firmness, coding, work, on_progress).run()
        if reader.damaged:
            listed = ", ".join(str(number) for number in reader.damaged[:8])
            more = f" and {len(reader.damaged) - 8} more" if len(reader.damaged) > 8 else ""
            on_note(f"damaged frames were concealed: {listed}{more}")
        record = _record(painter, request, film, reader.header)
        on_progress(Progress("joining the segments", 0, 1))
        metadata = {"comment": json.dumps(record)}
        assemble(
            work.segments,
            out,
            coding,
            beside=Beside(Path(source), film.start, film.end),
            metadata=metadata,
            on_note=on_note,
        )
        on_progress(Progress("joining the segments", 1, 1))
        work.remove()
    return replace(result, path=out, record=record, damaged=tuple(reader.damaged))


def _prepared(
    engine: Engine,
    styles: Any,
    request: Request,
    reader: VideoReader,
    on_progress: OnProgress,
    on_note: OnNote,
) -> tuple[FramePainter, MovingMasks | None]:
    """What paints, and the masks where they move."""
    first = _first(reader)
    moving = MovingMasks.wanted(request.controls)
    asked = replace(request, controls=MovingMasks.stilled(request.controls)) if moving else request
    painter = engine.painter(styles, asked, first.pixels, on_progress=on_progress, on_note=on_note)
    if not moving:
        return painter, None

    def masks() -> MovingMasks:
        return MovingMasks(request.controls, reader, engine.store, bool(painter.run.sources), on_progress)

    layout = replace(masks().layout(first, Motion()), strength=painter.run.layout.strength)
    return FramePainter(replace(painter.run, layout=layout), on_progress), masks()


def _first(reader: VideoReader) -> VideoFrame:
    for frame in reader:
        return frame
    raise AssertionError("a reader without frames has raised")


def _check_place(out: Path, source: Path, coding: Coding) -> None:
    place = out.parent if coding.codec == "png" else out
    if coding.codec == "png":
        if not place.parent.is_dir():
            raise InputError(f"there is no folder {place.parent}", "make it, or choose another output with -o")
        return
    images.check_output(out, [source], formats=(out.suffix.lower(),))


def _check_timeline(film: Film, styles: int) -> None:
    for _, shares in film.timeline:
        if len(shares) != styles or not sum(shares) > 0:
            raise InputError(f"the time line has {len(shares)} shares for {styles} styles", "give each style its share")
    for at, strength in film.strengths:
        if not 0 <= strength <= 1:
            raise InputError(f"the strength at {at:g} s is {strength:g}", "it goes from 0 to 1")


def _fingerprint(source: Path, styles: Any, request: Request, film: Film) -> str:
    """What a job that goes on must have in common with the one before."""
    about = source.stat()
    words = {
        "impasto": version("impasto"),
        "source": [str(source.resolve()), about.st_size, about.st_mtime_ns],
        "styles": str(styles),
        "request": str(request),
        "film": str(asdict(film)),
    }
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def _record(painter: FramePainter, request: Request, film: Film, header: VideoHeader) -> dict[str, Any]:
    made = {name: value for name, value in painter.record().items() if name not in ("content", "seconds", "steps")}
    asked = zip(made["regions"], request.controls.regions, strict=True)
    made["regions"] = [{**region, "mask": mask_name(mask)} for region, (mask, _) in asked]
    made["controls"] = request.controls.record()
    wanted = {name: value for name, value in asdict(film).items() if value not in (None, (), 0.0)}
    wanted["rate"] = str(header.rate)
    return {**made, "video": wanted}


def _between(points: Sequence[tuple[float, tuple[float, ...]]], seconds: float) -> tuple[float, ...]:
    """Values at a time: those of the points, and evenly changing between them."""
    before = [point for point in points if point[0] <= seconds]
    after = [point for point in points if point[0] > seconds]
    if not before:
        return after[0][1]
    if not after:
        return before[-1][1]
    (at, one), (until, other) = before[-1], after[0]
    share = (seconds - at) / (until - at)
    return tuple((1 - share) * a + share * b for a, b in zip(one, other, strict=True))


# What is on the disk


class _Work:
    """The folder of a job: its settings, its segments, and what the next segment needs to know."""

    def __init__(self, out: Path, fingerprint: str, *, resume: bool) -> None:
        name = out.parent.name if "%" in out.name else out.name
        place = out.parent.parent if "%" in out.name else out.parent
        self.folder = place / f".{name}.impasto"
        self._plan = self.folder / "plan.json"
        self._fingerprint, self._resume = fingerprint, resume
        self.segments: list[Segment] = []
        self.state: dict[str, np.ndarray] = {}
        self.done = False

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder, or read what is in it. One that holds no segment is taken away in the end."""
        if self._resume and self._plan.is_file():
            self._read()
        else:
            self._make()
        try:
            yield
        finally:
            if not self.segments:
                self.remove()

    def _make(self) -> None:
        with writing(self.folder.name):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._plan.write_text(json.dumps({"fingerprint": self._fingerprint, "segments": []}))

    def _read(self) -> None:
        try:
            plan = json.loads(self._plan.read_text())
        except ValueError:
            plan = {"fingerprint": "", "segments": []}
        if plan["fingerprint"] != self._fingerprint:
            raise InputError(
                f"the job in {self.folder} has other settings, or its video has changed",
                "give the settings of then, or leave out --resume to begin anew",
            )
        self.segments = [Segment(self.folder / name, Fraction(start), count) for name, start, count in plan["segments"]]
        self.done = plan.get("done", False)
        if self.segments and not self.done:
            with np.load(self._state(len(self.segments))) as stored:
                self.state = dict(stored)
        for left in self.folder.glob("*.part"):
            left.unlink()

    def _state(self, number: int) -> Path:
        return self.folder / f"state-{number:05d}.npz"

    def next_path(self) -> Path:
        """Where the next segment goes."""
        return self.folder / f"segment-{len(self.segments):05d}"

    def add(self, segment: Segment, state: Mapping[str, np.ndarray], *, done: bool) -> None:
        """Take in a whole segment: the state first, then the list that names both."""
        self.segments.append(segment)
        self.done = done
        number = len(self.segments)
        with writing(self.folder.name):
            with self._state(number).open("wb") as file:
                np.savez(file, **state)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            listed = [(each.path.name, str(each.start), each.count) for each in self.segments]
            plan = {"fingerprint": self._fingerprint, "segments": listed, "done": done}
            temporary = self.folder / "plan.part"
            temporary.write_text(json.dumps(plan))
            temporary.replace(self._plan)
            with suppress(OSError):
                self._state(number - 1).unlink()

    def remove(self) -> None:
        """Take all away."""
        shutil.rmtree(self.folder, ignore_errors=True)


# The pipeline

_BLEND = 0.5  # of the neighbour's painting, at the start of a further pass
_PIECE = 2**30  # bytes, of the frames of a piece


def _pieces(items: Iterator[_Item], segment: int) -> Iterator[list[_Item]]:
    """Frames in lists that end where a shot does, or a segment, or what a piece may take of the memory."""
    piece: list[_Item] = []
    for item in items:
        most = max(2, _PIECE // (6 * item.frame.pixels.nbytes))  # its painting, before and after, and what moved
        if piece and (item.motion.cut or item.frame.number % segment == 0 or len(piece) >= most):
            yield piece
            piece = []
        piece.append(item)
    if piece:
        yield piece


@dataclass
class _Item:
    """One frame on its way."""

    frame: VideoFrame
    motion: Motion = field(default_factory=Motion)
    layout: Layout | None = None
    painted: Pixels | None = None
    state: Mapping[str, np.ndarray] = field(default_factory=dict)


class _Stopped(Exception):
    """Another step has failed."""


_END = object()


class _Line:
    """Steps side by side, each a thread, with short queues between; the last one runs in the caller's thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self.busy: dict[str, float] = {}

    def step(self, name: str, items: Iterator[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        """Do `work` on each item in a thread of its own; gives the results in order."""
        waiting: queue.Queue[Any] = queue.Queue(_WAITING)
        first = not self.busy
        self.busy[name] = 0.0

        def run() -> None:
            try:
                for item in self._timed_source(name, items) if first else items:
                    began = time.perf_counter()
                    done = work(item)
                    self.busy[name] += time.perf_counter() - began
                    self._put(waiting, done)
                self._put(waiting, _END)
            except _Stopped:
                pass
            except BaseException as error:
                self._errors.append(error)
                self._stop.set()

        thread = threading.Thread(target=run, name=f"impasto-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return self._take(waiting)

    def _timed_source(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """What the first step reads from (decoding) counts as its work; the others wait for each other."""
        while True:
            began = time.perf_counter()
            item = next(items, _END)
            self.busy[name] += time.perf_counter() - began
            if item is _END:
                return
            yield item

    def _put(self, waiting: queue.Queue[Any], item: Any) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return
        raise _Stopped

    def _take(self, waiting: queue.Queue[Any]) -> Iterator[Any]:
        while True:
            try:
                item = waiting.get(timeout=0.1)
            except queue.Empty:
                if self._stop.is_set():
                    raise _Stopped from None
                continue
            if item is _END:
                return
            yield item

    def check(self, progress: Progress) -> None:  # noqa: ARG002 - what is done is told frame by frame
        """A callback for long steps: gives up when another step has."""
        if self._stop.is_set():
            raise _Stopped

    def close(self) -> None:
        """Stop all threads, and raise what went wrong in one."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


class _FilmRun:
    """One film on its way through the pipeline."""

    def __init__(
        self,
        painter: FramePainter,
        masks: MovingMasks | None,
        reader: VideoReader,
        film: Film,
        firmness: Firmness | None,
        coding: Coding,
        work: _Work,
        on_progress: OnProgress,
    ) -> None:
        self._painter, self._masks, self._reader, self._film = painter, masks, reader, film
        self._follows = masks is not None and masks.follows
        self._coding, self._work, self._on_progress = coding, work, on_progress
        self._firmness = firmness
        self._watcher = Watcher(firmness or Firmness(distance=0))
        self._steadier = Steadier(firmness or Firmness())
        self._behind = Watcher(firmness or Firmness())  # one for each thread
        self._cuts: list[int] = []
        self._skip = sum(segment.count for segment in work.segments)
        self._watcher.count = self._skip
        self._line = _Line()

    def run(self) -> FilmResult:
        """Paint all that is not there yet."""
        started = time.perf_counter()
        line, count, busy = self._line, self._skip, 0.0
        writer: SegmentWriter | None = None
        self._go_on()
        if self._work.done:
            return self._result(count, started, {})
        total = max(self._reader.header.count, self._skip)
        self._on_progress(Progress("painting", count, total, unit="frame"))
        decoded = line.step("decode", self._frames(), lambda frame: frame)
        moved = line.step("motion", decoded, self._watch)
        if self._painter.takes_anchors and self._firmness is not None:
            joined = self._near(moved, self._firmness.passes)
        else:
            joined = line.step("join", line.step("paint", moved, self._paint), self._join)
        try:
            for item in joined:
                began = time.perf_counter()
                writer = writer or SegmentWriter(
                    self._work.next_path(), segment_coding(self._coding), self._reader.header
                )
                assert item.painted is not None
                writer.write(item.painted, item.frame.stamp)
                count += 1
                if writer.count == self._film.segment:
                    self._work.add(writer.close(), item.state, done=False)
                    writer = None
                busy += time.perf_counter() - began
                self._tell(item, count, max(total, count), started)
            if writer is not None:
                self._work.add(writer.close(), {}, done=True)
        except _Stopped:
            pass
        except BaseException:
            with suppress(Exception):
                if writer is not None:
                    writer.close(keep=False)
            with suppress(BaseException):
                line.close()
            raise
        line.close()
        return self._result(count, started, {**line.busy, "encode": busy})

    def _go_on(self) -> None:
        """Take up what a job before this one has left."""
        self._steadier.restore(self._work.state)
        if self._masks is not None:
            self._masks.restore(self._work.state)

    def _frames(self) -> Iterator[_Item]:
        """The frames still to be painted; of those before, only what the next ones hang together with is looked at."""
        known = max(len(self._steadier.paintings), int(self._follows))
        for frame in self._reader:
            if frame.number >= self._skip:
                yield _Item(frame)
            elif frame.number >= self._skip - known:
                self._watcher.keep(frame.pixels)

    def _watch(self, item: _Item) -> _Item:
        motion = Motion()
        if self._firmness is not None or self._follows:
            motion = self._watcher(item.frame.pixels)
        if motion.cut:
            self._cuts.append(item.frame.number)
        if self._masks is None:
            return replace(item, motion=motion)
        layout = self._masks.layout(item.frame, motion)
        return replace(item, motion=motion, layout=layout, state=self._masks.state() if self._is_last(item) else {})

    def _is_last(self, item: _Item) -> bool:
        """Whether a segment ends here, so that the next one needs to know where things stand."""
        return (item.frame.number + 1) % self._film.segment == 0

    def _near(self, items: Iterator[_Item], passes: int) -> Iterator[_Item]:
        """Paint frames near each other: one after the other, or piece by piece in several passes."""
        if passes == 1:
            return self._line.step("paint", items, self._paint_near)
        pieces = self._line.step("paint", _pieces(items, self._film.segment), lambda piece: self._pass(piece, passes))
        return (item for piece in pieces for item in piece)

    def _pass(self, piece: list[_Item], passes: int) -> list[_Item]:
        """Paint a piece forth, back, forth and so on. In all but the first pass each frame goes on from its last one.

        Paper: arXiv:1604.08610, section 4.2, with the temporal loss in every pass. Departs from it in passing over
        pieces, so that memory does not grow with the film, and in joining the frames in the last pass as after one.
        """
        before, total = self._steadier.state(), passes * len(piece)
        painted: list[_Item] = []
        for number in range(passes):
            forth = number % 2 == 0
            if forth:
                self._steadier.restore(before)
            for done, place in enumerate(range(len(piece)) if forth else reversed(range(len(piece)))):
                item = piece[place]
                self._on_progress(Progress("passing over the film", number * len(piece) + done, total, unit="frame"))
                if number == 0:
                    painted.append(self._paint_near(item))
                elif forth:
                    brought = self._steadier.bring(item.motion)
                    painted[place] = self._joined(self._again(painted[place], brought), brought)
                elif place + 1 < len(piece):
                    painted[place] = self._again(painted[place], (self._from(item, painted[place + 1]),))
        self._on_progress(Progress("passing over the film", total, total, unit="frame"))
        return painted

    def _from(self, item: _Item, following: _Item) -> Brought:
        assert following.painted is not None
        link = self._behind.back(item.frame.pixels, following.frame.pixels)
        return bring(coded(following.painted), link)

    def _again(self, own: _Item, brought: tuple[Brought, ...]) -> _Item:
        """Go on from a blend of a frame's painting with the one that was brought from its neighbour."""
        assert own.painted is not None
        return self._paint(own, brought, blended(own.painted, brought, _BLEND))

    def _paint(self, item: _Item, brought: tuple[Brought, ...] = (), again: Pixels | None = None) -> _Item:
        seconds = float(item.frame.stamp * self._reader.header.time_base)
        painted = self._painter.paint(
            item.frame.pixels,
            strength=self._film.strength(seconds),
            shares=self._film.shares(seconds),
            brought=brought,
            again=again,
            layout=item.layout,
            on_progress=self._line.check,
        )
        return replace(item, painted=painted)

    def _join(self, item: _Item) -> _Item:
        if self._firmness is None:
            return item
        return self._joined(item, self._steadier.bring(item.motion))

    def _paint_near(self, item: _Item) -> _Item:
        brought = self._steadier.bring(item.motion)
        return self._joined(self._paint(item, brought), brought)

    def _joined(self, item: _Item, brought: tuple[Brought, ...]) -> _Item:
        assert item.painted is not None
        steady = self._steadier.join(item.painted, brought)
        own = self._steadier.state() if self._is_last(item) else {}
        return replace(item, painted=steady, state={**item.state, **own})

    def _tell(self, item: _Item, count: int, total: int, started: float) -> None:
        assert item.painted is not None
        rate = (count - self._skip) / (time.perf_counter() - started)
        preview = images.to_tensor(item.painted)
        self._on_progress(Progress("painting", count, total, unit="frame", losses={"fps": rate}, preview=preview))

    def _result(self, count: int, started: float, busy: Mapping[str, float]) -> FilmResult:
        header, seconds = self._reader.header, time.perf_counter() - started
        return FilmResult(
            Path(), count, count - self._skip, seconds, busy, tuple(self._cuts), (), header.width, header.height, {}
        )
