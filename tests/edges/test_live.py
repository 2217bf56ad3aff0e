"""Live painting: a file as the camera, a plain painter, the page by an HTTP client and in a real browser."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from impasto.cli.live import serve_page
from impasto.errors import InputError
from impasto.video.live import KEYS, Camera, Closed, Live, LiveSettings, after_key, as_jpeg, with_caption
from impasto.videos import CameraWriter, VideoWriter, live_frames
from tiny import noise

CHROMIUM = shutil.which("chromium")


class Negative:
    """Paints the negative, mixed by strength: quick, and known."""

    def __init__(self, seconds=0.0):
        self.seconds, self.shares = seconds, None

    def paint_codes(self, codes, *, strength=None, shares=None):
        time.sleep(self.seconds)
        self.shares = shares
        return np.rint((1 - strength) * codes + strength * (255.0 - codes)).astype(np.uint8)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    wide = noise(64, 200)[0].permute(1, 2, 0).numpy()
    with VideoWriter(path, rate=50) as writer:
        for index in range(50):
            writer.write(np.ascontiguousarray(wide[:, 2 * index : 2 * index + 96]))
    return path


@pytest.fixture
def live(clip):
    camera = Camera(str(clip), size=96)
    yield Live(Negative(), camera, ("one", "two"))
    camera.close()


def running(live, page):
    def show():
        for screen in live.screens():
            page.show(screen)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    return thread


def test_keys_change_the_wish():
    settings = LiveSettings()
    assert after_key(settings, "n", 2).style == 1
    assert after_key(after_key(settings, "n", 2), "n", 2).style == 0
    assert after_key(settings, "p", 3).style == 2
    assert after_key(settings, "-", 1).strength == pytest.approx(0.9)
    assert after_key(settings, "+", 1).strength == 1
    assert after_key(settings, "s", 1).side_by_side
    assert after_key(settings, "x", 1) == settings
    assert set(KEYS) == set("np+-sq")


def test_a_slow_painter_drops_frames_and_is_never_late(clip):
    camera = Camera(str(clip), size=96)
    live = Live(Negative(0.1), camera, ("one",))
    screens = live.screens()
    for _ in range(6):
        next(screens)
    camera.close()
    assert camera.dropped >= 6  # 50 frames a second come, at most ten are painted
    assert 0 < live.fps < 11
    assert live.latency < 0.4


def test_screens_show_what_was_wished(live):
    screens = live.screens()
    assert next(screens).shape == (64, 96, 3)
    live.press("s")
    live.press("n")
    wide = next(screens)
    assert wide.shape == (64, 192, 3)
    assert live.painter.shares == (0.0, 1.0)
    left, right = wide[:40, :96].astype(float), wide[:40, 96:].astype(float)
    assert left + right == pytest.approx(255, abs=30)
    for _ in range(10):
        live.press("-")
    plain = next(screens)
    assert plain[:40, :96] == pytest.approx(plain[:40, 96:].astype(float), abs=1)
    live.press("q")
    assert next(screens, None) is None


def test_a_smaller_inside_leaves_the_screen_as_large(clip):
    camera = Camera(str(clip), size=96)
    live = Live(Negative(), camera, ("one",), inner_size=48, pipelined=True)
    screens = live.screens()
    assert [next(screens).shape for _ in range(4)] == [(64, 96, 3)] * 4
    live.press("q")
    assert len(list(screens)) <= 3  # what was on its way
    camera.close()


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_camera_that_is_closed_ends_the_screens(clip, pipelined):
    camera = Camera(str(clip), size=96)
    screens = Live(Negative(), camera, ("one",), pipelined=pipelined).screens()
    next(screens)
    camera.close()
    assert len(list(screens)) <= 4  # what was on its way


class Stalled:
    """A camera that gives one frame and no more."""

    def __init__(self, frame):
        self.frame = frame

    def take(self, is_wanted=lambda: True):
        frame, self.frame = self.frame, None
        while frame is None and is_wanted():
            time.sleep(0.01)
        if frame is None:
            raise Closed
        return frame, time.perf_counter()


def test_a_camera_that_stalls_does_not_keep_it_from_ending():
    live = Live(Negative(), Stalled(np.zeros((32, 48, 3), np.uint8)), ("one",), pipelined=True)
    screens = live.screens()
    next(screens)
    screens.close()  # as an interrupt would; joins the thread that waits for a frame
    assert live.settings.stopped


def test_text_and_jpeg():
    screen = with_caption(np.zeros((40, 200, 3), np.uint8), "irisés 100%")
    assert screen.max() == 255
    assert as_jpeg(screen)[:2] == b"\xff\xd8"


def test_a_virtual_camera_gets_the_frames_without_words_on_them(tmp_path, clip):
    camera = Camera(str(clip), size=96)
    live = Live(Negative(), camera, ("one",), steady=False, labelled=False)
    screens = live.screens()
    with CameraWriter(tmp_path / "camera", 96, 64, form="rawvideo") as device:
        for _ in range(3):
            device.write(next(screens))
    camera.close()
    planes = np.fromfile(tmp_path / "camera", np.uint8).reshape(3, 96 * 64 * 3 // 2)
    source, _ = next(live_frames(str(clip), size=96))
    luma = (1 - source @ np.array([0.299, 0.587, 0.114], np.float32)) * 219 + 16
    assert planes[0, : 96 * 64].reshape(64, 96) == pytest.approx(luma, abs=4)


def test_what_is_no_virtual_camera_is_told(tmp_path):
    (tmp_path / "video9").write_text("")
    for device, words in ((tmp_path / "video8", "no device"), (tmp_path / "video9", "no virtual camera")):
        with pytest.raises(InputError, match=words) as told:
            CameraWriter(device, 96, 64)
        assert "v4l2loopback" in told.value.hint


def test_bad_cameras(tmp_path):
    for source, words in (("nothing.mp4", "no file or camera"), ("97", "cannot be read")):
        camera = Camera(source, size=96)
        with pytest.raises(InputError, match=words):
            camera.take()
    (tmp_path / "text.mp4").write_text("no video")
    camera = Camera(str(tmp_path / "text.mp4"), size=96)
    with pytest.raises(InputError, match="cannot be read as a video"):
        camera.take()


def fetch(address, **headers):
    request = urllib.request.Request(address, headers=headers, method="POST" if "key" in address else "GET")
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.read(20_000) if "stream" in address else reply.read()


def test_the_page_streams_and_listens_to_this_machine_only(live):
    with serve_page(live, 0) as page:
        thread = running(live, page)
        stream = fetch(f"{page.address}stream")
        assert stream.count(b"--impasto-frame") >= 2
        assert b"\xff\xd8" in stream
        assert b"<img" in fetch(page.address)
        reply = json.loads(fetch(f"{page.address}key?k=n", **{"X-Impasto": "live"}))
        assert reply == {"words": "two, 100 %"}
        for address, headers in (
            (f"{page.address}key?k=n", {}),
            (page.address, {"Host": "elsewhere.example"}),
            (f"{page.address}key?k=n", {"Host": "elsewhere.example", "X-Impasto": "live"}),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                fetch(address, **headers)
            assert refused.value.code == 403
            refused.value.close()
        assert live.settings.style == 1
        live.press("q")
        thread.join(5)
    with pytest.raises(urllib.error.URLError):
        fetch(page.address)


def test_a_taken_port_is_told(live):
    with (
        serve_page(live, 0) as page,
        pytest.raises(InputError, match="cannot be used"),
        serve_page(live, int(page.address.rsplit(":", 1)[1].strip("/"))),
    ):
        pass


@pytest.mark.process
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; make test installs it where it can (apt-get)")
def test_the_page_in_a_real_browser(live):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: it is in the extra dev")
    with serve_page(live, 0) as page, sync_api.sync_playwright() as playwright:
        thread = running(live, page)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(page.address, wait_until="commit")
        tab.wait_for_function("document.querySelector('img').naturalWidth == 96")
        shots = []
        for _ in range(2):
            shots.append(tab.locator("img").screenshot())
            tab.wait_for_timeout(300)
        assert shots[0] != shots[1]  # it moves
        tab.keyboard.press("s")
        tab.wait_for_function("document.querySelector('img').naturalWidth == 192")
        tab.click("#key-next-style")
        tab.wait_for_function("document.getElementById('state').textContent.startsWith('two')")
        tab.keyboard.press("-")
        tab.wait_for_function("document.getElementById('state').textContent == 'two, 90 %, side by side'")
        assert live.settings == LiveSettings(1, 0.9, True)
        live.press("q")
        thread.join(5)
        browser.close()
