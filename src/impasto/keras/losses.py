"""What a picture is scored by, in keras.ops: the same losses as `impasto.losses`, with the same numbers.

Features are `(1, h, w, C)`, of any float type; statistics and losses are float32. Every loss is relative: the squared
error divided by the squared size of its target. Means over places take the `shares (h, w)` of each in them, where these
are not alike: so the part that a window of a picture has in them is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

_EPSILON = 1e-5
_LEAST = 1e-12
_PIECE = 4096  # places that are compared at once; bounds the memory


def relative_error(actual: Any, target: Any) -> Any:
    """`|actual - target|^2 / |target|^2`, a scalar."""
    actual, target = _precise(actual), _precise(target)
    return ops.sum(ops.square(actual - target)) / ops.maximum(ops.sum(ops.square(target)), _LEAST)


def gram_matrix(features: Any, shares: Any = None) -> Any:
    """Products of all pairs of channels, averaged over positions: `(C, C)`. Paper: arXiv:1508.06576, eq. 3."""
    rows = _rows(features)
    if shares is None:
        return ops.matmul(ops.transpose(rows), rows) / rows.shape[0]
    return ops.matmul(ops.transpose(rows), rows * ops.reshape(shares, (-1, 1)))


def moments(features: Any, shares: Any = None) -> Any:
    """Means of each channel's values and of their squares, `(2, C)`."""
    rows = _rows(features)
    return ops.stack([_mean(rows, shares), _mean(ops.square(rows), shares)])


def moments_error(actual: Any, target: Any) -> Any:
    """Relative error of means and deviations. Paper: arXiv:1703.06868, eq. 13, squared and made relative."""
    return relative_error(_mean_and_deviation(actual), _mean_and_deviation(target))


STATISTICS: Mapping[str, tuple[Any, Any]] = {
    "gram": (gram_matrix, relative_error),
    "moments": (moments, moments_error),
}
"""What a style consists of, by the name of the style loss: statistics of features, and how far apart two are."""


def style_error(
    statistics: Mapping[str, Any], target: Mapping[str, Any], weights: Mapping[str, float], kind: str
) -> Any:
    """Weighted mean over layers of the distance of their statistics, a scalar."""
    distance = STATISTICS[kind][1]
    errors = [weight * distance(statistics[name], target[name]) for name, weight in weights.items()]
    return sum(errors[1:], errors[0]) / sum(weights.values())


def content_error(features: Mapping[str, Any], target: Mapping[str, Any]) -> Any:
    """Mean over layers of the relative error of feature maps, a scalar. Paper: arXiv:1508.06576, eq. 1."""
    errors = [relative_error(features[name], wanted) for name, wanted in sorted(target.items())]
    return sum(errors[1:], errors[0]) / len(errors)


def placed_error(actual: Any, wanted: Any, size: Any, shares: Any = None) -> Any:
    """Mean over places of `|actual - wanted|^2`, divided by `size`, that of `|wanted|^2` in the whole picture."""
    return ops.sum(_mean(_rows(ops.square(_precise(actual) - wanted)), shares)) / size


def total_variation(image: Any) -> Any:
    """Mean absolute difference of neighbouring pixels of `(1, H, W, 3)`, down and across, a scalar."""
    image = _precise(image)
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return ops.mean(ops.abs(down)) + ops.mean(ops.abs(right))


def stroke_error(features: Any, unit: Any, centre: Any, shares: Any = None) -> Any:
    """Mean cosine distance of each place to the nearest place of the painting, a scalar.

    Args:
        features: of the picture.
        unit: `(N, C)`, places of the painting as unit vectors around their mean.
        centre: `(C,)`, that mean.
        shares: see above.

    Paper: arXiv:2203.13215 (Kolkin et al. 2022), eq. 1, layer by layer.
    """
    rows = _rows(features)
    away = rows - centre
    ours = away / ops.sqrt(ops.maximum(ops.sum(ops.square(away), axis=1, keepdims=True), _EPSILON**2))
    pieces = []
    for start in range(0, rows.shape[0], _PIECE):
        piece = ours[start : start + _PIECE]
        nearest = ops.argmax(ops.matmul(ops.stop_gradient(piece), ops.transpose(unit)), axis=1)
        pieces.append(1 - ops.sum(piece * ops.take(unit, nearest, axis=0), axis=1, keepdims=True))
    return _mean(ops.concatenate(pieces), shares)[0]


def _mean(rows: Any, shares: Any) -> Any:
    """`(C,)` of `(hw, C)`."""
    return ops.mean(rows, axis=0) if shares is None else ops.sum(rows * ops.reshape(shares, (-1, 1)), axis=0)


def _rows(features: Any) -> Any:
    """`(hw, C)` of `(1, h, w, C)`."""
    return ops.reshape(_precise(features), (-1, features.shape[-1]))


def _precise(tensor: Any) -> Any:
    return tensor if keras.backend.standardize_dtype(tensor.dtype) == "float64" else ops.cast(tensor, "float32")


def _mean_and_deviation(packed: Any) -> Any:
    mean, square = packed[0], packed[1]
    return ops.stack([mean, ops.sqrt(ops.maximum(square - ops.square(mean), 0) + _EPSILON)])
