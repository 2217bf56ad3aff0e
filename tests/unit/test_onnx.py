"""Networks as ONNX graphs, and the way that paints with them without torch."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from impasto.assets import Store
from impasto.cli import app
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import Cancelled, InputError, MissingExtra
from impasto.export import check
from impasto.models import checkpoint, networks
from impasto.ops import stats
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes import graphs
from tiny import TinyStore, noise, tiny_network

ROWS = {
    **networks.ARCHITECTURES,
    "wide": networks.NetworkSpec("", "", (4, 6, 8), 2, False, 9, 1, 5, 0, False),
    "direct": networks.NetworkSpec("", "", (4, 6, 8), 2, True, 5, 2, 0, 0, True),
    "pruned": networks.NetworkSpec("", "", (4, 6, 8), 2, True, 5, 2, 3, 4, True, inner=(10, 3), ups=(6, 5)),
}

MASK = np.kron(np.eye(2, dtype=np.float32), np.ones((25, 36), np.float32))[:, :71]


def tensors_of(row, *, palette=False):
    generator = torch.Generator().manual_seed(3)
    network = networks.Network(row, generator, palette=palette)
    codes = network.neutral_code() + 0.3 * torch.randn(2, network.code_length, generator=generator)
    return networks.pack(network, codes, ["one", "two"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Graphs of tiny networks stay out of the user's cache."""
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network(), {"styles": ["s3"], "licences": {"s3": "CC0"}}).save(path)
    return path


@pytest.fixture
def pixels():
    return noise(50, 71)[0].permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_a_graph_paints_what_the_network_paints(name, palette):
    tensors = tensors_of(ROWS[name], palette=palette)
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    session = onnxruntime.InferenceSession(graphs.build(arrays), providers=["CPUExecutionProvider"])
    trained = networks.Trained(tensors)
    network, codes = trained.network(), torch.cat([trained.code(style) for style in ("one", "two")])
    assert graphs.stride_of(arrays) == network.stride
    for height, width in ((64, 64), (61, 83)):
        content = noise(height, width, batch=2)
        with torch.no_grad():
            whole = crop_to(network(pad_to_multiple(content, network.stride), codes), height, width)
        got = session.run(None, {"image": content.numpy(), "code": codes.numpy()})[0]
        assert got.shape == whole.shape
        assert np.abs(got - whole.numpy()).max() < 1e-4


def test_the_file_is_sound_by_the_checker_of_onnx():
    onnx = pytest.importorskip("onnx")
    arrays = {key: tensor.numpy() for key, tensor in tiny_network().items()}
    model = onnx.load_from_string(graphs.build(arrays, {"styles": ["s0"]}))
    onnx.checker.check_model(model, full_check=True)
    sides = [side.dim_param or side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", 3, "height", "width"]


def test_no_node_takes_more_buffers_than_webgpu_promises():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(
        graphs.build({key: array.numpy() for key, array in tensors_of(ROWS["johnson"]).items()})
    )
    assert max(len(node.input) + len(node.output) for node in model.graph.node) <= 8


def test_the_same_small_number_keeps_both_normalisations_finite():
    assert graphs.EPSILON == stats.EPSILON


def test_an_export_holds_all_styles_and_is_checked(network, tmp_path, capsys, monkeypatch):
    photographs = (noise(70, 101, seed=1).numpy(), noise(64, 96, seed=2).numpy())
    monkeypatch.setattr(Store, "path", lambda *arguments: tmp_path)
    monkeypatch.setattr(check, "read_photographs", lambda folder: photographs)
    out = tmp_path / "net.onnx"
    assert app.run(["export", str(network), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parity"]["maximum"] < 1e-4
    assert told["parity"]["pictures"] == 99
    assert told["bytes"] == out.stat().st_size
    assert len(told["styles"]) == 97
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["impasto"])["licences"] == {"s3": "CC0"}
    code = np.array([json.loads(metadata["codes"])["s4"]], np.float32)
    np.testing.assert_allclose(code, networks.read(network).code("s4").numpy(), atol=1e-6)
    before = out.read_bytes()
    monkeypatch.setattr(check, "LARGEST", 0.0)
    assert app.run(["export", str(network), "-o", str(out)]) == 1
    assert "paints other pictures than PyTorch" in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize("words", [["nowhere.safetensors"], ["NET", "-o", "net.tflite"], ["NET", "-o", "no/net.onnx"]])
def test_what_cannot_be_exported_is_said(network, words, capsys):
    assert app.run(["export", *(word.replace("NET", str(network)) for word in words)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("share", [np.ones(4), np.ones(()), np.ones(0)])
def test_an_odd_palette_makes_no_graph(share):
    arrays = {key: tensor.numpy() for key, tensor in tensors_of(ROWS["direct"], palette=True).items()}
    with pytest.raises(InputError, match="not an Impasto network"):
        graphs.build({**arrays, "palette": share.astype(np.float32)})


def test_what_is_no_network_makes_no_graph():
    arrays = {key: tensor.numpy() for key, tensor in tiny_network().items()}
    for changed in (
        {key: array for key, array in arrays.items() if key != "head.weight"},
        {**arrays, "down.0.bias": np.zeros(6, np.float32)},
        {**arrays, "style.s3": np.zeros(7, np.float32)},
    ):
        with pytest.raises(InputError):
            graphs.build(changed)


@pytest.mark.parametrize(("sides", "strength"), [((50, 71), 1.0), ((9, 40), 0.4), ((50, 71), 0.0)])
def test_the_fast_path_paints_what_the_engine_paints(network, tmp_path, sides, strength):
    pixels = noise(*sides)[0].permute(1, 2, 0).contiguous().numpy()
    styles = [(f"{network}:s3", 2.0), (f"{network}:s4", 1.0)]
    request = Request(size=64, knobs={"strength": strength})
    quick = Engine(store=TinyStore(tmp_path, {}), precision="float32", runtime="onnx").stylize(pixels, styles, request)
    whole = Engine(store=TinyStore(tmp_path, {}), precision="float32").stylize(pixels, styles, request)
    assert np.abs(quick.picture.pixels - whole.picture.pixels).max() < 1e-4
    assert "onnxruntime" in quick.record
    changing = ("torch", "onnxruntime", "seconds")
    assert {k: v for k, v in quick.record.items() if k not in changing} == {
        k: v for k, v in whole.record.items() if k not in changing
    }


@pytest.mark.process
def test_pictures_of_a_batch_are_painted_without_torch_too(network, tmp_path):
    script = f"""
        import sys
        import numpy as np
        from impasto.contract import ignore
        from impasto.engine.engine import Engine
        from impasto.engine.request import Task
        engine = Engine(precision="float32")
        tasks = [Task(np.full((48, 64, 3), grey, np.float32), "{network}:s3") for grey in (0.2, 0.5, 0.8)]
        results = engine.paint_all([*tasks, Task(tasks[0].content, "{network}:none")], [ignore] * 4)
        assert all(result.picture.width == 64 for result in results[:3]), results
        assert isinstance(results[3], Exception)
        sys.exit("torch" in sys.modules)
    """
    environment = {**os.environ, "IMPASTO_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("controls", [Controls(keep_color="luminance"), Controls(regions=((MASK, "NET:s4"),))])
def test_what_is_more_than_a_plain_picture_the_engine_paints_by_the_same_runtime(network, pixels, controls):
    controls = replace(controls, regions=tuple((mask, f"{network}:s4") for mask, _ in controls.regions))
    results = [
        Engine(precision="float32", runtime=runtime).stylize(pixels, f"{network}:s3", Request(controls=controls))
        for runtime in ("onnx", "torch")
    ]
    assert [set(one.record) & {"torch", "onnxruntime"} for one in results] == [{"onnxruntime"}, {"torch"}]
    assert np.abs(results[0].picture.pixels - results[1].picture.pixels).max() < 1e-4


def test_a_graph_is_built_once_for_each_network(network, tmp_path, monkeypatch):
    folder, tensors = tmp_path / "graphs", graphs.read(network)[0]
    first = graphs.cached(network, tensors, folder)
    assert first == graphs.build(tensors)
    with monkeypatch.context() as patched:
        patched.setattr(graphs, "build", None)  # is not called
        assert graphs.cached(network, tensors, folder) == first
    networks.Trained(tensors_of(ROWS["tiny"])).save(network)
    assert graphs.cached(network, graphs.read(network)[0], folder) != first
    assert len(list(folder.iterdir())) == 2


def test_a_kept_graph_with_an_altered_byte_is_built_again(network, tmp_path):
    folder, tensors = tmp_path / "graphs", graphs.read(network)[0]
    first = graphs.cached(network, tensors, folder)
    (kept,) = folder.iterdir()
    for damaged in (first[:-1], first[:500] + bytes([first[500] ^ 1]) + first[501:]):
        kept.write_bytes(damaged)
        assert graphs.cached(network, tensors, folder) == first
    assert [path.read_bytes() for path in folder.iterdir()] == [first]


def test_only_the_newest_graphs_are_kept(network, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "_KEPT", 2)
    folder = tmp_path / "graphs"
    for number in range(4):
        tensors = tiny_network()
        networks.Trained({**tensors, "style.s3": tensors["style.s3"] + number}).save(network)
        graphs.cached(network, graphs.read(network)[0], folder)
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_takes_no_graph_is_no_reason_not_to_paint(network, tmp_path):
    (tmp_path / "file").touch()
    tensors = graphs.read(network)[0]
    assert graphs.cached(network, tensors, tmp_path / "file") == graphs.build(tensors)


def test_where_onnx_is_missing_a_kept_graph_paints_and_else_it_is_said(network, pixels, monkeypatch):
    def paint():
        return Engine(runtime="onnx").stylize(pixels, [(f"{network}:s3", 1.0)], Request()).record

    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnx", None)
        with pytest.raises(MissingExtra) as caught:
            paint()
        assert 'pip install "impasto[onnx]"' in caught.value.hint
    assert "onnxruntime" in paint()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "onnxruntime" in paint()


def test_wrong_styles_are_refused_in_the_words_of_the_engine(network, pixels, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(network.read_bytes())
    for styles, words in (
        ([f"{network}:s3", f"{other}:s3"], "several networks"),
        ([f"{network}:s3", "museum:436535"], "do not mix"),
        ([f"{network}:nobody"], "no style 'nobody'"),
    ):
        with pytest.raises(InputError, match=words):
            Engine(runtime="onnx").stylize(pixels, [(style, 1.0) for style in styles], Request())
    with pytest.raises(InputError, match="steps"):
        Engine(runtime="onnx").stylize(pixels, [(f"{network}:s3", 1.0)], Request(knobs={"steps": 3}))


def test_a_network_that_was_written_again_is_read_again(network, pixels):
    quick, styles = Engine(runtime="onnx"), [(f"{network}:s3", 1.0)]
    before = quick.stylize(pixels, styles, Request()).picture.pixels
    tensors = tiny_network()
    networks.Trained({**tensors, "style.s3": tensors["style.s4"]}).save(network)
    after = quick.stylize(pixels, styles, Request()).picture.pixels
    assert np.abs(before - after).max() > 0.01


def test_it_can_be_cancelled(network, pixels):
    def stop(progress):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        Engine(runtime="onnx").stylize(pixels, [(f"{network}:s3", 1.0)], Request(), on_progress=stop)


@pytest.mark.process
def test_the_command_line_paints_without_torch(network, picture_file, tmp_path):
    photo, out, again = picture_file(width=90), tmp_path / "out.png", tmp_path / "whole.png"
    words = ["stylize", str(photo), "--style", f"{network}:s3", "--strength", "0.8", "--size", "80"]
    program = (
        "import sys; sys.modules['openvino'] = None; from impasto.cli import app; code = app.run(sys.argv[1:]); "
        "assert not {'torch', 'onnx'} & set(sys.modules); sys.exit(code)"
    )
    graphs.cached(network, graphs.read(network)[0], Store().root / "graphs")  # as the run before has left it
    command = [sys.executable, "-c", program, *words, "-o", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["method"] == "feedforward"
    assert app.run([*words, "--keep-color", "luminance", "-o", str(again)]) == 0  # by the engine
    with Image.open(out) as picture:
        assert picture.size == (80, round(80 * 48 / 90))
    whole = Engine(precision="float32").stylize(photo, f"{network}:s3", Request(size=80, knobs={"strength": 0.8}))
    with Image.open(out) as picture:
        difference = np.abs(np.asarray(picture, np.float32) / 255 - whole.picture.pixels).max()
    assert difference < 2 / 255
    assert app.run(["redo", str(out), "-o", str(again)]) == 0


def test_both_read_newer_formats_alike(network, tmp_path):
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in tiny_network().items()}
    save_file(tensors, network, metadata={"impasto": json.dumps({"format": checkpoint.FORMAT + 1})})
    with pytest.raises(InputError, match="reads up to"):
        graphs.read(network)


def test_sides_of_a_request():
    assert Request().sides(40, 30) == (30, 40)
    assert Request(size=20).sides(40, 30) == (15, 20)
    with pytest.raises(InputError):
        Request().sides(4, 30)
    with pytest.raises(InputError):
        replace(Request(), size=2.5).sides(40, 30)


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_the_graph_for_openvino_paints_the_same_picture(name, palette):
    arrays = {key: array.numpy() for key, array in tensors_of(ROWS[name], palette=palette).items()}
    content, code = noise(50, 71).numpy(), arrays["style.two"][None]
    plain, transposed = (
        onnxruntime.InferenceSession(graphs.build(arrays, transposed=each), providers=["CPUExecutionProvider"]).run(
            None, {graphs.IMAGE: content, graphs.CODE: code}
        )[0]
        for each in (False, True)
    )
    assert transposed.shape == plain.shape
    assert np.abs(transposed - plain).max() < 1e-5


def test_a_folder_of_networks_is_known_by_what_its_files_hold(tmp_path):
    """As SANet's and AdaAttN's authors give theirs."""
    for name in ("transformer.pth", "decoder.pth"):
        (tmp_path / name).write_text(name)
    known = graphs.digest_of(tmp_path)
    assert graphs.digest_of(tmp_path) == known
    (tmp_path / "decoder.pth").write_text("another")
    assert graphs.digest_of(tmp_path) != known
