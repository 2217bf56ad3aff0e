"""The settings of our own methods. They stand apart from the methods so that flags and schemas need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from impasto.contract import STYLE_LAYERS
from impasto.params import knob


@dataclass(frozen=True)
class AdaINKnobs:
    """Settings of `adain`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )


@dataclass(frozen=True)
class OptimizeKnobs:
    """Settings of `optimize`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    content_weight: float = knob(1.0, "how much the photograph's content counts; 1 is balanced", low=0, high=1000)
    style_weight: float = knob(1.0, "how much the style counts; 1 is balanced", low=0, high=1000)
    tv_weight: float = knob(1.0, "how much smoothness counts; 0 leaves noise, 4 looks like gouache", low=0, high=1000)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    steps: int = knob(24, "steps at full size; each coarser level takes half as many again", low=1, high=10000)
    coarsest: int = knob(
        512, "longest side of the coarsest level of the pyramid, in pixels", low=32, high=65536, shapes_style=True
    )
    optimizer: str = knob("lbfgs", "what takes the steps", choices=("lbfgs", "adam"))
    learning_rate: float = knob(0.012, "of Adam, in units of the pixels' range", low=1e-5, high=1)
    init: str = knob(
        "draft",
        "image to start from",
        choices=("draft", "content", "content+noise", "noise", "style", "file"),
        shapes_style=True,
    )
    border: str = knob(
        "mirror", "how the picture goes on beyond its edge; wrap makes it tile", choices=("mirror", "wrap")
    )
    content_layers: tuple[str, ...] = knob(("relu4_2",), "layers that hold the content")
    style_layers: tuple[str, ...] = knob(STYLE_LAYERS, "layers that hold the style", shapes_style=True)
    seed: int = knob(0, "of the noise to start from", low=0, high=2**31 - 1)
