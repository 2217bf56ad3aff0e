"""The settings of our own methods. They stand apart from the methods so that flags and schemas need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from impasto.contract import STYLE_LAYERS
from impasto.models import network_specs
from impasto.settings import Knobs, knob


@dataclass(frozen=True)
class AdaINKnobs(Knobs):
    """Settings of `adain`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    network: str = knob(
        "shipped",
        "file of impasto train adain or impasto prune adain; with --method arbitrary one of impasto train arbitrary",
        shapes_style=True,
        names_file=True,
    )


@dataclass(frozen=True)
class WCTKnobs(Knobs):
    """Settings of `wct`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    decoders: str = knob(
        "small",
        "small: the narrow networks; or a folder of decoder1.safetensors to decoder5.safetensors for the full VGG-19",
        shapes_style=True,
        names_file=True,
    )


@dataclass(frozen=True)
class AttentionKnobs(Knobs):
    """Settings of `attention`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    temperature: float = knob(
        0.033,
        "how many places of the painting each place takes after: low for the most similar, 1 for all alike",
        low=0.001,
        high=1,
        shapes_style=True,
    )
    network: str = knob(
        "shipped",
        "file of impasto train attention, or a folder of SANet's or AdaAttN's; shipped needs no training",
        shapes_style=True,
        names_file=True,
    )


@dataclass(frozen=True)
class MicroASTKnobs(Knobs):
    """Settings of `microast`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )


@dataclass(frozen=True)
class OptimizeKnobs(Knobs):
    """Settings of `optimize`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    content_weight: float = knob(1.0, "how much the photograph's content counts; 1 is balanced", low=0, high=1000)
    style_weight: float = knob(1.0, "how much the style counts; 1 is balanced", low=0, high=1000)
    style_loss: str = knob(
        "gram",
        "loss that measures the style",
        choices=("gram", "moments", "wasserstein", "sliced", "patches"),
        shapes_style=True,
    )
    stroke_weight: float = knob(
        0.0,
        "how much it counts that each place looks like some place of the painting, beside the style loss",
        low=0,
        high=1000,
        shapes_style=True,
    )
    content_loss: str = knob(
        "features",
        "loss that measures the content; similarity keeps only the layout",
        choices=("features", "similarity"),
        shapes_style=True,
    )
    laplacian_weight: float = knob(0.0, "how much the photograph's outlines count", low=0, high=1000)
    tv_weight: float = knob(1.0, "how much smoothness counts; 0 leaves noise, 4 looks like gouache", low=0, high=1000)
    style_scale: float = knob(
        1.0, "size of the style image relative to the photograph: larger strokes above 1", low=0.1, high=8
    )
    detail: float = knob(
        1.0,
        "how much of the photograph's fine detail stays: 0 paints all of it anew, 1 tints a photograph",
        low=0,
        high=1,
    )
    steps: int = knob(
        24,
        "steps at full size; each coarser level takes half as many again; 60 or more start at three quarters of it",
        low=1,
        high=10000,
        shapes_style=True,
    )
    coarsest: int = knob(
        512, "longest side of the coarsest level of the pyramid, in pixels", low=32, high=65536, shapes_style=True
    )
    coarse_content: float = knob(
        1.0,
        "times that the content counts at half the size and below: above 1, no motif of the painting settles there",
        low=0,
        high=100,
    )
    deep_style: float = knob(
        1.0,
        "weight of relu5_1 in the style at half the size and below (its root above): lower, fewer motifs are pasted in",
        low=0,
        high=1,
    )
    octaves: int = knob(
        1,
        "sizes at which the style is compared: 2 adds the picture at half its size, 3 a quarter, down to the coarsest",
        low=1,
        high=6,
        shapes_style=True,
    )
    optimizer: str = knob("lbfgs", "the optimiser", choices=("lbfgs", "adam"))
    history: int = knob(
        10,
        "steps that L-BFGS remembers; each takes 54 bytes a pixel",
        low=1,
        high=100,
        counts_with={"optimizer": ("lbfgs",)},
    )
    tiling: str = knob(
        "exact",
        "losses that are not exact in tiles: refuse them, or (approximate) compute them tile by tile",
        choices=("exact", "approximate"),
    )
    checkpointing: str = knob(
        "off", "compute features twice instead of keeping them: less memory, 1.5 times the time", choices=("off", "on")
    )
    learning_rate: float = knob(
        0.012, "learning rate of Adam, for pixels from 0 to 1", low=1e-5, high=1, counts_with={"optimizer": ("adam",)}
    )
    init: str = knob(
        "recolored",
        "image to start from; recolored is the photograph in the painting's colours",
        choices=("recolored", "draft", "content", "content+noise", "noise", "style", "file"),
        shapes_style=True,
    )
    canvas: str = knob(
        "pixels",
        "what is changed: pixels, or photorealistic: only colours, smoothly, so that no line bends",
        choices=("pixels", "photorealistic"),
        shapes_style=True,
    )
    encoder: str = knob(
        "vgg19",
        "network that compares the pictures: vgg19, vgg16, squeezenet, efficientnet-lite0, or NAME:FILE.safetensors",
        shapes_style=True,
        names_file=True,
    )
    border: str = knob(
        "mirror", "how the picture continues beyond its edges; wrap makes a seamless tile", choices=("mirror", "wrap")
    )
    content_layers: tuple[str, ...] = knob(("relu4_2",), "encoder layers for the content", shapes_style=True)
    style_layers: tuple[str, ...] = knob(STYLE_LAYERS, "encoder layers for the style", shapes_style=True)
    seed: int = knob(
        0,
        "random seed of the noise to start from",
        low=0,
        high=2**31 - 1,
        counts_with={"init": ("noise", "content+noise")},
    )


@dataclass(frozen=True)
class ClipKnobs(Knobs):
    """Settings of `clip`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    clip: str = knob(
        "ViT-B-32",
        "CLIP: shapes (ships; colours and patterns alone), a file or folder, or a model of open_clip or transformers",
        shapes_style=True,
        names_file=True,
    )
    content_weight: float = knob(1.0, "how much the photograph's content counts; 1 is balanced", low=0, high=1000)
    style_weight: float = knob(1.0, "how much the words count; 1 is balanced", low=0, high=1000)
    tv_weight: float = knob(1.0, "how much smoothness counts; 0 leaves noise, 4 looks like gouache", low=0, high=1000)
    patches: int = knob(64, "patches of the picture that are compared with the words in each step", low=1, high=1024)
    patch_size: float = knob(
        0.25, "side of a patch, as a share of the longest side: smaller makes finer strokes", low=0.02, high=1
    )
    threshold: float = knob(
        0.7, "loss (1 - cosine) up to which a patch is left alone, so that easy places are not overdone", low=0, high=2
    )
    steps: int = knob(100, "steps", low=1, high=10000)
    learning_rate: float = knob(0.012, "learning rate of Adam, for pixels from 0 to 1", low=1e-5, high=1)
    init: str = knob(
        "content",
        "image to start from",
        choices=("content", "content+noise", "file"),
    )
    canvas: str = knob(
        "network",
        "what is changed: the weights of a small network that paints the photograph, or pixels",
        choices=("network", "pixels"),
    )
    seed: int = knob(0, "random seed of patches, noise and network", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class FeedForwardKnobs(Knobs):
    """Settings of `feedforward`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)


@dataclass(frozen=True)
class UnpairedKnobs(Knobs):
    """Settings of `unpaired`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)


@dataclass(frozen=True)
class ArbitraryKnobs(Knobs):
    """Settings of `arbitrary`."""

    strength: float = knob(1.0, "from the photograph (0) to the full style (1)", low=0, high=1)
    network: str = knob(
        "shipped",
        "file made by impasto train arbitrary; shipped is the one that comes with impasto",
        shapes_style=True,
        names_file=True,
    )


@dataclass(frozen=True)
class ScheduleKnobs:
    """Settings that all trainings have."""

    minutes: float = knob(25.0, "how long to train, unless --steps is given", low=0.01, high=100000)
    steps: int = knob(0, "number of steps, instead of minutes; the run can then be repeated exactly", low=0, high=10**8)
    batch: int = knob(4, "photographs in a batch", low=1, high=1024)
    accumulate: int = knob(1, "batches in one step (gradient accumulation)", low=1, high=1024)
    crop: int = knob(256, "side in pixels of the squares that are cut from the photographs", low=64, high=2048)
    canvas: int = knob(
        512, "longest side at which pictures will be painted: sets the size of strokes", low=64, high=8192
    )
    learning_rate: float = knob(
        3e-3, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    ema: float = knob(0.995, "decay of the moving average of the weights", low=0, high=0.99999)
    patience: int = knob(0, "stop after this many validations without progress; 0 never stops", low=0, high=1000)
    seed: int = knob(0, "random seed for initial weights, crops and order", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class TrainKnobs(ScheduleKnobs):
    """Settings of `impasto train`, and of `impasto train arbitrary`."""

    network: str = knob(
        "tiny",
        f"which network: {', '.join(network_specs.names())}, or a file NAME.json that impasto train search has written",
        names_file=True,
    )
    content_budget: float = knob(
        1.35,
        "content error to aim for, relative to the AdaIN draft's; the style weight adjusts itself",
        low=0.1,
        high=10,
    )
    style_weight: float = knob(4.0, "how much the style counts at the start", low=0, high=1000)
    large_weight: float = knob(
        0.0, "how much the style at half the size counts beside that at full size", low=0, high=100
    )
    stroke_weight: float = knob(
        0.0,
        "how much single strokes count beside the style: each place against the most similar place of the painting",
        low=0,
        high=100,
    )
    grid_weight: float = knob(2.0, "penalty for a grid in flat places, which upsampling leaves", low=0, high=1000)
    tv_weight: float = knob(0.05, "how much smoothness counts, relative to the painting's own", low=0, high=1000)
    adversarial_weight: float = knob(
        0.0, "weight of a discriminator of patches, which is trained together with the network", low=0, high=1000
    )
    clip: str = knob(
        "",
        "a CLIP as for stylize: each style is then a sentence, as --style NAME=SENTENCE, which the network learns",
        names_file=True,
    )
    temporal_weight: float = knob(
        0.0, "penalty for flicker when a photograph moves a little, for video; 1 is strong", low=0, high=1000
    )


@dataclass(frozen=True)
class TranslationKnobs(ScheduleKnobs):
    """Settings of `impasto train unpaired`."""

    minutes: float = knob(600.0, "how long to train, unless --steps is given", low=0.01, high=100000)
    batch: int = knob(1, "photographs in a batch, and as many paintings", low=1, high=1024)
    learning_rate: float = knob(
        2e-4, "learning rate of Adam; stays for the first half, then falls to 0 in a line", low=1e-6, high=1
    )
    ema: float = knob(0.999, "decay of the moving average of the weights", low=0, high=0.99999)
    objective: str = knob(
        "contrastive",
        "what keeps the photograph: contrastive (CUT), fast (FastCUT, less work), or cycle (CycleGAN, both ways)",
        choices=("contrastive", "fast", "cycle"),
    )
    width: int = knob(64, "channels of the generator at full size", low=4, high=256)
    blocks: int = knob(9, "residual blocks of the generator; 6 are usual up to 128 px", low=2, high=32)
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", low=4, high=256)
    discriminator_layers: int = knob(
        3, "layers of the discriminator that halve: 3 look at 70 px, 2 at 34, 1 at 16", low=1, high=5
    )
    structure_weight: float = knob(
        0.0,
        "weight of keeping the photograph; 0 for the paper's: 1 of contrastive, 10 of fast and cycle",
        low=0,
        high=1000,
    )
    identity_weight: float = knob(
        1.0, "how much it counts that a painting stays as it is, beside the paper's; fast does not ask", low=0, high=10
    )


@dataclass(frozen=True)
class SearchKnobs(TrainKnobs):
    """Settings of `impasto train search`: how long, and how each network is trained."""

    minutes: float = knob(60.0, "how long to search, all runs together", low=0.01, high=100000)
    trials: int = knob(0, "networks to try at most; 0 for as many as there is time for", low=0, high=10**6)
    steps: int = knob(200, "steps that each network is trained", low=1, high=10**8)
    crop: int = knob(128, "side in pixels of the squares that are cut from the photographs", low=64, high=2048)
    network: str = knob(
        "tiny", f"the reference: {', '.join(network_specs.names())}, or a file NAME.json", names_file=True
    )


@dataclass(frozen=True)
class DecoderKnobs(ScheduleKnobs):
    """Settings of `impasto train decoder`."""

    layer: str = knob("relu4_1", "the layer of VGG-19 that is turned back into pictures", choices=STYLE_LAYERS)
    learning_rate: float = knob(
        1e-3, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    feature_weight: float = knob(
        1.0, "weight of the error of the features, relative to that of the pixels", low=0, high=1000
    )
    layerwise: float = knob(
        0.6,
        "share of the training, with --from of a layer that is less deep, in which only the new layers learn",
        low=0,
        high=1,
    )


@dataclass(frozen=True)
class AttentionTrainKnobs(ScheduleKnobs):
    """Settings of `impasto train attention`."""

    learning_rate: float = knob(
        1e-4, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    content_weight: float = knob(1.0, "weight of the photograph's normalised features", low=0, high=1000)
    style_weight: float = knob(3.0, "weight of the painting's means and deviations", low=0, high=1000)
    identity_weight: float = knob(
        1.0, "weight of how far a picture painted after itself becomes another", low=0, high=1000
    )


@dataclass(frozen=True)
class AdaINTrainKnobs(ScheduleKnobs):
    """Settings of `impasto train adain`."""

    learning_rate: float = knob(
        5e-5, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    style_weight: float = knob(8.0, "how much the style counts, at full and at half the size", low=0, high=1000)
    grid_weight: float = knob(1.0, "penalty for a grid in flat places, which upsampling leaves", low=0, high=1000)
    adversarial_weight: float = knob(
        0.0, "weight of a discriminator of patches, which is trained together with the decoder", low=0, high=1000
    )


@dataclass(frozen=True)
class DistillKnobs(ScheduleKnobs):
    """Settings of the training after `impasto prune`."""

    minutes: float = knob(10.0, "how long to train what is left, unless --steps is given", low=0.01, high=100000)
    learning_rate: float = knob(
        2e-3, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    detail_weight: float = knob(
        1.0, "weight of the differences between neighbouring pixels, beside those of the pixels", low=0, high=1000
    )


@dataclass(frozen=True)
class ClipTrainKnobs(ScheduleKnobs):
    """Settings of `impasto train clip`."""

    minutes: float = knob(8.0, "how long to train, unless --steps is given", low=0.01, high=100000)
    batch: int = knob(16, "photographs in a batch; each is drawn over six times", low=1, high=4096)
    crop: int = knob(64, "side in pixels of the squares that are cut from the photographs", low=64, high=64)
    canvas: int = knob(128, "longest side to which photographs are shrunk before they are cut", low=64, high=8192)
    learning_rate: float = knob(
        1e-3, "learning rate of Adam after the warm-up; decays to 0 along a cosine", low=1e-6, high=1
    )
    ema: float = knob(0.99, "decay of the moving average of the weights", low=0, high=0.99999)
    width: int = knob(96, "channels of the tower for pictures, a multiple of 4", low=16, high=1024)


@dataclass(frozen=True)
class GanKnobs(ScheduleKnobs):
    """Settings of `impasto gan train` and `impasto gan adapt`."""

    minutes: float = knob(60.0, "how long to train, unless --steps is given", low=0.01, high=100000)
    batch: int = knob(16, "pictures in a batch", low=2, high=1024)
    crop: int = knob(
        64,
        "side in pixels of the squares cut from paintings, and of the pictures: a power of two, such as 32, 64, 128",
        low=8,
        high=1024,
    )
    canvas: int = knob(
        128,
        "longest side to which paintings are shrunk before squares are cut: small shows whole motifs",
        low=8,
        high=8192,
    )
    learning_rate: float = knob(2.5e-3, "learning rate of Adam, for both networks; it stays", low=1e-6, high=1)
    ema: float = knob(0.999, "decay of the moving average of the weights", low=0, high=0.99999)
    width: int = knob(32, "channels at full size; twice as many at each half of it, up to 128", low=8, high=128)
    r1_weight: float = knob(0.2, "penalty for a discriminator that is too steep (R1)", low=0, high=1000)
    path_weight: float = knob(2.0, "penalty for pictures that change unevenly (path length)", low=0, high=1000)
    augment: str = knob(
        "ada", "change pictures before they are judged, as far as needed against overfitting", choices=("ada", "off")
    )
    ada_target: float = knob(
        0.6,
        "how surely paintings may be told from pictures, -1 to 1, before more is augmented",
        low=-1,
        high=1,
        counts_with={"augment": ("ada",)},
    )
    freeze: int = knob(0, "finest blocks of the discriminator that stay as they are (Freeze-D)", low=0, high=8)
