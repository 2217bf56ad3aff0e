"""Videos that strangers send: decoded, and joined to what was painted, in a process of their own.

As `decode` does it for pictures: a file that crashes or exhausts a codec costs that process, and its sender gets an
error. The process also writes the output, because the sound is copied from what was sent. It loads no torch.

`python -m impasto.serve.video_codecs BYTES` is such a process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto.errors import InputError, StyleError
from impasto.serve.decode import Worker, confine, receive, send
from impasto.serve.jobs import without_places
from impasto.serve.settings import TooLargeError, restored
from impasto.videos import Segment, SourceTracks, VideoFrame, VideoHeader, VideoReader, assemble, choose_coding

if TYPE_CHECKING:
    from impasto.video.settings import Film

_WHITE = {"uint8": 255, "uint16": 65535}
_FRACTIONS = ("rate", "time_base", "aspect")
_JOIN_SECONDS = 120.0
_MOST_FILE = 4 << 30  # bytes of an output
_STARTS = (
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (4, b"ftyp"),  # MP4, MOV
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (8, b"AVI "),
    (0, b"GIF8"),
    (0, b"OggS"),
    (0, b"FLV\x01"),
    (0, b"\x00\x00\x01\xba"),  # MPEG
)


def check_container(data: bytes, name: str) -> None:
    """Refuse what is no container of a known kind: a playlist is text, and names other files.

    Raises:
        InputError: it is none.
    """
    if not any(data[at : at + len(start)] == start for at, start in _STARTS):
        raise InputError(f"{name} is not a video", "send an MP4, MOV, MKV, WebM, AVI or GIF file")


@dataclass(frozen=True)
class VideoLimits:
    """What a video that is sent may have.

    Attributes:
        seconds: of the part that is painted.
        frames: of that part.
        pixels: of a painted frame.
    """

    seconds: float
    frames: int
    pixels: int

    def check(self, header: VideoHeader, *, start: float = 0.0, end: float | None = None) -> None:
        """Raise TooLargeError for what its header shows to be too much."""
        until = header.duration if end is None else min(end, header.duration or end)
        if until - start > self.seconds + 0.5:
            told = f"{header.name} is {header.duration:.0f} s long; {self.seconds:g} s are allowed"
            raise TooLargeError(told, "send a shorter one, or choose a part by start and end")
        if header.count > self.frames:
            raise self.too_many(header.name)
        if header.width * header.height > self.pixels:
            told = f"{header.name} would have frames of {header.width}x{header.height} px"
            raise TooLargeError(told, f"{self.pixels / 1e6:.1f} megapixels are allowed: choose a smaller size")

    def too_many(self, name: str) -> TooLargeError:
        """What is raised for a video of more frames."""
        hint = "send a shorter one, or fewer frames a second"
        return TooLargeError(f"{name} has more than {self.frames} frames", hint)


class ConfinedVideo:
    """One video in a process of its own, which `close` ends.

    Args:
        path: of the file that was sent.
        name: as its sender calls it.
        limits: checked in the header, and while it is decoded.
        memory: bytes that the process may take.
        seconds: in which it has to answer, for each frame.
    """

    def __init__(self, path: Path, name: str, limits: VideoLimits, *, memory: int, seconds: float) -> None:
        self._path, self._name, self._limits = path, name, limits
        self._seconds = seconds
        self._worker = Worker(memory, "impasto.serve.video_codecs")

    def __enter__(self) -> ConfinedVideo:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._worker.end()

    def open(self, film: Film, *, even: bool) -> ConfinedFrames:
        """The frames to paint. Raises InputError, TooLargeError."""
        given = {"start": film.start, "end": film.end, "size": film.size, "even": even}
        told, _ = self.ask({"do": "open", "path": str(self._path), "name": self._name, **given})
        self._limits.check(replace(_header(told["found"]), count=0, width=1), start=film.start, end=film.end)
        header = _header(told["header"])
        self._limits.check(replace(header, duration=0.0))
        return ConfinedFrames(self.ask, header, film.start, film.end, self._limits)

    def assemble(
        self, segments: Sequence[Segment], out: Path, film: Film, *, drop_gps: bool, record: Mapping[str, Any]
    ) -> list[str]:
        """Join what was painted, and copy the sound; see `video.film.Codecs`."""
        told = {
            "segments": [(str(one.path), str(one.start), one.count) for one in segments],
            "out": str(out),
            "path": str(self._path),
            "part": (film.start, film.end),
            "drop_gps": drop_gps,
            "comment": json.dumps(without_places(record)),
        }
        notes: list[str] = self.ask({"do": "assemble", "name": self._name, **told}, _JOIN_SECONDS)[0]["notes"]
        return notes

    def ask(self, told: dict[str, Any], seconds: float | None = None) -> tuple[dict[str, Any], bytes]:
        """What the process answers. Raises what it tells, and InputError where it ended over it."""
        answer = self._worker.ask(told, b"", seconds or self._seconds)
        if answer is None:
            hint = "it is damaged, or takes too much memory: export it again"
            raise InputError(f"{self._name} cannot be decoded", hint)
        if "error" in answer[0]:
            raise restored(answer[0])
        return answer


@dataclass
class ConfinedFrames:
    """Frames from the process; see `FrameSource`."""

    ask: Callable[[dict[str, Any]], tuple[dict[str, Any], bytes]]
    header: VideoHeader
    start: float
    end: float | None
    limits: VideoLimits
    damaged: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Raises TooLargeError where there are more frames than the header said and the limits allow."""
        self.damaged.clear()
        self.ask({"do": "rewind"})
        while True:
            told, body = self.ask({"do": "frame"})
            if told["end"]:
                return
            if told["number"] >= self.limits.frames:
                raise self.limits.too_many(self.header.name)
            if told["damaged"]:
                self.damaged.append(told["number"])
            codes = np.frombuffer(body, told["dtype"]).reshape(told["shape"])
            pixels = codes.astype(np.float32) / np.float32(_WHITE[told["dtype"]])
            yield VideoFrame(pixels, told["stamp"], told["number"], told["damaged"])


def _header(told: Mapping[str, Any]) -> VideoHeader:
    fractions = {name: Fraction(told[name]) for name in _FRACTIONS}
    tuples = {name: tuple(told[name]) for name in ("own_size", "streams")}
    return VideoHeader(**{**told, **fractions, **tuples})


# --- in the process


class _Answers:
    """What the process does; it has one video."""

    def __init__(self) -> None:
        self._reader: VideoReader | None = None
        self._names = ("", "")
        self._frames: Iterator[VideoFrame] = iter(())

    def __call__(self, told: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer to one request; of an error its kind and words, with the sender's name for the file."""
        acts = {"open": self._open, "rewind": self._rewind, "frame": self._frame, "assemble": self._assemble}
        if "path" in told:
            self._names = Path(told["path"]).name, told["name"]
        try:
            return acts[told["do"]](told)
        except StyleError as error:
            message = error.message.replace(*self._names)
            return {"kind": type(error).__name__, "error": message, "hint": error.hint}, b""

    def _open(self, told: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        own = {name: told[name] for name in ("start", "end", "size", "even")}
        self._reader = VideoReader(Path(told["path"]), **own)
        found = VideoReader(Path(told["path"])).header
        headers = {"header": self._reader.header, "found": found}
        return {kind: _plain(replace(header, name=told["name"])) for kind, header in headers.items()}, b""

    def _rewind(self, _told: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        assert self._reader is not None
        self._frames = iter(self._reader)
        return {}, b""

    def _frame(self, _told: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        frame = next(self._frames, None)
        if frame is None:
            return {"end": True}, b""
        kind = "uint16" if self._depth > 8 else "uint8"
        codes = np.rint(frame.pixels * np.float32(_WHITE[kind])).astype(kind)
        told = {"end": False, "stamp": frame.stamp, "number": frame.number, "damaged": frame.damaged}
        return {**told, "shape": codes.shape, "dtype": kind}, codes.tobytes()

    @cached_property
    def _depth(self) -> int:
        assert self._reader is not None
        return self._reader.header.bits

    def _assemble(self, told: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        notes: list[str] = []
        out = Path(told["out"])
        segments = [Segment(Path(path), Fraction(start), count) for path, start, count in told["segments"]]
        start, end = told["part"]
        beside = SourceTracks(Path(told["path"]), start, end, told["drop_gps"])
        metadata = {"comment": told["comment"]}
        assemble(segments, out, choose_coding(out), beside=beside, metadata=metadata, on_note=notes.append)
        return {"notes": notes}, b""


def _plain(header: VideoHeader) -> dict[str, Any]:
    return {**asdict(header), **{name: str(getattr(header, name)) for name in _FRACTIONS}}


def main(memory: int) -> None:
    """Answer on standard output what comes on standard input, to its end."""
    confine(memory, file_bytes=_MOST_FILE)
    source, sink, answers = sys.stdin.buffer, sys.stdout.buffer, _Answers()
    with suppress(EOFError, BrokenPipeError):
        while True:
            told, _ = receive(source)
            send(sink, *answers(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
