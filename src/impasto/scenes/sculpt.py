"""Sculpts painted meshes: vertices move along their normals, within a bound, until light on them suits the painting.

A view is the painted surface lit from the eye's upper left, over a backdrop. The style loss of that picture moves
vertices through the shading, whose normals they give, and through the soft silhouette; the silhouette as it was and a
Laplacian keep the shape. Which triangle a pixel shows is found anew in each step and not differentiated.

Paper: arXiv:1711.07566 (Kato et al. 2018, Neural 3D Mesh Renderer), section 4.2; departs from it in that the silhouette
is soft (see `silhouettes`), that vertices move along normals alone, and that colours are painted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import OnProgress, ignore
from impasto.errors import InputError, ResourceError
from impasto.optim.descent import Score, descend
from impasto.optim.schedule import Schedule
from impasto.optim.surfaces import Rotation, colors_of
from impasto.scenes.cameras import Camera
from impasto.scenes.meshes import welded
from impasto.scenes.rasterise import Floats, Indices, Raster, rasterise
from impasto.scenes.scene import MeshScene, Scene
from impasto.scenes.silhouettes import soft_silhouette

MOST_FACES = 20_000
MOST_BOUND = 0.1  # of the model's size
VIEWS = 8
ROUNDS = 6  # steps for each view
_RATE = 0.06  # of Adam, in bounds
_SILHOUETTE = 10.0
_LAPLACIAN = 3.0
_DARK = 0.35  # light where no light falls
_LIGHT = (-0.45, -0.6, -1.0)  # towards it: left, up, to the eye
_AROUND = 7  # pixels beside the model from which its edge takes colours

ScoreOf = Callable[[Tensor, Tensor], Score]
"""The style loss of a view: of its content `(1, 3, H, W)` and what counts of it `(1, 1, H, W)`."""


def check_sculptable(scene: Scene) -> None:
    """Refuse what cannot be sculpted.

    Raises:
        InputError: it is no mesh seen from outside, or its file cannot hold moved vertices.
        ResourceError: it has too many triangles.
    """
    if not isinstance(scene, MeshScene) or scene.inside:
        raise InputError("--sculpt is for meshes that are seen from outside", "leave it out")
    surfaces = scene.mesh.surfaces
    count = sum(len(one.faces) for one in surfaces)
    if count > MOST_FACES:
        raise ResourceError(
            f"the model has {count:,} triangles; --sculpt takes at most {MOST_FACES:,}",
            "simplify it, or leave out --sculpt",
        )
    if any(one.packed for one in surfaces):
        raise InputError("the model is compressed by Draco, and --sculpt would have to change it", "export it without")
    if len({one.key for one in surfaces}) < len(surfaces):
        raise InputError("the model shows one mesh in several places, so --sculpt cannot move it", "export it as one")


def sculpted(
    scene: MeshScene, score_of: ScoreOf, side: int, *, bound: float, seed: int = 0, on_progress: OnProgress = ignore
) -> tuple[MeshScene, tuple[Mapping[str, float], ...]]:
    """The scene with its vertices moved, and the losses of each step.

    Args:
        scene: painted; see `check_sculptable`.
        score_of: makes the style loss of each view.
        side: of a view in pixels.
        bound: how far a vertex may move, as a share of the model's size.
        seed: of the directions of the views.
        on_progress: called after each step; may cancel.
    """
    cameras = scene.cameras(VIEWS, seed)
    rotation = Rotation([(index,) for index in range(VIEWS)])
    canvas = SculptCanvas(scene, cameras, side, rotation, bound=bound)
    score = _SculptScore(canvas, score_of, rotation)
    schedule = Schedule(ROUNDS * VIEWS, "adam", _RATE)
    result = descend(canvas, score, schedule, stage="sculpting", on_progress=on_progress)
    return canvas.scene(), result.losses


@dataclass(frozen=True, eq=False)
class Skin:
    """Vertices of all surfaces as one skin without cuts.

    Attributes:
        places: `(N, 3)`, of what is one vertex in space.
        owners: `(V,)`, which of them each vertex of a surface is.
        faces: `(F, 3)`, of places.
        counts: vertices of each surface.
    """

    places: Floats
    owners: Indices
    faces: Indices
    counts: tuple[int, ...]

    @classmethod
    def of(cls, scene: MeshScene) -> Skin:
        """The skin of a scene."""
        positions = np.concatenate([one.positions for one in scene.mesh.surfaces])
        counts = tuple(len(one.positions) for one in scene.mesh.surfaces)
        starts = np.cumsum([0, *counts])
        faces = np.concatenate([one.faces + start for one, start in zip(scene.mesh.surfaces, starts, strict=False)])
        owners = welded(positions)
        places = np.zeros((int(owners.max()) + 1, 3))
        places[owners] = positions
        return cls(places, owners, owners[faces], counts)

    @cached_property
    def edges(self) -> Indices:
        """`(E, 2)`, pairs of neighbours, each once."""
        pairs = np.concatenate([self.faces[:, [first, (first + 1) % 3]] for first in range(3)])
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        found: Indices = np.unique(np.sort(pairs, 1), axis=0)
        return found

    def positions(self, places: Floats) -> list[Floats]:
        """Those of each surface."""
        return np.split(places[self.owners], np.cumsum(self.counts)[:-1])


class SculptCanvas:
    """Vertices of a mesh as views show them.

    Rendered are the picture and the soft silhouette of the current view, `(1, 4, H, W)`.

    Args:
        scene: a painted mesh.
        cameras: from where it is looked at.
        side: of a view in pixels.
        rotation: which view is rendered.
        bound: how far vertices may move, as a share of the model's size.
    """

    bounded = False

    def __init__(
        self, scene: MeshScene, cameras: Sequence[Camera], side: int, rotation: Rotation, *, bound: float
    ) -> None:
        self._scene, self._cameras, self._side, self._rotation = scene, tuple(cameras), side, rotation
        self._skin = Skin.of(scene)
        self._places = torch.from_numpy(self._skin.places)
        self._faces = torch.from_numpy(self._skin.faces)
        self._normals = vertex_normals(self._places, self._faces)
        self._reach = bound * float(np.ptp(self._skin.places, axis=0).max())
        self._colors = colors_of(scene.textures, scene.sheets)
        self._moves = torch.zeros(len(self._places), requires_grad=True)
        self._edges = torch.from_numpy(self._skin.edges)
        self._degrees = torch.bincount(self._edges.flatten(), minlength=len(self._places)).clamp_min(1)

    def parameters(self) -> Sequence[Tensor]:
        """How far each place moves along its normal, in bounds."""
        return [self._moves]

    @torch.no_grad()
    def project(self) -> None:
        """Keep within the bound."""
        self._moves.clamp_(-1, 1)

    def render(self) -> Tensor:
        """The current view."""
        (index,) = self._rotation.current
        return self.view(self._cameras[index], self._moved())

    def views_before(self) -> list[Tensor]:
        """All views of the mesh as it was."""
        with torch.no_grad():
            return [self.view(camera, self._places) for camera in self._cameras]

    def laplacian(self) -> Tensor:
        """How far moves differ from the mean of their neighbours', squared, mean over the vertices."""
        first, second = self._edges.T
        total = self._moves.new_zeros(len(self._moves))
        total = total.index_add(0, first, self._moves[second]).index_add(0, second, self._moves[first])
        return (self._moves - total / self._degrees).square().mean()

    def scene(self) -> MeshScene:
        """The scene with its vertices moved."""
        return self._scene.moved(self._skin.positions(self._moved().detach().numpy()))

    def _moved(self) -> Tensor:
        return self._places + self._reach * self._moves.double()[:, None] * self._normals

    def view(self, camera: Camera, places: Tensor) -> Tensor:
        """Picture and silhouette `(1, 4, H, W)` of a skin whose vertices are at `places (N, 3)`."""
        side, skin = self._side, self._skin
        solid = places.detach().numpy()
        raster, lookup = self._scene.drawn(camera, side, solid[skin.owners])
        albedo = lookup.render(self._colors)
        covered = np.zeros(side * side, bool)
        covered[raster.pixels] = True
        seen = _projected(places, camera, side)
        cover = soft_silhouette(seen, skin.faces, covered.reshape(side, side)).float()
        light = _shading(places, self._faces, raster, camera).float()
        lit = albedo.flatten(2)[0].index_select(1, torch.from_numpy(raster.pixels)) * light
        picture = lit.new_zeros(3, side * side).index_copy(1, torch.from_numpy(raster.pixels), lit)
        picture, hard = picture.view(1, 3, side, side), torch.from_numpy(covered).view(1, 1, side, side).float()
        backdrop = (picture.sum((2, 3), keepdim=True) / hard.sum().clamp_min(1)).detach()
        shown = cover * _extended(picture, hard) + (1 - cover) * backdrop
        return torch.cat((shown, cover), 1)


class _SculptScore:
    """Style and silhouette of the current view, and the Laplacian; after it the rotation goes on."""

    def __init__(self, canvas: SculptCanvas, score_of: ScoreOf, rotation: Rotation) -> None:
        self._canvas, self._rotation = canvas, rotation
        self._before = canvas.views_before()
        size = 2 * _AROUND + 1
        self._scores = [
            score_of(view[:, :3].clamp(0, 1), (F.max_pool2d(view[:, 3:], size, 1, _AROUND) > 0).float())
            for view in self._before
        ]

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """See `Score`. The Laplacian's gradient does not pass through the image and is left in the parameters."""
        (index,) = self._rotation.current
        losses, slope = self._scores[index](image[:, :3].contiguous())
        leaf = image[:, 3:].detach().requires_grad_()
        kept = _SILHOUETTE * silhouette_loss(leaf, self._before[index][:, 3:])
        smooth = _LAPLACIAN * self._canvas.laplacian()
        (kept + smooth).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        self._rotation.advance()
        own = {"silhouette": kept.detach(), "laplacian": smooth.detach()}
        return {**losses, **own}, torch.cat((slope.to(image), leaf.grad), 1)


@torch.no_grad()
def light_on(scene: MeshScene, camera: Camera, side: int) -> Tensor:
    """How light each pixel of a view is, `(1, 1, side, side)`, 1 in the mean and where nothing is."""
    skin = Skin.of(scene)
    raster = rasterise(camera.project(skin.places, side), skin.faces, (side, side))
    light = torch.ones(side * side, dtype=torch.float64)
    light[torch.from_numpy(raster.pixels)] = _shading(
        torch.from_numpy(skin.places), torch.from_numpy(skin.faces), raster, camera
    )
    return light.view(1, 1, side, side).float()


def silhouette_loss(cover: Tensor, target: Tensor) -> Tensor:
    """Squared difference of two soft silhouettes `(1, 1, H, W)`, as a share of what the target covers.

    Departs from the paper's intersection over union (eq. 5), which is not least where two soft ones are equal.
    """
    loss: Tensor = (cover - target).square().sum() / target.sum().clamp_min(1e-6)
    return loss


def vertex_normals(places: Tensor, faces: Tensor) -> Tensor:
    """Normals `(N, 3)` of length 1, of triangles `(F, 3)` around each place, weighted by their areas."""
    corners = places[faces]
    own = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(places).index_add(0, faces.flatten(), own.repeat_interleave(3, 0))
    normals: Tensor = total / total.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return normals


def _projected(places: Tensor, camera: Camera, side: int) -> Tensor:
    """`(N, 2)` in pixels, as `Camera.project`, differentiable."""
    seen = (places - torch.from_numpy(camera.eye)) @ torch.from_numpy(camera.axes).T
    return side * (camera.focal * seen[:, :2] / seen[:, 2:] + torch.tensor(camera.middle, dtype=torch.float64))


def _shading(places: Tensor, faces: Tensor, raster: Raster, camera: Camera) -> Tensor:
    """Light `(P,)` on the covered pixels, 1 in the mean, which is no way to move it."""
    light = light_of(places, faces, raster, camera)
    return light / light.mean().detach().clamp_min(1e-6)


def light_of(places: Tensor, faces: Tensor, raster: Raster, camera: Camera) -> Tensor:
    """Light `(P,)` on the covered pixels of triangles `(F, 3)` of `places (N, 3)`, by Lambert's cosine."""
    weights, shown = torch.from_numpy(raster.weights), faces[torch.from_numpy(raster.faces)]
    normals = (vertex_normals(places, faces)[shown] * weights[:, :, None]).sum(1)
    normals = normals / normals.norm(dim=1, keepdim=True).clamp_min(1e-12)
    towards = torch.tensor(_LIGHT, dtype=torch.float64) @ torch.from_numpy(camera.axes)
    away = torch.from_numpy(camera.rays(raster.sides[0])[raster.pixels])
    faced = -torch.sign((normals * away).sum(1)).detach()  # both sides of a triangle are seen
    light: Tensor = _DARK + (1 - _DARK) * (faced * (normals @ towards) / towards.norm()).clamp_min(0)
    return light


def _extended(picture: Tensor, hard: Tensor) -> Tensor:
    """The picture, a little beyond what is covered in the colours beside."""
    size = 2 * _AROUND + 1
    around = F.avg_pool2d(picture, size, 1, _AROUND)
    share = F.avg_pool2d(hard, size, 1, _AROUND)
    return torch.where(hard > 0, picture, around / share.clamp_min(1e-6))
