"""Keeps the paintings of successive frames alike where the frames are: no boiling, no flicker, and no blur for it.

The painting of the frame before is brought along by optical flow and takes the place of the fresh one wherever the flow
can be trusted; so does, to a lesser part, the painting of ten frames before, which has been resampled once and not ten
times. Four things keep them from wearing out. Slow corrections pull towards the fresh painting, broad areas quicker
than detail, so that colours cannot drift. Detail that resampling has worn off is given back: the two finest bands are
scaled towards the contrast that the fresh painting has there. Paint that motion has torn apart is renewed. And what was
hidden or looks different from what was brought comes from the fresh painting alone.

Paper: arXiv:1604.08610 (Ruder, Dosovitskiy and Brox 2016), for trust in the flow and for long-term anchors. Departs
from it in working on finished paintings, so that it serves every method; in keeping their contrast; and in trusting the
edges of moving things, where fresh paint would boil (bench/NOTES.md): what the flow gets wrong there, the colours of
the input tell.
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
from impasto.video.cuts import AHEAD, CutFinder, Glance

Codes: TypeAlias = NDArray[np.uint16]
"""A painting `(H, W, 3)` with 16 bits."""

_WHITE = np.float32(65535)
_DETAIL = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32) / 4
_COARSE = 4  # pixels to one of a map that is drawn small
_STRETCH = 0.3  # from which on paint wears: so much longer or shorter, or as much sheared
_MOST_WEAR = 0.2  # of the paint, a frame
_FINE = 2.0  # pixels of a Gaussian's deviation that are enough to draw it
_FADED = 0.045  # change of the input's colours since a place was painted, at which half of it is painted anew


@dataclass(frozen=True)
class Firmness:
    """How firmly frames hold together.

    Attributes:
        preset: of the flow.
        side: longest side of the frames in which motion is looked for; None for their own.
        detail: share of the fresh painting that comes through in trusted areas, each frame, in detail.
        tone: the same in broad areas.
        radius: what is broad, in pixels (deviation of a Gaussian).
        tolerance: difference of the input's colours at which trust halves.
        distance: of the long-term anchor, in frames; 0 for none.
        anchor: its share against the frame before.
        every: of so many frames one looks at it; it costs as much as the frame before.
        passes: over a piece of the film, forth, back, forth and so on, by methods that start from a picture.
        forth: whether the flow is looked for forth, too, to see what was hidden before. It doubles the time. Without it
            the colours of the input tell alone.
    """

    preset: str = "medium"
    side: int | None = 400
    detail: float = 0.02
    tone: float = 0.04
    radius: float = 6.0
    tolerance: float = 0.12
    distance: int = 10
    anchor: float = 0.5
    every: int = 1
    passes: int = 1
    forth: bool = True

    def beside_slow(self) -> Firmness:
        """For a method next to which a better search for motion costs little."""
        return replace(self, preset="medium") if self.preset == "brisk" else self


FIRMNESSES = {
    "fast": Firmness(preset="brisk", anchor=0.32, every=2, forth=False),
    "best": Firmness(side=None, passes=3),
}
"""What `--temporal` names."""


@dataclass(frozen=True)
class Link:
    """How a frame hangs together with an earlier one.

    Attributes:
        distance: in frames.
        back: the flow to the earlier one, `(H, W, 2)`.
        trust: how far it holds, `(H, W)` in [0, 1].
    """

    distance: int
    back: Flow
    trust: Map


@dataclass(frozen=True)
class Motion:
    """What moved up to a frame.

    Attributes:
        links: to the frame before and to the long-term anchor; none at the first frame, after a cut and at a flash,
            behind which the first leads to the frame before it.
        cut: whether a new shot begins here.
    """

    links: tuple[Link, ...] = ()
    cut: bool = False


@dataclass(frozen=True)
class _Kept:
    """A frame of the input that was seen.

    Attributes:
        pixels: `(h, w, 3)`, 8 bits, made small.
        grey: the same for the search.
        source: what its painting was painted from, as far as earlier paint was brought along; 8 bits.
        odd: whether it is to be passed over: a flash, or a damaged frame.
    """

    pixels: NDArray[np.uint8]
    grey: Grey
    source: NDArray[np.uint8]
    odd: bool = False


@dataclass
class Watcher:
    """Follows the input. It remembers as many frames as the anchor is far: one for each clip.

    Attributes:
        firmness: how firmly frames hold together.
        count: of the frames before, so that `every` falls on the same ones when a job goes on.
    """

    firmness: Firmness = field(default_factory=Firmness)
    count: int = 0
    _kept: deque[_Kept] = field(default_factory=deque)
    _cuts: CutFinder = field(default_factory=CutFinder)
    _source: Frame | None = None  # what this frame's painting is painted from, where paint is brought along to it

    def __post_init__(self) -> None:
        self._find = flow.FlowFinder(self.firmness.preset)

    def __call__(self, source: Frame, following: Sequence[Frame] = ()) -> Motion:
        """What moved up to this frame `(H, W, 3)`.

        following: the frames after it, which tell a flash from a cut; none where they are not there yet.
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
        self._remember(_Kept(codes, grey, codes if self._source is None else _codes(self._source), odd))
        self.count += 1
        return Motion(links, cut)

    def _links(self, source: Frame, grey: Grey, size: tuple[int, int]) -> tuple[Link, ...]:
        near = next((distance for distance, one in enumerate(reversed(self._kept), start=1) if not one.odd), 0)
        if not near:
            return ()
        links = [self._renewed(source, self._link(source, grey, self._kept[-near], near, (0, 0)), size)]
        far = self.firmness.distance
        due = far > near and len(self._kept) >= far and self.count % self.firmness.every == 0
        if due and not self._kept[-far].odd:
            link = self._link(source, grey, self._kept[-far], far, (0, 0))
            links.append(_enlarged(_faded(link, source, flow.warp(_unit(self._kept[-far].source), link.back)), size))
        return tuple(links)

    def _renewed(self, source: Frame, link: Link, size: tuple[int, int]) -> Link:
        """The link to the frame before, with no trust where the input is no longer what was painted.

        In a dissolve or a fade each step is small, and all together leave nothing: the paint would stay as a ghost.
        """
        before = flow.warp(_unit(self._kept[-link.distance].source), link.back)
        link = _faded(link, source, before)
        self._source = before + _each(1 - (1 - self.firmness.detail) * link.trust) * (source - before)
        return _enlarged(link, size)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `keep` takes to go on: of each frame that is kept, whether it is `odd`, and its `source`."""
        return {
            "odd": np.array([one.odd for one in self._kept], np.bool_),
            "source": np.array([one.source for one in self._kept], np.uint8),
        }

    def keep(self, frame: Frame, *, odd: bool = False, source: NDArray[np.uint8] | None = None) -> None:
        """Remember a frame without looking for motion, to go on where another left off. odd, source: see `state`."""
        if not odd:
            self._cuts.last = Glance.of(frame)
        small = self._shrunk(frame)
        codes = _codes(small)
        self._remember(_Kept(codes, flow.grey(small), codes if source is None else source, odd))

    def back(self, source: Frame, following: Frame) -> Link:
        """How a frame hangs together with the one after it, for a pass from the end to the beginning."""
        size = source.shape[0], source.shape[1]
        source, following = self._shrunk(source), self._shrunk(following)
        codes = _codes(following)
        return self._link(source, flow.grey(source), _Kept(codes, flow.grey(following), codes), 1, size)

    def _remember(self, kept: _Kept) -> None:
        self._kept.append(kept)
        while len(self._kept) > max(1 + AHEAD, self.firmness.distance):  # the frame before a flash is needed behind it
            self._kept.popleft()

    def _shrunk(self, source: Frame) -> Frame:
        height, width = source.shape[:2]
        side = self.firmness.side or max(height, width)
        if max(height, width) <= side:
            return source
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA))

    def _link(
        self,
        source: Frame,
        grey: Grey,
        other: _Kept,
        distance: int,
        size: tuple[int, int],
    ) -> Link:
        back = self._find(grey, other.grey)
        visible = flow.visible(back, self._find(other.grey, grey)) if self.firmness.forth else flow.inside(back)
        before = flow.warp(_unit(other.pixels), back)
        trust = reliability(source, before, visible, tolerance=self.firmness.tolerance)
        link = Link(distance, back, trust)
        return _enlarged(link, size) if any(size) else link


@dataclass(frozen=True)
class Brought:
    """An earlier painting brought to a frame: `(H, W, 3)`, and `(H, W)` in [0, 1], how far it may be trusted."""

    painting: Frame
    trust: Map


@dataclass
class Steadier:
    """Joins fresh paintings with earlier ones. It remembers as many as the anchor is far: one for each clip.

    Attributes:
        firmness: how firmly frames hold together.
        paintings: those that it remembers, oldest first, with 16 bits: what is stored and read again stays the same.
        moved: how far the newest one's paint has come since it was fresh, drawn small; None where all of it is.
    """

    firmness: Firmness = field(default_factory=Firmness)
    paintings: deque[Codes] = field(default_factory=deque)
    moved: Flow | None = None

    def bring(self, motion: Motion) -> tuple[Brought, ...]:
        """Earlier paintings, brought to the frame: the last one, then the anchor; none after a cut."""
        if motion.cut:
            self.paintings.clear()
        links = [link for link in motion.links if link.distance <= len(self.paintings)]
        if not links:
            self.moved = None
            return ()
        near = replace(links[0], trust=links[0].trust * (1 - self._wear(links[0])))
        return tuple(bring(self.paintings[-link.distance], link) for link in (near, *links[1:]))

    def _wear(self, link: Link) -> Map:
        """How much of the newest painting has to be painted anew, since motion has stretched or sheared it, `(H, W)`.

        Each step of the flow may fit the colours of the input, and all together may tear the paint apart: around
        limbs, and on surfaces without texture. Motion that is even, noise of the flow, and zooms add up to little.
        """
        height, width = link.trust.shape
        size, back = _small((height, width)), _small_flow(link)
        trust = np.asarray(cv2.resize(link.trust, size, interpolation=cv2.INTER_AREA), np.float32)
        before = np.zeros_like(back) if self.moved is None else self.moved
        moved = (flow.warp(before, back) + back) * cv2.merge((trust, trust))
        across, down = (cv2.blur(cv2.Sobel(moved, -1, *way, ksize=3, scale=1 / 8), (3, 3)) for way in ((1, 0), (0, 1)))
        stretch = np.sqrt((across * across + down * down).sum(2))
        wear = cv2.blur(_MOST_WEAR * (stretch / _STRETCH - 1).clip(0, 1), (3, 3))
        self.moved = moved * cv2.merge((1 - wear, 1 - wear))
        return np.asarray(cv2.resize(wear, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` takes to go on."""
        moved = {} if self.moved is None else {"moved": self.moved}
        return {"paintings": np.array(self.paintings), **moved}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken."""
        self.paintings = deque(np.asarray(each, np.uint16) for each in state.get("paintings", ()))
        self.moved = np.asarray(state["moved"], np.float32) if "moved" in state else None

    def join(self, fresh: Frame, brought: tuple[Brought, ...]) -> Frame:
        """The steady painting out of the fresh one `(H, W, 3)` and what was brought; it is kept."""
        steady = joined(fresh, brought, self.firmness) if brought else fresh
        self.paintings.append(coded(steady))
        while len(self.paintings) > max(1, self.firmness.distance):
            self.paintings.popleft()
        return steady


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a map that is drawn small, for a frame of a height and width."""
    height, width = size
    return -(-width // _COARSE), -(-height // _COARSE)


def _small_flow(link: Link) -> Flow:
    """The flow back, drawn small."""
    size = _small((link.trust.shape[0], link.trust.shape[1]))
    return np.asarray(cv2.resize(link.back, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(_COARSE)


def _codes(frame: Frame) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * frame).clip(0, 255), np.uint8)


def _unit(codes: NDArray[np.uint8]) -> Frame:
    return codes.astype(np.float32) / np.float32(255)


def _faded(link: Link, frame: Frame, source: Frame) -> Link:
    """The link with no trust where a frame is no longer what the paint that is brought to it was painted from."""
    agreed = flow.agreement(frame, source, tolerance=_FADED)
    return replace(link, trust=np.asarray(link.trust * agreed, np.float32))


def _enlarged(link: Link, size: tuple[int, int]) -> Link:
    """A link for frames of another size."""
    if link.trust.shape == size:
        return link
    trust = np.asarray(cv2.resize(link.trust, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return Link(link.distance, flow.enlarged(link.back, *size), trust)


def coded(painting: Frame) -> Codes:
    """A painting `(H, W, 3)` in [0, 1] with 16 bits."""
    return np.asarray(np.rint(_WHITE * painting), dtype=np.uint16)


def bring(painting: Codes, link: Link) -> Brought:
    """A `coded` painting brought along a link."""
    frame = painting.astype(np.float32) / _WHITE
    # the frame before is brought along again and again, an anchor once
    brought = flow.warp_sharply(frame, link.back) if link.distance == 1 else flow.warp(frame, link.back, cubic=True)
    return Brought(np.clip(brought, 0, 1, out=brought), link.trust)


def blended(own: Frame, brought: tuple[Brought, ...], share: float) -> Frame:
    """A frame's painting with a share of the first that was brought, where that can be trusted; as sharp as it was."""
    if not brought:
        return own
    mixed = own + _each(share * brought[0].trust) * (brought[0].painting - own)
    return np.asarray(with_contrast_of(mixed, own).clip(0, 1))


def joined(fresh: Frame, brought: tuple[Brought, ...], firmness: Firmness) -> Frame:
    """A painting that is the earlier ones where they can be trusted, and the fresh one elsewhere. See the module."""
    last = brought[0]
    old = last.painting
    for anchor in brought[1:]:
        old = old + _each(firmness.anchor * anchor.trust) * (anchor.painting - old)
    gap = old - fresh
    # the old with slow corrections towards the fresh, quicker ones in broad areas
    held = (1 - firmness.detail) * gap - (firmness.tone - firmness.detail) * broad(gap, firmness.radius)
    held *= _each(last.trust)
    held += fresh
    return np.asarray(with_contrast_of(held, fresh).clip(0, 1))


def reliability(later: Frame, brought: Frame, visible: flow.Mask, *, tolerance: float) -> Map:
    """How far what was brought along may be trusted, `(H, W)` in [0, 1].

    later, brought: the input's frame and the earlier one of the input brought to it; visible: where it was in sight.
    """
    soft = blurred(visible.astype(np.float32), 0.7)
    return np.asarray(soft * flow.agreement(later, brought, tolerance=tolerance), dtype=np.float32)


def with_contrast_of(picture: Frame, model: Frame) -> Frame:
    """Scale the detail of `picture` up to the contrast that `model` has around each place.

    Both `(H, W, 3)`. The scale changes slowly over the picture (a deviation of 8 px, and of 16) and is at most 2.
    Detail is what differs from the four neighbours, which resampling wears off first; and the same in the picture at
    half its size, where joining evens strokes out. Of that a third (of the logarithm) is given back: all would flicker.
    """
    height, width = picture.shape[:2]
    half = -(-width // 2), -(-height // 2)
    small = [np.asarray(cv2.resize(each, half, interpolation=cv2.INTER_AREA), np.float32) for each in (picture, model)]
    gained = _gained(picture, model, 1)
    coarse = _gained(small[0], small[1], 1 / 3)
    gained += np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    gained += picture
    return gained


def _gained(picture: Frame, model: Frame, share: float) -> Frame:
    """What has to be added to the detail of `picture` for a share of the contrast that it lacks."""
    height, width = picture.shape[:2]
    fine, wanted = (np.asarray(cv2.filter2D(each, -1, _DETAIL), np.float32) for each in (picture, model))
    have, want = (_drawn_small(flow.mean_of_channels(band * band), 8.0) for band in (fine, wanted))
    gain = (((want + 1e-6) / (have + 1e-6)) ** (share / 2)).clip(1, 2) - 1
    fine *= _each(np.asarray(cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR), np.float32))
    return fine


def broad(values: Frame, radius: float) -> Frame:
    """As `blurred`, for radii of many pixels: drawn small, and enlarged again."""
    height, width = values.shape[:2]
    large = cv2.resize(_drawn_small(values, radius), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.float32)


def _drawn_small(values: Frame, radius: float) -> Frame:
    """Blurred by so many pixels, as small as that needs."""
    height, width = values.shape[:2]
    scale = max(1, int(radius / _FINE))
    size = -(-width // scale), -(-height // scale)
    small = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return blurred(small, radius / scale)


def _each(trust: Map) -> Frame:
    """A map for each of three channels: numpy is slow to repeat it along so short an axis."""
    return np.asarray(cv2.merge((trust, trust, trust)), dtype=np.float32)


def blurred(values: Frame, radius: float) -> Frame:
    """A Gaussian of deviation `radius` pixels over `(H, W)` or `(H, W, C)`."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), radius), dtype=np.float32)
