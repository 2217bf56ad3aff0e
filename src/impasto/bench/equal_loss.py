"""Time to equal loss: how long ours takes to the loss that the plain reference ends with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import device, images
from impasto.assets import Store, load_weights
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set, sized
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import Cancelled, InputError
from impasto.methods import recipes, registry
from impasto.methods.optimize.balances import FAINT, OCTAVE_BALANCE, STROKE_BALANCE, style_weight
from impasto.methods.optimize.levels import levels_of
from impasto.methods.settings import OptimizeKnobs
from impasto.metrics import Judge
from impasto.report import reference
from impasto.report.cells import Paint
from impasto.report.contenders import Contender

RATES = (0.01, 0.02, 0.04)
_TOLERANCE = 1.1  # times the goal: only pictures of a lower loss are checked by the reference
_CONTENT_FACTOR = 1.07  # times its weight in ours: else it would keep less of the photograph than the reference
_MAX_STEPS_RATIO = 4  # times the steps of the recipe: the most that ours may take
_HISTORY = 20  # steps that L-BFGS remembers: the fastest here


@dataclass
class _Candidate:
    """A picture of ours near the goal, with the time and the steps that it took."""

    seconds: float
    steps: int
    picture: Tensor


def equal_loss(
    *, picture_set: str, pair: int, size: int, steps: int, paint: Paint, on_progress: OnProgress = ignore
) -> dict[str, Any]:
    """Run the plain reference, then ours until the reference's own loss of our picture is as low.

    The reference (Adam from the photograph, one scale, float32) gets the best of at least three learning rates, each
    tried for all steps at half the size. Its loss judges both: ours is observed through its progress reports, and its
    clock starts before our weights are read. Ours minimises the same loss with a little more weight on the content, so
    that at equal loss it does not keep less of the photograph.

    Args:
        picture_set: a picture set by name.
        pair: which of its pairs, from 0.
        size: longest side in pixels.
        steps: of the reference.
        paint: paints the qualities as users get them.
        on_progress: called with the share that is done.

    Raises:
        InputError: the set has no such pair.
    """
    store = Store()
    pairs = load_set(picture_set, store, size=size)
    if not 0 <= pair < len(pairs):
        raise InputError(f"picture set {picture_set} has no pair {pair}", f"its pairs are 0 to {len(pairs) - 1}")
    content, style = (sized(subject.pixels, size) for subject in pairs[pair])
    weights = load_weights(store.path("vgg19-normalised"))
    rate, losses = _best_rate(weights, content, style, size // 2, steps, on_progress)
    plain = _reference(weights, images.to_tensor(content), images.to_tensor(style))
    goal, reference_seconds = _run_reference(plain, steps, rate, f"reference at {size} px", on_progress)
    candidates, seconds_all = _run_ours(paint, content, style, goal, on_progress)
    reached = next((candidate for candidate in candidates if _loss(plain, candidate.picture) <= goal), None)
    judge = Judge(weights)
    scores = {"reference": judge.scores(content, style, images.from_tensor(plain.image.detach()))}
    if reached is not None:
        scores["ours"] = judge.scores(content, style, images.from_tensor(reached.picture))
    return {
        **machine_row(device.place(tested=registry.find("optimize").precisions)),
        "benchmark": "time to equal loss",
        **_compared(reached, reference_seconds, steps),
        "loss": goal,
        "watched_seconds": seconds_all,
        "reference_rate": rate,
        "rates_at_half_size": " ".join(f"{key}:{value:.4f}" for key, value in losses.items()),
        "content": pairs[pair][0].name,
        "style": pairs[pair][1].name,
        **{f"{side}_{name}": value for side, score in scores.items() for name, value in asdict(score).items()},
        "width": content.shape[1],
        "height": content.shape[0],
    }


def _run_reference(
    plain: reference.Gatys, steps: int, rate: float, stage: str, on_progress: OnProgress
) -> tuple[float, float]:
    """The reference's lowest loss, and its seconds."""
    started = time.perf_counter()
    losses = plain.run(steps, rate, on_step=_reporter(stage, steps, on_progress))
    return min(losses), time.perf_counter() - started


def _compared(reached: _Candidate | None, reference_seconds: float, reference_steps: int) -> dict[str, Any]:
    """Times and steps as columns; ours are empty where it did not come to the goal."""
    return {
        "seconds": None if reached is None else reached.seconds,
        "reference_seconds": reference_seconds,
        "times_faster": None if reached is None else reference_seconds / reached.seconds,
        "steps": None if reached is None else reached.steps,
        "reference_steps": reference_steps,
    }


def _best_rate(
    weights: Any,
    content: NDArray[np.float32],
    style: NDArray[np.float32],
    size: int,
    steps: int,
    on_progress: OnProgress,
) -> tuple[float, dict[float, float]]:
    """The learning rate with the lowest loss, and the lowest loss of each. The best has a worse one on either side."""
    small = [images.to_tensor(sized(pixels, size)) for pixels in (content, style)]
    plain = _reference(weights, *small)
    ends: dict[float, float] = {}
    rates = list(RATES)
    while rates:
        for rate in rates:
            plain.start(small[0])
            report = _reporter(f"reference at {size} px, rate {rate}", steps, on_progress)
            ends[rate] = min(plain.run(steps, rate, on_step=report))
        best = min(ends, key=ends.__getitem__)
        rates = [2 * best] if best == max(ends) else [best / 2] if best == min(ends) else []
    return best, ends


def _run_ours(
    paint: Paint, content: NDArray[np.float32], style: NDArray[np.float32], goal: float, on_progress: OnProgress
) -> tuple[list[_Candidate], float]:
    """Pictures of ours as it comes near the goal, each with the time and the steps that it took."""
    candidates: list[_Candidate] = []
    started = time.perf_counter()

    def watch(progress: Progress) -> None:
        seconds = time.perf_counter() - started
        on_progress(progress)
        total = progress.losses.get("total")
        if total is None or total > goal * _TOLERANCE or progress.preview is None:
            return
        if progress.preview.shape[2:] != content.shape[:2]:  # of a coarser level
            return
        candidates.append(_Candidate(seconds, progress.step, progress.preview.clamp(0, 1).clone()))
        if total < goal / 1.02:  # surely below, whatever bfloat16 has rounded
            raise Cancelled("near enough")

    good = _good()
    knobs = {
        "steps": _MAX_STEPS_RATIO * good.steps,
        "content_weight": _CONTENT_FACTOR * good.content_weight,
        "history": _HISTORY,
    }
    contender = Contender("ours", "optimize", "good", knobs)
    with contextlib.suppress(Cancelled):
        paint(contender, content, style, watch)
    return candidates, time.perf_counter() - started


def _good() -> OptimizeKnobs:
    """The settings of quality good."""
    knobs = recipes.plan("auto", "good", {})[-1].knobs
    assert isinstance(knobs, OptimizeKnobs)
    return knobs


def _reference(weights: Mapping[str, Tensor], content: Tensor, style: Tensor) -> reference.Gatys:
    """The plain reference, held to the whole loss that `good` minimises at full size."""
    good = _good()
    (content_layer,) = good.content_layers
    balance = style_weight(good)
    shares = [0.5**octave for octave in range(1, good.octaves)]
    longest = max(content.shape[2:])
    held_to = reference.Loss(
        content_layer=content_layer,
        content_weight=good.content_weight,
        faint=FAINT,
        style_weight=balance,
        deep_style=levels_of(content.shape[2], content.shape[3], good)[-1].deep_style,
        stroke_weight=STROKE_BALANCE * good.stroke_weight,
        smaller={share: 2 * share * OCTAVE_BALANCE * balance for share in shares if share * longest >= good.coarsest},
    )
    return reference.Gatys(weights, content, style, held_to)


@torch.no_grad()
def _loss(plain: reference.Gatys, picture: Tensor) -> float:
    return plain.loss(picture.cpu()).item()


def _reporter(stage: str, steps: int, on_progress: OnProgress) -> Any:
    return lambda step: on_progress(Progress(stage, step, steps))
