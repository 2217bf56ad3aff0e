"""Pickles read by allow-list: a pickle is a program, so only the few calls that make arrays are let through.

Four kinds are read. A pickle of nested dicts and lists of numpy arrays gives its arrays by dotted name. A TorchScript
archive (a zip of a pickle, code and raw storages) gives its tensors by dotted name; the code inside is never looked at.
What torch.save wrote of tensors gives containers, numbers and arrays. A pickle of networks that carry their own source
text (torch_utils.persistence of NVIDIA's StyleGAN), or of TensorFlow networks of the same authors, gives records:
names, settings and arrays. The text is dropped.

What a pickle names is looked up in a list of stand-ins that hold nothing and cannot be changed from within.
"""

from __future__ import annotations

import io
import math
import pickle  # read through _Reader alone, which refuses every name that is not listed below
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_DTYPES = ("f2", "f4", "f8", "i4", "i8", "b1")
_ZIP = b"PK\x03\x04"


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


def read_checkpoint(payload: bytes) -> Any:
    """What torch.save wrote, in an archive or as before there were archives: containers, numbers, and arrays.

    Raises:
        pickle.UnpicklingError: it asks for anything but tensors of plain numbers.
        zipfile.BadZipFile, KeyError: the archive is damaged.
    """
    if not payload.startswith(_ZIP):
        return _Plain()(_before_archives(payload))
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")

        def stored(key: str, code: str, count: int) -> NDArray[Any]:
            content = archive.read(f"{root}data/{key}")
            return _numbers(content, code, count, 0, len(content))

        reader = _StoredReader(io.BytesIO(archive.read(f"{root}data.pkl")), _checkpoint_name, stored)
        return _Plain()(reader.load())


@dataclass(frozen=True)
class Record:
    """What a pickle says of an object, which is not made.

    Attributes:
        name: of its class.
        parts: what was set on it: numbers, text, arrays, containers, other records.
    """

    name: str
    parts: Mapping[str, Any]


def read_records(payload: bytes) -> Any:
    """A pickle of networks that carry their source text: containers, numbers, arrays, and a `Record` for each object.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything else.
    """
    return _Plain()(_Reader(io.BytesIO(payload), _record_name).load())


class _Reader(pickle.Unpickler):
    """An unpickler that looks names up in `allow` and nowhere else."""

    def __init__(self, file: io.BytesIO, allow: Callable[[str, str], Any]) -> None:
        _check_memo(file)
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
            raise _outside()
        values = np.frombuffer(self.storage(str(pid[2])), dtype="<f4")
        if values.size != pid[4]:
            raise pickle.UnpicklingError(f"storage {pid[2]} has {values.size} numbers instead of {pid[4]}")
        return values


def _check_memo(file: io.BytesIO) -> None:
    """Raise UnpicklingError where parts are numbered beyond the pickle's length: memory is taken up to that number."""
    begin, most = file.tell(), file.getbuffer().nbytes
    try:
        highest = max(
            (int(part or 0) for code, part, _ in pickletools.genops(file) if code.name.endswith("PUT")), default=0
        )
    except (ValueError, LookupError) as error:
        raise pickle.UnpicklingError(f"the pickle is damaged: {error}") from error
    if highest > most:
        raise pickle.UnpicklingError(f"the pickle has {most} bytes and a part of number {highest}")
    file.seek(begin)


def _outside() -> pickle.UnpicklingError:
    return pickle.UnpicklingError("the pickle refers to something outside itself")


class _Sealed(type):
    """Of stand-ins: a pickle that sets something on the class itself, which would outlast it, is refused."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"the pickle would change {cls.__name__}")


class _Call(metaclass=_Sealed):
    """A function that a pickle may call, and on which it can set nothing."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("the pickle would change a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the pickle would change a function")


def _numpy_name(module: str, name: str) -> Any:
    """The three names by which numpy pickles an array, and their stand-ins."""
    if module == "numpy" and name == "dtype":
        return _Call(_dtype)
    if module == "numpy" and name == "ndarray":
        return _ArrayType
    return _Array if module in _NUMPY_MODULES and name == "_reconstruct" else None


class _ArrayType(metaclass=_Sealed):
    """Stands for numpy.ndarray where a pickle names the type."""


class _Dtype(metaclass=_Sealed):
    """Stands for numpy.dtype: little-endian numbers only."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != ("|" if self.code == "b1" else "<") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array is not of plain little-endian numbers")


def _dtype(code: str, *_: Any) -> _Dtype:
    if code not in _DTYPES:
        raise pickle.UnpicklingError(f"an array has the type {code!r}; {', '.join(_DTYPES)} are allowed")
    return _Dtype(code)


class _Array(metaclass=_Sealed):
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


class _FloatStorage(metaclass=_Sealed):
    """Stands for torch.FloatStorage."""


class _Module(metaclass=_Sealed):
    """Stands for any module of a TorchScript archive: what was set on it."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.parts = dict(state)


def _torch_name(module: str, name: str) -> Any:
    """The names of tensors, and every class that the archive defines itself."""
    known = {
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
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


_STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
_DEEPEST = 100  # containers within containers


class _StorageType(metaclass=_Sealed):
    """Stands for a kind of storage."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the pickle would change a kind of storage")


class _Namespace(dict[str, Any], metaclass=_Sealed):
    """Stands for a dict whose entries are attributes, too."""

    def __setstate__(self, state: Any) -> None:
        if state:
            raise pickle.UnpicklingError("a namespace holds more than its entries")


class _Network(metaclass=_Sealed):
    """Stands for a TensorFlow network: what was set on it, without its source text."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a network is no dict of settings")
        self.parts = {name: part for name, part in state.items() if name != "build_module_src"}


def _record_name(module: str, name: str) -> Any:
    """The names in pickles of networks, and their stand-ins."""
    known = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_record),
        ("dnnlib.tflib.network", "Network"): _Network,
        ("dnnlib.util", "EasyDict"): _Namespace,
        ("collections", "OrderedDict"): dict,
        ("builtins", "set"): set,
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_strided),
        ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
        ("torch.storage", "_load_from_bytes"): _Call(_storage),
    }
    if module in _NUMPY_MODULES and name == "scalar":
        return _Call(_scalar)
    return known.get((module, name)) or _numpy_name(module, name)


def _record(meta: Mapping[str, Any]) -> Record:
    """An object by what its reduction says; its source text (`module_src`) is not looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise pickle.UnpicklingError("an object with source text is not of a kind that is known")
    return Record(str(meta.get("class_name")), meta["state"])


def _scalar(dtype: Any, body: Any) -> float:
    """A number of numpy."""
    import numpy as np

    if not isinstance(dtype, _Dtype) or not isinstance(body, bytes):
        raise pickle.UnpicklingError("a number is not plain")
    return float(np.frombuffer(body, dtype=f"<{dtype.code}", count=1)[0])


def _storage(payload: Any) -> NDArray[Any]:
    """A storage by itself, as PyTorch pickled it before its archives."""
    import numpy as np

    found = _before_archives(payload) if isinstance(payload, bytes) else None
    if not isinstance(found, np.ndarray):
        raise _outside()
    return found


def _before_archives(payload: bytes) -> Any:
    """What PyTorch wrote before its archives: five pickles, then for each storage a count and the raw numbers.

    The numbers come last. So what was saved, the fourth pickle, is read twice: first for the kinds of storages.
    """
    file = io.BytesIO(payload)
    for _ in range(3):  # a magic number, a version, and what the machine was like
        _Reader(file, _no_name).load()
    begin, kinds = file.tell(), dict[str, tuple[str, int]]()
    _StoredReader(file, _unbuilt_name, lambda key, code, count: kinds.setdefault(key, (code, count))).load()
    keys = _Reader(file, _no_name).load()
    if not isinstance(keys, list) or set(keys) != kinds.keys():
        raise _outside()
    storages, place = dict[str, Any](), file.tell()
    for key in keys:
        code, count = kinds[key]
        if int.from_bytes(payload[place : place + 8], "little") != count:
            raise pickle.UnpicklingError(f"storage {key} does not have {count} numbers")
        storages[key] = _numbers(payload, code, count, place + 8, len(payload))
        place += 8 + storages[key].nbytes
    if place != len(payload):
        raise pickle.UnpicklingError("there are bytes after the last storage")
    file.seek(begin)
    return _StoredReader(file, _checkpoint_name, lambda key, _code, _count: storages[key]).load()


def _numbers(content: bytes, code: str, count: Any, begin: int, end: int) -> NDArray[Any]:
    """So many numbers of a kind."""
    import numpy as np

    size = np.dtype(code).itemsize
    if not _is_count(count) or count * size > end - begin:
        raise pickle.UnpicklingError(f"a storage of {count} numbers is not as long as it says")
    return np.frombuffer(content, code, count, begin)


class _StoredReader(_Reader):
    """Reads tensors whose numbers lie in storages beside the pickle, which `stored` gives by key, kind and count."""

    def __init__(
        self, file: io.BytesIO, allow: Callable[[str, str], Any], stored: Callable[[str, str, int], Any]
    ) -> None:
        super().__init__(file, allow)
        self._stored = stored

    def persistent_load(self, pid: Any) -> Any:
        """`("storage", kind, key, device, count)`; before archives with a view, which is none."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or not isinstance(pid[1], _StorageType):
            raise _outside()
        if pid[5:] not in ((), (None,)):
            raise pickle.UnpicklingError("a storage is a part of another one")
        return self._stored(str(pid[2]), pid[1].code, pid[4])


class _StateDict(dict[str, Any], metaclass=_Sealed):
    """Stands for the dict of a network's tensors; the versions of its modules, which are set on it, are dropped."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or state.keys() != {"_metadata"}:
            raise pickle.UnpicklingError("a dict of tensors holds more than its entries")


def _checkpoint_name(module: str, name: str) -> Any:
    """The names in checkpoints of tensors, and their stand-ins."""
    known = {
        ("collections", "OrderedDict"): _StateDict,
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_strided),
        ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
    }
    return known.get((module, name)) or _storage_name(module, name)


def _unbuilt_name(module: str, name: str) -> Any:
    """The same where tensors are not made."""
    return _Call(lambda *_: None) if module == "torch._utils" else _checkpoint_name(module, name)


def _no_name(_module: str, _name: str) -> Any:
    return None


def _storage_name(module: str, name: str) -> Any:
    known = name in _STORAGES and module in ("torch", "torch.cuda")
    return _StorageType(_STORAGES[name]) if known else None


def _strided(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
    """A tensor in its storage, contiguous."""
    import numpy as np

    numbers = (offset, *shape, *strides)
    if not isinstance(storage, np.ndarray) or len(shape) != len(strides) or not all(map(_is_count, numbers)):
        raise pickle.UnpicklingError("a tensor has no plain shape")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.size or (math.prod(shape) and last >= storage.size):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} does not fit into its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False).copy()


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and number >= 0


class _Plain:
    """Replaces stand-ins by what they stand for. What is named twice is replaced once: else nesting could double it."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def __call__(self, node: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise pickle.UnpicklingError("the pickle is nested too deeply")
        if isinstance(node, _Array):
            return node.values
        if id(node) not in self._done and isinstance(node, _Network | Record | dict | list | tuple):
            self._done[id(node)] = self._replaced(node, depth + 1)
        return self._done.get(id(node), node)

    def _replaced(self, node: Any, depth: int) -> Any:
        if isinstance(node, _Network):
            return Record("Network", self(node.parts, depth))
        if isinstance(node, Record):
            return Record(node.name, self(node.parts, depth))
        if isinstance(node, dict):
            return {str(name): self(part, depth) for name, part in node.items()}
        return [self(part, depth) for part in node]


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
