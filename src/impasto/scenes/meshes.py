"""Meshes: surfaces of triangles with their textures or colours, read from files and written back as they were.

A format reads its file into `Surface`s and `Picture`s and keeps the file itself. To write, it changes only what is
painted: geometry, texture coordinates, materials, animations and the scene graph stay as they were, to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, MissingExtra, ResourceError
from impasto.images import Picture
from impasto.scenes.rasterise import Floats, Indices

MOST_FACES = 5_000_000
PAINTS = ("auto", "texture", "vertices")
_PACKED = "surfaces compressed by Draco have no texture coordinates: their vertices get colours"
_SAME = 6  # digits of the model's size to which vertices are at one place
_ALIKE = 2  # digits to which normals at one place are one, and not those of both sides of an edge


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles with one material.

    Attributes:
        key: how the file's format finds it again; instances of one surface share it.
        positions: `(V, 3)`, in the space of the scene.
        faces: `(F, 3)`.
        uv: `(V, 2)`, (0, 0) the upper left corner of a texture; None without.
        texture: which of the mesh's textures; None for a surface without, or whose file is missing.
        wrap: how the texture goes on beyond its edges, across and down: see `lookups.WRAPS`.
        color: `(3,)`, sRGB, of a surface without texture.
        colors: `(V, 3)`, sRGB, of its vertices; None without.
        vertices: `(V,)`, of vertices that stand for several in the file, which; None for their own order.
        normals: `(V, 3)`, in the space of the scene; None where the file has none for each of these vertices.
        place: `(4, 4)`, from the file's own space to that of the scene; None where they are one.
        packed: whether its geometry is compressed, and so cannot be written anew.
    """

    key: tuple[int, ...]
    positions: Floats
    faces: Indices
    uv: Floats | None = None
    texture: int | None = None
    wrap: tuple[str, str] = ("repeat", "repeat")
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    colors: NDArray[np.float32] | None = None
    vertices: Indices | None = None
    normals: Floats | None = None
    place: Floats | None = None
    packed: bool = False


@dataclass(frozen=True, eq=False)
class Shape:
    """Where vertices of a surface have moved to, in the file's own space.

    Attributes:
        positions: `(V, 3)`.
        normals: `(V, 3)`, of length 1; None where the surface has none.
        vertices: as in `Surface`.
    """

    positions: Floats
    normals: Floats | None = None
    vertices: Indices | None = None


@dataclass(frozen=True, eq=False)
class Atlas:
    """Texture coordinates that were made for a surface.

    Attributes:
        vertices: `(W,)`, which vertex of the surface each new one is.
        faces: `(F, 3)`, of new vertices, in the surface's order.
        uv: `(W, 2)`, as in `Surface`.
    """

    vertices: Indices
    faces: Indices
    uv: Floats


@dataclass(frozen=True, eq=False)
class Paint:
    """What is written into a file.

    Attributes:
        textures: instead of the mesh's, and new ones after them.
        added: new textures by the key of the surface that gets one.
        atlases: new texture coordinates by key.
        colors: `(V, 3)`, sRGB, of a surface's vertices, by key.
        shapes: of surfaces whose vertices have moved, by key.
    """

    textures: Sequence[Picture] = ()
    added: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    atlases: Mapping[tuple[int, ...], Atlas] = field(default_factory=dict)
    colors: Mapping[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)
    shapes: Mapping[tuple[int, ...], Shape] = field(default_factory=dict)


class MeshFile(Protocol):
    """A file of a format, as it was read."""

    @property
    def suffix(self) -> str:
        """What its name ends in."""
        ...

    @property
    def takes_textures(self) -> bool:
        """Whether it can hold textures that were not there."""
        ...

    def write(self, path: Path, paint: Paint) -> None:
        """Write it with what is painted, whole or not at all."""
        ...


@dataclass(frozen=True, eq=False)
class Mesh:
    """A model.

    Attributes:
        surfaces: its triangles.
        textures: base colours that are looked up.
        file: as it was read.
        up: which way is up.
        notes: one-line things to tell the user.
        paint: what is new in it.
    """

    surfaces: tuple[Surface, ...]
    textures: tuple[Picture, ...]
    file: MeshFile
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    notes: tuple[str, ...] = ()
    paint: Paint = field(default_factory=Paint)

    @property
    def points(self) -> Floats:
        """All vertices that belong to a triangle, `(V, 3)`."""
        return np.concatenate([one.positions[np.unique(one.faces)] for one in self.surfaces])


def checked(mesh: Mesh, name: str) -> Mesh:
    """The mesh without triangles that are none.

    Raises:
        InputError: it has no triangles, or its vertices are no numbers.
        ResourceError: it has too many.
    """
    check_count(mesh.surfaces, name)
    surfaces = []
    for one in mesh.surfaces:
        if len(one.faces) and (one.faces.min() < 0 or one.faces.max() >= len(one.positions)):
            raise InputError(f"{name} has triangles of vertices that it does not have", "export it anew")
        used = np.unique(one.faces)
        if not np.isfinite(one.positions[used]).all():
            bad = int((~np.isfinite(one.positions[used]).all(1)).sum())
            raise InputError(f"{name} has {bad:,} vertices that are no numbers (NaN or infinite)", "export it anew")
        sound = one.uv if one.uv is None or np.isfinite(one.uv[used]).all() else None
        if len(one.faces):
            surfaces.append(replace(one, uv=sound, texture=None if sound is None else one.texture))
    if not surfaces or float(np.ptp(np.concatenate([one.positions for one in surfaces]), axis=0).max()) <= 0:
        raise InputError(f"{name} has no triangles", "give a mesh; point clouds are .ply, .las or .laz")
    return replace(mesh, surfaces=tuple(surfaces))


def check_count(surfaces: Sequence[Surface], name: str) -> None:
    """Refuse too many triangles. Raises ResourceError."""
    total = sum(len(one.faces) for one in surfaces)
    if total > MOST_FACES:
        raise ResourceError(f"{name} has {total:,} triangles; at most {MOST_FACES:,} are painted", "simplify it first")


def prepared(mesh: Mesh, *, paint: str, size: int) -> Mesh:
    """The mesh with a texture, or colours of vertices, on each surface.

    Args:
        mesh: as read.
        paint: "auto" keeps textures, adds them where there are texture coordinates, and makes an atlas where there
            are none, except for what is compressed by Draco, whose vertices get colours; "texture" always makes one;
            "vertices" gives colours to the vertices of what has no texture.
        size: side in pixels of the textures that are added.

    Raises:
        InputError: the format holds no textures, or there is no such paint.
        MissingExtra: xatlas is not installed.
    """
    if paint not in PAINTS:
        raise InputError(f"--paint is {paint!r}", f"it is one of {', '.join(PAINTS)}")
    if paint == "texture" and not mesh.file.takes_textures:
        raise InputError(f"{mesh.file.suffix} files hold colours of vertices, no textures", "use --paint vertices")
    surfaces: list[Surface] = []
    textures, added, atlases = list(mesh.textures), dict(mesh.paint.added), dict(mesh.paint.atlases)
    notes = list(mesh.notes)
    for one in mesh.surfaces:
        if one.texture is not None or paint == "vertices" or not mesh.file.takes_textures:
            surfaces.append(one)
            continue
        if one.packed and one.uv is None and paint == "auto":
            notes.append(_PACKED)
            surfaces.append(one)
            continue
        if one.uv is None:
            if one.packed:
                raise InputError(
                    "a surface without texture coordinates is compressed by Draco, which an atlas would change",
                    "use --paint vertices, or export it without Draco",
                )
            if one.key not in atlases:
                atlases[one.key] = made_atlas(one)
            one = _with_atlas(one, atlases[one.key])  # noqa: PLW2901
        if one.key not in added:
            added[one.key] = len(textures)
            textures.append(_plain(one, size))
        surfaces.append(replace(one, texture=added[one.key]))
    new = replace(mesh.paint, added=added, atlases=atlases)
    told = tuple(dict.fromkeys(notes))
    return replace(mesh, surfaces=tuple(surfaces), textures=tuple(textures), paint=new, notes=told)


def made_atlas(surface: Surface) -> Atlas:
    """Texture coordinates for a surface without. Raises MissingExtra without xatlas."""
    try:
        import xatlas
    except ImportError as error:
        raise MissingExtra(
            "a mesh without texture coordinates needs xatlas, or --paint vertices", "pip install 'impasto[scenes]'"
        ) from error
    atlas = xatlas.Atlas()
    atlas.add_mesh(surface.positions.astype(np.float32), surface.faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.padding, options.bilinear, options.resolution = 4, True, 1024
    atlas.generate(pack_options=options)
    vertices, faces, uv = atlas[0]
    flipped = np.stack((uv[:, 0], uv[:, 1]), 1).astype(np.float64)
    return Atlas(vertices.astype(np.int64), faces.astype(np.int64), flipped)


def _with_atlas(surface: Surface, atlas: Atlas) -> Surface:
    own = None if surface.colors is None else surface.colors[atlas.vertices]
    positions = surface.positions[atlas.vertices]
    stands = atlas.vertices if surface.vertices is None else surface.vertices[atlas.vertices]
    return replace(
        surface,
        positions=positions,
        faces=atlas.faces,
        uv=atlas.uv,
        normals=None if surface.normals is None else surface.normals[atlas.vertices],
        colors=own,
        vertices=stands,
        wrap=("clamp", "clamp"),
    )


def _plain(surface: Surface, size: int) -> Picture:
    """A texture of the surface's colour; of vertices' colours their mean."""
    color = surface.color if surface.colors is None else surface.colors.mean(0)
    return Picture(np.broadcast_to(np.asarray(color, np.float32), (size, size, 3)).copy())


def welded(positions: Floats) -> Indices:
    """Which place each of `positions (V, 3)` is at: those of one place have the same number."""
    scale = max(float(np.ptp(positions, axis=0).max()), 1e-30)
    _, places = np.unique(np.round(positions / scale, _SAME), axis=0, return_inverse=True)
    return np.asarray(places, np.int64).ravel()


def moved(mesh: Mesh, positions: Sequence[Floats]) -> Mesh:
    """The mesh with its vertices elsewhere, and normals to suit where it has some; edges that were sharp stay so.

    Args:
        mesh: no surface stands in several places.
        positions: `(V, 3)` of each surface, in the space of the scene.
    """
    normals = _normals_of(mesh, np.concatenate(positions))
    surfaces, shapes = [], dict(mesh.paint.shapes)
    for one, own, turned in zip(mesh.surfaces, positions, normals, strict=True):
        place = np.eye(4) if one.place is None else one.place
        back = np.linalg.inv(place[:3, :3])
        local = turned
        if turned is not None:
            local = turned @ place[:3, :3]
            local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-30)
        shapes[one.key] = Shape((own - place[:3, 3]) @ back.T, local, one.vertices)
        surfaces.append(replace(one, positions=own, normals=turned))
    return replace(mesh, surfaces=tuple(surfaces), paint=replace(mesh.paint, shapes=shapes))


def _normals_of(mesh: Mesh, positions: Floats) -> list[Floats | None]:
    """Normals of each surface whose vertices have moved to `positions (V, 3)`, all in one."""
    starts = np.cumsum([0, *(len(one.positions) for one in mesh.surfaces)])
    before = np.concatenate([one.positions for one in mesh.surfaces])
    known = np.concatenate(
        [np.zeros_like(one.positions) if one.normals is None else one.normals for one in mesh.surfaces]
    )
    faces = np.concatenate([one.faces + start for one, start in zip(mesh.surfaces, starts, strict=False)])
    parts = np.split(turned_normals(before, positions, known, faces), starts[1:-1])
    return [None if one.normals is None else own for one, own in zip(mesh.surfaces, parts, strict=True)]


def turned_normals(before: Floats, after: Floats, known: Floats, faces: Indices) -> Floats:
    """Normals `(V, 3)` of vertices that have moved: means of those of the triangles around, by their areas.

    Vertices that were at one place with one normal share theirs, so that cuts of a texture do not show and edges that
    were sharp stay so.

    Args:
        before, after: positions `(V, 3)`.
        known: normals before, `(V, 3)`.
        faces: `(F, 3)`.
    """
    keys = np.concatenate((welded(before)[:, None], np.round(known, _ALIKE)), 1)
    _, found = np.unique(keys, axis=0, return_inverse=True)
    groups = found.ravel()
    old, new = (_grouped_normals(places, faces, groups) for places in (before, after))
    turn = np.sign((old * known).sum(1, keepdims=True))  # faces may be wound the other way than normals point
    result: Floats = np.where(turn == 0, known, turn * new)
    return result


def smooth_normals(surface: Surface) -> Floats:
    """Its normals `(V, 3)`; for one without, means over the triangles around each place."""
    if surface.normals is not None:
        return surface.normals
    return _grouped_normals(surface.positions, surface.faces, welded(surface.positions))


def _grouped_normals(positions: Floats, faces: Indices, groups: Indices) -> Floats:
    """Normals `(V, 3)` of vertices, the mean of those of the triangles around each group of them, by their areas."""
    corners = positions[faces]
    own = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((int(groups.max(initial=-1)) + 1, 3))
    np.add.at(total, groups[faces].ravel(), own.repeat(3, 0))
    normals: Floats = total[groups]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return normals
