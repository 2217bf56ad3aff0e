"""PLY, ASCII and binary: reads points and triangles, and writes the same file with other colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.files import write_whole
from impasto.scenes.meshes import Mesh, Paint, Shape, Surface
from impasto.scenes.rasterise import Floats, Indices

_KINDS = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_AXES, _NORMALS = ("x", "y", "z"), ("nx", "ny", "nz")
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str
    count: str = ""  # kind of the number of values of a list


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]

    def row(self, order: str) -> np.dtype[Any]:
        """The type of a row, of an element without lists."""
        return np.dtype([(each.name, order + each.kind) for each in self.properties])


@dataclass(frozen=True, eq=False)
class PlyFile:
    """A file as it was read; see `MeshFile`.

    Attributes:
        header: its lines.
        order: of bytes, "=" for text.
        vertices: a structured array.
        rest: what follows the vertices.
    """

    header: tuple[str, ...]
    order: str
    vertices: NDArray[Any]
    rest: bytes
    suffix: str = ".ply"
    takes_textures: bool = False

    def write(self, path: Path, paint: Paint) -> None:
        """See `MeshFile`."""
        (colors,) = paint.colors.values()
        shape = next(iter(paint.shapes.values()), None)
        write_whole(path, (self if shape is None else self._moved(shape)).painted(colors))

    def _moved(self, shape: Shape) -> PlyFile:
        """The file with its vertices elsewhere."""
        vertices = self.vertices.copy()
        rows = [(_AXES, shape.positions)] + ([] if shape.normals is None else [(_NORMALS, shape.normals)])
        for names, values in rows:
            for name, own in zip(names, values.T, strict=True):
                vertices[name] = own
        return replace(self, vertices=vertices)

    def painted(self, colors: NDArray[np.float32]) -> bytes:
        """The file with other colours, `(V, 3)` in [0, 1]."""
        names = _color_names(self.vertices)
        header, vertices = list(self.header), self.vertices
        if names is None:
            names = _COLORS[0]
            properties = [index for index, line in enumerate(header) if line.startswith("property")]
            last = properties[len(vertices.dtype.names or ()) - 1]  # vertices come first
            header[last + 1 : last + 1] = [f"property uchar {name}" for name in names]
            wide = np.empty(len(vertices), [*vertices.dtype.descr, *((name, "u1") for name in names)])
            for name in vertices.dtype.names or ():
                wide[name] = vertices[name]
            vertices = wide
        vertices = vertices.copy()
        for channel, name in enumerate(names):
            kind = vertices.dtype[name]
            most = np.iinfo(kind).max if kind.kind in "iu" else 1
            values = colors[:, channel] * most
            vertices[name] = np.round(values) if kind.kind in "iu" else values
        body = _as_text(vertices) if self.order == "=" else vertices.tobytes()
        return "\n".join(header).encode() + b"\n" + body + self.rest


def read(path: Path, data: bytes) -> tuple[PlyFile, Floats, Indices, NDArray[np.float32] | None]:
    """The file, its points `(V, 3)`, triangles `(F, 3)` and colours `(V, 3)` in [0, 1] where it has some.

    Raises:
        InputError: it is no PLY file, or damaged.
    """
    try:
        return _read(data)
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"{path.name} is no PLY file, or damaged ({error})", "export it anew") from error


def as_mesh(path: Path, data: bytes) -> Mesh:
    """A file with triangles as a Mesh; its colours are those of vertices."""
    file, points, faces, colors = read(path, data)
    normals = None
    if set(_NORMALS) <= set(file.vertices.dtype.names or ()):
        normals = np.stack([file.vertices[name].astype(np.float64) for name in _NORMALS], 1)
    return Mesh((Surface((0,), points, faces, colors=colors, normals=normals),), (), file)


def _read(data: bytes) -> tuple[PlyFile, Floats, Indices, NDArray[np.float32] | None]:
    end = data.index(b"end_header")
    stop = data.index(b"\n", end) + 1
    header = tuple(data[:stop].decode("ascii", "replace").splitlines())
    if header[0].strip() != "ply":
        raise ValueError("it does not begin with ply")
    order = _ORDERS[next(line.split()[1] for line in header if line.startswith("format"))]
    elements = _elements(header)
    if elements[0].name != "vertex" or any(each.count for each in elements[0].properties):
        raise ValueError("it does not begin with vertices")
    body = data[stop:]
    if order == "=":
        vertices, rest, faces = _from_text(body, elements)
    else:
        row = elements[0].row(order)
        size = row.itemsize * elements[0].count
        if len(body) < size:
            raise ValueError("it is cut short")
        vertices, rest = np.frombuffer(body[:size], row), body[size:]
        faces = _binary_faces(rest, elements[1:], order)
    points = np.stack([vertices[axis].astype(np.float64) for axis in _AXES], 1)
    return PlyFile(header, order, vertices, rest), points, faces, _colors(vertices)


def _elements(header: Sequence[str]) -> list[_Element]:
    found: list[_Element] = []
    for line in header:
        words = line.split()
        if words[:1] == ["element"]:
            found.append(_Element(words[1], int(words[2]), ()))
        elif words[:1] == ["property"]:
            last = found[-1]
            listed = words[1] == "list"
            own = _Property(words[-1], _KINDS[words[3 if listed else 1]], _KINDS[words[2]] if listed else "")
            found[-1] = _Element(last.name, last.count, (*last.properties, own))
    return found


def _from_text(body: bytes, elements: Sequence[_Element]) -> tuple[NDArray[Any], bytes, Indices]:
    lines = body.split(b"\n")
    count, row = elements[0].count, elements[0].row("=")
    width = len(row.names or ())
    numbers = np.array([line.split()[:width] for line in lines[:count]], np.float64).reshape(count, width)
    vertices = np.empty(count, row)
    for index, name in enumerate(row.names or ()):
        vertices[name] = numbers[:, index]
    faces: list[tuple[int, int, int]] = []
    start = count
    for element in elements[1:]:
        if element.name == "face" and element.properties and element.properties[0].count:
            for line in lines[start : start + element.count]:
                words = [int(word) for word in line.split()]
                own = words[1 : 1 + words[0]]
                faces += [(own[0], own[index], own[index + 1]) for index in range(1, len(own) - 1)]
        start += element.count
    return vertices, b"\n".join(lines[count:]), np.array(faces, np.int64).reshape(-1, 3)


def _binary_faces(rest: bytes, elements: Sequence[_Element], order: str) -> Indices:
    """Triangles of binary faces; the elements before them have no lists."""
    offset = 0
    for element in elements:
        if element.name == "face":
            return _polygons(rest, offset, element, order)
        offset += element.row(order).itemsize * element.count
    return np.zeros((0, 3), np.int64)


def _polygons(rest: bytes, offset: int, element: _Element, order: str) -> Indices:
    lists = [each for each in element.properties if each.count]
    if len(lists) != 1:
        raise ValueError("its faces hold several lists")
    kinds = [
        (each.name, order + each.kind)
        if not each.count
        else (each.name, [("n", order + each.count), ("v", order + each.kind, 3)])
        for each in element.properties
    ]
    row = np.dtype(kinds)
    if len(rest) - offset >= row.itemsize * element.count:
        rows = np.frombuffer(rest, row, element.count, offset)
        if (rows[lists[0].name]["n"] == 3).all():
            triangles: Indices = rows[lists[0].name]["v"].astype(np.int64)
            return triangles
    return _mixed_polygons(rest, offset, element, order)


def _mixed_polygons(rest: bytes, offset: int, element: _Element, order: str) -> Indices:
    faces: list[tuple[int, int, int]] = []
    for _ in range(element.count):
        for each in element.properties:
            if not each.count:
                offset += np.dtype(each.kind).itemsize
                continue
            number = int(np.frombuffer(rest, order + each.count, 1, offset)[0])
            offset += np.dtype(each.count).itemsize
            own = np.frombuffer(rest, order + each.kind, number, offset).tolist()
            offset += np.dtype(each.kind).itemsize * number
            faces += [(own[0], own[index], own[index + 1]) for index in range(1, number - 1)]
    return np.array(faces, np.int64).reshape(-1, 3)


def _color_names(vertices: NDArray[Any]) -> tuple[str, str, str] | None:
    known = vertices.dtype.names or ()
    return next((names for names in _COLORS if all(name in known for name in names)), None)


def _colors(vertices: NDArray[Any]) -> NDArray[np.float32] | None:
    names = _color_names(vertices)
    if names is None:
        return None
    kind = vertices.dtype[names[0]]
    most = np.iinfo(kind).max if kind.kind in "iu" else 1
    return np.stack([vertices[name].astype(np.float32) / most for name in names], 1).clip(0, 1)


def _as_text(vertices: NDArray[Any]) -> bytes:
    columns = [
        [str(value) if kind.kind in "iu" else np.format_float_positional(value, trim="-") for value in vertices[name]]
        for name, (kind, _) in ((name, field[:2]) for name, field in (vertices.dtype.fields or {}).items())
    ]
    return ("\n".join(" ".join(row) for row in zip(*columns, strict=True)) + "\n").encode()
