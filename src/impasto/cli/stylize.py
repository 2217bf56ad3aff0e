"""`impasto stylize`: photographs in, paintings out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags, watching
from impasto.cli.inputs import Spool, check_masks, check_pictures, find_contents, silence
from impasto.cli.outputs import Targets
from impasto.cli.parse import check_pixels, parse_region, parse_style, styles_named
from impasto.cli.printing import note, say, say_json, tell
from impasto.errors import BatchError, Cancelled, InputError
from impasto.files import check_apart, is_folder, of_system
from impasto.memory import parse_memory

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request, Result
    from impasto.engine.snapshots import Snapshots
    from impasto.keras.engine import KerasEngine

_EXAMPLES = """\b
Examples:
  impasto stylize photo.jpg --style "wheat field with cypresses"
  impasto stylize photo.jpg --style painting.jpg --quality best -o out.png
  impasto stylize holiday/ --style museum:436535 --quality draft -o painted/
  impasto stylize photo.jpg --style irises:2 --style 436535:1 --strength 0.7
  impasto stylize photo.jpg --region subject=irises --region sky.png=436535 --feather 20
  cat photo.jpg | impasto stylize - --style painting.jpg > out.png"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with a flag for each knob of each method."""
    app.command("stylize", epilog=_EXAMPLES)(flags.with_knobs(stylize))


def stylize(
    content: Annotated[list[str], typer.Argument(help="Photographs, folders of them, or - for standard input.")],
    style: flags.Styles = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File, folder, or - for standard output; beside the photograph by default."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="auto, or one of impasto methods.", autocompletion=flags.method_names)
    ] = "auto",
    quality: Annotated[
        str | None,
        typer.Option("--quality", "-q", help="draft (a second), good (the default) or best (minutes)."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the photograph's own by default.")] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Image to start from: recolored, draft, content, content+noise, noise, style, or a file."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="Memory to use at most, such as 2GB; adain, wct and optimize paint larger pictures in tiles."
        ),
    ] = None,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures with more pixels.")] = 100_000_000,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    runtime: flags.Runtime = "auto",
    backend: flags.Backend = "torch",
    threads: flags.Threads = None,
    keep_color: flags.KeepColor = None,
    color_only: flags.ColorOnly = False,
    region: flags.RegionFlags = None,
    match_regions: flags.MatchRegions = False,
    feather: flags.Feather = 0.0,
    preserve: flags.Preserve = None,
    protect_faces: flags.ProtectFaces = None,
    strength_map: flags.StrengthMap = None,
    save_every: flags.SaveEvery = None,
    resume: flags.Resume = False,
    time_lapse: flags.TimeLapse = None,
    plot: flags.Plot = None,
    preview: flags.PreviewFlag = None,
    drop_gps: flags.DropGps = False,
    recursive: flags.Recursive = False,
    format: flags.Format = None,  # noqa: A002 - the flag's name
    jpeg_quality: flags.JpegQuality = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each picture.")] = False,
    **knobs: Any,
) -> None:
    """Paint photographs in the style of one picture or several."""
    flags.use_threads(threads)
    styles = [parse_style(text) for text in styles_named(style, method, knobs)]
    regions = [parse_region(text) for text in region or ()]
    if not styles and not regions:
        raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
    contents = find_contents(content, recursive=recursive, on_note=silence if quiet else note)
    targets = _targets(content, contents, out, format, jpeg_quality)
    if as_json and targets.to_stdout(contents):
        raise InputError("the picture and --json cannot both go to standard output", "name a file with -o")
    memory, pixels = parse_memory(max_memory), check_pixels(max_pixels)
    watched = watching.Watching(save_every, resume, time_lapse, plot, preview)
    _check_backend(backend, device, runtime, watched)
    words: list[Any] = [*contents, *(own for own, _ in styles), *(word for pair in regions for word in pair)]
    words += [preserve, strength_map, init, *map(str, knobs.values())]
    check_apart({"-o": targets.file, **watched.files()}, words)
    spool = Spool()
    source = spool(contents[0]) if len(contents) == 1 else None
    read_styles = [(spool(own), weight) for own, weight in styles]
    read_regions = [(spool(mask), spool(own)) for mask, own in regions]
    preserved, mapped, start = map(spool, (preserve, strength_map, init))
    check_masks([mask for mask in (*(mask for mask, _ in read_regions), preserved, mapped) if mask], pixels)
    from impasto.engine.request import Request

    request = Request(
        method=method,
        quality=quality,
        size=size,
        init=start,
        knobs=knobs,
        max_memory=memory,
        max_pixels=pixels,
        controls=flags.controls_of(
            keep_color, color_only, match_regions, read_regions, feather, preserved, protect_faces, mapped
        ),
        drop_gps=drop_gps,
    )
    painter = _Painter(read_styles, request, targets, source, watched, as_json=as_json)
    painter.check(contents)
    engine = _engine_of(painter, backend, device, precision, runtime)
    from impasto.cli.console import Reporter

    with Reporter(silent=quiet, preview=watched.shown()) as reporter:
        painter.paint_all(engine, contents, reporter)


def _targets(
    given: list[str], contents: list[str], out: str | None, extension: str | None, jpeg_quality: int | None
) -> Targets:
    """Where the results go. given: photographs and folders of them; contents: the photographs in all."""
    folders = [Path(item) for item in given if item != "-" and is_folder(item)]
    several = len(contents) > 1 or bool(folders)
    return Targets(out, several=several, trees=folders, format=extension, jpeg_quality=jpeg_quality)


def _engine_of(painter: _Painter, backend: str, device: str, precision: str, runtime: str) -> Engine | KerasEngine:
    """What paints: PyTorch and the other runtimes; or Keras, which loads no PyTorch."""
    if backend == "torch":
        from impasto.engine.engine import Engine

        chosen = runtime if painter.watched.preview is None else _with_previews(runtime)
        return Engine(device=device, precision=precision, runtime=chosen)
    from impasto.keras.engine import KerasEngine
    from impasto.keras.forms import check

    check(painter.styles, painter.request)
    return KerasEngine(backend=backend, precision=precision)


def _check_backend(backend: str, device: str, runtime: str, watched: watching.Watching) -> None:
    """Refuse what Keras does not do, before a part of the engine is loaded that needs PyTorch."""
    given: dict[str, object] = {"--device": device != "auto", "--runtime": runtime != "auto"}
    given |= {"--preview": watched.preview, "--time-lapse": watched.time_lapse}
    given |= {"--save-every": watched.save_every, "--resume": watched.resume}
    for flag in (flag for flag, value in given.items() if value and backend != "torch"):
        raise InputError(f"{flag} is not for --backend {backend}", "leave one of them out")


def _with_previews(runtime: str) -> str:
    """The runtime of a job that is watched: torch, unless another was asked for; they show nothing before the end."""
    return "torch" if runtime == "auto" else runtime


@dataclass(frozen=True)
class _Painter:
    """What all pictures of a batch share."""

    styles: list[tuple[Any, float]]
    request: Request
    targets: Targets
    source: Any  # of the one photograph, which may have come through a pipe; None where there are several
    watched: watching.Watching
    as_json: bool

    def check(self, contents: list[str]) -> None:
        """Find what is wrong before weights are loaded; the pictures of a batch are checked one by one later."""
        from impasto.engine.plan import stages_of
        from impasto.engine.styles import as_sentences

        method = stages_of(self.styles, self.request)[-1].method
        self.watched.check(len(contents), method)
        if self.source is not None:
            self.targets.check(contents[0])
            regions = [(own, 1.0) for _, own in self.request.controls.regions]
            everything = [*self.styles, *regions]
            check_pictures(
                self.source,
                as_sentences(everything) if method.takes_words else everything,
                self.request.max_pixels,
            )

    def paint_all(self, engine: Engine | KerasEngine, contents: list[str], reporter: Reporter) -> None:
        """Paint each picture; of several, one that cannot be painted is told, and the others go on.

        Raises:
            BatchError: at the end, where some failed.
        """
        failed = 0
        for item in contents:
            try:
                self.paint(engine, item, reporter)
            except (InputError, OSError) as error:
                if len(contents) == 1 or isinstance(error, BrokenPipeError):
                    raise
                failed += 1
                known = of_system(error) if isinstance(error, OSError) else error
                tell(f"error: {item}: {known.message}")
                tell(f"hint:  {known.hint}")
        if failed:
            done = "the others are done; " if failed < len(contents) else ""
            raise BatchError(f"{failed} of {len(contents)} pictures failed", f"{done}see above")

    def paint(self, engine: Engine | KerasEngine, content: str, reporter: Reporter) -> None:
        """Paint and save one picture."""
        self.targets.check(content)
        source = content if self.source is None else self.source
        request = self.watched.of(self.request, self.targets.steps_folder(content))
        if request.snapshots is not None:
            self._tell(request.snapshots, reporter)
        try:
            result = engine.stylize(source, self.styles, request, on_progress=reporter, on_note=reporter.note)
        except Cancelled as cancelled:
            if cancelled.result is not None:
                self._save(content, cancelled.result, reporter)
                self.watched.finish(cancelled.result, request, whole=False)
                cancelled.hint = "the best picture so far is saved"
                if request.snapshots is not None and request.snapshots.has_state:
                    cancelled.hint += "; the same command with --resume goes on from it"
            raise
        self._save(content, result, reporter)
        for path in self.watched.finish(result, request, whole=True):
            if not self.as_json:
                say(path)

    def _tell(self, snapshots: Snapshots, reporter: Reporter) -> None:
        """Say what comes of a job that was broken off."""
        if snapshots.resume and not snapshots.has_state:
            reporter.note(f"nothing in {snapshots.folder} to go on from: beginning")
        elif snapshots.has_state and not snapshots.resume:
            reporter.note(f"beginning again; --resume would have gone on from {snapshots.folder}")

    def _save(self, content: str, result: Result, reporter: Reporter) -> None:
        target = self.targets.save(content, result, reporter.note)
        if target is not None and self.as_json:
            say_json(summary(content, target, result))
        elif target is not None:
            say(target)


def summary(content: str, target: Path, result: Result) -> dict[str, Any]:
    """The object that `--json` prints for a picture."""
    record = result.record
    names = ("method", "quality", "width", "height", "seconds", "steps", "device", "precision")
    return {
        "content": content,
        "style": [entry["id"] for entry in record["styles"]],
        "styles": record["styles"],
        "regions": {region["mask"]: region["styles"][0]["id"] for region in record["regions"]},
        "output": str(target),
        **{name: record[name] for name in names},
    }
