"""The canvas of colours: it starts as the photograph, moves no edge, and holds at every size."""

import torch
import torch.nn.functional as F

from impasto.optim.canvases import BilateralCanvas
from tiny import noise


def recoloured(photograph, *, seed=0, amount=0.3, **settings):
    """A canvas whose transforms are random."""
    canvas = BilateralCanvas(photograph, **settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for changes in canvas.parameters():
            changes.copy_(amount * torch.randn(changes.shape, generator=generator, dtype=changes.dtype))
    return canvas


def test_it_begins_with_the_photograph_itself():
    photograph = noise(40, 56)
    assert torch.equal(BilateralCanvas(photograph).render(), photograph)


def test_one_transform_everywhere_is_that_matrix():
    photograph = noise(24, 40)
    canvas = BilateralCanvas(photograph, scale=2.0)
    matrix = torch.tensor([[0.2, -0.1, 0.3, 0.05], [0.0, 0.4, 0.1, -0.1], [-0.3, 0.0, 0.1, 0.2]])
    with torch.no_grad():
        canvas.parameters()[0].copy_(matrix.flatten().view(1, 12, 1, 1, 1).expand_as(canvas.parameters()[0]) / 2)
    wanted = photograph + torch.einsum("ij,bjhw->bihw", matrix[:, :3], photograph) + matrix[:, 3].view(1, 3, 1, 1)
    torch.testing.assert_close(canvas.render(), wanted)


def test_where_the_photograph_is_flat_there_is_no_edge():
    """A slanting line between two flats: whatever the transforms, all sharp steps are on that line."""
    rows, columns = torch.arange(96)[:, None], torch.arange(128)[None]
    beyond = (columns > 20 + 0.7 * rows).float()
    photograph = torch.stack([0.2 + 0.5 * beyond, 0.7 - 0.4 * beyond, 0.3 + 0.3 * beyond])[None]
    painted = recoloured(photograph, amount=0.2, cells=4).render().detach()
    jump = (painted[..., 1:] - painted[..., :-1]).abs().sum(1)[0]
    line = (photograph[..., 1:] - photograph[..., :-1]).abs().sum(1)[0] > 0
    assert jump[~line].max() < 0.05
    assert jump[line].median() > 5 * jump[~line].max()


def test_what_was_found_small_holds_large():
    large = noise(256, 320)
    small = F.interpolate(large, size=(64, 80), mode="area")
    canvas = recoloured(small, amount=0.05, cells=4)
    again = F.interpolate(canvas.render_on(large), size=(64, 80), mode="area")
    assert (again - canvas.render().clamp(0, 1)).abs().mean() < 0.01


def test_strips_make_no_seam():
    tall = noise(1100, 24)
    canvas = recoloured(tall)
    torch.testing.assert_close(canvas.render_on(tall), canvas.render().detach().clamp(0, 1))


def test_a_copy_stays_as_it_is():
    canvas = recoloured(noise(16, 16))
    kept = canvas.copy()
    before = kept.render().clone()
    with torch.no_grad():
        for changes in canvas.parameters():
            changes.zero_()
    assert torch.equal(kept.render(), before)
    assert not torch.equal(canvas.render(), before)


def test_gradients_are_those_of_finite_differences():
    canvas = recoloured(noise(6, 7).double(), cells=3, depth=3)

    def render(*changes):
        canvas._changes = list(changes)
        return canvas.render()

    assert torch.autograd.gradcheck(render, tuple(canvas.parameters()))
