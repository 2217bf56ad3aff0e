"""The service over gRPC: `protos/impasto_v1.proto`, and the standard services for health and reflection.

A call that waits for its picture takes the job with it: when its deadline passes, or its client cancels or goes away,
asyncio cancels the call, and the job stops at its next report.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from impasto import images
from impasto.errors import InputError, StyleError
from impasto.protos import impasto_v1_pb2 as pb
from impasto.serve import messages
from impasto.serve.access import client_of
from impasto.serve.fields import Upload
from impasto.serve.frames import FrameStream, as_codes, from_rgb
from impasto.serve.jobs import Job
from impasto.serve.service import Service
from impasto.serve.settings import (
    AGAIN,
    BusyError,
    ClosingError,
    KeyRefusedError,
    Listening,
    ServeSettings,
    TooSlowError,
    restored,
)
from impasto.video.frames import Pixels

LOG = logging.getLogger("impasto.serve")

NAME = "impasto.v1.Impasto"
STREAMS_PER_WORKER = 4
"""Streams of frames that may be open, for each thread that paints them."""

_LINGER_SECONDS = 0.5
_CHUNK_SLACK = 64 << 10  # of a message, beside the data in it

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A request that has come whole."""

    options: Any
    pictures: messages.Pictures
    frame: pb.Frame | None = None


class Calls:
    """The calls of `impasto.v1.Impasto`; `StylizeStream` is `stylize_stream`.

    Args:
        service: what does the work.
        client_of: the client's name, by the metadata of a call.
    """

    def __init__(self, service: Service, client_of: Callable[[Any], str]) -> None:
        self._service, self._client_of = service, client_of
        workers = service.limits.quick_workers
        self._painting = ThreadPoolExecutor(workers, thread_name_prefix="impasto-frames")
        self._free_streams = STREAMS_PER_WORKER * workers

    def close(self) -> None:
        """End the threads of frames."""
        self._painting.shutdown(wait=False, cancel_futures=True)

    async def stylize(self, parts: AsyncIterator[pb.StylizeRequest], context: Any) -> AsyncGenerator[pb.Chunk, None]:
        """Paint a picture while the client waits."""
        async with aclosing(self.stylize_stream(parts, context)) as events:
            async for event in events:
                if event.WhichOneof("kind") == "result":
                    yield event.result

    async def stylize_stream(
        self, parts: AsyncIterator[pb.StylizeRequest], context: Any
    ) -> AsyncGenerator[pb.Event, None]:
        """The same, with the events of the job."""
        client = self._client_of(context)
        job = await self._submit(parts, client, keep=False)
        number = 0
        try:
            async for event in self._service.watch_async(job.id, client=client):
                number = event.number
                yield messages.event_message(event)
            ended = self._service.job(job.id, client=client)
            if not ended.ended:
                raise ClosingError("the service is stopping", AGAIN)
            if ended.state != "done":
                raise restored(ended.error or {})
            for chunk in messages.chunks(self._service.result(job.id, client=client)):
                yield pb.Event(number=number + 1, result=chunk)
        finally:
            self._service.cancel(job.id, client=client)
            self._service.forget(job.id)

    async def stylize_frames(
        self, parts: AsyncIterator[pb.FrameRequest], context: Any
    ) -> AsyncGenerator[pb.Frame, None]:
        """Paint frames as they come."""
        self._client_of(context)
        if not self._free_streams:
            raise BusyError("too many streams of frames are open", f"try again in {BusyError.retry_after} seconds")
        self._free_streams -= 1
        try:
            async with aclosing(self._frames(parts)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._free_streams += 1

    async def _frames(self, parts: AsyncIterator[pb.FrameRequest]) -> AsyncGenerator[pb.Frame, None]:
        asked = await self._asked(parts)
        first = asked.frame
        if first is None:
            raise InputError("no frame was sent", "send one after the options and the pictures")
        _refuse_key(asked.options.options)
        settings = messages.settings_of(asked.options.options, asked.pictures.names)
        pixels = await self._paint(self._decoded, first)
        uploads, temporal = asked.pictures.uploads(), asked.options.temporal or "fast"
        stream = await self._paint(FrameStream, self._service, uploads, settings, pixels, temporal)
        encoding = asked.options.encoding or first.encoding or pb.ENCODING_FILE
        try:
            async with aclosing(_following(first, self._in_time(parts), drop=asked.options.drop_late)) as frames:
                async for frame in frames:
                    yield await self._paint(self._painted, stream, frame, encoding)
        finally:
            stream.stop.set()

    def _decoded(self, frame: pb.Frame) -> Pixels:
        if frame.encoding == pb.ENCODING_RGB:
            return from_rgb(frame.data, frame.width, frame.height)
        return images.as_float(self._service.decode(Upload("content", "frame", frame.data)).pixels)

    def _painted(self, stream: FrameStream, frame: pb.Frame, encoding: pb.Encoding) -> pb.Frame:
        strength = frame.strength if frame.HasField("strength") else None
        codes = as_codes(stream.paint(self._decoded(frame), strength=strength, shares=tuple(frame.shares)))
        height, width = codes.shape[:2]
        if encoding == pb.ENCODING_RGB:
            return pb.Frame(number=frame.number, encoding=encoding, data=codes.tobytes(), width=width, height=height)
        from impasto.video.live import as_jpeg

        return pb.Frame(
            number=frame.number, encoding=pb.ENCODING_FILE, data=as_jpeg(codes, quality=92), width=width, height=height
        )

    async def _paint(self, work: Callable[..., T], *subject: Any) -> T:
        """Do work in the threads of frames."""
        return await asyncio.get_running_loop().run_in_executor(self._painting, partial(work, *subject))

    async def submit_job(self, parts: AsyncIterator[pb.StylizeRequest], context: Any) -> pb.Job:
        """Take a job."""
        return messages.job_message(await self._submit(parts, self._client_of(context), keep=True))

    async def list_jobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        """The client's jobs."""
        page = await asyncio.to_thread(
            self._service.jobs,
            client=self._client_of(context),
            state=messages.state_name(request.state),
            before=request.page_token or None,
            limit=min(request.page_size or 20, 100),
        )
        jobs = [messages.job_message(job) for job in page.jobs]
        return pb.ListJobsResponse(jobs=jobs, next_page_token=page.following or "")

    async def get_job(self, request: pb.JobRequest, context: Any) -> pb.Job:
        """One job."""
        return messages.job_message(
            await asyncio.to_thread(self._service.job, request.id, client=self._client_of(context))
        )

    async def watch_job(self, request: pb.WatchJobRequest, context: Any) -> AsyncIterator[pb.Event]:
        """The events of a job."""
        client = self._client_of(context)
        async for event in self._service.watch_async(request.id, client=client, after=request.after):
            yield messages.event_message(event)

    async def cancel_job(self, request: pb.JobRequest, context: Any) -> pb.Job:
        """Stop a job."""
        return messages.job_message(
            await asyncio.to_thread(self._service.cancel, request.id, client=self._client_of(context))
        )

    async def get_result(self, request: pb.JobRequest, context: Any) -> AsyncIterator[pb.Chunk]:
        """The picture of a job."""
        painted = await asyncio.to_thread(self._service.result, request.id, client=self._client_of(context))
        for chunk in messages.chunks(painted):
            yield chunk

    async def list_styles(self, request: pb.ListStylesRequest, context: Any) -> pb.ListStylesResponse:
        """All named styles."""
        rows = await asyncio.to_thread(self._service.styles, request.query, client=self._client_of(context))
        return pb.ListStylesResponse(styles=[pb.StyleInfo(**row) for row in rows])

    async def list_methods(self, request: pb.ListMethodsRequest, context: Any) -> pb.ListMethodsResponse:  # noqa: ARG002
        """All methods."""
        self._client_of(context)
        rows = await asyncio.to_thread(self._service.methods)
        return pb.ListMethodsResponse(methods=messages.method_messages(rows))

    async def _submit(self, parts: AsyncIterator[pb.StylizeRequest], client: str, *, keep: bool) -> Job:
        """Hand a request on. One whose client leaves before it knows the job is cancelled, unless a key finds it."""
        asked = await self._asked(parts)
        if not keep:
            _refuse_key(asked.options)
        submitting = asyncio.ensure_future(
            asyncio.to_thread(
                self._service.submit,
                asked.pictures.uploads(),
                messages.settings_of(asked.options, asked.pictures.names),
                client=client,
                idempotency_key=asked.options.idempotency_key or None,
                keep=keep,
            )
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            if not asked.options.idempotency_key:
                submitting.add_done_callback(partial(self._drop, client))
            raise

    def _drop(self, client: str, submitting: asyncio.Future[Job]) -> None:
        with suppress(StyleError):
            job = submitting.result()
            self._service.cancel(job.id, client=client)
            self._service.forget(job.id)

    async def _asked(self, parts: AsyncIterator[Any]) -> Asked:
        """The options and the pictures, up to the end or the first frame. Raises TooSlowError."""
        seconds = self._service.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._read(parts)
        except TimeoutError:
            raise TooSlowError(f"the request took more than {seconds:g} seconds", "send it sooner") from None

    async def _read(self, parts: AsyncIterator[Any]) -> Asked:
        options, pictures = None, messages.Pictures(self._service.limits)
        async for part in parts:
            kind = part.WhichOneof("part")
            if kind == "options" and options is None:
                options = part.options
            elif options is None or kind in ("options", None):
                raise InputError(
                    "the options were not sent first, and once", "send one message with options, then data"
                )
            elif kind == "frame":
                return Asked(options, pictures, part.frame)
            else:
                pictures.add(part.picture)
        if options is None:
            raise InputError("an empty request", "send one message with options, then the pictures")
        return Asked(options, pictures)

    async def _in_time(self, parts: AsyncIterator[T]) -> AsyncIterator[T]:
        """The frames, each within the time that a client has for it."""
        iterator, seconds = aiter(parts), self._service.limits.body_seconds
        while True:
            try:
                yield await asyncio.wait_for(anext(iterator), seconds)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise TooSlowError(f"no frame came for {seconds:g} seconds", "open another stream") from None


class _NewestFrame:
    """The newest frame of a stream, which is read meanwhile; what came before it and was not taken is lost."""

    def __init__(self, parts: AsyncIterator[pb.FrameRequest]) -> None:
        self._frame: pb.Frame | None = None
        self._changed = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read(parts))
        self._reading.add_done_callback(self._ended)

    def _ended(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            reading.exception()  # which `frames` raises, unless nobody asks any more
        self._changed.set()

    async def _read(self, parts: AsyncIterator[pb.FrameRequest]) -> None:
        async for part in parts:
            self._frame = _frame_of(part)
            self._changed.set()

    async def frames(self) -> AsyncGenerator[pb.Frame, None]:
        """The newest frame, whenever one is asked for, to the end. Raises what reading raised."""
        try:
            while self._frame is not None or not self._reading.done():
                await self._changed.wait()
                self._changed.clear()
                frame, self._frame = self._frame, None
                if frame is not None:
                    yield frame
                if self._reading.done():
                    self._changed.set()
            self._reading.result()
        finally:
            self._reading.cancel()


async def _following(
    first: pb.Frame, parts: AsyncIterator[pb.FrameRequest], *, drop: bool
) -> AsyncGenerator[pb.Frame, None]:
    """The frames of a request."""
    yield first
    if drop:
        async with aclosing(_NewestFrame(parts).frames()) as frames:
            async for frame in frames:
                yield frame
    else:
        async for part in parts:
            yield _frame_of(part)


def _frame_of(part: pb.FrameRequest) -> pb.Frame:
    if part.WhichOneof("part") != "frame":
        raise InputError("something else came among the frames", "send options and pictures before the first frame")
    return part.frame


def _refuse_key(options: pb.Options) -> None:
    if options.idempotency_key:
        raise InputError("idempotency_key was given for what is not kept", "leave it out, or use SubmitJob")


# --- the server ------------------------------------------------------------------------------------------------------


def _handler(calls: Calls, name: str) -> grpc.RpcMethodHandler[Any, Any]:
    """A call with its errors translated."""
    row = pb.DESCRIPTOR.services_by_name["Impasto"].methods_by_name[name]
    work: Callable[..., Any] = getattr(calls, re.sub(r"\B([A-Z])", r"_\1", name).lower())

    readable = _readable_parts if row.client_streaming else _readable

    async def answer(asked: Any, context: Any) -> Any:
        async with _translated(context):
            return await work(readable(asked), context)

    async def answers(asked: Any, context: Any) -> AsyncIterator[Any]:
        async with _translated(context), aclosing(work(readable(asked), context)) as told:
            async for message in told:
                yield message

    make = getattr(grpc, f"{_arity(row.client_streaming)}_{_arity(row.server_streaming)}_rpc_method_handler")
    made: grpc.RpcMethodHandler[Any, Any] = make(
        answers if row.server_streaming else answer,
        request_deserializer=partial(_parsed, GetMessageClass(row.input_type)),
        response_serializer=GetMessageClass(row.output_type).SerializeToString,
    )
    return made


def _parsed(kind: type[Message], data: bytes) -> Message | DecodeError:
    """A message; or why it is none, which is an error of the client, where gRPC would tell of one of ours."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        return error


def _readable(asked: Any) -> Any:
    if isinstance(asked, DecodeError):
        raise InputError("a message cannot be read", "send those of impasto_v1.proto")
    return asked


async def _readable_parts(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for part in parts:
        yield _readable(part)


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


@asynccontextmanager
async def _translated(context: Any) -> AsyncIterator[None]:
    """Ends the call with the status of an error that the block raises."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        if not isinstance(error, StyleError):
            LOG.exception("a call of gRPC failed")
        await _drain(context)
        code, message, metadata = messages.status_of(error)
        await context.abort(getattr(grpc.StatusCode, code), message, metadata)


async def _drain(context: Any) -> None:
    """Take for a moment what a client still sends: it would hear of a broken stream in place of the status."""
    with suppress(Exception):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await context.read() is not grpc.aio.EOF:
                pass


class _Keys(grpc.aio.ServerInterceptor):
    """Lets in who has a key; to the health service everybody."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """See the base class."""
        if handler_call_details.method.startswith("/grpc.health."):
            return await continuation(handler_call_details)
        try:
            _client(self._keys, handler_call_details.invocation_metadata)
        except KeyRefusedError as error:
            return grpc.stream_unary_rpc_method_handler(partial(_refuse, error))
        return await continuation(handler_call_details)


async def _refuse(error: StyleError, _asked: Any, context: Any) -> None:
    async with _translated(context):
        raise error


def _client(keys: Sequence[str], metadata: Any) -> str:
    given = {str(key): value for key, value in metadata or ()}
    return client_of(keys, given.get("authorization"))


class GrpcServer:
    """Serves a service over gRPC, in the event loop that runs.

    Args:
        service: what does the work.
        listening: address, port, keys and TLS; checked by `check_listening`.
    """

    def __init__(self, service: Service, listening: Listening) -> None:
        self._listening, self._limits = listening, service.limits
        self._health = health.aio.HealthServicer()
        self._calls = Calls(service, lambda context: _client(listening.keys, context.invocation_metadata()))

    async def start(self) -> int:
        """Begin to serve. Returns the port.

        Raises:
            InputError: the port cannot be used, or the files of TLS.
        """
        server = self._server = grpc.aio.server(
            interceptors=[_Keys(self._listening.keys)],
            options=_options(self._limits),
            maximum_concurrent_rpcs=self._limits.connections,
        )
        methods = [method.name for method in pb.DESCRIPTOR.services_by_name["Impasto"].methods]
        handlers = {name: _handler(self._calls, name) for name in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        port = self._bind(server)
        await server.start()
        for name in ("", NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    def _bind(self, server: grpc.aio.Server) -> int:
        listening = self._listening
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        address = f"{host}:{listening.grpc_port or 0}"
        try:
            if listening.certificate is None or listening.private_key is None:
                return server.add_insecure_port(address)
            pair = (listening.private_key.read_bytes(), listening.certificate.read_bytes())
            return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            LOG.debug("gRPC cannot bind", exc_info=error)
            raise InputError(
                f"gRPC cannot listen on {address}", "choose another --grpc port, and see that the TLS files are PEM"
            ) from error

    async def announce_shutdown(self) -> None:
        """Tell the health service that no more jobs are taken; calls are still answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and give those that run some seconds to end."""
        await self.announce_shutdown()
        await self._server.stop(grace)
        self._calls.close()


def _options(limits: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", messages.MESSAGE_BYTES + _CHUNK_SLACK),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # or a second server would take half of the calls
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.max_connection_idle_ms", round(10_000 * limits.body_seconds)),
    ]
