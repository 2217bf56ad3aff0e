"""How near pictures by a network that has learnt a handful of paintings come to other paintings of the same artist."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from impasto.assets import load_weights
from impasto.assets.library import Library
from impasto.contract import OnProgress, Placement, Progress, ignore
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.metrics import SCORES, Judge
from impasto.models import catalog
from impasto.report.cells import Floats, Subject
from impasto.train import StyleTraining, train

_PHOTOGRAPH, _NEAREST, _DRAFT, _LEARNT = "the photograph", "nearest of the pack", "draft", "learnt"
_BLANK: Mapping[str, Any] = {
    "handful": "",
    "examples": 0,
    "way": "",
    "style": "",
    **dict.fromkeys(("seconds", "processor_seconds", "to_examples", "nearer_than_draft")),
}  # the columns that not every row fills


@dataclass(frozen=True)
class Handful:
    """Paintings that one style stands for.

    Attributes:
        name: as it was given.
        style: what the engine takes.
        pixels: of its paintings, `(H, W, 3)` each.
        training: learns them alone, from the pack.
    """

    name: str
    style: Any
    pixels: Sequence[Floats]
    training: StyleTraining


def examples(
    handfuls: Sequence[Handful],
    unseen: Sequence[Subject],
    photographs: Sequence[Subject],
    *,
    engine: Engine,
    judge: Judge,
    placement: Placement,
    keep: Callable[[str, Floats], None],
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """A row for the photographs, and three for each handful: the pack's nearest style, a draft, and what was learnt.

    Scores are means over all photographs and unseen paintings; `to_examples` is the style distance to the handful's
    own, and `nearer_than_draft` the share of pairs in which the style distance is less than the draft's.

    Args:
        handfuls: what is learnt, one after another.
        unseen: paintings by the same artist, in no handful.
        photographs: what is painted.
        engine: paints.
        judge: scores.
        placement: of the training.
        keep: is given a name and the pixels of each picture.
        on_progress: hears of it, and may cancel by raising Cancelled.
    """
    photos = {one.name: one.pixels for one in photographs}
    rows = [{**_BLANK, **_row(_PHOTOGRAPH, photos, photos, unseen, judge, on_progress)[0]}]
    for handful in handfuls:
        about = {**_BLANK, "handful": handful.name, "examples": len(handful.pixels)}
        result, seconds, processor = _learnt(handful, engine, placement, on_progress)
        ways = {
            _NEAREST: _nearest(handful, engine, judge, on_progress),
            _DRAFT: handful.style,
            _LEARNT: f"{result}:{handful.training.training_styles[0].name}",
        }
        base: list[float] = []
        for way, style in ways.items():
            painted = {}
            for name, pixels in photos.items():
                painted[name] = engine.stylize(pixels, style, Request(quality="draft")).picture.pixels
                keep(f"{handful.name}-{way}-{name}", painted[name])
            row, distances = _row(way, photos, painted, unseen, judge, on_progress)
            base = distances if way == _DRAFT else base
            row["to_examples"] = fmean(
                judge.measure(photos[name], example, pixels, ["style_distance"])["style_distance"]
                for name, pixels in painted.items()
                for example in handful.pixels
            )
            if way == _NEAREST:
                row["style"] = str(style)
            if way == _LEARNT:
                nearer = [ours < theirs for ours, theirs in zip(distances, base, strict=True)]
                row |= {"nearer_than_draft": fmean(nearer), "seconds": seconds, "processor_seconds": processor}
            rows.append({**about, **row})
    return rows


def _learnt(
    handful: Handful, engine: Engine, placement: Placement, on_progress: OnProgress
) -> tuple[Path, float, float]:
    """The network's file, and the seconds that it took: by the clock, and of processor time."""
    weights = {asset: load_weights(engine.store, asset, on_progress=on_progress) for asset in handful.training.assets}
    started, used = time.perf_counter(), time.process_time()
    result = train(handful.training, weights=weights, placement=placement, on_progress=on_progress)
    return result.path, time.perf_counter() - started, time.process_time() - used


def _nearest(handful: Handful, engine: Engine, judge: Judge, on_progress: OnProgress) -> str:
    """The style of the pack whose own painting is nearest to the handful by style distance."""
    library, found = Library(engine.store), {}
    for done, style in enumerate(catalog.pack()):
        on_progress(Progress("comparing with the pack", done, len(catalog.pack()), "style"))
        painting = library.read(library.find(style.painting)).pixels
        distances = (judge.measure(one, one, painting, ["style_distance"]) for one in handful.pixels)
        found[style.id] = fmean(one["style_distance"] for one in distances)
    return min(found, key=lambda name: found[name])


def _row(
    way: str,
    photos: Mapping[str, Floats],
    painted: Mapping[str, Floats],
    unseen: Sequence[Subject],
    judge: Judge,
    on_progress: OnProgress,
) -> tuple[dict[str, Any], list[float]]:
    """The means, and the style distance of each pair."""
    found: list[Mapping[str, float]] = []
    for done, painting in enumerate(unseen):
        on_progress(Progress(f"scoring: {way}", done, len(unseen), "painting"))
        found += [judge.measure(photos[name], painting.pixels, pixels, SCORES) for name, pixels in painted.items()]
    means = {name: fmean(one[name] for one in found) for name in SCORES}
    return {"way": way, "unseen": len(unseen), **means}, [one["style_distance"] for one in found]
