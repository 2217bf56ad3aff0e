"""The record of painted letters: what is written into the picture, and what is read of it to paint it again.

As `engine.record` says, a record may come from anyone: all values pass the checks of `Lettering`, and files are known
by their names alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from impasto.device import PRECISIONS
from impasto.engine.record import name_alone
from impasto.errors import InputError, quoted
from impasto.lettering.effects import Example
from impasto.lettering.fonts import ENDINGS
from impasto.lettering.settings import Lettering
from impasto.lettering.typesetting import Setting
from impasto.lettering.zones import ZONES, Zone

_HINT = "give a picture as impasto has saved it"
_KNOBS = ("strength", "style_scale", "steps")
_NUMBERS = ("outline_width", "reach", "legibility")
_MOST_STYLES = 100
_LONGEST = 1000  # characters


def with_letters(
    record: Mapping[str, Any], lettering: Lettering, *, contrast: float, example: Example | None = None
) -> dict[str, Any]:
    """The record of a result with all that makes its letters again.

    contrast: how far they stand out, see `tones.contrast`. example: of the effect that they have.
    """
    setting = {each.name: getattr(lettering.setting, each.name) for each in fields(Setting)}
    letters = {
        "text": lettering.text,
        "drawing": _file_name(lettering.drawing),
        "font": None if lettering.font is None else Path(lettering.font).name,
        "size": lettering.size,
        "outline_width": lettering.outline_width,
        "reach": lettering.reach,
        "tone": lettering.tone,
        "legibility": lettering.legibility,
        "background": lettering.background,
        "quality": lettering.quality,
        "knobs": dict(lettering.knobs),
        "seed": lettering.seed,
        "contrast": round(contrast, 2),
        "like": None if example is None else example.files,
        **setting,
        "along": _file_name(lettering.setting.along),
    }
    return {**record, "letters": letters}


def with_zones(record: Mapping[str, Any], zones: Sequence[Zone]) -> dict[str, Any]:
    """The record with the names of the styles of all zones."""
    listed = {
        zone.name: [{"id": source.id, "label": source.label, "weight": source.weight} for source in zone.sources]
        for zone in zones
    }
    others = [{"mask": name, "styles": styles} for name, styles in listed.items() if name != "fill"]
    return {**record, "styles": listed["fill"], "regions": others}


def _file_name(path: Path | None) -> str | None:
    return None if path is None else path.name


@dataclass(frozen=True)
class LetterRecord:
    """The record of painted letters, checked.

    Attributes:
        lettering: its files are names alone.
        styles: of each zone: library ids, or file names, with their weights; empty where an example was given.
        like: file names of an example, with the effect and plain.
        precision: one of `device.PRECISIONS`.
    """

    lettering: Lettering
    styles: Mapping[str, Sequence[tuple[str, float]]]
    like: tuple[str, str] | None
    precision: str

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> LetterRecord:
        """Check a record as it was read; names that are not known are passed over.

        Raises:
            InputError: something is missing, of the wrong type or out of bounds.
        """
        values = record.get("letters")
        if not isinstance(values, Mapping):
            raise _wrong("letters", values)
        like, precision = _names(values, "like"), record.get("precision")
        if precision not in PRECISIONS:
            raise _wrong("precision", precision)
        styles = {} if like else {"fill": _styles(record.get("styles")), **_other_styles(record.get("regions", []))}
        return cls(_lettering(values), styles, like, str(precision))

    def with_files(self, find: Callable[[str], Path]) -> Lettering:
        """The lettering with the files that its names stand for."""
        lettering, setting = self.lettering, self.lettering.setting
        return replace(
            lettering,
            drawing=None if lettering.drawing is None else find(str(lettering.drawing)),
            font=_font(lettering.font, find),
            setting=replace(setting, along=None if setting.along is None else find(str(setting.along))),
        )


def _font(name: str | None, find: Callable[[str], Path]) -> str | None:
    """A font's file where its name is one's, or the name."""
    return str(find(name)) if name is not None and name.lower().endswith(ENDINGS) else name


def _lettering(values: Mapping[str, Any]) -> Lettering:
    setting = Setting(
        align=_text(values, "align"),
        along=_path(values, "along"),
        **{name: _number(values, name) for name in ("spacing", "leading", "curve")},
    )
    knobs = values.get("knobs", {})
    if not isinstance(knobs, Mapping) or not set(knobs) <= set(_KNOBS):
        raise _wrong("knobs", knobs)
    return Lettering(
        text=_text(values, "text"),
        drawing=_path(values, "drawing"),
        font=None if values.get("font") is None else name_alone(_text(values, "font")),
        setting=setting,
        size=_size(values.get("size")),
        tone=_text(values, "tone"),
        background=_color(values.get("background")),
        quality=_text(values, "quality"),
        knobs={name: _number(knobs, name) if name != "steps" else _whole(knobs, name) for name in knobs},
        seed=_whole(values, "seed"),
        **{name: _number(values, name) for name in _NUMBERS},
    )


def _wrong(where: str, value: Any) -> InputError:
    return InputError(f"its {where} is {quoted(value)}", _HINT)


def _text(values: Mapping[str, Any], where: str) -> str:
    value = values.get(where)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise _wrong(where, value)
    return value


def _path(values: Mapping[str, Any], where: str) -> Path | None:
    return None if values.get(where) is None else Path(name_alone(_text(values, where)))


def _number(values: Mapping[str, Any], where: str) -> float:
    value = values.get(where)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(where, value)
    return float(value)


def _whole(values: Mapping[str, Any], where: str) -> int:
    value = values.get(where)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(where, value)
    return value


def _names(values: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    pair = values.get(where)
    if pair is None:
        return None
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
        raise _wrong(where, pair)
    return name_alone(pair[0]), name_alone(pair[1])


def _size(value: Any) -> int | tuple[int, int]:
    sides = value if isinstance(value, (list, tuple)) else [value]
    if len(sides) not in (1, 2) or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise _wrong("size", value)
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _color(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    wrong = not isinstance(value, (list, tuple)) or len(value) != 3
    if wrong or not all(isinstance(each, (int, float)) and 0 <= each <= 1 for each in value):
        raise _wrong("background", value)
    return float(value[0]), float(value[1]), float(value[2])


def _other_styles(regions: Any) -> dict[str, list[tuple[str, float]]]:
    if not isinstance(regions, list) or len(regions) > len(ZONES):
        raise _wrong("regions", regions)
    found = {}
    for region in regions:
        if not isinstance(region, Mapping) or region.get("mask") not in ZONES[1:]:
            raise _wrong("regions", regions)
        found[str(region["mask"])] = _styles(region.get("styles"))
    return found


def _styles(rows: Any) -> list[tuple[str, float]]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_STYLES:
        raise _wrong("styles", rows)
    found = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise _wrong("styles", rows)
        found.append((name_alone(_text(row, "id")), _number(row, "weight")))
    return found
