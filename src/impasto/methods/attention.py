"""Attention without training: each place of the photograph takes after the places of the painting that resemble it.

Papers: arXiv:2108.03647 (AdaAttN, Liu et al. 2021), whose statistics weighted by attention these are, and
arXiv:1812.02342 (SANet, Park and Lee 2019). Departs from them: nothing is learnt (queries and keys are normalised
features themselves, and a temperature stands in for learnt projections), what comes out is given the painting's mean
and deviation as a whole, since local means and deviations together have more contrast than the painting, and a little
of the photograph's features stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Costs, Job, OnProgress, Placement, Progress, Style, StyleCode, StyleImage, ignore
from impasto.errors import InputError
from impasto.methods.attention_trained import TrainedAttention
from impasto.methods.placed_codec import placed
from impasto.methods.settings import AttentionKnobs
from impasto.methods.transfer import Deviations, FeatureMap, FeatureTransfer, Moments, coarse_step
from impasto.models import adaattn, sanet
from impasto.models.checkpoint import WeightsRef
from impasto.models.codecs import LAYER, Codec
from impasto.ops.stats import EPSILON, mean_std, precise

PLACES = 4096
"""Of a painting that are looked at, at most; a larger one is looked at in a coarser grid."""

KEPT = 0.07
"""Share of the photograph's own features that stays: so much that the content error is no larger than AdaIN's."""

_ENCODER = "vgg19-normalised"
_CHUNK = 1024  # places of the photograph at a time
_WINDOW_BYTES = 2400.0  # of memory, for a pixel of a tile's window, at the peak: AdaIN's, and two maps beside
_CHUNK_BYTES = 4 * PLACES * (4 * _CHUNK + 4 * 512)  # a chunk's likeness three times over; keys, values and squares


class AttentionMap:
    """Gives each place the mean and deviation of the painting's places, weighted by how much they resemble it.

    Args:
        content: mean and deviation of the photograph's features.
        code: `keys (N, C)`, `values (N, C)`, `shares (N,)`, `mean` and `std (1, C, 1, 1)`, `temperature ()`.
    """

    def __init__(self, content: Moments, code: StyleCode) -> None:
        self._content, self._code = content, code.tensors

    def __call__(self, features: Tensor) -> Tensor:
        """Stylized `features (1, C, h, w)` of a whole picture, in their type."""
        local = self.open(features)
        return self._painted(local, Deviations().whole(local, None), features)

    def settled(self, moments: Moments) -> FeatureMap:
        """See `UnsettledMap`."""
        return lambda features: self._painted(self.open(features), moments, features)

    def _painted(self, local: Tensor, moments: Moments, features: Tensor) -> Tensor:
        """What places take, given the painting's mean and deviation as a whole; and a little of their own."""
        mean, spread = (one.to(local) for one in (moments.mean, moments.spread))
        even = Deviations().fit(Moments(mean, spread), StyleCode(self._code))(local)
        return even.to(features.dtype).lerp(features, KEPT)

    def open(self, features: Tensor) -> Tensor:
        """What each place takes from the places of the painting, in float32 at least."""
        device = features.device
        keys, values, shares = (self._code[name].to(device) for name in ("keys", "values", "shares"))
        exact = precise(features)
        normal = (exact - self._content.mean.to(exact)) / self._content.spread.to(exact)
        keys, values, shares = (one.to(exact) for one in (keys, values, shares))
        queries = F.normalize(normal.flatten(2)[0].mT, dim=1)  # (hw, C)
        both = torch.cat([values, values.square()], 1)
        weighted = []
        for some in torch.split(queries, _CHUNK):
            likeness = some @ keys.mT / self._code["temperature"].to(device) + shares.log()
            weighted.append(torch.softmax(likeness, 1) @ both)
        mean, square = torch.cat(weighted).mT.reshape(2, *features.shape[1:])
        std = (square - mean.square()).clamp_min(0).add(EPSILON).sqrt()
        local: Tensor = (mean + std * normal[0])[None]
        return local


class _Attention(Deviations):
    """The photograph's moments, and attention in place of one map for all places."""

    settles = True

    def fit(self, content: Moments, code: StyleCode) -> FeatureMap:  # type: ignore[override] # no linear map
        """See `Statistics`."""
        return AttentionMap(content, code)


class Attention(Costs):
    """Styles by meaning in one pass: sky after sky, dark after dark, edges after edges.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`; or `vgg19-normalised` and a trained network, see `needs`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._trained: TrainedAttention | None = None
        trained = [tensors for name, tensors in weights.items() if WeightsRef.parse(name).file is not None]
        if trained:  # in torch whatever the runtime: its attention has no graph
            here = placement if placement.runtime == "torch" else Placement()
            self._trained = TrainedAttention(weights[_ENCODER], trained[0], here, PLACES)
            return
        self._transfer = FeatureTransfer(
            LAYER,
            placed(Codec.of_assets(weights), placement),
            placement,
            statistics=_Attention(),
            window_bytes=_WINDOW_BYTES,
            removes_grid=True,
        )

    @staticmethod
    def needs(knobs: AttentionKnobs) -> tuple[str, ...] | None:
        """Those of the row; or VGG-19 and `attention:FILE` of the settings.

        Raises:
            InputError: there is no such file.
        """
        if knobs.network == "shipped":
            return None
        if not Path(knobs.network).exists():
            raise InputError(
                f"there is no network {knobs.network}", "impasto train attention makes one; or leave it out"
            )
        return _ENCODER, str(WeightsRef(sanet.KIND, Path(knobs.network)))

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a file or folder that `needs` names."""
        file = WeightsRef.parse(name).file
        assert file is not None
        return adaattn.read(file) if adaattn.is_published(file) else sanet.read(file)

    def encode_style(self, style: Style, knobs: AttentionKnobs) -> StyleCode:
        """Features of the paintings' places as they are and normalised; each painting counts by its share.

        Returns:
            See `AttentionMap`; float32.
        """
        if self._trained is not None:
            return self._trained.encode_style(style)
        keys, values, shares, moments = [], [], [], []
        for image, share in zip(style.images, style.shares(), strict=True):
            coarse, counted, (mean, std) = self._places(image, style.memory, PLACES // len(style.images))
            moments.append((share * mean, share * std))
            values.append(coarse.flatten(2)[0].mT)
            keys.append(F.normalize(((coarse - mean) / std).flatten(2)[0].mT, dim=1))
            shares.append(share * counted.flatten() / counted.sum())
        mean, std = (torch.stack(parts).sum(0) for parts in zip(*moments, strict=True))
        tensors = {"keys": torch.cat(keys), "values": torch.cat(values), "shares": torch.cat(shares)}
        return StyleCode({**tensors, "mean": mean, "std": std, "temperature": torch.tensor(knobs.temperature)})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, or tile by tile; see `Stylizer` and `FeatureTransfer.stylize`."""
        if self._trained is not None:
            return self._trained.stylize(content, jobs, on_progress)
        unit, limits = "step", [job.memory for job in jobs if job.memory is not None]
        if limits:
            unit = "tile"
            jobs = [replace(job, memory=max(1, job.memory - _CHUNK_BYTES)) for job in jobs if job.memory is not None]

        def report(done: int, total: int, preview: Tensor | None) -> None:
            on_progress(Progress("painting", done, total, unit=unit, preview=preview))

        return self._transfer.stylize(content, jobs, report)

    @staticmethod
    def least_memory(height: int, width: int, knobs: AttentionKnobs, placement: Placement) -> int:
        """Bytes that a picture of any size needs in tiles.

        Raises:
            InputError: a trained network is to paint.
        """
        if knobs.network != "shipped":
            hint = "leave out --network, use a smaller --size, or raise --max-memory"
            raise InputError("the picture fits only in tiles, which a trained network of attention cannot paint", hint)
        tile = FeatureTransfer.least_memory(LAYER, height, width, _WINDOW_BYTES, placement, removes_grid=True)
        return tile + _CHUNK_BYTES

    def _places(self, image: StyleImage, memory: int | None, most: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Features of some places of a painting, how much each counts, and the moments of all."""
        if memory is not None:
            coarse, counted, moments = self._transfer.sampled(image, memory, most=most)
            return coarse, counted, (moments.mean, moments.spread)
        features = self._transfer.features(image.pixels.float()).cpu()
        seen = self._transfer.seen_by_place(image, features)
        step = coarse_step(features.shape[2], features.shape[3], most)
        coarse, counted = (maps[:, :, ::step, ::step] for maps in (features, seen))
        return coarse, counted, mean_std(features, None if image.seen is None else seen)
