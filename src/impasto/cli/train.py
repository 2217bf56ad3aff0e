"""`impasto train`: a network that paints in one pass, from paintings and photographs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto import params
from impasto.assets import Store
from impasto.cli.options import option, with_options
from impasto.errors import InputError, require
from impasto.knobs import TrainKnobs
from impasto.library import Library, means_file

if TYPE_CHECKING:
    from impasto.train import Lesson

_PANEL = "Settings"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "train",
        epilog="Example: impasto train --style irises=museum:436528 --content photographs -o irises.safetensors",
    )(with_options(train, _options()))


def train(
    style: Annotated[
        list[str],
        typer.Option("--style", "-s", help="A painting, as stylize takes it; NAME=PAINTING names its style."),
    ],
    content: Annotated[Path, typer.Option("--content", "-c", help="Folder of photographs, or a webdataset shard.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The network's file, NAME.safetensors.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Start from a trained network: pack, or a .safetensors file.")
    ] = None,
    only_style: Annotated[
        bool,
        typer.Option("--only-style", help="With --from: learn the new styles' numbers, leave the network as it is."),
    ] = False,
    devices: Annotated[int, typer.Option(help="Processes, one a device, that train together.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last checkpoint stands.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as a JSON object on standard output.")] = False,
    **knobs: Any,
) -> None:
    """Train a network that paints in one pass, in one style or several."""
    asked = params.build(TrainKnobs, {name: v for name, v in knobs.items() if v is not None}, owner="train")
    if out.suffix.lower() != ".safetensors":
        raise InputError(f"{out} is not a .safetensors file", "give a name that ends so with -o")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist", "make it first, or name another with -o")
    if only_style and start is None:
        raise InputError("--only-style needs a network to start from", "name one with --from, such as --from pack")
    named = [_named(text) for text in style]
    if not content.exists():
        raise InputError(f"there is no folder {content}", "name one with photographs, or a .tar shard")
    training = require("impasto.train", "train")
    from impasto import device as hardware
    from impasto.assets import load_weights
    from impasto.cli.console import Reporter

    store = Store()
    placement = hardware.place(device, precision, tested=("float32", "bfloat16"))
    with Reporter() as reporter:
        lessons = _lessons(store, named, reporter)
        store.fetch(training.ASSETS, on_progress=reporter)
        course = training.Course(
            *(lessons, content, out, asked),
            start=None if start is None else training.load(start),
            only_codes=only_style,
            specimen=_specimen(store),
            devices=devices,
            resume=resume,
        )
        outcome = training.train(
            course,
            weights={asset: load_weights(store.path(asset)) for asset in training.ASSETS},
            placement=placement,
            on_progress=reporter,
            on_note=reporter.note,
        )
    if not outcome.leader:
        return
    if as_json:
        print(json.dumps({**dataclasses.asdict(outcome), "path": str(outcome.path)}))
    else:
        print(outcome.path)


def _named(text: str) -> tuple[str, str]:
    """The name of a style, empty when none was given, and its painting."""
    match = None if Path(text).exists() else re.fullmatch(r"([A-Za-z][\w-]*)=(.+)", text)
    return (match.group(1), match.group(2)) if match else ("", text)


def _lessons(store: Store, named: list[tuple[str, str]], reporter: Any) -> list[Lesson]:
    from impasto import images
    from impasto.train import Lesson

    library, lessons = Library(store), []
    for name, text in named:
        if means_file(text):
            pixels = images.read(text).pixels
            lessons.append(Lesson(name or _plain(Path(text).stem), pixels, Path(text).name, "not stated"))
        else:
            painting = library.find(text, on_progress=reporter)
            pixels = images.read(library.path(painting, on_progress=reporter)).pixels
            lessons.append(Lesson(name or _plain(painting.title), pixels, painting.id, painting.licence))
    names = [lesson.name for lesson in lessons]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two styles are called {twice!r}", "name them apart: --style NAME=PAINTING")
    return lessons


def _plain(title: str) -> str:
    """A title as a style's name, which no weight can be mistaken for."""
    from impasto.cli.stylize import slug

    name = slug(title)
    return name if name[0].isalpha() else f"style-{name}"


def _specimen(store: Store) -> Any:
    """The photograph of the thumbnails, when it is here."""
    from impasto import images

    return images.read(store.path("photos") / "chelsea.png").pixels if store.is_present("photos") else None


def _options() -> dict[str, Any]:
    """An option for each setting of training."""
    return {knob.name: option(knob, knob.type, str(knob.default), panel=_PANEL) for knob in params.knobs_of(TrainKnobs)}
