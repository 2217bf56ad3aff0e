"""Points on a thing in a photograph, which stand for its mask: `point 320,240`, `point 40%,60% 45%,62% not 10%,10%`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from impasto.errors import InputError, quoted

_WORD, _NOT = "point", "not"
_PLACE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(%?),(\d{1,6}(?:\.\d{1,6})?)(%?)", re.ASCII)
_LONGEST = 200  # letters: a record keeps them as it keeps a file's name
_HINT = "write it as point 320,240 in pixels or point 40%,60%; more places after a space; after not, where it is not"


@dataclass(frozen=True)
class Points:
    """Places on a thing, and places that do not belong to it.

    Attributes:
        text: as it was given.
        places: x and y, whether these are percent, and whether the thing is there.
    """

    text: str
    places: tuple[tuple[float, float, bool, bool], ...]

    @classmethod
    def parse(cls, text: str) -> Points:
        """Of a text that `is_points`.

        Raises:
            InputError: there is none, too many, or one that cannot be read.
        """
        wanted, places = True, []
        for word in text.split()[1:]:
            if word == _NOT:
                wanted = False
                continue
            found = _PLACE.fullmatch(word)
            if found is None or found[2] != found[4]:
                raise InputError(f"{quoted(text)} holds {quoted(word)}, which is no place", _HINT)
            places.append((float(found[1]), float(found[3]), bool(found[2]), wanted))
        if not any(wanted for *_, wanted in places):
            raise InputError(f"{quoted(text)} names no place on a thing", _HINT)
        if len(text) > _LONGEST:
            raise InputError(f"{len(places)} places in {len(text)} letters are too many", f"use {_LONGEST} at most")
        return cls(text, tuple(places))

    def within(self, width: int, height: int) -> list[tuple[float, float, bool]]:
        """Places in shares of the picture's sides, as `mobile_sam.Place`.

        Args:
            width, height: of the photograph as it was given, in pixels.

        Raises:
            InputError: one lies outside.
        """
        found = []
        for x, y, percent, wanted in self.places:
            across, down = (x / 100, y / 100) if percent else ((x + 0.5) / width, (y + 0.5) / height)
            if not (across <= 1 and down <= 1):
                sign = "%" if percent else ""
                raise InputError(
                    f"{x:g}{sign},{y:g}{sign} lies outside the picture, which has {width}x{height} px",
                    f"x goes from 0 on the left to {width - 1}, y from 0 at the top to {height - 1}"
                    if not percent
                    else "both go from 0% to 100%, from the left and from the top",
                )
            found.append((across, down, wanted))
        return found


def is_points(mask: object) -> bool:
    """Whether a mask is a text that begins as points do; what follows may still be wrong."""
    return isinstance(mask, str) and (mask == _WORD or mask.startswith(f"{_WORD} "))
