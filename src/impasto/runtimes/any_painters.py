"""Any painting by AdaIN or MicroAST in ONNX Runtime or OpenVINO, on arrays alone: without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import AssetError
from impasto.models import codecs, microast_spec
from impasto.models.codecs import Codec
from impasto.runtimes import any_style
from impasto.runtimes.graphs import EPSILON, digest_of, kept
from impasto.runtimes.sessions import Floats, Session, open_graph

Code: TypeAlias = tuple[Floats, ...]
"""What a method makes of paintings."""


class AnyPainter(Protocol):
    """A method with its networks in a runtime.

    Attributes:
        name: of the runtime.
        precision: that it computes in.
        bytes: of its graphs.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def precision(self) -> str:
        """See above."""
        ...

    @property
    def bytes(self) -> int:
        """See above."""
        ...

    def encode(self, paintings: Sequence[Floats], shares: Sequence[float]) -> Code:
        """The code of paintings `(h, w, 3)` in [0, 1], averaged by their shares."""
        ...

    def paint(self, photograph: Floats, code: Code, strength: float) -> Floats:
        """A pastiche `(H, W, 3)` of a photograph `(H, W, 3)` in [0, 1]."""
        ...


def open_painter(
    method: str,
    files: Sequence[Path],
    runtime: str,
    precision: str,
    folders: tuple[Path, Path],
) -> AnyPainter:
    """A method's networks in a runtime.

    Args:
        method: "adain" or "microast".
        files: of its weights.
        runtime: "onnx" or "openvino".
        precision: of the runtime.
        folders: where graphs are kept, and what OpenVINO has compiled.

    Raises:
        InputError: the files hold other networks.
        AssetError: one cannot be read.
        MissingExtra: the runtime is not installed; or no graph is kept, and the package onnx is not there.
    """
    painter, parts = _METHODS[method]
    known_by, (graphs, compiled) = "-".join(digest_of(file)[:16] for file in files), folders
    made: dict[str, bytes] = {}

    def graph(part: str) -> bytes:
        if not made:
            made.update(parts(files))
        return made[part]

    data = [
        kept(f"{known_by}-{one}-{any_style.VERSION}", partial(graph, one), graphs) for one in ("encoder", "painter")
    ]
    encoder, last = (open_graph(one, runtime, precision, compiled) for one in data)
    return painter(encoder, last, runtime, precision, sum(map(len, data)))


@dataclass(frozen=True)
class AdaINPainter:
    """As `methods.adain`; the code is mean and deviation `(1, C, 1, 1)`."""

    encoder: Session
    decoder: Session
    name: str
    precision: str
    bytes: int

    def encode(self, paintings: Sequence[Floats], shares: Sequence[float]) -> Code:
        """See `AnyPainter`."""
        return _averaged([_moments(self._features(painting)) for painting in paintings], shares)

    def paint(self, photograph: Floats, code: Code, strength: float) -> Floats:
        """See `AnyPainter`."""
        image, features = _padded(photograph, _ADAIN_LEAST, any_style.ADAIN_STRIDE), self._features(photograph)
        mean, deviation = _moments(features)
        scale = code[1] / deviation
        stylized = features * scale + (code[0] - mean * scale)
        share = np.float32(strength)
        pastiche = self.decoder.run(features + share * (stylized - features))
        if strength < 1:  # what the decoder cannot rebuild of the photograph
            pastiche = pastiche + (1 - share) * (image - self.decoder.run(features))
        return _cut(pastiche, photograph)

    def _features(self, picture: Floats) -> Floats:
        return self.encoder.run(_padded(picture, _ADAIN_LEAST, any_style.ADAIN_STRIDE))


@dataclass(frozen=True)
class _MicroAST:
    """As `methods.microast`; the code is `(1, 512)`."""

    encoder: Session
    painter: Session
    name: str
    precision: str
    bytes: int

    def encode(self, paintings: Sequence[Floats], shares: Sequence[float]) -> Code:
        """See `AnyPainter`."""
        padded = [_padded(painting, microast_spec.LEAST, microast_spec.STRIDE) for painting in paintings]
        return _averaged([(self.encoder.run(one),) for one in padded], shares)

    def paint(self, photograph: Floats, code: Code, strength: float) -> Floats:
        """See `AnyPainter`."""
        image = _padded(photograph, microast_spec.LEAST, microast_spec.STRIDE)
        return _cut(image + np.float32(strength) * (self.painter.run(image, code[0]) - image), photograph)


def _adain_graphs(files: Sequence[Path]) -> dict[str, bytes]:
    codec = read_codec(files)
    return {"encoder": any_style.adain_encoder(codec), "painter": any_style.adain_decoder(codec)}


def _microast_graphs(files: Sequence[Path]) -> dict[str, bytes]:
    tensors = read_tensors(files[0])
    return {"encoder": any_style.microast_encoder(tensors), "painter": any_style.microast_painter(tensors)}


_METHODS: Mapping[str, tuple[type[AdaINPainter] | type[_MicroAST], Callable[[Sequence[Path]], dict[str, bytes]]]] = {
    "adain": (AdaINPainter, _adain_graphs),
    "microast": (_MicroAST, _microast_graphs),
}
METHODS = tuple(_METHODS)
"""Names of the methods that paint here."""

_ADAIN_LEAST = 2 * any_style.ADAIN_STRIDE


def read_codec(files: Sequence[Path]) -> Codec:
    """AdaIN's networks as NumPy arrays, of the two assets or of one file, see `codecs`.

    Raises:
        InputError: the file holds other networks.
        AssetError: one cannot be read.
    """
    if len(files) == 1:
        return codecs.read(files[0], "numpy")
    return Codec.of_assets(dict(zip(codecs.ASSETS, map(read_tensors, files), strict=True)))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file in float32. Raises AssetError where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise AssetError(f"weights cannot be read: {path}", "impasto assets verify") from error
    return {name: tensor.astype(np.float32) for name, tensor in found.items()}


def _padded(picture: Floats, least: int, stride: int) -> Floats:
    """`(1, 3, H, W)` of a picture `(h, w, 3)`, mirrored to sides that the stride divides; as `pad_to_multiple`."""
    border = [(0, -(-max(side, least) // stride) * stride - side) for side in picture.shape[:2]]
    return np.ascontiguousarray(np.pad(picture, [*border, (0, 0)], mode="reflect").transpose(2, 0, 1)[None])


def _cut(pastiche: Floats, photograph: Floats) -> Floats:
    height, width = photograph.shape[:2]
    return np.ascontiguousarray(np.clip(pastiche[0, :, :height, :width], 0, 1).transpose(1, 2, 0))


def _moments(features: Floats) -> Code:
    flat = features.reshape(*features.shape[:2], -1)
    deviation = np.sqrt(flat.var(2, dtype=np.float64) + EPSILON)
    return tuple(one.astype(np.float32)[..., None, None] for one in (flat.mean(2, dtype=np.float64), deviation))


def _averaged(codes: Sequence[Code], shares: Sequence[float]) -> Code:
    return tuple(
        sum(np.float32(share) * one for share, one in zip(shares, parts, strict=True))
        for parts in zip(*codes, strict=True)
    )
