import pytest
import torch
import torch.nn.functional as F

from impasto.contract import STYLE_LAYERS, Placement
from impasto.errors import InputError
from impasto.models.encoder_specs import ARCHITECTURES, VGG19, find
from impasto.models.encoders import Encoder
from impasto.ops.tiling import tiles_of
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


def random_weights(row, *, seed=0):
    """A whole network's weights by its keys, as torchvision would save them."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for one in row.convolutions():
        inputs = 1 if one.depthwise else one.inputs
        shape = (one.outputs, inputs, one.kernel, one.kernel)
        weights[f"{one.key}.weight"] = torch.randn(shape, generator=generator) * (2 / (inputs * one.kernel**2)) ** 0.5
        if not one.norm:
            weights[f"{one.key}.bias"] = 0.1 * torch.randn(one.outputs, generator=generator)
            continue
        weights[f"{one.norm}.weight"] = 1 + 0.1 * torch.rand(one.outputs, generator=generator)
        weights[f"{one.norm}.bias"] = 0.1 * torch.randn(one.outputs, generator=generator)
        weights[f"{one.norm}.running_mean"] = 0.1 * torch.randn(one.outputs, generator=generator)
        weights[f"{one.norm}.running_var"] = 1 + 0.5 * torch.rand(one.outputs, generator=generator)
    return weights


OTHERS = [row for row in ARCHITECTURES.values() if row.mean is not None and row.name != "resnet34"]
BY_NAME = pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)


@BY_NAME
def test_strides_and_sizes_are_as_the_table_says(row):
    encoder = Encoder(row, random_weights(row), Placement())
    layers = row.layers()
    found = encoder(noise(64, 96), layers)
    assert set(found) == set(layers)
    for layer, features in found.items():
        assert features.shape[2:] == (64 // row.stride(layer), 96 // row.stride(layer)), layer
    least = row.smallest_side(layers)
    assert encoder(noise(least, least), [layers[-1]])[layers[-1]].shape[2] >= 2
    with pytest.raises(InputError, match=f"at least {least}x{least}"):
        encoder(noise(least - 1, 64), layers)


@BY_NAME
def test_tiles_see_what_the_whole_picture_shows(row):
    weights = {name: tensor.double() for name, tensor in random_weights(row).items()}
    encoder = Encoder(row, weights, Placement(precision="float64"))
    layers = (*row.style_layers, *row.content_layers)
    image, reach = noise(96, 224, seed=2).double(), row.reach(layers)
    whole = encoder(image, layers)
    for tile in tiles_of((96, 224), 48, stride=16):
        part = encoder(tile.crop(image, reach), layers, tile=tile)
        for layer in layers:
            rows, columns = (
                slice(a // row.stride(layer), b // row.stride(layer)) for a, b in (tile.rows, tile.columns)
            )
            torch.testing.assert_close(part[layer], whole[layer][:, :, rows, columns])


@BY_NAME
def test_a_wrapped_picture_has_no_edge(row):
    encoder = Encoder(row, random_weights(row), Placement())
    image, layer = noise(64, 96), row.style_layers[-1]
    plain = encoder(image, [layer], wrap=True)[layer]
    moved = encoder(image.roll((16, 32), (2, 3)), [layer], wrap=True)[layer]
    torch.testing.assert_close(moved.roll((-1, -2), (2, 3)), plain, rtol=1e-3, atol=1e-3)


@BY_NAME
def test_bfloat16_sees_about_the_same(row):
    weights, image, layers = random_weights(row), noise(64, 64), row.style_layers
    exact = Encoder(row, weights, Placement())(image, layers)
    rough = Encoder(row, weights, Placement(precision="bfloat16"))(image, layers)
    for layer in layers:
        error = (rough[layer].float() - exact[layer]).square().mean() / exact[layer].square().mean()
        assert error < 0.01, layer


@BY_NAME
def test_a_flat_picture_has_flat_features(row):
    """No frame: reflection leaves nothing to see at the edges."""
    encoder = Encoder(row, random_weights(row), Placement())
    for features in encoder(torch.full((1, 3, 64, 64), 0.4), row.layers()).values():
        assert (features - features[:, :, 1:2, 1:2]).abs().max() < 1e-3 * features.abs().max() + 1e-5


def test_normalisation_is_folded_exactly():
    """ResNet's first layers against the network as its paper tells it."""
    row = ARCHITECTURES["resnet18"]
    weights, image = random_weights(row), noise(64, 64)

    def norm(x, key):
        parts = (weights[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-5)

    def convolve(x, key, pad, stride=1):
        return F.conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weights[f"{key}.weight"], None, stride)

    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (row.mean, row.deviation))
    x = F.relu(norm(convolve((image - mean) / deviation, "conv1", 3, 2), "bn1"))
    got = Encoder(row, weights, Placement())(image, ["relu1", "block1_1", "block2_1"])
    torch.testing.assert_close(got["relu1"], x, rtol=1e-3, atol=1e-4)
    x = F.max_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 3, 2)
    for block in range(2):
        inner = F.relu(norm(convolve(x, f"layer1.{block}.conv1", 1), f"layer1.{block}.bn1"))
        x = F.relu(x + norm(convolve(inner, f"layer1.{block}.conv2", 1), f"layer1.{block}.bn2"))
        if block == 0:
            torch.testing.assert_close(got["block1_1"], x, rtol=1e-3, atol=1e-4)
    inner = F.relu(norm(convolve(x, "layer2.0.conv1", 1, 2), "layer2.0.bn1"))
    short = norm(convolve(x, "layer2.0.downsample.0", 0, 2), "layer2.0.downsample.1")
    x = F.relu(short + norm(convolve(inner, "layer2.0.conv2", 1), "layer2.0.bn2"))
    torch.testing.assert_close(got["block2_1"], x, rtol=1e-3, atol=1e-4)


def test_the_work_is_that_of_the_convolutions():
    """A 3x3 convolution of 3 to 64 channels, then one of 64 to 64: 2 * 9 * 64 * (3 + 64) operations a pixel."""
    assert VGG19.operations(["relu1_2"]) == 2 * 9 * 64 * (3 + 64)
    assert VGG19.operations(["relu2_1"]) == 2 * 9 * 64 * (3 + 64) + 2 * 9 * 64 * 128 / 4


def test_unknown_encoders_and_files_say_what_to_give(tmp_path):
    with pytest.raises(InputError, match="no encoder 'vgg91'") as caught:
        find("vgg91")
    assert "vgg19" in caught.value.hint
    with pytest.raises(InputError, match="comes without weights") as caught:
        find("resnet50")
    assert "--encoder resnet50:weights.safetensors" in caught.value.hint
    with pytest.raises(InputError, match=r"must be a \.safetensors file"):
        find("resnet50:weights.pth")
    with pytest.raises(InputError, match="there is no file"):
        find(f"resnet50:{tmp_path}/none.safetensors")


def test_weights_of_another_network_are_refused_by_shape():
    row = ARCHITECTURES["resnet18"]
    shapes = {name: tuple(tensor.shape) for name, tensor in random_weights(row).items()}
    row.check_weights({**shapes, "fc.weight": (1000, 512)}, "mine.safetensors")
    with pytest.raises(InputError, match=r"mine\.safetensors has no tensor layer1\.0\.conv1\.weight"):
        row.check_weights({k: v for k, v in shapes.items() if k != "layer1.0.conv1.weight"}, "mine.safetensors")
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight is 64x64x3x3; resnet50 has 64x64x1x1"):
        ARCHITECTURES["resnet50"].check_weights(shapes, "mine.safetensors")
