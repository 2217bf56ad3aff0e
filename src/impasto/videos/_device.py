"""A virtual camera: frames for a device that other programs take for a camera, by FFmpeg's own output (Linux)."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.videos._av import load, scaling, writing
from impasto.videos._read import FULL_RANGE

_HINT = "on Linux: sudo modprobe v4l2loopback, then give its /dev/video number; elsewhere let OBS capture the window"


class CameraWriter:
    """Writes frames to a virtual camera.

    Args:
        device: such as /dev/video9, of the kernel module v4l2loopback.
        width, height: of the frames, even.
        form: FFmpeg's name of the output.

    Raises:
        InputError: it is no such device.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, device: Path, width: int, height: int, *, form: str = "v4l2") -> None:
        if form == "v4l2":
            _check(device)
        self._name = str(device)
        with writing(self._name):
            self._container = load().open(self._name, "w", format=form)
            self._stream: Any = self._container.add_stream("rawvideo", rate=30)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._count = 0

    def __enter__(self) -> CameraWriter:
        return self

    def write(self, screen: NDArray[np.uint8]) -> None:
        """Show a frame `(H, W, 3)`, RGB, until the next one comes."""
        frame = load().VideoFrame.from_ndarray(np.ascontiguousarray(screen), format="rgb24")
        with writing(self._name):
            drawn = frame.reformat(
                width=self._stream.width,
                height=self._stream.height,
                format="yuv420p",
                src_color_range=FULL_RANGE,
                interpolation=scaling(),
                threads=1,
            )
            drawn.pts = self._count
            self._container.mux(self._stream.encode(drawn))
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self._name):
            self._container.close()


def _check(device: Path) -> None:
    if not sys.platform.startswith("linux"):
        raise InputError("there is no virtual camera of ours on this system", _HINT)
    if not device.exists():
        raise InputError(f"there is no device {device}", _HINT)
    if not stat.S_ISCHR(device.stat().st_mode) or not device.name.startswith("video"):
        raise InputError(f"{device} is no virtual camera", _HINT)
