"""What a network in training is scored by."""

import pytest
import torch

from impasto.methods.settings import TrainKnobs
from impasto.train._teacher import Balance, Teacher
from tiny import noise, training_styles

KNOBS = TrainKnobs(canvas=96)


def test_the_teacher_is_content_with_the_painting_and_the_photograph(tiny_weights, placement):
    teacher = Teacher(tiny_weights, training_styles(2), KNOBS, placement)
    photograph, styles = noise(64, 64), torch.tensor([1])
    kept = teacher.losses(photograph, teacher.content(photograph), styles)
    assert kept["content"].item() == 0
    ((painting, _),) = teacher._paintings[1]
    copied = teacher.losses(painting, teacher.content(painting), styles)
    assert copied["style"].item() < 1e-6
    assert copied["tv"].item() == pytest.approx(1)
    assert kept["style"].item() > 0.05


def test_the_balance_asks_a_style_below_its_budget_for_more():
    balance = Balance(3, TrainKnobs(style_weight=4))
    balance.budgets.copy_(torch.tensor([0.5, 0.5, 0.5]))
    for _ in range(2000):
        balance.update(torch.tensor([0, 1, 2]), torch.tensor([0.1, 0.9, 0.5]), settled=True)
    assert balance.weights.tolist() == pytest.approx([32, 0.5, 4])
    before = balance.weights.clone()
    balance.update(torch.tensor([0]), torch.tensor([2.0]), settled=False)
    assert torch.equal(balance.weights, before)
