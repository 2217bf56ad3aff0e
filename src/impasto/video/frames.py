"""Paints frames: a job whose styles and weights are loaded once, for pictures that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.contract import Anchor, Guide, Job, OnProgress, Placement, Region, StyleCode, Stylizer, ignore
from impasto.engine.masks import Layout
from impasto.engine.run import Run
from impasto.errors import InputError
from impasto.images import Picture
from impasto.memory import keep_freed
from impasto.methods import recipes
from impasto.video.steady import Brought

_LATER_STEPS = 0.5  # of the steps suffice a descent that starts from the painting of the frame before
_AGAIN_STEPS = 0.25  # of the steps, in each further pass over the film
_LEAST_STEPS = 4
_QUICK = 400e3  # operations a pixel: those of a network that `impasto train` makes

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class _Ready:
    """One stage with all that it needs."""

    stage: recipes.Stage
    placement: Placement
    stylizer: Stylizer
    own: tuple[StyleCode, ...]  # of each style of the whole picture, to be mixed by frame
    codes: tuple[StyleCode, ...]  # of the regions, or of the whole picture


@dataclass
class FramePainter:
    """Paints frames of one size in the styles of one job.

    Attributes:
        run: the job, with a frame as its content; masks and palettes are taken from that frame.
        on_progress: hears of weights being fetched.
    """

    run: Run
    on_progress: OnProgress = ignore
    _ready: tuple[_Ready, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.run.request.controls.color_only:
            raise InputError("--color-only paints nothing", "leave it out for a video")
        run = self.run
        network = run.network()
        ready = []
        for stage, placement in zip(run.stages, run.placements, strict=True):
            own = network if stage.method.trained else None
            stylizer = run.engine.stylizer(stage.method, placement, stage.knobs, self.on_progress, network=own)

            def code(
                sources: Any, mask: Tensor | None, stage: Any = stage, placement: Any = placement, own: Any = own
            ) -> StyleCode:
                style = run.style(stage, placement, sources, mask)
                return run.engine.code(stage.method, placement, style, stage.knobs, own)

            alone = run.sources if len(run.sources) > 1 else ()
            single = tuple(code((replace(source, weight=1.0),), None) for source in alone)
            codes = tuple(code(sources, mask) for mask, sources in run.parts())
            ready.append(_Ready(stage, placement, stylizer, single, codes))
        self._ready = tuple(ready)

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
        """Time that a frame will take; see `engine.predicted_seconds`. Methods without anchors pass but once."""
        from impasto.engine.engine import predicted_seconds

        height, width = self.run.content.height, self.run.content.width
        each = [predicted_seconds(ready.stage, ready.placement, height, width) for ready in self._ready]
        return sum(each) + (_AGAIN_STEPS * (passes - 1) * each[-1] if self.takes_anchors else 0.0)

    def record(self) -> dict[str, Any]:
        """What makes the frames again, as plain values."""
        return dict(self.run.result(self.run.content, (), 0.0).record)

    def paint(
        self,
        pixels: Pixels,
        *,
        strength: float | None = None,
        shares: Sequence[float] | None = None,
        brought: tuple[Brought, ...] = (),
        again: Pixels | None = None,
        layout: Layout | None = None,
        on_progress: OnProgress = ignore,
    ) -> Pixels:
        """Paint one frame.

        Args:
            pixels: `(H, W, 3)`, sRGB in [0, 1], of the size of the sample.
            strength: instead of the job's.
            shares: of each style, instead of their weights; they sum to 1.
            brought: earlier paintings that the method should stay near, if it can.
            again: what it goes on from in a further pass, instead of its draft.
            layout: its regions and what to preserve, instead of the job's; as many regions, in the same order.
            on_progress: hears of steps; may cancel.

        Returns:
            `(H, W, 3)`.
        """
        layout = self.run.layout if layout is None else replace(layout, strength=self.run.layout.strength)
        run = replace(self.run, content=Picture(pixels), layout=layout)
        chosen = getattr(run.stages[-1].knobs, "strength", 1.0) if strength is None else strength
        if chosen == 0:
            return pixels
        painted = None if again is None else images.to_tensor(again)
        passed = again is not None
        for ready in self._ready[-1:] if passed else self._ready:
            painted = self._stage(ready, run, painted, chosen, shares, brought, on_progress, passed=passed)
        assert painted is not None
        return run.finished(painted).pixels

    def _stage(
        self,
        ready: _Ready,
        run: Run,
        draft: Tensor | None,
        strength: float,
        shares: Sequence[float] | None,
        brought: tuple[Brought, ...],
        on_progress: OnProgress,
        *,
        passed: bool,
    ) -> Tensor:
        device, honours = ready.placement.device, ready.stage.method.honours
        content = images.to_tensor(run.content.pixels).to(device)
        knobs = ready.stage.knobs
        if hasattr(knobs, "strength"):
            knobs = replace(knobs, strength=strength)
        anchors = tuple(_anchor(each, device) for each in brought) if "anchors" in honours else ()
        init = draft.to(device) if draft is not None and "init" in honours else None
        if anchors and "init" in honours:
            start = content if init is None else init
            init = start if passed else torch.lerp(start, anchors[0].image, anchors[0].reliability)
        if (anchors or passed) and "init" in honours and hasattr(knobs, "steps"):
            share = _AGAIN_STEPS if passed else _LATER_STEPS
            knobs = replace(knobs, steps=max(min(_LEAST_STEPS, knobs.steps), round(share * knobs.steps)))
        now = [mask for mask, _ in run.parts()]
        pairs = zip(now, ready.codes, strict=True)
        regions = tuple(Region(mask.to(device), code) for mask, code in pairs if mask is not None)
        strength_map = run.layout.strength
        guide = Guide(init, anchors, regions, None if strength_map is None else strength_map.to(device))
        code = _mixed(ready.own, shares) if shares is not None and ready.own else ready.codes[0]
        memory = self.run.memory_left()
        keep_freed(memory is None)
        return ready.stylizer.stylize(content, [Job(code, knobs, guide, memory=memory)], on_progress)


def _anchor(brought: Brought, device: str) -> Anchor:
    return Anchor(images.to_tensor(brought.painting).to(device), torch.from_numpy(brought.trust)[None, None].to(device))


def _mixed(codes: Sequence[StyleCode], shares: Sequence[float]) -> StyleCode:
    """Statistics of styles averaged by share: what `encode_style` does with several images."""
    used = [(code, share) for code, share in zip(codes, shares, strict=True) if share > 0]
    if len(used) == 1:
        return used[0][0]
    names = [name for name in used[0][0].tensors if name != "image"]
    return StyleCode({name: sum(share * code.tensors[name] for code, share in used) for name in names})  # type: ignore[misc]
