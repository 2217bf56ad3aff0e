"""Training with the real encoder, photographs and a painting: a few steps already take the painting's colours on."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

from impasto import images
from impasto.assets import load_weights
from impasto.cli import app
from impasto.contract import Placement
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.metrics import Judge
from impasto.models import networks, predictors
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.train import _run

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", autouse=True)
def few_validations():
    """Each takes as long as some steps do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_VALIDATIONS", 2)
        yield


@pytest.fixture(scope="module")
def network(tmp_path_factory, store):
    """Trained for seconds on paintings in place of photographs: they lie at hand, and are as good for so few steps."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "content").mkdir()
    for path in sorted(store.path("museum").glob("*.jpg"))[:12]:
        picture = images.read(path)
        width, height = images.fit(picture.width, picture.height, 256)
        images.write(picture.resized(height, width), folder / "content" / f"{path.stem}.png")
    words = ["train", "--style", "cypresses=museum:436535", "--content", str(folder / "content"), "--json"]
    words += ["--steps", "64", "--crop", "96", "--canvas", "256", "--batch", "2", "--learning-rate", "0.01"]
    assert app.run([*words, "-o", str(folder / "net.safetensors")]) == 0
    return folder / "net.safetensors"


def validations(network):
    """Losses on what was held out, by validation."""
    lines = (network.with_suffix(".training") / "validation.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), map(float, line.split(",")), strict=True)) for line in lines[1:]]


def taught(content, path, *, steps, more=()):
    """The validations of a network for any painting, trained for seconds."""
    words = ["train", "arbitrary", "--paintings", str(content), "--content", str(content), *more, "-o", str(path)]
    words += ["--steps", str(steps), "--crop", "64", "--canvas", "128", "--batch", "2", "--learning-rate", "0.004"]
    assert app.run(words) == 0
    return validations(path)


@pytest.fixture(scope="module")
def photograph(photos):
    return np.ascontiguousarray(images.resize(images.read(photos / "coffee.png").pixels, 170, 256))


@pytest.fixture(scope="module")
def distance(photograph, painting, store):
    """The style distance of a picture of the photograph to the painting, each measured once."""
    judge, style, found = Judge(store=store), images.read(painting).pixels, {}

    def of(pixels):
        key = pixels.tobytes()
        if key not in found:
            found[key] = judge.scores(photograph, style, pixels).style_distance
        return found[key]

    return of


def test_a_network_for_any_painting_paints_in_one_that_it_never_saw(
    network, photograph, painting, distance, store, tmp_path
):
    content, path = network.parent / "content", tmp_path / "any.safetensors"
    rows = taught(content, path, steps=12)
    assert rows[-1]["style"] < 0.6 * rows[0]["style"]
    assert len(predictors.read(path)[1]["unseen"]) == 2
    request = Request(method="arbitrary", knobs={"network": str(path)})
    result = Engine(store=store).stylize(photograph, painting, request)
    assert distance(result.picture.pixels) < 0.7 * distance(photograph)
    ahead = taught(content, tmp_path / "ahead.safetensors", steps=1, more=["--from", str(network)])
    assert ahead[0]["style"] < 0.6 * rows[0]["style"]  # it took over convolutions that can paint already
    further = taught(content, tmp_path / "further.safetensors", steps=1, more=["--from", str(path)])
    assert further[0]["style"] < 1.1 * rows[-1]["style"]  # and here the predictor, too


def test_it_learns_from_the_real_teacher(network):
    rows = validations(network)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    about = networks.read(network).about
    assert about["paintings"] == {"cypresses": "museum:436535"}
    assert "CC0" in about["licences"]["cypresses"]


def test_a_photograph_that_it_never_saw_moves_towards_the_painting(network, photograph, distance, store):
    result = Engine(store=store).stylize(photograph, str(network))
    assert distance(result.picture.pixels) < 0.7 * distance(photograph)


@pytest.mark.process
def test_it_is_painted_without_torch_and_exported(network, photos, tmp_path, capsys):
    out = tmp_path / "out.png"
    words = ["stylize", str(photos / "coffee.png"), "--style", str(network), "--size", "300", "-o", str(out)]
    words += ["--precision", "float32"]
    program = "import sys; from impasto.cli import app; code = app.run(sys.argv[1:]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"{program}; sys.exit(code)", *words], check=True, timeout=600)
    whole = Engine(precision="float32").stylize(photos / "coffee.png", str(network), Request(size=300))
    assert np.abs(images.read(out).pixels - whole.picture.pixels).max() < 2 / 255
    assert app.run(["export", str(network), "-o", str(tmp_path / "net.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["maximum"] < 1e-4


def test_the_command_line_takes_the_file_as_a_style(network, photos, tmp_path, capsys):
    out = tmp_path / "out.png"
    words = ["stylize", str(photos / "coffee.png"), "--style", str(network), "--size", "128", "-o", str(out), "--json"]
    assert app.run(words) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "feedforward"
    assert images.probe(out).width == 128


def test_a_decoder_rebuilds_a_photograph_that_it_never_saw(network, photos, store):
    path, layer = network.parent / "decoder.safetensors", "relu2_1"
    words = ["train", "decoder", "--layer", layer, "--content", str(network.parent / "content"), "-o", str(path)]
    assert (
        app.run(
            [*words, "--steps", "40", "--crop", "64", "--canvas", "128", "--batch", "2", "--learning-rate", "0.003"]
        )
        == 0
    )
    photograph = images.to_tensor(images.resize(images.read(photos / "coffee.png").pixels, 96, 128))
    encoder = Encoder(VGG19, load_weights(store.path("vgg19-normalised")), Placement())
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    rebuilt = Decoder(weights, Placement(), layer)(encoder(photograph, [layer])[layer])
    assert (rebuilt - photograph).abs().mean() < 0.8 * (photograph.mean((2, 3), keepdim=True) - photograph).abs().mean()


def test_a_search_by_the_command_line_and_a_network_trained_by_what_it_found(network, tmp_path, capsys):
    content = network.parent / "content"
    words = [
        "train",
        "search",
        "--style",
        "cypresses=museum:436535",
        "--content",
        str(content),
        "--trials",
        "1",
        "--json",
    ]
    words += [
        "--steps",
        "4",
        "--crop",
        "64",
        "--canvas",
        "128",
        "--batch",
        "1",
        "--runtime",
        "openvino",
        "--frame",
        "128x96",
    ]
    assert app.run([*words, "-o", str(tmp_path / "search")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tried"] == 1
    assert found["timed_on"].startswith("OpenVINO")
    assert (tmp_path / "search" / "front.png").stat().st_size > 1000
    (described,) = (path for path in (tmp_path / "search" / "trials").glob("*.json") if path.stem != "reference")
    words = ["train", "--style", "cypresses=museum:436535", "--content", str(content), "--network", str(described)]
    words += [
        "--steps",
        "2",
        "--crop",
        "64",
        "--canvas",
        "128",
        "--batch",
        "1",
        "-o",
        str(tmp_path / "own.safetensors"),
    ]
    assert app.run(words) == 0
    capsys.readouterr()
    assert networks.read(tmp_path / "own.safetensors").architecture.head == 0  # the first guess
    assert (
        app.run(["train", "search", "--style", "436535", "--content", str(content), "-o", str(tmp_path / "search")])
        == 2
    )
    assert "holds a search" in capsys.readouterr().err
