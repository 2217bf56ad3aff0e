"""TAB in a real bash and a real zsh, as `impasto --install-completion` sets them up."""

import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

NO_TERMINAL = "drives a terminal, which this system has none of"
fcntl = pytest.importorskip("fcntl", reason=NO_TERMINAL)
pty = pytest.importorskip("pty", reason=NO_TERMINAL)
termios = pytest.importorskip("termios", reason=NO_TERMINAL)
fdpexpect = pytest.importorskip("pexpect.fdpexpect", reason=NO_TERMINAL)

SHELLS = {"bash": ["--noprofile", "-i"], "zsh": ["-i"]}
PROMPT = "ready> "
SECONDS = 60  # not a measure: a loaded machine takes its time


class Terminal:
    """A shell that someone types into."""

    def __init__(self, shell, home):
        mine, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        # not by pexpect.spawn, which forks this process with all its threads and libraries: the child may die of it
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", shutil.which(shell), *SHELLS[shell]],
            cwd=home,
            env=environment(home),
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        self._shell = fdpexpect.fdspawn(mine, encoding="utf-8", timeout=SECONDS)
        self._shell.delaybeforesend = None
        self.run("true")

    def run(self, line):
        """Type a line; returns what came out until the next prompt after its end."""
        self._shell.sendline(f"{line}; echo 'at an''end'")
        self._shell.expect_exact("at anend\r\n")
        return self._shell.before

    def completed(self, typed, rest):
        """Type words and TAB, and wait for what is missing. Returns the line that then stands there."""
        self._shell.send(typed)
        self._shell.expect_exact(typed[-1:])
        self._shell.send("\t")
        self._shell.expect_exact(rest)
        self._shell.send("\x01echo 'line:' \r")  # to the start of the line, to have it printed
        self._shell.expect(r"line: (.*?)\r\n")
        return self._shell.match[1].strip()

    def offered(self, typed, word):
        """Type words and TAB twice, wait for a word among what is offered, and take the line back.

        Returns all that was shown: shells differ in the order of rows and columns.
        """
        self._shell.send(f"{typed}\t\t")
        self._shell.expect_exact(word)
        shown = self._shell.before + word
        self._shell.send("\x15")
        return shown + self.run("true")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._shell.close()


def environment(home):
    foreign = ("_TYPER", "PYTEST", "BASH", "ZSH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {"HOME": str(home), "ZDOTDIR": str(home), "TERM": "xterm"}
    return {**kept, **own, "PATH": f"{home}/bin:{os.environ['PATH']}"}


@pytest.fixture
def terminal(request, tmp_path):
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "impasto"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m impasto "$@"\n')
    command.chmod(0o755)
    (tmp_path / "photograph.jpg").touch()
    (tmp_path / f".{shell}rc").write_text(f"PS1='{PROMPT}'\nPROMPT='{PROMPT}'\n")
    first = Terminal(shell, tmp_path)
    said = first.run("impasto --install-completion")
    first.close()
    assert "installed" in said, said
    second = Terminal(shell, tmp_path)
    yield second
    second.close()


def asked(words, shell, **environment):
    command = [sys.executable, "-m", "impasto"]
    asking = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_ARGS": words}
    own = {**os.environ, **asking, "_IMPASTO_COMPLETE": f"complete_{shell}", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own)


def test_descriptions_keep_their_apostrophes():
    out = asked("impasto stylize --keep", "zsh").stdout
    assert "Keep the photograph\u2019s colours" in out


def test_what_goes_wrong_says_nothing_in_the_midst_of_typing():
    done = asked("impasto sty", "bash", COMP_CWORD="not a number")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("terminal", list(SHELLS), indirect=True)
def test_tab_completes_commands_options_values_and_files(terminal):
    for typed, rest in (
        ("impasto styliz", "e"),
        ("impasto stylize --style-w", "eight"),
        ("impasto stylize --method ada", "in"),
        ("impasto bench enc", "oders"),
        ("impasto stylize photogr", "aph.jpg"),
    ):
        assert terminal.completed(typed, rest) == typed + rest
    shown = terminal.offered("impasto ", "stylize")
    assert not re.search("error|Traceback|hint", shown)
