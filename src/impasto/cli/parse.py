"""Parsers of command-line values: styles with weights, regions, sizes, memory, times.

Each takes text and returns a value, or raises InputError with what was given and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

from impasto.engine.controls import FACE_AMOUNT
from impasto.engine.points import is_points
from impasto.errors import InputError
from impasto.files import is_file

WORDS = ("subject", "background", "person")
"""Masks that are found in the photograph itself."""

_WANTED = "write it as --region mask.png=STYLE, subject=STYLE, background=STYLE, person=STYLE or 'point 320,240'=STYLE"
_FACES = "--protect-faces"
_RATE = r"\d{1,9}(\.\d{1,9})?(/\d{1,9})?"  # no exponents: Python would work for hours on 1e999999999


def parse_style(text: str) -> tuple[str, float]:
    """Split STYLE[:WEIGHT].

    An existing file, and the ids that `impasto styles --json` prints, are whole: `museum:436535` has no weight.

    Raises:
        InputError: the weight is not a number above 0.
    """
    head, colon, tail = text.rpartition(":")
    whole = is_file(text) or re.fullmatch(r"(museum|pack):[\w-]+", text)
    if (
        not colon
        or whole
        or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf|infinity)", tail.lower())
    ):
        return text, 1.0
    weight = float(tail)
    if not 0 < weight < float("inf"):
        raise InputError(f"the weight of style {head!r} is {tail}", "it takes a number above 0")
    return head, weight


def styles_named(style: list[str] | None, method: str | None, knobs: dict[str, Any]) -> list[str]:
    """What `--style` names; where it is left out, the file of `--method unpaired --network FILE`, taken out of `knobs`.

    Such a network is a style by itself. Raises InputError where both are named.
    """
    if style and method == "unpaired" and knobs.get("network") is not None:
        raise InputError("--style and --network were both given", "--network FILE is the style: leave out --style")
    if not style and method == "unpaired" and knobs.get("network") is not None:
        return [str(knobs.pop("network"))]
    return list(style or ())


def parse_region(text: str) -> tuple[str, str]:
    """Split MASK=STYLE. Where a name itself holds "=", the split that leaves an existing file is taken.

    Raises:
        InputError: either side is missing.
    """
    splits = [(text[:place], text[place + 1 :]) for place, letter in enumerate(text) if letter == "="]
    if not splits:
        missing = "mask" if Path(text).suffix == "" and not is_found(text) else "style"
        raise InputError(f"--region {text} names no {missing}", _WANTED)
    mask, style = next((pair for pair in splits if is_found(pair[0]) or is_file(pair[0])), splits[0])
    if not mask or not style:
        raise InputError(f"--region {text} names no {'style' if mask else 'mask'}", _WANTED)
    named, weight = parse_style(style)
    if weight != 1 or named != style:
        raise InputError(f"--region {text} gives its style a weight", f"leave it out: --region {mask}={named}")
    return mask, style


def is_found(mask: str) -> bool:
    """Whether a mask is looked for in the photograph: one of `WORDS`, or points."""
    return mask in WORDS or is_points(mask)


def check_pixels(count: int) -> int:
    """Refuse a `--max-pixels` that lets nothing through."""
    if count <= 0:
        raise InputError(f"--max-pixels is {count}", "it takes a whole number above 0")
    return count


def parse_sizes(text: str) -> tuple[int, ...]:
    """Longest sides in pixels in "512,1024"."""
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{1,5}", word, re.ASCII) and int(word) >= 64 for word in words):
        raise InputError(f"--sizes is {text!r}", "it takes numbers from 64 on, such as 512,1024")
    return tuple(map(int, words))


def parse_at(text: str, flag: str) -> tuple[float, str]:
    """Seconds and value in SECONDS=VALUE."""
    before, sign, after = text.partition("=")
    if not sign or not after:
        raise InputError(f"{flag} is {text!r}", f"it takes SECONDS=VALUE, such as {flag} 2.5=...")
    return check_seconds(flag, parse_number(before, flag)), after


def parse_points(texts: Sequence[str] | None, flag: str) -> list[tuple[float, str]]:
    """Several SECONDS=VALUE, in the order of time."""
    return sorted((parse_at(text, flag) for text in texts or ()), key=lambda point: point[0])


def parse_number(text: str, flag: str) -> float:
    """A number that a flag holds."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{flag} holds {text!r}, which is no number", "write it like 2.5") from None


def check_seconds(flag: str, value: float) -> float:
    """Refuse seconds below 0, infinite ones and nan."""
    if not 0 <= value < 1e7:
        raise InputError(f"{flag} is {value:g}", "it takes seconds, 0 or more")
    return value


def parse_rate(text: str | None) -> Fraction | None:
    """Frames a second in "25", "29.97" or "30000/1001"."""
    if text is None:
        return None
    try:
        rate = Fraction(text if re.fullmatch(_RATE, text) else 0).limit_denominator(1001)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise InputError(f"--fps is {text!r}", "it takes a number above 0, such as 25 or 30000/1001")
    return rate


def timeline_of(times: Sequence[float], fade: float) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """Shares of the styles over time: the first from the start, each next one fully there at its time."""
    if not times:
        return ()
    if list(times) != sorted(set(times)):
        raise InputError("the times of --style-at do not rise", "give them in order")
    count = len(times) + 1

    def only(index: int) -> tuple[float, ...]:
        return tuple(float(place == index) for place in range(count))

    points = [(0.0, only(0))]
    for index, at in enumerate(times, start=1):
        points += [(max(at - fade, points[-1][0]), only(index - 1)), (at, only(index))]
    return tuple(points)


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raise InputError for an empty word: a variable of a shell that is not set would stand for the current folder."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        flag = word.removesuffix("=") if word.startswith("--") and word.endswith("=") else before
        if not word.strip() or flag is not before:
            place = f"{flag} is empty" if flag.startswith("-") else "an empty word was given"
            raise InputError(place, 'give a value; perhaps a variable such as "$PHOTO" is not set')


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Put the default amount after a bare `--protect-faces`, since an option either takes a value or none."""
    done: list[str] = []
    for word, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        done.append(f"{_FACES}={FACE_AMOUNT:g}" if word == _FACES and not _is_number(following) else word)
    return done


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
