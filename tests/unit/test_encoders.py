import pytest
import torch
import torch.nn.functional as F

from impasto.contract import STYLE_LAYERS, Placement
from impasto.encoders import VGG19, Encoder
from impasto.errors import InputError
from tiny import noise


@pytest.fixture
def encoder(tiny_weights):
    return Encoder(VGG19, tiny_weights["vgg19-normalised"], Placement())


def slowly(weights, image, last):
    """Layer after layer, as the papers tell it."""
    x = F.conv2d(image, weights["preprocess.weight"], weights["preprocess.bias"])
    for block, count in enumerate((2, 2, 4, 4, 4), start=1):
        for index in range(1, count + 1):
            name = f"{block}_{index}"
            x = F.conv2d(
                F.pad(x, (1, 1, 1, 1), mode="reflect"), weights[f"conv{name}.weight"], weights[f"conv{name}.bias"]
            )
            if last == f"conv{name}":
                return x
            x = F.relu(x)
            if last == f"relu{name}":
                return x
        x = F.max_pool2d(x, 2)
    raise AssertionError


@pytest.mark.parametrize("layer", [*STYLE_LAYERS, "conv1_1", "conv4_2", "relu4_2"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_layers_equal_the_slow_network(tiny_weights, layer, channels_last):
    weights = tiny_weights["vgg19-normalised"]
    image = noise(48, 40)
    got = Encoder(VGG19, weights, Placement(channels_last=channels_last))(image, [layer])[layer]
    torch.testing.assert_close(got, slowly(weights, image, layer), rtol=1e-4, atol=1e-5)


def test_one_pass_serves_several_layers(encoder):
    image = noise(48, 48)
    together = encoder(image, [*STYLE_LAYERS, "conv2_2", "relu2_2"])
    for layer, features in together.items():
        torch.testing.assert_close(features, encoder(image, [layer])[layer])
    torch.testing.assert_close(F.relu(together["conv2_2"]), together["relu2_2"])


def test_gradients_reach_the_image_alone(encoder):
    image = noise(32, 32).requires_grad_(True)
    encoder(image, ["relu3_1"])["relu3_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_unknown_layer_lists_the_known(encoder):
    with pytest.raises(InputError, match="no layer 'relu6_1'") as caught:
        encoder(noise(32, 32), ["relu6_1"])
    assert "conv1_1, relu1_1" in caught.value.hint


def test_too_small_says_what_is_needed(encoder):
    with pytest.raises(InputError, match="at least 32x32"):
        encoder(noise(31, 40), ["relu5_1"])
    assert encoder(noise(32, 32), ["relu5_1"])["relu5_1"].shape[2:] == (2, 2)
