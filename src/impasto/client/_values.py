"""What a client gets: jobs, events, pictures, and what there is to paint with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.contract import Progress
from impasto.errors import StyleError
from impasto.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENDED = ("done", "failed", "cancelled")


class UnreachableError(StyleError):
    """The service does not answer, or not as one of ours."""


@dataclass(frozen=True)
class ResultInfo:
    """What is known of a finished picture.

    Attributes:
        name: for people who save it.
        media_type: such as "image/png".
        bytes: of the file.
        width, height: in pixels.
        seconds: computing time.
    """

    name: str
    media_type: str
    bytes: int
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """A job of the service.

    Attributes:
        id: what finds it again.
        state: "queued", "running", "done", "failed" or "cancelled".
        method: that paints last.
        created, started, finished: seconds since 1970; the last two are None until then.
        settings: what was asked for.
        error: what went wrong in one that failed or was stopped.
        result: what is known of its picture, when there is one; `Client.result` gives it.
    """

    id: str
    state: str
    method: str
    created: float
    started: float | None = None
    finished: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    error: StyleError | None = None
    result: ResultInfo | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in ENDED


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job.

    Attributes:
        number: counts up from 1 within the job; what `Client.watch` takes to go on from.
        kind: "state", "progress", "preview", or, last of all, "done", "failed" or "cancelled".
        job: of "state" and of the last event.
        progress: of "progress".
        preview: of "preview", a small JPEG file.
    """

    number: int
    kind: str
    job: Job | None = None
    progress: Progress | None = None
    preview: bytes | None = None


@dataclass(frozen=True)
class Painting:
    """A finished picture as a file; its metadata says how it was made.

    Attributes:
        data: the file.
        name: for people who save it.
        media_type: such as "image/png".
    """

    data: bytes = field(repr=False)
    name: str
    media_type: str

    @property
    def image(self) -> Any:
        """The picture as a PIL image."""
        from impasto import images

        return images.to_pil(images.read(self.data))

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all.

        Args:
            path: a file; or a folder, in which it gets its own name.
        """
        target = Path(path)
        if target.is_dir():
            target /= self.name
        write_whole(target, self.data)
        return target


@dataclass(frozen=True, eq=False)
class Frame:
    """A painted frame.

    Attributes:
        number: of the frame that was sent, from 0.
        pixels: `(H, W, 3)`, 8 bits, RGB.
    """

    number: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Page:
    """Some jobs, the newest first, and what `before` takes for the next page; None at the end."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True)
class Style:
    """A named style.

    Attributes:
        id: what `style` takes.
        title, artist, date, licence: of the painting.
        source: "pack" for one that a network was trained on, else the museum.
        method: what paints it where none is asked for.
    """

    id: str
    title: str
    artist: str
    date: str
    licence: str
    source: str
    method: str


@dataclass(frozen=True)
class Method:
    """A method, and the JSON schema of its settings."""

    name: str
    summary: str
    paper: str
    kind: str
    honours: tuple[str, ...]
    trained: bool
    settings: Mapping[str, Any]
