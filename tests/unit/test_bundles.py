"""TensorFlow's checkpoints without TensorFlow, against a writer of our own that follows the format's description."""

import numpy as np
import pytest

from impasto.ops.bundles import read_bundle

TENSORS = {
    "conv/bias": np.array([1.5, -2, 3], np.float32),
    "conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "conv/steps": np.array(7, np.int64),
    "dense": np.zeros((0, 5), np.float32),
}
KINDS = {"float32": 1, "int64": 9}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, int):
        return varint(number * 8) + varint(value)
    return varint(number * 8 + 2) + varint(len(value)) + value


def block(pairs):
    """A block whose keys share their beginnings, with its restart and trailer."""
    out, last = b"", b""
    for key, value in pairs:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little"), b"\0" + bytes(4)


def written(tensors, *, header=b"\x08\x01", changed=None):
    """Index and data; changed: replaces fields of the entries."""
    data, pairs = b"", [(b"", header)]
    for name, tensor in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        own = {1: KINDS[str(tensor.dtype)], 2: shape, 4: len(data), 5: tensor.nbytes, **(changed or {})}
        pairs.append((name.encode(), b"".join(field(*pair) for pair in own.items()) + varint(6 * 8 + 5) + b"crc!"))
        data += tensor.tobytes()
    content, trailer = block(pairs)
    listed, _ = block([(b"z", varint(0) + varint(len(content)))])
    footer = varint(0) * 2 + varint(len(content) + 5) + varint(len(listed))
    footer = footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    return content + trailer + listed + trailer + footer, data


def test_tensors_come_back_with_their_names_kinds_and_shapes():
    read = read_bundle(*written(TENSORS))
    assert list(read) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        np.testing.assert_array_equal(read[name], tensor)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"header": field(1, 2)}, "in several parts"),
        ({"header": field(1, 1) + field(2, 1)}, "big-endian"),
        ({"changed": {1: 7}}, "of a kind that is not read"),
        ({"changed": {4: 1 << 40}}, "does not fit into the data"),
        ({"changed": {5: 1 << 40}}, "does not fit into the data"),
        ({"changed": {2: field(2, field(1, 1 << 62))}}, "does not fit into the data"),
        ({"changed": {3: 1}}, "does not fit into the data"),
    ],
)
def test_what_is_split_strange_or_too_large_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        read_bundle(*written({"a": TENSORS["conv/bias"]}, **options))


def test_a_packed_index_and_another_file_are_refused():
    index, data = written(TENSORS)
    packed = index.replace(b"\0" + bytes(4) + b"\0\1", b"\1" + bytes(4) + b"\0\1", 1)
    assert packed != index
    with pytest.raises(ValueError, match="packed"):
        read_bundle(packed, data)
    with pytest.raises(ValueError, match="no index"):
        read_bundle(b"no table at all" * 9, data)


def test_a_damaged_checkpoint_gives_tensors_or_a_value_error_and_nothing_else():
    index, data = written(TENSORS)
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(3000):
        broken = bytearray(index)
        for place in rng.integers(0, len(index) - 8, 1 + trial % 3):
            broken[place] = rng.integers(256)
        try:
            read = read_bundle(bytes(broken), data[: rng.integers(len(data) + 1)])
        except ValueError:
            refused += 1
        else:
            assert all(tensor.nbytes <= len(data) for tensor in read.values())
    assert refused > 2000
