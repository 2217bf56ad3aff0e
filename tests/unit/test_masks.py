"""Soft masks: sums, supports and limits."""

import pytest
import torch

from impasto.contract import STRENGTH_LEVELS
from impasto.ops import masks


def square(height=40, width=60):
    mask = torch.zeros(1, 1, height, width)
    mask[..., 10:30, 20:40] = 1
    return mask


@pytest.mark.parametrize("pixels", [2, 8, 30, 200])
def test_feathering_is_finite_linear_and_keeps_the_middle_of_an_edge(pixels):
    mask = square()
    soft = masks.feather(mask, pixels)
    torch.testing.assert_close(soft + masks.feather(1 - mask, pixels), torch.ones_like(mask))
    reach = round(pixels / 2)
    assert soft[..., : max(0, 10 - reach), :].abs().sum() == 0
    if pixels <= 8:
        assert soft[0, 0, 20, 30] == pytest.approx(1)
        assert soft[0, 0, 20, 19] + soft[0, 0, 20, 20] == pytest.approx(1, abs=1e-5)


def test_no_feather_is_no_change():
    assert masks.feather(square(), 0) is not None
    assert torch.equal(masks.feather(square(), 1), square())


def test_overlapping_masks_sum_to_one():
    one, two = square(), torch.full((1, 1, 40, 60), 0.5)
    (a, b), overlap = masks.normalise([one, two])
    assert overlap
    assert (a + b).max() <= 1 + 1e-6
    assert a[0, 0, 20, 30] == pytest.approx(2 / 3)
    assert b[0, 0, 0, 0] == 0.5
    assert not masks.normalise([one, 1 - one])[1]


def test_composing_is_exact_where_a_mask_is_clear():
    below, above, mask = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 40, 60), square()
    joined = masks.compose(below, above, mask)
    assert torch.equal(joined[..., 10:30, 20:40], above[..., 10:30, 20:40])
    assert torch.equal(joined[..., :10, :], below[..., :10, :])
    torch.testing.assert_close(masks.compose(below, above, 0.5 * mask + 0.25).mean(), below.mean(), atol=0.2, rtol=0)


def test_shares_of_strength_interpolate_the_map():
    strength = torch.linspace(0, 1, 101)[None, None, None]
    shares = masks.strength_shares(strength)
    assert all(share.min() >= 0 for share in shares)
    torch.testing.assert_close(sum(shares), masks.onset(strength))
    weighted = sum(level * share for level, share in zip(STRENGTH_LEVELS, shares, strict=True))
    torch.testing.assert_close(weighted, strength)


def test_widening_changes_nothing_inside():
    maps = torch.cat([square()[..., ::2, ::2], torch.zeros(1, 1, 20, 30)])
    maps[1, :, 5:15, 20:25] = 1
    wide = masks.widen(maps, 2)
    inside = maps.sum(0) > 0
    assert torch.equal(wide[:, inside], maps[:, inside])
    assert wide.sum(0).max() <= 1 + 1e-5
    assert wide.sum() > maps.sum()


def test_refining_pulls_an_edge_to_the_pictures():
    image = torch.zeros(1, 3, 40, 60)
    image[..., 30:] = 1
    coarse = torch.linspace(0, 1, 60).sub(0.5).mul(4).add(0.5).clamp(0, 1).expand(1, 1, 40, 60)
    refined = masks.refine(coarse.contiguous(), image, radius=6)
    step = (refined[..., 30] - refined[..., 29]).mean()
    assert step > 2 * (coarse[..., 30] - coarse[..., 29]).mean()


def test_ellipses_are_full_in_the_middle_and_end():
    mask = masks.ellipses([(20, 10, 40, 30)], 40, 60)
    assert mask[0, 0, 20, 30] == 1
    assert mask[0, 0, 0, 0] == 0
    assert mask[0, 0, 20, 45] == 0
    assert masks.ellipses([], 4, 4).sum() == 0
