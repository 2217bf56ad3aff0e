"""What stands before every request: time and size limits, keys, who may call from a browser, ids, headers, logs."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import secrets
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import h11
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from impasto.errors import StyleError
from impasto.serve.access import LOCAL, client_of
from impasto.serve.jobs import public_error
from impasto.serve.metrics import Metrics
from impasto.serve.settings import ForbiddenError, KeyRefusedError, Listening, ServeSettings, TooLargeError

ERRORS = logging.getLogger("impasto.serve")
ACCESS = logging.getLogger("impasto.serve.access")

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""The id of the request that is being answered; every log line and every error carries it."""

OPEN_PATHS = ("/healthz", "/readyz", "/")
"""What needs no key: probes have none, and the studio asks for one."""

STUDIO = "/studio/"
"""Where the files of the studio are, which need no key either."""

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=()",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cache-control": "no-store",
}
"""Sent with every answer that does not set them itself."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "testserver")

Scope: TypeAlias = MutableMapping[str, Any]


class TimedProtocol(H11Protocol):
    """HTTP/1.1 in which a client has a time for each part.

    The head of a request has to come within `header_seconds`, its body within `body_seconds`, and each piece of the
    answer has to be taken within `body_seconds`. Whoever is slower loses the connection.
    """

    header_seconds = ServeSettings.header_seconds
    body_seconds = ServeSettings.body_seconds

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _phase = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first head."""
        super().connection_made(transport)
        self._time_reading()

    def data_received(self, data: bytes) -> None:
        """Take what comes, and see which part it belongs to."""
        super().data_received(data)
        self._time_reading()

    def on_response_complete(self) -> None:
        """Start the time for the next head; the keep-alive of the base class is shorter as long as nothing comes."""
        super().on_response_complete()
        self._time_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """Start the time in which the client has to take what was written."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It took it."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def _time_reading(self) -> None:
        phase = {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(self.conn.their_state, "")
        if phase == self._phase:
            return
        self._phase = phase
        if self._reading is not None:
            self._reading.cancel()
        if phase:
            seconds = self.header_seconds if phase == "head" else self.body_seconds
            self._reading = self.loop.call_later(seconds, self.transport.abort)


def timed(limits: ServeSettings) -> type[TimedProtocol]:
    """The protocol with the times of these limits."""
    times = {"header_seconds": limits.header_seconds, "body_seconds": limits.body_seconds}
    return type("LimitedProtocol", (TimedProtocol,), times)


class Guard:
    """ASGI middleware, outermost: see the module.

    Args:
        app: what answers.
        limits: how much may be sent.
        listening: keys, and who may call from a browser.
        metrics: counts requests.
    """

    def __init__(self, app: Any, *, limits: ServeSettings, listening: Listening, metrics: Metrics) -> None:
        self._app, self._limits, self._listening, self._metrics = app, limits, listening, metrics

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = _Exchange(scope, send, _request_id(headers), self._metrics)
        token = REQUEST_ID.set(exchange.request_id)
        try:
            scope.setdefault("state", {})["client"] = self._admit(scope, headers)
            body = _Limited(receive, self._limits.body_bytes)
            body.check_declared(headers)
            await self._app(scope, body, exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as error:
            if not isinstance(error, StyleError):
                ERRORS.exception("a request failed")
            if exchange.begun:
                raise
            await exchange.refuse(error)
        finally:
            exchange.end()
            REQUEST_ID.reset(token)

    def _admit(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The client's name. Raises KeyRefusedError for who may not call."""
        self._check_browser(headers)
        keys = self._listening.keys
        if not keys:
            given = re.sub(r"[^\w.-]", "", headers.get("x-impasto-client", ""))[:40]
            return given or LOCAL
        if scope["method"] == "OPTIONS":  # a browser asks so, without its key, whether a page may call
            return LOCAL
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(STUDIO):
            return LOCAL
        own = headers.get("x-api-key")
        return client_of(keys, headers.get("authorization") if own is None else f"Bearer {own}")

    def _check_browser(self, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another site sends, and names by which only a page could have come here.

        A form of any page can post to this machine without asking first, and a name of its own may lead here, too.
        """
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if not self._listening.keys and host not in (*_LOOPBACK, self._listening.host):
            raise ForbiddenError("this host name is not served", "call 127.0.0.1, or start the service with a key")
        origin = headers.get("origin")
        if origin is None or origin in self._listening.origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise ForbiddenError("pages of other sites may not call", "allow the site by --origin")


class _Limited:
    """Receives a body of at most so many bytes."""

    def __init__(self, receive: Any, most: int) -> None:
        self._receive, self._left, self._most = receive, most, most

    def check_declared(self, headers: Mapping[str, str]) -> None:
        """Raise TooLargeError for what says beforehand that it is too large."""
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._most:
            self._refuse()

    async def __call__(self) -> Any:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._refuse()
        return message

    def _refuse(self) -> None:
        raise TooLargeError(f"the request has more than {self._most:,} bytes", "send smaller files")


class _Exchange:
    """One request and its answer: headers, the log line, the count."""

    def __init__(self, scope: Scope, send: Any, request_id: str, metrics: Metrics) -> None:
        self._scope, self._send, self.request_id, self._metrics = scope, send, request_id, metrics
        self._started, self._status = time.perf_counter(), 0

    async def send(self, message: Any) -> None:
        """Pass an answer on, with the headers that all have."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            own = {**HEADERS, "x-request-id": self.request_id}
            added = [(name.encode(), value.encode()) for name, value in own.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

    @property
    def begun(self) -> bool:
        """Whether an answer was begun."""
        return self._status > 0

    async def refuse(self, error: Exception) -> None:
        """Answer with an error."""
        status, headers, body = error_answer(error, self.request_id)
        headers = {
            **headers,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self.send({"type": "http.response.body", "body": body})

    def end(self) -> None:
        """Count the request, and write it into the log."""
        seconds = time.perf_counter() - self._started
        route = getattr(self._scope.get("route"), "path", "other")
        method = self._scope["method"] if self._scope["method"] in ("GET", "POST", "DELETE", "HEAD") else "other"
        self._metrics.request(method, route, self._status or 499, seconds)
        told = {"method": method, "route": route, "status": self._status or 499, "ms": round(1000 * seconds, 1)}
        ACCESS.info("%(method)s %(route)s %(status)s %(ms)s ms", told, extra={"fields": told})


def error_answer(error: BaseException, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and JSON body for an error: the one translator of HTTP."""
    told = public_error(error)
    wait = getattr(error, "retry_after", None)
    headers = {} if wait is None else {"retry-after": str(wait)}
    if isinstance(error, KeyRefusedError):
        headers["www-authenticate"] = "Bearer"
    body = {"kind": told["kind"], "error": told["error"], "hint": told["hint"], "request_id": request_id}
    return told["status"], headers, json.dumps(body).encode()


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else secrets.token_hex(8)
