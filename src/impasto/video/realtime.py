"""Frames as they come, painted as quickly as can be: at an inner size, steadied there, and enlarged by the frame.

From 8 bits to 8 bits. A frame that shows what the one before shows is not painted again. Painting, and what follows it,
may run side by side in two threads: they take about as long, and each uses little more than one core.

Papers: arXiv:1505.00996 (He and Sun 2015), the fast guided filter, whose slopes carry the frame's fine detail into the
enlarged painting, as in joint upsampling (Kopf et al. 2007). Departs from them in using lightness alone, and in taking
the painting itself, not its mean, for what is enlarged, so that strokes keep their own detail.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.video.pipeline import Pipeline
from impasto.video.stabilizer import TEMPORAL_PRESETS, Motion, MotionEstimator, Stabilizer, TemporalSettings

Codes: TypeAlias = NDArray[np.uint8]
"""A frame `(H, W, 3)`, sRGB, 8 bits."""

REALTIME = replace(TEMPORAL_PRESETS["fast"], flow_side=320, anchor_distance=0, lanczos=False)
"""How frames are kept alike as they come: without the anchor, since dropped frames make its distance vary."""

PARTS = ("shrinking", "painting", "motion", "blending", "enlarging")
"""What a frame's time is spent on."""

_COARSE = 8  # pixels of a frame for one of those that tell whether it is still: noise of a camera cancels
_STILL = 2  # of 255 that they may differ by
_EVEN = 2  # sides are multiples of it
_WINDOW = 5  # pixels along the side of the windows of the guided filter, at half the inner size
_FLAT = 0.02  # of the range: contrast below it is no detail
_FINE = 256  # steps of a slope
_WAITING = 1  # frames between the threads: more would only be later


class Paints(Protocol):
    """Paints frames of 8 bits, as `FramePainter` does."""

    def paint_codes(self, codes: Codes, *, strength: float | None, shares: Sequence[float] | None) -> Codes:
        """A painted frame; see `FramePainter.paint_codes`."""


@dataclass(frozen=True)
class Wish:
    """How a frame is to be painted.

    Attributes:
        strength: from 0 to 1; None for the job's.
        shares: of each style; None for the job's.
    """

    strength: float | None = None
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Painted:
    """A frame on its way.

    Attributes:
        frame: as it came.
        small: the same at the inner size.
        pastiche: of that.
        wish: how it was painted.
        motion: since the frame before; None where frames are not kept alike.
        still: whether nothing has moved since the frame whose pastiche this is.
    """

    frame: Codes
    small: Codes
    pastiche: Codes
    wish: Wish
    motion: Motion | None = None
    still: bool = False


@dataclass
class RealtimePainter:
    """Paints one clip, frame after frame.

    Attributes:
        painter: of frames of the inner size.
        inner_size: longest side in pixels at which frames are painted and steadied; None for their own.
        steady: whether they are kept alike.
        settings: how.
        spent: seconds by part, of `PARTS`.
    """

    painter: Paints
    inner_size: int | None = None
    steady: bool = True
    settings: TemporalSettings = REALTIME
    spent: Counter[str] = field(default_factory=Counter)
    _shares: tuple[float, ...] | None = None
    _before: tuple[Painted, Codes] | None = None  # the last frame that was painted, and its coarse pixels
    _shown: Codes | None = None  # what was made of it

    def __post_init__(self) -> None:
        self._motion, self._stabilizer = MotionEstimator(self.settings), Stabilizer(self.settings)

    def both(self, asked: tuple[Codes, Wish]) -> tuple[Painted, Codes]:
        """A frame, painted and finished at once; see `stream`."""
        painted = self.paint(*asked)
        return painted, self.finish(painted)

    def stream(
        self, frames: Iterator[tuple[Codes, Wish]], stop: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Painted, Codes]]:
        """The paintings of all frames, in order; the next one is painted while this one is finished.

        Args:
            frames: with how they are to be painted; read in another thread.
            stop: called at the end, and before it where no more paintings are wanted: `frames` end soon after.
        """
        line = Pipeline(_WAITING)
        try:
            for painted in line.step("paint", frames, lambda each: self.paint(*each)):
                yield painted, self.finish(painted)
        finally:
            stop()
            line.close()

    def paint(self, frame: Codes, wish: Wish) -> Painted:
        """The first half: a frame shrunk and painted, and how it has moved, so that both halves take about as long."""
        clock = time.perf_counter()
        small = shrunk(frame, self.inner_size)
        height, width = small.shape[:2]
        size = -(-width // _COARSE), -(-height // _COARSE)
        coarse = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
        clock = self._lap("shrinking", clock)
        if self._before is not None and self._is_still(self._before, coarse, wish):
            return Painted(frame, small, self._before[0].pastiche, wish, still=True)
        pastiche = self.painter.paint_codes(small, strength=wish.strength, shares=wish.shares)
        clock = self._lap("painting", clock)
        motion = None
        if self.steady and wish.strength != 0:
            motion = self._motion(_as_float(small))
            self._lap("motion", clock)
        painted = Painted(frame, small, pastiche, wish, motion)
        self._before = painted, coarse
        return painted

    def _is_still(self, before: tuple[Painted, Codes], coarse: Codes, wish: Wish) -> bool:
        """Whether a frame shows what the painted one shows; slow changes add up, since that one stays the same."""
        same = before[0].wish == wish and before[1].shape == coarse.shape
        return same and int(cv2.absdiff(before[1], coarse).max()) <= _STILL

    def finish(self, painted: Painted) -> Codes:
        """The second half: steadied and enlarged."""
        pastiche = painted.pastiche
        if painted.wish.shares != self._shares:  # another style: the paint before has nothing to say
            self._stabilizer, self._shares = Stabilizer(self.settings), painted.wish.shares
        if painted.still and self._shown is not None:
            pastiche = self._shown
        elif painted.motion is not None:
            pastiche = self._steadied(pastiche, painted.motion)
        self._shown = pastiche
        clock = time.perf_counter()
        if painted.small is not painted.frame:
            pastiche = enlarged(pastiche, painted.small, painted.frame)
            self._lap("enlarging", clock)
        return pastiche

    def _steadied(self, pastiche: Codes, motion: Motion) -> Codes:
        clock = time.perf_counter()
        steady = self._stabilizer.stabilize(_as_float(pastiche), self._stabilizer.warp(motion))
        codes = _as_codes(steady)
        self._lap("blending", clock)
        return codes

    def _lap(self, part: str, since: float) -> float:
        now = time.perf_counter()
        self.spent[part] += now - since  # type: ignore[assignment]
        return now


def shrunk(frame: Codes, longest: int | None) -> Codes:
    """A frame with its longest side at most so long; sides are even. The same where it is no longer."""
    height, width = frame.shape[:2]
    if longest is None or max(height, width) <= longest:
        return frame
    sides = (max(16, side // _EVEN * _EVEN) for side in images.fit(width, height, longest))
    return np.asarray(cv2.resize(frame, tuple(sides), interpolation=cv2.INTER_AREA), np.uint8)


def enlarged(pastiche: Codes, small: Codes, frame: Codes) -> Codes:
    """A painting at the size of its frame, with the frame's fine detail where the painting follows its lightness.

    Args:
        pastiche: of `small`, `(h, w, 3)`.
        small: the frame, shrunk, `(h, w, 3)`.
        frame: `(H, W, 3)`.
    """
    size = frame.shape[1], frame.shape[0]
    own, guide = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (pastiche, small))
    slope = cv2.resize(_slope(own, guide), size, interpolation=cv2.INTER_LINEAR)
    known = cv2.resize(guide, size, interpolation=cv2.INTER_CUBIC)  # as the paint: what both lack is detail
    detail = cv2.subtract(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), known, dtype=cv2.CV_16S)
    detail = cv2.multiply(detail, slope, scale=1 / _FINE)
    large = cv2.resize(pastiche, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(large, cv2.merge((detail, detail, detail)), dtype=cv2.CV_8U), np.uint8)


def _slope(own: NDArray[Any], guide: NDArray[Any]) -> NDArray[np.int16]:
    """How much a painting's lightness changes with its photograph's, 0 to 1 in `_FINE` steps, at half size."""
    half = -(-own.shape[1] // 2), -(-own.shape[0] // 2)
    coarse = (cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (guide, own))
    x, y = (np.asarray(each, np.float32) / np.float32(255) for each in coarse)
    mean_x, mean_y, product, square = (cv2.blur(each, (_WINDOW, _WINDOW)) for each in (x, y, x * y, x * x))
    found = (product - mean_x * mean_y) / (square - mean_x * mean_x + np.float32(_FLAT**2))
    return np.asarray(_FINE * found.clip(0, 1), np.int16)


def _as_float(codes: Codes) -> NDArray[np.float32]:
    return codes.astype(np.float32) / np.float32(255)


def _as_codes(frame: NDArray[np.float32]) -> Codes:
    return np.asarray(cv2.convertScaleAbs(frame, alpha=255.0), np.uint8)
