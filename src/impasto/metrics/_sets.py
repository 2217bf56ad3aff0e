"""Distances of whole sets of pictures, by the features `(N, 2048)` of FID's Inception. Float64 throughout."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError
from impasto.metrics._networks import INCEPTION_FEATURES

Vectors = NDArray[np.float64]

FID_LEAST = 128
"""Pictures in a set below which FID is refused."""
FID_FULL_RANK = INCEPTION_FEATURES
"""Pictures in a set below which FID comes with a note: its covariance cannot have full rank."""
KID_LEAST = 10
"""Pictures in a set below which KID is refused."""


def frechet_distance(first: Vectors, second: Vectors) -> float:
    """Squared Frechet distance of the Gaussians that two samples `(N, D)` and `(M, D)` suggest. Returns 0 or more.

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` with unbiased covariances. With `C = A^T A`, the trace of the root is
    the sum of the singular values of `A1 A2^T`: exact also where a covariance lacks rank, and no matrix root is needed.
    Paper: arXiv:1706.08500, eq. 6.
    """
    assert min(len(first), len(second)) > 1
    a, b = _root(first), _root(second)
    between = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    apart = float(((first.mean(0) - second.mean(0)) ** 2).sum())
    return max(0.0, apart + float((a**2).sum() + (b**2).sum() - 2 * between))


def _root(sample: Vectors) -> Vectors:
    """A matrix whose product with its transpose is the covariance, with as few rows as can be."""
    centred: Vectors = (sample - sample.mean(0)) / np.sqrt(len(sample) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"), dtype=np.float64)


def kernel_distance(first: Vectors, second: Vectors) -> float:
    """Squared maximum mean discrepancy with the kernel `(x.y / D + 1)^3`, unbiased, over the whole samples.

    first, second: `(N, D)` and `(M, D)`. Zero on average for samples of one distribution, so it may be negative.
    Paper: arXiv:1801.01401, sec. 4; its mean over random subsets of large sets is left out, since sets here are small.
    """
    count, other = len(first), len(second)
    assert min(count, other) > 1
    within, beyond, between = _kernel(first, first), _kernel(second, second), _kernel(first, second)
    own = (within.sum() - np.trace(within)) / (count * (count - 1))
    their = (beyond.sum() - np.trace(beyond)) / (other * (other - 1))
    return float(own + their - 2 * between.mean())


def _kernel(first: Vectors, second: Vectors) -> Vectors:
    products: Vectors = (first @ second.T / first.shape[1] + 1) ** 3
    return products


def art_fid(lpips: float, fid: float) -> float:
    """`(1 + LPIPS) (1 + FID)`: content kept and style reached in one number, from 1 up.

    lpips: mean LPIPS (AlexNet) of pastiches and their photographs; fid: of pastiches and paintings.
    Paper: arXiv:2207.12280, eq. 1. Its authors take an Inception tuned on art; this FID is the plain one's.
    """
    return (1 + lpips) * (1 + fid)


def check_counts(names: Iterable[str], styles: int, pastiches: int) -> None:
    """Raise InputError when a set is too small for one of the measures `names`; says how many it needs."""
    fewest = min(styles, pastiches)
    what = f"there are {pastiches} pastiches and {styles} styles"
    wanted = set(names)
    if wanted & {"fid", "artfid"} and fewest < FID_LEAST:
        offer = "use --metrics kid, which is unbiased for small sets" if fewest >= KID_LEAST else "give more pictures"
        raise InputError(
            f"FID needs at least {FID_LEAST} pictures in each set, and {FID_FULL_RANK:,} for full rank; {what}",
            offer,
        )
    if "kid" in wanted and fewest < KID_LEAST:
        raise InputError(f"KID needs at least {KID_LEAST} pictures in each set; {what}", "give more pictures")


def set_notes(names: Iterable[str], styles: int, pastiches: int) -> tuple[str, ...]:
    """Notes to print with the numbers: a set that is small, and which Inception was used."""
    notes = []
    wanted, fewest = set(names), min(styles, pastiches)
    if wanted & {"fid", "artfid"} and fewest < FID_FULL_RANK:
        notes.append(
            f"FID of {fewest} pictures is biased upwards ({FID_FULL_RANK:,} are needed for a covariance of full rank): "
            "compare it only between sets of equal size"
        )
    if "artfid" in wanted:
        notes.append("ArtFID is taken with the plain Inception-v3, not with the one that its authors tuned on art")
    return tuple(notes)
