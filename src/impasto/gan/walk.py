"""A walk through a network: from picture to picture, and back to the first without a seam."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.errors import InputError

MOST_FRAMES = 100_000


def loop(keys: Tensor, frames: int) -> Tensor:
    """Latents `(frames, layers, latent)` on a smooth closed curve through `keys (K, layers, latent)`.

    The curve (Catmull and Rom 1974, closed) has one tangent on both sides of each key, the first included, so that a
    video of it repeats without a jump.

    Raises:
        InputError: fewer than two keys, all the same, or not a frame for each.
    """
    count = len(keys)
    if count < 2:
        raise InputError(f"a walk of {count} picture leads nowhere", "give two seeds or more")
    if bool((keys == keys[:1]).all()):
        raise InputError("a walk from a picture to itself leads nowhere", "give two other seeds, or more --truncation")
    if not count <= frames <= MOST_FRAMES:
        raise InputError(f"{frames} frames are not possible for {count} pictures", f"{count} to {MOST_FRAMES} are")
    at = torch.arange(frames, dtype=torch.float64) * count / frames
    begin = at.floor().long()
    t = (at - begin).to(keys)[:, None, None]
    before, first, second, after = (keys[(begin + shift) % count] for shift in (-1, 0, 1, 2))
    tangent, following = (second - before) / 2, (after - first) / 2
    square, cube = t**2, t**3
    return (
        (2 * cube - 3 * square + 1) * first
        + (cube - 2 * square + t) * tangent
        + (3 * square - 2 * cube) * second
        + (cube - square) * following
    )
