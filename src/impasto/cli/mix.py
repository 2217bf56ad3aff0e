"""`impasto mix`: what lies between styles. `impasto texture`: a style without a photograph."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from impasto.cli import flags
from impasto.cli.inputs import Spool
from impasto.cli.outputs import keeping_best, unused
from impasto.cli.parse import check_pixels, parse_style
from impasto.cli.printing import say, say_json
from impasto.errors import Cancelled, InputError, counted
from impasto.files import check_apart, slug
from impasto.memory import parse_memory
from impasto.methods import recipes
from impasto.models import catalog

if TYPE_CHECKING:
    from impasto.engine.request import Result

Shares: TypeAlias = Sequence[tuple[float, ...]]
"""Of each style, for one picture after the other."""

Paint: TypeAlias = "Callable[[Shares], Iterator[Result]]"
"""Paints the photograph in each mixture."""

STEPS = 5
LEAST_CELL = 32
"""Side below which a picture on a sheet shows nothing."""

_MIX = """\b
Examples:
  impasto mix photo.jpg --style irises --style "wheat field with cypresses" -o strip.png
  impasto mix photo.jpg -s a.jpg -s b.jpg -s c.jpg -s d.jpg -o square.png --size 256
  impasto mix photo.jpg -s a.jpg -s b.jpg -o strip.png --video between.webp"""

_TEXTURE = """\b
Examples:
  impasto texture --style "wheat field with cypresses" --size 512 -o texture.png
  impasto texture --style painting.jpg --size 256 --seamless -o tile.png"""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("mix", epilog=_MIX)(mix)
    app.command("texture", epilog=_TEXTURE)(texture)


def mix(
    content: Annotated[str, typer.Argument(help="A photograph.")],
    style: Annotated[
        list[str] | None, typer.Option("--style", "-s", help="Two styles for a strip, four for a square.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The sheet.")] = Path("mix.png"),
    video: Annotated[Path | None, typer.Option(help="Also a loop from style to style: .gif, .webp, .mp4 ...")] = None,
    frames: Annotated[int, typer.Option(help="Frames of the loop from one style to the next.")] = 12,
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    quality: Annotated[str, typer.Option("--quality", "-q", help="draft, good or best.")] = "draft",
    size: Annotated[int, typer.Option(help="Longest side of each picture in pixels.")] = 256,
    strength: Annotated[float | None, typer.Option(help="From the photograph (0) to the full styles (1).")] = None,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures with more pixels.")] = 100_000_000,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    jpeg_quality: flags.JpegQuality = None,
) -> None:
    """Paint a photograph between two or four styles: a strip or a square of pictures, and a loop if you like."""
    from impasto import images

    flags.use_threads(threads)
    styles = _corners(style or ())
    if size < LEAST_CELL:
        raise InputError(f"--size is {size}", f"it takes a whole number of pixels, {LEAST_CELL} or more")
    if not 1 <= frames <= 500:
        raise InputError(f"--frames is {frames}", "it takes a whole number from 1 to 500")
    check_apart({"-o": out, "--video": video}, [content, *styles])
    spool = Spool()
    photograph, painted_with = spool(content), [spool(name) for name in styles]
    images.check_output(out, (), quality=jpeg_quality)
    _check_loop(video)
    recipes.plan(method, quality, {"strength": strength})
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request

    request = Request(method, quality, size, knobs={"strength": strength}, max_pixels=check_pixels(max_pixels))
    engine = Engine(device=device)
    with Reporter(silent=quiet) as reporter:

        def paint(weights: Shares) -> Iterator[Result]:
            return engine.mix(photograph, painted_with, weights, request, on_progress=reporter, on_note=reporter.note)

        sheet = _Sheet(out, size, recipes.mixtures(len(styles), STEPS), jpeg_quality)
        loop = None if video is None else (video, recipes.round_trip(len(styles), frames))
        _paint_all(paint, sheet, loop, content if as_json else None)


def _check_loop(path: Path | None) -> None:
    if path is not None:
        from impasto.engine.snapshots import check_moving

        check_moving(path)


def _corners(texts: Sequence[str]) -> list[str]:
    """The styles of a strip or a square. Raises InputError for other numbers of them, and for weights."""
    weighted = [parse_style(text) for text in texts]
    for name, weight in weighted:
        if weight != 1:
            raise InputError(f"style {name!r} has a weight", "leave it out: the sheet goes through all shares")
    if len(weighted) not in (2, 4):
        raise InputError(f"{counted(len(weighted), 'style')} given", "mix takes two (a strip) or four (a square)")
    return [name for name, _ in weighted]


def _paint_all(paint: Paint, sheet: _Sheet, loop: tuple[Path, Shares] | None, content: str | None) -> None:
    """Paint the sheet, then the loop, and print what was written, also when it is stopped.

    content: the photograph's name, to print one JSON object at the end; None for a line a file.
    """
    written: list[Path] = []
    try:
        sheet.fill(paint(sheet.shares), written)
        if loop is not None:
            _write_loop(paint(loop[1]), loop[0])
            written.append(loop[0])
    finally:
        if content is None:
            for path in written:
                say(path)
        elif written:
            say_json(_mixed(content, sheet, written))


@dataclass
class _Sheet:
    """The pictures of a sheet, as they are painted.

    Attributes:
        path: where it goes.
        size: longest side of each picture.
        shares: of the styles, of each picture.
        jpeg_quality: of the sheet's file.
        results: that have been painted.
    """

    path: Path
    size: int
    shares: Shares
    jpeg_quality: int | None
    results: list[Result] = field(default_factory=list)

    def fill(self, painted: Iterator[Result], written: list[Path]) -> None:
        """Write the sheet; where the painting is stopped, with the pictures so far, the last as good as it has got."""
        try:
            for result in painted:
                self.results.append(result)
        except Cancelled as cancelled:
            if cancelled.result is not None:
                self.results.append(cancelled.result)
            if self.results:
                self._write()
                written.append(self.path)
                cancelled.hint = f"the sheet so far is saved: {len(self.results)} of {len(self.shares)} pictures"
            raise
        self._write()
        written.append(self.path)

    def _write(self) -> None:
        from impasto import images

        captioned = zip(self.results, self.shares, strict=False)
        cells = [(result.picture.pixels, _caption(result, shares)) for result, shares in captioned]
        sheet = images.contact_sheet(cells, columns=STEPS, cell=self.size, lines=2)
        images.write(images.read(sheet), self.path, quality=self.jpeg_quality)


def _write_loop(painted: Iterator[Result], path: Path) -> None:
    from impasto.engine.snapshots import write_moving

    try:
        write_moving((one.picture.pixels for one in painted), path)
    except Cancelled as cancelled:
        cancelled.hint = "the sheet is saved, the loop is not"
        raise


def _mixed(content: str, sheet: _Sheet, written: Sequence[Path]) -> dict[str, Any]:
    """The object that `mix --json` prints."""
    styles = [entry["id"] for result in sheet.results for entry in result.record["styles"]]
    names = ("method", "quality", "width", "height", "device", "precision")
    return {
        "content": content,
        "style": list(dict.fromkeys(styles)),
        "output": str(sheet.path),
        "video": str(written[1]) if written[1:] else None,
        "pictures": len(sheet.results),
        "seconds": round(sum(result.seconds for result in sheet.results), 3),
        **{name: sheet.results[0].record[name] for name in names},
    }


def _caption(result: Result, shares: tuple[float, ...]) -> str:
    """Titles where a picture is of one style; shares elsewhere."""
    if max(shares) == 1:
        return str(result.record["styles"][0]["label"])
    return " + ".join(f"{100 * share:.0f}" for share in shares) + " %"


def texture(
    style: Annotated[
        list[str] | None, typer.Option("--style", "-s", help="As in stylize; several are blended.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; STYLE-texture.png by default.")] = None,
    size: Annotated[int, typer.Option(help="Side in pixels, 64 or more.")] = 512,
    seamless: Annotated[
        bool, typer.Option("--seamless", help="Make a tile: copies side by side show no seam.")
    ] = False,
    quality: Annotated[str, typer.Option("--quality", "-q", help="good or best.")] = "good",
    style_scale: Annotated[float | None, typer.Option(help="Size of the style image relative to the texture.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps at full size.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of the noise that it grows from.")] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            help="Memory to use at most, such as 2GB; adain, wct and optimize paint larger pictures in tiles."
        ),
    ] = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    jpeg_quality: flags.JpegQuality = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Paint a square of pure style, with no photograph."""
    from impasto import images

    flags.use_threads(threads)
    styles = _paintings(style or ())
    if quality not in ("good", "best"):
        raise InputError(f"--quality is {quality!r}", "a texture takes good or best")
    target = out or _beside(styles[0][0])
    check_apart({"-o": target}, [name for name, _ in styles])
    spool = Spool()
    read = [(spool(name), weight) for name, weight in styles]
    images.check_output(target, (), quality=jpeg_quality)
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request

    knobs = {"style_scale": style_scale, "steps": steps, "seed": seed}
    request = Request(quality=quality, knobs=knobs, max_memory=parse_memory(max_memory))
    with Reporter(silent=quiet) as reporter:

        def save(result: Result) -> None:
            result.save(target, jpeg_quality=jpeg_quality, on_note=reporter.note)
            _tell(result, target, as_json=as_json)

        with keeping_best(save):
            engine, note = Engine(device=device), reporter.note
            result = engine.texture(
                read, size=size, seamless=seamless, request=request, on_progress=reporter, on_note=note
            )
        save(result)


def _beside(style: str) -> Path:
    """A name for the texture of a style that no file has yet."""
    words = re.sub(r".*[/\\]|\.\w+$|^museum:", "", style)
    return unused(Path(f"{slug(words)}-texture.png"))


def _tell(result: Result, target: Path, *, as_json: bool) -> None:
    if as_json:
        say_json(_textured(result, target))
    else:
        say(target)


def _paintings(texts: Sequence[str]) -> list[tuple[str, float]]:
    """The styles of a texture, with their weights. Raises InputError when there is none, or one is trained."""
    styles = [parse_style(text) for text in texts]
    if not styles:
        raise InputError("no style was given", "add --style, such as --style irises; see impasto styles")
    for name, _ in styles:
        if catalog.is_trained(name):
            raise InputError(f"{name} is a trained style", "a texture takes a painting, such as irises")
    return styles


def _textured(result: Result, target: Path) -> dict[str, Any]:
    """The object that `texture --json` prints."""
    record = result.record
    names = ("method", "quality", "width", "height", "seconds", "steps", "device", "precision")
    return {
        "style": [entry["id"] for entry in record["styles"]],
        "output": str(target),
        "seamless": record["texture"]["seamless"],
        **{name: record[name] for name in names},
    }
