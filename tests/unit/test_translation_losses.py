"""Losses and networks of unpaired training against slow references."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from impasto.contract import Placement
from impasto.losses.adversarial import least_squares, patch_nce
from impasto.models.generators import Generator, untrained
from impasto.train._collapse import advice, diversity, sliced_distance
from impasto.train._patchgan import ImagePool, PatchGAN, PatchVectors, drawn_places, receptive_field
from tiny import noise
from unit.test_generators import reference


def vectors(seed, *shape):
    found = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return found / found.norm(dim=-1, keepdim=True)


def test_patch_nce_is_the_papers_sum():
    queries, keys = vectors(0, 2, 5, 4), vectors(1, 2, 5, 4)
    for item in range(2):
        total = 0.0
        for query, own in zip(queries[item], range(5), strict=True):
            similar = [math.exp(float(query @ key) / 0.07) for key in keys[item]]
            total -= math.log(similar[own] / sum(similar)) / 5
        assert float(patch_nce(queries, keys)[item]) == pytest.approx(total, rel=1e-4)


def test_patch_nce_is_nothing_where_all_are_found_and_log_n_where_all_are_alike():
    apart = torch.eye(6)[None]
    assert float(patch_nce(apart, apart)) < 1e-4
    assert float(patch_nce(apart, torch.ones(1, 6, 6) / 6**0.5)) == pytest.approx(math.log(6), rel=1e-5)


def test_patch_nce_moves_the_queries_alone():
    queries, keys = vectors(0, 1, 3, 4).requires_grad_(), vectors(1, 1, 3, 4).requires_grad_()
    patch_nce(queries, keys).sum().backward()
    assert queries.grad.abs().sum() > 0
    assert keys.grad is None


def test_least_squares_is_the_mean_square_from_its_target():
    scores = torch.tensor([[[0.0, 1.0]], [[3.0, 1.0]]])
    assert least_squares(scores, real=True).tolist() == [0.5, 2.0]
    assert least_squares(scores, real=False).tolist() == [0.5, 5.0]


@pytest.mark.parametrize(("layers", "side"), [(3, 70), (2, 34), (1, 16)])
def test_a_score_looks_at_70_pixels(layers, side):
    discriminator = PatchGAN(2, layers, seed=0)
    for layer in discriminator.layers:  # all signs alike, so that nothing cancels
        nn.init.ones_(layer.weight)
    picture = torch.full((1, 3, 160, 160), 0.75, dtype=torch.float64, requires_grad=True)
    x = 2 * picture - 1
    for layer in discriminator.layers:  # without normalisation, which looks at the whole picture
        x = nn.functional.conv2d(x, layer.weight.double(), None, layer.stride, 1)
    x[0, 0, x.shape[2] // 2, x.shape[3] // 2].backward()
    seen = picture.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [side, side]
    assert receptive_field(layers) == side


def test_the_discriminator_is_the_papers():
    ours = PatchGAN(4, 3, seed=1)
    plain = []
    for place, layer in enumerate(ours.layers):
        plain += [layer, *([nn.InstanceNorm2d(layer.out_channels)] if 0 < place < 4 else []), nn.LeakyReLU(0.2)]
    picture = noise(80, 96, batch=2)
    wanted = nn.Sequential(*plain[:-1])(2 * picture - 1)
    assert torch.allclose(ours(picture), wanted, atol=1e-5)
    assert [layer.out_channels for layer in ours.layers] == [4, 8, 16, 32, 1]


def test_the_two_sides_learn_apart():
    discriminator, pastiche = PatchGAN(4, 1, seed=0), noise(32, 32).requires_grad_()
    discriminator.mistaken(noise(32, 32, seed=1), pastiche).sum().backward()
    assert pastiche.grad is None
    assert all(one.grad is not None for one in discriminator.parameters())
    discriminator.zero_grad()
    discriminator.deceived(pastiche).sum().backward()
    assert pastiche.grad.abs().sum() > 0
    assert all(one.grad is None for one in discriminator.parameters())


def test_the_pool_is_that_of_a_slow_list():
    pool, kept = ImagePool(2, seed=3, size=50), []
    swapped = 0
    for number in range(160):
        picture, draw = torch.full((3, 2, 2), number / 256), np.random.default_rng([3, 9, number])
        [given] = pool.exchanged(picture[None], torch.tensor([number]))
        if len(kept) < 50:
            kept.append(picture)
            wanted = picture
        elif draw.random() < 0.5:
            wanted = picture
        else:
            place, swapped = int(draw.integers(50)), swapped + 1
            wanted, kept[place] = kept[place], picture
        assert torch.equal(given, wanted)
    assert int(pool.held) == 50
    assert 30 < swapped < 80
    again = ImagePool(2, seed=3, size=50)
    again.load_state_dict(pool.state_dict())
    assert torch.equal(again.pictures, torch.stack(kept).half())


def test_vectors_have_length_1_and_belong_to_their_places():
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 6, 4, 4)]
    places = drawn_places(maps, [0, 1], count=20)
    assert [len(one) for one in places] == [20, 16]
    assert all(len(set(one.tolist())) == len(one) for one in places)
    module = PatchVectors((3, 6), seed=0)
    found = module(maps, places)
    for one in found:
        assert torch.allclose(one.norm(dim=2), torch.ones(()), atol=1e-5)
    point = maps[0][1, :, int(places[0][7]) // 8, int(places[0][7]) % 8]
    slow = module.layers[0](point)
    assert torch.allclose(found[0][1, 7], slow / slow.norm(), atol=1e-5)


@pytest.mark.parametrize("blurred", [False, True])
def test_a_new_generator_has_the_published_names_and_features(blurred):
    tensors = untrained(width=8, blocks=6, blurred=blurred, generator=torch.Generator().manual_seed(0))
    network = reference(blocks=6, blurred=blurred)
    network.load_state_dict(tensors)  # strict: the same names and shapes, the blurs with the same numbers
    assert all(
        torch.allclose(tensors[n], t)
        for n, t in reference(blocks=6, blurred=blurred).state_dict().items()
        if "filt" in n
    )
    ours, picture = Generator(tensors, Placement()), noise(32, 48)
    painted, features = ours.paint_with_features(picture)
    assert torch.allclose(painted, (network.model(2 * picture - 1) + 1) / 2, atol=1e-5)
    assert all(torch.equal(one, two) for one, two in zip(features, ours.features(picture), strict=True))
    assert [one.shape[1] for one in features] == [3, 16, 32, 32, 32]
    fifth = network.model[: (12 if blurred else 10) + 5](2 * picture - 1)
    assert torch.allclose(features[-1], fifth, atol=1e-5)


def test_gradients_reach_every_convolution():
    tensors = untrained(width=4, blocks=2, blurred=True, generator=torch.Generator().manual_seed(0))
    learning = {name: one.requires_grad_() for name, one in tensors.items() if one.dim() == 4 and "filt" not in name}
    Generator(tensors, Placement(), checked=False)(noise(16, 16)).square().sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in learning.values())


def test_one_picture_for_all_is_no_diversity():
    photographs = noise(64, 64, batch=6)
    assert diversity(photographs, photographs) == pytest.approx(1)
    assert diversity(1 - photographs, photographs) == pytest.approx(1, abs=1e-4)
    same = noise(64, 64, seed=9) + 0.02 * noise(64, 64, batch=6)
    assert diversity(same, photographs) < 0.2


def test_the_distance_to_paintings_tells_how_far():
    paintings = noise(64, 64, batch=4)
    assert sliced_distance(paintings, paintings) == pytest.approx(0, abs=1e-6)
    near, far = sliced_distance(noise(64, 64, seed=5, batch=4), paintings), sliced_distance(paintings * 0.2, paintings)
    assert near < far
    assert sliced_distance(paintings[..., :8, :8], paintings[..., :8, :8]) == pytest.approx(
        0, abs=1e-6
    )  # one size fits


def seen(step, diversity=0.9, accuracy=0.7, distance=0.1):
    return {"step": float(step), "diversity": diversity, "accuracy": accuracy, "distance": distance}


def test_a_collapse_is_told_with_what_to_do():
    fine = [seen(step) for step in range(6)]
    assert advice(fine) == {}
    assert "mode collapse" in advice([*fine, seen(7, diversity=0.1)])["diversity"]
    assert "--structure-weight" in advice([*fine, seen(7, diversity=0.1)])["diversity"]
    never = [seen(step, accuracy=0.995) for step in range(3)]
    assert advice(never[:2]) == {}
    assert "--discriminator-width" in advice(never)["accuracy"]
    away = [*fine, *(seen(step, distance=0.4) for step in range(7, 10))]
    assert advice(away[:-1]) == {}
    assert "0.1 at step 0" in advice(away)["distance"]
