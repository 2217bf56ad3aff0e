"""Whether a generator in training collapses: how varied its pastiches are, and how near the paintings'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.metrics import wasserstein_of

_SKETCH = 16  # px of the pictures whose variety is measured
_PATCH = 7  # px of the patches whose distance is measured
_OCTAVES = 3  # sizes at which it is

_ALIKE = 0.3  # of the photographs' variety is left
_NEVER_DECEIVED = 0.98  # of a discriminator's patches told right
_LASTING = 3  # validations
_FARTHER = 1.5  # times the least distance


@torch.no_grad()
def diversity(pastiches: Tensor, photographs: Tensor) -> float:
    """How far pastiches lie apart, relative to their photographs: 1 is as far, 0 is one picture for all.

    pastiches, photographs: `(B, 3, H, W)` of 2 or more. The mean distance of all pairs at 16 px, each picture's mean
    taken off and its deviation made 1: brightness and contrast do not count.
    """
    return _spread(pastiches) / max(_spread(photographs), 1e-6)


def _spread(pictures: Tensor) -> float:
    small = F.adaptive_avg_pool2d(pictures.float(), _SKETCH).flatten(1)  # (B, 3 * 16 * 16)
    small = (small - small.mean(1, keepdim=True)) / small.std(1, keepdim=True).clamp_min(1e-2)
    return float(F.pdist(small).mean())


@torch.no_grad()
def sliced_distance(pastiches: Tensor, paintings: Tensor) -> float:
    """Sliced Wasserstein distance of their patches of 7 px, at full, half and quarter size; 0 for equal pictures.

    pastiches, paintings: `(B, 3, H, W)`, of 7 px or more; sizes that a patch does not fit in are left out.
    Source: arXiv:1710.10196, section 5, on plain pixels.
    """
    distances = []
    octaves = [one for one in range(_OCTAVES) if min(pastiches.shape[2:]) >> one >= _PATCH]
    for octave in octaves:
        ours, theirs = (_patches(F.avg_pool2d(x.float(), 2**octave)) for x in (pastiches, paintings))
        distances.append(wasserstein_of(ours, theirs))
    return sum(distances) / len(distances)


def _patches(pictures: Tensor) -> Tensor:
    """`(1, 147, N, 1)` of pictures `(B, 3, H, W)`; they overlap by half."""
    return F.unfold(pictures - 0.5, _PATCH, stride=_PATCH // 2).transpose(0, 1).flatten(1)[None, ..., None]


def advice(validations: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """What goes wrong, by what was measured, and what to do; empty where all is well.

    validations: one after the other, each with `diversity`, `accuracy` and `distance`.
    """
    found = {}
    latest = validations[-1]
    if len(validations) > 1 and latest["diversity"] < _ALIKE:
        found["diversity"] = (
            f"mode collapse: pastiches differ {latest['diversity']:.0%} as much as their photographs; "
            "raise --structure-weight, give more paintings, or begin again with another --seed"
        )
    lasting = [one["accuracy"] for one in validations[-_LASTING:]]
    if len(lasting) == _LASTING and min(lasting) > _NEVER_DECEIVED:
        found["accuracy"] = (
            f"the discriminator is never deceived ({latest['accuracy']:.0%} told right): the generator learns little; "
            "give more paintings, or a smaller --discriminator-width"
        )
    least = min(validations, key=lambda one: one["distance"])
    lately = [one["distance"] for one in validations[-_LASTING:]]
    if len(validations) > _LASTING and min(lately) > _FARTHER * least["distance"]:
        found["distance"] = (
            f"pastiches move away from the paintings ({latest['distance']:.3g}, {least['distance']:.3g} at step "
            f"{least['step']:.0f}); stop here, or begin again with a lower --learning-rate"
        )
    return found
