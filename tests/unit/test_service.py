"""The service behind HTTP and gRPC: what is accepted, what is told, and what becomes of jobs."""

import asyncio
import gc
import io
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from impasto import images
from impasto.errors import Cancelled, InputError, ResourceError
from impasto.serve.fields import Upload, clean_name, plain_settings
from impasto.serve.jobs import public_error
from impasto.serve.schema import common_schema
from impasto.serve.service import Service
from impasto.serve.settings import BusyError, ClosingError, ConflictError, NotFoundError, ServeSettings, restored
from impasto.serve.store import JobStore
from tiny import noise


def png(seed=0, width=64, height=48):
    stream = io.BytesIO()
    pixels = noise(height, width, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()
    images.write(images.read(pixels), stream, format="PNG")
    return stream.getvalue()


PHOTO, STYLE = Upload("content", "photo.png", png(0)), Upload("style", "painting.png", png(1))
DRAFT = {"quality": "draft"}


@pytest.fixture
def service(engine):
    made = Service(engine)
    yield made
    made.close(0)


def ended(service, job, **named):
    return list(service.watch(job.id, **named))[-1]


class Blocked:
    """Holds the lanes of a service until it is released."""

    def __init__(self, service):
        self.gate, self.paint = threading.Event(), service.engine.paint_all
        service.engine.paint_all = self

    def __call__(self, *given, **named):
        self.gate.wait(120)
        return self.paint(*given, **named)


def test_a_job_is_painted_as_the_engine_paints(service, engine):
    job = service.submit([PHOTO, STYLE], {"quality": "draft", "strength": "0.5"})
    events = list(service.watch(job.id))
    assert [event.kind for event in events if event.kind == "state"] == ["state", "state"]
    assert events[-1].kind == "done"
    painted = service.result(job.id)
    assert (painted.media_type, painted.name) == ("image/png", "photo-painting.png")
    pictures = images.read(PHOTO.data), images.read(STYLE.data)
    from impasto.engine.request import Request

    direct = engine.stylize(*pictures, Request(quality="draft", knobs={"strength": 0.5}))
    again = images.read(painted.data)
    assert abs(again.pixels - direct.picture.pixels).max() <= 1 / 255
    assert images.read_record(painted.data)["styles"] == [{"id": "painting.png", "label": "painting", "weight": 1.0}]


@pytest.mark.slow
def test_a_watcher_in_asyncio_hears_the_same(service):
    job = service.submit([PHOTO, STYLE], {"method": "optimize", "steps": 2})

    async def kinds():
        return [event.kind async for event in service.watch_async(job.id)]

    heard = asyncio.run(kinds())
    assert heard[-1] == "done"
    assert heard.count("progress") >= 3
    assert [event.kind for event in service.watch(job.id, after=4)] == [
        event.kind for event in service.watch(job.id) if event.number > 4
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"colour": "blue"}, "no setting"),
        ({"style": "/etc/passwd"}, "names no picture"),
        ({"style": "http://example.org/a"}, "names no picture"),
        ({"style": "..\\secret.png"}, "names no picture"),
        ({"style": "mine.safetensors"}, "names no picture"),
        ({"encoder": "vgg19:/etc/passwd", "method": "optimize"}, "is 'vgg19:/etc/passwd'"),
        ({"region": "sky.png=x"}, "names no mask"),
        ({"region": "sky"}, "lacks a mask"),
        ({"preserve": "mask.png"}, "names no mask"),
        ({"init": "start.png"}, "init is"),
        ({"size": "big"}, "size is 'big'"),
        ({"size": 1e300}, "size"),
        ({"strength": "nan"}, "strength is 'nan'"),
        ({"strength": [1, 2]}, "given 2 times"),
        ({"strength": {"a": 1}}, "strength is"),
        ({"color-only": "perhaps"}, "color-only is"),
        ({"weight": ["1", "2"]}, "2 weights"),
        ({"weight": "-1"}, "weight of an uploaded style"),
        ({"style": "painting.png:nan"}, "weight of style"),
        ({"max-pixels": "9"}, "not a client's"),
        ({"format": "exe"}, "not a format"),
        ({"quality": "finest"}, "no quality"),
        ({"method": "magic"}, "no method"),
        ({"size": 100_000}, "would be"),
    ],
)
def test_what_cannot_be_used_is_told_before_a_job_is_accepted(service, given, words):
    with pytest.raises(InputError, match=words):
        service.submit([PHOTO, STYLE], given)
    assert service.jobs().jobs == ()


def test_all_controls_reach_the_engine(service):
    mask = Upload("file", "sky.png", png(3))
    given = {
        **{
            "style_weight": None,
            "quality": "",
            "region": "sky.png=other.png",
            "feather": "2",
            "--keep-color": "luminance",
        },
        "weight": ["2"],
    }
    uploads = [PHOTO, STYLE, mask, Upload("file", "other.png", png(4)), Upload("strength-map", "map.png", png(5))]
    order = service._reader.read(uploads, plain_settings({**given, "method": "adain", "preserve": "sky.png"}))
    controls = order.request.controls
    assert [weight for _, weight in order.styles] == [2.0]
    assert (controls.feather, controls.keep_color) == (2.0, "luminance")
    assert [(mask.name, style.name) for mask, style in controls.regions] == [("sky.png", "other.png")]
    assert (controls.preserve.name, controls.strength_map.name) == ("sky.png", "map.png")
    job = service.submit(uploads, {**given, "method": "adain", "preserve": "sky.png"})
    assert ended(service, job).kind == "done"


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_at_its_next_report(engine):
    service = Service(engine)
    blocked = Blocked(service)
    running, queued = (service.submit([PHOTO, STYLE], DRAFT) for _ in range(2))
    assert service.cancel(queued.id).state == "cancelled"
    service.cancel(running.id)
    blocked.gate.set()
    assert ended(service, running).kind == "cancelled"
    with pytest.raises(ConflictError, match="has no picture"):
        service.result(running.id)
    service.close(0)


def test_a_cancelled_optimisation_keeps_its_best_picture(service):
    job = service.submit([PHOTO, STYLE], {"method": "optimize", "steps": 5000, "format": "jpg"})
    for event in service.watch(job.id):
        if event.data.get("step", 0) >= 2:
            service.cancel(job.id)
    assert service.job(job.id).state == "cancelled"
    assert service.result(job.id).media_type == "image/jpeg"


def test_jobs_have_limits(engine):
    service = Service(engine, ServeSettings(queue_length=2, jobs_per_client=2))
    blocked = Blocked(service)
    first = service.submit([PHOTO, STYLE], DRAFT)
    next(event for event in service.watch(first.id) if event.data.get("state") == "running")
    service.submit([PHOTO, STYLE], DRAFT)
    with pytest.raises(BusyError, match="of yours"):
        service.submit([PHOTO, STYLE], DRAFT)
    service.submit([PHOTO, STYLE], DRAFT, client="other")
    with pytest.raises(BusyError, match="too many jobs"):
        service.submit([PHOTO, STYLE], DRAFT, client="third")
    blocked.gate.set()
    assert {ended(service, job).kind for job in service.jobs().jobs} == {"done"}
    service.close(20)
    with pytest.raises(ClosingError):
        service.submit([PHOTO, STYLE], DRAFT)


def predicted(service, seconds):
    """Have the engine of a service predict so many seconds for each picture."""
    demand = service.engine.demand
    service.engine.demand = lambda task: replace(demand(task), seconds=seconds)


def test_stopping_waits_for_what_will_end_in_time_alone(engine, tmp_path):
    service = Service(engine, store=JobStore(tmp_path / "state"))
    blocked = Blocked(service)
    short = service.submit([PHOTO, STYLE], DRAFT)
    waits = service.submit([PHOTO, STYLE], DRAFT)
    predicted(service, 3000.0)
    hours = service.submit([PHOTO, STYLE], {"method": "optimize", "steps": 9000})
    blocked.gate.set()
    for job in (short, hours):
        next(event for event in service.watch(job.id) if event.data.get("state") == "running")
    service._batcher._lanes["quick"].take = lambda _: []  # so that what waits does so
    watched = service.watch(hours.id)
    began = time.monotonic()
    service.close(60)
    assert not [event for event in watched if event.last]  # let go, not told an end
    assert time.monotonic() - began < 30
    kept = {
        job.id: (job.state, job.attempts) for job in service.store.page("local", state=None, before=None, limit=9).jobs
    }
    assert kept[short.id][0] == "done"
    assert kept[hours.id] == ("queued", 0)  # it broke nothing off
    assert kept[waits.id][0] in ("queued", "done")
    service.store.close()


def test_what_a_job_costs_is_weighed_before_it_is_accepted(service):
    tasks = []
    demand = service.engine.demand
    service.engine.demand = lambda task: (tasks.append(task), demand(task))[1]
    service._free = 10 << 30
    ended(service, service.submit([PHOTO, STYLE], DRAFT))
    assert [task.request.max_memory for task in tasks] == [None]
    tasks.clear()
    ended(service, service.submit([PHOTO, STYLE], {"method": "optimize", "steps": 2}))
    assert [task.request.max_memory for task in tasks] == [3 << 30]
    predicted(service, 100.0)  # of one pass, but large
    tasks.clear()
    job = service.submit([PHOTO, STYLE], DRAFT)
    assert [task.request.max_memory for task in tasks] == [None, 3 << 30]
    assert ended(service, job).kind == "done"
    assert service.store.get(job.id).lane == "slow"  # and is after a restart
    predicted(service, 7200.0)  # which may be wrong
    tasks.clear()
    job = service.submit([PHOTO, STYLE], DRAFT)
    assert [task.request.max_memory for task in tasks] == [None, 3 << 30, int(5.5 * (1 << 30))]
    assert ended(service, job).kind == "done"
    assert service.store.get(job.id).lane == "long"
    predicted(service, 6 * 3600.0)
    with pytest.raises(InputError, match="64x48 px by adain would take about 360 min; a job may take 60 min") as told:
        service.submit([PHOTO, STYLE], DRAFT)
    assert "such as 23" in told.value.hint
    assert service.counts().open == {}


def test_a_picture_that_was_fetched_is_let_go_at_once(service):
    gc.collect()
    gc.disable()
    try:
        for settings in (DRAFT, {"method": "optimize", "steps": 2}):
            job = service.submit([PHOTO, STYLE], settings, keep=False)
            live = weakref.ref(service._live[job.id])
            assert ended(service, job).kind == "done"
            service.forget(job.id)
            last = service.submit([PHOTO, STYLE], settings, keep=False)  # the worker holds the batch before
            ended(service, last)
            assert live() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("fault", [Cancelled("enough"), InputError("bad", "")])
def test_the_error_of_a_job_is_let_go_at_once(service, fault):
    def fail(tasks, listeners):
        raise type(fault)(*fault.args)

    paint, service.engine.paint_all = service.engine.paint_all, fail
    gc.collect()
    gc.disable()
    try:
        job = service.submit([PHOTO, STYLE], DRAFT)
        future = weakref.ref(service._live[job.id].future)
        assert ended(service, job).kind in ("failed", "cancelled")
        service.engine.paint_all = paint
        ended(service, service.submit([PHOTO, STYLE], DRAFT))
        assert future() is None
    finally:
        gc.enable()


def test_an_idempotency_key_gives_the_same_job(service):
    first = service.submit([PHOTO, STYLE], DRAFT, idempotency_key="k")
    assert service.submit([PHOTO, STYLE], DRAFT, idempotency_key="k").id == first.id
    assert service.submit([PHOTO, STYLE], DRAFT, idempotency_key="k", client="other").id != first.id
    with pytest.raises(ConflictError, match="another request"):
        service.submit([PHOTO, STYLE], {**DRAFT, "strength": 0.5}, idempotency_key="k")


def test_a_client_sees_its_own_jobs_alone_page_by_page(service):
    mine = [service.submit([PHOTO, STYLE], DRAFT).id for _ in range(3)]
    other = service.submit([PHOTO, STYLE], DRAFT, client="other")
    page = service.jobs(limit=2)
    rest = service.jobs(limit=2, before=page.following)
    assert [job.id for job in (*page.jobs, *rest.jobs)] == mine[::-1]
    assert rest.following is None
    for ask in (service.job, service.result, service.cancel, service.watch):
        with pytest.raises(NotFoundError):
            ask(other.id)


def test_names_and_errors_carry_no_folders():
    assert clean_name("../../etc/pass wd.png") == "pass wd.png"
    assert clean_name("C:\\x\\a\x1b[2Jb\u202e.jpg") == "a_[2Jb_.jpg".replace("[", "_")
    assert clean_name("...") == "picture"
    assert len(clean_name("x" * 300 + ".png")) == 80
    told = public_error(InputError("cannot read /home/user/.cache/x/vgg.safetensors here", "use --size 64"))
    assert told == {
        "kind": "InputError",
        "error": "cannot read vgg.safetensors here",
        "hint": "use size=64",
        "status": 422,
    }
    hints = {
        "GET /v1/jobs lists yours": "GET /v1/jobs lists yours",
        "see /v1/styles/secret/list": "see /v1/styles/secret/list",
        "see /v1/secret/list": "see list",
        "use --size 64, or allow more: --max-pixels 9": "use size=64",
        "if you trust it, allow more: --max-pixels 9": "use a smaller picture",
        "shrink it first, or allow more with --max-memory": "shrink it first",
        "use --max-memory 4.54GB or --size 7600": "use size=7600",
        "use --max-memory 4.54GB": "use a smaller picture",
        "": "",
    }
    assert {hint: public_error(InputError("x", hint))["hint"] for hint in hints} == hints
    assert type(restored(told)) is InputError
    assert type(restored(public_error(BusyError("wait")))) is BusyError
    assert public_error(KeyError("/secret/path"))["error"] == "a bug in impasto: KeyError"


def test_methods_and_styles_are_described(service):
    rows = {row["name"]: row for row in service.methods()}
    assert rows["optimize"]["lane"] == "slow"
    assert rows["adain"]["settings"]["properties"]["strength"]["maximum"] == 1
    assert {"style", "region", "keep-color"} <= set(common_schema()["properties"])


def test_jobs_that_were_not_done_go_on_in_the_next_service(engine, tmp_path):
    service = Service(engine, store=JobStore(tmp_path / "state"))
    blocked = Blocked(service)
    ids = [service.submit([PHOTO, STYLE], {**DRAFT, "format": "jpg"}).id for _ in range(3)]
    watched = service.watch(ids[0])
    threading.Timer(0.3, blocked.gate.set).start()
    service.close(0)
    assert not [event for event in watched if event.last]  # let go, not told an end
    service.store.close()
    engine.paint_all = blocked.paint
    second = Service(engine, store=JobStore(tmp_path / "state"))
    assert {job.state for job in second.jobs().jobs} <= {"queued", "running"}
    second.start()
    for job in ids:
        assert list(second.watch(job))[-1].kind == "done"
        assert second.result(job).media_type == "image/jpeg"
    second.close(0)
    second.store.close()


def test_a_job_that_ends_the_process_each_time_is_given_up(engine, tmp_path):
    store = JobStore(tmp_path / "state")
    service = Service(engine, store=store)
    Blocked(service)
    job = service.submit([PHOTO, STYLE], DRAFT)
    next(event for event in service.watch(job.id) if event.data.get("state") == "running")
    store.update(replace(service.job(job.id), attempts=3))
    again = Service(engine, store=store)
    again.start()
    assert again.job(job.id).state == "failed"
    assert "broken off 3 times" in again.job(job.id).error["error"]
    again.close(0)
    store.close()


def test_an_idempotency_key_holds_after_a_restart_and_for_requests_at_once(engine, tmp_path):
    service = Service(engine, store=JobStore(tmp_path / "state"))
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: service.submit([PHOTO, STYLE], DRAFT, idempotency_key="k"), range(8)))
    assert len({job.id for job in jobs}) == 1
    ended(service, jobs[0])
    service.close(5)
    service.store.close()
    second = Service(engine, store=JobStore(tmp_path / "state"))
    found = second.submit([PHOTO, STYLE], DRAFT, idempotency_key="k")
    assert (found.id, found.state) == (jobs[0].id, "done")
    assert [event.kind for event in second.watch(found.id)] == ["done"]
    second.close(0)
    second.store.close()


def test_a_failing_disk_ends_jobs_and_nothing_else(service):
    def full(job, data, poster=None):
        raise ResourceError("a file of the service cannot be written: No space left on device", "free some disk space")

    service.store.write_result = full
    job = service.submit([PHOTO, STYLE], DRAFT)
    last = ended(service, job)
    assert (last.kind, last.data["error"]["status"]) == ("failed", 507)
    waited = service.submit([PHOTO, STYLE], DRAFT, keep=False)
    assert ended(service, waited).kind == "done"


def test_odd_keys_are_refused(service):
    for key in ("", "x" * 201, "a\0b", "a\nb"):
        with pytest.raises(InputError, match="idempotency key"):
            service.submit([PHOTO, STYLE], DRAFT, idempotency_key=key)


def test_large_pictures_wait_outside_memory_or_not_at_all(engine):
    service = Service(engine, ServeSettings(held_bytes=20_000))
    blocked = Blocked(service)
    first, second = (service.submit([PHOTO, STYLE], DRAFT) for _ in range(2))  # 18 kB each
    with pytest.raises(BusyError, match="large pictures"):
        service.submit([PHOTO, STYLE], DRAFT, keep=False)
    blocked.gate.set()
    assert {ended(service, job).kind for job in (first, second)} == {"done"}
    service.close(0)


def test_what_ended_long_ago_is_forgotten(engine):
    service = Service(engine, ServeSettings(keep_seconds=-1.0))
    job = service.submit([PHOTO, STYLE], DRAFT)
    ended(service, job)
    service.sweep()
    assert service.jobs().jobs == ()
    service._live.clear()  # as after a minute
    with pytest.raises(NotFoundError):
        service.job(job.id)
    service.close(0)


def test_a_style_file_is_an_upload_like_a_picture(service):
    """Its pictures share the weight of the upload; a painting of the library in it is named."""
    from impasto.engine.style_files import Member, StyleFile

    members = (Member("one", 3.0, picture="p1.png"), Member("two", 1.0, picture="p2.png"))
    kept = StyleFile("mine", members, {"p1.png": png(1), "p2.png": png(2)})
    upload = Upload("style", "mine.style", kept.encoded())
    order = service._reader.read([PHOTO, upload], {"weight": [2.0]})
    assert [weight for _, weight in order.styles] == [1.5, 0.5]
    with pytest.raises(InputError, match=r"mine\.style is no style"):
        service._reader.read([PHOTO, Upload("style", "mine.style", b"PK")], {})


@pytest.mark.parametrize("text", ["song.mp3", "film.mp4", "mine.style", "mine.style:p1", "folder/"])
def test_files_of_the_server_are_not_to_be_named_as_styles(service, text):
    with pytest.raises(InputError):
        service._reader.read([PHOTO], {"style": [text]})


def test_a_sentence_is_a_style_by_itself_where_the_method_takes_words(service):
    for asked in ({"method": "clip", "clip": "shapes"}, {"clip": "shapes"}):
        order = service._reader.read([PHOTO], {"style": ["red stripes:2"], **asked})
        assert order.styles == (("red stripes", 2.0),)
        assert order.method == "clip"
    with pytest.raises(InputError, match="empty sentence"):
        service._reader.read([PHOTO], {"style": [", ;"], "clip": "shapes"})


@pytest.mark.parametrize("name", ["ViT-B-32", "openai/clip-vit-base-patch32", "../weights", "."])
def test_a_client_has_the_server_fetch_nothing(service, name):
    with pytest.raises(InputError, match="clip is"):
        service._reader.read([PHOTO], {"style": ["red"], "clip": name})


def test_a_client_names_no_file_of_the_server_by_a_single_word(service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private").mkdir()
    with pytest.raises(InputError, match="clip is 'private'"):
        service._reader.read([PHOTO], {"style": ["red"], "clip": "private"})
