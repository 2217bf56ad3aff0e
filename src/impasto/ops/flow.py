"""Optical flow: where things move between two frames, how reliable that is, and pictures warped by it.

Frames are arrays `(H, W, 3)`, sRGB in [0, 1], float32. A flow is `(H, W, 2)` in pixels, x then y: what is at `p` in the
first frame is at `p + flow[p]` in the second. So a picture of the second frame, looked up at `p + flow[p]`, fits the
first one: flows that bring earlier pictures along point *back* in time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Frame: TypeAlias = NDArray[np.float32]
Flow: TypeAlias = NDArray[np.float32]
Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Map: TypeAlias = NDArray[np.float32]
"""`(H, W)` in [0, 1]."""

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "brisk": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_BRISK = {"PatchStride": 4, "GradientDescentIterations": 12, "VariationalRefinementIterations": 2}
PRESETS = tuple(_PRESETS)
"""Cheapest first."""

_TO_LUMA = np.array([[0.299, 0.587, 0.114], [0.701, -0.587, -0.114], [-0.299, -0.587, 0.886]], np.float32)
_FROM_LUMA = np.linalg.inv(_TO_LUMA.astype(np.float64)).astype(np.float32)
"""Luma (ITU-R BT.601), red and blue without it, and back."""

_LEAST_SIDE = 16  # smaller frames are enlarged for the search: its patches are 8 px wide


class FlowFinder:
    """Dense inverse search, arXiv:1603.03590, on 8-bit grey. It reuses its memory: one for each thread.

    Args:
        preset: one of `PRESETS`.
    """

    def __init__(self, preset: str = "medium") -> None:
        self._search = cv2.DISOpticalFlow.create(_PRESETS[preset])
        if preset == "brisk":  # as fine as medium, but sparser and shorter: half the time
            for name, value in _BRISK.items():
                getattr(self._search, f"set{name}")(value)

    def __call__(self, first: Frame | Grey, second: Frame | Grey) -> Flow:
        """The flow from `first` to `second`: frames of one size, or what `grey` made of them."""
        greys = [grey(frame) for frame in (first, second)]
        height, width = greys[0].shape
        scale = -(-_LEAST_SIDE // min(height, width))
        if scale > 1:
            greys = [np.kron(each, np.ones((scale, scale), np.uint8)) for each in greys]
        found = self._search.calc(greys[0], greys[1], None)  # type: ignore[call-overload]
        if scale == 1:
            return np.asarray(found, dtype=np.float32)
        return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA) / scale, dtype=np.float32)


def flow_between(first: Frame, second: Frame, *, preset: str = "medium") -> Flow:
    """The flow from `first` to `second`, two frames `(H, W, 3)` of one size. See `FlowFinder`."""
    return FlowFinder(preset)(first, second)


def grey(frame: Frame | Grey) -> Grey:
    """`(H, W)`, luma as 8 bits (ITU-R BT.601): what the search looks at. What is grey already stays."""
    if frame.ndim == 2:
        return frame.astype(np.uint8, copy=False)
    luma = cv2.cvtColor(np.ascontiguousarray(frame, dtype=np.float32), cv2.COLOR_RGB2GRAY)
    return np.asarray(np.rint(255 * luma).clip(0, 255).astype(np.uint8))


@lru_cache(maxsize=4)  # frames of a film have one size: it would be made anew for each
def positions(height: int, width: int) -> Flow:
    """X and y of every pixel, `(H, W, 2)`; not to be written to."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    found = np.asarray(cv2.merge((x, y)), dtype=np.float32)
    found.flags.writeable = False
    return found


def enlarged(flow: Flow, height: int, width: int) -> Flow:
    """A flow for frames of another size."""
    # scaled by OpenCV while it is small: numpy is slow along so short an axis
    scale = np.diag(np.array([width / flow.shape[1], height / flow.shape[0]], np.float32))
    found = cv2.resize(cv2.transform(flow, scale), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(found, dtype=np.float32)


def warp(frame: NDArray[np.float32], flow: Flow, *, cubic: bool = False) -> NDArray[np.float32]:
    """`frame (H, W, C)` or `(H, W)` looked up at `p + flow[p]`; beyond its border, the nearest pixel.

    Bilinear, which never overshoots and blurs a little; or bicubic, which may overshoot.
    """
    return _remapped(frame, _lookup_positions(flow), cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR)


def warp_sharply(frame: Frame, flow: Flow) -> Frame:
    """As `warp`, for a frame `(H, W, 3)` that is warped again and again: it may overshoot, and hardly blurs.

    Lightness by Lanczos, colours bicubically: as good as Lanczos for all, in little more than half the time. All
    bicubically takes a third of that, and blurs strokes within seconds.
    """
    planes = cv2.split(cv2.transform(frame, _TO_LUMA))  # OpenCV's own way to such colours and back is not exact
    at = _lookup_positions(flow)
    ways = (cv2.INTER_LANCZOS4, cv2.INTER_CUBIC, cv2.INTER_CUBIC)
    warped = [_remapped(np.asarray(plane, np.float32), at, way) for plane, way in zip(planes, ways, strict=True)]
    return np.asarray(cv2.transform(cv2.merge(warped), _FROM_LUMA), dtype=np.float32)


def _lookup_positions(flow: Flow) -> Flow:
    """Where each pixel is looked up."""
    return np.asarray(cv2.add(positions(*flow.shape[:2]), flow), dtype=np.float32)


def _remapped(frame: NDArray[np.float32], at: Flow, interpolation: int) -> NDArray[np.float32]:
    return np.asarray(cv2.remap(frame, at, None, interpolation, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]


def visible(back: Flow, forth: Flow) -> Mask:
    """Where a pixel was in sight before: the flow back and the flow forth from there cancel, and it lies inside.

    back: `(H, W, 2)` from the frame to the earlier one; forth: the other way. Returns `(H, W)`.
    Paper: Sundaram, Brox and Keutzer, ECCV 2010, eq. 5, as in Ruder et al., arXiv:1604.08610, eq. 5.
    """
    x_back, y_back = cv2.split(back)  # numpy is slow along an axis of two
    x_forth, y_forth = cv2.split(warp(forth, back))
    gap = (x_back + x_forth) ** 2 + (y_back + y_forth) ** 2
    agrees = gap < 0.01 * (x_back**2 + y_back**2 + x_forth**2 + y_forth**2) + 0.5
    seen: Mask = inside(back) & agrees
    return seen


def inside(back: Flow) -> Mask:
    """Where a flow `(H, W, 2)` points to a place within the frame, `(H, W)`."""
    height, width = back.shape[:2]
    within = cv2.inRange(cv2.add(positions(height, width), back), (0.0, 0.0), (width - 1.0, height - 1.0))
    return np.asarray(within, dtype=np.bool_)


def mean_of_channels(frame: Frame) -> Map:
    """`(H, W)` of `(H, W, 3)`; many times quicker than numpy's mean along so short an axis."""
    return np.asarray(cv2.transform(frame, np.full((1, 3), 1 / 3, np.float32)))


def color_agreement(later: Frame, warped: Frame, *, tolerance: float) -> Map:
    """How far a frame and the earlier one warped to it look alike, by pixel: 1 for equal, 0.5 at `tolerance`.

    It finds what consistency of the flow misses: light that changes, and flows that are wrong both ways.

    Args:
        later, warped: `(H, W, 3)`.
        tolerance: difference in [0, 1], of colours averaged over 5x5 pixels so that sensor noise cancels.
    """
    gap = cv2.blur(mean_of_channels(np.abs(cv2.blur(later - warped, (5, 5)))), (3, 3)) / np.float32(tolerance)
    gap *= gap
    return np.asarray(1 / (1 + gap * gap), dtype=np.float32)
