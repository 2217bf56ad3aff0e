"""The service over gRPC, by a real server on loopback and a stub that is generated afresh."""

import gc
import importlib
import io
import json
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import impasto.protos
from impasto import images
from impasto.errors import AssetError, Cancelled, InputError, MissingExtra, ResourceError, StyleError
from impasto.protos import impasto_v1_pb2 as pb
from impasto.serve import messages
from impasto.serve.grpc import NAME, GrpcServer
from impasto.serve.settings import BusyError, Listening, NotFoundError, ServeSettings
from serving import GrpcRunning, pixels_of, png

KEY = "a-long-key-0123456789"
DRAFT = {"quality": "draft"}


PHOTO, PAINTING, DARK = png(0), png(1), png(5, light=np.float32(0.2))


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """The stub of the interface, as a client would generate it."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    source, folder = Path(impasto.protos.__file__).parent, tmp_path_factory.mktemp("stub")
    arguments = ["protoc", f"-I{source}", f"--python_out={folder}", f"--grpc_python_out={folder}", "impasto_v1.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("impasto_v1_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def serve(service_of, stubs):
    """Starts servers; gives the running one and a stub."""
    opened = []

    def start(limits=None, listening=None, options=()):
        running = GrpcRunning(service_of(limits), listening)
        channel = grpc.insecure_channel(f"127.0.0.1:{running.port}", options=options)
        opened.extend((channel.close, running.close))
        return running, stubs.ImpastoStub(channel), channel

    yield start
    for close in opened:
        close()


@pytest.fixture
def stub(serve):
    return serve()[1]


def request(options=None, *, content=PHOTO, piece=None, **pictures):
    """The messages of a request."""
    pictures = pictures or {"painting": PAINTING}
    made = options or pb.Options(quality="draft", styles=[pb.Style(source=name) for name in pictures])
    yield pb.StylizeRequest(options=made)
    for name, data in {"content": content, **pictures}.items():
        for start in range(0, len(data), piece or len(data)):
            part = data[start : start + (piece or len(data))]
            yield pb.StylizeRequest(picture=pb.Chunk(name=name, data=part, file_name="photo.png"))


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        list(call) if hasattr(call, "__iter__") else call
    return caught.value


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_comes_back_as_the_engine_paints_it(stub, engine):
    chunks = list(stub.Stylize(request(piece=700)))
    painted = images.read(b"".join(chunk.data for chunk in chunks))
    own = engine.stylize(PHOTO, images.read(PAINTING), impasto.Request(quality="draft"))
    assert np.abs(images.as_float(painted.pixels) - own.picture.pixels).max() < 0.51 / 255
    assert chunks[0].media_type == "image/png"
    assert chunks[0].file_name.startswith("photo-")
    assert json.loads(chunks[0].record_json)["method"] == "adain"


def test_large_results_come_in_chunks(stub, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK_BYTES", 1000)
    chunks = list(stub.Stylize(request()))
    assert len(chunks) > 2
    assert {len(chunk.data) for chunk in chunks[:-1]} == {1000}
    assert not any(chunk.record_json for chunk in chunks[1:])
    assert images.read(b"".join(chunk.data for chunk in chunks)).width == 64


def test_the_stream_tells_states_progress_previews_and_the_result(serve):
    running, stub, _ = serve(ServeSettings(preview_seconds=0))
    options = pb.Options(method="optimize", settings={"steps": "4"}, styles=[pb.Style(source="painting")])
    events = list(stub.StylizeStream(request(options)))
    kinds = [event.WhichOneof("kind") for event in events]
    assert kinds[0] == "job"
    assert {"progress", "preview", "result"} <= set(kinds)
    assert [event.number for event in events] == sorted(event.number for event in events)
    states = [event.job.state for event in events if event.WhichOneof("kind") == "job"]
    assert (states[0], states[-1]) == (pb.STATE_QUEUED, pb.STATE_DONE)
    preview = next(event.preview for event in events if event.WhichOneof("kind") == "preview")
    assert (images.read(preview.data).width, preview.width) == (64, 64)
    last = [event.progress for event in events if event.WhichOneof("kind") == "progress"][-1]
    assert last.step == last.total
    assert last.losses
    assert running.service.jobs().jobs == (), "what was waited for is not kept"


def test_options_ask_for_what_flags_ask_for(stub, engine):
    """Masks, regions, weights and numbers arrive."""
    mask = io.BytesIO()
    images.write(
        images.read(np.repeat(np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))[..., None], 3, 2)), mask
    )
    options = pb.Options(
        quality="draft",
        size=32,
        settings={"strength": "0.9", "style-scale": "1.5"},
        styles=[pb.Style(source="painting one.png", weight=2), pb.Style(source="b=b:3", weight=0.5)],
        regions=[pb.Region(mask="mask", style="b=b:3")],
        preserve="mask",
        feather=2.5,
        format="jpg",
        jpeg_quality=80,
        keep_color="luminance",
    )
    pictures = {"painting one.png": PAINTING, "b=b:3": png(2), "mask": mask.getvalue()}
    chunks = list(stub.Stylize(request(options, **pictures)))
    record = json.loads(chunks[0].record_json)
    assert chunks[0].media_type == "image/jpeg"
    assert (record["width"], record["height"]) == (32, 24)
    assert [style["weight"] for style in record["styles"]] == [2, 0.5]
    assert record["knobs"]["strength"] == 0.9
    assert record["controls"] == {"keep_color": "luminance", "feather": 2.5, "preserve": "mask"}
    assert len(record["regions"]) == 1


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (pb.Options(styles=[pb.Style(source="painting")], settings={"strenght": "1"}), "no setting 'strenght'"),
        (pb.Options(styles=[pb.Style(source="painting")], settings={"strength": "nan"}), "strength"),
        (pb.Options(styles=[pb.Style(source="/etc/passwd")]), "no picture"),
        (pb.Options(styles=[pb.Style(source="painting", weight=-1)]), "weight"),
        (pb.Options(styles=[pb.Style(source="painting", weight=float("nan"))]), "weight"),
        (pb.Options(styles=[pb.Style()]), "style has no name"),
        (pb.Options(), "no style"),
        (pb.Options(styles=[pb.Style(source="painting")], idempotency_key="x"), "idempotency_key"),
        (pb.Options(styles=[pb.Style(source="painting")], size=3), "size"),
        (pb.Options(styles=[pb.Style(source="painting")], quality="great"), "great"),
        (pb.Options(styles=[pb.Style(source="painting")], protect_faces=float("inf")), "protect"),
    ],
)
def test_mistakes_are_told_with_their_hint(stub, options, words):
    error = refused(stub.Stylize(request(options)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()
    told = dict(error.trailing_metadata())
    assert told["impasto-error"] == "InputError"
    assert told["impasto-hint-bin"].decode()


def part(**fields):
    return pb.StylizeRequest(**fields)


OPTIONS = pb.Options(quality="draft", styles=[pb.Style(source="painting")])


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [part()],
        [part(picture=pb.Chunk(name="content", data=PHOTO))],
        [part(options=OPTIONS), part(options=OPTIONS)],
        [part(options=OPTIONS), part(picture=pb.Chunk(data=PHOTO))],
        [part(options=OPTIONS), *(part(picture=pb.Chunk(name=n, data=b"GIF89a")) for n in ("content", "painting"))],
        [part(options=OPTIONS), *(part(picture=pb.Chunk(name=name, data=PHOTO)) for name in ("content", "a/b", "c/b"))],
    ],
)
def test_requests_without_sense_are_refused(stub, messages):
    assert refused(stub.Stylize(iter(messages))).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_has_a_limited_number_of_bytes_and_pictures(serve):
    _, stub, _ = serve(ServeSettings(body_bytes=len(PHOTO) + 10, pictures=2))
    error = refused(stub.Stylize(request()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["impasto-error"] == "TooLargeError"
    many = {str(number): b"x" for number in range(3)}
    assert "too many pictures" in refused(stub.Stylize(request(OPTIONS, content=b"x", **many))).details()


def test_a_message_has_at_most_four_megabytes(stub):
    error = refused(stub.Stylize(iter([part(picture=pb.Chunk(name="content", data=bytes(5 << 20)))])))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", ["Stylize", "SubmitJob", "StylizeFrames"])
def test_a_client_that_sends_drop_by_drop_is_not_waited_for(serve, name):
    """Each drop comes in time, all of them do not."""
    _, stub, _ = serve(ServeSettings(body_seconds=0.5))
    made = {"StylizeFrames": pb.FrameRequest}.get(name, pb.StylizeRequest)
    options = pb.FrameOptions(options=OPTIONS) if name == "StylizeFrames" else OPTIONS
    over = threading.Event()

    def slow():
        yield made(options=options)
        while not over.wait(0.1):
            yield made(picture=pb.Chunk(name="content", data=b"x"))

    try:
        with pytest.raises(grpc.RpcError) as caught:
            answer = getattr(stub, name)(slow(), timeout=20)
            list(answer if name != "SubmitJob" else ())
    finally:
        over.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "more than 0.5 seconds" in caught.value.details()


def test_a_camera_that_stands_still_is_not_waited_for(serve):
    _, stub, _ = serve(ServeSettings(body_seconds=2))
    over = threading.Event()

    def still():
        yield from film([rgb(0)])
        over.wait(120)

    answers = stub.StylizeFrames(still(), timeout=600)
    assert next(answers).width == 64
    error = refused(answers)
    over.set()
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no frame" in error.details()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a", "b"), "INVALID_ARGUMENT"),
        (MissingExtra("a", "b"), "UNIMPLEMENTED"),
        (AssetError("a", "b"), "UNAVAILABLE"),
        (ResourceError("a", "b"), "RESOURCE_EXHAUSTED"),
        (Cancelled("a", "b"), "CANCELLED"),
        (StyleError("a", "b"), "INTERNAL"),
        (BusyError("a", "b"), "RESOURCE_EXHAUSTED"),
        (NotFoundError("a", "b"), "NOT_FOUND"),
        (KeyError("/home/me/secret"), "INTERNAL"),
    ],
)
def test_errors_have_the_codes_of_the_table(serve, error, code, caplog):
    running, stub, _ = serve()

    def fail(*_, **__):
        raise error

    running.service.submit = fail
    told = refused(stub.Stylize(request()))
    assert told.code() is grpc.StatusCode[code]
    metadata = dict(told.trailing_metadata())
    if isinstance(error, StyleError):
        assert (told.details(), metadata["impasto-hint-bin"]) == ("a", b"b")
        assert metadata["impasto-error"] == type(error).__name__
    assert "secret" not in told.details() + str(metadata)
    assert ("retry-after" in metadata) == isinstance(error, BusyError)


def test_a_job_that_fails_ends_the_call_with_its_error(serve, engine, monkeypatch):
    _, stub, _ = serve()

    def fail(*_, **__):
        raise ResourceError("memory ran out", "use a smaller size")

    monkeypatch.setattr(engine, "stylize", fail)
    monkeypatch.setattr(engine, "prepare", fail)
    error = refused(stub.StylizeStream(request()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["impasto-error"] == "ResourceError"


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_watched_listed_and_fetched(stub):
    job = stub.SubmitJob(request())
    events = list(stub.WatchJob(pb.WatchJobRequest(id=job.id)))
    assert events[-1].job.state == pb.STATE_DONE
    assert not any(event.HasField("result") for event in events)
    late = list(stub.WatchJob(pb.WatchJobRequest(id=job.id, after=events[-2].number)))
    assert [event.number for event in late] == [events[-1].number]
    again = stub.GetJob(pb.JobRequest(id=job.id))
    assert again == events[-1].job
    assert (again.result.width, again.result.height, again.result.media_type) == (64, 48, "image/png")
    assert json.loads(again.settings_json)["quality"] == "draft"
    data = b"".join(chunk.data for chunk in stub.GetResult(pb.JobRequest(id=job.id)))
    assert len(data) == again.result.bytes
    assert stub.CancelJob(pb.JobRequest(id=job.id)).state == pb.STATE_DONE


def test_jobs_are_paged(stub):
    made = [stub.SubmitJob(request()).id for _ in range(3)]
    first = stub.ListJobs(pb.ListJobsRequest(page_size=2))
    rest = stub.ListJobs(pb.ListJobsRequest(page_size=2, page_token=first.next_page_token))
    assert [job.id for job in (*first.jobs, *rest.jobs)] == made[::-1]
    assert not rest.next_page_token
    assert not stub.ListJobs(pb.ListJobsRequest(state=pb.STATE_FAILED)).jobs
    assert refused_unary(stub.ListJobs, pb.ListJobsRequest(state=77)).code() is grpc.StatusCode.INVALID_ARGUMENT


def refused_unary(call, message):
    with pytest.raises(grpc.RpcError) as caught:
        call(message)
    return caught.value


def test_a_key_of_idempotency_gives_the_same_job(stub):
    options = pb.Options(quality="draft", styles=[pb.Style(source="painting")], idempotency_key="once")
    assert stub.SubmitJob(request(options)).id == stub.SubmitJob(request(options)).id
    other = pb.Options(quality="draft", size=32, styles=[pb.Style(source="painting")], idempotency_key="once")
    assert refused_unary(stub.SubmitJob, request(other)).code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("call", ["GetJob", "CancelJob"])
def test_unknown_jobs_are_not_found(stub, call):
    assert refused_unary(getattr(stub, call), pb.JobRequest(id="none")).code() is grpc.StatusCode.NOT_FOUND


def test_what_is_not_there_is_not_streamed(stub):
    assert refused(stub.WatchJob(pb.WatchJobRequest(id="none"))).code() is grpc.StatusCode.NOT_FOUND
    assert refused(stub.GetResult(pb.JobRequest(id="none"))).code() is grpc.StatusCode.NOT_FOUND


# --- cancelling ------------------------------------------------------------------------------------------------------


class Counted:
    """Counts the steps of the optimiser, in all and when the job was cancelled; a step takes a while."""

    def __init__(self, service):
        self.steps, self.at_cancel = 0, None
        self.begun, self.ended = threading.Event(), threading.Event()
        progress, cancel, end = service._progress, service.cancel, service._end
        service._progress = lambda live, told: self._step(progress, live, told)
        service.cancel = lambda job_id, **more: self._cancel(cancel, job_id, **more)
        service._end = lambda *more: (end(*more), self.ended.set())[0]

    def _step(self, progress, live, told):
        progress(live, told)
        self.steps += bool(told.losses)
        if self.steps > 2:
            self.begun.set()
            time.sleep(0.02)

    def _cancel(self, cancel, job_id, **more):
        self.at_cancel = self.steps if self.at_cancel is None else self.at_cancel
        return cancel(job_id, **more)

    def check(self):
        assert self.ended.wait(120), "the job went on"
        assert 2 < self.steps <= self.at_cancel + 1
        assert self.steps < 5000


SHORT = pb.Options(method="optimize", settings={"steps": "1"}, styles=[pb.Style(source="painting")])
LONG = pb.Options(method="optimize", settings={"steps": "5000"}, styles=[pb.Style(source="painting")])


@pytest.mark.parametrize("name", ["Stylize", "StylizeStream"])
def test_a_cancel_reaches_the_optimiser_within_one_step(serve, name):
    running, stub, _ = serve()
    counted = Counted(running.service)
    call = getattr(stub, name)(request(LONG))
    assert counted.begun.wait(120)
    call.cancel()
    counted.check()


def test_a_deadline_reaches_the_optimiser_within_one_step(serve):
    running, stub, _ = serve()
    list(stub.Stylize(request(SHORT)))
    counted = Counted(running.service)
    error = refused(stub.Stylize(request(LONG), timeout=5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    counted.check()


def test_a_client_that_goes_away_stops_its_job(serve):
    running, stub, channel = serve()
    counted = Counted(running.service)
    call = stub.StylizeStream(request(LONG))
    assert counted.begun.wait(120)
    channel.close()
    del call
    counted.check()


@pytest.mark.parametrize(("key", "kept"), [("", False), ("once", True)])
def test_a_job_that_nobody_was_told_of_stops_unless_a_key_finds_it(serve, key, kept):
    running, stub, _ = serve()
    submit, accepted = running.service.submit, []

    def slowly(*given, **more):
        accepted.append(submit(*given, **more))
        time.sleep(0.5)
        return accepted[-1]

    running.service.submit = slowly
    options = pb.Options(idempotency_key=key)
    options.MergeFrom(SHORT if kept else LONG)
    with pytest.raises(grpc.RpcError, match="Deadline"):
        stub.SubmitJob(request(options), timeout=0.3)
    for _ in range(400):
        if accepted and running.service.job(accepted[0].id).ended:
            break
        time.sleep(0.05)
    assert running.service.job(accepted[0].id).state == ("done" if kept else "cancelled")


def test_cancelling_a_job_by_its_id_keeps_what_it_came_to(serve):
    running, stub, _ = serve()
    counted = Counted(running.service)
    job = stub.SubmitJob(request(LONG))
    assert counted.begun.wait(120)
    stub.CancelJob(pb.JobRequest(id=job.id))
    counted.check()
    ended = stub.GetJob(pb.JobRequest(id=job.id))
    assert ended.state == pb.STATE_CANCELLED
    assert ended.error.kind == "Cancelled"
    assert ended.result.width == 64


# --- frames ----------------------------------------------------------------------------------------------------------


def rgb(seed, number=0, **more):
    codes = np.rint(255 * pixels_of(seed)).astype(np.uint8)
    return pb.FrameRequest(
        frame=pb.Frame(number=number, encoding=pb.ENCODING_RGB, data=codes.tobytes(), width=64, height=48, **more)
    )


def film(frames, **options):
    made = pb.Options(styles=[pb.Style(source="painting"), pb.Style(source="other")])
    yield pb.FrameRequest(options=pb.FrameOptions(options=made, **options))
    yield pb.FrameRequest(picture=pb.Chunk(name="painting", data=PAINTING))
    yield pb.FrameRequest(picture=pb.Chunk(name="other", data=DARK))
    yield from frames


def decoded(frame):
    return np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3).astype(float) / 255


def test_frames_come_back_in_order_and_held_together(stub):
    """Noise on a still scene flickers less than with each frame painted by itself."""
    rng = np.random.default_rng(0)
    still = pixels_of(0)
    noisy = [np.rint(255 * (still + rng.normal(0, 0.03, still.shape)).clip(0, 1)).astype(np.uint8) for _ in range(5)]

    def sent():
        for number, codes in enumerate(noisy):
            frame = pb.Frame(number=number, encoding=pb.ENCODING_RGB, data=codes.tobytes(), width=64, height=48)
            yield pb.FrameRequest(frame=frame)

    changes = {}
    for temporal in ("off", "fast"):
        frames = list(stub.StylizeFrames(film(sent(), temporal=temporal)))
        assert [frame.number for frame in frames] == list(range(5))
        shown = [decoded(frame) for frame in frames]
        changes[temporal] = np.mean([np.abs(b - a).mean() for a, b in pairwise(shown)])
    assert changes["fast"] < 0.7 * changes["off"]


def test_frames_are_the_paintings_of_the_engine(stub, engine):
    (frame,) = stub.StylizeFrames(film([rgb(0, number=7)], temporal="off"))
    assert (frame.number, frame.encoding) == (7, pb.ENCODING_RGB)
    styles = [images.read(PAINTING), images.read(DARK)]
    own = engine.stylize(np.rint(255 * pixels_of(0)) / np.float32(255), styles, impasto.Request(quality="draft"))
    assert np.abs(decoded(frame) - own.picture.pixels).max() < 0.6 / 255


def test_a_frame_has_its_strength_and_shares(stub):
    frames = [rgb(0, 0), rgb(0, 1, strength=0), rgb(0, 2, shares=[1, 0]), rgb(0, 3, shares=[0, 3])]
    plain, photo, one, other = map(decoded, stub.StylizeFrames(film(frames, temporal="off")))
    assert np.abs(photo - pixels_of(0)).max() < 0.6 / 255
    differences = [np.abs(a - b).mean() for a, b in ((plain, one), (one, other), (plain, photo))]
    assert min(differences) > 0.002, differences


def test_frames_may_be_files(stub):
    frames = [pb.FrameRequest(frame=pb.Frame(number=number, data=PHOTO)) for number in range(2)]
    answers = list(stub.StylizeFrames(film(frames)))
    assert {answer.encoding for answer in answers} == {pb.ENCODING_FILE}
    assert images.read(answers[1].data).width == 64
    raw = list(stub.StylizeFrames(film(frames[:1], encoding=pb.ENCODING_RGB)))
    assert decoded(raw[0]).shape == (48, 64, 3)


def test_frames_that_come_too_fast_are_left_out(serve):
    """With drop_late the newest is painted, and the last one always."""
    _, stub, _ = serve()
    answers = list(stub.StylizeFrames(film([rgb(0, number) for number in range(40)], drop_late=True)))
    numbers = [answer.number for answer in answers]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 39)
    assert len(numbers) < 40


def test_a_frame_that_fails_ends_the_reading_of_others(serve, caplog):
    """The client still sends when its stream is ended: nobody asks for what its reading raises."""
    running, stub, _ = serve()
    over = threading.Event()

    def endless():
        yield from film([rgb(0), rgb(0, shares=[0, 0])], drop_late=True)
        while not over.wait(0.01):
            yield rgb(0, shares=[0, 0])

    assert refused(stub.StylizeFrames(endless(), timeout=600)).code() is grpc.StatusCode.INVALID_ARGUMENT
    over.set()
    running.close()
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(
    ("frames", "options", "words"),
    [
        ([], {}, "no frame"),
        ([rgb(0), pb.FrameRequest(frame=pb.Frame(data=png(0, 48, 48)))], {}, "first was 64x48"),
        ([pb.FrameRequest(frame=pb.Frame(encoding=pb.ENCODING_RGB, data=b"123", width=2, height=2))], {}, "2x2 px"),
        ([pb.FrameRequest(frame=pb.Frame(encoding=pb.ENCODING_RGB))], {}, "0x0 px"),
        ([pb.FrameRequest(frame=pb.Frame(data=b"nothing"))], {}, "picture"),
        ([rgb(0, strength=2.0)], {}, "strength"),
        ([rgb(0, shares=[1])], {}, "1 share for 2 styles"),
        ([rgb(0, shares=[0, 0])], {}, "shares"),
        ([rgb(0, shares=[float("nan"), 1])], {}, "shares"),
        ([rgb(0)], {"temporal": "slow"}, "temporal"),
        ([rgb(0), pb.FrameRequest(picture=pb.Chunk(name="x"))], {}, "among the frames"),
        ([rgb(0), pb.FrameRequest()], {"drop_late": True}, "among the frames"),
    ],
)
def test_frames_without_sense_are_refused(stub, frames, options, words):
    error = refused(stub.StylizeFrames(film(frames, **options)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()


@pytest.mark.parametrize(
    "options",
    [pb.Options(size=32), pb.Options(format="jpg"), pb.Options(color_only=True), pb.Options(idempotency_key="x")],
)
def test_frames_refuse_what_a_single_picture_has(stub, options):
    options.styles.append(pb.Style(source="painting"))
    sent = [pb.FrameRequest(options=pb.FrameOptions(options=options))]
    sent += [pb.FrameRequest(picture=pb.Chunk(name="painting", data=PAINTING)), rgb(0)]
    assert refused(stub.StylizeFrames(iter(sent))).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_cancelling_a_film_stops_the_frame_that_is_painted(serve, monkeypatch):
    """A slow method, too: the frame's descent ends within one step."""
    from impasto.serve.frames import FrameStream

    running, stub, _ = serve()
    steps, stopped, ended = [], [], threading.Event()
    check, paint = FrameStream._check, FrameStream.paint

    def slow(self, progress):
        steps.append(progress)
        time.sleep(0.02)
        if self.stop.is_set():
            stopped.append(len(steps))
        check(self, progress)

    def painted(self, *subject, **more):
        try:
            return paint(self, *subject, **more)
        finally:
            ended.set()

    monkeypatch.setattr(FrameStream, "_check", slow)
    monkeypatch.setattr(FrameStream, "paint", painted)
    options = pb.Options(method="optimize", settings={"steps": "5000"}, styles=[pb.Style(source="painting")])
    sent = [pb.FrameRequest(options=pb.FrameOptions(options=options))]
    sent += [pb.FrameRequest(picture=pb.Chunk(name="painting", data=PAINTING)), rgb(0)]
    call = stub.StylizeFrames(iter(sent))
    while len(steps) < 5:
        time.sleep(0.01)
    call.cancel()
    assert ended.wait(120)
    assert stopped == [len(steps)]
    assert running.server._calls._free_streams > 0


def test_a_frame_may_not_take_longer_than_a_job(serve):
    _, stub, _ = serve(ServeSettings(job_seconds=0.5))
    options = pb.Options(method="optimize", settings={"steps": "5000"}, styles=[pb.Style(source="painting")])
    sent = [pb.FrameRequest(options=pb.FrameOptions(options=options))]
    sent += [pb.FrameRequest(picture=pb.Chunk(name="painting", data=PAINTING)), rgb(0)]
    error = refused(stub.StylizeFrames(iter(sent), timeout=600))
    assert error.code() is grpc.StatusCode.CANCELLED
    assert "more than 0.5 seconds" in error.details()


def test_a_stream_has_a_limited_number_of_frames(serve):
    _, stub, _ = serve(ServeSettings(frames=2))
    error = refused(stub.StylizeFrames(film([rgb(0, number) for number in range(4)])))
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the stream has more than 2 frames")


def test_streams_of_frames_are_limited(serve):
    running, stub, _ = serve()
    running.server._calls._free_streams = 0
    assert refused(stub.StylizeFrames(film([rgb(0)]))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- what there is, health, reflection, keys -------------------------------------------------------------------------


def test_methods_are_listed_with_their_settings(stub):
    rows = {row.name: row for row in stub.ListMethods(pb.ListMethodsRequest()).methods}
    assert rows["optimize"].kind == "objective"
    assert json.loads(rows["optimize"].schema_json)["properties"]["steps"]["type"] == "integer"


def test_styles_are_listed_and_searched(serve):
    running, stub, _ = serve()
    row = {"id": "museum:1", "title": "Irises", "artist": "Vincent van Gogh", "date": "1890", "licence": "CC0"}
    rows = [
        {**row, "source": "museum", "method": "auto"},
        {**row, "id": "museum:2", "title": "Sea", "source": "x", "method": "auto"},
    ]
    running.service.styles = lambda words, **_: [row for row in rows if words.lower() in row["title"].lower()]
    assert [style.id for style in stub.ListStyles(pb.ListStylesRequest()).styles] == ["museum:1", "museum:2"]
    assert [style.id for style in stub.ListStyles(pb.ListStylesRequest(query="IRISES")).styles] == ["museum:1"]


def test_health_and_reflection_are_the_standard_ones(serve):
    running, _, channel = serve()
    check = health_pb2_grpc.HealthStub(channel).Check
    for name in ("", NAME):
        assert check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    (answer,) = reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert NAME in [service.name for service in answer.list_services_response.service]
    (answer,) = reflect(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME)]))
    assert answer.file_descriptor_response.file_descriptor_proto == [pb.DESCRIPTOR.serialized_pb]
    watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=NAME))
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    running.call(running.server.announce_shutdown())
    assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watched.cancel()


def test_without_the_key_only_health_answers(serve):
    _, stub, channel = serve(listening=Listening(grpc_port=0, keys=(KEY, "another-key-0123456789")))
    for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", KEY),)):
        for call in (
            stub.Stylize(request(), metadata=metadata),
            stub.StylizeFrames(film([rgb(0)]), metadata=metadata),
            stub.WatchJob(pb.WatchJobRequest(id="x"), metadata=metadata),
        ):
            assert refused(call).code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListMethods(pb.ListMethodsRequest(), metadata=metadata)
        assert dict(caught.value.trailing_metadata())["impasto-error"] == "KeyRefusedError"
    reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    assert (
        refused(reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))).code().name
        == "UNAUTHENTICATED"
    )
    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status
    own, other = ((("authorization", f"Bearer {key}"),) for key in (KEY, "another-key-0123456789"))
    job = stub.SubmitJob(request(), metadata=own)
    assert [one.id for one in stub.ListJobs(pb.ListJobsRequest(), metadata=own).jobs] == [job.id]
    assert not stub.ListJobs(pb.ListJobsRequest(), metadata=other).jobs
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetJob(pb.JobRequest(id=job.id), metadata=other)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_port_that_is_taken_is_an_error(serve):
    running, _, _ = serve()

    async def start_another():
        await GrpcServer(running.service, Listening(grpc_port=running.port)).start()

    with pytest.raises(InputError, match="cannot listen"):
        running.call(start_another())
