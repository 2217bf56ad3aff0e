"""The client over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from impasto.client._request import CONTENT, Request
from impasto.client._values import ENDED, Event, Frame, Job, Method, Page, Painting, ResultInfo, Style, UnreachableError
from impasto.contract import Progress
from impasto.errors import Cancelled, InputError, StyleError, require
from impasto.serve.settings import AGAIN, ClosingError, restored

if TYPE_CHECKING:
    import httpx

    from impasto.client._async import OnEvent


class HttpTransport:
    """Speaks HTTP with a service.

    Args:
        address: such as "http://127.0.0.1:8000".
        key: an API key, or None.
        certificate: PEM file of the authority that signed the service's certificate; None for those of the system.
    """

    def __init__(self, address: str, *, key: str | None, certificate: str | None) -> None:
        require("httpx", "client")
        import ssl

        import httpx

        trusted: Any = True if certificate is None else ssl.create_default_context(cafile=certificate)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._address = address
        patient = httpx.Timeout(None, connect=10)  # a picture may take minutes; AsyncClient has its own time
        self._client = httpx.AsyncClient(base_url=address, headers=headers, timeout=patient, verify=trusted)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def stylize(self, request: Request, on_event: OnEvent | None) -> Painting:
        """Paint and wait."""
        if on_event is None:
            return _painting(await self._send("POST", "/v1/stylize", files=_files(request)))
        job = await self.submit(request, None)
        try:
            ended: Job | None = None
            async for event in self.watch(job.id, 0):
                on_event(event)
                ended = event.job
            if ended is None or not ended.ended:
                raise ClosingError("the service is stopping", AGAIN)
            if ended.state != "done":
                raise ended.error or StyleError("the job was stopped", "")
            return await self.result(job.id)
        except BaseException:
            await self._drop(job.id)
            raise

    async def _drop(self, job_id: str) -> None:
        try:
            await self.cancel(job_id)
        except StyleError:  # what is raised is told instead
            return

    async def submit(self, request: Request, idempotency_key: str | None) -> Job:
        """Hand in a job."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return job_of((await self._send("POST", "/v1/jobs", files=_files(request), headers=headers)).json())

    async def watch(self, job_id: str, after: int) -> AsyncIterator[Event]:
        """Events as they come."""
        headers = {"Last-Event-ID": str(after)}
        async with self._streamed(f"/v1/jobs/{job_id}/events", headers) as answer:
            lines: list[str] = []
            async for line in answer.aiter_lines():
                if line:
                    lines.append(line)
                    continue
                event = _event(lines)
                lines = []
                if event is not None:
                    yield event

    async def job(self, job_id: str) -> Job:
        """One job."""
        return job_of((await self._send("GET", f"/v1/jobs/{job_id}")).json())

    async def jobs(self, state: str | None, before: str | None, limit: int) -> Page:
        """A page of jobs."""
        asked = {"state": state, "before": before, "limit": limit}
        told = (await self._send("GET", "/v1/jobs", params={k: v for k, v in asked.items() if v is not None})).json()
        return Page(tuple(map(job_of, told["jobs"])), told["next"])

    async def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return job_of((await self._send("DELETE", f"/v1/jobs/{job_id}")).json())

    async def result(self, job_id: str) -> Painting:
        """The picture of a job."""
        return _painting(await self._send("GET", f"/v1/jobs/{job_id}/result"))

    async def styles(self, query: str) -> list[Style]:
        """Named styles."""
        told = (await self._send("GET", "/v1/styles", params={"q": query})).json()
        return [Style(**row) for row in told["styles"]]

    async def methods(self) -> list[Method]:
        """The methods."""
        names = ("name", "summary", "paper", "kind", "honours", "trained", "settings")
        rows = (await self._send("GET", "/v1/methods")).json()["methods"]
        told = [{name: row[name] for name in names} for row in rows]
        return [Method(**{**row, "honours": tuple(row["honours"])}) for row in told]

    async def frames(
        self,
        request: Request,
        frames: AsyncIterator[Any],  # noqa: ARG002 - gRPC takes them
        temporal: str,  # noqa: ARG002
        *,
        drop_late: bool,  # noqa: ARG002
    ) -> AsyncIterator[Frame]:
        """HTTP has no stream of frames. Raises InputError."""
        if request is not None:
            raise InputError(f"frames were given to {self._address}", "they go over gRPC: grpc://HOST:50051")
        yield  # never comes here; it makes this a generator

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        import httpx

        try:
            answer = await self._client.request(method, path, **more)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise unreachable(self._address, error) from error
        await _check(answer)
        return answer

    @asynccontextmanager
    async def _streamed(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        import httpx

        try:
            async with self._client.stream("GET", path, headers=headers) as answer:
                await _check(answer)
                yield answer
        except httpx.TransportError as error:
            raise unreachable(self._address, error) from error


def unreachable(address: str, error: Exception) -> UnreachableError:
    """What to say of a service that does not answer."""
    reason = str(error) or type(error).__name__
    return UnreachableError(f"{address} does not answer: {reason}", "start it with: impasto serve")


async def _check(answer: httpx.Response) -> None:
    """Raise what the service tells."""
    if answer.is_success:
        return
    try:
        told = json.loads(await answer.aread())
        error = restored({**told, "status": answer.status_code})
    except (ValueError, TypeError):
        told = f"the service answered {answer.status_code}, not as one of ours"
        raise UnreachableError(told, "see that the address leads to impasto serve") from None
    raise error


def _files(request: Request) -> list[tuple[str, Any]]:
    """The parts of the form."""
    values = dict(request.settings)
    values["style"] = [name if weight is None else f"{name}:{weight!r}" for name, weight in values["style"]]
    values["region"] = [f"{mask}={style}" for mask, style in values["region"]]
    parts: list[tuple[str, Any]] = [("settings", (None, json.dumps(values, default=_plain)))]
    for name, data in request.pictures.items():
        field, shown = "file", name
        if name == CONTENT:
            field, shown = ("video" if request.is_video else CONTENT), request.content_name
        parts.append((field, (shown, data)))
    return parts


def _plain(value: Any) -> Any:
    """Numbers of numpy, and sets of names, as JSON has them."""
    if hasattr(value, "item"):
        return value.item()
    return list(value) if isinstance(value, Iterable) else str(value)


def _painting(answer: httpx.Response) -> Painting:
    return Painting(answer.content, _file_name(answer), answer.headers.get("content-type", ""))


def _file_name(answer: httpx.Response) -> str:
    from urllib.parse import unquote

    disposition = answer.headers.get("content-disposition", "")
    _, mark, name = disposition.partition("filename*=UTF-8''")
    return unquote(name) if mark else "painting"


def job_of(told: dict[str, Any]) -> Job:
    """A job as HTTP tells it; what a newer service tells besides is left out."""
    error, result = told["error"], told["result"]
    made = {**{one.name: told[one.name] for one in fields(Job)}, "error": None if error is None else restored(error)}
    return Job(**{**made, "result": None if result is None else ResultInfo(**result)})


def _event(lines: list[str]) -> Event | None:
    """A server-sent event; None for a comment."""
    found = dict(line.split(": ", 1) for line in lines if not line.startswith(":") and ": " in line)
    if "event" not in found:
        return None
    number, kind, data = int(found["id"]), found["event"], json.loads(found["data"])
    if kind == "progress":
        return Event(number, kind, progress=progress_of(data))
    if kind == "preview":
        return Event(number, kind, preview=base64.b64decode(data["image"].partition(",")[2]))
    assert kind == "state" or kind in ENDED
    return Event(number, kind, job=job_of(data))


def progress_of(told: dict[str, Any]) -> Progress:
    """Progress as it is told."""
    return Progress(
        told["stage"], told["step"], told["total"], told["unit"], done=told["share"], losses=dict(told["losses"])
    )


def cancelled(seconds: float) -> Cancelled:
    """What is raised when the client's own time is over."""
    return Cancelled(f"not done within {seconds:g} seconds", "give it a longer timeout, or ask for a smaller size")
