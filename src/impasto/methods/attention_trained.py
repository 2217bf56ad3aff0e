"""Attention by a network that has learnt it: `impasto train attention`, or the published SANet or AdaAttN.

Papers: arXiv:1812.02342 (SANet, Park and Lee 2019), arXiv:2108.03647 (AdaAttN, Liu et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleCode, StyleImage
from impasto.methods.coded import composed, parts_of
from impasto.methods.transfer import coarse_step
from impasto.models import adaattn, sanet
from impasto.models.codecs import LAYER
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops import grids
from impasto.ops.stats import precise
from impasto.ops.tiles import crop_to, pad_to_multiple


class Network(Protocol):
    """A network of attention without its encoder.

    Attributes:
        layers: of the encoder, that it looks at.
        attending: those of which each place attends to places of the painting.
    """

    @property
    def layers(self) -> Sequence[str]:
        """See above."""

    @property
    def attending(self) -> Sequence[str]:
        """See above."""

    def places(self, layer: str, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values `(B, hw, C)` of a painting."""

    def taken(
        self, layer: str, content: Mapping[str, Tensor], keys: Tensor, values: Tensor, shares: Tensor | None
    ) -> Tensor:
        """What the places of a photograph take from them, `(B, C, h, w)`."""

    def picture(self, taken: Mapping[str, Tensor]) -> Tensor:
        """Pictures of what all layers have taken."""


class _Sanet:
    """SANet's blocks and decoder, as a `Network`."""

    layers = attending = sanet.LAYERS

    def __init__(self, tensors: Mapping[str, Tensor], placement: Placement, exact: torch.dtype) -> None:
        transformer, decoder = sanet.parts_of(tensors)
        self._transformer = transformer.to(placement.device, exact).requires_grad_(False)
        self._decoder, self._dtype = Decoder(decoder, placement, LAYER), placement.dtype

    def places(self, layer: str, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self._transformer.block(layer).places(features[layer])

    def taken(
        self, layer: str, content: Mapping[str, Tensor], keys: Tensor, values: Tensor, shares: Tensor | None
    ) -> Tensor:
        taken: Tensor = self._transformer.block(layer)(content[layer], keys, values, shares)
        return taken

    def picture(self, taken: Mapping[str, Tensor]) -> Tensor:
        merged = self._transformer.merged([taken[layer] for layer in self.attending])
        return self._decoder(merged.to(self._dtype))


class TrainedAttention:
    """Paints with a network and its decoder.

    Departs from the papers in `strength`, which mixes pictures, and in that the decoder's grid is taken out.

    Args:
        encoder: tensors of VGG-19.
        tensors: what `sanet.read` or `adaattn.read` gives.
        placement: where to compute; attention itself in float32 at least.
        places: of a painting, at most.
    """

    def __init__(
        self, encoder: Mapping[str, Tensor], tensors: Mapping[str, Tensor], placement: Placement, places: int
    ) -> None:
        exact = torch.float64 if placement.precision == "float64" else torch.float32
        self._places = places
        self._network: Network = (
            adaattn.AdaAttN(tensors, placement.device, exact, placement.dtype)
            if adaattn.holds(tensors)
            else _Sanet(tensors, placement, exact)
        )
        self._encoder = Encoder(VGG19.down_to(self._network.layers[-1]), encoder, placement)

    @torch.inference_mode()
    def encode_style(self, style: Style) -> StyleCode:
        """For each layer `LAYER.keys (N, C)`, `LAYER.values (N, C)` and `LAYER.shares (N,)`; float32."""
        parts: dict[str, list[Tensor]] = {}
        for image, share in zip(style.images, style.shares(), strict=True):
            features = self._features(image.pixels.float())
            for layer in self._network.attending:
                for name, tensor in self._looked_at(image, layer, features, len(style.images)).items():
                    parts.setdefault(f"{layer}.{name}", []).append(share * tensor if name == "shares" else tensor)
        return StyleCode({name: torch.cat(tensors).cpu() for name, tensors in parts.items()})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress) -> Tensor:
        """One pass for each picture, and one for each of its regions; see `Stylizer`."""
        on_progress(Progress("painting", 0, 1))
        with torch.inference_mode():
            pictures = zip(torch.split(content, 1), jobs, strict=True)
            pastiche = torch.cat([self._one(pixels, job) for pixels, job in pictures])
        on_progress(Progress("painting", 1, 1, preview=pastiche))
        return pastiche

    def _one(self, pixels: Tensor, job: Job) -> Tensor:
        features = self._features(pixels)
        painted = [
            (cover, self._painted(features, code, pixels.shape[2], pixels.shape[3]).to(pixels))
            for cover, code in parts_of(job)
        ]
        return composed(pixels, painted, job.knobs.strength, job.guide.strength)

    def _painted(self, features: Mapping[str, Tensor], code: StyleCode, height: int, width: int) -> Tensor:
        taken = {}
        for layer in self._network.attending:
            like = features[layer]
            keys, values, shares = (code.tensors[f"{layer}.{name}"].to(like) for name in ("keys", "values", "shares"))
            taken[layer] = self._network.taken(layer, features, keys[None], values[None], shares)
        return crop_to(grids.without_grid(self._network.picture(taken)), height, width)

    def _looked_at(
        self, image: StyleImage, layer: str, features: Mapping[str, Tensor], count: int
    ) -> dict[str, Tensor]:
        """Keys, values and shares of a painting's places, in a coarser grid where there are too many."""
        own = features[layer]
        step = coarse_step(own.shape[2], own.shape[3], self._places // count)
        keys, values = self._network.places(layer, features)
        grid = torch.arange(own[0, 0].numel(), device=own.device).view(own.shape[2:])
        kept = grid[::step, ::step].flatten()
        seen = own.new_ones(own.shape[2:])
        if image.seen is not None:
            padded = pad_to_multiple(image.seen, sanet.STRIDE, least=2 * sanet.STRIDE)
            seen = F.adaptive_avg_pool2d(padded.to(own), (own.shape[2], own.shape[3]))[0, 0]
        shares = seen.flatten()[kept]
        return {"keys": keys[0, kept], "values": values[0, kept], "shares": shares / shares.sum()}

    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        padded = pad_to_multiple(pixels, sanet.STRIDE, least=2 * sanet.STRIDE)
        found = self._encoder(padded, self._network.layers)
        return {layer: precise(found[layer]) for layer in self._network.layers}
