"""Words as a style: trains a small network on one photograph until CLIP sees it change the way the words say.

Paper: arXiv:2112.00374 (CLIPstyler, Kwon and Ye 2022). Departs from it in that losses are relative, and that pixels may
be moved instead of a network's weights (`canvas`): they please CLIP with colours that no one else sees in the words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from impasto.assets import Store
from impasto.contract import (
    Costs,
    Job,
    OnProgress,
    Placement,
    Progress,
    Snapshot,
    Stats,
    Style,
    StyleCode,
    StyleImage,
    ignore,
)
from impasto.errors import Cancelled, InputError
from impasto.files import is_file
from impasto.losses.clip import DirectionalLoss, PatchDirectionalLoss
from impasto.losses.losses import ContentLoss, TotalVariation, sum_of
from impasto.methods.settings import ClipKnobs
from impasto.models import clip_files, network_specs, networks
from impasto.models.checkpoint import WeightsRef
from impasto.models.clip import Clip
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.ops import masks
from impasto.ops.tiles import as_float, crop_to, pad_to_multiple
from impasto.optim.canvases import Canvas, NetworkCanvas, PixelPyramid
from impasto.optim.descent import descend
from impasto.optim.evaluator import Evaluator, Term, collect
from impasto.optim.schedule import Schedule

ASSET = "vgg19-normalised"
CONTENT_LAYERS = frozenset({"relu4_2"})
SOURCE = "photo"
"""What the photograph is called."""

TEMPLATES = ("a {}", "{}", "a picture of {}", "a painting of {}", "a photo of {}")
"""Sentences whose vectors are averaged: what they share falls out of the direction."""

WHOLE_BALANCE, PATCH_BALANCE, CONTENT_BALANCE, VARIATION_BALANCE = 1.0, 9.0, 0.3, 0.3

_STRIDE, _LEAST = 16, 32  # of the encoder; smaller pictures are mirrored
_NETWORK = "tiny"
_LARGE = 8.7e9  # operations for a vector of ViT-B/32
_LARGE_BYTES = 605e6  # of its file in float32
_SMALL = 0.007  # of its work, for the one that ships
_PATCH_BYTES = 16e6  # for each patch whose features are kept
_KEPT_PATCHES = 16


class ClipStyle(Costs):
    """CLIPstyler on a small network, or on pixels.

    Args:
        weights: of VGG-19, and a CLIP's by the name that `needs` gives.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        self._encoder = Encoder(VGG19, weights[ASSET], placement)
        own = next(tensors for name, tensors in weights.items() if WeightsRef.parse(name).file is not None)
        self._clip = Clip.of_weights(own).to(placement.device, placement.dtype)

    @staticmethod
    def needs(knobs: ClipKnobs) -> tuple[str, ...]:
        """VGG-19, and the CLIP that was chosen; see `Costs`."""
        return ASSET, f"{clip_files.KIND}:{knobs.clip}"

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a CLIP; see `Costs`."""
        store, chosen = Store(), name.partition(":")[2]
        return clip_files.read(clip_files.resolve(chosen, store.root, offline=store.offline))

    @staticmethod
    def passes(height: int, width: int, knobs: ClipKnobs) -> float:
        """Work of a job, in steps of VGG-19 at full size."""
        patches = (
            3 * _LARGE * _size(knobs.clip) * (1 + (4 / 3) * knobs.patches)
        )  # forwards twice, since few features are kept
        return knobs.steps * (0.8 + patches / (_STEP_OPERATIONS * height * width))

    @staticmethod
    def fixed_bytes(knobs: ClipKnobs, placement: Placement) -> int:  # noqa: ARG004
        """Features of the patches."""
        return int(_PATCH_BYTES * max(0.5, _size(knobs.clip)) * min(knobs.patches, _KEPT_PATCHES))

    @torch.no_grad()
    def encode_style(self, style: Style, knobs: ClipKnobs) -> StyleCode:  # noqa: ARG002 - every CLIP sees all of it
        """Where words point to, and where paintings lie.

        Returns:
            `words (1, D)`, the sum of the words' directions by their shares; `image (1, D)`, that of the paintings'
            vectors; `pictured (1, 1)`, the paintings' share.
        """
        shares = style.shares()
        source = self._named(SOURCE)
        words = [
            share * (self._named(one.words) - source)
            for one, share in zip(style.images, shares, strict=True)
            if one.words
        ]
        seen = [share * self._seen(one) for one, share in zip(style.images, shares, strict=True) if not one.words]
        blank = torch.zeros_like(source)
        pictured = sum(share for one, share in zip(style.images, shares, strict=True) if not one.words)
        return StyleCode(
            {
                "words": sum_of([blank, *words]),
                "image": sum_of([blank, *seen]),
                "pictured": torch.full((1, 1), float(pictured), device=source.device),
            }
        )

    def _named(self, text: str) -> Tensor:
        """The mean vector `(1, D)` of what a text says in several sentences, of length 1."""
        vectors = self._clip.embed_texts([template.format(text) for template in TEMPLATES])
        return torch.nn.functional.normalize(vectors.mean(0, keepdim=True), dim=1)

    def _seen(self, image: StyleImage) -> Tensor:
        """The vector of a painting; what of it is hidden has the mean colour of the rest."""
        pixels = as_float(image.pixels).to(self.placement.device)
        if image.seen is not None:
            seen = image.seen.to(pixels)
            mean = (pixels * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True).clamp_min(1e-6)
            pixels = torch.lerp(mean.expand_as(pixels), pixels, seen)
        return self._clip.embed_images(pixels)

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Optimise one picture after another; see `Stylizer`."""
        return torch.cat([self._paint(content[i : i + 1], job, on_progress) for i, job in enumerate(jobs)])

    def _paint(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        knobs: ClipKnobs = job.knobs
        if knobs.strength == 0:
            return content.clone()
        padded = pad_to_multiple(content, _STRIDE, least=_LEAST)
        score = _Score(self._encoder, self._clip, padded, job)
        schedule = Schedule(knobs.steps, "adam", _rate(knobs))
        finish = _finisher(content, job)

        def report(progress: Progress) -> None:
            assert progress.snapshot is not None
            on_progress(replace(progress, snapshot=_Snapshot(finish, progress.snapshot)))

        try:
            trace = descend(
                _canvas(padded, job),
                score,
                schedule,
                stage=f"painting words {content.shape[3]}x{content.shape[2]}",
                on_progress=report,
                resume=job.resume,
            )
        except Cancelled as cancelled:
            if cancelled.partial is not None:
                cancelled.partial = finish(cancelled.partial)
            raise
        return finish(trace.image)


_STEP_OPERATIONS = 1.44e6  # as the row says, for a pixel


def _size(clip: str) -> float:
    """How large a CLIP is against ViT-B/32, by its file; those that are named are taken to be like it."""
    if clip == clip_files.SHIPPED:
        return _SMALL
    return max(_SMALL, Path(clip).stat().st_size / _LARGE_BYTES) if is_file(clip) else 1.0


class _Score:
    """The loss of a picture, step by step with other patches.

    Args:
        encoder, clip: what sees content, and what sees the style.
        content: the photograph `(1, 3, H, W)`.
        job: its style, knobs, and where it goes on from.
    """

    def __init__(self, encoder: Encoder, clip: Clip, content: Tensor, job: Job) -> None:
        knobs: ClipKnobs = job.knobs
        self._encoder, self._knobs = encoder, knobs
        self._step = 0 if job.resume is None else int(job.resume["steps"])
        self._target = _target(clip, content, job)
        kept = ContentLoss(CONTENT_LAYERS)
        self._fixed = [
            Term("style", WHOLE_BALANCE * knobs.style_weight, DirectionalLoss(clip.embed_images), self._target),
            Term("tv", VARIATION_BALANCE * knobs.tv_weight, TotalVariation()),
        ]
        if knobs.content_weight > 0:
            weight = CONTENT_BALANCE * knobs.content_weight
            self._fixed.append(Term("content", weight, kept, collect(encoder, kept, content)))
        side = max(1, round(knobs.patch_size * max(content.shape[2:])))
        resolution = clip.spec.resolution
        self._patches = PatchDirectionalLoss(
            clip.embed_images, side, resolution, count=knobs.patches, threshold=knobs.threshold
        )

    def __call__(self, image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        """Losses and gradient; see `descend`."""
        drawn = replace(self._patches, seed=_mixed(self._knobs.seed, self._step))
        self._step += 1
        patches = Term("patches", PATCH_BALANCE * self._knobs.style_weight, drawn, self._target)
        return Evaluator(self._encoder, [*self._fixed, patches])(image)


def _mixed(seed: int, step: int) -> int:
    """One seed of two numbers."""
    return (seed * 1_000_003 + step) % (1 << 62)


@torch.no_grad()
def _target(clip: Clip, content: Tensor, job: Job) -> Stats:
    """Where the photograph lies, and where its change shall point."""
    source = clip.embed_images(content)
    code = {name: tensor.to(source) for name, tensor in job.code.tensors.items()}
    return {"source": source, "direction": code["words"] + code["image"] - code["pictured"] * source}


def _rate(knobs: ClipKnobs) -> float:
    """Adam's, which a network's weights take smaller."""
    return knobs.learning_rate * (0.25 if knobs.canvas == "network" else 1.0)


def _canvas(content: Tensor, job: Job) -> Canvas:
    """What is moved, at its start."""
    knobs: ClipKnobs = job.knobs
    if knobs.init == "file" and job.guide.init is None:
        raise InputError("the descent should start from a file, but none was given", "choose another --init")
    start = content if job.guide.init is None else pad_to_multiple(job.guide.init.to(content), _STRIDE, least=_LEAST)
    generator = torch.Generator().manual_seed(knobs.seed)
    if knobs.init == "content+noise" and job.guide.init is None:
        start = (start + 0.1 * torch.randn(start.shape, generator=generator).to(start)).clamp(0, 1)
    if knobs.canvas == "pixels":
        return PixelPyramid(start)
    network = networks.Network(network_specs.find(_NETWORK), generator).to(content.device)
    return NetworkCanvas(network, network.neutral_code().to(content.device), start)


def _finisher(content: Tensor, job: Job) -> Callable[[Tensor], Tensor]:
    """From an image of the padded size to the picture: between photograph and painted picture, by the strength."""
    strength = torch.full_like(content[:, :1], job.knobs.strength)
    if job.guide.strength is not None:
        strength = strength * job.guide.strength.to(content)
    return lambda image: masks.compose(content, crop_to(image, *content.shape[2:]).to(content), strength)


@dataclass(frozen=True)
class _Snapshot:
    """A snapshot of the descent, as the picture that it gives."""

    finish: Callable[[Tensor], Tensor]
    descent: Snapshot

    def image(self) -> Tensor:
        """See `Snapshot`."""
        return self.finish(self.descent.image())

    def state(self) -> Mapping[str, Tensor]:
        """See `Snapshot`."""
        return self.descent.state()
