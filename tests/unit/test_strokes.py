"""What a network in training is told of strokes, grids and large shapes; and the styles it learns from."""

import numpy as np
import pytest
import torch

from impasto.metrics._pixels import weave
from impasto.metrics._style import nearest_distance
from impasto.train import TrainingStyle, variations
from impasto.train._strokes import LAYERS, Strokes, grid_share
from tiny import noise


def fine(side, *, seed=0):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_grid_is_all_of_the_detail_or_none_of_it():
    tile = fine(8).repeat(1, 1, 16, 16)
    assert grid_share(0.5 + 0.05 * tile).item() > 0.8
    assert abs(grid_share(0.5 + 0.05 * fine(128)).item()) < 0.05
    assert abs(grid_share(noise(128, 128)).item()) < 0.25
    assert grid_share(torch.full((2, 3, 64, 64), 0.5)).tolist() == pytest.approx([-1 / 15] * 2)


def test_a_grid_is_seen_in_flat_places_beside_strokes():
    tile, strokes = fine(8).repeat(1, 1, 32, 32), 0.2 * fine(256, seed=1)
    strokes[..., 100:] = 0
    plain = 0.5 + strokes + 0.01 * fine(256, seed=2)
    woven = plain + 0.02 * tile
    assert grid_share(woven).item() > grid_share(plain).item() + 0.5
    ours, theirs = (weave(one[0].permute(1, 2, 0).clamp(0, 1).numpy()) for one in (woven, plain))
    assert ours > theirs + 0.3


def test_a_descent_takes_the_grid_out_and_leaves_the_rest():
    plain = 0.5 + 0.05 * fine(64, seed=3)
    picture = (plain + 0.05 * fine(8).repeat(1, 1, 8, 8)).requires_grad_()
    optimizer = torch.optim.Adam([picture], 0.005)
    before = grid_share(picture).item()
    for _ in range(40):
        optimizer.zero_grad()
        grid_share(picture).sum().backward()
        optimizer.step()
    assert before > 0.3
    assert grid_share(picture).item() < 0.05
    assert torch.corrcoef(torch.stack([picture.detach().flatten(), plain.flatten()]))[0, 1] > 0.8


def test_strokes_are_at_no_distance_from_their_painting_and_as_far_as_measured_from_another():
    generator = torch.Generator().manual_seed(4)
    first, second = ({layer: torch.rand(1, 16, 20, 24, generator=generator) for layer in LAYERS} for _ in range(2))
    strokes = Strokes(2, seed=0)
    strokes.add([(first, 1.0)])
    strokes.add([(second, 1.0)])
    both = {layer: torch.cat([first[layer], first[layer]]) for layer in LAYERS}
    near, far = strokes.distance(both, torch.tensor([0, 1])).tolist()
    assert near == pytest.approx(0, abs=1e-6)
    assert far == pytest.approx(sum(nearest_distance(first[layer], second[layer]) for layer in LAYERS) / 2, abs=1e-6)


def test_a_style_is_varied_in_views_of_its_own_pixels_and_one_mixture():
    random = np.random.default_rng(0)
    styles = [TrainingStyle(name, random.random((40, 60, 3), np.float32)) for name in ("one", "two")]
    made = variations(styles, 0)
    assert len({style.name for style in made}) == len(made) == 2 * 5
    for style, again in zip(made, variations(styles, 0), strict=True):
        np.testing.assert_array_equal(style.pixels, again.pixels)
        own = styles[0] if style.name.startswith("one") else styles[1]
        assert np.isin(style.pixels.ravel(), own.pixels.ravel()).all()
        assert min(style.pixels.shape[:2]) >= 22
        assert sum(share for _, share in style.paintings) == pytest.approx(1)
    assert [len(style.paintings) for style in made if style.name.endswith("mixed")] == [2, 2]
