"""`impasto style save` and `show`: styles kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.parse import parse_style
from impasto.cli.printing import say, say_json
from impasto.errors import InputError, counted, plain
from impasto.files import check_apart

if TYPE_CHECKING:
    from impasto.engine.style_files import StyleFile

style_app = typer.Typer(help="Keep a style in a file, and show what is in one.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(style_app, name="style")


@style_app.command("save", epilog='Example: impasto style save "a stormy night at sea" -o storm.style')
def save(
    style: Annotated[list[str], typer.Argument(help="One style or several, as --style takes them.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, NAME.style.")] = None,
    as_json: _Json = False,
) -> None:
    """Write a style to a small file that works wherever --style does."""
    from impasto.assets import Store
    from impasto.assets.library import Library
    from impasto.cli.console import Reporter
    from impasto.engine import styles
    from impasto.engine.style_files import SUFFIX

    if out is None or out.suffix != SUFFIX:
        raise InputError(f"-o is {out}" if out else "no file was named for the style", f"add -o NAME{SUFFIX}")
    pairs = [parse_style(text) for text in style]
    check_apart({"-o": out}, [name for name, _ in pairs])
    with Reporter() as reporter:
        kept = styles.kept_style(Library(Store()), out.stem, pairs, on_progress=reporter, on_note=reporter.note)
        kept.save(out)
    say_json(described(kept, out)) if as_json else say(out)


@style_app.command("show", epilog="Example: impasto style show storm.style --sheet storm.png")
def show(
    file: Annotated[Path, typer.Argument(help="A file that style save or discover has written.")],
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of its pictures to this file.")] = None,
    as_json: _Json = False,
) -> None:
    """Show what a style file holds: pictures, weights, colours and licences."""
    from impasto.engine import style_files

    if style_files.split(file) is None:
        raise InputError(f"{file} is no style file", f"its name ends in {style_files.SUFFIX}")
    kept = style_files.read(file)
    if sheet is not None:
        _write_sheet(file, sheet)
    if as_json:
        say_json(described(kept, file))
        return
    _print(kept)
    if sheet is not None:
        say(sheet)


def described(kept: StyleFile, path: Path) -> dict[str, Any]:
    """What `--json` prints of a style file."""
    names = ("label", "id", "picture", "weight", "similarity", "licence")
    members = [
        {name: getattr(one, name) for name in names if getattr(one, name) not in ("", None)} for one in kept.members
    ]
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "name": kept.name,
        "asked": kept.asked,
        "palette": list(kept.palette),
        "members": members,
    }


def _print(kept: StyleFile) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    told = f"{kept.name}: {kept.asked}" if kept.asked and kept.asked != kept.name else kept.name
    console.print(plain(told), highlight=False, markup=False)
    table = Table("share", "picture", "name", "licence", box=None, header_style="bold")
    total = sum(member.weight for member in kept.members)
    for member in kept.members:
        row = (
            f"{member.weight / total:.0%}",
            member.id or f"{kept.name}.style:{member.name}",
            member.label,
            member.licence,
        )
        table.add_row(*map(plain, row))
    console.print(table, highlight=False, markup=False)
    colors = Text.assemble(*((f"  {color}  ", f"black on {color}") for color in kept.palette))
    console.print(colors)
    console.print(counted(len(kept.members), "picture"), style="dim", highlight=False)


def _write_sheet(file: Path, path: Path) -> None:
    from impasto import images
    from impasto.assets import Store
    from impasto.assets.library import Library
    from impasto.engine.styles import find_styles

    images.check_output(path, [file])
    sources = find_styles(Library(Store()), str(file))
    cells = [(source.picture.pixels, f"{source.weight:.0%} {source.label}") for source in sources]
    images.write(images.read(images.contact_sheet(cells, columns=min(6, len(cells)))), path)
