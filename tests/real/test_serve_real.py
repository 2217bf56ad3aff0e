"""`impasto serve` as people run it: real weights, a real photograph, TLS, a key, and a log in JSON."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys

import httpx
import pytest

from impasto import images

pytestmark = [pytest.mark.real, pytest.mark.process]

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def serving(tmp_path):
    """A server with TLS and a key; gives a client, and the lines of its log when it has ended."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the certificate")
    certificate, private_key, log = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "log"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", private_key, "-out", certificate]
    subprocess.run(words, check=True, capture_output=True)
    (tmp_path / "keys.txt").write_text(f"# one a line\n{KEY}\n")
    words = [
        sys.executable,
        "-m",
        "impasto",
        "serve",
        "--http",
        "0",
        "--grpc",
        "0",
        "--key-file",
        tmp_path / "keys.txt",
    ]
    words += ["--tls-certificate", certificate, "--tls-key", private_key, "--log-json"]
    with log.open("w") as stream:
        environment = {**os.environ, "IMPASTO_STATE": str(tmp_path / "state")}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment)
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines[0].startswith("serving HTTP on https://127.0.0.1:"), lines
    assert lines[1].startswith("serving gRPC on 127.0.0.1:"), lines
    trust = ssl.create_default_context(cafile=certificate)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=lines[0].split()[-1], verify=trust, headers=headers, timeout=600) as client:
        yield client, trust, log
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(600)
    process.stdout.close()


def test_a_real_photograph_is_painted_by_a_pack_style_and_by_adain(serving, photos):
    client, trust, log = serving
    photo = (photos / "astronaut.png").read_bytes()
    assert httpx.get(client.base_url.join("/v1/jobs"), verify=trust, timeout=600).status_code == 401
    pictures = []
    for data in ({"style": "pack:irises"}, {"style": "museum:436535", "quality": "draft"}):
        reply = client.post("/v1/stylize", files={"content": ("astronaut.png", photo)}, data={**data, "size": "256"})
        assert reply.status_code == 200, reply.text
        pictures.append(images.read(reply.content))
        assert max(pictures[-1].width, pictures[-1].height) == 256
    whole = images.read(photo).resized(256, 256)
    assert all(abs(picture.pixels - whole.pixels).mean() > 0.05 for picture in pictures)
    assert abs(pictures[0].pixels - pictures[1].pixels).mean() > 0.05
    job = client.post(
        "/v1/jobs",
        files={"content": ("a.png", photo)},
        data={"style": "pack:irises", "region": "subject=pack:cypresses", "size": "128"},
    ).json()
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        assert "event: done" in events.read().decode()
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"POST"} <= {line.get("method") for line in told}
    assert all(line["request_id"] for line in told if "route" in line)
    assert "astronaut" not in log.read_text()
