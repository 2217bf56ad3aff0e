"""Styles learnt from a handful of paintings, scored by others: with painters and scores that are made up."""

from types import SimpleNamespace

import numpy as np
import pytest

from impasto.bench import examples
from impasto.metrics import SCORES
from impasto.report.cells import Subject


def grey(value):
    return np.full((4, 6, 3), value, np.float32)


class Judge:
    """The style distance is how far means are apart."""

    def measure(self, _content, style, pastiche, names):
        return dict.fromkeys(names, abs(float(style.mean() - pastiche.mean())))


def test_what_was_learnt_stands_beside_a_draft_the_pack_and_the_photograph(tmp_path, monkeypatch):
    painted = {"mine": grey(0.5), f"{tmp_path}:handful": grey(0.75), "pack:b": grey(0.25)}

    def stylize(_content, style, _request):
        return SimpleNamespace(picture=SimpleNamespace(pixels=painted[str(style)]))

    monkeypatch.setattr(examples, "_nearest", lambda *_given: "pack:b")
    monkeypatch.setattr(examples, "_learnt", lambda *_given: (tmp_path, 3.0, 5.0))
    training = SimpleNamespace(training_styles=[SimpleNamespace(name="handful")])
    kept = []
    rows = examples.examples(
        [examples.Handful("mine", "mine", [grey(0.5)], training)],
        [Subject("c", grey(1.0)), Subject("d", grey(0.9))],
        [Subject("photo", grey(0.0))],
        engine=SimpleNamespace(stylize=stylize),
        judge=Judge(),
        placement=None,
        keep=lambda name, _pixels: kept.append(name),
    )
    assert [row["way"] for row in rows] == ["the photograph", "nearest of the pack", "draft", "learnt"]
    assert [row["style_distance"] for row in rows] == pytest.approx([0.95, 0.7, 0.45, 0.2], abs=1e-5)
    assert {name for row in rows for name in SCORES if row[name] is None} == set()
    assert rows[1]["style"] == "pack:b"
    assert rows[3]["to_examples"] == pytest.approx(0.25)
    assert (rows[3]["nearer_than_draft"], rows[3]["seconds"], rows[3]["processor_seconds"]) == (1.0, 3.0, 5.0)
    assert kept == ["mine-nearest of the pack-photo", "mine-draft-photo", "mine-learnt-photo"]
