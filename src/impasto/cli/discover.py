"""`impasto discover`: the styles that a folder of paintings holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import flags
from impasto.cli.printing import say, say_json
from impasto.errors import InputError, plain

if TYPE_CHECKING:
    from impasto.discover.collection import Discovery


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("discover", epilog="Example: impasto discover paintings/ -o styles/")(discover)


def discover(
    folder: Annotated[str, typer.Argument(help="A folder of paintings, eight or more; or museum, the library.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the styles and the map.")] = None,
    count: Annotated[
        int | None, typer.Option(help="How many styles; by default a number that is stable.", min=2)
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the groups and the map.", min=0)] = 0,
    device: flags.Device = "auto",
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Find the styles in a collection of paintings; each becomes a file that --style takes."""
    if out is None:
        raise InputError("no folder was named for the styles", "add -o FOLDER")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", "name a folder with -o")
    from impasto.assets import Store
    from impasto.assets.library import Library
    from impasto.cli.console import Reporter
    from impasto.discover import collection

    library = Library(Store())
    with Reporter(silent=quiet) as reporter:
        works = collection.read_collection(library, folder, reporter)
        found = collection.discover(library, works, count=count, seed=seed, device_name=device, on_progress=reporter)
        written = collection.write(found, library, out, reporter)
    agreement = collection.known_agreement(found)
    if as_json:
        styles = [str(path) for path in written if path.suffix == ".style"]
        stability = {str(number): value for number, value in found.grouping.stability.items()}
        say_json({"styles": styles, "stability": stability, "agreement": agreement, "map": str(out / "map.html")})
        return
    _print(found)
    for row in agreement:
        told = f"agrees with {row['known']}: adjusted mutual information {row['ami']:.3f}, p = {row['p']:.3g}"
        say(f"{told} ({row['works']} works, {row['kinds']} kinds)")
    say(out / "map.html")


def _print(found: Discovery) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("style", "pictures", "in its middle", box=None, header_style="bold")
    for number in range(found.grouping.count):
        members = found.grouping.members(number)
        central = "; ".join(found.works[index].label for index in members[:3])
        table.add_row(plain(found.name_of(number)), str(len(members)), plain(central))
    Console().print(table, highlight=False, markup=False)
