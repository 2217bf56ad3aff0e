"""Losses by step as a picture, drawn by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import InputError, require
from impasto.files import write_whole
from impasto.report.svg import PALETTE

FORMATS = (".png", ".svg", ".pdf")
_NOT_CURVES = ("seconds", "step")


def check_plot(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before anything is computed, a plot that could not be written.

    Raises:
        InputError: another ending than FORMATS, or a place where nothing can be written.
        MissingExtra: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path.name} names no plot", f"let it end in {', '.join(FORMATS)}")
    images.check_output(path, inputs, formats=FORMATS)
    require("matplotlib", "plot")


def plot_losses(losses: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw each loss over the steps, on a logarithmic scale; a vertical line where a level of the pyramid begins.

    Args:
        losses: of each step by name, weighted as they are summed; with the number of the `step`, and the `seconds`
            since its level began.
        path: ends in one of FORMATS.

    Raises:
        InputError: it cannot be written there.
        MissingExtra: matplotlib is not installed.
        ResourceError: the disk is full.
    """
    check_plot(path)
    figure = require("matplotlib.figure", "plot").Figure(figsize=(8, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    steps = [entry.get("step", number) for number, entry in enumerate(losses, start=1)]
    names = [name for name in losses[-1] if name not in _NOT_CURVES]
    for name, colour in zip(names, PALETTE * len(names), strict=False):
        width = 2.2 if name == "total" else 1.2
        axes.plot(steps, [entry.get(name, float("nan")) for entry in losses], label=name, color=colour, linewidth=width)
    for step in level_starts(losses):
        axes.axvline(step, color="#d9d4ca", linewidth=1, zorder=0)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, weighted")
    axes.grid(axis="y", color="#ece8df", linewidth=0.6)
    axes.legend(frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=120)
    write_whole(path, buffer.getvalue())


def level_starts(losses: Sequence[Mapping[str, float]]) -> list[float]:
    """Steps with which a further level begins: the clock of a level starts at zero."""
    seconds = [entry.get("seconds", 0.0) for entry in losses]
    steps = [entry.get("step", number) for number, entry in enumerate(losses, start=1)]
    return [steps[i] for i in range(1, len(losses)) if seconds[i] < seconds[i - 1]]
