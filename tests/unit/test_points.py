"""Points that stand for masks: their grammar, the network against plain ones, and a region that is pointed at."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impasto.engine.controls import Controls
from impasto.engine.masks import MaskReader
from impasto.engine.points import Points, is_points
from impasto.engine.request import Request
from impasto.errors import AssetError, InputError
from impasto.models import mobile_sam, segment
from impasto.models.mobile_sam import MobileSam, Sizes
from tiny import noise

TINY = Sizes(
    side=64, widths=(8, 8, 16, 16), depths=(1, 1, 1, 1), heads=(1, 2, 2, 4), windows=(3, 3, 3, 3), channels=32, inner=16
)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    state = MobileSam(TINY).state_dict()
    return {
        name: torch.rand(tensor.shape, generator=generator) + 0.5
        if name.endswith("running_var")
        else 0.3 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def test_points_in_pixels_and_in_percent_are_the_same():
    pixels, percent = Points.parse("point 319.5,59.5"), Points.parse("point 50%,25%")
    assert pixels.within(640, 240) == percent.within(640, 240) == [(0.5, 0.25, True)]
    several = Points.parse("point 10%,20% 30%,40% not 50%,60%").within(9, 9)
    assert [wanted for *_, wanted in several] == [True, True, False]
    assert Points.parse("point 0,0 639,239").within(640, 240)[1] == pytest.approx((639.5 / 640, 239.5 / 240, True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("point", "names no place"),
        ("point not 3,4", "names no place"),
        ("point 3", "is no place"),
        ("point 3,4%", "is no place"),
        ("point -3,4", "is no place"),
        ("point nan,4", "is no place"),
        ("point 1,2 " * 40, "is no place"),
        ("point" + " 1,2" * 80, "too many"),
    ],
)
def test_what_is_no_place_is_named(text, said):
    with pytest.raises(InputError, match=said):
        Controls(regions=((text, "irises"),)).check()


@pytest.mark.parametrize("text", ["point 640,3", "point 3,240", "point 100.1%,0%", "point 1,1 not 3,900"])
def test_points_outside_are_refused(text):
    with pytest.raises(InputError, match="outside the picture, which has 640x240 px") as caught:
        Points.parse(text).within(640, 240)
    assert "\n" not in caught.value.hint


def test_other_words_are_no_points():
    assert not any(map(is_points, ("points 3,4", "pointer", "subject", "a point 3,4", None, np.zeros((3, 3)))))


def plain_window_attention(attention, windows, heads, window):
    """Place by place, as the paper of TinyViT says."""
    count, places, channels = windows.shape
    each = channels // heads
    mixed = attention.qkv(attention.norm(windows)).view(count, places, heads, 3 * each)
    made = torch.zeros_like(windows)
    for number in range(count):
        for head in range(heads):
            queries, keys, values = mixed[number, :, head].split(each, 1)
            for place in range(places):
                apart = [
                    abs(place // window - other // window) * window + abs(place % window - other % window)
                    for other in range(places)
                ]
                likeness = keys @ queries[place] / math.sqrt(each) + attention.attention_biases[head, apart]
                made[number, place, head * each : (head + 1) * each] = likeness.softmax(0) @ values
    return attention.proj(made)


@torch.no_grad()
def test_attention_in_windows_is_the_plain_one(tensors):
    block = MobileSam.of(tensors, TINY).image_encoder.layers[1].blocks[0]
    x = torch.randn(1, 8, 7, 5, generator=torch.Generator().manual_seed(1))
    padded = F.pad(x, (0, 1, 0, 2))[0]  # 7x5 places in windows of 3x3
    wanted = torch.zeros_like(padded)
    for top in range(0, 9, 3):
        for left in range(0, 6, 3):
            places = padded[:, top : top + 3, left : left + 3].flatten(1).mT[None]
            made = plain_window_attention(block.attn, places, 2, 3)
            wanted[:, top : top + 3, left : left + 3] = made[0].mT.view(8, 3, 3)
    torch.testing.assert_close(block._in_windows(x)[0], wanted[:, :7, :5])


@torch.no_grad()
def test_attention_of_points_is_pytorchs(tensors):
    own = MobileSam.of(tensors, TINY).mask_decoder.transformer.layers[0].self_attn
    plain = nn.MultiheadAttention(32, 8, batch_first=True)
    parts = [own.q_proj, own.k_proj, own.v_proj]
    plain.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    plain.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    plain.out_proj.load_state_dict(own.out_proj.state_dict())
    x, y = torch.randn(1, 5, 32), torch.randn(1, 9, 32)
    torch.testing.assert_close(own(x, y, y), plain(x, y, y)[0])


def test_what_it_sees_and_finds_has_the_shape_of_the_picture(tensors):
    network, image = MobileSam.of(tensors, TINY), noise(48, 96)
    seen = network.look(image)
    assert seen.shape == (1, 32, 4, 4)
    for places in ([(0.5, 0.5, True)], [(0.5, 0.5, True), (0.1, 0.1, False)]):
        mask = network.point(seen, image, places)
        assert mask.shape == (1, 1, 48, 96)
        assert 0 <= mask.min() <= mask.max() <= 1
    moved = network.point(seen, image, [(0.1, 0.9, True)])
    assert (moved - network.point(seen, image, [(0.5, 0.5, True)])).abs().max() > 1e-4


def test_of_all_masks_the_one_most_like_another_is_taken():
    """In the part of the network's square that the picture fills."""
    logits, like = torch.full((1, 3, 16, 16), -1.0), torch.zeros(1, 1, 40, 80)
    logits[:, 0] = logits[:, 1, :8, 8:] = logits[:, 2, 4:8, 8:] = 1
    like[..., 20:, 40:] = 1
    assert mobile_sam._most_like(logits, like, (0.5, 1.0)) == 2
    like[..., 40:] = 1
    assert mobile_sam._most_like(logits, like, (0.5, 1.0)) == 1


def test_the_clearest_mask_is_the_one_whose_edge_is_steep():
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 8, 64)
    steep, flat = mobile_sam._clarity(torch.cat([40 * ramp, 3 * ramp], 1))[0]
    assert steep > 0.9 > flat


def test_specks_are_left_out_and_parts_are_kept():
    mask = torch.zeros(1, 1, 60, 60, dtype=torch.bool)
    mask[..., 5:40, 5:20] = mask[..., 5:25, 40:50] = True  # two parts, as behind a pole
    mask[..., 55:57, 55:57] = True
    kept = segment._without_specks(mask)
    assert kept[0, 0, 56, 56] == 0
    assert (kept * mask).sum() == mask.sum() - 4


def test_a_head_above_a_body_belongs_to_it():
    body = torch.zeros(1, 1, 100, 60)
    body[..., 50:, 10:50] = 1
    whole = segment.with_heads(body, [(22, 28, 38, 48), (0, 0, 8, 10)])  # one above it, one in a picture on the wall
    assert whole[..., 30:46, 26:34].min() == 1
    assert whole[..., :12, :10].max() == 0
    assert torch.equal(whole[..., 55:, :], body[..., 55:, :])
    assert torch.equal(segment.with_heads(body, [(22, 60, 38, 80)]), body)


def test_a_region_that_is_pointed_at_is_painted_and_nothing_else(engine, pointing):
    photo, one, other = (noise(48, 64, seed=seed)[0].permute(1, 2, 0).contiguous().numpy() for seed in range(3))
    regions = (("point 20,10", one), ("point 75%,75%", other))
    made = engine.stylize(photo, [], Request(quality="draft", controls=Controls(regions=regions)))
    changed = np.abs(made.picture.pixels - photo).max(2) > 0
    assert len(pointing) == 1
    assert changed[5:15, 15:25].mean() > 0.9
    assert changed[31:41, 43:53].mean() > 0.9
    changed[5:15, 15:25] = changed[31:41, 43:53] = False
    assert not changed.any()
    assert [region["mask"] for region in made.record["regions"]] == ["point 20,10", "point 75%,75%"]
    kept = engine.stylize(photo, one, Request(quality="draft", controls=Controls(preserve="point 20,10")))
    assert np.array_equal(kept.picture.pixels[5:15, 15:25], photo[5:15, 15:25])


@pytest.mark.usefixtures("pointing")
def test_pixels_are_those_of_the_photograph_as_given(engine):
    reader = MaskReader(noise(24, 32), (64, 48), engine.store)
    found = reader.read("point 40,20")[0, 0].nonzero().float().mean(0)
    assert (found - torch.tensor([10.0, 20.0])).abs().max() < 1


def test_without_the_network_one_is_told(engine):
    photo = noise(48, 64)[0].permute(1, 2, 0).contiguous().numpy()
    with pytest.raises(AssetError, match="mobile-sam"):
        engine.stylize(photo, [], Request(quality="draft", controls=Controls(regions=(("point 20,10", photo),))))
    with pytest.raises(InputError, match="outside the picture"):
        engine.stylize(photo, [], Request(quality="draft", controls=Controls(regions=(("point 64,10", photo),))))
