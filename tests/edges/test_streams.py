"""Closed and full standard streams, terminals that lack letters, names that no system takes, and an early Ctrl-C."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from impasto.models import networks
from tiny import tiny_network

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="shells and signals of POSIX"),
]

LONG = "x" * 300 + ".png"


@pytest.fixture
def folder(tmp_path):
    networks.Trained(tiny_network()).save(tmp_path / "net.safetensors")
    for name in ("one.png", "two.png"):
        Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(tmp_path / name)
    return tmp_path


def shell(folder, words, **environment):
    line = f"{shlex.quote(sys.executable)} -m impasto {words}"
    own = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", line], capture_output=True, check=False, cwd=folder, env=own)


def told(done):
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in text
    assert "bug in impasto" not in text
    assert "Exception ignored" not in text
    return done.stderr.decode(errors="replace")


COMMANDS = [
    "--version",
    "--help",
    "",
    "methods",
    "methods --json",
    "bench --help",
    "stylize one.png -s net.safetensors:s3",
]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_a_closed_stream_ends_nothing(folder, words, streams):
    done = shell(folder, f"{words} {streams}")
    told(done)
    assert done.returncode == 0
    assert not words.startswith("stylize") or list(folder.glob("one-*.png"))


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_standard_output_is_told(folder, words):
    done = shell(folder, f"{words} > /dev/full")
    assert "standard output cannot be written: No space left on device" in told(done)
    assert done.returncode == 5


@pytest.mark.parametrize(("streams", "code"), [(">&-", 2), ("> /dev/full", 5)])
def test_a_picture_for_a_lost_standard_output_is_told(folder, streams, code):
    done = shell(folder, f"stylize one.png -s net.safetensors:s3 -o - {streams}")
    assert "standard output" in told(done)
    assert done.returncode == code


def test_errors_are_two_lines_where_standard_output_is_closed(folder):
    assert re.match("error: .*\nhint: ", told(shell(folder, "stylize nowhere.png -s net.safetensors:s3 >&-")))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_terminal_lacks_ends_no_batch(folder, encoding):
    (folder / "in").mkdir()
    for name in ("a.png", "ü日.png", "z.png"):
        (folder / "in" / name).write_bytes((folder / "one.png").read_bytes())
    done = shell(folder, "stylize in -s net.safetensors:s3 -o out", PYTHONIOENCODING=encoding)
    told(done)
    assert done.returncode == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a-s3.png", "z-s3.png", "ü日-s3.png"]
    assert len(done.stdout.splitlines()) == 3


def looped(folder):
    (folder / "loop.png").symlink_to("loop.png")
    return "loop.png"


@pytest.mark.parametrize("name", [lambda _: LONG, looped, lambda _: "a" * 5000, lambda _: "sub/" * 2000 + "a.png"])
def test_a_name_that_the_system_does_not_take_ends_no_batch(folder, name):
    done = shell(folder, f"stylize one.png {name(folder)} two.png -s net.safetensors:s3 -o out")
    err = told(done)
    assert done.returncode == 6
    assert "1 of 3 pictures failed" in err
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["one-s3.png", "two-s3.png"]


@pytest.mark.parametrize("option", ["-o", "--preview"])
@pytest.mark.parametrize("name", [lambda _: LONG, looped])
def test_such_an_output_is_refused(folder, name, option):
    done = shell(folder, f"stylize one.png -s net.safetensors:s3 {option} {name(folder)}")
    assert re.fullmatch("error: .*\nhint: .*\n", told(done))
    assert done.returncode == 2


@pytest.mark.parametrize("option", ["-s", "--preserve", "--strength-map", "--init"])
def test_such_an_input_is_refused(folder, option):
    done = shell(folder, f"stylize one.png -s net.safetensors:s3 {option} {LONG}")
    assert re.fullmatch("error: .*\nhint: .*\n", told(done))
    assert done.returncode == 2


def test_a_result_of_the_longest_name_is_cut_to_what_the_system_takes(folder):
    photo = folder / ("日" * 83 + ".png")
    photo.write_bytes((folder / "one.png").read_bytes())
    done = shell(folder, f"stylize {photo.name} -s net.safetensors:s3")
    assert done.returncode == 0, told(done)
    [made] = folder.glob("*-s3.png")
    assert made.name.startswith("日日日")


def test_all_failed_needs_no_word_of_others(folder):
    err = told(shell(folder, "stylize nowhere.png lost.png -s net.safetensors:s3 -o out"))
    assert "2 of 2 pictures failed" in err
    assert "others" not in err


@pytest.mark.parametrize("module", ["impasto.cli.app", "typer", "impasto.cli.front", "numpy", "PIL", "rich.progress"])
def test_ctrl_c_while_modules_load_is_two_words(folder, module):
    """The signal comes when `module` is about to be imported."""
    script = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background may have been started to ignore it
usual, wanted = builtins.__import__, [os.environ["STOP_AT"]]
def stopping(name, *rest, **more):
    if [name] == wanted:
        wanted.clear()
        os.kill(os.getpid(), signal.SIGINT)
    return usual(name, *rest, **more)
from impasto.__main__ import main
builtins.__import__ = stopping
main()
"""
    words = ["stylize", "one.png", "-s", "net.safetensors:s3"]
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder, env={**os.environ, "STOP_AT": module})
    err = told(done)
    assert done.returncode == 130, err
    assert err.strip().splitlines()[0] == "error: stopped"
    assert not list(folder.glob("one-*"))
