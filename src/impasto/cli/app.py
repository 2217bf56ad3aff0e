"""The commands joined, and the one place where errors become two lines and an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from itertools import pairwise
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException

from impasto.cli.front import Front, mend_completion
from impasto.cli.parse import refuse_empty, spell_out
from impasto.cli.printing import writing
from impasto.cli.streams import Interrupts, redirect_to_devnull
from impasto.errors import Cancelled, InputError, ResourceError, StyleError, Terminated, quoted, without_torch
from impasto.files import of_system

_COMPLETION = "_IMPASTO_COMPLETE"
"""The variable by which a shell asks what could follow."""

app = typer.Typer(
    name="impasto",
    cls=Front,
    help="Turns photographs into paintings, in the style of any picture.",
    epilog="Start with: impasto stylize photo.jpg --style 'wheat field with cypresses'",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks on errors; works after any command.")] = False,  # noqa: ARG001 - run() takes it out
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        print(f"impasto {installed_version('impasto')}")
        raise Exit


def run(arguments: list[str]) -> int:
    """Run one command line. Returns the exit code; never raises but for `--debug`."""
    signal.signal(signal.SIGTERM, _terminate)
    with Interrupts() as interrupts:
        return _run(arguments, interrupts)


def _run(arguments: list[str], interrupts: Interrupts) -> int:
    debug = "--debug" in arguments
    try:
        refuse_empty(arguments)
        words = spell_out([word for word in arguments if word != "--debug"])
        if _COMPLETION in os.environ or any(word.endswith("-completion") for word in words):
            mend_completion()
        code = app(args=words or ["--help"], prog_name="impasto", standalone_mode=False)
        with writing():
            sys.stdout.flush()
        if interrupts.asked and code == Cancelled.exit_code:  # the parsing library keeps it to itself
            raise KeyboardInterrupt
    except BaseException as caught:
        error = caught
        if interrupts.asked and not isinstance(caught, StyleError):
            error = KeyboardInterrupt()
        if debug and isinstance(error, Exception) and not isinstance(error, Exit):
            traceback.print_exc()
        return _report(error, arguments)
    return code if isinstance(code, int) else 0


def _report(error: BaseException, arguments: list[str]) -> int:
    """Print what went wrong in two lines. Returns the exit code."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, SystemExit):  # the completion scripts end so
        return error.code if isinstance(error.code, int) else 0
    if isinstance(error, TyperException) and not error.format_message().strip():
        return 0  # a group without a command has printed its help
    if _COMPLETION in os.environ:  # someone is typing: words of ours would stand in the midst of theirs
        return 1
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone; nothing to say to anyone
        redirect_to_devnull()
        return 1
    known = _as_style_error(error, arguments)
    print(f"error: {known.message}", file=sys.stderr)
    if known.hint:
        print(f"hint:  {known.hint}", file=sys.stderr)
    return known.exit_code


def _as_style_error(error: BaseException, arguments: list[str]) -> StyleError:
    if isinstance(error, StyleError):
        return error
    if isinstance(error, KeyboardInterrupt | Abort):
        return Cancelled("stopped")
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "impasto COMMAND"
        return _plainly(_one_line(error.format_message()), f"{command} --help lists the options", arguments)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return ResourceError("memory ran out", "use a smaller --size, or free some memory")
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None:
            redirect_to_devnull()
        return of_system(error)
    return _as_bug(error)


def _as_bug(error: BaseException) -> StyleError:
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return without_torch()
    name = type(error).__name__
    return StyleError(
        f"a bug in impasto: {name}: {_one_line(str(error))}",
        "please report it with the output of the same command and --debug",
    )


_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "yes or no", "float": "a number"}


def _plainly(message: str, hint: str, arguments: list[str]) -> InputError:
    """A message of the parsing library about a value, reworded as our own errors are."""
    found = re.match(r"Invalid value for '(--[\w-]+)'[^:]*: .*valid (\w+)", message)
    if found is None:
        return InputError(message.rstrip("."), hint)
    flag, kind = found[1], _KINDS.get(found[2], found[2])
    given = [word.partition("=")[2] for word in arguments if word.startswith(f"{flag}=")]
    given += [value for word, value in pairwise(arguments) if word == flag]
    return InputError(f"{flag} is {quoted(given[-1])}" if given else message, f"it takes {kind}; {hint}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated("stopped by the system")
