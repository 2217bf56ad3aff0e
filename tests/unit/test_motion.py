"""Small motions made up for training: known, settled by numbers, and no error where nothing but they happens."""

import torch

from impasto.train._motion import Motion
from tiny import noise


def test_a_motion_is_settled_by_its_number_alone():
    pictures = noise(64, 64, batch=3)
    moved = Motion([7, 8, 9], 0, 64).film(pictures)
    assert torch.equal(Motion([9, 7], 0, 64).film(pictures[[2, 0]]), moved[[2, 0]])
    assert not torch.allclose(Motion([7, 8, 9], 1, 64).film(pictures), moved, atol=0.01)
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_pictures_that_only_move_are_no_error_and_others_are():
    pictures, motion = noise(64, 64, batch=4), Motion(range(4), 3, 64)
    assert motion.error(pictures, motion.move(pictures)).max() < 1e-10
    restless = motion.move(pictures) + 0.1 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    error = motion.error(pictures, restless)
    contrast = pictures.var((2, 3)).mean(1)
    torch.testing.assert_close(error, 0.01 / contrast, rtol=0.2, atol=0)


def test_what_is_not_zoomed_moves_by_whole_pixels():
    pictures, exact = noise(64, 64), 0
    for number in range(12):
        moved = Motion([number], 0, 64).move(pictures)[0, :, 20:44, 20:44]
        windows = pictures[0].unfold(1, 24, 1).unfold(2, 24, 1).permute(1, 2, 0, 3, 4)
        exact += bool(((windows - moved).abs().amax((2, 3, 4)) < 1e-4).any())
    assert 2 <= exact <= 10


def test_the_gradient_reaches_both_pastiches():
    pictures, motion = noise(64, 64), Motion([1], 0, 64)
    before, after = pictures.clone().requires_grad_(), motion.film(pictures).requires_grad_()
    motion.error(before, after).sum().backward()
    assert before.grad.abs().max() > 0
    assert after.grad.abs().max() > 0
