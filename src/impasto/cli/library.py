"""`impasto styles`, `methods` and `assets`: what there is to paint with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from impasto import settings
from impasto.assets import SAMPLE, Store
from impasto.cli.printing import say, say_json
from impasto.device import readable_bytes
from impasto.errors import AssetError, InputError, counted, plain
from impasto.methods import recipes, registry
from impasto.models import catalog

if TYPE_CHECKING:
    from impasto.assets.library import Library, Painting
    from impasto.cli.console import Reporter

_SHEET_COLUMNS = 6
_PREDICTED_SIZES = (512, 1024)  # pixels

assets_app = typer.Typer(help="Weights and paintings: list, fetch and verify them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("styles", epilog="Example: impasto styles van gogh --sheet van-gogh.png")(styles)
    app.command("methods", epilog="Example: impasto methods optimize")(methods)
    app.add_typer(assets_app, name="assets")


def styles(
    query: Annotated[list[str] | None, typer.Argument(help="Words of title, artist or date, or a number.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of the results to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List and search the trained styles of the pack and the paintings of the library; --style takes each id."""
    from impasto.assets.library import Library
    from impasto.cli.console import Reporter
    from impasto.engine.words import by_meaning

    words = " ".join(query or ())
    library = Library(Store())
    with Reporter() as reporter:
        try:
            found = library.search(words, on_progress=reporter)
            paintings = library.paintings()
            found = found or by_meaning(library, words, fetch=True, on_progress=reporter)
        except AssetError as error:  # the pack ships: it is there without the museum
            reporter.note(f"the library is left out: {error.message}; {error.hint}")
            found, paintings = [], ()
        packed = _packed(paintings, words, found)
    if not found and not packed and as_json:
        say_json([])
        return
    if not found and not packed:
        raise InputError(f"no painting matches {words!r}", "try fewer words; impasto styles lists all")
    if sheet is not None:
        _write_sheet(library, packed, found, sheet)
    if as_json:
        names = ("id", "title", "artist", "date", "licence", "source")
        say_json([{name: getattr(painting, name) for name in names} for painting in [*packed, *found]], indent=2)
    elif sheet is None:
        _print_table([*packed, *found])
    else:
        say(sheet)


def _packed(paintings: Sequence[Painting], words: str, found: list[Painting]) -> list[Painting]:
    """The styles of the pack whose painting was found, or whose own name is among the words, as the library lists."""
    from impasto.assets.library import Painting

    known = {painting.id: painting for painting in paintings}
    ids = {painting.id for painting in found}
    rows = []
    for style in catalog.pack():
        own = known.get(style.painting)
        if not words or style.painting in ids or style.name in words.lower().split() or words == style.id:
            artist, date = (own.artist, own.date) if own else ("", "")
            rows.append(Painting(style.id, style.name, artist, date, style.licence, "pack", (), ""))
    return rows


def _print_table(found: list[Painting]) -> None:
    table = Table("id", "title", "artist", "date", box=None, header_style="bold")
    for painting in found:
        table.add_row(*map(plain, (painting.id, painting.title, painting.artist, painting.date)))
    console = Console(soft_wrap=False)
    console.print(table, highlight=False, markup=False)
    packed = sum(one.source == "pack" for one in found)
    told = [counted(packed, "trained style")] if packed else []
    told += [counted(len(found) - packed, "painting")] if len(found) > packed else []
    console.print(f"{' and '.join(told)}, {plain(found[0].licence)}", style="dim", markup=False)


def _write_sheet(library: Library, packed: list[Painting], found: list[Painting], path: Path) -> None:
    from impasto import images

    images.check_output(path, ())
    thumbnails = {style.id: style.thumbnail for style in catalog.pack()}
    cells = [(images.read(thumbnails[one.id]).pixels, one.id) for one in packed if thumbnails.get(one.id)]
    for painting in found:
        pixels = library.read(painting).pixels
        cells.append((pixels, f"{painting.id.partition(':')[2]} {painting.title}, {painting.artist}"))
    images.write(images.read(images.contact_sheet(cells, columns=min(_SHEET_COLUMNS, len(cells)))), path)


def methods(
    name: Annotated[str | None, typer.Argument(help="Describe one method.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods with what each costs here and takes into account, or the settings of one."""
    rows = list(registry.methods().values()) if name is None else [registry.find(name)]
    if as_json:
        say_json([_described(row) for row in rows], indent=2)
        return
    console = Console()
    if name is None:
        console.print(_methods_table(rows), highlight=False)
        console.print("[dim]seconds and memory as predicted for this machine, in one piece of 4 to 3[/dim]")
        return
    row = rows[0]
    console.print(f"{row.name}: {row.summary}\n{row.paper}", highlight=False)
    for cost in _predicted(row):
        console.print(f"{cost['size']} px: about {cost['seconds']:g} s here, {_memory(cost)}", highlight=False)
    console.print(f"takes into account: {_honoured(row)}\n", highlight=False)
    table = Table("setting", "takes", "default", "what it does", box=None, header_style="bold")
    for knob in settings.knobs_of(row.load_knobs()):
        table.add_row(knob.flag, knob.bounds(), recipes.default_of(row.name, knob), knob.help)
    console.print(table, highlight=False)


def _methods_table(rows: Sequence[registry.Method]) -> Table:
    """A row a method: what it does, what it costs here, what it takes into account."""
    sizes = [f"{size} px" for size in _PREDICTED_SIZES]
    table = Table("method", "what it does, and paper", *sizes, "takes into account", box=None, header_style="bold")
    for row in rows:
        costs = [f"{cost['seconds']:g} s\n{_memory(cost)}" for cost in _predicted(row)]
        table.add_row(row.name, f"{row.summary}\n[dim]{row.paper}[/dim]", *costs, _honoured(row))
    return table


def _honoured(row: registry.Method) -> str:
    return ", ".join(sorted(row.honours)) or "content and style alone"


def _memory(cost: dict[str, float]) -> str:
    return readable_bytes(cost["bytes"])


def _predicted(row: registry.Method) -> list[dict[str, float]]:
    """What a picture of each of the sizes is predicted to cost."""
    from impasto.engine.plan import predicted_costs

    costs = [(size, *predicted_costs(row.name, size)) for size in _PREDICTED_SIZES]
    return [{"size": size, "seconds": float(f"{seconds:.2g}"), "bytes": needed} for size, seconds, needed in costs]


def _described(row: registry.Method) -> dict[str, object]:
    described = {**asdict(row), "honours": sorted(row.honours), "knobs": settings.json_schema(row.load_knobs())}
    return {key: value for key, value in described.items() if key != "target"} | {"predicted": _predicted(row)}


@assets_app.command("list")
def list_assets(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List all assets, and which of them are in the cache."""
    store = Store()
    rows = [
        {
            "id": asset.id,
            "kind": asset.kind,
            "bytes": asset.bytes,
            "present": store.is_present(asset.id),
            "licence": asset.licence,
            "summary": asset.summary,
        }
        for asset in store.declared.values()
    ]
    if as_json:
        say_json(rows, indent=2)
        return
    table = Table("id", "kind", "MB", "here", "licence", "what it is", box=None, header_style="bold")
    for row in rows:
        megabytes = f"{float(str(row['bytes'])) / 1e6:.1f}"
        here = "yes" if row["present"] else "no"
        table.add_row(str(row["id"]), str(row["kind"]), megabytes, here, str(row["licence"]), str(row["summary"]))
    Console().print(table, highlight=False)


@assets_app.command("fetch", epilog="Example: impasto assets fetch vgg19-normalised adain-decoder")
def fetch_assets(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="Which ones; by default all but sample, the photographs to train on, and what one method alone needs."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is in the cache.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files out of this folder, by their hashes, and reach for no network."),
    ] = None,
) -> None:
    """Fetch weights and paintings, so that everything works without a network."""
    from impasto.cli.console import Reporter

    store = Store()
    sample = store.of_kind(SAMPLE)
    asked = [one for name in ids or () for one in (sample if name == SAMPLE else (name,))]
    wanted = asked or [one for one, asset in store.declared.items() if one not in sample and not asset.by_request]
    with Reporter() as reporter:
        fetch_with_progress(store, wanted, reporter, force=force, folder=folder)
    for asset_id in wanted:
        say(f"{asset_id}: {store.path(asset_id)}")


def fetch_with_progress(
    store: Store, ids: Sequence[str], reporter: Reporter, *, force: bool = False, folder: Path | None = None
) -> None:
    """Fetch assets; of photographs to train on, whose owners may ask for a word of thanks, the licence is told."""
    store.fetch(ids, on_progress=reporter, force=force, folder=folder)
    for asset_id in ids:
        if store.declared[asset_id].kind == SAMPLE:
            reporter.note(f"{asset_id}: {store.declared[asset_id].licence}")


@assets_app.command("verify")
def verify_assets(
    ids: Annotated[list[str] | None, typer.Argument(help="Which ones; all in the cache by default.")] = None,
) -> None:
    """Check the hash of every file in the cache."""
    store = Store()
    wanted = ids or [asset_id for asset_id in store.declared if store.is_present(asset_id)]
    if not wanted:
        say(f"nothing is in the cache, {store.root}; impasto assets fetch fills it")
    damaged = []
    for asset_id in wanted:
        try:
            store.verify(asset_id)
            say(f"{asset_id}: sound")
        except AssetError as error:
            damaged.append(error)
            say(f"{asset_id}: {error.message}")
    if damaged:
        raise AssetError(f"{len(damaged)} of {len(wanted)} assets are damaged or missing", damaged[0].hint)
