"""Painted letters with the real weights: an OCR reads them, strokes follow them, the painting is seen in them."""

import numpy as np
import pytest
import torch

from impasto.bench.letters import WORDS, characters_read, check_reader, legibility
from impasto.contract import Placement
from impasto.errors import MissingExtra
from impasto.images import Picture
from impasto.lettering import Lettering, LetterPainter, on_paper, paper_for
from impasto.losses.losses import DirectionLoss

pytestmark = pytest.mark.real

STYLES = ["436535", "irises", "museum:437654", "museum:438821", "museum:459092", "museum:49156"]


@pytest.fixture
def reader():
    """Skips where there is no OCR for the four scripts."""
    try:
        check_reader(tuple(WORDS))
    except MissingExtra as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.mark.process
def test_an_ocr_reads_twenty_words_in_four_scripts(engine, reader):
    """As drafts, each in another of six styles; `make letters` does it by optimize."""
    painter = LetterPainter(engine)

    def paint(word, style):
        lettering = Lettering(word, size=384, quality="draft")
        result, layers = painter.paint(lettering, {"fill": [(style, 1.0)]})
        plain = Picture(0 * result.picture.pixels, painter.shape(lettering).coverage)
        return on_paper(result.picture, paper_for(layers)), on_paper(plain, (1.0, 1.0, 1.0))

    rows = legibility(paint, STYLES, Placement())
    assert [row["words"] for row in rows] == [5, 5, 5, 5, 20]
    assert rows[-1]["read"] >= 0.95, rows
    assert rows[-1]["read"] >= rows[-1]["read_plain"] - 0.05


@pytest.mark.process
def test_letters_on_a_painted_ground_are_read(engine, reader):
    from impasto.bench.letters import read_word

    look = {"fill": [("irises", 1.0)], "around": [("436535", 1.0)]}
    result, _ = LetterPainter(engine).paint(Lettering("HARVEST", size=512, quality="draft", reach=0.0), look)
    assert result.picture.alpha is None
    assert result.record["letters"]["contrast"] > 2
    assert characters_read("HARVEST", read_word(result.picture.pixels, "eng", paper=False)) >= 6


def test_strokes_follow_the_letters_by_optimize(engine):
    """Most of the picture's change runs across the strokes of the letters, and less does without directions."""
    painter = LetterPainter(engine)
    lettering = Lettering("S", size=160, knobs={"steps": 6})
    result, _ = painter.paint(lettering, {"fill": [("436535", 1.0)]})
    shape = painter.shape(lettering)
    inner = shape.directions * (shape.distance > 3)[..., None]
    loss = DirectionLoss(torch.from_numpy(inner).permute(2, 0, 1)[None])
    image = torch.from_numpy(np.ascontiguousarray(result.picture.pixels)).permute(2, 0, 1)[None]
    stats = loss.statistics({"image": image})
    assert float(loss.bind(stats)(stats)) < 0.4
    assert result.record["method"] == "optimize"
    assert np.array_equal(result.picture.alpha, shape.coverage)


def test_a_trained_style_paints_letters_in_one_pass(engine):
    result, _ = LetterPainter(engine).paint(Lettering("Art", size=256), {"fill": [("pack:irises", 1.0)]})
    assert result.record["styles"][0]["id"] == "pack:irises"
    assert result.record["steps"] == 1
