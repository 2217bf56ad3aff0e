"""What a command reads: photographs, folders of them, styles and masks, checked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from impasto.assets import Store
from impasto.cli.parse import WORDS
from impasto.errors import InputError
from impasto.files import is_file, is_folder, refuse_address
from impasto.models import catalog


def find_contents(items: list[str]) -> list[str]:
    """The photographs that the arguments name; a folder stands for the pictures in it."""
    found: list[str] = []
    for item in items:
        refuse_address(item)
        if item != "-" and is_folder(item):
            found += _pictures_in(Path(item))
        else:
            found.append(item)
    if found.count("-") > 1 or ("-" in found and len(found) > 1):
        raise InputError("standard input is one picture", "give - alone")
    return found


def _pictures_in(folder: Path) -> list[str]:
    from impasto import images

    pictures = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in images.EXTENSIONS)
    if not pictures:
        raise InputError(f"the folder {folder} holds no pictures", f"it needs {', '.join(sorted(images.EXTENSIONS))}")
    return pictures


def check_pictures(source: str | bytes, styles: Sequence[tuple[str, float]], max_pixels: int) -> None:
    """Find what is wrong with the files before the second that loading torch takes; the engine checks all again."""
    from impasto import images
    from impasto.assets.library import Library, means_file

    images.probe(b"" if source == "-" else source, max_pixels=max_pixels)
    library = Library(Store())
    for style, _ in styles:
        if catalog.is_trained(style):
            catalog.find(style)
        elif means_file(style):
            images.probe(style, max_pixels=max_pixels)
        elif library.store.is_present("museum"):
            library.find(style)


def check_masks(masks: Sequence[str], max_pixels: int) -> None:
    """Find what is wrong with mask files before anything heavy is loaded."""
    from impasto import images
    from impasto.assets.library import means_file

    for mask in masks:
        if mask not in WORDS or is_file(mask):
            if not means_file(mask):
                raise InputError(f"{mask!r} is no mask", f"it is a file, or one of {', '.join(WORDS)}")
            images.probe(mask, max_pixels=max_pixels)


def check_moving_masks(masks: Sequence[str]) -> None:
    """The same for a video, whose masks may be films."""
    from impasto import images, videos
    from impasto.video import tracking

    for mask in masks:
        if tracking.is_clip(mask):
            videos.probe_video(mask)
        else:
            check_masks([mask], images.MAX_PIXELS)
