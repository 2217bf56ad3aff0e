"""The seam between comparisons and scores: which there are, which way is better, and how a picture gets them.

Everything else asks here, so that other scores come in at one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.assets import Store
from impasto.errors import InputError
from impasto.metrics import METRICS, Judge, names_of
from impasto.metrics import SCORES as DEFAULT_SCORES
from impasto.settings import close_names

Floats: TypeAlias = NDArray[np.float32]
Scorer: TypeAlias = Callable[[Floats, Floats, Floats], Mapping[str, float]]
"""Content, style and pastiche `(H, W, 3)` in [0, 1]; returns scores by name."""

_ARROWS = {"lower": "↓", "higher": "↑", "none": ""}


@dataclass(frozen=True)
class Score:
    """One score for people.

    Attributes:
        key: its name everywhere.
        summary: one line.
        direction: "lower" or "higher" is better, or "none".
    """

    key: str
    summary: str
    direction: str = "lower"

    @property
    def heading(self) -> str:
        """Name and direction, such as "style distance ↓"."""
        return f"{self.key.replace('_', ' ')} {_ARROWS[self.direction]}".strip()

    def best(self, values: Sequence[float]) -> float | None:
        """The best of several values; None where no direction is better or nothing is known."""
        known = [value for value in values if np.isfinite(value)]
        if self.direction == "none" or not known:
            return None
        return min(known) if self.direction == "lower" else max(known)


SCORES: Mapping[str, Score] = {
    name: Score(name, METRICS[name].summary, METRICS[name].direction) for name in names_of("picture")
}


def find_scores(names: str | None) -> tuple[Score, ...]:
    """Read a list of scores such as "style_distance,content_error"; None takes the default ones.

    Raises:
        InputError: there is no such score.
    """
    listed = DEFAULT_SCORES if names is None else tuple(name.strip() for name in names.split(",") if name.strip())
    for name in listed:
        if name not in SCORES:
            raise InputError(f"there is no metric {name!r}", close_names(name, SCORES))
    if not listed:
        raise InputError("no metric was named", f"--metrics takes names with commas: {', '.join(SCORES)}")
    return tuple(SCORES[name] for name in dict.fromkeys(listed))


def scorer(store: Store, scores: Sequence[Score]) -> Scorer:
    """A function that computes these scores of a picture; weights are loaded for the first one."""
    names = [score.key for score in scores]
    judges: list[Judge] = []

    def score(content: Floats, style: Floats, pastiche: Floats) -> Mapping[str, float]:
        if not judges:
            judges.append(Judge(store=store))
        return judges[0].measure(content, style, pastiche, names)

    return score
