"""Painted letters: their geometry, strokes, tones and effects, on tiny networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from impasto import images
from impasto.contract import Guide, Job, Placement, Style, StyleImage
from impasto.errors import Cancelled, InputError
from impasto.lettering import (
    Example,
    Layers,
    Lettering,
    LetterPainter,
    on_paper,
    paper_for,
    parse_color,
    parse_size,
    tones,
)
from impasto.lettering.effects import cut_out, transfer
from impasto.lettering.layers import PaintedLayer
from impasto.lettering.shape import Shape
from impasto.lettering.strokes import lay_strokes
from impasto.losses.losses import DirectionLoss
from impasto.methods.optimize.method import Optimize
from impasto.methods.settings import OptimizeKnobs
from impasto.ops.tiling import tiles_of
from tiny import noise

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><path d="M2 2H38V8H24V18H16V8H2Z"/></svg>'
DRAFT = {"size": 96, "quality": "draft"}


def bar(height=60, width=160, top=20, bottom=40):
    coverage = np.zeros((height, width), np.float32)
    coverage[top:bottom, 20 : width - 20] = 1
    return Shape(coverage)


def ring(side=120, inner=25, outer=45):
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    far = np.hypot(row, column)
    return Shape(np.clip(np.minimum(outer - far, far - inner) + 0.5, 0, 1).astype(np.float32))


def painting(height=64, width=96, seed=1):
    return np.ascontiguousarray(noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy())


@pytest.fixture
def logo(tmp_path):
    path = tmp_path / "logo.svg"
    path.write_text(LOGO)
    return path


@pytest.fixture
def painter(engine):
    return LetterPainter(engine)


# --- shape -----------------------------------------------------------------------------------------------------------


def test_distance_depth_and_skeleton_of_a_bar():
    shape = bar()
    assert shape.distance[29, 80] == pytest.approx(9.5, abs=0.6)
    assert shape.distance[10, 80] == pytest.approx(-9.5, abs=0.6)
    assert shape.stroke_radius == pytest.approx(10, abs=1)
    rows = np.nonzero(shape.skeleton[:, 80])[0]
    assert set(rows) <= {28, 29, 30, 31}
    assert shape.depth[29, 80] == pytest.approx(1, abs=0.15)
    assert shape.depth[20, 80] < 0.15


def test_directions_run_along_a_bar_and_round_a_ring():
    assert np.abs(bar().directions[25:35, 50:110, 0]).min() > 0.97
    shape = ring()
    row, column = np.mgrid[:120, :120] - 59.5
    tangent = np.dstack([-row, column]) / np.maximum(np.hypot(row, column), 1e-6)[..., None]
    along = np.abs((shape.directions * tangent).sum(2))
    assert along[shape.inside].mean() > 0.98


def test_letters_without_any_body_are_refused():
    with pytest.raises(InputError, match="too thin"):
        Shape(np.full((40, 40), 0.2, np.float32))


# --- strokes ---------------------------------------------------------------------------------------------------------


def test_strokes_are_those_of_their_seed():
    shape, where = bar(), bar().coverage
    first, again, other = (lay_strokes(shape, painting(), where, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.picture, again.picture)
    assert not np.array_equal(first.picture, other.picture)


def test_strokes_follow_the_letter_and_stay_where_they_may_be():
    shape = ring()
    strokes = lay_strokes(shape, painting(), (shape.distance > -4).astype(np.float32), seed=1)
    image = torch.from_numpy(strokes.picture).permute(2, 0, 1)[None]
    inside = torch.from_numpy(shape.directions * shape.inside[..., None]).permute(2, 0, 1)[None]
    across = torch.stack((-inside[:, 1], inside[:, 0]), 1)
    along = _share(DirectionLoss(inside), image)
    assert along < 0.6 * _share(DirectionLoss(across), image)
    assert strokes.cover[shape.distance < -14].max() == 0
    assert strokes.cover[shape.distance > 2].mean() > 0.97
    assert 0 <= strokes.order.min() < strokes.order.max() <= 1


def _share(loss, image):
    """Of the picture's change, that runs along the directions."""
    stats = loss.statistics({"image": image})
    return float(loss.bind(stats)(stats))


# --- the objective ---------------------------------------------------------------------------------------------------


def stripes(height=48, width=64):
    return (0.5 + 0.5 * torch.sin(torch.arange(height) * 0.9))[None, None, :, None].expand(1, 3, height, width).clone()


def along(x, y, height=48, width=64):
    return torch.tensor([x, y])[None, :, None, None].expand(1, 2, height, width).clone()


def test_stripes_run_along_themselves_and_not_across():
    assert _share(DirectionLoss(along(1.0, 0.0)), stripes()) == pytest.approx(0, abs=1e-6)
    assert _share(DirectionLoss(along(0.0, 1.0)), stripes()) == pytest.approx(1, abs=1e-6)
    assert _share(DirectionLoss(along(0.6, 0.8)), stripes()) == pytest.approx(0.64, abs=1e-5)
    assert _share(DirectionLoss(along(-0.6, -0.8)), stripes()) == pytest.approx(0.64, abs=1e-5)


def test_tiles_add_up_to_the_whole():
    loss, image = DirectionLoss(torch.rand(1, 2, 48, 64, generator=torch.Generator().manual_seed(0))), noise(48, 64)
    whole = loss.statistics({"image": image})
    parts = [loss.partial({"image": tile.crop(image, loss.margin)}, tile) for tile in tiles_of((48, 64), 32, stride=16)]
    assert len(parts) > 1
    for name, value in whole.items():
        assert sum(part[name] for part in parts).item() == pytest.approx(value.item(), rel=1e-5)


def test_a_descent_lays_strokes_in_the_directions_of_its_guide(tiny_weights):
    stylizer = Optimize({"vgg19-normalised": tiny_weights["vgg19-normalised"]}, Placement())
    knobs = OptimizeKnobs(steps=8, init="content", content_weight=0.0, style_weight=0.05, tv_weight=0.0)
    code = stylizer.encode_style(Style((StyleImage(noise(64, 64, seed=2)),), canvas=(32, 48)), knobs)
    content, wanted = noise(32, 48, seed=3), along(0.6, 0.8, 32, 48)
    shares = [
        _share(DirectionLoss(wanted), stylizer.stylize(content, [Job(code, knobs, Guide(directions=given))]))
        for given in (None, wanted)
    ]
    assert shares[1] < 0.8 * shares[0]


def test_directions_are_refused_by_methods_that_lay_no_strokes_and_at_another_size(engine):
    from impasto.engine.controls import Controls
    from impasto.engine.request import Request

    given = Controls(directions=np.zeros((48, 64, 2), np.float32))
    with pytest.raises(InputError, match="adain cannot honour directions of strokes"):
        engine.stylize(painting(48, 64), painting(), Request(quality="draft", controls=given))
    with pytest.raises(InputError, match="directions are an array of shape"):
        engine.stylize(painting(64, 64), painting(), Request(controls=given, knobs={"steps": 1}))


# --- tones -----------------------------------------------------------------------------------------------------------


def test_tones_come_into_their_range_and_keep_their_order():
    picture = painting()
    allowed = tones.tone_range("dark", 0.5)
    changed = tones.fitted(picture, allowed)
    before, after = tones.luma(picture).ravel(), tones.luma(changed).ravel()
    assert after.max() <= allowed.high + 0.01
    order = np.argsort(before)
    assert np.corrcoef(before, after)[0, 1] > 0.95
    assert np.diff(after[order]).min() > -0.05
    assert tones.fitted(picture, tones.tone_range("own", 1.0)) is picture


def test_legibility_moves_letters_and_what_is_around_them_apart():
    shape = bar()
    letters, around = 0.4 + 0.2 * painting(60, 160), 0.45 + 0.2 * painting(60, 160, seed=5)
    beside = 1 - shape.coverage

    def seen(legibility):
        parts = tones.moved_apart(letters, around, shape.coverage, beside, legibility)
        return tones.contrast(
            on_paper(images.Picture(parts[0], shape.coverage), (0, 0, 0)) + beside[..., None] * parts[1], shape
        )

    scores = [seen(legibility) for legibility in (0.0, 0.5, 1.0)]
    assert scores[0] < 1.5 < scores[1] < scores[2]
    assert tones.moved_apart(letters, around, shape.coverage, beside, 0.0)[0] is letters


def test_no_stroke_has_the_tones_of_the_zone_beside_it_and_relief_stays():
    """A dark stroke across light letters, and a light one across what is around them."""
    shape = bar()
    letters, around = (np.full((60, 160, 3), value, np.float32) for value in (0.8, 0.3))
    letters[:, 60:80], around[:, 100:120] = 0.2, 0.9
    letters[::2] += 0.05  # relief
    beside = 1 - shape.coverage
    bright, dark = tones.locally_apart(letters, around, shape.coverage, beside, gap=0.2, sigma=3.0)
    assert tones.luma(bright)[shape.inside].min() > tones.luma(dark)[~shape.inside].max() + 0.02
    middle = bright[30, 70:72] - bright[31, 70:72]
    assert middle.mean() == pytest.approx(0.05, abs=0.02)
    untouched, _ = tones.locally_apart(letters, around, shape.coverage, beside, gap=0.2, sigma=3.0, share=0.0)
    assert untouched is letters


def test_no_stroke_of_letters_on_paper_leaves_their_tones():
    shape = bar()
    letters = np.full((60, 160, 3), 0.7, np.float32)
    letters[:, 60:80] = 0.05
    kept = tones.luma(tones.kept_within(letters, shape.coverage, tones.tone_range("light", 0.5), sigma=3.0))
    assert kept[shape.inside].min() > 0.3
    assert np.allclose(kept[shape.inside].max(), 0.7, atol=0.04)
    assert tones.kept_within(letters, shape.coverage, tones.ANY, sigma=3.0) is letters


def test_other_tones_keep_the_chroma_that_there_is():
    picture = painting()
    moved = tones.relit(picture, tones.luma(picture) + 0.05)
    assert np.abs(tones.luma(moved) - tones.luma(picture) - 0.05)[tones.luma(picture) < 0.9].max() < 1e-3
    room = (picture.max(2) < 0.9) & (picture.min(2) > 0.1)
    assert np.allclose((moved - picture)[room], 0.05, atol=1e-5)


def test_of_many_parts_of_a_painting_a_colourful_one_fills_letters():
    """Half of the painting is grey: of eight seeds none lays grey strokes."""
    grey = np.full((64, 256, 3), 0.5, np.float32)
    grey[:, :128] = np.kron(painting(8, 16), np.ones((8, 8, 1), np.float32))
    shape = ring()
    for seed in range(8):
        strokes = lay_strokes(shape, grey, shape.coverage, seed=seed)
        colours = strokes.picture[shape.inside]
        assert (colours.max(1) - colours.min(1)).mean() > 0.15, seed


# --- layers ----------------------------------------------------------------------------------------------------------


def test_layers_lie_over_one_another_and_strokes_come_one_by_one():
    full, half = np.ones((8, 8), np.float32), np.full((8, 8), 0.5, np.float32)
    red, blue = np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), np.float32)
    red[..., 0], blue[..., 2] = 1, 1
    order = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    layers = Layers({"around": PaintedLayer(red, full, order), "fill": PaintedLayer(blue, half, order)})
    assert np.allclose(layers.picture().pixels, [0.5, 0, 0.5])
    assert layers.picture().alpha is None
    frames = list(layers.frames(5))
    assert [frame.shape for frame in frames] == [(8, 8, 4)] * 5
    opacity = [float(frame[..., 3].mean()) for frame in frames]
    assert opacity[0] == 0
    assert opacity == sorted(opacity)
    assert opacity[-1] == 1
    assert list(layers.pictures()) == ["around", "fill"]
    assert list(Layers(layers.by_zone, (1.0, 1.0, 1.0)).pictures()) == ["background", "around", "fill"]
    assert Layers(layers.by_zone, (0.0, 1.0, 0.0)).picture(0.0).pixels[0, 0].tolist() == [0, 1, 0]
    assert paper_for(layers) == (1.0, 1.0, 1.0)


# --- effects ---------------------------------------------------------------------------------------------------------


def example(shape):
    """Red along the edge, blue in the middle, a green glow outside, on black."""
    pixels = np.zeros((*shape.sides, 3), np.float32)
    pixels[shape.distance > 0] = (0, 0, 1)
    pixels[(shape.distance > 0) & (shape.depth < 0.45)] = (1, 0, 0)
    pixels[(shape.distance < 0) & (shape.distance > -5)] = (0, 0.6, 0)
    return Example("rim", pixels, None, shape)


def test_an_effect_keeps_its_place_by_the_distance_to_the_edge():
    painted = transfer(example(bar()), ring(), seed=0)
    shape = ring()
    rim, core = (shape.distance > 2) & (shape.depth < 0.3), shape.depth > 0.75
    assert painted[rim][:, 0].mean() > 0.6 > 0.3 > painted[rim][:, 2].mean()
    assert painted[core][:, 2].mean() > 0.7 > 0.3 > painted[core][:, 0].mean()
    glow = (shape.distance < -1.5) & (shape.distance > -3.5)
    assert painted[glow][:, 1].mean() > 0.35
    assert painted[shape.distance < -12].max() < 0.2
    assert np.array_equal(painted, transfer(example(bar()), ring(), seed=0))


def test_the_background_of_an_effect_becomes_transparent():
    shape = bar()
    colours, alpha = cut_out(example(shape).pixels, shape, example(shape).background)
    assert alpha[shape.distance > 1].min() == 1
    assert alpha[shape.distance < -8].max() == 0
    assert 0.4 < alpha[18, 80] < 0.7
    assert colours[18, 80, 1] > 0.9


def test_an_example_takes_two_pictures_of_one_shape(tmp_path):
    from PIL import Image

    Image.new("RGB", (120, 80), "red").save(tmp_path / "effect.png")
    Image.new("RGB", (80, 120), "white").save(tmp_path / "tall.png")
    Image.new("RGB", (120, 80), "white").save(tmp_path / "blank.png")
    with pytest.raises(InputError, match=r"120x80 px, tall\.png 80x120"):
        Example.read(tmp_path / "effect.png", tmp_path / "tall.png")
    with pytest.raises(InputError, match=r"blank\.png shows no plain letters"):
        Example.read(tmp_path / "effect.png", tmp_path / "blank.png")


# --- painting --------------------------------------------------------------------------------------------------------


def test_a_logo_is_painted_with_exact_edges_and_nothing_around(painter, logo):
    lettering = Lettering(drawing=logo, **DRAFT)
    result, layers = painter.paint(lettering, {"fill": [(painting(), 1.0)]})
    assert list(layers.by_zone) == ["fill"]
    assert np.array_equal(result.picture.alpha, painter.shape(lettering).coverage)
    assert result.picture.alpha[0].max() == 0
    assert result.record["letters"]["drawing"] == "logo.svg"
    again, _ = painter.paint(lettering, {"fill": [(painting(), 1.0)]})
    other, _ = painter.paint(replace(lettering, seed=1), {"fill": [(painting(), 1.0)]})
    assert np.array_equal(again.picture.pixels, result.picture.pixels)
    assert not np.array_equal(other.picture.pixels, result.picture.pixels)


@pytest.mark.parametrize("quality", ["draft", "good"])
def test_inside_outline_and_outside_take_their_own_styles(painter, logo, quality):
    """Each layer is of its style's colours: red, green and blue noise."""
    styles = {}
    for channel, zone in enumerate(("fill", "outline", "around")):
        tinted = 0.2 * painting(seed=channel)
        tinted[..., channel] += 0.5
        styles[zone] = [(tinted, 1.0)]
    knobs = {"steps": 2} if quality == "good" else {}
    lettering = Lettering(drawing=logo, size=96, quality=quality, knobs=knobs, legibility=0.0, outline_width=0.5)
    result, layers = painter.paint(lettering, styles)
    assert list(layers.by_zone) == ["around", "outline", "fill"]
    if quality == "good":
        for channel, zone in enumerate(("fill", "outline", "around")):
            layer = layers.by_zone[zone]
            shown = layer.pixels[layer.alpha > 0.9].mean(0)
            assert shown.argmax() == channel, zone
    assert [region["mask"] for region in result.record["regions"]] == ["outline", "around"]
    assert 0 < layers.by_zone["fill"].alpha.mean() < layers.by_zone["outline"].alpha.mean() < 1


def test_paint_around_letters_thins_out_with_the_distance_or_fills_the_picture(painter, logo):
    styles = {"fill": [(painting(), 1.0)], "around": [(painting(seed=7), 1.0)]}
    lettering = Lettering(drawing=logo, **{**DRAFT, "size": 192}, reach=2.0)
    _, layers = painter.paint(lettering, styles)
    shape = painter.shape(lettering, widest=2.0)
    alpha, width = layers.by_zone["around"].alpha, 2 * shape.stroke_radius
    bands = [
        alpha[(shape.distance < -low * width) & (shape.distance > -(low + 0.5) * width)].mean() for low in (0, 0.7, 1.4)
    ]
    assert bands[0] > 0.9
    assert bands == sorted(bands, reverse=True)
    whole, _ = painter.paint(replace(lettering, reach=0.0), styles)
    assert whole.picture.alpha is None


def test_an_example_is_put_on_other_letters(painter, logo):
    result, layers = painter.paint(Lettering(drawing=logo, **DRAFT), example(bar()))
    assert list(layers.by_zone) == ["fill"]
    assert result.picture.alpha.min() < 0.05
    assert result.record["letters"]["like"] == ("", "")


def test_what_is_stopped_is_finished_as_far_as_it_has_come(engine, logo):
    def stop(progress):
        if progress.snapshot is not None and progress.step > 0:
            raise Cancelled

    lettering = Lettering(drawing=logo, size=96, knobs={"steps": 4})
    with pytest.raises(Cancelled) as caught:
        LetterPainter(engine, on_progress=stop).paint(lettering, {"fill": [(painting(), 1.0)]})
    assert np.array_equal(caught.value.result.picture.alpha, LetterPainter(engine).shape(lettering).coverage)


@pytest.mark.parametrize(
    "values",
    [
        {"tone": "grey"},
        {"legibility": 2.0},
        {"reach": float("inf")},
        {"outline_width": 0.0},
        {"size": 10},
        {"seed": -1},
        {"text": "A"},
    ],
)
def test_letterings_that_cannot_be(logo, values):
    with pytest.raises(InputError):
        Lettering(drawing=logo, **values)


def test_sizes_and_colours_in_words():
    assert parse_size("512") == 512
    assert parse_size("1024x384") == (1024, 384)
    assert parse_color("#ff0000") == parse_color("rgb(300, 0, 0)") == (1, 0, 0)
    for parse in (parse_size, parse_color):
        with pytest.raises(InputError):
            parse("wide")


def test_a_sheet_shows_a_word_of_each_script_in_each_style():
    from impasto.bench.letters import WORDS, style_sheet

    asked = []

    def paint(word, style):
        asked.append((word, style))
        return np.full((40, 120, 3), 0.5, np.float32), f"the painting {style}"

    sheet = style_sheet(paint, ("a", "b"))
    assert len(asked) == 2 * len(WORDS)
    assert {style for _, style in asked} == {"a", "b"}
    assert sheet.shape[1] > 4 * 200
    assert 0.3 < (np.abs(sheet - 0.5) < 0.01).mean() < 0.9
