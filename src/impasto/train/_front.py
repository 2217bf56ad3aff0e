"""What a search has found: the Pareto front of speed and loss as a table and a plot, and the winner."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from impasto.errors import require
from impasto.files import write_whole
from impasto.models import network_specs
from impasto.models.network_specs import NetworkSpec

TABLE, PLOT = "front.csv", "front.png"
_QUICKER = 1.03  # times the reference's speed: plainly more than two timings of one network differ by
_BETTER = 0.98  # of its loss


@dataclass(frozen=True)
class Outcome:
    """One network that was trained to the end.

    Attributes:
        spec: its shape.
        speed: as a ratio to the reference's; above 1 for a quicker one.
        losses: on photographs that were held back, by name; `loss` is the one that counts.
        parameters: their number, without codes.
        by_step: the loss at each validation.
        reference: whether this is the reference.
    """

    spec: NetworkSpec
    speed: float
    losses: Mapping[str, float]
    parameters: int
    by_step: Mapping[str, float]
    reference: bool = False

    def as_plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Outcome:
        """What `as_plain` made, also after JSON."""
        return cls(**{**values, "spec": network_specs.of_plain(values["spec"])})

    @property
    def loss(self) -> float:
        """What counts."""
        return self.losses["loss"]


def front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other beats on one axis at no loss on the other, the quickest first."""
    best, found = float("inf"), []
    for one in sorted(outcomes, key=lambda one: (-one.speed, one.loss)):
        if one.loss < best:
            best = one.loss
            found.append(one)
    return found


def winner(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The network that beats the reference by most: plainly on one axis, at no loss on the other; None if none does."""
    reference = next(one for one in outcomes if one.reference)
    no_worse = [one for one in outcomes if one.speed >= 1 and one.loss <= reference.loss and not one.reference]
    beating = [one for one in no_worse if one.speed >= _QUICKER or one.loss <= _BETTER * reference.loss]
    return max(beating, key=lambda one: one.speed * reference.loss / one.loss, default=None)


def write(folder: Path, outcomes: Sequence[Outcome], name: str, title: str) -> tuple[Path, Path, Path | None]:
    """Write the table, the plot, and the winner's file, if there is one.

    Args:
        folder: of the search.
        outcomes: with the reference.
        name: of the winner.
        title: what was timed, for people.
    """
    best = winner(outcomes)
    write_whole(folder / TABLE, _table(outcomes, best))
    _plot(folder / PLOT, outcomes, best, title)
    path = folder / f"{name}{network_specs.SUFFIX}"
    if best is None:
        path.unlink(missing_ok=True)
        return folder / TABLE, folder / PLOT, None
    network_specs.write(path, replace(best.spec, name=name))
    return folder / TABLE, folder / PLOT, path


def _table(outcomes: Sequence[Outcome], best: Outcome | None) -> str:
    on_front = {id(one) for one in front(outcomes)}
    rows = [
        {
            "network": one.spec.name if one.reference else "",
            "on_front": id(one) in on_front,
            "winner": one is best,
            "speed": round(one.speed, 3),
            **{name: round(value, 4) for name, value in one.losses.items()},
            "parameters": one.parameters,
            **{key: _written(value) for key, value in asdict(one.spec).items() if key not in _UNTOLD},
        }
        for one in sorted(outcomes, key=lambda one: -one.speed)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_UNTOLD = ("name", "summary", "paper")


def _written(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _plot(path: Path, outcomes: Sequence[Outcome], best: Outcome | None, title: str) -> None:
    figure = require("matplotlib.figure", "search").Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    others = [one for one in outcomes if not one.reference and one is not best]
    axes.scatter([one.speed for one in others], [one.loss for one in others], color="0.6", label="networks")
    along = front(outcomes)
    axes.plot([one.speed for one in along], [one.loss for one in along], color="tab:blue", label="front")
    named = {"reference": next(one for one in outcomes if one.reference), "winner": best}
    for (label, one), marker in zip(named.items(), ("s", "*"), strict=True):
        if one is not None:
            axes.scatter([one.speed], [one.loss], marker=marker, s=90, zorder=3, label=label)
    axes.set(xlabel="speed, reference = 1", ylabel="loss on photographs held back", title=title)
    axes.legend()
    axes.grid(alpha=0.3)
    with io.BytesIO() as data:
        figure.savefig(data, format=path.suffix[1:], dpi=120)
        write_whole(path, data.getvalue())
