"""Linear maps of colours between palettes, on small matrices in float64. Loads no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

LEAST_VARIANCE = 1e-5
"""A grey palette has none across; 0.003 of deviation keeps its inverse finite."""
_LARGEST_GAIN = 2.0  # a flat source cannot be spread further without showing its noise: at 3 grey walls turn violet


def recoloring(own: Matrix, wanted: Matrix) -> tuple[Matrix, Matrix]:
    """The linear map of colours that gives a picture the mean and covariance of another.

    Args:
        own, wanted: `(4, 4)` sums of `h h^T` with h = (r, g, b, 1), of the picture and of the other.

    Returns:
        A matrix `(3, 3)` and a shift `(3,)`: colour c becomes `matrix @ c + shift`.
    """
    (mean, spread), (target_mean, target_spread) = _moments(own), _moments(wanted)
    matrix = transport(spread, target_spread)
    return matrix, target_mean - matrix @ mean


def transport(source: Matrix, target: Matrix) -> Matrix:
    """The symmetric matrix T with `T source T = target`, its gains bounded: optimal transport between Gaussians."""
    root = _root(source)
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ target @ root) @ inverse
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return _composed(values.clip(0, _LARGEST_GAIN), vectors)


def _moments(sums: Matrix) -> tuple[Matrix, Matrix]:
    """Mean `(3,)` and covariance `(3, 3)`."""
    means = sums / max(float(sums[3, 3]), 1e-9)
    mean = means[:3, 3]
    return mean, means[:3, :3] - np.outer(mean, mean) + LEAST_VARIANCE * np.eye(3)


def _root(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(matrix)
    return _composed(np.sqrt(values.clip(0)), vectors)


def _composed(values: Matrix, vectors: Matrix) -> Matrix:
    composed: Matrix = (vectors * values) @ vectors.T
    return composed
