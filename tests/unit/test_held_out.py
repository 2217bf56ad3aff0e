"""Which paintings a network for any painting is validated in, where it goes on from another training."""

from types import SimpleNamespace

import numpy as np

from impasto.cli.train import _as_before
from impasto.train import TrainingStyle


def styles(*ids):
    return [TrainingStyle(one, np.zeros((4, 4, 3), np.float32), one) for one in ids]


def ids(found):
    return ["".join(style.id for style in part) for part in found]


def test_the_same_paintings_are_held_out_again():
    begun, heard = SimpleNamespace(about={"unseen": ["d", "b"], "paintings": ["a", "c"]}), []
    found = _as_before(begun, styles("b", "c", "d"), styles("a"), SimpleNamespace(note=heard.append))
    assert ids(found) == ["ac", "bd"]
    assert heard == []


def test_it_is_said_where_they_cannot_be():
    begun, heard = SimpleNamespace(about={"unseen": ["x"], "paintings": ["a", "c"]}), []
    found = _as_before(begun, styles("b", "c"), styles("a", "d"), SimpleNamespace(note=heard.append))
    assert ids(found) == ["bc", "ad"]
    assert heard == ["the network has learnt 1 of the 2 paintings to validate in"]
