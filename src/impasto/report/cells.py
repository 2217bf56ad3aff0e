"""The cells of a comparison: each contender on each pair, painted once and kept.

A cell is a picture and a small JSON file that is written after it, so a cell that can be read is whole. Its name holds
a key made of everything that shapes it: pixels of both pictures, settings, weights, our code, versions and the machine
that its time was taken on. A second run finds what is done by that key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import Cancelled, InputError, StyleError
from impasto.files import write_json
from impasto.memory import PeakMemory
from impasto.report.contenders import Contender
from impasto.report.scoring import Score, Scorer

Floats: TypeAlias = NDArray[np.float32]
# rooms above those that paint and score, and so without influence on a picture; and reports themselves
_NOT_PAINTING = ("__main__.py", "cli", "serve", "video", "scenes", "bench", "api.py", "train", "export", "report")


@dataclass(frozen=True)
class Subject:
    """A content or style picture of a comparison.

    Attributes:
        name: for people; unique among the contents, and among the styles.
        pixels: `(H, W, 3)` sRGB in [0, 1]; contents already at the size to be painted at.
    """

    name: str
    pixels: Floats

    @property
    def digest(self) -> str:
        """sha256 of the pixels."""
        return images.digest(self.pixels)


@dataclass(frozen=True)
class Painted:
    """The result of a painter: pixels `(H, W, 3)` in [0, 1], computing time in seconds, and the knobs it ran with."""

    pixels: Floats
    seconds: float
    knobs: Mapping[str, Any]


class Paint(Protocol):
    """Paints one picture by a contender. Warms up first what is slow only the first time."""

    def __call__(self, contender: Contender, content: Floats, style: Floats, on_progress: OnProgress) -> Painted:
        """Both pictures are `(H, W, 3)` in [0, 1]."""
        ...

    def prepare(self, contender: Contender, content: Floats, style: Floats) -> None:
        """Load weights and whatever else must not count as painting."""
        ...


@dataclass(frozen=True)
class Cell:
    """One finished cell.

    Attributes:
        key: hash of everything that shapes it.
        contender, content, style: names.
        width, height: of the picture.
        seconds: computing time, loading left out.
        peak_bytes: growth of memory while painting; None where it cannot be told.
        knobs: settings it was painted with.
        picture: file name beside the JSON.
        scores: by name.
    """

    key: str
    contender: str
    content: str
    style: str
    width: int
    height: int
    seconds: float
    peak_bytes: int | None
    knobs: Mapping[str, Any]
    picture: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A cell that could not be painted, and why."""

    contender: str
    content: str
    style: str
    message: str


@dataclass(frozen=True)
class Task:
    """A cell to be: who paints what."""

    contender: Contender
    content: Subject
    style: Subject
    key: str


def tasks(
    contenders: Sequence[Contender],
    pairs: Sequence[tuple[Subject, Subject]],
    *,
    placement: Mapping[str, Any],
) -> tuple[Task, ...]:
    """All cells, pair by pair, so that every contender's cost is known early.

    Args:
        contenders: who paints.
        pairs: content and style.
        placement: the machine and device as plain values; part of the key, since times belong to it.
    """
    made = []
    identities = {contender.name: contender.identity() for contender in contenders}
    digests = {id(subject): subject.digest for pair in pairs for subject in pair}
    for content, style in pairs:
        for contender in contenders:
            shaped_by = {
                "code": code_digest(),
                "contender": contender.name,
                "identity": identities[contender.name],
                "content": digests[id(content)],
                "style": digests[id(style)],
                "placement": dict(placement),
            }
            text = json.dumps(shaped_by, sort_keys=True, default=str)
            made.append(Task(contender, content, style, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(made)


def run(
    wanted: Sequence[Task],
    folder: Path,
    *,
    paint: Paint,
    score: Scorer,
    scores: Sequence[Score],
    device: str = "cpu",
    on_progress: OnProgress = ignore,
) -> tuple[tuple[Cell, ...], tuple[Failure, ...]]:
    """Paint and score what is not done yet.

    Args:
        wanted: the cells.
        folder: where they are kept; must exist.
        paint: paints a picture.
        score: gives a picture its scores; pictures are scored as they were written, with 8 bits.
        scores: which scores a cell must have to be done.
        device: whose memory is watched.
        on_progress: called with the share that is done, weighing cells by their contender's time.

    Returns:
        The cells in the order wanted, and those that failed.

    Raises:
        Cancelled: asked for; all finished cells stay.
    """
    found = {task.key: _read(folder, task.key) for task in wanted}
    names = {one.key for one in scores}
    missing = [task for task in wanted if not _is_done(found[task.key], names)]
    costs = _Costs([cell for cell in found.values() if cell is not None])
    failures: list[Failure] = []
    for index, task in enumerate(missing):
        try:
            listen = _share_of(missing, index, costs, on_progress)
            cell = found[task.key] or _paint(task, folder, paint, device, listen)
            scored = _scored(cell, task, folder, score)
        except Cancelled as cancelled:
            cancelled.hint = "finished cells are kept: run the same command again to go on"
            raise
        except StyleError as error:
            failures.append(Failure(task.contender.name, task.content.name, task.style.name, error.message))
            continue
        found[task.key] = scored
        costs.learn(scored)
    if missing:
        on_progress(Progress("comparing", len(missing), len(missing), "cell", done=1.0))
    return tuple(one for task in wanted if (one := found[task.key]) is not None), tuple(failures)


def read_cell(folder: Path, file: str, *, picture: str | None = None) -> Cell | None:
    """A cell by the name of its picture, which may have another now; None when it is missing or damaged."""
    try:
        values = json.loads((folder / file).with_suffix(".json").read_text("utf-8"))
        cell = Cell(**values if picture is None else {**values, "picture": picture})
        return cell if (folder / cell.picture).is_file() else None
    except (OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def code_digest() -> str:
    """sha256 of the parts of this package that shape pictures and scores: a change to them paints again."""
    root = Path(images.__file__).parents[1]
    hashed = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if inside.parts[0] not in _NOT_PAINTING:
            hashed.update(inside.as_posix().encode() + path.read_bytes())
    return hashed.hexdigest()


def _read(folder: Path, key: str) -> Cell | None:
    for path in sorted(folder.glob(f"*-{key[:12]}.json")):
        cell = read_cell(folder, path.name)
        if cell is not None and cell.key == key:
            return cell
    return None


def _is_done(cell: Cell | None, names: set[str]) -> bool:
    return cell is not None and names <= set(cell.scores)


def _paint(task: Task, folder: Path, paint: Paint, device: str, on_progress: OnProgress) -> Cell:
    """Paint, and write the picture."""
    paint.prepare(task.contender, task.content.pixels, task.style.pixels)
    with PeakMemory(device) as peak:
        painted = paint(task.contender, task.content.pixels, task.style.pixels, on_progress)
    label = "-".join(slug(name) for name in (task.content.name, task.style.name, task.contender.name))
    picture = f"{label}-{task.key[:12]}.png"
    images.write(images.read(np.ascontiguousarray(painted.pixels)), folder / picture)
    height, width = painted.pixels.shape[:2]
    names = task.contender.name, task.content.name, task.style.name
    return Cell(task.key, *names, width, height, painted.seconds, peak.bytes, painted.knobs, picture)


def _scored(cell: Cell, task: Task, folder: Path, score: Scorer) -> Cell:
    """Score the picture as it was written, and write the cell: from now on it is done."""
    pastiche = images.read(folder / cell.picture).pixels
    values = {name: float(value) for name, value in score(task.content.pixels, task.style.pixels, pastiche).items()}
    scored = replace(cell, scores={**cell.scores, **values})
    write_json((folder / cell.picture).with_suffix(".json"), asdict(scored))
    return scored


class _Costs:
    """Expected seconds of a cell for each contender, from those measured so far."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._seconds: dict[str, list[float]] = {}
        for cell in cells:
            self.learn(cell)

    def learn(self, cell: Cell) -> None:
        """Take a finished cell into account."""
        self._seconds.setdefault(cell.contender, []).append(cell.seconds + 1.0)  # scoring takes about a second

    def of(self, contender: str) -> float:
        """The mean of its cells, or of all."""
        known = self._seconds.get(contender) or [one for many in self._seconds.values() for one in many]
        return sum(known) / len(known) if known else 1.0


def _share_of(
    missing: Sequence[Task], index: int, costs: _Costs, on_progress: OnProgress
) -> Callable[[Progress], None]:
    """Turns a contender's own progress into the share of the whole run."""
    each = [costs.of(task.contender.name) for task in missing]
    before, own, total = sum(each[:index]), each[index], sum(each)

    def listen(progress: Progress) -> None:
        done = (before + own * progress.share) / total
        on_progress(Progress("comparing", index, len(missing), "cell", done=done, preview=progress.preview))

    listen(Progress("comparing", 0, 1))
    return listen


def slug(text: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:48] or "picture"


def load_subjects(named: Sequence[tuple[str, Any]], *, size: int | None = None) -> tuple[Subject, ...]:
    """Read pictures; names that occur twice are numbered.

    Args:
        named: for each a name and what `images.read` takes.
        size: longest side in pixels; None keeps them as they are.

    Raises:
        InputError: one cannot be read, or two are the same picture.
    """
    subjects: list[Subject] = []
    for name, source in named:
        pixels = images.read(source).pixels
        if size is not None:
            width, height = images.fit(pixels.shape[1], pixels.shape[0], size)
            pixels = images.resize(pixels, height, width)
        taken = [one.name for one in subjects]
        number = next(n for n in range(1, len(taken) + 2) if (name if n == 1 else f"{name} {n}") not in taken)
        subjects.append(Subject(name if number == 1 else f"{name} {number}", pixels))
    twice = [one.name for one in subjects if [other.digest for other in subjects].count(one.digest) > 1]
    if twice:
        raise InputError(f"the same picture was given twice: {' and '.join(twice)}", "give each once")
    return tuple(subjects)
