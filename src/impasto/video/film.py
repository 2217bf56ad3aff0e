"""Paints videos: decoding, motion, painting and encoding side by side, in whole segments that outlive a kill.

A job works in a folder beside its output. Every so many frames a segment is closed, with what the next frames need to
know of those before, so that a job that goes on paints the same frames as one that was never stopped. In the end the
segments are joined, the sound is copied, and the output appears under its name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.controls import mask_name
from impasto.engine.engine import Engine
from impasto.engine.plan import duration
from impasto.engine.request import OnNote, Request, silence
from impasto.engine.styles import weighted
from impasto.errors import InputError
from impasto.video.frames import FramePainter
from impasto.video.resume import FilmFolder, fingerprint
from impasto.video.runner import FilmResult, FilmRunner
from impasto.video.settings import SMALLEST_SIDE, Film
from impasto.video.stabilizer import Motion
from impasto.video.tracking import MovingMasks, check_points
from impasto.videos import (
    Coding,
    FrameSource,
    Segment,
    SourceTracks,
    VideoFrame,
    VideoHeader,
    VideoReader,
    assemble,
    check_output,
    choose_coding,
)

_LONG = 5.0  # seconds; what takes longer is told beforehand


class Codecs(Protocol):
    """Decodes the source of a film and joins its output; `OwnCodecs` in this process, a service in another."""

    def open(self, film: Film, *, even: bool) -> FrameSource:
        """The frames that are to be painted; see `VideoReader` for what is raised."""
        ...

    def assemble(
        self, segments: Sequence[Segment], out: Path, film: Film, *, drop_gps: bool, record: Mapping[str, Any]
    ) -> list[str]:
        """Join segments and copy what lies beside the pictures; see `videos.assemble`.

        Returns:
            Notes on what could not be copied.
        """
        ...


class OwnCodecs:
    """Decodes and joins in this process: for files that are trusted."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def open(self, film: Film, *, even: bool) -> VideoReader:
        """See `Codecs`."""
        return VideoReader(self._source, film.start, film.end, film.size, film.rate, even=even)

    def assemble(
        self, segments: Sequence[Segment], out: Path, film: Film, *, drop_gps: bool, record: Mapping[str, Any]
    ) -> list[str]:
        """See `Codecs`."""
        notes: list[str] = []
        coding = choose_coding(out, codec=film.codec, bits=film.bits, crf=film.crf)
        beside = SourceTracks(Path(self._source), film.start, film.end, drop_gps)
        comment = {"comment": json.dumps(record)}
        assemble(segments, out, coding, beside=beside, metadata=comment, on_note=notes.append)
        return notes


def paint_video(  # noqa: PLR0913 - a front door
    engine: Engine,
    source: Path,
    styles: Any,
    out: Path,
    request: Request | None = None,
    film: Film | None = None,
    *,
    resume: bool = False,
    codecs: Codecs | None = None,
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
        codecs: decodes the source and joins the output; in this process by default.
        on_progress: called after each frame; may cancel by raising Cancelled.
        on_note: called with what was assumed or is wrong with the video.

    Raises:
        InputError, ResourceError, MissingExtra, AssetError, Cancelled: nothing is left under the output's name;
        whole segments stay for `resume`.
    """
    film, request = film or Film(), request or Request()
    settings = film.temporal_settings()
    coding = choose_coding(out, codec=film.codec, bits=film.bits, crf=film.crf)
    codecs = codecs or OwnCodecs(source)
    reader = codecs.open(film, even=coding.even)
    check_film(film, source, out, coding, reader.header, styles)
    work = FilmFolder(out, fingerprint(source, styles, request, film), resume=resume)
    with work.open():
        painter, masks = prepared(engine, styles, request, reader, on_progress, on_note)
        if settings is not None and not painter.is_quick:
            settings = settings.for_slow_method()
        left = max(0, reader.header.count - sum(segment.count for segment in work.segments))
        _tell_time(painter.predicted_seconds(settings.passes if settings else 1) * left, left, reader.header, on_note)
        result = FilmRunner(painter, masks, reader, film, settings, coding, work, on_progress).run()
        _tell_damage(reader.damaged, on_note)
        if masks is not None:
            _tell_lost(masks.lost, on_note)
        record = film_record(painter, request, film, reader.header)
        on_progress(Progress("joining the segments", 0, 1))
        for note in codecs.assemble(work.segments, out, film, drop_gps=request.drop_gps, record=record):
            on_note(note)
        on_progress(Progress("joining the segments", 1, 1))
        work.remove()
    return replace(result, path=out, record=record, damaged=tuple(reader.damaged))


def check_film(film: Film, source: Path, out: Path, coding: Coding, header: VideoHeader, styles: Any) -> None:
    """Raise InputError for what can be seen to be wrong before any weights are loaded."""
    if min(header.width, header.height) < SMALLEST_SIDE:
        raise InputError(f"frames of {header.width}x{header.height} px are too small", "16 px are needed")
    check_output(out, coding, [source])
    _check_timeline(film, len(weighted(styles)), header.duration or math.inf)


def _tell_time(seconds: float, frames: int, header: VideoHeader, on_note: OnNote) -> None:
    if seconds >= _LONG:
        on_note(f"{frames} frames of {header.width}x{header.height} px: about {duration(seconds)}")


def _tell_damage(damaged: Sequence[int], on_note: OnNote) -> None:
    if damaged:
        listed = ", ".join(str(number) for number in damaged[:8])
        more = f" and {len(damaged) - 8} more" if len(damaged) > 8 else ""
        on_note(f"damaged frames were concealed: {listed}{more}")


def _tell_lost(lost: Mapping[str, int], on_note: OnNote) -> None:
    for mask, number in lost.items():
        on_note(f"what {mask} names was lost at frame {number}: nothing is selected from there on")


def prepared(
    engine: Engine,
    styles: Any,
    request: Request,
    reader: FrameSource,
    on_progress: OnProgress,
    on_note: OnNote,
) -> tuple[FramePainter, MovingMasks | None]:
    """The painter, and the masks if they move."""
    check_points(request.controls, reader.header)
    first = _first(reader)
    moving = MovingMasks.wanted(request.controls)
    asked = replace(request, controls=MovingMasks.stilled(request.controls, first.pixels)) if moving else request
    painter = FramePainter.of(engine, styles, asked, first.pixels, on_progress=on_progress, on_note=on_note)
    if not moving:
        return painter, None

    def masks() -> MovingMasks:
        return MovingMasks(request.controls, reader, engine.store, bool(painter.run.sources), on_progress)

    layout = replace(masks().layout(first, Motion()), strength=painter.run.layout.strength)
    return FramePainter(replace(painter.run, layout=layout), on_progress), masks()


def _first(reader: FrameSource) -> VideoFrame:
    for frame in reader:
        return frame
    raise AssertionError("a reader without frames has raised")


def _check_timeline(film: Film, styles: int, until: float) -> None:
    latest = max([at for at, _ in (*film.timeline, *film.strengths)], default=0.0)
    if latest > until:
        hint = "choose an earlier time"
        raise InputError(f"a change is asked for at {latest:g} s, but the clip ends at {until:g} s", hint)
    for _, shares in film.timeline:
        if len(shares) != styles or not sum(shares) > 0:
            raise InputError(f"the time line has {len(shares)} shares for {styles} styles", "give each style its share")
    for at, strength in film.strengths:
        if not 0 <= strength <= 1:
            raise InputError(f"the strength at {at:g} s is {strength:g}", "it goes from 0 to 1")


def film_record(painter: FramePainter, request: Request, film: Film, header: VideoHeader) -> dict[str, Any]:
    """What makes a film again, as plain values."""
    made = {name: value for name, value in painter.record().items() if name not in ("content", "seconds", "steps")}
    asked = zip(made["regions"], request.controls.regions, strict=True)
    made["regions"] = [{**region, "mask": mask_name(mask)} for region, (mask, _) in asked]
    made["controls"] = request.controls.record()
    wanted = {name: value for name, value in asdict(film).items() if value not in (None, (), 0.0)}
    wanted["rate"] = str(header.rate)
    return {**made, "video": wanted}
