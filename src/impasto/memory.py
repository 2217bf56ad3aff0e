"""Memory of the process: its peak, and what the C library keeps of it."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from impasto.errors import InputError, quoted

_SECONDS = 0.004  # between two looks; a feature map at 512 px lives longer
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_STATM = Path("/proc/self/statm")


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MOST = 2**63


def parse_memory(size: str | float | None) -> int | None:
    """Bytes of "2GB", "500 MB", "3e9" or a number; None stays None.

    Raises:
        InputError: it is no size.
    """
    if size is None:
        return None
    text = str(size).lower() if not isinstance(size, bool) else ""
    match = re.fullmatch(r"\s*([\d.]+(?:e\+?\d+)?)\s*([kmgt]?)i?b?\s*", text, re.ASCII)
    try:
        amount = float(match.group(1)) * _UNITS[match.group(2)] if match else 0
    except ValueError:
        amount = 0
    if not 1 <= amount < _MOST:
        raise InputError(f"--max-memory is {quoted(size)}", "it takes a size, such as 2GB or 800MB")
    return int(amount)


class PeakMemory:
    """Watches how far a block of code lets memory grow.

    On a CPU this is the growth of the process's resident memory, looked at every few milliseconds by a thread. What an
    allocator keeps from earlier work counts as there already; with glibc that is given back first. On CUDA it is the
    peak of what torch has allocated. Where neither can be read, `bytes` stays None.

    Args:
        device: a torch device string.

    Attributes:
        bytes: the growth.
        resident: on a CPU, the most that the process held meanwhile.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.bytes: int | None = None
        self.resident: int | None = None
        self._device = device
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        elif (before := _trimmed()) is not None:
            self._before = self._highest = before
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.startswith("cuda"):
            import torch

            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
        elif self._thread is not None:
            self._done.set()
            self._thread.join()
            self.resident = max(self._highest, resident() or 0)
            self.bytes = self.resident - self._before

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS):
            self._highest = max(self._highest, resident() or 0)


class FreedMemory:
    """Whether the C library keeps what is freed, up to a gigabyte, for what comes next: a switch of the whole process.

    A step of a descent frees and takes hundreds of megabytes, and getting them anew page by page takes a tenth of its
    time (bench/NOTES.md). So it is kept, but not while a job with a limit of memory runs in any thread. Where the C
    library has no such switch, all stays as it is.

    Args:
        switch: sets it.
    """

    def __init__(self, switch: Callable[[bool], None]) -> None:
        self._switch = switch
        self._lock = threading.Lock()
        self._limited = 0
        self._kept = False  # what the C library does by itself

    @contextlib.contextmanager
    def during_job(self, *, limited: bool) -> Iterator[None]:
        """A job, with a limit of memory or not."""
        with self._lock:
            self._limited += limited
            self._settle()
        try:
            yield
        finally:
            with self._lock:
                self._limited -= limited
                if limited:
                    self._settle()

    def _settle(self) -> None:
        keep = self._limited == 0
        if keep != self._kept:
            self._kept = keep
            self._switch(keep)


def _set_malloc_thresholds(keep: bool) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no such call
            library = ctypes.CDLL(None)
            # back to what glibc lets them grow to by itself
            library.mallopt(_TRIM_THRESHOLD, 1 << 30 if keep else 1 << 26)
            library.mallopt(_MMAP_THRESHOLD, 1 << 30 if keep else 1 << 25)


FREED_MEMORY = FreedMemory(_set_malloc_thresholds)
"""That of this process."""


def trim_memory() -> None:
    """Have the C library give back to the system what it only keeps for later, where it can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no such call
            ctypes.CDLL(None).malloc_trim(0)


def _trimmed() -> int | None:
    """Resident memory after that."""
    trim_memory()
    return resident()


def resident() -> int | None:
    """Bytes of memory that this process holds; on macOS the most it ever held; None where neither is told."""
    try:
        return int(_STATM.read_text().split()[1]) * _page_size()
    except OSError:
        pass
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _page_size() -> int:
    import resource

    return resource.getpagesize()
