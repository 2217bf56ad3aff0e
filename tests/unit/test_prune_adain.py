"""AdaIN's smaller encoder and decoder: channels leave, weights are fitted, and the rest learns the full pictures."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from impasto.cli import app, shrink
from impasto.contract import Job, Placement, Style, StyleImage
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.export import prune_adain, quantize
from impasto.export._surgeon import RIDGE, patches, removals
from impasto.methods.adain import AdaIN
from impasto.methods.settings import AdaINKnobs, DistillKnobs
from impasto.models import checkpoint, codecs
from impasto.models.codecs import Codec
from impasto.train._codec import CodecLearner
from impasto.train._squares import Squares
from tiny import TinyStore, noise, write_photographs

PHOTOGRAPHS, PAINTINGS = ([noise(64, 64, seed=first + i) for i in range(3)] for first in (0, 10))


@pytest.fixture
def full(tiny_weights):
    return Codec.of_assets(tiny_weights)


def painted(codec):
    """Pictures of the pairs, by the method itself."""
    method, knobs = AdaIN({"adain:FILE": codec.tensors()}, Placement()), AdaINKnobs()
    made = []
    for photograph, painting in zip(PHOTOGRAPHS, PAINTINGS, strict=True):
        code = method.encode_style(Style((StyleImage(painting),)), knobs)
        made.append(method.stylize(photograph, [Job(code, knobs)]))
    return torch.cat(made)


def test_a_share_of_the_parameters_goes_from_both_and_what_is_left_fits(full):
    reports = []
    pruned = prune_adain.prune(full, PHOTOGRAPHS, PAINTINGS, ratio=0.4, on_progress=reports.append)
    whole, left = pruned.parameters
    assert whole == sum(one.numel() for one in full.tensors().values())
    assert 0.4 * whole < left == pruned.codec.parameters <= 0.6 * whole
    assert pruned.codec.fits
    assert pruned.codec.widths[-1] == 3
    assert all(narrow <= wide for narrow, wide in zip(pruned.codec.widths, full.widths, strict=True))
    assert [group.after for group in pruned.sensitivities] == list(pruned.codec.widths[:-1])
    assert sum(group.error > 0 for group in pruned.sensitivities) > 12
    assert reports[-1].step == reports[-1].total


def test_fitting_the_weights_brings_pictures_near_the_full_ones(full, monkeypatch):
    def error(pruned):
        return float(functional.mse_loss(painted(pruned.codec), painted(full)))

    fitted = prune_adain.prune(full, PHOTOGRAPHS, PAINTINGS, ratio=0.3)
    monkeypatch.setattr(prune_adain, "_least_squares", lambda _x, _wanted, weight, bias: (weight, bias))
    plain = prune_adain.prune(full, PHOTOGRAPHS, PAINTINGS, ratio=0.3)
    assert fitted.codec.widths == plain.codec.widths
    assert error(fitted) < 0.7 * error(plain)


def test_least_squares_find_the_convolution_that_was_there():
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 20, 24), (4, 5, 3, 3), (4,)))
    wanted = prune_adain._convolved(x, weight, bias)
    found = prune_adain._least_squares(x, wanted, torch.zeros_like(weight), torch.zeros_like(bias))
    assert (found[0] - weight).abs().max() < 0.02
    assert (found[1] - bias).abs().max() < 0.02


def test_what_is_lost_without_channels_is_what_least_squares_leave():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4 * 9 + 1, generator=generator)
    x[:, :9] = 2 * x[:, 9:18]  # the first channel tells nothing that the second does not
    square, weight = x.T @ x / len(x), torch.randn(3, 37, generator=generator)
    order, errors, half = removals(square, weight, keep=2)
    assert order[0] in (0, 1)
    assert errors[0] < 0.05 * errors[1]
    damped = square.double() + RIDGE * square.diagonal().mean() * torch.eye(37)
    gone = (order[:, None] * 9 + torch.arange(9)).flatten()
    kept = torch.tensor([at for at in range(37) if at not in gone])
    solved = torch.linalg.solve(damped[kept][:, kept], damped[kept][:, gone])
    lost = damped[gone][:, gone] - damped[gone][:, kept] @ solved
    taken = weight[:, gone].double()
    assert torch.isclose(errors[1].double(), (taken @ lost * taken).sum(), rtol=1e-4)
    assert (half[:, gone]).abs().max() < 1e-5
    assert (half[:, kept] - (weight[:, kept] + taken @ solved.T)).abs().max() < 1e-4


def test_patches_are_what_a_convolution_multiplies():
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((2, 5, 8, 9), (4, 5, 3, 3), (4,)))
    found, chosen = patches(x, 30)
    wanted = functional.conv2d(x, weight, bias).movedim(1, 3).flatten(0, 2)[chosen]
    assert len(found) == 30
    assert (found @ torch.cat([weight.flatten(1), bias[:, None]], 1).T - wanted).abs().max() < 1e-4


def test_more_than_all_cannot_go(full):
    with pytest.raises(InputError, match="so many parameters cannot go") as caught:
        prune_adain.prune(full, PHOTOGRAPHS, PAINTINGS, ratio=0.99)
    assert "--ratio" in caught.value.hint


def test_what_is_left_learns_the_pictures_of_the_full_networks(full):
    knobs = DistillKnobs(crop=64, learning_rate=1e-3)
    pruned = prune_adain.prune(full, PHOTOGRAPHS, PAINTINGS, ratio=0.5).codec
    paintings = [one[0].permute(1, 2, 0).numpy() for one in PAINTINGS]
    squares = Squares(paintings, crop=64, seed=0)
    learner = CodecLearner(pruned, full, squares, knobs, Placement())
    same = CodecLearner(full, full, squares, knobs, Placement())
    photographs = torch.cat(PHOTOGRAPHS)
    assert same.validate(photographs)["loss"] < 1e-6
    numbers = torch.arange(3)
    styles, losses = squares(numbers, numbers), []
    trained = [one for one in learner.painter.parameters() if one.requires_grad]
    assert len(trained) == len(pruned.tensors()) - 2  # all but the colours
    optimizer = torch.optim.Adam(trained, 1e-3)
    for _ in range(40):
        loss = learner.losses(photographs, styles, learner.painter)["loss"].mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_the_command_writes_networks_that_adain_paints_with(tmp_path, monkeypatch, capsys, tiny_weights):
    (tmp_path / "store").mkdir()
    store = TinyStore(tmp_path / "store", tiny_weights)
    monkeypatch.setattr(quantize, "_SIDES", (64, 64))
    monkeypatch.setattr(shrink, "_FITTED_SIDES", (64, 64))
    monkeypatch.setattr(shrink, "Store", lambda: store)
    out = tmp_path / "small.safetensors"
    folders = {name: write_photographs(tmp_path / name, 8) for name in ("photographs", "paintings")}
    words = ["prune", "adain", "--ratio", "0.4", "--content", str(folders["photographs"]), "-o", str(out), "--json"]
    words += ["--paintings", str(folders["paintings"]), "--crop", "64", "--batch", "2", "--device", "cpu"]
    assert app.run([*words, "--steps", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] <= 0.6 * told["full_parameters"]
    assert codecs.read(out).parameters == told["parameters"]
    assert app.run([*words, "--steps", "2"]) == 2  # a training is there
    words[1], words[7] = str(out), str(tmp_path / "smaller.safetensors")
    assert app.run([*words, "--steps", "1"]) == 0
    assert codecs.read(tmp_path / "smaller.safetensors").parameters <= 0.6 * told["parameters"]
    photo, painting = noise(40, 56)[0].permute(1, 2, 0).numpy(), folders["paintings"] / "00.png"
    request = Request("adain", knobs={"network": str(out)})
    pictures = [
        Engine(store=store, device="cpu", precision="float32", runtime=runtime).stylize(photo, painting, request)
        for runtime in ("torch", "onnx", "openvino")
    ]
    for one in pictures[1:]:
        assert np.abs(one.picture.pixels - pictures[0].picture.pixels).max() < 1e-4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune", "adain", "--content", "EMPTY", "--paintings", "nowhere"], "there is no folder nowhere"),
        (["prune", "adain"], "no photographs were given"),
        (["prune", "adain", "--content", "EMPTY"], "holds 0 photographs"),
        (["prune", "microast", "--content", "EMPTY"], "microast is not a trained network"),
        (["quantize", "adain", "--content", "EMPTY"], "adain is not a trained network"),
        (["prune", "pack", "--content", "EMPTY", "--paintings", "museum"], "--paintings is for adain"),
        (
            ["stylize", "PHOTO", "-s", "PHOTO", "--method", "adain", "--network", "no.safetensors"],
            "there is no network",
        ),
        (["stylize", "PHOTO", "-s", "PHOTO", "--method", "adain", "--network", "OTHER"], "holds no networks of AdaIN"),
        (
            ["stylize", "PHOTO", "-s", "PHOTO", "--method", "adain", "--network", "TORN"],
            "tensor of AdaIN: decoder.conv2_1.bias",
        ),
        (["stylize", "PHOTO", "--style", "CODEC", "-o", "out.png"], "has no style of its own"),
        (["export", "CODEC", "--to", "litert", "-o", "out.tflite"], "cannot be exported to litert"),
        (["prune", "CODEC", "--content", "EMPTY"], "holds 0 photographs"),
        (["prune", "CODEC", "--content", "EMPTY", "-o", "CODEC"], "is an input"),
        (["quantize", "CODEC", "--content", "EMPTY"], "has no style of its own"),
    ],
)
def test_what_cannot_be_done_is_said_in_two_lines(tmp_path, capsys, picture_file, full, words, said):
    (tmp_path / "empty").mkdir()
    paths = {name: tmp_path / f"{name.lower()}.safetensors" for name in ("CODEC", "OTHER", "TORN")}
    checkpoint.write(paths["CODEC"], full.tensors(), {"kind": "adain"})
    checkpoint.write(paths["OTHER"], full.tensors(), {})
    torn = {name: one for name, one in full.tensors().items() if name != "decoder.conv2_1.bias"}
    checkpoint.write(paths["TORN"], torn, {"kind": "adain"})
    photo = picture_file()
    words = ["stylize", "PHOTO", "--style", "PHOTO", *words[1:]] if words[0] == "PAINT" else words
    named = {**paths, "EMPTY": tmp_path / "empty", "PHOTO": photo}
    assert app.run([str(named.get(word, word)) for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 2
