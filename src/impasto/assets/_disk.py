"""The system's complaints about the cache folder as errors for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from impasto.assets._failures import one_line
from impasto.errors import AssetError, ResourceError
from impasto.files import DISK_FULL


@contextmanager
def disk_errors(root: Path, needed: int) -> Iterator[None]:
    """Turn the system's complaints about the cache folder into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ResourceError(
                f"the disk ran full: fetching needs {needed:,} bytes in {root}",
                "free some space, or set IMPASTO_CACHE to a folder on a larger disk",
            ) from error
        raise AssetError(
            f"the cache folder {root} cannot be written ({error.strerror or one_line(error)})",
            "set IMPASTO_CACHE to a folder that can be written",
        ) from error
