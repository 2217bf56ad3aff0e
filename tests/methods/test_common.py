"""One suite that every registered method takes, with tiny seeded networks."""

from dataclasses import fields, replace

import pytest
import torch

from impasto.contract import Guide, Job, Placement, Region, Style, StyleImage
from impasto.errors import Cancelled
from impasto.methods import registry
from tiny import noise, style_of, tiny_arbitrary, tiny_clip, tiny_generator, tiny_network

METHODS = [row for row in registry.methods().values() if not row.extra]
QUICK = {"steps": 5, "init": "content", "coarsest": 32, "patches": 4}


def quick(row, **changes):
    """The method's knobs with few steps."""
    cls = row.load_knobs()
    names = cls.__dataclass_fields__
    return cls(**{name: value for name, value in {**QUICK, **changes}.items() if name in names})


def build(row, tiny_weights, placement):
    weights = {asset: tiny_weights[asset] for asset in row.assets}
    if row.trained:
        weights["network"] = tiny_network()
    if row.name == "unpaired":
        weights["network"] = tiny_generator()
    if row.name == "arbitrary":
        weights["arbitrary:FILE"] = tiny_arbitrary()
    if row.name == "clip":
        weights["clip:FILE"] = tiny_clip()
    return row.load_class()(weights, placement)


def paint(row, stylizer, content, knobs=None, style=None, guide=None, on_progress=None):
    knobs = knobs or quick(row)
    style = noise(64, 48, seed=7) if style is None else style
    code = stylizer.encode_style(style_of(style, tuple(content.shape[2:])), knobs)
    jobs = [Job(code, knobs, guide or Guide())] * content.shape[0]
    return stylizer.stylize(content, jobs, *([on_progress] if on_progress else []))


@pytest.fixture(params=METHODS, ids=lambda row: row.name)
def row(request):
    return request.param


@pytest.fixture
def stylizer(row, tiny_weights, placement):
    return build(row, tiny_weights, placement)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (61, 83), (33, 97), (20, 400), (8, 8)])
def test_any_size_comes_back_in_its_size_and_range(row, stylizer, height, width):
    content = noise(height, width)
    pastiche = paint(row, stylizer, content)
    assert pastiche.shape == content.shape
    assert pastiche.dtype == torch.float32
    assert pastiche.min() >= 0
    assert pastiche.max() <= 1
    assert torch.isfinite(pastiche).all()
    assert not torch.equal(pastiche, content)


def test_smallest_legal_style(row, stylizer):
    paint(row, stylizer, noise(64, 64), style=noise(row.smallest_side, row.smallest_side, seed=3))


def test_what_of_a_style_is_hidden_hardly_counts(row, stylizer):
    """What the network sees across a gap of 96 pixels."""
    if row.trained:
        pytest.skip("its styles are named, and pictures of them specimens")
    left, hidden = noise(64, 160, seed=3), torch.zeros(1, 1, 64, 256)
    hidden[:, :, :, :64] = 1
    pastiches = {}
    for seen in (None, hidden):
        for fill in (0.1, 0.9):
            pixels = torch.cat([left, torch.full((1, 3, 64, 96), fill)], 3)
            style = Style((StyleImage(pixels, digest=f"{fill}{seen is None}", seen=seen),), (48, 64))
            code = stylizer.encode_style(style, quick(row))
            pastiches[seen is None, fill] = stylizer.stylize(noise(48, 64), [Job(code, quick(row))])
    shown, unshown = ((pastiches[all_, 0.1] - pastiches[all_, 0.9]).abs().mean() for all_ in (True, False))
    assert unshown < 0.3 * shown


def test_a_batch_equals_its_items_apart(row, stylizer):
    one, two = noise(48, 64, seed=1), noise(48, 64, seed=2)
    both = paint(row, stylizer, torch.cat([one, two]))
    apart = torch.cat([paint(row, stylizer, one), paint(row, stylizer, two)])
    torch.testing.assert_close(both, apart, atol=2e-3, rtol=0)


def test_each_item_of_a_batch_has_its_own_style(row, stylizer):
    if row.name == "unpaired":
        pytest.skip("a generator has one style")
    content = torch.cat([noise(48, 64)] * 2)
    knobs = quick(row)
    codes = [stylizer.encode_style(style_of(noise(64, 64, seed=seed), (48, 64)), knobs) for seed in (5, 6)]
    pastiche = stylizer.stylize(content, [Job(code, knobs) for code in codes])
    assert (pastiche[0] - pastiche[1]).abs().max() > 1e-4


def test_a_seed_settles_everything(row, stylizer):
    changes = {"init": "content+noise"}
    first, again = (paint(row, stylizer, noise(48, 64), quick(row, **changes)) for _ in range(2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    if "seed" in row.load_knobs().__dataclass_fields__:
        other = paint(row, stylizer, noise(48, 64), quick(row, seed=1, **changes))
        assert not torch.equal(first, other)


def test_cancelled_at_the_first_report(row, stylizer):
    reports = []

    def stop(progress):
        reports.append(progress)
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        paint(row, stylizer, noise(48, 64), on_progress=stop)
    assert len(reports) == 1


def test_progress_ends_at_its_total_with_a_preview(row, stylizer):
    reports = []
    pastiche = paint(row, stylizer, noise(48, 64), on_progress=reports.append)
    assert reports[-1].step == reports[-1].total
    assert [report.step for report in reports] == sorted(report.step for report in reports)
    assert reports[-1].preview.shape[:2] == pastiche.shape[:2]
    assert not reports[-1].preview.requires_grad


def test_a_snapshot_of_any_moment_leads_to_the_same_picture(row, stylizer):
    if row.kind != "objective":
        pytest.skip("one pass, from which there is nothing to resume")
    content, knobs = noise(64, 96), quick(row)
    code = stylizer.encode_style(style_of(noise(64, 48, seed=7), (64, 96)), knobs)
    shots = []

    def keep(progress):
        state = {name: tensor.clone() for name, tensor in progress.snapshot.state().items()}
        shots.append((state, progress.snapshot.image()))

    whole = stylizer.stylize(content, [Job(code, knobs)], keep)
    assert torch.equal(shots[-1][1], whole)
    assert [int(state["steps"]) for state, _ in shots] == sorted(int(state["steps"]) for state, _ in shots)
    for state, image in shots[::3]:
        assert image.shape == content.shape
        assert torch.equal(stylizer.stylize(content, [Job(code, knobs, resume=state)]), whole)


def test_strength_goes_evenly_from_the_photograph(row, stylizer):
    content = noise(48, 64)
    guide = Guide(init=content) if "init" in row.honours else Guide()
    full = paint(row, stylizer, content, quick(row, strength=1.0, steps=25), guide=guide)
    steps = [
        (paint(row, stylizer, content, quick(row, strength=s, steps=25), guide=guide) - content).abs().mean().item()
        for s in (0.0, 0.25, 0.5, 0.75)
    ] + [(full - content).abs().mean().item()]
    assert steps[0] == 0
    assert steps == sorted(steps)


def test_several_styles_lie_between_their_own(row, stylizer):
    if row.name == "attention":
        pytest.skip("its codes hold the places of all styles; see tests/unit/test_any_painting.py")
    knobs = quick(row)
    a, b = style_of(noise(64, 64, seed=3), (48, 64)), style_of(1 - noise(64, 64, seed=4), (48, 64))
    both = replace(a, images=(a.images[0], b.images[0]))
    one, two, mixed = (stylizer.encode_style(style, knobs).tensors for style in (a, b, both))
    for name in mixed:
        torch.testing.assert_close(mixed[name], (one[name] + two[name]) / 2)


def test_weights_of_styles_count_by_their_ratio(row, stylizer):
    knobs = quick(row)
    a, b = noise(64, 64, seed=3), noise(64, 64, seed=4)
    heavy = replace(style_of(a), images=(style_of(a, weight=6).images[0], style_of(b, weight=2).images[0]))
    light = replace(style_of(a), images=(style_of(a, weight=3).images[0], style_of(b, weight=1).images[0]))
    for name, tensor in stylizer.encode_style(heavy, knobs).tensors.items():
        torch.testing.assert_close(tensor, stylizer.encode_style(light, knobs).tensors[name])


def test_a_starting_image_is_honoured_where_declared(row, stylizer):
    if "init" not in row.honours:
        return
    content = noise(48, 64)
    plain = paint(row, stylizer, content)
    started = paint(row, stylizer, content, guide=Guide(init=noise(48, 64, seed=9)))
    assert (plain - started).abs().mean() > 1e-3


def test_declared_guides_are_fields_of_guide(row):
    assert row.honours <= {field.name for field in fields(Guide)}


def guided(row, stylizer, content, *, masks=(), strength=None, seeds=(7, 8), **changes):
    """Painted with a style for each mask."""
    knobs = quick(row, **changes)
    sides = tuple(content.shape[2:])
    codes = [stylizer.encode_style(style_of(noise(64, 48, seed=seed), sides), knobs) for seed in seeds]
    regions = tuple(Region(mask, code) for mask, code in zip(masks, codes, strict=False))
    return stylizer.stylize(content, [Job(codes[0], knobs, Guide(regions=regions, strength=strength))])


def left_half(height, width):
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


def test_outside_its_mask_a_region_leaves_the_picture_untouched(row, stylizer):
    if "regions" not in row.honours:
        return
    content, mask = noise(50, 70), left_half(50, 70)
    pastiche = guided(row, stylizer, content, masks=[mask])
    assert torch.equal(pastiche[..., 35:], content[..., 35:])
    assert (pastiche[..., :35] - content[..., :35]).abs().mean() > 1e-3


def test_each_region_has_its_own_style(row, stylizer):
    if row.name == "unpaired":
        pytest.skip("a generator has one style")
    if "regions" not in row.honours:
        return
    sides = (
        (192, 384) if row.name == "wct" else (48, 96)
    )  # covariances of twelve channels need positions at a stride of 16
    content, mask = noise(*sides), left_half(*sides)
    both = guided(row, stylizer, content, masks=[mask, 1 - mask], steps=10)
    same = guided(row, stylizer, content, masks=[mask, 1 - mask], seeds=(7, 7), steps=10)
    quarter = sides[1] // 4
    left, right = (both - same)[..., :quarter].abs().mean(), (both - same)[..., -quarter:].abs().mean()
    assert right > 1e-4
    assert left < 0.8 * right


def test_a_region_that_covers_all_is_the_plain_style(row, stylizer):
    if "regions" not in row.honours:
        return
    content = noise(48, 64)
    whole = guided(row, stylizer, content, masks=[torch.ones(1, 1, 48, 64)])
    torch.testing.assert_close(whole, guided(row, stylizer, content), atol=2e-3, rtol=0)


def test_a_strength_map_goes_from_the_photograph_to_the_full_style(row, stylizer):
    if "strength" not in row.honours:
        return
    content = noise(48, 64)
    strength = torch.ones(1, 1, 48, 64)
    full = guided(row, stylizer, content, strength=strength)
    torch.testing.assert_close(full, guided(row, stylizer, content), atol=2e-3, rtol=0)
    strength[..., 40:] = 0
    part = guided(row, stylizer, content, strength=strength)
    assert torch.equal(part[..., 40:], content[..., 40:])
    assert (part[..., :32] - content[..., :32]).abs().mean() > 1e-3
    weak = guided(row, stylizer, content, strength=torch.full((1, 1, 48, 64), 0.3))
    assert (weak - content).abs().mean() < (full - content).abs().mean()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_each_declared_precision_paints_the_same_picture(row, tiny_weights, precision):
    if precision not in row.precisions:
        return
    content = noise(48, 64)
    exact = paint(row, build(row, tiny_weights, Placement()), content)
    got = paint(row, build(row, tiny_weights, Placement(precision=precision)), content)
    assert got.dtype == torch.float32
    assert (got - exact).abs().mean() < 0.02
