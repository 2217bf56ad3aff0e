"""Outputs of a training for the eye: tables, curves, contact sheets and thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto import images
from impasto.files import write_whole
from impasto.report import svg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from impasto.train._learner import Learner
    from impasto.train._teacher import Floats

_KEPT = 120  # points of the losses in a network's file
_THUMBNAIL = 128


def write_csv(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Rows of numbers with a header."""
    if not rows:
        return
    names = list(rows[0])
    lines = [",".join(names), *(",".join(f"{row.get(name, float('nan')):.6g}" for name in names) for row in rows)]
    write_whole(path, "\n".join(lines) + "\n")


def thinned(history: Sequence[Mapping[str, float]], points: int = _KEPT) -> dict[str, list[float]]:
    """Losses by name at up to `points` steps, each the mean of the steps since the one before."""
    if not history:
        return {}
    groups = np.array_split(np.arange(len(history)), min(points, len(history)))
    columns = {name: [float(np.mean([history[i][name] for i in group])) for group in groups] for name in history[0]}
    columns["step"] = [history[int(group[-1])]["step"] for group in groups]
    return {name: [float(f"{value:.4g}") for value in values] for name, values in columns.items()}


def write_curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """The competing losses, over steps."""
    columns = thinned(history, 40)
    if not columns:
        return
    steps = columns.pop("step")
    every = max(1, len(steps) // 8)
    ticks = [f"{step:g}" if index % every == 0 else "" for index, step in enumerate(steps)]
    series = {name: values for name, values in columns.items() if name not in ("tv", "critic", "loss")}
    write_whole(path, svg.lines(series, ticks=ticks, title="losses") + "\n")


def write_sheet(path: Path, pictures: Iterable[tuple[Floats, str]]) -> None:
    """A contact sheet, three columns."""
    sheet = images.contact_sheet(list(pictures), columns=3, cell=320, lines=1)
    images.write(images.read(sheet), path)


def shrunk(photograph: NDArray[Any], longest: int) -> Floats:
    """A photograph `(H, W, 3)`, of 8 bits or floats, at the size of a sheet."""
    pixels = photograph.astype(np.float32) / np.float32(255) if photograph.dtype == np.uint8 else photograph
    width, height = images.fit(pixels.shape[1], pixels.shape[0], longest)
    return images.resize(pixels, height, width)


def painted(learner: Learner, style: int, photograph: NDArray[Any], longest: int) -> Floats:
    """One photograph `(H, W, 3)` as the running averages paint it."""
    return images.from_tensor(learner.painted(images.to_tensor(shrunk(photograph, longest)).to(learner.device), style))


def thumbnail(picture: Floats) -> str:
    """A small WebP in base64, for the network's file."""
    width, height = images.fit(picture.shape[1], picture.shape[0], _THUMBNAIL)
    buffer = io.BytesIO()
    images.write(images.read(images.resize(picture, height, width)), buffer, format="WEBP")
    return base64.b64encode(buffer.getvalue()).decode()
