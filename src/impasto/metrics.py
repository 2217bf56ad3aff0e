"""Scores of pictures: one definition for the whole project.

Both are taken at longest side 512 (content and style each; the pastiche resized to the content), by the normalised
VGG-19 with reflection padding and max pooling, in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.contract import STYLE_LAYERS, Placement
from impasto.encoders import VGG19, Encoder
from impasto.losses import relative_error
from impasto.stats import gram_matrix

SCORE_SIZE = 512
CONTENT_LAYER = "relu4_1"


@dataclass(frozen=True)
class Scores:
    """How a pastiche relates to its two sources.

    Attributes:
        style_distance: mean over relu1_1 .. relu5_1 of `|G(x) - G(s)|^2 / |G(s)|^2`; 0 is the style itself.
        content_error: `|F(x) - F(c)|^2 / |F(c)|^2` at relu4_1; 0 is the photograph itself.
    """

    style_distance: float
    content_error: float


class Judge:
    """Scores pastiches. Holds the encoder, so that many are scored with one loading.

    Args:
        weights: of `vgg19-normalised`.
        device: where to compute; always in float32.
    """

    def __init__(self, weights: dict[str, Tensor], device: str = "cpu") -> None:
        self._encoder = Encoder(VGG19, weights, Placement(device))
        self._device = device

    def scores(self, content: NDArray[np.float32], style: NDArray[np.float32], pastiche: NDArray[np.float32]) -> Scores:
        """Score one pastiche; pictures are `(H, W, 3)`, sRGB in [0, 1], of any size."""
        content = at_score_size(content)
        style = at_score_size(style)
        pastiche = images.resize(pastiche, *content.shape[:2])
        with torch.inference_mode():
            ours = self._encode(pastiche, (*STYLE_LAYERS, CONTENT_LAYER))
            theirs = self._encode(style, STYLE_LAYERS)
            wanted = self._encode(content, (CONTENT_LAYER,))
            distances = [
                relative_error(gram_matrix(ours[layer]), gram_matrix(theirs[layer])).item() for layer in STYLE_LAYERS
            ]
            error = relative_error(ours[CONTENT_LAYER], wanted[CONTENT_LAYER]).item()
        return Scores(sum(distances) / len(distances), error)

    def _encode(self, pixels: NDArray[np.float32], layers: tuple[str, ...]) -> dict[str, Tensor]:
        return dict(self._encoder(images.to_tensor(pixels).to(self._device), layers))


def at_score_size(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Resize `(H, W, 3)` to longest side 512."""
    height, width = pixels.shape[:2]
    width, height = images.fit(width, height, SCORE_SIZE)
    return images.resize(pixels, height, width)


def psnr(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures `(H, W, 3)` in [0, 1]; infinite when equal."""
    error = float(np.mean((actual.astype(np.float64) - expected.astype(np.float64)) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)
