"""`impasto export`: trained networks, AdaIN and MicroAST for other programs, phones and browsers."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.printing import say, say_json
from impasto.errors import AssetError, InputError, quoted
from impasto.models import catalog, codecs

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.export.formats import Exported, Format

ANY_STYLE = ("adain", "microast")
GRAPHS = ("onnx", "openvino")
"""Formats that take generators of unpaired translation."""

_EXAMPLES = """\b
Examples:
  impasto export cypresses.safetensors -o cypresses.onnx
  impasto export pack --to litert --shape 512x384
  impasto export adain --to openvino
  impasto export pack cypresses.safetensors --to web -o site"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export", epilog=_EXAMPLES)(export)


def export(
    network: Annotated[
        list[str] | None,
        typer.Argument(
            help="A trained network (.safetensors, .pth of CycleGAN or CUT, or pack), adain, microast; for web several."
        ),
    ] = None,
    to: Annotated[str, typer.Option(help="onnx, openvino, torchscript, litert, coreml, tfjs or web.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file or folder; beside the network by default.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Sides that litert (512x512) or coreml takes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as a JSON object.")] = False,
) -> None:
    """Write a network for another program; photographs are painted with it to check it."""
    from impasto.cli.console import Reporter
    from impasto.export import formats

    row, sides = formats.find(to), _shape(shape)
    named = _named(network, row)
    target = out or Path(named[0]).with_suffix(row.suffix or f".{row.name}")
    takes_painting = [one for one in named if one in ANY_STYLE or codecs.is_codec(_file(one))]
    for one in named:
        if one not in takes_painting:
            catalog.listing(_file(one))
            if row.name not in GRAPHS and _is_generator(_file(one)):
                raise InputError(f"a generator cannot be exported to {row.name}", f"it can be to {' or '.join(GRAPHS)}")
    formats.check_target(row, target, "style" if takes_painting else "code", sides)
    with Reporter() as reporter:
        outcome = _export(named, row, target, sides, reporter)
        reporter.note(str(outcome.parity))
        if row is formats.WEB:
            reporter.note(f"to see it: python -m http.server -d {shlex.quote(str(target))}, then open localhost:8000")
    if as_json:
        say_json({**dataclasses.asdict(outcome), "path": str(target)})
    else:
        say(target)


def _named(networks: list[str] | None, row: Format) -> list[str]:
    """The networks that are meant."""
    if not networks and row.name == "web":
        return ["pack"]
    if not networks:
        raise InputError("no network was given", "name one, such as impasto export pack")
    if len(networks) > 1 and row.name != "web":
        raise InputError(f"{len(networks)} networks were given; --to {row.name} takes one", "export each by itself")
    return networks


def _is_generator(network: Path) -> bool:
    return catalog.listing(network)[0].method == "unpaired"


def _file(network: str) -> Path:
    return catalog.PACK if network == "pack" else Path(network)


def _shape(text: str | None) -> tuple[int, int] | None:
    """Height and width of `HEIGHTxWIDTH`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip())
    if found is None:
        raise InputError(f"--shape is {quoted(text)}", "it takes HEIGHTxWIDTH, such as 512x384")
    return int(found[1]), int(found[2])


def _export(named: list[str], row: Format, target: Path, sides: tuple[int, int] | None, reporter: Reporter) -> Exported:
    from impasto.assets import Store
    from impasto.export import check, formats, web
    from impasto.export.model import Exportable

    store = Store()
    photographs = check.read_photographs(store.path("photos", reporter))
    if row.library and shutil.which("node"):
        with suppress(AssetError):  # then the check goes another way, and says so
            store.path(row.library, reporter)
    if row is formats.WEB:
        return web.export([_file(one) for one in named], target, store, photographs, on_progress=reporter)
    if named[0] in ANY_STYLE:
        model = Exportable.of_method(named[0], store, photographs[1:3], on_progress=reporter)
    elif codecs.is_codec(_file(named[0])):
        model = Exportable.of_codec(_file(named[0]), photographs[1:3])
    elif _is_generator(_file(named[0])):
        model = Exportable.of_generator(_file(named[0]))
    else:
        model = Exportable.of_network(_file(named[0]))
    return formats.export(model, row, target, photographs, shape=sides, on_progress=reporter)
