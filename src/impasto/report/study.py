"""A blind study: two pictures of the same pair side by side, and the question which is better.

The page holds only codes; which method a code means stands in a key file that stays with whoever runs the study.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import InputError
from impasto.report.comparison import Comparison
from impasto.report.page import data_uri
from impasto.report.render import render

KEY_FILE = "study-key.csv"
PAGE_FILE = "study.html"


@dataclass(frozen=True)
class Trial:
    """One question: content, style, and the codes shown left and right."""

    content: str
    style: str
    left: str
    right: str


def trials(comparison: Comparison, *, seed: int, limit: int | None = None) -> tuple[Trial, ...]:
    """Every two methods on every pair, in random order and with random sides.

    Args:
        comparison: whose pictures are shown.
        seed: of the order, the sides and the codes.
        limit: at most so many.

    Raises:
        InputError: there are no two pictures of one pair.
    """
    found = []
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    for content, style in comparison.pairs:
        cells = [
            cell for name in comparison.contenders if (cell := comparison.cell(name, (content, style))) is not None
        ]
        for two in itertools.combinations(cells, 2):
            left, right = chance.sample([_code(cell.key, seed) for cell in two], 2)
            found.append(Trial(content, style, left, right))
    if not found:
        raise InputError("a study needs two methods that have painted the same pair", "name more with --methods")
    chance.shuffle(found)
    return tuple(found[:limit])


def codes(comparison: Comparison, *, seed: int) -> Mapping[str, str]:
    """Method by code."""
    return {_code(cell.key, seed): cell.contender for cell in comparison.cells}


def study_page(comparison: Comparison, asked: tuple[Trial, ...], *, seed: int) -> str:
    """The page: a picture left, one right, photograph and style above; keys choose; answers are saved as CSV."""
    wanted = {code for trial in asked for code in (trial.left, trial.right)}
    pictures = {
        code: data_uri(comparison.file(cell)) for cell in comparison.cells if (code := _code(cell.key, seed)) in wanted
    }
    numbers = {name: f"p{index}" for index, name in enumerate(comparison.pictures)}
    sources = {numbers[name]: data_uri(comparison.folder / file) for name, file in comparison.pictures.items()}
    listed = [
        {
            "content": numbers[f"content/{trial.content}"],
            "style": numbers[f"style/{trial.style}"],
            "left": trial.left,
            "right": trial.right,
        }
        for trial in asked
    ]
    return render("study", {"study": {"study": seed, "trials": listed, "pictures": {**pictures, **sources}}})


def key_csv(comparison: Comparison, *, seed: int) -> str:
    """The picture that each code stands for."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["code", "method", "content", "style"])
    for cell in comparison.cells:
        writer.writerow([_code(cell.key, seed), cell.contender, cell.content, cell.style])
    return file.getvalue()


def read_key(folder: Path) -> Mapping[str, str]:
    """Method by code, as written by `key_csv`; empty when there is no study in the folder.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["code"]: row["method"] for row in csv.DictReader(file)}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged", "write the study again with --study and the same --seed") from error


def _code(key: str, seed: int) -> str:
    """A name that tells nothing, the same whenever the study is written again."""
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()[:10]
