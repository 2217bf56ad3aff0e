"""Wavefront OBJ with its MTL: reads triangles and diffuse textures, and writes the same lines with other textures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from impasto import images
from impasto.errors import InputError
from impasto.files import write_whole
from impasto.images import Picture
from impasto.scenes.gltf import beside, decoded, encoded_picture
from impasto.scenes.meshes import Mesh, Paint, Surface, turned_normals
from impasto.scenes.rasterise import Floats

_NO_MATERIAL = "impasto"


@dataclass
class _Material:
    """Of an MTL file: its colour, the file of its texture as named, and how that goes on beyond its edges."""

    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    map: str | None = None
    clamped: bool = False


@dataclass
class _Group:
    """Faces of one material: corners as (vertex, texture coordinate or -1), and the lines that they stand in."""

    material: str
    corners: list[tuple[int, int]] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)  # number of the line, of its corners


@dataclass(frozen=True, eq=False)
class ObjFile:
    """See `MeshFile`.

    Attributes:
        lines: of the OBJ.
        libraries: lines of its MTL files, joined.
        groups: materials in the order of surfaces, with the lines of their faces.
        maps: numbers of textures by material.
        indices: `(V, 2)` for each group, vertex and texture coordinate of each corner's vertex.
    """

    lines: tuple[str, ...]
    libraries: tuple[str, ...]
    groups: tuple[_Group, ...]
    maps: dict[str, int]
    suffix: str = ".obj"
    takes_textures: bool = True

    def write(self, path: Path, paint: Paint) -> None:
        """The OBJ, and beside it an MTL and the textures, which come first."""
        names = {number: f"{path.stem}-{number}.png" for number in (*self.maps.values(), *paint.added.values())}
        for number, name in names.items():
            write_whole(path.with_name(name), encoded_picture(paint.textures[number], "PNG"))
        added = {self.groups[key[0]].material: names[number] for key, number in paint.added.items()}
        kept = {material: names[number] for material, number in self.maps.items()}
        write_whole(path.with_suffix(".mtl"), "\n".join(self._library({**kept, **added})) + "\n")
        write_whole(path, "\n".join(self._lines(path.with_suffix(".mtl").name, paint)) + "\n")

    def _library(self, names: dict[str, str]) -> Iterator[str]:
        """The lines of the MTL, with other names of textures."""
        left, current = dict(names), ""
        for line in self.libraries:
            words = line.split()
            if words[:1] == ["newmtl"]:
                if current in left:
                    yield f"map_Kd {left.pop(current)}"
                current = _rest(line)
            if words[:1] == ["map_Kd"] and current in names:
                yield f"map_Kd {_options_and_name(_rest(line))[0]}{left.pop(current, names[current])}"
                continue
            yield line
        if current in left:
            yield f"map_Kd {left.pop(current)}"
        for material, name in left.items():
            yield from (f"newmtl {material}", "Kd 1 1 1", f"map_Kd {name}")

    def _lines(self, library: str, paint: Paint) -> Iterator[str]:
        changed = self._with_atlases(paint)
        yield f"mtllib {library}"
        if any(group.material == _NO_MATERIAL for group in self.groups):
            yield f"usemtl {_NO_MATERIAL}"
        colored, places = _vertex_colors(self, paint), _moved(self.lines, paint)
        normals = _Normals.of(self.lines, places) if paint.shapes else None
        vertex = 0
        for number, line in enumerate(self.lines):
            words = line.split()
            kind = words[0] if words else ""
            if kind == "mtllib" or (kind == "vn" and normals is not None):
                continue
            if kind == "v":
                if places is not None:
                    words[1:4] = [f"{value:.9g}" for value in places[vertex]]
                if colored:
                    words[4:] = colored.get(vertex, [])
                yield " ".join(words) if colored or places is not None else line
                vertex += 1
                continue
            text = changed.get(number, line)
            yield text if normals is None else normals.renumbered(number, text)

    def _with_atlases(self, paint: Paint) -> dict[int, str]:
        """Lines of faces with new texture coordinates, which are put before the first of them."""
        changed: dict[int, str] = {}
        count = sum(line.split(maxsplit=1)[:1] == ["vt"] for line in self.lines)
        for key, atlas in paint.atlases.items():
            group = self.groups[key[0]]
            coordinates = [f"vt {u:.7f} {1 - v:.7f}" for u, v in atlas.uv]
            face = 0
            for number, corners in group.lines:
                own = atlas.faces[face : face + corners - 2]
                face += corners - 2
                fan = [own[0, 0], own[0, 1], *own[:, 2]]
                parts = [word.split("/") for word in self.lines[number].split()[1:]]
                joined = [
                    f"{part[0]}/{count + 1 + index}" + (f"/{part[2]}" if len(part) > 2 else "")
                    for part, index in zip(parts, fan, strict=True)
                ]
                changed[number] = "f " + " ".join(joined)
            first = group.lines[0][0]
            changed[first] = "\n".join((*coordinates, changed[first]))
            count += len(coordinates)
        return changed


def _vertex_colors(file: ObjFile, paint: Paint) -> dict[int, list[str]]:
    """Red, green and blue by the number of the vertex, as many programs read them after the position."""
    found: dict[int, list[str]] = {}
    for key, colors in paint.colors.items():
        for (vertex, _), color in zip(dict.fromkeys(file.groups[key[0]].corners), colors, strict=True):
            found[vertex] = [f"{value:.5f}" for value in color]
    return found


def _moved(lines: Sequence[str], paint: Paint) -> Floats | None:
    """Where all vertices of the file are, `(V, 3)`; None where none has moved."""
    if not paint.shapes:
        return None
    places = _numbers(lines, "v")
    for shape in paint.shapes.values():
        assert shape.vertices is not None
        places[shape.vertices] = shape.positions
    return places


def _numbers(lines: Sequence[str], kind: str) -> Floats:
    """The first three numbers of all lines of a kind, `(N, 3)`."""
    rows = [line.split()[1:4] for line in lines if line.split(maxsplit=1)[:1] == [kind]]
    return np.array(rows, np.float64).reshape(-1, 3)


@dataclass(frozen=True)
class _Normals:
    """New normals of moved vertices.

    Attributes:
        lines: `vn` lines, to stand before the first face.
        numbers: of the normals of each face's corners, by the number of its line.
    """

    lines: tuple[str, ...]
    numbers: dict[int, list[int]]

    @classmethod
    def of(cls, lines: Sequence[str], places: Floats | None) -> _Normals | None:
        """For vertices that are now at `places`; None where no face has normals."""
        if places is None:
            return None
        known, pairs = _numbers(lines, "vn"), dict[tuple[int, int], int]()
        numbers: dict[int, list[int]] = {}
        for number, corners in _faces_with_normals(lines):
            numbers[number] = [pairs.setdefault(corner, len(pairs)) for corner in corners]
        if not pairs:
            return None
        faces = [(own[0], own[index], own[index + 1]) for own in numbers.values() for index in range(1, len(own) - 1)]
        at = np.array(list(pairs), np.int64)
        before = _numbers(lines, "v")[at[:, 0]]
        normals = turned_normals(before, places[at[:, 0]], known[at[:, 1]], np.array(faces, np.int64).reshape(-1, 3))
        return cls(tuple("vn " + " ".join(f"{value:.5f}" for value in row) for row in normals), numbers)

    def renumbered(self, number: int, text: str) -> str:
        """A line, or several of which the last is the face, with the new normals."""
        if number not in self.numbers:
            return text
        *before, face = text.split("\n")
        parts = [word.split("/") for word in face.split()[1:]]
        own = zip(parts, self.numbers[number], strict=True)
        face = "f " + " ".join(f"{part[0]}/{part[1]}/{normal + 1}" for part, normal in own)
        first = self.lines if number == next(iter(self.numbers)) else ()
        return "\n".join((*first, *before, face))


def _faces_with_normals(lines: Sequence[str]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Faces all of whose corners have normals: number of the line, and vertex and normal of each corner, from 0."""
    vertices = normals = 0
    for number, line in enumerate(lines):
        words = line.split()
        kind = words[0] if words else ""
        vertices, normals = vertices + (kind == "v"), normals + (kind == "vn")
        parts = [word.split("/") for word in words[1:]] if kind == "f" else []
        if parts and all(len(part) == 3 and part[2] for part in parts):
            corners = [(_at(part[0], vertices), _at(part[2], normals)) for part in parts]
            if all(0 <= normal < normals for _, normal in corners):
                yield number, corners


def _at(word: str, count: int) -> int:
    """A number of the file, from 0; negative ones count back from the last."""
    number = int(word)
    return number - 1 if number > 0 else count + number


def read(path: Path, data: bytes, *, texture: Path | None = None) -> Mesh:
    """Read a file.

    Args:
        path: where it lies: its MTL and textures lie beside it.
        data: its contents.
        texture: for faces whose material names none.

    Raises:
        InputError: it is damaged, or names something outside its folder.
    """
    lines = tuple(_whole_lines(data.decode("utf-8", "replace")))
    try:
        vertices, colors, coordinates, groups, libraries = _parsed(lines)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path.name} is no OBJ file, or damaged ({error})", "export it anew") from error
    notes: list[str] = []
    text = tuple(_libraries(path, libraries, notes))
    materials = _materials(text)
    textures: list[Picture] = []
    maps: dict[str, int] = {}
    named: dict[str, int] = {}
    surfaces = []
    for number, group in enumerate(groups):
        material = materials.get(group.material, _Material())
        source = material.map
        if group.material not in maps and (source is not None or texture is not None):
            picture = _picture(path, source, texture, notes)
            if picture is not None:
                name = source or str(texture)
                if name not in named:
                    named[name] = len(textures)
                    textures.append(picture)
                maps[group.material] = named[name]
        surfaces.append(_surface(number, group, vertices, colors, coordinates, material, maps.get(group.material)))
    file = ObjFile(lines, text, tuple(groups), maps)
    return Mesh(tuple(surfaces), tuple(textures), file, notes=tuple(dict.fromkeys(notes)))


def _surface(
    number: int,
    group: _Group,
    vertices: np.ndarray,
    colors: np.ndarray | None,
    coordinates: np.ndarray,
    material: _Material,
    texture: int | None,
) -> Surface:
    unique = {pair: index for index, pair in enumerate(dict.fromkeys(group.corners))}
    pairs = np.array(list(unique), np.int64).reshape(-1, 2)
    order = np.array([unique[pair] for pair in group.corners], np.int64)
    faces, start = [], 0
    for _, count in group.lines:
        own = order[start : start + count]
        faces += [(own[0], own[index], own[index + 1]) for index in range(1, count - 1)]
        start += count
    whole = len(pairs) and (pairs[:, 1] >= 0).all()
    uv = coordinates[pairs[:, 1]] * [1, -1] + [0, 1] if whole else None
    return Surface(
        (number,),
        vertices[pairs[:, 0]],
        np.array(faces, np.int64).reshape(-1, 3),
        uv,
        texture if uv is not None else None,
        ("clamp", "clamp") if material.clamped else ("repeat", "repeat"),
        material.color,
        None if colors is None else colors[pairs[:, 0]].astype(np.float32),
        pairs[:, 0],
    )


def _whole_lines(text: str) -> Iterator[str]:
    """Lines; those that end in a backslash joined with the next."""
    waiting = ""
    for line in text.splitlines():
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        yield waiting + line
        waiting = ""
    if waiting:
        yield waiting


Parsed = tuple[np.ndarray, "np.ndarray | None", np.ndarray, list[_Group], list[str]]


def _parsed(lines: Sequence[str]) -> Parsed:
    """Vertices, their colours, texture coordinates, faces by material, and names of MTL files."""
    vertices: list[list[float]] = []
    coordinates: list[list[float]] = []
    groups: dict[str, _Group] = {}
    libraries: list[str] = []
    current = _NO_MATERIAL
    for number, line in enumerate(lines):
        words = line.split()
        kind = words[0] if words else ""
        if kind == "v":
            vertices.append([float(word) for word in words[1:7]])
        elif kind == "vt":
            coordinates.append([float(word) for word in (*words[1:3], "0")[:2]])
        elif kind == "usemtl":
            current = _rest(line)
        elif kind == "mtllib":
            libraries.append(_rest(line))
        elif kind == "f" and len(words) >= 4:
            group = groups.setdefault(current, _Group(current))
            group.corners += [_corner(word, len(vertices), len(coordinates)) for word in words[1:]]
            group.lines.append((number, len(words) - 1))
    if any(len(vertex) < 3 for vertex in vertices):
        raise ValueError("a vertex has no three numbers")
    tinted = bool(vertices) and all(len(vertex) == 6 for vertex in vertices)
    points = np.array([vertex[:3] for vertex in vertices]).reshape(-1, 3)
    colors = np.array([vertex[3:] for vertex in vertices]) if tinted else None
    return points, colors, np.array(coordinates).reshape(-1, 2), list(groups.values()), libraries


def _corner(word: str, vertices: int, coordinates: int) -> tuple[int, int]:
    """Vertex and texture coordinate, counted from 0; -1 for none. Negative ones count from the end."""
    parts = word.split("/")
    vertex = int(parts[0])
    vertex = vertex - 1 if vertex > 0 else vertices + vertex
    place = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    place = place - 1 if place > 0 else (coordinates + place if place else -1)
    if not 0 <= vertex < vertices or place >= coordinates:
        raise ValueError(f"a face names {word}, which is not there")
    return vertex, place


def _rest(line: str) -> str:
    return line.split(maxsplit=1)[1].strip() if len(line.split(maxsplit=1)) > 1 else ""


def _libraries(path: Path, names: Sequence[str], notes: list[str]) -> Iterator[str]:
    for name in names:
        data = beside(path, name)
        if data is None:
            notes.append(f"{path.name} names {name[:80]}, which is missing: its colours are painted")
            continue
        yield from data.decode("utf-8", "replace").splitlines()


def _materials(lines: Sequence[str]) -> dict[str, _Material]:
    found: dict[str, _Material] = {}
    current = _Material()
    for line in lines:
        words = line.split()
        kind = words[0] if words else ""
        if kind == "newmtl":
            current = found.setdefault(_rest(line), _Material())
        elif kind == "Kd" and len(words) == 4:
            red, green, blue = (float(word) for word in words[1:])
            current.color = (red, green, blue)
        elif kind == "map_Kd":
            current.map = _options_and_name(_rest(line))[1] or None
            current.clamped = "-clamp on" in line
    return found


def _options_and_name(text: str) -> tuple[str, str]:
    """The options of a map, such as `-clamp on -s 2 2 1 `, and the name of its file, which may hold blanks."""
    found = re.match(r"(?:-[a-z]+\s+(?:(?:on|off|[rgbmlz]|-?[\d.]+(?:e[-+]?\d+)?)\s+)*)*", text)
    assert found is not None
    return found[0], text[found.end() :]


def _picture(path: Path, name: str | None, given: Path | None, notes: list[str]) -> Picture | None:
    if name is None:
        assert given is not None
        return images.read(given)
    return decoded(beside(path, name), path, name, notes)
