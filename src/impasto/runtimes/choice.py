"""Which runtime is the fastest on this machine: measured the first time that there is a choice, and kept.

Times are taken in turn, on the network that is to paint, so that a noisy minute hits every side.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from impasto import device
from impasto.errors import InputError, ResourceError
from impasto.files import write_json

SIDES = (384, 512)
"""Height and width of the picture that is painted to measure."""

_FILE = "runtimes.json"
_ROUNDS = 3
_PATIENCE = 4.0  # seconds, after which one round has to do
_MARGIN = 0.9  # of the first one's time: what is not plainly quicker does not replace it
_KEPT = 64  # networks
_PACKAGES = ("torch", "onnxruntime", "openvino")

Seconds = Mapping[str, float]


def fastest(seconds: Seconds) -> str:
    """The name with the least time; the first one unless another is a tenth quicker."""
    first, *_ = seconds
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < _MARGIN * seconds[first] else first


def measured(
    network: str, candidates: Mapping[str, Callable[[], object]], folder: Path, *, precision: str = "auto"
) -> Seconds:
    """Seconds that each candidate takes, from what is kept, or measured now.

    Args:
        network: identifies what is run.
        candidates: paint a picture of `SIDES`, by name of the runtime, the one to be preferred first.
        folder: where measurements are kept.
        precision: in which they compute, as asked for; `auto` is what each prefers.
    """
    network = network if precision == "auto" else f"{network} {precision}"
    path, machine = folder / _FILE, _machine(device.cores())
    kept = _read(path).get(machine, {})
    known = kept.get(network, {})
    if not candidates.keys() <= known.keys():
        known = {**known, **_race(candidates)}
        others = {name: times for name, times in kept.items() if name != network}
        newest = dict([*others.items(), (network, known)][-_KEPT:])
        with suppress(InputError, ResourceError, OSError):  # a folder that takes nothing is no reason not to paint
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {machine: newest})
    return {name: known[name] for name in candidates}


def _race(candidates: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    best, began = dict.fromkeys(candidates, float("inf")), time.perf_counter()
    for number in range(_ROUNDS + 1):
        if number > 1 and time.perf_counter() - began > _PATIENCE:
            break
        for name, paint in candidates.items():
            started = time.perf_counter()
            paint()
            if number:  # the first of each compiles
                best[name] = min(best[name], time.perf_counter() - started)
    return best


@lru_cache(maxsize=16)
def _machine(cores: int) -> str:
    """What times depend on: processor, threads and versions."""
    return " ".join([device.cpu_name(), platform.machine(), str(cores), *map(_version, _PACKAGES)])


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What is kept; nothing where it cannot be read or is none of ours."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(machine): {
                str(name): {str(key): float(value) for key, value in times.items()} for name, times in networks.items()
            }
            for machine, networks in found.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}
