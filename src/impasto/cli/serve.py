"""`impasto serve`: painting over a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import flags
from impasto.cli.parse import check_seconds
from impasto.cli.printing import say
from impasto.cli.streams import leave
from impasto.errors import InputError, quoted, require
from impasto.memory import parse_memory

if TYPE_CHECKING:
    from impasto.engine.batcher import BatchSettings
    from impasto.engine.engine import Engine
    from impasto.serve.replicas import ReplicaPainter
    from impasto.serve.run import Addresses
    from impasto.serve.settings import ServeSettings

KEYS_VARIABLE = "IMPASTO_KEYS"
"""The environment variable with API keys, separated by commas."""

DATABASE_VARIABLE = "IMPASTO_DATABASE"
"""The environment variable with the address of a PostgreSQL, whose password other users of the machine do not see."""

_MOST_DAYS = 100_000

_EXAMPLES = """\b
Examples:
  impasto serve
  impasto serve --http 8080 --grpc 50051 --log-json
  curl -F content=@photo.jpg -F style=museum:436535 -F quality=draft http://127.0.0.1:8000/v1/stylize -o out.png
  IMPASTO_KEYS=$(openssl rand -hex 32) impasto serve --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("serve", epilog=_EXAMPLES)(serve)


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")
    ] = "127.0.0.1",
    http: Annotated[int, typer.Option(help="Port of HTTP; 0 takes any free one, -1 none.", min=-1, max=65535)] = 8000,
    grpc: Annotated[
        int, typer.Option(help="Port of gRPC, such as 50051; 0 takes any free one; none by default.", min=-1, max=65535)
    ] = -1,
    key_file: Annotated[
        Path | None, typer.Option(help=f"File with API keys, one a line; {KEYS_VARIABLE} works, too.")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate for TLS, a PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, a PEM file.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Site whose pages may call, such as https://example.org (CORS); none.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Optimisations and large pictures that are painted at a time.", min=1, max=64)
    ] = 1,
    quick_workers: Annotated[int, typer.Option(help="Pictures of one pass that are painted at a time.", min=1)] = 1,
    max_delay: Annotated[
        float, typer.Option(help="Milliseconds that a picture waits for others to be painted with.", min=0, max=10_000)
    ] = 5.0,
    max_batch: Annotated[int, typer.Option(help="Pictures painted together at most; 1 for never.", min=1, max=256)] = 8,
    queue: Annotated[int, typer.Option(help="Jobs that may wait.", min=1)] = 128,
    jobs_per_client: Annotated[int, typer.Option(help="Jobs of one client that may wait or run.", min=1)] = 64,
    max_pixels: Annotated[int, typer.Option(help="Refuse pictures with more pixels.", min=64)] = 50_000_000,
    max_body: Annotated[str, typer.Option(help="Refuse requests with more bytes.")] = "64MB",
    max_video: Annotated[
        float, typer.Option(help="Refuse videos that last longer, in seconds; 0 refuses all.", min=0)
    ] = 30.0,
    training_photos: flags.TrainingPhotos = None,
    max_memory: Annotated[
        str | None,
        typer.Option(help="Memory that one job may take, such as 2GB; by default long ones share what is free."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar=DATABASE_VARIABLE, help="PostgreSQL instead of SQLite: postgresql://USER:PASSWORD@HOST/NAME."
        ),
    ] = None,
    keep_days: Annotated[float, typer.Option(help="Days for which finished jobs and results are kept.", min=0)] = 7.0,
    max_disk: Annotated[str, typer.Option(help="Disk that uploads and results may take.")] = "4GB",
    backup: Annotated[
        Path | None, typer.Option(help="Write all jobs, results and ratings into this tar file, and end.")
    ] = None,
    job_seconds: Annotated[
        float, typer.Option(help="Stop a job that runs longer, and refuse one that plainly would.", min=0.1)
    ] = 3600.0,
    drain_seconds: Annotated[
        float,
        typer.Option(
            help="Time that jobs get to end when the service is stopped; the rest go on at the next start.", min=0
        ),
    ] = 30.0,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Paint on a Ray cluster: HOST:PORT, auto (this machine's), or local (a new one)."),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Replicas of each kind on the cluster, at most.", min=1, max=10_000)
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    runtime: flags.Runtime = "auto",
    threads: flags.Threads = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write the log as one JSON object a line.")] = False,
    quiet: flags.Quiet = False,
) -> None:
    """Serve painting over HTTP and gRPC, for applications and the studio."""
    flags.use_threads(threads)
    if backup is not None:
        _back_up(backup)
        return
    for flag, seconds in (
        ("--max-delay", max_delay),
        ("--job-seconds", job_seconds),
        ("--drain-seconds", drain_seconds),
    ):
        check_seconds(flag, seconds)  # a range lets nan through
    if not keep_days < _MOST_DAYS:
        raise InputError(f"--keep-days is {keep_days:g}", f"it takes a number of days below {_MOST_DAYS:,}")
    require("fastapi", "serve")
    require("uvicorn", "serve")
    if http < 0 and grpc < 0:
        raise InputError("neither HTTP nor gRPC is to be served", "leave out --http -1, or give --grpc PORT")
    for module in ("grpc_health.v1", "grpc_reflection.v1alpha") if grpc >= 0 else ():
        require(module, "serve")
    from impasto.engine.engine import Engine
    from impasto.serve import run
    from impasto.serve.access import check_listening
    from impasto.serve.decode import DecodeProcesses
    from impasto.serve.service import Service
    from impasto.serve.settings import Listening, ServeSettings, state_folder
    from impasto.serve.store import JobStore

    listening = Listening(
        host=host,
        http_port=None if http < 0 else http,
        grpc_port=None if grpc < 0 else grpc,
        keys=_keys(key_file),
        certificate=tls_certificate,
        private_key=tls_key,
        origins=tuple(origin or ()),
    )
    check_listening(listening)
    flags.check_cluster("--replicas", replicas, ray)
    limits = ServeSettings(
        body_bytes=_bytes("--max-body", max_body),
        job_memory=parse_memory(max_memory),
        max_pixels=max_pixels,
        video_seconds=max_video,
        video_frames=round(60 * max_video),
        training_photos=flags.check_training_photos(training_photos),
        slow_workers=workers,
        quick_workers=quick_workers,
        max_delay=max_delay / 1000,
        max_batch=max_batch,
        queue_length=queue,
        jobs_per_client=jobs_per_client,
        job_seconds=job_seconds,
        keep_seconds=keep_days * 24 * 3600,
    )
    run.log_to_stderr(as_json=log_json, level="WARNING" if quiet else "INFO")
    store = JobStore(state_folder(), url=database, quota=_bytes("--max-disk", max_disk))
    engine = Engine(device=device, precision=precision, runtime=runtime)
    decoder = DecodeProcesses(count=limits.decoders, memory=limits.decode_bytes, seconds=limits.decode_seconds)
    with _elsewhere(ray, engine, limits, replicas=replicas, precision=precision, threads=threads) as elsewhere:
        service = Service(engine, limits, store, decoder, elsewhere=elsewhere)
        run.serve(service, listening, drain_seconds=drain_seconds, on_ready=_tell)
    leave()


@contextmanager
def _elsewhere(
    address: str | None,
    engine: Engine,
    limits: ServeSettings,
    *,
    replicas: int | None,
    precision: str,
    threads: int | None,
) -> Iterator[tuple[ReplicaPainter, BatchSettings] | None]:
    """What paints on a Ray cluster meanwhile; None without one."""
    if address is None:
        yield None
        return
    from impasto.serve.replicas import Scaling, deployed

    scaling = Scaling(most=replicas)
    with deployed(address, engine, limits, scaling=scaling, precision=precision, threads=threads) as painting:
        yield painting


def _bytes(flag: str, text: str) -> int:
    try:
        size = parse_memory(text)
    except InputError as error:
        raise InputError(f"{flag} is {quoted(text)}", error.hint) from error
    assert size is not None
    return size


def _back_up(target: Path) -> None:
    require("sqlalchemy", "serve")
    from impasto.serve.settings import state_folder
    from impasto.serve.store import backup

    backup(state_folder(), target)
    say(target)


def _keys(path: Path | None) -> tuple[str, ...]:
    lines = os.environ.get(KEYS_VARIABLE, "").split(",")
    if path is not None:
        if not path.is_file():
            raise InputError(f"there is no file {path}", "write one key a line into it")
        lines += [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(key for line in lines if (key := line.strip()))


def _tell(addresses: Addresses) -> None:
    for kind, address in (("HTTP", addresses.http), ("gRPC", addresses.grpc)):
        if address is not None:
            say(f"serving {kind} on {address}")
