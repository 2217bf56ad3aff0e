"""Writing: frames to a file, whole or not at all; or to segments first, which are joined when all are there.

Segments make long jobs safe: each is whole or not there, so a job that was killed goes on after the last. They are
joined by copying packets: that costs no quality and little time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto import images
from impasto.errors import InputError
from impasto.files import discard, publish, temporary_beside, whole
from impasto.videos._av import load, reading, scaling, writing
from impasto.videos._coding import LOSSLESS, Coding, choose_coding
from impasto.videos._read import VideoHeader, opened, picture_stream

_MATRIX_709, _MATRIX_601 = 1, 5
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_UNSPECIFIED = 2
_HD = 720
_PALETTE_SAMPLES = 12
_LEAST_HEVC = 96  # x265 (as in PyAV 18.1) writes beyond its memory for frames of 48x32 and 96x64 px
_KEY_DISTANCE = 250  # frames between two places that a player can jump to

Pixels = NDArray[np.float32]


def check_output(path: Path, coding: Coding, keep: Sequence[Path]) -> None:
    """Raise InputError, before work begins, for a place that cannot be written or is one of the files to `keep`."""
    if coding.codec != "png":
        images.check_output(path, keep, formats=(path.suffix.lower(),))
    elif not path.parent.parent.is_dir():
        raise InputError(f"there is no folder {path.parent.parent}", "make it, or choose another output with -o")


class VideoWriter:
    """Writes frames to a file, which appears under its name when it is whole.

        with VideoWriter(Path("out.mp4"), rate=25) as writer:
            for pixels in frames:
                writer.write(pixels)

    Args:
        path: its ending names the container.
        rate: frames a second.
        coding: how; by default the usual codec of the container.
        beside: a film whose sound, subtitles and metadata are copied.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction | float = 25,
        coding: Coding | None = None,
        beside: SourceTracks | None = None,
    ) -> None:
        self._path, self._beside = path, beside
        self._rate = Fraction(rate).limit_denominator(1001)
        self._coding = coding or choose_coding(path)
        self._segment: SegmentWriter | None = None
        self._work = temporary_beside(path)
        self._count = 0

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, pixels: Pixels) -> None:
        """Add a frame `(H, W, 3)`, sRGB in [0, 1], of the size of the first."""
        if self._segment is None:
            height, width = pixels.shape[:2]
            header = VideoHeader(self._path.name, width, height, rate=self._rate, time_base=1 / self._rate)
            self._segment = SegmentWriter(self._work, segment_coding(self._coding), header)
        self._segment.write(pixels, self._count)
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._segment is not None:
                segment = self._segment.close(keep=kind is None)
                if kind is None:
                    assemble([segment], self._path, self._coding, beside=self._beside)
        finally:
            discard(self._work)


def segment_coding(coding: Coding) -> Coding:
    """How the segments of an output are coded: as the output, or without loss where that cannot be joined."""
    return LOSSLESS if coding.codec in ("gif", "webp", "png") else coding


@dataclass(frozen=True)
class Segment:
    """A finished piece of a video: its file, when it begins in seconds, and its number of frames."""

    path: Path
    start: Fraction
    count: int


class SegmentWriter:
    """One piece of a video. Under its name it is whole; until `close` it has another.

    Args:
        path: of the piece.
        coding: of the frames.
        header: of the video that they belong to: size, rate, unit of time and colours.

    Inside, stamps begin at 0: containers that keep the order of decoding round a later beginning.
    """

    def __init__(self, path: Path, coding: Coding, header: VideoHeader) -> None:
        self._path, self._coding, self._header = path, coding, header
        self._temporary = temporary_beside(path)
        self._sides = _even(header.width, header.height) if coding.even else (header.width, header.height)
        if coding.codec == "hevc" and min(self._sides) < _LEAST_HEVC:
            raise InputError(
                f"frames of {header.width}x{header.height} px are too small for hevc",
                "use --codec h264, or a larger --size",
            )
        with writing(path.name):
            self._container = self._open_container()
            self._stream = self._open_stream()
        self._first: int | None = None
        self.count = 0

    def _open_container(self) -> Any:
        form = {"ffv1": "nut", "prores": "mov"}.get(self._coding.codec, "mp4")
        options = {} if form == "nut" else {"video_track_timescale": str(_timescale(self._header.time_base))}
        return load().open(str(self._temporary), "w", format=form, options=options)

    def _open_stream(self) -> Any:
        coding, header = self._coding, self._header
        stream = self._container.add_stream(coding.encoder, rate=header.rate, options=dict(coding.options))
        stream.width, stream.height = self._sides
        stream.pix_fmt = coding.pixel_format
        stream.time_base = header.time_base
        context = stream.codec_context
        context.time_base = header.time_base
        context.gop_size = _KEY_DISTANCE
        context.sample_aspect_ratio = header.aspect
        if coding.pixel_format.startswith("yuv"):
            self._matrix = header.matrix if header.matrix in (_MATRIX_709, _MATRIX_601) else _matrix_for(header.height)
            context.colorspace, context.color_range = self._matrix, _LIMITED_RANGE
            known = {1: (1, 1), 5: (6, 6)}[self._matrix]
            context.color_primaries = known[0] if header.primaries == _UNSPECIFIED else header.primaries
            context.color_trc = known[1] if header.transfer == _UNSPECIFIED else header.transfer
        else:
            self._matrix = 0
        return stream

    def write(self, pixels: Pixels, stamp: int) -> None:
        """Add a frame `(H, W, 3)` in [0, 1] at a time in units of the header's time base."""
        with writing(self._path.name):
            frame = self._frame(pixels)
            self._first = stamp if self._first is None else self._first
            frame.pts, frame.time_base = stamp - self._first, self._header.time_base
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        self.count += 1

    def _frame(self, pixels: Pixels) -> Any:
        av = load()
        height, width = pixels.shape[:2]
        if (width, height) != (self._header.width, self._header.height):
            raise InputError(
                f"a frame is {width}x{height} px in a video of {self._header.width}x{self._header.height}",
                "all frames need one size",
            )
        if (width, height) != self._sides:  # most codecs take even sides only: the last row or column is repeated
            pixels = np.pad(pixels, ((0, self._sides[1] - height), (0, self._sides[0] - width), (0, 0)), mode="edge")
        depth = (np.uint16, 65535, "rgb48le") if self._coding.deep else (np.uint8, 255, "rgb24")
        whole = (pixels.clip(0, 1) * np.float32(depth[1]) + np.float32(0.5)).astype(depth[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole), format=depth[2])
        if not self._matrix:
            return frame.reformat(format=self._coding.pixel_format, threads=1)
        return frame.reformat(
            format=self._coding.pixel_format,
            dst_colorspace=self._matrix,
            src_color_range=_FULL_RANGE,
            dst_color_range=_LIMITED_RANGE,
            interpolation=scaling(),
            threads=1,
        )

    def close(self, *, keep: bool = True) -> Segment:
        """Finish, and give the file its name; or take it away."""
        try:
            if keep:
                with writing(self._path.name):
                    self._container.mux(self._stream.encode(None))
                    self._container.close()
                    publish(self._temporary, self._path)
        finally:
            with suppress(Exception):  # it is given up: how it ends is of no interest, but the file must be closed
                self._container.close()
            discard(self._temporary)
        return Segment(self._path, (self._first or 0) * self._header.time_base, self.count)


@dataclass(frozen=True)
class SourceTracks:
    """The source whose sound, subtitles, chapters and metadata an output takes over.

    Attributes:
        path: of the source.
        start, end: the part that was painted, in seconds.
        drop_gps: leave out where it was taken: of metadata, and of subtitles as drones write them.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    drop_gps: bool = False

    def kept(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Metadata to take over."""
        return {name: text for name, text in metadata.items() if not (self.drop_gps and images.is_location_field(name))}


def assemble(
    segments: Sequence[Segment],
    path: Path,
    coding: Coding,
    *,
    beside: SourceTracks | None = None,
    metadata: Mapping[str, str] | None = None,
    on_note: Callable[[str], object] = str,
) -> None:
    """Join segments to the output, which appears under its name when it is whole.

    Sound and subtitles are copied packet for packet; what the container cannot hold is reported by `on_note`.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full.
    """
    if coding.codec == "png":
        _write_pictures(segments, path)
        return
    with whole(path) as temporary, writing(path.name):
        if coding.codec in ("gif", "webp"):
            _write_animation(segments, temporary, coding, path.suffix[1:])
        else:
            _join(segments, temporary, coding, path.suffix.lower(), beside, metadata or {}, on_note)


def _join(
    segments: Sequence[Segment],
    temporary: Path,
    coding: Coding,
    ending: str,
    beside: SourceTracks | None,
    metadata: Mapping[str, str],
    on_note: Callable[[str], object],
) -> None:
    av = load()
    form = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}[ending]
    with ExitStack() as stack:
        first = stack.enter_context(opened(segments[0].path))
        template = first.streams.video[0]
        options = {"movflags": "use_metadata_tags+faststart"} if form in ("mp4", "mov") else {}
        if form in ("mp4", "mov"):
            options["video_track_timescale"] = str(_timescale(template.time_base))
        out = stack.enter_context(av.open(str(temporary), "w", format=form, options=options))
        stream = out.add_stream_from_template(template, opaque=True)
        stream.time_base = template.time_base
        if coding.tag and form in ("mp4", "mov"):
            stream.codec_context.codec_tag = coding.tag
        others = None
        if beside is not None:
            source = stack.enter_context(opened(beside.path))
            others = _OtherStreams(out, source, beside, on_note)
            _copy_metadata(out, stream, source, beside)
        out.metadata.update(metadata)
        for packet in _packets(segments):
            packet.stream = stream
            if others is not None:
                others.until(packet.dts * packet.time_base)
            out.mux(packet)
        if others is not None:
            others.until(None)


def _timescale(unit: Fraction) -> int:
    """Units a second in which every stamp is whole, and fine enough for decoding stamps."""
    scale = unit.denominator
    while scale < 1000:
        scale *= 10
    return scale


def _packets(segments: Sequence[Segment]) -> Iterator[Any]:
    """Packets of one segment after the other. Decoding stamps may overlap at the seams; they are pushed apart."""
    last: int | None = None
    for segment in segments:
        with opened(segment.path) as container:
            for packet in container.demux(video=0):
                if packet.dts is None:
                    continue
                shift = round(segment.start / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                if last is not None and packet.dts <= last:
                    packet.dts = last + 1
                last = packet.dts
                yield packet


class _OtherStreams:
    """Copies what lies beside the pictures, in step with them."""

    def __init__(self, out: Any, source: Any, beside: SourceTracks, on_note: Callable[[str], object]) -> None:
        self._out, self._beside = out, beside
        pictures = picture_stream(source, beside.path.name)
        self._origin = Fraction(pictures.start_time or 0) * pictures.time_base + Fraction(
            beside.start
        ).limit_denominator(1_000_000)
        self._targets: dict[int, Any] = {}
        for stream in source.streams:
            if stream.type in ("audio", "subtitle"):
                self._take(stream, on_note)
        wanted = [source.streams[index] for index in self._targets]
        if beside.start > 0 and wanted:
            source.seek(int(self._origin * load().time_base), backward=True)
        self._packets = source.demux(wanted) if wanted else iter(())
        self._held: Any = None

    def _take(self, stream: Any, on_note: Callable[[str], object]) -> None:
        name = getattr(stream.codec_context, "name", None) or "unknown"
        canonical = stream.codec_context.codec.canonical_name if stream.codec_context is not None else name
        held = self._out.supported_codecs
        if not {name, canonical} & set(held) and not (self._out.format.name == "matroska" and name != "mov_text"):
            on_note(f"{stream.type} {stream.index} is {name}, which this container cannot hold: it is left out")
            return
        target = self._out.add_stream_from_template(stream)
        target.time_base = stream.time_base
        target.metadata.update(self._beside.kept(stream.metadata))
        target.disposition = stream.disposition
        self._targets[stream.index] = target

    def until(self, seconds: Fraction | None) -> None:
        """Write packets up to this time; all that are left for None."""
        av = load()
        while True:
            if self._held is None:
                try:
                    self._held = next(self._packets, None)
                except av.error.InvalidDataError:
                    return
                if self._held is None:
                    return
            packet = self._held
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is None:
                self._held = None
                continue
            at = stamp * packet.time_base - self._origin
            if seconds is not None and at > seconds:
                return
            self._held = None
            self._write(packet, at)

    def _write(self, packet: Any, at: Fraction) -> None:
        beside = self._beside
        if (beside.start > 0 and at < 0) or (beside.end is not None and at >= Fraction(beside.end - beside.start)):
            return
        if beside.drop_gps and packet.stream.type == "subtitle" and images.contains_location(bytes(packet)):
            return
        shift = round(self._origin / packet.time_base) if beside.start > 0 else 0
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._targets[packet.stream.index]
        self._out.mux(packet)


def _copy_metadata(out: Any, stream: Any, source: Any, beside: SourceTracks) -> None:
    own = {"major_brand", "minor_version", "compatible_brands", "encoder"}
    out.metadata.update({name: value for name, value in beside.kept(source.metadata).items() if name not in own})
    pictures = picture_stream(source, beside.path.name)
    stream.metadata.update({name: text for name, text in beside.kept(pictures.metadata).items() if name != "encoder"})
    chapters = source.chapters()
    if chapters and beside.start <= 0 and beside.end is None:
        out.set_chapters(chapters)


# Frames of segments, for what is not joined by packets


def _frames(segments: Iterable[Segment]) -> Iterator[tuple[Any, NDArray[np.uint8]]]:
    """The decoded frames of lossless segments: FFmpeg's frame, and its pixels `(H, W, 3)`."""
    for segment in segments:
        with reading(segment.path.name), opened(segment.path) as container:
            for frame in container.decode(video=0):
                frame.pts += round(segment.start / frame.time_base)
                yield frame, frame.to_ndarray(format="rgb24")


def _write_pictures(segments: Sequence[Segment], path: Path) -> None:
    folder = path.parent
    with writing(path.name):
        folder.mkdir(exist_ok=True)
    for number, (_, pixels) in enumerate(_frames(segments)):
        before, digits, after = re.split(r"%0?(\d*)d", path.name, maxsplit=1)
        images.write(images.read(pixels), folder / f"{before}{number:0{digits or 1}d}{after}")


def _write_animation(segments: Sequence[Segment], temporary: Path, coding: Coding, form: str) -> None:
    av = load()
    palette = _palette(segments) if form == "gif" else None
    with av.open(str(temporary), "w", format=form, options={"loop": "0"}) as out:
        stream: Any = None
        for frame, pixels in _frames(segments):
            if stream is None:
                options = {"lossless": "0", "quality": "85"} if form == "webp" else {}
                stream = out.add_stream(coding.encoder, rate=round(1 / frame.time_base), options=options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, coding.pixel_format
                stream.codec_context.time_base = frame.time_base
            drawn = _indexed(pixels, palette) if palette is not None else frame.reformat(format=coding.pixel_format)
            drawn.pts, drawn.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(drawn))
        if stream is None:
            raise InputError("there are no frames to write", "give a longer video")
        out.mux(stream.encode(None))


def _palette(segments: Sequence[Segment]) -> Image.Image:
    """One palette for all frames: with a new one for each, flat areas would flicker."""
    samples: list[NDArray[np.uint8]] = []
    step = 1
    for number, (_, pixels) in enumerate(_frames(segments)):
        if number % step == 0:
            samples.append(pixels[::2, ::2])
            if len(samples) > 2 * _PALETTE_SAMPLES:
                samples, step = samples[::2], step * 2
    sheet = Image.fromarray(np.concatenate(samples))
    return sheet.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 0.47


def _indexed(pixels: NDArray[np.uint8], palette: Image.Image) -> Any:
    """Nearest colours of the palette, with an ordered dither: it stays in place where the picture does."""
    height, width = pixels.shape[:2]
    pattern = np.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width, None]
    dithered = np.clip(pixels + 16 * pattern, 0, 255).astype(np.uint8)
    drawn = Image.fromarray(dithered).quantize(palette=palette, dither=Image.Dither.NONE)
    colors = np.zeros((256, 4), np.uint8)
    flat = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)
    colors[:, 0] = 255
    colors[: len(flat), 1:] = flat
    return load().VideoFrame.from_ndarray((np.asarray(drawn), colors), format="pal8")


def _even(width: int, height: int) -> tuple[int, int]:
    return width + width % 2, height + height % 2


def _matrix_for(height: int) -> int:
    return _MATRIX_709 if height >= _HD else _MATRIX_601
