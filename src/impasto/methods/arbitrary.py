"""Any painting in one quick pass: its statistics tell a small network how to paint.

Paper: arXiv:1705.06830 (Ghiasi, Lee, Kudlur, Dumoulin and Shlens 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.contract import Costs, Job, OnProgress, Placement, Style, StyleCode, ignore
from impasto.errors import InputError
from impasto.methods.coded import CodedPainter, placed
from impasto.methods.settings import ArbitraryKnobs
from impasto.models import catalog, predictors
from impasto.models.checkpoint import WeightsRef
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder

_ENCODER = "vgg19-normalised"


class Arbitrary(Costs):
    """Paints with a network that `impasto train arbitrary` has made.

    Args:
        weights: `vgg19-normalised`, and the tensors of its file; see `needs`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        (tensors,) = (own for name, own in weights.items() if name != _ENCODER)
        network, predictor = predictors.unpack(tensors)
        self._encoder = Encoder(VGG19.down_to(predictors.LAYERS[-1]), weights[_ENCODER], placement)
        self._predictor = predictor.requires_grad_(False).to(placement.device)
        self._painter = CodedPainter(placed(lambda: network, network.state_dict(), placement), placement)

    @staticmethod
    def needs(knobs: ArbitraryKnobs) -> tuple[str, ...]:
        """VGG-19, and `arbitrary:FILE` of the settings or of the network that ships.

        Raises:
            InputError: there is no such file.
        """
        shipped = knobs.network == "shipped"
        path = catalog.ARBITRARY if shipped else Path(knobs.network)
        if not path.is_file():
            named = "no network for any painting is installed" if shipped else f"there is no network {path}"
            raise InputError(named, "name one with --network; impasto train arbitrary makes it")
        return _ENCODER, str(WeightsRef(predictors.KIND, path))

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a file that `needs` names."""
        file = WeightsRef.parse(name).file
        assert file is not None
        return predictors.read(file)[0]

    def encode_style(self, style: Style, knobs: ArbitraryKnobs) -> StyleCode:  # noqa: ARG002 - nothing else shapes the code
        """The codes predicted from the paintings, averaged by weight: `code (1, N)` float32."""
        code, least = torch.zeros(()), VGG19.smallest_side(predictors.LAYERS)
        with torch.inference_mode():
            for image, share in zip(style.images, style.shares(), strict=True):
                height, width = image.pixels.shape[2:]
                width, height = images.fit(width, height, predictors.SIDE)
                height, width = (max(side, least) for side in (height, width))
                sized = F.interpolate(image.pixels.float(), (height, width), mode="bilinear", antialias=True)
                found = predictors.look(self._encoder, sized, image.seen)
                code = code + share * self._predictor(found).cpu()
        return StyleCode({"code": code.clone()})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, regions included; see `Stylizer`."""
        return self._painter.stylize(content, jobs, on_progress)
