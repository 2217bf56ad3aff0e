"""Lines for people on the standard streams. What comes from files is printed without control characters."""

from __future__ import annotations

import json
import sys

from impasto.errors import plain


def say(text: object) -> None:
    """Print a line on standard output: a path, a table's row, an answer."""
    print(plain(text), flush=True)


def say_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output: names stay exact, and what is not ASCII is escaped."""
    print(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"), flush=True)


def tell(text: object) -> None:
    """Print a line on standard error."""
    print(plain(text), file=sys.stderr, flush=True)
