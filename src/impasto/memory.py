"""Measuring what a job costs: the peak of its memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from pathlib import Path
from types import TracebackType

_SECONDS = 0.004  # between two looks; a feature map at 512 px lives longer
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_kept = {"freed": False}
_STATM = Path("/proc/self/statm")


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


def keep_freed(keep: bool) -> None:
    """Have the C library keep what is freed, up to a gigabyte, for what comes next; or not, where memory is short.

    A step of a descent frees and takes hundreds of megabytes, and getting them anew page by page takes a tenth of its
    time (bench/NOTES.md). Where the C library has no such switch, all stays as it is.
    """
    if sys.platform == "linux" and keep != _kept["freed"]:
        _kept["freed"] = keep
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            # back to what glibc lets them grow to by itself
            library.mallopt(_TRIM_THRESHOLD, 1 << 30 if keep else 1 << 26)
            library.mallopt(_MMAP_THRESHOLD, 1 << 30 if keep else 1 << 25)


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
