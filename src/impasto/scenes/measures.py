"""Scores of painted scenes: how near views are to the painting, how far they agree, and how plain seams are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import STYLE_LAYERS, StyleCode
from impasto.losses.losses import GramLoss, RegionalLoss
from impasto.models.encoders import Encoder
from impasto.optim.surfaces import Lookup, colors_of
from impasto.scenes import seams
from impasto.scenes.cameras import Camera
from impasto.scenes.rasterise import Floats
from impasto.scenes.scene import MeshScene, Scene

_HIDDEN = 0.02  # of its distance, by which a place may lie behind what another view shows there
_SAMPLES = 8  # along an edge


@torch.no_grad()
def style_distance(scene: Scene, cameras: Sequence[Camera], side: int, painting: Tensor, encoder: Encoder) -> float:
    """Mean over views of the relative distance of Gram matrices, what is not covered left out; see `gram_distances`.

    Args:
        scene: painted.
        cameras: views that were not descended, for a fair score.
        side: of a view in pixels; 16 divides it.
        painting: `(1, 3, H, W)`.
        encoder: VGG-19.
    """
    loss = GramLoss(dict.fromkeys(STYLE_LAYERS, 1.0))
    target = StyleCode(loss.statistics(encoder(painting, loss.layers))).tensors
    colors = colors_of(scene.textures, scene.sheets)
    found = []
    for camera in cameras:
        view = scene.look(camera, side)
        regional = RegionalLoss(loss, view.cover, float(view.cover.mean()))
        features = encoder(view.render(colors, _mean(view, colors)).clamp(0, 1), loss.layers)
        found.append(float(regional.bind(target)(regional.statistics(features))))
    return sum(found) / len(found)


def views_of(scene: Scene, cameras: Sequence[Camera], side: int) -> list[Tensor]:
    """Pictures `(1, 3, H, W)` of a scene."""
    colors = colors_of(scene.textures, scene.sheets)
    return [scene.look(camera, side).render(colors).clamp(0, 1) for camera in cameras]


def disagreement(scene: Scene, cameras: Sequence[Camera], pictures: Sequence[Tensor], side: int) -> float:
    """Root mean square difference of neighbouring pictures at the places of the scene that both show.

    Where places lie is known from the geometry, so this is what the temporal error is for films.

    Args:
        scene: whose geometry counts.
        cameras: each next to the one before.
        pictures: `(1, 3, side, side)`, one a camera.
        side: in pixels.
    """
    views = [scene.look(camera, side) for camera in cameras]
    total, count = 0.0, 0
    for (camera, view, picture), (other, next_view, next_picture) in pairwise(
        zip(cameras, views, pictures, strict=True)
    ):
        places = _places(camera, view)
        seen = other.project(places, side)
        flat = seen[:, :2] / seen[:, 2:]
        visible = _visible(next_view, flat, seen[:, 2], side)
        first = picture[0].flatten(1).T.numpy()[np.isfinite(view.depths.numpy())]
        second = _sampled(next_picture, flat, side)
        total += float(np.square(first[visible] - second[visible]).sum())
        count += int(visible.sum()) * 3
    return math.sqrt(total / max(count, 1))


def seam_error(scene: MeshScene) -> float:
    """Mean difference of a texture's colours on both sides of the edges at which its charts are cut apart.

    Returns a difference of colours in [0, 1]; 0 without such edges.
    """
    total, count = 0.0, 0
    for surface in scene.mesh.surfaces:
        if surface.texture is None or surface.uv is None:
            continue
        pairs, _ = seams.cuts(surface.positions, surface.faces, surface.uv[surface.faces])
        if not len(pairs):
            continue
        along = (np.arange(_SAMPLES) + 0.5)[None, :, None] / _SAMPLES
        sides = [pairs[:, index, 0, None] * (1 - along) + pairs[:, index, 1, None] * along for index in (0, 1)]
        texture = scene.textures[surface.texture]
        colors = [seams.looked_up(texture, places.reshape(-1, 2)) for places in sides]
        total += float(np.abs(colors[0] - colors[1]).sum())
        count += colors[0].size
    return total / max(count, 1)


def _places(camera: Camera, view: Lookup) -> Floats:
    """Where in space the covered pixels' places lie, `(P, 3)`."""
    depths = view.depths.numpy().astype(np.float64)
    seen = np.isfinite(depths)
    rays = camera.rays(view.sides[0])[seen]
    places: Floats = camera.eye + rays * (depths[seen] / (rays @ camera.axes[2]))[:, None]
    return places


def _visible(view: Lookup, flat: Floats, depths: Floats, side: int) -> np.ndarray:
    """Which places another view shows: within it, and not behind what it shows there or beside it."""
    inside = ((flat >= 1) & (flat < side - 1)).all(1) & (depths > 0)
    columns, rows = (np.clip(flat[:, axis].astype(np.int64), 1, side - 2) for axis in (0, 1))
    shown = view.depths.numpy().reshape(side, side)
    gaps = np.stack(
        [np.abs(shown[rows + down, columns + right] - depths) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    )
    return np.asarray(inside & (gaps.max(0) < _HIDDEN * np.abs(depths)))


def _sampled(picture: Tensor, flat: Floats, side: int) -> Floats:
    places = torch.from_numpy(2 * flat / side - 1).to(picture)[None, None]
    found = F.grid_sample(picture, places, mode="bilinear", padding_mode="border", align_corners=False)
    colors: Floats = found[0, :, 0].T.double().numpy()
    return colors


def _mean(view: Lookup, colors: Tensor) -> Tensor:
    return view.render(colors).sum((0, 2, 3)) / view.cover.sum().clamp_min(1e-6)
