"""In which order channels that a convolution reads can leave, if its other weights make up for them, and what is lost.

Paper: arXiv:2208.11580 (Frantar and Alistarh 2022), with the weights that read one channel as a group.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 3e-3  # of the mean square of the inputs: holds weights that positions do not settle where they were

_TAPS = 9  # weights of a kernel
_AT_ONCE = 64  # leave together: this part of the channels


def removals(square: Tensor, weight: Tensor, *, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """Channels by what the convolution loses without them.

    Args:
        square: `(9 C + 1, 9 C + 1)`, mean products of what the weights of a position are multiplied with, channel after
            channel, the bias last: see `patches`.
        weight: `(K, 9 C + 1)`, the bias last.
        keep: channels that stay.

    Returns:
        The channels that leave, the first first; for each the mean squared error of what the convolution gives, summed
        over its K channels, once it and those before are gone; and the weights at half of the channels.
    """
    channels = (len(square) - 1) // _TAPS
    damped = square.double()
    damped.diagonal().add_(RIDGE * damped.diagonal().mean())
    inverse = torch.linalg.inv(damped)
    left, weights = torch.arange(channels), weight.double().clone()
    gone: list[Tensor] = []
    errors: list[Tensor] = []
    total, half = torch.zeros((), dtype=torch.double), weights.clone()
    step = max(1, channels // _AT_ONCE)
    while len(left) > keep:
        at = left[:, None] * _TAPS + torch.arange(_TAPS)  # (channels left, 9)
        blocks = torch.linalg.inv(inverse[at[:, :, None], at[:, None, :]])  # (channels left, 9, 9)
        own = weights[:, at].transpose(0, 1)  # (channels left, K, 9)
        losses = torch.einsum("ckp,cpq,ckq->c", own, blocks, own)
        least = losses.argsort()[: min(step, len(left) - keep)]
        places = at[least].flatten()
        inner = torch.linalg.inv(inverse[places][:, places])
        lost = weights[:, places] @ inner
        total = total + (lost * weights[:, places]).sum()
        weights -= lost @ inverse[places]
        inverse -= inverse[:, places] @ (inner @ inverse[places])
        gone.append(left[least])
        errors += [total] * len(least)
        stays = torch.ones(len(left), dtype=torch.bool)
        stays[least] = False
        left = left[stays]
        if len(left) * 2 >= channels:
            half = weights.clone()
    return torch.cat(gone), torch.stack(errors).float(), half.float()


def patches(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What the weights of some positions are multiplied with.

    x: `(B, C, H, W)`, extended by one pixel at each border.

    Returns:
        `(N, 9 C + 1)`, channel after channel and 1 for the bias last, and the positions `(N,)` in `(B, H - 2, W - 2)`.
    """
    batch, _, height, width = x.shape
    height, width = height - 2, width - 2
    positions = batch * height * width
    chosen = torch.randperm(positions, generator=torch.Generator().manual_seed(0))[: min(count, positions)]
    item, row, column = chosen // (height * width), chosen // width % height, chosen % width
    near = torch.arange(3)
    found = x[item[:, None, None], :, row[:, None, None] + near[:, None], column[:, None, None] + near]
    return torch.cat([found.permute(0, 3, 1, 2).flatten(1), torch.ones(len(chosen), 1)], 1), chosen
