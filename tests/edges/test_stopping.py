"""What is stopped by hand leaves the best picture so far, whole; a preview that cannot be written ends nothing."""

import json
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from impasto import images
from impasto.cli.console import Reporter
from impasto.contract import Progress
from impasto.errors import Cancelled

PAINTING, OTHER = "museum:436535", "museum:436528"


def stopped_after(monkeypatch, reports, *, stage=None):
    """Has a Reporter ask to stop, as Ctrl-C does, at a report; of a stage where one is named."""
    counted = iter(range(reports))
    whole = Reporter.__call__

    def call(self, report: Progress) -> None:
        if (stage is None or report.stage == stage) and next(counted, None) is None:
            raise Cancelled("stopped")
        whole(self, report)

    monkeypatch.setattr(Reporter, "__call__", call)


def size_of(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def test_a_texture_that_is_stopped_is_saved_and_made_again(outcome, monkeypatch, tmp_path):
    target = tmp_path / "tile.png"
    with monkeypatch.context() as patch:
        stopped_after(patch, 3)
        done = outcome("texture", "-s", PAINTING, "--size", "64", "--steps", "50", "--seamless", "-o", target)
    assert (done.code, done.out) == (130, f"{target}\n")
    assert "hint:  the best picture so far is saved" in done.err
    assert size_of(target) == (64, 64)
    assert images.read_record(target)["texture"] == {"size": 64, "seamless": True}
    stopped_after(monkeypatch, 3)
    again = outcome("redo", target, "-o", tmp_path / "again.png")
    assert (again.code, again.out) == (130, f"{tmp_path / 'again.png'}\n")
    assert "the best picture so far is saved" in again.err
    assert size_of(tmp_path / "again.png") == (64, 64)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_sheet_that_is_stopped_has_the_pictures_so_far(outcome, monkeypatch, picture_file, tmp_path, as_json):
    target = tmp_path / "strip.png"
    stopped_after(monkeypatch, 6)
    done = outcome(
        *("mix", picture_file(), "-s", PAINTING, "-s", OTHER, "-q", "good", "--size", "48", "-o", target),
        *(["--json"] if as_json else []),
    )
    assert done.code == 130, done.err
    assert "of 5 pictures" in done.err
    told = json.loads(done.out) if as_json else {"output": done.out.strip(), "pictures": 1}
    assert (told["output"], told["pictures"]) == (str(target), 1)
    assert size_of(target)[0] < 2 * 48  # one cell


def test_a_loop_that_is_stopped_leaves_the_sheet(outcome, monkeypatch, picture_file, tmp_path):
    from impasto.engine.engine import Engine

    mix, calls = Engine.mix, []

    def once(self, *arguments, **options):
        calls.append(1)
        for number, result in enumerate(mix(self, *arguments, **options)):
            if len(calls) > 1 and number == 1:
                raise Cancelled("stopped")
            yield result

    monkeypatch.setattr(Engine, "mix", once)
    words = ["-s", PAINTING, "-s", OTHER, "--size", "48", "-o", tmp_path / "a.png", "--video", tmp_path / "a.mp4"]
    done = outcome("mix", picture_file(), *words)
    assert (done.code, done.out) == (130, f"{tmp_path / 'a.png'}\n")
    assert "the sheet is saved, the loop is not" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "photo.png"]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("command", ["texture", "mix"])
def test_a_real_signal_leaves_a_whole_picture(picture_file, tmp_path, command):
    target = tmp_path / "out.png"
    words = {
        "texture": ["texture", "-s", PAINTING, "--size", "96", "--steps", "5000"],
        "mix": ["mix", picture_file(width=400, height=300), "-s", PAINTING, "-s", OTHER, "-q", "best", "--size", "300"],
    }[command]
    line = [sys.executable, "-m", "impasto", *map(str, words), "-o", str(target)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    for text in process.stderr:
        if text.startswith(("refining", "mixing", "painting")):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert min(size_of(target)) >= 96


@pytest.mark.parametrize("fault", ["folder gone", "full", "reader gone"])
def test_a_preview_that_cannot_be_written_is_noted_once(outcome, monkeypatch, picture_file, tmp_path, fault):
    place = tmp_path / "view"
    place.mkdir()
    write = images.write

    def fail(picture, path, **options):
        if getattr(path, "name", "") != "view.png":
            return write(picture, path, **options)
        if fault == "folder gone":
            place.rmdir() if place.exists() else None
            return write(picture, path, **options)
        raise OSError(28, "No space left on device") if fault == "full" else Cancelled("the reader closed it")

    monkeypatch.setattr(images, "write", fail)
    monkeypatch.setattr("impasto.cli.preview._SECONDS", 0)
    words = ["--steps", "4", "--preview", place / "view.png", "-o", tmp_path / "out.png"]
    done = outcome("stylize", picture_file(), "-s", PAINTING, *words)
    assert done.code == 0, done.err
    assert done.err.count("note: the preview is not kept up to date") == 1
    assert size_of(tmp_path / "out.png") == (64, 48)


def test_a_preview_of_a_film_that_cannot_be_written_is_noted_once(tmp_path, monkeypatch):
    from impasto.cli.video import _Previewer
    from tiny import noise

    notes = []

    class Noted(Reporter):
        def note(self, text):
            notes.append(text)

    monkeypatch.setattr("impasto.cli.video._PREVIEW_SECONDS", -1)
    show = _Previewer(Noted(silent=True), tmp_path / "gone" / "view.png")
    for step in range(3):
        show(Progress("painting", step, 3, preview=noise(16, 16)))
    assert len(notes) == 1
    assert "not kept up to date" in notes[0]


def test_quiet_tells_errors_alone(outcome, picture_file, tmp_path):
    photo, view = picture_file(), tmp_path / "view.png"
    words = ["stylize", photo, "-s", PAINTING, "--steps", "2", "--quiet", "--preview", view, "-o", tmp_path / "a.png"]
    assert outcome(*words)[:] == (0, f"{tmp_path / 'a.png'}\n", "")
    assert size_of(view) == (64, 48)
    mixed = outcome("mix", photo, "-s", PAINTING, "-s", OTHER, "--size", "48", "--quiet", "-o", tmp_path / "b.png")
    assert mixed[:] == (0, f"{tmp_path / 'b.png'}\n", "")
    redone = outcome("redo", tmp_path / "a.png", "--quiet", "-o", tmp_path / "c.png")
    assert redone[:] == (0, f"{tmp_path / 'c.png'}\n", "")
    assert outcome("texture", "-s", "gone.png", "--quiet").err.startswith("error: ")


def test_json_of_a_sheet_and_of_a_texture(run, picture_file, tmp_path):
    photo = picture_file()
    told = json.loads(
        run("mix", photo, "-s", PAINTING, "-s", OTHER, "--size", "48", "-o", tmp_path / "a.png", "--json"),
    )
    assert told["content"] == str(photo)
    assert told["style"] == [PAINTING, OTHER]
    assert (told["output"], told["video"], told["pictures"]) == (str(tmp_path / "a.png"), None, 5)
    assert (told["method"], told["quality"], told["width"], told["height"]) == ("adain", "draft", 48, 36)
    tile = tmp_path / "tile.png"
    made = json.loads(run("texture", "-s", PAINTING, "--size", "64", "--steps", "1", "-o", tile, "--json"))
    assert (made["style"], made["output"], made["seamless"]) == ([PAINTING], str(tile), False)
    assert (made["method"], made["width"], made["height"]) == ("optimize", 64, 64)


def test_threads_are_those_that_were_asked_for(outcome, monkeypatch, picture_file, tmp_path):
    import cv2
    import torch

    from impasto import device

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        done = outcome("stylize", picture_file(), "-s", "pack:irises", "--threads", "1", "-o", tmp_path / "a.png")
        assert done.code == 0
        assert (torch.get_num_threads(), cv2.getNumThreads(), device.cores()) == (1, 1, 1)
        for wrong in ("0", "-1", "1000000000"):
            assert "--threads is" in outcome("redo", tmp_path / "a.png", "--threads", wrong).err
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes there")
def test_a_pipe_as_preview_stays_a_pipe(tmp_path):
    pipe = tmp_path / "view.png"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        from impasto.cli.preview import PreviewFile

        PreviewFile(pipe).write(np.zeros((8, 8, 3), np.float32), print)
        assert os.read(reader, 8) == b"\x89PNG\r\n\x1a\n"
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)
