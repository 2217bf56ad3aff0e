"""Training without pairs finds the right map: photographs of striped discs, and others with red and blue exchanged."""

import numpy as np
import pytest
import torch

from impasto import images
from impasto.contract import Placement
from impasto.methods.settings import TranslationKnobs
from impasto.models.generators import Generator, read
from impasto.train import UnpairedTraining, train
from impasto.train.data import Photographs

pytestmark = pytest.mark.real

SIDE = 72
KNOBS = TranslationKnobs(
    objective="cycle",
    steps=250,
    crop=64,
    canvas=64,
    width=8,
    blocks=2,
    discriminator_width=8,
    discriminator_layers=2,
    ema=0.95,
    learning_rate=1e-3,
)


def scene(random):
    """Orange discs with stripes before a blue ground with grain, `(SIDE, SIDE, 3)` of 8 bits."""
    y, x = np.mgrid[:SIDE, :SIDE]
    ground = np.array([0.15, 0.25, 0.5], np.float32) * random.uniform(0.7, 1.3)
    pixels = ground * (1 + 0.25 * random.standard_normal((SIDE, SIDE, 1))).astype(np.float32)
    for _ in range(random.integers(3, 7)):
        top, left, radius = random.uniform(0, SIDE), random.uniform(0, SIDE), random.uniform(8, 16)
        inside = ((y - top) ** 2 + (x - left) ** 2 < radius**2)[..., None]
        across = y * np.sin(random.uniform(0, 3)) + x * np.cos(random.uniform(0, 3))
        stripes = (0.75 + 0.25 * np.sign(np.sin(2 * np.pi * across / 8)))[..., None]
        pixels = np.where(inside, np.array([1, random.uniform(0.5, 0.8), 0.2], np.float32) * stripes, pixels)
    return (pixels.clip(0, 1) * 255).astype(np.uint8)


def scenes(count, seed):
    random = np.random.default_rng(seed)
    return tuple(scene(random) for _ in range(count))


def test_the_map_between_two_unpaired_sets_is_found(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    exchanged = Photographs(tuple(np.ascontiguousarray(one[..., ::-1]) for one in scenes(40, 2)))
    job = UnpairedTraining(
        source=Photographs(scenes(40, 1)), paintings=exchanged, target=tmp_path / "net.safetensors", knobs=KNOBS
    )
    result = train(job, weights={}, placement=Placement(), validations=2)
    torch.set_num_threads(threads)
    photographs = torch.cat([images.to_tensor(one.astype(np.float32) / 255) for one in scenes(12, 3)])
    with torch.inference_mode():
        painted = Generator(read(result.path), Placement())(photographs)
    wanted = photographs.flip(1)
    alike = float(torch.corrcoef(torch.stack([painted.flatten(), wanted.flatten()]))[0, 1])
    untouched = float(torch.corrcoef(torch.stack([photographs.flatten(), wanted.flatten()]))[0, 1])
    assert alike > 0.6 > untouched + 0.4, (alike, untouched)
    assert (painted - wanted).abs().mean() < 0.6 * (photographs - wanted).abs().mean()
    assert result.losses["diversity"] > 0.7
