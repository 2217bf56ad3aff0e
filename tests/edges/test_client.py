"""The Python client, for threads and for asyncio, over HTTP and over gRPC, with real servers on loopback."""

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import aclosing

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto import images
from impasto.client import AsyncClient, Client, Job, UnreachableError
from impasto.errors import AssetError, Cancelled, InputError, MissingExtra, ResourceError, StyleError
from impasto.serve.settings import (
    BusyError,
    ClosingError,
    ConflictError,
    KeyRefusedError,
    Listening,
    NotFoundError,
    ServeSettings,
)
from serving import GrpcRunning, HttpRunning
from tiny import noise

KEY = "a-long-key-0123456789"
TRANSPORTS = {"http": HttpRunning, "grpc": GrpcRunning}
LONG = {"method": "optimize", "steps": 5000}


def pixels_of(seed, width=64, height=48):
    return np.rint(255 * noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy()).astype(np.uint8)


PHOTO, PAINTING = pixels_of(0), pixels_of(1)


@pytest.fixture(params=TRANSPORTS)
def serve(request, service_of):
    """Starts a server; gives it and its address."""
    opened = []

    def start(limits=None, **listening):
        service = service_of(limits)
        service.start()
        running = TRANSPORTS[request.param](service, Listening(http_port=0, grpc_port=0, **listening))
        opened.append(running)
        return running, f"{request.param}://127.0.0.1:{running.port}"

    yield start
    for running in opened:
        running.close()


@pytest.fixture
def served(serve):
    running, address = serve()
    with Client(address) as client:
        yield running, client


@pytest.fixture
def client(served):
    return served[1]


def begun(job, client, steps=3):
    """Wait until an optimisation is under way."""
    for event in client.watch(job):
        if event.kind == "progress" and event.progress.losses and event.progress.step >= steps:
            return


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_comes_back_as_the_engine_paints_it(client, engine, tmp_path):
    photo = tmp_path / "holiday photo.png"
    images.write(images.read(PHOTO), photo)
    painting = client.stylize(photo, PAINTING, quality="draft")
    own = engine.stylize(photo, images.read(PAINTING), impasto.Request(quality="draft"))
    assert np.abs(np.asarray(painting.image) / 255 - own.picture.pixels).max() < 0.6 / 255
    assert painting.media_type == "image/png"
    assert painting.name.startswith("holiday photo-")
    assert painting.save(tmp_path / "out.png").read_bytes() == painting.data
    assert painting.save(tmp_path).name == painting.name
    assert images.read_record(tmp_path / "out.png")["method"] == "adain"


@pytest.mark.parametrize("form", ["path", "text", "bytes", "file", "image", "array", "tensor"])
def test_pictures_of_any_kind_are_sent(client, picture_file, form):
    path = picture_file("photo.png")
    data = path.read_bytes()
    kinds = {
        "path": lambda: path,
        "text": lambda: str(path),
        "bytes": lambda: data,
        "file": lambda: io.BytesIO(data),
        "image": lambda: Image.open(io.BytesIO(data)),
        "array": lambda: np.asarray(Image.open(io.BytesIO(data))),
        "tensor": lambda: images.to_tensor(images.as_float(images.read(path).pixels)),
    }
    painting = client.stylize(kinds[form](), kinds[form](), quality="draft")
    assert painting.image.size == (64, 48)


def test_controls_weights_and_numbers_arrive(client, tmp_path):
    """Two pictures of one name, a mask that is used twice, a word that is none, numbers of numpy."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        images.write(images.read(pixels_of(len(folder) + (folder == "b"))), tmp_path / folder / "style=1:2.png")
    mask = np.repeat(np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))[..., None], 3, 2)
    painting = client.stylize(
        PHOTO,
        [(tmp_path / "a" / "style=1:2.png", 2), (tmp_path / "b" / "style=1:2.png", 0.5)],
        quality="draft",
        size=np.int64(32),
        strength=np.float32(0.5),
        regions=[(mask, PAINTING)],
        preserve=mask,
        feather=2,
        color_only=False,
        keep_color="luminance",
        format="webp",
        jpeg_quality=80,
    )
    record = images.read_record(io.BytesIO(painting.data))
    assert painting.media_type == "image/webp"
    assert [style["weight"] for style in record["styles"]] == [2, 0.5]
    assert (record["width"], record["knobs"]["strength"]) == (32, 0.5)
    assert set(record["controls"]) == {"keep_color", "feather", "preserve"}
    assert len(record["regions"]) == 1


@pytest.mark.usefixtures("pointing")
def test_a_region_is_what_is_pointed_at(client):
    painting = client.stylize(PHOTO, (), quality="draft", regions=[("point 20,10", PAINTING)], preserve="point 99%,99%")
    changed = np.abs(np.asarray(painting.image).astype(int) - PHOTO).max(2) > 0
    assert changed[5:15, 15:25].mean() > 0.9
    changed[5:15, 15:25] = False
    assert not changed.any()
    with pytest.raises(InputError, match="64,10 lies outside the picture, which has 64x48"):
        client.stylize(PHOTO, (), quality="draft", regions=[("point 64,10", PAINTING)])
    with pytest.raises(InputError, match="is no place"):
        client.stylize(PHOTO, PAINTING, quality="draft", preserve="point ../a,b")


def test_events_are_told_while_a_picture_is_painted(serve):
    _, address = serve(ServeSettings(preview_seconds=0))
    events = []
    with Client(address) as client:
        painting = client.stylize(PHOTO, PAINTING, method="optimize", steps=4, on_event=events.append)
    assert painting.image.size == (64, 48)
    assert {"state", "progress", "preview", "done"} == {event.kind for event in events}
    last = [event.progress for event in events if event.kind == "progress"][-1]
    assert last.share == 1
    preview = next(event.preview for event in events if event.kind == "preview")
    assert Image.open(io.BytesIO(preview)).size == (64, 48)


def test_what_a_callback_raises_cancels_the_job(served):
    running, client = served

    def stop(event):
        if event.kind == "progress" and event.progress.losses:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        client.stylize(PHOTO, PAINTING, on_event=stop, **LONG)
    ended(running)


@pytest.mark.parametrize("told", [True, False])
def test_a_service_that_stops_tells_who_waits_for_a_picture(served, told):
    running, client = served
    events = []

    def stop_service(event=None):
        events.append(event)
        threading.Thread(target=running.service.close, args=(0,)).start()

    if not told:
        threading.Timer(0.5, stop_service).start()
    watching = (lambda event: stop_service(event) if event.progress and not events else None) if told else None
    with pytest.raises(ClosingError, match="stopping"):
        client.stylize(PHOTO, PAINTING, on_event=watching, **LONG)


def ended(running):
    """Wait until nothing is painted any more."""
    for _ in range(400):
        if all(live.job.ended for live in running.service._live.values()):
            return
        time.sleep(0.05)
    raise AssertionError("the job goes on")


# --- frames ----------------------------------------------------------------------------------------------------------


def test_frames_are_painted_over_grpc(serve, monkeypatch):
    """Arrays of bytes, of numbers, pictures, and frames that are too large for a message; HTTP says where to go."""
    _, address = serve()
    kinds = [PHOTO, PHOTO / np.float32(255), Image.fromarray(PHOTO)]
    with Client(address) as client:
        if address.startswith("http"):
            with pytest.raises(InputError, match="frames were given"):
                list(client.frames(kinds, PAINTING))
            return
        painted = list(client.frames(iter(kinds), PAINTING, temporal="off", strength=0.5))
        assert [frame.number for frame in painted] == [0, 1, 2]
        assert all(np.array_equal(frame.pixels, painted[0].pixels) for frame in painted)
        monkeypatch.setattr("impasto.client._grpc._MOST_RAW", 100)
        (large,) = client.frames([PHOTO], PAINTING, temporal="off", strength=0.5)
        assert np.abs(large.pixels.astype(int) - painted[0].pixels).mean() < 12
        with pytest.raises(InputError, match="shape"):
            list(client.frames([PHOTO[..., 0]], PAINTING))
        with pytest.raises(InputError, match="temporal"):
            list(client.frames(kinds, PAINTING, temporal="slow"))


def test_a_film_may_be_left_early(serve):
    _, address = serve()
    if address.startswith("http"):
        pytest.skip("frames go over gRPC")

    async def use():
        async def camera():
            while True:
                yield PHOTO

        async with AsyncClient(address) as client:
            seen = []
            async with aclosing(client.frames(camera(), PAINTING, drop_late=True)) as frames:
                async for frame in frames:
                    seen.append(frame.number)
                    if len(seen) == 3:
                        break
            return seen

    seen = asyncio.run(use())
    assert seen == sorted(set(seen))


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_watched_and_fetched(client):
    job = client.submit(PHOTO, PAINTING, quality="draft")
    events = list(client.watch(job))
    assert events[-1].kind == "done"
    assert events[-1].job.result.width == 64
    assert [event.number for event in client.watch(job.id, after=events[-2].number)] == [events[-1].number]
    assert client.job(job) == events[-1].job
    assert len(client.result(job).data) == events[-1].job.result.bytes
    assert client.cancel(job).state == "done"
    assert isinstance(client.job(job.id), Job)


def test_jobs_are_paged(client):
    made = [client.submit(PHOTO, PAINTING, quality="draft").id for _ in range(3)]
    first = client.jobs(limit=2)
    rest = client.jobs(limit=2, before=first.next)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == made[::-1]
    assert rest.next is None
    assert client.jobs(state="failed").jobs == ()
    with pytest.raises(InputError):
        client.jobs(state="lost")


def test_a_job_is_cancelled_and_keeps_its_best_picture(client):
    job = client.submit(PHOTO, PAINTING, **LONG)
    begun(job, client)
    client.cancel(job)
    last = list(client.watch(job))[-1]
    assert (last.kind, type(last.job.error)) == ("cancelled", Cancelled)
    assert client.result(job).image.size == (64, 48)


def test_the_same_key_gives_the_same_job(client):
    first, again = (client.submit(PHOTO, PAINTING, quality="draft", idempotency_key="once") for _ in range(2))
    assert first.id == again.id
    with pytest.raises(ConflictError):
        client.submit(PHOTO, PAINTING, quality="draft", size=32, idempotency_key="once")


def test_a_job_whose_answer_is_lost_is_handed_in_again_and_is_there_once(client):
    submit, lost = client._client._transport.submit, []

    async def losing(request, key):
        job = await submit(request, key)
        if len(lost) < 2:
            lost.append((job.id, key))
            raise UnreachableError("the connection broke", "")
        return job

    client._client._transport.submit = losing
    job = client.submit(PHOTO, PAINTING, quality="draft")
    assert {job.id} == {job_id for job_id, _ in lost}
    assert [found.id for found in client.jobs().jobs] == [job.id]
    assert client.submit(PHOTO, PAINTING, quality="draft").id != job.id  # another call is another job


def test_a_job_that_was_accepted_too_late_is_found_by_the_key_of_the_hint(serve):
    running, address = serve()
    submit, accepted = running.service.submit, []

    def slowly(*given, **more):
        accepted.append(submit(*given, **more))
        time.sleep(1)
        return accepted[-1]

    running.service.submit = slowly
    with Client(address, timeout=0.5) as client, pytest.raises(Cancelled, match=r"0\.5 seconds") as told:
        client.submit(PHOTO, PAINTING, quality="draft")
    key = re.search("idempotency_key='([0-9a-f]{32})'", told.value.hint)[1]
    with Client(address) as client:
        again = client.submit(PHOTO, PAINTING, quality="draft", idempotency_key=key)
        assert [again.id] == [job.id for job in client.jobs().jobs] == [accepted[0].id]


def test_leaving_a_watch_early_leaves_the_job_alone(client):
    job = client.submit(PHOTO, PAINTING, method="optimize", steps=30)
    for event in client.watch(job):
        assert event.kind == "state"
        break
    assert list(client.watch(job))[-1].kind == "done"


# --- what there is ---------------------------------------------------------------------------------------------------


def test_styles_and_methods_are_listed(served, monkeypatch):
    running, client = served
    methods = {method.name: method for method in client.methods()}
    assert methods["optimize"].settings["properties"]["steps"]["type"] == "integer"
    assert methods["adain"].kind == "map"
    assert "regions" in methods["adain"].honours
    row = {"id": "museum:1", "title": "Irises", "artist": "Vincent van Gogh", "date": "1890", "licence": "CC0"}
    rows = [{**row, "source": "museum", "method": "auto"}]
    monkeypatch.setattr(running.service, "styles", lambda *_, **__: rows)
    assert [style.title for style in client.styles("irises")] == ["Irises"]


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        InputError("cannot use this", "use that"),
        MissingExtra("x is not installed", "install it"),
        AssetError("no weights", "fetch them"),
        ResourceError("memory ran out", "use a smaller size"),
        Cancelled("stopped", "try again"),
        StyleError("a bug", "report it"),
        BusyError("too many", "wait"),
        NotFoundError("not there", "look"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_as_the_same_classes(served, monkeypatch, error):
    running, client = served

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(running.service, "submit", fail)
    for call in (client.stylize, client.submit):
        with pytest.raises(type(error)) as caught:
            call(PHOTO, PAINTING)
        assert type(caught.value) is type(error)
        assert (caught.value.message, caught.value.hint) == (error.message, error.hint)


def test_mistakes_are_told(client, tmp_path):
    with pytest.raises(InputError, match="no setting 'strenght'"):
        client.stylize(PHOTO, PAINTING, strenght=0.5)
    with pytest.raises(InputError, match="no photograph 'nowhere"):
        client.stylize("nowhere.jpg", PAINTING)
    with pytest.raises(InputError, match="no style"):
        client.stylize(PHOTO, [])
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InputError):
        client.stylize(tmp_path / "broken.png", PAINTING)
    with pytest.raises(NotFoundError):
        client.job("0" * 32)
    with pytest.raises(NotFoundError):
        list(client.watch("0" * 32))
    for name in ("../../healthz", "", "\u00e9"):
        with pytest.raises(InputError, match="no job"):
            client.job(name)
    for limit in (-1, 0, 101):
        with pytest.raises(InputError, match="limit is"):
            client.jobs(limit=limit)
    for key in ("", "\u00e9", "k" * 201):
        with pytest.raises(InputError, match="idempotency key"):
            client.submit(PHOTO, PAINTING, idempotency_key=key)


def test_a_job_that_fails_tells_its_error(served, engine, monkeypatch):
    _, client = served

    def fail(*_, **__):
        raise ResourceError("memory ran out", "use a smaller size")

    monkeypatch.setattr(engine, "stylize", fail)
    monkeypatch.setattr(engine, "prepare", fail)
    job = client.submit(PHOTO, PAINTING, quality="draft")
    last = list(client.watch(job))[-1]
    assert (last.kind, type(last.job.error)) == ("failed", ResourceError)
    for more in ({}, {"on_event": lambda event: None}):
        with pytest.raises(ResourceError, match="memory ran out"):
            client.stylize(PHOTO, PAINTING, quality="draft", **more)


def test_keys_are_asked_for(serve):
    _, address = serve(keys=(KEY,))
    with Client(address) as client, pytest.raises(KeyRefusedError):
        client.methods()
    with Client(address, key=KEY) as client:
        assert client.methods()


@pytest.mark.parametrize("scheme", TRANSPORTS)
def test_nobody_there(scheme):
    with Client(f"{scheme}://127.0.0.1:1") as client:
        with pytest.raises(UnreachableError, match="does not answer"):
            client.methods()
        with pytest.raises(UnreachableError):
            list(client.watch("0" * 32))


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "", "grpc:///"])
def test_addresses_are_checked(address):
    with pytest.raises(InputError, match="address"):
        Client(address)


# --- time, cancelling, threads ---------------------------------------------------------------------------------------


def test_the_time_of_a_call_stops_its_job(serve):
    running, address = serve()
    with Client(address, timeout=1.5) as client, pytest.raises(Cancelled, match=r"1\.5 seconds"):
        client.stylize(PHOTO, PAINTING, **LONG)
    ended(running)


def test_closing_the_client_stops_what_it_waits_for(serve):
    running, address = serve()
    client, failed = Client(address), []

    def wait():
        try:
            client.stylize(PHOTO, PAINTING, **LONG)
        except BaseException as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(400):
        if any(live.job.started for live in running.service._live.values()):
            break
        time.sleep(0.05)
    client.close()
    waiting.join(20)
    assert [type(error) for error in failed] == [Cancelled]
    ended(running)
    client.close()
    with pytest.raises(InputError, match="closed"):
        client.methods()


def test_asyncio_has_the_same(serve):
    """Many at once, and a task that is cancelled."""
    running, address = serve()

    async def use():
        async with AsyncClient(address) as client:
            paintings = await asyncio.gather(*(client.stylize(PHOTO, PAINTING, quality="draft") for _ in range(4)))
            job = await client.submit(PHOTO, PAINTING, quality="draft")
            kinds = [event.kind async for event in client.watch(job)]
            task = asyncio.ensure_future(client.stylize(PHOTO, PAINTING, **LONG))
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return paintings, kinds, task.cancelled(), await client.jobs()

    paintings, kinds, cancelled, page = asyncio.run(use())
    assert len({painting.image.tobytes() for painting in paintings}) == 1
    assert (kinds[-1], cancelled, len(page.jobs)) == ("done", True, 1)
    ended(running)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=impasto"
    words += " -addext subjectAltName=IP:127.0.0.1 -out {} -keyout {}".format(*paths)
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    return paths


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of connections that TLS refused
def test_tls_hides_what_is_sent(serve, certificate):
    _, address = serve(certificate=certificate[0], private_key=certificate[1], keys=(KEY,))
    secure = address.replace("://", "s://")
    with Client(secure, key=KEY, certificate=certificate[0]) as client:
        assert client.stylize(PHOTO, PAINTING, quality="draft").image.size == (64, 48)
    for wrong, trusted in ((secure, None), (address, certificate[0])):
        with Client(wrong, key=KEY, certificate=trusted) as client, pytest.raises(UnreachableError):
            client.methods()


@pytest.mark.process
def test_one_process_serves_both(tmp_path):
    """What is handed in by HTTP is seen by gRPC, as health is; SIGTERM ends all."""
    environment = {**os.environ, "IMPASTO_STATE": str(tmp_path), "IMPASTO_OFFLINE": "1", "IMPASTO_KEYS": KEY}
    words = [sys.executable, "-m", "impasto", "serve", "--http", "0", "--grpc", "0", "--quiet"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline().split(";")[0].split() for _ in range(2)]
            http, grpc = (line[-1] for line in lines)
            with Client(http, key=KEY) as one, Client(f"grpc://{grpc}", key=KEY) as other:
                job = one.submit(PHOTO, PAINTING, color_only=True)
                assert list(other.watch(job))[-1].kind == "done"
                assert one.result(job) == other.result(job)
                assert [found.id for found in other.jobs().jobs] == [job.id]
        finally:
            process.terminate()
        assert process.wait(120) == 0


@pytest.mark.process
def test_importing_the_client_loads_no_torch():
    code = "import sys, impasto.client; print([m for m in ('torch', 'grpc', 'httpx', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
