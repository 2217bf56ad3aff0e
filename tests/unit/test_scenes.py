"""Scenes: files in and out with nothing but colours changed, and painting with tiny networks."""

import io
import json
import struct
import zipfile
from dataclasses import replace

import laspy
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from impasto import images
from impasto.bench import models
from impasto.contract import Progress
from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError, MissingExtra, ResourceError
from impasto.optim.surfaces import Sheet, colors_of, completed, weights_of
from impasto.scenes import gltf, measures, panoramas
from impasto.scenes.cameras import Camera
from impasto.scenes.files import ModelSettings, open_scene
from impasto.scenes.films import _held, paint_film
from impasto.scenes.meshes import Mesh, Surface
from impasto.scenes.paint import SceneSettings, paint_scene
from impasto.scenes.panoramas import PanoramaScene
from impasto.scenes.scene import MeshScene
from impasto.videos import VideoWriter, choose_coding
from tiny import noise

SMALL = SceneSettings(size=64, views=4)


def opened(path, **settings):
    notes = []
    return open_scene(path, ModelSettings(**settings), on_note=notes.append), notes


def ball(count=1):
    """A sphere with texture coordinates and a texture of stripes."""
    mesh = trimesh.creation.icosphere(subdivisions=count)
    across = np.arctan2(mesh.vertices[:, 0], mesh.vertices[:, 2]) / (2 * np.pi) + 0.5
    uv = np.stack((across, 0.5 + 0.45 * mesh.vertices[:, 1]), 1)
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::4] = [200, 40, 90]
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(stripes), name="stripes")
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return mesh


def glb_parts(data):
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[20 + size + 8 :]


def as_glb(document, body):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body += bytes(-len(body) % 4)
    parts = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(body), 0x004E4942) + body
    return struct.pack("<III", 0x46546C67, 2, 12 + len(parts)) + parts


@pytest.fixture
def glb(tmp_path):
    """A file with an animation, a moved node and notes of someone else's."""
    document, body = glb_parts(trimesh.Scene(ball()).export(file_type="glb"))
    document["nodes"][-1] |= {"translation": [1, 2, 3], "rotation": [0, 0.7071068, 0, 0.7071068]}
    document["nodes"][-1].pop("matrix", None)
    document["animations"] = [{"name": "turn", "channels": [], "samplers": []}]
    document["extras"] = {"theirs": "kept"}
    path = tmp_path / "ball.glb"
    path.write_bytes(as_glb(document, body))
    return path


def accessors(data):
    """All numbers of a file, by accessor."""
    document, body = glb_parts(data)
    found = []
    for one in document["accessors"]:
        view = document["bufferViews"][one["bufferView"]]
        start = view.get("byteOffset", 0) + one.get("byteOffset", 0)
        found.append(body[start : start + one["count"] * {"SCALAR": 4, "VEC2": 8, "VEC3": 12}[one["type"]]])
    return found


def changed(scene):
    """The same scene, its colours turned round."""
    return scene.painted([texture.flip(1) for texture in scene.textures])


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_glb_keeps_all_but_its_texture(glb, tmp_path):
    scene, notes = opened(glb)
    out = tmp_path / "out.glb"
    changed(scene).write(out)
    before, after = (glb_parts(path.read_bytes())[0] for path in (glb, out))
    for kept in ("nodes", "scenes", "animations", "extras", "meshes", "materials", "textures", "accessors"):
        assert after[kept] == before[kept]
    assert accessors(out.read_bytes()) == accessors(glb.read_bytes())
    loaded = trimesh.load(out)  # by another reader
    (geometry,) = loaded.geometry.values()
    pixels = np.asarray(geometry.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(pixels[0, 0], [90, 40, 200])
    assert notes == []


def test_nodes_are_where_the_scene_has_them(glb):
    scene, _ = opened(glb)
    expected = trimesh.load(glb).to_geometry()
    np.testing.assert_allclose(scene.mesh.points.mean(0), [1, 2, 3], atol=0.1)
    np.testing.assert_allclose(scene.mesh.points.min(0), expected.vertices.min(0), atol=1e-5)


def test_a_gltf_of_several_files_becomes_one_that_needs_none(glb, tmp_path):
    document, body = glb_parts(glb.read_bytes())
    (tmp_path / "data.bin").write_bytes(body)
    picture = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(picture, "JPEG")
    (tmp_path / "my picture.jpg").write_bytes(picture.getvalue())
    document["buffers"][0]["uri"] = "data.bin"
    document["images"] = [{"uri": "my%20picture.jpg"}]
    (tmp_path / "ball.gltf").write_text(json.dumps(document))
    scene, _ = opened(tmp_path / "ball.gltf")
    (tmp_path / "away").mkdir()
    scene.write(tmp_path / "away" / "out.gltf")
    written = json.loads((tmp_path / "away" / "out.gltf").read_text())
    assert written["images"][0]["mimeType"] == "image/jpeg"
    again, _ = opened(tmp_path / "away" / "out.gltf")
    assert again.textures[0].shape == (1, 3, 8, 8)
    np.testing.assert_array_equal(again.mesh.points, scene.mesh.points)


def test_a_missing_texture_is_told_and_its_colour_is_painted(glb, tmp_path):
    document, body = glb_parts(glb.read_bytes())
    document["images"] = [{"uri": "gone.png"}]
    document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 0.25, 0, 1]
    glb.write_bytes(as_glb(document, body))
    scene, notes = opened(glb, texture_size=32)
    assert notes == ["ball.glb names the texture gone.png, which is missing: its colour is painted"]
    torch.testing.assert_close(scene.textures[0][0, :, 3, 3], torch.tensor([1, 0.537, 0]), atol=2e-3, rtol=0)
    scene.write(tmp_path / "out.glb")
    (geometry,) = trimesh.load(tmp_path / "out.glb").geometry.values()
    assert geometry.visual.material.baseColorTexture.size == (32, 32)


def test_a_damaged_texture_is_told_and_its_colour_is_painted(glb, thing):
    document, body = glb_parts(glb.read_bytes())
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    start = view.get("byteOffset", 0)
    glb.write_bytes(as_glb(document, body[:start] + bytes(40) + body[start + 40 :]))
    (thing.parent / "my wood.png").write_bytes(b"no picture")
    for path, name in ((glb, "within"), (thing, "my wood.png")):
        scene, (note,) = opened(path, texture_size=32)
        assert name in note
        assert "cannot be read" in note
        assert len(scene.textures) >= 1


def test_a_mesh_without_coordinates_gets_an_atlas_or_colours(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=1)
    (tmp_path / "plain.glb").write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    scene, _ = opened(tmp_path / "plain.glb", texture_size=64)
    assert [tuple(texture.shape) for texture in scene.textures] == [(1, 3, 64, 64)]
    scene.write(tmp_path / "atlas.glb")
    again, _ = opened(tmp_path / "atlas.glb")
    (surface,) = again.mesh.surfaces
    assert surface.texture == 0
    assert again.textures[0].shape == (1, 3, 64, 64)
    area = trimesh.Trimesh(surface.positions, surface.faces, process=False).area
    assert area == pytest.approx(mesh.area, rel=1e-5)
    assert len(surface.faces) == len(mesh.faces)
    colored, _ = opened(tmp_path / "plain.glb", paint="vertices")
    changed(colored).write(tmp_path / "colors.glb")
    both, _ = opened(tmp_path / "colors.glb", paint="vertices")
    torch.testing.assert_close(both.textures[0], changed(colored).textures[0], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(both.mesh.surfaces[0].faces, colored.mesh.surfaces[0].faces)


def test_without_xatlas_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xatlas", None)
    mesh = trimesh.creation.icosphere(subdivisions=0)
    (tmp_path / "plain.glb").write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    with pytest.raises(MissingExtra, match="paint vertices"):
        opened(tmp_path / "plain.glb")


def test_draco_is_read(glb, tmp_path):
    import DracoPy

    mesh = ball()
    packed = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=14, tex_coord=mesh.visual.uv.astype(float))
    ids = {one["attribute_type"]: one["unique_id"] for one in DracoPy.decode(packed).attributes}
    packed += bytes(-len(packed) % 4)
    document, _ = glb_parts(glb.read_bytes())
    picture = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(picture, "PNG")
    views = [(0, len(packed)), (len(packed), len(picture.getvalue()))]
    document["bufferViews"] = [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in views]
    document["images"] = [{"bufferView": 1, "mimeType": "image/png"}]
    primitive = document["meshes"][0]["primitives"][0]
    compression = {"bufferView": 0, "attributes": {"POSITION": ids[0], "TEXCOORD_0": ids[3]}}
    primitive["extensions"] = {"KHR_draco_mesh_compression": compression}
    body = packed + picture.getvalue()
    document["buffers"] = [{"byteLength": len(body)}]
    document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    (tmp_path / "packed.glb").write_bytes(as_glb(document, body))
    scene, _ = opened(tmp_path / "packed.glb")
    assert len(scene.mesh.surfaces[0].faces) == len(mesh.faces)
    changed(scene).write(tmp_path / "out.glb")
    assert packed in (tmp_path / "out.glb").read_bytes()  # as it was, to the byte
    for attributes in (compression["attributes"], primitive["attributes"]):
        attributes.pop("TEXCOORD_0")
    (tmp_path / "bare.glb").write_bytes(as_glb(document, body))
    with pytest.raises(InputError, match="an atlas would change"):
        opened(tmp_path / "bare.glb", paint="texture")
    bare, notes = opened(tmp_path / "bare.glb")
    assert notes == ["surfaces compressed by Draco have no texture coordinates: their vertices get colours"]
    changed(bare).write(tmp_path / "colors.glb")
    again, _ = opened(tmp_path / "colors.glb", paint="vertices")
    torch.testing.assert_close(again.textures[-1], changed(bare).textures[-1], atol=1e-3, rtol=0)


OBJ = """# theirs
mtllib thing.mtl
o thing
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0.5 0.5 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
s off
usemtl wood
f 1/1/1 2/2/1 3/3/1 4/4/1
usemtl paint
f -5 -4 -1
f 2 3 5
"""
MTL = "newmtl wood\nKd 1 1 1\nmap_Kd -clamp on -s 1 1 1 my wood.png\nNs 10\nnewmtl paint\nKd 0.2 0.4 0.6\n"


@pytest.fixture
def thing(tmp_path):
    (tmp_path / "thing.obj").write_text(OBJ)
    (tmp_path / "thing.mtl").write_text(MTL)
    Image.fromarray(np.full((16, 16, 3), [250, 100, 0], np.uint8)).save(tmp_path / "my wood.png")
    return tmp_path / "thing.obj"


def test_an_obj_keeps_its_lines(thing, tmp_path):
    scene, notes = opened(thing, paint="vertices")
    wood, paint = scene.mesh.surfaces
    assert (len(wood.faces), wood.wrap, wood.texture) == (2, ("clamp", "clamp"), 0)
    assert (len(paint.faces), paint.texture) == (2, None)
    np.testing.assert_allclose(wood.uv, [[0, 1], [1, 1], [1, 0], [0, 0]])
    (tmp_path / "away").mkdir()
    changed(scene).write(tmp_path / "away" / "out.obj")
    written = (tmp_path / "away" / "out.obj").read_text().splitlines()
    assert written[0] == "mtllib out.mtl"
    lines = [line for line in OBJ.splitlines() if not line.startswith("mtllib")]
    for line, own in zip(lines, written[1:], strict=True):
        assert own.startswith(line)  # colours follow positions
    assert sum(len(line.split()) == 7 for line in written if line.startswith("v ")) == 4
    library = (tmp_path / "away" / "out.mtl").read_text()
    assert "map_Kd -clamp on -s 1 1 1 out-0.png" in library
    assert "Ns 10" in library
    with Image.open(tmp_path / "away" / "out-0.png") as picture:
        assert picture.convert("RGB").getpixel((3, 3)) == (0, 100, 250)
    assert notes == []


def test_an_obj_gets_an_atlas_for_what_has_no_coordinates(thing, tmp_path):
    scene, _ = opened(thing, texture_size=32)
    scene.write(tmp_path / "out.obj")
    again, _ = opened(tmp_path / "out.obj")
    assert [surface.texture for surface in again.mesh.surfaces] == [0, 1]
    for before, after in zip(scene.mesh.surfaces, again.mesh.surfaces, strict=True):
        np.testing.assert_allclose(after.positions[after.faces], before.positions[before.faces])
        np.testing.assert_allclose(after.uv[after.faces], before.uv[before.faces], atol=1e-6)


def test_an_obj_with_nothing_beside_it_takes_a_texture(tmp_path):
    (tmp_path / "bare.obj").write_text("\n".join(line for line in OBJ.splitlines()[2:] if "usemtl" not in line))
    Image.fromarray(np.full((8, 8, 3), 50, np.uint8)).save(tmp_path / "skin.png")
    text = (tmp_path / "bare.obj").read_text().replace("f -5 -4 -1", "").replace("f 2 3 5", "")
    (tmp_path / "bare.obj").write_text(text)
    scene, _ = opened(tmp_path / "bare.obj", texture=tmp_path / "skin.png")
    scene.write(tmp_path / "out.obj")
    again, _ = opened(tmp_path / "out.obj")
    assert again.textures[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("colored", [True, False])
def test_a_ply_keeps_all_but_its_colours(tmp_path, order, colored):
    names = ["x", "y", "z", "quality", *(["red", "green", "blue"] if colored else [])]
    kinds = ["float"] * 4 + ["uchar"] * 3 * colored
    sign = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}[order]
    row = [(name, sign + {"float": "f4", "uchar": "u1"}[kind]) for name, kind in zip(names, kinds, strict=True)]
    vertices = np.zeros(4, row)
    for axis, values in zip("xyz", np.eye(4, 3).T, strict=True):
        vertices[axis] = values
    vertices["quality"] = [0.5, 1.5, 2.5, 3.5]
    header = [f"ply\nformat {order} 1.0\ncomment theirs\nelement vertex 4"]
    header += [f"property {kind} {name}" for name, kind in zip(names, kinds, strict=True)]
    header += ["element face 2\nproperty list uchar int vertex_indices\nend_header\n"]
    faces = [[0, 1, 2], [0, 1, 2, 3]]
    if order == "ascii":
        body = "".join(" ".join(str(value) for value in vertex) + "\n" for vertex in vertices.tolist()).encode()
        body += "".join(" ".join(map(str, (len(face), *face))) + "\n" for face in faces).encode()
    else:
        body = vertices.tobytes()
        for face in faces:
            body += struct.pack("B", len(face)) + np.array(face, sign + "i4").tobytes()
    (tmp_path / "a.ply").write_bytes("\n".join(header).encode() + body)
    scene, _ = opened(tmp_path / "a.ply")
    assert len(scene.mesh.surfaces[0].faces) == 3
    colors = torch.rand(1, 3, 1, 4)
    scene.painted([colors]).write(tmp_path / "b.ply")
    again, _ = opened(tmp_path / "b.ply")
    torch.testing.assert_close(again.textures[0], colors, atol=0.5 / 255 + 1e-6, rtol=0)
    np.testing.assert_array_equal(again.mesh.surfaces[0].positions, scene.mesh.surfaces[0].positions)
    np.testing.assert_array_equal(again.mesh.surfaces[0].faces, scene.mesh.surfaces[0].faces)
    np.testing.assert_array_equal(again.mesh.file.vertices["quality"], vertices["quality"])
    assert "comment theirs" in again.mesh.file.header
    if order == "ascii":  # the other reader takes binary files of triangles alone
        assert len(trimesh.load(tmp_path / "b.ply", process=False).vertices) == 4


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("form", [0, 3])
def test_a_laser_scan_keeps_all_but_its_colours(tmp_path, suffix, form):
    las = laspy.create(point_format=form, file_version="1.2")
    points = np.random.default_rng(0).uniform(0, 10, (500, 3))
    las.x, las.y, las.z = points.T
    las.intensity = np.arange(500)
    las.classification = np.arange(500) % 9
    las.write(tmp_path / f"scan{suffix}")
    scene, _ = opened(tmp_path / f"scan{suffix}")
    colors = torch.rand(1, 3, 1, 500)
    scene.painted([colors]).write(tmp_path / f"out{suffix}")
    before, after = (laspy.read(tmp_path / f"{name}{suffix}") for name in ("scan", "out"))
    for name in ("X", "Y", "Z", "intensity", "classification"):
        np.testing.assert_array_equal(before[name], after[name])
    again, _ = opened(tmp_path / f"out{suffix}")
    torch.testing.assert_close(again.textures[0], colors, atol=1e-4, rtol=0)


def test_a_grid_keeps_its_opacity_and_type(tmp_path):
    grid = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 4)).astype(np.uint8)
    grid[0, ..., 3] = 0
    np.save(tmp_path / "a.npy", grid)
    scene, _ = opened(tmp_path / "a.npy")
    changed(scene).write(tmp_path / "b.npy")
    written = np.load(tmp_path / "b.npy")
    np.testing.assert_array_equal(written[..., 3], grid[..., 3])
    np.testing.assert_array_equal(
        written[1:, ..., :3][grid[1:, ..., 3] > 0], grid[1:, ..., 2::-1][grid[1:, ..., 3] > 0]
    )
    np.testing.assert_array_equal(written[0], grid[0])


def vox(entries, palette=None):
    def chunk(name, body):
        return name + struct.pack("<II", len(body), 0) + body

    parts = chunk(b"SIZE", struct.pack("<III", 4, 5, 6))
    parts += chunk(b"XYZI", struct.pack("<I", len(entries)) + bytes(value for entry in entries for value in entry))
    parts += b"" if palette is None else chunk(b"RGBA", palette.tobytes())
    parts += chunk(b"NOTE", b"kept")
    return b"VOX " + struct.pack("<I", 150) + b"MAIN" + struct.pack("<II", 0, len(parts)) + parts


@pytest.mark.parametrize("own_palette", [True, False])
def test_a_vox_file_keeps_its_cells(tmp_path, own_palette):
    palette = np.random.default_rng(0).integers(0, 256, (256, 4)).astype(np.uint8) if own_palette else None
    entries = [(0, 0, 0, 1), (1, 2, 3, 7), (3, 4, 5, 200)]
    (tmp_path / "a.vox").write_bytes(vox(entries, palette))
    scene, _ = opened(tmp_path / "a.vox")
    if own_palette:
        torch.testing.assert_close(scene.textures[0][0, :, 0, 1], torch.tensor(palette[6, :3] / 255).float())
    colors = torch.tensor([[0.2, 0.4, 0.9], [0.0, 0.4, 0.2], [0.8, 0.2, 0.0]]).T[None, :, None]
    scene.painted([colors]).write(tmp_path / "b.vox")
    again, _ = opened(tmp_path / "b.vox")
    np.testing.assert_array_equal(again.cells, scene.cells)
    torch.testing.assert_close(again.textures[0], colors, atol=1.5 / 255, rtol=0)
    data = (tmp_path / "b.vox").read_bytes()
    assert b"NOTE" in data
    assert struct.unpack_from("<I", data, 16)[0] == len(data) - 20


# --- bad input -------------------------------------------------------------------------------------------------------


def test_what_lies_elsewhere_is_refused(glb):
    document, body = glb_parts(glb.read_bytes())
    for address in ("https://example.org/a.png", "//example.org/a.png", "../../etc/passwd", "file:///etc/passwd"):
        document["images"] = [{"uri": address}]
        glb.write_bytes(as_glb(document, body))
        with pytest.raises(InputError, match=r"address|outside"):
            opened(glb)


def test_an_obj_that_names_what_lies_elsewhere_is_refused(thing):
    thing.with_suffix(".mtl").write_text("newmtl wood\nmap_Kd http://example.org/a.png\n")
    with pytest.raises(InputError, match="an address"):
        opened(thing)


def test_an_obj_whose_files_are_missing_is_painted_in_its_colours(thing):
    (thing.parent / "my wood.png").unlink()
    scene, notes = opened(thing, texture_size=32)
    assert len(notes) == 1
    assert "my wood.png" in notes[0]
    assert len(scene.textures) == 2


def test_an_archive_is_read_and_a_trap_is_not(thing, tmp_path):
    with zipfile.ZipFile(tmp_path / "thing.zip", "w") as archive:
        for path in (thing, thing.with_suffix(".mtl"), thing.parent / "my wood.png"):
            archive.write(path, f"folder/{path.name}")
        archive.writestr("__MACOSX/folder/._thing.obj", "v")
    scene, _ = opened(tmp_path / "thing.zip", paint="vertices")
    assert len(scene.mesh.surfaces) == 2
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.obj", bytes(200 << 20))
    with pytest.raises(ResourceError, match="would unpack"):
        opened(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("a/../../slip.obj", OBJ)
    with pytest.raises(InputError, match="outside its own folder"):
        opened(tmp_path / "slip.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.obj", OBJ)
        archive.writestr("b.obj", OBJ)
    with pytest.raises(InputError, match=r"holds a\.obj, b\.obj"):
        opened(tmp_path / "two.zip")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no triangles"),
        ("a.obj", "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "1 vertices that are no numbers"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 2 9\n", "is not there"),
        ("a.obj", "v 0 0\nf 1 1 1\n", "no OBJ file, or damaged"),
        ("a.glb", "no", "no glTF file"),
        ("a.gltf", '{"asset": {"version": "1.0"}}', "is glTF 1"),
        ("a.gltf", '{"asset": {"version": "2.0"}, "extensionsRequired": ["EXT_meshopt_compression"]}', "requires EXT"),
        ("a.gltf", '{"asset": {"version": "2.0"}, "nodes": [{"children": [0]}]}', "in a circle"),
        ("a.gltf", '{"asset": {"version": "2.0"}, "nodes": [{"mesh": 3}]}', "damaged"),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nend_header\n1\n", "no PLY file"),
        ("a.npy", "no", "does not begin with NUMPY"),
        ("a.vox", "VOX nothing", "no grid of voxels"),
        ("a.stl", "solid", "no model that can be painted"),
        ("a.las", "LASF", "no LAS file"),
        ("a.obj", "", "is empty"),
    ],
)
def test_what_cannot_be_painted_says_why(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        opened(tmp_path / name)


def test_small_files_of_large_models_are_refused_before_they_take_memory(glb, tmp_path):
    document, body = glb_parts(glb.read_bytes())
    position = document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    many = json.loads(json.dumps(document))
    many["accessors"][position] |= {"count": 2_000_000_000}
    many["accessors"][position].pop("bufferView")  # all zeros, and as many as one likes
    doubled = json.loads(json.dumps(document))
    own = len(doubled["nodes"])
    doubled["nodes"] += [{"children": [own + step + 1] * 2} for step in range(40)] + [{"mesh": 0}]
    doubled["scenes"] = [{"nodes": [own]}]
    for changed, told in ((many, "2,000,000,000 values"), (doubled, r"over 100,000 nodes|triangles; at most")):
        glb.write_bytes(as_glb(changed, body))
        with pytest.raises(ResourceError, match=told):
            opened(glb)
    size = struct.pack("<III", *(4_000_000_000,) * 3)
    chunk = b"SIZE" + struct.pack("<II", 12, 0) + size
    (tmp_path / "a.vox").write_bytes(b"VOX " + struct.pack("<I", 150) + b"MAIN" + struct.pack("<II", 0, 24) + chunk)
    with pytest.raises(ResourceError, match="voxels are too many"):
        opened(tmp_path / "a.vox")


def test_grids_of_another_shape_are_refused(tmp_path):
    for array, told in ((np.zeros((4, 4, 4)), "the shape"), (np.zeros((4, 4, 4, 4)), "transparent")):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match=told):
            opened(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((4, 4, 4, 4), np.nan))
    with pytest.raises(InputError, match="no numbers"):
        opened(tmp_path / "a.npy")


@pytest.mark.parametrize("how", ["missing", "no numbers"])
def test_a_texture_that_has_no_place_on_its_mesh_gives_way_to_an_atlas(glb, tmp_path, how):
    document, body = glb_parts(glb.read_bytes())
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    if how == "missing":
        attributes.pop("TEXCOORD_0")
    else:
        view = document["bufferViews"][document["accessors"][attributes["TEXCOORD_0"]]["bufferView"]]
        start = view.get("byteOffset", 0)
        body = body[:start] + struct.pack("<f", float("nan")) + body[start + 4 :]
    glb.write_bytes(as_glb(document, body))
    scene, _ = opened(glb, texture_size=32)
    view = scene.look(scene.ring(1)[0], 32)
    assert view.cover.max() > 0.99
    changed(scene).write(tmp_path / "out.glb")
    again, _ = opened(tmp_path / "out.glb")
    assert again.textures[again.mesh.surfaces[0].texture].shape == (1, 3, 32, 32)


def test_coordinates_beyond_the_texture_wrap(glb):
    scene, _ = opened(glb)
    surface = scene.mesh.surfaces[0]
    moved = replace(surface, uv=surface.uv + np.array([3, -2]))
    camera, there = scene.ring(1)[0], MeshScene(replace(scene.mesh, surfaces=(moved,)))
    first, second = (one.look(camera, 48).render(colors_of(one.textures, one.sheets)) for one in (scene, there))
    torch.testing.assert_close(first, second)


# --- views -----------------------------------------------------------------------------------------------------------


def test_seams_are_bled_and_nothing_between_charts_shows():
    """What lies between charts has no say at any mip level, and takes the colours around it."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, 8:20, 4:20] = 1
    sheet = Sheet((32, 32), mask=mask)
    texture = torch.where(
        mask > 0, torch.tensor([0.2, 0.5, 0.7])[None, :, None, None], torch.ones(3)[None, :, None, None]
    )
    colors = colors_of([texture], [sheet])[:, 1024:]
    known = (colors > 1e-3).all(0)
    assert known.sum() > 50
    torch.testing.assert_close(colors[:, known], torch.tensor([0.2, 0.5, 0.7])[:, None].expand(-1, int(known.sum())))
    weights = torch.full((sheet.rows,), 10.0)
    torch.testing.assert_close(
        completed(texture, sheet, weights), torch.full_like(texture, 1) * texture[:, :, 10:11, 10:11]
    )


def test_a_texture_is_no_finer_than_any_view_saw_it():
    sheet = Sheet((16, 16))
    texture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(sheet.rows)
    weights[256:] = 10  # only from the second level on
    smooth = completed(texture, sheet, weights)
    assert (smooth - smooth.mean((2, 3), keepdim=True)).std() < 0.8 * (texture - texture.mean()).std()
    torch.testing.assert_close(completed(texture, sheet, torch.full((sheet.rows,), 10.0)), texture)


def test_what_was_hardly_seen_takes_the_colours_around_it_and_not_the_mean_of_all():
    sheet = Sheet((16, 16))
    texture = torch.zeros(1, 3, 16, 16)
    texture[..., 8:] = 1
    weights = torch.zeros(sheet.rows)
    weights[:256] = 10
    weights[5 * 16 + 3] = 0
    assert completed(texture, sheet, weights)[0, :, 5, 3].max() < 0.05


def test_points_in_front_hide_those_behind(tmp_path):
    """Two sheets of points, one behind the other: only the nearer shows, without a gap."""
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60)), -1).reshape(-1, 2)
    near, far = (np.concatenate((grid, np.full((3600, 1), depth)), 1) for depth in (0.0, -1.0))
    points = np.concatenate((near, far))
    colors = np.repeat([[255, 0, 0], [0, 0, 255]], 3600, 0)
    rows = "".join(f"{x} {y} {z} {r} {g} {b}\n" for (x, y, z), (r, g, b) in zip(points, colors, strict=True))
    names = "".join(f"property float {axis}\n" for axis in "xyz")
    names += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    (tmp_path / "a.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 7200\n{names}end_header\n{rows}")
    scene, _ = opened(tmp_path / "a.ply")
    camera = Camera.at(np.array([0.0, 0.0, 6.0]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    view = scene.look(camera, 64)
    shown = view.render(colors_of(scene.textures, scene.sheets))[0]
    inside = view.cover[0, 0, 22:42, 22:42]
    assert inside.min() > 0.999
    assert shown[2, 22:42, 22:42].max() < 1e-6
    torch.testing.assert_close(shown[0, 22:42, 22:42], torch.ones(20, 20))


def test_rays_through_voxels_add_up_as_a_slow_march_does(tmp_path):
    generator = np.random.default_rng(1)
    grid = generator.uniform(0, 1, (4, 5, 6, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", grid)
    scene, _ = opened(tmp_path / "a.npy")
    camera, side = scene.ring(5)[1], 12
    shown = scene.look(camera, side).render(colors_of(scene.textures, scene.sheets))[0].flatten(1)
    for pixel in (40, 66, 78, 90):
        ray, light, color = camera.rays(side)[pixel], 1.0, np.zeros(3)
        step = 1e-3
        for distance in np.arange(0, 60, step) + step / 2:
            cell = np.floor(camera.eye + distance * ray).astype(int)
            if (cell >= 0).all() and (cell < [4, 5, 6]).all():
                share = 1 - (1 - grid[tuple(cell)][3].astype(float)) ** step
                color += light * share * grid[tuple(cell)][:3]
                light *= 1 - share
        np.testing.assert_allclose(shown[:, pixel], color, atol=4e-3)


def test_gradients_of_points_and_voxels_are_those_of_finite_differences(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).uniform(0, 1, (2, 2, 2, 4)).astype(np.float32))
    trimesh.PointCloud(trimesh.creation.icosphere(subdivisions=0).vertices).export(tmp_path / "cloud.ply")
    for name in ("a.npy", "cloud.ply"):
        scene, _ = opened(tmp_path / name)
        view = scene.look(scene.cameras(3, 0)[1], 5)
        assert len(view.rows) > 10
        colors = torch.rand(1, 3, *scene.sheets[0].sides, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda own: view.render(colors_of([own], scene.sheets)), (colors,))  # noqa: B023


# --- painting --------------------------------------------------------------------------------------------------------


def tiny_painting(engine, scene, settings=SMALL, **asked):
    request = Request(**{"quality": "good", "knobs": {"steps": 2}, **asked})
    return paint_scene(engine, scene, noise(64, 64, seed=5), request, settings)


def test_a_mesh_is_painted_and_only_its_texture_changes(engine, glb, tmp_path):
    scene, _ = opened(glb)
    result = tiny_painting(engine, scene)
    result.scene.write(tmp_path / "out.glb")
    assert accessors((tmp_path / "out.glb").read_bytes()) == accessors(glb.read_bytes())
    assert (result.scene.textures[0] - scene.textures[0]).abs().mean() > 0.05
    assert {"content", "style", "tv", "total"} <= set(result.losses[-1])
    again = tiny_painting(engine, scene)
    torch.testing.assert_close(again.scene.textures[0], result.scene.textures[0], atol=1e-5, rtol=0)


def test_the_loss_falls_over_views_that_were_not_descended(engine, glb):
    scene, _ = opened(glb)
    started = tiny_painting(engine, scene, knobs={"steps": 1, "coarsest": 64})
    settled = tiny_painting(engine, scene, knobs={"steps": 24, "coarsest": 64})
    assert settled.losses[-1]["style"] < 0.8 * started.losses[0]["style"]


def test_the_quick_way_paints_by_a_method_of_one_pass(engine, glb):
    scene, _ = opened(glb)
    result = tiny_painting(engine, scene, method="adain", quality=None, knobs={})
    assert result.record["method"] == "adain"
    assert (result.scene.textures[0] - scene.textures[0]).abs().mean() > 0.02


def test_without_strength_nothing_changes(engine, glb):
    scene, _ = opened(glb)
    result = tiny_painting(engine, scene, knobs={"strength": 0})
    torch.testing.assert_close(result.scene.textures[0], scene.textures[0])


def test_colours_can_be_kept(engine, glb):
    from impasto.engine.controls import Controls
    from impasto.ops.color import luma

    scene, _ = opened(glb)
    result = tiny_painting(engine, scene, controls=Controls("luminance"))
    own, painted = scene.textures[0], result.scene.textures[0]
    chroma = [(texture - luma(texture)).mean((2, 3)) for texture in (own, painted)]
    torch.testing.assert_close(chroma[0], chroma[1], atol=0.1, rtol=0)


def test_points_voxels_and_vertices_are_painted(engine, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).uniform(0, 1, (6, 6, 6, 4)).astype(np.float32))
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.export(tmp_path / "mesh.ply")
    trimesh.PointCloud(mesh.vertices).export(tmp_path / "cloud.ply")
    for name in ("a.npy", "mesh.ply", "cloud.ply"):
        scene, _ = opened(tmp_path / name)
        result = tiny_painting(engine, scene)
        assert (result.scene.textures[0] - scene.textures[0]).abs().mean() > 0.02
        result.scene.write(tmp_path / f"out-{name}")
        again, _ = opened(tmp_path / f"out-{name}")
        torch.testing.assert_close(again.textures[0], result.scene.textures[0], atol=3e-3, rtol=0)


def test_a_stopped_job_gives_the_scene_as_it_was_so_far(engine, glb):
    scene, _ = opened(glb)

    def stop(progress: Progress):
        if progress.losses and progress.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled) as caught:
        paint_scene(engine, scene, noise(64, 64, seed=5), Request(knobs={"steps": 4}), SMALL, on_progress=stop)
    assert (caught.value.result.scene.textures[0] - scene.textures[0]).abs().mean() > 0.02


def test_what_is_of_pictures_is_refused(engine, glb):
    from impasto.engine.controls import Controls

    scene, _ = opened(glb)
    for asked in ({"controls": Controls(preserve="a.png")}, {"init": "noise"}, {"knobs": {"canvas": "photorealistic"}}):
        with pytest.raises(InputError):
            tiny_painting(engine, scene, **asked)
    for wrong in ({"size": 9}, {"views": 1}):
        with pytest.raises(InputError):
            SceneSettings(**wrong)


# --- panoramas -------------------------------------------------------------------------------------------------------


def sphere(height=64):
    """A panorama that is smooth on the sphere."""
    down = np.pi * (np.arange(height) + 0.5) / height
    across = np.pi * (np.arange(2 * height) + 0.5) / height
    x, y, z = (
        np.sin(down)[:, None] * np.sin(across),
        np.cos(down)[:, None] + 0 * across,
        np.sin(down)[:, None] * np.cos(across),
    )
    return images.read(np.stack((0.5 + 0.4 * x, 0.5 + 0.4 * y, 0.5 + 0.4 * np.sin(3 * z)), -1).astype(np.float32))


def test_a_panorama_is_looked_at_from_its_middle():
    scene = PanoramaScene.of(sphere(128))
    colors = colors_of(scene.textures, scene.sheets)
    for camera in scene.cameras(6, 0):
        shown = scene.look(camera, 32).render(colors)[0].flatten(1)
        rays = camera.rays(32)
        away = np.abs(rays[:, 1]) < 0.999  # from the poles, where one pixel sees many columns
        np.testing.assert_allclose(shown[1, away], 0.5 + 0.4 * rays[away, 1], atol=0.02)
        np.testing.assert_allclose(shown[0, away], 0.5 - 0.4 * rays[away, 0], atol=0.02)


def test_a_painted_panorama_has_no_seam_and_no_pinch(engine):
    scene = PanoramaScene.of(sphere())
    result = tiny_painting(engine, scene, replace(SMALL, views=12), knobs={"steps": 6})
    painted, before = (images.to_tensor(one.picture.pixels) for one in (result.scene, scene))
    steps = (painted - painted.roll(1, 3)).abs().mean((0, 1, 2))
    assert steps[0] < 1.3 * steps[1:].mean()  # where right meets left
    assert (painted - before).abs().mean() > 0.02
    top = painted[0, :, 0]
    assert (top - top.mean(1, keepdim=True)).abs().max() < 0.08  # all of it is nearly one place


def test_faces_of_a_panorama_blend_into_the_same_picture():
    """Out of the picture into the faces and back; each direction is shown once, and at the poles as elsewhere."""
    smooth = sphere(64)
    scene = PanoramaScene.of(smooth)
    assert len({texture.shape for texture in scene.textures}) == 1
    again = scene.painted(scene.textures).picture.pixels
    np.testing.assert_allclose(again, smooth.pixels, atol=0.02)
    seen = np.concatenate((np.eye(3), -np.eye(3), np.random.default_rng(0).normal(size=(500, 3))))
    shares = np.array(panoramas._shares(seen))
    np.testing.assert_allclose(shares.sum(0), 1)
    assert ((shares > 0) & (shares < 1)).any(0).sum() > 20
    noisy = [torch.rand(texture.shape, generator=torch.Generator().manual_seed(1)) for texture in scene.textures]
    rows = scene.painted(noisy).picture.pixels
    wide = np.abs(rows[2] - np.roll(rows[2], 1, 0)).mean()  # 5 degrees of the sphere's width lie in 64 pixels
    assert wide < 0.3 * np.abs(rows[32] - np.roll(rows[32], 1, 0)).mean()


def test_a_panorama_keeps_its_metadata(engine, tmp_path):
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
        b'GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="128"/></rdf:RDF></x:xmpmeta>'
    )
    picture = images.to_pil(sphere())
    picture.save(tmp_path / "sphere.jpg", xmp=packet)
    scene = PanoramaScene.read(tmp_path / "sphere.jpg")
    changed(scene).write(tmp_path / "out.jpg")
    kept = images.read(tmp_path / "out.jpg").origin.xmp
    assert b'ProjectionType="equirectangular"' in kept
    assert b'FullPanoWidthPixels="128"' in kept


def test_a_film_of_the_sphere_is_painted_and_holds_still(engine, tmp_path):
    """Three frames alike: the paint stays; the film has as many frames, of the same size."""
    still = sphere(32).pixels
    with VideoWriter(tmp_path / "a.mkv", rate=5, coding=choose_coding(tmp_path / "a.mkv", codec="ffv1")) as writer:
        for _ in range(3):
            writer.write(still)
    request = Request(quality="draft")
    film = paint_film(engine, tmp_path / "a.mkv", noise(64, 64, seed=5), tmp_path / "b.gif", request, SMALL)
    assert film.frames == 3
    assert images.probe(tmp_path / "b.gif").width == 64
    with pytest.raises(InputError, match="one pass"):
        paint_film(engine, tmp_path / "a.mkv", noise(64, 64), tmp_path / "c.gif", Request(quality="good"), SMALL)
    assert not (tmp_path / "c.gif").exists()


def test_what_changes_is_painted_anew_and_what_does_not_is_held():
    old, new, still = np.zeros((16, 32, 3), np.float32), np.ones((16, 32, 3), np.float32), sphere(16).pixels
    moved = still.copy()
    moved[:, 16:] = 1 - moved[:, 16:]
    held = _held(new, moved, (still, old))
    assert held[:, :6].max() < 0.2
    assert held[2:-2, 26:30].mean() > 0.8


def test_a_picture_of_another_shape_is_no_panorama(tmp_path):
    with pytest.raises(InputError, match="100x80 px"):
        PanoramaScene.of(images.read(np.zeros((80, 100, 3), np.float32)))


def test_paint_is_one_of_three(glb):
    with pytest.raises(InputError, match="paint is 'oil'"):
        opened(glb, paint="oil")


def test_weights_tell_what_views_showed(glb):
    scene, _ = opened(glb)
    (weights,) = weights_of([scene.look(scene.ring(1)[0], 32)], scene.sheets)
    assert weights.shape == (scene.sheets[0].rows,)
    assert 0 < weights.sum() <= 32 * 32 + 1e-3


def test_a_plain_glb_shows_what_the_scene_does(glb):
    scene, _ = opened(glb)
    data = gltf.plain(scene.mesh.surfaces, scene.mesh.textures, [None])
    loaded = trimesh.load(io.BytesIO(data), file_type="glb")
    assert len(loaded.to_geometry().faces) == len(scene.mesh.surfaces[0].faces)


# --- rooms -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room.glb").write_bytes(models.room(16))
    return opened(tmp_path / "room.glb", inside=True)[0]


def test_a_room_is_seen_from_within_on_all_sides(room):
    assert len(room.textures) == 7
    assert len(room.mesh.surfaces) > 7
    cameras = room.cameras(8, 0)
    views = [room.look(camera, 32) for camera in (*cameras, *room.ring(4))]
    assert all(view.cover.min() > 0.99 for view in views)  # walls all around, without a gap
    heads = np.stack([camera.axes[2] for camera in cameras])
    assert heads[:, 1].min() < -0.5 < 0.5 < heads[:, 1].max()  # floor and ceiling, too
    low, high = room.mesh.points.min(0), room.mesh.points.max(0)
    assert all((low < camera.eye).all() and (camera.eye < high).all() for camera in cameras)
    shown = sum(weights.sum() > 0 for weights in weights_of(views, room.sheets))
    assert shown == 7


def test_a_room_is_painted_in_all_its_textures(engine, room, tmp_path):
    result = tiny_painting(engine, room)
    for before, after in zip(room.textures, result.scene.textures, strict=True):
        assert (after - before).abs().mean() > 0.02
    result.scene.write(tmp_path / "out.glb")
    again, _ = opened(tmp_path / "out.glb", inside=True)
    np.testing.assert_array_equal(again.mesh.points, room.mesh.points)


@pytest.mark.parametrize("name", models.MADE)
def test_models_for_benchmarks_are_the_same_each_time(name, tmp_path, monkeypatch):
    small = {"points": lambda: models.points(200), "voxels": lambda: models.voxels(8), "room": lambda: models.room(8)}
    monkeypatch.setitem(models.MADE, name, (models.MADE[name][0], small[name]))
    first, second = (models.made(name, tmp_path).read_bytes() for _ in range(2))
    assert first == second
    scene, _ = opened(models.made(name, tmp_path))
    assert scene.look(scene.ring(1)[0], 32).cover.max() > 0.9


# --- measures --------------------------------------------------------------------------------------------------------


def test_views_of_one_texture_agree_and_other_pictures_do_not(glb):
    scene, _ = opened(glb)
    smooth = scene.painted([noise(32, 32, seed=3)])
    cameras = scene.ring(24)[:4]
    pictures = measures.views_of(smooth, cameras, 96)
    together = measures.disagreement(scene, cameras, pictures, 96)
    shifted = [picture.roll(9, 3) for picture in pictures[:2]] + pictures[2:]
    alone = measures.disagreement(scene, cameras, shifted, 96)
    assert together < 0.03
    assert alone > 3 * together


def test_seams_are_told():
    """Two triangles that share an edge in space, and lie apart on the texture."""
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    uv = np.array([[0.1, 0.1], [0.4, 0.1], [0.1, 0.4], [0.6, 0.9], [0.9, 0.6], [0.9, 0.9]])
    surface = Surface((0,), positions, np.array([[0, 1, 2], [3, 5, 4]]), uv, 0)
    even, halves = np.full((32, 32, 3), 0.4, np.float32), np.zeros((32, 32, 3), np.float32)
    halves[16:] = 1
    for pixels, error in ((even, 0.0), (halves, 1.0)):
        mesh = Mesh((surface,), (images.read(pixels),), file=None)
        assert measures.seam_error(MeshScene(mesh)) == pytest.approx(error, abs=1e-6)


def cut_apart(*, bent=False):
    """Two triangles that share an edge in space, and lie apart on the texture, one dark, one light."""
    far = [0.5, 0.5, 1] if bent else [1, 1, 0]
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], far])
    uv = np.array([[0.05, 0.05], [0.45, 0.05], [0.05, 0.45], [0.55, 0.95], [0.95, 0.55], [0.95, 0.95]])
    surface = Surface((0,), positions, np.array([[0, 1, 2], [3, 5, 4]]), uv, 0, ("clamp", "clamp"))
    pixels = np.full((128, 128, 3), 0.3, np.float32)
    pixels[64:] = 0.7
    return MeshScene(Mesh((surface,), (images.read(pixels),), file=None))


def test_colours_meet_where_charts_are_cut_apart_and_stay_elsewhere():
    scene = cut_apart()
    (texture,) = scene.joined(scene.textures)
    assert measures.seam_error(scene) == pytest.approx(0.4, abs=1e-3)
    assert measures.seam_error(scene.painted([texture])) < 0.02
    moved = (texture - scene.textures[0]).abs()[0, 0]
    assert moved[9, 9] < 0.01  # the corner farthest from the cut
    assert 0.15 < moved[31, 31] < 0.21  # half of the difference, on both sides
    assert moved[:40, 80:].max() == 0  # between the charts
    again = MeshScene(replace(scene.mesh, surfaces=(replace(scene.mesh.surfaces[0], uv=None, texture=None),)))
    assert again.joined([texture, texture])[0] is texture


def test_edges_of_the_shape_are_no_seams():
    scene = cut_apart(bent=True)
    assert measures.seam_error(scene) == pytest.approx(0.4, abs=1e-3)
    torch.testing.assert_close(scene.joined(scene.textures)[0], scene.textures[0])


def test_what_lies_between_charts_is_known_where_coordinates_go_on_beyond_the_edge():
    scene = cut_apart()
    surface = scene.mesh.surfaces[0]
    whole = replace(surface, wrap=("repeat", "repeat"))
    moved = replace(whole, uv=whole.uv + np.array([0.3, 0]))
    first, second = (MeshScene(replace(scene.mesh, surfaces=(one,))).sheets[0].mask for one in (whole, moved))
    assert 0.1 < first.mean() < 0.25
    turned = first.roll(round(0.3 * 128), 3)
    assert (turned - second).abs().mean() < 0.01
    many = replace(whole, uv=whole.uv * 8)
    assert MeshScene(replace(scene.mesh, surfaces=(many,))).sheets[0].mask is None


def test_an_atlas_that_was_made_is_joined(tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=3)
    (tmp_path / "plain.glb").write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    scene, _ = opened(tmp_path / "plain.glb", texture_size=128)
    noisy = scene.painted([noise(128, 128, seed=3)])
    before = measures.seam_error(noisy)
    assert measures.seam_error(scene.painted(scene.joined(noisy.textures))) < 0.5 * before


def test_style_distance_falls_as_a_scene_is_painted(engine, glb, tiny_weights, placement):
    from impasto.models.encoder_specs import VGG19
    from impasto.models.encoders import Encoder

    scene, _ = opened(glb)
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], placement)
    painted = tiny_painting(engine, scene, knobs={"steps": 16, "coarsest": 64}).scene
    style, cameras = noise(64, 64, seed=5), scene.ring(3)
    before, after = (measures.style_distance(one, cameras, 64, style, encoder) for one in (scene, painted))
    assert after < 0.7 * before
