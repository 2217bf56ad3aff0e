"""Colour apart from paint: keep the photograph's, or take the style's alone. Images are `(1, 3, H, W)` in [0, 1].

Two ways to keep a photograph's colours (both in arXiv:1606.05897, Gatys et al. 2016, section 2):

- luminance: paint, then give the painted luma the photograph's chroma (`with_chroma_of`). Exact, but a brush stroke of
  another colour leaves no trace;
- histogram: give the style image the photograph's colours, then paint with it (`match_colors`). Strokes keep their
  colour contrasts, in the photograph's palette.
"""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.ops import palettes

LUMA = (0.299, 0.587, 0.114)
"""Rec. ITU-R BT.601-7: the luma of YIQ (which Gatys 2016 uses), of Y'CbCr and of JPEG, on gamma-coded sRGB."""

_STEEPEST = 1.5  # of the curves: a white sky that had to fill half a palette would break into bands
_QUANTILES = 256
_LEAST_VISIBLE = 64  # pixels whose colours say anything


def luma(images: Tensor) -> Tensor:
    """`(B, 1, H, W)` of `(B, 3, H, W)`: the weighted sum of the gamma-coded channels."""
    weights = torch.tensor(LUMA, device=images.device, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def with_chroma_of(painted: Tensor, photograph: Tensor) -> Tensor:
    """The luma of `painted` with the chroma of `photograph`, in [0, 1].

    Chroma is a colour minus its own luma on every channel: the plane of Cb and Cr, or I and Q. Where the sum would
    leave [0, 1], the chroma is shrunk towards grey, which lies on the line of the same luma; so the luma of the result
    is that of `painted` everywhere, to rounding. (Clipping would shift it.)
    """
    light = luma(painted)
    chroma = photograph - luma(photograph)
    # the largest share of the chroma that fits between 0 and 1 on every channel
    room = torch.where(chroma > 0, 1 - light, light)
    share = (room / chroma.abs().clamp_min(1e-9)).amin(1, keepdim=True).clamp(max=1)
    return (light + share * chroma).clamp(0, 1)


def match_colors(image: Tensor, palette: Tensor, seen: Tensor | None = None) -> Tensor:
    """`image` with the distribution of colours of `palette`, its structure kept.

    First the linear map that carries mean and covariance over at the least cost (Monge and Kantorovich's optimal
    transport between Gaussians), then a monotone curve along each principal axis of the palette, which matches its
    histograms. Both are maps of colours: equal colours stay equal, so no grain or texture comes in.

    Args:
        image: `(1, 3, H, W)`.
        palette: `(1, 3, h, w)`, of any size.
        seen: `(1, 1, H, W)`, opacity: the map is found from what is more than half opaque, and moves all.

    Paper: arXiv:1606.05897, eq. 6-10 (linear; there with a Cholesky or symmetric root, not the optimal one).
    """
    source, target = image.flatten(2)[0].double(), palette.flatten(2)[0].double()  # (3, N)
    inside = _visible(seen, source)
    shown = source[:, inside]
    source_mean, target_mean = shown.mean(1, keepdim=True), target.mean(1, keepdim=True)
    source_spread, target_spread = _covariance(shown - source_mean), _covariance(target - target_mean)
    moved = _transport(source_spread, target_spread) @ (source - source_mean)
    axes = torch.linalg.eigh(target_spread).eigenvectors  # (3, 3), a column each
    along, wanted = axes.T @ moved, axes.T @ (target - target_mean)
    curved = torch.stack([_match_histogram(values, goal, inside) for values, goal in zip(along, wanted, strict=True)])
    matched: Tensor = axes @ curved + target_mean
    return matched.reshape_as(image[0])[None].clamp(0, 1).to(image.dtype)


def _visible(seen: Tensor | None, colors: Tensor) -> Tensor | slice:
    """Which of `colors (3, N)` count: those more than half opaque, or all where these are too few to say anything."""
    if seen is None:
        return slice(None)
    inside = seen.flatten().to(colors.device) > 0.5
    return inside if inside.sum() >= _LEAST_VISIBLE else slice(None)


def color_sums(pixels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sums for mean and covariance of colours: `(1, 4, 4)` float64, the sum of `h h^T` with h = (r, g, b, 1).

    Sums of parts add up to that of the whole; a weighted mean of pictures' sums is that of their mixture.

    Args:
        pixels: `(1, 3, H, W)` in [0, 1].
        weight: `(1, 1, H, W)`, how much each pixel counts; evenly by default.
    """
    values = pixels.flatten(2).double()
    ones = torch.ones_like(values[:, :1])
    values = torch.cat([values, ones], 1)  # (1, 4, N)
    return (values if weight is None else values * weight.flatten(2)) @ values.mT


def recoloring(own: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The linear map of colours that gives a picture the mean and covariance of another; see `match_colors`.

    Args:
        own, wanted: `color_sums` of the picture and of the other.

    Returns:
        A matrix `(3, 3)` and a shift `(3,)`, float32: colour c becomes `matrix @ c + shift`.
    """
    sums = (each[0].cpu().numpy() for each in (own, wanted))
    matrix, shift = (torch.from_numpy(each).to(own.device, torch.float32) for each in palettes.recoloring(*sums))
    return matrix, shift


def _covariance(centred: Tensor) -> Tensor:
    identity = torch.eye(3, dtype=centred.dtype, device=centred.device)
    return torch.addmm(palettes.LEAST_VARIANCE * identity, centred, centred.T, alpha=1 / centred.shape[1])


def _transport(source: Tensor, target: Tensor) -> Tensor:
    """See `palettes.transport`."""
    return torch.from_numpy(palettes.transport(source.cpu().numpy(), target.cpu().numpy())).to(source)


def _match_histogram(values: Tensor, wanted: Tensor, inside: Tensor | slice) -> Tensor:
    """`values (N)` moved along a piecewise linear monotone curve towards the quantiles of `wanted (M)`.

    The curve is nowhere steeper than _STEEPEST, and keeps mean and, within that bound, deviation.
    `wanted` is centred; of `values`, those `inside` count.
    """
    levels = torch.linspace(0, 1, _QUANTILES, dtype=values.dtype, device=values.device)
    have, want = _quantiles(values[inside], levels), _quantiles(wanted, levels)
    have = have + 1e-7 * torch.arange(_QUANTILES, dtype=values.dtype, device=values.device)  # strictly rising
    want = torch.cat([want[:1], want[0] + torch.minimum(want.diff(), _STEEPEST * have.diff()).cumsum(0)])
    place = torch.searchsorted(have, values.contiguous()).clamp(1, _QUANTILES - 1)
    low, high = have[place - 1], have[place]
    share = ((values - low) / (high - low)).clamp(0, 1)
    curved = torch.lerp(want[place - 1], want[place], share)
    centred = curved - curved[inside].mean()
    gain = (wanted.square().mean() / centred[inside].square().mean().clamp_min(1e-9)).sqrt().clamp(max=_STEEPEST)
    return gain * centred + wanted.mean()


def _quantiles(values: Tensor, levels: Tensor) -> Tensor:
    ordered = values.sort().values
    return ordered[(levels * (len(ordered) - 1)).round().long()]
