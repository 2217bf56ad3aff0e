"""Decoding in processes of its own: the same pictures, and files that cost a worker and nothing else."""

import io
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from impasto.errors import InputError
from impasto.serve.decode import DecodeProcesses, LocalDecoder, Places

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def workers():
    made = DecodeProcesses(memory=400 << 20, seconds=20)
    yield made
    made.close()


def encoded(kind, mode="RGB", **options):
    stream = io.BytesIO()
    codes = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
    Image.fromarray(codes, "RGBA").convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def png(width, height, rows, *, bits=8, color=0):
    """A PNG that says what it likes of its size."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


SIXTEEN = png(4, 2, zlib.compress(b"".join(b"\0" + bytes(range(8 * row, 8 * row + 8)) for row in range(2))), bits=16)


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        encoded("PNG", "RGBA"),
        encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", dpi=(300, 300)),
        encoded("WEBP", "RGBA"),
        encoded("TIFF"),
        encoded("GIF", "P"),
        SIXTEEN,
    ],
    ids=["png", "alpha", "jpeg", "webp", "tiff", "gif", "16 bits"],
)
def test_a_worker_gives_the_picture_that_is_read_here(workers, data):
    here, there = (one.decode(data, "photo", max_pixels=10**6) for one in (LocalDecoder(), workers))
    assert there.pixels.dtype == here.pixels.dtype
    assert np.array_equal(there.pixels, here.pixels)
    assert (there.alpha is None) == (here.alpha is None)
    assert here.alpha is None or np.array_equal(there.alpha, here.alpha)
    assert replace(there.origin, dpi=None) == replace(here.origin, dpi=None)
    assert there.notes == here.notes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "photo.png"),
        (b"no picture at all", "photo.png"),
        (encoded("PNG")[:150], "photo.png is damaged"),
        (png(60_000, 60_000, zlib.compress(bytes(1000))), "at most 100,000,000"),
        (png(9000, 9000, zlib.compress(bytes(9001 * 9000)), bits=8), "photo.png"),
    ],
    ids=["empty", "text", "cut", "size", "bomb"],
)
def test_bad_files_are_told_and_the_next_one_is_decoded(workers, data, words):
    with pytest.raises(InputError, match=words) as told:
        workers.decode(data, "photo.png", max_pixels=100_000_000)
    assert "\n" not in told.value.message
    assert told.value.hint
    assert workers.decode(encoded("PNG"), "photo.png", max_pixels=10**6).width == 32


def test_a_worker_that_crashes_or_hangs_is_replaced():
    workers = DecodeProcesses(seconds=30)
    workers.decode(encoded("PNG"), "photo.png", max_pixels=10**6)
    (worker,) = workers._places._free
    os.kill(worker._process.pid, signal.SIGSEGV)
    worker._process.wait(120)
    assert workers.decode(encoded("PNG"), "photo.png", max_pixels=10**6).width == 32
    (worker,) = workers._places._free
    workers._seconds = 0.2
    os.kill(worker._process.pid, signal.SIGSTOP)
    with pytest.raises(InputError, match=r"photo.png cannot be decoded"):
        workers.decode(encoded("PNG"), "photo.png", max_pixels=10**6)
    workers._seconds = 30
    assert workers.decode(encoded("PNG"), "photo.png", max_pixels=10**6).width == 32
    workers.close()


def test_a_worker_loads_no_torch_and_no_server():
    code = "import sys, impasto.serve.decode; print(sorted({'torch', 'fastapi', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_places_go_to_those_who_asked_first():
    places, came = Places[str](1), queue.SimpleQueue()
    places.give(places.take() or "worker")

    def ask(name):
        kept = places.take()
        came.put((name, kept))
        places.give(kept)

    mine = places.take()
    threads = []
    for name in range(4):
        threads.append(threading.Thread(target=ask, args=(name,)))
        threads[-1].start()
        while len(places._waiting) <= name:
            time.sleep(0.001)
    places.give(mine)
    assert places.take() == "worker"  # asked last, so after all four
    for thread in threads:
        thread.join()
    assert [came.get() for _ in threads] == [(name, "worker") for name in range(4)]
    places.give("worker")
    assert places.clear() == ["worker"]
    assert places.take() is None
