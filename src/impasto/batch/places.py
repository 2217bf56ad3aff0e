"""Files by path, or by address in a store such as S3: what a batch reads and writes.

A path is handled here; an address (`s3://bucket/name`) goes through fsspec over pyarrow's file systems.
Both are read whole, and written whole or not at all.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from impasto.errors import InputError, MissingExtra, plain, require
from impasto.files import discard, publish, refuse_address, storing, temporary_beside

SCHEMES = ("s3", "gs")

_GOOGLE_PATIENCE = timedelta(seconds=10)  # with a store that does not answer; by itself it would take a quarter hour


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file is still the one that it was.

    Attributes:
        size: in bytes.
        version: time of the last change in nanoseconds; of an address what its store calls a version.
    """

    size: int
    version: str


def is_address(name: str | Path) -> bool:
    """Whether a name is an address in a store that is read and written."""
    return re.match(rf"({'|'.join(SCHEMES)})://", str(name)) is not None


def join(folder: str, name: str) -> str:
    """The name of a file within a folder, whose own folders are parted by /."""
    return f"{folder.rstrip('/')}/{name}" if is_address(folder) else str(Path(folder, *name.split("/")))


def absolute(name: str) -> str:
    """A path as every process of a machine writes it; an address as it is."""
    return name if is_address(name) else str(Path(name).absolute())


def read(name: str) -> bytes:
    """All of a file. Raises InputError where it cannot be read."""
    if not is_address(name):
        refuse_address(name)
        try:
            mode = Path(name).stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InputError(f"{plain(name)} is no file", "a batch reads files: pipes and devices have no end")
            return Path(name).read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{plain(name)} does not exist", "check the name") from error
        except IsADirectoryError as error:
            raise InputError(f"{plain(name)} is a folder, not a picture", "name a picture in it") from error
        except ValueError as error:
            raise InputError(f"{plain(name)} cannot be the name of a file", "check the name") from error
    with _reported(name):
        data: bytes = _store(name).cat_file(_key(name))
        return data


def stamp(name: str) -> Stamp | None:
    """The stamp of a file; None where there is none."""
    if not is_address(name):
        try:
            about = Path(name).stat()
        except (OSError, ValueError):
            return None
        return Stamp(about.st_size, str(about.st_mtime_ns))
    with _reported(name):
        try:
            told = _store(name).info(_key(name))
        except FileNotFoundError:
            return None
        return _stamp_of(told)


def write(name: str, data: bytes, before: Callable[[Stamp], None] = lambda _stamp: None) -> None:
    """Write a file, whole or not at all.

    Args:
        name: path or address; the folders of a path are made.
        data: what to write.
        before: called when all is written and only the name is missing; of an address the version is not known then.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full.
    """
    if is_address(name):
        with _reported(name):
            before(Stamp(len(data), ""))
            _store(name).pipe_file(_key(name), data)
        return
    path = Path(name)
    with storing(plain(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        try:
            temporary.write_bytes(data)
            about = temporary.stat()
            before(Stamp(about.st_size, str(about.st_mtime_ns)))
            publish(temporary, path)
        finally:
            discard(temporary)


def remove(name: str) -> None:
    """Take a file away, if it is there."""
    if not is_address(name):
        discard(Path(name))
        return
    with _reported(name), suppress(FileNotFoundError):
        _store(name).rm_file(_key(name))


def listed(folder: str) -> Iterator[tuple[str, Stamp]]:
    """All files in a folder of a store and in its folders, as addresses, with their stamps."""
    scheme = folder.partition("://")[0]
    with _reported(folder):
        # not fsspec's find: it asks folder by folder, and Google's store tells of no folder that is only part of a name
        selector = require("pyarrow.fs", "ray").FileSelector(_key(folder), allow_not_found=True, recursive=True)
        found = [about for about in _store(folder).fs.get_file_info(selector) if about.is_file]
    for about in sorted(found, key=lambda about: str(about.path)):
        yield f"{scheme}://{about.path}", _stamp_of({"size": about.size, "mtime": about.mtime})


def check(folder: str) -> None:
    """Raise what keeps a store from being written to: a missing package, no such bucket, a refusal."""
    bucket = "/".join(folder.split("/")[:3])
    with _reported(bucket):
        if not _store(bucket).exists(_key(bucket)):
            raise FileNotFoundError


def _key(name: str) -> str:
    """Bucket and name, without the scheme."""
    return name.partition("://")[2].rstrip("/")


def _stamp_of(told: dict[str, Any]) -> Stamp:
    return Stamp(int(told.get("size") or 0), str(told.get("mtime") or ""))


def _store(name: str) -> Any:
    """The store of an address, as fsspec has it: by pyarrow, which finds credentials where each cloud's tools do."""
    fs, arrow = require("pyarrow.fs", "ray"), require("fsspec.implementations.arrow", "ray")
    return arrow.ArrowFSWrapper(_s3(fs) if name.startswith("s3:") else _google(fs))


def _s3(fs: Any) -> Any:
    return fs.S3FileSystem(allow_delayed_open=True, **_endpoint("AWS_ENDPOINT_URL", "https"))


def _google(fs: Any) -> Any:
    own = _endpoint("STORAGE_EMULATOR_HOST", "http")
    return fs.GcsFileSystem(anonymous=bool(own), retry_time_limit=_GOOGLE_PATIENCE, **own)


def _endpoint(variable: str, scheme: str) -> dict[str, str]:
    """A server that the environment names instead of the cloud's own, as pyarrow takes it."""
    named, _, host = os.environ.get(variable, "").rpartition("://")
    return {"endpoint_override": host.rstrip("/"), "scheme": named or scheme} if host else {}


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn what a store reports into our error: each store's package has errors of its own."""
    try:
        yield
    except (InputError, MissingExtra):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{plain(name)} does not exist", "check the bucket and the name") from error
    except Exception as error:  # those of botocore and of aiohttp are no OSErrors
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{plain(name)} cannot be used: {reason}", "check its name and your credentials") from error
