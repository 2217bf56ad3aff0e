"""Style and content losses beyond Gram, against closed forms, slow references and finite differences."""

import pytest
import torch
import torch.nn.functional as F

from impasto.losses.losses import ContentLoss, GramLoss, LaplacianLoss, RegionalLoss, SelfSimilarityLoss
from impasto.losses.matching import MomentsLoss, PatchLoss, SlicedLoss, StrokeLoss, WassersteinLoss, sample_positions
from impasto.metrics._style import wasserstein_of
from impasto.ops.stats import mean_std
from tiny import noise

ONE = {"a": 1.0}
STYLE_LOSSES = [
    GramLoss(ONE),
    MomentsLoss(ONE),
    WassersteinLoss(ONE),
    SlicedLoss(ONE, bins=4),
    PatchLoss(ONE, matched=frozenset(ONE), places=20, chunk=7),
]
BY_NAME = pytest.mark.parametrize("loss", STYLE_LOSSES, ids=lambda loss: type(loss).__name__)


def features(seed, channels=3, height=4, width=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(1, channels, height, width, generator=generator, dtype=dtype) + 0.5}


def target_of(loss, *styles):
    return loss.pool([(1 / len(styles), loss.statistics(style)) for style in styles])


@BY_NAME
def test_nothing_is_lost_at_the_style_itself(loss):
    style = features(1)
    bound = loss.bind(target_of(loss, style))
    assert bound(loss.statistics(style)).item() == pytest.approx(0, abs=1e-9)
    assert bound(loss.statistics(features(2))).item() > 1e-3


@BY_NAME
def test_an_empty_map_is_wrong_by_one(loss):
    style = features(1)
    empty = {"a": torch.zeros(1, 3, 4, 5, dtype=torch.float64)}
    wrong = loss.bind(target_of(loss, style))(loss.statistics(empty)).item()
    if isinstance(loss, PatchLoss):  # places are centred by the style's mean, so the empty map has a direction
        assert 0.4 < wrong < 1.1
    else:
        assert wrong == pytest.approx(1, abs=0.02)


@BY_NAME
def test_gradients_are_those_of_finite_differences(loss):
    bound = loss.bind(target_of(loss, features(1)))
    moved = features(2)["a"].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: bound(loss.statistics({"a": x})), moved, eps=1e-7, atol=1e-5)


@BY_NAME
def test_descent_reaches_the_style(loss):
    bound = loss.bind(target_of(loss, features(1)))
    moved = features(2)["a"].requires_grad_(True)
    optimizer = torch.optim.Adam([moved], lr=0.05)
    before = bound(loss.statistics({"a": moved})).item()
    for _ in range(150):
        optimizer.zero_grad()
        value = bound(loss.statistics({"a": moved}))
        value.backward()
        assert torch.isfinite(moved.grad).all()
        optimizer.step()
    assert value.item() < 0.05 * before


@BY_NAME
def test_regions_that_cover_all_are_the_plain_loss(loss):
    target, ours = target_of(loss, features(1)), features(2)
    whole = RegionalLoss(loss, torch.ones(1, 1, 16, 20, dtype=torch.float64))
    plain = loss.bind(target)(loss.statistics(ours))
    torch.testing.assert_close(whole.bind(target)(whole.statistics(ours)), plain, rtol=1e-4, atol=1e-6)


@BY_NAME
def test_a_region_feels_its_own_style_only(loss):
    mask = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    mask[..., :3] = 1
    regional = RegionalLoss(loss, torch.cat([mask, 1 - mask]))
    styles = [target_of(loss, features(seed)) for seed in (1, 2)]
    bound = regional.bind({name: torch.cat([style[name] for style in styles]) for name in styles[0]})
    moved = features(3, width=6)["a"].requires_grad_(True)
    (gradient,) = torch.autograd.grad(bound(regional.statistics({"a": moved})), moved)
    alone = RegionalLoss(loss, mask)
    (left,) = torch.autograd.grad(alone.bind(styles[0])(alone.statistics({"a": moved})), moved)
    torch.testing.assert_close(gradient[..., :3], left[..., :3])
    assert left[..., 3:].abs().max() == 0
    assert gradient[..., 3:].abs().max() > 0


@BY_NAME
def test_strength_aims_between_content_and_style(loss):
    own, target = loss.statistics(features(3)), target_of(loss, features(1))
    wrong = []
    for strength in (0.0, 0.5, 1.0):
        aim = loss.toward(own, target, torch.tensor([strength]))
        wrong.append(loss.bind(aim)(own).item())
    assert wrong[0] == pytest.approx(0, abs=1e-6)
    assert wrong[0] < wrong[1] < wrong[2]
    assert wrong[2] == pytest.approx(loss.bind(target)(own).item(), rel=1e-6)


@BY_NAME
def test_two_equal_styles_are_one(loss):
    ours = loss.statistics(features(2))
    once, twice = target_of(loss, features(1)), target_of(loss, features(1), features(1))
    assert {name: tensor.shape for name, tensor in once.items()} == {n: t.shape for n, t in twice.items()}
    if not isinstance(loss, PatchLoss):  # whose draw is of other places
        torch.testing.assert_close(loss.bind(twice)(ours), loss.bind(once)(ours))


@BY_NAME
def test_additive_statistics_are_means_over_tiles(loss):
    if not loss.additive:
        return
    whole = features(1, height=4, width=6)["a"]
    halves = [loss.statistics({"a": half})["a"] for half in (whole[..., :3], whole[..., 3:])]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, loss.statistics({"a": whole})["a"])


def test_moments_are_those_of_adain():
    x, y = features(1)["a"], features(2)["a"]
    loss = MomentsLoss(ONE)
    got = loss.bind(loss.statistics({"a": y}))(loss.statistics({"a": x}))
    ours, theirs = (torch.cat(mean_std(each), 1) for each in (x, y))
    torch.testing.assert_close(got, (ours - theirs).square().sum() / theirs.square().sum(), rtol=1e-4, atol=1e-6)


def test_wasserstein_of_diagonal_gaussians_is_the_closed_form():
    """Independent channels: the distance is that of means and of deviations."""
    corners = torch.tensor([[-1.0, -1, 1, 1], [-1, 1, -1, 1]], dtype=torch.float64).view(1, 2, 2, 2)

    def map_of(mean, deviation):
        return {"a": corners * torch.tensor(deviation).view(1, 2, 1, 1) + torch.tensor(mean).view(1, 2, 1, 1)}

    ours, theirs = map_of([0.3, -1.0], [0.5, 2.0]), map_of([1.0, 0.5], [1.5, 1.0])
    loss = WassersteinLoss(ONE)
    got = loss.bind(loss.statistics(theirs))(loss.statistics(ours)).item()
    wanted = (0.7**2 + 1.5**2 + 1.0**2 + 1.0**2) / (1.0**2 + 0.5**2 + 1.5**2 + 1.0**2)
    assert got == pytest.approx(wanted, rel=1e-3)


def test_wasserstein_of_full_covariances_agrees_with_the_slow_root():
    x, y = features(1, 4, 6, 6), features(2, 4, 6, 6)
    loss = WassersteinLoss(ONE)
    got = loss.bind(loss.statistics(y))(loss.statistics(x)).item()
    (m, s), (n, t) = ((each["a"].flatten(2)[0].mean(1), each["a"].flatten(2)[0].cov(correction=0)) for each in (x, y))
    roots = torch.linalg.eigvals(s @ t).sqrt().sum().real  # tr (S T)^(1/2), by the unsymmetric product
    wanted = ((m - n).square().sum() + s.trace() + t.trace() - 2 * roots) / (n.square().sum() + t.trace())
    assert got == pytest.approx(wanted.item(), rel=1e-3)


def test_wasserstein_has_a_finite_gradient_where_a_channel_is_silent():
    loss = WassersteinLoss(ONE)
    style = features(1, dtype=torch.float32)
    style["a"][:, 1] = 0
    moved = torch.zeros(1, 3, 4, 5, requires_grad=True)
    loss.bind(loss.statistics(style))(loss.statistics({"a": moved})).backward()
    assert torch.isfinite(moved.grad).all()


def test_sliced_along_the_only_axis_is_the_distance_of_sorted_values():
    x, y = features(1, channels=1)["a"], features(2, channels=1)["a"]
    loss = SlicedLoss(ONE, bins=20)
    got = loss.bind(loss.statistics({"a": y}))(loss.statistics({"a": x}))
    a, b = x.flatten().sort().values, y.flatten().sort().values
    torch.testing.assert_close(got, (a - b).square().sum() / b.square().sum())


def test_sliced_agrees_with_the_measure_on_other_sizes():
    x, y = features(1, 8, 24, 24), features(2, 8, 16, 40)
    x["a"] = x["a"] * 2
    loss = SlicedLoss(ONE)
    got = loss.bind(loss.statistics(y))(loss.statistics(x)).item()
    assert got == pytest.approx(wasserstein_of(x["a"], y["a"]), rel=0.15)


def test_weighted_bins_equal_the_plain_ones_of_the_part():
    whole, loss = features(1, height=4, width=8), SlicedLoss(ONE, bins=4)
    mask = torch.zeros(1, 1, 4, 8, dtype=torch.float64)
    mask[..., :4] = 0.7
    part = {"a": whole["a"][..., :4]}
    torch.testing.assert_close(loss.statistics(whole, mask)["a"], loss.statistics(part)["a"], rtol=1e-5, atol=1e-6)


def test_each_place_is_held_to_the_nearest_of_the_style():
    style, ours = features(1), features(2)
    loss = PatchLoss(ONE, matched=frozenset(ONE), places=20, chunk=3)
    target = target_of(loss, style)
    got = 2 * loss.bind(target)(loss.statistics(ours))
    moments = MomentsLoss(ONE)
    got = got - moments.bind(target)(moments.statistics(ours))
    centre = style["a"].flatten(2)[0].mean(1)
    slow = []
    for vector in ours["a"].flatten(2)[0].mT:
        alike = [F.cosine_similarity(vector - centre, one - centre, dim=0) for one in style["a"].flatten(2)[0].mT]
        slow.append(1 - max(alike))
    torch.testing.assert_close(got, torch.stack(slow).mean())


def test_places_are_drawn_by_the_shares_of_the_styles():
    loss = PatchLoss(ONE, matched=frozenset(ONE), places=10)
    one, two = {"a": torch.zeros(1, 3, 6, 6)}, {"a": torch.ones(1, 3, 6, 6)}
    pooled = loss.pool([(0.3, loss.statistics(one)), (0.7, loss.statistics(two))])
    assert pooled["a/places"].shape == (1, 10, 3)
    assert pooled["a/places"].mean().item() == pytest.approx(0.7)


def test_self_similarity_forgives_a_change_of_all_colours_alike():
    loss = SelfSimilarityLoss(frozenset(ONE), samples=12)
    own = features(1, height=5)
    bound = loss.bind(loss.statistics(own))
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    turned = {"a": 3 * torch.einsum("ij,bjhw->bihw", turn, own["a"])}
    assert bound(loss.statistics(turned)).item() == pytest.approx(0, abs=1e-12)
    plain = ContentLoss(frozenset(ONE))
    assert plain.bind(plain.statistics(own))(plain.statistics(turned)).item() > 1


def test_self_similarity_equals_the_slow_one_and_has_its_gradient():
    loss = SelfSimilarityLoss(frozenset(ONE))
    x, y = features(1, height=2, width=3), features(2, height=2, width=3)

    def slow(map_):
        flat = map_["a"].flatten(2)[0].mT
        far = torch.tensor([[1 - F.cosine_similarity(p, q, dim=0) for q in flat] for p in flat], dtype=torch.float64)
        return far / far.sum(0, keepdim=True)

    wanted = (slow(x) - slow(y)).square().sum() / (slow(y) - 1 / 6).square().sum()
    bound = loss.bind(loss.statistics(y))
    torch.testing.assert_close(bound(loss.statistics(x)), wanted)
    moved = x["a"].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda map_: bound(loss.statistics({"a": map_})), moved)


def test_laplacian_sees_outlines_and_no_plain_change_of_light():
    photo = noise(64, 64).double()
    loss = LaplacianLoss()
    bound = loss.bind(loss.statistics({"image": photo}))
    assert bound(loss.statistics({"image": photo})).item() == 0
    assert bound(loss.statistics({"image": photo + 0.2})).item() == pytest.approx(0, abs=1e-12)
    flat = bound(loss.statistics({"image": torch.full_like(photo, 0.5)})).item()
    assert 0.5 < flat <= 1
    moved = torch.rand(1, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    small = LaplacianLoss(pools=(2, 4))
    bound = small.bind(small.statistics({"image": torch.rand(1, 3, 12, 12, dtype=torch.float64)}))
    assert torch.autograd.gradcheck(lambda image: bound(small.statistics({"image": image})), moved)


def test_laplacian_of_a_ramp_is_nothing_and_of_a_wrap_its_jump():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    inner = LaplacianLoss(pools=(4,)).statistics({"image": ramp})["image/4"][..., 1:-1]
    assert inner.abs().max() < 1e-5
    wrapped = LaplacianLoss(pools=(4,), wrap=True).statistics({"image": ramp})["image/4"]
    assert wrapped[..., 0].abs().min() > 0.5


def test_directions_are_settled_by_the_seed():
    first, again, other = (SlicedLoss(ONE, seed=seed).statistics(features(1))["a"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def strokes_by_hand(places, maps, weight=None):
    """Place by place, in plain loops."""
    centre = places.mean(0)
    total, vectors = 0.0, maps[0].flatten(1).mT
    for index, vector in enumerate(vectors):
        alike = max(F.cosine_similarity(vector - centre, place - centre, dim=0) for place in places)
        total += (1 - alike) * (1 if weight is None else weight.flatten()[index])
    return total / len(vectors)


@pytest.mark.parametrize("weighted", [False, True])
def test_strokes_are_distances_to_the_nearest_place(weighted):
    places = {"a": features(1)["a"][0].flatten(1).mT}
    weight = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(3)).double() if weighted else None
    loss = StrokeLoss(places, weight, chunk=7)
    moved = features(2)["a"].requires_grad_(True)
    value = loss.bind({})(loss.statistics({"a": moved}))
    torch.testing.assert_close(value, strokes_by_hand(places["a"], moved, weight))
    assert torch.autograd.gradcheck(lambda x: loss.bind({})(loss.statistics({"a": x})), moved, eps=1e-7, atol=1e-5)


def test_strokes_of_the_painting_itself_cost_nothing():
    style = features(1)
    loss = StrokeLoss({"a": style["a"][0].flatten(1).mT})
    assert loss.bind({})(loss.statistics(style)).item() == pytest.approx(0, abs=1e-9)
    assert loss.bind({})(loss.statistics(features(2))).item() > 0.01


def test_places_are_drawn_by_share():
    parts = [(0.75, torch.zeros(3, 2)), (0.25, torch.ones(100, 2))]
    drawn = sample_positions(parts, 40)
    assert drawn.shape == (40, 2)
    assert drawn[:, 0].sum() == 10
    assert torch.equal(drawn, sample_positions(parts, 40))
