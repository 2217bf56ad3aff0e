"""Seeing a picture grow, and going on after a kill, as a person does: real weights, small sizes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from impasto.cli.console import Reporter
from impasto.errors import Cancelled

PAINTING, OTHER = "museum:436535", "museum:436528"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def start(*arguments):
    """A command in a process of its own, on one thread, so that sums round as in the run that it is compared to."""
    command = [sys.executable, "-m", "impasto", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(*arguments):
    process = start(*arguments)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return err


def wait_for(condition, process):
    for _ in range(1000):
        if condition():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("it took too long")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_killed_and_resumed_it_is_the_picture_of_an_unbroken_run(picture_file, tmp_path):
    photo, whole, target = picture_file("photo.png", 96, 64), tmp_path / "whole.png", tmp_path / "out.png"
    settings = ["--style", PAINTING, "--steps", "16", "--coarsest", "32"]
    finish("stylize", photo, *settings, "-o", whole)
    process = start("stylize", photo, *settings, "--save-every", "1", "-o", target)
    folder = tmp_path / "out-steps"
    wait_for((folder / "step-00030.png").exists, process)  # the second level of two
    process.kill()
    process.communicate()
    assert (folder / "state.safetensors").exists()
    assert not target.exists()
    first = min(path.stat().st_mtime_ns for path in folder.glob("step-0000*.png"))
    err = finish("stylize", photo, *settings, "--save-every", "1", "--resume", "-o", target)
    assert "Traceback" not in err
    assert np.abs(pixels(target) - pixels(whole)).max() <= 1
    assert first == min(path.stat().st_mtime_ns for path in folder.glob("step-0000*.png"))  # those were not made again
    assert not (folder / "state.safetensors").exists()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_stopped_by_hand_it_saves_its_best_and_can_go_on(picture_file, tmp_path):
    photo, target = picture_file("photo.png", 96, 64), tmp_path / "out.png"
    settings = ["--style", PAINTING, "--steps", "20", "--save-every", "100", "--plot", tmp_path / "losses.png"]
    process = start("stylize", photo, *settings, "-o", target)
    wait_for((tmp_path / "out-steps" / "step-00000.png").exists, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "--resume goes on from it" in err
    assert pixels(target).shape == (64, 96, 3)
    err = finish("stylize", photo, *settings, "--resume", "-o", target)
    assert "to go on from: beginning" not in err
    assert (tmp_path / "losses.png").stat().st_size > 1000


def test_stopped_before_its_first_step_it_saves_the_beginning(run, picture_file, tmp_path, monkeypatch):
    shown = Reporter.__call__

    def stop(reporter, report):
        if report.stage.startswith("refining"):
            raise Cancelled("stopped")
        shown(reporter, report)

    monkeypatch.setattr(Reporter, "__call__", stop)
    photo, target = picture_file("photo.png", 96, 64), tmp_path / "out.png"
    run("stylize", photo, "--style", PAINTING, "--plot", tmp_path / "losses.png", "-o", target, code=130)
    assert pixels(target).shape == (64, 96, 3)
    assert not (tmp_path / "losses.png").exists()


def test_plot_time_lapse_and_preview(run, picture_file, tmp_path):
    files = [tmp_path / name for name in ("losses.svg", "way.webp", "now.png")]
    out = run(
        *("stylize", picture_file(), "--style", PAINTING, "--steps", "4", "-o", tmp_path / "out.png"),
        *("--plot", files[0], "--time-lapse", files[1], "--preview", files[2]),
    )
    assert out.split() == [str(tmp_path / "out.png"), str(files[0]), str(files[1])]
    assert "total" in files[0].read_text()
    with Image.open(files[1]) as moving:
        assert moving.size == (64, 48)
        assert moving.is_animated
    assert np.abs(pixels(files[2]) - pixels(tmp_path / "out.png")).max() <= 1
    assert len(list((tmp_path / "out-steps").glob("step-*.png"))) == 3  # 0, 2 and 4


def test_each_picture_of_a_batch_has_its_own_folder(run, picture_file, tmp_path):
    photos = [picture_file("a.png"), picture_file("b.png", seed=1)]
    out = tmp_path / "out"
    run("stylize", *photos, "--style", PAINTING, "--steps", "2", "--save-every", "2", "-o", f"{out}/")
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"a-steps", "b-steps"}


def test_the_kept_pictures_do_not_tell_where_the_photograph_was_taken(run, tmp_path):
    exif = Image.Exif()
    exif[0x0110] = "Camera of mine"
    Image.new("RGB", (64, 48), "green").save(tmp_path / "photo.jpg", exif=exif)
    run("stylize", tmp_path / "photo.jpg", "--style", PAINTING, "--steps", "1", "--save-every", "1")
    for frame in (tmp_path / "photo-steps").glob("*.png"):
        assert b"Camera of mine" not in frame.read_bytes()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_preview_in_the_terminal(picture_file, tmp_path):
    shown = bytearray()
    environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "110", "LINES": "60"}
    words = ["stylize", picture_file(), "--style", PAINTING, "--steps", "3", "-o", tmp_path / "out.png"]
    command = [sys.executable, "-m", "impasto", *map(str, words), "--preview", "terminal"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stderr=follower, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    os.close(follower)
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # how Linux tells that the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait(timeout=600) == 0
    text = shown.decode()
    assert text.count("\u2580") > 72 * 20
    assert re.search(r"100 %.*content \d\.\d+ style \d\.\d+ tv", text)


def left_behind(run, picture_file, tmp_path):
    """A state that was left by a run that was killed."""
    photo = picture_file()
    process = start(
        "stylize", photo, "--style", PAINTING, "--steps", "500", "--save-every", "1", "-o", tmp_path / "o.png"
    )
    wait_for((tmp_path / "o-steps" / "state.safetensors").exists, process)
    process.kill()
    process.communicate()
    return photo


@pytest.mark.process
def test_a_snapshot_of_another_job_is_refused(run, refused, picture_file, tmp_path):
    photo = left_behind(run, picture_file, tmp_path)
    common = ["stylize", photo, "--resume", "-o", tmp_path / "o.png"]
    assert "steps 500, not 400" in refused(*common, "--style", PAINTING, "--steps", "400")
    assert "style" in refused(*common, "--style", OTHER, "--steps", "500")
    (tmp_path / "o-steps" / "state.safetensors").write_bytes(b"nothing")
    assert "cannot be read" in refused(*common, "--style", PAINTING, "--steps", "500")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--save-every", "0"], "--save-every is 0"),
        (["--steps", "0"], "--steps is 0"),
        (["--style-layers", "relu9_1"], "relu5_1"),
        (["--plot", "losses.txt"], ".png, .svg, .pdf"),
        (["--plot", "nowhere/losses.png"], "nowhere"),
        (["--time-lapse", "way.txt"], ".webp"),
        (["--time-lapse", "way.png"], ".webp"),
        (["--preview", "now.xyz"], "xyz"),
        (["--quality", "draft", "--plot", "losses.png"], "no losses"),
        (["--quality", "draft", "--save-every", "5"], "no snapshots"),
    ],
)
def test_senseless_wishes(refused, picture_file, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused("stylize", picture_file(), "--style", PAINTING, *flags, "-o", tmp_path / "out.png")


@pytest.mark.parametrize("flags", [["--plot", "losses.png"], ["--time-lapse", "way.webp"]])
def test_one_file_for_several_pictures(refused, picture_file, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    photos = [picture_file("a.png"), picture_file("b.png")]
    assert "one by one" in refused("stylize", *photos, "--style", PAINTING, *flags, "-o", f"{tmp_path}/")


@pytest.mark.parametrize(
    ("flag", "module", "extra"), [("--plot=l.png", "matplotlib", "plot"), ("--time-lapse=w.mp4", "av", "video")]
)
def test_a_missing_extra(refused, picture_file, tmp_path, monkeypatch, flag, module, extra):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    err = refused("stylize", picture_file(), "--style", PAINTING, flag, code=3)
    assert f'pip install "impasto[{extra}]"' in err


def test_json_stays_one_object(run, picture_file, tmp_path):
    out = run(
        *("stylize", picture_file(), "--style", PAINTING, "--steps", "2", "--json", "--plot", tmp_path / "l.png"),
        *("-o", tmp_path / "out.png"),
    )
    assert json.loads(out)["steps"] == 2
