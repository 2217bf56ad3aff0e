"""The table of encoders: which networks can be looked through, their layers, presets and geometry. Loads no torch.

A network is written down as a list of blocks, from which all else follows: the names of layers, their stride, how far
they see, what weights are needed and of which shape, and the work of a pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from impasto.contract import STYLE_LAYERS
from impasto.errors import InputError
from impasto.models.checkpoint import SUFFIX, WeightsRef
from impasto.settings import close_names

Colour: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Convolution:
    """A convolution with its normalisation and activation.

    Attributes:
        key: of its weights in the file: `KEY.weight`, `KEY.bias`.
        inputs, outputs: channels.
        kernel, stride: along both sides.
        norm: key of the batch normalisation that follows, if any.
        activation: "relu", "relu6", or "" for none.
        depthwise: each channel by itself.
        raw, layer: names of what comes out before and after the activation; "" where it has none.
    """

    key: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    norm: str = ""
    activation: str = "relu"
    depthwise: bool = False
    raw: str = ""
    layer: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it gives."""
        return tuple(filter(None, (self.raw, self.layer)))


@dataclass(frozen=True)
class Pooling:
    """The greatest of each window (or the mean, where the encoder is asked for it)."""

    kernel: int = 2
    stride: int = 2

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it gives: none."""
        return ()


@dataclass(frozen=True)
class Fork:
    """Convolutions of one input side by side, joined by channels."""

    branches: tuple[Convolution, ...]
    layer: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it gives."""
        return (self.layer,) if self.layer else ()


@dataclass(frozen=True)
class Residual:
    """Convolutions in a row, added to their input or to its projection; without `adds`, the convolutions alone."""

    inner: tuple[Convolution, ...]
    shortcut: Convolution | None = None
    adds: bool = True
    activation: str = ""
    layer: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it gives."""
        return (self.layer,) if self.layer else ()


Block: TypeAlias = Convolution | Pooling | Fork | Residual


@dataclass(frozen=True)
class _LayerGeometry:
    """Geometry of one layer; see the methods of EncoderSpec of these names."""

    stride: int
    reach: int
    least: int
    operations: float
    values: float


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder as a row of the table.

    Attributes:
        name: what `--encoder` takes.
        asset: id of its weights; empty when the user brings a file.
        blocks: the network, down to a stride of 16 pixels.
        paper: the source of the network.
        style_layers, content_layers: used unless others are asked for.
        mean, deviation: RGB in [0, 1] becomes (x - mean) / deviation; None where the weights hold a colour map.
        reverse: whether it sees BGR.
        asymmetric_padding: pads a strided window as TensorFlow does, the odd pixel to the right and below.
        epsilon: of the batch normalisations.
        precisions: those it is tested in.
    """

    name: str
    asset: str
    blocks: tuple[Block, ...]
    paper: str
    style_layers: tuple[str, ...] = STYLE_LAYERS
    content_layers: tuple[str, ...] = ("relu4_1",)
    mean: Colour | None = None
    deviation: Colour = (1.0, 1.0, 1.0)
    reverse: bool = False
    asymmetric_padding: bool = False
    epsilon: float = 1e-5
    precisions: tuple[str, ...] = ("float32", "bfloat16")

    def layers(self) -> tuple[str, ...]:
        """All layer names, shallow to deep."""
        return tuple(self._walk())

    def stride(self, layer: str) -> int:
        """Pixels of the image per position of `layer`, along one side."""
        return self._walk()[layer].stride

    def reach(self, layers: Iterable[str]) -> int:
        """Pixels beyond its own cell that a position of the deepest of `layers` depends on, on each side at most."""
        seen = self._walk()
        return max(seen[layer].reach for layer in layers)

    def smallest_side(self, layers: Iterable[str]) -> int:
        """The least side in pixels that leaves enough positions for reflection padding at each convolution."""
        seen = self._walk()
        return max((seen[layer].least for layer in layers), default=1)

    def operations(self, layers: Iterable[str]) -> float:
        """Floating-point operations a pixel of one pass to the deepest of `layers`."""
        seen = self._walk()
        return max((seen[layer].operations for layer in layers), default=0.0)

    def values(self, layers: Iterable[str]) -> float:
        """Numbers a pixel that all convolutions of one pass to the deepest of `layers` give."""
        seen = self._walk()
        return max((seen[layer].values for layer in layers), default=0.0)

    def check(self, layers: Iterable[str]) -> None:
        """Raise InputError for a layer that this encoder lacks."""
        known = self.layers()
        unknown = [layer for layer in layers if layer not in known]
        if unknown:
            raise InputError(f"{self.name} has no layer {unknown[0]!r}", f"its layers are {', '.join(known)}")

    def down_to(self, layer: str) -> EncoderSpec:
        """The same network without what lies deeper than `layer`.

        Raises:
            InputError: the network has no such layer.
        """
        self.check([layer])
        names = [(getattr(block, "raw", ""), getattr(block, "layer", "")) for block in self.blocks]
        last = next(at for at, own in enumerate(names) if layer in own)
        return replace(self, blocks=self.blocks[: last + 1])

    def convolutions(self) -> Iterator[Convolution]:
        """All convolutions, in order."""
        for block in self.blocks:
            yield from _convolutions(block)

    def check_weights(self, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
        """Raise InputError where tensors of these shapes are not this network's weights; `source` names their file."""
        for one in self.convolutions():
            wanted: dict[str, tuple[int, ...]] = {
                f"{one.key}.weight": (one.outputs, 1 if one.depthwise else one.inputs, one.kernel, one.kernel)
            }
            parts = ("weight", "bias", "running_mean", "running_var") if one.norm else ()
            wanted |= {f"{one.norm}.{part}": (one.outputs,) for part in parts}
            for name, shape in wanted.items():
                if name not in shapes:
                    raise InputError(
                        f"{source} has no tensor {name}", f"it must hold {self.name} as torchvision names it"
                    )
                if shapes[name] != shape:
                    given = "x".join(map(str, shapes[name]))
                    raise InputError(
                        f"{source}: {name} is {given}; {self.name} has {'x'.join(map(str, shape))}",
                        "name the network that the file was saved from",
                    )

    def _walk(self) -> dict[str, _LayerGeometry]:
        """Geometry by layer, shallow to deep."""
        found: dict[str, _LayerGeometry] = {}
        jump, reach, least, operations, values = 1, 0, 1, 0.0, 0.0
        for block in self.blocks:
            path = _path(block)
            for window in path:
                overlap = window.kernel // 2 if window.kernel > window.stride else 0
                least = max(least, jump * (overlap + 1), jump * window.stride)
                reach += overlap * jump
                jump *= window.stride
                operations += _work(window) / jump**2
            operations += sum(_work(one) / jump**2 for one in _convolutions(block) if one not in path)
            values += sum(one.outputs for one in _convolutions(block)) / jump**2
            found |= {name: _LayerGeometry(jump, reach, least, operations, values) for name in block.layers}
        return found


def _convolutions(block: Block) -> Iterator[Convolution]:
    if isinstance(block, Convolution):
        yield block
    elif isinstance(block, Fork):
        yield from block.branches
    elif isinstance(block, Residual):
        yield from block.inner
        if block.shortcut is not None:
            yield block.shortcut


def _path(block: Block) -> tuple[Convolution | Pooling, ...]:
    """The windows that the image goes through one after the other, the widest where there is a choice."""
    if isinstance(block, Residual):
        return block.inner
    return (max(block.branches, key=lambda one: one.kernel),) if isinstance(block, Fork) else (block,)


def _work(one: Convolution | Pooling) -> float:
    if isinstance(one, Pooling):
        return 0.0
    return 2.0 * one.kernel**2 * (1 if one.depthwise else one.inputs) * one.outputs


def _vgg(counts: tuple[int, ...], keys: Iterable[str]) -> tuple[Block, ...]:
    """Convolutions of 3x3 in blocks, a 2x2 pooling between two. Block 3's second is `conv3_2`, then `relu3_2`."""
    named, inputs = iter(keys), 3
    blocks: list[Block] = []
    for number, count in enumerate(counts, start=1):
        outputs = min(64 * 2 ** (number - 1), 512)
        blocks += [Pooling()] if number > 1 else []
        for index in range(1, count + 1):
            name = f"{number}_{index}"
            blocks.append(Convolution(next(named), inputs, outputs, raw=f"conv{name}", layer=f"relu{name}"))
            inputs = outputs
    return tuple(blocks)


def _squeezenet() -> tuple[Block, ...]:
    """SqueezeNet 1.1: a convolution, then fire modules of a squeeze and two expansions; `squeeze2` .. and `fire2` .."""
    blocks: list[Block] = [Convolution("conv1", 3, 64, stride=2, raw="conv1", layer="relu1"), Pooling(3)]
    inputs = 64
    for number in range(2, 10):
        narrow = 16 * (number // 2)
        wide, name = 4 * narrow, f"fire{number}"
        blocks.append(Convolution(f"{name}.squeeze", inputs, narrow, 1, layer=f"squeeze{number}"))
        sides = tuple(Convolution(f"{name}.expand{k}x{k}", narrow, wide, k) for k in (1, 3))
        blocks.append(Fork(sides, name))
        blocks += [Pooling(3)] if number in (3, 5) else []
        inputs = 2 * wide
    return tuple(blocks)


def _inverted(
    keys: tuple[tuple[str, str], ...], inputs: int, outputs: int, kernel: int, stride: int, expansion: int, layer: str
) -> Block:
    """An inverted residual block: expand (unless by 1), depthwise, project; keys are of weights and norms."""
    middle, parts = inputs * expansion, []
    if expansion > 1:
        (key, norm), *keys_left = keys
        parts.append(Convolution(key, inputs, middle, 1, 1, norm, "relu6"))
        keys = tuple(keys_left)
    (depth, depth_norm), (last, last_norm) = keys
    parts.append(Convolution(depth, middle, middle, kernel, stride, depth_norm, "relu6", depthwise=True))
    parts.append(Convolution(last, middle, outputs, 1, 1, last_norm, ""))
    return Residual(tuple(parts), adds=stride == 1 and inputs == outputs, layer=layer)


def _efficientnet_lite0() -> tuple[Block, ...]:
    """Its stem and five of its seven stages; `stem`, then `block1_1` .. `block5_3`."""
    blocks: list[Block] = [Convolution("_conv_stem", 3, 32, 3, 2, "_bn0", "relu6", layer="stem")]
    stages = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
    inputs, index = 32, 0
    for stage, (count, kernel, stride, expansion, outputs) in enumerate(stages, start=1):
        for number in range(1, count + 1):
            key = f"_blocks.{index}."
            keys = [(f"{key}_expand_conv", f"{key}_bn0")] if expansion > 1 else []
            keys += [(f"{key}_depthwise_conv", f"{key}_bn1"), (f"{key}_project_conv", f"{key}_bn2")]
            step = stride if number == 1 else 1
            blocks.append(
                _inverted(tuple(keys), inputs, outputs, kernel, step, expansion, layer=f"block{stage}_{number}")
            )
            inputs, index = outputs, index + 1
    return tuple(blocks)


def _mobilenet_v2() -> tuple[Block, ...]:
    """Its stem and five of its seven stages, as torchvision names them; `stem`, then `block1_1` .. `block5_3`."""
    blocks: list[Block] = [Convolution("features.0.0", 3, 32, 3, 2, "features.0.1", "relu6", layer="stem")]
    inputs, index = 32, 1
    for stage, (count, stride, expansion, outputs) in enumerate(
        ((1, 1, 1, 16), (2, 2, 6, 24), (3, 2, 6, 32), (4, 2, 6, 64), (3, 1, 6, 96)), start=1
    ):
        for number in range(1, count + 1):
            key = f"features.{index}.conv."
            keys = [(f"{key}{part}.0", f"{key}{part}.1") for part in range(2 if expansion > 1 else 1)]
            keys.append((f"{key}{len(keys)}", f"{key}{len(keys) + 1}"))
            step = stride if number == 1 else 1
            blocks.append(_inverted(tuple(keys), inputs, outputs, 3, step, expansion, layer=f"block{stage}_{number}"))
            inputs, index = outputs, index + 1
    return tuple(blocks)


def _resnet(counts: tuple[int, int, int], *, bottleneck: bool) -> tuple[Block, ...]:
    """Its stem and three of its four stages, as torchvision names them; `relu1`, then `block1_1` .. `block3_N`."""
    blocks: list[Block] = [Convolution("conv1", 3, 64, 7, 2, "bn1", raw="conv1", layer="relu1"), Pooling(3)]
    inputs = 64
    for stage, count in enumerate(counts, start=1):
        width = 64 * 2 ** (stage - 1)
        outputs = 4 * width if bottleneck else width
        for number in range(count):
            key, stride = f"layer{stage}.{number}.", 2 if stage > 1 and number == 0 else 1
            plan = [(inputs, width, 3, stride), (width, width, 3, 1)]
            if bottleneck:
                plan = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            inner = tuple(
                Convolution(f"{key}conv{i}", *shape, f"{key}bn{i}", "" if i == len(plan) else "relu")
                for i, shape in enumerate(plan, start=1)
            )
            projection = None
            if stride > 1 or inputs != outputs:
                names = f"{key}downsample.0", f"{key}downsample.1"
                projection = Convolution(names[0], inputs, outputs, 1, stride, names[1], "")
            blocks.append(Residual(inner, projection, activation="relu", layer=f"block{stage}_{number + 1}"))
            inputs = outputs
    return tuple(blocks)


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
_RESNET: dict[str, Any] = {
    "paper": "arXiv:1512.03385",
    "style_layers": ("relu1", "block1_1", "block2_1", "block3_1"),
    "content_layers": ("block2_2",),
}
_MOBILE_LAYERS: dict[str, Any] = {
    "style_layers": ("stem", "block1_1", "block2_1", "block3_1", "block4_1"),
    "content_layers": ("block3_2",),
}

VGG19 = EncoderSpec(
    "vgg19",
    "vgg19-normalised",
    _vgg(
        (2, 2, 4, 4, 4),
        (f"conv{block}_{index}" for block, n in enumerate((2, 2, 4, 4, 4), 1) for index in range(1, n + 1)),
    ),
    "arXiv:1409.1556; normalised as in Gatys 2016",
)
ARCHITECTURES: Mapping[str, EncoderSpec] = {
    row.name: row
    for row in (
        VGG19,
        EncoderSpec(
            "vgg16",
            "lpips-vgg16",
            _vgg((2, 2, 3, 3, 3), (f"conv{number}" for number in range(1, 14))),
            "arXiv:1409.1556",
            mean=(0.485, 0.456, 0.406),
            deviation=(0.229, 0.224, 0.225),
        ),
        EncoderSpec(
            "squeezenet",
            "squeezenet",
            _squeezenet(),
            "arXiv:1602.07360, version 1.1",
            style_layers=("relu1", "fire2", "fire4", "fire6", "fire8"),
            content_layers=("fire5",),
            mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
            deviation=(1 / 255, 1 / 255, 1 / 255),
            reverse=True,
            asymmetric_padding=True,
        ),
        EncoderSpec(
            "efficientnet-lite0",
            "efficientnet-lite0",
            _efficientnet_lite0(),
            "arXiv:1905.11946, its variant Lite0",
            **_MOBILE_LAYERS,
            mean=(127 / 255, 127 / 255, 127 / 255),
            deviation=(128 / 255, 128 / 255, 128 / 255),
            asymmetric_padding=True,
            epsilon=1e-3,
        ),
        EncoderSpec("mobilenet-v2", "", _mobilenet_v2(), "arXiv:1801.04381", **_MOBILE_LAYERS, **_IMAGENET),
        EncoderSpec("resnet18", "", _resnet((2, 2, 2), bottleneck=False), **_RESNET, **_IMAGENET),
        EncoderSpec("resnet34", "", _resnet((3, 4, 6), bottleneck=False), **_RESNET, **_IMAGENET),
        EncoderSpec("resnet50", "", _resnet((3, 4, 6), bottleneck=True), **_RESNET, **_IMAGENET),
    )
}


def find(encoder: str) -> EncoderSpec:
    """The row of an encoder.

    Args:
        encoder: a name of the table, or `NAME:FILE.safetensors` for weights of one's own.

    Raises:
        InputError: there is no such encoder or file, or weights of one's own are needed and none are named.
    """
    name, file = (ref := WeightsRef.parse(encoder)).name, ref.file
    if name not in ARCHITECTURES:
        raise InputError(f"there is no encoder {name!r}", close_names(name, ARCHITECTURES))
    row = ARCHITECTURES[name]
    if file is None:
        if not row.asset:
            raise InputError(
                f"encoder {name} comes without weights", f"give a file of yours: --encoder {name}:weights.safetensors"
            )
        return row
    if file.suffix.lower() != SUFFIX:
        raise InputError(
            f"weights must be a .safetensors file, not {str(file)!r}", "save them with safetensors' save_file"
        )
    if not file.is_file():
        raise InputError(f"there is no file {file}", f"give the weights of {name} as torchvision names them")
    return row


def weights_of(encoder: str) -> str:
    """The name of an encoder's weights: an asset's id, or `NAME:FILE`. Raises InputError as `find`."""
    return encoder if WeightsRef.parse(encoder).file else find(encoder).asset


def of_weights(names: Collection[str]) -> tuple[str, EncoderSpec]:
    """The first of some names of weights that is an encoder's, as `weights_of` gives them, and its row."""
    assets = {row.asset: row for row in ARCHITECTURES.values() if row.asset}
    own = {name: ARCHITECTURES[ref.name] for name in names if (ref := WeightsRef.parse(name)).file}
    return next((name, {**assets, **own}[name]) for name in names if name in assets or name in own)


def presets(encoder: str) -> Mapping[str, Any]:
    """Knobs that fit an encoder: its layers, and a start. Raises InputError as `find`."""
    row = find(encoder)
    fitting: dict[str, Any] = {"style_layers": row.style_layers, "content_layers": row.content_layers}
    if row is not VGG19:
        # from the photograph the others end in grain that they take for strokes (docs/encoders.md)
        fitting |= {"init": "draft", "deep_style": 1.0}  # their deep layers were not looked at with less weight
    return fitting
