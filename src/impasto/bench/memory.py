"""Memory and time by size: pictures in one piece and in tiles, side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from impasto import device, images
from impasto.assets import Store, load_weights
from impasto.bench.results import machine_row
from impasto.bench.sets import load_set
from impasto.contract import Job, Placement, Style, StyleImage, ignore
from impasto.memory import PeakMemory
from impasto.methods import registry
from impasto.methods.settings import OptimizeKnobs
from impasto.models.checkpoint import WeightsRef

METHODS = ("adain", "microast", "attention", "wct", "arbitrary", "optimize")
"""Those that paint in tiles any painting."""

STEPS = 2  # of the descent, at full size alone, remembering one: the second holds all that is ever held
_STYLE_SIDE = 512


def by_size(method: str, sizes: tuple[int, ...], *, limit: int, tiles_only_from: int) -> Iterator[dict[str, Any]]:
    """One row for each size and way.

    Args:
        method: one of METHODS.
        sizes: longest sides in pixels.
        limit: bytes for the method in tiles.
        tiles_only_from: sizes from which one piece is left out: it would not fit, or take minutes.
    """
    placement = device.place(tested=registry.find(method).precisions)
    painter = _Painter(method, placement)
    for size in sizes:
        for memory in (None, limit) if size < tiles_only_from else (limit,):
            yield {**machine_row(placement), **painter.row(size, memory)}


class _Painter:
    """One method with its weights, and a pair of pictures."""

    def __init__(self, method: str, placement: Placement) -> None:
        store, row = Store(), registry.find(method)
        store.fetch(row.assets)
        weights: dict[str, Any] = {asset: load_weights(store.path(asset)) for asset in row.assets}
        own = [name for name in row.needs(row.load_knobs()()) if WeightsRef.parse(name).file]
        weights |= {name: row.costs().read_weights(name) for name in own}
        self._method, self._placement = row, placement
        self._stylizer = row.load_class()(weights, placement)
        (content, style), *_ = load_set("one", store, size=_STYLE_SIDE, on_progress=ignore)
        self._content, self._style = content.pixels, images.to_tensor(style.pixels).to(placement.device)

    @property
    def _descends(self) -> bool:
        return self._method.kind == "objective"

    def row(self, size: int, memory: int | None) -> dict[str, Any]:
        """Paint at one size. In one piece pictures are floats, in tiles codes, as the engine has them."""
        height, width = self._content.shape[:2]
        width, height = images.fit(width, height, size)
        pixels = images.resize(self._content, height, width)
        content = images.to_tensor(pixels if memory is None else images.quantise(pixels, 8)).to(self._placement.device)
        del pixels
        with PeakMemory(self._placement.device) as peak:
            started = time.perf_counter()
            self._paint(content, memory)
            device.synchronize(self._placement.device)
            seconds = time.perf_counter() - started
        steps = STEPS if self._descends else 1
        megapixels = height * width / 1e6
        return {
            "benchmark": "memory",
            "method": self._method.name,
            "width": width,
            "height": height,
            "way": "one piece" if memory is None else "within a limit",
            "limit_mb": None if memory is None else memory / 1e6,
            "peak_mb": None if peak.bytes is None else peak.bytes / 1e6,
            "peak_bytes_a_pixel": None if peak.bytes is None else peak.bytes / (height * width),
            "seconds": seconds,
            "steps": steps,
            "seconds_a_step_and_megapixel": seconds / steps / megapixels,
        }

    def _paint(self, content: Tensor, memory: int | None) -> Tensor:
        sides = content.shape[2], content.shape[3]
        style = Style((StyleImage(self._style),), sides)
        own: Any = self._method.load_knobs()()
        if self._descends:
            own = OptimizeKnobs(steps=STEPS, history=1, coarsest=65536, init="content", content_layers=("relu4_1",))
        code = self._stylizer.encode_style(style, own)
        with torch.inference_mode(not self._descends):
            painted: Tensor = self._stylizer.stylize(content, [Job(code, own, memory=memory)])
        return painted
