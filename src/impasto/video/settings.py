"""Settings of a film: which part to paint, and how to write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from impasto.errors import InputError
from impasto.video.stabilizer import TEMPORAL_PRESETS, TemporalSettings

TEMPORAL = ("off", *TEMPORAL_PRESETS)


SEGMENT = 48
"""Frames of a segment: what a kill can cost."""


SMALLEST_SIDE = 16


@dataclass(frozen=True)
class Film:
    """Which part of a video to paint, and how to write it.

    Attributes:
        start, end: in seconds.
        size: longest side in pixels; None keeps the video's.
        rate: frames a second; None keeps every frame and its time.
        temporal: "off", "fast" or "best": how much is done for steadiness.
        codec, bits, crf: see `choose_coding`.
        timeline: pairs of seconds and shares of the styles, in order; between two the styles fade over.
        strengths: pairs of seconds and strength, in order; between two it changes evenly.
        segment: frames of a segment.
    """

    start: float = 0.0
    end: float | None = None
    size: int | None = None
    rate: Fraction | None = None
    temporal: str = "fast"
    codec: str | None = None
    bits: int = 8
    crf: int | None = None
    timeline: tuple[tuple[float, tuple[float, ...]], ...] = ()
    strengths: tuple[tuple[float, float], ...] = ()
    segment: int = SEGMENT

    def temporal_settings(self) -> TemporalSettings | None:
        """How frames are kept alike; None for each by itself.

        Raises:
            InputError: `temporal` is no choice.
        """
        if self.temporal not in TEMPORAL:
            raise InputError(f"--temporal is {self.temporal!r}", f"it is one of {', '.join(TEMPORAL)}")
        return TEMPORAL_PRESETS.get(self.temporal)

    def shares(self, seconds: float) -> tuple[float, ...] | None:
        """Shares of the styles at a time; they sum to 1."""
        if not self.timeline:
            return None
        return interpolated(self.timeline, seconds)

    def strength(self, seconds: float) -> float | None:
        """The strength at a time."""
        if not self.strengths:
            return None
        return interpolated(tuple((at, (value,)) for at, value in self.strengths), seconds)[0]


def interpolated(points: Sequence[tuple[float, tuple[float, ...]]], seconds: float) -> tuple[float, ...]:
    """Values at a time: those of the points, and evenly changing between them."""
    before = [point for point in points if point[0] <= seconds]
    after = [point for point in points if point[0] > seconds]
    if not before:
        return after[0][1]
    if not after:
        return before[-1][1]
    (at, one), (until, other) = before[-1], after[0]
    share = (seconds - at) / (until - at)
    return tuple((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
