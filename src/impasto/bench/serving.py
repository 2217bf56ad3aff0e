"""`impasto serve` under load: real servers in processes of their own, asked over HTTP."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from impasto import images
from impasto.bench.load import Heard, Load, Send, compare, drive, quantile
from impasto.contract import OnProgress, Progress, ignore
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import ResourceError, StyleError, require

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

_STOP_SECONDS = 60.0
_ANSWER_SECONDS = 600.0
_LOOK_SECONDS = 5.0  # between two looks at the memory
_WARM_SHARE = 0.2  # of a soak, in which everything is loaded and every size was painted once


@dataclass(frozen=True)
class Asking:
    """What clients send.

    Attributes:
        photograph: a file.
        settings: the form's other fields.
    """

    photograph: bytes
    settings: Mapping[str, str]

    @classmethod
    def of(cls, pixels: Any, style: str, quality: str | None) -> Asking:
        """A photograph as a PNG, to be painted in a named style."""
        stream = io.BytesIO()
        images.write(images.read(pixels), stream, format="PNG")
        settings = {"style": style} if quality is None else {"style": style, "quality": quality}
        return cls(stream.getvalue(), settings)

    async def send(self, client: AsyncClient, number: int, **changes: str) -> Response:
        """Have it painted, and wait. Raises ResourceError for any answer but the picture."""
        answer = await client.post(
            "/v1/stylize",
            files={"content": ("photo.png", self.photograph, "image/png")},
            data={**self.settings, **changes},
            headers={"x-impasto-client": f"client{number}"},
        )
        if answer.status_code != 200:
            raise ResourceError(f"the service answered {answer.status_code}: {answer.text[:200]}")
        return answer


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        address: of its HTTP.
        process: it.
    """

    address: str
    process: subprocess.Popen[str]

    def resident(self) -> int:
        """Bytes of memory that it and the processes that it started hold; 0 where that is not told."""
        return sum(_resident(number) for number in (self.process.pid, *_children(self.process.pid)))

    def processor_seconds(self) -> float:
        """Processor time that it and those processes have taken; 0 where that is not told."""
        return sum(_processor_seconds(number) for number in (self.process.pid, *_children(self.process.pid)))


@contextmanager
def served(options: Sequence[str] = ()) -> Iterator[Server]:
    """A server with a state folder of its own, stopped at the end.

    Args:
        options: of `impasto serve`.

    Raises:
        ResourceError: it did not start.
    """
    command = [sys.executable, "-m", "impasto", "serve", "--http", "0", "--quiet", *options]
    with TemporaryDirectory() as state:
        own = {**os.environ, "IMPASTO_STATE": state}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as process:  # noqa: S603 - ours
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line.startswith("serving HTTP on "):
                    raise ResourceError("the service did not start", "try: impasto serve")
                yield Server(line.split()[-1], process)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


@asynccontextmanager
async def _asked(server: Server) -> AsyncIterator[Callable[[int], AsyncClient]]:
    """A client for each number, with a connection of its own.

    Requests that share the connections of one client overtake each other there: httpx offers an idle one to several,
    and who does not get it waits anew. With 64 that was four times the median, of which the server knew nothing.
    """
    httpx = require("httpx", "client")
    context = ssl.create_default_context()  # one for all: each takes a while, and nothing here is encrypted
    async with AsyncExitStack() as stack:
        clients: dict[int, AsyncClient] = {}

        def client(number: int) -> AsyncClient:
            if number not in clients:
                made = httpx.AsyncClient(base_url=server.address, timeout=_ANSWER_SECONDS, verify=context)
                stack.push_async_callback(made.aclose)
                clients[number] = made
            return clients[number]

        yield client


def under_load(
    asking: Asking, load: Load, *, max_batch: int, options: Sequence[str] = (), on_progress: OnProgress = ignore
) -> list[dict[str, Any]]:
    """One row for each number of clients, with batching off and on, in turn.

    Args:
        asking: what is sent.
        load: how much.
        max_batch: of the server that batches.
        options: of both servers.
        on_progress: called before each round.
    """
    sizes = {"off": 1, "on": max_batch}
    return asyncio.run(_under_load(asking, load, sizes, options, on_progress))


async def _under_load(
    asking: Asking, load: Load, sizes: Mapping[str, int], options: Sequence[str], on_progress: OnProgress
) -> list[dict[str, Any]]:
    room = str(2 * max(load.clients))
    async with AsyncExitStack() as stack:
        ways: dict[str, Send] = {}
        meters: dict[str, Callable[[], float]] = {}
        for name, size in sizes.items():
            own = ["--max-batch", str(size), "--queue", room, "--jobs-per-client", room, *options]
            server = stack.enter_context(served(own))
            client = await stack.enter_async_context(_asked(server))
            ways[name], meters[name] = _sender(asking, client), server.processor_seconds
            await drive(ways[name], max(load.clients), 1.0, Heard())  # weights and styles are loaded, batches tried
        return await compare(ways, load, meters=meters, on_progress=on_progress)


def _sender(asking: Asking, client: Callable[[int], AsyncClient]) -> Send:
    async def send(number: int) -> None:
        await asking.send(client(number), number)

    return send


def overhead(
    asking: Asking, engine: Engine, *, seconds: float, rounds: int, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Time of one request of a single client beyond what the engine takes for the same picture, in turn.

    The engine decodes the same file, paints it, and encodes the result, as the service does. Time on the clock includes
    what other programs take meanwhile; processor time does not.
    """
    request = Request(quality=asking.settings.get("quality"))

    def paint() -> None:
        picture = images.read(asking.photograph)
        engine.stylize(picture, asking.settings["style"], request).save(io.BytesIO(), format="PNG")

    took = 0.0

    async def alone(number: int) -> None:  # noqa: ARG001 - there is one client
        nonlocal took
        started = time.process_time()
        paint()
        took += time.process_time() - started

    async def both() -> list[dict[str, Any]]:
        with served(options) as server:
            async with _asked(server) as client:
                ways = {"engine": alone, "service": _sender(asking, client)}
                for send in ways.values():
                    await drive(send, 1, 1.0, Heard())
                meters = {"engine": lambda: took, "service": server.processor_seconds}
                return await compare(ways, Load((1,), seconds, rounds), meters=meters)

    ours, service = asyncio.run(both())
    return {
        "benchmark": "serve overhead",
        "clients": 1,
        "pictures": service["pictures"],
        "errors": service["errors"],
        "p50_ms": service["p50_ms"],
        "p99_ms": service["p99_ms"],
        "engine_p50_ms": ours["p50_ms"],
        "overhead_ms": service["p50_ms"] - ours["p50_ms"],
        "processor_ms": service["processor_ms"],
        "engine_processor_ms": ours["processor_ms"],
        "processor_overhead_ms": service["processor_ms"] - ours["processor_ms"],
    }


def soak(
    asking: Asking,
    *,
    minutes: float,
    clients: int,
    sizes: Sequence[int],
    options: Sequence[str] = (),
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Send pictures of several sizes, jobs that are cancelled, and files that are none; watch the server's memory.

    Args:
        asking: what is sent.
        minutes: how long.
        clients: at a time.
        sizes: longest sides, in turn.
        options: of the server.
        on_progress: called at each look at the memory.
    """
    with served(options) as server:
        return asyncio.run(_soak(server, asking, minutes * 60, clients, sizes, on_progress))


async def _soak(
    server: Server, asking: Asking, seconds: float, clients: int, sizes: Sequence[int], on_progress: OnProgress
) -> dict[str, Any]:
    heard, looks = Heard(), []
    started = time.perf_counter()
    async with _asked(server) as client:
        asked = 0

        async def send(number: int) -> None:
            nonlocal asked
            asked += 1
            if asked % 20 == 0:
                await _cancelled(client(number), asking)
            elif asked % 10 == 0:
                await _refused(client(number))
            await asking.send(client(number), number, size=str(sizes[asked % len(sizes)]))

        async def look() -> None:
            while True:
                now = time.perf_counter() - started
                looks.append((now, server.resident()))
                on_progress(Progress(f"{looks[-1][1] / 1e6:.0f} MB", int(now), int(seconds), unit="second"))
                await asyncio.sleep(_LOOK_SECONDS)

        looking, before = asyncio.ensure_future(look()), server.processor_seconds()
        await drive(send, clients, seconds, heard)
        heard.processor = server.processor_seconds() - before
        looking.cancel()
    row = heard.row()
    return {"benchmark": "serve soak", "clients": clients, "minutes": seconds / 60, **row, **_memory(looks, seconds)}


def _memory(looks: Sequence[tuple[float, int]], seconds: float) -> dict[str, Any]:
    """Memory after the warm-up and at the end: medians over a fifth of the time each."""
    early = [size for at, size in looks if _WARM_SHARE <= at / seconds <= 2 * _WARM_SHARE]
    late = [size for at, size in looks if at / seconds >= 1 - _WARM_SHARE]
    first, last = quantile(early, 0.5) / 1e6, quantile(late, 0.5) / 1e6
    most = max(size for _, size in looks) / 1e6
    return {"resident_mb": first, "resident_end_mb": last, "resident_most_mb": most, "growth": last / first - 1}


async def _cancelled(client: AsyncClient, asking: Asking) -> None:
    """An optimisation that is stopped after a moment."""
    form = {"style": asking.settings["style"], "method": "optimize", "size": "96", "steps": "1000"}
    if asking.settings["style"].startswith("pack:"):
        form["style"] = "museum:436535"
    files = {"content": ("photo.png", asking.photograph, "image/png")}
    answer = await client.post("/v1/jobs", files=files, data=form)
    if answer.status_code != 202:
        raise StyleError(f"a job was answered {answer.status_code}")
    await asyncio.sleep(0.5)
    await client.delete(f"/v1/jobs/{answer.json()['id']}")


async def _refused(client: AsyncClient) -> None:
    """A file that is no picture."""
    answer = await client.post("/v1/stylize", files={"content": ("photo.png", b"\x89PNG none", "image/png")})
    if answer.status_code != 422:
        raise StyleError(f"a damaged picture was answered {answer.status_code}")


def _children(process: int) -> list[int]:
    """Processes that a process started, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        own = [int(number) for number in _text(path.read_text).split()]
        found += [*own, *(each for number in own for each in _children(number))]
    return found


def _resident(process: int) -> int:
    told = _text(Path(f"/proc/{process}/statm").read_text).split()
    return int(told[1]) * os.sysconf("SC_PAGE_SIZE") if told else 0


def _processor_seconds(process: int) -> float:
    told = _text(Path(f"/proc/{process}/stat").read_text).rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK") if told else 0.0


def _text(read: Callable[[], str]) -> str:
    """What a file says; nothing where the process ended meanwhile."""
    try:
        return read()
    except OSError:
        return ""
