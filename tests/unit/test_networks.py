"""Networks and their files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from impasto.cli import app
from impasto.errors import InputError
from impasto.models import catalog, checkpoint, networks
from tiny import noise, tiny_network


@pytest.mark.parametrize(("name", "most"), [("tiny", 60_000), ("small", 500_000), ("johnson", 1_700_000)])
def test_networks_keep_their_size(name, most):
    network = networks.Network(networks.ARCHITECTURES[name])
    assert 0.8 * most < sum(parameter.numel() for parameter in network.parameters()) <= most
    assert network.neutral_code().shape == (1, network.code_length)


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_an_architecture_is_known_by_its_tensors(name):
    row = networks.ARCHITECTURES[name]
    assert networks.find_spec(networks.Network(row).state_dict()) == row


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_operations_are_those_of_the_convolutions(name):
    network = networks.Network(networks.ARCHITECTURES[name]).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 1024, 1024, device="meta"), network.neutral_code().to("meta"))
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
    assert counted / 1024**2 == pytest.approx(network.operations(), rel=0.01)  # windows reach a little outside


def test_a_network_shows_no_checkerboard_before_it_is_trained():
    network = networks.Network(networks.ARCHITECTURES["tiny"], torch.Generator().manual_seed(0))
    with torch.no_grad():
        flat = network(torch.full((1, 3, 128, 128), 0.3), network.neutral_code())[..., 32:-32, 32:-32]
    assert flat.flatten(2).std(2).max() < 1e-3


def test_a_file_gives_back_what_was_saved(tmp_path):
    tensors = tiny_network()
    path = tmp_path / "net.safetensors"
    about = {"styles": ["s3", "s1"], "licences": {"s3": "CC0"}, "losses": {"step": [1.0]}}
    kept = {
        name: tensor for name, tensor in tensors.items() if not name.startswith("style.") or name[6:] in ("s3", "s1")
    }
    networks.Trained(kept, about).save(path)
    read = networks.read(path)
    assert read.styles == ("s3", "s1")
    assert read.about["licences"] == {"s3": "CC0"}
    assert read.about["format"] == checkpoint.FORMAT
    torch.testing.assert_close(read.code("s3"), tensors["style.s3"][None], atol=2e-3, rtol=0)
    content, code = noise(64, 64), read.code("s3")
    whole = networks.Trained(tensors).network()
    torch.testing.assert_close(read.network()(content, code), whole(content, code), atol=5e-3, rtol=0)
    assert not list(tmp_path.glob(".*"))


def test_files_of_the_first_days_still_load(tmp_path):
    """Format 0: tensors in float32 and nothing said of them."""
    path = tmp_path / "old.safetensors"
    save_file(tiny_network(), path)
    read = networks.read(path)
    assert read.about["format"] == checkpoint.FORMAT
    assert len(read.styles) == 97
    assert read.network()(noise(64, 64), read.code("s5")).shape == (1, 3, 64, 64)
    assert len(catalog.listing(path)) == 97


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "new.safetensors"
    halves = {name: tensor.contiguous() for name, tensor in tiny_network().items()}
    save_file(halves, path, metadata={"impasto": json.dumps({"format": checkpoint.FORMAT + 1})})
    with pytest.raises(InputError, match="reads up to"):
        networks.read(path)


def test_what_is_no_network_is_refused(tmp_path):
    path = tmp_path / "bad.safetensors"
    for text in (b"", b"not a network", (1 << 40).to_bytes(8, "little") + b"{}"):
        path.write_bytes(text)
        for reader in (networks.read, catalog.listing):
            with pytest.raises(InputError):
                reader(path)
    save_file({"some.weight": torch.zeros(3)}, path)
    for reader in (networks.read, catalog.listing):
        with pytest.raises(InputError):
            reader(path)
    tensors = tiny_network()
    save_file({**tensors, "style.s3": torch.zeros(7)}, path)
    with pytest.raises(InputError, match="not of its network"):
        networks.read(path)
    save_file({**tensors, "head.weight": torch.full_like(tensors["head.weight"], torch.nan)}, path)
    with pytest.raises(InputError, match="not finite"):
        networks.read(path)


@pytest.mark.parametrize(
    ("text", "name", "file"),
    [("vgg19", "vgg19", None), ("vgg16:a/b:c.st", "vgg16", "a/b:c.st")],
)
def test_a_reference_to_weights_is_parsed_and_written_back(text, name, file):
    ref = checkpoint.WeightsRef.parse(text)
    assert (ref.name, ref.file and str(ref.file), str(ref)) == (name, file, text)
    assert ref.version is None


def test_a_file_that_is_written_again_is_another_version(tmp_path):
    ref = checkpoint.WeightsRef("vgg16", tmp_path / "own.safetensors")
    ref.file.write_bytes(b"one")
    first = ref.version
    assert first == ref.version is not None
    ref.file.write_bytes(b"three")
    assert ref.version != first


@pytest.mark.parametrize("framework", ["pt", "numpy"])
def test_one_reader_gives_the_tensors_of_both_frameworks(tmp_path, framework):
    path = tmp_path / "net.safetensors"
    checkpoint.write(path, {"a": torch.tensor([1.5])}, {"kind": "decoder"})
    tensors, about = checkpoint.read(path, framework)
    assert float(tensors["a"][0]) == 1.5
    assert about["kind"] == checkpoint.read_header(path)[0]["kind"] == "decoder"
    save_file({"a": torch.tensor([torch.inf])}, path)
    with pytest.raises(InputError, match="not finite"):
        checkpoint.read(path, framework)
    save_file({"a": torch.ones(1)}, path, metadata={"impasto": "{" * 100_000})
    assert checkpoint.read(path, framework)[1]["format"] == checkpoint.FORMAT


def test_styles_are_found_by_file_and_name(tmp_path):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network(), {"paintings": {"s4": "museum:s4"}}).save(path)
    assert catalog.find(f"{path}:s4").painting == "museum:s4"
    assert catalog.find(f"{path}:s4").id == f"{path}:s4"
    with pytest.raises(InputError, match="holds 97 styles"):
        catalog.find(str(path))
    with pytest.raises(InputError, match="no style 'nobody'"):
        catalog.find(f"{path}:nobody")
    with pytest.raises(InputError, match="cannot be read"):
        catalog.find("nowhere.safetensors")
    assert not catalog.is_trained("museum:436535")
    assert not catalog.is_trained("photo.jpg")
    assert load_file(path)["style.s4"].dtype == torch.float16


@pytest.mark.parametrize("sides", [(4, 6), (1, 5)])
def test_doubling_at_once_is_doubling_and_convolving(sides):
    layer = networks._Doubling(3, 2, 3, bias=True)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    padded = torch.nn.functional.pad(large, (1, 1, 1, 1), mode="reflect")
    slow = torch.nn.functional.conv2d(padded, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), slow, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sides", [(4, 6), (1, 5)])
def test_a_head_between_windows_sees_the_doubled_picture(sides):
    full, head = networks._Doubling(3, 2, 3, bias=True).double(), networks._Head(2, 3, 3, bias=True).double()
    generator = torch.Generator().manual_seed(0)
    for layer in (full, head):
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
    x = torch.randn(2, 3, *sides, generator=generator, dtype=torch.float64).requires_grad_()
    quick, slow = head.between(networks._mirrored(full.windows(x)).relu_()), head(full(x).relu())
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=0)  # a kernel's sums are taken in float32
    towards = torch.randn(slow.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(result, x, towards, retain_graph=True)[0] for result in (quick, slow)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_a_palette_mixes_the_colours_before_they_are_squeezed(name):
    network = networks.Network(networks.ARCHITECTURES[name], torch.Generator().manual_seed(0)).requires_grad_(False)
    content, plain = noise(64, 64, batch=2), network.neutral_code().repeat(2, 1)
    colours = torch.logit(network(content, plain).double())
    network.add_palette()
    code = torch.cat([plain, torch.zeros(2, 12)], 1)
    torch.testing.assert_close(torch.logit(network(content, code).double()), colours, atol=1e-4, rtol=1e-4)
    assert network.neutral_code().equal(code[:1])
    network.palette.data = torch.tensor([0.5, 1.0, 2.0])
    code[1, -12:] = torch.linspace(-1, 1, 12)
    found = torch.logit(network(content, code).double())
    rows = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4) * network.palette.double()[:, None]
    mixed = colours[1] + torch.einsum("ij,jhw->ihw", rows[:, :3], colours[1]) + rows[:, 3, None, None]
    torch.testing.assert_close(found[0], colours[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[1], mixed, atol=1e-3, rtol=1e-3)


def test_a_palette_is_known_by_its_tensor_and_refused_beside_named_styles(tmp_path):
    network = networks.Network(networks.ARCHITECTURES["tiny"], torch.Generator().manual_seed(0), palette=True)
    trained = networks.Trained(networks.pack(network, network.neutral_code(), ["one"]))
    assert trained.architecture.name == "tiny"
    assert trained.network().code_length == trained.code("one").shape[1] == network.code_length
    trained.save(tmp_path / "one.safetensors")
    with pytest.raises(InputError, match="mixes colours as networks for any painting do"):
        networks.read(tmp_path / "one.safetensors")


def test_an_unknown_network_is_told(capsys):
    assert app.run(["bench", "training", "--network", "tinny"]) == 2
    assert "there is no network 'tinny'" in capsys.readouterr().err
