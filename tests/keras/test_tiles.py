"""Pictures tile by tile: the same losses and gradient as in one piece, and pictures that are bounded in memory."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def wide(photo, painting):
    """A photograph and a painting `(3, 64, 320)`, wider than a tile with its margins."""
    from impasto import images

    pictures = (images.resize(pixels, 64, 320).clip(0, 1).transpose(2, 0, 1) for pixels in (photo, painting))
    return [np.ascontiguousarray(picture, np.float32) for picture in pictures]


def settings(**knobs):
    from impasto.methods import recipes

    (stage,) = recipes.plan("optimize", "good", {"coarsest": 100, **knobs})
    return stage.knobs


@pytest.fixture(scope="module")
def method(engine):
    from impasto.keras import vgg19
    from impasto.keras.optimize import Optimize

    knobs = settings()
    return Optimize(vgg19([*knobs.style_layers, *knobs.content_layers]))


@pytest.mark.parametrize("knobs", [{}, {"style_loss": "moments", "stroke_weight": 0.0, "strength": 0.6}])
def test_tiles_have_the_losses_and_the_gradient_of_one_piece(method, wide, knobs):
    from impasto.keras.scoring import margin, windows_of
    from impasto.methods.optimize.levels import levels_of

    (content, painting), own = wide, settings(**knobs)
    level = levels_of(64, 320, own)[-1]
    assert level.octaves == (0.5,)
    windows = windows_of((64, 320), 32, margin(own))
    assert len(windows) == 20
    assert {window.crop(content).shape for window in windows} == {(3, 64, 192)}
    image = np.clip(content + np.float32(0.1) * (painting - content), 0, 1)
    whole, gradient = method.score(content, [(1.0, painting)], level, own)(image)
    tiled, pulled = method.score(content, [(1.0, painting)], level, own, tile=32)(image)
    assert tiled == pytest.approx(whole, rel=1e-5)
    assert np.linalg.norm(pulled - gradient) < 1e-4 * np.linalg.norm(gradient)


def test_the_tiles_of_a_picture_cover_it_once():
    from impasto.keras.scoring import windows_of

    count = np.zeros((256, 320), np.float32)
    for window in windows_of((256, 320), 96, 80):
        count[window.rows, window.columns] += window.cover()
    assert count == pytest.approx(1 / count.size)


def test_a_picture_with_little_memory(engine, wide, monkeypatch):
    """It is painted in tiles, and is the one that would be painted in one piece."""
    from impasto.engine.request import Request
    from impasto.keras import optimize

    content, painting = (picture.transpose(1, 2, 0) for picture in wide)
    request = {"knobs": {"steps": 3, "coarsest": 320}}
    whole = engine.stylize(content, painting, Request(**request))
    seen, tiled = [], optimize.Tiled
    monkeypatch.setitem(optimize._MEMORY, engine.backend, (0.0, 3000.0))
    monkeypatch.setattr(optimize, "_LEAST_TILE", 32)
    monkeypatch.setattr(optimize, "Tiled", lambda *parts, side: seen.append(side) or tiled(*parts, side=side))
    # windows are 192 px high here, where the picture is 64
    limit = 192 * 192 * 3000 + optimize._held((64, 320), settings())
    monkeypatch.setattr(optimize, "whole_memory", lambda sides: limit + 1 if sides == (64, 320) else 0)
    result = engine.stylize(content, painting, Request(**request, max_memory=limit))
    assert seen == [32]
    assert np.abs(result.picture.pixels - whole.picture.pixels).mean() < 1e-3
    assert [one["total"] for one in result.losses] == pytest.approx([one["total"] for one in whole.losses], rel=1e-3)


def test_cancelling_between_tiles(engine, wide, monkeypatch):
    from impasto.engine.request import Request
    from impasto.errors import Cancelled
    from impasto.keras import optimize

    reports = []

    def stop(progress):
        reports.append(progress)
        if len(reports) == 40:
            raise Cancelled

    monkeypatch.setattr(optimize, "tile_side", lambda *_: 32)
    content, painting = (picture.transpose(1, 2, 0) for picture in wide)
    with pytest.raises(Cancelled) as stopped:
        engine.stylize(content, painting, Request(knobs={"steps": 9, "coarsest": 320}), on_progress=stop)
    assert stopped.value.result.picture.pixels.shape == (64, 320, 3)
    assert {progress.step for progress in reports} <= {0, 1}
