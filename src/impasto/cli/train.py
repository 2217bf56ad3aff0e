"""`impasto train`: a network that paints in one pass, from paintings and photographs."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from impasto import settings
from impasto.assets import SAMPLE, Store
from impasto.cli import flags
from impasto.cli.flags import option, with_options
from impasto.cli.library import fetch_with_progress
from impasto.cli.printing import say, say_json
from impasto.errors import InputError, counted, require_installed
from impasto.files import check_apart
from impasto.methods.settings import (
    AdaINTrainKnobs,
    AttentionTrainKnobs,
    ClipTrainKnobs,
    DecoderKnobs,
    SearchKnobs,
    TrainKnobs,
    TranslationKnobs,
)
from impasto.models import codecs, network_specs
from impasto.runtimes.sessions import RUNTIMES
from impasto.train.data import Photographs, check_photographs, from_pixels, style_name, thumbnail_photograph

if TYPE_CHECKING:
    from torch import Tensor

    from impasto.assets.library import Library, Painting
    from impasto.cli.console import Reporter
    from impasto.engine.request import Sources
    from impasto.models.networks import Trained
    from impasto.train import TrainingJob, TrainingStyle

K = TypeVar("K")

_PANEL = "Settings"
_ARBITRARY_NETWORK = "small"
_KNOWN_ONLY = ("adversarial_weight", "clip")  # settings of styles that are known beforehand
_UNSEEN = 20  # paintings to validate in; of few an eighth
_LEAST_PAINTINGS = 8
_LEAST_SIDE, _MOST_SIDE = 32, 4096  # px of the picture that a search times
_KEPT = 560  # longest side in pixels at which paintings are held


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with its sub-commands."""
    group = typer.Typer()
    group.callback(
        invoke_without_command=True,
        epilog="Example: impasto train --style irises=museum:436528 --content photographs -o irises.safetensors",
    )(with_options(train, knob_options(TrainKnobs)))
    group.command(
        "arbitrary", epilog="Example: impasto train arbitrary --content photographs --minutes 600 -o any.safetensors"
    )(with_options(train_arbitrary, knob_options(TrainKnobs, without=_KNOWN_ONLY, network=_ARBITRARY_NETWORK)))
    group.command(
        "unpaired",
        epilog="Example: impasto train unpaired --photos holiday/ --paintings monet/ -o monet.safetensors",
    )(with_options(train_unpaired, knob_options(TranslationKnobs)))
    group.command(
        "attention",
        epilog="Example: impasto train attention --content photographs --minutes 600 -o attention.safetensors",
    )(with_options(train_attention, knob_options(AttentionTrainKnobs)))
    group.command(
        "adain",
        epilog="Example: impasto train adain --content photographs --from adain -o adain.safetensors",
    )(with_options(train_adain, knob_options(AdaINTrainKnobs)))
    group.command(
        "decoder",
        epilog="Example: impasto train decoder --layer relu3_1 --content photographs -o decoder3.safetensors",
    )(with_options(train_decoder, knob_options(DecoderKnobs)))
    group.command("clip", epilog="Example: impasto train clip --content sample -o shapes.safetensors")(
        with_options(train_clip, knob_options(ClipTrainKnobs))
    )
    group.command(
        "search",
        epilog="Example: impasto train search --style museum:436528 --content photographs --minutes 60 -o search/",
    )(with_options(train_search, knob_options(SearchKnobs)))
    app.add_typer(group, name="train")


_Content = Annotated[
    Path | None,
    typer.Option(
        "--content",
        "-c",
        help="Folder of photographs, a webdataset shard, or sample: photographs that are fetched.",
    ),
]
_Out = Annotated[Path | None, typer.Option("--out", "-o", help="The file to write, NAME.safetensors.")]
_Start = Annotated[
    str | None, typer.Option("--from", help="Start from a trained network: pack, or a .safetensors file.")
]
_StartDecoder = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Start from a decoder, of this layer or another: what both have is taken over. AdaIN's is adain, or a "
        "file of impasto train adain.",
    ),
]
_Paintings = Annotated[str, typer.Option(help="Paintings to train on: museum (the library), or a folder.")]
_Devices = Annotated[int, typer.Option(help="Devices to train on, with one process each.", min=1)]
_Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as a JSON object.")]


def train(
    context: typer.Context,
    style: Annotated[
        list[str] | None,
        typer.Option("--style", "-s", help="A painting, as in stylize; NAME=PAINTING gives the style a name."),
    ] = None,
    content: _Content = None,
    out: _Out = None,
    start: _Start = None,
    only_style: Annotated[
        bool,
        typer.Option(
            "--only-style", help="With --from: train only the new styles, and leave the rest of the network unchanged."
        ),
    ] = False,
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a network that paints one style or several in a single pass; or any painting (arbitrary), or a decoder."""
    if context.invoked_subcommand is not None:
        return
    if not style:
        raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; or train arbitrary')
    source, target = _places(content, out)
    asked = _built(TrainKnobs, knobs)
    network_specs.find(asked.network)
    if only_style and start is None:
        raise InputError("--only-style needs a network to start from", "name one with --from, such as --from pack")
    named = [_named(text) for text in style]
    check_apart({"-o": target}, [start, *(text for _, text in named)])
    common: dict[str, Any] = {"source": source, "target": target, "knobs": asked, "devices": devices, "resume": resume}

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import StyleTraining, load

        training_styles = _training_styles(store, named, reporter, by_words=bool(asked.clip))
        begun = None if start is None else load(start)
        return StyleTraining(
            **{**common, "knobs": _with_network_of(begun, asked, knobs)},
            training_styles=training_styles,
            start=begun,
            only_codes=only_style,
            clip=_clip(asked.clip),
            thumbnail_photograph=thumbnail_photograph(store),
        )

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def train_arbitrary(
    content: _Content = None,
    out: _Out = None,
    paintings: _Paintings = "museum",
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Start from a trained network: pack, a file, or one for any painting, to go on, such as shipped.",
        ),
    ] = None,
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a network that paints in the style of any painting."""
    source, target = _places(content, out)
    asked = _built(TrainKnobs, {**knobs, "network": knobs.get("network") or _ARBITRARY_NETWORK})
    network_specs.find(asked.network)
    _painting_files(paintings)
    check_apart({"-o": target}, [start])
    common: dict[str, Any] = {"source": source, "target": target, "knobs": asked, "devices": devices, "resume": resume}

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import StyleTraining, load_arbitrary, variations

        begun, predictor = (None, None) if start is None else load_arbitrary(start)
        settings = _with_network_of(begun, asked, knobs)
        trained, unseen = collection(store, paintings, asked.seed, reporter)
        if begun is not None and predictor is not None:
            trained, unseen = _as_before(begun, trained, unseen, reporter)
        training_styles = [*trained, *variations(trained, asked.seed), *unseen]
        return StyleTraining(
            **{**common, "knobs": settings},
            training_styles=training_styles,
            unseen=len(unseen),
            start=begun,
            predictor=predictor,
        )

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def train_unpaired(
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs, a webdataset shard, or sample: photographs that are fetched."),
    ] = None,
    paintings: Annotated[
        list[str] | None,
        typer.Option(help="Folder of paintings, or words that find some in the library; may be repeated."),
    ] = None,
    out: _Out = None,
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a generator that turns photographs into the paintings of a collection, without pairs (CUT, CycleGAN)."""
    source, target = _places(photos, out, "--photos")
    asked = _built(TranslationKnobs, knobs)
    if not paintings:
        raise InputError("no paintings were given", "name a folder of them, or a painter, with --paintings")
    check_apart({"-o": target}, paintings)

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import UnpairedTraining

        kept, licence = collected(store, paintings, asked.crop, reporter)
        return UnpairedTraining(
            source=source,
            paintings=kept,
            target=target,
            knobs=asked,
            devices=devices,
            resume=resume,
            thumbnail_photograph=thumbnail_photograph(store),
            licence=licence,
        )

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def _decoder(store: Store, start: Path, reporter: Reporter) -> Mapping[str, Tensor]:
    """Tensors of a decoder to start from. Raises InputError where there is none."""
    from impasto.assets import load_weights
    from impasto.models import decoders

    if start == Path(codecs.KIND) and not start.exists():
        return load_weights(store, codecs.ASSETS[1], on_progress=reporter)
    return codecs.read(start).decoder if codecs.is_codec(start) else decoders.read(start)


def collected(
    store: Store, named: list[str], least_side: int, reporter: Reporter
) -> tuple[Path | list[Path] | Photographs, str]:
    """Paintings of folders, or of the library (`museum` for all of it), and their licence.

    Raises:
        InputError: a name is neither, or they are too few.
    """
    folders = [Path(text) for text in named if Path(text).exists()]
    if len(folders) == len(named):
        check_photographs(folders, "painting")
        return folders[0] if len(folders) == 1 else folders, "not stated"
    if folders:
        raise InputError(f"--paintings names {folders[0]}, a folder, and words", "name folders alone, or words alone")
    from impasto.assets.library import Library

    library = Library(store)
    found: dict[str, Painting] = {}
    for words in named:
        matching = library.search("" if words == "museum" else words, on_progress=reporter)
        if not matching:
            raise InputError(
                f"there is no folder {words}, and no painting in the library matches it",
                "impasto styles lists them; or name a folder of paintings",
            )
        found |= {one.id: one for one in matching}
    reporter.note(f"paintings of the library: {len(found)}")
    pixels = (library.read(one).pixels for one in found.values())
    licences = ", ".join(sorted({one.licence for one in found.values()}))
    return from_pixels(pixels, least_side=least_side, where=f"--paintings {', '.join(named)} finds"), licences


def train_attention(
    content: _Content = None,
    out: _Out = None,
    paintings: _Paintings = "museum",
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train style attention: a network that paints any picture after any painting, like after like."""
    source, target = _places(content, out)
    asked = _built(AttentionTrainKnobs, knobs)
    _painting_files(paintings)

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import AttentionTraining

        trained, _ = collection(store, paintings, asked.seed, reporter)
        return AttentionTraining(
            source=source, target=target, knobs=asked, training_styles=trained, devices=devices, resume=resume
        )

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def train_adain(
    content: _Content = None,
    out: _Out = None,
    start: _StartDecoder = None,
    paintings: _Paintings = "museum",
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a decoder for AdaIN: what turns a photograph's features with a painting's statistics into a picture."""
    source, target = _places(content, out)
    asked = _built(AdaINTrainKnobs, knobs)
    check_apart({"-o": target}, [start])
    _painting_files(paintings)

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import AdaINTraining

        begun = None if start is None else _decoder(store, start, reporter)
        trained, _ = collection(store, paintings, asked.seed, reporter)
        return AdaINTraining(
            source=source,
            target=target,
            knobs=asked,
            training_styles=trained,
            start=begun,
            devices=devices,
            resume=resume,
        )

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def train_decoder(
    content: _Content = None,
    out: _Out = None,
    start: _StartDecoder = None,
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a decoder that turns the features of one layer of VGG-19 back into pictures."""
    asked = _built(DecoderKnobs, knobs)
    source, target = _places(content, out)
    check_apart({"-o": target}, [start])

    def job(store: Store, reporter: Reporter) -> TrainingJob:
        from impasto.train import DecoderTraining

        begun = None if start is None else _decoder(store, start, reporter)
        return DecoderTraining(source=source, target=target, knobs=asked, devices=devices, resume=resume, start=begun)

    _run(job, target, device, precision, resume=resume, as_json=as_json)


def train_clip(
    content: _Content = None,
    out: _Out = None,
    devices: _Devices = 1,
    resume: _Resume = False,
    device: flags.Device = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Train a small CLIP that knows colours and patterns by name, for --clip."""
    asked = _built(ClipTrainKnobs, knobs)
    source, target = _places(content, out)

    def job(_store: Store, _reporter: Reporter) -> TrainingJob:
        from impasto.train import ClipTraining

        return ClipTraining(source=source, target=target, knobs=asked, devices=devices, resume=resume)

    _run(job, target, device, "float32", resume=resume, as_json=as_json)


def train_search(
    style: Annotated[
        list[str] | None,
        typer.Option("--style", "-s", help="A painting that each network is trained on, as in train."),
    ] = None,
    content: _Content = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the study, the table, the plot and the winner.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the winner; it is written to NAME.json in the folder.")] = "winner",
    runtime: Annotated[
        str,
        typer.Option(
            help="What will run the network, and times it: torch, onnx, openvino, or auto: the fastest, by measurement."
        ),
    ] = "auto",
    frame: Annotated[str, typer.Option(help="Width and height of the picture that is timed.")] = "1280x720",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in the folder.")] = False,
    threads: flags.Threads = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    as_json: _Json = False,
    **knobs: Any,
) -> None:
    """Search for networks that are quicker than a reference, or paint better at its speed, on one runtime."""
    flags.use_threads(threads)
    if not style:
        raise InputError("no style was given", "add --style PAINTING: each network is trained on it")
    source, folder = _search_places(content, out)
    asked = _built(SearchKnobs, knobs)
    if asked.clip:
        raise InputError("--clip is for sentences, and a search trains on paintings", "leave it out")
    network_specs.find(asked.network)
    sides, named = _sides(frame), [_named(text) for text in style]
    _check_name(name)
    if runtime not in ("auto", "torch"):
        _check_runtime(runtime)
    require_installed("optuna", "search")
    require_installed("lightning", "search")
    from impasto import device as hardware
    from impasto import train as training
    from impasto.assets import load_weights
    from impasto.cli.console import Reporter

    training.check_folder(folder, resume=resume)
    store = Store()
    placement = hardware.place(device, precision, tested=("float32", "bfloat16"))
    with Reporter() as reporter:
        sampled = source == Path(SAMPLE) and not source.exists()
        job = training.Search(
            source=sample_folders(store, reporter) if sampled else source,
            folder=folder,
            knobs=asked,
            training_styles=_training_styles(store, named, reporter),
            runtime=runtime,
            sides=sides,
            name=name,
            resume=resume,
        )
        store.fetch(job.assets, on_progress=reporter)
        result = training.search(
            job,
            weights={asset: load_weights(store.path(asset)) for asset in job.assets},
            placement=placement,
            on_progress=reporter,
            on_note=reporter.note,
        )
        reporter.note(f"{result.tried} networks tried, {result.pruned} of them given up; timed on {result.timed_on}")
        if result.winner is None:
            reporter.note(f"none beats {asked.network} on one axis at no loss on the other")
    if as_json:
        say_json(result.as_plain())
    else:
        say(result.winner or result.table)


def _search_places(content: Path | None, out: Path | None) -> tuple[Path, Path]:
    """Where the photographs are, and the folder of the search."""
    if content is None:
        raise InputError("no photographs were given", "name a folder of them with --content; or --content sample")
    if out is None:
        raise InputError("no folder was named for the search", "add -o FOLDER")
    if content.exists() or str(content) != SAMPLE:
        check_photographs(content)
    return content, out


def _sides(frame: str) -> tuple[int, int]:
    """Height and width of what is timed."""
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", frame)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in (width, height)):
        raise InputError(
            f"--frame is {frame!r}", f"it takes WIDTHxHEIGHT, {_LEAST_SIDE} to {_MOST_SIDE} each, such as 1280x720"
        )
    return height, width


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][\w-]{0,40}", name) or name in network_specs.ARCHITECTURES:
        taken = " and ".join((", ".join(network_specs.names()[:-1]), network_specs.names()[-1]))
        raise InputError(f"--name is {name!r}", f"it takes a word of letters, digits, _ and -; {taken} are taken")


def _check_runtime(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise InputError(f"--runtime is {runtime!r}", f"it takes auto, torch, {' or '.join(RUNTIMES)}")
    RUNTIMES[runtime].check_installed()


def _built(cls: type[K], knobs: dict[str, Any]) -> K:
    return settings.build(cls, knobs, owner="train")


def _places(content: Path | None, out: Path | None, flag: str = "--content") -> tuple[Path, Path]:
    """Where the photographs are and where the network goes."""
    if content is None:
        raise InputError("no photographs were given", f"name a folder of them with {flag}; or {flag} sample")
    if out is None:
        raise InputError("no file was named for the network", "add -o NAME.safetensors")
    if out.suffix.lower() != ".safetensors":
        raise InputError(f"{out} is not a .safetensors file", "give a name that ends so with -o")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist", "make it first, or name another with -o")
    if content.exists() or str(content) != SAMPLE:
        check_photographs(content)
    return content, out


def _run(
    job: Callable[[Store, Reporter], TrainingJob],
    target: Path,
    device: str,
    precision: str,
    *,
    resume: bool,
    as_json: bool,
) -> None:
    """Train what `job` plans, and print the result."""
    from impasto import train as training

    training.check_target(target, resume=resume)  # before minutes go into reading paintings
    from impasto import device as hardware
    from impasto.assets import load_weights
    from impasto.cli.console import Reporter

    store = Store()
    placement = hardware.place(device, precision, tested=("float32", "bfloat16"))
    with Reporter() as reporter:
        whole = job(store, reporter)
        if whole.source == Path(SAMPLE) and not whole.source.exists():
            whole = dataclasses.replace(whole, source=sample_folders(store, reporter))
        store.fetch(whole.assets, on_progress=reporter)
        result = training.train(
            whole,
            weights={asset: load_weights(store.path(asset)) for asset in whole.assets},
            placement=placement,
            on_progress=reporter,
            on_note=reporter.note,
        )
    if not result.leader:
        return
    if as_json:
        say_json({**dataclasses.asdict(result), "path": str(result.path)})
    else:
        say(result.path)


def sample_folders(store: Store, reporter: Reporter) -> list[Path]:
    """Folders of the photographs that can be fetched."""
    ids = store.of_kind(SAMPLE)
    fetch_with_progress(store, ids, reporter)
    return [store.path(one) for one in ids]


def collection(
    store: Store, paintings: str, seed: int, reporter: Reporter
) -> tuple[list[TrainingStyle], list[TrainingStyle]]:
    """Paintings to learn from, in an order that the seed settles, and some to validate in.

    What of a folder cannot be read is named and left out.

    Raises:
        InputError: there are too few.
    """
    from impasto import images
    from impasto.assets.library import Library
    from impasto.contract import Progress
    from impasto.train import TrainingStyle

    if paintings == "museum":
        library = Library(store)
        rows = [(one.title, partial(library.read, one), one.id, one.licence) for one in library.paintings(reporter)]
    else:
        files = _painting_files(paintings)
        rows = [(path.stem, partial(images.read, path), path.name, "not stated") for path in files]
    training_styles = []
    for done, place in enumerate(random.Random(seed).sample(range(len(rows)), len(rows))):  # noqa: S311 - no secret
        reporter(Progress("reading paintings", done, len(rows), "picture"))
        name, read, painting, licence = rows[place]
        try:
            picture = read()
        except InputError as error:
            if paintings == "museum":
                raise
            reporter.note(f"left out: {error}")
            continue
        width, height = images.fit(picture.width, picture.height, min(_KEPT, max(picture.width, picture.height)))
        training_styles.append(
            TrainingStyle(style_name(name), picture.resized(height, width).pixels, painting, licence)
        )
    _check_enough(paintings, len(training_styles))
    unseen = min(_UNSEEN, max(2, len(training_styles) // 8))
    return training_styles[unseen:], training_styles[:unseen]


def _painting_files(paintings: str) -> list[Path]:
    """The pictures of a folder of paintings; none of the museum.

    Raises:
        InputError: there is no such folder, or it holds too few.
    """
    if paintings == "museum":
        return []
    from impasto import images

    if not Path(paintings).is_dir():
        raise InputError(f"there is no folder {paintings}", "name one with paintings, or museum")
    files = sorted(path for path in Path(paintings).rglob("*") if path.suffix.lower() in images.EXTENSIONS)
    _check_enough(paintings, len(files))
    return files


def _check_enough(paintings: str, count: int) -> None:
    if count < _LEAST_PAINTINGS:
        raise InputError(
            f"{paintings} holds {counted(count, 'painting')}; {_LEAST_PAINTINGS} are the least", "give more"
        )


def _as_before(
    begun: Trained, trained: list[TrainingStyle], unseen: list[TrainingStyle], reporter: Reporter
) -> tuple[list[TrainingStyle], list[TrainingStyle]]:
    """Paintings to learn from and to validate in, so that a network that goes on is judged by what it never saw."""
    held_out, known = ({*begun.about.get(key, ())} for key in ("unseen", "paintings"))
    every = [*unseen, *trained]
    if held_out and held_out <= {style.id for style in every}:
        return [one for one in every if one.id not in held_out], [one for one in every if one.id in held_out]
    learnt = sum(one.id in known for one in unseen)
    if learnt:
        reporter.note(f"the network has learnt {learnt} of the {counted(len(unseen), 'painting')} to validate in")
    return trained, unseen


def _with_network_of(begun: Trained | None, settings: TrainKnobs, given: Mapping[str, Any]) -> TrainKnobs:
    """The settings, with the network of what the training begins with.

    Raises:
        InputError: another was given.
    """
    if begun is None:
        return settings
    name, asked = begun.architecture.name, given.get("network")
    if asked and asked != name:
        raise InputError(f"--network is {asked}, and --from is of {name}", "leave one of them out")
    return dataclasses.replace(settings, network=name)


def _named(text: str) -> tuple[str, str]:
    """The name of a style, empty when none was given, and its painting."""
    match = None if Path(text).exists() else re.fullmatch(r"([A-Za-z][\w-]*)=(.+)", text)
    return (match.group(1), match.group(2)) if match else ("", text)


def _clip(name: str) -> Mapping[str, Tensor] | None:
    """The weights of a CLIP; None where none is named."""
    if not name:
        return None
    from impasto.methods.clip import ClipStyle

    return ClipStyle.read_weights(f"clip:{name}")


def _training_styles(
    store: Store, named: list[tuple[str, str]], reporter: Reporter, *, by_words: bool = False
) -> list[TrainingStyle]:
    """The styles to train on; by_words: each is a sentence as it is."""
    from impasto.assets.library import Library
    from impasto.engine.reading import tell_plain
    from impasto.engine.styles import as_sentences, find_styles

    library, training_styles = Library(store), []
    for name, text in named:
        styles: Any = as_sentences(text) if by_words else text
        found = find_styles(library, styles, on_progress=reporter, on_note=reporter.note)
        tell_plain(found, reporter.note)
        training_styles.append(training_style(library, name, found))
    names = [style.name for style in training_styles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two styles are called {twice!r}", "name them apart: --style NAME=PAINTING")
    return training_styles


def training_style(library: Library, name: str, sources: Sources) -> TrainingStyle:
    """A style to train on: one painting, or several that a folder, a sentence or a style file stands for."""
    from impasto.train import TrainingStyle

    if sources[0].trained is not None:
        raise InputError(f"{sources[0].id} is a style of a trained network", "name a painting, or start --from it")
    total = sum(source.weight for source in sources)
    if sources[0].words:
        own = sources[0]
        return TrainingStyle(name or style_name(own.words), own.picture.pixels, own.id, "own words", words=own.words)
    ids = [source.id for source in sources]
    licences = {library.find(one).licence if one.startswith("museum:") else "not stated" for one in ids}
    parts = tuple((source.picture.pixels, source.weight / total) for source in sources)
    title = name or style_name(sources[0].title)
    return TrainingStyle(
        title, parts[0][0], " ".join(ids), ", ".join(sorted(licences)), parts if len(parts) > 1 else ()
    )


def knob_options(cls: type, *, without: Sequence[str] = (), **defaults: str) -> dict[str, Any]:
    """An option for each setting of a training; `defaults` are those that differ from the dataclass's."""
    return {
        knob.name: option(knob, knob.type, defaults.get(knob.name, str(knob.default)), panel=_PANEL)
        for knob in settings.knobs_of(cls)
        if knob.name not in without
    }
