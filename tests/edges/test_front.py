"""What starts quickly: help, version and completion load no pictures and no networks. Modules are counted, not time."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import typer
from typer import rich_utils

from impasto.cli import app, front

HEAVY = {"numpy", "PIL", "cv2", "torch", "markdown_it", "rich.markdown", "pygments", "safetensors", "typer.rich_utils"}
SCRIPT = """
import json, sys
from impasto.__main__ import main
sys.argv = ["impasto", *json.loads(sys.argv[1])]
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
sys.stdout.flush()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*words, **environment):
    """Runs a command line in a Python of its own; returns its output and the modules that it had loaded."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80", **environment}
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert not code, done.stderr
    return done.stdout, set(modules)


@pytest.mark.process
@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_help_loads_no_command(words):
    out, modules = loaded(*words)
    assert all(f" {name} " in out for name in front.COMMANDS)
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("impasto.cli.")} <= {
        f"impasto.cli.{name}" for name in ("app", "front", "parse", "printing", "streams")
    }
    assert len(modules) < 260


@pytest.mark.process
def test_version_loads_nothing():
    out, modules = loaded("--version")
    assert out.startswith("impasto ")
    assert not modules & {*HEAVY, "typer", "rich"}
    assert len(modules) < 180


@pytest.mark.process
@pytest.mark.parametrize("words", ["impasto ", "impasto sty", "impasto --", "impasto stylize --st", "impasto bench "])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_loads_neither_pictures_nor_networks(words, shell):
    split = words.split(" ")
    out, modules = loaded(
        _IMPASTO_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(len(split) - 1),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    wanted = {"": "stylize", "sty": "stylize", "--": "--version", "--st": "--style-weight"}
    assert (wanted[split[-1]] if split[1] != "bench" else "adain") in out
    assert not modules & HEAVY
    assert len(modules) < 360


@pytest.mark.process
def test_importing_the_package_loads_nothing():
    command = [sys.executable, "-c", "import sys, impasto; print(len(sys.modules), *sys.modules)"]
    count, *modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not set(modules) & HEAVY
    assert int(count) < 120


def test_the_table_is_what_the_commands_say_of_themselves():
    group = typer.main.get_command(app.app)
    summaries = {name: " ".join(group.commands[name].help.split("\n\n")[0].split()) for name in front.COMMANDS}
    assert summaries == {name: row.summary for name, row in front.COMMANDS.items()}


def test_the_table_holds_every_command_of_its_modules():
    assert {name for row in front.COMMANDS.values() for name in front._load(row.module)} == set(front.COMMANDS)


@pytest.mark.parametrize("width", [60, 80, 137, 200])
def test_the_help_is_what_typer_would_print(width, monkeypatch):
    """Typer's own renderer loads markdown and tracebacks; ours has to be known from it by nothing."""
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", width)
    monkeypatch.setenv("COLUMNS", str(width))
    group = typer.main.get_command(app.app)
    context = typer.Context(group, info_name="impasto")
    ours, theirs = io.StringIO(), io.StringIO()
    with redirect_stdout(ours):
        group.format_help(context, None)
    with redirect_stdout(theirs):
        rich_utils.rich_format_help(obj=group, ctx=context, markup_mode="rich")
    assert ours.getvalue() == theirs.getvalue()
