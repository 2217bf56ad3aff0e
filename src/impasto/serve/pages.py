"""The studio: its page, and what it asks for beside painting: limits, masks, small pictures of results."""

from __future__ import annotations

import gzip
import hashlib
import io
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from impasto import images
from impasto.engine.masks import MaskReader
from impasto.engine.points import is_points
from impasto.errors import InputError, quoted
from impasto.methods import recipes
from impasto.models import segment
from impasto.serve import schema
from impasto.serve.fields import Upload
from impasto.serve.jobs import VIDEO
from impasto.serve.service import Service

FOLDER = Path(__file__).parent / "studio"
"""The files of the page, as they are served."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""What the page may load: files of this server, and pictures that it made itself."""

MASK_SIDE = 1024
"""Longest side of the masks that are found, in pixels."""

PREVIEW_SIDE = 4096
"""Longest side of pictures that are sent back in a format that browsers know."""

_WHAT = "subject, background, person, or a point such as point 40%,60%"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}

_LIMITS = ("body_bytes", "max_pixels", "pictures", "video_seconds", "video_frames", "video_pixels")

JobId = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]


def add_studio(app: FastAPI, service: Service) -> None:
    """Add the page and what it asks for to the application."""
    _add_files(app)
    _add_pictures(app, service)

    async def about() -> Response:
        return JSONResponse(_about(service))

    app.get("/v1/about", summary="Version, limits, and the settings that each quality stands for")(about)


def _add_files(app: FastAPI) -> None:
    async def page(request: Request) -> Response:
        return _file("index.html", request)

    async def part(
        request: Request, name: Annotated[str, InPath(pattern=r"^[\w-]+\.[a-z]+$", max_length=40)]
    ) -> Response:
        return _file(name, request)

    app.get("/", include_in_schema=False)(page)
    app.get("/studio/{name}", include_in_schema=False)(part)


def _file(name: str, request: Request) -> Response:
    """A file of the page, smaller for browsers that unpack it; they ask each time whether it has changed."""
    path = FOLDER / name
    if path.suffix not in _TYPES or not path.is_file():
        raise HTTPException(404, "there is no such file")
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        data = gzip.compress(data, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(data, media_type=_TYPES[path.suffix], headers=headers)


def _about(service: Service) -> dict[str, Any]:
    limits = service.limits
    return {
        "version": version("impasto"),
        "limits": {name: getattr(limits, name) for name in _LIMITS},
        "training": service.about_training(),
        "qualities": {quality: recipes.presets("optimize", quality) for quality in recipes.QUALITIES},
    }


def _add_pictures(app: FastAPI, service: Service) -> None:
    one_at_a_time = Lock()

    async def thumbnail(request: Request, job_id: JobId, side: Annotated[int, Query(ge=16, le=2048)] = 512) -> Response:
        data = await run_in_threadpool(lambda: service.small(job_id, side, client=request.state.client))
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    wrong: dict[int | str, dict[str, Any]] = {code: {"model": schema.ErrorBody} for code in (404, 409)}
    late: dict[int | str, dict[str, Any]] = {code: {"model": schema.ErrorBody} for code in (413, 501, 507)}
    answers: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": binary}}}
    app.get(
        "/v1/jobs/{job_id}/thumbnail",
        summary="A small picture of a result",
        response_class=Response,
        responses={**answers, **wrong},
    )(thumbnail)

    async def preview(request: Request) -> Response:
        upload = await _content(request, or_video=True)
        data = await run_in_threadpool(lambda: service.preview(upload, PREVIEW_SIDE))
        return Response(data, media_type="image/jpeg")

    body = {"required": True, "content": {"multipart/form-data": {"schema": _CONTENT}}}
    either = {"required": True, "content": {"multipart/form-data": {"schema": _CONTENT_OR_VIDEO}}}
    app.post(
        "/v1/preview",
        summary="A picture of any format, or a video's first frame, as JPEG, for browsers that do not know it",
        response_class=Response,
        responses={**answers, **late},
        openapi_extra={"requestBody": either},
    )(preview)

    async def mask(
        request: Request, what: Annotated[str, Query(max_length=200, description=_WHAT)] = "subject"
    ) -> Response:
        upload = await _content(request)

        def find() -> bytes:
            with one_at_a_time:
                return _mask(service, upload, what)

        return Response(await run_in_threadpool(find), media_type="image/png")

    app.post(
        "/v1/masks",
        summary="A mask of what is found in a photograph: white where it is",
        response_class=Response,
        responses={200: {"content": {"image/png": binary}}, **late},
        openapi_extra={"requestBody": body},
    )(mask)


_CONTENT: dict[str, Any] = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": {"type": "string", "format": "binary", "description": "the photograph"}},
}


_CONTENT_OR_VIDEO = {
    "type": "object",
    "properties": {**_CONTENT["properties"], "video": {"type": "string", "format": "binary"}},
}


async def _content(request: Request, *, or_video: bool = False) -> Upload:
    """The one picture of a form, or the one video. Raises InputError."""
    async with request.form(max_files=1, max_fields=1) as form:
        field = VIDEO if or_video and VIDEO in form else "content"
        given = form.get(field)
        if not isinstance(given, UploadFile):
            raise InputError("no content was sent", "send the photograph as the file field content")
        return Upload(field, given.filename or "picture", await given.read())


def _mask(service: Service, upload: Upload, what: str) -> bytes:
    """A mask as a grey PNG of at most `MASK_SIDE`. Raises InputError where there is no such thing."""
    if what not in segment.ASSETS and not is_points(what):
        raise InputError(f"{quoted(what)} is no mask", f"it is {_WHAT}")
    picture = service.decode(upload)
    own_size = picture.width, picture.height
    if max(picture.width, picture.height) > MASK_SIDE:
        width, height = images.fit(picture.width, picture.height, MASK_SIDE)
        picture = picture.resized(height, width)
    pixels = images.to_tensor(images.as_float(picture.pixels))
    found = MaskReader(pixels, own_size, service.engine.store).read(what)
    stream = io.BytesIO()
    images.write(images.Picture(images.from_tensor(found.expand(1, 3, -1, -1))), stream, format="PNG")
    return stream.getvalue()
