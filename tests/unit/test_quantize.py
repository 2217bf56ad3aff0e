"""Networks in INT8: calibrated, compared, with layers that go back to float32, and used as styles."""

import json
import sys

import numpy as np
import pytest

from impasto.cli import app
from impasto.engine.engine import Engine
from impasto.errors import InputError
from impasto.export import quantize
from impasto.export.quantize import Likeness, quantise, read_photographs
from impasto.models import catalog, networks, onnx_files
from impasto.runtimes import graphs, sessions
from tiny import noise, tiny_network, write_photographs


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(quantize, "_SIDES", (48, 64))
    monkeypatch.setattr(quantize, "_TIMED", (48, 64))


@pytest.fixture
def network(tmp_path):
    tensors = tiny_network()
    few = {name: tensor for name, tensor in tensors.items() if not name.startswith("style.") or name == "style.s3"}
    path = tmp_path / "net.safetensors"
    networks.Trained(few, {"styles": ["s3"], "licences": {"s3": "CC0"}}).save(path)
    return path


@pytest.mark.slow
def test_a_quantised_network_is_a_style_and_falls_back_as_far_as_asked(network, tmp_path, capsys):
    folder, out = write_photographs(tmp_path / "photographs", 5), tmp_path / "net-int8.onnx"
    assert app.run(["quantize", str(network), "--content", str(folder), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runtime"] == "openvino"
    assert told["bytes"] == out.stat().st_size
    assert told["ssim"] >= 0.95 > 0
    assert told["layers"] == 11
    about, codes = onnx_files.read_header(out)
    assert about["licences"] == {"s3": "CC0"}
    assert list(codes) == ["s3"]
    assert [style.name for style in catalog.listing(out)] == ["s3"]
    pixels = noise(40, 56)[0].permute(1, 2, 0).contiguous().numpy()
    whole = Engine(precision="float32", runtime="torch").stylize(pixels, f"{network}:s3").picture.pixels
    for runtime in ("onnx", "openvino"):
        painted = Engine(runtime=runtime, precision="float32").stylize(pixels, f"{out}:s3").picture.pixels
        assert 1e-4 < np.abs(painted - whole).mean() < 0.05

    with pytest.raises(InputError, match="quantised already"):
        quantise(out, read_photographs([folder]))


def test_the_picture_is_read_as_it_is(network):
    onnx = pytest.importorskip("onnx")
    graph = quantize._read(network, "onnx")[0]
    model = onnx.load_from_string(graph.data)
    quantize._uncentre(model.graph)
    assert not any(node.op_type == "Sub" for node in model.graph.node)
    image, code = noise(40, 56).numpy(), graph.codes["s3"][None]
    painted = [sessions.open_graph(data, "onnx").run(image, code) for data in (graph.data, model.SerializeToString())]
    assert np.abs(painted[0] - painted[1]).max() < 1e-5


def test_layers_go_back_one_by_one_the_most_helpful_first():
    helps = {"a": 0.01, "b": 0.04, "c": 0.02}

    class Made:
        names = tuple(helps)

        def file(self, kept):
            return kept

    class Compared:
        def likeness(self, kept):
            return Likeness(0.9 + sum(helps[name] for name in kept), 0, 0)

    def kept(least):
        return quantize._fall_back(Made(), Compared(), least, lambda _: None)

    assert [kept(least) for least in (0.9, 0.93, 0.955, 1.0)] == [(), ("b",), ("b", "c"), ("b", "c", "a")]


def test_a_layer_in_float32_reads_what_was_not_quantised():
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    floats = [make.make_tensor_value_info(name, kinds.FLOAT, [1, 1, 8, 8]) for name in ("x", "y")]
    weight = onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "first.weight")
    other = onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.int8), "quantised")
    held = [onnx.numpy_helper.from_array(np.array(0.1, np.float32), "scale")]
    pads = onnx.numpy_helper.from_array(np.array([0, 0, 1, 1] * 2), "pads")
    plain = [
        make.make_node("Pad", ["x", "pads"], ["padded"], "pad"),
        make.make_node("Conv", ["padded", "first.weight"], ["y"], "convolution"),
    ]
    coded = [
        make.make_node("QuantizeLinear", ["x", "scale"], ["q"], "q"),
        make.make_node("DequantizeLinear", ["q", "scale"], ["dq"], "dq"),
        make.make_node("Pad", ["dq", "pads"], ["padded"], "pad"),
        make.make_node("DequantizeLinear", ["quantised", "scale"], ["w"], "w"),
        make.make_node("Conv", ["padded", "w"], ["y"], "convolution"),
    ]
    graphs_ = [
        make.make_model(make.make_graph(nodes, "g", floats[:1], floats[1:], [pads, *own]))
        for nodes, own in ((plain, [weight]), (coded, [*held, other]))
    ]
    layers = quantize._Layers(*graphs_)
    assert layers.names == ("first",)
    again = onnx.load_from_string(layers.file(["first"]))
    assert [(node.op_type, list(node.input)) for node in again.graph.node] == [
        ("Pad", ["x", "pads"]),
        ("Conv", ["padded", "first.weight"]),
    ]
    assert {one.name for one in again.graph.initializer} == {"pads", "first.weight"}
    assert len(onnx.load_from_string(layers.file([])).graph.node) == 5


def test_likeness_is_that_of_the_measures():
    picture = noise(48, 64)[0].permute(1, 2, 0).numpy()
    same, other = Likeness.of([picture], [picture]), Likeness.of([picture, picture[::-1]], [picture, picture])
    assert (same.ssim, same.least_ssim) == (1.0, 1.0)
    assert other.least_ssim < other.ssim < 1


def test_bands_are_seen_where_a_sky_should_shade_off():
    sky = np.linspace(0.2, 0.9, 160, dtype=np.float32)[None, :, None] * np.ones((64, 1, 3), np.float32)
    strokes = noise(64, 160)[0].permute(1, 2, 0).numpy()
    few_tones = np.round(sky * 31) / 31
    assert quantize.banded(few_tones) > 0.1
    assert quantize.banded(sky) == 0
    assert Likeness.of([strokes], [strokes], [few_tones, sky]).bands > quantize.MOST_BANDS
    assert not Likeness.of([strokes], [strokes], [few_tones, sky]).is_near(0.5)
    assert Likeness.of([strokes], [strokes], [sky, few_tones]).bands == 0  # float32 has them itself
    assert Likeness.of([few_tones], [sky]).bands > 0.1


def test_layers_go_back_for_bands_alone():
    class Made:
        names = ("a", "b")

        def file(self, kept):
            return kept

    class Compared:
        def likeness(self, kept):
            return Likeness(0.99, 0, 0, 0.0 if "b" in kept else 0.1)

    assert quantize._fall_back(Made(), Compared(), 0.95, lambda _: None) == ("b",)


def test_photographs_are_calibrated_on_in_all_styles_and_others_compared_on():
    photographs = [np.full((3, 4, 4), number, np.float32) for number in range(8)]
    codes = {name: np.full(2, index, np.float32) for index, name in enumerate("abc")}
    learnt, compared = quantize._batches(photographs, codes)
    seen = [{int(batch[graphs.IMAGE][0, 0, 0, 0]) for batch in batches} for batches in (learnt, compared)]
    assert seen == [{1, 2, 3, 5, 6, 7}, {0, 4}]
    assert {int(batch[graphs.CODE][0, 0]) for batch in learnt} == {0, 1, 2}
    one, same = quantize._batches(photographs[:1], codes)
    assert len(one) == 3
    assert len(same) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["NET"], "no photographs were given"),
        (["NET", "--content", "nowhere"], "there is no folder nowhere"),
        (["NET", "--content", "EMPTY"], "holds no photographs"),
        (["nothing.safetensors", "--content", "EMPTY"], "cannot be read as a network"),
        (["NET", "--content", "EMPTY", "-o", "net.safetensors"], "is not a .onnx file"),
        (["NET", "--content", "EMPTY", "-o", "no/net.onnx"], "does not exist"),
        (["NET", "--content", "EMPTY", "-o", "FOLDER"], "is a folder, not a file"),
        (["NET", "--content", "EMPTY", "--least-ssim", "2"], "--least-ssim is 2"),
        (["NET", "--content", "EMPTY", "--runtime", "torch"], "--runtime is 'torch'"),
        (["BROKEN", "--content", "EMPTY"], "is not an ONNX file of an Impasto network"),
    ],
)
def test_what_cannot_be_quantised_is_said(network, tmp_path, capsys, words, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").write_text("no picture")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    (tmp_path / "folder.onnx").mkdir()
    named = {"NET": network, "EMPTY": tmp_path / "empty", "BROKEN": broken, "FOLDER": tmp_path / "folder.onnx"}
    before = sorted(tmp_path.iterdir())
    assert app.run(["quantize", *(str(named.get(word, word)) for word in words)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line[:6] for line in told if not line.startswith("note")][-2:] == ["error:", "hint: "]
    assert said in "".join(told)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("package", "line"), [("nncf", "compress"), ("onnx", "compress"), ("openvino", "openvino")])
def test_a_package_that_is_missing_is_said(network, tmp_path, capsys, monkeypatch, package, line):
    monkeypatch.setitem(sys.modules, package, None)
    words = ["quantize", str(network), "--content", str(tmp_path), "--runtime", "openvino"]
    assert app.run(words) == 3
    assert f'pip install "impasto[{line}]"' in capsys.readouterr().err
