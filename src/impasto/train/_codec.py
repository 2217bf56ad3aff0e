"""AdaIN's narrower encoder and decoder in training: they learn to paint what the full ones paint."""

from __future__ import annotations

import copy
from collections.abc import Sequence

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
from impasto.ops.tiles import crop_to, pad_to_multiple
from impasto.train._learner import Batch, Learner
from impasto.train._squares import Squares
from impasto.train._teacher import Floats

_FEATURES = ("relu1_1", "relu2_1", "relu3_1", LAYER)
_FEATURE_WEIGHT = 0.1  # of relative errors: pixels and they count about alike
_GRAM_WEIGHT = 2.0  # less leaves 6 % of the style distance missing
_STRIDE = 8
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


class CodecLearner(Learner):
    """Learns the pictures of the full networks, for photographs with paintings.

    The loss is the mean absolute difference of the pictures and of their neighbouring pixels, as in `Distiller`, plus
    the relative errors of VGG-19's features, in which colours weigh less and strokes more, and of their Gram matrices,
    by which pictures stay as strong in style.

    Args:
        pruned: learns.
        full: is learnt from.
        paintings: `(H, W, 3)` in [0, 1]; a crop of one is the style of a crop of a photograph.
        knobs: of the training.
        placement: device and precision of the convolutions; weights and their averages stay in float32.
    """

    knobs: DistillKnobs

    def __init__(
        self, pruned: Codec, full: Codec, paintings: Sequence[Floats], knobs: DistillKnobs, placement: Placement
    ) -> None:
        super().__init__(knobs, placement)
        self.weights = Weights(pruned)
        self.average = copy.deepcopy(self.weights).requires_grad_(False)
        self._squares = Squares(paintings, crop=knobs.crop, seed=knobs.seed)
        # in a list, so that they are not registered as submodules
        self._teacher = [_Painter(full, placement)]

    def averaged_modules(self) -> Sequence[tuple[nn.Module, nn.Module]]:
        """The weights and their average."""
        return [(self.weights, self.average)]

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """One batch: its loss."""
        losses = self._losses(batch["images"], self._styles(batch["styles"], batch["numbers"]), self.weights)
        self.note(losses)
        return losses["loss"].mean()

    @torch.no_grad()
    def validate(self, photographs: Tensor) -> dict[str, float]:
        """Mean losses of the running averages, the paintings by turns."""
        numbers = torch.arange(len(photographs))
        styles = self._styles(numbers * self._squares.count // len(photographs), numbers)
        losses = self._losses(photographs.to(self.device), styles, self.average)
        return {name: float(values.mean()) for name, values in losses.items()}

    @torch.no_grad()
    def painted(self, photograph: Tensor, style: int) -> Tensor:
        """A photograph in the style of a painting."""
        height, width = photograph.shape[2:]
        padded = pad_to_multiple(photograph, _STRIDE, least=2 * _STRIDE)
        number = torch.tensor([style])
        made = _Painter(self.average.codec(), self.placement)(padded, self._styles(number, number))
        return crop_to(made, height, width).clamp(0, 1)

    def codec(self) -> Codec:
        """The averaged networks."""
        return self.average.codec()

    def _losses(self, photographs: Tensor, styles: Tensor, weights: Weights) -> dict[str, Tensor]:
        teacher = self._teacher[0]
        with torch.no_grad():
            wanted = teacher(photographs, styles)
            features = teacher.encoder(wanted, _FEATURES)
        got = _Painter(weights.codec(), self.placement)(photographs, styles)
        missing = got - wanted
        pixels = missing.abs().mean((1, 2, 3))
        detail = missing.diff(dim=2).abs().mean((1, 2, 3)) + missing.diff(dim=3).abs().mean((1, 2, 3))
        own = teacher.encoder(got, _FEATURES, winograd=True)
        errors = torch.stack([relative_error(own[layer], features[layer]) for layer in _FEATURES]).mean(0)
        grams = [relative_error(gram_matrix(own[layer]), gram_matrix(features[layer])) for layer in _FEATURES]
        style = torch.stack(grams).mean(0)
        loss = pixels + self.knobs.detail_weight * detail + _FEATURE_WEIGHT * errors + _GRAM_WEIGHT * style
        return {"pixels": pixels, "detail": detail, "features": errors, "style": style, "loss": loss}

    def _styles(self, styles: Tensor, numbers: Tensor) -> Tensor:
        """A square of each painting, which its number settles: `(B, 3, crop, crop)`."""
        return self._squares(styles, numbers).to(self.device)


class _Painter:
    """AdaIN of crops whose sides the stride divides, through which gradients flow."""

    def __init__(self, codec: Codec, placement: Placement) -> None:
        self.encoder = Encoder(VGG19.down_to(LAYER), codec.encoder, placement)
        self._decoder = Decoder(codec.decoder, placement, LAYER)

    def __call__(self, photographs: Tensor, styles: Tensor) -> Tensor:
        own, theirs = (self.encoder(one, [LAYER])[LAYER] for one in (photographs, styles))
        made: Tensor = self._decoder(adaptive_instance_norm(own, *mean_std(theirs)))
        return made
