"""Models that are made for benchmarks, the same each time: a million points, a grid of voxels, a furnished room."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.files import write_whole
from impasto.images import Picture
from impasto.scenes import gltf
from impasto.scenes.meshes import Surface

Floats = NDArray[np.float64]
_Vector = Sequence[float] | NDArray[np.float64]
_POINTS = 1_000_000
_CELLS = 96
_TEXELS = 256  # side of a texture of the room


def made(name: str, folder: Path) -> Path:
    """One of MADE, written into a folder."""
    suffix, make = MADE[name]
    path = folder / f"{name}{suffix}"
    write_whole(path, make())
    return path


def points(count: int = _POINTS, seed: int = 0) -> bytes:
    """A PLY file of points on a bumpy ball, striped in colours."""
    direction = np.random.default_rng(seed).normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    vertices = np.empty(count, [*((axis, "<f4") for axis in "xyz"), *((name, "u1") for name in _CHANNELS)])
    radius = 1 + 0.25 * np.sin(5 * direction[:, 0]) * np.cos(4 * direction[:, 1])
    for axis, values in zip("xyz", (direction * radius[:, None]).T, strict=True):
        vertices[axis] = values
    for channel, values in zip(_CHANNELS, _striped(direction).T, strict=True):
        vertices[channel] = np.round(255 * values)
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    head += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {name}" for name in _CHANNELS]
    return "\n".join((*head, "end_header\n")).encode() + vertices.tobytes()


_CHANNELS = ("red", "green", "blue")


def voxels(cells: int = _CELLS) -> bytes:
    """A NumPy file of a bumpy shell in a cube, striped in colours."""
    along = 2.4 * ((np.arange(cells) + 0.5) / cells - 0.5)
    places = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1)
    radius = np.linalg.norm(places, axis=3)
    direction = places / np.maximum(radius, 1e-9)[..., None]
    bumpy = 1 + 0.15 * np.sin(5 * direction[..., 0]) * np.cos(4 * direction[..., 1])
    solid = (radius < bumpy) & (radius > bumpy - 0.15)
    grid = np.concatenate((_striped(direction), solid[..., None]), 3)
    stream = io.BytesIO()
    np.save(stream, np.round(255 * grid).astype(np.uint8), allow_pickle=False)
    return stream.getvalue()


def _striped(direction: Floats) -> Floats:
    """Colours of directions `(..., 3)`."""
    x, y, z = np.moveaxis(direction, -1, 0)
    found: Floats = np.stack((0.5 + 0.5 * np.sin(6 * x), 0.5 + 0.4 * y, 0.5 + 0.5 * np.cos(7 * z)), -1)
    return found.clip(0, 1)


def room(texels: int = _TEXELS) -> bytes:
    """A .glb of a furnished room, 6 by 2.8 by 5, to be seen from within: ten surfaces, seven textures."""
    names = ("floor", "ceiling", "paper", "rug", "wood", "cloth", "view")
    textures = [Picture(_texture(name, texels)) for name in names]
    parts: list[tuple[str, Floats, Floats]] = [
        _quad("floor", (-3, 0, 2.5), (6, 0, 0), (0, 0, -5), (3, 2.5)),
        _quad("ceiling", (-3, 2.8, -2.5), (6, 0, 0), (0, 0, 5), (2, 2)),
        _quad("rug", (-1.4, 0.01, 1.1), (2.8, 0, 0), (0, 0, -2), (1, 1)),
        _quad("view", (-1, 0.9, -2.49), (2, 0, 0), (0, 1.3, 0), (1, 1)),
    ]
    walls = [
        _quad("paper", (-3, 0, -2.5), (6, 0, 0), (0, 2.8, 0), (4, 2)),
        _quad("paper", (3, 0, 2.5), (-6, 0, 0), (0, 2.8, 0), (4, 2)),
        _quad("paper", (-3, 0, 2.5), (0, 0, -5), (0, 2.8, 0), (3, 2)),
        _quad("paper", (3, 0, -2.5), (0, 0, 5), (0, 2.8, 0), (3, 2)),
    ]
    table = [_box("wood", (-0.7, 0.72, -0.45), (1.4, 0.06, 0.9))]
    table += [_box("wood", (x, 0, z), (0.07, 0.72, 0.07)) for x in (-0.65, 0.58) for z in (-0.4, 0.33)]
    sofa = [_box("cloth", (-2.9, 0, -1), (0.9, 0.45, 2)), _box("cloth", (-2.9, 0.45, -1), (0.25, 0.5, 2))]
    shelf = [_box("wood", (2.55, height, -1.2), (0.4, 0.05, 2.4)) for height in (0.3, 0.9, 1.5, 2.1)]
    shelf += [_box("cloth", (2.6, 0.35 + 0.6 * row, z), (0.3, 0.4, 0.3)) for row, z in ((0, -0.9), (1, 0.2), (2, 0.7))]
    groups = [*([part] for part in parts), walls, table, sofa, shelf]
    by_name = {name: number for number, name in enumerate(names)}
    surfaces = [surface for group in groups for surface in _surfaces(group, by_name)]
    return gltf.plain(surfaces, textures, [None] * len(surfaces))


def _quad(
    name: str, corner: _Vector, right: _Vector, up: _Vector, times: tuple[float, float]
) -> tuple[str, Floats, Floats]:
    """A rectangle of a texture that is repeated: its name, corners `(4, 3)` and texture coordinates `(4, 2)`."""
    first, across, along = (np.asarray(each, float) for each in (corner, right, up))
    wide, high = times
    uv = np.array([[0, high], [wide, high], [wide, 0], [0, 0]])
    return name, np.stack((first, first + across, first + across + along, first + along)), uv


def _box(name: str, corner: Sequence[float], size: Sequence[float]) -> tuple[str, Floats, Floats]:
    """Six rectangles."""
    low, (width, height, depth) = np.asarray(corner, float), size
    x, y, z = np.diag([width, height, depth])
    sides = [(low + z, x, y), (low + x, -x, y), (low, z, y), (low + x + z, -z, y), (low + y + z, x, -z), (low, x, z)]
    quads = [_quad(name, first, across, along, (1, 1)) for first, across, along in sides]
    return name, np.concatenate([quad[1] for quad in quads]), np.concatenate([quad[2] for quad in quads])


def _surfaces(group: Sequence[tuple[str, Floats, Floats]], textures: dict[str, int]) -> list[Surface]:
    """One surface for each texture of a group."""
    found = []
    for name in dict.fromkeys(part[0] for part in group):
        own = [part for part in group if part[0] == name]
        positions, uv = np.concatenate([part[1] for part in own]), np.concatenate([part[2] for part in own])
        firsts = np.arange(0, len(positions), 4)[:, None]
        faces = np.concatenate([firsts + np.array(half) for half in ([0, 1, 2], [0, 2, 3])])
        found.append(Surface((0,), positions, faces, uv, textures[name]))
    return found


def _texture(name: str, side: int) -> NDArray[np.float32]:
    """A picture `(side, side, 3)` that goes on beyond its edges."""
    along = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(along, along)
    grain = np.random.default_rng(0).uniform(-0.04, 0.04, (side, side, 1))
    return (_PATTERNS[name](x, y) + grain).clip(0, 1).astype(np.float32)


def _mixed(share: Floats, first: Sequence[float], second: Sequence[float]) -> Floats:
    """Two colours, by shares `(H, W)` of the second."""
    found: Floats = np.asarray(first) + share[..., None] * (np.asarray(second) - np.asarray(first))
    return found


def _boards(x: Floats, y: Floats) -> Floats:
    board = np.floor(4 * y)
    joint = (np.mod(4 * y, 1) < 0.04) | (np.mod(x + 0.37 * board, 1) < 0.01)
    return _mixed(0.5 + 0.3 * np.sin(7 * board + 6.3 * x) - joint, (0.35, 0.2, 0.1), (0.72, 0.5, 0.3))


def _paper(x: Floats, y: Floats) -> Floats:
    flower = np.sin(4 * np.pi * x) * np.sin(4 * np.pi * y) > 0.5
    return _mixed(0.8 * flower + 0.1 * np.sin(16 * np.pi * x), (0.86, 0.83, 0.7), (0.35, 0.5, 0.4))


def _rug(x: Floats, y: Floats) -> Floats:
    rings = np.mod(8 * np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)), 1) > 0.5
    return _mixed(rings.astype(float), (0.62, 0.14, 0.12), (0.9, 0.75, 0.4))


def _view(x: Floats, y: Floats) -> Floats:
    sky = _mixed(1 - y, (0.85, 0.9, 0.95), (0.3, 0.55, 0.85))
    hill = y > 0.6 + 0.08 * np.sin(7 * x) + 0.05 * np.sin(19 * x)
    bars = (np.abs(x - 0.5) < 0.02) | (np.abs(y - 0.5) < 0.02) | (np.maximum(abs(x - 0.5), abs(y - 0.5)) > 0.46)
    return np.where(
        bars[..., None], 0.95, np.where(hill[..., None], _mixed(y, (0.3, 0.5, 0.2), (0.2, 0.35, 0.15)), sky)
    )


_PATTERNS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "floor": _boards,
    "ceiling": lambda x, y: _mixed(
        0.2 * np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y), (0.93, 0.92, 0.88), (0.8, 0.8, 0.8)
    ),
    "paper": _paper,
    "rug": _rug,
    "wood": lambda x, y: _mixed(0.5 + 0.5 * np.sin(40 * y + 3 * np.sin(6 * x)), (0.3, 0.17, 0.08), (0.45, 0.27, 0.14)),
    "cloth": lambda x, y: _mixed(
        ((8 * x).astype(int) + (8 * y).astype(int)) % 2 * 1.0, (0.2, 0.3, 0.5), (0.3, 0.42, 0.62)
    ),
    "view": _view,
}

MADE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "points": (".ply", points),
    "voxels": (".npy", voxels),
    "room": (".glb", room),
}
"""Words for models that are made: what their file ends in, and its contents."""
