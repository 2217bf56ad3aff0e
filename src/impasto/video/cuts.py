"""Finds hard cuts by what is seen: two frames of one shot show the same structure, up to a shift; two shots do not.

Whether a flow can be found says little: dense search matches anything with anything. Here small pictures are compared,
without the bars that both have: their fine structure by its correlation at the best shift of the whole frame, and their
colours as they are. A frame that is unlike the one before begins a shot only if the film stays with it: else it was a
flash, a strobe, a damaged frame, or one that blends the two shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto.ops.flow import Frame

Small: TypeAlias = NDArray[np.float32]

LOOKAHEAD = 3
"""Frames that are looked ahead: a flash or a damaged stretch of as many is passed over."""

_SIDE = 64  # longest side, in pixels, of what is compared
_FINE, _COARSE = 0.7, 3.0  # deviations of the Gaussians between which structure lies, in these pixels
_FLAT = 0.004  # deviation of the structure below which there is none
_UNLIKE = 0.3  # correlation below which two frames show other things
_MOVED = 0.05  # mean difference of colours below which nothing has changed, whatever the structure
_MOVED_IN_THE_DARK = 0.02  # the same where little can be seen
_BRIGHT = 0.25  # mean of a frame; in darker ones less is a change
_FLASHED = 0.12  # mean difference of colours from which on a frame may be a flash
_LEAST_OVERLAP = 0.35  # of a side, that a shift leaves
_EVEN = 0.03  # range of the luma of a row or a column that is part of a bar
_LEAST_SIDE = 8  # of what bars leave
_BLEND = 0.15, 0.85  # shares of the next frame in one that blends two
_SETTLED = 0.8  # of the change before, that may follow where no dissolve goes on
_REST = 0.2  # of the difference of two frames, that a blend leaves unexplained


@dataclass(frozen=True)
class FrameSummary:
    """The features of a frame that cuts are found by.

    Attributes:
        colors: `(h, w, 3)` in [0, 1], the frame made small.
        luma: `(h, w)`, of these.
        bars: rows and columns of one colour at the top, the bottom, the left and the right.
    """

    colors: Small
    luma: Small
    bars: tuple[int, int, int, int]

    @classmethod
    def of(cls, frame: Frame) -> FrameSummary:
        """That of a frame `(H, W, 3)` in [0, 1]."""
        height, width = frame.shape[:2]
        scale = _SIDE / max(height, width)
        size = max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)
        return cls(small, luma, (_bar(luma), _bar(luma[::-1]), _bar(luma.T), _bar(luma.T[::-1])))

    def likeness(self, other: FrameSummary) -> float:
        """Correlation of the structures at the best shift, from -1 to 1; 0 where one frame has none."""
        inside = self._inside(other)
        (one, contrast), (two, contrast_of_other) = _structure(self.luma[inside]), _structure(other.luma[inside])
        if min(contrast, contrast_of_other) <= _FLAT:
            return 0.0
        found = _correlation(one, two, (0, 0))
        if found < 2 * _UNLIKE:
            window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
            (across, down), _ = cv2.phaseCorrelate(two, one, window)
            found = max(found, _correlation(one, two, (round(down), round(across))))
        return found

    def difference(self, other: FrameSummary) -> float:
        """Mean difference of the colours, from 0 to 1."""
        inside = self._inside(other)
        return float(np.abs(self.colors[inside] - other.colors[inside]).mean())

    def is_unlike(self, other: FrameSummary) -> bool:
        """Whether the other shows something else; nothing is known of frames that are black, white or fogged."""
        inside = self._inside(other)
        light = max(float(self.luma[inside].mean()), float(other.luma[inside].mean()))
        if self.difference(other) <= min(_MOVED, max(_MOVED_IN_THE_DARK, _MOVED * light / _BRIGHT)):
            return False
        return self._shows_anything(inside) and other._shows_anything(inside) and self.likeness(other) < _UNLIKE

    def blends(self, before: FrameSummary, after: FrameSummary) -> bool:
        """Whether it is a mixture of the frame before and the one after it, as films of another frame rate have."""
        way = after.colors - before.colors
        share = float(((self.colors - before.colors) * way).sum() / max(1e-6, float((way * way).sum())))
        if not _BLEND[0] < share < _BLEND[1]:
            return False
        return float(np.abs(self.colors - before.colors - share * way).mean()) < _REST * float(np.abs(way).mean())

    def _shows_anything(self, inside: tuple[slice, slice]) -> bool:
        return _structure(self.luma[inside])[1] > _FLAT

    def _inside(self, other: FrameSummary) -> tuple[slice, slice]:
        """The area within the bars of both frames: bars look alike in all shots."""
        height, width = self.luma.shape
        top, bottom, left, right = (min(pair) for pair in zip(self.bars, other.bars, strict=True))
        if height - top - bottom < _LEAST_SIDE or width - left - right < _LEAST_SIDE:
            return slice(0, height), slice(0, width)
        return slice(top, height - bottom), slice(left, width - right)


def _bar(luma: Small) -> int:
    """How many rows from the first on are of one colour, and one more if any: that may be half a bar."""
    even = (luma.max(1) - luma.min(1) < _EVEN) & (np.abs(luma[:, 0] - luma[0, 0]) < _EVEN)
    rows = len(luma) if even.all() else int(np.argmin(even))
    return min(rows + 1, len(luma)) if rows else 0


def _structure(luma: Small) -> tuple[Small, float]:
    """Luma between two blurs, divided by the local contrast; and its deviation before that, near 0 in a black frame."""
    band = cv2.GaussianBlur(luma, (0, 0), _FINE) - cv2.GaussianBlur(luma, (0, 0), _COARSE)
    local = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * _COARSE))
    return np.asarray(band / (local + np.float32(_FLAT)), np.float32), float(band.std())


def _correlation(one: Small, other: Small, shift: tuple[int, int]) -> float:
    """Of `one` with `other` moved by rows and columns, where they overlap; -1 where that is too little."""
    (down, across), (height, width) = shift, one.shape
    if abs(down) > (1 - _LEAST_OVERLAP) * height or abs(across) > (1 - _LEAST_OVERLAP) * width:
        return -1.0
    own = one[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)]
    theirs = other[max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
    scale = float(np.sqrt((own * own).sum() * (theirs * theirs).sum()))
    return float((own * theirs).sum()) / scale if scale > 0 else 0.0


@dataclass
class CutDetector:
    """Follows a film frame by frame.

    Attributes:
        last: the newest frame that was not passed over; None at the beginning.
    """

    last: FrameSummary | None = None
    _ahead: list[tuple[Frame, FrameSummary]] = field(default_factory=list, repr=False)

    def __call__(self, frame: Frame, following: Sequence[Frame] = ()) -> tuple[bool, bool]:
        """Whether a shot begins at this frame, and whether it is one to be passed over, such as a flash.

        Args:
            frame: `(H, W, 3)` in [0, 1].
            following: up to `LOOKAHEAD` frames after it; none at the end, or where none can be waited for.
        """
        own, before = self._glance(frame), self.last
        self._ahead = [pair for pair in self._ahead if any(pair[0] is each for each in following)]
        unlike = before is not None and own.is_unlike(before)
        if before is not None and self._is_odd(own, before, following, unlike=unlike):
            return False, True
        self.last = own
        return unlike, False

    def _is_odd(self, own: FrameSummary, before: FrameSummary, following: Sequence[Frame], *, unlike: bool) -> bool:
        changed = own.difference(before)
        if not following or not (unlike or changed > _MOVED):
            return False
        later = [self._glance(each) for each in following]
        after = later[0]
        if after.is_unlike(before):
            settled = len(later) > 1 and after.difference(later[1]) < _SETTLED * changed  # no longer dissolve or fade
            if (settled and own.blends(before, after)) or (unlike and after.is_unlike(own)):
                return True  # a shot of one frame is none
        return (unlike or changed > _FLASHED) and any(_is_back(each, before, changed, unlike=unlike) for each in later)

    def _glance(self, frame: Frame) -> FrameSummary:
        """That of a frame, which is made once."""
        known = next((glance for each, glance in self._ahead if each is frame), None)
        if known is None:
            known = FrameSummary.of(frame)
            self._ahead.append((frame, known))
        return known


def _is_back(after: FrameSummary, before: FrameSummary, changed: float, *, unlike: bool) -> bool:
    """Whether a film is back at the shot from which it had changed by so much, in a frame that may be unlike it."""
    if after.is_unlike(before):
        return False
    return after.difference(before) < changed / 2 or (unlike and after.likeness(before) >= 2 * _UNLIKE)
