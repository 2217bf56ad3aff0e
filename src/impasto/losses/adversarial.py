"""Losses of unpaired translation: PatchNCE between two pictures' patches, and least squares for a discriminator.

Papers: arXiv:2007.15651 (Park et al. 2020), arXiv:1611.04076 (Mao et al. 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.07
"""Of PatchNCE: how sharply a patch has to be told from others."""


def patch_nce(queries: Tensor, keys: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """How badly each patch of one picture finds its place in another, among patches of the same picture.

    Args:
        queries: `(B, N, C)`, vectors of length 1 of N patches of what was painted.
        keys: `(B, N, C)`, those of the same places of the photograph; no gradient goes there.
        temperature: see `TEMPERATURE`.

    Returns:
        `(B,)` float32: the mean cross-entropy; 0 where each is found, log N where all are alike.

    Paper: arXiv:2007.15651, eq. 2 and 3, with the negatives of the same picture.
    """
    logits = (queries.float() @ keys.detach().float().mT) / temperature  # (B, N, N)
    right = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[0], -1)
    return F.cross_entropy(logits.transpose(1, 2), right, reduction="none").mean(1)


def least_squares(scores: Tensor, *, real: bool) -> Tensor:
    """Mean squared distance of a discriminator's scores from 1 (real) or 0.

    scores: `(B, ...)`. Returns `(B,)` float32. Paper: arXiv:1611.04076, eq. 9.
    """
    return (scores.float() - float(real)).square().flatten(1).mean(1)
