"""`impasto scene` on the command line, and the page that it writes in a real browser."""

import json
import shutil

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from impasto import images
from impasto.assets import Store
from impasto.cli import app
from impasto.errors import AssetError
from impasto.scenes import show
from impasto.scenes.files import open_scene

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-gl=angle", "--use-angle=swiftshader"]
FLAGS += ["--enable-unsafe-swiftshader"]


@pytest.fixture
def ball(tmp_path):
    """A red ball with a texture."""
    mesh = trimesh.creation.icosphere(subdivisions=2)
    red = Image.fromarray(np.full((16, 16, 3), [220, 30, 20], np.uint8))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=red)
    mesh.visual = trimesh.visual.TextureVisuals(uv=mesh.vertices[:, :2] * 0.4 + 0.5, material=material)
    path = tmp_path / "ball.glb"
    path.write_bytes(trimesh.Scene(mesh).export(file_type="glb"))
    return path


def run(capsys, *words):
    code = app.run([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_is_wrong_is_told_in_two_lines_and_nothing_is_written(capsys, ball, picture_file, tmp_path):
    style, wide = picture_file("painting.png"), picture_file("photo.png")
    sphere = tmp_path / "sphere.png"
    Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(sphere)
    grid = tmp_path / "grid.npy"
    np.save(grid, np.ones((4, 4, 4, 4)))
    before = sorted(tmp_path.iterdir())
    for words, told in (
        (("scene", ball), "no style was given"),
        (("scene", ball, "--style", style, "-o", tmp_path / "out.obj"), "is of another kind than ball.glb"),
        (("scene", ball, "--style", style, "-o", ball), "would be replaced"),
        (("scene", tmp_path / "no.glb", "--style", style), "there is no file"),
        (("scene", ball, "--style", style, "--size", "1"), "--size is 1"),
        (("scene", ball, "--style", style, "--viewer", tmp_path / "view.pdf"), "such as view.html"),
        (("scene", wide, "--style", style, "--panorama"), "is 64x48 px"),
        (("scene", wide, "--style", style), "no model that can be painted"),
        (("scene", sphere, "--style", style, "--panorama", "--viewer", tmp_path / "v.html"), "shows meshes and points"),
        (("scene", sphere, "--style", style, "--panorama", "--sculpt", "0.03"), "--sculpt is for meshes"),
        (("scene", sphere, "--style", style, "--panorama", "--inside"), "--inside is for meshes"),
        (("scene", grid, "--style", style, "--inside"), "--inside is for meshes"),
        (("scene", grid, "--style", style, "--paint", "texture"), "--paint is for meshes"),
        (("scene", ball, "--style", style, "--sculpt", "0.5"), "--sculpt is 0.5"),
        (("scene", ball, "--style", style, "--texture", style), "--texture is for .obj files"),
        (("scene", "https://example.org/a.glb", "--style", style), "is an address"),
    ):
        code, out, err = run(capsys, *words)
        assert code == 2, err
        assert told in err
        assert [line[:7] for line in err.strip().splitlines()] == ["error: ", "hint:  "]
        assert out == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.real
def test_paints_a_model_a_sheet_and_a_film(capsys, ball, picture_file, tmp_path):
    style = picture_file("painting.png")
    sheet, film = tmp_path / "sheet.png", tmp_path / "round.gif"
    words = [
        "scene",
        ball,
        "--style",
        style,
        "--size",
        64,
        "--views",
        2,
        "--steps",
        1,
        "-q",
        "good",
        "--quiet",
        "--json",
    ]
    code, out, err = run(capsys, *words, "--sheet", sheet)
    assert code == 0, err
    told = json.loads(out)
    assert told["output"] == str(tmp_path / "ball-painting.glb")
    assert told["scene"] == {"size": 64, "views": 2, "seed": 0, "sculpt": 0.0}
    assert images.read(sheet).width > 1000
    scene = open_scene(tmp_path / "ball-painting.glb")
    show.write_turntable(scene, film, side=32, seconds=0.2)
    assert images.probe(film).frames == 5


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium here; make test installs it where it can (apt-get)")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.mark.process
@pytest.mark.parametrize("lit", [False, True])
def test_the_page_shows_before_and_after_without_a_network(browser, ball, tmp_path, lit):
    """Drawn by the browser: the ball is red before, blue after; nothing is asked of any address."""
    store = Store()
    if not store.is_present(show.LIBRARY) and shutil.which("npm") is None:
        pytest.skip("model-viewer is not fetched, and there is no npm to fetch it")
    try:
        store.path(show.LIBRARY)
    except AssetError as error:
        pytest.skip(str(error))
    before = open_scene(ball)
    blue = torch.tensor([0.1, 0.15, 0.9])[None, :, None, None].expand_as(before.textures[0])
    page = tmp_path / "view.html"
    after = before.painted([blue])
    show.write_viewer(before, after, page, store, title="<ball> & co", lit=lit, on_progress=lambda _: None)
    tab = browser.new_page(viewport={"width": 400, "height": 400})
    asked, faults = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    tab.goto(page.as_uri())
    assert tab.title() == "<ball> & co"
    for name, button, strongest in (("after", "Show before", 2), ("before", "Show after", 0)):
        tab.locator(f"html[data-shown={name}]").wait_for(state="attached", timeout=600_000)
        assert tab.get_by_role("button").inner_text() == button
        tab.wait_for_timeout(500)  # the next frame shows it
        pixels = images.read(tab.screenshot(clip={"x": 0, "y": 0, "width": 400, "height": 300})).pixels
        middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
        assert int(np.argmax(middle)) == strongest, middle
        assert middle.max() > 0.4
        tab.get_by_role("button").click()
    assert {url.partition(":")[0] for url in asked} <= {"file", "blob", "data"}
    assert faults == []
    tab.close()
