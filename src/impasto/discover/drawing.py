"""A map of a collection: paintings that are alike lie near each other, and those of one style have one colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.discover.clusters import Grouping
from impasto.errors import require

TINTS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2",
    "#eeca3b", "#9d755d", "#ff9da6", "#439894", "#79706e", "#d67195",
)  # fmt: skip
"""Colours of groups, in their order, from the start again after the last."""

_PAPER = np.array([0.98, 0.976, 0.965], np.float32)
_SHEET = 1600  # pixels, of the map's side
_FRAME = 3  # pixels
_PERPLEXITY = 30.0

Floats = NDArray[np.float64]


class Drawn(Protocol):
    """What is drawn of a work."""

    @property
    def label(self) -> str:
        """Its name."""
        ...

    @property
    def pixels(self) -> NDArray[Any]:
        """`(H, W, 3)`."""
        ...


def flattened(points: Floats, seed: int) -> Floats:
    """Points on a map, `(N, 2)` in [0, 1], whose neighbours stay neighbours.

    Paper: van der Maaten and Hinton 2008, Visualizing Data using t-SNE.
    """
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    method = require("sklearn.manifold", "discover").TSNE(
        2, perplexity=perplexity, init="pca", random_state=seed, learning_rate="auto"
    )
    flat = np.asarray(method.fit_transform(points.astype(np.float32)), np.float64)
    low, high = flat.min(0), flat.max(0)
    placed: Floats = (flat - low) / np.maximum(high - low, 1e-9)
    return placed


def draw(works: Sequence[Drawn], flat: Floats, grouping: Grouping) -> NDArray[np.float32]:
    """The map as a picture `(H, W, 3)`: a small copy of each work, framed in the colour of its group."""
    sheet = np.tile(_PAPER, (_SHEET, _SHEET, 1))
    side = int(np.clip(_SHEET / (1.3 * len(works) ** 0.5), 24, 160))
    for index in np.argsort(flat[:, 1], kind="stable"):
        small = thumbnail(works[index].pixels, side)
        tint = _rgb(TINTS[grouping.labels[index] % len(TINTS)])
        framed = np.tile(tint, (small.shape[0] + 2 * _FRAME, small.shape[1] + 2 * _FRAME, 1))
        framed[_FRAME:-_FRAME, _FRAME:-_FRAME] = small
        height, width = framed.shape[:2]
        top, left = (round(float(at) * (_SHEET - side - 2 * _FRAME)) for at in flat[index, ::-1])
        sheet[top : top + height, left : left + width] = framed
    return sheet


def thumbnail(pixels: NDArray[Any], side: int) -> NDArray[np.float32]:
    """A small copy, of that longest side."""
    width, height = images.fit(pixels.shape[1], pixels.shape[0], side)
    return images.resize(images.as_float(pixels), max(height, 1), max(width, 1))


def page_values(
    works: Sequence[Drawn], flat: Floats, grouping: Grouping, styles: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the template of the page takes."""
    placed = [
        {
            "label": work.label,
            "x": round(float(flat[index, 0]) * 100, 2),
            "y": round(float(flat[index, 1]) * 100, 2),
            "group": int(grouping.labels[index]),
            "tint": TINTS[grouping.labels[index] % len(TINTS)],
            "source": _address(work.pixels),
        }
        for index, work in enumerate(works)
    ]
    tinted = [{**row, "tint": TINTS[number % len(TINTS)]} for number, row in enumerate(styles)]
    return {"works": placed, "groups": tinted}


def _address(pixels: NDArray[Any]) -> str:
    stream = io.BytesIO()
    images.write(images.Picture(thumbnail(pixels, 128)), stream, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _rgb(color: str) -> NDArray[np.float32]:
    return np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)], np.float32)
