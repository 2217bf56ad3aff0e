"""Networks as plain modules that exporters can follow: no views, no writing in place, padding and cropping inside.

Annotations of classes are for TorchScript, which reads no text: so this module does not put them off.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.models import networks
from impasto.models.codecs import LAYER, Codec
from impasto.models.decoders import steps
from impasto.models.encoder_specs import Convolution, Pooling
from impasto.models.microast_spec import DECODER, DEPTHS, ENCODER, HEAD, RESIDUALS, STRIDE, WIDTH
from impasto.ops.grids import FAINT, PERIODS, near_weights, span_weights
from impasto.ops.stats import EPSILON

_TAPS = (((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)))


class Normalisation(nn.Module):
    """Mean 0 and deviation 1 for each channel of each item, then a scale and a shift `(B, C)` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.epsilon = EPSILON

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`(B, C, H, W)`, as `ops.stats.instance_norm`."""
        mean = x.mean((2, 3), keepdim=True)
        apart = x - mean
        variance = (apart * apart).mean((2, 3), keepdim=True)
        return apart * (torch.rsqrt(variance + self.epsilon) * scale[:, :, None, None]) + shift[:, :, None, None]


def mirrored_to_multiple(x: Tensor, stride: int) -> Tensor:
    """`x (B, C, H, W)`, extended at the lower and the right edge by mirroring, to sides that `stride` divides."""
    below = (stride - x.shape[2] % stride) % stride
    beside = (stride - x.shape[3] % stride) % stride
    return F.pad(x, [0, beside, 0, below], mode="reflect")


class PlainConvolution(nn.Module):
    """A convolution with reflection padding."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.border, self.stride, self.groups = weight.shape[2] // 2, stride, groups
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.contiguous_format))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H / stride, W / stride)`."""
        border = self.border
        if border > 0:
            x = F.pad(x, (border, border, border, border), mode="reflect")
        return F.conv2d(x, self.weight, self.bias, [self.stride, self.stride], [0, 0], [1, 1], self.groups)


class PlainDoubling(nn.Module):
    """Doubles by nearest neighbours and convolves, as `networks.Network` does: four pixels for each 2x2 window."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        taps = weight.new_tensor(_TAPS)
        kernels = torch.einsum("pak,qbl,oikl->opqiab", taps, taps, weight.detach().float())
        self.register_buffer("weight", kernels.reshape(4 * outputs, inputs, 2, 2).contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().repeat_interleave(4))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, 2 H, 2 W)`; the doubled picture mirrored is the small one with its edge repeated."""
        windows = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias)
        return F.pixel_shuffle(windows, 2)[:, :, 1:-1, 1:-1]


class PlainNetwork(nn.Module):
    """A trained network: `image (B, 3, H, W)` in [0, 1] and `code (B, N)` to the pastiche, of the same shape.

    Args:
        network: the shared convolutions.
        whole: whether sides that are no multiples of the stride are mirrored inside and cut off again.
    """

    skip: Tensor | None

    def __init__(self, network: networks.Network, *, whole: bool = True) -> None:
        super().__init__()
        self.inner_stride = network.stride if whole else 1
        self.stem = _plain(network.stem)
        self.down = nn.ModuleList(_plain(layer) for layer in network.down)
        blocks: list[Any] = list(network.blocks)
        self.first = nn.ModuleList(_half(block.first) for block in blocks)
        self.second = nn.ModuleList(_half(block.second) for block in blocks)
        up: list[Any] = list(network.up)
        self.up = nn.ModuleList(PlainDoubling(layer.weight, layer.bias) for layer in up)
        self.register_buffer("skip", None if network.skip is None else network.skip.detach()[:, None, None].clone())
        full = network.full
        self.full = nn.Identity() if full is None else PlainDoubling(full.weight, full.bias)
        self.head = nn.Identity() if network.head is None else _plain(network.head)
        self.doubled, self.headed = full is not None, network.head is not None
        self.normalisation = Normalisation()
        self.pieces = [size for channels in network.architecture.normalised for size in (channels, channels)]

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        """See the class."""
        height, width = image.shape[2], image.shape[3]
        x = mirrored_to_multiple(image, self.inner_stride) if self.inner_stride > 1 else image
        x = self.stem(x - 0.5)
        pieces = torch.split(code, self.pieces, dim=1)
        x = F.relu(self.normalisation(x, pieces[0], pieces[1]))
        at, before, skip = 2, x, self.skip
        for layer in self.down:
            before = x
            x = F.relu(self.normalisation(layer(x), pieces[at], pieces[at + 1]))
            at += 2
        for first, second in zip(self.first, self.second):  # noqa: B905 - TorchScript knows no strict
            inner = F.relu(self.normalisation(first(x), pieces[at], pieces[at + 1]))
            x = x + self.normalisation(second(inner), pieces[at + 2], pieces[at + 3])
            at += 4
        for index, layer in enumerate(self.up):
            x = F.relu(self.normalisation(layer(x), pieces[at], pieces[at + 1]))
            at += 2
            if index == 0 and skip is not None:
                x = x + before * skip
        if self.doubled:
            x = self.full(x)
            if self.headed:
                x = F.relu(x)
        x = torch.sigmoid(self.head(x))
        return x[:, :, :height, :width] if self.inner_stride > 1 else x


def _plain(layer: Any) -> PlainConvolution:
    return PlainConvolution(layer.weight, layer.bias, stride=layer.stride, groups=layer.groups)


def _half(layer: Any) -> nn.Module:
    if hasattr(layer, "depthwise"):
        return nn.Sequential(_plain(layer.depthwise), _plain(layer.pointwise))
    return _plain(layer)


class PlainAverage(nn.Module):
    """Weighted means over both axes of places so many pixels apart; beyond the edges there are none."""

    kernel: Tensor

    def __init__(self, weights: list[float], *, apart: int) -> None:
        super().__init__()
        self.apart, self.border = apart, apart * (len(weights) // 2)
        self.register_buffer("kernel", torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, H, W)`."""
        down, across = self.kernel[None, None, :, None], self.kernel[None, None, None, :]
        for kernel, border, apart in (
            (down, [self.border, 0], [self.apart, 1]),
            (across, [0, self.border], [1, self.apart]),
        ):
            count = F.conv2d(torch.ones_like(x[:1, :1]), kernel, None, [1, 1], border, apart)
            x = F.conv2d(x, kernel.repeat(3, 1, 1, 1), None, [1, 1], border, apart, 3) / count
        return x


class PlainGridFilter(nn.Module):
    """As `ops.grids.without_grid`."""

    def __init__(self) -> None:
        super().__init__()
        self.faint = FAINT
        self.spans = nn.ModuleList(PlainAverage(span_weights(period), apart=1) for period in PERIODS)
        self.nears = nn.ModuleList(PlainAverage(near_weights(), apart=period) for period in PERIODS)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, H, W)`."""
        for span, near in zip(self.spans, self.nears):  # noqa: B905 - TorchScript knows no strict
            detail = x - span(x)
            share = (1 - (detail / self.faint) ** 2).clamp(min=0.0)
            x = x - near(detail * share * share)
        return x


class PlainAdaIN(nn.Module):
    """AdaIN: `image (B, 3, H, W)` and `style (B, 3, h, w)`, both in [0, 1], to the pastiche `(B, 3, H, W)`.

    Args:
        codec: tensors of both networks.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        encoder, decoder = codec.encoder, codec.decoder
        self.epsilon = EPSILON
        undone = steps(LAYER)
        colours = PlainConvolution(encoder["preprocess.weight"], encoder["preprocess.bias"])
        self.encoder = nn.Sequential(colours, *(_down(block, encoder) for block in reversed(undone)))
        up = [_up(block, decoder, relu=at < len(undone)) for at, block in enumerate(undone, start=1)]
        self.decoder = nn.Sequential(*up, PlainGridFilter())

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """See the class."""
        height, width = image.shape[2], image.shape[3]
        features = self.encoder(mirrored_to_multiple(image, 8))
        mean, std = _moments(self.encoder(mirrored_to_multiple(style, 8)), self.epsilon)
        own_mean, own_std = _moments(features, self.epsilon)
        pastiche = self.decoder((features - own_mean) * (std / own_std) + mean)
        clamped: Tensor = pastiche.clamp(0.0, 1.0)
        return clamped[:, :, :height, :width]


def _moments(features: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    mean = features.mean((2, 3), keepdim=True)
    apart = features - mean
    return mean, torch.sqrt((apart * apart).mean((2, 3), keepdim=True) + epsilon)


def _down(block: object, weights: Mapping[str, Tensor]) -> nn.Module:
    if isinstance(block, Pooling):
        return nn.MaxPool2d(block.kernel, block.stride)
    assert isinstance(block, Convolution)
    return nn.Sequential(PlainConvolution(weights[f"{block.key}.weight"], weights[f"{block.key}.bias"]), nn.ReLU())


def _up(block: object, weights: Mapping[str, Tensor], *, relu: bool) -> nn.Module:
    if isinstance(block, Pooling):
        return nn.Upsample(scale_factor=float(block.stride), mode="nearest")
    assert isinstance(block, Convolution)
    convolution = PlainConvolution(weights[f"{block.key}.weight"], weights[f"{block.key}.bias"])
    return nn.Sequential(convolution, nn.ReLU()) if relu else convolution


class PlainMicroAST(nn.Module):
    """MicroAST: `image (B, 3, H, W)` and `style (B, 3, h, w)`, both in [0, 1], to the pastiche `(B, 3, H, W)`.

    Args:
        tensors: of the asset microast.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.epsilon, self.stride = EPSILON, STRIDE
        self.content, self.style = (_MicroEncoder(tensors, name) for name in ("content", "style"))
        parts = [f"{part}{depth}" for depth in DEPTHS for part in ("weight", "bias")]
        self.modulators = nn.ModuleList(_layer(tensors, f"modulator.{part}.0", groups=WIDTH) for part in parts)
        names = [f"decoder.{name}.{part}" for name in ("dec1", "dec2") for part in ("conv1", "conv2")]
        self.filters = nn.ModuleList(_layer(tensors, name) for name in names)
        layers, inputs = list[nn.Module](), WIDTH
        for apart, across in DECODER:
            first, second = (f"decoder.dec3.{number}" for number in (apart, across))
            groups = inputs // int(tensors[f"{first}.conv_layer.weight"].shape[1])
            layers += [nn.Upsample(scale_factor=2.0, mode="bilinear"), _layer(tensors, first, groups=groups), nn.ReLU()]
            layers += [_layer(tensors, second), nn.ReLU()]
            inputs = int(tensors[f"{second}.conv_layer.weight"].shape[0])
        self.decoder = nn.Sequential(*layers, _layer(tensors, f"decoder.dec3.{HEAD}"))

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """See the class."""
        height, width = image.shape[2], image.shape[3]
        shallow, deep = self.style(mirrored_to_multiple(style, self.stride))
        _, x = self.content(mirrored_to_multiple(image, self.stride))
        modulations = []
        for number, layer in enumerate(self.modulators):
            modulations.append(layer(shallow if number < 2 else deep).mean((2, 3), keepdim=True))
        x = self.renormalised(x, deep)
        inner = F.relu(modulations[2] * self.filters[0](x) + modulations[3] * x)
        x = x + modulations[2] * self.filters[1](inner) + modulations[3] * inner
        x = self.renormalised(x, shallow)
        inner = F.relu(modulations[0] * self.filters[2](x) + modulations[1] * x)
        x = x + modulations[0] * self.filters[3](inner) + modulations[1] * inner
        painted: Tensor = self.decoder(x).clamp(0.0, 1.0)
        return painted[:, :, :height, :width]

    def renormalised(self, x: Tensor, features: Tensor) -> Tensor:
        """With the mean and deviation of other features, as samples have them."""
        mean, std = _sample_moments(features, self.epsilon)
        own_mean, own_std = _sample_moments(x, self.epsilon)
        return (x - own_mean) * (std / own_std) + mean


class _MicroEncoder(nn.Module):
    """Features at both depths."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        layers, channels = list[nn.Module](), 3
        for number, stride in ENCODER:
            groups = channels if stride > 1 else 1
            layers += [_layer(tensors, f"{name}.enc1.{number}", stride=stride, groups=groups), nn.ReLU()]
            channels = int(tensors[f"{name}.enc1.{number}.conv_layer.weight"].shape[0])
        self.before = nn.Sequential(*layers)
        self.inner = nn.ModuleList(
            nn.Sequential(
                _layer(tensors, f"{name}.{residual}.conv1"), nn.ReLU(), _layer(tensors, f"{name}.{residual}.conv2")
            )
            for residual in RESIDUALS
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.before(image)
        first = x + self.inner[0](x)
        return first, first + self.inner[1](first)


def _layer(tensors: Mapping[str, Tensor], name: str, *, stride: int = 1, groups: int = 1) -> PlainConvolution:
    weight, bias = (tensors[f"{name}.conv_layer.{part}"] for part in ("weight", "bias"))
    return PlainConvolution(weight, bias, stride=stride, groups=groups)


def _sample_moments(features: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    mean = features.mean((2, 3), keepdim=True)
    apart = features - mean
    count = float(features.shape[2] * features.shape[3])
    return mean, torch.sqrt((apart * apart).sum((2, 3), keepdim=True) / (count - 1.0) + epsilon)
