"""Legibility of painted letters: twenty words in four scripts, read by an OCR (Tesseract, where it is installed)."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.bench.results import machine_row
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.errors import InputError, MissingExtra

Floats: TypeAlias = NDArray[np.float32]
PaintWord: TypeAlias = Callable[[str, str], tuple[Floats, Floats]]
"""Paints a word in a style; gives it on paper, and plain, black on white, each `(H, W, 3)`."""

WORDS: Mapping[str, Sequence[str]] = {
    "eng": ("HARVEST", "Garden", "museum", "POSTER", "Winter"),
    "rus": ("МОСКВА", "Весна", "картина", "РЕКА", "Солнце"),
    "ara": ("مدينة", "سلام", "كتاب", "مدرسة", "جميل"),
    "chi_sim": ("春天", "中国画", "花园", "山水", "音乐"),
}
"""By the names of Tesseract's languages."""

STYLES = ("museum:436535", "irises", "museum:437654", "museum:438821", "museum:459092", "museum:49156")
"""Six paintings of the library, unlike one another."""

_WORD_WIDTH, _WORD_HEIGHT = 240, 120  # pixels, on the sheet of styles

_SECONDS = 60
_FRAME = 0.3  # of the height, of paper around a word, as on a page
_HEIGHTS = (96, 80, 120)  # pixels of a line, the best first; sometimes Tesseract finds no line at all at one of them


def legibility(
    paint: PaintWord, styles: Sequence[str], placement: Placement, *, on_progress: OnProgress = ignore
) -> list[dict[str, Any]]:
    """A row for each script, and one for all: the share of characters that are read, painted and plain.

    Args:
        paint: paints a word.
        styles: taken in turn.
        placement: for the record.
        on_progress: called after each word.

    Raises:
        MissingExtra: Tesseract or one of its languages is not installed.
    """
    check_reader(tuple(WORDS))
    rows, whole = [], {"painted": 0, "plain": 0, "characters": 0}
    done = 0
    for language, words in WORDS.items():
        counts = {"painted": 0, "plain": 0, "characters": sum(map(len, words))}
        missed = []
        for word in words:
            on_progress(Progress("reading", done, sum(map(len, WORDS.values())), "word"))
            painted, plain = paint(word, styles[done % len(styles)])
            found = read_word(painted, language)
            counts["painted"] += characters_read(word, found)
            counts["plain"] += characters_read(word, read_word(plain, language))
            if found != word:
                missed.append(f"{word}: {found or 'nothing'}")
            done += 1
        whole = {name: whole[name] + counts[name] for name in whole}
        rows.append(_row(language, len(words), counts, "; ".join(missed)))
    rows.append(_row("all", done, whole, ""))
    return [{**row, **machine_row(placement)} for row in rows]


def style_sheet(
    paint: Callable[[str, str], tuple[Floats, str]],
    styles: Sequence[str] = STYLES,
    *,
    on_progress: OnProgress = ignore,
) -> Floats:
    """A sheet of one word of each script in each style, a row for each style, `(H, W, 3)`.

    Args:
        paint: paints a word in a style; gives it on paper `(H, W, 3)`, and the name of the painting.
        styles: of the rows.
        on_progress: called before each word.
    """
    words = [words[0] for words in WORDS.values()]
    rows: list[tuple[Floats, str]] = []
    for style in styles:
        painted: list[tuple[Floats, str]] = []
        for place, word in enumerate(words):
            on_progress(Progress("painting words", len(rows) * len(words) + place, len(words) * len(styles), "word"))
            painted.append(paint(word, style))
        row = images.contact_sheet(
            [(pixels, "") for pixels, _ in painted],
            columns=len(words),
            cell=_WORD_WIDTH,
            height=_WORD_HEIGHT,
            lines=0,
        )
        rows.append((row, painted[0][1]))
    width, height = rows[0][0].shape[1], rows[0][0].shape[0]
    return images.contact_sheet(rows, columns=1, cell=width, height=height, lines=1, font_size=16)


def _row(script: str, words: int, counts: Mapping[str, int], missed: str) -> dict[str, Any]:
    total = counts["characters"]
    return {
        "script": script,
        "words": words,
        "characters": total,
        "read": round(counts["painted"] / total, 3),
        "read_plain": round(counts["plain"] / total, 3),
        "missed": missed,
    }


def check_reader(languages: Sequence[str]) -> None:
    """Raise MissingExtra where Tesseract or a language is not installed."""
    hint = "apt install tesseract-ocr tesseract-ocr-rus tesseract-ocr-ara tesseract-ocr-chi-sim"
    if shutil.which("tesseract") is None:
        raise MissingExtra("Tesseract, an OCR, is not installed", hint)
    installed = _tesseract(["--list-langs"]).split()
    for language in languages:
        if language not in installed:
            raise MissingExtra(f"Tesseract has no language {language}", hint)


def read_word(pixels: Floats, language: str, *, paper: bool = True) -> str:
    """What an OCR reads in a picture `(H, W, 3)` of one line, without spaces.

    paper: whether the line stands on paper, which then goes on around it, as on a page.

    Raises:
        InputError: the picture cannot be read at all.
    """
    found = (_read_at(height, pixels, language, paper) for height in _HEIGHTS)
    return next((text for text in found if text), "")


def _read_at(height: int, pixels: Floats, language: str, paper: bool) -> str:
    small = images.resize(pixels, height, max(1, round(pixels.shape[1] * height / pixels.shape[0])))
    frame = round(_FRAME * height) if paper else 0
    rim = np.median(np.concatenate([small[0], small[-1]]), 0)
    sheet = np.tile(rim.astype(np.float32), (height + 2 * frame, small.shape[1] + 2 * frame, 1))
    sheet[frame : frame + height, frame : frame + small.shape[1]] = small
    buffer = io.BytesIO()
    images.write(images.Picture(sheet), buffer, format="PNG")
    return "".join(_tesseract(["stdin", "stdout", "--psm", "7", "-l", language], buffer.getvalue()).split())


def _tesseract(arguments: Sequence[str], data: bytes = b"") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and a list
            ["tesseract", *arguments],  # noqa: S607 - found on the user's path
            input=data,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"Tesseract cannot read: {type(error).__name__}", "try tesseract by hand") from error
    return done.stdout.decode(errors="replace")


def characters_read(word: str, found: str) -> int:
    """Characters of a word less the edits that lead from what was read to it, not below 0."""
    row = list(range(len(found) + 1))
    for index, character in enumerate(word, start=1):
        before, row[0] = row[0], index
        for place, other in enumerate(found, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (character != other))
    return max(0, len(word) - row[-1])
