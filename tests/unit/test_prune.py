"""Structured pruning: channels leave together, codes with them, and what is left learns the full network's pictures."""

import json
import sys

import pytest
import torch

from impasto.cli import app
from impasto.contract import Placement
from impasto.errors import InputError
from impasto.export import prune as pruning
from impasto.export import quantize
from impasto.methods.settings import DistillKnobs
from impasto.models import networks
from impasto.runtimes import graphs
from impasto.train._distill import Distiller
from tiny import noise, write_photographs

SPECS = {
    "separable": networks.NetworkSpec("", "", (6, 6, 8), 1, True, 5, 2, 3, 6, True),
    "direct": networks.NetworkSpec("", "", (6, 6, 8), 1, True, 5, 2, 0, 0, True),
    "plain": networks.NetworkSpec("", "", (6, 6, 8), 1, False, 3, 1, 3, 0, False),
}


def trained_of(name):
    generator = torch.Generator().manual_seed(5)
    network = networks.Network(SPECS[name], generator)
    codes = network.neutral_code() + 0.3 * torch.randn(2, network.code_length, generator=generator)
    return networks.Trained(networks.pack(network, codes, ["one", "two"]), {"styles": ["one", "two"]})


@pytest.fixture(params=SPECS)
def trained(request):
    return trained_of(request.param)


PHOTOGRAPHS = [noise(32, 32, seed=seed) for seed in (1,)]


def count(tensors):
    return sum(tensor.numel() for name, tensor in tensors.items() if not name.startswith("style."))


def test_a_share_of_the_parameters_goes_and_the_network_still_loads(trained, tmp_path):
    reports = []
    pruned = pruning.prune(trained, PHOTOGRAPHS, ratio=0.25, on_progress=reports.append)
    whole, left = pruned.parameters
    assert (whole, left) == (count(trained.tensors), count(pruned.trained.tensors))
    assert 0.4 * whole < left <= 0.75 * whole
    assert reports[-1].step == reports[-1].total
    pruned.trained.save(tmp_path / "narrow.safetensors")
    again = networks.read(tmp_path / "narrow.safetensors")
    assert again.architecture.name == "custom"
    network, content = again.network(), noise(32, 40)
    with torch.no_grad():
        painted = network(content, again.code("two"))
    assert painted.shape == content.shape
    arrays, _ = graphs.read(tmp_path / "narrow.safetensors")
    graphs.build(arrays)
    for group in pruned.sensitivities:
        layers = {name: pruned.trained.tensors[f"{name}.weight"].shape[0] for name in group.layers}
        assert set(layers.values()) == {group.after}
        assert group.after <= group.before
        assert group.error > 0


def test_a_channel_leaves_as_if_it_had_been_nothing(trained):
    state = pruning._Shrinking(trained, PHOTOGRAPHS)
    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    key = next(key for key in state.groups(tensors) if key.startswith("blocks.0.first"))
    narrower = networks.Trained(state.without(tensors, key, 1), trained.about)
    whole, left = tensors[f"{key}.weight"], narrower.tensors[f"{key}.weight"]
    (gone,) = [
        index for index in range(len(whole)) if torch.equal(left, torch.cat([whole[:index], whole[index + 1 :]]))
    ]
    network = networks.Trained(tensors, trained.about).network()
    row = network.architecture
    at, inner = 2 * sum(row.normalised[: len(row.widths)]), row.inner_widths[0]
    code = tensors["style.two"].clone()
    code[[at + gone, at + inner + gone]] = 0  # its scale and its shift
    content = PHOTOGRAPHS[0]
    with torch.no_grad():
        before, after = network(content, code[None]), narrower.network()(content, narrower.code("two"))
    assert narrower.architecture.inner_widths[0] == inner - 1
    assert (before - after).abs().max() < 1e-5


def test_more_than_all_cannot_go():
    trained = trained_of("plain")
    with pytest.raises(InputError, match="so many parameters cannot go") as caught:
        pruning.prune(trained, PHOTOGRAPHS, ratio=0.999)
    assert "--ratio" in caught.value.hint


def test_what_is_left_learns_the_pictures_of_the_full_network():
    full = trained_of("separable")
    pruned = pruning.prune(full, PHOTOGRAPHS, ratio=0.15).trained
    distiller = Distiller(pruned, full, DistillKnobs(learning_rate=1e-2), Placement())
    same = Distiller(full, full, DistillKnobs(), Placement())
    photographs = torch.cat(PHOTOGRAPHS)
    assert same.validate(photographs)["loss"] == 0
    styles, losses = torch.tensor([1]), []
    optimizer = torch.optim.Adam([*distiller.network.parameters(), *distiller.book.parameters()], 1e-2)
    for _ in range(12):
        loss = distiller._losses(photographs, styles, distiller.network, distiller.book)["loss"].mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_the_command_writes_a_network_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quantize, "_SIDES", (64, 64))
    net, out = tmp_path / "net.safetensors", tmp_path / "narrow.safetensors"
    trained_of("separable").save(net)
    folder = write_photographs(tmp_path / "photographs", 8)
    words = ["prune", str(net), "--ratio", "0.2", "--content", str(folder), "-o", str(out), "--crop", "64", "--json"]
    assert app.run([*words, "--steps", "2", "--batch", "2", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] <= 0.8 * told["full_parameters"]
    narrow = networks.read(out)
    assert narrow.styles == ("one", "two")
    assert count(narrow.tensors) == told["parameters"]
    assert app.run([*words, "--steps", "3", "--batch", "2", "--device", "cpu"]) == 2  # a training is there
    assert app.run([*words, "--steps", "3", "--batch", "2", "--device", "cpu", "--resume"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["NET"], "no photographs were given"),
        (["NET", "--content", "nowhere"], "there is no folder nowhere"),
        (["NET", "--content", "EMPTY", "--ratio", "1"], "--ratio is 1"),
        (["NET", "--content", "EMPTY", "--ratio", "nan"], "--ratio is nan"),
        (["NET", "--content", "EMPTY"], "holds no photographs"),
        (["NET", "--content", "EMPTY", "-o", "net.onnx"], "is not a .safetensors file"),
        (["NET", "--content", "EMPTY", "-o", "FOLDER"], "is a folder, not a file"),
    ],
)
def test_what_cannot_be_pruned_is_said(tmp_path, capsys, words, said):
    net = tmp_path / "net.safetensors"
    trained_of("plain").save(net)
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    before = sorted(tmp_path.iterdir())
    named = {"NET": net, "EMPTY": tmp_path / "empty", "FOLDER": tmp_path / "folder.safetensors"}
    assert app.run(["prune", *(str(named.get(word, word)) for word in words)]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("package", "extra"), [("torch_pruning", "compress"), ("lightning", "train")])
def test_a_package_that_is_missing_is_said(tmp_path, capsys, monkeypatch, package, extra):
    net = tmp_path / "net.safetensors"
    trained_of("plain").save(net)
    monkeypatch.setitem(sys.modules, package, None)
    assert app.run(["prune", str(net), "--content", str(tmp_path)]) == 3
    assert f'pip install "impasto[{extra}]"' in capsys.readouterr().err
