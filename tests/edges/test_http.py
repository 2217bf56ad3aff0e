"""The HTTP interface, by a client in this process: pictures, jobs, events, lists, and who is turned away."""

import http.client
import io
import json
import socket
import tarfile
import threading
import time
from contextlib import closing, contextmanager

import httpx
import pytest
from starlette.testclient import TestClient

from impasto import images
from impasto.serve import schema
from impasto.serve.http import make_app
from impasto.serve.run import listen
from impasto.serve.settings import Listening, ServeSettings
from impasto.serve.store import JobStore
from serving import HttpRunning
from tiny import noise

KEY = "k" * 32


def png(seed=0, width=64, height=48):
    stream = io.BytesIO()
    pixels = noise(height, width, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()
    images.write(images.read(pixels), stream, format="PNG")
    return stream.getvalue()


FILES = [("content", ("photo.png", png(0))), ("style", ("painting.png", png(1)))]
DRAFT = {"quality": "draft"}


@pytest.fixture
def serving(service_of):
    """Makes a client of a service with some limits."""
    made = []

    def make(listening=None, **limits):
        service = service_of(ServeSettings(**limits))
        service.start()
        made.append(service)
        client = TestClient(make_app(service, listening), raise_server_exceptions=False)
        client.service = service
        return client

    yield make
    for service in made:
        service.close(0)


@pytest.fixture
def client(serving):
    return serving()


def wrong(reply, status):
    """The error of a reply that must be one, in four fields and nothing more."""
    assert reply.status_code == status, reply.text
    told = reply.json()
    assert set(told) == {"kind", "error", "hint", "request_id"}
    assert told["request_id"] == reply.headers["x-request-id"]
    assert "Traceback" not in reply.text
    return told["error"]


def events_of(client, job_id, **headers):
    found = []
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        for block in reply.read().decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if lines:
                found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_a_picture_comes_back_painted(client):
    reply = client.post("/v1/stylize", files=FILES, data={**DRAFT, "format": "jpg", "strength": "0.5"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/jpeg"
    assert 'filename="photo-painting.jpg"' in reply.headers["content-disposition"]
    assert (images.probe(reply.content).width, images.probe(reply.content).height) == (64, 48)
    assert images.read_record(reply.content)["knobs"]["strength"] == 0.5
    assert client.get("/v1/jobs").json()["jobs"] == []  # whoever waits keeps the picture


def test_settings_come_as_fields_or_as_json(client):
    replies = [
        client.post("/v1/stylize", files=FILES, data=data).content
        for data in ({**DRAFT, "strength": "0.5"}, {"settings": json.dumps({**DRAFT, "strength": 0.5})})
    ]
    records = [images.read_record(reply) for reply in replies]
    assert records[0]["knobs"] == records[1]["knobs"]


def test_a_job_tells_of_itself_and_gives_its_picture(client):
    reply = client.post("/v1/jobs", files=FILES, data={"method": "optimize", "steps": "3"})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["location"] == f"/v1/jobs/{job['id']}"
    told = events_of(client, job["id"])
    assert [kind for _, kind, _ in told][-1] == "done"
    previews = [data for _, kind, data in told if kind == "preview"]
    assert previews[-1]["image"].startswith("data:image/jpeg;base64,/9j/")
    later = events_of(client, job["id"], **{"Last-Event-ID": str(told[-2][0])})
    assert [number for number, _, _ in later] == [told[-1][0]]
    assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "done"
    painted = client.get(f"/v1/jobs/{job['id']}/result")
    assert images.probe(painted.content).format == "PNG"


def test_a_job_can_be_cancelled(client):
    job = client.post("/v1/jobs", files=FILES, data={"method": "optimize", "steps": "9000"}).json()["id"]
    threading.Timer(0.5, lambda: client.delete(f"/v1/jobs/{job}")).start()
    assert events_of(client, job)[-1][1] == "cancelled"
    wrong(client.get("/v1/jobs/" + "0" * 32), 404)


def test_a_job_that_has_ended_can_be_forgotten(client):
    job = client.post("/v1/jobs", files=FILES, data=DRAFT).json()["id"]
    events_of(client, job)
    assert client.get(f"/v1/jobs/{job}/result").status_code == 200
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "done"  # too late to cancel: it stays
    assert client.delete(f"/v1/jobs/{job}?forget=true").status_code == 200
    wrong(client.get(f"/v1/jobs/{job}"), 404)


def test_ratings_are_kept_and_exported(client):
    job = client.post("/v1/jobs", files=FILES, data=DRAFT).json()["id"]
    events_of(client, job)
    assert client.post(f"/v1/jobs/{job}/rating", json={"stars": 2}).json()["style"] == "painting"
    client.post(f"/v1/jobs/{job}/rating", json={"stars": 5, "note": "=1+1"})
    (row,) = client.get("/v1/ratings").json()["ratings"]
    assert (row["job"], row["stars"], row["note"], row["method"]) == (job, 5, "=1+1", "adain")
    table = client.get("/v1/ratings?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[1].startswith(f"{job},5,'=1+1,adain,painting,")
    for bad in (
        {"stars": 0},
        {"stars": 6},
        {"stars": "5"},
        {"stars": 1.5},
        {},
        {"stars": 3, "note": "x" * 1001},
        {"stars": 3, "a": 1},
    ):
        wrong(client.post(f"/v1/jobs/{job}/rating", json=bad), 422)
    wrong(client.post(f"/v1/jobs/{'0' * 32}/rating", json={"stars": 3}), 404)


def test_who_leaves_a_job_lets_it_go_on_and_leaves_nothing_in_the_log(service_of, caplog):
    running = HttpRunning(service := service_of())
    try:
        service.start()
        body, headers = form_of({"method": "optimize", "steps": "9000"})
        with asked(running.port, "POST", "/v1/jobs", body, headers) as answer:
            job = json.loads(answer.read())["id"]
        feed = service._live[job].feed
        with asked(running.port, "GET", f"/v1/jobs/{job}/events") as events:
            assert events.readline().startswith(b"id: ")
            assert feed.watched
        assert until(lambda: not feed.watched)
        assert not service.job(job).ended
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []
        service.cancel(job)
    finally:
        running.close()


@pytest.mark.parametrize("key", [None, "once"])
def test_who_leaves_a_painting_finds_it_again_by_its_key_alone(service_of, key):
    running = HttpRunning(service := service_of())
    try:
        service.start()
        body, headers = form_of({"method": "optimize", "steps": "200"})
        headers = {**headers, "Idempotency-Key": key} if key else headers
        with pytest.raises(TimeoutError), asked(running.port, "POST", "/v1/stylize", body, headers, timeout=0.5):
            pass
        if key is None:
            assert until(lambda: service.counts().ended.get(("cancelled", "optimize")))
        else:
            with asked(running.port, "POST", "/v1/stylize", body, headers) as answer:
                answer.read()
            assert (answer.status, service.counts().ended["done", "optimize"][0]) == (200, 1)
    finally:
        running.close()


@pytest.mark.parametrize(("key", "state"), [(None, "cancelled"), ("once", "done")])
def test_a_job_that_nobody_was_told_of_stops_unless_a_key_finds_it(service_of, key, state):
    running = HttpRunning(service := service_of(ServeSettings()))
    submit, accepted = service.submit, []

    def slowly(*given, **more):
        accepted.append(submit(*given, **more))
        time.sleep(0.5)
        return accepted[-1]

    service.submit = slowly
    try:
        service.start()
        body, headers = form_of(
            {"method": "optimize", "steps": "20"} if key else {"method": "optimize", "steps": "9000"}
        )
        headers = {**headers, "Idempotency-Key": key} if key else headers
        with pytest.raises(TimeoutError), asked(running.port, "POST", "/v1/jobs", body, headers, timeout=0.2):
            pass
        assert until(lambda: accepted and service.job(accepted[0].id).state == state)
    finally:
        running.close()


def form_of(values):
    request = httpx.Request("POST", "http://x", files=FILES, data=values)
    return request.read(), {"Content-Type": request.headers["content-type"]}


@contextmanager
def asked(port, *words, timeout=600):
    """An answer whose connection is closed at the end of the block."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request(*words)
        with connection.getresponse() as answer:
            yield answer


def until(done):
    """Whether something comes to be within 20 seconds."""
    for _ in range(400):
        if done():
            return True
        time.sleep(0.05)
    return False


def test_idempotency_keys(client):
    headers = {"Idempotency-Key": "one"}
    first, second = (client.post("/v1/jobs", files=FILES, data=DRAFT, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    other = client.post("/v1/jobs", files=FILES, data={**DRAFT, "strength": "0.1"}, headers=headers)
    assert "another request" in wrong(other, 409)
    painted = client.post("/v1/stylize", files=FILES, data=DRAFT, headers=headers)
    assert painted.headers["x-job-id"] == first["id"]


@pytest.mark.parametrize(
    ("files", "data", "words"),
    [
        (FILES[1:], DRAFT, "no content"),
        (FILES[:1], DRAFT, "no style"),
        ([*FILES, ("colour", ("a.png", png(2)))], DRAFT, "a file was sent as"),
        ([*FILES, ("content", ("a.png", png(2)))], DRAFT, "2 files were sent as content"),
        ([("content", ("photo.png", b"no picture")), FILES[1]], DRAFT, "photo.png"),
        ([("content", ("photo.png", png(0)[:200])), FILES[1]], DRAFT, "photo.png"),
        (FILES, {**DRAFT, "content": "photo.jpg"}, "content is text"),
        (FILES, {**DRAFT, "settings": "[1]"}, "no JSON object"),
        (FILES, {**DRAFT, "settings": "[" * 60000}, "no JSON object"),
        (FILES, {**DRAFT, "style": "/etc/passwd"}, "names no picture"),
        (FILES, {**DRAFT, "settings": '{"style": {"a": 1}}'}, "text is wanted"),
        (FILES, {**DRAFT, "settings": '{"strength": NaN}'}, "strength is nan"),
        (FILES, {"settings": '{"quality": 0.5}', **DRAFT}, "as a field and in settings"),
    ],
)
def test_bad_requests_are_told_in_two_lines(client, files, data, words):
    assert words in wrong(client.post("/v1/stylize", files=files, data=data), 422)


def test_other_bad_requests(client, serving):
    wrong(client.post("/v1/stylize", json={"a": 1}), 422)
    wrong(client.post("/v1/stylize", content=b"--x\r\n", headers={"content-type": "multipart/form-data"}), 422)
    wrong(client.get("/v1/jobs?limit=0"), 422)
    wrong(client.get("/v1/jobs/none"), 422)
    wrong(client.get("/nothing"), 404)
    wrong(client.put("/v1/jobs"), 405)
    small = serving(body_bytes=1000)
    wrong(small.post("/v1/stylize", files=FILES), 413)
    wrong(
        small.post(
            "/v1/stylize",
            content=(b"x" * 600 for _ in range(3)),
            headers={"content-type": "multipart/form-data; boundary=x"},
        ),
        413,
    )
    assert "3,072 in all; at most 1,000" in wrong(serving(max_pixels=1000).post("/v1/stylize", files=FILES), 422)


def test_a_bug_is_told_without_internals_and_logged_with_its_request(client, caplog):
    def fail(*given, **named):
        raise KeyError("/secret/path")

    client.service.styles = fail
    reply = client.get("/v1/styles")
    assert wrong(reply, 500) == "a bug in impasto: KeyError"
    assert "secret" not in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert any(record.exc_info for record in caplog.records)


def test_a_full_queue_says_when_to_come_back(serving):
    client = serving(jobs_per_client=1)
    client.post("/v1/jobs", files=FILES, data={"method": "optimize", "steps": "9000"})
    reply = client.post("/v1/jobs", files=FILES, data=DRAFT)
    wrong(reply, 429)
    assert int(reply.headers["retry-after"]) > 0


def test_keys(serving):
    client = serving(Listening(keys=(KEY, "o" * 32)))
    reply = client.get("/v1/jobs")
    assert "key" in wrong(reply, 401)
    assert reply.headers["www-authenticate"] == "Bearer"
    wrong(client.get("/v1/jobs", headers={"Authorization": "Bearer no"}), 401)
    assert client.get("/healthz").status_code == 200
    one, two = {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": "o" * 32}
    job = client.post("/v1/jobs", files=FILES, data=DRAFT, headers=one).json()["id"]
    assert client.get(f"/v1/jobs/{job}", headers=one).status_code == 200
    wrong(client.get(f"/v1/jobs/{job}", headers=two), 404)
    assert client.get("/v1/jobs", headers=two).json()["jobs"] == []


def test_pages_of_other_sites_may_not_call(client, serving):
    wrong(client.post("/v1/jobs", files=FILES, headers={"Origin": "https://evil.example"}), 403)
    refused = client.get("/v1/jobs", headers={"Host": "evil.example"})
    wrong(refused, 403)
    assert refused.json()["kind"] == "ForbiddenError"  # which `restored` knows
    assert "access-control-allow-origin" not in client.get("/v1/jobs").headers
    assert client.get("/v1/jobs", headers={"Origin": "http://testserver"}).status_code == 200
    allowed = serving(Listening(origins=("https://good.example",)))
    reply = allowed.get("/v1/jobs", headers={"Origin": "https://good.example"})
    assert reply.headers["access-control-allow-origin"] == "https://good.example"


def test_a_browser_may_ask_without_its_key_whether_a_page_may_call(serving):
    client = serving(Listening(keys=(KEY,), origins=("https://good.example",)))
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Authorization"}
    reply = client.options("/v1/jobs", headers={"Origin": "https://good.example", **asks})
    assert reply.status_code == 200
    assert "Authorization" in reply.headers["access-control-allow-headers"]
    wrong(client.options("/v1/jobs", headers={"Origin": "https://evil.example", **asks}), 403)
    wrong(client.post("/v1/jobs", files=FILES, headers={"Origin": "https://good.example"}), 401)


def test_every_answer_is_guarded_and_counted(client):
    for reply in (client.get("/healthz"), client.get("/nothing"), client.post("/v1/stylize", files=FILES, data=DRAFT)):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert client.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert "\n" not in client.get("/healthz", headers={"X-Request-Id": "a b"}).headers["x-request-id"]
    counts = client.get("/metrics").text
    assert 'impasto_http_requests_total{method="POST",route="/v1/stylize",status="200"} 1.0' in counts
    assert 'impasto_jobs_ended_total{method="adain",state="done"} 1.0' in counts


def test_lists_and_probes(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    styles = client.get("/v1/styles").json()["styles"]
    assert styles[0]["id"].startswith("pack:")
    picture = client.get(f"/v1/styles/{styles[0]['id']}/thumbnail")
    assert picture.content[:2] == b"\xff\xd8"
    wrong(client.get("/v1/styles/museum:0/thumbnail"), 404)
    methods = client.get("/v1/methods").json()
    assert {row["name"] for row in methods["methods"]} >= {"adain", "optimize"}
    client.service.close(0)
    assert client.get("/readyz").status_code == 503


def test_openapi_names_every_setting_with_examples(client):
    document = client.get("/openapi.json").json()
    form = document["paths"]["/v1/stylize"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"content", "style", "region", "strength", "style-weight", "keep-color"} <= set(form["schema"]["properties"])
    assert form["example"]["content"]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    bodies = {name: body for name, body in document["components"]["schemas"].items() if "properties" in body}
    assert {"JobBody", "PageBody", "MethodsBody", "RatingGiven"} <= set(bodies)
    for name in bodies.keys() & vars(schema).keys():
        for example in bodies[name]["examples"]:
            getattr(schema, name).model_validate(example)
    for path, entry in document["paths"].items():
        for method, operation in entry.items():
            assert operation["summary"], (path, method)
            assert "422" in operation["responses"]


def test_answers_are_not_held_back_until_there_is_more():
    with closing(listen("127.0.0.1", 0)) as bound, closing(socket.create_connection(bound.getsockname())):
        accepted, _ = bound.accept()
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.proto == socket.IPPROTO_TCP  # by which asyncio knows what to set


def test_what_cannot_be_served_is_told_by_the_command(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("IMPASTO_KEYS", raising=False)
    (junk := tmp_path / "junk.pem").write_text("junk")
    for words, told in (
        (("--host", "0.0.0.0"), "can be reached from other machines"),
        (("--http", "-1"), "neither HTTP nor gRPC"),
        (("--tls-key", "a.pem"), "only one of certificate and private key"),
        (("--key-file", "none.txt"), "there is no file none.txt"),
        (("--tls-certificate", junk, "--tls-key", junk), "TLS cannot be served with"),
        (("--max-body", "much"), "--max-body is 'much'"),
        (("--max-delay", "nan"), "--max-delay"),
        (("--drain-seconds", "nan"), "--drain-seconds"),
        (("--job-seconds", "inf"), "--job-seconds is inf"),
        (("--keep-days", "nan"), "--keep-days"),
        (("--backup", tmp_path / "b.tar"), "there is no database"),
    ):
        assert told in refused("serve", *words)
    with closing(JobStore(tmp_path / "state")):
        assert "IMPASTO_STATE" in refused("serve", "--http", "0")


def test_the_command_backs_up_what_a_service_keeps(run, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_STATE", str(tmp_path / "state"))
    JobStore(tmp_path / "state").close()
    assert run("serve", "--backup", tmp_path / "b.tar").strip() == str(tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert "jobs.sqlite" in archive.getnames()
