"""Benchmarks: what ships against the plain reference, side by side in one run."""

from __future__ import annotations

import csv
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import device, images, registry
from impasto.assets import Store, load_weights
from impasto.bench import reference
from impasto.contract import Guide, Job, Placement, Style, StyleImage
from impasto.knobs import AdaINKnobs, OptimizeKnobs
from impasto.library import Library
from impasto.methods.adain import AdaIN
from impasto.methods.optimize import Optimize
from impasto.metrics import Judge, psnr

PHOTO, PAINTING = "chelsea.png", "436535"
_STEPS = 3  # a sample of the descent; every step does the same work


@dataclass(frozen=True)
class _Case:
    """One pair at one size, with what both sides need."""

    store: Store
    content: NDArray[np.float32]
    style: NDArray[np.float32]

    @property
    def weights(self) -> dict[str, dict[str, Tensor]]:
        ids = ("vgg19-normalised", "adain-decoder")
        return {asset: load_weights(self.store.path(asset)) for asset in ids}

    def style_as_input(self, placement: Placement) -> Style:
        pixels = images.to_tensor(self.style).to(placement.device)
        return Style((StyleImage(pixels),), (self.content.shape[0], self.content.shape[1]))


def adain(*, size: int, runs: int) -> dict[str, Any]:
    """Encode the style and paint, ours against plain float32."""
    case = _case(size)
    placement = device.place(tested=registry.find("adain").precisions)
    ours, plain = AdaIN(case.weights, placement), reference.AdaIN(*case.weights.values())
    content, style = images.to_tensor(case.content), images.to_tensor(case.style)
    inputs, knobs = case.style_as_input(placement), AdaINKnobs()

    def shipped() -> Tensor:
        job = Job(ours.encode_style(inputs, knobs), knobs)
        return ours.stylize(content.to(placement.device), [job]).cpu()

    pictures, times = _race({"ours": shipped, "reference": lambda: plain(content, style)}, runs, placement)
    judge = Judge(case.weights["vgg19-normalised"])
    scores = judge.scores(case.content, case.style, images.from_tensor(pictures["ours"]))
    pixels = case.content.shape[0] * case.content.shape[1] + case.style.shape[0] * case.style.shape[1] / 2
    operations = registry.find("adain").operations * pixels
    return {
        **_machine(placement),
        "benchmark": "adain",
        **_timed(times),
        "share_of_peak": operations / statistics.median(times["ours"]) / device.convolution_rate(placement),
        "psnr_to_reference_db": psnr(images.from_tensor(pictures["ours"]), images.from_tensor(pictures["reference"])),
        "style_distance": scores.style_distance,
        "content_error": scores.content_error,
        "width": case.content.shape[1],
        "height": case.content.shape[0],
    }


def optimize(*, size: int, runs: int) -> dict[str, Any]:
    """One step at full size, ours against plain float32; and the scores of the draft and of `good`."""
    case = _case(size)
    row = registry.find("optimize")
    placement = device.place(tested=row.precisions)
    ours = Optimize(case.weights, placement)
    content = images.to_tensor(case.content)
    plain = reference.Gatys(case.weights["vgg19-normalised"], content, images.to_tensor(case.style))
    knobs = OptimizeKnobs(coarsest=size, steps=_STEPS, init="content", optimizer="adam")
    code = ours.encode_style(case.style_as_input(placement), knobs)

    def shipped() -> Tensor:
        return ours.stylize(content.to(placement.device), [Job(code, knobs, Guide())])

    def tutorial() -> Tensor:
        plain.run(_STEPS)
        return plain.image

    _, times = _race({"ours": shipped, "reference": tutorial}, runs, placement)
    steps = {name: [seconds / _STEPS for seconds in taken] for name, taken in times.items()}
    pixels = case.content.shape[0] * case.content.shape[1]
    return {
        **_machine(placement),
        "benchmark": "optimize step",
        **_timed(steps),
        "share_of_peak": row.operations
        * pixels
        / statistics.median(steps["ours"])
        / device.convolution_rate(placement),
        **_qualities(case, size),
        "width": case.content.shape[1],
        "height": case.content.shape[0],
    }


def _qualities(case: _Case, size: int) -> dict[str, float]:
    """Scores and times of the draft and of good, through the engine."""
    from impasto.engine import Engine, Request

    engine, judge = Engine(store=case.store), Judge(case.weights["vgg19-normalised"])
    row: dict[str, float] = {}
    for quality in ("draft", "good"):
        result = engine.stylize(case.content, case.style, Request(quality=quality, size=size))
        scores = judge.scores(case.content, case.style, result.picture.pixels)
        row[f"{quality}_seconds"] = result.seconds
        row[f"{quality}_style_distance"] = scores.style_distance
        row[f"{quality}_content_error"] = scores.content_error
    row["style_to_draft"] = row["good_style_distance"] / row["draft_style_distance"]
    row["content_to_draft"] = row["good_content_error"] / row["draft_content_error"]
    return row


def _case(size: int) -> _Case:
    store = Store()
    library = Library(store)
    content = images.read(store.path("photos") / PHOTO).pixels
    style = images.read(library.path(library.find(PAINTING))).pixels
    return _Case(store, _sized(content, size), _sized(style, size))


def _sized(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Longest side `size`, both sides multiples of 16, so that neither side of the race has to pad."""
    width, height = images.fit(pixels.shape[1], pixels.shape[0], size)
    return images.resize(pixels, round(height / 16) * 16, round(width / 16) * 16)


def _race(
    runners: dict[str, Callable[[], Tensor]], runs: int, placement: Placement
) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
    """Run all in turn, again and again, so that a noisy minute hits every side; one warm-up round is not counted."""
    pictures: dict[str, Tensor] = {}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for round_number in range(runs + 1):
        for name, runner in runners.items():
            started = time.perf_counter()
            pictures[name] = runner()
            device.synchronize(placement.device)
            if round_number:
                times[name].append(time.perf_counter() - started)
    return pictures, times


def _timed(times: dict[str, list[float]]) -> dict[str, Any]:
    ours, plain = times["ours"], times["reference"]
    return {
        "seconds": statistics.median(ours),
        "reference_seconds": statistics.median(plain),
        "times_faster": statistics.median(plain) / statistics.median(ours),
        "spread": (max(ours) - min(ours)) / statistics.median(ours),
        "runs": len(ours),
    }


def _machine(placement: Placement) -> dict[str, Any]:
    hardware = device.hardware()
    return {
        "commit": _commit(),
        "cpu": hardware["cpu"],
        "features": " ".join(hardware["cpu_features"]),
        "threads": hardware["threads"],
        "torch": torch.__version__,
        "device": placement.device,
        "precision": placement.precision,
        "peak_gflops": device.convolution_rate(placement, seconds=1.0) / 1e9,
    }


def _commit() -> str:
    """The commit of the working folder, when it is a checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return ""
    return done.stdout.strip()


def append_csv(path: Path, row: dict[str, Any]) -> None:
    """Add a row; the header is written with the first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
