"""`impasto live`: what a camera sees, painted now, in a window or on a page of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from impasto.cli import flags
from impasto.cli.parse import parse_style
from impasto.cli.printing import say_json
from impasto.errors import InputError

if TYPE_CHECKING:
    from impasto.cli.console import Reporter
    from impasto.video.live import Live

_EXAMPLES = """\b
Examples:
  impasto live --style irises
  impasto live clip.mp4 --style irises --style 436535 --port 8100
  impasto live rtsp://camera.local/stream --style irises --size 320
  impasto live --style irises --to /dev/video9"""

_BOUNDARY = "impasto-frame"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_PAGE = """<!doctype html><meta charset="utf-8"><title>impasto live</title>
<style>
 body { background: #111; color: #ddd; font: 15px system-ui; margin: 0; text-align: center }
 img { max-width: 100vw; max-height: 86vh; display: block; margin: auto }
 button { font: inherit; margin: .6em .2em; padding: .3em .9em }
</style>
<img src="/stream" alt="the painted picture of the camera">
<p id="keys"></p><p id="state" aria-live="polite"></p>
<script>
 const keys = KEYS;
 async function press(key) {
   const reply = await fetch('/key?k=' + encodeURIComponent(key), {method: 'POST', headers: {'X-Impasto': 'live'}});
   if (reply.ok) document.getElementById('state').textContent = (await reply.json()).words;
 }
 for (const [key, what] of Object.entries(keys)) {
   const button = document.createElement('button');
   button.textContent = key + '  ' + what; button.id = 'key-' + what.replaceAll(' ', '-');
   button.onclick = () => press(key);
   document.getElementById('keys').append(button);
 }
 addEventListener('keydown', event => { if (event.key in keys && !event.ctrlKey && !event.metaKey) press(event.key); });
</script>
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("live", epilog=_EXAMPLES)(live)


def live(
    source: Annotated[
        str, typer.Argument(metavar="[SOURCE]", help="A camera's number, a file, or an address such as rtsp://...")
    ] = "0",
    style: Annotated[
        list[str] | None, typer.Option("--style", "-s", help="As in stylize; with several, keys switch between them.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="auto, or one of impasto methods.")] = "auto",
    size: Annotated[int, typer.Option(help="Longest side in pixels: smaller is faster.", min=64, max=4096)] = 320,
    inner_size: flags.InnerSize = None,
    temporal: Annotated[str, typer.Option(help="How steady: off or fast.")] = "fast",
    as_page: Annotated[bool, typer.Option("--page", help="Show a web page, even if a window is possible.")] = False,
    port: Annotated[int, typer.Option(help="Port of the page on 127.0.0.1; 0 picks a free one.", min=0, max=65535)] = 0,
    to: Annotated[
        Path | None, typer.Option(help="A virtual camera that other programs can use, such as /dev/video9 (Linux).")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Stop after this many frames.", min=1)] = None,
    device: flags.Device = "auto",
    runtime: flags.Runtime = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Paint what a camera sees, live; frames that come too fast are dropped."""
    styles = [parse_style(text)[0] for text in style or ()]
    if not styles:
        raise InputError("no style was given", "add --style, such as --style irises; see impasto styles")
    if temporal not in ("off", "fast"):
        raise InputError(f"--temporal is {temporal!r}", "it is one of off, fast")
    from impasto.cli.console import Reporter
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request, by_style
    from impasto.video.frames import FramePainter
    from impasto.video.live import Camera, Live, sample

    with Reporter() as reporter:
        camera = Camera(source, size=size)
        try:
            request = Request(method, "draft" if method == "auto" else None)
            engine = Engine(device=device, runtime=runtime)
            painter = FramePainter.of(
                engine, styles, request, sample(camera, inner_size), on_progress=reporter, on_note=reporter.note
            )
            names = tuple(own[0].title for own in by_style(painter.run.sources))
            running = Live(
                painter,
                camera,
                names,
                steady=temporal == "fast",
                inner_size=inner_size,
                pipelined=True,
                labelled=to is None,
            )
            _show(running, reporter, to=to, port=port, as_page=as_page, frames=frames)
        finally:
            camera.close()
    if as_json:
        words = {"frames": running.shown, "dropped": camera.dropped, "fps": running.fps, "latency": running.latency}
        say_json(words)


def _show(running: Live, reporter: Reporter, *, to: Path | None, port: int, as_page: bool, frames: int | None) -> None:
    """Show the screens: in a window if possible, on a page, or as a virtual camera; `frames` of them, or for ever."""
    from impasto.contract import Progress
    from impasto.video.live import open_window, show_in_window
    from impasto.videos import CameraWriter

    def screens() -> Iterator[Any]:
        for screen in islice(running.screens(), frames):
            yield screen
            reporter(Progress("live", running.shown, 0, "frame", losses={"fps": running.fps}))

    if to is None and not as_page and frames is None and open_window("impasto"):
        show_in_window(running, "impasto")
    elif to is None:
        with serve_page(running, port) as page:
            reporter.note(f"open {page.address} in a browser; Ctrl-C ends")
            _show_all(screens(), page.show)
    else:
        height, width = running.camera.take()[0].shape[:2]
        with CameraWriter(to, width, height) as virtual:
            reporter.note(f"{to} shows it as a camera; Ctrl-C ends")
            _show_all(screens(), virtual.write)


def _show_all(screens: Iterator[Any], show: Callable[[Any], None]) -> None:
    for screen in screens:
        show(screen)


class Page:
    """The newest screen as a stream of JPEG pictures, on a page that listens to keys; 127.0.0.1 only."""

    def __init__(self, live: Live, port: int) -> None:
        self._live = live
        self._changed = threading.Condition()
        self._newest: tuple[int, bytes] = 0, b""
        self.over = False
        try:
            self._server = _Server(self, port)
        except OSError as error:
            raise InputError(f"port {port} cannot be used: {error.strerror}", "choose another --port") from error
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="impasto-page", daemon=True
        )
        self._thread.start()

    def show(self, screen: Any) -> None:
        """Hand out a screen `(H, W, 3)`; who is slow misses it."""
        from impasto.video.live import as_jpeg

        data = as_jpeg(screen)
        with self._changed:
            self._newest = self._newest[0] + 1, data
            self._changed.notify_all()

    def after(self, number: int) -> tuple[int, bytes]:
        """The newest screen that is newer than `number`; waits for it. Empty when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or self._newest[0] > number, timeout=30)
            return self._newest if not self.over and self._newest[0] > number else (number, b"")

    def close(self) -> None:
        """Stop serving."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def press(self, key: str) -> str:
        """Do what a key says. Returns the state in words."""
        settings = self._live.press(key)
        beside = ", side by side" if settings.side_by_side else ""
        return f"{self._live.names[settings.style]}, {100 * settings.strength:.0f} %{beside}"


class _Server(ThreadingHTTPServer):
    """A server that knows its page."""

    daemon_threads = True

    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: _Server
    disable_nagle_algorithm = True  # or the system keeps the end of a frame back for 40 ms

    def do_GET(self) -> None:
        """The page, or the stream."""
        if not self._trusted():
            return
        path = urlsplit(self.path).path
        if path == "/":
            from impasto.video.live import KEYS

            self._answer(200, "text/html; charset=utf-8", _PAGE.replace("KEYS", json.dumps(KEYS)).encode())
        elif path == "/stream":
            self._stream()
        else:
            self._answer(404, "text/plain", b"not here")

    def do_POST(self) -> None:
        """A key. The header is one that no form of a strange page can send."""
        if not self._trusted():
            return
        asked = urlsplit(self.path)
        if asked.path != "/key" or self.headers.get("X-Impasto") != "live":
            self._answer(403, "text/plain", b"not from here")
            return
        key = parse_qs(asked.query).get("k", [""])[0]
        self._answer(200, "application/json", json.dumps({"words": self.server.page.press(key)}).encode())

    def _trusted(self) -> bool:
        """Whether the browser means this machine: a strange page may lead its own name here."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host in _HOSTS:
            return True
        self._answer(403, "text/plain", b"not from here")
        return False

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        number = 0
        with suppress(OSError):  # the browser has gone
            while True:
                number, data = self.server.page.after(number)
                if not data:
                    return
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


@contextmanager
def serve_page(live: Live, port: int) -> Iterator[Page]:
    """A page while the block runs."""
    page = Page(live, port)
    try:
        yield page
    finally:
        page.close()
