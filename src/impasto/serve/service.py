"""The service behind HTTP and gRPC: takes jobs, paints them in lanes by what they cost, and tells what becomes of them.

All methods may be called from any thread; none blocks but for reading and checking what was sent, and for the disk. A
client sees its own jobs alone.
"""

from __future__ import annotations

import io
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from impasto import images
from impasto.contract import OnProgress, Progress
from impasto.engine.batcher import (
    LONG,
    LONG_SECONDS,
    QUICK,
    SLOW,
    Batcher,
    BatchSettings,
    Painter,
    Statistics,
    lane_of,
    yield_processor,
)
from impasto.engine.cache import Cache
from impasto.engine.engine import Demand, Engine
from impasto.engine.plan import duration
from impasto.engine.request import Result, Task
from impasto.errors import Cancelled, InputError, ResourceError, StyleError
from impasto.serve import listing
from impasto.serve.access import LOCAL
from impasto.serve.decode import Decoder, LocalDecoder
from impasto.serve.feed import Event, Feed
from impasto.serve.fields import (
    OWN_STYLE,
    Order,
    OrderReader,
    Upload,
    Values,
    clean_name,
    file_format,
    no_trained,
    plain_settings,
    request_digest,
)
from impasto.serve.films import FilmOrder, FilmReader
from impasto.serve.jobs import MEDIA_TYPES, TRAINING, VIDEO, Job, Page, Painted, new_id, public_error, without_places
from impasto.serve.settings import AGAIN, BusyError, ClosingError, ConflictError, NotFoundError, ServeSettings
from impasto.serve.store import JobStore, Rating
from impasto.serve.tracing import JobSpan
from impasto.serve.trainings import TrainingOrder, Trainings

LOG = logging.getLogger("impasto.serve")

_LATER = f"try again in {BusyError.retry_after} seconds"
_SWEEP_SECONDS = 60.0
_MEMORY = {SLOW: 0.3, LONG: 0.55}  # of what is free, for a lane: the rest is for quick pictures and for others
_HOPELESS = 4.0  # times the time that a job may take: a prediction made on a busy machine is far too long
_LINGER_SECONDS = 60.0  # for which a job that has ended is held in memory, events and all
_NO_LIMIT = 1 << 30  # of the lanes' queues: the service counts jobs itself
_KEY_LENGTH = 200
_NOTE_LENGTH = 1000
_TRAININGS = 4  # that run or wait, of all clients


@dataclass
class _Live:
    """A job while it waits and runs, and for a while after.

    Attributes:
        job: as it is now.
        keep: whether it is in the store.
        order: until it is painted; None where it is to be read again when its turn comes.
        demand: what it will take.
        weight: bytes of decoded pictures that it holds until it has ended.
        feed: its events.
        stop: set to stop it.
        cancelled: whether its client stopped it.
        parked: whether it is left to the next start.
        future: of the lanes.
        painted: the picture of one that is not kept.
        previewed: when it last gave a preview.
        span: for tracing.
    """

    job: Job
    keep: bool
    order: Order | None = None
    demand: Demand = field(default_factory=lambda: Demand(slow=False))
    weight: int = 0
    feed: Feed = field(default_factory=Feed)
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    parked: bool = False
    future: Future[Any] | None = None
    painted: Painted | None = None
    previewed: float = 0.0
    span: JobSpan = field(init=False)

    def __post_init__(self) -> None:
        self.span = JobSpan(self.job)

    @property
    def open(self) -> bool:
        """Whether something is still to become of it here."""
        return not (self.job.ended or self.parked)

    @property
    def left(self) -> float:
        """Seconds after which it is predicted to end; infinite while it waits."""
        if self.job.started is None:
            return math.inf
        return self.demand.seconds - (time.time() - self.job.started)

    def halt(self) -> None:
        """Stop it: at once while it waits, else at its next report."""
        self.stop.set()
        future = self.future
        if future is not None:
            future.cancel()  # of one that waits, its callback ends it here


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
        store: where jobs outlive the process; by default they do not. Who made it closes it.
        decoder: decodes what is sent; in this process by default. It is closed with the service.
        elsewhere: what paints instead of the engine, and how pictures are handed to it.
    """

    def __init__(
        self,
        engine: Engine,
        limits: ServeSettings | None = None,
        store: JobStore | None = None,
        decoder: Decoder | None = None,
        *,
        elsewhere: tuple[Painter, BatchSettings] | None = None,
    ) -> None:
        self.engine = engine
        self.limits = limits or ServeSettings()
        self.store = store or JobStore.temporary()
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._live: dict[str, _Live] = {}
        self._totals: dict[tuple[str, str], tuple[int, float]] = {}
        self._painter, sharing = elsewhere or (engine, _batching(self.limits))
        self._batcher = Batcher(self._painter, sharing)
        self._sharing = None if elsewhere else sharing
        self._decoder: Decoder = decoder or LocalDecoder()
        self._decoded: Cache[images.Picture] = Cache(self.limits.cached_bytes)
        self._reader = OrderReader(self.limits, engine.library, self.decode)
        self._films = FilmReader(self.limits, self._reader)
        self._trainings = Trainings(self.limits, self._reader)
        self._longer = {
            kind: ThreadPoolExecutor(1, f"impasto-{kind}", initializer=yield_processor) for kind in (VIDEO, TRAINING)
        }
        self._closing = False
        self._sweeping = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="impasto-sweeper", daemon=True)

    def start(self) -> None:
        """Take up the jobs that an earlier process left, and begin to let old ones go."""
        for job in self.store.open_jobs():
            waiting = replace(job, state="queued", started=None)
            live = self._live[job.id] = _Live(waiting, keep=True, demand=job.demand)
            if job.attempts < self.limits.attempts:
                self._begin(live)
                continue
            hint = "the picture may be too large for this machine: use a smaller size"
            self._end(live, "failed", public_error(ResourceError(f"it was broken off {job.attempts} times", hint)))
        self._sweeper.start()

    def close(self, drain_seconds: float = 30.0) -> None:
        """Take no more jobs, give those that run time to end, then stop the rest within one step or one tile.

        Jobs that are kept and have not ended go on after the next start; their watchers are let go. Those that wait, or
        would not end in that time, are not waited for.
        """
        with self._ended:
            if self._closing:
                return
            self._closing = True
            until = time.monotonic() + drain_seconds
            late = [live for live in self._live.values() if live.open and live.keep and live.left > drain_seconds]
        for live in late:
            live.halt()
        with self._ended:
            while any(live.open for live in self._live.values()):
                left = until - time.monotonic()
                if left <= 0 or not self._ended.wait(left):
                    break
            rest = [live for live in self._live.values() if live.open]
        for live in rest:
            live.halt()
        self._batcher.close(0)
        for lane in self._longer.values():
            lane.shutdown(cancel_futures=True)
        for live in rest:
            live.feed.close()
        self._sweeping.set()
        self._decoder.close()

    @property
    def ready(self) -> bool:
        """Whether jobs are taken, and the database answers."""
        if self._closing:
            return False
        try:
            self.store.check()
        except Exception:
            LOG.exception("the database does not answer")
            return False
        return True

    # --- taking jobs

    def decode(self, upload: Upload) -> images.Picture:
        """The picture in a file that was sent.

        Raises:
            InputError: it is not one, damaged, or too large.
        """
        name, most = clean_name(upload.name), self.limits.max_pixels

        def decoded() -> tuple[images.Picture, int]:
            picture = self._decoder.decode(upload.data, name, max_pixels=most)
            return picture, picture.pixels.nbytes

        return self._decoded.get((upload.digest, name), decoded)

    def order(self, uploads: Sequence[Upload], given: Values, *, client: str = LOCAL) -> Order:
        """What a request asks for a picture, without taking it as a job. Raises InputError."""
        return self._reader.read(uploads, plain_settings(given), trained=partial(self._trained, client))

    def preview(self, upload: Upload, side: int) -> bytes:
        """A picture of any format, or the first frame of a video, as a JPEG. Raises InputError, TooLargeError."""
        if upload.field == VIDEO:
            return self._films.first_frame(upload, side)
        return listing.jpeg(self.decode(upload), side)

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
            keep: whether it is to outlive this process, and to be listed; one whose client waits for it need not. One
                with a key is kept.

        Raises:
            InputError: something cannot be used, or would take longer than a job may.
            BusyError: too many jobs wait, or this client has too many.
            ConflictError: the key was used for another request.
            ClosingError: the service is stopping.
            ResourceError: there is no room on the disk, or the picture needs too much memory.
        """
        values = plain_settings(given)
        if any(upload.field == VIDEO for upload in uploads) and not keep:
            raise InputError("a video takes too long to wait for", "hand it in as a job: POST /v1/jobs")

        def read() -> tuple[Order | FilmOrder, Demand]:
            if any(upload.field == VIDEO for upload in uploads):
                film = self._films.read(uploads, values, trained=partial(self._trained, client))
                return film, film.demand
            order, demand = self._weighed(self.order(uploads, values, client=client))
            self._check_time(demand, order)
            return order, demand

        return self._take(uploads, values, read, client=client, idempotency_key=idempotency_key, keep=keep)

    def train(
        self, uploads: Sequence[Upload], given: Values, *, client: str = LOCAL, idempotency_key: str | None = None
    ) -> Job:
        """Check a request for a training, and accept it as a job, whose result is a style of the client.

        Args:
            uploads, given: the painting, as a file or a word, its name, and minutes; see `trainings`.
            client, idempotency_key: as for `submit`.

        Raises:
            As `submit`; BusyError also while a training of the client has not ended.
        """
        self._trainings.check()
        values = self._trainings.plain_settings(given)
        with self._lock:
            open_jobs = [live.job for live in self._live.values() if live.open and live.job.kind == TRAINING]
        key = _checked_key(idempotency_key)
        again = key and self.store.by_key(client, key) is not None
        if not again and any(job.client == client for job in open_jobs):
            raise BusyError("a training of yours is not done", "wait until it is, or cancel it")
        if not again and len(open_jobs) >= _TRAININGS:
            raise BusyError("too many trainings are waiting", "try again later")

        def read() -> tuple[TrainingOrder, Demand]:
            order = self._trainings.read(uploads, values)
            return order, order.demand

        return self._take(uploads, values, read, client=client, idempotency_key=idempotency_key, keep=True)

    def _take(
        self,
        uploads: Sequence[Upload],
        values: dict[str, Any],
        read: Callable[[], tuple[Order | FilmOrder | TrainingOrder, Demand]],
        *,
        client: str,
        idempotency_key: str | None,
        keep: bool,
    ) -> Job:
        """Accept what `read` finds to be in order and weighs, or give the job that the key stands for."""
        digest = request_digest(uploads, values)
        key = _checked_key(idempotency_key)
        if key and (earlier := self.store.by_key(client, key)) is not None:
            return self._same(earlier, digest)
        self._check_room(client)
        order, demand = read()
        job = Job(
            id=new_id(),
            client=client,
            settings=values,
            uploads=tuple((upload.field, clean_name(upload.name), upload.digest) for upload in uploads),
            method=order.method,
            slow=order.slow,
            seconds=demand.seconds,
            created=time.time(),
            key=key,
            request_digest=digest,
        )
        held = order if isinstance(order, Order) else None
        return self._accept(_Live(job, keep or bool(key), held, demand, order.bytes), uploads)

    @cached_property
    def _free(self) -> int:
        """Memory that was free at first, so that a job gets the same whatever else is painted when it comes."""
        return self.engine.free_memory()

    def _weighed(self, order: Order) -> tuple[Order, Demand]:
        """What an order takes. One that is not quick gets a share of the memory, which leaves room for all others."""
        if not order.slow:
            demand = self._painter.demand(order.task)
            if lane_of(demand) == QUICK:
                return order, demand
        if self._sharing is None or order.request.max_memory is not None:
            return order, self._painter.demand(order.task)
        with suppress(ResourceError):  # there is more for the long ones
            within = self._within(order, SLOW, self._sharing.slow_workers)
            demand = self._painter.demand(within.task)
            if lane_of(demand) != LONG:
                return within, demand
        within = self._within(order, LONG, self._sharing.long_workers)
        demand = self._painter.demand(within.task)
        return within, replace(demand, seconds=max(demand.seconds, LONG_SECONDS + 1))

    def _within(self, order: Order, lane: str, workers: int) -> Order:
        """The order within the memory of a lane's worker."""
        limit = int(_MEMORY[lane] * self._free / workers)
        return replace(order, request=replace(order.request, max_memory=limit))

    def _check_time(self, demand: Demand, order: Order) -> None:
        """Refuse what would plainly be stopped before it had ended. Raises InputError."""
        most = self.limits.job_seconds
        if demand.seconds <= _HOPELESS * most:
            return
        height, width = order.request.sides(order.content.width, order.content.height)
        size = int(max(height, width) * math.sqrt(most / demand.seconds) * 0.9)
        told = f"{width}x{height} px by {order.method} would take about {duration(demand.seconds)}"
        hint = f"use a smaller size, such as {size}, or a lower quality"
        raise InputError(f"{told}; a job may take {duration(most)}", hint)

    def _accept(self, live: _Live, uploads: Sequence[Upload]) -> Job:
        """Count a job in, keep it, and hand it to the lanes; all of that, or nothing."""
        job = live.job
        self._count_in(live)
        kept = False
        try:
            if live.keep:
                first = self.store.add(job, uploads)
                if first is not job:
                    self._count_out(live)
                    return self._same(first, job.request_digest)
                kept = True
            self._begin(live)
        except BaseException:
            self._count_out(live)
            if kept:
                self.store.delete(job)
            raise
        return job

    def _same(self, earlier: Job, digest: str) -> Job:
        """The earlier job as it is now. Raises ConflictError where it was asked for something else."""
        if earlier.request_digest != digest:
            raise ConflictError("this idempotency key was used for another request", "use a new key")
        live = self._live.get(earlier.id)
        return earlier if live is None else live.job

    def _count_in(self, live: _Live) -> None:
        with self._lock:
            self._check_room(live.job.client)
            held = sum(other.weight for other in self._live.values() if other.open)
            if held + live.weight > self.limits.held_bytes:
                if not live.keep:
                    raise BusyError("too many large pictures are waiting", _LATER)
                live.order, live.weight = None, 0
                live.demand = live.job.demand  # of a size class it is painted alone: it is read one at a time
            self._live[live.job.id] = live

    def _count_out(self, live: _Live) -> None:
        with self._lock:
            self._live.pop(live.job.id, None)

    def _check_room(self, client: str) -> None:
        """Raise BusyError or ClosingError where a client cannot have another job now."""
        if self._closing:
            raise ClosingError("the service is stopping", AGAIN)
        with self._lock:
            jobs = [live.job for live in self._live.values() if live.open]
        if sum(job.state == "queued" for job in jobs) >= self.limits.queue_length:
            raise BusyError("too many jobs are waiting", _LATER)
        if sum(job.client == client for job in jobs) >= self.limits.jobs_per_client:
            hint = "wait until one is done, or cancel one"
            raise BusyError(f"{self.limits.jobs_per_client} jobs of yours are not done", hint)

    # --- painting

    def _begin(self, live: _Live) -> None:
        """Hand a job to the lanes. Raises as `Batcher.submit_later`."""
        live.feed.publish("state", live.job.public())
        report = partial(self._progress, live)
        if live.job.kind in self._longer:
            future: Future[Any] = self._longer[live.job.kind].submit(self._make, live, report)
        else:
            read = partial(self._read, live)
            future = self._batcher.submit_later(read, live.demand, client=live.job.client, on_progress=report)
        live.future = future  # before `_finish` lets go of it
        future.add_done_callback(partial(self._finish, live))

    def _read(self, live: _Live) -> Task:
        """What is to be painted, when its turn has come."""
        order, live.order = live.order, None
        if order is None:
            job = live.job
            trained = partial(self._trained, job.client)
            order, _ = self._weighed(self._reader.read(self.store.read_uploads(job), job.settings, trained=trained))
        return order.task

    def _make(self, live: _Live, report: OnProgress) -> Painted:
        """Paint a video or train a style, going on where an earlier process was broken off."""
        job, folder = live.job, self.store.work(live.job)
        report(Progress("reading", 0, 0))  # it runs from here on, or was cancelled meanwhile
        uploads = self.store.read_uploads(job)
        if job.kind == TRAINING:
            order = self._trainings.read(uploads, job.settings)
            return self._trainings.train(self.engine, order, folder, report)
        film = self._films.read(uploads, job.settings, trained=partial(self._trained, job.client))
        return self._films.paint(self.engine, film, self.store.upload(film.video.digest), folder, report)

    def _trained(self, client: str, style: str) -> str:
        """What the engine takes for a style that the client has trained. Raises InputError."""
        found = next((job for job in self.store.trained(client) if f"{OWN_STYLE}{job.id}" == style), None)
        if found is None:
            return str(no_trained(style))
        return str(self.store.result(found))

    def _progress(self, live: _Live, progress: Progress) -> None:
        """Tell what a job reports; stop it where it is to be stopped."""
        if live.stop.is_set():
            raise Cancelled("cancelled", "")
        if live.job.started is None:
            self._change(live, state="running", started=time.time(), attempts=live.job.attempts + 1)
            if live.keep:
                self.store.update(live.job)
            live.span.started()
            live.feed.publish("state", live.job.public())
        longest = float("inf") if live.job.kind == TRAINING else self.limits.job_seconds  # which has its minutes
        if time.time() - (live.job.started or 0) > longest:
            limit = f"{self.limits.job_seconds:g}"
            raise Cancelled(f"stopped after {limit} seconds, the most that a job may take", "use a smaller size")
        live.feed.publish("progress", _told(progress))
        if not live.job.slow or progress.preview is None:
            return
        if live.job.kind == TRAINING:  # a sheet of several pictures, which is shown until the next one
            live.feed.publish("preview", *listing.preview(progress.preview, 2 * self.limits.preview_side))
        elif live.feed.watched and time.monotonic() - live.previewed > self.limits.preview_seconds:
            live.previewed = time.monotonic()
            live.feed.publish("preview", *listing.preview(progress.preview, self.limits.preview_side))

    def _finish(self, live: _Live, future: Future[Result | Painted]) -> None:
        """Keep what a job came to."""
        # it holds the job and its picture, which would be there until the garbage collector comes
        live.future = live.order = None
        # not raised here either: its traceback would hold this frame, and this frame the future that holds the error
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            try:
                self._keep_result(live, future.result())
            except Exception as failed:
                self._failed(live, failed)
            else:
                self._end(live, "done")
        elif isinstance(error, Cancelled | CancelledError):
            self._stopped(live, error)
        else:
            self._failed(live, error)

    def _failed(self, live: _Live, error: BaseException) -> None:
        if not isinstance(error, StyleError):
            LOG.error("job %s failed", live.job.id, exc_info=error)
        self._end(live, "failed", public_error(error))

    def _stopped(self, live: _Live, error: BaseException) -> None:
        if self._closing and live.keep and not live.cancelled:
            self._park(live)
            return
        why = error if isinstance(error, StyleError) else Cancelled("cancelled")
        if self._closing and not live.cancelled:  # its client did not ask for this, and may send it again
            why = ClosingError("the service is stopping", AGAIN)
        told = public_error(why)
        best = getattr(error, "result", None)
        try:
            if best is not None:
                told["hint"] = told["hint"] or "the best picture so far is the result"
                self._keep_result(live, best)
        except StyleError as failed:
            told = public_error(failed)
        self._end(live, "cancelled", told)

    def _park(self, live: _Live) -> None:
        """Leave a job to the next start, as if it had not been begun: it broke nothing off."""
        if live.job.started is not None:
            self._change(live, state="queued", started=None, attempts=live.job.attempts - 1)
            try:
                self.store.update(live.job)
            except Exception:  # the next start finds it open all the same
                LOG.exception("job %s could not be put back", live.job.id)
        with self._ended:
            live.parked = True
            self._ended.notify_all()
        live.feed.close()

    def _keep_result(self, live: _Live, result: Result | Painted) -> None:
        painted = result if isinstance(result, Painted) else _encoded(result, live.job.settings)
        if live.keep:
            self.store.write_result(live.job, painted.data, painted.poster)
        else:
            live.painted = painted
        self._change(live, result=painted.result(), record=painted.record)

    def _change(self, live: _Live, **changes: Any) -> None:
        with self._lock:
            live.job = replace(live.job, **changes)

    def _end(self, live: _Live, state: str, error: Mapping[str, Any] | None = None) -> None:
        with self._lock:
            if live.job.ended:
                return
            ended = replace(live.job, state=state, finished=time.time(), error=error)
        if live.keep:
            try:
                self.store.update(ended)
            except Exception:  # its clients are told all the same; the next start finds it open, and does it again
                LOG.exception("the end of job %s could not be kept", ended.id)
        with self._ended:
            live.job = ended
            number, seconds = self._totals.get((state, ended.method), (0, 0.0))
            took = ended.result["seconds"] if ended.result else 0.0
            self._totals[state, ended.method] = number + 1, seconds + took
            self._ended.notify_all()
        live.span.end(ended)
        live.feed.publish(state, ended.public())

    # --- what clients ask

    def _found(self, job_id: str, client: str) -> Job:
        live = self._live.get(job_id)
        job = self.store.get(job_id) if live is None else live.job
        if job is None or job.client != client:
            raise NotFoundError("there is no such job", "GET /v1/jobs lists yours")
        return job

    def job(self, job_id: str, *, client: str = LOCAL) -> Job:
        """One job. Raises NotFoundError."""
        return self._found(job_id, client)

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
        return self.store.page(client, state=state, before=before, limit=limit)

    def _feed(self, job_id: str, client: str) -> Feed:
        """The events of a job; of one that ended long ago the end alone."""
        job = self._found(job_id, client)
        live = self._live.get(job_id)
        if live is not None:
            return live.feed
        feed = Feed()
        feed.publish(job.state, job.public())
        return feed

    def watch(self, job_id: str, *, client: str = LOCAL, after: int = 0) -> Iterator[Event]:
        """Events of a job after a number, as they come, to its end; for threads. Raises NotFoundError at once."""
        return self._feed(job_id, client).watch(after)

    def watch_async(self, job_id: str, *, client: str = LOCAL, after: int = 0) -> AsyncIterator[Event]:
        """The same for asyncio."""
        return self._feed(job_id, client).watch_async(after)

    def cancel(self, job_id: str, *, client: str = LOCAL) -> Job:
        """Stop a job at its next report; what it has come to stays as its result. Raises NotFoundError."""
        job = self._found(job_id, client)
        live = self._live.get(job_id)
        if live is None or live.job.ended:
            return job
        live.cancelled = True
        live.halt()
        return live.job

    def remove(self, job_id: str, *, client: str = LOCAL) -> Job:
        """Forget a job that has ended, and its picture.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended.
        """
        job = self._found(job_id, client)
        if not job.ended:
            raise ConflictError(f"the job is {job.state}", "cancel it first")
        self.store.delete(job)
        with self._lock:
            self._live.pop(job_id, None)
        return job

    def result(self, job_id: str, *, client: str = LOCAL) -> Painted:
        """The picture of a job.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has no picture, or not yet.
        """
        job = self._found(job_id, client)
        live = self._live.get(job_id)
        if live is not None and live.painted is not None:
            return live.painted
        data = self.store.read_result(job) if job.ended and job.result else None
        if data is None or job.result is None:
            hint = "see its error" if job.ended else "wait for the event done, or ask again"
            raise ConflictError(f"the job is {job.state} and has no picture{'' if job.ended else ' yet'}", hint)
        return Painted(data, job.result["name"], job.result["media_type"], job.record or {})

    def forget(self, job_id: str) -> None:
        """Drop a job that is not kept, once its client has its picture."""
        with self._lock:
            live = self._live.get(job_id)
            if live is not None and not live.keep:
                del self._live[job_id]

    def rate(self, job_id: str, *, stars: int, note: str = "", client: str = LOCAL) -> Rating:
        """Keep what a client thinks of a result, from 1 to 5 stars; a second rating replaces the first.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has no picture.
            InputError: other stars, or a long note.
        """
        job = self._found(job_id, client)
        if not 1 <= stars <= 5:
            raise InputError(f"stars is {stars}", "it takes a whole number from 1 to 5")
        if len(note) > _NOTE_LENGTH or "\0" in note:
            raise InputError(f"the note has {len(note)} letters", f"it takes plain text of {_NOTE_LENGTH} at most")
        if not job.result or not job.record:
            raise ConflictError(f"the job is {job.state} and has no picture", "rate one that is done")
        styles = [*job.record["styles"], *(style for region in job.record["regions"] for style in region["styles"])]
        label = str(styles[0]["label"])[:200] if styles else ""
        rating = Rating(job_id, client, stars, note, job.record["method"], label, time.time())
        self.store.rate(rating)
        return rating

    def ratings(self, *, client: str = LOCAL) -> list[Rating]:
        """The client's ratings, the oldest first; they outlive their jobs."""
        return self.store.ratings(client)

    def styles(self, words: str = "", *, client: str = LOCAL) -> list[dict[str, Any]]:
        """Named styles that match all words, those that the client has trained first; see `listing.styles`."""
        own = [listing.trained_style(f"{OWN_STYLE}{job.id}", job.result) for job in self.store.trained(client)]
        wanted = words.lower().split()
        found = [row for row in own if all(word in row["title"] for word in wanted)]
        return [*found, *listing.styles(self.engine.library, words)]

    def thumbnail(self, style_id: str, *, side: int = 256, client: str = LOCAL) -> bytes:
        """A small JPEG of a named style. Raises NotFoundError."""
        network = None
        if style_id.startswith(OWN_STYLE):
            with suppress(InputError):
                network = Path(self._trained(client, style_id))
        return listing.thumbnail(self.engine.library, style_id, side=side, network=network)

    def small(self, job_id: str, side: int, *, client: str = LOCAL) -> bytes:
        """A small JPEG of a result. Raises NotFoundError, ConflictError."""
        job = self._found(job_id, client)
        poster = None if job.kind == "picture" else self.store.read_poster(job)
        if poster is None and job.kind != "picture":
            raise ConflictError(f"the job is {job.state} and has no picture", "wait for the event done, or ask again")
        if poster is not None:
            return listing.jpeg(images.read(images.BufferedPipe(poster, "poster.jpg")), side)
        painted = self.result(job_id, client=client)
        return listing.jpeg(images.read(images.BufferedPipe(painted.data, painted.name)), side)

    def about_training(self) -> dict[str, Any]:
        """Whether styles are trained here, and for how long."""
        return self._trainings.about()

    def methods(self) -> list[dict[str, Any]]:
        """All methods, with the JSON schema of each one's settings."""
        return listing.methods()

    def counts(self) -> Counts:
        """How many jobs there are and were."""
        with self._lock:
            jobs = [live.job for live in self._live.values() if live.open]
            waiting = Counter((job.state, job.lane) for job in jobs)
            return Counts(dict(waiting), dict(self._totals), self._batcher.statistics())

    # --- letting go

    def _sweep(self) -> None:
        """Now and then forget what is old."""
        while not self._sweeping.wait(_SWEEP_SECONDS):
            self.sweep()

    def sweep(self) -> None:
        """Forget jobs that ended long ago: those that are kept after `keep_seconds`, others after a minute."""
        now = time.time()
        try:
            self.store.expire(now - self.limits.keep_seconds)
        except Exception:
            LOG.exception("old jobs could not be removed")
        with self._lock:
            for job_id, live in list(self._live.items()):
                if live.job.ended and (live.job.finished or 0) < now - _LINGER_SECONDS:
                    del self._live[job_id]


def _batching(limits: ServeSettings) -> BatchSettings:
    return BatchSettings(
        max_delay=limits.max_delay,
        max_batch=limits.max_batch,
        quick_workers=limits.quick_workers,
        slow_workers=limits.slow_workers,
        max_queue=_NO_LIMIT,
    )


def _checked_key(key: str | None) -> str:
    if key is not None and not (0 < len(key) <= _KEY_LENGTH and key.isprintable()):
        raise InputError("the idempotency key is empty, too long or has odd characters", "use a random one: a UUID")
    return key or ""


def _told(progress: Progress) -> dict[str, Any]:
    return {
        "stage": progress.stage,
        "step": progress.step,
        "total": progress.total,
        "unit": progress.unit,
        "share": round(progress.share, 4),
        "losses": {name: float(value) for name, value in progress.losses.items()},
    }


def _encoded(result: Result, settings: Values) -> Painted:
    """A picture as the file that was asked for."""
    ending, quality = file_format(settings)
    result = replace(result, record=without_places(result.record))
    stream = io.BytesIO()
    result.save(stream, format=ending, jpeg_quality=quality)
    return Painted(
        stream.getvalue(),
        _result_name(result, ending),
        MEDIA_TYPES[ending],
        result.record,
        result.picture.width,
        result.picture.height,
        result.seconds,
    )


def _result_name(result: Result, ending: str) -> str:
    record = result.record
    stem = str(record["content"]["name"]).rpartition(".")[0] or str(record["content"]["name"]) or "picture"
    label = record["styles"][0]["label"] if record["styles"] else "painted"
    return clean_name(f"{stem}-{label}{ending}".replace("/", "-"))
