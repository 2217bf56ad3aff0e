"""Paints frames: a job whose styles and weights are loaded once, for pictures that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.contract import Anchor, Job, OnProgress, StyleCode, ignore
from impasto.engine.controls import Controls
from impasto.engine.masks import Layout
from impasto.engine.plan import predicted_seconds
from impasto.engine.request import OnNote, Request, Sources, by_style, silence
from impasto.engine.run import LoadedStage, Run, gradients_on
from impasto.errors import InputError
from impasto.images import Picture
from impasto.methods.feedforward import FeedForward
from impasto.methods.unpaired import Unpaired
from impasto.video.stabilizer import WarpedPainting

if TYPE_CHECKING:
    from impasto.engine.engine import Engine

_LATER_STEPS = 0.5  # of the steps suffice a descent that starts from the painting of the frame before
_PASS_STEPS = 0.25  # of the steps, in each further pass over the film
_LEAST_STEPS = 4
_QUICK = 400e3  # operations a pixel: those of a network that `impasto train` makes

Pixels = NDArray[np.float32]


@dataclass
class FramePainter:
    """Paints frames of one size in the styles of one job, whose weights and styles are loaded once.

    Attributes:
        run: the job, with a frame as its content; masks and palettes are taken from that frame.
        on_progress: called while weights are fetched.
    """

    run: Run
    on_progress: OnProgress = ignore
    _loaded: tuple[LoadedStage, ...] = field(init=False)
    _single: tuple[tuple[StyleCode, ...], ...] = field(init=False)  # by stage, of each style, to be mixed by frame

    @gradients_on()
    def __post_init__(self) -> None:
        run = self.run
        if run.request.controls.color_only:
            raise InputError("--color-only paints nothing", "leave it out for a video")
        pairs = list(zip(run.stages, run.placements, strict=True))
        self._loaded = tuple(run.load(stage, placement, self.on_progress) for stage, placement in pairs)
        styles = by_style(run.sources)
        alone = [_of_weight_one(own) for own in styles] if len(styles) > 1 else []
        self._single = tuple(
            tuple(run.code(stage, placement, own, None) for own in alone) for stage, placement in pairs
        )

    @classmethod
    def of(
        cls,
        engine: Engine,
        styles: Any,
        request: Request | None,
        sample: Any,
        *,
        on_progress: OnProgress = ignore,
        on_note: OnNote = silence,
    ) -> FramePainter:
        """A painter of frames in the same styles.

        Args:
            engine: whose weights and styles are used.
            styles: as for `Engine.stylize`.
            request: its size is that of the sample.
            sample: a frame `(H, W, 3)` in [0, 1]; masks that are words, and palettes, are taken from it.

        Raises:
            InputError, ResourceError, AssetError: as `Engine.stylize`.
        """
        asked = replace(request or Request(), size=None)
        run = engine.prepare(sample, styles, asked, on_progress=on_progress, on_note=on_note, announce_time=False)
        return cls(run, on_progress)

    @property
    def takes_anchors(self) -> bool:
        """Whether the method itself keeps near what earlier frames showed, so that frames depend on each other."""
        return "anchors" in self.run.stages[-1].method.honours

    @property
    def is_quick(self) -> bool:
        """Whether a frame takes about as long to paint as its motion takes to find."""
        methods = [stage.method for stage in self.run.stages]
        return all(method.kind == "map" for method in methods) and sum(each.operations for each in methods) <= _QUICK

    def predicted_seconds(self, passes: int = 1) -> float:
        """Time that a frame will take; see `plan.predicted_seconds`. Methods without anchors pass but once."""
        height, width = self.run.content.height, self.run.content.width
        each = [predicted_seconds(loaded.stage, loaded.placement, height, width) for loaded in self._loaded]
        return sum(each) + (_PASS_STEPS * (passes - 1) * each[-1] if self.takes_anchors else 0.0)

    def record(self) -> dict[str, Any]:
        """The record of how the frames are made, as plain values."""
        return dict(self.run.result(self.run.content, (), 0.0).record)

    @gradients_on()
    def paint(
        self,
        pixels: Pixels,
        *,
        strength: float | None = None,
        shares: Sequence[float] | None = None,
        warped: tuple[WarpedPainting, ...] = (),
        again: Pixels | None = None,
        layout: Layout | None = None,
        on_progress: OnProgress = ignore,
    ) -> Pixels:
        """Paint one frame.

        Args:
            pixels: `(H, W, 3)`, sRGB in [0, 1], of the size of the sample.
            strength: instead of the job's.
            shares: of each style, instead of their weights; they sum to 1.
            warped: earlier paintings that the method should stay near, if it can.
            again: what it goes on from in a further pass, instead of its draft.
            layout: its regions and what to preserve, instead of the job's; as many regions, in the same order.
            on_progress: called after each step; may cancel.

        Returns:
            `(H, W, 3)`.
        """
        layout = self.run.layout if layout is None else replace(layout, strength=self.run.layout.strength)
        run = replace(self.run, content=Picture(pixels), layout=layout)
        chosen = run.stages[-1].knobs.strength if strength is None else strength
        if chosen == 0:
            return pixels
        painted = None if again is None else images.to_tensor(again)
        passed = again is not None
        stages = list(zip(self._loaded, self._single, strict=True))
        for loaded, single in stages[-1:] if passed else stages:
            code = loaded.codes[0] if shares is None or not single else _mixed(single, shares)
            painted = self._stage(loaded, code, run, painted, chosen, warped, on_progress, passed=passed)
        assert painted is not None
        return run.finished(painted).pixels

    @property
    def takes_codes(self) -> bool:
        """Whether `paint_codes` is a way of its own, without floats in between."""
        one = len(self._loaded) == 1 and isinstance(self._loaded[0].stylizer, FeedForward | Unpaired)
        return one and self.run.request.controls == Controls() and self._loaded[0].stage.knobs.strength == 1

    def paint_codes(
        self, codes: NDArray[np.uint8], *, strength: float | None = None, shares: Sequence[float] | None = None
    ) -> NDArray[np.uint8]:
        """As `paint`, from 8 bits to 8 bits; plain frames by a trained network take a quicker way."""
        stylizer = self._loaded[0].stylizer
        if not (self.takes_codes and isinstance(stylizer, FeedForward | Unpaired)):
            painted = self.paint(_as_float(codes), strength=strength, shares=shares)
            return np.asarray(np.rint(255 * painted.clip(0, 1)), np.uint8)
        single = self._single[0]
        code = self._loaded[0].codes[0] if shares is None or not single else _mixed(single, shares)
        painted_codes = stylizer.paint_frame(codes, code)
        if strength in (None, 1):
            return painted_codes
        return np.asarray(cv2.addWeighted(painted_codes, strength, codes, 1 - strength, 0.0), np.uint8)

    def _stage(
        self,
        loaded: LoadedStage,
        code: StyleCode,
        run: Run,
        draft: Tensor | None,
        strength: float,
        warped: tuple[WarpedPainting, ...],
        on_progress: OnProgress,
        *,
        passed: bool,
    ) -> Tensor:
        device, honours = loaded.placement.device, loaded.stage.method.honours
        content = images.to_tensor(run.content.pixels).to(device)
        knobs = loaded.stage.knobs.with_values(strength=strength)
        anchors = tuple(_anchor(each, device) for each in warped) if "anchors" in honours else ()
        init = draft.to(device) if draft is not None and "init" in honours else None
        if anchors and "init" in honours:
            start = content if init is None else init
            init = start if passed else torch.lerp(start, anchors[0].image, anchors[0].reliability)
        if (anchors or passed) and "init" in honours:
            share = _PASS_STEPS if passed else _LATER_STEPS
            knobs = knobs.with_values(steps=max(min(_LEAST_STEPS, knobs.steps), round(share * knobs.steps)))
        guide = run.guide(loaded, init=init, anchors=anchors)
        return loaded.stylize(content, [Job(code, knobs, guide, memory=self.run.memory_left())], on_progress)


def _as_float(codes: NDArray[np.uint8]) -> Pixels:
    return codes.astype(np.float32) / np.float32(255)


def _of_weight_one(sources: Sources) -> Sources:
    """The images of one style, whatever it weighs among others."""
    total = sum(source.weight for source in sources)
    return tuple(replace(source, weight=source.weight / total) for source in sources)


def _anchor(warped: WarpedPainting, device: str) -> Anchor:
    return Anchor(
        images.to_tensor(warped.painting).to(device), torch.from_numpy(warped.reliability)[None, None].to(device)
    )


def _mixed(codes: Sequence[StyleCode], shares: Sequence[float]) -> StyleCode:
    """Statistics of styles averaged by share: what `encode_style` does with several images."""
    used = [(code, share) for code, share in zip(codes, shares, strict=True) if share > 0]
    if len(used) == 1:
        return used[0][0]
    names = [name for name in used[0][0].tensors if name != "image"]
    return StyleCode({name: sum(share * code.tensors[name] for code, share in used) for name in names})  # type: ignore[misc]
