"""WCT and MicroAST: closed forms, and slow references that share no code with them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from impasto.contract import Guide, Job, Placement, Region, Style, StyleCode, StyleImage
from impasto.errors import InputError
from impasto.methods.attention import KEPT, Attention, AttentionMap
from impasto.methods.settings import AttentionKnobs, MicroASTKnobs, WCTKnobs
from impasto.methods.transfer import Moments
from impasto.methods.wct import LEVELS, WCT
from impasto.models import checkpoint, decoders
from impasto.models import microast as networks
from impasto.ops.tiles import to_codes
from impasto.ops.whitening import power, whitening_colouring
from references import plain_microast
from tiny import noise, style_of, tiny_encoder_weights, tiny_microast, tiny_wct

DOUBLE = Placement(precision="float64")


def features(channels, positions, seed):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return mixing @ torch.randn(channels, positions, generator=generator, dtype=torch.float64)


def test_whitened_features_have_identity_covariance_and_coloured_ones_the_styles():
    content, style = torch.cov(features(12, 900, 1)), torch.cov(features(12, 700, 2))
    white = power(content, -0.5)
    torch.testing.assert_close(white @ content @ white.mT, torch.eye(12, dtype=torch.float64))
    matrix = whitening_colouring(content, style)
    torch.testing.assert_close(matrix @ content @ matrix.mT, style)


def test_directions_without_variance_are_left_out():
    flat = torch.diag(torch.tensor([4.0, 1.0, 1e-9]))
    torch.testing.assert_close(torch.diag(power(flat, -0.5)), torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64))
    assert not power(torch.zeros(3, 3), -0.5).any()


def doubled(weights):
    return {name: tensor.double() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def wct():
    return WCT({"wct-small": doubled(tiny_wct())}, DOUBLE)


def plain_wct(weights, content, style):  # noqa: C901 - a network in one place
    """The paper's equations, level by level, on pictures whose sides need no padding."""

    def convolved(x, name, *, relu=True):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weights[f"{name}.weight"], weights[f"{name}.bias"])
        return x.relu() if relu else x

    def encode(x, level):
        prefix = f"encoder.relu{level}_1."
        x = F.conv2d(x, weights[f"{prefix}preprocess.weight"], weights[f"{prefix}preprocess.bias"])
        for block, count in enumerate((2, 2, 4, 4), start=1):
            for number in range(1, count + 1):
                x = convolved(x, f"{prefix}conv{block}_{number}")
                if block == level:
                    return x
            x = F.max_pool2d(x, 2)
        return convolved(x, f"{prefix}conv5_1")

    def decode(x, level):
        prefix = f"decoder.relu{level}_1."
        x = convolved(x, f"{prefix}conv{level}_1", relu=level > 1)
        for block, count in ((4, 4), (3, 4), (2, 2), (1, 2)):
            if block < level:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                for number in range(count, 0, -1):
                    x = convolved(x, f"{prefix}conv{block}_{number}", relu=(block, number) != (1, 1))
        return x

    for level in (5, 4, 3, 2, 1):
        own, given = (encode(picture, level) for picture in (content, style))
        content = decode(plain_transform(own[0].flatten(1), given[0].flatten(1)).view(own.shape), level).clamp(0, 1)
    return content


def plain_transform(own, given):
    """Equations 1 and 2 of the paper, on `(C, N)`."""
    matrices = []
    for flat, exponent in ((own, -0.5), (given, 0.5)):
        values, vectors = torch.linalg.eigh(torch.cov(flat, correction=0))
        kept = values >= 1e-5
        matrices.append(vectors[:, kept] @ torch.diag(values[kept] ** exponent) @ vectors[:, kept].mT)
    return matrices[1] @ matrices[0] @ (own - own.mean(1, keepdim=True)) + given.mean(1, keepdim=True)


def test_wct_is_the_papers_equations(wct):
    content, style = noise(64, 96, seed=1).double(), noise(80, 64, seed=2).double()
    code = wct.encode_style(Style((StyleImage(style),)), WCTKnobs())
    painted = wct.stylize(content, [Job(code, WCTKnobs())])
    torch.testing.assert_close(painted, plain_wct(doubled(tiny_wct()), content, style), atol=1e-5, rtol=0)


@pytest.mark.parametrize("guide", ["plain", "strength", "regions"])
def test_wct_in_tiles_is_wct_in_one_piece(wct, monkeypatch, guide):
    monkeypatch.setattr("impasto.methods.transfer.side_within", lambda *_, stride, **__: 3 * max(16, stride))
    content = noise(101, 155).double()
    codes = [wct.encode_style(style_of(noise(72, 64, seed=seed).double()), WCTKnobs()) for seed in (5, 6)]
    mask = torch.rand(1, 1, 101, 155, generator=torch.Generator().manual_seed(9))
    mask[..., :40] = 0
    given = {
        "plain": Guide(),
        "strength": Guide(strength=mask),
        "regions": Guide(regions=(Region(mask, codes[0]), Region((1 - mask) * 0.5, codes[1]))),
    }[guide]
    whole = wct.stylize(content, [Job(codes[0], WCTKnobs(), given)])
    tiled = wct.stylize(content, [Job(codes[0], WCTKnobs(), given, memory=1)])
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def test_wct_paints_codes(wct):
    codes = (noise(64, 96) * 255).round().to(torch.uint8)
    style = wct.encode_style(style_of(noise(72, 64, seed=5).double()), WCTKnobs())
    painted = wct.stylize(codes, [Job(style, WCTKnobs(), memory=1 << 28)])
    exact = wct.stylize((codes / 255).double(), [Job(style, WCTKnobs())])
    assert painted.dtype == torch.uint8
    assert (painted / 255 - exact).abs().max() < 0.02


def test_a_painting_of_one_colour_still_gives_a_picture(wct):
    flat = torch.full((1, 3, 64, 64), 0.4, dtype=torch.float64)
    code = wct.encode_style(style_of(flat), WCTKnobs())
    for content in (noise(64, 64).double(), flat):
        painted = wct.stylize(content, [Job(code, WCTKnobs())])
        assert torch.isfinite(painted).all()


def test_codes_of_one_size_as_codes_of_the_other():
    codes = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_codes(to_codes(codes, 16), 8), codes)
    assert int(to_codes(codes, 16)[0, 0, -1, -1]) == 65535


def test_own_decoders_are_named_by_their_folder(tmp_path):
    knobs = WCTKnobs(decoders=str(tmp_path))
    with pytest.raises(InputError, match=r"there is no decoder .*decoder5\.safetensors"):
        WCT.needs(knobs)
    for layer in LEVELS:
        tensors = dict(decoders.Mirror(tiny_encoder_weights(), layer, torch.Generator()).named_parameters())
        checkpoint.write(tmp_path / f"decoder{layer[4]}.safetensors", tensors, {"kind": "decoder", "layer": layer})
    names = WCT.needs(knobs)
    assert names[0] == "vgg19-normalised"
    five = dict(WCT.read_weights(names[1]))
    for name, made, said in (
        ("conv3_4.bias", None, r"lacks 1 tensor of a decoder of relu5_1: conv3_4\.bias"),
        ("conv9_9.bias", torch.zeros(1), r"has tensors that a decoder of relu5_1 has not: conv9_9\.bias"),
        ("conv4_3.weight", torch.zeros(2, 9, 3, 3), r"conv4_3\.weight of shape \(2, 9, 3, 3\)"),
    ):
        other = {**five, name: made} if made is not None else {one: five[one] for one in five if one != name}
        checkpoint.write(tmp_path / "decoder5.safetensors", other, {"kind": "decoder", "layer": "relu5_1"})
        with pytest.raises(InputError, match=said):
            WCT.read_weights(names[1])
    checkpoint.write(tmp_path / "decoder5.safetensors", tensors, {"kind": "decoder", "layer": "relu4_1"})
    with pytest.raises(InputError, match=r"is not a decoder of relu5_1"):
        WCT.read_weights(names[1])


@pytest.fixture(scope="module")
def attention(tiny_weights):
    return Attention(tiny_weights, Placement())


def test_attention_is_a_weighted_mean_and_deviation(attention):
    """Against a loop over places."""
    generator = torch.Generator().manual_seed(3)
    features, style = torch.rand(1, 12, 4, 5, generator=generator), torch.rand(30, 12, generator=generator)
    keys = F.normalize(style - style.mean(0), dim=1)
    mean, std = torch.rand(1, 12, 1, 1, generator=generator), 0.5 + torch.rand(1, 12, 1, 1, generator=generator)
    shares, temperature = torch.full((30,), 1 / 30), torch.tensor(0.1)
    tensors = {"keys": keys, "values": style, "shares": shares, "mean": mean, "std": std, "temperature": temperature}
    content = Moments(features.mean((2, 3), keepdim=True), features.std((2, 3), keepdim=True))
    got = AttentionMap(content, StyleCode(tensors))(features)
    wanted = torch.empty(12, 20)
    normal = ((features - content.mean) / content.spread)[0].flatten(1)
    for place in range(20):
        weight = torch.exp(keys @ F.normalize(normal[:, place], dim=0) / 0.1)
        weight = weight / weight.sum()
        local = (weight[:, None] * style).sum(0)
        spread = (weight[:, None] * (style - local).square()).sum(0)
        wanted[:, place] = local + (spread + 1e-5).sqrt() * normal[:, place]
    wanted = (wanted - wanted.mean(1, keepdim=True)) / (wanted.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    wanted = (1 - KEPT) * (std[0, :, 0] * wanted + mean[0, :, 0]) + KEPT * features[0].flatten(1)
    torch.testing.assert_close(got[0].flatten(1), wanted, atol=1e-4, rtol=1e-3)


def test_several_styles_of_attention_count_by_their_share(attention):
    knobs, content = AttentionKnobs(), noise(64, 64)
    one, two = style_of(noise(64, 64, seed=3)), style_of(noise(80, 48, seed=4))

    def painted(first, second):
        images = (replace(one.images[0], weight=first), replace(two.images[0], weight=second))
        code = attention.encode_style(replace(one, images=images), knobs)
        torch.testing.assert_close(code.tensors["shares"].sum(), torch.tensor(1.0))
        return attention.stylize(content, [Job(code, knobs)])

    alone = attention.stylize(content, [Job(attention.encode_style(one, knobs), knobs)])
    distances = [(painted(first, 1) - alone).abs().mean().item() for first in (1e4, 4, 1, 0.25)]
    assert distances[0] < 0.02
    assert distances == sorted(distances)


def test_large_paintings_are_looked_at_in_a_coarser_grid(attention, monkeypatch):
    monkeypatch.setattr("impasto.methods.attention.PLACES", 20)
    code = attention.encode_style(style_of(noise(128, 96)), AttentionKnobs())
    assert code.tensors["keys"].shape == (12, 12)  # of 16 by 12 places every third would be 24, every fourth is 12
    torch.testing.assert_close(code.tensors["keys"].norm(dim=1), torch.ones(12))


@torch.no_grad()
def test_microast_is_the_papers_network():
    weights, content, style = tiny_microast(), noise(48, 64, seed=1), noise(64, 40, seed=2)
    model = networks.MicroAST(weights, Placement())
    painted = model(content, model.encode_style(style))
    torch.testing.assert_close(painted, plain_microast(weights, content, style), atol=1e-4, rtol=1e-4)


def test_microast_has_the_published_number_of_parameters():
    assert sum(tensor.numel() for tensor in tiny_microast().values()) == 471_987


def test_settings_of_both_are_few():
    assert MicroASTKnobs() == MicroASTKnobs(strength=1.0, style_scale=1.0)
