"""The picture while it grows: in a file that a viewer may watch, or in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

from impasto import images
from impasto.contract import Progress
from impasto.errors import StyleError

_SECONDS = 1.0  # between two pictures
_COLUMNS = 72


class PreviewFile:
    """A picture file that a viewer may watch. That it cannot be written is noted once, and ends nothing.

    Args:
        path: the file to keep up to date.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted = False

    def write(self, pixels: NDArray[np.float32], on_note: Callable[[str], object]) -> None:
        """Replace the picture by pixels `(H, W, 3)` in [0, 1]."""
        try:
            images.write(images.read(pixels), self._path)
        except (StyleError, OSError) as error:  # a full disk, a folder taken away, a reader that has gone
            if not self._noted:
                on_note(f"the preview is not kept up to date: {error}")
            self._noted = True


class Preview:
    """Shows reports that carry a picture, now and then.

    Args:
        path: the file to keep up to date; None is the terminal.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else PreviewFile(path)
        self.text = Text("")
        """The picture for the terminal."""
        self._shown = 0.0

    def show(self, report: Progress, columns: int, on_note: Callable[[str], object]) -> None:
        """Take the picture of a report, unless the last is fresh."""
        last = report.total > 0 and report.step == report.total
        if report.snapshot is None and report.preview is None:
            return
        if time.monotonic() - self._shown < _SECONDS and not last:
            return
        image = report.preview if report.snapshot is None else report.snapshot.image()
        assert image is not None
        pixels = images.from_tensor(image[:1].float().cpu().clamp(0, 1))
        if self._file is not None:
            self._file.write(pixels, on_note)
        else:
            self.text = half_blocks(pixels, min(columns, _COLUMNS))
        self._shown = time.monotonic()


def half_blocks(pixels: NDArray[np.float32], columns: int) -> Text:
    """A picture of `columns` characters, two pixels above each other in each: the upper half block in two colours.

    Args:
        pixels: `(H, W, 3)` in [0, 1].
        columns: width in characters.
    """
    height, width = pixels.shape[:2]
    rows = max(1, round(columns * height / width / 2))
    small = images.resize(np.ascontiguousarray(pixels, np.float32), 2 * rows, columns)
    codes = np.rint(small.clip(0, 1) * 255).astype(int)
    text = Text()
    for row in range(rows):
        for column in range(columns):
            upper, lower = (f"#{r:02x}{g:02x}{b:02x}" for r, g, b in codes[2 * row : 2 * row + 2, column])
            text.append("\u2580", Style(color=upper, bgcolor=lower))
        if row < rows - 1:
            text.append("\n")
    return text
