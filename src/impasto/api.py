"""The Python API: two functions over the engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from impasto.contract import OnProgress, ignore
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request, Result
from impasto.engine.styles import StyleLike

Knob = float | int | str | Sequence[str]


class Painter:
    """A method with its weights loaded.

    Args:
        method: a registered method, or "auto".
        engine: where to paint.
    """

    def __init__(self, method: str, engine: Engine) -> None:
        self.method = method
        self._engine = engine

    def __call__(
        self,
        content: Any,
        style: StyleLike | Sequence[StyleLike] = (),
        *,
        quality: str | None = None,
        size: int | None = None,
        init: Any = None,
        max_memory: int | None = None,
        controls: Controls | None = None,
        on_progress: OnProgress = ignore,
        **knobs: Knob,
    ) -> Result:
        """Paint a picture.

        Args:
            content: a path, a file object, a PIL image, an array `(H, W, 3)` or a tensor `(3, H, W)` in [0, 1].
            style: the same, or words or a number that find a library painting; a list for several; a pair for a
                style and its weight.
            quality: "draft", "good" or "best"; good by default.
            size: longest side of the result in pixels; the photograph's own by default.
            init: image to start from, for methods that start from one.
            max_memory: bytes that the job may take.
            controls: colour, regions and what to keep. No style need be given where regions say what changes.
            on_progress: hears of every step; raise `Cancelled` in it to stop.
            knobs: the method's settings, as `impasto methods NAME` lists them.

        Raises:
            StyleError: see `impasto.errors`.
        """
        request = Request(self.method, quality, size, init, knobs, max_memory, controls=controls or Controls())
        return self._engine.stylize(content, style, request, on_progress=on_progress)


def load(method: str = "auto", *, device: str = "auto", precision: str = "auto") -> Painter:
    """Make a painter whose weights stay loaded from one picture to the next.

    Raises:
        InputError: there is no such method.
    """
    from impasto.methods import registry

    if method != "auto":
        registry.find(method)
    return Painter(method, _engine(device, precision))


def stylize(
    content: Any,
    style: StyleLike | Sequence[StyleLike] = (),
    *,
    method: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> Result:
    """Paint one picture; see `Painter.__call__` for the other options."""
    return load(method, device=device, precision=precision)(content, style, **options)


@lru_cache(maxsize=4)
def _engine(device: str, precision: str) -> Engine:
    """One engine a placement, so that repeated calls load no weights again."""
    return Engine(device=device, precision=precision)
