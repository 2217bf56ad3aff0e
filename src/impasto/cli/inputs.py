"""What a command reads: photographs, folders of them, styles and masks, checked before anything heavy is loaded."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from impasto.assets import Store
from impasto.cli.parse import WORDS, is_found
from impasto.engine.points import Points, is_points
from impasto.errors import InputError, StyleError, counted, plain
from impasto.files import is_file, is_folder, refuse_address

OnNote: TypeAlias = Callable[[str], None]

_OURS = "earlier result"
_HIDDEN = "hidden file"
_NO_FILE = "pipe"
_OTHER = "other file"


def silence(_note: str) -> None:
    """The callback that drops notes."""


def find_contents(items: Sequence[str], *, recursive: bool = False, on_note: OnNote = silence) -> list[str]:
    """The photographs that the arguments name; a folder stands for the pictures in it.

    Args:
        items: files, folders, or "-".
        recursive: look into folders of folders, too.
        on_note: called with what was passed over in each folder.

    Raises:
        InputError: a folder holds no pictures, or standard input is named beside others.
    """
    found: list[str] = []
    for item in items:
        refuse_address(item)
        if item != "-" and is_folder(item):
            found += _pictures_in(Path(item), recursive, on_note)
        else:
            found.append(item)
    if found.count("-") > 1 or ("-" in found and len(found) > 1):
        raise InputError("standard input is one picture", "give - alone")
    return found


def _pictures_in(folder: Path, recursive: bool, on_note: OnNote) -> list[str]:
    from impasto import images

    pictures, passed = [], Counter[str]()
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if not is_folder(path):
            reason = _passed_over(path, folder)
            passed[reason] += 1
            if not reason:
                pictures.append(str(path))
    told = [counted(passed[reason], reason) for reason in (_OURS, _HIDDEN, _NO_FILE, _OTHER) if passed[reason]]
    if not pictures:
        left = f" but {', '.join(told)}" if told else ""
        hint = f"it needs {', '.join(sorted(images.EXTENSIONS))}" + ("" if recursive else "; --recursive looks deeper")
        raise InputError(f"the folder {plain(folder)} holds no pictures{left}", hint)
    if told:
        on_note(f"passed over in {folder}: {', '.join(told)}")
    return pictures


def _passed_over(path: Path, folder: Path) -> str:
    """Why a file of a folder is not painted; empty if it is."""
    from impasto import images

    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return _HIDDEN
    if path.suffix.lower() not in images.EXTENSIONS:
        return _OTHER
    if path.exists() and not path.is_file():
        return _NO_FILE
    try:
        return "" if images.read_record(path) is None else _OURS
    except (StyleError, OSError):
        return ""  # what is wrong with it is told when its turn comes


class Spool:
    """Reads once what can be read but once, standard input and pipes, before anything is loaded."""

    def __init__(self) -> None:
        self._used = False

    def __call__(self, word: str | None) -> Any:
        """The word itself, or what it gives: a stream that can be read again."""
        from impasto import images

        if word != "-":
            return images.buffered(word)
        if self._used:
            raise InputError("standard input is one picture", "give - once")
        self._used = True
        data = sys.stdin.buffer.read(images.MOST_BYTES + 1)
        if len(data) > images.MOST_BYTES:
            raise InputError(f"standard input gives more than {images.MOST_BYTES >> 30} GiB", "give one picture")
        return images.BufferedPipe(data, "stdin")


def check_pictures(source: Any, styles: Sequence[tuple[Any, float]], max_pixels: int) -> None:
    """Find what is wrong with the files before the second that loading torch takes; the engine checks all again."""
    from impasto import images
    from impasto.assets.library import Library
    from impasto.engine.styles import check_style

    images.probe(source, max_pixels=max_pixels)
    library = Library(Store())
    for style, _ in styles:
        check_style(library, style, max_pixels=max_pixels)


def check_masks(masks: Sequence[Any], max_pixels: int) -> None:
    """Find what is wrong with mask files before anything heavy is loaded."""
    from impasto import images
    from impasto.assets.library import means_file

    for mask in masks:
        if not isinstance(mask, str):
            images.probe(mask, max_pixels=max_pixels)
        elif is_points(mask) and not is_file(mask):
            Points.parse(mask)
        elif not is_found(mask) or is_file(mask):
            if not means_file(mask):
                raise InputError(f"{mask!r} is no mask", f"it is a file, a point, or one of {', '.join(WORDS)}")
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
