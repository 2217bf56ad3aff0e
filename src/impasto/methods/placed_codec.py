"""AdaIN's encoder and decoder where they run: in torch, ONNX Runtime or OpenVINO."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from impasto.contract import Features, Placement
from impasto.methods.transfer import Networks
from impasto.models.codecs import LAYER, Codec
from impasto.ops.tiling import Tile
from impasto.runtimes import any_style
from impasto.runtimes.sessions import open_graph


def placed(codec: Codec, placement: Placement) -> Networks:
    """Both in the runtime of a placement."""
    if placement.runtime == "torch":
        return Networks.of(LAYER, codec.encoder, codec.decoder, placement)
    arrays = Codec(*({name: one.numpy() for name, one in part.items()} for part in (codec.encoder, codec.decoder)))
    return Networks(_Encoder(arrays, placement), _Decoder(arrays, placement), removes_grid=True)


class _Encoder:
    """The encoder in ONNX Runtime or OpenVINO, called as one of torch."""

    def __init__(self, codec: Codec, placement: Placement) -> None:
        self._session = open_graph(any_style.adain_encoder(codec), placement.runtime, placement.precision)

    def __call__(self, images: Tensor, layers: Iterable[str], /, *, tile: Tile | None = None) -> Features:
        assert tile is None
        (layer,) = layers
        return {layer: torch.from_numpy(self._session.run(images.float().contiguous().numpy()))}


class _Decoder:
    """The same of the decoder, with the grid taken out."""

    def __init__(self, codec: Codec, placement: Placement) -> None:
        self._session = open_graph(any_style.adain_decoder(codec), placement.runtime, placement.precision)

    def __call__(self, features: Tensor, tile: Tile | None = None, /) -> Tensor:
        assert tile is None
        return torch.from_numpy(self._session.run(features.float().contiguous().numpy()))
