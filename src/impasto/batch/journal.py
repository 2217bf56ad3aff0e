"""What a batch has done: lines that are on the disk before a result gets its name, so that a kill loses nothing.

The journal lies in `.batch` of the folder of results. Each writer (a process of a cluster, or the one) appends to a
file of its own; in a store, which takes no appending, each call adds one. A line tells from which contents and by which
settings a result was made, and its size and time: a result counts as done if a line tells of it and it is still as
told. A line without its result is one whose writer was killed in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from impasto.batch import places
from impasto.batch.places import Stamp
from impasto.files import storing

FOLDER = ".batch"
"""Name of the journal's folder, within that of the results."""


@dataclass(frozen=True)
class Entry:
    """One result.

    Attributes:
        output: its name within the folder of results, parted by /.
        look: digest of styles and settings.
        content: sha256 of the photograph's file.
        source: the photograph's name.
        source_size, source_version: its stamp, by which its digest is known without reading it.
        size, version: the result's stamp.
        sha256: of the result.
        seconds: that painting took.
        at: when it was written, in seconds since 1970.
    """

    output: str
    look: str
    content: str
    source: str
    source_size: int
    source_version: str
    size: int
    version: str
    sha256: str
    seconds: float
    at: float = field(default_factory=time.time)

    @property
    def seen(self) -> tuple[str, Stamp]:
        """The photograph as it was."""
        return self.source, Stamp(self.source_size, self.source_version)

    def with_stamp(self, stamp: Stamp) -> Entry:
        """The same for a result as it was written."""
        return replace(self, size=stamp.size, version=stamp.version)


class Journal:
    """The journal of one folder of results; threads may share it.

    Args:
        folder: of the results, a path or an address.
        writer: name of this writer's file.
    """

    def __init__(self, folder: str, writer: str = "local") -> None:
        self._folder, self._writer = places.join(folder, FOLDER), writer
        self._results = folder
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._parts = 0
        self._done: dict[str, Entry] = {}
        self._digests: dict[tuple[str, Stamp], str] = {}

    def load(self) -> None:
        """Read all that was ever done here."""
        for data in self._files():
            for line in data.splitlines():
                entry = _parsed(line)
                if entry is not None:
                    self._take(entry)

    def known_digest(self, source: str, stamp: Stamp) -> str | None:
        """The digest of a photograph that has not changed since it was painted."""
        return self._digests.get((source, stamp))

    def find(self, output: str, look: str, content: str) -> Entry | None:
        """The entry of a result that is done and still there; None for what is to be painted."""
        entry = self._done.get(output)
        if entry is None or (entry.look, entry.content) != (look, content):
            return None
        return entry if self._is_there(entry) else None

    def knows(self, output: str) -> bool:
        """Whether a result of that name was ever written here."""
        return output in self._done

    def add(self, entries: Iterable[Entry]) -> None:
        """Write down results that are about to get their names. On the disk when it returns."""
        taken = list(entries)
        data = b"".join(json.dumps(asdict(entry)).encode() + b"\n" for entry in taken)
        with self._lock:
            self._append(data)
            for entry in taken:
                self._take(entry)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _take(self, entry: Entry) -> None:
        before = self._done.get(entry.output)
        if before is None or entry.at >= before.at:
            self._done[entry.output] = entry
        self._digests[entry.seen] = entry.content

    def _is_there(self, entry: Entry) -> bool:
        name = places.join(self._results, entry.output)
        now = places.stamp(name)
        if now is None or now.size != entry.size:
            return False
        if not entry.version or now.version == entry.version:
            return True
        return hashlib.sha256(places.read(name)).hexdigest() == entry.sha256  # a copy has another time

    def _files(self) -> Iterable[bytes]:
        if places.is_address(self._folder):
            return (places.read(name) for name, _ in places.listed(self._folder) if name.endswith(".jsonl"))
        return (path.read_bytes() for path in sorted(Path(self._folder).glob("*.jsonl")))

    def _append(self, data: bytes) -> None:
        if places.is_address(self._folder):
            self._parts += 1
            places.write(f"{self._folder}/{self._writer}-{time.time_ns()}-{self._parts}.jsonl", data)
            return
        path = Path(self._folder) / f"{self._writer}.jsonl"
        with storing(str(path)):
            self._file = self._file or _opened(path)
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())


def _opened(path: Path) -> IO[bytes]:
    """A file to append to, beginning on a line of its own after one that was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def _parsed(line: bytes) -> Entry | None:
    """A line; None for one that was cut short, or is not ours."""
    try:
        values: Any = json.loads(line)
        return Entry(**values) if isinstance(values, Mapping) else None
    except (ValueError, TypeError):
        return None
