"""Paints for comparisons and benchmarks: our methods through the engine, peers by their own code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from impasto.contract import OnProgress, Progress, ignore
from impasto.report.cells import Painted

if TYPE_CHECKING:
    from impasto.engine.engine import Engine
    from impasto.report.cells import Floats
    from impasto.report.contenders import Contender
    from impasto.report.peers import PaintPeer

_WARM_SIDE = 64


class Painter:
    """See `impasto.report.cells.Paint`.

    Styles are encoded afresh for every picture, as a user's first picture needs it; weights stay loaded.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._peers: dict[str, PaintPeer] = {}
        self._warm: set[str] = set()

    def prepare(self, contender: Contender, content: Floats, style: Floats) -> None:
        """Load weights, and paint a tiny picture once: the first is always slower."""
        if contender.name in self._warm:
            return
        from impasto import images

        width, height = images.fit(content.shape[1], content.shape[0], min(_WARM_SIDE, max(content.shape)))
        tiny = images.resize(content, max(height, 32), max(width, 32))
        if contender.is_peer:
            self._peer(contender.name)(tiny, style)
        else:
            self._stylize(contender, tiny, style, ignore)
        self._warm.add(contender.name)

    def __call__(self, contender: Contender, content: Floats, style: Floats, on_progress: OnProgress) -> Painted:
        """Paint one picture."""
        if not contender.is_peer:
            return self._stylize(contender, content, style, on_progress)
        on_progress(Progress("painting", 0, 1))
        peer = self._peer(contender.name)
        started = time.perf_counter()
        pixels = peer(content, style)
        seconds = time.perf_counter() - started
        on_progress(Progress("painting", 1, 1))
        return Painted(pixels, seconds, contender.identity())

    def _peer(self, name: str) -> PaintPeer:
        if name not in self._peers:
            from impasto.report.peers import PEERS

            self._peers[name] = PEERS[name].load(self._engine.store)
        return self._peers[name]

    def _stylize(self, contender: Contender, content: Floats, style: Floats, on_progress: OnProgress) -> Painted:
        from impasto.engine.request import Request

        self._engine.models.clear_style_codes()
        request = Request(contender.method, contender.quality, knobs=contender.knobs)
        result = self._engine.stylize(content, style, request, on_progress=on_progress)
        names = ("method", "stages", "knobs", "steps", "device", "precision")
        return Painted(result.picture.pixels, result.seconds, {name: result.record[name] for name in names})


def machine(wanted_device: str, precision: str) -> dict[str, Any]:
    """The machine as plain values: part of the key of every cell, since times belong to it."""
    import torch

    from impasto import device

    hardware = device.hardware()
    return {
        "cpu": hardware["cpu"],
        "threads": hardware["threads"],
        "torch": torch.__version__,
        "device": device.place(wanted_device).device,
        "precision": precision,
    }
