"""`bench unpaired`: a training step beside its networks alone, and what a generator of nine blocks takes to paint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import device
from impasto.bench.results import machine_row
from impasto.bench.timing import Timings, time_in_turns
from impasto.contract import Job, Placement, Style, StyleImage
from impasto.errors import require
from impasto.methods import registry
from impasto.methods.settings import TranslationKnobs, UnpairedKnobs
from impasto.methods.unpaired import Unpaired
from impasto.models.generators import untrained
from impasto.runtimes import translation
from impasto.runtimes.sessions import RUNTIMES, open_graph

SIDES = (512, 1024)
"""Of the squares that are painted."""


def step(*, crop: int, runs: int) -> dict[str, Any]:
    """One step of `contrastive`, and the sum of forward and backward of each of its networks by itself.

    Args:
        crop: side of the crops in pixels.
        runs: counted rounds.

    Raises:
        MissingExtra: the extra `train` is not installed.
    """
    placement = device.place(tested=registry.find("unpaired").precisions)
    parts = _Parts(placement, crop)
    timings = time_in_turns(parts.runners(), runs=runs, on_device=placement.device)
    networks = {name: timing.median for name, timing in timings.items() if name != "step"}
    total = sum(networks.values())
    return {
        **machine_row(placement),
        "benchmark": "contrastive step",
        "crop": crop,
        "seconds": timings["step"].median,
        "networks_seconds": total,
        "times_the_networks": timings["step"].median / total,
        **{f"{name}_seconds": seconds for name, seconds in networks.items()},
        "spread": timings["step"].spread,
        "runs": runs,
    }


class _Parts:
    """A step of the default settings, and its networks apart, on the same crops."""

    def __init__(self, placement: Placement, crop: int) -> None:
        translator, data = (require(f"impasto.train.{name}", "train") for name in ("_translator", "data"))
        grey = data.Photographs((np.full((crop, crop, 3), 128, np.uint8),) * 8)
        crops = data.Crops(grey, crop, crop, 0, 8)
        self._learner = translator.translator(TranslationKnobs(crop=crop), placement, crops, torch.zeros(2, 3, 64, 64))
        self._learner.to(placement.device)
        random = torch.Generator().manual_seed(0)
        pair = torch.rand(2, 3, crop, crop, generator=random).to(placement.device)
        self._pair = self._learner.inside(pair)
        self._number = torch.zeros(1, dtype=torch.long)
        self._optimizer = self._learner.configure_optimizers()

    def runners(self) -> dict[str, Callable[[], None]]:
        """By name."""
        return {
            "step": self._step,
            "generator": lambda: self._alone(self._learner.generator.network(), self._pair),
            "features": lambda: self._alone(self._features, self._pair),
            "discriminator_of_pastiche": lambda: self._alone(self._learner.discriminator, self._pair[:1]),
            "discriminator": lambda: self._alone(self._learner.discriminator, self._pair),
        }

    def _step(self) -> None:
        self._optimizer.zero_grad()
        loss, _ = self._learner.losses(self._pair[:1], self._pair[1:], self._number)
        loss.mean().backward()
        self._optimizer.step()

    def _features(self, pictures: Tensor) -> Tensor:
        return torch.stack([one.float().mean() for one in self._learner.generator.network().features(pictures)])

    def _alone(self, network: Callable[[Tensor], Tensor], pictures: Tensor) -> None:
        self._optimizer.zero_grad()
        network(pictures.detach().clone().requires_grad_()).float().sum().backward()  # type: ignore[no-untyped-call]


def painting(*, runs: int, limit: int) -> Iterator[dict[str, Any]]:
    """Rows of an untrained generator of nine blocks and 64 channels: how long it paints, and in how much memory.

    Args:
        runs: counted rounds.
        limit: bytes for the way in tiles.
    """
    placement = device.place(tested=registry.find("unpaired").precisions)
    tensors = untrained(width=64, blocks=9, blurred=False, generator=torch.Generator().manual_seed(0))
    painter = Unpaired({"network": tensors}, placement)
    arrays = {name: one.numpy() for name, one in tensors.items()}
    for side in SIDES:
        content = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(placement.device)
        runners: dict[str, Callable[[], Any]] = {
            "torch": partial(_paint, painter, content, None),
            "torch in tiles": partial(_paint, painter, content, limit),
        }
        if side == SIDES[0]:
            runners |= _runtimes(arrays, content)
        timings = time_in_turns(runners, runs=runs, on_device=placement.device)
        for name, timing in timings.items():
            yield {**machine_row(placement), **_row(name, timing, side, runs)}


def _row(name: str, timing: Timings[Any], side: int, runs: int) -> dict[str, Any]:
    peak = timing.peak_mb
    return {
        "benchmark": "generator of 9 blocks",
        "way": name,
        "side": side,
        "seconds": timing.median,
        "peak_mb": peak,
        "spread": timing.spread,
        "runs": runs,
    }


def _paint(painter: Unpaired, content: Tensor, memory: int | None) -> Tensor:
    knobs = UnpairedKnobs()
    code = painter.encode_style(Style((StyleImage(content),)), knobs)
    return painter.stylize(content, [Job(code, knobs, memory=memory)])


def _runtimes(arrays: dict[str, Any], content: Tensor) -> dict[str, Callable[[], Any]]:
    image, code = content.cpu().numpy(), np.zeros((1, 1), np.float32)
    found: dict[str, Callable[[], Any]] = {}
    for name, row in RUNTIMES.items():
        if row.is_installed:
            for precision in row.precisions:
                session = open_graph(translation.build(arrays), name, precision)
                found[f"{name} {precision}"] = partial(session.run, image, code)
    return found
