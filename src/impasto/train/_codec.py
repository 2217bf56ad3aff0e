"""AdaIN's narrower encoder and decoder in training: they learn to paint what the full ones paint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from impasto.contract import Placement
from impasto.losses.losses import relative_error
from impasto.methods.settings import DistillKnobs
from impasto.models.codecs import LAYER, Codec
from impasto.models.decoders import Decoder
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops.stats import adaptive_instance_norm, gram_matrix, mean_std
from impasto.train._pairs import PairLearner
from impasto.train._squares import Squares

_FEATURES = ("relu1_1", "relu2_1", "relu3_1", LAYER)
_FEATURE_WEIGHT = 0.1  # of relative errors: pixels and they count about alike
_GRAM_WEIGHT = 2.0  # less leaves 6 % of the style distance missing
_COLOURS = "preprocess"


class Weights(nn.ParameterDict):
    """The tensors of a codec as parameters, all but the colour map, which stays."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        for name, tensor in codec.tensors().items():
            trained = _COLOURS not in name
            self[name.replace(".", "/")] = nn.Parameter(tensor.detach().clone().float(), requires_grad=trained)

    def codec(self) -> Codec:
        """The same tensors, through which gradients flow."""
        return Codec.of_file({name.replace("/", "."): one for name, one in self.items()})


class CodecLearner(PairLearner[Weights]):
    """Learns the pictures of the full networks, for photographs with paintings.

    The loss is the mean absolute difference of the pictures and of their neighbouring pixels, as in `Distiller`, plus
    the relative errors of VGG-19's features, in which colours weigh less and strokes more, and of their Gram matrices,
    by which pictures stay as strong in style.

    Args:
        pruned: learns.
        full: is learnt from.
        squares: of the paintings.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
    """

    knobs: DistillKnobs
    stride = VGG19.stride(LAYER)

    def __init__(self, pruned: Codec, full: Codec, squares: Squares, knobs: DistillKnobs, placement: Placement) -> None:
        super().__init__(Weights(pruned), squares, knobs, placement)
        # in a list, so that they are not registered as submodules
        self._teacher = [_Painter(full, placement)]

    def paint(self, photographs: Tensor, paintings: Tensor) -> Tensor:
        """See `PairLearner`."""
        return _Painter(self.codec(), self.placement)(photographs, paintings)

    def codec(self) -> Codec:
        """The averaged networks."""
        return self.average.codec()

    def losses(self, photographs: Tensor, paintings: Tensor, painter: Weights) -> dict[str, Tensor]:
        """See `PairLearner`."""
        teacher = self._teacher[0]
        with torch.no_grad():
            wanted = teacher(photographs, paintings)
            features = teacher.encoder(wanted, _FEATURES)
        got = _Painter(painter.codec(), self.placement)(photographs, paintings)
        missing = got - wanted
        pixels = missing.abs().mean((1, 2, 3))
        detail = missing.diff(dim=2).abs().mean((1, 2, 3)) + missing.diff(dim=3).abs().mean((1, 2, 3))
        own = teacher.encoder(got, _FEATURES, winograd=True)
        errors = torch.stack([relative_error(own[layer], features[layer]) for layer in _FEATURES]).mean(0)
        grams = [relative_error(gram_matrix(own[layer]), gram_matrix(features[layer])) for layer in _FEATURES]
        style = torch.stack(grams).mean(0)
        loss = pixels + self.knobs.detail_weight * detail + _FEATURE_WEIGHT * errors + _GRAM_WEIGHT * style
        return {"pixels": pixels, "detail": detail, "features": errors, "style": style, "loss": loss}


class _Painter:
    """AdaIN of crops whose sides the stride divides, through which gradients flow."""

    def __init__(self, codec: Codec, placement: Placement) -> None:
        self.encoder = Encoder(VGG19.down_to(LAYER), codec.encoder, placement)
        self._decoder = Decoder(codec.decoder, placement, LAYER)

    def __call__(self, photographs: Tensor, styles: Tensor) -> Tensor:
        own, theirs = (self.encoder(one, [LAYER])[LAYER] for one in (photographs, styles))
        made: Tensor = self._decoder(adaptive_instance_norm(own, *mean_std(theirs)))
        return made
