"""Masks that move with a film: read from a mask clip, or found in key frames and warped along by the flow between.

What is pointed at in the first frame is found again by pointing at where the flow has brought it.
Paper: arXiv:2307.01197 (SAM-PT, Rajič et al. 2023), which moves the points; here the mask moves, and gets new points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.assets import Store
from impasto.contract import OnProgress, ignore
from impasto.engine.controls import Controls
from impasto.engine.masks import Layout, MaskReader
from impasto.engine.points import Points, is_points
from impasto.errors import InputError
from impasto.files import is_file
from impasto.models import segment
from impasto.models.mobile_sam import Place
from impasto.ops import color, flow, masks
from impasto.video.stabilizer import Motion
from impasto.videos import FrameSource, VideoFrame, VideoHeader, VideoReader

CLIP_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif")
"""Extensions of mask clips."""

KEY = 12
"""Frames from one on which a subject is looked for to the next."""

_FOLLOW = 0.25  # of the way to what was found last, each frame: a mask that jumps would be seen
_PLACES = 3  # set in a mask to find what it shows again
_DEEP = 1.5  # pixels from its edge that such a place lies, at least
_SAME = 0.3  # of the area that either covers, in both: less, and something else was found
_GONE = 0.5  # below it everywhere, a mask selects nothing any more

Map = NDArray[np.float32]


Find = Callable[[NDArray[np.float32], Map | None], Map]
"""Finds a thing in `pixels (H, W, 3)`, given where it should lie: None as the film begins, nowhere behind a cut."""


def is_clip(mask: Any) -> bool:
    """Whether a mask is a film."""
    return isinstance(mask, str | Path) and Path(mask).suffix.lower() in CLIP_EXTENSIONS and not is_found(mask)


def is_found(mask: Any) -> bool:
    """Whether a mask is looked for in the picture: a word, or points."""
    return isinstance(mask, str) and (mask in segment.ASSETS or is_points(mask)) and not is_file(mask)


def check_points(controls: Controls, header: VideoHeader) -> None:
    """Raise InputError for points that lie outside the frames of a film."""
    for mask in masks_of(controls):
        if is_found(mask) and is_points(mask):
            Points.parse(mask).within(*header.own_size)


class _Clip:
    """The frame of a mask clip that is on screen at a time; the last one stays."""

    def __init__(self, path: Path, film: FrameSource) -> None:
        reader = VideoReader(path, film.start, film.end)
        self._time_base = reader.header.time_base
        self._frames: Iterator[VideoFrame] = iter(reader)
        self._now = self._next = next(self._frames)

    def at(self, seconds: float, height: int, width: int) -> Map:
        """Its lightness, `(H, W)` in [0, 1]."""
        while float(self._next.stamp * self._time_base) <= seconds + 1e-6:
            self._now = self._next
            following = next(self._frames, None)
            if following is None:
                break
            self._next = following
        return images.resize(self._now.pixels @ color.LUMA, height, width)


class _Tracked:
    """A thing: found in key frames, and warped along in between.

    Attributes:
        shown, found: the mask as it is used, and the newest one found, which the other follows; `(H, W)` in [0, 1].
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self.shown: Map | None = None
        self.found: Map | None = None

    def at(self, frame: VideoFrame, motion: Motion) -> Map:
        """The mask in a frame, which hangs together with the one before as `motion` says."""
        if self.shown is None or self.found is None or motion.cut:
            near = None if self.shown is None else np.zeros_like(self.shown)
            self.shown = self.found = _rounded(self._find(frame.pixels, near))
            return self.shown
        if not motion.links:  # a flash: the mask of the frame before it goes on behind it
            return self.shown
        back = motion.links[0].back
        shown, found = (flow.warp(mask, back) for mask in (self.shown, self.found))
        if frame.number % KEY == 0:
            found = self._find(frame.pixels, found)
        self.shown, self.found = _rounded(shown + _FOLLOW * (found - shown)), _rounded(found)
        return self.shown


@dataclass
class MovingMasks:
    """The masks of a film, frame after frame.

    Attributes:
        controls: whose regions and `preserve` they are.
        film: what they belong to.
        store: where the networks are that find subjects.
        rest: whether there is a style for what the regions leave.
        lost: points whose thing is not seen any more, and since which frame.
    """

    controls: Controls
    film: FrameSource
    store: Store
    rest: bool
    on_progress: OnProgress = ignore
    lost: dict[str, int] = field(default_factory=dict, init=False)
    _sources: dict[str, _Clip | _Tracked] = field(default_factory=dict)
    _still: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mask in masks_of(self.controls):
            name = _name(mask)
            if is_clip(mask):
                self._sources[name] = _Clip(Path(mask), self.film)
            elif is_found(mask):
                self._sources[name] = _Tracked(self._pointer(mask) if is_points(mask) else self._finder(mask))

    @staticmethod
    def wanted(controls: Controls) -> bool:
        """Whether any mask moves."""
        return any(is_clip(mask) or is_found(mask) for mask in masks_of(controls))

    @staticmethod
    def stilled(controls: Controls, frame: NDArray[np.float32]) -> Controls:
        """The controls with white frames in place of masks that move, to find styles and read still masks by."""

        def still(mask: Any) -> Any:
            return np.ones_like(frame) if is_clip(mask) or is_found(mask) else mask

        regions = tuple((still(mask), style) for mask, style in controls.regions)
        return replace(controls, regions=regions, preserve=still(controls.preserve))

    @property
    def follows(self) -> bool:
        """Whether motion has to be known."""
        return any(isinstance(source, _Tracked) for source in self._sources.values())

    def _finder(self, word: str) -> Find:
        def find(pixels: NDArray[np.float32], _near: Map | None) -> Map:
            try:
                return self._reader(pixels).read(word)[0, 0].numpy()
            except InputError:  # nothing there, in this frame
                return np.zeros(pixels.shape[:2], np.float32)

        return find

    def _pointer(self, text: str) -> Find:
        named = Points.parse(text).within(*self.film.header.own_size)

        def find(pixels: NDArray[np.float32], near: Map | None) -> Map:
            reader = self._reader(pixels)
            if near is None:
                return reader.pointed_at(named)[0, 0].numpy()
            places = _places_in(near)
            if not places:
                return np.zeros_like(near)
            try:
                found = reader.pointed_at(places, like=torch.from_numpy(near)[None, None])[0, 0].numpy()
            except InputError:
                return near
            return found if _overlap(found, near) > _SAME else near

        return find

    def _reader(self, pixels: NDArray[np.float32], feather: float = 0.0) -> MaskReader:
        size = pixels.shape[1], pixels.shape[0]
        return MaskReader(images.to_tensor(pixels), size, self.store, feather, on_progress=self.on_progress)

    def layout(self, frame: VideoFrame, motion: Motion) -> Layout:
        """All masks in a frame."""
        found: dict[str, Tensor] = {}
        height, width = frame.pixels.shape[:2]
        for name, source in self._sources.items():
            if isinstance(source, _Clip):
                seconds = float(frame.stamp * self.film.header.time_base)
                mask = source.at(seconds, height, width)
            else:
                mask = source.at(frame, motion)
                if is_points(name) and mask.max() < _GONE:
                    self.lost.setdefault(name, frame.number)
            found[name] = masks.feather(torch.from_numpy(mask)[None, None], self.controls.feather)

        def at(mask: Any) -> Tensor:
            name = _name(mask)
            if name not in found and name not in self._still:
                self._still[name] = self._reader(frame.pixels, self.controls.feather).read(mask)
            return found.get(name, self._still.get(name))  # type: ignore[return-value]

        regions = [at(mask) for mask, _ in self.controls.regions]
        preserve = None if self.controls.preserve is None else at(self.controls.preserve)
        return Layout.of(regions, rest=self.rest, preserve=preserve)[0]

    def state(self) -> dict[str, NDArray[np.uint16]]:
        """The state to resume from."""
        return {
            f"{kind} {name}": np.rint(65535 * getattr(source, kind)).astype(np.uint16)
            for name, source in self._sources.items()
            if isinstance(source, _Tracked) and source.shown is not None
            for kind in ("shown", "found")
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken."""
        for name, source in self._sources.items():
            if isinstance(source, _Tracked) and f"shown {name}" in state:
                source.shown, source.found = (_rounded(state[f"{kind} {name}"] / 65535) for kind in ("shown", "found"))


def _places_in(mask: Map) -> list[Place]:
    """Places that lie deep in a mask and apart from each other; none where it is too thin."""
    height, width = mask.shape
    left = np.pad((mask > _GONE).astype(np.uint8), 1)  # what lies beyond the frame does not belong to it
    found: list[Place] = []
    while len(found) < _PLACES:
        depths = cv2.distanceTransform(left, cv2.DIST_L2, 5)
        row, column = divmod(int(depths.argmax()), depths.shape[1])
        depth = depths[row, column]
        if depth < _DEEP:
            break
        found.append(((column - 0.5) / width, (row - 0.5) / height, True))
        cv2.circle(left, (column, row), max(1, round(depth)), 0, -1)
    return found


def _overlap(one: Map, other: Map) -> float:
    """Of the area that either covers, how much both do."""
    return float(np.minimum(one, other).sum() / max(np.maximum(one, other).sum(), 1e-6))


def _rounded(mask: NDArray[np.floating[Any]]) -> Map:
    """To 16 bits: what is stored and read again stays the same."""
    return np.asarray(np.rint(65535 * mask) / np.float32(65535), dtype=np.float32)


def _name(mask: Any) -> str:
    return str(mask) if isinstance(mask, str | Path) else f"mask {id(mask)}"


def masks_of(controls: Controls) -> list[Any]:
    """Those of regions and of `preserve`."""
    return [*(mask for mask, _ in controls.regions), *([] if controls.preserve is None else [controls.preserve])]
