"""Voxels: arrays of RGBA (.npy) and MagicaVoxel (.vox). A view adds up colours along rays, with fixed densities."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import InputError, ResourceError
from impasto.optim.surfaces import Lookup
from impasto.scenes.cameras import Camera
from impasto.scenes.lookups import Taps, lookup
from impasto.scenes.rasterise import Floats, Indices
from impasto.scenes.scene import ColoredScene

_MOST_CELLS = 1 << 27
_OPAQUE = 1e-3  # of the light: what is behind so little cannot be seen


@dataclass(frozen=True, eq=False)
class NpyFile:
    """An array as it was read."""

    array: NDArray[Any]
    suffix: str = ".npy"

    def painted(self, cells: Indices, colors: NDArray[np.float32]) -> bytes:
        """The array with other colours; opacity and type stay."""
        result = self.array.copy()
        kind = result.dtype
        values = np.round(colors * np.iinfo(kind).max) if kind.kind == "u" else colors
        result.reshape(-1, 4)[cells, :3] = values
        stream = io.BytesIO()
        np.save(stream, result, allow_pickle=False)
        return stream.getvalue()


@dataclass(frozen=True, eq=False)
class VoxFile:
    """A MagicaVoxel file as it was read.

    Attributes:
        data: all of it.
        entries: where the first model's entries begin, and how many there are.
        palette: where the palette's 256 colours begin; None where the file has the usual one.
    """

    data: bytes
    entries: tuple[int, int]
    palette: int | None
    suffix: str = ".vox"

    def painted(self, _cells: Indices, colors: NDArray[np.float32]) -> bytes:
        """The file with a palette of the painted colours, the 255 that serve best; all else stays."""
        codes = np.round(colors * 255).astype(np.uint8)
        picture = Image.fromarray(codes[None]).quantize(
            255, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE
        )
        chosen = np.asarray(picture)[0]
        flat = np.asarray(picture.getpalette(), np.uint8).reshape(-1, 3)
        colors_of = np.zeros((256, 4), np.uint8)
        colors_of[: len(flat[:255]), :3], colors_of[:, 3] = flat[:255], 255
        start, count = self.entries
        rows = np.frombuffer(self.data, np.uint8, 4 * count, start).reshape(-1, 4).copy()
        rows[:, 3] = chosen + 1
        result = bytearray(self.data)
        result[start : start + 4 * count] = rows.tobytes()
        if self.palette is not None:
            result[self.palette : self.palette + 1024] = colors_of.tobytes()
            return bytes(result)
        result += b"RGBA" + struct.pack("<II", 1024, 0) + colors_of.tobytes()
        result[16:20] = struct.pack("<I", struct.unpack_from("<I", result, 16)[0] + 1036)
        return bytes(result)


@dataclass(frozen=True, eq=False)
class VoxelScene(ColoredScene):
    """A grid of coloured cells as a Scene; the first axis is to the right, the third up.

    Attributes:
        file: as it was read.
        opacity: `(X, Y, Z)` in [0, 1], of a way through one cell.
        cells: `(N,)`, places in the flattened grid that can be seen at all.
        colors: `(N, 3)`, sRGB in [0, 1].
        up: which way is up.
    """

    file: NpyFile | VoxFile
    opacity: NDArray[np.float32]
    cells: Indices
    colors: NDArray[np.float32]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    @classmethod
    def read(cls, path: Path, data: bytes) -> VoxelScene:
        """Of a .npy or .vox file. Raises InputError for what is no such grid."""
        try:
            return _of_vox(data) if path.suffix.lower() == ".vox" else _of_npy(path, data)
        except (ValueError, struct.error, EOFError, IndexError, MemoryError, OverflowError) as error:
            raise InputError(f"{path.name} is no grid of voxels, or damaged ({error})", "export it anew") from error

    @cached_property
    def bounds(self) -> Floats:
        """Of the box of what can be seen."""
        places = np.stack(np.unravel_index(self.cells, self.opacity.shape), 1)
        low, high = places.min(0), places.max(0) + 1
        return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, 3).astype(float)

    def look(self, camera: Camera, side: int) -> Lookup:
        """See `Scene`. Each cell counts by its opacity, the way through it, and the light that reaches it."""
        rows = np.full(self.opacity.size, -1)
        rows[self.cells] = np.arange(len(self.cells))
        opacity = self.opacity.ravel().astype(np.float64)
        light, depths = np.ones(side * side), np.full(side * side, np.inf)
        parts = []
        for pixels, cells, ways, reached in _marched(camera, side, self.opacity.shape, light):
            share = 1 - (1 - opacity[cells]) ** ways
            seen = np.flatnonzero(share > 0)
            own = pixels[seen]
            parts.append(Taps(own, rows[cells[seen]], light[own] * share[seen]))
            depths[own] = np.minimum(depths[own], reached[seen])
            light[own] *= 1 - share[seen]
        return lookup(parts, (side, side), depths=depths)

    def encoded(self) -> bytes:
        """See `ColoredScene`."""
        return self.file.painted(self.cells, self.colors)


def _marched(
    camera: Camera, side: int, shape: tuple[int, ...], light: Floats
) -> Iterator[tuple[Indices, Indices, Floats, Floats]]:
    """Rays through the grid, a cell each time: pixels, cells, ways through them, and distances along the line of sight.

    Rays whose light is used up are given up. Paper: Amanatides and Woo 1987, A Fast Voxel Traversal Algorithm.
    """
    rays = camera.rays(side)
    rays = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    sides = np.asarray(shape, float)
    entries, exits = -camera.eye / rays, (sides - camera.eye) / rays
    near, far = np.minimum(entries, exits).max(1), np.maximum(entries, exits).min(1)
    near = np.maximum(near, 0)
    pixels = np.flatnonzero(near < far)
    now, rays, far = near[pixels], rays[pixels], far[pixels]
    step = np.sign(rays).astype(np.int64)
    cells = np.clip(np.floor(camera.eye + (now + 1e-9)[:, None] * rays), 0, sides - 1).astype(np.int64)
    following = ((cells + (step > 0)) - camera.eye) / rays
    while len(pixels):
        axis = following.argmin(1)
        until = np.minimum(np.take_along_axis(following, axis[:, None], 1)[:, 0], far)
        flat = np.ravel_multi_index(tuple(cells.T), shape)
        yield pixels, flat, np.maximum(until - now, 0), now * (rays @ camera.axes[2])
        picked = np.arange(len(pixels))
        cells[picked, axis] += step[picked, axis]
        following[picked, axis] += 1 / np.abs(rays[picked, axis])
        going = ((cells >= 0) & (cells < sides)).all(1) & (light[pixels] > _OPAQUE)
        pixels, cells, following, rays, far, step = (one[going] for one in (pixels, cells, following, rays, far, step))
        now = until[going]


def _of_npy(path: Path, data: bytes) -> VoxelScene:
    if not data.startswith(b"\x93NUMPY"):  # numpy would advise to unpickle it
        raise ValueError("it does not begin with NUMPY")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim != 4 or array.shape[3] != 4 or not array.size:
        raise InputError(f"{path.name} has the shape {array.shape}", "voxels are an array of X, Y, Z and RGBA")
    if array.dtype.kind not in "uf":
        raise InputError(f"{path.name} holds {array.dtype}", "voxels are RGBA as uint8, uint16 or floats in [0, 1]")
    _check_size(array.shape)
    array = array.astype(array.dtype.newbyteorder("="))
    values = array.astype(np.float32) / (np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1)
    if not np.isfinite(values).all():
        raise InputError(f"{path.name} holds values that are no numbers (NaN or infinite)", "export it anew")
    return _scene(NpyFile(array), values.clip(0, 1))


def _scene(file: NpyFile | VoxFile, values: NDArray[np.float32]) -> VoxelScene:
    opacity = np.ascontiguousarray(values[..., 3])
    cells = np.flatnonzero(opacity.ravel() > 0)
    if not len(cells):
        raise InputError("all voxels are transparent", "give a grid with something in it")
    return VoxelScene(file, opacity, cells, np.ascontiguousarray(values.reshape(-1, 4)[cells, :3]))


def _check_size(shape: Sequence[int]) -> None:
    total = math.prod(int(side) for side in shape[:3])
    if total > _MOST_CELLS:
        raise ResourceError(
            f"{total:,} voxels are too many; at most {_MOST_CELLS:,} are painted", "make the grid smaller"
        )


def _of_vox(data: bytes) -> VoxelScene:
    if data[:4] != b"VOX ":
        raise ValueError("it does not begin with VOX")
    found = {name: (start, size) for name, start, size in reversed(list(_chunks(data)))}  # the first of each
    start, _ = found.get("SIZE", (0, 0))
    shape = struct.unpack_from("<III", data, start)
    _check_size(shape)
    entry, _ = found.get("XYZI", (0, 0))
    count = struct.unpack_from("<I", data, entry)[0] if entry else 0
    rows = np.frombuffer(data, np.uint8, 4 * count, entry + 4).reshape(-1, 4)
    if not count or (rows[:, :3] >= np.asarray(shape)).any():
        raise ValueError("its voxels do not fit its size")
    palette = found["RGBA"][0] if "RGBA" in found else None
    colors = _usual_palette() if palette is None else np.frombuffer(data, np.uint8, 1024, palette).reshape(256, 4)
    values = np.zeros((*shape, 4), np.float32)
    places = rows[:, :3].astype(np.int64)
    values[tuple(places.T)] = np.concatenate((colors[rows[:, 3] - 1, :3] / 255, np.ones((count, 1))), 1)
    scene = _scene(VoxFile(data, (entry + 4, count), palette), values)
    # in the order of the file's entries, for they are rewritten in place
    flat = np.ravel_multi_index(tuple(places.T), shape)
    return replace(scene, cells=flat, colors=values.reshape(-1, 4)[flat, :3])


def _chunks(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Names of chunks, where their contents begin, and how long they are."""
    offset = 20
    while offset + 12 <= len(data):
        size, _children = struct.unpack_from("<II", data, offset + 4)
        yield data[offset : offset + 4].decode("ascii", "replace"), offset + 12, size
        offset += 12 + size


def _usual_palette() -> NDArray[np.uint8]:
    """A palette for a file without: MagicaVoxel's own begins so, with the corners of a cube of 6 x 6 x 6 colours."""
    steps = np.array([255, 204, 153, 102, 51, 0], np.uint8)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    cube = np.stack((red, green, blue), -1).reshape(-1, 3)[:215]
    greys = np.repeat(np.linspace(238, 17, 41).astype(np.uint8)[:, None], 3, 1)
    return np.concatenate((np.concatenate((cube, greys)), np.full((256, 1), 255, np.uint8)), 1)
