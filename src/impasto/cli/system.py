"""`impasto doctor` and `impasto bench`: this machine, and how fast we are on it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from impasto import registry
from impasto.assets import Store


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("doctor")(doctor)
    app.add_typer(bench_app, name="bench")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Tell what was found: hardware, precision and why, versions, assets."""
    from impasto import device

    store = Store()
    placements = {row.name: device.place(tested=row.precisions) for row in registry.methods().values()}
    first = next(iter(placements.values()))
    packages = ("torch", "numpy", "pillow", "opencv-python-headless", "safetensors")
    report: dict[str, Any] = {
        "impasto": version("impasto"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        **device.hardware(),
        "device": first.device,
        "precision": {name: placement.precision for name, placement in placements.items()},
        "reason": first.reason,
        "convolution_gflops": round(device.convolution_rate(first) / 1e9),
        "cache": str(store.root),
        "offline": store.offline,
        "assets": {asset_id: store.is_present(asset_id) for asset_id in store.declared},
    }
    if as_json:
        print(json.dumps(report, indent=2))
        return
    table = Table(box=None, show_header=False)
    for key, value in report.items():
        table.add_row(key.replace("_", " "), _in_words(key, value))
    Console().print(table, highlight=False, markup=False)


def _in_words(key: str, value: Any) -> str:
    if key == "memory_available":
        return f"{value / 1e9:.1f} GB"
    if key == "assets":
        return ", ".join(f"{name} {'here' if here else 'not fetched'}" for name, here in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


bench_app = typer.Typer(help="Time what ships against plain reference code, side by side.", no_args_is_help=True)

_Runs = Annotated[int, typer.Option(help="Repetitions; the median counts.", min=1)]
_Size = Annotated[int, typer.Option(help="Longest side in pixels.", min=64)]
_Csv = Annotated[Path | None, typer.Option("--csv", help="Append the row to this file.")]
_Json = Annotated[bool, typer.Option("--json", help="The row as JSON on standard output.")]


@bench_app.command("adain")
def bench_adain(size: _Size = 512, runs: _Runs = 5, csv: _Csv = None, as_json: _Json = False) -> None:
    """One AdaIN picture, style encoded each time, against plain float32 PyTorch."""
    from impasto.bench import run

    _show(run.adain(size=size, runs=runs), csv, as_json)


@bench_app.command("optimize")
def bench_optimize(size: _Size = 512, runs: _Runs = 3, csv: _Csv = None, as_json: _Json = False) -> None:
    """One optimisation step, and the qualities' scores, against plain float32 PyTorch."""
    from impasto.bench import run

    _show(run.optimize(size=size, runs=runs), csv, as_json)


def _show(row: dict[str, Any], csv: Path | None, as_json: bool) -> None:
    from impasto.bench import run

    if csv is not None:
        run.append_csv(csv, row)
    if as_json:
        print(json.dumps(row, indent=2))
        return
    table = Table(box=None, show_header=False)
    for key, value in row.items():
        table.add_row(key.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table, highlight=False, markup=False)
