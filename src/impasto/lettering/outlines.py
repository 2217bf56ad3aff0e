"""Flat shapes as closed outlines, and their rasterisation."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError, plain, require
from impasto.images import MAX_SIDE

Floats: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]

_CURVE_POINTS = 8  # into which a curve is cut where it is bent


@dataclass(frozen=True)
class Contour:
    """One closed polygon `(N, 2)`, x to the right and y downwards."""

    points: Points


@dataclass(frozen=True)
class Outline:
    """A flat shape: closed contours, filled where they wind round a point (nonzero).

    Attributes:
        contours: in one unit, whichever.
    """

    contours: tuple[Contour, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom. Raises InputError where there is nothing to see."""
        if not self.contours:
            raise InputError("the text has no visible letter", "give some letters")
        points = np.concatenate([contour.points for contour in self.contours])
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(left), float(top), float(right), float(bottom)

    def mapped(self, change: Callable[[Points], Points]) -> Outline:
        """The shape with all points moved; `change` takes and gives `(N, 2)`."""
        return Outline(tuple(Contour(change(contour.points)) for contour in self.contours))

    def placed(self, scale: float, right: float, down: float) -> Outline:
        """Scaled, then moved."""
        return self.mapped(lambda points: points * scale + (right, down))

    def drawn(self, height: int, width: int) -> Floats:
        """Coverage `(H, W)` in [0, 1], antialiased; the unit is a pixel."""
        path = " ".join(f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in contour.points)}Z" for contour in self.contours)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        return coverage_of(f'{head}<path d="{path}"/></svg>')


def flattened(commands: Iterable[tuple[str, tuple[float, ...]]], *, step: float) -> list[Contour]:
    """Contours of a path, lines cut into pieces no longer than `step`.

    commands: M, L, Q, C, Z and E (an end that is not closed) with their coordinates.
    """
    contours: list[Contour] = []
    points: list[NDArray[Any]] = []
    for name, numbers in commands:
        ends = np.asarray(numbers, np.float64).reshape(-1, 2)
        if name == "M":
            points = [ends]
        elif name in ("Z", "E"):
            if points:
                contours.append(Contour(np.concatenate(points)))
            points = []
        elif points:
            points.append(_piece(points[-1][-1], ends, step))
    return contours


def _piece(start: NDArray[Any], ends: NDArray[Any], step: float) -> NDArray[Any]:
    """Points along a line or a Bézier curve, without its start."""
    control = np.vstack([start[None], ends])
    length = float(np.hypot(*np.diff(control, axis=0).T).sum())
    least = 1 if len(ends) == 1 else _CURVE_POINTS
    count = int(np.clip(np.ceil(length / step), least, 64))
    along = np.linspace(0, 1, count + 1)[1:, None]
    while len(control) > 1:  # de Casteljau, for all places at once
        control = np.asarray([a + (b - a) * along for a, b in pairwise(control)])
    return np.asarray(control[0])


def coverage_of(svg: str, *, size: tuple[int, int] | None = None) -> Floats:
    """The opacity of a drawing at each pixel, `(H, W)` in [0, 1].

    Args:
        svg: its markup, checked.
        size: width and height in pixels; its own without.

    Raises:
        InputError: it cannot be drawn.
    """
    resvg = require("resvg_py", "letters")
    width, height = (None, None) if size is None else size
    assert max(width or 0, height or 0) <= MAX_SIDE
    try:
        data = resvg.svg_to_bytes(svg_string=svg, skip_system_fonts=True, width=width, height=height)
    except ValueError as error:
        raise InputError(f"the SVG cannot be drawn: {plain(error)}", "give a well-formed SVG") from error
    picture = images.read(io.BytesIO(bytes(data)))
    if picture.alpha is None:
        return np.ones(picture.pixels.shape[:2], np.float32)
    return np.asarray(picture.alpha, np.float32)
