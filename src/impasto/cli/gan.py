"""`impasto gan`: pictures that a StyleGAN makes of random numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto import settings
from impasto.assets import Store
from impasto.cli import flags
from impasto.cli.flags import with_options
from impasto.cli.printing import say, say_json
from impasto.cli.train import collected, knob_options
from impasto.errors import InputError, require_installed
from impasto.files import check_apart, make_folder
from impasto.methods.settings import GanKnobs

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.gan.painter import Floats, Painter
    from impasto.models.stylegan_files import StyleGan

_MOST_PICTURES = 10_000
_MOST_CELLS = 400
_CELL = 160  # px of the pictures in sheets


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        help="Make pictures with a StyleGAN: train one on paintings, sample it, mix, walk, project a photograph.",
        no_args_is_help=True,
    )
    group.command("sample", epilog="Example: impasto gan sample net.safetensors --count 8 -o samples/")(sample)
    group.command(
        "mix", epilog="Example: impasto gan mix net.safetensors --rows 1-4 --columns 5-8 --layers fine -o mix.png"
    )(mix)
    group.command("walk", epilog="Example: impasto gan walk net.safetensors --seeds 1-6 --seconds 12 -o walk.mp4")(walk)
    group.command("project", epilog="Example: impasto gan project net.safetensors photo.jpg -o found.png")(project)
    group.command(
        "train", epilog="Example: impasto gan train --paintings museum --crop 64 --minutes 600 -o net.safetensors"
    )(with_options(train, knob_options(GanKnobs)))
    group.command(
        "adapt",
        epilog="Example: impasto gan adapt --from net.safetensors --paintings monets/ --freeze 2 -o monet.safetensors",
    )(with_options(adapt, knob_options(GanKnobs)))
    app.add_typer(group, name="gan")


_Network = Annotated[
    Path,
    typer.Argument(help="A network of gan train, NVIDIA's .pkl of StyleGAN2, 2-ADA or 3, or rosinality's .pt."),
]
_Truncation = Annotated[
    float,
    typer.Option(help="How far from the average picture, 0 to 2: below 1 fewer pictures fail, and they differ less."),
]
_Seeds = Annotated[str | None, typer.Option(help="Which pictures: numbers such as 7, 1,4,9 or 1-8.")]
_Json = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
_Paintings = Annotated[
    list[str] | None,
    typer.Option(help="Paintings to learn: a folder, museum (the library), or words that find some in it. Repeatable."),
]
_Target = Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, NAME.safetensors.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")]


def sample(
    network: _Network,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder; or a picture file, where one picture is made.")
    ] = None,
    seeds: _Seeds = None,
    count: Annotated[int, typer.Option(help="How many pictures, where no seeds are named.", min=1)] = 1,
    truncation: _Truncation = 0.7,
    size: Annotated[int | None, typer.Option(help="Side of the files in pixels; by default the network's.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also put all pictures on one sheet.")] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    quiet: flags.Quiet = False,
    as_json: _Json = False,
) -> None:
    """Paint pictures that nobody has painted: a seed is a picture."""
    from impasto import images

    numbers = [*dict.fromkeys(_numbers(seeds, "--seeds"))] if seeds else [*range(_checked(count))]
    place = _out(out)
    single = place.suffix.lower() in images.WRITABLE_EXTENSIONS
    if sheet is not None and len(numbers) > _MOST_CELLS:
        raise InputError(f"a sheet of {len(numbers)} pictures is too large", f"{_MOST_CELLS} is the most")
    if single and len(numbers) > 1:
        raise InputError(f"{len(numbers)} pictures cannot go into one file", "name a folder with -o")
    for target in [*([place] if single else []), *([] if sheet is None else [sheet])]:
        images.check_output(target, [network])
    check_apart({"-o": place if single else None, "--sheet": sheet}, [network])
    painter, reporter = _ready(network, device, precision, threads, quiet)
    latents, side = painter.latents(numbers, truncation=truncation), _side(size, painter)
    names = [place] if single else [place / f"seed-{number:04d}.png" for number in numbers]
    if not single:
        make_folder(place)
    shown: list[Floats] = []
    with reporter:
        for name, picture in zip(names, painter.paint(latents, on_progress=reporter), strict=True):
            _write(_resized(picture, side), name)
            shown += [] if sheet is None else [_resized(picture, min(_CELL, painter.size))]
    if sheet is not None:
        _write(_sheet(shown, [str(one) for one in numbers]), sheet)
    _tell(as_json, [*names, *([] if sheet is None else [sheet])], seeds=numbers, truncation=truncation)


def mix(
    network: _Network,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture of the grid.")] = None,
    rows: Annotated[str, typer.Option(help="Pictures that lead: seeds, or files of gan project, with commas.")] = "1-4",
    columns: Annotated[str, typer.Option(help="Pictures that give their layers, named the same way.")] = "5-8",
    layers: Annotated[
        str,
        typer.Option(help="What the columns give: coarse (shapes), middle, fine (colours), or layers such as 8-13."),
    ] = "fine",
    truncation: _Truncation = 0.7,
    folder: Annotated[Path | None, typer.Option(help="Also write each mixture into this folder, at full size.")] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    quiet: flags.Quiet = False,
    as_json: _Json = False,
) -> None:
    """Swap layers between pictures, in a grid: the shapes of one with the colours and strokes of another."""
    from impasto import images
    from impasto.gan.painter import layers_named, mixed

    place = _out(out)
    leading, giving = ([*dict.fromkeys(_names(*one))] for one in ((rows, "--rows"), (columns, "--columns")))
    if len(leading) * len(giving) > _MOST_CELLS:
        raise InputError(
            f"a grid of {len(leading)} by {len(giving)} is too large", f"make at most {_MOST_CELLS} mixtures"
        )
    images.check_output(place, [network])
    check_apart({"-o": place}, [network, *leading, *giving])
    names = [f"{_stem(row)}-{_stem(column)}" for row in leading for column in giving]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if folder is not None and twice is not None:
        raise InputError(f"two mixtures would be {folder / twice}.png", "rename one of the files of latents")
    painter, reporter = _ready(network, device, precision, threads, quiet)
    swapped = layers_named(layers, painter.layers, painter.bands)
    tops, sides = painter.named(giving, truncation=truncation), painter.named(leading, truncation=truncation)
    with reporter:
        above, beside = [*painter.paint(tops)], [*painter.paint(sides)]
        grid = [*painter.paint(mixed(sides, tops, swapped), on_progress=reporter)]
    written = [place]
    if folder is not None:
        make_folder(folder)
        for name, picture in zip(names, grid, strict=True):
            written.append(folder / f"{name}.png")
            _write(picture, written[-1])
    cells, captions = _grid(above, beside, grid), _captions(giving, leading, names)
    _write(_sheet(cells, captions, columns=len(giving) + 1), place)
    _tell(as_json, written, layers=[swapped.start, swapped.stop - 1], truncation=truncation)


def walk(
    network: _Network,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The video or animation to write.")] = None,
    seeds: Annotated[
        str, typer.Option(help="Pictures to pass, in order: seeds, or files of gan project, with commas.")
    ] = "1-6",
    seconds: Annotated[float, typer.Option(help="How long a round lasts.", min=0.1, max=3600)] = 12.0,
    fps: Annotated[float, typer.Option(help="Frames a second.", min=1, max=120)] = 25.0,
    truncation: _Truncation = 0.7,
    size: Annotated[int | None, typer.Option(help="Side of the frames in pixels; by default the network's.")] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    quiet: flags.Quiet = False,
    as_json: _Json = False,
) -> None:
    """Film a walk from picture to picture that ends where it began, so that it repeats without a seam."""
    require_installed("av", "video")
    from impasto import videos
    from impasto.gan.walk import loop

    place, names = _out(out), _names(seeds, "--seeds")
    coding = videos.choose_coding(place)
    videos.check_output(place, coding, [network])
    check_apart({"-o": place}, [network, *names])
    painter, reporter = _ready(network, device, precision, threads, quiet)
    latents = loop(painter.named(names, truncation=truncation), round(seconds * fps))
    side = _side(size, painter)
    with reporter, videos.VideoWriter(place, rate=fps, coding=coding) as writer:
        for picture in painter.paint(latents, on_progress=reporter):
            writer.write(_resized(picture, side))
    _tell(as_json, [place], frames=len(latents), truncation=truncation)


def project(
    network: _Network,
    photograph: Annotated[Path, typer.Argument(help="The picture to find; its middle square is taken.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture that is found.")] = None,
    latents: Annotated[
        Path | None, typer.Option(help="Where its latents go, .safetensors; by default beside the picture.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the descent.", min=1, max=100_000)] = 300,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    quiet: flags.Quiet = False,
    as_json: _Json = False,
) -> None:
    """Find a photograph in a network: latents whose picture comes near it, for gan mix and gan walk."""
    from impasto import images
    from impasto.assets import load_weights

    place = _out(out)
    images.check_output(place, [photograph])
    kept = latents or place.with_suffix(".safetensors")
    if kept.suffix != ".safetensors":
        raise InputError(f"{kept} is not a .safetensors file", "give a name that ends so with --latents")
    check_apart({"-o": place, "--latents": kept}, [network, photograph])
    picture = images.read(photograph)
    painter, reporter = _ready(network, device, precision, threads, quiet)
    from impasto.gan import projection

    store = Store()
    with reporter:
        store.fetch([projection.ASSET], on_progress=reporter)
        weights = load_weights(store.path(projection.ASSET))
        found = projection.project(painter, picture, weights=weights, steps=steps, on_progress=reporter)
    painter.save_latents(kept, found.latents)
    _write(found.picture, place)
    losses = {name: value for name, value in found.losses[-1].items() if name != "seconds"}
    _tell(as_json, [place, kept], losses=losses)


def train(
    paintings: _Paintings = None,
    out: _Target = None,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a StyleGAN2 on squares cut from paintings."""
    _train(paintings, out, None, knobs, resume=resume, place=(device, precision, threads), as_json=as_json)


def adapt(
    paintings: _Paintings = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="The network to start from: ours, NVIDIA's .pkl or rosinality's .pt.")
    ] = None,
    out: _Target = None,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Adapt a StyleGAN2 to another collection, of a few paintings even."""
    if start is None:
        raise InputError("no network to start from was given", "add --from NET.safetensors")
    _train(paintings, out, start, knobs, resume=resume, place=(device, precision, threads), as_json=as_json)


def _train(
    paintings: list[str] | None,
    out: Path | None,
    start: Path | None,
    knobs: dict[str, Any],
    *,
    resume: bool,
    place: tuple[str, str, int | None],
    as_json: bool,
) -> None:
    device, precision, threads = place
    flags.use_threads(threads)
    target = _out(out)
    if target.suffix != ".safetensors" or not target.absolute().parent.is_dir():
        raise InputError(f"{target} cannot be the network's file", "give a name that ends in .safetensors, in a folder")
    if not paintings:
        raise InputError("no paintings were given", "name them with --paintings: a folder, museum, or words")
    check_apart({"-o": target}, [start])
    require_installed("lightning", "train")
    from impasto import device as hardware
    from impasto import train as training
    from impasto.cli.console import Reporter

    training.check_target(target, resume=resume)
    network = None if start is None else _begun(start)
    asked = settings.build(GanKnobs, _sized(knobs, network), owner="gan train")
    training.GanTraining.check(asked, network)
    placement = hardware.place(device, precision, tested=("float32", "bfloat16"))
    with Reporter() as reporter:
        source, licence = collected(Store(), paintings, asked.crop, reporter)
        job = training.GanTraining(
            source=source,
            target=target,
            knobs=asked,
            resume=resume,
            start=network,
            paintings=", ".join(paintings),
            licence=licence,
        )
        result = training.train(job, weights={}, placement=placement, on_progress=reporter, on_note=reporter.note)
    _tell(as_json, [result.path], steps=result.steps, losses=dict(result.losses))


def _begun(start: Path) -> StyleGan:
    from impasto.models import stylegan_files

    return stylegan_files.read(start)


def _sized(knobs: dict[str, Any], network: StyleGan | None) -> dict[str, Any]:
    """With the side of the network's pictures, where none was asked for."""
    return knobs if network is None else {**knobs, "crop": knobs.get("crop") or network.spec.size}


def _ready(network: Path, device: str, precision: str, threads: int | None, quiet: bool) -> tuple[Painter, Reporter]:
    """The painter, and what reports."""
    flags.use_threads(threads)
    from impasto.cli.console import Reporter
    from impasto.gan.painter import Painter

    return Painter.load(network, device=device, precision=precision), Reporter(silent=quiet)


def _out(out: Path | None) -> Path:
    if out is None:
        raise InputError("no place was named for the result", "add -o NAME")
    return out


def _checked(count: int) -> int:
    if count > _MOST_PICTURES:
        raise InputError(f"--count is {count}", f"it takes 1 to {_MOST_PICTURES}")
    return count


def _numbers(text: str, flag: str) -> list[int]:
    """Seeds in "1,4,9" or "1-8"."""
    found: list[int] = []
    for word in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", word, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < _MOST_PICTURES:
            raise InputError(f"{flag} is {text!r}", "it takes numbers such as 7, 1,4,9 or 1-8")
        found += range(first, last + 1)
    return found


def _names(text: str, flag: str) -> list[str]:
    """Seeds and files in "1-3,found.safetensors"."""
    found: list[str] = []
    for word in text.split(","):
        numbered = re.fullmatch(r"\s*\d+(-\d+)?\s*", word, re.ASCII)
        found += map(str, _numbers(word, flag)) if numbered else [word.strip()]
    return found


def _stem(name: str) -> str:
    return name if name.isdecimal() else Path(name).stem


def _side(size: int | None, painter: Painter) -> int:
    if size is not None and not 8 <= size <= 8192:
        raise InputError(f"--size is {size}", "it takes 8 to 8192")
    return size or painter.size


def _resized(picture: Floats, side: int) -> Floats:
    from impasto import images

    return picture if len(picture) == side else images.resize(picture, side, side)


def _write(picture: Floats, place: Path) -> None:
    from impasto import images

    images.write(images.read(picture), place)


def _sheet(pictures: Sequence[Floats], captions: Sequence[str], *, columns: int | None = None) -> Floats:
    from impasto import images

    across = columns or min(8, max(1, round(len(pictures) ** 0.5)))
    return images.contact_sheet([*zip(pictures, captions, strict=True)], columns=across, cell=_CELL, lines=1)


def _grid(above: Sequence[Floats], beside: Sequence[Floats], grid: Sequence[Floats]) -> list[Floats]:
    """Row by row: an empty corner and the columns' pictures; then the row's own and its mixtures."""
    cells, across = [above[0] * 0 + 1, *above], len(above)
    for row, leading in enumerate(beside):
        cells += [leading, *grid[row * across : (row + 1) * across]]
    return cells


def _captions(giving: Sequence[str], leading: Sequence[str], names: Sequence[str]) -> list[str]:
    found, across = ["", *map(_stem, giving)], len(giving)
    for row, name in enumerate(leading):
        found += [_stem(name), *names[row * across : (row + 1) * across]]
    return found


def _tell(as_json: bool, written: Sequence[Path], **facts: Any) -> None:
    if as_json:
        say_json({"written": [str(path) for path in written], **facts})
    else:
        for path in written:
            say(path)
