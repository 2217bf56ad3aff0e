"""Sweeps: one method over a grid of its knobs, to choose defaults by evidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from impasto import settings
from impasto.errors import InputError
from impasto.methods import registry
from impasto.report.contenders import Contender

_MOST = 200


def grid(method: str, knobs: Sequence[str], *, quality: str | None = None) -> tuple[Contender, ...]:
    """A contender for each combination of values.

    Args:
        method: a registered method.
        knobs: such as "style_weight=0.5,1,2"; values of a knob that is itself a list are parted by semicolons.
        quality: whose presets hold for all other knobs.

    Raises:
        InputError: no such method or knob, a value that it refuses, a knob given twice, or too many combinations.
    """
    row = registry.find(method)
    known = {knob.name: knob for knob in settings.knobs_of(row.load_knobs())}
    values: dict[str, list[Any]] = {}
    for text in knobs:
        name, listed = _read(text, known, method)
        if name in values:
            raise InputError(f"--knob {name} is given twice", "give all its values in one")
        values[name] = listed
    if not values:
        raise InputError("no knob to sweep was given", "add --knob, such as --knob style_weight=0.5,1,2")
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    if len(combinations) > _MOST:
        raise InputError(f"that makes {len(combinations)} combinations", f"sweep at most {_MOST} at once")
    return tuple(Contender(_label(chosen), method, quality, chosen) for chosen in combinations)


def rows(contenders: Sequence[Contender], summed: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a combination: its knobs, then what was measured of it.

    Args:
        contenders: of `grid`.
        summed: figures by contender.
    """
    return [
        {"method": one.method, **{name: _plain(value) for name, value in one.knobs.items()}, **summed[one.name]}
        for one in contenders
        if one.name in summed
    ]


def _read(text: str, known: Mapping[str, settings.Knob], method: str) -> tuple[str, list[Any]]:
    name, equals, listed = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if name not in known:
        raise InputError(f"method {method} has no knob {name!r}", settings.close_names(name, known))
    if not equals or not listed.strip():
        raise InputError(f"--knob {text} has no values", f"write --knob {name}=VALUE,VALUE")
    knob = known[name]
    parts = listed.split(";" if knob.type is tuple else ",")
    return name, list(dict.fromkeys(knob.check(part.strip()) for part in parts))


def _label(chosen: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_plain(value)}" for name, value in chosen.items())


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return "+".join(value)
    return f"{value:g}" if isinstance(value, float) else value
