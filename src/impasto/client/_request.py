"""What is asked for, as names and pictures that any transport can send."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from impasto.errors import InputError, quoted
from impasto.files import is_file, of_system

CONTENT = "content"
MASKS = ("preserve", "strength_map")
PICTURES = (*MASKS, "init")
"""Settings that take a picture, or a word."""

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""Endings of files that are sent as videos, over HTTP."""

PictureLike: TypeAlias = Any
"""A path, bytes, a binary file object, a PIL image, an array `(H, W, 3)` or a tensor; a word where one is allowed."""

Setting: TypeAlias = Any
"""A number, text, True or False; a picture for those that take one."""


@dataclass
class Request:
    """A request that is being put together.

    Attributes:
        pictures: files by the name that the settings give them; the photograph is `CONTENT`.
        content_name: file name of the photograph.
        settings: by the names of the flags, with underscores; styles and regions are lists.
    """

    pictures: dict[str, bytes] = field(default_factory=dict)
    content_name: str = "picture"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def is_video(self) -> bool:
        """Whether the photograph is a video."""
        return self.content_name.lower().endswith(VIDEOS)

    def named(self, given: PictureLike) -> str:
        """The word for a picture, which is then sent along; words stay as they are."""
        data, name = _read(given)
        if data is None:
            return name
        base = re.sub(r"[^\w.-]", "_", name).strip("._") or "picture"
        known = (base, *(f"{number}-{base}" for number in range(2, 100)))
        free = next(one for one in known if self.pictures.get(one, data) == data)
        self.pictures[free] = data
        return free


def request_of(content: PictureLike, style: Any, settings: Mapping[str, Setting]) -> Request:
    """A request to paint.

    Args:
        content: the photograph.
        style: one style or a list, each a picture or words, or a pair of it and its weight.
        settings: by the names of the flags, with underscores; `regions` are pairs of mask and style.

    Raises:
        InputError: a file cannot be read, or a value is nothing that can be sent.
    """
    made = frames_request(style, settings)
    data, made.content_name = _read(content)
    if data is None:
        raise InputError(f"there is no photograph {quoted(content)}", "give a file, bytes, or a picture in memory")
    made.pictures = {CONTENT: data, **made.pictures}
    return made


def frames_request(style: Any, settings: Mapping[str, Setting]) -> Request:
    """The same without a photograph."""
    made = Request()
    made.settings["style"] = [_weighted(made, one) for one in _several(style)]
    given = {name: value for name, value in settings.items() if value is not None}
    regions = given.pop("regions", ())
    pairs = list(regions.items()) if isinstance(regions, Mapping) else list(regions)
    made.settings["region"] = [(made.named(mask), made.named(one)) for mask, one in pairs]
    for name, value in given.items():
        made.settings[name] = made.named(value) if name in PICTURES else value
    return made


def _several(style: Any) -> Sequence[Any]:
    if isinstance(style, list) or (isinstance(style, tuple) and not _is_pair(style)):
        return style
    return [style]


def _is_pair(style: tuple[Any, ...]) -> bool:
    return len(style) == 2 and isinstance(style[1], Real) and not isinstance(style[1], bool)


def _weighted(made: Request, style: Any) -> tuple[str, float | None]:
    if isinstance(style, tuple) and _is_pair(style):
        return made.named(style[0]), float(style[1])
    return made.named(style), None


def _read(given: PictureLike) -> tuple[bytes | None, str]:
    """The file and its name; None and the word where it is no picture."""
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given), "picture"
    if isinstance(given, str) and not is_file(given):
        return None, given
    if isinstance(given, str | Path):
        try:
            return Path(given).read_bytes(), Path(given).name
        except OSError as error:
            raise of_system(error) from error
    if hasattr(given, "read"):
        return given.read(), Path(str(getattr(given, "name", "picture"))).name
    return _as_png(given), "picture"


def _as_png(picture: Any) -> bytes:
    """A picture in memory as a file."""
    import io

    from impasto import images

    stream = io.BytesIO()
    images.write(images.read(picture), stream, format="PNG")
    return stream.getvalue()
