"""`impasto video`: a clip in, a steady painted clip out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.inputs import Spool, check_moving_masks
from impasto.cli.outputs import unused
from impasto.cli.parse import (
    check_seconds,
    parse_at,
    parse_number,
    parse_points,
    parse_rate,
    parse_region,
    parse_style,
    styles_named,
    timeline_of,
)
from impasto.cli.preview import PreviewFile
from impasto.cli.printing import say, say_json
from impasto.contract import Progress
from impasto.errors import Cancelled, InputError
from impasto.files import check_apart, slug
from impasto.memory import parse_memory

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request
    from impasto.video.runner import FilmResult
    from impasto.video.settings import Film
    from impasto.video.shots import Job

_EXAMPLES = """\b
Examples:
  impasto video clip.mp4 --style irises -o painted.mp4
  impasto video clip.mp4 --style painting.jpg --size 640 --start 2 --end 7.5 -o part.webm
  impasto video clip.mp4 --style irises --style-at 4=436535 --fade 2 -o changing.mp4
  impasto video clip.mp4 --style irises --strength-at 0=0 --strength-at 3=1 -o growing.mp4
  impasto video clip.mp4 --region subject=irises --region mask.mp4=436535 -o parts.mp4
  impasto video clip.mp4 --style irises --temporal best -o painted.mp4 --resume"""

_PREVIEW_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with a flag for each knob of each method."""
    app.command("video", epilog=_EXAMPLES)(flags.with_knobs(video))


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video file of any kind that FFmpeg reads.")],
    style: flags.Styles = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help=".mp4 .mov .mkv .webm .gif .webp or frames/%05d.png; IN-STYLE.mp4 by default."
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    quality: Annotated[
        str, typer.Option("--quality", "-q", help="draft, good or best (minutes for each frame).")
    ] = "draft",
    temporal: Annotated[
        str, typer.Option(help="How steady: off (each frame by itself), fast, or best (finer flow).")
    ] = "fast",
    size: Annotated[int | None, typer.Option(help="Longest side in pixels; the video's own by default.")] = None,
    start: Annotated[float, typer.Option(help="Start at this second.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Stop before this second.")] = None,
    fps: Annotated[
        str | None, typer.Option(help="Frames a second, such as 25 or 30000/1001; as in the video by default.")
    ] = None,
    style_at: Annotated[
        list[str] | None, typer.Option(help="SECONDS=STYLE: change to a style; may be repeated.")
    ] = None,
    fade: Annotated[float, typer.Option(help="Seconds over which a style fades into the next.")] = 1.0,
    strength_at: Annotated[
        list[str] | None, typer.Option(help="SECONDS=STRENGTH: a point on the curve of strength; may be repeated.")
    ] = None,
    follow: Annotated[
        Path | None,
        typer.Option(help="Music that drives the strength by loudness and beat; several styles change with the bars."),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="h264, hevc, av1, vp9, prores or ffv1; by default the usual one for the file's extension."),
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of each colour component: 8 or 10.")] = 8,
    crf: Annotated[
        int | None, typer.Option(help="Quality of the codec: lower is better, and makes larger files.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped job that had the same settings.")
    ] = False,
    preview: Annotated[Path | None, typer.Option(help="A picture that always shows the newest frame.")] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Paint shots on a Ray cluster: HOST:PORT, auto (this machine's), or local (new)."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Workers on the cluster, at most.", min=1)] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory to use at most, such as 2GB; a job that needs more is refused.")
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    runtime: flags.Runtime = "auto",
    threads: flags.Threads = None,
    keep_color: flags.KeepColor = None,
    region: flags.RegionFlags = None,
    feather: flags.Feather = 0.0,
    preserve: flags.Preserve = None,
    drop_gps: flags.DropGps = False,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    **knobs: Any,
) -> None:
    """Paint a video without flicker; sound and subtitles are copied."""
    flags.use_threads(threads)
    inputs = _Inputs.of(styles_named(style, method, knobs), style_at, region, preserve, knobs)
    from impasto.engine.plan import stages_of
    from impasto.engine.request import Request

    request = Request(
        method=method,
        quality=None if method != "auto" and quality == "draft" else quality,  # the default is of method auto
        init=inputs.init,
        knobs=inputs.knobs,
        max_memory=parse_memory(max_memory),
        controls=flags.controls_of(keep_color, False, False, inputs.regions, feather, inputs.preserve, None, None),
        drop_gps=drop_gps,
    )
    stages_of(inputs.styles, request)
    target = out or unused(source.parent / f"{source.stem}-{slug(Path(inputs.names[0]).stem)}.mp4")
    check_apart({"-o": target, "--preview": preview}, [source, *inputs.names, follow])
    if preview is not None:
        from impasto import images

        images.check_output(preview, ())
    flags.check_cluster("--workers", workers, ray)
    from impasto.engine.engine import Engine
    from impasto.video.settings import Film

    film = Film(
        start=check_seconds("--start", start),
        end=None if end is None else check_seconds("--end", end),
        size=size,
        rate=parse_rate(fps),
        temporal=temporal,
        codec=codec,
        bits=bits,
        crf=crf,
        timeline=timeline_of(inputs.times, check_seconds("--fade", fade)),
        strengths=tuple(
            (at, parse_number(text, "--strength-at")) for at, text in parse_points(strength_at, "--strength-at")
        ),
    )
    _check_part(film)
    if follow is not None:
        film = _following(film, follow, source, len(inputs.styles))
    engine = Engine(device=device, precision=precision, runtime=runtime)
    if ray is None:
        result = _paint(engine, source, inputs, target, request, film, resume=resume, preview=preview, quiet=quiet)
    else:
        job = _job(source, inputs, target, request, film, resume=resume, preview=preview, precision=precision)
        result = _paint_on_cluster(ray, engine, job, workers=workers, threads=threads, quiet=quiet)
    say_json(_summary(result)) if as_json else say(result.path)


def _following(film: Film, path: Path, source: Path, styles: int) -> Film:
    """The film with the strengths and the changes of style that music asks for."""
    from impasto.engine import music
    from impasto.videos import probe_video

    if film.strengths or film.timeline:
        raise InputError("--follow sets strength and styles over time", "leave out --strength-at and --style-at")
    header = probe_video(source)
    end = header.duration if film.end is None else min(film.end, header.duration)
    led = music.follow(path, styles=styles, seconds=max(0.0, end - film.start))
    return replace(film, strengths=led.strengths, timeline=led.timeline)


@dataclass(frozen=True)
class _Inputs:
    """The styles and masks of a film; what came through a pipe has been read.

    Attributes:
        styles: with their weights; those of `--style-at` last.
        times: of `--style-at`, in seconds.
        regions: mask and style.
        preserve, init: files or words.
        knobs: the other settings that were given.
        names: of all of these, as they were given, a style first.
    """

    styles: list[tuple[Any, float]]
    times: list[float]
    regions: list[tuple[Any, Any]]
    preserve: Any
    init: Any
    knobs: dict[str, Any]
    names: list[str]

    @classmethod
    def of(
        cls,
        style: list[str] | None,
        style_at: list[str] | None,
        region: list[str] | None,
        preserve: str | None,
        knobs: dict[str, Any],
    ) -> _Inputs:
        """Parse the flags and read pipes. Raises InputError when there is no style, or a flag is wrong."""
        styles = [parse_style(text) for text in style or ()]
        changes = [parse_at(text, "--style-at") for text in style_at or ()]
        regions = [parse_region(text) for text in region or ()]
        if not styles and not regions:
            raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
        if changes and len(styles) != 1:
            raise InputError(
                f"--style-at goes on from one --style; {len(styles)} were given", "give the first by --style"
            )
        knobs = {name: value for name, value in knobs.items() if value is not None}
        init = knobs.pop("init", None)
        given = [*(name for name, _ in styles), *(name for _, name in changes), *(name for _, name in regions)]
        masks = [mask for mask in (*dict(regions), preserve) if mask]
        spool = Spool()
        read: dict[str | None, Any] = {word: spool(word) for word in dict.fromkeys([*given, *masks, init])}
        check_moving_masks([read[mask] for mask in masks])
        return cls(
            styles=[*((read[name], weight) for name, weight in styles), *((read[name], 1.0) for _, name in changes)],
            times=[float(at) for at, _ in changes],
            regions=[(read[mask], read[name]) for mask, name in regions],
            preserve=read.get(preserve),
            init=read[init],
            knobs=knobs,
            names=[*given, *masks, init, *map(str, knobs.values())],
        )


def _paint(
    engine: Engine,
    source: Path,
    inputs: _Inputs,
    target: Path,
    request: Request,
    film: Film,
    *,
    resume: bool,
    preview: Path | None,
    quiet: bool,
) -> FilmResult:
    from impasto.cli.console import Reporter
    from impasto.video.film import paint_video

    with Reporter(silent=quiet) as reporter:
        previewer = _Previewer(reporter, preview)
        try:
            return paint_video(
                engine,
                source,
                inputs.styles,
                target,
                request,
                film,
                resume=resume,
                on_progress=previewer,
                on_note=reporter.note,
            )
        except Cancelled as cancelled:
            cancelled.hint = "the same command with --resume goes on from the last whole segment"
            raise


def _job(
    source: Path,
    inputs: _Inputs,
    target: Path,
    request: Request,
    film: Film,
    *,
    resume: bool,
    preview: Path | None,
    precision: str,
) -> Job:
    """A film as workers need to know it, with the paths of this machine."""
    from impasto.video.shots import Job, check_job

    if preview is not None:
        raise InputError("--preview and --ray were given", "leave one out")
    job = Job(source.absolute(), target.absolute(), inputs.styles, request, film, precision, resume=resume)
    check_job(job)
    return job


def _paint_on_cluster(
    address: str, engine: Engine, job: Job, *, workers: int | None, threads: int | None, quiet: bool
) -> FilmResult:
    from impasto.cli.console import Reporter
    from impasto.engine.cluster import by_path, check_nodes, connected, request_by_paths, shape_of
    from impasto.video.shots import over_cluster, paint_parts

    files: list[str] = []
    styles = [(by_path(name, files), weight) for name, weight in job.styles]
    job = replace(job, styles=styles, request=request_by_paths(job.request, files))
    with Reporter(silent=quiet) as reporter, connected(address):
        check_nodes(job.out.parent, list(dict.fromkeys([str(job.source), *files])))
        shape = shape_of(workers=workers, threads=threads)
        job = replace(job, threads=shape.cpus)
        try:
            return paint_parts(
                engine,
                job,
                workers=shape.workers,
                spread=over_cluster(shape),
                on_progress=reporter,
                on_note=reporter.note,
            )
        except Cancelled as cancelled:
            cancelled.hint = "the same command with --resume goes on from the last whole segments"
            raise


def _summary(result: FilmResult) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "output": str(result.path),
        "frames": result.frames,
        "painted": result.painted,
        "fps": result.rate,
        "seconds": result.seconds,
        "busy": dict(result.busy),
        "cuts": result.cuts,
        "damaged": result.damaged,
        "width": result.width,
        "height": result.height,
    }


class _Previewer:
    """Passes reports on, and writes the newest frame now and then."""

    def __init__(self, reporter: Reporter, path: Path | None) -> None:
        self._reporter, self._written = reporter, 0.0
        self._file = None if path is None else PreviewFile(path)

    def __call__(self, report: Progress) -> None:
        self._reporter(report)
        now = time.monotonic()
        if self._file is not None and report.preview is not None and now - self._written > _PREVIEW_SECONDS:
            self._written = now
            from impasto import images

            self._file.write(images.read(report.preview).pixels, self._reporter.note)


def _check_part(film: Film) -> None:
    if film.end is not None and film.end <= film.start:
        raise InputError(f"--end {film.end:g} is not after --start {film.start:g}", "give a later --end")
