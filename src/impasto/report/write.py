"""Writes a comparison for people: HTML, Markdown and CSV; and a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from impasto.files import write_whole
from impasto.report import study, tables
from impasto.report.comparison import Comparison
from impasto.report.opinions import Opinion, Rank, has_maximum, opinions, rank, read_answers, read_ratings
from impasto.report.page import page

PAGE, TEXT, TABLE = "index.html", "report.md", "results.csv"
_HELPED = " Some method has only won or only lost, so every two were given half a tie more."


def write_report(comparison: Comparison, *, ratings: Path | None = None, answers: Path | None = None) -> Path:
    """Write the report into the comparison's folder.

    Args:
        comparison: what to tell.
        ratings: a CSV of marks from 1 to 5, to join.
        answers: a CSV of answers to a study, to rank by.

    Returns:
        The path of the page.

    Raises:
        InputError: one of the CSVs cannot be used.
    """
    marked = _opinions(comparison, ratings)
    ranking, note = _ranking(comparison, answers)
    folder = comparison.folder
    write_whole(folder / TABLE, tables.cells_csv(comparison))
    write_whole(folder / TEXT, tables.markdown(comparison, opinions=marked, ranking=ranking, note=note))
    write_whole(folder / PAGE, page(comparison, opinions=marked, ranking=ranking, note=note))
    return folder / PAGE


def write_study(comparison: Comparison, *, seed: int, limit: int | None = None) -> tuple[Path, Path]:
    """Write a blind study and its key. Returns both paths."""
    asked = study.trials(comparison, seed=seed, limit=limit)
    page_path, key_path = comparison.folder / study.PAGE_FILE, comparison.folder / study.KEY_FILE
    write_whole(key_path, study.key_csv(comparison, seed=seed))
    write_whole(page_path, study.study_page(comparison, asked, seed=seed))
    return page_path, key_path


def _opinions(comparison: Comparison, path: Path | None) -> Sequence[Opinion]:
    if path is None:
        return ()
    pictures = {cell.picture: cell.contender for cell in comparison.cells}
    return opinions(read_ratings(path, list(comparison.contenders), pictures))


def _ranking(comparison: Comparison, path: Path | None) -> tuple[Sequence[Rank], str]:
    if path is None:
        return (), ""
    names = {**{name: name for name in comparison.contenders}, **study.read_key(comparison.folder)}
    given = read_answers(path, names)
    return rank(given), "" if has_maximum(given) else _HELPED
