"""Pictures from pipes: read once, waited for two seconds, bounded."""

import os
import sys
import threading
from contextlib import suppress

import pytest

from impasto import images
from impasto.assets.library import means_file
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.images import _pipes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")


def write(path, data):
    with suppress(BrokenPipeError):  # the reader has had enough
        path.write_bytes(data)


@pytest.fixture
def pipe(tmp_path):
    """Makes a named pipe into which a thread writes bytes, and gives its path."""
    threads = []

    def make(data, name="pipe"):
        path = tmp_path / name
        os.mkfifo(path)
        threads.append(threading.Thread(target=write, args=(path, data), daemon=True))
        threads[-1].start()
        return path

    yield make
    for thread in threads:
        thread.join(10)


def test_a_pipe_is_read_once_and_probed_and_read(pipe, picture_file):
    data = picture_file().read_bytes()
    held = images.buffered(pipe(data))
    assert (images.probe(held).width, images.read(held).width, images.read(held).height) == (64, 64, 48)
    assert images.buffered("photo.png") == "photo.png"
    assert images.read(pipe(data, "other")).width == 64


def test_photographs_styles_and_masks_come_from_pipes(engine, pipe, picture_file):
    photo, style, mask = (picture_file(f"{seed}.png", seed=seed) for seed in range(3))
    request = Request(quality="draft", controls=Controls(preserve=mask))
    whole = engine.stylize(photo, style, request)
    piped = engine.stylize(
        pipe(photo.read_bytes(), "photo"),
        str(pipe(style.read_bytes(), "style")),
        Request(quality="draft", controls=Controls(preserve=pipe(mask.read_bytes(), "mask"))),
    )
    assert (whole.picture.pixels == piped.picture.pixels).all()


def test_a_pipe_into_which_nothing_writes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_pipes, "_PATIENCE", 0.05)
    os.mkfifo(tmp_path / "pipe.png")
    for read in (images.read, images.probe, images.buffered):
        with pytest.raises(InputError, match="nothing writes into the pipe"):
            read(tmp_path / "pipe.png")


def test_a_pipe_that_never_ends_is_bounded(pipe, monkeypatch):
    monkeypatch.setattr(_pipes, "MOST_BYTES", 100_000)
    with pytest.raises(InputError, match="gives more than"):
        images.read(pipe(bytes(1_000_000)))


def test_a_pipe_is_a_file_among_styles(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert means_file(str(tmp_path / "pipe"))
