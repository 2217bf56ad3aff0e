"""What the controls promise, with the real networks on real photographs at small sizes."""

import numpy as np
import pytest
import torch

from impasto import images
from impasto.assets import load_weights
from impasto.contract import STYLE_LAYERS, Placement
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.errors import InputError
from impasto.losses.losses import relative_error
from impasto.models import segment
from impasto.models.correspondence import find_parts
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops import color
from impasto.ops.stats import gram_matrix

pytestmark = [pytest.mark.real]
WHEAT, IRISES = "museum:436535", "museum:436528"


@pytest.fixture(scope="module")
def encoder(store):
    return Encoder(VGG19, load_weights(store, "vgg19-normalised"), Placement())


def paint(engine, photo, styles, *, quality="draft", size=128, steps=4, **controls):
    knobs = {"steps": steps} if quality == "good" else {}
    return engine.stylize(
        photo, styles, Request(quality=quality, size=size, knobs=knobs, controls=Controls(**controls))
    )


def tensor(store, name, size=256):
    picture = images.read(store.path("photos") / name)
    width, height = images.fit(picture.width, picture.height, size)
    return images.to_tensor(images.resize(picture.pixels, height, width))


def style_distance(encoder, pixels, style, columns):
    """Of the given columns of a picture to a style image."""
    part, whole = encoder(images.to_tensor(pixels[:, columns]), STYLE_LAYERS), encoder(style, STYLE_LAYERS)
    errors = [relative_error(gram_matrix(part[name]), gram_matrix(whole[name])).item() for name in STYLE_LAYERS]
    return float(np.mean(errors))


@pytest.mark.parametrize("quality", ["draft", "good"])
def test_a_regions_statistics_move_towards_its_own_style(engine, encoder, photos, quality):
    photo, half = photos / "chelsea.png", np.zeros((85, 128), np.float32)
    half[:, :64] = 1
    result = paint(engine, photo, [], quality=quality, steps=12, regions=((half, WHEAT), (1 - half, IRISES)))
    plain = images.resize(images.read(photo).pixels, *result.picture.pixels.shape[:2])
    wheat, irises = (
        images.to_tensor(images.resize(engine.find_styles(style)[0].picture.pixels, 128, 128))
        for style in (WHEAT, IRISES)
    )
    left, right = slice(0, 64), slice(64, 128)
    for columns, own, other in ((left, wheat, irises), (right, irises, wheat)):
        before = style_distance(encoder, plain, own, columns)
        mine = style_distance(encoder, result.picture.pixels, own, columns)
        theirs = style_distance(encoder, result.picture.pixels, other, columns)
        assert mine < 0.8 * before
        assert mine < theirs


def test_the_ground_of_a_photograph_is_matched_with_that_of_a_painting(engine, encoder, store):
    photograph, (wheat,) = tensor(store, "rocket.jpg"), engine.find_styles(WHEAT)
    painting = images.to_tensor(images.resize(wheat.picture.pixels, 256, 256))
    parts = find_parts(photograph, [painting], encoder, most=3)
    assert len(parts) >= 2
    ground = max(parts, key=lambda part: float(part.photograph[:, :, -40:].mean()))
    for mask in (ground.photograph, ground.paintings[0]):
        assert mask[:, :, -40:].mean() > 0.8
        assert mask[:, :, :40].mean() < 0.1


def test_a_night_sky_is_matched_with_the_whole_sky_and_nothing_else(engine, encoder, store):
    """Before lightness counted, both skies were cut in two."""
    photograph, (wheat,) = tensor(store, "rocket.jpg"), engine.find_styles(WHEAT)
    painting = images.to_tensor(images.resize(wheat.picture.pixels, 256, 256))
    parts = find_parts(photograph, [painting], encoder, most=3)
    sky = max(parts, key=lambda part: float(part.photograph[:, :, 20:110, 90:120].mean()))
    assert sky.photograph[:, :, 20:110, 90:120].mean() > 0.95
    assert sky.paintings[0][:, :, :100, :170].mean() > 0.95
    assert sky.paintings[0][:, :, 200:].mean() < 0.1  # the wheat


def test_subjects_and_people_are_found(store):
    astronaut, coffee = tensor(store, "astronaut.png"), tensor(store, "coffee.png")
    faces = segment.find_faces(astronaut, store.file("centerface", "centerface.onnx"))
    for what in ("subject", "person"):
        asset = segment.ASSETS[what]
        mask = segment.find(what, astronaut, store.file(asset, f"{asset}.onnx"), faces)
        assert mask.shape == (1, 1, 256, 256)
        assert mask[0, 0, 60, 110] > 0.9  # the face
        assert mask[0, 0, 200, 90] > 0.9  # the suit
        assert mask[0, 0, 20, 60] < 0.1  # the wall
    cup = segment.find("subject", coffee, store.file("u2netp", "u2netp.onnx"))
    assert cup[0, 0, 85, 120] > 0.9
    assert cup[0, 0, 10, 10] < 0.1


@pytest.mark.parametrize(
    ("name", "places", "box"),  # left, top, right, bottom in shares of the sides, as a person reads them off
    [
        ("astronaut.png", [(0.43, 0.2, True), (0.42, 0.7, True)], (0.04, 0.03, 0.71, 1.0)),
        ("astronaut.png", [(0.43, 0.2, True)], (0.33, 0.15, 0.54, 0.37)),  # her face
        ("coffee.png", [(0.6, 0.725, True)], (0.54, 0.54, 0.67, 0.81)),  # the spoon
    ],
)
def test_what_is_pointed_at_is_found(store, name, places, box):
    image = tensor(store, name, size=512)
    mask = segment.Pointer(load_weights(store, "mobile-sam"), image).find(places)
    inside = mask[0, 0] > 0.5
    rows, columns = (inside.any(axis).nonzero()[:, 0] for axis in (1, 0))
    height, width = inside.shape
    found = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    assert overlap(found, box) > 0.85
    for x, y, _ in places:
        assert inside[int(y * height), int(x * width)]
    assert 0.4 < inside.sum() / ((box[2] - box[0]) * (box[3] - box[1]) * height * width) < 1


def overlap(one, other):
    """Of two boxes: what both cover, of what either covers."""
    across, along = (max(0, min(one[2 + k], other[2 + k]) - max(one[k], other[k])) for k in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(across * along / (sum(areas) - across * along))


def test_no_subject_in_nothing(store):
    blank = torch.full((1, 3, 96, 128), 0.5)
    lawn = (
        torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        * torch.tensor([0.4, 1, 0.3])[:, None, None]
    )
    for image in (blank, lawn):
        with pytest.raises(InputError, match="no subject was found") as caught:
            segment.find("subject", image, store.file("u2netp", "u2netp.onnx"))
        assert "whole picture" in caught.value.hint


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_no_person_where_there_is_none(engine, photos, name):
    """MODNet alone cuts out a cat, a cup, or a rocket."""
    with pytest.raises(InputError, match="no person with a face was found") as caught:
        paint(engine, photos / name, [], regions=(("person", IRISES),))
    assert "whole picture" in caught.value.hint


def test_a_person_is_painted_where_there_is_one(engine, photos):
    photo = photos / "astronaut.png"
    painted = paint(engine, photo, [], regions=(("person", IRISES),)).picture.pixels
    plain = images.resize(images.read(photo).pixels, 128, 128)
    assert np.array_equal(painted[:10, 24:34], plain[:10, 24:34])
    assert np.abs(painted[95:120, 35:60] - plain[95:120, 35:60]).mean() > 0.02


def test_subject_and_background_share_the_picture(engine, photos):
    photo = photos / "astronaut.png"
    only = paint(engine, photo, [], regions=(("subject", IRISES),)).picture.pixels
    plain = images.resize(images.read(photo).pixels, 128, 128)
    assert np.array_equal(only[:10, 24:34], plain[:10, 24:34])
    both = paint(engine, photo, [], regions=(("subject", IRISES), ("background", WHEAT))).picture.pixels
    assert np.abs(both[:20, 20:40] - plain[:20, 20:40]).mean() > 0.02


def test_faces_are_found_and_painted_less(engine, store, photos):
    network = store.file("centerface", "centerface.onnx")
    (box,) = segment.find_faces(tensor(store, "astronaut.png"), network)
    assert box == pytest.approx((90, 28, 136, 89), abs=6)
    assert segment.find_faces(tensor(store, "coffee.png"), network) == []
    photo = photos / "astronaut.png"
    plain = images.resize(images.read(photo).pixels, 128, 128)
    painted = paint(engine, photo, WHEAT).picture.pixels
    spared = paint(engine, photo, WHEAT, protect_faces=0.8).picture.pixels
    face, suit = (slice(20, 40), slice(48, 66)), (slice(90, 120), slice(20, 60))
    assert np.abs(spared[face] - plain[face]).mean() < 0.5 * np.abs(painted[face] - plain[face]).mean()
    assert np.abs(spared[suit] - painted[suit]).mean() < 0.01


def test_luminance_is_kept_on_a_real_pastiche(engine, photos):
    photo = photos / "coffee.png"
    plain, kept = paint(engine, photo, WHEAT), paint(engine, photo, WHEAT, keep_color="luminance")
    before, after = (color.luma(images.to_tensor(result.picture.pixels)) for result in (plain, kept))
    assert (before - after).abs().max() < 1e-5


def test_half_strength_shows_nothing_twice(engine, photos):
    """Between the photograph and the draft, edges are as sharp as in either: a blend of pictures would double them."""
    photo = photos / "astronaut.png"
    request = Request(quality="draft", size=128, knobs={"strength": 0.5})
    half = engine.stylize(photo, WHEAT, request).picture.pixels
    plain = images.resize(images.read(photo).pixels, 128, 128)
    full = paint(engine, photo, WHEAT).picture.pixels
    assert np.abs(half - plain).mean() < np.abs(full - plain).mean()
    assert np.abs(half - (plain + full) / 2).mean() > 0.01


def test_a_seamless_texture_of_a_painting_tiles(engine):
    request = Request(knobs={"steps": 6})
    tile = engine.texture(WHEAT, size=96, seamless=True, request=request).picture.pixels
    for axis in (0, 1):
        inside = np.abs(np.diff(tile, axis=axis)).mean(axis=(1 - axis, 2))
        across = np.abs(tile.take(0, axis) - tile.take(-1, axis)).mean()
        assert across < inside.mean() + 2.5 * inside.std()
