"""Networks for any painting: their files, and the method that paints with them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from impasto.cli import app
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.models import catalog, networks, predictors
from tiny import noise, tiny_arbitrary, tiny_network


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "any.safetensors"
    networks.Trained(tiny_arbitrary(), {"kind": predictors.KIND}).save(path)
    return path


def test_a_file_gives_back_both_parts(network):
    tensors, about = predictors.read(network)
    assert about["kind"] == predictors.KIND
    shared, predictor = predictors.unpack(tensors)
    whole, first = predictors.unpack(tiny_arbitrary())
    found, content = torch.rand(1, 60, generator=torch.Generator().manual_seed(5)), noise(64, 64)
    torch.testing.assert_close(predictor(found), first(found), atol=3e-2, rtol=1e-2)
    code = first(found)
    torch.testing.assert_close(shared(content, code), whole(content, code), atol=5e-3, rtol=0)


def test_codes_differ_by_painting_and_begin_near_the_base():
    base = networks.Network(networks.ARCHITECTURES["tiny"]).neutral_code()
    known = torch.rand(6, 60, generator=torch.Generator().manual_seed(1))
    codes = predictors.Predictor(base, known, torch.Generator().manual_seed(0))(known)
    assert (codes[0] - codes[1]).abs().max() > 1e-3
    assert (codes - base).abs().mean() < 0.5


def test_statistics_are_roots_of_means_and_deviations_of_what_is_seen():
    features = {layer: torch.rand(2, 3, 8, 10) for layer in predictors.LAYERS}
    seen = torch.zeros(1, 1, 16, 20)
    seen[..., :8, :] = 1
    found = predictors.statistics(features, seen).view(2, 4, 2, 3)
    for level, layer in enumerate(predictors.LAYERS):
        upper = features[layer][:, :, :4].double()
        torch.testing.assert_close(found[:, level, 0].double() ** 2, upper.mean((2, 3)), atol=1e-4, rtol=0)
        torch.testing.assert_close(found[:, level, 1].double() ** 2, upper.std((2, 3), correction=0), atol=1e-4, rtol=0)


def test_any_painting_is_painted_with(engine, network):
    def paint(style):
        request = Request(method="arbitrary", knobs={"network": str(network)})
        return engine.stylize(noise(40, 56), style, request)

    one, two = paint(noise(60, 40, seed=3)), paint(noise(60, 40, seed=4))
    assert one.record["method"] == "arbitrary"
    assert one.picture.pixels.shape == (40, 56, 3)
    assert abs(one.picture.pixels - two.picture.pixels).max() > 1e-3


def test_the_network_that_ships_is_taken_where_none_is_named(engine, network, monkeypatch):
    monkeypatch.setattr(catalog, "ARBITRARY", network.with_name("none.safetensors"))
    with pytest.raises(InputError, match="no network for any painting is installed"):
        engine.stylize(noise(40, 56), noise(40, 40), Request(method="arbitrary"))
    monkeypatch.setattr(catalog, "ARBITRARY", network)
    engine.stylize(noise(40, 56), noise(40, 40), Request(method="arbitrary"))


def test_what_is_another_kind_of_file_is_refused(tmp_path, network):
    for name, tensors in (("known", tiny_network()), ("other", {"some.weight": torch.zeros(3)})):
        path = tmp_path / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        with pytest.raises(InputError, match=f"{name}.safetensors"):
            predictors.read(path)
    with pytest.raises(InputError, match="takes any painting"):
        catalog.find(str(network))
    broken = {
        **tiny_arbitrary(),
        "predictor.code.bias": torch.full_like(tiny_arbitrary()["predictor.code.bias"], torch.nan),
    }
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match="not finite"):
        predictors.read(tmp_path / "broken.safetensors")


def test_the_command_line_paints_with_it(network, picture_file, tmp_path, capsys):
    photo, painting, out = picture_file(), picture_file("painting.png", seed=5), tmp_path / "out.png"
    words = ["stylize", str(photo), "--style", str(painting), "--method", "arbitrary", "-o", str(out), "--json"]
    assert app.run([*words, "--network", str(network)]) == 2
    assert "takes 60 statistics, not 1920" in capsys.readouterr().err
    networks.Trained(tiny_arbitrary(predictors.STATISTICS), {"kind": predictors.KIND}).save(network)
    assert app.run([*words, "--network", str(network)]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "arbitrary"
    assert app.run([*words, "--network", "nowhere.safetensors"]) == 2
    assert "there is no network" in capsys.readouterr().err
    assert app.run(["redo", str(out), "-o", str(tmp_path / "again.png")]) == 0
