"""Panoramas: pictures of the whole sphere in equirectangular form, painted by looking around from its middle.

Strokes are painted in views, which look everywhere alike, so they have one size on the sphere, there is no seam where
left meets right, and nothing is pinched at the poles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
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
_TAPS = 24  # along a row near the poles, where texels crowd
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
        """The picture, `(1, 3, H, W)`."""
        return (images.to_tensor(images.as_float(self.picture.pixels)),)

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        """See `Scene`."""
        return (Sheet((self.picture.height, self.picture.width), around=True),)

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
        places, slopes = _places(rays), _slopes(camera, side)
        seen = Footprints(np.arange(side * side), places, slopes, np.ones(side * side))
        taps = texture_taps(seen, self.sheets[0], 0, ("repeat", "clamp"), most=_TAPS)
        facing = np.clip(rays @ camera.axes[2], 0, 1) ** 3  # a pixel in the middle sees a larger part of the sphere
        return lookup([taps], (side, side), facing=facing, depths=np.ones(side * side))

    def painted(self, textures: Sequence[Tensor]) -> PanoramaScene:
        """See `Scene`. Near the poles, where a row is shorter than it has texels, they are averaged along it."""
        pixels = images.from_tensor(_unpinched(textures[0]))
        return PanoramaScene(replace(self.picture, pixels=pixels))

    def write(self, path: Path) -> None:
        """See `Scene`: with all metadata, such as GPano's, kept."""
        images.write(self.picture, path)


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


def _slopes(camera: Camera, side: int) -> Floats:
    """How the places change per pixel, by differences of half a pixel; across the seam the short way."""
    along = (np.arange(side) + 0.5) / side
    x, y = (grid.ravel() for grid in np.meshgrid(along - camera.middle[0], along - camera.middle[1]))
    half, found = 0.5 / side, []
    for right, below in ((half, 0.0), (0.0, half)):
        ends = [
            _places(np.stack((x + sign * right, y + sign * below, np.full(len(x), camera.focal)), 1) @ camera.axes)
            for sign in (1, -1)
        ]
        change = ends[0] - ends[1]
        change[:, 0] -= np.round(change[:, 0])
        found.append(change)
    return np.stack(found, 1)


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
