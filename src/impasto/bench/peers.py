"""`bench peers`: ours and what a user would pick instead, on the same pictures in one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from impasto.bench.sets import Pairs
from impasto.bench.timing import Timings, time_in_turns
from impasto.contract import OnProgress, Progress, ignore
from impasto.report.cells import Floats, Paint, Subject
from impasto.report.contenders import Contender
from impasto.report.scoring import Score, Scorer

_REFERENCES = ("reference-adain", "reference-gatys")


def peers(
    contenders: Sequence[Contender],
    pairs: Pairs,
    *,
    runs: int,
    paint: Paint,
    score: Scorer,
    scores: Sequence[Score],
    on_device: str = "cpu",
    on_progress: OnProgress = ignore,
) -> list[dict[str, Any]]:
    """Time and score all on all pairs.

    Args:
        contenders: who paints.
        pairs: content and style.
        runs: counted rounds of each pair; all paint in turn within a round.
        paint: paints a picture.
        score: gives a picture its scores.
        scores: which of them.
        on_device: whose memory is watched.
        on_progress: called after each pair.

    Returns:
        One row a contender: median seconds over pairs of their medians, the greatest spread and peak of memory, mean
        scores, and how many times quicker it is than each plain reference that took part.
    """
    timings: dict[str, list[Timings[Floats]]] = {one.name: [] for one in contenders}
    marks: dict[str, list[dict[str, float]]] = {one.name: [] for one in contenders}
    for index, (content, style) in enumerate(pairs):
        on_progress(Progress("racing", index, len(pairs), "pair"))
        for contender in contenders:
            paint.prepare(contender, content.pixels, style.pixels)
        runners = {one.name: _runner(paint, one, content, style, on_progress) for one in contenders}
        for name, lap in time_in_turns(runners, runs=runs, on_device=on_device).items():
            assert lap.last is not None
            timings[name].append(lap)
            marks[name].append(dict(score(content.pixels, style.pixels, lap.last)))
    on_progress(Progress("racing", len(pairs), len(pairs), "pair"))
    rows = [_row(one, timings[one.name], marks[one.name], scores) for one in contenders]
    for row in rows:
        for reference in _REFERENCES:
            plain = next((other["seconds"] for other in rows if other["contender"] == reference), None)
            if plain is not None:
                row[f"times_faster_than_{reference.replace('-', '_')}"] = plain / row["seconds"]
    return rows


def _runner(
    paint: Paint, contender: Contender, content: Subject, style: Subject, on_progress: OnProgress
) -> Callable[[], Floats]:
    def run(listen: OnProgress) -> Floats:
        return paint(contender, content.pixels, style.pixels, listen).pixels

    return partial(run, _only_cancelling(on_progress))


def _only_cancelling(on_progress: OnProgress) -> OnProgress:
    """Passes reports on as signs of life, so that the caller can stop; their count is not the benchmark's."""
    return lambda report: on_progress(Progress("racing", 0, 0, report.unit))


def _row(
    contender: Contender, timings: Sequence[Timings[Floats]], marks: Sequence[dict[str, float]], scores: Sequence[Score]
) -> dict[str, Any]:
    peaks = [lap.peak_mb for lap in timings if lap.peak_mb is not None]
    return {
        "benchmark": "peers",
        "contender": contender.name,
        "seconds": statistics.median(lap.median for lap in timings),
        "spread": max(lap.spread for lap in timings),
        "peak_mb": max(peaks, default=None),
        **{one.key: statistics.fmean(mark[one.key] for mark in marks) for one in scores},
        "pairs": len(timings),
        "runs": len(timings[0].seconds),
    }
