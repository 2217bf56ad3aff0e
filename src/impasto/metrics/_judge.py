"""Scores pictures, sets and videos, loading only the networks that the measures asked for need."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.assets import Store, load_weights
from impasto.contract import STYLE_LAYERS, Features, OnProgress, Placement, Progress, ignore
from impasto.metrics import _pixels, _sets, _style, _video
from impasto.metrics._networks import INCEPTION_FEATURES, INCEPTION_SIDE, Inception, Lpips
from impasto.metrics._pixels import Picture
from impasto.metrics._style import CONTENT_LAYER
from impasto.metrics._table import ALONE, INCEPTION_ASSET, LPIPS_ASSETS, METRICS, VGG19_ASSET, check_names, names_of
from impasto.models.encoder_specs import VGG19
from impasto.models.encoders import Encoder
from impasto.videos import VideoReader

SCORE_SIZE = 512
"""Longest side in pixels at which pictures are scored."""
_SMALLER = (256, 128)  # longest sides for style_distance_large
_KEPT = 4  # feature maps that are measured again and again: a style at three sizes, and a content


@dataclass(frozen=True)
class Scores:
    """How a pastiche relates to its two sources, in the words of METRICS. None of them decides alone.

    Attributes:
        style_distance: mean over relu1_1 .. relu5_1 of `|G(x) - G(s)|^2 / |G(s)|^2`; 0 is the style itself.
        style_distance_large: the same at longest sides 256 and 128, mean.
        stroke_distance: how far places are from the painting's most like them; 0 is the style itself.
        photo_residue: how much of the photograph's fine detail was left unpainted; 1 is all.
        grain_ratio: the finest detail over the painting's; 1 is as much.
        content_error: `|F(x) - F(c)|^2 / |F(c)|^2` at relu4_1; 0 is the photograph itself.
        layout: error of how alike places are to one another; 0 is the photograph itself.
    """

    style_distance: float
    style_distance_large: float
    stroke_distance: float
    photo_residue: float
    grain_ratio: float
    content_error: float
    layout: float


SCORES = tuple(field.name for field in fields(Scores))
"""The measures by which comparisons and benchmarks judge a pastiche."""


class Judge:
    """Scores pastiches. Holds the networks, each loaded when a measure first needs it, always in float32.

    Args:
        weights: of `vgg19-normalised`, where they are loaded already.
        device: where to compute.
        store: where weights come from; the user's cache by default.
        on_progress: called while something is fetched; may cancel by raising Cancelled.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor] | None = None,
        device: str = "cpu",
        *,
        store: Store | None = None,
        on_progress: OnProgress = ignore,
    ) -> None:
        self._vgg19 = weights
        self._device = device
        self._store = store
        self._on_progress = on_progress
        self._lpips: dict[str, Lpips] = {}
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], Features] = OrderedDict()

    def scores(self, content: Picture, style: Picture, pastiche: Picture) -> Scores:
        """What comparisons judge by; pictures are `(H, W, 3)`, sRGB in [0, 1], of any size."""
        found = self.measure(content, style, pastiche, SCORES)
        return Scores(*(found[name] for name in SCORES))

    def measure(
        self, content: Picture, style: Picture, pastiche: Picture, names: Iterable[str] | None = None
    ) -> dict[str, float]:
        """Measures of one pastiche by name.

        Args:
            content, style, pastiche: `(H, W, 3)`, sRGB in [0, 1], of any size. Content and style are resized to longest
                side 512 and the pastiche to the content's size; `checkerboard` and `weave` see it as it is.
            names: keys of METRICS of the kind "picture"; by default all that pictures of these sizes allow.

        Raises:
            InputError: a name is unknown, or a picture too small for a measure.
            AssetError: weights cannot be fetched.
        """
        if names is None:
            too_small = unmeasurable((content.shape[1], content.shape[0]), (pastiche.shape[1], pastiche.shape[0]))
            names = [name for name in names_of("picture") if name not in too_small]
        wanted = check_names(names, ("picture",))
        subject = _Subject(self, content, style, pastiche)
        with torch.inference_mode():
            return {name: _PICTURE_MEASURES[name](subject) for name in wanted}

    def measure_set(
        self,
        contents: Sequence[Any],
        styles: Sequence[Any],
        pastiches: Sequence[Any],
        names: Iterable[str] | None = None,
        on_progress: OnProgress = ignore,
    ) -> dict[str, float]:
        """Measures of a whole set by name.

        Args:
            contents: one a pastiche, in the same order; read for ArtFID only.
            styles, pastiches: the two sets. All are whatever `impasto.images.read` takes, such as paths.
            names: "fid", "kid", "artfid"; all by default.
            on_progress: called after each picture; may cancel by raising Cancelled.

        Raises:
            InputError: a set is too small (says how many it needs), or a picture cannot be read.
            AssetError: weights cannot be fetched.
        """
        wanted = check_names(names_of("set") if names is None else names, ("set",))
        _sets.check_counts(wanted, len(styles), len(pastiches))
        theirs = self.vectors(styles, "looking at styles", on_progress)
        ours = self.vectors(pastiches, "looking at pastiches", on_progress)
        found: dict[str, float] = {}
        if {"fid", "artfid"} & set(wanted):
            found["fid"] = _sets.frechet_distance(ours, theirs)
        if "kid" in wanted:
            found["kid"] = _sets.kernel_distance(ours, theirs)
        if "artfid" in wanted:
            found["artfid"] = _sets.art_fid(self._mean_lpips(contents, pastiches, on_progress), found["fid"])
        return {name: found[name] for name in wanted}

    def vectors(self, pictures: Sequence[Any], stage: str = "", on_progress: OnProgress = ignore) -> _sets.Vectors:
        """Inception features `(N, 2048)` of pictures, each resized to 299x299 with antialiasing, aspect not kept."""
        found = np.empty((len(pictures), INCEPTION_FEATURES))
        for number, picture in enumerate(pictures):
            on_progress(Progress(stage, number, len(pictures), unit="picture"))
            pixels = images.resize(images.read(picture).pixels, INCEPTION_SIDE, INCEPTION_SIDE)
            with torch.inference_mode():
                found[number] = self.inception(self.as_tensor(pixels))[0].double().cpu().numpy()
        return found

    def _mean_lpips(self, contents: Sequence[Any], pastiches: Sequence[Any], on_progress: OnProgress) -> float:
        assert len(contents) == len(pastiches)
        total = 0.0
        for number, (content, pastiche) in enumerate(zip(contents, pastiches, strict=True)):
            on_progress(Progress("comparing with contents", number, len(contents), unit="picture"))
            photograph = images.read(content).pixels
            pair = (photograph, photograph, images.read(pastiche).pixels)
            total += self.measure(*pair, names=("lpips_alex",))["lpips_alex"]
        return total / len(contents)

    # What the measures of a picture use

    @cached_property
    def encoder(self) -> Encoder:
        """VGG-19."""
        weights = self._load(VGG19_ASSET) if self._vgg19 is None else self._vgg19
        return Encoder(VGG19, weights, Placement(self._device))

    @cached_property
    def inception(self) -> Inception:
        """FID's network."""
        return Inception(self._load(INCEPTION_ASSET), self._device)

    def lpips(self, backbone: str) -> Lpips:
        """LPIPS by "vgg16" or "alexnet"."""
        if backbone not in self._lpips:
            self._lpips[backbone] = Lpips(backbone, self._load(LPIPS_ASSETS[backbone]), self._device)
        return self._lpips[backbone]

    def features(self, pixels: Picture, layers: tuple[str, ...], *, keep: bool = False) -> Features:
        """VGG-19's maps of a picture; `keep` remembers those of the last few pictures."""
        if not keep:
            return self.encoder(self.as_tensor(pixels), layers)
        key = (images.digest(pixels), layers)
        if key not in self._kept:
            self._kept[key] = self.encoder(self.as_tensor(pixels), layers)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def as_tensor(self, pixels: Picture) -> Tensor:
        """`(H, W, 3)` as `(1, 3, H, W)` on the judge's device."""
        return images.to_tensor(pixels).to(self._device)

    def _load(self, asset_id: str) -> Mapping[str, Tensor]:
        if self._store is None:
            self._store = Store()
        return load_weights(self._store, asset_id, on_progress=self._on_progress)


class _Subject:
    """One pastiche with its sources at the size of the scores; features are computed when first asked for."""

    def __init__(self, judge: Judge, content: Picture, style: Picture, pastiche: Picture) -> None:
        self.judge = judge
        self.untouched = pastiche
        self.content = at_score_size(content)
        self.style = at_score_size(style)
        self.pastiche = images.resize(pastiche, *self.content.shape[:2])

    @cached_property
    def ours(self) -> Features:
        """The pastiche's maps at all layers."""
        return self.judge.features(self.pastiche, (*STYLE_LAYERS, CONTENT_LAYER))

    @cached_property
    def theirs(self) -> Features:
        """The style's maps."""
        return self.judge.features(self.style, STYLE_LAYERS, keep=True)

    @cached_property
    def wanted(self) -> Features:
        """The content's maps."""
        return self.judge.features(self.content, _style.LAYOUT_LAYERS, keep=True)

    @cached_property
    def gram_distances(self) -> dict[str, float]:
        """Style distance of each layer."""
        return _style.gram_distances(self.ours, self.theirs)

    def large_distance(self) -> float:
        """Style distance of pastiche and style made smaller."""
        found = []
        for side in _SMALLER:
            ours = self.judge.features(_made_smaller(self.pastiche, side), STYLE_LAYERS)
            theirs = self.judge.features(_made_smaller(self.style, side), STYLE_LAYERS, keep=True)
            found.append(_style.mean_of(_style.gram_distances(ours, theirs)))
        return sum(found) / len(found)

    def lpips(self, backbone: str) -> float:
        """LPIPS of pastiche and content."""
        pair = (self.judge.as_tensor(picture) for picture in (self.pastiche, self.content))
        return self.judge.lpips(backbone)(*pair).item()


def _made_smaller(pixels: Picture, longest: int) -> Picture:
    """Resize to a longest side; a narrow picture only as far as VGG-19 can still look at it."""
    height, width = pixels.shape[:2]
    least = math.ceil(VGG19.smallest_side(STYLE_LAYERS) * max(height, width) / min(height, width))
    width, height = images.fit(width, height, max(longest, least))
    return images.resize(pixels, height, width)


def _at_layer(layer: str) -> Callable[[_Subject], float]:
    return lambda subject: subject.gram_distances[layer]


_PICTURE_MEASURES: Mapping[str, Callable[[_Subject], float]] = {
    "style_distance": lambda subject: _style.mean_of(subject.gram_distances),
    **{f"style_distance_{layer}": _at_layer(layer) for layer in STYLE_LAYERS},
    "style_distance_large": lambda subject: subject.large_distance(),
    "stroke_distance": lambda subject: _style.stroke_distance(subject.ours, subject.theirs),
    "moment_distance": lambda subject: _style.moment_distance(subject.ours, subject.theirs),
    "sliced_wasserstein": lambda subject: _style.sliced_wasserstein(subject.ours, subject.theirs),
    "content_error": lambda subject: _style.content_error(subject.ours, subject.wanted),
    "layout": lambda subject: _style.layout(subject.ours, subject.wanted),
    "photo_residue": lambda subject: _pixels.photo_residue(subject.content, subject.pastiche),
    "lpips_vgg": lambda subject: subject.lpips("vgg16"),
    "lpips_alex": lambda subject: subject.lpips("alexnet"),
    "ssim": lambda subject: _pixels.ssim(subject.content, subject.pastiche),
    "ms_ssim": lambda subject: _pixels.ms_ssim(subject.content, subject.pastiche),
    "edge_preservation": lambda subject: _pixels.edge_preservation(subject.content, subject.pastiche),
    "histogram_distance": lambda subject: _pixels.histogram_distance(subject.pastiche, subject.style),
    "grain_ratio": lambda subject: _pixels.grain_ratio(subject.pastiche, subject.style),
    "sharpness": lambda subject: _pixels.sharpness(subject.pastiche),
    "checkerboard": lambda subject: _pixels.checkerboard(subject.untouched),
    "weave": lambda subject: _pixels.weave(subject.untouched),
}


def measure(
    content: Any, style: Any, pastiche: Any, names: Iterable[str] | None = None, *, judge: Judge | None = None
) -> dict[str, float]:
    """Measures of one pastiche by name, as `Judge.measure`; pictures are whatever `impasto.images.read` takes.

    Keep a Judge to measure many: it holds the networks.
    """
    photograph, painting, painted = (images.read(source).pixels for source in (content, style, pastiche))
    return (judge or Judge()).measure(photograph, painting, painted, names)


_VIDEO_MEASURES: Mapping[str, Callable[[_video.Tally], float]] = {
    "warping_error_1": lambda tally: tally.warping_error(1),
    "warping_error_10": lambda tally: tally.warping_error(10),
    "flicker": lambda tally: tally.flicker(),
    "drift": lambda tally: tally.drift(),
}
_DISTANCES = {"warping_error_1": 1, "warping_error_10": 10}


def measure_video(
    source: Path | str | Iterable[Picture],
    painted: Path | str | Iterable[Picture],
    names: Iterable[str] | None = None,
    on_progress: OnProgress = ignore,
) -> dict[str, float]:
    """Measures of a painted video beside the video that it was painted from.

    Args:
        source, painted: paths, or frames `(H, W, 3)`, sRGB in [0, 1], as many of the one as of the other.
        names: keys of METRICS of the kind "video"; all of them by default.
        on_progress: called after each frame; may cancel by raising Cancelled.

    Raises:
        InputError: a file cannot be read, the lengths differ, or the video is too short for a measure.
    """
    wanted = check_names(names_of("video") if names is None else names, ("video",))
    distances = tuple(distance for name, distance in _DISTANCES.items() if name in wanted)
    inputs, outputs = (_frames(item) if isinstance(item, str | Path) else item for item in (source, painted))
    counted = _video.tally(_told(inputs, on_progress), outputs, distances)
    return {name: _VIDEO_MEASURES[name](counted) for name in wanted}


def _frames(path: Path | str) -> Iterable[Picture]:
    return (frame.pixels for frame in VideoReader(Path(path)))


def _told(frames: Iterable[Picture], on_progress: OnProgress) -> Iterable[Picture]:
    for number, frame in enumerate(frames):
        on_progress(Progress("measuring", number, 0, unit="frame"))
        yield frame


def unmeasurable(content: tuple[int, int], pastiche: tuple[int, int]) -> dict[str, str]:
    """Measures of the kind "picture" that pictures of these widths and heights are too small for, each with the reason.

    See `Metric.least_side`.
    """
    width, height = images.fit(*content, SCORE_SIZE)
    reasons = {}
    for name in names_of("picture"):
        row = METRICS[name]
        sides, where = (pastiche, "") if row.compares == ALONE else ((width, height), f" at longest side {SCORE_SIZE}")
        if min(sides) < row.least_side:
            reasons[name] = f"needs {row.least_side} px a side, and there are {sides[0]}x{sides[1]}{where}"
    return reasons


def at_score_size(pixels: Picture) -> Picture:
    """Resize `(H, W, 3)` to longest side 512."""
    height, width = pixels.shape[:2]
    width, height = images.fit(width, height, SCORE_SIZE)
    return images.resize(pixels, height, width)
