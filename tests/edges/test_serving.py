"""A service as a process of its own: it is killed, stopped, starved and flooded, by clients of this machine."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from impasto.serve.store import JobStore
from tiny import noise

pytestmark = [pytest.mark.process]
SCRIPT = Path(__file__).parents[1] / "serve_script.py"


class Server:
    """A process that serves tiny networks."""

    def __init__(self, folder, *more):
        words = [sys.executable, SCRIPT, folder, *more]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address, "it did not start"

    def stop(self, number):
        self.process.send_signal(number)
        code = self.process.wait(600)
        self.process.stdout.close()
        return code


@pytest.fixture
def start(tmp_path):
    """Starts a server on the same folder, as often as asked."""
    servers = []

    def go(*more):
        servers.append(Server(tmp_path, *more))
        return servers[-1]

    yield go
    for server in servers:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for what does not end it."""
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    assert made.stop(signal.SIGTERM) == 0


def png(seed=0):
    import io

    from impasto import images

    stream = io.BytesIO()
    pixels = noise(48, 64, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()
    images.write(images.read(pixels), stream, format="PNG")
    return stream.getvalue()


FILES = [("content", ("photo.png", png(0))), ("style", ("painting.png", png(1)))]


def submit(server, **data):
    reply = httpx.post(f"{server.address}/v1/jobs", files=FILES, data=data, timeout=120)
    assert reply.status_code == 202, reply.text
    return reply.json()["id"]


def state(server, job):
    return httpx.get(f"{server.address}/v1/jobs/{job}", timeout=120).json()


def wait_for(server, job, *states, seconds=600):
    until = time.monotonic() + seconds
    while (found := state(server, job))["state"] not in states:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found


def last_event(server, job):
    with httpx.stream("GET", f"{server.address}/v1/jobs/{job}/events", timeout=600) as reply:
        return json.loads(reply.read().decode().strip().split("\n\n")[-1].partition("data: ")[2])


def check_done(server, running, queued):
    """Both jobs are there, done, once, with their pictures."""
    for job, kind in ((running, "image/png"), (queued, "image/jpeg")):
        wait_for(server, job, "done")
        assert last_event(server, job)["state"] == "done"
        assert httpx.get(f"{server.address}/v1/jobs/{job}/result").headers["content-type"] == kind
    listed = httpx.get(f"{server.address}/v1/jobs").json()["jobs"]
    assert sorted(job["id"] for job in listed) == sorted([running, queued])
    counts = httpx.get(f"{server.address}/metrics").text
    assert 'impasto_jobs_ended_total{method="adain",state="done"} 2.0' in counts


def test_an_accepted_job_survives_a_kill_and_a_stop_and_is_done_once(start, tmp_path):
    server = start()
    running = submit(server, quality="draft")
    queued = submit(server, quality="draft", format="jpg")
    wait_for(server, running, "running")
    server.stop(signal.SIGKILL)
    server = start()
    wait_for(server, running, "running")
    assert server.stop(signal.SIGTERM) == 0  # it is given a moment, and left to the next start
    server = start()
    check_done(server, running, queued)
    assert server.stop(signal.SIGTERM) == 0
    with closing(JobStore(tmp_path / "state")) as store:
        assert [store.get(job).attempts for job in (running, queued)] == [2, 1]  # what is put back was not broken off


def test_the_same_with_postgresql(start, tmp_path, postgresql):
    server = start(postgresql)
    running = submit(server, quality="draft")
    queued = submit(server, quality="draft", format="jpg")
    wait_for(server, running, "running")
    server.stop(signal.SIGKILL)
    server = start(postgresql)
    check_done(server, running, queued)
    assert server.stop(signal.SIGTERM) == 0
    with closing(JobStore(tmp_path / "state", url=postgresql)) as store:
        assert [store.get(job).attempts for job in (running, queued)] == [2, 1]


def test_slow_and_half_closed_clients_lose_their_connection(server):
    host, port = server.address.removeprefix("http://").split(":")
    body = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    slow = {
        "nothing": b"",
        "half a head": b"GET /healthz HTTP/1.1\r\nHost: local",
        "half a body": body + b"Content-Length: 1000\r\n\r\n--x\r\n",
    }
    sockets = {}
    for name, data in slow.items():
        sockets[name] = socket.create_connection((host, int(port)))
        sockets[name].sendall(data)
    half = sockets["half closed"] = socket.create_connection((host, int(port)))
    half.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    half.shutdown(socket.SHUT_WR)
    for name, connection in sockets.items():
        connection.settimeout(600)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            pytest.fail(f"a client that sends {name} keeps its connection")
        connection.close()
    assert urllib.request.urlopen(f"{server.address}/healthz", timeout=120).status == 200


def test_a_client_that_goes_away_stops_its_picture(server):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.address}/v1/stylize", files=FILES, data={"quality": "draft"}, timeout=2.5)
    until = time.monotonic() + 600
    while (
        'impasto_jobs_ended_total{method="adain",state="cancelled"} 1.0'
        not in httpx.get(f"{server.address}/metrics").text
    ):
        assert time.monotonic() < until
        time.sleep(0.2)
