"""The command line, run in this process as a person runs it."""

from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from impasto.cli import app


class Outcome(NamedTuple):
    """What a command left: its exit code, and what it wrote to standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def outcome(capfd):
    """Runs a command line; returns its Outcome, whatever it is."""

    def go(*arguments):
        code = app.run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return go


@pytest.fixture
def run(outcome):
    """Runs a command line that must end with `code`; returns what it printed."""

    def go(*arguments, code=0):
        done = outcome(*arguments)
        assert done.code == code, done.err
        return done.out

    return go


@pytest.fixture
def refused(outcome, tmp_path):
    """Runs a command line that must fail with two lines and leave every file as it was; returns its standard error."""

    def go(*arguments, code=2):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        done = outcome(*arguments)
        lines = [line for line in done.err.splitlines() if not line.startswith("note:")]
        assert done.code == code, done.err
        assert done.out == ""
        assert [line[:7] for line in lines] == ["error: ", "hint:  "], done.err
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        return done.err

    return go


@pytest.fixture
def mask_file(tmp_path):
    """Writes a mask of which the left part is white; returns its path."""

    def make(name="mask.png", width=64, height=48, left=0.5, value=255):
        codes = np.zeros((height, width), np.uint8)
        codes[:, : round(width * left)] = value
        Image.fromarray(codes).save(tmp_path / name)
        return tmp_path / name

    return make
