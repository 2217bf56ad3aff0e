import math

import pytest
import torch

from impasto.errors import Cancelled
from impasto.methods.optimize.levels import pyramid_scales
from impasto.ops.tiles import resample
from impasto.optim.canvases import PixelPyramid, gradient_preconditioner
from impasto.optim.descent import CachedScore, MultiscaleScore, descend, differentiated
from impasto.optim.schedule import Schedule
from tiny import noise


def towards(target):
    return differentiated(lambda image: {"distance": (image - target).square().mean()})


def test_pyramid_starts_as_the_start():
    start = noise(33, 47)
    torch.testing.assert_close(PixelPyramid(start).render(), start)


@pytest.mark.parametrize("schedule", [Schedule(80, "adam", learning_rate=0.03), Schedule(20, "lbfgs")])
def test_descent_reaches_a_known_minimum(schedule):
    target = noise(24, 32, seed=1)
    trace = descend(PixelPyramid(torch.full_like(target, 0.5)), towards(target), schedule)
    assert trace.losses[-1]["total"] < 0.01 * trace.losses[0]["total"]
    assert (trace.image - target).abs().mean() < 0.03


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_image_stays_legal_and_can_come_back(optimizer):
    """Pulled far above 1 for a while, pixels must still be able to go down."""

    def upwards(image):
        return {"up": -image.mean()}

    canvas = PixelPyramid(torch.full((1, 3, 8, 8), 0.9))
    pulled = descend(canvas, differentiated(upwards), Schedule(20, optimizer, learning_rate=0.1))
    assert pulled.image.max() <= 1
    back = descend(canvas, towards(torch.full((1, 3, 8, 8), 0.2)), Schedule(60, optimizer, learning_rate=0.1))
    assert back.image.mean() < 0.4


def test_lbfgs_takes_no_more_steps_than_allowed():
    calls = []

    def rugged(image):
        calls.append(1)
        return {"loss": (image * 40).sin().mean()}

    reports = []
    descend(PixelPyramid(noise(16, 16)), differentiated(rugged), Schedule(7), on_progress=reports.append)
    assert len(calls) <= 7
    assert reports[-1].step == 7


def test_best_image_is_kept_when_the_last_is_worse():
    seen = []

    def score(image):
        seen.append(image.detach().clone())
        worse_later = 1.0 if len(seen) < 4 else 100.0
        return {"loss": (image - 0.8).square().mean() * worse_later}

    trace = descend(
        PixelPyramid(torch.full((1, 3, 8, 8), 0.2)), differentiated(score), Schedule(10, "adam", learning_rate=0.05)
    )
    lowest = min(range(len(trace.losses)), key=lambda step: trace.losses[step]["total"])
    torch.testing.assert_close(trace.image, seen[lowest])


def test_cancelling_hands_over_the_best_so_far():
    target = noise(16, 16, seed=2)
    start = torch.full_like(target, 0.5)

    def stop_at_five(progress):
        if progress.step == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled) as caught:
        descend(PixelPyramid(start), towards(target), Schedule(50, "adam"), on_progress=stop_at_five)
    assert (caught.value.partial - target).abs().mean() < (start - target).abs().mean()


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("stop", [0, 1, 4, 9])
def test_a_descent_goes_on_from_a_snapshot_to_the_same_end(optimizer, stop):
    target, start = noise(24, 32, seed=1), noise(24, 32)
    schedule = Schedule(12, optimizer, learning_rate=0.03)
    kept = {}

    def break_off(progress):
        if progress.step == stop:
            kept.update({name: tensor.clone() for name, tensor in progress.snapshot.state().items()})
            raise Cancelled("killed")

    whole = descend(PixelPyramid(start), towards(target), schedule)
    with pytest.raises(Cancelled):
        descend(PixelPyramid(start), towards(target), schedule, on_progress=break_off)
    reports = []
    rest = descend(PixelPyramid(start), towards(target), schedule, on_progress=reports.append, resume=kept)
    assert torch.equal(rest.image, whole.image)
    assert reports[0].step == int(kept["steps"]) <= stop
    assert len(rest.losses) == 12 - int(kept["steps"])


def test_rate_rises_then_falls_to_zero():
    schedule = Schedule(20, warmup=3)
    rates = [schedule.rate(step) for step in range(21)]
    assert rates[0] == pytest.approx(0.25)
    assert max(rates) == rates[3]
    assert rates[20] == pytest.approx(0)


@pytest.mark.parametrize(
    ("sides", "scales"),
    [((384, 512), (0.25, 0.5, 1.0)), ((96, 2000), (0.0625, 0.125, 0.25, 0.5, 1.0)), ((20, 20), (1.0,))],
)
def test_scales_by_size(sides, scales):
    assert pyramid_scales(*sides, coarsest=100) == scales


def test_resampling_keeps_the_mean_and_the_size():
    image = noise(40, 60)
    assert resample(image, 40, 60) is image
    small = resample(image, 20, 30)
    assert small.shape == (1, 3, 20, 30)
    assert math.isclose(small.mean().item(), image.mean().item(), abs_tol=5e-3)


def test_a_place_with_a_strong_gradient_takes_no_larger_first_step():
    """One corner's gradient is fifty times that of the rest: paced, both change alike in the first step."""
    gradient = torch.ones(1, 3, 96, 96)
    gradient[:, :, :20, :20] = 50
    preconditioner = gradient_preconditioner(gradient)
    assert preconditioner.shape == (1, 1, 96, 96)
    assert preconditioner.min() > 0
    step = (preconditioner * gradient).abs()
    assert step[..., 5, 5].mean() / step[..., 90, 90].mean() < 8  # and 50 without it
    assert float(step.mean()) == pytest.approx(float(gradient.mean()), rel=1e-3)
    torch.testing.assert_close(
        gradient_preconditioner(gradient.roll(40, 3), wrap=True),
        gradient_preconditioner(gradient, wrap=True).roll(40, 3),
    )


def test_what_is_remembered_is_not_computed_again():
    asked = []

    def score(image):
        asked.append(image)
        return {"total": image.sum()}, torch.ones_like(image)

    cached_score, image = CachedScore(score), noise(8, 8)
    torch.testing.assert_close(cached_score.ahead(image), torch.ones_like(image))
    cached_score(image.clone())
    assert len(asked) == 1
    cached_score(image)  # handed out once: whoever got it may have changed it
    cached_score.ahead(image)
    cached_score(image + 1)
    assert len(asked) == 4


class _Colour:
    """Another canvas than ours: one colour for all pixels."""

    bounded = True

    def __init__(self):
        self.colour = torch.full((1, 3, 1, 1), 0.2, requires_grad=True)

    def parameters(self):
        return [self.colour]

    def render(self):
        return self.colour.expand(1, 3, 8, 8)

    def project(self):
        with torch.no_grad():
            self.colour.clamp_(0, 1)


def test_a_canvas_of_another_kind_says_itself_that_it_is_bounded():
    seen = []

    def score(image):
        seen.append(image.clone())
        return {"loss": (image - 0.7).square().mean()}

    result = descend(_Colour(), differentiated(score), Schedule(20, "adam", learning_rate=0.1))
    torch.testing.assert_close(result.image, torch.full((1, 3, 8, 8), 0.7), atol=0.05, rtol=0)
    assert all(image.min() >= 0 and image.max() <= 1 for image in seen)


def test_a_score_at_several_sizes_has_the_gradient_of_the_sum():
    image = noise(32, 48).double()

    def score(weight):
        return differentiated(lambda x: {"style": weight * x.square().mean(), f"own{weight}": x.sin().mean()})

    losses, gradient = MultiscaleScore(score(1.0), [((16, 24), score(2.0))])(image)
    leaf = image.clone().requires_grad_()
    small = resample(leaf, 16, 24)
    style = leaf.square().mean() + 2 * small.square().mean()
    (style + leaf.sin().mean() + small.sin().mean()).backward()
    torch.testing.assert_close(gradient, leaf.grad)
    torch.testing.assert_close(losses["style"], style.detach())
    assert set(losses) == {"style", "own1.0", "own2.0"}
