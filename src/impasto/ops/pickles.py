"""Pickles read by allow-list: a pickle is a program, so only the few calls that make arrays are let through.

This is the only reader of pickles of others. Four kinds are read. A pickle of nested dicts and lists of numpy arrays
gives its arrays by dotted name. A TorchScript archive (a zip of a pickle, code and raw storages) gives its tensors by
dotted name; the code inside is never looked at. What torch.save wrote of tensors gives containers, numbers and arrays.
A pickle of networks that carry their own source text (torch_utils.persistence of NVIDIA's StyleGAN), or of TensorFlow
networks of the same authors, gives records: names, settings and arrays. The text is dropped.

What a pickle names is looked up in a list of stand-ins that hold nothing and cannot be changed from within. What comes
out is bounded by the size of the file, also where parts are named again and again. Whatever is wrong is an
UnpicklingError.
"""

from __future__ import annotations

import io
import math
import pickle  # read through _Reader alone, which refuses every name that is not listed below
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_DTYPES = ("f2", "f4", "f8", "i4", "i8", "b1")
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
    "BFloat16Storage": "bfloat16",
}
_ZIP = b"PK\x03\x04"
# classes as Python 2 made them, registered codes, and buffers from outside: no file that is read here has them
_REFUSED = frozenset({"INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
_GROWING = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})  # what is there already
_DEEPEST = 100  # containers within containers
_DEEPEST_CALLS = 10 * _DEEPEST  # what is called, and with what, counts, too
_MOST = 1_000_000  # parts, each counted as often as it is named
_TIMES = 4  # as many bytes as the file has may come out: archives shrink a little, and networks name a tensor twice
_SPARE = 1 << 20  # bytes beside
_PIECE = 1 << 24  # bytes of an archive that are read at once

_Name = str | int | float | bool | bytes | None  # what may name a part


def read_arrays(payload: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a pickle of nested dicts and lists of numpy arrays, such as `{"Conv_0.kernel": (11, 11, 3, 64)}`.

    Lists count from 0: `{"conv1": [kernel, bias]}` gives `conv1.0` and `conv1.1`.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but numpy arrays, or holds anything else.
    """
    with _refusing():
        return dict(_flatten(_Plain(len(payload))(_Reader(io.BytesIO(payload), _numpy_name).load())))


def read_torchscript(payload: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a TorchScript archive by the path of their modules, such as `net.conv.weight`.

    Raises:
        pickle.UnpicklingError: it is no such archive, or asks for anything but tensors in modules.
    """
    with _refusing(), _Archive(io.BytesIO(payload), len(payload)) as archive:
        return dict(_flatten(archive.load(_torchscript_name)))


def read_checkpoint(source: Path | bytes) -> Any:
    """What torch.save wrote, in an archive or as before there were archives: containers, numbers, and arrays.

    Args:
        source: a file, or what is in one. Of a file that is an archive, storages are read one by one.

    Returns:
        Arrays of bfloat16 come as float32. Tensors that share their numbers there share them here.

    Raises:
        OSError: the file cannot be read.
        pickle.UnpicklingError: it asks for anything but tensors of plain numbers, or is damaged.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file, _refusing():
        begin, size = file.read(len(_ZIP)), file.seek(0, io.SEEK_END)
        file.seek(0)
        if begin == _ZIP:
            with _Archive(file, size) as archive:
                return archive.load(_checkpoint_name)
        return _Plain(size)(_before_archives(file.read()))


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
    with _refusing():
        return _Plain(len(payload))(_Reader(io.BytesIO(payload), _record_name).load())


@contextmanager
def _refusing() -> Iterator[None]:
    """Make one error of all that broken pickles and archives raise, which is whatever they like."""
    try:
        yield
    except (pickle.UnpicklingError, OSError):
        raise
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise pickle.UnpicklingError(f"it is damaged: {told}") from error


# --- readers ----------------------------------------------------------------------------------------------------------


class _Reader(pickle.Unpickler):
    """An unpickler that looks names up in `allow` and nowhere else.

    Args:
        file: at the beginning of a pickle.
        allow: the stand-in of a module's name; None where it is not allowed.
        stored: the numbers of a storage beside the pickle, by key, kind and count; None where there are none.
    """

    def __init__(
        self,
        file: io.BytesIO,
        allow: Callable[[str, str], Any],
        stored: Callable[[str, str, Any], Any] | None = None,
    ) -> None:
        _check_opcodes(file)
        super().__init__(file)
        self._allow, self._stored = allow, stored

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`. Raises UnpicklingError for a name that is not allowed."""
        found = self._allow(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """`("storage", kind, key, device, count)`; before archives with a view, which is none."""
        right = isinstance(pid, tuple) and len(pid) in (5, 6) and isinstance(pid[1], _StorageType)
        if self._stored is None or not right or not isinstance(pid[2], str):
            raise _outside()
        if pid[5:] not in ((), (None,)):
            raise pickle.UnpicklingError("a storage is a part of another one")
        return self._stored(pid[2], pid[1].code, pid[4])


def _check_opcodes(file: io.BytesIO) -> None:
    """Look at a pickle before it is read, and go back to its beginning.

    Raises:
        UnpicklingError: for opcodes that are never needed; for parts that are numbered beyond the pickle's length, as
            memory would be taken up to that number; and for parts that nest deeply or double again and again: of tuples
            as names in a dict, the hash would overflow the stack, or take for ever.
    """
    begin = file.tell()
    most = file.seek(0, io.SEEK_END)
    file.seek(begin)
    stack, memo = list[_Extent | None](), dict[int, _Extent | None]()  # a mark is None
    try:
        for code, part, _ in pickletools.genops(file):
            if code.name in _REFUSED:
                raise pickle.UnpicklingError(f"the pickle uses {code.name}, which is not allowed")
            if code.name.endswith("PUT") and int(part or 0) > most:
                raise pickle.UnpicklingError(f"the pickle has {most} bytes and a part of number {part}")
            _follow(code, part, stack, memo)
    except LookupError as error:
        raise pickle.UnpicklingError("the pickle is damaged: it asks for a part that it lacks") from error
    except ValueError as error:
        raise pickle.UnpicklingError(f"the pickle is damaged: {error}") from error
    file.seek(begin)


@dataclass
class _Extent:
    """Of what a pickle makes: its parts, each counted as often as it is named, and how deep they nest."""

    parts: int = 1
    depth: int = 0

    def take(self, others: Sequence[_Extent | None]) -> None:
        """Grow by what is put into it. Raises UnpicklingError where that is too much."""
        for one in others:
            if one is not None:
                self.parts, self.depth = self.parts + one.parts, max(self.depth, one.depth + 1)
        if self.parts > _MOST:
            raise _too_often()
        if self.depth > _DEEPEST_CALLS:
            raise _too_deep()


def _follow(code: Any, part: Any, stack: list[_Extent | None], memo: dict[int, _Extent | None]) -> None:
    """Do to the extents on the stack what an opcode does to the stack."""
    if code.name.endswith("GET"):
        stack.append(memo[int(part)])
    elif code.name.endswith("PUT"):
        memo[int(part)] = stack[-1]
    elif code.name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif code.name == "MARK":
        stack.append(None)
    elif code.name == "DUP":
        stack.append(stack[-1])
    else:
        before, inside = len(code.stack_before), []
        if pickletools.markobject in code.stack_before:
            before = code.stack_before.index(pickletools.markobject)
            while (one := stack.pop()) is not None:
                inside.append(one)
        taken = [stack.pop() for _ in range(before)][::-1]
        if code.stack_after:
            made = taken.pop(0) if code.name in _GROWING else None
            made = made or _Extent()
            made.take([*taken, *inside])
            stack.append(made)


def _too_often() -> pickle.UnpicklingError:
    return pickle.UnpicklingError("the pickle names its parts so often that they would fill the memory")


def _too_deep() -> pickle.UnpicklingError:
    return pickle.UnpicklingError("the pickle is nested too deeply")


def _outside() -> pickle.UnpicklingError:
    return pickle.UnpicklingError("the pickle refers to something outside itself")


class _Archive:
    """What torch.save and TorchScript write: a zip of a pickle and of storages, which lie there as they are.

    Args:
        file: the zip.
        size: its bytes.
    """

    def __init__(self, file: Any, size: int) -> None:
        self._zip, self._size, self._left = zipfile.ZipFile(file), size, _TIMES * size + _SPARE
        self._storages: dict[str, Any] = {}

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def load(self, allow: Callable[[str, str], Any]) -> Any:
        """What the pickle holds, with plain arrays."""
        names = [name for name in self._zip.namelist() if name.endswith("/data.pkl")]
        if not names:
            raise pickle.UnpicklingError("the archive holds no data.pkl")
        root = names[0].removesuffix("data.pkl")

        def stored(key: str, code: str, count: Any) -> NDArray[Any]:
            if key not in self._storages:  # tensors may share one
                content = self._read(f"{root}data/{key}")
                self._storages[key] = code, count, _numbers(content, code, count, 0, len(content))
            if self._storages[key][:2] != (code, count):
                raise pickle.UnpicklingError(f"storage {key} is of two kinds")
            found: NDArray[Any] = self._storages[key][2]
            return found

        reader = _Reader(io.BytesIO(self._read(names[0])), allow, stored)
        return _Plain(self._size)(reader.load())

    def _read(self, name: str) -> bytearray:
        """An entry, no longer than it says; entries that unpack to far more than the archive are refused."""
        length = self._zip.getinfo(name).file_size
        self._left -= length
        if self._left < 0:
            raise pickle.UnpicklingError("the archive unpacks to many times its size")
        content, place = bytearray(length), 0
        with self._zip.open(name) as entry:
            while piece := entry.read(_PIECE):
                content[place : place + len(piece)] = piece
                place += len(piece)
        if place != length:
            raise pickle.UnpicklingError(f"{name} in the archive is shorter than it says")
        return content


def _before_archives(payload: bytes) -> Any:
    """What PyTorch wrote before its archives: five pickles, then for each storage a count and the raw numbers.

    The numbers come last. So what was saved, the fourth pickle, is read twice: first for the kinds of storages.
    """
    file = io.BytesIO(payload)
    for _ in range(3):  # a magic number, a version, and what the machine was like
        _Reader(file, _no_name).load()
    begin, kinds = file.tell(), dict[str, tuple[str, Any]]()
    _Reader(file, _unbuilt_name, lambda key, code, count: kinds.setdefault(key, (code, count))).load()
    keys = _Reader(file, _no_name).load()
    if not isinstance(keys, list) or set(keys) != kinds.keys():
        raise _outside()
    storages, place = dict[str, Any](), file.tell()
    for key in keys:
        code, count = kinds[key]
        if int.from_bytes(payload[place : place + 8], "little") != count:
            raise pickle.UnpicklingError(f"storage {key} does not have {count} numbers")
        storages[key] = _numbers(payload, code, count, place + 8, len(payload))
        place += 8 + count * _size_of(code)
    if place != len(payload):
        raise pickle.UnpicklingError("there are bytes after the last storage")
    file.seek(begin)
    return _Reader(file, _checkpoint_name, lambda key, _code, _count: storages[key]).load()


def _numbers(content: bytes | bytearray, code: str, count: Any, begin: int, end: int) -> NDArray[Any]:
    """So many numbers of a kind, where they lie; bfloat16 as float32."""
    import numpy as np

    if not _is_count(count) or count * _size_of(code) > end - begin:
        raise pickle.UnpicklingError(f"a storage of {count} numbers is not as long as it says")
    if code != "bfloat16":
        return np.frombuffer(content, code, count, begin)
    return (np.frombuffer(content, "<u2", count, begin).astype("<u4") << 16).view("<f4")


def _size_of(code: str) -> int:
    """Bytes of a number."""
    return 2 if code == "bfloat16" else int(code[-1])


def _strided(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> NDArray[Any]:
    """A tensor in its storage; a contiguous copy where it is not."""
    import numpy as np

    numbers = (offset, *shape, *strides)
    if not isinstance(storage, np.ndarray) or len(shape) != len(strides) or not all(map(_is_count, numbers)):
        raise pickle.UnpicklingError("a tensor has no plain shape")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.size or (math.prod(shape) and last >= storage.size):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} does not fit into its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)).reshape(shape)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and number >= 0


# --- stand-ins --------------------------------------------------------------------------------------------------------


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


class _ArrayType(metaclass=_Sealed):
    """Stands for numpy.ndarray where a pickle names the type."""


class _Dtype(metaclass=_Sealed):
    """Stands for numpy.dtype: little-endian numbers only."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != ("|" if self.code == "b1" else "<") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array is not of plain little-endian numbers")


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


class _StateDict(dict[str, Any], metaclass=_Sealed):
    """Stands for the dict of a network's tensors; the versions of its modules, which are set on it, are dropped."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or state.keys() != {"_metadata"}:
            raise pickle.UnpicklingError("a dict of tensors holds more than its entries")


class _Object(metaclass=_Sealed):
    """Stands for any module, network or set of settings: what was set on it, without source text."""

    def __init__(self) -> None:
        self.parts: dict[Any, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a network is no dict of settings")
        self.parts = {name: part for name, part in state.items() if name != "build_module_src"}


def _numpy_name(module: str, name: str) -> Any:
    """The three names by which numpy pickles an array, and their stand-ins."""
    if module == "numpy" and name == "dtype":
        return _Call(_dtype)
    if module == "numpy" and name == "ndarray":
        return _ArrayType
    return _Array if module in _NUMPY_MODULES and name == "_reconstruct" else None


def _dtype(code: str, *_: Any) -> _Dtype:
    if code not in _DTYPES:
        raise pickle.UnpicklingError(f"an array has the type {code!r}; {', '.join(_DTYPES)} are allowed")
    return _Dtype(code)


def _tensor_name(module: str, name: str) -> Any:
    """The names by which PyTorch pickles a tensor, and their stand-ins."""
    known = {
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor"): _Call(_strided),  # of PyTorch before 0.4
        ("torch._utils", "_rebuild_tensor_v2"): _Call(_strided),
        ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
    }
    return known.get((module, name))


def _storage_name(module: str, name: str) -> Any:
    known = name in _STORAGES and module in ("torch", "torch.cuda")
    return _StorageType(_STORAGES[name]) if known else None


def _checkpoint_name(module: str, name: str) -> Any:
    """The names in checkpoints of tensors, and their stand-ins."""
    known = {
        ("collections", "OrderedDict"): _StateDict,
        ("argparse", "Namespace"): _Object,  # settings of the training
    }
    return known.get((module, name)) or _tensor_name(module, name) or _storage_name(module, name)


def _unbuilt_name(module: str, name: str) -> Any:
    """The same where tensors are not made."""
    return _Call(lambda *_: None) if module == "torch._utils" else _checkpoint_name(module, name)


def _no_name(_module: str, _name: str) -> Any:
    return None


def _torchscript_name(module: str, name: str) -> Any:
    """The names of tensors, and every class that the archive defines itself."""
    if module.split(".", maxsplit=1)[0] == "__torch__":
        return _Object
    return list if (module, name) == ("torch.jit._pickle", "build_intlist") else _checkpoint_name(module, name)


def _record_name(module: str, name: str) -> Any:
    """The names in pickles of networks, and their stand-ins."""
    known = {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Call(_record),
        ("dnnlib.tflib.network", "Network"): _Object,
        ("dnnlib.util", "EasyDict"): _Namespace,
        ("collections", "OrderedDict"): dict,
        ("builtins", "set"): set,
        ("torch.storage", "_load_from_bytes"): _Call(_storage),
    }
    if module in _NUMPY_MODULES and name == "scalar":
        return _Call(_scalar)
    return known.get((module, name)) or _tensor_name(module, name) or _numpy_name(module, name)


def _record(meta: Mapping[str, Any]) -> Record:
    """An object by what its reduction says; its source text (`module_src`) is not looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise pickle.UnpicklingError("an object with source text is not of a kind that is known")
    if not isinstance(meta.get("class_name"), str):
        raise pickle.UnpicklingError("an object with source text has no name")
    return Record(meta["class_name"], meta["state"])


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


# --- what comes out ---------------------------------------------------------------------------------------------------


class _Plain:
    """Replaces stand-ins by what they stand for, and bounds what comes out.

    What is named twice is replaced once. It counts twice: whoever walks through all parts, or turns all arrays into
    others, takes no longer and no more memory than a file of that size may ask for.

    Args:
        size: bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._bytes = _TIMES * size + _SPARE
        self._done: dict[int, tuple[Any, int, int]] = {}

    def __call__(self, node: Any) -> Any:
        return self._counted(node, 0)[0]

    def _counted(self, node: Any, depth: int) -> tuple[Any, int, int]:
        """What it stands for, its parts, and their bytes."""
        import numpy as np

        if depth > _DEEPEST:
            raise _too_deep()
        if isinstance(node, _Array):
            node = node.values
        if isinstance(node, np.ndarray):
            return node, 1, node.nbytes
        if not isinstance(node, _Object | Record | dict | list | tuple):
            return node, 1, 0
        if id(node) not in self._done:
            self._done[id(node)] = self._replaced(node, depth + 1)
        return self._done[id(node)]

    def _replaced(self, node: Any, depth: int) -> tuple[Any, int, int]:
        held = node.parts if isinstance(node, _Object | Record) else node
        parts = [self._counted(part, depth) for part in (held.values() if isinstance(held, dict) else held)]
        count, most = 1 + sum(part[1] for part in parts), sum(part[2] for part in parts)
        if count > _MOST or most > self._bytes:
            raise _too_often()
        values = [part[0] for part in parts]
        if not isinstance(held, dict):
            return values, count, most
        if not all(isinstance(name, _Name) for name in held):
            raise pickle.UnpicklingError("the pickle has a name that is no text")
        named = {str(name): value for name, value in zip(held, values, strict=True)}
        if isinstance(node, _Object | Record):
            return Record(node.name if isinstance(node, Record) else "", named), count, most
        return named, count, most


def _flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Dotted names and arrays of a tree of dicts or records; settings of records (numbers, lists) are passed over."""
    import numpy as np

    inside = isinstance(node, Record)
    parts = node.parts if isinstance(node, Record) else node
    if not isinstance(parts, dict):
        raise pickle.UnpicklingError(f"{prefix or 'the pickle'} is no dict of arrays but {type(node).__name__}")
    for name, part in parts.items():
        if isinstance(part, list) and not inside:
            part = {str(index): one for index, one in enumerate(part)}  # noqa: PLW2901
        if isinstance(part, np.ndarray):
            yield f"{prefix}{name}", part
        elif isinstance(part, dict | Record):
            yield from _flatten(part, f"{prefix}{name}.")
        elif not inside:
            raise pickle.UnpicklingError(f"{prefix}{name} is no array but {type(part).__name__}")
