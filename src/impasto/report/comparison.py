"""A comparison as it lies in its folder: read back, so that pages can be written again without painting."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from impasto import images
from impasto.errors import InputError
from impasto.files import write_json
from impasto.report.cells import Cell, Failure, Subject, read_cell, slug
from impasto.report.contenders import Contender
from impasto.report.scoring import SCORES, Score

MANIFEST = "report.json"
CELLS, SOURCES = "cells", "sources"
Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """The contents of a report.

    Attributes:
        folder: where it lies.
        pairs: names of content and style, in order.
        pictures: file of each content ("content/NAME") and style ("style/NAME"), relative to the folder.
        contenders: name and settings, in order.
        peers: names of those contenders that are not ours.
        scores: which scores its cells have.
        cells: those that are done.
        failures: those that could not be painted.
        machine: where it ran, as plain values.
        command: the command line.
    """

    folder: Path
    pairs: tuple[Pair, ...]
    pictures: Mapping[str, str]
    contenders: Mapping[str, Mapping[str, Any]]
    peers: tuple[str, ...]
    scores: tuple[Score, ...]
    cells: tuple[Cell, ...]
    failures: tuple[Failure, ...]
    machine: Mapping[str, Any]
    command: str

    def cell(self, contender: str, pair: Pair) -> Cell | None:
        """One cell, or None."""
        wanted = (contender, *pair)
        return next((cell for cell in self.cells if (cell.contender, cell.content, cell.style) == wanted), None)

    def of(self, contender: str) -> tuple[Cell, ...]:
        """All cells of a contender."""
        return tuple(cell for cell in self.cells if cell.contender == contender)

    def rows(self) -> tuple[Row, ...]:
        """Each contender over those pairs that every contender has painted, so that means are over equal ground."""
        painted = {name: {(cell.content, cell.style) for cell in self.of(name)} for name in self.contenders}
        present = [pairs for pairs in painted.values() if pairs]
        shared = set.intersection(*present) if present else set()
        rows = []
        for name in self.contenders:
            cells = [cell for cell in self.of(name) if (cell.content, cell.style) in shared]
            if cells:
                rows.append(Row.of(name, cells, self.scores, is_peer=name in self.peers))
        return tuple(rows)

    def file(self, cell: Cell) -> Path:
        """Where a cell's picture lies."""
        return self.folder / CELLS / cell.picture


@dataclass(frozen=True)
class Row:
    """One contender in numbers.

    Attributes:
        contender: its name.
        is_peer: whether it is somebody else's.
        pairs: how many pairs the numbers are over.
        seconds: median time of a picture.
        peak_bytes: the most that a picture took, or None.
        scores: means by name.
    """

    contender: str
    is_peer: bool
    pairs: int
    seconds: float
    peak_bytes: int | None
    scores: Mapping[str, float]

    @classmethod
    def of(cls, name: str, cells: Sequence[Cell], scores: Sequence[Score], *, is_peer: bool) -> Row:
        """Sum up cells."""
        peaks = [cell.peak_bytes for cell in cells if cell.peak_bytes is not None]
        means = {}
        for score in scores:
            values = [cell.scores[score.key] for cell in cells if score.key in cell.scores]
            means[score.key] = statistics.fmean(values) if values else float("nan")
        seconds = statistics.median(cell.seconds for cell in cells)
        return cls(name, is_peer, len(cells), seconds, max(peaks, default=None), means)


def save_comparison(
    folder: Path,
    *,
    pairs: Iterable[tuple[Subject, Subject]],
    contenders: Sequence[Contender],
    scores: Sequence[Score],
    done: tuple[Sequence[Cell], Sequence[Failure]],
    machine: Mapping[str, Any],
    command: str,
) -> Comparison:
    """Write the manifest and the sources beside the cells, and read the whole back.

    The pairs are asked for one by one, and none is kept.
    """
    (folder / SOURCES).mkdir(exist_ok=True)
    pictures: dict[str, str] = {}
    names: list[Pair] = []
    for content, style in pairs:
        names.append((content.name, style.name))
        for kind, subject in (("content", content), ("style", style)):
            if f"{kind}/{subject.name}" not in pictures:
                file = f"{SOURCES}/{kind}-{slug(subject.name)}-{subject.digest[:8]}.png"
                pictures[f"{kind}/{subject.name}"] = file
                if not (folder / file).exists():
                    images.write(images.read(subject.pixels), folder / file)
    cells, failures = done
    manifest = {
        "pairs": names,
        "pictures": pictures,
        "contenders": {contender.name: contender.settings() for contender in contenders},
        "peers": [contender.name for contender in contenders if contender.is_peer],
        "scores": [score.key for score in scores],
        "cells": [cell.picture for cell in cells],
        "failures": [asdict(failure) for failure in failures],
        "machine": dict(machine),
        "command": command,
    }
    write_json(folder / MANIFEST, manifest)
    return load_comparison(folder)


def load_comparison(folder: Path) -> Comparison:
    """Read a comparison back.

    Raises:
        InputError: the folder holds none, or a damaged one.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} holds no comparison", "make one first: impasto compare CONTENT --style STYLE -o FOLDER"
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        cells = [read_cell(folder / CELLS, file) for file in values["cells"]]
        return Comparison(
            folder,
            tuple((content, style) for content, style in values["pairs"]),
            values["pictures"],
            values["contenders"],
            tuple(values["peers"]),
            tuple(SCORES[key] for key in values["scores"] if key in SCORES),
            tuple(cell for cell in cells if cell is not None),
            tuple(Failure(**failure) for failure in values["failures"]),
            values["machine"],
            values["command"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged", "run the comparison again; finished cells are kept") from error
