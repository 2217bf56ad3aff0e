"""Attention by a network that has learnt it: `impasto train attention`, or the published SANet.

Paper: arXiv:1812.02342 (SANet, Park and Lee 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, Style, StyleCode, StyleImage
from impasto.methods.coded import composed, parts_of
from impasto.methods.transfer import coarse_step
from impasto.models import sanet
from impasto.models.codecs import LAYER
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import precise
from impasto.ops.tiles import crop_to, pad_to_multiple


class TrainedAttention:
    """Paints with both blocks and their decoder. Departs from the paper in `strength`, which mixes pictures.

    Args:
        encoder: tensors of VGG-19.
        tensors: what `sanet.read` gives.
        placement: where to compute; attention itself in float32 at least.
        places: of a painting, at most.
    """

    def __init__(
        self, encoder: Mapping[str, Tensor], tensors: Mapping[str, Tensor], placement: Placement, places: int
    ) -> None:
        transformer, decoder = sanet.parts_of(tensors)
        self._places, self._dtype = places, placement.dtype
        exact = torch.float64 if placement.precision == "float64" else torch.float32
        self._transformer = transformer.to(placement.device, exact).requires_grad_(False)
        self._encoder = Encoder(VGG19.down_to(sanet.LAYERS[-1]), encoder, placement)
        self._decoder = Decoder(decoder, placement, LAYER)

    @torch.inference_mode()
    def encode_style(self, style: Style) -> StyleCode:
        """For each layer `LAYER.keys (N, C)`, `LAYER.values (N, C)` and `LAYER.shares (N,)`; float32."""
        parts: dict[str, list[Tensor]] = {}
        for image, share in zip(style.images, style.shares(), strict=True):
            features = self._features(image.pixels.float())
            for layer, own in features.items():
                for name, tensor in self._looked_at(image, layer, own, len(style.images)).items():
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
        taken = []
        for layer, own in features.items():
            keys, values, shares = (code.tensors[f"{layer}.{name}"].to(own) for name in ("keys", "values", "shares"))
            taken.append(self._transformer.block(layer)(own, keys[None], values[None], shares))
        return crop_to(self._decoder(self._transformer.merged(taken).to(self._dtype)), height, width)

    def _looked_at(self, image: StyleImage, layer: str, features: Tensor, count: int) -> dict[str, Tensor]:
        """Keys, values and shares of a painting's places, in a coarser grid where there are too many."""
        step = coarse_step(features.shape[2], features.shape[3], self._places // count)
        keys, values = self._transformer.block(layer).places(features)
        grid = torch.arange(features[0, 0].numel(), device=features.device).view(features.shape[2:])
        kept = grid[::step, ::step].flatten()
        seen = features.new_ones(features.shape[2:])
        if image.seen is not None:
            padded = pad_to_multiple(image.seen, sanet.STRIDE, least=2 * sanet.STRIDE)
            seen = F.adaptive_avg_pool2d(padded.to(features), (features.shape[2], features.shape[3]))[0, 0]
        shares = seen.flatten()[kept]
        return {"keys": keys[0, kept], "values": values[0, kept], "shares": shares / shares.sum()}

    def _features(self, pixels: Tensor) -> dict[str, Tensor]:
        padded = pad_to_multiple(pixels, sanet.STRIDE, least=2 * sanet.STRIDE)
        found = self._encoder(padded, sanet.LAYERS)
        return {layer: precise(found[layer]) for layer in sanet.LAYERS}
