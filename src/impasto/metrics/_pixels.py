"""Measures of the pixels themselves. Pictures are `(H, W, 3)`, sRGB in [0, 1]; sums run in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from impasto.errors import InputError

Picture = NDArray[np.float32]
_Doubles = NDArray[np.float64]

BINS = 16
PATCH = 64
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of Wang 2003, fine to coarse
_LEAST_GRAIN = 1e-4
_WOVEN = 7 / 64  # waves a pixel: a period of 8 px, and what a window spreads of it
MS_SSIM_SIDE = _WINDOW * 2 ** (len(_SCALES) - 1)


def psnr(actual: Picture, expected: Picture) -> float:
    """Peak signal-to-noise ratio in dB of two pictures `(H, W, 3)` in [0, 1]; infinite when equal."""
    error = float(np.mean((actual.astype(np.float64) - expected.astype(np.float64)) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def luma(pixels: Picture) -> _Doubles:
    """`(H, W)`: the weighted sum of gamma-coded channels, in [0, 1]. Source: ITU-R BT.709, item 3.2."""
    weighted: _Doubles = pixels.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])
    return weighted


def ssim(first: Picture, second: Picture) -> float:
    """Structural similarity over Gaussian windows of 11x11, mean over positions whose window lies inside, and channels.

    Two pictures of one size. Returns a number in [-1, 1]; 1 for equals. Raises InputError below 11 px a side.
    Paper: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, eq. 13.
    """
    _check_side(first, _WINDOW, "ssim")
    return _similarity(first.astype(np.float64), second.astype(np.float64))[0]


def ms_ssim(first: Picture, second: Picture) -> float:
    """SSIM's contrast and structure over five scales, times its luminance at the coarsest. Negative terms count as 0.

    Two pictures of one size. Returns a number in [0, 1]; 1 for equals. Raises InputError below 176 px a side.
    Paper: Wang, Simoncelli and Bovik, Asilomar 2003, eq. 7.
    """
    _check_side(first, MS_SSIM_SIDE, "ms_ssim")
    a, b = first.astype(np.float64), second.astype(np.float64)
    product = 1.0
    for scale, exponent in enumerate(_SCALES):
        whole, contrast = _similarity(a, b)
        product *= max(0.0, whole if scale == len(_SCALES) - 1 else contrast) ** exponent
        a, b = _halve(a), _halve(b)
    return product


def _check_side(pixels: Picture, least: int, name: str) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < least:
        raise InputError(
            f"{name} needs at least {least} px a side and got {width}x{height}",
            "pictures are measured at longest side 512: crop narrow ones, or leave it out with --metrics",
        )


def _similarity(a: _Doubles, b: _Doubles) -> tuple[float, float]:
    """Means of SSIM and of its contrast-structure part."""
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    contrast = (2 * (_blur(a * b) - mean_a * mean_b) + _C2) / (variances + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _blur(values: _Doubles) -> _Doubles:
    edge = _WINDOW // 2
    blurred = np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA), dtype=np.float64)
    return blurred[edge:-edge, edge:-edge]


def _halve(values: _Doubles) -> _Doubles:
    height, width = (side // 2 * 2 for side in values.shape[:2])
    even = values[:height, :width]
    halved: _Doubles = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return halved


def histogram_distance(first: Picture, second: Picture) -> float:
    """Hellinger distance of joint RGB histograms, 16 bins a channel, each pixel shared between the eight nearest bins.

    Pictures may differ in size. Returns a number in [0, 1]: 0 for equal colours, 1 when no colour is shared.
    Source: the distance of HistoGAN (arXiv:2011.11731, eq. 4) on plain RGB.
    """
    overlap = float(np.sqrt(_histogram(first) * _histogram(second)).sum())
    return math.sqrt(max(0.0, 1.0 - overlap))


def _histogram(pixels: Picture) -> _Doubles:
    """`(16^3,)`, sums to 1."""
    position = np.clip(pixels.reshape(-1, 3).astype(np.float64), 0, 1) * (BINS - 1)
    low = np.minimum(position.astype(np.int64), BINS - 2)
    share = position - low
    total = np.zeros(BINS**3)
    for corner in np.ndindex(2, 2, 2):
        index = (low + corner) @ np.array([BINS * BINS, BINS, 1])
        weight = np.where(np.array(corner) == 1, share, 1 - share).prod(1)
        total += np.bincount(index, weights=weight, minlength=BINS**3)
    return total / len(position)


def edge_preservation(content: Picture, pastiche: Picture) -> float:
    """Correlation of the Sobel gradients' magnitudes: whether edges are where the photograph has them.

    Two pictures of one size. Returns a number in [-1, 1], 1 for the same edges; 0 where a picture has none.
    Source: the index of Sattar et al., IEEE TIP 6(6), 1997, with gradients for Laplacians: a stroke may swap light and
    dark at an edge and still keep it.
    """
    return _correlation(_gradient(luma(content)), _gradient(luma(pastiche)))


def _correlation(first: _Doubles, second: _Doubles) -> float:
    """Pearson's, of two arrays of one shape; 0 where one is constant."""
    first, second = first.ravel() - first.mean(), second.ravel() - second.mean()
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / size if size > 1e-9 else 0.0


def _gradient(values: _Doubles) -> _Doubles:
    across, down = (cv2.Sobel(values, cv2.CV_64F, *order, ksize=3)[1:-1, 1:-1] for order in ((1, 0), (0, 1)))
    return np.hypot(across, down)


def sharpness(pixels: Picture) -> float:
    """Variance of the luma's Laplacian, times 1000.

    One picture. Returns a number from 0 (flat) up; photographs at 512 px lie around 1 to 50.
    Source: Pech-Pacheco et al., ICPR 2000, sec. 3 (LAPV).
    """
    return 1000 * float(cv2.Laplacian(luma(pixels), cv2.CV_64F)[1:-1, 1:-1].var())


def photo_residue(content: Picture, pastiche: Picture) -> float:
    """Correlation of the fine detail of luma (what a blur of sigma 2 px takes away): how much was left unpainted.

    Two pictures of one size. Returns a number in [-1, 1]: 1 for the photograph's own detail, 0 for none of it or where
    a picture has none. The measure is ours.
    """
    return _correlation(*(_fine_detail(luma(pixels), 2.0) for pixels in (content, pastiche)))


def grain_ratio(pastiche: Picture, style: Picture) -> float:
    """Mean size of the finest detail of luma (what a blur of sigma 1 px takes away), over that of the painting.

    Pictures may differ in size. Returns a number from 0 (flat) up; 1: as fine a surface as the painting's. A painting
    of less than 1e-4 counts as one of that. The measure is ours.
    """
    ours, theirs = (float(np.abs(_fine_detail(luma(pixels), 1.0)).mean()) for pixels in (pastiche, style))
    return ours / max(theirs, _LEAST_GRAIN)


def _fine_detail(values: _Doubles, sigma: float) -> _Doubles:
    """Detail that a Gaussian blur removes; its window reaches 4 sigma, and the picture is reflected at its edges."""
    side = 2 * round(4 * sigma) + 1
    return values - np.asarray(cv2.GaussianBlur(values, (side, side), sigma), dtype=np.float64)


def checkerboard(pixels: Picture) -> float:
    """Share of the fine detail's energy that stands out at periods of 2 and 4 pixels.

    One picture at its own size, at least 64 px a side (InputError). Returns a number in [0, 1]; 0: no grid.
    The spectra of 64x64 patches are averaged; at each frequency that is a multiple of 1/4 in both directions, the
    energy above that of its neighbours is counted, and divided by all energy at frequencies of 1/8 or more.
    Source: the artefact is described in Odena, Dumoulin and Olah, Distill 2016; the measure is ours.
    """
    _check_side(pixels, PATCH, "checkerboard")
    power = _mean_of(_spectra(luma(pixels)))
    return _grid_share(power, period=4, fine=1 / 8, around=(4, 5, 6, 7))


def weave(pixels: Picture) -> float:
    """Share of the energy of flat places that stands out at periods of 2, 4 and 8 pixels.

    One picture at its own size, at least 64 px a side (InputError). Returns a number in [0, 1]; 0: no grid.
    As `checkerboard`, with multiples of 1/8 and energies of 7/64 and more, and only over the quarter of the patches
    that have least of these: strokes drown a faint grid, and it is seen where there are none. The measure is ours.
    """
    _check_side(pixels, PATCH, "weave")
    values, fine = luma(pixels), _finer(_WOVEN)
    energies = [power[fine].sum() for power in _spectra(values)]
    flat = set(np.argsort(energies, kind="stable")[: -(-len(energies) // 4)].tolist())
    power = _mean_of(power for index, power in enumerate(_spectra(values)) if index in flat)  # all at once are large
    return _grid_share(power, period=8, fine=_WOVEN, around=(3, 4, 5))


def _spectra(values: _Doubles) -> Iterator[_Doubles]:
    """Power `(64, 64)` of each half-overlapping patch under a Hann window. Source: Welch, IEEE AU-15, 1967."""
    ramp = np.hanning(PATCH + 1)[:PATCH]
    window = np.outer(ramp, ramp)
    patches = np.lib.stride_tricks.sliding_window_view(values, (PATCH, PATCH))[:: PATCH // 2, :: PATCH // 2]
    for patch in patches.reshape(-1, PATCH, PATCH):
        yield np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2


def _mean_of(spectra: Iterable[_Doubles]) -> _Doubles:
    total, count = np.zeros((PATCH, PATCH)), 0
    for power in spectra:
        total += power
        count += 1
    return total / count


def _finer(least: float) -> NDArray[np.bool_]:
    """`(64, 64)`: where a spectrum's frequency is at least that in one direction, in waves a pixel."""
    frequency = np.abs(np.fft.fftfreq(PATCH))
    finer: NDArray[np.bool_] = np.maximum.outer(frequency, frequency) >= least
    return finer


def _grid_share(power: _Doubles, *, period: int, fine: float, around: tuple[int, ...]) -> float:
    """Energy of the peaks at all waves of a period, as a share of that at frequencies of `fine` and more."""
    total, step = power[_finer(fine)].sum(), PATCH // period
    waves = [(row * step, column * step) for row, column in np.ndindex(period, period) if row or column]
    excess = sum(_peak(power, row, column, around) for row, column in waves)
    return float(excess / total) if total > 1e-12 else 0.0


def _peak(power: _Doubles, row: int, column: int, around: tuple[int, ...]) -> float:
    """Energy at a frequency above that `around` it, in bins. A Hann window spreads a wave over three bins a side."""
    near = np.arange(-1, 2)
    beside = np.array([*(-far for far in around), *around])
    peak = power[np.ix_((row + near) % PATCH, (column + near) % PATCH)].sum()
    # real edges put energy on whole rows and columns of the spectrum, so each is compared with its own
    along = power[np.ix_((row + near) % PATCH, (column + beside) % PATCH)].sum(0)
    across = power[np.ix_((row + beside) % PATCH, (column + near) % PATCH)].sum(1)
    return float(max(0.0, peak - 3 * max(along.mean(), across.mean())))
