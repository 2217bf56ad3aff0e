"""Recipes: what draft, good and best mean, as methods in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from impasto import settings
from impasto.errors import InputError
from impasto.methods import registry
from impasto.methods.settings import OptimizeKnobs
from impasto.models import encoder_specs

DRAFT_METHOD = "adain"
WORDS_METHOD = "clip"
"""The method, and the setting that chooses it."""

QUALITIES = ("draft", "good", "best")
DEFAULT_QUALITY = "good"

# Measured in bench/NOTES.md. The content layer is not Gatys' relu4_2: at equal style distance the photograph stays more
# readable. Both begin without the photograph's fine detail and far smaller than they end, so that all of it is painted.
_PAINTED: Mapping[str, Any] = {
    "content_layers": ("relu4_1",),
    "coarsest": 128,
    "detail": 0.0,
    "octaves": 3,
    "deep_style": 0.1,
}
_PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "optimize": {
        "good": {"steps": 24, **_PAINTED, "stroke_weight": 1.5, "content_weight": 2.0, "coarse_content": 3.0},
        "best": {"steps": 80, **_PAINTED, "stroke_weight": 1.5, "content_weight": 1.45, "coarse_content": 3.5},
    },
    "clip": {"good": {"steps": 100}, "best": {"steps": 200}},
}
# The photorealistic canvas moves colours, so there is nothing to paint anew, and no stroke.
_PHOTOREALISTIC: Mapping[str, Any] = {"steps": 20, "content_layers": ("relu4_1",)}
_PHOTOGRAPHIC = ("recolored", "content", "content+noise")  # starts whose detail is the photograph's
_AUTO = {"draft": DRAFT_METHOD, "good": "optimize", "best": "optimize"}


@dataclass(frozen=True)
class Stage:
    """One method of a recipe with its settings."""

    method: registry.Method
    knobs: settings.Knobs


def plan(method: str, quality: str | None, values: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a job, in order; each starts from the picture of the one before.

    Args:
        method: a registered method, or "auto" to let the quality choose.
        quality: one of QUALITIES; None is "good".
        values: knobs by name, of the last method; those that the draft has too go to both.

    Raises:
        InputError: an unknown method or quality, a knob that the method lacks, or a quality that it does not have.
    """
    row = registry.find(chosen(method, quality, values))
    given_quality, quality = quality, quality or DEFAULT_QUALITY
    if row.kind == "objective" and quality == "draft":
        raise InputError(f"method {row.name} has no quality draft", "use --quality good, or --method adain")
    if given_quality not in (None, "draft") and row.kind == "map":
        raise InputError(f"method {row.name} paints in one pass and has one quality", "leave out --quality")
    given = {name: value for name, value in values.items() if value is not None}
    knobs = settings.build(row.load_knobs(), {**_presets(row.name, quality, given), **given}, owner=row.name)
    if isinstance(knobs, OptimizeKnobs):
        _check_detail(knobs)
        encoder_specs.find(knobs.encoder).check((*knobs.style_layers, *knobs.content_layers))
    last = Stage(row, knobs)
    drafted = knobs.init == "draft" and knobs.canvas == "pixels"
    return (_draft(given), last) if drafted else (last,)


def chosen(method: str, quality: str | None, values: Mapping[str, Any]) -> str:
    """The name of the method that `auto` stands for; any other stands for itself.

    Raises:
        InputError: an unknown quality.
    """
    quality = quality or DEFAULT_QUALITY
    if quality not in QUALITIES:
        raise InputError(f"there is no quality {quality!r}", f"it is one of {', '.join(QUALITIES)}")
    if method != "auto":
        return method
    return WORDS_METHOD if values.get(WORDS_METHOD) is not None else _AUTO[quality]


def presets(method: str, quality: str) -> dict[str, Any]:
    """The values that a quality sets for a method, where the user gives none."""
    return _presets(method, quality, {})


def _presets(method: str, quality: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a quality sets, unless the user does."""
    presets = dict(_PRESETS.get(method, {}).get(quality, {}))
    if method != "optimize":
        return presets
    if given.get("canvas") == "photorealistic":
        presets = dict(_PHOTOREALISTIC)
    if "encoder" in given:
        presets |= encoder_specs.presets(str(given["encoder"]))
    if {**presets, **given}.get("init", "recolored") not in _PHOTOGRAPHIC:
        presets["detail"] = 1.0  # of a photograph that the descent does not begin with, nothing is to be taken away
    return presets


def _check_detail(knobs: OptimizeKnobs) -> None:
    """Refuse to take detail away where the descent does not begin with the photograph, or keeps all of it."""
    if knobs.detail == 1:
        return
    if knobs.canvas == "photorealistic":
        raise InputError("--canvas photorealistic keeps all the photograph's detail", "leave out --detail or --canvas")
    if knobs.init not in _PHOTOGRAPHIC:
        raise InputError(
            f"--detail is a share of the photograph's, and --init {knobs.init} starts from something else",
            "leave out --detail or --init",
        )


def default_of(method: str, knob: settings.Knob) -> str:
    """A setting's default in words; where the qualities differ, each with its own."""
    presets = {
        quality: values[knob.name] for quality, values in _PRESETS.get(method, {}).items() if knob.name in values
    }
    if not presets:
        return _in_words(knob.default)
    named = {quality: _in_words(presets.get(quality, knob.default)) for quality in _PRESETS[method]}
    if len(set(named.values())) == 1:
        return next(iter(named.values()))
    return ", ".join(f"{quality} {value}" for quality, value in named.items())


def _in_words(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def mixtures(styles: int, steps: int) -> list[tuple[float, ...]]:
    """Shares of each style over a sheet, row by row.

    Two styles give a strip of `steps` from the first to the second; four a square of `steps` rows, a style at each
    corner (top left, top right, bottom left, bottom right), bilinear between.
    """
    along = [index / (steps - 1) for index in range(steps)]
    if styles == 2:
        return [(1 - x, x) for x in along]
    return [((1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x) for y in along for x in along]


def round_trip(styles: int, frames: int) -> list[tuple[float, ...]]:
    """Shares of each style over a loop from each to the next and back to the first, `frames` between two styles."""
    shares = []
    for index in range(styles):
        for frame in range(frames):
            one = [0.0] * styles
            one[index] = 1 - frame / frames
            one[(index + 1) % styles] += frame / frames
            shares.append(tuple(one))
    return shares


def _draft(values: Mapping[str, Any]) -> Stage:
    row = registry.find(DRAFT_METHOD)
    cls = row.load_knobs()
    known = {knob.name for knob in settings.knobs_of(cls)}
    return Stage(row, settings.build(cls, {name: v for name, v in values.items() if name in known}, owner=row.name))
