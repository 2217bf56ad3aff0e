"""Finds and reads styles: those of trained networks, files, and paintings of the library. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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

_BLANK = np.full((16, 16, 3), 0.5, np.float32)  # stands for a trained style without a thumbnail


def find_styles(
    library: Library,
    styles: StyleLike | Sequence[StyleLike],
    *,
    max_pixels: int = images.MAX_PIXELS,
    on_progress: OnProgress = ignore,
    compact: bool = False,
) -> tuple[StyleSource, ...]:
    """Read style images: styles of trained networks and files first, then the library by number or words.

    compact: as for `images.read`.

    Raises:
        InputError: no style, a weight that is not above 0, nothing found, or several candidates.
    """
    pairs = weighted(styles)
    if not pairs:
        raise InputError("no style was given", "give one with --style; impasto styles lists the library")
    find = partial(_find, library, max_pixels=max_pixels, on_progress=on_progress, compact=compact)
    return tuple(find(style, _checked(weight)) for style, weight in pairs)


def weighted(styles: StyleLike | Sequence[StyleLike]) -> list[tuple[Any, Any]]:
    """One style or several, each with its weight, which is not checked."""
    listed = list(styles) if isinstance(styles, list) or _is_several(styles) else [styles]
    return [item if isinstance(item, tuple) else (item, 1.0) for item in listed]


def _is_several(styles: Any) -> bool:
    """A tuple is several styles unless it is one style and its weight."""
    return isinstance(styles, tuple) and not (len(styles) == 2 and isinstance(styles[1], Real))


def _find(
    library: Library, style: Any, weight: float, *, max_pixels: int, on_progress: OnProgress, compact: bool
) -> StyleSource:
    if catalog.is_trained(style):
        found = catalog.find(style)
        return StyleSource(found.name, found.id, images.read(found.thumbnail or _BLANK), weight, found)
    if isinstance(style, str) and not means_file(style):
        painting = library.find(style, on_progress=on_progress)
        picture = library.read(painting, max_pixels=max_pixels, compact=compact, on_progress=on_progress)
        return StyleSource(painting.title, painting.id, picture, weight)
    picture = images.read(style, max_pixels=max_pixels, compact=compact)
    name = Path(style).name if isinstance(style, str | Path) else "picture"
    return StyleSource(Path(name).stem, name, picture, weight)


def _checked(weight: Any) -> float:
    number = as_number(weight)
    if number is None or number <= 0:
        raise InputError(f"the weight of a style is {quoted(weight)}", "it takes a number above 0")
    return number
