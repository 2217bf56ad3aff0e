"""Exports: each format paints what PyTorch paints, carries its metadata, and is not left where it does not."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.assets import Store
from impasto.cli import app
from impasto.errors import InputError, MissingExtra, StyleError
from impasto.export import check, formats, portable, tfjs
from impasto.export.model import ANY_STYLE, Exportable
from impasto.models import checkpoint, networks
from impasto.models.codecs import Codec
from impasto.ops import grids, stats
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.runtimes._openvino import import_openvino
from tiny import TinyStore, noise, tiny_network

PAGES = Path(__file__).parents[2] / "docs"
SHAPE = {"litert": (64, 96)}
ROWS = {
    **networks.ARCHITECTURES,
    "wide": networks.NetworkSpec("", "", (4, 6, 8), 2, False, 9, 1, 5, 0, False),
    "direct": networks.NetworkSpec("", "", (4, 6, 8), 2, True, 5, 2, 0, 0, True),
}


def pixels(height, width, *, seed=0, batch=1):
    return noise(height, width, seed=seed, batch=batch).numpy()


PHOTOGRAPHS = (pixels(70, 101, seed=1), pixels(64, 96, seed=2))


def needs(name):
    missing = [module for module in formats.find(name).modules if find_spec(module) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"{missing} not installed: the extra {name}, in an environment apart"
    )


ALL = [pytest.param(name, marks=needs(name)) for name in formats.FORMATS]
FREE = [pytest.param(name, marks=needs(name)) for name, row in formats.FORMATS.items() if row.batch]


@pytest.fixture(scope="module", autouse=True)
def without_node():
    """TensorFlow.js itself is for tests/edges/test_tfjs.py: each picture takes it a process."""
    present = Store.is_present
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "is_present", lambda self, name: name != tfjs.LIBRARY and present(self, name))
        yield


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    tensors = {
        name: tensor
        for name, tensor in tiny_network().items()
        if name[:6] != "style." or name in ("style.s0", "style.s1")
    }
    about = {"styles": ["s0"], "licences": {"s0": "CC0"}, "recipe": {"style_weight": 8}}
    networks.Trained(tensors, about).save(path)
    return path


@pytest.fixture(scope="module")
def model(network):
    return Exportable.of_network(network)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Each format's file of the tiny network, written once: its outcome and its painter."""
    kept = {}

    def of(name):
        if name not in kept:
            row = formats.find(name)
            path = tmp_path_factory.mktemp(name) / f"net{row.suffix}"
            outcome = formats.export(model, row, path, PHOTOGRAPHS, shape=SHAPE.get(name))
            kept[name] = outcome, row.writer().load(path, model)[0]
        return kept[name]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_file_paints_what_pytorch_paints(name, exported, model):
    outcome, _ = exported(name)
    assert outcome.parity.maximum < 1e-4
    assert outcome.parity.psnr > 90
    assert outcome.parity.mean <= outcome.parity.maximum
    assert outcome.styles == model.styles
    assert outcome.bytes > 0
    assert [path.name for path in outcome.path.parent.iterdir() if path.suffix != ".bin"] == [outcome.path.name]


def read_metadata(name, path):
    if name == "onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    if name == "openvino":
        openvino = import_openvino()

        info = openvino.Core().read_model(path).get_rt_info(["impasto"]).value
        return {
            key: str(getattr(info[key], "value", info[key])) for key in ("name", "licence", "recipe", "ranges", "codes")
        }
    if name == "torchscript":
        files = {"impasto.json": ""}
        torch.jit.load(path, _extra_files=files)
        return json.loads(files["impasto.json"])
    if name == "coreml":
        import coremltools

        return dict(coremltools.models.MLModel(str(path), skip_model_load=True).user_defined_metadata)
    if name == "tfjs":
        return json.loads((path / "model.json").read_text("utf-8"))["userDefinedMetadata"]
    from impasto.export.litert import read_metadata

    return read_metadata(path.read_bytes())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALL)
def test_a_file_says_what_it_is(name, exported, model):
    told = read_metadata(name, exported(name)[0].path)
    assert told["name"] == "net"
    assert told["licence"] == "s0: CC0"
    assert json.loads(told["recipe"]) == {"style_weight": 8}
    assert "sRGB in [0, 1]" in told["ranges"]
    np.testing.assert_allclose(json.loads(told["codes"])["s0"], model.seconds[0][0], rtol=1e-6)


def fitting(name, height, width):
    """The nearest sides that a format takes."""
    row = formats.find(name)
    if row.shape:
        return SHAPE[name]
    return (height // 8 * 8, width // 8 * 8) if row.aligned else (height, width)


def assert_near(painter, model, image, code):
    np.testing.assert_allclose(painter(image, code), model.reference(image, code), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_instance_normalisation_of_flat_and_of_harsh_pictures(name, exported, model):
    _, painter = exported(name)
    height, width = fitting(name, 64, 96)
    harsh = (pixels(height, width) > 0.5).astype(np.float32)
    assert_near(painter, model, harsh, model.seconds[0])
    assert_near(painter, model, harsh, 2 * model.seconds[1])  # none of its styles
    flat = np.full((1, 3, height, width), 0.25, np.float32)  # nothing but rounding is left to divide
    np.testing.assert_allclose(painter(flat, model.seconds[0]), model.reference(flat, model.seconds[0]), atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_reflection_padding_shows_nothing_but_the_picture_at_its_edges(name, exported, model):
    _, painter = exported(name)
    height, width = fitting(name, 64, 96)
    ramp = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (1, 3, height, width)).copy()
    ramp[:, :, 0], ramp[:, :, -1] = 1, 0
    made, meant = painter(ramp, model.seconds[0]), model.reference(ramp, model.seconds[0])
    for edge in (np.s_[:, :, 0], np.s_[:, :, -1], np.s_[..., 0], np.s_[..., -1]):
        np.testing.assert_allclose(made[edge], meant[edge], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FREE)
def test_odd_sides_and_the_smallest(name, exported, model):
    _, painter = exported(name)
    for sides in ((33, 47), (32, 150), (71, 32)):
        image = pixels(*sides)
        assert painter(image, model.seconds[0]).shape == image.shape
        assert_near(painter, model, image, model.seconds[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", FREE)
def test_a_batch_equals_its_items_apart(name, exported, model):
    _, painter = exported(name)
    images, codes = pixels(40, 56, batch=3), np.concatenate([*model.seconds, model.seconds[0]])
    whole = painter(images, codes)
    for index in range(3):
        alone = painter(images[index : index + 1], codes[index : index + 1])
        np.testing.assert_allclose(whole[index : index + 1], alone, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("coreml", marks=needs("coreml"))])
def test_free_sides_may_be_all_multiples(name, exported, model):
    _, painter = exported(name)
    for sides in ((32, 64), (104, 40)):
        assert_near(painter, model, pixels(*sides), model.seconds[0])


@pytest.mark.slow
def test_a_graph_model_comes_in_files_that_browsers_keep(tmp_path):
    """More than 4 MB of weights lie in several files, one after the other, a weight across two of them."""
    network = networks.Network(networks.ARCHITECTURES["johnson"], torch.Generator().manual_seed(3))
    tensors = {**network.requires_grad_(False).state_dict(), "style.a": network.neutral_code()[0]}
    networks.Trained(tensors, {}).save(tmp_path / "net.safetensors")
    model = Exportable.of_network(tmp_path / "net.safetensors")
    outcome = formats.export(model, formats.find("tfjs"), tmp_path / "model", (pixels(33, 40),))
    parts = sorted((tmp_path / "model").glob("*.bin"))
    assert [part.name for part in parts] == ["impasto-1.bin", "impasto-2.bin"]
    assert parts[0].stat().st_size == 4 << 20
    assert outcome.parity.runtime == "PyTorch, operation by operation"
    whole = json.loads((tmp_path / "model" / "model.json").read_text("utf-8"))
    assert whole["signature"]["inputs"]["image"]["tensorShape"]["dim"][1:] == [
        {"size": "-1"},
        {"size": "-1"},
        {"size": "3"},
    ]
    formats.export(model, formats.find("tfjs"), tmp_path / "model", (pixels(33, 40),))  # ours is replaced


# --- plain modules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_a_plain_module_paints_what_its_network_paints(name):
    generator = torch.Generator().manual_seed(3)
    network = networks.Network(ROWS[name], generator).requires_grad_(False)
    code = network.neutral_code() + 0.3 * torch.randn(2, network.code_length, generator=generator)
    content = noise(45, 66, batch=2)
    meant = crop_to(network(pad_to_multiple(content, network.stride), code), 45, 66)
    torch.testing.assert_close(portable.PlainNetwork(network)(content, code), meant, atol=1e-5, rtol=0)


def test_normalisation_is_that_of_the_methods():
    features, scale, shift = noise(9, 14, batch=2), torch.rand(2, 3), torch.rand(2, 3)
    made = portable.Normalisation()(features, scale, shift)
    torch.testing.assert_close(made, stats.instance_norm(features, scale, shift), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sides", [(3, 4), (5, 9)])
def test_doubling_is_resizing_by_nearest_neighbours_and_a_convolution(sides):
    generator = torch.Generator().manual_seed(1)
    weight, small = torch.randn(4, 3, 3, 3, generator=generator), noise(*sides)
    doubled = torch.nn.functional.interpolate(small, scale_factor=2.0, mode="nearest")
    meant = portable.PlainConvolution(weight, None)(doubled)
    torch.testing.assert_close(portable.PlainDoubling(weight, None)(small), meant, atol=1e-5, rtol=0)


def test_the_grid_filter_is_that_of_adain():
    pictures = noise(45, 37, batch=2) + 0.05 * torch.rand(2, 3, 45, 37, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(portable.PlainGridFilter()(pictures), grids.without_grid(pictures), atol=1e-5, rtol=0)


def test_weights_lie_in_plain_order():
    """One converter knows weights by where they lie, and a copy that it makes itself lies where the last one lay."""
    channels_last = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    assert portable.PlainConvolution(channels_last, None).weight.is_contiguous()


# --- the guide's words in other languages -----------------------------------------------------------------------------


def snippet(page, language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["deploy.md", "deploy.zh.md"])
@pytest.mark.parametrize("name", [pytest.param("coreml", marks=needs("coreml"))])
def test_the_swift_of_the_guide_names_what_the_package_has(page, name, exported):
    import coremltools

    text = snippet(page, "swift")
    description = coremltools.models.MLModel(str(exported(name)[0].path), skip_model_load=True).get_spec().description
    assert re.findall(r"(\w+): \w+[,)]", text.split("prediction")[1])[:2] == [one.name for one in description.input]
    assert re.findall(r"result\.(\w+)", text) == [one.name for one in description.output]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["deploy.md", "deploy.zh.md"])
@pytest.mark.parametrize("name", [pytest.param("litert", marks=needs("litert"))])
def test_the_kotlin_of_the_guide_names_what_the_file_has(page, name, exported):
    from ai_edge_litert.interpreter import Interpreter

    text = snippet(page, "kotlin")
    (signature,) = Interpreter(model_content=exported(name)[0].path.read_bytes()).get_signature_list().items()
    assert signature[0] in re.findall(r'"(\w+)"', text)
    named = re.findall(r'"(\w+)" to', text)
    assert set(named) == {*signature[1]["inputs"], *signature[1]["outputs"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["deploy.md", "deploy.zh.md"])
def test_the_cpp_of_the_guide_hands_in_what_the_file_takes(page, exported, model):
    text = snippet(page, "cpp")
    (order,) = re.findall(r"forward\(\{(\w+), (\w+)\}\)", text)
    given = {"photo": torch.from_numpy(pixels(64, 96)), "code": torch.from_numpy(model.seconds[0])}
    network = torch.jit.load(exported("torchscript")[0].path)
    with torch.inference_mode():
        pastiche = network.forward(*(given[name] for name in order))
    assert pastiche.shape == given["photo"].shape


# --- a painting as the second input ----------------------------------------------------------------------------------


@pytest.fixture(params=["adain", "microast", "a file of adain"])
def any_style(request, tmp_path, tiny_weights):
    class Described(TinyStore):
        def __init__(self, folder, weights):
            super().__init__(folder, weights)
            self.declared = Store(folder).declared

    styles = [pixels(50, 71, seed=3), pixels(64, 40, seed=4)]
    if request.param in ANY_STYLE:
        (tmp_path / "store").mkdir()
        return Exportable.of_method(request.param, Described(tmp_path / "store", tiny_weights), styles)
    codec = Codec.of_assets(tiny_weights)
    checkpoint.write(tmp_path / "codec.safetensors", codec.tensors(), {"kind": "adain"})
    return Exportable.of_codec(tmp_path / "codec.safetensors", styles)


WHERE_STYLE = [name for name, row in formats.FORMATS.items() if "style" in row.seconds]


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in WHERE_STYLE])
def test_a_painting_is_the_second_input_and_all_sides_are_free(name, any_style, tmp_path):
    row = formats.find(name)
    path = tmp_path / f"any{row.suffix}"
    outcome = formats.export(any_style, row, path, PHOTOGRAPHS)  # OpenVINO's is made of that of ONNX
    assert outcome.parity.psnr > 90
    painter, _ = row.writer().load(path, any_style)
    for sides, style in (((40, 51), (35, 90)), ((33, 32), (64, 64))):
        image, painting = pixels(*sides), pixels(*style, seed=9)
        np.testing.assert_allclose(painter(image, painting), any_style.reference(image, painting), atol=1e-4)
    batch, paintings = pixels(32, 48, batch=2), pixels(40, 36, seed=5, batch=2)
    apart = [painter(batch[i : i + 1], paintings[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(painter(batch, paintings), np.concatenate(apart), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in WHERE_STYLE])
def test_resizing_in_the_middle_is_that_of_pytorch(name, tmp_path, tiny_weights):
    """Bilinear, as MicroAST doubles: a straight ramp stays one inside, and its ends are repeated at the edges."""
    model = Exportable._of_weights("microast", {"microast": tiny_weights["microast"]}, [pixels(32, 32)], [])
    row = formats.find(name)
    path = tmp_path / f"ramp{row.suffix}"
    formats.export(model, row, path, PHOTOGRAPHS)
    painter, _ = row.writer().load(path, model)
    ramp = np.broadcast_to(np.linspace(0, 1, 52, dtype=np.float32), (1, 3, 36, 52)).copy()
    np.testing.assert_allclose(painter(ramp, pixels(40, 40)), model.reference(ramp, pixels(40, 40)), atol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in formats.FORMATS.items() if "style" not in row.seconds])
def test_paintings_go_only_where_both_sides_are_free(name, tmp_path):
    row = formats.find(name)
    with pytest.raises(InputError, match="a network that takes a painting cannot be exported"):
        formats.check_target(row, tmp_path / f"adain{row.suffix}", "style", None)


@pytest.mark.process
@needs("openvino")
def test_openvino_tells_nobody_of_its_use():
    program = (
        "import sys; from impasto.runtimes._openvino import import_openvino; import_openvino().Core(); "
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)


# --- what is wrong is told, and nothing is left ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_a_file_that_paints_other_pictures_is_not_left(wrong, model, tmp_path):
    other = replace(model, reference=lambda image, code: model.reference(image, code) + np.float32(wrong))
    path = tmp_path / "net.pt"
    for before in (None, b"what was there"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(StyleError, match="paints other pictures"):
            formats.export(other, formats.find("torchscript"), path, PHOTOGRAPHS)
        assert (path.read_bytes() if path.exists() else None) == before
        assert len(list(tmp_path.iterdir())) == (before is not None)


@pytest.mark.parametrize(
    ("name", "path", "shape", "words"),
    [
        ("onnx", "net.tflite", None, "is not named as onnx needs"),
        ("onnx", "no/net.onnx", None, "does not exist"),
        ("onnx", "net.onnx", (64, 64), "takes any size"),
        ("onnx", "folder.onnx", None, "is a folder"),
        ("coreml", "other.mlpackage", None, "holds other files"),
        ("coreml", "file.mlpackage", None, "is a file"),
        ("tfjs", "other.mlpackage", None, "holds other files"),
    ],
)
def test_what_cannot_be_written_is_told_first(name, path, shape, words, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "other.mlpackage").mkdir()
    (tmp_path / "other.mlpackage" / "mine.txt").touch()
    (tmp_path / "file.mlpackage").touch()
    with pytest.raises(InputError, match=words):
        formats.check_target(formats.find(name), tmp_path / path, "code", shape)


def test_shapes_that_a_network_cannot_take(model, tmp_path):
    for shape in ((60, 64), (24, 64)):
        with pytest.raises(InputError, match="multiples of 8 from 32 up") as told:
            formats.export(
                model, replace(formats.find("torchscript"), fixable=True), tmp_path / "n.pt", (), shape=shape
            )
        assert "--shape" in told.value.hint
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_the_install_line(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda module: None)
    for name, row in formats.FORMATS.items():
        if row.modules:
            with pytest.raises(MissingExtra) as told:
                row.check_installed()
            assert told.value.hint == f'pip install "impasto[{row.extra}]"', name


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere.safetensors"], 2),
        (["NET", "--to", "caffe"], 2),
        (["NET", "--to", "tfjs", "--shape", "64x64"], 2),
        (["adain", "--to", "tfjs"], 2),
        (["NET", "--to", "tfjs", "-o", "."], 2),
        (["NET", "--to", "tfjs", "-o", "corrupt.safetensors"], 2),
        (["NET", "--to", "coreml", "--shape", "wide"], 2),
        (["NET", "--shape", "64x64"], 2),
        (["adain", "--to", "coreml"], 2),
        (["CORRUPT"], 2),
    ],
)
def test_the_command_line_tells_in_two_lines(words, code, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt.safetensors").write_bytes(network.read_bytes()[:-40])
    names = {"NET": str(network), "CORRUPT": "corrupt.safetensors"}
    assert app.run(["export", *(names.get(word, word) for word in words)]) == code
    assert capsys.readouterr().err.count("\n") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["corrupt.safetensors"]


def test_figures_of_the_check(model):
    def painter(image, code):
        return model.reference(image, code) + np.float32(0.001)

    given = check.cases(model, PHOTOGRAPHS)
    assert [case.image.shape[0] for case in given] == [1, 1, 2]
    assert not np.array_equal(given[-1].second[0], given[-1].second[1])
    parity = check.compare(painter, "ours", model, given)
    assert parity.pictures == 4
    assert parity.maximum == pytest.approx(0.001, rel=1e-3)
    assert parity.mean == pytest.approx(0.001, rel=1e-3)
    assert parity.psnr == pytest.approx(60, abs=0.1)
    assert not parity.is_near
    assert check.compare(model.reference, "ours", model, given).is_near


def test_photographs_are_cut_or_mirrored_to_a_shape(model):
    for case in check.cases(model, PHOTOGRAPHS, shape=(40, 160), batch=False):
        assert case.image.shape == (1, 3, 40, 160)
        assert 0 <= case.image.min() <= case.image.max() <= 1
    (first, *_) = check.cases(model, PHOTOGRAPHS, aligned=True, batch=False)
    np.testing.assert_array_equal(first.image, PHOTOGRAPHS[0][:, :, :64, :96])
