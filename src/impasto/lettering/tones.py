"""Light and dark: what keeps letters legible, measured and weighed against the painting's own tones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.lettering.shape import Shape

Floats: TypeAlias = NDArray[np.float32]

LUMA = np.asarray((0.299, 0.587, 0.114), np.float32)
TONES = ("auto", "dark", "light", "own")
_TAILS = (2, 98)  # percentiles between which a painting's tones are taken to lie
_REACH = 1.0  # widths of a stroke on either side of the edge within which contrast counts
_WANTED = 3.5  # difference of the means, in deviations, at which an OCR reads everything (bench/RESULTS.md)
_VIVID = 1.25  # times the chroma, of paint whose tones were moved: dark and light paint looks duller than it is
_LEAST_GAP = 0.45  # of luma, between letters and what is around them, at full legibility


@dataclass(frozen=True)
class Range:
    """Tones from dark to light, as luma in [0, 1]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        assert 0 <= self.low < self.high <= 1


def tone_range(tone: str, legibility: float) -> Range:
    """The luma that paint may have: all of it at legibility 0, and dark or light paint alone at 1.

    Raises:
        InputError: there is no such tone.
    """
    if tone not in TONES:
        raise InputError(f"--tone is {tone!r}", f"it is one of {', '.join(TONES)}")
    if tone == "dark":
        return Range(0.0, 1 - 0.55 * legibility**0.7)
    if tone == "light":
        return Range(0.65 * legibility**0.7, 1.0)
    return Range(0.0, 1.0)


def luma(pixels: Floats) -> Floats:
    """`(H, W)` of `(H, W, 3)`."""
    return np.asarray(pixels @ LUMA, np.float32)


def opposite(tone: str) -> str:
    """Dark for light, and light for dark."""
    return {"dark": "light", "light": "dark"}.get(tone, tone)


def prevailing(pixels: Floats) -> str:
    """Whether most of a picture is dark or light."""
    return "light" if float(np.median(luma(pixels))) > 0.55 else "dark"


def within(pixels: Floats, allowed: Range) -> Floats:
    """A picture whose tones lie in a range; its own where they already do, and the order of tones stays.

    pixels: `(H, W, 3)` in [0, 1].
    """
    own = luma(pixels)
    low, high = (float(each) for each in np.percentile(own, _TAILS))
    if low >= allowed.low and high <= allowed.high:
        return pixels
    # moved and narrowed by no more than it takes
    span = min(1.0, (allowed.high - allowed.low) / max(high - low, 1e-3))
    middle = (low + high) / 2
    wanted = float(np.clip(middle, allowed.low + span * (high - low) / 2, allowed.high - span * (high - low) / 2))
    changed = relit(pixels, np.clip(wanted + span * (own - middle), allowed.low, allowed.high))
    grey = luma(changed)[..., None]
    return np.asarray(np.clip(grey + _VIVID * (changed - grey), 0, 1), np.float32)


def relit(pixels: Floats, wanted: Floats) -> Floats:
    """The same colours at another luma `(H, W)`: darkened towards black, lightened towards white, saturation kept."""
    own = luma(pixels)
    darker = pixels * (wanted / np.maximum(own, 1e-3))[..., None]
    lighter = 1 - (1 - pixels) * ((1 - wanted) / np.maximum(1 - own, 1e-3))[..., None]
    return np.asarray(np.clip(np.where((wanted < own)[..., None], darker, lighter), 0, 1), np.float32)


def contrast(pixels: Floats, shape: Shape) -> float:
    """How far letters stand out: the difference of mean luma within and around them, in pooled deviations.

    Args:
        pixels: `(H, W, 3)`, letters and surroundings together.
        shape: the letters.
    """
    near = _REACH * 2 * shape.stroke_radius
    values, distance = luma(pixels), shape.distance
    within_letters, around = values[distance > 1], values[(distance < -1) & (distance > -near)]
    if not len(within_letters) or not len(around):
        return 0.0
    spread = float(np.sqrt((within_letters.var() + around.var()) / 2))
    return abs(float(within_letters.mean() - around.mean())) / max(spread, 0.02)


def set_apart(
    letters: Floats, around: Floats, inside: NDArray[np.bool_], near: NDArray[np.bool_], legibility: float
) -> tuple[Floats, Floats]:
    """Letters and what is next to them `(H, W, 3)`, moved apart in luma until they are legible enough.

    Each moves by half of what is missing, away from the other; their own textures stay.

    Args:
        letters, around: the paint of each.
        inside, near: `(H, W)`, where they are looked at.
        legibility: from 0 (nothing moves) to 1.
    """
    if not near.any() or not inside.any():
        return letters, around
    within_letters, beyond = luma(letters)[inside], luma(around)[near]
    spread = float(np.sqrt((within_letters.var() + beyond.var()) / 2))
    gap = float(within_letters.mean() - beyond.mean())
    wanted = legibility * max(_LEAST_GAP, min(_WANTED * spread, 0.7))
    missing = max(0.0, wanted - abs(gap)) / 2
    if missing == 0:
        return letters, around
    way = 1.0 if gap >= 0 else -1.0
    apart = [
        relit(pixels, np.clip(luma(pixels) + move, 0, 1))
        for pixels, move in ((letters, way * missing), (around, -way * missing))
    ]
    return apart[0], apart[1]
