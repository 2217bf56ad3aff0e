"""Finds the styles of a collection, and writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto import device, images
from impasto.assets import load_weights
from impasto.contract import OnProgress, Progress, ignore
from impasto.discover import clusters, drawing, embedding
from impasto.discover.clusters import Grouping
from impasto.engine.request import StyleSource
from impasto.engine.style_files import SUFFIX, StyleFile, palette_of
from impasto.engine.styles import style_of
from impasto.errors import InputError, counted, require
from impasto.files import slug, write_json, write_whole
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.report.render import render

if TYPE_CHECKING:
    from impasto.assets.library import Library

MUSEUM = "museum"
"""Stands for the library's paintings in place of a folder."""

LEAST, MOST = 8, 3000
_KEPT = 512  # longest side in pixels at which paintings are held
_IN_STYLE = 12  # most central members that a style is made of
_COLORS = {
    "black": (0.08, 0.08, 0.08), "white": (0.93, 0.92, 0.9), "grey": (0.5, 0.5, 0.5), "brown": (0.35, 0.23, 0.14),
    "red": (0.7, 0.15, 0.12), "orange": (0.85, 0.5, 0.2), "gold": (0.78, 0.62, 0.28), "yellow": (0.92, 0.82, 0.3),
    "green": (0.3, 0.45, 0.25), "teal": (0.2, 0.45, 0.45), "blue": (0.25, 0.38, 0.62), "violet": (0.5, 0.35, 0.6),
    "pink": (0.87, 0.65, 0.65), "cream": (0.87, 0.81, 0.68),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One picture of a collection.

    Attributes:
        label: its name for people.
        id: of the library, or its file's name.
        artist, period: where known; a period is a century.
        pixels: `(H, W, 3)`.
    """

    label: str
    id: str
    pixels: NDArray[Any]
    artist: str = ""
    period: str = ""


@dataclass(frozen=True)
class Discovery:
    """The styles of a collection.

    Attributes:
        works: the collection.
        points: `(N, D)`, where they lie.
        flat: `(N, 2)` in [0, 1], the same on a map.
        grouping: which belong together.
    """

    works: Sequence[Work]
    points: NDArray[np.float64]
    flat: NDArray[np.float64]
    grouping: Grouping

    def name_of(self, number: int) -> str:
        """A group's name: its main colour and the painting in its middle, such as `3-gold-saint-andrew`."""
        members = [self.works[index] for index in self.grouping.members(number)]
        main = palette_of([(work.pixels, 1.0) for work in members[:_IN_STYLE]])[0]
        return f"{number + 1}-{color_word(main)}-{slug(members[0].label)[:40].strip('-')}"

    def style(self, library: Library, number: int) -> StyleFile:
        """A group as a style: its most central members, nearer ones with more weight."""
        members = self.grouping.members(number)[:_IN_STYLE]
        spread = float(np.mean(self.grouping.distances[members])) or 1.0
        sources = [
            StyleSource(
                self.works[index].label,
                self.works[index].id,
                images.Picture(self.works[index].pixels),
                float(np.exp(-self.grouping.distances[index] / spread)),
            )
            for index in members
        ]
        return replace(style_of(library, self.name_of(number), sources), asked=self.name_of(number))


def read_collection(library: Library, source: str, on_progress: OnProgress = ignore) -> list[Work]:
    """The paintings of a folder, its own folders included, or of the library.

    Raises:
        InputError: there is no such folder, it holds too few pictures or too many, or one cannot be read.
    """
    rows: list[tuple[Any, ...]] = []
    if source == MUSEUM and not Path(source).is_dir():
        for one in library.paintings(on_progress):
            rows.append((one.title, one.id, partial(library.read, one), one.artist, century(one.date)))
    else:
        rows = [(path.stem, path.name, partial(images.read, path), "", "") for path in _files(Path(source))]
    works = []
    for done, (label, name, read, artist, period) in enumerate(rows):
        on_progress(Progress("reading paintings", done, len(rows), "picture"))
        picture = read()
        width, height = images.fit(picture.width, picture.height, min(_KEPT, max(picture.width, picture.height)))
        works.append(Work(label, name, picture.resized(height, width).pixels, artist, period))
    return works


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", f"name one with paintings, or {MUSEUM}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.EXTENSIONS)
    paths = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if len(paths) < LEAST:
        raise InputError(f"{folder} holds {counted(len(paths), 'picture')}; {LEAST} are the least", "give more")
    if len(paths) > MOST:
        raise InputError(f"{folder} holds {len(paths)} pictures; {MOST} are the most", "give a part of them")
    return paths


def discover(
    library: Library,
    works: Sequence[Work],
    *,
    count: int | None = None,
    seed: int = 0,
    device_name: str = "auto",
    on_progress: OnProgress = ignore,
) -> Discovery:
    """Find which works belong together by style.

    Args:
        library: whose store has the encoder.
        works: the collection.
        count: how many styles; by default a number that is stable.
        seed: of starts, samples and the map.
        device_name: where to compute.
        on_progress: called after each picture; may cancel.

    Raises:
        InputError: there are fewer works than styles.
        MissingExtra: scikit-learn is not installed.
        AssetError: the encoder cannot be had.
    """
    require("sklearn.cluster", "discover")
    if count is not None and not 2 <= count <= len(works) // 2:
        raise InputError(f"--count is {count}", f"it takes 2 to {len(works) // 2} for {len(works)} pictures")
    placement = device.place(device_name, "auto", tested=("float32", "bfloat16"))
    encoder = Encoder(VGG19, load_weights(library.store, "vgg19-normalised", on_progress=on_progress), placement)
    kernel = embedding.style_kernel([work.pixels for work in works], encoder, on_progress)
    points = embedding.coordinates(kernel)
    on_progress(Progress("finding groups", 0, 1))
    grouping = clusters.group(points, count=count, seed=seed)
    return Discovery(works, points, drawing.flattened(points, seed), grouping)


def write(discovery: Discovery, library: Library, folder: Path, on_progress: OnProgress = ignore) -> list[Path]:
    """Write each style, the map as a picture and as a page, and a list of all; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written, rows = [], []
    for number in range(discovery.grouping.count):
        on_progress(Progress("writing styles", number, discovery.grouping.count, "style"))
        kept = discovery.style(library, number)
        path = folder / f"{kept.name}{SUFFIX}"
        kept.save(path)
        written.append(path)
        rows.append(_described(discovery, number, kept, path.name))
    stability = {str(count): round(value, 4) for count, value in discovery.grouping.stability.items()}
    listing, picture, page = (folder / name for name in ("styles.json", "map.png", "map.html"))
    write_json(listing, {"stability": stability, "styles": rows})
    images.write(images.Picture(drawing.draw(discovery.works, discovery.flat, discovery.grouping)), picture)
    drawing_values = drawing.page_values(discovery.works, discovery.flat, discovery.grouping, rows)
    write_whole(page, render("map", drawing_values))
    return [*written, listing, picture, page]


def _described(discovery: Discovery, number: int, kept: StyleFile, name: str) -> dict[str, Any]:
    members = [discovery.works[index] for index in discovery.grouping.members(number)]
    return {
        "file": name,
        "name": kept.name,
        "count": len(members),
        "palette": list(kept.palette),
        "central": [{"id": member.id, "label": member.label} for member in members[:3]],
        "members": [member.id for member in members],
    }


def known_agreement(discovery: Discovery, *, permutations: int = 1000) -> list[dict[str, Any]]:
    """A row for artist and period each: how well the groups agree with it, over works where it is known.

    Of artists, those with one work are left out: any grouping agrees with them.
    """
    rows = []
    for kind in ("artist", "period"):
        named = [getattr(work, kind) for work in discovery.works]
        kept = [index for index, name in enumerate(named) if name and named.count(name) > 1]
        if len({named[index] for index in kept}) < 2:
            continue
        names = sorted({named[index] for index in kept})
        known = np.array([names.index(named[index]) for index in kept])
        information, chance = clusters.agreement(discovery.grouping.labels[kept], known, permutations=permutations)
        rows.append({"known": kind, "works": len(kept), "kinds": len(names), "ami": information, "p": chance})
    return rows


def century(date: str) -> str:
    """The century of a date in words, such as "19" for "ca. 1885" or "19th century"; empty where none is told."""
    if year := re.search(r"\b(\d{3,4})\b", date):
        return str((int(year[1]) - 1) // 100 + 1)
    told = re.search(r"\b(\d{1,2})(?:st|nd|rd|th) century", date)
    return told[1] if told else ""


def color_word(color: str) -> str:
    """The nearest of a few names of colours to `#rrggbb`."""
    value = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return min(_COLORS, key=lambda name: float(((value - _COLORS[name]) ** 2).sum()))
