"""The client over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from impasto.client._http import cancelled, unreachable
from impasto.client._request import CONTENT, Request
from impasto.client._values import ENDED, Event, Frame, Job, Method, Page, Painting, ResultInfo, Style
from impasto.contract import Progress
from impasto.errors import InputError, StyleError, require
from impasto.serve.settings import restored

if TYPE_CHECKING:
    import grpc.aio

    from impasto.client._async import OnEvent
    from impasto.protos import impasto_v1_pb2 as pb

T = TypeVar("T")

_CHUNK_BYTES = 1 << 20
_MOST_RAW = 4 << 20  # bytes of a frame in one message
_SERVICE = "/impasto.v1.Impasto/"


class GrpcTransport:
    """Speaks gRPC with a service; made in the event loop that uses it.

    Args:
        target: such as "127.0.0.1:50051".
        secure: whether with TLS.
        key: an API key, or None.
        certificate: PEM file of the authority that signed the service's certificate; None for those of the system.
    """

    def __init__(self, target: str, *, secure: bool, key: str | None, certificate: str | None) -> None:
        require("grpc", "client")
        require("google.protobuf", "client")
        import grpc.aio

        self._target = target
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        options = [("grpc.max_receive_message_length", 64 << 20)]
        self._channel: grpc.aio.Channel
        if secure:
            root = None if certificate is None else _file(certificate)
            credentials = grpc.ssl_channel_credentials(root)
            self._channel = grpc.aio.secure_channel(target, credentials, options=options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options=options)

    async def close(self) -> None:
        """Close the channel; calls that run are cancelled."""
        await self._channel.close()

    async def stylize(self, request: Request, on_event: OnEvent | None) -> Painting:
        """Paint and wait."""
        if on_event is None:
            return await self._painting("Stylize", _parts(request))
        chunks = []
        async with self._streamed("StylizeStream", _parts(request)) as messages:
            async for message in messages:
                if message.WhichOneof("kind") == "result":
                    chunks.append(message.result)
                else:
                    on_event(_event(message))
        return _joined(chunks)

    async def submit(self, request: Request, idempotency_key: str | None) -> Job:
        """Hand in a job."""
        async with self._translated():
            return _job(await self._call("SubmitJob", _parts(request, idempotency_key or "")))

    async def watch(self, job_id: str, after: int) -> AsyncIterator[Event]:
        """Events as they come."""
        from impasto.protos import impasto_v1_pb2 as pb

        async with self._streamed("WatchJob", pb.WatchJobRequest(id=job_id, after=after)) as messages:
            async for message in messages:
                yield _event(message)

    async def job(self, job_id: str) -> Job:
        """One job."""
        return await self._one_job("GetJob", job_id)

    async def jobs(self, state: str | None, before: str | None, limit: int) -> Page:
        """A page of jobs."""
        from impasto.protos import impasto_v1_pb2 as pb

        if state not in (None, *_states()):
            raise InputError(f"there is no state {state!r}", f"it is one of {', '.join(_states())}")
        number = 0 if state is None else pb.State.Value(f"STATE_{state.upper()}")
        asked = pb.ListJobsRequest(page_size=limit, page_token=before or "", state=pb.State.Name(number))
        async with self._translated():
            told = await self._call("ListJobs", asked)
        return Page(tuple(map(_job, told.jobs)), told.next_page_token or None)

    async def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return await self._one_job("CancelJob", job_id)

    async def result(self, job_id: str) -> Painting:
        """The picture of a job."""
        from impasto.protos import impasto_v1_pb2 as pb

        return await self._painting("GetResult", pb.JobRequest(id=job_id))

    async def styles(self, query: str) -> list[Style]:
        """Named styles."""
        from impasto.protos import impasto_v1_pb2 as pb

        async with self._translated():
            told = await self._call("ListStyles", pb.ListStylesRequest(query=query))
        names = ("id", "title", "artist", "date", "licence", "source", "method")
        return [Style(**{name: getattr(row, name) for name in names}) for row in told.styles]

    async def methods(self) -> list[Method]:
        """The methods."""
        from impasto.protos import impasto_v1_pb2 as pb

        async with self._translated():
            told = await self._call("ListMethods", pb.ListMethodsRequest())
        return [
            Method(
                row.name,
                row.summary,
                row.paper,
                row.kind,
                tuple(row.honours),
                row.trained,
                json.loads(row.schema_json),
            )
            for row in told.methods
        ]

    async def frames(
        self, request: Request, frames: AsyncIterator[Any], temporal: str, *, drop_late: bool
    ) -> AsyncIterator[Frame]:
        """Frames as they are painted."""
        import numpy as np

        failed: list[Exception] = []
        asked = _film(request, frames, temporal, drop_late=drop_late)
        try:
            async with self._streamed("StylizeFrames", _noted(asked, failed)) as messages:
                async for one in messages:
                    yield Frame(one.number, np.frombuffer(one.data, np.uint8).reshape(one.height, one.width, 3))
        except asyncio.CancelledError:  # what gRPC makes of an error while it sends
            if failed:
                raise failed[0] from None
            raise

    async def _one_job(self, name: str, job_id: str) -> Job:
        from impasto.protos import impasto_v1_pb2 as pb

        async with self._translated():
            return _job(await self._call(name, pb.JobRequest(id=job_id)))

    async def _painting(self, name: str, asked: Any) -> Painting:
        async with self._streamed(name, asked) as chunks:
            return _joined([chunk async for chunk in chunks])

    @asynccontextmanager
    async def _streamed(self, name: str, asked: Any) -> AsyncIterator[Any]:
        """The messages of an answer; whoever leaves early cancels the call."""
        async with self._translated():
            call = self._call(name, asked)
            try:
                yield call
            finally:
                call.cancel()

    def _call(self, name: str, asked: Any) -> Any:
        """A call, as the interface declares it."""
        from google.protobuf.message_factory import GetMessageClass

        from impasto.protos import impasto_v1_pb2 as pb

        row = pb.DESCRIPTOR.services_by_name["Impasto"].methods_by_name[name]
        kinds = [("unary", "stream")[streaming] for streaming in (row.client_streaming, row.server_streaming)]
        call = getattr(self._channel, "_".join(kinds))(
            _SERVICE + name,
            request_serializer=GetMessageClass(row.input_type).SerializeToString,
            response_deserializer=GetMessageClass(row.output_type).FromString,
        )
        return call(asked, metadata=self._metadata)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Raises what the service tells, in place of what gRPC makes of it."""
        import grpc

        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error

    def _error(self, error: Any) -> StyleError:
        import grpc

        told: Mapping[str, Any] = dict(error.trailing_metadata() or ())
        if "impasto-error" in told:
            hint = bytes(told.get("impasto-hint-bin", b"")).decode("utf-8", "replace")
            return restored({"kind": told["impasto-error"], "error": error.details(), "hint": hint})
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return cancelled(0)
        return unreachable(f"grpc://{self._target}", Exception(error.details() or error.code().name))


def _file(path: str) -> bytes:
    from pathlib import Path

    from impasto.errors import InputError

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "name a PEM file") from error


def _states() -> tuple[str, ...]:
    return ("queued", "running", *ENDED)


def _parts(request: Request, idempotency_key: str = "") -> Iterator[pb.StylizeRequest]:
    """The messages of a request."""
    from impasto.protos import impasto_v1_pb2 as pb

    yield pb.StylizeRequest(options=_options(request, idempotency_key))
    for name, data in request.pictures.items():
        shown = request.content_name if name == CONTENT else name
        for start in range(0, max(1, len(data)), _CHUNK_BYTES):
            part = data[start : start + _CHUNK_BYTES]
            yield pb.StylizeRequest(picture=pb.Chunk(name=name, data=part, file_name="" if start else shown))


async def _film(
    request: Request, frames: AsyncIterator[Any], temporal: str, *, drop_late: bool
) -> AsyncIterator[pb.FrameRequest]:
    """The messages of a film."""
    from impasto.protos import impasto_v1_pb2 as pb

    for part in _parts(request):
        if part.HasField("options"):
            options = pb.FrameOptions(
                options=part.options, temporal=temporal, drop_late=drop_late, encoding=pb.ENCODING_RGB
            )
            yield pb.FrameRequest(options=options)
        else:
            yield pb.FrameRequest(picture=part.picture)
    number = 0
    async for frame in frames:
        yield pb.FrameRequest(frame=_frame(number, frame))
        number += 1


async def _noted(parts: AsyncIterator[T], failed: list[Exception]) -> AsyncIterator[T]:
    """The parts; what their making raises is noted in `failed`, too."""
    try:
        async for part in parts:
            yield part
    except Exception as error:
        failed.append(error)
        raise


def _frame(number: int, frame: Any) -> pb.Frame:
    """A frame as its bytes; as a JPEG file where these would not fit into a message."""
    import numpy as np

    from impasto.protos import impasto_v1_pb2 as pb

    pixels = np.asarray(frame.convert("RGB") if hasattr(frame, "convert") else frame)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(f"frame {number} has the shape {pixels.shape}", "give (H, W, 3), or a PIL image")
    codes = pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    if codes.nbytes <= _MOST_RAW:
        height, width = codes.shape[:2]
        return pb.Frame(number=number, encoding=pb.ENCODING_RGB, data=codes.tobytes(), width=width, height=height)
    import io

    from impasto import images

    stream = io.BytesIO()
    images.write(images.read(codes), stream, format="JPEG", quality=95)
    return pb.Frame(number=number, encoding=pb.ENCODING_FILE, data=stream.getvalue())


def _options(request: Request, idempotency_key: str) -> pb.Options:
    from impasto.protos import impasto_v1_pb2 as pb

    own = {"style", "region"}
    return pb.Options(
        styles=[pb.Style(source=name, weight=weight) for name, weight in request.settings["style"]],
        regions=[pb.Region(mask=mask, style=style) for mask, style in request.settings["region"]],
        settings={name: _text(value) for name, value in request.settings.items() if name not in own},
        idempotency_key=idempotency_key,
    )


def _text(value: Any) -> str:
    """A setting as on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(chunks: list[pb.Chunk]) -> Painting:
    first = chunks[0]
    return Painting(b"".join(chunk.data for chunk in chunks), first.file_name, first.media_type)


def _job(told: pb.Job) -> Job:
    from impasto.protos import impasto_v1_pb2 as pb

    names = ("name", "media_type", "bytes", "width", "height", "seconds")
    own = told.error
    error = restored({"kind": own.kind, "error": own.message, "hint": own.hint}) if told.HasField("error") else None
    return Job(
        id=told.id,
        state=pb.State.Name(told.state).removeprefix("STATE_").lower(),
        method=told.method,
        created=told.created,
        started=told.started or None,
        finished=told.finished or None,
        settings=json.loads(told.settings_json or "{}"),
        error=error,
        result=ResultInfo(*(getattr(told.result, name) for name in names)) if told.HasField("result") else None,
    )


def _event(told: pb.Event) -> Event:
    kind = told.WhichOneof("kind")
    if kind == "progress":
        own = told.progress
        progress = Progress(own.stage, own.step, own.total, own.unit, done=own.share, losses=dict(own.losses))
        return Event(told.number, "progress", progress=progress)
    if kind == "preview":
        return Event(told.number, "preview", preview=told.preview.data)
    job = _job(told.job)
    return Event(told.number, job.state if job.ended else "state", job=job)
