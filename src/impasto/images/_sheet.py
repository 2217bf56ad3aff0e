"""A labelled grid of pictures."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.errors import InputError
from impasto.images._picture import Floats, quantise, resize

_SPELLED = str.maketrans(
    {**dict.fromkeys("‐‑‒–—―", "-"), **dict.fromkeys("‘’‚", "'"), **dict.fromkeys("“”„", '"')}
    | {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)
_PAPER, _INK = (250, 249, 246), (40, 38, 36)


def contact_sheet(
    cells: Sequence[tuple[NDArray[Any], str]],
    *,
    columns: int,
    cell: int = 256,
    height: int | None = None,
    lines: int = 2,
    font_size: int = 15,
) -> Floats:
    """A grid of captioned pictures.

    Args:
        cells: pictures `(H, W, 3)` in [0, 1] with their captions, row by row.
        columns: pictures in a row; fewer cells make a narrower sheet.
        cell: the side in px of the square that each picture is fitted into, centred, its aspect kept.
        height: of the cells in px; by default that of the tallest picture, so that no row has empty paper.
        lines: lines of caption; words wrap, and what does not fit is cut with an ellipsis.
        font_size: height of the captions in px, in Pillow's built-in font, which has Latin letters without accents:
            others are written as near as they come, or as a question mark.

    Returns `(H, W, 3)` float32 in [0, 1].
    """
    if not cells:
        raise InputError("a contact sheet needs at least one picture", "give some")
    if columns < 1 or cell < 16 or lines < 0:
        raise InputError(f"a sheet of {columns} columns of {cell} px is not possible", "use 1 column, 16 px or more")
    tallest = max(_fitted(pixels.shape[1], pixels.shape[0], cell, cell)[1] for pixels, _ in cells)
    columns, high = min(columns, len(cells)), height or tallest
    gap, row = max(8, min(cell, high) // 16), round(font_size * 1.3)
    step_x, step_y = cell + gap, high + gap + lines * row + (4 if lines else 0)
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (gap + columns * step_x, gap + rows * step_y), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(font_size)
    for index, (pixels, caption) in enumerate(cells):
        left, top = gap + index % columns * step_x, gap + index // columns * step_y
        sides = _fitted(pixels.shape[1], pixels.shape[0], cell, high)
        picture = Image.fromarray(quantise(resize(pixels, sides[1], sides[0]), 8))
        sheet.paste(picture, (left + (cell - sides[0]) // 2, top + (high - sides[1]) // 2))
        for line, text in enumerate(_wrapped(caption, font, width=cell, lines=lines)):
            middle = left + (cell - font.getlength(text)) / 2
            draw.text((middle, top + high + 4 + line * row), text, fill=_INK, font=font)
    return np.asarray(sheet).astype(np.float32) / np.float32(255)


def _fitted(width: int, height: int, most_wide: int, most_high: int) -> tuple[int, int]:
    """Width and height of a picture that is as large as a cell allows."""
    scale = min(most_wide / width, most_high / height)
    return max(1, min(most_wide, round(width * scale))), max(1, min(most_high, round(height * scale)))


def _wrapped(caption: str, font: Any, *, width: int, lines: int) -> list[str]:
    """The caption in at most `lines` lines of `width` px."""
    done: list[str] = []
    words = _spelled(caption).split()
    while words and len(done) < lines:
        line = words.pop(0)
        while words and len(done) < lines and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        cut = bool(words) and len(done) == lines - 1
        done.append(_cut(f"{line} {' '.join(words)}" if cut else line, font, width))
    return done


def _spelled(text: str) -> str:
    """In the letters that the font has."""
    parts = unicodedata.normalize("NFKD", text.translate(_SPELLED).replace("…", "..."))
    return "".join(each if each.isascii() else "?" for each in parts if not unicodedata.combining(each))


def _cut(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
