"""Reference implementations: AdaIN and Gatys' method in plain float32 PyTorch, as a good tutorial would have them.

Nothing of ours is used but the weights. Nothing is tuned, and nothing is made slow on purpose: layers as modules, the
default memory layout, Adam on the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

BLOCKS = (2, 2, 4, 4, 4)
GRAM_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STROKE_LAYERS = ("relu3_1", "relu4_1")
PLACES = 4096


def vgg19(weights: Mapping[str, Tensor], last: str) -> nn.Sequential:
    """VGG-19 as named modules, up to the layer `last`."""
    network = nn.Sequential()
    network.add_module("colour", _convolution(weights, "preprocess", kernel=1))
    for block, count in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            name = f"{block}_{index}"
            network.add_module(f"pad{name}", nn.ReflectionPad2d(1))
            network.add_module(f"conv{name}", _convolution(weights, f"conv{name}", kernel=3))
            network.add_module(f"relu{name}", nn.ReLU())
            if f"relu{name}" == last:
                return network.requires_grad_(False).eval()
        network.add_module(f"pool{block}", nn.MaxPool2d(2))
    raise ValueError(last)


def decoder(weights: Mapping[str, Tensor]) -> nn.Sequential:
    """AdaIN's decoder as modules."""
    network = nn.Sequential()
    order = ("conv4_1", "up", "conv3_4", "conv3_3", "conv3_2", "conv3_1", "up", "conv2_2", "conv2_1", "up", "conv1_2")
    for position, name in enumerate(order):
        if name == "up":
            network.add_module(f"up{position}", nn.Upsample(scale_factor=2, mode="nearest"))
            continue
        network.add_module(f"pad{name}", nn.ReflectionPad2d(1))
        network.add_module(name, _convolution(weights, name, kernel=3))
        network.add_module(f"relu{name}", nn.ReLU())
    network.add_module("pad", nn.ReflectionPad2d(1))
    network.add_module("conv1_1", _convolution(weights, "conv1_1", kernel=3))
    return network.requires_grad_(False).eval()


class AdaIN:
    """Arbitrary style transfer, arXiv:1703.06868."""

    def __init__(self, encoder_weights: Mapping[str, Tensor], decoder_weights: Mapping[str, Tensor]) -> None:
        self.encoder = vgg19(encoder_weights, "relu4_1")
        self.decoder = decoder(decoder_weights)

    @torch.no_grad()
    def __call__(self, content: Tensor, style: Tensor) -> Tensor:
        """Both `(1, 3, H, W)` in [0, 1], sides multiples of 8."""
        features, wanted = self.encoder(content), self.encoder(style)
        mean, std = features.mean((2, 3), keepdim=True), features.std((2, 3), keepdim=True)
        normalised = (features - mean) / (std + 1e-5)
        stylized = normalised * wanted.std((2, 3), keepdim=True) + wanted.mean((2, 3), keepdim=True)
        pastiche: Tensor = self.decoder(stylized)
        return pastiche.clamp(0, 1)


@dataclass(frozen=True)
class Loss:
    """Weights of what an optimised picture is held to.

    Attributes:
        content_layer: where content is compared.
        content_weight: of the relative content error.
        faint: power of the mean square of the photograph's features against the painting's, with which the content
            counts where that is below 1.
        style_weight: of the weighted mean of relative Gram errors.
        deep_style: weight of relu5_1 in it, against 1 for the other layers.
        stroke_weight: of the mean distance to the nearest of 4,096 places of the painting, at relu3_1 and relu4_1.
        smaller: shares of the size at which the style counts too, each with its weight.
    """

    content_layer: str = "relu4_2"
    content_weight: float = 1.0
    faint: float = 0.0
    style_weight: float = 4.0
    deep_style: float = 1.0
    stroke_weight: float = 0.0
    smaller: Mapping[float, float] = field(default_factory=dict)


class Gatys:
    """Image optimisation, arXiv:1508.06576: Adam on the pixels from the photograph, one scale.

    The loss can be the one that ships (relative content and Gram errors, the distance to the painting's nearest places,
    the style of smaller pictures, total variation), so that both do the same work.

    Args:
        encoder_weights: `vgg19-normalised`.
        content: the photograph, `(1, 3, H, W)` in [0, 1].
        style: the painting, likewise.
        held_to: the weights of the loss.
    """

    def __init__(
        self, encoder_weights: Mapping[str, Tensor], content: Tensor, style: Tensor, held_to: Loss | None = None
    ) -> None:
        self.held_to = held_to or Loss()
        self.shares = {layer: self.held_to.deep_style if layer == "relu5_1" else 1.0 for layer in GRAM_LAYERS}
        self.encoder = vgg19(encoder_weights, "relu5_1")
        with torch.no_grad():
            features = self._features(style)
            self.grams = {share: self._grams(_shrunk(style, share)) for share in (1.0, *self.held_to.smaller)}
            self.places = {layer: self._places(features[layer]) for layer in STROKE_LAYERS}
            self.strength = features[self.held_to.content_layer].square().mean()
        self.start(content)

    def start(self, content: Tensor) -> None:
        """Begin again from a photograph."""
        with torch.no_grad():
            self.content = self._features(content)[self.held_to.content_layer]
        share = (self.content.square().mean() / self.strength).clamp_max(1) ** self.held_to.faint
        self.content_weight = self.held_to.content_weight * float(share)
        self.image = content.clone().requires_grad_(True)

    def run(self, steps: int, learning_rate: float = 0.02, on_step: Callable[[int], None] | None = None) -> list[float]:
        """Descend. Returns the loss before each step; `on_step` is called with the number of each, from 1."""
        adam = torch.optim.Adam([self.image], lr=learning_rate)
        losses = []
        for step in range(steps):
            adam.zero_grad()
            loss = self.loss(self.image)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():
                self.image.clamp_(0, 1)
            losses.append(loss.item())
            if on_step is not None:
                on_step(step + 1)
        return losses

    def loss(self, image: Tensor) -> Tensor:
        """The weighted sum of all terms, and 0.3 total variation."""
        features = self._features(image)
        content = (features[self.held_to.content_layer] - self.content).square().sum() / self.content.square().sum()
        total = self.content_weight * content + self.held_to.style_weight * self._style(features, 1.0)
        for share, weight in self.held_to.smaller.items():
            total = total + weight * self._style(self._features(_shrunk(image, share)), share)
        if self.held_to.stroke_weight > 0:
            total = total + self.held_to.stroke_weight * self._strokes(features)
        down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean()
        right = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()
        return total + 0.3 * (down + right)

    def _style(self, features: Mapping[str, Tensor], share: float) -> Tensor:
        """The weighted mean of the layers' relative Gram errors, at a share of the size."""
        total = torch.zeros(())
        for layer, gram in self.grams[share].items():
            error = (self._gram(features[layer]) - gram).square().sum() / gram.square().sum()
            total = total + self.shares[layer] * error / sum(self.shares.values())
        return total

    def _strokes(self, features: Mapping[str, Tensor]) -> Tensor:
        """1 - the largest cosine to any place of the painting, both around its mean; mean over places and layers."""
        total = torch.zeros(())
        for layer, (centre, places) in self.places.items():
            ours = nn.functional.normalize(features[layer][0].flatten(1).T - centre, dim=1)
            total = total + (1 - (ours @ places.T).amax(1)).mean() / len(self.places)
        return total

    def _places(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of places drawn at random, and their directions from it."""
        flat = features[0].flatten(1).T
        drawn = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:PLACES]]
        return drawn.mean(0), nn.functional.normalize(drawn - drawn.mean(0), dim=1)

    def _grams(self, image: Tensor) -> dict[str, Tensor]:
        features = self._features(image)
        return {layer: self._gram(features[layer]) for layer in GRAM_LAYERS}

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        found = {}
        x = image
        for name, module in self.encoder.named_children():
            x = module(x)
            found[name] = x
        return found

    @staticmethod
    def _gram(features: Tensor) -> Tensor:
        flat = features.flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def _shrunk(image: Tensor, share: float) -> Tensor:
    """Made smaller, to sides that pooling divides."""
    if share == 1:
        return image
    sides = [max(32, round(share * side / 16) * 16) for side in image.shape[2:]]
    return nn.functional.interpolate(image, size=sides, mode="bicubic", antialias=True, align_corners=False)


def _convolution(weights: Mapping[str, Tensor], name: str, *, kernel: int) -> nn.Conv2d:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], kernel)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
