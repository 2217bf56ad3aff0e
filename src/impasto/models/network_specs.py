"""The feed-forward networks that can be trained: a table of rows, and files of such rows. No torch is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from impasto.errors import InputError
from impasto.files import write_json
from impasto.settings import close_names

SUFFIX = ".json"
"""Of a file that holds a row."""

PALETTE_LENGTH = 12
"""Numbers by which a code mixes colours: for each of three, its shares of all, and a constant."""

_MOST = 1024  # channels
_OWN = "own design"
_HINT = "name a file that impasto train search has written"


@dataclass(frozen=True)
class NetworkSpec:
    """One network as a row of the table.

    Attributes:
        name: what `--network` takes.
        summary: one line for people.
        widths: channels after the stem and after each halving of the sides.
        blocks: residual blocks at the coarsest level.
        separable: whether their convolutions are split into a depthwise and a pointwise one.
        stem: kernel side of the first convolution.
        stem_stride: 1, or 2 to halve the sides at once: then the encoder does nothing at full size.
        head: kernel side of the last convolution; 0 for none, where the stem halved: the last doubling makes the
            colours.
        last: channels at full size before the head, where the stem halved; 0 otherwise.
        skip: whether the features before the last halving are added back after the first doubling.
        paper: where it comes from.
        inner: channels inside each residual block, where pruning has left others than at its ends; else empty.
        ups: channels after each doubling, where they are others than before the halving that it undoes; else empty.
    """

    name: str
    summary: str
    widths: tuple[int, ...]
    blocks: int
    separable: bool
    stem: int
    stem_stride: int
    head: int
    last: int
    skip: bool
    paper: str = _OWN
    inner: tuple[int, ...] = ()
    ups: tuple[int, ...] = ()

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Channels inside each residual block."""
        return self.inner or (self.widths[-1],) * self.blocks

    @property
    def up_widths(self) -> tuple[int, ...]:
        """Channels after each doubling."""
        return self.ups or self.widths[-2::-1]

    @property
    def normalised(self) -> tuple[int, ...]:
        """Channels of each layer that is normalised, in the order of the code."""
        blocks = [width for inner in self.inner_widths for width in (inner, self.widths[-1])]
        return (*self.widths, *blocks, *self.up_widths)


ARCHITECTURES: Mapping[str, NetworkSpec] = {
    row.name: row
    for row in (
        NetworkSpec(
            name="tiny",
            summary="for video and phones",
            widths=(16, 32, 48),
            blocks=3,
            separable=True,
            stem=5,
            stem_stride=2,
            head=3,
            last=12,
            skip=True,
        ),
        NetworkSpec(
            name="swift",
            summary="for video of many pixels; found by impasto train search",
            widths=(16, 32, 48),
            blocks=3,
            separable=True,
            stem=5,
            stem_stride=2,
            head=0,
            last=0,
            skip=True,
        ),
        NetworkSpec(
            name="small",
            summary="many styles in one file",
            widths=(32, 64, 80),
            blocks=3,
            separable=False,
            stem=7,
            stem_stride=2,
            head=3,
            last=16,
            skip=True,
        ),
        NetworkSpec(
            name="johnson",
            summary="the paper's, as a yardstick",
            widths=(32, 64, 128),
            blocks=5,
            separable=False,
            stem=9,
            stem_stride=1,
            head=9,
            last=0,
            skip=False,
            paper="arXiv:1603.08155 (Johnson, Alahi and Fei-Fei 2016), but for nearest upsampling",
        ),
    )
}


def names() -> tuple[str, ...]:
    """Of the rows of the table."""
    return tuple(ARCHITECTURES)


def find(name: str) -> NetworkSpec:
    """A row of the table, or that of a file.

    Raises:
        InputError: there is none, or the file holds no network that can be made.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    path = Path(name)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"there is no network {name!r}", close_names(name, ARCHITECTURES))
    return read(path)


def write(path: Path, spec: NetworkSpec) -> None:
    """Write a row to a file, whole or not at all."""
    write_json(path, {key: value for key, value in asdict(spec).items() if value not in ((), "")})


def read(path: Path) -> NetworkSpec:
    """The row of a file.

    Raises:
        InputError: it is missing, or holds no network that can be made.
    """
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a network's description", _HINT) from error
    return check(_spec_of(found, path), path)


def _spec_of(found: Any, path: Path) -> NetworkSpec:
    kinds = {one.name: str(one.type) for one in fields(NetworkSpec)}
    if not isinstance(found, dict) or not found.keys() <= kinds.keys():
        raise InputError(f"{path} is not a network's description", _HINT)
    values = {"summary": "", **found}
    for name, value in values.items():
        if not _fits(value, kinds[name]):
            raise InputError(f"{path}: {name} is not {_WORDS[kinds[name]]}", _HINT)
    missing = [name for name in kinds if name not in values and name not in _OPTIONAL]
    if missing:
        raise InputError(f"{path} does not say {missing[0]}", _HINT)
    return of_plain(values)


def of_plain(values: Mapping[str, Any]) -> NetworkSpec:
    """A row from its fields as plain values, also after JSON."""
    fitting: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
    return NetworkSpec(**fitting)


_OPTIONAL = ("paper", "inner", "ups")
_WORDS = {"str": "text", "int": "a whole number", "bool": "true or false", "tuple[int, ...]": "a list of whole numbers"}


def _fits(value: Any, kind: str) -> bool:
    """Whether a value of a file is of a field's type."""
    if kind == "tuple[int, ...]":
        return isinstance(value, list) and all(type(one) is int for one in value)
    return type(value).__name__ == kind


def check(spec: NetworkSpec, path: Path) -> NetworkSpec:
    """The row of a file, if a network can be made of it; raises InputError if not."""
    channels = (*spec.widths, *spec.inner, *spec.ups, *([spec.last] if spec.last else []))
    strided, halvings = spec.stem_stride == 2, len(spec.widths) - 1
    faults = {
        "its name is that of another network, or empty": not spec.name or spec.name in ARCHITECTURES,
        "widths are 2 to 5 numbers": not 1 <= halvings <= 4,
        f"channels are 1 to {_MOST}": not all(1 <= one <= _MOST for one in channels),
        "blocks are 1 to 32": not 1 <= spec.blocks <= 32,
        "stem is an odd number up to 15": spec.stem not in range(1, 16, 2),
        "stem_stride is 1 or 2": spec.stem_stride not in (1, 2),
        "head is 0 or 3 where stem_stride is 2": strided and spec.head not in (0, 3),
        "head is an odd number up to 15 where stem_stride is 1": not strided and spec.head not in range(1, 16, 2),
        "last is above 0 where stem_stride is 2 and head is not 0, else 0": bool(spec.last)
        != (strided and spec.head > 0),
        "inner has a number for each block": len(spec.inner) not in (0, spec.blocks),
        "ups has a number for each halving": len(spec.ups) not in (0, halvings),
    }
    fault = next((rule for rule, broken in faults.items() if broken), None)
    if fault is None and spec.skip and spec.up_widths[0] != spec.widths[-2]:
        fault = "the first of ups is the last but one of widths where skip is true"
    if fault is not None:
        raise InputError(f"{path} describes no network: {fault}", _HINT)
    return spec
