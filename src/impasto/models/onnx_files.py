"""ONNX files of trained networks, such as `impasto quantize` and `impasto export` write: what they say of themselves.

Read without the package onnx: the metadata are strings at the end of the outermost message.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from impasto.errors import InputError

SUFFIX = ".onnx"
HINT = "give one that impasto quantize or impasto export has written"

Codes: TypeAlias = dict[str, list[float]]
"""Codes of styles by name; no array, so that who asks for names alone does not load NumPy."""

_METADATA = 14  # the number of ModelProto's field `metadata_props`; each has a key, 1, and a value, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_header(path: Path) -> tuple[dict[str, Any], Codes]:
    """What a file says of itself, and the codes of its styles.

    Raises:
        InputError: it cannot be read, or is no ONNX file of ours.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read as a network", HINT) from error
    return header_of(data, path)


def header_of(data: bytes, path: Path) -> tuple[dict[str, Any], Codes]:
    """As `read_header`, of the file's contents."""
    try:
        entries = [dict(_fields(value)) for number, value in _fields(memoryview(data)) if number == _METADATA]
        texts = {bytes(entry[1]).decode(): bytes(entry[2]).decode() for entry in entries}
        about, codes = json.loads(texts["impasto"]), json.loads(texts["codes"])
        styles = {str(name): [float(value) for value in code] for name, code in codes.items()}
        sound = isinstance(about, dict) and all(all(map(math.isfinite, code)) for code in styles.values())
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not an ONNX file of an Impasto network", HINT) from error
    if not sound or not styles:
        raise InputError(f"{path} is not an ONNX file of an Impasto network", HINT)
    return about, styles


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and bytes of a protobuf message's fields; those of numbers are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut short")
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("no protobuf message")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no number")
