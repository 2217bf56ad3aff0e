"""Where a scene is looked at from: all around it, round it at one height, or from within."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from impasto.scenes.rasterise import Floats

_FIELD = math.radians(36)  # of a camera that looks at an object
_WIDE = math.radians(75)  # of one that stands within
_MARGIN = 0.04  # of the picture on each side of an object
_MOST_ZOOM = 1.5  # of a small side of an object against its largest; strokes grow with it
_ELEVATION = math.radians(15)  # of the cameras that go round


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        eye: where it stands, `(3,)`.
        axes: `(3, 3)`, what is right, down and ahead, a row each.
        focal: distance of the picture from the eye, in sides of the picture.
        middle: where the line of sight meets the picture, in sides of it.
    """

    eye: Floats
    axes: Floats
    focal: float
    middle: tuple[float, float] = (0.5, 0.5)

    @classmethod
    def at(cls, eye: Floats, target: Floats, up: Floats, field: float = _FIELD) -> Camera:
        """One that looks at a target."""
        ahead = _unit(target - eye)
        upright = up if abs(float(ahead @ _unit(up))) < 0.999 else np.roll(up, 1)
        right = _unit(np.cross(ahead, upright))
        return cls(eye, np.stack((right, np.cross(ahead, right), ahead)), 0.5 / math.tan(field / 2))

    def project(self, points: Floats, side: int) -> Floats:
        """`(V, 3)` of points `(V, 3)`, as `rasterise` takes them, for a square of `side` pixels."""
        seen = (points - self.eye) @ self.axes.T
        flat = self.focal * seen[:, :2] + np.asarray(self.middle) * seen[:, 2:]
        return np.concatenate((side * flat, seen[:, 2:]), 1)

    def rays(self, side: int) -> Floats:
        """Directions through the pixels' centres, `(side * side, 3)`, of length 1."""
        along = (np.arange(side) + 0.5) / side
        x, y = np.meshgrid(along - self.middle[0], along - self.middle[1])
        seen = np.stack((x.ravel(), y.ravel(), np.full(x.size, self.focal)), 1)
        directions: Floats = seen @ self.axes
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return directions

    def fitted(self, points: Floats) -> Camera:
        """The same, turned and zoomed until points `(V, 3)` before it fill the picture; never by too much."""
        flat = self.project(points, 1)
        flat = flat[:, :2] / flat[:, 2:]
        low, high = flat.min(0), flat.max(0)
        zoom = min(_MOST_ZOOM, (1 - 2 * _MARGIN) / max(float((high - low).max()), 1e-9))
        shift = 0.5 - zoom * ((low + high) / 2 - np.asarray(self.middle))
        return replace(self, focal=self.focal * zoom, middle=(float(shift[0]), float(shift[1])))


def around(points: Floats, count: int, *, up: Floats, seed: int = 0) -> list[Camera]:
    """Cameras evenly all around an object, above and below it too, those that follow each other far apart."""
    spiral = np.arange(count) + 0.5
    heights, angles = 1 - 2 * spiral / count, math.pi * (1 + math.sqrt(5)) * spiral
    flat = np.sqrt(1 - heights**2)
    directions = np.stack((flat * np.cos(angles), heights, flat * np.sin(angles)), 1) @ _turn(seed)
    return [_outside(points, directions[index], up) for index in far_apart(directions)]


def ring(points: Floats, count: int, *, up: Floats) -> list[Camera]:
    """Cameras round an object at one height, as on a turntable, the first from its front."""
    upright = _unit(up)
    front = np.array([0.0, 0.0, 1.0]) if abs(upright[2]) < 0.5 else np.array([0.0, -1.0, 0.0])
    side = np.cross(upright, front)
    found = []
    for angle in 2 * math.pi * np.arange(count) / count:
        flat = math.cos(angle) * front + math.sin(angle) * side
        found.append(_outside(points, math.cos(_ELEVATION) * flat + math.sin(_ELEVATION) * upright, up, fit=False))
    return found


def within(points: Floats, count: int, *, up: Floats, seed: int = 0) -> list[Camera]:
    """Cameras in the middle half of a room, that look everywhere."""
    low, high = points.min(0), points.max(0)
    generator = np.random.default_rng(seed)
    spiral = np.arange(count) + 0.5
    heights, angles = 1 - 2 * spiral / count, math.pi * (1 + math.sqrt(5)) * spiral
    flat = np.sqrt(1 - heights**2)
    directions = np.stack((flat * np.cos(angles), heights, flat * np.sin(angles)), 1)
    eyes = low + (high - low) * generator.uniform(0.3, 0.7, (count, 3))
    order = far_apart(directions)
    return [Camera.at(eyes[index], eyes[index] + directions[index], up, _WIDE) for index in order]


def far_apart(directions: Floats) -> list[int]:
    """An order in which each direction is far from the one before."""
    left, order = list(range(1, len(directions))), [0]
    while left:
        last = directions[order[-1]]
        order.append(left.pop(int(np.argmin([float(directions[index] @ last) for index in left]))))
    return order


def _outside(points: Floats, direction: Floats, up: Floats, *, fit: bool = True) -> Camera:
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 1e-9)
    distance = radius / math.sin(_FIELD / 2)
    camera = Camera.at(middle + distance * direction, middle, up)
    return camera.fitted(points) if fit else camera


def _turn(seed: int) -> Floats:
    """A random rotation."""
    matrix, triangle = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned: Floats = matrix * np.sign(np.diag(triangle))
    return turned


def _unit(vector: NDArray[np.float64] | Sequence[float]) -> Floats:
    own = np.asarray(vector, np.float64)
    return own / max(float(np.linalg.norm(own)), 1e-30)


def turning(points: Floats, count: int, *, up: Floats) -> list[Camera]:
    """Cameras in the middle of a room that turn round."""
    middle = (points.min(0) + points.max(0)) / 2
    upright = _unit(up)
    front = np.array([0.0, 0.0, 1.0]) if abs(upright[2]) < 0.5 else np.array([0.0, -1.0, 0.0])
    side = np.cross(upright, front)
    angles = 2 * math.pi * np.arange(count) / count
    return [Camera.at(middle, middle + math.cos(angle) * front + math.sin(angle) * side, up, _WIDE) for angle in angles]
