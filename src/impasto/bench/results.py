"""Results of benchmarks as a CSV that grows by rows and, when needed, by columns; and its plot over commits."""

from __future__ import annotations

import csv
import io
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from impasto import device
from impasto.contract import Placement
from impasto.errors import InputError
from impasto.files import write_whole
from impasto.report import svg
from impasto.settings import close_names


def machine_row(placement: Placement) -> dict[str, Any]:
    """Commit and machine, as the first columns of a row."""
    hardware = device.hardware()
    return {
        "commit": commit(),
        "cpu": hardware["cpu"],
        "features": " ".join(hardware["cpu_features"]),
        "threads": hardware["threads"],
        "torch": torch.__version__,
        "device": placement.device,
        "precision": placement.precision,
        "peak_gflops": device.convolution_rate(placement, seconds=1.0) / 1e9,
    }


def commit() -> str:
    """The commit of the working folder, when it is a checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return ""
    return done.stdout.strip()


def append_csv(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row. New columns are added on the right, and rows before them stay empty there.

    Raises:
        InputError: the file cannot be written, or is no table.
    """
    columns, rows = read_csv(path) if path.exists() and path.stat().st_size else ([], [])
    columns += [name for name in row if name not in columns]
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, {name: "" if value is None else value for name, value in row.items()}])
    write_whole(path, file.getvalue())


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table, its columns in the order in which they first come; numbers with six digits."""
    file = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["method"]
    writer = csv.DictWriter(file, fieldnames=columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return file.getvalue()


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a table.

    Raises:
        InputError: there is no such file, or it is no table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            columns = list(reader.fieldnames or ())
            rows = [{name: row[name] or "" for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not a table of text with commas"
        raise InputError(f"{path} cannot be read: {reason}", "give a CSV that impasto bench has written") from error
    return columns, rows


def plot_csv(path: Path, columns: Sequence[str]) -> Markup:
    """Columns of a CSV as lines over its rows, which are named by commit; one line for each contender in it.

    Args:
        path: written by `append_csv`.
        columns: whose values are numbers.

    Raises:
        InputError: there is no such file or column.
    """
    known, rows = read_csv(path)
    for name in columns:
        if name not in known:
            raise InputError(f"{path.name} has no column {name!r}", close_names(name, known))
    if not rows:
        raise InputError(f"{path.name} holds no rows", "run the benchmark first, with --csv")
    commits = list(dict.fromkeys(row.get("commit", "") for row in rows))
    if len(commits) == len(rows) or "contender" not in known:
        ticks = [row.get("commit", "") or str(index + 1) for index, row in enumerate(rows)]
        series = {name: [_number(row[name]) for row in rows] for name in columns}
    else:
        ticks = [name or "?" for name in commits]
        series = {
            f"{who} {name}": [_latest(rows, who, at, name) for at in commits]
            for who in dict.fromkeys(row["contender"] for row in rows)
            for name in columns
        }
    return svg.lines(series, ticks=ticks, title=f"{path.stem}: {', '.join(columns)}")


def _latest(rows: Sequence[Mapping[str, str]], contender: str, at: str, column: str) -> float | None:
    values = [_number(row[column]) for row in rows if row["contender"] == contender and row.get("commit", "") == at]
    return values[-1] if values else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
