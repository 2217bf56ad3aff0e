"""`impasto batch --ray` on a real cluster of two nodes in this machine, and against real servers of stores on loopback.

Short; what takes minutes is in tests/scale (`make test-scale`).
"""

import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from cluster import Cluster, free_port
from impasto.batch import manifest, places
from impasto.batch.journal import Journal
from impasto.batch.places import Stamp
from impasto.errors import InputError

PAINTING = "museum:436535"
QUICK = ("-q", "draft", "--size", "48", "-s", PAINTING)

pytestmark = [pytest.mark.process]


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with Cluster(nodes=2) as started:
        yield started


@pytest.fixture
def folder(tmp_path, picture_file):
    for number in range(24):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture_file(f"in/{number:02d}.png", width=56, height=40, seed=number)
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0no picture")
    return tmp_path


def batch(*words, **more):
    command = [sys.executable, "-m", "impasto", "batch", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def worker_pids(out):
    """Processes that have written results, by the names of their files of the journal."""
    return [int(path.stem.rpartition("-")[2]) for path in (out / ".batch").glob("*-*.jsonl")]


def test_a_worker_that_is_killed_costs_no_picture(cluster, folder):
    out = folder / "out"
    job = batch(folder / "in", *QUICK, "-o", out, "--ray", cluster.address, "--json", "--manifest", folder / "m.csv")
    until = time.monotonic() + 600
    while not worker_pids(out) and job.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    for pid in worker_pids(out)[:1]:
        os.kill(pid, signal.SIGKILL)
    printed, told = job.communicate(timeout=600)
    assert job.returncode == 6, told
    assert "1 of 25 pictures failed" in told
    assert not {"INFO", "WARNING"} & set(told.split())  # of Ray, which has a log of its own
    assert [line[:6] for line in told.splitlines() if line.startswith("error")] == ["error:"] * 2, told
    lines = [json.loads(line) for line in printed.splitlines()][:-1]
    statuses = {line["result"]: line["status"] for line in lines}
    assert len(lines) == len(statuses) == 25  # each once
    assert set(statuses.values()) <= {"painted", "kept", "failed"}
    assert {path.name for path in out.glob("*.png")} == {
        name for name, status in statuses.items() if status != "failed"
    }
    assert len(manifest.read(folder / "m.csv", lambda text: (text, 1.0))) == 25
    again = batch(folder / "in", *QUICK, "-o", out)  # on this machine alone: nothing is left
    printed, told = again.communicate(timeout=600)
    assert "24 done before, 1 failed" in told
    assert printed == ""


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:PORT", "no Ray cluster answers at 127.0.0.1:"),
        ("here", "--ray is here"),
        ("host:port", "--ray is host:port"),
    ],
)
def test_where_no_cluster_answers_it_is_told_at_once(refused, folder, address, message):
    address = address.replace("PORT", str(free_port()))
    assert message in refused("batch", folder / "in", *QUICK, "-o", folder / "out", "--ray", address)


class Web(socketserver.BaseRequestHandler):
    """Answers as a web server does."""

    def handle(self):
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_what_is_no_cluster_is_told_at_once(refused, folder):
    with socketserver.TCPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        told = refused("batch", folder / "in", *QUICK, "-o", folder / "out", "--ray", address)
        server.shutdown()
    assert f"what answers at {address} is no Ray cluster" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--workers", "2"), "--workers are those"), (("--ray", "auto", "--watch"), "--watch and --ray")],
)
def test_what_does_not_go_with_a_cluster(refused, folder, words, message):
    assert message in refused("batch", folder / "in", *QUICK, "-o", folder / "out", *words)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (("node7", "", True, ""), "the node node7 has no impasto"),
        (("node7", "0.0.1", True, ""), "the node node7 has impasto 0.0.1, and this is"),
        (("node7", None, False, ""), "the node node7 does not see the folder"),
        (("node7", None, True, "/in/a.png"), "the node node7 does not see /in/a.png"),
    ],
)
def test_nodes_that_cannot_paint_are_named(monkeypatch, tmp_path, answer, message):
    from importlib.metadata import version

    from impasto.engine import cluster

    host, theirs, seen, lost = answer
    row = host, version("impasto") if theirs is None else theirs, seen, lost
    monkeypatch.setattr(cluster, "_asked", lambda *_: [row])
    with pytest.raises(InputError, match=message) as raised:
        cluster.check_nodes(tmp_path, ["/in/a.png"])
    assert raised.value.hint
    assert not list(tmp_path.rglob(".probe-*"))


# --- stores ----------------------------------------------------------------------------------------------------------


@contextmanager
def serving_store(settings, program, *words):
    """A server of a store on loopback, with the surroundings that its clients read."""
    path = shutil.which(program) or Path(sys.executable).with_name(program)
    if not Path(path).exists():
        pytest.skip(f"there is no program {program}: it is in the extra dev")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        server = subprocess.Popen([path, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            server.terminate()
            server.wait()


def until_it_answers(call):
    until = time.monotonic() + 600
    while True:
        try:
            return call()
        except (OSError, InputError):
            assert time.monotonic() < until
            time.sleep(0.2)


@contextmanager
def s3_bucket():
    arrow, port = pytest.importorskip("pyarrow.fs", reason="the extra ray is not installed"), free_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with serving_store(settings, "moto_server", "-H", "127.0.0.1", "-p", str(port)):
        store = arrow.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True, region="us-east-1"
        )
        until_it_answers(lambda: store.create_dir("pictures"))
        yield "s3://pictures"


@contextmanager
def google_bucket():
    pytest.importorskip("pyarrow.fs", reason="the extra ray is not installed")
    port = free_port()
    words = ("start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "pictures")
    with serving_store({"STORAGE_EMULATOR_HOST": f"127.0.0.1:{port}"}, "gcp-storage-emulator", *words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(places, "_GOOGLE_PATIENCE", timedelta(seconds=1))
            until_it_answers(lambda: places.check("gs://pictures"))
        yield "gs://pictures"


@pytest.fixture(scope="module", params=[s3_bucket, google_bucket], ids=["s3", "gs"])
def bucket(request):
    """The address of a bucket on a real server of each kind."""
    with request.param() as address:
        yield address


def test_a_store_is_read_and_written_as_folders_are(outcome, folder, bucket):
    for name in ("00.png", "01.png"):
        places.write(f"{bucket}/in/sub/{name}", (folder / "in" / name).read_bytes())
    places.write(f"{bucket}/in/notes.txt", b"no picture")
    assert [name for name, _ in places.listed(f"{bucket}/i")] == []  # a folder, not the beginning of a name
    first = outcome("batch", f"{bucket}/in", *QUICK, "-o", f"{bucket}/in/out")
    assert first.code == 0, first.err
    names = sorted(name for name, _ in places.listed(f"{bucket}/in/out") if name.endswith(".png"))
    title = "wheat-field-with-cypresses"
    assert names == [f"{bucket}/in/out/sub/{number}-{title}.png" for number in ("00", "01")]
    again = outcome("batch", f"{bucket}/in", *QUICK, "-o", f"{bucket}/in/out")
    assert "2 done before" in again.err
    places.write(names[0], b"altered")
    more = outcome("batch", f"{bucket}/in", *QUICK, "-o", f"{bucket}/in/out", "--json")
    statuses = [json.loads(line).get("status") for line in more.out.splitlines()]
    assert sorted(statuses[:-1]) == ["kept", "painted"]


def test_what_a_store_refuses_is_told_in_two_lines(refused, bucket, folder):
    nowhere = f"{bucket[:5]}nowhere/out"
    assert "nowhere does not exist" in refused("batch", folder / "in", *QUICK, "-o", nowhere)
    assert "holds no pictures" in refused("batch", f"{bucket}/empty", *QUICK, "-o", folder / "out")


def test_a_store_tells_what_is_there(bucket):
    name = f"{bucket}/a folder/ä.bin"
    assert places.stamp(name) is None
    seen = []
    places.write(name, b"12345", seen.append)
    assert seen == [Stamp(5, "")]
    assert places.stamp(name).size == 5
    assert places.read(name) == b"12345"
    with pytest.raises(InputError, match="does not exist"):
        places.read(f"{bucket}/gone")


def test_a_journal_in_a_store_is_one_of_all_its_parts(bucket):
    from dataclasses import replace

    from impasto.batch.journal import Entry

    entry = Entry("a.png", "look", "content", "/in/a.png", 1, "2", 3, "", "sha", 0.5)
    for number, writer in enumerate(("one", "two")):
        Journal(f"{bucket}/j", writer).add([replace(entry, output=f"{number}.png")])
    places.write(f"{bucket}/j/0.png", b"123")
    read = Journal(f"{bucket}/j")
    read.load()
    assert read.find("0.png", "look", "content") is not None
    assert read.knows("1.png")
    assert read.find("1.png", "look", "content") is None
    assert Path(read.known_digest("/in/a.png", Stamp(1, "2"))).name == "content"
