"""Names and titles that come from files never reach a terminal as commands."""

import ast
import json
import sys
from pathlib import Path

import pytest

import impasto
from impasto.errors import InputError, plain, quoted

CLI = Path(impasto.__file__).parent / "cli"
ESCAPE = "\x1b]0;owned\x07\x1b[31mred\x9b2J"
MODULES = sorted(path for path in CLI.glob("*.py") if path.name != "printing.py")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Café 星月夜 e\u0301 ❤️", "Café 星月夜 e\u0301 ❤️"),
        ("\U0001f469\u200d\U0001f3a8", "\U0001f469\u200d\U0001f3a8"),
        ("wide\u3000and\xa0hard", "wide\u3000and\xa0hard"),
        ("a\nb\tc\r\n", "a b c  "),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("\x9b2J\x7f", "?2J?"),
        ("evil\u202egpj.exe", "evil?gpj.exe"),
        ("bytes\udcff", "bytes?"),
    ],
)
def test_what_is_printed_is_one_line_without_commands(text, shown):
    assert plain(text) == shown


def test_a_long_value_is_cut():
    assert len(quoted("x" * 5000)) <= 80
    assert len(quoted(list(range(5000)))) <= 80
    assert quoted("x\x1b[1m") == "'x\\x1b[1m'"


def test_every_error_is_clean_whatever_it_tells_of():
    error = InputError(f"{ESCAPE} is\nmissing", f"look at {ESCAPE}")
    for text in (error.message, error.hint, str(error)):
        assert text.isprintable()


@pytest.mark.parametrize("module", MODULES, ids=[path.stem for path in MODULES])
def test_commands_print_by_say_and_tell(module):
    """A bare print is for words of our own; what a table holds of others is made plain."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            printed = ast.unparse(node.args[0])
            ours = isinstance(node.args[0], ast.Constant) or "known." in printed or "installed_version" in printed
            assert ours, f"{module.name}: print({printed}) instead of say, say_json or tell"


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_names_of_files_are_clean_wherever_they_are_printed(outcome, picture_file, tmp_path):
    style = picture_file("style.png", seed=3)
    (tmp_path / "d").mkdir()
    photo, broken = tmp_path / "d" / f"a{ESCAPE}\x7f.png", tmp_path / "d" / f"b{ESCAPE}.png"
    picture_file().rename(photo)
    broken.write_bytes(b"no picture")
    painted = outcome("stylize", tmp_path / "d", "-s", style, "-q", "draft", "-o", tmp_path / "out")
    assert painted.code == 6
    (made,) = (tmp_path / "out").iterdir()
    told = [
        painted,
        outcome("redo", made, "-o", tmp_path / "again.png"),
        outcome("mix", photo, "-s", style, "-s", made, "--size", "48", "-o", tmp_path / f"{ESCAPE}.png"),
        outcome("stylize", photo, "-s", style, "-q", "draft", "--json", "-o", tmp_path / f"{ESCAPE}\x7f.png"),
        outcome("measure", photo, style, made, "--metrics", "ssim"),
        outcome("stylize", tmp_path / f"gone{ESCAPE}.png", "-s", ESCAPE),
        outcome("styles", ESCAPE),
    ]
    for done in told:
        assert "a bug in impasto" not in done.err
        assert all(line.isprintable() for line in (done.out + done.err).splitlines()), (done.out, done.err)
    assert json.loads(told[3].out)["output"] == str(tmp_path / f"{ESCAPE}\x7f.png")
