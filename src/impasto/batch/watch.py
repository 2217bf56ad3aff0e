"""Folders that are watched for new pictures; one that is still being written is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from impasto.batch import places
from impasto.batch.places import Stamp
from impasto.batch.plan import is_picture, pictures_in
from impasto.errors import InputError, require

_SETTLE = 1.0  # seconds without a change, after which a file counts as written
_LOOK = 250  # milliseconds between two looks


def check(items: Iterable[str]) -> None:
    """Refuse what cannot be watched, and make sure of the package.

    Raises:
        InputError: something is no folder.
        MissingExtra: watchfiles is not installed.
    """
    for item in items:
        if places.is_address(item) or not Path(item).is_dir():
            raise InputError(f"{item} cannot be watched", "--watch takes folders of this machine")
    require("watchfiles", "batch")


def watch(folders: Sequence[str], *, out: str, on_wait: Callable[[], None]) -> Iterator[list[str]]:
    """Pictures that are there, come or change, as soon as nobody writes into them any more; without end.

    Args:
        folders: with all their folders.
        out: the folder of results, which is passed over.
        on_wait: called several times a second; ends it by raising.
    """
    watchfiles = require("watchfiles", "batch")
    waiting: dict[str, tuple[Stamp | None, float]] = {}
    first = True
    for changes in watchfiles.watch(
        *folders, watch_filter=None, rust_timeout=_LOOK, yield_on_timeout=True, raise_interrupt=True, debounce=_LOOK
    ):
        on_wait()
        names = {named for _, path in changes if (named := _named(Path(path), folders, out)) is not None}
        if first:  # what came while no one watched
            names |= {str(path) for folder in folders for path in pictures_in(Path(folder), out)}
            first = False
        _note(waiting, names)
        if ready := _settled(waiting):
            yield ready


def is_settled(name: str) -> bool:
    """Whether a file that nobody has watched yet has not changed for a while; one that is gone has not settled."""
    try:
        return time.time() - Path(name).stat().st_mtime >= _SETTLE
    except OSError:
        return False


def _named(path: Path, folders: Sequence[str], out: str) -> str | None:
    """A photograph within the folder as it was given; None for what is none, is hidden, or lies in `out`."""
    if not is_picture(path) or (not places.is_address(out) and path.is_relative_to(Path(out).resolve())):
        return None
    for folder in folders:
        for above in (Path(folder).absolute(), Path(folder).resolve()):
            if path.is_relative_to(above):
                within = path.relative_to(above)
                return None if any(part.startswith(".") for part in within.parts) else str(Path(folder) / within)
    return None


def _note(waiting: dict[str, tuple[Stamp | None, float]], names: Iterable[str]) -> None:
    for name in names:
        waiting[name] = (places.stamp(name), time.monotonic())


def _settled(waiting: dict[str, tuple[Stamp | None, float]]) -> list[str]:
    """Take out what has not changed for a while; what is gone is forgotten."""
    ready, now = [], time.monotonic()
    for name, (before, since) in list(waiting.items()):
        current = places.stamp(name)
        if current is None:
            del waiting[name]
        elif current != before:
            waiting[name] = (current, now)
        elif now - since >= _SETTLE:
            del waiting[name]
            ready.append(name)
    return sorted(ready)
