"""TorchScript files, which libtorch loads without Python."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from impasto.export._quiet import quiet
from impasto.export.model import Array, Exportable, Painter

METADATA = "impasto.json"
"""The file within the file that holds the metadata; `torch.jit.load` hands it out as `_extra_files`."""


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:  # noqa: ARG001 - sides are free
    """Write one file: scripted, not traced, so that sizes stay free."""
    with quiet():  # it is called old; it is still what C++ loads without a compiler
        frozen = torch.jit.freeze(torch.jit.script(model.module(True)))
        torch.jit.save(frozen, path, _extra_files={METADATA: json.dumps(dict(model.metadata))})


def load(path: Path, model: Exportable) -> tuple[Painter, str]:  # noqa: ARG001 - inputs are told by their order
    """The same PyTorch, but from the file alone."""
    with quiet():
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def paint(image: Array, second: Array) -> Array:
        with torch.inference_mode():
            made: Array = module(torch.from_numpy(image), torch.from_numpy(second)).numpy()
        return made

    return paint, f"torch.jit {torch.__version__}"
