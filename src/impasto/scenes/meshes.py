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
    """

    textures: Sequence[Picture] = ()
    added: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    atlases: Mapping[tuple[int, ...], Atlas] = field(default_factory=dict)
    colors: Mapping[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)


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
    total = sum(len(one.faces) for one in mesh.surfaces)
    if total > MOST_FACES:
        raise ResourceError(f"{name} has {total:,} triangles; at most {MOST_FACES:,} are painted", "simplify it first")
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
            surfaces.append(replace(one, uv=sound))
    if not surfaces or float(np.ptp(np.concatenate([one.positions for one in surfaces]), axis=0).max()) <= 0:
        raise InputError(f"{name} has no triangles", "give a mesh; point clouds are .ply, .las or .laz")
    return replace(mesh, surfaces=tuple(surfaces))


def prepared(mesh: Mesh, *, paint: str, size: int) -> Mesh:
    """The mesh with a texture, or colours of vertices, on each surface.

    Args:
        mesh: as read.
        paint: "auto" keeps textures, adds them where there are texture coordinates, and makes an atlas where there
            are none; "texture" likewise; "vertices" gives colours to the vertices of what has no texture.
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
    for one in mesh.surfaces:
        if one.texture is not None or paint == "vertices" or not mesh.file.takes_textures:
            surfaces.append(one)
            continue
        if one.uv is None:
            if one.key not in atlases:
                atlases[one.key] = made_atlas(one)
            one = _with_atlas(one, atlases[one.key])  # noqa: PLW2901
        if one.key not in added:
            added[one.key] = len(textures)
            textures.append(_plain(one, size))
        surfaces.append(replace(one, texture=added[one.key]))
    new = replace(mesh.paint, added=added, atlases=atlases)
    return replace(mesh, surfaces=tuple(surfaces), textures=tuple(textures), paint=new)


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
        colors=own,
        vertices=stands,
        wrap=("clamp", "clamp"),
    )


def _plain(surface: Surface, size: int) -> Picture:
    """A texture of the surface's colour; of vertices' colours their mean."""
    color = surface.color if surface.colors is None else surface.colors.mean(0)
    return Picture(np.broadcast_to(np.asarray(color, np.float32), (size, size, 3)).copy())
