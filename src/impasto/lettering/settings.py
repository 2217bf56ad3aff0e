"""What is painted, and how it looks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import InputError, as_whole, quoted
from impasto.lettering import tones
from impasto.lettering.typesetting import Setting, check_text
from impasto.methods.recipes import QUALITIES

DEFAULT_SIZE = 1024
LEAST_SIZE = 64
_MOST_AROUND = 60.0  # widths of a stroke


@dataclass(frozen=True)
class Lettering:
    """What is painted, and how it looks.

    Attributes:
        text: the words; empty where a drawing stands in their place.
        drawing: an SVG file of flat shapes.
        font: see `FontBook`.
        setting: alignment, spacing and curve.
        size: longest side in pixels, or width and height.
        outline_width: of the line round the letters, in widths of their strokes.
        reach: how far paint goes around them, in widths of their strokes; 0 for all of the picture.
        tone: one of `tones.TONES`, of the letters.
        legibility: how much light and dark are set apart, from 0 (the painting's own) to 1.
        background: a colour, red, green and blue in [0, 1]; None for transparency.
        quality: "draft", "good" or "best".
        knobs: settings of the method, by name.
        seed: of places and colours of strokes.
    """

    text: str = ""
    drawing: Path | None = None
    font: str | None = None
    setting: Setting = field(default_factory=Setting)
    size: int | tuple[int, int] = DEFAULT_SIZE
    outline_width: float = 0.35
    reach: float = 1.5
    tone: str = "auto"
    legibility: float = 0.5
    background: tuple[float, float, float] | None = None
    quality: str = "good"
    knobs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.drawing is not None and self.text:
            raise InputError("both words and an SVG were given", "give the one or the other")
        if self.drawing is not None and (self.font is not None or self.setting != Setting()):
            raise InputError(
                "an SVG stands in place of words",
                "leave out --font, --align, --spacing, --leading, --curve and --along, or --svg",
            )
        if self.drawing is None:
            check_text(self.text)
        tones.tone_range(self.tone, 0)
        if self.quality not in QUALITIES:
            raise InputError(f"there is no quality {quoted(self.quality)}", f"it is one of {', '.join(QUALITIES)}")
        if as_whole(self.seed) is None:
            raise InputError(f"--seed is {quoted(self.seed)}", "it takes a whole number from 0 on")
        for flag, value, low, high in (
            ("--outline-width", self.outline_width, 0.05, 3.0),
            ("--reach", self.reach, 0.0, _MOST_AROUND),
            ("--legibility", self.legibility, 0.0, 1.0),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{flag} is {value:g}", f"it takes a number from {low:g} to {high:g}")
        for side in self.size if isinstance(self.size, tuple) else (self.size,):
            if as_whole(side, low=LEAST_SIZE) is None:
                raise InputError(f"--size is {quoted(self.size)}", f"it takes {LEAST_SIZE} pixels or more")

    def resized(self, longest: int) -> Lettering:
        """The same at another longest side, in pixels."""
        if not isinstance(self.size, tuple):
            return replace(self, size=longest)
        width, height = self.size
        return replace(self, size=images.fit(width, height, longest))


def parse_size(text: str) -> int | tuple[int, int]:
    """`1024`, the longest side, or `1024x384`. Raises InputError for anything else."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[xX\u00d7]\s*(\d{1,6}))?\s*", text)
    if found is None:
        raise InputError(f"--size is {quoted(text)}", "it takes pixels, such as 1024 or 1024x384")
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


def parse_color(text: str) -> tuple[float, float, float]:
    """`#rgb`, `#rrggbb` or a colour's name. Raises InputError for anything else."""
    from PIL import ImageColor  # a table of names; no codec

    try:
        red, green, blue = (min(max(value, 0), 255) / 255 for value in ImageColor.getrgb(text)[:3])
    except ValueError as error:
        raise InputError(f"--background is {quoted(text)}", "it takes a colour, such as white or #f4ecd8") from error
    return red, green, blue
