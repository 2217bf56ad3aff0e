"""A limit of memory bounds reading, too."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from impasto import images
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import ResourceError
from tiny import TinyStore, noise

PEAK = """
import re, resource, sys
from pathlib import Path
from impasto import images
path, room, longest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
images.read(Path(path).with_name("tiny.png"))
before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
picture = images.read(path, longest=longest, room=room)
peak = 1024 * int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(peak - before, picture.width, picture.height)
"""


def smooth(height, width, channels=3):
    pixels = noise(height, width)[0].permute(1, 2, 0).numpy()
    codes = images.quantise(np.ascontiguousarray(pixels), 8)
    if channels == 4:
        codes = np.dstack([codes, np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None], height, 0)])
    return codes


def saved(codes, kind, **settings):
    stream = io.BytesIO()
    Image.fromarray(codes).save(stream, kind, **settings)
    return stream.getvalue()


@pytest.mark.process
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("name", "settings"), [("a.jpg", {}), ("p.jpg", {"progressive": True}), ("a.png", {})])
def test_the_peak_stays_within_the_room(tmp_path, name, settings):
    """A picture of 12 megapixels, which took 230 MB as floats."""
    room = 110_000_000
    codes = np.repeat(np.repeat(smooth(300, 400), 10, 0), 10, 1)
    Image.fromarray(codes).save(tmp_path / name, **settings)
    Image.fromarray(codes[:9, :9]).save(tmp_path / "tiny.png")
    command = [sys.executable, "-c", PEAK, tmp_path / name, room, 500]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    peak, width, height = map(int, done.stdout.split())
    assert peak < 1.1 * room
    assert 500 <= width < 4000
    assert abs(width / height - 4 / 3) < 0.01


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_decoded_smaller_looks_like_the_whole_resized(kind, channels):
    if channels == 4 and kind == "JPEG":
        pytest.skip("JPEG holds no alpha")
    data = saved(smooth(480, 640, channels), kind, **({"quality": 98} if kind in ("JPEG", "WEBP") else {}))
    header, whole = images.probe(data), images.read(data)
    small = images.read(data, longest=150, room=images.reading_bytes(header, 4, compact=False))
    assert (small.width, small.height) == (160, 120)
    wanted = whole.resized(120, 160)
    seen = 1.0 if channels == 3 else wanted.alpha[..., None]
    assert np.abs((small.pixels - wanted.pixels) * seen).mean() < 0.02  # squares are a little softer than Lanczos
    if channels == 4:
        assert np.abs(small.alpha - wanted.alpha).mean() < 0.01


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_are_averaged_as_sixteen_bits(tmp_path, channels):
    codes = smooth(240, 320, channels).astype(np.uint16) * 257
    images.write(images.read(codes), tmp_path / "deep.png")
    header = images.probe(tmp_path / "deep.png")
    least = images.least_bytes(header, longest=70, compact=False)
    small = images.read(tmp_path / "deep.png", longest=70, room=least)
    assert small.origin.bits == 16
    assert small.width < 320
    wanted = images.read(tmp_path / "deep.png").resized(small.height, small.width)
    assert np.abs(small.pixels - wanted.pixels).mean() < 0.01


def test_what_fits_is_read_whole():
    data = saved(smooth(240, 320), "JPEG")
    room = images.reading_bytes(images.probe(data), compact=False)
    assert np.array_equal(images.read(data, longest=10, room=room).pixels, images.read(data).pixels)


def test_what_does_not_fit_even_so_is_refused_with_what_it_takes():
    data = saved(smooth(240, 320), "PNG")
    with pytest.raises(ResourceError, match="320x240 px: reading it takes") as caught:
        images.read(data, longest=300, room=200_000)
    assert "--max-memory" in caught.value.hint


@pytest.fixture
def engine(tmp_path, tiny_weights):
    return Engine(store=TinyStore(tmp_path, tiny_weights), device="cpu", precision="float32")


def test_every_picture_of_a_job_is_read_within_its_limit(engine, monkeypatch, tmp_path):
    """Photograph, style, mask, and picture to start from."""
    large = tmp_path / "large.jpg"
    Image.fromarray(smooth(1200, 1600)).save(large)
    limit = 60_000_000
    monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 0.0)
    rooms = []
    read = images.read

    def watched(source, **settings):
        rooms.append(settings.get("room"))
        picture = read(source, **settings)
        assert picture.pixels.nbytes < limit
        return picture

    monkeypatch.setattr("impasto.images.read", watched)
    request = Request(
        method="optimize",
        size=64,
        init=large,
        max_memory=limit,
        knobs={"steps": 1},
        controls=Controls(preserve=large),
    )
    result = engine.stylize(large, large, request)
    assert (result.picture.width, result.picture.height) == (64, 48)
    assert len(rooms) >= 4
    assert all(room is not None and room <= limit for room in rooms)
