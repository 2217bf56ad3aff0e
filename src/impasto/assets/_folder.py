"""Take declared files out of a user's folder, by their hash: for machines that cannot reach a server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from impasto.assets._declare import Member, Source
from impasto.errors import InputError

_MOST_FILES = 100_000


class Folder:
    """A folder in which files are found by size and sha256, whatever they are called; hashed only where sizes fit.

    Args:
        root: the folder; files below it count too.

    Raises:
        InputError: it is no folder that can be read, or holds more than 100,000 files.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(
                f"there is no folder {root}", "give the folder that holds the files, such as --from weights"
            )
        self.root = root
        self._sizes: dict[int, list[Path]] = {}
        for number, path in enumerate(_files_below(root)):
            if number >= _MOST_FILES:
                raise InputError(f"{root} holds more than {_MOST_FILES:,} files", "give a smaller folder")
            self._sizes.setdefault(path.stat().st_size, []).append(path)

    def find(self, size: int, sha256: str) -> Path | None:
        """The file of that size and hash, or None."""
        return next((path for path in self._sizes.get(size, ()) if _sha256(path) == sha256), None)

    def package(self, source: Source) -> Path | None:
        """The source's own file, or None."""
        return self.find(source.bytes, source.sha256)

    def members(self, members: Iterable[Member]) -> dict[str, bytes] | None:
        """The contents of all members by name, each a file of its own; None where one is missing."""
        found = {member.name: (member, self.find(member.bytes, member.sha256)) for member in members}
        if any(path is None for _, path in found.values()):
            return None
        return {name: path.read_bytes() for name, (_, path) in found.items() if path is not None}


def _files_below(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if path.is_file():
                yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
