"""How a descent goes, in plain numbers: what it shares with that in Keras. Loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

RANGE_WEIGHT = 10.0
"""Brings pixels back that L-BFGS has moved out of [0, 1]; from 1 to 100 gave the same pictures."""
FALLOFF = 0.6
"""Scale of each correction of a pyramid against the next finer one."""
NEAR = 16
"""Pixels over which the size of a gradient is taken."""
STRONG = 1.5
"""Times the mean gradient, from where on places are held back."""
TINY = 1e-20
"""Keeps a picture without any gradient from dividing by zero."""
_LEAST_SIDE = 4  # of the smallest correction, in pixels


@dataclass(frozen=True)
class Schedule:
    """How the descent goes.

    Attributes:
        steps: evaluations of the loss and its gradient.
        optimizer: "lbfgs" (with a strong Wolfe line search) or "adam".
        learning_rate: of Adam at its height, in units of the image's range.
        warmup: steps over which Adam's rate rises. Its first steps move every pixel by the full rate whatever the
            gradient, which would wipe out a good start.
        betas: Adam's decay rates; shorter memories than usual, since there are few steps.
        history: pairs that L-BFGS remembers; each takes twice the memory of the parameters.
        low_memory: keep the best image in half precision, and return it so.
    """

    steps: int
    optimizer: str = "lbfgs"
    learning_rate: float = 0.012
    warmup: int = 3
    betas: tuple[float, float] = (0.8, 0.99)
    history: int = 10
    low_memory: bool = False

    def rate(self, step: int) -> float:
        """Share of Adam's rate at `step`, counted from 0: linear warm-up, then a half cosine to zero."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def correction_levels(height: int, width: int, *, wrap: bool) -> int:
    """Number of corrections that leave four pixels at least; in a seamless tile they also divide its sides evenly."""
    levels = max(1, 1 + int(math.log2(max(1, min(height, width) // _LEAST_SIDE))))
    if wrap:
        levels = min(levels, *(1 + (side & -side).bit_length() - 1 for side in (height, width)))
    return levels
