"""Fixed picture sets by name, from the assets: the same pairs for every benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.assets import Store
from impasto.assets.library import Library
from impasto.contract import OnProgress, ignore
from impasto.errors import InputError
from impasto.report.cells import Subject, load_subjects
from impasto.settings import close_names

Pairs: TypeAlias = tuple[tuple[Subject, Subject], ...]

SETS: Mapping[str, Sequence[tuple[str, str]]] = {
    "one": (("chelsea.png", "436535"),),
    "three": (("chelsea.png", "436535"), ("coffee.png", "436528"), ("rocket.jpg", "436535")),
    "four": (
        ("chelsea.png", "436535"),
        ("coffee.png", "438821"),
        ("rocket.jpg", "437854"),
        ("astronaut.png", "436528"),
    ),
    "twelve": tuple(
        (photo, painting)
        for photo, paintings in (
            ("chelsea.png", ("436535", "437654", "436819")),  # Van Gogh's wheat field, Seurat, Klimt
            ("coffee.png", ("436528", "438821", "44858")),  # Van Gogh's irises, Gauguin, Kano Sansetsu
            ("rocket.jpg", ("436535", "437854", "438822")),  # Turner, Rousseau; a flat sky and thin straight lines
            ("astronaut.png", ("436528", "438821", "437654")),
        )
        for painting in paintings
    ),
    "standard": tuple(
        (photo, painting)
        for photo in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
        for painting in ("436535", "436528")
    ),
}
"""Photograph of the asset "photos" and number of the painting in the library, for each pair."""


def load_set(name: str, store: Store, *, size: int, on_progress: OnProgress = ignore) -> Pairs:
    """The pairs of a set.

    Args:
        name: one of SETS.
        store: where the pictures are; they are fetched when missing.
        size: longest side of the photographs in pixels; paintings keep their own.
        on_progress: called while something is fetched.

    Raises:
        InputError: there is no such set.
        AssetError: the pictures cannot be had.
    """
    if name not in SETS:
        raise InputError(f"there is no picture set {name!r}", close_names(name, SETS))
    photos, library = store.path("photos", on_progress), Library(store)
    wanted = SETS[name]
    paintings = {number: library.find(number, on_progress=on_progress) for _, number in wanted}
    files = [(Path(photo).stem, photos / photo) for photo in dict.fromkeys(photo for photo, _ in wanted)]
    contents = {path.name: one for (_, path), one in zip(files, load_subjects(files, size=size), strict=True)}
    titled = [(one.title, library.read(one, on_progress=on_progress).pixels) for one in paintings.values()]
    styles = dict(zip(paintings, load_subjects(titled), strict=True))
    return tuple((contents[photo], styles[number]) for photo, number in wanted)


def sized(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Pixels `(H, W, 3)` at longest side `size`, both sides multiples of 16, so that no method has to pad."""
    width, height = images.fit(pixels.shape[1], pixels.shape[0], size)
    return images.resize(pixels, round(height / 16) * 16, round(width / 16) * 16)
