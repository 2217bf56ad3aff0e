"""A style of several paintings, as training sees it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from impasto.cli.train import _training_styles
from impasto.errors import InputError
from impasto.methods.settings import TrainKnobs
from impasto.train._teacher import Teacher, TrainingStyle
from tiny import noise

KNOBS = TrainKnobs(canvas=96, crop=64)


def pixels(seed):
    return noise(80, 96, seed=seed)[0].permute(1, 2, 0).numpy()


@pytest.fixture
def paintings():
    return [TrainingStyle(str(seed), pixels(seed)) for seed in (1, 2)]


def teacher(tiny_weights, placement, styles):
    return Teacher(tiny_weights, styles, KNOBS, placement)


def test_statistics_of_several_paintings_are_their_mean_by_share(tiny_weights, placement, paintings):
    one, other = paintings
    pooled = replace(one, parts=((one.pixels, 0.75), (other.pixels, 0.25)))
    alone = teacher(tiny_weights, placement, paintings)
    both = teacher(tiny_weights, placement, [pooled])
    for layer, grams in alone._grams.items():
        wanted = 0.75 * grams[:1] + 0.25 * grams[1:]
        torch.testing.assert_close(both._grams[layer], wanted, atol=1e-6, rtol=1e-5)
    assert both.styles == 1


def test_the_same_painting_twice_is_that_painting(tiny_weights, placement, paintings):
    one = paintings[0]
    twice = replace(one, parts=((one.pixels, 0.5), (one.pixels, 0.5)))
    losses = [
        teacher(tiny_weights, placement, [style]).losses(
            noise(64, 64, seed=5),
            teacher(tiny_weights, placement, [style]).content(noise(64, 64, seed=6)),
            torch.tensor([0]),
        )
        for style in (one, twice)
    ]
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, atol=1e-5, rtol=1e-4)


def test_patches_come_from_all_paintings_by_their_shares(tiny_weights, placement):
    dark, light = (np.full((80, 96, 3), value, np.float32) for value in (0.1, 0.9))
    style = TrainingStyle("both", dark, parts=((dark, 0.5), (light, 0.5)))
    found = teacher(tiny_weights, placement, [style]).patches(torch.zeros(40, dtype=int), torch.arange(40), 16, seed=0)
    values = found.mean((1, 2, 3))
    assert 8 < int((values > 0.5).sum()) < 32


class Told(list):
    """Stands for a reporter."""

    def __call__(self, progress):
        pass

    def note(self, text):
        self.append(text)


def test_a_folder_is_one_style_to_train_on(engine, tmp_path, picture_file):
    (tmp_path / "mine").mkdir()
    for seed in range(3):
        picture_file(f"mine/{seed}.png", seed=seed)
    told = Told()
    both = [("", str(tmp_path / "mine")), ("alone", str(tmp_path / "mine/0.png"))]
    pooled, alone = _training_styles(engine.store, both, told)
    assert (pooled.name, pooled.id, pooled.licence) == ("mine", "0.png 1.png 2.png", "not stated")
    assert [share for _, share in pooled.paintings] == pytest.approx([1 / 3] * 3)
    assert (alone.name, alone.id, len(alone.paintings)) == ("alone", "0.png", 1)
    assert told == ["mine: 3 pictures as one style"]
    with pytest.raises(InputError, match="is a style of a trained network"):
        _training_styles(engine.store, [("", "pack:irises")], told)
