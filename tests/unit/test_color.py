"""Colours apart from paint: exact properties, against closed forms."""

import pytest
import torch

from impasto.ops import color
from tiny import noise


def moments(image):
    flat = image.flatten(2)[0].double()
    return flat.mean(1), torch.cov(flat, correction=0)


def test_luma_is_that_of_bt_601():
    red = torch.zeros(1, 3, 1, 1)
    red[0, 0] = 1
    assert color.luma(red).item() == pytest.approx(0.299)
    assert color.luma(torch.full((1, 3, 1, 1), 0.4)).item() == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(3))
def test_luminance_is_unchanged_within_rounding(seed):
    generator = torch.Generator().manual_seed(seed)
    painted, photograph = (torch.rand(1, 3, 40, 50, generator=generator) for _ in range(2))  # much is out of gamut
    kept = color.with_chroma_of(painted, photograph)
    assert kept.min() >= 0
    assert kept.max() <= 1
    assert (color.luma(kept) - color.luma(painted)).abs().max() < 1e-6
    codes = (kept * 255).round() / 255
    assert (color.luma(codes) - color.luma(painted)).abs().max() <= 0.5 / 255 + 1e-6


def test_chroma_is_the_photographs_where_it_fits():
    photograph = 0.4 + 0.2 * noise(16, 16)
    painted = 0.4 + 0.2 * noise(16, 16, seed=1)
    kept = color.with_chroma_of(painted, photograph)
    chroma = kept - color.luma(kept)
    torch.testing.assert_close(chroma, photograph - color.luma(photograph), atol=1e-6, rtol=0)


def test_its_own_chroma_changes_nothing():
    image = torch.rand(1, 3, 20, 20)
    torch.testing.assert_close(color.with_chroma_of(image, image), image, atol=1e-6, rtol=0)


def test_matched_colours_have_the_palettes_mean_and_covariance():
    image, palette = noise(40, 40), 0.3 + 0.3 * noise(30, 50, seed=1)
    mean, spread = moments(color.match_colors(image, palette))
    wanted_mean, wanted_spread = moments(palette)
    torch.testing.assert_close(mean, wanted_mean, atol=3e-3, rtol=0)
    torch.testing.assert_close(spread, wanted_spread, atol=6e-4, rtol=0)


def test_the_transport_between_gaussians_is_exact():
    a, b = (torch.randn(3, 100, dtype=torch.float64) * 0.2 for _ in range(2))
    source, target = a @ a.T / 100, b @ b.T / 100
    matrix = color._transport(source, target)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix @ source @ matrix, target)


def test_matching_its_own_palette_changes_nothing():
    image = noise(48, 48, seed=3)
    torch.testing.assert_close(color.match_colors(image, image), image, atol=4e-3, rtol=0)


def test_equal_colours_stay_equal():
    image = noise(24, 24)
    twice = torch.cat([image, image], dim=3)
    matched = color.match_colors(twice, noise(24, 24, seed=5))
    assert torch.equal(matched[..., :24], matched[..., 24:])


@pytest.mark.parametrize("flat", ["image", "palette"])
def test_a_single_colour_stays_finite(flat):
    grey, other = torch.full((1, 3, 20, 20), 0.5), noise(20, 20)
    matched = color.match_colors(*((grey, other) if flat == "image" else (other, grey)))
    assert torch.isfinite(matched).all()
    if flat == "palette":
        assert (matched - 0.5).abs().max() < 0.02


def test_recoloring_gives_mean_and_covariance_and_sums_add_up():
    picture, palette = 0.3 + 0.4 * noise(40, 50), 0.2 + 0.5 * noise(30, 30, seed=2)
    whole = color.color_sums(picture)
    torch.testing.assert_close(color.color_sums(picture[..., :20]) + color.color_sums(picture[..., 20:]), whole)
    matrix, shift = color.recoloring(whole, 3.0 * color.color_sums(palette))  # how many pixels they are does not count
    moved = torch.einsum("ij,bjhw->bihw", matrix, picture) + shift[:, None, None]
    for found, wanted in zip(moments(moved), moments(palette), strict=True):
        assert (found - wanted).abs().max() < 1e-4
    half = torch.zeros(1, 1, 40, 50)
    half[..., :20] = 1
    torch.testing.assert_close(color.color_sums(picture, half), color.color_sums(picture[..., :20]))
