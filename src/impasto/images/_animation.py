"""Moving pictures without a video codec: GIF and animated WebP."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, WebPImagePlugin

from impasto.errors import InputError
from impasto.files import write_whole
from impasto.images._picture import Floats, quantise
from impasto.images._save import check_output

ANIMATIONS = (".gif", ".webp")
"""Endings that `write_animation` takes."""


def check_animation(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before anything is computed, an animation that could not be written.

    Raises:
        InputError: as `check_output`, or another ending than ANIMATIONS.
    """
    if path.suffix.lower() not in ANIMATIONS:
        raise InputError(f"{path.name} is no animation", f"name it {' or '.join(ANIMATIONS)}")
    if path.suffix.lower() == ".webp" and not WebPImagePlugin.SUPPORTED:
        raise InputError("this installation cannot write WebP", "name it .gif")
    check_output(path, inputs, formats=ANIMATIONS)


def write_animation(frames: Sequence[Floats], path: Path, *, milliseconds: int = 80, quality: int = 85) -> None:
    """Write frames as a loop, whole or not at all.

    Args:
        frames: `(H, W, 3)` in [0, 1], all of one size; at least one.
        path: ends in .gif (one palette of 256 colours a frame, dithered) or .webp.
        milliseconds: that each frame is shown.
        quality: of WebP, 1 to 100.

    Raises:
        InputError: it cannot be written there.
        ResourceError: the disk is full.
    """
    check_animation(path)
    pictures = [Image.fromarray(quantise(frame, 8)) for frame in frames]
    buffer = BytesIO()
    first, others = pictures[0], pictures[1:]
    if path.suffix.lower() == ".gif":
        first.save(buffer, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    else:
        first.save(buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, quality=quality)
    write_whole(path, buffer.getvalue())
