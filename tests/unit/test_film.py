"""The benchmark of films, with a painter and a judge that are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from impasto.bench import film
from impasto.videos import VideoReader, VideoWriter, probe_video
from tiny import noise


@pytest.fixture
def clip(tmp_path):
    wide = noise(48, 120)[0].permute(1, 2, 0).numpy()
    with VideoWriter(tmp_path / "clip.mp4", rate=25) as writer:
        for index in range(14):
            writer.write(np.ascontiguousarray(wide[:, index : index + 64]))
    return tmp_path / "clip.mp4"


RECORD = {"method": "adain", "precision": "bfloat16"}


def paint(source: Path, out: Path, how: str):
    """Steady in one way, restless in the other."""
    rng = np.random.default_rng(0)
    frames = [frame.pixels for frame in VideoReader(source)]
    with VideoWriter(out, rate=25) as writer:
        for pixels in frames:
            writer.write(pixels if how == "fast" else np.clip(pixels + 0.1 * rng.standard_normal(pixels.shape), 0, 1))
    return SimpleNamespace(
        frames=len(frames), width=64, height=48, rate=10.0, busy={"paint": 3.0, "encode": 1.0}, cuts=(), record=RECORD
    )


class Judge:
    """Knows two numbers."""

    def lpips(self, backbone):
        return lambda one, other: (one - other).abs().mean()

    def measure(self, content, style, pastiche, names):
        return dict.fromkeys(names, float(pastiche.std()))


def test_rows_tell_shares_of_the_first(clip):
    rows = film.steadiness(clip, np.zeros((8, 8, 3), np.float32), paint, judge=Judge(), temporal=("off", "fast"))
    off, fast = rows
    assert (fast["frames"], fast["size"], fast["fps"]) == (14, "64x48", 10.0)
    assert fast["paint_share"] == 0.75
    assert (fast["method"], fast["precision"]) == ("adain", "bfloat16")
    for name in ("warping_error_1", "warping_error_10", "lpips_1", "lpips_10"):
        assert fast[name] < 0.7 * off[name]
        assert fast[f"{name}_ratio"] == pytest.approx(fast[name] / off[name])


def test_rows_of_speed_are_coded_as_users_get_them(clip):
    outs = []

    def watched(source, out, how):
        outs.append((out.suffix, how))
        return paint(source, out, how)

    off, fast = film.speed(clip, watched)
    assert outs == [(".mp4", "off"), (".mp4", "off"), (".mp4", "fast")]
    assert (off["temporal"], fast["temporal"], fast["frames"], fast["fps"]) == ("off", "fast", 14, 10.0)
    assert (fast["paint_share"], fast["encode_share"]) == (0.75, 0.25)
    assert fast["cpu_ms"] > 0


def test_a_clip_is_repeated_for_the_rows_of_memory(clip, tmp_path):
    film.repeat(clip, tmp_path / "long.mp4", 30)
    frames = list(VideoReader(tmp_path / "long.mp4"))
    assert len(frames) == 42
    assert np.array_equal(frames[0].pixels, frames[14].pixels)
    unit = probe_video(tmp_path / "long.mp4").time_base
    assert [round(frame.stamp * unit * 25) for frame in frames] == list(range(42))
    rows = film.memory(clip, paint, counts=(14, 28))
    assert [row["frames"] for row in rows] == [14, 28]
    assert all(row["resident_mb"] > 10 for row in rows)
