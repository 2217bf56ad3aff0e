"""The pictures of docs/studio.md, and how quick the page is: drives a studio in Chromium.

    impasto studio --no-browser --port 8765
    python examples/studio_pictures.py http://127.0.0.1:8765/ docs/images/studio
    python examples/studio_pictures.py http://127.0.0.1:8765/

Where the studio was started with --training-photos FOLDER, it shows a training, too. Without a folder it measures:
bytes, first paint, and milliseconds from an action to the frame that shows it.
"""

from __future__ import annotations

import io
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from impasto.assets import Store
from impasto.videos import VideoWriter

ROUNDS = 7
SHEETS = 4  # of a training, after which it is shown
PAINTS = (("coffee.png", "irises", "Irises"), ("chelsea.png", "wheat cypr", "Wheat Field with Cypresses"))


_AFTER = """selector => new Promise((done) => {
  const target = document.querySelector(selector);
  const from = performance.now();
  target.click();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - from)));
})"""
_SEARCH = """() => new Promise((done) => {
  const field = document.querySelector('.search');
  const from = performance.now();
  field.value = field.value ? '' : 'van gogh';
  field.dispatchEvent(new Event('input'));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - from)));
})"""
_LOADED = """() => {
  const files = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/studio/'));
  const [page] = performance.getEntriesByType('navigation');
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  return [page.transferSize + files.reduce((sum, one) => sum + one.transferSize, 0), paint.startTime];
}"""


def opened(browser: Browser, address: str, **more: Any) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-GB", **more)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


def measure(browser: Browser, address: str) -> None:
    """Print the median of some rounds, each in a fresh profile."""
    rows: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        page = opened(browser, address)
        size, paint = page.evaluate(_LOADED)
        found = {"bytes": size, "first contentful paint, ms": paint}
        found["search 186 paintings, ms"] = page.evaluate(_SEARCH)
        found["choose a painting, ms"] = page.evaluate(_AFTER, "button.tile")
        found["open Adjust, ms"] = page.evaluate(_AFTER, "#tab-adjust")
        found["open the gallery, ms"] = page.evaluate(_AFTER, "#views button:nth-child(2)")
        found["switch the language, ms"] = page.evaluate(_AFTER, "#options button")
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
        page.context.close()
    for name, values in rows.items():
        print(f"{name}: {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})")


def keep(page: Page, folder: Path, name: str) -> None:
    """A screenshot as JPEG, below 250 KB."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for quality in (84, 76, 66, 50):
        picture.save(folder / f"{name}.jpg", quality=quality, optimize=True, progressive=True)
        if (folder / f"{name}.jpg").stat().st_size < 250_000:
            return


def says(page: Page, words: str) -> None:
    expect(page.locator(".badge .told")).to_contain_text(words, timeout=900_000)


def choose(page: Page, words: str, name: str) -> None:
    page.fill(".search", words)
    page.locator("button.tile").filter(has_text=name).first.click()


def paint(page: Page, folder: Path, photos: Path) -> None:
    """Two pictures, with what is seen on the way."""
    for photo, words, name in PAINTS:
        page.locator("#photo-input, .photo input[type=file]").first.set_input_files(photos / photo)
        page.wait_for_selector(".viewer")
        for button in page.locator(".chip button").all():
            button.click()
        choose(page, words, name)
        says(page, "Draft ·")
        page.fill(".search", "")
        page.wait_for_timeout(1500)
        keep(page, folder, "draft")
        page.get_by_label("Size").select_option("512")
        page.click("#paint")
        page.wait_for_selector('.plane img.after[src^="data:"]', timeout=900_000)
        page.wait_for_timeout(4000)
        keep(page, folder, "refining")
        says(page, "Done")
        page.get_by_role("radio", name="4 of 5").first.click()
    handle, view = page.locator(".split").bounding_box(), page.locator(".view").bounding_box()
    assert handle is not None and view is not None
    page.mouse.move(handle["x"] + 17, handle["y"] + 200)
    page.mouse.down()
    page.mouse.move(view["x"] + view["width"] * 0.42, handle["y"] + 200, steps=5)
    page.mouse.up()
    keep(page, folder, "done")


def look_round(page: Page, folder: Path) -> None:
    """The other parts of the page."""
    choose(page, "irises", "Irises")
    page.fill(".search", "")
    page.wait_for_timeout(1000)
    says(page, "Draft ·")
    keep(page, folder, "mix")
    page.click("#tab-where")
    page.get_by_role("button", name="Subject").first.click()
    page.wait_for_selector("img.mask", timeout=60_000)
    page.get_by_role("button", name="Brush").first.click()
    page.wait_for_timeout(700)
    keep(page, folder, "brush")
    page.keyboard.press("Escape")
    page.click("#tab-paintings")
    page.click("#views button:nth-child(2)")
    page.wait_for_selector(".card:nth-child(2)")
    page.wait_for_timeout(1500)
    keep(page, folder, "gallery")
    page.click("#views button:nth-child(1)")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_timeout(1500)
    keep(page, folder, "dark")
    page.get_by_role("button", name="Switch to Chinese").click()
    page.wait_for_timeout(1500)
    keep(page, folder, "chinese")
    page.locator("#options button").first.click()
    page.locator("#options button").nth(1).click()
    words = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    page.locator(".photo input[type=file]").set_input_files([words])
    page.wait_for_selector(".toast.error")
    page.wait_for_timeout(1000)
    keep(page, folder, "error")
    page.locator(".toast.error button").last.click()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(1000)
    keep(page, folder, "phone")


def point(page: Page, folder: Path, photo: Path) -> None:
    """Two things, selected by a click each."""
    page.locator("#photo-input, .photo input[type=file]").first.set_input_files(photo)
    says(page, "Draft ·")
    page.click("#tab-where")
    page.get_by_role("button", name="Point at it").first.click()
    box = page.locator(".board canvas").bounding_box()
    assert box is not None
    for across, down in ((0.34, 0.42), (0.6, 0.725)):  # the cup and the spoon
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        expect(page.locator(".help")).to_contain_text("Looking")
        expect(page.locator(".help")).to_contain_text("Click", timeout=60_000)
    keep(page, folder, "point")
    page.get_by_role("button", name="Done").click()
    page.click("#tab-paintings")


def moving(page: Page, folder: Path, photo: Path) -> None:
    """A video: a slow walk over a photograph."""
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "walk.mp4"
        whole = np.asarray(Image.open(photo).convert("RGB"), np.float32) / 255
        height, width = whole.shape[0] // 2 * 2, whole.shape[1] * 3 // 4 // 2 * 2
        with VideoWriter(clip, rate=12) as writer:
            for index in range(24):
                writer.write(np.ascontiguousarray(whole[:height, 2 * index : 2 * index + width]))
        page.locator("#photo-input, .photo input[type=file]").first.set_input_files(clip)
        says(page, "Draft ·")
        page.click("#paint")
        says(page, "Done")
        page.wait_for_function("() => document.querySelector('video.plays')?.currentTime > 0.5")
        keep(page, folder, "video")


def training(page: Page, folder: Path) -> None:
    """A style of one painting, where the service trains any."""
    page.get_by_role("button", name="Quick", exact=True).click()
    page.get_by_role("button", name="Train a quick style").click()
    page.wait_for_timeout(400)
    keep(page, folder, "train")
    if not page.get_by_role("button", name="Start training").count():
        return
    page.get_by_role("button", name="Start training").click()
    sheets = """last => {
      const { src } = document.querySelector('.plane .after') ?? {};
      return src?.startsWith('data:') && src !== last;
    }"""
    last = ""
    for _ in range(SHEETS):
        page.wait_for_function(sheets, arg=last, timeout=900_000)
        last = page.locator(".plane .after").get_attribute("src") or ""
    page.wait_for_timeout(700)
    keep(page, folder, "training")
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_role("button", name="Use it").first.click()
    says(page, "Draft ·")
    page.wait_for_timeout(1500)
    keep(page, folder, "trained")


def main(address: str, folder: Path | None) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if folder is None:
            measure(browser, address)
            return
        folder.mkdir(parents=True, exist_ok=True)
        page = opened(browser, address)
        page.wait_for_timeout(2500)
        keep(page, folder, "empty")
        paint(page, folder, Store().path("photos"))
        look_round(page, folder)
        page.set_viewport_size({"width": 1440, "height": 900})
        point(page, folder, Store().path("photos") / "coffee.png")
        moving(page, folder, Store().path("photos") / "chelsea.png")
        training(page, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
