"""Lines for people on the standard streams. What comes from files is printed without control characters."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from impasto.cli.streams import redirect_to_devnull
from impasto.errors import ResourceError, plain


@contextmanager
def writing() -> Iterator[None]:
    """Turn what standard output reports into our error; a reader who went away is none.

    Raises:
        ResourceError: it cannot be written, such as on a full disk.
        BrokenPipeError: its reader went away.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        redirect_to_devnull()
        raise ResourceError(
            f"standard output cannot be written: {error.strerror}", "free some disk space, or write elsewhere"
        ) from error


def say(text: object) -> None:
    """Print a line on standard output: a path, a table's row, an answer."""
    with writing():
        print(plain(text), flush=True)


def say_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output: names stay exact, and what is not ASCII is escaped."""
    with writing():
        print(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"), flush=True)


def tell(text: object) -> None:
    """Print a line on standard error."""
    print(plain(text), file=sys.stderr, flush=True)


def note(text: object) -> None:
    """Print a remark on standard error."""
    tell(f"note: {text}")
