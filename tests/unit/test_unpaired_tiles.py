"""A generator paints large pictures in tiles: the picture is that of one piece."""

import pytest
import torch

from impasto.contract import Guide, Job, Placement, Region, StyleCode, cancelled_by
from impasto.errors import Cancelled
from impasto.methods import unpaired
from impasto.methods.settings import UnpairedKnobs
from impasto.models import generators
from impasto.ops.tiles import as_float
from tiny import noise
from unit.test_generators import reference

CODE = StyleCode({"code": torch.zeros(1, 1)})


def method(**shape):
    return unpaired.Unpaired({"network": reference(**shape).state_dict()}, Placement())


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(generators, "side_within", lambda *_, **__: 64)


def both(painter, content, knobs=None, guide=None):
    knobs, guide = knobs or UnpairedKnobs(), guide or Guide()
    whole, tiled = (painter.stylize(content, [Job(CODE, knobs, guide, memory=memory)]) for memory in (None, 1))
    return whole, tiled


@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("height", "width"), [(150, 203), (9, 140), (64, 64)])
def test_tiles_are_the_picture_in_one_piece(blurred, affine, height, width):
    content = 0.7 * noise(height, width, seed=1) + 0.3 * torch.rand(1, 3, height, width)
    whole, tiled = both(method(blurred=blurred, affine=affine), content)
    assert (tiled - whole).abs().max() < 2e-4
    assert (whole - content).abs().mean() > 0.05


def test_strength_and_regions_hold_in_tiles():
    content, mask = noise(90, 140, seed=2), torch.rand(1, 1, 90, 140)
    mask[..., :60] = 0
    for guide in (Guide(strength=mask), Guide(regions=(Region(mask / 2, CODE), Region(mask / 3, CODE)))):
        whole, tiled = both(method(), content, UnpairedKnobs(0.7), guide)
        assert (tiled - whole).abs().max() < 2e-4
        assert torch.equal(tiled[..., :60], content[..., :60])


def test_codes_in_codes_out():
    content = (noise(70, 150, seed=3) * 255).round().to(torch.uint8)
    painted = method().stylize(content, [Job(CODE, UnpairedKnobs(), memory=1)])
    assert painted.dtype == torch.uint8
    whole = method().stylize(as_float(content), [Job(CODE, UnpairedKnobs())])
    assert (as_float(painted) - whole).abs().max() < 0.5 / 255 + 2e-4


def test_tiles_can_be_cancelled_between_any_two():
    def stop():
        raise Cancelled("stopped")

    with cancelled_by(stop), pytest.raises(Cancelled):
        method().stylize(noise(70, 150), [Job(CODE, UnpairedKnobs(), memory=1)])


def test_tiles_take_a_quarter_of_one_piece():
    assert generators.tiled_memory(64) < 1408 / 4
    in_tiles = unpaired.Unpaired.least_memory(4000, 6000, UnpairedKnobs(), Placement())
    assert in_tiles < 4000 * 6000 * 1400 / 4
