"""The reference of the race to equal loss gets its best learning rate."""

import math

import numpy as np
import pytest

from impasto.bench import equal_loss
from impasto.contract import ignore
from impasto.report import reference


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
