"""Frames from a client, painted as they come and held together, for films and cameras that are somewhere else."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto import images, settings
from impasto.contract import Progress
from impasto.engine.request import by_style
from impasto.errors import Cancelled, InputError, counted, quoted
from impasto.serve.fields import Upload
from impasto.video.frames import FramePainter, Pixels
from impasto.video.settings import Film
from impasto.video.stabilizer import MotionEstimator, Stabilizer, TemporalSettings

if TYPE_CHECKING:
    from impasto.serve.service import Service

REFUSED = ("size", "init", "color-only", "format", "jpeg-quality", "drop-gps")
"""Settings of a single picture, which frames do not have."""

_STRENGTH = settings.Knob("strength", float, 1.0, "", low=0, high=1)


class FrameStream:
    """Paints the frames of one client, one after the other.

    Args:
        service: what decodes and paints.
        uploads: the pictures that the settings name.
        given: settings by the names of the flags.
        first: the first frame, `(H, W, 3)` in [0, 1]; masks that are words, and palettes, are taken from it.
        temporal: "fast", "best" or "off": how much is done for steadiness.

    Raises:
        InputError, ResourceError, AssetError: as `Service.submit`.
    """

    def __init__(
        self, service: Service, uploads: Sequence[Upload], given: Mapping[str, Any], first: Pixels, temporal: str
    ) -> None:
        for name in REFUSED:
            if any(str(key).replace("_", "-") == name for key in given):
                raise InputError(f"{name} is a setting of single pictures", "leave it out for frames")
        preset = Film(temporal=temporal).temporal_settings()
        plain = {"quality": "draft"} if not given.get("method") and not given.get("quality") else {}
        order = service.order([Upload("content", "frame.bmp", _as_bmp(first)), *uploads], {**given, **plain})
        self.stop = threading.Event()
        self._seconds, self._began = service.limits.job_seconds, time.monotonic()
        self._most = service.limits.frames
        self._painter = FramePainter.of(
            service.engine, list(order.styles), order.request, first, on_progress=self._check
        )
        self._steady = preset is not None
        self._motion = MotionEstimator(preset or TemporalSettings())
        self._stabilizer = Stabilizer(preset or TemporalSettings())
        self._size = first.shape
        self._count = 0

    def _check(self, progress: Progress) -> None:  # noqa: ARG002 - a callback
        if self.stop.is_set():
            raise Cancelled
        if time.monotonic() - self._began > self._seconds:
            hint = "use fewer steps, or smaller frames"
            raise Cancelled(f"a frame took more than {self._seconds:g} seconds, the most that it may", hint)

    def paint(self, pixels: Pixels, *, strength: float | None = None, shares: Sequence[float] = ()) -> Pixels:
        """Paint the next frame.

        Args:
            pixels: `(H, W, 3)` in [0, 1], of the size of the first.
            strength: instead of that of the settings.
            shares: of each style, instead of their weights; they count by their ratios.

        Raises:
            InputError: the frame has another size or is one too many, or a number is out of its range.
            Cancelled: `stop` was set.
        """
        self._count += 1
        if self._count > self._most:
            raise InputError(f"the stream has more than {self._most:,} frames", "open another stream")
        self._began = time.monotonic()
        if pixels.shape != self._size:
            (height, width), (first_height, first_width) = pixels.shape[:2], self._size[:2]
            told = f"frame {self._count} is {width}x{height} px, the first was {first_width}x{first_height}"
            raise InputError(told, "send frames of one size, or open another stream")
        amount = None if strength is None else _STRENGTH.check(strength)
        mixed = self._shares(shares)
        warped = self._stabilizer.warp(self._motion(pixels)) if self._steady else ()
        painted = self._painter.paint(pixels, strength=amount, shares=mixed, warped=warped, on_progress=self._check)
        return self._stabilizer.stabilize(painted, warped) if self._steady else painted

    def _shares(self, shares: Sequence[float]) -> tuple[float, ...] | None:
        """Shares that sum to 1; None for the weights of the styles."""
        if not shares:
            return None
        styles = len(by_style(self._painter.run.sources))
        if len(shares) != styles:
            raise InputError(f"{counted(len(shares), 'share')} for {counted(styles, 'style')}", "give one for each")
        if not all(math.isfinite(share) and share >= 0 for share in shares) or not sum(shares):
            raise InputError(f"shares are {quoted(list(shares))}", "they take numbers, 0 or more, one of them above 0")
        total = sum(shares)
        return tuple(share / total for share in shares) if styles > 1 else None


def from_rgb(data: bytes, width: int, height: int) -> Pixels:
    """Bytes R, G, B of each pixel, as `(H, W, 3)` in [0, 1]. Raises InputError where they are too few or too many."""
    if len(data) != 3 * width * height or not data:
        raise InputError(
            f"a frame of {width}x{height} px came with {len(data)} bytes", f"it takes {3 * width * height}, R, G and B"
        )
    codes = np.frombuffer(data, np.uint8).reshape(height, width, 3)
    return np.asarray(codes.astype(np.float32) / np.float32(255))


def as_codes(pixels: Pixels) -> NDArray[np.uint8]:
    """`(H, W, 3)` in [0, 1] as bytes."""
    return np.asarray(np.rint(255 * pixels.clip(0, 1)), np.uint8)


def _as_bmp(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    images.write(images.Picture(pixels), stream, format="BMP")
    return stream.getvalue()
