"""The record of how a saved picture was made, validated when it is read.

A record comes with the picture, and a picture may come from anyone: types, bounds and names are checked by the rules of
the settings themselves, and files are known by their names alone, so that a record opens nothing but what lies beside
the picture or is given by the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from impasto import settings
from impasto.device import PRECISIONS
from impasto.engine.controls import Controls
from impasto.errors import InputError, quoted
from impasto.images import MAX_SIDE
from impasto.methods import recipes, registry

COLOR = "color"
"""In a record, the method of a picture whose colours alone were moved."""

_LONGEST_TEXT, _LONGEST_NAME = 1000, 255  # characters; bytes of a file's name
_MOST_STYLES, _LARGEST_WEIGHT = 100, 1e30
_SMALLEST_SIDE = 8

Weighted = tuple[tuple[str, float], ...]
"""Styles, each with its weight."""


@dataclass(frozen=True)
class Record:
    """The settings of a saved picture.

    Attributes:
        content: file name of the photograph; empty where it was no file.
        pixels: digest of the photograph at the size of the picture.
        styles: of the whole picture: library ids, or file names, `FILE:NAME` for one of a trained network.
        controls: masks in it are file names or words; regions pair masks with lists of such styles.
        method: a registered method, or `COLOR`.
        quality: one of `recipes.QUALITIES`.
        knobs: of the method, by name, all legal.
        init: file name of the image that it started from, where that was a file.
        width, height: in pixels.
        precision: one of `device.PRECISIONS`.
        texture: whether it is a texture, which has no photograph.
        seamless: whether a texture is one.
        drop_gps: whether the place was left out of the metadata.
    """

    content: str
    pixels: str
    styles: Weighted
    controls: Controls
    method: str
    quality: str
    knobs: Mapping[str, Any]
    init: str | None
    width: int
    height: int
    precision: str
    texture: bool = False
    seamless: bool = False
    drop_gps: bool = False

    @property
    def row(self) -> registry.Method:
        """The method whose settings `knobs` are."""
        return _row(self.method)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Record:
        """Check a record as it was read; names that are not known are passed over.

        Raises:
            InputError: something is missing, of the wrong type or out of bounds.
        """
        content, texture = _mapping(values, "content"), values.get("texture")
        made = {} if texture is None else _mapping(values, "texture")
        method = _text(values, "method", most=100)
        knobs = _knobs(method, _mapping(values, "knobs"))
        styles, controls = _styles(values, "styles"), _controls(values)
        count = len(styles) + sum(len(own) for _, own in controls.regions)
        if not 1 <= count <= _MOST_STYLES:
            raise InputError(f"it names {count} styles", _HINT)
        return cls(
            content=_name(_text(content, "name")),
            pixels=_text(content, "pixels"),
            styles=styles,
            controls=controls,
            method=method,
            quality=_choice(values, "quality", recipes.QUALITIES),
            knobs=knobs,
            init=_init(values.get("init"), knobs),
            width=_whole(values, "width", _SMALLEST_SIDE, MAX_SIDE),
            height=_whole(values, "height", _SMALLEST_SIDE, MAX_SIDE),
            precision=_choice(values, "precision", PRECISIONS),
            texture=texture is not None,
            seamless=texture is not None and _flag(made, "seamless"),
            drop_gps=_flag(values, "drop_gps"),
        )


_HINT = "give a picture as impasto has saved it"


def name_alone(name: str) -> str:
    """A file's name, or `FILE:NAME`, without its folders, whichever system wrote it."""
    return re.split(r"[/\\]", name)[-1]


def _wrong(where: str, value: Any) -> InputError:
    return InputError(f"its {where} is {quoted(value)}", _HINT)


def _mapping(values: Mapping[str, Any], where: str, *, default: Any = None) -> Mapping[str, Any]:
    value = values.get(where, default)
    if not isinstance(value, Mapping):
        raise _wrong(where, value)
    return value


def _rows(values: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]]:
    rows = values.get(where, [])
    if not isinstance(rows, list) or len(rows) > _MOST_STYLES or not all(isinstance(row, Mapping) for row in rows):
        raise _wrong(where, rows)
    return rows


def _text(values: Mapping[str, Any], where: str, *, most: int = _LONGEST_TEXT) -> str:
    value = values.get(where)
    if not isinstance(value, str) or len(value) > most:
        raise _wrong(where, value)
    return value


def _choice(values: Mapping[str, Any], where: str, choices: Sequence[str]) -> str:
    value = _text(values, where)
    if value not in choices:
        raise _wrong(where, value)
    return value


def _flag(values: Mapping[str, Any], where: str) -> bool:
    value = values.get(where, False)
    if not isinstance(value, bool):
        raise _wrong(where, value)
    return value


def _whole(values: Mapping[str, Any], where: str, low: int, high: int) -> int:
    value = values.get(where)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(where, value)
    return value


def _weight(values: Mapping[str, Any]) -> float:
    value = values.get("weight")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LARGEST_WEIGHT:
        raise _wrong("weight", value)
    return float(value)


def _name(text: str) -> str:
    """A file's name without its folders; empty where there was no file."""
    name = name_alone(text)
    if name in (".", "..") or len(name.encode("utf-8", "replace")) > _LONGEST_NAME or "\0" in name:
        raise _wrong("file name", text)
    return name


def _styles(values: Mapping[str, Any], where: str) -> Weighted:
    return tuple((_name(_text(row, "id")), _weight(row)) for row in _rows(values, where))


def _regions(values: Mapping[str, Any]) -> tuple[tuple[str, Weighted], ...]:
    regions = tuple((_name(_text(row, "mask")), _styles(row, "styles")) for row in _rows(values, "regions"))
    for mask, styles in regions:
        if not mask or not styles:
            raise _wrong("regions", values.get("regions"))
    return regions


def _controls(values: Mapping[str, Any]) -> Controls:
    given = _mapping(values, "controls", default={})
    unknown = set(given) - {field.name for field in fields(Controls)} | {"regions"} & set(given)
    if unknown:
        raise InputError(f"it has a control {quoted(min(unknown))}, which is not known", "upgrade impasto")
    masks = {name: _name(_text(given, name)) for name in ("preserve", "strength_map") if given.get(name) is not None}
    controls = Controls(
        keep_color=None if given.get("keep_color") is None else _text(given, "keep_color", most=100),
        color_only=_flag(given, "color_only"),
        match_regions=_flag(given, "match_regions"),
        regions=_regions(values),
        feather=given.get("feather", 0.0),
        protect_faces=given.get("protect_faces"),
        **masks,
    )
    controls.check()
    return controls


def _row(method: str) -> registry.Method:
    return registry.find(recipes.DRAFT_METHOD if method == COLOR else method)


def _knobs(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in their types. A file among them is known by its name alone."""
    row = _row(method)
    cls = row.load_knobs()
    settings.build(cls, values, owner=row.name)
    return settings.with_files(cls, {name: value for name, value in values.items() if value is not None}, _name)


def _init(value: Any, knobs: Mapping[str, Any]) -> str | None:
    if (value is None) == (knobs.get("init") == "file"):
        raise _wrong("image to start from", value)
    return None if value is None else _name(_text({"init": value}, "init"))
