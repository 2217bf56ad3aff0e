"""Finds a picture again in a network: latents whose picture comes near it.

Papers: arXiv:1912.04958, appendix D (noise is optimised, too, and kept noise), arXiv:1904.03189 (W+: a w for each
layer). Departures: features of VGG-19 are compared in place of LPIPS, pixels beside them, and w is not shaken at the
start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.contract import OnProgress, Placement, ignore
from impasto.gan.painter import Floats, Painter
from impasto.images import Picture
from impasto.losses.losses import ContentLoss, relative_error
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.optim.descent import descend, differentiated
from impasto.optim.schedule import Schedule

ASSET = "vgg19-normalised"
_LAYERS = frozenset({"relu1_1", "relu2_1", "relu3_1", "relu4_1"})
_LEAST_SIDE = 64  # px at which pictures are compared; smaller ones are enlarged, for deep layers to see something
_MOST_SIDE = 256
_PIXEL_WEIGHT = 1.0
_NOISE_WEIGHT = 100.0  # 1e5 in the paper, whose losses are larger
_LEAST_NOISE = 8  # px, down to which noise is compared with itself
_RATE = 0.05


@dataclass(frozen=True)
class Projection:
    """What was found.

    Attributes:
        latents: `(1, layers, latent)`.
        picture: `(size, size, 3)` in [0, 1], of these latents and the noise that was found with them.
        losses: by step.
    """

    latents: Tensor
    picture: Floats
    losses: tuple[Mapping[str, float], ...]


def project(
    painter: Painter,
    photograph: Picture,
    *,
    weights: Mapping[str, Tensor],
    steps: int = 300,
    on_progress: OnProgress = ignore,
) -> Projection:
    """Find latents whose picture looks like a photograph, whose middle square is taken.

    Args:
        painter: the network.
        photograph: of any size.
        weights: of `ASSET`.
        steps: of the descent.
        on_progress: called after each step.

    Raises:
        Cancelled: as raised by `on_progress`.
    """
    wanted = squared(photograph, painter.size).to(painter.placement.device)
    canvas = _LatentCanvas(painter)
    encoder = Encoder(VGG19, weights, Placement(painter.placement.device, painter.placement.precision))
    schedule = Schedule(steps, "adam", learning_rate=_RATE, warmup=max(3, steps // 20), betas=(0.9, 0.99))
    result = descend(canvas, _score(encoder, wanted), schedule, stage="projecting", on_progress=on_progress)
    with torch.no_grad():
        picture = images.from_tensor(canvas.render().clamp(0, 1).cpu())
    return Projection(canvas.latents.detach().cpu(), picture, result.losses)


def squared(photograph: Picture, side: int) -> Tensor:
    """The middle square of a photograph, `(1, 3, side, side)` in [0, 1]."""
    pixels = images.as_float(photograph.pixels)
    least = min(photograph.width, photograph.height)
    top, left = (photograph.height - least) // 2, (photograph.width - least) // 2
    return images.to_tensor(images.resize(pixels[top : top + least, left : left + least], side, side))


def _score(encoder: Encoder, wanted: Tensor) -> Any:
    loss = ContentLoss(_LAYERS)
    side = min(_MOST_SIDE, max(_LEAST_SIDE, wanted.shape[2]))

    def seen(image: Tensor) -> Tensor:
        return F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)

    with torch.no_grad():
        compare = loss.bind(loss.statistics(encoder(seen(wanted), _LAYERS)))

    def losses(image: Tensor) -> Mapping[str, Tensor]:
        features = encoder(seen(image), _LAYERS, winograd=True)
        pixels = _PIXEL_WEIGHT * relative_error(image, wanted).sum()
        return {"features": compare(loss.statistics(features)), "pixels": pixels}

    return differentiated(losses)


class _LatentCanvas:
    """Latents and noise, which render to a picture."""

    bounded = False

    def __init__(self, painter: Painter) -> None:
        self._synthesis = painter.generator.synthesis
        average = painter.generator.mapping.w_avg[None]
        self.latents = painter.generator.spread(average).clone().requires_grad_()
        self._noise = [one.clone().requires_grad_() for one in self._synthesis.noise]

    def parameters(self) -> Sequence[Tensor]:
        """The latents, then the noise of each layer."""
        return [self.latents, *self._noise]

    def render(self) -> Tensor:
        """`(1, 3, size, size)`."""
        image = (self._synthesis(self.latents, self._noise) + 1) / 2
        made: Tensor = _Penalised.apply(image, _NOISE_WEIGHT * likeness(self._noise))  # type: ignore[no-untyped-call]
        return made

    @torch.no_grad()
    def project(self) -> None:
        """Noise stays noise: of mean 0 and deviation 1."""
        for one in self._noise:
            one.sub_(one.mean()).mul_(one.square().mean().clamp_min(1e-8).rsqrt())


def likeness(noise: Sequence[Tensor]) -> Tensor:
    """How much noise `(H, W)` is like itself a pixel further, at all sizes: 0 for noise, more for a picture."""
    total = torch.zeros((), device=noise[0].device if noise else None)
    for one in noise:
        level = one[None, None]
        while level.shape[2] >= _LEAST_NOISE:
            total = total + (level * level.roll(1, 3)).mean().square() + (level * level.roll(1, 2)).mean().square()
            level = F.avg_pool2d(level, 2) * 2  # of deviation 1 again
    return total


class _Penalised(torch.autograd.Function):
    """An image as it is; whatever is asked of it, the penalty is descended as well."""

    @staticmethod
    def forward(_context: Any, image: Tensor, penalty: Tensor) -> Tensor:  # noqa: ARG004
        """The image."""
        return image.view_as(image)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient, and that of the penalty, 1."""
        return gradient, torch.ones((), device=gradient.device)
