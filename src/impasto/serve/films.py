"""Videos as jobs: what a request asks for, checked by the video's header, and how it is painted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from impasto.contract import OnProgress, Progress
from impasto.engine.engine import Demand, Engine
from impasto.engine.plan import stages_of
from impasto.engine.request import Request
from impasto.errors import InputError, quoted
from impasto.files import make_folder, slug, storing
from impasto.serve import listing
from impasto.serve.fields import (
    NOT_OF_VIDEOS,
    FindTrained,
    OrderReader,
    Upload,
    Values,
    clean_name,
    read_number,
    read_text,
    refuse_settings,
    single,
)
from impasto.serve.jobs import VIDEO, Painted, without_places
from impasto.serve.settings import ServeSettings
from impasto.serve.video_codecs import ConfinedVideo, VideoLimits, check_container
from impasto.video.film import paint_video
from impasto.video.settings import Film
from impasto.video.tracking import check_points

_TYPES: Mapping[str, str] = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "gif": "image/gif",
}
_POSTER_SIDE = 1024
_PAINTING = 0.97  # of the work; the rest is joining


@dataclass(frozen=True)
class FilmOrder:
    """A request for a video that was read and checked.

    Attributes:
        video: the upload.
        styles: each with its weight.
        request: as the engine takes it.
        film: which part, and how.
        format: of the result, a key of `_TYPES`.
        method: the method that paints last.
        frames: to be painted.
    """

    video: Upload
    styles: tuple[tuple[Any, float], ...]
    request: Request
    film: Film
    format: str
    method: str
    frames: int

    slow, bytes = True, 0
    """What is counted, as of `fields.Order`: nothing is held until its turn comes."""

    @property
    def demand(self) -> Demand:
        """What it will take, roughly: a second a frame."""
        return Demand(slow=True, seconds=float(self.frames))


@dataclass(frozen=True)
class FilmReader:
    """Reads requests for videos.

    Attributes:
        limits: what is allowed.
        reader: reads all but the video.
    """

    limits: ServeSettings
    reader: OrderReader

    def read(self, uploads: Sequence[Upload], given: Values, *, trained: FindTrained) -> FilmOrder:
        """The order of `plain_settings`.

        Raises:
            InputError: something cannot be used.
            TooLargeError: the video's header tells of too much.
        """
        video = single(uploads, VIDEO)
        assert video is not None
        if self.limits.video_seconds <= 0:
            raise InputError("this service paints no videos", "send a picture")
        if single(uploads, "content") is not None:
            raise InputError("a video and a photograph were sent", "send one of them")
        refuse_settings(given, NOT_OF_VIDEOS, "is not for videos", "leave it out")
        if read_text(given.get("method", "auto")) == "auto":
            given = {"quality": "draft", **given}
        pictures = [upload for upload in uploads if upload is not video]
        styles, request = self.reader.painting(pictures, given, trained=trained)
        stages = stages_of(styles, request)
        if any(stage.method.kind == "objective" for stage in stages):
            hint = "use quality draft, a trained style, or a method of one pass"
            raise InputError(f"{stages[-1].method.name} takes minutes for each frame of a video", hint)
        film, ending = _film(given, request), _format(given)
        with _temporary(video.data) as path, self.confined(path, video) as source:
            header = source.open(film, even=True).header
        check_points(request.controls, header)
        frames = header.count or self.limits.video_frames
        return FilmOrder(video, styles, replace(request, size=None), film, ending, stages[-1].method.name, frames)

    def confined(self, path: Path, video: Upload) -> ConfinedVideo:
        """The video in a process of its own."""
        name = clean_name(video.name)
        check_container(video.data, name)
        limits = VideoLimits(self.limits.video_seconds, self.limits.video_frames, self.limits.video_pixels)
        memory, seconds = self.limits.decode_bytes, self.limits.decode_seconds
        return ConfinedVideo(path, name, limits, memory=memory, seconds=seconds)

    def first_frame(self, video: Upload, side: int) -> bytes:
        """Its first frame as a JPEG of at most that side. Raises as `read`."""
        from impasto import images

        with _temporary(video.data) as path, self.confined(path, video) as source:
            frame = next(iter(source.open(Film(), even=False)))
            return listing.jpeg(images.Picture(frame.pixels), side)

    def paint(self, engine: Engine, order: FilmOrder, path: Path, folder: Path, on_progress: OnProgress) -> Painted:
        """Paint a video; whole segments stay in `folder`, from which a broken job goes on.

        Args:
            engine: paints.
            order: what to paint.
            path: of the video.
            folder: of the job.
            on_progress: called after each frame, with it as the preview.
        """
        place = folder / version("impasto")  # segments of another version are not gone on with
        make_folder(place)
        out = place / f"out.{order.format}"
        listener = _Listener(on_progress)
        with self.confined(path, order.video) as source:
            done = paint_video(
                engine,
                path,
                list(order.styles),
                out,
                order.request,
                order.film,
                resume=True,
                codecs=source,
                on_progress=listener,
            )
        return Painted(
            out.read_bytes(),
            _name(order),
            _TYPES[order.format],
            without_places(done.record),
            done.width,
            done.height,
            done.seconds,
            listener.poster,
        )


class _Listener:
    """Passes reports on, as shares of the whole, and keeps a frame that stands for the video."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress, self.poster = on_progress, b""

    def __call__(self, progress: Progress) -> None:
        if progress.preview is not None and not self.poster:
            self.poster = listing.preview(progress.preview, _POSTER_SIDE)[1]
        if progress.stage == "painting" and progress.unit == "frame":
            progress = replace(progress, done=_PAINTING * progress.share)
        elif progress.stage.startswith("joining"):
            progress = replace(progress, done=_PAINTING + (1 - _PAINTING) * progress.share)
        self._on_progress(progress)


def _film(given: Values, request: Request) -> Film:
    """Which part, and how. Raises InputError."""
    start = read_number("start")(given.get("start", 0.0))
    end = read_number("end")(given["end"]) if "end" in given else None
    if not start >= 0 or (end is not None and not end > start):
        raise InputError(f"start is {start:g} and end is {end}", "they are seconds from 0 on, the end after the start")
    film = Film(start=start, end=end, size=request.size, temporal=read_text(given.get("temporal", "fast")))
    film.temporal_settings()
    return film


def _format(given: Values) -> str:
    ending = read_text(given.get("format", "mp4")).lower().removeprefix(".")
    if ending not in _TYPES:
        raise InputError(f"{quoted(ending)} is not a format of videos", f"it is one of {', '.join(_TYPES)}")
    return ending


def _name(order: FilmOrder) -> str:
    stem = clean_name(order.video.name).rpartition(".")[0] or "video"
    label = str(order.request.knobs.get("name", "")) or "painted"
    return clean_name(f"{stem}-{slug(label)}.{order.format}")


@contextmanager
def _temporary(data: bytes) -> Iterator[Path]:
    """The file for as long as it is looked at."""
    with storing("a video"), tempfile.NamedTemporaryFile(prefix="impasto-video-") as file:
        file.write(data)
        file.flush()
        yield Path(file.name)
