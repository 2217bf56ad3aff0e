"""The image that a descent in Keras begins with, on arrays `(3, H, W)`: as `methods.optimize.start` makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.keras import resampling
from impasto.keras.resampling import Floats
from impasto.methods.optimize.balances import EVEN, FINE
from impasto.methods.optimize.levels import STRIDE
from impasto.methods.settings import OptimizeKnobs
from impasto.ops import palettes

_GRAIN = 8.0  # pixels of a grain of noise
_DRAFT_GRAIN = 2.0  # pixels over which a draft is smoothed


def color_sums(picture: Floats) -> NDArray[np.float64]:
    """`(4, 4)`, the mean of `h h^T` with h = (r, g, b, 1)."""
    values = resampling.extended(picture, STRIDE).reshape(3, -1).astype(np.float64)
    values = np.vstack([values, np.ones_like(values[:1])])
    sums: NDArray[np.float64] = values @ values.T / values.shape[1]
    return sums


def start_image(
    content: Floats, palette: NDArray[np.float64] | None, knobs: OptimizeKnobs, given: Floats | None
) -> Floats:
    """The image that the descent begins with.

    Args:
        content: the photograph.
        palette: `color_sums` of the paintings, averaged by their shares.
        knobs: which start, and how much detail stays.
        given: a draft, or the user's picture, of the photograph's size.
    """
    if given is not None:
        return given
    random = np.random.default_rng(knobs.seed)

    def noisy() -> Floats:
        noise = np.float32(0.1) * random.standard_normal(content.shape, np.float32)
        return _clipped(softened(content, knobs) + noise)

    def recolored() -> Floats:
        assert palette is not None
        return softened(_recolored(content, palette), knobs)

    starts: dict[str, Callable[[], Floats]] = {
        "content": lambda: softened(content, knobs),
        "content+noise": noisy,
        "noise": lambda: _clouds(content.shape, random),
        "recolored": recolored,
    }
    return starts[knobs.init]()


def smoothed_draft(draft: Floats) -> Floats:
    """A draft without the finest grain of its decoder."""
    height, width = draft.shape[1:]
    along = (resampling.blur(side, _DRAFT_GRAIN) for side in (height, width))
    return resampling.applied(next(along), draft, next(along))


def softened(picture: Floats, knobs: OptimizeKnobs) -> Floats:
    """The picture without the share of its fine detail that is to be painted anew."""
    if knobs.detail == 1:
        return picture
    height, width = picture.shape[1:]
    wide, deviation = resampling.extended(picture, STRIDE), FINE * max(height, width)
    rows, columns = (resampling.blur(side, deviation) for side in wide.shape[1:])
    soft, share = resampling.applied(rows, wide, columns)[:, :height, :width], np.float32(knobs.detail**EVEN)
    return soft + share * (picture - soft)


def _recolored(content: Floats, palette: NDArray[np.float64]) -> Floats:
    matrix, shift = palettes.recoloring(color_sums(content), palette)
    moved = np.einsum("ij,jhw->ihw", matrix.astype(np.float32), content) + shift.astype(np.float32)[:, None, None]
    return _clipped(moved)


def _clouds(shape: Sequence[int], random: np.random.Generator) -> Floats:
    """Noise of some eight pixels' grain. Other noise than PyTorch's: its generator is not that of NumPy."""
    height, width = shape[1:]
    rows, columns = (resampling.blur(side, _GRAIN / 2) for side in (height, width))
    noise = resampling.applied(rows, random.standard_normal(tuple(shape), np.float32), columns)
    return _clipped(0.5 + 0.2 * noise / noise.std())


def _clipped(picture: NDArray[Any]) -> Floats:
    clipped: Floats = np.clip(picture, 0, 1).astype(np.float32)
    return clipped
