"""Reads the pictures of a job: the photograph and the picture to start from. Loads no torch."""

from __future__ import annotations

from typing import Any

from impasto import images
from impasto.engine.request import OnNote, Request, Sources, check_shape
from impasto.images import Picture
from impasto.methods import recipes


def read_photograph(
    content: Any,
    request: Request,
    *,
    compact: bool = False,
    longest: int | None = None,
    room: float | None = None,
) -> Picture:
    """The photograph. What is dropped of its metadata is dropped here, so that nothing made of it can tell.

    Args:
        content: as for `Engine.stylize`.
        request: for what it allows.
        compact, longest, room: as for `images.read`.
    """
    picture = images.read(content, max_pixels=request.max_pixels, compact=compact, longest=longest, room=room)
    return images.without_location(picture) if request.drop_gps else picture


def read_init(
    request: Request, stage: recipes.Stage, sides: tuple[int, int], *, compact: bool = False, room: float | None = None
) -> Any:
    """Pixels of the picture to start from, when the user gave one, at the size of the content without stretching.

    Args:
        request: names it.
        stage: what starts from it.
        sides: height and width of the content.
        compact, room: as for `images.read`.

    Raises:
        InputError: it has another shape.
    """
    if getattr(stage.knobs, "init", None) != "file":
        return None
    height, width = sides
    given = images.read(
        request.init, max_pixels=request.max_pixels, compact=compact, longest=max(height, width), room=room
    )
    check_shape(given, width, height)
    return images.resize(given.pixels, height, width)


def _is_plain(picture: Picture) -> bool:
    """Whether all that it shows has one colour."""
    pixels = picture.pixels if picture.alpha is None else picture.pixels[picture.alpha > 0]
    rows = pixels.reshape(-1, pixels.shape[-1])
    some = rows[:: max(1, len(rows) // 1000)]  # which tell at once for nearly all
    return bool((some == rows[:1]).all() and (rows == rows[:1]).all())


def tell_notes(picture: Picture, sources: Sources, on_note: OnNote) -> None:
    """Tell what was noted as pictures were read."""
    for note in (*picture.notes, *(f"style {s.label}: {note}" for s in sources for note in s.picture.notes)):
        on_note(note)
    tell_plain(sources, on_note)


def tell_plain(sources: Sources, on_note: OnNote) -> None:
    """Tell which paintings are of one colour."""
    for source in sources:
        if source.trained is None and not source.words and _is_plain(source.picture):
            on_note(f"style {source.label} is of one colour: there are no strokes to take from it")
