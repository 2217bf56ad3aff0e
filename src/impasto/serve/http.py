"""The HTTP interface: a FastAPI application over the service."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from impasto.errors import Cancelled, InputError, StyleError, quoted
from impasto.serve import schema
from impasto.serve.feed import Event
from impasto.serve.fields import UPLOADS, Upload
from impasto.serve.guard import REQUEST_ID, Guard, error_answer
from impasto.serve.jobs import Job, Painted
from impasto.serve.metrics import Metrics
from impasto.serve.pages import add_studio
from impasto.serve.service import Service
from impasto.serve.settings import AGAIN, ClosingError, Listening, NotFoundError, restored
from impasto.serve.store import Rating

_PAUSE = 15.0  # seconds after which a silent stream of events says that it lives
_FIELDS = 200  # form fields of one request
_DAY = "public, max-age=86400"

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["01a21ac2de47d89b20fca0a7456f2176"])]
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


def make_app(service: Service, listening: Listening | None = None) -> FastAPI:
    """The application; `guard.Guard` stands before it."""
    from importlib.metadata import version

    listening = listening or Listening()
    metrics = Metrics(service)
    app = FastAPI(
        title="Impasto",
        version=version("impasto"),
        summary="Photographs into paintings, in the style of any picture",
        docs_url=None,
        redoc_url=None,
        responses={code: {"model": schema.ErrorBody} for code in (401, 403, 422, 500, 503)},
    )
    for kind in (StyleError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _told)
    _add_painting(app, service)
    _add_jobs(app, service)
    _add_ratings(app, service)
    _add_lists(app, service)
    _add_probes(app, service, metrics)
    add_studio(app, service)
    _complete_document(app, listening)
    if listening.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(listening.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-API-Key"],
            expose_headers=["X-Request-Id", "X-Job-Id", "Retry-After"],
        )
    app.add_middleware(Guard, limits=service.limits, listening=listening, metrics=metrics)
    return app


def _complete_document(app: FastAPI, listening: Listening) -> None:
    """Say in the OpenAPI document how a key is given, which `guard.Guard` asks for, and give whole examples."""
    make = app.openapi

    def documented() -> dict[str, Any]:
        document = make()
        for name, body in document.get("components", {}).get("schemas", {}).items():
            if "examples" in body:  # of which FastAPI has dropped what is null
                body["examples"] = schema.examples(name)
        schemes = {"key": {"type": "http", "scheme": "bearer", "description": "an API key, where the service has any"}}
        document.setdefault("components", {})["securitySchemes"] = schemes
        document["security"] = [{"key": []}] if listening.keys else [{}, {"key": []}]
        return document

    app.openapi = documented  # type: ignore[method-assign]


_BUSY: dict[int | str, dict[str, Any]] = {code: {"model": schema.ErrorBody} for code in (409, 413, 429)}
_ABSENT: dict[int | str, dict[str, Any]] = {404: {"model": schema.ErrorBody}}
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "a second request with this key gets the job of the first",
}


def _painting(summary: str, responses: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {**responses, **_BUSY},
        "openapi_extra": {"requestBody": schema.request_body(), "parameters": [_KEY_HEADER]},
    }


def _add_painting(app: FastAPI, service: Service) -> None:
    async def stylize(request: Request) -> Response:
        key = _key_of(request)
        job = await _submitted(service, request, key, keep=key is not None)
        try:
            await _ended(service, job, request, keep=key is not None)
            painted = service.result(job.id, client=job.client)
        finally:
            service.forget(job.id)
        return _picture(painted, job.id)

    picture: dict[int | str, dict[str, Any]] = {
        200: {"content": {"image/png": _PICTURE, "image/jpeg": _PICTURE}, "description": "the painting"}
    }
    about = _painting("Paint a picture and wait for it", picture)
    app.post("/v1/stylize", response_class=Response, **about)(stylize)

    async def submit(request: Request) -> Response:
        key = _key_of(request)
        job = await _submitted(service, request, key, keep=True)
        if key is None and await request.is_disconnected():  # nobody knows of it, or could find it again
            service.cancel(job.id, client=job.client)
            raise Cancelled("the client went away", "")
        where = {"Location": f"/v1/jobs/{job.id}"}
        return JSONResponse(job.public(), status_code=202, headers=where)

    about = _painting("Accept a picture or a video to be painted", {202: {"model": schema.JobBody}})
    app.post("/v1/jobs", status_code=202, **about)(submit)

    async def train(request: Request) -> Response:
        uploads, given = await _form(request, service.limits.pictures)
        client, key = request.state.client, _key_of(request)
        job = await run_in_threadpool(lambda: service.train(uploads, given, client=client, idempotency_key=key))
        return JSONResponse(job.public(), status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})

    app.post(
        "/v1/trainings",
        status_code=202,
        summary="Accept a painting from which a style is trained, as a job",
        responses={202: {"model": schema.JobBody}, **_BUSY, 501: {"model": schema.ErrorBody}},
        openapi_extra={"requestBody": schema.training_body(), "parameters": [_KEY_HEADER]},
    )(train)


def _key_of(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= 200:
        raise InputError(
            "the idempotency key is empty or has more than 200 letters", "use a random one, such as a UUID"
        )
    return key


async def _submitted(service: Service, request: Request, key: str | None, *, keep: bool) -> Job:
    uploads, given = await _form(request, service.limits.pictures)
    client = request.state.client

    def submit() -> Job:
        return service.submit(uploads, given, client=client, idempotency_key=key, keep=keep)

    return await run_in_threadpool(submit)


async def _form(request: Request, most: int) -> tuple[list[Upload], dict[str, Any]]:
    """The pictures and settings of a form."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InputError("the body is not multipart/form-data", "send a form, with the photograph as content")
    uploads: list[Upload] = []
    fields: dict[str, list[str]] = {}
    together: dict[str, Any] = {}
    async with request.form(max_files=most, max_fields=_FIELDS, max_part_size=1 << 16) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                uploads.append(await _upload(name, value))
            elif name == "settings":
                together |= _json_settings(value)
            elif name in ("content", "file"):
                raise InputError(f"{name} is text", "send it as a file")
            else:
                fields.setdefault(name, []).append(value)
    for name in together.keys() & fields.keys():
        raise InputError(f"{quoted(name)} was given as a field and in settings", "give it once")
    return uploads, {**together, **fields}


async def _upload(name: str, value: UploadFile) -> Upload:
    field = name.replace("_", "-")
    if field not in UPLOADS:
        raise InputError(f"a file was sent as {quoted(name)}", f"pictures are sent as {', '.join(UPLOADS)}")
    return Upload(field, value.filename or "picture", await value.read())


def _json_settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("settings is no JSON object", 'write it like {"strength": 0.8}')
    return found


async def _ended(service: Service, job: Job, request: Request, *, keep: bool) -> None:
    """Wait for the end of a job; stop it when its client goes away, unless it is kept for the client to ask again.

    Raises:
        StyleError: as the job failed.
    """
    watching = asyncio.ensure_future(_last(service, job, keep=keep))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((watching, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            if not keep:
                service.cancel(job.id, client=job.client)
            raise Cancelled("the client went away", "")
        event = watching.result()
    finally:
        for task in (watching, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    if event.kind != "done":
        raise restored(event.data["error"] or {"kind": "Cancelled", "error": "stopped"})


async def _last(service: Service, job: Job, *, keep: bool) -> Event:
    async with aclosing(service.watch_async(job.id, client=job.client)) as events:  # type: ignore[type-var]
        async for event in events:
            if event.last:
                return event
    hint = "the job goes on when it starts again: send the same request with the same key" if keep else AGAIN
    raise ClosingError("the service is stopping", hint)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _picture(painted: Painted, job_id: str) -> Response:
    ascii_name = painted.name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    named = f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(painted.name)}"
    headers = {"Content-Disposition": named, "X-Job-Id": job_id, "Cache-Control": "private, no-store"}
    return Response(painted.data, media_type=painted.media_type, headers=headers)


def _add_jobs(app: FastAPI, service: Service) -> None:
    async def listed(
        request: Request,
        state: Literal["queued", "running", "done", "failed", "cancelled"] | None = None,
        before: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        page = await run_in_threadpool(
            lambda: service.jobs(client=request.state.client, state=state, before=before, limit=limit)
        )
        return JSONResponse({"jobs": [job.public() for job in page.jobs], "next": page.following})

    app.get("/v1/jobs", summary="Your jobs, the newest first", responses={200: {"model": schema.PageBody}})(listed)

    async def one(request: Request, job_id: JobId) -> Response:
        job = await run_in_threadpool(lambda: service.job(job_id, client=request.state.client))
        return JSONResponse(job.public())

    answers = {200: {"model": schema.JobBody}, **_ABSENT}
    app.get("/v1/jobs/{job_id}", summary="One job", responses=answers)(one)

    async def result(request: Request, job_id: JobId) -> Response:
        painted = await run_in_threadpool(lambda: service.result(job_id, client=request.state.client))
        return _picture(painted, job_id)

    answers = {200: {"content": {"image/png": _PICTURE}}, **_ABSENT, 409: {"model": schema.ErrorBody}}
    app.get("/v1/jobs/{job_id}/result", summary="The painting", response_class=Response, responses=answers)(result)

    async def events(request: Request, job_id: JobId) -> Response:
        after = request.headers.get("last-event-id", "0")
        seen = int(after) if after.isdecimal() and len(after) < 10 else 0
        found = await run_in_threadpool(lambda: service.watch_async(job_id, client=request.state.client, after=seen))
        return StreamingResponse(_lines(found), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    about: dict[str, Any] = {
        "summary": "Progress, previews and the end, as server-sent events",
        "response_class": Response,
    }
    answers = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **_ABSENT}
    app.get("/v1/jobs/{job_id}/events", responses=answers, **about)(events)

    async def stop(request: Request, job_id: JobId, forget: bool = False) -> Response:
        act = service.remove if forget else service.cancel
        job = await run_in_threadpool(lambda: act(job_id, client=request.state.client))
        return JSONResponse(job.public())

    answers = {200: {"model": schema.JobBody}, **_ABSENT, 409: {"model": schema.ErrorBody}}
    summary = "Cancel a job, whose best picture so far stays; or forget one that has ended, and its picture"
    app.delete("/v1/jobs/{job_id}", summary=summary, responses=answers)(stop)


def _add_ratings(app: FastAPI, service: Service) -> None:
    async def rate(request: Request, job_id: JobId, given: schema.RatingGiven) -> Response:
        client = request.state.client
        rating = await run_in_threadpool(
            lambda: service.rate(job_id, stars=given.stars, note=given.note, client=client)
        )
        return JSONResponse(_rating(rating))

    answers = {200: {"model": schema.RatingBody}, **_ABSENT, 409: {"model": schema.ErrorBody}}
    app.post("/v1/jobs/{job_id}/rating", summary="Rate a result, once or again", responses=answers)(rate)

    async def ratings(request: Request, format: Literal["json", "csv"] = "json") -> Response:  # noqa: A002
        found = await run_in_threadpool(lambda: service.ratings(client=request.state.client))
        rows = [_rating(rating) for rating in found]
        if format == "json":
            return JSONResponse({"ratings": rows})
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(schema.RatingBody.model_fields))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        named = {"Content-Disposition": 'attachment; filename="ratings.csv"'}
        return Response(stream.getvalue(), media_type="text/csv", headers=named)

    answers = {200: {"model": schema.RatingsBody, "content": {"text/csv": {"schema": {"type": "string"}}}}}
    app.get("/v1/ratings", summary="Your ratings, as JSON or CSV", responses=answers)(ratings)


def _rating(rating: Rating) -> dict[str, Any]:
    return {name: getattr(rating, name) for name in schema.RatingBody.model_fields}


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


async def _lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """Events as server-sent events, with a comment now and then so that the connection is kept."""
    async with aclosing(events) as kept:  # type: ignore[type-var]
        following = asyncio.ensure_future(anext(kept, None))
        try:
            while True:
                done, _ = await asyncio.wait((following,), timeout=_PAUSE)
                if not done:
                    yield b": waiting\n\n"
                    continue
                event = following.result()
                if event is None:
                    return
                yield sse(event)
                following = asyncio.ensure_future(anext(kept, None))
        finally:  # the events cannot be closed while one of them is awaited
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def sse(event: Event) -> bytes:
    """One server-sent event; a preview holds its picture as a data URL."""
    data = dict(event.data)
    if event.image is not None:
        data["image"] = f"data:image/jpeg;base64,{base64.b64encode(event.image).decode()}"
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()


def _add_lists(app: FastAPI, service: Service) -> None:
    async def styles(
        request: Request, q: Annotated[str, Query(max_length=200, description="words that are looked for")] = ""
    ) -> Response:
        rows = await run_in_threadpool(lambda: service.styles(q, client=request.state.client))
        return JSONResponse({"styles": rows})

    app.get("/v1/styles", summary="Named styles", responses={200: {"model": schema.StylesBody}})(styles)

    async def thumbnail(
        request: Request, style_id: Annotated[str, Path(max_length=100, examples=["museum:436535"])]
    ) -> Response:
        data = await run_in_threadpool(lambda: service.thumbnail(style_id, client=request.state.client))
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": _DAY})

    answers: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": _PICTURE}}, **_ABSENT}
    about: dict[str, Any] = {"summary": "A small picture of a style", "response_class": Response}
    app.get("/v1/styles/{style_id}/thumbnail", responses=answers, **about)(thumbnail)

    async def methods() -> Response:
        return JSONResponse({"methods": service.methods(), "common": schema.common_schema()})

    app.get("/v1/methods", summary="Methods and their settings", responses={200: {"model": schema.MethodsBody}})(
        methods
    )


def _add_probes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    async def alive() -> Response:
        return JSONResponse({"status": "ok"})

    app.get("/healthz", summary="Whether the service lives", responses={200: {"model": schema.HealthBody}})(alive)

    async def ready() -> Response:
        if service.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "stopping"}, status_code=503)

    app.get("/readyz", summary="Whether it takes jobs", responses={200: {"model": schema.HealthBody}})(ready)

    async def measured() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    answers: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    about: dict[str, Any] = {"summary": "Counts, in the format of Prometheus", "response_class": Response}
    app.get("/metrics", responses=answers, **about)(measured)


async def _told(_request: Request, error: Exception) -> Response:
    """Any error as JSON."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        error = InputError(f"{place}: {first['msg']}", "see /openapi.json")
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        status = 422 if error.status_code == 400 else error.status_code
        kind = (NotFoundError if status == 404 else InputError).__name__
        told = {"kind": kind, "error": str(error.detail), "hint": "see /openapi.json", "request_id": REQUEST_ID.get()}
        return JSONResponse(told, status_code=status, headers=headers)
    status, headers, data = error_answer(error, REQUEST_ID.get())
    return Response(data, status, headers, "application/json")
