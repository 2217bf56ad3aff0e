"""What transparency hides changes nothing that can be seen."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from impasto import images
from impasto.engine.controls import Controls
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.images._fill import fill_hidden
from impasto.losses.losses import GramLoss, RegionalLoss
from impasto.models import networks
from impasto.videos import VideoReader
from tiny import noise, tiny_network

MAGENTA, BLACK = (1.0, 0.0, 1.0), (0.0, 0.0, 0.0)


def pixels_of(height, width, seed=0):
    return noise(height, width, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()


def disc(height, width):
    """Alpha: opaque in the middle, a soft edge, nothing outside."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot((rows - height / 2) / height, (columns - width / 2) / width)
    return np.clip((0.4 - distance) / 0.1, 0, 1).astype(np.float32)


def with_hidden(color, *, height=48, width=64, seed=0, alpha=None):
    """RGBA floats that look the same whatever the colour."""
    alpha = disc(height, width) if alpha is None else alpha
    pixels = pixels_of(height, width, seed)
    pixels[alpha == 0] = color
    return np.dstack([pixels, alpha])


CONTENT = pixels_of(48, 64)
STYLE, OTHER = pixels_of(64, 64, seed=1), pixels_of(72, 64, seed=2)
LEFT = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None], 48, 0)
WAYS = {
    "draft": Request(quality="draft"),
    "draft, smaller": Request(quality="draft", size=40),
    "good": Request(quality="good", knobs={"steps": 3}),
    "optimize": Request(method="optimize", knobs={"steps": 4}),
    "from the photograph": Request(method="optimize", init="content", knobs={"steps": 3}),
    "patches": Request(method="optimize", knobs={"steps": 3, "style_loss": "patches"}),
    "photorealistic": Request(method="optimize", knobs={"steps": 3, "canvas": "photorealistic"}),
    "half strength": Request(method="optimize", knobs={"steps": 3, "strength": 0.5}),
    "colours only": Request(controls=Controls(color_only=True)),
    "luminance": Request(quality="draft", controls=Controls(keep_color="luminance")),
    "histogram": Request(quality="draft", controls=Controls(keep_color="histogram")),
    "regions": Request(method="optimize", knobs={"steps": 3}, controls=Controls(regions=((LEFT, OTHER),))),
    "regions, draft": Request(quality="draft", controls=Controls(regions=((LEFT, OTHER),))),
    "strength map": Request(quality="draft", controls=Controls(strength_map=LEFT)),
}


def check_alike(paint, alpha):
    """The visible pixels of both results are the same, and alpha is what it was."""
    one, other = paint(MAGENTA).picture, paint(BLACK).picture
    assert np.array_equal(one.alpha, other.alpha)
    if alpha.shape == one.alpha.shape:
        assert np.array_equal(one.alpha, alpha)
    seen = one.alpha > 0
    assert seen.any()
    assert np.array_equal(one.pixels[seen], other.pixels[seen])


@pytest.mark.parametrize("way", WAYS)
def test_a_photograph(engine, way):
    check_alike(lambda color: engine.stylize(with_hidden(color), STYLE, WAYS[way]), disc(48, 64))


@pytest.mark.parametrize("way", ["draft", "optimize", "colours only", "histogram", "half strength"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_codes_in_tiles(engine, monkeypatch, way, dtype):
    monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 1e12)
    request = WAYS[way].__class__(**{**vars(WAYS[way]), "max_memory": 10**9})
    codes = {color: images.quantise(with_hidden(color), 8 * np.dtype(dtype).itemsize) for color in (MAGENTA, BLACK)}
    alpha = codes[BLACK][..., 3] / np.float32(np.iinfo(dtype).max)
    check_alike(lambda color: engine.stylize(codes[color], STYLE, request), alpha)


@pytest.mark.parametrize("way", ["draft", "optimize", "patches", "colours only", "histogram"])
def test_a_style_image(engine, way):
    content = pixels_of(48, 64)

    def paint(color):
        style = with_hidden(color, height=64, width=64, seed=1)
        return engine.stylize(np.dstack([content, disc(48, 64)]), [style, OTHER], WAYS[way])

    check_alike(paint, disc(48, 64))


def test_an_image_to_start_from(engine):
    def paint(color):
        request = Request(method="optimize", init=with_hidden(color, seed=5), knobs={"steps": 2})
        return engine.stylize(with_hidden(color), STYLE, request)

    check_alike(paint, disc(48, 64))


def test_mixtures(engine):
    for shares in ((1, 0), (0.5, 0.5)):
        check_alike(
            lambda color, shares=shares: next(
                engine.mix(with_hidden(color), [STYLE, OTHER], [shares], Request(quality="draft"))
            ),
            disc(48, 64),
        )


def test_a_texture(engine):
    pictures = []
    for color in (MAGENTA, BLACK):
        style = with_hidden(color, height=64, width=64, seed=1)
        pictures.append(engine.texture(style, size=64, request=Request(knobs={"steps": 2})).picture.pixels)
    assert np.array_equal(*pictures)


@pytest.mark.parametrize("painter", ["engine", "onnx"])
def test_a_trained_style(tmp_path, engine, painter):
    path = tmp_path / "net.safetensors"
    networks.Trained(tiny_network(), {"styles": ["s3"], "licences": {"s3": "CC0"}}).save(path)
    way = engine if painter == "engine" else Engine(precision="float32", runtime="onnx")
    check_alike(
        lambda color: way.stylize(with_hidden(color), [(f"{path}:s3", 1.0)], Request(quality=None)), disc(48, 64)
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_frames_of_a_film(tmp_path, bits):
    found = []
    for number, color in enumerate((MAGENTA, BLACK)):
        path = tmp_path / f"{number}.mov"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("png", rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba" if bits == 8 else "rgba64be"
            codes = images.quantise(with_hidden(color), bits)
            frame = av.VideoFrame.from_ndarray(codes, format="rgba" if bits == 8 else "rgba64le")
            container.mux([*stream.encode(frame.reformat(format=stream.pix_fmt)), *stream.encode()])
        found.append(next(iter(VideoReader(path))).pixels)
    assert np.array_equal(*found)
    assert np.abs(found[0] - with_hidden(BLACK)[..., :3])[disc(48, 64) > 0.1].max() < 0.01


# ---- statistics count by opacity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["draft", "optimize", "patches", "colours only", "histogram"])
def test_what_of_a_style_is_transparent_has_no_part_in_it(engine, way):
    """Its visible half alone, and the same with a transparent half beside it: nearly the same result."""
    half = pixels_of(64, 64, seed=1)
    wide = np.zeros((64, 128, 4), np.float32)
    wide[:, :64, :3], wide[:, :64, 3] = half, 1
    request = replace(WAYS[way], knobs={**WAYS[way].knobs, "style_scale": 2.0})
    alone = engine.stylize(CONTENT, half, replace(request, knobs={**request.knobs, "style_scale": 1.0}))
    beside = engine.stylize(CONTENT, wide, request)
    opaque = engine.stylize(CONTENT, images.read(wide).pixels, request)
    expected = np.abs(alone.picture.pixels - opaque.picture.pixels).mean()
    assert np.abs(alone.picture.pixels - beside.picture.pixels).mean() < 0.7 * expected


def test_the_style_of_what_is_seen_is_matched_not_that_of_the_whole():
    """A transparent half may not take the painting's colours upon itself."""
    seen = torch.zeros(1, 1, 32, 32)
    seen[..., :16] = 1
    features = {"relu1_1": torch.rand(1, 4, 32, 32)}
    loss = GramLoss({"relu1_1": 1.0})
    target = loss.statistics({"relu1_1": torch.rand(1, 4, 32, 32)})
    counted = RegionalLoss(loss, seen, float(seen.mean()))
    alone = loss.statistics({"relu1_1": features["relu1_1"][..., :16]})
    torch.testing.assert_close(counted.bind(target)(counted.statistics(features)), loss.bind(target)(alone))


@pytest.mark.parametrize("way", ["draft", "colours only"])
@pytest.mark.parametrize("tiled", [False, True])
def test_what_of_a_photograph_is_transparent_has_no_part_in_its_statistics(engine, monkeypatch, way, tiled):
    """With and without a transparent half, the visible half comes out nearly the same."""
    if tiled:
        monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 1e12)
    request = replace(WAYS[way], max_memory=10**9 if tiled else None, knobs={"style_scale": 0.5})
    wide = np.zeros((48, 128, 4), np.float32)
    wide[:, :64, :3], wide[:, :64, 3] = CONTENT, 1
    alone = engine.stylize(CONTENT, STYLE, replace(request, knobs={}))
    beside = engine.stylize(wide, STYLE, request)
    opaque = engine.stylize(images.read(wide).pixels, STYLE, request)
    inside = np.s_[:, :40]
    expected, found = (
        np.abs(images.as_float(alone.picture.pixels)[inside] - images.as_float(one.picture.pixels)[inside]).mean()
        for one in (opaque, beside)
    )
    assert found < 0.7 * expected


# ---- the filling itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 2), (33, 47)])
def test_any_size_is_filled_and_nothing_visible_changes(sides):
    alpha = np.random.default_rng(0).random(sides).astype(np.float32)
    alpha[alpha < 0.4] = 0
    pixels = np.random.default_rng(1).random((*sides, 3)).astype(np.float32)
    filled = fill_hidden(pixels, alpha)
    assert np.array_equal(filled[alpha > 0.4], pixels[alpha > 0.4])
    assert np.isfinite(filled).all()
    assert filled.min() >= 0 and filled.max() <= 1


def test_bands_give_what_one_piece_gives(monkeypatch):
    rgba = with_hidden(MAGENTA, height=61, width=83)
    whole = fill_hidden(rgba[..., :3], rgba[..., 3])
    monkeypatch.setattr("impasto.images._fill.BAND", 400)
    assert np.array_equal(fill_hidden(rgba[..., :3], rgba[..., 3]), whole)


def test_hidden_pixels_take_the_colour_of_the_nearest_edge():
    pixels, alpha = np.zeros((40, 80, 3), np.float32), np.zeros((40, 80), np.float32)
    pixels[:, :10], pixels[:, -10:] = (0.9, 0.2, 0.1), (0.1, 0.3, 0.8)
    alpha[:, :10] = alpha[:, -10:] = 1
    filled = fill_hidden(pixels, alpha)
    assert np.abs(filled[:, 11] - pixels[0, 0]).max() < 0.05
    assert np.abs(filled[:, -12] - pixels[0, -1]).max() < 0.05
    assert (np.diff(filled[20, :, 2]) >= -1e-6).all()  # from one to the other without a jump back


def test_an_opaque_picture_is_left_alone_and_an_invisible_one_is_grey():
    pixels = pixels_of(9, 7)
    assert fill_hidden(pixels, np.ones((9, 7), np.float32)) is pixels
    assert np.allclose(fill_hidden(pixels, np.zeros((9, 7), np.float32)), 0.5)


@pytest.mark.parametrize("bits", [8, 16])
def test_noise_of_colours_stored_premultiplied_goes_and_stays_invisible(bits):
    """A soft edge whose colours were multiplied by alpha, rounded to 8 bits, and divided again."""
    alpha = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None], 32, 0)
    true = np.broadcast_to(np.float32((0.7, 0.4, 0.2)), (32, 256, 3))
    noisy = np.clip(np.rint(255 * true * alpha[..., None]) / 255 / np.maximum(alpha[..., None], 1e-6), 0, 1)
    codes = images.quantise(np.dstack([noisy, alpha]).astype(np.float32), bits)
    picture = images.read(codes)
    faint = picture.alpha < 8 / 255
    assert np.abs(picture.pixels - true)[faint].max() < 0.5 * np.abs(noisy - true)[faint].max()
    own = images.as_float(codes[..., :3])
    assert np.abs((picture.pixels - own) * picture.alpha[..., None]).max() <= 1.001 / 255


def test_a_picture_made_smaller_has_no_fringe():
    for color in (MAGENTA, BLACK):
        rgba = np.empty((64, 64, 4), np.float32)
        rgba[...] = (*color, 0)
        rgba[16:48, 16:48] = (0.2, 0.6, 0.3, 1)
        small = images.read(rgba).resized(23, 23)
        assert np.abs(small.pixels[small.alpha > 0.01] - (0.2, 0.6, 0.3)).max() < 1e-3
