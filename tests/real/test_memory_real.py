"""Limits of memory with the real weights: exact gradients, and a peak that stays below what was allowed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from impasto import device, images
from impasto.assets import load_weights
from impasto.contract import Placement
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.losses.losses import ContentLoss, GramLoss, TotalVariation
from impasto.losses.matching import MomentsLoss, WassersteinLoss
from impasto.methods import registry
from impasto.metrics import psnr
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.optim.evaluator import Evaluator, Term

pytestmark = pytest.mark.real

PAINTING = "museum:436535"


def test_vgg19_in_tiles_has_the_gradient_of_one_piece(store, photos):
    """In float64, so that what is left is rounding and nothing else."""
    weights = {name: tensor.double() for name, tensor in load_weights(store.path("vgg19-normalised")).items()}
    encoder = Encoder(VGG19, weights, Placement(precision="float64"))
    photo = images.resize(images.read(photos / "chelsea.png").pixels, 64, 176)
    style = images.resize(images.read(photos / "coffee.png").pixels, 64, 80)
    content, painting = (images.to_tensor(pixels).double() for pixels in (photo, style))
    generator = torch.Generator().manual_seed(0)
    image = (content + 0.05 * torch.randn(content.shape, generator=generator).double()).clamp(0, 1)
    gram, kept = GramLoss(dict.fromkeys(("relu1_1", "relu3_1", "relu5_1"), 1.0)), ContentLoss(frozenset({"relu4_1"}))
    others = [MomentsLoss({"relu2_1": 1.0}), WassersteinLoss({"relu1_1": 1.0})]
    terms = [
        Term("content", 1.0, kept, kept.statistics(encoder(content, kept.layers))),
        *(Term("style", 6.5, loss, loss.statistics(encoder(painting, loss.layers))) for loss in (gram, *others)),
        Term("tv", 0.3, TotalVariation()),
    ]
    losses, gradient = Evaluator(encoder, terms)(image)
    tiled_losses, tiled = Evaluator(encoder, terms, tile=96)(
        image
    )  # each ends inside the picture, 70 px from the other
    assert (tiled - gradient).abs().max() < 1e-10 * gradient.abs().max()
    for name, loss in losses.items():
        torch.testing.assert_close(tiled_losses[name], loss, rtol=1e-10, atol=0)


def test_adain_in_tiles_paints_the_same_picture(store, photos, monkeypatch):
    engine = Engine(store=store, device="cpu", precision="float32")
    whole = engine.stylize(photos / "coffee.png", PAINTING, Request(quality="draft", size=300))
    monkeypatch.setattr("impasto.engine.budget.bytes_in_one_piece", lambda *_: 1e12)
    monkeypatch.setattr("impasto.methods.transfer.side_within", lambda *_, **__: 128)
    tiled = engine.stylize(photos / "coffee.png", PAINTING, Request(quality="draft", size=300, max_memory=10**9))
    difference = np.abs(images.as_float(tiled.picture.pixels) - whole.picture.pixels)
    assert difference.mean() < 1 / 255  # photograph, style and result are rounded to codes
    assert psnr(images.as_float(tiled.picture.pixels), whole.picture.pixels) > 45


MEASURE = """
import json, sys
from impasto import device
from impasto.methods import registry
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.memory import PeakMemory
photo, quality, limit, knobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
engine, notes = Engine(device="cpu"), []
for name in ("adain", "optimize"):
    row = registry.find(name)
    engine.models.stylizer(row, device.place("cpu", tested=row.precisions), row.load_knobs()())
with PeakMemory() as peak:
    result = engine.stylize(photo, "museum:436535", Request(quality=quality, knobs=knobs, max_memory=limit),
                            on_note=notes.append)
    result.save(sys.argv[5])
print(json.dumps({"peak": peak.bytes, "tiled": any("in tiles" in note for note in notes)}))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("quality", "side", "limit", "in_float32", "knobs"),
    [
        ("draft", 1400, 450_000_000, 450_000_000, {}),
        ("good", 640, 420_000_000, 700_000_000, {"steps": 2, "coarsest": 640}),
    ],
)
def test_a_limit_holds(photos, tmp_path, quality, side, limit, in_float32, knobs):
    """The whole way, with reading and writing, above what Python with torch and the weights takes."""
    if device.place("cpu", tested=registry.find("optimize").precisions).precision == "float32":
        limit = in_float32  # a processor that does not multiply bfloat16 needs more at least
    photo, out = tmp_path / "large.png", tmp_path / "out.png"
    pixels = images.resize(images.read(photos / "coffee.png").pixels, side * 2 // 3, side)
    images.write(images.read(np.ascontiguousarray(pixels)), photo)
    command = [sys.executable, "-c", MEASURE, photo, quality, str(limit), json.dumps(knobs), out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["tiled"]
    assert found["peak"] < limit
    assert images.probe(out).width == side
