"""Pickles are programs: what is not an array is refused before it runs."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from impasto.assets import _convert
from impasto.errors import AssetError
from impasto.ops.pickles import read_arrays, read_torchscript


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


@pytest.mark.parametrize("converter", ["lpips", "inception-fid"])
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
