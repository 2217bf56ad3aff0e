"""The studio in a real browser, on a real server with tiny networks: the whole path, keys, phones, and faults."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from impasto.serve.http import make_app
from impasto.serve.pages import FOLDER, POLICY
from impasto.serve.service import Service
from impasto.serve.settings import Listening, ServeSettings
from impasto.serve.store import JobStore
from impasto.train import _run
from impasto.videos import VideoWriter, probe_video
from serving import HttpRunning
from tiny import write_photographs

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
in_browser = [
    pytest.mark.process,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium, as make test does"),
]
AXE = "axe-core@4.12.1"
AXE_INTEGRITY = "s7iGf5GaVMxEG0ENN9x+xTr7GFZCb1ZP/1uATUpCEK2X78nDB3RwbtFCo9pGAf9ru+VwoQ464DkaLEeRM08wJA=="
KEY = "k" * 32
FOCUSED = """() => {
  const { title, textContent, ariaLabel } = document.activeElement;
  return ariaLabel ?? (title || textContent);
}"""
SERIOUS = """() => axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations
  .filter(({ impact }) => ['serious', 'critical'].includes(impact))
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 150)).join(' | ')}`))"""


# --- the files -------------------------------------------------------------------------------------------------------


def sources(ending):
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob(f"*{ending}")}


def test_the_page_is_small_and_needs_nothing_from_elsewhere():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 150_000
    for name, text in (sources(".js") | sources(".css") | sources(".html")).items():
        found = set(re.findall(r"https?://[^\s'\"]+", text))
        assert found <= {"http://www.w3.org/2000/svg"}, name


def test_every_word_is_there_in_both_languages():
    text = sources(".js")["text.js"]
    english, chinese = (
        set(re.findall(r"(\w+): '", part)) for part in re.findall(r"const (?:EN|ZH) = \{(.*?)\n\};", text, re.DOTALL)
    )
    assert english == chinese
    used = {key for code in sources(".js").values() for key in re.findall(r"\bt\('(\w+)'", code)}
    assert used <= english
    shown = {name: code.partition("export const language")[2] or code for name, code in sources(".js").items()}
    assert not {key for key in english if not any(re.search(rf"\b{key}\b", code) for name, code in shown.items())}


# --- what the page asks for ------------------------------------------------------------------------------------------


@pytest.fixture
def client(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path / "state"))
    service = Service(engine, ServeSettings(max_pixels=10_000))
    service.start()
    yield TestClient(make_app(service), raise_server_exceptions=False)
    service.close(0)


def test_files_of_the_page_and_no_others_are_served(client):
    page = client.get("/")
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["x-frame-options"] == "DENY"
    for name in re.findall(r'(?:src|href)="/(studio/[^"]+)"', page.text):
        assert client.get(f"/{name}").status_code == 200
    style = client.get("/studio/studio.css")
    assert (style.headers["content-encoding"], style.content) == ("gzip", (FOLDER / "studio.css").read_bytes())
    assert "content-encoding" not in client.get("/studio/studio.css", headers={"Accept-Encoding": "br"}).headers
    assert client.get("/studio/studio.css", headers={"If-None-Match": style.headers["etag"]}).status_code == 304
    for name in ("studio/pages.py", "studio/..%2Fpages.py", "studio/.html", "studio/x.js", "studio/"):
        assert client.get(f"/{name}").status_code in (404, 422), name


def test_pictures_of_other_formats_become_jpeg(client):
    stream = io.BytesIO()
    Image.open(io.BytesIO(picture())).save(stream, "TIFF")
    reply = client.post("/v1/preview", files={"content": ("scan.tif", stream.getvalue())})
    assert Image.open(io.BytesIO(reply.content)).format == "JPEG"
    assert client.post("/v1/preview", files={"content": ("a.tif", b"words")}).status_code == 422
    assert client.post("/v1/preview", files={"content": ("a.png", picture(0, 160, 80))}).status_code == 422
    assert client.post("/v1/masks", data={"content": "words"}).status_code == 422


@pytest.mark.usefixtures("pointing")
def test_what_is_pointed_at_is_a_mask(client):
    """Places count in the picture that was sent, and no word is a file of the server."""

    def ask(what):
        return client.post("/v1/masks", params={"what": what}, files={"content": ("photo.png", picture())})

    reply = ask("point 50%,25%")
    mask = np.asarray(Image.open(io.BytesIO(reply.content)).convert("L"))
    assert (mask.shape, mask[16, 48], mask[40, 48]) == ((64, 96), 255, 0)
    for what, told in (("point 96,3", "outside"), ("point 3", "no place"), ("/etc/passwd", "no mask"), ("", "no mask")):
        refused = ask(what)
        assert (refused.status_code, told in refused.json()["error"]) == (422, True), refused.text


def test_results_have_small_pictures_for_their_owner(client):
    files = {"content": ("photo.png", picture()), "style": ("painting.png", picture(1))}
    job = client.post("/v1/jobs", files=files, data={"quality": "draft"}).json()["id"]
    client.get(f"/v1/jobs/{job}/events")
    reply = client.get(f"/v1/jobs/{job}/thumbnail?side=48")
    assert Image.open(io.BytesIO(reply.content)).size == (48, 32)
    assert client.get(f"/v1/jobs/{job}/thumbnail", headers={"X-Impasto-Client": "other"}).status_code == 404


def test_about_tells_limits_and_what_qualities_stand_for(client):
    about = client.get("/v1/about").json()
    assert about["limits"]["max_pixels"] == 10_000
    assert about["qualities"]["good"]["steps"] < about["qualities"]["best"]["steps"]


@pytest.mark.process
def test_the_command_serves_the_page_until_it_is_stopped(tmp_path):
    environment = {**os.environ, "IMPASTO_STATE": str(tmp_path)}
    line = [sys.executable, "-m", "impasto", "studio", "--no-browser", "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as running:
        told = running.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", told)[0]
        with urllib.request.urlopen(address, timeout=120) as page:
            assert b"Impasto" in page.read()
        running.terminate()
        assert running.wait(120) == 0, running.stderr.read()


# --- a server and a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in the extra dev")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Studio:
    """A service that can be stopped and started on its port, and pages of it."""

    def __init__(self, engine, browser, folder):
        self.engine, self.browser, self.folder, self.port = engine, browser, folder, 0
        self.limits, self.keys, self.expected, self.complaints, self.contexts = {}, (), [], [], []
        self.asked = set()  # hosts of all that the pages loaded
        self.kept = None  # a folder in which jobs outlive the service

    def start(self):
        store = None if self.kept is None else JobStore(self.kept)
        self.service = Service(self.engine, ServeSettings(preview_seconds=0.0, **self.limits), store)
        self.service.start()
        self.running = HttpRunning(self.service, Listening(http_port=self.port, keys=self.keys))
        self.port = self.running.port

    def stop(self):
        self.running.close()
        self.service.store.close()
        self.running = None

    def open(self, width=1280, height=800, **more):
        context = self.browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-GB", **more})
        context.set_default_timeout(120_000)
        self.contexts.append(context)
        return self.tab(context)

    def tab(self, context):
        page = context.new_page()
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url.split("/")[2] if "//" in request.url else ""))
        page.goto(f"http://127.0.0.1:{self.port}/")
        page.wait_for_selector("html[data-ready]")
        return page

    def close(self):
        for context in self.contexts:
            context.close()
        if self.running is not None:
            self.stop()
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+|", host) for host in self.asked)
        unexpected = [one for one in self.complaints if not any(re.search(words, one) for words in self.expected)]
        assert unexpected == []


@pytest.fixture
def studio(engine, browser, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path / "state"))
    made = Studio(engine, browser, tmp_path)
    made.start()
    yield made
    made.close()


@contextmanager
def restarted(studio, kept=None, **limits):
    studio.stop()
    studio.limits, studio.port, studio.kept = limits, 0, kept
    studio.start()
    yield studio


def picture(seed=0, width=96, height=64):
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(stream, "PNG")
    return stream.getvalue()


def file(name, data, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": data}


def give_photo(page, data=None, name="photo.png"):
    field = page.locator("#photo-input, .photo input[type=file]").first
    field.set_input_files(file(name, data or picture()))
    page.wait_for_selector(".viewer")


def give_painting(page, seed=1):
    page.locator(".tile.add input").first.set_input_files(file(f"painting{seed}.png", picture(seed)))
    page.wait_for_selector(f".chip:nth-child({seed})")


def drop_file(page, path, data, selector):
    """Drop a file from outside the browser onto a part of the page."""
    path.write_bytes(data)
    box = page.locator(selector).first.bounding_box()
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent",
            {"type": kind, **where, "data": {"items": [], "files": [str(path)], "dragOperationsMask": 1}},
        )
    session.detach()


def says(page, words):
    told = page.locator(".badge .told").filter(has_text=re.compile(words))
    try:
        told.wait_for()
    except Exception as error:
        found = page.locator(".badge .told, .toast, .banner").all_text_contents()
        raise AssertionError(f"the page says {found}, not {words}") from error


def width(page):
    """Of the page's contents."""
    return page.evaluate("document.documentElement.scrollWidth")


def steps(page, count):
    page.evaluate(
        "n => import('/studio/state.js').then(({ change }) => change({ values: { steps: n }, size: 0 }))", count
    )


def paint(page, count=1):
    """Paint, and wait until it is done."""
    steps(page, count)
    page.click("#paint")
    says(page, "^Done")


@pytest.fixture
def slowly(studio, monkeypatch):
    """Makes each step of a job wait until it is let on."""
    gate = threading.Event()
    told = Service._progress

    def wait(service, live, progress):
        told(service, live, progress)
        if live.keep and progress.step == 1:
            gate.wait(120)
            told(service, live, progress)

    monkeypatch.setattr(Service, "_progress", wait)
    yield gate
    gate.set()


# --- the whole path --------------------------------------------------------------------------------------------------


class TestInBrowser:
    """Everything that needs the browser."""

    pytestmark = in_browser

    def test_from_a_photograph_to_ratings(self, studio):
        page = studio.open(accept_downloads=True)
        give_photo(page)
        give_painting(page)
        says(page, "^Draft ·")
        assert page.locator(".plane img.after").evaluate("image => image.naturalWidth") == 96
        paint(page)
        page.get_by_role("radio", name="4 of 5 stars").click()
        with page.expect_download() as got:
            page.get_by_role("button", name="Download", exact=True).click()
        assert Image.open(io.BytesIO(Path(got.value.path()).read_bytes())).size == (96, 64)
        with page.expect_download() as got:
            page.get_by_role("button", name="The settings").click()
        assert json.loads(Path(got.value.path()).read_text())["settings"]["steps"] == 1
        page.get_by_role("button", name="Large version").click()
        with page.expect_download() as got:
            page.get_by_role("button", name="As the photograph").click()
        assert Image.open(io.BytesIO(Path(got.value.path()).read_bytes())).size == (96, 64)
        page.get_by_role("button", name="Gallery").click()
        page.wait_for_selector(".card:nth-child(2)")
        for tick in page.locator(".tick input").all():
            tick.check()
        page.get_by_role("button", name="Compare (2)").click()
        page.wait_for_selector(".panes.of2 figure:nth-child(2) .after[src]")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Ratings").click()
        assert "4.00" in page.locator("table").first.text_content()
        with page.expect_download() as got:
            page.get_by_role("button", name="Download as CSV").click()
        assert Path(got.value.path()).read_text().splitlines()[1].split(",")[1] == "4"

    def test_pictures_are_mixed_zoomed_and_compared(self, studio):
        page = studio.open()
        give_photo(page)
        for seed in (1, 2, 3):
            give_painting(page, seed)
        says(page, "^Draft ·")
        shares = "() => import('/studio/state.js').then(({ state }) => state.chosen.map((one) => one.weight))"
        assert page.evaluate(shares) == pytest.approx([1 / 3] * 3)
        box = page.locator(".pad").bounding_box()
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.1 * box["height"])
        assert page.evaluate(shares) == pytest.approx([1, 0, 0], abs=0.03)
        page.locator(".pad").press("ArrowDown")
        assert 0.5 < page.evaluate(shares)[0] < 1
        page.locator(".chip input").nth(1).fill("50")
        assert page.evaluate(shares)[1] == pytest.approx(0.5)
        view = page.locator(".view")
        view.press("1")
        assert page.locator(".scale").text_content() == "100 %" or page.locator(".plane").bounding_box()["width"] >= 96
        view.press("+")
        zoomed = page.locator(".plane").bounding_box()["width"]
        view.press("0")
        assert page.locator(".plane").bounding_box()["width"] < zoomed
        split = page.locator(".split")
        split.press("End")
        assert split.get_attribute("aria-valuenow") == "100"
        split.press("PageDown")
        assert split.get_attribute("aria-valuenow") == "80"

    def test_pictures_are_pasted_and_dropped(self, studio):
        page = studio.open(permissions=["clipboard-read", "clipboard-write"])
        page.evaluate(
            """async (text) => {
                 const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                 const blob = new Blob([bytes], { type: 'image/png' });
                 await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
               }""",
            base64.b64encode(picture()).decode(),
        )
        page.keyboard.press("Control+V")
        page.get_by_text("96 × 64").wait_for()
        drop_file(page, studio.folder / "dropped.png", picture(2, 80, 80), ".stage")
        page.get_by_text("80 × 80").wait_for()
        drop_file(page, studio.folder / "mine.png", picture(3), ".panel .holder")
        page.locator(".chip").filter(has_text="mine").wait_for()
        drop_file(page, studio.folder / "notes.txt", b"words", ".stage")
        page.get_by_text("notes.txt is not a picture").wait_for()

    def test_four_are_mixed_on_a_square_and_four_results_compared(self, studio):
        page = studio.open()
        give_photo(page)
        for seed in (1, 2, 3, 4):
            give_painting(page, seed)
        says(page, "^Draft ·")
        shares = "() => import('/studio/state.js').then(({ state }) => state.chosen.map((one) => one.weight))"
        box = page.locator(".pad").bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
        page.mouse.up()
        assert page.evaluate(shares) == pytest.approx([0, 0.5, 0.5, 0], abs=0.03)
        page.locator(".pad").press("ArrowUp")
        assert page.evaluate(shares)[1] > 0.52
        for count in (1, 2, 1, 2):
            paint(page, count)
            page.wait_for_selector(".frame.done")
        page.get_by_role("button", name="Gallery").click()
        page.wait_for_selector(".card:nth-child(4)")
        for tick in page.locator(".tick input").all():
            tick.check()
        page.get_by_role("button", name="Compare (4)").click()
        page.wait_for_selector(".panes.of4 figure:nth-child(4) .after[src]")
        widths = [one.bounding_box()["width"] for one in page.locator(".panes .plane").all()]
        page.locator(".panes .view").first.press("+")
        zoomed = [one.bounding_box()["width"] for one in page.locator(".panes .plane").all()]
        assert [after / before for before, after in zip(widths, zoomed, strict=True)] == pytest.approx([1.5] * 4, 0.02)
        page.locator(".panes figure:nth-child(3) .stars button").nth(1).click()
        page.wait_for_selector(".panes figure:nth-child(3) .stars button:nth-child(2)[aria-checked=true]")

    # --- videos and trainings

    def test_a_video_is_painted_and_played(self, studio):
        page = studio.open(accept_downloads=True)
        with VideoWriter(studio.folder / "clip.mp4", rate=12) as writer:
            for index in range(12):
                writer.write(np.full((64, 96, 3), index / 12, np.float32))
        page.locator("#photo-input").set_input_files(str(studio.folder / "clip.mp4"))
        page.get_by_text("96 × 64 · Video, 1.0 s").wait_for()
        give_painting(page)
        says(page, "^Draft ·")
        page.click("#tab-where")
        page.get_by_text("finds the subject in each frame").wait_for()
        steps(page, 1)
        page.click("#paint")
        says(page, "^Done")
        page.wait_for_function("() => document.querySelector('video.plays')?.videoWidth === 96")
        with page.expect_download() as got:
            page.get_by_role("button", name="Download", exact=True).click()
        assert got.value.suggested_filename.endswith(".mp4")
        assert probe_video(Path(got.value.path())).count == 12
        page.get_by_role("button", name="Gallery").click()
        page.locator(".card .kind").filter(has_text="Video").wait_for()
        page.reload()
        page.wait_for_selector("html[data-ready]")
        page.get_by_text("96 × 64 · Video, 1.0 s").wait_for()

    def test_a_video_that_is_too_long_is_cut_and_one_too_large_is_told(self, studio):
        studio.expected = ["status of 413"]
        with VideoWriter(studio.folder / "clip.mp4", rate=4) as writer:
            for _ in range(12):
                writer.write(np.zeros((64, 96, 3), np.float32))
        with restarted(studio, video_seconds=1, video_pixels=4000):
            page = studio.open()
            page.locator("#photo-input").set_input_files(str(studio.folder / "clip.mp4"))
            page.get_by_text("The first 1 s of the video will be painted").wait_for()
            give_painting(page)
            steps(page, 1)
            page.click("#paint")
            page.get_by_text("choose a smaller size").wait_for()
            page.evaluate("import('/studio/state.js').then(({ change }) => change({ size: 64 }))")
            page.click("#paint")
            says(page, "^Done")

    def test_a_style_is_trained_shown_cancelled_and_used(self, studio, monkeypatch, axe):
        monkeypatch.setattr(_run, "_VALIDATIONS", 2)
        photographs = write_photographs(studio.folder / "photographs", 10, side=272)
        with restarted(studio, training_photos=photographs):
            page = studio.open()
            give_photo(page)
            give_painting(page)
            page.get_by_role("button", name="Quick", exact=True).click()
            page.get_by_role("button", name="Train a quick style").click()
            page.evaluate(axe)
            assert page.evaluate(SERIOUS) == []
            page.get_by_label("Name").fill("My wheat")
            page.get_by_label("Minutes").fill("60")
            page.get_by_role("button", name="Start training").click()
            says(page, "^Training")
            page.wait_for_selector('.plane .after[src^="data:image/jpeg"]')
            page.get_by_role("button", name="Cancel").first.click()
            page.get_by_role("button", name="Use it").first.click()
            page.locator(".chip").filter(has_text="My Wheat").wait_for()
            says(page, "^Draft ·")
            page.locator(".tile").filter(has_text="My Wheat").wait_for()

    def test_where_no_styles_are_trained_it_is_said_why(self, studio):
        page = studio.open()
        page.get_by_role("button", name="Quick", exact=True).click()
        page.get_by_role("button", name="Train a quick style").click()
        page.get_by_text("has no photographs to train with").wait_for()

    def test_a_link_carries_the_settings(self, studio):
        page = studio.open(permissions=["clipboard-read", "clipboard-write"])
        give_photo(page)
        page.get_by_role("button", name=re.compile("^Irises")).click()
        page.get_by_label("Size").select_option("1024")
        page.get_by_role("button", name="Share as a link").click()
        page.get_by_text("is copied").wait_for()
        link = page.evaluate("navigator.clipboard.readText()")
        other = studio.open()
        other.goto(link)
        other.wait_for_selector("html[data-ready]")
        other.wait_for_selector(".chip")
        assert "Irises" in other.locator(".chip").text_content()
        assert other.get_by_label("Size").input_value() == "1024"
        forged = base64.urlsafe_b64encode(
            json.dumps({"styles": [["x", 1]], "size": "<b>", "values": {"steps": -1}}).encode()
        )
        other.goto(f"http://127.0.0.1:{studio.port}/?#look={forged.decode()}")
        other.wait_for_selector("html[data-ready]")
        other.get_by_text("is not here").wait_for()
        kept = "() => import('/studio/state.js').then(({ state }) => [state.size, state.values, state.chosen])"
        assert other.evaluate(kept) == [768, {}, []]

    def test_a_region_is_brushed_and_painted_alone(self, studio):
        page = studio.open()
        give_photo(page)
        page.get_by_role("button", name=re.compile("^Irises")).click()
        page.click("#tab-where")
        page.get_by_role("button", name="Brush…").click()
        box = page.locator(".board canvas").bounding_box()
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5, steps=4)
        page.mouse.up()
        page.get_by_role("button", name="Undo").click()
        canvas = page.locator(".board canvas")
        covered = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
                       .filter((value, at) => at % 4 === 3 && value > 200).length"""
        assert canvas.evaluate(covered) == 0
        page.get_by_role("button", name="Redo").click()
        assert canvas.evaluate(covered) > 50
        canvas.press("Space")
        canvas.press("e")
        canvas.press("Space")
        page.get_by_role("button", name="Done").click()
        page.wait_for_selector("img.mask")
        paint(page)
        changed = page.evaluate(
            """() => Promise.all(['.after', '.before'].map(async (name) => {
                 const bitmap = await createImageBitmap(document.querySelector(`.plane ${name}`));
                 const context = new OffscreenCanvas(96, 64).getContext('2d');
                 context.drawImage(bitmap, 0, 0, 96, 64);
                 return [...context.getImageData(0, 0, 96, 64).data];
               }))"""
        )
        after, before = (np.reshape(one, (64, 96, 4)).astype(float) for one in changed)
        assert abs(after - before)[:, -20:].mean() < 2 < abs(after - before)[:, :8].mean()

    @pytest.mark.usefixtures("pointing")
    def test_things_are_selected_by_a_click_and_taken_out_again(self, studio):
        page = studio.open()
        give_photo(page)
        page.get_by_role("button", name=re.compile("^Irises")).click()
        page.click("#tab-where")
        page.get_by_role("button", name="Point at it…").first.click()
        canvas = page.locator(".board canvas")
        covered = """n => { const canvas = document.querySelector('.board canvas');
                    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                    return data.filter((value, at) => at % 4 === 3 && value > 200).length === n; }"""
        box = canvas.bounding_box()
        for across in (0.25, 0.75):
            canvas.click(position={"x": box["width"] * across, "y": box["height"] / 2})
            page.wait_for_function(covered, arg=100 if across < 0.5 else 200)
        canvas.press("e")
        canvas.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})
        page.wait_for_function(covered, arg=100)
        page.get_by_role("button", name="Done").click()
        page.wait_for_selector("img.mask")

    # --- without a mouse, on a phone, for everyone

    def test_keys_alone_paint_a_picture(self, studio):
        page = studio.open()
        give_photo(page)  # the browser's own dialog for files is not ours to drive

        def tab_to(words, most=60):
            for _ in range(most):
                page.keyboard.press("Tab")
                if re.search(words, page.evaluate(FOCUSED)):
                    return
            raise AssertionError(f"the Tab key does not come to {words}")

        tab_to("Search")
        page.keyboard.type("irises")
        tab_to("^Irises")
        page.keyboard.press("Enter")
        says(page, "^Draft ·")
        page.keyboard.press("Control+Enter")
        says(page, "^Done")
        page.locator("#tab-paintings").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-adjust"
        page.locator(".stars button").first.focus()
        page.keyboard.press("5")
        page.wait_for_selector(".stars button:nth-child(5)[aria-checked=true]")

    @pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
    def test_it_fits_a_phone(self, studio, locale):
        page = studio.open(360, 740, locale=locale, has_touch=True, is_mobile=True)
        give_photo(page)
        for view in (1, 2, 3, 1):
            page.locator(f"#views button:nth-child({view})").tap()
            assert width(page) <= 360
        box = page.locator("#paint").bounding_box()
        assert box["y"] + box["height"] <= 740
        assert page.locator("#paint").text_content() == {"en-GB": "Paint", "zh-CN": "开始绘制"}[locale]
        for tab in ("adjust", "where", "paintings"):
            page.locator(f"#tab-{tab}").tap()
            assert width(page) <= 360

    def test_language_and_light_can_be_switched(self, studio):
        page = studio.open(color_scheme="dark")
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.get_by_role("button", name="Light or dark").click()
        assert page.evaluate(ground) != dark
        page.get_by_role("button", name="Switch to Chinese").click()
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.locator("#paint").text_content() == "开始绘制"
        assert page.evaluate(ground) != dark

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_serious(self, studio, scheme, axe):
        page = studio.open(color_scheme=scheme)
        page.evaluate(axe)
        assert page.evaluate(SERIOUS) == []
        give_photo(page)
        give_painting(page, 1)
        give_painting(page, 2)
        paint(page)
        assert page.evaluate(SERIOUS) == []
        page.get_by_role("button", name="Quick", exact=True).click()
        page.get_by_role("button", name="Train a quick style").click()
        assert page.evaluate(SERIOUS) == []
        page.keyboard.press("Escape")
        for tab in ("adjust", "where"):
            page.click(f"#tab-{tab}")
            assert page.evaluate(SERIOUS) == []
        page.get_by_role("button", name="Brush…").first.click()
        assert page.evaluate(SERIOUS) == []
        page.keyboard.press("Escape")
        for view in (2, 3):
            page.click(f"#views button:nth-child({view})")
            page.wait_for_selector(".card, .ratings")
            assert page.evaluate(SERIOUS) == []

    # --- what goes wrong

    def test_scripts_from_elsewhere_and_inline_are_refused(self, studio):
        studio.expected = ["Content Security Policy", "violates the following", "status of 404"]  # of the picture x
        page = studio.open()
        assert page.request.get(page.url).headers["content-security-policy"] == POLICY
        page.evaluate("""() => {
          const script = document.createElement('script');
          script.textContent = 'document.title = "run"';
          document.body.append(script);
          document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="document.title = 1">');
        }""")
        page.wait_for_timeout(100)
        assert page.title() == "Impasto"

    def test_what_is_no_picture_is_told(self, studio):
        studio.expected = ["status of 422"]
        page = studio.open()
        for name, data, kind in (
            ("notes.txt", b"words", "text/plain"),
            ("broken.jpg", b"\xff\xd8\xff", "image/jpeg"),
            ("empty.png", b"", "image/png"),
        ):
            page.locator("#photo-input").set_input_files(file(name, data, kind))
            page.get_by_text(f"{name} is not a picture").wait_for()
        page.locator(".tile.add input").set_input_files(file("notes.txt", b"words", "text/plain"))
        assert page.locator(".chip").count() == 0

    def test_a_format_that_browsers_do_not_know_is_read_by_the_service(self, studio):
        page = studio.open()
        stream = io.BytesIO()
        Image.open(io.BytesIO(picture())).save(stream, "TIFF")
        give_photo(page, stream.getvalue(), "scan.tif")
        assert "96 × 64" in page.locator(".photo").text_content()

    def test_a_photograph_beyond_the_limit_is_made_smaller(self, studio):
        with restarted(studio, max_pixels=2000):
            page = studio.open()
            give_photo(page)
            page.get_by_text("was made smaller").wait_for()
            give_painting(page)
            paint(page)
            width, height = map(int, re.findall(r"\d+", page.locator(".photo .quiet").text_content()))
            assert width * height <= 2000

    def test_a_hundred_megapixels_on_a_phone(self, studio):
        page = studio.open(360, 740, has_touch=True, is_mobile=True)
        stream = io.BytesIO()
        Image.fromarray(np.tile(np.arange(0, 250, 1, np.uint8), (8400, 48))).save(stream, "JPEG", quality=60)
        (studio.folder / "huge.jpg").write_bytes(stream.getvalue())
        page.locator("#photo-input").set_input_files(str(studio.folder / "huge.jpg"))
        page.get_by_text("has 101 megapixels").wait_for(timeout=600_000)
        width, height = map(int, re.findall(r"\d+", page.locator(".photo .quiet").text_content()))
        assert width * height <= 50_000_000
        assert width / height == pytest.approx(12000 / 8400, rel=0.01)

    def test_a_job_survives_a_reload_and_shows_in_a_second_tab(self, studio, slowly):
        page = studio.open()
        give_photo(page)
        give_painting(page)
        steps(page, 3)
        page.click("#paint")
        says(page, "^Refining")
        page.reload()
        page.wait_for_selector("html[data-ready]")
        says(page, "^Refining")
        other = studio.tab(page.context)
        says(other, "^Refining")
        slowly.set()
        for one in (page, other):
            says(one, "^Done")
            one.wait_for_selector(".plane .before[src]", state="attached")

    def test_a_job_is_cancelled(self, studio, slowly):
        page = studio.open()
        give_photo(page)
        give_painting(page)
        steps(page, 50)
        page.click("#paint")
        says(page, "^Refining")
        page.get_by_role("button", name="Cancel").first.click()
        slowly.set()
        says(page, "^Stopped")

    def test_when_the_service_goes_away_the_work_is_kept(self, studio):
        studio.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE", "status of 503"]
        page = studio.open()
        give_photo(page)
        give_painting(page)
        says(page, "^Draft ·")
        steps(page, 1)
        studio.stop()
        page.click("#paint")
        page.get_by_text("does not answer").wait_for()
        assert page.locator(".chip").count() == 1
        studio.start()
        page.get_by_text("The service is back.", exact=True).wait_for()
        says(page, "^Done")
        assert len(studio.service.jobs().jobs) == 1

    def test_a_service_that_is_stopped_in_the_middle_of_a_job_goes_on_with_it(self, studio, slowly):
        studio.expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE", "status of 503"]
        with restarted(studio, kept=studio.folder / "kept"):
            page = studio.open()
            give_photo(page)
            give_painting(page)
            steps(page, 3)
            page.click("#paint")
            says(page, "^Refining")
            threading.Timer(0.5, slowly.set).start()  # not before the service stops: the job could be done by then
            studio.stop()
            page.get_by_text("does not answer").wait_for()
            assert page.locator(".chip").count() == 1
            studio.start()
            page.get_by_text("The service is back.", exact=True).wait_for()
            says(page, "^Done")
            assert len(studio.service.jobs().jobs) == 1

    def test_a_disk_that_is_really_full_is_told_and_the_work_goes_on_when_there_is_room(self, studio, small_disk):
        studio.expected = ["status of 507"]
        subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
        with restarted(studio, kept=small_disk / "state"):
            page = studio.open()
            give_photo(page)
            give_painting(page)
            says(page, "^Draft ·")
            steps(page, 1)
            with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            page.click("#paint")
            page.get_by_text("The disk of the service is full").wait_for()
            assert page.locator(".chip").count() == 1
            (small_disk / "filler").unlink()
            page.get_by_role("button", name="Try again").click()
            says(page, "^Done")
            studio.stop()

    def test_a_full_disk_is_told(self, studio):
        studio.expected = ["status of 507"]
        page = studio.open()
        give_photo(page)
        give_painting(page)
        full = {"error": "no space is left on the disk", "hint": "make room", "request_id": "x"}
        page.route(
            "**/v1/jobs",
            lambda route: route.fulfill(status=507, json=full) if route.request.method == "POST" else route.continue_(),
        )
        page.click("#paint")
        page.get_by_text("The disk of the service is full").wait_for()
        page.unroute("**/v1/jobs")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".frame")

    def test_a_service_with_a_key_asks_for_it(self, studio):
        studio.expected = ["status of 401"]
        studio.stop()
        studio.keys, studio.port = (KEY,), 0
        studio.start()
        context = studio.browser.new_context(locale="en-GB")
        studio.contexts.append(context)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{studio.port}/")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Enter").click()
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector(".tile img[src^='blob:']")


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core (MPL-2.0), which is fetched and checked, never committed."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here, which fetches axe-core")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"axe-core could not be fetched: {done.stderr.strip().splitlines()[:1]}")
    packed = next(folder.glob("*.tgz"))
    assert base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() == AXE_INTEGRITY
    with tarfile.open(packed) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()
