"""`impasto scene`: meshes, point clouds, voxels and panoramas, painted from all sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import flags
from impasto.cli.outputs import unused
from impasto.cli.parse import parse_style
from impasto.cli.printing import say, say_json
from impasto.errors import Cancelled, InputError, require_installed
from impasto.files import check_apart, fitting, is_file, name_of, slug

if TYPE_CHECKING:
    from impasto.assets import Store
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request
    from impasto.scenes.paint import PaintedScene, SceneSettings
    from impasto.scenes.scene import Scene

SAMPLE = "spot"
"""The word for the sample model, unless there is a file of that name."""

_EXAMPLES = """\b
Examples:
  impasto scene spot --style irises -o painted.obj --sheet sides.png
  impasto scene chair.glb --style painting.jpg --turntable chair.mp4 --viewer chair.html
  impasto scene room.glb --style irises --inside --quality draft
  impasto scene scan.las --style 436535 -o painted.laz
  impasto scene sphere.jpg --style irises --panorama"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`, with a flag for each knob of each method."""
    app.command("scene", epilog=_EXAMPLES)(flags.with_knobs(scene))


def scene(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .glb, .gltf, .obj or .ply mesh, a .ply, .las or .laz point cloud, .npy or .vox voxels, a .zip with "
            "one of them, or spot, the sample.",
        ),
    ],
    style: flags.Styles = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file of the same kind; MODEL-STYLE beside it by default.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    quality: Annotated[
        str | None, typer.Option("--quality", "-q", help="draft (the quick way), good (the default) or best.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of a view in pixels; strokes grow with the view.")] = 384,
    views: Annotated[int, typer.Option(help="From how many sides the scene is looked at.")] = 24,
    inside: Annotated[bool, typer.Option("--inside", help="A room: look at it from within.")] = False,
    paint: Annotated[
        str,
        typer.Option(
            help="auto, texture (made by xatlas where there are no texture coordinates), or vertices: colours of "
            "vertices where there is no texture."
        ),
    ] = "auto",
    texture: Annotated[Path | None, typer.Option(help="The texture of an .obj that names none.")] = None,
    texture_size: Annotated[int, typer.Option(help="Side in pixels of textures that are added.")] = 1024,
    panorama: Annotated[
        bool,
        typer.Option("--panorama", help="MODEL is a picture or a film of the whole sphere, twice as wide as high."),
    ] = False,
    sculpt: Annotated[
        float,
        typer.Option(
            help="Also move the vertices of a mesh, up to this share of its size (0.03, at most 0.1), until light on "
            "them suits the painting."
        ),
    ] = 0.0,
    sheet: Annotated[Path | None, typer.Option(help="A picture of eight sides, before and after.")] = None,
    turntable: Annotated[Path | None, typer.Option(help="A film that goes once round: .mp4, .webm, .gif ...")] = None,
    viewer: Annotated[
        Path | None, typer.Option(help="A page, .html, that shows the scene from all sides without a network.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory to use at most, such as 2GB; a job that needs more is refused.")
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = None,
    keep_color: flags.KeepColor = None,
    quiet: flags.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    **knobs: Any,
) -> None:
    """Paint a 3D model, a point cloud, voxels or a panorama; only colours change, and with --sculpt the shape."""
    flags.use_threads(threads)
    styles = [parse_style(text) for text in style or ()]
    if not styles:
        raise InputError("no style was given", 'add --style, such as --style "van gogh irises"; see impasto styles')
    job = _Job(model, styles, out, _Shown(sheet, turntable, viewer), quiet=quiet, as_json=as_json)
    request = _request(method, quality, knobs, max_memory, keep_color)
    from impasto.scenes.files import ModelSettings
    from impasto.scenes.paint import SceneSettings

    settings = SceneSettings(size, views, request.knobs.get("seed", 0), sculpt)
    reading = ModelSettings(paint, texture_size, texture, inside)
    job.run(request, settings, reading, panorama=panorama, device=device, precision=precision)


def _request(
    method: str, quality: str | None, knobs: dict[str, Any], max_memory: str | None, keep_color: str | None
) -> Request:
    from impasto.engine.controls import Controls
    from impasto.engine.request import Request
    from impasto.memory import parse_memory

    controls = Controls(keep_color=keep_color)
    controls.check()
    given = {name: value for name, value in knobs.items() if value is not None}
    init = given.pop("init", None)
    return Request(
        method=method,
        quality=quality,
        init=init,
        knobs=given,
        max_memory=parse_memory(max_memory),
        controls=controls,
    )


@dataclass(frozen=True)
class _Shown:
    """What is written beside the model."""

    sheet: Path | None
    turntable: Path | None
    viewer: Path | None

    def check(self) -> None:
        """Refuse what could not be written, before anything is computed."""
        from impasto import images

        if self.sheet is not None:
            images.check_output(self.sheet, ())
        if self.viewer is not None:
            if self.viewer.suffix.lower() != ".html":
                raise InputError(f"--viewer is {name_of(self.viewer)}", "name a page, such as view.html")
            images.check_output(self.viewer, (), formats=(".html",))
        if self.turntable is not None:
            from impasto.videos import choose_coding

            choose_coding(self.turntable)
            require_installed("av", "video")
            images.check_output(self.turntable, (), formats=(self.turntable.suffix.lower(),))


@dataclass(frozen=True)
class _Job:
    """What is painted, and where it goes."""

    model: Path
    styles: list[tuple[str, float]]
    out: Path | None
    shown: _Shown
    quiet: bool
    as_json: bool

    def run(
        self, request: Request, settings: SceneSettings, reading: Any, *, panorama: bool, device: str, precision: str
    ) -> None:
        """Read, paint and write."""
        from impasto.cli.console import Reporter
        from impasto.engine.engine import Engine
        from impasto.scenes.paint import paint_scene
        from impasto.scenes.show import LIBRARY

        self.shown.check()
        with Reporter(silent=self.quiet) as reporter:
            engine = Engine(device=device, precision=precision)
            source = source_of(self.model, engine.store, reporter)
            if panorama:
                reading.refuse_for(source.name)
            if panorama and _is_film(source):
                self._film(engine, source, request, settings, reporter)
                return
            before = self._read(source, reading, reporter, panorama=panorama)
            target = self._target(before, source, panorama=panorama)
            if self.shown.viewer is not None:
                engine.store.path(LIBRARY, reporter)
            try:
                result = paint_scene(
                    engine, before, self.styles, request, settings, on_progress=reporter, on_note=reporter.note
                )
            except Cancelled as cancelled:
                if cancelled.result is not None:
                    cancelled.result.scene.write(target)
                    cancelled.hint = f"the scene as it was so far is saved as {name_of(target)}"
                raise
            result.scene.write(target)
            self._show(before, result, engine.store, reporter)
        self._tell(result, target)

    def _film(
        self, engine: Engine, source: Path, request: Request, settings: SceneSettings, reporter: Reporter
    ) -> None:
        """A film of the sphere."""
        from impasto import images
        from impasto.scenes.films import paint_film
        from impasto.videos import choose_coding

        if any((self.shown.sheet, self.shown.turntable, self.shown.viewer)):
            raise InputError("a film has no --sheet, --turntable or --viewer", "leave them out")
        name = fitting(source.stem, f"-{slug(Path(self.styles[0][0]).stem)}{source.suffix}")
        target = self.out or unused(source.with_name(name))
        choose_coding(target)
        images.check_output(target, (), formats=(target.suffix.lower(),))
        check_apart({"-o": target}, [source, *(style for style, _ in self.styles)])
        asked = replace(request, quality=request.quality or "draft") if request.method == "auto" else request
        film = paint_film(
            engine, source, self.styles, target, asked, settings, on_progress=reporter, on_note=reporter.note
        )
        if self.as_json:
            say_json({"model": str(source), "output": str(target), "frames": film.frames, "seconds": film.seconds})
        else:
            say(target)

    def _read(self, source: Path, reading: Any, reporter: Reporter, *, panorama: bool) -> Scene:
        from impasto.scenes.files import open_scene
        from impasto.scenes.panoramas import PanoramaScene

        if panorama:
            return PanoramaScene.read(source)
        return open_scene(source, reading, on_note=reporter.note)

    def _target(self, before: Scene, source: Path, *, panorama: bool) -> Path:
        """Where the result goes. Raises InputError for a file of another kind."""
        from impasto import images
        from impasto.scenes import show

        stem = fitting(source.stem, f"-{slug(Path(self.styles[0][0]).stem)}{before.suffix}")
        target = self.out or unused((Path() if source != self.model else source.parent) / stem)
        suffix = target.suffix.lower()
        same = {".las", ".laz"} if before.suffix in (".las", ".laz") else {before.suffix}
        if not panorama and suffix not in same:
            raise InputError(
                f"{name_of(target)} is of another kind than {self.model.name}",
                f"name a file that ends in {before.suffix}: impasto changes colours, not formats",
            )
        images.check_output(target, (), formats=images.WRITABLE_EXTENSIONS if panorama else (suffix,))
        if self.shown.viewer is not None:
            show.check_viewable(before)
        beside = {"--sheet": self.shown.sheet, "--turntable": self.shown.turntable, "--viewer": self.shown.viewer}
        check_apart({"-o": target, **beside}, [source, *(name for name, _ in self.styles)])
        return target

    def _show(self, before: Scene, result: PaintedScene, store: Store, reporter: Reporter) -> None:
        from impasto import images
        from impasto.scenes import show

        shown, lit = self.shown, bool(result.record["scene"]["sculpt"])  # shape is seen by light
        if shown.sheet is not None:
            pixels = show.sheet(before, result.scene, lit=lit, on_progress=reporter)
            images.write(images.read(pixels), shown.sheet)
        if shown.turntable is not None:
            show.write_turntable(result.scene, shown.turntable, lit=lit, on_progress=reporter)
        if shown.viewer is not None:
            title = f"{self.model.stem}, painted like {', '.join(entry['label'] for entry in result.record['styles'])}"
            show.write_viewer(before, result.scene, shown.viewer, store, title=title, lit=lit, on_progress=reporter)

    def _tell(self, result: PaintedScene, target: Path) -> None:
        if not self.as_json:
            for path in (target, self.shown.sheet, self.shown.turntable, self.shown.viewer):
                if path is not None:
                    say(path)
            return
        record = result.record
        names = ("method", "quality", "knobs", "device", "precision", "scene")
        say_json(
            {
                "model": str(self.model),
                "style": [entry["id"] for entry in record["styles"]],
                "output": str(target),
                "seconds": round(result.seconds, 3),
                "steps": len(result.losses),
                **{name: record[name] for name in names},
            }
        )


def source_of(model: Path, store: Store, reporter: Reporter) -> Path:
    """The file of a model, or that of the sample."""
    if str(model) == SAMPLE and not is_file(model):
        return store.path(SAMPLE, reporter) / "spot.obj"
    return model


def _is_film(path: Path) -> bool:
    from impasto import images
    from impasto.videos import VIDEO_EXTENSIONS

    return path.suffix.lower() in set(VIDEO_EXTENSIONS) - images.EXTENSIONS
