"""What the tensors of a generator of unpaired translation are called; see `generators`. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from impasto.errors import InputError

STRIDE = 4
HINT = (
    "give a generator of CycleGAN or CUT, such as latest_net_G_A.pth; "
    "where a whole network was saved, load it in its own program and torch.save(net.state_dict(), FILE)"
)

_CONVOLUTION = re.compile(r"model\.(\d+)\.(?:[a-z_]*block\.(\d+)\.)?weight")


def is_blurred(names: Iterable[str]) -> bool:
    """Whether sizes change with a blur, as in CUT, or by strides, as in CycleGAN."""
    return any(name.endswith(".filt") for name in names)


def norm_of(name: str) -> str:
    """The name of the normalisation after a convolution."""
    head, _, number = name.rpartition(".")
    return f"{head}.{int(number) + 1}"


def convolutions(tensors: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the convolutions outside the blocks, in order, and those of the two in each block.

    tensors: by their published names, of torch or NumPy.

    Raises:
        InputError: they are no such generator's.
    """
    outer: dict[int, str] = {}
    blocks: dict[int, list[tuple[int, str]]] = {}
    for name, tensor in tensors.items():
        match = _CONVOLUTION.fullmatch(name)
        if match is None or len(tensor.shape) != 4:
            continue
        stem = name.removesuffix(".weight")
        if match[2] is None:
            outer[int(match[1])] = stem
        else:
            blocks.setdefault(int(match[1]), []).append((int(match[2]), stem))
    pairs = [tuple(stem for _, stem in sorted(own)) for _, own in sorted(blocks.items())]
    if len(outer) != 6 or any(len(pair) != 2 for pair in pairs):
        raise InputError(f"it has {len(outer)} convolutions outside its blocks, not 6", HINT)
    return [stem for _, stem in sorted(outer.items())], [(pair[0], pair[1]) for pair in pairs]


@dataclass(frozen=True)
class Places:
    """Names of the layers, by their places in the published list of modules."""

    stem: str
    down: tuple[str, ...]
    halvings: tuple[str, ...]
    blocks: tuple[str, ...]
    doublings: tuple[str, ...]
    up: tuple[str, ...]
    head: str


def places_of(blocks: int, *, blurred: bool) -> Places:
    """Of a generator with so many residual blocks."""
    first = 12 if blurred else 10  # of the blocks: before them lie paddings, normalisations and activations, too
    after = first + blocks
    return Places(
        "model.1",
        ("model.4", "model.8") if blurred else ("model.4", "model.7"),
        ("model.7", "model.11") if blurred else (),
        tuple(f"model.{place}" for place in range(first, after)),
        (f"model.{after}", f"model.{after + 4}") if blurred else (),
        (f"model.{after + 1}", f"model.{after + 5}") if blurred else (f"model.{after}", f"model.{after + 3}"),
        f"model.{after + 9}" if blurred else f"model.{after + 7}",
    )
