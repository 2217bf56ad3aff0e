"""The settings of our own methods. They stand apart from the methods so that flags and schemas need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from impasto.contract import STYLE_LAYERS
from impasto.settings import knob


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
    style_loss: str = knob(
        "gram",
        "what measures the style",
        choices=("gram", "moments", "wasserstein", "sliced", "patches"),
        shapes_style=True,
    )
    content_loss: str = knob(
        "features", "what measures the content; similarity keeps the layout alone", choices=("features", "similarity")
    )
    laplacian_weight: float = knob(0.0, "how much the photograph's outlines count", low=0, high=1000)
    tv_weight: float = knob(1.0, "how much smoothness counts; 0 leaves noise, 4 looks like gouache", low=0, high=1000)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    steps: int = knob(
        24,
        "steps at full size; each coarser level takes half as many again; 60 or more begin at three quarters of it",
        low=1,
        high=10000,
        shapes_style=True,
    )
    coarsest: int = knob(
        512, "longest side of the coarsest level of the pyramid, in pixels", low=32, high=65536, shapes_style=True
    )
    optimizer: str = knob("lbfgs", "what takes the steps", choices=("lbfgs", "adam"))
    history: int = knob(
        10,
        "steps that L-BFGS remembers, each for 54 bytes a pixel",
        low=1,
        high=100,
        counts_with={"optimizer": ("lbfgs",)},
    )
    tiling: str = knob(
        "exact",
        "when memory is short: what tiles cannot do exactly is refused, or done by the tile",
        choices=("exact", "approximate"),
    )
    checkpointing: str = knob(
        "off", "compute features twice rather than keep them: less memory, half more time", choices=("off", "on")
    )
    learning_rate: float = knob(
        0.012, "of Adam, in units of the pixels' range", low=1e-5, high=1, counts_with={"optimizer": ("adam",)}
    )
    init: str = knob(
        "recolored",
        "image to start from; recolored is the photograph in the painting's colours",
        choices=("recolored", "draft", "content", "content+noise", "noise", "style", "file"),
        shapes_style=True,
    )
    canvas: str = knob(
        "pixels",
        "what moves: pixels, or photorealistic, a smooth change of the photograph's colours that bends no line",
        choices=("pixels", "photorealistic"),
        shapes_style=True,
    )
    encoder: str = knob(
        "vgg19",
        "network that looks: vgg19, vgg16, squeezenet, efficientnet-lite0, or NAME:FILE.safetensors",
        shapes_style=True,
        names_file=True,
    )
    border: str = knob(
        "mirror", "how the picture goes on beyond its edge; wrap makes it tile", choices=("mirror", "wrap")
    )
    content_layers: tuple[str, ...] = knob(("relu4_2",), "layers that hold the content")
    style_layers: tuple[str, ...] = knob(STYLE_LAYERS, "layers that hold the style", shapes_style=True)
    seed: int = knob(
        0,
        "of the noise to start from",
        low=0,
        high=2**31 - 1,
        counts_with={"init": ("noise", "content+noise")},
    )


@dataclass(frozen=True)
class FeedForwardKnobs:
    """Settings of `feedforward`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)


@dataclass(frozen=True)
class ArbitraryKnobs:
    """Settings of `arbitrary`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    network: str = knob(
        "shipped",
        "file of impasto train arbitrary; shipped is the one that ships, if one does",
        shapes_style=True,
        names_file=True,
    )


@dataclass(frozen=True)
class ScheduleKnobs:
    """Settings that all trainings have."""

    minutes: float = knob(25.0, "how long to train; --steps counts instead where it is given", low=0.01, high=100000)
    steps: int = knob(0, "steps to train, instead of minutes; a run can then be repeated exactly", low=0, high=10**8)
    batch: int = knob(4, "photographs a step", low=1, high=1024)
    accumulate: int = knob(1, "batches whose gradients make one step", low=1, high=1024)
    crop: int = knob(256, "side in pixels of the squares that are cut from the photographs", low=64, high=2048)
    canvas: int = knob(
        512, "longest side at which pictures will be painted: sets the size of strokes", low=64, high=8192
    )
    learning_rate: float = knob(3e-3, "of Adam, after the warm-up; falls to 0 as a cosine", low=1e-6, high=1)
    ema: float = knob(0.995, "share of the averaged weights that each step keeps", low=0, high=0.99999)
    patience: int = knob(0, "stop after so many validations without progress; 0 never", low=0, high=1000)
    seed: int = knob(0, "of first weights, crops and order", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class TrainKnobs(ScheduleKnobs):
    """Settings of `impasto train`, and of `impasto train arbitrary`."""

    network: str = knob("tiny", "the network", choices=("tiny", "small", "johnson"))
    content_budget: float = knob(
        1.35,
        "content error to keep to, as a share of the AdaIN draft's; the style weight adjusts itself",
        low=0.1,
        high=10,
    )
    style_weight: float = knob(4.0, "how much the style counts at the start", low=0, high=1000)
    tv_weight: float = knob(0.05, "how much smoothness counts, relative to the painting's own", low=0, high=1000)
    adversarial_weight: float = knob(
        0.0, "how much a critic of patches counts, which learns beside the network to tell them apart", low=0, high=1000
    )
    temporal_weight: float = knob(
        0.0, "how much it counts that what moves a little only moves, for video; 1 is much", low=0, high=1000
    )


@dataclass(frozen=True)
class DecoderKnobs(ScheduleKnobs):
    """Settings of `impasto train decoder`."""

    layer: str = knob("relu4_1", "the layer of VGG-19 that is turned back into pictures", choices=STYLE_LAYERS)
    learning_rate: float = knob(1e-3, "of Adam, after the warm-up; falls to 0 as a cosine", low=1e-6, high=1)
    feature_weight: float = knob(1.0, "how much the rebuilt features count, against pixels", low=0, high=1000)
