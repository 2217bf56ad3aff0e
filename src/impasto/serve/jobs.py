"""What a job is to its client, and what becomes of it."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from impasto.engine.batcher import lane_of
from impasto.engine.engine import Demand
from impasto.errors import StyleError, without_flags

STATES = ("queued", "running", "done", "failed", "cancelled")
"""What a job can be; the last three are for good."""

ENDED = ("done", "failed", "cancelled")

KINDS = ("picture", "video", "training")
"""What a job makes: a painting, a painted video, or a style: a trained network."""

TRAINING = "training"
"""The method of a job that trains."""

VIDEO = "video"
"""The field of a video that is sent."""

MEDIA_TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".bmp": "image/bmp",
}


@dataclass(frozen=True)
class Job:
    """One request on its way.

    Attributes:
        id: sorts by the time at which it was accepted.
        client: whose it is.
        state: one of `STATES`.
        settings: by the names of the flags, as they were given.
        uploads: `(field, name, digest)` of each picture that was sent.
        method: that paints last.
        slow: whether it is an optimisation.
        seconds: that it was predicted to take.
        created, started, finished: seconds since 1970; the last two are None until then.
        key: the idempotency key, or empty.
        request_digest: tells whether two requests ask for the same.
        error: `kind`, `error`, `hint` and `status` of a job that failed or was stopped.
        result: `name`, `media_type`, `bytes`, `width`, `height`, `seconds` of the picture, when there is one.
        record: all that makes the picture again.
        attempts: how often it was begun.
    """

    id: str
    client: str
    state: str = "queued"
    settings: Mapping[str, Any] = field(default_factory=dict)
    uploads: tuple[tuple[str, str, str], ...] = ()
    method: str = ""
    slow: bool = False
    seconds: float = 1.0
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    key: str = ""
    request_digest: str = ""
    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    attempts: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in ENDED

    @property
    def demand(self) -> Demand:
        """What it will take, painted alone."""
        return Demand(slow=self.slow, seconds=self.seconds)

    @property
    def lane(self) -> str:
        """See `lane_of`."""
        return lane_of(self.demand)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.method == TRAINING:
            return TRAINING
        return VIDEO if any(name == VIDEO for name, _, _ in self.uploads) else "picture"

    def public(self) -> dict[str, Any]:
        """What its client is shown, as plain values."""
        names = ("id", "kind", "state", "method", "created", "started", "finished", "settings", "error", "result")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Painted:
    """A finished picture, video or network as a file.

    Attributes:
        data: the file.
        name: for people who save it.
        media_type: such as "image/png".
        record: all that makes it again; empty for a network.
        width, height: in pixels; 0 for a network.
        seconds: of computing.
        poster: a small JPEG that stands for what is no picture.
    """

    data: bytes
    name: str
    media_type: str
    record: Mapping[str, Any]
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    poster: bytes = b""

    def result(self) -> dict[str, Any]:
        """What is told of it, as plain values."""
        told = {name: getattr(self, name) for name in ("name", "media_type", "width", "height")}
        return {**told, "bytes": len(self.data), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Page:
    """Some jobs, the newest first, and the id to go on from, or None at the end."""

    jobs: tuple[Job, ...]
    following: str | None


def new_id() -> str:
    """An id that nobody can guess, and that sorts by time."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


_FOLDERS = re.compile(r"(?<![\w.])(?!/v1/(?:jobs|styles|methods)\b)(?:[A-Za-z]:)?(?:[/\\][\w.+@%~-]+)+[/\\]")


_NETWORK = re.compile(r"(?:[^\"]*[/\\])?([0-9a-f]{32})\.safetensors")


def without_places(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the styles that were trained here by their ids, not by where their files are on this machine."""
    found: dict[str, Any] = json.loads(_NETWORK.sub(r"trained:\1", json.dumps(record)))
    return found


_LIMITS = re.compile(
    r"(?:, or )?(?:if you trust it, )?allow more(?::| with) --max-(?:pixels|memory)(?: [\w.]+)?"
    r"|--max-memory [\w.]+ or |use --max-memory [\w.]+$"
)
"""What only who runs the service can do."""


def public_error(error: BaseException) -> dict[str, Any]:
    """An error for a client: kind, message, hint and HTTP status, in words without flags, folders or internals."""
    if not isinstance(error, StyleError):
        told, hint = f"a bug in impasto: {type(error).__name__}", "please report it with the request id"
        return {"kind": StyleError.__name__, "error": told, "hint": hint, "status": StyleError.http_status}
    allowed = _LIMITS.sub("", error.hint) or ("use a smaller picture" if error.hint else "")
    message, hint = (_FOLDERS.sub("", without_flags(text)) for text in (error.message, allowed))
    return {"kind": type(error).__name__, "error": message, "hint": hint, "status": error.http_status}
