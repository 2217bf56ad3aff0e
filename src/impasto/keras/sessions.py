"""Networks of one pass in Keras, called as sessions of `runtimes` are, on arrays `(B, C, H, W)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from impasto.keras import backends, models
from impasto.keras.backends import Floats
from impasto.keras.resampling import mirrored
from impasto.runtimes import graphs
from impasto.runtimes.any_painters import read_codec
from impasto.runtimes.nodes import Tensors
from impasto.runtimes.sessions import Bytes


class KerasSession:
    """A Keras model that is ready to run.

    Args:
        model: takes `(B, H, W, C)`, and a code where it has two inputs.
        stride: sides are extended to multiples of it, and cut off again.
    """

    def __init__(self, model: Any, stride: int = 1) -> None:
        self._call, self._stride = backends.compiled(model), stride

    def run(self, *inputs: Floats) -> Floats:
        """See `runtimes.sessions.Session`."""
        image, *codes = inputs
        height, width = image.shape[2:]
        rows, columns = (-(-side // self._stride) * self._stride for side in (height, width))
        wide = image[:, :, mirrored(height, rows)][:, :, :, mirrored(width, columns)].transpose(0, 2, 3, 1)
        given: Any = np.ascontiguousarray(wide)
        found: Floats = backends.to_numpy(self._call([given, *codes] if codes else given)).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(found if self._stride == 1 else found[:, :, :height, :width])

    def run_frame(self, frame: Bytes, code: Floats) -> Bytes:
        """See `runtimes.sessions.Session`."""
        image = frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        painted = self.run(image, code)[0].transpose(1, 2, 0)
        codes: Bytes = np.rint(255 * painted.clip(0, 1)).astype(np.uint8)
        return codes


def network_session(tensors: Tensors, dtype: str) -> KerasSession:
    """A feed-forward network of its tensors."""
    return KerasSession(models.network(tensors, dtype), graphs.stride_of(tensors))


def adain_sessions(files: Sequence[Path], dtype: str) -> tuple[KerasSession, KerasSession]:
    """AdaIN's encoder and decoder of their files."""
    codec = read_codec(files)
    return KerasSession(models.adain_encoder(codec, dtype)), KerasSession(models.adain_decoder(codec, dtype))
