"""Manifests: tables of what to paint, and of what came of it. CSV or JSON lines, with the same columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from impasto import images
from impasto.batch.plan import Styles, Work
from impasto.errors import InputError, plain, quoted
from impasto.files import name_of, storing
from impasto.settings import close_names

COLUMNS = ("content", "style", "knobs", "result", "seconds", "error")
"""Of both tables. Those that are read are the first four; `seconds` and `error` of an earlier run are passed over."""

_ENDINGS = (".csv", ".jsonl", ".ndjson")
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Row:
    """One row that says what to paint.

    Attributes:
        number: of its line, for messages.
        content: the photograph.
        styles: empty for those of the command line.
        settings: by name.
        result: name within the folder of results; empty for the usual one.
    """

    number: int
    content: str
    styles: Styles
    settings: Mapping[str, Any]
    result: str


def check_ending(path: Path, flag: str) -> None:
    """Raise InputError for a name that is neither of a CSV nor of JSON lines."""
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"{flag} is {name_of(path)}", f"its name ends in {', '.join(_ENDINGS)}")


def read(path: Path, parse_style: Callable[[str], tuple[str, float]]) -> list[Row]:
    """The rows of a manifest.

    Args:
        path: a CSV whose first line names its columns, or a JSON object on each line.
        parse_style: splits STYLE[:WEIGHT].

    Raises:
        InputError: it cannot be read, has a column that is not known, or a row that cannot be.
    """
    check_ending(path, "--from")
    text = _text(path)
    rows = _csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text, path)
    found = [_row(number, values, path, parse_style) for number, values in rows]
    if not found:
        raise InputError(f"{name_of(path)} has no rows", "give one row for each picture")
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{name_of(path)} is larger than {_MOST_BYTES >> 30} GiB", "split it")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name_of(path)} is not text in UTF-8", "save it as CSV in UTF-8, or as JSON lines"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{name_of(path)} does not exist", "check the name") from error


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or (), path)
        for values in reader:
            if None in values:
                raise InputError(f"line {reader.line_num} of {name_of(path)} has too many columns", "quote the commas")
            yield reader.line_num, {name: value or "" for name, value in values.items()}
    except csv.Error as error:
        raise InputError(
            f"{name_of(path)} cannot be read: {error}", "give a CSV whose first line names columns"
        ) from error


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            hint = 'write {"content": "photo.jpg"}'
            raise InputError(f"line {number} of {name_of(path)} is not a JSON object", hint)
        _check_columns(list(values), path)
        yield number, values


def _check_columns(names: Sequence[str], path: Path) -> None:
    for name in names:
        if name not in COLUMNS:
            hint = "part the columns by commas" if ";" in str(name) else close_names(str(name), COLUMNS)
            raise InputError(f"{name_of(path)} has an unknown column {quoted(name)}", hint)
        if names.count(name) > 1:
            raise InputError(f"{name_of(path)} has two columns {name}", "keep one of them")
    if "content" not in names:
        raise InputError(f"{name_of(path)} has no column content", f"its columns are among {', '.join(COLUMNS)}")


def _row(number: int, values: Mapping[str, Any], path: Path, parse_style: Callable[[str], tuple[str, float]]) -> Row:
    where = f"line {number} of {name_of(path)}"
    content = values["content"]
    if not isinstance(content, str) or not content:
        raise InputError(f"{where} names no content", "give the photograph's path")
    styles = tuple(parse_style(name) for name in _styles(values.get("style"), where))
    return Row(number, content, styles, _settings(values.get("knobs"), where), _result(values.get("result"), where))


def _styles(value: Any, where: str) -> list[str]:
    """Names in a cell: one, or a JSON list of several."""
    found = value
    if isinstance(value, str):
        found = [value] if value else []
        if value.startswith("["):
            try:
                found = json.loads(value)
            except ValueError:
                found = None
    names = [] if found is None and value is None else found
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{where} has the style {quoted(value)}", 'write one STYLE, or a list: ["irises:2", "436535"]')
    return names


def _settings(value: Any, where: str) -> Mapping[str, Any]:
    """Settings in a cell: an object, or words NAME=VALUE."""
    if value in (None, ""):
        return {}
    if isinstance(value, str) and not value.startswith("{"):
        pairs = [word.partition("=") for word in value.split()]
        if all(sign and name and text for name, sign, text in pairs):
            return {_name(name): text for name, _, text in pairs}
    else:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if isinstance(found, dict):
            return {_name(name): own for name, own in found.items()}
    raise InputError(f"{where} has the knobs {quoted(value)}", "write strength=0.5 size=800, or a JSON object")


def _name(text: str) -> str:
    return text.removeprefix("--").replace("-", "_")


def _result(value: Any, where: str) -> str:
    """A name within the folder of results: it leads nowhere else."""
    if value in (None, ""):
        return ""
    parts = PurePosixPath(value.replace("\\", "/")) if isinstance(value, str) else PurePosixPath()
    outside = not parts.parts or parts.is_absolute() or ".." in parts.parts or re.match(r"\w+:", str(value))
    if outside or any(part.startswith(".") for part in parts.parts):
        raise InputError(f"{where} has the result {quoted(value)}", "it is a name within the folder of -o")
    if parts.suffix.lower() not in images.WRITABLE_EXTENSIONS:
        raise InputError(
            f"{where} has the result {quoted(value)}, and Impasto writes no such format",
            f"its name ends in {', '.join(images.WRITABLE_EXTENSIONS)}",
        )
    return parts.as_posix()


class Writer:
    """Writes what came of each picture, a row as soon as it is known; a context manager.

    Args:
        path: ends in .csv or .jsonl; None for no manifest. A file that is there is replaced.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Writer:
        if self._path is not None:
            with storing(name_of(self._path)):
                # bytes of a name that are no text: JSON has an escape for them
                unknown = "replace" if self._is_csv else "backslashreplace"
                self._file = self._path.open("w", encoding="utf-8", errors=unknown, newline="")
            if self._is_csv:
                self._put(_csv_line(COLUMNS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, work: Work, *, seconds: float | None, error: str = "") -> None:
        """One row. A picture that failed has no seconds."""
        styles = [name if weight == 1 else f"{name}:{weight:g}" for name, weight in work.styles]
        style: Any = styles[0] if len(styles) == 1 else styles
        told, error = None if seconds is None else round(seconds, 3), plain(error)
        if not self._is_csv:
            values = (work.content, style, dict(work.settings), work.output, told, error)
            self._put(json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False) + "\n")
            return
        cell = style if isinstance(style, str) else json.dumps(style, ensure_ascii=False)
        knobs = json.dumps(work.settings) if work.settings else ""
        self._put(_csv_line((work.content, cell, knobs, work.output, "" if told is None else str(told), error)))

    @property
    def _is_csv(self) -> bool:
        return self._path is not None and self._path.suffix.lower() == ".csv"

    def _put(self, line: str) -> None:
        if self._file is not None:
            with storing(self._file.name):
                self._file.write(line)
                self._file.flush()


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
