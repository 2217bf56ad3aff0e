"""The error tree: every failure that a user can cause or mend, with its exit code, HTTP and gRPC status.

    StyleError                1    500  INTERNAL             a bug of ours when raised bare
    ├── InputError            2    422  INVALID_ARGUMENT     what was given cannot be used
    ├── MissingExtra          3    501  UNIMPLEMENTED        an optional package is not installed
    ├── AssetError            4    503  UNAVAILABLE          weights or paintings cannot be had
    ├── ResourceError         5    507  RESOURCE_EXHAUSTED   memory or disk
    ├── BatchError            6    500  INTERNAL             some pictures of a batch failed
    └── Cancelled           130    499  CANCELLED            Ctrl-C, a closed connection
        └── Terminated      143    499  CANCELLED            SIGTERM

A message says what was given and what is allowed; a hint says what to do. Both are one line. Only the edges (CLI,
server) translate them; nothing below prints or exits.
"""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from numbers import Integral, Real
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


_JOINERS = "\u200c\u200d"  # invisible, but part of Persian words and of emoji


def plain(text: object) -> str:
    """Text from anywhere, a file or a network, as one line that is safe to print.

    White space becomes a space. Control characters, which begin the escape sequences that a terminal obeys, marks that
    turn the direction of writing, and bytes that are no text become question marks.
    """
    return "".join(letter if letter.isprintable() else _shown(letter) for letter in str(text))


def _shown(letter: str) -> str:
    if letter in _JOINERS or unicodedata.category(letter) == "Zs":
        return letter
    return " " if letter.isspace() else "?"


def quoted(value: object, *, most: int = 80) -> str:
    """A value that was given, for a message: as Python writes it, cut where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = most
    return plain(short.repr(value))


def without_flags(text: str) -> str:
    """Words for people who write Python: `--style-scale 2` as `style_scale=2`, other flags by their names."""
    valued = re.sub(r"--([a-z][a-z-]*) (\d[\w.]*)", lambda found: f"{_name(found[1])}={_value(found[2])}", text)
    return re.sub(r"--([a-z][a-z-]*)", lambda found: _name(found[1]), valued)


@contextmanager
def in_python_words() -> Iterator[None]:
    """Messages that pass speak of arguments, not of flags."""
    try:
        yield
    except StyleError as error:
        error.message, error.hint = without_flags(error.message), without_flags(error.hint)
        raise


def _name(flag: str) -> str:
    return flag.replace("-", "_")


def _value(word: str) -> str:
    return word if word.replace(".", "", 1).isdigit() else f'"{word}"'


def counted(number: int, noun: str) -> str:
    """A number of things in words: "1 style", "3 styles"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_whole(value: object, *, low: int = 0) -> int | None:
    """A whole number of any kind, numpy's too; None for what is none, or below `low`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    return int(value) if int(value) >= low else None


def as_number(value: object) -> float | None:
    """A finite number of any kind, numpy's too; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return number if math.isfinite(number) else None


class StyleError(Exception):
    """Base of all errors that Impasto raises on purpose.

    Printed by Python it speaks of arguments; `message` and `hint` are as raised, for the edge that shows them.

    Args:
        message: what went wrong, in one line, without a full stop; made `plain`, as is the hint.
        hint: what the user can do, in one line; may be empty.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = plain(message), plain(hint)
        super().__init__(without_flags(self.message))
        if self.hint:
            self.add_note(f"hint: {without_flags(self.hint)}")


class InputError(StyleError):
    """Unusable input of the user: a file, a number, a name."""

    exit_code = 2
    http_status = 422
    grpc_status = "INVALID_ARGUMENT"


class MissingExtra(StyleError):
    """An optional package is missing; the hint holds the exact install line."""

    exit_code = 3
    http_status = 501
    grpc_status = "UNIMPLEMENTED"


class AssetError(StyleError):
    """Weights or paintings could not be fetched, or what was fetched is not what was declared."""

    exit_code = 4
    http_status = 503
    grpc_status = "UNAVAILABLE"


class ResourceError(StyleError):
    """Memory or disk does not suffice; the hint names what would fit."""

    exit_code = 5
    http_status = 507
    grpc_status = "RESOURCE_EXHAUSTED"


class BatchError(StyleError):
    """Some pictures of a batch failed; the others are done."""

    exit_code = 6


class Cancelled(StyleError):
    """The caller asked to stop.

    Attributes:
        partial: the best picture so far, `(1, 3, H, W)` in [0, 1], when the job that was stopped had one.
        result: the same as a Result of the engine.
    """

    partial: Tensor | None = None
    result: Any = None

    exit_code = 130
    http_status = 499
    grpc_status = "CANCELLED"

    def __init__(self, message: str = "stopped", hint: str = "") -> None:
        super().__init__(message, hint)


class Terminated(Cancelled):
    """The system asked the process to end (SIGTERM)."""

    exit_code = 143


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtra: the package is not installed. A module that is there but fails to import one of *our* modules
            is a bug and raises ImportError as it is.
    """
    try:
        return import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        if missing == "impasto":
            raise
        raise MissingExtra(
            f"{missing} is not installed, and this needs it", f'pip install "impasto[{extra}]"'
        ) from error


def require_installed(module: str, extra: str) -> None:
    """Raises MissingExtra where an optional package is not installed; nothing is imported."""
    if find_spec(module) is None:
        raise MissingExtra(f"{module} is not installed, and this needs it", f'pip install "impasto[{extra}]"')


def require_torch() -> None:
    """Raises MissingExtra where PyTorch is not installed, in an environment for trained styles alone."""
    if find_spec("torch") is None:
        raise without_torch()


def without_torch() -> MissingExtra:
    """What is said where torch would have to be loaded and is not there."""
    here = [name for name in ("tensorflow", "jax") if find_spec("keras") and find_spec(name)]
    by_keras = "with --backend {}, which is installed"
    way = by_keras.format(here[0]) if here else "in a style such as pack:irises, with no other options"
    return MissingExtra("PyTorch is not installed, and this needs it", f"pip install torch; or paint {way}")
