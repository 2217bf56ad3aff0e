"""Paints through `impasto serve`, with Python's standard library alone: host programs bring no others.

`make integrations` puts a copy beside each plug-in.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

ADDRESS = "http://127.0.0.1:8000"


class ServiceError(Exception):
    """What went wrong, and what to do, in one line."""


class Service:
    """A running `impasto serve`.

    Args:
        address: where it listens.
        key: an API key, if it asks for one.
        pause: seconds between two calls of `on_progress`.
    """

    def __init__(self, address: str = ADDRESS, key: str = "", *, pause: float = 0.3) -> None:
        if not address.startswith(("http://", "https://")):
            raise ServiceError(f"{address} is no address of a service; it begins with http:// or https://")
        self._address, self._pause = address.rstrip("/"), pause
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def stylize(
        self,
        content: bytes,
        style: bytes | str,
        settings: Mapping[str, object],
        on_progress: Callable[[float], bool] = lambda _: True,
    ) -> bytes:
        """Paint a picture.

        Args:
            content: a picture file.
            style: the same, or an id or words as `styles` lists them.
            settings: by the names of the flags; what is empty is left out.
            on_progress: called with the share that is done, from 0 to 1; False stops the job.

        Returns:
            A PNG file.

        Raises:
            ServiceError: the service does not answer, or cannot use something, or the job was stopped.
        """
        given = {name: str(value) for name, value in settings.items() if value not in ("", None)}
        pictures = [("content", "picture.png", content)]
        if isinstance(style, str):
            given["style"] = style
        else:
            pictures.append(("style", "style.png", style))
        job = self._told("POST", "/v1/jobs", *_form(given, pictures))
        where = f"/v1/jobs/{job['id']}"
        events = _Events(self, f"{where}/events")
        events.start()
        while events.is_alive():
            events.join(self._pause)
            if not on_progress(events.share):
                self._told("DELETE", where)
                raise ServiceError("stopped")
        job = self._told("GET", where)
        if job["state"] != "done":
            raise ServiceError(_line(job["error"] or {}))
        return self._send("GET", f"{where}/result")

    def styles(self, words: str = "") -> Sequence[Mapping[str, str]]:
        """Named styles: `id`, `title`, `artist`, `date`."""
        return self._told("GET", f"/v1/styles?q={quote(words)}")["styles"]

    def _told(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> dict:
        return json.loads(self._send(method, path, body, kind))

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        with self.open(method, path, body, kind) as answer:
            return answer.read()

    def open(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> HTTPResponse:
        """The answer to a request, to be read and closed. Raises ServiceError."""
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        asked = Request(self._address + path, data=body, headers=headers, method=method)  # noqa: S310 - checked above
        try:
            return urlopen(asked, timeout=60)  # noqa: S310
        except HTTPError as error:
            with error:
                raise ServiceError(_refusal(error)) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(f"{self._address} does not answer ({reason}); start it with: impasto serve") from None


class _Events(threading.Thread):
    """Reads the events of a job, until it ends or the service goes away.

    Attributes:
        share: of the work that is done, from 0 to 1.
    """

    def __init__(self, service: Service, path: str) -> None:
        super().__init__(name="impasto-events", daemon=True)
        self._service, self._path, self.share = service, path, 0.0

    def run(self) -> None:
        """See the class."""
        with suppress(ServiceError, OSError, HTTPException), self._service.open("GET", self._path) as lines:
            for line in lines:
                if line.startswith(b"data: ") and b'"share"' in line:
                    self.share = float(json.loads(line[6:])["share"])


def _refusal(error: HTTPError) -> str:
    try:
        return _line(json.loads(error.read()))
    except ValueError:
        return f"the service answered {error.code}"


def _line(told: Mapping[str, object]) -> str:
    hint = told.get("hint")
    return f"{told.get('error', 'the job failed')}{f'; {hint}' if hint else ''}"


def _form(values: Mapping[str, str], pictures: Sequence[tuple[str, str, bytes]]) -> tuple[bytes, str]:
    """A multipart form and its content type."""
    mark = secrets.token_hex(16)
    head = 'Content-Disposition: form-data; name="{}"'
    parts = [(head.format(name), value.encode()) for name, value in values.items()]
    parts += [(f'{head.format(name)}; filename="{file}"', data) for name, file, data in pictures]
    body = b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (mark.encode(), top.encode(), data) for top, data in parts)
    return body + b"--%s--\r\n" % mark.encode(), f"multipart/form-data; boundary={mark}"
