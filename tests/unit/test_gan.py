"""Painting with a StyleGAN: seeds, mixtures, walks, projections; and the augmentation of its training."""

import numpy as np
import pytest
import torch

import stylegan_files as made
from impasto import images
from impasto.contract import Placement
from impasto.errors import Cancelled, InputError
from impasto.gan.painter import Painter, layers_named, mixed
from impasto.gan.projection import _LatentCanvas, likeness, project, squared
from impasto.gan.walk import loop
from impasto.models.stylegan_files import StyleGan


@pytest.fixture(scope="module")
def painter():
    return Painter(StyleGan(made.SPEC, made.networks()[0].state_dict()), Placement())


def test_seeds_draw_what_nvidias_tools_draw(painter):
    z = torch.from_numpy(np.random.RandomState(7).randn(1, 12)).float()
    w = painter.generator.mapping(z)
    average = painter.generator.mapping.w_avg
    found = painter.latents([7], truncation=0.5)
    assert found.shape == (1, 6, 12)
    torch.testing.assert_close(found[0], (average + 0.5 * (w - average)).expand(6, -1))


def test_each_picture_of_a_batch_is_its_own(painter):
    latents = painter.latents(range(20))
    together = list(painter.paint(latents))
    assert len(together) == 20
    assert together[0].shape == (16, 16, 3)
    assert together[0].dtype == np.float32
    [alone] = painter.paint(latents[11:12])
    np.testing.assert_allclose(alone, together[11], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_bfloat16_paints_nearly_the_same(painter):
    other = Painter(StyleGan(made.SPEC, made.networks()[0].state_dict()), Placement("cpu", "bfloat16"))
    latents = painter.latents([1, 2])
    for first, second in zip(painter.paint(latents), other.paint(latents), strict=True):
        assert np.abs(first - second).mean() < 0.02


def test_painting_stops_when_asked(painter):
    def stop(progress):
        if progress.step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(painter.paint(painter.latents(range(3)), on_progress=stop))


@pytest.mark.parametrize("truncation", [-0.1, 2.1, float("nan"), float("inf")])
def test_truncation_out_of_range(painter, truncation):
    with pytest.raises(InputError, match="truncation is"):
        painter.latents([1], truncation=truncation)


def test_latents_come_back_and_others_are_refused(painter, tmp_path):
    latents = painter.latents([3])
    painter.save_latents(tmp_path / "w.safetensors", latents)
    assert torch.equal(painter.named([str(tmp_path / "w.safetensors")]), latents)
    wide = made.StyleGanSpec(8, (8, 8), latent=12, depth=1)
    other = Painter(StyleGan(wide, made.networks(wide)[0].state_dict()), Placement())
    with pytest.raises(InputError, match="holds 6 latents of 12; the network takes 4 of 12"):
        other.read_latents(tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-9])
    StyleGan(made.SPEC, made.networks()[0].state_dict()).save(tmp_path / "network.safetensors")
    for name, told in (
        ("cut", "cannot be read"),
        ("network", "holds no latents"),
        ("none", "neither a seed nor a file"),
    ):
        with pytest.raises(InputError, match=told):
            painter.named([str(tmp_path / f"{name}.safetensors")])
    with pytest.raises(InputError, match="the seed is 99999999999"):
        painter.named(["99999999999"])


@pytest.mark.parametrize(
    ("text", "layers", "wanted"),
    [
        ("coarse", 14, (0, 4)),
        ("middle", 14, (4, 8)),
        ("fine", 14, (8, 14)),
        ("coarse", 3, (0, 3)),
        ("2-5", 14, (2, 6)),
        ("3", 14, (3, 4)),
    ],
)
def test_layers_by_words(text, layers, wanted):
    found = layers_named(text, layers)
    assert (found.start, found.stop) == wanted


@pytest.mark.parametrize("text", ["fine", "5-2", "0-6", "x", "1-2-3", "-1", ""])
def test_layers_that_are_not_there(text):
    with pytest.raises(InputError, match="layers"):
        layers_named(text, 6)


def test_mixtures_have_the_layers_of_both(painter):
    rows, columns = painter.latents([1, 2]), painter.latents([3, 4, 5])
    grid = mixed(rows, columns, slice(2, 4))
    assert grid.shape == (6, 6, 12)
    assert torch.equal(grid[4, :2], rows[1, :2])  # row 1, column 1
    assert torch.equal(grid[4, 2:4], columns[1, 2:4])
    assert torch.equal(grid[4, 4:], rows[1, 4:])


def test_fine_layers_leave_the_coarse_picture(painter):
    """What is taken from the last layers changes only what the last layers draw."""
    rows, columns = painter.latents([1]), painter.latents([2])
    [own], [fine], [all_of_it] = (
        painter.paint(one) for one in (rows, mixed(rows, columns, slice(5, 6)), mixed(rows, columns, slice(0, 6)))
    )
    [other] = painter.paint(columns)
    np.testing.assert_allclose(all_of_it, other, atol=1e-5)
    assert 0 < np.abs(fine - own).mean() < np.abs(other - own).mean()


def test_a_walk_passes_its_pictures_and_closes(painter):
    keys = painter.latents([1, 2, 3])
    frames = loop(keys, 60)
    torch.testing.assert_close(frames[::20], keys)
    steps = (torch.cat([frames, frames[:1]]).diff(dim=0)).flatten(1).norm(dim=1)
    assert steps[-1] == pytest.approx(float((steps[0] + steps[-2]) / 2), rel=0.1)  # no jump where it repeats
    turns = steps[1:] / steps[:-1]
    assert 0.7 < turns.min() < turns.max() < 1.4
    for wrong, frames in ((keys[:1], 60), (keys, 2), (keys, 10**6)):
        with pytest.raises(InputError):
            loop(wrong, frames)


def test_a_picture_of_the_network_is_found_again(tiny_weights):
    generator = made.networks()[0]
    with torch.no_grad():
        for block in generator.synthesis.blocks:
            block.torgb.weight.mul_(0.2)  # so that pictures lie in [0, 1], as those of trained networks do
    painter = Painter(StyleGan(made.SPEC, generator.state_dict()), Placement())
    [picture] = painter.paint(painter.latents([5], truncation=1.0))
    weights = tiny_weights["vgg19-normalised"]
    found = project(painter, images.read(picture), weights=weights, steps=60)
    [average] = painter.paint(painter.generator.spread(painter.generator.mapping.w_avg[None]))
    assert np.abs(found.picture - picture).mean() < 0.5 * np.abs(average - picture).mean()
    assert found.losses[-1]["total"] < 0.3 * found.losses[0]["total"]
    [again] = painter.paint(found.latents)  # with the network's own noise
    assert np.abs(again - picture).mean() < 0.8 * np.abs(average - picture).mean()


def test_noise_stays_noise_while_a_picture_is_found(painter):
    canvas = _LatentCanvas(painter)
    noise = canvas.parameters()[-1]
    with torch.no_grad():
        noise.copy_(torch.linspace(0, 3, 16).expand(16, 16))
    canvas.project()
    assert abs(noise.mean()) < 1e-6
    assert noise.square().mean().item() == pytest.approx(1, abs=1e-5)
    canvas.render().sum().backward()
    before, gradient = likeness([noise.detach()]), noise.grad.clone()
    canvas2 = likeness([noise.detach() - 1e-3 * gradient])
    assert canvas2 < before  # the penalty is descended, too
    assert likeness([torch.randn(64, 64, generator=made.seeded())]) < 0.05 * before


def test_the_middle_square_is_found(painter):
    pixels = np.zeros((20, 40, 3), np.float32)
    pixels[:, 10:30] = 1
    assert squared(images.read(pixels), 16).min() > 0.99
