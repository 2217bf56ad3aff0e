"""`impasto measure`: numbers for what was painted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from impasto.cli.printing import say_json, tell
from impasto.errors import InputError, plain

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.metrics import Judge

_EXAMPLES = """\b
Examples:
  impasto measure photo.jpg painting.jpg pastiche.png
  impasto measure photos/ paintings/ pastiches/ --json
  impasto measure photo.jpg painting.jpg a.png b.png --metrics style_distance,lpips_vgg
  impasto measure --video clip.mp4 painted.mp4"""

_COLUMNS = 4  # pastiches side by side; more are summed up
_BETTER = {"lower": "lower is better", "higher": "higher is better", "none": ""}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("measure", epilog=_EXAMPLES)(measure)


def measure(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONTENT STYLE PASTICHE...", help="Files or folders, paired by name; with --video: INPUT OUTPUT."
        ),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Names, separated by commas; all that apply by default.")
    ] = None,
    video: Annotated[bool, typer.Option("--video", help="Measure a painted video against its input.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a pastiche of another size than the content.")
    ] = False,
    as_list: Annotated[bool, typer.Option("--list", help="List the measures: range, direction, source.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how much of the photograph is kept, and how near the style is."""
    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    given = pictures or []
    if as_list:
        _list(as_json=as_json)
    elif video:
        _measure_video(given, names, as_json=as_json)
    else:
        _measure_pictures(given, names, strict=strict, as_json=as_json)


# Pictures


@dataclass(frozen=True)
class Case:
    """One pastiche and what it was made of."""

    content: Path
    style: Path
    pastiche: Path


def _measure_pictures(given: Sequence[str], names: list[str] | None, *, strict: bool, as_json: bool) -> None:
    if len(given) < 3:
        raise InputError(
            f"{len(given)} of CONTENT, STYLE and PASTICHE were given", "impasto measure --help has examples"
        )
    if names is not None:
        from impasto.metrics import check_names

        check_names(names, ("picture", "set"))
    content, style, *pastiches = (Path(item) for item in given)
    cases = pair(content, style, pastiches)
    styles = pictures_of(style)
    single, whole, notes = _plan(names, len(styles) if style.is_dir() else 0, len(cases))
    _check_sizes(cases, strict=strict, notes=notes)
    if names is None:
        single = _leave_out(single, cases, notes)
    from impasto.cli.console import Reporter
    from impasto.metrics import Judge

    with Reporter() as reporter:
        judge = Judge(on_progress=reporter)
        rows = _measure_cases(judge, cases, single, reporter)
        contents, painted = [case.content for case in cases], [case.pastiche for case in cases]
        found = judge.measure_set(contents, styles, painted, whole, reporter) if whole else {}
    for note in notes:
        tell(f"note: {note}")
    report = {"pictures": rows, "mean": _mean(rows, single), "set": found}
    if as_json:
        say_json(report, indent=2)
    else:
        _print(rows, single, found)


def _plan(names: list[str] | None, styles: int, pastiches: int) -> tuple[list[str], list[str], list[str]]:
    """Measures of each picture, those of the set, and notes. styles: 0 where the style is a single file."""
    from impasto.metrics import check_counts, check_names, names_of, set_notes

    of_sets = names_of("set")
    if names is None:
        single, whole = list(names_of("picture")), []
        notes = []
        for name in of_sets if styles else ():
            try:
                check_counts([name], styles, pastiches)
                whole.append(name)
            except InputError as error:
                notes.append(f"{name} is left out: {error.message}")
    else:
        wanted = check_names(names, ("picture", "set"))
        single, whole = ([name for name in wanted if (name in of_sets) == sets] for sets in (False, True))
        if whole and not styles:
            raise InputError(f"{whole[0]} compares sets of pictures", "give a folder of styles, and one of pastiches")
        check_counts(whole, styles, pastiches)
        notes = []
    return single, whole, [*notes, *set_notes(whole, styles, pastiches)]


def _measure_cases(
    judge: Judge, cases: Sequence[Case], names: Sequence[str], reporter: Reporter
) -> list[dict[str, Any]]:
    from impasto import images
    from impasto.contract import Progress

    rows = []
    for number, case in enumerate(cases):
        reporter(Progress("measuring", number, len(cases), unit="picture"))
        scores = {}
        if names:
            content, style, pastiche = (images.read(path).pixels for path in (case.content, case.style, case.pastiche))
            try:
                scores = judge.measure(content, style, pastiche, names)
            except InputError as error:
                raise InputError(f"{case.pastiche}: {error.message}", error.hint) from error
        rows.append({"content": str(case.content), "style": str(case.style), "pastiche": str(case.pastiche), **scores})
    return rows


def _leave_out(names: Sequence[str], cases: Iterable[Case], notes: list[str]) -> list[str]:
    """The measures that all pictures are large enough for; the others are noted, with the first that is too small."""
    from impasto import images
    from impasto.metrics import unmeasurable

    reasons: dict[str, str] = {}
    for case in cases:
        content, pastiche = images.probe(case.content), images.probe(case.pastiche)
        found = unmeasurable((content.width, content.height), (pastiche.width, pastiche.height))
        for name, reason in found.items():
            reasons.setdefault(name, f"{name} is left out: it {reason} ({case.pastiche})")
    notes += reasons.values()
    return [name for name in names if name not in reasons]


def _check_sizes(cases: Iterable[Case], *, strict: bool, notes: list[str]) -> None:
    """Refuse pastiches of another size than their content, or tell that they are resized. Reads headers only."""
    from impasto import images

    for case in cases:
        content, _, pastiche = (images.probe(path) for path in (case.content, case.style, case.pastiche))
        sizes = [f"{header.width}x{header.height}" for header in (content, pastiche)]
        if sizes[0] != sizes[1]:
            told = f"{case.pastiche} is {sizes[1]} px and its content {case.content} {sizes[0]}"
            if strict:
                raise InputError(told, "make them equal, or leave out --strict to have the pastiche resized")
            notes.append(f"{told}: the pastiche is resized for the measures")


def pictures_of(path: Path) -> list[Path]:
    """The file itself, or a folder's pictures by name. Raises InputError where there are none."""
    from impasto import images

    if not path.is_dir():
        if not path.exists():
            raise InputError(f"there is no file or folder {path}", "give pictures, or folders of them")
        return [path]
    found = sorted(item for item in path.iterdir() if item.suffix.lower() in images.EXTENSIONS)
    if not found:
        raise InputError(f"the folder {path} holds no pictures", f"it needs {', '.join(sorted(images.EXTENSIONS))}")
    return found


def pair(content: Path, style: Path, pastiches: Sequence[Path]) -> list[Case]:
    """Find for each pastiche its content and style.

    A single file goes with all pastiches. Of a folder of contents the pastiche's is the one whose name, less its
    ending, is the pastiche's or its beginning up to a hyphen; of a folder of styles, the one of the same name or its
    end: `lemurs-irises.png` is made of `lemurs.jpg` and `irises.jpg`, as `impasto stylize` names what it makes.

    Raises:
        InputError: there are pastiches without a content or style, or contents without a pastiche; all are named.
    """
    contents, styles = pictures_of(content), pictures_of(style)
    painted = [picture for path in pastiches for picture in pictures_of(path)]
    cases, lonely = [], []
    for pastiche in painted:
        its_content = contents[0] if not content.is_dir() else _match(pastiche.stem, contents, start=True)
        its_style = styles[0] if not style.is_dir() else _match(pastiche.stem, styles, start=False)
        if its_content is None or its_style is None:
            lonely.append(pastiche)
        else:
            cases.append(Case(its_content, its_style, pastiche))
    if content.is_dir():
        used = {case.content for case in cases}
        lonely += [path for path in contents if path not in used]
    if lonely:
        named = ", ".join(path.name for path in lonely)
        raise InputError(
            f"these do not pair up by name: {named}", "name a pastiche as its content, or CONTENT-STYLE as stylize does"
        )
    return cases


def _match(stem: str, candidates: Sequence[Path], *, start: bool) -> Path | None:
    """The candidate with the longest name that `stem` is, or starts or ends with."""

    def fits(name: str) -> bool:
        return stem == name or (stem.startswith(f"{name}-") if start else stem.endswith(f"-{name}"))

    return max((path for path in candidates if fits(path.stem)), key=lambda path: len(path.stem), default=None)


def _mean(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


# Videos


def _measure_video(given: Sequence[str], names: list[str] | None, *, as_json: bool) -> None:
    if len(given) != 2:
        raise InputError(f"--video takes INPUT and OUTPUT; {len(given)} files were given", "impasto measure --help")
    from impasto.cli.console import Reporter
    from impasto.metrics import measure_video

    with Reporter() as reporter:
        scores = measure_video(Path(given[0]), Path(given[1]), names, reporter)
    if as_json:
        say_json({"input": given[0], "output": given[1], **scores}, indent=2)
    else:
        _print_table(list(scores), [(Path(given[1]).name, scores)])


# Tables


def _list(*, as_json: bool) -> None:
    from dataclasses import asdict

    from impasto.metrics import METRICS

    if as_json:
        say_json([asdict(row) for row in METRICS.values()], indent=2)
        return
    table = Table(box=None, header_style="bold")
    table.add_column("measure", no_wrap=True)
    for title in ("what it is", "compares", "range", "better"):
        table.add_column(title)
    for row in METRICS.values():
        table.add_row(row.name, row.summary, row.compares, row.range, row.direction)
    Console().print(table, highlight=False, markup=False)


def _print(rows: Sequence[dict[str, Any]], single: Sequence[str], whole: dict[str, float]) -> None:
    if single and len(rows) <= _COLUMNS:
        short = [Path(row["pastiche"]).name for row in rows]
        titles = short if len(set(short)) == len(short) else [row["pastiche"] for row in rows]
        _print_table(single, list(zip(titles, rows, strict=True)))
    elif single:
        spread = [
            (f"mean of {len(rows)}", _mean(rows, single)),
            ("least", {name: min(row[name] for row in rows) for name in single}),
            ("most", {name: max(row[name] for row in rows) for name in single}),
        ]
        _print_table(single, spread)
    if whole:
        _print_table(list(whole), [(f"set of {len(rows)}", whole)])


def _print_table(names: Iterable[str], columns: Sequence[tuple[str, dict[str, Any]]]) -> None:
    from impasto.metrics import METRICS

    table = Table("measure", box=None, header_style="bold")
    for title, _ in columns:
        table.add_column(plain(title), justify="right")
    table.add_column("")
    for name in names:
        values = [f"{scores[name]:.4f}" for _, scores in columns]
        table.add_row(name, *values, _BETTER[METRICS[name].direction])
    Console().print(table, highlight=False, markup=False)
