"""Which style holds where: regions and strength levels as soft masks with their targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.contract import (
    STRENGTH_LEVELS,
    Anchor,
    Guide,
    Job,
    Stats,
    StyleCode,
)
from impasto.losses.losses import DirectionLoss, RegionalLoss, StyleLoss, TemporalLoss
from impasto.losses.matching import StrokeLoss
from impasto.methods.optimize.levels import STRIDE, Level, sides_of
from impasto.methods.settings import OptimizeKnobs
from impasto.ops import masks
from impasto.ops.tiles import pad_to_multiple, resample
from impasto.optim.descent import with_prefix

_LEAST_SHARE = 1e-5  # of the picture; a region smaller than that has no statistics


@dataclass(frozen=True)
class RegionalStyle:
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


def regional_style(loss: StyleLoss, content: Tensor, job: Job, level: Level) -> RegionalStyle:
    """Regions and strength levels as one list of soft masks, each with its style and strength."""
    knobs: OptimizeKnobs = job.knobs

    def target(code: StyleCode) -> Stats:
        found = with_prefix(code.tensors, f"{level.scale}/")
        return {name: tensor.to(content.device) for name, tensor in found.items()}

    guide = job.guide
    seen = None if guide.seen is None else _shrunk(guide.seen, *sides_of(content))
    if not guide.regions and guide.strength is None:
        whole = loss if seen is None else RegionalLoss(loss, seen, _share(seen))
        return RegionalStyle(whole, target(job.code), (knobs.strength,))
    parts = _parts(content, job)
    targets = [target(code) for _, code, _ in parts]
    maps = [mask for mask, _, _ in parts]
    return RegionalStyle(
        RegionalLoss(loss, torch.cat(maps) if seen is None else torch.cat(maps) * seen, _share(seen)),
        {name: torch.cat([each[name] for each in targets]) for name in targets[0]},
        tuple(knobs.strength * degree for _, _, degree in parts),
        masks.cover(maps),
        torch.stack([degree * mask for mask, _, degree in parts]).sum(0),
    )


def regional_strokes(content: Tensor, job: Job, level: Level) -> tuple[StrokeLoss, ...]:
    """The stroke losses: one for each part, each with its share of the picture."""

    def places(code: StyleCode) -> Stats:
        found = with_prefix(code.tensors, f"strokes/{level.scale}/")
        return {name: tensor.to(content.device) for name, tensor in found.items()}

    guide = job.guide
    if not guide.regions and guide.strength is None:
        whole = places(job.code)
        return (StrokeLoss(whole),) if whole else ()
    wanted = [(places(code), degree * mask) for mask, code, degree in _parts(content, job)]
    return tuple(StrokeLoss(target, weight) for target, weight in wanted if target)


def painting_strengths(content: Tensor, job: Job, level: Level) -> dict[str, float]:
    """Mean square of the painting's features, by layer of the content; of several by the share of the picture."""
    guide = job.guide
    parts = [(1.0, job.code)]
    if guide.regions:
        parts = [(float(mask.mean()), code) for mask, code, _ in _parts(content, job)]
    whole, prefix = sum(share for share, _ in parts), f"content/{level.scale}/"
    found = [(share / whole, with_prefix(code.tensors, prefix)) for share, code in parts]
    return {name: sum(share * float(own[name]) for share, own in found) for name in found[0][1]}


def _parts(content: Tensor, job: Job) -> list[tuple[Tensor, StyleCode, float]]:
    """Soft masks `(1, 1, H, W)`, each with its style and its degree of strength."""
    guide = job.guide
    sides = sides_of(content)
    ones = torch.ones(1, 1, *sides, device=content.device)
    regions = [(_shrunk(region.mask, *sides), region.code) for region in guide.regions] or [(ones, job.code)]
    steps: list[tuple[float, Tensor]] = [(1.0, ones)]
    if guide.strength is not None:
        shares = masks.strength_shares(_shrunk(guide.strength, *sides))
        steps = list(zip(STRENGTH_LEVELS, shares, strict=True))
    parts = [(mask * share, code, degree) for mask, code in regions for degree, share in steps]
    return [part for part in parts if part[0].mean() > _LEAST_SHARE] or parts[:1]


def padded_guide(guide: Guide, device: torch.device) -> Guide:
    """The guide's maps at the padded size of the picture."""

    def pad(mask: Tensor) -> Tensor:
        return pad_to_multiple(mask.to(device), STRIDE, least=2 * STRIDE)

    regions = tuple(replace(region, mask=pad(region.mask)) for region in guide.regions)
    anchors = tuple(Anchor(pad(anchor.image), pad(anchor.reliability)) for anchor in guide.anchors)
    maps = guide.strength, guide.directions, guide.seen
    strength, directions, seen = (None if each is None else pad(each) for each in maps)
    return replace(guide, regions=regions, anchors=anchors, strength=strength, directions=directions, seen=seen)


def anchor_loss(anchor: Anchor, sides: tuple[int, int]) -> TemporalLoss:
    """The loss that keeps the picture near an anchor, at the size of a level."""
    return TemporalLoss(resample(anchor.image, *sides).clamp(0, 1), resample(anchor.reliability, *sides).clamp(0, 1))


def direction_loss(directions: Tensor, sides: tuple[int, int]) -> DirectionLoss:
    """The loss that lays strokes along directions, at the size of a level.

    Averaged as structure tensors, in which a vector and its opposite are one.
    """
    x, y = directions.unbind(1)
    length = (x.square() + y.square()).sqrt().clamp_min(1e-6)
    xx, xy, yy = (_shrunk((part / length)[:, None], *sides) for part in (x * x, x * y, y * y))
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    strength = ((xx - yy).square() + 4 * xy.square()).sqrt()
    return DirectionLoss(torch.cat((angle.cos(), angle.sin()), 1) * strength)


def _share(seen: Tensor | None) -> float:
    """Of the picture, that can be seen."""
    return 1.0 if seen is None else float(seen.mean())


def _shrunk(mask: Tensor, height: int, width: int) -> Tensor:
    return F.adaptive_avg_pool2d(mask, (height, width))
