"""Pictures from pipes, which can be read once: their bytes are kept."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from impasto.errors import InputError
from impasto.files import name_of

MOST_BYTES = 1 << 30
"""Of what a pipe gives: more is no picture."""

_PATIENCE = 2.0  # seconds in which something has to begin to write
_PAUSE = 0.02


class BufferedPipe(BytesIO):
    """The bytes of a pipe, to be read as often as needed.

    Attributes:
        name: of the pipe.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def is_pipe(source: Any) -> bool:
    """Whether a path is that of a named pipe, or of one that a shell made, such as /dev/fd/63."""
    if not isinstance(source, str | Path):
        return False
    with suppress(OSError, ValueError):
        return stat.S_ISFIFO(Path(source).stat().st_mode)
    return False


def buffered(source: Any) -> Any:
    """The contents of a pipe, if the source is the path of one; any other source as it is.

    Raises:
        InputError: nothing writes into the pipe for two seconds, or it gives more than a picture can have.
    """
    return BufferedPipe(read_pipe(Path(source)), str(source)) if is_pipe(source) else source


def read_pipe(path: Path) -> bytes:
    """All bytes of a pipe. Raises InputError as `buffered` does."""
    name = name_of(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a blocking open would wait for a writer for ever
    try:
        first = _first(descriptor, name)
        os.set_blocking(descriptor, True)
        pieces, total = [first], len(first)
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
            total += len(piece)
            if total > MOST_BYTES:
                raise InputError(f"the pipe {name} gives more than {MOST_BYTES >> 30} GiB", "give one picture")
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _first(descriptor: int, name: str) -> bytes:
    """The first bytes. As long as something holds the pipe open to write, they are waited for."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            found = os.read(descriptor, 1 << 20)
        except BlockingIOError:  # there is a writer, which has not written yet
            time.sleep(_PAUSE)
            continue
        if found:
            return found
        if time.monotonic() > until:
            raise InputError(f"nothing writes into the pipe {name}", "start what writes first, or name a file")
        time.sleep(_PAUSE)
