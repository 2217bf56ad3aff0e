"""What `optimize` can be asked for: every loss, encoder and canvas paints, and honours strength and regions."""

import pytest
import torch

from impasto import images, settings
from impasto.contract import Guide, Job, Placement, Region, Style, StyleImage
from impasto.errors import Cancelled, InputError
from impasto.losses.losses import GramLoss
from impasto.methods import recipes, registry
from impasto.methods.optimize import levels, start
from impasto.methods.optimize.balances import CONTENT_BALANCE, STYLE_BALANCE, content_share
from impasto.methods.optimize.method import Optimize
from impasto.methods.optimize.objectives import style_loss
from impasto.methods.optimize.regions import painting_strengths
from impasto.methods.optimize.start import start_image
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import ARCHITECTURES, VGG19
from impasto.ops.tiles import as_float, resample
from tiny import noise, style_of, tiny_encoder_weights

LOSSES = ("gram", "moments", "wasserstein", "sliced", "patches")


@pytest.fixture(scope="module")
def stylizer():
    return Optimize({"vgg19-normalised": tiny_encoder_weights()}, Placement())


def knobs_of(**changes):
    return OptimizeKnobs(**{"steps": 12, "init": "content", "coarsest": 32, **changes})


def paint(stylizer, content, knobs, *, guide=None, on_progress=None, seeds=(7,)):
    style = style_of(noise(64, 48, seed=seeds[0]), tuple(content.shape[2:]))
    if len(seeds) > 1:
        style = type(style)(
            tuple(style_of(noise(64, 48, seed=seed)).images[0] for seed in seeds), tuple(content.shape[2:])
        )
    jobs = [Job(stylizer.encode_style(style, knobs), knobs, guide or Guide())]
    return stylizer.stylize(content, jobs, *([on_progress] if on_progress else []))


def last_losses(stylizer, knobs, **how):
    seen = []
    paint(stylizer, noise(48, 64), knobs, on_progress=seen.append, **how)
    first = next(progress.losses for progress in seen if progress.losses)
    return first, seen[-1].losses


def test_every_choice_has_a_balance():
    choices = {knob.name: knob.choices for knob in settings.knobs_of(OptimizeKnobs)}
    assert choices["style_loss"] == LOSSES
    assert set(STYLE_BALANCE) == set(LOSSES)
    assert set(CONTENT_BALANCE) == set(choices["content_loss"])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kept", ["features", "similarity"])
def test_every_loss_is_descended(stylizer, loss, kept):
    first, last = last_losses(stylizer, knobs_of(style_loss=loss, content_loss=kept))
    assert last["style"] < 0.9 * first["style"]
    assert set(last) == {"content", "style", "tv", "total", "seconds"}


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_knows_strength(stylizer, loss):
    content = noise(48, 64)
    changes = [
        (paint(stylizer, content, knobs_of(style_loss=loss, strength=s)) - content).abs().mean() for s in (0.2, 0.6, 1)
    ]
    assert changes == sorted(changes)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_knows_regions_and_strength_maps(stylizer, loss):
    content, knobs = noise(48, 96), knobs_of(style_loss=loss, steps=4)
    left = torch.zeros(1, 1, 48, 96)
    left[..., :48] = 1
    codes = [stylizer.encode_style(style_of(noise(64, 48, seed=seed), (48, 96)), knobs) for seed in (7, 8)]

    def painted(one, two, strength=None):
        regions = (Region(left, one), Region(1 - left, two))
        return stylizer.stylize(content, [Job(codes[0], knobs, Guide(regions=regions, strength=strength))])

    both, same = painted(*codes), painted(codes[0], codes[0])
    assert (both - same)[..., 72:].abs().mean() > 1e-4
    weak = torch.full((1, 1, 48, 96), 1.0)
    weak[..., 80:] = 0
    assert torch.equal(painted(*codes, weak)[..., 80:], content[..., 80:])


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "patches"])  # which may take all of one style
def test_a_mixture_of_styles_lies_between_them(stylizer, loss):
    content, knobs = noise(48, 64), knobs_of(style_loss=loss)
    one, two, both = (paint(stylizer, content, knobs, seeds=seeds) for seeds in ((7,), (8,), (7, 8)))
    apart = (one - two).abs().mean()
    assert (both - one).abs().mean() < apart
    assert (both - two).abs().mean() < apart


def test_outlines_can_be_held(stylizer):
    """A weight on the photograph's Laplacian lowers what is lost of it."""
    kept = [last_losses(stylizer, knobs_of(laplacian_weight=weight))[1]["laplacian"] / weight for weight in (0.01, 20)]
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.parametrize("name", ["squeezenet", "efficientnet-lite0", "vgg16", "resnet18", "mobilenet-v2"])
def test_every_class_of_encoder_paints(name):
    from unit.test_encoders import random_weights

    row = ARCHITECTURES[name]
    stylizer = Optimize({row.asset or f"{name}:mine.safetensors": random_weights(row)}, Placement())
    knobs = knobs_of(style_layers=row.style_layers, content_layers=row.content_layers, steps=3)
    content = noise(40, 56)
    painted = paint(stylizer, content, knobs)
    assert painted.shape == content.shape
    assert (painted - content).abs().mean() > 1e-3


def test_an_encoder_brings_its_own_layers():
    (stage,) = recipes.plan("optimize", "good", {"encoder": "squeezenet", "init": "content"})
    assert stage.knobs.style_layers == ARCHITECTURES["squeezenet"].style_layers
    assert stage.method.needs(stage.knobs) == ("squeezenet",)
    for other in ("squeezenet", "vgg16"):  # from the photograph they end in grain
        drafted, last = recipes.plan("optimize", "good", {"encoder": other})
        assert (drafted.method.name, last.knobs.init) == ("adain", "draft")
    (stage,) = recipes.plan("optimize", "good", {"init": "content"})
    assert stage.method.needs(stage.knobs) == ("vgg19-normalised",)
    assert registry.find("adain").needs(registry.find("adain").load_knobs()()) == registry.find("adain").assets


def test_a_smaller_encoder_is_less_work():
    def work(**knobs):
        return Optimize.passes(512, 512, recipes.plan("optimize", "good", knobs)[-1].knobs)

    assert work(encoder="squeezenet") < 0.05 * work()
    assert work(canvas="photorealistic") <= work()


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"encoder": "vgg20"}, "no encoder 'vgg20'", "vgg19"),
        ({"encoder": "resnet50"}, "comes without weights", "resnet50:weights.safetensors"),
        ({"encoder": "squeezenet", "style_layers": "relu4_1"}, "squeezenet has no layer 'relu4_1'", "fire2"),
        ({"content_layers": "relu9_1"}, "vgg19 has no layer 'relu9_1'", "relu5_4"),
        ({"style_loss": "clip"}, "style_loss is 'clip'", "gram, moments"),
        ({"canvas": "oil"}, "canvas is 'oil'", "photorealistic"),
    ],
)
def test_what_does_not_exist_is_named_before_anything_is_loaded(values, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        recipes.plan("optimize", "good", values)
    assert hint in caught.value.hint


# --- the photorealistic canvas ---------------------------------------------------------------------------------------


def test_recolouring_descends_and_keeps_still_what_is_masked(stylizer):
    first, last = last_losses(stylizer, knobs_of(canvas="photorealistic", steps=20))
    assert last["style"] < 0.95 * first["style"]
    content, strength = noise(48, 64), torch.ones(1, 1, 48, 64)
    strength[..., 32:] = 0
    painted = paint(stylizer, content, knobs_of(canvas="photorealistic"), guide=Guide(strength=strength))
    assert torch.equal(painted[..., 32:], content[..., 32:])
    assert (painted - content)[..., :24].abs().mean() > 1e-3


def test_recolouring_needs_no_draft_and_takes_no_other_start(stylizer):
    (stage,) = recipes.plan("optimize", "good", {"canvas": "photorealistic"})
    assert stage.method.name == "optimize"
    for changes in ({"init": "noise"}, {"border": "wrap"}):
        with pytest.raises(InputError, match="starts from the photograph"):
            paint(stylizer, noise(48, 64), knobs_of(canvas="photorealistic", **changes))


def test_cancelled_recolouring_leaves_a_picture_of_full_size(stylizer):
    def stop(progress):
        if progress.step == 2:
            assert progress.snapshot.image().shape == (1, 3, 90, 130)
            raise Cancelled("stopped")

    with pytest.raises(Cancelled) as caught:
        paint(stylizer, noise(90, 130), knobs_of(canvas="photorealistic", init="draft"), on_progress=stop)
    assert caught.value.partial.shape == (1, 3, 90, 130)


def test_the_descent_starts_in_the_paintings_colours_in_each_region_its_own(stylizer):
    knobs = knobs_of(init="recolored", steps=1)
    content = (0.3 + 0.4 * noise(48, 64)).clamp(0, 1)
    styles = [
        0.25 + 0.5 * noise(48, 64, seed=seed) * torch.tensor(tint)[:, None, None]
        for seed, tint in ((1, (0.2, 0.5, 1.0)), (2, (1.0, 0.5, 0.2)))
    ]
    left = torch.zeros(1, 1, 48, 64)
    left[..., :32] = 1
    codes = [stylizer.encode_style(style_of(style, (48, 64)), knobs) for style in styles]
    started: list[torch.Tensor] = []
    for guide in (Guide(), Guide(regions=(Region(left, codes[0]), Region(1 - left, codes[1])))):
        # one step is spent on looking at the start, which is then the best picture
        started.append(stylizer.stylize(content, [Job(codes[0], knobs, guide)]))
    means = [style.mean((0, 2, 3)) for style in styles]
    assert (started[0].mean((0, 2, 3)) - means[0]).abs().max() < 0.01
    for half, mean in zip((started[1][..., :32], started[1][..., 32:]), means, strict=True):
        assert (half.mean((0, 2, 3)) - mean).abs().max() < 0.01
    codes_in = images.to_tensor(images.quantise(images.from_tensor(content), 8))
    same = stylizer.stylize(codes_in, [Job(codes[0], knobs, memory=10**9)])
    assert (as_float(same) - started[0]).abs().max() < 2.5 / 255


def test_a_long_descent_begins_at_three_quarters_of_the_size(stylizer):
    seen = []
    paint(stylizer, noise(128, 64), knobs_of(steps=60, coarsest=512), on_progress=seen.append)
    sizes = [tuple(progress.preview.shape[2:]) for progress in seen if progress.losses]
    assert sizes.count((96, 48)) >= 12
    assert sizes.count((128, 64)) >= 60
    assert seen[-1].step == seen[-1].total == 72


def test_there_the_content_counts_twice(stylizer, monkeypatch):
    firsts = []
    for times in (levels._FIRST_LEVEL_CONTENT, 1.0):
        monkeypatch.setattr(levels, "_FIRST_LEVEL_CONTENT", times)
        seen = []
        paint(stylizer, noise(128, 64), knobs_of(steps=60, coarsest=512, init="noise"), on_progress=seen.append)
        firsts.append(next(progress.losses for progress in seen if progress.losses))
    assert firsts[0]["content"] == pytest.approx(2 * firsts[1]["content"])
    assert firsts[0]["style"] == pytest.approx(firsts[1]["style"])


def test_a_style_encoded_for_a_long_descent_serves_a_short_one(stylizer):
    """As in films, whose later frames take fewer steps."""
    content, style = noise(96, 128), style_of(noise(64, 48, seed=7), (96, 128))
    long, short = knobs_of(steps=60, coarsest=512), knobs_of(steps=6, coarsest=512)
    codes = [stylizer.encode_style(style, knobs) for knobs in (long, short)]
    assert settings.style_key(long) != settings.style_key(short)
    pictures = [stylizer.stylize(content, [Job(code, short, Guide())]) for code in codes]
    assert torch.equal(*pictures)


def test_strokes_come_nearer_with_their_weight(stylizer):
    far = [last_losses(stylizer, knobs_of(stroke_weight=weight))[1]["strokes"] / weight for weight in (0.001, 4)]
    assert far[1] < 0.95 * far[0]
    assert "strokes" not in last_losses(stylizer, knobs_of())[1]


def test_strokes_know_regions(stylizer):
    content, knobs = noise(48, 96), knobs_of(stroke_weight=2, steps=4)
    left = torch.zeros(1, 1, 48, 96)
    left[..., :48] = 1
    code = stylizer.encode_style(style_of(noise(64, 48, seed=7), (48, 96)), knobs)
    painted = paint(stylizer, content, knobs, guide=Guide(regions=(Region(left, code),)))
    assert torch.equal(painted[..., 48:], content[..., 48:])
    assert (painted - content)[..., :48].abs().mean() > 0.01


def fine(picture):
    """What a blur over five pixels takes away."""
    return picture - torch.nn.functional.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)


@pytest.mark.parametrize("border", ["mirror", "wrap"])
@pytest.mark.parametrize("init", ["content", "recolored"])
def test_the_start_has_as_much_fine_detail_as_is_asked_for(stylizer, init, border):
    content = torch.rand(1, 3, 160, 256, generator=torch.Generator().manual_seed(3))
    left = []
    for detail in (0.0, 0.25, 0.5, 0.75, 1.0):
        knobs = knobs_of(init=init, border=border, detail=detail)
        code = stylizer.encode_style(style_of(content, (160, 256)), knobs)
        start = start_image(content, Job(code, knobs, Guide()))
        left.append((fine(start) * fine(content)).mean().item() / fine(content).square().mean().item())
    assert left == sorted(left)
    assert left[0] < 0.3
    assert left[-1] > 0.9


def test_a_softened_start_keeps_its_size_codes_and_edges(stylizer):
    content = torch.full((1, 3, 100, 70), 200, dtype=torch.uint8)
    knobs = knobs_of(detail=0.0)
    start = start_image(content, Job(stylizer.encode_style(style_of(noise(64, 48), (100, 70)), knobs), knobs, Guide()))
    assert start.dtype == torch.uint8
    assert torch.equal(start, content)


def test_detail_leaves_a_given_start_as_it_is(stylizer):
    given = noise(48, 64, seed=5)
    knobs = knobs_of(detail=0.0)
    code = stylizer.encode_style(style_of(noise(64, 48), (48, 64)), knobs)
    assert torch.equal(start_image(noise(48, 64), Job(code, knobs, Guide(init=given))), given)


def test_content_counts_more_at_the_coarse_levels():
    plain, changed = (levels.levels_of(128, 128, knobs_of(coarse_content=times)) for times in (1.0, 2.5))
    assert [level.content_factor for level in plain] == [1, 1, 1]
    assert [level.content_factor for level in changed] == [2.5, 2.5, 1]


def test_layers_that_see_whole_motifs_count_less_in_the_style_unless_they_are_all_of_it():
    weights = style_loss(knobs_of(deep_style=0.1), VGG19).weights
    assert weights == {"relu1_1": 1, "relu2_1": 1, "relu3_1": 1, "relu4_1": 1, "relu5_1": 0.1}
    assert style_loss(knobs_of(deep_style=0.0, style_layers=("relu5_1",)), VGG19).weights == {"relu5_1": 1}
    (stage,) = recipes.plan("auto", "good", {})
    assert style_loss(stage.knobs, VGG19).weights == weights
    assert recipes.plan("auto", "good", {"encoder": "squeezenet"})[-1].knobs.deep_style == 1


def test_with_less_deep_style_what_it_sees_moves_less(stylizer):
    deep, sides = GramLoss({"relu5_1": 1.0}), (96, 128)
    content, style = noise(*sides), noise(*sides, seed=7)
    wanted = deep.statistics(stylizer._encoder(style, deep.layers))

    def far(weight):
        knobs = knobs_of(deep_style=weight, steps=8, content_weight=1)
        job = Job(stylizer.encode_style(style_of(style, sides), knobs), knobs)
        painted = stylizer.stylize(content, [job])
        return deep.bind(wanted)(deep.statistics(stylizer._encoder(painted, deep.layers))).item()

    assert far(1.0) < 0.9 * far(0.0)


def test_deep_layers_count_least_at_the_coarse_levels():
    plain, changed = (levels.levels_of(128, 128, knobs_of(deep_style=weight)) for weight in (1.0, 0.09))
    assert [level.deep_style for level in plain] == [1, 1, 1]
    assert [level.deep_style for level in changed] == pytest.approx([0.09, 0.09, 0.3])


def test_octaves_go_down_to_the_coarsest_level():
    painted = levels.levels_of(256, 192, knobs_of(coarsest=64, octaves=3))
    assert [level.scale for level in painted] == [0.25, 0.5, 1]
    assert [level.octaves for level in painted] == [(), (0.25,), (0.5, 0.25)]
    assert painted[-1].pixels == 256 * 192 * (1 + 1 / 4 + 1 / 16)


def test_octaves_bring_the_picture_made_smaller_nearer_to_the_painting(stylizer):
    gram, sides = GramLoss({"relu2_1": 1.0, "relu4_1": 1.0}), (48, 64)
    content, style = noise(96, 128), noise(96, 128, seed=7)
    wanted = gram.statistics(stylizer._encoder(resample(style, *sides), gram.layers))

    def far(octaves):
        knobs = knobs_of(octaves=octaves, steps=20, content_weight=0)
        job = Job(stylizer.encode_style(style_of(style, (96, 128)), knobs), knobs)
        painted = resample(stylizer.stylize(content, [job]), *sides)
        return gram.bind(wanted)(gram.statistics(stylizer._encoder(painted, gram.layers))).item()

    assert far(2) < 0.9 * far(1)


@pytest.mark.parametrize("guided", [False, True])
def test_all_that_good_adds_paints_in_tiles_and_by_strength(stylizer, guided):
    """Tiles, strength maps, octaves and strokes together, and the same losses as in one piece."""
    content = noise(160, 128, seed=2)
    knobs = knobs_of(stroke_weight=1, octaves=2, detail=0.0, steps=3, coarse_content=1.5, init="recolored")
    code = stylizer.encode_style(style_of(noise(64, 48, seed=7), (160, 128)), knobs)
    guide = Guide(strength=torch.linspace(0, 1, 128).expand(1, 1, 160, 128)) if guided else Guide()
    whole, tiled = (stylizer.stylize(content, [Job(code, knobs, guide, memory=size)]) for size in (None, 60_000_000))
    assert (whole - content).abs().mean() > 0.02
    assert (whole - tiled).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("method", "values", "said", "hint"),
    [
        ("adain", {"detail": 0.5}, "method adain has no --detail", "it has --strength"),
        ("optimize", {"detail": 1.5}, "--detail is 1.5", "0 to 1"),
        ("optimize", {"detail": -0.1}, "--detail is -0.1", "0 to 1"),
        ("optimize", {"detail": float("nan")}, "--detail is nan", "0 to 1"),
        ("optimize", {"detail": 0.5, "init": "noise"}, "--init noise starts from something else", "leave out"),
        ("optimize", {"detail": 0.5, "encoder": "vgg16"}, "--init draft starts from something else", "leave out"),
        ("optimize", {"detail": 0.5, "canvas": "photorealistic"}, "keeps all the photograph", "leave out"),
    ],
)
def test_detail_that_has_no_meaning_is_refused(method, values, said, hint):
    with pytest.raises(InputError) as refused:
        recipes.plan(method, None, values)
    assert said in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("values", [{"init": "noise"}, {"encoder": "vgg16"}, {"canvas": "photorealistic"}, {}])
def test_what_a_plan_chose_can_be_asked_for_again(values):
    """`impasto redo` hands every knob of the record over."""
    knobs = recipes.plan("optimize", "good", values)[-1].knobs
    assert recipes.plan("optimize", "good", vars(knobs))[-1].knobs == knobs


def test_good_and_best_paint_and_the_photorealistic_canvas_does_not():
    for quality in ("good", "best"):
        assert recipes.plan("auto", quality, {})[-1].knobs.detail == 0
        assert recipes.plan("auto", quality, {"detail": 1.0})[-1].knobs.detail == 1
        knobs = recipes.plan("auto", quality, {"canvas": "photorealistic"})[-1].knobs
        assert (knobs.detail, knobs.stroke_weight, knobs.octaves) == (1, 0, 1)


def test_a_wide_blur_by_matrices_is_the_convolution():
    kernel = start._gaussian(15.0, torch.device("cpu"))
    image = noise(130, 120)
    rows = torch.nn.functional.conv2d(image.transpose(0, 1), kernel.view(1, 1, -1, 1))
    both = torch.nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1)).transpose(0, 1)
    assert len(kernel) > start._LONG_KERNEL
    torch.testing.assert_close(start._filtered(image, kernel), both)


@pytest.mark.parametrize(
    ("photograph", "painting", "share"), [(1.0, 4.0, 0.5), (4.0, 1.0, 1.0), (2.0, 2.0, 1.0), (0.0, 1.0, 0.0)]
)
def test_a_faint_photograph_counts_less(photograph, painting, share):
    assert content_share(photograph, painting) == pytest.approx(share)


@pytest.mark.parametrize("kept", ["features", "similarity"])
def test_in_haze_the_content_counts_less(stylizer, kept):
    """By the root of the ratio of mean squares; what is compared by similarity has no size that haze makes smaller."""
    clear, haze = noise(48, 64), 0.5 + 0.1 * (noise(48, 64) - 0.5)
    knobs = knobs_of(content_loss=kept, stroke_weight=0.0)
    level = levels.levels_of(48, 64, knobs)[-1]
    code = stylizer.encode_style(style_of(noise(64, 48, seed=7), (48, 64)), knobs)
    weights = []
    for content in (clear, haze):
        score = stylizer.score(content, Job(code, knobs, Guide()), level)
        weights.append({term.name: term.weight for term in score._terms}["content"])
    assert (weights[1] < 0.9 * weights[0]) == (kept == "features")
    assert (f"content/{level.scale}/relu4_2" in code.tensors) == (kept == "features")


def test_what_transparent_pictures_hide_does_not_count_as_their_strength(stylizer):
    clear = noise(48, 64)
    half = 0.5 + 0.1 * (clear - 0.5)
    half[..., 32:] = clear[..., 32:]
    left = torch.zeros(1, 1, 48, 64)
    left[..., :24] = 1
    knobs = knobs_of(stroke_weight=0.0)
    level = levels.levels_of(48, 64, knobs)[-1]
    painting = style_of(noise(48, 64, seed=7), (48, 64))
    code = stylizer.encode_style(painting, knobs)
    weights = []
    for seen in (None, left):
        score = stylizer.score(half, Job(code, knobs, Guide(seen=seen)), level)
        weights.append({term.name: term.weight for term in score._terms}["content"])
    assert weights[1] < 0.9 * weights[0]

    name = f"content/{level.scale}/relu4_2"
    found = []
    for seen in (None, left):
        style = Style((StyleImage(half, seen=seen),), (48, 64))
        found.append(float(stylizer.encode_style(style, knobs).tensors[name]))
    assert found[1] < 0.9 * found[0]


def test_where_two_paintings_hold_their_strengths_are_joined_by_share(stylizer):
    knobs = knobs_of()
    content, level = noise(48, 64), levels.levels_of(48, 64, knobs)[-1]
    codes = [stylizer.encode_style(style_of(scale * noise(64, 48, seed=7), (48, 64)), knobs) for scale in (0.2, 1.0)]
    left = torch.zeros(1, 1, 48, 64)
    left[..., :16] = 1
    guide = Guide(regions=(Region(left, codes[0]), Region(1 - left, codes[1])))
    found = painting_strengths(content, Job(codes[0], knobs, guide), level)
    own = [painting_strengths(content, Job(code, knobs, Guide()), level)["relu4_2"] for code in codes]
    assert found == {"relu4_2": pytest.approx(0.25 * own[0] + 0.75 * own[1], rel=1e-4)}
