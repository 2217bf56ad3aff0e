"""The page that `impasto export --to web` writes: its files, its library from npm, and itself in a real browser."""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from impasto import images
from impasto.assets import Store
from impasto.cli import app
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import AssetError, InputError
from impasto.export import web
from impasto.metrics._pixels import ssim
from impasto.models import catalog, networks
from tiny import noise, tiny_network

CHROMIUM = shutil.which("chromium")
PAGE = ["app.js", "icon.svg", "index.html", "manifest.webmanifest", "painter.js", "style.css", "texts.js", "worker.js"]
PHOTOGRAPHS = (noise(70, 101, seed=1).numpy(), noise(64, 96, seed=2).numpy())
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
FLAGS += ["--disable-background-networking"]


class Shelf(Store):
    """The real photographs, and a library that is none."""

    def __init__(self, folder):
        super().__init__(offline=True)
        self.folder = folder / "library"
        self.folder.mkdir(exist_ok=True)
        for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.wasm", "manifest.json"):
            (self.folder / name).write_text(name)

    def path(self, asset_id, on_progress=None):
        return self.folder if asset_id == web.LIBRARY else super().path(asset_id)

    def file(self, asset_id, name, on_progress=None):
        return self.folder / name if asset_id == web.LIBRARY else super().file(asset_id, name)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    tensors = {name: tensor for name, tensor in tiny_network().items() if name[:6] != "style." or name < "style.s11"}
    networks.Trained(tensors, {"licences": {"s0": "CC0"}}).save(path)
    return path


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.real
def test_a_folder_has_all_that_the_page_asks_for(network, tmp_path):
    folder = tmp_path / "site"
    outcome = web.export([network, catalog.PACK, network], folder, Shelf(tmp_path), PHOTOGRAPHS)
    names = contents(folder)
    assert outcome.parity.psnr > 90
    assert outcome.bytes == sum((folder / name).stat().st_size for name in names)
    assert set(PAGE) < set(names)
    assert {"ort/NOTICE.txt", "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.wasm", "sample.jpg"} < set(names)
    own, pack = json.loads((folder / "networks.json").read_text())["networks"]  # each once
    assert [one["name"] for one in own["styles"]] == ["s0", "s1", "s10"]
    assert own["styles"][0]["licence"] == "CC0"
    assert len(own["styles"][0]["code"]) == networks.read(network).code("s0").shape[1]
    assert len(pack["styles"]) == len(catalog.pack())
    for row in (own, pack):
        assert row["file"] in names
        for style in row["styles"]:
            assert images.read(folder / style["thumbnail"]).width > 30
    worker = (folder / "service-worker.js").read_text()
    assert "{{" not in worker
    assert not [name for name in json.loads(re.search(r"PAGE = (.*);", worker)[1])[1:] if name not in names]


@pytest.mark.real
def test_a_folder_of_ours_is_replaced_and_another_is_not(network, tmp_path):
    folder, shelf = tmp_path / "site", Shelf(tmp_path)
    web.export([network], folder, shelf, PHOTOGRAPHS)
    version = re.search("impasto-[0-9a-f]+", (folder / "service-worker.js").read_text())[0]
    (folder / "old.txt").touch()
    web.export([catalog.PACK], folder, shelf, PHOTOGRAPHS)
    assert "old.txt" not in contents(folder)
    assert version not in (folder / "service-worker.js").read_text()  # so browsers load the new one
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(InputError, match="holds other files"):
        web.export([network], tmp_path / "mine", shelf, PHOTOGRAPHS)
    assert contents(tmp_path / "mine") == ["letter.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "mine", "net.safetensors", "site"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["NET", "nowhere.safetensors", "--to", "web", "-o", "site"], "nowhere.safetensors"),
        (["NET", "NET", "-o", "net.onnx"], "2 networks"),
        ([], "no network"),
        (["NET", "--to", "web", "-o", "NET"], "is a file"),
        (["NET", "--to", "web", "--shape", "64x64", "-o", "site"], "takes any size"),
        (["adain", "--to", "web", "-o", "site"], "takes a painting cannot"),
    ],
)
def test_what_makes_no_page_is_told(words, message, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert app.run(["export", *(str(network) if word == "NET" else word for word in words)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 2
    assert not (tmp_path / "site").exists()


# --- the library, by npm ----------------------------------------------------------------------------------------------


def npm(folder, text, monkeypatch):
    """A program of that name, first on the path."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error network is down' >&2; exit 1", "network is down"),
        ("exit 0", "gave no package file"),
        ("for last; do :; done; echo wrong > $4/onnxruntime-web.tgz", "not the declared file: expected 33,106,585"),
    ],
)
def test_what_npm_gets_wrong_is_told_and_leaves_nothing(script, message, tmp_path, monkeypatch):
    npm(tmp_path, script, monkeypatch)
    store = Store(tmp_path / "cache", offline=False)
    with pytest.raises(AssetError, match=message):
        store.fetch([web.LIBRARY])
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_where_npm_is_missing_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetError, match="a package of npm, which is not installed") as told:
        Store(tmp_path / "cache", offline=False).fetch([web.LIBRARY])
    assert "install Node.js" in told.value.hint


@pytest.mark.process
def test_npm_ends_with_the_one_who_waits_for_it(tmp_path, monkeypatch):
    npm(tmp_path, "echo $$ > $0.pid; exec sleep 600", monkeypatch)

    def stop(progress):
        if (tmp_path / "npm.pid").exists() and (tmp_path / "npm.pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "cache", offline=False).fetch([web.LIBRARY], stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "npm.pid").read_text()), 0)


# --- in a real browser ------------------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    """A plain server of files: it sends none of the headers that threads need."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pack's page, served."""
    if CHROMIUM is None:
        pytest.skip("no chromium here; make test installs it where it can (apt-get)")
    store, folder = Store(), tmp_path_factory.mktemp("web") / "site"
    if not store.is_present(web.LIBRARY) and shutil.which("npm") is None:
        pytest.skip("no npm here, which fetches the library")
    web.export([catalog.PACK], folder, store, PHOTOGRAPHS)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def playwright(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in the extra dev")
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright):
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield started
    started.close()


@pytest.fixture(scope="module")
def visit(site, browser):
    """One visit in English, all that it complained of, and whom it asked for files."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800}, accept_downloads=True)
    tab, complaints, hosts = context.new_page(), [], set()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", lambda request: hosts.add(re.sub(r"^blob:", "", request.url).split("/")[2]))
    tab.goto(site[1])
    wait(tab, " s · ")
    yield tab, complaints, hosts
    context.close()


def wait(tab, words, *, seconds=600):
    tab.locator("#status").filter(has_text=re.compile(words)).wait_for(timeout=1000 * seconds)


def repainted(tab, act):
    """Do something, and wait until it is painted."""
    tab.evaluate("document.getElementById('status').textContent = ''")
    act()
    wait(tab, " s · ")


def upload(tab, path):
    tab.evaluate("document.getElementById('file').value = ''")  # the same once more is no change
    tab.set_input_files("#file", path)


def downloaded(tab, path):
    with tab.expect_download() as caught:
        tab.click("#download")
    caught.value.save_as(path)
    return images.read(path).pixels


@pytest.fixture(scope="module")
def photograph(tmp_path_factory, photos):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    images.write(images.read(images.read(photos / "coffee.png").resized(133, 200).pixels), path)
    return path


def by_python(photograph, styles, **knobs):
    return Engine(precision="float32", device="cpu").stylize(photograph, styles, Request(knobs=knobs)).picture.pixels


@pytest.mark.real
@pytest.mark.process
@pytest.mark.parametrize("page", ["deploy.md", "deploy.zh.md"])
def test_the_script_of_the_guide_paints_in_a_page_of_ones_own(page, site, browser):
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    (script,) = re.findall(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    script = script.replace(
        "import { Painter } from './painter.js';", "const { Painter } = await import('./painter.js');"
    )
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(site[1] + "networks.json")  # a page of this origin without a line of ours
    grey = "const imageData = new ImageData(new Uint8ClampedArray(64 * 48 * 4).fill(128), 64, 48);"
    painted = tab.evaluate(
        f"async () => {{ {grey} {script} return [image.width, image.height, new Set(image.data).size]; }}"
    )
    context.close()
    assert painted[:2] == [64, 48]
    assert painted[2] > 20


@pytest.mark.real
@pytest.mark.process
def test_a_photograph_comes_out_as_python_paints_it(visit, photograph, tmp_path):
    tab, _, _ = visit
    repainted(tab, lambda: upload(tab, photograph))
    meant = by_python(photograph, "pack:irises")
    made = downloaded(tab, tmp_path / "out.png")
    assert made.shape == meant.shape
    assert ssim(made, meant) > 0.99
    assert np.abs(made - meant).max() < 2 / 255
    assert tab.evaluate("crossOriginIsolated")  # so it paints with several threads, from a plain server


@pytest.mark.real
@pytest.mark.process
def test_styles_are_mixed_by_keyboard(visit, photograph, tmp_path):
    tab, _, _ = visit
    repainted(tab, lambda: upload(tab, photograph))
    tab.focus('[data-style="circus"]')
    repainted(tab, lambda: tab.keyboard.press("Enter"))
    assert tab.get_attribute('[data-style="circus"]', "aria-pressed") == "true"
    tab.focus("#mix-circus")
    tab.keyboard.press("Home")
    for _ in range(3):
        tab.keyboard.press("PageUp")
    share = int(tab.input_value("#mix-circus")) / 100
    assert 0 < share < 1
    tab.focus("#strength")
    tab.keyboard.press("Home")
    repainted(tab, lambda: [tab.keyboard.press("PageUp") for _ in range(7)])
    strength = int(tab.input_value("#strength")) / 100
    tab.wait_for_timeout(300)
    wait(tab, " s · ")
    meant = by_python(photograph, [("pack:irises", 1.0), ("pack:circus", share)], strength=strength)
    assert ssim(downloaded(tab, tmp_path / "out.png"), meant) > 0.99
    tab.click("#compare")
    repainted(tab, lambda: tab.click('[data-style="circus"]'))
    assert tab.get_attribute("#compare", "aria-pressed") == "true"
    tab.click("#compare")


@pytest.mark.real
@pytest.mark.process
def test_the_camera_is_painted_and_its_rate_is_shown(visit, tmp_path):
    tab, _, _ = visit
    tab.click("#camera")
    wait(tab, r"\d+\.\d frames a second · 256 × \d+ px")
    shots = []
    for _ in range(2):
        shots.append(tab.locator("#canvas").screenshot())
        tab.wait_for_timeout(1200)
    assert shots[0] != shots[1]  # it moves
    tab.click("#record")
    tab.wait_for_timeout(1000)
    with tab.expect_download() as caught:
        tab.click("#record")
    caught.value.save_as(tmp_path / "camera.video")
    assert (tmp_path / "camera.video").stat().st_size > 1000
    tab.click("#camera")  # the last frame stays, as a photograph
    wait(tab, " s · ")
    assert tab.get_attribute("#camera", "aria-pressed") == "false"


@pytest.mark.real
@pytest.mark.process
def test_a_video_is_painted(visit, tmp_path):
    from impasto.videos import VideoWriter

    path, wide = tmp_path / "clip.webm", noise(64, 200)[0].permute(1, 2, 0).numpy()
    with VideoWriter(path, rate=20) as writer:
        for index in range(20):
            writer.write(np.ascontiguousarray(wide[:, 2 * index : 2 * index + 96]))
    tab, _, _ = visit
    upload(tab, path)
    wait(tab, "frames a second · 96 × 64 px")


@pytest.mark.real
@pytest.mark.process
def test_what_is_no_picture_is_told(visit, photograph, tmp_path):
    tab, _, _ = visit
    repainted(tab, lambda: upload(tab, photograph))
    (tmp_path / "text.png").write_text("no picture")
    upload(tab, tmp_path / "text.png")
    wait(tab, "no picture or video")
    repainted(tab, lambda: upload(tab, photograph))  # and it goes on


@pytest.mark.real
@pytest.mark.process
def test_nothing_was_asked_of_others_and_nothing_complained(visit, site):
    tab, complaints, hosts = visit
    assert hosts == {site[1].split("/")[2]}
    assert complaints == []
    policy = tab.get_attribute('meta[http-equiv="Content-Security-Policy"]', "content")
    assert "default-src 'none'" in policy
    assert not re.search(r"'unsafe-(inline|eval)'|https?:|\*", policy)


@pytest.mark.real
@pytest.mark.process
@pytest.mark.skipif("EXPORTS" not in os.environ, reason="takes a minute: make test-export")
def test_webgpu_paints_the_same(playwright, site, tmp_path, picture_file):
    """On a graphics processor that Chromium emulates, so the picture is small."""
    photo = picture_file(width=96, height=64)
    flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    tab = browser.new_context(service_workers="block").new_page()
    tab.route("**/sample.jpg", lambda route: route.fulfill(path=photo))
    tab.add_init_script("sessionStorage.setItem('reloaded', 'yes')")
    tab.goto(site[1])
    if not tab.evaluate("navigator.gpu?.requestAdapter().then(Boolean)"):
        pytest.skip("this browser has no WebGPU, and emulates none")
    wait(tab, "96 × 64 px in .* s · WebGPU", seconds=600)
    assert ssim(downloaded(tab, tmp_path / "out.png"), by_python(photo, "pack:irises")) > 0.99
    browser.close()


@pytest.mark.real
@pytest.mark.process
def test_both_languages_have_all_words(browser, site):
    context = browser.new_context(locale="zh-CN", viewport={"width": 360, "height": 740}, is_mobile=True)
    tab = context.new_page()
    tab.goto(site[1])
    wait(tab, "用时")
    assert tab.get_attribute("html", "lang") == "zh-CN"
    assert "鸢尾花" in tab.locator("#styles").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") == 360  # nothing sticks out
    left = set(re.findall(r"[A-Za-z]{3,}", tab.locator("body").inner_text()))
    assert left <= {"Impasto", "WebAssembly", "English", "pack", "public", "domain"}
    tab.click("#language")
    assert "Irises" in tab.locator("#styles").inner_text()
    assert not re.search("[\u4e00-\u9fff]", tab.locator("main").inner_text())
    context.close()


@pytest.mark.real
@pytest.mark.process
def test_it_works_offline_once_loaded(visit, site):
    """The last: it takes the server away."""
    tab, complaints, _ = visit
    site[0].shutdown()
    site[0].socket.close()
    tab.context.set_offline(True)
    tab.reload()
    wait(tab, " s · ")
    assert tab.evaluate("crossOriginIsolated")
    assert not [one for one in complaints if "ERR" in one]
