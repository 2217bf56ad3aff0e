"""Sculpting: the soft silhouette and light against references and finite differences, and files with moved vertices."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from impasto.engine.request import Request
from impasto.errors import InputError, ResourceError
from impasto.optim.surfaces import Rotation
from impasto.scenes import sculpt
from impasto.scenes.cameras import Camera
from impasto.scenes.files import ModelSettings, open_scene
from impasto.scenes.meshes import Mesh, Surface, turned_normals, welded
from impasto.scenes.paint import SceneSettings, paint_scene
from impasto.scenes.rasterise import rasterise
from impasto.scenes.scene import MeshScene
from impasto.scenes.silhouettes import signed_distances, soft_silhouette
from tiny import noise

SIDE = 32


def mesh_scene(mesh):
    """A mesh of trimesh as a scene with colours of vertices."""
    colors = np.full((len(mesh.vertices), 3), 0.6, np.float32)
    surface = Surface((0,), np.array(mesh.vertices), np.array(mesh.faces), colors=colors)
    return MeshScene(Mesh((surface,), (), file=None))


def triangles(seed=1, count=4, side=24):
    generator = np.random.default_rng(seed)
    flat = generator.uniform(3, side - 3, (3 * count, 2))
    return flat, np.arange(3 * count).reshape(-1, 3)


def covered(flat, faces, side):
    points = np.concatenate((flat, np.ones((len(flat), 1))), 1)
    found = np.zeros(side * side, bool)
    found[rasterise(points, faces, (side, side)).pixels] = True
    return found.reshape(side, side)


def slow_cover(flat, faces, x, y):
    """One pixel of all triangles, each by its distance, as the paper has it."""
    left = 1.0
    for corners in flat[faces]:
        place, nearest, signs = np.array([x, y]), np.inf, []
        for first, second in zip(corners, np.roll(corners, -1, 0), strict=True):
            along = second - first
            share = np.clip((place - first) @ along / (along @ along), 0, 1)
            nearest = min(nearest, np.linalg.norm(place - first - share * along))
            signs.append(np.sign(along[0] * (place - first)[1] - along[1] * (place - first)[0]))
        distance = nearest if abs(sum(signs)) == 3 else -nearest
        left *= 1 - 1 / (1 + np.exp(-distance / 0.6))
    return 1 - left


def test_the_silhouette_is_soft_near_the_outline_and_that_of_the_slow_way():
    flat, faces = triangles()
    hard = covered(flat, faces, 24)
    soft = soft_silhouette(torch.from_numpy(flat), faces, hard)[0, 0].numpy()
    between = 0
    for y in range(24):
        for x in range(24):
            expected = slow_cover(flat, faces, x + 0.5, y + 0.5)
            if 0.01 < soft[y, x] < 0.99:
                between += 1
                assert soft[y, x] == pytest.approx(expected, abs=6e-3)  # triangles beyond reach are left out
            else:
                assert soft[y, x] == pytest.approx(expected, abs=0.02)
    assert between > 60


def test_no_edge_within_shows_far_from_the_outline():
    square = np.array([[2.0, 2], [30, 2], [30, 30], [2, 30]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    soft = soft_silhouette(torch.from_numpy(square), faces, covered(square, faces, 32))
    assert soft[0, 0, 8:24, 8:24].min() == 1


def test_gradients_of_the_silhouette_are_those_of_finite_differences():
    flat, faces = triangles(seed=5, count=2, side=14)
    hard = covered(flat, faces, 14)
    leaf = torch.from_numpy(flat).requires_grad_()
    assert torch.autograd.gradcheck(lambda own: soft_silhouette(own, faces, hard), (leaf,))


def test_distances_are_positive_within():
    corners = torch.tensor([[[0.0, 0], [4, 0], [0, 4]]], dtype=torch.float64).expand(3, 3, 2)
    places = torch.tensor([[1.0, 1], [-3, -4], [2, -1]], dtype=torch.float64)
    torch.testing.assert_close(signed_distances(corners, places), torch.tensor([1.0, -5, -1], dtype=torch.float64))


def test_gradients_of_light_are_those_of_finite_differences():
    mesh = trimesh.creation.icosphere(subdivisions=1)
    camera = Camera.at(np.array([0.4, 0.3, 5.0]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    faces = torch.from_numpy(np.array(mesh.faces))
    raster = rasterise(camera.project(np.array(mesh.vertices), 12), np.array(mesh.faces), (12, 12))
    leaf = torch.from_numpy(np.array(mesh.vertices)).requires_grad_()

    mean = sculpt._shading(leaf, faces, raster, camera).detach()
    assert 0.3 < mean.min() < 0.9 < mean.max() < 1.6
    towards = torch.rand(len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad((sculpt.light_of(leaf, faces, raster, camera) * towards).sum(), leaf)
    step = torch.rand(leaf.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    ends = [
        (sculpt.light_of(leaf.detach() + sign * 1e-6 * step, faces, raster, camera) * towards).sum() for sign in (1, -1)
    ]
    assert float((slope * step).sum()) == pytest.approx(float(ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_a_ball_grows_to_the_silhouette_of_a_larger_one():
    small, large = (mesh_scene(trimesh.creation.icosphere(subdivisions=1, radius=radius)) for radius in (1.0, 1.06))
    rotation = Rotation([(index,) for index in range(4)])
    cameras = small.cameras(4, 0)
    canvas = sculpt.SculptCanvas(small, cameras, 48, rotation, bound=0.05)
    targets = [view[:, 3:] for view in sculpt.SculptCanvas(large, cameras, 48, rotation, bound=0.05).views_before()]
    (moves,) = canvas.parameters()
    optimizer = torch.optim.Adam([moves], lr=0.06)
    for step in range(28):
        optimizer.zero_grad()
        loss = sculpt.silhouette_loss(canvas.render()[:, 3:], targets[step % 4]) + 0.05 * canvas.laplacian()
        loss.backward()
        optimizer.step()
        canvas.project()
        rotation.advance()
    radii = np.linalg.norm(canvas.scene().mesh.points, axis=1)
    assert radii.mean() == pytest.approx(1.06, abs=0.015)
    assert radii.max() < 1.1 + 1e-6  # the bound, of a size of 2


def test_the_laplacian_is_none_where_all_move_alike():
    scene = mesh_scene(trimesh.creation.icosphere(subdivisions=1))
    canvas = sculpt.SculptCanvas(scene, scene.cameras(2, 0), SIDE, Rotation([(0,), (1,)]), bound=0.05)
    (moves,) = canvas.parameters()
    for values, expected in ((torch.full_like(moves, 0.7), 0.0), (torch.randn(len(moves)), 0.5)):
        with torch.no_grad():
            moves.copy_(values)
        assert (float(canvas.laplacian().detach()) > expected) is (expected > 0)


def test_normals_follow_and_sharp_edges_stay_sharp():
    cube = trimesh.creation.box()
    faces = np.arange(36).reshape(-1, 3)
    points, known = cube.triangles.reshape(-1, 3), np.repeat(cube.face_normals, 3, 0)
    tilted = points + points[:, [1]] * [0, 0, 0.4]
    expected = np.repeat(trimesh.Trimesh(tilted, faces, process=False).face_normals, 3, 0)
    np.testing.assert_allclose(turned_normals(points, tilted, known, faces), expected, atol=1e-9)
    np.testing.assert_allclose(turned_normals(points, tilted, -known, faces), -expected, atol=1e-9)
    ball = trimesh.creation.icosphere(subdivisions=2)
    smooth = turned_normals(ball.vertices, 2 * ball.vertices, np.array(ball.vertices), np.array(ball.faces))
    np.testing.assert_allclose(smooth, ball.vertices, atol=0.03)


def cut_ball():
    """A ball whose texture is cut: several vertices of its file are at one place."""
    mesh = trimesh.creation.icosphere(subdivisions=1)
    points, faces = mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3)
    uv = np.tile([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]], (len(faces), 1))
    return points, faces, uv


@pytest.fixture
def models(tmp_path):
    """The same ball as .glb, turned and moved by a node, as .obj and as .ply; each with smooth normals."""
    points, faces, uv = cut_ball()
    mesh = trimesh.Trimesh(points, faces, vertex_normals=points, process=False)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv)
    scene = trimesh.Scene()
    turn = trimesh.transformations.compose_matrix(angles=[0.3, 0.5, 0.1], translate=[1, 2, 3], scale=[2, 2, 2])
    scene.add_geometry(mesh, transform=turn)
    (tmp_path / "ball.glb").write_bytes(scene.export(file_type="glb", include_normals=True))
    lines = ["v " + " ".join(map(str, row)) for row in points] + ["vn " + " ".join(map(str, row)) for row in points]
    lines += [f"vt {u} {1 - v}" for u, v in uv]
    lines += ["f " + " ".join(f"{index + 1}/{index + 1}/{index + 1}" for index in face) for face in faces]
    (tmp_path / "ball.obj").write_text("\n".join(lines) + "\n")
    names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n{names}element face {len(faces)}\n"
    rows = [" ".join(map(str, (*row, *row))) for row in points]
    rows += [" ".join(map(str, (3, *face))) for face in faces.tolist()]
    text = head + "property list uchar int vertex_indices\nend_header\n" + "\n".join(rows) + "\n"
    (tmp_path / "ball.ply").write_text(text)
    return tmp_path


def read_by_another(path):
    """Where trimesh has the one mesh of a file, and that mesh in its own space."""
    scene = trimesh.load_scene(path, process=False, maintain_order=True)
    (node,) = scene.graph.nodes_geometry
    matrix, name = scene.graph[node]
    return np.asarray(matrix), scene.geometry[name]


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_moved_vertices_and_their_normals_are_written(models, kind):
    scene = open_scene(models / f"ball.{kind}", ModelSettings(texture_size=16), on_note=lambda _: None)
    assert len(scene.mesh.surfaces) == 1
    surface = scene.mesh.surfaces[0]
    middle = (scene.mesh.points.max(0) + scene.mesh.points.min(0)) / 2
    stretched = middle + (surface.positions - middle) * [1, 1.5, 1]
    scene.moved([stretched]).painted(scene.textures).write(models / f"out.{kind}")
    again = open_scene(models / f"out.{kind}", ModelSettings(texture_size=16), on_note=lambda _: None)
    np.testing.assert_allclose(again.mesh.surfaces[0].positions, stretched, atol=1e-5)
    np.testing.assert_array_equal(again.mesh.surfaces[0].faces, surface.faces)
    matrix, loaded = read_by_another(models / f"out.{kind}")
    corners = np.asarray(loaded.vertices)[loaded.faces] @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(corners, stretched[surface.faces], atol=1e-5)
    normals = (
        np.asarray(loaded.vertex_normals)[loaded.faces] @ matrix[:3, :3].T / np.cbrt(np.linalg.det(matrix[:3, :3]))
    )
    places = welded(corners.reshape(-1, 3))
    own = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((places.max() + 1, 3))
    np.add.at(total, places, own.repeat(3, 0))
    total /= np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(normals.reshape(-1, 3), total[places], atol=2e-3)


def test_an_atlas_and_moved_vertices_are_written_together(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    lines = ["v " + " ".join(map(str, row)) for row in mesh.vertices]
    lines += ["vn " + " ".join(map(str, row)) for row in mesh.vertices]
    lines += ["f " + " ".join(f"{index + 1}//{index + 1}" for index in face) for face in mesh.faces]
    (tmp_path / "plain.obj").write_text("\n".join(lines))
    (tmp_path / "plain.glb").write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    for name in ("plain.obj", "plain.glb"):
        scene = open_scene(tmp_path / name, ModelSettings(texture_size=32))
        larger = [1.25 * one.positions for one in scene.mesh.surfaces]
        scene.moved(larger).painted(scene.textures).write(tmp_path / f"out-{name}")
        again = open_scene(tmp_path / f"out-{name}")
        assert again.mesh.surfaces[0].texture == 0
        np.testing.assert_allclose(np.linalg.norm(again.mesh.points, axis=1), 1.25, atol=1e-5)
        assert len(again.mesh.surfaces[0].faces) == len(mesh.faces)


# --- as a whole ------------------------------------------------------------------------------------------------------


def test_a_sculpted_scene_has_moved_within_its_bound_and_without_a_crack(engine, models, monkeypatch):
    monkeypatch.setattr(sculpt, "ROUNDS", 2)
    monkeypatch.setattr(sculpt, "VIEWS", 2)
    scene = open_scene(models / "ball.obj", ModelSettings(texture_size=32))
    settings = SceneSettings(size=64, views=2, sculpt=0.05)
    request = Request(quality="good", knobs={"steps": 1})
    result = paint_scene(engine, scene, noise(64, 64, seed=5), request, settings)
    before, after = (one.mesh.surfaces[0].positions for one in (scene, result.scene))
    moved = np.linalg.norm(after - before, axis=1)
    assert 1e-3 < moved.max() <= 0.05 * 2 + 1e-6
    for same in range(welded(before).max() + 1):
        np.testing.assert_allclose(np.ptp(after[welded(before) == same], axis=0), 0, atol=1e-9)
    assert {"silhouette", "laplacian", "style"} <= set(result.losses[-1])
    assert result.record["scene"]["sculpt"] == 0.05


def test_what_cannot_be_sculpted_is_refused(models):
    scene = open_scene(models / "ball.glb", ModelSettings(texture_size=16))
    sculpt.check_sculptable(scene)
    (surface,) = scene.mesh.surfaces
    for changed, told in (
        (replace(scene, inside=True), "seen from outside"),
        (replace(scene, mesh=replace(scene.mesh, surfaces=(replace(surface, packed=True),))), "Draco"),
        (replace(scene, mesh=replace(scene.mesh, surfaces=(surface, surface))), "several places"),
    ):
        with pytest.raises(InputError, match=told):
            sculpt.check_sculptable(changed)
    many = replace(surface, faces=np.tile(surface.faces, (251, 1)))
    with pytest.raises(ResourceError, match="20,080 triangles"):
        sculpt.check_sculptable(replace(scene, mesh=replace(scene.mesh, surfaces=(many,))))
    for share in (-0.1, 0.2, float("nan")):
        with pytest.raises(InputError, match="sculpt is"):
            SceneSettings(sculpt=share)


def test_tangents_are_left_out_of_what_has_moved(models):
    scene = open_scene(models / "ball.glb", ModelSettings(texture_size=16))
    file = scene.mesh.file
    primitive = file.document["meshes"][0]["primitives"][0]
    primitive["attributes"]["TANGENT"] = primitive["attributes"]["POSITION"]
    (surface,) = scene.mesh.surfaces
    data = file.painted(replace(scene.moved([surface.positions]).mesh.paint, textures=scene.mesh.textures))
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert "TANGENT" not in document["meshes"][0]["primitives"][0]["attributes"]
    assert "TANGENT" in primitive["attributes"]
