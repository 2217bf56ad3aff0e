"""The CLIP that ships, on a real photograph: the picture becomes what the words say, by measures that know no CLIP."""

import numpy as np
import pytest

from impasto import images
from impasto.engine.engine import Engine
from impasto.engine.request import Request

pytestmark = pytest.mark.real

HUES = {"red": 0.0, "blue": 0.62}
KNOBS = {"clip": "shapes", "steps": 70, "patches": 32, "threshold": 0.3}


@pytest.fixture(scope="module")
def photograph(photos):
    return np.ascontiguousarray(images.resize(images.read(photos / "chelsea.png").pixels, 128, 192))


@pytest.fixture(scope="module")
def painted(photograph, store):
    engine = Engine(store=store)
    return {
        sentence: engine.stylize(photograph, sentence, Request(knobs=KNOBS)).picture.pixels
        for sentence in ("red stripes", "blue dots")
    }


def share_of(color, pixels):
    """Share of the pixels whose hue goes by a colour's name, and which are no grey."""
    largest, least = pixels.max(2), pixels.min(2)
    spread = largest - least + 1e-6
    red, green, blue = np.moveaxis(pixels, 2, 0)
    places = [(green - blue) / spread % 6, (blue - red) / spread + 2, (red - green) / spread + 4]
    hue = np.choose(pixels.argmax(2), places) / 6
    near = np.abs((hue - HUES[color] + 0.5) % 1 - 0.5) < 0.06
    return float((near & (spread / (largest + 1e-6) > 0.35) & (largest > 0.2)).mean())


def directions(color, pixels):
    """Power of the colour's contrast by direction, 12 of 15 degrees each, of periods from 4 to 40 px; sums to 1."""
    channel = {"red": 0, "blue": 2}[color]
    contrast = pixels[..., channel] - pixels.mean(2)
    height, width = contrast.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2((contrast - contrast.mean()) * window)) ** 2
    rows, columns = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    length = np.hypot(rows, columns)
    band = (length > 1 / 40) & (length < 1 / 4)
    angle = np.arctan2(rows, columns)[band] % np.pi
    found, _ = np.histogram(angle, bins=12, range=(0, np.pi), weights=power[band])
    return found / found.sum()


def test_red_stripes_are_red_and_run_one_way(photograph, painted):
    stripes, dots = painted["red stripes"], painted["blue dots"]
    assert share_of("red", stripes) > share_of("red", photograph) + 0.2
    assert share_of("red", stripes) > share_of("red", dots) + 0.2
    before, after = (directions("red", pixels).max() for pixels in (photograph, stripes))
    assert after > 1.4 * before


def test_blue_dots_are_blue_and_run_no_way(photograph, painted):
    assert share_of("blue", photograph) < 0.01
    assert share_of("blue", painted["blue dots"]) > share_of("blue", painted["red stripes"]) + 0.02
    assert directions("blue", painted["blue dots"]).max() < directions("red", painted["red stripes"]).max()
