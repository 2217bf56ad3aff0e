"""How steady a painted video is. What moves is told by the *input*, so a painted texture cannot mislead the flow."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError
from impasto.metrics._pixels import luma
from impasto.ops.flow import Flow, Frame, flow_between, visible, warp

VIDEO_SIDE = 512
VISIBLE_LEAST = 0.25
AGREEMENT = 0.1
_QUARTER = 4


def warping_error(later: Frame, earlier: Frame, back: Flow, seen: NDArray[np.bool_]) -> float:
    """Mean squared difference of a painted frame and the earlier one warped to it, over pixels that are `seen`.

    later, earlier: `(H, W, 3)`; back: flow from later to earlier; seen: `(H, W)`, somewhere true. In [0, 1].
    Paper: arXiv:1808.00449, eq. 10.
    """
    difference = (later - warp(earlier, back))[seen].astype(np.float64)
    return float((difference**2).mean())


@dataclass
class Tally:
    """Takes frame after frame, input and output side by side, and holds no more than it needs.

    Attributes:
        distances: of frames, for the warping error.
    """

    distances: tuple[int, ...] = ()
    frames: int = 0
    _before: deque[tuple[Frame, Frame]] = field(default_factory=deque)
    _errors: dict[int, list[float]] = field(default_factory=dict)
    _looks: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)

    def add(self, source: Frame, painted: Frame) -> None:
        """Take a frame `(H, W, 3)` of the input, and its painted one of any size; both shrink to longest side 512."""
        height, width = source.shape[:2]
        if max(height, width) > VIDEO_SIDE:
            width, height = images.fit(width, height, VIDEO_SIDE)
        source, painted = (images.resize(frame, height, width) for frame in (source, painted))
        for distance in self.distances:
            if distance <= len(self._before):
                self._compare(distance, source, painted)
        self._looks.append((look(source), look(painted)))
        self._before.append((source, painted))
        if len(self._before) > max(self.distances, default=0):
            self._before.popleft()
        self.frames += 1

    def _compare(self, distance: int, source: Frame, painted: Frame) -> None:
        earlier_source, earlier_painted = self._before[-distance]
        if source.shape != earlier_source.shape:
            raise InputError("the video changes its size", "cut it where it does")
        back, forth = flow_between(source, earlier_source), flow_between(earlier_source, source)
        # where even the input does not agree with itself, the flow is wrong or the light has changed
        alike = np.abs(source - warp(earlier_source, back)).mean(2) < AGREEMENT
        seen = visible(back, forth) & alike
        if seen.mean() >= VISIBLE_LEAST:  # below, it is a cut: there is nothing to compare
            error = warping_error(painted, earlier_painted, back, seen)
            self._errors.setdefault(distance, []).append(error)

    def warping_error(self, distance: int) -> float:
        """Root of the mean over pairs of frames of `warping_error`; 0 for a perfectly steady video, in [0, 1].

        Paper: ReCoNet, arXiv:1807.01197, eq. 13, over visible pixels instead of all.

        Raises:
            InputError: the video is too short, or no two frames at this distance show the same things.
        """
        errors = self._errors.get(distance, [])
        if self.frames <= distance:
            raise InputError(
                f"warping_error_{distance} needs more than {distance} frames; there are {self.frames}",
                "give a longer video, or leave it out with --metrics",
            )
        if not errors:
            raise InputError(
                f"no two frames {distance} apart show the same things", "give a video without so many cuts"
            )
        return math.sqrt(sum(errors) / len(errors))

    def flicker(self) -> float:
        """Root mean square of the change in mean luma from frame to frame that the input does not have; in [0, 1].

        Raises InputError for a single frame. The measure is ours: the pumping of brightness that Bonneel et al.,
        ACM TOG 34(6), 2015, call global flicker.
        """
        self._needs_frames(2, "flicker")
        brightness = np.array([[source[-1], painted[-1]] for source, painted in self._looks])  # (T, 2)
        change = np.diff(brightness, axis=0)
        return float(np.sqrt(((change[:, 1] - change[:, 0]) ** 2).mean()))

    def drift(self) -> float:
        """How far the look has moved from the first quarter to the last, beyond the input's own move; 0 or more.

        The root mean square over the means and deviations of R, G and B. Raises InputError below 8 frames. The measure
        is ours.
        """
        self._needs_frames(2 * _QUARTER, "drift")
        looks = np.array(self._looks)[..., :6]  # (T, 2, 6)
        count = len(looks) // _QUARTER
        moved = looks[-count:].mean(0) - looks[:count].mean(0)
        return float(np.sqrt(((moved[1] - moved[0]) ** 2).mean()))

    def _needs_frames(self, least: int, name: str) -> None:
        if self.frames < least:
            raise InputError(f"{name} needs at least {least} frames; there are {self.frames}", "give a longer video")


def look(frame: Frame) -> NDArray[np.float64]:
    """`(7,)`: means of R, G and B, their deviations, mean luma."""
    flat = frame.reshape(-1, 3).astype(np.float64)
    return np.concatenate([flat.mean(0), flat.std(0), [luma(frame).mean()]])


def tally(inputs: Iterable[Frame], outputs: Iterable[Frame], distances: tuple[int, ...]) -> Tally:
    """Run through two videos side by side.

    Raises:
        InputError: one has more frames than the other.
    """
    counted = Tally(distances)
    left, right = iter(inputs), iter(outputs)
    while True:
        source, painted = next(left, None), next(right, None)
        if source is None and painted is None:
            return counted
        if source is None or painted is None:
            longer, shorter = ("output", "input") if source is None else ("input", "output")
            raise InputError(
                f"the {shorter} has {counted.frames} frames and the {longer} more",
                "give the video that was painted, whole, at the same frame rate",
            )
        counted.add(source, painted)
