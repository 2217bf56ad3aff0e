"""Decoders: the mirror of the encoder, whole and in tiles."""

import pytest
import torch

from impasto.contract import STYLE_LAYERS, Placement
from impasto.errors import InputError
from impasto.models import decoders
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.tiling import tiles_of
from tiny import noise

EXACT = Placement(precision="float64", channels_last=False)


def fresh(weights, layer):
    return decoders.Mirror(weights["vgg19-normalised"], layer, torch.Generator().manual_seed(0))


def test_the_mirror_of_relu4_1_has_the_layers_of_adains_decoder(tiny_weights):
    shapes = {name: tensor.shape for name, tensor in fresh(tiny_weights, "relu4_1").named_parameters()}
    assert shapes == {name: tensor.shape for name, tensor in tiny_weights["adain-decoder"].items()}


@pytest.mark.parametrize("layer", STYLE_LAYERS)
def test_a_picture_comes_back_in_its_size_and_tiles_join_without_seams(tiny_weights, layer):
    stride, reach = VGG19.stride(layer), decoders.margin(layer)
    picture = noise(16 * 15, 16 * 2).double()
    features = Encoder(VGG19, tiny_weights["vgg19-normalised"], EXACT)(picture, [layer])[layer]
    decode = fresh(tiny_weights, layer).decoder(EXACT)
    with torch.no_grad():
        whole = decode(features)
        assert whole.shape == picture.shape
        for tile in tiles_of((240, 32), 32, stride=stride):
            part = decode(features[:, :, *tile.grown(reach).cells(stride)], tile)
            torch.testing.assert_close(part, tile.crop(whole), rtol=0, atol=1e-12)


def test_a_decoder_sees_no_further_than_its_margin():
    assert [decoders.margin(layer) for layer in STYLE_LAYERS] == [1, 4, 12, 32, 80]


def test_a_decoder_that_knows_nothing_paints_grey(tiny_weights):
    features = torch.rand(1, 12, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (fresh(tiny_weights, "relu4_1").decoder(Placement())(features) - 0.5).abs().mean() < 0.25


def test_a_layer_that_the_encoder_lacks_is_refused():
    with pytest.raises(InputError, match="no layer 'relu9_1'"):
        decoders.steps("relu9_1")


def test_a_decoder_stops_at_the_features_of_a_layer_that_is_less_deep(tiny_weights):
    mirror = fresh(tiny_weights, "relu3_1")
    features = torch.rand(1, mirror["conv3_1"].in_channels, 8, 12, generator=torch.Generator().manual_seed(2)).double()
    inner = mirror.decoder(EXACT, "relu2_1")(features)
    assert inner.min() >= 0
    behind = decoders.Decoder(dict(mirror.named_parameters()), EXACT, "relu2_1")
    torch.testing.assert_close(behind(inner), mirror.decoder(EXACT)(features))
    assert decoders.layer_of(dict(mirror.named_parameters())) == "relu3_1"
    assert not decoders.layer_of({})
