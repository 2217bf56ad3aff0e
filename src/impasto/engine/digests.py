"""Digests of what a request names, by content: equal pictures give equal digests, an edited file another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from impasto import images
from impasto.engine import style_files
from impasto.files import is_folder
from impasto.models import catalog
from impasto.models.checkpoint import WeightsRef


def content_digest(value: Any) -> str:
    """sha256, in hex, of styles, masks, settings and all that they are made of.

    A file counts by its bytes, weights `NAME:FILE` by their name and the file's, a style of a trained network by its
    name and its network's, a picture in memory by its pixels, a number by its value, other words as they are.

    Raises:
        InputError: a picture cannot be read.
    """
    return hashlib.sha256(json.dumps(_described(value), sort_keys=True).encode()).hexdigest()


def _described(value: Any) -> Any:
    if isinstance(value, str | Path):
        return _of_name(value)
    if value is None or isinstance(value, Real):
        return _of_number(value)
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


def _of_number(value: Real | None) -> str:
    """2, 2.0 and those of numpy are one number."""
    plain = value.item() if isinstance(value, np.generic) else value
    return str(int(plain)) if isinstance(plain, float) and plain.is_integer() else str(plain)


def _of_name(name: str | Path) -> Any:
    if _is_file(name):
        return ["file", _of_file(Path(name))]
    if is_folder(name):
        return ["folder", [_of_file(path) for path in sorted(Path(name).iterdir()) if path.is_file()]]
    if (kept := style_files.split(name)) is not None and _is_file(kept[0]):
        return ["style", kept[1], _of_file(kept[0])]
    weights = WeightsRef.parse(str(name))
    if weights.file is not None and _is_file(weights.file):
        return ["weights", weights.name, _of_file(weights.file)]
    if catalog.is_trained(name):
        style = catalog.find(name)
        return ["trained", style.name, _of_file(style.path)]
    return ["name", str(name)]


def _is_file(name: str | Path) -> bool:
    with suppress(OSError, ValueError):  # too long for a name, or with a null byte: no file
        return Path(name).is_file()
    return False


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
