"""`impasto redo`: makes a saved result again from what is written in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.parse import WORDS
from impasto.cli.printing import say
from impasto.errors import InputError
from impasto.models import catalog

if TYPE_CHECKING:
    from impasto.engine.controls import Controls


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("redo", epilog="Example: impasto redo photo-irises.png -o again.png")(redo)


def redo(
    picture: Annotated[Path, typer.Argument(help="A picture that impasto made.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to write; beside the picture by default.")
    ] = None,
    content: Annotated[Path | None, typer.Option(help="The photograph, when it has moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    jpeg_quality: flags.JpegQuality = None,
) -> None:
    """Paint a picture again from the settings in its metadata."""
    from impasto import images
    from impasto.cli.console import Reporter
    from impasto.cli.outputs import Targets, labels
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request, Result

    record = images.read_record(picture)
    if record is None:
        raise InputError(f"{picture} holds no settings of impasto", "give a picture that impasto has made")
    made_of = record.get("texture")
    source = content or (picture if made_of else _find(picture, record["content"]["name"]))
    styles = [(_style(picture, entry["id"]), entry["weight"]) for entry in record["styles"]]
    knobs = dict(record["knobs"])
    init = knobs.pop("init", None)
    if record["init"] is not None:
        init = _find(picture, record["init"])
    size = max(record["width"], record["height"])
    controls = _controls(picture, record)
    method = "auto" if controls.color_only else record["method"]
    request = Request(method, record["quality"], size, init, knobs, controls=controls)
    target = Targets(out, several=False, jpeg_quality=jpeg_quality)
    target.check(str(source), [style for style, _ in styles])
    with Reporter() as reporter:
        engine = Engine(device=device, precision=record["precision"])
        result: Result
        if made_of:
            result = engine.texture(styles, **made_of, request=request, on_progress=reporter, on_note=reporter.note)
        else:
            result = engine.stylize(source, styles, request, on_progress=reporter, on_note=reporter.note)
        if result.record["content"]["pixels"] != record["content"]["pixels"]:
            reporter.note(f"{source} has changed since {picture} was made")
    path = target.of(str(source), labels(record))
    say(result.save(path or Path(f"{picture.stem}-again.png"), jpeg_quality=jpeg_quality))


def _controls(picture: Path, record: Mapping[str, Any]) -> Controls:
    """What was asked for beside content and style, with its masks found again."""
    from impasto.engine.controls import Controls

    values = dict(record.get("controls", {}))
    for name in ("preserve", "strength_map"):
        if name in values:
            values[name] = _mask(picture, values[name])
    regions = tuple(
        (_mask(picture, row["mask"]), [(_style(picture, entry["id"]), entry["weight"]) for entry in row["styles"]])
        for row in record.get("regions", ())
    )
    return Controls(**values, regions=regions)


def _mask(picture: Path, name: str) -> str:
    return name if name in WORDS and not (picture.parent / name).exists() else str(_find(picture, name))


def _style(picture: Path, name: str) -> str:
    """A library id as it is; a file where it can be found."""
    prefix = name.partition(":")[0]
    if prefix in ("museum", "pack") and not Path(name).exists():
        return name
    if catalog.is_trained(name):
        file, _, style = name.rpartition(":")
        return f"{_find(picture, file)}:{style}"
    return str(_find(picture, name))


def _find(picture: Path, name: Any) -> Path:
    for candidate in (picture.parent / str(name), Path(str(name))):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{name or 'the photograph'}, of which {picture} was made, is not there", "put it beside the picture"
    )
