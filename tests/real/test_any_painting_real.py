"""WCT and MicroAST with the published weights, where a folder beside the checkout has them or they were fetched."""

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.assets import Store, load_weights
from impasto.contract import Placement
from impasto.models.microast import MicroAST
from references import plain_microast

pytestmark = pytest.mark.real


def test_microast_paints_what_the_papers_network_paints(published, photos, painting):
    """Module by module, with the published weights on real pictures: so its scores are those of the published code."""
    weights = load_weights(Store().path("microast"))
    content, style = (
        torch.from_numpy(np.array(Image.open(path).convert("RGB").resize((256, 192)))).permute(2, 0, 1)[None] / 255
        for path in (photos / "chelsea.png", painting)
    )
    model = MicroAST(weights, Placement())
    with torch.no_grad():
        ours = model(content, model.encode_style(style))
        theirs = plain_microast(weights, content, style)
    assert (ours - content).abs().mean() > 0.05
    assert (ours - theirs).abs().max() < 1e-3


@pytest.mark.parametrize("method", ["wct", "microast"])
def test_paints_by_the_published_weights(published, photos, painting, method):
    """The palette moves to the painting's, and the photograph can still be made out."""
    photo = Image.open(photos / "chelsea.png").convert("RGB").resize((320, 213))
    result = impasto.stylize(photo, painting, method=method)
    painted, before = np.asarray(result.image) / 255, np.asarray(photo) / 255
    with Image.open(painting) as wanted:
        palette = np.asarray(wanted.convert("RGB").resize((64, 64))) / 255

    def away(pixels):
        return np.abs(pixels.mean((0, 1)) - palette.mean((0, 1))).sum()

    assert away(painted) < 0.6 * away(before)
    lumas = [pixels.mean(2)[4:-4, 4:-4].ravel() for pixels in (painted, before)]
    assert np.corrcoef(*lumas)[0, 1] > 0.35
