"""Keeps the paintings of successive frames alike where the frames are: no boiling, no flicker, and no blur for it.

The painting of the frame before is brought along by optical flow and takes the place of the fresh one wherever the flow
can be trusted; so does, to a lesser part, the painting of ten frames before, which has been resampled once and not ten
times. Three things keep them from wearing out. Slow corrections pull towards the fresh painting, broad areas quicker than
detail, so that colours cannot drift. Detail that resampling has worn off is given back: the finest band is scaled to the
contrast that the fresh painting has there. And what was hidden or looks different from what was brought comes from the
fresh painting alone.

Paper: arXiv:1604.08610 (Ruder, Dosovitskiy and Brox 2016), for trust in the flow and for long-term anchors. Departs from it
in working on finished paintings, so that it serves every method; in keeping their contrast; and in trusting the edges of
moving things, where fresh paint would boil: what the flow gets wrong there, the colours of the input tell.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from impasto import flow
from impasto.flow import Frame, Grey, Map

CUT_SEEN = 0.25
"""Less than this share of a frame in sight before is a cut."""


@dataclass(frozen=True)
class Firmness:
    """How firmly frames hold together.

    Attributes:
        preset: of the flow.
        detail: share of the fresh painting that comes through in trusted areas, each frame, in detail.
        tone: the same in broad areas.
        radius: what is broad, in pixels (deviation of a Gaussian).
        tolerance: difference of the input's colours at which trust halves.
        distance: of the long-term anchor, in frames; 0 for none.
        anchor: its share against the frame before.
    """

    preset: str = "medium"
    detail: float = 0.02
    tone: float = 0.04
    radius: float = 6.0
    tolerance: float = 0.12
    distance: int = 10
    anchor: float = 0.3


FIRMNESSES = {"fast": Firmness(preset="fast"), "best": Firmness()}
"""What `--temporal` names."""


@dataclass(frozen=True)
class Brought:
    """A painting brought to another frame.

    Attributes:
        painting: `(H, W, 3)`.
        trust: `(H, W)` in [0, 1].
        seen: share of the frame that was in sight before.
    """

    painting: Frame
    trust: Map
    seen: float


@dataclass(frozen=True)
class _Kept:
    source: Frame
    grey: Grey
    painting: Frame


@dataclass
class Steadier:
    """Takes frames and their paintings in order and hands out steady ones. It remembers ten frames: one for each clip.

    Attributes:
        firmness: how firmly frames hold together.
        cuts: numbers of the frames that begin anew, counted from 0.
    """

    firmness: Firmness = field(default_factory=Firmness)
    cuts: list[int] = field(default_factory=list)
    count: int = 0
    _kept: deque[_Kept] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._find = flow.FlowFinder(self.firmness.preset)

    def bring(self, source: Frame) -> tuple[Brought, ...]:
        """What earlier paintings say of this frame `(H, W, 3)`: the last one's, then the anchor's; none after a cut."""
        grey = flow.grey(source)
        if not self._kept:
            return ()
        last = self._bring(source, grey, self._kept[-1])
        if last.seen < CUT_SEEN:
            self._kept.clear()
            self.cuts.append(self.count)
            return ()
        far = self.firmness.distance
        if not far or len(self._kept) < far:
            return (last,)
        return last, self._bring(source, grey, self._kept[-far])

    def _bring(self, source: Frame, grey: Grey, kept: _Kept) -> Brought:
        back, forth = self._find(grey, kept.grey), self._find(kept.grey, grey)
        visible = flow.visible(back, forth)
        before = flow.warp(kept.source, back)
        trust = reliability(source, before, visible, tolerance=self.firmness.tolerance)
        alike = np.abs(source - before).mean(2) < self.firmness.tolerance
        return Brought(flow.warp(kept.painting, back, interpolation="lanczos"), trust, float((visible & alike).mean()))

    def join(self, fresh: Frame, brought: tuple[Brought, ...]) -> Frame:
        """The steady painting out of the fresh one `(H, W, 3)` and what `bring` gave."""
        if not brought:
            return fresh
        own, last = self.firmness, brought[0]
        old = last.painting
        for anchor in brought[1:]:
            old = old + (own.anchor * anchor.trust)[..., None] * (anchor.painting - old)
        gap = fresh - old
        broad = blurred(gap, own.radius)
        old = old + own.tone * broad + own.detail * (gap - broad)
        joined = fresh + last.trust[..., None] * (old - fresh)
        return np.clip(with_contrast_of(joined, fresh), 0, 1)

    def keep(self, source: Frame, painting: Frame) -> None:
        """Remember the painting of a frame for those to come."""
        self._kept.append(_Kept(source, flow.grey(source), painting))
        while len(self._kept) > max(1, self.firmness.distance):
            self._kept.popleft()
        self.count += 1

    def __call__(self, source: Frame, fresh: Frame) -> Frame:
        """The steady painting of one frame. Both are `(H, W, 3)` in [0, 1]."""
        steady = self.join(fresh, self.bring(source))
        self.keep(source, steady)
        return steady

    def memory(self) -> dict[str, np.ndarray]:
        """What it remembers, to be stored; see `remember`."""
        kept = list(self._kept)
        return {
            "sources": np.array([each.source for each in kept], np.float32),
            "paintings": np.array([each.painting for each in kept], np.float32),
        }

    def remember(self, memory: dict[str, np.ndarray], *, count: int) -> None:
        """Go on where another left off: `memory` is what it remembered, `count` how many frames it had seen."""
        self._kept.clear()
        for source, painting in zip(memory["sources"], memory["paintings"], strict=True):
            self._kept.append(_Kept(source, flow.grey(source), painting))
        self.count = count


def reliability(later: Frame, brought: Frame, visible: flow.Mask, *, tolerance: float) -> Map:
    """How far what was brought along may be trusted, `(H, W)` in [0, 1].

    later, brought: the input's frame and the earlier one of the input brought to it; visible: where it was in sight.
    """
    soft = blurred(visible.astype(np.float32), 0.7)
    return np.asarray(soft * flow.agreement(later, brought, tolerance=tolerance), dtype=np.float32)


def with_contrast_of(picture: Frame, model: Frame) -> Frame:
    """Scale the finest detail of `picture` up to the contrast that `model` has around each place.

    Both `(H, W, 3)`. The scale changes slowly over the picture (a deviation of 8 px) and is at most 1.6.
    """
    fine, wanted = picture - blurred(picture, 1.0), model - blurred(model, 1.0)
    energy = [blurred((band**2).mean(2), 8.0) for band in (fine, wanted)]
    gain = np.sqrt((energy[1] + 1e-6) / (energy[0] + 1e-6)).clip(1, 1.6)
    return np.asarray(picture + (gain - 1)[..., None] * fine, dtype=np.float32)


def blurred(values: Frame, radius: float) -> Frame:
    """A Gaussian of deviation `radius` pixels over `(H, W)` or `(H, W, C)`."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), radius), dtype=np.float32)

