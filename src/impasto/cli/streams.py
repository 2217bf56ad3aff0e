"""The standard streams and Ctrl-C, made sure of before anything is written or loaded."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any


def prepare_streams() -> None:
    """Make the standard streams safe to write to.

    A closed stream is opened on the null device, so that no file gets its number; letters that the terminal lacks are
    escaped; and failures of standard error are ignored.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_devnull(number, name)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _SilentStderr(sys.stderr.buffer, sys.stderr.encoding, "backslashreplace", line_buffering=True)


def _open_devnull(number: int, name: str) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:  # in order from 0 on, the lowest free number is the closed one
        os.dup2(opened, number)
        os.close(opened)
    setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def is_closed(stream: Any) -> bool:
    """Whether a standard stream was closed when the command began."""
    return isinstance(getattr(stream, "name", None), int)


def redirect_to_devnull(number: int = 1) -> None:
    """Redirect a stream that failed to the null device, so that it does not fail again when Python exits."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def leave() -> None:
    """End the process at once, having succeeded: Python takes seconds, and may crash, while threads still compute."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


class _SilentStderr(io.TextIOWrapper):
    """Standard error whose failures are ignored."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


class Interrupts:
    """Notes Ctrl-C, so that it is recognised even if a library turns it into another error."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupts:
        self._previous: Any = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt


def silence_late_interrupts() -> None:
    """Print no traceback for a Ctrl-C that falls where Python ignores errors."""
    usual = sys.unraisablehook

    def hook(found: Any) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            usual(found)

    sys.unraisablehook = hook
