"""What holds of every kind of scene: its views are lookups that can be descended, and its colours go out and in."""

import math

import numpy as np
import pytest
import torch
import trimesh

from impasto import images
from impasto.bench import models
from impasto.optim.surfaces import Rotation, TextureCanvas, colors_of
from impasto.scenes.files import ModelSettings, open_scene
from impasto.scenes.panoramas import PanoramaScene

KINDS = ("texture", "vertices", "room", "points", "voxels", "panorama")
SIDE = 6


@pytest.fixture(params=KINDS)
def scene(request, tmp_path):
    """A small scene of each kind."""
    kind = request.param
    if kind == "panorama":
        pixels = np.random.default_rng(0).random((32, 64, 3), dtype=np.float32)
        images.write(images.read(pixels), tmp_path / "sphere.png")
        return PanoramaScene.read(tmp_path / "sphere.png")
    made = {"room": lambda: models.room(8), "points": lambda: models.points(60), "voxels": lambda: models.voxels(4)}
    suffix = {"points": ".ply", "voxels": ".npy"}.get(kind, ".glb")
    path = tmp_path / f"{kind}{suffix}"
    ball = trimesh.creation.icosphere(subdivisions=1)
    path.write_bytes(made[kind]() if kind in made else trimesh.Scene(ball).export(file_type="glb"))
    paint = "vertices" if kind == "vertices" else "auto"
    return open_scene(path, ModelSettings(paint=paint, texture_size=16, inside=kind == "room"), on_note=lambda _: None)


def doubled(scene):
    """Its textures in double precision, to be differentiated."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(texture.shape, dtype=torch.float64, generator=generator).requires_grad_()
        for texture in scene.textures
    ]


def test_gradients_of_each_lookup_are_those_of_finite_differences(scene):
    view = scene.look(scene.cameras(3, 0)[1], SIDE)
    textures = doubled(scene)
    weights = torch.rand(3 * SIDE * SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def total(*own):
        return (view.render(colors_of(own, scene.sheets), torch.full((3,), 0.4)).flatten() * weights).sum()

    assert torch.autograd.gradcheck(total, textures, fast_mode=True)


def test_spreading_is_the_adjoint_of_looking(scene):
    view = scene.look(scene.cameras(3, 0)[0], SIDE)
    count = sum(sheet.rows for sheet in scene.sheets)
    generator = torch.Generator().manual_seed(2)
    colors = torch.rand(2, count, dtype=torch.float64, generator=generator)
    values = torch.rand(2, SIDE * SIDE, dtype=torch.float64, generator=generator)
    there = (view.render(colors).flatten(2)[0] * values).sum()
    torch.testing.assert_close(there, (colors * view.spread(values, count)).sum())


def test_a_pixel_is_covered_at_most_once(scene):
    for camera in (*scene.cameras(3, 0), *scene.ring(2)):
        view = scene.look(camera, SIDE)
        assert (view.pixels[1:] >= view.pixels[:-1]).all()
        total = view.weights.new_zeros(SIDE * SIDE).index_add(0, view.pixels, view.weights)
        assert view.weights.min() >= 0
        assert total.max() <= 1 + 1e-5
        assert view.cover.mean() > 0.2


def test_a_descent_reaches_a_view_that_the_scene_can_show(scene):
    """The canvas is what `descend` moves: from grey, views come near those of the textures that made them."""
    views = [scene.look(camera, 24) for camera in scene.cameras(2, 0)]
    target = torch.cat([view.render(colors_of(scene.textures, scene.sheets)) for view in views])
    starts = [torch.full_like(texture, 0.5) for texture in scene.textures]
    canvas = TextureCanvas(starts, scene.sheets, views, Rotation([(0, 1)]))
    optimizer = torch.optim.Adam(canvas.parameters(), lr=0.05)
    errors = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = (canvas.render() - target).square().mean()
        loss.backward()
        errors.append(float(loss.detach()))
        optimizer.step()
        canvas.project()
    assert errors[-1] < 0.3 * errors[0]
    assert all(0 <= texture.min() <= texture.max() <= 1 for texture in canvas.textures())


def test_colours_go_out_and_in_again(scene, tmp_path):
    generator = torch.Generator().manual_seed(3)
    colors = [torch.rand(1, 3, 1, 1, generator=generator) for _ in scene.textures]
    if isinstance(scene, PanoramaScene):  # its faces blend into each other
        colors = colors[:1] * len(colors)
    smooth = [color.expand(texture.shape) for color, texture in zip(colors, scene.textures, strict=True)]
    out = tmp_path / f"out{scene.suffix}"
    scene.painted(smooth).write(out)
    if isinstance(scene, PanoramaScene):
        again = PanoramaScene.read(out)
    else:
        again = open_scene(out, ModelSettings(paint="vertices"), on_note=lambda _: None)
    assert [texture.shape for texture in again.textures] == [texture.shape for texture in scene.textures]
    for before, after in zip(smooth, again.textures, strict=True):
        torch.testing.assert_close(after, before, atol=0.02, rtol=0)


def test_the_same_seed_looks_from_the_same_sides(scene):
    first, second, other = (scene.cameras(4, seed) for seed in (5, 5, 6))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.axes, two.axes)
    assert any(not math.isclose(one.axes[0, 0], two.axes[0, 0]) for one, two in zip(first, other, strict=True)) or any(
        not np.allclose(one.eye, two.eye) for one, two in zip(first, other, strict=True)
    )
