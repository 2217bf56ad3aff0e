"""Hardware: the only module that looks at it; decides where and how precisely a job computes, and whether it fits.

Torch is loaded by what asks it, so that what only asks for memory or cores never waits for it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from impasto.contract import Placement
from impasto.errors import InputError, ResourceError

_MOST_THREADS = 256
PRECISIONS = ("float32", "bfloat16", "float16")
_FEATURES = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "avx512_vnni": "avx512_vnni",
    "amx_tile": "amx_tile",
}
"""Instruction sets by our name, with the flag that Linux lists."""


def place(device: str = "auto", precision: str = "auto", *, tested: Sequence[str] = ("float32",)) -> Placement:
    """Choose device, precision and memory layout.

    Args:
        device: "auto" (CUDA, then MPS, then CPU) or a torch device string.
        precision: "auto" takes the fastest of `tested` that the hardware is really fast at.
        tested: the precisions that the method declares.

    Raises:
        InputError: the device does not exist here, or the precision is not among `tested`.
    """
    chosen = _auto_device() if device == "auto" else check_device(device)
    if precision != "auto":
        if precision not in tested:
            raise InputError(f"precision {precision} is not tested for this method", f"it takes {', '.join(tested)}")
        return Placement(chosen, precision, reason="asked for")
    fast, reason = _fast_precision(chosen)
    return Placement(chosen, fast if fast in tested else "float32", reason=reason)


def _auto_device() -> str:
    if not has_torch():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> str:
    """The device, if it can be used here. Raises InputError when there is none of that name."""
    if device == "cpu":
        return device
    present = available_devices()
    if device.partition(":")[0] not in {name.partition(":")[0] for name in present}:
        raise InputError(f"there is no device {device!r} here", f"this machine has {', '.join(present)}")
    index = device.partition(":")[2]
    if index and (not index.isdigit() or (device != "cpu:0" and device not in present)):
        raise InputError(f"there is no device {device!r} here", f"this machine has {', '.join(present)}")
    return device


def available_devices() -> tuple[str, ...]:
    """Device strings that can be used here, the CPU last."""
    if not has_torch():
        return ("cpu",)
    import torch

    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def _fast_precision(device: str) -> tuple[str, str]:
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU multiplies bfloat16 natively"
        return "float32", "this GPU has no native bfloat16"
    if device == "cpu":
        features = cpu_features()
        native = [name for name in ("amx_tile", "avx512_bf16") if name in features]
        if native:
            return "bfloat16", f"this CPU multiplies bfloat16 natively ({native[0]})"
        return "float32", "this CPU has neither avx512_bf16 nor AMX, so bfloat16 would be many times slower"
    return "float32", "float32 is the tested precision on this device"


@lru_cache(maxsize=1)
def cpu_features() -> frozenset[str]:
    """The instruction sets among avx2, avx512, avx512_bf16, avx512_vnni and amx_tile that this CPU has."""
    told = _cpuinfo("flags").split()
    if told:  # of the kernel: no torch is loaded for it
        return frozenset(name for name, flag in _FEATURES.items() if flag in told)
    if not has_torch():
        return frozenset()
    import torch

    checks = {name: getattr(torch.cpu, f"_is_{name}_supported", None) for name in _FEATURES}
    return frozenset(name for name, check in checks.items() if check is not None and check())


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return find_spec("torch") is not None


def available_memory(device: str = "cpu") -> int:
    """Bytes that a new job can take on `device` without pushing others out.

    On Linux this honours the limit of the control group, as containers have one.
    """
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    limits = [_meminfo_available(), _cgroup_available()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else 4 << 30  # elsewhere: a guess that suits most machines


def use_threads(count: int) -> None:
    """Have torch, ONNX Runtime and OpenCV compute with so many threads, whether they are loaded already or not.

    Raises:
        InputError: it is no number from 1 to 256.
    """
    if not 1 <= count <= _MOST_THREADS:
        raise InputError(f"--threads is {count}", f"it takes a whole number from 1 to {_MOST_THREADS}")
    os.environ["OMP_NUM_THREADS"] = str(count)  # read by torch when it is loaded, and by `cores`
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
    if "cv2" in sys.modules:
        import cv2

        cv2.setNumThreads(count)


def cores() -> int:
    """Cores that this process may use: those that it is bound to, or fewer by OMP_NUM_THREADS."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(bound, int(asked)) if asked.isdigit() and int(asked) > 0 else bound


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def check_memory(needed: int, width: int, height: int, *, limit: int | None, device: str) -> None:
    """Refuse a job that cannot fit, before it starts: Linux kills a process for memory, it does not raise.

    Args:
        needed: estimated bytes at `width` x `height`.
        limit: what the user allows, or None for what is available.

    Raises:
        ResourceError: naming the `--size` that fits.
    """
    budget = available_memory(device) if limit is None else limit
    if needed <= budget:
        return
    fitting = int(max(width, height) * (budget / needed) ** 0.5 * 0.98) // 8 * 8
    otherwise = "free some memory" if limit is None else "allow more with --max-memory"
    raise ResourceError(
        f"{width}x{height} px needs about {readable_bytes(needed)} of memory and {readable_bytes(budget)} may be used",
        f"use --size {fitting}" if fitting >= 64 else f"use a smaller --size, or {otherwise}",
    )


def readable_bytes(count: float) -> str:
    """A size of memory for people, such as "1.25 GB", "400 MB" or "8 kB"."""
    if count >= 999.5e6:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 999.5e3 else f"{count / 1e3:.0f} kB"


_MEASURING = Lock()


def convolution_rate(placement: Placement, *, seconds: float = 0.1) -> float:
    """Measured peak of 3x3 convolutions, in floating-point operations a second.

    The shape is VGG-19's third block at 512x384: 256 channels at 96x128. The best of several runs, since other
    processes only ever slow one down. It is measured once, by one thread: several at once would measure each other.
    """
    with _MEASURING:
        return _measured_rate(placement.device, placement.precision, placement.channels_last, seconds)


@lru_cache(maxsize=8)
def _measured_rate(device: str, precision: str, channels_last: bool, seconds: float) -> float:
    import torch

    dtype = getattr(torch, precision)
    image = torch.randn(1, 256, 96, 128, device=device, dtype=dtype)
    weight = torch.randn(256, 256, 3, 3, device=device, dtype=dtype)
    if channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)
    operations = 2 * 256 * 256 * 9 * 94 * 126
    best = float("inf")
    started = time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - started < seconds or best == float("inf"):
            before = time.perf_counter()
            torch.nn.functional.conv2d(image, weight)
            synchronize(device)
            best = min(best, time.perf_counter() - before)
    return operations / best


def synchronize(device: str) -> None:
    """Wait until the device has finished, so that a clock read means something."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def hardware() -> dict[str, Any]:
    """The report of `impasto doctor`."""
    threads = cores()
    if has_torch():
        import torch

        threads = torch.get_num_threads()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "threads": threads,
        "cores": os.cpu_count() or 1,
        "cpu_features": sorted(cpu_features()),
        "memory_available": available_memory(),
        "devices": list(available_devices()),
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(name: str) -> str:
    """A line of the first processor that Linux lists; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
