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
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import (
    STYLE_LAYERS,
    Anchor,
    Guide,
    Job,
    MappedObjective,
    Objective,
    OnProgress,
    Placement,
    Progress,
    Snapshot,
    Stats,
    Style,
    StyleCode,
    Tile,
    ignore,
)
from impasto.errors import Cancelled, InputError
from impasto.losses.losses import RegionalLoss, StyleLoss, TemporalLoss, TotalVariation
from impasto.methods.optimize.fitting import STRIDE, Fit, fit, fixed_bytes, least_memory, tile_side, whole_bytes
from impasto.methods.optimize.objectives import VARIATION_BALANCE, content_objectives, style_loss, style_weight
from impasto.methods.settings import OptimizeKnobs
from impasto.models.encoder_specs import VGG19, find, of_weights, weights_of
from impasto.models.encoders import Encoder
from impasto.ops import masks
from impasto.ops.color import color_sums, recoloring
from impasto.optim.canvases import BilateralCanvas
from impasto.optim.descent import (
    PixelPyramid,
    Pixels,
    Remembered,
    Schedule,
    Score,
    below,
    descend,
    even_pace,
    pyramid_scales,
    resample,
)
from impasto.optim.evaluator import Evaluator, Sheet, Term, collect, pad_to_multiple, put, tiles_of, unit

FIRST_STEP = 0.01
"""Mean change of a value in L-BFGS's first step. Torch's own rule moves it some thousand times less: lost steps."""
COARSER_STEPS = 1.5
"""A coarser level takes this many times the steps of the next finer one: they cost a quarter."""
_LONG = 60  # steps at full size, from which a level of three quarters of the size comes before it
_BETWEEN = 0.2  # share of these steps that it takes
_FIRM = 2.0  # times that the content counts there
_GRAIN = 8  # pixels from the middle of a grain of noise to where it has faded
_LEAST_SHARE = 1e-5  # of the picture; a region smaller than that has no statistics


TEMPORAL_BALANCE = 100.0
"""Weight of the mean squared difference from an anchor: a difference of 0.05 everywhere counts 0.25."""


class Optimize:
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
        """The weights of the encoder that was chosen; see `registry.Method.needs`."""
        return (weights_of(knobs.encoder),)

    @staticmethod
    def passes(height: int, width: int, knobs: OptimizeKnobs) -> float:
        """Work of a whole run, in steps of VGG-19 at full size."""
        levels = _levels(height, width, knobs)
        work = sum(level.work for level in (levels[:1] if knobs.canvas == "photorealistic" else levels))
        layers = (*knobs.style_layers, *knobs.content_layers)
        encoder = find(knobs.encoder).operations(layers) / VGG19.operations(STYLE_LAYERS)
        return work * encoder / (height * width)

    def encode_style(self, style: Style, knobs: OptimizeKnobs) -> StyleCode:
        """Statistics at every level of the pyramid, those of several style images joined by weight.

        Returns:
            `SCALE/NAME` for each of the style loss's statistics, such as `0.5/relu4_1`, a Gram matrix `(1, C, C)`, at
            the level of half the size. And what the start needs: `colors (1, 4, 4)`, see `color_sums`, or
            `image (1, 3, H, W)`, the weightiest style image.
        """
        self._encoder.architecture.check((*knobs.style_layers, *knobs.content_layers))
        loss = style_loss(knobs, self._encoder.architecture)
        tensors: dict[str, Tensor] = {}
        tile = None if style.memory is None else tile_side(style.memory, knobs, self.placement)
        for level in _levels(*style.canvas, knobs):
            parts = []
            for image, share in zip(style.images, style.shares(), strict=True):
                sides = _sides(*_shape(image.pixels), level.scale)
                pixels = resample(unit(image.pixels), *sides).clamp_(0, 1)
                parts.append((share, collect(self._encoder, loss, pixels, tile=tile)))
            tensors |= {f"{level.scale}/{name}": tensor for name, tensor in loss.pool(parts).items()}
        if knobs.init == "recolored":
            palettes = [_palette(Sheet(image.pixels, STRIDE)) for image in style.images]
            shares = zip(palettes, style.shares(), strict=True)
            tensors["colors"] = torch.stack([share * sums / sums[0, 3, 3] for sums, share in shares]).sum(0)
        if knobs.init == "style":
            tensors["image"] = max(style.images, key=lambda image: image.weight).pixels
        return StyleCode(tensors)

    def stylize(self, content: Tensor, jobs: Sequence[Job], on_progress: OnProgress = ignore) -> Tensor:
        """Optimise one picture after another; see `Stylizer`. Honours `init`, `regions` and `strength`."""
        return torch.cat([self._paint(content[i : i + 1], job, on_progress) for i, job in enumerate(jobs)])

    def _paint(self, content: Tensor, job: Job, on_progress: OnProgress) -> Tensor:
        """Descend from coarse to fine; what passes between levels is the change to the start, whose detail survives."""
        knobs: OptimizeKnobs = job.knobs
        height, width = _shape(content)
        if knobs.strength == 0:
            return content.clone()
        picture = _Picture.of(content, job)
        if knobs.canvas == "photorealistic":
            return self._recolor(picture, job, on_progress)
        levels = _levels(height, width, knobs)
        reports = _Reports(on_progress, levels, f"refining {width}x{height}")
        first, change = 0, torch.zeros(1, 3, 1, 1, device=content.device)
        if job.resume is not None:
            first, change = int(job.resume["level"]), job.resume["change"].to(content.device)
        for index, level in list(enumerate(levels))[first:]:
            sides = _sides(*picture.start.sides, level.scale)
            place = fit(sides, knobs, self.placement, job.memory)
            taken = _Taken(index, picture.start.pixels, change, picture.seen)
            resume = None if job.resume is None or index > first else below(job.resume, "descent/")
            held = replace(knobs, content_weight=level.firm * knobs.content_weight)
            own = replace(job, guide=picture.guide, knobs=held)
            score = self._score(picture.photograph_at(sides), own, level, place)
            canvas, keen = _canvas(picture.begun(sides, change), score, knobs, place)
            try:
                trace = descend(
                    canvas,
                    keen,
                    place.schedule(level.steps, knobs),
                    on_progress=reports.of_level(index, taken),
                    resume=resume,
                )
            except Cancelled as cancelled:
                if cancelled.partial is not None:
                    cancelled.partial = picture.seen(cancelled.partial)
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
        level = _levels(height, width, knobs)[0]
        small = picture.photograph_at(_sides(*picture.photograph.sides, level.scale))
        place = fit(_shape(small), knobs, self.placement, job.memory)
        score = self._score(small, replace(job, guide=picture.guide), level, place)
        canvas = BilateralCanvas(small, unit=FIRST_STEP * small.numel() if knobs.optimizer == "lbfgs" else 1.0)
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
            snapshot = _Recolored(painted, best, lowest, progress.snapshot)
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
    def bytes_a_pixel(knobs: OptimizeKnobs, placement: Placement) -> float:
        """Of a picture in one piece, at its peak; see `registry.Method.bytes_a_pixel`."""
        return whole_bytes(knobs, placement)

    @staticmethod
    def fixed_bytes(knobs: OptimizeKnobs, placement: Placement) -> int:
        """Beside these, whatever the size."""
        return fixed_bytes(knobs, placement)

    @staticmethod
    def least_memory(height: int, width: int, knobs: OptimizeKnobs, placement: Placement) -> int:
        """Bytes that a picture needs in tiles, with the leanest descent. Raises InputError for what tiles cannot do."""
        return least_memory(_sides(height, width, 1.0), knobs, placement)

    def _score(self, content: Tensor, job: Job, level: _Level, place: Fit) -> Evaluator:
        """The loss at one level: content, style and total variation, weighted."""
        knobs: OptimizeKnobs = job.knobs
        wrap = knobs.border == "wrap"
        plan = _style_plan(style_loss(knobs, self._encoder.architecture), content, job, level)
        style = plan.target
        if any(strength < 1 for strength in plan.strengths):
            # towards a blend of the two pictures' statistics: nothing shows through twice
            own = self._collect(plan.loss, content, wrap, place)
            style = plan.loss.toward(own, style, torch.tensor(plan.strengths, device=content.device))
        terms = [
            Term("style", style_weight(knobs), plan.loss, style),
            Term("tv", VARIATION_BALANCE * knobs.tv_weight * knobs.strength, TotalVariation(wrap, plan.effect)),
        ]
        terms += [Term("temporal", TEMPORAL_BALANCE, _near(anchor, _shape(content))) for anchor in job.guide.anchors]
        held = content_objectives(knobs)
        kept = [
            Term(one.name, one.weight, one.objective, self._collect(one.objective, content, wrap, place))
            for one in held
        ]
        backdrop = None if plan.cover is None else (content, plan.cover)
        approximate = knobs.tiling == "approximate"
        return Evaluator(
            *(self._encoder, [*kept, *terms]),
            wrap=wrap,
            backdrop=backdrop,
            tile=place.tile,
            approximate=approximate,
            checkpointing=knobs.checkpointing == "on",
            quick=place.quick,
        )

    def _collect(self, objective: Objective, picture: Tensor, wrap: bool, place: Fit) -> Stats:
        found = collect(self._encoder, objective, picture, wrap=wrap, tile=place.tile)
        if place.frugal and isinstance(objective, MappedObjective):
            return {name: tensor.to(torch.bfloat16) for name, tensor in found.items()}
        return found


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

    photograph: Sheet
    start: Sheet
    guide: Guide
    mask: Tensor | None
    wrap: bool

    @classmethod
    def of(cls, content: Tensor, job: Job) -> _Picture:
        """That of a job."""
        if job.knobs.canvas == "photorealistic":
            start = content
        else:
            start = _start(content, job) if job.resume is None else job.resume["start"].to(content.device)
        guide = _padded(job.guide, content.device)
        sheets = [Sheet(pixels, STRIDE, least=2 * STRIDE) for pixels in (content, start)]
        return cls(sheets[0], sheets[1], guide, _whole_cover(guide), job.knobs.border == "wrap")

    def photograph_at(self, sides: tuple[int, int]) -> Tensor:
        """The photograph at the size of a level."""
        return resample(self.photograph.whole(), *sides).clamp(0, 1)

    def origin(self, sides: tuple[int, int]) -> Tensor:
        """The start at the size of a level."""
        return resample(self.start.whole(), *sides, wrap=self.wrap)

    def begun(self, sides: tuple[int, int], change: Tensor) -> Tensor:
        """What a level begins with: the start as the levels before have changed it."""
        return (self.origin(sides) + resample(change, *sides, wrap=self.wrap)).clamp_(0, 1)

    def seen(self, image: Tensor) -> Tensor:
        """The picture at its full size, of an image at any: painted where it should be, else the photograph."""
        sides = _shape(image)
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
    """What is moved from `image` on, and what scores it."""
    wrap = knobs.border == "wrap"
    if place.frugal:
        return Pixels(image), score
    if place.optimizer == "adam":  # it evens out the steps of all places by itself
        return PixelPyramid(image, wrap=wrap), score
    remembered = Remembered(score)
    pace = even_pace(remembered.ahead(image), wrap=wrap)
    return PixelPyramid(image, unit=FIRST_STEP * image.numel(), pace=pace, wrap=wrap), remembered


@dataclass(frozen=True)
class _StylePlan:
    """Which style holds where, at one level of the pyramid.

    Attributes:
        loss: what measures the style, over the whole picture or by region.
        target: its target at full strength, one batch item for each of R parts; R is 1 without a guide.
        strengths: of each of the R.
        cover: `(1, 1, H, W)`, how far the painted picture replaces the photograph; None for everywhere.
        effect: `(1, 1, H, W)`, how strong the style is by pixel, for what smooths; None for evenly.
    """

    loss: StyleLoss | RegionalLoss
    target: Stats
    strengths: tuple[float, ...]
    cover: Tensor | None = None
    effect: Tensor | None = None


def _style_plan(loss: StyleLoss, content: Tensor, job: Job, level: _Level) -> _StylePlan:
    """Regions and strength levels as one list of soft masks, each with its style and strength."""
    knobs: OptimizeKnobs = job.knobs

    def target(code: StyleCode) -> Stats:
        found = below(code.tensors, f"{level.scale}/")
        return {name: tensor.to(content.device) for name, tensor in found.items()}

    guide = job.guide
    if not guide.regions and guide.strength is None:
        return _StylePlan(loss, target(job.code), (knobs.strength,))
    sides = _shape(content)
    ones = torch.ones(1, 1, *sides, device=content.device)
    regions = [(_shrunk(region.mask, *sides), region.code) for region in guide.regions] or [(ones, job.code)]
    steps: list[tuple[float, Tensor]] = [(1.0, ones)]
    if guide.strength is not None:
        shares = masks.strength_shares(_shrunk(guide.strength, *sides))
        steps = list(zip(masks.STRENGTH_LEVELS, shares, strict=True))
    parts = [(mask * share, code, degree) for mask, code in regions for degree, share in steps]
    parts = [part for part in parts if part[0].mean() > _LEAST_SHARE] or parts[:1]
    targets = [target(code) for _, code, _ in parts]
    maps = [mask for mask, _, _ in parts]
    return _StylePlan(
        RegionalLoss(loss, torch.cat(maps)),
        {name: torch.cat([each[name] for each in targets]) for name in targets[0]},
        tuple(knobs.strength * degree for _, _, degree in parts),
        masks.cover(maps),
        torch.stack([degree * mask for mask, _, degree in parts]).sum(0),
    )


def _padded(guide: Guide, device: torch.device) -> Guide:
    """The guide's maps at the padded size of the picture."""

    def pad(mask: Tensor) -> Tensor:
        return pad_to_multiple(mask.to(device), STRIDE, least=2 * STRIDE)

    regions = tuple(replace(region, mask=pad(region.mask)) for region in guide.regions)
    anchors = tuple(Anchor(pad(anchor.image), pad(anchor.reliability)) for anchor in guide.anchors)
    return replace(
        guide, regions=regions, anchors=anchors, strength=None if guide.strength is None else pad(guide.strength)
    )


def _near(anchor: Anchor, sides: tuple[int, int]) -> TemporalLoss:
    """What holds the picture to an anchor, at the size of a level."""
    return TemporalLoss(resample(anchor.image, *sides).clamp(0, 1), resample(anchor.reliability, *sides).clamp(0, 1))


def _whole_cover(guide: Guide) -> Tensor | None:
    """How far the painted picture replaces the photograph; None for everywhere."""
    maps = [masks.cover([region.mask for region in guide.regions])] if guide.regions else []
    maps += [] if guide.strength is None else [masks.onset(guide.strength)]
    return math.prod(maps[1:], start=maps[0]) if maps else None


def _shrunk(mask: Tensor, height: int, width: int) -> Tensor:
    return F.adaptive_avg_pool2d(mask, (height, width))


@dataclass(frozen=True)
class _Level:
    """One level of the pyramid.

    Attributes:
        scale: its size as a share of the picture's.
        sides: its height and width.
        steps: how long to stay.
        firm: times that the content counts.
    """

    scale: float
    sides: tuple[int, int]
    steps: int
    firm: float = 1.0

    @property
    def work(self) -> int:
        """Pixels moved in all steps."""
        return self.steps * math.prod(self.sides)


def _levels(height: int, width: int, knobs: OptimizeKnobs) -> tuple[_Level, ...]:
    """Coarse first. A long descent ends lower from three quarters of the size than from all or half of it."""

    def level(scale: float, steps: float, firm: float = 1.0) -> _Level:
        return _Level(scale, _sides(height, width, scale), round(steps), firm)

    *coarser, finest = (
        level(scale, knobs.steps * COARSER_STEPS ** -math.log2(scale))
        for scale in pyramid_scales(height, width, coarsest=knobs.coarsest)
    )
    if knobs.steps < _LONG or knobs.canvas == "photorealistic":
        return *coarser, finest
    return *coarser, level(0.75, _BETWEEN * knobs.steps, _FIRM), finest


def _shape(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _sides(height: int, width: int, scale: float) -> tuple[int, int]:
    """Both sides at a level, rounded so that pooling drops no row."""
    return (
        max(2 * STRIDE, round(height * scale / STRIDE) * STRIDE),
        max(2 * STRIDE, round(width * scale / STRIDE) * STRIDE),
    )


@dataclass(frozen=True)
class _Taken:
    """A snapshot of the whole descent: that of its present level, and how that level began.

    Attributes:
        level: its index.
        start: `(1, 3, H, W)`, the image that the first level began with.
        change: what the levels before have changed of it.
        seen: from an image at any size to the picture.
        descent: the snapshot of this level.
        before: steps of all levels before.
    """

    level: int
    start: Tensor
    change: Tensor
    seen: Callable[[Tensor], Tensor]
    descent: Snapshot | None = None
    before: int = 0

    def image(self) -> Tensor:
        """See `Snapshot`."""
        assert self.descent is not None
        return self.seen(self.descent.image())

    def state(self) -> dict[str, Tensor]:
        """See `Snapshot`."""
        assert self.descent is not None
        own = self.descent.state()
        mine = {"steps": own["steps"] + self.before, "level": torch.tensor(self.level)}
        theirs = {f"descent/{name}": tensor for name, tensor in own.items()}
        return {**mine, "start": self.start, "change": self.change, **theirs}


@dataclass(frozen=True)
class _Recolored:
    """A snapshot of a descent on colours: its picture at full size.

    Attributes:
        image: gives the picture.
        best: the best colours.
        lowest: their loss.
        descent: the snapshot at the small size.
    """

    image: Callable[[], Tensor]
    best: BilateralCanvas
    lowest: float
    descent: Snapshot

    def state(self) -> Mapping[str, Tensor]:
        """See `Snapshot`."""
        best = {f"best/{index}": parameter.detach() for index, parameter in enumerate(self.best.parameters())}
        return {**self.descent.state(), **best, "best/lowest": torch.tensor(self.lowest, dtype=torch.float64)}


class _Reports:
    """Joins the reports of the levels into one count, weighing steps by the pixels that they move."""

    def __init__(self, on_progress: OnProgress, levels: Sequence[_Level], stage: str) -> None:
        self._on_progress, self._levels, self._stage = on_progress, levels, stage

    def of_level(self, index: int, taken: _Taken) -> OnProgress:
        """The callback for one level."""
        before = self._levels[:index]
        steps, total = sum(level.steps for level in before), sum(level.steps for level in self._levels)
        work, all_work = sum(level.work for level in before), sum(level.work for level in self._levels)
        area = math.prod(self._levels[index].sides)

        def report(progress: Progress) -> None:
            done = (work + area * progress.step) / all_work
            snapshot = replace(taken, descent=progress.snapshot, before=steps)
            told = replace(progress, stage=self._stage, step=steps + progress.step, total=total, snapshot=snapshot)
            self._on_progress(replace(told, done=done))

        return report


def _start(content: Tensor, job: Job) -> Tensor:
    """The image that the descent begins with."""
    knobs: OptimizeKnobs = job.knobs
    if job.guide.init is not None:
        return job.guide.init.to(content.device)
    if knobs.init in ("draft", "file"):
        raise InputError(f"the descent should start from a {knobs.init}, but none was given", "choose another --init")
    generator = torch.Generator().manual_seed(knobs.seed)

    def noise() -> Tensor:
        return torch.randn(content.shape, generator=generator).to(content.device)

    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: content,
        "content+noise": lambda: (unit(content) + 0.1 * noise()).clamp(0, 1),
        "noise": lambda: _clouds(content, generator),
        "style": lambda: _painting(content, job),
        "recolored": lambda: _recolored(content, job),
    }
    return starts[knobs.init]()


def _recolored(content: Tensor, job: Job) -> Tensor:
    """The photograph with the mean and covariance of the painting's colours; in each region with its own."""
    sheet = Sheet(content, STRIDE)
    regions = [(Sheet(region.mask.to(content.device), STRIDE), region.code) for region in job.guide.regions]
    parts: list[tuple[Sheet | None, StyleCode]] = [*regions] or [(None, job.code)]
    changes = []
    for mask, code in parts:
        own = _palette(sheet, mask)
        changes.append((mask, *recoloring(own, code.tensors["colors"].to(own))))
    result = sheet.blank()
    for tile in _strips(sheet):
        part = sheet.crop(tile)
        moved = part.clone()
        for mask, matrix, shift in changes:
            change = torch.einsum("ij,bjhw->bihw", matrix, part) + shift[:, None, None] - part
            moved += change if mask is None else mask.crop(tile) * change
        put(result, moved.clamp_(0, 1), tile)
    return result


def _palette(picture: Sheet, mask: Sheet | None = None) -> Tensor:
    """`color_sums` of a picture, part by part: in float64 all of it would take more than the picture itself."""
    sums = torch.zeros(1, 4, 4, dtype=torch.float64, device=picture.pixels.device)
    for tile in _strips(picture):
        sums += color_sums(picture.crop(tile), None if mask is None else mask.crop(tile))
    return sums


def _strips(picture: Sheet) -> list[Tile]:
    return tiles_of(picture.sides, 1024, stride=STRIDE)


def _clouds(content: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of some eight pixels' grain. Finer grain would stay: what the levels pass on is the change to the start.

    Blurred, not enlarged: enlarged noise is steep between its samples and flat at them, and that grid stays too. The
    blur goes round the edges, so that a tile has no seam.
    """
    height, width = _shape(content)
    noise = torch.randn(3, 1, height, width, generator=generator).to(content.device)
    along = torch.arange(-_GRAIN, _GRAIN + 1, device=content.device)
    kernel = torch.cos(along * (torch.pi / (2 * _GRAIN + 2))).square()
    for axis, sides in ((2, (0, 0, _GRAIN, _GRAIN)), (3, (_GRAIN, _GRAIN, 0, 0))):
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        noise = F.conv2d(F.pad(noise, sides, mode="circular"), kernel.view(shape))
    return (0.5 + 0.2 * noise.transpose(0, 1) / noise.std()).clamp(0, 1)


def _painting(content: Tensor, job: Job) -> Tensor:
    """The style image, cut to the size of the picture; in each region its own."""
    sides = _shape(content)

    def cut(code: StyleCode) -> Tensor:
        return _covering(unit(code.tensors["image"].to(content.device)), *sides)

    if not job.guide.regions:
        return cut(job.code)
    painting = content = unit(content)
    for region in job.guide.regions:
        painting = painting + region.mask.to(content.device) * (cut(region.code) - content)
    return painting.clamp(0, 1)


def _covering(image: Tensor, height: int, width: int) -> Tensor:
    """Resize without stretching until `height` x `width` is covered, and cut out the middle."""
    scale = max(height / image.shape[2], width / image.shape[3])
    sides = max(height, round(image.shape[2] * scale)), max(width, round(image.shape[3] * scale))
    large = resample(image, *sides).clamp(0, 1)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    return large[:, :, top : top + height, left : left + width]
