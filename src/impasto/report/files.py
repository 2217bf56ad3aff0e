"""Files of a report: each is whole or not there, whenever the process ends."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from impasto.errors import InputError, ResourceError

_TEMPORARY = ".impasto-"


def open_folder(folder: Path) -> Path:
    """Make a folder for a report and take away what a killed run left half-written.

    Raises:
        InputError: it is a file, or cannot be written.
    """
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{folder} cannot be a folder: {above.name} is a file", "name another with -o")
    with _storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"**/{_TEMPORARY}*"):
            left.unlink()
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into `folder` meanwhile.

    Raises:
        InputError: one is writing there.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"another process is writing into {folder}", "wait until it is done, or name another folder with -o"
        ) from error
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}", "name another folder with -o") from error
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file beside its place, flush it to the disk, and rename it.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full.
    """
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}")
    with _storing(path):
        try:
            with temporary.open("xb") as stream:
                stream.write(data.encode() if isinstance(data, str) else data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The same for plain values."""
    write_whole(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            raise ResourceError(f"{path.name} cannot be written: {error.strerror}", "free some disk space") from error
        raise InputError(f"{path} cannot be written: {error.strerror}", "name another folder with -o") from error
