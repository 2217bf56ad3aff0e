"""`impasto export`: trained networks and AdaIN for other programs, phones and browsers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.printing import say, say_json
from impasto.errors import InputError, quoted
from impasto.models import catalog

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.export.formats import Exported, Format

_EXAMPLES = """\b
Examples:
  impasto export cypresses.safetensors -o cypresses.onnx
  impasto export pack --to litert --shape 512x384
  impasto export adain --to openvino"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export", epilog=_EXAMPLES)(export)


def export(
    network: Annotated[str, typer.Argument(help="A trained network: a .safetensors file, or pack; or adain.")],
    to: Annotated[str, typer.Option(help="onnx, openvino, torchscript, litert or coreml.")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; beside the network by default.")] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Sides that litert (512x512) or coreml takes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as a JSON object.")] = False,
) -> None:
    """Write a trained network, or AdaIN, for another program; photographs are painted with it to check it."""
    from impasto.cli.console import Reporter
    from impasto.export import formats

    row = formats.find(to)
    target = out or _beside(network, row)
    sides = _shape(shape)
    if network != "adain":
        catalog.listing(_file(network))
    formats.check_target(row, target, "style" if network == "adain" else "code", sides)
    with Reporter() as reporter:
        outcome = _export(network, row, target, sides, reporter)
        reporter.note(str(outcome.parity))
    if as_json:
        say_json({**dataclasses.asdict(outcome), "path": str(target)})
    else:
        say(target)


def _file(network: str) -> Path:
    return catalog.PACK if network == "pack" else Path(network)


def _beside(network: str, row: Format) -> Path:
    return Path(network).with_suffix(row.suffix)


def _shape(text: str | None) -> tuple[int, int] | None:
    """Height and width of `HEIGHTxWIDTH`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip())
    if found is None:
        raise InputError(f"--shape is {quoted(text)}", "it takes HEIGHTxWIDTH, such as 512x384")
    return int(found[1]), int(found[2])


def _export(network: str, row: Format, target: Path, sides: tuple[int, int] | None, reporter: Reporter) -> Exported:
    from impasto.assets import Store
    from impasto.export import check, formats
    from impasto.export.model import Exportable

    store = Store()
    photographs = check.read_photographs(store.path("photos", reporter))
    if network == "adain":
        model = Exportable.of_adain(store, photographs[1:3], on_progress=reporter)
    else:
        model = Exportable.of_network(_file(network))
    return formats.export(model, row, target, photographs, shape=sides, on_progress=reporter)
