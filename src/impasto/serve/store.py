"""Where jobs, results and ratings outlive the process: a database, and a folder of files.

SQLite with a write-ahead log by default, PostgreSQL by its URL. An accepted job is on the disk before its client hears
of it. A result is written whole before its job is said to be done, and a job ends once: the row changes only from a
state that is open.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tarfile
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from impasto.errors import InputError, ResourceError, require
from impasto.files import discard, discard_leftovers, locked, make_folder, open_folder, storing, write_whole
from impasto.models.checkpoint import SUFFIX
from impasto.serve.fields import Upload
from impasto.serve.jobs import ENDED, TRAINING, Job, Page

METADATA = sa.MetaData()

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("uploads", sa.JSON, nullable=False),
    sa.Column("method", sa.String(80), nullable=False),
    sa.Column("slow", sa.Boolean, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False, server_default="1"),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Column("key", sa.String(200)),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("record", sa.JSON(none_as_null=True)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.UniqueConstraint("client", "key", name="one_job_for_a_key"),
    sa.Index("jobs_by_client", "client", "id"),
    sa.Index("jobs_by_end", "state", "finished"),
)

RATINGS = sa.Table(
    "ratings",
    METADATA,
    sa.Column("job", sa.String(32), primary_key=True),
    sa.Column("client", sa.String(80), nullable=False),
    sa.Column("stars", sa.Integer, nullable=False),
    sa.Column("note", sa.String(1000), nullable=False),
    sa.Column("method", sa.String(80), nullable=False),
    sa.Column("style", sa.String(200), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Index("ratings_by_client", "client", "created"),
)

_PASSING = (JOBS.c.state.in_(ENDED), JOBS.c.method != TRAINING)
"""Jobs that are forgotten in time: not styles that were trained, which their owner removes."""

DATABASE = "jobs.sqlite"
_UPLOADS, _RESULTS, _WORK = "uploads", "results", "work"
_MOST_RATINGS = 100_000
_ONE_SERVICE = "a folder has one service at a time: stop that one, or name another folder in IMPASTO_STATE"


@dataclass(frozen=True)
class Rating:
    """What a client thinks of a result.

    Attributes:
        job: the job's id.
        client: whose.
        stars: 1 to 5.
        note: in words; may be empty.
        method, style: of the job.
        created: seconds since 1970.
    """

    job: str
    client: str
    stars: int
    note: str
    method: str
    style: str
    created: float


class JobStore:
    """Jobs, ratings and files of one service.

    Args:
        folder: for files, and for the database where no URL is given.
        url: of a PostgreSQL database; None for SQLite in the folder.
        quota: bytes that files may take.

    Raises:
        InputError: the folder is in use or cannot be written, or the database cannot be reached.
    """

    def __init__(self, folder: Path, *, url: str | None = None, quota: int = 4 << 30) -> None:
        self._folder, self._quota = folder, quota
        self._closing = ExitStack()
        open_folder(folder)
        self._closing.enter_context(locked(folder, hint=_ONE_SERVICE))
        try:
            self._engine = _connect(folder / DATABASE if url is None else url)
            self._closing.callback(self._engine.dispose)
            self._open()
        except BaseException:
            self._closing.close()
            raise

    def _open(self) -> None:
        for name in (_UPLOADS, _RESULTS):
            (self._folder / name).mkdir(exist_ok=True)
            discard_leftovers(self._folder / name)
        _upgrade(self._engine)
        self._lock = threading.Lock()  # of the files
        self._needed = Counter(digest for job in self.open_jobs() for _, _, digest in job.uploads)
        for path in (self._folder / _UPLOADS).iterdir():
            if path.name not in self._needed:  # of a job that was never accepted, or has ended
                discard(path)
        kept = {job.id for job in self.open_jobs()}
        for path in (self._folder / _WORK).glob("*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        self._used = sum(path.stat().st_size for path in self._files())

    @classmethod
    def temporary(cls) -> JobStore:
        """One that is gone with the process: for a service that keeps nothing."""
        made = cls.__new__(cls)
        made._closing = ExitStack()
        made._folder = Path(tempfile.mkdtemp(prefix="impasto-serve-"))
        made._closing.callback(weakref.finalize(made, shutil.rmtree, made._folder, ignore_errors=True))
        made._quota = 4 << 30
        made._engine = _connect(made._folder / DATABASE)
        made._closing.callback(weakref.finalize(made, made._engine.dispose))
        made._open()
        return made

    def close(self) -> None:
        """Let go of the database and the folder."""
        self._closing.close()

    # --- files

    def _files(self) -> list[Path]:
        return [path for name in (_UPLOADS, _RESULTS) for path in (self._folder / name).iterdir()]

    def upload(self, digest: str) -> Path:
        """The file of an upload."""
        return self._folder / _UPLOADS / digest

    def result(self, job: Job) -> Path:
        """The file of a job's result; a network's name tells that it is one."""
        assert re.fullmatch(r"[0-9a-f]{32}", job.id)
        return self._folder / _RESULTS / f"{job.id}{SUFFIX if job.method == TRAINING else ''}"

    def _poster(self, job: Job) -> Path:
        return self.result(job).with_name(f"{job.id}.jpg")

    def work(self, job: Job) -> Path:
        """The folder of what a long job has come to; it goes when the job ends. Raises as `make_folder`."""
        folder = self._folder / _WORK / job.id
        make_folder(folder)
        return folder

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file; room is made by dropping the oldest jobs that have ended.

        Raises:
            ResourceError: the quota is used up by jobs that have not ended, or the disk is full.
        """
        while self._used + len(data) > self._quota:
            oldest = self._oldest_ended()
            if oldest is None:
                raise ResourceError(
                    "the disk quota of this service is used up", "try again when jobs have ended, or send less"
                )
            self._delete(oldest)
        before = path.stat().st_size if path.exists() else 0
        with storing("a file of the service"):
            write_whole(path, data)
        self._used += len(data) - before

    def _discard(self, path: Path) -> None:
        with suppress(OSError):
            self._used -= path.stat().st_size
        discard(path)

    def _release(self, job: Job) -> None:
        """Drop the uploads of a job that needs them no more."""
        for _, _, digest in job.uploads:
            self._needed[digest] -= 1
            if self._needed[digest] <= 0:
                del self._needed[digest]
                self._discard(self.upload(digest))

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """A transaction. Raises ResourceError where SQLite has no room for it."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            if "full" not in str(error.orig) and "disk I/O" not in str(error.orig):
                raise
            raise ResourceError("no space is left on the service's disk", "make room, and try again") from error

    # --- jobs

    def add(self, job: Job, uploads: Sequence[Upload]) -> Job:
        """Accept a job: it is on the disk when this returns.

        Returns:
            The job; or an earlier one with the same key of the same client.

        Raises:
            ResourceError: there is no room.
        """
        with self._lock:
            self._needed.update(one.digest for one in uploads)
            try:
                for upload in uploads:
                    if not self.upload(upload.digest).exists():
                        self._write(self.upload(upload.digest), upload.data)
                with self._changing() as connection:
                    connection.execute(JOBS.insert().values(**_row(job)))
            except sa.exc.IntegrityError:
                self._release(job)
                found = self.by_key(job.client, job.key)
                assert found is not None
                return found
            except BaseException:
                self._release(job)
                raise
        return job

    def read_uploads(self, job: Job) -> tuple[Upload, ...]:
        """The pictures that were sent with an open job."""
        return tuple(Upload(field, name, self.upload(digest).read_bytes()) for field, name, digest in job.uploads)

    def write_result(self, job: Job, data: bytes, poster: bytes = b"") -> None:
        """Keep the result of a job, before it is said to be done; `poster` stands for one that is no picture.

        Raises:
            ResourceError: there is no room.
        """
        with self._lock:
            self._write(self.result(job), data)
            if poster:
                self._write(self._poster(job), poster)

    def read_result(self, job: Job) -> bytes | None:
        """The result of a job; None where there is none."""
        with suppress(OSError):
            return self.result(job).read_bytes()
        return None

    def read_poster(self, job: Job) -> bytes | None:
        """The picture that stands for a result; None where there is none."""
        with suppress(OSError):
            return self._poster(job).read_bytes()
        return None

    def update(self, job: Job) -> bool:
        """Change an open job; whether it was open. One that ends lets go of its uploads."""
        changed = JOBS.update().where(JOBS.c.id == job.id, JOBS.c.state.not_in(ENDED)).values(**_row(job))
        with self._changing() as connection:
            done = connection.execute(changed).rowcount == 1
        if done and job.ended:
            with self._lock:
                self._release(job)
            shutil.rmtree(self._folder / _WORK / job.id, ignore_errors=True)
        return done

    def delete(self, job: Job) -> None:
        """Forget a job and its picture."""
        with self._lock:
            if not job.ended:
                self._release(job)
            self._delete(job)

    def _delete(self, job: Job) -> None:
        with self._engine.begin() as connection:
            connection.execute(JOBS.delete().where(JOBS.c.id == job.id))
        self._discard(self.result(job))
        self._discard(self._poster(job))

    def expire(self, before: float) -> int:
        """Forget jobs that ended before that time; trained styles stay. Returns how many."""
        old = self._select(*_PASSING, JOBS.c.finished < before)
        for job in old:
            self.delete(job)
        return len(old)

    def _oldest_ended(self) -> Job | None:
        found = self._select(*_PASSING, order=JOBS.c.finished, limit=1)
        return found[0] if found else None

    def get(self, job_id: str) -> Job | None:
        """A job by its id."""
        found = self._select(JOBS.c.id == job_id)
        return found[0] if found else None

    def by_key(self, client: str, key: str) -> Job | None:
        """A client's job by its idempotency key."""
        found = self._select(JOBS.c.client == client, JOBS.c.key == key)
        return found[0] if found else None

    def open_jobs(self) -> list[Job]:
        """Jobs that have not ended, the oldest first."""
        return self._select(JOBS.c.state.not_in(ENDED), order=JOBS.c.id)

    def trained(self, client: str) -> list[Job]:
        """A client's styles, the newest first: trainings that came to a network."""
        wanted = (JOBS.c.client == client, JOBS.c.method == TRAINING, JOBS.c.state.in_(ENDED))
        return [job for job in self._select(*wanted, order=JOBS.c.id.desc()) if job.result]

    def page(self, client: str, *, state: str | None, before: str | None, limit: int) -> Page:
        """A client's jobs, the newest first."""
        wanted = [JOBS.c.client == client]
        wanted += [] if state is None else [JOBS.c.state == state]
        wanted += [] if before is None else [JOBS.c.id < before]
        found = self._select(*wanted, order=JOBS.c.id.desc(), limit=limit + 1)
        return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)

    def _select(self, *wanted: sa.ColumnElement[bool], order: Any = JOBS.c.id, limit: int | None = None) -> list[Job]:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(JOBS).where(*wanted).order_by(order).limit(limit)).mappings().all()
        return [_job(dict(row)) for row in rows]

    # --- ratings

    def rate(self, rating: Rating) -> None:
        """Keep a rating; a second one of the same job replaces the first."""
        with self._changing() as connection:
            connection.execute(RATINGS.delete().where(RATINGS.c.job == rating.job))
            connection.execute(RATINGS.insert().values(**asdict(rating)))

    def ratings(self, client: str) -> list[Rating]:
        """A client's ratings, the oldest first; they outlive their jobs."""
        asked = sa.select(RATINGS).where(RATINGS.c.client == client).order_by(RATINGS.c.created).limit(_MOST_RATINGS)
        with self._engine.connect() as connection:
            return [Rating(**row) for row in connection.execute(asked).mappings()]

    def check(self) -> None:
        """Ask the database for an answer. Raises what it raises."""
        with self._engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))


def _row(job: Job) -> dict[str, Any]:
    return {**asdict(job), "key": job.key or None, "uploads": [list(upload) for upload in job.uploads]}


def _job(row: Mapping[str, Any]) -> Job:
    uploads = tuple((field, name, digest) for field, name, digest in row["uploads"])
    return Job(**{**row, "key": row["key"] or "", "uploads": uploads})


def _connect(where: Path | str) -> sa.Engine:
    if isinstance(where, Path):
        made = sa.create_engine(f"sqlite:///{where}", connect_args={"timeout": 30, "check_same_thread": False})
        sa.event.listen(made, "connect", _set_up_sqlite)
        return made
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", where)
    if not url.startswith("postgresql+psycopg://"):
        raise InputError("the database is none that is known", "give postgresql://USER:PASSWORD@HOST/NAME")
    require("psycopg", "postgres")
    try:
        made = sa.create_engine(url, pool_pre_ping=True)
        made.connect().close()
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise InputError("the database cannot be reached", "see that it runs, and that its URL is right") from error
    return made


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # accepted means on the disk


def _upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the tables to a version, from any before. Raises InputError for those of a later Impasto."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "impasto.serve:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            hint = "install that Impasto again, or choose another IMPASTO_STATE"
            raise InputError("the database was made by a later Impasto", hint) from error


def backup(folder: Path, target: Path) -> None:
    """Write everything that a service keeps in its folder into one tar file, also while it runs.

    Raises:
        InputError: there is nothing, or it cannot be written there.
        ResourceError: the disk is full.
    """
    if not (folder / DATABASE).is_file():
        raise InputError(f"there is no database in {folder}", "one that is elsewhere is backed up by its own tools")
    from impasto.files import whole

    with tempfile.TemporaryDirectory(prefix="impasto-backup-") as place, whole(target) as temporary:
        copy = Path(place) / DATABASE
        with sqlite3.connect(folder / DATABASE) as source, sqlite3.connect(copy) as goal:
            source.backup(goal)
        source.close()
        goal.close()
        with tarfile.open(temporary, "w") as archive:
            archive.add(copy, DATABASE)
            for path in _existing(folder):
                with suppress(FileNotFoundError):  # it ended or expired meanwhile
                    archive.add(path, path.relative_to(folder))


def _existing(folder: Path) -> Iterable[Path]:
    for name in (_UPLOADS, _RESULTS):
        yield from sorted(path for path in (folder / name).iterdir() if not path.name.startswith("."))
