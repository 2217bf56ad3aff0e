"""Generators of unpaired translation: the residual networks of CycleGAN and CUT, with the weights that people trained.

    7x7 -> halved twice -> residual blocks -> doubled twice -> 7x7 -> tanh

Tensors have the names that the reference implementations of both papers give them (`model.1.weight`,
`model.10.conv_block.1.weight`, ...), so that files go both ways. Which network a file holds is told by its tensors: how
many blocks and channels, whether normalisation has scales, and whether sizes change with a blur (CUT) or by strides.

Papers: arXiv:1703.10593 (CycleGAN), arXiv:2007.15651 (CUT), arXiv:1904.11486 (the blur).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import Placement, check_cancelled
from impasto.errors import InputError
from impasto.models import checkpoint
from impasto.models.catalog import CHECKPOINTS, is_generator
from impasto.models.generator_spec import HINT, STRIDE, convolutions, is_blurred, norm_of, places_of
from impasto.ops.stats import EPSILON, instance_norm, precise
from impasto.ops.tiles import WindowedImage
from impasto.ops.tiling import Tile, side_within, tiles_of

_ENCODING = 3  # layers before the blocks
_REACH = 16  # px around a tile beyond which nothing counts, on the way down or up; 9 and 12 are needed
_LEAST_TILE = 64
_KEPT_MAPS = 5.0  # maps at a quarter of the size, at the peak of a block
_LARGEST = 1 << 30  # bytes of a checkpoint; generators take some 50 MB
_MEMORY = 22.0  # bytes a pixel of a picture for each channel at full size, in float32; measured at 512 and 1024 px


@dataclass(frozen=True)
class _Layer:
    """A convolution, and the normalisation that follows it unless it is the last."""

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def normalised(self, x: Tensor, moments: _Moments | None = None) -> Tensor:
        """By its own mean and deviation; or by those of a whole picture, of which it is a window."""
        if moments is not None:
            return self._normalised_by(x, moments)
        channels = x.shape[:2]
        scale = torch.ones(channels, device=x.device) if self.scale is None else self.scale.expand(channels)
        shift = torch.zeros(channels, device=x.device) if self.shift is None else self.shift.expand(channels)
        return instance_norm(x, scale, shift)

    def _normalised_by(self, x: Tensor, moments: _Moments) -> Tensor:
        gain = moments.inverse if self.scale is None else moments.inverse * self.scale
        move = -moments.mean * gain if self.shift is None else self.shift - moments.mean * gain
        return torch.addcmul(move[:, None, None], precise(x), gain[:, None, None]).to(x.dtype)


@dataclass(frozen=True)
class _Moments:
    """Mean and inverse deviation `(C,)` of the channels of a map, float32."""

    mean: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, parts: Iterable[Tensor]) -> _Moments:
        """Of a map whose parts `(1, C, h, w)` come one after the other."""
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for part in parts:
            flat = part[0].flatten(1).float()
            # about each part's own mean: in float32, squares far from 0 would lose digits
            mean = flat.mean(1)
            spread = (flat - mean[:, None]).square().sum(1).double()
            mean = mean.double()
            joined = count + flat.shape[1]
            apart = mean - (total / count if count else mean)
            squares = squares + spread + apart.square() * (count * flat.shape[1] / joined)
            total, count = total + mean * flat.shape[1], joined
        return cls((total / count).float(), (squares / count + EPSILON).rsqrt().float())


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
        for place in range(_ENCODING):
            x = self._encoded(self._encoding(x, place), place)
            if place:
                yield x
        for first, second in self._blocks:
            inner = self._step(_reflected(x, 1), first)
            x = x + second.normalised(F.conv2d(_reflected(inner, 1), second.weight, second.bias))
            yield x
        for place, layer in enumerate(self._up):
            x = F.relu_(layer.normalised(self._decoding(x, place)))
            yield x
        yield self._shown(x)

    def paint_in_tiles(self, picture: WindowedImage, memory: int) -> Iterator[tuple[Tile, Tensor]]:
        """Tiles of the pastiche of a picture of any size, each with its pixels `(1, 3, h, w)`.

        The same as in one piece, to rounding: each normalisation takes the statistics of the whole picture, which a
        pass over all tiles adds up. The maps between, at a quarter of the size, are kept whole (`tiled_memory`).

        Args:
            picture: whose sides 4 divides, at least 16 px each.
            memory: bytes for all of it.
        """
        share = self._dtype.itemsize / 4
        left = memory - int(tiled_memory(self.width) * share * picture.sides[0] * picture.sides[1])
        side = side_within(left, self.memory() * share, margin=_REACH, stride=STRIDE)
        tiles = tiles_of(picture.sides, max(side, _LEAST_TILE), stride=STRIDE)
        x = self._trunk(self._gathered(picture, tiles))
        known: list[_Moments] = []
        for place in range(len(self._up)):
            size = 2 ** (place + 1)
            parts = (self._decoded_window(x, tile, known) for tile in tiles)
            windows = (_inner(raw, tile, STRIDE // size) for tile, raw in zip(tiles, parts, strict=True))
            known.append(_Moments.of(windows))
            check_cancelled()
        for tile in tiles:
            check_cancelled()
            yield tile, _inner(self._shown(self._decoded_window(x, tile, known)), tile, 1)

    def _gathered(self, picture: WindowedImage, tiles: Sequence[Tile]) -> Tensor:
        """The map before the blocks, `(1, C, H / 4, W / 4)`."""
        known: list[_Moments] = []
        for place in range(_ENCODING):
            step = self._steps[place]
            raws = (_inner(self._encoded_window(picture, tile, known), tile, step) for tile in tiles)
            known.append(_Moments.of(raws))
            check_cancelled()
        height, width = (side // STRIDE for side in picture.sides)
        whole = torch.empty(1, 4 * self.width, height, width, dtype=self._dtype, device=self._stem.weight.device)
        whole = whole.contiguous(memory_format=torch.channels_last)
        for tile in tiles:
            rows, columns = tile.cells(STRIDE)
            whole[:, :, rows, columns] = _inner(self._encoded_window(picture, tile, known), tile, STRIDE)
        return whole

    def _encoded_window(self, picture: WindowedImage, tile: Tile, known: Sequence[_Moments]) -> Tensor:
        """A window after as many layers as have moments; before the normalisation of the next, if there is one."""
        window = picture.crop(tile, _REACH).to(self._stem.weight.device, self._dtype)
        x = (2 * window - 1).contiguous(memory_format=torch.channels_last)
        for place in range(_ENCODING):
            x = self._encoding(x, place)
            if place == len(known):
                return x
            x = self._encoded(x, place, known[place])
        return x

    def _decoded_window(self, x: Tensor, tile: Tile, known: Sequence[_Moments]) -> Tensor:
        rows, columns = tile.grown(_REACH).cells(STRIDE)
        window = x[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
        for place, layer in enumerate(self._up):
            window = self._decoding(window, place)
            if place == len(known):
                return window
            window = F.relu_(layer.normalised(window, known[place]))
        return window

    def _trunk(self, x: Tensor) -> Tensor:
        """The blocks over a whole map, which is changed."""
        for first, second in self._blocks:
            inner = self._step(_reflected(x, 1), first)
            x += second.normalised(F.conv2d(_reflected(inner, 1), second.weight, second.bias))
            check_cancelled()
        return x

    @property
    def _steps(self) -> tuple[int, int, int]:
        """Pixels for a position of the maps before the normalisations on the way down."""
        return (1, 1, 2) if self._blurred else (1, 2, 4)

    def _encoding(self, x: Tensor, place: int) -> Tensor:
        """The first convolution or a halving one, before its normalisation."""
        if place == 0:
            return F.conv2d(_reflected(x, 3), self._stem.weight, self._stem.bias)
        layer = self._down[place - 1]
        return F.conv2d(_padded(x), layer.weight, layer.bias, 1 if self._blurred else 2)

    def _encoded(self, raw: Tensor, place: int, moments: _Moments | None = None) -> Tensor:
        """What follows it."""
        layer = self._down[place - 1] if place else self._stem
        x = F.relu_(layer.normalised(raw, moments))
        return _halved(x) if place and self._blurred else x

    def _decoding(self, x: Tensor, place: int) -> Tensor:
        """A doubling convolution, before its normalisation."""
        layer = self._up[place]
        if self._blurred:
            return F.conv2d(_padded(_doubled(x)), layer.weight, layer.bias)
        return F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1)

    def _shown(self, x: Tensor) -> Tensor:
        out = F.conv2d(_reflected(x, 3), self._head.weight, self._head.bias)
        return (torch.tanh(out) + 1) / 2

    def operations(self) -> float:
        """Floating-point operations a pixel of the picture."""
        blurred = 1 if self._blurred else 4
        total = _work(self._stem) + _work(self._head)
        total += _work(self._down[0]) * blurred / 4 + _work(self._down[1]) * blurred / 16
        total += sum(_work(one) / 16 for block in self._blocks for one in block)
        return (
            total + _work(self._up[0]) / (4 if self._blurred else 16) + _work(self._up[1]) / (1 if self._blurred else 4)
        )

    @property
    def width(self) -> int:
        """Channels at full size."""
        return int(self._stem.weight.shape[0])

    def memory(self) -> float:
        """Bytes a pixel that a pass takes in float32."""
        return _MEMORY * self.width

    def _step(self, padded: Tensor, layer: _Layer) -> Tensor:
        return F.relu_(layer.normalised(F.conv2d(padded, layer.weight, layer.bias)))

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


def tiled_memory(width: int) -> float:
    """Bytes a pixel that the maps take in float32 which are kept whole while a picture is painted in tiles."""
    return _KEPT_MAPS * 4 * (4 * width) / STRIDE**2


def _inner(window: Tensor, tile: Tile, step: int) -> Tensor:
    """The tile's own part of a map of its window that has one position for `step` pixels."""
    above, _, before, _ = tile.margins(_REACH)
    (top, bottom), (left, right) = tile.rows, tile.columns
    rows = slice(above // step, (above + bottom - top) // step)
    return window[:, :, rows, before // step : (before + right - left) // step]


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


def load(path: Path, placement: Placement) -> Generator:
    """The generator of a file.

    Raises:
        InputError: as `read`; or its tensors make no network.
    """
    tensors = read(path)
    try:
        return Generator(tensors, placement)
    except InputError as error:
        raise InputError(f"{path} cannot paint: {error.message}", HINT) from error


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a generator's file: a checkpoint of PyTorch (`.pth`, `.pt`), or safetensors. Nothing is executed.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if path.suffix in CHECKPOINTS:
        tensors: Mapping[str, Tensor] = checkpoint.read_pickled(path, HINT, largest=_LARGEST)
    else:
        tensors, _ = checkpoint.read(path, hint=HINT)
    if not is_generator(tensors):
        raise InputError(f"{path} holds no generator of unpaired translation", HINT)
    return {name: tensor.float() for name, tensor in tensors.items()}


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
