"""The flags for colour, regions and what to keep, shared by the commands that paint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from impasto.engine.controls import FACE_AMOUNT, Controls
from impasto.errors import InputError

PANEL = "Colour, regions, and what to keep (docs/controls.md)"

KeepColor = Annotated[
    str | None,
    typer.Option(help="Keep the photograph's colours: luminance or histogram.", rich_help_panel=PANEL),
]
ColorOnly = Annotated[
    bool, typer.Option("--color-only", help="Take only the style's colours; paint nothing.", rich_help_panel=PANEL)
]
RegionFlags = Annotated[
    list[str] | None,
    typer.Option(
        help="MASK=STYLE: a style where a mask is white; MASK is a file, subject, background or person.",
        rich_help_panel=PANEL,
    ),
]
Feather = Annotated[float, typer.Option(help="Let the edges of masks fade over so many pixels.", rich_help_panel=PANEL)]
Preserve = Annotated[
    str | None, typer.Option(help="Keep the photograph where this mask is white.", rich_help_panel=PANEL)
]
ProtectFaces = Annotated[
    float | None,
    typer.Option(help="Paint faces less: by AMOUNT from 0 to 1, by 0.7 when none follows.", rich_help_panel=PANEL),
]
StrengthMap = Annotated[
    str | None, typer.Option(help="Paint fully where this mask is white, less where grey.", rich_help_panel=PANEL)
]

_FACES = "--protect-faces"
WORDS = ("subject", "background", "person")


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Put the default amount after a bare `--protect-faces`, since an option either takes a value or none."""
    done: list[str] = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        done.append(f"{_FACES}={FACE_AMOUNT:g}" if word == _FACES and not _is_number(following) else word)
    return done


def parse_region(text: str) -> tuple[str, str]:
    """Split MASK=STYLE. Where a name itself holds "=", the split that leaves an existing file is taken.

    Raises:
        InputError: either side is missing.
    """
    splits = [(text[:place], text[place + 1 :]) for place, letter in enumerate(text) if letter == "="]
    wanted = "write it as --region mask.png=STYLE, or subject=STYLE, background=STYLE, person=STYLE"
    if not splits:
        missing = "mask" if Path(text).suffix == "" and text not in WORDS else "style"
        raise InputError(f"--region {text} names no {missing}", wanted)
    mask, style = next((pair for pair in splits if pair[0] in WORDS or Path(pair[0]).is_file()), splits[0])
    if not mask or not style:
        raise InputError(f"--region {text} names no {'style' if mask else 'mask'}", wanted)
    return mask, style


def check_masks(masks: Sequence[str], max_pixels: int) -> None:
    """Find what is wrong with mask files before anything heavy is loaded."""
    from impasto import images
    from impasto.assets.library import means_file

    for mask in masks:
        if mask not in WORDS or Path(mask).exists():
            if not means_file(mask):
                raise InputError(f"{mask!r} is no mask", f"it is a file, or one of {', '.join(WORDS)}")
            images.probe(mask, max_pixels=max_pixels)


def controls_of(
    keep_color: str | None,
    color_only: bool,
    regions: Sequence[tuple[str, str]],
    feather: float,
    preserve: str | None,
    protect_faces: float | None,
    strength_map: str | None,
) -> Controls:
    """The flags as the engine takes them, checked."""
    controls = Controls(keep_color, color_only, tuple(regions), feather, preserve, protect_faces, strength_map)
    controls.check()
    return controls


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
