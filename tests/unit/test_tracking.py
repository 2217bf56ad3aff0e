"""Masks that move with a film: from clips by their time, and subjects that are warped along between key frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.video import tracking
from impasto.video.film import prepared
from impasto.video.stabilizer import Motion, MotionEstimator, TemporalSettings
from impasto.video.tracking import KEY, MovingMasks
from impasto.videos import VideoReader, VideoWriter
from tiny import noise

HEIGHT, WIDTH, COUNT = 48, 96, 30


def square(index):
    """White where the square of a frame is: it goes to the right by a pixel a frame."""
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[14:38, 8 + index : 40 + index] = 1
    return mask


@pytest.fixture
def film(tmp_path):
    ground = noise(HEIGHT, WIDTH)[0].permute(1, 2, 0).numpy()
    thing = noise(HEIGHT, WIDTH, seed=3)[0].permute(1, 2, 0).numpy()
    with VideoWriter(tmp_path / "film.mp4", rate=25) as writer, VideoWriter(tmp_path / "mask.mp4", rate=12.5) as mask:
        for index in range(COUNT):
            inside = square(index)[..., None]
            writer.write(np.ascontiguousarray(inside * np.roll(thing, index, axis=1) + (1 - inside) * ground))
            if index % 2 == 0:
                mask.write(np.repeat(inside, 3, axis=2))
    return VideoReader(tmp_path / "film.mp4")


@pytest.fixture
def moving(film, store_without_network, monkeypatch):
    looked = []

    def read(self, mask):
        looked.append(mask)
        return torch.from_numpy(square(len(looked) * KEY - KEY))[None, None]

    monkeypatch.setattr("impasto.engine.masks.MaskReader.read", read)
    return lambda controls, rest=True: (MovingMasks(controls, film, store_without_network, rest), looked)


@pytest.fixture
def store_without_network(tmp_path):
    from impasto.assets import Store

    return Store(tmp_path / "store", offline=True)


def test_points_outside_the_frames_are_refused(film, engine, tmp_path):
    """In pixels of the film, however small it is painted."""
    small = VideoReader(tmp_path / "film.mp4", size=48)
    for text in (f"point {WIDTH},4", f"point 4,{HEIGHT}"):
        with pytest.raises(InputError, match=f"outside the picture, which has {WIDTH}x{HEIGHT}"):
            prepared(engine, [], Request(controls=Controls(preserve=text)), small, lambda _: None, lambda _: None)


@pytest.fixture
def pointed(film, store_without_network, monkeypatch):
    """Masks whose network finds the square of the key frame, or what `found` says, and the places that it was asked."""
    asked, found = [], []

    def pointed_at(self, places, *, like=None):
        asked.append((places, like))
        return torch.from_numpy(found.pop(0) if found else square((len(asked) - 1) * KEY))[None, None]

    monkeypatch.setattr("impasto.engine.masks.MaskReader.pointed_at", pointed_at)
    controls = Controls(regions=(("point 20,25", "irises"),))
    return MovingMasks(controls, film, store_without_network, True), asked, found


def test_what_is_pointed_at_is_followed_and_found_again(film, pointed):
    masks, asked, _ = pointed
    assert masks.follows
    for frame, layout in layouts(masks, film):
        assert overlap(layout.regions[0], square(frame.number)) > 0.7
    assert asked[0] == ([(20.5 / WIDTH, 25.5 / HEIGHT, True)], None)
    assert len(asked) == 3
    for number, (places, like) in enumerate(asked[1:], start=1):
        assert overlap(like, square(number * KEY)) > 0.6  # where the flow has brought it
        assert len(places) == 3
        assert all(square(number * KEY)[int(y * HEIGHT), int(x * WIDTH)] and wanted for x, y, wanted in places)
    assert masks.lost == {}


def test_something_else_that_is_found_is_not_followed(film, pointed):
    masks, _, found = pointed
    found += [square(0), np.ones((HEIGHT, WIDTH), np.float32)]
    for frame, layout in layouts(masks, film):
        if frame.number < 2 * KEY:
            assert overlap(layout.regions[0], square(frame.number)) > 0.5


def test_behind_a_cut_what_was_pointed_at_is_lost(film, pointed):
    masks, asked, _ = pointed
    frames = list(film)
    masks.layout(frames[0], Motion())
    assert masks.layout(frames[1], Motion(cut=True)).regions[0].max() == 0
    assert masks.layout(frames[KEY], Motion(cut=True)).regions[0].max() == 0
    assert len(asked) == 1
    assert masks.lost == {"point 20,25": 1}


def layouts(masks, film, start=0, motion_estimator=None):
    motion_estimator = motion_estimator or MotionEstimator(TemporalSettings(anchor_distance=0))
    for frame in film:
        if frame.number >= start:
            yield frame, masks.layout(frame, motion_estimator(frame.pixels))


def overlap(mask, wanted):
    mask = mask[0, 0].numpy()
    return np.minimum(mask, wanted).sum() / np.maximum(mask, wanted).sum()


def test_a_mask_clip_of_another_rate_holds_by_its_time(film, moving, tmp_path):
    masks, _ = moving(Controls(regions=((str(tmp_path / "mask.mp4"), "irises"),)))
    assert not masks.follows
    for frame, layout in layouts(masks, film):
        assert overlap(layout.regions[0], square(frame.number // 2 * 2)) > 0.93
        assert (layout.regions[0] + layout.rest).numpy() == pytest.approx(1, abs=1e-3)


def test_a_subject_is_found_now_and_then_and_followed_between(film, moving):
    masks, looked = moving(Controls(regions=(("subject", "irises"),), preserve="subject"), rest=False)
    assert masks.follows
    for frame, layout in layouts(masks, film):
        assert overlap(layout.regions[0], square(frame.number)) > 0.7  # 0.49 where it was 11 frames before
        assert layout.rest is None
        assert np.array_equal(layout.preserve, layout.regions[0])
    assert looked == ["subject"] * 3  # frames 0, 12 and 24


def test_a_flash_does_not_lose_the_subject(film, moving):
    """Nothing is looked for in it, and behind it the mask of the frame before goes on."""
    masks, looked = moving(Controls(regions=(("subject", "irises"),)))
    frames, motion_estimator = list(film), MotionEstimator(TemporalSettings(anchor_distance=0))
    for number in (KEY, KEY + 1):
        frames[number] = replace(frames[number], pixels=np.ones_like(frames[number].pixels))
    for frame in frames:
        motion = motion_estimator(frame.pixels, [each.pixels for each in frames[frame.number + 1 : frame.number + 4]])
        assert bool(motion.links) == (frame.number not in (0, KEY, KEY + 1))
        layout = masks.layout(frame, motion)
        if frame.number < 2 * KEY:
            assert overlap(layout.regions[0], square(frame.number)) > 0.5
    assert looked == ["subject"] * 2  # frames 0 and 24


def test_what_is_stored_goes_on_to_the_same_masks(film, moving):
    controls = Controls(regions=(("subject", "irises"),))
    masks, looked = moving(controls)
    motion_estimator, whole, state = MotionEstimator(TemporalSettings(anchor_distance=0)), [], {}
    for frame, layout in layouts(masks, film, motion_estimator=motion_estimator):
        whole.append(layout.regions[0])
        if frame.number == 15:
            state = masks.state()
    del looked[2:]
    again, _ = moving(controls)
    again.restore(state)
    motion_estimator = MotionEstimator(TemporalSettings(anchor_distance=0))
    motion_estimator.keep(next(frame for frame in film if frame.number == 15).pixels)
    for frame, layout in layouts(again, film, 16, motion_estimator):
        assert np.array_equal(layout.regions[0], whole[frame.number])


def test_nothing_found_selects_nothing(film, moving, monkeypatch):
    from impasto.errors import InputError

    masks, _ = moving(Controls(regions=(("person", "irises"),)))

    def nobody(self, mask):
        raise InputError("no person", "look elsewhere")

    monkeypatch.setattr("impasto.engine.masks.MaskReader.read", nobody)
    _, layout = next(layouts(masks, film))
    assert layout.regions[0].max() == 0
    assert layout.rest.min() == 1


def test_which_masks_move():
    still, frame = Controls(regions=(("mask.png", "irises"),)), np.zeros((8, 9, 3), np.float32)
    assert not MovingMasks.wanted(still)
    assert MovingMasks.stilled(still, frame) == still
    moving = replace(still, preserve="mask.MP4")
    assert MovingMasks.wanted(moving)
    assert MovingMasks.stilled(moving, frame).preserve.min() == 1
    assert tracking.is_found("background")
    assert not tracking.is_clip("subject")
