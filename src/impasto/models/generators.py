"""Generators of unpaired translation: the residual networks of CycleGAN and CUT, with the weights that people trained.

    7x7 -> halved twice -> residual blocks -> doubled twice -> 7x7 -> tanh

Tensors have the names that the reference implementations of both papers give them (`model.1.weight`,
`model.10.conv_block.1.weight`, ...), so that files go both ways. Which network a file holds is told by its tensors: how
many blocks and channels, whether normalisation has scales, and whether sizes change with a blur (CUT) or by strides.

Papers: arXiv:1703.10593 (CycleGAN), arXiv:2007.15651 (CUT), arXiv:1904.11486 (the blur).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Placement
from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.catalog import CHECKPOINTS, is_generator
from impasto.models.generator_spec import HINT, STRIDE, convolutions, is_blurred, norm_of, places_of
from impasto.ops.stats import instance_norm

_LARGEST = 1 << 30  # bytes of a checkpoint; generators take some 50 MB
_MEMORY = 22.0  # bytes a pixel of a picture for each channel at full size, in float32; measured at 512 and 1024 px


@dataclass(frozen=True)
class _Layer:
    """A convolution, and the normalisation that follows it unless it is the last."""

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def normalised(self, x: Tensor) -> Tensor:
        channels = x.shape[:2]
        scale = torch.ones(channels, device=x.device) if self.scale is None else self.scale.expand(channels)
        shift = torch.zeros(channels, device=x.device) if self.shift is None else self.shift.expand(channels)
        return instance_norm(x, scale, shift)


class Generator:
    """A frozen generator in its place.

    Args:
        tensors: as published.
        placement: where, and in which precision.
        checked: whether a small picture is painted to see that all fits together; not at each step of a training.

    Raises:
        InputError: they are no such generator's.
    """

    stride = STRIDE

    def __init__(self, tensors: Mapping[str, Tensor], placement: Placement, *, checked: bool = True) -> None:
        outer, blocks = convolutions(tensors)
        self._dtype = placement.dtype
        self._blurred = is_blurred(tensors)

        def layer(name: str) -> _Layer:
            return _layer(tensors, name, placement)

        self._stem, *between, self._head = [layer(name) for name in outer]
        self._down, self._up = between[:2], between[2:]
        self._blocks = [(layer(first), layer(second)) for first, second in blocks]
        if checked:
            self._check()

    def __call__(self, images: Tensor, codes: Tensor | None = None) -> Tensor:  # noqa: ARG002 - it has one style
        """Paint `images (B, 3, H, W)`, sRGB in [0, 1], whose sides 4 divides; in the placement's precision."""
        painted = images
        for stage in self._stages(images):
            painted = stage  # no other map is kept
        return painted

    def features(self, images: Tensor) -> list[Tensor]:
        """The five maps that PatchNCE compares: the picture, both halvings, the first and the fifth block.

        Departs from the paper in taking both halvings after their normalisation. Of fewer blocks the last is taken.
        """
        last = self._compared[-1]
        return [stage for place, stage in enumerate(islice(self._stages(images), last + 1)) if place in self._compared]

    def paint_with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What `__call__` and `features` give, in one pass."""
        stages = list(self._stages(images))
        return stages[-1], [stages[place] for place in self._compared]

    @property
    def _compared(self) -> tuple[int, ...]:
        return 0, 1, 2, 3, 2 + min(5, len(self._blocks))

    def _stages(self, images: Tensor) -> Iterator[Tensor]:
        """One map after the other: the picture in [-1, 1], both halvings, each block, both doublings, the pastiche."""
        x = 2 * images.to(self._dtype) - 1
        yield x
        x = self._step(_reflected(x, 3), self._stem)
        for layer in self._down:
            x = _halved(self._step(_padded(x), layer)) if self._blurred else self._step(_padded(x), layer, stride=2)
            yield x
        for first, second in self._blocks:
            inner = self._step(_reflected(x, 1), first)
            x = x + second.normalised(F.conv2d(_reflected(inner, 1), second.weight, second.bias))
            yield x
        for layer in self._up:
            if self._blurred:
                x = self._step(_padded(_doubled(x)), layer)
            else:
                doubled = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1)
                x = F.relu_(layer.normalised(doubled))
            yield x
        out = F.conv2d(_reflected(x, 3), self._head.weight, self._head.bias)
        yield (torch.tanh(out) + 1) / 2

    def operations(self) -> float:
        """Floating-point operations a pixel of the picture."""
        blurred = 1 if self._blurred else 4
        total = _work(self._stem) + _work(self._head)
        total += _work(self._down[0]) * blurred / 4 + _work(self._down[1]) * blurred / 16
        total += sum(_work(one) / 16 for block in self._blocks for one in block)
        return (
            total + _work(self._up[0]) / (4 if self._blurred else 16) + _work(self._up[1]) / (1 if self._blurred else 4)
        )

    def memory(self) -> float:
        """Bytes a pixel that a pass takes in float32."""
        return _MEMORY * self._stem.weight.shape[0]

    def _step(self, padded: Tensor, layer: _Layer, *, stride: int = 1) -> Tensor:
        return F.relu_(layer.normalised(F.conv2d(padded, layer.weight, layer.bias, stride)))

    def _check(self) -> None:
        """Refuse what does not fit together, before a picture does."""
        if not (self._blocks and len(self._down) == len(self._up) == 2):
            raise InputError(f"it has {len(self._down) + len(self._up)} layers that change sizes, not 4", HINT)
        if self._stem.weight.shape[1:] != (3, 7, 7) or self._head.weight.shape[0] != 3:
            raise InputError("it does not turn pictures of 3 channels into such", HINT)
        try:
            with torch.inference_mode():
                self(torch.zeros(1, 3, 8 * STRIDE, 8 * STRIDE, device=self._stem.weight.device))
        except RuntimeError as error:
            raise InputError("its layers do not fit together", HINT) from error


def untrained(*, width: int, blocks: int, blurred: bool, generator: torch.Generator) -> dict[str, Tensor]:
    """The tensors of a new generator, by their published names.

    Args:
        width: channels at full size.
        blocks: residual blocks.
        blurred: whether sizes change with a blur, as in CUT, or by strides, as in CycleGAN.
        generator: draws the weights, of deviation 0.02; biases are 0.

    Papers: arXiv:1703.10593, appendix 7; arXiv:2007.15651, appendix C.
    """
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, *shape: int, transposed: bool = False) -> None:
        tensors[f"{name}.weight"] = 0.02 * torch.randn(*shape, generator=generator)
        tensors[f"{name}.bias"] = torch.zeros(shape[1] if transposed else shape[0])

    def blur(name: str, channels: int, line: tuple[float, ...], gain: float) -> None:
        kernel = torch.tensor(line)[:, None] * torch.tensor(line) / sum(line) ** 2
        tensors[f"{name}.filt"] = (gain * kernel).expand(channels, 1, -1, -1).contiguous()

    places = places_of(blocks, blurred=blurred)
    wide = (width, 2 * width, 4 * width)
    convolution(places.stem, width, 3, 7, 7)
    for name, narrow, broad in zip(places.down, wide, wide[1:], strict=False):
        convolution(name, broad, narrow, 3, 3)
    for name in places.blocks:
        for half in (1, 5):
            convolution(f"{name}.conv_block.{half}", 4 * width, 4 * width, 3, 3)
    for name, broad, narrow in zip(places.up, wide[::-1], wide[-2::-1], strict=False):
        shape = (narrow, broad) if blurred else (broad, narrow)
        convolution(name, *shape, 3, 3, transposed=not blurred)
    convolution(places.head, 3, width, 7, 7)
    for name, channels in zip(places.halvings, wide[1:], strict=False):
        blur(name, channels, (1, 2, 1), 1)
    for name, channels in zip(places.doublings, wide[::-1], strict=False):
        blur(name, channels, (1, 3, 3, 1), 4)
    return tensors


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a generator's file: a checkpoint of PyTorch (`.pth`, `.pt`), or safetensors. Nothing is executed.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if path.suffix in CHECKPOINTS:
        tensors = _read_checkpoint(path)
    else:
        tensors, _ = checkpoint.read(path, hint=HINT)
    if not is_generator(tensors):
        raise InputError(f"{path} holds no generator of unpaired translation", HINT)
    return {name: tensor.float() for name, tensor in tensors.items()}


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}", HINT)
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path} has {path.stat().st_size >> 20} MB, more than any generator", HINT)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickles raise whatever they like; a whole module is refused here, too
        raise InputError(f"{path} cannot be read as a checkpoint of tensors alone", HINT) from error
    if not isinstance(stored, Mapping) or not all(isinstance(tensor, Tensor) for tensor in stored.values()):
        raise InputError(f"{path} holds more than the tensors of one network", HINT)
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in stored.items()}
    if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values()):
        raise InputError(f"{path} holds numbers that are not finite", HINT)
    return tensors


def _layer(tensors: Mapping[str, Tensor], name: str, placement: Placement) -> _Layer:
    def here(key: str) -> Tensor | None:
        return tensors[key].to(placement.device, placement.dtype) if key in tensors else None

    weight = here(f"{name}.weight")
    assert weight is not None
    norm = norm_of(name)
    scale = tensors.get(f"{norm}.weight")
    if scale is not None and scale.dim() == 1 and f"{norm}.running_mean" in tensors:
        raise InputError("it was trained with batch normalisation, which is not supported", HINT)
    if scale is None or scale.dim() != 1:  # what follows is no normalisation, or one without numbers of its own
        return _Layer(weight.contiguous(memory_format=torch.channels_last), here(f"{name}.bias"), None, None)
    return _Layer(
        weight.contiguous(memory_format=torch.channels_last),
        here(f"{name}.bias"),
        scale.float().to(placement.device),
        tensors[f"{norm}.bias"].float().to(placement.device),
    )


def _reflected(x: Tensor, margin: int) -> Tensor:
    return F.pad(x, (margin,) * 4, mode="reflect")


def _padded(x: Tensor) -> Tensor:
    return F.pad(x, (1,) * 4)


def _halved(x: Tensor) -> Tensor:
    """Blurred by [1, 2, 1] along both sides, every second kept: means of two, twice."""
    return F.avg_pool2d(F.avg_pool2d(_reflected(x, 1), 2, 1), 2)


def _doubled(x: Tensor) -> Tensor:
    """Twice the size, blurred by [1, 3, 3, 1] along both sides: linear interpolation is the same."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _work(layer: _Layer) -> float:
    return 2.0 * layer.weight.numel()
