"""Files of StyleGAN networks: what comes out is what went in, and nothing in a file is executed."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

import stylegan_files as made
from impasto.errors import InputError
from impasto.models import stylegan_files
from impasto.models.stylegan_files import StyleGan
from impasto.ops import pickles


@pytest.fixture(scope="module")
def pair():
    return made.networks()


def assert_same(network, generator, discriminator=None):
    z = torch.randn(2, 12, generator=made.seeded(5))
    torch.testing.assert_close(network.build()(z, truncation=0.6), generator(z, truncation=0.6))
    if discriminator is not None:
        image = torch.rand(2, 3, 16, 16, generator=made.seeded(6))
        found = network.build_trainable(made.seeded(9))[1](image)
        torch.testing.assert_close(found, discriminator(image))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_nvidia_pickle(pair, tmp_path, protocol):
    path = tmp_path / "network-snapshot.pkl"
    path.write_bytes(made.nvidia(*pair, protocol=protocol))
    network = stylegan_files.read(path)
    assert network.spec.clamp == 256
    assert (network.spec.size, network.spec.widths, network.spec.rate) == (16, (8, 8, 8), 0.01)
    assert_same(network, *pair)


def test_half_precision_and_other_strides_are_read(pair, tmp_path):
    """Networks trained in half precision with channels last: tensors whose strides do not fall."""
    generator = made.networks()[0].half().to(memory_format=torch.channels_last)
    path = tmp_path / "half.pkl"
    path.write_bytes(made.nvidia(generator))
    found = stylegan_files.read(path)
    wanted = generator.state_dict()["synthesis.b8.conv0.weight"]
    assert not wanted.is_contiguous()
    torch.testing.assert_close(found.generator["synthesis.b8.conv0.weight"], wanted.float())


def test_tensorflow_pickle(pair, tmp_path):
    path = tmp_path / "stylegan2-config-f.pkl"
    path.write_bytes(made.tensorflow(pair[0]))
    assert_same(stylegan_files.read(path), pair[0])


def test_rosinality_checkpoint(pair, tmp_path):
    path = tmp_path / "550000.pt"
    path.write_bytes(made.rosinality(*pair))
    assert_same(stylegan_files.read(path), *pair)


def test_a_missing_average_is_taken_anew(pair, tmp_path):
    path = tmp_path / "550000.pt"
    path.write_bytes(made.rosinality(pair[0], average=False))
    found = stylegan_files.read(path).generator["mapping.w_avg"]
    z = torch.randn(4096, 12, generator=made.seeded(7))
    torch.testing.assert_close(found, pair[0].mapping(z).mean(0), atol=0.1, rtol=0)


def test_our_own_file(pair, tmp_path):
    path = tmp_path / "own.safetensors"
    generator, discriminator = pair
    StyleGan(made.SPEC, generator.state_dict(), discriminator.state_dict(), {"paintings": "monet"}).save(path)
    network = stylegan_files.read(path)
    assert network.about["paintings"] == "monet"
    z = torch.randn(2, 12, generator=made.seeded(5))
    torch.testing.assert_close(network.build()(z), generator(z), atol=0.02, rtol=0)  # half precision
    assert network.discriminator is not None


# --- attacks ----------------------------------------------------------------------------------------------------------


class Runs:
    """Calls something when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def inside_a_storage(evil):
    """A tensor whose storage holds another pickle, as torch's own loader would execute."""
    return Runs(torch.storage._load_from_bytes, pickle.dumps(evil))


def by_opcodes(body):
    return b"\x80\x03" + body + b"."


ATTACKS = {
    "a call": Runs(os.system, "touch ran"),
    "eval": Runs(eval, "open('ran', 'w')"),
    "an attribute of something allowed": Runs(getattr, OrderedDict, "fromkeys"),
    "a loader of torch": Runs(torch.load, "ran"),
    "inside a storage": inside_a_storage(Runs(os.system, "touch ran")),
    "inside a network": made.Persistent("Generator", {"_parameters": {"w": Runs(os.system, "touch ran")}}),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_an_attack_is_refused_and_nothing_runs(pair, tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(made.nvidia(pair[0], protocol=protocol, evil=ATTACKS[name]))
    with pytest.raises(InputError, match="cannot be read as StyleGAN's pickle"):
        stylegan_files.read(path)
    assert [one.name for one in tmp_path.iterdir()] == ["evil.pkl"]


BUILDS = {
    "a stand-in's class": b"cnumpy\nndarray\n}(X\x04\x00\x00\x00evil\x4b\x01u\x86" + b"b",
    "through slots": b"cnumpy\nndarray\nN}(X\x0c\x00\x00\x00__setstate__\x4b\x01u\x86b",
    "a function": b"ctorch._utils\n_rebuild_tensor_v2\n}(X\x0c\x00\x00\x00__defaults__\x4b\x01ub",
    "a class of TensorFlow's": b"cdnnlib.tflib.network\nNetwork\nN}(X\x05\x00\x00\x00parts\x4b\x01u\x86b",
    "a registered extension": b"\x82\x01",
    "something outside": b"X\x01\x00\x00\x00aQ",
}


@pytest.mark.parametrize("name", BUILDS)
def test_stand_ins_cannot_be_changed_from_within(name):
    before = {one: dict(vars(one)) for one in (pickles._Array, pickles._ArrayType, pickles._Object, pickles._Call)}
    with pytest.raises(pickle.UnpicklingError):
        pickles.read_records(by_opcodes(BUILDS[name]))
    assert before == {one: dict(vars(one)) for one in before}


def test_source_text_does_not_come_out(pair):
    found = pickles.read_records(made.nvidia(pair[0]))
    assert "the source text was executed" not in repr(found)


def test_a_memo_beyond_the_pickle_takes_no_memory():
    with pytest.raises(pickle.UnpicklingError, match="a part of number 2147483647"):
        pickles.read_records(by_opcodes(b"]r\xff\xff\xff\x7f"))


def test_doubling_lists_take_no_memory():
    value = ["x"]
    for _ in range(60):
        value = [value, value]  # 2^60 of them, if each was copied
    with pytest.raises(pickle.UnpicklingError, match="so often"):
        pickles.read_records(pickle.dumps(value))
    with pytest.raises(pickle.UnpicklingError, match="too deeply"):
        nested = []
        for _ in range(300):
            nested = [nested]
        pickles.read_records(pickle.dumps(nested))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (9,), (1,)), (8, (1,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (1,)), (0, (9, 9), (0, 0))],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, shape, strides):
    storage = np.arange(8, dtype=np.float32)
    with pytest.raises(pickle.UnpicklingError):
        pickles._strided(storage, offset, shape, strides)
    assert pickles._strided(storage, 1, (2, 3), (1, 2)).tolist() == [[1, 3, 5], [2, 4, 6]]


def test_a_storage_that_is_shorter_than_it_says_is_refused():
    file = io.BytesIO()
    numbers = torch.arange(4.0).untyped_storage()
    storage = torch.storage.TypedStorage(wrap_storage=numbers, dtype=torch.float32, _internal=True)
    torch.save(storage, file, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(pickles._storage(file.getvalue()), [0, 1, 2, 3])
    with pytest.raises(pickle.UnpicklingError, match="not as long"):
        pickles._storage(file.getvalue()[:-1])


# --- other files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["T", "R"])
def test_a_pickle_of_stylegan3(tmp_path, config):
    network = made.alias_free(config)
    path = tmp_path / f"stylegan3-{config.lower()}.pkl"
    path.write_bytes(made.nvidia3(network))
    found = stylegan_files.read(path)
    assert found.spec == network.spec
    z = torch.randn(2, 12, generator=made.seeded(5))
    with torch.no_grad():
        torch.testing.assert_close(found.build()(z, truncation=0.6), network(z, truncation=0.6))
    with pytest.raises(InputError, match="cannot adapt"):
        found.build_trainable(made.seeded())


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_in_a_stylegan3_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(made.nvidia3(made.alias_free("T"), evil=ATTACKS[name]))
    with pytest.raises(InputError, match="cannot be read as StyleGAN's pickle"):
        stylegan_files.read(path)
    assert [one.name for one in tmp_path.iterdir()] == ["evil.pkl"]


def renamed(network, before, after):
    """A module of another name."""
    modules = network.synthesis._modules
    network.synthesis._modules = OrderedDict((after if name == before else name, one) for name, one in modules.items())
    return network


@pytest.mark.parametrize(("number", "after"), [(5, "L5_99_8"), (14, "L14_99_3"), (3, "x")])
def test_other_layers_than_the_published_are_refused(tmp_path, number, after):
    path, network = tmp_path / "other.pkl", made.alias_free("T")
    path.write_bytes(made.nvidia3(renamed(network, network.spec.names[number], after)))
    with pytest.raises(InputError):
        stylegan_files.read(path)


def broken(pair):
    generator, discriminator = pair
    whole = made.nvidia(generator)
    narrow = {**generator.state_dict(), "synthesis.b8.conv0.weight": torch.ones(8, 7, 3, 3)}
    labelled = {**generator.state_dict(), "mapping.embed.weight": torch.ones(12, 12)}
    file = io.BytesIO()
    torch.save(generator, file)
    return {
        "empty.pkl": b"",
        "cut.pkl": whole[: len(whole) // 2],
        "picture.pkl": b"\x89PNG\r\n",
        "list.pkl": pickle.dumps([1, 2, 3]),
        "dict.pkl": pickle.dumps({"G_ema": {"weights": 1}}),
        "other.pkl": made.pickled({"G_ema": made.persistent(torch.nn.Linear(2, 2))}),
        "three.pkl": made.pickled([made.persistent(torch.nn.Linear(2, 2))] * 3),
        "module.pt": file.getvalue(),
        "empty.pt": b"",
        "discriminator.pt": _saved({"d": discriminator.state_dict()}),
        "other.pt": _saved({"g_ema": {"weight": torch.ones(2)}}),
        "infinite.pt": _infinite(generator),
        "narrow.safetensors": StyleGan(made.SPEC, narrow),
        "labelled.safetensors": StyleGan(made.SPEC, labelled),
        "missing.safetensors": StyleGan(made.SPEC, dict(list(generator.state_dict().items())[1:])),
        "text.safetensors": b"hello",
    }


def _saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _infinite(generator):
    generator = made.networks()[0]
    with torch.no_grad():
        generator.synthesis.b4.const[0, 0, 0] = float("inf")
    return made.rosinality(generator)


NAMES = [f"{name}.pkl" for name in ("empty", "cut", "picture", "list", "dict", "other", "three")]
NAMES += [f"{name}.pt" for name in ("module", "empty", "discriminator", "other", "infinite")]
NAMES += [f"{name}.safetensors" for name in ("narrow", "labelled", "missing", "text")]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_stylegan_is_refused(pair, tmp_path, name):
    content = broken(pair)[name]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.save(path)
    with pytest.raises(InputError) as caught:
        stylegan_files.read(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["nvidia", "tensorflow", "rosinality"])
def test_a_damaged_file_is_read_or_refused(pair, tmp_path, kind):
    """Bytes of the structure changed at random: no other error, whatever they say then."""
    whole = getattr(made, kind)(pair[0])
    random = np.random.default_rng(0)
    path = tmp_path / ("net.pt" if kind == "rosinality" else "net.pkl")
    refused = 0
    for _ in range(60):
        body = bytearray(whole)
        for place in random.integers(0, 3000, random.integers(1, 6)):
            body[place] = random.integers(0, 256)
        path.write_bytes(bytes(body))
        try:
            stylegan_files.read(path)
        except InputError:
            refused += 1
    assert refused > 10


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no network"):
        stylegan_files.read(tmp_path / "none.pkl")
