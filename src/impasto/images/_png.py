"""PNG chunks: check them before decoding, and add metadata to what a codec has encoded.

Source: Portable Network Graphics (Third Edition), 5 datastream structure, 11 chunk specifications.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, `(name, body)`, each with its checksum verified.

    Raises:
        ValueError: the file is truncated or a chunk is altered.
    """
    position = len(SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise ValueError("the file is truncated")
        size, name = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + size]
        if len(body) < size or position + 12 + size > len(data):
            raise ValueError("the file is truncated")
        (checksum,) = struct.unpack_from(">I", data, position + 8 + size)
        if checksum != zlib.crc32(body, zlib.crc32(name)):
            raise ValueError(f"the checksum of {name!r} is wrong")
        yield name, body
        if name == b"IEND":
            return
        position += 12 + size


def without_metadata(data: bytes) -> bytes:
    """A PNG with nothing but its pixels, so that metadata can neither fail a codec nor change what it does."""
    return SIGNATURE + b"".join(chunk(name, body) for name, body in chunks(data) if name in _PIXEL_CHUNKS)


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk, framed."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def with_chunks(data: bytes, extra: Iterable[bytes]) -> bytes:
    """A PNG with framed chunks put in right after its header, where all that we write may stand."""
    end = len(SIGNATURE) + 12 + 13
    return data[:end] + b"".join(extra) + data[end:]


def profile_chunk(icc: bytes) -> bytes:
    """The iCCP chunk."""
    return chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))


def text_chunk(key: str, text: str, *, compress: bool = False) -> bytes:
    """An iTXt chunk: UTF-8 text under a Latin-1 key of 1 to 79 bytes."""
    name = key.encode("latin-1", "replace").replace(b"\0", b"")[:79] or b"Comment"
    body = text.encode("utf-8", "replace")
    flags = b"\0\1\0\0\0" if compress else b"\0\0\0\0\0"
    return chunk(b"iTXt", name + flags + (zlib.compress(body) if compress else body))


def density_chunk(dpi: tuple[float, float]) -> bytes:
    """The pHYs chunk; the unit is the metre."""
    return chunk(b"pHYs", struct.pack(">IIB", *(min(round(value / 0.0254), 2**31 - 1) for value in dpi), 1))
