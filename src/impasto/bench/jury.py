"""A standing jury: fixed pairs of photograph and painting, painted and laid out for the eye beside all measures.

The pictures are not the project's: their names are fixed here, and the user gives the folder that holds them, with
photographs in `content/` and paintings in `style/`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from impasto import images
from impasto.bench.results import as_csv
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError
from impasto.files import write_whole
from impasto.metrics import SCORES as DEFAULT_SCORES
from impasto.report import cells, tables
from impasto.report.cells import Cell, Failure, Paint, Subject, load_subjects, read_cell, slug
from impasto.report.comparison import CELLS, Comparison, save_comparison
from impasto.report.contenders import Contender, find_contenders
from impasto.report.scoring import Score, Scorer
from impasto.report.write import write_report

Names: TypeAlias = Sequence[tuple[str, str]]

BASE = "draft"
"""The contender that the others' ratios are taken to."""
PAIRS: Names = tuple(
    (f"{photograph}.jpg", f"{painting}.jpg")
    for painting, photographs in {
        "van_gogh_starry_night": ("neuschwanstein", "lemurs", "river_canyon"),
        "hokusai_great_wave": ("machu_picchu", "panda", "pont_du_gard"),
        "kandinsky_composition_vii": ("drums", "charminar_portrait", "lizard"),
        "van_gogh_cafe_terrace": ("arles_arena", "chambord", "kangaroo"),
        "van_gogh_harvest": ("lizard", "river_canyon", "pont_du_gard"),
        "van_gogh_langlois_bridge": ("chambord", "neuschwanstein", "machu_picchu"),
        "van_gogh_night_cafe": ("kangaroo", "arles_arena", "drums"),
        "van_gogh_pere_tanguy": ("panda", "charminar_portrait", "lemurs"),
    }.items()
    for photograph in photographs
)
"""Photograph and painting: each photograph twice, each painting three times. A painting's first also large."""

SHEETS, TABLE, TEXT = "sheets", "jury.csv", "jury.md"
_RATIOS = ("style_distance", "style_distance_large", "stroke_distance", "content_error", "layout")
_ABSOLUTE = ("photo_residue", "grain_ratio", "weave")
_HEADINGS = ("style", "large", "stroke", "content", "layout", "residue", "grain", "weave")
SCORES = (*DEFAULT_SCORES, "weave")
"""The measures of a jury."""
_LETTER = 8  # px of a letter in a caption, with some to spare
_NOTE = (
    "Style, large, stroke, content and layout are means of the ratio to the draft of the same pair; residue, grain and "
    "weave are as they are. In brackets the worst pair: the highest, and for grain the one farthest from 1. No column "
    "decides alone: look at the sheets."
)


@dataclass(frozen=True)
class Case:
    """One pair to be painted.

    Attributes:
        content, style: files of the photograph and of the painting.
        size: longest side of the photograph in pixels; the painting keeps its own.
    """

    content: Path
    style: Path
    size: int

    def load(self) -> tuple[Subject, Subject]:
        """Both pictures."""
        (content,) = load_subjects([(self.content.stem, self.content)], size=self.size)
        (style,) = load_subjects([(self.style.stem, self.style)])
        return content, style


@dataclass(frozen=True)
class Tools:
    """Everything that paints and scores for a jury.

    Attributes:
        paint: paints a picture.
        score: gives a picture its scores.
        scores: which of them.
        machine: the machine and device as plain values, with "device".
        command: the command line, for the report.
    """

    paint: Paint
    score: Scorer
    scores: Sequence[Score]
    machine: Mapping[str, Any]
    command: str = ""


def find_cases(
    folder: Path, *, size: int = 512, large: int = 1024, only: Sequence[str] = (), pairs: Names = PAIRS
) -> tuple[Case, ...]:
    """The pairs as files.

    Args:
        folder: holds `content/` and `style/`.
        size: longest side of the photographs in pixels.
        large: that of those which are painted large, too, one for each painting; 0 for none.
        only: words; pairs whose file names hold none of them are left out.
        pairs: names of files.

    Raises:
        InputError: a picture is missing, or no pair is left.
    """
    firsts = {painting: (photograph, painting) for photograph, painting in reversed(pairs)}
    asked = [(pair, size) for pair in pairs] + [
        (pair, large) for pair in pairs if large not in (0, size) and pair in firsts.values()
    ]
    asked = [(pair, side) for pair, side in asked if not only or any(word in name for word in only for name in pair)]
    if not asked:
        raise InputError(f"no pair of the jury is named {' or '.join(only)}", f"it has {', '.join(_stems(pairs))}")
    found = tuple(
        Case(folder / "content" / photo, folder / "style" / painting, side) for (photo, painting), side in asked
    )
    wanted = dict.fromkeys(path for case in found for path in (case.content, case.style))
    missing = [f"{path.parent.name}/{path.name}" for path in wanted if not path.is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of the jury's {len(wanted)} pictures: {', '.join(missing[:3])}",
            "give the folder whose content/ and style/ hold them",
        )
    return found


def jury_contenders(names: str) -> tuple[Contender, ...]:
    """The contenders of a comma-separated list; the draft comes first, as the base of the ratios."""
    others = [name.strip() for name in names.split(",") if name.strip() not in ("", BASE)]
    return find_contenders(",".join([BASE, *others]))


def run_jury(
    cases: Sequence[Case],
    out: Path,
    contenders: Sequence[Contender],
    tools: Tools,
    *,
    accepted: Path | None = None,
    on_progress: OnProgress = ignore,
) -> tuple[Comparison, ...]:
    """Paint what is missing, pair by pair, and write each pair's sheet; then the report of each size, and the tables.

    Args:
        cases: the pairs.
        out: a folder; a size has its own inside, where finished pictures are found again.
        contenders: who paints, BASE first.
        tools: what paints and scores.
        accepted: a folder that `accept` has written: its pictures come beside the new ones.
        on_progress: called with the share that is done, weighing pairs by their pixels.

    Returns:
        A comparison for each size.

    Raises:
        InputError: a picture cannot be read.
        Cancelled: asked for; finished pictures and sheets stay.
    """
    done: dict[int, tuple[list[Cell], list[Failure]]] = {}
    for index, case in enumerate(cases):
        listen = _share_of(cases, index, on_progress)
        painted, failed = _paint(case, out / str(case.size), contenders, tools, accepted=accepted, on_progress=listen)
        found = done.setdefault(case.size, ([], []))
        found[0].extend(painted)
        found[1].extend(failed)
    comparisons = tuple(
        save_comparison(
            out / str(size),
            pairs=(case.load() for case in cases if case.size == size),  # again: all at once may not fit
            contenders=contenders,
            scores=tools.scores,
            done=done[size],
            machine=tools.machine,
            command=tools.command,
        )
        for size in done
    )
    _write(out, comparisons)
    return comparisons


def accept(comparisons: Sequence[Comparison], folder: Path) -> int:
    """Keep copies of all pictures, with their scores, for later juries to show beside theirs. Returns how many."""
    kept = 0
    for comparison in comparisons:
        for cell in comparison.cells:
            target = folder / _accepted_name(cell)
            for source in (comparison.file(cell), comparison.file(cell).with_suffix(".json")):
                write_whole(target.with_suffix(source.suffix), source.read_bytes())
            kept += 1
    return kept


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a picture: its size, pair, method and seconds, its scores, and ratios of some to the draft's."""
    found = []
    for pair in comparison.pairs:
        base = comparison.cell(BASE, pair)
        for cell in (comparison.cell(name, pair) for name in comparison.contenders):
            if cell is None:
                continue
            known = {"size": max(cell.width, cell.height), "content": cell.content, "style": cell.style}
            ratios = {f"{name}_to_draft": _ratio(cell, base, name) for name in _RATIOS if name in cell.scores}
            found.append({**known, "method": cell.contender, "seconds": cell.seconds, **cell.scores, **ratios})
    return found


def summary(found: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a line a method: how many pairs, median seconds, and of each measure the mean and the worst."""
    columns = [f"{name}_to_draft" for name in _RATIOS] + list(_ABSOLUTE)
    headings = ["method", "pairs", "seconds", *_HEADINGS]
    lines = []
    for method in dict.fromkeys(row["method"] for row in found):
        own = [row for row in found if row["method"] == method]
        told = [_mean_and_worst(column, [row.get(column) for row in own]) for column in columns]
        seconds = tables.seconds(statistics.median(row["seconds"] for row in own))
        lines.append([method, str(len(own)), seconds, *told])
    return headings, lines


def _stems(pairs: Names) -> list[str]:
    return list(dict.fromkeys(Path(name).stem for pair in pairs for name in pair))


def _share_of(cases: Sequence[Case], index: int, on_progress: OnProgress) -> OnProgress:
    """Turns one pair's progress into the share of the whole."""
    costs = [case.size**2 for case in cases]

    def listen(progress: Progress) -> None:
        share = (sum(costs[:index]) + costs[index] * progress.share) / sum(costs)
        on_progress(Progress("jury", index, len(cases), "pair", done=share, preview=progress.preview))

    listen(Progress("jury", 0, 1))
    return listen


def _paint(
    case: Case,
    folder: Path,
    contenders: Sequence[Contender],
    tools: Tools,
    *,
    accepted: Path | None,
    on_progress: OnProgress,
) -> tuple[tuple[Cell, ...], tuple[Failure, ...]]:
    """Paint what is missing of one pair, and write its sheet. The pair's pixels go when this returns."""
    for inside in (CELLS, SHEETS):
        (folder / inside).mkdir(parents=True, exist_ok=True)
    pair = case.load()
    painted, failed = cells.run(
        cells.tasks(contenders, [pair], placement=tools.machine),
        folder / CELLS,
        paint=tools.paint,
        score=tools.score,
        scores=tools.scores,
        device=tools.machine["device"],
        on_progress=on_progress,
    )
    name = f"{slug(pair[0].name)}-{slug(pair[1].name)}.png"
    images.write(images.read(_sheet(pair, painted, folder, accepted)), folder / SHEETS / name)
    return painted, failed


def _sheet(pair: tuple[Subject, Subject], painted: Sequence[Cell], folder: Path, accepted: Path | None) -> cells.Floats:
    """Photograph and painting, then each picture with its measures, and on its right the last accepted one."""
    content, style = pair
    shown = [(content.pixels, content.name), (style.pixels, style.name)]
    for cell in painted:
        shown.append((images.read(folder / CELLS / cell.picture).pixels, _caption(cell.contender, cell)))
        if accepted is not None:
            shown.append(_accepted_beside(cell, accepted))
    side = max(content.pixels.shape)
    lines = 1 + max(len(caption) for _, caption in shown) * _LETTER // (side * 3 // 4)  # lines are full to 3/4 at least
    return images.contact_sheet(shown, columns=3 if accepted is None else 2, cell=side, lines=lines)


def _accepted_beside(cell: Cell, folder: Path) -> tuple[cells.Floats, str]:
    last = read_cell(folder, _accepted_name(cell), picture=_accepted_name(cell))
    if last is None:
        return np.ones((cell.height, cell.width, 3), np.float32), f"{cell.contender}: none accepted yet"
    return images.read(folder / last.picture).pixels, _caption(f"{cell.contender}, accepted", last)


def _accepted_name(cell: Cell) -> str:
    names = "-".join(slug(name) for name in (cell.content, cell.style, cell.contender))
    return f"{names}-{max(cell.width, cell.height)}.png"


def _caption(name: str, cell: Cell) -> str:
    told = [f"{key.replace('_', ' ')} {tables.number(value)}" for key, value in cell.scores.items()]
    return ", ".join([f"{name}: {tables.seconds(cell.seconds)}", *told])


def _ratio(cell: Cell, base: Cell | None, name: str) -> float | None:
    if base is None or not base.scores.get(name):
        return None
    return cell.scores[name] / base.scores[name]


def _mean_and_worst(column: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "?"
    worst = max(known, key=lambda value: abs(value - 1)) if column == "grain_ratio" else max(known)
    places = 3 if column == "weave" else 2
    return f"{statistics.fmean(known):.{places}f} ({worst:.{places}f})"


def _write(out: Path, comparisons: Sequence[Comparison]) -> None:
    text, every = ["# The jury", "", _NOTE], []
    for comparison in comparisons:
        write_report(comparison)
        found = rows(comparison)
        every += found
        text += ["", f"## Longest side {comparison.folder.name} px", "", *tables.markdown_table(*summary(found))]
        text += [
            f"\nNot painted: {one.contender} on {one.content} and {one.style}: {one.message}"
            for one in comparison.failures
        ]
    write_whole(out / TABLE, as_csv(every))
    write_whole(out / TEXT, "\n".join(text) + "\n")
