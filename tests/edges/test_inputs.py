"""Folders, pipes and empty words as a shell gives them."""

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from impasto.models import networks
from impasto.videos import VideoWriter
from tiny import tiny_network

posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
NET = ("-s", "net.safetensors:s3")


def picture(path, color=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    (image if color is None else Image.new("RGB", (64, 48), color)).save(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    networks.Trained(tiny_network()).save(tmp_path / "net.safetensors")
    for name in ("c.png", "s.png", "in/a.png", "in/b.jpg", "in/deep/c.png", "in/deep/er/d.png"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder, below="out"):
    return sorted(str(path.relative_to(folder / below)) for path in (folder / below).rglob("*.png"))


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_second_run_leaves_its_own_results_out_and_says_so(folder, outcome):
    assert outcome("stylize", "in", *NET).code == 0
    second = outcome("stylize", "in", *NET)
    assert second.code == 0
    assert "note: passed over in in: 2 earlier results" in second.err
    assert [line for line in second.out.splitlines() if "s3-s3" in line] == []
    assert len(second.out.splitlines()) == 2


def test_a_result_that_is_named_is_painted(folder, run):
    first = run("stylize", "c.png", *NET).strip()
    assert run("stylize", first, *NET).strip().endswith("c-s3-s3.png")


def test_what_is_no_picture_to_paint_is_passed_over_in_one_line(folder, outcome):
    picture(folder / "in" / ".hidden.png")
    (folder / "in" / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (folder / "in" / "notes.txt").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "in" / "pipe.png")
    done = outcome("stylize", "in", *NET, "-o", "out")
    assert done.code == 0
    pipes = ", 1 pipe" if hasattr(os, "mkfifo") else ""
    [line] = [line for line in done.err.splitlines() if line.startswith("note: passed over")]
    assert line == f"note: passed over in in: 2 hidden files{pipes}, 1 other file"
    assert made(folder) == ["a-s3.png", "b-s3.png"]


def test_quiet_passes_over_without_a_word(folder, outcome):
    (folder / "in" / "notes.txt").touch()
    assert outcome("stylize", "in", *NET, "--quiet").err == ""


def test_recursive_keeps_the_tree(folder, run):
    run("stylize", "in", *NET, "-o", "out", "--recursive")
    assert made(folder) == ["a-s3.png", "b-s3.png", "deep/c-s3.png", "deep/er/d-s3.png"]


def test_recursive_beside_the_photographs(folder, run):
    run("stylize", "in", *NET, "-r")
    assert (folder / "in/deep/er/d-s3.png").exists()


def test_without_it_deeper_folders_are_left_alone(folder, run):
    run("stylize", "in", *NET, "-o", "out")
    assert made(folder) == ["a-s3.png", "b-s3.png"]


def test_a_folder_of_results_alone_is_told(folder, run, refused):
    run("stylize", "c.png", *NET, "-o", "only.png")
    (folder / "results").mkdir()
    (folder / "only.png").rename(folder / "results" / "only.png")
    assert "holds no pictures but 1 earlier result" in refused("stylize", "results", *NET)


EMPTY = [
    ("stylize", "", *NET),
    ("stylize", "c.png", "-s", ""),
    ("stylize", "c.png", "--style="),
    ("stylize", "c.png", *NET, "-o", ""),
    ("stylize", "c.png", *NET, "--preview", " "),
    ("mix", "", "-s", "s.png", "-s", "c.png"),
    ("texture", "-s", ""),
    ("video", "", *NET),
    ("redo", ""),
    ("styles", ""),
    ("measure", "", "", ""),
    ("compare", "", "-s", "s.png"),
    ("train", "--content", "", "-s", "s.png", "-o", "n.safetensors"),
    ("assets", "fetch", ""),
]


@pytest.mark.parametrize("words", EMPTY, ids=repr)
def test_an_empty_word_is_refused_everywhere(folder, refused, words):
    assert "empty" in refused(*words)


# --- pipes -----------------------------------------------------------------------------------------------------------


def shell(folder, line, **more):
    line = line.replace("impasto", f"{shlex.quote(sys.executable)} -m impasto")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder, **more)


PIPED = [
    "impasto stylize <(cat c.png) -s net.safetensors:s3 -o o.png",
    "impasto stylize <(cat c.png) c.png -s net.safetensors:s3 -o out",
    "impasto stylize c.png -s <(cat s.png) -q draft --size 32 -o o.png",
    "impasto stylize c.png in -s <(cat s.png) -q draft --size 32 -o out",
    "cat s.png | impasto stylize c.png -s - -q draft --size 32 -o o.png",
    "impasto stylize c.png -s - -q draft --size 32 -o o.png < s.png",
    "cat s.png | impasto stylize c.png --preserve - -s net.safetensors:s3 -o o.png",
    "cat s.png | impasto stylize c.png --strength-map - -s net.safetensors:s3 -o o.png",
    "impasto stylize c.png in --preserve <(cat s.png) -s net.safetensors:s3 -o out",
    "cat s.png | impasto stylize c.png --region -=s.png -q draft --size 32 -o o.png",
    "cat s.png | impasto stylize c.png -s s.png --init - --steps 1 --size 32 -o o.png",
    "cat s.png | impasto mix <(cat c.png) -s - -s c.png --size 32 -o o.png",
    "cat s.png | impasto texture -s - --size 64 --steps 1 -o o.png",
    "cat c.png | impasto stylize - -s net.safetensors:s3 -o o.png",
    "impasto video clip.mp4 -s <(cat s.png) --preserve <(cat c.png) -o o.mp4",
    "cat s.png | impasto video clip.mp4 -s - -o o.mp4",
]


@posix
@pytest.mark.process
@pytest.mark.real
@pytest.mark.parametrize("line", PIPED)
def test_what_comes_through_a_pipe_is_painted(folder, line):
    with VideoWriter(folder / "clip.mp4", rate=25) as writer:
        for index in range(2):
            writer.write(np.full((32, 48, 3), index / 2, np.float32))
    done = shell(folder, line, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(made(folder, ".")) > 5 or (folder / "o.mp4").exists()


@posix
@pytest.mark.process
@pytest.mark.parametrize("flag", ["", "-s", "--preserve", "--init"])
def test_a_pipe_without_a_writer_is_told_of(folder, flag):
    os.mkfifo(folder / "pipe.png")
    words = f"c.png -s net.safetensors:s3 {flag} pipe.png" if flag else "pipe.png -s net.safetensors:s3"
    done = shell(folder, f"impasto stylize {words} -o o.png", timeout=600)
    assert done.returncode == 2
    assert "nothing writes into the pipe pipe.png" in done.stderr


@posix
@pytest.mark.process
def test_standard_input_is_one_picture(folder):
    done = shell(folder, "cat c.png | impasto stylize - -s - -o o.png", timeout=600)
    assert done.returncode == 2
    assert "standard input is one picture" in done.stderr


@posix
@pytest.mark.process
def test_standard_input_is_bounded(folder, monkeypatch):
    script = "from impasto import images; images.MOST_BYTES = 1000; from impasto.__main__ import main; main()"
    command = [sys.executable, "-c", script, "stylize", "-", "-s", "net.safetensors:s3", "-o", "o.png"]
    done = subprocess.run(command, input=bytes(5000), capture_output=True, check=False)
    assert b"standard input gives more than" in done.stderr
    assert done.returncode == 2
