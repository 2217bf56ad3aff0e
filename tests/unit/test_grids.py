"""The grid that a decoder leaves: what is taken out, and what stays."""

import numpy as np
import pytest
import torch

from impasto.metrics import _pixels
from impasto.ops import grids
from tiny import noise


def woven(height, width, amount):
    """A grid of 8, 4 and 2 px, `(1, 1, H, W)`."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = sum(
        torch.cos(2 * torch.pi * rows / period) + torch.cos(2 * torch.pi * columns / period) for period in (8, 4, 2)
    )
    return amount * waves[None, None] / 6


def slowly(images):
    """`without_grid` as loops over pixels."""
    values = images.double().numpy().copy()

    def mean(values, weights, apart):
        middle = len(weights) // 2
        for axis in (0, 1):
            moved = np.moveaxis(values, axis, 0)
            found = np.empty_like(moved)
            for at in range(len(moved)):
                places = [(at + (index - middle) * apart, weight) for index, weight in enumerate(weights)]
                inside = [(place, weight) for place, weight in places if 0 <= place < len(moved)]
                found[at] = sum(weight * moved[place] for place, weight in inside) / sum(weight for _, weight in inside)
            values = np.moveaxis(found, 0, axis)
        return values

    for channel in values.reshape(-1, *values.shape[2:]):
        for period in (8, 4, 2):
            span = [0.5] + [1.0] * (period - 1) + [0.5]
            detail = channel - mean(channel, span, 1)
            detail = np.where(abs(detail) < 0.16, detail * (1 - (detail / 0.16) ** 2) ** 2, 0)
            channel[:] -= mean(detail, [np.exp(-((cell / 1.2) ** 2) / 2) for cell in range(-2, 3)], period)
    return values


@pytest.mark.parametrize("sides", [(40, 33), (7, 5), (1, 1), (90, 16)])
def test_it_is_what_loops_over_pixels_give(sides):
    images = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    assert grids.without_grid(images).numpy() == pytest.approx(slowly(images), abs=1e-5)


def test_a_grid_goes_and_the_picture_stays():
    smooth = noise(192, 192) * 0.5 + 0.25
    spoilt = smooth + woven(192, 192, 0.06)
    mended = grids.without_grid(spoilt)
    before, after = (_pixels.weave(image[0].permute(1, 2, 0).numpy()) for image in (spoilt, mended))
    assert before > 0.5
    assert after < before / 5
    assert (mended - smooth).square().mean() < (spoilt - smooth).square().mean() / 10
    assert (grids.without_grid(smooth) - smooth).abs().max() < 0.02


def test_strong_edges_throw_no_echoes():
    edge = torch.full((1, 3, 96, 96), 0.2)
    edge[..., 50:] = 0.9
    assert (grids.without_grid(edge) - edge).abs().max() < 0.012


def test_no_place_is_shaped_from_beyond_its_reach():
    images = 0.5 + 0.05 * torch.randn(1, 1, 120, 120, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = grids.without_grid(images)
    part = grids.without_grid(images[..., : 61 + grids.REACH])
    assert torch.equal(whole[..., :61], part[..., :61])
    assert not torch.equal(whole[..., :61], grids.without_grid(images[..., : 60 + grids.REACH])[..., :61])
