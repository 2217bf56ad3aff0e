"""Digests of what a request names, by content: equal pictures give equal digests, an edited file another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from impasto import images
from impasto.models import catalog

_PLAIN = (bool, int, float, Fraction, type(None))


def content_digest(value: Any) -> str:
    """sha256, in hex, of styles, masks, settings and all that they are made of.

    A file counts by its bytes, a style of a trained network by its name and its network's bytes, a picture in memory
    by its pixels, other words as they are.

    Raises:
        InputError: a picture cannot be read.
    """
    return hashlib.sha256(json.dumps(_described(value), sort_keys=True).encode()).hexdigest()


def _described(value: Any) -> Any:
    if isinstance(value, str | Path):
        return _of_name(value)
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _described(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_described(own) for own in value]
    picture = images.read(value)
    alpha = None if picture.alpha is None else images.digest(picture.alpha)
    return ["pixels", images.digest(picture.pixels), alpha]


def _of_name(name: str | Path) -> Any:
    if catalog.is_trained(name):
        style = catalog.find(name)
        return ["trained", style.name, _of_file(style.path)]
    with suppress(OSError, ValueError):  # too long for a name, or with a null byte: no file
        if Path(name).is_file():
            return ["file", _of_file(Path(name))]
    return ["name", str(name)]


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
