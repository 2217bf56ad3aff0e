"""`impasto redo`: makes a saved result again from what is written in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.outputs import Targets, keeping_best
from impasto.cli.parse import is_found, parse_style
from impasto.cli.printing import say
from impasto.errors import InputError
from impasto.files import check_apart

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.controls import Controls
    from impasto.engine.engine import Engine
    from impasto.engine.record import Record, Weighted
    from impasto.engine.request import Request, Result
    from impasto.lettering import Lettering

_EXAMPLES = """\b
Examples:
  impasto redo photo-irises.png -o again.png
  impasto redo photo-irises.png --size 2048 -o larger.png
  impasto redo photo-irises.png --style painting.jpg --content elsewhere/photo.jpg -o other.png"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("redo", epilog=_EXAMPLES)(redo)


def redo(
    picture: Annotated[Path, typer.Argument(help="A picture that impasto made.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to write; beside the picture by default.")
    ] = None,
    content: Annotated[Path | None, typer.Option(help="The photograph, if it has moved.")] = None,
    style: Annotated[
        list[str] | None,
        typer.Option("--style", "-s", help="Other styles, or the same ones if their files have moved."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the picture's by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16; the picture's by default.")] = None,
    drop_gps: Annotated[
        bool | None,
        typer.Option(
            "--drop-gps/--keep-gps", help="The place of the photograph: removed or kept; as in the picture by default."
        ),
    ] = None,
    threads: flags.Threads = None,
    format: flags.Format = None,  # noqa: A002 - the flag's name
    jpeg_quality: flags.JpegQuality = None,
    quiet: flags.Quiet = False,
) -> None:
    """Paint a picture again from the settings in its metadata."""
    flags.use_threads(threads)
    values = _values(picture)
    if "letters" in values:
        target = Targets(out, several=False, format=format, jpeg_quality=jpeg_quality)
        again = _Letters.of(picture, values, size, style or (), moved=content)
        again.paint(target, device=device, precision=precision, quiet=quiet)
        return
    from impasto.engine.record import Record

    with _checking(picture):
        record = Record.parse(values)
    record = record if drop_gps is None else replace(record, drop_gps=drop_gps)
    given = [parse_style(text) for text in style or ()]
    found = _Inputs.of(picture, record, content, given)
    target = Targets(out, several=False, format=format, jpeg_quality=jpeg_quality)
    check_apart({"-o": target.file}, [picture, found.content, *found.inputs, *map(str, found.knobs.values())])
    target.check(str(found.content))
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine

    with Reporter(silent=quiet) as reporter:

        def save(result: Result) -> None:
            path = target.save(str(found.content), result, reporter.note)
            if path is not None:
                say(path)

        engine = Engine(device=device, precision=precision or record.precision)
        with keeping_best(save):
            result = _paint(engine, record, found, size, reporter)
        if size is None and result.record["content"]["pixels"] != record.pixels:
            reporter.note(f"{found.content} has changed since {picture} was made")
        save(result)


def _values(picture: Path) -> Mapping[str, Any]:
    """The record in a picture, as it was written."""
    from impasto import images

    values = images.read_record(picture)
    if values is None:
        raise InputError(f"{picture} holds no settings of impasto", "give a picture that impasto has made")
    return values


@contextmanager
def _checking(picture: Path) -> Iterator[None]:
    """Have what is wrong with a record told together with the picture that it came from."""
    try:
        yield
    except InputError as error:
        raise InputError(f"the settings in {picture} cannot be used: {error.message}", error.hint) from error


@dataclass(frozen=True)
class _Letters:
    """Painted letters that are painted again.

    Attributes:
        picture: that shows them.
        lettering: with the files that it names.
        styles: of each zone; empty where an example was given.
        like: the example's two pictures.
        precision: of the record.
    """

    picture: Path
    lettering: Lettering
    styles: Mapping[str, Sequence[tuple[str, float]]]
    like: tuple[Path, Path] | None
    precision: str

    @classmethod
    def of(
        cls, picture: Path, values: Mapping[str, Any], size: int | None, styles: Sequence[str], *, moved: Path | None
    ) -> _Letters:
        """Find all that a record names. styles: of the letters, in place of the record's. moved: a photograph.

        Raises:
            InputError: the record is wrong, a file is not there, or there is nothing that `moved` or `styles` could be.
        """
        from impasto.lettering import LetterRecord

        with _checking(picture):
            record = LetterRecord.parse(values)
        if moved is not None:
            raise InputError(f"{picture} shows painted letters, which have no photograph", "leave out --content")
        if record.like and styles:
            raise InputError(f"{picture} has the look of an example, not of a style", "leave out --style")
        given = [parse_style(text) for text in styles]
        finder = _InputFinder(picture, [Path(name).parent for name, _ in given])
        lettering = record.with_files(lambda name: finder.file(name, ""))
        found = {
            zone: given if zone == "fill" and given else finder.styles(tuple(own))
            for zone, own in record.styles.items()
        }
        return cls(
            picture,
            lettering if size is None else lettering.resized(size),
            found,
            None if record.like is None else (finder.file(record.like[0], ""), finder.file(record.like[1], "")),
            record.precision,
        )

    def paint(self, target: Targets, *, device: str, precision: str | None, quiet: bool) -> None:
        """Paint and save them."""
        files = [self.lettering.drawing, self.lettering.font, self.lettering.setting.along, *(self.like or ())]
        names = [name for own in self.styles.values() for name, _ in own]
        check_apart({"-o": target.file}, [self.picture, *names, *(str(file) for file in files if file)])
        target.check(str(self.picture))
        from impasto.cli.console import Reporter
        from impasto.engine.engine import Engine
        from impasto.lettering import Example, LetterPainter

        look = self.styles if self.like is None else Example.read(*self.like)
        with Reporter(silent=quiet) as reporter:

            def save(result: Result) -> None:
                path = target.save(str(self.picture), result, reporter.note)
                if path is not None:
                    say(path)

            engine = Engine(device=device, precision=precision or self.precision)
            painter = LetterPainter(engine, on_progress=reporter, on_note=reporter.note)
            with keeping_best(save):
                result, _ = painter.paint(self.lettering, look)
            save(result)


def _paint(engine: Engine, record: Record, found: _Inputs, size: int | None, reporter: Reporter) -> Result:
    request = found.request(record, size)
    if not record.texture:
        return engine.stylize(found.content, found.styles, request, on_progress=reporter, on_note=reporter.note)
    return engine.texture(
        found.styles,
        size=max(record.width, record.height) if size is None else size,
        seamless=record.seamless,
        request=request,
        on_progress=reporter,
        on_note=reporter.note,
    )


@dataclass(frozen=True)
class _Inputs:
    """The files that a picture was made of.

    A record tells their names alone. They are looked for beside the picture, beside what the user has given, and in
    the current folder; nothing else is opened.

    Attributes:
        content: the photograph; of a texture the picture itself, beside which the result goes.
        styles: of the whole picture.
        controls: with the files of its masks.
        init: the image to start from, where that was a file.
        knobs: with the files that they name.
    """

    content: Path
    styles: list[tuple[str, float]]
    controls: Controls
    init: Path | None
    knobs: dict[str, Any]

    @classmethod
    def of(cls, picture: Path, record: Record, content: Path | None, styles: Sequence[tuple[str, float]]) -> _Inputs:
        """Find all. styles: of the user, in place of the record's.

        Raises:
            InputError: a file is not there.
        """
        from impasto import settings

        _check_kind(picture, record, styles)
        folders = [path.parent for path in (content, *(Path(own) for own, _ in styles)) if path]
        finder = _InputFinder(picture, folders, record.row.takes_words)
        knobs = settings.with_files(record.row.load_knobs(), record.knobs, finder.knob)
        controls = replace(
            record.controls,
            preserve=finder.mask(record.controls.preserve),
            strength_map=finder.mask(record.controls.strength_map),
            regions=tuple((finder.mask(mask), finder.styles(own)) for mask, own in record.controls.regions),
        )
        return cls(
            content=content or (picture if record.texture else finder.file(record.content, "--content")),
            styles=list(styles) or finder.styles(record.styles),
            controls=controls,
            init=None if record.init is None else finder.file(record.init, ""),
            knobs=knobs,
        )

    @property
    def inputs(self) -> list[str]:
        """All inputs beside the photograph, as paths or words."""
        controls = self.controls
        inside = [style for _, own in controls.regions for style in own]
        masks = [controls.preserve, controls.strength_map, *(mask for mask, _ in controls.regions)]
        return [*(name for name, _ in (*self.styles, *inside)), *(str(one) for one in (*masks, self.init) if one)]

    def request(self, record: Record, size: int | None) -> Request:
        """The request for the engine."""
        from impasto.engine.request import Request

        knobs = dict(self.knobs)
        start = knobs.pop("init", None)
        return Request(
            method="auto" if self.controls.color_only else record.method,
            quality=record.quality if record.row.kind == "objective" else None,
            size=max(record.width, record.height) if size is None else size,
            init=start if self.init is None else self.init,
            knobs=knobs,
            controls=self.controls,
            drop_gps=record.drop_gps,
        )


def _check_kind(picture: Path, record: Record, styles: Sequence[tuple[str, float]]) -> None:
    """Refuse styles of the user that the method of the picture cannot paint."""
    from impasto.models import catalog

    for name, _ in styles:
        if catalog.is_trained(name) != record.row.trained:
            kind = "a style of a trained network" if catalog.is_trained(name) else "a painting"
            raise InputError(
                f"{name} is {kind}, and {picture} was painted by {record.method}", "paint it by impasto stylize"
            )


@dataclass(frozen=True)
class _InputFinder:
    """Finds files by their names.

    Attributes:
        picture: that was made of them.
        given: folders of what the user has named.
        as_words: whether a style may be a sentence.
    """

    picture: Path
    given: Sequence[Path]
    as_words: bool = False

    def file(self, name: str, flag: str) -> Path:
        """A file by its name; flag: with which it may be given instead, or empty."""
        for folder in (self.picture.parent, *self.given, Path()):
            if name and (folder / name).is_file():
                return folder / name
        hint = "put it beside the picture" + (f", or give it by {flag}" if flag else "")
        raise InputError(f"{name or 'a picture in memory'}, of which {self.picture} was made, is not there", hint)

    def knob(self, name: str) -> str:
        """A file that a setting names; a CLIP may lie in the cache instead, by its name alone."""
        try:
            return str(self.file(name, ""))
        except InputError:
            if self.as_words:
                return name
            raise

    def mask(self, name: str | None) -> str | None:
        """A word as it is, unless a file beside the picture has it as its name."""
        if name is None or (is_found(name) and not (self.picture.parent / name).exists()):
            return name
        return str(self.file(name, ""))

    def styles(self, names: Weighted) -> list[tuple[str, float]]:
        """Library ids as they are; files where they are found, `FILE:NAME` for styles of trained networks."""
        return [(self._style(name), weight) for name, weight in names]

    def _style(self, name: str) -> str:
        if re.fullmatch(r"(museum|pack):[\w-]+", name):
            return name
        trained = re.fullmatch(r"(.+\.(?:safetensors|style)):([\w-]+)", name, re.IGNORECASE)
        if trained:
            return f"{self.file(trained[1], '--style')}:{trained[2]}"
        from impasto.images import EXTENSIONS

        if self.as_words and Path(name).suffix.lower() not in EXTENSIONS:
            return name
        return str(self.file(name, "--style"))
