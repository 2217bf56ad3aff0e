"""`impasto doctor`: this machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from impasto.assets import Store
from impasto.cli.printing import say_json
from impasto.engine.request import installed_package
from impasto.errors import plain
from impasto.methods import registry

_NEEDED = ("numpy", "pillow", "opencv-python-headless", "safetensors")
_OPTIONAL = ("torch", "onnxruntime", "openvino", "onnx", "keras", "tensorflow", "jax")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the hardware, the chosen precision and runtime and why, versions, and assets."""
    from impasto import device
    from impasto.engine.choosing import measure_pack
    from impasto.keras import backends

    store = Store()
    placements = {row.name: device.place(tested=row.precisions) for row in registry.methods().values()}
    first = next(iter(placements.values()))
    report: dict[str, Any] = {
        "impasto": version("impasto"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)},
        **device.hardware(),
        "device": first.device,
        "precision": {name: placement.precision for name, placement in placements.items()},
        "reason": first.reason,
        **measure_pack(store).report(),
        "backends": backends.installed(),
        "convolution_gflops": round(device.convolution_rate(first) / 1e9) if device.has_torch() else None,
        "cache": str(store.root),
        "offline": store.offline,
        "assets": {asset_id: store.is_present(asset_id) for asset_id in store.declared},
    }
    if as_json:
        say_json(report, indent=2)
        return
    table = Table(box=None, show_header=False)
    for key, value in report.items():
        table.add_row(key.replace("_", " "), plain(_in_words(key, value)))
    Console().print(table, highlight=False, markup=False)


def _version(package: str) -> str:
    try:
        return version(installed_package(package))
    except PackageNotFoundError:
        return "not installed"


def _in_words(key: str, value: Any) -> str:
    if key == "memory_available":
        from impasto.device import readable_bytes

        return readable_bytes(value)
    if key == "assets":
        return ", ".join(f"{name} {'here' if here else 'not fetched'}" for name, here in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
