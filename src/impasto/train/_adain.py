"""AdaIN's decoder in training: it learns to paint features of photographs that have a painting's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import STYLE_LAYERS, Placement
from impasto.losses.losses import relative_error
from impasto.methods.settings import AdaINTrainKnobs
from impasto.models.codecs import ASSETS, LAYER, Codec
from impasto.models.decoders import Mirror
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import adaptive_instance_norm, gram_matrix, mean_std
from impasto.train._critic import Critic
from impasto.train._pairs import PairLearner
from impasto.train._squares import Squares
from impasto.train._strokes import grid_share

_SMALLER = STYLE_LAYERS[:4]  # squares of 64 px, halved, have no five layers


class AdaINLearner(PairLearner[Mirror]):
    """Learns what a picture's features were to be, and to look like the painting.

    Departs from the paper: style is what Gram matrices tell, down to relu5_1 and at half the size, too, not means and
    deviations; there is a penalty for the grid that doubling by nearest neighbours leaves, and a critic of patches; and
    errors are relative.

    Args:
        encoder: tensors of VGG-19.
        start: a decoder to begin with, see `Mirror`.
        squares: of the paintings.
        knobs: of the training.
        placement: device and precision of the convolutions.

    Paper: arXiv:1703.06868, eq. 11 to 13 (Huang and Belongie 2017).
    """

    knobs: AdaINTrainKnobs
    stride = VGG19.stride(LAYER)

    def __init__(
        self,
        encoder: Mapping[str, Tensor],
        start: Mapping[str, Tensor] | None,
        squares: Squares,
        knobs: AdaINTrainKnobs,
        placement: Placement,
    ) -> None:
        mirror = Mirror(encoder, LAYER, torch.Generator().manual_seed(knobs.seed), start)
        super().__init__(mirror, squares, knobs, placement)
        self.critic = Critic(1, knobs.seed) if knobs.adversarial_weight else None
        # in lists, so that they are not registered as submodules
        self._encoder = [Encoder(VGG19.down_to(STYLE_LAYERS[-1]), encoder, placement)]
        self._weights = [encoder]

    def extra_parameter_groups(self) -> list[dict[str, Any]]:
        """The critic, with less momentum."""
        return [] if self.critic is None else [{"params": [*self.critic.parameters()], "betas": (0.5, 0.99)}]

    @torch.no_grad()
    def paint(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """See `PairLearner`."""
        wanted = self._wanted(photographs, self._features(paintings, [LAYER]))
        return self.average.decoder(self.placement)(wanted)

    def losses(self, photographs: Tensor, paintings: Tensor, painter: Mirror) -> dict[str, Tensor]:
        """See `PairLearner`."""
        knobs = self.knobs
        with torch.no_grad():
            liked = self._features(paintings, STYLE_LAYERS)
            smaller = self._features(F.avg_pool2d(paintings, 2), _SMALLER)
            wanted = self._wanted(photographs, liked)
        pictures = painter.decoder(self.placement)(wanted)
        own = self._features(pictures, STYLE_LAYERS)
        found = {
            "content": relative_error(own[LAYER], wanted),
            "style": _gram_error(own, liked),
            "large": _gram_error(self._features(F.avg_pool2d(pictures, 2), _SMALLER), smaller),
            "grid": grid_share(pictures),
        }
        loss = found["content"] + knobs.style_weight * (found["style"] + found["large"])
        loss = loss + knobs.grid_weight * found["grid"]
        if self.critic is not None and painter is self.painter:
            one = torch.zeros(len(pictures), dtype=torch.long, device=pictures.device)
            found |= self.critic.losses(pictures, paintings, one)
            return {**found, "loss": loss + knobs.adversarial_weight * found["adversarial"] + found["critic"]}
        return {**found, "loss": loss}

    def codec(self) -> Codec:
        """VGG-19 down to the layer, and the averaged decoder."""
        both = (self._weights[0], dict(self.average.named_parameters()))
        return Codec.of_assets(dict(zip(ASSETS, both, strict=True)))

    def _wanted(self, photographs: Tensor, liked: Mapping[str, Tensor]) -> Tensor:
        own = self._features(photographs, [LAYER])[LAYER]
        return adaptive_instance_norm(own, *mean_std(liked[LAYER]))

    def _features(self, pictures: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        return self._encoder[0](pictures, layers, winograd=True)


def _gram_error(own: Mapping[str, Tensor], liked: Mapping[str, Tensor]) -> Tensor:
    """Mean over layers of the relative error of the Gram matrices, `(B,)`; as `e / (1 + e)`.

    A dark or flat square has so small a matrix that its error is of hundreds, and would outweigh all others.
    """
    errors = [relative_error(gram_matrix(own[layer]), gram_matrix(liked[layer])) for layer in own]
    return torch.stack([one / (1 + one) for one in errors]).mean(0)
