"""Image optimisation: moves pixels until their features have the content of one and the style of another.

Paper: arXiv:1508.06576 (Gatys, Ecker and Bethge 2016). Departures, each measured in bench/NOTES.md: the losses are
relative, so that weights near 1 serve every picture; the optimiser runs on a pyramid of corrections; and the descent
goes from coarse to fine (arXiv:1611.07865 does so too), keeping the detail of its start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import (
    STYLE_LAYERS,
    Costs,
    Guide,
    Job,
    MappedObjective,
    Objective,
    OnProgress,
    Placement,
    Progress,
    Stats,
    Style,
    StyleCode,
    ignore,
)
from impasto.errors import Cancelled, InputError
from impasto.losses.losses import ContentLoss, RegionalLoss, StyleLoss, TotalVariation
from impasto.losses.matching import sample_positions, visible_positions
from impasto.methods.optimize.balances import (
    FIRST_STEP,
    OCTAVE_BALANCE,
    STROKE_BALANCE,
    STROKE_PLACES,
    VARIATION_BALANCE,
    content_share,
    stroke_layers,
    style_weight,
)
from impasto.methods.optimize.fitting import Fit, fit, fixed_bytes, least_memory, tile_side, whole_bytes
from impasto.methods.optimize.levels import STRIDE, Level, levels_of, sides_at, sides_of
from impasto.methods.optimize.objectives import content_objectives, style_loss
from impasto.methods.optimize.regions import (
    RegionalStyle,
    anchor_loss,
    direction_loss,
    padded_guide,
    painting_strengths,
    regional_strokes,
    regional_style,
)
from impasto.methods.optimize.snapshots import LevelReports, LevelSnapshot, RecolorSnapshot
from impasto.methods.optimize.start import color_statistics, start_image
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19, find, of_weights, weights_of
from impasto.models.encoders import Encoder, load_own_weights
from impasto.ops import masks
from impasto.ops.stats import EPSILON
from impasto.ops.tiles import WindowedImage, as_float, put, resample
from impasto.ops.tiling import tiles_of
from impasto.optim.canvases import BilateralCanvas, PixelPyramid, Pixels, gradient_preconditioner
from impasto.optim.descent import CachedScore, MultiscaleScore, Score, descend, with_prefix
from impasto.optim.evaluator import Evaluator, Term, collect
from impasto.optim.schedule import Schedule

_STROKE_WORK = 0.4
"""Of a step, that finding the nearest place of the painting takes on top."""


TEMPORAL_BALANCE = 100.0
"""Weight of the mean squared difference from an anchor: a difference of 0.05 everywhere counts 0.25."""


DIRECTION_BALANCE = 1.0
"""Weight of the share of change along the directions of a guide."""


class Optimize(Costs):
    """Gatys' method on a pyramid.

    Args:
        weights: those of one encoder, by the name that `needs` gives.
        placement: where to compute.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, Tensor]], placement: Placement) -> None:
        self.placement = placement
        name, architecture = of_weights(weights)
        self._encoder = Encoder(architecture, weights[name], placement)

    @staticmethod
    def needs(knobs: OptimizeKnobs) -> tuple[str, ...]:
        """The weights of the encoder that was chosen; see `Costs`."""
        return (weights_of(knobs.encoder),)

    @staticmethod
    def read_weights(name: str) -> Mapping[str, Tensor]:
        """The tensors of a user's encoder; see `Costs`."""
        return load_own_weights(name)

    @staticmethod
    def passes(height: int, width: int, knobs: OptimizeKnobs) -> float:
        """Work of a whole run, in steps of VGG-19 at full size."""
        levels = levels_of(height, width, knobs)
        work = sum(level.work for level in (levels[:1] if knobs.canvas == "photorealistic" else levels))
        layers = (*knobs.style_layers, *knobs.content_layers)
        encoder = find(knobs.encoder).operations(layers) / VGG19.operations(STYLE_LAYERS)
        strokes = 1 + _STROKE_WORK if stroke_layers(knobs, find(knobs.encoder)) else 1
        return work * encoder * strokes / (height * width)

    def encode_style(self, style: Style, knobs: OptimizeKnobs) -> StyleCode:
        """Statistics at every level of the pyramid, those of several style images joined by weight.

        Returns:
            `SCALE/NAME` for each of the style loss's statistics, such as `0.5/relu4_1`, a Gram matrix `(1, C, C)`, at
            the level of half the size; `strokes/SCALE/LAYER (N, C)`, places of the painting; `content/SCALE/LAYER`
            `(1,)`, the mean square of its features. And what the start needs: `colors (1, 4, 4)`, see `color_sums`, or
            `image (1, 3, H, W)`, the weightiest style image.
        """
        self._encoder.architecture.check((*knobs.style_layers, *knobs.content_layers))
        loss = style_loss(knobs, self._encoder.architecture)
        levels = levels_of(*style.canvas, knobs)
        tensors: dict[str, Tensor] = {}
        for scale in sorted({scale for level in levels for scale in (level.scale, *level.octaves)}):
            parts = self._collect_styles(style, loss, scale, knobs)
            tensors |= {f"{scale}/{name}": tensor for name, tensor in loss.pool(parts).items()}
        matched, held = stroke_layers(knobs, self._encoder.architecture), _held_layers(knobs)
        for level in levels if matched or held else ():
            maps = self._collect_styles(style, ContentLoss(matched | held), level.scale, knobs)
            for name in held:
                sizes = [
                    share * _mean_square(found[name], image.seen)
                    for image, (share, found) in zip(style.images, maps, strict=True)
                ]
                tensors[f"content/{level.scale}/{name}"] = torch.tensor([sum(sizes)])
            for name in matched:
                rows = [
                    (share, visible_positions(found[name], image.seen))
                    for image, (share, found) in zip(style.images, maps, strict=True)
                ]
                tensors[f"strokes/{level.scale}/{name}"] = sample_positions(rows, STROKE_PLACES)
        if knobs.init == "recolored":
            palettes = [
                color_statistics(
                    WindowedImage(image.pixels, STRIDE),
                    None if image.seen is None else WindowedImage(image.seen, STRIDE),
                )
                for image in style.images
            ]
            shares = zip(palettes, style.shares(), strict=True)
            tensors["colors"] = torch.stack([share * sums / sums[0, 3, 3] for sums, share in shares]).sum(0)
        if knobs.init == "style":
            tensors["image"] = max(style.images, key=lambda image: image.weight).pixels
        return StyleCode(tensors)

    def _collect_styles(
        self, style: Style, objective: Objective, scale: float, knobs: OptimizeKnobs
    ) -> list[tuple[float, Stats]]:
        """Each style image's share, and its statistics at a share of its size."""
        tile = None if style.memory is None else tile_side(style.memory, knobs, self.placement)
        parts = []
        for image, share in zip(style.images, style.shares(), strict=True):
            sides = sides_at(*sides_of(image.pixels), scale)
            pixels = resample(as_float(image.pixels), *sides).clamp_(0, 1)
            measured = objective
            if image.seen is not None and isinstance(objective, StyleLoss):
                measured = RegionalLoss(objective, F.adaptive_avg_pool2d(image.seen.to(pixels), sides))
            parts.append((share, collect(self._encoder, measured, pixels, tile=tile)))
        return parts

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Optimise one picture after another; see `Stylizer`."""
        return torch.cat([self._paint(content[i : i + 1], job, on_progress) for i, job in enumerate(jobs)])

    def _paint(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        """Descend from coarse to fine; what passes between levels is the change to the start, whose detail survives."""
        knobs: OptimizeKnobs = job.knobs
        height, width = sides_of(content)
        if knobs.strength == 0:
            return content.clone()
        picture = _Picture.of(content, job)
        if knobs.canvas == "photorealistic":
            return self._recolor(picture, job, on_progress)
        levels = levels_of(height, width, knobs)
        reports = LevelReports(on_progress, levels, f"refining {width}x{height}")
        first, change = 0, torch.zeros(1, 3, 1, 1, device=content.device)
        if job.resume is not None:
            first, change = int(job.resume["level"]), job.resume["change"].to(content.device)
        for index, level in list(enumerate(levels))[first:]:
            sides = sides_at(*picture.start.sides, level.scale)
            place = fit(sides, knobs, self.placement, job.memory)
            taken = LevelSnapshot(index, picture.start.pixels, change, picture.seen)
            resume = None if job.resume is None or index > first else with_prefix(job.resume, "descent/")
            try:
                score = self._score(picture.photograph_at(sides), replace(job, guide=picture.guide), level, place)
                canvas, cached = _canvas(picture.begun(sides, change), score, knobs, place)
                trace = descend(
                    canvas,
                    cached,
                    place.schedule(level.steps, knobs),
                    on_progress=reports.of_level(index, taken),
                    resume=resume,
                )
            except Cancelled as cancelled:
                best = picture.begun(sides, change) if cancelled.partial is None else cancelled.partial
                cancelled.partial = picture.seen(best)
                raise
            if index + 1 < len(levels):
                change = trace.image - picture.origin(sides)
        return picture.seen(trace.image)

    def _recolor(self, picture: _Picture, job: Job, on_progress: OnProgress) -> Tensor:
        """Descend on the colours alone, at the coarsest level: what is found there holds at every size."""
        knobs: OptimizeKnobs = job.knobs
        height, width = picture.photograph.size
        if job.guide.init is not None or knobs.init not in ("recolored", "draft", "content") or knobs.border == "wrap":
            raise InputError(
                "the photorealistic canvas starts from the photograph, and does not wrap",
                "leave out --init and --border, or --canvas",
            )
        level = replace(levels_of(height, width, knobs)[0], content_factor=1.0, deep_style=knobs.deep_style)
        small = picture.photograph_at(sides_at(*picture.photograph.sides, level.scale))
        place = fit(sides_of(small), knobs, self.placement, job.memory)
        score = self._score(small, replace(job, guide=picture.guide), level, place)
        canvas = BilateralCanvas(small, scale=FIRST_STEP * small.numel() if knobs.optimizer == "lbfgs" else 1.0)
        best, lowest = canvas.copy(), math.inf
        if job.resume is not None:
            lowest = float(job.resume["best/lowest"])
            for index, parameter in enumerate(best.parameters()):
                parameter.detach().copy_(job.resume[f"best/{index}"])

        def keeping(image: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
            nonlocal best, lowest
            losses, gradient = score(image)
            total = torch.stack(tuple(losses.values())).sum().item()
            if total < lowest:  # what counts are the colours' transforms, and not the small picture
                best, lowest = canvas.copy(), total
            return losses, gradient

        def painted() -> Tensor:
            return picture.seen(best.render_on(picture.photograph.whole()))

        def report(progress: Progress) -> None:
            assert progress.snapshot is not None
            snapshot = RecolorSnapshot(painted, best, lowest, progress.snapshot)
            on_progress(replace(progress, stage=f"recolouring {width}x{height}", snapshot=snapshot))

        schedule = Schedule(level.steps, knobs.optimizer, knobs.learning_rate, history=knobs.history)
        try:
            descend(canvas, keeping, schedule, on_progress=report, resume=job.resume)
        except Cancelled as cancelled:
            if cancelled.partial is not None:
                cancelled.partial = painted()
            raise
        return painted()

    @staticmethod
    def bytes_per_pixel(knobs: OptimizeKnobs, placement: Placement) -> float:
        """Of a picture in one piece, at its peak; see `Costs`."""
        return whole_bytes(knobs, placement)

    @staticmethod
    def fixed_bytes(knobs: OptimizeKnobs, placement: Placement) -> int:
        """Beside these, whatever the size."""
        return fixed_bytes(knobs, placement)

    @staticmethod
    def least_memory(height: int, width: int, knobs: OptimizeKnobs, placement: Placement) -> int:
        """Bytes that a picture needs in tiles, with the leanest descent. Raises InputError for what tiles cannot do."""
        return least_memory(sides_at(height, width, 1.0), knobs, placement)

    def score(self, content: Tensor, job: Job, level: Level) -> Score:
        """The loss of a picture at one level of its pyramid, for a descent of one's own on what renders to it.

        Args:
            content: the photograph `(1, 3, H, W)` at the size of the level; 16 divides its sides.
            job: its style, as `encode_style` gives it for the full size, knobs and guide.
            level: one of `levels_of` the full size.
        """
        place = fit(sides_of(content), job.knobs, self.placement, job.memory)
        return self._score(content, replace(job, guide=padded_guide(job.guide, content.device)), level, place)

    def _score(self, content: Tensor, job: Job, level: Level, place: Fit) -> Score:
        """The loss at one level: content, style, strokes and total variation, weighted."""
        asked: OptimizeKnobs = job.knobs
        weight = level.content_factor * asked.content_weight
        knobs = replace(asked, content_weight=weight, deep_style=level.deep_style)
        job = replace(job, knobs=knobs)
        style, plan = self._style_term(content, job, level, place)
        smooth = TotalVariation(knobs.border == "wrap", plan.effect)
        terms = [style, Term("tv", VARIATION_BALANCE * knobs.tv_weight * knobs.strength, smooth)]
        terms += [
            Term("strokes", STROKE_BALANCE * knobs.stroke_weight * knobs.strength, loss)
            for loss in regional_strokes(content, job, level)
        ]
        terms += [
            Term("temporal", TEMPORAL_BALANCE, anchor_loss(anchor, sides_of(content))) for anchor in job.guide.anchors
        ]
        if job.guide.directions is not None:
            flow = direction_loss(job.guide.directions, sides_of(content))
            change = self._collect(flow, content, knobs, place)
            terms.append(Term("directions", DIRECTION_BALANCE * knobs.strength, flow, change))
        strengths = painting_strengths(content, job, level)
        kept = []
        for one in content_objectives(knobs):
            held = self._collect(one.objective, content, knobs, place)
            faint = isinstance(one.objective, ContentLoss)
            share = _content_share(held, job.guide.seen, strengths) if faint else 1.0
            kept.append(Term(one.name, share * one.weight, one.objective, held))
        own = self._evaluator([*kept, *terms], content, plan, knobs, place)
        smaller = [self._octave(content, job, level, scale, place) for scale in level.octaves]
        return MultiscaleScore(own, smaller, wrap=knobs.border == "wrap") if smaller else own

    def _octave(
        self, content: Tensor, job: Job, level: Level, scale: float, place: Fit
    ) -> tuple[tuple[int, int], Evaluator]:
        """Height and width, and the loss of the style, where a picture of this level is made smaller."""
        share = scale / level.scale
        sides = sides_at(*sides_of(content), share)
        small = resample(content, *sides).clamp(0, 1)
        term, plan = self._style_term(small, job, replace(level, scale=scale), place)
        term = replace(term, weight=2 * share * OCTAVE_BALANCE * term.weight)
        return sides, self._evaluator([term], small, plan, job.knobs, place)

    def _style_term(self, content: Tensor, job: Job, level: Level, place: Fit) -> tuple[Term, RegionalStyle]:
        knobs: OptimizeKnobs = job.knobs
        plan = regional_style(style_loss(knobs, self._encoder.architecture), content, job, level)
        target = plan.target
        if any(strength < 1 for strength in plan.strengths):
            # towards a blend of the two pictures' statistics: nothing shows through twice
            own = self._collect(plan.loss, content, knobs, place)
            target = plan.loss.toward(own, target, torch.tensor(plan.strengths, device=content.device))
        return Term("style", style_weight(knobs), plan.loss, target), plan

    def _evaluator(
        self, terms: Sequence[Term], content: Tensor, plan: RegionalStyle, knobs: OptimizeKnobs, place: Fit
    ) -> Evaluator:
        return Evaluator(
            self._encoder,
            terms,
            wrap=knobs.border == "wrap",
            backdrop=None if plan.cover is None else (content, plan.cover),
            tile=place.tile,
            approximate=knobs.tiling == "approximate",
            checkpointing=knobs.checkpointing == "on",
            winograd=place.winograd,
        )

    def _collect(self, objective: Objective, picture: Tensor, knobs: OptimizeKnobs, place: Fit) -> Stats:
        found = collect(self._encoder, objective, picture, wrap=knobs.border == "wrap", tile=place.tile)
        if place.low_memory and isinstance(objective, MappedObjective):
            return {name: tensor.to(torch.bfloat16) for name, tensor in found.items()}
        return found


def _held_layers(knobs: OptimizeKnobs) -> frozenset[str]:
    """The layers whose features the content is held to, place by place."""
    return frozenset(knobs.content_layers if knobs.content_loss == "features" else ())


def _mean_square(features: Tensor, seen: Tensor | None) -> float:
    """Of feature vectors `(1, C, h, w)` where they are seen, which `seen (1, 1, H, W)` tells.

    Channel by channel, since a precise copy of a large map would be large.
    """
    weight = torch.ones(1, 1, device=features.device)
    if seen is not None:
        weight = F.adaptive_avg_pool2d(seen.float(), (features.shape[2], features.shape[3]))[0, 0].to(features.device)
    weight = weight / weight.mean().clamp_min(EPSILON)
    return float(torch.stack([(channel.float().square() * weight).mean() for channel in features[0]]).sum())


def _content_share(photograph: Stats, seen: Tensor | None, painting: Mapping[str, float]) -> float:
    """See `content_share`; the mean over layers."""
    shares = [content_share(_mean_square(features, seen), painting[name]) for name, features in photograph.items()]
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class _Picture:
    """A picture that is painted: what it begins with and what it is put together from.

    Attributes:
        photograph: the content.
        start: the image that the descent begins with.
        guide: the job's, at their padded size.
        mask: how far the painted picture replaces the photograph; None for everywhere.
        wrap: whether it goes on beyond its edges with the opposite ones.
    """

    photograph: WindowedImage
    start: WindowedImage
    guide: Guide
    mask: Tensor | None
    wrap: bool

    @classmethod
    def of(cls, content: Tensor, job: Job) -> _Picture:
        """That of a job."""
        if job.knobs.canvas == "photorealistic":
            start = content
        else:
            start = start_image(content, job) if job.resume is None else job.resume["start"].to(content.device)
        guide = padded_guide(job.guide, content.device)
        sheets = [WindowedImage(pixels, STRIDE, least=2 * STRIDE) for pixels in (content, start)]
        cover = masks.painted_cover([region.mask for region in guide.regions], guide.strength)
        return cls(sheets[0], sheets[1], guide, cover, job.knobs.border == "wrap")

    def photograph_at(self, sides: tuple[int, int]) -> Tensor:
        """The photograph at the size of a level."""
        return resample(self.photograph.whole(), *sides).clamp(0, 1)

    def origin(self, sides: tuple[int, int]) -> Tensor:
        """The start at the size of a level."""
        return resample(self.start.whole(), *sides, wrap=self.wrap)

    def begun(self, sides: tuple[int, int], change: Tensor) -> Tensor:
        """The image that a level starts from: the start plus the change of the levels before."""
        return (self.origin(sides) + resample(change, *sides, wrap=self.wrap)).clamp_(0, 1)

    def seen(self, image: Tensor) -> Tensor:
        """The picture at its full size, of an image at any: painted where it should be, else the photograph."""
        sides = sides_of(image)
        if sides != self.start.sides:
            image = self.begun(self.start.sides, image - self.origin(sides))
        result = self.photograph.blank()
        for tile in tiles_of(self.photograph.sides, 1024, stride=STRIDE):
            part = tile.crop(image).to(self.start.dtype)
            if self.mask is not None:
                part = masks.compose(self.photograph.crop(tile), part, tile.crop(self.mask))
            put(result, part, tile)
        return result


def _canvas(image: Tensor, score: Score, knobs: OptimizeKnobs, place: Fit) -> tuple[PixelPyramid | Pixels, Score]:
    """The canvas that starts from `image`, and its score."""
    wrap = knobs.border == "wrap"
    if place.low_memory:
        return Pixels(image), score
    if place.optimizer == "adam":  # it evens out the steps of all places by itself
        return PixelPyramid(image, wrap=wrap), score
    cached_score = CachedScore(score)
    preconditioner = gradient_preconditioner(cached_score.ahead(image), wrap=wrap)
    return PixelPyramid(image, scale=FIRST_STEP * image.numel(), preconditioner=preconditioner, wrap=wrap), cached_score
