"""One film through the pipeline: decoding, motion, painting, joining and encoding."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from impasto import images
from impasto.contract import OnProgress, Progress
from impasto.engine.masks import Layout
from impasto.video.cuts import LOOKAHEAD
from impasto.video.frames import FramePainter, Pixels
from impasto.video.pipeline import Pipeline, Stopped
from impasto.video.resume import FilmFolder
from impasto.video.settings import Film
from impasto.video.stabilizer import (
    Motion,
    MotionEstimator,
    Stabilizer,
    TemporalSettings,
    WarpedPainting,
    blend_warped,
    coded,
    warp_painting,
)
from impasto.video.tracking import MovingMasks
from impasto.videos import (
    Coding,
    FrameSource,
    SegmentWriter,
    VideoFrame,
    segment_coding,
)


@dataclass(frozen=True)
class FilmResult:
    """The result of painting a film.

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


_BLEND = 0.5  # of the neighbour's painting, at the start of a further pass


_PIECE = 2**30  # bytes, of the frames of a piece


def _with_next(items: Iterator[Item]) -> Iterator[tuple[Item, tuple[Pixels, ...]]]:
    """Each frame with those after it, which tell a flash from a cut."""
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > LOOKAHEAD:
            yield waiting.popleft(), tuple(each.frame.pixels for each in waiting)
    while waiting:
        yield waiting.popleft(), tuple(each.frame.pixels for each in waiting)


def _pieces(items: Iterator[Item], segment: int) -> Iterator[list[Item]]:
    """Frames in lists that end where a shot does, or a segment, or what a piece may take of the memory."""
    piece: list[Item] = []
    for item in items:
        most = max(2, _PIECE // (6 * item.frame.pixels.nbytes))  # its painting, before and after, and what moved
        if piece and (item.motion.cut or item.frame.number % segment == 0 or len(piece) >= most):
            yield piece
            piece = []
        piece.append(item)
    if piece:
        yield piece


@dataclass
class Item:
    """One frame on its way."""

    frame: VideoFrame
    motion: Motion = field(default_factory=Motion)
    layout: Layout | None = None
    painted: Pixels | None = None
    state: Mapping[str, np.ndarray] = field(default_factory=dict)


class FilmRunner:
    """One film on its way through the pipeline."""

    def __init__(
        self,
        painter: FramePainter,
        masks: MovingMasks | None,
        reader: FrameSource,
        film: Film,
        settings: TemporalSettings | None,
        coding: Coding,
        work: FilmFolder,
        on_progress: OnProgress,
    ) -> None:
        self._painter, self._masks, self._reader, self._film = painter, masks, reader, film
        self._follows = masks is not None and masks.follows
        self._coding, self._work, self._on_progress = coding, work, on_progress
        self._settings = settings
        self._motion_estimator = MotionEstimator(settings or TemporalSettings(anchor_distance=0))
        self._stabilizer = Stabilizer(settings or TemporalSettings())
        self._backward_motion = MotionEstimator(settings or TemporalSettings())  # one for each thread
        self._cuts: list[int] = []
        self._skip = sum(segment.count for segment in work.segments)
        self._motion_estimator.count = self._skip
        self._line = Pipeline()

    def run(self) -> FilmResult:
        """Paint all that is not there yet."""
        started = time.perf_counter()
        line, count, busy = self._line, self._skip, 0.0
        writer: SegmentWriter | None = None
        self._restore()
        if self._work.done:
            return self._result(count, started, {})
        total = max(self._reader.header.count, self._skip)
        self._on_progress(Progress("painting", count, total, unit="frame"))
        decoded = line.step("decode", self._frames(), lambda frame: frame)
        moved = line.step("motion", _with_next(decoded), self._estimate_motion)
        if self._painter.takes_anchors and self._settings is not None:
            stabilized = self._paint_with_anchors(moved, self._settings.passes)
        else:
            stabilized = line.step("join", line.step("paint", moved, self._paint), self._stabilize)
        try:
            for item in stabilized:
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
                self._report(item, count, max(total, count), started)
            if writer is not None:
                self._work.add(writer.close(), {}, done=True)
        except Stopped:
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

    def _restore(self) -> None:
        """Resume where an earlier job stopped."""
        self._stabilizer.restore(self._work.state)
        if self._masks is not None:
            self._masks.restore(self._work.state)

    def _frames(self) -> Iterator[Item]:
        """The frames still to be painted; of those before, only the ones that the next ones are linked to are kept."""
        states = (self._work.state.get(name, ())[::-1] for name in ("odd", "source"))
        left = {self._skip - back: own for back, own in enumerate(zip(*states, strict=True), start=1)}
        for frame in self._reader:
            if frame.number >= self._skip:
                yield Item(frame)
            elif frame.number in left:
                odd, source = left[frame.number]
                self._motion_estimator.keep(frame.pixels, odd=bool(odd), source=source)

    def _estimate_motion(self, pair: tuple[Item, tuple[Pixels, ...]]) -> Item:
        item, following = pair
        motion = Motion()
        if self._settings is not None or self._follows:
            motion = self._motion_estimator(item.frame.pixels, following)
        if motion.cut:
            self._cuts.append(item.frame.number)
        layout = None if self._masks is None else self._masks.layout(item.frame, motion)
        state: dict[str, np.ndarray] = {}
        if self._is_last(item):
            state = {**self._motion_estimator.state(), **({} if self._masks is None else self._masks.state())}
        return replace(item, motion=motion, layout=layout, state=state)

    def _is_last(self, item: Item) -> bool:
        """Whether a segment ends here, so that the state has to be stored."""
        return (item.frame.number + 1) % self._film.segment == 0

    def _paint_with_anchors(self, items: Iterator[Item], passes: int) -> Iterator[Item]:
        """Paint each frame with its neighbours as anchors: one after the other, or piece by piece in several passes."""
        if passes == 1:
            return self._line.step("paint", items, self._paint_with_anchor)
        pieces = _pieces(items, self._film.segment)
        painted = self._line.step("paint", pieces, lambda piece: self._paint_in_passes(piece, passes))
        return (item for piece in painted for item in piece)

    def _paint_in_passes(self, piece: list[Item], passes: int) -> list[Item]:
        """Paint a piece forwards, backwards, forwards and so on. Each pass starts from the paintings of the one before.

        Paper: arXiv:1604.08610, section 4.2, with the temporal loss in every pass. Departs from it in passing over
        pieces, so that memory does not grow with the film, and in stabilizing the frames in the last pass as after one.
        """
        before, total = self._stabilizer.state(), passes * len(piece)
        painted: list[Item] = []
        for number in range(passes):
            forwards = number % 2 == 0
            if forwards:
                self._stabilizer.restore(before)
            for done, place in enumerate(range(len(piece)) if forwards else reversed(range(len(piece)))):
                item = piece[place]
                self._on_progress(Progress("passing over the film", number * len(piece) + done, total, unit="frame"))
                if number == 0:
                    painted.append(self._paint_with_anchor(item))
                elif forwards:
                    warped = self._stabilizer.warp(item.motion)
                    painted[place] = self._stabilized(self._paint_again(painted[place], warped), warped)
                elif place + 1 < len(piece):
                    painted[place] = self._paint_again(
                        painted[place], (self._warped_from_next(item, painted[place + 1]),)
                    )
        self._on_progress(Progress("passing over the film", total, total, unit="frame"))
        return painted

    def _warped_from_next(self, item: Item, following: Item) -> WarpedPainting:
        assert following.painted is not None
        link = self._backward_motion.back(item.frame.pixels, following.frame.pixels)
        return warp_painting(coded(following.painted), link)

    def _paint_again(self, own: Item, warped: tuple[WarpedPainting, ...]) -> Item:
        """Paint from a blend of a frame's painting with the one that was warped from its neighbour."""
        assert own.painted is not None
        return self._paint(own, warped, blend_warped(own.painted, warped, _BLEND))

    def _paint(self, item: Item, warped: tuple[WarpedPainting, ...] = (), again: Pixels | None = None) -> Item:
        seconds = float(item.frame.stamp * self._reader.header.time_base)
        painted = self._painter.paint(
            item.frame.pixels,
            strength=self._film.strength(seconds),
            shares=self._film.shares(seconds),
            warped=warped,
            again=again,
            layout=item.layout,
            on_progress=self._line.check,
        )
        return replace(item, painted=painted)

    def _stabilize(self, item: Item) -> Item:
        if self._settings is None:
            return item
        return self._stabilized(item, self._stabilizer.warp(item.motion))

    def _paint_with_anchor(self, item: Item) -> Item:
        warped = self._stabilizer.warp(item.motion)
        return self._stabilized(self._paint(item, warped), warped)

    def _stabilized(self, item: Item, warped: tuple[WarpedPainting, ...]) -> Item:
        assert item.painted is not None
        steady = self._stabilizer.stabilize(item.painted, warped)
        own = self._stabilizer.state() if self._is_last(item) else {}
        return replace(item, painted=steady, state={**item.state, **own})

    def _report(self, item: Item, count: int, total: int, started: float) -> None:
        assert item.painted is not None
        rate = (count - self._skip) / (time.perf_counter() - started)
        preview = images.to_tensor(item.painted)
        self._on_progress(Progress("painting", count, total, unit="frame", losses={"fps": rate}, preview=preview))

    def _result(self, count: int, started: float, busy: Mapping[str, float]) -> FilmResult:
        header, seconds = self._reader.header, time.perf_counter() - started
        return FilmResult(
            Path(), count, count - self._skip, seconds, busy, tuple(self._cuts), (), header.width, header.height, {}
        )
