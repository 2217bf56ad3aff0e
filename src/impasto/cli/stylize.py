"""`impasto stylize`: photographs in, paintings out."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto import settings
from impasto.assets import Store
from impasto.assets.library import Library, means_file
from impasto.cli import controls, watching
from impasto.cli.options import option, with_options
from impasto.errors import BatchError, Cancelled, InputError
from impasto.methods import recipes, registry
from impasto.models import catalog

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.light import Light
    from impasto.engine.request import Request, Result
    from impasto.engine.snapshots import Snapshots

_EXAMPLES = """\b
Examples:
  impasto stylize photo.jpg --style "wheat field with cypresses"
  impasto stylize photo.jpg --style painting.jpg --quality best -o out.png
  impasto stylize holiday/ --style museum:436535 --quality draft -o painted/
  impasto stylize photo.jpg --style irises:2 --style 436535:1 --strength 0.7
  impasto stylize photo.jpg --region subject=irises --region sky.png=436535 --feather 20
  cat photo.jpg | impasto stylize - --style painting.jpg > out.png"""

_PANEL = "Settings of the method (impasto methods NAME tells which has which)"


def _methods() -> list[str]:
    return ["auto", *registry.methods()]


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with a flag for each knob of each method."""
    app.command("stylize", epilog=_EXAMPLES)(with_knobs(stylize))


def stylize(
    content: Annotated[list[str], typer.Argument(help="Photographs, folders of them, or - for standard input.")],
    style: Annotated[
        list[str] | None,
        typer.Option("--style", "-s", help="A file, or words or a number of a library painting; :NUMBER weighs it."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File, folder, or - for standard output; beside the photograph by default."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="auto, or one of impasto methods.", autocompletion=_methods)
    ] = "auto",
    quality: Annotated[
        str | None,
        typer.Option("--quality", "-q", help="draft (a second), good (the default) or best (minutes)."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the photograph's own by default.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from draft, content, content+noise, noise, style, or a file.")
    ] = None,
    max_memory: Annotated[str | None, typer.Option(help="Take no more, such as 2GB: paint in tiles.")] = None,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures with more pixels.")] = 100_000_000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    keep_color: controls.KeepColor = None,
    color_only: controls.ColorOnly = False,
    region: controls.RegionFlags = None,
    feather: controls.Feather = 0.0,
    preserve: controls.Preserve = None,
    protect_faces: controls.ProtectFaces = None,
    strength_map: controls.StrengthMap = None,
    save_every: watching.SaveEvery = None,
    resume: watching.Resume = False,
    time_lapse: watching.TimeLapse = None,
    plot: watching.Plot = None,
    preview: watching.PreviewFlag = None,
    drop_gps: Annotated[bool, typer.Option("--drop-gps", help="Leave the place out of the metadata.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a picture on standard output.")] = False,
    **knobs: Any,
) -> None:
    """Paint photographs in the style of one picture or several."""
    styles = [parse_style(text) for text in style or ()]
    regions = [controls.parse_region(text) for text in region or ()]
    if not styles and not regions:
        raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
    contents = find_contents(content)
    targets = Targets(out, several=len(contents) > 1 or any(Path(item).is_dir() for item in content))
    if as_json and targets.to_stdout(contents):
        raise InputError("the picture and --json cannot both go to standard output", "name a file with -o")
    memory, pixels = parse_memory(max_memory), check_pixels(max_pixels)
    controls.check_masks([mask for mask in (*dict(regions), preserve, strength_map) if mask], pixels)
    stages = recipes.plan(
        "adain" if color_only else method, quality, {name: value for name, value in knobs.items() if name != "init"}
    )
    watched = watching.Watching(save_every, resume, time_lapse, plot, preview)
    watched.check(contents, [own for own, _ in styles], stages[-1].method)
    stdin = sys.stdin.buffer.read() if contents == ["-"] else b""
    for item in contents if len(contents) == 1 else ():
        _check_inputs(item, stdin or item, [*styles, *((own, 1.0) for _, own in regions)], targets, pixels)
    from impasto.cli.console import Reporter
    from impasto.engine.light import Light
    from impasto.engine.request import Request

    asked = controls.controls_of(keep_color, color_only, regions, feather, preserve, protect_faces, strength_map)
    request = Request(method, quality, size, init, knobs, memory, pixels, asked)
    painter = _Painter(
        Light(device=device, precision=precision, quick=preview is None),
        styles,
        request,
        targets,
        stdin,
        watched,
        drop_gps=drop_gps,
        as_json=as_json,
    )
    failed = 0
    with Reporter(preview=watched.shown()) as reporter:
        for item in contents:
            try:
                painter.paint(item, reporter)
            except (InputError, OSError) as error:
                if len(contents) == 1 or not isinstance(error, InputError):
                    raise
                failed += 1
                print(f"error: {item}: {error.message}\nhint:  {error.hint}", file=sys.stderr)
    if failed:
        raise BatchError(f"{failed} of {len(contents)} pictures failed", "the others are done; see above")


def _check_inputs(
    content: str, source: str | bytes, styles: list[tuple[str, float]], targets: Targets, max_pixels: int
) -> None:
    """Find what is wrong with the files before the second that loading torch takes; the engine checks all again."""
    from impasto import images

    targets.check(content, [style for style, _ in styles])
    images.probe(b"" if source == "-" else source, max_pixels=max_pixels)
    library = Library(Store())
    for style, _ in styles:
        if catalog.is_trained(style):
            catalog.find(style)
        elif means_file(style):
            images.probe(style, max_pixels=max_pixels)
        elif library.store.is_present("museum"):
            library.find(style)


@dataclass(frozen=True)
class _Painter:
    """What all pictures of a batch share."""

    engine: Light
    styles: list[tuple[str, float]]
    request: Request
    targets: Targets
    stdin: bytes
    watched: watching.Watching
    drop_gps: bool
    as_json: bool

    def paint(self, content: str, reporter: Reporter) -> None:
        """Paint and save one picture."""
        inputs = [style for style, _ in self.styles]
        for mask, style in self.request.controls.regions:
            inputs += [mask, style]
        self.targets.check(content, inputs)
        source: Any = self.stdin if content == "-" else content
        request = self.watched.of(self.request, self.targets.steps_folder(content))
        if request.snapshots is not None:
            self._tell(request.snapshots, reporter)
        try:
            result = self.engine.stylize(source, self.styles, request, on_progress=reporter, on_note=reporter.note)
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
                print(path, flush=True)

    def _tell(self, snapshots: Snapshots, reporter: Reporter) -> None:
        """Say what comes of a job that was broken off."""
        if snapshots.resume and not snapshots.has_state:
            reporter.note(f"nothing in {snapshots.folder} to go on from: beginning")
        elif snapshots.has_state and not snapshots.resume:
            reporter.note(f"beginning again; --resume would have gone on from {snapshots.folder}")

    def _save(self, content: str, result: Result, reporter: Reporter) -> None:
        target = self.targets.of(content, labels(result.record))
        if target is None:
            from impasto import images

            buffer = io.BytesIO()
            images.write(result.picture, buffer, format="PNG", record=result.record, drop_gps=self.drop_gps)
            sys.stdout.buffer.write(buffer.getvalue())
            return
        result.save(target, drop_gps=self.drop_gps, on_note=reporter.note)
        print(json.dumps(summary(content, target, result)) if self.as_json else target, flush=True)


def labels(record: Mapping[str, Any]) -> list[str]:
    """Names of the styles of a result, those of its regions after those of the whole, each once."""
    groups = [record["styles"], *(region["styles"] for region in record.get("regions", ()))]
    return list(dict.fromkeys(entry["label"] for group in groups for entry in group))


def summary(content: str, target: Path, result: Result) -> dict[str, Any]:
    """The object that `--json` prints for a picture."""
    record = result.record
    names = ("method", "quality", "width", "height", "seconds", "steps", "device", "precision")
    return {
        "content": content,
        "style": [entry["id"] for entry in record["styles"]],
        "regions": {region["mask"]: region["styles"][0]["id"] for region in record["regions"]},
        "output": str(target),
        **{name: record[name] for name in names},
    }


class Targets:
    """Where results go: the `-o` of the user, or beside the photograph."""

    def __init__(self, out: str | None, *, several: bool) -> None:
        self._out = out
        self._folder = out is not None and out != "-" and (several or Path(out).is_dir() or out.endswith(("/", "\\")))
        if out == "-" and several:
            raise InputError("several pictures cannot go to standard output", "name a folder with -o")

    def to_stdout(self, contents: list[str]) -> bool:
        """Whether the picture goes to standard output."""
        return self._out == "-" or (self._out is None and contents == ["-"])

    def check(self, content: str, styles: list[str]) -> None:
        """Refuse before any computing what cannot be written, or would replace an input."""
        from impasto import images

        if self.to_stdout([content]):
            return
        inputs = [Path(name) for name in (content, *styles) if name != "-" and Path(name).is_file()]
        target = self.of(content, ["style"])
        assert target is not None
        if self._folder and not target.parent.exists():
            self._make_folder(target.parent)
        images.check_output(target, inputs)

    def of(self, content: str, labels: list[str]) -> Path | None:
        """The path for one content; None is standard output."""
        if self.to_stdout([content]):
            return None
        stem = "stdin" if content == "-" else Path(content).stem
        name = f"{stem}-{slug(' and '.join(labels))}.png"
        if self._out is None:
            return unused(Path(content).parent / name)
        return unused(Path(self._out) / name) if self._folder else Path(self._out)

    def steps_folder(self, content: str) -> Path:
        """Where snapshots of one content go: NAME-steps beside the result, whatever the style."""
        name = f"{'stdin' if content == '-' else Path(content).stem}-steps"
        if self._out is None or self._out == "-":
            return Path(content).parent / name
        if self._folder:
            return Path(self._out) / name
        return Path(self._out).with_name(f"{Path(self._out).stem}-steps")

    @staticmethod
    def _make_folder(folder: Path) -> None:
        if not folder.parent.is_dir():
            raise InputError(f"the folder {folder.parent} does not exist", "make it first, or name another with -o")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}", "name another with -o") from error


def slug(text: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:60] or "style"


def unused(path: Path) -> Path:
    """The path, numbered when it is taken."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate


def find_contents(items: list[str]) -> list[str]:
    """The photographs that the arguments name; a folder stands for the pictures in it."""
    found: list[str] = []
    for item in items:
        path = Path(item)
        if item != "-" and path.is_dir():
            found += _pictures_in(path)
        else:
            found.append(item)
    if found.count("-") > 1 or ("-" in found and len(found) > 1):
        raise InputError("standard input is one picture", "give - alone")
    return found


def _pictures_in(folder: Path) -> list[str]:
    from impasto import images

    pictures = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in images.EXTENSIONS)
    if not pictures:
        raise InputError(f"the folder {folder} holds no pictures", f"it needs {', '.join(sorted(images.EXTENSIONS))}")
    return pictures


def parse_style(text: str) -> tuple[str, float]:
    """Split STYLE[:WEIGHT].

    An existing file, and the ids that `impasto styles --json` prints, are whole: `museum:436535` has no weight.

    Raises:
        InputError: the weight is not a number above 0.
    """
    head, colon, tail = text.rpartition(":")
    whole = Path(text).exists() or re.fullmatch(r"(museum|pack):[\w-]+", text)
    if (
        not colon
        or whole
        or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf|infinity)", tail.lower())
    ):
        return text, 1.0
    weight = float(tail)
    if not 0 < weight < float("inf"):
        raise InputError(f"the weight of style {head!r} is {tail}", "it takes a number above 0")
    return head, weight


def parse_memory(text: str | None) -> int | None:
    """Bytes in "2GB", "500 MB" or "3e9"."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    units = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
    try:
        amount = float(match.group(1)) * units[match.group(2)] if match else 0
    except ValueError:
        amount = 0
    if amount <= 0:
        raise InputError(f"--max-memory is {text!r}", "it takes a size, such as 2GB or 800MB")
    return int(amount)


def check_pixels(count: int) -> int:
    """Refuse a `--max-pixels` that lets nothing through."""
    if count <= 0:
        raise InputError(f"--max-pixels is {count}", "it takes a whole number above 0")
    return count


def with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Replace `**knobs` in the signature by an option for each knob: the dataclasses are the one truth."""
    return with_options(command, {name: _option(method, knob) for name, (method, knob) in _all_knobs().items()})


def _all_knobs() -> Mapping[str, tuple[str, settings.Knob]]:
    """Knobs of all methods by name, each with the first method that has it."""
    found: dict[str, tuple[str, settings.Knob]] = {}
    for row in registry.methods().values():
        for knob in settings.knobs_of(row.load_knobs()):
            found.setdefault(knob.name, (row.name, knob))
    return found


def _option(method: str, knob: settings.Knob) -> Any:
    kind: Any = knob.type if knob.type in (int, float) else str
    return option(knob, kind, recipes.default_of(method, knob), panel=_PANEL)
