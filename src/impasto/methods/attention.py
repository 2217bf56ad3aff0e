"""Attention without training: each place of the photograph takes after the places of the painting that resemble it.

Papers: arXiv:2108.03647 (AdaAttN, Liu et al. 2021), whose statistics weighted by attention these are, and
arXiv:1812.02342 (SANet, Park and Lee 2019). Departs from them: nothing is learnt (queries and keys are normalised
features themselves, and a temperature stands in for learnt projections), and what comes out is given the painting's
mean and deviation as a whole, since local means and deviations together have more contrast than the painting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.methods.placed_codec import placed
from impasto.methods.settings import AttentionKnobs
from impasto.methods.transfer import Deviations, FeatureMap, FeatureTransfer, Moments
from impasto.models.codecs import LAYER, Codec
from impasto.ops.stats import EPSILON, adaptive_instance_norm, mean_std

PLACES = 4096
"""Of a painting that are looked at, at most; a larger one is looked at in a coarser grid."""

_CHUNK = 1024  # places of the photograph at a time


class AttentionMap:
    """Gives each place the mean and deviation of the painting's places, weighted by how much they resemble it.

    Args:
        content: mean and deviation of the photograph's features.
        code: `keys (N, C)`, `values (N, C)`, `shares (N,)`, `mean` and `std (1, C, 1, 1)`, `temperature ()`.
    """

    def __init__(self, content: Moments, code: StyleCode) -> None:
        self._content, self._code = content, code.tensors

    def __call__(self, features: Tensor) -> Tensor:
        """Stylized `features (1, C, h, w)`, in their type."""
        device = features.device
        keys, values, shares = (self._code[name].to(device) for name in ("keys", "values", "shares"))
        normal = (features.float() - self._content.mean) / self._content.spread
        queries = F.normalize(normal.flatten(2)[0].mT, dim=1)  # (hw, C)
        both = torch.cat([values, values.square()], 1)
        weighted = []
        for some in torch.split(queries, _CHUNK):
            likeness = some @ keys.mT / self._code["temperature"].to(device) + shares.log()
            weighted.append(torch.softmax(likeness, 1) @ both)
        mean, square = torch.cat(weighted).mT.reshape(2, *features.shape[1:])
        std = (square - mean.square()).clamp_min(0).add(EPSILON).sqrt()
        local = (mean + std * normal[0])[None]
        mean, std = (self._code[name].to(device) for name in ("mean", "std"))
        return adaptive_instance_norm(local, mean, std).to(features.dtype)


class _Attention(Deviations):
    """The photograph's moments, and attention in place of one map for all places."""

    def fit(self, content: Moments, code: StyleCode) -> FeatureMap:  # type: ignore[override] # no linear map
        """See `Statistics`."""
        return AttentionMap(content, code)


class Attention:
    """Styles by meaning in one pass: sky after sky, dark after dark, edges after edges.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._transfer = FeatureTransfer(
            LAYER,
            placed(Codec.of_assets(weights), placement),
            placement,
            statistics=_Attention(),
            window_bytes=0.0,
            removes_grid=True,
        )

    def encode_style(self, style: Style, knobs: AttentionKnobs) -> StyleCode:
        """Features of the paintings' places as they are and normalised; each painting counts by its share.

        Returns:
            See `AttentionMap`; float32.
        """
        keys, values, shares, moments = [], [], [], []
        for image, share in zip(style.images, style.shares(), strict=True):
            features = self._transfer.features(image.pixels.float()).cpu()
            seen = self._transfer.seen_by_place(image, features)
            mean, std = mean_std(features, None if image.seen is None else seen)
            moments.append((share * mean, share * std))
            coarse, counted = (_coarser(maps, PLACES // len(style.images)) for maps in (features, seen))
            values.append(coarse.flatten(2)[0].mT)
            keys.append(F.normalize(((coarse - mean) / std).flatten(2)[0].mT, dim=1))
            shares.append(share * counted.flatten() / counted.sum())
        mean, std = (torch.stack(parts).sum(0) for parts in zip(*moments, strict=True))
        tensors = {"keys": torch.cat(keys), "values": torch.cat(values), "shares": torch.cat(shares)}
        return StyleCode({**tensors, "mean": mean, "std": std, "temperature": torch.tensor(knobs.temperature)})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch; see `Stylizer` and `FeatureTransfer.stylize`."""

        def report(done: int, total: int, preview: Tensor | None) -> None:
            on_progress(Progress("painting", done, total, preview=preview))

        return self._transfer.stylize(content, jobs, report)


def _coarser(features: Tensor, most: int) -> Tensor:
    """Features `(1, C, h, w)` in a grid of at most so many places: every second, every third, ..."""
    step = 1
    while -(-features.shape[2] // step) * -(-features.shape[3] // step) > most:
        step += 1
    return features[:, :, ::step, ::step]
