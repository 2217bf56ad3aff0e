"""Steadiness on clips whose motion is known: what boils stops boiling, and stays as sharp."""

from dataclasses import replace

import numpy as np
import pytest

from impasto import metrics
from impasto.metrics import psnr
from impasto.metrics._pixels import sharpness
from impasto.video.stabilizer import (
    TEMPORAL_PRESETS,
    Link,
    Motion,
    MotionEstimator,
    Stabilizer,
    TemporalSettings,
    stabilized,
    with_contrast_of,
)
from tiny import noise


def clip(count=14, step=0.7, height=72, width=112, seed=0):
    """A window that glides over a picture by subpixel steps."""
    import cv2

    wide = noise(height, int(width + step * count) + 8, seed=seed)[0].permute(1, 2, 0).numpy()
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.random(wide.shape).astype(np.float32), (0, 0), 1.2)
    wide = np.clip(wide + 1.0 * (grain - grain.mean()), 0, 1)
    frames = []
    for index in range(count):
        move = np.array([[1, 0, -step * index], [0, 1, 0]], np.float32)
        frames.append(cv2.warpAffine(wide, move, (wide.shape[1], height), flags=cv2.INTER_CUBIC)[:, :width].clip(0, 1))
    return frames


def boiling(frames, amount=0.12):
    """Paintings with strokes of their own in every frame."""
    import cv2

    rng = np.random.default_rng(1)
    strokes = [cv2.GaussianBlur(rng.standard_normal(frame.shape).astype(np.float32), (0, 0), 1.0) for frame in frames]
    return [
        np.clip(frame[..., ::-1] + amount * stroke / stroke.std(), 0, 1)
        for frame, stroke in zip(frames, strokes, strict=True)
    ]


def steadied(frames, painted, settings=None):
    watch, steady = MotionEstimator(settings or TemporalSettings()), Stabilizer(settings or TemporalSettings())
    return [steady.stabilize(fresh, steady.warp(watch(frame))) for frame, fresh in zip(frames, painted, strict=True)]


@pytest.mark.parametrize("name", list(TEMPORAL_PRESETS))
def test_boiling_halves_and_sharpness_stays(name):
    frames = clip()
    painted = boiling(frames)
    steady = steadied(frames, painted, TEMPORAL_PRESETS[name])
    before, after = (
        metrics.measure_video(frames, each, ["warping_error_1", "warping_error_10"]) for each in (painted, steady)
    )
    assert after["warping_error_1"] < 0.5 * before["warping_error_1"]
    assert after["warping_error_10"] < 0.5 * before["warping_error_10"]
    assert after["warping_error_1"] < 0.03
    sharp = [np.mean([sharpness(frame) for frame in each[-6:]]) for each in (painted, steady)]
    assert sharp[1] == pytest.approx(sharp[0], rel=0.1)


def test_a_steady_method_is_left_alone():
    frames = clip()
    painted = [frame[..., ::-1] * np.float32(0.8) for frame in frames]
    for ours, own in zip(steadied(frames, painted), painted, strict=True):
        assert psnr(ours, np.ascontiguousarray(own)) > 30


def test_a_static_clip_with_sensor_noise_neither_drifts_nor_darkens():
    still, rng = clip(1, height=48, width=64)[0], np.random.default_rng(3)
    frames = [np.clip(still + 0.02 * rng.standard_normal(still.shape), 0, 1).astype(np.float32) for _ in range(250)]
    painted = boiling(frames, 0.08)
    steady = steadied(frames, painted, TEMPORAL_PRESETS["fast"])
    drift = np.abs(steady[-1].mean((0, 1)) - np.mean([each.mean((0, 1)) for each in painted], axis=0))
    assert drift.max() < 1 / 255
    assert sharpness(steady[-1]) == pytest.approx(sharpness(painted[-1]), rel=0.2)


def test_a_cut_begins_anew():
    frames = clip(6) + clip(6, seed=5)
    painted = boiling(frames)
    watch = MotionEstimator()
    motions = [watch(frame) for frame in frames]
    assert [motion.cut for motion in motions] == [False] * 6 + [True] + [False] * 5
    steady = steadied(frames, painted)
    assert np.array_equal(steady[6], painted[6])
    assert np.array_equal(steady[0], painted[0])


def test_the_far_anchor_is_linked_when_there_is_one():
    def distances(settings):
        watch = MotionEstimator(settings)
        return [[link.distance for link in watch(frame).links] for frame in clip(6)]

    assert distances(TemporalSettings(anchor_distance=3)) == [[], [1], [1], [1, 3], [1, 3], [1, 3]]
    assert distances(TemporalSettings(anchor_distance=2, anchor_every=2)) == [[], [1], [1, 2], [1], [1, 2], [1]]
    assert Stabilizer().warp(Motion()) == ()


def test_paint_that_is_torn_apart_wears_and_paint_that_moves_does_not():
    painting = np.full((64, 96, 3), 0.5, np.float32)
    x = np.tile(np.arange(96, dtype=np.float32), (64, 1))
    flows = {
        "still": np.zeros_like(x),
        "even": np.full_like(x, -2.5),
        "zoom": -0.01 * (x - 48),
        "stretch": np.where(x > 48, -0.1 * (x - 48), 0).astype(np.float32),
    }
    worn = {}
    for name, across in flows.items():
        back = np.stack([across, np.zeros_like(across)], 2)
        motion = Motion((Link(1, back, np.ones((64, 96), np.float32)),))
        steady = Stabilizer(TemporalSettings(anchor_distance=0))
        steady.stabilize(painting, ())
        for _ in range(12):
            (warped,) = steady.warp(motion)
            steady.stabilize(painting, (warped,))
        worn[name] = 1 - warped.reliability[8:-8, 8:-8]
    assert worn["still"].max() == worn["even"].max() == worn["zoom"].max() == 0
    assert worn["stretch"][:, :24].max() == 0
    assert worn["stretch"][:, 56:].min() > 0.02


def test_memory_goes_on_to_the_same_paintings():
    frames, fast = clip(20), TEMPORAL_PRESETS["fast"]
    painted = boiling(frames)
    whole = steadied(frames, painted, fast)
    watch, steady = MotionEstimator(fast), Stabilizer(fast)
    for frame, fresh in zip(frames[:12], painted[:12], strict=True):
        steady.stabilize(fresh, steady.warp(watch(frame)))
    stored = steady.state()
    other, again = MotionEstimator(fast, count=12), Stabilizer(fast)
    again.restore(stored)
    kept, known = watch.state(), len(stored["paintings"])
    for back in range(known, 0, -1):
        other.keep(frames[12 - back], odd=bool(kept["odd"][-back]), source=kept["source"][-back])
    for index in range(12, 20):
        ours = again.stabilize(painted[index], again.warp(other(frames[index])))
        assert np.array_equal(ours, whole[index])


def test_contrast_comes_back_but_is_never_taken():
    import cv2

    sharp = clip(1)[0]
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.6)
    restored = with_contrast_of(soft, sharp)
    assert sharpness(soft) < sharpness(restored) < 1.3 * sharpness(sharp)
    assert with_contrast_of(sharp, soft) == pytest.approx(sharp, abs=1e-6)


def test_strokes_that_joining_has_evened_out_come_back_in_part():
    import cv2

    sharp = clip(1)[0]
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.5)

    def strokes(picture):
        half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return cv2.filter2D(half, -1, np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32) / 4).std()

    assert 1.13 * strokes(soft) < strokes(with_contrast_of(soft, sharp)) < strokes(sharp)


def test_beside_a_slow_method_motion_is_looked_for_more_closely():
    assert TEMPORAL_PRESETS["fast"].flow_preset == "brisk"
    assert TEMPORAL_PRESETS["fast"].for_slow_method() == replace(TEMPORAL_PRESETS["fast"], flow_preset="medium")
    assert TEMPORAL_PRESETS["best"].for_slow_method() == TEMPORAL_PRESETS["best"]


def test_nothing_trusted_is_all_fresh():
    from impasto.video.stabilizer import WarpedPainting

    frame = clip(1)[0]
    old = WarpedPainting(np.zeros_like(frame), np.zeros(frame.shape[:2], np.float32))
    assert stabilized(frame, (old,), TemporalSettings()) == pytest.approx(frame, abs=1e-6)
