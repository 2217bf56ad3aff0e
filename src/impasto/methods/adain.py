"""Adaptive instance normalisation: any style in one pass.

Paper: arXiv:1703.06868 (Huang and Belongie 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from impasto.contract import Costs, Job, OnProgress, Placement, Progress, Style, StyleCode, ignore
from impasto.methods.placed_codec import placed
from impasto.methods.settings import AdaINKnobs
from impasto.methods.transfer import Deviations, FeatureTransfer
from impasto.models import codecs
from impasto.models.checkpoint import WeightsRef
from impasto.models.codecs import LAYER, Codec

_WINDOW_BYTES = 2000.0  # of memory, for a pixel of a tile's window, at the peak (bench/RESULTS.md)


class AdaIN(Costs):
    """Gives VGG-19's relu4_1 features the style's mean and deviation, and decodes them.

    Args:
        weights: `vgg19-normalised` and `adain-decoder`; or one entry, the tensors of a file, see `needs`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        codec = Codec.of_weights(weights)
        self._transfer = FeatureTransfer(
            LAYER,
            placed(codec, placement),
            placement,
            statistics=Deviations(),
            window_bytes=_WINDOW_BYTES,
            removes_grid=True,
        )

    @staticmethod
    def needs(knobs: AdaINKnobs) -> tuple[str, ...]:
        """The full networks; or `adain:FILE` of the settings.

        Raises:
            InputError: there is no such file.
        """
        return codecs.needs(knobs.network)

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a file that `needs` names."""
        file = WeightsRef.parse(name).file
        assert file is not None
        return codecs.read(file).tensors()

    def encode_style(self, style: Style, knobs: AdaINKnobs) -> StyleCode:  # noqa: ARG002 - nothing in it shapes the code
        """Mean and deviation of relu4_1, averaged over the style images by weight.

        Returns:
            `mean` and `std`, each `(1, C, 1, 1)` float32.
        """
        moments = self._transfer.encode(style)
        return StyleCode({"mean": moments.mean, "std": moments.spread})

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """One pass for the whole batch, or tile by tile; see `Stylizer` and `FeatureTransfer.stylize`."""
        unit = "step" if all(job.memory is None for job in jobs) else "tile"

        def report(done: int, total: int, preview: Tensor | None) -> None:
            on_progress(Progress("painting", done, total, unit=unit, preview=preview))

        return self._transfer.stylize(content, jobs, report)

    @staticmethod
    def least_memory(height: int, width: int, knobs: AdaINKnobs, placement: Placement) -> int:  # noqa: ARG004
        """Bytes that a picture of any size needs in tiles."""
        return FeatureTransfer.least_memory(LAYER, height, width, _WINDOW_BYTES, placement, removes_grid=True)
