"""Chooses what runs a stage: the runtime that was asked for, or the fastest here by measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import device
from impasto.contract import Placement
from impasto.errors import InputError, MissingExtra
from impasto.methods import recipes, registry
from impasto.models import catalog, onnx_files
from impasto.models.checkpoint import WeightsRef
from impasto.runtimes import choice, graphs
from impasto.runtimes.sessions import RUNTIMES, installed

if TYPE_CHECKING:
    from impasto.assets import Store
    from impasto.engine.cache import ModelCache
    from impasto.methods.registry import Method
    from impasto.runtimes.sessions import Runtime

_HEAVY = 400e3  # operations a pixel

NAMES = ("auto", "torch", *RUNTIMES)
"""What `--runtime` takes."""


def place(
    stage: recipes.Stage, device_name: str, precision: str, runtime: str, *, network: Path | None = None
) -> Placement:
    """Where a stage computes, in which precision, and what runs it; `auto` takes torch, where torch can.

    Args:
        stage: the method and its settings.
        device_name, precision, runtime: as for `Engine`.
        network: the file of the trained network whose styles are painted.

    Raises:
        InputError: what was asked for cannot run the method, on this device or in this precision.
        MissingExtra: the runtime is not installed.
    """
    row, only_graph = stage.method, network is not None and network.suffix == onnx_files.SUFFIX
    if runtime == "auto" and only_graph:
        runtime = next(iter(installed()), "onnx")
    if runtime in ("auto", "torch"):
        if only_graph:
            raise InputError(f"{network} is an ONNX file, which torch cannot run", "leave out --runtime")
        return device.place(device_name, precision, tested=row.precisions)
    return in_runtime(row, device_name, precision, runtime)


def in_runtime(row: Method, device_name: str, precision: str, runtime: str) -> Placement:
    """The placement of a method in ONNX Runtime or OpenVINO; raises as `place`."""
    if runtime not in row.runtimes:
        able = [one.name for one in registry.methods().values() if runtime in one.runtimes]
        hint = f"leave out --runtime; or use --quality draft, or method {' or '.join(able)}"
        raise InputError(f"method {row.name} cannot be run by {RUNTIMES[runtime].title}", hint)
    RUNTIMES[runtime].check_installed()
    if device_name not in ("auto", "cpu"):
        raise InputError(f"--runtime {runtime} computes on the CPU, not on {device_name}", "leave out --device")
    known = RUNTIMES[runtime].precisions
    if precision not in ("auto", *known):
        raise InputError(f"--runtime {runtime} does not compute in {precision}", f"it takes {', '.join(known)}")
    placed = device.place("cpu", precision, tested=tuple(one for one in row.precisions if one in known))
    return replace(placed, runtime=runtime)


def candidates(row: Method, network: Path | None, *, cold: bool) -> tuple[str, ...]:
    """Runtimes that could run a method here.

    Args:
        row: the method.
        network: the file of the trained network whose styles are painted.
        cold: torch is not loaded, which takes longer than a picture.
    """
    found = tuple(name for name in installed() if name in row.runtimes)
    without = cold or (network is not None and network.suffix == onnx_files.SUFFIX)
    return found if without else ("torch", *found)


def able(names: Sequence[str], precision: str) -> list[str]:
    """Those of the runtimes that compute in a precision; all where it is `auto`."""
    return [name for name in names if name == "torch" or precision in ("auto", *RUNTIMES[name].precisions)]


def fastest(
    models: ModelCache, stage: recipes.Stage, placement: Placement, network: Path | None, precision: str
) -> Placement:
    """The placement with the fastest runtime, all of which are loaded and measured where that was not done before.

    Args:
        models: loads the networks.
        stage: the method and its settings.
        placement: in the runtime that is to be preferred.
        network: the file of the trained network whose styles are painted.
        precision: as for `Engine`; what was asked for is kept.
    """
    row = stage.method
    if placement.device != "cpu" or len(row.runtimes) < 2:
        return placement
    placements = {placement.runtime: placement}
    for name in able(candidates(row, network, cold=False), precision):
        if name not in placements:
            placements[name] = in_runtime(row, "cpu", precision, name)
    if len(placements) == 1:
        return placement
    needed = row.needs(stage.knobs)
    key = networks_key(row, needed, models.store) if network is None else graphs.digest_of(network)
    painters = {name: _painter(models, stage, each, network) for name, each in placements.items()}
    try:
        seconds = choice.measured(key, painters, models.folder, precision=precision)
    except MissingExtra:  # its graph was never built, and the package onnx is not there
        return placement
    return placements[choice.fastest(seconds)]


def trial(painter: Runtime, network: Path) -> Callable[[], object]:
    """Paints a grey picture with a trained network that a runtime has loaded."""
    name = catalog.listing(network)[0].name
    return partial(painter.paint, np.full((*choice.SIDES, 3), 0.5, np.float32), {name: 1.0})


def networks_key(row: Method, needed: Sequence[str], store: Store) -> str:
    """Identifies the networks of a method that takes any painting, by the contents of its weights."""
    refs = [WeightsRef.parse(name) for name in needed]
    digests = [graphs.digest_of(ref.file or store.path(ref.name)) for ref in refs]
    return " ".join([row.name, *digests])


def sides_of(row: Method) -> tuple[int, int]:
    """Height and width of the picture that is painted to measure a method: smaller where that takes long."""
    height, width = choice.SIDES
    return (height, width) if row.operations < _HEAVY else (height // 2, width // 2)


def _painter(
    models: ModelCache, stage: recipes.Stage, placement: Placement, network: Path | None
) -> Callable[[], object]:
    """Paints a grey picture; loads what it needs when it is first called."""

    def paint() -> object:
        import torch

        from impasto.contract import Job, Style, StyleImage

        name = "" if network is None else catalog.listing(network)[0].name
        style = Style((StyleImage(torch.full((1, 3, 64, 64), 0.5), name=name),))
        stylizer = models.stylizer(stage.method, placement, stage.knobs, network=network)
        given: Any = stage.knobs
        knobs = replace(given, strength=1.0)
        job = Job(stylizer.encode_style(style, knobs), knobs)
        return stylizer.stylize(torch.full((1, 3, *sides_of(stage.method)), 0.5), [job])

    return paint


@dataclass(frozen=True)
class PackTimes:
    """How fast the runtimes of this machine paint in a style of the pack.

    Attributes:
        seconds: for a picture of `choice.SIDES`, by name.
        without_torch: the runtime that paints as long as torch is not loaded; empty where there is none.
        with_torch: the one that paints films, cameras and further pictures; empty where torch is not there.
    """

    seconds: Mapping[str, float]
    without_torch: str = ""
    with_torch: str = ""

    def report(self) -> dict[str, Any]:
        """Lines of `impasto doctor`."""
        height, width = choice.SIDES
        times = {name: f"{1000 * one:.0f} ms" for name, one in self.seconds.items()}
        reason = f"the least time at {width}x{height}, measured here with the pack, torch once it is loaded"
        plain = "torch" if device.has_torch() else "none"
        alone = "none is installed" if plain == "none" and not times else "the only one that is installed"
        return {
            "runtime": {"a picture": self.without_torch or plain, "films and cameras": self.with_torch or plain},
            "runtime_times": times,
            "runtime_reason": reason if len(times) > 1 else alone,
        }


def measure_pack(store: Store) -> PackTimes:
    """Measure all runtimes that are installed, unless that is known."""
    from impasto.engine.cache import ModelCache

    if not catalog.PACK.exists():
        return PackTimes({})
    models = ModelCache(store)
    (stage,) = recipes.plan("feedforward", None, {})
    names = candidates(stage.method, catalog.PACK, cold=not device.has_torch())
    placements = [place(stage, "cpu", "auto", name, network=catalog.PACK) for name in names]
    try:
        return _pack_times(models, stage, placements)
    except MissingExtra:  # no graph of the pack was ever built, and the package onnx is not there
        return PackTimes({})


def _pack_times(models: ModelCache, stage: recipes.Stage, placements: Sequence[Placement]) -> PackTimes:
    cold = {
        each.runtime: models.runtime(catalog.PACK, each.runtime, each.precision)
        for each in placements
        if each.runtime != "torch"
    }
    key, quick = graphs.digest_of(catalog.PACK), ""
    if cold:
        runs = {name: trial(runtime, catalog.PACK) for name, runtime in cold.items()}
        seconds = choice.measured(key, runs, models.folder)
        quick = choice.fastest(seconds)
    if not device.has_torch():
        return PackTimes(seconds if cold else {}, quick)
    painters = {each.runtime: _painter(models, stage, each, catalog.PACK) for each in placements}
    seconds = choice.measured(key, painters, models.folder)
    return PackTimes(seconds, quick, choice.fastest(seconds))
