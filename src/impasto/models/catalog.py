"""Styles of trained networks by name: `pack:irises` of the pack that ships, `my.safetensors`, `my.safetensors:irises`,
`my.onnx:irises`; and generators of unpaired translation, `latest_net_G_A.pth`, which have one style each.

A network's file says in its header which styles it holds, so nothing here loads torch or a network.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from impasto.errors import InputError, counted
from impasto.models import onnx_files
from impasto.models.checkpoint import SUFFIX, file_version, read_header
from impasto.settings import close_names

PACK = Path(__file__).parents[1] / "assets" / f"pack{SUFFIX}"
"""The network of a dozen styles that ships."""

ARBITRARY = PACK.with_name(f"arbitrary{SUFFIX}")
"""The network for any painting that ships."""


CHECKPOINTS = (".pth", ".pt")
"""Endings of PyTorch's own files, in which generators are handed around."""

_PICKLE = ".pkl"  # of NVIDIA's StyleGAN


@dataclass(frozen=True)
class TrainedStyle:
    """One style of a trained network.

    Attributes:
        path: the network's file.
        name: the style's name in it.
        id: what finds it again: `pack:NAME`, or `FILE:NAME`.
        painting: id of the painting that it was trained on, such as "museum:436528"; may be empty.
        licence: of that painting.
        thumbnail: a small picture painted in it, encoded; may be empty.
        method: that paints it.
    """

    path: Path
    name: str
    id: str
    painting: str = ""
    licence: str = ""
    thumbnail: bytes = b""
    method: str = "feedforward"


def is_trained(style: Any) -> bool:
    """Whether a style names one of a trained network."""
    return isinstance(style, str | Path) and _split(str(style)) is not None


def find(style: str | Path) -> TrainedStyle:
    """The style that is meant.

    Raises:
        InputError: there is no such file, network or style, or a name is needed.
    """
    parts = _split(str(style))
    assert parts is not None
    path, name = parts
    held = listing(path)
    if not name and len(held) == 1:
        return held[0]
    if not name:
        names = ", ".join(one.name for one in held)
        hint = f"name one, such as {path}:{held[0].name}: {names}"
        raise InputError(f"{path.name} holds {counted(len(held), 'style')}", hint)
    for one in held:
        if one.name == name:
            return one
    raise InputError(f"{path.name} has no style {name!r}", close_names(name, [one.name for one in held]))


def pack() -> tuple[TrainedStyle, ...]:
    """The styles of the pack that ships with this installation."""
    return listing(PACK) if PACK.exists() else ()


def listing(path: Path) -> tuple[TrainedStyle, ...]:
    """The styles of a network's file, in its order.

    Raises:
        InputError: there is no such file, or it is not an Impasto network.
    """
    if path == PACK and not path.exists():
        raise InputError("no pack of styles is installed", "use a painting; impasto styles lists them")
    return _listing(path, file_version(path) if path.is_file() else ())


def is_generator(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names holds a generator of CycleGAN or CUT."""
    return "model.1.weight" in names


@lru_cache(maxsize=8)
def _listing(path: Path, version: tuple[str | int, ...]) -> tuple[TrainedStyle, ...]:  # noqa: ARG001 - a part of the key
    if path.suffix in CHECKPOINTS:
        return (_generator(path),)
    if path.suffix == _PICKLE:
        raise _no_style(path)
    about, names = _header(path)
    if not names and path.suffix == SUFFIX and is_generator(read_header(path)[1]):
        return (_generator(path),)
    if about.get("kind") == "arbitrary":
        hint = f"use --method arbitrary --network {path} --style PAINTING"
        raise InputError(f"{path} takes any painting and has no style of its own", hint)
    if about.get("kind") == "adain":
        hint = f"use --method adain --network {path} --style PAINTING"
        raise InputError(f"{path} takes any painting and has no style of its own", hint)
    if str(about.get("kind")).startswith("stylegan"):
        raise _no_style(path)
    if about.get("kind") == "decoder":
        raise InputError(f"{path} is a decoder and has no style", "give a network that impasto train has taught one")
    if not names:
        raise InputError(f"{path} holds no style", "give a network that impasto train has written")
    order = {name: index for index, name in enumerate(about.get("styles", ()))}
    prefix = "pack" if path == PACK else str(path)
    return tuple(
        TrainedStyle(
            path,
            name,
            f"{prefix}:{name}",
            str(about.get("paintings", {}).get(name, "")),
            str(about.get("licences", {}).get(name, "")),
            _decoded(about.get("thumbnails", {}).get(name, "")),
        )
        for name in sorted(names, key=lambda name: (order.get(name, len(order)), name))
    )


def _no_style(path: Path) -> InputError:
    """Of StyleGAN."""
    return InputError(
        f"{path} makes pictures of random numbers and has no style",
        f"make one first: impasto gan sample {path} --seeds 1 -o style.png",
    )


def _generator(path: Path) -> TrainedStyle:
    """The one style of a generator, named after its file."""
    if not path.is_file():
        raise InputError(f"there is no network {path}", "check the name")
    return TrainedStyle(path, path.stem, str(path), method="unpaired")


def _header(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a network's file says of itself, and the names of its styles."""
    if path.suffix == onnx_files.SUFFIX:
        about, codes = onnx_files.read_header(path)
        return about, [*codes]
    about, tensors = read_header(path)
    return about, [name.removeprefix("style.") for name in tensors if name.startswith("style.")]


def _split(style: str) -> tuple[Path, str] | None:
    """File and name, the name empty where none was given; None for what names no trained network."""
    if match := re.fullmatch(r"pack:([\w-]+)", style):
        return PACK, match.group(1)
    if style.endswith((*CHECKPOINTS, _PICKLE)):
        return Path(style), ""
    for suffix in (SUFFIX, onnx_files.SUFFIX):
        head, dot, tail = style.rpartition(suffix)
        if dot and (not tail or re.fullmatch(r":[\w-]+", tail)):
            return Path(head + dot), tail[1:]
    return None


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        return b""
