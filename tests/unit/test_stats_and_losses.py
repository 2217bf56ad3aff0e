"""Maths against slow, obvious references and closed forms."""

import pytest
import torch

from impasto.losses.losses import ContentLoss, GramLoss, RegionalLoss, TotalVariation, relative_error
from impasto.ops.stats import adaptive_instance_norm, gram_matrix, instance_norm, mean_std
from tiny import noise


def test_gram_matrix_is_the_mean_of_products():
    features = torch.randn(2, 3, 4, 5)
    slow = torch.zeros(2, 3, 3)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                slow[b, i, j] = (
                    sum(features[b, i, y, x] * features[b, j, y, x] for y in range(4) for x in range(5)) / 20
                )
    torch.testing.assert_close(gram_matrix(features), slow)


def test_adain_takes_on_mean_and_deviation():
    content, style = torch.randn(2, 5, 8, 9) * 3 + 1, torch.randn(2, 5, 6, 7)
    mean, std = mean_std(style)
    got_mean, got_std = mean_std(adaptive_instance_norm(content, mean, std))
    torch.testing.assert_close(got_mean, mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got_std, std, atol=1e-4, rtol=1e-4)


def test_a_silent_channel_stays_finite():
    content = torch.zeros(1, 1, 4, 4)
    assert torch.isfinite(adaptive_instance_norm(content, *mean_std(torch.randn(1, 1, 4, 4)))).all()


def test_relative_error_of_nothing_is_one():
    target = torch.randn(3, 4, 4)
    torch.testing.assert_close(relative_error(torch.zeros_like(target), target), torch.ones(3))


@pytest.mark.parametrize("kind", ["content", "gram"])
def test_losses_are_zero_at_the_target_and_differentiable(kind):
    torch.manual_seed(0)
    features = {name: torch.randn(1, 3, 4, 4, dtype=torch.float64) for name in "ab"}
    objective = ContentLoss(frozenset("ab")) if kind == "content" else GramLoss({"a": 1.0, "b": 2.0})
    loss = objective.bind(objective.statistics(features))
    assert loss(objective.statistics(features)).item() == 0
    assert loss(objective.statistics({name: 2 * value for name, value in features.items()})).item() > 0.5


def test_batch_items_do_not_touch_each_other():
    objective = GramLoss({"a": 1.0})
    one, two = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    target = objective.statistics({"a": torch.randn(2, 3, 4, 4)})
    both = objective.bind(target)(objective.statistics({"a": torch.cat([one, two])}))
    apart = sum(
        objective.bind({"a": target["a"][i : i + 1]})(objective.statistics({"a": item}))
        for i, item in enumerate((one, two))
    )
    torch.testing.assert_close(both, apart)


def test_gram_loss_passes_gradcheck():
    torch.manual_seed(0)
    target = gram_matrix(torch.randn(1, 2, 3, 3, dtype=torch.float64))

    def loss(features):
        flat = features.flatten(2)
        return ((flat @ flat.mT / 9 - target) ** 2).sum() / (target**2).sum()

    features = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, features)
    objective = GramLoss({"a": 1.0})
    shipped = objective.bind({"a": target})(objective.statistics({"a": features}))
    torch.testing.assert_close(shipped, loss(features))
    (ours,) = torch.autograd.grad(shipped, features)
    (slow,) = torch.autograd.grad(loss(features), features)
    torch.testing.assert_close(ours, slow)


def test_total_variation_of_a_ramp():
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 5, 11)
    variation = TotalVariation()
    assert variation.bind({})(variation.statistics({"image": ramp})).item() == pytest.approx(0.1)
    flat = variation.statistics({"image": torch.full((1, 3, 4, 4), 0.3)})
    assert variation.bind({})(flat).item() == 0


def test_noise_varies_more_than_a_smooth_picture():
    variation = TotalVariation()
    smooth, rough = noise(32, 32), torch.rand(1, 3, 32, 32)
    assert variation.statistics({"image": rough})["image"] > 3 * variation.statistics({"image": smooth})["image"]


def test_weighted_statistics_are_those_of_the_positions_that_count():
    features = torch.randn(1, 4, 6, 8)
    weight = torch.zeros(1, 1, 6, 8)
    weight[..., :3] = 0.5
    part = features[..., :3]
    torch.testing.assert_close(gram_matrix(features, weight), gram_matrix(part), atol=1e-4, rtol=1e-4)
    for got, wanted in zip(mean_std(features, weight), mean_std(part), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_even_weights_change_nothing():
    features, ones = torch.randn(2, 4, 6, 8), torch.full((1, 1, 6, 8), 0.3)
    torch.testing.assert_close(gram_matrix(features, ones), gram_matrix(features), atol=1e-4, rtol=1e-4)


def test_regional_losses_of_one_full_mask_are_the_plain_one():
    features, target = {"a": torch.randn(1, 3, 8, 8)}, {"a": torch.randn(1, 3, 3)}
    whole = RegionalLoss(GramLoss({"a": 1.0}), torch.ones(1, 1, 32, 32))
    plain = GramLoss({"a": 1.0})
    torch.testing.assert_close(
        whole.bind(target)(whole.statistics(features)), plain.bind(target)(plain.statistics(features))
    )


def test_variation_across_the_wrap():
    ramp = torch.linspace(0, 1, 11).expand(1, 3, 5, 11)
    wrapped = TotalVariation(wrap=True)
    assert wrapped.statistics({"image": ramp})["image"].item() == pytest.approx((10 * 0.1 + 1) / 11)
    half = TotalVariation(weight=torch.full((1, 1, 5, 11), 0.5))
    assert half.statistics({"image": ramp})["image"].item() == pytest.approx(0.05)


def test_instance_norm_is_its_formula_and_so_is_its_gradient():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    scale, shift = (torch.randn(2, 3, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2))
    slow = torch.nn.functional.instance_norm(features) * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(instance_norm(features, scale, shift), slow)
    assert torch.autograd.gradcheck(instance_norm, (features, scale, shift))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instance_norm_without_gradients_takes_a_quicker_way_to_the_same(dtype):
    generator = torch.Generator().manual_seed(0)
    features = (2 + 3 * torch.randn(2, 3, 9, 7, generator=generator)).to(dtype, memory_format=torch.channels_last)
    scale, shift = torch.randn(2, 3, generator=generator), torch.randn(2, 3, generator=generator)
    with torch.no_grad():
        quick = instance_norm(features, scale, shift)
    assert quick.dtype == dtype
    assert quick.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        quick, instance_norm(features, scale, shift), atol=0.03 if dtype == torch.bfloat16 else 1e-5, rtol=1e-2
    )


def test_the_temporal_loss_counts_where_the_anchor_is_trusted():
    from impasto.losses.losses import TemporalLoss

    anchor, image = noise(16, 24), noise(16, 24, seed=1)
    trust = torch.zeros(1, 1, 16, 24)
    trust[..., :12] = 0.5
    loss = TemporalLoss(anchor, trust)
    value = loss.bind({})(loss.statistics({"image": image}))
    expected = 0.25 * (image - anchor)[..., :12].square().mean()
    assert value == pytest.approx(expected.item(), rel=1e-5)
