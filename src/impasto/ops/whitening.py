"""Whitening and colouring: gives features the covariance of others, not only their deviations channel by channel."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_VARIANCE = 1e-5
"""Directions with less variance than this say nothing about a picture; features have a mean activation near 1."""


def power(covariance: Tensor, exponent: float, *, least: float = LEAST_VARIANCE) -> Tensor:
    """A power of a covariance matrix, over the directions whose variance is at least `least`; zero in the others.

    With -1/2 it whitens, with 1/2 it colours. Decomposed in float64: single precision leaves the small eigenvalues,
    which whitening divides by, without a correct digit.

    Args:
        covariance: `(C, C)`, symmetric.
        exponent: of the eigenvalues.
        least: as above.

    Returns:
        `(C, C)` in float64.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    kept = values >= least
    powered = torch.where(kept, values.clamp_min(least) ** exponent, torch.zeros_like(values))
    result: Tensor = (vectors * powered) @ vectors.mT
    return result


def whitening_colouring(content: Tensor, style: Tensor) -> Tensor:
    """The matrix `(C, C)`, float64, that gives features of the covariance `content` the covariance `style`.

    Paper: arXiv:1705.08086, eq. 1 and 2 (Li et al. 2017), the eigenvalues that are nearly zero left out as there.
    """
    return power(style, 0.5) @ power(content, -0.5)
