"""Weights and other numbers of the method: what it shares with its form in Keras. Loads no torch.

All losses are relative, so one set of balances serves every painting, size and encoder. What they reach so far:
docs/losses.md and docs/encoders.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import EncoderSpec

STYLE_BALANCE: Mapping[str, float] = {
    "gram": 6.5,
    "moments": 13.0,
    "wasserstein": 10.0,
    "sliced": 20.0,
    "patches": 13.0,
}
"""Weight of each style loss against the relative content error when both knobs are 1."""
CONTENT_BALANCE: Mapping[str, float] = {"features": 1.0, "similarity": 3.0}
FAINT = 0.5
"""Power of the photograph's strength against the painting's, with which its content counts where it is the weaker."""
VARIATION_BALANCE = 0.3
OCTAVE_BALANCE = 0.08
"""Of the style at half the size, against that at the picture's own; half of it again at each size below."""
STROKE_BALANCE = 2.5
"""Of the distance to the nearest place of the painting."""
STROKE_PLACES = 4096
"""How many places of the painting are kept."""
FIRST_STEP = 0.01
"""Mean change of a value in L-BFGS's first step. Torch's own rule moves it some thousand times less: lost steps."""
FINE = 3 / 512
"""Deviation of the Gaussian that parts fine detail from the rest, as a share of the longest side."""
EVEN = 2.0
"""Power of `detail` with which the photograph's detail in the result grows evenly."""
_STROKE_STRIDES = (4, 8)  # in pixels, of the layers that see a stroke: more than specks, and less than a motif
_DEEP_STRIDE = 16  # in pixels: a place of such a layer sees a whole moon, or a boat


def layer_weights(knobs: OptimizeKnobs, architecture: EncoderSpec) -> dict[str, float]:
    """How much each layer counts in the style."""
    strides = {name: architecture.stride(name) for name in knobs.style_layers}
    deep = {name: knobs.deep_style if stride >= _DEEP_STRIDE else 1.0 for name, stride in strides.items()}
    return deep if any(deep.values()) else dict.fromkeys(deep, 1.0)  # of deep layers alone: they are the style


def style_weight(knobs: OptimizeKnobs) -> float:
    """The weight of the style loss."""
    return STYLE_BALANCE[knobs.style_loss] * knobs.style_weight


def content_share(photograph: float, painting: float) -> float:
    """How much the content of a photograph counts, up to 1, by the mean squares of its and the painting's features.

    A photograph in haze has features that any stroke of a bold painting drowns. Relative to them alone, the error of
    its content would outweigh the style, and hardly anything would be painted.
    """
    return float(min(1.0, photograph / max(painting, 1e-12)) ** FAINT)


def stroke_layers(knobs: OptimizeKnobs, architecture: EncoderSpec) -> frozenset[str]:
    """The layers on which each place is matched; none unless strokes count."""
    low, high = _STROKE_STRIDES
    counted = knobs.style_layers if knobs.stroke_weight > 0 else ()
    return frozenset(name for name in counted if low <= architecture.stride(name) <= high)
