"""`impasto export`: trained networks for other programs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.printing import say, say_json
from impasto.errors import InputError, require
from impasto.models import catalog


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export", epilog="Example: impasto export cypresses.safetensors -o cypresses.onnx")(export)


def export(
    network: Annotated[str, typer.Argument(help="A trained network: a .safetensors file, or pack.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; beside the network by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as a JSON object.")] = False,
) -> None:
    """Write a trained network as an ONNX file for any size, batch and style; it is checked against PyTorch."""
    source = catalog.PACK if network == "pack" else Path(network)
    target = out or Path("pack.onnx" if network == "pack" else Path(network).with_suffix(".onnx"))
    if target.suffix.lower() != ".onnx":
        raise InputError(f"{target} is not an .onnx file", "give a name that ends so with -o")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist", "make it first, or name another with -o")
    catalog.listing(source)
    require("onnxruntime", "onnx")
    require("onnx", "onnx")
    from impasto.cli.console import Reporter
    from impasto.export.onnx import to_onnx

    with Reporter() as reporter:
        outcome = to_onnx(source, target, on_progress=reporter)
        reporter.note(f"it differs from PyTorch by {outcome.difference:.1e} at most, of a range of 1")
    if as_json:
        say_json({**dataclasses.asdict(outcome), "path": str(target)})
    else:
        say(target)
