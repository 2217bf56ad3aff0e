"""A decoder in training: what it makes of features must be the photograph, and have these features."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.losses.losses import relative_error, sum_of
from impasto.methods.settings import DecoderKnobs
from impasto.models import decoders
from impasto.models.decoders import Mirror
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._learner import Batch, Learner

_FINE = 0.3  # of the learning rate, where most layers have learnt before


def taught_before(start: Mapping[str, Tensor] | None, knobs: DecoderKnobs) -> str:
    """The layer of a decoder to begin with, if new layers learn by themselves before it; empty if not."""
    layer = decoders.layer_of(start or {})
    return layer if layer < knobs.layer and knobs.layerwise else ""


class DecoderLearner(Learner):
    """Learns to rebuild photographs from the features of one layer.

    The loss is the error of the pixels plus `feature_weight` times the error of the features at the same layer. Both
    are relative, unlike the paper's, so that one weight suits layers whose features are of different size.

    Departs from the paper where it begins with the decoder of a layer that is less deep: for `layerwise` of the time
    only the convolutions before that one's learn, to give the features that it takes. Such a step costs a third, and
    what it teaches does not have to come back through all the layers behind (Bengio et al. 2007, greedy layer-wise
    training). The loss by step is that of these features first, and then that of the whole.

    Args:
        weights: of the VGG-19 that is mirrored.
        knobs: of the training.
        placement: device and precision of the convolutions.
        start: a decoder to begin with, see `Mirror`.

    Paper: arXiv:1705.08086, eq. 1 (Li, Fang, Yang, Wang, Lu and Yang 2017).
    """

    knobs: DecoderKnobs

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        knobs: DecoderKnobs,
        placement: Placement,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(knobs, placement)
        self.mirror = Mirror(weights, knobs.layer, torch.Generator().manual_seed(knobs.seed), start)
        self.average = copy.deepcopy(self.mirror).requires_grad_(False)
        self._inner = taught_before(start, knobs)
        self._encoder = [Encoder(VGG19, weights, placement)]  # in a list, so that it is not registered as a submodule

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The decoder and its average."""
        return [(self.mirror, self.average)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        if not self._inner:
            losses = self._losses(batch["images"], self.mirror)
        elif self.share < self.knobs.layerwise:
            losses = {"loss": self._inner_loss(batch["images"])}
        else:
            losses = {"loss": self._losses(batch["images"], self.mirror)["loss"]}
        self.note(losses)
        return losses["loss"].mean()

    def rate(self, share: float) -> float:
        """Where layers learn by themselves first, they and the whole have a schedule each, the whole a lower one."""
        apart = self.knobs.layerwise if self._inner else 0.0
        if share < apart:
            return super().rate(share / apart)
        return super().rate((share - apart) / (1 - apart) if apart < 1 else 1.0) * (_FINE if apart else 1)

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the averaged decoder."""
        losses = self._losses(photographs.to(self.device), self.average)
        return {name: float(values.mean()) for name, values in losses.items()}

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int = 0) -> Tensor:  # noqa: ARG002 - it has no styles
        """The photograph as it is rebuilt."""
        height, width = photograph.shape[2:]
        stride = VGG19.stride(self.knobs.layer)
        features = self._features(pad_to_multiple(photograph, stride, least=2 * stride))
        return crop_to(self.average.decoder(self.placement)(features), height, width).clamp(0, 1).float()

    def tensors(self) -> dict[str, Tensor]:
        """The averaged decoder as a file holds it."""
        return dict(self.average.named_parameters())

    def _losses(self, photographs: Tensor, mirror: Mirror) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self._features(photographs)
        rebuilt = mirror.decoder(self.placement)(wanted)
        pixels = relative_error(rebuilt, photographs)
        features = relative_error(self._features(rebuilt), wanted)
        return {"pixels": pixels, "features": features, "loss": pixels + self.knobs.feature_weight * features}

    def _inner_loss(self, photographs: Tensor) -> Tensor:
        """Relative error of the features that the decoder it began with takes, `(B,)`."""
        with torch.no_grad():
            found = self._encoder[0](photographs, [self._inner, self.knobs.layer], winograd=True)
        rebuilt = self.mirror.decoder(self.placement, self._inner)(found[self.knobs.layer])
        loss = relative_error(rebuilt, found[self._inner])
        if self.trainer.world_size > 1:  # processes wait for a gradient of each parameter
            loss = loss + 0 * sum_of(one.sum() for one in self.mirror.parameters())
        return loss

    def _features(self, pictures: Tensor) -> Tensor:
        return self._encoder[0](pictures, [self.knobs.layer], winograd=True)[self.knobs.layer]
