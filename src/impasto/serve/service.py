"""The service behind HTTP and gRPC: takes jobs, paints them in two lanes, and tells what becomes of them.

All methods may be called from any thread; none blocks but for reading and checking what was sent. A client sees its own
jobs alone.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from impasto import images, settings
from impasto.contract import Progress
from impasto.engine.batcher import Batcher, BatchSettings, Statistics
from impasto.engine.engine import Demand, Engine
from impasto.engine.request import Result, Task
from impasto.errors import AssetError, Cancelled, StyleError
from impasto.methods import registry
from impasto.models import catalog
from impasto.serve.access import LOCAL
from impasto.serve.feed import Event, Feed
from impasto.serve.fields import (
    Order,
    OrderReader,
    Upload,
    Values,
    clean_name,
    file_format,
    plain_settings,
    request_digest,
)
from impasto.serve.jobs import MEDIA_TYPES, Job, Page, Painted, new_id, public_error
from impasto.serve.settings import BusyError, ClosingError, ConflictError, NotFoundError, ServeSettings

if TYPE_CHECKING:
    from torch import Tensor

LOG = logging.getLogger("impasto.serve")


@dataclass
class _Live:
    """A job while it waits and runs, and for a while after."""

    job: Job
    uploads: Sequence[Upload]
    order: Order | None
    keep: bool
    feed: Feed = field(default_factory=Feed)
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[Result] | None = None
    painted: Painted | None = None
    previewed: float = 0.0


@dataclass(frozen=True)
class Counts:
    """What has become of jobs since the start.

    Attributes:
        open: jobs by state and lane.
        ended: number and painting seconds by state and method.
        lanes: what waits and was painted together.
    """

    open: Mapping[tuple[str, str], int]
    ended: Mapping[tuple[str, str], tuple[int, float]]
    lanes: Statistics


class Service:
    """Takes jobs and paints them.

    Args:
        engine: what paints.
        limits: all limits.
    """

    def __init__(self, engine: Engine, limits: ServeSettings | None = None) -> None:
        self.engine = engine
        self.limits = limits or ServeSettings()
        self._lock = threading.RLock()
        self._live: dict[str, _Live] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._batcher = Batcher(
            engine,
            BatchSettings(
                max_delay=self.limits.max_delay,
                max_batch=self.limits.max_batch,
                quick_workers=self.limits.quick_workers,
                slow_workers=self.limits.slow_workers,
                max_queue=self.limits.queue_length,
            ),
        )
        self._reader = OrderReader(self.limits, engine.library, self.decode)
        self._closing = False
        self._totals: dict[tuple[str, str], tuple[int, float]] = {}
        self._ended = threading.Condition(self._lock)

    def start(self) -> None:
        """Take up what an earlier process left."""

    @property
    def ready(self) -> bool:
        """Whether jobs are taken."""
        return not self._closing

    def decode(self, upload: Upload) -> images.Picture:
        """The picture in a file that was sent.

        Raises:
            InputError: it is not one, damaged, or too large.
        """
        from pathlib import Path

        name = clean_name(upload.name)
        picture = images.read(images.BufferedPipe(upload.data, name), max_pixels=self.limits.max_pixels, compact=True)
        return replace(picture, origin=replace(picture.origin, path=Path(name)))

    def order(self, uploads: Sequence[Upload], given: Values) -> Order:
        """What a request asks for, without taking it as a job. Raises InputError."""
        return self._reader.read(uploads, plain_settings(given))

    def submit(
        self,
        uploads: Sequence[Upload],
        given: Values,
        *,
        client: str = LOCAL,
        idempotency_key: str | None = None,
        keep: bool = True,
    ) -> Job:
        """Check a request and accept it as a job.

        Args:
            uploads: the pictures that were sent.
            given: settings by the names of the flags, as text or as JSON has them; see `fields.OWN` and `methods`.
            client: whose it is.
            idempotency_key: a second request of that client with this key gets the job of the first.
            keep: whether it is to outlive this process, and to be listed; one whose client waits for it need not.

        Raises:
            InputError: something cannot be used.
            BusyError: too many jobs wait, or this client has too many.
            ConflictError: the key was used for another request.
            ClosingError: the service is stopping.
        """
        values = plain_settings(given)
        digest = request_digest(uploads, values)
        with self._lock:
            earlier = self._earlier(client, idempotency_key, digest)
            if earlier is not None:
                return earlier
            self._check_room(client)
        order = self._reader.read(uploads, values)
        job = Job(
            id=new_id(),
            client=client,
            settings=values,
            uploads=tuple((upload.field, clean_name(upload.name), upload.digest) for upload in uploads),
            method=order.method,
            slow=order.slow,
            created=time.time(),
            key=idempotency_key or "",
            request_digest=digest,
        )
        with self._lock:
            earlier = self._earlier(client, idempotency_key, digest)
            if earlier is not None:
                return earlier
            self._check_room(client)
            live = self._live[job.id] = _Live(job, tuple(uploads), order, keep)
            if idempotency_key:
                self._keys[client, idempotency_key] = job.id
        try:
            self._begin(live)
        except StyleError:
            self._drop(live)
            raise
        return job

    def _drop(self, live: _Live) -> None:
        """Forget a job that was not taken after all."""
        with self._lock:
            self._live.pop(live.job.id, None)
            self._keys.pop((live.job.client, live.job.key), None)

    def _earlier(self, client: str, key: str | None, digest: str) -> Job | None:
        found = self._keys.get((client, key)) if key else None
        if found is None:
            return None
        job = self._live[found].job
        if job.request_digest != digest:
            raise ConflictError("this idempotency key was used for another request", "use a new key")
        return job

    def _check_room(self, client: str) -> None:
        if self._closing:
            raise ClosingError("the service is stopping", "try again in a minute")
        open_jobs = [live.job for live in self._live.values() if not live.job.ended]
        if sum(job.state == "queued" for job in open_jobs) >= self.limits.queue_length:
            raise BusyError("too many jobs are waiting", f"try again in {BusyError.retry_after} seconds")
        if sum(job.client == client for job in open_jobs) >= self.limits.jobs_per_client:
            hint = "wait until one is done, or cancel one"
            raise BusyError(f"{self.limits.jobs_per_client} jobs of yours are not done", hint)

    def _begin(self, live: _Live) -> None:
        """Hand a job to the lanes. Raises as `Batcher.submit`."""
        live.feed.publish("state", live.job.public())
        client, report, order = live.job.client, partial(self._progress, live), live.order
        if order is None:
            read = partial(self._read, live)
            future = self._batcher.submit_later(read, Demand(slow=live.job.slow), client=client, on_progress=report)
        else:
            future = self._batcher.submit(order.task, client=client, on_progress=report)
        live.order, live.future = None, future
        future.add_done_callback(partial(self._finish, live))

    def _read(self, live: _Live) -> Task:
        """What is to be painted, when its turn has come."""
        return self._reader.read(live.uploads, live.job.settings).task

    def _progress(self, live: _Live, progress: Progress) -> None:
        """Tell what a job reports; stop it where it is to be stopped."""
        if live.stop.is_set():
            raise Cancelled("cancelled", "")
        if live.job.started is None:
            self._change(live, state="running", started=time.time(), attempts=live.job.attempts + 1)
            live.feed.publish("state", live.job.public())
        if time.time() - (live.job.started or 0) > self.limits.job_seconds:
            limit = f"{self.limits.job_seconds:g}"
            raise Cancelled(f"stopped after {limit} seconds, the most that a job may take", "use a smaller size")
        live.feed.publish("progress", _told(progress))
        if not (live.job.slow and live.feed.watched and progress.preview is not None):
            return
        if time.monotonic() - live.previewed > self.limits.preview_seconds:
            live.previewed = time.monotonic()
            data, image = small_jpeg(progress.preview, self.limits.preview_side)
            live.feed.publish("preview", data, image)

    def _finish(self, live: _Live, future: Future[Result]) -> None:
        """Keep what a job came to."""
        try:
            self._store_result(live, future.result())
            self._end(live, "done")
        except (Cancelled, CancelledError) as error:
            self._stopped(live, error)
        except Exception as error:
            if not isinstance(error, StyleError):
                LOG.exception("job %s failed", live.job.id)
            self._end(live, "failed", public_error(error))

    def _stopped(self, live: _Live, error: BaseException) -> None:
        told = public_error(error) if isinstance(error, StyleError) else public_error(Cancelled("cancelled"))
        best = getattr(error, "result", None)
        if best is not None:
            told["hint"] = told["hint"] or "the best picture so far is the result"
            self._store_result(live, best)
        self._end(live, "cancelled", told)

    def _store_result(self, live: _Live, result: Result) -> None:
        ending, quality = file_format(live.job.settings)
        stream = io.BytesIO()
        result.save(stream, format=ending, jpeg_quality=quality)
        live.painted = Painted(stream.getvalue(), _result_name(result, ending), MEDIA_TYPES[ending], result.record)
        told = {
            "name": live.painted.name,
            "media_type": live.painted.media_type,
            "bytes": len(live.painted.data),
            "width": result.picture.width,
            "height": result.picture.height,
            "seconds": round(result.seconds, 3),
        }
        self._change(live, result=told, record=result.record)

    def _change(self, live: _Live, **changes: Any) -> None:
        with self._lock:
            live.job = replace(live.job, **changes)

    def _end(self, live: _Live, state: str, error: Mapping[str, Any] | None = None) -> None:
        with self._ended:
            if live.job.ended:
                return
            self._change(live, state=state, finished=time.time(), error=error)
            live.uploads, live.order = (), None
            self._count(live.job)
            self._ended.notify_all()
        live.feed.publish(state, live.job.public())

    def _count(self, job: Job) -> None:
        number, seconds = self._totals.get((job.state, job.method), (0, 0.0))
        took = job.result["seconds"] if job.result else 0.0
        self._totals[job.state, job.method] = number + 1, seconds + took

    def counts(self) -> Counts:
        """How many jobs there are and were."""
        with self._lock:
            jobs = [live.job for live in self._live.values() if not live.job.ended]
            waiting = Counter((job.state, "slow" if job.slow else "quick") for job in jobs)
            return Counts(dict(waiting), dict(self._totals), self._batcher.statistics())

    def _of(self, job_id: str, client: str) -> _Live:
        live = self._live.get(job_id)
        if live is None or live.job.client != client:
            raise NotFoundError("there is no such job", "GET /v1/jobs lists yours")
        return live

    def job(self, job_id: str, *, client: str = LOCAL) -> Job:
        """One job. Raises NotFoundError."""
        return self._of(job_id, client).job

    def jobs(
        self, *, client: str = LOCAL, state: str | None = None, before: str | None = None, limit: int = 20
    ) -> Page:
        """The client's jobs, the newest first.

        Args:
            client: whose.
            state: only those in this state.
            before: the `following` of the page before.
            limit: jobs on a page.
        """
        with self._lock:
            own = [live.job for live in self._live.values() if live.keep and live.job.client == client]
        found = sorted((job for job in own if state in (None, job.state)), key=lambda job: job.id, reverse=True)
        rest = [job for job in found if before is None or job.id < before]
        return Page(tuple(rest[:limit]), rest[limit - 1].id if len(rest) > limit else None)

    def watch(self, job_id: str, *, client: str = LOCAL, after: int = 0) -> Iterator[Event]:
        """Events of a job after a number, as they come, to its end; for threads. Raises NotFoundError at once."""
        return self._of(job_id, client).feed.watch(after)

    def watch_async(self, job_id: str, *, client: str = LOCAL, after: int = 0) -> AsyncIterator[Event]:
        """The same for asyncio."""
        return self._of(job_id, client).feed.watch_async(after)

    def cancel(self, job_id: str, *, client: str = LOCAL) -> Job:
        """Stop a job at its next report; what it has come to stays as its result. Raises NotFoundError."""
        live = self._of(job_id, client)
        live.stop.set()
        if live.future is not None and live.future.cancel():
            self._stopped(live, CancelledError())
        return live.job

    def result(self, job_id: str, *, client: str = LOCAL) -> Painted:
        """The picture of a job.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has no picture, or not yet.
        """
        live = self._of(job_id, client)
        if live.painted is None:
            ended = live.job.ended
            hint = "see its error" if ended else "wait for the event done, or ask again"
            raise ConflictError(f"the job is {live.job.state} and has no picture{'' if ended else ' yet'}", hint)
        return live.painted

    def forget(self, job_id: str) -> None:
        """Drop a job that is not kept, once its client has its picture."""
        with self._lock:
            live = self._live.get(job_id)
            if live is not None and not live.keep:
                del self._live[job_id]

    @cached_property
    def _pack(self) -> dict[str, catalog.TrainedStyle]:
        return {style.id: style for style in catalog.pack()}

    def styles(self, words: str = "") -> list[dict[str, Any]]:
        """Named styles that match all words: those of the pack, then the paintings of the library.

        Without the library, which may not have been fetched, the pack alone.
        """
        try:
            found, paintings = self.engine.library.search(words), self.engine.library.paintings()
        except AssetError:
            found, paintings = [], ()
        known, ids = {painting.id: painting for painting in paintings}, {painting.id for painting in found}
        rows = []
        for style in self._pack.values():
            if not words or style.painting in ids or words.lower() in (style.name, style.id):
                own = known.get(style.painting)
                row = _style(style.id, style.name, own.artist if own else "", own.date if own else "", style.licence)
                rows.append({**row, "source": "pack", "method": "feedforward"})
        for one in found:
            row = _style(one.id, one.title, one.artist, one.date, one.licence)
            rows.append({**row, "source": one.source, "method": "auto"})
        return rows

    def thumbnail(self, style_id: str, *, side: int = 256) -> bytes:
        """A small JPEG of a named style. Raises NotFoundError."""
        if style_id in self._pack and self._pack[style_id].thumbnail:
            picture = images.read(self._pack[style_id].thumbnail)
        else:
            picture = self.engine.library.read(self._painting(style_id))
        return _jpeg(picture, side)

    def _painting(self, style_id: str) -> Any:
        with suppress(AssetError):
            for painting in self.engine.library.paintings():
                if painting.id == style_id:
                    return painting
        raise NotFoundError("there is no such style", "GET /v1/styles lists them")

    def methods(self) -> list[dict[str, Any]]:
        """All methods, with the JSON schema of each one's settings."""
        return [
            {
                "name": row.name,
                "summary": row.summary,
                "paper": row.paper,
                "kind": row.kind,
                "lane": "slow" if row.kind == "objective" else "quick",
                "honours": sorted(row.honours),
                "trained": row.trained,
                "settings": settings.json_schema(row.load_knobs()),
            }
            for row in registry.methods().values()
        ]

    def close(self, drain_seconds: float = 30.0) -> None:
        """Take no more jobs, give those that run time to end, then stop the rest."""
        with self._ended:
            self._closing = True
            until = time.monotonic() + drain_seconds
            while any(not live.job.ended for live in self._live.values()):
                left = until - time.monotonic()
                if left <= 0 or not self._ended.wait(left):
                    break
            rest = [live for live in self._live.values() if not live.job.ended]
        for live in rest:
            live.stop.set()
        self._batcher.close(0)


def _style(style_id: str, title: str, artist: str, date: str, licence: str) -> dict[str, Any]:
    return {"id": style_id, "title": title, "artist": artist, "date": date, "licence": licence}


def _told(progress: Progress) -> dict[str, Any]:
    return {
        "stage": progress.stage,
        "step": progress.step,
        "total": progress.total,
        "unit": progress.unit,
        "share": round(progress.share, 4),
        "losses": {name: float(value) for name, value in progress.losses.items()},
    }


def small_jpeg(preview: Tensor, side: int) -> tuple[dict[str, Any], bytes]:
    """A preview `(B, 3, H, W)`: its size, and its first picture as a small JPEG."""
    picture = images.Picture(images.from_tensor(preview[:1].clamp(0, 1)))
    return {"width": picture.width, "height": picture.height}, _jpeg(picture, side)


def _jpeg(picture: images.Picture, side: int) -> bytes:
    if max(picture.width, picture.height) > side:
        width, height = images.fit(picture.width, picture.height, side)
        picture = picture.resized(height, width)
    stream = io.BytesIO()
    plain = images.Picture(images.as_float(picture.pixels))  # without its metadata
    images.write(plain, stream, format="JPEG", quality=85)
    return stream.getvalue()


def _result_name(result: Result, ending: str) -> str:
    record = result.record
    stem = str(record["content"]["name"]).rpartition(".")[0] or str(record["content"]["name"]) or "picture"
    label = record["styles"][0]["label"] if record["styles"] else "painted"
    return clean_name(f"{stem}-{label}{ending}".replace("/", "-"))
