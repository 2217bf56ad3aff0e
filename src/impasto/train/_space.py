"""Which networks a search chooses among."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import optuna

from impasto.models.network_specs import NetworkSpec

_WIDTHS = ((8, 12, 16, 20, 24, 32), (16, 24, 32, 40, 48, 64), (24, 32, 40, 48, 64, 80, 96))
"""Channels after the stem and after each halving."""

_BLOCKS = {"plain": (False, 1.0), "separable": (True, 1.0), "narrow": (True, 0.5), "wide": (True, 2.0)}
"""Types of residual blocks: whether their convolutions are split; channels inside as a share of those outside."""

_STEMS = (3, 5, 7)
_TAILS = (0, 4, 8, 12, 16)
"""Channels at full size; 0 where the last doubling makes the colours."""

_MOST_BLOCKS = 6


def suggested(trial: optuna.Trial) -> NetworkSpec:
    """The network of a trial."""
    levels = trial.suggest_int("levels", 2, len(_WIDTHS))
    widths = tuple(trial.suggest_categorical(f"width{at}", _WIDTHS[at]) for at in range(levels))
    blocks = trial.suggest_int("blocks", 1, _MOST_BLOCKS)
    separable, inside = _BLOCKS[trial.suggest_categorical("block", tuple(_BLOCKS))]
    stride = trial.suggest_categorical("stem_stride", (2, 1))
    stem = trial.suggest_categorical("stem", _STEMS)
    tail = trial.suggest_categorical("tail", _TAILS) if stride == 2 else 0
    inner = round(inside * widths[-1])
    return NetworkSpec(
        name="",
        summary="found by impasto train search",
        widths=widths,
        blocks=blocks,
        separable=separable,
        stem=stem,
        stem_stride=stride,
        head=3 if stride == 1 or tail else 0,
        last=tail,
        skip=trial.suggest_categorical("skip", (True, False)),
        inner=() if inside == 1 else (inner,) * blocks,
    )


def first_guesses(reference: NetworkSpec) -> Iterator[Mapping[str, Any]]:
    """What is tried first: the reference with one thing changed, so far as it lies among the choices."""
    params: dict[str, Any] = {
        "levels": len(reference.widths),
        **{f"width{at}": width for at, width in enumerate(reference.widths)},
        "blocks": reference.blocks,
        "block": "separable" if reference.separable else "plain",
        "stem_stride": reference.stem_stride,
        "stem": reference.stem,
        "tail": reference.last,
        "skip": reference.skip,
    }
    if reference.inner or reference.ups or not _is_among_choices(params):
        return
    wider = _next_width(reference.widths[0])  # what is saved at full size may go there
    changes: list[dict[str, Any]] = [
        {"tail": 0},
        {"tail": 0, "width0": wider},
        {"tail": 0, "width0": _next_width(wider)},
        {"tail": 0, "blocks": reference.blocks + 2},
        {"tail": 4},
        {"stem": 3},
    ]
    for change in changes:
        changed = {**params, **change}
        if changed != params and _is_among_choices(changed):
            yield changed


def _next_width(width: int) -> int:
    """Channels after the stem, half as many again or so."""
    return next((one for one in _WIDTHS[0] if one >= 1.3 * width), _WIDTHS[0][-1])


def _is_among_choices(params: Mapping[str, Any]) -> bool:
    levels = params["levels"]
    return (
        2 <= levels <= len(_WIDTHS)
        and all(params[f"width{at}"] in _WIDTHS[at] for at in range(levels))
        and 1 <= params["blocks"] <= _MOST_BLOCKS
        and params["stem"] in _STEMS
        and params["tail"] in _TAILS
    )


def key(spec: NetworkSpec) -> str:
    """A name for the files of a network's trial, by its shape."""
    shape = {name: value for name, value in asdict(spec).items() if name not in ("name", "summary", "paper")}
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:12]
