"""Finds and reads styles: those of trained networks, files, and paintings of the library. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from impasto import images
from impasto.assets.library import Library, means_file
from impasto.contract import OnProgress, ignore
from impasto.engine.request import StyleSource
from impasto.errors import InputError, as_number, quoted
from impasto.models import catalog

StyleLike: TypeAlias = Any
"""A path, a style's name or words, a PIL image, an array or a tensor; or a pair of one of these and a weight."""

_ENLARGED = 2.0  # a style image is enlarged at most so much: beyond it there is nothing but blur to learn from
_BLANK = np.full((16, 16, 3), 0.5, np.float32)  # stands for a trained style without a thumbnail


def find_styles(
    library: Library,
    styles: StyleLike | Sequence[StyleLike],
    *,
    max_pixels: int = images.MAX_PIXELS,
    on_progress: OnProgress = ignore,
    compact: bool = False,
    longest: int | None = None,
    room: float | None = None,
) -> tuple[StyleSource, ...]:
    """Read style images: styles of trained networks and files first, then the library by number or words.

    compact, longest, room: as for `images.read`; all styles together take no more than `room`.

    Raises:
        InputError: no style, a weight that is not above 0, nothing found, or several candidates.
        ResourceError: they do not fit into `room`.
    """
    pairs = weighted(styles)
    if not pairs:
        raise InputError("no style was given", "give one with --style; impasto styles lists the library")
    read = partial(images.read, max_pixels=max_pixels, compact=compact, longest=longest)
    found: list[StyleSource] = []
    for style, weight in pairs:
        left = None if room is None else room - held_bytes(found)
        found.append(_find(library, style, _checked(weight), partial(read, room=left), on_progress))
    return tuple(found)


def resized(picture: images.Picture, canvas: tuple[int, int], *, scale: float, method: str, least: int) -> Any:
    """A style image's pixels `(h, w, 3)` at the size at which its strokes are wanted.

    Args:
        picture: the style image.
        canvas: height and width of the picture to be painted.
        scale: of the style relative to it.
        method, least: the name of the method, and the least side in pixels that it takes.

    Raises:
        InputError: the image is too small for the method.
    """
    own = picture.width, picture.height
    if min(own) < least:
        raise InputError(
            f"style image is {own[0]}x{own[1]} px; method {method} needs at least {least}x{least}", "use a larger image"
        )
    longest = min(max(canvas) * scale, max(own) * _ENLARGED)
    longest = max(longest, least * max(own) / min(own))  # the short side must still fill the deepest layer
    width, height = images.fit(*own, math.ceil(longest))
    return images.resize(picture.pixels, max(height, least), max(width, least))


def held_bytes(sources: Iterable[StyleSource]) -> int:
    """Memory that style images take."""
    return sum(source.picture.pixels.nbytes for source in sources)


def weighted(styles: StyleLike | Sequence[StyleLike]) -> list[tuple[Any, Any]]:
    """One style or several, each with its weight, which is not checked."""
    listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
    return [item if isinstance(item, tuple) else (item, 1.0) for item in listed]


def _is_several(styles: Any) -> bool:
    """A tuple is several styles unless it is one style and its weight."""
    return isinstance(styles, tuple) and not (len(styles) == 2 and isinstance(styles[1], Real))


def _find(
    library: Library, style: Any, weight: float, read: Callable[[Any], images.Picture], on_progress: OnProgress
) -> StyleSource:
    if catalog.is_trained(style):
        found = catalog.find(style)
        return StyleSource(found.name, found.id, _specimen(found.thumbnail), weight, found)
    if isinstance(style, str) and not means_file(style):
        painting = library.find(style, on_progress=on_progress)
        picture = library.read(painting, read=read, on_progress=on_progress)
        return StyleSource(painting.title, painting.id, picture, weight)
    picture = read(style)
    named = style.name if isinstance(style, images.BufferedPipe | images.Picture) else style
    name = Path(named).name if isinstance(named, str | Path) else "picture"
    return StyleSource(Path(name).stem, name, picture, weight)


@lru_cache(maxsize=64)
def _specimen(thumbnail: bytes) -> images.Picture:
    """A small picture in a trained style. Kept: decoding it takes as long as a fifth of painting a small one."""
    return images.read(thumbnail or _BLANK)


def _checked(weight: Any) -> float:
    number = as_number(weight)
    if number is None or number <= 0:
        raise InputError(f"the weight of a style is {quoted(weight)}", "it takes a number above 0")
    return number
