"""`impasto letters`: words painted in a style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.inputs import Spool
from impasto.cli.outputs import keeping_best, unused
from impasto.cli.parse import parse_style
from impasto.cli.printing import say, say_json
from impasto.errors import InputError, plain, require_installed
from impasto.files import check_apart, fitting, slug

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.request import Result
    from impasto.lettering import Layers, Lettering, LetterPainter

MOST_VARIATIONS = 24
_SHEET_COLUMNS = 2
_SHEET_CELL, _LEAST_CELL = 512, 64  # pixels
_TEXT_PANEL = "The words"
_LOOK_PANEL = "The look"
_FILES_PANEL = "What is written"

_EXAMPLES = """\b
Examples:
  impasto letters "PARIS 1889" --style "wheat field with cypresses" -o title.png
  impasto letters "花火" --style irises --outline museum:436535 --background white -o poster.png
  impasto letters "HARVEST" --style irises --around museum:436535 --variations 6 -o sheet.png
  impasto letters "ICE" --like flames.png --like-text plain.png -o ice.png
  impasto letters --svg logo.svg --style pack:irises --layers sheets/ -o logo.png"""

Text = Annotated[str, typer.Argument(help="The words; \\n begins a new line.", show_default=False)]
Fill = Annotated[
    list[str] | None,
    typer.Option("--style", "-s", "--fill", help="Style of the letters, as in stylize.", rich_help_panel=_LOOK_PANEL),
]
Outline = Annotated[str | None, typer.Option(help="Style of a line round the letters.", rich_help_panel=_LOOK_PANEL)]
Around = Annotated[str | None, typer.Option(help="Style of the paint around the letters.", rich_help_panel=_LOOK_PANEL)]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("letters", epilog=_EXAMPLES)(letters)


def letters(
    text: Text = "",
    style: Fill = None,
    outline: Outline = None,
    around: Around = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture; TEXT-STYLE.png by default.", rich_help_panel=_FILES_PANEL),
    ] = None,
    font: Annotated[
        str | None,
        typer.Option(help="A file, rubik, noto, noto-cjk, or a font of the system.", rich_help_panel=_TEXT_PANEL),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(help="A flat drawing in place of words.", rich_help_panel=_TEXT_PANEL)
    ] = None,
    size: Annotated[
        str, typer.Option(help="Longest side in pixels, or width and height: 1024x384.", rich_help_panel=_TEXT_PANEL)
    ] = "1024",
    align: Annotated[str, typer.Option(help="left, center or right.", rich_help_panel=_TEXT_PANEL)] = "center",
    spacing: Annotated[float, typer.Option(help="Space between letters, in em.", rich_help_panel=_TEXT_PANEL)] = 0.0,
    leading: Annotated[float, typer.Option(help="From line to line, in em.", rich_help_panel=_TEXT_PANEL)] = 1.15,
    curve: Annotated[
        float,
        typer.Option(help="Degrees of an arc: above 0 a rainbow, below 0 a bowl.", rich_help_panel=_TEXT_PANEL),
    ] = 0.0,
    along: Annotated[
        Path | None, typer.Option(help="An SVG with one line, along which the words run.", rich_help_panel=_TEXT_PANEL)
    ] = None,
    outline_width: Annotated[
        float, typer.Option(help="In widths of the letters' strokes.", rich_help_panel=_LOOK_PANEL)
    ] = 0.35,
    reach: Annotated[
        float,
        typer.Option(help="How far --around goes, in widths of strokes; 0: everywhere.", rich_help_panel=_LOOK_PANEL),
    ] = 1.5,
    tone: Annotated[
        str, typer.Option(help="Of the letters: auto, dark, light, or own.", rich_help_panel=_LOOK_PANEL)
    ] = "auto",
    legibility: Annotated[
        float,
        typer.Option(help="How far light and dark are set apart: 0 to 1.", rich_help_panel=_LOOK_PANEL),
    ] = 0.5,
    background: Annotated[
        str | None, typer.Option(help="A colour, such as white; transparent without.", rich_help_panel=_LOOK_PANEL)
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="A picture of letters whose look is wanted.", rich_help_panel=_LOOK_PANEL)
    ] = None,
    like_text: Annotated[
        Path | None, typer.Option(help="The same letters, plain, black on white.", rich_help_panel=_LOOK_PANEL)
    ] = None,
    quality: Annotated[
        str, typer.Option("--quality", "-q", help="draft, good or best.", rich_help_panel=_LOOK_PANEL)
    ] = "good",
    strength: Annotated[
        float | None,
        typer.Option(help="From plain strokes (0) to the full style (1).", rich_help_panel=_LOOK_PANEL),
    ] = None,
    style_scale: Annotated[
        float | None, typer.Option(help="Size of the painting's strokes: larger above 1.", rich_help_panel=_LOOK_PANEL)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps at full size.", rich_help_panel=_LOOK_PANEL)] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the strokes.", rich_help_panel=_LOOK_PANEL)] = 0,
    variations: Annotated[
        int, typer.Option(help="So many, on one sheet; each also in a file.", rich_help_panel=_FILES_PANEL)
    ] = 1,
    layers: Annotated[
        Path | None, typer.Option(help="Folder for each part as a PNG of its own.", rich_help_panel=_FILES_PANEL)
    ] = None,
    animate: Annotated[
        Path | None,
        typer.Option(help="Also the strokes being painted: .webp, .gif, .mp4 ...", rich_help_panel=_FILES_PANEL),
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    jpeg_quality: flags.JpegQuality = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Paint words in a style: strokes run along the letters, edges are crisp, and the background is transparent."""
    from impasto.lettering import ZONES, Example, Lettering, Setting, parse_color, parse_size

    flags.use_threads(threads)
    knobs = {"strength": strength, "style_scale": style_scale, "steps": steps}
    lettering = Lettering(
        text=text.replace("\\n", "\n"),
        drawing=svg,
        font=font,
        setting=Setting(align=align, spacing=spacing, leading=leading, curve=curve, along=along),
        size=parse_size(size),
        outline_width=outline_width,
        reach=reach,
        tone=tone,
        legibility=legibility,
        background=None if background is None else parse_color(background),
        quality=quality,
        knobs={name: value for name, value in knobs.items() if value is not None},
        seed=seed,
    )
    wanted: dict[str, list[str]] = {
        "fill": list(style or ()),
        "outline": [outline] if outline else [],
        "around": [around] if around else [],
    }
    example = _example(like, like_text, wanted)
    target = out or _name(lettering, wanted["fill"] or [str(like)])
    inputs = [
        *(name for names in wanted.values() for name in names),
        *(str(one) for one in (svg, along, like, like_text, font) if one),
    ]
    plan = _Plan(target, layers, animate, variations, jpeg_quality, as_json=as_json)
    zones = [zone for zone in reversed(ZONES) if wanted[zone] or zone == "fill"]
    plan.check(lettering, zones, inputs)
    for package in ("uharfbuzz", "resvg_py", "bidi"):
        require_installed(package, "letters")
    spool = Spool()
    styles = {
        zone: [(spool(name), weight) for name, weight in map(parse_style, names)] for zone, names in wanted.items()
    }
    source = None if example is None else Example.read(*example)
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.lettering import LetterPainter

    with Reporter(silent=quiet) as reporter:
        engine = Engine(device=device, precision=precision)
        painter = LetterPainter(engine, on_progress=reporter, on_note=reporter.note)
        plan.paint(painter, lettering, source or styles, reporter)


def _example(
    like: Path | None, like_text: Path | None, wanted: Mapping[str, Sequence[str]]
) -> tuple[Path, Path] | None:
    """The two pictures of an effect. Raises InputError where one is missing, or styles were given beside them."""
    if like is None and like_text is None:
        if not wanted["fill"]:
            raise InputError("no style was given", "add --style, such as --style irises; see impasto styles")
        return None
    if like is None or like_text is None:
        raise InputError("--like and --like-text belong together", "give the styled letters and the same letters plain")
    if any(wanted.values()):
        raise InputError("--like takes the place of styles", "leave out --style, --outline and --around, or --like")
    return like, like_text


def _name(lettering: Lettering, styles: Sequence[str]) -> Path:
    """A name for the picture that no file has yet."""
    stem = slug(lettering.text) if lettering.drawing is None else lettering.drawing.stem
    return unused(Path(fitting(stem, f"-{slug(Path(styles[0]).stem)}.png")))


@dataclass(frozen=True)
class _Plan:
    """What is written.

    Attributes:
        target: the picture, or the sheet of variations.
        layers: folder of the parts, or None.
        animate: file of the animation, or None.
        variations: how many.
        jpeg_quality: see `images.write`.
        as_json: print one JSON object.
    """

    target: Path
    layers: Path | None
    animate: Path | None
    variations: int
    jpeg_quality: int | None
    as_json: bool

    def check(self, lettering: Lettering, zones: Sequence[str], inputs: Sequence[str]) -> None:
        """Refuse before any computing what cannot be written."""
        from impasto import images
        from impasto.engine.snapshots import check_moving

        if not 1 <= self.variations <= MOST_VARIATIONS:
            raise InputError(
                f"--variations is {self.variations}", f"it takes a whole number from 1 to {MOST_VARIATIONS}"
            )
        if self.variations > 1 and (self.layers or self.animate):
            raise InputError("--variations makes a sheet", "leave out --layers and --animate, or choose one by --seed")
        check_apart(self._files(lettering, zones), inputs)
        self._check_variations(lettering)
        images.check_output(self.target, (), quality=self.jpeg_quality)
        if self.animate is not None:
            check_moving(self.animate)
        folder = self.layers
        if folder is not None and not folder.is_dir() and (folder.exists() or not folder.parent.is_dir()):
            reason = "a file has this name" if folder.exists() else f"there is no folder {plain(folder.parent)}"
            raise InputError(f"the folder {plain(folder)} cannot be made: {reason}", "name another with --layers")

    def _check_variations(self, lettering: Lettering) -> None:
        """Refuse to replace files whose names nobody has given: those of single variations."""
        if self.variations == 1:
            return
        taken = [self._variation(seed) for seed in self._seeds(lettering) if self._variation(seed).exists()]
        if taken:
            raise InputError(
                f"{plain(taken[0])} is there already" + (f", and {len(taken) - 1} more" if len(taken) > 1 else ""),
                "name another sheet with -o, use another --seed, or remove them",
            )

    def _files(self, lettering: Lettering, zones: Sequence[str]) -> dict[str, Path | None]:
        """All that is written, by the option that names it."""
        files: dict[str, Path | None] = {"-o": self.target, "--animate": self.animate}
        if self.variations > 1:
            files |= {f"-o, seed {seed}": self._variation(seed) for seed in self._seeds(lettering)}
        if self.layers is not None:
            files["--layers"] = self.layers
            names = zones if lettering.background is None else ("background", *zones)
            files |= {f"--layers, {name}": _layer_path(self.layers, at, name) for at, name in enumerate(names)}
        return files

    def _seeds(self, lettering: Lettering) -> range:
        return range(lettering.seed, lettering.seed + self.variations)

    def _variation(self, seed: int) -> Path:
        return self.target.with_name(f"{self.target.stem}-{seed}{self.target.suffix}")

    def paint(self, painter: LetterPainter, lettering: Lettering, look: Any, reporter: Reporter) -> None:
        """Paint and write all."""
        if self.variations > 1:
            self._sheet(painter, lettering, look, reporter)
            return

        def save(result: Result) -> None:
            result.save(self.target, jpeg_quality=self.jpeg_quality, on_note=reporter.note)

        with keeping_best(save):
            result, painted = painter.paint(lettering, look)
        save(result)
        written = [self.target]
        if self.layers is not None:
            written += _write_layers(painted, self.layers)
        if self.animate is not None:
            _write_animation(painted, self.animate)
            written.append(self.animate)
        self._tell(result, written)

    def _sheet(self, painter: LetterPainter, lettering: Lettering, look: Any, reporter: Reporter) -> None:
        """Each variation in its own file, and all on one sheet."""
        from impasto import images
        from impasto.lettering import on_paper

        written, cells, result = [], [], None
        for seed in self._seeds(lettering):
            result, painted = painter.paint(replace(lettering, seed=seed), look)
            path = self._variation(seed)
            result.save(path, jpeg_quality=self.jpeg_quality, on_note=reporter.note)
            written.append(path)
            cells.append((on_paper(result.picture, _paper(painted)), f"seed {seed}"))
        highest = max(pixels.shape[0] / pixels.shape[1] for pixels, _ in cells)
        height = max(_LEAST_CELL, round(_SHEET_CELL * min(1.0, highest)))
        sheet = images.contact_sheet(cells, columns=_SHEET_COLUMNS, cell=_SHEET_CELL, height=height, lines=1)
        images.write(images.read(sheet), self.target, quality=self.jpeg_quality)
        assert result is not None
        self._tell(result, [self.target, *written])

    def _tell(self, result: Result, written: Sequence[Path]) -> None:
        if not self.as_json:
            for path in written:
                say(path)
            return
        record = result.record
        names = ("method", "quality", "width", "height", "seconds", "steps", "device", "precision")
        say_json(
            {
                "text": record["letters"]["text"],
                "style": [entry["id"] for entry in record["styles"]],
                "output": str(written[0]),
                "files": [str(path) for path in written[1:]],
                "legibility": record["letters"]["contrast"],
                **{name: record[name] for name in names},
            }
        )


def _paper(layers: Layers) -> tuple[float, float, float]:
    """A colour to show transparent letters on: the background, or what they stand out from."""
    from impasto.lettering import paper_for

    return layers.background or paper_for(layers)


def _write_layers(layers: Layers, folder: Path) -> list[Path]:
    """Each zone as a PNG with transparency, and the background. Returns their paths, the lowest first."""
    from impasto import images

    folder.mkdir(exist_ok=True)
    written = []
    for number, (name, picture) in enumerate(layers.pictures().items()):
        path = _layer_path(folder, number, name)
        images.write(picture, path)
        written.append(path)
    return written


def _layer_path(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number}-{name}.png"


def _write_animation(layers: Layers, path: Path) -> None:
    """The strokes being laid. WebP is transparent where the letters are; other files show them on paper."""
    from impasto.engine.snapshots import FRAMES_A_SECOND, write_moving

    transparent = path.suffix.lower() == ".webp" and layers.background is None
    frames = list(layers.frames(round(2.5 * FRAMES_A_SECOND), None if transparent else _paper(layers)))
    write_moving([*frames, *[frames[-1]] * round(FRAMES_A_SECOND)], path)
