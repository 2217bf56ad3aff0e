"""`impasto batch`: many photographs in, as many paintings out; a run that was broken off goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.inputs import check_masks
from impasto.cli.parse import check_pixels, parse_region, parse_style, styles_named
from impasto.cli.printing import say, say_json, tell
from impasto.errors import BatchError, Cancelled, InputError, StyleError, counted, plain
from impasto.files import check_apart, discard_leftovers, locked, make_folder
from impasto.memory import parse_memory

if TYPE_CHECKING:
    from impasto.batch.journal import Journal
    from impasto.batch.painter import BatchPainter, Outcome
    from impasto.batch.plan import Photograph, Plan, Styles, Work
    from impasto.cli.console import Reporter

_EXAMPLES = """\b
Examples:
  impasto batch holiday/ --style irises --quality draft -o painted/
  impasto batch "photos/**/*.jpg" -s irises -s 436535 --each-style -o painted/ --manifest painted.csv
  impasto batch --from jobs.csv --style irises -o painted/
  impasto batch inbox/ --style irises -o painted/ --watch
  impasto batch holiday/ --style irises --quality best -o painted/ --dry-run"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with a flag for each knob of each method."""
    app.command("batch", epilog=_EXAMPLES)(flags.with_knobs(batch))


def batch(
    content: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, with all their folders; files; or patterns in quotes, such as 'in/**/*.jpg'."),
    ] = None,
    style: flags.Styles = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder for the results.")] = None,
    each_style: Annotated[
        bool, typer.Option("--each-style", help="Paint every photograph in each style by itself, not in their mixture.")
    ] = False,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Read what to paint from a .csv or .jsonl: content, style, knobs, result."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Write what came of each picture to a .csv or .jsonl.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and paint what comes into the folders.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Paint nothing; say how many pictures are left, and what they take.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Paint on a Ray cluster: HOST:PORT, auto (this machine's), or local (a new one)."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Workers on the cluster, at most.", min=1)] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="auto, or one of impasto methods.", autocompletion=flags.method_names)
    ] = "auto",
    quality: Annotated[
        str | None, typer.Option("--quality", "-q", help="draft (a second), good (the default) or best (minutes).")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the photograph's own by default.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Image to start from: recolored, draft, content, content+noise, noise or style.")
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
    threads: flags.Threads = None,
    keep_color: flags.KeepColor = None,
    color_only: flags.ColorOnly = False,
    region: flags.RegionFlags = None,
    match_regions: flags.MatchRegions = False,
    feather: flags.Feather = 0.0,
    preserve: flags.Preserve = None,
    protect_faces: flags.ProtectFaces = None,
    strength_map: flags.StrengthMap = None,
    drop_gps: flags.DropGps = False,
    format: flags.Format = None,  # noqa: A002 - the flag's name
    jpeg_quality: flags.JpegQuality = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each picture.")] = False,
    **knobs: Any,
) -> None:
    """Paint folders of photographs; the same command again goes on where it was stopped."""
    flags.use_threads(threads)
    asked = _Asked(
        contents=content or [],
        styles=tuple(parse_style(text) for text in styles_named(style, method, knobs)),
        out=_check_out(out),
        each_style=each_style,
        source=from_,
        manifest=manifest,
        watched=watch,
        ray=ray,
        workers=workers,
        threads=threads,
    )
    asked.check(has_regions=bool(region))
    regions = [parse_region(text) for text in region or ()]
    pixels, masks = check_pixels(max_pixels), [*(mask for mask, _ in regions), preserve, strength_map]
    check_masks([mask for mask in masks if mask], pixels)
    words = [*(name for name, _ in asked.styles), *(name for _, name in regions), *masks, *map(str, knobs.values())]
    check_apart({"--manifest": manifest}, [from_, *words])
    from impasto.engine.request import Request

    request = Request(
        method=method,
        quality=quality,
        size=size,
        init=init,
        knobs=knobs,
        max_memory=parse_memory(max_memory),
        max_pixels=pixels,
        controls=flags.controls_of(
            keep_color, color_only, match_regions, regions, feather, preserve, protect_faces, strength_map
        ),
        drop_gps=drop_gps,
    )
    from impasto import images
    from impasto.batch.painter import Saving
    from impasto.cli.console import Reporter

    saving = Saving(images.check_format(format or "png", jpeg_quality), jpeg_quality)
    with Reporter(silent=quiet) as reporter:
        run = _Run(asked, request, saving, device, precision, reporter, _Teller(as_json=as_json))
        if dry_run:
            run.estimate()
        else:
            run.paint()


@dataclass(frozen=True)
class _Asked:
    """What is to be painted, and where to."""

    contents: Sequence[str]
    styles: Styles
    out: str
    each_style: bool
    source: Path | None
    manifest: Path | None
    watched: bool
    ray: str | None = None
    workers: int | None = None
    threads: int | None = None

    def check(self, *, has_regions: bool) -> None:
        """Refuse what does not fit together. Loads nothing."""
        from impasto.batch import watch

        if self.source is None and not self.contents:
            raise InputError("no photographs were given", "name folders, or a manifest with --from")
        if self.source is not None and (self.contents or self.watched):
            what = "--watch" if self.watched else "photographs"
            raise InputError(f"--from and {what} were given", "give the one or the other")
        if self.source is None and not self.styles and not has_regions:
            raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
        if self.each_style and len(self.styles) < 2:
            raise InputError("--each-style needs several styles", "give --style more than once, or leave it out")
        self._check_manifests()
        if self.watched:
            watch.check(self.contents)
        self._check_cluster()

    def _check_manifests(self) -> None:
        from impasto import images
        from impasto.batch import manifest

        for path, flag in ((self.source, "--from"), (self.manifest, "--manifest")):
            if path is not None:
                manifest.check_ending(path, flag)
        if self.manifest is not None:
            images.check_output(self.manifest, (), formats=(self.manifest.suffix.lower(),))

    def _check_cluster(self) -> None:
        flags.check_cluster("--workers", self.workers, self.ray)
        if self.ray is None:
            return
        if self.watched:
            raise InputError("--watch and --ray were given", "watch on one machine, or give the folder again later")
        from impasto.engine.cluster import check_address

        check_address(self.ray)


def _check_out(out: str | None) -> str:
    from impasto import images
    from impasto.batch import places
    from impasto.files import is_folder, refuse_address

    if not out or out == "-":
        raise InputError("no folder for the results was given", "name one with -o")
    if not places.is_address(out):
        refuse_address(out)
        if Path(out).suffix.lower() in images.EXTENSIONS and not is_folder(out):
            raise InputError(f"several pictures cannot go into one file, {out}", "name a folder with -o")
    return out


@contextmanager
def _claimed(out: str) -> Iterator[None]:
    """The folder of results, made and kept from other batches, without what a killed one left half-written."""
    from impasto.batch import places

    if places.is_address(out):
        places.check(out)
        yield
        return
    make_folder(Path(out))
    with locked(Path(out)):
        discard_leftovers(Path(out))
        yield


class _Teller:
    """Prints what came of each picture, and counts."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._started = time.monotonic()
        self._statuses: dict[str, str] = {}  # by result: one that failed may come right when its photograph changes

    def add(self, outcome: Outcome) -> None:
        """Tell of one picture."""
        work = outcome.work
        self._statuses[work.output] = outcome.status
        self.failure(outcome)
        if self.as_json:
            say_json(_as_json(outcome))
        elif outcome.status == "painted":
            say(work.output)

    def failure(self, outcome: Outcome) -> None:
        """Two lines of a picture that failed; nothing of others."""
        if outcome.error is None:
            return
        name, message = plain(outcome.work.content), outcome.error.message
        tell(f"error: {message}" if message.startswith(name) else f"error: {name}: {message}")
        tell(f"hint:  {outcome.error.hint}")

    @property
    def begun(self) -> bool:
        """Whether something has come of any picture."""
        return bool(self._statuses)

    def summary(self) -> None:
        """The last line: how many of each kind, and how fast."""
        seconds = time.monotonic() - self._started
        statuses = list(self._statuses.values())
        counts = {status: statuses.count(status) for status in ("painted", "kept", "passed over", "failed")}
        if self.as_json:
            named = {status.replace(" ", "_"): count for status, count in counts.items()}
            say_json({"summary": {**named, "seconds": round(seconds, 3)}})
        rate = f", {counts['painted'] / seconds:.2f} a second" if counts["painted"] and seconds else ""
        words = {"painted": "painted", "kept": "done before", "passed over": "passed over (results themselves)"}
        told = [f"{count} {words.get(status, status)}" for status, count in counts.items() if count]
        tell(f"note: {', '.join(told) or 'no picture was painted'}, in {seconds:.0f} s{rate}")

    def check(self) -> None:
        """Raise BatchError where pictures failed."""
        failed = list(self._statuses.values()).count("failed")
        if failed:
            done = "the others are done; " if failed < len(self._statuses) else ""
            raise BatchError(f"{failed} of {len(self._statuses)} pictures failed", f"{done}see above")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    work = outcome.work
    return {
        "content": work.content,
        "style": [name for name, _ in work.styles],
        "result": work.output,
        "status": outcome.status,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
        "error": None if outcome.error is None else outcome.error.message,
    }


class _Run:
    """One batch."""

    def __init__(
        self,
        asked: _Asked,
        request: Any,
        saving: Any,
        device: str,
        precision: str,
        reporter: Reporter,
        teller: _Teller,
    ) -> None:
        from impasto.engine.engine import Engine

        self._asked, self._request, self._saving = asked, request, saving
        self._device, self._precision = device, precision
        self._reporter, self._teller = reporter, teller
        self._engine = Engine(device=device, precision=precision, runtime="torch")

    def paint(self) -> None:
        """Paint all that is not done yet; then, if asked, what comes."""
        from impasto.batch.journal import Journal
        from impasto.batch.manifest import Writer

        plan, works = self._plan()
        journal = Journal(self._asked.out)
        with _claimed(self._asked.out), Writer(self._asked.manifest) as table:
            journal.load()
            try:
                self._paint_all(works, journal, table)
                if self._asked.watched:
                    self._watch(plan, journal, table)
            except Cancelled as cancelled:
                cancelled.hint = "the same command again paints what is left"
                self._teller.summary()
                raise
            except StyleError:
                if self._teller.begun:  # what comes before all pictures says it all
                    self._teller.summary()
                raise
            finally:
                journal.close()
            self._teller.summary()
        self._teller.check()

    def estimate(self) -> None:
        """Say what is left, and what it takes."""
        from impasto.batch.estimate import estimate
        from impasto.batch.journal import Journal
        from impasto.device import readable_bytes
        from impasto.engine.plan import duration

        _, works = self._plan()
        journal = Journal(self._asked.out)
        journal.load()
        told = estimate(works, self._painter(journal), device=self._device, precision=self._precision)
        for outcome in told.failing:
            self._teller.failure(outcome)
        if self._teller.as_json:
            names = ("pictures", "kept", "looked_at", "seconds", "bytes", "free")
            failing = [_as_json(outcome) for outcome in told.failing]
            say_json({**{name: getattr(told, name) for name in names}, "failing": failing})
        else:
            say(f"{counted(told.pictures, 'picture')} to paint, {told.kept} done before")
            say(f"about {duration(told.seconds)} on this machine, and {readable_bytes(told.bytes)} of disk")
            if not told.fits:
                say(f"the disk has only {readable_bytes(told.free or 0)} free")
        if told.failing:
            what = f"{len(told.failing)} of the {counted(told.looked_at, 'photograph')} looked at cannot be painted"
            raise BatchError(what, "see above; a batch paints the others all the same")

    def _painter(self, journal: Journal) -> BatchPainter:
        from impasto.batch.painter import BatchPainter

        return BatchPainter(self._engine, self._request, out=self._asked.out, journal=journal, saving=self._saving)

    def _plan(self) -> tuple[Plan, list[Work]]:
        """What is to be painted; finds what is wrong with all of it before the first picture."""
        from impasto.batch import plan as planning
        from impasto.engine.plan import stages_of

        looks = planning.looks_of(self._asked.styles, each=self._asked.each_style)
        if self._asked.source is None:
            for look in looks:
                stages_of(list(look), self._request)
        plan = planning.Plan(looks, label_of=self._label_of(), ending=self._saving.ending)
        works = plan.add(self._photographs()) if self._asked.source is None else self._from_manifest(plan, looks)
        planning.check_outputs(works, self._asked.out)
        return plan, works

    def _photographs(self) -> list[Photograph]:
        from impasto.batch.plan import find_photographs
        from impasto.batch.watch import is_settled

        watched = self._asked.watched  # what is still being written then comes later, from `_watch`
        found = find_photographs(self._asked.contents, out=self._asked.out, empty=watched)
        return [photograph for photograph in found if not watched or is_settled(photograph.name)]

    def _from_manifest(self, plan: Plan, looks: Sequence[Styles]) -> list[Work]:
        from impasto.batch import manifest
        from impasto.batch.plan import Photograph, Work

        assert self._asked.source is not None
        works = []
        for row in manifest.read(self._asked.source, parse_style):
            for styles in [row.styles] if row.styles else looks:
                output = row.result or plan.name(Photograph(row.content), styles)
                works.append(Work(row.content, styles, output, row.settings))
        plan.claim(works)
        return works

    def _label_of(self) -> Callable[[str], str]:
        @cache
        def label(name: str) -> str:
            pixels = self._request.max_pixels
            try:
                found = self._engine.find_styles([name], max_pixels=pixels, on_progress=self._reporter)[0]
            except InputError:
                if self._asked.source is None:
                    raise
                return Path(name).stem  # of a row, which fails when its turn comes
            return found.title

        return label

    def _paint_all(self, works: Sequence[Work], journal: Journal, table: Any) -> None:
        from impasto.batch.runner import paint_all

        painter = self._painter(journal)
        if self._asked.ray is None:
            outcomes = paint_all(works, painter, total=len(works), on_progress=self._reporter)
        else:
            outcomes = self._on_cluster(self._asked.ray, works, painter)
        with closing(outcomes):
            for outcome in outcomes:
                self._teller.add(outcome)
                table.add(outcome.work, seconds=outcome.seconds, error=outcome.error.message if outcome.error else "")

    def _on_cluster(self, address: str, works: Sequence[Work], painter: BatchPainter) -> Generator[Outcome, None, None]:
        from impasto.batch import cluster, places
        from impasto.engine.cluster import check_nodes, connected, shape_of

        left = []
        for work in works:
            kept = painter.kept(work)
            if kept is None:
                left.append(work)
            else:
                yield kept
        if not left:
            return
        out = self._asked.out
        with connected(address):
            shape = shape_of(workers=self._asked.workers, threads=self._asked.threads)
            recipe, files = cluster.recipe_of(painter, left, precision=self._precision, threads=shape.cpus)
            folder = None if places.is_address(out) else Path(out)
            check_nodes(folder, [*cluster.photographs_to_check(left), *files])
            self._reporter.note(f"{counted(shape.workers, 'worker')} of {counted(shape.cpus, 'processor')} each")
            yield from cluster.paint_on_cluster(left, recipe, shape, on_progress=self._reporter)

    def _watch(self, plan: Plan, journal: Journal, table: Any) -> None:
        from impasto.batch.plan import photographs_of
        from impasto.batch.watch import watch
        from impasto.contract import Progress

        def waiting() -> None:
            self._reporter(Progress("watching", 0, 0, unit="picture"))

        for names in watch(self._asked.contents, out=self._asked.out, on_wait=waiting):
            works = plan.add(photographs_of(names, self._asked.contents))
            self._paint_all(works, journal, table)
