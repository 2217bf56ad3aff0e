"""How well sentences find paintings: a fixed list of queries with the paintings that answer them."""

from __future__ import annotations

import re
import time
import tomllib
from importlib import resources
from typing import Any

from impasto.assets.library import Library
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine import words
from impasto.errors import InputError

FIRST = 3
"""Places of the ranking that count."""

_ONLY_PAINTED = {
    "nonsense": "of nonsense",
    "unseen_nonsense": "of nonsense, unseen",
    "unseen_meaning": "short ones, unseen",
}  # lists of queries.toml of which it is asked alone whether they would be painted


def word_search(library: Library, *, on_progress: OnProgress = ignore) -> list[dict[str, Any]]:
    """A row for each query, whether one of its paintings is among the first three, and a row for each language.

    `painted` says whether the query would be painted at all, `meant` whether it should, `right` the share of good
    answers in what would be mixed. Of queries without an answer written down, `found` and `right` are None.

    Raises:
        AssetError: the library or the network that reads sentences cannot be had.
    """
    text = (resources.files("impasto.bench") / "queries.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    queries = table["queries"]
    words.search(library, queries[0]["text"], limit=FIRST, on_progress=on_progress)  # loading is not searching
    rows = []
    for done, query in enumerate(queries):
        on_progress(Progress("searching", done, len(queries), "query"))
        rows.append(_row(library, query["text"], set(query["accept"]), meant=True))
    totals = _totals(rows)
    for key, told in _ONLY_PAINTED.items():
        own = [_row(library, query, None, meant="nonsense" not in key) for query in table[key]]
        totals.append(_total(f"{len(own)} {told}", "both", own))
        rows += own
    return [*totals, *rows]


def _row(library: Library, query: str, accepted: set[int] | None, *, meant: bool) -> dict[str, Any]:
    started = time.perf_counter()
    found = _found(library, query)
    seconds = time.perf_counter() - started
    chosen = _chosen(library, query)
    good = accepted or set()
    return {
        "query": query,
        "language": "Chinese" if re.search(r"[\u4e00-\u9fff]", query) else "English",
        "found": None if accepted is None else any(int(match.painting.number) in accepted for match in found),
        "right": None if accepted is None else sum(one.share for one in chosen if int(one.painting.number) in good),
        "meant": meant,
        "painted": bool(chosen),
        "first": found[0].painting.title if found else "",
        "similarity": found[0].similarity if found else 0.0,
        "seconds": seconds,
    }


def _found(library: Library, query: str) -> list[words.Match]:
    """The first three; none where no word is known."""
    try:
        return words.search(library, query, limit=FIRST)
    except InputError:
        return []


def _chosen(library: Library, query: str) -> tuple[words.Match, ...]:
    """What would be mixed; nothing where the query is refused."""
    try:
        return words.choose(library, query)
    except InputError:
        return ()


def _totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    totals = []
    for language in ("English", "Chinese", "both"):
        own = [row for row in rows if language in (row["language"], "both")]
        totals.append(_total(f"{len(own)} queries", language, own))
    return totals


def _total(name: str, language: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("found", "right", "painted", "similarity", "seconds")
    means = {key: sum(row[key] or 0 for row in rows) / len(rows) for key in names}
    return {"query": name, "language": language, "first": "", **means}
