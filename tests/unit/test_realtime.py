"""Frames as they come: shrunk, painted, steadied, enlarged by their own detail; from 8 bits to 8 bits."""

import cv2
import numpy as np
import pytest

from impasto import images
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.models import networks
from impasto.runtimes.sessions import NetworkGraph, installed
from impasto.video.frames import FramePainter
from impasto.video.realtime import PARTS, RealtimePainter, Wish, enlarged, shrunk
from tiny import noise, tiny_network


def film(count=5, height=90, width=160):
    wide = cv2.GaussianBlur(noise(height, width + 3 * count)[0].permute(1, 2, 0).numpy(), (0, 0), 1.2)
    codes = images.quantise(wide, 8)
    return [np.ascontiguousarray(codes[:, 3 * at : 3 * at + width]) for at in range(count)]


class Negative:
    def paint_codes(self, codes, *, strength=None, shares=None):
        return 255 - codes


class Broken:
    def paint_codes(self, codes, *, strength=None, shares=None):
        raise ValueError("broken")


def test_frames_are_shrunk_to_even_sides_and_never_enlarged():
    frame = film(1)[0]
    assert shrunk(frame, 100).shape == (56, 100, 3)
    assert shrunk(frame, None) is shrunk(frame, 160) is shrunk(frame, 999) is frame


def test_what_was_painted_small_gets_the_fine_detail_of_its_frame():
    frame = images.quantise(noise(90, 160)[0].permute(1, 2, 0).numpy(), 8)
    small = shrunk(frame, 80)
    plain = cv2.resize(small, (160, 90), interpolation=cv2.INTER_CUBIC)
    guided = enlarged(small, small, frame)  # as if the painting were the photograph

    def error(picture):
        return np.abs(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) - cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))

    assert error(guided).mean() < 0.4 * error(plain).mean()


def test_flat_paint_stays_flat():
    frame = film(1)[0]
    small = shrunk(frame, 80)
    flat = np.full_like(small, 90)
    np.testing.assert_array_equal(enlarged(flat, small, frame), np.full_like(frame, 90))


@pytest.mark.parametrize("inner_size", [None, 80])
@pytest.mark.parametrize("steady", [False, True])
def test_side_by_side_is_the_same_as_one_after_the_other(inner_size, steady):
    frames = film()
    one, two = (RealtimePainter(Negative(), inner_size, steady) for _ in range(2))
    apart = [one.both((frame, Wish()))[1] for frame in frames]
    joined = list(two.stream((frame, Wish()) for frame in frames))
    assert [painted.frame is frame for (painted, _), frame in zip(joined, frames, strict=True)] == [True] * 5
    for left, (_, right) in zip(apart, joined, strict=True):
        assert right.shape == frames[0].shape
        np.testing.assert_array_equal(left, right)
    assert two.spent.keys() == {*PARTS} - (set() if steady else {"motion", "blending"}) - (
        set() if inner_size else {"enlarging"}
    )


def test_steadied_frames_follow_the_film():
    frames = film(8)
    own = RealtimePainter(Negative(), None, True)
    *_, last = (own.both((frame, Wish()))[1] for frame in frames)
    assert np.abs(last.astype(float) - (255 - frames[-1].astype(float))).mean() < 8


def test_another_style_starts_anew_and_strength_0_is_not_steadied():
    frames = film(3)
    own = RealtimePainter(Negative(), None, True)
    own.both((frames[0], Wish(shares=(1.0, 0.0))))
    fresh = own.both((frames[1], Wish(shares=(0.0, 1.0))))[1]
    np.testing.assert_array_equal(fresh, 255 - frames[1])
    np.testing.assert_array_equal(own.both((frames[2], Wish(0.0, (0.0, 1.0))))[1], 255 - frames[2])


class Counting(Negative):
    count = 0

    def paint_codes(self, codes, **wish):
        self.count += 1
        return super().paint_codes(codes, **wish)


@pytest.mark.parametrize("steady", [False, True])
def test_what_stands_still_is_not_painted_again(steady):
    painter, frame = Counting(), film(1)[0]
    own = RealtimePainter(painter, None, steady)
    noisy = [
        np.clip(frame + np.random.default_rng(at).normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for at in range(4)
    ]
    shown = [own.both((each, Wish()))[1] for each in noisy]
    assert painter.count == 1
    for each in shown[1:]:
        np.testing.assert_array_equal(each, shown[0])
    changed = frame.copy()
    changed[20:40, 30:50] = 255 - changed[20:40, 30:50]
    own.both((changed, Wish()))
    own.both((changed, Wish(0.5)))
    assert painter.count == 3


def test_slow_changes_are_painted_in_the_end():
    painter, frame = Counting(), np.full((48, 64, 3), 60, np.uint8)
    own = RealtimePainter(painter, None, False)
    for step in range(10):
        own.both((frame + np.uint8(step), Wish()))
    assert painter.count == 4


def test_what_goes_wrong_while_painting_is_told():
    with pytest.raises(ValueError, match="broken"):
        list(RealtimePainter(Broken()).stream((frame, Wish()) for frame in film(2)))


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network()).save(path)
    return path


@pytest.mark.parametrize("runtime", installed())
@pytest.mark.parametrize("sides", [(40, 64), (21, 35)])
def test_a_frame_of_8_bits_is_painted_as_one_of_floats(network, runtime, sides):
    graph = NetworkGraph.read(network)
    session, code = graph.open(runtime), graph.codes["s3"][None]
    frame = images.quantise(noise(*sides)[0].permute(1, 2, 0).numpy(), 8)
    image = np.ascontiguousarray(frame.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
    wanted = 255 * session.run(image, code)[0].transpose(1, 2, 0)
    painted = session.run_frame(frame, code)
    assert painted.dtype == np.uint8
    assert np.abs(painted - wanted).max() < 0.51


@pytest.mark.parametrize("runtime", ["torch", *installed()])
def test_a_painter_of_frames_takes_8_bits(network, runtime):
    frame = images.quantise(noise(48, 64)[0].permute(1, 2, 0).numpy(), 8)
    engine = Engine(precision="float32", runtime=runtime)
    painter = FramePainter.of(engine, [f"{network}:s3", f"{network}:s4"], None, images.as_float(frame))
    assert painter.takes_codes
    for wish in (
        {},
        {"strength": 0.4},
        {"strength": 0.0},
        {"shares": (0.0, 1.0)},
        {"strength": 1, "shares": (0.3, 0.7)},
    ):
        wanted = 255 * painter.paint(images.as_float(frame), **wish)
        assert np.abs(painter.paint_codes(frame, **wish) - wanted).max() < 1.01


def test_what_is_not_plain_takes_the_way_by_floats(network):
    frame = images.quantise(noise(48, 64)[0].permute(1, 2, 0).numpy(), 8)
    from impasto.engine.controls import Controls

    request = Request(controls=Controls(keep_color="luminance"))
    painter = FramePainter.of(Engine(precision="float32"), f"{network}:s3", request, images.as_float(frame))
    assert not painter.takes_codes
    wanted = 255 * painter.paint(images.as_float(frame))
    assert np.abs(painter.paint_codes(frame) - wanted).max() < 0.51
