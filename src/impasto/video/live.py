"""Paints what a camera sees, now: frames that come too fast are dropped, never queued, so the picture is never late."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError
from impasto.video.frames import Pixels
from impasto.video.realtime import Codes, Paints, RealtimePainter, Wish, shrunk
from impasto.videos import live_frames

Screen: TypeAlias = NDArray[np.uint8]
"""`(H, W, 3)`, RGB."""

KEYS = {"n": "next style", "p": "previous style", "+": "stronger", "-": "weaker", "s": "side by side", "q": "quit"}

_STEP = 0.1  # of strength, for each press of a key
_SMOOTH = 0.9  # of the number shown is what it was before


@dataclass(frozen=True)
class LiveSettings:
    """The choices of the viewer.

    Attributes:
        style: index of the style.
        strength: from 0 to 1.
        side_by_side: show the camera's own picture beside the painting.
        stopped: show no more.
    """

    style: int = 0
    strength: float = 1.0
    side_by_side: bool = False
    stopped: bool = False


def after_key(settings: LiveSettings, key: str, styles: int) -> LiveSettings:
    """The settings after a key of `KEYS`; others change nothing."""
    changes: dict[str, dict[str, Any]] = {
        "n": {"style": (settings.style + 1) % styles},
        "p": {"style": (settings.style - 1) % styles},
        "+": {"strength": min(1.0, round(settings.strength + _STEP, 3))},
        "-": {"strength": max(0.0, round(settings.strength - _STEP, 3))},
        "s": {"side_by_side": not settings.side_by_side},
        "q": {"stopped": True},
    }
    return replace(settings, **changes.get(key, {}))


class Closed(Exception):
    """The camera was closed while a frame was waited for."""


class Camera:
    """Keeps the newest frame of a source, read in a thread of its own.

    Args:
        source: a file (played at its own pace, again and again), an address such as rtsp://..., or a number: the
            system's camera of that number.
        size: longest side that frames are scaled to.

    Raises:
        InputError: it cannot be opened, or shows nothing.
    """

    def __init__(self, source: str, *, size: int) -> None:
        self._source, self._size = source, size
        self._newest: tuple[int, Codes, float] | None = None
        self._taken = -1
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._over = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._read, name="impasto-camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for number, pixels in enumerate(self._frames()):
                codes = np.asarray(cv2.convertScaleAbs(pixels, alpha=255.0), np.uint8)
                with self._changed:
                    if self._over:
                        return
                    if self._newest is not None and self._newest[0] != self._taken:
                        self.dropped += 1
                    self._newest = number, codes, time.perf_counter()
                    self._changed.notify_all()
            raise InputError(f"{self._source} has ended", "give a source that goes on")
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _frames(self) -> Iterator[Pixels]:
        again = Path(self._source).is_file()
        while True:
            began, seen = time.perf_counter(), False
            for pixels, seconds in live_frames(self._source, size=self._size):
                seen = True
                if again:
                    time.sleep(max(0.0, seconds - (time.perf_counter() - began)))
                yield pixels
            if not again or not seen:
                return

    def take(self, is_wanted: Callable[[], bool] = lambda: True) -> tuple[Codes, float]:
        """The newest frame that was not taken yet, and when it came; waits for one as long as it is wanted.

        Raises:
            InputError: the source has ended.
            Closed: it was closed, or none is wanted any more.
        """
        with self._changed:
            while self._newest is None or self._newest[0] == self._taken:
                if self._error is not None:
                    raise self._error
                if self._over or not is_wanted():
                    raise Closed
                self._changed.wait(0.2)
            self._taken, codes, came = self._newest
            return codes, came

    def close(self) -> None:
        """Let go of the source."""
        with self._changed:
            self._over = True
            self._changed.notify_all()


@dataclass
class Live:
    """Paints the newest frame of a camera, again and again.

    Attributes:
        painter: of frames of the camera's size.
        camera: where they come from.
        names: of the styles.
        steady: whether frames are held together.
        inner_size: longest side at which frames are painted, to be enlarged to their own; None for their own.
        pipelined: paint the next frame while this one is finished: more frames a second, each a little later.
        labelled: whether style, strength, frames a second and latency are with_caption on the picture.
        settings: what the viewer wants to see; set them from any thread, through `press`.
        fps, latency: shown on screen: frames a second, and seconds from the frame's coming to its being shown.
    """

    painter: Paints
    camera: Camera
    names: tuple[str, ...]
    steady: bool = True
    inner_size: int | None = None
    pipelined: bool = False
    labelled: bool = True
    settings: LiveSettings = field(default_factory=LiveSettings)
    fps: float = 0.0
    latency: float = 0.0
    shown: int = 0
    _taken: deque[tuple[LiveSettings, float]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def press(self, key: str) -> LiveSettings:
        """Do what a key of `KEYS` says."""
        with self._lock:
            self.settings = after_key(self.settings, key, len(self.names))
            return self.settings

    def screens(self) -> Iterator[Screen]:
        """Painted screens, until the settings say `stopped`. Raises InputError when the source ends."""
        own = RealtimePainter(self.painter, self.inner_size, self.steady)
        before = time.perf_counter()
        frames = self._frames()
        for painted, codes in own.stream(frames, self._stop) if self.pipelined else map(own.both, frames):
            settings, came = self._taken.popleft()
            now = time.perf_counter()
            share = _SMOOTH if self.shown > 3 else 0.0
            self.fps = share * self.fps + (1 - share) / max(now - before, 1e-6)
            self.latency = share * self.latency + (1 - share) * (now - came)
            before = now
            self.shown += 1
            yield self._screen(painted.frame, codes, settings)

    def _stop(self) -> None:
        with self._lock:
            self.settings = replace(self.settings, stopped=True)

    def _frames(self) -> Iterator[tuple[Codes, Wish]]:
        """Frames of the camera, with how the viewer wants them."""
        while not self.settings.stopped:
            try:
                codes, came = self.camera.take(lambda: not self.settings.stopped)
            except Closed:
                return
            settings, count = self.settings, len(self.names)
            self._taken.append((settings, came))
            shares = tuple(float(index == settings.style) for index in range(count)) if count > 1 else None
            yield codes, Wish(settings.strength, shares)

    def _screen(self, frame: Codes, painted: Codes, settings: LiveSettings) -> Screen:
        screen: Screen = np.concatenate([frame, painted], axis=1) if settings.side_by_side else painted.copy()
        if not self.labelled:
            return screen
        measured = f"{self.fps:.1f} fps  {1000 * self.latency:.0f} ms"
        return with_caption(screen, f"{self.names[settings.style]}  {100 * settings.strength:.0f}%  {measured}")


def with_caption(screen: Screen, text: str) -> Screen:
    """The picture with a line of text at its lower left; letters that OpenCV lacks become question marks."""
    line = text.encode("ascii", "replace").decode()
    scale = max(0.35, min(0.6, screen.shape[1] / 900))
    at = (6, screen.shape[0] - 7)
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(screen, line, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, width, cv2.LINE_AA)
    return screen


def as_jpeg(screen: Screen, *, quality: int = 85) -> bytes:
    """A screen as a JPEG file."""
    done, data = cv2.imencode(".jpg", screen[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data)


def open_window(title: str) -> bool:
    """Open a window, where this OpenCV and this machine can."""
    with suppress(cv2.error):
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        return True
    return False


def show_in_window(live: Live, title: str) -> None:
    """Show the screens in the window, and listen to its keys, until it is over."""
    for screen in live.screens():
        cv2.imshow(title, screen[..., ::-1])
        code = cv2.waitKey(1)
        if code >= 0:
            live.press(chr(code & 0xFF))
    cv2.destroyWindow(title)


def sample(camera: Camera, inner_size: int | None = None) -> Pixels:
    """A frame to make a painter with."""
    codes, _ = camera.take()
    return images.as_float(shrunk(codes, inner_size))
