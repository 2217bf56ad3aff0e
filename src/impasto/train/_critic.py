"""A small critic that tells patches of paintings from patches of pastiches, for `--adversarial-weight`."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

PATCH = 38
"""Pixels along the side of what one score looks at."""

_WIDTHS = (3, 32, 64, 96)
_SLOPE = 0.2


class Critic(nn.Module):
    """Scores each patch of `PATCH` pixels of a picture, by a head for each style.

    Only patches are judged, so that brushwork is asked for and no motif; without padding, so that no patch shows a
    border. Spectral normalisation bounds it, which lets it learn as fast as the network.

    Args:
        styles: how many.
        seed: of the first weights.

    Papers: arXiv:1604.04382 (Li and Wand 2016: Markovian patches), arXiv:1802.05957 (Miyato et al. 2018: spectral
    normalisation), arXiv:1705.02894 (Lim and Ye 2017: the hinge losses).
    """

    def __init__(self, styles: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the layers and their normalisation draw from the global generator
            torch.manual_seed(seed)
            layers = [nn.Conv2d(inputs, outputs, 4, 2) for inputs, outputs in pairwise(_WIDTHS)]
            layers.append(nn.Conv2d(_WIDTHS[-1], _WIDTHS[-1], 3))
            self.layers = nn.ModuleList(spectral_norm(layer) for layer in layers)
            self.head = spectral_norm(nn.Conv2d(_WIDTHS[-1], styles, 1))

    def forward(self, pictures: Tensor, styles: Tensor) -> Tensor:
        """Scores `(B, h, w)` of pictures `(B, 3, H, W)` in styles `(B,)`: above 0 for a painting."""
        x = pictures - 0.5
        for layer in self.layers:
            x = F.leaky_relu(_convolved(x, layer), _SLOPE)
        scores = _convolved(x, self.head).float()
        return scores[torch.arange(len(styles), device=styles.device), styles]

    def losses(self, pastiches: Tensor, patches: Tensor, styles: Tensor) -> dict[str, Tensor]:
        """`adversarial`, whose gradient is the network's alone, and `critic`, whose gradient is ours; `(B,)` each."""
        self.requires_grad_(False)
        wanted = -self(pastiches, styles).mean((1, 2))
        self.requires_grad_(True)
        real, fake = self(patches, styles), self(pastiches.detach(), styles)
        return {"adversarial": wanted, "critic": F.relu(1 - real).mean((1, 2)) + F.relu(1 + fake).mean((1, 2))}


def _convolved(x: Tensor, layer: nn.Module) -> Tensor:
    """In the precision of the features; weights are kept in float32."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    stride = layer.stride[0], layer.stride[1]
    return F.conv2d(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype), stride)
