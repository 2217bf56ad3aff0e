"""The sheet of `impasto demo` has no empty cell, and shows strokes."""

import numpy as np
import pytest
from PIL import Image

from impasto.cli import app
from impasto.engine.engine import Engine

pytestmark = pytest.mark.real


def test_the_sheet_shows_photograph_painting_three_results_and_a_close_up(tmp_path, monkeypatch):
    painted = []

    def stylize(self, photo, style, request, **_):
        painted.append(request.quality)
        return real(self, photo, style, type(request)(quality="draft", size=96))

    real = Engine.stylize
    monkeypatch.setattr(Engine, "stylize", stylize)
    assert app.run(["demo", "--out", str(tmp_path)]) == 0
    assert painted == ["draft", "good", "best"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        cells = np.asarray(sheet.convert("L"), np.float32)
    height, width = cells.shape[0] // 2, cells.shape[1] // 3
    assert width > 500
    for row, column in np.ndindex(2, 3):
        cell = cells[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert cell.std() > 20, "an empty cell"
