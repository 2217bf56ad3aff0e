"""Generators of CycleGAN and CUT against slow references, and their files; nothing of a file is executed."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impasto.cli import app
from impasto.contract import Placement
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.export import formats
from impasto.export.model import Exportable
from impasto.models import catalog, generators
from impasto.models.generators import Generator
from impasto.video.film import paint_video
from impasto.video.frames import FramePainter
from impasto.videos import VideoWriter, probe_video
from tiny import noise

WIDTH = 8


class Block(nn.Module):
    def __init__(self, channels, affine):
        super().__init__()
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels, affine=affine)),
            *(nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3)),
            nn.InstanceNorm2d(channels, affine=affine),
        )

    def forward(self, x):
        return x + self.conv_block(x)


class Blurred(nn.Module):
    """Halves or doubles with a blur, pixel by pixel."""

    def __init__(self, channels, doubles):
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0] if doubles else [1.0, 2.0, 1.0])
        square = line[:, None] * line[None] / line.sum() ** 2
        self.doubles = doubles
        self.register_buffer("filt", (4 if doubles else 1) * square.expand(channels, 1, -1, -1))

    def forward(self, x):
        height, width = x.shape[2:]
        kernel = self.filt[0, 0]
        if not self.doubles:
            wide = F.pad(x, (1, 1, 1, 1), mode="reflect")
            rows = [
                (wide[:, :, i : i + 3, j : j + 3] * kernel).sum((2, 3))
                for i in range(0, height, 2)
                for j in range(0, width, 2)
            ]
            return torch.stack(rows, 2).view(*x.shape[:2], -(-height // 2), -(-width // 2))
        wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
        sparse = torch.zeros(*x.shape[:2], 2 * height + 4, 2 * width + 4)
        sparse[:, :, ::2, ::2] = wide
        sparse = F.pad(sparse, (1, 1, 1, 1))
        rows = [
            (sparse[:, :, i + 1 : i + 5, j + 1 : j + 5] * kernel).sum((2, 3))
            for i in range(2 * height)
            for j in range(2 * width)
        ]
        return torch.stack(rows, 2).view(*x.shape[:2], 2 * height, 2 * width)


def reference(*, blocks=2, affine=False, blurred=False):
    """A generator in modules, whose state_dict has the names of the published ones."""

    def norm(channels):
        return [nn.InstanceNorm2d(channels, affine=affine), nn.ReLU()]

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, WIDTH, 7), *norm(WIDTH)]
    for channels in (WIDTH, 2 * WIDTH):
        stride = 1 if blurred else 2
        layers += [nn.Conv2d(channels, 2 * channels, 3, stride, 1), *norm(2 * channels)]
        layers += [Blurred(2 * channels, doubles=False)] if blurred else []
    layers += [Block(4 * WIDTH, affine) for _ in range(blocks)]
    for channels in (4 * WIDTH, 2 * WIDTH):
        if blurred:
            layers += [Blurred(channels, doubles=True), nn.Conv2d(channels, channels // 2, 3, 1, 1)]
        else:
            layers += [nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, 1)]
        layers += norm(channels // 2)
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, 3, 7), nn.Tanh()]
    torch.manual_seed(5)
    network = nn.Module()
    network.model = nn.Sequential(*layers)
    for name, values in network.named_parameters():
        if values.dim() == 1:
            nn.init.normal_(values, mean=1.0 if name.endswith("weight") else 0.0, std=0.2)
        else:
            nn.init.normal_(values, std=1 / math.sqrt(values[0].numel()))
    return network.requires_grad_(False)


@pytest.mark.parametrize(
    "shape", [{}, {"affine": True, "blocks": 3}, {"blurred": True}, {"blurred": True, "affine": True}]
)
def test_a_generator_is_that_of_the_paper(shape):
    network, photograph = reference(**shape), noise(24, 32, seed=2)
    ours = Generator(network.state_dict(), Placement())(photograph)
    assert torch.allclose(ours, (network.model(2 * photograph - 1) + 1) / 2, atol=1e-5)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "latest_net_G_A.pth"
    torch.save(reference().state_dict(), path)
    return path


def test_a_checkpoint_is_a_style(engine, checkpoint):
    photograph = np.ascontiguousarray(noise(30, 41)[0].permute(1, 2, 0).numpy())
    result = engine.stylize(photograph, checkpoint, Request())
    assert result.record["method"] == "unpaired"
    assert result.picture.pixels.shape == photograph.shape
    assert np.abs(result.picture.pixels - photograph).mean() > 0.05
    assert np.array_equal(
        engine.stylize(photograph, str(checkpoint), Request(knobs={"strength": 0})).picture.pixels, photograph
    )
    left = np.zeros((30, 41), np.float32)
    left[:, :20] = 1
    half = engine.stylize(photograph, [], Request(controls=Controls(regions=((left, checkpoint),)))).picture.pixels
    assert np.array_equal(half[:, 20:], photograph[:, 20:])
    assert np.abs(half[:, :20] - result.picture.pixels[:, :20]).max() < 1e-5


def test_files_of_several_processes_and_of_safetensors_are_read(tmp_path, checkpoint):
    from safetensors.torch import save_file

    tensors = generators.read(checkpoint)
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "two.pt")
    save_file(tensors, tmp_path / "three.safetensors")
    for name in ("two.pt", "three.safetensors"):
        again = generators.read(tmp_path / name)
        assert all(torch.equal(again[key], tensors[key]) for key in tensors)
        assert catalog.find(tmp_path / name).method == "unpaired"


class Trap:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_of_a_file_is_executed(tmp_path):
    sprung = tmp_path / "sprung"
    path = tmp_path / "trap.pth"
    for write in (
        lambda: torch.save({"model.1.weight": Trap(sprung)}, path),
        lambda: path.write_bytes(pickle.dumps(Trap(sprung))),
    ):
        write()
        with pytest.raises(InputError, match="cannot be read as a checkpoint of tensors alone"):
            generators.read(path)
        assert not sprung.exists()


def changed(**tensors):
    return {**reference().state_dict(), **tensors}


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (reference(), "tensors alone"),
        ([1, 2], "more than the tensors of one network"),
        ({"features.weight": torch.zeros(2)}, "no generator of unpaired translation"),
        (changed(**{"model.1.weight": torch.full((WIDTH, 3, 7, 7), math.nan)}), "not finite"),
        (changed(**{"model.1.weight": torch.zeros(WIDTH, 1, 7, 7)}), "3 channels"),
        (changed(**{"model.4.weight": torch.zeros(9, WIDTH, 3, 3)}), "do not fit together"),
        (changed(**{"model.40.weight": torch.zeros(1, 1, 3, 3)}), "7 convolutions outside its blocks"),
        (
            changed(**{"model.2.weight": torch.ones(WIDTH), "model.2.running_mean": torch.ones(WIDTH)}),
            "batch normalisation",
        ),
    ],
)
def test_what_is_no_generator_is_refused(engine, tmp_path, stored, said):
    path = tmp_path / "other.pth"
    torch.save(stored, path)
    with pytest.raises(InputError, match=said):
        engine.stylize(np.zeros((32, 32, 3), np.float32), path, Request())


def test_a_missing_or_mixed_generator_is_refused(engine, tmp_path, checkpoint):
    photograph = np.zeros((32, 32, 3), np.float32)
    for styles, request, said in (
        (tmp_path / "no.pth", Request(), "there is no network"),
        ([checkpoint, photograph], Request(), "do not mix with pictures"),
        (checkpoint, Request(method="feedforward"), "painted by method unpaired"),
        ("pack:irises", Request(method="unpaired"), "painted by method feedforward"),
        (photograph, Request(method="unpaired"), "paints the styles of a trained network"),
    ):
        with pytest.raises(InputError, match=said):
            engine.stylize(photograph, styles, request)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    wide = noise(64, 160)[0].permute(1, 2, 0).numpy()
    with VideoWriter(path, rate=25) as writer:
        for index in range(6):
            writer.write(np.ascontiguousarray(wide[:, 2 * index : 2 * index + 96]))
    return path


def test_a_film_is_painted_and_steadied(checkpoint, clip, tmp_path):
    result = paint_video(Engine(precision="float32"), clip, str(checkpoint), tmp_path / "out.mp4")
    assert result.frames == 6
    assert probe_video(tmp_path / "out.mp4").count == 6


def test_a_live_frame_is_painted_in_8_bits_as_in_floats(checkpoint):
    frame = (255 * noise(48, 65)[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    pixels = frame.astype(np.float32) / np.float32(255)
    painter = FramePainter.of(Engine(precision="float32"), [str(checkpoint)], None, pixels)
    assert painter.takes_codes
    for wish in ({}, {"strength": 0.4}, {"strength": 0.0}):
        wanted = 255 * painter.paint(pixels, **wish)
        assert np.abs(painter.paint_codes(frame, **wish) - wanted).max() < 1.01


@pytest.mark.process  # openvino starts one when it is imported
@pytest.mark.parametrize("shape", [{}, {"affine": True}, {"blurred": True}])
@pytest.mark.parametrize("format_name", ["onnx", "openvino"])
def test_an_export_paints_the_same(shape, format_name, tmp_path):
    row = formats.find(format_name)
    for module in row.modules:
        pytest.importorskip(module)
    torch.save(reference(**shape).state_dict(), tmp_path / "net.pth")
    model = Exportable.of_generator(tmp_path / "net.pth")
    photographs = [noise(70, 101).numpy(), noise(64, 96, seed=1).numpy()]
    exported = formats.export(model, row, tmp_path / f"net{row.suffix}", photographs)  # refuses what is far
    assert exported.styles == ("net",)
    if format_name == "onnx":
        photograph = np.ascontiguousarray(photographs[0][0].transpose(1, 2, 0))
        ours, theirs = (
            Engine(precision="float32").stylize(photograph, tmp_path / name, Request())
            for name in ("net.pth", "net.onnx")
        )
        assert theirs.record["method"] == "feedforward"
        assert np.abs(ours.picture.pixels - theirs.picture.pixels).max() < 1e-3


def test_an_export_to_a_format_without_graphs_is_refused(checkpoint, capfd):
    assert app.run(["export", str(checkpoint), "--to", "torchscript"]) == 2
    assert "cannot be exported to torchscript" in capfd.readouterr().err
