"""What a generator is trained with: a discriminator of patches, earlier pastiches, and vectors of patches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.losses.adversarial import least_squares
from impasto.ops.stats import instance_norm

POOL = 50
"""Earlier pastiches that the discriminator of CycleGAN goes on seeing."""

VECTOR = 256
"""Numbers in the vector of a patch."""

PATCHES = 256
"""Places of each map that PatchNCE compares."""

_SLOPE = 0.2
_MOST = 8  # times the first width


class PatchGAN(nn.Module):
    """Scores overlapping patches of a picture: 1 for a painting, 0 for a pastiche.

    Args:
        width: channels of the first layer.
        layers: how many halve; see `receptive_field`.
        seed: of the first weights.

    Paper: arXiv:1611.07004, appendix 6.1.2; with instance normalisation, arXiv:1703.10593.
    """

    def __init__(self, width: int, layers: int, seed: int) -> None:
        super().__init__()
        widths = [3, *(width * min(2**place, _MOST) for place in range(layers + 1)), 1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(
                nn.Conv2d(inputs, outputs, 4, 2 if place < layers else 1, 1)
                for place, (inputs, outputs) in enumerate(pairwise(widths))
            )
            for layer in self.layers:
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores `(B, 1, h, w)` float32 of pictures `(B, 3, H, W)` in [0, 1], in the precision of the pictures."""
        x, last = 2 * pictures - 1, len(self.layers) - 1
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
            x = F.conv2d(x, weight, bias, (layer.stride[0], layer.stride[1]), (1, 1))
            if 0 < place < last:
                channels = x.shape[:2]
                x = instance_norm(x, torch.ones(channels, device=x.device), torch.zeros(channels, device=x.device))
            if place < last:
                x = F.leaky_relu(x, _SLOPE)
        return x.float()

    def deceived(self, pastiches: Tensor) -> Tensor:
        """How little pastiches pass for paintings, `(B,)`; the gradient is the generator's alone."""
        self.requires_grad_(False)
        loss = least_squares(self(pastiches), real=True)
        self.requires_grad_(True)
        return loss

    def mistaken(self, paintings: Tensor, pastiches: Tensor) -> Tensor:
        """How badly both are told apart, `(B,)`; the gradient is the discriminator's alone."""
        real, fake = self(paintings), self(pastiches.detach())
        return (least_squares(real, real=True) + least_squares(fake, real=False)) / 2

    @torch.no_grad()
    def accuracy(self, paintings: Tensor, pastiches: Tensor) -> float:
        """The share of patches that are told right: 0.5 is guessing, 1 is never deceived."""
        right = [(self(paintings) > 0.5).float().mean(), (self(pastiches) <= 0.5).float().mean()]
        return float(sum(right)) / 2


def receptive_field(layers: int) -> int:
    """Pixels along the side of what one score of a `PatchGAN` looks at: 70 of 3 layers."""
    side = 1 + 3 + 3
    for _ in range(layers):
        side = 2 * side + 2
    return side


class ImagePool(nn.Module):
    """Earlier pastiches: half of what the discriminator gets is one of them, so that it forgets no earlier mistake.

    Of several processes the first one's pool counts: DDP copies buffers from there before each step.

    Args:
        side: of the pictures.
        seed: of the choices.
        size: pictures that are kept.

    Paper: arXiv:1703.10593, section 4 (after Shrivastava et al. 2017).
    """

    pictures: Tensor
    held: Tensor

    def __init__(self, side: int, seed: int, size: int = POOL) -> None:
        super().__init__()
        self._seed = seed
        self.register_buffer("pictures", torch.zeros(size, 3, side, side, dtype=torch.float16))
        self.register_buffer("held", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def exchanged(self, pictures: Tensor, numbers: Tensor) -> Tensor:
        """Pictures `(B, 3, side, side)` for the discriminator; `numbers (B,)` settle which are exchanged."""
        found = []
        for picture, number in zip(pictures, numbers.tolist(), strict=True):
            random, held = np.random.default_rng([self._seed, 9, number]), int(self.held)
            if held < len(self.pictures):
                self.pictures[held] = picture
                self.held += 1
                found.append(picture)
            elif random.random() < 0.5:
                found.append(picture)
            else:
                place = int(random.integers(len(self.pictures)))
                found.append(self.pictures[place].to(picture.dtype))
                self.pictures[place] = picture
        return torch.stack(found)


class PatchVectors(nn.Module):
    """Vectors of the patches of maps, by two layers for each map.

    Args:
        channels: of each map.
        seed: of the first weights.

    Paper: arXiv:2007.15651, section 3 (after SimCLR).
    """

    def __init__(self, channels: Sequence[int], seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.Linear(count, VECTOR), nn.ReLU(), nn.Linear(VECTOR, VECTOR)) for count in channels
            )
            for layer in self.layers.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02)
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Vectors `(B, N, VECTOR)` of length 1 at `places (N,)` of each map `(B, C, h, w)`."""
        found = []
        for layer, features, chosen in zip(self.layers, maps, places, strict=True):
            points = features.flatten(2)[:, :, chosen].transpose(1, 2).float()  # (B, N, C)
            found.append(F.normalize(layer(points), dim=2))
        return found


def drawn_places(maps: Sequence[Tensor], seed: Sequence[int], count: int = PATCHES) -> list[Tensor]:
    """As many places of each map `(B, C, h, w)`, or all of a smaller one, settled by the seed."""
    random = np.random.default_rng([*seed])
    found = []
    for features in maps:
        positions = features.shape[2] * features.shape[3]
        chosen = random.choice(positions, min(count, positions), replace=False)
        found.append(torch.from_numpy(chosen).to(features.device))
    return found
