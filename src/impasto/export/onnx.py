"""Trained networks for other programs: ONNX files, checked against PyTorch before they are left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from impasto.contract import OnProgress, Progress, ignore
from impasto.errors import StyleError, require
from impasto.files import write_whole
from impasto.models import networks
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes import graphs
from impasto.runtimes.onnx import read

BOUND = 1e-4
"""A file whose pastiches differ by more from PyTorch's, both in float32, is not left. A step of 8 bits is 4e-3."""

_CHECKED = ((96, 128), (70, 101), (64, 64))  # height and width; one is no multiple of any stride


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Attributes:
        path: the file.
        styles: names of its styles.
        bytes: its size.
        difference: the largest from PyTorch's pastiches, in float32, of all styles, of a range of 1.
    """

    path: Path
    styles: tuple[str, ...]
    bytes: int
    difference: float


def to_onnx(source: Path, target: Path, *, on_progress: OnProgress = ignore) -> Exported:
    """Write a network as one ONNX file, whole or not at all.

    Height, width and batch are free. The style is an input, `code (B, N)`; the codes of all styles lie in the metadata
    (`codes`, JSON), next to what the network's own file says of itself (`impasto`, JSON).

    Raises:
        InputError: the source is not an Impasto network.
        MissingExtra: onnx or ONNX Runtime is not installed; the latter is for the check.
        StyleError: the graph paints other pictures than the network.
    """
    runtime: Any = require("onnxruntime", graphs.EXTRA)
    tensors, about = read(source)
    trained = networks.read(source)
    data = graphs.build(tensors, about)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    network, difference = trained.network().requires_grad_(False), 0.0
    for done, style in enumerate(trained.styles):
        on_progress(Progress("checking", done, len(trained.styles), "style"))
        difference = max(
            difference, _difference(session, network, trained.code(style), *_CHECKED[done % len(_CHECKED)])
        )
    on_progress(Progress("checking", len(trained.styles), len(trained.styles), "style"))
    if not difference <= BOUND:
        raise StyleError(
            f"the ONNX graph differs from PyTorch by {difference:.2g}; {BOUND:g} is allowed", "please report it"
        )
    write_whole(target, data)
    return Exported(target, trained.styles, len(data), difference)


def _difference(session: Any, network: networks.Network, code: torch.Tensor, height: int, width: int) -> float:
    """The largest between both pastiches of a batch of noise."""
    content, codes = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)), code.expand(2, -1)
    with torch.inference_mode():
        ours = crop_to(network(pad_to_multiple(content, network.stride), codes), height, width)
    theirs = session.run(None, {graphs.IMAGE: content.numpy(), graphs.CODE: codes.numpy()})[0]
    return float(np.abs(ours.numpy() - theirs).max())
