"""Ratings by people: mean opinion scores of ratings, and a Bradley-Terry ranking of blind comparisons.

Raters differ, and one rater's answers hang together; so the uncertainty is taken over raters, not over answers,
wherever there are enough of them.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.settings import close_names

Counts: TypeAlias = NDArray[np.float64]
CONFIDENCE = 0.95
LOWEST, HIGHEST = 1, 5
_RATERS_FOR_CLUSTERS = 3
_MOST_ROUNDS = 10_000
_PRIOR = 0.5


@dataclass(frozen=True)
class Rating:
    """One rater's mark for one method, from 1 (bad) to 5 (excellent)."""

    method: str
    rater: str
    mark: float


@dataclass(frozen=True)
class Opinion:
    """The mean opinion score of a method.

    Attributes:
        method: its name.
        mean: mean over raters of each rater's mean mark, 1 to 5.
        low, high: 95% confidence interval (Student's t over raters); NaN with a single rater.
        raters, ratings: how many.
    """

    method: str
    mean: float
    low: float
    high: float
    raters: int
    ratings: int


@dataclass(frozen=True)
class Answer:
    """One blind choice between two methods; `share` is the first one's: 1 won, 0 lost, 0.5 tie."""

    first: str
    second: str
    share: float
    rater: str = ""


@dataclass(frozen=True)
class Rank:
    """A method in a Bradley-Terry ranking.

    Attributes:
        method: its name.
        strength: natural logarithm of its strength, the mean over methods being 0: it wins against another with
            probability 1 / (1 + exp(other - own)).
        low, high: 95% interval of the bootstrap (percentiles).
        wins: share of its comparisons that it won, ties half.
        answers: comparisons it took part in.
    """

    method: str
    strength: float
    low: float
    high: float
    wins: float
    answers: int


# Reading


def read_ratings(path: Path, methods: Sequence[str], pictures: Mapping[str, str]) -> tuple[Rating, ...]:
    """Read a CSV with the columns rater, rating (1 to 5), and method or picture.

    Args:
        path: the file.
        methods: names that may stand in column method.
        pictures: method of each picture by file name; column picture may leave out the ending.

    Raises:
        InputError: it cannot be read, a column is missing, or a value is not allowed; the line is named.
    """
    rows = _read_csv(path, need=("rater", "rating"), either=("method", "picture"))
    by_picture = {**{Path(file).stem: method for file, method in pictures.items()}, **pictures}
    return tuple(_rating(path, line, row, methods, by_picture) for line, row in rows)


def _rating(
    path: Path, line: int, row: Mapping[str, str], methods: Sequence[str], by_picture: Mapping[str, str]
) -> Rating:
    if row.get("method"):
        method = _one_of(row["method"], methods, "method", path, line)
    else:
        method = by_picture[_one_of(row.get("picture", ""), by_picture, "picture", path, line)]
    try:
        mark = float(row["rating"])
    except ValueError:
        mark = math.nan
    if not LOWEST <= mark <= HIGHEST:
        raise InputError(
            f"{path.name}, line {line}: rating is {row['rating']!r}", f"it takes a number from {LOWEST} to {HIGHEST}"
        )
    if not row["rater"]:
        raise InputError(f"{path.name}, line {line}: no rater is named", "give each rater a name or a number")
    return Rating(method, row["rater"], mark)


def read_answers(path: Path, names: Mapping[str, str]) -> tuple[Answer, ...]:
    """Read a CSV with the columns left, right and choice (left, right or tie); rater is optional.

    Args:
        path: the file.
        names: method by what stands in left and right: the codes of a study, or the methods' own names.

    Raises:
        InputError: it cannot be read, a column is missing, or a value is not allowed; the line is named.
    """
    found = []
    shares = {"left": 1.0, "right": 0.0, "tie": 0.5}
    for line, row in _read_csv(path, need=("left", "right", "choice")):
        choice = _one_of(row["choice"], shares, "choice", path, line)
        first, second = (names[_one_of(row[side], names, side, path, line)] for side in ("left", "right"))
        if first == second:
            raise InputError(f"{path.name}, line {line}: {first} is compared with itself", "take the line out")
        found.append(Answer(first, second, shares[choice], row.get("rater", "")))
    return tuple(found)


def _read_csv(path: Path, *, need: Sequence[str], either: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers, values stripped."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            _check_columns(path, columns, need, either)
            rows = [(reader.line_num, {key: (row[key] or "").strip() for key in columns}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not a table of text with commas"
        raise InputError(f"{path} cannot be read: {reason}", "give a CSV file with a line of column names") from error
    if not rows:
        raise InputError(f"{path} holds no rows", "give at least one line below the column names")
    return rows


def _check_columns(path: Path, columns: Sequence[str], need: Sequence[str], either: Sequence[str]) -> None:
    wanted = ", ".join(need) + (f", and {' or '.join(either)}" if either else "")
    missing = [name for name in need if name not in columns]
    if missing or (either and not set(either) & set(columns)):
        missing = missing or [" or ".join(either)]
        raise InputError(f"{path.name} has no column {missing[0]}", f"it needs {wanted}; it has {', '.join(columns)}")


def _one_of(value: str, known: Iterable[str], column: str, path: Path, line: int) -> str:
    if value not in known:
        raise InputError(f"{path.name}, line {line}: {column} is {value!r}", close_names(value, known))
    return value


# Mean opinion


def opinions(ratings: Iterable[Rating]) -> tuple[Opinion, ...]:
    """Mean opinion scores, best first.

    Each rater's marks of a method are averaged first; the interval is Student's t over these means, which are
    independent where marks of one rater are not.
    """
    marks: dict[str, dict[str, list[float]]] = {}
    for rating in ratings:
        marks.setdefault(rating.method, {}).setdefault(rating.rater, []).append(rating.mark)
    found = []
    for method, by_rater in marks.items():
        means = [statistics.fmean(given) for given in by_rater.values()]
        mean, half = statistics.fmean(means), half_width(means)
        count = sum(len(given) for given in by_rater.values())
        found.append(Opinion(method, mean, mean - half, mean + half, len(means), count))
    return tuple(sorted(found, key=lambda opinion: -opinion.mean))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95% confidence interval of a mean, by Student's t; NaN for a single value."""
    if len(values) < 2:
        return math.nan
    return student_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def student_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t whose central interval holds `confidence` of Student's distribution, by bisection."""
    low, high = 0.0, 1.0
    while _central_share(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_share(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2


def _central_share(t: float, freedom: int) -> float:
    """Probability of [-t, t]. Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom == 1:
        return 2 * angle / math.pi
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


# Bradley-Terry


def rank(answers: Sequence[Answer], *, rounds: int = 500, seed: int = 0) -> tuple[Rank, ...]:
    """A Bradley-Terry ranking, strongest first, with bootstrap intervals.

    Whole raters are drawn again where there are three or more, else single answers. Where some method has only won or
    only lost, no finite strength is the likeliest; then every two methods are given half a tie more, which pulls
    strengths together a little. Draws without such a method missing are treated alike.

    Args:
        answers: at least one.
        rounds: bootstrap draws.
        seed: of the draws.
    """
    methods = sorted({name for answer in answers for name in (answer.first, answer.second)})
    place = {name: index for index, name in enumerate(methods)}
    groups = _groups(answers, place)
    total = np.sum(groups, axis=0)
    strengths = _log_strengths(total)
    generator = np.random.default_rng(seed)
    draws = [
        _log_strengths(np.sum(groups[generator.integers(len(groups), size=len(groups))], axis=0)) for _ in range(rounds)
    ]
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    played = total.sum(1) + total.sum(0)
    found = [
        Rank(name, strengths[i], low[i], high[i], total[i].sum() / played[i], round(played[i]))
        for name, i in place.items()
    ]
    return tuple(sorted(found, key=lambda entry: -entry.strength))


def bradley_terry(wins: Counts) -> Counts:
    """Maximum-likelihood strengths by minorisation-maximisation.

    wins: `(n, n)`, how often row beat column; a tie counts half for both. Returns `(n,)`, above 0, summing to 1.

    Raises:
        InputError: the likelihood has no maximum, since the methods fall into two groups of which one never won
            against the other (Hunter's assumption 1).

    Source: Hunter 2004, "MM algorithms for generalized Bradley-Terry models", eq. 3.
    """
    if not _is_connected(wins):
        raise InputError("some methods have only won or only lost", "collect more answers, or count half a tie for all")
    games = wins + wins.T
    won = wins.sum(1)
    strengths: Counts = np.full(len(wins), 1 / len(wins))
    for _ in range(_MOST_ROUNDS):
        sums = strengths[:, None] + strengths[None, :]
        updated: Counts = won / (games / sums).sum(1)
        updated /= updated.sum()
        if np.abs(np.log(updated / strengths)).max() < 1e-10:
            return updated
        strengths = updated
    return strengths


def _log_strengths(wins: Counts) -> Counts:
    """Centred log strengths; with half a tie between every two where the likelihood has no maximum."""
    if not _is_connected(wins):
        wins = wins + _PRIOR / 2 * (1 - np.eye(len(wins)))
    logs: Counts = np.log(bradley_terry(wins))
    logs -= logs.mean()
    return logs


def has_maximum(answers: Sequence[Answer]) -> bool:
    """Whether the likelihood of these answers has a maximum without help."""
    methods = sorted({name for answer in answers for name in (answer.first, answer.second)})
    return _is_connected(np.sum(_groups(answers, {name: i for i, name in enumerate(methods)}), axis=0))


def _groups(answers: Sequence[Answer], place: Mapping[str, int]) -> Counts:
    """Wins `(groups, n, n)`: a group a rater where there are three or more, else a group an answer."""
    raters = list(dict.fromkeys(answer.rater for answer in answers))
    by_rater = len(raters) >= _RATERS_FOR_CLUSTERS
    of: Callable[[int, Answer], int] = (lambda _, answer: raters.index(answer.rater)) if by_rater else (lambda i, _: i)
    counts = np.zeros((len(raters) if by_rater else len(answers), len(place), len(place)))
    for index, answer in enumerate(answers):
        first, second, group = place[answer.first], place[answer.second], of(index, answer)
        counts[group, first, second] += answer.share
        counts[group, second, first] += 1 - answer.share
    return counts


def _is_connected(wins: Counts) -> bool:
    """Whether a chain of wins leads from every method to every other."""
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(max(2, len(wins)))))):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())
