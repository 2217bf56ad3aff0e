"""Benchmarks: what ships against the plain reference, side by side in one run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from impasto import device, images
from impasto.assets import Store, load_weights
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set, sized
from impasto.bench.timing import compared, time_in_turns
from impasto.contract import Guide, Job, Placement, Style, StyleImage, ignore
from impasto.methods import registry
from impasto.methods.adain import AdaIN
from impasto.methods.optimize.method import Optimize
from impasto.methods.settings import AdaINKnobs, OptimizeKnobs
from impasto.metrics import Judge, psnr
from impasto.report import reference
from impasto.report.cells import Paint
from impasto.report.contenders import Contender

PICTURES = "one"
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

    timings = time_in_turns(
        {"ours": shipped, "reference": lambda: plain(content, style)}, runs=runs, on_device=placement.device
    )
    pictures = {name: images.from_tensor(lap.last) for name, lap in timings.items() if lap.last is not None}
    scores = Judge(case.weights["vgg19-normalised"]).scores(case.content, case.style, pictures["ours"])
    pixels = case.content.shape[0] * case.content.shape[1] + case.style.shape[0] * case.style.shape[1] / 2
    operations = registry.find("adain").operations * pixels
    return {
        **machine_row(placement),
        "benchmark": "adain",
        **compared(timings),
        "share_of_peak": operations / timings["ours"].median / device.convolution_rate(placement),
        "psnr_to_reference_db": psnr(pictures["ours"], pictures["reference"]),
        **asdict(scores),
        "width": case.content.shape[1],
        "height": case.content.shape[0],
    }


def optimize(*, size: int, runs: int, paint: Paint) -> dict[str, Any]:
    """One step at full size, ours against plain float32; and the scores of the draft and of `good`.

    Args:
        size: longest side in pixels.
        runs: counted rounds.
        paint: paints the qualities as users get them.
    """
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
        plain.start(content)  # ours encodes the photograph each time, too
        plain.run(_STEPS)
        return plain.image

    timings = time_in_turns({"ours": shipped, "reference": tutorial}, runs=runs, on_device=placement.device)
    for lap in timings.values():
        lap.seconds = [seconds / _STEPS for seconds in lap.seconds]
    operations = row.operations * case.content.shape[0] * case.content.shape[1]
    return {
        **machine_row(placement),
        "benchmark": "optimize step",
        **compared(timings),
        "share_of_peak": operations / timings["ours"].median / device.convolution_rate(placement),
        **_qualities(case, paint),
        "width": case.content.shape[1],
        "height": case.content.shape[0],
    }


def _qualities(case: _Case, paint: Paint) -> dict[str, float]:
    """Scores and times of the draft and of good, as users get them."""
    judge = Judge(case.weights["vgg19-normalised"])
    row: dict[str, float] = {}
    for quality in ("draft", "good"):
        painted = paint(Contender(quality, "auto", quality), case.content, case.style, ignore)
        scores = judge.scores(case.content, case.style, painted.pixels)
        row[f"{quality}_seconds"] = painted.seconds
        row |= {f"{quality}_{name}": value for name, value in asdict(scores).items()}
    row["style_to_draft"] = row["good_style_distance"] / row["draft_style_distance"]
    row["content_to_draft"] = row["good_content_error"] / row["draft_content_error"]
    return row


def _case(size: int) -> _Case:
    store = Store()
    ((content, style),) = load_set(PICTURES, store, size=size)
    return _Case(store, sized(content.pixels, size), sized(style.pixels, size))
