"""The client for asyncio."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from impasto.client._request import PictureLike, Request, Setting, frames_request, request_of
from impasto.client._values import Event, Frame, Job, Method, Page, Painting, Style, UnreachableError
from impasto.errors import Cancelled, InputError, quoted

ADDRESS = "http://127.0.0.1:8000"
_KEY_LENGTH = 200
_PAGE = 100  # jobs at most
_RETRIES = (0.2, 1.0)  # seconds before a job is handed in again whose answer was lost
_SCHEMES = ("http", "https", "grpc", "grpcs")

OnEvent: TypeAlias = Callable[[Event], None]
"""Receives the events of a job as they come; what it raises cancels the job."""


class Transport(Protocol):
    """What HTTP and gRPC have in common; see `AsyncClient` for what each does."""

    async def close(self) -> None: ...
    async def stylize(self, request: Request, on_event: OnEvent | None) -> Painting: ...
    async def submit(self, request: Request, idempotency_key: str | None) -> Job: ...
    def watch(self, job_id: str, after: int) -> AsyncIterator[Event]: ...
    async def job(self, job_id: str) -> Job: ...
    async def jobs(self, state: str | None, before: str | None, limit: int) -> Page: ...
    async def cancel(self, job_id: str) -> Job: ...
    async def result(self, job_id: str) -> Painting: ...
    async def styles(self, query: str) -> list[Style]: ...
    async def methods(self) -> list[Method]: ...
    def frames(
        self, request: Request, frames: AsyncIterator[Any], temporal: str, *, drop_late: bool
    ) -> AsyncIterator[Frame]: ...


class AsyncClient:
    """A client for asyncio; use it as a context manager, or `close` it.

    Args:
        address: of the service: "http://", "https://", "grpc://" or "grpcs://", host and port.
        key: an API key, if the service asks for one.
        timeout: seconds that a call may take in all; None for as long as it takes.
        certificate: PEM file of the authority that signed the service's certificate; the system's by default.

    Raises:
        InputError: the address is none.
        MissingExtra: the extra `client` is not installed.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        key: str | None = None,
        timeout: float | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        self.timeout = timeout
        self._transport = _transport(address, key, None if certificate is None else str(certificate))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what is being painted for them stops."""
        await self._transport.close()

    async def stylize(
        self,
        content: PictureLike,
        style: Any = (),
        *,
        on_event: OnEvent | None = None,
        **settings: Setting,
    ) -> Painting:
        """Paint a picture and wait for it; the job stops when this is cancelled or its time is over.

        Args:
            content: the photograph: a path, bytes, a file object, a PIL image, an array `(H, W, 3)` or a tensor.
            style: the same; or an id of `styles`, or words; a list for several; a pair for a style and its weight.
            on_event: called with the events of the job: states, progress and previews.
            settings: as on the command line, with underscores: `quality`, `method`, `size`, `strength`, `steps`,
                `keep_color`, `format` and so on. `preserve`, `strength_map` and `init` take pictures, too; `regions`
                are pairs of mask and style.

        Raises:
            StyleError: what the service raises, as the same class.
            UnreachableError: the service does not answer.
            Cancelled: the time is over.
        """
        request = await asyncio.to_thread(request_of, content, style, settings)
        async with self._in_time():
            return await self._transport.stylize(request, on_event)

    async def submit(
        self, content: PictureLike, style: Any = (), *, idempotency_key: str | None = None, **settings: Setting
    ) -> Job:
        """Hand in a job that is painted whether or not anyone waits; see `stylize`. Over HTTP it may be a video file.

        Each request has an idempotency key, so that the job is there once, also where the connection breaks and it is
        handed in again, which is done by itself twice.

        idempotency_key: a second request with the same key gets the job of the first; a random one by default, which
            Cancelled and UnreachableError name in their hints.
        """
        if idempotency_key is not None and not (idempotency_key.isascii() and 0 < len(idempotency_key) <= _KEY_LENGTH):
            told = f"the idempotency key is {quoted(idempotency_key)}"
            raise InputError(told, f"use 1 to {_KEY_LENGTH} letters and digits, such as a UUID")
        key = idempotency_key or uuid.uuid4().hex
        request = await asyncio.to_thread(request_of, content, style, settings)
        found = f"if the job was accepted, the same call with idempotency_key={key!r} gives it; "
        try:
            async with self._in_time(found):
                return await self._submitted(request, key)
        except UnreachableError as error:
            error.hint = found + error.hint
            raise

    async def _submitted(self, request: Request, key: str) -> Job:
        """Hand in a job, again where the answer is lost."""
        for pause in _RETRIES:
            try:
                return await self._transport.submit(request, key)
            except UnreachableError:
                await asyncio.sleep(pause)
        return await self._transport.submit(request, key)

    def watch(self, job: Job | str, *, after: int = 0) -> AsyncIterator[Event]:
        """The events of a job, as they come, to the last. after: the number of the last one that was seen."""
        return self._transport.watch(_id(job), after)

    async def job(self, job: Job | str) -> Job:
        """What has become of a job."""
        async with self._in_time():
            return await self._transport.job(_id(job))

    async def jobs(self, *, state: str | None = None, before: str | None = None, limit: int = 20) -> Page:
        """Your jobs, the newest first. state: only those; before: `next` of the page before; limit: at most 100."""
        if not 1 <= limit <= _PAGE:
            raise InputError(f"limit is {limit}", f"it takes a whole number from 1 to {_PAGE}")
        async with self._in_time():
            return await self._transport.jobs(state, before, limit)

    async def cancel(self, job: Job | str) -> Job:
        """Stop a job within one step; the best picture so far, if there is one, stays as its result."""
        async with self._in_time():
            return await self._transport.cancel(_id(job))

    async def result(self, job: Job | str) -> Painting:
        """The picture of a job that is done."""
        async with self._in_time():
            return await self._transport.result(_id(job))

    async def styles(self, query: str = "") -> list[Style]:
        """Named styles: the trained ones, and the paintings of the library. query: words that are looked for."""
        async with self._in_time():
            return await self._transport.styles(query)

    async def methods(self) -> list[Method]:
        """The methods, with their settings."""
        async with self._in_time():
            return await self._transport.methods()

    async def frames(
        self,
        frames: Iterable[Any] | AsyncIterable[Any],
        style: Any = (),
        *,
        temporal: str = "fast",
        drop_late: bool = False,
        **settings: Setting,
    ) -> AsyncIterator[Frame]:
        """Paint frames as they come, held together so that nothing flickers; over gRPC alone.

        Args:
            frames: of one size, each an array `(H, W, 3)` of 8 bits or in [0, 1], or a PIL image.
            style, settings: as for `stylize`; a draft where neither method nor quality is given.
            temporal: "fast", "best" or "off": how much is done for steadiness.
            drop_late: for cameras: paint the newest frame, and leave out those that came in the meantime.

        Raises:
            StyleError: as `stylize`; InputError over HTTP.
        """
        request = await asyncio.to_thread(frames_request, style, settings)
        painted = self._transport.frames(request, _each(frames), temporal, drop_late=drop_late)
        async with aclosing(painted):  # type: ignore[type-var] # it is a generator
            async for frame in painted:
                yield frame

    @asynccontextmanager
    async def _in_time(self, hint: str = "") -> AsyncIterator[None]:
        """Raises Cancelled when the time is over; `hint` goes before its own."""
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except TimeoutError:
            hint += "give it a longer timeout, or ask for a smaller size"
            raise Cancelled(f"not done within {self.timeout:g} seconds", hint) from None


async def _each(frames: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The frames; those of a plain iterator, which may wait for a camera, are taken in a thread."""
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    iterator, end = iter(frames), object()
    while (frame := await asyncio.to_thread(next, iterator, end)) is not end:
        yield frame


def _id(job: Job | str) -> str:
    """The id of a job. Raises InputError for what cannot be one, which would lead HTTP elsewhere."""
    name = job.id if isinstance(job, Job) else job
    if not re.fullmatch(r"[0-9a-zA-Z]+", name):
        raise InputError(f"there is no job {quoted(name)}", "give a job, or the id of one")
    return name


def _transport(address: str, key: str | None, certificate: str | None) -> Transport:
    scheme, mark, rest = str(address).partition("://")
    if not mark or scheme not in _SCHEMES or not rest.strip("/"):
        listed = ", ".join(f"{one}://" for one in _SCHEMES)
        raise InputError(f"the address is {quoted(address)}", f"it begins with {listed}, then HOST:PORT")
    if scheme.startswith("http"):
        from impasto.client._http import HttpTransport

        return HttpTransport(address, key=key, certificate=certificate)
    from impasto.client._grpc import GrpcTransport

    return GrpcTransport(rest.rstrip("/"), secure=scheme == "grpcs", key=key, certificate=certificate)
