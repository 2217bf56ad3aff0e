"""Videos and trainings over HTTP, on tiny networks: what is made, what is refused, and what a stop leaves."""

import io
import json
import threading
import time
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from impasto.client._http import _files
from impasto.client._request import request_of
from impasto.serve.http import make_app
from impasto.serve.service import Service
from impasto.serve.settings import ServeSettings
from impasto.serve.store import JobStore
from impasto.train import _run
from impasto.videos import VideoReader, VideoWriter, probe_video
from serving import png
from tiny import noise, write_photographs

pytestmark = pytest.mark.process
STYLE = ("painting.png", png(1))
LIMITS = ServeSettings(video_seconds=2, video_frames=40, video_pixels=96 * 64, body_bytes=1 << 20)


def clip(path, frames=12, width=64, height=48, rate=12):
    wide = noise(height, width + frames)[0].permute(1, 2, 0).numpy()
    with VideoWriter(path, rate=rate) as writer:
        for index in range(frames):
            writer.write(np.ascontiguousarray(wide[:, index : index + width]))
    return path


def with_sound(path, target):
    """The same clip with a second of a tone."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        pictures = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream("aac", rate=8000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                out.mux(packet)
        tone = np.sin(np.arange(8000) / 5, dtype=np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.rate = 8000
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            out.mux(packet)
    return target


@pytest.fixture
def serving(engine, tmp_path):
    """Starts services one after the other on the same folder; gives a client of each."""
    running = []

    def stop():
        if running:
            service = running.pop()
            service.close(0)
            service.store.close()

    def start(**limits):
        stop()
        service = Service(engine, replace(LIMITS, **limits), JobStore(tmp_path / "state"))
        service.start()
        running.append(service)
        client = TestClient(make_app(service), raise_server_exceptions=False)
        client.service = service
        return client

    start.stop = stop
    yield start
    stop()


def hand_in(client, path, name="clip.mp4", **data):
    files = {"video": (name, path.read_bytes()), "style": STYLE}
    return client.post("/v1/jobs", files=files, data=data)


def ended(client, job):
    """The kinds of the events, and the job at its end."""
    lines = client.get(f"/v1/jobs/{job['id']}/events").text.splitlines()
    return [line[7:] for line in lines if line.startswith("event: ")], client.get(f"/v1/jobs/{job['id']}").json()


def test_a_video_is_painted_with_its_sound_and_shown_on_the_way(serving, tmp_path):
    source = with_sound(clip(tmp_path / "silent.mp4"), tmp_path / "clip.mp4")
    client = serving(preview_seconds=0.0)
    reply = hand_in(client, source)
    assert reply.status_code == 202, reply.text
    assert reply.json()["kind"] == "video"
    kinds, job = ended(client, reply.json())
    assert job["state"] == "done", job
    assert {"progress", "preview"} <= set(kinds)
    assert (job["result"]["media_type"], job["result"]["width"]) == ("video/mp4", 64)
    film = client.get(f"/v1/jobs/{job['id']}/result")
    assert film.headers["content-type"] == "video/mp4"
    (tmp_path / "painted.mp4").write_bytes(film.content)
    found = probe_video(tmp_path / "painted.mp4")
    assert (found.count, found.streams) == (12, ("audio aac",))
    before, after = (next(iter(VideoReader(path))).pixels for path in (source, tmp_path / "painted.mp4"))
    assert abs(before - after).mean() > 0.02
    assert str(tmp_path) not in film.text
    small = client.get(f"/v1/jobs/{job['id']}/thumbnail?side=32")
    assert Image.open(io.BytesIO(small.content)).size == (32, 24)
    assert list((tmp_path / "state" / "work").iterdir()) == []
    assert client.post(f"/v1/jobs/{job['id']}/rating", json={"stars": 4}).status_code == 200
    assert client.delete(f"/v1/jobs/{job['id']}?forget=true").status_code == 200
    assert list((tmp_path / "state" / "results").iterdir()) == []


def test_what_is_too_much_is_told_from_the_header(serving, tmp_path):
    client = serving()
    short = clip(tmp_path / "short.mp4", frames=6)
    long = clip(tmp_path / "long.mp4", frames=36, rate=6)

    def refused(reply, status, words):
        assert reply.status_code == status, reply.text
        told = reply.json()
        assert words in told["error"]
        assert told["hint"]
        assert "\n" not in told["error"] + told["hint"]
        assert "--" not in told["hint"]

    refused(hand_in(client, long), 413, "is 6 s long; 2 s are allowed")
    refused(hand_in(client, clip(tmp_path / "fast.mp4", frames=60, rate=60)), 413, "more than 40 frames")
    refused(hand_in(client, clip(tmp_path / "wide.mp4", frames=2, width=192)), 413, "would have frames of 192x48 px")
    assert hand_in(client, tmp_path / "wide.mp4", size="64").status_code == 202
    refused(hand_in(client, short, start="9"), 422, "should be read from 9 s on")
    refused(hand_in(client, short, start="2", end="1"), 422, "start is 2")
    refused(hand_in(client, short, format="exe"), 422, "not a format of videos")
    refused(hand_in(client, short, quality="good"), 422, "minutes for each frame")
    refused(hand_in(client, short, **{"protect-faces": "true"}), 422, "not for videos")
    refused(hand_in(client, short, temporal="perhaps"), 422, "perhaps")
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\nfile:///etc/passwd\n")
    refused(hand_in(client, playlist), 422, "is not a video")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(short.read_bytes()[:300])
    refused(hand_in(client, broken, name="../a/holiday.mp4"), 422, "holiday.mp4 holds no video")
    files = {"video": ("a.mp4", short.read_bytes()), "style": STYLE}
    refused(client.post("/v1/stylize", files=files), 422, "too long to wait for")
    files["content"] = ("a.png", png())
    refused(client.post("/v1/jobs", files=files), 422, "a video and a photograph")
    files = {"content": ("a.png", png()), "style": STYLE}
    refused(client.post("/v1/jobs", files=files, data={"temporal": "best"}), 422, "temporal is for videos")
    refused(hand_in(serving(video_seconds=0), short), 422, "paints no videos")
    assert client.get("/v1/about").json()["limits"]["video_seconds"] == 2
    assert hand_in(serving(), long, start="4", end="5").status_code == 202


def test_a_video_that_was_broken_off_goes_on_from_its_last_segment(serving, tmp_path, monkeypatch):
    told, reached, steps = Service._progress, threading.Event(), []

    def hold_at_fifty(service, live, progress):
        told(service, live, progress)
        if progress.unit == "frame":
            steps.append(progress.step)
        while progress.step >= 50 and not reached.is_set():
            reached.set()
            live.stop.wait(120)

    monkeypatch.setattr(Service, "_progress", hold_at_fifty)
    limits = {"video_seconds": 9, "video_frames": 99}
    job = hand_in(serving(**limits), clip(tmp_path / "clip.mp4", frames=60)).json()
    assert reached.wait(600)
    serving.stop()
    begun, steps[:] = max(steps), []
    _, job = ended(serving(**limits), job)
    assert job["state"] == "done", job
    assert (begun, min(steps), max(steps)) == (50, 48, 60)


def test_the_client_sends_a_video_by_its_ending(tmp_path):
    sent = dict(_files(request_of(str(clip(tmp_path / "clip.MP4")), "irises", {})))
    assert sent["video"][0] == "clip.MP4"
    assert "content" not in sent


def test_the_first_frame_of_a_video_is_shown_and_a_picture_is_no_video(serving, tmp_path):
    client = serving()
    path = clip(tmp_path / "clip.mp4")
    reply = client.post("/v1/preview", files={"video": ("clip.mp4", path.read_bytes())})
    assert Image.open(io.BytesIO(reply.content)).size == (64, 48)
    reply = client.post("/v1/preview", files={"video": ("a.png", png())})
    assert (reply.status_code, reply.json()["error"]) == (422, "a.png is not a video")


# --- trainings


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(_run, "_VALIDATIONS", 2)
    return write_photographs(tmp_path / "photographs", 10, side=272)


def train(client, **data):
    return client.post("/v1/trainings", files={"style": ("Wheat field.png", png(3, 96, 80))}, data=data)


def test_a_painting_becomes_a_style_of_its_client(serving, photographs, tmp_path):
    client = serving(training_photos=photographs)
    about = client.get("/v1/about").json()["training"]
    assert (about["offered"], about["most_minutes"]) == (True, 60)
    reply = train(client, name="Mein Weizen 麦", minutes="0.02")
    assert reply.status_code == 202, reply.text
    kinds, job = ended(client, reply.json())
    assert (job["kind"], job["state"]) == ("training", "done"), job
    assert {"progress", "preview"} <= set(kinds)
    assert job["result"]["name"] == "mein-weizen-麦.safetensors"
    [style] = [row for row in client.get("/v1/styles").json()["styles"] if row["source"] == "trained"]
    assert (style["id"], style["title"]) == (f"trained:{job['id']}", "mein-weizen-麦")
    assert client.get(f"/v1/styles/{style['id']}/thumbnail").headers["content-type"] == "image/jpeg"
    assert client.get(f"/v1/jobs/{job['id']}/thumbnail").headers["content-type"] == "image/jpeg"
    files = {"content": ("photo.png", png())}
    painted = client.post("/v1/stylize", files=files, data={"style": style["id"]})
    assert painted.status_code == 200, painted.text
    record = json.loads(Image.open(io.BytesIO(painted.content)).text["impasto"])
    assert record["method"] == "feedforward"
    assert record["styles"][0]["id"].startswith(style["id"])
    assert str(tmp_path) not in painted.text
    other = {"X-Impasto-Client": "other"}
    assert client.post("/v1/stylize", files=files, data={"style": style["id"]}, headers=other).status_code == 422
    assert not [r for r in client.get("/v1/styles", headers=other).json()["styles"] if r["source"] == "trained"]
    assert client.get(f"/v1/styles/{style['id']}/thumbnail", headers=other).status_code == 404
    client.service.store.expire(time.time() + 9)
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 200
    assert client.delete(f"/v1/jobs/{job['id']}?forget=true").status_code == 200
    assert client.post("/v1/stylize", files=files, data={"style": style["id"]}).status_code == 422


def test_a_training_that_is_cancelled_leaves_its_style_and_one_runs_at_a_time(serving, photographs):
    client = serving(training_photos=photographs)
    job = train(client, minutes="60").json()
    second = train(client)
    assert (second.status_code, second.json()["error"]) == (429, "a training of yours is not done")
    for line in client.service.watch(job["id"]):
        if line.kind == "preview":
            client.delete(f"/v1/jobs/{job['id']}")
    _, job = ended(client, job)
    assert (job["state"], job["result"]["name"]) == ("cancelled", "wheat-field.safetensors")
    assert client.get(f"/v1/jobs/{job['id']}/result").content[8:9] == b"{"
    reply = client.post("/v1/jobs", files={"content": ("a.png", png())}, data={"style": f"trained:{job['id']}"})
    assert ended(client, reply.json())[1]["state"] == "done"


def test_a_training_goes_on_after_a_stop(serving, photographs):
    client = serving(training_photos=photographs)
    job = train(client, minutes="0.1").json()
    for event in client.service.watch(job["id"]):
        if event.kind == "preview":
            break
    client = serving(training_photos=photographs)
    _, job = ended(client, job)
    assert job["state"] == "done", job


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"minutes": "61"}, "minutes is 61"),
        ({"minutes": "nan"}, "minutes is"),
        ({"minutes": "0"}, "minutes is 0"),
        ({"name": "<b>"}, "the name is"),
        ({"name": "9"}, "the name is"),
        ({"style": "irises"}, "more than one painting"),
        ({"steps": "5"}, "no setting 'steps'"),
        ({"minutes": ["1", "2"]}, "given 2 times"),
    ],
)
def test_trainings_that_cannot_be_are_refused(serving, photographs, data, words):
    reply = train(serving(training_photos=photographs), **data)
    assert reply.status_code == 422, reply.text
    assert words in reply.json()["error"]


def test_without_photographs_or_the_extra_it_is_said_why(serving, photographs, monkeypatch):
    client = serving()
    reply = train(client)
    assert (reply.status_code, "has no photographs" in reply.json()["error"]) == (422, True)
    assert client.get("/v1/about").json()["training"]["offered"] is False
    from impasto.serve import trainings

    def missing(module, extra):
        from impasto.errors import MissingExtra

        raise MissingExtra(f"{module} is not installed", f'pip install "impasto[{extra}]"')

    monkeypatch.setattr(trainings, "require_installed", missing)
    client = serving(training_photos=photographs)
    assert train(client).status_code == 501
    assert "lightning" in client.get("/v1/about").json()["training"]["why_not"]
    client = serving(training_photos=photographs)
    monkeypatch.undo()
    tiny = client.post("/v1/trainings", files={"style": ("a.png", png(0, 32, 32))})
    assert "32x32" in tiny.json()["error"]
    assert client.post("/v1/trainings", data={"style": "/etc/passwd"}).status_code == 422
    assert client.post("/v1/trainings", files={"content": ("a.png", png())}).status_code == 422
