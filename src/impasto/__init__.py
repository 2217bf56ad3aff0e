"""Impasto: turns photographs into paintings, in the style of any picture.

    import impasto
    impasto.stylize("photo.jpg", "painting.jpg").save("out.png")

Importing this loads no torch; the first call does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impasto.errors import (
    AssetError,
    BatchError,
    Cancelled,
    InputError,
    MissingExtra,
    ResourceError,
    StyleError,
    Terminated,
)

if TYPE_CHECKING:
    from impasto.api import Painter, load, stylize
    from impasto.contract import Progress
    from impasto.engine.controls import Controls
    from impasto.engine.engine import Engine
    from impasto.engine.request import Request, Result
    from impasto.engine.snapshots import Snapshots

__all__ = [
    "AssetError",
    "BatchError",
    "Cancelled",
    "Controls",
    "Engine",
    "InputError",
    "MissingExtra",
    "Painter",
    "Progress",
    "Request",
    "ResourceError",
    "Result",
    "Snapshots",
    "StyleError",
    "Terminated",
    "load",
    "stylize",
]

_LAZY = {
    "Controls": "impasto.engine.controls",
    "Engine": "impasto.engine.engine",
    "Painter": "impasto.api",
    "Progress": "impasto.contract",
    "Request": "impasto.engine.request",
    "Result": "impasto.engine.request",
    "Snapshots": "impasto.engine.snapshots",
    "load": "impasto.api",
    "stylize": "impasto.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("impasto")
    if name not in _LAZY:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
