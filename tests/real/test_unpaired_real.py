"""A generator that others have trained paints photographs as its own code would."""

import pytest
import torch
from torch import nn

from impasto import images
from impasto.assets import load_weights

pytestmark = pytest.mark.real


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(256, 256, 3), nn.InstanceNorm2d(256, affine=True), nn.ReLU()),
            *(nn.ReflectionPad2d(1), nn.Conv2d(256, 256, 3), nn.InstanceNorm2d(256, affine=True)),
        )

    def forward(self, x):
        return x + self.block(x)


def plain(tensors):
    """The network of the paper, in modules."""
    first = [nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), nn.InstanceNorm2d(64, affine=True), nn.ReLU()]
    down = [
        layer
        for channels in (64, 128)
        for layer in (
            nn.Conv2d(channels, 2 * channels, 3, 2, 1),
            nn.InstanceNorm2d(2 * channels, affine=True),
            nn.ReLU(),
        )
    ]
    up = [
        layer
        for channels in (256, 128)
        for layer in (
            nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, 1),
            nn.InstanceNorm2d(channels // 2, affine=True),
            nn.ReLU(),
        )
    ]
    last = [nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh()]
    network = nn.Module()
    network.model = nn.Sequential(*first, *down, *(Block() for _ in range(9)), *up, *last)
    network.load_state_dict(tensors)
    return network.model


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png"])
def test_photographs_of_today_become_old_ones(engine, store, photos, name):
    store.fetch(["vintage-generator"])
    file = store.path("vintage-generator")
    pixels = images.read(photos / name).resized(160, 240).pixels
    result = engine.stylize(pixels, file)
    painted, photograph = images.to_tensor(result.picture.pixels), images.to_tensor(pixels)
    assert result.record["method"] == "unpaired"
    assert 0.02 < (painted - photograph).abs().mean() < 0.2  # another look, the same picture
    with torch.inference_mode():
        theirs = (plain(load_weights(file))(2 * photograph - 1) + 1) / 2
    assert (painted - theirs).abs().mean() < 0.01
