"""Style attention in training: two blocks and a decoder learn to paint any photograph after any painting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import STYLE_LAYERS, Features, Placement
from impasto.losses.losses import sum_of
from impasto.methods.settings import AttentionTrainKnobs
from impasto.models import sanet
from impasto.models.codecs import LAYER
from impasto.models.decoders import Mirror
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import mean_std, precise
from impasto.train._pairs import PairLearner
from impasto.train._squares import Squares

_SAME_PIXELS = 50.0  # of a picture that is painted after itself, against its features
# blocks begin as attention that has learnt nothing yet paints: places look for what is like them by normalised
# features, sharply, and take three parts of it to one of their own; relu5_1 adds nothing at first but itself
_SHARPNESS = 0.2
_TAKEN = {LAYER: 3.0, "relu5_1": 0.0}


class Painter(nn.Module):
    """The blocks and the decoder.

    Args:
        encoder: tensors of VGG-19, which tell the channels.
        decoder: AdaIN's, from which the decoder begins.
    """

    def __init__(self, encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.transformer = sanet.Transformer(encoder["conv5_1.bias"].shape[0])
        for layer in sanet.LAYERS:
            block = self.transformer.block(layer)
            for part, gain in ((block.f, _SHARPNESS), (block.g, _SHARPNESS), (block.h, 1.0)):
                _begin(part, gain)
            _begin(block.out_conv, _TAKEN[layer])
        _begin(self.transformer.merge_conv, 1 / (1 + _TAKEN[LAYER]))
        self.mirror = Mirror(encoder, LAYER, torch.Generator(), decoder)

    def painted(self, content: Features, painting: Features, placement: Placement) -> Tensor:
        """Pictures of features of photographs and paintings; gradients flow."""
        return self.mirror.decoder(placement)(self.transformer(content, painting).to(placement.dtype))


class AttentionLearner(PairLearner[Painter]):
    """Learns as the paper says: content, style, and that a picture painted after itself stays as it is.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`, in this order.
        squares: of the paintings.
        knobs: of the training.
        placement: device and precision of the convolutions.

    Paper: arXiv:1812.02342, eq. 6 to 10; the weights of its two identity losses as in its published code.
    """

    knobs: AttentionTrainKnobs
    stride = sanet.STRIDE

    def __init__(
        self,
        weights: Sequence[Mapping[str, Tensor]],
        squares: Squares,
        knobs: AttentionTrainKnobs,
        placement: Placement,
    ) -> None:
        encoder, decoder = weights
        super().__init__(Painter(encoder, decoder), squares, knobs, placement)
        # in a list, so that it is not registered as a submodule
        self._encoder = [Encoder(VGG19.down_to(sanet.LAYERS[-1]), encoder, placement)]

    @torch.no_grad()
    def paint(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """See `PairLearner`."""
        return self.average.painted(self._features(photographs), self._features(paintings), self.placement)

    def tensors(self) -> dict[str, Tensor]:
        """The averages as a file holds them."""
        return sanet.tensors_of(self.average.transformer, dict(self.average.mirror.named_parameters()))

    def losses(self, photographs: Tensor, paintings: Tensor, painter: Painter) -> dict[str, Tensor]:
        """See `PairLearner`."""
        with torch.no_grad():
            wanted, liked = self._features(photographs), self._features(paintings)
        own = self._features(painter.painted(wanted, liked, self.placement))
        content = sum_of(_error(_normal(own[layer]), _normal(wanted[layer])) for layer in sanet.LAYERS)
        style = sum_of(_moments_error(own[layer], liked[layer]) for layer in STYLE_LAYERS)
        same = self._identity(photographs, wanted, painter) + self._identity(paintings, liked, painter)
        knobs = self.knobs
        loss = knobs.content_weight * content + knobs.style_weight * style + knobs.identity_weight * same
        return {"content": content, "style": style, "identity": same, "loss": loss}

    def _identity(self, pictures: Tensor, features: Features, painter: Painter) -> Tensor:
        """How far a picture painted after itself is another one."""
        again = painter.painted(features, features, self.placement)
        own = self._features(again)
        deep = sum_of(_error(own[layer], features[layer]) for layer in STYLE_LAYERS)
        return _SAME_PIXELS * _error(again, pictures) + deep

    def _features(self, pictures: Tensor) -> Features:
        found = self._encoder[0](pictures, STYLE_LAYERS, winograd=True)
        return {layer: precise(found[layer]) for layer in STYLE_LAYERS}


def _begin(part: nn.Conv2d, gain: float) -> None:
    """First weights: each channel is handed on, times `gain`."""
    nn.init.dirac_(part.weight)
    part.weight.data.mul_(gain)
    assert part.bias is not None
    nn.init.zeros_(part.bias)


def _error(actual: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference, `(B,)`."""
    return F.mse_loss(actual, wanted, reduction="none").flatten(1).mean(1)


def _moments_error(actual: Tensor, wanted: Tensor) -> Tensor:
    pairs = zip(mean_std(actual), mean_std(wanted), strict=True)
    return sum_of(_error(one, other) for one, other in pairs)


def _normal(features: Tensor) -> Tensor:
    mean, std = mean_std(features)
    return (features - mean) / std
