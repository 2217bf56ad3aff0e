"""`bench runtimes`: size, time and likeness of networks in each runtime and precision that is installed."""

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
from impasto.assets import Store, load_weights
from impasto.assets.library import Library
from impasto.bench.sets import load_set
from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleImage, ignore
from impasto.errors import InputError
from impasto.methods import registry
from impasto.metrics import Judge, psnr, ssim
from impasto.models import catalog, codecs, networks, onnx_files
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes.sessions import RUNTIMES, NetworkGraph, installed

SIDES: Mapping[str, tuple[int, int]] = {"512": (384, 512), "720p": (720, 1280), "1080p": (1080, 1920)}
"""Height and width of the pictures that are timed."""

ANY_STYLE = ("adain", "microast")

_COMPARED = (384, 512)
_FROM_FOLDER = 6  # pictures
_SCORES = ("style_distance", "content_error")

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
        bytes: of its files.
        parameters: of its networks; None where the file does not tell.
    """

    file: str
    runtime: str
    precision: str
    session: _Runs
    codes: Mapping[str, Floats]
    bytes: int
    parameters: int | None


def runtimes(
    named: Sequence[str],
    *,
    runs: int,
    scores: bool = False,
    content: Path | None = None,
    paintings: Path | None = None,
    sizes: Sequence[str] | None = None,
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """A row for each network in each runtime and precision, timed in turn.

    Args:
        named: networks of the same styles: files, `.safetensors` or `.onnx`, or `pack`; or those that take any
            painting: `adain`, `microast`, files of AdaIN. Pictures are compared with those of the first
            one by torch in float32.
        runs: counted rounds of each size.
        scores: whether to measure style distance and content error, too.
        content: folder of photographs to compare on, the first six; by default those of the set "three".
        paintings: folder of paintings for what takes any, the first six; by default those of the set.
        sizes: of the pictures that are timed, keys of SIDES; all by default.

    Raises:
        InputError: one is not an Impasto network, or has other styles than the first; or a folder holds no pictures.
    """
    pairs = load_set("three", Store(), size=max(_COMPARED)) if content is None or paintings is None else ()
    seen = [one.pixels for one, _ in pairs] if content is None else _pictures(content)
    shown = [one.pixels for _, one in pairs] if paintings is None else _pictures(paintings)
    photographs, painted = [_batch(one) for one in seen], {f"painting {at}": one for at, one in enumerate(shown)}
    ways = [way for name in named for way in _ways(name, painted)]
    if not ways or ways[0].runtime != "torch":
        raise InputError(f"{named[0]} is not a .safetensors file", "give the network in float32 first")
    shared = [name for name in ways[0].codes if all(name in way.codes for way in ways)]
    if not shared:
        raise InputError("the networks have no style in common", "give one network, and what was made of it")
    rows = [_row(way) for way in ways]
    jobs = [(photograph, shared[index % len(shared)]) for index, photograph in enumerate(photographs)]
    pictures = [[_pastiche(way, *job) for job in jobs] for way in ways]
    for row, own in zip(rows, pictures, strict=True):
        both = list(zip(own, pictures[0], strict=True))
        row["ssim"] = statistics.mean(ssim(one, wanted) for one, wanted in both)
        row["psnr"] = statistics.mean(psnr(one, wanted) for one, wanted in both) if row is not rows[0] else None
    if scores:
        _score(rows, jobs, pictures, painted if shared[0] in painted else _own_paintings(named[0]))
    sizes = tuple(SIDES) if sizes is None else sizes
    for done, label in enumerate(sizes):
        on_progress(Progress("timing", done, len(sizes), "size"))
        for row, (wall, work) in zip(rows, _race(ways, SIDES[label], shared[0], runs), strict=True):
            row[f"ms_{label}"], row[f"cpu_ms_{label}"] = 1000 * wall, 1000 * work
    on_progress(Progress("timing", len(sizes), len(sizes), "size"))
    return rows


def _ways(name: str, paintings: Mapping[str, Floats]) -> list[Way]:
    file = catalog.PACK if name == "pack" else Path(name)
    if name in ANY_STYLE or codecs.is_codec(file):
        return _ways_of_any(name, paintings)
    catalog.listing(file)
    graph, found, told = NetworkGraph.read(file), list[Way](), _parameters(file)
    for precision in _precisions():
        if file.suffix != onnx_files.SUFFIX:
            session = _Torch(file, precision)
            found.append(Way(file.name, "torch", precision, session, graph.codes, file.stat().st_size, told))
    for runtime in installed():
        for precision in _precisions(RUNTIMES[runtime].precisions):
            opened = graph.open(runtime, precision)
            found.append(Way(file.name, runtime, precision, opened, graph.codes, file.stat().st_size, told))
    return found


def _ways_of_any(name: str, paintings: Mapping[str, Floats]) -> list[Way]:
    """Of a method for any painting, or of a file of AdaIN's."""
    row, store = registry.find(name if name in ANY_STYLE else codecs.KIND), Store()
    if name in ANY_STYLE:
        weights = {one: load_weights(store, one) for one in row.assets}
        sizes = [store.path(one).stat().st_size for one in row.assets]
    else:
        weights, sizes = {codecs.KIND: codecs.read(Path(name)).tensors()}, [Path(name).stat().st_size]
    parts = weights if name == "microast" else {"": codecs.Codec.of_weights(weights).tensors()}
    count = sum(one.numel() for part in parts.values() for one in part.values())
    found = []
    for runtime in ("torch", *installed()):
        for precision in _precisions(None if runtime == "torch" else RUNTIMES[runtime].precisions):
            session = _Any(row, weights, Placement("cpu", precision, runtime=runtime), paintings)
            codes = {painting: np.array([at], np.float32) for at, painting in enumerate(paintings)}
            found.append(Way(Path(name).name, runtime, precision, session, codes, sum(sizes), count))
    return found


def _precisions(able: Sequence[str] | None = None) -> list[str]:
    fast = device.place("cpu", tested=("float32", "bfloat16")).precision
    return [one for one in dict.fromkeys(("float32", fast)) if able is None or one in able]


class _Any:
    """A method for any painting, run as a session; a code is the number of a painting."""

    def __init__(
        self,
        row: registry.Method,
        weights: Mapping[str, Mapping[str, torch.Tensor]],
        placement: Placement,
        paintings: Mapping[str, Floats],
    ) -> None:
        self._stylizer, self._knobs = row.load_class()(weights, placement), row.load_knobs()()
        shown = [images.resize(one, *_COMPARED) for one in paintings.values()]
        styles = [Style((StyleImage(images.to_tensor(one)),)) for one in shown]
        self._codes = [self._stylizer.encode_style(style, self._knobs) for style in styles]

    def run(self, images: Floats, codes: Floats) -> Floats:
        """See `sessions.Session`."""
        jobs = [Job(self._codes[int(code)], self._knobs) for code in codes[:, 0]]
        found: Floats = self._stylizer.stylize(torch.from_numpy(images), jobs).numpy()
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


def _parameters(file: Path) -> int | None:
    if file.suffix == onnx_files.SUFFIX:
        return None
    return sum(one.numel() for one in networks.read(file).network().parameters())


def _row(way: Way) -> dict[str, Any]:
    return {
        "benchmark": "runtimes",
        "file": way.file,
        "runtime": way.runtime,
        "precision": way.precision,
        "bytes": way.bytes,
        "parameters": way.parameters,
    }


def _pictures(folder: Path) -> list[Floats]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in images.EXTENSIONS)[:_FROM_FOLDER]
    if not paths:
        raise InputError(f"{folder} holds no pictures", "name a folder of photographs, or of paintings")
    return [images.read(path).pixels for path in paths]


def _batch(photograph: Floats) -> Floats:
    """`(1, 3, H, W)` of a photograph `(H, W, 3)`, at the size that is compared."""
    return np.ascontiguousarray(images.resize(photograph, *_COMPARED).transpose(2, 0, 1)[None])


def _own_paintings(name: str) -> dict[str, Floats]:
    """Paintings of a trained network's styles, those that the library has."""
    library = Library(Store())
    own = catalog.listing(catalog.PACK if name == "pack" else Path(name))
    return {one.name: library.read(library.find(one.painting)).pixels for one in own if one.painting}


def _score(
    rows: Sequence[dict[str, Any]],
    jobs: Sequence[tuple[Floats, str]],
    pictures: Sequence[Sequence[Floats]],
    paintings: Mapping[str, Floats],
) -> None:
    """Add the mean scores of each row's pictures, where the painting is known."""
    judge = Judge(store=Store())
    for row, own in zip(rows, pictures, strict=True):
        found = [
            judge.measure(photograph[0].transpose(1, 2, 0), paintings[style], pastiche, _SCORES)
            for (photograph, style), pastiche in zip(jobs, own, strict=True)
            if style in paintings
        ]
        for name in _SCORES:
            row[name] = statistics.mean(one[name] for one in found) if found else None


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
