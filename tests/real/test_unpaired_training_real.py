"""Training without pairs finds the right map, from scenes of striped discs to others whose colours are changed."""

from dataclasses import replace

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


@pytest.fixture
def taught(tmp_path):
    """Trains from scenes to other scenes that `change` has changed; gives what it makes of a third lot, and the lot."""

    def run(knobs, change):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        paintings = Photographs(tuple(np.ascontiguousarray(change(one)).astype(np.uint8) for one in scenes(40, 2)))
        target = tmp_path / "net.safetensors"
        job = UnpairedTraining(source=Photographs(scenes(40, 1)), paintings=paintings, target=target, knobs=knobs)
        result = train(job, weights={}, placement=Placement(), validations=2)
        torch.set_num_threads(threads)
        assert result.losses["diversity"] > 0.7
        photographs = torch.cat([images.to_tensor(one.astype(np.float32) / 255) for one in scenes(12, 3)])
        with torch.inference_mode():
            return Generator(read(result.path), Placement())(photographs), photographs

    return run


def alike(one, other):
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def apart(one, other):
    return float((one - other).abs().mean())


def test_cycle_finds_that_red_and_blue_are_exchanged(taught):
    painted, photographs = taught(KNOBS, lambda scene: scene[..., ::-1])
    wanted = photographs.flip(1)
    assert alike(painted, wanted) > 0.6 > alike(photographs, wanted) + 0.4
    assert apart(painted, wanted) < 0.6 * apart(photographs, wanted)


def test_contrastive_finds_a_warmer_and_darker_light(taught):
    """The measure is independent: by how much each colour of a scene that it never saw was made darker."""
    light = torch.tensor([0.9, 0.55, 0.25])
    knobs = replace(KNOBS, objective="contrastive", steps=150, discriminator_layers=1)
    painted, photographs = taught(knobs, lambda scene: scene * light.numpy())
    wanted = photographs * light[:, None, None]
    found = (painted * photographs).sum((0, 2, 3)) / photographs.square().sum((0, 2, 3))  # least squares
    assert (found - light).abs().max() < 0.15, found  # untouched: 0.75
    assert alike(painted, wanted) > 0.86 > alike(photographs, wanted) + 0.04
    assert apart(painted, wanted) < 0.55 * apart(photographs, wanted)
