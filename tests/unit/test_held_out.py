"""Which paintings of a folder are learnt from, and which a network for any painting is validated in."""

from types import SimpleNamespace

import numpy as np
import pytest

from impasto import images
from impasto.cli.train import _as_before, collection, train_arbitrary
from impasto.errors import InputError
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


@pytest.fixture
def paintings(tmp_path):
    for number in range(8):
        images.write(images.Picture(np.full((40, 50, 3), number / 8, np.float32)), tmp_path / f"{number}.png")
    return tmp_path


class Reporter:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def __call__(self, progress):
        pass


def test_what_of_a_folder_cannot_be_read_is_named_and_left_out(paintings):
    (paintings / "zz.jpg").write_bytes(b"no picture")
    reporter = Reporter()
    learnt, unseen = collection(None, str(paintings), 0, reporter)
    assert [len(learnt), len(unseen)] == [6, 2]
    assert len(reporter.notes) == 1
    assert "zz.jpg" in reporter.notes[0]
    (paintings / "7.png").write_bytes(b"nor this")
    with pytest.raises(InputError, match="holds 7 paintings; 8 are the least"):
        collection(None, str(paintings), 0, reporter)


def test_too_few_paintings_are_told_before_anything_is_loaded(paintings):
    fewer = paintings / "fewer"
    fewer.mkdir()
    (paintings / "0.png").rename(fewer / "0.png")
    images.write(images.read(paintings / "1.png"), paintings / "8.png")
    with pytest.raises(InputError, match="holds 1 painting; 8 are the least"):
        train_arbitrary(paintings, paintings / "out.safetensors", str(fewer))
