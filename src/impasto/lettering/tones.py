"""Light and dark: what keeps letters legible, measured and weighed against the painting's own tones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
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
_RELIEF = 0.06  # of luma, by which single pixels may lie beyond the bound of their stroke
_SOFT = 0.05  # of luma, over which strokes that lie beyond a bound are bent back


@dataclass(frozen=True)
class Range:
    """Tones from dark to light, as luma in [0, 1]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        assert 0 <= self.low < self.high <= 1


ANY = Range(0.0, 1.0)


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
    return ANY


def middle_range(legibility: float) -> Range:
    """The luma of paint that is to be told from dark and from light beside it."""
    return Range(0.36 * legibility**0.7, 1 - 0.42 * legibility**0.7)


def luma(pixels: Floats) -> Floats:
    """`(H, W)` of `(H, W, 3)`."""
    return np.asarray(pixels @ LUMA, np.float32)


def opposite(tone: str) -> str:
    """Dark for light, and light for dark."""
    return {"dark": "light", "light": "dark"}.get(tone, tone)


def prevailing(pixels: Floats) -> str:
    """Whether most of a picture is dark or light."""
    return "light" if float(np.median(luma(pixels))) > 0.55 else "dark"


def fitted(pixels: Floats, allowed: Range) -> Floats:
    """A picture whose tones lie in a range; its own where they already do, and the order of tones stays.

    pixels: `(H, W, 3)` in [0, 1].
    """
    before = luma(pixels)
    low, high = (float(each) for each in np.percentile(before, _TAILS))
    if low >= allowed.low and high <= allowed.high:
        return pixels
    # moved and narrowed by no more than it takes
    span = min(1.0, (allowed.high - allowed.low) / max(high - low, 1e-3))
    middle = (low + high) / 2
    wanted = float(np.clip(middle, allowed.low + span * (high - low) / 2, allowed.high - span * (high - low) / 2))
    return relit(pixels, np.clip(wanted + span * (before - middle), allowed.low, allowed.high), vivid=_VIVID)


def relit(pixels: Floats, wanted: Floats, *, vivid: float = 1.0) -> Floats:
    """The same hues at another luma `(H, W)`, with as much of their chroma as there are such colours.

    vivid: by which the chroma is multiplied.
    """
    target = np.clip(wanted, 0, 1)[..., None]
    chroma = vivid * (pixels - luma(pixels)[..., None])
    room = np.where(chroma > 0, 1 - target, target)
    kept = (room / np.maximum(np.abs(chroma), 1e-4)).min(2, keepdims=True)
    return np.asarray(np.clip(target + chroma * np.minimum(kept, 1), 0, 1), np.float32)


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


def moved_apart(
    first: Floats,
    second: Floats,
    first_mask: Floats,
    second_mask: Floats,
    amount: float,
    *,
    share: float = 0.5,
    way: float | None = None,
) -> tuple[Floats, Floats]:
    """Two paints `(H, W, 3)` moved apart in luma until their means are legible beside each other; textures stay.

    Args:
        first, second: the paints.
        first_mask, second_mask: `(H, W)` in [0, 1], where they are seen.
        amount: from 0 (nothing moves) to 1.
        share: of what is missing, by which the first moves; the second moves by the rest.
        way: above 0 where the first is to be the lighter one; as they are without.
    """
    if amount == 0 or first_mask.sum() == 0 or second_mask.sum() == 0:
        return first, second
    (mean, deviation), (other_mean, other_deviation) = _moments(first, first_mask), _moments(second, second_mask)
    spread = ((deviation**2 + other_deviation**2) / 2) ** 0.5
    wanted = amount * max(_LEAST_GAP, min(_WANTED * spread, 0.7))
    sign = 1.0 if (mean - other_mean if way is None else way) >= 0 else -1.0
    missing = max(0.0, wanted - sign * (mean - other_mean))
    if missing == 0:
        return first, second
    return (
        relit(first, luma(first) + sign * share * missing),
        relit(second, luma(second) - sign * (1 - share) * missing),
    )


def locally_apart(
    first: Floats,
    second: Floats,
    first_mask: Floats,
    second_mask: Floats,
    *,
    gap: float,
    sigma: float,
    share: float = 0.5,
) -> tuple[Floats, Floats]:
    """Two paints `(H, W, 3)` of which no stroke has the tones of the other's: the lighter's are light, everywhere.

    What changes is the luma of strokes, softly bounded; what is finer than strokes, the relief, stays.

    Args:
        first, second: the paints.
        first_mask, second_mask: `(H, W)` in [0, 1], where they are seen, and how much it counts there.
        gap: of luma, between the darkest stroke of the one and the lightest of the other.
        sigma: pixels over which paint counts as one stroke.
        share: of the gap, on the first's side of the middle between their means; 0 leaves the first as it is.
    """
    if gap <= 0 or first_mask.sum() == 0 or second_mask.sum() == 0:
        return first, second
    mean, other_mean = _moments(first, first_mask)[0], _moments(second, second_mask)[0]
    sign = 1.0 if mean >= other_mean else -1.0
    middle = mean if share == 0 else float(np.clip((mean + other_mean) / 2, gap, 1 - gap))
    if share > 0:
        first = _bounded(first, first_mask, middle + sign * share * gap, sign, sigma)
    return first, _bounded(second, second_mask, middle - sign * (1 - share) * gap, -sign, sigma)


def kept_within(pixels: Floats, mask: Floats, allowed: Range, *, sigma: float) -> Floats:
    """Paint `(H, W, 3)` of which no stroke leaves a range of luma, softly bounded; see `locally_apart`."""
    if allowed.low > 0:
        pixels = _bounded(pixels, mask, allowed.low, 1.0, sigma)
    return _bounded(pixels, mask, allowed.high, -1.0, sigma) if allowed.high < 1 else pixels


def _bounded(pixels: Floats, mask: Floats, bound: float, sign: float, sigma: float) -> Floats:
    """Strokes whose luma is kept above a bound (sign 1) or below it (-1), as far as the mask says."""
    values = luma(pixels)
    seen = (mask > 0.01).astype(np.float32)
    weights = np.maximum(cv2.GaussianBlur(seen, (0, 0), sigma), 1e-3)
    strokes = np.asarray(cv2.GaussianBlur(values * seen, (0, 0), sigma) / weights, np.float32)
    wanted = values + _softly(strokes, bound, sign) - strokes
    # where a stroke ends the blur has both tones: there a bound with room for the relief holds each pixel
    wanted = _softly(wanted, bound - sign * _RELIEF, sign)
    return relit(pixels, np.asarray(values + mask * (wanted - values), np.float32))


def _softly(values: Floats, bound: float, sign: float) -> Floats:
    """Values kept above a bound (sign 1) or below it (-1); those far on the right side stay."""
    bent = bound + sign * _SOFT * np.logaddexp(0, sign * (values - bound) / _SOFT)
    return np.asarray(np.where(sign * (bent - values) > 0, bent, values), np.float32)


def _moments(pixels: Floats, mask: Floats) -> tuple[float, float]:
    """Mean and deviation of the luma where it is seen."""
    values = luma(pixels)
    mean = float(np.average(values, weights=mask))
    return mean, float(np.average((values - mean) ** 2, weights=mask)) ** 0.5
