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

FIRST = 3
"""Places of the ranking that count."""


def word_search(library: Library, *, on_progress: OnProgress = ignore) -> list[dict[str, Any]]:
    """A row for each query, whether one of its paintings is among the first three, and a row for each language.

    Raises:
        AssetError: the library or the network that reads sentences cannot be had.
    """
    text = (resources.files("impasto.bench") / "queries.toml").read_text(encoding="utf-8")
    queries = tomllib.loads(text)["queries"]
    words.search(library, queries[0]["text"], limit=FIRST, on_progress=on_progress)  # loading is not searching
    rows = []
    for done, query in enumerate(queries):
        on_progress(Progress("searching", done, len(queries), "query"))
        rows.append(_row(library, query["text"], set(query["accept"])))
    return [*_totals(rows), *rows]


def _row(library: Library, query: str, accepted: set[int]) -> dict[str, Any]:
    started = time.perf_counter()
    found = words.search(library, query, limit=FIRST)
    seconds = time.perf_counter() - started
    return {
        "query": query,
        "language": "Chinese" if re.search(r"[\u4e00-\u9fff]", query) else "English",
        "found": any(int(match.painting.number) in accepted for match in found),
        "first": found[0].painting.title,
        "similarity": found[0].similarity,
        "seconds": seconds,
    }


def _totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    totals = []
    for language in ("English", "Chinese", "both"):
        own = [row for row in rows if language in (row["language"], "both")]
        totals.append(
            {
                "query": f"{len(own)} queries",
                "language": language,
                "found": sum(row["found"] for row in own) / len(own),
                "first": "",
                "similarity": sum(row["similarity"] for row in own) / len(own),
                "seconds": sum(row["seconds"] for row in own) / len(own),
            }
        )
    return totals
