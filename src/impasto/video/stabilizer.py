"""Keeps the paintings of successive frames alike where the frames are: no boiling, no flicker, and no blur for it.

The painting of the frame before is warped by optical flow and replaces the fresh one wherever the flow is reliable; so
does, to a lesser part, the painting of ten frames before, which has been resampled once and not ten times. Four things
keep them from degrading. Slow corrections pull towards the fresh painting, broad areas quicker
than detail, so that colours cannot drift. Detail that resampling has blurred is restored: the two finest bands are
scaled towards the contrast that the fresh painting has there. Paint that motion has stretched is replaced. And what was
hidden, or looks different from the warped frame, comes from the fresh painting alone.

Paper: arXiv:1604.08610 (Ruder, Dosovitskiy and Brox 2016), for the reliability of the flow and for long-term anchors.
Departs from it in working on finished paintings, so that it serves every method; in keeping their contrast; and in
using the warped painting at the edges of moving things, where fresh paint would boil (bench/NOTES.md): errors of the
flow show there in the colours of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto.ops import flow
from impasto.ops.flow import Flow, Frame, Grey, Map
from impasto.video.cuts import LOOKAHEAD, CutDetector, FrameSummary

Codes: TypeAlias = NDArray[np.uint16]
"""A painting `(H, W, 3)` with 16 bits."""

_WHITE = np.float32(65535)
_DETAIL = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32) / 4
_COARSE = 4  # pixels of a frame for one of a map at low resolution
_STRETCH = 0.3  # relative stretch or shear from which on paint is replaced
_MOST_WEAR = 0.2  # of the paint, a frame
_FINE = 2.0  # deviation of a Gaussian, in pixels, that a small map still holds
_FADED = 0.045  # change of the input's colours since a place was painted, at which half of it is painted anew


@dataclass(frozen=True)
class TemporalSettings:
    """How strongly the frames of a film are kept alike.

    Attributes:
        flow_preset: of the optical flow; see `FlowFinder`.
        flow_side: longest side in pixels at which the flow is computed; None for the frames' own.
        detail: share of the fresh painting that is mixed into reliable areas, each frame, in detail.
        tone: the same in broad areas.
        radius: what is broad, in pixels (deviation of a Gaussian).
        tolerance: difference of the input's colours at which reliability halves.
        anchor_distance: of the long-term anchor, in frames; 0 for none.
        anchor_share: its share against the frame before.
        anchor_every: use it at every n-th frame; it costs as much as the frame before.
        passes: over a piece of the film, forwards, backwards, forwards and so on, by methods that start from a picture.
        lanczos: warp the lightness of the last painting so, not bicubically: sharper, in three times the time.
        forward_check: compute the flow in both directions, to find what was hidden before. It doubles the time. Without
            it only the colours of the input are compared.
    """

    flow_preset: str = "medium"
    flow_side: int | None = 400
    detail: float = 0.02
    tone: float = 0.04
    radius: float = 6.0
    tolerance: float = 0.12
    anchor_distance: int = 10
    anchor_share: float = 0.5
    anchor_every: int = 1
    passes: int = 1
    forward_check: bool = True
    lanczos: bool = True

    def for_slow_method(self) -> TemporalSettings:
        """The same with the better flow, which costs little beside a slow method."""
        return replace(self, flow_preset="medium") if self.flow_preset == "brisk" else self


TEMPORAL_PRESETS = {
    "fast": TemporalSettings(flow_preset="brisk", anchor_share=0.32, anchor_every=2, forward_check=False),
    "best": TemporalSettings(flow_side=None, passes=3),
}
"""Settings by value of `--temporal`."""


@dataclass(frozen=True)
class Link:
    """The optical flow from a frame to an earlier one.

    Attributes:
        distance: in frames.
        back: the flow to the earlier one, `(H, W, 2)`.
        reliability: of the flow, `(H, W)` in [0, 1].
    """

    distance: int
    back: Flow
    reliability: Map


@dataclass(frozen=True)
class Motion:
    """The flow from a frame to earlier ones.

    Attributes:
        links: to the frame before and to the long-term anchor; none at the first frame, after a cut and at a flash,
            behind which the first leads to the frame before it.
        cut: whether a new shot begins here.
    """

    links: tuple[Link, ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class _PastFrame:
    """An earlier frame of the input.

    Attributes:
        pixels: `(h, w, 3)`, 8 bits, made small.
        grey: the same for the search.
        source: the input that its painting was made from, where older paint was warped to it; 8 bits.
        odd: a flash, or a damaged frame: never linked to.
    """

    pixels: NDArray[np.uint8]
    grey: Grey
    source: NDArray[np.uint8]
    odd: bool = False


@dataclass
class MotionEstimator:
    """Finds the flow to earlier frames of the input; it keeps as many as the anchor is far. One for each clip.

    Attributes:
        settings: see `TemporalSettings`.
        count: number of frames before, so that `anchor_every` falls on the same ones in a resumed job.
    """

    settings: TemporalSettings = field(default_factory=TemporalSettings)
    count: int = 0
    _kept: deque[_PastFrame] = field(default_factory=deque)
    _cuts: CutDetector = field(default_factory=CutDetector)
    _source: Frame | None = None  # the input that this frame's painting is made from, where older paint is warped to it

    def __post_init__(self) -> None:
        self._find = flow.FlowFinder(self.settings.flow_preset)

    def __call__(self, source: Frame, following: Sequence[Frame] = ()) -> Motion:
        """The flow from this frame `(H, W, 3)` to earlier ones.

        following: the frames after it, which tell a flash from a cut; none if they are not known yet.
        """
        cut, odd = self._cuts(source, following)
        if cut:
            self._kept.clear()
        self._source = None
        size = source.shape[0], source.shape[1]
        source = self._shrunk(source)
        grey = flow.grey(source)
        links = () if odd else self._links(source, grey, size)
        codes = _codes(source)
        self._append(_PastFrame(codes, grey, codes if self._source is None else _codes(self._source), odd))
        self.count += 1
        return Motion(links, cut)

    def _links(self, source: Frame, grey: Grey, size: tuple[int, int]) -> tuple[Link, ...]:
        near = next((distance for distance, one in enumerate(reversed(self._kept), start=1) if not one.odd), 0)
        if not near:
            return ()
        links = [self._renewed(source, self._link(source, grey, self._kept[-near], near, (0, 0)), size)]
        far = self.settings.anchor_distance
        due = far > near and len(self._kept) >= far and self.count % self.settings.anchor_every == 0
        if due and not self._kept[-far].odd:
            link = self._link(source, grey, self._kept[-far], far, (0, 0))
            links.append(
                _upsampled(_without_faded(link, source, flow.warp(_as_float(self._kept[-far].source), link.back)), size)
            )
        return tuple(links)

    def _renewed(self, source: Frame, link: Link, size: tuple[int, int]) -> Link:
        """The link to the frame before, unreliable where the input is no longer what was painted.

        In a dissolve or a fade each step is small, yet in the end nothing is the same: old paint would stay as a ghost.
        """
        before = flow.warp(_as_float(self._kept[-link.distance].source), link.back)
        link = _without_faded(link, source, before)
        self._source = before + _three_channels(1 - (1 - self.settings.detail) * link.reliability) * (source - before)
        return _upsampled(link, size)

    def state(self) -> dict[str, NDArray[Any]]:
        """The state for `keep`: for each frame that is kept, whether it is `odd`, and its `source`."""
        return {
            "odd": np.array([one.odd for one in self._kept], np.bool_),
            "source": np.array([one.source for one in self._kept], np.uint8),
        }

    def keep(self, frame: Frame, *, odd: bool = False, source: NDArray[np.uint8] | None = None) -> None:
        """Keep a frame without computing its flow, to resume a job. odd, source: see `state`."""
        if not odd:
            self._cuts.last = FrameSummary.of(frame)
        small = self._shrunk(frame)
        codes = _codes(small)
        self._append(_PastFrame(codes, flow.grey(small), codes if source is None else source, odd))

    def back(self, source: Frame, following: Frame) -> Link:
        """The flow from a frame to the one after it, for a pass from the end to the beginning."""
        size = source.shape[0], source.shape[1]
        source, following = self._shrunk(source), self._shrunk(following)
        codes = _codes(following)
        return self._link(source, flow.grey(source), _PastFrame(codes, flow.grey(following), codes), 1, size)

    def _append(self, kept: _PastFrame) -> None:
        self._kept.append(kept)
        # the frame before a flash is needed after it
        while len(self._kept) > max(1 + LOOKAHEAD, self.settings.anchor_distance):
            self._kept.popleft()

    def _shrunk(self, source: Frame) -> Frame:
        height, width = source.shape[:2]
        side = self.settings.flow_side or max(height, width)
        if max(height, width) <= side:
            return source
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA))

    def _link(
        self,
        source: Frame,
        grey: Grey,
        other: _PastFrame,
        distance: int,
        size: tuple[int, int],
    ) -> Link:
        back = self._find(grey, other.grey)
        visible = flow.visible(back, self._find(other.grey, grey)) if self.settings.forward_check else flow.inside(back)
        before = flow.warp(_as_float(other.pixels), back)
        reliability = flow_reliability(source, before, visible, tolerance=self.settings.tolerance)
        link = Link(distance, back, reliability)
        return _upsampled(link, size) if any(size) else link


@dataclass(frozen=True)
class WarpedPainting:
    """An earlier painting warped to a frame: `(H, W, 3)`, and its reliability, `(H, W)` in [0, 1]."""

    painting: Frame
    reliability: Map


@dataclass
class Stabilizer:
    """Blends fresh paintings with earlier ones; it keeps as many as the anchor is far. One for each clip.

    Attributes:
        settings: see `TemporalSettings`.
        paintings: earlier ones, oldest first, with 16 bits, so that storing them loses nothing.
        moved: displacement of the newest one's paint since it was fresh, at low resolution; None if all of it is fresh.
    """

    settings: TemporalSettings = field(default_factory=TemporalSettings)
    paintings: deque[Codes] = field(default_factory=deque)
    moved: Flow | None = None

    def warp(self, motion: Motion) -> tuple[WarpedPainting, ...]:
        """Earlier paintings, warped to the frame: the last one, then the anchor; none after a cut."""
        if motion.cut:
            self.paintings.clear()
        links = [link for link in motion.links if link.distance <= len(self.paintings)]
        if not links:
            self.moved = None
            return ()
        near = replace(links[0], reliability=links[0].reliability * (1 - self._wear(links[0])))
        sharp = self.settings.lanczos
        return tuple(warp_painting(self.paintings[-link.distance], link, sharp=sharp) for link in (near, *links[1:]))

    def _wear(self, link: Link) -> Map:
        """Share of the newest painting to be replaced because motion has stretched or sheared it, `(H, W)`.

        Each step of the flow may fit the colours of the input, and yet the steps together may distort the paint: around
        limbs, and on surfaces without texture. Even motion, noise of the flow, and zooms add up to little.
        """
        height, width = link.reliability.shape
        size, back = _coarse_size((height, width)), _coarse_flow(link)
        reliability = np.asarray(cv2.resize(link.reliability, size, interpolation=cv2.INTER_AREA), np.float32)
        before = np.zeros_like(back) if self.moved is None else self.moved
        moved = (flow.warp(before, back) + back) * cv2.merge((reliability, reliability))
        across, down = (cv2.blur(cv2.Sobel(moved, -1, *way, ksize=3, scale=1 / 8), (3, 3)) for way in ((1, 0), (0, 1)))
        stretch = np.sqrt((across * across + down * down).sum(2))
        wear = cv2.blur(_MOST_WEAR * (stretch / _STRETCH - 1).clip(0, 1), (3, 3))
        self.moved = moved * cv2.merge((1 - wear, 1 - wear))
        return np.asarray(cv2.resize(wear, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """The state for `restore`."""
        moved = {} if self.moved is None else {"moved": self.moved}
        return {"paintings": np.array(self.paintings), **moved}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Resume where `state` was taken."""
        self.paintings = deque(np.asarray(each, np.uint16) for each in state.get("paintings", ()))
        self.moved = np.asarray(state["moved"], np.float32) if "moved" in state else None

    def stabilize(self, fresh: Frame, warped: tuple[WarpedPainting, ...]) -> Frame:
        """The fresh painting `(H, W, 3)` blended with the warped ones; the result is kept."""
        steady = stabilized(fresh, warped, self.settings) if warped else fresh
        self.paintings.append(coded(steady))
        while len(self.paintings) > max(1, self.settings.anchor_distance):
            self.paintings.popleft()
        return steady


def _coarse_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a map at low resolution, for a frame of a height and width."""
    height, width = size
    return -(-width // _COARSE), -(-height // _COARSE)


def _coarse_flow(link: Link) -> Flow:
    """The flow back, at low resolution."""
    size = _coarse_size((link.reliability.shape[0], link.reliability.shape[1]))
    return np.asarray(cv2.resize(link.back, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(_COARSE)


def _codes(frame: Frame) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * frame).clip(0, 255), np.uint8)


def _as_float(codes: NDArray[np.uint8]) -> Frame:
    return codes.astype(np.float32) / np.float32(255)


def _without_faded(link: Link, frame: Frame, source: Frame) -> Link:
    """The link, unreliable where a frame differs from the input that the warped paint was made from."""
    agreed = flow.color_agreement(frame, source, tolerance=_FADED)
    return replace(link, reliability=np.asarray(link.reliability * agreed, np.float32))


def _upsampled(link: Link, size: tuple[int, int]) -> Link:
    """A link for frames of another size."""
    if link.reliability.shape == size:
        return link
    reliability = np.asarray(cv2.resize(link.reliability, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return Link(link.distance, flow.enlarged(link.back, *size), reliability)


def coded(painting: Frame) -> Codes:
    """A painting `(H, W, 3)` in [0, 1] with 16 bits."""
    return np.asarray(np.rint(_WHITE * painting), dtype=np.uint16)


def warp_painting(painting: Codes, link: Link, *, sharp: bool = True) -> WarpedPainting:
    """A `coded` painting, warped; sharp: see `TemporalSettings.lanczos`."""
    frame = painting.astype(np.float32) / _WHITE
    # the frame before is warped again and again, an anchor once
    warped = (
        flow.warp_sharply(frame, link.back) if link.distance == 1 and sharp else flow.warp(frame, link.back, cubic=True)
    )
    return WarpedPainting(np.clip(warped, 0, 1, out=warped), link.reliability)


def blend_warped(own: Frame, warped: tuple[WarpedPainting, ...], share: float) -> Frame:
    """A frame's painting, blended with the first warped one where that is reliable; as sharp as it was."""
    if not warped:
        return own
    mixed = own + _three_channels(share * warped[0].reliability) * (warped[0].painting - own)
    return np.asarray(with_contrast_of(mixed, own).clip(0, 1))


def stabilized(fresh: Frame, warped: tuple[WarpedPainting, ...], settings: TemporalSettings) -> Frame:
    """The earlier paintings where they are reliable, and the fresh one elsewhere. See the module."""
    last = warped[0]
    old = last.painting
    for anchor in warped[1:]:
        old = old + _three_channels(settings.anchor_share * anchor.reliability) * (anchor.painting - old)
    gap = old - fresh
    # the old with slow corrections towards the fresh, quicker ones in broad areas
    held = (1 - settings.detail) * gap - (settings.tone - settings.detail) * broad(gap, settings.radius)
    held *= _three_channels(last.reliability)
    held += fresh
    return np.asarray(with_contrast_of(held, fresh).clip(0, 1))


def flow_reliability(later: Frame, warped: Frame, visible: flow.Mask, *, tolerance: float) -> Map:
    """How reliable a flow is, `(H, W)` in [0, 1].

    later, warped: the input's frame and the earlier one of the input warped to it; visible: where it was in sight.
    """
    soft = blurred(visible.astype(np.float32), 0.7)
    return np.asarray(soft * flow.color_agreement(later, warped, tolerance=tolerance), dtype=np.float32)


def with_contrast_of(picture: Frame, model: Frame) -> Frame:
    """Scale the detail of `picture` up to the contrast that `model` has around each place.

    Both `(H, W, 3)`. The scale changes slowly over the picture (a deviation of 8 px, and of 16) and is at most 2.
    Detail is what differs from the four neighbours, which resampling blurs first; and the same in the picture at half
    its size, where blending evens strokes out. Of that a third (of the logarithm) is restored: all of it would flicker.
    """
    height, width = picture.shape[:2]
    half = -(-width // 2), -(-height // 2)
    small = [np.asarray(cv2.resize(each, half, interpolation=cv2.INTER_AREA), np.float32) for each in (picture, model)]
    gained = _missing_detail(picture, model, 1)
    coarse = _missing_detail(small[0], small[1], 1 / 3)
    gained += np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    gained += picture
    return gained


def _missing_detail(picture: Frame, model: Frame, share: float) -> Frame:
    """The addition to `picture` that restores a share of the contrast that its detail lacks."""
    height, width = picture.shape[:2]
    fine, wanted = (np.asarray(cv2.filter2D(each, -1, _DETAIL), np.float32) for each in (picture, model))
    have, want = (_blurred_small(flow.mean_of_channels(band * band), 8.0) for band in (fine, wanted))
    gain = (((want + 1e-6) / (have + 1e-6)) ** (share / 2)).clip(1, 2) - 1
    fine *= _three_channels(np.asarray(cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR), np.float32))
    return fine


def broad(values: Frame, radius: float) -> Frame:
    """As `blurred`, for radii of many pixels: at low resolution, and enlarged again."""
    height, width = values.shape[:2]
    large = cv2.resize(_blurred_small(values, radius), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.float32)


def _blurred_small(values: Frame, radius: float) -> Frame:
    """Blurred by so many pixels, at the lowest resolution that holds it."""
    height, width = values.shape[:2]
    scale = max(1, int(radius / _FINE))
    size = -(-width // scale), -(-height // scale)
    small = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return blurred(small, radius / scale)


def _three_channels(reliability: Map) -> Frame:
    """A map for each of three channels: numpy is slow to repeat it along so short an axis."""
    return np.asarray(cv2.merge((reliability, reliability, reliability)), dtype=np.float32)


def blurred(values: Frame, radius: float) -> Frame:
    """A Gaussian of deviation `radius` pixels over `(H, W)` or `(H, W, C)`."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), radius), dtype=np.float32)
