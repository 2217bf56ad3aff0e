"""Starts the listeners of a service, and stops them so that nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from impasto.errors import InputError
from impasto.serve.access import check_listening
from impasto.serve.guard import REQUEST_ID, timed
from impasto.serve.http import make_app
from impasto.serve.service import Service
from impasto.serve.settings import Listening

if TYPE_CHECKING:
    from impasto.serve.grpc import GrpcServer

_LINGER = 5  # seconds for answers that are on their way when the jobs have ended


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # or the system keeps the end of each answer back for 40 ms, in the hope that there is more to send
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((host, port))
        made.listen(128)
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host}:{port} cannot be used: {reason}", "choose another port; 0 takes any") from error
    return made


class _Server(uvicorn.Server):
    """Leaves signals to `serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured here."""
        yield


@dataclass(frozen=True)
class Addresses:
    """Where the service was found to listen."""

    http: str | None
    grpc: str | None = None


def serve(
    service: Service,
    listening: Listening,
    *,
    drain_seconds: float = 30.0,
    on_ready: Callable[[Addresses], None],
) -> None:
    """Serve until SIGTERM or SIGINT; then take no more jobs, and give those that run time to end.

    Args:
        service: not yet started; its store is closed at the end.
        listening: where.
        drain_seconds: for running jobs; what is left then is taken up by the next start.
        on_ready: called once requests are answered.

    Raises:
        InputError: see `check_listening`, or the port is taken.
    """
    check_listening(listening)
    bound = None if listening.http_port is None else listen(listening.host, listening.http_port)
    try:
        service.start()
        threading.Thread(target=_warm_up, args=(service,), name="impasto-warming", daemon=True).start()
        asyncio.run(_serve(service, listening, bound, drain_seconds, on_ready))
    finally:
        service.store.close()
        if bound is not None:
            bound.close()


def _warm_up(service: Service) -> None:
    """Do what the first picture would have to wait for."""
    service.engine.warm_up()
    # what is loaded stays: looking through it each time would hold requests up, and so it would be done too rarely
    gc.collect()
    gc.freeze()


async def _serve(
    service: Service,
    listening: Listening,
    bound: socket.socket | None,
    drain_seconds: float,
    on_ready: Callable[[Addresses], None],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with _http(service, listening, bound) as http, _grpc(service, listening, stopping) as grpc:
        on_ready(Addresses(http, grpc))
        await stopping.wait()
        await asyncio.to_thread(service.close, drain_seconds)


@asynccontextmanager
async def _http(service: Service, listening: Listening, bound: socket.socket | None) -> AsyncIterator[str | None]:
    """Serves HTTP meanwhile; gives the address."""
    if bound is None:
        yield None
        return
    server = _Server(_config(service, listening))
    running = asyncio.ensure_future(server.serve(sockets=[bound]))
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        await running  # raises why it could not start
    try:
        scheme = "https" if listening.certificate else "http"
        yield f"{scheme}://{_named(listening.host)}:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def _grpc(service: Service, listening: Listening, stopping: asyncio.Event) -> AsyncIterator[str | None]:
    """The same for gRPC; its health tells at once that the service is `stopping`."""
    if listening.grpc_port is None:
        yield None
        return
    from impasto.serve.grpc import GrpcServer

    server = GrpcServer(service, listening)
    port = await server.start()
    telling = asyncio.ensure_future(_announce(server, stopping))
    try:
        yield f"{_named(listening.host)}:{port}"
    finally:
        telling.cancel()
        await server.stop(_LINGER)


async def _announce(server: GrpcServer, stopping: asyncio.Event) -> None:
    await stopping.wait()
    await server.announce_shutdown()


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _config(service: Service, listening: Listening) -> uvicorn.Config:
    tls = {"ssl_certfile": str(listening.certificate), "ssl_keyfile": str(listening.private_key)}
    return uvicorn.Config(
        make_app(service, listening),
        http=timed(service.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=service.limits.connections,
        timeout_keep_alive=int(service.limits.header_seconds),
        timeout_graceful_shutdown=_LINGER,
        h11_max_incomplete_event_size=1 << 16,
        **(tls if listening.certificate else {}),  # type: ignore[arg-type]
    )


class _Json(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, message, request id, and what else the record tells."""
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


class _Plain(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The same with the request id at its end."""
        line = super().format(record)
        return f"{line} [{REQUEST_ID.get()}]" if REQUEST_ID.get() else line


def log_to_stderr(*, as_json: bool, level: str = "INFO") -> None:
    """Send the service's log to standard error. Of pictures it holds names of fields and sizes, never contents."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if as_json else _Plain("%(asctime)s %(levelname)s %(message)s"))
    for name in ("impasto.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name.startswith("impasto") else "WARNING")
