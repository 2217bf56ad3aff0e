"""Reading: any container and codec of FFmpeg, as a stream of upright frames with exact times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError
from impasto.videos._av import load, reading, scaling

MAX_FRAME = 8192 * 8192
"""The most pixels of a frame that is decoded."""

_HD = 720  # from this height on an untagged video is taken to be BT.709, as players do
_UNSPECIFIED = 2
_MATRIX_709, _MATRIX_601 = 1, 5
_READABLE_MATRICES = (1, 4, 5, 7, 9)
FULL_RANGE = 2
_FORMATS = {False: "rgb24", True: "rgb48le"}
_CLEAR_FORMATS = {False: "rgba", True: "rgba64le"}


@dataclass(frozen=True)
class VideoHeader:
    """Properties of a video, from its header.

    Attributes:
        name: of the file, for messages.
        width, height: of an upright frame, in pixels.
        own_size: width and height of the film's own frames, where those that are read are scaled.
        rotation: quarter turns counter-clockwise that make coded frames upright.
        rate: frames a second, on average.
        time_base: unit of time stamps, in seconds.
        count: frames, where the container says; else estimated from the duration; 0 when unknown.
        duration: in seconds; 0 when unknown.
        codec: FFmpeg's name.
        bits: a component, 8 or more.
        matrix, primaries, transfer: FFmpeg's numbers (ITU-T H.273); 2 is unspecified.
        aspect: width of a pixel divided by its height.
        streams: of sound, subtitles and others beside the picture, as "audio aac".
    """

    name: str
    width: int
    height: int
    own_size: tuple[int, int] = (0, 0)
    rotation: int = 0
    rate: Fraction = Fraction(25)
    time_base: Fraction = Fraction(1, 25)
    count: int = 0
    duration: float = 0.0
    codec: str = ""
    bits: int = 8
    matrix: int = _UNSPECIFIED
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    aspect: Fraction = Fraction(1)
    streams: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoFrame:
    """One frame.

    Attributes:
        pixels: `(H, W, 3)` float32, sRGB-coded in [0, 1], upright.
        stamp: time in units of the header's time base, from the beginning of what is read.
        number: of the frame, from 0, in what is read.
        damaged: the decoder had to conceal a part of it.
    """

    pixels: NDArray[np.float32]
    stamp: int
    number: int
    damaged: bool = False


class FrameSource(Protocol):
    """Frames of a video, in the order in which they are shown; a `VideoReader` is one.

    Attributes:
        start, end: the part that is read, in seconds.
        header: of what is read.
        damaged: numbers of frames that were concealed or could not be decoded, as they are met.
    """

    start: float
    end: float | None
    header: VideoHeader
    damaged: list[int]

    def __iter__(self) -> Iterator[VideoFrame]: ...


@dataclass
class VideoReader:
    """Streams the frames of a file; memory does not grow with its length.

    Attributes:
        path: of the file.
        start, end: in seconds; frames shown from `start` on and before `end` are read.
        size: longest side that frames are scaled to.
        rate: frames a second that frames are repeated or dropped for; None keeps every frame and its time.
        even: make both sides even, as most codecs need.
        damaged: numbers of frames that were concealed or could not be decoded, as they are met.

    Raises:
        InputError: no such file, no video in it, a codec that FFmpeg lacks, no frame at all.
        MissingExtra: PyAV is not installed.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    size: int | None = None
    rate: Fraction | None = None
    even: bool = False
    header: VideoHeader = field(init=False)
    damaged: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        found = probe_video(self.path)
        width, height = (found.width, found.height) if self.size is None else _fit(found, self.size)
        if self.even:
            width, height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        if found.duration and self.start >= found.duration:
            raise InputError(
                f"{found.name} is {found.duration:.2f} s long and should be read from {self.start:g} s on",
                "choose an earlier --start",
            )
        rate = self.rate or found.rate
        self.header = replace(
            found,
            width=width,
            height=height,
            rate=rate,
            time_base=1 / self.rate if self.rate else found.time_base,
            count=self._expected(found, rate),
        )

    def _expected(self, found: VideoHeader, rate: Fraction) -> int:
        whole = self.start <= 0 and self.end is None and self.rate is None
        if whole or not found.duration:
            return found.count
        until = found.duration if self.end is None else min(self.end, found.duration)
        return max(1, round(float(rate) * (until - self.start)))

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in the order in which they are shown."""
        self.damaged.clear()
        shown = 0
        with reading(self.header.name):
            for frame in self._paced():
                shown += 1
                yield frame
        if not shown:
            raise InputError(f"{self.header.name} holds no frames{self._where()}", "give a longer video")

    def _where(self) -> str:
        return "" if not self.start and self.end is None else " there"

    def _paced(self) -> Iterator[VideoFrame]:
        """Frames at a steady rate, each the one that is on screen then; or simply all."""
        if self.rate is None:
            yield from self._timed()
            return
        unit = probe_video(self.path).time_base
        held: VideoFrame | None = None
        number = 0
        for frame in self._timed():
            while held is not None and number / self.rate < frame.stamp * unit:
                yield replace(held, stamp=number, number=number)
                number += 1
            held = frame
        if held is not None and number / self.rate <= held.stamp * unit:
            yield replace(held, stamp=number, number=number)

    def _timed(self) -> Iterator[VideoFrame]:
        """Frames between start and end, with stamps that always rise."""
        first: int | None = None
        last, number = -1, 0
        for raw, unit, origin, damaged in _decoded(self.path, self.start):
            stamp = last + 1 if raw.pts is None else raw.pts - origin
            seconds = stamp * unit
            if seconds + Fraction(1, 1_000_000) < Fraction(self.start).limit_denominator(1_000_000):
                continue
            if self.end is not None and seconds >= Fraction(self.end).limit_denominator(1_000_000):
                return
            first = stamp if first is None and self.start > 0 else (first or 0)
            stamp = max(stamp - first, last + 1)  # streams with jumps back in time are played in the order of decoding
            last = stamp
            if damaged:
                self.damaged.append(number)
            yield VideoFrame(self._upright(raw), stamp, number, damaged)
            number += 1

    def _upright(self, raw: Any) -> NDArray[np.float32]:
        header = self.header
        turned = header.rotation % 2 == 1
        width, height = (header.height, header.width) if turned else (header.width, header.height)
        pixels = _as_floats(raw, width, height, deep=header.bits > 8)
        return np.ascontiguousarray(np.rot90(pixels, header.rotation)) if header.rotation else pixels


def _as_floats(raw: Any, width: int, height: int, *, deep: bool) -> NDArray[np.float32]:
    """FFmpeg's frame as `(height, width, 3)` in [0, 1]; matrix and range as it says, or as players take them to be.

    What is transparent gets the colours around it: a film is painted without transparency.
    """
    matrix = raw.colorspace
    if matrix not in _READABLE_MATRICES:
        matrix = _MATRIX_709 if raw.height >= _HD else _MATRIX_601
    clear = any(component.is_alpha for component in raw.format.components)
    scaled = raw.reformat(
        width=width,
        height=height,
        format=_CLEAR_FORMATS[deep] if clear else _FORMATS[deep],
        src_colorspace=matrix,
        dst_color_range=FULL_RANGE,
        interpolation=scaling(),
        threads=1,
    )
    whole: NDArray[np.float32] = scaled.to_ndarray().astype(np.float32) / np.float32(65535 if deep else 255)
    return images.fill_hidden(np.ascontiguousarray(whole[..., :3]), whole[..., 3]) if clear else whole


def probe_video(path: Path | str) -> VideoHeader:
    """Read the header of a video. Raises as `VideoReader`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", "give a video file")
    with reading(path.name), opened(path) as container:
        return _header(container, path.name)


def opened(path: Path) -> Any:
    """The input container; a file that names others (a playlist) may not reach beyond files."""
    return load().open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace")


def picture_stream(container: Any, name: str) -> Any:
    """The first stream of pictures that is no cover image.

    Raises:
        InputError: there is none, or its codec is unknown.
    """
    av = load()
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            if stream.codec_context is None:
                raise InputError(
                    f"{name} is in a video codec that cannot be decoded", "convert it to H.264, HEVC or AV1 first"
                )
            return stream
    raise InputError(f"{name} holds no video", "give a file with moving pictures")


def _header(container: Any, name: str) -> VideoHeader:
    stream = picture_stream(container, name)
    codec = stream.codec_context
    if not codec.width or not codec.height:
        raise InputError(f"{name} does not tell the size of its frames", "the file seems to be cut off; copy it again")
    if codec.width * codec.height > MAX_FRAME:
        raise InputError(
            f"{name} has frames of {codec.width}x{codec.height} px", "scale it below 8192x8192 px beforehand"
        )
    first = next(_decode(container, stream), None)
    if first is None:
        raise InputError(f"{name} holds no frames", "give a longer video")
    frame = first[0]
    rotation = round(frame.rotation / 90) % 4
    width, height = (frame.height, frame.width) if rotation % 2 else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    duration = _duration(container, stream)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return VideoHeader(
        name=name,
        width=width,
        height=height,
        own_size=(width, height),
        rotation=rotation,
        rate=Fraction(rate),
        time_base=Fraction(stream.time_base),
        count=stream.frames or round(duration * float(rate)),
        duration=duration,
        codec=codec.codec.canonical_name,
        bits=max(component.bits for component in frame.format.components),
        matrix=frame.colorspace,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        aspect=1 / Fraction(aspect) if rotation % 2 else Fraction(aspect),
        streams=tuple(
            f"{other.type} {getattr(other.codec_context, 'name', None) or 'unknown'}"
            for other in container.streams
            if other is not stream
        ),
    )


def _duration(container: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(container.duration / load().time_base) if container.duration else 0.0


def _fit(found: VideoHeader, size: int) -> tuple[int, int]:
    if isinstance(size, bool) or not isinstance(size, int) or size < 16:
        raise InputError(f"--size is {size!r}", "it takes a whole number of pixels, 16 or more")
    return images.fit(found.width, found.height, size)


def _decoded(path: Path, start: float) -> Iterator[tuple[Any, Fraction, int, bool]]:
    """Frames as FFmpeg gives them, with the unit of time, the stamp of the beginning, and whether they are damaged."""
    with opened(path) as container:
        stream = picture_stream(container, path.name)
        stream.thread_type = "AUTO"
        unit, origin = Fraction(stream.time_base), stream.start_time or 0
        if start > 0:
            container.seek(origin + int(start / unit), stream=stream, backward=True)
        for frame, damaged in _decode(container, stream):
            yield frame, unit, origin, damaged


def _decode(container: Any, stream: Any) -> Iterator[tuple[Any, bool]]:
    """Frames with whether they are damaged; packets that cannot be decoded are passed over, and the next is marked."""
    av = load()
    lost = False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.InvalidDataError:  # the container itself breaks off here
            return
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            lost = True
            continue
        for frame in frames:
            yield frame, lost or bool(frame.is_corrupt)
            lost = False


def live_frames(source: str, *, size: int) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Frames of a camera, a stream or a file as they come, `(H, W, 3)` in [0, 1], with their time in seconds.

    Args:
        source: a path, an address of a stream, or the number of a camera.
        size: longest side that frames are scaled to; sides are even.

    Raises:
        InputError: it cannot be opened.
    """
    av = load()
    with reading(source):
        if Path(source).is_file():
            container = opened(Path(source))
        elif source.isdigit():
            container = _camera(av, int(source))
        elif "://" in source:
            container = av.open(source, timeout=10.0)
        else:
            raise InputError(f"there is no file or camera {source}", "give a file, an address, or a camera's number")
        with container:
            stream = picture_stream(container, source)
            for frame, _ in _decode(container, stream):
                turns = round(frame.rotation / 90) % 4
                sides = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
                width, height = (max(16, side // 2 * 2) for side in images.fit(*sides, min(size, max(sides))))
                coded = (height, width) if turns % 2 else (width, height)
                pixels = _as_floats(frame, *coded, deep=False)
                upright = np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
                yield upright, float((frame.pts or 0) * stream.time_base)


def _camera(av: Any, number: int) -> Any:
    """The system's camera: Video4Linux, AVFoundation or DirectShow."""
    if sys.platform.startswith("linux"):
        return av.open(f"/dev/video{number}", format="v4l2")
    if sys.platform == "darwin":
        return av.open(str(number), format="avfoundation", options={"framerate": "30"})
    devices = [device for device in av.enumerate_input_devices("dshow") if "video" in str(device).lower()]
    if number >= len(devices):
        raise InputError(f"there is no camera {number}", f"{len(devices)} were found")
    return av.open(f"video={devices[number].description}", format="dshow")
