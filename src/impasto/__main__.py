"""`impasto` and `python -m impasto`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # before any heavy import
        from importlib.metadata import version

        print(f"impasto {version('impasto')}")  # noqa: T201 - the edge
        return
    from impasto.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
