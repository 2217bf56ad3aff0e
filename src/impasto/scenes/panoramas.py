"""Panoramas: pictures of the whole sphere in equirectangular form, painted by looking around from its middle.

Strokes are painted in views, which look everywhere alike, so they have one size on the sphere. What moves are six faces
of a cube, which overlap a little and blend there: texels are of nearly one size, so that there is no seam where left
meets right and nothing is pinched at the poles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.errors import InputError
from impasto.images import Picture
from impasto.optim.surfaces import Lookup, Sheet
from impasto.scenes import cameras
from impasto.scenes.cameras import Camera
from impasto.scenes.lookups import Footprints, lookup, texture_taps
from impasto.scenes.rasterise import Floats

_FIELD = math.radians(80)  # of a view
_OVERLAP = 0.06  # of half a face, by which it goes on beyond its edges
_DENSE = 1.1  # texels in the middle of a face by those of the picture
_STEP = 16  # texels that divide a face's side
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, eq=False)
class PanoramaScene:
    """A panorama as a Scene.

    Attributes:
        picture: twice as wide as high; its middle looks along -z, its upper edge is up.
    """

    picture: Picture

    @classmethod
    def read(cls, path: Path) -> PanoramaScene:
        """Of a picture file. Raises InputError where it is not twice as wide as high, within a pixel."""
        return cls.of(images.read(path))

    @classmethod
    def of(cls, picture: Picture) -> PanoramaScene:
        """Of a picture."""
        if abs(picture.width - 2 * picture.height) > 1 or picture.height < 32:
            raise InputError(
                f"{picture.name} is {picture.width}x{picture.height} px",
                "a panorama of the whole sphere is twice as wide as high, 64x32 px or more",
            )
        return cls(picture)

    @property
    def suffix(self) -> str:
        """See `Scene`."""
        return self.picture.origin.path.suffix.lower() if self.picture.origin.path else ".png"

    @cached_property
    def textures(self) -> tuple[Tensor, ...]:
        """The faces of the cube, each `(1, 3, N, N)`."""
        whole = _unpinched(images.to_tensor(images.as_float(self.picture.pixels)))
        wide = F.pad(whole, (1, 1, 0, 0), mode="circular")
        width, side = self.picture.width, self.sheets[0].sides[0]
        found = []
        for face in _FACES:
            places = _places(face.rays(side))
            places[:, 0] = (places[:, 0] * width + 1) / (width + 2)
            found.append(_sampled(wide, places).view(1, 3, side, side))
        return tuple(found)

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """See `Scene`."""
        side = _STEP * math.ceil(_DENSE * 2 * (1 + _OVERLAP) * self.picture.height / math.pi / _STEP)
        return (Sheet((side, side)),) * len(_FACES)

    def cameras(self, count: int, seed: int) -> list[Camera]:
        """Views evenly over the sphere, each turned about its own axis."""
        around = cameras.around(_SPHERE, count, up=_UP, seed=seed)
        turns = np.random.default_rng(seed).uniform(0, 2 * math.pi, count)
        return [_turned(camera, angle) for camera, angle in zip(around, turns, strict=True)]

    def ring(self, count: int) -> list[Camera]:
        """See `Scene`."""
        return cameras.turning(_SPHERE, count, up=_UP)

    def look(self, camera: Camera, side: int) -> Lookup:
        """See `Scene`."""
        rays = camera.rays(side)
        beside = [_moved_rays(camera, side, *half) for half in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
        shares, parts = _shares(rays), []
        for index, (face, share) in enumerate(zip(_FACES, shares, strict=True)):
            own = np.flatnonzero(share > 0)
            right, left, below, above = (_on_face(face, moved[own]) for moved in beside)
            slopes = np.stack((right - left, below - above), 1)
            seen = Footprints(own, _on_face(face, rays[own]), slopes, share[own])
            parts.append(texture_taps(seen, self.sheets[index], index * self.sheets[0].rows, ("clamp", "clamp")))
        facing = np.clip(rays @ camera.axes[2], 0, 1) ** 3  # a pixel in the middle sees a larger part of the sphere
        return lookup(parts, (side, side), facing=facing, depths=np.ones(side * side))

    def joined(self, textures: Sequence[Tensor]) -> list[Tensor]:
        """See `Scene`."""
        return list(textures)

    def painted(self, textures: Sequence[Tensor]) -> PanoramaScene:
        """See `Scene`."""
        height, width = self.picture.height, self.picture.width
        rows = [self._row(textures, row, width) for row in range(height)]
        return PanoramaScene(replace(self.picture, pixels=images.from_tensor(torch.stack(rows, 2).clamp(0, 1))))

    def _row(self, textures: Sequence[Tensor], row: int, width: int) -> Tensor:
        """One row of the picture, `(1, 3, W)`, out of the faces."""
        rays = _rays_of_row(row, self.picture.height, width)
        total = torch.zeros(1, 3, width)
        for face, share, texture in zip(_FACES, _shares(rays), textures, strict=True):
            own = np.flatnonzero(share > 0)
            if len(own):
                seen = _sampled(texture, _on_face(face, rays[own])) * torch.from_numpy(share[own]).float()
                total = total.index_add(2, torch.from_numpy(own), seen)
        return total

    def write(self, path: Path) -> None:
        """See `Scene`: with all metadata, such as GPano's, kept."""
        images.write(self.picture, path)


def _face(ahead: Floats) -> Camera:
    """A camera whose picture is a face of the cube."""
    return replace(Camera.at(np.zeros(3), ahead, _UP), focal=0.5 / (1 + _OVERLAP))


_FACES = tuple(_face(axis) for axis in np.concatenate((np.eye(3), -np.eye(3))))
_SPHERE = np.concatenate((np.eye(3), -np.eye(3)))


def _turned(camera: Camera, angle: float) -> Camera:
    """A camera in the middle that looks the same way, turned about it."""
    right, down, ahead = camera.axes
    turned = np.stack(
        (math.cos(angle) * right + math.sin(angle) * down, math.cos(angle) * down - math.sin(angle) * right)
    )
    return Camera(np.zeros(3), np.concatenate((turned, ahead[None])), 0.5 / math.tan(_FIELD / 2))


def _places(rays: Floats) -> Floats:
    """Where directions lie in the picture, `(P, 2)` in [0, 1]."""
    across = np.arctan2(rays[:, 0], -rays[:, 2]) / (2 * math.pi) + 0.5
    down = np.arccos(np.clip(rays[:, 1] / np.linalg.norm(rays, axis=1), -1, 1)) / math.pi
    return np.stack((across, down), 1)


def _moved_rays(camera: Camera, side: int, right: float, below: float) -> Floats:
    """Directions through the pixels `(side * side, 3)`, parts of a pixel beside their centres."""
    along = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(along - camera.middle[0] + right / side, along - camera.middle[1] + below / side)
    moved: Floats = np.stack((x.ravel(), y.ravel(), np.full(x.size, camera.focal)), 1) @ camera.axes
    return moved


def _rays_of_row(row: int, height: int, width: int) -> Floats:
    """Directions of the pixels of a row, `(W, 3)`; the inverse of `_places`."""
    down, across = math.pi * (row + 0.5) / height, 2 * math.pi * ((np.arange(width) + 0.5) / width - 0.5)
    flat = math.sin(down)
    return np.stack((flat * np.sin(across), np.full(width, math.cos(down)), -flat * np.cos(across)), 1)


def _on_face(face: Camera, rays: Floats) -> Floats:
    """Where directions before a face lie on it, `(P, 2)`, within [0, 1] where it shows them."""
    seen = rays @ face.axes.T
    places: Floats = 0.5 + face.focal * seen[:, :2] / seen[:, 2:]
    return places


def _shares(rays: Floats) -> list[Floats]:
    """How much each face shows of directions `(P, 3)`: they add up to 1, and blend where faces overlap."""
    found: list[Floats] = []
    for face in _FACES:
        right, down, ahead = (rays @ face.axes.T).T
        reach = np.maximum(np.abs(right), np.abs(down)) / np.maximum(ahead, 1e-9)
        found.append(np.clip((1 + _OVERLAP - reach) / (2 * _OVERLAP), 0, 1))
    total = np.sum(found, 0)
    return [share / total for share in found]


def _sampled(texture: Tensor, places: Floats) -> Tensor:
    """Colours `(1, 3, P)` of a texture at places `(P, 2)` in [0, 1]."""
    grid = torch.from_numpy(2 * places - 1).to(texture)[None, None]
    return F.grid_sample(texture, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]


def _unpinched(texture: Tensor) -> Tensor:
    """Rows smoothed along themselves as far as they are shorter on the sphere than in the picture."""
    height, width = texture.shape[2:]
    heights = np.sin(math.pi * (np.arange(height) + 0.5) / height)
    result = texture.clone()
    for row in np.flatnonzero(heights < 0.5):
        reach = min(width // 2 - 1, round(0.5 / heights[row]))
        padded = F.pad(texture[:, :, row], (reach, reach), mode="circular")
        result[:, :, row] = F.avg_pool1d(padded, 2 * reach + 1, 1)
    return result
