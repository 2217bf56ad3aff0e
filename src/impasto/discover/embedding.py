"""Where paintings lie among each other by style: log-Euclidean Gram matrices, reduced.

Source: Arsigny et al. 2006 (log-Euclidean distances of covariances), here of VGG-19's features (arXiv:1505.07376).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto import images
from impasto.contract import OnProgress, Progress, ignore
from impasto.models.encoders import Encoder
from impasto.ops.stats import gram_matrix

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
SIDE = 320
"""Longest side, in pixels, at which paintings are compared."""

DIMENSIONS = 16
"""Directions of the most variance that are kept for clustering."""

_FLOOR = 1e-4  # of the mean eigenvalue, is added to each: logarithms of nothing would decide everything

Floats = NDArray[np.float64]


def style_kernel(pictures: Sequence[NDArray[Any]], encoder: Encoder, on_progress: OnProgress = ignore) -> Floats:
    """Products `(N, N)` of paintings as vectors: of each layer the logarithm of its Gram matrix, centred.

    Each layer has the same variance in all.

    Args:
        pictures: `(H, W, 3)` each.
        encoder: VGG-19.
        on_progress: called after each; may cancel.
    """
    vectors: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in LAYERS}
    for done, pixels in enumerate(pictures):
        on_progress(Progress("looking at paintings", done, len(pictures), "picture"))
        with torch.inference_mode():
            features = encoder(_prepared(pixels, encoder), LAYERS)
            for layer in LAYERS:
                vectors[layer].append(_logarithm(gram_matrix(features[layer])[0]))
    total: Floats = np.zeros((len(pictures), len(pictures)))
    for layer in LAYERS:
        rows = np.stack(vectors.pop(layer)).astype(np.float64)
        rows -= rows.mean(0)
        products = rows @ rows.T
        total += products / max(np.trace(products), 1e-12)
    return total


def coordinates(kernel: Floats, dimensions: int = DIMENSIONS) -> Floats:
    """The directions of the most variance, `(N, at most dimensions)`, the largest first; signs are settled."""
    values, vectors = np.linalg.eigh(kernel)
    order = np.argsort(-values)[: min(dimensions, len(kernel) - 1)]
    kept = [index for index in order if values[index] > 1e-9]
    placed: Floats = vectors[:, kept] * np.sqrt(values[kept])
    signs = np.sign(placed[np.abs(placed).argmax(0), np.arange(placed.shape[1])])
    settled: Floats = placed * signs
    return settled


def _prepared(pixels: NDArray[Any], encoder: Encoder) -> Tensor:
    height, width = pixels.shape[:2]
    width, height = images.fit(width, height, SIDE)
    least = encoder.architecture.smallest_side(LAYERS)
    small = images.resize(images.as_float(pixels), max(height, least), max(width, least))
    return images.to_tensor(small).to(encoder.placement.device)


def _logarithm(gram: Tensor) -> NDArray[np.float32]:
    """The upper triangle of the matrix logarithm; what lies off the diagonal counts twice in products."""
    matrix = gram.double().cpu()
    values, vectors = torch.linalg.eigh(matrix)
    floor = _FLOOR * values.clamp_min(0).mean()
    logarithm = (vectors * (values.clamp_min(0) + floor + 1e-12).log()) @ vectors.T
    rows, columns = torch.triu_indices(*logarithm.shape)
    weights = torch.where(rows == columns, 1.0, 2**0.5)
    return np.asarray((logarithm[rows, columns] * weights).float().numpy())
