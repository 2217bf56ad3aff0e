"""AdaAttN's published files: the authors' equations place by place, and files that do not fit; tiny networks."""

import pytest
import torch
import torch.nn.functional as F

from impasto.contract import Job, Placement
from impasto.errors import InputError
from impasto.methods.attention import Attention
from impasto.methods.settings import AttentionKnobs
from impasto.models import adaattn
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.grids import without_grid
from tiny import noise, style_of, tiny_encoder_weights

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
WIDE = [tiny_encoder_weights()[f"conv{level}_1.bias"].shape[0] for level in (1, 2, 3, 4, 5)]
DECODER = [(1, 1), (2, 1), (2, 4), (2, 7), (2, 10), (2, 14), (2, 17), (2, 21), (2, 24)]


def published(*, skip, shallow):
    """The files of one training by the names that the authors' code gives them."""
    generator = torch.Generator().manual_seed(5)

    def convolution(given, taken, size):
        weight = torch.randn(given, taken, size, size, generator=generator)
        return {
            "weight": (2 / (taken * size * size)) ** 0.5 * weight,
            "bias": 0.1 * torch.randn(given, generator=generator),
        }

    def block(at):
        keys = sum(WIDE[: at + 1]) if shallow else WIDE[at]
        parts = {"f": (keys, keys), "g": (keys, keys), "h": (WIDE[at], WIDE[at])}
        return {f"{name}.{k}": v for name, sides in parts.items() for k, v in convolution(*sides, 1).items()}

    merged = WIDE[3]
    transformer = {
        **{f"attn_adain_4_1.{name}": tensor for name, tensor in block(3).items()},
        **{f"attn_adain_5_1.{name}": tensor for name, tensor in block(4).items()},
        **{f"merge_conv.{name}": tensor for name, tensor in convolution(merged, merged, 3).items()},
    }
    widths, decoder, taken = [WIDE[2], WIDE[2], WIDE[2], WIDE[2], WIDE[1], WIDE[1], WIDE[0], WIDE[0], 3], {}, merged
    for number, ((part, at), given) in enumerate(zip(DECODER, widths, strict=True)):
        taken += WIDE[2] if number == 1 and skip else 0
        own = convolution(given, taken, 3)
        decoder |= {f"decoder_layer_{part}.{at}.{name}": tensor for name, tensor in own.items()}
        taken = given
    decoder["decoder_layer_2.24.bias"] += 0.5  # grey, so that nothing is cut off
    return {"transformer": transformer, "decoder": decoder, **({"adaattn_3": block(2)} if skip else {})}


def written(folder, files, epoch="latest"):
    folder.mkdir(exist_ok=True)
    for part, tensors in files.items():
        torch.save(tensors, folder / f"{epoch}_net_{part}.pth")
    return folder


def plain(files, content, style, shallow):
    """The authors' forward pass, place by place, without the decoder's grid."""
    encode = Encoder(VGG19, tiny_encoder_weights(), Placement())
    pictures = [encode(picture, LAYERS) for picture in (content, style)]

    def normal(x):
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt()

    def key(features, at):
        below = range(at) if shallow else ()
        sides = features[LAYERS[at]].shape[2:]
        parts = [normal(F.interpolate(features[LAYERS[one]], sides)) for one in below]
        return torch.cat([*parts, normal(features[LAYERS[at]])], 1)

    def attended(tensors, prefix, at):
        def conv(part, x):
            return F.conv2d(x, tensors[f"{prefix}{part}.weight"], tensors[f"{prefix}{part}.bias"])

        own, other = pictures
        queries, keys = conv("f", key(own, at))[0].flatten(1), conv("g", key(other, at))[0].flatten(1)
        values = conv("h", other[LAYERS[at]])[0].flatten(1)
        mean, std = (torch.empty(values.shape[0], queries.shape[1]) for _ in range(2))
        for place in range(queries.shape[1]):
            weight = torch.softmax(queries[:, place] @ keys, 0)
            mean[:, place] = values @ weight
            std[:, place] = (values.square() @ weight - mean[:, place].square()).clamp_min(0).sqrt()
        content_map = own[LAYERS[at]]
        return std.view(content_map.shape) * normal(content_map) + mean.view(content_map.shape)

    def conv3(tensors, name, x):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    own = files["transformer"]
    fine, coarse = attended(own, "attn_adain_4_1.", 3), attended(own, "attn_adain_5_1.", 4)
    x, decoder = conv3(own, "merge_conv", fine + F.interpolate(coarse, scale_factor=2)), files["decoder"]
    x = F.interpolate(F.relu(conv3(decoder, "decoder_layer_1.1", x)), scale_factor=2)
    if "adaattn_3" in files:
        x = torch.cat([x, attended(files["adaattn_3"], "", 2)], 1)
    for at in (1, 4, 7, 10):
        x = F.relu(conv3(decoder, f"decoder_layer_2.{at}", x))
    x = F.interpolate(x, scale_factor=2)
    for at in (14, 17):
        x = F.relu(conv3(decoder, f"decoder_layer_2.{at}", x))
    x = F.relu(conv3(decoder, "decoder_layer_2.21", F.interpolate(x, scale_factor=2)))
    return without_grid(conv3(decoder, "decoder_layer_2.24", x)).clamp(0, 1)


def method_of(folder):
    knobs = AttentionKnobs(network=str(folder))
    encoder, name = Attention.needs(knobs)
    return Attention({encoder: tiny_encoder_weights(), name: Attention.read_weights(name)}, Placement()), knobs


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shallow", [False, True])
@torch.no_grad()
def test_it_is_the_authors_network(tmp_path, skip, shallow):
    files = published(skip=skip, shallow=shallow)
    method, knobs = method_of(written(tmp_path / "AdaAttN", files))
    content, style = noise(48, 64, seed=1), noise(64, 48, seed=2)
    code = method.encode_style(style_of(style, (48, 64)), knobs)
    made, wanted = method.stylize(content, [Job(code, knobs)]), plain(files, content, style, shallow)
    assert wanted.std() > 0.01
    torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-3)


def test_odd_sizes_and_the_last_epoch(tmp_path):
    old, new = published(skip=True, shallow=True), published(skip=True, shallow=True)
    new["transformer"]["merge_conv.bias"] += 1
    written(tmp_path, old, "9")
    written(tmp_path, new, "10")
    torch.testing.assert_close(
        adaattn.read(tmp_path)["transformer.merge_conv.bias"], new["transformer"]["merge_conv.bias"]
    )
    method, knobs = method_of(tmp_path)
    code = method.encode_style(style_of(noise(64, 48, seed=2), (37, 59)), knobs)
    assert method.stylize(noise(37, 59, seed=1), [Job(code, knobs)]).shape == (1, 3, 37, 59)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("transformer", lambda tensors: tensors.pop("merge_conv.bias"), "lacks 1 tensor of AdaAttN: merge_conv.bias"),
        ("adaattn_3", lambda tensors: tensors.update(odd=torch.ones(1)), "has tensors that AdaAttN has not: odd"),
        (
            "decoder",
            lambda tensors: tensors.update({"decoder_layer_2.4.weight": torch.ones(2, 2)}),
            r"decoder.decoder_layer_2.4.weight of shape \(2, 2\)",
        ),
        ("decoder", lambda tensors: tensors.clear() or tensors.update(a=torch.ones(1)), "is of another method"),
        ("transformer", lambda tensors: tensors["merge_conv.bias"].fill_(torch.nan), "not finite"),
        (
            "transformer",
            lambda tensors: tensors.update({"attn_adain_5_1.f.bias": torch.ones(3)}),
            "attn_adain_5_1.f.bias of shape",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, part, change, said):
    files = published(skip=True, shallow=True)
    change(files[part])
    with pytest.raises(InputError, match=said) as caught:
        adaattn.read(written(tmp_path, files))
    assert "\n" not in caught.value.message + caught.value.hint


def test_missing_files_are_named(tmp_path):
    written(tmp_path, published(skip=True, shallow=True))
    (tmp_path / "latest_net_adaattn_3.pth").unlink()
    with pytest.raises(InputError, match="lacks the block for relu3_1"):
        adaattn.read(tmp_path)
    (tmp_path / "latest_net_decoder.pth").unlink()
    with pytest.raises(InputError, match=r"there is no checkpoint .*latest_net_decoder\.pth"):
        adaattn.read(tmp_path)
    (tmp_path / "latest_net_transformer.pth").rename(tmp_path / "latest_net_other.pth")
    with pytest.raises(InputError, match=r"holds no latest_net_transformer\.pth"):
        adaattn.read(tmp_path)
