"""AdaIN's encoder and decoder in one file: with a decoder of one's own, or narrower than VGG-19 and its mirror.

Nothing here loads torch unless tensors of torch are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.encoder_specs import VGG19, Convolution

LAYER = "relu4_1"
"""Whose statistics are exchanged."""

KIND = "adain"
"""The kind in the metadata of such a file."""

ASSETS = ("vgg19-normalised", "adain-decoder")
"""The full ones, which are assets of their own."""

_ENCODER, _DECODER = "encoder.", "decoder."
_COLOURS = "preprocess"
_HINT = "give one that impasto train adain or impasto prune adain has written"


@dataclass(frozen=True)
class Codec:
    """Tensors of both, of torch or NumPy.

    Attributes:
        encoder: `KEY.weight`, `KEY.bias` from conv1_1 to conv4_1, and the colour map `preprocess`.
        decoder: the same from conv4_1 to conv1_1.
    """

    encoder: Mapping[str, Any]
    decoder: Mapping[str, Any]

    @classmethod
    def of_assets(cls, weights: Mapping[str, Mapping[str, Any]]) -> Codec:
        """The full ones, without the layers of VGG-19 that lie deeper."""
        whole, decoder = (weights[name] for name in ASSETS)
        return cls({name: whole[name] for name in _names(convolutions(), _COLOURS)}, dict(decoder))

    @classmethod
    def of_weights(cls, weights: Mapping[str, Mapping[str, Any]]) -> Codec:
        """Of the assets, or of the one file that stands in for them; raises as `of_file`."""
        return cls.of_assets(weights) if len(weights) > 1 else cls.of_file(next(iter(weights.values())))

    @classmethod
    def of_file(cls, tensors: Mapping[str, Any], source: str = "the file") -> Codec:
        """Of the tensors of a file.

        Raises:
            InputError: they are others; `source` names their file.
        """
        parts: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for name, tensor in tensors.items():
            for part, prefix in zip(parts, (_ENCODER, _DECODER), strict=True):
                if name.startswith(prefix):
                    part[name.removeprefix(prefix)] = tensor
        keys = convolutions()
        wanted = [_ENCODER + name for name in _names(keys, _COLOURS)] + [_DECODER + name for name in _names(keys)]
        checkpoint.check_names(source, tensors, wanted, what="AdaIN", hint=_HINT)
        found = cls(*parts)
        if not found.fits:
            raise InputError(f"{source} holds layers of AdaIN that do not fit together", _HINT)
        return found

    def tensors(self) -> dict[str, Any]:
        """As a file holds them."""
        encoder = {_ENCODER + name: tensor for name, tensor in self.encoder.items()}
        return encoder | {_DECODER + name: tensor for name, tensor in self.decoder.items()}

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(tensor.size if hasattr(tensor, "ctypes") else tensor.numel() for tensor in self.tensors().values())

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels that each convolution gives, from the encoder's first to the decoder's last."""
        encoder = [self.encoder[f"{key}.weight"].shape[0] for key in convolutions()]
        return (*encoder, *(self.decoder[f"{key}.weight"].shape[0] for key in reversed(convolutions())))

    @property
    def fits(self) -> bool:
        """Whether all tensors are there, and each layer takes what the one before gives."""
        keys = convolutions()
        if set(self.encoder) != set(_names(keys, _COLOURS)) or set(self.decoder) != set(_names(keys)):
            return False
        given = 3
        rows = [(self.encoder, key) for key in (_COLOURS, *keys)] + [(self.decoder, key) for key in reversed(keys)]
        for part, key in rows:
            weight, bias = part[f"{key}.weight"], part[f"{key}.bias"]
            side = 1 if key == _COLOURS else 3
            if tuple(weight.shape[1:]) != (given, side, side) or tuple(bias.shape) != (weight.shape[0],):
                return False
            given = weight.shape[0]
        return given == 3


def convolutions() -> tuple[str, ...]:
    """Keys of the convolutions that both have, in the encoder's order."""
    return tuple(block.key for block in VGG19.down_to(LAYER).blocks if isinstance(block, Convolution))


def needs(network: str) -> tuple[str, ...]:
    """Names of the weights: the full ones for "shipped"; or `adain:FILE`.

    Raises:
        InputError: there is no such file.
    """
    if network == "shipped":
        return ASSETS
    if not Path(network).is_file():
        raise InputError(f"there is no network {network}", "impasto train adain makes one; or leave out --network")
    return (str(checkpoint.WeightsRef(KIND, Path(network))),)


def is_codec(path: Path) -> bool:
    """Whether a file says that it holds networks of AdaIN; raises InputError where a network's file cannot be read."""
    if path.suffix != checkpoint.SUFFIX or not path.is_file():
        return False
    return bool(checkpoint.read_header(path)[0].get("kind") == KIND)


def read(path: Path, framework: Literal["pt", "numpy"] = "pt") -> Codec:
    """Both from their file, in float32.

    Raises:
        InputError: it is missing, or another kind of network.
    """
    stored, about = checkpoint.read(path, framework, hint=_HINT)
    if about.get("kind") != KIND:
        raise InputError(f"{path} holds no networks of AdaIN", _HINT)
    numpy = framework == "numpy"
    return Codec.of_file(
        {name: one.astype("float32") if numpy else one.float() for name, one in stored.items()}, str(path)
    )


def _names(keys: tuple[str, ...], *more: str) -> list[str]:
    return [f"{key}.{part}" for key in (*more, *keys) for part in ("weight", "bias")]
