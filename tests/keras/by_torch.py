"""What PyTorch says: run by a Python that has it, it writes an .npz for the tests of Keras to compare with.

    python by_torch.py FOLDER

FOLDER holds photo.npy and painting.npy, `(H, W, 3)` in [0, 1]; the answers go to answers.npz in it.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from impasto.assets import Store, load_weights
from impasto.contract import STYLE_LAYERS, Job, Placement, Style, StyleImage
from impasto.engine.engine import Engine
from impasto.engine.request import Request
from impasto.methods import recipes
from impasto.methods.optimize.levels import levels_of
from impasto.methods.optimize.method import Optimize
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import gram_matrix

LAYERS = (*STYLE_LAYERS, "relu4_2")


def tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


def features(photo, painting):
    """Of each layer: features, Gram matrix, and the gradient of its distance to the painting's."""
    encoder = Encoder(VGG19, load_weights(Store(), VGG19.asset), Placement())
    targets = {name: gram_matrix(found) for name, found in encoder(painting, LAYERS).items()}
    answers = {}
    for name in LAYERS:
        image = photo.clone().requires_grad_()
        found = encoder(image, [name])[name]
        distance = (gram_matrix(found) - targets[name]).square().sum() / targets[name].square().sum()
        distance.backward()
        answers[f"features/{name}"] = found[0].detach().permute(1, 2, 0)
        answers[f"distance/{name}"] = distance.detach()
        answers[f"gradient/{name}"] = image.grad[0]
    return answers


def losses(photo, painting, quality):
    """All losses of a quality at its finest level, and their gradient, where the photograph itself is scored."""
    settings = {
        "coarsest": 48,
        "checkpointing": "on",
    }  # direct convolutions: Winograd rounds more
    (stage,) = recipes.plan("optimize", quality, settings)
    height, width = photo.shape[2:]
    level = levels_of(height, width, stage.knobs)[-1]
    weights = {VGG19.asset: load_weights(Store(), VGG19.asset)}
    method = Optimize(weights, Placement())
    code = method.encode_style(Style((StyleImage(painting),), (height, width)), stage.knobs)
    found, gradient = method.score(photo, Job(code, stage.knobs), level)(photo.clone())
    return {**{f"loss/{name}": value for name, value in found.items()}, "loss-gradient": gradient[0]}


def pictures(photo, painting):
    """What the engine paints by each method that has a Keras form."""
    engine = Engine(device="cpu", precision="float32", runtime="torch")

    def paint(style, **settings):
        return engine.stylize(photo, style, Request(**settings)).picture.pixels

    return {
        "picture/adain": paint(painting, method="adain"),
        "picture/adain-half": paint(painting, method="adain", knobs={"strength": 0.5}),
        "picture/feedforward": paint("pack:irises"),
        "picture/mixed": paint([("pack:irises", 1.0), ("pack:cypresses", 2.0)]),
        "picture/lbfgs": paint(painting, knobs={"steps": 20, "coarsest": 96, "checkpointing": "on"}),
        "picture/adam": paint(painting, knobs={"steps": 20, "coarsest": 96, "optimizer": "adam"}),
        "picture/two": paint(
            [(painting, 1.0), (photo[::-1].copy(), 1.0)], knobs={"steps": 2, "strength": 0.7, "coarsest": 96}
        ),
    }


def main(folder):
    torch.manual_seed(0)
    photo, painting = (np.load(folder / f"{name}.npy") for name in ("photo", "painting"))
    answers = {**features(tensor(photo), tensor(painting)), **losses(tensor(photo), tensor(painting), "good")}
    in_haze = losses(tensor(0.5 + 0.2 * (photo - 0.5)), tensor(painting), "good")
    answers |= {f"faint-{name}": value for name, value in in_haze.items()}
    answers = {name: value.numpy() for name, value in answers.items()} | pictures(photo, painting)
    np.savez(folder / "answers.npz", **answers)


main(Path(sys.argv[1]))
