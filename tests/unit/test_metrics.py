"""Measures of pictures and sets, against closed forms and independent implementations."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import skimage.filters
import skimage.metrics
import torch
import torchmetrics.functional.image.lpips as their_lpips
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from impasto import images, metrics
from impasto.contract import STYLE_LAYERS, Placement
from impasto.errors import InputError
from impasto.metrics import METRICS, Judge, _networks, _pixels, _sets, _style, unmeasurable
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from tiny import noise

KEYS = {
    *("ssim", "ms_ssim", "lpips_vgg", "lpips_alex", "content_error", "style_distance", "moment_distance"),
    *("sliced_wasserstein", "histogram_distance", "edge_preservation", "sharpness", "checkerboard", "weave"),
    *("style_distance_large", "stroke_distance", "layout", "photo_residue", "grain_ratio"),
    *("fid", "kid", "artfid", "warping_error_1", "warping_error_10", "flicker", "drift"),
    *(f"style_distance_{layer}" for layer in STYLE_LAYERS),
}


def picture(height=170, width=190, seed=0, grain=0.1):
    """A smooth picture with some grain, `(H, W, 3)`."""
    smooth = noise(height, width, seed=seed)[0].permute(1, 2, 0).numpy()
    rng = np.random.default_rng(seed)
    return np.clip(smooth + grain * rng.standard_normal(smooth.shape), 0, 1).astype(np.float32)


# The table


def test_the_table_has_the_keys_of_the_json():
    assert set(METRICS) == KEYS
    for name, row in METRICS.items():
        assert row.name == name
        assert row.direction in ("lower", "higher", "none")
        assert row.kind in ("picture", "set", "video")
        assert all((row.summary, row.range, row.source, row.weakness, row.compares))


def test_every_measure_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    for name, row in METRICS.items():
        lines = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert len(lines) == 1, name
        better = {"lower": "lower", "higher": "higher", "none": "neither"}[row.direction]
        assert f"| {better} |" in lines[0], name
        assert row.range in lines[0], name


def test_names_are_checked():
    assert metrics.check_names(["ssim", "ssim"], ["picture"]) == ("ssim",)
    with pytest.raises(InputError, match="no measure 'sim'") as caught:
        metrics.check_names(["sim"], ["picture"])
    assert caught.value.hint.startswith("did you mean ssim?")
    with pytest.raises(InputError, match="drift measures videos"):
        metrics.check_names(["drift"], ["picture"])
    with pytest.raises(InputError, match="no measure was named"):
        metrics.check_names([], ["picture"])


# Pixels


def tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double()


@pytest.mark.parametrize(("grain", "size"), [(0.02, (170, 190)), (0.3, (175, 181))])
def test_ssim_agrees_with_two_others(grain, size):
    first, second = picture(*size), picture(*size, grain=grain)
    ours = _pixels.ssim(first, second)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = skimage.metrics.structural_similarity(
        first.astype(np.float64), second.astype(np.float64), channel_axis=2, data_range=1, **options
    )
    assert ours == pytest.approx(theirs, abs=1e-6)
    _, full = structural_similarity_index_measure(tensor(first), tensor(second), data_range=1.0, return_full_image=True)
    # torchmetrics averages over windows that reach beyond the border too; Wang's own code and scikit-image do not
    assert ours == pytest.approx(full[..., 5:-5, 5:-5].mean().item(), abs=1e-6)


def test_ms_ssim_agrees_with_another():
    first, second = picture(201, 186), picture(201, 186, grain=0.2)
    a, b, expected = tensor(first).float(), tensor(second).float(), 1.0
    options = {"data_range": 1.0, "sigma": 1.5}
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        _, contrast = structural_similarity_index_measure(a, b, return_contrast_sensitivity=True, **options)
        _, full = structural_similarity_index_measure(a, b, return_full_image=True, **options)
        expected *= (full[..., 5:-5, 5:-5].mean() if scale == 4 else contrast).item() ** exponent
        a, b = (torch.nn.functional.avg_pool2d(image, 2) for image in (a, b))
    ours = _pixels.ms_ssim(first, second)
    assert ours == pytest.approx(expected, abs=1e-5)
    # torchmetrics' own differs at the coarsest scale only, where it counts the border
    theirs = multiscale_structural_similarity_index_measure(
        tensor(first).float(), tensor(second).float(), data_range=1.0
    )
    assert ours == pytest.approx(theirs.item(), abs=0.01)


def test_similarity_of_equals_is_one_and_small_pictures_are_refused():
    first = picture()
    assert _pixels.ssim(first, first) == pytest.approx(1)
    assert _pixels.ms_ssim(picture(176, 180), picture(176, 180)) == pytest.approx(1)
    with pytest.raises(InputError, match="ms_ssim needs at least 176 px a side and got 190x170"):
        _pixels.ms_ssim(first, first)
    with pytest.raises(InputError, match="ssim needs at least 11 px"):
        _pixels.ssim(first[:10], first[:10])


def test_histogram_distance_in_known_cases():
    black, white = np.zeros((8, 8, 3), np.float32), np.ones((4, 6, 3), np.float32)
    half = black.copy()
    half[:4] = 1
    assert _pixels.histogram_distance(black, black) == 0
    assert _pixels.histogram_distance(black, white) == 1
    assert _pixels.histogram_distance(half, black) == pytest.approx((1 - 0.5**0.5) ** 0.5)
    first = picture(40, 40)
    shuffled = np.random.default_rng(0).permutation(first.reshape(-1, 3)).reshape(first.shape)
    assert _pixels.histogram_distance(first, shuffled) == pytest.approx(0, abs=1e-6)
    # a third of a bin moves a third of the weight
    nudged = np.full_like(black, 1 / 45)
    assert _pixels.histogram_distance(black, nudged) == pytest.approx((1 - (2 / 3) ** 1.5) ** 0.5, abs=1e-4)


def test_edges():
    first, second = picture(), picture(seed=3)
    grey = [image.astype(np.float64) @ [0.2126, 0.7152, 0.0722] for image in (first, second)]
    sobel = [skimage.filters.sobel(image)[1:-1, 1:-1].ravel() for image in grey]
    assert _pixels.edge_preservation(first, second) == pytest.approx(np.corrcoef(*sobel)[0, 1], abs=1e-9)
    assert _pixels.edge_preservation(first, first) == pytest.approx(1)
    assert _pixels.edge_preservation(first, 1 - first) == pytest.approx(1)
    assert _pixels.edge_preservation(first, np.full_like(first, 0.5)) == 0


def high_pass(grey, sigma):
    """By SciPy, in full precision."""
    return grey - scipy.ndimage.gaussian_filter(grey, sigma, mode="mirror", radius=4 * sigma)


def test_photo_residue_is_the_correlation_of_fine_detail():
    first, second = picture(), picture(seed=3)
    mixed = (0.3 * first + 0.7 * second).astype(np.float32)
    fine = [high_pass(image.astype(np.float64) @ [0.2126, 0.7152, 0.0722], 2).ravel() for image in (first, mixed)]
    assert _pixels.photo_residue(first, mixed) == pytest.approx(np.corrcoef(*fine)[0, 1], abs=1e-9)
    assert 0.2 < _pixels.photo_residue(first, mixed) < 0.6
    assert _pixels.photo_residue(first, first) == pytest.approx(1)
    assert _pixels.photo_residue(first, np.full_like(first, 0.5)) == 0


def test_photo_residue_sees_a_tint_as_the_photograph_and_a_blur_as_none_of_it():
    photo = picture()
    tinted = (0.2 + 0.5 * photo * [1.0, 0.8, 0.6]).astype(np.float32)
    assert _pixels.photo_residue(photo, tinted) > 0.95
    blurred = scipy.ndimage.gaussian_filter(photo, (3, 3, 0))
    assert _pixels.photo_residue(photo, blurred) < 0.4


def test_photo_residue_is_fooled_as_its_row_says():
    photo = picture(grain=0.05)
    grain = np.random.default_rng(1).standard_normal(photo.shape)
    noisy = (scipy.ndimage.gaussian_filter(photo, (3, 3, 0)) + 0.05 * grain).astype(np.float32)
    assert abs(_pixels.photo_residue(photo, noisy)) < 0.2
    assert abs(_pixels.photo_residue(photo, np.roll(photo, (2, 2), (0, 1)))) < 0.2
    assert _pixels.photo_residue(photo, 1 - photo) == pytest.approx(-1)


def test_grain_ratio_is_of_what_a_blur_takes_away():
    ours, theirs = picture(grain=0.05), picture(120, 150, seed=3, grain=0.1)
    grain = [
        np.abs(high_pass(image.astype(np.float64) @ [0.2126, 0.7152, 0.0722], 1)).mean() for image in (ours, theirs)
    ]
    assert _pixels.grain_ratio(ours, theirs) == pytest.approx(grain[0] / grain[1], rel=1e-9)
    assert 0.4 < _pixels.grain_ratio(ours, theirs) < 0.7
    flat = np.full_like(ours, 0.5)
    assert _pixels.grain_ratio(flat, theirs) == pytest.approx(0, abs=1e-9)
    assert _pixels.grain_ratio(ours, flat) == pytest.approx(grain[0] / 1e-4)


def test_sharpness_is_the_variance_of_the_laplacian():
    first = picture()
    grey = first.astype(np.float64) @ [0.2126, 0.7152, 0.0722]
    assert _pixels.sharpness(first) == pytest.approx(1000 * scipy.ndimage.laplace(grey)[1:-1, 1:-1].var())
    assert _pixels.sharpness(np.full_like(first, 0.3)) == 0


def board(size=192, period=2):
    rows, columns = np.indices((size, size)) // (period // 2)
    return ((rows + columns) % 2 - 0.5).astype(np.float32)[..., None]


@pytest.mark.parametrize("period", [2, 4])
def test_checkerboards_are_seen(period):
    plain = picture(192, 192, grain=0.02)
    assert _pixels.checkerboard(plain) < 0.02
    assert _pixels.checkerboard(np.repeat(board(period=period) + 0.5, 3, axis=2)) > 0.95
    values = [_pixels.checkerboard(plain + amount * board(period=period)) for amount in (0.02, 0.05, 0.2)]
    assert 0.1 < values[0] < values[1] < values[2]


def test_what_is_no_checkerboard_is_not_taken_for_one():
    rng = np.random.default_rng(0)
    assert _pixels.checkerboard(rng.random((192, 192, 3), np.float32)) < 0.02
    edge = np.zeros((192, 192, 3), np.float32)
    edge[:, 90:] = 1
    edge[70:] = 0.4
    assert _pixels.checkerboard(edge) < 0.02
    with pytest.raises(InputError, match="checkerboard needs at least 64 px"):
        _pixels.checkerboard(edge[:60])


def test_an_upsampling_that_leaves_holes_is_seen_even_where_its_sign_changes():
    small = picture(96, 96)[..., :1] - 0.5  # of both signs
    holes = np.zeros((192, 192, 1), np.float32)
    holes[::2, ::2] = small
    holes, smooth = (np.repeat(image + 0.5, 3, axis=2) for image in (holes, small.repeat(2, 0).repeat(2, 1)))
    assert _pixels.checkerboard(holes) > 10 * _pixels.checkerboard(smooth)


def slow_weave(pixels):
    """`weave` wave by wave: each as a sum over a patch, with no fast transform and no arrays of spectra."""
    grey = pixels.astype(np.float64) @ [0.2126, 0.7152, 0.0722]
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)] * 2)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(64), np.arange(64)) / 64)
    patches = [
        (grey[top : top + 64, left : left + 64] - grey[top : top + 64, left : left + 64].mean()) * window
        for top in range(0, len(grey) - 63, 32)
        for left in range(0, len(grey[0]) - 63, 32)
    ]
    powers = [abs(waves @ patch @ waves.T) ** 2 for patch in patches]
    fine = [(a, b) for a in range(64) for b in range(64) if max(min(a, 64 - a), min(b, 64 - b)) >= 7]
    powers.sort(key=lambda power: sum(power[at] for at in fine))
    power = sum(powers[: -(-len(powers) // 4)])
    excess = 0
    for a, b in itertools.product(range(0, 64, 8), repeat=2):
        if a or b:
            near, far = (-1, 0, 1), (-5, -4, -3, 3, 4, 5)
            peak = sum(power[(a + i) % 64, (b + j) % 64] for i in near for j in near)
            along = sum(power[(a + i) % 64, (b + j) % 64] for i in near for j in far) / 6
            across = sum(power[(a + i) % 64, (b + j) % 64] for i in far for j in near) / 6
            excess += max(0, peak - 3 * max(along, across))
    return excess / sum(power[at] for at in fine)


def half_flat(amount, period=8):
    """Strong strokes on the left, and on the right a flat place with a grid; `(128, 256, 3)`."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((128, 256))
    values = 0.5 + 0.004 * rng.standard_normal((128, 256))
    values += amount * (np.cos(2 * np.pi * rows / period) + np.cos(2 * np.pi * columns / period))
    values[:, :128] += 0.15 * scipy.ndimage.gaussian_filter(rng.standard_normal((128, 128)), 0.7)
    return np.repeat(values.astype(np.float32)[..., None], 3, axis=2)


@pytest.mark.parametrize("pixels", [half_flat(0.01), picture(100, 140, grain=0.02), half_flat(0)])
def test_weave_is_that_of_sums_wave_by_wave(pixels):
    assert _pixels.weave(pixels) == pytest.approx(slow_weave(pixels), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_faint_weave_is_seen_where_a_picture_is_flat(period):
    values = [_pixels.weave(half_flat(amount, period)) for amount in (0, 0.001, 0.002, 0.01)]
    assert values[0] < 0.01
    assert values[0] + 0.01 < values[1] < values[2] < values[3]
    assert values[3] > 0.6
    assert _pixels.checkerboard(half_flat(0.01, period)) < 0.15, "strokes drown it for the eye that takes all together"


def test_noise_edges_and_other_periods_are_no_weave():
    rng = np.random.default_rng(0)
    assert _pixels.weave(rng.random((192, 192, 3), np.float32)) < 0.02
    assert _pixels.weave(half_flat(0.01, period=6.3)) < 0.05
    edge = np.zeros((192, 192, 3), np.float32)
    edge[:, 90:] = 1
    edge[70:] = 0.4
    assert _pixels.weave(edge) < 0.02
    assert _pixels.weave(np.full((64, 64, 3), 0.5, np.float32)) == 0


# Features


def maps(shape, seed=0, layers=STYLE_LAYERS):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.rand(1, *shape, generator=generator) for layer in layers}


def test_statistics_ignore_places():
    ours = maps((6, 8, 9))
    turned = {layer: tensor.flip(2, 3) for layer, tensor in ours.items()}
    assert max(_style.gram_distances(ours, turned).values()) == pytest.approx(0, abs=1e-10)
    assert _style.moment_distance(ours, turned) == pytest.approx(0, abs=1e-10)
    assert _style.sliced_wasserstein(ours, turned) == pytest.approx(0, abs=1e-10)


def test_an_empty_map_is_at_distance_one():
    ours = maps((6, 8, 9))
    empty = {layer: torch.zeros_like(tensor) for layer, tensor in ours.items()}
    assert list(_style.gram_distances(empty, ours).values()) == pytest.approx([1] * 5)
    assert _style.moment_distance(empty, ours) == pytest.approx(1, abs=0.01)  # the deviation's epsilon
    assert _style.sliced_wasserstein(empty, ours) == pytest.approx(1)
    assert _style.content_error(empty, ours) == pytest.approx(1)


def test_moment_distance_of_known_moments():
    def with_moments(mean, deviation):
        signs = torch.tensor([1.0, -1.0]).repeat(8).reshape(1, 1, 4, 4)
        return dict.fromkeys(STYLE_LAYERS, mean + deviation * signs)

    distance = _style.moment_distance(with_moments(3.0, 1.0), with_moments(2.0, 0.5))
    assert distance == pytest.approx((1 + 0.25) / (4 + 0.25), rel=1e-4)


def test_sliced_wasserstein_of_a_shift():
    line = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))  # one channel: every direction is +-1
    assert _style.wasserstein_of(line + 0.3, line) == pytest.approx((0.09 / line.square().mean()).item(), rel=1e-5)
    cloud = torch.randn(1, 12, 30, 30, generator=torch.Generator().manual_seed(0))
    shift = torch.zeros(1, 12, 1, 1)
    shift[0, 4] = 2.0
    # a random direction takes |v|^2 / C of the shift on average; the cloud's own mean square is about 1
    assert _style.wasserstein_of(cloud + shift, cloud) == pytest.approx(4 / 12, rel=0.4)
    assert _style.wasserstein_of(cloud[..., :15], cloud) < 0.01  # of another size


def drawn(count, most):
    """The places that a measure looks at, by its definition."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()[:most]


def test_stroke_distance_is_that_of_the_nearest_place(monkeypatch):
    monkeypatch.setattr(_style, "STROKES", 30)
    monkeypatch.setattr(_style, "PAINTED_STROKES", 50)
    monkeypatch.setattr(_style, "_CHUNK", 7)
    ours, theirs = maps((6, 8, 9)), maps((6, 11, 7), seed=1)
    expected = []
    for layer in ("relu2_1", "relu3_1", "relu4_1"):
        mine, other = (features[layer][0].double().numpy().reshape(6, -1) for features in (ours, theirs))
        for place in drawn(72, 30):
            vector = mine[:, place]
            cosines = [
                vector @ other[:, at] / np.linalg.norm(vector) / np.linalg.norm(other[:, at]) for at in drawn(77, 50)
            ]
            expected.append(1 - max(cosines))
    assert _style.stroke_distance(ours, theirs) == pytest.approx(np.mean(expected), rel=1e-5)
    assert _style.stroke_distance(ours, ours) == pytest.approx(0, abs=1e-6)
    monkeypatch.setattr(_style, "STROKES", 9)  # fewer of ours than of theirs are still among them
    assert _style.stroke_distance(ours, ours) == pytest.approx(0, abs=1e-6)
    monkeypatch.setattr(_style, "_CHUNK", 100)
    assert _style.stroke_distance(ours, theirs) == pytest.approx(np.mean(expected), rel=0.5)


def test_stroke_distance_never_holds_all_cosines(monkeypatch):
    widest = []
    amax = torch.Tensor.amax
    monkeypatch.setattr(
        torch.Tensor, "amax", lambda cosines, *at: (widest.append(cosines.shape), amax(cosines, *at))[1]
    )
    _style.nearest_distance(torch.rand(1, 3, 100, 90), torch.rand(1, 3, 100, 120))
    assert set(widest) == {(500, 9000)}
    assert len(widest) == 6


def test_layout_by_loops():
    ours, wanted = maps((5, 4, 6)), maps((5, 4, 6), seed=1)

    def distances(tensor):
        places = tensor[0].double().numpy().reshape(5, -1)[:, drawn(24, 1024)].T
        lengths = [np.linalg.norm(place) for place in places]
        table = np.empty((24, 24))
        for i, j in np.ndindex(24, 24):
            table[i, j] = 1 - places[i] @ places[j] / lengths[i] / lengths[j]
        return table / [sum(table[:, j]) for j in range(24)]

    expected = []
    for layer in ("relu4_1", "relu5_1"):
        found, target = distances(ours[layer]), distances(wanted[layer])
        expected.append(((found - target) ** 2).sum() / ((target - 1 / 24) ** 2).sum())
    assert _style.layout(ours, wanted) == pytest.approx(np.mean(expected), rel=1e-4)
    assert _style.layout(wanted, wanted) == 0
    louder = {layer: 3 * tensor for layer, tensor in wanted.items()}
    assert _style.content_error(louder, wanted) == pytest.approx(4)
    assert _style.layout(louder, wanted) == pytest.approx(0, abs=1e-5)


class Nothing:
    """A store that holds nothing: asking it is an error."""

    def path(self, *_):
        raise AssertionError("weights were asked for")


def test_only_the_networks_that_are_needed_are_loaded():
    names = ["ssim", "edge_preservation", "histogram_distance", "sharpness", "checkerboard"]
    names += ["photo_residue", "grain_ratio", "weave"]
    first = picture(64, 96)
    found = Judge(store=Nothing()).measure(first, picture(80, 70, seed=1), first, names)
    assert list(found) == names
    assert found["ssim"] == pytest.approx(1)
    with pytest.raises((AssertionError, AttributeError, TypeError)):
        Judge(store=Nothing()).measure(first, first, first, ["lpips_alex"])


def test_judge_scores_as_defined(tiny_weights):
    content, style, pastiche = picture(48, 64), picture(60, 40, seed=1), picture(30, 33, seed=2)
    judge = Judge(tiny_weights["vgg19-normalised"])
    scores = judge.scores(content, style, pastiche)
    found = judge.measure(content, style, pastiche, ["content_error", *(f"style_distance_{x}" for x in STYLE_LAYERS)])
    assert scores.style_distance == pytest.approx(np.mean([found[f"style_distance_{x}"] for x in STYLE_LAYERS]))
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    resized = [images.resize(content, 384, 512), images.resize(style, 512, 341), images.resize(pastiche, 384, 512)]
    photo, painting, ours = (encoder(images.to_tensor(pixels), STYLE_LAYERS) for pixels in resized)
    wanted = photo["relu4_1"].double()
    error = (ours["relu4_1"].double() - wanted).square().sum() / wanted.square().sum()
    assert scores.content_error == pytest.approx(error.item(), rel=1e-4)
    flat, target = (features["relu2_1"][0].flatten(1).double() for features in (ours, painting))
    gram, aim = flat @ flat.T / flat.shape[1], target @ target.T / target.shape[1]
    distance = (gram - aim).square().sum() / aim.square().sum()
    assert found["style_distance_relu2_1"] == pytest.approx(distance.item(), rel=1e-4)
    assert scores.stroke_distance == pytest.approx(_style.stroke_distance(ours, painting))
    assert scores.layout == pytest.approx(_style.layout(ours, photo))
    assert scores.photo_residue == pytest.approx(_pixels.photo_residue(resized[0], resized[2]))
    assert scores.grain_ratio == pytest.approx(_pixels.grain_ratio(resized[2], resized[1]))


def test_large_strokes_are_looked_at_in_smaller_pictures(tiny_weights):
    style, pastiche = picture(300, 200, seed=1), picture(150, 330, seed=2)
    encoder = Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())
    at_512 = [images.resize(style, 512, 341), images.resize(pastiche, 233, 512)]
    expected = []
    for sizes in (((256, 170), (116, 256)), ((128, 85), (58, 128))):
        smaller = [images.resize(pixels, *size) for pixels, size in zip(at_512, sizes, strict=True)]
        theirs, ours = (encoder(images.to_tensor(pixels), STYLE_LAYERS) for pixels in smaller)
        for layer in STYLE_LAYERS:
            flat, aim = (features[layer][0].flatten(1).double() for features in (ours, theirs))
            gram, wanted = flat @ flat.T / flat.shape[1], aim @ aim.T / aim.shape[1]
            expected.append(((gram - wanted).square().sum() / wanted.square().sum()).item())
    judge = Judge(tiny_weights["vgg19-normalised"])
    found = judge.measure(pastiche, style, pastiche, ["style_distance_large"])["style_distance_large"]
    assert found == pytest.approx(np.mean(expected), rel=1e-3)
    assert judge.measure(style, style, style, ["style_distance_large"])["style_distance_large"] < 1e-9
    narrow = picture(40, 600)  # 17 px at 256 would be too few for relu5_1
    assert judge.measure(narrow, style, narrow, ["style_distance_large"])["style_distance_large"] > 0


def torchvision_like(net):
    """The layers as torchvision orders them, random."""
    plan = {
        "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
        "alexnet": ((64, 11, 4, 2), "P", (192, 5, 1, 2), "P", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "P"),
    }[net]
    torch.manual_seed(0)
    layers, inputs = [], 3
    for item in plan:
        if isinstance(item, str):
            layers.append(torch.nn.MaxPool2d(2 if item == "M" else 3, 2))
            continue
        outputs, *shape = item if isinstance(item, tuple) else (item, 3, 1, 1)
        layers += [torch.nn.Conv2d(inputs, outputs, *shape), torch.nn.ReLU()]
        inputs = outputs
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize(("net", "short", "size"), [("vgg16", "vgg", (33, 40)), ("alexnet", "alex", (67, 83))])
def test_lpips_agrees_with_another(net, short, size, monkeypatch):
    backbone = torchvision_like(net)
    monkeypatch.setattr(their_lpips, "_get_tv_model_features", lambda *_, **__: backbone)
    theirs = their_lpips._LPIPS(net=short)
    convolutions = [layer for layer in backbone if isinstance(layer, torch.nn.Conv2d)]
    weights = {f"conv{n}.weight": layer.weight.detach() for n, layer in enumerate(convolutions, 1)}
    weights |= {f"conv{n}.bias": layer.bias.detach() for n, layer in enumerate(convolutions, 1)}
    weights |= {f"head{n}.weight": head.model[-1].weight.detach().flatten() for n, head in enumerate(theirs.lins, 1)}
    ours = _networks.Lpips(net, weights)
    first, second = noise(*size, batch=2), noise(*size, seed=1, batch=2)
    with torch.inference_mode():
        expected = theirs(first, second, normalize=True).flatten()
        assert torch.allclose(ours(first, second), expected, rtol=1e-3, atol=1e-7)
        assert ours(first, first).tolist() == [0, 0]


# Sets


def test_frechet_distance_of_two_gaussians():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 2, (50_000, 1)), rng.normal(4, 0.5, (40_000, 1))
    assert _sets.frechet_distance(first, second) == pytest.approx(9 + 1.5**2, rel=0.02)
    spread = (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert _sets.frechet_distance(first, second) == pytest.approx((first.mean() - second.mean()) ** 2 + spread)


@pytest.mark.parametrize("counts", [(60, 70), (9, 70), (8, 9)])  # full rank, one that lacks it, both
def test_frechet_distance_agrees_with_matrix_roots(counts):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    first, second = rng.normal(size=(counts[0], 12)) @ mixing, 0.3 + rng.normal(size=(counts[1], 12))
    ours = _sets.frechet_distance(first, second)
    moments = [(torch.from_numpy(x.mean(0)), torch.from_numpy(np.cov(x, rowvar=False))) for x in (first, second)]
    assert ours == pytest.approx(_compute_fid(*moments[0], *moments[1]).item(), rel=1e-5)
    if min(counts) > 12:
        root = scipy.linalg.sqrtm(np.cov(first, rowvar=False) @ np.cov(second, rowvar=False))
        traces = np.trace(np.cov(first, rowvar=False) + np.cov(second, rowvar=False) - 2 * root.real)
        assert ours == pytest.approx(((first.mean(0) - second.mean(0)) ** 2).sum() + traces, rel=1e-6)
    assert _sets.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_and_agrees_with_another():
    rng = np.random.default_rng(0)
    draws = [_sets.kernel_distance(rng.normal(size=(10, 6)), rng.normal(size=(12, 6))) for _ in range(1500)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / len(draws) ** 0.5
    assert np.mean(draws) < 0.1 * np.std(draws)
    first, second = rng.normal(size=(20, 6)), rng.normal(1, 2, size=(20, 6))
    kernels = [torch.from_numpy((a @ b.T / 6 + 1) ** 3) for a, b in ((first, first), (first, second), (second, second))]
    assert _sets.kernel_distance(first, second) == pytest.approx(poly_from(*kernels), rel=1e-9)
    theirs = poly_mmd(torch.from_numpy(first), torch.from_numpy(second)).item()
    assert _sets.kernel_distance(first, second) == pytest.approx(theirs, rel=1e-6)


def poly_from(xx, xy, yy):
    """The unbiased estimate by loops."""
    count = len(xx)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    own = sum((xx[i, j] + yy[i, j]).item() for i, j in pairs) / (count * (count - 1))
    return own - 2 * xy.mean().item()


def test_art_fid():
    assert _sets.art_fid(0, 0) == 1
    assert _sets.art_fid(0.5, 20) == pytest.approx(31.5)


def test_too_few_pictures_say_how_many_are_needed():
    with pytest.raises(InputError, match=r"at least 128 pictures in each set, and 2,048") as caught:
        metrics.check_counts(["artfid"], 200, 20)
    assert "kid" in caught.value.hint
    with pytest.raises(InputError, match="KID needs at least 10"):
        metrics.check_counts(["kid"], 3, 100)
    metrics.check_counts(["kid"], 10, 10)
    metrics.check_counts(["fid", "artfid"], 128, 128)
    notes = metrics.set_notes(["fid", "artfid"], 128, 3000)
    assert "FID of 128 pictures is biased" in notes[0]
    assert "plain Inception" in notes[1]
    assert metrics.set_notes(["kid"], 10, 10) == ()


def test_sets_are_measured_by_their_vectors(monkeypatch):
    judge = Judge(store=Nothing())
    rng = np.random.default_rng(0)
    table = {name: rng.normal(size=(128, 20)) for name in ("styles", "pastiches")}
    monkeypatch.setattr(judge, "vectors", lambda pictures, *_: table[pictures[0]])
    monkeypatch.setattr(judge, "_mean_lpips", lambda *_: 0.25)
    found = judge.measure_set(["contents"] * 128, ["styles"] * 128, ["pastiches"] * 128)
    assert list(found) == ["fid", "kid", "artfid"]
    assert found["fid"] == pytest.approx(_sets.frechet_distance(table["pastiches"], table["styles"]))
    assert found["artfid"] == pytest.approx(1.25 * (1 + found["fid"]))


def test_inception_needs_its_size():
    weights = {"conv.weight": torch.ones(1, 3, 3, 3)} | {
        f"conv.{part}": torch.ones(1) for part in ("beta", "mean", "var")
    }
    network = _networks.Inception(weights)
    # folded: w / sqrt(v + e) x + b - m / sqrt(v + e)
    assert network._weights["conv"][0, 0, 0, 0].item() == pytest.approx(1.001**-0.5)
    assert network._biases["conv"].item() == pytest.approx(1 - 1.001**-0.5)
    with pytest.raises(AssertionError):
        network(torch.zeros(1, 3, 64, 64))


def test_measures_that_a_picture_is_too_small_for_are_named_and_their_least_sides_are_the_true_ones():
    reasons = unmeasurable((60, 16), (60, 40))
    assert reasons == {
        "ms_ssim": "needs 176 px a side, and there are 512x137 at longest side 512",
        "checkerboard": "needs 64 px a side, and there are 60x40",
        "weave": "needs 64 px a side, and there are 60x40",
    }
    for name, function in (
        ("ssim", _pixels.ssim),
        ("ms_ssim", _pixels.ms_ssim),
        ("checkerboard", _pixels.checkerboard),
        ("weave", _pixels.weave),
    ):
        least = METRICS[name].least_side
        enough, too_small = np.zeros((least, least, 3), np.float32), np.zeros((least - 1, least, 3), np.float32)
        function(*[enough] * (1 if name in ("checkerboard", "weave") else 2))
        with pytest.raises(InputError, match=f"at least {least} px"):
            function(*[too_small] * (1 if name in ("checkerboard", "weave") else 2))
