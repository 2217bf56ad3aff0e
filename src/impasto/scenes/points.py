"""Point clouds: PLY, LAS and LAZ. A view splats the points in front, with fixed weights, so that only colours move."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError, MissingExtra, ResourceError
from impasto.optim.surfaces import Lookup
from impasto.scenes.cameras import Camera
from impasto.scenes.lookups import Taps, lookup
from impasto.scenes.ply import PlyFile
from impasto.scenes.rasterise import Floats
from impasto.scenes.scene import ColoredScene

_MOST_POINTS = 50_000_000
_OVERLAP = 1.5  # of the distance between neighbours, that a splat reaches
_MOST_REACH = 6  # pixels from the middle of a splat
_DEPTH = 0.01  # of the cloud's radius, within which splats blend
_SAMPLED = 20_000  # points whose neighbours are counted


@dataclass(frozen=True, eq=False)
class LasFile:
    """A LAS or LAZ file as it was read."""

    suffix: str
    data: bytes

    def painted(self, colors: NDArray[np.float32]) -> bytes:
        """The file with other colours, `(N, 3)` in [0, 1]; a point format without colours becomes the one with."""
        laspy = _laspy()
        las = laspy.read(io.BytesIO(self.data))
        if "red" not in las.point_format.dimension_names:
            las = laspy.convert(las, point_format_id=_WITH_COLORS.get(las.point_format.id, 2))
        for name, values in zip(("red", "green", "blue"), colors.T, strict=True):
            setattr(las, name, np.round(values * 65535).astype(np.uint16))
        stream = io.BytesIO()
        las.write(stream, do_compress=self.suffix == ".laz")
        return stream.getvalue()


_WITH_COLORS = {0: 2, 1: 3, 4: 5, 6: 7, 9: 10}
"""Point formats with colours, for those without."""


@dataclass(frozen=True, eq=False)
class PointScene(ColoredScene):
    """A point cloud as a Scene.

    Attributes:
        file: as it was read.
        points: `(N, 3)`.
        colors: `(N, 3)`, sRGB in [0, 1].
        up: which way is up.
    """

    file: PlyFile | LasFile
    points: Floats
    colors: NDArray[np.float32]
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)

    @classmethod
    def of_ply(cls, path: Path, file: PlyFile, points: Floats, colors: NDArray[np.float32] | None) -> PointScene:
        """Of a PLY file without faces."""
        _check(path.name, points)
        return cls(file, points, _grey(points) if colors is None else colors)

    @classmethod
    def read_las(cls, path: Path, data: bytes) -> PointScene:
        """Of a LAS or LAZ file.

        Raises:
            MissingExtra: laspy is not installed.
            InputError: it is damaged.
        """
        laspy = _laspy()
        try:
            las = laspy.read(io.BytesIO(data))
            points = np.asarray(las.xyz, np.float64)
            colors = None
            if "red" in las.point_format.dimension_names:
                values = np.stack([np.asarray(las[name], np.float32) for name in ("red", "green", "blue")], 1)
                colors = values / (255 if float(values.max(initial=0)) <= 255 else 65535)  # many write 8 bits into 16
        except Exception as error:  # laspy and its codecs share no base
            raise InputError(f"{path.name} is no LAS file, or damaged ({error})"[:200], "export it anew") from error
        _check(path.name, points)
        file = LasFile(path.suffix.lower(), data)
        return cls(file, points, _grey(points) if colors is None else colors.astype(np.float32), (0.0, 0.0, 1.0))

    @cached_property
    def spacing(self) -> float:
        """Mean distance of neighbours on the surface that the points lie on.

        Points are sorted into cells; on a surface the number of cells that hold one grows with the square of theirs.
        """
        low, radius = self.points.min(0), self.radius
        cells = max(4, round(math.sqrt(len(self.points)) / 4))
        placed = np.floor((self.points - low) / (2 * radius) * cells).astype(np.int64)
        filled = len(np.unique(placed @ np.array([1, cells + 1, (cells + 1) ** 2])))
        return 2 * radius / cells * math.sqrt(filled / len(self.points))

    @cached_property
    def radius(self) -> float:
        """Of the cloud about the middle of its box."""
        middle = (self.points.min(0) + self.points.max(0)) / 2
        return max(float(np.linalg.norm(self.points - middle, axis=1).max()), 1e-9)

    @cached_property
    def bounds(self) -> Floats:
        """Points whose bounds are those of the cloud."""
        step = max(1, len(self.points) // _SAMPLED)
        ends = [index for axis in range(3) for index in (self.points[:, axis].argmin(), self.points[:, axis].argmax())]
        return np.concatenate((self.points[::step], self.points[ends]))

    def look(self, camera: Camera, side: int) -> Lookup:
        """See `Scene`. Splats are discs with soft edges; those within a little of the nearest blend."""
        projected = camera.project(self.points, side)
        points = np.flatnonzero(projected[:, 2] > 1e-6 * self.radius)
        x, y, depths = projected[points].T
        x, y = x / depths, y / depths
        reach = np.clip(_OVERLAP * self.spacing * camera.focal * side / depths, 0.71, _MOST_REACH)
        left, top, reached = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64), reach**2
        right_of, below = left + 0.5 - x, top + 0.5 - y
        nearest = np.full(side * side, np.inf)
        entries: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
        most = math.ceil(float(reach.max(initial=1)))
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                squared = (right_of + right) ** 2 + (below + down) ** 2
                chosen = np.flatnonzero(squared < reached)
                columns, rows = left[chosen] + right, top[chosen] + down
                inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
                chosen, pixels = chosen[inside], (rows * side + columns)[inside]
                entries.append((pixels, points[chosen], np.exp(-2 * squared[chosen] / reached[chosen])))
                np.minimum.at(nearest, pixels, depths[chosen])
        return self._blended(entries, nearest, projected[:, 2], side)

    def _blended(
        self,
        entries: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]],
        nearest: Floats,
        depths: Floats,
        side: int,
    ) -> Lookup:
        slack = _DEPTH * self.radius + 2 * self.spacing
        parts = []
        for pixels, points, weights in entries:
            front = depths[points] <= nearest[pixels] + slack
            parts.append(Taps(pixels[front], points[front], weights[front]))
        total = np.zeros(side * side)
        for part in parts:
            np.add.at(total, part.pixels, part.weights)
        parts = [Taps(part.pixels, part.rows, part.weights / total[part.pixels]) for part in parts]
        return lookup(parts, (side, side), depths=nearest)

    def encoded(self) -> bytes:
        """See `ColoredScene`."""
        return self.file.painted(self.colors)


def _check(name: str, points: Floats) -> None:
    if not len(points):
        raise InputError(f"{name} has no points", "export it anew")
    if len(points) > _MOST_POINTS:
        raise ResourceError(
            f"{name} has {len(points):,} points; at most {_MOST_POINTS:,} are painted", "thin it out first"
        )
    bad = int((~np.isfinite(points).all(1)).sum())
    if bad:
        raise InputError(f"{name} has {bad:,} points that are no numbers (NaN or infinite)", "export it anew")
    if float(np.ptp(points, axis=0).max()) <= 0:
        raise InputError(f"all points of {name} are at one place", "export it anew")


def _grey(points: Floats) -> NDArray[np.float32]:
    """Colours for a cloud without: lighter the higher it is, so that something can be made out."""
    axis = points[:, int(np.argmin(np.ptp(points, axis=0)))]
    share = (axis - axis.min()) / max(float(np.ptp(axis)), 1e-9)
    return np.repeat((0.35 + 0.5 * share)[:, None], 3, 1).astype(np.float32)


def _laspy() -> Any:
    try:
        import laspy
    except ImportError as error:
        raise MissingExtra("LAS and LAZ files need laspy", "pip install 'impasto[scenes]'") from error
    return laspy
