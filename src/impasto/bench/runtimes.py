"""`bench runtimes`: size, time and likeness of trained networks in each runtime and precision that is installed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import device, images
from impasto.assets import Store
from impasto.bench.sets import load_set
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError
from impasto.metrics import psnr, ssim
from impasto.models import catalog, networks, onnx_files
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes.sessions import RUNTIMES, NetworkGraph, installed

SIDES: Mapping[str, tuple[int, int]] = {"512": (384, 512), "720p": (720, 1280), "1080p": (1080, 1920)}
"""Height and width of the pictures that are timed."""

_COMPARED = (384, 512)

Floats = NDArray[np.float32]


class _Runs(Protocol):
    def run(self, images: Floats, codes: Floats) -> Floats: ...


@dataclass(frozen=True)
class Way:
    """One network in one runtime and precision.

    Attributes:
        file: its name.
        runtime, precision: what runs it.
        session: the same, opened.
        codes: of its styles.
    """

    file: str
    runtime: str
    precision: str
    session: _Runs
    codes: Mapping[str, Floats]


def runtimes(files: Sequence[Path], *, runs: int, on_progress: OnProgress = ignore) -> list[dict[str, Any]]:
    """A row for each network in each runtime and precision, timed in turn.

    Args:
        files: networks of the same styles, `.safetensors` or `.onnx`; pictures are compared with those of the first one
            by torch in float32.
        runs: counted rounds of each size.

    Raises:
        InputError: one is not an Impasto network, or has other styles than the first.
    """
    ways = [way for file in files for way in _ways(file)]
    if not ways or ways[0].runtime != "torch":
        raise InputError(f"{files[0]} is not a .safetensors file", "give the network in float32 first")
    shared = [name for name in ways[0].codes if all(name in way.codes for way in ways)]
    if not shared:
        raise InputError("the networks have no style in common", "give one network, and what was made of it")
    rows = [_row(way, next(file for file in files if file.name == way.file)) for way in ways]
    jobs = [(photograph, shared[index % len(shared)]) for index, photograph in enumerate(_photographs())]
    pictures = [[_pastiche(way, *job) for job in jobs] for way in ways]
    for row, own in zip(rows, pictures, strict=True):
        pairs = list(zip(own, pictures[0], strict=True))
        row["ssim"] = statistics.mean(ssim(one, wanted) for one, wanted in pairs)
        row["psnr"] = statistics.mean(psnr(one, wanted) for one, wanted in pairs) if row is not rows[0] else None
    for done, (label, sides) in enumerate(SIDES.items()):
        on_progress(Progress("timing", done, len(SIDES), "size"))
        for row, (wall, work) in zip(rows, _race(ways, sides, shared[0], runs), strict=True):
            row[f"ms_{label}"], row[f"cpu_ms_{label}"] = 1000 * wall, 1000 * work
    on_progress(Progress("timing", len(SIDES), len(SIDES), "size"))
    return rows


def _ways(file: Path) -> list[Way]:
    catalog.listing(file)
    graph, found = NetworkGraph.read(file), []
    fast = device.place("cpu", tested=("float32", "bfloat16")).precision
    if file.suffix != onnx_files.SUFFIX:
        for precision in dict.fromkeys(("float32", fast)):
            found.append(Way(file.name, "torch", precision, _Torch(file, precision), graph.codes))
    for name in installed():
        for precision in dict.fromkeys(("float32", fast)):
            if precision in RUNTIMES[name].precisions:
                found.append(Way(file.name, name, precision, graph.open(name, precision), graph.codes))
    return found


class _Torch:
    """A network in torch, run as a session."""

    def __init__(self, file: Path, precision: str) -> None:
        self._network = networks.read(file).network().requires_grad_(False)
        self._dtype = getattr(torch, precision)

    def run(self, images: Floats, codes: Floats) -> Floats:
        """See `sessions.Session`."""
        height, width = images.shape[2:]
        with torch.inference_mode():
            padded = pad_to_multiple(torch.from_numpy(images), self._network.stride)
            inside = padded.to(self._dtype).contiguous(memory_format=torch.channels_last)
            found: Floats = crop_to(self._network(inside, torch.from_numpy(codes)), height, width).float().numpy()
        return found


def _row(way: Way, file: Path) -> dict[str, Any]:
    parameters = None
    if file.suffix != onnx_files.SUFFIX:
        parameters = sum(one.numel() for one in networks.read(file).network().parameters())
    return {
        "benchmark": "runtimes",
        "file": way.file,
        "runtime": way.runtime,
        "precision": way.precision,
        "bytes": file.stat().st_size,
        "parameters": parameters,
    }


def _photographs() -> list[Floats]:
    found = [images.resize(one.pixels, *_COMPARED) for one, _ in load_set("three", Store(), size=max(_COMPARED))]
    return [np.ascontiguousarray(one.transpose(2, 0, 1)[None]) for one in found]


def _pastiche(way: Way, photograph: Floats, style: str) -> Floats:
    found = way.session.run(photograph, way.codes[style][None].astype(np.float32))
    clipped: Floats = np.clip(found[0].transpose(1, 2, 0), 0, 1)
    return clipped


def _race(ways: Sequence[Way], sides: tuple[int, int], style: str, runs: int) -> list[tuple[float, float]]:
    """Seconds, and processor time, of each: the least of the counted rounds, in turn."""
    image = np.random.default_rng(0).random((1, 3, *sides), np.float32)
    best = [(float("inf"), float("inf"))] * len(ways)
    for number in range(runs + 1):
        for place, way in enumerate(ways):
            code = way.codes[style][None].astype(np.float32)
            started, worked = time.perf_counter(), time.process_time()
            way.session.run(image, code)
            took, work = time.perf_counter() - started, time.process_time() - worked
            if number:
                best[place] = min(best[place][0], took), min(best[place][1], work)
    return best
