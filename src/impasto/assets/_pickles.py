"""Pickles read by allow-list: a pickle is a program, so only the few calls that make arrays are let through.

Two kinds are read. A pickle of nested dicts and lists of numpy arrays gives its arrays by dotted name. A TorchScript
archive (a zip of a pickle, code and raw storages) gives its tensors by dotted name; the code inside is never looked at.
"""

from __future__ import annotations

import io
import math
import pickle  # read through _Reader alone, which refuses every name that is not listed below
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_DTYPES = ("f2", "f4", "f8", "i4", "i8")


def read_arrays(payload: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a pickle of nested dicts and lists of numpy arrays, such as `{"Conv_0.kernel": (11, 11, 3, 64)}`.

    Lists count from 0: `{"conv1": [kernel, bias]}` gives `conv1.0` and `conv1.1`.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but numpy arrays, or holds anything else.
    """
    return dict(_flatten(_Reader(io.BytesIO(payload), _numpy_name).load(), _as_array))


def read_torchscript(payload: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a TorchScript archive by the path of their modules, such as `net.conv.weight`.

    Raises:
        pickle.UnpicklingError: the archive asks for anything but float32 tensors in modules.
        zipfile.BadZipFile, KeyError: it is no such archive.
    """
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        reader = _Reader(io.BytesIO(archive.read(f"{root}data.pkl")), _torch_name)
        reader.storage = lambda key: archive.read(f"{root}data/{key}")
        return dict(_flatten(reader.load(), _as_tensor))


class _Reader(pickle.Unpickler):
    """An unpickler that looks names up in `allow` and nowhere else."""

    def __init__(self, file: io.BytesIO, allow: Callable[[str, str], Any]) -> None:
        super().__init__(file)
        self._allow = allow
        self.storage: Callable[[str], bytes] | None = None

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`. Raises UnpicklingError for a name that is not allowed."""
        found = self._allow(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return found

    def persistent_load(self, pid: Any) -> NDArray[np.float32]:
        """One storage of a TorchScript archive: `("storage", FloatStorage, key, device, count)`."""
        import numpy as np

        if self.storage is None or not isinstance(pid, tuple) or len(pid) != 5 or pid[1] is not _FloatStorage:
            raise pickle.UnpicklingError("the pickle refers to something outside itself")
        values = np.frombuffer(self.storage(str(pid[2])), dtype="<f4")
        if values.size != pid[4]:
            raise pickle.UnpicklingError(f"storage {pid[2]} has {values.size} numbers instead of {pid[4]}")
        return values


def _numpy_name(module: str, name: str) -> Any:
    """The three names by which numpy pickles an array, and their stand-ins."""
    if module == "numpy" and name == "dtype":
        return _dtype
    if module == "numpy" and name == "ndarray":
        return _ArrayType
    return _Array if module in _NUMPY_MODULES and name == "_reconstruct" else None


class _ArrayType:
    """Stands for numpy.ndarray where a pickle names the type."""


class _Dtype:
    """Stands for numpy.dtype: little-endian numbers only."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<" or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array is not of plain little-endian numbers")


def _dtype(code: str, *_: Any) -> _Dtype:
    if code not in _DTYPES:
        raise pickle.UnpicklingError(f"an array has the type {code!r}; {', '.join(_DTYPES)} are allowed")
    return _Dtype(code)


class _Array:
    """Stands for an array that is being made: numpy's own `__setstate__` is not called."""

    def __init__(self, *_: Any) -> None:
        self.values: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        import numpy as np

        _, shape, dtype, fortran, body = state
        if not isinstance(dtype, _Dtype) or not isinstance(body, bytes):
            raise pickle.UnpicklingError("an array does not hold plain numbers")
        flat = np.frombuffer(body, dtype=f"<{dtype.code}")
        self.values = flat.reshape(shape, order="F" if fortran else "C")


class _FloatStorage:
    """Stands for torch.FloatStorage."""


class _Module:
    """Stands for any module of a TorchScript archive: what was set on it."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.parts = dict(state)


def _torch_name(module: str, name: str) -> Any:
    """The names of tensors, and every class that the archive defines itself."""
    known = {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch", "FloatStorage"): _FloatStorage,
        ("torch.jit._pickle", "build_intlist"): list,
        ("collections", "OrderedDict"): dict,
    }
    return _Module if module.split(".", maxsplit=1)[0] == "__torch__" else known.get((module, name))


def _tensor(
    storage: NDArray[np.float32], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> NDArray[np.float32]:
    """A contiguous tensor in its storage."""
    expected = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    if tuple(strides) != expected:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} has strides {strides}; {expected} are allowed")
    return storage[offset : offset + math.prod(shape)].reshape(shape)


def _as_array(node: Any) -> NDArray[Any] | None:
    return node.values if isinstance(node, _Array) else None


def _as_tensor(node: Any) -> NDArray[Any] | None:
    import numpy as np

    return node if isinstance(node, np.ndarray) else None


def _flatten(
    node: Any, leaf: Callable[[Any], NDArray[Any] | None], prefix: str = ""
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Dotted names and arrays of a tree of dicts or modules; settings of modules (numbers, lists) are passed over."""
    parts = node.parts if isinstance(node, _Module) else node
    if not isinstance(parts, dict):
        raise pickle.UnpicklingError(f"{prefix or 'the pickle'} is no dict of arrays but {type(node).__name__}")
    for name, part in parts.items():
        if isinstance(part, list) and not isinstance(node, _Module):
            part = {str(index): one for index, one in enumerate(part)}  # noqa: PLW2901
        array = leaf(part)
        if array is not None:
            yield f"{prefix}{name}", array
        elif isinstance(part, dict | _Module):
            yield from _flatten(part, leaf, f"{prefix}{name}.")
        elif not isinstance(node, _Module):
            raise pickle.UnpicklingError(f"{prefix}{name} is no array but {type(part).__name__}")
