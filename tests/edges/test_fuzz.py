"""Random and mutated requests against the whole HTTP interface: nothing gives a 500, and the service stays healthy.

500 cases by default; `make test-fuzz` sends 5,000 (`IMPASTO_FUZZ`). Bounded in time.
"""

import io
import json
import os
import random
import time
import warnings

import pytest
from PIL import Image
from starlette.testclient import TestClient

from impasto.serve.decode import DecodeProcesses
from impasto.serve.http import make_app
from impasto.serve.service import Service
from impasto.serve.settings import ServeSettings

pytestmark = [pytest.mark.process, pytest.mark.timeout(1800)]

CASES = int(os.environ.get("IMPASTO_FUZZ", "500"))
SECONDS = 60 if CASES <= 500 else 900
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")
NAMES = ("a.png", "", "../../etc/passwd", "a\x00b", "\u202eb.png", "x" * 5000, "C:\\a", "subject", "ж.png", '"; a="b')
WORDS = ("", "nan", "-1", "1e999", "true", "subject=irises", "a=b", "=", "museum:436535", "pack:irises", "/etc/passwd")
WORDS += ("http://127.0.0.1/", "\x00", "\ud7ff", "9" * 400, "[]", "{}", "optimize", "draft", "png", "./x", "a" * 9000)
FIELDS = ("style", "method", "quality", "size", "strength", "region", "weight", "feather", "preserve", "settings")
FIELDS += ("init", "steps", "format", "keep-color", "color-only", "protect-faces", "encoder", "jpeg-quality", "unknown")
VALUES = (None, True, -1, 0.5, float("nan"), float("inf"), 10**400, "a", "\ud800", [], {}, [[]], {"a": [1]}, "x" * 9000)


def pictures():
    """A small valid file of each kind."""
    image = Image.effect_noise((24, 20), 60).convert("RGB")
    found = []
    for kind in KINDS:
        stream = io.BytesIO()
        image.save(stream, kind)
        found.append(stream.getvalue())
    return found


def mutated(data, chance):
    """A file with some bytes changed, cut, doubled or made up."""
    choice = chance.random()
    if choice < 0.15:
        return data
    if choice < 0.25:
        return chance.randbytes(chance.randrange(200))
    if choice < 0.4:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 40))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    if choice < 0.55:
        at = chance.randrange(len(changed))
        changed[at:at] = changed[: chance.randrange(64)]
    return bytes(changed)


def form(chance, known):
    """A form of pictures and settings, some of them odd."""
    files = []
    for field in ("content", "style", *chance.choices(("file", "preserve", "init", "odd"), k=chance.randrange(2))):
        if chance.random() < 0.95:
            name = "a.png" if chance.random() < 0.7 else chance.choice(NAMES)
            files.append((field, (name, mutated(chance.choice(known), chance), chance.choice(("image/png", "text/x")))))
    data = {"quality": "draft"} if chance.random() < 0.7 else {}
    for field in chance.sample(FIELDS, chance.randrange(4)):
        data[field] = chance.choice(WORDS)
    if chance.random() < 0.3:
        data["settings"] = json.dumps({chance.choice(FIELDS): chance.choice(VALUES)})
    return {"files": files, "data": data}


def raw(chance, known):
    """Bytes that are hardly a form."""
    body = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n\r\n' + chance.choice(known)
    body += b"\r\n--x--\r\n"
    kind = chance.choice(("multipart/form-data; boundary=x", "multipart/form-data", "application/json", "a", ""))
    return {"content": mutated(body, chance), "headers": {"content-type": kind}}


def ask(client, chance, known):
    """One request; its reply."""
    choice = chance.random()
    if choice < 0.7:
        return client.post(chance.choice(("/v1/stylize", "/v1/jobs")), **form(chance, known))
    if choice < 0.8:
        return client.post("/v1/stylize", **raw(chance, known))
    if choice < 0.9:
        body = json.dumps({chance.choice(("stars", "note", "a")): chance.choice(VALUES)}).encode()
        return client.post(f"/v1/jobs/{'0' * 32}/rating", content=mutated(body, chance))
    place = chance.choice(("/v1/jobs/{}", "/v1/jobs/{}/events", "/v1/styles/{}/thumbnail", "/v1/styles?q={}", "/{}"))
    word = "".join(chance.choices("abc/.%:?*'\"<0\u20ac", k=chance.randrange(1, 40)))
    return client.get(place.format(word.lstrip("/")))  # two would begin the name of a host


@pytest.mark.filterwarnings("ignore:Unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")  # of half a form
def test_nothing_that_is_sent_breaks_the_service(engine):
    chance, known = random.Random(17), pictures()
    limits = ServeSettings(
        max_pixels=20_000, body_bytes=200_000, job_seconds=2.0, queue_length=10_000, jobs_per_client=10_000
    )
    service = Service(engine, limits, decoder=DecodeProcesses(memory=300 << 20, seconds=10))
    client = TestClient(make_app(service), raise_server_exceptions=False)
    until, statuses = time.monotonic() + SECONDS, []
    for _ in range(CASES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            reply = ask(client, chance, known)
        statuses.append(reply.status_code)
        assert reply.status_code < 500 or reply.status_code in (501, 503, 507), (reply.request.url, reply.text[:500])
        if reply.status_code >= 400:
            assert set(reply.json()) == {"kind", "error", "hint", "request_id"}
        if time.monotonic() > until:
            break
    assert len(statuses) > 50
    assert {200, 202, 404, 422} <= set(statuses)
    assert client.get("/readyz").status_code == 200
    good = [("content", ("a.png", known[0])), ("style", ("b.png", known[0]))]
    assert client.post("/v1/stylize", files=good, data={"quality": "draft"}).status_code == 200
    service.close(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning")
def test_the_interface_is_as_its_schema_says(engine):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: it is in the extra dev")
    from hypothesis import HealthCheck, Phase, given, settings

    service = Service(engine, ServeSettings(max_pixels=20_000, job_seconds=2.0))
    schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(service))
    examples = 8 if CASES <= 500 else 200
    steady = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    for found in schema.get_all_operations():
        operation = found.ok()
        if "events" in operation.path:  # a stream
            continue

        @steady
        @given(case=operation.as_strategy())
        def check(case):
            reply = case.call()
            assert reply.status_code < 500 or reply.status_code == 503, reply.text  # 503: no library is here

        check()
    service.close(0)
