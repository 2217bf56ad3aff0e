"""Flags that several commands share, and those that come from settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto import device, settings
from impasto.engine.controls import Controls
from impasto.errors import InputError
from impasto.methods import recipes, registry

PAINTING_PANEL = "Settings of the method (impasto methods NAME lists them)"
CONTROLS_PANEL = "Colour, regions, and what to keep (docs/controls.md)"
WATCHING_PANEL = "Watching, stopping and continuing (docs/watching.md)"

TERMINAL = "terminal"
"""The word for a preview in the terminal itself."""

Styles = Annotated[
    list[str] | None,
    typer.Option(
        "--style",
        "-s",
        help="A file, a folder, a painting by number or words, a sentence, or pack:NAME; :NUMBER sets its weight.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
TrainingPhotos = Annotated[
    Path | None,
    typer.Option(help="Let the page train styles with this folder of photographs; by default it trains none."),
]
KeepColor = Annotated[
    str | None,
    typer.Option(help="Keep the photograph's colours: luminance or histogram.", rich_help_panel=CONTROLS_PANEL),
]
ColorOnly = Annotated[
    bool,
    typer.Option("--color-only", help="Take only the style's colours; paint nothing.", rich_help_panel=CONTROLS_PANEL),
]
RegionFlags = Annotated[
    list[str] | None,
    typer.Option(
        help="MASK=STYLE: a style where a mask is white; MASK is a file, subject, background, person or a point.",
        rich_help_panel=CONTROLS_PANEL,
    ),
]
MatchRegions = Annotated[
    bool,
    typer.Option(
        "--match-regions",
        help="Paint sky after the painting's sky, walls after its walls: like after like.",
        rich_help_panel=CONTROLS_PANEL,
    ),
]
Feather = Annotated[
    float, typer.Option(help="Soften the edges of masks over this many pixels.", rich_help_panel=CONTROLS_PANEL)
]
Preserve = Annotated[
    str | None, typer.Option(help="Keep the photograph where this mask is white.", rich_help_panel=CONTROLS_PANEL)
]
ProtectFaces = Annotated[
    float | None,
    typer.Option(
        help="Paint faces less: by AMOUNT from 0 to 1; by 0.7 without a number.", rich_help_panel=CONTROLS_PANEL
    ),
]
StrengthMap = Annotated[
    str | None,
    typer.Option(help="Paint fully where this mask is white, less where grey.", rich_help_panel=CONTROLS_PANEL),
]

SaveEvery = Annotated[
    int | None,
    typer.Option(help="Save the picture, and a state to resume from, every N steps.", rich_help_panel=WATCHING_PANEL),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Continue from the last saved state, if there is one.", rich_help_panel=WATCHING_PANEL
    ),
]
TimeLapse = Annotated[
    Path | None,
    typer.Option(help="Join the saved pictures to a .gif, .webp or video.", rich_help_panel=WATCHING_PANEL),
]
Plot = Annotated[
    Path | None, typer.Option(help="Plot the losses by step: .png, .svg or .pdf.", rich_help_panel=WATCHING_PANEL)
]
PreviewFlag = Annotated[
    str | None,
    typer.Option(
        "--preview",
        help=f"Picture file to keep up to date while painting; or {TERMINAL}, to see it there.",
        rich_help_panel=WATCHING_PANEL,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into folders of folders, too; results keep the tree.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no notes, only errors.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads to use; OMP_NUM_THREADS or all cores by default.")]
Runtime = Annotated[
    str,
    typer.Option(
        help="What runs methods of one pass: torch, onnx (ONNX Runtime), openvino, or auto: the fastest, as measured."
    ),
]
Backend = Annotated[
    str,
    typer.Option(help="What the method runs on: torch (PyTorch), or by Keras tensorflow or jax (docs/keras.md)."),
]
InnerSize = Annotated[
    int | None,
    typer.Option(
        help="Paint frames at this longest side in pixels, and enlarge them by the frame's own detail: faster.",
        min=32,
        max=4096,
    ),
]
DropGps = Annotated[bool, typer.Option("--drop-gps", help="Remove the place of the photograph from the metadata.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format of results without a file name of their own (in a folder, beside the photograph, on standard "
        "output): png (the default), jpg, webp, tif, avif, heic or bmp.",
    ),
]
JpegQuality = Annotated[
    int | None, typer.Option(help="Quality of JPEG, WebP, AVIF and HEIC files: 1 to 100, 92 by default.")
]


def use_threads(count: int | None) -> None:
    """Take `--threads` into account, before anything is loaded that computes."""
    if count is not None:
        device.use_threads(count)


def check_cluster(flag: str, count: int | None, address: str | None) -> None:
    """Raise InputError where workers are counted and there is no cluster."""
    if count is not None and address is None:
        raise InputError(f"{flag} are those of a Ray cluster", "add --ray ADDRESS, or leave it out")


def method_names() -> list[str]:
    """What `--method` takes, for completion."""
    return ["auto", *registry.methods()]


def with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Replace `**knobs` in the signature by an option for each knob: the dataclasses are the one truth."""
    return with_options(command, {name: _option(method, knob) for name, (method, knob) in all_knobs().items()})


def all_knobs() -> Mapping[str, tuple[str, settings.Knob]]:
    """Knobs of all methods by name, each with the first method that has it."""
    found: dict[str, tuple[str, settings.Knob]] = {}
    for row in registry.methods().values():
        for knob in settings.knobs_of(row.load_knobs()):
            found.setdefault(knob.name, (row.name, knob))
    return found


def _option(method: str, knob: settings.Knob) -> Any:
    kind: Any = knob.type if knob.type in (int, float) else str
    return option(knob, kind, recipes.default_of(method, knob), panel=PAINTING_PANEL)


def option(knob: settings.Knob, kind: Any, default: str, *, panel: str) -> Any:
    """The annotation of a setting's option.

    Args:
        knob: the setting.
        kind: type that the command line reads.
        default: in words, for the help.
        panel: heading that it stands under in the help.
    """
    unsaid = [choice for choice in knob.choices if choice not in knob.help.replace(":", " ").replace(",", " ").split()]
    choices = f": {', '.join(knob.choices)}" if unsaid else ""
    text = f"{knob.help[0].upper()}{knob.help[1:]}{choices}. [dim]({default})[/dim]"
    return Annotated[kind | None, typer.Option(knob.flag, help=text, rich_help_panel=panel)]


def with_options(command: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """Replace `**knobs` in a command's signature by an option for each name that it lacks.

    Args:
        command: takes keywords.
        options: annotations by name; each is None unless given.
    """
    signature = inspect.signature(command, eval_str=True)
    fixed = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
    names = {entry.name for entry in fixed}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
        if name not in names
    ]

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        command(**arguments)

    parameters = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in fixed] + added
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {entry.name: entry.annotation for entry in parameters}
    del wrapped.__wrapped__  # or the hints of the original would be read
    return wrapped


def controls_of(
    keep_color: str | None,
    color_only: bool,
    match_regions: bool,
    regions: Sequence[tuple[Any, Any]],
    feather: float,
    preserve: Any,
    protect_faces: float | None,
    strength_map: Any,
) -> Controls:
    """The flags as the engine takes them, checked."""
    controls = Controls(
        keep_color, color_only, match_regions, tuple(regions), feather, preserve, protect_faces, strength_map
    )
    controls.check()
    return controls


def check_training_photos(folder: Path | None) -> Path | None:
    """The folder with its whole path. Raises InputError for too few photographs, MissingExtra without the extra."""
    if folder is None:
        return None
    from impasto.errors import require_installed
    from impasto.train.data import check_photographs

    check_photographs(folder)
    require_installed("lightning", "train")
    return folder.absolute()
