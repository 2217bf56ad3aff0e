"""Style attention that is learnt: against a slow reference, its training, and files of others; tiny networks."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from impasto.contract import Guide, Job, Placement, Region
from impasto.errors import InputError
from impasto.methods.attention import Attention
from impasto.methods.settings import AttentionKnobs
from impasto.models import checkpoint, sanet
from impasto.models.codecs import convolutions
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.grids import without_grid
from tiny import noise, style_of, tiny_decoder_weights, tiny_encoder_weights

CHANNELS = 12
DECODER_KEYS = (1, 5, 8, 11, 14, 18, 21, 25, 28)


def tiny_transformer():
    torch.manual_seed(3)
    return sanet.Transformer(CHANNELS).state_dict()


@pytest.fixture
def published(tmp_path):
    """A folder as SANet's authors publish it: two pickles."""
    ours = [f"{key}.{part}" for key in reversed(convolutions()) for part in ("weight", "bias")]
    theirs = [f"{key}.{part}" for key in DECODER_KEYS for part in ("weight", "bias")]
    decoder = tiny_decoder_weights()
    torch.save(tiny_transformer(), tmp_path / "transformer_iter_500000.pth")
    torch.save(
        {name: decoder[own] for name, own in zip(theirs, ours, strict=True)}, tmp_path / "decoder_iter_500000.pth"
    )
    return tmp_path


@pytest.fixture
def trained(published):
    knobs = AttentionKnobs(network=str(published))
    encoder, name = Attention.needs(knobs)
    weights = {encoder: tiny_encoder_weights(), name: Attention.read_weights(name)}
    return Attention(weights, Placement()), knobs


def plain(content, style):
    """The paper's equations, place by place, without the decoder's grid."""
    weights, decoder = tiny_transformer(), tiny_decoder_weights()
    encode = Encoder(VGG19, tiny_encoder_weights(), Placement())

    def normal(x):
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()

    def block(name, x, y):
        f, g, h, out = (
            lambda maps, part=part: F.conv2d(maps, weights[f"{name}.{part}.weight"], weights[f"{name}.{part}.bias"])
            for part in ("f", "g", "h", "out_conv")
        )
        queries, keys, values = f(normal(x))[0].flatten(1), g(normal(y))[0].flatten(1), h(y)[0].flatten(1)
        taken = torch.empty_like(queries)
        for place in range(queries.shape[1]):
            weight = torch.softmax(torch.stack([queries[:, place] @ key for key in keys.T]), 0)
            taken[:, place] = values @ weight
        return out(taken.view(x.shape)) + x

    fine, coarse = (
        block(name, encode(content, [layer])[layer], encode(style, [layer])[layer])
        for name, layer in (("sanet4_1", "relu4_1"), ("sanet5_1", "relu5_1"))
    )
    both = F.pad(fine + F.interpolate(coarse, scale_factor=2), (1, 1, 1, 1), mode="reflect")
    merged = F.conv2d(both, weights["merge_conv.weight"], weights["merge_conv.bias"])
    return without_grid(Decoder(decoder, Placement(), "relu4_1")(merged)).clamp(0, 1)


@torch.no_grad()
def test_it_is_the_papers_network(trained):
    method, knobs = trained
    content, style = noise(48, 64, seed=1), noise(64, 48, seed=2)
    code = method.encode_style(style_of(style, (48, 64)), knobs)
    torch.testing.assert_close(method.stylize(content, [Job(code, knobs)]), plain(content, style), atol=1e-4, rtol=1e-3)


def test_in_half_precision_it_paints_nearly_the_same(trained):
    method, knobs = trained
    weights = {
        "vgg19-normalised": tiny_encoder_weights(),
        f"attention:{knobs.network}": sanet.read(Path(knobs.network)),
    }
    half = Attention(weights, Placement(precision="bfloat16"))
    style, content = style_of(noise(64, 48, seed=2), (48, 64)), noise(48, 64, seed=1)
    fine, coarse = (one.stylize(content, [Job(one.encode_style(style, knobs), knobs)]) for one in (method, half))
    assert coarse.dtype == torch.float32
    assert (fine - coarse).abs().mean() < 0.05


def test_strength_regions_and_odd_sizes(trained):
    method, knobs = trained
    content = noise(37, 59, seed=1)
    one, two = (method.encode_style(style_of(noise(64, 48, seed=seed), (37, 59)), knobs) for seed in (2, 3))
    whole = method.stylize(content, [Job(one, knobs)])
    none = AttentionKnobs(0.0, network=knobs.network)
    torch.testing.assert_close(method.stylize(content, [Job(one, none)]), content)
    left = torch.zeros(1, 1, 37, 59)
    left[..., :30] = 1
    guide = Guide(regions=(Region(left, one), Region(1 - left, two)))
    both = method.stylize(content, [Job(one, knobs, guide)])
    torch.testing.assert_close(both[..., :30], whole[..., :30])
    assert (both[..., 30:] - whole[..., 30:]).abs().max() > 1e-3


def test_the_newest_of_the_authors_files_counts(published):
    moved = {name: tensor + 1 for name, tensor in tiny_transformer().items()}
    torch.save(moved, published / "transformer_iter_1000000.pth")
    torch.testing.assert_close(
        sanet.read(published)["transformer.merge_conv.bias"], tiny_transformer()["merge_conv.bias"] + 1
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("merge_conv.bias"), "lacks 1 tensor of attention: merge_conv.bias"),
        (lambda tensors: tensors.update({"odd.weight": torch.ones(1)}), "has tensors that attention has not: odd"),
        (
            lambda tensors: (
                [tensors.pop(name) for name in list(tensors)] and tensors.update({"a.weight": torch.ones(1)})
            ),
            "is of another method: it has a.weight",
        ),
        (
            lambda tensors: tensors.update({"merge_conv.weight": torch.ones(2, 2)}),
            r"merge_conv.weight of shape \(2, 2\)",
        ),
        (lambda tensors: tensors.update({"merge_conv.bias": torch.full((12,), torch.nan)}), "not finite"),
    ],
)
def test_what_does_not_fit_is_named(published, change, said):
    tensors = tiny_transformer()
    change(tensors)
    torch.save(tensors, published / "transformer_iter_500000.pth")
    with pytest.raises(InputError, match=said):
        sanet.read(published)


def test_other_files_are_refused(published, tmp_path):
    with pytest.raises(InputError, match="there is no network"):
        Attention.needs(AttentionKnobs(network=str(tmp_path / "nothing")))
    (published / "decoder_iter_500000.pth").unlink()
    with pytest.raises(InputError, match="holds no decoder_iter"):
        sanet.read(published)
    checkpoint.write(tmp_path / "decoder.safetensors", tiny_decoder_weights(), {"kind": "decoder"})
    with pytest.raises(InputError, match="of kind 'decoder', not one of attention"):
        sanet.read(tmp_path / "decoder.safetensors")
    (published / "transformer_iter_500000.pth").write_bytes(b"no pickle")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not one of attention"):
        sanet.read(tmp_path / "other.safetensors")


def test_a_trained_network_is_refused_where_only_tiles_fit(trained):
    with pytest.raises(InputError, match="only in tiles"):
        Attention.least_memory(4000, 4000, trained[1], Placement())


def test_its_file_is_read_back(tmp_path):
    transformer = sanet.Transformer(CHANNELS)
    path = tmp_path / "own.safetensors"
    checkpoint.write(path, sanet.tensors_of(transformer, tiny_decoder_weights()), {"kind": sanet.KIND})
    assert load_file(path)["transformer.merge_conv.weight"].dtype == torch.float16
    back, decoder = sanet.parts_of(sanet.read(path))
    torch.testing.assert_close(back.merge_conv.weight, transformer.merge_conv.weight, atol=1e-3, rtol=1e-2)
    assert set(decoder) == set(tiny_decoder_weights())
