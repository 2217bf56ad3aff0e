"""Cuts are found by what is seen: flashes, dissolves, fades and motion are none, and leave no ghosts."""

import cv2
import numpy as np
import pytest

from impasto.errors import InputError
from impasto.ops.flow import color_agreement
from impasto.video.cuts import LOOKAHEAD, CutDetector, FrameSummary
from impasto.video.stabilizer import MotionEstimator, Stabilizer, TemporalSettings

SIDES = 96, 160
DRAWN = np.random.default_rng(9)


def scene(seed):
    """A wide picture with structure at several sizes, `(120, 400, 3)`."""
    rng = np.random.default_rng(seed)
    parts = [
        cv2.resize(
            rng.random((max(2, 120 // s), max(2, 400 // s), 3), np.float32), (400, 120), interpolation=cv2.INTER_CUBIC
        )
        for s in (4, 10, 30, 60)
    ]
    return sum(parts).clip(0, 4).astype(np.float32) / 4


def view(picture, across=0, down=0):
    """A frame of it, with a little noise."""
    frame = picture[down : down + SIDES[0], across : across + SIDES[1]]
    return (frame + DRAWN.normal(0, 0.01, frame.shape)).clip(0, 1).astype(np.float32)


def shot(seed, count=8, step=2):
    return [view(scene(seed), across=step * index, down=index % 3) for index in range(count)]


def found(frames):
    """Frames at which a shot begins, and those that are passed over."""
    finder = CutDetector()
    told = [finder(frame, frames[k + 1 : k + 1 + LOOKAHEAD]) for k, frame in enumerate(frames)]
    return [k for k, (cut, _) in enumerate(told) if cut], [k for k, (_, odd) in enumerate(told) if odd]


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (3, 0)])
def test_a_hard_cut_is_found(seeds):
    assert found(shot(seeds[0]) + shot(seeds[1])) == ([8], [])
    assert found([view(scene(seeds[0]))] * 40 + [view(scene(seeds[1]))] * 10) == ([40], [])


@pytest.mark.parametrize("letterbox", [0, 8, 16])
def test_bars_hide_no_cut(letterbox):
    """Their edges are alike in all shots, and what lies between them is less of the frame."""
    bars = np.ones((*SIDES, 1), np.float32)
    bars[:letterbox] = bars[SIDES[0] - letterbox :] = 0
    assert found([bars * frame for frame in shot(0) + shot(1)]) == ([8], [])
    assert found([bars * frame for frame in shot(0, count=16)]) == ([], [])


@pytest.mark.parametrize("light", [0.2, 0.4, 1])
def test_a_cut_in_the_dark_is_found(light):
    assert found([np.float32(light) * frame for frame in shot(0) + shot(1)]) == ([8], [])


@pytest.mark.parametrize("step", [0, 3, 12, 40])
def test_motion_is_no_cut_not_even_a_whip_pan(step):
    assert found(shot(0, count=6, step=step)) == ([], [])


def test_a_flash_a_strobe_and_a_damaged_frame_are_passed_over():
    frames = shot(0, count=12)
    bright = [*frames]
    bright[5] = (0.1 * frames[5] + 0.95).clip(0, 1)
    assert found(bright) == ([], [5])
    strobe = [frame if k % 2 == 0 else np.ones_like(frame) for k, frame in enumerate(frames)]
    assert found(strobe[:-1])[0] == []
    damaged = [*frames]
    damaged[4] = DRAWN.random(frames[4].shape).astype(np.float32)
    assert found(damaged) == ([], [4])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_what_lasts_a_few_frames_is_no_shot(length):
    frames, places = shot(0, count=12), list(range(5, 5 + length))
    damaged, flashed = [*frames], [*frames]
    for place in places:
        damaged[place] = DRAWN.random(frames[0].shape).astype(np.float32)
        flashed[place] = (0.1 * frames[place] + 0.93).clip(0, 1).astype(np.float32)
    assert found(damaged) == ([], places)
    assert found(flashed) == ([], places)


def test_a_frame_that_is_damaged_or_blends_two_shots_begins_none():
    one, other = shot(0), shot(1)
    blend = np.float32(0.4) * one[7] + np.float32(0.6) * other[0]
    assert found([*one, blend, *other]) == ([9], [8])
    assert found([*one, DRAWN.random(blend.shape).astype(np.float32), *other]) == ([9], [8])


@pytest.mark.parametrize("length", [5, 12, 25])
def test_a_dissolve_and_a_fade_through_black_are_no_cuts(length):
    one, other = view(scene(0)), view(scene(1))
    shares = np.linspace(0, 1, length + 2)[1:-1]
    dissolve = [one] * 5 + [(1 - s) * one + s * other for s in shares] + [other] * 5
    assert found(dissolve)[0] == []
    fade = [one] * 5 + [(1 - s) * one for s in shares] + [0 * one] * 3 + [s * other for s in shares] + [other] * 5
    assert found(fade)[0] == []


def test_frames_of_a_fade_are_not_passed_over():
    """Each is nearly a blend of its neighbours, and the scenes change at the darkest place without a black frame."""
    one, other = view(scene(0)), view(scene(1))
    shares = np.linspace(0, 1, 14)[1:-1]
    fade = [np.float32(max(0, 1 - 2 * s)) * one + np.float32(max(0, 2 * s - 1)) * other for s in shares]
    cuts, odd = found([one] * 5 + fade + [other] * 5)
    assert (set(cuts) <= {11}, odd) == (True, [])


def test_black_frames_and_a_still_picture_are_no_cuts():
    black = np.zeros((*SIDES, 3), np.float32)
    assert found([black] * 5) == ([], [])
    assert found([view(scene(0))] * 5) == ([], [])
    assert FrameSummary.of(black).likeness(FrameSummary.of(black)) == 0


def steadied(frames):
    """Negatives of frames, stabilized; and what moved."""
    motion_estimator, stabilizer = MotionEstimator(TemporalSettings()), Stabilizer(TemporalSettings())
    results, motions = [], []
    for k, frame in enumerate(frames):
        motions.append(motion_estimator(frame, frames[k + 1 : k + 1 + LOOKAHEAD]))
        results.append(stabilizer.stabilize(1 - frame, stabilizer.warp(motions[-1])))
    return results, motions


def test_the_first_frame_after_a_cut_is_painted_alone():
    frames = [view(scene(0))] * 40 + [view(scene(1))] * 4
    results, motions = steadied(frames)
    assert [k for k, motion in enumerate(motions) if motion.cut] == [40]
    assert np.array_equal(results[40], 1 - frames[40])


def test_after_a_flash_the_frame_before_it_goes_on():
    frames = shot(0, count=10, step=1)
    frames[5] = np.ones_like(frames[5])
    results, motions = steadied(frames)
    assert motions[5].links == ()
    assert motions[6].links[0].distance == 2
    assert not any(motion.cut for motion in motions)
    assert np.array_equal(results[5], 1 - frames[5])
    assert np.abs(results[6] - (1 - frames[6])).mean() < 0.02


@pytest.mark.parametrize("length", [5, 12, 25])
def test_nothing_of_the_old_scene_remains_after_a_dissolve(length):
    """Each step is small, so that the colours of two frames agree; all together leave nothing of the old scene."""
    one, other = cv2.GaussianBlur(view(scene(0)), (0, 0), 2), cv2.GaussianBlur(view(scene(1)), (0, 0), 2)
    shares = np.linspace(0, 1, length + 2)[1:-1]
    frames = [one] * 6 + [np.asarray((1 - s) * one + s * other, np.float32) for s in shares] + [other] * 6
    if length == 25:
        assert color_agreement(frames[8], frames[7], tolerance=0.12).mean() > 0.95
    results, _ = steadied(frames)
    assert np.abs(results[-1] - (1 - other)).mean() * 255 < 10  # 22 and more where each step is judged alone


def test_a_film_that_goes_on_after_a_flash_links_the_same_frames():
    frames = shot(0, count=10, step=1)
    frames[5] = np.ones_like(frames[5])
    whole, parts = MotionEstimator(TemporalSettings()), MotionEstimator(TemporalSettings())
    for k, frame in enumerate(frames[:6]):
        whole(frame, frames[k + 1 : k + 1 + LOOKAHEAD])
    state = whole.state()
    for frame, odd, source in zip(frames[:6], state["odd"], state["source"], strict=True):
        parts.keep(frame, odd=bool(odd), source=source)
    parts.count = 6
    motions, again = whole(frames[6], frames[7:]), parts(frames[6], frames[7:])
    assert [link.distance for link in again.links] == [link.distance for link in motions.links] == [2]
    np.testing.assert_array_equal(again.links[0].back, motions.links[0].back)
    np.testing.assert_array_equal(again.links[0].reliability, motions.links[0].reliability)


@pytest.mark.process
def test_the_benchmark_counts_cuts_of_all_pairs(tmp_path):
    from PIL import Image

    from impasto.bench.cuts import cuts

    for seed in range(3):
        Image.fromarray((255 * scene(seed)[:, :160]).astype(np.uint8)).save(tmp_path / f"{seed}.png")
    rows = {row["film"]: row for row in cuts(tmp_path)}
    assert (rows["hard cut"]["films"], rows["hard cut"]["cuts"]) == (6, 6)
    assert rows["hard cut"]["found_share"] == 1
    assert [rows[kind]["false"] for kind in ("hard cut", "dissolve", "flash", "damaged frame", "strobe")] == [0] * 5
    assert rows["dissolve"]["cuts"] == 0
    with pytest.raises(InputError, match="1 photograph"):
        (tmp_path / "one").mkdir()
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "one" / "a.png")
        cuts(tmp_path / "one")
