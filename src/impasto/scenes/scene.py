"""A scene: what has colours and can be looked at. Here those of meshes; points, voxels and panoramas are others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.files import write_whole
from impasto.optim.surfaces import Lookup, Sheet
from impasto.scenes import cameras
from impasto.scenes.cameras import Camera
from impasto.scenes.lookups import Footprints, Taps, lookup, texture_taps, vertex_taps
from impasto.scenes.meshes import Mesh, Surface, moved
from impasto.scenes.rasterise import Floats, Indices, Raster, rasterise
from impasto.scenes.seams import EDGE, Seams, joined, seams_of, texels_of, within

_MOST_REPEATS = 2  # of a texture, within one triangle, up to which texels between charts are looked for


class Scene(Protocol):
    """What has colours, in textures or lists, and can be looked at."""

    @property
    def sheets(self) -> Sequence[Sheet]:
        """Of its textures and lists of colours."""
        ...

    @property
    def textures(self) -> Sequence[Tensor]:
        """`(1, 3, H, W)` in [0, 1], as they are."""
        ...

    @property
    def suffix(self) -> str:
        """What the name of its file ends in."""
        ...

    def cameras(self, count: int, seed: int) -> list[Camera]:
        """From where it is to be seen."""
        ...

    def ring(self, count: int) -> list[Camera]:
        """From where it is shown to people."""
        ...

    def look(self, camera: Camera, side: int) -> Lookup:
        """A view of `side` pixels."""
        ...

    def joined(self, textures: Sequence[Tensor]) -> list[Tensor]:
        """Textures of other colours, which meet where the charts of a mesh are cut apart."""
        ...

    def painted(self, textures: Sequence[Tensor]) -> Scene:
        """The same in other colours."""
        ...

    def write(self, path: Path) -> None:
        """Write it as a file of the same kind."""
        ...


class ColoredFile(Protocol):
    """A file as it was read."""

    @property
    def suffix(self) -> str:
        """What its name ends in."""
        ...


class ColoredScene(ABC):
    """What points and voxels have in common: one list of colours, and a file that is written anew with others.

    Attributes:
        file: as it was read.
        colors: `(N, 3)`, sRGB in [0, 1].
        bounds: `(M, 3)`, places that bound what is seen.
        up: which way is up.
    """

    file: ColoredFile
    colors: NDArray[np.float32]
    up: tuple[float, float, float]

    @property
    def suffix(self) -> str:
        """See `Scene`."""
        return self.file.suffix

    @property
    @abstractmethod
    def bounds(self) -> Floats:
        """See above."""

    @abstractmethod
    def encoded(self) -> bytes:
        """The file with these colours."""

    @cached_property
    def textures(self) -> tuple[Tensor, ...]:
        """The colours, `(1, 3, 1, N)`."""
        return (torch.from_numpy(np.ascontiguousarray(self.colors.T))[None, :, None],)

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """See `Scene`."""
        return (Sheet((1, len(self.colors)), mips=False),)

    def cameras(self, count: int, seed: int) -> list[Camera]:
        """See `Scene`."""
        return cameras.around(self.bounds, count, up=np.asarray(self.up), seed=seed)

    def ring(self, count: int) -> list[Camera]:
        """See `Scene`."""
        return cameras.ring(self.bounds, count, up=np.asarray(self.up))

    def joined(self, textures: Sequence[Tensor]) -> list[Tensor]:
        """See `Scene`."""
        return list(textures)

    def painted(self, textures: Sequence[Tensor]) -> Self:
        """See `Scene`."""
        colors = np.ascontiguousarray(textures[0][0, :, 0].T.numpy(), np.float32)
        return replace(self, colors=colors)  # type: ignore[type-var]

    def write(self, path: Path) -> None:
        """See `Scene`."""
        write_whole(path, self.encoded())


@dataclass(frozen=True, eq=False)
class MeshScene:
    """A mesh as a Scene.

    Attributes:
        mesh: with a texture or colours on every surface; see `meshes.prepared`.
        inside: whether it is a room, to be seen from within.
    """

    mesh: Mesh
    inside: bool = False

    @property
    def suffix(self) -> str:
        """See `Scene`."""
        return self.mesh.file.suffix

    @cached_property
    def textures(self) -> tuple[Tensor, ...]:
        """Those of the mesh, then the colours of the vertices of each surface without."""
        own = [images.to_tensor(images.as_float(picture.pixels)) for picture in self.mesh.textures]
        return (*own, *(torch.from_numpy(_colors(one).T.copy())[None, :, None] for one in self._plain.values()))

    @cached_property
    def sheets(self) -> tuple[Sheet, ...]:
        """See `Scene`."""
        count = len(self.mesh.textures)
        sides = [(texture.shape[2], texture.shape[3]) for texture in self.textures]
        return tuple(
            Sheet(own, mips=index < count, mask=self._mask(index, own) if index < count else None)
            for index, own in enumerate(sides)
        )

    def _mask(self, texture: int, sides: tuple[int, int]) -> Tensor | None:
        """Where triangles lie on a texture; None for all of one that is repeated, or whose edges go on."""
        covered = np.zeros(sides[0] * sides[1], np.float32)
        for one in self._showing(texture):
            assert one.uv is not None
            most = within(one.uv[one.faces]).max((0, 1), initial=0)
            is_open = [reach > 1 + EDGE and wrap != "repeat" for reach, wrap in zip(most, one.wrap, strict=True)]
            if most.max() > _MOST_REPEATS or any(is_open):
                return None
            covered[texels_of(one.uv[one.faces], sides)[0]] = 1
        mask = torch.from_numpy(covered).view(1, 1, *sides)
        return torch.nn.functional.max_pool2d(mask, 3, 1, 1)  # what is between texels reaches one further

    def _showing(self, texture: int) -> list[Surface]:
        """The surfaces that show a texture; instances once."""
        own = {one.key: one for one in self.mesh.surfaces if one.texture == texture and one.uv is not None}
        return list(own.values())

    @cached_property
    def _seams(self) -> tuple[Seams | None, ...]:
        """Those of each texture, where each triangle has its own part of it; None for lists of colours."""
        found: list[Seams | None] = []
        for index, sheet in enumerate(self.sheets):
            surfaces = self._showing(index)
            found.append(seams_of(surfaces, sheet.sides) if surfaces and sheet.mask is not None else None)
        return tuple(found)

    @cached_property
    def _plain(self) -> dict[tuple[int, ...], Surface]:
        """Surfaces without texture; instances once."""
        return {one.key: one for one in self.mesh.surfaces if one.texture is None}

    @cached_property
    def _joined(self) -> tuple[Floats, Indices, Indices]:
        """All vertices, all faces, and the surface of each face."""
        starts = np.cumsum([0, *(len(one.positions) for one in self.mesh.surfaces)])
        faces = [one.faces + start for one, start in zip(self.mesh.surfaces, starts, strict=False)]
        owners = np.repeat(np.arange(len(faces)), [len(own) for own in faces])
        return np.concatenate([one.positions for one in self.mesh.surfaces]), np.concatenate(faces), owners

    def cameras(self, count: int, seed: int) -> list[Camera]:
        """See `Scene`."""
        place = cameras.within if self.inside else cameras.around
        return place(self.mesh.points, count, up=np.asarray(self.mesh.up), seed=seed)

    def ring(self, count: int) -> list[Camera]:
        """See `Scene`."""
        up = np.asarray(self.mesh.up)
        return (
            cameras.turning(self.mesh.points, count, up=up)
            if self.inside
            else cameras.ring(self.mesh.points, count, up=up)
        )

    def look(self, camera: Camera, side: int) -> Lookup:
        """See `Scene`."""
        return self.drawn(camera, side, self._joined[0])[1]

    def drawn(self, camera: Camera, side: int, points: Floats) -> tuple[Raster, Lookup]:
        """A view of `side` pixels with all vertices, those of one surface after the other, at `points (V, 3)`."""
        _, faces, owners = self._joined
        raster = rasterise(camera.project(points, side), faces, (side, side))
        seen = owners[raster.faces]
        starts = np.cumsum([0, *(sheet.rows for sheet in self.sheets)])
        rows = {key: starts[len(self.mesh.textures) + index] for index, key in enumerate(self._plain)}
        offsets = np.cumsum([0, *(len(one.faces) for one in self.mesh.surfaces)])
        parts = []
        for index in np.unique(seen):
            surface, chosen = self.mesh.surfaces[index], seen == index
            if surface.texture is None:
                first = int(rows[surface.key])
                parts.append(vertex_taps(raster, surface.faces, first, chosen, first_face=int(offsets[index])))
            else:
                first = int(starts[surface.texture])
                parts.append(
                    _texture_part(surface, raster, chosen, offsets[index], self.sheets[surface.texture], first)
                )
        facing, depths = np.zeros(side * side), np.full(side * side, np.inf)
        facing[raster.pixels] = _facing(points, faces, raster, camera, side)
        depths[raster.pixels] = raster.depths
        return raster, lookup(parts, (side, side), facing=facing, depths=depths)

    def joined(self, textures: Sequence[Tensor]) -> list[Tensor]:
        """See `Scene`."""
        return [
            texture if seams is None else joined(texture, seams)
            for texture, seams in zip(textures, self._seams, strict=True)
        ]

    def painted(self, textures: Sequence[Tensor]) -> MeshScene:
        """See `Scene`."""
        count = len(self.mesh.textures)
        pictures = tuple(
            replace(picture, pixels=images.from_tensor(texture))
            for picture, texture in zip(self.mesh.textures, textures[:count], strict=True)
        )
        colors = {key: texture[0, :, 0].T.numpy() for key, texture in zip(self._plain, textures[count:], strict=True)}
        surfaces = tuple(
            one if one.texture is not None else replace(one, colors=colors[one.key]) for one in self.mesh.surfaces
        )
        paint = replace(self.mesh.paint, textures=pictures, colors=colors)
        return replace(self, mesh=replace(self.mesh, surfaces=surfaces, textures=pictures, paint=paint))

    def moved(self, positions: Sequence[Floats]) -> MeshScene:
        """The same with its vertices elsewhere: `(V, 3)` of each surface."""
        return replace(self, mesh=moved(self.mesh, positions))

    def write(self, path: Path) -> None:
        """See `Scene`."""
        self.mesh.file.write(path, replace(self.mesh.paint, textures=self.mesh.textures))


def _texture_part(
    surface: Surface, raster: Raster, chosen: np.ndarray, first_face: int, sheet: Sheet, first: int
) -> Taps:
    assert surface.uv is not None
    own = replace(
        raster,
        pixels=raster.pixels[chosen],
        faces=raster.faces[chosen] - first_face,
        weights=raster.weights[chosen],
        depths=raster.depths[chosen],
        edges=raster.edges[chosen],
    )
    corners = surface.uv[surface.faces]
    seen = Footprints(own.pixels, own.interpolate(corners), own.slopes(corners), np.ones(len(own.pixels)))
    return texture_taps(seen, sheet, first, surface.wrap)


def _facing(points: Floats, faces: Indices, raster: Raster, camera: Camera, side: int) -> Floats:
    """How straight each covered pixel is looked at."""
    corners = points[faces[raster.faces]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-30)
    facing: Floats = np.abs((normals * camera.rays(side)[raster.pixels]).sum(1)) / lengths
    return facing


def _colors(surface: Surface) -> np.ndarray:
    if surface.colors is not None:
        return surface.colors.astype(np.float32)
    return np.broadcast_to(np.asarray(surface.color, np.float32), (len(surface.positions), 3)).copy()
