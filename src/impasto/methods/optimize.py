"""Image optimisation: moves pixels until their features have the content of one and the style of another.

Paper: arXiv:1508.06576 (Gatys, Ecker and Bethge 2016). Departures, each measured in bench/NOTES.md: the losses are
relative, so that weights near 1 serve every picture; the optimiser runs on a pyramid of corrections; and the descent
goes from coarse to fine (arXiv:1611.07865 does so too), keeping the detail of its start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from impasto.contract import Job, OnProgress, Placement, Progress, Stats, Style, StyleCode, ignore
from impasto.descent import PixelPyramid, Schedule, Score, descend, pyramid_scales, resample
from impasto.encoders import VGG19, Encoder
from impasto.errors import Cancelled, InputError
from impasto.knobs import OptimizeKnobs
from impasto.losses import ContentLoss, GramLoss, TotalVariation
from impasto.tiling import crop_to, pad_to_multiple

STYLE_BALANCE = 6.5
"""Weight of the relative Gram distance against the relative content error when both knobs are 1."""
VARIATION_BALANCE = 0.3
COARSER_STEPS = 1.5
"""A coarser level takes this many times the steps of the next finer one: they cost a quarter."""
_STRIDE = 16


class Optimize:
    """Gatys' method on a pyramid.

    Args:
        weights: `vgg19-normalised`.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        self._encoder = Encoder(VGG19, weights["vgg19-normalised"], placement)

    @staticmethod
    def passes(height: int, width: int, knobs: OptimizeKnobs) -> float:
        """Work of a whole run, in steps at full size."""
        work = sum(level.work for level in _levels(height, width, knobs))
        return work / (height * width)

    def encode_style(self, style: Style, knobs: OptimizeKnobs) -> StyleCode:
        """Gram matrices at every level of the pyramid, averaged over the style images by weight.

        Returns:
            `INDEX/LAYER`, each `(1, C, C)` float32, where index 0 is the coarsest level; and `image (1, 3, H, W)`, the
            weightiest style image, when the descent starts from it.
        """
        self._encoder.architecture.check((*knobs.style_layers, *knobs.content_layers))
        gram = GramLoss(dict.fromkeys(knobs.style_layers, 1.0))
        tensors: dict[str, Tensor] = {}
        for index, level in enumerate(_levels(*style.canvas, knobs)):
            for image, share in zip(style.images, style.shares(), strict=True):
                sides = _sides(*_shape(image.pixels), level.scale)
                pixels = resample(image.pixels, *sides).clamp(0, 1)
                for layer, matrix in self._statistics(gram, pixels).items():
                    name = f"{index}/{layer}"
                    tensors[name] = share * matrix + tensors.get(name, 0)
        if knobs.init == "style":
            tensors["image"] = max(style.images, key=lambda image: image.weight).pixels
        return StyleCode(tensors)

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Optimise one picture after another; see `Stylizer`. Honours `guide.init`."""
        return torch.cat([self._paint(content[i : i + 1], job, on_progress) for i, job in enumerate(jobs)])

    def _paint(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        """Descend from coarse to fine; what passes between levels is the change to the start, whose detail survives."""
        knobs: OptimizeKnobs = job.knobs
        height, width = _shape(content)
        if knobs.strength == 0:
            return content.clone()
        content = pad_to_multiple(content, _STRIDE, least=2 * _STRIDE)
        start = pad_to_multiple(_start(crop_to(content, height, width), job), _STRIDE, least=2 * _STRIDE)
        levels = _levels(height, width, knobs)
        reports = _Reports(on_progress, levels, f"refining {width}x{height}")
        change = torch.zeros_like(start)
        for index, level in enumerate(levels):
            sides = _sides(*_shape(content), level.scale)
            origin = resample(start, *sides)
            score = self._score(resample(content, *sides).clamp(0, 1), job, index)
            canvas = PixelPyramid((origin + resample(change, *sides)).clamp(0, 1))
            schedule = Schedule(level.steps, knobs.optimizer, knobs.learning_rate)
            try:
                change = descend(canvas, score, schedule, on_progress=reports.of_level(index)).image - origin
            except Cancelled as cancelled:
                if cancelled.partial is not None:
                    change = resample(cancelled.partial - origin, *start.shape[2:])
                    cancelled.partial = crop_to((start + change).clamp(0, 1), height, width)
                raise
        return crop_to((start + change).clamp(0, 1), height, width)

    def _score(self, content: Tensor, job: Job, index: int) -> Score:
        """The loss at one level: content, style and total variation, weighted."""
        knobs: OptimizeKnobs = job.knobs
        content_loss = ContentLoss(frozenset(knobs.content_layers))
        gram = GramLoss(dict.fromkeys(knobs.style_layers, 1.0))
        variation = TotalVariation()
        style = {layer: job.code.tensors[f"{index}/{layer}"].to(content.device) for layer in knobs.style_layers}
        if knobs.strength < 1:  # towards a blend of the two pictures' statistics: nothing shows through twice
            own = self._statistics(gram, content)
            style = {layer: torch.lerp(own[layer], style[layer], knobs.strength) for layer in style}
        content_error = content_loss.bind(self._statistics(content_loss, content))
        style_distance = gram.bind(style)
        layers = content_loss.layers | gram.layers

        def score(image: Tensor) -> Mapping[str, Tensor]:
            features = self._encoder(image, layers)
            return {
                "content": knobs.content_weight * content_error(content_loss.statistics(features)),
                "style": STYLE_BALANCE * knobs.style_weight * style_distance(gram.statistics(features)),
                "tv": VARIATION_BALANCE
                * knobs.tv_weight
                * knobs.strength
                * variation.bind({})(variation.statistics({"image": image})),
            }

        return score

    @torch.no_grad()
    def _statistics(self, objective: ContentLoss | GramLoss, pixels: Tensor) -> Stats:
        return objective.statistics(self._encoder(pixels, objective.layers))


@dataclass(frozen=True)
class _Level:
    """One level of the pyramid: its size as a share of the picture's, and how long to stay."""

    scale: float
    sides: tuple[int, int]
    steps: int

    @property
    def work(self) -> int:
        """Pixels moved in all steps."""
        return self.steps * math.prod(self.sides)


def _levels(height: int, width: int, knobs: OptimizeKnobs) -> tuple[_Level, ...]:
    """Coarse first."""
    scales = pyramid_scales(height, width, coarsest=knobs.coarsest)
    return tuple(
        _Level(scale, _sides(height, width, scale), steps=round(knobs.steps * COARSER_STEPS ** -math.log2(scale)))
        for scale in scales
    )


def _shape(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _sides(height: int, width: int, scale: float) -> tuple[int, int]:
    """Both sides at a level, rounded so that pooling drops no row."""
    return (
        max(2 * _STRIDE, round(height * scale / _STRIDE) * _STRIDE),
        max(2 * _STRIDE, round(width * scale / _STRIDE) * _STRIDE),
    )


class _Reports:
    """Joins the reports of the levels into one count, weighing steps by the pixels that they move."""

    def __init__(self, on_progress: OnProgress, levels: Sequence[_Level], stage: str) -> None:
        self._on_progress, self._levels, self._stage = on_progress, levels, stage

    def of_level(self, index: int) -> OnProgress:
        """The callback for one level."""
        before = self._levels[:index]
        steps, total = sum(level.steps for level in before), sum(level.steps for level in self._levels)
        work, all_work = sum(level.work for level in before), sum(level.work for level in self._levels)
        area = math.prod(self._levels[index].sides)

        def report(progress: Progress) -> None:
            done = (work + area * progress.step) / all_work
            self._on_progress(replace(progress, stage=self._stage, step=steps + progress.step, total=total, done=done))

        return report


def _start(content: Tensor, job: Job) -> Tensor:
    """The image that the descent begins with."""
    knobs: OptimizeKnobs = job.knobs
    if job.guide.init is not None:
        return job.guide.init.to(content.device)
    if knobs.init in ("draft", "file"):
        raise InputError(f"the descent should start from a {knobs.init}, but none was given", "choose another --init")
    generator = torch.Generator().manual_seed(knobs.seed)
    noise = torch.randn(content.shape, generator=generator).to(content.device)
    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: content,
        "content+noise": lambda: (content + 0.1 * noise).clamp(0, 1),
        "noise": lambda: (0.5 + 0.15 * noise).clamp(0, 1),
        "style": lambda: _covering(job.code.tensors["image"].to(content.device), *content.shape[2:]),
    }
    return starts[knobs.init]()


def _covering(image: Tensor, height: int, width: int) -> Tensor:
    """Resize without stretching until `height` x `width` is covered, and cut out the middle."""
    scale = max(height / image.shape[2], width / image.shape[3])
    sides = max(height, round(image.shape[2] * scale)), max(width, round(image.shape[3] * scale))
    large = resample(image, *sides).clamp(0, 1)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    return large[:, :, top : top + height, left : left + width]
