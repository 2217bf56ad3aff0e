"""Flat shapes as closed outlines, and their rasterisation: letters, and SVG drawings."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from impasto import images
from impasto.errors import InputError, plain, require
from impasto.images import MAX_SIDE

Floats: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]

_MOST_BYTES = 8 << 20
_MOST_DEPTH = 64  # of groups and references; some hundreds overflow the stack of the library that draws them
_CURVE_POINTS = 8  # into which a curve is cut where it is bent
_ACTIVE = ("script", "foreignObject", "iframe", "embed", "object", "video", "audio", "image", "feImage")
_ANIMATED = ("animate", "set", "animateMotion", "animateTransform", "animateColor")
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Contour:
    """One closed polygon `(N, 2)`, x to the right and y downwards."""

    points: Points


@dataclass(frozen=True)
class Outline:
    """A flat shape: closed contours, filled where they wind round a point (nonzero).

    Attributes:
        contours: in one unit, whichever.
    """

    contours: tuple[Contour, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom. Raises InputError where there is nothing to see."""
        if not self.contours:
            raise InputError("the text has no visible letter", "give some letters")
        points = np.concatenate([contour.points for contour in self.contours])
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(left), float(top), float(right), float(bottom)

    def mapped(self, change: Callable[[Points], Points]) -> Outline:
        """The shape with all points moved; `change` takes and gives `(N, 2)`."""
        return Outline(tuple(Contour(change(contour.points)) for contour in self.contours))

    def placed(self, scale: float, right: float, down: float) -> Outline:
        """Scaled, then moved."""
        return self.mapped(lambda points: points * scale + (right, down))

    def drawn(self, height: int, width: int) -> Floats:
        """Coverage `(H, W)` in [0, 1], antialiased; the unit is a pixel."""
        path = " ".join(f"M{'L'.join(f'{x:.2f} {y:.2f}' for x, y in contour.points)}Z" for contour in self.contours)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        return _coverage(f'{head}<path d="{path}"/></svg>')


def flattened(commands: Iterable[tuple[str, tuple[float, ...]]], *, step: float) -> list[Contour]:
    """Contours of a path: M, L, Q, C and Z as (name, coordinates), lines cut into pieces no longer than `step`."""
    contours: list[Contour] = []
    points: list[NDArray[Any]] = []
    for name, numbers in commands:
        ends = np.asarray(numbers, np.float64).reshape(-1, 2)
        if name == "M":
            points = [ends]
        elif name == "Z":
            if points:
                contours.append(Contour(np.concatenate(points)))
            points = []
        elif points:
            points.append(_piece(points[-1][-1], ends, step))
    return contours


def _piece(start: NDArray[Any], ends: NDArray[Any], step: float) -> NDArray[Any]:
    """Points along a line or a Bézier curve, without its start."""
    control = np.vstack([start[None], ends])
    length = float(np.hypot(*np.diff(control, axis=0).T).sum())
    least = 1 if len(ends) == 1 else _CURVE_POINTS
    count = int(np.clip(np.ceil(length / step), least, 64))
    along = np.linspace(0, 1, count + 1)[1:, None]
    while len(control) > 1:  # de Casteljau, for all places at once
        control = np.asarray([a + (b - a) * along for a, b in pairwise(control)])
    return np.asarray(control[0])


@dataclass(frozen=True)
class Drawing:
    """An SVG drawing that is safe to rasterise.

    Attributes:
        text: its markup.
        sides: width and height in its own units.
    """

    text: str
    sides: tuple[float, float]

    @classmethod
    def read(cls, path: Path) -> Drawing:
        """Read and check a file.

        Raises:
            InputError: it is no SVG, too large, or has scripts, text, pictures or references to other files.
        """
        try:
            data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
        except OSError as error:
            raise InputError(f"{plain(path)} cannot be read: {error.strerror}", "check the name of the SVG") from error
        if not data:
            raise InputError(f"{plain(path.name)} is empty or larger than {_MOST_BYTES >> 20} MiB", "give a flat logo")
        root = _checked(data, path.name)
        return cls(ElementTree.tostring(root, encoding="unicode"), _sides(root, path.name))

    def drawn(self, height: int, width: int, box: tuple[float, float, float, float]) -> Floats:
        """Coverage `(H, W)`, the drawing fitted without stretching into a box: left, top, width and height."""
        left, top, across, down = box
        scale = min(across / self.sides[0], down / self.sides[1])
        own = max(1, round(self.sides[0] * scale)), max(1, round(self.sides[1] * scale))
        small = _coverage(self.text, size=own)
        sheet = np.zeros((height, width), np.float32)
        row, column = round(top + (down - small.shape[0]) / 2), round(left + (across - small.shape[1]) / 2)
        row, column = max(0, row), max(0, column)
        part = small[: height - row, : width - column]
        sheet[row : row + part.shape[0], column : column + part.shape[1]] = part
        if sheet.max() < 0.5:
            raise InputError("the SVG draws nothing that can be seen", "give one with filled shapes")
        return sheet


def _checked(data: bytes, name: str) -> ElementTree.Element:
    """The tree of an SVG. Raises InputError for what could run, fetch or expand."""
    shown = plain(name)
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", data, re.IGNORECASE):
        data = _without_plain_doctype(data, shown)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data:
        raise InputError(f"{shown} is not in UTF-8", "save it as UTF-8")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - without a DOCTYPE there is nothing to expand
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{shown} is not an SVG: {plain(error)}", "give a well-formed SVG") from error
    if root.tag not in (f"{_SVG}svg", "svg"):
        raise InputError(f"{shown} is not an SVG", "its outermost element must be svg")
    for element in root.iter():
        _check_element(element, shown)
    named = {element.get("id", ""): element for element in root.iter()}
    try:
        _depth(root, named, {}, _MOST_DEPTH)
    except RecursionError as error:
        raise InputError(
            f"{shown} has groups in groups or references to references, too deep", "ungroup some, or expand them"
        ) from error
    return root


def _depth(
    element: ElementTree.Element,
    named: dict[str, ElementTree.Element],
    known: dict[ElementTree.Element, int],
    most: int,
) -> int:
    """How deep elements lie in and refer to one another. Raises RecursionError beyond `most`, as in rings."""
    if known.get(element, 1) > most:
        raise RecursionError
    if element not in known:
        values = " ".join(element.attrib.values())
        names = re.findall(r"(?:^|\s|\(\s*['\"]?)\s*#([^\s'\")]+)", values)
        below = [*element, *(named[name] for name in names if name in named)]
        known[element] = 1 + max((_depth(each, named, known, most - 1) for each in below), default=0)
    return known[element]


def _without_plain_doctype(data: bytes, shown: str) -> bytes:
    """Without the declaration that old drawing programs write; one with entities is refused."""
    found = re.search(rb"<!DOCTYPE[^\[\]>]*>", data, re.IGNORECASE)
    rest = data if found is None else data[: found.start()] + data[found.end() :]
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", rest, re.IGNORECASE):
        raise InputError(f"{shown} defines entities of its own", "save it as plain SVG")
    return rest


def _check_element(element: ElementTree.Element, shown: str) -> None:
    kind = str(element.tag).rsplit("}", 1)[-1]
    if kind in _ACTIVE:
        raise InputError(f"{shown} has <{kind}>, which is refused: scripts, pictures and other pages", "take it out")
    if kind in _ANIMATED:
        raise InputError(f"{shown} is animated (<{kind}>)", "give a still drawing")
    if kind in ("text", "tspan", "textPath"):
        raise InputError(f"{shown} has text", "turn it into paths in the drawing program")
    style = element.text or "" if kind == "style" else ""
    for key, value in element.attrib.items():
        attribute = key.rsplit("}", 1)[-1].lower()
        if attribute.startswith("on"):
            raise InputError(f"{shown} has a script ({plain(attribute)})", "take it out")
        if attribute in ("href", "src") and not value.strip().startswith("#"):
            raise InputError(f"{shown} refers to another file: {plain(value)[:80]}", "a drawing must stand alone")
        style += f";{value}"
    if "@import" in style.lower() or re.search(r"url\(\s*['\"]?\s*[^#'\"\s)]", style, re.IGNORECASE):
        raise InputError(f"{shown} refers to another file in its styles", "a drawing must stand alone")


def _sides(root: ElementTree.Element, name: str) -> tuple[float, float]:
    """Width and height of a drawing, by its view box or its size."""
    box = [float(each) for each in re.findall(rf"[-+]?{_NUMBER}", root.get("viewBox", ""))]
    if len(box) == 4:
        sides = box[2], box[3]
    else:
        found = [re.match(rf"\s*({_NUMBER})\s*(px|pt|mm|cm|in)?\s*$", root.get(key, "")) for key in ("width", "height")]
        sides = tuple(float(each[1]) if each else 0.0 for each in found)  # type: ignore[assignment]
    if min(sides) <= 0 or max(sides) / max(min(sides), 1e-9) > 50 or max(sides) > 1e6:
        raise InputError(f"{plain(name)} has no usable size", "give it a viewBox of positive width and height")
    return sides


def _coverage(svg: str, *, size: tuple[int, int] | None = None) -> Floats:
    """How far each pixel is covered, `(H, W)`: the opacity of a drawing. size: width and height."""
    resvg = require("resvg_py", "letters")
    width, height = (None, None) if size is None else size
    assert max(width or 0, height or 0) <= MAX_SIDE
    try:
        data = resvg.svg_to_bytes(svg_string=svg, skip_system_fonts=True, width=width, height=height)
    except ValueError as error:
        raise InputError(f"the SVG cannot be drawn: {plain(error)}", "give a well-formed SVG") from error
    picture = images.read(io.BytesIO(bytes(data)))
    if picture.alpha is None:
        return np.ones(picture.pixels.shape[:2], np.float32)
    return np.asarray(picture.alpha, np.float32)
