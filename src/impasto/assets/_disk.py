"""Write into the cache folder so that nothing half-written ever has a final name, not even after a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from impasto.assets._failures import one_line
from impasto.errors import AssetError, ResourceError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


@contextmanager
def disk_errors(root: Path, needed: int) -> Iterator[None]:
    """Turn the system's complaints about the cache folder into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ResourceError(
                f"the disk ran full: fetching needs {needed:,} bytes in {root}",
                "free some space, or set IMPASTO_CACHE to a folder on a larger disk",
            ) from error
        raise AssetError(
            f"the cache folder {root} cannot be written ({error.strerror or one_line(error)})",
            "set IMPASTO_CACHE to a folder that can be written",
        ) from error


def write(path: Path, payload: bytes) -> None:
    """Write the file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def publish(made: Path, final: Path, aside: Path) -> None:
    """Give what was made its final name, at once. A folder that is there moves aside: rename replaces no folder."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir():
        final.replace(aside)
    made.replace(final)
    if os.name == "posix":  # the new name must outlive a power cut as the contents do
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
