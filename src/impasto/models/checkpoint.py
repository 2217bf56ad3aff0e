"""Files of networks: what they say of themselves, their tensors, and which file a name of weights means.

All are safetensors files. Nothing here loads torch unless tensors of torch are asked for.
"""

from __future__ import annotations

import hashlib
import json
import pickle  # its error alone
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from impasto.errors import InputError, counted, plain
from impasto.files import write_whole
from impasto.ops import pickles

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the file format; what is older is brought up to date when it is read."""

SUFFIX = ".safetensors"
HINT = "give one that impasto train has written"


@dataclass(frozen=True)
class WeightsRef:
    """The name of weights: an asset's id, or `NAME:FILE` for a file of the user's.

    Attributes:
        name: the asset's id; or what kind of network the file holds.
        file: the user's; None for an asset.
    """

    name: str
    file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> WeightsRef:
        """From what `str` gives."""
        name, colon, file = text.partition(":")
        return cls(name, Path(file) if colon else None)

    def __str__(self) -> str:
        return self.name if self.file is None else f"{self.name}:{self.file}"

    @property
    def version(self) -> tuple[str | int, ...] | None:
        """The file's version: it changes when the file does; None without a file."""
        return None if self.file is None or not self.file.exists() else file_version(self.file)


def file_version(path: Path) -> tuple[str | int, ...]:
    """A file as it is now: its place, times and size. One that was written again has another version.

    Two networks of one kind have one size, and copying may keep the time of writing, but not that of the last change.
    """
    about = path.stat()
    return str(path.resolve()), about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_size


def read_header(path: str | Path) -> tuple[dict[str, Any], frozenset[str]]:
    """The metadata of a network's file, and the names of its tensors.

    Raises:
        InputError: it cannot be read, or is no safetensors file.
    """
    with _opened(path, "numpy", HINT) as file:
        return _about(file), frozenset(file.keys())


def read(
    path: str | Path, framework: Literal["pt", "numpy"] = "pt", *, hint: str = HINT
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's tensors by name, as they are stored, and what it says of itself, in today's format.

    Args:
        path: the file.
        framework: whose tensors, torch's or NumPy's.
        hint: what to do when it cannot be read.

    Raises:
        InputError: it cannot be read, is of a newer format, or holds numbers that are not finite.
    """
    with _opened(path, framework, hint) as file:
        about = up_to_date(_about(file), path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    if not all(_is_finite(tensor, framework) for tensor in tensors.values()):
        raise InputError(f"{path} holds numbers that are not finite", hint)
    return tensors, about


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Twelve letters that tell the numbers of a network from those of another."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].float().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def check_names(path: Path | str, tensors: Collection[str], wanted: Collection[str], *, what: str, hint: str) -> None:
    """Refuse a file whose tensors have other names than those of a method, and say which.

    Raises:
        InputError: some are missing, or there are others.
    """
    missing, others = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if len(missing) == len(wanted):
        raise InputError(f"{path} is of another method: it has {', '.join(others[:3])}", hint)
    if missing:
        raise InputError(f"{path} lacks {counted(len(missing), 'tensor')} of {what}: {', '.join(missing[:4])}", hint)
    if others:
        raise InputError(f"{path} has tensors that {what} has not: {', '.join(others[:4])}", hint)


def unpickled(path: Path, hint: str, *, largest: int = 1 << 30) -> Any:
    """What a PyTorch checkpoint holds, in containers: numbers, text, and tensors; nothing in it is executed.

    Raises:
        InputError: it cannot be read, is larger than `largest` bytes, or holds more.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}", hint)
    if path.stat().st_size > largest:
        raise InputError(f"{path} has {path.stat().st_size >> 20} MB, more than any such network", hint)
    try:
        return _with_tensors(pickles.read_checkpoint(path))
    except (OSError, pickle.UnpicklingError) as error:  # a whole module is refused here, too
        reason = plain(error)[:200]
        raise InputError(f"{path} cannot be read as a checkpoint of tensors alone: {reason}", hint) from error


def _with_tensors(node: Any) -> Any:
    import numpy as np
    import torch

    if isinstance(node, np.ndarray):
        return torch.from_numpy(node if node.flags.writeable else node.copy())
    if isinstance(node, dict):
        return {name: _with_tensors(part) for name, part in node.items()}
    return [_with_tensors(part) for part in node] if isinstance(node, list) else node


def read_pickled(path: Path, hint: str, *, largest: int = 1 << 30) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint (`.pth`), as they are stored, without `module.`; nothing is executed.

    Raises:
        InputError: as `unpickled`, or it holds more than finite tensors.
    """
    import torch

    stored = unpickled(path, hint, largest=largest)
    if not isinstance(stored, dict) or not all(isinstance(one, torch.Tensor) for one in stored.values()):
        raise InputError(f"{path} holds more than the tensors of one network", hint)
    tensors = {name.removeprefix("module."): tensor for name, tensor in stored.items()}
    if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values()):
        raise InputError(f"{path} holds numbers that are not finite", hint)
    return tensors


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any], *, halved: bool = True) -> None:
    """Write a single safetensors file, whole or not at all.

    Args:
        path: the file.
        tensors: by name.
        about: what it says of itself, as plain values.
        halved: in half precision; otherwise in single.

    Raises:
        InputError, ResourceError: as `files.write_whole`.
    """
    import torch
    from safetensors.torch import save

    dtype = torch.float16 if halved else torch.float32
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(stored, metadata={"impasto": json.dumps({"format": FORMAT, **about})}))


def up_to_date(about: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The metadata of a file, in today's format. Files without a version are format 0: tensors alone.

    Raises:
        InputError: the format is newer than this impasto.
    """
    version = about.get("format", 0)
    if not isinstance(version, int) or version > FORMAT:
        raise InputError(f"{path} has format {version}; this impasto reads up to {FORMAT}", "upgrade impasto")
    return {"styles": [], "thumbnails": {}, "licences": {}, "recipe": {}, "losses": {}, **about, "format": FORMAT}


@contextmanager
def _opened(path: str | Path, framework: str, hint: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework=framework) as file:
            yield file
    except (OSError, SafetensorError, TypeError) as error:  # the last of a kind of number that NumPy lacks
        raise InputError(f"{path} cannot be read as a network", hint) from error


def _about(file: Any) -> dict[str, Any]:
    try:
        about = json.loads((file.metadata() or {}).get("impasto", "{}"))
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _is_finite(tensor: Any, framework: str) -> bool:
    if framework == "pt":
        import torch

        return bool(torch.isfinite(tensor).all())
    import numpy as np

    return bool(np.isfinite(tensor).all())
