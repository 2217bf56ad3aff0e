"""The same numbers as PyTorch's: features, losses, gradients, pictures."""

import numpy as np
import pytest

from impasto.contract import STYLE_LAYERS

LAYERS = (*STYLE_LAYERS, "relu4_2")


def far(found, wanted):
    """How far apart, relative to the size of what is wanted."""
    return np.linalg.norm((found - wanted).ravel()) / np.linalg.norm(wanted.ravel())


def similarity(one, other):
    """SSIM of two pictures `(H, W, 3)`, by windows of 7x7 pixels (Wang et al. 2004)."""
    import cv2

    def mean(values):
        return cv2.blur(values.astype(np.float64), (7, 7))

    first, second = mean(one), mean(other)
    variance, other_variance = mean(one**2) - first**2, mean(other**2) - second**2
    covariance = mean(one * other) - first * second
    scores = (2 * first * second + 1e-4) * (2 * covariance + 9e-4)
    scores /= (first**2 + second**2 + 1e-4) * (variance + other_variance + 9e-4)
    return scores.mean()


@pytest.fixture(scope="module")
def encoder(engine):
    from impasto.keras import vgg19

    return vgg19(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_features_of_each_layer(encoder, answers, photo, layer):
    found = np.asarray(encoder(photo[None])[layer])[0]
    assert far(found, answers[f"features/{layer}"]) < 1e-4


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layers_style_and_its_gradient(encoder, answers, photo, painting, layer):
    from impasto.keras import backends, gram_matrix, relative_error

    target = gram_matrix(encoder(painting[None])[layer])

    def loss(image, target):
        distance = relative_error(gram_matrix(encoder(image)[layer]), target["gram"])
        return distance, {"distance": distance}

    told, gradient = backends.scored(encoder, loss)(photo[None], {"gram": target})
    assert float(told["distance"]) == pytest.approx(float(answers[f"distance/{layer}"]), rel=1e-4)
    assert far(gradient[0].transpose(2, 0, 1), answers[f"gradient/{layer}"]) < 1e-4


@pytest.fixture(scope="module")
def method(encoder):
    from impasto.keras.optimize import Optimize

    return Optimize(encoder)


@pytest.mark.parametrize(("kind", "nearness"), [("", 1e-4), ("faint-", 3e-3)])
def test_all_losses_of_good_and_their_gradient(method, answers, photo, painting, kind, nearness):
    """In haze the content counts less; and places are as near to two of the painting's, so that rounding chooses."""
    from impasto.methods import recipes
    from impasto.methods.optimize.levels import levels_of

    (stage,) = recipes.plan("optimize", "good", {"coarsest": 48})
    level = levels_of(*photo.shape[:2], stage.knobs)[-1]
    assert level.octaves
    seen = photo if kind == "" else 0.5 + 0.2 * (photo - 0.5)
    image, style = seen.transpose(2, 0, 1), painting.transpose(2, 0, 1)
    told, gradient = method.score(image, [(1.0, style)], level, stage.knobs)(image)
    prefix = f"{kind}loss/"
    wanted = {name.removeprefix(prefix): float(value) for name, value in answers.items() if name.startswith(prefix)}
    assert told == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert {"content", "style", "strokes", "tv"} == told.keys()
    assert far(gradient, answers[f"{kind}loss-gradient"]) < nearness


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lbfgs", {"knobs": {"steps": 20, "coarsest": 96}}),
        ("adam", {"knobs": {"steps": 20, "coarsest": 96, "optimizer": "adam"}}),
    ],
)
def test_the_picture_after_20_steps(engine, answers, photo, painting, name, settings):
    from impasto.engine.request import Request

    result = engine.stylize(photo, painting, Request(**settings))
    assert similarity(result.picture.pixels, answers[f"picture/{name}"]) > 0.98
    assert similarity(photo, answers[f"picture/{name}"]) < 0.9  # it is another picture


def test_two_paintings_at_less_strength(engine, answers, photo, painting):
    from impasto.engine.request import Request

    styles = [(painting, 1.0), (photo[::-1].copy(), 1.0)]
    result = engine.stylize(photo, styles, Request(knobs={"steps": 2, "strength": 0.7, "coarsest": 96}))
    assert similarity(result.picture.pixels, answers["picture/two"]) > 0.98


@pytest.mark.parametrize(("name", "strength"), [("adain", 1.0), ("adain-half", 0.5)])
def test_adain(engine, answers, photo, painting, name, strength):
    from impasto.engine.request import Request

    result = engine.stylize(photo, painting, Request(method="adain", knobs={"strength": strength}))
    assert np.abs(result.picture.pixels - answers[f"picture/{name}"]).max() < 2e-3


@pytest.mark.parametrize(
    ("name", "styles"), [("feedforward", "pack:irises"), ("mixed", [("pack:irises", 1.0), ("pack:cypresses", 2.0)])]
)
def test_feed_forward_networks(engine, answers, photo, name, styles):
    result = engine.stylize(photo, styles)
    assert np.abs(result.picture.pixels - answers[f"picture/{name}"]).max() < 2e-3
