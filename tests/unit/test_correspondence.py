"""Parts that a photograph and paintings have in common, and painting them like after like; tiny networks."""

import numpy as np
import pytest
import torch

from impasto.contract import Placement, ignore
from impasto.engine import matching
from impasto.engine.controls import Controls
from impasto.engine.record import Record
from impasto.engine.request import Request
from impasto.errors import AssetError, InputError, MissingExtra
from impasto.models.correspondence import _worth, find_parts
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from tiny import noise, tiny_encoder_weights


def halves(height, width, *, upright):
    """Pale and smooth on one side, dark and rough on the other; and where it is rough."""
    rough = torch.zeros(1, 1, height, width)
    if upright:
        rough[:, :, height // 2 :] = 1
    else:
        rough[:, :, :, : width // 2] = 1
    texture = noise(height, width, seed=3) * torch.tensor([0.5, 0.3, 0.1])[None, :, None, None]
    return torch.lerp(torch.full_like(texture, 0.9), texture, rough), rough


@pytest.fixture(scope="module")
def encoder():
    return Encoder(VGG19, tiny_encoder_weights(), Placement())


def agreement(mask, wanted):
    return 1 - float((mask - wanted).abs().mean())


def test_like_is_matched_with_like_wherever_it_lies(encoder):
    photograph, below = halves(128, 160, upright=True)
    painting, left = halves(160, 128, upright=False)
    parts = find_parts(photograph, [painting, photograph], encoder, most=2)
    assert len(parts) == 2
    rough, smooth = sorted(parts, key=lambda part: -agreement(part.photograph, below))
    assert agreement(rough.photograph, below) > 0.85
    assert agreement(rough.paintings[0], left) > 0.85
    assert agreement(rough.paintings[1], below) > 0.85
    for pieces in ((rough.photograph, smooth.photograph), *zip(rough.paintings, smooth.paintings, strict=True)):
        assert torch.allclose(sum(pieces), torch.ones_like(pieces[0]), atol=1e-5)


def test_what_is_known_of_all_pictures_is_a_part_of_its_own(encoder):
    """Subjects that look like their surroundings are paired all the same."""
    photograph, painting = noise(128, 160, seed=1), noise(160, 128, seed=2)
    subject, figure = torch.zeros(1, 1, 128, 160), torch.zeros(1, 1, 160, 128)
    subject[:, :, 30:100, 20:90] = 1
    figure[:, :, 60:150, 40:110] = 1
    parts = find_parts(photograph, [painting], encoder, most=2, known=[[subject, figure]])
    assert len(parts) == 2
    one = max(parts, key=lambda part: agreement(part.photograph, subject))
    assert agreement(one.photograph, subject) > 0.85
    assert agreement(one.paintings[0], figure) > 0.85


def test_what_is_known_to_be_one_thing_need_not_look_alike():
    def places(features, known):
        thing, ground = torch.tensor([*features, 0.0, 0.0, known]), torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
        return torch.stack([thing] * 5 + [ground] * 5)

    labels = torch.tensor([0] * 5 + [1] * 5)
    for known, enough in ((1.5, True), (0.0, False)):
        pictures = [places((1.0, 0.0), known), places((-1.0, 0.0), known)]
        worth = _worth(pictures, [labels, labels], 2, known=1)
        assert (worth >= 1).tolist() == [enough, True]
        alone = [picture[:, :4] for picture in pictures]  # without the networks
        assert _worth(alone, [labels, labels], 2, known=0)[0] < 1


def test_a_person_comes_before_a_subject_and_counts_where_all_pictures_have_one(monkeypatch, engine):
    asked, notes = [], []

    def find(self, what):
        asked.append(what)
        if what == "person":
            raise InputError("none", "")
        return torch.ones(1, 1, *self.photograph.shape[2:])

    monkeypatch.setattr("impasto.engine.masks.MaskReader._find", find)
    monkeypatch.setattr("impasto.engine.masks.MaskReader._faces", lambda _: [])
    pictures = [noise(40, 48), noise(32, 32)]
    ((photograph, painting),) = matching._known(pictures, engine.store, ignore, notes.append)
    assert asked == ["person", "subject", "subject"]
    assert (photograph.shape[2:], painting.shape[2:]) == ((40, 48), (32, 32))
    assert "a subject was found in photograph and painting" in notes[0]


@pytest.mark.parametrize("error", [MissingExtra("no onnxruntime", ""), AssetError("offline", "")])
def test_without_the_networks_parts_are_told_apart_by_features_alone(monkeypatch, engine, error):
    def find(self, what):
        raise error

    notes = []
    monkeypatch.setattr("impasto.engine.masks.MaskReader._find", find)
    assert matching._known([noise(40, 48)] * 2, engine.store, ignore, notes.append) == []
    assert error.message in notes[0]


def test_a_painting_of_one_flat_colour_has_no_parts(encoder):
    photograph, _ = halves(96, 96, upright=True)
    assert find_parts(photograph, [torch.full((1, 3, 96, 96), 0.4)], encoder, most=3) == ()
    assert find_parts(torch.full((1, 3, 96, 96), 0.4), [photograph], encoder, most=3) == ()


def as_array(picture):
    return np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())


CONTENT, STYLE = as_array(halves(96, 96, upright=True)[0]), as_array(halves(96, 96, upright=False)[0])


def paint(engine, style=STYLE, *, notes=None, method="adain", **controls):
    knobs = {"steps": 2} if method == "optimize" else {}
    request = Request(method=method, knobs=knobs, controls=Controls(match_regions=True, **controls))
    return engine.stylize(CONTENT, style, request, on_note=(notes if notes is not None else []).append)


@pytest.mark.parametrize("method", ["microast", "wct", "optimize"])
def test_parts_are_painted_after_their_likes(engine, method):
    notes = []
    matched = paint(engine, notes=notes, method=method)
    plain = engine.stylize(CONTENT, STYLE, Request(method=method, knobs={"steps": 2} if method == "optimize" else {}))
    assert np.abs(matched.picture.pixels - plain.picture.pixels).mean() > 1e-3
    assert "parts of the photograph are like parts of the painting" in " ".join(notes)
    assert Record.parse({**matched.record, "precision": "float32"}).controls == Controls(match_regions=True)


def test_the_colours_of_parts_come_from_their_likes(engine):
    pixels = paint(engine, method="auto", color_only=True).picture.pixels
    assert np.abs(pixels[:40].mean((0, 1)) - 0.9).max() < 0.1
    assert pixels[56:].mean() < 0.4


def test_where_nothing_is_alike_the_whole_is_painted_and_told(engine):
    notes, flat = [], np.full((96, 96, 3), 0.4, np.float32)
    matched = paint(engine, flat, notes=notes)
    plain = engine.stylize(CONTENT, flat, Request(method="adain"))
    assert np.array_equal(matched.picture.pixels, plain.picture.pixels)
    assert "no part of the photograph is like one of the painting: painted as a whole" in notes


@pytest.mark.parametrize(
    ("style", "controls", "said"),
    [
        (STYLE, {"regions": ((CONTENT[:, :, 0], STYLE),)}, "match_regions and region contradict each other"),
        ("pack:irises", {}, "match_regions needs a painting, not a trained style"),
    ],
)
def test_what_cannot_be_had_together_is_refused(engine, style, controls, said):
    with pytest.raises(InputError, match=said):
        paint(engine, style, method="auto", **controls)
