"""Find a package file in the places that pip would look in, stream it to disk, and check its size and hash."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from impasto.assets import _npm
from impasto.assets._declare import Source
from impasto.assets._failures import Mismatch, Unreachable, gravest, mismatch, one_line, unreachable
from impasto.assets._pip import PipSettings, http_client, pip_files, pip_settings
from impasto.contract import OnProgress, Progress
from impasto.errors import AssetError

if TYPE_CHECKING:
    from unearth.fetchers import Fetcher, PyPIClient

REPORT_SECONDS = 0.1
"""How often progress is told."""

_CHUNK = 1 << 16
_ATTEMPTS = 3


def download(source: Source, target: Path, on_progress: OnProgress) -> None:
    """Stream the file to `target`, from the first place that has it, and check size and hash."""
    if source.format == "npm":
        _npm.download(source, target, on_progress)
        return
    failures: list[AssetError] = []
    notes: list[str] = []
    settings = pip_settings(os.environ, pip_files(os.environ))
    with http_client(settings) as client:
        addresses = [source.url] if source.url else _find(source, settings, client, failures, notes)
        for address in addresses:
            try:
                _stream_with_patience(client, address, source, target, on_progress)
            except (Mismatch, Unreachable) as error:
                failures.append(error)
            else:
                return
    if failures:
        raise gravest(failures)
    reason = f" ({notes[-1]})" if notes else ""
    raise AssetError(
        f"{source.label} ({source.format}) was not found in the configured package index{reason}",
        "point pip at an index or mirror that has it (PIP_INDEX_URL), or copy a filled cache and set IMPASTO_CACHE",
    )


def _stream_with_patience(
    client: PyPIClient, address: str, source: Source, target: Path, on_progress: OnProgress
) -> None:
    """As `_stream`, from the start again when the connection breaks: mirrors do break off large files."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _stream(client, address, source, target, on_progress)
        except Unreachable:
            if attempt == _ATTEMPTS:
                raise
            on_progress(Progress(f"trying {source.label} again", 0, source.bytes, unit="byte"))
        else:
            return


def _stream(client: PyPIClient, address: str, source: Source, target: Path, on_progress: OnProgress) -> None:
    digest, done, reported = hashlib.sha256(), 0, 0.0
    stage = f"fetching {source.label}"
    with target.open("wb") as file:
        for chunk in _chunks(client, address, source):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if done > source.bytes:
                break  # whatever this is, it is not ours: stop filling the disk
            if time.monotonic() - reported >= REPORT_SECONDS:
                on_progress(Progress(stage, done, source.bytes, unit="byte"))
                reported = time.monotonic()
    if done < source.bytes:
        raise unreachable(source, f"the connection ended after {done:,} of {source.bytes:,} bytes")
    if done > source.bytes:
        raise mismatch(source, f"expected {source.bytes:,} bytes, actual more")
    if digest.hexdigest() != source.sha256:
        raise mismatch(source, f"expected sha256 {source.sha256}, actual {digest.hexdigest()}")
    on_progress(Progress(stage, done, source.bytes, unit="byte"))


def _chunks(client: PyPIClient, address: str, source: Source) -> Iterator[bytes]:
    """The body of a GET, in pieces. What goes wrong in here is the network; the disk is the caller's."""
    try:
        # A server that compresses on the way would change the bytes that are hashed.
        with client.get_stream(address, headers={"Accept-Encoding": "identity"}) as response:
            if response.status_code >= 400:
                raise unreachable(source, f"the server answered {response.status_code}")
            _check_scheme(address, str(response.url or address), source)
            yield from response.iter_bytes(chunk_size=_CHUNK)
    except AssetError:
        raise
    except Exception as error:  # unearth chooses the HTTP library, and with it the errors: they share no base
        raise unreachable(source, f"{type(error).__name__}: {one_line(error)}") from error


def _check_scheme(asked: str, answered: str, source: Source) -> None:
    """Refuse an answer from an unprotected place that a protected one led to."""
    if asked.lower().startswith("https:") and not answered.lower().startswith("https:"):
        raise unreachable(source, f"{asked.split('/')[2]} led to an address without TLS")


def _find(
    source: Source, settings: PipSettings, client: PyPIClient, failures: list[AssetError], notes: list[str]
) -> Iterator[str]:
    """Addresses of the package file: place by place, so that a file nearby spares the network."""
    from unearth import PackageFinder

    name = source.package.partition("==")[0]
    places = [("folder", place) for place in settings.find_links]
    indexes = settings.index_urls or (() if settings.no_index else (str(PackageFinder().sources[0]["url"]),))
    places += [("index", place) for place in (*indexes, *settings.extra_index_urls) if not settings.no_index]
    for option, place in places:
        finder = PackageFinder(
            cast("Fetcher", client),  # as unearth itself does; the signatures differ in what they accept beyond it
            index_urls=[place] if option == "index" else (),
            find_links=[place] if option == "folder" else (),
            no_binary=[name] if source.format == "sdist" else (),
            only_binary=[name] if source.format == "wheel" else (),
            ignore_compatibility=True,  # the file is data, so a wheel for another platform is as good as any
        )
        try:
            with _collected_warnings("unearth", notes):
                matches = list(finder.find_matches(source.package, allow_prereleases=False))
        except Exception as error:  # as in _chunks, and ValueError for a folder that is not there
            failures.append(unreachable(source, f"{type(error).__name__}: {one_line(error)}"))
            continue
        for link in (match.link for match in matches):
            stated = (link.hash_option or {}).get("sha256", [source.sha256])
            if source.sha256 in stated:
                yield link.normalized
            else:
                failures.append(
                    mismatch(source, f"expected sha256 {source.sha256}, actual {stated[0]} by the index's word")
                )


@contextmanager
def _collected_warnings(logger_name: str, notes: list[str]) -> Iterator[None]:
    """Collect a library's warnings, which say why an index was passed over, instead of letting them reach stderr."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(one_line(record.getMessage()))

    logger, handler = logging.getLogger(logger_name), Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
