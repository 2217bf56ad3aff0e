"""The package openvino, without its telemetry: which tells its makers of each import, by a process of its own."""

from __future__ import annotations

import sys
from typing import Any

from impasto.errors import require

EXTRA = "openvino"
_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    if _TELEMETRY in sys.modules or "openvino" in sys.modules:
        return require("openvino", EXTRA)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # as if it were not installed, which openvino allows for
    try:
        return require("openvino", EXTRA)
    finally:
        del sys.modules[_TELEMETRY]
