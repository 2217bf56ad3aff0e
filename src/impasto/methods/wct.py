"""Whitening and colouring: any style in five passes, from the coarse level to the fine one.

Paper: arXiv:1705.08086 (Li, Fang, Yang, Wang, Lu and Yang 2017). Each level takes the picture that the one before has
painted, gives its features the style's covariance, and decodes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from impasto.contract import STYLE_LAYERS, Costs, Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.errors import InputError
from impasto.methods.settings import WCTKnobs
from impasto.methods.transfer import Covariance, FeatureTransfer, Networks, Report
from impasto.models import decoders
from impasto.models.checkpoint import SUFFIX, WeightsRef
from impasto.ops.tiles import to_codes

LEVELS = tuple(reversed(STYLE_LAYERS))
"""From the coarsest to the finest."""

SMALL = "wct-small"
"""The asset of five narrow encoders and decoders (arXiv:2003.08436, Wang et al. 2020)."""

_VGG = "vgg19-normalised"
_WINDOW_BYTES = 2000.0  # of memory, for a pixel of a tile's window, at the peak; AdaIN's, since VGG-19 is the same
_SMALL_SHARE = 0.45  # of it, by the narrow networks: 16 to 24 channels at full size where VGG-19 has 64


class WCT(Costs):
    """Gives VGG-19's features the style's mean and covariance at relu5_1, relu4_1, .. relu1_1 in turn.

    Args:
        weights: `wct-small`; or `vgg19-normalised` and a decoder for each level.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self._levels = {
            layer: FeatureTransfer(
                layer,
                Networks.of(layer, encoder, decoder, placement),
                placement,
                statistics=Covariance(layer),
                window_bytes=_window_bytes(SMALL in weights),
                levels=len(LEVELS),
            )
            for layer, (encoder, decoder) in _networks(weights).items()
        }

    @staticmethod
    def needs(knobs: WCTKnobs) -> tuple[str, ...]:
        """`wct-small`; or VGG-19 and `decoder-LAYER:FILE` for each file of the folder that the settings name.

        Raises:
            InputError: a decoder is missing.
        """
        if knobs.decoders == "small":
            return (SMALL,)
        return (_VGG, *(str(WeightsRef(f"decoder-{layer}", _decoder_file(knobs.decoders, layer))) for layer in LEVELS))

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a decoder that `needs` names.

        Raises:
            InputError: it is none, or decodes another layer.
        """
        ref = WeightsRef.parse(name)
        assert ref.file is not None
        return decoders.read(ref.file, ref.name.removeprefix("decoder-"))

    def encode_style(self, style: Style, knobs: WCTKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """Mean and covariance of each level, averaged over the style images by weight.

        Returns:
            For each level `LAYER.mean (1, C, 1, 1)` and `LAYER.covariance (C, C)`.
        """
        tensors: dict[str, Tensor] = {}
        for layer, level in self._levels.items():
            moments = level.encode(style)
            tensors |= {f"{layer}.mean": moments.mean, f"{layer}.covariance": moments.spread}
        return StyleCode(tensors)

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Five passes for the whole batch; see `Stylizer` and `FeatureTransfer.stylize`."""
        picture = content if content.is_floating_point() else to_codes(content, 16)
        for number, level in enumerate(self._levels.values()):
            picture = level.stylize(picture, jobs, _reporter(number, on_progress))
        return picture if content.is_floating_point() else to_codes(picture, content.element_size() * 8)

    @staticmethod
    def least_memory(height: int, width: int, knobs: WCTKnobs, placement: Placement) -> int:
        """Bytes that a picture of any size needs in tiles: two pictures in 16 bits beside the largest window."""
        window_bytes = _window_bytes(knobs.decoders == "small")
        return FeatureTransfer.least_memory(LEVELS[0], height, width, window_bytes, placement) + 12 * height * width


def _networks(
    weights: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """Encoder and decoder of each level."""
    if SMALL in weights:
        parts = weights[SMALL]
        return {layer: (_under(parts, f"encoder.{layer}."), _under(parts, f"decoder.{layer}.")) for layer in LEVELS}
    own = {WeightsRef.parse(name).name: tensors for name, tensors in weights.items()}
    return {layer: (weights[_VGG], own[f"decoder-{layer}"]) for layer in LEVELS}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _decoder_file(folder: str, layer: str) -> Path:
    path = Path(folder) / f"decoder{layer[4]}{SUFFIX}"
    if not path.is_file():
        raise InputError(f"there is no decoder {path}", "make decoders writes all five; or leave --decoders at small")
    return path


def _reporter(number: int, on_progress: OnProgress) -> Report:
    """Tells of one level what is done of all."""

    def report(done: int, total: int, preview: Tensor | None) -> None:
        if number and not done:
            return  # told by the level before
        ended = done == total
        last = ended and number + 1 == len(LEVELS)
        share = (number + done / total) / len(LEVELS)
        step = number + 1 if ended else number
        shown = preview if last else None
        on_progress(Progress("painting", step, len(LEVELS), unit="level", done=share, preview=shown))

    return report


def _window_bytes(small: bool) -> float:
    return _WINDOW_BYTES * (_SMALL_SHARE if small else 1.0)
