"""Comparisons as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

from impasto.report.comparison import Comparison, Row
from impasto.report.opinions import Opinion, Rank
from impasto.report.svg import Point, pareto_front


def summary_table(comparison: Comparison) -> tuple[list[str], list[list[tuple[str, bool]]]]:
    """Headings, and for each contender its texts with whether each is the best of its column."""
    rows = comparison.rows()
    headings = ["method", "seconds ↓", "peak memory ↓", *(score.heading for score in comparison.scores)]
    quickest = min((row.seconds for row in rows), default=None)
    leanest = min((row.peak_bytes for row in rows if row.peak_bytes is not None), default=None)
    best = {score.key: score.best([row.scores[score.key] for row in rows]) for score in comparison.scores}
    table = []
    for row in rows:
        cells = [(f"{row.contender}{' (peer)' if row.is_peer else ''}", False)]
        cells.append((seconds(row.seconds), row.seconds == quickest))
        cells.append((megabytes(row.peak_bytes), row.peak_bytes is not None and row.peak_bytes == leanest))
        cells += [(number(row.scores[key]), row.scores[key] == value) for key, value in best.items()]
        table.append(cells)
    return headings, table


def front_points(comparison: Comparison, score: str) -> list[Point]:
    """Time against a score, a point a contender."""
    return [Point(row.contender, row.seconds, row.scores[score], _series(row)) for row in comparison.rows()]


def markdown(
    comparison: Comparison, *, opinions: Sequence[Opinion] = (), ranking: Sequence[Rank] = (), note: str = ""
) -> str:
    """The report as text: what was compared, the table, the Pareto fronts, what failed, what people say."""
    headings, table = summary_table(comparison)
    text = ["# Comparison", "", f"Pairs of photograph and style: {len(comparison.pairs)}", ""]
    text += [f"- {content} × {style}" for content, style in comparison.pairs]
    text += ["", SUMMARY_NOTE, ""]
    text += markdown_table(headings, [[f"**{cell}**" if best else cell for cell, best in row] for row in table])
    for score in comparison.scores:
        if score.direction == "lower":
            front = pareto_front(front_points(comparison, score.key))
            chain = " → ".join(point.label for point in front)
            text += ["", f"Pareto front of time and {score.key.replace('_', ' ')}, quickest first: {chain}."]
    if comparison.failures:
        text += ["", "Not painted:", ""]
        text += [f"- {one.contender} on {one.content} × {one.style}: {one.message}" for one in comparison.failures]
    if opinions:
        text += ["", "## Opinions", "", OPINION_NOTE, "", *markdown_table(OPINION_HEADINGS, opinion_rows(opinions))]
    if ranking:
        text += [
            "",
            "## Blind comparison",
            "",
            RANK_NOTE + note,
            "",
            *markdown_table(RANK_HEADINGS, rank_rows(ranking)),
        ]
    text += ["", "## Made by", ""]
    text += [f"- {key}: {value}" for key, value in {"command": comparison.command, **comparison.machine}.items()]
    return "\n".join(text) + "\n"


def cells_csv(comparison: Comparison) -> str:
    """One line a cell."""
    file = io.StringIO()
    names = [score.key for score in comparison.scores]
    fixed = ["content", "style", "method", "peer", "width", "height", "seconds", "peak_mb"]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*fixed, *names, "knobs", "picture"])
    for cell in comparison.cells:
        peak = "" if cell.peak_bytes is None else f"{cell.peak_bytes / 1e6:.1f}"
        known = [cell.content, cell.style, cell.contender, "yes" if cell.contender in comparison.peers else "no"]
        sizes = [cell.width, cell.height, f"{cell.seconds:.4f}", peak]
        scores = [f"{cell.scores[name]:.6g}" if name in cell.scores else "" for name in names]
        writer.writerow([*known, *sizes, *scores, json.dumps(cell.knobs, sort_keys=True), cell.picture])
    return file.getvalue()


SUMMARY_NOTE = (
    "Medians of time, the highest peak of memory, means of scores; the best of each column is marked. No column "
    "decides alone, and the order of rows is no ranking: a tinted photograph can win by any one of them."
)
OPINION_HEADINGS = ["method", "mean opinion (1 to 5) ↑", "95% interval", "raters", "ratings"]
OPINION_NOTE = "Mean over raters of each one's mean mark; 95% intervals by Student's t over raters."
RANK_HEADINGS = ["method", "log strength ↑", "95% interval", "wins", "answers"]
RANK_NOTE = (
    "Bradley-Terry by maximum likelihood, ties half; 95% intervals by bootstrap. A difference of 1 means winning "
    "73 times out of 100."
)


def opinion_rows(opinions: Sequence[Opinion]) -> list[list[str]]:
    """Opinions as texts."""
    return [
        [one.method, f"{one.mean:.2f}", _interval(one.low, one.high), str(one.raters), str(one.ratings)]
        for one in opinions
    ]


def rank_rows(ranking: Sequence[Rank]) -> list[list[str]]:
    """A ranking as texts."""
    return [
        [one.method, f"{one.strength:+.2f}", _interval(one.low, one.high), f"{one.wins:.0%}", str(one.answers)]
        for one in ranking
    ]


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def seconds(value: float) -> str:
    """A time for people."""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def megabytes(count: int | None) -> str:
    """A size for people."""
    return "?" if count is None else f"{count / 1e6:.0f} MB"


def number(value: float) -> str:
    """A score for people."""
    return "?" if math.isnan(value) else f"{value:.3f}"


def _interval(low: float, high: float) -> str:
    return "one rater: none" if math.isnan(low) else f"{low:.2f} to {high:.2f}"


def _series(row: Row) -> str:
    return "peers" if row.is_peer else "impasto"
