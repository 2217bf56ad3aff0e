"""Text to outlines: lines, directions, fonts and scripts, shaped by HarfBuzz; then alignment, spacing and a curve."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from impasto.errors import InputError, require
from impasto.lettering.drawings import Line
from impasto.lettering.fonts import Font, FontBook
from impasto.lettering.outlines import Contour, Outline, Points, flattened

MOST_CHARACTERS = 400
ALIGNMENTS = ("left", "center", "right")
_EM = 1000.0  # units of a font
_STEP = 40.0  # units of a font between points of a line, so that it can be bent
_SMOOTH = 0.45  # em along a line, over which its corners are rounded
_CLOSED_GAP = 0.35  # em between the end of a text and its beginning, on a closed line
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_LETTERS = ("a", "\u05d0")  # from left to right, and from right to left
_EAST_ASIAN = {"Hira": "ja", "Kana": "ja", "Hang": "ko", "Bopo": "zh-Hant", "Hani": "zh-Hans"}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ISOLATES = {"LRI": "\u202a", "RLI": "\u202b", "PDI": "\u202c"}  # the embeddings that are nearest to them
_NEUTRAL = "\ufffc"
_JOINING = "\u200d\ufe0e\ufe0f"


@dataclass(frozen=True)
class Setting:
    """How text is set.

    Attributes:
        align: one of ALIGNMENTS, of several lines.
        spacing: between letters, beside the font's own, in em.
        leading: from line to line, in em.
        curve: degrees of the arc along which the lines run: above 0 like a rainbow, below 0 like a bowl.
        along: an SVG file, along whose longest line the first line of text runs; see `Line`.
    """

    align: str = "center"
    spacing: float = 0.0
    leading: float = 1.15
    curve: float = 0.0
    along: Path | None = None

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise InputError(f"--align is {self.align!r}", f"it is one of {', '.join(ALIGNMENTS)}")
        for flag, value, low, high in (
            ("--spacing", self.spacing, -0.3, 5.0),
            ("--leading", self.leading, 0.5, 5.0),
            ("--curve", self.curve, -350.0, 350.0),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{flag} is {value:g}", f"it takes a number from {low:g} to {high:g}")
        if self.along is not None and self.curve:
            raise InputError("--curve and --along were both given", "give the one or the other")


def check_text(text: str) -> str:
    """The text with line ends alike, and spaces for tabs and other control characters.

    Raises:
        InputError: there is nothing to see, or too much.
    """
    lines = [_CONTROLS.sub(" ", line).strip() for line in re.split(r"\r\n|[\r\n\v\f\x85\u2028\u2029]", text)]
    clean = "\n".join(lines).strip("\n")
    if not clean:
        raise InputError("the text is empty", 'give some words, such as impasto letters "PARIS 1889"')
    if len(clean) > MOST_CHARACTERS:
        raise InputError(
            f"the text has {len(clean):,} characters; at most {MOST_CHARACTERS} can be painted", "make several pictures"
        )
    if any(0xD800 <= ord(each) <= 0xDFFF for each in clean):
        raise InputError("the text holds bytes that are no characters", "give it as UTF-8")
    return clean


def typeset(text: str, book: FontBook, setting: Setting) -> Outline:
    """The outlines of a text, in units of 1/1000 em.

    Raises:
        InputError: it is empty or too long, or no font has a letter of it.
    """
    clean = check_text(text)
    han = _language_of_han(clean)
    lines = [_line(line, book, han, setting.spacing * _EM) for line in clean.split("\n")]
    widest = max(width for _, width in lines)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[setting.align]
    contours: list[Contour] = []
    for row, (outline, width) in enumerate(lines):
        moved = outline.placed(1.0, share * (widest - width), row * setting.leading * _EM)
        contours += moved.contours
    whole = Outline(tuple(contours))
    if setting.along is not None:
        return _along(whole, Line.read(setting.along))
    return _bent(whole, setting.curve) if setting.curve else whole


def _line(text: str, book: FontBook, han: str, spacing: float) -> tuple[Outline, float]:
    """The outlines of one line, and its width. han: language of its Han characters."""
    contours: list[Contour] = []
    pen = 0.0
    for run in _runs(text, book):
        pen = _shape(run, han, pen, spacing, contours)
    return Outline(tuple(contours)), max(pen - spacing, 0.0)


@dataclass(frozen=True)
class _Run:
    """Characters in logical order, of one direction, font and script."""

    text: str
    font: Font
    script: str
    backwards: bool


def _runs(text: str, book: FontBook) -> list[_Run]:
    """The runs of a line from left to right."""
    levels = _levels(text)
    script, pieces = "Latn", []
    for start, cluster in _clusters(text):
        guessed = _script_of(cluster[0])
        script = script if guessed in ("Zyyy", "Zinh", "Zzzz") else guessed
        pieces.append((levels[start], book.font_for(cluster), script, cluster))
    found = []
    for (level, font, run_script), group in groupby(pieces, key=lambda piece: piece[:3]):
        found.append((level, _Run("".join(piece[3] for piece in group), font, run_script, level % 2 == 1)))
    return [run for _, run in _reordered(found)]


def _reordered(runs: list[tuple[int, _Run]]) -> list[tuple[int, _Run]]:
    """Runs as they are seen: from the highest level down, what is at it or above is turned round (UAX #9, L2)."""
    highest = max((level for level, _ in runs), default=0)
    for level in range(highest, 0, -1):
        turned: list[tuple[int, _Run]] = []
        for above, group in groupby(runs, key=lambda run, least=level: run[0] >= least):  # type: ignore[misc]
            members = list(group)
            turned += reversed(members) if above else members
        runs = turned
    return runs


def _levels(text: str) -> list[int]:
    """The embedding level of each character, by the Unicode bidirectional algorithm."""
    bidi = require("bidi.algorithm", "letters")
    storage = bidi.get_empty_storage()
    base = bidi.get_base_level(text)
    text = _with_known_types(_with_brackets_resolved(text, base))
    storage["base_level"], storage["base_dir"] = base, ("L", "R")[base]
    bidi.get_embedding_levels(text, storage)
    for index, each in enumerate(storage["chars"]):
        each["index"] = index
    bidi.explicit_embed_and_overrides(storage)
    bidi.resolve_weak_types(storage)
    bidi.resolve_neutral_types(storage, False)
    bidi.resolve_implicit_levels(storage, False)
    levels = [base] * len(text)
    for each in storage["chars"]:
        levels[each["index"]] = each["level"]
    return levels


def _with_known_types(text: str) -> str:
    """The text with other characters in place of those whose types the package does not know.

    Isolates become embeddings, and characters newer than Python's table neutral ones.
    """
    characters = list(text)
    for index, character in enumerate(text):
        kind = unicodedata.bidirectional(character)
        if kind == "FSI":
            kinds = map(unicodedata.bidirectional, text[index:])
            kind = {"R": "RLI", "AL": "RLI"}.get(next((each for each in kinds if each in ("L", "R", "AL")), "L"), "LRI")
        characters[index] = _ISOLATES.get(kind, character if kind else _NEUTRAL)
    return "".join(characters)


def _with_brackets_resolved(text: str, base: int) -> str:
    """The text with a letter in place of each bracket that has a direction by UAX #9, N0, which the package lacks."""
    characters, opened, pairs = list(text), [], []
    for index, character in enumerate(text):
        if character in _BRACKETS:
            opened.append(index)
        elif opened and character == _BRACKETS[text[opened[-1]]]:
            pairs.append((opened.pop(), index))
    for start, end in sorted(pairs):
        inside = {_strong(each) for each in characters[start + 1 : end]} - {None}
        before = next((_strong(each) for each in reversed(characters[:start]) if _strong(each) is not None), base)
        if inside:
            direction = base if base in inside or before == base else 1 - base
            characters[start] = characters[end] = _LETTERS[direction]
    return "".join(characters)


def _strong(character: str) -> int | None:
    """0 for a letter from left to right, 1 for one from right to left and for numbers; None for others."""
    kind = unicodedata.bidirectional(character)
    return 0 if kind == "L" else 1 if kind in ("R", "AL", "EN", "AN") else None


def _clusters(text: str) -> Iterator[tuple[int, str]]:
    """What one font must draw together, with its start: a letter with its marks, an emoji with its joined parts."""
    start = 0
    for index in range(1, len(text) + 1):
        if index < len(text):
            each, before = text[index], text[index - 1]
            marks = unicodedata.category(each) in ("Mn", "Me", "Mc") or each in _JOINING
            tone = 0x1F3FB <= ord(each) <= 0x1F3FF
            flag = 0x1F1E6 <= ord(each) <= 0x1F1FF and 0x1F1E6 <= ord(before) <= 0x1F1FF and index - start == 1
            if marks or tone or flag or before == "\u200d":
                continue
        yield start, text[start:index]
        start = index


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    harfbuzz = require("uharfbuzz", "letters")
    buffer = harfbuzz.Buffer()
    buffer.add_str(character)
    buffer.guess_segment_properties()
    return str(buffer.script or "Zyyy")


def _shape(run: _Run, han: str, pen: float, spacing: float, contours: list[Contour]) -> float:
    """Add a run's outlines from `pen` on. Returns where the next begins. han: language of Han characters."""
    harfbuzz = require("uharfbuzz", "letters")
    buffer = harfbuzz.Buffer()
    buffer.add_str(run.text)
    buffer.direction, buffer.script = ("rtl" if run.backwards else "ltr"), run.script
    buffer.language = han if run.script in _EAST_ASIAN else "und"
    apart = abs(spacing) > 0 and run.script not in ("Arab", "Syrc", "Mong", "Nkoo", "Deva", "Beng", "Guru")
    features = {"liga": False, "clig": False} if apart else {}
    font = run.font.shaper
    harfbuzz.shape(font, buffer, features)
    infos, positions = buffer.glyph_infos, buffer.glyph_positions
    for index, (info, place) in enumerate(zip(infos, positions, strict=True)):
        contours += _glyph(font, info.codepoint, pen + place.x_offset, place.y_offset)
        pen += place.x_advance
        last = index + 1 == len(infos) or infos[index + 1].cluster != info.cluster
        if last and (apart or index + 1 == len(infos)):
            pen += spacing
    return pen


def _language_of_han(text: str) -> str:
    """Han characters have forms of their own in each language, which the letters beside them tell; alone, Chinese."""
    scripts = {_script_of(each) for each in text}
    return next((language for script, language in _EAST_ASIAN.items() if script in scripts), "zh-Hans")


def _glyph(font: object, glyph: int, right: float, up: float) -> list[Contour]:
    commands: list[tuple[str, tuple[float, ...]]] = []
    pen = _Pen(commands)
    font.draw_glyph_with_pen(glyph, pen)  # type: ignore[attr-defined]
    moved = flattened(commands, step=_STEP)
    return [Contour(contour.points * (1, -1) + (right, -up)) for contour in moved]


class _Pen:
    """Takes down what HarfBuzz draws, in the manner of fontTools' pens."""

    def __init__(self, commands: list[tuple[str, tuple[float, ...]]]) -> None:
        self._commands = commands

    def moveTo(self, point: tuple[float, float]) -> None:  # noqa: N802 - the protocol's name
        """Begin a contour."""
        self._commands.append(("M", point))

    def lineTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        """A line."""
        self._commands.append(("L", point))

    def qCurveTo(self, *points: tuple[float, float]) -> None:  # noqa: N802
        """A quadratic curve."""
        self._commands.append(("Q", tuple(number for point in points for number in point)))

    def curveTo(self, *points: tuple[float, float]) -> None:  # noqa: N802
        """A cubic curve."""
        self._commands.append(("C", tuple(number for point in points for number in point)))

    def closePath(self) -> None:  # noqa: N802
        """End a contour."""
        self._commands.append(("Z", ()))


def _bent(outline: Outline, degrees: float) -> Outline:
    """Lines along an arc of so many degrees; the last line keeps its length where the arc is a rainbow."""
    left, top, right, bottom = outline.bounds
    angle = math.radians(abs(degrees))
    radius = (right - left) / angle
    middle = (left + right) / 2

    def bend(points: Points) -> Points:
        turn = (points[:, 0] - middle) / radius
        # from the centre of the circle, below the text for a rainbow and above it for a bowl
        far = radius + (bottom - points[:, 1]) if degrees > 0 else radius + (points[:, 1] - top)
        down = -far * np.cos(turn) if degrees > 0 else far * np.cos(turn)
        return np.column_stack([far * np.sin(turn), down])

    return outline.mapped(bend)


def _along(outline: Outline, line: Line) -> Outline:
    """The first line's baseline on a line, from its beginning to its end; the line becomes as long as the text.

    Corners are rounded, so that letters bend and do not break.
    """
    left, _, right, _ = outline.bounds
    length = right - left + (_CLOSED_GAP * _EM if line.closed else 0.0)
    steps = np.hypot(*np.diff(line.points, axis=0).T)
    smooth = _smoothed(line.points * (length / steps.sum()), line.closed, _SMOOTH * _EM / length)
    pieces = np.diff(smooth, axis=0)
    distances = np.concatenate([[0.0], np.cumsum(np.hypot(*pieces.T))])
    tangents = np.gradient(smooth, axis=0)
    tangents /= np.maximum(np.hypot(*tangents.T)[:, None], 1e-9)

    def bend(points: Points) -> Points:
        far = (points[:, 0] - left) / length * distances[-1]
        x, y, right_way, down_way = (np.interp(far, distances, values) for values in (*smooth.T, *tangents.T))
        return np.column_stack([x - points[:, 1] * down_way, y + points[:, 1] * right_way])

    return outline.mapped(bend)


def _smoothed(points: Points, closed: bool, sigma: float) -> Points:
    """A line with its corners rounded. sigma: of the Gaussian, as a share of the line's length."""
    count = len(points) - 1
    reach = max(1, round(3 * sigma * count))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma * count, 1e-6)) ** 2)
    kernel /= kernel.sum()
    if closed:
        padded = points[np.arange(-reach, len(points) + reach) % count]
    else:  # turned about its ends, so that they stay where they are
        index = np.arange(1, reach + 1) % len(points)
        padded = np.concatenate([2 * points[0] - points[index][::-1], points, 2 * points[-1] - points[-1 - index]])
    return np.column_stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)])
