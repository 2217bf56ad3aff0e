"""Decodes what strangers send in processes of its own, with a limit of memory and time.

Codecs are written in C, and a file can be made to crash or to exhaust them. Such a file costs a worker here, and its
sender gets an error; the service goes on. A worker loads no torch, opens no file that it is told of, and answers in
plain values and bytes, never in pickles.

`python -m impasto.serve.decode BYTES` is a worker.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Generic, Protocol, TypeVar

import numpy as np

from impasto import images
from impasto.errors import InputError, ResourceError, StyleError
from impasto.images import Origin, Picture

T = TypeVar("T")

_LENGTH = struct.Struct(">I")
_MOST_HEADER = 16 << 20
_BLOBS = ("icc", "exif", "xmp")
_TYPES = {"uint8": np.uint8, "uint16": np.uint16}


class Decoder(Protocol):
    """Turns files into pictures."""

    def decode(self, data: bytes, name: str, *, max_pixels: int) -> Picture:
        """The picture, as codes of its own depth. Raises InputError."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class LocalDecoder:
    """Decodes in this process: for files that are trusted."""

    def decode(self, data: bytes, name: str, *, max_pixels: int) -> Picture:
        """See `Decoder`."""
        picture = images.read(images.BufferedPipe(data, name), max_pixels=max_pixels, compact=True)
        return replace(picture, origin=replace(picture.origin, path=Path(name)))

    def close(self) -> None:
        """Nothing is held."""


class Places(Generic[T]):
    """A bounded number of places, each with something kept in it, given out in the order in which threads asked.

    `queue.Queue` hands nothing over: whoever asks just then is served before the thread that was woken, which goes to
    the end of the line again, and waits several times as long as all others.

    Args:
        count: of places, empty at first.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free: list[T | None] = [None] * count
        self._waiting: deque[SimpleQueue[T | None]] = deque()

    def take(self) -> T | None:
        """Wait for a place, the one given back last; what is kept in it."""
        with self._lock:
            if self._free:
                return self._free.pop()
            turn: SimpleQueue[T | None] = SimpleQueue()
            self._waiting.append(turn)
        return turn.get()

    def give(self, kept: T | None) -> None:
        """Give a place back."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(kept)
            else:
                self._free.append(kept)

    def clear(self) -> list[T]:
        """Empty all places that are free; what was in them."""
        with self._lock:
            found = [one for one in self._free if one is not None]
            self._free = [None] * len(self._free)
        return found


class DecodeProcesses:
    """Decodes in workers, which are started when they are needed, and replaced when they end.

    Args:
        count: workers at most.
        memory: bytes that one may take beside what it begins with.
        seconds: for one picture.
    """

    def __init__(self, *, count: int = 1, memory: int = 1 << 30, seconds: float = 20.0) -> None:
        self._memory, self._seconds = memory, seconds
        self._places = Places[Worker](count)

    def decode(self, data: bytes, name: str, *, max_pixels: int) -> Picture:
        """See `Decoder`.

        Raises:
            InputError: also where the worker ended over it: it crashed, or took too much memory or time.
        """
        worker = self._places.take()
        try:
            if worker is not None and not worker.lives:
                worker.end()
                worker = None
            worker = worker or Worker(self._memory)
            answer = worker.ask({"name": name, "max_pixels": max_pixels}, data, self._seconds)
        finally:
            self._places.give(worker if worker is not None and worker.lives else None)
        if answer is None:
            raise InputError(f"{name} cannot be decoded", "it is damaged, or takes too much memory: export it again")
        told, body = answer
        if "error" in told:
            raise InputError(told["error"], told["hint"])
        return _picture(told, body, name)

    def close(self) -> None:
        """End the workers that are free; those at work end by themselves, with this process at the latest."""
        for worker in self._places.clear():
            worker.end()


class Worker:
    """One process that decodes.

    Args:
        memory: bytes that it may take beside what it begins with.
        module: its program, which `confine`s itself and answers on standard output.
    """

    def __init__(self, memory: int, module: str = "impasto.serve.decode") -> None:
        words = [sys.executable, "-m", module, str(memory)]
        limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **limits},
            start_new_session=True,  # Ctrl-C is for the service, which lets jobs end
        )

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, told: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes] | None:
        """The answer; None where the worker ended over it, or took too long and was ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            send(self._process.stdin, told, data)
            return receive(self._process.stdout)
        except (OSError, EOFError, ValueError):
            self.end()
            return None
        finally:
            timer.cancel()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def send(stream: IO[bytes], told: dict[str, Any], body: bytes) -> None:
    """Write a message: plain values, and bytes."""
    header = json.dumps({**told, "bytes": len(body)}).encode()
    stream.write(_LENGTH.pack(len(header)) + header)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read a message. Raises EOFError where it ends before its time, ValueError where it is none of ours."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _MOST_HEADER:
        raise ValueError("the header is too long")
    told = json.loads(_exactly(stream, length))
    return told, _exactly(stream, int(told["bytes"]))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _picture(told: dict[str, Any], body: bytes, name: str) -> Picture:
    """The picture of an answer."""
    place = 0

    def take(count: int) -> bytes:
        nonlocal place
        place += count
        return body[place - count : place]

    shape, kind = tuple(told["shape"]), np.dtype(_TYPES[told["dtype"]])
    pixels = np.frombuffer(take(math.prod(shape) * kind.itemsize), kind).reshape(shape)
    alpha = np.frombuffer(take(4 * shape[0] * shape[1]), np.float32).reshape(shape[:2]) if told["alpha"] else None
    blobs = {blob: None if size is None else take(size) for blob, size in told["blobs"].items()}
    own = dict(told["origin"])
    dpi = None if own["dpi"] is None else (float(own["dpi"][0]), float(own["dpi"][1]))
    origin = Origin(**{**own, **blobs, "dpi": dpi, "path": Path(name)})
    return Picture(pixels, alpha, origin, tuple(told["notes"]))


def _answer(told: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """What a worker makes of a file."""
    try:
        picture = LocalDecoder().decode(data, told["name"], max_pixels=told["max_pixels"])
    except ResourceError:
        return {"error": f"{told['name']} takes too much memory to decode", "hint": "use a smaller picture"}, b""
    except StyleError as error:
        return {"error": error.message, "hint": error.hint}, b""
    origin, alpha = picture.origin, picture.alpha
    blobs = {blob: getattr(origin, blob) for blob in _BLOBS}
    header = {
        "shape": picture.pixels.shape,
        "dtype": picture.pixels.dtype.name,
        "alpha": alpha is not None,
        "blobs": {blob: None if value is None else len(value) for blob, value in blobs.items()},
        "origin": {name: getattr(origin, name) for name in ("bits", "mode", "format", "dpi")}
        | {"text": dict(origin.text)},
        "notes": picture.notes,
    }
    parts = [np.ascontiguousarray(picture.pixels).tobytes()]
    parts += [] if alpha is None else [np.ascontiguousarray(alpha, np.float32).tobytes()]
    return header, b"".join([*parts, *(value for value in blobs.values() if value is not None)])


def confine(memory: int, *, file_bytes: int = 0) -> None:
    """Bound what this process may take from now on, and the size of what it writes: nothing by default."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; time and the separate process remain
        return
    held = 0
    with suppress(OSError):
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = {resource.RLIMIT_AS: held + memory, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes}
    for kind, value in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def main(memory: int) -> None:
    """Answer on standard output what comes on standard input, to its end."""
    confine(memory)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        while True:
            told, data = receive(source)
            send(sink, *_answer(told, data))


if __name__ == "__main__":
    main(int(sys.argv[1]))
