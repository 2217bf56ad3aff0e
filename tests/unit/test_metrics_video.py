"""Measures of videos, on sequences whose motion, brightness and colour are known."""

import cv2
import numpy as np
import pytest

from impasto import metrics
from impasto.errors import InputError
from impasto.metrics import _video
from impasto.ops import flow
from tiny import noise


def texture(height=90, width=140, seed=0, cell=4):
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // cell, width // cell, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def panned(count, step=2, seed=0, size=(60, 80), cell=4):
    """A window that moves `step` pixels a frame to the right over a texture."""
    wide = texture(size[0], size[1] + step * count, seed=seed, cell=cell)
    return [wide[:, step * number : step * number + size[1]] for number in range(count)]


def constant_flow(x, y, size=(60, 80)):
    return np.broadcast_to(np.array([x, y], np.float32), (*size, 2)).copy()


@pytest.mark.parametrize(("distance", "step"), [(1, 3), (10, 2)])
def test_warping_error_of_known_motion_is_zero(distance, step):
    frames = panned(distance + 1, step)
    shift = step * distance
    # what is at x now was further right before, when the window stood further left
    back, forth = constant_flow(shift, 0), constant_flow(-shift, 0)
    seen = flow.visible(back, forth)
    assert seen[:, : 80 - shift].all()
    assert not seen[:, 80 - shift :].any()
    assert _video.warping_error(frames[-1], frames[0], back, seen) == pytest.approx(0, abs=1e-12)
    changed = frames[-1] * np.float32(0.5)
    expected = ((changed - frames[-1])[seen].astype(np.float64) ** 2).mean()
    assert _video.warping_error(changed, frames[0], back, seen) == pytest.approx(expected, rel=1e-5)


def test_flow_finds_known_motion():
    frames = panned(2, 3)
    found = flow.flow_between(frames[1], frames[0])
    assert np.median(found[5:-5, 5:-10], axis=(0, 1)) == pytest.approx([3, 0], abs=0.1)


def test_what_was_hidden_is_not_seen():
    back, forth = constant_flow(0, 0), constant_flow(0, 0)
    forth[20:30, 20:40] = (9, 0)  # something moved away over this place
    seen = flow.visible(back, forth)
    assert not seen[20:30, 20:40].any()
    assert seen.sum() == seen.size - 200


def test_a_steady_painting_is_better_than_a_restless_one():
    frames = panned(14, 1, size=(90, 120), cell=12)
    steady = [frame[..., ::-1] * np.float32(0.8) for frame in frames]  # a pure change of colour moves with the input
    rng = np.random.default_rng(0)
    restless = [np.clip(frame + 0.1 * rng.standard_normal(frame.shape), 0, 1).astype(np.float32) for frame in steady]
    good, bad = (metrics.measure_video(frames, painted) for painted in (steady, restless))
    assert list(good) == ["warping_error_1", "warping_error_10", "flicker", "drift"]
    assert good["warping_error_1"] < 0.02
    assert good["warping_error_10"] < 0.05
    # two frames of independent noise of deviation 0.1, where clipping takes a little
    assert bad["warping_error_1"] == pytest.approx(0.1 * 2**0.5, rel=0.2)
    assert bad["warping_error_10"] > 2 * good["warping_error_10"]
    assert good["drift"] < 0.02


def grey(values):
    return [np.full((16, 24, 3), value, np.float32) for value in values]


def test_flicker_and_drift_in_closed_form():
    still = grey([0.5] * 12)
    blinking = grey([0.4, 0.6] * 6)
    found = metrics.measure_video(still, blinking, ["flicker", "drift"])
    assert found["flicker"] == pytest.approx(0.2, rel=1e-5)
    assert found["drift"] == pytest.approx(0, abs=0.1)
    rising = grey(np.linspace(0.2, 0.75, 12))
    found = metrics.measure_video(still, rising, ["drift", "flicker"])
    # from the mean of the first three to that of the last three, in three of six numbers (deviations stay 0)
    assert found["drift"] == pytest.approx(0.45 / 2**0.5, rel=1e-5)
    assert found["flicker"] == pytest.approx(0.05, rel=1e-4)
    same = metrics.measure_video(rising, rising, ["drift", "flicker"])
    assert same == pytest.approx({"drift": 0, "flicker": 0}, abs=1e-7)


def test_large_videos_shrink_and_outputs_of_another_size_fit():
    big = noise(60, 700)[0].permute(1, 2, 0).numpy()
    counted = _video.tally([big] * 3, [big[::2, ::2]] * 3, (1,))
    assert counted.frames == 3
    assert counted._before[0][0].shape == (44, 512, 3)
    assert counted.warping_error(1) == pytest.approx(0, abs=1e-3)


def test_a_cut_is_left_out():
    frames = panned(3) + panned(3, seed=7)
    counted = _video.tally(frames, frames, (1,))
    assert len(counted._errors[1]) in (4, 5)
    with_cut = counted.warping_error(1)
    assert with_cut < 0.1


def test_bad_videos(tmp_path):
    frames = grey([0.1] * 5)
    with pytest.raises(InputError, match="the output has 4 frames and the input more"):
        metrics.measure_video(frames, frames[:4])
    with pytest.raises(InputError, match="the input has 3 frames and the output more"):
        metrics.measure_video(frames[:3], frames)
    with pytest.raises(InputError, match="warping_error_10 needs more than 10 frames; there are 5"):
        metrics.measure_video(frames, frames, ["warping_error_10"])
    with pytest.raises(InputError, match="drift needs at least 8 frames; there are 5"):
        metrics.measure_video(frames, frames, ["drift"])
    with pytest.raises(InputError, match="flicker needs at least 2 frames"):
        metrics.measure_video(frames[:1], frames[:1], ["flicker"])
    with pytest.raises(InputError, match="there is no file"):
        metrics.measure_video(tmp_path / "no.mp4", frames)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        metrics.measure_video(tmp_path / "text.mp4", frames)
