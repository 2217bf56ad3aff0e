"""SVG drawings: what could run, fetch or expand is refused; then their coverage, and the line that text runs along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, plain, require
from impasto.lettering.outlines import Points, coverage_of, flattened

Floats: TypeAlias = NDArray[np.float32]
Element: TypeAlias = ElementTree.Element

_MOST_BYTES = 8 << 20
_MOST_DEPTH = 64  # of groups and references; some hundreds overflow the stack of the library that draws them
_MOST_DRAWN = 200_000  # elements that are drawn where each reference is followed
_POINT_LENGTH = 4  # characters of a path, at least, for each point
_ACTIVE = ("script", "foreignObject", "iframe", "embed", "object", "video", "audio", "image", "feImage")
_ANIMATED = ("animate", "set", "animateMotion", "animateTransform", "animateColor")
_FREE_TEXT = ("id", "class", "d", "points")  # attributes whose value is no CSS
_INHERITED = ("fill", "stroke", "marker", "marker-start", "marker-mid", "marker-end", "style")
_OUTSIDE = re.compile(
    r"url\(\s*['\"]?\s*[^#'\"\s)]|(?<![\w-])(?:-webkit-)?(?:image|image-set|cross-fade|element|src)\s*\(", re.IGNORECASE
)
_REFERENCE = re.compile(r"(?:^|\s|\(\s*['\"]?)\s*#([^\s'\")]+)")
_IN_STYLE = re.compile(r"url\(\s*['\"]?\s*#([^\s'\")]+)", re.IGNORECASE)
_SELECTOR = re.compile(r"([\w-]+|\*)?((?:[.#][\w-]+)*)")
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SVG = "{http://www.w3.org/2000/svg}"
_MOST_UNITS = 1e6
_LINE_PIECES = 400  # into which a line for text is cut


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
        root = _read(path)
        return cls(ElementTree.tostring(root, encoding="unicode"), _sides(root, path.name))

    def drawn(self, height: int, width: int, box: tuple[float, float, float, float]) -> Floats:
        """Coverage `(H, W)`, the drawing fitted without stretching into a box: left, top, width and height."""
        left, top, across, down = box
        scale = min(across / self.sides[0], down / self.sides[1])
        size = max(1, round(self.sides[0] * scale)), max(1, round(self.sides[1] * scale))
        small = coverage_of(self.text, size=size)
        canvas = np.zeros((height, width), np.float32)
        row, column = round(top + (down - small.shape[0]) / 2), round(left + (across - small.shape[1]) / 2)
        row, column = max(0, row), max(0, column)
        part = small[: height - row, : width - column]
        canvas[row : row + part.shape[0], column : column + part.shape[1]] = part
        if canvas.max() < 0.5:
            raise InputError("the SVG draws nothing that can be seen", "give one with filled shapes")
        return canvas


@dataclass(frozen=True, eq=False)
class Line:
    """A line that text can run along.

    Attributes:
        points: `(N, 2)`, evenly spaced, x to the right and y downwards.
        closed: whether it ends where it begins.
    """

    points: Points
    closed: bool

    @classmethod
    def read(cls, path: Path) -> Line:
        """The longest line of an SVG: a path, polyline, polygon, line, circle, ellipse or rect.

        Raises:
            InputError: as `Drawing.read`; or there is no line.
        """
        root = _read(path)
        shown = plain(path.name)
        _check_untransformed(root, shown)
        lines = _lines_of(root, shown)
        longest = max(lines, key=_length, default=np.empty((0, 2)))
        if len(longest) < 2 or not np.isfinite(longest).all() or _length(longest) <= 0:
            raise InputError(f"{shown} has no line for the text to run along", "give an SVG with one path")
        ends = float(np.hypot(*(longest[-1] - longest[0])))
        return cls(_evenly(longest, _LINE_PIECES + 1), ends < 1e-3 * _length(longest))


def _read(path: Path) -> Element:
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise InputError(f"{plain(path)} cannot be read: {reason}", "check the name of the SVG") from error
    if not data:
        raise InputError(f"{plain(path.name)} is empty or larger than {_MOST_BYTES >> 20} MiB", "give a flat logo")
    return _checked(data, path.name)


def _checked(data: bytes, name: str) -> Element:
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
    _check_references(root, shown)
    return root


def _without_plain_doctype(data: bytes, shown: str) -> bytes:
    """Without the declaration that old drawing programs write; one with entities is refused."""
    found = re.search(rb"<!DOCTYPE[^\[\]>]*>", data, re.IGNORECASE)
    rest = data if found is None else data[: found.start()] + data[found.end() :]
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", rest, re.IGNORECASE):
        raise InputError(f"{shown} defines entities of its own", "save it as plain SVG")
    return rest


def _check_element(element: Element, shown: str) -> None:
    kind = _name(element)
    if kind in _ACTIVE:
        raise InputError(f"{shown} has <{kind}>, which is refused: scripts, pictures and other pages", "take it out")
    if kind in _ANIMATED:
        raise InputError(f"{shown} is animated (<{kind}>)", "give a still drawing")
    if kind in ("text", "tspan", "textPath"):
        raise InputError(f"{shown} has text", "turn it into paths in the drawing program")
    for key, value in element.attrib.items():
        attribute = key.rsplit("}", 1)[-1].lower()
        if attribute.startswith("on"):
            raise InputError(f"{shown} has a script ({plain(attribute)})", "take it out")
        if attribute in ("href", "src") and not value.strip().startswith("#"):
            raise InputError(f"{shown} refers to another file: {plain(value)[:80]}", "a drawing must stand alone")
    for style in _styles_of(element):
        _check_style(style, shown)


def _styles_of(element: Element) -> Iterator[str]:
    """All that may be read as CSS."""
    if _name(element) == "style":
        yield "".join(element.itertext())
    for key, value in element.attrib.items():
        if "}" not in key and key not in _FREE_TEXT and not key.startswith("data-"):
            yield value


def _check_style(style: str, shown: str) -> None:
    # An escape could spell url( or @import in other letters.
    if "\\" in style:
        raise InputError(f"{shown} has escapes (\\) in its styles", "save it as plain SVG")
    if "@import" in style.lower() or _OUTSIDE.search(style):
        raise InputError(f"{shown} refers to another file in its styles", "a drawing must stand alone")


def _name(element: Element) -> str:
    return str(element.tag).rsplit("}", 1)[-1]


@dataclass(frozen=True)
class _Extent:
    """What is drawn for one element: levels below it, and elements; references are followed."""

    depth: int = 1
    count: int = 1


@dataclass(frozen=True)
class _References:
    """Measures how far elements nest and refer to one another.

    Attributes:
        named: elements by their id.
        rules: of style sheets: selectors, each with the ids that its declarations name.
        marked: whether there are markers, which are drawn at each point of a path.
        known: extents that were measured.
    """

    named: Mapping[str, Element]
    rules: Sequence[tuple[str, Sequence[str]]]
    marked: bool = False
    known: dict[Element, _Extent] = field(default_factory=dict)

    def extent(self, element: Element, most: int = _MOST_DEPTH) -> _Extent:
        """Of an element with all below it. Raises RecursionError beyond `most` levels, as in rings."""
        found = self.known.get(element)
        if found is None:
            if most < 1:
                raise RecursionError
            found = self.known[element] = self._measured(element, most)
        if found.depth > most:
            raise RecursionError
        return found

    def _measured(self, element: Element, most: int) -> _Extent:
        parts = [self.extent(each, most - 1) for each in element]
        once = [self.extent(self.named[name], most - 1) for name in self._referred(element, inherited=False)]
        each = [self.extent(self.named[name], most - 1) for name in self._referred(element, inherited=True)]
        depth = 1 + max((part.depth for part in (*parts, *once, *each)), default=0)
        points = len(element.get("d", "") + element.get("points", "")) // _POINT_LENGTH if self.marked else 0
        count = 1 + points + sum(part.count for part in parts)
        # what is inherited is drawn for each element below
        count = count * (1 + sum(part.count for part in each)) + sum(part.count for part in once)
        return _Extent(depth, count)

    def _referred(self, element: Element, *, inherited: bool) -> Iterator[str]:
        """Ids that are drawn for it once, or for each element below it."""
        names = [
            name
            for key, value in element.attrib.items()
            if (key in _INHERITED) == inherited
            for name in _REFERENCE.findall(value)
        ]
        if inherited:
            names += [name for selector, ids in self.rules for name in ids if _matches(selector, element)]
        return (name for name in names if name in self.named)


def _check_references(root: Element, shown: str) -> None:
    """Raise InputError where elements nest too deep, refer to one another in rings, or would be drawn too often."""
    named = {element.get("id", ""): element for element in root.iter()}
    marked = any(_name(element) == "marker" for element in root.iter())
    rules = [rule for element in root.iter() if _name(element) == "style" for rule in _rules_of(element)]
    try:
        count = _References(named, rules, marked).extent(root).count
    except RecursionError as error:
        raise InputError(
            f"{shown} has groups in groups or references to references, too deep", "ungroup some, or expand them"
        ) from error
    if count > _MOST_DRAWN:
        raise InputError(
            f"{shown} draws more than {_MOST_DRAWN:,} shapes by references to references", "give a simpler drawing"
        )


def _rules_of(style: Element) -> Iterator[tuple[str, list[str]]]:
    """Selectors of a style sheet with the ids that their declarations name."""
    sheet = re.sub(r"/\*.*?(\*/|$)", " ", "".join(style.itertext()), flags=re.DOTALL)
    for selectors, declarations in re.findall(r"([^{}]*)\{([^{}]*)", sheet):
        names = _IN_STYLE.findall(declarations)
        if names:
            yield from ((selector.strip(), names) for selector in selectors.split(","))


def _matches(selector: str, element: Element) -> bool:
    """Whether a selector may mean an element: by its last part; one that is not understood means every element."""
    last = re.split(r"[\s>+~]+", selector)[-1]
    found = _SELECTOR.fullmatch(last)
    if found is None or not last:
        return True
    tag, rest = found[1], re.findall(r"([.#])([\w-]+)", found[2])
    if tag not in (None, "*", _name(element)):
        return False
    classes = (element.get("class") or "").split()
    return all(name in classes if mark == "." else name == element.get("id") for mark, name in rest)


def _sides(root: Element, name: str) -> tuple[float, float]:
    """Width and height of a drawing, by its view box or its size."""
    box = [float(each) for each in re.findall(rf"[-+]?{_NUMBER}", root.get("viewBox", ""))]
    if len(box) == 4:
        sides = box[2], box[3]
    else:
        found = [re.match(rf"\s*({_NUMBER})\s*(px|pt|mm|cm|in)?\s*$", root.get(key, "")) for key in ("width", "height")]
        sides = tuple(float(each[1]) if each else 0.0 for each in found)  # type: ignore[assignment]
    if min(sides) <= 0 or max(sides) / max(min(sides), 1e-9) > 50 or max(sides) > _MOST_UNITS:
        raise InputError(f"{plain(name)} has no usable size", "give it a viewBox of positive width and height")
    return sides


def _check_untransformed(root: Element, shown: str) -> None:
    for element in root.iter():
        value = element.get("transform", "") + element.get("style", "")
        if re.search(r"(rotate|scale|skew|matrix)\w*\s*\(", value, re.IGNORECASE):
            raise InputError(f"{shown} has turned or scaled parts", "apply the transformation in the drawing program")


def _lines_of(root: Element, shown: str) -> list[Points]:
    """All lines of a drawing, as points."""
    shapes = require("fontTools.svgLib.path", "letters")
    recording = require("fontTools.pens.recordingPen", "letters").RecordingPen()
    try:
        builder = shapes.SVGPath.fromstring(ElementTree.tostring(root))
        builder.draw(recording)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"{shown} has a path that cannot be read", "save it as plain SVG") from error
    names = {"moveTo": "M", "lineTo": "L", "qCurveTo": "Q", "curveTo": "C", "closePath": "Z", "endPath": "E"}
    commands = [
        (names[name], tuple(float(number) for point in points for number in point))
        for name, points in recording.value
        if name in names
    ]
    largest = max((abs(number) for _, numbers in commands for number in numbers), default=1.0)
    if not largest < _MOST_UNITS:
        raise InputError(f"{shown} has a path of no usable size", "draw it in a usual view box")
    step = 1e-3 * largest + 1e-9
    return [contour.points for contour in flattened(commands, step=step)]


def _length(points: Points) -> float:
    return float(np.hypot(*np.diff(points, axis=0).T).sum()) if len(points) > 1 else 0.0


def _evenly(points: Points, count: int) -> Points:
    """So many points at equal distances along a line."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    wanted = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(wanted, along, points[:, axis]) for axis in (0, 1)])
