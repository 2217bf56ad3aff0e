"""The close-up on the sheet of `impasto demo`."""

import numpy as np
import pytest

from impasto.cli import demo


def test_a_close_up_is_a_ninth_of_the_picture_around_the_eyes():
    pixels = np.zeros((90, 120, 3), np.float32)
    pixels[:, :, 0] = np.linspace(0, 1, 120)
    found = demo._close_up(pixels)
    assert found.shape == pixels.shape
    middle = demo._EYES[1]
    assert found[45, 60, 0] == pytest.approx(middle, abs=0.01)
    assert found[45, 110, 0] - found[45, 10, 0] == pytest.approx(100 / 120 / demo._CLOSER, abs=0.01)
