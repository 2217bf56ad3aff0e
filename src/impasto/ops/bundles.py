"""TensorFlow's checkpoints ("tensor bundles") without TensorFlow: an index of names, and the raw numbers beside it.

The index is a sorted table as in LevelDB: blocks of keys that share their beginnings, found through a footer. Its
values are small protocol buffers. Nothing in such a file is run, and every place and size is checked.

Sources: LevelDB's doc/table_format.md; tensor_bundle.proto and tensor_shape.proto of TensorFlow.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48  # bytes: two places, padding, the magic number
_TRAILER = 5  # bytes after a block: how it is packed, and a checksum, which the hashes of assets.toml make needless
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # of types.proto
_MOST_DIMENSIONS = 8


def read_bundle(index: bytes, data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint in one part, by name.

    Args:
        index: contents of `NAME.index`.
        data: contents of `NAME.data-00000-of-00001`.

    Raises:
        ValueError: it is no such checkpoint, is packed or split, or a tensor lies outside the data.
    """
    if len(index) < _FOOTER or index[-8:] != _MAGIC:
        raise ValueError("this is no index of a TensorFlow checkpoint")
    footer = _Bytes(index[-_FOOTER:-8])
    for _ in range(2):
        footer.varint()  # where what describes the table lies, which is empty
    blocks = _block(index, footer.varint(), footer.varint())
    entries: dict[str, bytes] = {}
    for _, place in blocks:
        handle = _Bytes(place)
        entries |= {key.decode(): value for key, value in _block(index, handle.varint(), handle.varint())}
    header, _ = _message(entries.pop("", b""))
    if header.get(1, 0) != 1 or header.get(2, 0):
        raise ValueError("the checkpoint lies in several parts, or in big-endian order")
    return {name: _tensor(name, entry, data) for name, entry in entries.items()}


def _tensor(name: str, entry: bytes, data: bytes) -> NDArray[Any]:
    import numpy as np

    numbers, parts = _message(entry)
    dtype = _DTYPES.get(numbers.get(1, 0))
    if dtype is None or 7 in parts:
        raise ValueError(f"{name} is of a kind that is not read")
    sizes = _message(parts[2][-1])[1][2] if 2 in parts else []
    shape = tuple(_message(one)[0].get(1, 0) for one in sizes)
    start, size = numbers.get(4, 0), numbers.get(5, 0)
    fits = len(shape) <= _MOST_DIMENSIONS and math.prod(shape) * np.dtype(dtype).itemsize == size
    if not fits or numbers.get(3, 0) or start + size > len(data):
        raise ValueError(f"{name} does not fit into the data")
    return np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)


def _block(index: bytes, start: int, size: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of one block."""
    if start + size + _TRAILER > len(index):
        raise ValueError("a block lies outside the index")
    if index[start + size]:
        raise ValueError("the index is packed, which is not read")
    restarts = int.from_bytes(index[start + size - 4 : start + size], "little") if size >= 4 else -1
    end = size - 4 - 4 * restarts
    if restarts < 0 or end < 0:
        raise ValueError("a block of the index is damaged")
    block, pairs, key = _Bytes(index[start : start + end]), [], b""
    while not block.done:
        shared, own, length = block.varint(), block.varint(), block.varint()
        if shared > len(key):
            raise ValueError("a key of the index is damaged")
        key = key[:shared] + block.take(own)
        pairs.append((key, block.take(length)))
    return pairs


class _Bytes:
    """Reads forward, never past the end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._content)

    def take(self, count: int) -> bytes:
        if count > len(self._content) - self._at:
            raise ValueError("the index ends too early")
        self._at += count
        return self._content[self._at - count : self._at]

    def varint(self) -> int:
        """A number of seven bits a byte, the lowest first, ten bytes at most."""
        value = 0
        for place in range(10):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value
        raise ValueError("a number of the index is damaged")


def _message(message: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """The integers of a protocol buffer by their fields, the last of each, and all parts of bytes by theirs."""
    rest, integers, parts = _Bytes(message), dict[int, int](), defaultdict[int, list[bytes]](list)
    while not rest.done:
        field, kind = divmod(rest.varint(), 8)
        if kind == 0:
            integers[field] = rest.varint()
        elif kind == 2:
            parts[field].append(rest.take(rest.varint()))
        elif kind in (1, 5):
            rest.take(8 if kind == 1 else 4)  # numbers of a fixed size, such as checksums
        else:
            raise ValueError("an entry of the index is damaged")
    return integers, parts
