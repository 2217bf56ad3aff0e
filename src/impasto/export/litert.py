"""LiteRT files (.tflite): the network for one height and width, pictures with the channels last, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from impasto.errors import require
from impasto.export._quiet import silent
from impasto.export.model import CODE, IMAGE, PASTICHE, Array, Exportable, Painter
from impasto.files import write_whole

EXTRA = "litert"
_PREFIX = "impasto."


class _ChannelsLast(nn.Module):
    """The network between pictures `(1, H, W, 3)`, as LiteRT and cameras of phones have them."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor, code: Tensor) -> dict[str, Tensor]:
        return {PASTICHE: self.inner(image.permute(0, 3, 1, 2), code).permute(0, 2, 3, 1)}


def write(model: Exportable, path: Path, shape: tuple[int, int] | None) -> None:
    """Write one file for pictures of `shape`."""
    assert shape is not None
    inputs = {IMAGE: torch.zeros(1, *shape, 3), CODE: torch.from_numpy(model.seconds[0])}
    with silent():
        converter: Any = require("litert_torch", EXTRA)
        edge = converter.convert(_ChannelsLast(model.module(False)).eval(), sample_kwargs=inputs)
        edge.export(str(path))
    write_whole(path, _described(path.read_bytes(), model.metadata))


def _described(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """The file with metadata: buffers of UTF-8 by name, `impasto.NAME`."""
    flatbuffers: Any = require("flatbuffers", EXTRA)
    schema: Any = require("ai_edge_litert.schema_py_generated", EXTRA)
    whole = schema.ModelT.InitFromPackedBuf(data, 0)
    whole.metadata = list(whole.metadata or [])
    for name, text in metadata.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = list(text.encode())
        entry.name, entry.buffer = _PREFIX + name, len(whole.buffers)
        whole.buffers.append(buffer)
        whole.metadata.append(entry)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def read_metadata(data: bytes) -> dict[str, str]:
    """What `write` has put beside the model."""
    schema: Any = require("ai_edge_litert.schema_py_generated", EXTRA)
    whole = schema.ModelT.InitFromPackedBuf(data, 0)
    entries = [(entry.name.decode(), entry.buffer) for entry in whole.metadata]
    return {
        name.removeprefix(_PREFIX): bytes(whole.buffers[at].data).decode()
        for name, at in entries
        if name.startswith(_PREFIX)
    }


def load(path: Path, model: Exportable) -> tuple[Painter, str]:  # noqa: ARG001 - inputs are told by the signature
    """LiteRT's interpreter."""
    with silent():
        interpreter: Any = require("ai_edge_litert.interpreter", EXTRA)
        loaded = interpreter.Interpreter(model_content=path.read_bytes())
        run = loaded.get_signature_runner()

    def paint(image: Array, second: Array) -> Array:
        with silent():
            made: Array = run(**{IMAGE: image.transpose(0, 2, 3, 1).copy(), CODE: second})[PASTICHE]
        return made.transpose(0, 3, 1, 2)

    return paint, f"ai-edge-litert {version('ai-edge-litert')}"
