"""How well scenes are painted: style over unseen views, agreement between neighbours, seams, time and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from impasto.contract import Placement
from impasto.memory import PeakMemory
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.scenes import measures
from impasto.scenes.paint import PaintedScene
from impasto.scenes.scene import MeshScene, Scene

_AROUND = 24  # views of the ring whose neighbours are compared, 15 degrees apart
_UNSEEN = 8


def rows(
    scene: Scene,
    painting: Tensor,
    paint: Callable[[Scene], PaintedScene],
    paint_view: Callable[[Tensor], Tensor],
    *,
    weights: Any,
    side: int,
    alone: int,
) -> list[dict[str, Any]]:
    """One row of a scene painted as a whole; its columns `alone` are of some views painted each by itself.

    Args:
        scene: what is painted.
        painting: the style, `(1, 3, H, W)`.
        paint: paints the scene.
        paint_view: paints a picture `(1, 3, side, side)`, to compare with.
        weights: of VGG-19, for the style distance.
        side: of the views that are scored, in pixels.
        alone: how many neighbouring views are painted by themselves; 0 for none.
    """
    with PeakMemory() as memory:
        result = paint(scene)
    encoder = Encoder(VGG19, weights, Placement())
    unseen = scene.ring(_UNSEEN)
    distances = [measures.style_distance(one, unseen, side, painting, encoder) for one in (scene, result.scene)]
    cameras = scene.ring(_AROUND)
    views = measures.views_of(result.scene, cameras, side)
    row: dict[str, Any] = {
        "method": result.record["method"],
        "quality": result.record["quality"],
        "view": result.record["scene"]["size"],
        "views": result.record["scene"]["views"],
        "seconds": result.seconds,
        "peak_mb": None if memory.resident is None else memory.resident / 1e6,
        "style_before": distances[0],
        "style_after": distances[1],
        "disagreement": measures.disagreement(scene, cameras, views, side),
        "seams_before": measures.seam_error(scene) if isinstance(scene, MeshScene) else None,
        "seams": measures.seam_error(result.scene) if isinstance(result.scene, MeshScene) else None,
    }
    if alone > 1:
        some = cameras[:alone]
        with torch.no_grad():
            originals = measures.views_of(scene, some, side)
        pictures = [paint_view(picture).float().cpu() for picture in originals]
        row["disagreement_alone"] = measures.disagreement(scene, some, pictures, side)
        row["disagreement_same"] = measures.disagreement(scene, some, views[:alone], side)
    return [row]
