"""The messages of gRPC, to what the service takes and from what it gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from impasto.errors import InputError, StyleError, counted, quoted
from impasto.protos import impasto_v1_pb2 as pb
from impasto.serve.feed import Event
from impasto.serve.fields import Upload, clean_name
from impasto.serve.jobs import Job, Painted, public_error
from impasto.serve.settings import ServeSettings, TooLargeError

CHUNK_BYTES = 1 << 20
"""Of a picture in one message."""

MESSAGE_BYTES = 4 << 20
"""Of one message at most."""

CONTENT = "content"
"""The name under which the photograph is sent."""

_STATES = {
    "queued": pb.STATE_QUEUED,
    "running": pb.STATE_RUNNING,
    "done": pb.STATE_DONE,
    "failed": pb.STATE_FAILED,
    "cancelled": pb.STATE_CANCELLED,
}


class Pictures:
    """Puts the pictures of a request together out of their chunks, within the limits."""

    def __init__(self, limits: ServeSettings) -> None:
        self._limits = limits
        self._data: dict[str, bytearray] = {}
        self._names: dict[str, str] = {}
        self._bytes = 0

    def add(self, chunk: pb.Chunk) -> None:
        """Take a chunk.

        Raises:
            InputError: its picture has no name, or there are too many.
            TooLargeError: all pictures together have too many bytes.
        """
        if not chunk.name:
            raise InputError("a picture has no name", f'name it "{CONTENT}", or as the options do')
        if chunk.name not in self._data and len(self._data) >= self._limits.pictures:
            raise InputError("too many pictures were sent", f"{counted(self._limits.pictures, 'picture')} are allowed")
        self._bytes += len(chunk.data)
        if self._bytes > self._limits.body_bytes:
            raise TooLargeError(f"the request has more than {self._limits.body_bytes:,} bytes", "send smaller pictures")
        self._data.setdefault(chunk.name, bytearray()).extend(chunk.data)
        self._names.setdefault(chunk.name, clean_name(chunk.file_name if chunk.name == CONTENT else chunk.name))

    @property
    def names(self) -> Mapping[str, str]:
        """By the name that the client gave, the one by which the service knows the picture."""
        return {name: own for name, own in self._names.items() if name != CONTENT}

    def uploads(self) -> list[Upload]:
        """All pictures. Raises InputError where two have the same name."""
        own = list(self.names.values())
        double = next((name for name in own if own.count(name) > 1), None)
        if double is not None:
            raise InputError(f"two pictures are called {quoted(double)}", "give each its own name")
        return [
            Upload(CONTENT if name == CONTENT else "file", self._names[name], bytes(data))
            for name, data in self._data.items()
        ]


def settings_of(options: pb.Options, names: Mapping[str, str]) -> dict[str, Any]:
    """Settings by the names of the flags.

    Args:
        options: of the request.
        names: of its pictures; see `Pictures.names`.

    Raises:
        InputError: a style or a mask has no name.
    """
    own: dict[str, Any] = {
        "style": [_style(style, names) for style in options.styles],
        "region": [f"{_named('mask', r.mask, names)}={_named('style', r.style, names)}" for r in options.regions],
        "method": options.method,
        "quality": options.quality,
        "size": options.size,
        "init": names.get(options.init, options.init),
        "keep-color": options.keep_color,
        "color-only": options.color_only,
        "match-regions": options.match_regions,
        "feather": options.feather,
        "preserve": names.get(options.preserve, options.preserve),
        "protect-faces": options.protect_faces if options.HasField("protect_faces") else None,
        "strength-map": names.get(options.strength_map, options.strength_map),
        "drop-gps": options.drop_gps,
        "format": options.format,
        "jpeg-quality": options.jpeg_quality,
    }
    asked = {name: value for name, value in own.items() if value is not None and (value or name == "protect-faces")}
    return {**options.settings, **asked}


def _style(style: pb.Style, names: Mapping[str, str]) -> str:
    source = _named("style", style.source, names)
    return f"{source}:{style.weight!r}" if style.HasField("weight") else source


def _named(what: str, name: str, names: Mapping[str, str]) -> str:
    if not name:
        raise InputError(f"a {what} has no name", "name a picture that you send, or one of the service's")
    return names.get(name, name)


def job_message(job: Job) -> pb.Job:
    """A job for its client."""
    return told_job(job.public())


def told_job(told: Mapping[str, Any]) -> pb.Job:
    """What `Job.public` tells, as a message."""
    error, result = told["error"], told["result"]
    return pb.Job(
        id=told["id"],
        state=_STATES[told["state"]],
        method=told["method"],
        created=told["created"],
        started=told["started"] or 0.0,
        finished=told["finished"] or 0.0,
        settings_json=json.dumps(told["settings"], sort_keys=True),
        error=None if error is None else pb.Error(kind=error["kind"], message=error["error"], hint=error["hint"]),
        result=None if result is None else pb.Result(**result),
    )


def event_message(event: Event) -> pb.Event:
    """An event of a job."""
    if event.kind == "progress":
        return pb.Event(number=event.number, progress=pb.Progress(**event.data))
    if event.kind == "preview":
        preview = pb.Preview(data=event.image or b"", media_type="image/jpeg", **event.data)
        return pb.Event(number=event.number, preview=preview)
    return pb.Event(number=event.number, job=told_job(event.data))


def chunks(painted: Painted) -> Iterator[pb.Chunk]:
    """A finished picture in pieces."""
    record = json.dumps(painted.record, sort_keys=True)
    yield pb.Chunk(
        data=painted.data[:CHUNK_BYTES], file_name=painted.name, media_type=painted.media_type, record_json=record
    )
    for start in range(CHUNK_BYTES, len(painted.data), CHUNK_BYTES):
        yield pb.Chunk(data=painted.data[start : start + CHUNK_BYTES])


def state_name(state: int) -> str | None:
    """The service's word for a state; None for unspecified. Raises InputError for a number that is none."""
    if state == pb.STATE_UNSPECIFIED:
        return None
    found = next((name for name, number in _STATES.items() if number == state), None)
    if found is None:
        raise InputError(f"there is no state {state}", f"it is one of {', '.join(_STATES)}")
    return found


def method_messages(rows: Sequence[Mapping[str, Any]]) -> list[pb.MethodInfo]:
    """The methods."""
    return [
        pb.MethodInfo(
            name=row["name"],
            summary=row["summary"],
            paper=row["paper"],
            kind=row["kind"],
            honours=row["honours"],
            trained=row["trained"],
            schema_json=json.dumps(row["settings"], sort_keys=True),
        )
        for row in rows
    ]


def status_of(error: BaseException) -> tuple[str, str, tuple[tuple[str, str | bytes], ...]]:
    """The name of the status code of an error, its message, and the trailing metadata."""
    told = public_error(error)
    metadata: list[tuple[str, str | bytes]] = [("impasto-error", told["kind"])]
    if told["hint"]:
        metadata.append(("impasto-hint-bin", told["hint"].encode()))
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        metadata.append(("retry-after", str(wait)))
    code = error.grpc_status if isinstance(error, StyleError) else "INTERNAL"
    return code, told["error"], tuple(metadata)
