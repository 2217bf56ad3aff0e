"""The report as one HTML page that needs nothing outside itself."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from impasto import images
from impasto.report import svg, tables
from impasto.report.comparison import Comparison, Pair
from impasto.report.markup import Markup, document, element, join
from impasto.report.opinions import Opinion, Rank

JPEG_QUALITY = 86


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
    ours = len(comparison.contenders) - len(comparison.peers)
    peers = f" and {_counted(len(comparison.peers), 'peer')}" if comparison.peers else ""
    lead = f"{ours} of Impasto's methods{peers} on {_counted(len(comparison.pairs), 'pair')} of photograph and style."
    parts = [
        element("header", element("h1", "Comparison"), element("p", lead)),
        _pictures(comparison),
        _numbers(comparison),
        _people(opinions, ranking, note),
        _each_pair(comparison),
        _knobs(comparison),
        _made_by(comparison),
        _viewer(),
    ]
    return document("Impasto comparison", styles=resource("page.css"), script=resource("page.js"), body=join(parts))


def resource(name: str) -> str:
    """A file of this package as text."""
    return files("impasto.report").joinpath(name).read_text("utf-8")


def data_uri(path: Path) -> str:
    """A picture as a JPEG inside an address."""
    stream = io.BytesIO()
    images.write(images.read(path), stream, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def table(headings: Sequence[object], rows: Sequence[Sequence[object]], *, class_: str = "") -> Markup:
    """A table whose cells are texts, or elements as they are."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = [element("tr", *(cell if isinstance(cell, Markup) else element("td", cell) for cell in row)) for row in rows]
    inside = element("table", element("thead", head), element("tbody", join(body)), class_=class_ or None)
    return element("div", inside, class_="scroll")


def _pictures(comparison: Comparison) -> Markup:
    """The grid: a row a pair, a column a contender."""
    names = list(comparison.contenders)
    headings = ["photograph", "style", *(_named(comparison, name) for name in names)]
    shown: dict[str, str] = {}
    rows = []
    for index, pair in enumerate(comparison.pairs):
        row = [
            _source(comparison, "content", pair[0], index, shown),
            _source(comparison, "style", pair[1], index, shown),
        ]
        row += [_cell(comparison, name, pair, index) for name in names]
        rows.append(row)
    hint = "Click a picture to enlarge it, zoom in, and slide between it and the photograph or another method."
    grid = table(headings, rows, class_="pictures")
    return element("section", element("h2", "Pictures"), element("p", hint), grid)


def _source(comparison: Comparison, kind: str, name: str, index: int, shown: dict[str, str]) -> Markup:
    """A photograph or a style; each is embedded once, and repeated by the script."""
    key = f"{kind}/{name}"
    first = key not in shown
    shown.setdefault(key, f"s{len(shown)}")
    source = data_uri(comparison.folder / comparison.pictures[key]) if first else None
    return element("td", _figure(source, name, index, kind, name, same_as=shown[key], is_first=first))


def _cell(comparison: Comparison, name: str, pair: Pair, index: int) -> Markup:
    cell = comparison.cell(name, pair)
    if cell is None:
        wanted = (name, *pair)
        messages = [one.message for one in comparison.failures if (one.contender, one.content, one.style) == wanted]
        return element("td", element("p", "; ".join(messages) or "not painted", class_="failed"))
    scores = {
        score.key: tables.number(cell.scores[score.key]) for score in comparison.scores if score.key in cell.scores
    }
    words = ", ".join(
        [tables.seconds(cell.seconds), *(f"{key.replace('_', ' ')} {text}" for key, text in scores.items())]
    )
    return element("td", _figure(data_uri(comparison.file(cell)), name, index, "result", words))


def _figure(
    source: str | None, label: str, row: int, kind: str, caption: str, *, same_as: str = "", is_first: bool = True
) -> Markup:
    known = {"data_row": row, "data_label": label, "data_kind": kind, "alt": label, "loading": "lazy"}
    image = element("img", src=source, id=(same_as or None) if is_first else None, data_same=same_as or None, **known)
    button = element("button", image, type="button", aria_label=f"enlarge {label}")
    return element("figure", button, element("figcaption", caption))


def _numbers(comparison: Comparison) -> Markup:
    headings, rows = tables.summary_table(comparison)
    marked = [[element("td", text, class_="best" if best else None) for text, best in row] for row in rows]
    pairs = max((row.pairs for row in comparison.rows()), default=0)
    text = (
        f"Median time, highest peak of memory and mean scores over {_counted(pairs, 'pair')} that all have painted. "
        "↓ less is better, ↑ more is better; the best of a column is marked."
    )
    plots = [
        svg.scatter(
            tables.front_points(comparison, score.key),
            title=f"Time against {score.key.replace('_', ' ')}",
            x_label="seconds a picture",
            y_label=score.key.replace("_", " "),
        )
        for score in comparison.scores
        if score.direction == "lower"
    ]
    reading = (
        "The dashed line is the Pareto front: for a method off it (drawn hollow), another is both quicker and nearer. "
        "Style distance and content error pull against each other, so look at both, and at the pictures."
    )
    legend = element("dl", *(part for score in comparison.scores for part in _defined(score.key, score.summary)))
    drawn = element("div", *(element("figure", plot) for plot in plots), class_="plots")
    return element(
        "section",
        element("h2", "Numbers"),
        element("p", text),
        table(headings, marked),
        drawn,
        element("p", reading),
        legend,
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _defined(key: str, summary: str) -> tuple[Markup, Markup]:
    return element("dt", key.replace("_", " ")), element("dd", summary)


def _people(opinions: Sequence[Opinion], ranking: Sequence[Rank], note: str) -> Markup:
    parts: list[Markup] = []
    if opinions:
        rows = table(tables.OPINION_HEADINGS, tables.opinion_rows(opinions))
        parts += [element("h2", "Opinions"), element("p", tables.OPINION_NOTE), rows]
    if ranking:
        rows = table(tables.RANK_HEADINGS, tables.rank_rows(ranking))
        parts += [element("h2", "Blind comparison"), element("p", tables.RANK_NOTE + note), rows]
    return element("section", *parts) if parts else Markup("")


def _each_pair(comparison: Comparison) -> Markup:
    """Every cell in numbers, the best of each pair marked."""
    headings = ["photograph", "style", "method", "seconds ↓", "peak memory ↓"]
    headings += [score.heading for score in comparison.scores]
    rows: list[list[object]] = []
    for pair in comparison.pairs:
        cells = [cell for name in comparison.contenders if (cell := comparison.cell(name, pair)) is not None]
        best = {s.key: s.best([cell.scores.get(s.key, float("nan")) for cell in cells]) for s in comparison.scores}
        for cell in cells:
            row: list[object] = [*pair, cell.contender, tables.seconds(cell.seconds), tables.megabytes(cell.peak_bytes)]
            for key, value in best.items():
                own = cell.scores.get(key, float("nan"))
                row.append(element("td", tables.number(own), class_="best" if own == value else None))
            rows.append(row)
    inside = table(headings, rows)
    return element("section", element("details", element("summary", "Every picture in numbers"), inside))


def _knobs(comparison: Comparison) -> Markup:
    settings = [
        element("section", element("h3", name), _values(knobs), class_="knobs")
        for name, knobs in comparison.contenders.items()
    ]
    return element("section", element("details", element("summary", "Settings of each method"), *settings))


def _values(values: Mapping[str, Any]) -> Markup:
    rows = [
        [key.replace("_", " "), value if isinstance(value, str) else json.dumps(value)] for key, value in values.items()
    ]
    return table(["setting", "value"], rows)


def _made_by(comparison: Comparison) -> Markup:
    facts = {"command": comparison.command, **comparison.machine}
    return element("section", element("details", element("summary", "Machine and command"), _values(facts)))


def _named(comparison: Comparison, name: str) -> Markup:
    peer = element("span", "peer", class_="peer") if name in comparison.peers else None
    return element("span", name, " ", peer)


def _viewer() -> Markup:
    """The enlarged view: two pictures over one another, a slider between them, and zoom."""
    stage = element(
        "div",
        element("div", element("img", id="under", alt=""), element("img", id="over", alt=""), id="stack"),
        id="stage",
        tabindex="0",
    )
    compare = element("label", "compare with ", element("select", id="against"))
    slide = element("input", type="range", id="slide", min="0", max="100", value="50", aria_label="before and after")
    buttons = [
        element("button", text, type="button", id=key, title=title)
        for text, key, title in (
            ("‹", "previous", "previous picture (left arrow)"),
            ("›", "next", "next picture (right arrow)"),
            ("−", "out", "zoom out (-)"),
            ("+", "in", "zoom in (+)"),
            ("close", "close", "close (Esc)"),
        )
    ]
    tools = element("div", element("strong", id="label"), compare, slide, *buttons, class_="tools")
    return element("dialog", tools, stage, id="viewer", aria_label="enlarged picture")
