"""Shows scenes to people: pictures from eight sides, a turntable, and a page that needs no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import InputError
from impasto.files import write_whole
from impasto.optim.surfaces import colors_of
from impasto.scenes import gltf
from impasto.scenes.cameras import Camera
from impasto.scenes.meshes import Surface
from impasto.scenes.points import PointScene
from impasto.scenes.scene import MeshScene, Scene
from impasto.scenes.sculpt import light_on

if TYPE_CHECKING:
    from impasto.assets import Store

SIDES = 8
LIBRARY = "model-viewer"
_PAPER = (0.93, 0.93, 0.92)
_FINER = 2  # times the size that is drawn, so that edges are smooth


def pictures(scene: Scene, cameras: list[Camera], side: int, *, lit: bool = False) -> Iterator[NDArray[np.float32]]:
    """Views `(side, side, 3)` in [0, 1], one after the other; of meshes, with light on them."""
    colors, paper = colors_of(scene.textures, scene.sheets), torch.tensor(_PAPER)
    for camera in cameras:
        view = scene.look(camera, _FINER * side)
        large = view.render(colors, paper)
        if lit and isinstance(scene, MeshScene):
            large = torch.lerp(large, large * light_on(scene, camera, _FINER * side), view.cover)
        yield images.from_tensor(torch.nn.functional.avg_pool2d(large, _FINER).clamp(0, 1))


def sheet(
    before: Scene, after: Scene, side: int = 288, *, lit: bool = False, on_progress: OnProgress = ignore
) -> NDArray[np.float32]:
    """Eight views before and the same after, `(H, W, 3)` in [0, 1]; `lit` with light on meshes."""
    cells = []
    for name, scene in (("before", before), ("after", after)):
        for index, pixels in enumerate(pictures(scene, scene.ring(SIDES), side, lit=lit)):
            on_progress(Progress(f"drawing {name}", index, SIDES, unit="view"))
            cells.append((pixels, f"{name}, {360 * index // SIDES} degrees"))
    return images.contact_sheet(cells, columns=SIDES // 2, cell=side, lines=1)


def write_turntable(
    scene: Scene,
    path: Path,
    *,
    side: int = 512,
    seconds: float = 6.0,
    rate: int = 25,
    lit: bool = False,
    on_progress: OnProgress = ignore,
) -> None:
    """A film that goes once round, which can be shown in a loop; `lit` with light on meshes.

    Raises:
        InputError: it cannot be written there.
        MissingExtra: PyAV is not installed.
    """
    from impasto.videos import VideoWriter

    count = round(seconds * rate)
    with VideoWriter(path, rate=rate) as writer:
        for index, pixels in enumerate(pictures(scene, scene.ring(count), side, lit=lit)):
            on_progress(Progress("drawing the turntable", index, count, unit="frame"))
            writer.write(pixels)


def write_viewer(
    before: Scene,
    after: Scene,
    path: Path,
    store: Store,
    *,
    title: str,
    lit: bool = False,
    on_progress: OnProgress,
) -> None:
    """One page that shows a scene from all sides, before and after, without a network; `lit` with light on meshes.

    Raises:
        InputError: it is no mesh and no points, or cannot be written there.
        AssetError: the library cannot be fetched.
    """
    check_viewable(before)
    store.path(LIBRARY, on_progress)
    library = store.file(LIBRARY, "model-viewer.min.js").read_text(encoding="utf-8")
    page = resources.files(__package__).joinpath("viewer.html").read_text(encoding="utf-8")
    filled = {
        "TITLE": html.escape(title),
        "BEFORE": base64.b64encode(_as_glb(before, lit)).decode(),
        "AFTER": base64.b64encode(_as_glb(after, lit)).decode(),
        "LIBRARY": library.replace("</script", "<\\/script"),
    }
    for name, text in filled.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    write_whole(path, page)


def check_viewable(scene: Scene) -> None:
    """Refuse what a page does not show. Raises InputError."""
    if not isinstance(scene, MeshScene | PointScene):
        raise InputError("a page shows meshes and points", "leave out --viewer, and use --turntable")


def _as_glb(scene: Scene, lit: bool) -> bytes:
    if isinstance(scene, MeshScene):
        mesh = scene.mesh
        own = [None if one.texture is not None else _vertex_colors(scene, one) for one in mesh.surfaces]
        return gltf.plain(mesh.surfaces, mesh.textures, own, lit=lit)
    assert isinstance(scene, PointScene)  # see `check_viewable`
    middle = (scene.points.min(0) + scene.points.max(0)) / 2
    points = (scene.points - middle) / scene.radius
    if scene.up[2]:
        points = points[:, [0, 2, 1]] * [1, 1, -1]
    return gltf.plain([Surface((0,), points, np.zeros((0, 3), np.int64))], [], [scene.colors])


def _vertex_colors(scene: MeshScene, surface: Surface) -> NDArray[np.float32]:
    keys = list(dict.fromkeys(one.key for one in scene.mesh.surfaces if one.texture is None))
    texture = scene.textures[len(scene.mesh.textures) + keys.index(surface.key)]
    return np.ascontiguousarray(texture[0, :, 0].T.numpy())
