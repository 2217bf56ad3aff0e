"""Several passes over a film, with a painter that only notes what it is asked for."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from impasto.errors import Cancelled
from impasto.video.film import paint_video
from impasto.video.settings import Film
from impasto.video.stabilizer import TEMPORAL_PRESETS, MotionEstimator, TemporalSettings, WarpedPainting, blend_warped
from impasto.videos import VideoReader, VideoWriter
from tiny import noise

CUT, COUNT = 4, 10


@pytest.fixture
def clip(tmp_path):
    """Ten frames; from the fifth on another scene."""
    rng = np.random.default_rng(0)
    scenes = [0.7 * noise(48, 96, seed=seed)[0].permute(1, 2, 0).numpy() for seed in (0, 1)]
    scenes = [scene + 0.3 * rng.random(scene.shape, np.float32) for scene in scenes]
    with VideoWriter(tmp_path / "clip.mkv", rate=25) as writer:
        for index in range(COUNT):
            writer.write(np.ascontiguousarray(scenes[index >= CUT][:, index : index + 64]))
    return tmp_path / "clip.mkv"


class Painter:
    """Paints negatives, a little off in each pass, and remembers for which frames and from what."""

    takes_anchors = True
    is_quick = False
    run = SimpleNamespace(sources=(None,))

    def __init__(self, clip):
        self.asked = []
        self._frames = [frame.pixels for frame in VideoReader(clip)]

    def predicted_seconds(self, passes=1):
        return 0.1 * passes

    def record(self):
        return {"method": "stub", "precision": "float32", "regions": []}

    def paint(self, pixels, *, warped=(), again=None, **_):
        number = min(range(COUNT), key=lambda index: np.abs(self._frames[index] - pixels).mean())
        self.asked.append((number, again is not None, len(warped)))
        start = 1 - pixels if again is None else again
        for each in warped:
            start = start + 0.3 * each.reliability[..., None] * (each.painting - start)
        return np.asarray(start, np.float32)


def film(clip, out, painter, *, temporal="best", **more):
    with patch("impasto.video.film.FramePainter.of", lambda *_, **__: painter):
        return paint_video(None, clip, "a style", out, film=Film(temporal=temporal, codec="ffv1", segment=6), **more)


def frames(path):
    return [frame.pixels for frame in VideoReader(path)]


def test_a_piece_is_painted_forth_and_back_and_forth_and_ends_at_cuts_and_segments(clip, tmp_path):
    painter = Painter(clip)
    film(clip, tmp_path / "out.mkv", painter)
    passes = []
    for first, last in ((0, 4), (4, 6), (6, 10)):
        forth = range(first, last)
        passes += [(number, False) for number in forth]
        passes += [(number, True) for number in reversed(forth[:-1])]
        passes += [(number, True) for number in forth]
    assert [asked[:2] for asked in painter.asked] == passes
    starts = [(number, warped) for number, _, warped in painter.asked if number in (0, CUT, 6)]
    assert {count for number, count in starts[:3] if number == 0} == {0, 1}  # alone, then from the frame after it
    assert starts[-1] == (6, 1)  # a piece goes on from the last painting of the one before


def test_fast_passes_once(clip, tmp_path):
    painter = Painter(clip)
    film(clip, tmp_path / "out.mkv", painter, temporal="fast")
    assert [asked[:2] for asked in painter.asked] == [(number, False) for number in range(COUNT)]
    assert (TEMPORAL_PRESETS["fast"].passes, TEMPORAL_PRESETS["best"].passes) == (1, 3)


def test_a_job_in_passes_goes_on_to_the_same_frames(clip, tmp_path):
    film(clip, tmp_path / "whole.mkv", Painter(clip))

    def stop(progress):
        if progress.stage == "painting" and progress.step == 7:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        film(clip, tmp_path / "out.mkv", Painter(clip), on_progress=stop)
    painter = Painter(clip)
    film(clip, tmp_path / "out.mkv", painter, resume=True)
    assert min(number for number, _, _ in painter.asked) == 6
    for one, other in zip(frames(tmp_path / "out.mkv"), frames(tmp_path / "whole.mkv"), strict=True):
        assert np.array_equal(one, other)


def test_a_frame_is_linked_to_the_one_after_it(clip):
    now, following = [frame.pixels for frame in VideoReader(clip)][:2]
    link = MotionEstimator().back(now, following)
    assert np.median(link.back[8:-8, 8:-8], axis=(0, 1)) == pytest.approx([-1, 0], abs=0.2)
    assert np.median(link.reliability) > 0.8
    assert link.reliability[:, 0].max() < 0.6  # what leaves the frame is not in the next


def test_a_blend_takes_what_can_be_trusted_and_stays_sharp(clip):
    import cv2

    own = next(iter(VideoReader(clip))).pixels
    other = cv2.GaussianBlur(own[:, ::-1], (0, 0), 1.0)
    reliability = np.zeros(own.shape[:2], np.float32)
    assert blend_warped(own, (WarpedPainting(other, reliability),), 0.5) == pytest.approx(own, abs=1e-5)
    reliability[:, :32] = 1
    mixed = blend_warped(own, (WarpedPainting(other, reliability),), 0.5)
    assert mixed[:, 40:] == pytest.approx(own[:, 40:], abs=0.2)
    plain = own[:, :24] + 0.5 * (other[:, :24] - own[:, :24])
    assert np.abs(mixed[:, :24] - plain).mean() < np.abs(mixed[:, :24] - own[:, :24]).mean()
    assert (
        cv2.Laplacian(mixed, cv2.CV_32F).std()
        > 1.1 * cv2.Laplacian(own + 0.5 * reliability[..., None] * (other - own), cv2.CV_32F).std()
    )
    assert blend_warped(own, (), 0.5) is own
    assert TemporalSettings().passes == 1
