"""Augmentations of a GAN's pictures."""

import math

import pytest
import torch

from impasto.train import _augment
from impasto.train._augment import _Draw, augment


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def pictures():
    return 2 * torch.rand(8, 3, 16, 16, generator=seeded(1)) - 1


def test_with_probability_0_nothing_changes(pictures):
    assert augment(pictures, 0.0, seeded()) is pictures
    still = _Draw(4, 0.0, seeded())
    torch.testing.assert_close(_augment._geometry(still), torch.eye(3).expand(4, -1, -1))
    torch.testing.assert_close(_augment._colours(still), torch.eye(4).expand(4, -1, -1))


def test_pictures_change_as_often_as_asked(pictures):
    many = pictures[:1].expand(400, -1, -1, -1)
    for probability in (0.02, 0.2):
        changed = augment(many, probability, seeded())
        share = ((changed - many).abs().amax((1, 2, 3)) > 1e-4).float().mean()
        # 15 draws, of which some change nothing where they happen
        assert 0.6 * (1 - (1 - probability) ** 12) < share < 1 - (1 - probability) ** 16
    assert torch.equal(augment(pictures, 0.5, seeded(3)), augment(pictures, 0.5, seeded(3)))


def test_it_can_be_differentiated(pictures):
    leaf = pictures.clone().requires_grad_()
    augment(leaf, 0.9, seeded()).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_whole_shifts_flips_and_turns_move_pixels():
    picture = torch.zeros(1, 3, 8, 8)
    picture[0, :, 1, 2] = 1
    flip = _augment._scaled(torch.tensor([-1.0]), torch.tensor([1.0]))
    turn = _augment._turned(torch.tensor([math.pi / 2]))
    for matrix, place in (
        (flip, (1, 5)),
        (turn, (5, 1)),
        (_augment._shifted(torch.tensor([0.25]), torch.zeros(1)), (1, 1)),
    ):
        grid = torch.nn.functional.affine_grid(matrix[:, :2], [1, 3, 8, 8], align_corners=False)
        moved = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
        assert tuple(int(one) for one in (moved[0, 0] > 0.99).nonzero()[0]) == place


def test_hues_turn_about_grey():
    turn = _augment._about_grey(torch.tensor([2 * math.pi / 3]))[0]
    torch.testing.assert_close(turn @ torch.ones(3), torch.ones(3))
    torch.testing.assert_close(
        (turn @ torch.tensor([1.0, 0, 0])).sort().values, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-6, rtol=0)
