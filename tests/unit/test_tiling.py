"""What a picture is scored by tile after tile is what it would be scored by in one piece."""

from dataclasses import dataclass

import pytest
import torch

from impasto.contract import Placement
from impasto.errors import InputError
from impasto.losses.losses import ContentLoss, GramLoss, LaplacianLoss, RegionalLoss, TotalVariation
from impasto.losses.matching import MomentsLoss, StrokeLoss, WassersteinLoss
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import mean_std
from impasto.ops.tiles import crop_to, mirrored, pad_to_multiple
from impasto.ops.tiling import Tile, tiles_of
from impasto.optim.evaluator import Evaluator, Term
from tiny import noise, tiny_encoder_weights

DOUBLE = Placement(precision="float64")


@pytest.fixture(scope="module")
def encoder():
    return Encoder(VGG19, {name: tensor.double() for name, tensor in tiny_encoder_weights().items()}, DOUBLE)


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (noise(height, width, seed=seed) * 0.7 + 0.3 * torch.rand(1, 3, height, width, generator=generator)).double()


def objectives(encoder, sides, *, wrap=False, weighted=False):
    """Everything that ships, each with a target of its own."""
    content, style = picture(*sides, seed=1), picture(64, 96, seed=2)
    gram = GramLoss({"relu1_1": 1.0, "relu3_1": 2.0, "relu5_1": 1.0})
    outline = LaplacianLoss(wrap=wrap)
    moments, gaussians = MomentsLoss({"relu3_1": 1.0}), WassersteinLoss({"relu2_1": 1.0})
    kept = ContentLoss(frozenset({"relu4_1", "conv2_2"}))
    masks = torch.rand(2, 1, *sides, generator=torch.Generator().manual_seed(3)).double()
    regional = RegionalLoss(GramLoss({"relu2_1": 1.0, "relu4_1": 1.0}), masks)
    own = regional.statistics(encoder(content, regional.layers, wrap=wrap))
    matched = encoder(style, ("relu3_1", "relu4_1"))
    places = {name: maps[0].flatten(1).mT for name, maps in matched.items()}
    return [
        Term("style", 2.0, gram, gram.statistics(encoder(style, gram.layers))),
        Term("style", 0.5, regional, {layer: 1.3 * matrix for layer, matrix in own.items()}),
        Term("content", 1.0, kept, kept.statistics(encoder(content, kept.layers, wrap=wrap))),
        Term("content", 0.5, outline, outline.statistics({"image": content})),
        Term("style", 0.5, moments, moments.statistics(encoder(style, moments.layers))),
        Term("style", 0.5, gaussians, gaussians.statistics(encoder(style, gaussians.layers))),
        Term("strokes", 0.7, StrokeLoss(places)),
        Term("strokes", 0.7, StrokeLoss(places, masks[1:], chunk=5)),
        Term("tv", 0.3, TotalVariation(wrap, masks[:1] if weighted else None)),
    ]


@pytest.mark.parametrize("wrap", [False, True], ids=["mirror", "wrap"])
@pytest.mark.parametrize("sides", [(32, 32), (96, 112)])
@pytest.mark.parametrize("side", [16, 80])
def test_tiles_give_the_loss_and_the_gradient_of_the_whole(encoder, sides, side, wrap):
    terms = objectives(encoder, sides, wrap=wrap, weighted=True)
    image = picture(*sides, seed=4)
    losses, gradient = Evaluator(encoder, terms, wrap=wrap)(image)
    tiled_losses, tiled_gradient = Evaluator(encoder, terms, wrap=wrap, tile=side)(image)
    for name, loss in losses.items():
        torch.testing.assert_close(tiled_losses[name], loss, rtol=1e-11, atol=0)
    assert gradient.dtype == torch.float64
    assert (tiled_gradient - gradient).abs().max() < 1e-10 * gradient.abs().max()


def test_tiles_see_the_picture_on_its_backdrop(encoder):
    sides = (96, 112)
    terms = objectives(encoder, sides)
    backdrop = picture(*sides, seed=6), picture(*sides, seed=7)[:, :1]
    image = picture(*sides, seed=4)
    losses, gradient = Evaluator(encoder, terms, backdrop=backdrop)(image)
    tiled_losses, tiled_gradient = Evaluator(encoder, terms, backdrop=backdrop, tile=48)(image)
    assert sum(tiled_losses.values()).item() == pytest.approx(sum(losses.values()).item(), rel=1e-11)
    assert (tiled_gradient - gradient).abs().max() < 1e-10 * gradient.abs().max()


@pytest.mark.parametrize("layer", ["relu1_1", "conv1_2", "relu2_1", "relu3_3", "conv4_1", "relu4_4", "relu5_4"])
def test_features_of_a_tile_are_those_of_the_whole_picture(encoder, layer):
    image = picture(192, 224)
    stride, reach = VGG19.stride(layer), VGG19.reach([layer])
    whole = encoder(image, [layer])[layer]
    for tile in tiles_of((192, 224), 64, stride=16):
        rows, columns = (slice(a // stride, b // stride) for a, b in (tile.rows, tile.columns))
        part = encoder(tile.crop(image, reach), [layer], tile=tile)[layer]
        torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=1e-12, atol=1e-12)


def test_reach_is_as_far_as_the_network_sees(encoder):
    """Counted, and tried: the farthest pixel that matters is that far away, and none beyond."""
    assert VGG19.reach(["relu1_1"]) == 1
    assert VGG19.reach(["relu4_1", "relu2_2"]) == 2 + 4 + 16 + 8
    assert VGG19.reach(["relu5_1"]) == 2 + 4 + 16 + 32 + 16
    image = picture(160, 64).requires_grad_()
    encoder(image, ["conv4_1"])["conv4_1"][:, :, 10].sum().backward()  # rows 80 to 87 of the picture
    seen = (image.grad.abs().sum((0, 1, 3)) > 0).nonzero()
    reach = VGG19.reach(["conv4_1"])
    assert 80 - reach <= seen.min() < 80 - reach + 4
    assert 87 + reach - 4 < seen.max() <= 87 + reach


@pytest.mark.parametrize("picture_sides", [(16, 16), (400, 336), (48, 1600)])
@pytest.mark.parametrize("side", [16, 100, 1024])
def test_tiles_cover_each_position_once(picture_sides, side):
    counted = torch.zeros(1, 1, *picture_sides)
    tiles = tiles_of(picture_sides, side, stride=16)
    for tile in tiles:
        counted[:, :, slice(*tile.rows), slice(*tile.columns)] += 1
        assert max(tile.rows[1] - tile.rows[0], tile.columns[1] - tile.columns[0]) <= max(side, 16)
        assert all(place % 16 == 0 for place in (*tile.rows, *tile.columns))
    assert (counted == 1).all()
    assert sum(tile.share for tile in tiles) == pytest.approx(1)


def test_a_tile_of_a_picture_that_wraps_sees_the_other_side():
    image = torch.arange(32.0)[None, None, None].expand(1, 1, 32, 32)
    window = Tile((0, 16), (0, 16), (32, 32), wrap=True).crop(image, 2)
    assert window.shape == (1, 1, 20, 20)
    assert window[0, 0, 0, :4].tolist() == [30, 31, 0, 1]


@dataclass(frozen=True)
class Deviation:
    """Not additive: a deviation is no mean over positions."""

    layers: frozenset[str] = frozenset({"relu2_1"})
    additive: bool = False

    def statistics(self, features):
        return {"std": mean_std(features["relu2_1"])[1]}

    def pool(self, parts):
        return {"std": sum(share * stats["std"] for share, stats in parts)}

    def bind(self, target):
        return lambda stats: (stats["std"] - target["std"]).square().mean()


def test_what_is_not_additive_is_refused_or_approximated_on_request(encoder):
    term = Term("deviation", 1.0, Deviation(), {"std": torch.ones(1, 6, 1, 1).double()})
    with pytest.raises(InputError, match="deviation loss looks at the whole picture") as caught:
        Evaluator(encoder, [term], tile=32)
    assert "--tiling approximate" in caught.value.hint
    image = picture(64, 64)
    losses, gradient = Evaluator(encoder, [term], tile=32, approximate=True)(image)
    whole, exact = Evaluator(encoder, [term])(image)
    assert losses["deviation"].item() == pytest.approx(whole["deviation"].item(), rel=0.2)
    cosine = torch.cosine_similarity(gradient.flatten(), exact.flatten(), dim=0)
    assert 0.7 < cosine < 1


def test_mirroring_does_not_repeat_the_ends():
    assert mirrored(4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (1, 5), (3, 100)])
def test_padding_and_back(height, width):
    image = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(image, 16, least=32)
    assert padded.shape[2] % 16 == 0
    assert padded.shape[3] % 16 == 0
    assert min(padded.shape[2:]) >= 32
    torch.testing.assert_close(crop_to(padded, height, width), image)


def test_what_fits_is_not_copied():
    image = torch.rand(1, 3, 32, 48)
    assert pad_to_multiple(image, 16) is image


@pytest.mark.parametrize("wrap", [False, True], ids=["mirror", "wrap"])
def test_checkpointing_gives_the_same_gradient_and_keeps_less(encoder, wrap):
    sides = (96, 112)
    terms = objectives(encoder, sides, wrap=wrap)
    image = picture(*sides, seed=4)

    def evaluated(*, checkpointing):
        held = 0

        def hold(tensor):
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            found = Evaluator(encoder, terms, wrap=wrap, checkpointing=checkpointing)(image)
        return *found, held

    losses, gradient, kept = evaluated(checkpointing=False)
    same, again, less = evaluated(checkpointing=True)
    assert all(torch.equal(same[name], loss) for name, loss in losses.items())
    assert (again - gradient).abs().max() < 1e-10 * gradient.abs().max()
    assert less < 0.6 * kept
