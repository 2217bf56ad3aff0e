"""Styles of a trained network, through the engine and the command line."""

import json

import pytest

from impasto.cli import app
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import InputError, ResourceError
from impasto.models import catalog, networks
from impasto.video.frames import FramePainter
from tiny import TinyStore, noise, tiny_network


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network()).save(path)
    return path


def test_a_trained_style_needs_no_method_and_no_weights_but_its_own(tmp_path, network):
    engine = Engine(store=TinyStore(tmp_path, {}), precision="float32")
    result = engine.stylize(noise(40, 56), f"{network}:s3")
    assert result.record["method"] == "feedforward"
    assert result.record["styles"][0]["label"] == "s3"
    assert result.picture.pixels.shape == (40, 56, 3)
    other = engine.stylize(noise(40, 56), f"{network}:s4")
    assert abs(result.picture.pixels - other.picture.pixels).max() > 0.01


def test_memory_is_that_of_the_network(engine, network):
    needed = networks.read(network).network().memory() * 40 * 56
    engine.stylize(noise(40, 56), f"{network}:s3", Request(max_memory=int(needed) + 1))
    with pytest.raises(ResourceError):
        engine.stylize(noise(40, 56), f"{network}:s3", Request(max_memory=int(needed * 0.9)))


def test_trained_styles_mix_by_weight(engine, network):
    def paint(*styles):
        return engine.stylize(noise(40, 56), list(styles)).picture.pixels

    one, two = f"{network}:s3", f"{network}:s4"
    ends = abs(paint(one) - paint(two)).mean()
    assert 0 < abs(paint((one, 3.0), (two, 1.0)) - paint(one)).mean() < ends


def test_a_network_that_was_written_again_is_loaded_again(engine, network):
    before = engine.stylize(noise(40, 56), f"{network}:s3").picture.pixels
    tensors = tiny_network()
    networks.Trained({**tensors, "style.s3": tensors["style.s4"]}).save(network)
    after = engine.stylize(noise(40, 56), f"{network}:s3").picture.pixels
    assert abs(before - after).max() > 0.01


@pytest.mark.parametrize(
    ("styles", "request_", "message"),
    [
        (["NET:s3", noise(40, 40)], Request(), "do not mix with pictures"),
        (["NET:s3"], Request(method="adain"), "is a trained style"),
        (["NET"], Request(), "holds 97 styles"),
        (["NET:nobody"], Request(), "no style 'nobody'"),
        ([noise(40, 40)], Request(method="feedforward"), "styles of a trained network"),
        (["NET:s3"], Request(knobs={"steps": 3}), "steps"),
        (["pack:nobody"], Request(), "no style 'nobody'|no pack"),
    ],
)
def test_what_a_trained_style_cannot_do_is_said(engine, network, styles, request_, message):
    named = [style.replace("NET", str(network)) if isinstance(style, str) else style for style in styles]
    with pytest.raises(InputError, match=message):
        engine.stylize(noise(40, 56), named, request_)


def test_the_pack_is_found_by_name_and_listed(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalog, "PACK", network)
    assert catalog.find("pack:s3").path == network
    assert [style.id for style in catalog.pack()][:2] == ["pack:s0", "pack:s1"]
    result = Engine(store=TinyStore(tmp_path, {}), precision="float32").stylize(noise(40, 56), "pack:s3")
    assert result.record["styles"][0]["id"] == "pack:s3"


def test_without_a_pack_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "PACK", tmp_path / "none.safetensors")
    assert catalog.pack() == ()
    with pytest.raises(InputError, match="no pack of styles is installed"):
        catalog.find("pack:irises")


def test_the_command_line_paints_and_makes_again(network, picture_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "empty"))
    photo, out = picture_file(), tmp_path / "out.png"
    assert app.run(["stylize", str(photo), "--style", f"{network}:s3", "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "feedforward"
    assert told["style"] == [f"{network.name}:s3"]
    assert app.run(["redo", str(out), "-o", str(tmp_path / "again.png")]) == 0
    assert app.run(["stylize", str(photo), "--style", str(network)]) == 2
    assert "name one" in capsys.readouterr().err


def test_frames_are_painted_in_a_trained_style(engine, network):
    frame = noise(40, 56)[0].permute(1, 2, 0).contiguous().numpy()
    painter = FramePainter.of(engine, f"{network}:s3", None, frame)
    assert painter.run.stages[-1].method.name == "feedforward"
    assert painter.is_quick
