"""Real weights, a real photograph, a real painting."""

from pathlib import Path

import numpy as np
import pytest

from impasto import images
from impasto.assets import load_weights
from impasto.engine import Engine, Request
from impasto.metrics import Judge, psnr

pytestmark = pytest.mark.real

GOLDEN = Path(__file__).parent.parent / "golden"
PAINTING = "museum:436535"


@pytest.fixture(scope="module")
def engine(store):
    return Engine(store=store, device="cpu")


@pytest.fixture(scope="module")
def judge(store):
    return Judge(load_weights(store.path("vgg19-normalised")))


def test_the_draft_looks_as_it_did(engine, photos):
    """Looked at when it was made: strokes, no checkerboard, no frame. Other precisions are allowed their rounding."""
    drawn = engine.stylize(photos / "chelsea.png", PAINTING, Request(quality="draft", size=192))
    assert psnr(drawn.picture.pixels, images.read(GOLDEN / "chelsea-436535-draft.png").pixels) > 30


def test_bfloat16_paints_the_same_picture(store, photos):
    request = Request(quality="draft", size=128)
    exact, rounded = (
        Engine(store=store, device="cpu", precision=precision).stylize(photos / "coffee.png", PAINTING, request)
        for precision in ("float32", "bfloat16")
    )
    assert psnr(rounded.picture.pixels, exact.picture.pixels) > 35


def test_good_is_much_nearer_to_both_than_the_draft(engine, judge, photos):
    content = images.read(photos / "coffee.png").pixels
    style = engine.find_styles(PAINTING)[0].picture.pixels
    draft, good = (
        judge.scores(content, style, engine.stylize(content, PAINTING, Request(quality=q, size=256)).picture.pixels)
        for q in ("draft", "good")
    )
    assert good.style_distance <= 0.35 * draft.style_distance
    assert good.content_error <= 0.85 * draft.content_error


def test_strength_goes_evenly(engine, photos):
    photo = images.read(photos / "coffee.png").pixels
    photo = images.resize(photo, 120, 180)
    steps = [
        engine.stylize(photo, PAINTING, Request(quality="draft", knobs={"strength": s})).picture.pixels
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    distances = [float(np.abs(step - photo).mean()) for step in steps]
    assert distances[0] == 0
    gaps = np.diff(distances)
    assert gaps.min() > 0
    assert gaps.max() < 3 * gaps.min()


def test_two_styles_mix_between_their_own_pictures(engine, photos):
    def paint(styles):
        return engine.stylize(photos / "chelsea.png", styles, Request(quality="draft", size=160)).picture.pixels

    one, other = paint([(PAINTING, 1.0)]), paint([("museum:436528", 1.0)])
    mixed = paint([(PAINTING, 1.0), ("museum:436528", 1.0)])
    apart = np.abs(one - other).mean()
    assert np.abs(mixed - one).mean() < apart
    assert np.abs(mixed - other).mean() < apart
