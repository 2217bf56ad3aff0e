"""Lines for people on the standard streams. What comes from files is printed without control characters."""

from __future__ import annotations

import sys

from impasto.errors import plain


def say(text: object) -> None:
    """Print a line on standard output: a path, a table's row, an answer."""
    print(plain(text), flush=True)


def tell(text: object) -> None:
    """Print a line on standard error."""
    print(plain(text), file=sys.stderr, flush=True)
