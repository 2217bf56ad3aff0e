"""Styles kept in files, `NAME.style`: what a style is made of, so that it works again anywhere.

A zip with `style.json` and the pictures that the library does not have. Nothing in it is code, and nothing is run:
a file of someone else's can hold bad pictures at worst. Codes of methods are not kept: they depend on the size, the
scale and the version of each method, and are computed in a moment. `NAME.style:p2` is the second picture in it alone.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError, as_number, counted, quoted
from impasto.files import write_whole
from impasto.images import Picture

SUFFIX = ".style"

MOST_MEMBERS = 32
"""Pictures that make up one style: of a folder, or in a file."""

LARGEST = 1024
"""Longest side, in pixels, of the pictures that a file holds."""

_INDEX = "style.json"
_MOST_INDEX, _MOST_PICTURE = 1 << 20, 32 << 20  # bytes
_NAME = re.compile(r"p[1-9]\d?\.(jpg|png)")
_LONGEST = 1000  # letters of a text
_COLORS = 5
_HINT = "give a file that impasto style save or impasto discover has written"


@dataclass(frozen=True)
class Member:
    """A picture of a style.

    Attributes:
        label: for people.
        weight: its share; shares are normalised.
        id: of the library; empty for a picture in the file.
        licence: under what it may be used; "not stated" for a user's own.
        picture: name in the file; empty for a painting of the library.
        similarity: to the sentence that it was chosen by; None where there was none.
    """

    label: str
    weight: float
    id: str = ""
    licence: str = "not stated"
    picture: str = ""
    similarity: float | None = None

    @property
    def name(self) -> str:
        """What names it after the file's colon."""
        return self.picture.partition(".")[0]


@dataclass(frozen=True)
class StyleFile:
    """A style that was read.

    Attributes:
        name: for people.
        members: what it is made of.
        pictures: encoded, by name.
        asked: the sentence or the folder that it stands for; may be empty.
        palette: its most frequent colours, `#rrggbb`, the most frequent first.
        embedding: of the sentence, by the network that finds paintings; empty where there was none.
    """

    name: str
    members: tuple[Member, ...]
    pictures: Mapping[str, bytes]
    asked: str = ""
    palette: tuple[str, ...] = ()
    embedding: tuple[float, ...] = ()

    def encoded(self) -> bytes:
        """The file."""
        index = {
            "impasto": version("impasto"),
            "format": 1,
            "name": self.name,
            "asked": self.asked,
            "palette": list(self.palette),
            "members": [{k: v for k, v in asdict(one).items() if v not in ("", None)} for one in self.members],
            "embedding": [round(value, 6) for value in self.embedding],
        }
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {
                _INDEX: json.dumps(index, ensure_ascii=False, indent=1).encode(),
                **self.pictures,
            }.items():
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)  # the same bytes every time
        return stream.getvalue()

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises InputError, ResourceError."""
        write_whole(path, self.encoded())

    def only(self, name: str) -> StyleFile:
        """The style of one picture in it.

        Raises:
            InputError: there is none of that name.
        """
        chosen = tuple(replace(one, weight=1.0) for one in self.members if one.name == name)
        if not chosen:
            known = ", ".join(one.name for one in self.members if one.name) or "it holds paintings of the library alone"
            raise InputError(f"{self.name}{SUFFIX} has no picture {name!r}", f"known: {known}")
        return replace(self, members=chosen)


def split(style: Any) -> tuple[Path, str] | None:
    """File, and the name of a picture in it or empty; None for what names no style file."""
    if not isinstance(style, str | Path):
        return None
    match = re.fullmatch(rf"(.+{re.escape(SUFFIX)})(?::(p\d+))?", str(style), re.DOTALL)
    return None if match is None else (Path(match[1]), match[2] or "")


def read(style: str | Path) -> StyleFile:
    """The style of a file, or of `FILE:NAME`.

    Raises:
        InputError: there is no such file, or it is no style.
    """
    parts = split(style)
    assert parts is not None
    path, name = parts
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", _HINT) from error
    found = parse(data, path.name)
    return found.only(name) if name else found


def parse(data: bytes, name: str) -> StyleFile:
    """A style out of its bytes; name: of the file, for messages.

    Raises:
        InputError: it is damaged, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if _INDEX not in archive.namelist():
                raise ValueError("it lists no pictures")
            index = json.loads(_bounded(archive, _INDEX, _MOST_INDEX))
            if "members" not in index:
                raise ValueError("it lists no pictures")
            members = tuple(_member(row) for row in index["members"])
            if not 1 <= len(members) <= MOST_MEMBERS:
                raise ValueError(f"it holds {counted(len(members), 'picture')}")
            pictures = {one.picture: _bounded(archive, one.picture, _MOST_PICTURE) for one in members if one.picture}
        return StyleFile(
            name=name.removesuffix(SUFFIX),
            members=members,
            pictures=pictures,
            asked=_text(index.get("asked", "")),
            palette=tuple(map(_color, index.get("palette", ())))[:_COLORS],
            embedding=tuple(map(float, index.get("embedding", ()))),
        )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{name} is no style: it cannot be unpacked", _HINT) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{name} is no style: {' '.join(str(error).split())[:200]}", _HINT) from error


def _bounded(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{name} has more than {most:,} bytes")
    return data


def _member(row: Mapping[str, Any]) -> Member:
    weight, alike = as_number(row["weight"]), row.get("similarity")
    picture, painting = _text(row.get("picture", "")), _text(row.get("id", ""))
    if weight is None or weight <= 0:
        raise ValueError(f"a weight is {quoted(row['weight'])}")
    if bool(picture) == bool(painting):
        raise ValueError("a member is neither a painting nor a picture")
    if picture and not _NAME.fullmatch(picture):
        raise ValueError(f"a picture is called {quoted(picture)}")
    if painting and not re.fullmatch(r"museum:\d{1,12}", painting):
        raise ValueError(f"a painting is called {quoted(painting)}")
    known = None if alike is None else as_number(alike)
    licence = _text(row.get("licence", "not stated"))
    return Member(_text(row["label"]), weight, painting, licence, picture, known)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"a text is {quoted(value)}")
    return value


def _color(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"#[0-9a-f]{6}", text):
        raise ValueError(f"a colour is {quoted(text)}")
    return text


def encoded_picture(picture: Picture) -> tuple[str, bytes]:
    """A picture as a file holds it, of at most `LARGEST` px: its ending, and the file."""
    if max(picture.width, picture.height) > LARGEST:
        width, height = images.fit(picture.width, picture.height, LARGEST)
        picture = picture.resized(height, width)
    stream = io.BytesIO()
    kind = "JPEG" if picture.alpha is None else "PNG"
    plain = Picture(images.as_float(picture.pixels), picture.alpha)
    images.write(plain, stream, format=kind, quality=95 if kind == "JPEG" else None)
    return kind.lower().replace("jpeg", "jpg"), stream.getvalue()


def palette_of(pictures: Sequence[tuple[NDArray[Any], float]]) -> tuple[str, ...]:
    """The most frequent colours of weighted pictures `(H, W, 3)`, as `#rrggbb`, the most frequent first.

    Pixels of a small copy are counted in cells of an eighth of each channel; a cell is told by its mean, and none
    next to one that counts more is told.
    """
    samples, weights = [], []
    for pixels, weight in pictures:
        small = images.resize(images.as_float(pixels), 64, 64).reshape(-1, 3)
        samples.append(small)
        weights.append(np.full(len(small), weight / len(small)))
    colors, counts = np.concatenate(samples), np.concatenate(weights)
    cells = np.minimum((colors * 8).astype(int), 7)
    keys = cells @ np.array([64, 8, 1])
    totals = np.bincount(keys, counts, minlength=512)
    told: list[int] = []
    for key in np.argsort(-totals, kind="stable"):
        place = np.array([key // 64, key // 8 % 8, key % 8])
        apart = all(np.abs(place - [one // 64, one // 8 % 8, one % 8]).max() > 1 for one in told)
        if totals[key] > 0 and apart and len(told) < _COLORS:
            told.append(int(key))
    means = [np.average(colors[keys == key], axis=0, weights=counts[keys == key]) for key in told]
    return tuple("#" + "".join(f"{round(255 * float(value)):02x}" for value in mean) for mean in means)
