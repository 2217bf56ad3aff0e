"""Trained networks by ONNX Runtime and OpenVINO: the pictures of torch, the choice by measurement, and no torch."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.contract import Guide, Job, Placement, Region
from impasto.engine import choosing
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import InputError, MissingExtra
from impasto.methods import registry
from impasto.models import catalog, checkpoint, networks, onnx_files
from impasto.models.codecs import Codec
from impasto.runtimes import any_painters, any_style, choice, graphs, openvino, sessions
from impasto.runtimes.choice import measured  # before the tests' own is put in its place
from impasto.video.frames import FramePainter
from tiny import TinyStore, noise, style_of, tiny_arbitrary, tiny_network

RUNTIMES = tuple(sessions.RUNTIMES)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network(), {"styles": ["s3"]}).save(path)
    return path


@pytest.fixture
def onnx_file(network, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(graphs.build(*graphs.read(network)))
    return path


def pixels_of(height, width):
    return noise(height, width)[0].permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_a_runtime_paints_what_torch_paints(name, runtime):
    generator = torch.Generator().manual_seed(3)
    network = networks.Network(networks.ARCHITECTURES[name], generator)
    codes = network.neutral_code() + 0.3 * torch.randn(2, network.code_length, generator=generator)
    session = sessions.NetworkGraph.of(
        {key: tensor.numpy() for key, tensor in networks.pack(network, codes, ["one", "two"]).items()}
    ).open(runtime)
    for height, width in ((64, 64), (72, 88)):
        content = noise(height, width, batch=2)
        with torch.no_grad():
            whole = network(content, codes)
        assert np.abs(session.run(content.numpy(), codes.numpy()) - whole.numpy()).max() < 1e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("method", [name for name, row in registry.methods().items() if len(row.runtimes) > 1])
def test_regions_strengths_and_odd_sizes_by_a_runtime_are_those_by_torch(method, runtime, tiny_weights):
    row = registry.find(method)
    own = {"feedforward": {"network": tiny_network()}, "arbitrary": {"arbitrary:FILE": tiny_arbitrary()}}
    weights = {name: tiny_weights[name] for name in row.assets} | own.get(method, {})
    content, mask = noise(21, 50, batch=2), noise(21, 50, seed=4)[:, :1]

    def paint(placement):
        stylizer = row.load_class()(weights, placement)
        knobs = row.load_knobs()()
        first, second = (stylizer.encode_style(style_of(noise(64, 48, seed=seed)), knobs) for seed in (7, 8))
        plain = Job(first, replace(knobs, strength=0.5))
        parted = Job(first, knobs, Guide(regions=(Region(mask, first), Region(1 - mask, second))))
        return stylizer.stylize(content, [plain, parted])

    one, other = paint(Placement()), paint(Placement(runtime=runtime))
    assert (one - other).abs().max() < 1e-4


@pytest.fixture
def any_store(tmp_path, tiny_weights):
    (tmp_path / "store").mkdir()
    return TinyStore(tmp_path / "store", tiny_weights)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("method", any_painters.METHODS)
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_any_painting_by_arrays_alone_is_what_torch_paints(method, runtime, strength, any_store, picture_file):
    paintings = [picture_file("one.png", 70, 51, seed=1), (picture_file("two.png", 40, 90, seed=2), 3.0)]
    request = Request(method, knobs={"strength": strength, "style_scale": 1.3})
    here = {"device": "cpu", "precision": "float32", "store": any_store}
    whole = Engine(**here, runtime="torch").stylize(pixels_of(45, 61), paintings, request)
    engine = Engine(**here, runtime=runtime)
    assert engine._by_fast_path(pixels_of(45, 61), paintings, request, print, print) is not None
    painted = engine.stylize(pixels_of(45, 61), paintings, request)
    assert np.abs(painted.picture.pixels - whole.picture.pixels).max() < 1e-4
    assert painted.picture.pixels.std() > 0.001
    same = ("method", "knobs", "styles", "width", "height")
    assert {key: painted.record.get(key) for key in same} == {key: whole.record.get(key) for key in same}


def test_graphs_of_any_painting_are_built_once_and_codes_too(any_store, picture_file, monkeypatch):
    built, encoded = [], []
    original = any_style.adain_encoder
    monkeypatch.setattr(any_style, "adain_encoder", lambda codec: built.append(1) or original(codec))
    encode = any_painters.AdaINPainter.encode
    monkeypatch.setattr(any_painters.AdaINPainter, "encode", lambda *given: encoded.append(1) or encode(*given))
    for _ in range(2):
        engine = Engine(store=any_store, runtime="onnx")
        for side in (40, 40, 64):
            engine.stylize(pixels_of(side, 56), picture_file("one.png"), Request(quality="draft"))
    assert (len(built), len(encoded)) == (1, 4)  # another size of the picture is another size of the painting


def test_transparent_pictures_and_tiles_are_left_to_torch_or_refused(any_store, picture_file):
    engine = Engine(store=any_store, runtime="onnx", device="cpu")
    fading = np.broadcast_to(np.linspace(0, 255, 56), (40, 56))[..., None]
    seen = Image.fromarray(np.concatenate([255 * pixels_of(40, 56), fading], 2).astype(np.uint8), "RGBA")
    assert engine._by_fast_path(seen, picture_file(), Request("adain"), print, print) is None
    with pytest.raises(InputError, match="in tiles") as caught:
        engine.stylize(pixels_of(800, 1200), picture_file(), Request("adain", max_memory=850_000_000))
    assert "--runtime" in caught.value.hint


@pytest.mark.parametrize("method", ["adain", "attention", "microast"])
def test_what_a_runtime_takes_is_counted_before_it_is_out_of_memory(method):
    row = registry.find(method)
    here, there = (row.bytes_per_pixel(row.load_knobs()(), Placement(runtime=name)) for name in ("torch", "onnx"))
    assert there > 1.4 * here


def test_auto_measures_methods_for_any_painting(any_store, picture_file, monkeypatch):
    asked = []

    def measured(network, candidates, _folder, **_):
        asked.append((network, [*candidates], [run().shape for run in candidates.values()]))
        return {name: {"openvino": 1.0}.get(name, 2.0) for name in candidates}

    monkeypatch.setattr(choice, "measured", measured)
    engine = Engine(store=any_store, device="cpu", precision="float32")
    painted = engine.stylize(pixels_of(40, 56), picture_file(), Request("adain"))
    assert painted.record["openvino"]
    ((network, names, shapes),) = asked
    assert network.startswith("adain ")
    assert names == ["torch", *RUNTIMES]
    assert set(shapes) == {(1, 3, 192, 256)}  # it is heavy


def test_openvino_takes_bfloat16_and_many_sizes(network, monkeypatch):
    monkeypatch.setattr(openvino, "_SIZES", 2)
    graph = sessions.NetworkGraph.read(network)
    exact, rough = graph.open("openvino"), graph.open("openvino", "bfloat16")
    code = graph.codes["s3"][None]
    for side in (32, 40, 48, 56):  # the last two share a graph
        content = noise(side, 64).numpy()
        assert np.abs(exact.run(content, code) - rough.run(content, code)).mean() < 0.01
    assert len(exact._compiled) == 3


def test_what_openvino_has_compiled_is_kept_and_of_its_own_precision(network, tmp_path):
    graph, folder = sessions.NetworkGraph.read(network), tmp_path / "compiled"
    content, code = noise(48, 64).numpy(), graph.codes["s3"][None]
    first = {each: graph.open("openvino", each, folder).run(content, code) for each in ("float32", "bfloat16")}
    assert list(folder.glob("*.blob"))
    for each, before in first.items():
        np.testing.assert_array_equal(graph.open("openvino", each, folder).run(content, code), before)
    (tmp_path / "file").touch()  # no folder: nothing is kept, and it paints all the same
    unkept = graph.open("openvino", "float32", tmp_path / "file")
    np.testing.assert_array_equal(unkept.run(content, code), first["float32"])


def test_few_compiled_graphs_are_kept(network, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino, "_KEPT", 1)
    graph, folder = sessions.NetworkGraph.read(network), tmp_path / "compiled"
    session = graph.open("openvino", cache=folder)
    for side in (32, 40):
        session.run(noise(side, 64).numpy(), graph.codes["s3"][None])
    assert len(list(folder.glob("*.blob"))) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_onnx_file_is_a_style_like_any_other(network, onnx_file, runtime):
    names = [style.name for style in catalog.listing(onnx_file)]
    assert names[0] == "s3"
    assert set(names) == {style.name for style in catalog.listing(network)}
    pixels = pixels_of(50, 71)
    styles = [(f"{onnx_file}:s3", 2.0), (f"{onnx_file}:s4", 1.0)]
    quick = Engine(precision="float32", runtime=runtime).stylize(pixels, styles)
    request = Request(knobs={"strength": 0.5})
    halved = Engine(precision="float32").prepare(pixels, styles, request).paint(lambda _: None)
    whole = Engine(precision="float32", runtime="torch").stylize(
        pixels, [(f"{network}:{name}", weight) for name, weight in (("s3", 2.0), ("s4", 1.0))]
    )
    assert np.abs(quick.picture.pixels - whole.picture.pixels).max() < 1e-4
    assert np.abs(2 * halved.picture.pixels - pixels - whole.picture.pixels).max() < 3e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_frames_are_painted_by_a_runtime(network, runtime):
    frames = [pixels_of(40, 56), pixels_of(40, 56)[::-1].copy()]
    own, other = (
        FramePainter.of(Engine(precision="float32", runtime=name), f"{network}:s3", None, frames[0])
        for name in (runtime, "torch")
    )
    for frame in frames:
        assert np.abs(own.paint(frame) - other.paint(frame)).max() < 1e-4
    assert own.record().keys() & {"torch", "onnxruntime", "openvino"} == {graph_package(runtime)}


def graph_package(runtime):
    return sessions.RUNTIMES[runtime].package


def test_auto_takes_what_was_measured_to_be_the_fastest(network, monkeypatch):
    def paint():
        return Engine().stylize(pixels_of(40, 56), f"{network}:s3").record

    assert "torch" in paint()
    seconds = {"torch": 1.0, "onnx": 0.5, "openvino": 0.95}
    monkeypatch.setattr(choice, "measured", lambda _net, given, _folder, **_: {key: seconds[key] for key in given})
    assert "onnxruntime" in paint()
    seconds["openvino"] = 0.3
    assert "openvino" in paint()
    assert "torch" in Engine(runtime="torch").stylize(pixels_of(40, 56), f"{network}:s3").record


def test_the_precision_that_was_asked_for_is_kept_by_what_is_the_fastest(network, monkeypatch):
    def last_wins(_network, painters, _folder, *, precision):
        assert precision in ("float32", "bfloat16")
        return {name: float(len(painters) - number) for number, name in enumerate(painters)}

    monkeypatch.setattr(choice, "measured", last_wins)
    for precision in ("float32", "bfloat16"):
        record = Engine(precision=precision).stylize(pixels_of(40, 56), f"{network}:s3").record
        assert record["precision"] == precision
        assert "openvino" in record  # ONNX Runtime comes before, and computes in float32 alone


def test_a_measurement_is_made_once_and_kept(tmp_path):
    counts = dict.fromkeys(("first", "second"), 0)

    def runner(name):
        def run():
            counts[name] += 1

        return run

    runners = {name: runner(name) for name in counts}
    first = measured("net", runners, tmp_path)
    assert set(first) == set(counts)
    before = dict(counts)
    assert measured("net", runners, tmp_path) == first
    assert measured("net", {"second": runners["second"]}, tmp_path) == {"second": first["second"]}
    assert counts == before
    assert measured("net", runners, tmp_path, precision="float32").keys() == first.keys()  # one of its own
    assert all(counts[name] == 2 * before[name] for name in counts)
    counts.update(before)
    measured("net", {**runners, "third": lambda: None}, tmp_path)  # one that is new is measured in turn with the others
    assert all(count == 2 * before[name] for name, count in counts.items())
    (tmp_path / "runtimes.json").write_text("[")
    assert set(measured("net", runners, tmp_path)) == set(counts)
    (tmp_path / "file").touch()
    assert set(measured("net", runners, tmp_path / "file")) == set(counts)


def test_only_what_is_plainly_quicker_replaces_the_first():
    assert choice.fastest({"torch": 1.0, "onnx": 0.95}) == "torch"
    assert choice.fastest({"torch": 1.0, "onnx": 0.8, "openvino": 0.7}) == "openvino"


@pytest.mark.parametrize(
    ("options", "request_", "style", "words"),
    [
        ({"runtime": "banana"}, Request(), "NET:s3", "no runtime 'banana'"),
        ({"runtime": "onnx", "precision": "bfloat16"}, Request(), "NET:s3", "does not compute in bfloat16"),
        ({"runtime": "openvino"}, Request("wct"), "PHOTO", "method wct cannot be run by OpenVINO"),
        ({"runtime": "onnx"}, Request("optimize"), "PHOTO", "method optimize cannot be run by ONNX Runtime"),
        ({"runtime": "torch"}, Request(), "ONNX:s3", "which torch cannot run"),
        ({"runtime": "onnx"}, Request(), "BAD:s3", "is not an ONNX file of an Impasto network"),
    ],
)
def test_what_cannot_be_run_is_said(network, onnx_file, picture_file, tmp_path, options, request_, style, words):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(onnx_file.read_bytes()[:-40])
    for name, path in (("NET", network), ("ONNX", onnx_file), ("BAD", bad), ("PHOTO", picture_file("style.png"))):
        style = style.replace(name, str(path)) if style.startswith(name) else style
    with pytest.raises(InputError, match=words) as caught:
        Engine(**options).stylize(pixels_of(40, 56), style, request_)
    assert caught.value.hint


def test_a_graph_that_no_runtime_can_run_is_said(onnx_file):
    graph = sessions.NetworkGraph.read(onnx_file)
    for name in RUNTIMES:
        with pytest.raises(InputError, match="cannot run this network"):
            replace(graph, data=graph.data[: len(graph.data) // 2]).open(name)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 40, b"r\x05ab", b"r\x02\x0a\x00", b"[]"])
def test_what_is_no_onnx_file_of_ours_is_said(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not an ONNX file"):
        onnx_files.read_header(path)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_is_not_installed_is_said(network, monkeypatch, runtime):
    monkeypatch.setitem(sys.modules, graph_package(runtime), None)
    with pytest.raises(MissingExtra) as caught:
        Engine(runtime=runtime).stylize(pixels_of(40, 56), f"{network}:s3")
    assert caught.value.hint == f'pip install "impasto[{runtime}]"'


def test_candidates_are_those_that_can(network, onnx_file, monkeypatch):
    row = registry.find("feedforward")
    assert choosing.candidates(row, network, cold=False) == ("torch", *RUNTIMES)
    assert choosing.candidates(row, network, cold=True) == RUNTIMES
    assert choosing.candidates(row, onnx_file, cold=False) == RUNTIMES
    assert choosing.candidates(registry.find("optimize"), None, cold=False) == ("torch",)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choosing.candidates(row, network, cold=True) == ("onnx",)


def test_the_guide_to_an_install_without_torch_names_all_other_packages():
    root = Path(__file__).parents[2]
    listed = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {re.split(r"[<>=\[;]", line)[0] for line in listed}
    for page in ("deploy.md", "deploy.zh.md"):
        text = (root / "docs" / page).read_text()
        (line,) = re.findall(r"^pip install (filelock .*)$", text, re.MULTILINE)
        assert set(line.split()) == needed - {"torch"}


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from impasto.cli import app; sys.exit(app.run(sys.argv[1:]))"


def without_torch(*words, also_without=()):
    program = "".join(f"import sys; sys.modules['{name}'] = None; " for name in also_without) + WITHOUT_TORCH
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.process
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_install_without_torch_paints_the_pack(picture_file, tmp_path, runtime):
    photo, out = picture_file(width=90), tmp_path / "out.png"
    words = ("stylize", photo, "--style", "pack:irises", "--size", "80", "-o", out, "--json")
    done = without_torch(*words, "--runtime", runtime, "--precision", "float32")
    assert done.returncode == 0, done.stderr
    whole = Engine(precision="float32", runtime="torch").stylize(photo, "pack:irises", Request(size=80))
    with Image.open(out) as picture:
        difference = np.abs(np.asarray(picture, np.float32) / 255 - whole.picture.pixels).max()
    assert difference < 2 / 255


@pytest.mark.process
@pytest.mark.parametrize("runtime", [*RUNTIMES, "auto"])
def test_an_install_without_torch_paints_any_painting(picture_file, tmp_path, runtime, tiny_weights, any_store):
    photo, painting, out = picture_file(width=90), picture_file("painting.png", seed=3), tmp_path / "out.png"
    net = tmp_path / "codec.safetensors"
    checkpoint.write(net, Codec.of_assets(tiny_weights).tensors(), {"kind": "adain"})
    words = ("stylize", photo, "--style", painting, "--quality", "draft", "--network", net, "--strength", "0.8")
    done = without_torch(*words, "--runtime", runtime, "--precision", "float32", "-o", out)
    assert done.returncode == 0, done.stderr
    request = Request(quality="draft", knobs={"network": str(net), "strength": 0.8})
    whole = Engine(precision="float32", runtime="torch", store=any_store).stylize(photo, painting, request)
    with Image.open(out) as picture:
        difference = np.abs(np.asarray(picture, np.float32) / 255 - whole.picture.pixels).max()
    assert difference < 2 / 255


@pytest.mark.process
def test_an_install_without_torch_says_what_needs_it(picture_file, tmp_path):
    photo = picture_file(width=90)
    for words in (
        ("stylize", photo, "--style", photo, "-o", tmp_path / "out.png"),
        ("stylize", photo, "--style", "pack:irises", "--keep-color", "luminance", "-o", tmp_path / "out.png"),
        ("measure", photo, photo, photo),
    ):
        done = without_torch(*words)
        assert done.returncode == MissingExtra.exit_code, (words, done.stderr)
        assert done.stderr.count("\n") == 2
        assert "PyTorch is not installed" in done.stderr
        assert "pip install torch" in done.stderr
    told = json.loads(without_torch("doctor", "--json", also_without=("openvino",)).stdout)
    assert told["runtime"]["a picture"] == "onnx"
    assert set(told["runtime_times"]) == {"onnx"}
