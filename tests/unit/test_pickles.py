"""Pickles are programs: what is not an array is refused before it runs."""

import io
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch

from impasto.assets import _convert
from impasto.errors import AssetError
from impasto.ops.pickles import read_arrays, read_checkpoint, read_torchscript


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
    def replaced(payload, name, content):
        changed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(payload)) as source, zipfile.ZipFile(changed, "w") as target:
            for entry in source.namelist():
                target.writestr(entry, content if entry.endswith(name) else source.read(entry))
        return changed.getvalue()

    payload = archive[1]
    evil = pickle.dumps({"w": Runs(os.system, f"touch {tmp_path}/ran")}, protocol=2)
    with pytest.raises(pickle.UnpicklingError, match=r"system.*not allowed"):
        read_torchscript(replaced(payload, "data.pkl", evil))
    with pytest.raises(pickle.UnpicklingError, match="numbers instead of"):
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


@pytest.mark.parametrize("cut", [1, 8, 20, 400, 1000])
def test_a_checkpoint_that_was_cut_off_is_refused(cut):
    payload = saved(Tiny().state_dict(), archive=False)
    assert len(payload) > cut
    with pytest.raises((pickle.UnpicklingError, EOFError, LookupError)):
        read_checkpoint(payload[:-cut])
    with pytest.raises(pickle.UnpicklingError, match="after the last"):
        read_checkpoint(payload + b"x")


def test_an_archive_with_less_than_it_says_is_refused():
    payload = io.BytesIO(saved({"w": torch.ones(16)}, archive=True))
    changed = io.BytesIO()
    with zipfile.ZipFile(payload) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.namelist():
            target.writestr(entry, b"short" if entry.endswith("data/0") else source.read(entry))
    with pytest.raises(pickle.UnpicklingError, match="not as long as it says"):
        read_checkpoint(changed.getvalue())


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
