"""Trained networks in INT8: calibrated on photographs, and layers that hurt left in float32.

NNCF places the quantisers and finds their ranges; the result is an ONNX file with QuantizeLinear and DequantizeLinear,
which OpenVINO runs in INT8. Of the graphs that OpenVINO can be given that one is taken which is quickest here in INT8.
Its pictures are then compared with those of the float32 graph in the same runtime, on photographs that it was not
calibrated on. As long as they are not alike enough, or have bands where a sky shades off, the layer whose return to
float32 helps most goes back.

Papers: arXiv:1712.05877 (Jacob et al. 2018), arXiv:2002.08679 (Kozlov et al. 2020) for NNCF.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError, require
from impasto.export._quiet import quiet, silent
from impasto.metrics import psnr, ssim
from impasto.models import catalog, onnx_files
from impasto.runtimes import graphs
from impasto.runtimes.sessions import RUNTIMES, NetworkGraph, Session

EXTRA = "compress"
LEAST_SSIM = 0.95

MOST_BANDS = 0.005
"""Share of a picture that may lie in bands; six bits of colour come to 0.03 of a painted sky."""

_BAND = 5  # pixels along a side, of squares in one tone
_SIDES = (256, 384)  # height and width at which is calibrated and compared; of upright photographs the other way
_TIMED = (384, 512)
_ROUNDS = 5
_MOST = 32  # photographs
_CHECKED = 0.25  # of them are compared on and not calibrated on
_TELEMETRY = "openvino_telemetry"
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_MOVING = frozenset({"Pad", "Slice", "Concat"})  # nodes that only move the numbers that a convolution reads

Floats: TypeAlias = NDArray[np.float32]
Batch: TypeAlias = dict[str, Floats]


@dataclass(frozen=True)
class Likeness:
    """How near pictures are to those in float32.

    Attributes:
        ssim, least_ssim: over all pictures on average, and of the worst.
        psnr: decibels, on average.
        bands: share of the worst picture that is in bands, beyond that in float32.
    """

    ssim: float
    least_ssim: float
    psnr: float
    bands: float = 0.0

    @classmethod
    def of(cls, pictures: Sequence[Floats], wanted: Sequence[Floats], shaded: Sequence[Floats] = ()) -> Likeness:
        """Of pictures `(H, W, 3)` in [0, 1].

        shaded: two of a photograph that shades off evenly, the second in float32; looked at for bands alone.
        """
        pairs = list(zip(pictures, wanted, strict=True))
        alike, noise = [ssim(one, other) for one, other in pairs], [psnr(one, other) for one, other in pairs]
        looked_at = [*pairs, (shaded[0], shaded[1])] if shaded else pairs
        bands = max(banded(one) - banded(other) for one, other in looked_at)
        return cls(float(np.mean(alike)), min(alike), float(np.mean(noise)), max(0.0, bands))

    def is_near(self, least_ssim: float) -> bool:
        """Whether the pictures will do."""
        return self.ssim >= least_ssim and self.bands <= MOST_BANDS


def banded(picture: Floats) -> float:
    """Share of a picture `(H, W, 3)` in [0, 1] that lies in squares of one tone of 8 bits, as between two steps."""
    luma = np.round(picture @ np.array([0.299, 0.587, 0.114], np.float32) * 255)
    squares = np.lib.stride_tricks.sliding_window_view(luma, (_BAND, _BAND))
    return float((squares.max((2, 3)) == squares.min((2, 3))).mean())


@dataclass(frozen=True)
class Quantised:
    """A network in INT8.

    Attributes:
        data: bytes of the ONNX file.
        runtime: that it was compared and timed in.
        float_layers: layers that stay in float32.
        layers: all layers that could be quantised.
        likeness: to float32 in the same runtime.
        seconds: for a picture of 512x384, in float32 and in INT8, in turn, by the runtime.
        float_bytes: of the same graph in float32.
    """

    data: bytes
    runtime: str
    float_layers: tuple[str, ...]
    layers: tuple[str, ...]
    likeness: Likeness
    seconds: tuple[float, float]
    float_bytes: int

    def report(self) -> dict[str, Any]:
        """As plain values."""
        plain, quick = self.seconds
        return {
            "runtime": self.runtime,
            "bytes": len(self.data),
            "float32_bytes": self.float_bytes,
            "milliseconds": 1000 * quick,
            "float32_milliseconds": 1000 * plain,
            "times_faster": plain / quick,
            "ssim": self.likeness.ssim,
            "least_ssim": self.likeness.least_ssim,
            "psnr": self.likeness.psnr,
            "bands": self.likeness.bands,
            "layers": len(self.layers),
            "float32_layers": list(self.float_layers),
        }


def read_photographs(folders: Sequence[Path]) -> list[Floats]:
    """Up to 32 photographs of folders, evenly chosen, `(3, H, W)` each.

    Raises:
        InputError: there is no such folder, or no picture in it that can be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}", "name one with photographs")
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in images.EXTENSIONS)
    found = []
    for path in paths[:: max(1, len(paths) // _MOST)][:_MOST]:
        try:
            picture = images.read(path)
        except InputError:
            continue
        height, width = _SIDES if picture.width >= picture.height else _SIDES[::-1]
        found.append(np.ascontiguousarray(picture.resized(height, width).pixels.transpose(2, 0, 1)))
    if not found:
        raise InputError(f"{folders[0]} holds no photographs", "a few dozen are good")
    return found


def quantise(
    network: Path,
    photographs: Sequence[Floats],
    *,
    runtime: str = "openvino",
    least_ssim: float = LEAST_SSIM,
    on_progress: OnProgress = ignore,
) -> Quantised:
    """Quantise a trained network.

    Args:
        network: its file, `.safetensors`, or an ONNX file in float32 that `impasto export` has written.
        photographs: as `read_photographs` gives them.
        runtime: to compare and to time in, "openvino" or "onnx".
        least_ssim: to reach on average.

    Raises:
        InputError: it is not an Impasto network, or is quantised already.
        MissingExtra: NNCF, onnx or the runtime is not installed.
    """
    RUNTIMES[runtime].check_installed()
    onnx: Any = require("onnx", EXTRA)
    plains = _read(network, runtime)
    learnt, compared = _batches(photographs, plains[0].codes)
    models = [onnx.load_from_string(plain.data) for plain in plains]
    if any(node.op_type == "QuantizeLinear" for node in models[0].graph.node):
        raise InputError(f"{network} is quantised already", "give the network that it was made of")
    made = []
    for done, model in enumerate(models):
        on_progress(Progress("calibrating", done, len(models), "graph"))
        _uncentre(model.graph)
        made.append(_Layers(model, _calibrated(model, learnt)))
    on_progress(Progress("calibrating", len(models), len(models), "graph"))
    comparison = _Comparison(plains[0], compared, runtime)
    chosen = made[0]
    if len(made) > 1:
        seconds = comparison.seconds([one.file(()) for one in made])[1:]
        chosen = made[int(np.argmin(seconds))]
    kept = _fall_back(chosen, comparison, least_ssim, on_progress)
    data = chosen.file(kept)
    plain, quick = comparison.seconds([data])
    whole = len(plains[made.index(chosen)].data)
    return Quantised(data, runtime, kept, chosen.names, comparison.likeness(data), (plain, quick), whole)


def _read(network: Path, runtime: str) -> list[NetworkGraph]:
    """A network as the graphs that a runtime can be given, the quickest in float32 first."""
    catalog.listing(network)
    if network.suffix == onnx_files.SUFFIX:
        return [NetworkGraph.read(network)]
    tensors, about = graphs.read(network)
    told = {key: value for key, value in about.items() if key not in ("losses", "validation")}
    # transposed convolutions run in INT8 only on some processors
    forms = (True, False) if runtime == "openvino" else (False,)
    return [NetworkGraph.of(tensors, graphs.build(tensors, told, transposed=form)) for form in forms]


def _uncentre(graph: Any) -> None:
    """Let the first convolution read the picture as it is: 8 bits hold that exactly, and a share less than 0 does not.

    What is taken off everywhere would go in the normalisation behind it, anyhow.
    """
    for node in [one for one in graph.node if one.op_type == "Sub" and one.input[1] == graphs.HALF]:
        for reader in graph.node:
            for place, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[place] = node.input[0]
        graph.node.remove(node)


def _batches(photographs: Sequence[Floats], codes: Mapping[str, Floats]) -> tuple[list[Batch], list[Batch]]:
    """What is calibrated on, each photograph in one style; and what is compared on; of few photographs the same."""
    every = max(2, round(1 / _CHECKED))
    compared = list(photographs[::every])
    learnt = [one for number, one in enumerate(photographs) if number % every] or compared
    own = list(codes.values())
    if len(learnt) < len(own):
        learnt = [learnt[number % len(learnt)] for number in range(len(own))]

    def paired(pictures: Sequence[Floats], first: int) -> list[Batch]:
        return [
            {graphs.IMAGE: one[None], graphs.CODE: own[(first + number) % len(own)][None]}
            for number, one in enumerate(pictures)
        ]

    return paired(learnt, 0), paired(compared, len(own) // 2)


def _calibrated(model: Any, batches: Sequence[Batch]) -> Any:
    """The graph with quantisers, by NNCF; which tells nobody of it, and prints nothing."""
    nncf = _import_nncf()
    with silent(), redirect_stdout(io.StringIO()), quiet("nncf"):
        return nncf.quantize(
            model,
            nncf.Dataset(list(batches)),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
        )


def _import_nncf() -> Any:
    if "nncf" in sys.modules:
        return require("nncf", EXTRA)
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # as if it were not installed, which nncf allows for
    try:
        with silent():
            return require("nncf", EXTRA)
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


class _Layers:
    """A quantised graph whose convolutions can go back to float32 one by one."""

    def __init__(self, plain: Any, quantised: Any) -> None:
        self._quantised = quantised
        self._weights = {one.name: one for one in plain.graph.initializer}
        nodes = {node.name: node for node in plain.graph.node if node.op_type in _CONVOLUTIONS}
        self._convolutions = {node.input[1].removesuffix(".weight"): name for name, node in nodes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the convolutions, from the first to the last."""
        return tuple(self._convolutions)

    def file(self, kept: Sequence[str]) -> bytes:
        """The graph with these layers in float32."""
        model = type(self._quantised)()
        model.CopyFrom(self._quantised)
        makers = {name: node for node in model.graph.node for name in node.output}
        nodes = {node.name: node for node in model.graph.node}
        for layer in kept:
            node = nodes[self._convolutions[layer]]
            node.input[1] = f"{layer}.weight"
            if f"{layer}.weight" not in {one.name for one in model.graph.initializer}:
                model.graph.initializer.append(self._weights[f"{layer}.weight"])
            _bypass(node, makers)
        _clean(model.graph)
        return bytes(model.SerializeToString())


def _bypass(node: Any, makers: Mapping[str, Any]) -> None:
    """Let a convolution, and what moves its numbers to it, read what was to be quantised."""
    for place, name in enumerate(node.input):
        maker = makers.get(name)
        if maker is None:
            continue
        if maker.op_type == "DequantizeLinear":
            quantiser = makers.get(maker.input[0])
            if quantiser is not None:
                node.input[place] = quantiser.input[0]
        elif maker.op_type in _MOVING:
            _bypass(maker, makers)


def _clean(graph: Any) -> None:
    """Remove what nothing reads any more."""
    wanted = {one.name for one in graph.output}
    while True:
        read = wanted | {name for node in graph.node for name in node.input}
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)


class _Comparison:
    """Pictures of the float32 graph, for others to be compared with, in one runtime."""

    def __init__(self, plain: NetworkGraph, batches: Sequence[Batch], runtime: str) -> None:
        self._batches, self._runtime = batches, runtime
        self._plain = plain.open(runtime)
        self._shaded = [{graphs.IMAGE: _sky(*_SIDES), graphs.CODE: batches[0][graphs.CODE]}]
        self._wanted, self._wanted_shaded = (self._pictures(self._plain, some) for some in (batches, self._shaded))

    def likeness(self, data: bytes) -> Likeness:
        """Of another graph's pictures."""
        session = self._open(data)
        shaded = [*self._pictures(session, self._shaded), *self._wanted_shaded]
        return Likeness.of(self._pictures(session, self._batches), self._wanted, shaded)

    def seconds(self, graphs_: Sequence[bytes]) -> list[float]:
        """For one picture, in float32 and then by other graphs: the least of some rounds, in turn."""
        image = np.random.default_rng(0).random((1, 3, *_TIMED), np.float32)
        code = self._batches[0][graphs.CODE]
        sessions = [self._plain, *map(self._open, graphs_)]
        best = [float("inf")] * len(sessions)
        for number in range(_ROUNDS + 1):
            for place, session in enumerate(sessions):
                started = time.perf_counter()
                session.run(image, code)
                if number:
                    best[place] = min(best[place], time.perf_counter() - started)
        return best

    def _open(self, data: bytes) -> Session:
        return NetworkGraph(data, {}).open(self._runtime)

    def _pictures(self, session: Session, batches: Sequence[Batch]) -> list[Floats]:
        found = [session.run(batch[graphs.IMAGE], batch[graphs.CODE])[0] for batch in batches]
        return [np.clip(one.transpose(1, 2, 0), 0, 1) for one in found]


def _sky(height: int, width: int) -> Floats:
    """A photograph `(1, 3, H, W)` that shades off evenly, in which bands are seen best."""
    down, across = np.linspace(-0.1, 0.1, height)[:, None], np.linspace(0.2, 0.9, width)
    return np.stack([share * (down + across) for share in (0.8, 0.9, 1.0)])[None].astype(np.float32)


def _fall_back(made: _Layers, comparison: _Comparison, least_ssim: float, on_progress: OnProgress) -> tuple[str, ...]:
    """The layers that stay in float32: as few as it takes, the most helpful first."""
    kept: tuple[str, ...] = ()
    reached = comparison.likeness(made.file(kept))
    while not reached.is_near(least_ssim) and len(kept) < len(made.names):
        on_progress(Progress("comparing", len(kept), len(made.names), "layer"))
        others = [name for name in made.names if name not in kept]
        found = {name: comparison.likeness(made.file((*kept, name))) for name in others}
        best = max(found, key=lambda name: found[name].ssim - found[name].bands)
        kept, reached = (*kept, best), found[best]
    return kept
