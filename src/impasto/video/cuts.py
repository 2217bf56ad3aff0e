"""Finds hard cuts by what is seen: two frames of one shot show the same structure, up to a shift; two shots do not.

Whether a flow can be found says little: dense search matches anything with anything. Here small pictures are compared:
their fine structure by its correlation at the best shift of the whole frame, and their colours as they are. A frame
that is unlike the one before begins a shot only if the frame after it is unlike the one before, too: else it was a
flash, a strobe or a damaged frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto.ops.flow import Frame

Small: TypeAlias = NDArray[np.float32]

_SIDE = 64  # longest side, in pixels, of what is compared
_FINE, _COARSE = 0.7, 3.0  # deviations of the Gaussians between which structure lies, in these pixels
_FLAT = 0.004  # deviation of the structure below which there is none
_UNLIKE = 0.3  # correlation below which two frames show other things
_MOVED = 0.05  # mean difference of colours below which nothing has changed, whatever the structure
_FLASHED = 0.12  # mean difference of colours from which on a frame may be a flash
_LEAST_OVERLAP = 0.35  # of a side, that a shift leaves


@dataclass(frozen=True)
class Glance:
    """What is compared of a frame.

    Attributes:
        colors: `(h, w, 3)` in [0, 1], the frame made small.
        structure: `(h, w)`, its luma between two blurs, divided by the local contrast.
        contrast: deviation of that before the division: near 0 in a black frame.
    """

    colors: Small
    structure: Small
    contrast: float

    @classmethod
    def of(cls, frame: Frame) -> Glance:
        """That of a frame `(H, W, 3)` in [0, 1]."""
        height, width = frame.shape[:2]
        scale = _SIDE / max(height, width)
        size = max(8, round(width * scale)), max(8, round(height * scale))
        small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.float32)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)
        band = cv2.GaussianBlur(luma, (0, 0), _FINE) - cv2.GaussianBlur(luma, (0, 0), _COARSE)
        local = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * _COARSE))
        return cls(small, np.asarray(band / (local + np.float32(_FLAT)), np.float32), float(band.std()))

    def likeness(self, other: Glance) -> float:
        """Correlation of the structures at the best shift, from -1 to 1; 0 where only one frame has any."""
        found = _correlation(self.structure, other.structure, (0, 0))
        if found < 2 * _UNLIKE:
            window = cv2.createHanningWindow(self.structure.shape[::-1], cv2.CV_32F)
            (across, down), _ = cv2.phaseCorrelate(other.structure, self.structure, window)
            found = max(found, _correlation(self.structure, other.structure, (round(down), round(across))))
        return found

    def difference(self, other: Glance) -> float:
        """Mean difference of the colours, from 0 to 1."""
        return float(np.abs(self.colors - other.colors).mean())

    def is_unlike(self, other: Glance) -> bool:
        """Whether the other shows something else; nothing is known of frames that are black, white or fogged."""
        both = min(self.contrast, other.contrast) > _FLAT
        return both and self.difference(other) > _MOVED and self.likeness(other) < _UNLIKE


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
class CutFinder:
    """Follows a film frame by frame.

    Attributes:
        last: the newest frame that was no flash; None at the beginning.
    """

    last: Glance | None = None
    _next: tuple[Frame, Glance] | None = field(default=None, repr=False)

    def __call__(self, frame: Frame, following: Frame | None) -> tuple[bool, bool]:
        """Whether a shot begins at this frame, and whether it is one to be passed over, such as a flash.

        Args:
            frame: `(H, W, 3)` in [0, 1].
            following: the frame after it; None at the end, or where none can be waited for.
        """
        own = self._glance(frame)
        before, self.last = self.last, own
        if before is None:
            return False, False
        unlike, changed = own.is_unlike(before), own.difference(before)
        if following is None or not (unlike or changed > _FLASHED):
            return unlike, False
        after = Glance.of(following)
        self._next = following, after
        back = after.difference(before) < changed / 2 and not after.is_unlike(before)
        if back or (unlike and not after.is_unlike(before)):
            self.last = before
            return False, True
        return unlike, False

    def _glance(self, frame: Frame) -> Glance:
        known, self._next = self._next, None
        return known[1] if known is not None and known[0] is frame else Glance.of(frame)
