"""Bands: within which limits the scores of a setting lie over a picture set, with its time and memory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from impasto.report.cells import Cell
from impasto.report.scoring import Score


def band(cells: Sequence[Cell], scores: Sequence[Score]) -> dict[str, Any]:
    """One row: median seconds, the greatest peak of memory, and the mean, least and greatest of each score.

    Args:
        cells: one setting's pictures, one a pair.
        scores: which of theirs.
    """
    peaks = [cell.peak_bytes for cell in cells if cell.peak_bytes is not None]
    row: dict[str, Any] = {
        "pairs": len(cells),
        "seconds": statistics.median(cell.seconds for cell in cells),
        "peak_mb": max(peaks) / 1e6 if peaks else None,
    }
    for score in scores:
        values = [cell.scores[score.key] for cell in cells]
        row |= {
            score.key: statistics.fmean(values),
            f"{score.key}_least": min(values),
            f"{score.key}_most": max(values),
        }
    return row
