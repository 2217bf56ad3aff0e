"""Limits and options of the service, and the errors that only a service has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from impasto.errors import StyleError

STATE_VARIABLE = "IMPASTO_STATE"
"""The environment variable that moves the folder of jobs, results and ratings."""


AGAIN = "try again in a minute"
"""What to do when the service is stopping."""


@dataclass(frozen=True)
class ServeSettings:
    """All limits of a service.

    Attributes:
        body_bytes: of one request.
        max_pixels: of each picture that is sent, told from its header, and of the result.
        pictures: uploads in one request.
        frames: of one stream; a camera opens another.
        video_seconds: of a video, or the part of it, that is painted; 0 takes none.
        video_frames: of that part.
        video_pixels: of a painted frame of a video.
        decode_bytes: memory in which a picture has to be decoded.
        decode_seconds: time in which it has to be decoded.
        decoders: processes that decode.
        held_bytes: decoded pictures of jobs that wait; jobs that are kept are decoded again when there are more.
        cached_bytes: decoded pictures that are remembered, so that a repeated style is decoded once.
        quick_workers: threads for methods of one pass.
        slow_workers: threads for optimisations and large pictures, which so never keep quick requests waiting.
        max_delay: seconds that a picture waits for others to be painted together with.
        max_batch: pictures painted together at most; 1 for never.
        queue_length: jobs that wait, of all lanes together.
        jobs_per_client: jobs of one client that wait or run.
        job_seconds: after which a running job is stopped, and what it has come to is kept; what would plainly take
            longer is refused.
        training_photos: folder of photographs with which clients may train styles; None for no training.
        training_minutes: that a client may ask for.
        job_memory: bytes that one job may take; None for what is available, shared by those that are not quick.
        attempts: how often a job is begun that does not survive the process.
        keep_seconds: how long a job and its result are kept after its end; its uploads go with the end.
        preview_side: longest side of a preview in pixels.
        preview_seconds: least time between two previews.
        header_seconds: for a client to send the head of a request.
        body_seconds: for a client to send its body, and to take any piece of the answer.
        connections: open connections at most.
    """

    body_bytes: int = 64 << 20
    max_pixels: int = 50_000_000
    pictures: int = 16
    frames: int = 1_000_000
    video_seconds: float = 30.0
    video_frames: int = 1800
    video_pixels: int = 2_100_000
    decode_bytes: int = 1 << 30
    decode_seconds: float = 20.0
    decoders: int = 1
    held_bytes: int = 1 << 30
    cached_bytes: int = 128 << 20
    quick_workers: int = 1
    slow_workers: int = 1
    max_delay: float = 0.005
    max_batch: int = 8
    queue_length: int = 128
    jobs_per_client: int = 64
    job_seconds: float = 3600.0
    training_photos: Path | None = field(default=None, repr=False)
    training_minutes: float = 60.0
    job_memory: int | None = None
    attempts: int = 3
    keep_seconds: float = 7 * 24 * 3600.0
    preview_side: int = 512
    preview_seconds: float = 0.5
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    connections: int = 256


@dataclass(frozen=True)
class Listening:
    """Where and how the service listens.

    Attributes:
        host: an address; any but loopback needs an API key.
        http_port, grpc_port: 0 for any free one; None for not at all.
        keys: API keys; none on loopback.
        certificate, private_key: PEM files for TLS, both or neither.
        origins: of pages in browsers that may call (CORS); none by default.
    """

    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    certificate: Path | None = None
    private_key: Path | None = None
    origins: tuple[str, ...] = ()


def state_folder() -> Path:
    """Where jobs, results and ratings are kept: `IMPASTO_STATE`, or the user's data folder."""
    from platformdirs import user_data_path

    given = os.environ.get(STATE_VARIABLE)
    return Path(given) if given else user_data_path("impasto") / "serve"


class BusyError(StyleError):
    """A limit of load was reached; the same request succeeds later.

    Attributes:
        retry_after: seconds after which to try again.
    """

    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"
    retry_after: ClassVar[int] = 5


class TooLargeError(StyleError):
    """A request has more bytes than are taken."""

    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"


class NotFoundError(StyleError):
    """There is no such job, or it is another client's."""

    http_status = 404
    grpc_status = "NOT_FOUND"


class ConflictError(StyleError):
    """The state of a job does not allow this."""

    http_status = 409
    grpc_status = "FAILED_PRECONDITION"


class KeyRefusedError(StyleError):
    """The API key is missing or wrong."""

    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class ForbiddenError(StyleError):
    """A page of another site called, or a name that is not this service's."""

    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class ClosingError(StyleError):
    """The service is stopping and takes no more jobs."""

    http_status = 503
    grpc_status = "UNAVAILABLE"


class TooSlowError(StyleError):
    """A client took too long to send a request."""

    http_status = 408
    grpc_status = "DEADLINE_EXCEEDED"


def restored(told: Mapping[str, Any]) -> StyleError:
    """The error that `jobs.public_error` told; a StyleError where its kind is not known."""
    kinds = {kind.__name__: kind for kind in _below(StyleError)}
    kind = kinds.get(str(told.get("kind")), StyleError)
    return kind(str(told.get("error", "the service failed")), str(told.get("hint", "")))


def _below(kind: type[StyleError]) -> Iterator[type[StyleError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _below(each)
