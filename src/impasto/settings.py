"""Knobs: a method's settings as one frozen dataclass, from which checks, command-line flags and schemas all come."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, TypeVar, get_type_hints

from impasto.errors import InputError, plain, quoted

T = TypeVar("T")


@dataclass(frozen=True)
class Knobs:
    """Base class of every method's settings: what the engine reads of all of them.

    A method that has such a setting declares a knob of the same name; for one that has not, the value here holds.

    Attributes:
        strength: from the photograph (0) to the full style (1).
        style_scale: size of the style image relative to the photograph.
        init: image to start from; "" for methods that paint in one pass.
        canvas: what is changed: "pixels", or the method's own word.
        steps: of an optimisation.
    """

    # without annotations, so that these are no fields
    strength = 1.0
    style_scale = 1.0
    init = ""
    canvas = "pixels"
    steps = 1

    def with_values(self, **values: Any) -> Self:
        """A copy with other values; those of knobs that this method has not are left out."""
        known = {knob.name for knob in knobs_of(type(self))}
        return dataclasses.replace(self, **{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Knob:
    """One setting of a method.

    Attributes:
        name: as in the dataclass, such as `style_weight`; the flag is `--style-weight`.
        type: float, int, str, or tuple (of strings; written with commas).
        default: used when nothing is given.
        help: one line for people.
        low, high: inclusive bounds of a number, or None.
        choices: allowed values of a string; empty when free.
        shapes_style: whether a style's statistics depend on it, so that it is part of their cache key.
        names_file: whether its value may be FILE or NAME:FILE; a word alone is no file.
        counts_with: other settings and their values, one of which it takes to have an effect; empty for always.
    """

    name: str
    type: type
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    shapes_style: bool = False
    names_file: bool = False
    counts_with: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    def file_of(self, value: str) -> str:
        """The file that a value names; empty where it names none."""
        if not self.names_file or re.fullmatch(r"[\w-]*", value):
            return ""
        return re.sub(r"^[\w-]{2,}:", "", value)  # a single letter is a drive

    def bounds(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is tuple:
            return "names separated by commas"
        kind = {int: "a whole number", float: "a number", str: "text"}[self.type]
        if self.low is not None and self.high is not None:
            return f"{kind} from {in_digits(self.low)} to {in_digits(self.high)}"
        return kind if self.low is None else f"{kind}, {in_digits(self.low)} or more"

    def check(self, value: Any) -> Any:
        """Return `value` in the knob's type.

        Raises:
            InputError: it is of the wrong type, out of bounds, NaN or infinite.
        """
        wrong = InputError(f"{self.flag} is {quoted(value)}", f"it takes {self.bounds()}")
        if self.type is tuple:
            names = value.split(",") if isinstance(value, str) else value
            if not isinstance(names, list | tuple) or not names:
                raise wrong
            if not all(isinstance(name, str) and name.strip() for name in names):
                raise wrong
            return tuple(name.strip() for name in names)
        if self.type is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise wrong
            return value
        return self._check_number(value, wrong)

    def _check_number(self, value: Any, wrong: InputError) -> float | int:
        if isinstance(value, bool):
            raise wrong
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise wrong from None
        if not math.isfinite(number) or (self.type is int and number != int(number)):
            raise wrong
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise wrong
        return int(number) if self.type is int else number


def in_digits(number: float) -> str:
    """A number for people, without an exponent: 2147483647, 0.00001, 0.5."""
    return f"{number:.10f}".rstrip("0").rstrip(".")


def knob(
    default: Any,
    help: str,  # noqa: A002 - the field's word for it
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    shapes_style: bool = False,
    names_file: bool = False,
    counts_with: Mapping[str, tuple[Any, ...]] | None = None,
) -> Any:
    """A dataclass field that is a knob; see `Knob` for the arguments."""
    metadata: dict[str, Any] = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "shapes_style": shapes_style,
    }
    metadata |= {"shapes_style": shapes_style, "names_file": names_file}
    metadata |= {"counts_with": tuple((counts_with or {}).items())}
    return dataclasses.field(default=default, metadata=metadata)


def knobs_of(cls: type) -> tuple[Knob, ...]:
    """The knobs of a settings dataclass, in order. Kept: every request to a service asks for those of all methods."""
    return _knobs_of(cls)


@lru_cache(maxsize=64)
def _knobs_of(cls: type) -> tuple[Knob, ...]:
    hints = get_type_hints(cls)
    return tuple(
        Knob(field.name, _plain(hints[field.name]), field.default, **field.metadata)
        for field in dataclasses.fields(cls)
        if "help" in field.metadata
    )


def build(cls: type[T], values: Mapping[str, Any], *, owner: str) -> T:
    """Make settings out of named values; None stands for the default.

    Args:
        cls: the settings dataclass.
        values: by knob name.
        owner: the method's name, for messages.

    Raises:
        InputError: an unknown name, a value that its knob refuses, or one that has no effect beside the others.
    """
    known = {knob.name: knob for knob in knobs_of(cls)}
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name not in known:
            listed = ", ".join(knob.flag for knob in known.values())
            raise InputError(f"method {owner} has no --{plain(name.replace('_', '-'))[:80]}", f"it has {listed}")
    made = cls(**{name: known[name].check(value) for name, value in given.items()})
    for name in given:
        _check_counts(known[name], made)
    return made


def _check_counts(knob: Knob, made: Any) -> None:
    """Raise InputError for a setting that was changed and has no effect."""
    alone = not knob.counts_with or any(getattr(made, other) in values for other, values in knob.counts_with)
    if alone or getattr(made, knob.name) == knob.default:
        return
    flags = {other: f"--{other.replace('_', '-')}" for other, _ in knob.counts_with}
    beside = " and ".join(f"{flag} {getattr(made, other)}" for other, flag in flags.items())
    needed = " or ".join(f"{flags[other]} {value}" for other, values in knob.counts_with for value in values)
    raise InputError(f"{knob.flag} has no effect with {beside}", f"leave it out, or use {needed}")


def as_record(knobs: Any) -> dict[str, Any]:
    """Settings as plain values for JSON."""
    values = {knob.name: getattr(knobs, knob.name) for knob in knobs_of(type(knobs))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def with_files(cls: type, values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Named values in which each file that a setting names has been replaced by `change` of it."""
    changed = dict(values)
    for knob in knobs_of(cls):
        value = values.get(knob.name)
        if isinstance(value, str) and (file := knob.file_of(value)):
            changed[knob.name] = f"{value[: len(value) - len(file)]}{change(file)}"
    return changed


def style_key(knobs: Any) -> tuple[tuple[str, Any], ...]:
    """The settings on which a style's statistics depend."""
    return tuple((knob.name, getattr(knobs, knob.name)) for knob in knobs_of(type(knobs)) if knob.shapes_style)


def json_schema(cls: type) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a settings dataclass."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {knob.name: property_of(knob) for knob in knobs_of(cls)},
    }


def close_names(name: str, known: Iterable[str]) -> str:
    """A hint that lists what exists, the likeliest first when a name was mistyped."""
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, [one for one in names if one != name], n=1, cutoff=0.7)
    prefix = f"did you mean {near[0]}? " if near else ""
    return f"{prefix}known: {', '.join(names)}"


def property_of(knob: Knob) -> dict[str, Any]:
    """JSON schema of one setting."""
    kind: dict[str, Any] = {"type": {int: "integer", float: "number", str: "string", tuple: "array"}[knob.type]}
    if knob.type is tuple:
        kind["items"] = {"type": "string"}
    bounds = {"minimum": knob.low, "maximum": knob.high, "enum": list(knob.choices) or None}
    default = list(knob.default) if isinstance(knob.default, tuple) else knob.default
    return {
        **kind,
        "description": knob.help,
        "default": default,
        **{key: value for key, value in bounds.items() if value is not None},
    }


def _plain(hint: Any) -> type:
    plain: type = getattr(hint, "__origin__", None) or hint
    return plain
