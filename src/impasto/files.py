"""How files are written: whole or not at all, and under their name only when the disk has them.

A kill, a full disk or a power cut in the middle leaves the old file, or none. `write_whole` takes bytes; `whole` lends
a temporary path to whoever fills it, such as an encoder; `publish` gives what was made its name.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

from impasto.errors import Cancelled, InputError, ResourceError, StyleError, plain

DISK_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Numbers by which the system says that no more can be written."""

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_TEMPORARY = ".impasto-"
_LONGEST_NAME = 245  # bytes: 255 are allowed, and a number may follow


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file; text as UTF-8. A link is followed, a device such as /dev/null is written to as it is.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full. Nothing is left behind.
        Cancelled: the reader of a pipe went away.
    """
    with whole(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The same for plain values."""
    write_whole(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends, or vanishes when it fails. Raises as `write_whole`.

    It ends in .tmp, so that who lists pictures does not find it, and gets the permissions of the file that it replaces.
    """
    with storing(name_of(path)):
        target = resolved(path)
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        temporary = temporary_beside(target)
        try:
            yield temporary
            if target.exists():
                shutil.copymode(target, temporary)
            publish(temporary, target)
        finally:  # after Ctrl-C as well: no temporary file may stay behind
            discard(temporary)


def of_system(error: OSError) -> StyleError:
    """An OSError as a StyleError."""
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        place = "standard output" if error.filename is None else plain(error.filename)
        return ResourceError(f"{place[:200]} cannot be written: {reason}", "free some disk space, or write elsewhere")
    place = "a file" if error.filename is None else plain(error.filename)
    return InputError(f"{place[:200]} cannot be used: {reason}", "check its name and its permissions")


def resolved(path: Path) -> Path:
    """The path without links. Raises OSError, in any Python, where links lead round in a circle."""
    try:
        return path.resolve()
    except RuntimeError as error:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def is_file(path: str | Path) -> bool:
    """Whether a file is there; a name that the system does not take is none."""
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def is_folder(path: str | Path) -> bool:
    """The same for a folder."""
    with suppress(OSError, ValueError):
        return Path(path).is_dir()
    return False


def check_apart(writes: Mapping[str, object], reads: Iterable[object] = ()) -> None:
    """Refuse, before anything is computed, an output that would replace an input or another output.

    Two names are one file through links and by inode, too.

    Args:
        writes: paths by what names each, such as "--plot"; None and "-" are no files.
        reads: paths, and words among which those of files count: `FILE`, and `FILE:NAME` as styles are written.

    Raises:
        InputError: one is another.
    """
    outputs = {
        flag: Path(str(path)) for flag, path in writes.items() if path is not None and str(path) not in ("-", "")
    }
    inputs = [found for word in reads if word is not None and (found := _file_in(word)) is not None]
    for flag, path in outputs.items():
        if any(_is_same(path, given) for given in inputs):
            raise InputError(f"{name_of(path)} is an input: it would be replaced", f"choose another file for {flag}")
    for (flag, path), (other, second) in combinations(outputs.items(), 2):
        if _is_same(path, second):
            raise InputError(f"{flag} and {other} both name {name_of(path)}", "give each a file of its own")


def check_no_folder(path: Path) -> None:
    """Raise InputError, before anything is computed, where a file is to be written by the name of a folder."""
    if path.is_dir():
        raise InputError(
            f"{name_of(path)} is a folder, not a file",
            f"name a file in it, such as {name_of(path / f'net{path.suffix}')}",
        )


def _file_in(word: object) -> Path | None:
    """The file that a word names: itself, or what stands before a colon."""
    if not isinstance(word, str | os.PathLike):
        return None
    text = os.fspath(word)
    candidates = [text] if not isinstance(text, str) else [text, text.rpartition(":")[0], text.partition(":")[2]]
    return next((Path(os.fsdecode(one)) for one in candidates if one and is_file(os.fsdecode(one))), None)


def _is_same(path: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.samefile(other)
    with suppress(OSError, ValueError):
        return resolved(path) == resolved(other)
    return False


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nobody uses: renaming is at once only within a file system."""
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")


def publish(made: Path, final: Path) -> None:
    """Give a finished file or folder its name, at once, when the disk has it.

    Raises:
        OSError: as the system says.
    """
    for part in made.rglob("*") if made.is_dir() else [made]:
        if part.is_file():
            with part.open("rb+") as file:
                os.fsync(file.fileno())
    made.replace(final)
    if os.name == "posix":  # the new name must outlive a power cut as the contents do
        with suppress(OSError):  # some network file systems know no such thing
            folder = os.open(final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def discard(temporary: Path) -> None:
    """Take a temporary file away, if it is there."""
    with suppress(OSError):
        temporary.unlink()


def discard_leftovers(folder: Path) -> None:
    """Take away what a killed process left half-written in a folder that only one process writes into."""
    for left in folder.glob(f"**/{_TEMPORARY}*"):
        discard(left)


@contextmanager
def storing(name: str) -> Iterator[None]:
    """Turn what a disk or a pipe reports while `name` is written into our errors."""
    try:
        yield
    except ConnectionError as error:
        raise Cancelled("the reader of the output closed it") from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in DISK_FULL:
            raise ResourceError(
                f"{name} cannot be written: {reason}", "free some disk space, or write elsewhere"
            ) from error
        if error.errno == errno.ENOENT:
            raise InputError(f"{name[:200]} cannot be written: there is no folder for it", "make it first") from error
        hint = "choose another folder" if error.errno in _READ_ONLY else "choose another output with -o"
        raise InputError(f"{name[:200]} cannot be written: {reason}", hint) from error


def open_folder(folder: Path) -> Path:
    """Make a folder to write into, and take away what a killed run left half-written there. Raises as `make_folder`."""
    make_folder(folder)
    discard_leftovers(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder to write into, with those above it.

    Raises:
        InputError: it is a file, or cannot be written.
        ResourceError: the disk is full.
    """
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{folder} cannot be a folder: {above.name} is a file", "name another with -o")
    with storing(name_of(folder)):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(folder: Path, *, hint: str = "wait until it is done, or name another folder with -o") -> Iterator[None]:
    """Keep other processes from writing into `folder` meanwhile.

    Args:
        folder: exists.
        hint: what to do where one is writing there.

    Raises:
        InputError: one is writing there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    with storing(name_of(folder)):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:  # an OSError, too
            raise InputError(f"another process is writing into {folder}", hint) from error
    try:
        yield
    finally:
        lock.release()


def refuse_address(name: str) -> None:
    """Raise InputError for an address on the web: Impasto reads files."""
    if re.match(r"(https?|ftp|s3|gs|file):/", name, re.IGNORECASE):
        hint = "download it, and give the file's name"
        whole = re.sub(r":/(?!/)", "://", plain(name), count=1)  # a Path has taken one of the two
        raise InputError(f"{whole} is an address, and Impasto reads files", hint)


def name_of(path: Path) -> str:
    """A path for a message: one line, whatever the file is called."""
    return plain(path)


def slug(text: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:60] or "style"


def fitting(stem: str, rest: str) -> str:
    """A file name of two parts, the first cut where the system would not take the whole, numbered or not."""
    room = _LONGEST_NAME - len(os.fsencode(rest))
    return os.fsencode(stem)[:room].decode(sys.getfilesystemencoding(), "ignore") + rest
