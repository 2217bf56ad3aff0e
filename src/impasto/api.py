"""The Python API: two functions over the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from impasto import images
from impasto.contract import OnProgress, ignore
from impasto.engine.cache import Cache
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request, Result
from impasto.engine.styles import StyleLike
from impasto.errors import InputError, as_whole, in_python_words, quoted
from impasto.memory import parse_memory

if TYPE_CHECKING:
    import torch

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

    def __repr__(self) -> str:
        return f"<Painter {self.method}>"

    def __call__(  # noqa: PLR0913 - a front door
        self,
        content: Any,
        style: StyleLike | Sequence[StyleLike] = (),
        *,
        quality: str | None = None,
        size: int | None = None,
        init: Any = None,
        max_memory: int | str | None = None,
        max_pixels: int = images.MAX_PIXELS,
        controls: Controls | None = None,
        on_progress: OnProgress | None = None,
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
            max_memory: bytes that the job may take, or words such as "2GB".
            max_pixels: refuse pictures with more, given or asked for.
            controls: colour, regions and what to keep. No style need be given where regions say what changes.
            on_progress: called after each step; raise `Cancelled` in it to stop.
            knobs: the method's settings, as `impasto methods NAME` lists them: strength, style_weight, steps, seed ...

        Raises:
            StyleError: see `impasto.errors`.
        """
        with in_python_words():
            if on_progress is not None and not callable(on_progress):
                raise InputError(f"on_progress is {quoted(on_progress)}", "it takes a function of one Progress")
            if controls is not None and not isinstance(controls, Controls):
                raise InputError(f"controls is {quoted(controls)}", "it takes impasto.Controls(...)")
            if as_whole(max_pixels, low=1) is None:
                raise InputError(f"max_pixels is {quoted(max_pixels)}", "it takes a whole number, 1 or more")
            request = Request(
                method=self.method,
                quality=quality,
                size=size,
                init=init,
                knobs=knobs,
                max_memory=parse_memory(max_memory),
                max_pixels=max_pixels,
                controls=controls or Controls(),
            )
            return self._engine.stylize(content, style, request, on_progress=on_progress or ignore)


def load(
    method: str | None = "auto",
    *,
    device: str | torch.device | None = "auto",
    precision: str | torch.dtype | None = "auto",
    runtime: str = "auto",
) -> Painter:
    """Make a painter whose weights stay loaded from one picture to the next.

    Args:
        method: a registered method; "auto" or None leaves it to the quality.
        device: "auto" or None, or a torch device, such as "cuda" or "cpu".
        precision: "auto" or None, or "float32", "bfloat16" or "float16".
        runtime: see `Engine`.

    Raises:
        InputError: there is no such method, device, precision or runtime.
    """
    from impasto.methods import registry

    with in_python_words():
        if method is None:
            method = "auto"
        if not isinstance(method, str):
            raise InputError(f"method is {quoted(method)}", "it takes a name, such as adain, or None")
        if method != "auto":
            registry.find(method)
        return Painter(method, _engine(_word(device), _word(precision).removeprefix("torch."), runtime))


def stylize(
    content: Any,
    style: StyleLike | Sequence[StyleLike] = (),
    *,
    method: str | None = "auto",
    device: str | torch.device | None = "auto",
    precision: str | torch.dtype | None = "auto",
    runtime: str = "auto",
    **options: Any,
) -> Result:
    """Paint one picture.

    Args:
        content, style: as for `Painter.__call__`.
        method, device, precision, runtime: as for `load`.
        options: `quality`, `size`, `init`, `max_memory`, `max_pixels`, `controls`, `on_progress`, and the method's
            settings, such as `strength`, `style_scale`, `style_weight`, `content_weight`, `steps` and `seed`; see
            `Painter.__call__`, and `impasto methods NAME` for the settings of a method.

    Raises:
        StyleError: see `impasto.errors`.
    """
    return load(method, device=device, precision=precision, runtime=runtime)(content, style, **options)


def _word(value: Any) -> str:
    return "auto" if value is None else str(value)


_ENGINES: Cache[Engine] = Cache(4)  # each counts as 1: the last four


def _engine(device: str, precision: str, runtime: str) -> Engine:
    """One engine a placement, for all threads, so that repeated calls load no weights again."""
    key = (device, precision, runtime)
    return _ENGINES.get(key, lambda: (Engine(device=device, precision=precision, runtime=runtime), 1))
