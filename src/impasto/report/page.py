"""The report as one HTML page that needs nothing outside itself; templates/page.html lays it out."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup

from impasto import images
from impasto.report import svg, tables
from impasto.report.comparison import Comparison, Pair
from impasto.report.opinions import Opinion, Rank
from impasto.report.render import render

JPEG_QUALITY = 86
Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[object]]]
"""Headings, and rows whose cells are texts or (text, whether it is the best of its column)."""


@dataclass(frozen=True)
class Figure:
    """One picture of the grid.

    Attributes:
        label: whose picture it is: a method, a photograph or a style.
        kind: "content", "style" or "result".
        caption: what stands below.
        source: the picture as an address; empty where an earlier figure holds it.
        id: by which later figures find this one.
        same_as: the id of the figure that holds the picture.
    """

    label: str
    kind: str
    caption: str
    source: str = ""
    id: str = ""
    same_as: str = ""


def page(
    comparison: Comparison, *, opinions: Sequence[Opinion] = (), ranking: Sequence[Rank] = (), note: str = ""
) -> str:
    """The whole report.

    Args:
        comparison: what to show.
        opinions: mean opinion scores, if there are any.
        ranking: a Bradley-Terry ranking, if there is one.
        note: what to say of the ranking.
    """
    shared = max((row.pairs for row in comparison.rows()), default=0)
    values = {
        "lead": _lead(comparison),
        "contenders": {name: _settings(knobs) for name, knobs in comparison.contenders.items()},
        "peers": comparison.peers,
        "grid": list(_grid(comparison)),
        "shared_pairs": _counted(shared, "pair"),
        "summary": tables.summary_table(comparison),
        "summary_note": tables.SUMMARY_NOTE,
        "plots": _plots(comparison),
        "scores": comparison.scores,
        "opinions": (tables.OPINION_HEADINGS, tables.opinion_rows(opinions)) if opinions else None,
        "opinion_note": tables.OPINION_NOTE,
        "ranking": (tables.RANK_HEADINGS, tables.rank_rows(ranking)) if ranking else None,
        "ranking_note": tables.RANK_NOTE + note,
        "every_cell": _every_cell(comparison),
        "made_by": _settings({"command": comparison.command, **comparison.machine}),
    }
    return render("page", values)


def data_uri(path: Path) -> str:
    """A picture as a JPEG inside an address."""
    stream = io.BytesIO()
    images.write(images.read(path), stream, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _lead(comparison: Comparison) -> str:
    ours = len(comparison.contenders) - len(comparison.peers)
    peers = f" and {_counted(len(comparison.peers), 'peer')}" if comparison.peers else ""
    return f"{ours} of Impasto's methods{peers} on {_counted(len(comparison.pairs), 'pair')} of photograph and style."


def _grid(comparison: Comparison) -> Iterator[list[Figure | str]]:
    """A row a pair: photograph, style, then each contender's figure, or why it has none."""
    shown: dict[str, str] = {}
    for content, style in comparison.pairs:
        sources = [_source(comparison, "content", content, shown), _source(comparison, "style", style, shown)]
        yield [*sources, *(_cell(comparison, name, (content, style)) for name in comparison.contenders)]


def _source(comparison: Comparison, kind: str, name: str, shown: dict[str, str]) -> Figure:
    """A photograph or a style; each is embedded once, and repeated by the script."""
    key = f"{kind}/{name}"
    if key in shown:
        return Figure(name, kind, name, same_as=shown[key])
    shown[key] = f"s{len(shown)}"
    source = data_uri(comparison.folder / comparison.pictures[key])
    return Figure(name, kind, name, source, id=shown[key], same_as=shown[key])


def _cell(comparison: Comparison, name: str, pair: Pair) -> Figure | str:
    cell = comparison.cell(name, pair)
    if cell is None:
        wanted = (name, *pair)
        messages = [one.message for one in comparison.failures if (one.contender, one.content, one.style) == wanted]
        return "; ".join(messages) or "not painted"
    scores = [
        f"{score.key.replace('_', ' ')} {tables.number(cell.scores[score.key])}"
        for score in comparison.scores
        if score.key in cell.scores
    ]
    return Figure(name, "result", ", ".join([tables.seconds(cell.seconds), *scores]), data_uri(comparison.file(cell)))


def _plots(comparison: Comparison) -> list[Markup]:
    return [
        svg.scatter(
            tables.front_points(comparison, score.key),
            title=f"Time against {score.key.replace('_', ' ')}",
            x_label="seconds a picture",
            y_label=score.key.replace("_", " "),
        )
        for score in comparison.scores
        if score.direction == "lower"
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _every_cell(comparison: Comparison) -> Table:
    """Every cell in numbers, the best of each pair marked."""
    headings = ["photograph", "style", "method", "seconds ↓", "peak memory ↓"]
    headings += [score.heading for score in comparison.scores]
    rows: list[list[object]] = []
    for pair in comparison.pairs:
        cells = [cell for name in comparison.contenders if (cell := comparison.cell(name, pair)) is not None]
        best = {s.key: s.best([cell.scores.get(s.key, float("nan")) for cell in cells]) for s in comparison.scores}
        for cell in cells:
            own = {key: cell.scores.get(key, float("nan")) for key in best}
            scored = [(tables.number(own[key]), own[key] == value) for key, value in best.items()]
            known = [*pair, cell.contender, tables.seconds(cell.seconds), tables.megabytes(cell.peak_bytes)]
            rows.append([*known, *scored])
    return headings, rows


def _settings(values: Mapping[str, Any]) -> list[list[str]]:
    return [
        [key.replace("_", " "), value if isinstance(value, str) else json.dumps(value)] for key, value in values.items()
    ]
