"""Saving: check where an output would go before anything is computed, then write it whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from impasto.errors import InputError, quoted
from impasto.files import check_apart, name_of, resolved, storing, write_whole
from impasto.images._encode import WRITABLE, check_quality, encode
from impasto.images._location import without_location
from impasto.images._picture import Picture

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".bmp": "BMP",
}
WRITABLE_EXTENSIONS = tuple(_FORMATS)
"""What an output's name may end in."""


def write(
    picture: Picture,
    path_or_file: str | Path | IO[bytes],
    *,
    format: str | None = None,  # noqa: A002  (Pillow's own name for it)
    quality: int | None = None,
    record: Mapping[str, Any] | None = None,
    drop_gps: bool = False,
) -> tuple[str, ...]:
    """Write a picture like its source: depth, profile, EXIF, XMP and resolution kept where the format holds them.

    Args:
        picture: what to write; take the source's with `dataclasses.replace(source, pixels=..., alpha=...)`.
        path_or_file: a path, replaced whole or left as it was; or a binary file object.
        format: by name ("PNG") or extension; by default the path's extension, for a file object the source's format.
        quality: of JPEG, WebP, AVIF and HEIC, 1 to 100; None for 92. Other formats take none.
        record: knobs to write into the metadata, for `read_record`.
        drop_gps: leave out where it was taken, as `without_location` does.

    Returns one-line notes on what the format could not hold.

    Raises:
        InputError: the format or place cannot be written.
        ResourceError: the disk is full. Nothing is left behind.
        Cancelled: the reader of a pipe went away.
    """
    picture = without_location(picture) if drop_gps else picture
    if hasattr(path_or_file, "write"):
        kind = _named(format) if format else picture.origin.format
        data, notes = _encoded(picture, kind if kind in WRITABLE else "PNG", quality, record)
        with storing("the output"):
            path_or_file.write(data)
        return notes
    path = Path(path_or_file)
    kind = _named(format) if format else _by_extension(path)
    data, notes = _encoded(picture, kind, quality, record)
    write_whole(path, data)
    return notes


def _encoded(
    picture: Picture, kind: str, quality: int | None, record: Mapping[str, Any] | None
) -> tuple[bytes, tuple[str, ...]]:
    return encode(picture, kind, quality=check_quality(kind, quality), record=record)


def _named(name: str) -> str:
    kind = _FORMATS.get(f".{name.lower().lstrip('.')}", name.upper())
    if kind not in WRITABLE:
        raise InputError(f"{name!r} is not a format that Impasto writes", f"use one of {', '.join(WRITABLE)}")
    return kind


def _by_extension(path: Path) -> str:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        what = f"ends in {name_of(Path(path.suffix))}" if path.suffix else "has no extension"
        raise InputError(f"{name_of(path)} {what}, which names no format", f"use {' '.join(WRITABLE_EXTENSIONS)}")
    return kind


def check_format(name: str, quality: int | None = None) -> str:
    """The ending of files of a format, such as ".jpg".

    Args:
        name: an ending of WRITABLE_EXTENSIONS, with or without its dot.
        quality: that it is to be written with, or None.

    Raises:
        InputError: there is no such format, or it takes no such quality.
    """
    ending = f".{name.lower().removeprefix('.')}"
    if ending not in _FORMATS:
        known = ", ".join(each.removeprefix(".") for each in WRITABLE_EXTENSIONS)
        raise InputError(f"{quoted(name)} is not a format that Impasto writes", f"it is one of {known}")
    check_quality(_FORMATS[ending], quality)
    return ending


def check_output(
    path: Path,
    inputs: Iterable[Path],
    *,
    formats: Iterable[str] = WRITABLE_EXTENSIONS,
    quality: int | None = None,
) -> None:
    """Refuse an output that could not be written or would replace an input, before anything is computed.

    Raises:
        InputError: unknown extension; its folder is missing or a file; it is a folder; it or its folder is read-only;
            it is the same file as an input, also by a symbolic or hard link; its format takes no such quality.
    """
    name = name_of(path)
    check_quality(_FORMATS.get(path.suffix.lower(), "JPEG"), quality)
    try:
        _check_place(path, name, tuple(formats))
        check_apart({"-o": path}, inputs)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name[:200]} cannot be written: {reason}", "choose another output with -o") from error


def _check_place(path: Path, name: str, formats: tuple[str, ...]) -> None:
    folder = resolved(path).parent  # resolved, so that a link's target counts
    if path.is_dir():
        raise InputError(f"{name} is a folder, not a file", f"name a file in it, such as {name_of(path / 'out.png')}")
    if path.suffix.lower() not in formats:
        _by_extension(path)
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{name} cannot be written: {name_of(above)} is a file, not a folder", "choose another folder")
    if above != folder:
        raise InputError(
            f"{name} cannot be written: there is no folder {name_of(folder)}", "make it, or choose another"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{name} cannot be written: {name_of(folder)} is read-only", "choose another folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{name} is read-only", "choose another output, or make it writable")
