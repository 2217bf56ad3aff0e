"""Pickles are programs: what is not an array is refused before it runs."""

import io
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch

import stylegan_files
from impasto.assets import _convert
from impasto.errors import AssetError
from impasto.ops.pickles import read_arrays, read_checkpoint, read_records, read_torchscript


class Runs:
    """Calls something when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("array", [np.arange(24.0).reshape(2, 3, 4), np.asfortranarray(np.eye(3, 4, dtype=np.float32))])
def test_arrays_come_back_by_dotted_name(protocol, array):
    found = read_arrays(pickle.dumps({"Conv_0": {"kernel": array}, "bias": np.ones(2, np.float32)}, protocol=protocol))
    assert set(found) == {"Conv_0.kernel", "bias"}
    np.testing.assert_array_equal(found["Conv_0.kernel"], array)
    assert found["Conv_0.kernel"].dtype == array.dtype


def test_lists_of_arrays_count_from_0():
    found = read_arrays(pickle.dumps({"conv1": [np.ones((1, 2)), np.zeros(2)]}, protocol=3))
    assert {name: array.shape for name, array in found.items()} == {"conv1.0": (1, 2), "conv1.1": (2,)}


@pytest.mark.parametrize(
    "evil",
    [
        Runs(os.system, "touch ran"),
        Runs(eval, "1"),
        Runs(getattr, {}, "pop"),
        Runs(np.load, "ran"),
        Runs(np.save, "ran", 1),
        np.array([Runs(os.system, "touch ran")], dtype=object),
        {"deep": {"deeper": Runs(open, "ran", "w")}},
    ],
)
def test_a_pickle_that_would_run_code_is_refused(evil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4, 5):
        with pytest.raises(pickle.UnpicklingError):
            read_arrays(pickle.dumps({"kernel": evil}, protocol=protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [{"a": 1}, {"a": "text"}, [np.ones(2)], {"a": np.array(["x"])}, {"a": ["x"]}])
def test_what_is_no_array_is_refused(other):
    with pytest.raises(pickle.UnpicklingError):
        read_arrays(pickle.dumps(other, protocol=3))


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, (1, 3), padding=1)
        self.deeper = torch.nn.Sequential(torch.nn.Linear(4, 5))

    def forward(self, x):
        return self.deeper(self.conv(x).mean((2, 3)))


@pytest.fixture(scope="module")
def archive():
    torch.manual_seed(0)
    network = Tiny().eval()
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(network, torch.rand(1, 3, 8, 8)), buffer)
    return network, buffer.getvalue()


def test_torchscript_tensors_are_read_without_running_it(archive):
    network, payload = archive
    found = read_torchscript(payload)
    expected = network.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_an_evil_torchscript_is_refused(archive, tmp_path):
    payload = archive[1]
    evil = pickle.dumps({"w": Runs(os.system, f"touch {tmp_path}/ran")}, protocol=2)
    with pytest.raises(pickle.UnpicklingError, match=r"system.*not allowed"):
        read_torchscript(replaced(payload, "data.pkl", evil))
    with pytest.raises(pickle.UnpicklingError, match="not as long as it says"):
        read_torchscript(replaced(payload, "data/0", b"\0" * 4))
    assert not list(tmp_path.iterdir())


def saved(value, *, archive):
    torch.save(value, buffer := io.BytesIO(), _use_new_zipfile_serialization=archive)
    return buffer.getvalue()


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before archives"])
class TestCheckpoints:
    def test_tensors_come_back_as_torch_reads_them(self, archive):
        shared = torch.arange(24.0).reshape(4, 6)
        state = {
            **Tiny().state_dict(),
            "turned": shared.T,
            "part": shared[1:3, 2:5],
            "half": torch.ones(3).half(),
            "count": torch.tensor(7),
            "kept": torch.nn.Parameter(torch.ones(2)),
        }
        found = read_checkpoint(saved({"model": state, "epoch": 3}, archive=archive))
        assert found["epoch"] == 3
        assert found["model"].keys() == state.keys()
        for name, tensor in state.items():
            np.testing.assert_array_equal(found["model"][name], tensor.detach().numpy())
            assert found["model"][name].dtype == tensor.detach().numpy().dtype

    def test_tensors_of_the_first_pytorch_are_read(self, archive):
        state = Tiny().state_dict()
        payload = saved(state, archive=archive)
        if archive:
            payload = replaced(
                payload, "data.pkl", pickle_of(payload).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
            )
        else:
            payload = payload.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
        assert b"_rebuild_tensor\n" in payload
        np.testing.assert_array_equal(read_checkpoint(payload)["conv.weight"], state["conv.weight"].numpy())

    def test_a_whole_module_is_refused(self, archive):
        with pytest.raises(pickle.UnpicklingError, match="not allowed"):
            read_checkpoint(saved(Tiny(), archive=archive))

    def test_one_that_would_run_code_is_refused(self, archive, tmp_path):
        with pytest.raises(pickle.UnpicklingError, match="not allowed"):
            read_checkpoint(saved({"w": Runs(os.system, f"touch {tmp_path}/ran")}, archive=archive))
        assert not list(tmp_path.iterdir())

    def test_what_is_set_on_a_state_dict_is_refused(self, archive):
        state = Tiny().state_dict()
        state.other = 1
        with pytest.raises(pickle.UnpicklingError, match="more than its entries"):
            read_checkpoint(saved(state, archive=archive))

    def test_it_is_read_without_torch(self, archive, monkeypatch):
        payload = saved(Tiny().state_dict(), archive=archive)
        monkeypatch.setitem(sys.modules, "torch", None)
        made = _convert.CONVERTERS["state-dict"]({"net.pth": payload})
        assert len(made["weights"]) > 100


def replaced(payload, name, content, **options):
    """The archive with another entry."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(payload)) as source, zipfile.ZipFile(changed, "w", **options) as target:
        for entry in source.namelist():
            target.writestr(entry, content if entry.endswith(name) else source.read(entry))
    return changed.getvalue()


def in_an_archive(pickled):
    return replaced(saved({"w": torch.ones(16)}, archive=True), "data.pkl", pickled)


READERS = {
    "arrays": read_arrays,
    "records": read_records,
    "checkpoint": lambda pickled: read_checkpoint(in_an_archive(pickled)),
    "checkpoint before archives": read_checkpoint,
    "torchscript": lambda pickled: read_torchscript(in_an_archive(pickled)),
}
COMMAND = b"X\x09\x00\x00\x00touch ran"
STATE = b"}X\x0c\x00\x00\x00__setstate__cposix\nsystem\ns"  # {"__setstate__": os.system}
HOSTILE = {
    "REDUCE": b"cposix\nsystem\n(" + COMMAND + b"tR",
    "REDUCE by the stack": b"\x8c\x05posix\x8c\x06system\x93(" + COMMAND + b"tR",
    "REDUCE of a path": b"\x8c\x02os\x8c\x0epath.os.system\x93(" + COMMAND + b"tR",
    "INST": b"(" + COMMAND + b"iposix\nsystem\n",
    "INST of something allowed": b"(icollections\nOrderedDict\n",
    "OBJ": b"(cposix\nsystem\n" + COMMAND + b"o",
    "OBJ of something allowed": b"(ccollections\nOrderedDict\no",
    "NEWOBJ": b"csubprocess\nPopen\n(" + COMMAND + b"t\x81",
    "NEWOBJ_EX": b"ccollections\nOrderedDict\n)}\x92",
    "BUILD with a state of its own": b"cnumpy\nndarray\n)\x81" + STATE + b"b",
    "BUILD of a dict": b"ccollections\nOrderedDict\n)R" + STATE + b"b",
    "a persistent id": b"(X\x07\x00\x00\x00storagecposix\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ",
    "a persistent id in text": b"Ptouch ran\n",
    "an extension": b"\x82\x01",
    "a buffer from outside": b"\x97",
    "a huge memo": b"]r\xff\xff\xff\x7f",
    "a huge memo in text": b"]p2147483647\n",
    "a huge text": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa",
    "a huge number": b"\x8b\xff\xff\xff\x7f1",
    "a frame without end": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    "deep lists": b"(" * 5000 + b"l" * 5000,
    "deep dicts": b"(X\x01\x00\x00\x00a" * 5000 + b"N" + b"d" * 5000,
    "deep tuples as a name": b"}" + b")" + b"\x85" * 2_000_000 + b"Ns",
    "doubling tuples as a name": b"})" + b"2\x86" * 60 + b"Ns",
    "doubling tuples by the memo as a name": b"})" + b"\x94h\x00h\x00\x86" + b"q\x00h\x00\x86" * 60 + b"Ns",
    "doubling lists that are made tuples": b"})q\x000" + b"ctorch\nSize\n((h\x00h\x00ltRq\x000" * 60 + b"h\x00Ns",
    "a list in itself": b"]q\x00h\x00a",
    "an empty stack": b"R",
    "no such memo": b"h\x07",
    "no such opcode": b"\xff",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_opcodes_are_refused_with_one_error(reader, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        READERS[reader](b"\x80\x04" + HOSTILE[name] + b".")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("other", [b"", b"\x80", b"PK\x03\x04", b"PK\x05\x06" + 18 * b"\0", b"\x89PNG\r\n", 64 * b"\0"])
def test_what_is_no_pickle_is_refused_with_one_error(reader, other):
    with pytest.raises(pickle.UnpicklingError):
        READERS[reader](other)


def test_an_archive_without_a_pickle_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/data/0", b"1234")
    for read in (read_checkpoint, read_torchscript):
        with pytest.raises(pickle.UnpicklingError, match=r"no data\.pkl"):
            read(buffer.getvalue())


def test_an_archive_cannot_unpack_to_many_times_its_size():
    payload = saved({"w": torch.zeros(1 << 20)}, archive=True)
    squeezed = replaced(payload, "data.pkl", pickle_of(payload), compression=zipfile.ZIP_DEFLATED)
    assert len(squeezed) < 1 << 20
    with pytest.raises(pickle.UnpicklingError, match="many times its size"):
        read_checkpoint(squeezed)
    lying = bytearray(saved({"w": torch.zeros(16)}, archive=True))
    with zipfile.ZipFile(io.BytesIO(lying)) as archive:
        place = lying.rindex(next(name for name in archive.namelist() if name.endswith("data/0")).encode())
    lying[place - 46 + 24 : place - 46 + 28] = (1 << 31).to_bytes(4, "little")  # the size in the directory
    with pytest.raises(pickle.UnpicklingError, match="many times its size"):
        read_checkpoint(bytes(lying))


def pickle_of(payload):
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


@pytest.mark.parametrize("archive", [True, False])
def test_what_is_named_again_and_again_fills_no_memory(archive):
    tensor = torch.zeros(1 << 18)  # a megabyte
    tied = read_checkpoint(saved({"encoder": tensor, "decoder": tensor}, archive=archive))
    assert np.shares_memory(tied["encoder"], tied["decoder"])
    for many in ([tensor] * 10, {str(number): tensor.view(512, 512) for number in range(10)}):
        with pytest.raises(pickle.UnpicklingError, match="fill the memory"):
            read_checkpoint(saved(many, archive=archive))
    array = np.zeros(1 << 18, np.float32)
    with pytest.raises(pickle.UnpicklingError, match="fill the memory"):
        read_arrays(pickle.dumps({str(number): array for number in range(10)}))


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="no text"):
        read_checkpoint(saved({(1, 2): torch.ones(1)}, archive=True))


def test_a_file_is_read_as_its_bytes_are_and_bfloat16_as_float32(tmp_path):
    values = torch.linspace(-3, 3, 24).bfloat16().view(4, 6)
    for archive in (True, False):
        path = tmp_path / f"{archive}.pt"
        path.write_bytes(saved({"w": values, "turned": values.T, "step": 3}, archive=archive))
        for found in (read_checkpoint(path), read_checkpoint(path.read_bytes())):
            np.testing.assert_array_equal(found["w"], values.float().numpy())
            np.testing.assert_array_equal(found["turned"], values.T.float().numpy())
            assert found["step"] == 3


@pytest.mark.parametrize("cut", [1, 8, 20, 400, 1000])
def test_a_checkpoint_that_was_cut_off_is_refused(cut):
    payload = saved(Tiny().state_dict(), archive=False)
    assert len(payload) > cut
    with pytest.raises(pickle.UnpicklingError):
        read_checkpoint(payload[:-cut])
    with pytest.raises(pickle.UnpicklingError, match="after the last"):
        read_checkpoint(payload + b"x")


def test_an_archive_with_less_than_it_says_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="not as long as it says"):
        read_checkpoint(replaced(saved({"w": torch.ones(16)}, archive=True), "data/0", b"short"))


@pytest.mark.parametrize("converter", ["lpips", "inception-fid", "vgg19-normalised", "state-dict", "efficientnet-lite"])
def test_converters_refuse_what_is_not_declared(converter):
    with pytest.raises(AssetError, match="checkpoint cannot be read"):
        _convert.CONVERTERS[converter]({"net.ckpt": pickle.dumps({"kernel": Runs(os.getcwd)})})


def test_lpips_kernels_are_turned():
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)  # (kh, kw, I, O)
    tree = {"AlexNet_0": {"Conv_0": {"kernel": kernel, "bias": np.zeros(5, np.float32)}}}
    tree["NetLinLayer_2"] = {"Conv_0": {"kernel": np.ones((1, 1, 7, 1), np.float32)}}
    payload = _convert.CONVERTERS["lpips"]({"net.ckpt": pickle.dumps(tree, protocol=3)})["weights"]
    from safetensors.torch import load

    tensors = load(payload)
    assert set(tensors) == {"conv1.weight", "conv1.bias", "head3.weight"}
    assert tensors["conv1.weight"].shape == (5, 4, 2, 3)
    assert tensors["conv1.weight"][4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert tensors["head3.weight"].shape == (7,)


DAMAGED = {
    "arrays": lambda: (pickle.dumps({"a": {"k": np.ones((3, 4), np.float32)}, "l": [np.ones(2)]}, 4), read_arrays),
    "records": lambda: (stylegan_files.nvidia(stylegan_files.networks()[0]), read_records),
    "checkpoint": lambda: (saved(Tiny().state_dict(), archive=True), read_checkpoint),
    "checkpoint before archives": lambda: (saved(Tiny().state_dict(), archive=False), read_checkpoint),
    "torchscript": lambda: (pickle_of(saved(Tiny().state_dict(), archive=True)), READERS["torchscript"]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_bytes_are_read_or_refused_with_one_error(name):
    (payload, read), random, refused = DAMAGED[name](), np.random.default_rng(0), 0
    for _ in range(150):
        changed = bytearray(payload)
        for place in random.integers(min(len(payload), 20_000), size=random.integers(1, 4)):
            changed[place : place + random.integers(0, 3)] = random.bytes(random.integers(0, 3))
        try:
            read(bytes(changed))
        except pickle.UnpicklingError:
            refused += 1
    assert refused > 50
