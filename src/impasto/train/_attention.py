"""Style attention in training: two blocks and a decoder learn to paint any photograph after any painting."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.contract import STYLE_LAYERS, Features, Placement
from impasto.methods.settings import AttentionTrainKnobs
from impasto.models import sanet
from impasto.models.codecs import LAYER
from impasto.models.decoders import Mirror
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import mean_std, precise
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._learner import Batch, Learner
from impasto.train._squares import Squares

_SAME_PIXELS = 50.0  # of a picture that is painted after itself, against its features


class Painter(nn.Module):
    """The blocks and the decoder.

    Args:
        encoder: tensors of VGG-19, which tell the channels.
        decoder: AdaIN's, from which the decoder begins.
        seed: of the first weights of the blocks.
    """

    def __init__(self, encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.transformer = sanet.Transformer(encoder["conv5_1.bias"].shape[0])
        for part in self.transformer.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5, generator=generator)
                assert part.bias is not None
                nn.init.zeros_(part.bias)
        self.mirror = Mirror(encoder, LAYER, generator)
        self.mirror.load_state_dict(dict(decoder))

    def painted(self, content: Features, painting: Features, placement: Placement) -> Tensor:
        """Pictures of features of photographs and paintings; gradients flow."""
        return self.mirror.decoder(placement)(self.transformer(content, painting).to(placement.dtype))


class AttentionLearner(Learner):
    """Learns as the paper says: content, style, and that a picture painted after itself stays as it is.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`, in this order.
        squares: of the paintings.
        knobs: of the training.
        placement: device and precision of the convolutions.

    Paper: arXiv:1812.02342, eq. 6 to 10; the weights of its two identity losses as in its published code.
    """

    knobs: AttentionTrainKnobs

    def __init__(
        self,
        weights: Sequence[Mapping[str, Tensor]],
        squares: Squares,
        knobs: AttentionTrainKnobs,
        placement: Placement,
    ) -> None:
        super().__init__(knobs, placement)
        encoder, decoder = weights
        self.painter = Painter(encoder, decoder, knobs.seed)
        self.average = copy.deepcopy(self.painter).requires_grad_(False)
        self._squares = squares
        # in a list, so that it is not registered as a submodule
        self._encoder = [Encoder(VGG19.down_to(sanet.LAYERS[-1]), encoder, placement)]

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The painter and its average."""
        return [(self.painter, self.average)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        losses = self._losses(batch["images"], self._styles(batch["styles"], batch["numbers"]), self.painter)
        self.note(losses)
        return losses["loss"].mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the running averages, the paintings by turns."""
        numbers = torch.arange(len(photographs))
        styles = self._styles(numbers % self._squares.count, numbers)
        losses = self._losses(photographs.to(self.device), styles, self.average)
        return {name: float(values.mean()) for name, values in losses.items()}

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A photograph in the style of a painting."""
        height, width = photograph.shape[2:]
        padded = pad_to_multiple(photograph, sanet.STRIDE, least=2 * sanet.STRIDE).to(self.device)
        number = torch.tensor([style])
        made = self.average.painted(
            self._features(padded), self._features(self._styles(number, number)), self.placement
        )
        return crop_to(made, height, width).clamp(0, 1).float()

    def tensors(self) -> dict[str, Tensor]:
        """The averages as a file holds them."""
        return sanet.tensors_of(self.average.transformer, dict(self.average.mirror.named_parameters()))

    def _styles(self, styles: Tensor, numbers: Tensor) -> Tensor:
        return self._squares(styles, numbers).to(self.device)

    def _losses(self, photographs: Tensor, styles: Tensor, painter: Painter) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted, liked = self._features(photographs), self._features(styles)
        own = self._features(painter.painted(wanted, liked, self.placement))
        content = _sum([_error(_normal(own[layer]), _normal(wanted[layer])) for layer in sanet.LAYERS])
        style = _sum([_moments_error(own[layer], liked[layer]) for layer in STYLE_LAYERS])
        same = self._identity(photographs, wanted, painter) + self._identity(styles, liked, painter)
        knobs = self.knobs
        loss = knobs.content_weight * content + knobs.style_weight * style + knobs.identity_weight * same
        return {"content": content, "style": style, "identity": same, "loss": loss}

    def _identity(self, pictures: Tensor, features: Features, painter: Painter) -> Tensor:
        """How far a picture painted after itself is another one."""
        again = painter.painted(features, features, self.placement)
        own = self._features(again)
        deep = _sum([_error(own[layer], features[layer]) for layer in STYLE_LAYERS])
        return _SAME_PIXELS * _error(again, pictures) + deep

    def _features(self, pictures: Tensor) -> Features:
        found = self._encoder[0](pictures, STYLE_LAYERS, winograd=True)
        return {layer: precise(found[layer]) for layer in STYLE_LAYERS}


def _error(actual: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference, `(B,)`."""
    return F.mse_loss(actual, wanted, reduction="none").flatten(1).mean(1)


def _moments_error(actual: Tensor, wanted: Tensor) -> Tensor:
    pairs = zip(mean_std(actual), mean_std(wanted), strict=True)
    return _sum([_error(one, other) for one, other in pairs])


def _normal(features: Tensor) -> Tensor:
    mean, std = mean_std(features)
    return (features - mean) / std


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)
