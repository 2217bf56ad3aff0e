"""`impasto` and `python -m impasto`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = _run(sys.argv[1:])
        _ignore_interrupts()
    except KeyboardInterrupt:  # while the first modules load
        _ignore_interrupts()
        if sys.stderr is not None:
            print("error: stopped", file=sys.stderr)  # noqa: T201 - the edge
        code = 130
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    from impasto.cli.streams import prepare_streams, silence_late_interrupts

    prepare_streams()
    silence_late_interrupts()
    if arguments == ["--version"]:
        return _version()
    from impasto.cli.app import run

    return run(arguments)


def _version() -> int:
    """Print the version, and load nothing for it."""
    from importlib.metadata import version

    from impasto.cli.printing import say, tell
    from impasto.errors import ResourceError

    try:
        say(f"impasto {version('impasto')}")
    except ResourceError as error:
        tell(f"error: {error.message}")
        return error.exit_code
    return 0


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C while Python shuts down: it would only print a traceback."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
