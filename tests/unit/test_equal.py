"""The reference of the race to equal loss gets its best learning rate."""

import math
from dataclasses import replace

import numpy as np
import pytest

from impasto.bench import equal_loss
from impasto.contract import Guide, Job, Placement, ignore
from impasto.methods import recipes
from impasto.methods.optimize.balances import FAINT, OCTAVE_BALANCE, STROKE_BALANCE, style_weight
from impasto.methods.optimize.method import Optimize
from impasto.report import reference
from tiny import noise, style_of, tiny_encoder_weights


class Bowl:
    """A reference whose loss is lowest at one rate."""

    best = 0.1

    def __init__(self, *_, **__):
        pass

    def start(self, image):
        pass

    def run(self, steps, rate, *, on_step):
        on_step(steps)
        return [2.0, abs(math.log(rate / self.best))]


@pytest.mark.parametrize(
    ("best", "found", "tried"),
    [
        (0.02, 0.02, [0.01, 0.02, 0.04]),
        (0.1, 0.08, [0.01, 0.02, 0.04, 0.08, 0.16]),
        (0.006, 0.005, [0.0025, 0.005, 0.01, 0.02, 0.04]),
    ],
)
def test_the_sweep_goes_on_until_the_best_rate_lies_inside(monkeypatch, best, found, tried):
    monkeypatch.setattr(reference, "Gatys", Bowl)
    monkeypatch.setattr(Bowl, "best", best)
    picture = np.zeros((32, 32, 3), np.float32)
    rate, ends = equal_loss._best_rate({}, picture, picture, 32, 3, ignore)
    assert rate == found
    assert sorted(ends) == tried


def test_the_reference_is_held_to_the_whole_loss_of_good():
    """On pictures with fewer places than are drawn, so that both compare with all of them."""
    content, style = 0.5 + 0.2 * noise(96, 128), noise(96, 128, seed=7)
    weights = tiny_encoder_weights()
    good = replace(recipes.plan("auto", "good", {})[-1].knobs, steps=3, coarsest=64)
    stylizer, seen = Optimize({"vgg19-normalised": weights}, Placement()), []
    job = Job(stylizer.encode_style(style_of(style, (96, 128)), good), good, Guide())

    def keep(progress):
        if progress.preview is not None and progress.preview.shape == content.shape and progress.losses:
            seen.append((progress.losses["total"], progress.preview.clone()))  # the descent goes on in its memory

    stylizer.stylize(content, [job], keep)
    balance = style_weight(good)
    smaller = {0.5: OCTAVE_BALANCE * balance}
    whole = reference.Loss("relu4_1", 2.0, 0.5, balance, 0.1**0.5, 1.5 * STROKE_BALANCE, smaller)
    plain = reference.Gatys(weights, content, style, whole)
    assert plain.content_weight < 1.9, "the photograph is fainter than the painting"
    assert len(seen) >= 3
    lowest, picture = min(seen, key=lambda one: one[0])
    assert equal_loss._loss(plain, picture) == pytest.approx(lowest, rel=1e-3)


def test_the_race_is_run_to_the_loss_that_ships():
    picture = noise(128, 96)
    plain = equal_loss._reference(tiny_encoder_weights(), picture, picture)
    good = recipes.plan("auto", "good", {})[-1].knobs
    assert (plain.held_to.content_weight, plain.held_to.content_layer) == (good.content_weight, *good.content_layers)
    assert plain.held_to.faint == FAINT
    assert plain.shares["relu5_1"] == pytest.approx(good.deep_style**0.5)
    assert plain.held_to.smaller == {}, "a coarsest level of 128 px leaves no smaller size"
    plain = equal_loss._reference(tiny_encoder_weights(), noise(512, 32), noise(512, 32))
    assert plain.held_to.smaller == pytest.approx({0.5: 0.08 * 6.5, 0.25: 0.04 * 6.5})
