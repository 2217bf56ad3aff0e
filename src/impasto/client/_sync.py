"""The client for threads: `AsyncClient` in an event loop of its own, so that nothing is written twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from impasto.client._async import ADDRESS, AsyncClient, OnEvent
from impasto.client._request import PictureLike, Setting
from impasto.client._values import Event, Frame, Job, Method, Page, Painting, Style
from impasto.errors import Cancelled, InputError

T = TypeVar("T")


class Client:
    """A client for threads; use it as a context manager, or `close` it. See `AsyncClient` for the arguments."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        key: str | None = None,
        timeout: float | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="impasto-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._do(_made(address, key, timeout, certificate))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; what is being painted for them stops."""
        if self._thread.is_alive():
            self._do(_shut(self._client))
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of the loop; it is cancelled when the waiting is broken off, by Ctrl-C for example."""
        if self._loop.is_closed():
            work.close()
            raise InputError("the client is closed", "make another")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Cancelled("the client was closed", "close it when its calls have ended") from None
        except BaseException:
            future.cancel()
            raise

    def stylize(
        self, content: PictureLike, style: Any = (), *, on_event: OnEvent | None = None, **settings: Setting
    ) -> Painting:
        """Paint a picture and wait for it; see `AsyncClient.stylize`. `on_event` is called in another thread."""
        return self._do(self._client.stylize(content, style, on_event=on_event, **settings))

    def submit(
        self, content: PictureLike, style: Any = (), *, idempotency_key: str | None = None, **settings: Setting
    ) -> Job:
        """Hand in a job; see `AsyncClient.submit`."""
        return self._do(self._client.submit(content, style, idempotency_key=idempotency_key, **settings))

    def watch(self, job: Job | str, *, after: int = 0) -> Iterator[Event]:
        """The events of a job, as they come, to the last; see `AsyncClient.watch`."""
        return self._iterated(self._client.watch(job, after=after))

    def frames(
        self,
        frames: Iterable[Any],
        style: Any = (),
        *,
        temporal: str = "fast",
        drop_late: bool = False,
        **settings: Setting,
    ) -> Iterator[Frame]:
        """Paint frames as they come, held together; see `AsyncClient.frames`. They are taken in another thread."""
        painted = self._client.frames(frames, style, temporal=temporal, drop_late=drop_late, **settings)
        return self._iterated(painted)

    def _iterated(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of the loop, one after the other."""
        try:
            while (item := self._do(_following(items))) is not None:
                yield item
        finally:
            self._do(_close(items))

    def job(self, job: Job | str) -> Job:
        """What has become of a job."""
        return self._do(self._client.job(job))

    def jobs(self, *, state: str | None = None, before: str | None = None, limit: int = 20) -> Page:
        """Your jobs, the newest first; see `AsyncClient.jobs`."""
        return self._do(self._client.jobs(state=state, before=before, limit=limit))

    def cancel(self, job: Job | str) -> Job:
        """Stop a job within one step; see `AsyncClient.cancel`."""
        return self._do(self._client.cancel(job))

    def result(self, job: Job | str) -> Painting:
        """The picture of a job that is done."""
        return self._do(self._client.result(job))

    def styles(self, query: str = "") -> list[Style]:
        """Named styles; see `AsyncClient.styles`."""
        return self._do(self._client.styles(query))

    def methods(self) -> list[Method]:
        """The methods, with their settings."""
        return self._do(self._client.methods())


async def _made(address: str, key: str | None, timeout: float | None, certificate: str | Path | None) -> AsyncClient:
    """Made in the loop that uses it."""
    return AsyncClient(address, key=key, timeout=timeout, certificate=certificate)


async def _shut(client: AsyncClient) -> None:
    """Close the client, and end what still runs in its loop."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await client.close()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


async def _following(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


async def _close(items: Any) -> None:
    await items.aclose()
