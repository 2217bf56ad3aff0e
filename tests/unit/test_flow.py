"""Optical flow on motion that is known."""

import numpy as np
import pytest

from impasto.ops import flow
from tiny import noise


def picture(height=64, width=96, seed=0):
    rng = np.random.default_rng(seed)
    coarse = noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy()
    return np.clip(coarse + 0.1 * rng.random((height, width, 1)), 0, 1).astype(np.float32)


def constant(x, y, height=64, width=96):
    return np.broadcast_to(np.array([x, y], np.float32), (height, width, 2)).copy()


@pytest.mark.parametrize("preset", flow.PRESETS)
def test_every_preset_finds_a_shift(preset):
    wide = picture(width=104)
    found = flow.FlowFinder(preset)(wide[:, 4:100], wide[:, :96])
    assert np.median(found[8:-8, 8:-8], axis=(0, 1)) == pytest.approx([4, 0], abs=0.3)


def test_frames_smaller_than_a_patch_have_a_flow():
    found = flow.flow_between(picture(8, 12), picture(8, 12))
    assert found.shape == (8, 12, 2)
    assert np.abs(found).max() < 0.5


@pytest.mark.parametrize("warp", [flow.warp, flow.warp_sharply])
def test_whole_pixels_are_only_moved(warp):
    frame = picture()
    brought = warp(frame, constant(3, -2))
    assert brought[2:, :-3] == pytest.approx(frame[:-2, 3:], abs=1e-5)


def test_detail_outlives_ten_moves():
    import cv2

    frame = picture()
    left = {}
    for warp in (flow.warp, flow.warp_sharply):
        brought = frame
        for index in range(10):  # forth and back by half a pixel
            brought = warp(brought, constant(0.5 if index % 2 else -0.5, 0))
        inner = brought[8:-8, 8:-8]
        left[warp] = cv2.Laplacian(inner, cv2.CV_32F).var() / cv2.Laplacian(frame[8:-8, 8:-8], cv2.CV_32F).var()
    assert left[flow.warp_sharply] > 0.4
    assert left[flow.warp] < 0.5 * left[flow.warp_sharply]


def test_visible_on_a_moving_square():
    back, forth = constant(0, 0), constant(0, 0)
    back[20:40, 30:60] = (-5, 0)  # the square came from the left
    forth[20:40, 25:55] = (5, 0)
    seen = flow.visible(back, forth)
    assert seen[22:38, 32:58].all()
    assert not seen[22:38, 26:29].any()  # what it uncovered


def test_agreement_ignores_noise_and_sees_other_things():
    frame = np.full((40, 40, 3), 0.5, np.float32)
    rng = np.random.default_rng(0)
    noisy = (frame + 0.02 * rng.standard_normal(frame.shape)).astype(np.float32)
    assert flow.color_agreement(noisy, frame, tolerance=0.05).min() > 0.9
    assert flow.color_agreement(frame + np.float32(0.2), frame, tolerance=0.05).max() < 0.05
